#!/usr/bin/env bash
# The Windows packages, built on Debian 12: an MSI and a zip with the same files.
#
#   scripts/package-windows.sh [VERSION] [OUTDIR] [EXE] [EVENTS_DLL]
#
# VERSION is Cargo.toml's, OUTDIR target/package, and EXE and EVENTS_DLL (the
# messages of the Event Log) those of scripts/windows-lab.sh cargo build --release
# unless given. WININETD_HOMEPAGE is the project's page, as for scripts/release.sh;
# without it the MSI names none.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "$0: $*" >&2
    exit 1
}

version=${1:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
outdir=${2:-target/package}
release=${WININETD_LAB:-$PWD/target/lab}/target/x86_64-pc-windows-gnu/release
program=${3:-$release/wininetd.exe}
# shellcheck disable=SC2012 # The newest; cargo's names have no blanks.
events=${4:-$(ls -t "$release"/build/wininetd-*/out/wininetd-events.dll 2>/dev/null | head -n 1 || true)}

# An MSI's version is three numbers; it cannot say that 1.0.0-rc1 is before 1.0.0.
[[ $version =~ ^([0-9]+)\.([0-9]+)\.([0-9]+)$ ]] || fail "$version: an MSI's version is three numbers, as 1.2.3"
if [ "${BASH_REMATCH[1]}" -gt 255 ] || [ "${BASH_REMATCH[2]}" -gt 255 ] || [ "${BASH_REMATCH[3]}" -gt 65535 ]; then
    fail "$version: an MSI's version goes to 255.255.65535"
fi
homepage=${WININETD_HOMEPAGE:-}
[[ -z $homepage || $homepage =~ ^https?://[A-Za-z0-9._~:/%+=@-]+$ ]] || fail "WININETD_HOMEPAGE is not a URL with a plain path: $homepage"
[ -f "$program" ] || fail "no wininetd.exe; build it: scripts/windows-lab.sh cargo build --release"
[ -f "$events" ] || fail "no wininetd-events.dll; build it: scripts/windows-lab.sh cargo build --release"

missing=()
for name in wixl msitools zip python3; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

mkdir -p "$outdir"
outdir=$(cd "$outdir" && pwd)
name=wininetd-$version-windows-x64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What both hold. The names are those in wininetd.wxs.
files=$work/$name
mkdir "$files"
cp "$program" "$files/wininetd.exe"
cp "$events" "$files/wininetd-events.dll"
mkdir "$files/docs"
# Notepad of Server 2016 knows one line end only.
windows_text() { sed 's/\r*$/\r/' "$1" >"$files/$2"; }
for page in docs/*.md docs/*.json; do
    windows_text "$page" "$page"
done
windows_text README.md README.md
windows_text examples/servers.conf wininetd.example.conf
windows_text LICENSE-MIT LICENSE-MIT.txt
windows_text LICENSE-APACHE LICENSE-APACHE.txt
scripts/notices.py x86_64-pc-windows-gnu >"$work/notices"
windows_text "$work/notices" THIRD-PARTY.txt
chmod -R u=rwX,go=rX "$files"
# The same commit gives the same zip.
find "$files" -exec touch -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" {} +

zip=$outdir/$name.zip
rm -f "$zip"
(cd "$work" && find "$name" -type f | LC_ALL=C sort | TZ=UTC zip -q -X -D "$zip" -@)

# One code for each version, the same whoever builds it: made from the upgrade
# code and the version.
upgrade_code=$(sed -n 's/.*UpgradeCode="\([^"]*\)".*/\1/p' packaging/windows/wininetd.wxs)
product_code=$(python3 -c 'import sys, uuid; print(uuid.uuid5(uuid.UUID(sys.argv[1]), sys.argv[2]))' "$upgrade_code" "$version")

msi=$outdir/$name.msi
rm -f "$msi"
# The pages are one component in a folder of their own, README.md first: its key path.
pages=$(cd docs && printf '%s\n' README.md *.md *.json | awk '!seen[$0]++')
source=$work/wininetd.wxs
while IFS= read -r line; do
    if [[ $line == *'@PAGES@'* ]]; then
        key=' KeyPath="yes"'
        for page in $pages; do
            echo "<File Id=\"docs_${page//[^A-Za-z0-9.]/_}\" Name=\"$page\" Source=\"docs/$page\"$key/>"
            key=
        done
    else
        printf '%s\n' "$line"
    fi
done <packaging/windows/wininetd.wxs >"$source"
(cd "$files" && wixl -a x64 -D "Version=$version" -D "ProductCode=$product_code" -o "$msi" "$source")

# The version in a file's resources, or nothing.
file_version() {
    python3 - "$1" <<'END'
import struct, sys
data = open(sys.argv[1], "rb").read()
place = data.find(struct.pack("<II", 0xFEEF04BD, 0x00010000))
if place >= 0:
    high, low = struct.unpack_from("<II", data, place + 8)
    print(f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}")
END
}

# What wixl cannot say. In turn: an MSI that tells no version for a file that has
# one would not replace it, since Windows Installer keeps the versioned file; and
# a program without one is given the product's, so that it is replaced always.
# A file with a version has no hash.
queries=(
    "UPDATE \`File\` SET \`Version\` = '$(file_version "$program" | grep . || echo "$version.0")' WHERE \`File\` = 'wininetd.exe'"
    "DELETE FROM \`MsiFileHash\` WHERE \`File_\` = 'wininetd.exe'"
)
if events_version=$(file_version "$events" | grep .); then
    queries+=(
        "UPDATE \`File\` SET \`Version\` = '$events_version' WHERE \`File\` = 'wininetd_events.dll'"
        "DELETE FROM \`MsiFileHash\` WHERE \`File_\` = 'wininetd_events.dll'"
    )
fi
# Properties that reach the installing service from a user's msiexec.
secure='WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED;WININETD_OPTIONS;WININETD_START'
queries+=("UPDATE \`Property\` SET \`Value\` = '$secure' WHERE \`Property\` = 'SecureCustomProperties'")
# wixl takes a rollback action for an immediate one: 18 program from the file
# table, 64 result ignored, 256 rollback, 1024 deferred, 2048 as LocalSystem.
queries+=("UPDATE \`CustomAction\` SET \`Type\` = $((18 + 64 + 256 + 1024 + 2048)) WHERE \`Action\` = 'RegisterUndo'")
# 34 is a command line with a directory. The result is ignored: a service that
# cannot be started must not stop a rollback.
start="'System64Folder', '\"[System64Folder]sc.exe\" start wininetd'"
queries+=(
    "INSERT INTO \`CustomAction\` (\`Action\`, \`Type\`, \`Source\`, \`Target\`) VALUES ('StartAgainUndo', $((34 + 64 + 256 + 1024 + 2048)), $start)"
)
# wixl knows no condition of a component. This one is asked in a repair too: 64
# transitive, 256 64 bit.
queries+=("UPDATE \`Component\` SET \`Condition\` = 'WININETD_START = \"#2\"', \`Attributes\` = $((64 + 256)) WHERE \`Component\` = 'StartAgain'")
# What "Apps" in the settings shows as the page of the program.
[ -z "$homepage" ] || queries+=("INSERT INTO \`Property\` (\`Property\`, \`Value\`) VALUES ('ARPURLINFOABOUT', '$homepage')")
for query in "${queries[@]}"; do
    msibuild "$msi" -q "$query"
done

# msibuild can fail in silence; without these the package is not the one meant.
has() {
    grep -qF -- "$2" <<<"$(msiinfo export "$msi" "$1" | tr -d '\r')" || fail "the MSI's table $1 has no: $2"
}
has Property $'SecureCustomProperties\t'"$secure"
[ -z "$homepage" ] || has Property $'ARPURLINFOABOUT\t'"$homepage"
has CustomAction $'RegisterUndo\t3410'
has CustomAction $'StartAgainUndo\t3426\tSystem64Folder\t"[System64Folder]sc.exe" start wininetd'
has InstallExecuteSequence $'NOT UPGRADINGPRODUCTCODE AND $Program = 2\t1950'
has Component $'ProgramFolder\t320\tWININETD_START = "#2"'
has ServiceControl $'StartWininetd\twininetd\t1\t\t0\tStartAgain'
has InstallExecuteSequence $'StartServices\t\t6560'
scripts/msi-actions.py "$msi"

ls -l "$msi" "$zip"
