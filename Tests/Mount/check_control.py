#!/usr/bin/env python3
"""check_control.py BINARY [--only NAME,…]

Drives real mounts of sample hives through their control socket and signals: live update of the rules, handles opened earlier,
hostile and slow clients, the sync client alive, slow, stopped and killed, status and statistics.

BINARY is regward; make-hive-samples lies beside it. Prints PASS or FAIL and a name for each check and closes with
`N passed, M failed`; exits with 1 when anything failed. Wants python3-jsonschema: every event is held against the schema. Leaves no mount, no process and no file behind.
"""
import argparse, errno, json, os, random, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time, traceback

import event_schema

HOSTNAME = 'ControlSet001/Services/Tcpip/Parameters/Hostname'
DOMAIN = 'ControlSet001/Services/Tcpip/Parameters/Domain'
STRANGER = 65534

WATCHED = r'''version: 1
monitored:
  - id: tcpip
    key: HKLM\SYSTEM\ControlSet001\Services\Tcpip\**
    rules: [CreateKeyOperation, DeleteKeyOperation]
    values:
      - name: Hostname
        rules: [SetValueKeyOperation, SetValueRetrieveKeyValueInfo]
'''
DENIED = WATCHED.replace('SetValueRetrieveKeyValueInfo', 'SetValueDenied')
BROKEN = WATCHED.replace('SetValueRetrieveKeyValueInfo', 'SetValueDenid')
SYNCED = WATCHED + '''processes:
  - id: synced
    when: { uid: %d }
    rules: [NotifyRegistryOperationSync]
''' % os.getuid()


class Failure(Exception): pass


# ---------------------------------------------------------------- mounts

class Mount:
    def __init__(self, text, name='m', options=''):
        self.options = options and ',' + options
        self.folder = tempfile.mkdtemp(dir=WORK)
        self.policy = os.path.join(self.folder, 'policy.yaml')
        self.log = os.path.join(self.folder, 'events.json')
        self.hive = os.path.join(self.folder, 'SYSTEM')
        self.path = os.path.join(self.folder, name)
        os.mkdir(self.path)
        shutil.copy(SAMPLE, self.hive)
        self.write_policy(text)
        self.process = None
        self.errors = os.path.join(self.folder, 'stderr')

    def write_policy(self, text):
        with open(self.policy, 'w') as f: f.write(text)
        os.chmod(self.policy, 0o600)

    def start(self):
        with open(self.errors, 'ab') as errors:
            self.process = subprocess.Popen(
                [REGWARD, 'mount', '-f', '-o', 'policy=%s,log=%s%s' % (self.policy, self.log, self.options), self.hive, self.path],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        wait_for('the mount', lambda: os.path.exists(self.path + '/%ctl/status') or self.process.poll() is not None)
        if self.process.poll() is not None: raise Failure('mount failed: %s' % self.told())
        return self

    __enter__ = start

    def told(self):
        with open(self.errors) as f: return f.read()

    def file(self, name): return os.path.join(self.path, name)

    def status(self):
        with open(self.path + '/%ctl/status') as f: return json.load(f)

    def stats(self):
        with open(self.path + '/%ctl/stats') as f: return f.read()

    def version(self): return self.status()['rulesVersion']

    def events(self):
        try:
            # A line that is just being written is none yet.
            with open(self.log) as f: return [json.loads(line) for line in f if line.endswith('\n')]
        except FileNotFoundError: return []

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(30)
        s.connect(self.status()['socket'])
        return s

    def ask(self, message, **members):
        with self.connect() as s: return request(s, message, **members)

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            status, output = run([REGWARD, 'umount', self.path])
            try: self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if os.path.ismount(self.path): run(['umount', '-l', self.path])
        event_schema.hold(self.log)


def request(s, message, **members):
    s.send(json.dumps(dict(message=message, **members)).encode())
    return json.loads(s.recv(65536))


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            if condition(): return
        except OSError: pass
        if time.monotonic() > end: raise Failure('%s did not come within %d s' % (what, seconds))
        time.sleep(0.01)


def run(arguments, **more):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, **more)
    return done.returncode, done.stdout.decode(errors='replace').strip()


