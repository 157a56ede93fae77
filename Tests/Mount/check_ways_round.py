#!/usr/bin/env python3
"""check_ways_round.py BIN-DIRECTORY [--only ROW,…] [--system HIVE]

Tries every way round the filter that SEMANTICS.md names, through a real mount and with real programs: each attempt must fail, leave the
hive as it was, and stand in the log with the rule that refused it. BIN-DIRECTORY holds regward and make-hive-samples; HIVE is
copied and stands for the sample's SYSTEM hive. Needs root.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import ctypes, errno, json, mmap, os, shutil, signal, socket, stat, subprocess, sys, tempfile, time

import verdict
from verdict import check

import event_schema

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
ONLY = set(sys.argv[sys.argv.index('--only') + 1].split(',')) if '--only' in sys.argv else None
SYSTEM = sys.argv[sys.argv.index('--system') + 1] if '--system' in sys.argv else None

POLICY = r'''version: 1
mode: %(mode)s
subtree: %(subtree)s
hardened:
  - service: WinDefend
  - service: WdFilter
  - key: HKLM\SYSTEM\CurrentControlSet\Control\Guarded
processes:
  - id: trusted
    when: { exe: %(folder)s/trusted, uid: 0 }
    flags: [Friendly]
monitored:
  - id: acme
    key: HKLM\SYSTEM\Setup\Acme
    rules: 0x37C015
    values:
      - name: Secret
        rules: 0xC2D00
  - id: future
    key: HKLM\SYSTEM\Setup\Future\Key
    rules: [CreateKeyOperation, CreateDenied]
    values:
      - rules: [SetValueDenied]
  - id: loaded
    key: HKLM\Loaded\Key
    rules: [CreateKeyOperation, CreateDenied, DeleteDenied]
  - id: late
    key: HKLM\SYSTEM\Setup\Late
    values:
      - name: Value
        rules: [SetValueKeyOperation]
'''


class Mount:
    """A mount of fresh samples with a policy; everything is gone at the end of the `with`."""

    def __init__(self, subtree='strict', mode='enforce', policy=None, prepare=True, options=''):
        self.folder = tempfile.mkdtemp(prefix='regward-ways-')
        os.chmod(self.folder, 0o755)
        subprocess.run([os.path.join(BIN, 'make-hive-samples'), self.folder], check=True, capture_output=True)
        if SYSTEM: shutil.copyfile(SYSTEM, self.path('system.hiv'))
        for name in os.listdir(self.folder):
            if name.endswith('.hiv'): os.chmod(os.path.join(self.folder, name), 0o600)
        shutil.copy('/bin/bash', self.path('trusted'))
        os.chmod(self.path('trusted'), 0o755)
        self.point = self.path('mnt')
        os.mkdir(self.point)
        self.log = self.path('events.json')
        self.policy = self.path('policy.yaml')
        self.subtree, self.options = subtree, options
        if prepare:
            self.write_policy(subtree, 'off')
            self.mount()
            self.make_protected()
            self.unmount()
            if os.path.exists(self.log): os.unlink(self.log)
        self.write_policy(subtree, mode, policy)
        self.mount()
        self.read_events()

    def __enter__(self): return self

    def __exit__(self, *_):
        try: self.unmount()
        finally: shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts): return os.path.join(self.folder, *parts)

    def at(self, *parts): return os.path.join(self.point, 'HKLM', 'SYSTEM', *parts)

    def write_policy(self, subtree, mode, text=None):
        with open(self.policy, 'w') as file:
            file.write(text or POLICY % {'mode': mode, 'subtree': subtree, 'folder': self.folder})
        os.chmod(self.policy, 0o600)

    def mount(self):
        options = 'allow_other,policy=%s,log=%s%s' % (self.policy, self.log, self.options)
        done = subprocess.run(
            [REGWARD, 'mount', '-o', options, 'HKLM/SYSTEM=' + self.path('system.hiv'),
             'HKLM/SOFTWARE=' + self.path('software.hiv'), self.point], capture_output=True, text=True)
        if done.returncode != 0: raise RuntimeError('mount: ' + done.stderr)
        self.position = 0

    def unmount(self):
        done = None
        if os.path.ismount(self.point):
            done = subprocess.run([REGWARD, 'umount', self.point], capture_output=True, text=True)
        event_schema.hold(self.log)
        return done

    def status(self):
        with open(self.point + '/%ctl/status') as file: return json.load(file)

    def make_protected(self):
        def write(path, text):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as file: file.write(text)
        for number in ('001', '002'):
            write(self.at('ControlSet' + number, 'Services', 'WinDefend', 'Start%dword'), '2\n')
            write(self.at('ControlSet' + number, 'Control', 'Guarded', 'Value'), 'kept\n')
        write(self.at('Setup', 'Acme', 'Secret'), 'kept\n')
        write(self.at('Setup', 'Acme', 'Below', 'Free'), 'free\n')
        write(self.at('Setup', 'Late', 'Value'), 'late\n')
        os.makedirs(self.at('Free', 'Sibling'))
        run([REGWARD, 'add', self.at('ControlSet001', 'Services', 'WinDefend', 'Link'), '--link', r'\REGISTRY\MACHINE\SYSTEM\Free'])
        run([REGWARD, 'add', self.at('Free', 'ToDefender'), '--link', r'\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend'])

    # What must be as it was made.
    def is_intact(self):
        def text(*parts):
            try:
                with open(self.at(*parts)) as file: return file.read()
            except OSError as error: return errno.errorcode[error.errno]
        wanted = {
            ('ControlSet001', 'Services', 'WinDefend', 'Start'): '2\n', ('ControlSet002', 'Services', 'WinDefend', 'Start'): '2\n',
            ('ControlSet001', 'Control', 'Guarded', 'Value'): 'kept\n', ('ControlSet002', 'Control', 'Guarded', 'Value'): 'kept\n',
            ('Setup', 'Acme', 'Secret'): 'kept\n', ('Select', 'Current'): '1\n', ('Select', 'Default'): '1\n'}
        found = {parts: text(*parts) for parts in wanted}
        return [(parts, found[parts]) for parts in wanted if found[parts] != wanted[parts]]

    def read_events(self):
        """The events since the last call."""
        deadline = time.time() + 5
        while True:
            text = ''
            if os.path.exists(self.log):
                with open(self.log) as file:
                    file.seek(self.position)
                    text = file.read()
            if text.endswith('\n') or not text: break
            if time.time() > deadline: break
        self.position += len(text.encode())
        return [json.loads(line) for line in text.splitlines()]

    def wait_for_event(self, matches):
        deadline = time.time() + 5
        seen = []
        while time.time() < deadline:
            seen += self.read_events()
            found = [event for event in seen if matches(event)]
            if found: return found, seen
            time.sleep(0.01)
        return [], seen

    def refused(self, name, attempt, rule, classes=None, error=True):
        """`attempt` is a command or a function; it must fail, change nothing, and be in the log with a rule whose id begins with `rule`."""
        self.read_events()
        outcome = do(attempt)
        intact = self.is_intact()
        check(name + ': fails', outcome != 0 or not error, outcome)
        check(name + ': nothing has changed', not intact, intact)
        if rule is None: return
        found, seen = self.wait_for_event(
            lambda e: 'denied' in e['event'].get('type', []) and e.get('rule', {}).get('id', '').startswith(rule)
            and (classes is None or e['event']['action'] in classes))
        check(name + ': logged with its rule', bool(found),
              [(e['event']['action'], e.get('rule', {}).get('id'), e['event'].get('type')) for e in seen])

    def allowed(self, name, attempt):
        outcome = do(attempt)
        check(name + ': is let through', outcome == 0, outcome)


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def sh(text): return ['bash', '-c', text]


def do(attempt):
    """0, or what went wrong."""
    if callable(attempt):
        try:
            attempt()
            return 0
        except OSError as error: return errno.errorcode[error.errno]
    done = run(attempt)
    return 0 if done.returncode == 0 else done.stderr.strip() or done.returncode


def quoted(path): return "'" + path + "'"


# ---------------------------------------------------------------- the rows

def row1(m):
    """Rename an ancestor of a protected key, or something onto a protected name."""
    m.refused('1 mv of Services', ['mv', m.at('ControlSet001', 'Services'), m.at('ControlSet001', 'Elsewhere')], 'hardened')
    m.refused('1 mv of ControlSet001', ['mv', m.at('ControlSet001'), m.at('Other')], 'hardened')
    m.refused('1 mv of Setup, above a rule', ['mv', m.at('Setup'), m.at('Other')], 'acme')
    m.refused('1 mv of the key itself', ['mv', m.at('Setup', 'Acme'), m.at('Setup', 'Other')], 'acme')
    os.makedirs(m.at('Build', 'Services', 'WinDefend'))
    m.refused('1 mv of a tree to ControlSet003', ['mv', m.at('Build'), m.at('ControlSet003')], 'hardened')
    os.makedirs(m.at('Setup', 'Prepared', 'Key'))
    m.refused('1 mv of a tree onto a protected ancestor', ['mv', m.at('Setup', 'Prepared'), m.at('Setup', 'Future')], 'future')
    m.refused('1 os.rename in another case', lambda: os.rename(m.at('CONTROLSET001', 'services'), m.at('CONTROLSET001', 'x')), 'hardened')
    m.refused('1 regward rename', [REGWARD, 'rename', m.at('ControlSet001', 'Services'), 'SERVICES'], 'hardened')


def row2(m):
    """Restore over a key or an ancestor."""
    source = m.path('software.hiv.copy')
    shutil.copy(m.path('edge-names.hiv'), source)
    for name, key, rule in [('the key', ('ControlSet001', 'Services', 'WinDefend'), 'hardened'), ('Services', ('ControlSet001', 'Services'), 'hardened'),
                            ('the root', (), 'hardened'), ('a monitored key', ('Setup', 'Acme'), 'acme'), ('above a monitored key', ('Setup',), 'acme')]:
        m.refused('2 restore over ' + name, [REGWARD, 'restore', m.at(*key), source], rule, ['RegNtPreRestoreKey'])
    m.refused('2 restore --force', [REGWARD, 'restore', '--force', m.at('ControlSet001'), source], 'hardened')
    m.allowed('2 restore elsewhere', [REGWARD, 'restore', m.at('Free', 'Sibling'), source])


def row3(m):
    """Replace climbs to the root of the hive."""
    m.refused('3 replace named at an unprotected key',
              [REGWARD, 'replace', m.at('Free', 'Sibling'), m.path('edge-names.hiv'), m.path('old.hiv')], None)
    found, seen = m.wait_for_event(lambda e: e['event']['action'] == 'RegNtPreReplaceKey' and 'denied' in e['event']['type'])
    check('3 the event names the root of the hive', bool(found) and found[0]['regward']['key_nt'] == r'\REGISTRY\MACHINE\SYSTEM', seen)
    check('3 nothing was saved', not os.path.exists(m.path('old.hiv')))


def row4(m):
    """Content arrives with a loaded hive."""
    m.refused('4 load at a name with rules below', [REGWARD, 'load', os.path.join(m.point, 'HKLM', 'Loaded'), m.path('edge-names.hiv')], 'loaded', ['RegNtPreLoadKey'])
    m.refused('4 load in another case', [REGWARD, 'load', os.path.join(m.point, 'HKLM', 'LOADED'), m.path('edge-names.hiv')], 'loaded')
    m.refused('4 unload of a hive with protected keys', [REGWARD, 'unload', m.at()], None)
    check('4 the hive is still there', os.path.exists(m.at('Select')))
    place = os.path.join(m.point, 'HKLM', 'Harmless')
    m.allowed('4 load elsewhere', [REGWARD, 'load', place, m.path('edge-names.hiv')])
    m.allowed('4 unload of that', [REGWARD, 'unload', place])
    stranger = run(['setpriv', '--reuid', '65534', '--clear-groups', REGWARD, 'load', place, m.path('edge-names.hiv')])
    check('4 a stranger names no files', stranger.returncode == 1 and 'only root' in stranger.stderr, stranger)


def row5(m):
    """Symbolic-link keys."""
    m.refused('5 writing through a link', sh('echo 4 > ' + quoted(m.at('Free', 'ToDefender', 'Start'))), 'hardened')
    m.refused('5 mkdir through a link', ['mkdir', m.at('Free', 'ToDefender', 'x')], 'hardened')
    m.refused('5 another target for a protected link',
              [REGWARD, 'add', m.at('ControlSet001', 'Services', 'WinDefend', 'Link'), '--link', r'\REGISTRY\MACHINE\SYSTEM'], 'hardened')
    m.refused('5 rm of a protected link', ['rm', m.at('ControlSet001', 'Services', 'WinDefend', 'Link')], 'hardened')
    m.refused('5 a link where a protected key will be', [REGWARD, 'add', m.at('Setup', 'Future'), '--link', r'\REGISTRY\MACHINE\SYSTEM\Free'], 'future')
    m.refused('5 a link as a control set', [REGWARD, 'add', m.at('ControlSet009'), '--link', r'\REGISTRY\MACHINE\SYSTEM\Free'], 'hardened')
    m.refused('5 ln -s', ['ln', '-s', 'ControlSet001', m.at('CurrentControlSet')], None)
    m.allowed('5 a link elsewhere', [REGWARD, 'add', m.at('Free', 'Another'), '--link', r'\REGISTRY\MACHINE\SYSTEM\Free'])
    check('5 where it leads', os.path.exists(m.at('Free', 'Another', 'Sibling')), os.readlink(m.at('Free', 'Another')))


def row6(m):
    """Other control sets, and what selects them."""
    m.refused('6 ControlSet002', sh('echo 4 > ' + quoted(m.at('ControlSet002', 'Services', 'WinDefend', 'Start'))), 'hardened')
    m.refused('6 a rule for CurrentControlSet in ControlSet002', sh('echo x > ' + quoted(m.at('ControlSet002', 'Control', 'Guarded', 'Value'))), 'hardened')
    m.refused('6 Select\\Current', sh('echo 2 > ' + quoted(m.at('Select', 'Current'))), 'hardened')
    m.refused('6 Select\\Default', sh('echo 2 > ' + quoted(m.at('Select', 'Default'))), 'hardened')
    m.refused('6 mv of Select', ['mv', m.at('Select'), m.at('Selected')], 'hardened')
    m.refused('6 a new control set with the service', ['mkdir', '-p', m.at('ControlSet007', 'Services', 'WinDefend')], 'hardened')


def row7(m):
    """The protector's own configuration."""
    for mode, name in [(0o666, 'writable by all'), (0o620, 'writable by the group')]:
        os.chmod(m.policy, mode)
        done = run([REGWARD, 'mount', '-o', 'policy=' + m.policy, m.path('edge-names.hiv'), m.path('trusted')])
        os.chmod(m.policy, 0o600)
        check('7 no mount by a policy that is ' + name, done.returncode != 0, done)
    os.chmod(m.policy, 0o666)
    done = run([REGWARD, 'reload', m.point])
    os.chmod(m.policy, 0o600)
    check('7 no reload of a policy that others can write', done.returncode == 1 and 'chmod' in done.stderr, done)
    with open(m.policy, 'a') as file: file.write('nonsense: 1\n')
    done = run([REGWARD, 'reload', m.point])
    check('7 no reload of a bad policy', done.returncode == 1 and 'nonsense' in done.stderr, done)
    m.refused('7 the old rules hold after a failed reload', sh('echo 4 > ' + quoted(m.at('ControlSet001', 'Services', 'WinDefend', 'Start'))), 'hardened')
    os.chmod(m.folder, 0o777)
    m.write_policy('strict', 'off')
    done = run([REGWARD, 'reload', m.point])
    os.chmod(m.folder, 0o755)
    check('7 no reload from a folder that others can write', done.returncode == 1, done)
    m.write_policy('strict', 'enforce')
    stranger = run(['setpriv', '--reuid', '65534', '--clear-groups', REGWARD, 'reload', m.point])
    check('7 a stranger cannot reload', stranger.returncode != 0, stranger)
    m.refused('7 and the rules hold', sh('echo 4 > ' + quoted(m.at('ControlSet001', 'Services', 'WinDefend', 'Start'))), 'hardened')


