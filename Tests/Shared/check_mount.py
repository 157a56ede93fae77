#!/usr/bin/env python3
"""check_mount.py BINARY [--only NAME,…] [--seed N] [--operations N]

Drives a real mount of copies of real hives (../shared/hives/real) with real programs, and compares what it sees, there and
in the file after unmounting, with a model and with the independent reader ../shared/tools/golden.py.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import argparse, errno, hashlib, json, lzma, os, random, re, shutil, signal, struct, subprocess, sys, tempfile, time, traceback

# A shell that starts us in the background has it ignored, and the daemons that we send it to would have, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.path.join(os.path.dirname(ROOT), 'shared')
sys.path.insert(0, os.path.join(SHARED, 'tools'))
sys.path.insert(0, os.path.join(ROOT, 'Tests', 'Mount'))
sys.dont_write_bytecode = True
import event_schema

SZ, EXPAND_SZ, BINARY, DWORD, DWORD_BE, LINK, MULTI_SZ, QWORD = 1, 2, 3, 4, 5, 6, 7, 11
TYPE_NAMES = ['REG_NONE', 'REG_SZ', 'REG_EXPAND_SZ', 'REG_BINARY', 'REG_DWORD', 'REG_DWORD_BIG_ENDIAN', 'REG_LINK',
              'REG_MULTI_SZ', 'REG_RESOURCE_LIST', 'REG_FULL_RESOURCE_DESCRIPTOR', 'REG_RESOURCE_REQUIREMENTS_LIST', 'REG_QWORD']


def type_name(number):
    return TYPE_NAMES[number] if number < len(TYPE_NAMES) else '0x%x' % number


# ---------------------------------------------------------------- names and text, from filesystem.md, sections 2 and 3

def encode_name(name):
    """A registry name (a str that may hold unpaired surrogates) as a file name."""
    whole = {'': '@', '@': '%40', '.': '%2E', '..': '%2E.'}.get(name)
    if whole: return whole.encode()
    out = bytearray()
    for c in name:
        n = ord(c)
        if n < 0x20 or n == 0x7F or c in '/%': out += b'%%%02X' % n
        elif 0xD800 <= n < 0xE000: out += b'%%u%04X' % n
        else: out += c.encode()
    if len(out) > 1024:
        digest = hashlib.sha256(bytes(out)).hexdigest()[:16].encode()
        end = 900
        while out[end] & 0xC0 == 0x80: end -= 1
        cut = bytes(out[:end])
        tail = re.search(rb'%(?:u[0-9A-F]{0,3}|[0-9A-F]?)$', cut)
        return (cut[:tail.start()] if tail else cut) + b'%~' + digest
    return bytes(out)


def units(data): return data[:len(data) & ~1].decode('utf-16-le', 'surrogatepass')


def text_of(kind, data):
    """The text of a value's file, or None where the rules do not give the bytes back."""
    if kind in (SZ, EXPAND_SZ, LINK):
        if not data: return b''
        text = units(data)
        if kind != LINK:
            if not text.endswith('\0'): return None
            text = text[:-1]
        if len(data) & 1 or any(0xD800 <= ord(c) < 0xE000 for c in text): return None
        return text.encode() + b'\n'
    if kind == MULTI_SZ:
        text = units(data)
        if len(data) & 1 or any(0xD800 <= ord(c) < 0xE000 or c == '\n' for c in text): return None
        if not text.endswith('\0') or (text != '\0' and not text.endswith('\0\0')): return None
        return text[:-1].replace('\0', '\n').encode()
    if kind in (DWORD, DWORD_BE, QWORD):
        if len(data) != (8 if kind == QWORD else 4): return None
        return b'%d\n' % int.from_bytes(data, 'big' if kind == DWORD_BE else 'little')
    return data


def data_of(kind, text):
    """The data that a text is for a type; ValueError when it is none."""
    if kind in (SZ, EXPAND_SZ, LINK):
        if not text: return b''
        text = text.decode()
        return ((text[:-1] if text.endswith('\n') else text) + ('' if kind == LINK else '\0')).encode('utf-16-le')
    if kind == MULTI_SZ:
        text = text.decode()
        if text and not text.endswith('\n'): text += '\n'
        return (text.replace('\n', '\0') + '\0').encode('utf-16-le')
    if kind in (DWORD, DWORD_BE, QWORD):
        return int(text.decode().strip(), 10).to_bytes(8 if kind == QWORD else 4, 'big' if kind == DWORD_BE else 'little')
    return text


# ---------------------------------------------------------------- the model: a hive as dictionaries

class Key:
    def __init__(self, name):
        self.name, self.keys, self.values = name, {}, {}   # by upper-cased name

    def at(self, path):
        key = self
        for name in path: key = key.keys[golden.upcase(name)]
        return key


class Value:
    def __init__(self, name, kind, data): self.name, self.kind, self.data = name, kind, data


def read_hive(path):
    """The whole hive by golden.py's own reader, data included."""
    image = golden.slurp(path)
    info = golden.base_info(image)
    if not info['csum_ok'] or info['seq1'] != info['seq2']:
        logs = [(n, golden.slurp(p)) for n, p in golden.find_logs(path)]
        image, _ = golden.recover(image, logs)
    hive = golden.Own(image)
    root = Key('')
    stack = [(hive.bi['root'], root)]
    while stack:
        offset, key = stack.pop()
        cell = hive.nk(offset)
        count = 0 if golden.u16(cell, 2) & 0x40 else golden.u32(cell, 36)
        if count:
            values = hive.cell(golden.u32(cell, 40))
            for i in range(count):
                vk = hive.cell(golden.u32(values, 4 * i))
                length = golden.u16(vk, 2)
                name = golden.units_to_str(vk[20:20 + length], golden.u16(vk, 16) & 1)
                data = bytes(hive.data(golden.u32(vk, 4), golden.u32(vk, 8)))
                key.values[golden.upcase(name)] = Value(name, golden.u32(vk, 12), data)
        if golden.u32(cell, 20):
            for _, offsets, _ in hive.leaves(golden.u32(cell, 28)):
                for below in offsets:
                    child = Key(hive.nkname(hive.nk(below)))
                    key.keys[golden.upcase(child.name)] = child
                    stack.append((below, child))
    return root


def walk(root):
    """(path, key), parents first."""
    stack = [((), root)]
    while stack:
        path, key = stack.pop()
        yield path, key
        stack.extend((path + (k.name,), k) for k in key.keys.values())


