#!/usr/bin/env python3
"""growth.py PROGRAMS WORK [--sizes KEYSxVALUESxLENGTH,…] [--rules N,…] [--procs N,…] [--count N]

How costs grow: with the hive, with the children of one key, with the rules, with the clients. Each mount is a fresh one; costs of an
operation are processor time of client and server, both bound to one CPU. A line that is out of step with the one before is a cliff.
"""
import argparse, os, random, shutil, subprocess, sys, time

from mounted import Failure, Mount, PIN, client_us, regward, say, table, uniform_hive, write_policy

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("programs")
parser.add_argument("work")
parser.add_argument("--sizes", default="100x10x64,1000x10x64,10000x10x64,100000x10x64,10x1000x64,10x10000x64,10x100000x64")
parser.add_argument("--rules", default="10,100,1000,10000,100000")
parser.add_argument("--procs", default="1,4,16,64")
parser.add_argument("--count", type=int, default=2000, help="operations of each kind")
arguments = parser.parse_args()

random.seed(5)


def mounted_copy(hive, *options):
    copy = f"{arguments.work}/grown.hiv"
    for end in ("", ".LOG1", ".LOG2"):
        if os.path.exists(copy + end):
            os.remove(copy + end)
    # The file is in the page cache then: what is measured is the program.
    shutil.copyfile(hive, copy)
    mountpoint = f"{arguments.work}/mnt.{os.getpid()}"
    return Mount(regward(arguments.programs, copy, mountpoint, *options), mountpoint, timeout=300)


def cost(mount, operation, paths):
    """Microseconds of each; its own errors are told, not hidden."""
    before = mount.processor_us() + client_us()
    for path in paths:
        operation(path)
    return (mount.processor_us() + client_us() - before) / max(1, len(paths))


def create(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, b"v" * 64)
    os.close(descriptor)


def some(keys, values, count):
    return [f"d{random.randrange(keys):05}/f{random.randrange(values):03}" for _ in range(count)]


def hive_row(size):
    keys, values, length = map(int, size.split("x"))
    hive = uniform_hive(arguments.programs, f"{arguments.work}/{size}.hiv", keys, values, length)
    mount = mounted_copy(hive)
    try:
        root = mount.mountpoint
        resident = mount.memory_kb("VmRSS")
        look_up = cost(mount, os.stat, [f"{root}/{path}" for path in some(keys, values, arguments.count)])
        names = [f"new{number:06}" for number in range(arguments.count)]
        create_value = cost(mount, create, [f"{root}/d00000/{name}" for name in names])
        create_key = cost(mount, os.mkdir, [f"{root}/{name}" for name in names])
        unlink = cost(mount, os.unlink, [f"{root}/d00000/{name}" for name in names])
        before = mount.processor_us() + client_us()
        found = subprocess.run(["find", root], stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
        find = (mount.processor_us() + client_us() - before) / found
        peak = mount.memory_kb()
    finally:
        leave = mount.unmount(600)
    megabytes = os.path.getsize(hive) / 1e6
    return (
        f"{keys:,} × {values:,}", f"{megabytes:.1f}", mount.first_ls(), f"{look_up:.1f}", f"{create_value:.1f}",
        f"{create_key:.1f}", f"{unlink:.1f}", f"{find:.2f}", f"{resident / 1024:.0f}", f"{peak / 1024:.0f}", "killed" if leave is None else f"{leave:.2f}")


def rules_row(rules):
    hive = uniform_hive(arguments.programs, f"{arguments.work}/1000x10x64.hiv", 1000, 10, 64)
    policy = f"{arguments.work}/rules.yaml"
    write_policy(policy, rules)
    mount = mounted_copy(hive, f"policy={policy}")
    try:
        names = [f"{mount.mountpoint}/d{number % 1000:05}/new{number}" for number in range(arguments.count)]
        row = [cost(mount, os.stat, [f"{mount.mountpoint}/{path}" for path in some(1000, 10, arguments.count)])]
        row += [cost(mount, create, names), cost(mount, os.unlink, names), cost(mount, os.mkdir, names)]
        memory = mount.memory_kb()
    finally:
        mount.unmount()
        os.remove(policy)
    return (f"{rules:,}", mount.first_ls(), *(f"{us:.1f}" for us in row), f"{memory / 1024:.0f}")


def clients_row(clients):
    """All clients at once, each with its own part; not bound to one CPU: their waiting for each other is what is asked."""
    hive = uniform_hive(arguments.programs, f"{arguments.work}/1000x10x64.hiv", 1000, 10, 64)
    mount = mounted_copy(hive)
    row = []
    try:
        total = 20 * arguments.count // 64 * 64
        paths = [f"{mount.mountpoint}/{path}" for path in some(1000, 10, total)]
        made = [f"{mount.mountpoint}/tmp/n{number:06}" for number in range(total)]
        for operation, places in ((os.stat, paths), (lambda path: os.close(os.open(path, os.O_RDONLY)), paths), (create, made), (os.unlink, made)):
            before, began, children = mount.processor_us() + client_us(), time.monotonic(), []
            for number in range(clients):
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        for path in places[number::clients]:
                            operation(path)
                        status = 0
                    finally:
                        os._exit(status)
                children.append(child)
            if any(os.waitpid(child, 0)[1] for child in children):
                raise Failure(f"an operation of {clients} clients failed")
            row.append(f"{total / (time.monotonic() - began):,.0f} ({(mount.processor_us() + client_us() - before) / total:.1f})")
        memory = mount.memory_kb()
    finally:
        mount.unmount()
    return (str(clients), *row, f"{memory / 1024:.0f}")


def show(title, heads, rows):
    print(f"### {title}\n\n{table(heads, rows)}", flush=True)


def each(label, items, row):
    rows = []
    for item in items:
        rows.append(row(item))
        say(f"{label}: {item}")
    return rows


os.makedirs(arguments.work, mode=0o700, exist_ok=True)
arguments.work = os.path.realpath(arguments.work)
allowed = os.sched_getaffinity(0)
if PIN:
    os.sched_setaffinity(0, {0})
if arguments.sizes:
    show(
        "With the hive: µs of processor time of an operation; load %.1f" % os.getloadavg()[0],
        ["keys × values", "MB", "mount to the first ls, ms (processor)", "look-up", "new value", "new key", "unlink", "find, an entry", "MB after mounting", "MB at most", "unmount, s"],
        each("hive", arguments.sizes.split(","), hive_row))
if arguments.rules:
    show(
        "With the rules: µs of processor time of an operation", ["rules", "mount to the first ls, ms (processor)", "look-up", "new value", "unlink", "new key", "MB at most"],
        each("rules", map(int, arguments.rules.split(",")), rules_row))
if arguments.procs:
    os.sched_setaffinity(0, allowed)
    show(
        "With the clients: operations a second, in brackets µs of processor time of one", ["clients", "stat", "open and close", "create, write, close", "unlink", "MB at most"],
        each("clients", map(int, arguments.procs.split(",")), clients_row))
