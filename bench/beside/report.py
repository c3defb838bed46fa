"""Writes RESULTS.md: how to repeat it, the machine, the targets, a table for each workload."""

import os
import subprocess
from pathlib import Path

from beside import bulk, burst, first_byte, judge, kinds, memory, plot, short_connections, tables, tls
from common import progress

# A row of the targets begins with what it is of.
WORKLOADS = {
    "short connections": short_connections.NAME,
    "first byte": first_byte.NAME,
    "bulk": bulk.NAME,
    "TLS": tls.NAME,
    "memory": memory.NAME,
    "burst": burst.NAME,
}
MOST_ROUNDS = {memory.NAME: memory.ROUNDS, burst.NAME: burst.ROUNDS}
FEW = 3


def more_of_machine():
    def of(path):
        try:
            return Path(path).read_text().split()
        except OSError:
            return ["unknown"]

    return {
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        "somaxconn": burst.somaxconn(),
        "syn_backlog": of("/proc/sys/net/ipv4/tcp_max_syn_backlog")[0],
    }


def version_of(binary):
    done = subprocess.run([binary, "--version"], capture_output=True, text=True)
    return done.stdout.strip().removeprefix("wininetd ")


def write(measured, source, folder):
    """The files in that folder; the exit code."""
    verdicts = judge.all_of(measured["results"])
    missed = [verdict for verdict in verdicts if not verdict.is_met]
    picture = folder / "results.svg"
    try:
        plot.draw(source, picture)
        image = f"![Shares of the floor, and memory]({picture.name})\n"
    except plot.NoPlot as error:
        progress(f"no plot: {error}")
        image = f"(No plot: {error})\n"
    parts = [head(measured), verdict_table(measured, verdicts, missed), image, *tables.all_of(measured["results"]), tail(measured)]
    file = folder / "RESULTS.md"
    file.write_text("\n".join(parts))
    for verdict in verdicts:
        print(f"{'met   ' if verdict.is_met else 'MISSED'} {verdict.row}: {verdict.what}: {verdict.found}")
    print(f"{file}\n{picture}" if picture.exists() else file)
    return 1 if missed else 0


def head(measured):
    machine, options = measured["machine"], measured["options"]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    what = "" if measured["is_whole"] else "\nThis is a part, or a quick try: no figure of it is worth keeping.\n"
    user = "as root" if machine["root"] else "not as root, so without identities"
    return f"""# wininetd beside its peers
{what}
Written by `python3 bench/peers.py --build`, which fetches the peers from Debian's packages and measures all of this again; how, and
how far to trust it, is in [README.md](README.md).

{measured["date"]}, {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, Linux {machine["kernel"]}, {user};
somaxconn {machine["somaxconn"]}, tcp_max_syn_backlog {machine["syn_backlog"]}; load average at the start {machine["load"]:.1f}.
Up to {options["rounds"]} rounds (what had fewer is under Left out) in {measured["seconds"]["all"] // 60} min {measured["seconds"]["all"] % 60} s.

Versions: {versions}.
"""


def few_rounds(measured, row):
    """A word on so few rounds that no spread of theirs says much."""
    workload = next(name for start, name in WORKLOADS.items() if row.startswith(start))
    wanted = min(measured["options"]["rounds"], MOST_ROUNDS.get(workload, FEW))
    fewer = measured["fewer_rounds"].get(workload)
    rounds = int(fewer.split()[0]) if fewer else wanted
    return f"; {rounds} {'round' if rounds == 1 else 'rounds'}" if rounds < FEW else ""


def verdict_table(measured, verdicts, missed):
    lines = [f"## Targets\n\n{len(verdicts) - len(missed)} of {len(verdicts)} met.\n"]
    lines += ["| row | target | found: median (least to most) | |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        end = "met" if verdict.is_met else f"**missed**: {verdict.cause}"
        lines.append(f"| {verdict.row} | {verdict.what} | {verdict.found}{few_rounds(measured, verdict.row)} | {end} |")
    level = (
        "The figure of 'first' is how many times better ours is than the peer that comes nearest. One is ahead below\n"
        f"{judge.LEVEL}, if it is so in {judge.ROUNDS_AHEAD:.0%} of the rounds; else the two are level."
    )
    return "\n".join([*lines, "", level, ""])


def tail(measured):
    lines = ["## Left out\n"]
    lines += [f"- {what}: {reason}" for what, reason in measured["left_out"].items()]
    lines += [f"- {what}: {reason}" for what, reason in measured["fewer_rounds"].items()]
    if len(lines) == 1:
        lines.append("Nothing.")
    never = f"The {kinds.FLOOR.name} never changes identity, waits for nobody and keeps no record."
    return "\n".join([*lines, "", never, ""])