def file_names(key):
    """File name → Key or Value, of everything in a key."""
    names = {}
    for upper, value in key.values.items():
        names[encode_name(value.name) + (b'%val' if upper in key.keys else b'')] = value
    for child in key.keys.values(): names[encode_name(child.name)] = child
    return names


def compare(a, b, limit=5):
    """Differences between two trees of keys."""
    out, stack = [], [('', a, b)]
    while stack and len(out) < limit:
        path, x, y = stack.pop()
        for upper in x.keys.keys() ^ y.keys.keys(): out.append('key %s\\%s only in one' % (path, golden.esc(upper)))
        for upper in x.values.keys() ^ y.values.keys(): out.append('value %s\\%s only in one' % (path, golden.esc(upper)))
        for upper in x.values.keys() & y.values.keys():
            v, w = x.values[upper], y.values[upper]
            if (v.name, v.kind, v.data) != (w.name, w.kind, w.data):
                out.append('value %s\\%s: %d %r, %d %r' % (path, golden.esc(v.name), v.kind, v.data[:60], w.kind, w.data[:60]))
        for upper in x.keys.keys() & y.keys.keys():
            if x.keys[upper].name != y.keys[upper].name: out.append('key %s\\%s: case' % (path, golden.esc(upper)))
            stack.append((path + '\\' + golden.esc(x.keys[upper].name), x.keys[upper], y.keys[upper]))
    return out[:limit]


# ---------------------------------------------------------------- mounts

class Mount:
    """A mount of a hive on a folder of its own; `stop` and the end of `with` unmount and wait for the daemon's end."""

    def __init__(self, hive, options=(), stop_signal=None):
        self.hive, self.options = hive, list(options)
        self.folder = tempfile.mkdtemp(dir=WORK)
        self.path = os.path.join(self.folder, 'mnt')
        os.mkdir(self.path)
        self.pid = None

    def start(self):
        status, message = mount_command(self.hive, self.path, self.options)
        if status != 0: raise Failure('mount failed with %d: %s' % (status, message))
        if not is_mounted(self.path): raise Failure('mount returned, but nothing is mounted')
        self.pid = daemon_of(self.path)
        if self.pid is None: raise Failure('no daemon with this mount point in its command line')
        return self

    __enter__ = start

    def file(self, *names): return os.path.join(self.path.encode(), *[encode_name(n) for n in names])

    def stop(self):
        if self.pid is None: return
        status, output = run([REGWARD, 'umount', self.path])
        gone = wait_for(lambda: not is_alive(self.pid), 60)
        self.pid = None if gone else self.pid
        if status != 0: raise Failure('umount failed with %d: %s' % (status, output))
        if not gone: raise Failure('the daemon did not end')
        if is_mounted(self.path): raise Failure('still mounted')
        for option in self.options:
            if option.startswith('log='): event_schema.hold(option[len('log='):])

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        if not wait_for(lambda: not is_alive(self.pid), 60): raise Failure('signal %d did not end the daemon' % number)
        self.pid = None

    def __exit__(self, kind, *_):
        try:
            self.stop()
        except Failure:
            if kind is None: raise
        finally:
            self.clean()

    def clean(self):
        """By this mount's own path and pid only."""
        if is_mounted(self.path): detach(self.path)
        if self.pid is not None and is_alive(self.pid): os.kill(self.pid, signal.SIGKILL)
        self.pid = None


class Failure(Exception): pass


def mount_command(hive, path, options):
    # Into a file: a daemon that kept a pipe of ours would keep us waiting.
    with tempfile.TemporaryFile(dir=WORK) as output:
        arguments = [REGWARD, 'mount'] + (['-o', ','.join(options)] if options else []) + [hive, path]
        status = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=300).returncode
        output.seek(0)
        return status, output.read().decode(errors='replace').strip()


def detach(path):
    run(['umount', '-l', path] if os.getuid() == 0 else ['fusermount3', '-uz', path])


def is_mounted(path):
    with open('/proc/self/mountinfo') as mounts: return any(line.split()[4] == path.replace(' ', '\\040') for line in mounts)


def mount_line(path):
    with open('/proc/self/mountinfo') as mounts: return next((l for l in mounts if l.split()[4] == path), '')


def daemon_of(path):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % pid, 'rb') as f: arguments = f.read().split(b'\0')[:-1]
        except OSError: continue
        if arguments[1:2] == [b'mount'] and arguments[-1] == path.encode(): return int(pid)
    return None


def is_alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f: return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError: return False


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end: return False
        time.sleep(0.01)
    return True


def run(arguments, **more):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, **more)
    return done.returncode, done.stdout.decode(errors='replace').strip()


def shell(line, *arguments, cwd=None):
    return run(['bash', '-c', line, 'bash'] + [os.fsdecode(a) for a in arguments], cwd=cwd)


def unpacked(name, as_name):
    """A fresh copy of a real hive."""
    path = os.path.join(tempfile.mkdtemp(dir=WORK), as_name)
    source = os.path.join(SHARED, 'hives', 'real', name)
    with (lzma.open(source) if name.endswith('.xz') else open(source, 'rb')) as packed, open(path, 'wb') as plain:
        shutil.copyfileobj(packed, plain)
    return path


def policy(text):
    path = os.path.join(tempfile.mkdtemp(dir=WORK), 'policy.yaml')
    with open(path, 'w') as f: f.write(text)
    os.chmod(path, 0o600)
    return path


def check_file(hive):
    """golden.py's strict check: what it finds."""
    status, output = run([sys.executable, os.path.join(SHARED, 'tools', 'golden.py'), 'check', hive])
    report = json.loads(output)
    if report['recovery']['dirty']: return ['the hive is dirty']
    return report['problems'] or ([] if status == 0 else [output[-300:]])


def read(path):
    with open(path, 'rb') as f: return f.read()


def write(path, text, flags=os.O_TRUNC):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try: os.write(descriptor, text)
    finally: os.close(descriptor)


# ---------------------------------------------------------------- checks

CHECKS = []
RESULTS = []


def check(function):
    CHECKS.append(function)
    return function


def expect(name, problem):
    """One line of the report; `problem` is false, or says what is wrong."""
    RESULTS.append((name, not problem))
    print('%s %s%s' % ('FAIL' if problem else 'PASS', name, ': %s' % problem if problem else ''), flush=True)


HIVES = [('SYSTEM.xz', 'SYSTEM'), ('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')]


