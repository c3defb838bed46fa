#!/usr/bin/env python3
"""The licences of what is built into the program, for its packages.

    scripts/notices.py [TARGET]

prints them for the build for TARGET (this machine's unless given): each crate
with its version and licence, then the texts, each once, with the crates that it
is from. The standard library's are Rust's own (MIT or Apache-2.0).
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

TEXTS = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def this_machine():
    told = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(line.split()[1] for line in told.splitlines() if line.startswith("host:"))


def built_in(everything):
    """The packages that the program is linked with: not what builds or tests it."""
    nodes = {node["id"]: node for node in everything["resolve"]["nodes"]}
    macros = {
        package["id"]
        for package in everything["packages"]
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    root = next(package["id"] for package in everything["packages"] if package["name"] == "wininetd")
    found, left = set(), [root]
    while left:
        for dependency in nodes[left.pop()]["deps"]:
            linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if linked and dependency["pkg"] not in found | macros:
                found.add(dependency["pkg"])
                left.append(dependency["pkg"])
    return sorted((p for p in everything["packages"] if p["id"] in found), key=lambda p: p["name"])


def texts_of(package):
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().startswith(TEXTS))
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else this_machine()
    packages = built_in(metadata(target))
    texts = {}
    print("wininetd is built with these libraries. Their licences follow.\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or 'see its text'}")
        for text in texts_of(package):
            digest = hashlib.sha256(" ".join(text.split()).encode()).digest()
            texts.setdefault(digest, (text, []))[1].append(name)
    for text, names in texts.values():
        print(f"\n{'-' * 72}\n{', '.join(names)}\n{'-' * 72}\n\n{text}")
    # A crate without a text of its own has one that the others have: its name says which.


if __name__ == "__main__":
    main()
