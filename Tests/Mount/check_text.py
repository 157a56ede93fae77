#!/usr/bin/env python3
"""check_text.py BIN-DIRECTORY [--only NAME,…]

Names, text, types and attributes (SEMANTICS.md, sections 2 to 4) on a real mount, with the system calls and the programs that people
use: what each refuses and with which errno, what copies carry, the options that change how values look, values of 16 MB.
BIN-DIRECTORY holds regward and make-hive-samples. Needs attr, rsync and tar.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Standard library only. Leaves no mount, no process and no file behind.
"""
import ctypes, errno, hashlib, os, shutil, subprocess, sys, tempfile, traceback

import verdict
from verdict import check

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
ONLY = set(sys.argv[sys.argv.index('--only') + 1].split(',')) if '--only' in sys.argv else None
CHECKS = []


def equal(name, found, wanted): check(name, found == wanted, '%r, not %r' % (found, wanted))


def part(function):
    CHECKS.append(function)
    return function


class Mount:
    """A mount of a fresh sample, with a key to work in; everything is gone at the end of the `with`."""

    def __init__(self, options=''):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix='regward-text-'))
        subprocess.run([os.path.join(BIN, 'make-hive-samples'), self.folder], check=True, capture_output=True)
        self.hive, self.point = self.path('software.hiv'), self.path('mnt')
        os.mkdir(self.point)
        self.options = options
        self.mount()
        self.key = os.path.join(self.point, 'Text')
        os.mkdir(self.key)

    def __enter__(self): return self

    def __exit__(self, *_):
        try:
            self.unmount()
            found = subprocess.run([REGWARD, 'check', self.hive], capture_output=True, text=True)
            if found.returncode: check('regward check after %s' % (self.options or 'a mount'), False, found.stdout)
        finally:
            if os.path.ismount(self.point): subprocess.run(['umount', '-l', self.point])
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts): return os.path.join(self.folder, *parts)

    def at(self, *names): return os.path.join(self.key, *names)

    def mount(self):
        command = [REGWARD, 'mount'] + (['-o', self.options] if self.options else []) + [self.hive, self.point]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0: raise RuntimeError('mount: ' + done.stderr)

    def unmount(self):
        if os.path.ismount(self.point): subprocess.run([REGWARD, 'umount', self.point], check=True, capture_output=True)

    def daemon(self):
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/cmdline' % pid, 'rb') as file: words = file.read().split(b'\0')
            except OSError: continue
            if words[1:2] == [b'mount'] and words[-2] == self.point.encode(): return int(pid)

    def peak(self):
        """The most memory that the daemon ever had, bytes."""
        with open('/proc/%d/status' % self.daemon()) as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmHWM'))

    def value(self, name):
        """Type and bytes."""
        return os.getxattr(self.at(name), 'user.reg.type').decode(), read(self.at(name + '%raw'))

    def give(self, name, kind, data):
        write(self.at(name + '%raw'), data)
        os.setxattr(self.at(name), 'user.reg.type', kind.encode())


def read(path):
    with open(path, 'rb') as file: return file.read()


def write(path, data, flags=os.O_TRUNC):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try: os.write(descriptor, data)
    finally: os.close(descriptor)


def outcome(call, *arguments):
    """The name of the errno, or None."""
    try: call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]


def steps(path, data):
    """Where writing this fails: the name of the call and the errno; None where nothing does."""
    try: descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError as error: return 'open', errno.errorcode[error.errno]
    failure = None
    try:
        if data: os.write(descriptor, data)
    except OSError as error: failure = 'write', errno.errorcode[error.errno]
    try: os.close(descriptor)
    except OSError as error: failure = failure or ('close', errno.errorcode[error.errno])
    return failure


def program(*words, **more):
    done = subprocess.run(words, capture_output=True, **more)
    return done.returncode, done.stderr.decode(errors='replace')[-300:]


def utf16(text): return text.encode('utf-16-le', 'surrogatepass')


# ---------------------------------------------------------------- section 2

