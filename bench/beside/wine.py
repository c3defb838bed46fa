"""Ours beside the original WinInetd, both under Wine, where somebody has its executable."""

import contextlib
import os
import statistics
import subprocess
from pathlib import Path
from types import SimpleNamespace

from clients import first_byte, load
from common import ROOT, Failure, free_ports
from server import running

NAME = "wine"
SECONDS = 200
CLIENTS = (1, 8, 32)
CONNECTIONS = 100
LIMIT_S = 8
TIMES = 8
ORIGINAL, OURS = "original", "wininetd"


def ours_of_lab():
    lab = Path(os.environ.get("WININETD_LAB", ROOT / "target" / "lab"))
    return lab / "target" / "x86_64-pc-windows-gnu" / "release" / "wininetd.exe"


def look(options):
    """Before anything is measured."""
    options.wine_ours = options.wine_ours or ours_of_lab()
    if not options.wine.is_file():
        raise Failure(f"no file {options.wine}: --wine is the path of the original's WinInetd.exe")
    if not options.wine_ours.is_file():
        raise Failure(f"no file {options.wine_ours}: run scripts/windows-lab.sh cargo build --release, or give --wine-ours")


def windows_path(path):
    return "Z:" + str(path).replace("/", "\\")


def run(bench):
    program = bench.folder / "answer.exe"
    compiler = ["x86_64-w64-mingw32-gcc", "-O2", "-o", program, ROOT / "bench" / "answer.c"]
    if subprocess.run(compiler).returncode != 0:
        raise Failure("cannot compile answer.c for Windows")
    executables = {ORIGINAL: bench.options.wine.resolve(), OURS: bench.options.wine_ours.resolve()}
    cases = {**{f"{clients} at once": {} for clients in CLIENTS}, "first byte": {}}
    with contextlib.ExitStack() as stack:
        ports = {}
        for name, executable in executables.items():
            ports[name] = free_ports(1, bench.ports)[0]
            stack.enter_context(serving(bench, name, executable, ports[name], program))
        for number, dice in bench.rounds(NAME, SECONDS):
            for clients in CLIENTS:
                for name in dice.sample(list(ports), len(ports)):
                    figures = load(SimpleNamespace(ports=[ports[name]]), clients, CONNECTIONS, LIMIT_S)
                    cases[f"{clients} at once"].setdefault(name, []).append({"round": number, **figures})
            for name in dice.sample(list(ports), len(ports)):
                values = [first_byte(ports[name], 0.05) for _ in range(TIMES)]
                figures = {"ms": statistics.median(values), "max_ms": max(values)}
                cases["first byte"].setdefault(name, []).append({"round": number, **figures})
    return cases


@contextlib.contextmanager
def serving(bench, name, executable, port, program):
    """Both read the same file. The original listens on all addresses; it has no option for that."""
    file = bench.folder / f"{name}.conf"
    file.write_text(f"{port} none {windows_path(program)}\r\n")
    command = ["scripts/windows-lab.sh", "wine", executable, "--debug", "--cfgfile", windows_path(file)]
    if name == OURS:
        command += ["--bind", "127.0.0.1", "--control", rf"\\.\pipe\wininetd-bench-{os.getpid()}"]
    log = bench.folder / f"{name}.log"
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(log.open("w"))
        try:
            stack.enter_context(running(command, port, cwd=ROOT, stdout=said, stderr=said, patience=60))
            first_byte(port)
        except Failure as failure:
            raise Failure(f"{name}: {failure}\n    {log.read_text(errors='replace').strip()[-500:]}") from None
        yield
