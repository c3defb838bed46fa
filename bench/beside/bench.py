"""What all workloads share: which servers take part, how they are started, and the rounds.

A round runs every server once, in an order that is shuffled with a fixed seed.
Who cannot be fetched, started or served is left out with its reason; the others go on.
"""

import contextlib
import itertools
import random
import time

from beside import debian, kinds
from common import Failure, free_ports, progress
from server import CpuGroup, Server, listening_ports

SEED = 20030601
PORTS = range(23000, 32000)  # below the ephemeral ports
STARTS = 3  # somebody else may take a port between the look and the bind


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.program = folder / "answer"
        self.ports = itertools.cycle(PORTS)
        self.left_out = {}
        self.versions = {}
        self.fewer = {}
        self.programs = {}
        for kind in kinds.ALL:
            if self.is_wanted(kind):
                self.find(kind)

    def is_wanted(self, kind):
        servers = self.options.servers
        # Without these two there is nothing to compare.
        return not servers or kind is kinds.FLOOR or kind.is_ours or kind.tool in servers

    def find(self, kind):
        try:
            if kind.tool:
                self.programs[kind.name], self.versions[kind.tool] = debian.fetch(kind.tool)
            else:
                self.programs[kind.name] = self.options.binary
        except (Failure, OSError) as error:
            self.leave_out("", kind, error)

    def leave_out(self, workload, kind, error):
        self.left_out[f"{workload} {kind.name}".strip()] = str(error).splitlines()[0]
        progress(f"left out: {workload} {kind.name}: {error}")

    def those_that(self, workload, *can):
        """The servers that can do one of these."""
        for kind in kinds.ALL:
            if kind.name in self.programs and kind.can.intersection(can) and f"{workload} {kind.name}" not in self.left_out:
                yield kind

    @contextlib.contextmanager
    def serving(self, kind, service, ports=1):
        """The server with that many services: one process, or one for each."""
        with contextlib.ExitStack() as stack:
            for last in range(STARTS - 1, -1, -1):
                found = free_ports(ports, itertools.islice(self.ports, len(PORTS)))
                try:
                    fleet = stack.enter_context(self.started(kind, service, found))
                    break
                except Failure:
                    if not last:
                        raise
            yield fleet

    @contextlib.contextmanager
    def started(self, kind, service, ports):
        together = [ports] if "many" in kind.can else [[port] for port in ports]
        with Fleet(ports) as fleet:
            for some in together:
                command = kinds.command_of(kind, self.programs[kind.name], service, some, self.folder)
                fleet.add(Server(command, some, self.folder, debian.environment() if kind.tool else None, fleet.group))
            fleet.wait()
            yield fleet

    def start(self, stack, workload, kind, service, ports=1):
        """As serving, for the rest of the stack; nothing when it cannot be."""
        try:
            return stack.enter_context(self.serving(kind, service, ports))
        except (Failure, OSError) as error:
            if kind is kinds.FLOOR or kind.is_ours:
                raise
            self.leave_out(workload, kind, error)

    def rounds(self, workload, seconds, most=None):
        """Numbers and dice of the rounds: as many as were asked for and the time allows."""
        wanted = min(self.options.rounds, most or self.options.rounds)
        began = time.monotonic()
        for number in range(wanted):
            spent = time.monotonic() - began
            if number and spent * (number + 1) / number > seconds * self.options.time:
                self.fewer[workload] = f"{number} of {wanted} rounds, since {seconds * self.options.time:.0f} s were over"
                progress(f"{workload}: {self.fewer[workload]}")
                return
            progress(f"{workload}: round {number + 1} of {wanted}")
            yield number, random.Random(f"{SEED} {workload} {number}")

    def try_one(self, workload, kind, measure):
        """A figure, or nothing and the reason."""
        try:
            return measure()
        except (Failure, OSError, TimeoutError) as error:
            if kind is kinds.FLOOR:
                raise
            self.leave_out(workload, kind, error)


class Fleet:
    """The processes of a server, in one group for the CPU time of all that they start."""

    def __init__(self, ports):
        self.ports = ports
        self.group = CpuGroup()
        self.servers = []
        self.listening = {}
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.stack.enter_context(self.group)
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def add(self, server):
        self.servers.append(self.stack.enter_context(server.starting()))

    def wait(self):
        if len(self.servers) == 1:
            self.servers[0].wait_until_listening()
            return
        # The system's table is long, and a look for each of a thousand would take minutes.
        for server in self.servers:
            if server.ports[0] not in self.listening:
                server.wait_until(lambda port=server.ports[0]: self.look_for(port), "listen")

    def look_for(self, port):
        self.listening = listening_ports()
        return port in self.listening

    def cpu_ns(self):
        return sum(server.cpu_ns() for server in self.servers)