@part
def names():
    with Mount() as mount:
        problems = []
        for name in ['%', 'a%', 'a%x', 'a%4', 'a%dup2', 'a%dup1', 'a%~0123456789abcdef', 'a%u12', 'a%sz%sz', 'a%lost0x20']:
            for call in [lambda p: write(p, b'x\n'), os.mkdir]:
                if (found := outcome(call, mount.at(name))) not in ('EINVAL',): problems.append((name, found))
            if outcome(os.stat, mount.at(name)) != 'ENOENT': problems.append((name, 'looked up'))
        for name in ['k%sz', 'k%raw', 'k%val']:
            if outcome(os.mkdir, mount.at(name)) != 'EINVAL': problems.append(name)
        for name, wanted in [(b'\xff', 'EILSEQ'), (b'a\xed\xa0\x80', 'EILSEQ'), (b'k' * 256, 'ENAMETOOLONG')]:
            if (found := outcome(os.mkdir, os.path.join(mount.key.encode(), name))) != wanted: problems.append((name, found))
        check('SEMANTICS 2.5, 2.10, 2.12: unknown suffixes, no UTF-8 and names too long are refused', not problems, problems)

        # Linux before 6.13 passes no name over 1,024 bytes.
        long = 'é' * 600
        if (found := outcome(write, mount.at(long), b'x\n')) is None:
            listed = os.listdir(mount.key)[0]
            check('SEMANTICS 2.11: a long name is shortened, found as listed, and whole in user.reg.name',
                  listed == 'é' * 450 + '%~' + hashlib.sha256(long.encode()).hexdigest()[:16] and read(mount.at(listed)) == b'x\n'
                  and read(mount.at(listed + '%raw')) == utf16('x\0') and os.getxattr(mount.at(listed), 'user.reg.name').decode() == long, listed)
            os.unlink(mount.at(listed))
        else: equal('SEMANTICS 2.11: a long name', found, 'ENAMETOOLONG')

        problems = []
        for name in ['.x', '...', '@@', '%40', '%2E', '%2E.', 'a%2Fb', 'a%25b', '%00', '%uD800x', 'a\\b', 'a:b', ' ', '\U0001f600', 'é' * 400]:
            write(mount.at(name), name.encode() + b'\n')
            listed = os.listdir(mount.key)
            if listed != [name]: problems.append((name, listed))
            if read(mount.at(name)) != name.encode() + b'\n': problems.append((name, 'content'))
            if os.getxattr(mount.at(name), 'user.reg.name').decode() != {'%2E': '.', '%2E.': '..', '%40': '@'}.get(name, name): problems.append((name, 'user.reg.name'))
            os.unlink(mount.at(name))
        for spelled, name in [('A%2fB', 'A%2FB'), ('%udBffz', '%uDBFFz'), ('%41bc', 'Abc')]:
            write(mount.at(spelled), b'x\n')
            if os.listdir(mount.key) != [name]: problems.append(spelled)
            os.unlink(mount.at(name))
        check('SEMANTICS 2.2, 2.3, 2.4: each name has one file name and is read back', not problems, problems)

        write(mount.at('Value'), b'1\n')
        check('SEMANTICS 2.1: without regard to case, and the case stays', read(mount.at('vALUE')) == b'1\n' and os.listdir(mount.key) == ['Value'])
        os.unlink(mount.at('VALUE'))
        os.mkdir(mount.at('Both'))
        write(mount.at('both%val'), b'v\n')
        check('SEMANTICS 2.6: a value with the name of a key', sorted(os.listdir(mount.key)) == ['Both', 'both%val'] and read(mount.at('BOTH%val')) == b'v\n')
        os.unlink(mount.at('Both%val'))
        equal('SEMANTICS 2.6: the key stays', os.listdir(mount.key), ['Both'])


