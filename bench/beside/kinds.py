"""The servers, and how each is told to serve a program on a port.

Each is used as its manual tells somebody who wants no limit in the way: the
longest backlog and the most connections that it has an option for, no rates.
"""

import json
import pwd
from dataclasses import dataclass, replace

from beside import debian
from common import OUT

EVERYTHING = "4096"  # a backlog, which the system cuts to what it allows
NO_RATE = "100000000"


@dataclass(frozen=True)
class Service:
    """What is asked of a server."""

    command: tuple
    user: str = ""
    # Connections at once, for those that make others wait; those that close them get ten times it.
    most: int = 300
    certificate: object = None  # the folder of cert.pem and key.pem


@dataclass(frozen=True)
class Kind:
    """A server: its name here and how it is started.

    can: user (change to another), many (services in one process), tls; and how a
    program gets its bytes: socket, or pipes, which the server moves.
    """

    name: str
    make: object  # (program, service, ports, folder) -> command
    can: frozenset
    tool: str = ""  # its name among Debian's, if it is one of them
    keys: str = ""  # of our own file

    @property
    def is_ours(self):
        return self.make is wininetd


def words(service):
    return [str(part) for part in service.command]


def user_of(service):
    return service.user or pwd.getpwuid(0).pw_name


def floor(_program, service, ports, _folder):
    return [OUT / "floor", ports[0], *words(service)]


def wininetd(binary, service, ports, folder, keys=""):
    lines = []
    for port in ports:
        lines += [f"[service.s{port}]", f'listen = "127.0.0.1:{port}"', f"command = {json.dumps(words(service))}"]
        lines += [f"max_connections = {service.most}", 'stderr = "client"']
        lines += [f'user = "{service.user or "none"}"']
        if service.certificate:
            lines.append(f'tls = {{ certificate = "{service.certificate}/cert.pem", key = "{service.certificate}/key.pem" }}')
        lines.append(keys)
    file = folder / f"wininetd-{ports[0]}.toml"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o644)
    return [binary, "--debug", "--cfgfile", file, "--control", folder / f"control-{ports[0]}.sock"]


def written(folder, name, ports, text):
    file = folder / f"{name}-{ports[0]}.conf"
    file.write_text(text)
    return file


def inetd_lines(service, ports, protocol):
    command = words(service)
    text = f"stream {protocol} nowait {user_of(service)} {command[0]} {' '.join(command)}"
    return "".join(f"127.0.0.1:{port} {text}\n" for port in ports)


def openbsd_inetd(program, service, ports, folder):
    file = written(folder, "openbsd", ports, inetd_lines(service, ports, "tcp"))
    return [program, "-i", "-q", EVERYTHING, "-R", NO_RATE, file]


def inetutils_inetd(program, service, ports, folder):
    file = written(folder, "inetutils", ports, inetd_lines(service, ports, "tcp4"))
    # -d keeps it in the foreground; what it says goes to its log here.
    return [program, "-d", f"--pidfile={folder}/inetutils-{ports[0]}.pid", "-R", NO_RATE, file]


def xinetd(program, service, ports, folder):
    command = words(service)
    text = "defaults\n{\n instances = UNLIMITED\n per_source = UNLIMITED\n cps = 1000000 1\n log_type = FILE /dev/null\n}\n"
    for port in ports:
        text += f"service s{port}\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n wait = no\n port = {port}\n"
        text += f" bind = 127.0.0.1\n user = {user_of(service)}\n server = {command[0]}\n"
        text += f" server_args = {' '.join(command[1:])}\n}}\n" if command[1:] else "}\n"
    file = written(folder, "xinetd", ports, text)
    return [program, "-dontfork", "-f", file, "-pidfile", folder / f"xinetd-{ports[0]}.pid"]


def rlinetd(program, service, ports, folder):
    text = ""
    for port in ports:
        text += f'service "s{port}" {{\n port {port};\n interface 127.0.0.1;\n protocol tcp;\n family ipv4;\n'
        text += f" backlog {EVERYTHING};\n instances {10 * service.most};\n"
        text += f' user "{user_of(service)}";\n exec "{" ".join(words(service))}";\n}}\n'
    return [program, "-d", "-f", written(folder, "rlinetd", ports, text), "-p", debian.parser_of_rlinetd()]


