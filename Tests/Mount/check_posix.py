#!/usr/bin/env python3
"""check_posix.py BIN-DIRECTORY [--only WORD]

What POSIX (IEEE 1003.1-2024) and Linux's manual pages say of directories and files, on a real mount, as far as keys and values have
it: errno and effect of mkdir, rmdir, open, unlink, rename, truncate, links, times, locks, mappings, sizes, owners and permission bits, and
statfs. BIN-DIRECTORY holds regward and make-hive-samples. Needs root, for a second user.

Prints PASS or FAIL and a name for each check, then what does not apply and why, and closes with `N passed, N failed`; exits with 1 when
anything failed. Standard library only. Leaves no mount, no process and no file behind.
"""
import ctypes, errno, fcntl, mmap, os, shutil, stat, struct, subprocess, sys, tempfile

import verdict
from verdict import check

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
ONLY = sys.argv[sys.argv.index('--only') + 1] if '--only' in sys.argv else None
LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534

NOT_APPLICABLE = [
    ('ETXTBSY', 'no value can be executed: no execute bit is ever shown'),
    ('mkfifo, mknod of devices, bind of sockets', 'a key holds keys and values; EPERM'),
    ('link, symlink', 'the registry has no second names, and links are made by regward add --link; EPERM'),
    ('chmod, chown, sticky and set-user-id bits', 'owner and bits are the mount\'s, the same for all; accepted without effect (5.9)'),
    ('times of a value', 'a value has none of its own, its key\'s is shown (1.2)'),
    ('EXDEV within a mount', 'renaming a directory to another parent is EXDEV on purpose (5.7)'),
    ('ELOOP by symlink', 'links lead to keys of the registry; loops of them are the kernel\'s to find'),
    ('EFBIG by RLIMIT_FSIZE, EDQUOT', 'the kernel\'s own, the same on every file system'),
]


# 95 has two names.
NAMES = dict(errno.errorcode) | {errno.EOPNOTSUPP: 'EOPNOTSUPP'}


def outcome(call, *arguments, **words):
    """The name of the errno that a call fails with; None when it succeeds."""
    try: call(*arguments, **words)
    except OSError as error: return NAMES[error.errno]
    return None


def refused(name, wanted, call, *arguments, **words):
    found = outcome(call, *arguments, **words)
    check('%s: %s' % (name, wanted or 'succeeds'), found == wanted, found)


def c(function, *arguments):
    """A call of the C library; its errno's name, or None."""
    result = function(*arguments)
    return NAMES[ctypes.get_errno()] if result == -1 else None


class Mount:
    def __init__(self, options=''):
        self.folder = tempfile.mkdtemp(prefix='regward-posix-')
        os.chmod(self.folder, 0o755)
        subprocess.run([os.path.join(BIN, 'make-hive-samples'), self.folder], check=True, capture_output=True)
        self.hive, self.point = os.path.join(self.folder, 'system.hiv'), os.path.join(self.folder, 'mnt')
        os.mkdir(self.point)
        self.policy = os.path.join(self.folder, 'policy.yaml')
        with open(self.policy, 'w') as file: file.write('version: 1\nmode: off\n')
        os.chmod(self.policy, 0o600)
        self.mount(options)

    def mount(self, options=''):
        done = subprocess.run([REGWARD, 'mount', '-o', 'policy=' + self.policy + options, self.hive, self.point], capture_output=True, text=True)
        if done.returncode: raise RuntimeError(done.stderr)

    def unmount(self):
        if os.path.ismount(self.point): subprocess.run([REGWARD, 'umount', self.point], capture_output=True)

    def __enter__(self): return self

    def __exit__(self, *_):
        try: self.unmount()
        finally: shutil.rmtree(self.folder, ignore_errors=True)


def put(path, data=b'text\n'):
    with open(path, 'wb') as file: file.write(data)
    return path


def get(path):
    with open(path, 'rb') as file: return file.read()


def fresh(point, name):
    """An empty key for a group of checks, and a path below it."""
    base = os.path.join(point, 'posix-' + name)
    os.mkdir(base)
    return lambda *parts: os.path.join(base, *parts)


def opened(path, flags, mode=0o666):
    """Opens and closes."""
    os.close(os.open(path, flags, mode))


# MARK: names

LONG = 'n' * 1025