def row8(m):
    """Security first, then the edit."""
    acl = os.getxattr(m.at('Free'), 'system.ntfs_acl')
    m.refused('8 setfattr on a hardened key', lambda: os.setxattr(m.at('ControlSet001', 'Services', 'WinDefend'), 'system.ntfs_acl', acl), 'hardened', ['RegNtPreSetKeySecurity'])
    m.refused('8 setfattr on a monitored key', lambda: os.setxattr(m.at('Setup', 'Acme'), 'system.ntfs_acl', acl), 'acme', ['RegNtPreSetKeySecurity'])
    m.allowed('8 setfattr elsewhere', lambda: os.setxattr(m.at('Free', 'Sibling'), 'system.ntfs_acl', acl))
    m.allowed('8 chmod has no effect', ['chmod', '777', m.at('ControlSet001', 'Services', 'WinDefend')])
    m.refused('8 and no edit comes after it', sh('echo 4 > ' + quoted(m.at('ControlSet001', 'Services', 'WinDefend', 'Start'))), 'hardened')


def row9(m):
    """Name games."""
    services = m.at('ControlSet001', 'Services')
    for name in ['windefend/START', 'WINDEFEND/start', 'WiNdEfEnD/Start%dword', 'WinDefend/Start%val', '%57inDefend/Start', 'WinDefend/%53tart']:
        m.refused('9 echo > ' + name, sh('echo 4 > ' + quoted(os.path.join(services, name))), None)
    m.refused('9 logged under its true name', sh('echo 4 > ' + quoted(services + '/wINdEFEND/sTART')), 'hardened')
    m.refused('9 the raw view', sh('printf 4 > ' + quoted(services + '/WinDefend/Start%raw')), None)
    for name in ['WinDefend.', 'WinDefend ', 'WinDefend%00', 'WinDefend%00x', 'WinDefend%2F', 'WinDefend\u200b']:
        # Other keys, as in Windows: what is done there is not done to the protected one.
        do(['mkdir', os.path.join(services, name)])
        do(sh('echo 4 > ' + quoted(os.path.join(services, name, 'Start'))))
        check('9 %r is another key' % name, not m.is_intact(), m.is_intact())
    m.refused('9 a name over 255', ['mkdir', os.path.join(services, 'WinDefend' + 'x' * 300)], None)
    m.refused('9 full-width letters', sh('echo 4 > ' + quoted(services + '/ＷinDefend/Start')), None)


