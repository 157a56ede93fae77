#!/usr/bin/env python3
"""check_kill.py BIN [--kills N] [--mounts N] [--seed S] [--jobs N] [--shared SHARED] - kill -9 loses nothing acknowledged.

N times (100 unless told) `BIN/hive-stress run` changes a hive file as a seed says, and tells of each operation once it is
done; it is killed at a random moment: while it opens, appends to a log, makes durable, or brings a log to the primary file.
Some hives are gone on with where the last round left them. M times (5 unless told) a Python program changes a hive through
a real mount, and `regward mount` is killed. Afterwards the hive as golden.py's own replay of the logs makes it must hold
what the model holds after the last acknowledged operation, or after the one that was under way; golden.py's strict check
must find nothing; and `regward recover` and `regward check` must come to the same.
Prints a line for each failure, with the seed of its round, and "N passed, N failed"; exits with 1 when one failed.
What a failed round has left is kept as killed-SEED in the folder for temporary files.
"""
import argparse, concurrent.futures, hashlib, importlib.util, os, random, shutil, signal, subprocess, sys, tempfile
import threading, time

LIMIT = 300  # seconds for anything that is not killed
ROUNDS = 5   # at most, on one hive


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--mounts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--shared", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.kills} kills, {arguments.mounts} of a mount", flush=True)
    series = []
    dice = random.Random(arguments.seed)
    left = arguments.kills
    while left:
        rounds = min(left, dice.randint(1, ROUNDS))
        series.append((kill_series, arguments, dice.randrange(1 << 32), rounds))
        left -= rounds
    if os.access("/dev/fuse", os.R_OK | os.W_OK):
        series += [(mount_series, arguments, dice.randrange(1 << 32), 1) for _ in range(arguments.mounts)]
    elif arguments.mounts:
        print("/dev/fuse cannot be used here: no mount is killed")
    passed = failed = 0
    moments = {}
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        for seed, outcomes in pool.map(run_series, series):
            for problem, moment in outcomes:
                moments[moment] = moments.get(moment, 0) + 1
                passed, failed = (passed, failed + 1) if problem else (passed + 1, failed)
                if problem:
                    print(f"seed {seed}: {problem}", flush=True)
    print("killed: " + ", ".join(f"{count} {moment}" for moment, count in sorted(moments.items())))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def run_series(work):
    body, arguments, seed, rounds = work
    outcomes = []
    folder = tempfile.mkdtemp()
    try:
        body(Killer(arguments, folder, random.Random(seed)), rounds, outcomes)
    except Exception as error:  # whatever happens belongs to this seed
        outcomes.append((f"{type(error).__name__}: {error}", "by an error"))
    if any(problem for problem, _ in outcomes):
        shutil.copytree(folder, os.path.join(tempfile.gettempdir(), f"killed-{seed}"), dirs_exist_ok=True)
    shutil.rmtree(folder)
    return seed, outcomes


class Killer:
    def __init__(self, arguments, folder, dice):
        self.stress = os.path.join(arguments.bin, "hive-stress")
        self.regward = os.path.abspath(os.path.join(arguments.bin, "regward"))
        self.folder, self.dice = folder, dice
        self.hive = os.path.join(folder, "HIVE")
        spec = importlib.util.spec_from_file_location("golden", os.path.join(arguments.shared, "tools/golden.py"))
        self.golden = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.golden)

    def run(self, *command):
        return subprocess.run(command, capture_output=True, timeout=LIMIT)

    def recovered(self):
        """The lines of the hive as golden.py's replay makes it, whether logs were replayed, and what it finds wrong."""
        primary = open(self.hive, "rb").read()
        logs = [(name, open(path, "rb").read()) for name, path in self.golden.find_logs(self.hive)]
        image, report = self.golden.recover(primary, logs)
        lines, _ = self.golden.lines_own(image)
        return lines, report, self.golden.strict(image)["problems"]

    def problem_of_ours(self, lines):
        """What `regward recover` and `regward check` say otherwise than golden.py."""
        out = os.path.join(self.folder, "recovered")
        before = {name: os.stat(os.path.join(self.folder, name)).st_mtime_ns for name in os.listdir(self.folder)}
        recover = self.run(self.regward, "recover", self.hive, "-o", out)
        if recover.returncode:
            return f"regward recover: {recover.stderr.decode()[-500:]}"
        dump, check = self.run(self.regward, "dump", out), self.run(self.regward, "check", self.hive)
        os.unlink(out)
        if dump.stdout != self.golden.render(lines):
            return "regward recover makes another hive of it than golden.py"
        if check.returncode:
            return f"regward check: {check.stdout.decode()[:500]}{check.stderr.decode()[-500:]}"
        after = {name: os.stat(os.path.join(self.folder, name)).st_mtime_ns for name in os.listdir(self.folder)}
        return None if after == before else "recover or check wrote to the files"