def names(point):
    at = fresh(point, 'names')
    put(at('value'))
    os.mkdir(at('key'))
    calls = [
        ('mkdir', os.mkdir), ('rmdir', os.rmdir), ('unlink', os.unlink), ('stat', os.stat), ('truncate', lambda p: os.truncate(p, 0)),
        ('open', lambda p: opened(p, os.O_RDONLY)), ('open O_CREAT', lambda p: opened(p, os.O_CREAT | os.O_WRONLY)),
        ('rename from', lambda p: os.rename(p, at('other'))), ('rename to', lambda p: os.rename(at('value'), p)),
        ('opendir', os.listdir)]
    for name, call in calls:
        refused(name + ', a component of 1,025 bytes', 'ENAMETOOLONG', call, at(LONG))
        refused(name + ', a path of more than 4,095 bytes', 'ENAMETOOLONG', call, at(*['x' * 250] * 17))
        refused(name + ', a value as a directory', 'ENOTDIR', call, at('value', 'below'))
        refused(name + ', no such directory', 'ENOENT', call, at('nowhere', 'below'))
    for name, call in calls:
        if name in ('mkdir', 'open O_CREAT', 'rename to'): continue
        refused(name + ', no such name', 'ENOENT', call, at('nowhere'))
    refused('mkdir, a name of 256 characters', 'ENAMETOOLONG', os.mkdir, at('k' * 256))
    refused('mkdir, a name of 255 characters', None, os.mkdir, at('k' * 255))
    refused('open O_CREAT, a name of 1,024 bytes', None, opened, at('v' * 1024), os.O_CREAT | os.O_WRONLY)
    check('it is listed', 'v' * 1024 in os.listdir(at()))
    refused('stat, a value with a slash behind it', 'ENOTDIR', os.stat, at('value') + '/')
    refused('stat, a key with a slash behind it', None, os.stat, at('key') + '/')
    refused('rmdir, a key with a slash behind it', None, os.rmdir, at('key') + '/')
    refused('unlink, a value with a slash behind it', 'ENOTDIR', os.unlink, at('value') + '/')
    refused('open O_CREAT, a new name with a slash behind it', 'EISDIR', opened, at('new') + '/', os.O_CREAT | os.O_WRONLY)


# MARK: directories

def directories(point):
    at = fresh(point, 'directories')
    put(at('value'))
    refused('mkdir', None, os.mkdir, at('a'))
    check('a directory', stat.S_ISDIR(os.stat(at('a')).st_mode))
    refused('mkdir over a key', 'EEXIST', os.mkdir, at('a'))
    refused('mkdir over a key in another case', 'EEXIST', os.mkdir, at('A'))
    refused('mkdir over a value', 'EEXIST', os.mkdir, at('value'))
    refused('mkdir .', 'EEXIST', os.mkdir, at('a', '.'))
    refused('mkdir ..', 'EEXIST', os.mkdir, at('a', '..'))
    refused('rmdir .', 'EINVAL', os.rmdir, at('a', '.'))
    refused('rmdir ..', 'ENOTEMPTY', os.rmdir, at('a', '..'))
    refused('rmdir a value', 'ENOTDIR', os.rmdir, at('value'))
    refused('rmdir the mount point', 'EBUSY', os.rmdir, point)
    os.mkdir(at('a', 'b'))
    refused('rmdir with a subkey', 'ENOTEMPTY', os.rmdir, at('a'))
    os.rmdir(at('a', 'b'))
    put(at('a', 'v'))
    refused('rmdir with a value', 'ENOTEMPTY', os.rmdir, at('a'))
    os.unlink(at('a', 'v'))
    with open(at('a', 'new'), 'wb'): refused('rmdir with a value that is not closed yet', 'ENOTEMPTY', os.rmdir, at('a'))
    os.unlink(at('a', 'new'))
    handle = os.open(at('a'), os.O_RDONLY | os.O_DIRECTORY)
    refused('rmdir', None, os.rmdir, at('a'))
    refused('rmdir, stat afterwards', 'ENOENT', os.stat, at('a'))
    check('an open directory that is gone is empty or gone', outcome(os.listdir, handle) in (None, 'ENOENT'))
    refused('making something in a directory that is gone', 'ENOENT', os.mkdir, 'x', dir_fd=handle)
    os.close(handle)
    links = os.stat(at()).st_nlink
    os.mkdir(at('one'))
    put(at('file'))
    check('a subkey is a link of its parent, a value is none', os.stat(at()).st_nlink == links + 1, os.stat(at()).st_nlink)
    check('a new directory has two', os.stat(at('one')).st_nlink == 2)
    os.rmdir(at('one'))
    check('and is none when it is gone', os.stat(at()).st_nlink == links)
    for number in range(200): os.mkdir(at('n%d' % number))
    seen = []
    with os.scandir(at()) as entries:
        for entry in entries:
            seen.append(entry.name)
            if entry.name.startswith('n'): os.rmdir(entry.path)
    check('deleting while reading skips nothing', len([n for n in seen if n.startswith('n')]) == 200 and not [n for n in os.listdir(at()) if n.startswith('n')])


