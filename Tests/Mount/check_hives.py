#!/usr/bin/env python3
"""check_hives.py BIN-DIRECTORY

Several hives in one mount, `--windows`, links, CurrentControlSet and the views of /%ctl/, through real mounts and with real programs:
SEMANTICS 1.6, 1.8 to 1.13, 5.14 to 5.18.
BIN-DIRECTORY holds regward and make-hive-samples. Needs root.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Standard library only. Leaves no mount, no process and no file behind.
"""
import errno, json, os, shutil, stat, subprocess, sys, tempfile, threading, traceback

import verdict
from verdict import check

BIN = os.path.abspath(sys.argv[1])
REGWARD = os.path.join(BIN, 'regward')
FOLDER = tempfile.mkdtemp(prefix='regward-hives-')
os.chmod(FOLDER, 0o755)
SID = 'S-1-5-21-1-2-3-1001'


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    return done.returncode, done.stdout + done.stderr


def error_of(body):
    """The errno's name, None where nothing was raised."""
    try:
        body()
        return None
    except OSError as error: return errno.errorcode[error.errno]


def path(*parts): return os.path.join(FOLDER, *parts)


def read(*parts):
    with open(os.path.join(*parts)) as file: return file.read()


def write(text, *parts):
    os.makedirs(os.path.join(*parts[:-1]), exist_ok=True)
    with open(os.path.join(*parts), 'w') as file: file.write(text)


class Mount:
    """`arguments` of `regward mount` and their mount point, for the `with`."""
    number = 0

    def __init__(self, *arguments, judged=False):
        Mount.number += 1
        self.point = path('mnt%d' % Mount.number)
        os.mkdir(self.point)
        if not judged: arguments = ('--policy', path('off.yaml')) + arguments
        self.status, self.text = run(REGWARD, 'mount', *arguments, self.point)

    def __enter__(self):
        if self.status != 0: raise RuntimeError(self.text)
        return self

    def __exit__(self, *_):
        if os.path.ismount(self.point): run(REGWARD, 'umount', self.point)
        os.rmdir(self.point)

    def at(self, *parts): return os.path.join(self.point, *parts)

    def daemon(self): return json.loads(read(self.at('%ctl', 'status')))['pid']


def sample(name, *target):
    os.makedirs(path(*target[:-1]), exist_ok=True)
    shutil.copyfile(path('samples', name), path(*target))
    return path(*target)


# ---------------------------------------------------------------- --windows

