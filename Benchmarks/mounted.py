"""What the measuring programs of this folder share: a mount that is watched, policies and hives of any size."""
import glob, os, resource, select, signal, subprocess, sys, tempfile, time

# One core for server and client: waking another costs more than what is measured. Where we may not, it is not so.
PIN = ["taskset", "-c", "0"] if hasattr(os, "sched_getaffinity") and 0 in os.sched_getaffinity(0) else []


def is_mounted(mountpoint):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == mountpoint for line in file)


class Failure(Exception):
    pass


class Mount:
    """A hive mounted by a program; `words` with the hive and the mount point in them."""

    def __init__(self, words, mountpoint, pin=PIN, timeout=120):
        self.mountpoint = mountpoint
        os.makedirs(mountpoint, exist_ok=True)
        # A program started later than us, and that names the mount point, serves it.
        self.errors = tempfile.TemporaryFile()
        self.launcher = subprocess.Popen(pin + words, stdout=subprocess.DEVNULL, stderr=self.errors)
        began = time.monotonic()
        with open("/proc/self/mountinfo") as table:
            changes = select.poll()
            changes.register(table, select.POLLPRI | select.POLLERR)
            while not is_mounted(mountpoint):
                # The kernel tells of each mount; a launcher that fails tells of nothing.
                changes.poll(50)
                if self.launcher.poll() not in (None, 0) or time.monotonic() - began > timeout:
                    if self.launcher.poll() is None:
                        self.launcher.kill()
                        self.launcher.wait()
                    self.errors.seek(0)
                    error = self.errors.read().decode(errors="replace").strip()[-300:]
                    raise Failure(f"{words[0]} does not mount: {error}")
        self.entries = len(os.listdir(mountpoint))
        self.seconds_to_first_ls = time.monotonic() - began
        self.pid = self._server()
        self.processor_us_to_first_ls = self.processor_us()

    def _server(self):
        name = self.mountpoint.encode()
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                pid = int(path.split("/")[2])
                if pid != os.getpid() and name in open(path, "rb").read().split(b"\0"):
                    start = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19])
                    found.append((start, pid))
            except OSError:
                pass
        if not found:
            raise Failure(f"nobody serves {self.mountpoint} any more")
        return max(found)[1]

    def processor_us(self):
        """Processor time of the server's threads so far."""
        total = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            try:
                total += int(open(path).read().split()[0]) / 1e3
            except OSError:
                pass
        return total

    def is_served(self):
        """Whether the server answers still: a program may crash of what it serves, and is a process until its core is written."""
        try:
            os.statvfs(self.mountpoint)
            return True
        except OSError:
            return False

    def memory_kb(self, field="VmHWM"):
        try:
            for line in open(f"/proc/{self.pid}/status"):
                if line.startswith(field):
                    return int(line.split()[1])
        except OSError:
            pass
        return None

    def unmount(self, timeout=120):
        """Seconds until the server has gone; it is killed after `timeout`, which is told by None."""
        began = time.monotonic()
        try:
            server = os.pidfd_open(self.pid)
        except ProcessLookupError:
            server = None
        if subprocess.run(["fusermount3", "-u", self.mountpoint], capture_output=True).returncode:
            subprocess.run(["fusermount3", "-uz", self.mountpoint], capture_output=True)
        seconds = 0.0
        if server is not None:
            gone = select.poll()
            gone.register(server, select.POLLIN)
            if gone.poll(timeout * 1000):
                seconds = time.monotonic() - began
            else:
                signal.pidfd_send_signal(server, signal.SIGKILL)
                seconds = None
            os.close(server)
        self.launcher.wait()
        self.errors.close()
        os.rmdir(self.mountpoint)
        return seconds

    def first_ls(self):
        """Milliseconds from the start to the first listing, and of them the server's processor time, for a table."""
        return f"{self.seconds_to_first_ls * 1000:.0f} ({self.processor_us_to_first_ls / 1000:.0f})"


def client_us():
    """Processor time of this process and of its children that have ended."""
    return sum((used.ru_utime + used.ru_stime) * 1e6 for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def write_policy(path, rules, mode="enforce"):
    """Rules beside and below the keys of a uniform hive: each look-up walks along them, and none is about what is measured."""
    with open(path, "w") as file:
        file.write(f"version: 1\nmode: {mode}\nmonitored:\n")
        for number in range(rules):
            file.write(
                f"  - id: r{number}\n    key: 'HKLM\\SOFTWARE\\d{number:05}\\Protected{number}'\n"
                "    rules: [SetValueKeyOperation, SetValueDenied, DeleteDenied, DeleteKeyOperation]\n")
    os.chmod(path, 0o600)


def uniform_hive(programs, path, keys, values, length):
    """Made once: a hive of this size lies there for the next time."""
    if not os.path.exists(path):
        unfinished = path + ".new"
        if os.path.exists(unfinished):
            os.remove(unfinished)
        subprocess.run([f"{programs}/make-hive-samples", "--uniform", str(keys), str(values), str(length), unfinished], check=True)
        os.rename(unfinished, path)
    return path


def regward(programs, hive, mountpoint, *options):
    return [f"{programs}/regward", "mount", "-f", "-o", ",".join(("at=HKLM\\SOFTWARE",) + options), hive, mountpoint]


def say(text):
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print("  " + text, file=sys.stderr)


def table(heads, rows):
    """A table in Markdown; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" + "---:|" * (len(heads) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
