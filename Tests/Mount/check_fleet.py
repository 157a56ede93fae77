#!/usr/bin/env python3
"""check_fleet.py BINARY [--only NAME,…]

Carries the events of real mounts through mount-scripts/rsyslog to Redis and to a relay's file, and holds what arrives against what
regward wrote: line by line, over restarts of each, and over a rotation of the log (SEMANTICS 6.26).

BINARY is regward; make-hive-samples lies beside it. Starts a redis-server and rsyslogds of its own, with their files in a folder of
its own, and touches nobody else's. Wants rsyslog, rsyslog-hiredis, rsyslog-relp, rsyslog-kafka, rsyslog-elasticsearch, redis-server,
systemd (its journald) and python3-jsonschema, and root. Prints PASS or FAIL and a name for each check and closes with `N passed, M failed`; exits with 1 when anything
failed. Leaves no mount, no process and no file behind.
"""
import http.server, json, os, shutil, signal, socket, subprocess, sys, threading

import check_control as control
import event_schema
from check_control import DENIED, HOSTNAME, Failure, Mount, expect, is_refused, run, wait_for

CONFIGURATION = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../mount-scripts/rsyslog')
OUTPUTS = ['redis', 'relay', 'kafka', 'elasticsearch']
KEY = 'regward:events'
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def configuration(name, changes):
    """A file of mount-scripts/rsyslog, with what an operator would change changed."""
    with open(os.path.join(CONFIGURATION, name)) as f: text = f.read()
    for before, after in changes.items():
        if before not in text: raise Failure('%s does not say %s' % (name, before))
        text = text.replace(before, after)
    return text


class Daemon:
    """A program in the foreground that is ended by its pid."""

    def __init__(self, folder, arguments):
        self.arguments = arguments
        self.process = None
        self.errors = os.path.join(folder, os.path.basename(arguments[0]) + '.out')

    def start(self):
        with open(self.errors, 'ab') as out:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self

    def stop(self, number=signal.SIGTERM):
        if self.process is None: return
        self.process.send_signal(number)
        try: self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure('%s does not end' % self.arguments[0])
        finally: self.process = None

    def told(self):
        with open(self.errors, errors='replace') as f: return f.read()[-2000:]


class Redis(Daemon):
    def __init__(self, folder):
        os.mkdir(folder)
        self.port = free_port()
        super().__init__(folder, ['redis-server', '--bind', '127.0.0.1', '--port', str(self.port), '--dir', folder, '--save', '',
                                  '--appendonly', 'yes', '--appendfsync', 'no'])

    def start(self):
        super().start()
        wait_for('Redis', lambda: self.ask('PING') == ['PONG'])
        return self

    def ask(self, *words):
        return subprocess.run(['redis-cli', '-p', str(self.port), '--raw', *words], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60).stdout.decode().splitlines()

    def lines(self): return self.ask('LRANGE', KEY, '0', '-1')


class Rsyslog(Daemon):
    def __init__(self, folder, texts):
        os.mkdir(folder)
        os.mkdir(folder + '/work')
        self.place = folder + '/rsyslog.conf'
        with open(self.place, 'w') as f: f.write('global(workDirectory="%s/work")\n' % folder + '\n'.join(texts))
        super().__init__(folder, ['rsyslogd', '-n', '-f', self.place, '-i', folder + '/pid'])

    def problem(self):
        """What `rsyslogd -N1` says against the configuration; None for nothing."""
        done, text = run(['rsyslogd', '-N1', '-f', self.place, '-i', self.place + '.pid'])
        lines = text.splitlines()
        good = done == 0 and len(lines) == 2 and 'End of config validation run' in lines[-1]
        return None if good else '%d: %s' % (done, text)


