#!/usr/bin/env bash
# A release, built on Debian 12: the packages, and the manifests that name them.
#
#   scripts/release.sh BASE_URL [HOMEPAGE] [OUTDIR]
#
# BASE_URL is where the packages will be downloaded from, OUTDIR target/release-VERSION.
# HOMEPAGE is the project's page, where its repository takes reports: WININETD_HOMEPAGE,
# or else BASE_URL, unless given. All packages and manifests name it. Nothing is uploaded.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 1 ]; then
    sed -n '4s/^# *//p' "$0" >&2
    exit 64
fi
base_url=${1%/}
homepage=${2:-${WININETD_HOMEPAGE:-$base_url}}
for url in "$base_url" "$homepage"; do
    # What winget takes, and nothing that sed or JSON would read as its own.
    if ! [[ $url =~ ^https?://[A-Za-z0-9._~:/%+=@-]+$ ]]; then
        echo "$0: $url: not a URL with a plain path" >&2
        exit 64
    fi
done
# The scripts that build packages read it.
export WININETD_HOMEPAGE=$homepage
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
outdir=${3:-target/release-$version}
rm -rf "$outdir"
mkdir -p "$outdir"

scripts/windows-lab.sh cargo build --release
scripts/package-windows.sh "$version" "$outdir"
if [ -x scripts/package-debian.sh ]; then
    cargo build --release --locked # or it would package what an earlier build left
    scripts/package-debian.sh "$version" "$outdir"
fi
(cd "$outdir" && sha256sum wininetd* >SHA256SUMS)

msi=$outdir/wininetd-$version-windows-x64.msi
zip=$outdir/wininetd-$version-windows-x64.zip
hash_of() { sha256sum "$1" | cut -d ' ' -f 1; }
property() { msiinfo export "$msi" Property | tr -d '\r' | sed -n "s/^$1\t//p"; }
msi_hash=$(hash_of "$msi")
zip_hash=$(hash_of "$zip")
product_code=$(property ProductCode)
upgrade_code=$(property UpgradeCode)
day=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%F)

fill() {
    sed -e "s|@VERSION@|$version|g" -e "s|@BASE_URL@|$base_url|g" -e "s|@HOMEPAGE@|$homepage|g" \
        -e "s|@DATE@|$day|g" -e "s|@MSI_SHA256@|${msi_hash^^}|g" -e "s|@ZIP_SHA256@|$zip_hash|g" \
        -e "s|@PRODUCT_CODE@|$product_code|g" -e "s|@UPGRADE_CODE@|$upgrade_code|g" "$1" >"$2"
    if grep -n '@[A-Z_0-9]*@' "$2"; then
        echo "$0: $1: nothing to fill these with" >&2
        exit 1
    fi
}
mkdir -p "$outdir/winget" "$outdir/scoop"
# The files of a winget manifest bear the package's identifier.
for part in '' .installer .locale.en-US; do
    fill "packaging/windows/winget/wininetd$part.yaml.in" "$outdir/winget/wininetd.wininetd$part.yaml"
done
fill packaging/windows/scoop/wininetd.json.in "$outdir/scoop/wininetd.json"

find "$outdir" -type f | LC_ALL=C sort
