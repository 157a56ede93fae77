#!/usr/bin/env python3
"""check_processes.py BINARY [--only NAME,…]

Drives real mounts of sample hives: what subscribers are told of processes against what a driver did to them, every message about
processes, its refusals, its traces in the log, and the commands that stand on it. Needs root.

BINARY is regward; make-hive-samples lies beside it. Prints PASS or FAIL and a name for each check and closes with
`N passed, M failed`; exits with 1 when anything failed. Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import atexit, json, os, shutil, signal, socket, subprocess, sys, time

import check_control as control
from check_control import Failure, HOSTNAME, DOMAIN, Mount, STRANGER, echo, expect, read, request, run, wait_for

PARAMETERS = 'ControlSet001/Services/Tcpip/Parameters/'
SLEEP = os.path.realpath('/bin/sleep')
SHELL = os.path.realpath('/bin/dash')
CHECKS = []

POLICY = r"""version: 1
monitored:
  - id: shut
    key: HKLM\SYSTEM\ControlSet001\Services\Tcpip\Parameters
    values:
      - name: Hostname
        rules: [SetValueKeyOperation, SetValueDenied]
      - name: Domain
        rules: [SetValueKeyOperation]
processes:
  - id: engine
    when: { exe: %s, uid: 0 }
    flags: [MsMpEng]
doc_open:
  - { image: CAT, extension: pdf }
""" % SLEEP


def check(function):
    CHECKS.append(function)
    return function


# ---------------------------------------------------------------- what is driven

STARTED = []


def begin(*arguments, **more):
    """A process that does not outlive the checks, however they end."""
    STARTED.append(subprocess.Popen(*arguments, **more))
    return STARTED[-1]


@atexit.register
def end_all():
    for process in STARTED:
        if process.poll() is None: process.kill()


class Subscriber:
    """A connection that subscribed. `told(pids)` is what it has heard of them so far, in order, as (kind, pid, event)."""

    def __init__(self, mount, refresh=False):
        self.socket = mount.connect()
        answer = request(self.socket, 'SUBSCRIBE_PROCESS_NOTIFICATIONS', **(dict(refresh=True) if refresh else {}))
        if answer['status'] != 'ok': raise Failure(answer)
        self.events, self.last, self.lost = [], 0, 0

    def __enter__(self): return self

    def __exit__(self, *_): self.socket.close()

    def take(self, seconds=0.05):
        """Reads until nothing has come for a while."""
        self.socket.settimeout(seconds)
        while True:
            try: packet = self.socket.recv(65536)
            except socket.timeout: return self
            if not packet: return self
            packet = json.loads(packet)
            event = packet['event']
            lost = event['regward'].get('lost', {}).get('dropped', 0)
            if packet['message'] != 'ProcessNotification' or packet['sequence'] != self.last + lost + 1:
                raise Failure('sequence %d after %d, %d lost' % (packet['sequence'], self.last, lost))
            self.last = packet['sequence']
            self.lost += lost
            self.events.append((event['event']['action'].replace('process-', ''), event['process']['pid'], event))

    def told(self, pids): return [e for e in self.take().events if e[1] in pids]

    def story(self, *pids): return [e[:2] for e in self.told(pids)]

    def wait(self, what, condition): wait_for(what, lambda: condition(self.take(0.01)))


class Sleeper:
    def __init__(self, path=SLEEP):
        self.process = begin([path, '600'], stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def end(self):
        self.process.kill()
        self.process.wait()


class Shell:
    """One shell for several commands, so that its process stays the same."""

    def __init__(self, uid=0):
        def become():
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
        self.process = begin(
            [SHELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=become, cwd='/')
        self.pid = self.process.pid

    def __enter__(self): return self

    def do(self, command):
        """Whether the command, one of the shell's own, succeeded."""
        self.process.stdin.write(('if ( exit 0 ) && %s; then echo yes; else echo no; fi\n' % command).encode())
        self.process.stdin.flush()
        return self.process.stdout.readline() == b'yes\n'

    def set(self, path): return self.do('{ echo x > "%s"; } 2>/dev/null' % path)

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def processes(mount):
    code, text = run([control.REGWARD, 'processes', '--json', mount.path])
    if code: raise Failure(text)
    return {p['pid']: p for p in map(json.loads, text.splitlines())}


