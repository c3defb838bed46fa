#!/usr/bin/env python3
"""wininetd beside its peers: one command for all of it. See README.md beside this.

It fetches the peers, measures, and writes bench/RESULTS.md, bench/results.svg and
target/bench/peers.json. Everything stays on loopback and is bounded; only processes
that were started here are ended, each by its own pid.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from beside import bulk, burst, debian, first_byte, memory, report, short_connections, tls, wine
from beside.bench import Bench
from common import OUT, ROOT, Failure, build, machine, program_for_all

WORKLOADS = {module.NAME: module for module in (memory, burst, first_byte, bulk, tls, short_connections)}
FILE = OUT / "peers.json"
QUICK = {"rounds": 1, "connections": 300, "bytes": 64 << 20, "time": 0.2}
FEWEST = 5  # rounds of a run whose results are worth keeping
# Workloads end by their own times; this is for what nobody thought of.
LIMIT_S = 25 * 60


def arguments():
    def some_of(names):
        def read(text):
            found = text.split(",")
            for name in found:
                if name not in names:
                    raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
            return found

        return read

    parser = argparse.ArgumentParser(description="wininetd beside its peers; see bench/README.md.")
    parser.add_argument("--rounds", type=int, default=7, help="of every server, in a shuffled order (7)")
    parser.add_argument("--only", type=some_of([*WORKLOADS, wine.NAME]), help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--servers", type=some_of(debian.PROGRAMS), help=f"some of {','.join(debian.PROGRAMS)}")
    parser.add_argument("--quick", action="store_true", help="one small round of everything: does it run?")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "wininetd")
    parser.add_argument("--build", action="store_true", help="cargo build --release first")
    parser.add_argument("--connections", type=int, default=1000, help="in a run of short connections (1000)")
    parser.add_argument("--bytes", type=int, default=512 << 20, help="in a run of bulk (512 MiB)")
    parser.add_argument("--wine", type=Path, metavar="EXE", help="the original's executable, to run both under Wine")
    parser.add_argument("--wine-ours", type=Path, metavar="EXE", help="our own, if it is not the lab's release build")
    parser.add_argument("--report", action="store_true", help="only write the results of the last run again")
    options = parser.parse_args()
    options.time = 1
    if options.quick:
        vars(options).update(QUICK)
    return options


def stop_by_signal(number, _frame):
    # As an exception, so that servers are ended and files removed on the way out.
    raise Failure(f"stopped: {f'more than {LIMIT_S} s' if number == signal.SIGALRM else signal.Signals(number).name}")


def measure(options):
    began, load = time.monotonic(), os.getloadavg()[0]
    workloads = {name: module for name, module in WORKLOADS.items() if not options.only or name in options.only}
    if options.wine:
        wine.look(options)
        if not options.only or wine.NAME in options.only:
            workloads[wine.NAME] = wine
    if not workloads:
        raise Failure("the part of Wine needs --wine EXE")
    build(options.build, ["floor", "load", "answer", "bulk", "burst"])
    if not options.binary.exists():
        raise Failure(f"no program {options.binary}; build it first, or add --build")
    # A thousand sessions are a thousand clients here.
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with program_for_all() as program:
        bench = Bench(options, program.parent)
        results, seconds = {}, {}
        for name, module in workloads.items():
            started = time.monotonic()
            results[name] = module.run(bench)
            seconds[name] = round(time.monotonic() - started)
            seconds["all"] = round(time.monotonic() - began)
            measured = described(options, bench, load, results, seconds, is_whole=len(results) == len(workloads))
            # After each: what stops a later one does not take these away.
            FILE.write_text(json.dumps(measured, indent=1) + "\n")
    return measured


def described(options, bench, load, results, seconds, is_whole):
    is_part = options.quick or options.only or options.servers or options.rounds < FEWEST
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {**machine(), **report.more_of_machine(), "load": load},
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "is_whole": is_whole and not is_part,
        "versions": {"wininetd": report.version_of(options.binary), **bench.versions},
        "seconds": seconds,
        "left_out": bench.left_out,
        "fewer_rounds": bench.fewer,
        "results": results,
    }


def main():
    options = arguments()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop_by_signal)
    signal.alarm(LIMIT_S)
    if options.report:
        if not FILE.exists():
            raise Failure(f"no {FILE}: measure first")
        measured = json.loads(FILE.read_text())
    else:
        measured = measure(options)
    # What is only a part must not take the place of the whole.
    folder = ROOT / "bench" if measured["is_whole"] else OUT
    return report.write(measured, FILE, folder)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"peers.py: {failure}", file=sys.stderr)
        sys.exit(2)
