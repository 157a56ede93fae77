#!/usr/bin/env python3
"""check_copies.py BIN-DIRECTORY SHARED [--whole | --part KEY/…] [--only TOOL]

Copies a real SYSTEM hive, without its link CurrentControlSet, out of a mount with `cp -a`, `rsync -aX` and `tar --xattrs`, and back into an empty hive: every key and value
must be there with type and data. LastWrite is compared and told for each tool; security has no part in a copy (SEMANTICS 10.10). Without --whole only a part of the hive is copied, its services. BIN-DIRECTORY holds regward and make-hive-samples. Needs root and a file system with user
attributes.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed. Standard library
only. Leaves no mount, no process and no file behind.
"""
import errno, lzma, os, shutil, subprocess, sys, tempfile, time

BIN, SHARED = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
REGWARD = os.path.join(BIN, 'regward')
PART = [] if '--whole' in sys.argv else (sys.argv[sys.argv.index('--part') + 1] if '--part' in sys.argv else 'ControlSet001/Services').split('/')
ONLY = sys.argv[sys.argv.index('--only') + 1] if '--only' in sys.argv else None
passed = failed = 0

TOOLS = {
    'cp -a': ('cp -a "$1/." "$2"', 'cp -a "$1/." "$2"'),
    'rsync -aX': ('rsync -aX %(rsync)s "$1/" "$2"', 'rsync -aX %(rsync)s "$1/" "$2"'),
    'tar --xattrs': ('set -o pipefail; tar -C "$1" --xattrs --xattrs-include="*" -cf "$2/../archive.tar" .',
                     'tar -C "$2" --xattrs --xattrs-include="*" %(tar)s -xpf "$1/../archive.tar"'),
}


def check(name, good, detail=''):
    global passed, failed
    if good: passed += 1
    else: failed += 1
    print('%s %s%s' % ('PASS' if good else 'FAIL', name, '' if good else '\n     ' + str(detail)[:1500]), flush=True)


def run(arguments, **more):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, **more)
    return done.returncode, done.stdout.decode(errors='replace')


class Mount:
    def __init__(self, hive, point, options=''):
        self.hive, self.point, self.options = hive, point, options

    def __enter__(self):
        os.makedirs(self.point, exist_ok=True)
        status, output = run([REGWARD, 'mount'] + (['-o', self.options] if self.options else []) + [self.hive, self.point])
        if status != 0: raise RuntimeError('mount: ' + output)
        return self.point

    def __exit__(self, *_):
        if os.path.ismount(self.point): subprocess.run([REGWARD, 'umount', self.point], check=True, capture_output=True, timeout=300)


def dump(hive):
    """Keys as path: (LastWrite, class), values as a sorted list of lines."""
    status, output = run([sys.executable, os.path.join(SHARED, 'tools', 'golden.py'), 'dump', hive])
    if status != 0: raise RuntimeError('golden.py: ' + output[-500:])
    # Only \n ends a line: names may hold other separators.
    lines = [line.split('\t') for line in output.split('\n') if line]
    return {f[1]: (f[2], f[3]) for f in lines if f[0] == 'K'}, sorted(tuple(f[1:]) for f in lines if f[0] == 'V')


def part_of(dumped, path):
    """The dump of the key at `path` as that of a hive of its own."""
    keys, values = dumped
    if not path: return dumped
    path = path.lower()
    inside = lambda name: name.lower() == path or name.lower().startswith(path + '\\')
    cut = lambda name: name[len(path) + 1:]
    return ({cut(k): v for k, v in keys.items() if inside(k)}, sorted((cut(v[0]),) + v[1:] for v in values if inside(v[0])))


def difference(wanted, found):
    wanted, found = set(wanted), set(found)
    return '%d missing, %d too many; %s' % (len(wanted - found), len(found - wanted), (sorted(wanted - found)[:3], sorted(found - wanted)[:3]))