def windows():
    config = ('image', 'windows', 'SYSTEM32', 'Config')
    sample('system.hiv', *config, 'System')
    software = sample('software.hiv', *config, 'SOFTWARE')
    with Mount(software) as m:
        for sid, folder in [(SID, r'C:\Users\alice'), ('S-1-5-18', r'%SystemRoot%\system32'), ('Bob', r'C:\Users\Bob')]:
            write(folder + '\n', m.at('Microsoft', 'Windows NT', 'CurrentVersion', 'ProfileList', sid), 'ProfileImagePath%expand_sz')
    with open(sample('edge-names.hiv', *config, 'sam'), 'r+b') as file: file.truncate(5000)
    outside = sample('edge-names.hiv', 'outside', 'SECURITY')
    os.symlink(outside, path(*config, 'SECURITY'))
    default = sample('edge-names.hiv', *config, 'DEFAULT')
    sample('edge-names.hiv', 'image', 'Users', 'Alice', 'ntuser.dat')
    sample('edge-names.hiv', 'image', 'Users', 'Alice', 'AppData', 'local', 'Microsoft', 'Windows', 'usrclass.DAT')
    sample('edge-names.hiv', 'image', 'Users', 'Bob', 'NTUSER.DAT')
    sample('edge-names.hiv', 'image', 'Users', 'bob', 'NTUSER.DAT')
    sample('edge-names.hiv', 'outside', 'Eve', 'NTUSER.DAT')
    os.symlink(path('outside', 'Eve'), path('image', 'Users', 'Eve'))
    os.symlink('Alice', path('image', 'Users', 'Alias'))
    os.symlink('/nowhere', path('image', 'Users', 'All Users'))
    with Mount(default), Mount('--windows', path('image')) as m:
        check('windows: finds every hive in any case, users by their SID or folder', sorted(os.listdir(m.at('HKLM'))) == ['SOFTWARE', 'SYSTEM']
              and sorted(os.listdir(m.at('HKU'))) == sorted(['Bob', SID, SID + '_Classes']), (os.listdir(m.at('HKLM')), os.listdir(m.at('HKU'))))
        told = [line for line in m.text.splitlines() if ' is \\REGISTRY\\' in line]
        check('windows: says what is where', len(told) == 5 and any(
            'usrclass.DAT is \\REGISTRY\\USER\\%s_Classes' % SID in line for line in told), m.text)
        skipped = [line for line in m.text.splitlines() if line.startswith('regward: skipped: ')]
        check('windows: says what it leaves out, and why', len(skipped) == 5 and any('HKU/bob=' in line and 'taken' in line for line in skipped) and any('sam: it is damaged' in line for line in skipped)
              and any('DEFAULT is busy' in line for line in skipped)
              and sum('leads out of' in line and 'not followed' in line for line in skipped) == 2, m.text)
        check('windows: the hives work', os.readlink(m.at('HKLM', 'SYSTEM', 'CurrentControlSet')) == 'ControlSet001')
        files = json.loads(read(m.at('%ctl', 'status')))['hives']
        check('windows: status tells the files', len(files) == 5 and all(file.startswith(path('image')) for file in files), files)
    with Mount('-o', 'ro', '--windows', path('image')) as m:
        check('windows: DEFAULT is HKU/.DEFAULT', os.path.isdir(m.at('HKU', '.DEFAULT')), m.text)
    for place in ['HKLM/A/B', 'HKCU/A']:
        bad = Mount('%s=%s' % (place, software))
        check('places: %s is none, and said' % place, bad.status == 1 and place + ' is no place for a hive' in bad.text, bad.text)
        os.rmdir(bad.point)
    bad = Mount('--windows', path('outside'))
    check('windows: a tree without hives is 32', bad.status == 32 and 'no hive where Windows has them' in bad.text, bad.text)
    os.rmdir(bad.point)
    os.makedirs(path('broken', 'Windows', 'System32', 'config'))
    write('nothing\n', path('broken', 'Windows', 'System32', 'config'), 'SAM')
    bad = Mount('--windows', path('broken'))
    check('windows: a tree of damaged hives is 32', bad.status == 32 and 'skipped: ' in bad.text and 'no hive in it' in bad.text, bad.text)
    os.rmdir(bad.point)


# ---------------------------------------------------------------- CurrentControlSet

