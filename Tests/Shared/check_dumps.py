#!/usr/bin/env python3
"""check_dumps.py REGWARD [SHARED] - `regward dump` of every sample hive in SHARED/hives against its golden dump.

Every hive must equal its golden dump, dirty ones as their logs make them, and exit with 0; dirty hives that no log makes
whole are dumped as they lie, with a message and 1. Damaged hives (corrupt/, craft/bad_*) must neither crash nor hang, and
must exit with 1 and a message, or with 0 and every key and value that MANIFEST.tsv counts. No file may change.
Prints a line for each failure and "N passed, N failed"; exits with 1 when one failed.
"""
import csv, gzip, hashlib, lzma, os, shutil, subprocess, sys, tempfile

LIMIT = 60  # seconds for a debug build on a slow machine; damaged hives have 10


def unpack(source, target):
    with (lzma.open(source) if source.endswith(".xz") else open(source, "rb")) as data, open(target, "wb") as out:
        shutil.copyfileobj(data, out)


def main():
    regward = os.path.abspath(sys.argv[1])
    root = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../../../shared")
    hives = os.path.join(root, "hives")
    passed = failed = 0
    with open(os.path.join(hives, "MANIFEST.tsv"), encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        name = row["file"]
        problem = check(regward, hives, name, row)
        if problem:
            failed += 1
            print(f"{name}: {problem}", flush=True)
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def check(regward, hives, name, row):
    path = os.path.join(hives, name)
    damaged = name.startswith("corrupt/") or os.path.basename(name).startswith("bad_")
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.basename(name).removesuffix(".xz")
        hive = os.path.join(folder, base)
        unpack(path, hive)
        for other in os.listdir(os.path.dirname(path)):
            plain = other.removesuffix(".xz")
            if plain.lower() in (base.lower() + end for end in (".log", ".log1", ".log2")):
                unpack(os.path.join(os.path.dirname(path), other), os.path.join(folder, plain))
        before = snapshot(folder)
        try:
            run = subprocess.run([regward, "dump", hive], capture_output=True, timeout=10 if damaged else LIMIT)
        except subprocess.TimeoutExpired:
            return "it hangs"
        if snapshot(folder) != before:
            return "it changed a file"
    message = run.stderr.decode("utf-8", "replace")
    if run.returncode not in (0, 1):
        return f"exit status {run.returncode}: {message[-300:]}"
    if run.returncode == 1 and not message:
        return "exit status 1 without a message"
    if damaged:
        if run.returncode == 1:
            return None
        keys = run.stdout.count(b"\nK\t") + run.stdout.startswith(b"K\t")
        values = run.stdout.count(b"\nV\t") + run.stdout.startswith(b"V\t")
        if (keys, values) != (int(row["keys"] or 0), int(row["values"] or 0)) or b"\t!\n" in run.stdout:
            return f"exit status 0, {keys} keys and {values} values of {row['keys']} and {row['values']}"
        return None
    lost = "no usable log" in row["recovery"]
    if lost and (run.returncode == 0 or "dirty" not in message):
        return "nobody is told that no log makes it whole"
    if run.returncode and not lost:
        return f"exit status 1: {message[:300]}"
    if row["golden"] == "sha256 only":
        wanted = row["golden_sha256"]
        if hashlib.sha256(run.stdout).hexdigest() != wanted:
            return "its dump has another hash"
    else:
        with gzip.open(os.path.join(hives, row["golden"])) as golden:
            wanted = golden.read()
        if run.stdout != wanted:
            ours, theirs = set(run.stdout.split(b"\n")), set(wanted.split(b"\n"))
            return f"its dump differs: {list(ours - theirs)[:1]} for {list(theirs - ours)[:1]}"
    return None


def snapshot(folder):
    return {
        entry: (hashlib.sha256(open(os.path.join(folder, entry), "rb").read()).hexdigest())
        for entry in sorted(os.listdir(folder))
    }


if __name__ == "__main__":
    main()
