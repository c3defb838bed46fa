#!/usr/bin/env python3
"""What admission costs: the server's CPU time for a connection with ten rules,
two rates and limits, beside the same service without any. See README.md.
"""

import argparse
import statistics
import sys

import short

TARGET = 1.03  # the median of the ratios of CPU time for a connection

# Wide enough that nobody waits: what is measured is looking, not waiting.
RULES = """
allow = ["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "2001:db8::/32"]
deny = ["10.1.0.0/16", "10.2.0.0/16", "192.168.7.0/24", "172.16.9.0/24", "2001:db8:1::/48"]
max_connections = 200
max_connections_per_source = 199
rate = "4000000/s"
rate_per_source = "3000000/s"
"""


def native(binary, keys):
    def start(program, _identity):
        port = short.free_port()
        config = program.parent / "wininetd.toml"
        # Both families, so that no rule is one that can never match.
        listen = f'["127.0.0.1:{port}", "[::1]:{port}"]'
        config.write_text(f"[service.short]\nlisten = {listen}\ncommand = ['{program}']\nuser = 'none'\n{keys}")
        config.chmod(0o644)
        control = program.parent / "control.sock"
        command = [binary, "--debug", "--cfgfile", config, "--control", control]
        return short.Server(command, [port], program.parent)

    return start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--connections", type=int, default=4000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--build", action="store_true", help="build the release binary first")
    options = parser.parse_args()
    short.build(options.build)
    binary = short.ROOT / "target" / "release" / "wininetd"
    starts = (("without", native(binary, "")), ("with", native(binary, RULES)))
    ratios, costs = [], {"without": [], "with": []}
    with short.program_for_all() as program:
        for number in range(options.pairs):
            pair = {}
            # Which comes first changes, since the first has the colder caches.
            for name, start in starts if number % 2 == 0 else reversed(starts):
                result = short.measure(start, program, "none", options.clients, options.connections)
                if result["errors"]:
                    raise short.Failure(f"{result['errors']} errors: {result['first_error']}")
                pair[name] = result["server_cpu_us"]
                costs[name].append(pair[name])
            ratios.append(pair["with"] / pair["without"])
    median = statistics.median(ratios)
    for name, values in costs.items():
        print(f"{name:<8} rules, rates and limits: {statistics.median(values):7.1f} us of CPU for a connection")
    print(f"ratio: {median:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {options.pairs} pairs, target {TARGET}")
    if median > TARGET:
        print(f"MISSED: {median:.3f} is over {TARGET}")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except short.Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(2)
