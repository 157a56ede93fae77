#!/usr/bin/env python3
"""sinks.py FOLDER [--operations N] [--rounds N]

What mount-scripts/bench-sinks says. FOLDER has regward and make-hive-samples.
"""
import argparse, json, os, shutil, socket, statistics, subprocess, tempfile, threading, time

POLICY = r'''version: 1
monitored:
  - id: all
    key: HKLM\SYSTEM\ControlSet001\Services\Tcpip\Parameters
    values:
      - name: Hostname
        rules: [SetValueKeyOperation, SetValueDenied]
'''
VALUE = 'ControlSet001/Services/Tcpip/Parameters/Hostname'


class Listener:
    """A SOCK_SEQPACKET receiver, that reads or does not."""

    def __init__(self, path, reads):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen(1)
        self.received = 0
        if reads: threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        connection, _ = self.socket.accept()
        while connection.recv(1 << 17): self.received += 1


class Mounted:
    def __init__(self, binaries, folder, name, options):
        self.name = name
        self.regward = os.path.join(binaries, 'regward')
        self.point = os.path.join(folder, name.replace(' ', '-'))
        os.mkdir(self.point)
        policy, hive = self.point + '.yaml', self.point + '.hiv'
        with open(policy, 'w') as f: f.write(POLICY)
        os.chmod(policy, 0o600)
        shutil.copy(os.path.join(folder, 'system.hiv'), hive)
        last = max(os.sched_getaffinity(0))
        self.daemon = subprocess.Popen(
            ['taskset', '-c', str(last), self.regward, 'mount', '-f', '-o', 'policy=%s%s' % (policy, options), hive, self.point],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(self.point + '/%ctl/status'):
            if self.daemon.poll() is not None: raise SystemExit('the mount failed')
            time.sleep(0.01)
        self.rounds = []

    def status(self):
        with open(self.point + '/%ctl/status') as f: return json.load(f)

    def processor_time(self):
        """Seconds that its threads have run."""
        total = 0
        for thread in os.listdir('/proc/%d/task' % self.daemon.pid):
            with open('/proc/%d/task/%s/schedstat' % (self.daemon.pid, thread)) as f: total += int(f.read().split()[0])
        return total / 1e9

    def round(self, operations):
        path, refused = os.path.join(self.point, VALUE), 0
        open_, flags = os.open, os.O_WRONLY
        daemon, wall, caller = self.processor_time(), time.perf_counter(), time.process_time()
        for _ in range(operations):
            try: open_(path, flags)
            except PermissionError: refused += 1
        self.rounds.append((time.perf_counter() - wall, time.process_time() - caller, self.processor_time() - daemon))
        if refused != operations: raise SystemExit('%d of %d were refused' % (refused, operations))

    def unmount(self):
        subprocess.run([self.regward, 'umount', self.point], stdin=subprocess.DEVNULL, check=True)
        self.daemon.wait(60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('binaries')
    parser.add_argument('--operations', type=int, default=200_000)
    parser.add_argument('--rounds', type=int, default=40)
    options = parser.parse_args()
    # Short turns: what else the machine does comes to all of them.
    turn = max(1, options.operations // options.rounds)
    folder = tempfile.mkdtemp(prefix='regward-bench-', dir=os.environ.get('TMPDIR', os.path.expanduser('~')))
    mounts = []
    try:
        subprocess.run([os.path.join(options.binaries, 'make-hive-samples'), folder], check=True, stdout=subprocess.DEVNULL)
        listeners = {n: Listener(os.path.join(folder, n + '.sock'), n == 'reader') for n in ('reader', 'stuck')}
        for name, more in (('no log', ''), ('log file', ',log=%s/log' % folder), ('reader', ',log-to=socket:%s/reader.sock' % folder),
                           ('stuck reader', ',log-to=socket:%s/stuck.sock' % folder)):
            mounts.append(Mounted(options.binaries, folder, name, more))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for m in mounts: m.round(turn)
        for m in mounts: m.rounds.clear()
        for number in range(options.rounds):
            # Every other round the other way about, so that none has the better place.
            for m in mounts[::-1] if number % 2 else mounts: m.round(turn)
        print('%d operations in %d rounds, medians; load %.2f' % (turn * options.rounds, options.rounds, os.getloadavg()[0]))
        print('%-14s %9s %7s %13s %13s %7s   %s' % ('', 'µs each', 'ratio', 'caller µs CPU', 'daemon µs CPU', 'ratio', 'events'))
        base = mounts[0]
        for m in mounts:
            wall, caller, daemon = (statistics.median(r[i] for r in m.rounds) / turn * 1e6 for i in range(3))
            # Of neighbours in time: what else the machine did counts for both.
            ratio = statistics.median(a[0] / b[0] for a, b in zip(m.rounds, base.rounds))
            costs = statistics.median((a[1] + a[2]) / (b[1] + b[2]) for a, b in zip(m.rounds, base.rounds))
            status = m.status()
            told = '%d made' % status['events']['queued']
            for log in status['logs']: told += ', %d told, %d lost, %d dropped' % (log['accepted'], log['lost'], log['dropped'])
            print('%-14s %9.2f %7.3f %13.2f %13.2f %7.3f   %s' % (m.name, wall, ratio, caller, daemon, costs, told))
    finally:
        for m in mounts: m.unmount()
        shutil.rmtree(folder)


main()
