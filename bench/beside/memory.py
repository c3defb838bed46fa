"""Memory of the servers' own processes, those for each connection too: idle, and with live sessions.

PSS shares what several processes map among them, so that it can be added up; RSS counts it in each.
"""

import contextlib
import os
import socket
import time
from pathlib import Path

from beside import kinds
from clients import BULK
from common import Failure

NAME = "memory"
SECONDS = 180
SERVICES = (1, 100, 1000)
SESSIONS = 1000
ROUNDS = 2
SESSIONS_LIMIT_S = 20


def run(bench):
    counts = SERVICES if bench.options.time == 1 else SERVICES[:2]
    sessions = SESSIONS if bench.options.time == 1 else SESSIONS // 10
    cases = {f"{count} services": {} for count in counts} | {f"{sessions} sessions": {}}
    for number, dice in bench.rounds(NAME, SECONDS, ROUNDS):
        servers = list(bench.those_that(NAME, "socket", "alone"))
        # A thousand processes each for half of them: once is enough.
        for count in counts if number == 0 else counts[:2]:
            for kind in dice.sample(servers, len(servers)):
                note(bench, cases, f"{count} services", kind, number, lambda kind=kind, count=count: idle(bench, kind, count))
        servers = list(bench.those_that(NAME, "socket", "pipes"))
        for kind in dice.sample(servers, len(servers)):
            note(bench, cases, f"{sessions} sessions", kind, number, lambda kind=kind: live(bench, kind, sessions))
    return cases


def note(bench, cases, name, kind, number, measure):
    """A server that cannot have a thousand services may well have a hundred: only this row lacks it."""
    if f"{NAME}, {name}: {kind.name}" in bench.left_out:
        return
    try:
        cases[name].setdefault(kind.name, []).append({"round": number, **measure()})
    except (Failure, OSError) as error:
        bench.leave_out(f"{NAME}, {name}:", kind, error)


def idle(bench, kind, count):
    with bench.serving(kind, kinds.Service((bench.program,)), count) as fleet:
        time.sleep(0.5)
        return used(fleet, bench.program)


def live(bench, kind, count):
    service = kinds.Service((BULK, "wait"), most=count + 10)
    with bench.serving(kind, service) as fleet, contextlib.ExitStack() as stack:
        before = used(fleet, BULK)
        until = time.monotonic() + SESSIONS_LIMIT_S
        for number in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", fleet.ports[0]), timeout=5))
            client.sendall(b"x")
            if client.recv(1) != b"x" or time.monotonic() > until:
                raise Failure(f"only {number} sessions answered")
        after = used(fleet, BULK)
    return {**after, "each_kib": (after["pss_mib"] - before["pss_mib"]) * 1024 / count}


def used(fleet, program):
    """Of all its processes that are not the program."""
    total = {"pss_mib": 0.0, "rss_mib": 0.0, "processes": 0}
    children = children_of_all()
    waiting = [server.pid for server in fleet.servers]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.readlink(f"/proc/{pid}/exe") == str(program):
                continue
            sizes = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
            total["pss_mib"] += int(sizes["Pss:"]) / 1024
            total["rss_mib"] += int(sizes["Rss:"]) / 1024
            total["processes"] += 1
    return total


def children_of_all():
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it may end meanwhile
                stat = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    return children