class Fleet:
    """A mount, a sender beside it, a relay and a Redis."""

    def __init__(self, source='file', outputs=('redis', 'relay'), more={}):
        self.mount = Mount(DENIED, options='' if source == 'file' else 'log-to=syslog:SOCKET')
        folder = self.folder = self.mount.folder
        # The socket may lie beside the log: the star of the log's name does not take it in.
        self.socket = folder + '/regward.sock'
        self.mount.options = self.mount.options.replace('SOCKET', self.socket)
        self.relay_file = folder + '/relayed'
        self.redis = Redis(folder + '/redis')
        relay_port = free_port()
        self.relay = Rsyslog(folder + '/relay', [configuration('regward-relay-server.conf', {
            'port="2514"': 'port="%d"' % relay_port, '/var/log/regward-relay.json': self.relay_file})])
        changes = {
            'redis': {'serverport="6379"': 'serverport="%d"' % self.redis.port},
            'relay': {'port="2514"': 'port="%d"' % relay_port}, 'kafka': {}, 'elasticsearch': {}, **more}
        calls = {'  call regward_%s\n' % o: '' for o in OUTPUTS if o not in outputs}
        # The source that the mount has not finds nothing.
        base = configuration('30-regward.conf', {
            '"/var/log/regward/events.json*"': '"%s*"' % (self.mount.log if source == 'file' else folder + '/nothing'),
            '"/run/regward-events.sock"': '"%s"' % self.socket, **calls})
        self.sender = Rsyslog(folder + '/sender', [base] + [
            configuration('40-regward-%s.conf' % o, changes[o]) for o in outputs])
        self.produced = 0

    def __enter__(self):
        self.redis.start()
        self.relay.start()
        self.sender.start()
        # Before the mount: the first event finds its receiver.
        wait_for('the sender', lambda: os.path.exists(self.socket))
        self.mount.start()
        return self

    def __exit__(self, *_):
        # Unmounting holds the events against their schema.
        try: self.mount.__exit__()
        finally:
            for daemon in (self.sender, self.relay, self.redis):
                if daemon.process is not None: daemon.stop()

    def act(self, count=50, watched=True):
        """Events: refused, and every tenth time a key that is watched. Each sink may tell these two in an order of its own."""
        for number in range(count):
            if not is_refused(lambda: os.close(os.open(self.mount.file(HOSTNAME), os.O_WRONLY))): raise Failure('not refused')
            self.produced += 1
            if watched and number % 10 == 0:
                os.mkdir(self.mount.file('ControlSet001/Services/Tcpip/%d é\x7f %s' % (self.produced, 'n' * 100)))
                self.produced += 1
        wait_for('the log', lambda: len(self.lines()) == self.produced)

    def lines(self):
        """What regward has written, the files that were renamed first."""
        folder, name = os.path.split(self.mount.log)
        names = sorted((n for n in os.listdir(folder) if n.startswith(name)), reverse=True)
        text = ''
        for n in names:
            # A line that is just being written may end within a character; it is none yet.
            with open(os.path.join(folder, n), newline='\n', errors='replace') as f: text += f.read()
        return text.split('\n')[:-1]

    def relayed(self):
        if not os.path.exists(self.relay_file): return []
        with open(self.relay_file, newline='\n', errors='replace') as f: return f.read().split('\n')[:-1]

    def arrived(self, name, twice=False, by=None):
        """Everything is in Redis and with the relay, in order; `twice`: an event may be there again after a fault; `by`: sorted so first."""
        wanted = self.lines()
        for place, found in (('Redis', self.redis.lines), ('the relay\'s file', self.relayed)):
            try: wait_for(place, lambda: set(wanted) <= set(found()), 240)
            except Failure: pass
            lines = found()
            if twice: lines = list(dict.fromkeys(lines))
            if by: lines = sorted(lines, key=by)
            expect('%s: every event is in %s, equal and in order' % (name, place), lines == wanted, difference(wanted, lines))


def difference(wanted, found):
    lost = [l for l in wanted if l not in set(found)]
    more = [l for l in found if l not in set(wanted)]
    place = next((n for n, (a, b) in enumerate(zip(wanted, found)) if a != b), None)
    return '%d of %d, %d lost, %d not known, first difference at %s; %s' % (len(found), len(wanted), len(lost), len(more), place, (lost + more or [''])[0][:300])