def read(path):
    with open(path) as f: return f.read()


def echo(text, path):
    """By a process of its own; whether it could."""
    return run(['sh', '-c', 'echo "$1" > "$2"', 'sh', text, path])[0] == 0


def is_refused(function):
    try: function()
    except PermissionError: return True
    return False


class Clock:
    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *_): self.seconds = time.monotonic() - self.start


# ---------------------------------------------------------------- a sync client, a process of its own

class SyncClient:
    """mode: allow or deny (deciding), listen (not deciding), silent, late (answers after 0.6 s), mismatch (then allows)."""

    def __init__(self, mount, mode):
        reader, writer = os.pipe()
        path = mount.status()['socket']
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--sync-client', path, mode, str(writer)], pass_fds=[writer],
            stdin=subprocess.DEVNULL)
        os.close(writer)
        with os.fdopen(reader, 'rb') as f: ready = f.readline()
        if ready != b'ready\n': raise Failure('the sync client did not register')

    def __enter__(self): return self

    def __exit__(self, *_):
        if self.process.poll() is None: self.process.kill()
        self.process.wait()


def be_sync_client(path, mode, writer):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    answer = request(s, 'REGISTER_SYNC_CLIENT', deciding=mode not in ('listen',))
    os.write(writer, b'ready\n' if answer['status'] == 'ok' else b'no\n')
    os.close(writer)
    while True:
        packet = s.recv(65536)
        if not packet: return
        event = json.loads(packet)
        if event.get('message') != 'RegistryEventSync' or 'event' not in event: continue
        def reply(verdict, sequence=event['sequence'], type=event['type']):
            members = dict(message='RegistryEventSync', type=type, sequence=sequence)
            if verdict: members['verdict'] = verdict
            s.send(json.dumps(members).encode())
        if mode == 'listen': reply(None)
        elif mode in ('allow', 'deny'): reply(mode)
        elif mode == 'late':
            time.sleep(0.6)
            reply('deny')
        elif mode == 'mismatch':
            reply('deny', sequence=event['sequence'] + 1000)
            reply('deny', type=7)
            reply('allow')


# ---------------------------------------------------------------- checks

CHECKS, RESULTS = [], []


def check(function):
    CHECKS.append(function)
    return function


def expect(name, good, detail=''):
    RESULTS.append(bool(good))
    print('%s %s%s' % ('PASS' if good else 'FAIL', name, '' if good else ': %s' % (detail,)), flush=True)


@check
def status_and_stats():
    with Mount(WATCHED, 'a b') as m:
        echo('x', m.file(HOSTNAME))
        status = m.status()
        expect('status: it names the socket, and the socket is there', os.path.exists(status['socket']), status)
        expect('status: the first rules are version 1', status['rulesVersion'] == 1)
        code, text = run([REGWARD, 'status', m.path])
        expect('status: for people, with units', code == 0 and 'rules:' in text and 'µs' in text and '{' not in text, text)
        expect('status: only what happened is in the table', 'RegNtPreSetValueKey' in text and 'RegNtPreRenameKey' not in text, text)
        code, text = run([REGWARD, 'status', '--json', m.path])
        expect('status: --json is the mount\'s own', code == 0 and json.loads(text)['pid'] == m.process.pid)
        counts = status['decisions']['RegNtPreSetValueKey']
        expect('status: decisions are counted', counts['watched'] >= 2 and counts['refused'] == 0, counts)
        answer = m.ask('QUERY_STATISTICS')
        expect('QUERY_STATISTICS gives the status', answer['statistics']['pid'] == m.process.pid)
        sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.]+$')
        lines = m.stats().splitlines()
        bad = [l for l in lines if not l.startswith(('# HELP regward_', '# TYPE regward_')) and not sample.match(l)]
        expect('stats: every line is Prometheus\' format', len(lines) > 50 and not bad, bad[:3])
        expect('stats: the watched set is there', any(re.match(
            r'regward_decisions_total\{class="RegNtPreSetValueKey",outcome="watched"\} [1-9]', l) for l in lines))
        listing = sorted(os.listdir(m.path + '/%ctl'))
        expect('stats: the control directory lists it', {'cmd', 'stats', 'status'} <= set(listing), listing)
        code, text = run([REGWARD, 'status', '/'])
        expect('status: of no mount is 2', code == 2, text)
    expect('the socket goes with the mount', not os.path.exists(status['socket']))


