"""The servers, how each is told to serve a program, and one that runs.

Each has the settings of its package, so that what is compared is what somebody gets.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import fetch

START_LIMIT_S = 10
STOP_LIMIT_S = 20
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# A descriptor that each server is started with, and that is no program's.
SPARE = os.dup2(os.open("/dev/null", os.O_RDONLY), 50)
PORTS = iter(range(18_000, 20_000))  # below those that the system gives to clients


@dataclass
class Service:
    """What is asked of a server."""

    command: list
    ports: list
    most: int = 0  # connections at once
    denies: bool = False  # 127.0.0.1, where the clients are


@dataclass(frozen=True)
class Kind:
    """A server: its name, how it is started, and what it has of what is compared."""

    name: str
    make: object  # (program, service, folder) -> command
    can: frozenset  # limit, rules, reload

    @property
    def is_ours(self):
        return self.make is wininetd


def written(folder, name, text):
    """In one go, as an editor should: a server may be reading it."""
    file, new = folder / name, folder / f"{name}.new"
    new.write_text(text)
    new.rename(file)
    return file


def wininetd(program, service, folder, keys=""):
    text = "[server]\nstop_grace = '1s'\n"
    for port in service.ports:
        text += f"[service.s{port}]\nlisten = '127.0.0.1:{port}'\ncommand = {json.dumps(service.command)}\nuser = 'none'\n{keys}"
        text += f"max_connections = {service.most}\n" if service.most else ""
        text += "deny = ['127.0.0.1']\n" if service.denies else ""
    # Without a verb, as for a service manager: SIGHUP reads the file again.
    return [program, "--cfgfile", written(folder, "w.toml", text), "--control", folder / "control.sock"]


def wininetd_pipes(program, service, folder):
    return wininetd(program, service, folder, "stdio = 'pipe'\n")


def inetd_lines(service, protocol):
    words = " ".join(service.command)
    return "".join(
        f"127.0.0.1:{port} stream {protocol} nowait root {service.command[0]} {words}\n" for port in service.ports
    )


def openbsd_inetd(program, service, folder):
    return [program, "-i", written(folder, "inetd.conf", inetd_lines(service, "tcp"))]


def inetutils_inetd(program, service, folder):
    file = written(folder, "inetd.conf", inetd_lines(service, "tcp4"))
    # In the foreground.
    return [program, "-d", f"--pidfile={folder}/pid", file]


def xinetd(program, service, folder):
    text = f"defaults\n{{\n log_type = FILE {folder}/log\n}}\n"
    for port in service.ports:
        text += f"service s{port}\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n wait = no\n port = {port}\n"
        text += f" bind = 127.0.0.1\n user = root\n server = {service.command[0]}\n"
        text += f" server_args = {' '.join(service.command[1:])}\n"
        text += f" instances = {service.most}\n" if service.most else ""
        text += " no_access = 127.0.0.1\n" if service.denies else ""
        text += "}\n"
    return [program, "-dontfork", "-f", written(folder, "xinetd.conf", text), "-pidfile", folder / "pid"]


def rlinetd(program, service, folder):
    text = ""
    for port in service.ports:
        text += f'service "s{port}" {{\n port {port};\n interface 127.0.0.1;\n protocol tcp;\n family ipv4;\n'
        text += f" instances {service.most};\n" if service.most else ""
        text += f' user "root";\n exec "{" ".join(service.command)}";\n}}\n'
    return [program, "-d", "-f", written(folder, "rlinetd.conf", text), "-p", fetch.parser_of_rlinetd()]


def tcpserver(program, service, folder):
    given = ["-H", "-R", "-l", "0"]
    given += ["-c", service.most] if service.most else []
    if service.denies:
        rules = folder / "rules.cdb"
        tool = [fetch.TCPRULES, rules, folder / "rules.new"]
        subprocess.run(tool, input="127.0.0.1:deny\n:allow\n", text=True, check=True)
        given += ["-x", rules]
    return [program, *given, "127.0.0.1", service.ports[0], *service.command]


def tcpsvd(program, service, folder):
    given = ["-l", "0"]
    given += ["-c", service.most] if service.most else []
    if service.denies:
        rules = folder / "rules"
        rules.mkdir(exist_ok=True)
        (rules / "127.0.0.1").touch(mode=0)
        given += ["-i", rules]
    return [program, *given, "127.0.0.1", service.ports[0], *service.command]


def socket_activate(program, service, _folder):
    return [program, "-l", f"127.0.0.1:{service.ports[0]}", "-a", "--inetd", *service.command]


def socat(program, service, _folder):
    listen = f"TCP-LISTEN:{service.ports[0]},bind=127.0.0.1,reuseaddr,fork"
    listen += f",max-children={service.most}" if service.most else ""
    listen += ",range=192.0.2.0/24" if service.denies else ""
    return [program, listen, f"EXEC:{' '.join(service.command)}"]


def ncat(program, service, _folder):
    given = ["-l", "-k", "-e", " ".join(service.command)]
    given += ["-m", service.most] if service.most else []
    given += ["--deny", "127.0.0.1"] if service.denies else []
    return [program, *given, "127.0.0.1", service.ports[0]]


OURS = [
    Kind("wininetd", wininetd, frozenset({"limit", "rules", "reload"})),
    Kind("wininetd, pipes", wininetd_pipes, frozenset({"limit", "rules", "reload"})),
]
PEERS = [
    Kind("openbsd-inetd", openbsd_inetd, frozenset({"reload"})),
    Kind("inetutils-inetd", inetutils_inetd, frozenset({"reload"})),
    Kind("xinetd", xinetd, frozenset({"limit", "rules", "reload"})),
    Kind("rlinetd", rlinetd, frozenset({"limit", "reload"})),
    Kind("tcpserver", tcpserver, frozenset({"limit", "rules"})),
    Kind("tcpsvd", tcpsvd, frozenset({"limit", "rules"})),
    Kind("socket-activate", socket_activate, frozenset()),
    Kind("socat", socat, frozenset({"limit", "rules"})),
    Kind("ncat", ncat, frozenset({"limit", "rules"})),
]


def free_port():
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise fetch.Failure("no free port left")


class Running:
    """A server that listens, ended after its `with` by its own pid."""

    def __init__(self, kind, program, service, folder):
        self.kind, self.service, self.folder, self.program = kind, service, folder, program
        self.port = service.ports[0]

    def write(self):
        """Its files, and the command that starts it with them."""
        return [str(part) for part in self.kind.make(self.program, self.service, self.folder)]

    def __enter__(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.write(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SECRET": "of-the-server", **fetch.environment()},
                preexec_fn=prepare,
                pass_fds=[SPARE],
            )
        self.pid = self.process.pid
        return self

    def __exit__(self, *_error):
        fetch.end(self.process, STOP_LIMIT_S)

    def is_listening(self, port=None):
        """Read from the system's table: a connection would start a program."""
        wanted = f":{port or self.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[1].endswith(wanted) and row[3] == "0A" for row in rows)

    def ready(self):
        until(self.is_listening, START_LIMIT_S, f"{self.kind.name} does not listen: {self.log()}")
        return self

    def connect(self, port=None):
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=5)

    def signal(self, number):
        self.process.send_signal(number)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def children(self):
        """The states of its child processes: Z is a zombie."""
        states = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # it may end meanwhile
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.pid:
                    states.append(state)
        return states


def prepare():
    # If the comparison is killed, its servers get a SIGTERM.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0)


def until(condition, limit, failure):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise fetch.Failure(failure)
        time.sleep(0.01)
