#!/usr/bin/env python3
"""Hours of mixed load with a fault every few seconds: does anything grow, stay, or get lost?
See README.md beside this.

Everything stays on loopback and is bounded in number and time. Only processes
that were started here are signalled, each by its own pid; they also end by
themselves should this script be killed.
"""

import argparse
import collections
import contextlib
import json
import math
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import short
from server import prepare
from short import OUT, Failure, free_port, machine, progress

CLIENTS = 6  # that come and go
LONG_CLIENTS = 3  # that stay
MOST_HOURS = 48
FAULT_EVERY_S = (1.0, 4.0)
WARM_UP = 0.25  # of all samples: caches fill, tables find their size
FEWEST_SAMPLES = 8
# Each reload is read by a thread of its own, and the heap finds its size after
# some thousands of them; a few an hour would look like growth for a day.
WARM_UP_RELOADS = 5000
REST_LIMIT_S = 45  # above every time that a session of these services may take
WARM_PROGRAMS = 3
LINE_LIMIT_S = 30

# What the straight line through the samples may say for the whole measured time.
GROWTH_LIMITS = {"descriptors": 2, "threads": 2, "rss_kib": 2048, "pss_kib": 2048}
# A slope within so many standard errors of itself is noise.
NOISE = 3.0

NO_CHECK = ssl._create_unverified_context()
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # struct linger: on, no time


# --- the server -------------------------------------------------------------


SERVICES = """
[server]
log_file = "{log}"

[defaults]
user = "none"

[service.direct]
listen = "127.0.0.1:{direct}"
command = ["{answer}"]

[service.piped]
listen = "127.0.0.1:{piped}"
command = ["/bin/sh", "-c", "echo 'a complaint' >&2; read line; echo \\"$line\\""]
stdio = "pipe"
stderr = "log"

[service.secure]
listen = "127.0.0.1:{secure}"
command = ["{answer}"]
tls = {{ certificate = "{folder}/now.crt", key = "{folder}/now.key" }}

[service.behind]
listen = "127.0.0.1:{behind}"
command = ["{answer}"]
proxy_protocol = ["127.0.0.1"]

[service.ahead]
listen = "127.0.0.1:{ahead}"
command = ["{answer}"]
stdio = "pipe"
warm = {warm}

[service.limited]
listen = "127.0.0.1:{limited}"
command = ["{answer}"]
max_connections = 3
when_full = "refuse"
rate = "50/s"
refusal = "busy\\n"

[service.denied]
listen = "127.0.0.1:{denied}"
command = ["{answer}"]
deny = ["127.0.0.0/8"]

[service.held]
listen = "127.0.0.1:{held}"
command = ["/bin/cat"]
session_timeout = "20s"
kill_grace = "1s"
linger_timeout = "5s"

[service.crashing]
listen = "127.0.0.1:{crashing}"
command = ["/bin/sh", "-c", "kill -SEGV $$"]

[service.missing]
listen = "127.0.0.1:{missing}"
command = ["/no/such/program"]
"""

AS_ANOTHER = """
[service.another]
listen = "127.0.0.1:{another}"
command = ["{answer}"]
user = "nobody"
"""

PASSING = """
[service.passing]
listen = "127.0.0.1:{passing}"
command = ["{answer}"]
"""

NAMES = ("direct", "piped", "secure", "behind", "ahead", "limited", "denied", "held", "crashing", "missing", "another", "passing")