def row10(m):
    """Prefix confusion, and the create of an existing key."""
    services = m.at('ControlSet001', 'Services')
    m.allowed('10 mkdir WinDefendX', ['mkdir', os.path.join(services, 'WinDefendX')])
    m.allowed('10 mkdir WinDefendX/Below', ['mkdir', os.path.join(services, 'WinDefendX', 'Below')])
    m.refused('10 mkdir WinDefend/Below', ['mkdir', os.path.join(services, 'WinDefend', 'Below')], 'hardened')
    check('10 mkdir of an existing key says so', do(lambda: os.mkdir(os.path.join(services, 'windefend'))) == 'EEXIST')
    m.refused('10 mkdir of a protected key that is not there', ['mkdir', os.path.join(services, 'WdFilter')] if not os.path.exists(os.path.join(services, 'WdFilter'))
              else ['rmdir', os.path.join(services, 'WdFilter')], 'hardened')


def row11(m):
    """Fail-open: an unknown caller is exempt from nothing."""
    start = m.at('ControlSet001', 'Services', 'WinDefend', 'Start')
    m.allowed('11 the trusted program may', [m.path('trusted'), '-c', 'echo 2 > ' + quoted(start)])
    m.refused('11 a copy of it may not', sh('cp %s %s && %s -c "echo 4 > %s"' % (m.path('trusted'), m.path('copy'), m.path('copy'), start)), 'hardened')
    m.refused('11 nor another user with it', ['setpriv', '--reuid', '65534', '--clear-groups', m.path('trusted'), '-c', 'echo 4 > ' + quoted(start)], None)
    m.refused('11 nor in a user namespace', ['unshare', '-Ur', m.path('trusted'), '-c', 'echo 4 > ' + quoted(start)], 'hardened')
    m.refused('11 nor at its path in another mount namespace', ['unshare', '-m', 'bash', '-c', 'mount --bind /bin/sh %s && %s -c "echo 4 > %s"' % (m.path('trusted'), m.path('trusted'), start)], 'hardened')
    m.refused('11 nor with LD_PRELOAD', ['env', 'LD_PRELOAD=libc.so.6', m.path('trusted'), '-c', 'echo 4 > ' + quoted(start)], 'hardened')
    m.refused('11 nor when its file is gone', sh('cp %s %s; exec %s -c "rm %s; echo 4 > %s"' % (m.path('trusted'), m.path('gone'), m.path('gone'), m.path('gone'), start)), 'hardened')
    # A daemon in a pid namespace of its own sees no pid of a caller outside it: 0, unknown.
    folder, point = m.path('inner'), m.path('inner/mnt')
    os.makedirs(point)
    shutil.copy(m.path('system.hiv'), folder + '/system.hiv')
    m.unmount()
    shutil.copy(m.path('system.hiv'), folder + '/system.hiv')
    os.chmod(folder + '/system.hiv', 0o600)
    inner = subprocess.Popen(
        ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', REGWARD, 'mount', '-f', '-o',
         'policy=%s,log=%s/log.json' % (m.policy, folder), folder + '/system.hiv', point], stderr=subprocess.PIPE, text=True)
    line = inner.stderr.readline()
    target = run(['pgrep', '-P', str(inner.pid)]).stdout.split()
    enter = ['nsenter', '-t', target[0] if target else '0', '-m']
    done = run(enter + [m.path('trusted'), '-c', 'echo 4 > %s/ControlSet001/Services/WinDefend/Start' % point])
    check('11 an unknown caller is not exempt', done.returncode != 0 and 'Permission denied' in done.stderr, (line, done))
    # By hand: a program that looks itself up in that /proc finds nothing.
    why = run(enter + sh('exec 3<>%s/%%ctl/cmd; echo "why ControlSet001/Services/WinDefend/Start" >&3; cat <&3' % point))
    check('11 and is told so', 'not known' in why.stdout, why)
    if target: os.kill(int(target[0]), signal.SIGTERM)
    inner.wait(timeout=20)
    event_schema.hold(folder + '/log.json')
    m.mount()