@check
def stale_socket():
    m = Mount(WATCHED)
    with m:
        path = m.status()['socket']
        m.process.kill()
        m.process.wait()
        run(['umount', '-l', m.path])
        expect('a killed daemon leaves its socket', os.path.exists(path))
        m.start()
        expect('the next mount takes the name over', m.status()['socket'] == path and m.ask('QUERY_STATISTICS')['status'] == 'ok')
    expect('and removes it', not os.path.exists(path))


@check
def hang_up():
    with Mount(WATCHED) as m:
        expect('SIGHUP: allowed before', echo('one', m.file(HOSTNAME)))
        m.write_policy(DENIED)
        m.process.send_signal(signal.SIGHUP)
        wait_for('version 2', lambda: m.version() == 2)
        expect('SIGHUP: the new rules refuse', not echo('two', m.file(HOSTNAME)) and read(m.file(HOSTNAME)) == 'one\n')
        m.write_policy(BROKEN)
        m.process.send_signal(signal.SIGHUP)
        wait_for('the failure', lambda: m.status()['updates']['failed'] == 1)
        status = m.status()
        expect('SIGHUP: a broken policy leaves the old rules', status['rulesVersion'] == 2 and not echo('x', m.file(HOSTNAME)))
        place = m.policy + ':8:'
        expect('SIGHUP: the error is in the status, with its place', place in (status['updates']['lastError'] or ''), status['updates'])
        expect('SIGHUP: and on standard error', place in m.told() and 'SetValueDenid' in m.told(), m.told())
        code, text = run([REGWARD, 'status', m.path])
        expect('SIGHUP: and in `regward status`', 'last error:' in text and place in text, text)
        m.write_policy(WATCHED)
        m.process.send_signal(signal.SIGHUP)
        wait_for('version 3', lambda: m.version() == 3)
        expect('SIGHUP: allowed again, and the error is gone', echo('three', m.file(HOSTNAME)) and m.status()['updates']['lastError'] is None)
        for _ in range(200): m.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        expect('SIGHUP: a storm of them ends nobody', m.process.poll() is None and echo('four', m.file(HOSTNAME)))


