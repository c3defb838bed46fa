"""Why a target is missed, as far as it is known. Shown beside a miss, and only there."""

# The beginning of a row's name, and what was found out about it.
CAUSES = []


def cause_of(row):
    for beginning, cause in CAUSES:
        if row.startswith(beginning):
            return cause
    return "not explained yet"