@check
def carried():
    with Fleet() as f:
        f.act()
        # As long as an event gets: data and text of it.
        long = f.mount.file('ControlSet001/Services/Tcpip/Parameters/long')
        f.mount.write_policy(DENIED.replace('- name: Hostname', '- name: long\n        rules: [SetValueKeyOperation]\n      - name: Hostname'))
        if f.mount.ask('REG_UPDATE_DATA')['status'] != 'ok': raise Failure('policy')
        with open(long, 'w') as out: out.write('ä' * 31000)
        f.produced += 2
        wait_for('the log', lambda: len(f.lines()) == f.produced)
        longest = max(map(len, f.lines()))
        expect('carried: a line is longer than syslog\'s 8 KiB', longest > 100000, longest)
        f.arrived('carried')
        problem = event_schema.problem(map(json.loads, f.redis.lines()))
        expect('carried: what Redis has is as the schema of events says', problem is None, problem)


@check
def sender_restarts():
    with Fleet() as f:
        f.act()
        f.sender.stop()
        f.act()
        f.sender.start()
        f.act()
        # While it is at work.
        thread = threading.Thread(target=f.act, args=(500,))
        thread.start()
        for _ in range(3):
            f.sender.stop()
            f.sender.start()
        thread.join()
        f.arrived('the sender restarts')


@check
def log_is_rotated():
    with Fleet() as f:
        f.act()
        for turn in (2, 1):
            os.rename(f.mount.log, '%s.%d' % (f.mount.log, turn))
            # Until it is told regward writes to the file that was renamed.
            f.act()
            f.mount.process.send_signal(signal.SIGUSR2)
            f.act()
            expect('rotated: it writes a new file', os.path.exists(f.mount.log))
        # The new file may be read before the end of the old one; within each the order stays.
        with open(f.mount.log) as log: new = set(log.read().splitlines())
        with open(f.mount.log + '.1') as log: newer = set(log.read().splitlines())
        f.arrived('the log is rotated', by=lambda line: 2 if line in new else 1 if line in newer else 0)


@check
def receivers_are_away():
    with Fleet() as f:
        f.act()
        f.arrived('before')
        f.redis.stop()
        f.relay.stop()
        f.act(100)
        wait_for('the sender to see it', lambda: 'redis' in f.sender.told() and 'relp' in f.sender.told())
        queues = sorted({n.split('.')[0] for n in os.listdir(f.folder + '/sender/work') if n.startswith('regward_')})
        expect('away: what waits is on the disk', queues == ['regward_redis', 'regward_relay'], queues)
        f.redis.start()
        f.relay.start()
        f.act()
        f.arrived('receivers were away', twice=True)


@check
def through_the_socket():
    """Syslog's sink to a real receiver: RFC 5424 on imuxsock."""
    with Fleet('socket') as f:
        f.act(100, watched=False)
        f.arrived('syslog socket')
        log = next(l for l in f.mount.status()['logs'] if l['name'].startswith('syslog'))
        expect('syslog socket: nothing was lost', (log['accepted'], log['lost'], log['dropped']) == (f.produced, 0, 0), log)


class Journal(Daemon):
    """A systemd-journald for a namespace of its own, that sees its own /run and /var/log: the machine's are not touched."""
    SCRIPT = 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log && mkdir -p /run/systemd/journal.regward && ' \
        'exec /lib/systemd/systemd-journald regward'

    def __init__(self, folder): super().__init__(folder, ['unshare', '-m', 'bash', '-c', self.SCRIPT])

    def start(self):
        super().start()
        self.root = '/proc/%d/root' % self.process.pid
        self.socket = self.root + '/run/systemd/journal.regward/socket'
        wait_for('the journal', lambda: os.path.exists(self.socket))
        return self

    def entries(self):
        files = [os.path.join(f, n) for f, _, names in os.walk(self.root + '/var/log/journal') for n in names if n.endswith('.journal')]
        if not files: return []
        done = subprocess.run(['journalctl', *('--file=' + f for f in files), '--output=json', '--all', '--no-pager'], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)
        # A field of more than 4 KiB, or with control characters, comes as numbers.
        text = lambda v: bytes(v).decode() if isinstance(v, list) else v
        entries = [json.loads(line) for line in done.stdout.decode().splitlines()]
        return [{k: text(v) for k, v in e.items()} for e in entries if e.get('SYSLOG_IDENTIFIER') == 'regward']