# MARK: open

def opening(point):
    at = fresh(point, 'open')
    os.mkdir(at('key'))
    put(at('value'), b'old\n')
    refused('O_CREAT | O_EXCL over a value', 'EEXIST', opened, at('value'), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused('O_CREAT | O_EXCL over a value in another case', 'EEXIST', opened, at('VALUE'), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused('O_CREAT | O_EXCL over a key', 'EEXIST', opened, at('key'), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused('O_CREAT on a key', 'EISDIR', opened, at('key'), os.O_CREAT | os.O_WRONLY)
    for name in ('O_WRONLY', 'O_RDWR'): refused(name + ' on a key', 'EISDIR', opened, at('key'), getattr(os, name))
    refused('O_TRUNC on a key', 'EISDIR', opened, at('key'), os.O_RDONLY | os.O_TRUNC)
    refused('O_DIRECTORY on a value', 'ENOTDIR', opened, at('value'), os.O_RDONLY | os.O_DIRECTORY)
    refused('O_NOFOLLOW on a value', None, opened, at('value'), os.O_RDONLY | os.O_NOFOLLOW)
    refused('O_TMPFILE', 'EOPNOTSUPP', opened, at(), os.O_TMPFILE | os.O_WRONLY)
    refused('O_TRUNC', None, opened, at('value'), os.O_WRONLY | os.O_TRUNC)
    check('a value that was cut is empty', get(at('value')) == b'')
    refused('O_CREAT of a new name', None, opened, at('new'), os.O_CREAT | os.O_WRONLY)
    check('it is there and empty', get(at('new')) == b'' and os.stat(at('new')).st_size == 0)
    put(at('value'), b'old\n')
    read = os.open(at('value'), os.O_RDONLY)
    refused('write through O_RDONLY', 'EBADF', os.write, read, b'x')
    refused('ftruncate through O_RDONLY', 'EINVAL', os.ftruncate, read, 0)
    os.close(read)
    write = os.open(at('value'), os.O_WRONLY)
    refused('read through O_WRONLY', 'EBADF', os.read, write, 1)
    os.close(write)
    refused('a handle that was closed', 'EBADF', os.fsync, write)
    one, two = (os.open(at('log'), os.O_CREAT | os.O_WRONLY | os.O_APPEND) for _ in range(2))
    os.write(one, b'a\n')
    os.lseek(one, 0, os.SEEK_SET)
    os.write(one, b'b\n')
    check('O_APPEND writes at the end wherever the handle stands', os.lseek(one, 0, os.SEEK_CUR) == 4, os.lseek(one, 0, os.SEEK_CUR))
    os.close(one)
    os.write(two, b'c\n')
    os.close(two)
    check('O_APPEND with two writers, one after the other', get(at('log')) == b'a\nb\nc\n', get(at('log')))
    direct = os.open(at('log'), os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    check('O_DIRECT reads', os.readv(direct, [buffer]) == 6 and buffer[:6] == b'a\nb\nc\n')
    os.close(direct)


# MARK: unlink, rename

def removing(point):
    at = fresh(point, 'unlink')
    os.mkdir(at('key'))
    refused('unlink a key', 'EISDIR', os.unlink, at('key'))
    put(at('value'), b'content\n')
    handle = os.open(at('value'), os.O_RDWR)
    check('read before', os.read(handle, 3) == b'con')
    before = os.stat(at()).st_mtime_ns
    refused('unlink', None, os.unlink, at('value'))
    refused('unlink, stat afterwards', 'ENOENT', os.stat, at('value'))
    check('unlink changes the directory\'s time', os.stat(at()).st_mtime_ns > before)
    check('an open file that is gone has no links', os.fstat(handle).st_nlink == 0)
    check('it is read on', os.read(handle, 99) == b'tent\n')
    check('it is written on', os.pwrite(handle, b'C', 0) == 1 and os.pread(handle, 99, 0) == b'Content\n')
    refused('and cut', None, os.ftruncate, handle, 3)
    check('it has its new size', os.fstat(handle).st_size == 3 and os.pread(handle, 99, 0) == b'Con', (os.fstat(handle).st_size, os.pread(handle, 99, 0)))
    os.close(handle)
    check('and is gone', os.listdir(at()) == ['key'])
    put(at('value'), b'content\n')
    handle = os.open(at('value'), os.O_RDONLY)
    os.unlink(at('value'))
    check('open, unlink, read', os.read(handle, 99) == b'content\n')
    os.close(handle)
    handle = os.open(at('made'), os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.unlink(at('made'))
    os.write(handle, b'scratch')
    check('a file that is made and removed at once can be written and read', os.pread(handle, 99, 0) == b'scratch')
    os.close(handle)
    check('nothing of it stays', os.listdir(at()) == ['key'])
    refused('rmdir after all', None, os.rmdir, at('key'))
    refused('link', 'EPERM', os.link, put(at('v')), at('w'))
    refused('symlink', 'EPERM', os.symlink, 'v', at('w'))
    refused('mkfifo', 'EPERM', os.mkfifo, at('w'))


NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def renameat2(old, new, flags):
    return c(LIBC.renameat2, -100, old.encode(), -100, new.encode(), flags)


def renaming(point):
    at = fresh(point, 'rename')
    put(at('a'), b'a\n')
    put(at('b'), b'b\n')
    os.mkdir(at('k'))
    os.mkdir(at('full'))
    put(at('full', 'v'))
    inode = os.stat(at('a')).st_ino
    refused('rename a value', None, os.rename, at('a'), at('c'))
    check('the old name is gone, the new one is the file', not os.path.exists(at('a')) and get(at('c')) == b'a\n' and inode != 0)
    held = os.open(at('b'), os.O_RDONLY)
    refused('rename over a value', None, os.rename, at('c'), at('b'))
    check('the target is replaced', get(at('b')) == b'a\n' and not os.path.exists(at('c')))
    check('who had the old one open reads that', os.read(held, 99) == b'b\n' or os.fstat(held).st_nlink == 0)
    os.close(held)
    refused('rename a value to itself', None, os.rename, at('b'), at('b'))
    refused('rename a value to another key', None, os.rename, at('b'), at('k', 'b'))
    check('it is there', get(at('k', 'b')) == b'a\n')
    refused('and back', None, os.rename, at('k', 'b'), at('b'))
    refused('rename a value over a key', 'EISDIR', os.rename, at('b'), at('k'))
    refused('rename a key over a value', 'ENOTDIR', os.rename, at('k'), at('b'))
    refused('rename a key below itself', 'EINVAL', os.rename, at('k'), at('k', 'x'))
    refused('rename .', 'EBUSY', os.rename, at('k', '.'), at('x'))
    refused('rename to ..', 'EBUSY', os.rename, at('k'), at('full', '..'))
    refused('rename a key over one with values', 'EEXIST', os.rename, at('k'), at('full'))
    refused('rename a key', None, os.rename, at('full'), at('moved'))
    check('with what is in it', get(at('moved', 'v')) == b'text\n' and not os.path.exists(at('full')))
    os.mkdir(at('moved', 'sub'))
    refused('rename a key to another parent', 'EXDEV', os.rename, at('moved', 'sub'), at('sub'))
    refused('rename out of the mount', 'EXDEV', os.rename, at('b'), os.path.join(os.path.dirname(point), 'b'))
    refused('rename into the mount', 'EXDEV', os.rename, os.path.join(os.path.dirname(point), 'policy.yaml'), at('p'))
    put(at('d'))
    check('NOREPLACE over a value: EEXIST', renameat2(at('b'), at('d'), NOREPLACE) == 'EEXIST' and get(at('b')) == b'a\n')
    check('NOREPLACE over a key: EEXIST', renameat2(at('b'), at('k'), NOREPLACE) == 'EEXIST')
    check('NOREPLACE to a new name', renameat2(at('b'), at('e'), NOREPLACE) is None and get(at('e')) == b'a\n')
    found = renameat2(at('d'), at('e'), EXCHANGE)
    check('EXCHANGE of two values: done, or EINVAL with both as they were',
          (get(at('d')), get(at('e'))) == {None: (b'a\n', b'text\n'), 'EINVAL': (b'text\n', b'a\n')}.get(found), found)
    check('WHITEOUT: EINVAL', renameat2(at('d'), at('f'), WHITEOUT) == 'EINVAL')
    handle = os.open(at('d'), os.O_WRONLY)
    os.rename(at('d'), at('g'))
    os.write(handle, b'later\n')
    os.close(handle)
    check('a file that is renamed while it is open is written under its new name', get(at('g')).startswith(b'later\n') and not os.path.exists(at('d')), os.listdir(at()))


# MARK: size

def sizes(point):
    at = fresh(point, 'size')
    path = at('v%binary')
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    check('a write of nothing', os.write(handle, b'') == 0)
    os.write(handle, b'0123456789')
    check('fstat sees what is written', os.fstat(handle).st_size == 10, os.fstat(handle).st_size)
    check('pread', os.pread(handle, 4, 3) == b'3456' and os.lseek(handle, 0, os.SEEK_CUR) == 10)
    check('pread past the end', os.pread(handle, 4, 100) == b'')
    check('pwrite', os.pwrite(handle, b'xx', 2) == 2 and os.pread(handle, 99, 0) == b'01xx456789' and os.lseek(handle, 0, os.SEEK_CUR) == 10)
    refused('pwrite before the beginning', 'EINVAL', os.pwrite, handle, b'x', -1)
    refused('ftruncate down', None, os.ftruncate, handle, 4)
    check('what is behind is gone', os.pread(handle, 99, 0) == b'01xx')
    refused('ftruncate up', None, os.ftruncate, handle, 8)
    check('what is new is zero', os.pread(handle, 99, 0) == b'01xx\0\0\0\0')
    check('a write past the end leaves zeros', os.pwrite(handle, b'end', 12) == 3 and os.pread(handle, 99, 0) == b'01xx' + bytes(8) + b'end')
    refused('ftruncate to less than nothing', 'EINVAL', os.ftruncate, handle, -1)
    refused('ftruncate far out', 'EFBIG', os.ftruncate, handle, 1 << 40)
    os.close(handle)
    check('all of it is there after closing', get(at('v')) == b'01xx' + bytes(8) + b'end')
    check('stat', os.stat(at('v')).st_size == 15)
    refused('truncate down', None, os.truncate, at('v'), 2)
    check('stat after truncate', os.stat(at('v')).st_size == 2 and get(at('v')) == b'01')
    refused('truncate up', None, os.truncate, at('v'), 6)
    check('zeros behind', get(at('v')) == b'01\0\0\0\0')
    refused('truncate to less than nothing', 'EINVAL', os.truncate, at('v'), -1)
    refused('truncate a key', 'EISDIR', os.truncate, at(), 0)
    handle = os.open(at('v'), os.O_RDWR)
    check('SEEK_END', os.lseek(handle, -2, os.SEEK_END) == 4)
    check('SEEK_DATA: all is data', os.lseek(handle, 0, os.SEEK_DATA) == 0 and os.lseek(handle, 3, os.SEEK_DATA) == 3)
    check('SEEK_HOLE: the end is the first hole', os.lseek(handle, 0, os.SEEK_HOLE) == 6)
    refused('SEEK_DATA past the end', 'ENXIO', os.lseek, handle, 99, os.SEEK_DATA)
    refused('SEEK_HOLE past the end', 'ENXIO', os.lseek, handle, 99, os.SEEK_HOLE)
    refused('seek before the beginning', 'EINVAL', os.lseek, handle, -1, os.SEEK_SET)
    check('fallocate(2): EOPNOTSUPP', c(LIBC.fallocate, handle, 0, ctypes.c_long(0), ctypes.c_long(200)) == 'EOPNOTSUPP')
    refused('posix_fallocate: the C library writes instead', None, os.posix_fallocate, handle, 0, 100)
    os.close(handle)
    check('and it is as long then', os.stat(at('v')).st_size == 100 and get(at('v')) == b'01' + bytes(98))
    put(at('from%binary'), bytes(range(256)) * 20)
    source, target = os.open(at('from'), os.O_RDONLY), os.open(at('to%binary'), os.O_CREAT | os.O_WRONLY)
    copied = 0
    while count := os.copy_file_range(source, target, 1000): copied += count
    os.close(target)
    check('copy_file_range', copied == 5120 and get(at('to')) == bytes(range(256)) * 20, copied)
    target = os.open(at('sent%binary'), os.O_CREAT | os.O_WRONLY)
    check('sendfile', os.sendfile(target, source, 0, 5120) == 5120)
    os.close(target)
    check('what was sent is there', get(at('sent')) == bytes(range(256)) * 20)
    os.close(source)
    status = os.stat(at('from'))
    check('st_blocks in units of 512', status.st_blocks == 10 and status.st_blksize == 4096, status.st_blocks)
    done = subprocess.run(['du', '--apparent-size', '-B1', at('from')], capture_output=True, text=True).stdout.split()
    check('du tells the size', done[:1] == ['5120'], done)
    done = subprocess.run(['du', '-B1', at('from')], capture_output=True, text=True).stdout.split()
    check('du tells the blocks', done[:1] == ['5120'], done)
    check('ls -l reads sensibly', ' 5120 ' in subprocess.run(['ls', '-ln', at()], capture_output=True, text=True).stdout)


# MARK: times, maps, locks

def times(point):
    at = fresh(point, 'times')
    os.mkdir(at('k'))
    os.utime(at('k'), ns=(10**18, 1234567890123456700))
    check('a key\'s time to 100 ns', os.stat(at('k')).st_mtime_ns == 1234567890123456700)
    for name, change in [
        ('making a value', lambda: put(at('k', 'v'))), ('writing a value', lambda: put(at('k', 'v'), b'new\n')),
        ('cutting a value', lambda: os.truncate(at('k', 'v'), 1)), ('renaming a value', lambda: os.rename(at('k', 'v'), at('k', 'w'))),
        ('removing a value', lambda: os.unlink(at('k', 'w'))), ('making a subkey', lambda: os.mkdir(at('k', 's'))),
        ('renaming a subkey', lambda: os.rename(at('k', 's'), at('k', 't'))), ('removing a subkey', lambda: os.rmdir(at('k', 't')))]:
        os.utime(at('k'), ns=(0, 10**18))
        change()
        check(name + ' sets the key\'s time', os.stat(at('k')).st_mtime_ns > 10**18)
    put(at('k', 'v'))
    os.utime(at('k'), ns=(0, 10**18))
    for name, change in [
        ('reading a value', lambda: get(at('k', 'v'))), ('listing', lambda: os.listdir(at('k'))),
        ('chmod', lambda: os.chmod(at('k', 'v'), 0o600)), ('a value\'s own times', lambda: os.utime(at('k', 'v'), ns=(1, 1))),
        ('a name that is taken', lambda: outcome(os.mkdir, at('k', 'v')))]:
        change()
        check(name + ' leaves it', os.stat(at('k')).st_mtime_ns == 10**18, os.stat(at('k')).st_mtime_ns)
    check('a value shows its key\'s', os.stat(at('k', 'v')).st_mtime_ns == 10**18)
    os.utime(at('k'))
    check('utime to now', os.stat(at('k')).st_mtime_ns > 10**18)
    buffer = ctypes.create_string_buffer(256)
    check('statx', c(LIBC.statx, -100, at('k', 'v').encode(), 0, 0xFFF, buffer) is None)
    mask, block, _, links, user, group, mode, _, inode, size, blocks = struct.unpack_from('<IIQIIIHHQQQ', buffer)
    status = os.stat(at('k', 'v'))
    check('statx tells what stat tells', mask & 0x7FF == 0x7FF and (links, user, group, mode, inode, size, blocks) == (
        status.st_nlink, status.st_uid, status.st_gid, status.st_mode, status.st_ino, status.st_size, status.st_blocks), (mask, links, size))


def maps(point):
    at = fresh(point, 'maps')
    path = put(at('v%binary'), bytes(range(256)) * 40)
    path = at('v')
    handle = os.open(path, os.O_RDONLY)
    with mmap.mmap(handle, 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as view: check('a private mapping reads', view[:] == bytes(range(256)) * 40)
    with mmap.mmap(handle, 0, mmap.MAP_SHARED, mmap.PROT_READ) as view: check('a shared mapping reads', view[5000:5004] == bytes([136, 137, 138, 139]))
    with mmap.mmap(handle, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view:
        view[0] = 99
        check('what is written to a private mapping stays there', view[0] == 99 and get(path)[0] == 0)
    os.close(handle)
    handle = os.open(path, os.O_RDWR)
    refused('a shared mapping for writing', 'ENODEV', mmap.mmap, handle, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(handle)


CHILD = '''
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR)
def can(call, *arguments):
    try: call(handle, *arguments)
    except OSError: return "no"
    return "yes"
print(can(fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB), can(fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 0), can(fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 100))
'''


def locks(point):
    at = fresh(point, 'locks')
    path = put(at('v'))
    handle = os.open(path, os.O_RDWR)
    def child(): return subprocess.run([sys.executable, '-c', CHILD, path], capture_output=True, text=True, timeout=30).stdout.split()
    check('nobody holds a lock', child() == ['yes', 'yes', 'yes'])
    fcntl.flock(handle, fcntl.LOCK_EX)
    check('flock keeps another process out', child()[:1] == ['no'])
    fcntl.flock(handle, fcntl.LOCK_UN)
    fcntl.lockf(handle, fcntl.LOCK_EX, 4, 0)
    check('a record lock keeps another process out of its bytes', child() == ['yes', 'no', 'yes'], child())
    os.close(handle)
    check('closing gives it back', child() == ['yes', 'yes', 'yes'])


# MARK: users, space

def read_only(point):
    for name, call in [
        ('mkdir', lambda: os.mkdir(point + '/x')), ('rmdir', lambda: os.rmdir(point + '/Select')), ('unlink', lambda: os.unlink(point + '/Select/Current')),
        ('open O_WRONLY', lambda: opened(point + '/Select/Current', os.O_WRONLY)), ('open O_CREAT', lambda: opened(point + '/x', os.O_CREAT | os.O_WRONLY)),
        ('open O_TRUNC', lambda: opened(point + '/Select/Current', os.O_TRUNC)), ('rename', lambda: os.rename(point + '/Select', point + '/x')),
        ('truncate', lambda: os.truncate(point + '/Select/Current', 0)), ('utime', lambda: os.utime(point + '/Select')),
        ('chmod', lambda: os.chmod(point + '/Select', 0o777)), ('setxattr', lambda: os.setxattr(point + '/Select/Current', 'user.reg.type', b'REG_SZ'))]:
        refused('read-only: ' + name, 'EROFS', call)
    check('read-only: reading', get(point + '/Select/Current') != b'')
    check('read-only: no write bit', os.stat(point).st_mode & 0o222 == 0 and os.statvfs(point).f_flag & os.ST_RDONLY != 0)


AS_NOBODY = '''
import errno, os, sys
point = sys.argv[1]
def outcome(call, *arguments):
    try: call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return "ok"
def opened(path, flags): os.close(os.open(path, flags, 0o666))
print(outcome(os.listdir, point), outcome(opened, point + "/Select/Current", os.O_RDONLY), outcome(opened, point + "/Select/Current", os.O_WRONLY),
      outcome(os.mkdir, point + "/made"), outcome(opened, point + "/created", os.O_CREAT | os.O_WRONLY), outcome(os.unlink, point + "/Select/Current"),
      outcome(os.rename, point + "/Select", point + "/Renamed"), outcome(os.rmdir, point + "/Select"), outcome(os.truncate, point + "/Select/Current", 0),
      outcome(os.utime, point + "/Select"), outcome(os.chmod, point + "/Select", 0o777))
'''


def as_nobody(point):
    done = subprocess.run(['setpriv', '--reuid=%d' % NOBODY, '--regid=%d' % NOBODY, '--clear-groups', sys.executable, '-c', AS_NOBODY, point],
                          capture_output=True, text=True, timeout=60)
    return done.stdout.split() or done.stderr


def users():
    with Mount() as mount:
        check('without allow_other nobody else may look', as_nobody(mount.point)[0] == 'EACCES')
        for name, options, wanted in [
            ('umask 022', ',allow_other', ['ok', 'ok'] + ['EACCES'] * 7 + ['EACCES', 'EPERM']),
            ('umask 077', ',allow_other,umask=077', ['EACCES'] * 10 + ['EACCES']),
            ('default_permissions is taken', ',allow_other,default_permissions', ['ok', 'ok'] + ['EACCES'] * 7 + ['EACCES', 'EPERM']),
            ('fmask 077', ',allow_other,fmask=077', ['ok', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EACCES', 'EPERM']),
            ('dmask 077', ',allow_other,dmask=077', ['EACCES'] * 11)]:
            mount.unmount()
            mount.mount(options)
            check(name + ': another user is refused by the bits', as_nobody(mount.point) == wanted, as_nobody(mount.point))
        mount.unmount()
        mount.mount(',allow_other,dmask=0022,fmask=0137')
        check('dmask and fmask make the bits', (os.stat(mount.point).st_mode & 0o7777, os.stat(mount.point + '/Select/Current').st_mode & 0o7777) == (0o755, 0o640))
        mount.unmount()
        mount.mount(',ro')
        read_only(mount.point)
        mount.unmount()
        done = subprocess.run([REGWARD, 'mount', '-o', 'fmask=999', mount.hive, mount.point], capture_output=True)
        check('a mask that is no octal number is refused', done.returncode == 1 and b'fmask' in done.stderr, done)
    with Mount(',allow_other,uid=%d,gid=%d' % (NOBODY, NOBODY)) as mount:
        status = os.stat(mount.point + '/Select/Current')
        check('uid and gid are shown', (status.st_uid, status.st_gid) == (NOBODY, NOBODY))
        found = as_nobody(mount.point)
        check('who the files belong to may change them', found[:4] == ['ok'] * 4 and found[4] == 'ok' and found[5] == 'ok', found)


def dump_counts(hive):
    lines = subprocess.run([REGWARD, 'dump', hive], capture_output=True).stdout.split(b'\n')
    return sum(line[:1] in (b'K', b'V') for line in lines)


def space(mount):
    point = mount.point
    at = fresh(point, 'space')
    before = os.statvfs(point)
    check('names have 1,024 bytes', before.f_namemax == 1024)
    check('total is used and free', 0 < before.f_bfree < before.f_blocks and before.f_bavail == before.f_bfree)
    subprocess.run([REGWARD, 'flush', point], check=True)
    size = os.path.getsize(mount.hive)
    used = (before.f_blocks - before.f_bfree) * before.f_frsize
    check('used is what the hive holds', size // 4 < used <= size + 2 * before.f_frsize, (used, size))
    disk = os.statvfs(mount.folder)
    check('free is no more than a hive or the disk can hold', before.f_bfree * before.f_frsize <= min(1 << 31, disk.f_bavail * disk.f_frsize + size) + (1 << 20))
    check('and no less', before.f_bfree * before.f_frsize >= min((1 << 31) - size, disk.f_bavail * disk.f_frsize) - (1 << 24))
    for number in range(30): os.mkdir(at('k%d' % number))
    for number in range(50): put(at('v%d' % number))
    after = os.statvfs(point)
    check('a key or a value is a file more', after.f_files - after.f_ffree == before.f_files - before.f_ffree + 80, (before, after))
    put(at('big%binary'), bytes(1 << 20))
    check('what is written is used', (1 << 20) // 4096 <= (os.statvfs(point).f_blocks - os.statvfs(point).f_bfree) - (after.f_blocks - after.f_bfree) <= 300)
    os.rename(at('v0'), at('v1'))
    os.rename(at('k0'), at('a key with a much longer name than it had'))
    os.unlink(at('v2'))
    os.rmdir(at('k1'))
    os.unlink(at('big'))
    put(at('v3'), b'not a new one\n')
    last = os.statvfs(point)
    check('and one less when it is gone', last.f_files - last.f_ffree == before.f_files - before.f_ffree + 80 - 3, last)
    check('what is free again is free', (last.f_blocks - last.f_bfree) <= (after.f_blocks - after.f_bfree) + 1)
    for words in (['df', '-k'], ['df', '-i']):
        done = subprocess.run(words + [point], capture_output=True, text=True)
        check(' '.join(words) + ' reads sensibly', done.returncode == 0 and done.stdout.split('\n')[1].split()[1].isdigit(), done.stdout)
    files = last.f_files - last.f_ffree
    mount.unmount()
    check('files are the hive\'s keys and values', dump_counts(mount.hive) == files, (dump_counts(mount.hive), files))
    mount.mount(',ro')
    again = os.statvfs(point)
    check('a read-only mount counts the same', again.f_files - again.f_ffree == files, again)
    mount.unmount()
    mount.mount()


with Mount() as mount:
    groups = [names, directories, opening, removing, renaming, sizes, times, maps, locks]
    for group in groups:
        if not ONLY or group.__name__ == ONLY: group(mount.point)
    if not ONLY or ONLY == 'space': space(mount)
if not ONLY or ONLY == 'users': users()
for name, reason in NOT_APPLICABLE: print('not applicable: %s: %s' % (name, reason))
verdict.close()
