"""From runs to figures: medians, spread, and ratios within one round."""

import statistics


def values(runs, key):
    return [run[key] for run in runs if run.get(key) is not None]


def median(runs, key):
    found = values(runs, key)
    return statistics.median(found) if found else None


def ratios(case, one, other, key):
    """One's figure by the other's of the same pair, or of the same round."""
    found = []
    for run in case.get(one, []):
        same = [their for their in case.get(other, []) if their["round"] == run["round"]]
        pair = [their for their in same if run.get("pair") is not None and their.get("pair") == run["pair"]]
        bases = values(pair or same, key)
        if bases and run.get(key) is not None and statistics.median(bases) > 0:
            found.append(run[key] / statistics.median(bases))
    return found


def of_other(case, one, other, key):
    """Median, least, most; or nothing."""
    found = ratios(case, one, other, key)
    return (statistics.median(found), min(found), max(found)) if found else None
