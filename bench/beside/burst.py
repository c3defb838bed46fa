"""A burst: 2,000 connects at once against the backlog."""

from pathlib import Path

from beside import kinds
from clients import burst

NAME = "burst"
SECONDS = 90
COUNT = 2000
LIMIT_S = 10
ROUNDS = 3


def somaxconn():
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


def run(bench):
    case = {}
    for number, dice in bench.rounds(NAME, SECONDS, ROUNDS):
        servers = list(bench.those_that(NAME, "socket", "alone"))
        for kind in dice.sample(servers, len(servers)):
            figures = bench.try_one(NAME, kind, lambda kind=kind: measure(bench, kind))
            if figures:
                case.setdefault(kind.name, []).append({"round": number, **figures})
    return {f"{COUNT} at once": case}


def measure(bench, kind):
    # Fresh for each, since what one leaves in the queue would be the next one's.
    with bench.serving(kind, kinds.Service((bench.program,))) as fleet:
        return burst(fleet.ports[0], COUNT, LIMIT_S)