@part
def suffixes():
    with Mount() as mount:
        problems = []
        for alias, kind, text in [('sz', 'REG_SZ', b'x\n'), ('expand_sz', 'REG_EXPAND_SZ', b'x\n'), ('multi_sz', 'REG_MULTI_SZ', b'x\n'),
                                  ('dword', 'REG_DWORD', b'1\n'), ('dword_be', 'REG_DWORD_BIG_ENDIAN', b'1\n'), ('qword', 'REG_QWORD', b'1\n'),
                                  ('binary', 'REG_BINARY', b'x'), ('none', 'REG_NONE', b'x'), ('link', 'REG_LINK', b'x\n'),
                                  ('0x8', 'REG_RESOURCE_LIST', b'x'), ('0xffff0012', '0xffff0012', b'x')]:
            write(mount.at('v%' + alias), text)
            if os.getxattr(mount.at('v'), 'user.reg.type').decode() != kind or read(mount.at('v%' + alias)) != text or os.listdir(mount.key) != ['v']:
                problems.append(alias)
            if outcome(os.stat, mount.at('v%0x77')) != 'ENOENT': problems.append(alias + ' found under another type')
        check('SEMANTICS 2.9, 4.1, 4.2: a suffix makes its type and finds it only', not problems, problems)
    with Mount('typesuffix') as mount:
        write(mount.at('Start%dword'), b'4\n')
        write(mount.at('Path'), b'p\n')
        os.mkdir(mount.at('Key'))
        equal('SEMANTICS 2.14: listed with types', sorted(os.listdir(mount.key)), ['Key', 'Path%sz', 'Start%dword'])
        check('SEMANTICS 2.14: the bare name is found', read(mount.at('Start')) == b'4\n' and read(mount.at('start%DWORD'.replace('DWORD', 'dword'))) == b'4\n')
        target = mount.path('copy')
        shutil.copytree(mount.key, target)
        for name in os.listdir(mount.key):
            if name != 'Key': os.unlink(mount.at(name))
        equal('SEMANTICS 2.14: removed by the listed name, the bare one is gone at once', [outcome(os.stat, mount.at(n)) for n in ('Start', 'Path')], ['ENOENT'] * 2)
        for name in os.listdir(target):
            if name != 'Key': shutil.copyfile(os.path.join(target, name), mount.at(name))
        check('SEMANTICS 2.14: plain copies carry the types', mount.value('Start') == ('REG_DWORD', b'\4\0\0\0') and mount.value('Path') == ('REG_SZ', utf16('p\0')))
        os.setxattr(mount.at('Start'), 'user.reg.type', b'REG_QWORD')
        equal('SEMANTICS 2.14: another type, another name', (sorted(os.listdir(mount.key)), outcome(os.stat, mount.at('Start%dword'))), (['Key', 'Path%sz', 'Start%qword'], 'ENOENT'))


