"""Bulk both ways: a program that has the socket itself, and one whose bytes the server moves."""

import contextlib

from beside import kinds
from clients import BULK, bulk_seconds

NAME = "bulk"
SECONDS = 90
MODES = {"from the program": ("get", "source"), "to the program": ("put", "sink")}


def run(bench):
    cases = {f"{mode}, {way}": {} for mode in MODES for way in ("socket", "pipes")}
    size = bench.options.bytes
    for number, dice in bench.rounds(NAME, SECONDS):
        for mode, (verb, role) in MODES.items():
            service = kinds.Service((BULK, role, size) if role == "source" else (BULK, role))
            with contextlib.ExitStack() as stack:
                servers = list(bench.those_that(NAME, "socket", "pipes"))
                fleets = {kind: bench.start(stack, NAME, kind, service) for kind in servers}
                for kind in dice.sample(servers, len(servers)):
                    if not fleets[kind]:
                        continue
                    port = fleets[kind].ports[0]
                    took = bench.try_one(NAME, kind, lambda verb=verb, port=port: bulk_seconds(verb, port, size))
                    if took:
                        case = cases[f"{mode}, {'pipes' if 'pipes' in kind.can else 'socket'}"]
                        case.setdefault(kind.name, []).append({"round": number, "mib_s": size / took / (1 << 20)})
    return cases
