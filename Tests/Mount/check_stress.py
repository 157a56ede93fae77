#!/usr/bin/env python3
"""check_stress.py BIN-DIRECTORY [--seconds N] [--seed N] [--program REGWARD]

Eight processes work on one mount for N seconds (20): six in a subtree of their own, which each compares with a model of it, and two that
walk and read everything. Afterwards the tree equals the models, also after unmounting and mounting again, `regward check` finds nothing,
and the daemon has as many descriptors as in the beginning and no more memory than after the first third, but for a bound. --program names
another regward, one with a sanitizer for instance. BIN-DIRECTORY holds make-hive-samples and regward.

Prints PASS or FAIL and a name for each check, the seed, and closes with `N passed, N failed`; exits with 1 when anything failed. Standard
library only. Leaves no mount, no process and no file behind.
"""
import json, os, random, shutil, subprocess, sys, tempfile, time

import verdict
from verdict import check


def option(name, default): return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.abspath(option('--program', os.path.join(BIN, 'regward')))
SECONDS, SEED = float(option('--seconds', 20)), int(option('--seed', 1))
WRITERS, READERS = 6, 2
# Caches of the kernel's names and of values in use fill up after the first third, too.
GROWTH = 32 << 20


def tree(base):
    """What is below a directory: {path: None for a key, a value's bytes}."""
    found = {}
    for folder, keys, values in os.walk(base):
        for name in keys: found[os.path.relpath(os.path.join(folder, name), base)] = None
        for name in values:
            with open(os.path.join(folder, name), 'rb') as file: found[os.path.relpath(os.path.join(folder, name), base)] = file.read()
    return found


def write(base, seed, deadline):
    """Works in `base` until the deadline; what must be there then."""
    chance, model, steps = random.Random(seed), {}, 0
    def keys(): return [''] + [path for path, data in model.items() if data is None]
    def values(): return [path for path, data in model.items() if data is not None]
    def below(path): return [other for other in model if other.startswith(path + '/')]
    def new(): return os.path.join(chance.choice(keys()), chance.choice('kvwxyz') + str(chance.randrange(60)))
    while time.monotonic() < deadline:
        steps += 1
        kind = chance.randrange(12)
        if kind < 2:
            path = new()
            if path in model or path.count('/') > 6: continue
            os.mkdir(os.path.join(base, path))
            model[path] = None
        elif kind < 6:
            path = new() if kind < 4 or not values() else chance.choice(values())
            if path in model and model[path] is None: continue
            text = ('%d ' % steps * chance.choice((1, 10, 500))).encode() + b'\n'
            with open(os.path.join(base, path), 'wb') as file:
                file.write(text)
                if chance.randrange(20) == 0: os.fsync(file.fileno())
            model[path] = text
        elif kind < 7 and values():
            path = chance.choice(values())
            with open(os.path.join(base, path), 'ab') as file: file.write(b'more\n')
            model[path] += b'more\n'
        elif kind < 8 and values():
            path, target = chance.choice(values()), new()
            if target in model and model[target] is None: continue
            os.rename(os.path.join(base, path), os.path.join(base, target))
            model[target] = model.pop(path)
        elif kind < 9:
            path = chance.choice(keys())
            target = os.path.join(os.path.dirname(path), 'r%d' % chance.randrange(60))
            if not path or target in model: continue
            os.rename(os.path.join(base, path), os.path.join(base, target))
            for other in below(path): model[target + other[len(path):]] = model.pop(other)
            model[target] = model.pop(path)
        elif kind < 10 and values():
            path = chance.choice(values())
            os.unlink(os.path.join(base, path))
            del model[path]
        elif kind < 11:
            path = chance.choice(keys())
            if not path or below(path): continue
            os.rmdir(os.path.join(base, path))
            del model[path]
        elif values():
            path = chance.choice(values())
            with open(os.path.join(base, path), 'rb') as file: text = file.read()
            assert text == model[path], (path, text[:40], model[path][:40])
        if steps % 500 == 0: assert tree(base) == model, 'the tree is not the model after %d steps' % steps
    assert tree(base) == model, 'the tree is not the model at the end'
    return model, steps