@check
def reading():
    """find counts keys and values; values read as the text rules say; types are right."""
    for packed, name in HIVES:
        hive = unpacked(packed, name)
        before = hashlib.sha256(read(hive)).hexdigest()
        model = read_hive(hive)
        keys = sum(1 for _ in walk(model))
        values = sum(len(k.values) for _, k in walk(model))
        with Mount(hive) as mount:
            count = int(shell('find . | tr -dc "\\n" | wc -l', cwd=mount.path)[1])
            # The link to the current control set is in no hive.
            links = int(os.path.islink(os.path.join(mount.path, 'CurrentControlSet')))
            expect('%s: find | wc -l is keys + values' % name,
                   count != keys + values + links and '%d, not %d + %d + %d' % (count, keys, values, links))
            wrong, seen, index = [], 0, 0
            for path, key in walk(model):
                for file_name, value in file_names(key).items():
                    if isinstance(value, Key): continue
                    index += 1
                    text = text_of(value.kind, value.data)
                    if text is None or name == 'SYSTEM' and index % 5: continue
                    seen += 1
                    file = os.path.join(mount.file(*path), file_name)
                    try:
                        found, kind = read(file), os.getxattr(file, 'user.reg.type').decode()
                        size = os.stat(file).st_size
                    except OSError as error: wrong.append('%r: %s' % (file, error)); continue
                    if found != text: wrong.append('%r: %r, not %r' % (file, found[:80], text[:80]))
                    elif kind != type_name(value.kind): wrong.append('%r: %s' % (file, kind))
                    elif size != len(text): wrong.append('%r: size %d, not %d' % (file, size, len(text)))
            expect('%s: %d values read as their text, with type and size' % (name, seen), wrong and '%d wrong: %s' % (len(wrong), wrong[:3]))
        expect('%s: reading changes nothing in the file' % name, hashlib.sha256(read(hive)).hexdigest() != before and 'it differs')


HARDENED = {s.upper() for s in ('WdNisDrv', 'WdNisSvc', 'WdBoot', 'WinDefend', 'WdFilter', 'MpHardCodedBlockHive')}