def open_to_all(mount):
    """The folders above the mount; what is in them stays as it is."""
    for folder in (control.WORK, mount.folder): os.chmod(folder, 0o711)


def start_ticks(pid):
    with open('/proc/%d/stat' % pid) as f: return int(f.read().rsplit(')', 1)[1].split()[19])


# ---------------------------------------------------------------- notifications

@check
def creation_and_end():
    with Mount(POLICY) as m, Subscriber(m) as s:
        sleepers = []
        for n in range(20):
            sleepers.append(Sleeper())
            s.wait('the creation', lambda s: s.story(sleepers[-1].pid))
        pids = [x.pid for x in sleepers]
        expect('created: each once, in order', s.story(*pids) == [('created', p) for p in pids], s.story(*pids))
        event = s.told(pids)[0][2]
        process = event['process']
        expect('created: image, parent, trust, start', process['executable'] == SLEEP and process['parent']['pid'] == os.getpid()
               and event['regward']['trusted'] is True and event['regward']['operation_type'] == 1 and process['start'], event)
        expect('created: ECS category and type', event['event']['category'] == ['process'] and event['event']['type'] == ['start'])
        expect('created: the extended form has the flags', event['regward']['flags'] == ['MsMpEng', 'Trusted'], event['regward'])
        for x in reversed(sleepers): x.end()
        s.wait('the ends', lambda s: len(s.told(pids)) >= 40)
        time.sleep(0.2)
        expect('terminated: each once, in order', s.story(*pids)[20:] == [('terminated', p) for p in reversed(pids)], s.story(*pids))
        event = s.told(pids)[-1][2]
        expect('terminated: neither parent nor image nor trust', event['regward'] == {'operation_type': 2}
               and 'parent' not in event['process'] and 'executable' not in event['process'], event)
        # However short; what a gap in the connector's numbers may tell a second time is the beginning.
        short = []
        for _ in range(200):
            p = begin(['/bin/true'])
            p.wait()
            short.append(p.pid)
        s.wait('200 ends', lambda s: sum(k == 'terminated' for k, _ in s.story(*short)) >= 200)
        stories = {p: [k for k, q in s.story(*short) if q == p] for p in short}
        if any(len(k) != 2 for k in stories.values()): print('told more than once: %s' % {p: k for p, k in stories.items() if len(k) != 2})
        wrong = {p: k for p, k in stories.items() if k[0] != 'created' or k.count('terminated') != 1 or k[-1] != 'terminated'}
        expect('200 short processes: all told, the end once and last', not wrong, wrong)
        # Escaped in JSON it would be three packets long.
        long = begin([SHELL, '-c', 'read x #' + '\x01' * 30000], stdin=subprocess.PIPE)
        s.wait('the long command line', lambda s: s.story(long.pid))
        long.kill()
        long.wait()
        expect('a command line has its bound', len(s.told([long.pid])[0][2]['process']['command_line']) == 4096)
        with Shell() as shell:
            before = len(s.told([shell.pid]))
            shell.do('( : )')
            shell.process.stdin.write(b'exec %s 600\n' % SLEEP.encode())
            shell.process.stdin.flush()
            s.wait('the exec', lambda s: any(e[2]['process'].get('executable') == SLEEP for e in s.told([shell.pid])))
            expect('an exec is told again, a fork is not', [e[0] for e in s.told([shell.pid])][before:] == ['created'])
            shell.process.kill()


