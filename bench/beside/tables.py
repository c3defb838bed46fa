"""A table for each workload."""

from beside import figures, kinds

FLOOR = kinds.FLOOR.name


def all_of(results):
    makers = {
        "short": short,
        "first": first,
        "bulk": bulk,
        "tls": tls,
        "memory": memory,
        "burst": burst,
        "wine": wine,
    }
    return [makers[name](results[name]) for name in makers if results.get(name)]


def form(value, digits):
    return "" if value is None else f"{value:,.{digits}f}"


def table(titles, rows):
    lines = [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def share(case, one, other, key, digits=2):
    found = figures.of_other(case, one, other, key)
    return "" if found is None else f"{found[0]:.{digits}f} ({found[1]:.2f} to {found[2]:.2f})"


def best_first(case, key, is_more):
    """The floor, then by the median."""
    names = [name for name in case if figures.median(case[name], key) is not None]
    order = sorted(names, key=lambda name: figures.median(case[name], key), reverse=is_more)
    return [name for name in order if name == FLOOR] + [name for name in order if name != FLOOR]


def bold(name):
    return f"**{name}**" if name.startswith(kinds.OURS.name) else name


def short(cases):
    parts = [
        "## Short connections\n",
        "A program that answers one line, static C. The share is of the floor's connections a second within the same round.",
        "CPU: of the server's own process for a connection, and of everything that was started for it.\n",
    ]
    titles = ["server", "conn/s", "of the floor", "p50 ms", "p99 ms", "worst ms", "CPU µs", "all CPU µs", "failed"]
    for name, case in cases.items():
        rows = []
        for one in best_first(case, "conn_per_s", True):
            runs = case[one]
            cells = [form(figures.median(runs, "conn_per_s"), 0), share(case, one, FLOOR, "conn_per_s")]
            cells += [form(figures.median(runs, key), 2) for key in ("p50_ms", "p99_ms")]
            cells += [form(max(figures.values(runs, "max_ms")), 1)]
            cells += [form(figures.median(runs, key), 0) for key in ("server_cpu_us", "all_cpu_us")]
            rows.append([bold(one), *cells, str(sum(figures.values(runs, "errors")))])
        parts += [f"### {name}\n", table(titles, rows)]
    return "\n".join(parts)


def simple(cases, key, unit, is_more, digits, base=FLOOR, worst=None):
    """One table for each case: median, spread, share."""
    parts = []
    for name, case in cases.items():
        other = base if base in case else next(iter(best_first(case, key, is_more)), base)
        titles = ["server", unit, "least to most", f"times that of {other}", *(["worst"] if worst else [])]
        rows = []
        for one in best_first(case, key, is_more):
            found = figures.values(case[one], key)
            cells = [form(figures.median(case[one], key), digits), f"{form(min(found), digits)} to {form(max(found), digits)}"]
            cells.append(share(case, one, other, key))
            rows.append([bold(one), *cells, *([form(max(figures.values(case[one], worst)), digits)] if worst else [])])
        parts += [f"### {name}\n", table(titles, rows)]
    return parts


def first(cases):
    text = "From before connect to the first byte of the answer; one client. Warm: the program waits for its client.\n"
    return "\n".join(["## Time to the first byte\n", text, *simple(cases, "ms", "ms", False, 2, worst="max_ms")])


def bulk(cases):
    text = "Socket: the program has the connection itself, so the server has no part in it. Pipes: the server moves the bytes.\n"
    return "\n".join(["## Bulk\n", text, *simple(cases, "mib_s", "MiB/s", True, 0)])


def tls(cases):
    text = "Handshakes: full ones, by `openssl s_time`, each with a program. Bulk: one program to one client.\n"
    parts = simple({"handshakes": cases.get("handshakes", {})}, "a_second", "a second", True, 0)
    return "\n".join(["## TLS\n", text, *parts, *simple({"bulk": cases.get("bulk", {})}, "mib_s", "MiB/s", True, 0)])


def memory(cases):
    parts = [
        "## Memory\n",
        "Of all processes of the server, those for each service or connection too, without the programs. PSS adds up; RSS counts",
        "in each process what they share.\n",
    ]
    for name, case in cases.items():
        is_sessions = name.endswith("sessions")
        titles = ["server", "PSS MiB", "RSS MiB", "processes", *(["KiB a session"] if is_sessions else [])]
        rows = []
        for one in best_first(case, "pss_mib", False):
            runs = case[one]
            cells = [form(figures.median(runs, "pss_mib"), 1), form(figures.median(runs, "rss_mib"), 1)]
            cells.append(form(figures.median(runs, "processes"), 0))
            rows.append([bold(one), *cells, *([form(figures.median(runs, "each_kib"), 1)] if is_sessions else [])])
        parts += [f"### {name}\n", table(titles, rows)]
    return "\n".join(parts)


def burst(cases):
    parts = [
        "## A burst\n",
        "So many connects at once; each is to get its answer. SYN retry: the kernel dropped the first SYN since the backlog was",
        "full, and the client came in a second later at best. Medians of the bursts; retries and failures of all of them.\n",
    ]
    titles = ["server", "bursts", "SYN retries", "failed", "unfinished", "longest connect ms", "half answered ms", "last answer ms"]
    for name, case in cases.items():
        rows = []
        for one in best_first(case, "max_ms", False):
            runs = case[one]
            cells = [str(len(runs)), *(str(sum(figures.values(runs, key))) for key in ("retried", "failed", "unfinished"))]
            cells.append(form(max(figures.values(runs, "connect_max_ms")), 0))
            cells += [form(figures.median(runs, key), 0) for key in ("p50_ms", "max_ms")]
            rows.append([bold(one), *cells])
        parts += [f"### {name}\n", table(titles, rows)]
    return "\n".join(parts)


def wine(cases):
    text = "Under Wine; the original is the WinInetd executable that was given.\n"
    speeds = {name: case for name, case in cases.items() if name != "first byte"}
    parts = simple(speeds, "conn_per_s", "conn/s", True, 1, base="original")
    parts += simple({"first byte": cases["first byte"]}, "ms", "ms", False, 1, base="original", worst="max_ms")
    return "\n".join(["## Beside the original\n", text, *parts])
