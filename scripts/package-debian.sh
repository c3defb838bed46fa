#!/usr/bin/env bash
# The Debian package, with dpkg-deb alone.
#
#   scripts/package-debian.sh [VERSION] [OUTDIR] [BINARY]
#
# VERSION is Cargo.toml's, OUTDIR target/package and BINARY target/release/wininetd
# (built when missing) unless given. The package needs the C library that BINARY
# was linked against: build on the oldest release that it is for. DEBFULLNAME and
# DEBEMAIL name the maintainer, as for Debian's own tools. WININETD_HOMEPAGE is the
# project's page, as for scripts/release.sh; without it the package names none.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

fail() {
    echo "$0: $*" >&2
    exit 1
}

version=${1:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
outdir=${2:-target/package}
binary=${3:-target/release/wininetd}
homepage=${WININETD_HOMEPAGE:-}
[[ -z $homepage || $homepage =~ ^https?://[A-Za-z0-9._~:/%+=@-]+$ ]] || fail "WININETD_HOMEPAGE is not a URL with a plain path: $homepage"
if [ -n "$homepage" ]; then fill_homepage="s|@HOMEPAGE@|$homepage|"; else fill_homepage='/@HOMEPAGE@/d'; fi
maintainer="${DEBFULLNAME:-The wininetd authors} <${DEBEMAIL:-wininetd@invalid.invalid}>"
# 1.0.0-rc.1 is before 1.0.0; to Debian that is 1.0.0~rc.1.
[[ $version =~ ^([0-9.]+)-([a-z].*)$ ]] && version=${BASH_REMATCH[1]}~${BASH_REMATCH[2]}

if [ ! -e "$binary" ]; then
    [ $# -lt 3 ] || fail "there is no $binary"
    cargo build --release --locked
    binary=${CARGO_TARGET_DIR:-target}/release/wininetd
fi
# The same commit gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
architecture=$(dpkg --print-architecture)

mkdir -p "$outdir"
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT
stage=$work/debian/wininetd

# The program knows best what its unit says.
install -D -m 755 "$binary" "$stage/usr/sbin/wininetd"
"$stage/usr/sbin/wininetd" --install --root "$stage"
unit=$stage/etc/systemd/system/wininetd.service
grep -q '^ExecStart=/usr/sbin/wininetd ' "$unit" || fail "the unit does not start /usr/sbin/wininetd: $(grep ExecStart= "$unit")"
mkdir -p "$stage/lib/systemd/system"
mv "$unit" "$stage/lib/systemd/system/"

# The drop-in is documentation: /etc/systemd/system belongs to the administrator,
# `systemctl edit` and `systemctl revert` make and delete files there, and a
# conffile there would ask questions at upgrades over comments.
documents=$stage/usr/share/doc/wininetd
mkdir -p "$documents/examples"
mv "$stage/etc/systemd/system/wininetd.service.d/hardening.conf" "$documents/examples/"
rmdir "$stage/etc/systemd/system/wininetd.service.d" "$stage/etc/systemd/system" "$stage/etc/systemd"

cp examples/*.conf examples/*.toml docs/wininetd.schema.json README.md packaging/debian/README.Debian "$documents/"
mv "$documents"/*.conf "$documents"/*.toml "$documents"/*.schema.json "$documents/examples/"
cp -R docs "$documents/docs"
gzip -9nc CHANGELOG.md >"$documents/CHANGELOG.md.gz"
# What is linked in has licences of its own, which want to be told.
scripts/notices.py | gzip -9n >"$documents/THIRD-PARTY.gz"

# Whole licences by reference where Debian has them, as its policy wants; the
# short one in full. Blank lines are dots there.
mit=$(sed '1,/^Copyright/d' LICENSE-MIT | sed '1{/^$/d}; s/^$/./; s/^/ /')
year=$(sed -n 's/^Copyright (c) \([0-9-]*\).*/\1/p' LICENSE-MIT)
while IFS= read -r line; do
    line=${line/@YEAR@/$year}
    printf '%s\n' "${line/@MIT@/$mit}"
done < <(sed "$fill_homepage" packaging/debian/copyright) >"$documents/copyright"

# A version without a revision has Debian's changelog under the plain name.
case $version in *-*) changelog=changelog.Debian.gz ;; *) changelog=changelog.gz ;; esac
gzip -9nc >"$documents/$changelog" <<ENTRY
wininetd ($version) stable; urgency=medium

  * Release $version. What is new is in CHANGELOG.md.gz beside this file.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
ENTRY

mkdir "$stage/DEBIAN"

# The libraries, and the versions of them, that the binary was linked against.
if command -v dpkg-shlibdeps >/dev/null; then
    printf 'Source: wininetd\n\nPackage: wininetd\nArchitecture: any\n' >"$work/debian/control"
    depends=$(cd "$work" && dpkg-shlibdeps -O debian/wininetd/usr/sbin/wininetd)
    depends=${depends#shlibs:Depends=}
else
    libc=$(grep -ao 'GLIBC_2\.[0-9]*' "$binary" | sort -Vu | tail -n 1)
    depends="libc6 (>= ${libc#GLIBC_}), libgcc-s1"
fi

cp packaging/debian/conffiles packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$stage/DEBIAN/"
# In KiB. Files only: how large a folder is depends on the builder's file system.
size=$(find "$stage" -type f ! -path '*/DEBIAN/*' -printf '%s\n' | awk '{ sum += int($1 / 1024) + 1 } END { print sum }')
sed -e "$fill_homepage" -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/" \
    -e "s/@DEPENDS@/$depends/; s/@MAINTAINER@/$maintainer/" packaging/debian/control >"$stage/DEBIAN/control"
(cd "$stage" && find . -type f ! -path './DEBIAN/*' ! -path ./etc/wininetd.conf -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
    >"$stage/DEBIAN/md5sums"

chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$outdir/wininetd_${version}_$architecture.deb
# xz: not every release that is served reads zstd.
dpkg-deb --root-owner-group -Zxz --build "$stage" "$package"
