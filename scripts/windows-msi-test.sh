#!/usr/bin/env bash
# The MSI's round trip under Wine: a failed first install, install, serve, edit,
# upgrade, repair, remove, a refused downgrade.
#
#   scripts/windows-msi-test.sh OLD.msi NEW.msi
#
# OLD.msi has a lower version than NEW.msi (scripts/package-windows.sh VERSION).
# The Wine prefix is its own, below target/lab, and made fresh each time.
#
# What Wine hides: it does not tell the former MSI that it is being upgraded
# (UPGRADINGPRODUCTCODE), forgets the upgrade code after an upgrade, restores no
# files when it rolls back, and takes no doubled quotes in a property.
set -euo pipefail

if [ $# -ne 2 ]; then
    sed -n '5s/^# *//p' "$0" >&2
    exit 64
fi
old=$(realpath -e "$1")
new=$(realpath -e "$2")
cd "$(dirname "$0")/.."

export WININETD_LAB=${WININETD_LAB:-$PWD/target/lab}/msi
prefix=$WININETD_LAB/prefix
drive=$prefix/drive_c
config='C:\windows\wininetd-msi-test.conf'
config_file=$drive/windows/wininetd-msi-test.conf
folder="$drive/Program Files/wininetd"
service_key='HKLM\SYSTEM\CurrentControlSet\Services\wininetd'
source_key='HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\wininetd'
products_key='HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall'
deadline=60 # seconds, for whatever is waited for

wine() { scripts/windows-lab.sh wine "$@" 2>/dev/null; }
prefix_server() { WINEPREFIX=$prefix wineserver "$@"; }
# And waits for it: a prefix that is made anew can get the old one's inode, which
# is the name that Wine knows a prefix by.
end_prefix() {
    [ -d "$prefix" ] || return 0
    prefix_server -k 2>/dev/null || true
    prefix_server -w
}
trap end_prefix EXIT

fail() {
    {
        echo "FAILED: $*"
        echo "-- the registry has:"
        for key in "$service_key" "$source_key" "$products_key"; do
            echo "$key"
            wine reg query "$key" /s | tr -d '\r' || true
        done
        echo "-- the program folder has:"
        ls -l "$folder" 2>&1 || true
        echo "-- the configuration file has:"
        cat "$config_file" 2>&1 || true
    } >&2
    exit 1
}
check() {
    local said=$1
    shift
    "$@" || fail "$said"
    echo "ok: $said"
}
not() { ! "$@"; }
# Within the deadline.
soon() {
    local end=$((SECONDS + deadline))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

value() { wine reg query "$1" /v "$2" | tr -d '\r' | sed -n "s/^ *$2 *REG_[A-Z_]* *//p"; }
has_key() { wine reg query "$1" >/dev/null; }
state() { wine sc query wininetd | tr -d '\r' | sed -n 's/.*STATE *: [0-9]* *\([A-Z_]*\).*/\1/p'; }
in_state() { [ "$(state)" = "$1" ]; }
product() { msiinfo export "$1" Property | tr -d '\r' | sed -n "s/^$2\t//p"; }
installed() { has_key "$products_key\\$(product "$1" ProductCode)"; }
same() { [ "$1" = "$2" ] || { echo "was: $1, is: $2" >&2 && false; }; }
digest() { sha256sum <"$config_file"; }

# Whether the installed FILE is that of an MSI.
from() {
    local msi=$1 file=$2
    rm -rf "$WININETD_LAB/files"
    msiextract -C "$WININETD_LAB/files" "$msi" >/dev/null
    cmp "$(find "$WININETD_LAB/files" -path "*wininetd/$file")" "$folder/$file"
}
stamp() { stat -c '%i %y %z' "$1"; }

# One message of the service, or nothing if the port is closed.
ask() {
    python3 - "$1" <<'END'
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as client:
        client.settimeout(20)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(4096):
            sys.stdout.buffer.write(data)
except ConnectionRefusedError:
    pass
END
}
serves() { [[ $(ask "$1") == *Windows* ]]; }
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

msi() { wine msiexec "$@" /qn >/dev/null; }
install_old() { msi /i "$(wine winepath -w "$old" | tr -d '\r')" "$@"; }
install_new() { msi /i "$(wine winepath -w "$new" | tr -d '\r')" "$@"; }

end_prefix # of a run that was killed
rm -rf "$WININETD_LAB"
scripts/windows-lab.sh setup || fail 'no Wine prefix'
# Without -p Wine ends its services when the last program of a user has ended.
prefix_server -p

windows() { wine reg add 'HKCU\Software\Wine' /v Version /d "$1" /f >/dev/null; }
windows win7
check 'Windows 7 is refused' not install_old
windows win10

check 'an --install that fails fails the MSI' not install_old WININETD_OPTIONS=--no-such-option
check 'and leaves no service' not has_key "$service_key"
check 'and no program' not test -e "$folder/wininetd.exe"

first=$(port)
second=$(port)
umask 022
printf '%s none cmd /c ver\r\n' "$first" >"$config_file"
check "$(basename "$old") is installed" install_old "WININETD_OPTIONS=--cfgfile $config --start auto"
check 'Windows lists it' installed "$old"
check 'the service is registered' has_key "$service_key"
check 'a first install does not start it' in_state STOPPED
image=$(value "$service_key" ImagePath)
start=$(value "$service_key" Start)
account=$(value "$service_key" ObjectName)
check 'the path in ImagePath is quoted' grep -qiF '"C:\Program Files\wininetd\wininetd.exe"' <<<"$image"
check 'ImagePath has the options' grep -qF "$config" <<<"$image"
check 'the start type is automatic' same 0x2 "$start"
messages=$(value "$source_key" EventMessageFile)
check 'the event source has its message file' grep -qi 'wininetd-events.dll' <<<"$messages"
check 'the message file is there' test -f "$folder/wininetd-events.dll"

wine net start wininetd >/dev/null || fail 'net start wininetd'
check 'the service runs' soon in_state RUNNING
check 'a client is served' soon serves "$first"
check 'the second port is closed' not serves "$second"

printf '%s none cmd /c ver\r\n' "$second" >>"$config_file"
edited=$(digest)
untouched=$(stamp "$folder/wininetd-events.dll")
check "$(basename "$new") is installed over it" install_new
check 'Windows lists the new version' installed "$new"
check 'and not the old one' not installed "$old"
check 'the configuration file is the same byte for byte' same "$edited" "$(digest)"
check 'ImagePath is the same, with the stored options' same "$image" "$(value "$service_key" ImagePath)"
check 'the start type is the same' same "$start" "$(value "$service_key" Start)"
check 'the account is the same' same "$account" "$(value "$service_key" ObjectName)"
check 'the event source is the same' same "$messages" "$(value "$source_key" EventMessageFile)"
check 'the program is the new one' from "$new" wininetd.exe
check 'the message file is the new one' from "$new" wininetd-events.dll
if from "$old" wininetd-events.dll; then
    check 'it is the old one too, and was not touched' same "$untouched" "$(stamp "$folder/wininetd-events.dll")"
fi
check 'the service runs again' soon in_state RUNNING
check 'it serves the first line' soon serves "$first"
check 'it serves the second line' soon serves "$second"

# What `msiexec /fa` is on Windows; Wine's ends with 1. In a repair Windows Installer
# runs no program: what is not there stays away.
repair() { msi /i "$(product "$new" ProductCode)" REINSTALL=ALL REINSTALLMODE=amus "$@"; }
scripts/msi-actions.py "$new" || fail 'a program runs where it must not'
check 'the event source is taken away' wine reg delete "$source_key" /f
printf 'damaged' >"$folder/README.md"
printf 'damaged' >"$folder/docs/README.md"
check 'a repair is done' repair WININETD_OPTIONS=--no-such-option
check 'a repair puts files back' from "$new" README.md
check 'a repair puts pages back' from "$new" docs/README.md
check 'and runs no program: the event source stays away' not has_key "$source_key"
check 'a repair takes no options' same "$image" "$(value "$service_key" ImagePath)"
check 'the service runs after a repair' soon in_state RUNNING
scripts/windows-lab.sh wine "$folder/wininetd.exe" --install --start manual || fail 'wininetd --install --start manual'
check 'an administrator makes the start manual' same 0x3 "$(value "$service_key" Start)"
check 'which registers the event source again' has_key "$source_key"
check 'it is repaired again' repair
check 'the start stays manual' same 0x3 "$(value "$service_key" Start)"
check 'a service that starts by hand is not started' in_state STOPPED

remove_new() { msi /x "$(wine winepath -w "$new" | tr -d '\r')"; }
wine net start wininetd >/dev/null || fail 'net start wininetd'
check 'the service runs before it is removed' soon in_state RUNNING
check 'it is removed' remove_new
check 'the service is gone' soon not has_key "$service_key"
check 'the ports are closed' not serves "$first"
check 'the event source is gone' not has_key "$source_key"
check 'the program folder is gone' not test -e "$folder"
check 'Windows lists it no more' not installed "$new"
check 'the configuration file is still there' same "$edited" "$(digest)"

check "$(basename "$new") is installed again" install_new
check 'a configuration file is there to begin with' test -s "$drive/windows/wininetd.conf"
check 'the older version is refused' not install_old
check 'the newer one stays' installed "$new"
check 'it is removed' remove_new
check 'the configuration file stays' test -s "$drive/windows/wininetd.conf"
echo 'all of it holds'