def control_set():
    name = ('Control', 'ComputerName', 'ComputerName', 'ComputerName')
    with Mount(sample('system.hiv', 'ccs.hiv')) as m:
        link = m.at('CurrentControlSet')
        write('TWO\n', m.at('ControlSet002', *name[:-1]), name[-1])
        one = read(link, *name)
        check('ccs: is a link, and listed', os.readlink(link) == 'ControlSet001' and 'CurrentControlSet' in os.listdir(m.point)
              and stat.S_ISLNK(os.lstat(link).st_mode) and os.lstat(link).st_ino == [e.inode() for e in os.scandir(m.point) if e.name == 'CurrentControlSet'][0])
        write('2\n', m.at('Select'), 'Current')
        check('ccs: follows Select\\Current at once', os.readlink(link) == 'ControlSet002' and read(link, *name) == 'TWO\n' != one
              and os.lstat(link).st_size == 13)
        write('made\n', os.path.join(link, 'Services', 'New'), 'Value')
        check('ccs: what is made below it is made in the control set', read(m.at('ControlSet002', 'Services', 'New', 'Value')) == 'made\n')
        check('ccs: unlink is EPERM', error_of(lambda: os.unlink(link)) == 'EPERM')
        check('ccs: rename is EPERM', error_of(lambda: os.rename(link, m.at('x'))) == 'EPERM')
        check('ccs: a value over it is EPERM', error_of(lambda: os.rename(m.at('Select', 'Failed'), link)) == 'EPERM')
        check('ccs: a directory over it is ENOTDIR', error_of(lambda: os.rename(m.at('Setup'), link)) == 'ENOTDIR')
        check('ccs: mkdir is EEXIST, in any case', error_of(lambda: os.mkdir(m.at('currentCONTROLset'))) == 'EEXIST')
        check('ccs: rmdir is ENOTDIR', error_of(lambda: os.rmdir(link)) == 'ENOTDIR')
        check('ccs: symlink is EEXIST there, EPERM elsewhere', error_of(lambda: os.symlink('ControlSet001', link)) == 'EEXIST'
              and error_of(lambda: os.symlink('a', m.at('b'))) == 'EPERM')
        check('ccs: touch -h passes', run('touch', '-h', link)[0] == 0)
        os.unlink(m.at('Select', 'Current'))
        check('ccs: is gone with the selection, for the kernel too', error_of(lambda: os.lstat(link)) == 'ENOENT' and 'CurrentControlSet' not in os.listdir(m.point))
        write('1\n', m.at('Select'), 'Current%dword')
        check('ccs: and there again', os.readlink(link) == 'ControlSet001')
        status, text = run('rsync', '-aX', m.point + '/', path('copy'))
        check('ccs: rsync -aX copies it as a link', status == 0 and os.readlink(path('copy', 'CurrentControlSet')) == 'ControlSet001', text)
        status, text = run('rsync', '-aX', path('copy') + '/', m.point)
        check('ccs: rsync -aX back finds it as it is', status == 0, text)
        # What cannot be made is named, and nothing else is the worse for it.
        status, text = run('cp', '-a', path('copy', 'CurrentControlSet'), m.point)
        check('ccs: cp -a back fails of the link, and says so', status == 1 and text.count('CurrentControlSet') == 1 and 'not permitted' in text
              and os.readlink(link) == 'ControlSet001', text)
        run('tar', '-C', path('copy'), '-cf', path('copy.tar'), 'CurrentControlSet')
        status, text = run('tar', '-C', m.point, '-xf', path('copy.tar'))
        check('ccs: tar back finds it as it is', os.readlink(link) == 'ControlSet001', (status, text))
    with Mount('-o', 'ccs=off', path('ccs.hiv')) as m:
        check('ccs: ccs=off leaves it out', error_of(lambda: os.lstat(m.at('CurrentControlSet'))) == 'ENOENT' and 'CurrentControlSet' not in os.listdir(m.point))
    with Mount('--at', r'HKLM\OFFLINE', path('ccs.hiv')) as m:
        check('at: the hive has the name that it was given', json.loads(read(m.at('%ctl', 'status')))['location'] == r'\REGISTRY\MACHINE\OFFLINE')
    with Mount(sample('system.hiv', 'judged.hiv'), judged=True) as m:
        start = m.at('CurrentControlSet', 'Services', 'WinDefend', 'Start')
        status, text = run('sh', '-c', 'echo 4 > "%s"' % start)
        why = run(REGWARD, 'why', m.at('ControlSet001', 'Services', 'WinDefend', 'Start'))[1]
        check('ccs: changes below it are judged by the real name', status != 0 and 'refused' in why and 'ControlSet001' in why, (text, why))


# ---------------------------------------------------------------- link keys