# ------------------------------------------------------------------ hive-stress

def kill_series(killer, rounds, outcomes):
    dice = killer.dice
    minor = dice.choice((3, 4, 5, 6))
    options = ["--seed", str(dice.randrange(1 << 32)), "--minor", str(minor), "--keys", str(dice.choice((20, 60, 200))),
               "--data", str(dice.choice((500, 20_000)))]
    done = None
    for _ in range(rounds):
        command = [killer.stress, "run", killer.hive, *options, "--count", "100000000",
                   "--sync-every", str(dice.choice((0, 0, 1, 7, 50))),
                   "--log-limit", str(dice.choice((16_384, 65_536, 262_144)))]
        if done is not None:
            command += ["--from", str(done)]
        acknowledged, error = run_and_kill(killer, command)
        if error:
            outcomes.append((f"{' '.join(command)} ends by itself: {error}", "by itself"))
            return
        if acknowledged is None and done is None:
            # It was killed while it made the hive, which is no change of a hive: the next round begins anew.
            for name in os.listdir(killer.folder):
                os.unlink(os.path.join(killer.folder, name))
            outcomes.append((None, "while the hive was made"))
            continue
        first = acknowledged if acknowledged is not None else done
        lines, report, problems = killer.recovered()
        moment = "with a clean hive" if not report["dirty"] else f"with {len(report['applied'])} logs to replay"
        moment = "while it was opened" if acknowledged is None else moment
        digest = hashlib.sha256(killer.golden.render(lines)).hexdigest()
        states = killer.run(killer.stress, "states", *options, str(first), str(first + 1)).stdout.decode().split()
        problem = None
        if problems:
            problem = f"golden.py finds {problems[:3]}"
        elif digest not in (states[1], states[3]):
            problem = f"it holds neither what it held after operation {first} nor after the next: {report}"
        problem = problem or killer.problem_of_ours(lines)
        outcomes.append((problem and f"{' '.join(command)}: {problem}", moment))
        if problem:
            return
        done = first if digest == states[1] else first + 1


def run_and_kill(killer, command):
    """The last acknowledged operation, None before the hive was open, and why it ended without being killed."""
    with open(os.path.join(killer.folder, "stderr"), "w+b") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        output = b""
        if killer.dice.random() < 0.9:
            # After so many lines, the first tells that it is open; and then a little later.
            lines = int(killer.dice.random() ** 3 * 1500) + 1
            while output.count(b"\n") < lines:
                piece = os.read(process.stdout.fileno(), 4096)
                if not piece:
                    break
                output += piece
            time.sleep(killer.dice.random() * 0.005)
        else:
            time.sleep(killer.dice.random() * 0.06)
        process.send_signal(signal.SIGKILL)
        output += process.stdout.read()
        status = process.wait()
        stderr.seek(0)
        error = stderr.read().decode()[-1000:] if status != -signal.SIGKILL else None
    os.unlink(os.path.join(killer.folder, "stderr"))
    # A line that was cut was not told.
    numbers = [int(line.split()[-1]) for line in output.decode().split("\n")[:-1]]
    return max(numbers, default=None), error


# ------------------------------------------------------------------ a mount

