#!/usr/bin/env python3
"""check_tools.py BIN-DIRECTORY [--only TOOL,…] [--measure]

Changes values with the programs that people use, through a real mount: afterwards the value must have the new text and its old type, the
key must hold what the table says, and the event log that many SetValues. Then the same on values that the policy protects: refused,
the value as it was, nothing left in the key (SEMANTICS.md, 10). BIN-DIRECTORY holds regward and make-hive-samples. Needs root and
the packages of `mount_check_packages`.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed. --measure prints
the SetValues of each tool. Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import ctypes, json, os, pty, re, select, shutil, signal, subprocess, sys, tempfile, time

import verdict
from verdict import check

import event_schema

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
ONLY = set(sys.argv[sys.argv.index('--only') + 1].split(',')) if '--only' in sys.argv else None
MEASURE = '--measure' in sys.argv

POLICY = r'''version: 1
mode: %s
hardened:
  - key: HKLM\SYSTEM\Setup\Hardened
monitored:
  - id: free
    key: HKLM\SYSTEM\Setup\Free
    values:
      - rules: [SetValueKeyOperation]
  - id: denied
    key: HKLM\SYSTEM\Setup\Denied
    values:
      - name: Start
        rules: [SetValueDenied, DeleteDenied]
'''

# What the values hold, and what the tools make of it: text before and after, and the words that differ.
KINDS = {
    'REG_DWORD': (b'2\n', b'3\n', '2', '3'),
    'REG_MULTI_SZ': (b'one\ntwo\n', b'one\nTWO\n', 'two', 'TWO'),
    'REG_EXPAND_SZ': (b'%PATH%;two\n', b'%PATH%;TWO\n', 'two', 'TWO'),
    'REG_BINARY': (b'\x01\x80two\xff\n', b'\x01\x80TWO\xff\n', 'two', 'TWO'),
}
TEXT = ['REG_DWORD', 'REG_MULTI_SZ', 'REG_EXPAND_SZ']
ALL = TEXT + ['REG_BINARY']

TOOLS = []


class Tool:
    """`run` is a shell command or a function. It has $new (a file with the new text), $a and $b (the words), and works in the key, on Start.
    `sets` SetValues are expected, and the names in `leaves` beside Start. `added` is put at the end instead of the new text.
    `tells`: a refusal is told by the exit status. `keeps`: what it leaves itself beside a value that it could not write."""

    def __init__(self, name, run, kinds=ALL, sets=1, leaves=(), added=None, tells=True, keeps=()):
        self.name, self.run, self.kinds, self.sets, self.leaves, self.added = name, run, kinds, sets, leaves, added
        self.tells, self.keeps = tells, keeps
        TOOLS.append(self)


def nano(at, environment):
    """Cuts every line, types the new text, writes and leaves; waits for what nano shows."""
    with open(environment['new'], 'rb') as file: new = file.read()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(at)
        os.execvpe('nano', ['nano', '--ignorercfiles', '--nonewlines', 'Start'], dict(environment, TERM='xterm'))
    shown = b''

    def expect(words):
        nonlocal shown
        end = time.monotonic() + 20
        while not any(word in shown for word in words):
            if time.monotonic() > end: raise RuntimeError('nano shows no %r: %r' % (words, shown[-300:]))
            if not select.select([terminal], [], [], 0.5)[0]: continue
            try: more = os.read(terminal, 65536)
            except OSError: break
            if not more: break
            shown += more
        shown = b''

    try:
        expect([b'Exit'])
        # To the top, cut to the end; a line feed is a Return.
        os.write(terminal, b'\x1b\\\x1bt' + new.replace(b'\n', b'\r') + b'\x0f')
        expect([b'to Write'])
        os.write(terminal, b'\r')
        expect([b'Wrote', b'Error'])
        os.write(terminal, b'\x18n')
        end = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done: return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end: raise RuntimeError('nano does not end')
            if select.select([terminal], [], [], 0.1)[0]:
                try: os.read(terminal, 65536)
                except OSError: pass
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)


def vim(backupcopy):
    return ('vim -es -u NONE -i NONE --cmd "set swapfile directory=. binary encoding=latin1" -c "set nobackup writebackup backupcopy=%s" '
            '-c "%%s/$a/$b/" -c "wq" -c "cquit" Start' % backupcopy)


def emacs(before):
    return ('emacs --batch -Q --eval "(progn (setq coding-system-for-read \'raw-text create-lockfiles t) %s (find-file \\"Start\\") '
            '(goto-char 1) (search-forward \\"$a\\") (replace-match \\"$b\\" t t) (basic-save-buffer))"' % before)


REPLACE = '''
import os, sys, tempfile
with tempfile.NamedTemporaryFile(dir='.', delete=False) as file: file.write(open(os.environ['new'], 'rb').read())
try: os.replace(file.name, 'Start')
except OSError:
    os.unlink(file.name)
    raise
'''

Tool('echo', 'echo "$(cat "$new")" > Start', TEXT)
Tool('printf', 'printf "%s" "$(cat "$new")" > Start', TEXT)
Tool('>>', 'echo three >> Start', ['REG_MULTI_SZ', 'REG_BINARY'], added=b'three\n')
Tool('sed -i', 'sed -i "s/$a/$b/" Start')
Tool('sed -i.bak', 'sed -i.bak "s/$a/$b/" Start', sets=2, leaves=['Start.bak'])
Tool('perl -pi', 'perl -pi -e "s/$a/$b/" Start')
# perl says that it cannot rename, and exits with 0.
Tool('perl -pi.bak', 'perl -pi.bak -e "s/$a/$b/" Start', sets=2, leaves=['Start.bak'], tells=False)
Tool('vim, in place', vim('yes'))
# The old value is moved away, and removed at the end. Where it cannot be moved, vim copies it, and leaves the copy when it fails.
Tool('vim, by renaming', vim('no'), sets=2, keeps=['Start~'])
Tool('vim, auto', vim('auto'), sets=2, keeps=['Start~'])
Tool('emacs, no backup', emacs('(setq make-backup-files nil)'))
Tool('emacs', emacs(''), sets=2, leaves=['Start~'])
Tool('ed', r'printf ",s/%s/%s/\nw\nq\n" "$a" "$b" | ed -s Start')
Tool('nano', nano, TEXT, tells=False)
Tool('sponge', 'set -o pipefail; sed "s/$a/$b/" Start | sponge Start')
Tool('patch', 'diff -au --label Start Start --label Start "$new" > "$HOME/diff"; patch --binary -s -r - Start "$HOME/diff"')
Tool('install', 'install "$new" Start')
Tool('cp', 'cp "$new" Start')
Tool('cp -a', 'cp -a "$new" Start')
Tool('dd', 'dd if="$new" of=Start status=none')
Tool('os.replace', ['python3', '-c', REPLACE])
Tool('rsync -aX', 'rsync -aX "$new" Start')
Tool('tar --xattrs', 'tar --xattrs -C "$(dirname "$new")" --transform "s/.*/Start/" -cf - "$(basename "$new")" | tar --xattrs --xattrs-include="*" -xf -')
Tool('mv', 'cp "$new" "$HOME/moved"; mv -f "$HOME/moved" Start')

READERS = [
    ('git diff --no-index', 'git diff --no-index --text --exit-code "$new" Start', 1), ('find', 'find . -type f -name Start | grep -q Start', 0),
    ('grep -r', 'grep -arq "$a" .', 0), ('du', 'du -a . | grep -q Start', 0), ('tree', 'tree . | grep -q Start', 0),
    ('cp -a out', 'cp -a Start "$HOME/out"; cmp Start "$HOME/out"', 0),
]


class Mount:
    """A mount of fresh samples; everything is gone at the end of the `with`."""

    def __init__(self, options=''):
        self.folder = tempfile.mkdtemp(prefix='tools-', dir=BIN)
        os.chmod(self.folder, 0o700)
        subprocess.run([os.path.join(BIN, 'make-hive-samples'), self.folder], check=True, capture_output=True)
        self.point, self.log, self.home = self.path('mnt'), self.path('events.json'), self.path('home')
        os.mkdir(self.point)
        os.mkdir(self.home)
        self.options = options
        self.position = 0

    def __enter__(self): return self

    def __exit__(self, *_):
        try: self.unmount()
        finally: shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts): return os.path.join(self.folder, *parts)

    def at(self, *parts): return os.path.join(self.point, 'Setup', *parts)

    def mount(self, mode):
        with open(self.path('policy.yaml'), 'w') as file: file.write(POLICY % mode)
        os.chmod(self.path('policy.yaml'), 0o600)
        options = 'policy=%s,log=%s%s' % (self.path('policy.yaml'), self.log, self.options)
        done = subprocess.run([REGWARD, 'mount', '-o', options, '--at', r'HKLM\SYSTEM', self.path('system.hiv'), self.point],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode != 0: raise RuntimeError('mount: ' + done.stderr)

    def unmount(self):
        if os.path.ismount(self.point):
            subprocess.run([REGWARD, 'umount', self.point], capture_output=True, timeout=60, check=True)
        event_schema.hold(self.log)

    def status(self):
        with open(self.point + '/%ctl/status') as file: return json.load(file)

    def events(self):
        """Those since the last call: what happened before a value of a new name was set stands in the log before that."""
        marker = 'Marker%d' % time.monotonic_ns()
        write(self.at('Free', marker), b'x')
        os.unlink(self.at('Free', marker))
        events, end = [], time.monotonic() + 20
        while not any(name_of(event) == marker for event in events):
            if time.monotonic() > end: raise RuntimeError('no event of %s: %s' % (marker, read(self.log)[-1500:]))
            if os.path.exists(self.log):
                with open(self.log, 'rb') as file:
                    file.seek(self.position)
                    text = file.read()
                whole = text[:text.rfind(b'\n') + 1]
                self.position += len(whole)
                events += [json.loads(line) for line in whole.splitlines()]
        return [event for event in events if not (name_of(event) or '').startswith('Marker')]


def name_of(event): return event.get('registry', {}).get('value')


def is_denied(event): return 'denied' in event['event'].get('type', [])


def read(path):
    with open(path, 'rb') as file: return file.read()


def write(path, text):
    with open(path, 'wb') as file: file.write(text)


def type_of(path): return os.getxattr(path, 'user.reg.type').decode()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end: return False
        time.sleep(0.01)
    return True


def use(tool, mount, key, kind):
    """The exit status and what it said."""
    old, new, a, b = KINDS[kind]
    new_file = mount.path('new')
    write(new_file, new)
    # Older than every value: rsync passes over a file of the same time and size.
    os.utime(new_file, (10**9, 10**9))
    environment = dict(os.environ, new=new_file, a=a, b=b, HOME=mount.home, TMPDIR=mount.home, LC_ALL='C', GIT_CONFIG_GLOBAL='/dev/null')
    if callable(tool): return tool(mount.at(key), environment), ''
    command = ['bash', '-c', tool] if isinstance(tool, str) else tool
    done = subprocess.run(command, cwd=mount.at(key), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout.decode(errors='replace')


def put(mount, key, kind):
    suffix = '%' + kind[4:].lower()
    os.makedirs(mount.at(key), exist_ok=True)
    for name in os.listdir(mount.at(key)): os.unlink(mount.at(key, name))
    write(mount.at(key, 'Start' + suffix), KINDS[kind][0])


def changing(mount, tool, kind):
    name = '%s on %s' % (tool.name, kind)
    put(mount, 'Free', kind)
    mount.events()
    status, output = use(tool.run, mount, 'Free', kind)
    events = mount.events()
    sets = [event for event in events if event['event']['action'].endswith('SetValueKey') and not is_denied(event)]
    old, new = KINDS[kind][:2]
    wanted = old + tool.added if tool.added else new
    if MEASURE: print('     %s: %s' % (name, [name_of(event) for event in sets]))
    try: found = (read(mount.at('Free', 'Start')), type_of(mount.at('Free', 'Start')), sorted(os.listdir(mount.at('Free'))))
    except OSError as error: found = error
    leaves = sorted(['Start'] + list(tool.leaves))
    check('%s: done' % name, status == 0, (status, output))
    check('%s: text, type and names' % name, found == (wanted, kind, leaves), found)
    check('%s: %d SetValue' % (name, tool.sets), len(sets) == tool.sets, [(name_of(event), event['event']) for event in sets])


def refused(mount, tool, key, kind):
    name = '%s on a %s %s' % (tool.name, key.lower(), kind)
    before = mount.at(key, 'Start')
    mount.events()
    status, output = use(tool.run, mount, key, kind)
    events = mount.events()
    if tool.tells: check('%s: fails' % name, status != 0, output)
    check('%s: is as it was' % name, (read(before), type_of(before)) == (KINDS[kind][0], kind), (read(before), type_of(before)))
    check('%s: is in the log' % name, any(is_denied(event) for event in events), [event['event'] for event in events])
    # In a key where nothing may be made, what is only in memory is gone when its promotion is refused.
    leaves = sorted(['Start'] + list(tool.keeps if key == 'Denied' else []))
    check('%s: leaves nothing behind' % name, wait_until(lambda: sorted(os.listdir(mount.at(key))) == leaves, 10), os.listdir(mount.at(key)))
    for left in leaves[1:]: os.unlink(mount.at(key, left))


def renameat2(old, new, flags):
    """0, or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) == 0 else ctypes.get_errno()


