#!/usr/bin/env python3
"""check_raw.py BIN-DIRECTORY [--operations N] [--seed N]

Random reads, writes, truncations, closes and reopens of `NAME%raw`, a value's bytes (SEMANTICS 2.8), on a real mount, each beside the same
on a plain file: every read, size and return is the same. The value is one of a type whose text would refuse most bytes; one handle
writes, others read, and the other view of the value is looked at between. BIN-DIRECTORY holds regward and make-hive-samples.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Standard library only. Leaves no mount, no process and no file behind.
"""
import argparse, errno, os, random, shutil, subprocess, sys, tempfile

LARGEST = 300_000


class Difference(Exception): pass


class Pair:
    """The same open flags on both files; what has been written is set when `settle` or `close` is called."""

    def __init__(self, paths, flags):
        self.flags = flags
        self.descriptors = [os.open(path, flags) for path in paths]

    def same(self, what, call):
        results = []
        for descriptor in self.descriptors:
            try: results.append(call(descriptor))
            except OSError as error: results.append(errno.errorcode[error.errno])
        if results[0] != results[1]:
            at = next((i for i, (a, b) in enumerate(zip(*results)) if a != b), None) if isinstance(results[0], bytes) else None
            raise Difference('%s: %r… and %r… (from %s on)' % (what, str(results[0])[:60], str(results[1])[:60], at))
        return results[0]

    def settle(self): self.same('fsync', os.fsync)

    def close(self): self.same('close', os.close)