def row12(m):
    """Handles opened earlier, descriptors that change hands."""
    start = m.at('ControlSet001', 'Services', 'WinDefend', 'Start')
    m.refused('12 a descriptor kept over exec', [m.path('trusted'), '-c', 'exec 3<>%s; exec /bin/sh -c "echo 4 >&3"' % quoted(start)], 'hardened', error=False)
    m.refused('12 a descriptor inherited by a child', [m.path('trusted'), '-c', 'exec 3<>%s; /bin/sh -c "echo 4 >&3"' % quoted(start)], 'hardened')
    receiver = 'import socket,os,array\ns=socket.socket(fileno=0)\n_,fds,_,_=socket.recv_fds(s,1,1)\nos.write(fds[0],b"4\\n")\n'
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = subprocess.Popen(['python3', '-c', receiver], stdin=theirs.fileno(), stderr=subprocess.PIPE)
    # The trusted shell opens; this process gets the descriptor through /proc, which opens anew, so it is inherited instead.
    sender = 'import socket,os\ns=socket.socket(fileno=0)\nsocket.send_fds(s,[b"x"],[3])\n'
    opened = subprocess.run([m.path('trusted'), '-c', 'exec 3<>%s; python3 -c \'%s\'' % (quoted(start), sender)], stdin=ours.fileno(), capture_output=True, text=True)
    error = child.communicate(timeout=10)[1].decode()
    check('12 a descriptor passed over a socket', opened.returncode == 0 and 'PermissionError' in error and not m.is_intact(), (opened, error))
    late = m.at('Setup', 'Late', 'Value')
    # Inside execve the kernel lets nobody read about the process until the file that exec closes is closed: nobody may wait for that.
    begin = time.time()
    child = subprocess.Popen(['python3', '-c', 'import os,sys\nf=os.open(sys.argv[1],os.O_RDWR)\nos.write(f,b"exec\\n")\nos.execv("/bin/true",["true"])', late])
    try: status = child.wait(timeout=20)
    except subprocess.TimeoutExpired: status = 'stuck'
    check('12 a write that exec closes', status == 0 and time.time() - begin < 10, (status, time.time() - begin))
    check('12 is set', open(late).read() == 'exec\n', open(late).read())
    found, seen = m.wait_for_event(lambda e: e['event']['action'] == 'RegNtPostSetValueKey' and e['registry'].get('value') == 'Value')
    check('12 and told, of a process that nobody knows', bool(found), seen)
    handle = os.open(late, os.O_RDWR)
    os.write(handle, b'one\n')
    with open(m.policy) as file: text = file.read()
    with open(m.policy, 'w') as file: file.write(text.replace('rules: [SetValueKeyOperation]\n', 'rules: [SetValueKeyOperation, SetValueDenied]\n'))
    done = run([REGWARD, 'reload', m.point])
    check('12 new rules', done.returncode == 0, done)
    check('12 a handle opened under the old rules', do(lambda: os.write(handle, b'two\n')) == 'EACCES')
    # The handle is spoiled: its close tells so, and sets nothing more. (The exec of reload has closed a copy of it, and so set `one`.)
    closed = do(lambda: os.close(handle))
    check('12 sets nothing', closed == 'EACCES' and 'two' not in open(late).read(), (closed, open(late).read()))