@check
def reload():
    with Mount(WATCHED) as m:
        code, text = run([REGWARD, 'reload', m.path])
        expect('reload: says both versions', code == 0 and 'version 2' in text and 'version 1' in text, text)
        m.write_policy(BROKEN)
        code, text = run([REGWARD, 'reload', m.path])
        expect('reload: a broken policy is 1, with line and column', code == 1 and re.search(
            re.escape(m.policy) + r':8:\d+: error: .*SetValueDenid', text), text)
        expect('reload: the old rules stay', m.version() == 2 and 'version 2 stay' in text)
        os.remove(m.policy)
        code, text = run([REGWARD, 'reload', m.path])
        expect('reload: a missing policy is 1', code == 1 and m.version() == 2, text)
        m.write_policy(DENIED)
        os.chmod(m.policy, 0o666)
        code, text = run([REGWARD, 'reload', m.path])
        expect('reload: a policy that others can write is 1', code == 1 and m.version() == 2 and echo('x', m.file(HOSTNAME)), text)
        os.chmod(m.policy, 0o600)
        other = os.path.join(m.folder, 'other.yaml')
        with open(other, 'w') as f: f.write(DENIED)
        os.chmod(other, 0o600)
        code, text = run([REGWARD, 'reload', '--policy', 'other.yaml', m.path], cwd=m.folder)
        expect('reload: --policy, relative to the caller', code == 0 and m.version() == 3 and m.status()['policy'] == other, text)
        expect('reload: its rules hold', not echo('y', m.file(HOSTNAME)))
        code, text = run([REGWARD, 'reload', m.file('ControlSet001')])
        expect('reload: later ones read that file', code == 0 and m.status()['policy'] == other and m.version() == 4, text)
        code, text = run([REGWARD, 'reload', m.folder])
        expect('reload: of no mount is 2', code == 2, text)
        # Sequence of versions in the events.
        m.write_policy(WATCHED)
        echo('denied', m.file(HOSTNAME))
        run([REGWARD, 'reload', '--policy', m.policy, m.path])
        echo('watched', m.file(HOSTNAME))
        # Between them stand the messages that put the policies in force.
        def changes(): return [(e['regward']['rules_version'], e['event']['outcome']) for e in m.events() if 'registry' in e]
        wait_for('the events', lambda: changes() and changes()[-1][1] == 'success')
        versions = changes()
        expect('every event names its version', versions[-2:] == [(4, 'failure'), (5, 'success')], versions)


@check
def handles_opened_earlier():
    with Mount(WATCHED) as m:
        path = m.file(HOSTNAME)
        echo('before', path)

        def rules(text):
            # Not by a program: it would get the open file, close it, and so set what was written so far.
            m.write_policy(text)
            answer = m.ask('REG_UPDATE_DATA')
            if answer['status'] != 'ok': raise Failure(answer)

        f = os.open(path, os.O_WRONLY)
        os.write(f, b'a')
        rules(DENIED)
        expect('allow to deny: the next write is refused', is_refused(lambda: os.write(f, b'b')))
        expect('allow to deny: so is the close', is_refused(lambda: os.close(f)))
        expect('allow to deny: nothing was set', read(path) == 'before\n', read(path))
        rules(WATCHED)
        f = os.open(path, os.O_WRONLY | os.O_TRUNC)
        rules(DENIED)
        expect('allow to deny: a truncation is refused at close', is_refused(lambda: os.close(f)))
        expect('allow to deny: and undone', read(path) == 'before\n', read(path))
        rules(WATCHED)
        f = os.open(path, os.O_WRONLY | os.O_TRUNC)
        rules(WATCHED)
        os.close(f)
        wait_for('the truncation', lambda: read(path) == '')
        expect('allow to allow: a truncation is done', True)
        echo('before', path)
        rules(DENIED)
        expect('deny: no open', is_refused(lambda: os.open(path, os.O_WRONLY)))
        reader = os.open(path, os.O_RDONLY)
        rules(WATCHED)
        f = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(f, b'after\n')
        os.close(f)
        expect('deny to allow: the write is done', os.pread(reader, 100, 0) == b'after\n')
        os.close(reader)


