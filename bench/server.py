"""A running server: started, watched, ended by its own pid."""

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from common import Failure, end

START_LIMIT_S = 10
STOP_LIMIT_S = 15  # above the server's own grace of 10 s

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Server:
    """A running server: ready inside `with`, ended after it."""

    def __init__(self, command, ports, directory, environment=None, group=None):
        self.name = Path(command[0]).name
        self.command = [str(part) for part in command]
        self.ports = ports
        self.log = directory / f"{self.name}-{ports[0]}.log"
        self.environment = environment or {}
        self.group = group

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # The same small environment for both, since it is copied for each program.
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", **self.environment},
                preexec_fn=lambda: prepare(self.group),
            )
        self.pid = self.process.pid

    def __enter__(self):
        self.start()
        try:
            self.wait_until_listening()
        except BaseException:
            self.stop()
            raise
        return self

    @contextlib.contextmanager
    def starting(self):
        """Started, and ended after it: for many that start at once. What ended by itself is found by who waits."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def wait_until_listening(self):
        self.wait_until(self.is_listening, "listen on all ports")

    def __exit__(self, kind, error, trace):
        died = self.process.poll() is not None
        status = self.stop()
        # Whatever else went wrong followed from that.
        if died:
            raise self.failure(f"ended by itself with {status}") from None

    def stop(self):
        if end(self.process, STOP_LIMIT_S):
            print(f"note: {self.name} had to be killed after {STOP_LIMIT_S} s", file=sys.stderr)
        return self.process.returncode

    def wait_until(self, condition, what):
        limit = time.monotonic() + START_LIMIT_S
        while not condition():
            if self.process.poll() is not None:
                raise self.failure(f"ended with {self.process.returncode}")
            if time.monotonic() > limit:
                raise self.failure(f"did not {what} within {START_LIMIT_S} s")
            time.sleep(0.01)

    def failure(self, text):
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return Failure("\n    ".join([f"{self.name} {text}", *tail]))

    def is_listening(self):
        """Read from the system's table, since a connection would start a program."""
        inodes = open_sockets(self.pid)
        listening = listening_ports()
        return all(listening.get(port) in inodes for port in self.ports)

    def cpu_ns(self):
        """CPU time of the server process alone: its threads, also those that
        ended, but none of its children. It is the process's CPU clock, read by
        the number that clock_getcpuclockid gives: nanoseconds, where
        /proc/PID/stat has ticks of 10 ms, and complete, where the schedstat
        files lack threads that ended."""
        process_clock_sched = 2
        return round(time.clock_gettime((~self.pid << 3) | process_clock_sched) * 1e9)

    def rss_mib(self):
        return int(self.status("VmRSS").split()[0]) / 1024

    def threads(self):
        return int(self.status("Threads"))

    def status(self, key):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return value.strip()
        raise self.failure(f"has no {key} in its status")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def children(self):
        """The states of its child processes: Z is a zombie."""
        states = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):  # it may end meanwhile
                    stat = Path(f"/proc/{entry}/stat").read_text()
                    state, parent = stat.rpartition(")")[2].split()[:2]
                    if int(parent) == self.pid:
                        states.append(state)
        return states


def prepare(group):
    if group:
        group.enter()
    # If this script is killed, the server gets a SIGTERM.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # As service managers do for all of them; some raise it by themselves, some cannot.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class CpuGroup:
    """All CPU time of a server, its helpers and its programs, where we may make a cgroup. Version 1 or 2."""

    PLACES = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat"))
    NUMBERS = itertools.count()

    def __enter__(self):
        self.folder = None
        for place, file in self.PLACES:
            folder = Path(place) / f"wininetd-bench-{os.getpid()}-{next(self.NUMBERS)}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                self.folder, self.file = folder, folder / file
                if self.file.exists():
                    break
                self.leave()
        return self

    def __exit__(self, *_error):
        self.leave()

    def leave(self):
        """The last programs may be about to end."""
        for _ in range(20):
            if self.folder is None:
                return
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                self.folder = None
                return
            time.sleep(0.05)
        print(f"note: {self.folder} stays, something in it still runs", file=sys.stderr)
        self.folder = None

    def enter(self):
        if self.folder:
            (self.folder / "cgroup.procs").write_text("0")

    def used_ns(self):
        """Nothing where the system does not say it."""
        if self.folder is None:
            return None
        text = self.file.read_text()
        return int(text.split()[1]) * 1000 if text.startswith("usage_usec") else int(text)


def listening_ports():
    """The sockets that listen, of everybody: port and inode."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":  # LISTEN
            found[int(fields[1].rpartition(":")[2], 16)] = fields[9]
    return found


def open_sockets(pid):
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    return inodes


@contextlib.contextmanager
def running(command, port=None, patience=10, **options):
    """A process, once it listens, ended at the end."""
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        until = time.monotonic() + patience
        while port is not None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise Failure(f"{command[0]} does not listen on {port}")
            time.sleep(0.01)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)