@part
def raw():
    with Mount() as mount:
        write(mount.at('n%dword'), b'1\n')
        path = mount.at('n%raw')
        write(path, b'ab')
        write(path, b'cd', os.O_APPEND)
        descriptor = os.open(path, os.O_RDWR)
        os.pwrite(descriptor, b'x', 6)
        os.close(descriptor)
        equal('SEMANTICS 2.8: bytes written, appended, and beyond the end', mount.value('n'), ('REG_DWORD', b'abcd\0\0x'))
        os.truncate(path, 3)
        equal('SEMANTICS 2.8: cut', (os.stat(path).st_size, mount.value('n')[1]), (3, b'abc'))
        equal('SEMANTICS 2.8: in the text at once', (read(mount.at('n')), os.stat(mount.at('n')).st_size), (b'6513249\n', 8))
        write(mount.at('n'), b'7\n')
        equal('SEMANTICS 2.8: and the other way round', (read(path), os.stat(path).st_size), (b'\7\0\0\0', 4))
        # Handles that stay open, with pages in the kernel.
        with open(mount.at('n'), 'rb', buffering=0) as text, open(path, 'rb', buffering=0) as data:
            problems = []
            for number in range(200):
                if number % 2: write(mount.at('n'), b'%d\n' % number)
                else: write(path, number.to_bytes(4, 'little'))
                found = os.pread(text.fileno(), 100, 0), os.pread(data.fileno(), 100, 0), os.stat(mount.at('n')).st_size
                if found != (b'%d\n' % number, number.to_bytes(4, 'little'), len('%d\n' % number)): problems.append((number, found))
        check('SEMANTICS 2.8: 200 times either view is set, readers of both see it', not problems, problems[:3])
        write(mount.at('new%raw'), b'\xff\0')
        equal('SEMANTICS 2.8: a new one is REG_BINARY', mount.value('new'), ('REG_BINARY', b'\xff\0'))
        equal('SEMANTICS 2.8: no name to move to or from', [outcome(os.rename, mount.at(a), mount.at(b)) for a, b in (('n%raw', 'm'), ('n', 'm%raw'))], ['EINVAL'] * 2)
        equal('SEMANTICS 2.8: not listed', sorted(os.listdir(mount.key)), ['n', 'new'])
    with Mount('raw') as mount:
        write(mount.at('v'), b'ab')
        equal('SEMANTICS 3.11: bytes, and REG_BINARY when new', (read(mount.at('v')), mount.value('v')), (b'ab', ('REG_BINARY', b'ab')))
        os.setxattr(mount.at('v'), 'user.reg.type', b'REG_SZ')
        equal('SEMANTICS 3.11: a type leaves the bytes', (mount.value('v'), os.listxattr(mount.at('v'))), (('REG_SZ', b'ab'), ['user.reg.type']))
        equal('SEMANTICS 3.11: copied with its type', (program('cp', '-a', mount.at('v'), mount.at('w'))[0], mount.value('w')), (0, ('REG_SZ', b'ab')))
    with Mount('numbers=hex') as mount:
        for name, text in (('d%dword', b'-2\n'), ('q%qword', b'10\n'), ('b%dword_be', b'0x1F\n')): write(mount.at(name), text)
        equal('SEMANTICS 3.10: numbers in hexadecimal', [read(mount.at(n)) for n in 'dqb'], [b'0xfffffffe\n', b'0x000000000000000a\n', b'0x0000001f\n'])
        equal('SEMANTICS 3.10: of the size that is shown', [os.stat(mount.at(n)).st_size for n in 'dqb'], [11, 19, 11])
        write(mount.at('d'), read(mount.at('d')))
        equal('SEMANTICS 3.10: read back', mount.value('d'), ('REG_DWORD', b'\xfe\xff\xff\xff'))


# ---------------------------------------------------------------- section 3

