#!/usr/bin/env python3
"""check_cache.py BIN-DIRECTORY

What the kernel keeps of a mount, and that it is never stale: listings (SEMANTICS 8.5) after each kind of change that the kernel
does not see, and permissions (SEMANTICS 1.7), for which it asks only where there is something to refuse.
BIN-DIRECTORY holds regward and make-hive-samples. Needs root.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Standard library only. Leaves no mount, no process and no file behind.
"""
import ctypes, errno, os, shutil, subprocess, sys, tempfile, traceback

import verdict
from verdict import check

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
FOLDER = tempfile.mkdtemp(prefix='regward-cache-')
os.chmod(FOLDER, 0o755)
OTHER = 65534
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def must(*command):
    status, text = run(*command)
    if status: raise RuntimeError('%s: %s' % (' '.join(command), text))
    return text


def path(*parts): return os.path.join(FOLDER, *parts)


def write(text, *parts):
    with open(os.path.join(*parts), 'w') as file: file.write(text)


def error_of(body):
    """The errno's name; what `body` opens is closed."""
    try:
        opened = body()
        if isinstance(opened, int): os.close(opened)
        return None
    except OSError as error: return errno.errorcode[error.errno]


def as_other(body):
    """The errno's name of `body`, run as another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(OTHER)
        os.setuid(OTHER)
        os.write(writer, (error_of(body) or 'none').encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file: return file.read()


class Mount:
    """A new copy of a sample hive, mounted with `options`, for the `with`."""
    number = 0

    def __init__(self, options='', sample='software', *arguments):
        Mount.number += 1
        self.point, self.hive = path('mnt%d' % Mount.number), path('hive%d' % Mount.number)
        os.mkdir(self.point)
        shutil.copyfile(path('samples', sample + '.hiv'), self.hive)
        words = ['-o', options] if options else []
        must(REGWARD, 'mount', '--policy', path('off.yaml'), *words, *arguments, self.hive, self.point)

    def __enter__(self): return self

    def __exit__(self, *_):
        if os.path.ismount(self.point): run(REGWARD, 'umount', self.point)
        os.rmdir(self.point)

    def at(self, *parts): return os.path.join(self.point, *parts)

    def options(self):
        for line in open('/proc/mounts'):
            if line.split()[1] == self.point: return line.split()[3].split(',')
        return []


def getdents(descriptor):
    """What one call with a small buffer gives."""
    buffer = ctypes.create_string_buffer(4096)
    count = LIBC.syscall(ctypes.c_long(217), descriptor, buffer, ctypes.c_long(4096))
    if count < 0: raise OSError(ctypes.get_errno(), 'getdents64')
    names, place = [], 0
    while place < count:
        length = int.from_bytes(buffer.raw[place + 16:place + 18], 'little')
        names.append(buffer.raw[place + 19:place + length].split(b'\0')[0].decode())
        place += length
    return names


def listed(folder):
    """Twice, so that the second comes from what the kernel keeps, if it keeps anything."""
    os.listdir(folder)
    return sorted(os.listdir(folder))


def check_listing(name, mount, expected, change, folder='k'):
    folder = mount.at(folder)
    listed(folder)
    change()
    found = listed(folder)
    check('listing: ' + name, found == sorted(expected), found)


def check_listings():
    with Mount() as mount:
        os.mkdir(mount.at('k'))
        for name in ('a', 'b'): write('text\n', mount.at('k', name))
        os.mkdir(mount.at('k', 'sub'))
        def say(*fields):
            handle = os.open(mount.at('%ctl/cmd'), os.O_RDWR)
            os.write(handle, ('\t'.join(fields) + '\n').encode())
            answer = os.read(handle, 1000).decode()
            os.close(handle)
            if answer != 'ok\n': raise RuntimeError(answer)

        check_listing('mkdir', mount, ['a', 'b', 'sub', 'new'], lambda: os.mkdir(mount.at('k/new')))
        check_listing('rmdir', mount, ['a', 'b', 'sub'], lambda: os.rmdir(mount.at('k/new')))
        check_listing('a new value', mount, ['a', 'b', 'c', 'sub'], lambda: write('c\n', mount.at('k/c')))
        check_listing('unlink through another spelling', mount, ['a', 'b', 'sub'], lambda: os.remove(mount.at('K/C')))
        check_listing('mkdir through another spelling', mount, ['a', 'b', 'sub', 'New'], lambda: os.mkdir(mount.at('K/New')))
        check_listing('rename of a key', mount, ['a', 'b', 'sub', 'old'], lambda: os.rename(mount.at('k/New'), mount.at('k/old')))
        check_listing('rmdir through another spelling', mount, ['a', 'b', 'sub'], lambda: os.rmdir(mount.at('k/OLD')))
        check_listing('rename of a value', mount, ['A2', 'b', 'sub'], lambda: os.rename(mount.at('k/a'), mount.at('k/A2')))
        check_listing('rename out', mount, ['A2', 'sub'], lambda: os.rename(mount.at('k/b'), mount.at('k/sub/b')))
        check_listing('rename in', mount, ['A2', 'b', 'sub'], lambda: os.rename(mount.at('k/sub/b'), mount.at('k/b')))
        check_listing('only the case', mount, ['A2', 'b', 'SUB'], lambda: must(REGWARD, 'rename', mount.at('k/sub'), 'SUB'))
        check_listing('a link', mount, ['A2', 'b', 'SUB', 'l'], lambda: must(REGWARD, 'add', '--link', '\\REGISTRY\\MACHINE\\X', mount.at('k/l')))
        check_listing('no link', mount, ['A2', 'b', 'SUB'], lambda: os.remove(mount.at('k/l')))
        def answer(line):
            try: say(*line)
            except RuntimeError as error: return str(error)
        for name in ('.', '..'):
            check('names: no key is called %s' % name, "cannot be a key's name" in (answer(('rename', 'k/SUB', name)) or ''))
        check_listing('a key by the command file', mount, ['A2', 'b', 'SUB', 'made'], lambda: say('create', 'k/made'))
        check_listing('a value by the command file', mount, ['A2', 'b', 'SUB', 'made', 'v'], lambda: say('set', 'k', '0076', '1', ''))
        check_listing('no value by the command file', mount, ['A2', 'b', 'SUB', 'made'], lambda: say('delete-value', 'k', '0076'))

        def back():
            # The time that the listing was read at, after a change that the kernel did not see.
            before = os.stat(mount.at('k')).st_mtime_ns
            say('set', 'k', '0077', '1', '')
            os.utime(mount.at('k'), ns=(before, before))
            if os.stat(mount.at('k')).st_mtime_ns != before: raise RuntimeError('the time was not set')
        check_listing('a change with the old time', mount, ['A2', 'b', 'SUB', 'made', 'w'], back)

        must(REGWARD, 'save', mount.at('k'), path('saved'))
        os.mkdir(mount.at('k/later'))
        check_listing('restore', mount, ['A2', 'b', 'SUB', 'made', 'w'], lambda: must(REGWARD, 'restore', mount.at('k'), path('saved')))

        def spoilt():
            # Seen while it is open, and never set.
            handle = os.open(mount.at('k/x%dword'), os.O_WRONLY | os.O_CREAT)
            try: os.write(handle, b'no number\n')
            except OSError: pass
            during.append(listed(mount.at('k')))
            try: os.close(handle)
            except OSError: pass
            # The release comes after the close.
            for _ in range(2000):
                if not os.path.exists(mount.at('k/x')): return
        during = []
        check_listing('a value that came to nothing', mount, ['A2', 'b', 'SUB', 'made', 'w'], spoilt)
        check('listing: it was there meanwhile', 'x' in during[0], during)

        def many():
            for number in range(300):
                os.mkdir(mount.at('k/t'))
                if 't' not in os.listdir(mount.at('k')): return number
                os.rmdir(mount.at('k/t'))
                if 't' in os.listdir(mount.at('k')): return -number
            return 300
        check('listing: 300 times made, seen, removed, not seen', many() == 300)

        # What the kernel keeps may go while somebody is in the middle of it: he goes on with the daemon, which he has not asked before.
        os.mkdir(mount.at('long'))
        names = ['a long name of a value, number %03d' % number for number in range(300)]
        for name in names: write('x\n', mount.at('long', name))
        for round in range(3):
            os.utime(mount.at('long'))
            first, second = (os.open(mount.at('long'), os.O_RDONLY) for _ in range(2))
            begun = getdents(first)
            check('listing: only its beginning is read', 0 < len(begun) < 250, len(begun))
            check('listing: and the rest by another', sorted(os.listdir(second)) == names)
            check('listing: and by the next', listed(mount.at('long')) == names)
            rest = list(begun)
            while True:
                more = getdents(first)
                if not more: break
                rest += more
            check('listing: and by the first', sorted(rest) == ['.', '..'] + names, len(rest))
            for descriptor in (first, second): os.close(descriptor)
        for lose in (lambda: os.utime(mount.at('long')), lambda: os.mkdir(mount.at('k/by the way')), lambda: say('create', 'k/seen by nobody'),
                     lambda: write('3\n', '/proc/sys/vm/drop_caches')):
            listed(mount.at('long'))
            first = os.open(mount.at('long'), os.O_RDONLY)
            found = getdents(first)
            lose()
            # An open that keeps nothing drops it.
            second = os.open(mount.at('long'), os.O_RDONLY)
            more = found
            while more:
                more = getdents(first)
                found = found + more
            check('listing: it goes while it is read', sorted(found) == ['.', '..'] + names, len(found))
            for descriptor in (first, second): os.close(descriptor)
        for name in ('by the way', 'seen by nobody'): os.rmdir(mount.at('k', name))
        first, second = (os.open(mount.at('long'), os.O_RDONLY) for _ in range(2))
        getdents(first)
        found = getdents(second)
        for name in found:
            if name not in ('.', '..'): os.remove(mount.at('long', name))
        while found:
            found = getdents(second)
            for name in found: os.remove(mount.at('long', name))
        check('listing: who removes what he reads leaves nothing', os.listdir(mount.at('long')) == [], len(os.listdir(mount.at('long'))))
        for descriptor in (first, second): os.close(descriptor)

        kept = os.open(mount.at('k'), os.O_RDONLY)
        os.listdir(kept)
        os.mkdir(mount.at('k/while open'))
        check('listing: from the start of an open directory', 'while open' in os.listdir(kept))
        os.close(kept)

    with Mount('typesuffix') as mount:
        os.mkdir(mount.at('k'))
        write('text\n', mount.at('k', 'a'))
        check_listing('another type', mount, ['a%binary'], lambda: os.setxattr(mount.at('k/a'), 'user.reg.type', b'REG_BINARY'))

    with Mount('', 'system') as mount:
        had = 'CurrentControlSet' in listed(mount.point)
        os.rename(mount.at('Select'), mount.at('Other'))
        check('listing: without Select no CurrentControlSet', had and 'CurrentControlSet' not in listed(mount.point))
        os.rename(mount.at('Other'), mount.at('Select'))
        listed(mount.point)
        os.rename(mount.at('Select/Current'), mount.at('Select/Gone'))
        check('listing: nor without its value', 'CurrentControlSet' not in listed(mount.point))
        os.rename(mount.at('Select/Gone'), mount.at('Select/Current'))
        check('listing: it is back', 'CurrentControlSet' in listed(mount.point))


def check_permissions():
    with Mount() as mount:
        check('permissions: nobody else comes', 'default_permissions' not in mount.options(), mount.options())
        os.mkdir(mount.at('k'))
        write('x\n', mount.at('k/v'))
        check('permissions: another user', as_other(lambda: os.stat(mount.at('k'))) == 'EACCES')
        check('permissions: status is for reading', error_of(lambda: os.open(mount.at('%ctl/status'), os.O_WRONLY)) == 'EACCES')
        check('permissions: no program', error_of(lambda: os.execv(mount.at('k/v'), ['v'])) == 'EACCES')
    with Mount('ro') as mount:
        check('permissions: a mount for reading', error_of(lambda: os.mkdir(mount.at('k'))) == 'EROFS')
    with Mount('allow_other') as mount:
        check('permissions: others come', 'default_permissions' in mount.options(), mount.options())
        write('x\n', mount.at('v'))
        check('permissions: they may read', as_other(lambda: os.open(mount.at('v'), os.O_RDONLY)) == 'none')
        check('permissions: and not write', as_other(lambda: os.open(mount.at('v'), os.O_WRONLY)) == 'EACCES')
        check('permissions: nor make', as_other(lambda: os.mkdir(mount.at('k'))) == 'EACCES')
    for options in ('uid=%d' % OTHER, 'umask=0300', 'fmask=0200', 'dmask=0100'):
        with Mount(options) as mount:
            check('permissions: %s is the kernel\'s to refuse' % options, 'default_permissions' in mount.options(), mount.options())


try:
    write('version: 1\nmode: "off"\n', path('off.yaml'))
    os.chmod(path('off.yaml'), 0o600)
    os.mkdir(path('samples'))
    must(os.path.join(BIN, 'make-hive-samples'), path('samples'))
    for part in (check_permissions, check_listings):
        try: part()
        except Exception: check(part.__name__ + ': runs to its end', False, traceback.format_exc())
finally:
    for number in range(1, Mount.number + 1):
        if os.path.ismount(path('mnt%d' % number)): run('fusermount3', '-uz', path('mnt%d' % number))
    shutil.rmtree(FOLDER, ignore_errors=True)
verdict.close()
