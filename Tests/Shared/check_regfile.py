#!/usr/bin/env python3
"""check_regfile.py REGWARD [SHARED] [--only NAME,…] [--without NAME,…]

`regward export` and `regward import` (SEMANTICS 11.9 to 11.12). Every hive of SHARED/hives/real and craft/edge_* is exported, the text imported
through a mount into an empty hive, and both dumps compared without times, security and classes; an export of that mount must be the same
text again. What the text cannot carry must have been told. Then single cases: refusals, errors, --dry-run, --keep-going, links; and
hivexregedit (libwin-hivex-perl), an independent reader and writer, in both directions. Needs root and /dev/fuse.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Leaves no mount, no process and no file behind.
"""
import lzma, os, re, shutil, subprocess, sys, tempfile

REGWARD = os.path.abspath(sys.argv[1])
ARGUMENTS = [a for a in sys.argv[2:] if not a.startswith('--')]
ONLY = set(sys.argv[sys.argv.index('--only') + 1].split(',')) if '--only' in sys.argv else None
WITHOUT = set(sys.argv[sys.argv.index('--without') + 1].split(',')) if '--without' in sys.argv else set()
if ONLY: ARGUMENTS = ARGUMENTS[:-1]
SHARED = ARGUMENTS[0] if ARGUMENTS else os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../shared')
HIVES = os.path.join(SHARED, 'hives')
LIMIT = 900
DEEPEST, LONGEST = 500, 255  # keys above one another and a key's name; the registry's own limits
passed = failed = 0


def check(name, good, detail=''):
    global passed, failed
    if good: passed += 1
    else: failed += 1
    print('%s %s%s' % ('PASS' if good else 'FAIL', name, '' if good else '\n     ' + str(detail)[:900]), flush=True)


def run(*words, **options):
    return subprocess.run(words, capture_output=True, timeout=LIMIT, **options)


def regward(*words, **options): return run(REGWARD, *words, **options)


def unpack(source, target):
    with (lzma.open(source) if source.endswith('.xz') else open(source, 'rb')) as data, open(target, 'wb') as out:
        shutil.copyfileobj(data, out)
    os.chmod(target, 0o600)


class Mount:
    """An empty hive, mounted; its policy asks nobody unless one is given."""

    def __init__(self, folder, policy='version: 1\nmode: off\n', hive='edge_minimal.hiv', options=''):
        self.hive, self.point = os.path.join(folder, 'target'), os.path.join(folder, 'mnt')
        unpack(os.path.join(HIVES, 'craft', hive), self.hive)
        os.mkdir(self.point)
        file = os.path.join(folder, 'policy.yaml')
        with open(file, 'w') as text: text.write(policy)
        os.chmod(file, 0o600)
        done = regward('mount', '-o', 'at=HKLM\\SYSTEM,policy=' + file + options, self.hive, self.point)
        if done.returncode: raise RuntimeError(done.stderr.decode())

    def __enter__(self): return self

    def __exit__(self, *_): self.unmount()

    def unmount(self):
        if os.path.ismount(self.point): regward('umount', self.point)

    def at(self, *parts): return os.path.join(self.point, *parts)


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='regward-regfile-')
        return self.path

    def __exit__(self, *_): shutil.rmtree(self.path, ignore_errors=True)


def content(hive):
    """What a .reg file knows of a dump's lines."""
    done = regward('dump', hive)
    return {tuple(line.split(b'\t')[:2] if line[:1] == b'K' else line.split(b'\t')) for line in done.stdout.split(b'\n') if line}


def is_too_much(line):
    """Whether the registry would not make the key; an escape of the dump begins with a backslash and `u`, too."""
    path = line[1].decode().split('\\')
    return len(path) > DEEPEST or any(len(part) > LONGEST for part in path if not part.startswith('u'))


