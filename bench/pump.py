#!/usr/bin/env python3
"""What the pump costs: bulk, TLS, warm programs, idle sessions. See README.md beside this.

Each case is pairs of runs, wininetd's and the peer's, interleaved; the median of
the ratios counts. Everything stays on loopback and is bounded; only processes
that were started here are ended, each by its own pid.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clients import BULK, bulk_seconds, first_byte, handshakes, s_client, tls_file, undecrypted
from common import OUT, ROOT, Failure, build
from server import running

GIB = 1 << 30
PORTS = iter(range(22000, 23000))
LOADED_PYTHON = "import argparse, asyncio, json, ssl, sys; sys.stdin.readline(); print('ready', flush=True)"


@contextlib.contextmanager
def wininetd(binary, folder, port, service):
    """The server with one service."""
    file = folder / f"{port}.toml"
    file.write_text(f'[service.bench]\nlisten = "127.0.0.1:{port}"\nuser = "none"\n{service}\n')
    log = open(folder / f"{port}.log", "w")
    with running([binary, "--debug", "--cfgfile", file], port, stderr=log) as process:
        yield process


@contextlib.contextmanager
def socat(port, program):
    address = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    with running(["socat", "-b", "65536", address, f"EXEC:{program},pipes"], port) as process:
        yield process


@contextlib.contextmanager
def stunnel(folder, port, program, *arguments):
    file = folder / f"stunnel-{port}.conf"
    file.write_text(
        f"foreground = quiet\npid =\ndebug = 3\n[bench]\naccept = 127.0.0.1:{port}\ncert = {folder}/cert.pem\n"
        f"key = {folder}/key.pem\nexec = {program}\nexecArgs = {' '.join([Path(program).name, *arguments])}\n"
    )
    with running(["stunnel4", file], port) as process:
        yield process


def command(*parts):
    return f"command = {json.dumps([str(part) for part in parts])}"


def pairs(count, ours, theirs):
    """Interleaved runs that each return a figure."""
    runs = [(ours(), theirs()) for _ in range(count)]
    return [run[0] for run in runs], [run[1] for run in runs]


def bulk(options, folder):
    """Bulk in each direction, and both at once, through pipes and against socat."""
    results = {}
    modes = {"get": ("source", options.bytes), "put": ("sink",), "swap": ("both", options.bytes // 2)}
    for mode, arguments in modes.items():
        size = options.bytes // 2 if mode == "swap" else options.bytes
        ours, plain, theirs = next(PORTS), next(PORTS), next(PORTS)
        given = command(BULK, *arguments) + '\nstderr = "client"\n'
        program = " ".join([str(BULK), *map(str, arguments)])
        with contextlib.ExitStack() as stack:
            stack.enter_context(wininetd(options.binary, folder, ours, given + 'stdio = "pipe"'))
            stack.enter_context(wininetd(options.binary, folder, plain, given + 'stdio = "socket"'))
            stack.enter_context(socat(theirs, program))
            speeds = [[size / bulk_seconds(mode, port, size) for port in (ours, plain, theirs)] for _ in range(options.pairs)]
        results[mode] = {
            "pipe_mib_s": statistics.median(run[0] for run in speeds) / (1 << 20),
            "socket_mib_s": statistics.median(run[1] for run in speeds) / (1 << 20),
            "socat_mib_s": statistics.median(run[2] for run in speeds) / (1 << 20),
            "ratio_to_socat": ratio([run[0] for run in speeds], [run[2] for run in speeds]),
            "ratio_to_socket": ratio([run[0] for run in speeds], [run[1] for run in speeds]),
        }
    return results


def ratio(ours, theirs):
    ratios = sorted(our / their for our, their in zip(ours, theirs))
    return {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}


def tls(options, folder):
    given = tls_file(folder)
    results = {}
    ours, theirs = next(PORTS), next(PORTS)
    with wininetd(options.binary, folder, ours, f"{command(BULK, 'source', options.bytes)}\n{given}\n"), stunnel(
        folder, theirs, BULK, "source", str(options.bytes)
    ):
        run = pairs(options.pairs, lambda: s_client(ours, options.bytes), lambda: s_client(theirs, options.bytes))
    results["bulk_to_s_client"] = {"mib_s": statistics.median(run[0]), "stunnel_mib_s": statistics.median(run[1]), "ratio": ratio(*run)}
    ours, theirs = next(PORTS), next(PORTS)
    endless = str(1 << 42)
    with wininetd(options.binary, folder, ours, f"{command(BULK, 'source', endless)}\n{given}\n"), stunnel(
        folder, theirs, BULK, "source", endless
    ):
        run = pairs(options.pairs, lambda: undecrypted(ours, 1, 2), lambda: undecrypted(theirs, 1, 2))
    results["bulk"] = {"mib_s": statistics.median(run[0]), "stunnel_mib_s": statistics.median(run[1]), "ratio": ratio(*run)}
    ours, theirs = next(PORTS), next(PORTS)
    with wininetd(options.binary, folder, ours, f"{command('/bin/true')}\n{given}\n"), stunnel(folder, theirs, "/bin/true"):
        run = pairs(options.pairs, lambda: handshakes(ours), lambda: handshakes(theirs))
    results["handshakes"] = {"a_second": statistics.median(run[0]), "stunnel": statistics.median(run[1]), "ratio": ratio(*run)}
    port = next(PORTS)
    with wininetd(options.binary, folder, port, f"{command(BULK, 'pages', 1 << 42)}\n{given}\n"):
        run = pairs(options.pairs, lambda: undecrypted(port, 4, 2), lambda: undecrypted(port, 1, 2))
    results["four_clients"] = {"mib_s": statistics.median(run[0]), "one_mib_s": statistics.median(run[1]), "ratio": ratio(*run)}
    return results


def warm(options, folder):
    ours, cold, theirs = next(PORTS), next(PORTS), next(PORTS)
    python = [sys.executable, "-c", LOADED_PYTHON]
    peer = ["tcpserver", "-H", "-R", "-l", "0", "127.0.0.1", str(theirs), *python]
    with wininetd(options.binary, folder, ours, command(*python) + "\nwarm = 4"), wininetd(
        options.binary, folder, cold, command(*python)
    ), running(peer, theirs, stderr=subprocess.DEVNULL):
        time.sleep(1)
        runs = [(first_byte(ours), first_byte(cold), first_byte(theirs)) for _ in range(options.pairs * 2)]
    ours, cold, theirs = ([run[place] for run in runs] for place in range(3))
    return {
        "ms": statistics.median(ours),
        "cold_ms": statistics.median(cold),
        "tcpserver_ms": statistics.median(theirs),
        "ratio": ratio(ours, theirs),
    }


def wine(options, folder):
    """Time to the first byte under Wine: a program that waits, and one that starts."""
    warm_port, cold_port = next(PORTS), next(PORTS)
    lab = ["scripts/windows-lab.sh", "wine", options.wine / "wininetd.exe"]
    # Wine has this system's files at Z:.
    probe = "Z:" + str(options.wine.resolve() / "examples" / "probe.exe").replace("/", "\\")
    given = f"command = ['{probe}', 'echo']\nuser = \"none\"\nstdio = \"pipe\"\n"
    file = folder / "wine.toml"
    file.write_text(
        f'[service.warm]\nlisten = "127.0.0.1:{warm_port}"\n{given}warm = 4\n'
        f'[service.cold]\nlisten = "127.0.0.1:{cold_port}"\n{given}'
    )
    control = rf"\\.\pipe\wininetd-bench-{os.getpid()}"
    server = [*lab, "--debug", "--cfgfile", file, "--control", control]
    log = open(folder / "wine.log", "w")
    with running(server, cold_port, stderr=log, cwd=ROOT):
        for port in (warm_port, cold_port):
            first_byte(port)
        time.sleep(2)
        runs = [(first_byte(warm_port), first_byte(cold_port)) for _ in range(options.pairs * 4)]
    ours, cold = ([run[place] for run in runs] for place in range(2))
    return {"ms": statistics.median(ours), "cold_ms": statistics.median(cold), "ratio": ratio(ours, cold)}


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Failure("no VmRSS")


def idle(options, folder):
    """What a piped session costs the server that does nothing."""
    count = options.sessions
    # Four for each session, and a reserve.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, count * 4 + 200),) * 2)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(count, (hard - 200) // 4)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = next(PORTS)
    given = f'{command(BULK, "wait")}\nstdio = "pipe"\nstderr = "client"\nmax_connections = {count + 10}'
    with wininetd(options.binary, folder, port, given) as server:
        before = None
        clients = []
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"x")
            if client.recv(1) != b"x":
                raise Failure(f"session {number} does not answer")
            clients.append(client)
            if number == 99:
                before = resident_kib(server.pid)
        after = resident_kib(server.pid)
        for client in clients:
            client.close()
    return {"sessions": count, "before_kib": before, "after_kib": after, "kib_each": (after - before) / (count - 100)}


TARGETS = [
    ("bulk get, ratio to socat", lambda r: r["bulk"]["get"]["ratio_to_socat"]["median"], 1.2, "least"),
    ("TLS bulk, ratio to stunnel", lambda r: r["tls"]["bulk"]["ratio"]["median"], 2.0, "least"),
    ("TLS handshakes, ratio to stunnel", lambda r: r["tls"]["handshakes"]["ratio"]["median"], 1.0, "least"),
    ("four TLS clients, ratio to one", lambda r: r["tls"]["four_clients"]["ratio"]["median"], 1.5, "least"),
    ("warm Python, ratio to tcpserver", lambda r: r["warm"]["ratio"]["median"], 0.05, "most"),
    ("warm under Wine, ratio to cold", lambda r: r["wine"]["ratio"]["median"], 0.1, "most"),
    ("idle piped session, KiB", lambda r: r["idle"]["kib_each"], 20, "most"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/wininetd")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=GIB)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--wine", type=Path, help="folder of wininetd.exe and examples/probe.exe, for the Windows lab's Wine")
    parser.add_argument("--only", choices=["bulk", "tls", "warm", "idle", "wine"], action="append")
    options = parser.parse_args()
    for program in ("socat", "stunnel4", "tcpserver", "openssl", "gcc"):
        if shutil.which(program) is None:
            print(f"{program} is missing (Debian: socat stunnel4 ucspi-tcp openssl gcc)", file=sys.stderr)
            return 2
    build(False, ["bulk"])
    cases = {"bulk": bulk, "tls": tls, "warm": warm, "idle": idle, **({"wine": wine} if options.wine else {})}
    results = {}
    with tempfile.TemporaryDirectory(prefix="wininetd-bench-") as name:
        for case in options.only or cases:
            results[case] = cases[case](options, Path(name))
            print(json.dumps({case: results[case]}, indent=2), flush=True)
    (OUT / "pump.json").write_text(json.dumps(results, indent=2) + "\n")
    missed = 0
    for what, figure, target, bound in TARGETS:
        try:
            value = figure(results)
        except KeyError:
            continue
        is_met = value >= target if bound == "least" else value <= target
        missed += not is_met
        print(f"{'met   ' if is_met else 'MISSED'}: {what}: {value:.3f}, at the {bound} {target}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(2)
