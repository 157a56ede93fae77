#!/usr/bin/env python3
"""check_restore.py BIN-DIRECTORY [--kills N] [--replaces N] [--restores N] [--seed S]

A restore and a replace are one change each. Ten processes walk a key of 10,000 values while it is restored again and again (20 times
unless told): each listing must be that of one tree. Then the daemon is killed with kill -9 at random moments of N restores (40 unless
told) and N replaces (10): afterwards the hive, recovered by `regward check` and `regward dump`, is the old one or the new one, the new one
where the command had returned; and what a replace saved is whole where it is.
BIN-DIRECTORY holds regward and make-hive-samples.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Standard library only. Leaves no mount, no process and no file behind.
"""
import argparse, multiprocessing, os, random, shutil, subprocess, sys, tempfile, time

import verdict
from verdict import check

VALUES, KEYS, BOTH = 10000, 20, 50


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


class Place:
    def __init__(self, bin_directory):
        self.regward = os.path.join(os.path.abspath(bin_directory), 'regward')
        self.folder = tempfile.mkdtemp(prefix='regward-restore-')
        self.point = self.path('mnt')
        os.mkdir(self.point)
        samples = os.path.join(os.path.abspath(bin_directory), 'make-hive-samples')
        subprocess.run([samples, self.folder], check=True, capture_output=True)
        self.hive = self.path('software.hiv')
        self.daemon = None
        # The rules that ship protect a part of the sample.
        with open(self.path('off.yaml'), 'w') as file: file.write('version: 1\nmode: "off"\n')
        os.chmod(self.path('off.yaml'), 0o600)

    def path(self, name): return os.path.join(self.folder, name)

    def mount(self):
        # In the foreground, so that the process that is killed is the one that serves.
        self.daemon = subprocess.Popen([self.regward, 'mount', '-f', '--policy', self.path('off.yaml'), self.hive, self.point], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not os.path.ismount(self.point):
            if self.daemon.poll() is not None or time.monotonic() > end: raise RuntimeError('not mounted')
            time.sleep(0.005)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()
        run('fusermount3', '-uz', self.point)

    def unmount(self):
        run(self.regward, 'umount', self.point)
        self.daemon.wait()

    def close(self):
        if self.daemon and self.daemon.poll() is None: self.kill()
        if os.path.ismount(self.point): run('fusermount3', '-uz', self.point)
        shutil.rmtree(self.folder, ignore_errors=True)

    def content(self, hive):
        """The lines of the dump without the times of keys, and what `regward check` finds."""
        status, text = run(self.regward, 'check', hive)
        lines = []
        for line in run(self.regward, 'dump', hive)[1].splitlines():
            fields = line.split('\t')
            lines.append('\t'.join(fields[:2] + fields[3:] if fields[0] == 'K' else fields))
        return '\n'.join(lines), None if status == 0 else text


def make_tree(folder, word):
    os.mkdir(folder)
    for number in range(VALUES):
        name = '%s%d' % (word if number >= BOTH else 'both', number)
        with open(os.path.join(folder, name), 'w') as file: file.write(word + '\n')
    for number in range(KEYS): os.mkdir(os.path.join(folder, '%skey%d' % (word, number)))


# ---------------------------------------------------------------- readers

def walk(path, turns, stop, results, seed):
    dice = random.Random(seed)
    seen, wrong, read, gone = {'old': 0, 'new': 0}, [], 0, 0
    while not stop.is_set():
        # One opendir to its closedir.
        names = os.listdir(path)
        words = {name[:3] for name in names if not name.startswith('both')}
        if len(words) != 1 or len(names) != VALUES + KEYS: wrong.append(('listed', len(names), sorted(words)))
        word = words.pop() if words else '?'
        seen[word] = seen.get(word, 0) + 1
        for name in dice.sample(names, 100):
            if 'key' in name: continue
            try:
                with open(os.path.join(path, name)) as file: text = file.read()
            except FileNotFoundError:
                gone += 1
                continue
            read += 1
            # A name that both trees have is looked up when it is opened.
            if text not in (['old\n', 'new\n'] if name.startswith('both') else [word + '\n']): wrong.append((name, text, word))
        turns.release()
    results.put((seen, wrong[:5], read, gone))


def readers(place, restores, seed):
    turns, stop, results = multiprocessing.Semaphore(0), multiprocessing.Event(), multiprocessing.Queue()
    tree = os.path.join(place.point, 'Tree')
    processes = [multiprocessing.Process(target=walk, args=(tree, turns, stop, results, seed + number)) for number in range(10)]
    for process in processes: process.start()
    failures = []
    for number in range(restores):
        # Some walks between two restores, and all others across them.
        for _ in range(3): turns.acquire()
        status, text = run(place.regward, 'restore', tree, place.path(('new' if number % 2 == 0 else 'old') + '.hiv'))
        if status: failures.append(text)
    for _ in range(20): turns.acquire()
    stop.set()
    outcomes = [results.get(timeout=120) for _ in processes]
    for process in processes: process.join()
    check('restores pass while ten processes read', not failures, failures[:3])
    check('every listing is one tree, and what is read is of it or gone', not any(wrong for _, wrong, _, _ in outcomes),
          [wrong for _, wrong, _, _ in outcomes if wrong])
    walks = {word: sum(seen.get(word, 0) for seen, _, _, _ in outcomes) for word in ('old', 'new')}
    check('both trees were met', walks['old'] > 0 and walks['new'] > 0, walks)
    print('     %d walks of the old tree, %d of the new; %d values read, %d gone' % (
        walks['old'], walks['new'], sum(o[2] for o in outcomes), sum(o[3] for o in outcomes)), flush=True)


# ---------------------------------------------------------------- kills

def kill_during(place, dice, longest, *command):
    """Whether the command had returned well when the daemon was killed, at a random moment; `longest` is kept such that it is about even."""
    asked = subprocess.Popen([place.regward, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(dice.uniform(0.5, 1) * longest)
    was_done = asked.poll() == 0
    place.kill()
    asked.wait()
    return was_done


def kills(place, number, dice):
    whole = {word: place.content(place.path(word + '-whole.hiv'))[0] for word in ('old', 'new')}
    place.mount()
    start = time.monotonic()
    run(place.regward, 'restore', os.path.join(place.point, 'Tree'), place.path('old.hiv'))
    longest = 1.5 * (time.monotonic() - start)
    place.unmount()
    found, problems = {'old': 0, 'new': 0, 'late': 0}, []
    now = 'old'
    for count in range(number):
        wanted = 'new' if now == 'old' else 'old'
        place.mount()
        was_done = kill_during(place, dice, longest, 'restore', os.path.join(place.point, 'Tree'), place.path(wanted + '.hiv'))
        text, damage = place.content(place.hive)
        if damage: problems.append((count, damage))
        if text not in whole.values(): problems.append((count, 'neither old nor new'))
        if was_done and text != whole[wanted]: problems.append((count, 'a restore that had returned is lost'))
        outcome = 'new' if text == whole[wanted] else 'old'
        longest *= 0.9 if was_done else 1.1
        found['late' if was_done else outcome] += 1
        if text == whole[wanted]: now = wanted
    check('%d kills of a restore: the old tree or the new one' % number, not problems, problems[:5])
    print('     killed: %(old)d before, %(new)d after it was done and before it was told, %(late)d after it was told' % found, flush=True)


def replaces(place, number, dice):
    whole = {word: place.content(place.path(word + '-whole.hiv'))[0] for word in ('old', 'new')}
    shutil.copyfile(place.path('old-whole.hiv'), place.hive)
    found, problems, longest, now = {'old': 0, 'new': 0, 'saved': 0}, [], None, 'old'
    for count in range(-1, number):
        wanted, backup = ('new' if now == 'old' else 'old'), place.path('backup%d.hiv' % count)
        place.mount()
        command = ('replace', place.point, place.path(wanted + '-whole.hiv'), backup)
        if longest is None:
            start = time.monotonic()
            status, text = run(place.regward, *command)
            longest = 1.5 * (time.monotonic() - start)
            place.unmount()
            if status: problems.append((count, text))
            was_done = True
        else: was_done = kill_during(place, dice, longest, *command)
        text, damage = place.content(place.hive)
        if damage: problems.append((count, damage))
        if text not in whole.values(): problems.append((count, 'neither old nor new'))
        is_new = text == whole[wanted]
        if was_done and not is_new: problems.append((count, 'a replace that had returned is lost'))
        if os.path.exists(backup):
            found['saved'] += 1
            saved, damage = place.content(backup)
            if damage or saved != whole[now]: problems.append((count, 'the backup is not whole: %s' % damage))
        elif is_new: problems.append((count, 'the hive is new and there is no backup'))
        if count >= 0:
            found['new' if is_new else 'old'] += 1
            longest *= 0.9 if was_done else 1.1
        if is_new: now = wanted
        for name in os.listdir(place.folder):
            if name.startswith('backup'): os.unlink(place.path(name))
    check('%d kills of a replace: the old hive or the new one, and a whole backup' % number, not problems, problems[:5])
    print('     killed: %(old)d before, %(new)d after it was done; a backup %(saved)d times' % found, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('bin')
    parser.add_argument('--kills', type=int, default=40)
    parser.add_argument('--replaces', type=int, default=10)
    parser.add_argument('--restores', type=int, default=20)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print('seed %d' % arguments.seed, flush=True)
    place = Place(arguments.bin)
    try:
        place.mount()
        for word in ('new', 'old'):
            tree = os.path.join(place.point, 'Tree')
            make_tree(os.path.join(place.point, word), word)
            if not os.path.isdir(tree): os.mkdir(tree)
            run(place.regward, 'save', os.path.join(place.point, word), place.path(word + '.hiv'))
            shutil.rmtree(os.path.join(place.point, word))
        for word in ('new', 'old'):
            run(place.regward, 'restore', tree, place.path(word + '.hiv'))
            run(place.regward, 'save', place.point, place.path(word + '-whole.hiv'))
        readers(place, arguments.restores, arguments.seed)
        place.unmount()
        shutil.copyfile(place.path('old-whole.hiv'), place.hive)
        kills(place, arguments.kills, random.Random(arguments.seed))
        replaces(place, arguments.replaces, random.Random(arguments.seed + 1))
    finally: place.close()
    verdict.close()


if __name__ == '__main__': main()