def round_trip(name, source):
    with Folder() as folder:
        hive, text = os.path.join(folder, 'source'), os.path.join(folder, 'text.reg')
        unpack(source, hive)
        exported = regward('export', '--prefix', 'HKLM\\SYSTEM', '-o', text, hive)
        if not os.path.exists(text): return check(name, False, exported.stderr)
        wanted = content(hive)
        with Mount(folder) as mount:
            imported = regward('import', *(['--keep-going'] if any(map(is_too_much, wanted)) else []), mount.point, text)
            again = os.path.join(folder, 'again.reg')
            repeated = regward('export', '-o', again, mount.point)
            mount.unmount()
            found = content(mount.hive)
        missing, extra = wanted - found, found - wanted
        if any(map(is_too_much, wanted)):
            return check(name + ' but for what is deeper or longer than the registry allows, which is refused', imported.returncode == 1
                         and not extra and missing == set(filter(is_too_much, wanted)), (imported.stderr[:300], len(missing)))
        lost = exported.returncode == 1 and exported.stderr
        told = exported.stderr.decode('utf-8', 'replace')
        if not lost:
            check(name, exported.returncode == 0 and imported.returncode == 0 and not missing and not extra,
                  (exported.stderr[:200], imported.stderr[:300], len(missing), sorted(missing)[:2], sorted(extra)[:2]))
        else:
            # Twins and names that a text cannot carry: as many lines less as were told, or more where a tree is left out.
            check(name + ' but for what was told', imported.returncode == 0 and not extra and missing, (told[:300], imported.stderr[:300], sorted(extra)[:2]))
        with open(text, 'rb') as one, open(again, 'rb') as two: same = one.read() == two.read()
        check(name + ', exported from the mount again', repeated.returncode == 0 and same_lines(text, again), (repeated.stderr[:300], same))


def same_lines(one, two):
    """The same keys with the same values; their order in the hive may differ."""
    return sections(one) == sections(two)


def sections(path):
    with open(path, 'rb') as file: text = file.read().decode('utf-16-le', 'surrogatepass')
    return sorted('\n'.join(sorted(part.replace('\\\r\n  ', '').split('\r\n'))) for part in text.split('\r\n\r\n'))


HEADER = 'Windows Registry Editor Version 5.00\r\n\r\n'


def write(path, text, encoding='utf-16'):
    with open(path, 'wb') as file: file.write(text.encode(encoding))
    return path


