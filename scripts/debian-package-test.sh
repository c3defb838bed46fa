#!/usr/bin/env bash
# What the Debian package promises, tried in a clean Debian root.
#
#   scripts/debian-package-test.sh DEB
#
# Needs root. The base root is made once and kept below target/package-test.
# Everything runs in namespaces of its own: mounts, processes and the network
# end with this script, however it ends.
set -euo pipefail
case ${1:-} in
-* | '') ;;
*) deb=$(realpath "$1") ;;
esac
cd "$(dirname "$0")/.."

fail() {
    echo "FAILED: $*" >&2
    if [ -s "${work:-}/server.log" ]; then tail -n 20 "$work/server.log" >&2; fi
    exit 1
}

promise() { printf '%s\n' "- $*"; }

# Asks again until the answer is yes, for so many seconds at most.
within() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "not within its time: $what"
        sleep 0.05
    done
}

# -- outside: what is needed, the base root, the namespaces --

need() {
    local name missing=()
    for name in debootstrap iproute2 systemd util-linux; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

# The mirror that this machine's apt uses for its own release.
mirror() {
    # shellcheck disable=SC2016 # apt's variables.
    apt-get indextargets --format '$(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$1" '($1 == release || $2 == release) && $3 == "main" { print $4; exit }'
}

base() {
    local release=$1 archive=$2 from
    [ ! -e "$archive" ] || return 0
    from=$(mirror "$release")
    [ -n "$from" ] || fail "apt knows no mirror of $release; apt-get update?"
    echo "making a base root of $release, once" >&2
    debootstrap --variant=minbase "$release" "$work/base" "$from" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
    # Renamed when whole: an interrupted run leaves no half of it.
    tar --numeric-owner -C "$work/base" -cf "$archive.part" .
    mv "$archive.part" "$archive"
    rm -rf "$work/base"
}

outside() {
    [ "$(id -u)" = 0 ] || fail "only root can make a Debian root"
    local release cache=$PWD/target/package-test
    need
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/run.XXXXXX")
    inside=
    # The inside dies with unshare (--kill-child), its mounts and network with it.
    trap '[ -z "$inside" ] || { kill -KILL "$inside"; wait "$inside"; } 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
    trap 'exit 130' INT TERM
    base "$release" "$cache/base-$release-$(dpkg --print-architecture).tar"
    mkdir "$work/root"
    tar --numeric-owner -C "$work/root" -xf "$cache/base-$release-$(dpkg --print-architecture).tar"
    cp "$deb" "$work/root/wininetd.deb"
    unshare --mount --net --pid --fork --kill-child "$PWD/scripts/debian-package-test.sh" --inside "$work" </dev/null &
    inside=$!
    local status=0
    wait "$inside" || status=$?
    inside=
    exit "$status"
}

# -- inside: the promises --

in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

dpkg_does() {
    # A question about a file would wait for ever; without input it is an error.
    in_root dpkg "$@" >"$work/dpkg.log" 2>&1 </dev/null || { cat "$work/dpkg.log" >&2; fail "dpkg $*"; }
    ! grep -i warning "$work/dpkg.log" >&2 || fail "dpkg $* has warnings"
}

# Everything of ours that is there, dpkg's own lists aside.
ours() { (cd "$root" && find . -xdev \( -path ./proc -o -path ./dev -o -name wininetd.deb \) -prune -o -name '*wininetd*' -print | sed 's/^\.//' | LC_ALL=C sort); }

answer_of() {
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'a line\n' >&3
    IFS= read -r -t 10 answer <&3 || true
    exec 3>&-
    echo "$answer"
}

expect() { [ "$2" = "$3" ] || fail "$1: '$3' where '$2' was expected"; }

# What systemd would do with Type=notify: start ExecStart, wait for READY=1.
start_service() {
    local command
    command=$(sed -n 's/^ExecStart=[-@:+!]*//p' "$root/lib/systemd/system/wininetd.service")
    [ -n "$command" ] || fail "the unit has no ExecStart"
    : >"$work/notified"
    # shellcheck disable=SC2016 # Perl's variables; perl is in every Debian.
    perl -MIO::Socket::UNIX -e '
        my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "$ARGV[0]: $!";
        $| = 1;
        while (defined $socket->recv(my $text, 4096)) { print "$text\n" }' "$root/run/notify" >"$work/notified" &
    listener=$!
    within 10 'a socket for notifications' test -S "$root/run/notify"
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin NOTIFY_SOCKET=/run/notify \
        /bin/sh -c "cd / && exec $command" >"$work/server.log" 2>&1 </dev/null &
    server=$!
    within 20 "READY=1 from $command" grep -q '^READY=1' "$work/notified"
}

stop_service() {
    kill -TERM "$server"
    # 10 seconds of grace for sessions, and a little.
    within 15 'the end after SIGTERM' has_ended "$server"
    local status=0
    wait "$server" || status=$?
    kill "$listener"
    wait "$listener" 2>/dev/null || true
    rm "$root/run/notify"
    [ "$status" = 0 ] || fail "SIGTERM: exit $status"
}

has_ended() { ! read -r _ _ state _ 2>/dev/null <"/proc/$1/stat" || [ "$state" = Z ]; }

inside() {
    work=$1 root=$1/root
    mount -t proc proc /proc
    mount -t proc proc "$root/proc"
    ip link set lo up
    # Bootstrapped roots have it; one that says "no service starts" would hide
    # what the maintainer scripts do.
    rm -f "$root/usr/sbin/policy-rc.d"

    promise 'it installs on a minimal system, and needs nothing else'
    dpkg_does -i /wininetd.deb
    [ "$(in_root dpkg-query -W -f='${db:Status-Status}' wininetd)" = installed ] || fail 'not installed'
    in_root dpkg --verify wininetd

    promise 'its files belong to root, and nobody else can write them'
    for file in /usr/sbin/wininetd /lib/systemd/system/wininetd.service /etc/wininetd.conf \
        /usr/share/doc/wininetd/{copyright,THIRD-PARTY.gz,README.md,examples/hardening.conf}; do
        [ -f "$root$file" ] || fail "there is no $file"
    done
    in_root dpkg -L wininetd | while IFS= read -r file; do
        expect "owner of $file" root:root "$(in_root stat -c %U:%G "$file")"
        [ -z "$(in_root find "$file" -maxdepth 0 ! -type l -perm /022)" ] || fail "others can write $file"
    done
    expect 'mode of the program' 755 "$(stat -c %a "$root/usr/sbin/wininetd")"
    expect 'mode of the configuration' 644 "$(stat -c %a "$root/etc/wininetd.conf")"

    promise 'the configuration is valid, and a fresh installation opens no port'
    in_root wininetd --check --cfgfile /etc/wininetd.conf >/dev/null
    ! grep -n '^[[:blank:]]*[0-9]' "$root/etc/wininetd.conf" >&2 || fail 'the configuration has services'

    promise 'the unit is enabled, and systemd has nothing to say about it'
    enabled=$root/etc/systemd/system/multi-user.target.wants/wininetd.service
    [ -L "$enabled" ] || fail 'it is not enabled'
    # Its targets are systemd's, which a minimal root has not.
    said=$(SYSTEMD_UNIT_PATH="$work/units:" verify)
    [ -z "$said" ] || fail "systemd-analyze verify: $said"

    promise 'what the unit starts serves its file, as the accounts it names'
    printf '%s\n' '7101 none /bin/cat' '7102 nobody: /usr/bin/id -un' >>"$root/etc/wininetd.conf"
    start_service
    expect 'an answer of cat' 'a line' "$(answer_of 7101)"
    expect 'an answer of id' nobody "$(answer_of 7102)"

    promise 'SIGTERM stops it with exit 0'
    stop_service

    promise 'an upgrade keeps an edited configuration'
    cp "$root/etc/wininetd.conf" "$work/edited"
    dpkg_does -i /wininetd.deb
    cmp "$work/edited" "$root/etc/wininetd.conf"
    start_service
    expect 'an answer after the upgrade' 'a line' "$(answer_of 7101)"
    stop_service

    promise 'what the administrator disabled stays disabled'
    rm "$enabled" # which is what `systemctl disable` does
    dpkg_does -i /wininetd.deb
    [ ! -L "$enabled" ] || fail 'an upgrade has enabled it again'

    promise 'removal keeps the configuration, and nothing that is started'
    dpkg_does -r wininetd
    cmp "$work/edited" "$root/etc/wininetd.conf"
    for file in /usr/sbin/wininetd /lib/systemd/system/wininetd.service /usr/share/doc/wininetd; do
        [ ! -e "$root$file" ] || fail "$file is still there"
    done

    promise 'installed again, the configuration is as it was'
    dpkg_does -i /wininetd.deb
    cmp "$work/edited" "$root/etc/wininetd.conf"

    promise 'purge leaves nothing'
    dpkg_does -P wininetd
    expect 'files after purge' '' "$(ours)"

    promise 'where systemd runs: started, restarted at upgrades, stopped at removal'
    pretend_systemd
    dpkg_does -i /wininetd.deb
    expect_said 'daemon-reload' 'start wininetd.service'
    dpkg_does -i /wininetd.deb
    expect_said 'daemon-reload' 'restart wininetd.service'
    dpkg_does -r wininetd
    expect_said 'stop wininetd.service' 'daemon-reload'
    dpkg_does -P wininetd
    expect_said 'daemon-reload'

    promise 'a service that does not start leaves the package installed all the same'
    echo 1 >"$root/systemctl-fails"
    dpkg_does -i /wininetd.deb
    dpkg_does -P wininetd
    expect 'files after purge' '' "$(ours)"

    promise 'an administrator who lets no service start is obeyed'
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    : >"$root/systemctl-was-told"
    dpkg_does -i /wininetd.deb
    ! grep start "$root/systemctl-was-told" >&2 || fail 'it was started'
}

# The unit where it is installed, with this machine's units below it.
verify() {
    mkdir -p "$work/units"
    sed "s@^\\(Exec[A-Z][a-z]*=[-:+!]*\\)/@\\1$root/@" "$root/lib/systemd/system/wininetd.service" >"$work/units/wininetd.service"
    # Man pages are this machine's, not the package's.
    systemd-analyze verify --man=no "$work/units/wininetd.service" 2>&1 || true
}

# A systemctl that only takes notes, and the folder by which systemd is known.
pretend_systemd() {
    mkdir -p "$root/run/systemd/system"
    cat >"$root/usr/bin/systemctl" <<'NOTES'
#!/bin/sh
echo "$*" >>/systemctl-was-told
case "$*" in
*is-enabled*) echo enabled ;;
*is-active*) echo active ;;
*start*) [ ! -e /systemctl-fails ] ;;
esac
NOTES
    chmod 755 "$root/usr/bin/systemctl"
    : >"$root/systemctl-was-told"
}

# That systemctl was told these and in this order; questions aside, and presets,
# which are how Debian's helper enables a unit.
expect_said() {
    local said
    said=$(sed -E 's/--(system|quiet) //g; /preset|is-enabled|is-active/d' "$root/systemctl-was-told")
    : >"$root/systemctl-was-told"
    expect 'systemctl was told' "$(printf '%s\n' "$@")" "$said"
}

case ${1:-} in
--inside)
    inside "$2"
    echo 'the package keeps its promises'
    ;;
-* | '')
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
*) outside ;;
esac
