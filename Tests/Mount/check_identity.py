#!/usr/bin/env python3
"""check_identity.py BIN-DIRECTORY [--only NAME,…] [--guards connector,executable] [--forks N]

Tries to borrow an exemption in every way that is known, through a real mount and with real programs, once with the process
connector and once without CAP_NET_ADMIN: each attempt must be refused, leave the hive as it was, and stand in the log and in
`regward why` with the reason; and each time the exempt program itself must be let through. Then a storm of forks and execs (20,000
unless told otherwise) beside writers that know what must happen to them. BIN-DIRECTORY holds regward and make-hive-samples. Needs root
and cc.

Prints PASS or FAIL and a name for each check and closes with `N passed, M failed`; exits with 1 when anything failed.
Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import contextlib, ctypes, errno, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time

import verdict
from verdict import check

import event_schema

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'identity')


def option(name, default): return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


ONLY = set(option('--only', '').split(',')) - {''}
GUARDS = option('--guards', 'connector,executable').split(',')
# None leaves the storm out.
FORKS = int(option('--forks', '20000'))
# Two users that nobody is; USER may by an executable and its uid, ANYWAY by its uid alone.
USER, ANYWAY = 64711, 64712
libc = ctypes.CDLL(None, use_errno=True)
ATTACH, DETACH, CONTINUE, SEIZE, INTERRUPT = 16, 17, 7, 0x4206, 0x4207

POLICY = r'''version: 1
hardened:
  - key: HKLM\SYSTEM\Setup\Guarded
processes:
  - id: users
    when: { exe: %(folder)s/bin/exempt, uid: %(user)d }
    flags: [Friendly]
  - id: roots
    when: { exe: %(folder)s/bin/exempt }
    flags: [Friendly]
  - id: anyway
    when: { uid: %(anyway)d }
    flags: [Friendly]
  - id: folder
    when: { exe: "%(folder)s/deep/**", uid: 0 }
    flags: [Friendly]
  - id: service
    when: { script: %(folder)s/bin/service.sh, uid: 0 }
    flags: [Friendly]
  - id: waiting
    when: { script: %(folder)s/bin/waiting.sh, uid: 0 }
    flags: [Friendly]
  - id: loose
    when: { script: %(folder)s/bin/loose.sh, uid: 0 }
    flags: [Friendly]
  - id: open
    when: { script: %(folder)s/open/service.sh, uid: 0 }
    flags: [Friendly]
  - id: named
    when: { name: trusted, exe: %(folder)s/bin/exempt, uid: 0 }
    flags: [Friendly]
'''
SCRIPT = '#!/bin/sh\nprintf "%s\\n" "$2" > "$1"\n'


def run(command, **options): return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def name_of(number): return errno.errorcode.get(number, number)


class Actor:
    """A copy of the program, told what to do a line at a time; gone at the end of the `with`."""

    def __init__(self, program, *before, **options):
        self.process = subprocess.Popen([*before, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **options)
        self.pid = self.process.pid

    def __enter__(self): return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError): self.process.kill()
        with contextlib.suppress(OSError): self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def tell(self, *words): self.process.stdin.write('\t'.join(words) + '\n')

    def ask(self, *words):
        """The errno."""
        self.tell(*words)
        line = self.process.stdout.readline()
        return int(line) if line else 'ended'


class Mount:
    """A mount of fresh samples in the foreground; everything is gone at the end of the `with`."""

    def __init__(self, guards):
        self.guards = guards
        self.folder = tempfile.mkdtemp(prefix='regward-identity-')
        os.chmod(self.folder, 0o755)
        for name, mode in [('bin', 0o755), ('deep', 0o755), ('open', 0o777), ('mnt', 0o755)]:
            os.mkdir(self.path(name))
            os.chmod(self.path(name), mode)
        self.exempt, self.plain = self.path('bin', 'exempt'), self.path('bin', 'plain')
        subprocess.run(['cc', '-O1', '-Wno-unused-result', '-o', self.exempt, SOURCES + '/actor.c', '-lpthread'], check=True)
        shutil.copy(self.exempt, self.plain)
        for name, mode in [('bin/service.sh', 0o755), ('bin/other.sh', 0o755), ('bin/loose.sh', 0o757), ('open/service.sh', 0o755)]:
            with open(self.path(name), 'w') as file: file.write(SCRIPT)
            os.chmod(self.path(name), mode)
        subprocess.run([os.path.join(BIN, 'make-hive-samples'), self.folder], check=True, capture_output=True)
        os.chmod(self.path('system.hiv'), 0o600)
        with open(self.path('policy.yaml'), 'w') as file:
            file.write(POLICY % {'folder': self.folder, 'user': USER, 'anyway': ANYWAY})
        os.chmod(self.path('policy.yaml'), 0o600)
        self.point, self.log = self.path('mnt'), self.path('events.json')
        self.position = self.count = 0
        self.mount()

    def __enter__(self): return self

    def __exit__(self, *_):
        try: self.unmount()
        finally: shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts): return os.path.join(self.folder, *parts)

    @property
    def value(self): return os.path.join(self.point, 'Setup', 'Guarded', 'Value')

    @property
    def own(self): return os.path.join(self.point, 'Setup', 'Guarded', 'Own')

    def mount(self):
        # Newer kernels (seen on 6.18) let everybody listen, but only in the initial network namespace.
        privileges = [] if self.guards == 'connector' else ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin', 'unshare', '--net']
        options = r'allow_other,umask=0,at=HKLM\SYSTEM,policy=%s,log=%s' % (self.path('policy.yaml'), self.log)
        self.daemon = subprocess.Popen(
            [*privileges, REGWARD, 'mount', '-f', '-o', options, self.path('system.hiv'), self.point], stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.daemon.stderr:
            self.said.append(line)
            if 'callers are known by' in line: break
        else: raise RuntimeError('mount: ' + ''.join(self.said))
        threading.Thread(target=lambda: self.said.extend(self.daemon.stderr), daemon=True).start()
        # Made by the exempt program: nobody else may.
        shutil.copy('/bin/mkdir', self.path('deep', 'mkdir'))
        run([self.path('deep', 'mkdir'), '-p', os.path.dirname(self.value)], check=True)
        for path in [self.value, self.own]:
            shutil.copy('/bin/touch', self.path('deep', 'touch'))
            run([self.path('deep', 'touch'), path], check=True)
            run([self.exempt, 'write', path, 'kept'], check=True)

    def unmount(self):
        if os.path.ismount(self.point): run([REGWARD, 'umount', self.point])
        self.daemon.wait(timeout=30)
        event_schema.hold(self.log)

    def status(self):
        with open(self.point + '/%ctl/status') as file: return json.load(file)

    def read(self, path):
        with open(path) as file: return file.read().rstrip('\n')

    def events(self):
        """Those since the last call, complete lines only."""
        if not os.path.exists(self.log): return []
        with open(self.log) as file:
            file.seek(self.position)
            lines = file.read()
        lines = lines[:lines.rfind('\n') + 1]
        self.position += len(lines.encode())
        return [json.loads(line) for line in lines.splitlines()]

    def refused(self, name, attempt, reason, error=errno.EACCES):
        """`attempt` gives an errno, or is the words of a command; `reason`: nil where the attempt never comes to the filter."""
        name = '%s: %s' % (self.guards, name)
        self.events()
        try: outcome = attempt() if callable(attempt) else run(attempt).returncode
        except Exception as problem: outcome = repr(problem)
        # A shell tells failure by other numbers.
        check(name + ' is refused', outcome in (error if isinstance(error, tuple) else (error,)), name_of(outcome))
        check(name + ': the hive is as before', self.read(self.value) == 'kept', self.read(self.value))
        if reason is not None:
            deadline, seen = time.time() + 5, []
            while time.time() < deadline:
                seen += self.events()
                if any(self.is_about(event, reason) for event in seen): break
                time.sleep(0.005)
            check(name + ': the event has the reason', any(self.is_about(event, reason) for event in seen),
                  [(e['event']['action'], e['regward'].get('exemption')) for e in seen])
            why = self.ask_why()
            check(name + ': so has regward why', reason in why, why)
        self.allowed(name)

    def is_about(self, event, reason):
        return 'denied' in event['event']['type'] and event['rule']['id'].startswith('hardened') and reason in event['regward'].get('exemption', '')

    def ask_why(self):
        """What `regward why` asks; the command itself is tried elsewhere, and would take its time here."""
        handle = os.open(self.point + '/%ctl/cmd', os.O_RDWR)
        try:
            os.write(handle, b'why\tSetup/Guarded/Value\n')
            return os.pread(handle, 65536, 0).decode()
        finally: os.close(handle)

    def allowed(self, name, attempt=None):
        """The exempt program, or `attempt`, writes its own value."""
        self.count += 1
        text = str(self.count)
        outcome = attempt(text) if attempt else run([self.exempt, 'write', self.own, text]).returncode
        check(name + (': is let through' if attempt else ': the exempt program is let through'),
              outcome == 0 and self.read(self.own) == text, (name_of(outcome), self.read(self.own), self.ask_why()))


def as_user(uid, *command): return ['setpriv', '--reuid', str(uid), '--regid', str(uid), '--clear-groups', *command]


NONE = 'no process entry of the policy matches'
LOADER = 'LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH'


# ---------------------------------------------------------------- the attacks of identity.md

def controls(m):
    """Who is exempt, and who is not."""
    m.refused('another program', [m.plain, 'write', m.value, 'x'], NONE)
    m.refused("another user's exempt program", as_user(ANYWAY + 1, m.exempt, 'write', m.value, 'x'), 'runs as uid %d' % (ANYWAY + 1))
    for who, command in [('its user', as_user(USER, m.exempt)), ('who is by his uid', as_user(ANYWAY, m.plain))]:
        m.allowed('%s: %s' % (m.guards, who), lambda text: run([*command, 'write', m.own, text]).returncode)
    m.allowed(m.guards + ': the script', lambda text: run(['/bin/sh', m.path('bin', 'service.sh'), m.own, text]).returncode)


def exec_keeps_descriptor(m):
    with Actor(m.exempt) as actor:
        m.allowed(m.guards + ': the same process before', lambda text: actor.ask('write', m.own, text))
        actor.ask('open', m.value)
        actor.tell('exec', m.plain)
        m.refused('exec under the same pid with a kept descriptor', lambda: actor.ask('put', 'x'), NONE)
    with Actor(m.exempt) as actor:
        actor.ask('open', m.value)
        for _ in range(20):
            actor.tell('exec', m.plain)
            actor.tell('exec', m.exempt)
        actor.tell('exec', m.plain)
        m.refused('exec back and forth', lambda: actor.ask('put', 'x'), NONE)
    with Actor(m.exempt) as actor:
        # As many images as before, the last one exempt.
        for _ in range(20):
            actor.tell('exec', m.plain)
            actor.tell('exec', m.exempt)
        m.allowed(m.guards + ': exec back and forth, and exempt again', lambda text: actor.ask('write', m.own, text))


def passed_descriptor(m):
    ours, theirs = socket.socketpair()
    for end in (ours, theirs): os.set_inheritable(end.fileno(), True)
    def at_eight(end): return lambda: os.dup2(end.fileno(), 8)
    with ours, theirs, Actor(m.exempt, preexec_fn=at_eight(ours), close_fds=False) as sender, \
            Actor(m.plain, preexec_fn=at_eight(theirs), close_fds=False) as receiver:
        sent = [sender.ask('open', m.value), sender.ask('send'), receiver.ask('receive')]
        check(m.guards + ': a descriptor is passed', sent == [0, 0, 0], sent)
        m.refused('descriptor passing (SCM_RIGHTS)', lambda: receiver.ask('put', 'x'), NONE)


def mapped(m):
    with Actor(m.exempt) as actor:
        actor.ask('open', m.value)
        actor.tell('exec', m.plain)
        # What would be written back without a name cannot be mapped at all.
        m.refused('mmap then write-back', lambda: actor.ask('map', 'x'), None, error=errno.ENODEV)


def other_pid_namespace(m):
    m.refused('a caller in a pid namespace of its own', ['unshare', '--pid', '--fork', m.plain, 'write', m.value, 'x'], NONE)
    with Actor(m.exempt) as actor:
        # The number that an exempt process has outside is given away inside.
        command = ['unshare', '--pid', '--fork', '--mount-proc', 'sh', '-c', 'echo %d > /proc/sys/kernel/ns_last_pid; "$@"; exit $?' % (actor.pid - 1), 'sh']
        m.refused('with the number of an exempt process', [*command, m.plain, 'write', m.value, 'x'], NONE)
    m.allowed(m.guards + ': the exempt program in a pid namespace of its own', lambda text: run(['unshare', '--pid', '--fork', m.exempt, 'write', m.own, text]).returncode)


def unknown(m):
    """A daemon in a pid namespace of its own sees no pid of callers outside."""
    folder = m.path('inner')
    os.makedirs(folder + '/mnt')
    shutil.copy(m.path('edge-values.hiv') if os.path.exists(m.path('edge-values.hiv')) else m.path('software.hiv'), folder + '/inner.hiv')
    os.chmod(folder + '/inner.hiv', 0o600)
    daemon = subprocess.Popen(
        ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', REGWARD, 'mount', '-f', '-o', r'at=HKLM\SYSTEM\Setup\Guarded,policy=' + m.path('policy.yaml'),
         folder + '/inner.hiv', folder + '/mnt'], stderr=subprocess.PIPE, text=True)
    try:
        said = ''
        for line in daemon.stderr:
            said += line
            if 'callers are known by' in line: break
        check(m.guards + ': a connector of another pid namespace is not believed', 'executable alone' in said, said)
        child = run(['pgrep', '-P', str(daemon.pid)]).stdout.split()[0]
        done = run(['nsenter', '-t', child, '-m', m.path('deep', 'mkdir'), folder + '/mnt/New'])
        check(m.guards + ': a caller outside the pid namespace is refused', done.returncode != 0 and 'denied' in done.stderr, done)
        os.kill(int(child), signal.SIGTERM)
    finally:
        daemon.wait(timeout=20)
        daemon.stderr.close()


def spoofed_name(m):
    m.refused('comm spoof (prctl)', [m.plain, 'name', 'trusted', '+', 'write', m.value, 'x'], NONE)
    m.refused('comm of the exempt program', [m.plain, 'name', 'exempt', '+', 'write', m.value, 'x'], NONE)
    m.refused('argv[0] of the exempt program', lambda: subprocess.run([m.exempt, 'write', m.value, 'x'], executable=m.plain).returncode, NONE)


def memory_and_deleted(m):
    with Actor(m.exempt) as actor:
        actor.tell('memory')
        m.refused('a memfd of the exempt program', lambda: actor.ask('write', m.value, 'x'), NONE)
    with Actor(m.plain, *as_user(ANYWAY)) as actor:
        m.allowed(m.guards + ': before it is a memfd', lambda text: actor.ask('write', m.own, text))
        actor.tell('memory')
        m.refused('a memfd of who may by uid', lambda: actor.ask('write', m.value, 'x'), 'memfd')
    gone = m.path('deep', 'gone')
    shutil.copy(m.exempt, gone)
    with Actor(gone) as actor:
        m.allowed(m.guards + ': before it is deleted', lambda text: actor.ask('write', m.own, text))
        actor.ask('unlink', gone)
        m.refused('a deleted executable', lambda: actor.ask('write', m.value, 'x'), 'is deleted')
    own = m.path('open', 'own')
    shutil.copy(m.plain, own)
    os.chown(own, ANYWAY, ANYWAY)
    m.refused('an executable that its user can change', as_user(ANYWAY, own, 'write', m.value, 'x'), 'changed by its own user')
    os.unlink(own)


def copied(m):
    copy, link, mounted = m.path('bin', 'copy'), m.path('bin', 'link'), m.path('bin', 'mounted')
    shutil.copy(m.exempt, copy)
    m.refused('a copy of the exempt program', [copy, 'write', m.value, 'x'], NONE)
    os.link(m.exempt, link)
    m.refused('a hard link to it', [link, 'write', m.value, 'x'], NONE)
    os.unlink(link)
    os.symlink(m.plain, link)
    m.refused('a symbolic link', [link, 'write', m.value, 'x'], NONE)
    shutil.copy(m.plain, mounted)
    mounts = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$1" "$2" && shift 2 && "$@"', 'sh']
    m.refused('a bind mount of it', [*mounts, m.exempt, mounted, mounted, 'write', m.value, 'x'], NONE)
    m.refused('a bind mount onto it', [*mounts, m.plain, m.exempt, m.exempt, 'write', m.value, 'x'], 'another file than the one that has this path')
    # The same with a root directory of one's own.
    root = m.path('root')
    for name in ('bin', 'lib', 'lib64', 'usr', 'mnt', m.point[1:], os.path.dirname(m.exempt)[1:]): os.makedirs(os.path.join(root, name), exist_ok=True)
    m.refused('another program at its path in a root of its own',
              ['unshare', '--mount', 'sh', '-c',
               'for d in bin lib lib64 usr; do mount --rbind /$d $1/$d; done; mount --bind $2 $1$2; cp $3 $1$4; exec chroot $1 $4 write $5 x',
               'sh', root, m.point, m.plain, m.exempt, m.value], NONE)
    # Replaced while the mount knows it: another file under the same path, and the old one back.
    aside = m.path('bin', 'aside')
    with Actor(m.exempt) as actor:
        m.allowed(m.guards + ': before its file is replaced', lambda text: actor.ask('write', m.own, text))
        os.rename(m.exempt, aside)
        shutil.copy(m.plain, m.exempt)
        outcome = actor.ask('write', m.value, 'x')
        check(m.guards + ': the exempt program whose file is another one now is refused', outcome == errno.EACCES, (name_of(outcome), m.ask_why()))
        os.rename(aside, m.exempt)
        m.allowed(m.guards + ': and let through when it is back', lambda text: actor.ask('write', m.own, text))


def loader(m):
    for variable, value in [('LD_PRELOAD', 'libm.so.6'), ('LD_AUDIT', ''), ('LD_LIBRARY_PATH', '/nowhere')]:
        for uid in (0, USER):
            m.refused('%s of uid %d' % (variable, uid),
                      as_user(uid, 'env', '%s=%s' % (variable, value), m.exempt, 'write', m.value, 'x'), LOADER)
    with Actor(m.exempt, 'env', 'LD_PRELOAD=libm.so.6') as actor:
        m.refused('LD_PRELOAD of a process that lives on', lambda: actor.ask('write', m.value, 'x'), LOADER)
        actor.ask('wipe')
        m.refused('LD_PRELOAD of a process that has wiped its environment since', lambda: actor.ask('write', m.value, 'x'), LOADER)
        if m.guards == 'connector':
            with Actor(m.exempt, 'env', 'LD_PRELOAD=libm.so.6') as parent:
                parent.ask('write', m.value, 'x')
                parent.ask('wipe')
                parent.tell('fork')
                m.refused('LD_PRELOAD of what it forks', lambda: parent.ask('write', m.value, 'x'), LOADER)
        actor.tell('exec', '/usr/bin/env', '-u', 'LD_PRELOAD', m.exempt)
        if m.guards == 'connector': m.allowed(m.guards + ': and after an exec without it', lambda text: actor.ask('write', m.own, text))
        # The same words: nothing tells this exec from a process that has wiped its environment.
        else: m.refused('LD_PRELOAD before an exec with the same words', lambda: actor.ask('write', m.value, 'x'), LOADER)


def traced(m):
    def trace(request, pid, data=0):
        if libc.ptrace(request, pid, 0, ctypes.c_void_p(data)) != 0: raise OSError(ctypes.get_errno(), 'ptrace %d' % request)
    def wait(pid): os.waitpid(pid, 0x40000000)
    reason = 'being traced'
    for name in ('attach', 'seize'):
        for before in (True, False):
            with Actor(m.exempt) as actor:
                # Its answer tells that it has left execve, where a tracer would stop it once more.
                actor.ask('name', 'exempt')
                if before: m.allowed(m.guards + ': before the tracer comes', lambda text: actor.ask('write', m.own, text))
                if name == 'attach':
                    trace(ATTACH, actor.pid)
                    wait(actor.pid)
                    trace(CONTINUE, actor.pid)
                else: trace(SEIZE, actor.pid)
                when = 'known before' if before else 'not known before'
                m.refused('ptrace (%s, %s)' % (name, when), lambda: actor.ask('write', m.value, 'x'), reason)
                if name == 'attach': os.kill(actor.pid, signal.SIGSTOP)
                else: trace(INTERRUPT, actor.pid)
                wait(actor.pid)
                trace(DETACH, actor.pid)
                m.allowed('%s: after the tracer (%s, %s) has left' % (m.guards, name, when), lambda text: actor.ask('write', m.own, text))
    with Actor(m.plain) as actor:
        actor.ask('traceme')
        actor.tell('exec', m.exempt)
        wait(actor.pid)
        trace(CONTINUE, actor.pid)
        m.refused('ptrace (traceme)', lambda: actor.ask('write', m.value, 'x'), reason)
        actor.process.kill()
        wait(actor.pid)


def user_namespace(m):
    reason = 'another user namespace'
    for uid in (0, USER, ANYWAY):
        m.refused('the exempt program of uid %d in a user namespace' % uid, as_user(uid, 'unshare', '--user', m.exempt, 'write', m.value, 'x'), reason)
    for uid in (0, USER):
        with Actor(m.plain, *as_user(uid)) as actor:
            forged = actor.ask('forge', m.exempt)
            check('%s: uid %d forges its executable' % (m.guards, uid), forged == 0 and os.readlink('/proc/%d/exe' % actor.pid) == m.exempt,
                  (name_of(forged), os.readlink('/proc/%d/exe' % actor.pid)))
            m.refused('forged exe in a user namespace, uid %d' % uid, lambda: actor.ask('write', m.value, 'x'), reason)


def scripts(m):
    failure = (1, 2)
    m.refused('another script', ['/bin/sh', m.path('bin', 'other.sh'), m.value, 'x'], NONE, failure)
    m.refused('sh -c', ['/bin/sh', '-c', 'echo x > "$0"', m.value], NONE, failure)
    m.refused('sh -c with the path of the script', ['/bin/sh', '-c', 'echo x > "$1"', m.path('bin', 'service.sh'), m.value], NONE, failure)
    m.refused('bash -c', ['/bin/bash', '-c', 'echo x > "$0"', m.value], NONE, failure)
    m.refused('standard input', lambda: subprocess.run(['/bin/sh'], input='echo x > ' + m.value, text=True, stderr=subprocess.DEVNULL).returncode, NONE, failure)
    m.refused('a script that others can write', ['/bin/sh', m.path('bin', 'loose.sh'), m.value, 'x'], NONE, failure)
    m.refused('a script in a folder that others can write', ['/bin/sh', m.path('open', 'service.sh'), m.value, 'x'], NONE, failure)
    m.refused('another script at its path in another mount namespace',
              ['unshare', '--mount', 'sh', '-c', 'mount --bind "$1" "$2" && exec /bin/sh "$2" "$3" x', 'sh', m.path('bin', 'other.sh'), m.path('bin', 'service.sh'), m.value], NONE, failure)
    # One interpreter, one pid, another script: the file of the executable is the same.
    with open(m.path('bin', 'waiting.sh'), 'w') as file: file.write('exec 9<> "$1"; read -r line; printf "%s" "$line" >&9; exec /bin/sh "$2" "$1"')
    with open(m.path('bin', 'next.sh'), 'w') as file: file.write('printf x >&9')
    shell = subprocess.Popen(['/bin/sh', m.path('bin', 'waiting.sh'), m.value, m.path('bin', 'next.sh')], stdin=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    m.refused('another script of the same interpreter, with a kept descriptor', lambda: (shell.communicate('kept\n'), shell.returncode)[1], NONE, failure)
    m.allowed(m.guards + ': the script', lambda text: run(['/bin/sh', m.path('bin', 'service.sh'), m.own, text]).returncode)


def setuid_helper(m):
    helper = m.path('bin', 'helper')
    shutil.copy(m.plain, helper)
    os.chmod(helper, 0o4755)
    m.refused('setuid helper', as_user(USER, helper, 'write', m.value, 'x'), NONE)
    with Actor(m.exempt, *as_user(USER)) as actor:
        actor.ask('open', m.value)
        actor.tell('exec', helper)
        m.refused('setuid helper with the descriptor of an exempt process', lambda: actor.ask('put', 'x'), NONE)
    with Actor(m.exempt) as actor:
        m.allowed(m.guards + ': before it gives up its uid', lambda text: actor.ask('write', m.own, text))
        actor.ask('user', str(ANYWAY + 1))
        m.refused('the exempt program that has given up its uid', lambda: actor.ask('write', m.value, 'x'), 'runs as uid %d' % (ANYWAY + 1))


def reused_pid(m):
    for _ in range(40):
        with Actor(m.exempt) as actor:
            m.allowed(m.guards + ': who has the number first', lambda text: actor.ask('write', m.own, text))
            number = actor.pid
        with open('/proc/sys/kernel/ns_last_pid', 'w') as file: file.write(str(number - 1))
        with Actor(m.plain) as actor:
            # Somebody else's process may have come between.
            if actor.pid != number: continue
            m.refused('pid reuse after wrap', lambda: actor.ask('write', m.value, 'x'), NONE)
        with open('/proc/sys/kernel/ns_last_pid', 'w') as file: file.write(str(number - 1))
        with Actor(m.exempt) as actor:
            m.allowed(m.guards + ': who has the number last', lambda text: actor.ask('write', m.own, text))
        return
    check(m.guards + ': a number is given again', False, 'it went to others 40 times')


def threads(m):
    for word, name in [('thread', 'a thread that is not the leader'), ('leave', 'a thread whose leader is gone')]:
        for known in (False, True):
            when = ', known before' if known else ''
            with Actor(m.exempt) as actor:
                if known: actor.ask('write', m.own, 'x')
                actor.tell(word)
                m.allowed('%s: %s of the exempt program%s' % (m.guards, name, when), lambda text: actor.ask('write', m.own, text))
            with Actor(m.plain) as actor:
                if known: actor.ask('write', m.value, 'x')
                actor.tell(word)
                m.refused(name + when, lambda: actor.ask('write', m.value, 'x'), NONE)
            # The thread executes: it becomes the leader, under the leader's number.
            with Actor(m.exempt) as actor:
                if known: actor.ask('write', m.own, 'x')
                actor.ask('open', m.value)
                actor.tell(word)
                if known: actor.ask('write', m.own, 'x')
                actor.tell('exec', m.plain)
                m.refused('%s executes%s' % (name, when), lambda: actor.ask('put', 'x'), NONE)


def exiting(m):
    def leave(text): return run([m.exempt, 'open', m.own, '+', 'exit', text]).returncode
    if m.guards == 'connector': m.allowed(m.guards + ': what the exempt program leaves to its exit', leave)
    else:
        # There is no image to ask about, and nobody has told that it was not replaced.
        before = m.read(m.own)
        check(m.guards + ': what the exempt program leaves to its exit is refused', leave('lost') == 0 and m.read(m.own) == before, m.read(m.own))
    with Actor(m.exempt) as actor:
        actor.ask('open', m.value)
        actor.tell('exec', m.plain)
        m.refused('what another program leaves to its exit', lambda: (actor.tell('exit', 'x'), actor.process.wait())[1], NONE, 0)
    # Requests of processes that are killed in the middle of them.
    def hammer():
        for _ in range(25):
            with Actor(m.plain) as actor, Actor(m.exempt) as other:
                actor.tell('hammer', m.value, 'x')
                other.tell('hammer', m.own, 'mine')
                time.sleep(0.004)
        return errno.EACCES
    m.refused('request during exit', hammer, NONE)


# ---------------------------------------------------------------- the storm

class Writer(threading.Thread):
    """Does operations whose outcome it knows, until told to stop."""

    def __init__(self, name, mount, turn):
        super().__init__(daemon=True)
        self.title, self.mount, self.turn = name, mount, turn
        self.done, self.wrong, self.ending = 0, [], threading.Event()
        self.path = mount.own + name

    def run(self):
        try:
            for expected, outcome in self.turn(self):
                self.done += 1
                if outcome != expected: self.wrong.append((self.done, name_of(expected), name_of(outcome), self.mount.ask_why()))
                if self.ending.is_set(): return
        except Exception as problem:  # a writer that dies was wrong
            self.wrong.append(repr(problem))


def always(program, expected):
    def turn(writer):
        with Actor(program) as actor:
            while True: yield expected, actor.ask('write', writer.path, 'text')
    return turn


def changing(writer):
    """One process, exempt and not by turns."""
    m = writer.mount
    with Actor(m.exempt) as actor:
        while True:
            yield 0, actor.ask('write', writer.path, 'text')
            actor.tell('exec', m.plain)
            yield errno.EACCES, actor.ask('write', writer.path, 'text')
            actor.tell('exec', m.exempt)


def keeping(writer):
    """The descriptor of an exempt program, in the hands of another."""
    m = writer.mount
    while True:
        with Actor(m.exempt) as actor:
            yield 0, actor.ask('open', writer.path)
            yield 0, actor.ask('put', 'text')
            actor.tell('exec', m.plain)
            yield errno.EACCES, actor.ask('put', 'text')


def running(writer):
    """Processes that ask once, and one interpreter for two scripts."""
    m = writer.mount
    while True:
        yield 0, run(['/bin/sh', m.path('bin', 'service.sh'), writer.path, 'text']).returncode
        yield 2, run(['/bin/sh', m.path('bin', 'other.sh'), writer.path, 'text']).returncode
        yield errno.EACCES, run([m.plain, 'write', writer.path, 'text']).returncode
        yield 0, run([m.exempt, 'write', writer.path, 'text']).returncode


def footprint(m):
    with open('/proc/%d/status' % m.daemon.pid) as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith('VmRSS'))
    return resident, len(os.listdir('/proc/%d/fd' % m.daemon.pid))


def forks(m, count):
    """Four at a time; forks and execs a second."""
    begin = time.time()
    children = [subprocess.Popen([m.plain, 'storm', str(count // 4)]) for _ in range(4)]
    status = [child.wait() for child in children]
    check(m.guards + ': %d forks and execs' % count, status == [0] * 4, status)
    return count / (time.time() - begin)


def overflow(m, count):
    """While the daemon is stopped the kernel finds no more room for events, and these execs are among the lost."""
    with open(m.path('bin', 'waiting.sh'), 'w') as file: file.write('exec 9<> "$1"; echo ready; read -r line; exec /bin/sh "$2" "$1"')
    with open(m.path('bin', 'next.sh'), 'w') as file: file.write('printf x >&9')
    with Actor(m.exempt) as falling, Actor(m.plain) as rising, Actor(m.exempt) as staying:
        m.allowed(m.guards + ': before the overflow', lambda text: falling.ask('write', m.own, text))
        falling.ask('open', m.value)
        check(m.guards + ': before the overflow another program is refused', rising.ask('write', m.own, 'x') == errno.EACCES)
        staying.ask('write', m.own, 'x')
        shell = subprocess.Popen(['/bin/sh', m.path('bin', 'waiting.sh'), m.value, m.path('bin', 'next.sh')], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True)
        check(m.guards + ': the script opens', shell.stdout.readline() == 'ready\n')
        losses = m.status()['callers']['losses']
        os.kill(m.daemon.pid, signal.SIGSTOP)
        try:
            forks(m, count)
            falling.tell('exec', m.plain)
            rising.tell('exec', m.exempt)
            shell.stdin.write('go\n')
            shell.stdin.flush()
            # The forks go on until these have executed.
            forks(m, 400)
        finally: os.kill(m.daemon.pid, signal.SIGCONT)
        m.refused('an exec that nobody has told', lambda: falling.ask('put', 'x'), NONE)
        shell.communicate()
        check(m.guards + ': another script that nobody has told is refused', shell.returncode == 1 and m.read(m.value) == 'kept', (shell.returncode, m.read(m.value)))
        for actor, name in [(rising, 'who has become exempt'), (staying, 'who has stayed so')]:
            m.allowed('%s: after the overflow, %s' % (m.guards, name), lambda text: actor.ask('write', m.own, text))
        after = m.status()['callers']['losses']
        check(m.guards + ': the overflow is counted', after > losses, (losses, after))
        done = run([REGWARD, 'status', m.point])
        check(m.guards + ': and shown', '%d loss' % after in done.stdout or after < m.status()['callers']['losses'], done.stdout)


def storm(m):
    turns = {'a': always(m.exempt, 0), 'b': always(m.exempt, 0), 'c': always(m.plain, errno.EACCES), 'd': always(m.plain, errno.EACCES),
             'e': changing, 'f': changing, 'g': keeping, 'h': running}
    for name in turns:
        run([m.path('deep', 'touch'), m.own + name], check=True)
        run([m.exempt, 'write', m.own + name, 'kept'], check=True)
    writers = [Writer(name, m, turn) for name, turn in turns.items()]
    for writer in writers: writer.start()
    # What grows with the first callers has grown.
    forks(m, 1000)
    before = footprint(m)
    rate = forks(m, FORKS)
    if m.guards == 'connector': overflow(m, max(FORKS // 2, 8000))
    forks(m, 1000)
    for writer in writers: writer.ending.set()
    for writer in writers: writer.join(timeout=30)
    for writer in writers:
        check('%s: writer %s: %d operations, none decided wrongly' % (m.guards, writer.title, writer.done),
              not writer.is_alive() and not writer.wrong and writer.done > 20, writer.wrong[:3])
    after = footprint(m)
    check('%s: memory is flat: %d kB before, %d after' % (m.guards, before[0], after[0]), after[0] - before[0] < 16384, (before, after))
    if m.guards == 'connector': check('%s: descriptors are flat: %d before, %d after' % (m.guards, before[1], after[1]), after[1] - before[1] < 64, (before, after))
    else:
        # Nobody tells who has ended: their descriptors stay until their places are needed, half of what the daemon may have.
        limit = int(next(line.split()[3] for line in open('/proc/%d/limits' % m.daemon.pid) if line.startswith('Max open files')))
        check('%s: descriptors stay below half of %d: %d' % (m.guards, limit, after[1]), after[1] < min(limit // 2, 4096) + 64, (before, after))
    print('     %s: %.0f forks and execs a second, %d operations beside them; %s' % (
        m.guards, rate, sum(writer.done for writer in writers), m.status()['callers']), flush=True)

ATTACKS = [controls, exec_keeps_descriptor, passed_descriptor, mapped, other_pid_namespace, unknown, spoofed_name, memory_and_deleted, copied, loader,
           traced, user_namespace, scripts, setuid_helper, reused_pid, threads, exiting, storm]


def guards(m):
    words = {'connector': 'process connector and executable', 'executable': 'executable alone; no process connector: it tells nothing here'}[m.guards]
    check(m.guards + ': said at mount', any(words in line for line in m.said), m.said)
    check(m.guards + ': said in the status', m.status()['guards'].startswith(words), m.status()['guards'])
    done = run([REGWARD, 'status', m.point])
    check(m.guards + ': said by regward status', words in done.stdout, done)


def main():
    for kind in GUARDS:
        with Mount(kind) as m:
            guards(m)
            for attack in ATTACKS:
                if ONLY and attack.__name__ not in ONLY or attack is storm and FORKS == 0: continue
                begin = time.time()
                try: attack(m)
                except Exception as error:  # one that dies has failed, and the others go on
                    check('%s: %s runs to its end' % (kind, attack.__name__), False, repr(error))
                if '--times' in sys.argv: print('     %s: %.1f s' % (attack.__name__, time.time() - begin), flush=True)
            check(kind + ': the daemon lives', m.daemon.poll() is None)
    verdict.close()


main()
