#!/usr/bin/env bash
# The Windows lab on Debian 12: builds for Windows with Debian's own Rust and
# mingw, and runs the tests under Wine. All it makes lies below target/lab.
#
#   scripts/windows-lab.sh setup            install what is missing, make the Wine prefix
#   scripts/windows-lab.sh test [ARGS]      cargo test, for Windows, under Wine
#   scripts/windows-lab.sh real             real programs (cmd, C, a language server) under Wine
#   scripts/windows-lab.sh serial           tests under the lock of synchronous handles, which Wine lacks
#   scripts/windows-lab.sh runtimes         Java, .NET and Node on sockets and pipes
#   scripts/windows-lab.sh examples         --check of every example file under Wine
#   scripts/windows-lab.sh cargo ARGS       any cargo command for the Windows target
#   scripts/windows-lab.sh check TARGET     type-check for a system that nobody runs here
#   scripts/windows-lab.sh wine ARGS        a program in the lab's Wine prefix
#
# With --wine10 in front of the verb, programs run under Wine 10 in a Debian 13
# root, which the first setup makes (1.4 GB, five minutes; needs root).
set -euo pipefail
cd "$(dirname "$0")/.."

wine=8
if [ "${1:-}" = --wine10 ]; then
    wine=10
    shift
fi

lab=${WININETD_LAB:-$PWD/target/lab}
target=x86_64-pc-windows-gnu
root=$lab/debian13
export WINEPREFIX=$lab/prefix WINEDEBUG=${WINEDEBUG:--all} WINEARCH=win64
runner=wine
if [ "$wine" = 10 ]; then
    WINEPREFIX=$lab/prefix10
    runner=$PWD/scripts/lab/in-debian13.sh
    export WININETD_LAB_ROOT=$root WININETD_LAB_BIND=$PWD
fi
# No debugger window and no download of Mono or Gecko when a prefix is made.
export WINEDLLOVERRIDES='winedbg.exe=d;mscoree=d;mshtml=d' DISPLAY=

packages=(rustc-web cargo-web rust-web-src rust-web-clippy gcc-mingw-w64-x86-64-posix wine64 wine)

missing() {
    local name
    for name in "${packages[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

setup() {
    if [ -n "$(missing)" ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    fi
    mkdir -p "$lab"
    [ "$wine" = 8 ] || setup_debian13
    if [ ! -e "$WINEPREFIX/windows-10" ]; then
        lab_wine wineboot --init >/dev/null 2>&1
        # A prefix of Wine 8 says Windows 7 otherwise.
        lab_wine winecfg -v win10 >/dev/null 2>&1
        lab_wine wineserver -w
        touch "$WINEPREFIX/windows-10"
    fi
    [ "$wine" = 8 ] || return 0
    local dll="$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
    if [ ! -e "$dll" ]; then
        x86_64-w64-mingw32-gcc -O2 -shared -o "$dll" scripts/lab/bcryptprimitives.c -ladvapi32
    fi
}

# A Debian 13 root with Wine 10. A root that a broken run left half made is made anew.
setup_debian13() {
    local mirror
    [ ! -e "$root/made" ] || return 0
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    fi
    # The mirror that this machine's own packages come from.
    # shellcheck disable=SC2016 # apt's variables.
    mirror=$(apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "main" { print $2; exit }')
    if [ -z "$mirror" ]; then
        echo 'apt knows no mirror; run apt-get update' >&2
        exit 1
    fi
    rm -rf "$root"
    mkdir -p "$root"
    echo 'making a Debian 13 root with Wine 10, once' >&2
    debootstrap --variant=minbase --include=wine64,wine trixie "$root" "$mirror" >"$lab/debootstrap.log" 2>&1
    touch "$root/made"
}

# A command of the lab's Wine: wine itself, wineboot, winecfg, wineserver.
lab_wine() {
    if [ "$wine" = 10 ]; then
        WININETD_LAB_COMMAND=$1 "$runner" "${@:2}"
    else
        "$@"
    fi
}

# Debian's compiler and its sources belong together; the std of the target is
# built from them, so no toolchain has to be fetched. Debian's cargo and the
# one in PATH do not share a target directory: their compilers differ.
debian_cargo() {
    env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 RUSTUP_TOOLCHAIN= \
        CARGO_TARGET_DIR="$lab/target" \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER="$runner" \
        PATH="/usr/bin:$PATH" \
        /usr/bin/cargo "$@"
}

windows_cargo() {
    local verb=$1
    shift
    debian_cargo "$verb" -Zbuild-std=std,panic_unwind,panic_abort --target "$target" "$@"
}

# As Windows names a file here. (Not by winepath: it needs a wineserver, and the
# last one may be shutting down.)
windows_path() { realpath "$1" | sed 's|^|Z:|; s|/|\\|g'; }

verb=${1:-}
[ $# -gt 0 ] && shift
case $verb in
setup) setup ;;
test)
    setup
    # One wineserver for all test programs: a program that meets one that is just ending fails.
    lab_wine wineserver -p60 || true
    windows_cargo test "$@"
    ;;
real)
    setup
    x86_64-w64-mingw32-gcc -O2 -o "$lab/lines.exe" testkit/c/lines.c
    WININETD_LAB_C_PROGRAM=$(windows_path "$lab/lines.exe") WININETD_RUFF=$(windows_path "$(scripts/ruff.sh windows)") \
        windows_cargo test --test real_programs --test real_peers -- --ignored
    ;;
serial)
    setup
    x86_64-w64-mingw32-gcc -Wall -Wextra -O2 -shared -o "$lab/serial_lock.dll" scripts/lab/serial_lock.c -lws2_32 -lntdll
    x86_64-w64-mingw32-gcc -Wall -Wextra -O2 -o "$lab/with_serial_lock.exe" scripts/lab/with_serial_lock.c
    WININETD_LAB_SERIAL_LOCK=$(windows_path "$lab/with_serial_lock.exe") \
        windows_cargo test --test serial_lock -- --ignored "$@"
    ;;
runtimes)
    setup
    commands=$(scripts/runtimes.sh)
    while IFS= read -r line; do export "${line?}"; done <<<"$commands"
    windows_cargo test --test runtimes -- --ignored "$@"
    ;;
examples)
    setup
    windows_cargo build
    # Where the folders above are as on Windows, and not those of this machine.
    mkdir -p "$WINEPREFIX/drive_c/examples"
    cp examples/*.conf examples/*.toml "$WINEPREFIX/drive_c/examples/"
    for file in examples/*.conf examples/*.toml; do
        lab_wine wine "$lab/target/$target/debug/wininetd.exe" --check --cfgfile "C:\\examples\\${file##*/}"
    done
    ;;
cargo) setup && windows_cargo "$@" ;;
check)
    setup
    # The cryptography of TLS is partly C, and only this one has a compiler here.
    [ "${1:-}" = "$target" ] && features=() || features=(--no-default-features)
    debian_cargo check -Zbuild-std=std,panic_unwind,panic_abort "${features[@]}" --target "$@"
    ;;
wine) setup && lab_wine wine "$@" ;;
*)
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
