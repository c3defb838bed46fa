"""TLS: full handshakes, each with a program, and bulk to a client that has the kernel drop what comes."""

import contextlib

from beside import kinds
from clients import BULK, handshakes, tls_file, undecrypted

NAME = "tls"
SECONDS = 120
HANDSHAKE_S = 2
BULK_S = 1.5


def run(bench):
    tls_file(bench.folder)
    services = {
        "handshakes": ("/bin/true",),
        "bulk": (BULK, "source", 1 << 42),
    }
    cases = {name: {} for name in services}
    for number, dice in bench.rounds(NAME, SECONDS):
        for name, command in services.items():
            service = kinds.Service(command, certificate=bench.folder)
            with contextlib.ExitStack() as stack:
                servers = list(bench.those_that(NAME, "tls"))
                fleets = {kind: bench.start(stack, NAME, kind, service) for kind in servers}
                for kind in dice.sample(servers, len(servers)):
                    if not fleets[kind]:
                        continue
                    figures = bench.try_one(NAME, kind, lambda name=name, fleet=fleets[kind]: measure(name, fleet))
                    if figures:
                        cases[name].setdefault(kind.name, []).append({"round": number, **figures})
    return cases


def measure(name, fleet):
    port = fleet.ports[0]
    if name == "handshakes":
        return {"a_second": handshakes(port, HANDSHAKE_S)}
    return {"mib_s": undecrypted(port, 1, BULK_S)}