def row17(m):
    """The daemon as somebody's deputy."""
    command = os.path.join(m.point, '%ctl', 'cmd')
    # As nobody: a setuid program is made to write a line to a handle that nobody has opened.
    script = 'import os,subprocess,sys\nf=os.open(sys.argv[1],os.O_RDWR)\nsubprocess.run(["su","x\\nsave\\tHKLM/SYSTEM\\t%s\\ny"],stdout=f,stderr=f,stdin=subprocess.DEVNULL)' % m.path('deputy.hiv')
    run(['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '/usr/bin/python3', '-c', script, command])
    check('17 a setuid program writes no commands for another', not os.path.exists(m.path('deputy.hiv')))
    nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', REGWARD]
    done = run(nobody + ['rename', m.at('Free'), 'FREE'])
    check('17 who may not mkdir renames nothing', done.returncode == 1 and os.path.isdir(m.at('Free', 'Sibling')) and 'Free' in os.listdir(m.at()), done)
    done = run(nobody + ['add', m.at('L'), '--link', r'\REGISTRY\MACHINE\SYSTEM\Free'])
    check('17 nor links', done.returncode == 1 and not os.path.lexists(m.at('L')), done)


def row13(m):
    """A fallback that configuration cannot switch off."""
    for text in ['version: 1\n', 'version: 1\nhardened: []\nmonitored: []\n', 'version: 1\nhardened:\n  - key: HKLM\\SYSTEM\\Free\n']:
        with open(m.policy, 'w') as file: file.write(text)
        done = run([REGWARD, 'reload', m.point])
        check('13 reload of %r' % text, done.returncode == 0, done)
        m.refused('13 the service is hardened all the same', sh('echo 4 > ' + quoted(m.at('ControlSet001', 'Services', 'WinDefend', 'Start'))), 'hardened')
        m.refused('13 and so is Select', sh('echo 2 > ' + quoted(m.at('Select', 'Current'))), 'hardened')
    for mode in ['off', 'audit']:
        with open(m.policy, 'w') as file: file.write('version: 1\nmode: %s\n' % mode)
        run([REGWARD, 'reload', m.point])
        check('13 the canary in mode ' + mode, do(['mkdir', m.at('ControlSet001', 'Services', 'MpHardCodedBlockHive')]) != 0)


def row14(m):
    """Starve the one who is told."""
    m.unmount()
    with open(m.policy, 'a') as file: file.write('queue: { size: 64 }\n')
    os.unlink(m.log)
    os.mkfifo(m.log)
    reader = os.open(m.log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        try: m.mount()
        except RuntimeError as error:
            check('14 a log that nobody reads is refused or harmless', 'log' in str(error), error)
            return
        start = m.at('ControlSet001', 'Services', 'WinDefend', 'Start')
        begin = time.time()
        outcomes = {do(lambda: os.close(os.open(start, os.O_WRONLY))) for _ in range(3000)}
        spent = time.time() - begin
        check('14 every attempt is refused while nobody reads', outcomes == {'EACCES'}, outcomes)
        status = m.status()
        events, log = status['events'], status['logs'][0]
        check('14 what was lost is counted', events['dropped'] + log['lost'] > 1000, (events, log, spent))
        status = run([REGWARD, 'status', m.point])
        check('14 and shown', ' lost' in status.stdout and ' dropped' in status.stdout, status)
    finally:
        m.unmount()
        os.close(reader)
        os.unlink(m.log)
        m.mount()


def row15(m):
    """Write to the hive's file behind the mount."""
    hive = m.path('system.hiv')
    second = run([REGWARD, 'mount', hive, m.path('trusted')])
    check('15 no second mount', second.returncode != 0, second)
    os.mkdir(m.path('mnt2'))
    second = run([REGWARD, 'mount', hive, m.path('mnt2')])
    check('15 the second is told who has it', second.returncode == 32 and str(m.status()['pid']) in second.stderr, second)
    check('15 what regward makes is for its user alone',
          all(stat.S_IMODE(os.stat(m.path(n)).st_mode) == 0o600 for n in os.listdir(m.folder) if n.startswith('system.hiv')), os.listdir(m.folder))
    do(['mkdir', m.at('Free', 'New')])
    # A name in the file, changed by hand.
    with open(hive, 'r+b') as file:
        data = file.read()
        place = data.index(b'Sibling')
        file.seek(place)
        file.write(b'FORGERY')
    forged = open(hive, 'rb').read()
    flush = run([REGWARD, 'flush', m.at()])
    check('15 the next commit is refused', flush.returncode == 1, flush)
    check('15 and overwrites nothing', open(hive, 'rb').read() == forged)
    check('15 the mount still has its own', os.path.isdir(m.at('Free', 'Sibling')) and os.path.isdir(m.at('Free', 'New')))
    done = run([REGWARD, 'save', m.at(), m.path('rescued.hiv')])
    check('15 which can be saved', done.returncode == 0, done)
    m.unmount()
    check('15 at the end it is saved beside the hive', os.path.exists(hive + '.unsaved') and open(hive, 'rb').read() == forged, os.listdir(m.folder))


def row16(m):
    """Bulk through POSIX."""
    secret, free = m.at('Setup', 'Acme', 'Secret'), m.at('Free', 'Value')
    other = m.path('other')
    with open(other, 'w') as file: file.write('other\n')
    with open(free, 'w') as file: file.write('free\n')
    shutil.copy(other, m.path('Secret'))
    q = quoted(secret)
    commands = {
        'echo >': 'echo x > ' + q, 'echo >>': 'echo x >> ' + q, 'tee -a': 'set -o pipefail; echo x | tee -a %s >/dev/null' % q, 'cp': 'cp %s %s' % (other, q),
        'cp -a': 'cp -a %s %s' % (other, q), 'cp --remove-destination': 'cp --remove-destination %s %s' % (other, q), 'install': 'install %s %s' % (other, q),
        'mv onto': 'mv -f %s %s' % (m.path('Secret'), q), 'mv away': 'mv %s %s' % (q, quoted(m.at('Free', 'Taken'))), 'mv within': 'mv -f %s %s' % (quoted(free), q),
        'dd': 'dd if=%s of=%s conv=notrunc' % (other, q), 'truncate': 'truncate -s 2 ' + q, 'rm': 'rm -f ' + q, 'rm -r of the key': 'rm -rf ' + quoted(m.at('Setup', 'Acme')),
        'sed -i': 'sed -i s/kept/x/ ' + q, 'perl -pi': 'perl -pi -e s/kept/x/ ' + q, 'rsync -a': 'rsync -a %s %s' % (m.path('Secret'), quoted(m.at('Setup', 'Acme') + '/')),
        'rsync --inplace': 'rsync -a --inplace --ignore-times %s %s' % (m.path('Secret'), quoted(m.at('Setup', 'Acme') + '/')),
        'tar x': 'tar -C %s -cf - Secret | tar -C %s -xf -' % (m.folder, quoted(m.at('Setup', 'Acme'))), 'fallocate': 'fallocate -l 100 ' + q,
        'fallocate --punch-hole': 'fallocate -p -o 0 -l 2 ' + q, 'ln': 'ln %s %s' % (q, quoted(m.at('Free', 'Hard'))), 'ln -f onto': 'ln -f %s %s' % (quoted(free), q),
        'setfattr type': 'setfattr -n user.reg.type -v REG_BINARY ' + q, 'setfattr -x': 'setfattr -x user.reg.type ' + q, 'touch of a new value in a guarded key': 'touch ' + quoted(m.at('ControlSet001', 'Control', 'Guarded', 'New')),
        'touch -d of a hardened key': 'touch -d 2001-01-01 ' + quoted(m.at('ControlSet001', 'Services', 'WinDefend')),
    }
    if not shutil.which('rsync'): commands = {n: c for n, c in commands.items() if 'rsync' not in n}
    # What the model has no word for never comes to the filter; the others do.
    unjudged = {'fallocate', 'fallocate --punch-hole', 'ln', 'ln -f onto', 'setfattr -x'}
    for name, command in commands.items():
        rule = None if name in unjudged else 'hardened' if 'guarded' in name or 'hardened' in name else 'acme'
        m.refused('16 ' + name, sh(command), rule)
        if not os.path.exists(m.path('Secret')): shutil.copy(other, m.path('Secret'))
        if not os.path.exists(free):
            with open(free, 'w') as file: file.write('free\n')

    def mapped():
        with open(secret, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE) as memory: memory[0] = 88

    def copy_range():
        with open(other, 'rb') as source:
            target = os.open(secret, os.O_WRONLY)
            try: os.copy_file_range(source.fileno(), target, 5)
            finally: os.close(target)

    def exchange():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.renameat2(-100, free.encode(), -100, secret.encode(), 2) != 0: raise OSError(ctypes.get_errno(), 'renameat2')

    def sized():
        os.truncate(secret, 0)
    m.refused('16 mmap', mapped, None)
    m.refused('16 copy_file_range', copy_range, 'acme')
    m.refused('16 rename-exchange', exchange, None)
    m.refused('16 truncate(2)', sized, 'acme')
    m.refused('16 O_TRUNC for reading', lambda: os.close(os.open(secret, os.O_RDONLY | os.O_TRUNC)), 'acme')


def faithful():
    """With `subtree: faithful` rows 1 to 3 behave as the driver does: the names themselves, and nothing above them."""
    if ONLY and 'faithful' not in ONLY: return
    with Mount(subtree='faithful') as m:
        m.refused('faithful: the key itself', ['mv', m.at('ControlSet001', 'Services', 'WinDefend'), m.at('ControlSet001', 'Services', 'x')], 'hardened')
        m.refused('faithful: restore over the key itself', [REGWARD, 'restore', m.at('Setup', 'Acme'), m.path('edge-names.hiv')], 'acme')
        m.allowed('faithful 1: mv of an ancestor', ['mv', m.at('ControlSet002', 'Services'), m.at('ControlSet002', 'Elsewhere')])
        m.allowed('faithful 1: back', ['mv', m.at('ControlSet002', 'Elsewhere'), m.at('ControlSet002', 'Services')])
        m.allowed('faithful 2: restore over an ancestor', [REGWARD, 'restore', m.at('ControlSet002'), m.path('edge-names.hiv')])
        m.allowed('faithful 3: replace', [REGWARD, 'replace', m.at('Free'), m.path('edge-names.hiv'), m.path('old.hiv')])


def main():
    for row in [row1, row2, row3, row4, row5, row6, row7, row8, row9, row10, row11, row12, row13, row14, row15, row16, row17]:
        if ONLY and row.__name__[3:] not in ONLY: continue
        try:
            with Mount() as m:
                wrong = m.is_intact()
                if wrong: raise RuntimeError('the samples are not as expected: %s' % wrong)
                row(m)
        except Exception as error:  # a row that dies has failed, and the others go on
            check('%s runs to its end' % row.__name__, False, repr(error))
    try: faithful()
    except Exception as error: check('faithful runs to its end', False, repr(error))
    verdict.close()


main()