def mount_series(killer, _, outcomes):
    folder, dice = killer.folder, killer.dice
    options = ["--seed", str(dice.randrange(1 << 32)), "--keys", "30", "--names", "readable"]
    made = killer.run(killer.stress, "run", killer.hive, *options, "--count", "200")
    if made.returncode:
        outcomes.append((f"hive-stress: {made.stderr.decode()}", "by itself"))
        return
    place = tempfile.mkdtemp()
    # In the foreground, so that the process that is killed is the one that serves.
    daemon = subprocess.Popen([killer.regward, "mount", "-f", killer.hive, place], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while not os.path.ismount(place):
            if daemon.poll() is not None or time.monotonic() > end:
                outcomes.append((f"not mounted: {daemon.stderr.read().decode()}", "by itself"))
                return
            time.sleep(0.01)
        writer = Writer(place, dice)
        killing = threading.Timer(0.05 + dice.random() * 1.5, daemon.kill)
        killing.start()
        error = writer.run()
        killing.join()
        daemon.wait()
    finally:
        daemon.kill()
        subprocess.run(["fusermount3", "-uz", place], capture_output=True, timeout=LIMIT)
        os.rmdir(place)
    if error:
        outcomes.append((error, "in a mount"))
        return
    lines, report, problems = killer.recovered()
    found = Writer.read(killer.golden, lines)
    problem = None
    if problems:
        problem = f"golden.py finds {problems[:3]}"
    elif found not in (writer.before, writer.after):
        problem = (f"after {writer.count} operations, in {writer.doing}: lost {sorted(set(writer.before) - set(found))[:3]}, "
                   f"too much {sorted(set(found) - set(writer.after))[:3]}, {report}")
    outcomes.append((problem or killer.problem_of_ours(lines), "in a mount"))


class Writer:
    """Changes what lies below a key of its own in a mount, and knows what must be there: `before` when the operation under
    way has not been done, `after` when it has. Both are sets of (path, value name or None, digest of the data)."""
    ROOT = "Written"

    def __init__(self, place, dice):
        self.place, self.dice = place, dice
        self.keys, self.values = {}, {}  # by path: nothing yet; by (path, name): text
        self.before = self.after = frozenset()
        self.count, self.doing = 0, None

    def run(self):
        """None once the daemon is gone; else what went wrong."""
        number = 0
        while True:
            number += 1
            keys, values = dict(self.keys), dict(self.values)
            operation, body = self.draw(number, keys, values)
            self.after, self.doing = self.state(keys, values), operation
            try:
                body()
            except OSError as error:
                # ENOTCONN, ECONNABORTED, and ENODEV or EIO from a descriptor that was open.
                return None if error.errno in (107, 103, 5, 19) else f"{operation}: {error}"
            self.keys, self.values, self.before = keys, values, self.after
            self.count += 1

    def draw(self, number, keys, values):
        """An operation, what does it; `keys` and `values` are made what they will be then."""
        dice = self.dice
        if not keys:
            keys[self.ROOT] = True
            return "mkdir", lambda: os.mkdir(self.path(self.ROOT))
        key = dice.choice(sorted(keys))
        inside = [value for value in sorted(values) if value[0] == key]
        kind = dice.randrange(10)
        if kind < 2 and key.count("/") < 6:
            new = f"{key}/Key {number} ключ"
            keys[new] = True
            return f"mkdir {new}", lambda: os.mkdir(self.path(new))
        if kind == 2 and key != self.ROOT and not inside and not any(other.startswith(key + "/") for other in keys):
            del keys[key]
            return f"rmdir {key}", lambda: os.rmdir(self.path(key))
        if kind == 3 and key != self.ROOT:
            new = f"{os.path.dirname(key)}/Renamed {number}"
            for other in [other for other in keys if other == key or other.startswith(key + "/")]:
                keys[new + other[len(key):]] = keys.pop(other)
            for other, name in [value for value in values if value[0] == key or value[0].startswith(key + "/")]:
                values[new + other[len(key):], name] = values.pop((other, name))
            return f"rename {key} {new}", lambda: os.rename(self.path(key), self.path(new))
        if kind == 4 and inside:
            value = dice.choice(inside)
            del values[value]
            return f"unlink {value}", lambda: os.unlink(self.path(*value))
        if kind == 5 and inside:
            value, new = dice.choice(inside), (dice.choice(sorted(keys)), f"moved {number}")
            values[new] = values.pop(value)
            return f"rename {value} {new}", lambda: os.rename(self.path(*value), self.path(*new))
        value = dice.choice(inside) if inside and dice.random() < 0.5 else (key, f"value {number}")
        values[value] = f"{number} " + "z" * dice.choice((0, 3, 50, 3000, 20_000))
        return f"write {value}", lambda: self.write(self.path(*value), values[value], dice.random() < 0.2)

    def path(self, *names):
        return os.path.join(self.place, *names)

    @staticmethod
    def write(path, text, is_durable):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, text.encode() + b"\n")
            if is_durable:
                os.fsync(descriptor)
        except OSError:
            try:
                os.close(descriptor)
            except OSError:
                pass
            raise
        # What was written is set here.
        os.close(descriptor)

    @staticmethod
    def state(keys, values):
        digest = lambda text: hashlib.sha256((text + "\0").encode("utf-16-le")).hexdigest()
        return frozenset([(key, None, None) for key in keys] + [(*value, digest(text)) for value, text in values.items()])

    @classmethod
    def read(cls, golden, lines):
        found = set()
        for line in lines:
            fields = line.split("\t")
            path = fields[1].replace("\\", "/")
            if path == cls.ROOT or path.startswith(cls.ROOT + "/"):
                found.add((path, None, None) if fields[0] == "K" else (path, fields[2], fields[5]))
        return frozenset(found)


if __name__ == "__main__":
    main()