@check
def subscribers_come_and_go():
    with Mount(POLICY) as m:
        with Subscriber(m) as first:
            a = Sleeper()
            first.wait('a', lambda s: s.story(a.pid))
            with Subscriber(m) as second:
                b = Sleeper()
                for s in (first, second): s.wait('b', lambda s: s.story(b.pid))
                a.end()
                for s in (first, second): s.wait('the end of a', lambda s: ('terminated', a.pid) in s.story(a.pid))
                expect('who comes later hears only what comes later', second.story(a.pid, b.pid) == [('created', b.pid), ('terminated', a.pid)],
                       second.story(a.pid, b.pid))
            wait_for('the second to be gone', lambda: m.status()['control']['connections'] == 1)
            b.end()
            first.wait('the end of b', lambda s: ('terminated', b.pid) in s.story(b.pid))
            expect('who stays hears all, once, in order', first.story(a.pid, b.pid) == [
                ('created', a.pid), ('created', b.pid), ('terminated', a.pid), ('terminated', b.pid)], first.story(a.pid, b.pid))
            expect('a connection subscribes once', request_error(first.socket, 'SUBSCRIBE_PROCESS_NOTIFICATIONS') ==
                   'this connection is subscribed already')
        for _ in range(200):
            with Subscriber(m): pass
        c = Sleeper()
        with Subscriber(m, refresh=True) as last:
            expect('after 200 that came and went', ('refreshed', c.pid) in last.story(c.pid))
            c.end()
            last.wait('the end of c', lambda s: ('terminated', c.pid) in s.story(c.pid))
            expect('its end is told once', last.story(c.pid) == [('refreshed', c.pid), ('terminated', c.pid)], last.story(c.pid))


def request_error(s, message, **members):
    """Between notifications."""
    s.settimeout(10)
    s.send(json.dumps(dict(message=message, **members)).encode())
    while True:
        answer = json.loads(s.recv(65536))
        if answer['message'] == message: return answer.get('error')


@check
def refresh():
    with Mount(POLICY) as m:
        sleepers = [Sleeper() for _ in range(5)]
        gone = Sleeper()
        gone.end()
        pids = sorted(x.pid for x in sleepers)
        with Subscriber(m, refresh=True) as s:
            s.take(0.5)
            refreshed = [pid for kind, pid, _ in s.events if kind == 'refreshed']
            expect('refresh: every live process once', len(set(refreshed)) == len(refreshed) and set(pids + [os.getpid()]) <= set(refreshed))
            expect('refresh: by number', refreshed == sorted(refreshed))
            expect('refresh: not the dead', gone.pid not in refreshed)
            expect('refresh: type 3, image and trust', all(e['regward']['operation_type'] == 3 and e['regward']['trusted'] is True
                   and e['process']['executable'] == SLEEP for _, _, e in s.told(pids)))
            expect('refresh: nothing else is told of them', [k for k, _ in s.story(*pids)] == ['refreshed'] * 5)
        for x in sleepers: x.end()


@check
def trust():
    with Mount(POLICY) as m, Subscriber(m) as s:
        x = Sleeper()
        s.wait('the creation', lambda s: s.story(x.pid))
        me = dict(pid=x.pid, start_ticks=start_ticks(x.pid))
        def ask(**members): return m.ask('SET_PROCESS_INFO', **me, **members)
        before = m.version()
        expect('trust: taken', ask(clear_flags=['MsMpEng'])['status'] == 'ok' and m.version() == before + 1)
        s.wait('untrusted', lambda s: len(s.story(x.pid)) == 2)
        expect('trust: told without image and parent', s.told([x.pid])[-1][0] == 'untrusted'
               and s.told([x.pid])[-1][2]['regward']['trusted'] is False)
        ask(clear_flags=['MsMpEng'], set_flags=['MsSeces'])
        expect('trust: told only when the bit changes', len(s.take(0.3).story(x.pid)) == 2, s.story(x.pid))
        listed = processes(m)[x.pid]
        expect('trust: the list has it', listed['flags'] == ['MsSeces'] and listed['trusted'] is False, listed)
        expect('trust: taken back', ask()['status'] == 'ok')
        s.wait('trusted', lambda s: len(s.story(x.pid)) == 3)
        expect('trust: the whole story', [k for k, _ in s.story(x.pid)] == ['created', 'untrusted', 'trusted'], s.story(x.pid))
        lists = m.ask('QUERY_TRUSTED_AND_UNTRUSTED_PROCESS', after=x.pid - 1)
        expect('trust: in the list of the trusted', lists['trusted'] and lists['trusted'][0]['pid'] == x.pid)
        wrong = m.ask('SET_PROCESS_INFO', pid=x.pid, start_ticks=me['start_ticks'] + 1, clear_flags=['MsMpEng'])
        expect('trust: another start is another process', 'there is no process' in wrong['error'], wrong)
        for members in (dict(set_flags=['Friendly']), dict(set_flags=0x40), dict(set_rules=['AllowAllRegistryOperations'])):
            expect('no right by number: %s' % members, 'cannot be set' in ask(**members)['error'])
        version = m.version()
        x.end()
        expect('a process that is gone cannot be changed', 'there is no process' in ask(clear_flags=8)['error'] and m.version() == version)