def read(point, seed, deadline):
    """Walks everything until the deadline; what goes away meanwhile is no error."""
    steps = 0
    while time.monotonic() < deadline:
        for folder, _, values in os.walk(point):
            steps += 1
            for name in values:
                try:
                    with open(os.path.join(folder, name), 'rb') as file: file.read()
                except FileNotFoundError: pass
            if time.monotonic() >= deadline: break
    return None, steps


def worker(work, place, seed, deadline, report):
    """A child process: its result, or what went wrong, goes to a file."""
    child = os.fork()
    if child: return child
    try:
        try: model, steps = work(place, seed, deadline)
        except BaseException as problem: result = {'problem': repr(problem)}
        else: result = {'steps': steps, 'model': model and {k: v and v.decode() for k, v in model.items()}}
        with open(report, 'w') as file: json.dump(result, file)
    finally: os._exit(0)


def mount(hive, point, policy):
    done = subprocess.run([REGWARD, 'mount', '-o', 'policy=' + policy, hive, point], capture_output=True, text=True)
    if done.returncode: raise RuntimeError(done.stderr)
    with open(point + '/%ctl/status') as file: return json.load(file)['pid']


def descriptors(pid): return len(os.listdir('/proc/%d/fd' % pid))


def memory(pid):
    with open('/proc/%d/statm' % pid) as file: return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


folder = tempfile.mkdtemp(prefix='regward-stress-')
point = os.path.join(folder, 'mnt')
try:
    subprocess.run([os.path.join(BIN, 'make-hive-samples'), folder], check=True, capture_output=True)
    hive, policy = os.path.join(folder, 'system.hiv'), os.path.join(folder, 'policy.yaml')
    with open(policy, 'w') as file: file.write('version: 1\nmode: off\n')
    os.chmod(policy, 0o600)
    os.mkdir(point)
    print('seed %d' % SEED)
    pid = mount(hive, point, policy)
    before, start = descriptors(pid), time.monotonic()
    children = {}
    for number in range(WRITERS + READERS):
        place = os.path.join(point, 'w%d' % number) if number < WRITERS else point
        if number < WRITERS: os.mkdir(place)
        report = os.path.join(folder, 'report%d' % number)
        children[worker(write if number < WRITERS else read, place, SEED * 100 + number, start + SECONDS, report)] = (number, report)
    time.sleep(SECONDS / 3)  # what is watched here is memory over time
    third = memory(pid)
    reports = {}
    while children:
        child, _ = os.wait()
        number, report = children.pop(child)
        with open(report) as file: reports[number] = json.load(file)
    check('every process got through', not any('problem' in r for r in reports.values()), [r for r in reports.values() if 'problem' in r])
    steps = sum(r.get('steps', 0) for r in reports.values())
    check('they did something', all(r.get('steps', 0) > 0 for r in reports.values()), [r.get('steps') for r in reports.values()])
    print('%d steps' % steps)
    check('memory is flat after the first third', memory(pid) <= third + GROWTH, (third >> 20, memory(pid) >> 20))
    # Each of libfuse's ten threads has one of its own, and is made when it is needed.
    check('descriptors are flat', descriptors(pid) <= before + 10, (before, descriptors(pid)))
    def differing():
        return [n for n in range(WRITERS) if tree(os.path.join(point, 'w%d' % n)) != {k: None if v is None else v.encode() for k, v in (reports[n].get('model') or {}).items()}]
    check('the trees are the models', differing() == [], differing())
    subprocess.run([REGWARD, 'umount', point], check=True, capture_output=True)
    done = subprocess.run([REGWARD, 'check', hive], capture_output=True, text=True)
    check('regward check finds nothing', done.returncode == 0, done.stdout + done.stderr)
    mount(hive, point, policy)
    check('the trees are the models after mounting again', differing() == [], differing())
finally:
    if os.path.ismount(point): subprocess.run([REGWARD, 'umount', point], capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
verdict.close()
