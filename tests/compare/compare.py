#!/usr/bin/env python3
"""The same scenarios against the servers of this kind and ours.

Writes docs/compared.md, and fails if what ours does is not what is expected here, or
differs from what most others do without a reason. Everything stays on loopback and
ends by itself; only processes that were started here are ended.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left in the tree

import fetch
import scenarios
from ours import EXPECTED, REASONS
from servers import OURS, PEERS, Running, Service, free_port

PAGE = fetch.ROOT / "docs" / "compared.md"
NOT_HAD = "has none"
NEEDS = {"limit": "limit", "denied": "rules", "reload": "reload"}


class Starter:
    """Starts one server for one scenario."""

    def __init__(self, kind, program, folder):
        self.kind, self.program, self.folder = kind, program, folder

    @contextlib.contextmanager
    def __call__(self, what, program=None, ready=True, **keys):
        act, count = self.folder / "act", self.folder / "count"
        command = [program or str(act), what, *([str(count)] if what == "crash" else [])]
        service = Service(command, [free_port()], **keys)
        # (What a server was told to write last may come while the folder goes.)
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            running = Running(self.kind, self.program, service, Path(folder))
            running.count = count
            running.add_port = lambda: self.add_port(running)
            with running:
                yield running.ready() if ready else running

    @staticmethod
    def add_port(running):
        running.service.ports.append(free_port())
        running.write()
        return running.service.ports[-1]


def outcome(scenario, kind, program, folder):
    need = NEEDS.get(scenario.__name__)
    if need and need not in kind.can:
        return NOT_HAD
    return scenario(Starter(kind, program, folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="scenarios or servers whose name has this in it; writes no page")
    parser.add_argument("--wininetd", help="a binary that is there, instead of one that is built")
    options = parser.parse_args()
    ours = Path(options.wininetd or fetch.ROOT / "target/release/wininetd").resolve()
    if not options.wininetd:
        subprocess.run(["cargo", "build", "--release", "--bin", "wininetd"], cwd=fetch.ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="wininetd-compare-") as folder:
        return compare(Path(folder), ours, options.only)


def compare(folder, ours, only):
    source = fetch.ROOT / "tests/compare/act.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-static", "-o", folder / "act", source], check=True)
    programs = {kind.name: (ours, "") for kind in OURS} | {kind.name: fetch.fetch(kind.name) for kind in PEERS}
    found = {}
    for scenario in scenarios.ALL:
        for kind in OURS + PEERS:
            if only and only not in scenario.__name__ and only not in kind.name:
                continue
            said = outcome(scenario, kind, programs[kind.name][0], folder)
            found.setdefault(scenario.__name__, {})[kind.name] = said
            print(f"{scenario.__name__:16} {kind.name:16} {said}", flush=True)
    faults = [] if only and not any(kind.name in row for kind in OURS for row in found.values()) else judge(found)
    if not only:
        PAGE.write_text(page(found, programs))
    for fault in faults:
        print(f"fault: {fault}", file=sys.stderr)
    return 1 if faults else 0


def majority(row):
    """What most of the others do, if that is more than half of those that have it."""
    said = [row[kind.name] for kind in PEERS if row.get(kind.name, NOT_HAD) != NOT_HAD]
    if not said:
        return None
    most, count = Counter(said).most_common(1)[0]
    return most if count * 2 > len(said) else None


def judge(found):
    faults = []
    for name, row in found.items():
        for kind in OURS:
            if (said := row.get(kind.name)) is None:
                continue
            expected = EXPECTED.get(name)
            if isinstance(expected, dict):
                expected = expected[kind.name]
            if said != expected:
                faults.append(f"{name}, {kind.name}: {said}; expected: {expected}")
            if said != majority(row) and name not in REASONS:
                faults.append(f"{name}, {kind.name}: {said}; most others: {majority(row)}; no reason is given")
    return faults


def wrapped(text, indent=""):
    return textwrap.wrap(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def paragraph(text):
    return [*wrapped(text), ""]


def page(found, programs):
    lines = ["# Compared with other servers", ""]
    lines += paragraph("This page shows how wininetd and nine other super-servers behave in the same scenarios, and why wininetd"
                       " differs. The others run as Debian packages them, with its settings. `python3 tests/compare/compare.py`"
                       " writes this page, and fails if wininetd does not behave as expected.")
    versions = ", ".join(f"{kind.name} {programs[kind.name][1]}" for kind in PEERS)
    lines += paragraph(f"Versions: {versions}. All servers run as root, on Linux.")
    lines += paragraph("`socket-activate` is systemd's, with `--inetd`. The inetds and rlinetd have access rules by tcp_wrappers only."
                       " `wininetd, pipes` is a service with `stdio = \"pipe\"`. `stop_grace` is one second.")
    lines += ["| scenario | outcome | servers |", "| --- | --- | --- |"]
    for scenario in scenarios.ALL:
        row, title = found[scenario.__name__], scenario.__doc__
        ranked = Counter(row.values()).most_common()
        for said, _ in sorted(ranked, key=lambda each: (each[0] == NOT_HAD, -each[1])):
            who = [f"**{name}**" if name.startswith("wininetd") else name for name in row if row[name] == said]
            lines.append(f"| {title} | {said} | {', '.join(who)} |")
            title = ""
    lines += ["", "## Where wininetd differs from most, and why", ""]
    for scenario in scenarios.ALL:
        if reason := REASONS.get(scenario.__name__):
            lines += wrapped(f"- **{scenario.__doc__}.** {reason}", "  ")
    lines += ["", "## Where to go next", ""]
    lines += paragraph("[failure-behaviour.md](failure-behaviour.md) says what wininetd does in each failure, and"
                       " [convert.md](convert.md) how to move a file of these servers. [cve.md](cve.md) lists their known weaknesses.")
    lines.pop()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("the inetds start programs as a user, which only root can: run this as root")
    # A shell ignores these for what it starts in the background, and servers would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    try:
        sys.exit(main())
    except fetch.Failure as failure:
        sys.exit(f"nothing can be compared: {failure}")