class Exercise:
    """A seeded sequence on a value's bytes and a plain file."""

    def __init__(self, raw, text, plain, seed):
        self.raw, self.text, self.paths, self.random = raw, text, (raw, plain), random.Random(seed)
        self.writer, self.reader, self.log, self.counts = None, None, [], {}
        self.reopen()

    def reopen(self):
        self.note('reopen')
        if self.writer: self.writer.close()
        truncates = os.O_TRUNC if self.random.random() < 0.1 else 0
        self.appends = self.random.random() < 0.2
        self.writer = Pair(self.paths, os.O_RDWR | truncates | (os.O_APPEND if self.appends else 0))
        # A bare truncation is set at the release: until then it is only this handle's, whatever is synced.
        self.is_settled, self.is_bare = not truncates, bool(truncates)

    def size(self): return os.fstat(self.writer.descriptors[1]).st_size

    def place(self): return self.random.choice([0, self.size(), self.random.randrange(0, self.size() + 5000), self.random.randrange(0, LARGEST)])

    def step(self):
        kind = self.random.choices(['write', 'read', 'resize', 'fsync', 'reopen', 'truncate', 'readers', 'other view'],
                                   [30, 40, 8, 6, 6, 2, 6, 2])[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        getattr(self, kind.replace(' ', '_'))()

    def write(self):
        offset = min(self.place(), LARGEST)
        data = self.random.randbytes(self.random.choice([0, 1, 2, 3, 17, 4096, self.random.randrange(1, 20_000)]))
        self.note('write', offset, len(data))
        if self.appends and self.size() > LARGEST: return
        self.writer.same('write of %d at %d' % (len(data), offset), lambda d: os.pwrite(d, data, offset))
        if data: self.is_settled = self.is_bare = False

    def read(self):
        offset, count = self.place(), self.random.choice([1, 100, 4096, 70_000])
        self.note('read', offset, count)
        self.writer.same('read of %d at %d' % (count, offset), lambda d: os.pread(d, count, offset))

    def resize(self):
        size = self.random.choice([0, self.size(), self.random.randrange(0, self.size() + 1), self.random.randrange(0, LARGEST)])
        self.note('ftruncate', size)
        self.writer.same('ftruncate to %d' % size, lambda d: os.ftruncate(d, size))
        self.is_settled = self.is_bare = False

    def fsync(self):
        self.note('fsync')
        self.writer.settle()
        self.is_settled = not self.is_bare

    def truncate(self):
        """By name, with nothing in the writer's hands."""
        size = self.random.randrange(0, 50_000)
        self.note('truncate', size)
        self.reopen_settled()
        for path in self.paths: os.truncate(path, size)

    def reopen_settled(self):
        self.writer.close()
        self.writer = Pair(self.paths, os.O_RDWR)
        self.appends, self.is_settled, self.is_bare = False, True, False

    def readers(self):
        """What is set is what everybody reads: a handle that stays open, and a new one."""
        if not self.is_settled: return self.fsync()
        self.note('readers')
        if self.reader is None or self.random.random() < 0.3:
            if self.reader: self.reader.close()
            self.reader = Pair(self.paths, os.O_RDONLY)
        offset, count = self.place(), self.random.choice([4096, 100_000])
        self.reader.same('read of %d at %d by another handle' % (count, offset), lambda d: os.pread(d, count, offset))
        self.reader.same('size', lambda d: os.fstat(d).st_size)

    def other_view(self):
        """The text of a REG_DWORD: the number in its first bytes, cached by the kernel."""
        if not self.is_settled: return self.fsync()
        self.note('other view')
        with open(self.paths[1], 'rb') as file: data = file.read()
        number = int.from_bytes(data[:8 if len(data) > 4 else 4], 'little')
        with open(self.text, 'rb') as file: text = file.read()
        if text != (b'%d\n' % number if data else b''): raise Difference('the text is %r, the bytes are %r…' % (text, data[:8]))
        if os.stat(self.text).st_size != len(text): raise Difference('the text has not the size that is shown')

    def note(self, *what):
        self.log.append(what)
        del self.log[:-5]

    def finish(self):
        self.writer.close()
        if self.reader: self.reader.close()
        contents = [open(path, 'rb').read() for path in self.paths]
        if contents[0] != contents[1]: raise Difference('the contents differ at the end')
        if os.getxattr(self.raw, 'user.reg.type') != b'REG_DWORD': raise Difference('it has another type')


passed = failed = 0


def check(name, problem):
    global passed, failed
    passed, failed = passed + (not problem), failed + bool(problem)
    print('%s %s%s' % ('FAIL' if problem else 'PASS', name, ': %s' % problem if problem else ''), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bin')
    parser.add_argument('--operations', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=20251121)
    arguments = parser.parse_args()
    regward = os.path.join(os.path.abspath(arguments.bin), 'regward')
    folder = os.path.realpath(tempfile.mkdtemp(prefix='regward-raw-'))
    point = os.path.join(folder, 'mnt')
    os.mkdir(point)
    try:
        subprocess.run([os.path.join(os.path.abspath(arguments.bin), 'make-hive-samples'), folder], check=True, capture_output=True)
        hive = os.path.join(folder, 'software.hiv')
        mounted = subprocess.run([regward, 'mount', hive, point], capture_output=True, text=True)
        if mounted.returncode != 0: raise RuntimeError(mounted.stderr)
        key = os.path.join(point, 'Raw')
        os.mkdir(key)
        text, raw, plain = os.path.join(key, 'value'), os.path.join(key, 'value%raw'), os.path.join(folder, 'plain')
        with open(text + '%dword', 'w') as file: file.write('1\n')
        with open(plain, 'wb') as file: file.write(b'\1\0\0\0')
        exercise, problem, done = Exercise(raw, text, plain, arguments.seed), None, 0
        try:
            for done in range(1, arguments.operations + 1): exercise.step()
            exercise.finish()
        except (Difference, OSError) as error:
            problem = 'seed %d, operation %d, after %s: %s' % (arguments.seed, done, exercise.log, error)
            for pair in (exercise.writer, exercise.reader):
                for descriptor in pair.descriptors if pair else []:
                    try: os.close(descriptor)
                    except OSError: pass
        check('%d operations on the bytes of a value and on a file: %s' % (
            done, ', '.join('%d %s' % (n, k) for k, n in sorted(exercise.counts.items()))), problem)
        with open(plain, 'rb') as file: data = file.read()
        subprocess.run([regward, 'umount', point], check=True, capture_output=True)
        subprocess.run([regward, 'mount', '-o', 'ro', hive, point], check=True, capture_output=True)
        with open(raw, 'rb') as file: check('mounted again, the bytes are the file\'s', file.read() != data and 'they differ')
        found = subprocess.run([regward, 'check', hive], capture_output=True, text=True)
        check('regward check finds nothing', found.returncode and found.stdout[-300:])
    except Exception as error:
        check('the check itself', repr(error))
    finally:
        if os.path.ismount(point): subprocess.run([regward, 'umount', point], capture_output=True)
        if os.path.ismount(point): subprocess.run(['umount', '-l', point])
        shutil.rmtree(folder, ignore_errors=True)
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed else 0


if __name__ == '__main__': sys.exit(main())