@check
def hostile_clients():
    with Mount(WATCHED) as m:
        path = m.status()['socket']
        good = m.connect()
        generator = random.Random(3)
        for _ in range(300):
            with m.connect() as s:
                size = generator.choice([1, 10, 100, 65535, 65536, 65537, 150000])
                try:
                    s.send(bytes(generator.getrandbits(8) for _ in range(min(size, 200))) * (size // 200 + 1))
                    answer = s.recv(65536)
                    if answer and json.loads(answer)['status'] != 'error': raise Failure(answer)
                    if answer and s.recv(65536): raise Failure('not cut off')
                except OSError as e:
                    if e.errno not in (errno.ECONNRESET, errno.EPIPE, errno.EMSGSIZE): raise
        expect('hostile: 300 packets of noise, each cut off', m.status()['control']['cut_off'] == 300, m.status()['control'])
        expect('hostile: a client of before is still served', request(good, 'QUERY_STATISTICS')['status'] == 'ok')
        expect('hostile: an unknown message is only answered', request(good, 'NO_SUCH_MESSAGE')['error'] == 'unknown message'
               and request(good, 'QUERY_STATISTICS')['status'] == 'ok')
        good.close()
        if os.getuid() != 0:
            print('skipped: other users can be tried by root only')
            return
        script = '''
import json, os, socket, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
refused = closed = 0
for n in range(1000):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        s.connect(sys.argv[1])
        try: s.send(b'{"message":"REG_UPDATE_DATA","policy":"/etc/passwd"}')
        except OSError: pass
        try: refused += json.loads(s.recv(65536))["status"] == "error"
        except OSError: refused += 1
    except PermissionError: closed += 1
    s.close()
print(refused, closed)
''' % (STRANGER, STRANGER)
        code, text = run([sys.executable, '-c', script, path])
        expect('another user: the folder is shut', text == '0 1000', text)
        # The first wall taken down, the second must hold.
        os.chmod(os.path.dirname(path), 0o711)
        os.chmod(path, 0o666)
        try:
            code, text = run([sys.executable, '-c', script, path])
        finally: os.chmod(os.path.dirname(path), 0o700)
        expect('another user: 1,000 packets refused', text == '1000 0', text)
        control = m.status()['control']
        expect('another user: counted, and nothing done', control['refused'] == 1000 and m.version() == 1, control)
        expect('another user: the mount goes on', echo('x', m.file(HOSTNAME)) and 'regward_control_refused_total 1000\n' in m.stats())
        client = 'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\nprint(s.recv(65536).decode())'
        if run(['unshare', '-Ur', 'true'])[0] == 0:
            code, text = run(['unshare', '-Ur', sys.executable, '-c', client, path])
            expect('root of another user namespace is refused', 'user namespace' in text, text)
        else: print('skipped: no user namespaces here')


@check
def slow_client():
    with Mount(WATCHED) as m:
        slow = m.connect()
        slow.setblocking(False)
        message = json.dumps(dict(message='QUERY_STATISTICS')).encode()
        end = time.monotonic() + 20
        while m.status()['control']['cut_off'] == 0 and time.monotonic() < end:
            try: slow.send(message)
            except OSError: pass
        expect('slow: who does not read is cut off', m.status()['control']['cut_off'] == 1)
        with Clock() as c: echo('x', m.file(HOSTNAME))
        expect('slow: the mount does not wait', c.seconds < 2, c.seconds)
        slow.close()
        idle = [m.connect() for _ in range(64)]
        wait_for('64 clients', lambda: m.status()['control']['connections'] == 64)
        with m.connect() as s: text = s.recv(65536)
        expect('the 65th client is told that there are too many', b'too many' in text, text)
        for s in idle: s.close()


@check
def sync_verdicts():
    with Mount(SYNCED) as m:
        path = m.file(HOSTNAME)
        echo('before', path)
        for mode, allowed in (('allow', True), ('deny', False), ('listen', True), ('mismatch', True)):
            before = m.status()['sync']['types']['RegistryEventSync']
            with SyncClient(m, mode) as client:
                result = echo(mode, path)
                done = m.status()['sync']
                counts = {k: v - before[k] for k, v in done['types']['RegistryEventSync'].items()}
                expect('sync %s: the write is %s' % (mode, 'done' if allowed else 'refused'), result == allowed and
                       (read(path) == mode + '\n') == allowed, read(path))
                if allowed:
                    expect('sync %s: asked once, answered once' % mode, (counts['sent'], counts['received']) == (1, 1), counts)
                expect('sync %s: the client is in the status' % mode, done['client'] == {'pid': client.process.pid, 'deciding': mode != 'listen'})
                if mode == 'mismatch': expect('sync: wrong replies are counted', counts['mismatches'] == 2, counts)
                # In one process: one-shot.
                if mode == 'allow':
                    sent = done['types']['RegistryEventSync']['sent']
                    run(['sh', '-c', 'for n in 1 2 3; do echo $n > "$1"; done', 'sh', path])
                    expect('sync: three writes of one process are asked about once',
                           m.status()['sync']['types']['RegistryEventSync']['sent'] == sent + 1)
                    expect('sync: what no rule matches is not asked about', echo('y', m.file(DOMAIN)) and
                           m.status()['sync']['types']['RegistryEventSync']['sent'] == sent + 1)
            wait_for('the client to be gone', lambda: m.status()['sync']['client'] is None)
            if mode == 'deny':
                code, text = run([REGWARD, 'why', path])
                expect('sync: why names the client', code == 0 and 'sync client' in text and 'tcpip' in text, text)
        denied = [e for e in m.events() if e['regward'].get('decided_by') == 'sync client']
        expect('sync: the event says who decided', denied and denied[0]['event']['outcome'] == 'failure', denied[:1])


@check
def sync_silence():
    for verdict in ('deny', 'allow'):
        with Mount(SYNCED) as m:
            path = m.file(HOSTNAME)
            allowed = verdict == 'allow'
            m.ask('UPDATE_SYNC_MONITOR_CONFIG', on_timeout=verdict, timeout_ms=300)
            expect('%s: without a client' % verdict, echo('x', path) == allowed)
            for mode in ('silent', 'late'):
                with SyncClient(m, mode):
                    with Clock() as c: result = echo(mode, path)
                    expect('%s: a client that is %s' % (verdict, mode), result == allowed and 0.25 < c.seconds < 5, (result, c.seconds))
            with SyncClient(m, 'allow') as client:
                client.process.send_signal(signal.SIGSTOP)
                with Clock() as c: result = echo('stopped', path)
                expect('%s: a client that is stopped' % verdict, result == allowed and 0.25 < c.seconds < 5, (result, c.seconds))
            m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=60000)
            with SyncClient(m, 'silent') as client:
                result = []
                thread = threading.Thread(target=lambda: result.append(echo('killed', path)))
                thread.start()
                wait_for('the question', lambda: m.status()['sync']['waiting'] == 1)
                with Clock() as c:
                    others = echo('other', m.file(DOMAIN)) and m.stats() and read(path) is not None
                    version = m.ask('REG_UPDATE_DATA')['status']
                expect('%s: others and /%%ctl go on while one waits' % verdict, others and version == 'ok' and c.seconds < 5, c.seconds)
                with Clock() as c:
                    client.process.kill()
                    thread.join(30)
                expect('%s: a client that is killed wakes who waits' % verdict, result == [allowed] and c.seconds < 10, (result, c.seconds))


@check
def sync_pass_through():
    with Mount(SYNCED) as m:
        path = m.file(HOSTNAME)
        m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=100, timeouts_until_pass_through=2, retry_after_ms=1500)
        def counts(): return m.status()['sync']['types']['RegistryEventSync']
        with SyncClient(m, 'silent'):
            # An echo is judged at open, at its write and at its end: two time-outs, and nobody is asked.
            echo('one', path)
            first = counts()
            expect('pass through: after two time-outs nobody is asked', (first['sent'], first['timeouts']) == (2, 2) and first['passed_through'] >= 1, first)
            with Clock() as c: echo('two', path)
            expect('pass through: at once', counts()['sent'] == 2 and c.seconds < 1, c.seconds)
            time.sleep(1.6)
            echo('three', path)
            expect('pass through: then asked again', counts()['sent'] > 2, counts())
            # Crowd: six wait, the others pass.
            m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=3000, timeouts_until_pass_through=1000)
            time.sleep(1.6)
            threads = [threading.Thread(target=lambda: os.path.exists(path) and echo('c', path)) for _ in range(12)]
            for t in threads: t.start()
            wait_for('six to wait', lambda: m.status()['sync']['waiting'] == 6)
            with Clock() as c: other = echo('other', m.file(DOMAIN))
            expect('crowd: the mount serves others while six wait', other and c.seconds < 2, c.seconds)
            m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=1, timeouts_until_pass_through=1)
            for t in threads: t.join(60)
            expect('crowd: more than six do not wait', counts()['crowded'] >= 1, counts())


