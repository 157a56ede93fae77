#!/usr/bin/env python3
"""check_recovery.py REGWARD [SHARED] - dirty hives made whole, and damaged ones found out, against golden.py.

Every sample hive of SHARED/hives is checked (`regward check`) and recovered (`regward recover`), and no file beside the new
one may change. A check must find something exactly where golden.py's strict check does. A recovered file must pass that
check without logs, dump as the golden dump says, have mode 0600 and the sequence numbers that golden.py's replay gives;
two must equal what Windows made of them. Hives that no log makes whole, and damaged ones, must be refused with a message
and no file made. Where FUSE can be used, dirty hives are also mounted: `ro` changes no file, `rw` leaves a clean hive.
Prints a line for each failure and "N passed, N failed"; exits with 1 when one failed.
"""
import csv, gzip, hashlib, json, lzma, os, shutil, struct, subprocess, sys, tempfile

LIMIT = 120  # seconds for a debug build on a slow machine

BY_WINDOWS = {
    "dirty/NewDirtyHive1/NewDirtyHive": ("dirty/recovered-by-windows/NewDirtyHive1-RecoveredHive_Windows10", True),
    # Windows 7 gave it a new time: the dumps are compared, not the bytes.
    "dirty/OldDirtyHive/OldDirtyHive.xz": ("dirty/recovered-by-windows/OldDirtyHive-RecoveredHive_Windows7.xz", False),
}
MOUNTED = ("craft/dirty_new_two/HIVE", "craft/dirty_new_badbase/HIVE", "craft/dirty_old_log/HIVE",
           "dirty/NewDirtyHive2/NewDirtyHive")


def unpacked(path):
    with (lzma.open(path) if path.endswith(".xz") else open(path, "rb")) as data:
        return data.read()


def copy(hives, name, folder):
    """The hive and its logs, unpacked and writable; the path of the hive."""
    path = os.path.join(hives, name)
    base = os.path.basename(name).removesuffix(".xz")
    for other in os.listdir(os.path.dirname(path)):
        plain = other.removesuffix(".xz")
        if plain == base or plain.lower() in (base.lower() + end for end in (".log", ".log1", ".log2")):
            with open(os.path.join(folder, plain), "wb") as out:
                out.write(unpacked(os.path.join(os.path.dirname(path), other)))
    return os.path.join(folder, base)


def snapshot(folder, without=()):
    return {
        entry: hashlib.sha256(open(os.path.join(folder, entry), "rb").read()).hexdigest()
        for entry in sorted(os.listdir(folder)) if entry not in without
    }