def others(mount):
    """What is only in memory, as programs meet it."""
    import errno
    put(mount, 'Free', 'REG_DWORD')
    before = mount.status()['unsaved']
    start, swap = mount.at('Free', 'Start'), mount.at('Free', '.Start.swp')
    mount.events()
    descriptor = os.open(swap, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b'\x80\x00')
    os.fsync(descriptor)
    check('10.5 a scratch file is listed, read and synced', sorted(os.listdir(mount.at('Free'))) == ['.Start.swp', 'Start'] and read(swap) == b'\x80\x00'
          and os.stat(swap).st_size == 2)
    check('10.7 status counts it', mount.status()['unsaved']['values'] == 1 and mount.status()['unsaved']['scratchBytes'] == 2, mount.status()['unsaved'])
    check('10.5 nothing is told of it', mount.events() == [])
    for flags, wanted in [(1, errno.EEXIST), (2, errno.EINVAL)]:
        check('5.8 renameat2 with %d onto the value' % flags, renameat2(swap, start, flags) == wanted)
        check('5.8 renameat2 with %d of the value' % flags, renameat2(start, swap, flags) == wanted)
    os.makedirs(mount.at('Keys', 'one'))
    os.makedirs(mount.at('Keys', 'two'))
    check('5.7 renameat2 of keys', [renameat2(mount.at('Keys', 'one'), mount.at('Keys', 'two'), flags) for flags in (0, 1, 2)]
          == [errno.EEXIST, errno.EEXIST, errno.EINVAL] and renameat2(mount.at('Keys', 'one'), mount.at('Keys', 'three'), 1) == 0)
    os.close(descriptor)
    check('10.6 it is promoted', wait_until(lambda: mount.status()['unsaved']['promoted'] == before['promoted'] + 1, 10), mount.status()['unsaved'])
    check('10.6 as a REG_BINARY', type_of(swap) == 'REG_BINARY' and read(swap) == b'\x80\x00')
    check('10.6 and told', [name_of(event) for event in mount.events()] == ['.Start.swp'])
    os.unlink(swap)
    try: outcome = os.symlink('me@here.1', mount.at('Free', '.#Start'))
    except OSError as error: outcome = error.errno
    check('5.11 a symbolic link is refused', outcome == errno.EPERM, outcome)
    lost = mount.status()['unsaved']['lost']
    write(mount.at('Hardened', 'Start~'), b'kept in mind\n')
    mount.events()
    check('10.6 a refused promotion is counted', wait_until(lambda: mount.status()['unsaved']['lost'] == lost + 1, 10), mount.status()['unsaved'])
    check('10.6 told', [name_of(event) for event in mount.events() if is_denied(event)] == ['Start~'])
    check('10.6 and gone', os.listdir(mount.at('Hardened')) == ['Start'] and not os.path.exists(mount.at('Hardened', 'Start~')))
    write(mount.at('Free', 'sedAbCdEf'), b'at the end\n')


