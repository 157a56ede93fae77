#!/usr/bin/env python3
"""check_written.py BIN [--operations N] [--seed S] [--shared SHARED] - hives that a seeded run has written.

For each of the versions 1.3, 1.4 and 1.5, `BIN/hive-stress run` makes a hive by N operations of every kind (10,000 unless
told) and closes it. Once with names that every reader can read: verify_written.sh must find that all of them accept the hive
and agree. Once with names of every sort, which only golden.py and we read. Both must pass golden.py's strict check and
`regward check`, be clean without their logs, and their dumps by golden.py and by `regward dump` must be the model's.
Prints a line for each failure, with the seed, and "N passed, N failed"; exits with 1 when one failed.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile

LIMIT = 3600  # seconds for the slowest reader and the longest run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--shared", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared"))
    arguments = parser.parse_args()
    checks = Checks(arguments)
    passed = failed = 0
    print(f"seed {arguments.seed}, {arguments.operations} operations", flush=True)
    for minor in (3, 4, 5):
        for names in ("readable", "every"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    problem = checks.check(folder, minor, names)
                except subprocess.TimeoutExpired as late:
                    problem = f"it hangs: {late.cmd}"
            if problem:
                failed += 1
                print(f"version 1.{minor}, {names} names, seed {arguments.seed + minor}: {problem}", flush=True)
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


class Checks:
    def __init__(self, arguments):
        self.stress = os.path.join(arguments.bin, "hive-stress")
        self.regward = os.path.join(arguments.bin, "regward")
        self.tools = os.path.join(arguments.shared, "tools")
        self.operations, self.seed = arguments.operations, arguments.seed

    def run(self, *command):
        return subprocess.run(command, capture_output=True, timeout=LIMIT)

    def golden(self, *command):
        return self.run(sys.executable, os.path.join(self.tools, "golden.py"), *command)

    def check(self, folder, minor, names):
        hive = os.path.join(folder, "HIVE")
        options = ["--seed", str(self.seed + minor), "--minor", str(minor), "--names", names]
        # Its log is brought to the file along the way as well, not only at the end.
        written = self.run(self.stress, "run", hive, *options, "--count", str(self.operations), "--sync-every", "997",
                           "--log-limit", "2000000")
        if written.returncode or not written.stdout.endswith(b"closed\n"):
            return f"the run ends with {written.returncode}: {written.stderr.decode()[-1000:]}"
        found = json.loads(self.golden("check", hive, "--no-logs").stdout)
        if found["problem_count"] or found["recovery"]["dirty"]:
            return f"golden.py finds {found['problems'][:3]}, {found['recovery']}"
        if found["orphan_cells"]:
            return f"{found['orphan_cells']} cells are lost"
        ours = self.run(self.regward, "check", hive)
        if ours.returncode:
            return f"regward check finds {ours.stdout.decode()[:500]}{ours.stderr.decode()[:500]}"
        model = self.run(self.stress, "dump", *options, str(self.operations)).stdout
        for reader, dump in (("golden.py", self.golden("dump", hive)), ("regward", self.run(self.regward, "dump", hive))):
            if dump.stdout != model:
                mine, theirs = set(model.split(b"\n")), set(dump.stdout.split(b"\n"))
                return f"{reader} reads {list(theirs - mine)[:1]}, the model has {list(mine - theirs)[:1]}"
        if not model.startswith(b"K\t\t"):
            return "the model is empty"
        if names == "readable":
            readers = self.run("bash", os.path.join(self.tools, "verify_written.sh"), hive)
            if readers.returncode:
                kept = shutil.copy(hive, os.path.join(tempfile.gettempdir(), f"refused-{self.seed + minor}"))
                return f"not every reader accepts it (kept as {kept}):\n{readers.stdout.decode()}"
            print(f"version 1.{minor}, {found['keys']} keys, {found['values']} values, {os.path.getsize(hive)} bytes:")
            print(readers.stdout.decode(), end="", flush=True)
        return None


if __name__ == "__main__":
    main()