def cases():
    with Folder() as folder, Mount(folder) as mount:
        reg = lambda text, encoding='utf-16': write(os.path.join(folder, 'case.reg'), HEADER + text, encoding)
        def bring(text, *words, at=None, encoding='utf-16'): return regward('import', *words, at or mount.point, reg(text, encoding))
        def read(*parts):
            with open(mount.at(*parts), 'rb') as file: return file.read()

        done = bring('[HKEY_LOCAL_MACHINE\\SYSTEM\\A\\B]\r\n"n"=dword:0000000a\r\n@="x\\\\y"\r\n"e"=hex(2):25,00,41,00,00,00\r\n')
        check('11.9 a file is imported', done.returncode == 0 and read('A', 'B', 'n') == b'10\n' and read('A', 'B', '@') == b'x\\y\n'
              and read('A', 'B', 'e') == b'%A\n', (done, os.listdir(mount.at())))
        check('11.9 it says what it did', done.stdout.endswith(b'case.reg: 2 keys made, 3 values set, 0 keys and 0 values deleted\n'), done.stdout)
        done = bring('[hklm\\system\\a\\b]\n"N"=dword:b\n"e"=-\n"none"=-\n[-HKLM\\SYSTEM\\Nowhere]\n', encoding='utf-8')
        check('11.9 names are found without regard to case, and what is not there need not be deleted',
              done.returncode == 0 and read('A', 'B', 'n') == b'11\n' and sorted(os.listdir(mount.at('A', 'B'))) == ['@', 'n'], done)

        before = regward('export', mount.point).stdout
        done = bring('[HKLM\\SYSTEM\\New]\n"a"="\\x"\n"b"=zz\n[HKLM\\SOFTWARE\\X]\n"c"=dword:1\n', encoding='utf-8')
        check('11.10 all that is wrong is told by line and column, and nothing is changed', done.returncode == 1
              and re.search(br'case.reg:4:6: a backslash .*\n.*case.reg:5:5: .*\n.*case.reg:6: HKLM.SOFTWARE.X does not lie below HKEY_LOCAL_MACHINE.SYSTEM\n.*nothing was changed', done.stderr)
              and regward('export', mount.point).stdout == before, done)
        done = bring('[HKLM\\SYSTEM\\New]\n"a"="\\x"\n"b"="good"\n[HKLM\\SOFTWARE\\X]\n"c"=dword:1\n', '--keep-going', encoding='utf-8')
        check('11.10 with --keep-going the rest is done', done.returncode == 1 and os.listdir(mount.at('New')) == ['b'] and not os.path.exists(mount.at('X')), done)

        before = regward('export', mount.point).stdout
        done = bring('[HKLM\\SYSTEM\\Dry\\Deep]\n"a"="x"\n[-HKLM\\SYSTEM\\A]\n', '--dry-run', encoding='utf-8')
        check('11.12 --dry-run changes nothing', done.returncode == 0 and b'2 keys would be made, 1 value would be set, 1 key and 0' in done.stdout
              and regward('export', mount.point).stdout == before, done)

        done = bring('[HKEY_CURRENT_USER\\Software]\n"a"="x"\n', '--prefix', 'HKEY_CURRENT_USER', at=mount.at('A'), encoding='utf-8')
        check('11.9 --prefix says what the key is called', done.returncode == 0 and read('A', 'Software', 'a') == b'x\n', done)

        run(REGWARD, 'add', mount.at('Link'), '--link', r'\REGISTRY\MACHINE\SYSTEM\A')
        done = bring('[HKLM\\SYSTEM\\Link\\B]\n"through"="x"\n', encoding='utf-8')
        check('11.11 a link leads where it leads others', done.returncode == 0 and read('A', 'B', 'through') == b'x\n', done)
        done = bring('[-HKLM\\SYSTEM\\Link]\n', encoding='utf-8')
        check('11.11 deleting a link leaves what it leads to', done.returncode == 0 and not os.path.lexists(mount.at('Link')) and os.path.exists(mount.at('A', 'B')), done)

        # A reader that has the value open, and one that has its old size.
        with open(mount.at('A', 'B', 'through'), 'rb') as held:
            held.read()
            os.stat(mount.at('A', 'B', 'through'))
            bring('[HKLM\\SYSTEM\\A\\B]\n"through"="longer text"\n', encoding='utf-8')
            check('8.2 the new text and size are seen', read('A', 'B', 'through') == b'longer text\n' and os.path.getsize(mount.at('A', 'B', 'through')) == 12)
        bring('[HKLM\\SYSTEM\\A\\B]\n"through"=-\n', encoding='utf-8')
        check('8.1 a value that is deleted is not found', not os.path.exists(mount.at('A', 'B', 'through')))
        bring('[HKLM\\SYSTEM\\A\\B]\n"same"="v"\n[HKLM\\SYSTEM\\A\\B\\same]\n"in"="k"\n', encoding='utf-8')
        check('2.6 a key is made where a value has its name', sorted(os.listdir(mount.at('A', 'B'))) == ['@', 'n', 'same', 'same%val'] and read('A', 'B', 'same', 'in') == b'k\n',
              os.listdir(mount.at('A', 'B')))

        big = bytes(range(256)) * 8000
        done = bring('[HKLM\\SYSTEM\\Big]\n"b"=hex:' + ',\\\n  '.join(','.join('%02x' % b for b in big[i:i + 25]) for i in range(0, len(big), 25)) + '\n', encoding='utf-8')
        check('11.9 two megabytes in one value', done.returncode == 0 and read('Big', 'b%raw') == big, done.stderr[:300])
        done = bring('[-HKLM\\SYSTEM\\A]\n', encoding='utf-8')
        check('11.9 a tree is deleted', done.returncode == 0 and not os.path.exists(mount.at('A')) and b'4 keys and 5 values deleted' in done.stdout, done)
        done = bring('[-HKLM\\SYSTEM]\n', encoding='utf-8')
        check('11.9 the key itself is not', done.returncode == 1 and b':3: the key that is imported to is not deleted' in done.stderr, done)

        done = regward('export', '-o', os.path.join(folder, 'case.reg'), mount.point)
        check('11.6 no file is written over', done.returncode == 1 and b'exists' in done.stderr.lower(), done)
        done = regward('export', mount.at('Nowhere'))
        check('11.6 what is not there is said', done.returncode == 1 and done.stderr, done)
        done = regward('export', mount.point)
        check('11.6 a pipe gets UTF-8', done.returncode == 0 and done.stdout.startswith(b'Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SYSTEM]\n'), done)
        with open(os.path.join(folder, 'out'), 'wb') as out: subprocess.run([REGWARD, 'export', mount.point], stdout=out, timeout=LIMIT)
        with open(os.path.join(folder, 'out'), 'rb') as out: check('11.6 a file gets UTF-16', out.read(4) == b'\xff\xfeW\0')
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([REGWARD, 'export', mount.point], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT)
            check('11.6 a full disk is told', done.returncode == 1 and done.stderr, done)

    policy = 'version: 1\nmode: enforce\nhardened:\n  - key: HKLM\\SYSTEM\\Guarded\n'
    with Folder() as folder, Mount(folder, policy) as mount:
        file = write(os.path.join(folder, 'case.reg'), HEADER + '[HKLM\\SYSTEM\\Free]\n"a"="x"\n\n[HKLM\\SYSTEM\\Guarded\\Below]\n"b"="x"\n[HKLM\\SYSTEM\\Last]\n', 'utf-8')
        done = regward('import', '--dry-run', mount.point, file)
        check('11.12 --dry-run tells what the rules refuse', done.returncode == 1 and b'case.reg:6: create Guarded: refused: ' in done.stderr and not os.path.exists(mount.at('Free')), done)
        done = regward('import', mount.point, file)
        check('11.11 a refusal has its line, and ends the import', done.returncode == 1 and b'case.reg:6: ' in done.stderr and b'rule' in done.stderr
              and os.listdir(mount.point) == ['Free'] and os.listdir(mount.at('Free')) == ['a'], (done, os.listdir(mount.point)))
        done = regward('import', '--keep-going', mount.point, file)
        check('11.11 with --keep-going the rest is done', done.returncode == 1 and sorted(os.listdir(mount.point)) == ['Free', 'Last'], done)

    with Folder() as folder, Mount(folder, options=',allow_other') as mount:
        os.chmod(folder, 0o755)
        file = write(os.path.join(folder, 'case.reg'), HEADER + '[HKLM\\SYSTEM\\Free]\n"a"="x"\n', 'utf-8')
        program = os.path.join(folder, 'regward')
        shutil.copy(REGWARD, program)
        os.chmod(program, 0o755)
        done = run('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', program, 'import', mount.point, file)
        check('11.11 who may not write there may not import', done.returncode == 1 and b'ermission denied' in done.stderr and os.listdir(mount.point) == [], done)
        done = run('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '/usr/bin/python3', '-c',
                   "import os,sys; d=os.open(sys.argv[1]+'/%ctl/cmd',os.O_RDWR); os.write(d,b'set\\t\\t0061\\t1\\t\\n'); print(os.read(d,99)); os.write(d,b'delete-value\\t\\t0061\\n'); print(os.read(d,99))", mount.point)
        check('1.8 nor by the command file', done.stdout.count(b"b'error 13 ") == 2 and os.listdir(mount.point) == [], done)


