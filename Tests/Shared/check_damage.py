#!/usr/bin/env python3
"""check_damage.py REGWARD [SHARED] - damaged hives, mounted, walked and changed.

Every damaged hive of SHARED/hives (corrupt/*, craft/bad_*) is mounted as it comes. It is served, or refused with a message.
Every directory is listed, every file read, every attribute asked for: no error but EUCLEAN, no crash, no hang. What golden.py's
lenient reader finds is there, or an entry `%lost0x...` beside its place tells that something is missing. Then everybody who may
write writes: a value into every directory. No error but EUCLEAN and EROFS, and the checker finds no new rule broken afterwards.
One that is mounted for reading is not written to. Prints a line for each failure and "N passed, N failed"; exits with 1 when one
failed.
"""
import csv, errno, json, os, resource, shutil, stat, subprocess, sys, tempfile

from check_recovery import LIMIT, Checks, copy, snapshot
from check_repair import is_damaged

POLICY = "version: 1\nmode: off\n"


class Walk:
    """What a mount shows: names of keys and values, what is lost, and wrong errors."""

    def __init__(self, root):
        self.keys = self.values = 0
        self.lost, self.wrong, self.directories = [], [], []
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.visit(top, "", 0)
        os.close(top)

    def fail(self, path, error):
        (self.lost if error.errno == errno.EUCLEAN else self.wrong).append(f"{path}: {error.strerror}")

    def visit(self, directory, path, depth):
        self.keys += 1
        if depth < 200:
            self.directories.append(path)
        try:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(directory))
        except OSError as error:
            return self.fail(path, error)
        for name, is_directory in entries:
            below = f"{path}/{name}"
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    self.keys += 1
                    os.readlink(name, dir_fd=directory)
                    continue
                place = os.open(name, os.O_RDONLY | (os.O_DIRECTORY if is_directory else 0), dir_fd=directory)
            except OSError as error:
                self.fail(below, error)
                continue
            try:
                for attribute in os.listxattr(place):
                    os.getxattr(place, attribute)
            except OSError as error:
                self.fail(below, error)
            if is_directory:
                self.visit(place, below, depth + 1)
            else:
                self.values += 1
                try:
                    while os.read(place, 1 << 20):
                        pass
                except OSError as error:
                    self.fail(below, error)
            os.close(place)


class DamageChecks(Checks):
    def __init__(self, regward, shared, policy):
        super().__init__(regward, shared)
        self.policy = policy

    def rules(self, hive):
        lines = self.run(self.regward, "check", "--json", hive).stdout.decode().splitlines()
        return {json.loads(line).get("rule") for line in lines}

    def damage(self, row):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as place:
            hive = copy(self.hives, row["file"], folder)
            before, rules = snapshot(folder), self.rules(hive)
            log = os.path.join(folder, "log")
            run = self.run(self.regward, "mount", "--policy", self.policy, hive, place)
            if run.returncode not in (0, 32) or run.returncode and not run.stderr:
                return f"exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            if run.returncode:
                return None if snapshot(folder) == before else "a refused mount has changed a file"
            try:
                is_read_only = b"for reading only" in run.stderr
                if bool(os.statvfs(place).f_flag & os.ST_RDONLY) != is_read_only:
                    return "that it is for reading only is not told, or not true"
                walk = Walk(place)
                changes = self.change(place, walk, is_read_only)
            finally:
                status = self.run(self.regward, "umount", place).returncode
            if walk.wrong or changes:
                return f"wrong errors: {(walk.wrong + changes)[:5]}"
            if status:
                return "the daemon was gone before it was unmounted"
            if is_read_only and snapshot(folder) != before:
                return "a mount for reading has changed a file"
            info = self.golden_info("info", os.path.join(self.hives, row["file"]))
            found = (info.get("keys", 0), info.get("values", 0))
            if (walk.keys < found[0] or walk.values < found[1]) and not walk.lost:
                return f"golden.py finds {found} keys and values, the mount shows {(walk.keys, walk.values)}, and nothing is lost"
            new = self.rules(hive) - rules - {None}
            if "cell-reference" in rules:
                # What pointed to nothing may point to something now.
                new -= {"cell-shared"}
            if not is_read_only and new:
                return f"after changes, the checker finds {sorted(new)}; before {sorted(rules - {None})}"
        return None

    def change(self, place, walk, is_read_only):
        allowed = {errno.EROFS, errno.EUCLEAN} if is_read_only else {errno.EUCLEAN}
        wrong = []
        for path in walk.directories:
            for name, text in (("new%dword", "1\n"), ("new", "2\n")):
                try:
                    with open(f"{place}{path}/{name}", "w") as file:
                        file.write(text)
                except OSError as error:
                    if error.errno not in allowed:
                        wrong.append(f"{path}/{name}: {error.strerror}")
            try:
                os.mkdir(f"{place}{path}/new key")
                os.rename(f"{place}{path}/new key", f"{place}{path}/a new key of a longer name")
                os.rmdir(f"{place}{path}/a new key of a longer name")
            except OSError as error:
                if error.errno not in allowed and error.errno != errno.ENOSPC:
                    wrong.append(f"{path}: a new key: {error.strerror}")
        return wrong


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sys.setrecursionlimit(10000)
    shared = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../../../shared")
    # Nobody else may be able to write where a policy lies.
    folder = tempfile.mkdtemp(dir=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.build"))
    policy = os.path.join(folder, "policy.yaml")
    with open(policy, "w") as file:
        file.write(POLICY)
    checks = DamageChecks(sys.argv[1], shared, policy)
    with open(os.path.join(checks.hives, "MANIFEST.tsv"), encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE) if is_damaged(row)]
    passed = failed = 0
    for row in rows:
        try:
            problem = checks.damage(row)
        except subprocess.TimeoutExpired:
            problem = f"it hangs ({LIMIT} s)"
        if problem:
            failed += 1
            print(f"{row['file']}: {problem}", flush=True)
        else:
            passed += 1
    shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
