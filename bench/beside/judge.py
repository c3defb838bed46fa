"""The targets, and whether each is met. A miss names its cause as far as it is known."""

import statistics
from dataclasses import dataclass

from beside import burst, figures, kinds, memory, short_connections, tls
from beside.causes import cause_of

SHARE_OF_FLOOR = 0.97
P99_OF_FLOOR = 1.2
# Servers that leave the work to the kernel do the same. A peer is ahead if it is so by
# more than this, and in so many of the rounds: the best of ten is above the median by luck.
LEVEL = 0.97
ROUNDS_AHEAD = 0.8


@dataclass
class Verdict:
    """What was asked, what was found."""

    row: str
    what: str
    found: str
    is_met: bool

    @property
    def cause(self):
        return "" if self.is_met else cause_of(self.row)


def all_of(results):
    found = []
    for name, case in results.get(short_connections.NAME, {}).items():
        found += beside_floor(name, case)
    for name, case in results.get(burst.NAME, {}).items():
        found.append(nobody_waits(name, case))
    for row, case, ours, peers, key, is_more in rows(results):
        verdict = first_in(row, case, ours, peers, key, is_more)
        if verdict:
            found.append(verdict)
    return found


def spread(found):
    return f"{found[0]:.3f} ({found[1]:.2f} to {found[2]:.2f})"


def beside_floor(name, case):
    ours, floor = kinds.OURS.name, kinds.FLOOR.name
    speed = figures.of_other(case, ours, floor, "conn_per_s")
    p99 = figures.of_other(case, ours, floor, "p99_ms")
    errors = sum(figures.values(case.get(ours, []), "errors"))
    if speed is None or p99 is None:
        return []
    row = f"short connections, {name}"
    return [
        Verdict(row, f"at least {SHARE_OF_FLOOR} of the floor", spread(speed), speed[0] >= SHARE_OF_FLOOR),
        Verdict(f"{row}: p99", f"at most {P99_OF_FLOOR} of the floor's", spread(p99), p99[0] <= P99_OF_FLOOR),
        Verdict(f"{row}: failed", "none", str(errors), errors == 0),
    ]


def nobody_waits(name, case):
    runs = case.get(kinds.OURS.name, [])
    retried, lost = (sum(sum(figures.values(runs, key)) for key in keys) for keys in (["retried"], ["failed", "unfinished"]))
    found = f"{retried} waited, {lost} failed, in {len(runs)} bursts"
    return Verdict(f"burst, {name}: SYN", "nobody waits for a SYN retry or fails", found, bool(runs) and retried + lost == 0)


def rows(results):
    """Every row where a peer competes: case, ours, the peers, the figure, whether more of it is better."""
    for name, case in results.get(short_connections.NAME, {}).items():
        yield f"short connections, {name}", case, kinds.OURS, others(case), "conn_per_s", True
    for name, case in results.get("first", {}).items():
        yield f"first byte, {name}", case, kinds.OURS, others(case), "ms", False
        yield f"first byte, {name}, warm", case, kinds.OURS_WARM, others(case), "ms", False
    for name, case in results.get("bulk", {}).items():
        ours = kinds.OURS if name.endswith("socket") else kinds.OURS_PIPES
        yield f"bulk {name}", case, ours, others(case), "mib_s", True
    for name, case in results.get(tls.NAME, {}).items():
        yield f"TLS {name}", case, kinds.OURS_TLS, others(case), "a_second" if name == "handshakes" else "mib_s", True
    for name, case in results.get(memory.NAME, {}).items():
        # With one service a program of a few pages is smaller; that is no target.
        if name == "1 services":
            continue
        if name.endswith("sessions"):
            for ours, way in ((kinds.OURS, "socket"), (kinds.OURS_PIPES, "pipes")):
                same = [kind.name for kind in kinds.PEERS if way in kind.can and kind.name in case]
                yield f"memory, {name}, {way}", case, ours, same, "pss_mib", False
        else:
            yield f"memory, {name}", case, kinds.OURS, others(case), "pss_mib", False
    for name, case in results.get(burst.NAME, {}).items():
        # The last answer, of those that answered all of them.
        whole = [peer for peer in others(case) if not any(run["failed"] + run["unfinished"] for run in case[peer])]
        yield f"burst, {name}: last answer", case, kinds.OURS, whole, "max_ms", False


def others(case):
    return [kind.name for kind in kinds.PEERS if kind.name in case]


def first_in(row, case, ours, peers, key, is_more):
    """Against whoever is ahead by most, or comes nearest."""
    against = []
    for peer in peers:
        pair = (ours.name, peer) if is_more else (peer, ours.name)
        found = figures.ratios(case, *pair, key)
        if found:
            middle = statistics.median(found)
            rounds = sum(ratio < 1 for ratio in found) / len(found)
            is_ahead = middle < LEVEL and rounds >= ROUNDS_AHEAD
            against.append((not is_ahead, middle, min(found), max(found), peer))
    if not against:
        return None
    is_met, *nearest, peer = min(against)
    return Verdict(row, "first, or level", f"{spread(nearest)} against {peer}", is_met)