def empty_hive(work):
    """A hive with a root and nothing else."""
    samples = os.path.join(work, 'samples')
    os.mkdir(samples)
    subprocess.run([os.path.join(BIN, 'make-hive-samples'), samples], check=True, capture_output=True)
    path = os.path.join(work, 'empty')
    with Mount(os.path.join(samples, 'software.hiv'), os.path.join(work, 'samples-mnt')) as point:
        os.mkdir(os.path.join(point, 'Empty'))
        status, output = run([REGWARD, 'save', os.path.join(point, 'Empty'), path])
        if status != 0: raise RuntimeError('save: ' + output)
    return path


def can_set_class(work, empty):
    hive = os.path.join(work, 'class-hive')
    shutil.copyfile(empty, hive)
    with Mount(hive, os.path.join(work, 'class-mnt')) as point:
        os.mkdir(os.path.join(point, 'key'))
        try: os.setxattr(os.path.join(point, 'key'), 'user.reg.class', b'x')
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP: raise
            return False
        return True


def too_long(point):
    """Names that no other file system takes."""
    return [name for _, directories, files in os.walk(os.fsencode(point)) for name in directories + files if len(name) > 255]


def copy(tool, work, source, original, empty, has_class):
    out, back = TOOLS[tool]
    words = {'rsync': '' if has_class else "--filter='-x user.reg.class'", 'tar': '' if has_class else '--xattrs-exclude=user.reg.class'}
    folder = os.path.join(work, 'copy')
    target = os.path.join(folder, 'files')
    os.makedirs(target)
    start = time.monotonic()
    status, output = run(['bash', '-c', out % words, 'bash', source, target])
    check('%s out' % tool, status == 0, output)
    hive = os.path.join(folder, 'hive')
    shutil.copyfile(empty, hive)
    middle = time.monotonic()
    with Mount(hive, os.path.join(folder, 'mnt'), 'ccs=off') as point:
        status, output = run(['bash', '-c', back % words, 'bash', target, point])
        check('%s back' % tool, status == 0, output)
    end = time.monotonic()
    keys, values = dump(hive)
    check('%s: every key' % tool, set(keys) == set(original[0]), difference(original[0], keys))
    check('%s: every value, its type and its data' % tool, values == original[1], difference(original[1], values))
    if has_class:
        classes = [{(path, key[1]) for path, key in found.items()} for found in (original[0], keys)]
        check('%s: every class' % tool, classes[0] == classes[1], difference(*classes))
    times = [{(path, key[0]) for path, key in found.items()} for found in (original[0], keys)]
    check('%s: every LastWrite' % tool, times[0] == times[1], difference(*times))
    print('     %s: %.0f s out, %.0f s back, %d keys, %d values, %d of them with user.reg.data or another type than REG_SZ%s' % (
        tool, middle - start, end - middle, len(keys), len(values), sum(v[2] != '1' for v in values),
        '' if has_class else '; user.reg.class left out, it cannot be set'))
    shutil.rmtree(folder)


def main():
    work = tempfile.mkdtemp(prefix='copies-', dir=BIN)
    try:
        hive = os.path.join(work, 'SYSTEM')
        with lzma.open(os.path.join(SHARED, 'hives', 'real', 'SYSTEM.xz')) as packed, open(hive, 'wb') as plain: shutil.copyfileobj(packed, plain)
        empty = empty_hive(work)
        has_class = can_set_class(work, empty)
        original = part_of(dump(hive), '\\'.join(PART))
        with Mount(hive, os.path.join(work, 'mnt'), 'ro,ccs=off') as point:
            source = os.path.join(point, *PART)
            check('every name fits on an ordinary file system', too_long(source) == [], too_long(source)[:3])
            for tool in [ONLY] if ONLY else TOOLS: copy(tool, work, source, original, empty, has_class)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
print('%d passed, %d failed' % (passed, failed))
sys.exit(1 if failed else 0)
