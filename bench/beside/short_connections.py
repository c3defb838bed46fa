"""Short connections: 1, 32 and 256 at once, without and with an identity.

All servers of a round run beside each other, each works alone. Ours and the
floor run as neighbours several times in a round, since their ratio is judged
closer than one pair can say.
"""

import contextlib
import os

from beside import kinds
from clients import load, settle

NAME = "short"
SECONDS = 560
USER = "nobody"
CLIENTS = (1, 32, 256)
PAIRS = 3
WARM_UP = 100
LIMIT_S = 3  # for one run: a slow server does fewer connections


def run(bench):
    users = ["", *([USER] if os.geteuid() == 0 else [])]
    cases = {f"{clients} at once{', ' + user if user else ''}": {} for user in users for clients in CLIENTS}
    for number, dice in bench.rounds(NAME, SECONDS):
        for user in users:
            with contextlib.ExitStack() as stack:
                fleets = started(bench, stack, user)
                for clients in CLIENTS:
                    case = cases[f"{clients} at once{', ' + user if user else ''}"]
                    for pair, kind in order(dice, list(fleets)):
                        figures = measure(bench, fleets[kind], clients)
                        case.setdefault(kind.name, []).append({"round": number, "pair": pair, **figures})
    return cases


def started(bench, stack, user):
    service = kinds.Service((bench.program,))
    fleets = {}
    for kind in bench.those_that(NAME, "socket", "alone"):
        # The floor never changes identity: what that costs is ours to make up for.
        if user and "user" not in kind.can and kind is not kinds.FLOOR:
            continue
        if fleet := bench.start(stack, NAME, kind, kinds.as_user(service, user)):
            fleets[kind] = fleet
            load(fleet, 8, WARM_UP, LIMIT_S)
    return fleets


def order(dice, servers):
    """Peers once each, and some pairs of ours and the floor's, shuffled."""
    peers = [[(None, kind)] for kind in servers if kind not in (kinds.FLOOR, kinds.OURS)]
    pairs = [[(number, kinds.FLOOR), (number, kinds.OURS)] for number in range(PAIRS)]
    for pair in pairs:
        dice.shuffle(pair)
    units = peers + pairs
    dice.shuffle(units)
    return [one for unit in units for one in unit]


def measure(bench, fleet, clients):
    before, all_before = fleet.cpu_ns(), fleet.group.used_ns()
    result = load(fleet, clients, bench.options.connections, LIMIT_S)
    settle()
    # What the server does after a client's last byte is part of its work.
    done = max(1, result["connections"])
    result["server_cpu_us"] = (fleet.cpu_ns() - before) / 1e3 / done
    if all_before is not None:
        result["all_cpu_us"] = (fleet.group.used_ns() - all_before) / 1e3 / done
    return result
