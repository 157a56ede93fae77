#!/usr/bin/env python3
"""check_costs.py PROGRAM THRESHOLDS [--update]

Counts what each case of CostBenchmarks costs, with callgrind: instructions and allocations of one operation, which are the same
on a busy machine and an idle one; the times beside them are of a run without callgrind. Fails where a case costs more than THRESHOLDS
allows, is missing there, or is there and was not measured. --update writes THRESHOLDS as measured.
"""
import os, re, subprocess, sys, tempfile

# Above the threshold: another patch of the compiler may order things differently; no allocation is made by that.
INSTRUCTIONS_TOLERATED = 1.05
# And where what lies in memory decides how a text is copied, some instructions that no line of ours has.
INSTRUCTIONS_OF_CHANCE = 150
ALLOCATIONS_TOLERATED = 0.05
# The function that a case is between.
MEASURED = "counted_loop"
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}


def run(words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"check_costs: {' '.join(words)}: {done.returncode}\n{done.stderr[-2000:]}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def counts(path):
    """Instructions and allocations of one dump: all that ran between the beginning and the end of the function that is measured."""
    instructions = None
    allocations = 0
    callee = ""
    for line in open(path, errors="replace"):
        if line.startswith("cfn="):
            callee = line[4:].strip().split("'")[0]
        elif line.startswith("calls=") and callee in ALLOCATORS:
            allocations += int(line[6:].split()[0])
        elif line.startswith(("totals:", "summary:")):
            instructions = int(line.split()[1])
    return instructions, allocations


def measure(program):
    """name: (instructions, allocations, nanoseconds), each of one operation."""
    with tempfile.TemporaryDirectory(prefix="regward-costs.") as folder:
        # Hashes of another seed would cost something else.
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        environment["SWIFT_DETERMINISTIC_HASHING"] = "1"
        timed = run([program, folder], env=environment)
        counted = run(
            ["valgrind", "--tool=callgrind", f"--zero-before={MEASURED}", f"--dump-after={MEASURED}", "--compress-strings=no",
             f"--callgrind-out-file={folder}/costs", program, folder, "once"], env=environment)
        if [row[0] for row in timed] != [row[0] for row in counted]:
            sys.exit("check_costs: the two runs differ in their cases")
        dumps = [name for name in os.listdir(folder) if re.fullmatch(r"costs\.\d+", name)]
        if len(dumps) != len(counted):
            sys.exit(f"check_costs: {len(dumps)} dumps of {len(counted)} cases")
        found = {}
        for number, (name, count, _) in enumerate(counted):
            instructions, allocations = counts(f"{folder}/costs.{number + 1}")
            found[name] = (instructions / int(count), allocations / int(count), int(timed[number][2]))
        return found


def read(path):
    rows = [line.rstrip("\n").split("\t") for line in open(path) if line.strip()]
    return {name: (float(instructions), float(allocations)) for name, instructions, allocations in rows}


def judge(found, allowed):
    """What costs too much, in words."""
    failures = []
    for name, (instructions, allocations, *_) in found.items():
        if name not in allowed:
            failures.append(f"{name}: has no threshold; mount-scripts/bench-costs --update writes them")
            continue
        most = allowed[name]
        if instructions > most[0] * INSTRUCTIONS_TOLERATED + INSTRUCTIONS_OF_CHANCE:
            failures.append(f"{name}: {instructions:.0f} instructions, {most[0]:.0f} are allowed")
        elif allocations > most[1] + ALLOCATIONS_TOLERATED:
            failures.append(f"{name}: {allocations:.2f} allocations, {most[1]:.2f} are allowed")
    return failures + [f"{name}: has a threshold and was not measured" for name in allowed if name not in found]


def main():
    program, path = sys.argv[1:3]
    found = measure(program)
    if "--update" in sys.argv[3:]:
        with open(path, "w") as file:
            for name, (instructions, allocations, _) in found.items():
                file.write(f"{name}\t{instructions:.0f}\t{allocations:.2f}\n")
    allowed = read(path)
    print(f"{'case':<44}{'instructions':>13}{'allowed':>10}{'allocations':>13}{'allowed':>10}{'ns':>8}")
    for name, (instructions, allocations, nanoseconds) in found.items():
        most = allowed.get(name, (float("nan"), float("nan")))
        print(f"{name:<44}{instructions:>13.0f}{most[0]:>10.0f}{allocations:>13.2f}{most[1]:>10.2f}{nanoseconds:>8}")
    failures = judge(found, allowed)
    for failure in failures:
        print("FAIL", failure)
    print(f"{max(0, len(found) - len(failures))} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