def independents():
    if not shutil.which('hivexregedit'): return check('hivexregedit is there', False, 'apt-get install libwin-hivex-perl')
    with Folder() as folder:
        hive = os.path.join(folder, 'SYSTEM')
        unpack(os.path.join(HIVES, 'real', 'SYSTEM.xz'), hive)
        wanted = content(hive)
        # Theirs, read by us.
        theirs = os.path.join(folder, 'theirs.reg')
        done = run('hivexregedit', '--export', '--prefix', 'HKEY_LOCAL_MACHINE\\SYSTEM', hive, '\\ControlSet001\\services')
        with open(theirs, 'wb') as file: file.write(done.stdout)
        only = {line for line in wanted if line[1].startswith(b'ControlSet001\\services')}
        with Mount(folder) as mount:
            done = regward('import', '--prefix', 'HKEY_LOCAL_MACHINE\\SYSTEM', mount.point, theirs)
            mount.unmount()
            found = {line for line in content(mount.hive) if line[1].startswith(b'ControlSet001\\services')}
        check("hivexregedit's export of %d keys and values is read as it is" % len(only), done.returncode == 0 and found == only and len(only) > 1000,
              (done.stderr[:300], len(found), sorted(found ^ only)[:3]))
        # Ours, read by them.
        ours, target = os.path.join(folder, 'ours.reg'), os.path.join(folder, 'merged')
        regward('export', '--encoding', 'utf-8', '-o', ours, hive + ':controlset001\\Services')
        unpack(os.path.join(HIVES, 'craft', 'edge_minimal.hiv'), target)
        # It makes no parents.
        with open(ours, encoding='utf-8') as file: text = file.read()
        head, _, rest = text.partition('\n\n')
        write(ours, head + '\n\n[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001]\n\n' + rest, 'utf-8')
        done = run('hivexregedit', '--merge', '--prefix', 'HKEY_LOCAL_MACHINE\\SYSTEM', '--encoding', 'UTF-8', target, ours)
        found = {line for line in content(target) if line[1].startswith(b'ControlSet001\\services')}
        # It has no lists of segments for long data, and what it writes instead is no longer read.
        found, only = ({line for line in lines if line[:1] == (b'K',) or int(line[4]) <= 16344} for lines in (found, only))
        check('hivexregedit merges our export of %d keys and values as it is' % len(only), done.returncode == 0 and found == only and len(only) > 1000, (done.stderr[:300], len(found), len(only), sorted(found ^ only)[:3]))


hives = sorted(
    os.path.join(kind, file) for kind in ('real', 'craft') for file in os.listdir(os.path.join(HIVES, kind))
    if os.path.isfile(os.path.join(HIVES, kind, file)) and (kind == 'real' or file.startswith('edge_')))
if not ONLY or 'cases' in ONLY: cases()
if not ONLY or 'independents' in ONLY: independents()
for name in hives:
    if os.path.basename(name) not in WITHOUT and (not ONLY or os.path.basename(name) in ONLY): round_trip(name, os.path.join(HIVES, name))
print('%d passed, %d failed' % (passed, failed))
sys.exit(1 if failed else 0)