@check
def a_slow_subscriber():
    with Mount(POLICY) as m, Subscriber(m) as s:
        for _ in range(60):
            subprocess.run(['/bin/sh', '-c', 'n=0; while [ $n -lt 60 ]; do /bin/true; n=$((n+1)); done'])
        start = time.monotonic()
        expect('slow: the mount goes on', echo('x', m.file(DOMAIN)) and m.ask('QUERY_STATISTICS')['status'] == 'ok'
               and time.monotonic() - start < 5)
        s.take(0.5)
        expect('slow: what he lost is told, the rest comes in order', s.lost > 0 and len(s.events) + s.lost >= 7200, (s.lost, len(s.events)))
        x = Sleeper()
        s.wait('the next', lambda s: s.story(x.pid))
        x.end()


@check
def the_log():
    for options, wanted in (('log-processes', True), ('', False)):
        with Mount(POLICY, options=options) as m:
            x = Sleeper()
            if wanted: wait_for('the beginning', lambda: any(e['process']['pid'] == x.pid for e in m.events()))
            x.end()
            echo('x', m.file(DOMAIN))
            wait_for('the registry event', lambda: any('registry' in e for e in m.events()))
            if wanted: wait_for('the end', lambda: any(e['event']['type'] == ['end'] and e['process']['pid'] == x.pid for e in m.events()))
            told = [e['event']['action'] for e in m.events() if e['process']['pid'] == x.pid]
            expect('log: %s' % (options or 'without the option nothing'), told == (['process-created', 'process-terminated'] if wanted else []), told)
            numbers = [e['event']['sequence'] for e in m.events()]
            expect('log: one sequence', numbers == list(range(1, len(numbers) + 1)))
    code, text = run([control.REGWARD, 'mount', '-o', 'log-processes', '/dev/null', '/'])
    expect('log-processes without a log is wrong usage', code == 1 and 'log=FILE' in text, text)


# ---------------------------------------------------------------- messages

@check
def exclusions():
    with Mount(POLICY, options='allow_other,umask=0') as m, Shell() as shell, Shell(STRANGER) as stranger:
        path = m.file(HOSTNAME)
        open_to_all(m)
        def exclude(*texts): return m.ask('SET_PROCESS_EXCLUSION', exclusions=list(texts))
        expect('exclusions: refused before', not shell.set(path) and not stranger.set(path))
        expect('exclusions: both can do what no rule refuses', shell.set(m.file(DOMAIN)) and stranger.set(m.file(DOMAIN)))
        for texts in ([SHELL], [os.path.basename(SHELL)], [os.path.dirname(SHELL) + '/**'], ['/nowhere', SHELL]):
            expect('exclusions: %s: a live process is judged again' % texts, exclude(*texts)['status'] == 'ok' and shell.set(path))
            expect('exclusions: %s: Excluded in the list' % texts, processes(m)[shell.pid]['flags'] == ['Excluded'])
            expect('exclusions: %s: not for another user' % texts, not stranger.set(path))
        expect('exclusions: status says it', m.status()['amendments'] == '2 exclusions')
        expect('exclusions: the list is replaced', exclude('/nowhere')['status'] == 'ok' and not shell.set(path))
        copy = os.path.join(m.folder, 'shell')
        shutil.copy(SHELL, copy)
        os.chown(copy, STRANGER, STRANGER)
        answer = exclude(copy)
        expect('exclusions: a file of another user is refused, with the reason', 'cannot choose' in answer['error'], answer)
        expect('exclusions: a relative path is refused', exclude('bin/sh')['status'] == 'error')
        exclude(SHELL)
        m.write_policy(POLICY + 'nonsense: 1')
        code, text = run([control.REGWARD, 'reload', m.path])
        expect('exclusions: a reload that fails leaves them', code == 1 and shell.set(path) and m.status()['amendments'] == '1 exclusion', text)
        m.write_policy(POLICY)
        code, text = run([control.REGWARD, 'reload', m.path])
        expect('exclusions: a reload drops them and says so', code == 0 and '1 exclusion' in text and not shell.set(path), text)
        expect('exclusions: nothing is left', m.status()['amendments'] is None)
        denied = processes(m)[shell.pid]
        expect('denials and events are counted for the process', denied['denials'] == 3 and denied['events'] >= 3, denied)
        code, text = run([control.REGWARD, 'why', path])
        exclude(SHELL)
        stranger.set(path)
        code, text = run([control.REGWARD, 'why', path])
        expect('why names the message', 'SET_PROCESS_EXCLUSION of process %d, uid 0' % os.getpid() in text, text)
        wait_for('the audit', lambda: sum(e['event']['action'] == 'SET_PROCESS_EXCLUSION' for e in m.events()) == 9)
        audit = [e for e in m.events() if e['event']['action'] == 'SET_PROCESS_EXCLUSION']
        expect('audit: who, what, and how it ended', all(e['process']['pid'] == os.getpid() and e['user']['id'] == '0' for e in audit)
               and [e['event']['outcome'] for e in audit].count('failure') == 2
               and json.loads(audit[0]['regward']['message'])['exclusions'] == [SHELL], audit[:1])
        versions = [e['regward']['rules_version'] for e in audit]
        expect('audit: the version that came of it', versions[:4] == [2, 3, 4, 5], versions)