def at_the_end(mount):
    check('10.6 what was in memory at the unmount is in the hive', read(mount.at('Free', 'sedAbCdEf')) == b'at the end\n')
    mount.unmount()
    mount.options = ',scratch=off'
    mount.mount('enforce')
    put(mount, 'Free', 'REG_DWORD')
    mount.events()
    write(mount.at('Free', 'sedAbCdEf'), b'7\n')
    check('10.5 scratch=off: a value at once', [name_of(event) for event in mount.events()] == ['sedAbCdEf'])


def main():
    with Mount() as mount:
        mount.mount('off')
        for key in ('Hardened', 'Denied', 'Free'): put(mount, key, 'REG_DWORD')
        mount.unmount()
        mount.mount('enforce')
        tools = [tool for tool in TOOLS if not ONLY or tool.name in ONLY]
        for tool in tools:
            for kind in tool.kinds: changing(mount, tool, kind)
        put(mount, 'Free', 'REG_DWORD')
        if not ONLY:
            mount.events()
            for name, command, wanted in READERS:
                status, output = use(command, mount, 'Free', 'REG_DWORD')
                check('%s reads' % name, status == wanted, (status, output))
            check('reading sets nothing', mount.events() == [])
        for key in ('Hardened', 'Denied'):
            for tool in tools:
                if not tool.added: refused(mount, tool, key, 'REG_DWORD')
        if not ONLY:
            others(mount)
            mount.unmount()
            mount.mount('enforce')
            at_the_end(mount)


main()
verdict.close()
