#!/usr/bin/env python3
"""Short connections, idle memory and leaks of wininetd. See README.md beside this.

Everything stays on loopback and is bounded in count and time. Only processes
that were started here are ended, each by its own pid; they also end by
themselves should this script be killed.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from clients import load, ping, settle
from common import OUT, ROOT, Failure, build, free_ports, has_ipv6, is_free, machine, program_for_all, progress
from server import Server

RATIO_TARGET = 0.92  # median of wininetd / floor, connections per second
AGAINST_TARGET = 0.97  # median of wininetd / another build of it
RSS_TARGET_MIB = 8.0
RSS_GROWTH_TARGET_MIB = 1.0  # over LEAK_CONNECTIONS: about 100 bytes each

BEFORE = "before"  # the name of the build of --against

WARM_UP = 200
LEAK_CONNECTIONS = 10_000
LEAK_CLIENTS = 8
IDLE_PORTS = range(21000, 21100)
OTHER_PORTS = iter(range(20000, 21000))  # below the ephemeral ports
TOTAL_LIMIT_S = 1800


def free_port():
    return free_ports(1, OTHER_PORTS)[0]


# --- servers ----------------------------------------------------------------


def floor(program, _identity):
    port = free_port()
    return Server([OUT / "floor", port, program], [port], program.parent)


class Wininetd:
    def __init__(self, binary):
        self.binary = binary.resolve()
        if not os.access(self.binary, os.X_OK):
            raise Failure(f"no program {self.binary}; build it first, or add --build")
        answer = subprocess.run(
            [self.binary, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
        )
        self.help = answer.stdout + answer.stderr

    def __call__(self, program, identity, ports=None):
        ports = ports or [free_port()]
        config = program.parent / "wininetd.conf"
        config.write_text("".join(f"{port} {identity} {program}\n" for port in ports))
        config.chmod(0o644)
        command = [self.binary, "--debug", "--cfgfile", config]
        # Loopback only, and a control channel that no other server uses: as far
        # as this build has the options.
        if "--bind" in self.help:
            command += ["--bind", "127.0.0.1"]
            if has_ipv6():
                command += ["--bind", "::1"]
        if "--control" in self.help:
            command += ["--control", program.parent / "control.sock"]
        return Server(command, ports, program.parent)


# --- measurements -----------------------------------------------------------


def measure(start, program, identity, clients, connections):
    """One fresh server, warmed up, then measured."""
    with start(program, identity) as server:
        load(server, clients, WARM_UP)
        settle()
        before = server.cpu_ns()
        result = load(server, clients, connections)
        settle()
        # What the server does after a client's last byte is part of its work.
        result["server_cpu_us"] = (server.cpu_ns() - before) / 1e3 / connections
    return result


def measure_pairs(reference, wininetd, program, identity, clients, pairs, connections):
    """Interleaved runs of `reference`, a name and a server, and of wininetd."""
    runs = []
    servers = [reference, ("wininetd", wininetd)]
    for number in range(1, pairs + 1):
        progress(f"{plain(identity)}, {clients} at once: pair {number} of {pairs}")
        pair = {}
        for name, start in servers:
            pair[name] = measure(start, program, identity, clients, connections)
        other = pair[reference[0]]
        if other["errors"]:
            raise Failure(f"the {reference[0]} had errors: {other['first_error']}")
        pair["ratio"] = pair["wininetd"]["conn_per_s"] / other["conn_per_s"]
        runs.append(pair)
        if reference[0] == BEFORE:
            # So that neither build is always the second of a pair.
            servers.reverse()

    ratios = [pair["ratio"] for pair in runs]
    summary = {
        "identity": identity,
        "clients": clients,
        "reference": reference[0],
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }
    for name in (reference[0], "wininetd"):
        of = [pair[name] for pair in runs]
        medians = ("conn_per_s", "p50_ms", "p99_ms", "server_cpu_us")
        summary[name] = {key: statistics.median(run[key] for run in of) for key in medians}
        summary[name]["max_ms"] = max(run["max_ms"] for run in of)
        summary[name]["errors"] = sum(run["errors"] for run in of)
        summary[name]["first_error"] = next((run["first_error"] for run in of if run["errors"]), "")
    summary["runs"] = runs
    return summary


def measure_idle_memory(wininetd, program):
    progress(f"idle memory, {len(IDLE_PORTS)} services")
    taken = [port for port in IDLE_PORTS if not is_free(port)]
    if taken:
        raise Failure(f"ports in use: {taken}")
    with wininetd(program, "none", list(IDLE_PORTS)) as server:
        time.sleep(0.5)
        fresh = server.rss_mib()
        errors = list(filter(None, map(ping, server.ports)))
        time.sleep(0.5)
        used = server.rss_mib()
    return {"services": len(IDLE_PORTS), "fresh_mib": fresh, "after_one_each_mib": used, "errors": errors}


def measure_leaks(wininetd, program, identity):
    progress(f"leaks, {plain(identity)}: {LEAK_CONNECTIONS} connections")

    def state(server):
        children = server.children()
        return {
            "descriptors": server.descriptors(),
            "zombies": children.count("Z"),
            "children": len(children),
            "threads": server.threads(),
            "rss_mib": server.rss_mib(),
        }

    with wininetd(program, identity) as server:
        load(server, LEAK_CLIENTS, WARM_UP)
        time.sleep(1)
        before = state(server)
        result = load(server, LEAK_CLIENTS, LEAK_CONNECTIONS)
        time.sleep(1)
        after = state(server)
    return {"identity": identity, "before": before, "after": after, "load": result}


# --- results ----------------------------------------------------------------


def plain(identity):
    return identity.rstrip(":")


def title(case):
    return f"{plain(case['identity'])}, {case['clients']} at once"


def misses_of_pairs(summary):
    case, median = title(summary), summary["ratio"]["median"]
    target = AGAINST_TARGET if summary["reference"] == BEFORE else RATIO_TARGET
    misses = []
    if (summary["clients"] > 1 or summary["reference"] == BEFORE) and median < target:
        misses.append(f"{case}: median ratio {median:.3f} is below {target}")
    if summary["wininetd"]["errors"]:
        server = summary["wininetd"]
        misses.append(f"{case}: {server['errors']} failed connections, first: {server['first_error']}")
    return misses


def misses_of_idle(idle):
    misses = [f"idle memory: {error}" for error in idle["errors"]]
    most = max(idle["fresh_mib"], idle["after_one_each_mib"])
    if most >= RSS_TARGET_MIB:
        misses.append(f"idle memory: {most:.2f} MiB, not below {RSS_TARGET_MIB:g} MiB")
    return misses


def misses_of_leaks(leak):
    before, after, result = leak["before"], leak["after"], leak["load"]
    case = f"leaks, {plain(leak['identity'])}"
    misses = []
    if result["errors"]:
        misses.append(f"{case}: {result['errors']} failed connections, first: {result['first_error']}")
    if after["descriptors"] > before["descriptors"]:
        misses.append(f"{case}: {after['descriptors'] - before['descriptors']} descriptors more")
    if after["zombies"]:
        misses.append(f"{case}: {after['zombies']} zombies")
    if after["children"] > after["zombies"]:
        misses.append(f"{case}: {after['children'] - after['zombies']} programs still run")
    growth = after["rss_mib"] - before["rss_mib"]
    if growth >= RSS_GROWTH_TARGET_MIB:
        misses.append(f"{case}: resident memory grew by {growth:.2f} MiB")
    return misses


def print_pairs(cases):
    columns = {  # key: title, digits
        "conn_per_s": ("conn/s", 0),
        "p50_ms": ("p50 ms", 2),
        "p99_ms": ("p99 ms", 2),
        "max_ms": ("max ms", 2),
        "server_cpu_us": ("CPU us", 1),
    }
    titles = "".join(f"{title:>9}" for title, _ in columns.values())
    print(f"{'case':<20}{'server':<10}{titles}   ratio: median (min to max)")
    for case in cases:
        ratio = case["ratio"]
        first = title(case)
        for name in (case["reference"], "wininetd"):
            figures = "".join(f"{case[name][key]:>9.{digits}f}" for key, (_, digits) in columns.items())
            line = f"{first:<20}{name:<10}{figures}"
            if name == "wininetd":
                line += f"   {ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
            print(line)
            first = f"  {len(case['runs'])} pairs"
    print("Medians of all pairs; max ms: the worst of all. CPU us: CPU time of the server process")
    print("itself for each connection, without its programs. The floor never changes identity.")


def print_single_pairs(case):
    print(f"{title(case)}: connections a second in each pair")
    print(f"{'pair':>6}{BEFORE:>10}{'wininetd':>10}{'ratio':>8}")
    for number, pair in enumerate(case["runs"], 1):
        speeds = (pair[name]["conn_per_s"] for name in (BEFORE, "wininetd"))
        print(f"{number:>6}{''.join(f'{speed:>10.0f}' for speed in speeds)}{pair['ratio']:>8.3f}")
    print(f"{'median':>6}{'':>20}{case['ratio']['median']:>8.3f}")


def print_idle(idle):
    print(
        f"idle memory, {idle['services']} services: {idle['fresh_mib']:.2f} MiB resident after the start, "
        f"{idle['after_one_each_mib']:.2f} MiB after one connection each (target: below {RSS_TARGET_MIB:g})"
    )


def print_leaks(leak):
    speed = f"{leak['load']['conn_per_s']:.0f} conn/s"
    print(f"leaks, {plain(leak['identity'])}: {LEAK_CONNECTIONS} connections, {LEAK_CLIENTS} at once, {speed}")
    print(f"  {'':<14}{'before':>10}{'after':>10}")
    for key in leak["before"]:
        before, after = leak["before"][key], leak["after"][key]
        form = "10.2f" if key == "rss_mib" else "10d"
        print(f"  {key:<14}{before:>{form}}{after:>{form}}")


# --- the command ------------------------------------------------------------


def arguments():
    def up_to(limit):
        def count(text):
            value = int(text)
            if not 1 <= value <= limit:
                raise argparse.ArgumentTypeError(f"{value} is not from 1 to {limit}")
            return value

        return count

    parser = argparse.ArgumentParser(description="Short connections and idle memory of wininetd; see bench/README.md.")
    parser.add_argument("--pairs", type=up_to(100), default=9, help="pairs of runs for each case (a third of it with 1 client)")
    parser.add_argument("--connections", type=up_to(20_000), default=2000, help="measured connections in each run")
    # 256 is the server's own default limit; above it clients would only queue.
    parser.add_argument("--clients", type=up_to(256), default=32, help="connections at once")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "wininetd")
    parser.add_argument("--build", action="store_true", help="build the release binary first")
    leaks = f"instead: {LEAK_CONNECTIONS} connections, and what they left behind"
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--leaks", action="store_true", help=leaks)
    against = "instead: compare --binary with this other build of wininetd, pair by pair"
    modes.add_argument("--against", type=Path, metavar="BINARY", help=against)
    return parser.parse_args()


def run_short(options, wininetd, program, identities, report):
    # First, because it is quick and needs fixed ports.
    report["idle"] = measure_idle_memory(wininetd, program)
    # Fewer with one client: nothing is judged there, and it spreads less.
    rounds = [(options.clients, options.pairs)]
    if options.clients > 1:
        rounds.append((1, max(1, options.pairs // 3)))
    report["pairs"] = [
        measure_pairs(("floor", floor), wininetd, program, identity, clients, pairs, options.connections)
        for clients, pairs in rounds
        for identity in identities
    ]
    print_pairs(report["pairs"])
    print_idle(report["idle"])
    return [miss for case in report["pairs"] for miss in misses_of_pairs(case)] + misses_of_idle(report["idle"])


def run_against(options, wininetd, program, identities, report):
    before = (BEFORE, Wininetd(options.against))
    report["pairs"] = [
        measure_pairs(before, wininetd, program, identity, options.clients, options.pairs, options.connections)
        for identity in identities
    ]
    for case in report["pairs"]:
        print_single_pairs(case)
    print_pairs(report["pairs"])
    return [miss for case in report["pairs"] for miss in misses_of_pairs(case)]


def run_leaks(wininetd, program, identities, report):
    report["leaks"] = [measure_leaks(wininetd, program, identity) for identity in identities]
    for leak in report["leaks"]:
        print_leaks(leak)
    return [miss for leak in report["leaks"] for miss in misses_of_leaks(leak)]


def stop_by_signal(number, _frame):
    # As an exception, so that servers are ended and files removed on the way out.
    reason = f"more than {TOTAL_LIMIT_S} s" if number == signal.SIGALRM else signal.Signals(number).name
    raise Failure(f"stopped: {reason}")


def main():
    options = arguments()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop_by_signal)
    signal.alarm(TOTAL_LIMIT_S)

    build(options.build)
    wininetd = Wininetd(options.binary)
    identities = ["none"]
    if os.geteuid() == 0:
        identities.append("nobody:")
    else:
        print("note: not root, so the identity `nobody:` is left out")

    report = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "binary": str(wininetd.binary),
        "against": options.against and str(options.against),
        "options": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
    }
    with program_for_all() as program:
        if options.leaks:
            misses = run_leaks(wininetd, program, identities, report)
        elif options.against:
            misses = run_against(options, wininetd, program, identities, report)
        else:
            misses = run_short(options, wininetd, program, identities, report)

    report["misses"] = misses
    mode = "leaks" if options.leaks else "against" if options.against else "short"
    file = OUT / f"{mode}.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    for miss in misses:
        print(f"MISSED: {miss}")
    if not misses:
        print("all targets met")
    return 1 if misses else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"short.py: {failure}", file=sys.stderr)
        sys.exit(2)
