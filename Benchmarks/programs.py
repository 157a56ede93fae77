#!/usr/bin/env python3
"""programs.py PROGRAMS WORK HIVE... [--only regward,winregfs,regfmount] [--runs N] [--timeout S] [--expected golden.py]

The same work on each program that mounts hives and is installed: mount to the first ls, find twice, read every value, grep, make and
delete 1,000 keys with 3 values each, unmount; and the bytes of every value against a dump of the hive, by golden.py or else by `regward
dump`. Prints a table per hive. What takes longer than --timeout is broken off.
"""
import argparse, collections, hashlib, os, re, shutil, statistics, subprocess, sys, time

from mounted import Failure, Mount, PIN, regward, say, table

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("programs")
parser.add_argument("work")
parser.add_argument("hives", nargs="+")
parser.add_argument("--only", default="regward,winregfs,regfmount")
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--timeout", type=float, default=120, help="seconds of a step")
parser.add_argument("--expected", help="golden.py, an independent reader")
parser.add_argument("--bytes-only", action="store_true", help="measures nothing, compares the bytes")
arguments = parser.parse_args()

ESCAPE = re.compile(r"\\u([0-9A-F]{4})|\\u\{\}")


def undump(text):
    """A name of a dump as a string; unpaired surrogates as such."""
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)


def percent_decoded(name):
    name = re.sub(r"%u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), name)
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), name)


class Regward:
    """Bytes are compared with `-o raw`, as it is for copies."""
    writes = [("v1", b"hello world\n"), ("v2%dword", b"42\n"), ("v3%binary", b"rawbytes")]
    key_name = staticmethod(percent_decoded)

    def words(self, hive, mountpoint, raw=False):
        return regward(arguments.programs, hive, mountpoint, *(["raw"] if raw else []))

    def value_name(self, path):
        name = os.path.basename(path).removesuffix("%val")
        if "%~" in name:
            # Too long for a file's name: the attribute has the whole one.
            name = os.getxattr(path, "user.reg.name").decode()
        return "" if name == "@" else percent_decoded(name)

    def key_path(self, directory): return directory


class Winregfs:
    writes = [("v1.sz", b"hello world\n"), ("v2.dw", b"0000002a\n"), ("v3.bin", b"rawbytes")]

    def words(self, hive, mountpoint, raw=False): return ["mount.winregfs", "-f", hive, mountpoint]

    def key_name(self, name): return name.replace("_SLASH_", "/")

    def value_name(self, path):
        name = os.path.basename(path).rpartition(".")[0]
        return "" if name == "@" else self.key_name(name)

    def key_path(self, directory): return directory


class Regfmount:
    writes = []

    def words(self, hive, mountpoint, raw=False): return ["regfmount", hive, mountpoint]

    def key_name(self, name):
        return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), name).replace("\\\\", "\\")

    def value_name(self, path):
        name = os.path.basename(path)
        return "" if name == "(default)" else self.key_name(name)

    def key_path(self, directory): return os.path.dirname(directory) if os.path.basename(directory) == "(values)" else directory


PROGRAMS = {"regward": Regward(), "winregfs": Winregfs(), "regfmount": Regfmount()}
INSTALLED = {"regward": True, "winregfs": shutil.which("mount.winregfs"), "regfmount": shutil.which("regfmount")}


def readings(content, kind):
    """What a program may have meant by a file: its bytes, or the data that its text stands for."""
    yield content
    if kind in (1, 2, 6, 7):
        for text in {content, content.removesuffix(b"\n")}:
            try:
                units = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
            except UnicodeDecodeError:
                continue
            yield units
            yield units + b"\0\0"
            if kind == 7:
                lines = units.replace(b"\n\0", b"\0\0")
                yield lines + b"\0\0"
                yield lines + b"\0\0\0\0"
    elif kind in (4, 5, 11):
        width = 8 if kind == 11 else 4
        text = content.strip().decode("latin-1")
        for base in (10, 16):
            try:
                number = int(text, base)
                yield number.to_bytes(width, "big" if kind == 5 else "little")
            except (ValueError, OverflowError):
                pass


def expected_values(hive):
    """Path of the key: {name of the value: (type, hash)}."""
    words = [sys.executable, arguments.expected, "dump", hive] if arguments.expected else [f"{arguments.programs}/regward", "dump", hive]
    values = collections.defaultdict(dict)
    for line in subprocess.run(words, capture_output=True, check=True).stdout.decode("utf-8").split("\n"):
        if line.startswith("V\t"):
            _, path, name, kind, _, digest = line.split("\t")
            # A backslash before u and four digits is a unit; any other parts components.
            components = [undump(part) for part in re.split(r"\\(?!u[0-9A-F]{4}|u\{\})", path)] if path else []
            values["\\".join(components)][undump(name)] = (int(kind), digest)
    return values


def compare_bytes(name, hive):
    """How many values have the right bytes under their name, how many another content, and how many no file that can be read."""
    program, expected = PROGRAMS[name], expected_values(hive)
    copy = fresh(hive, name)
    mountpoint = f"{arguments.work}/mnt.{name}"
    mount = Mount(program.words(copy, mountpoint, raw=True), mountpoint)
    until = time.monotonic() + arguments.timeout
    # Whether one of the files that have the value's name has its bytes.
    outcomes = {}
    late = False
    try:
        for directory, _, names in os.walk(os.fsencode(mountpoint)):
            key = program.key_path(os.path.relpath(directory, os.fsencode(mountpoint)).decode("utf-8", "surrogateescape"))
            path = "\\".join(program.key_name(part) for part in key.split("/")) if key not in ("", ".") else ""
            for name in names:
                file = os.path.join(directory, name)
                late = time.monotonic() > until
                if late:
                    break
                try:
                    value = program.value_name(os.fsdecode(file))
                    kind, digest = expected[path][value]
                    with open(file, "rb") as stream:
                        content = stream.read()
                except (KeyError, OSError):
                    continue
                outcomes[path, value] = outcomes.get((path, value)) or any(
                    hashlib.sha256(reading).hexdigest() == digest for reading in readings(content, kind))
            # A directory without files takes its time, too.
            late = late or time.monotonic() > until
            if late:
                break
        ended = "broken off" if late else "" if mount.is_served() else "it died on the way"
    finally:
        mount.unmount()
        remove(copy)
    right = sum(outcomes.values())
    return right, len(outcomes) - right, sum(map(len, expected.values())) - len(outcomes), ended