def tcpserver(program, service, ports, _folder):
    given = ["-H", "-R", "-l", "0", "-Q", "-b", EVERYTHING, "-c", service.most]
    if service.user:
        entry = pwd.getpwnam(service.user)
        given += ["-u", entry.pw_uid, "-g", entry.pw_gid]
    return [program, *given, "127.0.0.1", ports[0], *words(service)]


def tcpsvd(program, service, ports, _folder):
    given = ["-l", "0", "-b", EVERYTHING, "-c", service.most, *(["-u", service.user] if service.user else [])]
    return [program, *given, "127.0.0.1", ports[0], *words(service)]


def socket_activate(program, service, ports, _folder):
    return [program, "-l", f"127.0.0.1:{ports[0]}", "-a", "--inetd", *words(service)]


def socat_address(service, ports):
    address = f"{ports[0]},bind=127.0.0.1,reuseaddr,fork,backlog={EVERYTHING}"
    if service.certificate:
        folder = service.certificate
        return f"OPENSSL-LISTEN:{address},cert={folder}/cert.pem,key={folder}/key.pem,verify=0"
    return f"TCP-LISTEN:{address}"


def socat(program, service, ports, _folder):
    who = f",su={service.user}" if service.user else ""
    return [program, socat_address(service, ports), f"EXEC:{' '.join(words(service))},nofork{who}"]


def socat_pipes(program, service, ports, _folder):
    return [program, "-b", "65536", socat_address(service, ports), f"EXEC:{' '.join(words(service))},pipes"]


def ncat(program, service, ports, _folder):
    folder = service.certificate
    secure = ["--ssl", "--ssl-cert", f"{folder}/cert.pem", "--ssl-key", f"{folder}/key.pem"] if folder else []
    return [program, "-l", "-k", "-m", 10 * service.most, *secure, "-e", " ".join(words(service)), "127.0.0.1", ports[0]]


def stunnel(program, service, ports, folder):
    text = "foreground = quiet\npid =\ndebug = 3\n"
    command = words(service)
    for port in ports:
        text += f"[s{port}]\naccept = 127.0.0.1:{port}\ncert = {service.certificate}/cert.pem\n"
        text += f"key = {service.certificate}/key.pem\nexec = {command[0]}\nexecArgs = {' '.join(command)}\n"
    return [program, written(folder, "stunnel", ports, text)]


def kind(name, make, can, keys=""):
    tool = name.partition(",")[0]
    return Kind(name, make, frozenset(can.split()), tool if tool in debian.PROGRAMS else "", keys)


FLOOR = kind("floor", floor, "socket")
OURS = kind("wininetd", wininetd, "socket user many")
OURS_PIPES = kind("wininetd, pipes", wininetd, "pipes", 'stdio = "pipe"')
OURS_WARM = kind("wininetd, warm", wininetd, "", "warm = 4")
OURS_TLS = kind("wininetd, TLS", wininetd, "tls")
PEERS = [
    kind("tcpserver", tcpserver, "socket user"),
    kind("tcpsvd", tcpsvd, "socket user"),
    kind("openbsd-inetd", openbsd_inetd, "socket user many"),
    kind("inetutils-inetd", inetutils_inetd, "socket user many"),
    kind("xinetd", xinetd, "socket user many"),
    kind("rlinetd", rlinetd, "socket user many"),
    kind("socket-activate", socket_activate, "socket"),
    kind("socat", socat, "socket user"),
    kind("socat, pipes", socat_pipes, "pipes"),
    kind("ncat", ncat, "pipes alone"),
    kind("stunnel", stunnel, "tls"),
    kind("socat, TLS", socat_pipes, "tls"),
    kind("ncat, TLS", ncat, "tls"),
]
ALL = [FLOOR, OURS, OURS_PIPES, OURS_WARM, OURS_TLS, *PEERS]


def command_of(one, program, service, ports, folder):
    if one.is_ours:
        return wininetd(program, service, ports, folder, one.keys)
    return one.make(program, service, ports, folder)


def as_user(service, user):
    return replace(service, user=user)