class Soaked(short.Server):
    """The server, its log read as events."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.names = {name: free_port() for name in NAMES}
        values = self.names | {"answer": folder / "answer", "folder": folder, "log": folder / "log", "warm": WARM_PROGRAMS}
        self.text = SERVICES.format(**values)
        if os.geteuid() == 0:
            self.text += AS_ANOTHER.format(**values)
        self.passing = PASSING.format(**values)
        self.config = folder / "soak.toml"
        self.control = folder / "control.sock"
        self.binary = binary
        self.write(self.text)
        command = [binary, "--debug", "--log-format", "json", "--cfgfile", self.config, "--control", self.control]
        ports = [port for name, port in self.names.items() if name != "passing" and (name != "another" or os.geteuid() == 0)]
        super().__init__(command, ports, folder)
        self.counts = collections.Counter()
        self.refusals = 0
        self.lost = 0
        self.last_lines = collections.deque(maxlen=15)
        self.bad = []

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            preexec_fn=lambda: prepare(None),
        )
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        try:
            self.wait_until(self.is_listening, "listen on all ports")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, error, trace):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)  # a fault may have been cut short
        self.stop()

    def read(self):
        for line in self.process.stderr:
            self.last_lines.append(line.decode(errors="replace").rstrip())
            try:
                event = json.loads(line)
            except ValueError:
                self.bad.append(line.decode(errors="replace").rstrip())
                continue
            name = event["event"]
            self.counts[name] += 1
            if name == "refusals":
                self.refusals += event["count"]
            elif name == "log_lost":
                self.lost += event["lines"]
            elif name == "fault":
                self.bad.append(line.decode(errors="replace").rstrip())

    def failure(self, text):
        return Failure("\n    ".join([f"wininetd {text}", *self.last_lines]))

    def write(self, text):
        new = self.folder / "new.toml"
        new.write_text(text)
        new.replace(self.config)

    def ask(self, *arguments):
        return subprocess.run(
            [self.binary, "--control", self.control, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def reload_quickly(self):
        """Without a process for it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.control))
            connection.sendall(b'{"version":1,"request":"reload"}\n')
            with connection.makefile() as answer:
                if '"reloaded"' not in answer.readline():
                    raise self.failure("does not reload")

    def services(self):
        answer = self.ask("--status", "--json")
        if answer.returncode != 0:
            raise self.failure(f"does not tell its status: {answer.stderr}")
        return {service["name"]: service for service in json.loads(answer.stdout)["services"]}

    def pss_kib(self):
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


# --- clients ----------------------------------------------------------------


class Load:
    """Clients of every kind, in threads, until they are told to rest or to end."""

    def __init__(self, server):
        self.server = server
        self.lock = threading.Lock()
        self.connects = 0
        self.answers = 0
        self.wrong = []
        self.excused = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_over = False
        self.busy = 0
        self.excused_until = 0.0
        kinds = [(self.word, name, 6) for name in ("direct", "piped", "secure", "behind", "ahead")]
        kinds += [(self.word, "another", 6)] if os.geteuid() == 0 else []
        kinds += [(self.turned, name, 2) for name in ("limited", "denied", "crashing", "missing")]
        kinds += [(self.vanish, name, 2) for name in ("direct", "piped", "secure", "behind", "ahead")]
        long = [(self.stall, name, 1) for name in ("secure", "behind")] + [(self.hold, "held", 3)]
        ways = [kinds] * CLIENTS + [long] * LONG_CLIENTS
        self.threads = [threading.Thread(target=self.run, args=way, daemon=True) for way in enumerate(ways)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.is_over = True
        self.goes_on.set()
        for thread in self.threads:
            thread.join(LINE_LIMIT_S + 10)

    def excuse(self, seconds):
        """A fault is made now that answers may suffer from."""
        self.excused_until = max(self.excused_until, time.monotonic() + seconds)

    def run(self, number, kinds):
        kinds, weights = [kind[:2] for kind in kinds], [kind[2] for kind in kinds]
        dice = random.Random(f"{number}-{time.time()}")
        while not self.is_over:
            self.goes_on.wait()
            with self.lock:
                self.busy += 1
            try:
                # Asked again: the rest may have begun in between.
                if self.goes_on.is_set() and not self.is_over:
                    (does, name), began = dice.choices(kinds, weights)[0], time.monotonic()
                    try:
                        fault = does(name, dice)
                    except OSError as error:
                        fault = repr(error)
                    with self.lock:
                        if not fault:
                            self.answers += 1
                        elif began > self.excused_until:
                            self.wrong.append(f"{name}: {fault}")
                        else:
                            self.excused += 1
            finally:
                with self.lock:
                    self.busy -= 1
            time.sleep(dice.uniform(0.001, 0.01))

    def connect(self, name):
        connection = socket.create_connection(("127.0.0.1", self.server.names[name]), timeout=LINE_LIMIT_S)
        with self.lock:
            self.connects += 1
        return connection

    def speak(self, name, connection):
        """What comes before the first word."""
        if name == "behind":
            connection.sendall(b"PROXY TCP4 192.0.2.1 127.0.0.1 1000 80\r\n")
        if name == "secure":
            return NO_CHECK.wrap_socket(connection)
        return connection

    def word(self, name, dice):
        with self.connect(name) as plain, self.speak(name, plain) as connection:
            word = b"%d\n" % dice.randrange(10**9)
            connection.sendall(word)
            if dice.random() < 0.3 and name != "secure":
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while more := connection.recv(64):
                answer += more
        return None if answer == word else f"sent {word}, got {answer}"

    def turned(self, name, dice):
        """Served or turned away: both may be."""
        with self.connect(name) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"word\n")
            while connection.recv(64):
                pass
        return None

    def vanish(self, name, dice):
        """Resets at one moment or another."""
        with self.connect(name) as connection:
            if dice.random() < 0.5:
                connection.sendall(b"PROXY TCP4 192.0" if name == "behind" else b"\x16\x03\x01")
            if dice.random() < 0.5:
                time.sleep(dice.uniform(0, 0.02))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return None

    def stall(self, name, dice):
        """Never gets to its first word."""
        with self.connect(name) as connection:
            if dice.random() < 0.5:
                connection.sendall(b"PROXY " if name == "behind" else b"\x16\x03\x01\x00\xff")
            time.sleep(dice.uniform(0.2, 3))
        return None

    def hold(self, name, dice):
        """A long session, which faults may end at any moment."""
        with self.connect(name) as connection, contextlib.suppress(OSError):
            until = time.monotonic() + dice.uniform(0.5, 4)
            while time.monotonic() < until:
                connection.sendall(b"word\n")
                if not connection.recv(64):
                    break
                time.sleep(0.1)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(64):
                pass
        return None


