#!/usr/bin/env bash
# Runs a program under Wine 10, in the Debian 13 root that windows-lab.sh made.
# The project and its lab are there under the same paths. What is mounted for
# that ends with the program.
#
#   WININETD_LAB_ROOT=DIR      the root
#   WININETD_LAB_BIND=DIR      the project
#   WININETD_LAB_COMMAND=NAME  a command beside wine (wineboot, wineserver); default: wine
set -euo pipefail
# shellcheck disable=SC2016 # Expanded by the inner shell.
exec unshare --mount --propagation private bash -euc '
    root=$WININETD_LAB_ROOT project=$WININETD_LAB_BIND where=$PWD
    for folder in /proc /sys /dev "$project" "${WINEPREFIX%/*}"; do
        mkdir -p "$root$folder"
        mount --rbind "$folder" "$root$folder"
    done
    exec chroot "$root" /usr/bin/env --chdir="$where" "${WININETD_LAB_COMMAND:-wine}" "$@"
' runner "$@"