@check
def friendly():
    with Mount(POLICY, options='allow_other,umask=0') as m, Shell(STRANGER) as stranger, Shell() as shell:
        open_to_all(m)
        path = m.file(HOSTNAME)
        expect('friendly: refused before', not stranger.set(path) and stranger.set(m.file(DOMAIN)))
        answer = m.ask('REGISTER_FRIENDLY_PROCESS', id='service', when=dict(exe=SHELL, uid=STRANGER))
        expect('friendly: a live process is', answer['status'] == 'ok' and stranger.set(path), answer)
        expect('friendly: flag in the list', processes(m)[stranger.pid]['flags'] == ['Friendly'])
        expect('friendly: no other user is', not shell.set(path))
        for when in (dict(name='dash'), dict(parent='/bin/sh'), {}, dict(exe='dash'), dict(uid=-1), dict(uids=0)):
            expect('friendly: %s is refused' % when, m.ask('REGISTER_FRIENDLY_PROCESS', when=when)['status'] == 'error')
        expect('friendly: one for all', m.status()['amendments'] == '1 friendly process')
        m.process.send_signal(signal.SIGHUP)
        wait_for('the reload', lambda: m.status()['amendments'] is None)
        expect('friendly: dropped by SIGHUP, which says so', not stranger.set(path) and '1 friendly process' in m.told(), m.told())


@check
def documents():
    with Mount(POLICY) as m:
        pdf = m.file(PARAMETERS + 'Report.PDF')
        echo('x', pdf)
        def opened(): return [(e['process']['name'], e['registry']['value'], e['file']['extension']) for e in m.events()
                              if e['event']['action'] == 'DocOpen']
        run(['cat', pdf, m.file(DOMAIN)])
        run(['head', pdf])
        wait_for('the event', opened)
        expect('documents: the reader\'s open, and no other', opened() == [('cat', 'Report.PDF', 'pdf')], opened())
        event = [e for e in m.events() if e['event']['action'] == 'DocOpen'][0]
        expect('documents: type 7, key, rule', event['regward']['message_type'] == 7 and event['registry']['key'].endswith('Tcpip\\Parameters')
               and event['regward']['rule_source'] == m.policy + ':15', event)
        x = begin(['cat'], stdin=subprocess.PIPE)
        wait_for('cat', lambda: os.readlink('/proc/%d/exe' % x.pid).endswith('/cat'))
        expect('documents: in the list', processes(m)[x.pid]['doc_open'] == 'pdf')
        answer = m.ask('SET_DOC_OPEN_RULE', doc_open=[dict(image='HEAD', extension='txt'), dict(image='head', extension='pdf')])
        expect('documents: a second entry of one image is warned of', answer['status'] == 'ok' and 'adds nothing' in answer['problems'][0]['text'])
        expect('documents: live processes are judged again', processes(m)[x.pid]['doc_open'] is None)
        x.kill()
        x.wait()
        run(['cat', pdf])
        text = m.file(PARAMETERS + 'a.b.TXT')
        echo('x', text)
        run(['head', text])
        wait_for('the event', lambda: len(opened()) > 1)
        expect('documents: the message\'s rules count, the policy\'s do not', opened()[1:] == [('head', 'a.b.TXT', 'txt')], opened())
        expect('documents: a wrong rule is refused', m.ask('SET_DOC_OPEN_RULE', doc_open=[dict(image='a', extension='.b')])['status'] == 'error')


