#!/usr/bin/env python3
"""check_benchmarks.py PROGRAMS

That what measures would tell: thresholds that are passed over, a value whose bytes are wrong, and that each measuring program goes through
on a small hive. No time is judged. PROGRAMS is the folder of regward and make-hive-samples.
"""
import os, re, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BENCHMARKS = f"{ROOT}/Benchmarks"
sys.dont_write_bytecode = True
sys.path.insert(0, BENCHMARKS)
import check_costs

programs = os.path.realpath(sys.argv[1])
passed = failed = 0


def check(what, holds, seen=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {what}: {seen}")


def run(script, *words):
    done = subprocess.run([sys.executable, f"{BENCHMARKS}/{script}", *words], capture_output=True, text=True, timeout=300,
                          env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    return done.returncode, done.stdout + done.stderr


def costs():
    allowed = {"a": (10000.0, 2.0), "b": (50.0, 0.0)}
    for what, found, word in (
        ("as allowed", {"a": (10000, 2), "b": (50, 0)}, None),
        ("cheaper", {"a": (5000, 1), "b": (50, 0)}, None),
        ("another compiler's order, and chance", {"a": (10640, 2), "b": (200, 0)}, None),
        ("more instructions", {"a": (10660, 2), "b": (50, 0)}, "a: 10660 instructions"),
        ("more of few", {"a": (10000, 2), "b": (210, 0)}, "b: 210 instructions"),
        ("an allocation", {"a": (10000, 2), "b": (50, 1)}, "b: 1.00 allocations"),
        ("one in ten", {"a": (10000, 2.1), "b": (50, 0)}, "a: 2.10 allocations"),
        ("no threshold", {"a": (10000, 2), "b": (50, 0), "c": (1, 0)}, "c: has no threshold"),
        ("not measured", {"a": (10000, 2)}, "b: has a threshold"),
    ):
        failures = check_costs.judge(found, allowed)
        check(f"costs, {what}", failures == [] if word is None else len(failures) == 1 and failures[0].startswith(word), failures)
    with tempfile.NamedTemporaryFile("w", suffix=".1") as dump:
        # As callgrind writes it: a call's cost is in the line below.
        dump.write("events: Ir\nsummary: 777\n\nfn=counted_loop\ncfn=malloc\ncalls=3 0\n16 90\ncfn=free\ncalls=5 0\n16 50\ncfn=calloc'2\ncalls=2 0\n16 9\n\ntotals: 777\n")
        dump.flush()
        check("costs, a dump is read", check_costs.counts(dump.name) == (777, 5), check_costs.counts(dump.name))


def measuring(folder):
    hive = f"{folder}/small.hiv"
    subprocess.run([f"{programs}/make-hive-samples", "--uniform", "7", "3", "20", hive], check=True)
    status, text = run("programs.py", programs, f"{folder}/w", hive, "--only", "regward", "--runs", "1")
    check("programs, every value right", status == 0 and "21 right, 0 wrong, 0 missing" in text and "failed" not in text, text[-600:])
    # A reader that says of one value what it is not, and knows of one that is not there.
    other = f"{folder}/other.py"
    with open(other, "w") as file:
        file.write(
            "import subprocess, sys\n"
            f"text = subprocess.run(['{programs}/regward', 'dump', sys.argv[2]], capture_output=True, text=True, check=True).stdout.splitlines()\n"
            "values = [line for line in text if line.startswith('V')]\n"
            "values[0] = values[0][:-64] + '0' * 64\n"
            "print('\\n'.join(values + [values[1].replace('f001', 'elsewhere')]))\n")
    status, text = run("programs.py", programs, f"{folder}/w", hive, "--only", "regward", "--bytes-only", "--expected", other)
    check("programs, a wrong value and one that is not there are told", "20 right, 1 wrong, 1 missing" in text, text[-600:])
    samples = f"{folder}/samples"
    subprocess.run([f"{programs}/make-hive-samples", samples], check=True, stdout=subprocess.DEVNULL)
    for name in ("edge-names", "system"):
        dump = subprocess.run([f"{programs}/regward", "dump", f"{samples}/{name}.hiv"], capture_output=True, text=True, check=True).stdout
        count = sum(line.startswith("V\t") for line in dump.splitlines())
        status, text = run("programs.py", programs, f"{folder}/w", f"{samples}/{name}.hiv", "--only", "regward", "--bytes-only")
        check(f"programs, names of {name}", count > 10 and f"{count} right, 0 wrong, 0 missing" in text, f"{count}: {text[-600:]}")
    status, text = run(
        "operations.py", programs, f"{folder}/w", "--a", "{policy}", "--b", "{off}", "--rounds", "1", "--dirs", "5", "--files", "2", "--count", "10", "--rules", "5")
    check("operations, each has a ratio", status == 0 and len(re.findall(r"\| \d+\.\d{3} \|", text)) == 11, text[-600:])
    status, text = run(
        "growth.py", programs, f"{folder}/w", "--sizes", "5x2x8", "--rules", "3", "--procs", "2", "--count", "64")
    check("growth, three tables", status == 0 and text.count("|---|") == 3 and "| 5 × 2 |" in text, text[-600:])
    status, text = run("operations.py", programs, f"{folder}/w", "--a", "policy=/nowhere", "--b", "{off}", "--rounds", "1", "--dirs", "5", "--files", "2")
    check("a mount that fails is told, not measured", status != 0 and "does not mount" in text, text[-300:])
    with open("/proc/self/mountinfo") as table:
        check("nothing stays mounted", folder not in table.read())


costs()
# Policies are believed only where nobody else can write.
os.makedirs(f"{ROOT}/.build", exist_ok=True)
with tempfile.TemporaryDirectory(prefix="benchmarks.", dir=f"{ROOT}/.build") as folder:
    measuring(folder)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
