#!/usr/bin/env python3
"""make_corpus.py FOLDER HIVE... - seeds for the fuzzers: hives with their logs in the form that FuzzInput.swift tells.

Each hive becomes one seed without a script, for the fuzzer of readers, and some with scripts, for that of changes. Hives over
64 KiB are left out: long inputs are slow ones.
"""
import os, random, sys

LIMIT = 64 << 10


def read(path):
    with open(path, "rb") as file:
        return file.read()


def pack(primary, logs, script):
    bins = primary[4096:]
    pages, sectors = (len(bins) + 4095) // 4096, (len(logs[0]) + 511) // 512 if logs else 0
    if logs:
        bins = bins.ljust(pages * 4096, b"\0")
    if len(logs) == 2:
        logs = [logs[0].ljust(sectors * 512, b"\0"), logs[1]]
    if pages > 255 or sectors > 255:
        return None
    head = bytes([len(logs), pages, sectors, len(script) // 4])
    return head + script + primary[:512] + bins + b"".join(logs)


def main():
    folder, hives = sys.argv[1], sys.argv[2:]
    numbers = random.Random(1)
    os.makedirs(folder, exist_ok=True)
    count = 0
    for hive in hives:
        place, base = os.path.split(hive)
        ends = (".log", ".log1", ".log2")
        beside = sorted(n for n in os.listdir(place) if n.lower() in [base.lower() + end for end in ends])
        logs = [read(os.path.join(place, name)) for name in beside][:2]
        primary = read(hive)
        if len(primary) + sum(map(len, logs)) > LIMIT:
            continue
        scripts = [b""] if logs else [b""] + [numbers.randbytes(4 * length) for length in (4, 16, 64)]
        for script in scripts:
            seed = pack(primary, logs, script)
            if seed:
                name = hive.strip("./").replace("/", "__")[-150:]
                with open(os.path.join(folder, f"{name}-{len(script)}"), "wb") as out:
                    out.write(seed)
                count += 1
    print(f"{count} seeds in {folder}")


if __name__ == "__main__":
    main()