MALFORMED = [
    dict(message='SET_PROCESS_EXCLUSION'), dict(message='SET_PROCESS_EXCLUSION', exclusions='x'),
    dict(message='SET_PROCESS_EXCLUSION', exclusions=[{}]), dict(message='SET_PROCESS_EXCLUSION', exclusions=['']),
    dict(message='SET_PROCESS_EXCLUSION', exclusions=[], more=1), dict(message='SET_PROCESS_EXCLUSION', exclusions=['/x'] * 2000),
    dict(message='SET_PROCESS_INFO'), dict(message='SET_PROCESS_INFO', pid='1', start_ticks=1),
    dict(message='SET_PROCESS_INFO', pid=0, start_ticks=0), dict(message='SET_PROCESS_INFO', pid=1 << 40, start_ticks=1),
    dict(message='SET_PROCESS_INFO', pid=1, start_ticks=None),
    dict(message='REGISTER_FRIENDLY_PROCESS'), dict(message='REGISTER_FRIENDLY_PROCESS', when=[]),
    dict(message='REGISTER_FRIENDLY_PROCESS', when=dict(uid=0), flags=['MsMpEng']),
    dict(message='REGISTER_FRIENDLY_PROCESS', id=7, when=[dict(uid=0)]),
    dict(message='SET_DOC_OPEN_RULE'), dict(message='SET_DOC_OPEN_RULE', doc_open={}),
    dict(message='SET_DOC_OPEN_RULE', doc_open=[dict(image='a/b', extension='c')]),
    dict(message='QUERY_TRUSTED_AND_UNTRUSTED_PROCESS', after='1'), dict(message='QUERY_TRUSTED_AND_UNTRUSTED_PROCESS', x=1),
    dict(message='SUBSCRIBE_PROCESS_NOTIFICATIONS', refresh='yes'),
]
GOOD = [
    dict(message='SET_PROCESS_EXCLUSION', exclusions=[SHELL]), dict(message='REGISTER_FRIENDLY_PROCESS', when=dict(uid=STRANGER)),
    dict(message='SET_DOC_OPEN_RULE', doc_open=[]), dict(message='SET_PROCESS_INFO', pid=1, start_ticks=0),
    dict(message='QUERY_TRUSTED_AND_UNTRUSTED_PROCESS'), dict(message='SUBSCRIBE_PROCESS_NOTIFICATIONS', refresh=True),
]


@check
def malformed():
    with Mount(POLICY) as m, m.connect() as s:
        for message in MALFORMED:
            s.send(json.dumps(message).encode())
            answer = json.loads(s.recv(65536))
            expect('malformed: %s' % json.dumps(message)[:90], answer['status'] == 'error' and answer['message'] == message['message'], answer)
        answer = request(s, 'SET_PROCESS_EXCLUSION', exclusions=['a"]\nmode: "off'])
        expect('a text is a text, whatever it looks like', answer['status'] == 'ok' and m.status()['mode'] == 'enforce', answer)
        run([control.REGWARD, 'reload', m.path])
        expect('malformed: nothing changed, nobody cut off', m.version() == 3 and m.status()['amendments'] is None
               and m.status()['control']['cut_off'] == 0 and request(s, 'QUERY_STATISTICS')['status'] == 'ok')


