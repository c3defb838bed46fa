"""Time to the first byte of an answer: a C program and Python, started for the client, and ours that wait for it."""

import contextlib
import statistics
import sys

from beside import kinds
from clients import first_byte

NAME = "first"
SECONDS = 90
TIMES = 8
SCRIPT = "import sys\nsys.stdin.readline()\nprint('ready', flush=True)\n"


def run(bench):
    script = bench.folder / "ready.py"
    script.write_text(SCRIPT)
    programs = {"C": (bench.program,), "Python": (sys.executable, script)}
    cases = {name: {} for name in programs}
    for number, dice in bench.rounds(NAME, SECONDS):
        for name, command in programs.items():
            with contextlib.ExitStack() as stack:
                servers = list(bench.those_that(NAME, "socket", "alone"))
                servers += [kinds.OURS_WARM] if kinds.OURS_WARM.name in bench.programs else []
                fleets = {kind: bench.start(stack, NAME, kind, kinds.Service(command)) for kind in servers}
                for kind in dice.sample(servers, len(servers)):
                    if not fleets[kind]:
                        continue
                    figures = bench.try_one(NAME, kind, lambda kind=kind, fleets=fleets: measure(kind, fleets[kind]))
                    if figures:
                        cases[name].setdefault(kind.name, []).append({"round": number, **figures})
    return cases


def measure(kind, fleet):
    # The next of those that wait is there by then; the others have only to be idle again.
    pause = 0.25 if kind is kinds.OURS_WARM else 0.02
    first_byte(fleet.ports[0], pause)
    values = [first_byte(fleet.ports[0], pause) for _ in range(TIMES)]
    return {"ms": statistics.median(values), "max_ms": max(values)}
