#!/usr/bin/env bash
# A service as an administrator handles it, under Wine, with Windows' own tools:
# install, net start, sc query, net stop, remove; and the entries of the Event
# Log, which Wine only shows while it traces.
#
#   scripts/windows-service-test.sh [WININETD.EXE]
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:-target/lab/target/x86_64-pc-windows-gnu/debug/wininetd.exe}
lab=$PWD/target/lab/service-test
rm -rf "$lab"
WININETD_LAB=$lab scripts/windows-lab.sh setup
export WINEPREFIX=$lab/prefix WINEARCH=win64 DISPLAY=
export WINEDLLOVERRIDES='winedbg.exe=d;mscoree=d;mshtml=d'
trap 'wineserver -k || true' EXIT

# The service manager is started by the first program, and what services trace
# goes where its errors go. It must outlive that program.
wineserver -k || true
wineserver -w
wineserver -p
trace=$lab/trace
WINEDEBUG=-all,+eventlog wine cmd /c ver >/dev/null 2>"$trace"
export WINEDEBUG=-all

folder=$WINEPREFIX/drive_c/w
mkdir -p "$folder"
cp "$program" "$folder/wininetd.exe"
wininetd() { wine 'C:\w\wininetd.exe' "$@" | tr -d '\r'; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf '%s none cmd /c ver\r\n' "$port" >"$folder/w.conf"

expect() { # WHAT TEXT PATTERN
    if ! grep -qE -- "$3" <<<"$2"; then
        printf 'FAILED: %s: no %s in:\n%s\n' "$1" "$3" "$2" >&2
        exit 1
    fi
    echo "ok: $1"
}
query() { wine sc query wininetd | tr -d '\r'; }

expect 'it is installed and says how to start' "$(wininetd --install --cfgfile 'C:\w\w.conf')" 'net start wininetd'
expect 'it is not started by that' "$(query)" 'STOPPED'
wine net start wininetd >/dev/null
expect 'it runs' "$(query)" 'RUNNING'
answer=$(python3 -c 'import socket, sys; print(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20).makefile().read())' "$port")
expect 'a client is served' "$answer" 'Windows'
wine net stop wininetd >/dev/null
expect 'it is stopped' "$(query)" 'STOPPED'

printf '# a comment\r\n80  none\r\n' >"$folder/w.conf"
wine net start wininetd >/dev/null || true
expect 'a broken file ends the start with 78' "$(query)" 'SERVICE_EXIT_CODE *: *78'
checked=$(wine 'C:\w\wininetd.exe' --check --cfgfile 'C:\w\w.conf' 2>&1 | tr -d '\r' || true)
place='C:\\w\\w.conf:2:5: CMDLINE is missing'
expect '--check tells line and column' "$checked" "$place"
# A trace doubles backslashes and may break long texts into several lines.
seen=$(sed 's/\\\\/\\/g' "$trace")
expect 'the Event Log has the same line and column' "$seen" "$place"
expect 'the Event Log has the start' "$seen" 'version: '
expect 'the Event Log has the addresses' "$seen" "listen: .*:$port"
expect 'the Event Log has the stop' "$seen" 'the service was stopped'

expect 'it is removed' "$(wininetd --remove)" '^removed: wininetd'
for key in 'SYSTEM\CurrentControlSet\Services\wininetd' \
    'SYSTEM\CurrentControlSet\Services\EventLog\Application\wininetd' 'SOFTWARE\wininetd'; do
    if wine reg query "HKLM\\$key" >/dev/null 2>&1; then
        echo "FAILED: $key is left in the registry" >&2
        exit 1
    fi
done
echo 'ok: nothing is left in the registry'
expect 'removed again, there is nothing to do' "$(wininetd --remove)" '^not installed$'