class Checks:
    def __init__(self, regward, shared):
        self.regward = os.path.abspath(regward)
        self.hives = os.path.join(shared, "hives")
        self.golden = os.path.join(shared, "tools/golden.py")

    def run(self, *arguments):
        return subprocess.run(arguments, capture_output=True, timeout=LIMIT)

    def golden_info(self, command, hive, *options):
        return json.loads(self.run(sys.executable, self.golden, command, hive, *options).stdout)

    def golden_dump(self, row):
        """Its bytes, or its hash."""
        if row["golden"] == "sha256 only":
            return row["golden_sha256"]
        with gzip.open(os.path.join(self.hives, row["golden"])) as golden:
            return hashlib.sha256(golden.read()).hexdigest()

    def check(self, row):
        with tempfile.TemporaryDirectory() as folder:
            hive = copy(self.hives, row["file"], folder)
            before = snapshot(folder)
            run = self.run(self.regward, "check", "--json", hive)
            if snapshot(folder) != before:
                return "the check changed a file"
            if run.returncode not in (0, 4):
                return f"exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
            findings = [line for line in lines if "rule" in line]
            if lines[-1]["findings"] != len(findings) or (run.returncode == 4) != bool(findings):
                return "exit status, closing line and findings tell different stories"
            wanted = row["strict_problems"] != "0"
            if bool(findings) != wanted:
                return f"golden.py finds {row['strict_problems']}, the check {findings[:3]}"
            is_recovered = row["dirty"] == "dirty" and "no usable log" not in row["recovery"]
            if is_recovered != any("recovered" in line for line in lines):
                return "that the hive was recovered is not told, or told wrongly"
        return None

    def recover(self, row):
        name = row["file"]
        with tempfile.TemporaryDirectory() as folder:
            hive = copy(self.hives, name, folder)
            # The names of logs have no case.
            for entry in os.listdir(folder):
                if entry != os.path.basename(hive):
                    os.rename(os.path.join(folder, entry), os.path.join(folder, entry.swapcase()))
            before = snapshot(folder)
            out = os.path.join(folder, "recovered")
            run = self.run(self.regward, "recover", hive, "-o", out)
            if snapshot(folder, without=["recovered"]) != before:
                return "the recovery changed a file"
            if "no usable log" in row["recovery"]:
                return None if run.returncode == 1 and run.stderr and not os.path.exists(out) else "it is not refused"
            if run.returncode:
                if row["golden"] == "-" and run.returncode == 1 and run.stderr and not os.path.exists(out):
                    return None
                return f"exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            if row["golden"] == "-" or row["strict_problems"] != "0":
                return None
            if os.stat(out).st_mode & 0o777 != 0o600:
                return "the new file is not its owner's alone"
            found = self.golden_info("check", out, "--no-logs")
            if found["problem_count"]:
                return f"golden.py finds {found['problems'][:3]}"
            dump = self.run(self.regward, "dump", out).stdout
            if hashlib.sha256(dump).hexdigest() != self.golden_dump(row):
                return "its dump is not the golden one"
            data = open(out, "rb").read()
            reference = os.path.join(folder, "reference")
            self.run(sys.executable, self.golden, "recover", hive, reference)
            wanted = open(reference, "rb").read()
            if data[4096:] != wanted[4096:len(data)]:
                return "its bins are not those of golden.py's replay"
            if row["dirty"] == "dirty" and data[4:12] != wanted[4:12]:
                return f"sequence numbers {struct.unpack('<II', data[4:12])}"
            if name in BY_WINDOWS:
                other, by_bytes = BY_WINDOWS[name]
                theirs = os.path.join(folder, "theirs")
                with open(theirs, "wb") as file:
                    file.write(unpacked(os.path.join(self.hives, other)))
                if by_bytes and data != open(theirs, "rb").read()[:len(data)]:
                    return "Windows made other bytes of it"
                if self.run(self.regward, "dump", theirs).stdout != dump:
                    return "Windows made another hive of it"
            if self.run(self.regward, "recover", hive, "-o", out).returncode != 1:
                return "a file is written over"
        return None

    def mount(self, row):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as place:
            hive = copy(self.hives, row["file"], folder)
            before = snapshot(folder)
            for option in ("ro", "rw"):
                run = self.run(self.regward, "mount", "-o", option, hive, place)
                if run.returncode:
                    return f"{option}: exit status {run.returncode}: {run.stderr.decode()[-300:]}"
                if b"recovered" not in run.stderr:
                    return f"{option}: nobody is told of the recovery"
                entries = os.listdir(place)
                if self.run(self.regward, "umount", place).returncode or not entries:
                    return f"{option}: it is not served"
                if option == "ro" and snapshot(folder) != before:
                    return "a mount for reading changed a file"
            found = self.golden_info("check", hive, "--no-logs")
            if found["problem_count"] or found["recovery"]["dirty"]:
                return f"after rw, golden.py finds {found['problems'][:3]}"
            dump = self.run(self.regward, "dump", hive)
            if dump.returncode or hashlib.sha256(dump.stdout).hexdigest() != self.golden_dump(row):
                return "after rw, its dump is not the golden one"
        return None

    def force(self, row):
        """A dirty hive without logs is refused, and served as it lies, for reading, with `force`."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as place:
            hive = copy(self.hives, row["file"], folder)
            before = snapshot(folder)
            for options, wanted in (("ro", 32), ("rw", 32), ("rw,force", 32), ("ro,force", 0)):
                run = self.run(self.regward, "mount", "-o", options, hive, place)
                if run.returncode != wanted or not run.stderr:
                    return f"{options}: exit status {run.returncode}: {run.stderr.decode()[-300:]}"
            entries = os.listdir(place)
            if self.run(self.regward, "umount", place).returncode or not entries:
                return "it is not served"
            if snapshot(folder) != before:
                return "a file is changed"
        return None

    def fsck(self, _):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "fsck.regward")
            os.symlink(self.regward, program)
            clean = copy(self.hives, "craft/edge_minimal.hiv", folder)
            bad = copy(self.hives, "craft/bad_parent_wrong.hiv", folder)
            for wanted, arguments in (
                (0, ["-a", clean]), (0, ["-C0", "-f", "-y", clean]), (4, ["-p", bad]), (4, ["-n", bad]),
                (8, [clean + ".none"]), (16, []), (16, ["-z", clean]), (16, ["-n", "-y", bad]),
                (1, ["-y", "-o", bad + ".new", bad]), (8, ["-y", "-o", bad + ".new", bad]), (0, [bad + ".new"]),
                (0, ["-a", "-o", clean + ".new", clean]),
            ):
                status = self.run(program, *arguments).returncode
                if status != wanted:
                    return f"fsck.regward {arguments}: exit status {status}, not {wanted}"
        return None


def main():
    shared = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../../../shared")
    checks = Checks(sys.argv[1], shared)
    with open(os.path.join(checks.hives, "MANIFEST.tsv"), encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    work = [("check", checks.check, row) for row in rows]
    work += [("recover", checks.recover, row) for row in rows]
    work.append(("fsck", checks.fsck, {"file": "fsck.regward"}))
    if os.access("/dev/fuse", os.R_OK | os.W_OK):
        work += [("mount", checks.mount, row) for row in rows if row["file"] in MOUNTED]
        work += [("force", checks.force, row) for row in rows if row["file"] == "craft/dirty_nolog/HIVE"]
    passed = failed = 0
    for what, check, row in work:
        try:
            problem = check(row)
        except subprocess.TimeoutExpired:
            problem = "it hangs"
        if problem:
            failed += 1
            print(f"{row['file']}: {what}: {problem}", flush=True)
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