SYNCED_BRIEFLY = SYNCED + 'sync: { timeout_ms: 300, timeouts_until_pass_through: 4, retry_after_ms: %d, on_timeout: %s }\n'


class Makers:
    """Keys made by processes of their own, an operation and a question each; after that: neither lost nor done twice."""

    def __init__(self, mount):
        self.mount = mount
        self.made = {}

    def make(self, name):
        """Whether it could."""
        self.made[name] = run(['mkdir', self.mount.file('ControlSet001/Services/Tcpip/' + name)])[0] == 0
        return self.made[name]

    def problem(self):
        """What is not as it was told; None for nothing."""
        wrong = [n for n, made in self.made.items() if os.path.isdir(self.mount.file('ControlSet001/Services/Tcpip/' + n)) != made]
        if wrong: return 'told otherwise: %s' % wrong
        def events(): return [(e['registry']['key'].split('Tcpip\\')[-1].replace('\\', '/'), e['event']['outcome'] == 'success')
                              for e in self.mount.events() if 'registry' in e]
        wait_for('the events', lambda: len(events()) >= len(self.made))
        return None if sorted(events()) == sorted(self.made.items()) else 'events: %s' % sorted(events())


@check
def sync_client_is_killed():
    """SEMANTICS 6.15: SIGKILL in the middle of requests, again and again, while others come."""
    for verdict in ('deny', 'allow'):
        with Mount(SYNCED_BRIEFLY % (1000, verdict)) as m:
            settings = {k: m.status()['sync'][k] for k in ('timeout_ms', 'timeouts_until_pass_through', 'retry_after_ms', 'on_timeout')}
            expect('killed %s: the policy\'s figures are in force' % verdict, settings ==
                   {'timeout_ms': 300, 'timeouts_until_pass_through': 4, 'retry_after_ms': 1000, 'on_timeout': verdict}, settings)
            # A client that does not answer is killed before the time is over.
            m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=60000)
            makers = Makers(m)
            # In one key they would wait for each other in the kernel.
            with SyncClient(m, 'allow'):
                for n in range(3): makers.make('folder%d' % n)
            for number in range(5):
                wait_for('the client to be gone', lambda: m.status()['sync']['client'] is None)
                with SyncClient(m, 'silent') as client:
                    threads = [threading.Thread(target=makers.make, args=('folder%d/%d' % (n, number),)) for n in range(3)]
                    for t in threads: t.start()
                    wait_for('the questions', lambda: m.status()['sync']['waiting'] == 3)
                    client.process.kill()
                    for t in threads: t.join(30)
            expect('killed %s: silence means that for each' % verdict, list(makers.made.values()) == [True] * 3 + [verdict == 'allow'] * 15, makers.made)
            expect('killed %s: no operation is lost, none done twice' % verdict, makers.problem() is None, makers.problem())
            counts = m.status()['sync']['types']['RegistryEventSync']
            expect('killed %s: in the status' % verdict, (counts['sent'], counts['received'], counts['timeouts'], counts['errors'], counts['unattended'])
                   == (18, 3, 0, 15, 0), counts)