# --- faults -----------------------------------------------------------------


class Faults:
    """Something every few seconds."""

    def __init__(self, server, load, dice):
        self.server, self.load, self.dice = server, load, dice
        self.done = collections.Counter()
        self.wrong = []
        self.all = [
            self.good_reload,
            self.broken_reload,
            self.certificate,
            self.program_killed,
            self.session_killed,
            self.no_descriptors,
            self.log_away,
            self.stands_still,
        ]

    def one(self):
        fault = self.dice.choice(self.all)
        fault()
        self.done[fault.__name__] += 1

    def reload(self, expected, what):
        answer = self.server.ask("--reload")
        if answer.returncode != expected:
            self.wrong.append(f"{what}: exit code {answer.returncode}, {answer.stderr.strip()}")

    def good_reload(self):
        self.server.write(self.server.text + self.server.passing * self.dice.randrange(2))
        self.reload(0, "reload")

    def broken_reload(self):
        self.server.write(self.server.text + "[service.broken]\nlisten = 99999\n")
        self.reload(78, "reload of a broken file")
        self.server.write(self.server.text)

    def certificate(self):
        make_certificate(self.server.folder)
        self.reload(0, "reload with another certificate")

    def held(self):
        sessions = self.server.services()["held"]["sessions"]
        return self.dice.choice(sessions) if sessions else None

    def program_killed(self):
        session = self.held()
        # Only a child of our server: its number may have been given anew.
        if session and session["pid"] and parent(session["pid"]) == self.server.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(session["pid"], signal.SIGKILL)

    def session_killed(self):
        if session := self.held():
            answer = self.server.ask("--kill", str(session["id"]))
            if answer.returncode not in (0, 66):  # 66: it has ended meanwhile
                self.wrong.append(f"--kill: exit code {answer.returncode}, {answer.stderr.strip()}")

    def no_descriptors(self):
        soft, hard = resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE)
        self.load.excuse(LINE_LIMIT_S)
        lowest = max(self.server.descriptors() + self.dice.randrange(-4, 8), 8)
        resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            time.sleep(self.dice.uniform(0.3, 1.5))
        finally:
            resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.load.excuse(2)

    def log_away(self):
        log = self.server.folder / "log"
        log.replace(self.server.folder / "log.away")
        self.reload(0, "reload for another log")
        limit = time.monotonic() + 5  # the log is looked at beside
        while not log.exists():
            if time.monotonic() > limit:
                self.wrong.append("a log that was moved away is not made anew")
                break
            time.sleep(0.01)

    def stands_still(self):
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            time.sleep(1)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)