@part
def text():
    with Mount() as mount:
        problems = []
        for paragraph, kind, written, data, shown in [
            ('3.2', 'sz', b'abc', utf16('abc\0'), b'abc\n'), ('3.2', 'sz', b'abc\n', utf16('abc\0'), b'abc\n'), ('3.1', 'sz', b'', b'', b''),
            ('3.2', 'sz', b'a\n\n', utf16('a\n\0'), b'a\n\n'), ('3.2', 'sz', b'\n', utf16('\0'), b'\n'), ('3.1', 'sz', b'a\0b\n', utf16('a\0b\0'), b'a\0b\n'),
            ('3.2', 'expand_sz', '%x%ü\U0001f600\n'.encode(), utf16('%x%ü\U0001f600\0'), '%x%ü\U0001f600\n'.encode()),
            ('3.2', 'link', b'\\X\n', utf16('\\X'), b'\\X\n'), ('3.3', 'multi_sz', b'a\nb', utf16('a\0b\0\0'), b'a\nb\n'),
            ('3.3', 'multi_sz', b'a\r\n', utf16('a\r\0\0'), b'a\r\n'), ('3.3', 'multi_sz', b'a\n\nb\n', utf16('a\0\0b\0\0'), b'a\n\nb\n'),
            ('3.5', 'dword', b' \t0x1f \n', b'\x1f\0\0\0', b'31\n'), ('3.5', 'dword', b'-1', b'\xff' * 4, b'4294967295\n'),
            ('3.5', 'dword', b'-2147483648\n', b'\0\0\0\x80', b'2147483648\n'), ('3.4', 'dword_be', b'258', b'\0\0\1\2', b'258\n'),
            ('3.5', 'qword', b'18446744073709551615\n', b'\xff' * 8, b'18446744073709551615\n'), ('3.6', 'binary', b'\0\xff\n', b'\0\xff\n', b'\0\xff\n'),
            ('3.6', 'none', b'x', b'x', b'x'), ('3.6', '0xb3', b'\n', b'\n', b'\n'), ('3.8', 'dword', b'', b'', b''),
        ]:
            failure = steps(mount.at('v%' + kind), written)
            found = mount.value('v')[1], read(mount.at('v')), os.stat(mount.at('v')).st_size
            if failure or found != (data, shown, len(shown)): problems.append((paragraph, kind, written, failure, found))
            os.unlink(mount.at('v'))
        check('SEMANTICS 3.1 to 3.6 and 3.8: what is accepted, stored and shown', not problems, problems[:3])

        problems = []
        for paragraph, kind, old, written, where, number in [
            ('3.2', 'sz', b'old\n', b'\xff', 'write', 'EILSEQ'), ('3.2', 'expand_sz', b'old\n', b'a\xed\xa0\x80', 'write', 'EILSEQ'),
            ('3.2', 'link', b'old\n', b'\xc0\x80', 'write', 'EILSEQ'), ('3.3', 'multi_sz', b'old\n', b'a\n\xf5\n', 'write', 'EILSEQ'),
            # The rest of the character could still come.
            ('3.2', 'sz', b'old\n', b'\xe2\x82', 'close', 'EILSEQ'),
            ('3.5', 'dword', b'1\n', b'foo\n', 'write', 'EINVAL'), ('3.5', 'dword', b'1\n', b'4 2', 'write', 'EINVAL'),
            ('3.5', 'dword', b'1\n', b'1\n2\n', 'write', 'EINVAL'), ('3.5', 'dword', b'1\n', b'+1', 'write', 'EINVAL'),
            ('3.5', 'dword_be', b'1\n', b'0xg', 'write', 'EINVAL'), ('3.5', 'qword', b'1\n', b'1e3', 'write', 'EINVAL'),
            ('3.5', 'dword', b'1\n', b'\n', 'close', 'EINVAL'), ('3.5', 'dword', b'1\n', b'0x', 'close', 'EINVAL'),
            ('3.5', 'dword', b'1\n', b'-', 'close', 'EINVAL'), ('3.5', 'dword', b'1\n', b'4294967296', 'write', 'ERANGE'),
            ('3.5', 'dword', b'1\n', b'-2147483649', 'write', 'ERANGE'), ('3.5', 'dword_be', b'1\n', b'4294967296\n', 'write', 'ERANGE'),
            ('3.5', 'qword', b'1\n', b'18446744073709551616', 'write', 'ERANGE'), ('3.5', 'qword', b'1\n', b'-9223372036854775809', 'write', 'ERANGE'),
        ]:
            write(mount.at('v%' + kind), old)
            failure = steps(mount.at('v'), written)
            if failure != (where, number) or read(mount.at('v')) != old: problems.append((paragraph, kind, written, failure, read(mount.at('v'))))
            os.unlink(mount.at('v'))
            failure = steps(mount.at('new%' + kind), written)
            if failure != (where, number) or os.listdir(mount.key): problems.append((paragraph, kind, written, 'new', failure))
        check('SEMANTICS 3.2, 3.3, 3.5, 3.7: what is refused, by which call, and the old value stands', not problems, problems[:3])

        write(mount.at('n%dword'), b'5\n')
        equal('SEMANTICS 3.8: a number that is only emptied keeps its data', (steps(mount.at('n'), b''), read(mount.at('n'))), (None, b'5\n'))
        descriptor = os.open(mount.at('n'), os.O_WRONLY)
        os.ftruncate(descriptor, 0)
        equal('SEMANTICS 3.8: cut to nothing it is refused at close', (outcome(os.close, descriptor), read(mount.at('n'))), ('EINVAL', b'5\n'))
        mount.give('u', 'REG_SZ', b'a\0\0\xd8\0\0')
        equal('SEMANTICS 3.1: an unpaired surrogate is U+FFFD', read(mount.at('u')), 'a\ufffd\n'.encode())