class Random:
    """2,000 operations, each through the mount and on the model."""

    def __init__(self, mount, model, seed):
        self.mount, self.model, self.random, self.serial = mount, model, random.Random(seed), 0
        self.keys = []          # (path, key): where operations go
        self.untyped = set()    # values made here without a type: their type may follow the value they replace
        self.log = []
        for path, key in walk(model):
            upper = [p.upper() for p in path]
            protected = upper[:1] == ['SELECT'] or upper[:1] and upper[0].startswith('CONTROLSET') and (
                len(upper) < 3 or upper[1] == 'SERVICES' and upper[2] in HARDENED)
            if not protected and not (path and key.name == ''): self.keys.append([path, key])

    def fresh(self):
        # No unpaired surrogates: some of the readers that verify_written.sh asks refuse them. `names` has them.
        self.serial += 1
        r = self.random
        return r.choice(['new %d', 'Straße %d', '中文%d', 'a/b%d', '%%41-%d', 'tab\t%d', '{GUID}%d', '-%d', '%d ']) % self.serial

    def any_key(self): return self.random.choice(self.keys)

    def any_value(self, kinds, with_text=True):
        for _ in range(200):
            path, key = self.any_key()
            candidates = [v for u, v in key.values.items() if v.kind in kinds and u not in key.keys
                          and (not with_text or text_of(v.kind, v.data) is not None) and len(v.data) < 50000]
            if candidates: return path, key, self.random.choice(candidates)
        return None

    def words(self):
        return ' '.join(self.random.choice(['alpha', 'Beta', 'größe', '注册表', '100%', '"q"', "it's", '\\x']) for _ in range(self.random.randrange(1, 6)))

    def some_text(self, kind):
        r = self.random
        if kind in (SZ, EXPAND_SZ): return self.words().encode() + r.choice([b'\n', b''])
        if kind == MULTI_SZ: return b''.join(self.words().encode() + b'\n' for _ in range(r.randrange(0, 4)))
        if kind in (DWORD, DWORD_BE): return b'%d\n' % r.choice([0, 1, 42, 2**32 - 1, r.randrange(2**32)])
        if kind == QWORD: return b'%d\n' % r.choice([0, 2**64 - 1, r.randrange(2**64)])
        return bytes(r.randrange(256) for _ in range(r.choice([0, 1, 4, 5, 100, 4000, 20000])))

    def step(self):
        names = ['mkdir', 'rmdir', 'new', 'typed', 'overwrite', 'append', 'unlink', 'rename_value', 'rename_onto', 'rename_key', 'truncate', 'retype']
        weights = [8, 4, 12, 12, 16, 6, 10, 8, 4, 6, 4, 6]
        name = self.random.choices(names, weights)[0]
        getattr(self, name)(self.random.random() < 0.15)

    def note(self, *what): self.log.append(what)

    def put(self, key, name, kind, data): key.values[golden.upcase(name)] = Value(name, kind, data)

    # Each takes whether a real program does it.

    def mkdir(self, program):
        path, key = self.any_key()
        if len(path) > 30: return
        name = self.fresh()
        self.note('mkdir', path, name)
        file = self.mount.file(*path, name)
        if program: self.succeed('mkdir -- "$1"', file)
        else: os.mkdir(file)
        child = key.keys[golden.upcase(name)] = Key(name)
        self.keys.append([path + (name,), child])

    def rmdir(self, program):
        # New keys, so that some are empty, and any key, most of which are not.
        entry = self.random.choice(self.keys[-20:]) if self.random.random() < 0.8 else self.any_key()
        path, key = entry
        if not path: return
        self.note('rmdir', path)
        file = self.mount.file(*path)
        if key.keys or key.values:
            self.fail(errno.ENOTEMPTY, os.rmdir, file)
            return
        if program: self.succeed('rmdir -- "$1"', file)
        else: os.rmdir(file)
        del self.model.at(path[:-1]).keys[golden.upcase(path[-1])]
        self.keys.remove(entry)

    def new(self, program):
        path, key = self.any_key()
        name = self.fresh()
        file = self.mount.file(*path, name)
        if program:
            text = (self.words() + '\n').encode()
            self.note('echo', path, name, text)
            self.succeed('printf %s\\\\n "$2" > "$1"', file, text[:-1])
        else:
            text = self.some_text(SZ)
            self.note('new', path, name, text)
            write(file, text)
        self.put(key, name, SZ, data_of(SZ, text))
        self.untyped.add((id(key), golden.upcase(name)))

    def typed(self, program):
        path, key = self.any_key()
        name = self.fresh()
        alias, kind = self.random.choice([('sz', SZ), ('expand_sz', EXPAND_SZ), ('multi_sz', MULTI_SZ), ('dword', DWORD), ('dword_be', DWORD_BE),
                                          ('qword', QWORD), ('binary', BINARY), ('none', 0), ('0xffff0012', 0xFFFF0012)])
        text = self.some_text(kind)
        if not text and kind == MULTI_SZ: text = b'one\n'
        self.note('typed', path, name, alias, text[:80])
        file = self.mount.file(*path, name) + b'%' + alias.encode()
        if program and kind == DWORD: self.succeed('echo "$2" > "$1"', file, text[:-1])
        else: write(file, text)
        self.put(key, name, kind, data_of(kind, text))

    def overwrite(self, program):
        found = self.any_value([SZ, EXPAND_SZ, MULTI_SZ, DWORD, QWORD, BINARY, 0])
        if not found: return
        path, key, value = found
        text = self.some_text(value.kind)
        if not text: text = b'x\n' if value.kind == MULTI_SZ else b'x'
        if value.kind in (DWORD, QWORD) and self.random.random() < 0.15:
            self.note('bad number', path, value.name)
            self.fail(errno.EINVAL, write, self.mount.file(*path, value.name), b'12x4\n')
            return
        self.note('overwrite', path, value.name, type_name(value.kind), text[:80])
        file = self.mount.file(*path, value.name)
        if program and value.kind in (SZ, EXPAND_SZ, DWORD):
            self.succeed('printf %s\\\\n "$2" > "$1"', file, text.rstrip(b'\n'))
        elif self.random.random() < 0.3:
            source = os.path.join(WORK, 'source')
            with open(source, 'wb') as f: f.write(text)
            self.succeed('cp -- "$2" "$1"', file, source.encode())
        else: write(file, text)
        value.data = data_of(value.kind, text)

    def append(self, program):
        found = self.any_value([SZ, EXPAND_SZ, MULTI_SZ, BINARY])
        if not found: return
        path, key, value = found
        more = (self.words() + '\n').encode()
        self.note('append', path, value.name, more)
        before = text_of(value.kind, value.data)
        file = self.mount.file(*path, value.name)
        if program: self.succeed('printf %s\\\\n "$2" >> "$1"', file, more[:-1])
        else: write(file, more, os.O_APPEND)
        value.data = data_of(value.kind, before + more)

    def unlink(self, program):
        found = self.any_value(range(12), with_text=False)
        if not found: return
        path, key, value = found
        self.note('unlink', path, value.name)
        file = self.mount.file(*path, value.name)
        if program: self.succeed('rm -- "$1"', file)
        else: os.unlink(file)
        del key.values[golden.upcase(value.name)]
        self.untyped.discard((id(key), golden.upcase(value.name)))

    def rename_value(self, program):
        found = self.any_value(range(12), with_text=False)
        if not found: return
        path, key, value = found
        name = self.fresh()
        self.note('rename value', path, value.name, name)
        file, new = self.mount.file(*path, value.name), self.mount.file(*path, name)
        if program: self.succeed('mv -- "$1" "$2"', file, new)
        else: os.rename(file, new)
        self.moved(key, value, name)

    def rename_onto(self, program):
        found = self.any_value(range(12), with_text=False)
        if not found: return
        path, key, value = found
        others = [v for u, v in key.values.items() if v is not value and u not in key.keys]
        if not others or (id(key), golden.upcase(value.name)) in self.untyped: return
        target = self.random.choice(others)
        self.note('rename onto', path, value.name, target.name)
        file, new = self.mount.file(*path, value.name), self.mount.file(*path, target.name)
        if program: self.succeed('mv -f -- "$1" "$2"', file, new)
        else: os.rename(file, new)
        self.moved(key, value, target.name)
        self.untyped.discard((id(key), golden.upcase(target.name)))

    def moved(self, key, value, name):
        mark = (id(key), golden.upcase(value.name))
        if mark in self.untyped:
            self.untyped.discard(mark)
            self.untyped.add((id(key), golden.upcase(name)))
        del key.values[golden.upcase(value.name)]
        self.put(key, name, value.kind, value.data)

    def rename_key(self, program):
        entry = self.random.choice(self.keys[-60:]) if self.random.random() < 0.5 else self.any_key()
        path, key = entry
        upper = [p.upper() for p in path]
        if not path or len(path) < 3 and self.model.keys.get('SELECT'): return   # a rule may live below
        name = self.fresh()
        self.note('rename key', path, name)
        file, new = self.mount.file(*path), self.mount.file(*path[:-1], name)
        if program: self.succeed('mv -- "$1" "$2"', file, new)
        else: os.rename(file, new)
        parent = self.model.at(path[:-1])
        del parent.keys[golden.upcase(path[-1])]
        key.name = name
        parent.keys[golden.upcase(name)] = key
        for other in self.keys:
            if other[0][:len(path)] == path: other[0] = path[:-1] + (name,) + other[0][len(path):]

    def truncate(self, program):
        found = self.any_value([SZ, EXPAND_SZ, BINARY])
        if not found: return
        path, key, value = found
        text = text_of(value.kind, value.data)
        if any(byte >= 0x80 for byte in text) and value.kind != BINARY: return   # a cut character is no UTF-8
        length = self.random.choice([0, len(text) // 2, len(text)])
        self.note('truncate', path, value.name, length)
        file = self.mount.file(*path, value.name)
        if program: self.succeed('truncate -s "$2" -- "$1"', file, b'%d' % length)
        else: os.truncate(file, length)
        value.data = data_of(value.kind, text[:length])

    def retype(self, program):
        found = self.any_value([SZ, EXPAND_SZ, MULTI_SZ, DWORD, QWORD])
        if not found: return
        path, key, value = found
        kind = self.random.choice([SZ, EXPAND_SZ, MULTI_SZ, DWORD, QWORD, BINARY])
        text = text_of(value.kind, value.data)
        file = self.mount.file(*path, value.name)
        self.note('retype', path, value.name, type_name(kind))
        if kind in (DWORD, QWORD):
            digits = text.strip()
            if re.fullmatch(rb'[0-9]+', digits) is None:
                # Text that merely looks like one of the many forms of a number is not what is tested here.
                if not text.strip() or re.match(rb'\s*(0[xX]|-)', text): return
                return self.fail(errno.EINVAL, os.setxattr, file, 'user.reg.type', type_name(kind).encode())
            if int(digits) >= 2 ** (64 if kind == QWORD else 32):
                return self.fail(errno.ERANGE, os.setxattr, file, 'user.reg.type', type_name(kind).encode())
        if program and shutil.which('setfattr'): self.succeed('setfattr -n user.reg.type -v "$2" -- "$1"', file, type_name(kind).encode())
        else: os.setxattr(file, 'user.reg.type', type_name(kind).encode())
        value.kind, value.data = kind, data_of(kind, text)
        self.untyped.discard((id(key), golden.upcase(value.name)))

    def succeed(self, line, *arguments):
        status, output = shell(line, *arguments)
        if status != 0: raise Failure('%s: status %d, %s' % (line, status, output))

    def fail(self, number, function, *arguments):
        try: function(*arguments)
        except OSError as error:
            if error.errno != number: raise Failure('errno %s, not %s' % (errno.errorcode[error.errno], errno.errorcode[number]))
        else: raise Failure('this worked and should give %s' % errno.errorcode[number])


def compare_mount(mount, model, limit=5):
    """The whole tree through the mount: names, types, and text where it is defined."""
    out = []
    for path, key in walk(model):
        names = file_names(key)
        folder = mount.file(*path)
        try: found = {e.name: e for e in os.scandir(folder)}
        except OSError as error: out.append(str(error)); continue
        if not path and b'CurrentControlSet' in found and found[b'CurrentControlSet'].is_symlink(): del found[b'CurrentControlSet']
        for name in found.keys() ^ names.keys(): out.append('%r in %r: only in one' % (name, folder))
        for name in found.keys() & names.keys():
            if found[name].is_dir(follow_symlinks=False) != isinstance(names[name], Key): out.append('%r in %r: file or folder' % (name, folder))
            elif isinstance(names[name], Value):
                value, file = names[name], os.path.join(folder, name)
                try:
                    kind = os.getxattr(file, 'user.reg.type').decode()
                    text = text_of(value.kind, value.data)
                    if kind != type_name(value.kind): out.append('%r: %s, not %s' % (file, kind, type_name(value.kind)))
                    elif text is not None and read(file) != text: out.append('%r: %r, not %r' % (file, read(file)[:60], text[:60]))
                except OSError as error: out.append('%r: %s' % (file, error))
        if len(out) > limit: break
    return out[:limit]


@check
def operations():
    """A seeded random sequence, mirrored in a model; the trees agree and every reader accepts the file."""
    for packed, name in HIVES:
        hive = unpacked(packed, name)
        model = read_hive(hive)
        problem, differences = None, []
        with Mount(hive, ['log=' + os.path.join(WORK, name + '.random.json')]) as mount:
            sequence = Random(mount, model, ARGUMENTS.seed)
            for number in range(ARGUMENTS.operations):
                try: sequence.step()
                except (OSError, Failure) as error:
                    problem = 'seed %d, operation %d, %s: %s' % (ARGUMENTS.seed, number, ascii(sequence.log[-1:]), error)
                    break
            expect('%s: %d random operations, seed %d, each with the expected result' % (name, ARGUMENTS.operations, ARGUMENTS.seed), problem)
            differences = compare_mount(mount, model)
            expect('%s: the mounted tree is the model\'s' % name, differences)
        expect('%s: after unmounting, golden.py reads the model\'s tree' % name, compare(model, read_hive(hive)))
        expect('%s: golden.py check has no finding' % name, check_file(hive)[:3])
        status, output = run(['bash', os.path.join(SHARED, 'tools', 'verify_written.sh'), hive])
        expect('%s: verify_written.sh: every reader accepts and agrees' % name, status != 0 and '\n' + output)
        with Mount(hive) as mount:
            expect('%s: mounted again, the tree is the model\'s' % name, compare_mount(mount, model))


@check
def names():
    """Names that a file system cannot hold, made through the mount as keys and as values."""
    hive = unpacked('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')
    model = read_hive(hive)
    odd = ['.', '..', '...', '@', '@@', ' ', 'a/b', '/', '%', '%41', '%uD800', '100%', 'x%dword', '\0', 'a\0b', '\t\n\x1f\x7f', '\x80\x9f', '\ud800',
           '\udc00\ud800', '😀', '\ufeff', '\u2028', 'é', 'ÿ', 'ß', 'ς', '中' * 255, '~', '-rf', '*', '"', "'", 'CON', 'trailing.', ' lead']
    with Mount(hive) as mount:
        problems = []
        for kind in ('value', 'key'):
            parent = Key('Odd %ss' % kind)
            model.keys[golden.upcase(parent.name)] = parent
            os.mkdir(mount.file(parent.name))
            for number, name in enumerate(odd + ([''] if kind == 'value' else [])):
                file = mount.file(parent.name, name)
                try:
                    if kind == 'key':
                        os.mkdir(file)
                        parent.keys[golden.upcase(name)] = Key(name)
                    else:
                        text = b'%d\n' % number
                        write(file, text)
                        parent.values[golden.upcase(name)] = Value(name, SZ, data_of(SZ, text))
                except OSError as error: problems.append('%s %a: %s' % (kind, name, error))
        for name, number in [(b'a%nope', errno.EINVAL), (b'a%', errno.EINVAL), (b'\xff', errno.EILSEQ), (b'x' * 256, errno.ENAMETOOLONG)]:
            try: os.mkdir(os.path.join(mount.file('Odd keys'), name))
            except OSError as error:
                if error.errno != number: problems.append('%r: %s' % (name[:20], errno.errorcode[error.errno]))
            else: problems.append('%r was made' % name[:20])
        # A backslash separates keys; in a value's name it is a character.
        name = 'a\\b'
        try: os.mkdir(mount.file('Odd keys', name))
        except OSError: pass
        else: problems.append('a key with a backslash was made')
        write(mount.file('Odd values', name), b'x\n')
        model.at(['Odd values']).values[golden.upcase(name)] = Value(name, SZ, data_of(SZ, b'x\n'))
        expect('names: each odd name can be made', problems)
        expect('names: the mounted tree is the model\'s', compare_mount(mount, model))
    expect('names: and so is the file\'s', compare(model, read_hive(hive)))
    expect('names: golden.py check has no finding', check_file(hive)[:3])


def events_of(log):
    if not os.path.exists(log): return []
    return [json.loads(line) for line in read(log).decode().split('\n') if line]


def is_denied(event): return 'denied' in event['event']['type']


@check
def refusals():
    """Every way to change a hardened key is refused, tells why, and leaves one event; an exempt process may."""
    hive = unpacked('SYSTEM.xz', 'SYSTEM')
    original = read_hive(hive)
    log = os.path.join(WORK, 'refusals.json')
    tools = tempfile.mkdtemp(dir=WORK)
    exempt = os.path.join(tools, 'exempt-bash')
    shutil.copy('/bin/bash', exempt)
    os.chmod(exempt, 0o755)
    rules = policy('version: 1\nhardened:\n  - service: WinDefend\nprocesses:\n  - id: exempt\n    when: { exe: %s, uid: %d }\n'
                   '    flags: [Friendly]\n' % (exempt, os.getuid()))
    start = 'ControlSet001/services/WinDefend/Start'
    key = os.path.dirname(start)
    spellings = [start, start.upper(), start.lower(), 'cOnTrOlSeT001/SeRvIcEs/wInDeFeNd/sTaRt']
    with Mount(hive, ['policy=' + rules, 'log=' + log]) as mount:
        before = read(os.path.join(mount.path, start))
        source = os.path.join(WORK, 'four')
        with open(source, 'w') as f: f.write('4\n')
        with open(os.path.join(mount.path, 'Setup', 'four'), 'w') as f: f.write('4\n')
        seen = len(events_of(log))

        def refused(name, line, arguments, path, program, verbs, exactly_one=True):
            nonlocal seen
            status, output = shell(line, *[a.encode() for a in arguments], cwd=mount.path)
            problems = []
            if status != 1: problems.append('status %d' % status)
            if 'Permission denied' not in output: problems.append('said %r' % output)
            if not wait_for(lambda: len([e for e in events_of(log)[seen:] if is_denied(e)]) >= 1, 10): problems.append('no denied event')
            time.sleep(0.05)   # time for one too many
            events = events_of(log)[seen:]
            seen += len(events)
            denied = [e for e in events if is_denied(e)]
            if exactly_one and len(denied) != 1: problems.append('%d denied events' % len(denied))
            for event in denied:
                if event['process'].get('name') != program: problems.append('process %s' % event['process'].get('name'))
                if event['winlog']['event_data']['EventType'] not in verbs: problems.append(event['winlog']['event_data']['EventType'])
                if 'WinDefend' not in json.dumps(event.get('rule', {})): problems.append('rule %s' % event.get('rule'))
                if event['event']['outcome'] != 'failure': problems.append('outcome %s' % event['event']['outcome'])
                if event['user']['id'] != str(os.getuid()): problems.append('user %s' % event['user'])
            if read(os.path.join(mount.path, start)) != before: problems.append('the value changed')
            status, why = run([REGWARD, 'why', os.path.join(mount.path, path)])
            if status != 0 or 'WinDefend' not in why or 'policy.yaml:3' not in why or program not in why: problems.append('why: %d %s' % (status, why))
            expect('refused: %s' % name, problems)

        for spelling in spellings:
            refused('echo > %s' % spelling, 'echo 4 > "$1"', [spelling], start, 'bash', ['SetValue'])
            refused('echo >> %s' % spelling, 'echo 4 >> "$1"', [spelling], start, 'bash', ['SetValue'])
            refused('cp onto %s' % spelling, 'cp "$2" "$1"', [spelling, source], start, 'cp', ['SetValue'])
            refused('truncate %s' % spelling, 'truncate -s 0 "$1"', [spelling], start, 'truncate', ['SetValue'])
            refused('mv onto %s' % spelling, 'mv -f Setup/four "$1"', [spelling], start, 'mv', ['SetValue'])
            refused('rm %s' % spelling, 'rm "$1"', [spelling], start, 'rm', ['DeleteValue'])
            folder = os.path.dirname(spelling)
            refused('rm -r %s' % folder, 'rm -r "$1"', [folder], key, 'rm', ['DeleteValue', 'DeleteKey'], exactly_one=False)
            services = os.path.dirname(folder)
            refused('mv %s' % services, 'mv "$1" "$2"', [services, os.path.dirname(services) + '/elsewhere'], os.path.dirname(key), 'mv', ['RenameKey'])
            refused('new value in %s' % folder, 'echo 1 > "$1/New"', [folder], key, 'bash', ['SetValue'])
            refused('new type of %s' % spelling, 'python3 -c "import os, sys\ntry: os.setxattr(sys.argv[1], \'user.reg.type\', b\'REG_SZ\')\n'
                    'except PermissionError: sys.exit(\'Permission denied\')" "$1"', [spelling], start,
                    os.path.basename(os.path.realpath(python_of_shell())), ['SetValue'])

        status, output = shell('echo 3 > ControlSet001/services/Tcpip/Start && cat ControlSet001/services/Tcpip/Start', cwd=mount.path)
        expect('allowed: a service that no rule names', (status, output) != (0, '3') and output)
        if os.getuid() == 0:
            status, output = run([exempt, '-c', 'echo 3 > "$1"', 'bash', start], cwd=mount.path)
            now = read(os.path.join(mount.path, start))
            expect('exempt: a process that the policy names may change it', (status, now) != (0, b'3\n') and '%d %s %r' % (status, output, now))

            # Another refusal first, so that the log is written up to here.
            shell('echo 4 > "$1"', start, cwd=mount.path)
            wait_for(lambda: len(events_of(log)) > seen, 10)
            events = [e for e in events_of(log)[seen:] if e['process'].get('executable') == exempt]
            expect('exempt: its change of a key that nobody watches is no event', events and json.dumps(events)[:500])
        else:
            expect('exempt: needs root', 'run as root: an exempt program must be root\'s')
    after = read_hive(hive)
    # What was allowed, undone; the rest must be as it was.
    services = after.at(['ControlSet001', 'services'])
    del after.at(['Setup']).values['FOUR']
    for service in ('Tcpip', 'WinDefend'):
        services.at([service]).values['START'].data = original.at(['ControlSet001', 'services', service]).values['START'].data
    expect('refused: nothing else changed in the file', compare(original, after))
    events = events_of(log)
    numbers = [e['event']['sequence'] for e in events]
    expect('events: numbered in order, nothing lost', numbers != list(range(1, len(numbers) + 1)) and numbers[:20])


def python_of_shell():
    return shell('python3 -c "import os; print(os.readlink(\'/proc/self/exe\'))"')[1]


@check
def kill():
    """After kill -9, what was synced is there, and the checker has no finding."""
    hive = unpacked('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')
    model = read_hive(hive)
    problems = []
    for round_number in range(6):
        mount = Mount(hive)
        try:
            mount.start()
            key = mount.file('Software', 'kill %d' % round_number)
            os.mkdir(key)
            child = model.at(['Software']).keys['KILL %d' % round_number] = Key('kill %d' % round_number)
            for number in range(50):
                data = b'%d of %d\n' % (number, round_number) * (1 if number % 10 else 3000)
                write(os.path.join(key, b'v%d%%binary' % number), data)
                child.values['V%d' % number] = Value('v%d' % number, BINARY, data)
            # By turns: through a file, through its folder.
            synced = os.open(os.path.join(key, b'v0') if round_number % 2 else key, os.O_RDONLY)
            os.fsync(synced)
            os.close(synced)
            # Not synced: may be lost, whole or in part, without harm to the rest.
            for number in range(round_number * 10):
                write(os.path.join(key, b'lost%d' % number), b'x\n')
            mount.kill()
            detach(mount.path)
        except (OSError, Failure) as error:
            problems.append('round %d: %s' % (round_number, error))
            break
        finally:
            mount.clean()
        try:
            with Mount(hive): pass
        except Failure as error:
            problems.append('round %d, mounted again: %s' % (round_number, error))
            break
        now = read_hive(hive)
        for value in [v for v in now.at(['Software', 'kill %d' % round_number]).values.values()] if child.name.upper() in now.at(['Software']).keys else []:
            if value.name.startswith('lost'):
                if (value.kind, value.data) != (SZ, b'x\0\0\0'): problems.append('round %d: %s is %r' % (round_number, value.name, value.data))
                child.values[golden.upcase(value.name)] = value
        problems += ['round %d: %s' % (round_number, d) for d in compare(model, now)]
        problems += ['round %d: %s' % (round_number, f) for f in check_file(hive)[:3]]
        if problems: break
    expect('kill -9: six times, what was synced is there and the hive is sound', problems[:5])


@check
def locks():
    """A second mount is refused; ro refuses writes and writes nothing; SIGTERM flushes and unmounts."""
    hive = unpacked('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')
    before = hashlib.sha256(read(hive)).hexdigest()
    with Mount(hive, ['ro']) as mount:
        file = os.path.join(mount.path.encode(), b'Environment', b'TEMP')
        problems = []

        def read_only(name, function, *arguments):
            try: function(*arguments)
            except OSError as error:
                if error.errno != errno.EROFS: problems.append('%s: %s' % (name, errno.errorcode[error.errno]))
            else: problems.append('%s worked' % name)
        read_only('write', write, file, b'x\n')
        read_only('create', write, file + b'2', b'x\n')
        read_only('unlink', os.unlink, file)
        read_only('mkdir', os.mkdir, file + b'3')
        read_only('rename', os.rename, file, file + b'4')
        read_only('truncate', os.truncate, file, 0)
        read_only('setxattr', os.setxattr, file, 'user.reg.type', b'REG_SZ')
        read_only('rmdir', os.rmdir, os.path.dirname(file))
        expect('ro: every change is EROFS', problems)
        expect('ro: reading works', not read(file) and 'TEMP is empty')
    expect('ro: not one byte of the file changed', hashlib.sha256(read(hive)).hexdigest() != before and 'it differs')

    with Mount(hive) as mount:
        other = os.path.join(mount.folder, 'other')
        os.mkdir(other)
        status, output = mount_command(hive, other, [])
        expect('lock: a second mount is refused', (status == 0 or is_mounted(other)) and 'status %d: %s' % (status, output))
        if is_mounted(other): detach(other)
        expect('lock: its message names the holder\'s pid', not re.search(r'\b%d\b' % mount.pid, output) and output)
        expect('lock: and says that the hive is busy', not re.search('busy|in use|EBUSY', output, re.I) and output)
        log_folder = tempfile.mkdtemp(dir=WORK)
        itself = os.path.join(log_folder, 'hive')
        shutil.copyfile(hive, itself)
        status, output = mount_command(itself, other, ['log=' + itself])
        expect('mount: the log cannot be the hive', (status != 1 or 'hive itself' not in output) and '%d %s' % (status, output))
        damaged = os.path.join(SHARED, 'hives', 'craft', 'bad_root_offset.hiv')
        shutil.copyfile(damaged, itself)
        status, output = mount_command(itself, other, [])
        expect('mount: a hive whose root is damaged is refused', status != 32 and '%d %s' % (status, output))
        status, output = mount_command(os.path.join(WORK, 'no such hive'), other, [])
        expect('mount: what does not exist is an error of mount(8)', (status not in (1, 2, 32) or not output) and '%d %s' % (status, output))

    for number in (signal.SIGTERM, signal.SIGINT):
        model = read_hive(hive)
        mount = Mount(hive)
        name = signal.Signals(number).name
        try:
            mount.start()
            write(mount.file('Environment', name) + b'%dword', b'77\n')
            mount.kill(number)
            expect('%s: unmounts' % name, is_mounted(mount.path) and 'still mounted')
        finally:
            mount.clean()
        model.at(['Environment']).values[name] = Value(name, DWORD, struct.pack('<I', 77))
        expect('%s: the change is in the file, nothing else' % name, compare(model, read_hive(hive)))
        expect('%s: golden.py check has no finding' % name, check_file(hive)[:3])


@check
def ownership():
    """uid, gid, umask and fsname do what they say."""
    hive = unpacked('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')
    with Mount(hive, ['uid=1234', 'gid=2345', 'umask=027', 'fsname=my-hive']) as mount:
        folder, file = os.stat(os.path.join(mount.path, 'Environment')), os.stat(os.path.join(mount.path, 'Environment', 'TEMP'))
        expect('uid and gid', {(s.st_uid, s.st_gid) for s in (folder, file)} != {(1234, 2345)} and repr((folder, file)))
        modes = oct(folder.st_mode & 0o777), oct(file.st_mode & 0o777)
        expect('umask', (folder.st_mode & 0o027 or file.st_mode & 0o027) and modes)
        expect('fsname', ' my-hive ' not in mount_line(mount.path) and mount_line(mount.path))


def exists(path):
    try: os.stat(path)
    except FileNotFoundError: return False
    return True


@check
def cache():
    """The table of performance.md, section 3: no stale answer through any spelling."""
    hive = unpacked('NTUSER-WIN7.DAT.xz', 'NTUSER.DAT')
    with Mount(hive) as mount:
        base = os.path.join(mount.path, 'Cache')
        os.mkdir(base)
        serial = 0

        def pair():
            """A new name's stored spelling and another."""
            nonlocal serial
            serial += 1
            return os.path.join(base, 'Name%d' % serial), os.path.join(base, 'nAME%d' % serial)

        def sees(*expected):
            """[(path, whether it exists)…]"""
            return ['%s %s' % (p, 'is not seen' if e else 'is still seen') for p, e in expected if exists(p) != e]

        for through in (0, 1):
            how = ('the stored spelling', 'another spelling')[through]
            names = pair()
            write(names[0], b'x\n')
            problems = sees((names[0], True), (names[1], True))
            os.unlink(names[through])
            expect('cache: unlink through %s' % how, problems + sees((names[0], False), (names[1], False)))

            names = pair()
            os.mkdir(names[0])
            problems = sees((names[0], True), (names[1], True))
            os.rmdir(names[through])
            expect('cache: rmdir through %s' % how, problems + sees((names[0], False), (names[1], False)))

            for kind in ('value', 'key'):
                names, new = pair(), pair()
                if kind == 'key': os.mkdir(names[0])
                else: write(names[0], b'x\n')
                problems = sees((names[0], True), (names[1], True), (new[0], False), (new[1], False))
                os.rename(names[through], new[0])
                expect('cache: rename of a %s through %s' % (kind, how),
                       problems + sees((names[0], False), (names[1], False), (new[0], True), (new[1], True)))

            names = pair()
            problems = sees((names[0], False), (names[1], False))
            write(names[through], b'x\n')
            expect('cache: refused, then created through %s' % how, problems + sees((names[0], True), (names[1], True)))
            for flags in (os.O_EXCL,):
                for name in names:
                    try: write(name, b'y\n', flags)
                    except FileExistsError: pass
                    else: problems.append('O_EXCL made %s again' % name)
            expect('cache: O_EXCL in any case, created through %s' % how, problems)

            names = pair()
            problems = sees((names[0], False), (names[1], False))
            os.mkdir(names[through])
            for name in names:
                try: os.mkdir(name)
                except FileExistsError: pass
                else: problems.append('mkdir made %s again' % name)
            expect('cache: refused, then mkdir through %s' % how, problems + sees((names[0], True), (names[1], True)))

            names, source = pair(), pair()
            write(source[0], b'x\n')
            problems = sees((names[0], False), (names[1], False))
            os.rename(source[0], names[through])
            expect('cache: refused, then renamed to through %s' % how, problems + sees((names[0], True), (names[1], True)))

            # Parents: what was looked up below the old name must not be found there again.
            names, new = pair(), pair()
            os.mkdir(names[0])
            os.mkdir(os.path.join(names[0], 'Sub'))
            write(os.path.join(names[0], 'Sub', 'Value'), b'x\n')
            old = [os.path.join(n, s, v) for n in names for s in ('Sub', 'sUB') for v in ('Value', 'vALUE')]
            problems = sees(*[(p, True) for p in old])
            os.rename(names[through], new[0])
            now = [os.path.join(n, s, v) for n in new for s in ('Sub', 'sUB') for v in ('Value', 'vALUE')]
            expect('cache: renamed parents, through %s' % how, problems + sees(*[(p, False) for p in old], *[(p, True) for p in now]))

        stale = []
        for number in range(300):
            names = pair()
            write(names[0], b'x\n')
            exists(names[0]), exists(names[1])
            os.unlink(names[number % 2])
            stale += sees((names[number // 2 % 2], False))
        expect('cache: 300 times unlink, then stat', stale and '%d stale, first %s' % (len(stale), stale[0]))

        # Another process writes, a reader that holds the value open and one that comes right after see the new text.
        value = os.path.join(base, 'Read')
        write(value + '%dword', b'0\n')
        reader = os.open(os.path.join(base, 'rEAD'), os.O_RDONLY)
        stale = []
        writer = subprocess.Popen(
            [sys.executable, '-c', 'import os, sys\nfor line in sys.stdin:\n f = os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)\n'
             ' os.write(f, line.encode()); os.close(f); print(flush=True)', value],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        try:
            for number in range(1, 1001):
                writer.stdin.write('0x%X\n' % (number * 37))
                writer.stdin.flush()
                if not writer.stdout.readline(): stale.append('the writer failed'); break
                text = b'%d\n' % (number * 37)
                held, fresh = os.pread(reader, 100, 0), read(value)
                if held != text: stale.append('%d: held open %r' % (number, held))
                if fresh != text: stale.append('%d: opened after %r' % (number, fresh))
                if os.stat(value).st_size != len(text): stale.append('%d: size' % number)
        finally:
            os.close(reader)
            writer.stdin.close()
            writer.wait()
        expect('cache: 1,000 times another process closes, readers see the new text', stale and '%d stale, first %s' % (len(stale), stale[0]))


def main():
    global ARGUMENTS, REGWARD, WORK, golden
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('binary')
    parser.add_argument('--only', default='', help='checks by name: %s' % ', '.join(c.__name__ for c in CHECKS))
    parser.add_argument('--seed', type=int, default=20240229)
    parser.add_argument('--operations', type=int, default=2000)
    ARGUMENTS = parser.parse_args()
    REGWARD = os.path.abspath(ARGUMENTS.binary)
    if not os.path.isdir(SHARED):
        print('%s is not there: nothing can be checked' % SHARED)
        print('0 passed, 1 failed')
        return 1
    import golden as module
    golden = module
    WORK = os.path.realpath(tempfile.mkdtemp(prefix='regward-check-'))
    wanted = set(filter(None, ARGUMENTS.only.split(',')))
    # As if by Ctrl-C: the `finally` below cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for function in CHECKS:
            if wanted and function.__name__ not in wanted: continue
            try: function()
            except Exception as error:
                expect(function.__name__, '%s' % error if isinstance(error, Failure) else traceback.format_exc())
    finally:
        with open('/proc/self/mountinfo') as mounts: left = [l.split()[4] for l in mounts if l.split()[4].startswith(WORK + '/')]
        for path in left:
            pid = daemon_of(path)
            detach(path)
            if pid is not None and is_alive(pid): os.kill(pid, signal.SIGKILL)
        if left: expect('no mount is left behind', left)
        shutil.rmtree(WORK, ignore_errors=True)
    failed = sum(not ok for _, ok in RESULTS)
    print('%d passed, %d failed' % (len(RESULTS) - failed, failed))
    return 1 if failed else 0


if __name__ == '__main__': sys.exit(main())
