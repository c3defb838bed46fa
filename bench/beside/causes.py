"""Why a target is missed, as far as it is known. Shown beside a miss, and only there."""

import re

# How a row's name begins, and what was found out about it. The first that fits counts.
CAUSES = [
    (
        r"short connections, 1 at once.*: p99",
        "one client waits for all that is done, also for what is done beside its program: see the row of its rate",
    ),
    (
        r"short connections, \d+ at once.*: p99",
        "two programs are started at once, so some overtake; the floor starts one after the other. With one thread for it p99 is 1.1 "
        "of the floor's and the rate 0.88, with two 1.3 and 0.98, with three 1.5 and 1.05",
    ),
    (
        r"short connections, 1 at once",
        "one client at a time waits for every step, and ours has two more: the connection is kept for the counts of the record "
        "and for last bytes, so the client sees its end only when the server has been woken by the program's; then the record is made. "
        "Tried and no better: starting on the loop's own thread, waking the same thread again, no word to the session when its program runs",
    ),
    (
        r"short connections, \d+ at once, nobody",
        "tcpserver takes the identity once, at its start, and has no privileges left; ours takes it for each program, and proves it",
    ),
    (
        r"short connections, \d+ at once",
        "tcpserver forks and goes on, so more programs are loaded at once; ours waits until each runs, by two threads: that is how it "
        "knows that it runs. A third thread gives six in a hundred more with 32 clients, and a p99 of 1.5 of the floor's",
    ),
    (
        r"first byte, C",
        "not measured apart: on an idle machine each thread that is woken costs, and ours hands the start to one that a dead disk may hold, "
        "so that no other client waits for it",
    ),
    (
        r"burst, 2000 at once: last answer",
        "tcpserver forks and goes on, so more programs are loaded at once; ours waits until each runs, by two threads: that is how it knows that it runs",
    ),
    (
        r"bulk .* the program, socket",
        "the program has the connection itself, so no server has a part in it: the spread is the system's, from one connection to the next",
    ),
    (
        r"memory, 100 services",
        "one small C process serves them all there; ours maps 3 MiB of its own code (TLS, TOML, diagnostics: clean pages) "
        "and has 1 MiB of data",
    ),
    (
        r"memory, 1000 services",
        "5 KiB a service: its plan with places in the file, a task and a state in the poll set for each listener, "
        "and 1.1 MiB that reading the file left in the heap",
    ),
    (
        r"memory, 1000 sessions, socket",
        "8 KiB for each session that is watched to its end, its record and its whole tree; "
        "these peers forget a connection once its program runs",
    ),
]


def cause_of(row):
    for beginning, cause in CAUSES:
        if re.match(beginning, row):
            return cause
    return "not explained yet"
