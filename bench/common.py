"""What every benchmark here needs: places, the compiled pieces, ports, the machine."""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "bench"

PIECES = {
    "floor": [],
    "load": [],
    "answer": ["-static"],
    "bulk": ["-pthread"],
    "burst": [],
}


class Failure(Exception):
    """The benchmark itself could not be done; there is nothing to judge."""


def build(with_server, names=("floor", "load", "answer")):
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        source = ROOT / "bench" / f"{name}.c"
        command = ["gcc", "-O2", "-Wall", "-Wextra", *PIECES[name], "-o", OUT / name, source]
        if subprocess.run(command).returncode != 0:
            raise Failure(f"cannot compile {source}")
    if with_server:
        command = ["cargo", "build", "--release", "--bin", "wininetd"]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            raise Failure("cargo build failed")


@contextlib.contextmanager
def program_for_all(*others):
    """A fresh directory with the answer program, which `nobody` can reach; others beside it."""
    directory = Path(tempfile.mkdtemp(prefix="wininetd-bench-", dir="/tmp"))
    try:
        directory.chmod(0o755)
        for name in ("answer", *others):
            program = directory / name
            shutil.copyfile(OUT / name, program)
            program.chmod(0o755)
        yield directory / "answer"
    finally:
        shutil.rmtree(directory)


def is_free(port):
    families = [(socket.AF_INET, "0.0.0.0")]
    if has_ipv6():
        families.append((socket.AF_INET6, "::"))
    for family, address in families:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: what an earlier run left in TIME_WAIT does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def has_ipv6():
    try:
        return " lo" in Path("/proc/net/if_inet6").read_text()
    except OSError:
        return False


def free_ports(count, ports):
    """The next so many of `ports`, an iterator below the ephemeral range, that nobody has."""
    found = []
    for port in ports:
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise Failure("no free port left")


def progress(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "root": os.geteuid() == 0}


def end(process, seconds):
    """Ends a process that was started here. True if it had to be killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
    return False
