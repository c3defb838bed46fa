#!/usr/bin/env python3
"""Which programs an MSI runs, in each situation that it can be in.

    scripts/msi-actions.py FILE.msi

An action that runs a program as LocalSystem may open a console window on the
desktop of an ordinary user, and that user may start a repair. So none runs in a
repair. The sequence of the built MSI is evaluated here, with the conditions that
it has. Ends with 1 if an action runs in another situation than is listed below.
"""

import re
import subprocess
import sys

# The low six bits of an action's type say what it runs.
PROGRAMS = {2: "from the MSI", 18: "of the product", 34: "by a command line", 50: "by a property"}
SCRIPTS = {5, 6, 21, 22, 37, 38, 53, 54}

AUTOMATIC = {"WININETD_START": "#2"}
SITUATIONS = {
    "a first installation": ({}, {}, {"Register", "RegisterUndo"}),
    "a managed installation by a user": (
        {"RestrictedUserControl": "1", "WININETD_OPTIONS": "--account LocalSystem"},
        {},
        {"RegisterPlain", "RegisterUndo"},
    ),
    "an upgrade": (AUTOMATIC, {}, {"Register", "StartAgainUndo"}),
    "a repair": ({"Installed": "1", "REINSTALL": "ALL", **AUTOMATIC}, {"Program": 3}, set()),
    "a repair of a service that starts by hand": (
        {"Installed": "1", "REINSTALL": "ALL", "WININETD_START": "#3"},
        {"Program": 3},
        set(),
    ),
    "a repair without a service": ({"Installed": "1", "REINSTALL": "ALL"}, {"Program": 3}, set()),
    "a repair before anything is installed": ({"REINSTALL": "ALL"}, {"Program": 3}, set()),
    "a change of nothing": ({"Installed": "1", **AUTOMATIC}, {}, set()),
    "a removal": ({"Installed": "1", "REMOVE": "ALL", **AUTOMATIC}, {"Program": 2}, {"Unregister"}),
    "a removal by an upgrade": (
        {"Installed": "1", "REMOVE": "ALL", "UPGRADINGPRODUCTCODE": "{0}", **AUTOMATIC},
        {"Program": 2},
        set(),
    ),
}


def rows(msi: str, table: str) -> list[list[str]]:
    """The rows of a table, without its three lines of head."""
    text = subprocess.run(["msiinfo", "export", msi, table], check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in text.replace("\r", "").split("\n")[3:] if line]


def holds(condition: str, properties: dict[str, str], components: dict[str, int]) -> bool:
    """Evaluates a condition, in the part of the language that this MSI uses."""
    parts = []
    for token in re.findall(r'"[^"]*"|\d+|\$?\w+|<>|=|[()]|\S', condition):
        if token in ("AND", "OR", "NOT"):
            parts.append(token.lower())
        elif token in ("(", ")"):
            parts.append(token)
        elif token in ("=", "<>"):
            parts.append({"=": "==", "<>": "!="}[token])
        elif token[0] == '"' or token.isdigit():
            parts.append(token)
        elif token[0] == "$":
            parts.append(repr(components.get(token[1:], -1)))
        elif re.fullmatch(r"\w+", token):
            parts.append(repr(properties.get(token, "")))
        else:
            sys.exit(f"the condition {condition!r} has {token!r}, which is not known here")
    return not parts or bool(eval(" ".join(parts), {"__builtins__": {}}))  # only the tokens of above


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    msi = sys.argv[1]
    kinds = {name: int(kind) & 0x3F for name, kind, *_ in rows(msi, "CustomAction")}
    running = {name for name, kind in kinds.items() if kind in PROGRAMS or kind in SCRIPTS}
    conditions = {}
    for table in ("InstallExecuteSequence", "InstallUISequence"):
        for action, condition, _ in rows(msi, table):
            if action in running:
                if table == "InstallUISequence":
                    sys.exit(f"{action} runs in the user's own part of an installation")
                conditions[action] = condition
    for action in sorted(running):
        if action not in conditions:
            sys.exit(f"{action} is in no sequence")
        print(f"{action}: {conditions[action]}")
    wrong = 0
    for situation, (properties, components, expected) in SITUATIONS.items():
        found = {name for name, condition in conditions.items() if holds(condition, properties, components)}
        print(f"{'ok' if found == expected else 'WRONG'}: {situation}: {', '.join(sorted(found)) or 'none'}")
        wrong += found != expected
    sys.exit(1 if wrong else 0)


main()