def remove(hive):
    for end in ("", ".LOG1", ".LOG2"):
        if os.path.exists(hive + end):
            os.remove(hive + end)


def fresh(hive, name):
    copy = f"{arguments.work}/{name}.hiv"
    remove(copy)
    shutil.copyfile(hive, copy)
    return copy


def timed(mount, step):
    """Seconds, and of them the processor time of the server; None when it took too long, DIED when the server has ended."""
    before, began = mount.processor_us(), time.monotonic()
    command = subprocess.Popen(step, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        command.wait(arguments.timeout)
    except subprocess.TimeoutExpired:
        os.killpg(command.pid, 9)
        command.wait()
        return None
    if not mount.is_served():
        return DIED
    return time.monotonic() - began, (mount.processor_us() - before) / 1e6


def change(mount, program, remove_again):
    """Seconds and processor time of 1,000 keys with their values, made or deleted; and how many calls failed."""
    before, began, failed = mount.processor_us(), time.monotonic(), 0
    base = f"{mount.mountpoint}/made"
    for number in range(1000):
        key = f"{base}/k{number:05}"
        calls = [(os.unlink, f"{key}/{name}") for name, _ in program.writes] + [(os.rmdir, key)] if remove_again else []
        if not remove_again:
            calls = [(os.makedirs, key)] + [(lambda path, content=content: write(path, content), f"{key}/{name}") for name, content in program.writes]
        for call, path in calls:
            try:
                call(path)
            except OSError:
                failed += 1
        if time.monotonic() - began > arguments.timeout:
            return None
    if not mount.is_served():
        return DIED
    return time.monotonic() - began, (mount.processor_us() - before) / 1e6, failed


def write(path, content):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


DIED = "died"

STEPS = [
    ("find", "find '{}'"), ("find again", "find '{}'"), ("read every value", "find '{}' -type f -print0 | xargs -0 cat"),
    ("grep -r", "grep -r -a -l Microsoft '{}'"),
]


def measure(name, hive):
    """Each step's text for the table: seconds, and the server's processor time."""
    program, found = PROGRAMS[name], collections.defaultdict(list)
    mountpoint = f"{arguments.work}/mnt.{name}"
    for number in range(arguments.runs):
        copy = fresh(hive, name)
        mount = Mount(program.words(copy, mountpoint), mountpoint)
        try:
            found["mount to the first ls"].append((mount.seconds_to_first_ls, mount.processor_us_to_first_ls / 1e6))
            for step, command in STEPS:
                found[step].append(timed(mount, command.format(mountpoint)))
            if program.writes:
                found["make 1,000 keys, 3,000 values"].append(change(mount, program, False))
                found["delete them"].append(change(mount, program, True))
            found["memory"].append(mount.memory_kb() or DIED)
        finally:
            found["unmount"].append(mount.unmount())
            remove(copy)
        # Another run would take as long, and tell no more.
        if any(None in results for results in found.values()):
            break
        say(f"{name}, {os.path.basename(hive)}: run {number + 1} of {arguments.runs}")
    return found


def shown(step, results):
    if not results: return "–"
    if any(result is None for result in results): return f"> {arguments.timeout:.0f} s"
    if DIED in results: return DIED
    if step == "memory": return f"{statistics.median(results) / 1024:.0f} MB"
    if step == "unmount": return f"{statistics.median(results):.2f} s"
    text = f"{statistics.median(r[0] for r in results):.2f} s ({statistics.median(r[1] for r in results):.2f})"
    failed = max((r[2] for r in results if len(r) > 2), default=0)
    return text + (f", {failed} failed" if failed else "")


os.makedirs(arguments.work, mode=0o700, exist_ok=True)
arguments.work = os.path.realpath(arguments.work)
if PIN:
    os.sched_setaffinity(0, {0})
names = [name for name in arguments.only.split(",") if INSTALLED[name]]
for hive in arguments.hives:
    columns = {}
    for name in names:
        try:
            columns[name] = {} if arguments.bytes_only else measure(name, hive)
            right, wrong, missing, ended = compare_bytes(name, hive)
            columns[name]["bytes"] = f"{right:,} right, {wrong:,} wrong, {missing:,} missing" + (f" ({ended})" if ended else "")
        except (Failure, OSError) as error:
            columns[name] = {"bytes": f"failed: {error}"}
    steps = [] if arguments.bytes_only else ["mount to the first ls", *(step for step, _ in STEPS), "make 1,000 keys, 3,000 values", "delete them", "unmount", "memory"]
    rows = [(step, *(shown(step, columns[name].get(step)) for name in names)) for step in steps]
    rows.append(("bytes of the values", *(columns[name]["bytes"] for name in names)))
    size = os.path.getsize(hive) / 1e6
    measures = "" if arguments.bytes_only else f"; in brackets processor seconds of the program; load {os.getloadavg()[0]:.1f}"
    print(f"### {os.path.basename(hive)}, {size:.0f} MB{measures}\n")
    print(table(["step", *names], rows))