def links():
    with Mount('HKLM/SYSTEM=' + sample('system.hiv', 'l1.hiv'), 'HKLM/SOFTWARE=' + sample('software.hiv', 'l2.hiv')) as m:
        def link(name, target): return run(REGWARD, 'add', m.at('HKLM', 'SYSTEM', name), '--link', target)
        check('links: are made with either form of a name', link('L', r'\REGISTRY\MACHINE\SOFTWARE\Microsoft')[0] == 0 and link('M', r'HKLM\SYSTEM\Select')[0] == 0)
        check('links: lead from one hive into another', os.path.samefile(m.at('HKLM', 'SYSTEM', 'L'), m.at('HKLM', 'SOFTWARE', 'Microsoft')))
        check('links: lead to a neighbour', read(m.at('HKLM', 'SYSTEM', 'M', 'Current')) == '1\n')
        link('Dangling', r'HKLM\SYSTEM\Nowhere'), link('Outside', r'\REGISTRY\A\x')
        for name in ['Dangling', 'Outside']:
            place = m.at('HKLM', 'SYSTEM', name)
            check('links: %s stays dangling' % name, os.path.islink(place) and error_of(lambda: os.stat(place)) == 'ENOENT'
                  and name in os.listdir(m.at('HKLM', 'SYSTEM')))
        os.mkdir(m.at('HKLM', 'SYSTEM', 'Nowhere'))
        check('links: until there is something', os.path.isdir(m.at('HKLM', 'SYSTEM', 'Dangling')))
        link('A', r'HKLM\SYSTEM\B'), link('B', r'HKLM\SYSTEM\A')
        check('links: a loop is ELOOP', error_of(lambda: os.stat(m.at('HKLM', 'SYSTEM', 'A'))) == 'ELOOP')
        link('Up', r'HKLM\SYSTEM')
        check('links: one to its own parent ends a walk', run('find', '-L', m.at('HKLM', 'SYSTEM', 'Up'), '-maxdepth', '3', '-name', 'nothing')[1].count('loop') > 0)
        os.unlink(m.at('HKLM', 'SYSTEM', 'L'))
        check('links: rm removes the link only', os.path.isdir(m.at('HKLM', 'SOFTWARE', 'Microsoft')))


# ---------------------------------------------------------------- /%ctl/

