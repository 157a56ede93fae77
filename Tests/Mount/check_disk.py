#!/usr/bin/env python3
"""check_disk.py BINARY

What a mount does when its disk is full, when the size of its files is limited, and when its changes go to the disk, on real file
systems. Needs root, strace and prlimit.

BINARY is regward; make-hive-samples lies beside it. Prints PASS or FAIL and a name for each check and closes with
`N passed, M failed`; exits with 1 when anything failed. Leaves no mount, no process and no file behind.
"""
import errno, os, re, shutil, signal, subprocess, sys

import check_control as control
from check_control import Failure, Mount, expect, run

CHECKS = []
KEY = 'ControlSet001/Services'
MEGABYTE = 1 << 20


def check(function):
    def checked():
        function()
        expect(function.__name__, True)
    checked.__name__ = function.__name__
    CHECKS.append(checked)
    return function


class SmallDisk:
    """A mount whose hive and logs lie on a disk of some megabytes, part of which a file takes up."""

    def __init__(self, megabytes=6, filler=2):
        self.mount = Mount('version: 1\n')
        self.disk = os.path.join(self.mount.folder, 'disk')
        os.mkdir(self.disk)
        run(['mount', '-t', 'tmpfs', '-o', 'size=%dm' % megabytes, 'tmpfs', self.disk])
        self.filler = os.path.join(self.disk, 'filler')
        with open(self.filler, 'wb') as f: f.write(b'x' * filler * MEGABYTE)
        shutil.move(self.mount.hive, self.disk)
        self.mount.hive = os.path.join(self.disk, 'SYSTEM')

    def __enter__(self):
        self.mount.start()
        return self

    def __exit__(self, *arguments):
        self.mount.__exit__(*arguments)
        run(['umount', self.disk])


def text(number): return ('%d ' % number) + 'y' * 4000 + '\n'


def write(mount, number):
    """Nil, or the errno of the first call that failed."""
    try:
        descriptor = os.open(mount.file('%s/n%d' % (KEY, number)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try: os.write(descriptor, text(number).encode())
        finally: os.close(descriptor)
    except OSError as error: return error.errno


def fill(mount, most=20000):
    """The numbers of the values that were written before one was refused, and its errno."""
    written = []
    for number in range(most):
        failure = write(mount, number)
        if failure: return written, failure
        written.append(number)
    raise Failure('%d values fitted' % most)


def expect_written(mount, numbers):
    for number in numbers:
        with open(mount.file('%s/n%d' % (KEY, number))) as f:
            if f.read() != text(number): raise Failure('n%d is not what was written' % number)


def expect_clean(mount):
    status, told = run([control.REGWARD, 'check', mount.hive])
    if status: raise Failure('check: ' + told)


def goes_on(mount, written, failure, make_room):
    """A refused value is nowhere, all others are as written; with room again the mount takes changes, and all is there at the end."""
    if failure != errno.ENOSPC: raise Failure('refused with %s' % errno.errorcode.get(failure, failure))
    refused = len(written)
    if len(written) < 20: raise Failure('only %d values' % len(written))
    expect_written(mount, written)
    if os.path.exists(mount.file('%s/n%d' % (KEY, refused))): raise Failure('the refused value is there')
    make_room()
    if write(mount, refused): raise Failure('with room again it is refused still')
    expect_written(mount, written + [refused])
    mount.__exit__()
    if mount.process.returncode: raise Failure('the daemon ended with %d: %s' % (mount.process.returncode, mount.told()))
    expect_clean(mount)
    mount.start()
    expect_written(mount, written + [refused])


@check
def a_full_disk_refuses_and_goes_on():
    with SmallDisk() as small:
        goes_on(small.mount, *fill(small.mount), lambda: os.unlink(small.filler))


@check
def a_full_disk_and_a_killed_daemon():
    with SmallDisk() as small:
        mount = small.mount
        written, _ = fill(mount)
        mount.process.kill()
        mount.process.wait()
        run(['umount', '-l', mount.path])
        os.unlink(small.filler)
        mount.start()
        expect_written(mount, written)
        mount.__exit__()
        expect_clean(mount)
        mount.start()


@check
def a_full_disk_at_the_end():
    """No room to bring the changes to the hive's file: they stay in the log, and the exit says so, or there was room enough."""
    with SmallDisk() as small:
        mount = small.mount
        written, _ = fill(mount)
        mount.__exit__()
        os.unlink(small.filler)
        mount.start()
        expect_written(mount, written)
        mount.__exit__()
        expect_clean(mount)
        mount.start()


@check
def a_limit_on_the_size_of_files():
    """A write at the limit is a short one first, and EFBIG then."""
    with Mount('version: 1\n') as mount:
        pid = str(mount.process.pid)
        run(['prlimit', '--pid', pid, '--fsize=%d:unlimited' % (3 * MEGABYTE + 1234)])
        goes_on(mount, *fill(mount), lambda: run(['prlimit', '--pid', pid, '--fsize=unlimited:unlimited']))


def syncs(mount, body):
    """How often the daemon makes its files durable while `body` runs."""
    trace = os.path.join(mount.folder, 'trace')
    strace = subprocess.Popen(
        ['strace', '-f', '-e', 'trace=fdatasync,fsync,sync_file_range', '-o', trace, '-p', str(mount.process.pid)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        # It says so once it is attached.
        if b'attached' not in strace.stderr.readline(): raise Failure('strace could not attach')
        body()
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(20)
        strace.stderr.close()
    with open(trace) as f: return len(re.findall(r'f(?:data)?sync\(', f.read()))


def writes(mount, count=20):
    for number in range(count):
        if write(mount, number): raise Failure('refused')


def sync(mount):
    descriptor = os.open(mount.file(KEY), os.O_RDONLY | os.O_DIRECTORY)
    try: os.fsync(descriptor)
    finally: os.close(descriptor)


def with_sync(option, of_writes, of_fsync):
    with Mount('version: 1\n', options='sync=' + option) as mount:
        # The first change marks the hive dirty, and that is synced whatever the option.
        if write(mount, 0): raise Failure('refused')
        found = syncs(mount, lambda: writes(mount))
        if not of_writes(found): raise Failure('sync=%s: %d syncs for 20 writes' % (option, found))
        found = syncs(mount, lambda: sync(mount))
        if not of_fsync(found): raise Failure('sync=%s: %d syncs for an fsync' % (option, found))


@check
def sync_op_makes_each_change_durable(): with_sync('op', lambda n: n >= 20, lambda n: n >= 0)


@check
def sync_fsync_waits_for_an_fsync(): with_sync('fsync', lambda n: n == 0, lambda n: n >= 1)


@check
def sync_unmount_waits_for_the_end(): with_sync('unmount', lambda n: n == 0, lambda n: n == 0)


if __name__ == '__main__': sys.exit(control.main(CHECKS))
