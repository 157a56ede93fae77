#!/usr/bin/env python3
"""check_repair.py REGWARD [SHARED] - hives rewritten, against golden.py.

Every sample hive of SHARED/hives that is not damaged is compacted: the new hive must dump as the golden dump says, pass
golden.py's strict check if the old one did, have no orphan and be no larger. A clean one must not be "repaired". Every damaged
hive is repaired: the new one must pass both checkers, and hold every key and value that golden.py's lenient reader finds in the
old one, but for what was told to be dropped or changed. No file beside the new one may change. Prints a line for each failure
and "N passed, N failed"; exits with 1 when one failed.
"""
import csv, hashlib, json, os, subprocess, sys, tempfile

from check_recovery import LIMIT, Checks, copy, snapshot

# Nothing in them is a hive, or no root can be found.
BEYOND_REPAIR = {
    "craft/bad_header_only.hiv", "craft/bad_not_regf.hiv", "craft/bad_random.hiv", "craft/bad_version_2_0.hiv",
    "craft/bad_zero_length.hiv", "corrupt/p0_01_sk_oob.dat",
}
# Its big data has short segments; as Windows writes them, they are longer.
GROWS = "craft/edge_oddenc.hiv"
# 988 keys lie deeper than any may: one is dropped, and they with it.
DEEP = "craft/bad_depth1500.hiv"


def is_damaged(row):
    return row["file"].startswith(("corrupt/", "craft/bad_"))


def paths(dump):
    """Keys and values by name; times and bytes are left out."""
    lines = filter(None, dump.decode().split("\n"))
    return {tuple(line.split("\t")[:3 if line[0] == "V" else 2]) for line in lines}


class RepairChecks(Checks):
    def compact(self, row):
        with tempfile.TemporaryDirectory() as folder:
            hive = copy(self.hives, row["file"], folder)
            before = snapshot(folder)
            out = os.path.join(folder, "new")
            run = self.run(self.regward, "compact", hive, "-o", out)
            if snapshot(folder, without=["new"]) != before:
                return "compacting changed a file"
            if is_damaged(row) or "no usable log" in row["recovery"]:
                # Some damage is gone in any copy; the rest is refused.
                return "nothing is told" if run.returncode and (os.path.exists(out) or not run.stderr) else None
            if run.returncode:
                return f"exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            if os.stat(out).st_mode & 0o777 != 0o600:
                return "the new file is not its owner's alone"
            found = self.golden_info("check", out, "--no-logs")
            if found["problem_count"] and row["strict_problems"] == "0":
                return f"golden.py finds {found['problems'][:3]}"
            if found["orphan_cells"]:
                return f"{found['orphan_cells']} orphans"
            dump = self.run(self.regward, "dump", out).stdout
            if hashlib.sha256(dump).hexdigest() != self.golden_dump(row):
                return "its dump is not the golden one"
            if os.path.getsize(out) > max(os.path.getsize(hive), 4096 * 3) and row["dirty"] == "clean" and row["file"] != GROWS:
                return f"it has {os.path.getsize(out)} bytes, {os.path.getsize(hive)} before"
            checked = self.run(self.regward, "check", "--repair", "-o", out + "2", out)
            if checked.returncode != 0 or os.path.exists(out + "2"):
                return f"a clean hive is repaired: {checked.stdout.decode()[-300:]}"
        return None

    def repair(self, row):
        with tempfile.TemporaryDirectory() as folder:
            hive = copy(self.hives, row["file"], folder)
            before = snapshot(folder)
            out = os.path.join(folder, "new")
            run = self.run(self.regward, "check", "--json", "--repair", "-o", out, hive)
            if snapshot(folder, without=["new"]) != before:
                return "the repair changed a file"
            lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
            if row["file"] in BEYOND_REPAIR:
                return None if run.returncode in (4, 8) and lines and not os.path.exists(out) else "it was repaired"
            if run.returncode != 1:
                return f"exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            if self.run(self.regward, "check", out).returncode:
                return "the checker finds something in the repaired hive"
            found = self.golden_info("check", out, "--no-logs")
            if found["problem_count"]:
                return f"golden.py finds {found['problems'][:3]}"
            told = [line for line in lines if "rule" in line]
            if not told or any(line["action"] not in ("mended", "dropped", "changed") for line in told):
                return "what became of it is not told"
            old = self.run(sys.executable, self.golden, "dump", hive).stdout
            new = self.run(self.regward, "dump", out).stdout
            lost = paths(old) - paths(new)
            excused = [line["key"] for line in told if line["action"] != "mended" and "key" in line]
            # With a key that is dropped or has another name goes what is below it.
            strange = [entry for entry in lost if not any(f"{entry[1]}\\".startswith(f"{key}\\" if key else "") for key in excused)]
            if strange or (row["file"] != DEEP and len(lost) > 3 * len(excused)):
                return f"lost: {sorted(lost)[:5]}, told: {excused[:5]}"
            closing = lines[-1]
            if closing["findings"] != len(told) or closing["keys"] + closing["values"] != new.count(b"\n"):
                return f"the closing line is wrong: {closing}"
        return None


def main():
    shared = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../../../shared")
    checks = RepairChecks(sys.argv[1], shared)
    with open(os.path.join(checks.hives, "MANIFEST.tsv"), encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    work = [("compact", checks.compact, row) for row in rows]
    work += [("repair", checks.repair, row) for row in rows if is_damaged(row)]
    passed = failed = 0
    for what, check, row in work:
        try:
            problem = check(row)
        except subprocess.TimeoutExpired:
            problem = f"it hangs ({LIMIT} s)"
        if problem:
            failed += 1
            print(f"{row['file']}: {what}: {problem}", flush=True)
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