@check
def another_user():
    with Mount(POLICY) as m:
        path = m.status()['socket']
        script = """
import json, os, socket, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
answers = []
for message in json.loads(sys.argv[2]):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        s.connect(sys.argv[1])
        try: s.send(json.dumps(message).encode())
        except OSError: pass
        # The daemon closes without reading: that error comes before what it said.
        try: answer = s.recv(65536)
        except ConnectionResetError: answer = s.recv(65536)
        answers.append(json.loads(answer)['error'])
        try: rest = s.recv(65536)
        except ConnectionResetError: rest = b''
        if rest: answers.append(rest.decode())
    except PermissionError: answers.append('shut')
    s.close()
print(json.dumps(answers))
""" % (STRANGER, STRANGER)
        command = [sys.executable, '-c', script, path, json.dumps(GOOD)]
        expect('another user: the folder is shut', json.loads(run(command)[1]) == ['shut'] * len(GOOD))
        # The first wall taken down, the second must hold.
        os.chmod(os.path.dirname(path), 0o711)
        os.chmod(path, 0o666)
        try: text = run(command)[1]
        finally: os.chmod(os.path.dirname(path), 0o700)
        answers = json.loads(text) if text.startswith('[') else [text]
        expect('another user: every message is refused', answers == ['only root and the user who mounted may do this'] * len(GOOD), answers)
        expect('another user: nothing changed', m.version() == 1 and m.status()['amendments'] is None
               and m.status()['control']['refused'] == len(GOOD))
        expect('root may', [m.ask(**x)['status'] for x in GOOD] == ['ok'] * 3 + ['error'] + ['ok'] * 2)


# ---------------------------------------------------------------- commands

@check
def commands():
    with Mount(POLICY) as m:
        x = Sleeper()
        code, text = run([control.REGWARD, 'processes', m.path])
        lines = text.splitlines()
        row = [l.split() for l in lines if l.split()[0] == str(x.pid)]
        expect('processes: for people', code == 0 and lines[0].split() == ['PID', 'START', 'TRUSTED', 'DENIED', 'EVENTS', 'FLAGS', 'IMAGE']
               and row and row[0][2:] == ['yes', '0', '0', 'MsMpEng', SLEEP], row)
        listed = processes(m)
        alive = {int(p) for p in os.listdir('/proc') if p.isdigit()}
        expect('processes: --json has the driver and the sleeper', {os.getpid(), x.pid} <= set(listed) and listed[x.pid]['trusted'])
        expect('processes: nobody is listed who is dead', all(p in alive or not os.path.exists('/proc/%d' % p) for p in listed))
        follow = begin([control.REGWARD, 'processes', '--follow', m.path], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        while True:
            line = follow.stdout.readline().split()
            if not line: raise Failure('no refresh')
            if line[1:3] == ['refreshed', str(x.pid)]: break
        x.end()
        while True:
            line = follow.stdout.readline().split()
            if not line: raise Failure('no end')
            if line[1:3] == ['terminated', str(x.pid)]: break
        expect('processes --follow: refresh, then what happens', True)
        code, text = run([control.REGWARD, 'ctl', m.path, 'SET_PROCESS_EXCLUSION', '{"exclusions": ["%s"]}' % SHELL])
        expect('ctl: the answer as JSON', code == 0 and json.loads(text)['version'] == 2, text)
        code, text = run([control.REGWARD, 'ctl', m.path, 'SET_PROCESS_EXCLUSION'])
        expect('ctl: refused is 1, with the reason', code == 1 and 'exclusions' in json.loads(text)['error'], text)
        code, text = run([control.REGWARD, 'ctl', m.path, 'QUERY_STATISTICS', '{'])
        expect('ctl: no JSON is 1', code == 1 and 'JSON' in text, text)
        code, text = run([control.REGWARD, 'ctl', '/', 'QUERY_STATISTICS'])
        expect('ctl: of no mount is 2', code == 2, text)
        code, text = run([control.REGWARD, 'status', m.path])
        expect('status: what messages have set', '1 exclusion' in text, text)
        wait_for('the mount to answer', lambda: m.status()['control']['connections'] >= 1)
    follow.communicate(timeout=20)
    expect('processes --follow ends with the mount', follow.returncode == 0, follow.returncode)


if __name__ == '__main__':
    if os.getuid() != 0: sys.exit('check_processes.py needs root')
    sys.exit(control.main(CHECKS))