@check
def real_journal():
    """The journal's sink to a real systemd-journald: short events in a datagram, long ones in a sealed file."""
    mount = Mount(DENIED.replace('SetValueDenied', 'SetValueRetrieveKeyValueInfo'))
    journal = Journal(mount.folder).start()
    try:
        mount.options = ',log-to=journald:' + journal.socket
        with mount:
            texts = ['short', 'ä' * 31000, 'ö' * 31000, 'last']
            for text in texts:
                with open(mount.file(HOSTNAME), 'w') as f: f.write(text)
            wait_for('the log', lambda: len(mount.events()) == len(texts))
            wait_for('the journal', lambda: len(journal.entries()) == len(texts))
            entries = journal.entries()
            expect('journald: every event is an entry, equal and in order', [json.loads(e['REGWARD_EVENT']) for e in entries] == mount.events(),
                   [e.get('MESSAGE') for e in entries])
            expect('journald: with its fields', all(e['MESSAGE_ID'] == '6b0e7a5c1f5d4f6f9d0c7f3a52b5e101' and e['REGWARD_ACTION'] == 'SetValue'
                   and e['_TRANSPORT'] == 'journal' and int(e['_PID']) == mount.process.pid for e in entries), entries[:1])
            log = next(l for l in mount.status()['logs'] if l['name'].startswith('journald'))
            expect('journald: nothing was lost', (log['accepted'], log['lost']) == (len(texts), 0), log)
    finally: journal.stop()


class Elasticsearch(http.server.BaseHTTPRequestHandler):
    """As much of one as the bulks need: says 429 to the first, 409 to what it has."""
    protocol_version = 'HTTP/1.1'
    documents, bulks = {}, 0

    def do_GET(self): self.answer({})

    do_HEAD = do_GET

    def do_POST(self):
        Elasticsearch.bulks += 1
        lines = self.rfile.read(int(self.headers['Content-Length'])).decode().split('\n')
        items = []
        for head, document in zip(lines[::2], lines[1::2]):
            name = json.loads(head)['create']['_id']
            status = 429 if Elasticsearch.bulks == 1 else 409 if name in self.documents else 201
            if status == 201: self.documents[name] = document
            items.append({'create': {'_id': name, 'status': status, **({'error': {'type': 'x', 'reason': 'y'}} if status != 201 else {})}})
        self.answer({'errors': any(i['create']['status'] != 201 for i in items), 'items': items})

    def answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(text)

    def log_message(self, *_): pass


@check
def elasticsearch():
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Elasticsearch) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with Fleet(outputs=('redis', 'relay', 'elasticsearch'),
                       more={'elasticsearch': {'serverport="9200"': 'serverport="%d"' % server.server_address[1]}}) as f:
                f.act()
                try: wait_for('the documents', lambda: len(Elasticsearch.documents) == f.produced, 60)
                except Failure: pass
                by = lambda e: e['event']['sequence']
                found = sorted(map(json.loads, Elasticsearch.documents.values()), key=by)
                wanted = sorted(map(json.loads, f.lines()), key=by)
                expect('elasticsearch: each event is a document, those that it had no room for too', found == wanted, (len(found), len(wanted)))
        finally: server.shutdown()


@check
def is_valid():
    """rsyslogd -N1, and that it finds what is wrong."""
    f = Fleet(outputs=OUTPUTS)
    for name, daemon in (('every output', f.sender), ('the relay\'s side', f.relay)):
        expect('-N1: %s' % name, daemon.problem() is None, daemon.problem())
    for number, (before, after) in enumerate((('topic="regward"', 'topik="regward"'), ('bulkmode="on"', 'bulkmode'), ('call regward_redis', 'call regward_radish'))):
        with open(f.sender.place) as file: text = file.read()
        if before not in text: raise Failure(before)
        broken = Rsyslog(f.folder + '/broken%d' % number, [text.replace(before, after, 1)])
        expect('-N1: %s is found' % after, broken.problem() is not None)


if __name__ == '__main__':
    if os.getuid() != 0: sys.exit('check_fleet.py needs root')
    missing = [p for p in ('rsyslogd', 'redis-server', 'redis-cli') if shutil.which(p, path=os.environ['PATH'] + ':/usr/sbin') is None]
    if missing: sys.exit('check_fleet.py needs %s' % ', '.join(missing))
    sys.exit(control.main(CHECKS))
