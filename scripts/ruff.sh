#!/usr/bin/env bash
# A language server for the tests of real programs: ruff, from its wheels.
#
#   scripts/ruff.sh linux|windows      fetches it if need be, and prints where it is
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
linux) platform=manylinux2014_x86_64 name=ruff ;;
windows) platform=win_amd64 name=ruff.exe ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
folder=target/ruff/$1
if ! compgen -G "$folder/ruff-*.data/scripts/$name" >/dev/null; then
    mkdir -p "$folder"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --platform "$platform" \
        --dest "$folder" ruff==0.17.6 >&2
    python3 -m zipfile -e "$folder"/ruff-*.whl "$folder"
    chmod +x "$folder"/ruff-*.data/scripts/"$name"
fi
realpath "$folder"/ruff-*.data/scripts/"$name"
