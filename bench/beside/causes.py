"""Why a target is missed, as far as it is known. Shown beside a miss, and only there."""

# The beginning of a row's name, and what was found out about it.
CAUSES = [
    (
        "memory, 100 services",
        "one small C process serves them all there; ours maps 3 MiB of its own code (TLS, TOML, diagnostics: clean pages) "
        "and has 1 MiB of data",
    ),
    (
        "memory, 1000 services",
        "5 KiB a service: its plan with places in the file, a task and a state in the poll set for each listener, "
        "and 1.1 MiB that reading the file left in the heap",
    ),
    (
        "memory, 1000 sessions, socket",
        "8 KiB for each session that is watched to its end, its record and its whole tree; "
        "these peers forget a connection once its program runs",
    ),
]


def cause_of(row):
    for beginning, cause in CAUSES:
        if row.startswith(beginning):
            return cause
    return "not explained yet"