@part
def big():
    with Mount() as mount:
        source = mount.path('big')
        with open(source, 'wb') as file: file.write(os.urandom(16 << 20))
        status, message = program('cp', source, mount.at('big%binary'))
        check('SEMANTICS 3.6: 16 MB through cp, and back', status == 0 and program('cmp', source, mount.at('big')) == (0, ''), message)
        text = ('x' * 99 + '\n') * 20_000
        write(mount.at('long'), text.encode())
        check('SEMANTICS 3.2: a text of 2 MB', read(mount.at('long')) == text.encode())
        mount.unmount()
        mount.mount()
        check('SEMANTICS 3.6: mounted again, equal', program('cmp', source, mount.at('big')) == (0, ''))
    with Mount() as mount:
        before = mount.peak()
        for name in ('sparse%raw', 'sparse%binary', 'sparse'):
            for offset in (20 << 20, 900 << 20, 1 << 31, 1 << 40, (1 << 62)):
                descriptor = os.open(mount.at(name), os.O_WRONLY | os.O_CREAT)
                failure = outcome(os.pwrite, descriptor, b'x', offset)
                closed = outcome(os.close, descriptor)
                if (failure, closed) != ('EFBIG', 'EFBIG') or 'sparse' in os.listdir(mount.key): check('SEMANTICS 3.9: a write at %d of %s' % (offset, name), False, (failure, closed))
            equal('SEMANTICS 3.9: a write far out of %s is EFBIG' % name, 'sparse' in os.listdir(mount.key), False)
        write(mount.at('v%raw'), b'abc')
        equal('SEMANTICS 3.9: so is such a size', [outcome(os.truncate, mount.at('v'), n) for n in (20 << 20, 1 << 31, 1 << 45)], ['EFBIG'] * 3)
        check('SEMANTICS 3.9: and takes no memory', mount.peak() - before < 32 << 20, mount.peak() - before)
        equal('SEMANTICS 3.9: the value stands', mount.value('v'), ('REG_BINARY', b'abc'))


# ---------------------------------------------------------------- section 4

ODD = {
    'unterminated': ('REG_SZ', utf16('abc')), 'half': ('REG_EXPAND_SZ', b'a\0b'), 'surrogate': ('REG_SZ', b'\0\xd8\0\0'),
    'long number': ('REG_DWORD', b'\1\0\0\0\1\0\0\0'), 'short number': ('REG_QWORD', b'\7\1'), 'no number': ('REG_DWORD', b''),
    'list': ('REG_MULTI_SZ', utf16('a')), 'no list': ('REG_MULTI_SZ', b''), 'number': ('REG_DWORD', b'\5\0\0\0'), 'text': ('REG_SZ', utf16('x\0')),
    'big endian': ('REG_DWORD_BIG_ENDIAN', b'\1'), 'bytes': ('REG_BINARY', b'\0\n\xff'), 'odd type': ('0x63', b'x'),
}


@part
def copies():
    """SEMANTICS 4.4: what text cannot carry, attributes do."""
    with Mount() as mount:
        for name, (kind, data) in ODD.items(): mount.give(name, kind, data)
        given = {name: mount.value(name) for name in ODD}
        equal('SEMANTICS 4.4: given as bytes', given, ODD)
        for way in ('cp -a', 'rsync', 'tar'):
            for target in ('new', 'there'):
                folder = mount.at('%s %s' % (way, target))
                os.mkdir(folder)
                if target == 'there':
                    for name in ODD: write(os.path.join(folder, name), b'something else\n')
                problems = []
                if way == 'cp -a':
                    if target == 'there':
                        status, message = program('cp', '-a', mount.at('bytes'), folder)
                        equal('SEMANTICS 4.11: cp -a of bytes over a text', (status, mount.value('cp -a there/bytes')), (1, ('REG_SZ', utf16('something else\0'))))
                    for name in ODD:
                        status, message = program('cp', '-a', '--remove-destination', mount.at(name), os.path.join(folder, name))
                        if status: problems.append(message)
                elif way == 'rsync':
                    status, message = program('rsync', '-aX', *[mount.at(name) for name in ODD], folder)
                    if status: problems.append(message)
                else:
                    archive = mount.path('x.tar')
                    program('tar', '--xattrs', '-cf', archive, '-C', mount.key, *ODD)
                    status, message = program('tar', '--xattrs', '--xattrs-include=*', '-xf', archive, '-C', folder)
                    if status: problems.append(message)
                for name, wanted in ODD.items():
                    found = mount.value(os.path.join(os.path.basename(folder), name))
                    if found != wanted: problems.append((name, found, wanted))
                check('SEMANTICS 4.4: %s to values that are %s' % (way, target), not problems, problems[:3])
        write(mount.at('long number'), b'3\n')
        equal('SEMANTICS 4.4: writing text drops the bytes', (mount.value('long number'), os.listxattr(mount.at('long number'))), (('REG_DWORD', b'\3\0\0\0'), ['user.reg.type']))
        os.removexattr(mount.at('unterminated'), 'user.reg.data')
        equal('SEMANTICS 4.4: taken away, the text counts', mount.value('unterminated'), ('REG_SZ', utf16('abc\0')))