@check
def sync_client_is_stopped():
    """SEMANTICS 6.15: SIGSTOP; four time-outs, then a time without questions; what it answers when it goes on is too late."""
    with Mount(SYNCED_BRIEFLY % (60000, 'deny')) as m:
        makers = Makers(m)
        def counts(): return m.status()['sync']['types']['RegistryEventSync']
        with SyncClient(m, 'allow') as client:
            client.process.send_signal(signal.SIGSTOP)
            for number in range(4):
                with Clock() as c: made = makers.make('stopped%d' % number)
                expect('stopped: time-out %d is a refusal, not before its time' % (number + 1), not made and c.seconds >= 0.3, (made, c.seconds))
            expect('stopped: the fifth is not asked about', not makers.make('fifth'))
            now = counts()
            expect('stopped: counted', (now['sent'], now['received'], now['timeouts'], now['passed_through']) == (4, 0, 4, 1), now)
            code, text = run([REGWARD, 'why', m.file('ControlSet001/Services/Tcpip/fifth')])
            expect('stopped: why says that nobody was asked', 'not asked after too many time-outs' in text, text)
            def reasons(): return [e['regward'].get('decided_by') for e in m.events() if e['event']['outcome'] == 'failure']
            wait_for('the events', lambda: len(reasons()) == 5)
            expect('stopped: the events say that there was no answer', reasons() ==
                   ['sync client: no answer in time'] * 4 + ['sync client: not asked after too many time-outs'], reasons())
            client.process.send_signal(signal.SIGCONT)
            wait_for('the late answers', lambda: counts()['mismatches'] == 4)
            expect('stopped: they are nobody\'s', counts()['received'] == 0, counts())
        wait_for('the client to be gone', lambda: m.status()['sync']['client'] is None)
        # Another one has timed out on nobody, and is asked.
        m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=60000)
        with SyncClient(m, 'allow'): expect('stopped: the next client is asked at once', makers.make('next') and counts()['received'] == 1, counts())
        expect('stopped: no operation is lost, none done twice', makers.problem() is None, makers.problem())