def parent(pid):
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def make_certificate(folder):
    names = ["-keyout", folder / "new.key", "-out", folder / "new.crt", "-subj", "/CN=soak"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]
    if subprocess.run([*command, *names], stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
        raise Failure("openssl cannot make a certificate")
    (folder / "new.key").chmod(0o600)
    for kind in ("key", "crt"):
        (folder / f"new.{kind}").replace(folder / f"now.{kind}")


# --- samples ----------------------------------------------------------------


def rest(server, load):
    """Waits until no client is there any more; who still is after long."""
    load.goes_on.clear()
    limit = time.monotonic() + REST_LIMIT_S
    while True:
        services = server.services()
        children = server.children()
        if load.busy == 0 and not any(service["live"] for service in services.values()) and len(children) <= WARM_PROGRAMS:
            # What workers and the log have still to do is done by now, refusals are told.
            time.sleep(2.5)
            return services, ""
        if time.monotonic() > limit:
            left = {name: service["live"] for name, service in services.items() if service["live"]}
            return services, f"not at rest after {REST_LIMIT_S} s: sessions {left}, children {children}, {load.busy} clients"
        time.sleep(0.1)


def sample(server, load, began):
    services, fault = rest(server, load)
    children = server.children()
    found = {
        "seconds": round(time.monotonic() - began, 1),
        "rss_kib": round(server.rss_mib() * 1024),
        "pss_kib": server.pss_kib(),
        "descriptors": server.descriptors(),
        "threads": server.threads(),
        "zombies": children.count("Z"),
        "children": len(children),
        "connects": load.connects,
        "told": sum(service[key] for service in services.values() for key in ("served", "refused", "failed")),
        "records": server.counts["session"] + server.refusals,
    }
    load.goes_on.set()
    return found, fault


def slope(samples, key):
    """The straight line through the samples by least squares: its slope by the second, and its standard error."""
    times = [sample["seconds"] for sample in samples]
    values = [sample[key] for sample in samples]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    found = sum((at - middle) * (value - mean) for at, value in zip(times, values)) / spread
    rests = sum((value - mean - found * (at - middle)) ** 2 for at, value in zip(times, values))
    return found, math.sqrt(rests / (len(samples) - 2) / spread)


def judge(samples):
    measured = samples[int(len(samples) * WARM_UP) :]
    if len(measured) < FEWEST_SAMPLES:
        raise Failure(f"{len(measured)} samples after the warm-up are too few to judge; {FEWEST_SAMPLES} are needed")
    length = measured[-1]["seconds"] - measured[0]["seconds"]
    slopes, misses = {}, []
    for key, limit in GROWTH_LIMITS.items():
        found, error = slope(measured, key)
        grows = found * length > limit and found > NOISE * error
        slopes[key] = {"per_hour": found * 3600, "error_per_hour": error * 3600, "growth": found * length, "limit": limit}
        slopes[key] |= {"first": measured[0][key], "last": measured[-1][key], "grows": grows}
        if grows:
            misses.append(f"{key} grew by {found * length:.1f} in {length / 60:.0f} minutes (limit: {limit})")
    for at in samples:
        if at["zombies"] or at["children"] > WARM_PROGRAMS:
            misses.append(f"after {at['seconds']:.0f} s: {at['zombies']} zombies among {at['children']} children")
        if not at["connects"] == at["told"] == at["records"]:
            misses.append(f"after {at['seconds']:.0f} s: {at['connects']} connections, {at['told']} in the status, {at['records']} in the log")
    return slopes, misses


def print_report(report):
    samples, load = report["samples"], report["load"]
    columns = ("seconds", "rss_kib", "pss_kib", "descriptors", "threads", "zombies", "children", "connects", "records")
    print("".join(f"{name:>12}" for name in columns))
    for at in samples[:: max(1, len(samples) // 20)]:
        print("".join(f"{at[name]:>12}" for name in columns))
    print(f"\n{'':<12}{'by the hour':>14}{'error':>10}{'growth':>10}{'limit':>8}")
    for key, found in report["slopes"].items():
        verdict = "grows" if found["grows"] else "zero within noise" if abs(found["growth"]) > found["limit"] else "zero"
        figures = f"{found['per_hour']:>14.2f}{found['error_per_hour']:>10.2f}{found['growth']:>10.2f}{found['limit']:>8}"
        print(f"{key:<12}{figures}   {verdict}")
    print(f"\n{load['connects']} connections, {load['excused']} without an answer where a fault may be why; faults: {report['faults']}")
    for miss in report["misses"]:
        print(f"MISS: {miss}")
    print("all as it should be" if not report["misses"] else f"{len(report['misses'])} misses")


# --- the command ------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description="Hours of mixed load and faults; see bench/README.md.")
    parser.add_argument("--hours", type=float, default=1.0, help=f"how long, up to {MOST_HOURS}")
    parser.add_argument("--sample", type=float, default=30.0, help="seconds between two samples")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="of the faults' order")
    parser.add_argument("--binary", type=Path, default=short.ROOT / "target" / "release" / "wininetd")
    options = parser.parse_args()
    if not 0 < options.hours <= MOST_HOURS:
        parser.error(f"--hours is above 0 and up to {MOST_HOURS}")
    return options


def soak(options, server, load):
    dice = random.Random(options.seed)
    faults = Faults(server, load, dice)
    for _ in range(WARM_UP_RELOADS):
        server.reload_quickly()
    began = time.monotonic()
    end = began + options.hours * 3600
    samples, misses = [], []
    next_sample = began + options.sample
    while time.monotonic() < end:
        time.sleep(dice.uniform(*FAULT_EVERY_S))
        if server.process.poll() is not None:
            raise server.failure(f"ended by itself with {server.process.returncode}")
        faults.one()
        if time.monotonic() >= next_sample:
            found, fault = sample(server, load, began)
            samples.append(found)
            misses += [fault] if fault else []
            next_sample = time.monotonic() + options.sample
            # So that something is left should this be cut short.
            (OUT / "soak.samples.json").write_text(json.dumps(samples) + "\n")
    return samples, faults, misses + faults.wrong


def main():
    options = arguments()
    if shutil.which("openssl") is None:
        raise Failure("openssl is missing")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, short.stop_by_signal)
    signal.alarm(int(options.hours * 3600) + 900)  # the warm-up takes a minute
    short.build(False)
    folder = Path(tempfile.mkdtemp(prefix="wininetd-soak-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        shutil.copyfile(OUT / "answer", folder / "answer")
        (folder / "answer").chmod(0o755)
        make_certificate(folder)
        progress(f"soaking for {options.hours:g} hours, seed {options.seed}")
        with Soaked(options.binary.resolve(), folder) as server:
            with Load(server) as load:
                samples, faults, misses = soak(options, server, load)
            slopes, grown = judge(samples)
            programs = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == server.pid]
            stopping = time.monotonic()
            code = server.stop()
            seconds = time.monotonic() - stopping
    finally:
        shutil.rmtree(folder)
    misses += grown
    if code != 0 or seconds > 5:
        misses.append(f"the stop took {seconds:.1f} s and ended with {code}")
    misses += [f"process {pid} is left" for pid in programs if Path(f"/proc/{pid}").exists()]
    misses += [f"in the log: {line}" for line in server.bad[:10]]
    misses += [f"a client of {wrong}" for wrong in load.wrong[:20]]
    if server.lost:
        misses.append(f"{server.lost} lines of the log are lost")
    report = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "hours": options.hours,
        "seed": options.seed,
        "faults": dict(faults.done),
        "events": dict(server.counts),
        "load": {"connects": load.connects, "answers": load.answers, "excused": load.excused},
        "slopes": slopes,
        "samples": samples,
        "misses": misses,
    }
    (OUT / "soak.json").write_text(json.dumps(report, indent=1) + "\n")
    print_report(report)
    print(f"figures: {OUT / 'soak.json'}")
    return 1 if misses else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"soak: {failure}", file=sys.stderr)
        sys.exit(2)
