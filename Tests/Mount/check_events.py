#!/usr/bin/env python3
"""check_events.py BINARY [--only NAME,…] [--operations N]

Drives real mounts of sample hives and reads what they tell: every format, every kind of sink, receivers that do not read, go away and
come back, which operations are told, and `regward events` on logs and mounts
(SEMANTICS 6.20 to 6.23). N is how many operations the flood has (20,000). Needs
root.

BINARY is regward; make-hive-samples lies beside it. Prints PASS or FAIL and a name for each check and closes with
`N passed, M failed`; exits with 1 when anything failed. Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import array, csv, fcntl, io, json, os, re, signal, socket, subprocess, sys, threading, time
import xml.etree.ElementTree as xml

OPERATIONS = 20000
if '--operations' in sys.argv:
    place = sys.argv.index('--operations')
    OPERATIONS = int(sys.argv[place + 1])
    del sys.argv[place:place + 2]

import check_control as control
import event_schema
from check_control import DENIED, DOMAIN, HOSTNAME, Failure, Mount, echo, expect, run, wait_for

CHECKS = []
START = 'ControlSet001/Services/WinDefend/Start'
FORMATS = ['ecs', 'sysmon', 'sysmon-xml', 'ocsf', 'wdfilter']


def check(function):
    CHECKS.append(function)
    return function


class LoggedMount(Mount):
    """A mount that tells at more places; `{}` in one is its folder."""

    def __init__(self, text, places=(), options=''):
        super().__init__(text, options=options)
        self.places = [p.replace('{}', self.folder) for p in places]
        self.options += ''.join(',log-to=' + p for p in self.places)

    def log_of(self, place): return next(l for l in self.status()['logs'] if l['name'] == place)

    def place(self, name): return os.path.join(self.folder, name)

    def __exit__(self, *_):
        super().__exit__()
        for place in self.places:
            format, _, path = place.rpartition('=')
            if format in ('ecs', 'ocsf') and path.startswith('/'): event_schema.hold(path)


def lines(path):
    with open(path, newline='\n') as f: return f.read().splitlines()


def sequence(text):
    """Of a line in any format."""
    return int(re.search(r'"(?:sequence|SequenceNumber|EventRecordID)":(\d+)|<EventRecordID>(\d+)<', text).group(1)
               or re.search(r'<EventRecordID>(\d+)<', text).group(1))


class Receiver:
    """A socket that collects what it is sent."""

    def __init__(self, family, kind, address):
        self.socket = socket.socket(family, kind)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def __enter__(self): return self

    def __exit__(self, *_): self.socket.close()


# ---------------------------------------------------------------- formats and operations

@check
def formats():
    with LoggedMount(DENIED, ['%s={}/log.%s' % (f, f) for f in FORMATS]) as m:
        expect('formats: a refusal', not echo('x', m.file(HOSTNAME)))
        os.mkdir(m.file('ControlSet001/Services/Tcpip/new'))
        os.mkdir(m.file('ControlSet001/Services/Tcpip/newer'))
        wait_for('the events', lambda: all(len(lines(m.place('log.' + f))) == 3 for f in FORMATS))
        told = {f: lines(m.place('log.' + f)) for f in FORMATS}
        for f in FORMATS: expect('formats: %s numbers each' % f, sorted(map(sequence, told[f])) == [1, 2, 3], told[f])
        events = {f: [json.loads(l) for l in told[f]] for f in FORMATS if f != 'sysmon-xml'}
        expect('formats: ecs is as its schema says', event_schema.problem(events['ecs']) is None, event_schema.problem(events['ecs']))
        by = lambda f, n: next(e for e, l in zip(events[f], told[f]) if sequence(l) == n)
        expect('formats: sysmon', [by('sysmon', n)['Event']['System']['EventID'] for n in (1, 2, 3)] == [13, 12, 12])
        expect('formats: ocsf', [by('ocsf', n)['type_uid'] for n in (1, 2, 3)] == [20100202, 20100101, 20100101])
        expect('formats: wdfilter', [by('wdfilter', n)['Denied'] for n in (1, 2, 3)] == [True, False, False])
        expect('formats: transactions are numbered', by('ecs', 3)['regward']['transaction_id'] == by('ecs', 2)['regward']['transaction_id'] + 1)
        expect('formats: who did it', by('ecs', 1)['process']['pid'] > 1 and by('ecs', 1)['regward']['session_id'] >= 0)
        space = '{http://schemas.microsoft.com/win/2004/08/events/event}'
        roots = [xml.fromstring(l) for l in told['sysmon-xml']]
        names = [{d.get('Name'): d.text for d in r.iter(space + 'Data')} for r in roots]
        expect('formats: sysmon-xml', {n['RegwardOutcome'] for n in names} == {'refused', 'done'}, names)


@check
def schema():
    code, text = run([control.REGWARD, 'events', '--schema'])
    with open(event_schema.PATH) as f: expect('schema: it is the one in the repository', code == 0 and json.loads(text) == json.load(f))


@check
def operations():
    for scope, wanted in (('denied', ['PreSetValueKey']), ('matched', ['PreSetValueKey', 'PostCreateKeyEx']),
                          ('writes', ['PreSetValueKey', 'PostCreateKeyEx'] + ['PostSetValueKey'] * 3 + ['PostDeleteValueKey', 'PostCreateKeyEx', 'PostRenameKey'])):
        with LoggedMount(DENIED, options='log-ops=' + scope) as m:
            echo('x', m.file(HOSTNAME))
            os.mkdir(m.file('ControlSet001/Services/Tcpip/new'))
            echo('x', m.file('Setup/unwatched'))
            # SEMANTICS 6.2: what is only emptied, or made, is told, too.
            open(m.file('Setup/unwatched'), 'w').close()
            open(m.file('Setup/made'), 'x').close()
            os.unlink(m.file('Setup/unwatched'))
            os.mkdir(m.file('Setup/b'))
            os.rename(m.file('Setup/b'), m.file('Setup/c'))
        told = [e['event']['action'].replace('RegNt', '') for e in m.events()]
        expect('log-ops=%s' % scope, sorted(told) == sorted(wanted), told)
        expect('log-ops=%s: who did it is known' % scope, all(e['process']['pid'] > 1 for e in m.events()))
    for option in ('log-ops=all', 'log-format=xml', 'log-to=socket:', 'log-to=syslog://:1'):
        code, text = run([control.REGWARD, 'mount', '-o', option, '/dev/null', '/'])
        expect('%s is wrong usage' % option, code == 1 and option.split('=')[0] in text, (code, text))


# ---------------------------------------------------------------- sinks

@check
def control_file():
    """SEMANTICS 1.16: every reader of /%ctl/events has a place of its own, a signal ends his waiting, and strangers have none."""
    with LoggedMount(DENIED, options='allow_other') as m:
        place = m.path + '/%ctl/events'
        readers = [subprocess.Popen(['cat', place], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(3)]
        try:
            wait_for('the readers', lambda: m.stats() and all(place in os.path.realpath('/proc/%d/fd/3' % r.pid) for r in readers))
            readers[2].terminate()
            expect('control file: a signal ends the waiting', readers[2].wait(20) == -signal.SIGTERM)
            for number in range(3): echo('x%d' % number, m.file(HOSTNAME))
            told = [[json.loads(r.stdout.readline()) for _ in range(3)] for r in readers[:2]]
            wait_for('the log', lambda: len(m.events()) == 3)
            expect('control file: each reader is told all', told[0] == told[1] == m.events(), [e['event']['sequence'] for t in told for e in t])
            expect('control file: as its schema says', event_schema.problem(told[0]) is None)
        finally:
            for r in readers:
                if r.poll() is None: r.kill()
                r.wait()
                r.stdout.close()
        # From within: the folder above lets nobody in.
        code, text = run(['setpriv', '--reuid', '65534', '--clear-groups', 'cat', '%ctl/events'], cwd=m.path)
        expect('control file: not for strangers', code == 1 and 'Permission denied' in text, text)


@check
def control_file_of_another_owner():
    """SEMANTICS 1.16: with `uid=` the kernel's bits let him in whose the files look; the daemon does not."""
    with LoggedMount(DENIED, options='allow_other,uid=65534,gid=65534') as m:
        place = m.path + '/%ctl/events'
        expect('uid=: the file looks as his, and he may read', (os.stat(place).st_uid, os.stat(place).st_mode & 0o400) == (65534, 0o400))
        # From within: the folder above lets nobody in.
        def as_him(name): return run(['timeout', '20', 'setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', 'cat', '%ctl/' + name], cwd=m.path)
        code, text = as_him('status')
        expect('uid=: he gets to the other files', code == 0, text)
        code, text = as_him('events')
        expect('uid=: he is refused all the same', code == 1 and 'Permission denied' in text, (code, text))
        reader = subprocess.Popen(['cat', place], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            wait_for('the reader', lambda: place in os.path.realpath('/proc/%d/fd/3' % reader.pid))
            echo('x', m.file(HOSTNAME))
            expect('uid=: who mounted is told', json.loads(reader.stdout.readline())['event']['sequence'] == 1)
        finally:
            reader.terminate()
            reader.wait()
            reader.stdout.close()


@check
def journal():
    m = LoggedMount(DENIED.replace('SetValueDenied', 'SetValueRetrieveKeyValueInfo'), ['journald:{}/journal'])
    with Receiver(socket.AF_UNIX, socket.SOCK_DGRAM, m.place('journal')) as r, m:
        r.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        echo('short', m.file(HOSTNAME))
        small = r.socket.recv(1 << 20)
        expect('journal: a datagram of fields', b'\nMESSAGE_ID=6b0e7a5c1f5d4f6f9d0c7f3a52b5e101\n' in small and b'\nREGWARD_ACTION=SetValue\n' in small, small[:500])
        long = 'ä' * 31000
        for text in (long, long[:-1]):
            with open(m.file(HOSTNAME), 'w') as f: f.write(text)
        files = []
        for _ in range(2):
            data, ancillary, _, _ = r.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            for level, kind, fds in ancillary:
                descriptor = array.array('i', fds)[0]
                with os.fdopen(descriptor, 'rb') as f:
                    f.seek(0)
                    # F_GET_SEALS: the journal refuses a file that somebody can still change.
                    files.append((f.read(), fcntl.fcntl(f, 1034)))
        expect('journal: what is too long comes as a sealed file', len(files) >= 1 and all(s == 15 for _, s in files), [s for _, s in files])
        if files:
            line = re.search(rb'\nREGWARD_EVENT=(.*)\n', files[-1][0]).group(1)
            event = json.loads(line)
            expect('journal: it is whole', event['registry']['data']['strings'] == [long[:-1]] and event_schema.problem([event]) is None)
        expect('journal: nothing was lost', m.log_of(m.places[0])['lost'] == 0, m.log_of(m.places[0]))


@check
def syslog():
    tcp = socket.socket()
    tcp.bind(('127.0.0.1', 0))
    tcp.listen(1)
    with Receiver(socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', 0)) as udp:
        m = LoggedMount(DENIED, ['syslog:{}/log', 'syslog://127.0.0.1:%d' % udp.socket.getsockname()[1],
                                 'ocsf=syslog+tcp://127.0.0.1:%d' % tcp.getsockname()[1]])
        with Receiver(socket.AF_UNIX, socket.SOCK_DGRAM, m.place('log')) as local, m:
            for _ in range(3): echo('x', m.file(HOSTNAME))
            pattern = re.compile(rb'<108>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ regward \d+ SetValue \[meta sequenceId="(\d+)"\] (\{.*\})\Z', re.S)
            for name, receiver in (('unix', local), ('udp', udp)):
                found = [pattern.match(receiver.socket.recv(1 << 16)) for _ in range(3)]
                expect('syslog %s: RFC 5424, in order' % name, all(found) and [int(f.group(1)) for f in found] == [1, 2, 3])
                events = [json.loads(f.group(2)) for f in found]
                expect('syslog %s: the event is whole' % name, event_schema.problem(events) is None and events[0]['event']['type'] == ['change', 'denied'])
            stream, _ = tcp.accept()
            stream.settimeout(20)
            with stream, stream.makefile('rb') as f:
                for number in range(3):
                    digits = b''
                    while not digits.endswith(b' '): digits += f.read(1)
                    found = pattern.match(f.read(int(digits)))
                    expect('syslog tcp: message %d, its length before it' % (number + 1), found and json.loads(found.group(2))['class_uid'] == 201002)
    tcp.close()


@check
def sockets():
    m = LoggedMount(DENIED, ['socket:{}/s'])
    with m:
        expect('socket: nobody is there, and the caller does not see it', not echo('x', m.file(HOSTNAME)))
        wait_for('the loss', lambda: m.log_of(m.places[0])['lost'] == 1)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(m.place('s'))
        listener.listen(1)
        listener.settimeout(0.2)
        # It is tried again when a second has passed, by the next event.
        client = None
        while client is None:
            echo('x', m.file(HOSTNAME))
            try: client, _ = listener.accept()
            except socket.timeout: pass
        client.settimeout(20)
        first = json.loads(client.recv(1 << 17))
        lost = first['regward']['lost']
        expect('socket: what was lost is told by the first event that goes out', lost['failed'] == first['event']['sequence'] - 1 and lost['errno'] > 0, lost)
        client.close()
        listener.close()


@check
def standard_error():
    with LoggedMount(DENIED, ['wdfilter=stderr']) as m:
        echo('x', m.file(HOSTNAME))
        wait_for('the line', lambda: 'RegOperationMessage' in m.told())
    line = next(l for l in m.told().splitlines() if 'RegOperationMessage' in l)
    expect('stderr: a line', json.loads(line)['Denied'])
    code, text = run([control.REGWARD, 'mount', '--log-to', 'stderr', '/dev/null', '/'])
    expect('stderr: a daemon has none', code == 1 and '-f' in text, text)


@check
def flood():
    """One reader hangs, one reads on: produced = delivered + dropped for each, and every gap is told."""
    m = LoggedMount(DENIED + 'queue: { size: 512 }\n', ['socket:{}/stuck', 'socket:{}/busy'])
    listeners = []
    for name in ('stuck', 'busy'):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(m.place(name))
        listener.listen(1)
        listeners.append(listener)
    packets = []

    def take():
        connection, _ = listeners[1].accept()
        with connection:
            while True:
                packet = connection.recv(1 << 17)
                if not packet: return
                packets.append(packet)

    reader = threading.Thread(target=take, daemon=True)
    reader.start()
    with m:
        refused = 0
        path = m.file(HOSTNAME)
        for _ in range(OPERATIONS):
            try: os.close(os.open(path, os.O_WRONLY))
            except PermissionError: refused += 1
        expect('flood: every operation was refused, nobody waited for the reader', refused == OPERATIONS, refused)
        stuck = m.places[0]
        status = m.status()
        queued = status['events']['queued']
        expect('flood: every refusal was an event', queued >= OPERATIONS, queued)
        log = m.log_of(stuck)
        expect('flood: the one that hangs has lost, counted', log['dropped'] + log['lost'] > OPERATIONS - 2000, log)
        # The one that reads gets what was queued for it, all or with its gaps told.
        busy = lambda: m.log_of(m.places[1])
        wait_for('the reader', lambda: (lambda l: l['accepted'] + l['lost'] + l['dropped'] == queued)(busy()))
        log = busy()
        wait_for('the packets', lambda: len(packets) == log['accepted'])
        events = [json.loads(p) for p in packets]
        told = sum(e['regward'].get('lost', {}).get('dropped', 0) + e['regward'].get('lost', {}).get('failed', 0) for e in events)
        expect('flood: delivered and told as lost are what was produced', len(events) + told == events[-1]['event']['sequence'],
               (len(events), told, events[-1]['event']['sequence']))
        numbers = [e['event']['sequence'] for e in events]
        expect('flood: in order', numbers == sorted(numbers))
        # The log, a file, has the same bargain.
        lost = lambda e: sum(e['regward'].get('lost', {}).get(k, 0) for k in ('dropped', 'failed'))
        wait_for('the log', lambda: m.events()[-1]['event']['sequence'] == queued)
        written = m.events()
        expect('flood: the log, too', len(written) + sum(map(lost, written)) == queued, (len(written), queued))
        print('     %d operations; stuck %s; busy %s' % (OPERATIONS, m.log_of(stuck), log))
        # Whoever begins to read now is told.
        connection, _ = listeners[0].accept()
        connection.settimeout(20)
        last = None
        got = told = 0
        while last != queued:
            event = json.loads(connection.recv(1 << 17))
            last = event['event']['sequence']
            got += 1
            told += lost(event)
        expect('flood: the late reader gets the newest, and how many he has not got', got + told == queued, (got, told, queued))
        connection.close()
    reader.join(20)
    for listener in listeners: listener.close()


# ---------------------------------------------------------------- regward events

class Follower:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([control.REGWARD, 'events', *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        for line in self.process.stdout: self.lines.append(line)

    def __enter__(self): return self

    def __exit__(self, *_):
        if self.process.poll() is None: self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()
        self.process.stderr.close()


@check
def follow_a_log():
    with LoggedMount(DENIED) as m, Follower(m.log, '--follow', '--format', 'json') as f:
        sent = 0
        for turn in range(3):
            for _ in range(5):
                echo('x', m.file(HOSTNAME))
                sent += 1
            wait_for('round %d' % turn, lambda: len(f.lines) == sent)
            os.rename(m.log, m.log + '.%d' % turn)
            # Between the two it still writes to the old file, as with logrotate.
            echo('x', m.file(HOSTNAME))
            sent += 1
            wait_for('the line in the old file', lambda: len(lines(m.log + '.%d' % turn)) >= 6)
            m.process.send_signal(signal.SIGUSR2)
            # The new file is there with its first line.
            def arrived():
                nonlocal sent
                echo('x', m.file(HOSTNAME))
                sent += 1
                return os.path.exists(m.log)
            wait_for('the new file', arrived)
        wait_for('all', lambda: len(f.lines) == sent)
        numbers = [json.loads(l)['event']['sequence'] for l in f.lines]
        expect('follow: every line of every file, once, in order', numbers == list(range(1, sent + 1)), numbers)


@check
def follow_a_mount():
    m = LoggedMount(DENIED).start()
    try:
        with Follower(m.path, '--follow', '--denied', '--format', 'json') as f:
            # Connected, and subscribed: then it hears of what comes.
            def heard():
                echo('x', m.file(HOSTNAME))
                return f.lines
            wait_for('the first event', heard)
            os.mkdir(m.file('ControlSet001/Services/Tcpip/new'))
            echo('x', m.file(HOSTNAME))
            wait_for('one more', lambda: json.loads(f.lines[-1])['event']['sequence'] == m.status()['events']['queued'])
            events = [json.loads(l) for l in f.lines]
            expect('follow a mount: only what was refused', all('denied' in e['event']['type'] for e in events))
            expect('follow a mount: events as in the log', event_schema.problem(events) is None, event_schema.problem(events))
            code, text = run([control.REGWARD, 'events', m.path, '--denied', '--format', 'csv'])
            expect('a mount without --follow is its log', code == 0 and text.count('ACCESS DENIED') >= len(events), text)
            m.__exit__()
            wait_for('its end with the mount', lambda: f.process.poll() is not None)
            expect('follow a mount: ends with it', f.process.returncode == 0, f.process.returncode)
    finally: m.__exit__()


@check
def show():
    with LoggedMount(DENIED) as m:
        echo('x', m.file(HOSTNAME))
        os.mkdir(m.file('ControlSet001/Services/Tcpip/=1+1'))
        wait_for('the events', lambda: len(m.events()) == 2)
        with open(m.log, 'a') as f: f.write('{"broken"\n{"event": {}}\n')
        code, text = run([control.REGWARD, 'events', m.log])
        expect('events: a table', 'ACCESS DENIED' in text and 'RegCreateKey' in text and '\x1b' not in text, text)
        expect('events: broken lines have their number and are passed over', code == 1 and ':3: no JSON' in text and ':4: no event' in text, text)
        with open(m.log) as f: good = f.read().splitlines()[:2]
        with open(m.log, 'w') as f: f.write('\n'.join(good))
        done = subprocess.run([control.REGWARD, 'events', m.log, '--format', 'csv'], capture_output=True)
        expect('events: CSV begins as Process Monitor writes it', done.stdout.startswith(b'\xef\xbb\xbf"Time of Day","Process Name","PID","Operation","Path","Result","Detail"\r\n') and done.returncode == 0)
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode('utf-8-sig'))))
        expect('events: CSV is one row an event', [r['Operation'] for r in rows] == ['RegSetValue', 'RegCreateKey'] and rows[0]['Result'] == 'ACCESS DENIED', rows)
        for arguments, count in ((['--denied'], 1), (['--key', r'*\tcpip\=*'], 1), (['--key', '*HOSTNAME'], 1), (['--process', '1'], 0), (['--process', 'sh'], None)):
            code, text = run([control.REGWARD, 'events', m.log, '--format', 'json', *arguments])
            expect('events: %s' % ' '.join(arguments), code == 0 and (count is None or len(text.splitlines()) == count), text)
        for environment, coloured in (({}, True), ({'NO_COLOR': '1'}, False)):
            code, text = run(['script', '-qec', '%s events %s' % (control.REGWARD, m.log), '/dev/null'], env={**os.environ, **environment})
            expect('events: colour on a terminal%s' % ('' if coloured else ', not with NO_COLOR'), ('\x1b[31m' in text) == coloured, repr(text[:200]))


if __name__ == '__main__':
    if os.getuid() != 0: sys.exit('check_events.py needs root')
    sys.exit(control.main(CHECKS))