def views():
    nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
    with Mount('-o', 'allow_other', sample('system.hiv', 'v.hiv')) as m:
        def ctl(*parts): return m.at('%ctl', *parts)
        check('ctl: is not listed, and lists its files', '%ctl' not in os.listdir(m.point)
              and sorted(os.listdir(ctl())) == ['cmd', 'events', 'export', 'restore', 'rules', 'save', 'stats', 'status'], os.listdir(ctl()))
        listed = run(REGWARD, 'rules', 'list', m.point)[1]
        check('ctl: rules is what regward rules list gives', read(ctl('rules')) == listed and (listed == '' or 'hits' in listed), listed[:200])
        status, text = run('cp', ctl('save', 'ControlSet001', 'Services.hiv'), path('services.hiv'))
        status2, text2 = run(REGWARD, 'check', path('services.hiv'))
        names = [line.split('\t')[1] for line in run(REGWARD, 'dump', path('services.hiv'))[1].splitlines() if line.startswith('K')]
        check('ctl: cp of a save is a hive file of the key', status == 0 and status2 == 0 and 'Tcpip\\Parameters' in names, (text, text2, names))
        check('ctl: and through CurrentControlSet', run('cp', ctl('save', 'CurrentControlSet', 'Services.hiv'), path('s2.hiv'))[0] == 0
              and os.path.getsize(path('s2.hiv')) == os.path.getsize(path('services.hiv')))
        # SEMANTICS 1.15
        with open(ctl('export', 'ControlSet001', 'Services.reg'), 'rb') as file: text = file.read()
        status, told = run(REGWARD, 'export', '--encoding', 'utf-16', '-o', path('s.reg'), m.at('ControlSet001', 'Services'))
        with open(path('s.reg'), 'rb') as file: check('ctl: export is the text of the key', text == file.read() and len(text) > 1000, (status, told))
        status, told = run('sh', '-c', 'echo x > "$1"', 'sh', ctl('export', 'Select.reg'))
        check('ctl: an export is not written', status != 0, told)
        with open(ctl('save', '.hiv'), 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            check('ctl: the size is right from the open on', size == len(file.read()) > 0)
        os.mkdir(m.at('Target'))
        status, text = run('cp', path('services.hiv'), ctl('restore', 'Target.hiv'))
        check('ctl: cp of a hive file is a restore', status == 0 and os.path.isdir(m.at('Target', 'Tcpip', 'Parameters')), text)
        whole = open(path('services.hiv'), 'rb').read()
        for name, bad in [('garbage', b'x' * 10000), ('one cut short', whole[:-4096]), ('nothing like one', b'')]:
            file = open(ctl('restore', 'Target.hiv'), 'wb', buffering=0)
            file.write(bad)
            said = error_of(file.close)
            check('ctl: restoring %s is %s and changes nothing' % (name, 'EINVAL at the close' if bad else 'no restore'),
                  said == ('EINVAL' if bad else None) and os.path.isdir(m.at('Target', 'Tcpip')), said)
        status, text = run('sh', '-c', 'cat "%s" > "%s"' % (path('services.hiv'), ctl('restore', 'Setup.hiv')))
        check('ctl: a shell restores too', status == 0 and os.path.isdir(m.at('Setup', 'Tcpip')), text)
        status, text = run(*nobody, 'sh', '-c', 'cat "$1" | head -c 4', 'sh', ctl('save', 'Select.hiv'))
        check('ctl: who can read the mount can read a save', text == 'regf', text)
        status, text = run(*nobody, 'cp', path('services.hiv'), ctl('restore', 'Target.hiv'))
        check('ctl: who cannot write to the mount cannot restore', status != 0 and 'Permission denied' in text, text)
        status, text = run('mkdir', ctl('save', 'x'))
        check('ctl: nothing is made there', status != 0)
    with Mount('-o', 'allow_other,umask=077', path('v.hiv')) as m:
        status, text = run(*nobody, 'cat', m.at('%ctl', 'save', 'Select.hiv'))
        check('ctl: who cannot read the mount can read no save', status != 0 and 'Permission denied' in text, text)
    with Mount('-o', 'ro', path('v.hiv')) as m:
        check('ctl: a read-only mount saves', run('cp', m.at('%ctl', 'save', 'Select.hiv'), path('select.hiv'))[0] == 0)
        check('ctl: and restores nothing', error_of(lambda: open(m.at('%ctl', 'restore', 'Target.hiv'), 'wb')) == 'EROFS')
    with Mount('HKLM/SYSTEM=' + path('v.hiv')) as m:
        check('ctl: a hive of several is saved', run('cp', m.at('%ctl', 'save', 'HKLM', 'SYSTEM.hiv'), path('all.hiv'))[0] == 0)
        check('ctl: what is no hive is not', error_of(lambda: open(m.at('%ctl', 'save', 'HKLM.hiv'))) == 'EINVAL')
    with Mount(sample('system.hiv', 'vj.hiv'), judged=True) as m:
        before = os.listdir(m.at('ControlSet001', 'Services'))
        status, text = run('cp', path('services.hiv'), m.at('%ctl', 'restore', 'ControlSet001', 'Services.hiv'))
        check('ctl: a restore over protected keys is refused at the open', status != 0 and 'Permission denied' in text
              and os.listdir(m.at('ControlSet001', 'Services')) == before, text)


# ---------------------------------------------------------------- load and unload

def loading():
    with Mount('HKLM/SYSTEM=' + sample('system.hiv', 'u1.hiv')) as m:
        user, place = sample('edge-names.hiv', 'u2.hiv'), m.at('HKU', 'S-1')
        check('load: a hive comes into the mount', run(REGWARD, 'load', place, user)[0] == 0 and os.path.isdir(place))
        os.mkdir(os.path.join(place, 'In'))
        write('text\n', os.path.join(place, 'In'), 'value')
        folder = os.open(os.path.join(place, 'In'), os.O_RDONLY)
        value = os.open(os.path.join(place, 'In', 'value'), os.O_RDONLY)
        inside = subprocess.Popen(['sh'], cwd=os.path.join(place, 'In'), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        writer = open(os.path.join(place, 'In', 'value'), 'w')
        status, text = run(REGWARD, 'unload', place)
        check('unload: is EBUSY while a value is open for writing', status == 1 and 'in use' in text, text)
        writer.write('new\n')
        writer.close()
        status, text = run(REGWARD, 'unload', place)
        check('unload: passes those who read or stand in it', status == 0 and not os.path.exists(place), text)
        check('unload: fsync of what they have open is no failure', error_of(lambda: os.fsync(folder)) is None and error_of(lambda: os.fsync(value)) is None)
        check('unload: listing it is ENOENT', error_of(lambda: os.listdir(folder)) == 'ENOENT', error_of(lambda: os.listdir(folder)))
        out, _ = inside.communicate('ls value >/dev/null 2>&1 || echo gone; mkdir x 2>/dev/null || echo none\n', timeout=60)
        check('unload: a working directory in it is an empty place', out == 'gone\nnone\n', out)
        check('unload: the file is whole, and has what was written', run(REGWARD, 'check', user)[0] == 0 and 'In' in run(REGWARD, 'dump', user)[1])
        check('load: again, and old handles stay of no use', run(REGWARD, 'load', place, user)[0] == 0 and read(place, 'In', 'value') == 'new\n'
              and error_of(lambda: os.listdir(folder)) == 'ENOENT' and error_of(lambda: os.pread(value, 10, 0)) in (None, 'ENOENT'))
        os.close(folder), os.close(value)
        status, text = run(REGWARD, 'load', m.at('HKLM', 'Again'), user)
        check('load: a file that is loaded is EBUSY, and said', status == 1 and 'is loaded already' in text, text)
        status, text = run(REGWARD, 'unload', m.at('HKLM'))
        check('unload: what is no hive is told', status == 1 and 'no hive is loaded there' in text, text)
        for command in [('rename', m.at('HKLM'), 'X'), ('save', m.point, path('none.hiv')), ('restore', m.at('HKU'), path('samples', 'edge-names.hiv')),
                        ('add', m.at('HKLM', 'L'), '--link', r'HKLM\SYSTEM')]:
            status, text = run(REGWARD, *command)
            check('load: %s where hives lie is refused, and said' % command[0], status == 1 and 'hives lie below it' in text, text)
        run(REGWARD, 'load', place, user)
        status, text = run('mv', place, m.at('HKU', 'S-2'))
        check('load: a place is not renamed', status != 0 and os.listdir(m.at('HKU')) == ['S-1'], text)
        status, text = run(REGWARD, 'rename', place, 'S-2')
        check('load: nor by regward rename', status == 1 and os.listdir(m.at('HKU')) == ['S-1'], text)
        check('load: nor removed', error_of(lambda: os.rmdir(place)) is not None and error_of(lambda: os.mkdir(m.at('HKU', 'x'))) is not None)
        race(m, place, user)


def race(m, place, user):
    """fsync of everything there is, while the hive is loaded, written and unloaded."""
    wrong, done = [], threading.Event()
    def sync():
        while not done.is_set():
            try:
                descriptor = os.open(os.path.join(place, 'In'), os.O_RDONLY)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE): wrong.append(error)
                continue
            try: os.fsync(descriptor)
            except OSError as error: wrong.append(error)
            os.close(descriptor)
    threads = [threading.Thread(target=sync) for _ in range(4)]
    for thread in threads: thread.start()
    for number in range(40):
        if number: run(REGWARD, 'load', place, user)
        write('%d\n' % number, os.path.join(place, 'In'), 'value')
        status, text = run(REGWARD, 'unload', place)
        if status: wrong.append(text)
    done.set()
    for thread in threads: thread.join()
    check('unload: racing fsync is no failure', not wrong, wrong[:3])


# ---------------------------------------------------------------- What a mount and an import say before they do harm

def telling():
    system = sample('system.hiv', 'said', 'SYSTEM')
    write('version: 1\nmonitored:\n' + ''.join(
        "  - {id: %s, key: 'HKLM\\SYSTEM\\Select', rules: [CreateDenied]}\n" % name for name in ('first', 'second')), path('said'), 'twice.yaml')
    os.chmod(path('said'), 0o755)
    with Mount('--policy', path('said', 'twice.yaml'), system, judged=True) as m:
        check('policy: its warnings are told by a mount in the background', "twice.yaml:4" in m.text and "'second' adds nothing" in m.text, m.text)
    helper = path('mount.regward')
    os.symlink(REGWARD, helper)
    os.mkdir(path('helped'))
    options = ('-o', 'rw,noauto,policy=' + path('off.yaml'))
    status, text = run(helper, system, path('helped'), '-fv', *options)
    check('mount.regward: -f mounts nothing', status == 0 and not os.path.ismount(path('helped')), (status, text))
    status, text = run(helper, system, path('helped'), '-v', *options)
    check('mount.regward: mounts as mount(8) calls it', status == 0 and read(path('helped'), 'Select', 'Current') == '1\n', (status, text))
    daemon = json.loads(read(path('helped'), '%ctl', 'status'))['pid']
    check('mount.regward: its daemon is regward', read('/proc/%d/cmdline' % daemon).split('\0')[:2] == ['regward', 'mount'])
    run(REGWARD, 'umount', path('helped'))
    with Mount('--at', 'HKLM/SYSTM', system) as m:
        check('at: a place that the hive\'s keys do not speak for is warned of',
              'its keys are those of \\REGISTRY\\MACHINE\\SYSTEM, and it is mounted as \\REGISTRY\\MACHINE\\SYSTM' in m.text, m.text)
    with Mount('--at', 'HKLM/system', system) as m: check('at: its own place in any case is not', 'warning' not in m.text, m.text)
    before = sorted(os.listdir(path('said')))
    for name in ('SYSTEM', 'SYSTEM.LOG', 'system.log1', 'SYSTEM.Log2', 'twice.yaml'):
        mount = Mount('--policy', path('said', 'twice.yaml'), '-o', 'log=' + path('said', name), system, judged=True)
        check('log: not where the mount has a file of its own: ' + name, mount.status == 1 and 'the log ' in mount.text, (mount.status, mount.text))
        os.rmdir(mount.point)
    check('log: nothing was made', sorted(os.listdir(path('said'))) == before, os.listdir(path('said')))
    with Mount(system, judged=True) as m:
        write('Windows Registry Editor Version 5.00\n\n[-HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services]\n', path('said'), 'tree.reg')
        def listing(): return subprocess.run(['find', m.at('ControlSet001', 'Services')], capture_output=True).stdout
        whole = listing()
        status, text = run(REGWARD, 'import', m.point, path('said', 'tree.reg'))
        check('import: a tree with a key that may not go stays whole', status == 1 and listing() == whole and b'WinDefend' in whole, (status, text))
        check('import: says which line, which key and why', 'tree.reg:3' in text and 'ControlSet001' in text and 'refused' in text, text)
        write('Windows Registry Editor Version 5.00\n\n[-HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\Dhcp]\n', path('said'), 'tree.reg')
        status, text = run(REGWARD, 'import', m.point, path('said', 'tree.reg'))
        check('import: another goes', status == 0 and not os.path.exists(m.at('ControlSet001', 'Services', 'Dhcp')), text)


def main():
    os.mkdir(path('samples'))
    subprocess.run([os.path.join(BIN, 'make-hive-samples'), path('samples')], check=True, capture_output=True)
    with open(path('off.yaml'), 'w') as file: file.write('version: 1\nmode: "off"\n')
    os.chmod(path('off.yaml'), 0o600)
    try:
        for part in [windows, control_set, links, views, loading, telling]:
            try: part()
            except Exception: check(part.__name__ + ': runs to its end', False, traceback.format_exc())
    finally:
        for name in os.listdir(FOLDER):
            if os.path.ismount(path(name)): run('fusermount3', '-uz', path(name))
        shutil.rmtree(FOLDER, ignore_errors=True)
    verdict.close()


main()