@check
def sync_client_is_slow():
    """SEMANTICS 6.15: a client that answers after the time; the answer is nobody's, not even the next one's."""
    with Mount(SYNCED_BRIEFLY % (100, 'deny')) as m, SyncClient(m, 'late'):
        makers = Makers(m)
        def counts(): return m.status()['sync']['types']['RegistryEventSync']
        for number in range(3):
            expect('slow: time-out %d' % (number + 1), not makers.make('slow%d' % number))
            code, text = run([REGWARD, 'why', m.file('ControlSet001/Services/Tcpip/slow%d' % number)])
            expect('slow: why says so', 'no answer in time' in text, text)
            wait_for('its answer', lambda: counts()['mismatches'] == number + 1)
        # Now it has the time.
        m.ask('UPDATE_SYNC_MONITOR_CONFIG', timeout_ms=60000)
        with Clock() as c: made = makers.make('patient')
        expect('slow: with time enough its word counts, a refusal here', not made and c.seconds >= 0.6, c.seconds)
        now = counts()
        expect('slow: counted', (now['sent'], now['received'], now['denied'], now['timeouts']) == (4, 1, 1, 3), now)
        expect('slow: no operation is lost, none done twice', makers.problem() is None, makers.problem())


def main(checks=CHECKS):
    """Also for other files of checks on mounts: theirs are given to it."""
    global REGWARD, WORK, SAMPLE
    if sys.argv[1:2] == ['--sync-client']: return be_sync_client(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser()
    parser.add_argument('binary')
    parser.add_argument('--only')
    options = parser.parse_args()
    REGWARD = os.path.abspath(options.binary)
    WORK = tempfile.mkdtemp(prefix='regward-control-')
    try:
        code, text = run([os.path.join(os.path.dirname(REGWARD), 'make-hive-samples'), WORK])
        if code: raise SystemExit('make-hive-samples: %s' % text)
        SAMPLE = os.path.join(WORK, 'system.hiv')
        for function in checks:
            if options.only and function.__name__ not in options.only.split(','): continue
            try: function()
            except Exception:
                RESULTS.append(False)
                print('FAIL %s: %s' % (function.__name__, traceback.format_exc()), flush=True)
    finally: shutil.rmtree(WORK, ignore_errors=True)
    print('%d passed, %d failed' % (sum(RESULTS), len(RESULTS) - sum(RESULTS)))
    return 0 if RESULTS and all(RESULTS) else 1


if __name__ == '__main__': sys.exit(main())