@part
def attributes():
    with Mount() as mount:
        write(mount.at('v'), b'12\n')
        path = mount.at('v')
        equal('SEMANTICS 4.1: the type', os.getxattr(path, 'user.reg.type'), b'REG_SZ')
        os.setxattr(path, 'user.reg.type', b'dword')
        equal('SEMANTICS 4.1, 4.3: given without REG_, the text is read anew', mount.value('v'), ('REG_DWORD', b'\x0c\0\0\0'))
        write(mount.at('t'), b'no number\n')
        equal('SEMANTICS 4.3: text that does not fit', (outcome(os.setxattr, mount.at('t'), 'user.reg.type', b'REG_DWORD'), mount.value('t')[0]), ('EINVAL', 'REG_SZ'))
        write(mount.at('t'), b'5000000000\n')
        equal('SEMANTICS 4.3: nor a number out of range', outcome(os.setxattr, mount.at('t'), 'user.reg.type', b'REG_DWORD'), 'ERANGE')
        write(mount.at('tmp'), b'13\n')
        os.rename(mount.at('tmp'), path)
        equal('SEMANTICS 4.5: renamed onto another it takes its type', mount.value('v'), ('REG_DWORD', b'\x0d\0\0\0'))

        equal('SEMANTICS 4.6: values', [os.getxattr(path, 'user.reg.' + n) for n in ('name', 'flags')], [b'v', b'0x1'])
        nanoseconds = os.stat(mount.key).st_mtime_ns
        for file in (path, mount.key):
            equal('SEMANTICS 4.6: the time of %s' % os.path.basename(file), int(os.getxattr(file, 'user.reg.lastwrite')), nanoseconds // 100 + 116444736000000000)
        equal('SEMANTICS 4.6: listed are', (os.listxattr(path), os.listxattr(mount.key)), (['user.reg.type'], []))
        equal('SEMANTICS 4.7: not removed', [outcome(os.removexattr, path, 'user.reg.' + n) for n in ('type', 'name', 'data', 'nothing')], ['EPERM', 'EPERM', 'ENODATA', 'ENODATA'])
        equal('SEMANTICS 4.7: not set', [outcome(os.setxattr, f, n, b'1') for f, n in ((path, 'user.reg.name'), (path, 'user.x'), (mount.key, 'user.reg.type'), (path, 'user.reg.class'))], ['ENOTSUP'] * 4)
        equal('SEMANTICS 4.7: no descriptor', outcome(os.setxattr, mount.key, 'system.ntfs_acl', b'x'), 'EINVAL')
        equal('SEMANTICS 4.8: create and replace', [outcome(os.setxattr, path, n, b'REG_DWORD', f) for n, f in (('user.reg.type', os.XATTR_CREATE), ('user.reg.data', os.XATTR_REPLACE), ('user.reg.type', os.XATTR_REPLACE))], ['EEXIST', 'ENODATA', None])
        libc = ctypes.CDLL(None, use_errno=True)
        sizes = []
        for size in (0, 8, 9, 100):
            buffer = ctypes.create_string_buffer(size)
            result = libc.getxattr(path.encode(), b'user.reg.type', buffer if size else None, size)
            sizes.append(result if result >= 0 else errno.errorcode[ctypes.get_errno()])
            result = libc.listxattr(path.encode(), buffer if size else None, size)
            sizes.append(result if result >= 0 else errno.errorcode[ctypes.get_errno()])
        equal('SEMANTICS 4.8: sizes of a buffer', sizes, [9, 14, 'ERANGE', 'ERANGE', 9, 'ERANGE', 9, 14])

        key = mount.at('Key')
        os.mkdir(key)
        os.setxattr(key, 'user.reg.class', 'Größe%2F'.encode())
        equal('SEMANTICS 4.9: a class', (os.listxattr(key), os.getxattr(key, 'user.reg.class').decode()), (['user.reg.class'], 'Größe%2F'))
        equal('SEMANTICS 4.9: copied', (program('cp', '-a', key, mount.at('Copy'))[0], os.getxattr(mount.at('Copy'), 'user.reg.class').decode()), (0, 'Größe%2F'))
        os.removexattr(key, 'user.reg.class')
        equal('SEMANTICS 4.9: removed', (os.listxattr(key), outcome(os.removexattr, key, 'user.reg.class'), outcome(os.setxattr, key, 'user.reg.class', b'\xff'), outcome(os.setxattr, key, 'user.reg.class', b'a%')), ([], 'ENODATA', 'EILSEQ', 'EINVAL'))
        sddl = 'O:BAG:SYD:PAI(A;CI;KA;;;SY)(A;CI;KR;;;BU)'
        os.setxattr(key, 'user.reg.sddl', sddl.encode())
        os.setxattr(mount.at('Copy'), 'system.ntfs_acl', os.getxattr(key, 'system.ntfs_acl'))
        equal('SEMANTICS 4.10: SDDL, and the same as bytes', [os.getxattr(k, 'user.reg.sddl').decode() for k in (key, mount.at('Copy'))], [sddl] * 2)
        os.setxattr(key, 'user.reg.sddl', b'D:(A;;GA;;;WD)')
        equal('SEMANTICS 4.10: what is not named stays', os.getxattr(key, 'user.reg.sddl').decode(), 'O:BAG:SYD:(A;;GA;;;WD)')
        equal('SEMANTICS 4.10: no SDDL', [outcome(os.setxattr, key, 'user.reg.sddl', t) for t in (b'', b'D:(A;;KA;;;XX)', b'O:DA', b'D:(A;;KA')], ['EINVAL'] * 4)
        # What the mount has told is what the file has.
        mount.unmount()
        mount.mount()
        equal('SEMANTICS 4.10: mounted again', (os.getxattr(key, 'user.reg.sddl').decode(), os.getxattr(mount.at('Copy'), 'user.reg.class').decode()), ('O:BAG:SYD:(A;;GA;;;WD)', 'Größe%2F'))


@part
def refused():
    """SEMANTICS 4.9 and 6.3: attributes of a hardened key are judged as every other change."""
    with Mount() as mount:
        mount.unmount()
        policy = mount.path('policy.yaml')
        with open(policy, 'w') as file: file.write('version: 1\nhardened:\n  - key: HKLM\\SOFTWARE\\Text\n')
        os.chmod(policy, 0o600)
        mount.options = 'policy=%s,at=HKLM\\SOFTWARE' % policy
        mount.mount()
        equal('SEMANTICS 4.9: class and security of a hardened key', [outcome(os.setxattr, mount.key, n, v) for n, v in (('user.reg.class', b'c'), ('user.reg.sddl', b'D:'))], ['EACCES'] * 2)
        equal('SEMANTICS 2.8: bytes of its values', outcome(write, mount.at('new%raw'), b'x'), 'EACCES')
        why = subprocess.run([REGWARD, 'why', mount.key], capture_output=True, text=True)
        check('SEMANTICS 4.9: regward why tells', why.returncode == 0 and 'Text' in why.stdout, why.stdout + why.stderr)


def main():
    for function in CHECKS:
        if ONLY and function.__name__ not in ONLY: continue
        try: function()
        except Exception: check(function.__name__, False, traceback.format_exc()[-600:])
    verdict.close()


if __name__ == '__main__': main()
