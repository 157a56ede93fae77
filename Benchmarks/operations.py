#!/usr/bin/env python3
"""operations.py PROGRAMS WORK --a OPTIONS --b OPTIONS [--names A,B] [--rounds N] [--dirs N] [--files N] [--rules N] [--title TEXT]

Compares what operations cost on two mounts that differ in their options, in turns: the median processor time of each, client and
server together, and the median of the ratios, round by round. {policy} and {off} in OPTIONS stand for a policy of as many rules, in
force and with `mode: off`. PROGRAMS is the folder of regward and make-hive-samples; WORK is for hives, and must be writable by its
owner only.
"""
import argparse, os, shutil, statistics, sys

from mounted import Mount, PIN, client_us, regward, say, table, uniform_hive, write_policy

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("programs")
parser.add_argument("work")
parser.add_argument("--a", required=True)
parser.add_argument("--b", required=True)
parser.add_argument("--names", default="A,B")
parser.add_argument("--title", default="")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--dirs", type=int, default=1000)
parser.add_argument("--files", type=int, default=20)
parser.add_argument("--rules", type=int, default=1000)
parser.add_argument("--count", type=int, default=3000, help="changes of each kind")
arguments = parser.parse_args()


def look_up(path): os.stat(path)


def read(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 128)
    os.close(descriptor)


def write(path, flags):
    descriptor = os.open(path, flags, 0o644)
    os.write(descriptor, b"v" * 64)
    os.close(descriptor)


def create(path): write(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def rewrite(path): write(path, os.O_WRONLY | os.O_TRUNC)


def rename(path): os.rename(path, path + "x")


def synced(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, b"w" * 64)
    os.fsync(descriptor)
    os.close(descriptor)


def operations(mountpoint):
    """In their order: each leaves what the next one needs."""
    there = [f"{mountpoint}/d{key:05}/f{value:03}" for key in range(arguments.dirs) for value in range(arguments.files)]
    ours = [f"{mountpoint}/tmp/n{number:06}" for number in range(arguments.count)]
    keys = [f"{mountpoint}/tmp/k{number:06}" for number in range(arguments.count)]
    return [
        ("look-up", look_up, there), ("stat, cached", look_up, there), ("open, read, close", read, there),
        ("open, read, close again", read, there), ("create, write, close", create, ours), ("rewrite", rewrite, ours),
        ("rewrite, fsync", synced, ours[:200]), ("rename", rename, ours), ("unlink", os.unlink, [path + "x" for path in ours]),
        ("mkdir", os.mkdir, keys), ("rmdir", os.rmdir, keys),
    ]


def round_(options):
    """Microseconds of each operation on a fresh copy of the hive."""
    copy = f"{arguments.work}/compared.hiv"
    for end in ("", ".LOG1", ".LOG2"):
        if os.path.exists(copy + end):
            os.remove(copy + end)
    shutil.copyfile(hive, copy)
    mount = Mount(regward(arguments.programs, copy, f"{arguments.work}/mnt.{os.getpid()}", options), f"{arguments.work}/mnt.{os.getpid()}")
    costs = {}
    try:
        for name, operation, paths in operations(mount.mountpoint):
            before = mount.processor_us() + client_us()
            for path in paths:
                operation(path)
            costs[name] = (mount.processor_us() + client_us() - before) / len(paths)
    finally:
        mount.unmount()
        os.remove(copy)
    return costs


os.makedirs(arguments.work, mode=0o700, exist_ok=True)
if PIN:
    os.sched_setaffinity(0, {0})
arguments.work = os.path.realpath(arguments.work)
hive = uniform_hive(arguments.programs, f"{arguments.work}/{arguments.dirs}x{arguments.files}.hiv", arguments.dirs, arguments.files, 64)
policies = {}
for name, mode in (("policy", "enforce"), ("off", "off")):
    policies[name] = f"policy={arguments.work}/{name}-{arguments.rules}.yaml"
    write_policy(policies[name][7:], arguments.rules, mode)
rounds = {"a": [], "b": []}
for number in range(arguments.rounds):
    for side in ("ab" if number % 2 == 0 else "ba"):
        rounds[side].append(round_(getattr(arguments, side).format(**policies)))
    say(f"round {number + 1} of {arguments.rounds}")
names = arguments.names.split(",")
rows = []
for operation in rounds["a"][0]:
    a = [costs[operation] for costs in rounds["a"]]
    b = [costs[operation] for costs in rounds["b"]]
    ratios = sorted(x / y for x, y in zip(a, b))
    rows.append((operation, f"{statistics.median(a):.1f}", f"{statistics.median(b):.1f}", f"{statistics.median(ratios):.3f}", f"{ratios[0]:.2f} – {ratios[-1]:.2f}"))
if arguments.title:
    print(f"### {arguments.title}\n")
print(table(["operation, µs", names[0], names[1], "ratio", "least – most"], rows))
