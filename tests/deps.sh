#!/bin/sh
# What imapferry needs on Debian, in one apt call.
#   deps.sh install [WHAT]   installs all, or what is for: build (the programs), demo, bench, proxies (of make
#                            bench-proxy), model (of the cut-over), fuzz, fresh (bare machines, see fresh.sh), deb (the package), docker
#   deps.sh ensure [WHAT]    the same, only if something is missing
#   deps.sh missing [WHAT]   says what is missing
# Nothing it installs is left running or enabled: a policy forbids starts during the install, and units of the
# packages that are new are disabled after it.
set -eu

build="gcc make pkg-config libuv1-dev libssl-dev libhiredis-dev libconfuse-dev libjansson-dev zlib1g-dev libcurl4-openssl-dev
       libsystemd-dev libmicrohttpd-dev uthash-dev"
servers="redis-server dovecot-imapd dovecot-pop3d openssl python3 python3-redis"
checks="clang clang-format libcmocka-dev valgrind python3-pytest python3-pytest-xdist python3-pytest-timeout python3-yaml iproute2 fail2ban
        mandoc groff-base zsh fish python3-pyte prometheus systemd postfix dovecot-lmtpd
        dovecot-managesieved sieve-connect"
bench="isync interimap"
proxies="nginx-light libnginx-mod-mail haproxy perdition"
clients="offlineimap3 neomutt fetchmail"
browsers="chromium fonts-dejavu-core"
model="spin gcc libc6-dev python3"
fresh="debootstrap git util-linux"
deb="build-essential debhelper lintian pkgconf"
docker="buildah podman runc docker-compose debootstrap util-linux iproute2 python3 python3-yaml"

wanted_for() { # build, demo, bench, proxies, model, fuzz, fresh, deb, docker or all
    case $1 in
    build) echo $build ;;
    demo) echo $build $servers ;;
    bench) echo $build $servers $bench ;;
    model) echo $model ;;
    proxies) echo $proxies ;;
    fuzz) echo $(fuzz_packages) ;;
    fresh) echo $fresh ;;
    deb) echo $build $deb ;;
    docker) echo $docker ;;
    *) echo $build $servers $checks $bench $clients $browsers $(node_packages) $(valkey_packages) ;;
    esac
}

# Debian 13 has it beside Redis, Debian 12 has not.
valkey_packages() {
    [ -z "$(apt-cache policy valkey-server 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]\)/\1/p')" ] || echo valkey-server
}

# That of another origin has both in one package, and Debian's npm beside it is refused.
node_packages() {
    [ -z "$(missing_programs node npm)" ] || echo nodejs npm
}

# The runtime is of the version of clang, and another package in each release.
fuzz_packages() {
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    echo clang "libclang-rt-${version:-14}-dev"
}

has_libfuzzer() {
    command -v clang >/dev/null && [ -n "$(ls "$(clang -print-resource-dir)"/lib/linux/libclang_rt.fuzzer-*.a 2>/dev/null)" ]
}

missing_programs() { # name...
    for program; do
        command -v "$program" >/dev/null || echo "$program"
    done
}

missing_modules() { # name...
    for module; do
        /usr/bin/python3 -c "import $module" 2>/dev/null || echo "python module $module"
    done
}

missing() {
    case $1 in
    model) missing_programs spin gcc python3; return ;;
    fuzz) has_libfuzzer || echo libFuzzer; return ;;
    proxies) missing_programs nginx haproxy perdition; return ;;
    fresh) missing_programs debootstrap git unshare; return ;;
    docker) missing_programs buildah podman runc docker-compose debootstrap unshare ip; missing_modules yaml; return ;;
    deb) missing_programs dh dpkg-buildpackage lintian g++ ;;
    esac
    for lib in libuv libssl libcrypto hiredis libconfuse jansson zlib libcurl libsystemd libmicrohttpd; do
        pkg-config --exists "$lib" 2>/dev/null || echo "$lib"
    done
    missing_programs cc make
    [ -e /usr/include/uthash.h ] || echo uthash.h
    [ "$1" != build ] && [ "$1" != deb ] || return 0
    missing_programs openssl redis-server dovecot doveadm
    [ -e /usr/lib/dovecot/imap ] || echo "dovecot's imap"
    modules=redis
    [ "$1" = demo ] || missing_programs mbsync interimap
    if [ "$1" = all ]; then
        modules="redis pytest xdist pytest_timeout yaml pyte"
        [ -e /usr/include/cmocka.h ] || echo cmocka.h
        missing_programs clang clang-format valgrind ip fail2ban-regex offlineimap neomutt chromium node npm mandoc groff zsh fish promtool systemd-analyze sieve-connect
        [ -z "$(valkey_packages)" ] || missing_programs valkey-server
        [ -e /usr/lib/postfix/sbin/master ] || echo postfix
        [ -e /usr/lib/dovecot/lmtp ] || echo "dovecot's lmtp"
        [ -e /usr/lib/dovecot/managesieve ] || echo "dovecot's managesieve"
    fi
    # shellcheck disable=SC2086
    missing_modules $modules
}

policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-imapferry

forbid_starts() {
    if [ -e $policy ] || [ -L $policy ]; then mv $policy $kept; fi
    printf '#!/bin/sh\n# put here by "make deps" of imapferry while it installs packages\nexit 101\n' >$policy
    chmod 755 $policy
}

allow_starts() {
    rm -f $policy
    if [ -e $kept ] || [ -L $kept ]; then mv $kept $policy; fi
}

installed() {
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u
}

disable_units_of() { # package
    dpkg -L "$1" 2>/dev/null | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|socket\|timer\)\)$,\2,p' |
        while read -r unit; do
            if command -v systemctl >/dev/null; then
                systemctl disable "$unit" >/dev/null 2>&1 || true
            elif command -v deb-systemd-helper >/dev/null; then
                deb-systemd-helper disable "$unit" >/dev/null 2>&1 || true
            fi
        done
    dpkg -L "$1" 2>/dev/null | sed -n 's,^/etc/init.d/\([^/]*\)$,\1,p' | while read -r script; do
        update-rc.d "$script" disable >/dev/null 2>&1 || true
    done
}

lists_are_old() {
    [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 2>/dev/null | head -n 1)" ]
}

install() {
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "make deps has to run as root or with sudo" >&2; exit 1; }
        exec sudo sh "$0" install "$1"
    fi
    command -v apt-get >/dev/null || { echo "no apt-get here; needed: $(wanted_for "$1")" >&2; exit 1; }
    export DEBIAN_FRONTEND=noninteractive
    apt="apt-get -q -o DPkg::Lock::Timeout=300"
    if lists_are_old; then $apt update; fi
    before=$(mktemp)
    installed >"$before"
    trap 'allow_starts; rm -f "$before"' EXIT
    trap 'exit 1' HUP INT TERM
    forbid_starts
    # shellcheck disable=SC2046
    $apt install -y --no-install-recommends --no-upgrade $(wanted_for "$1") ||
        { $apt update; $apt install -y --no-install-recommends --no-upgrade $(wanted_for "$1"); }
    for package in $(installed | comm -13 "$before" -); do
        disable_units_of "$package"
    done
}

what=${2:-all}
case ${1:-} in
install) install "$what" ;;
missing) missing "$what" ;;
ensure)
    lacking=$(missing "$what")
    [ -z "$lacking" ] && exit 0
    echo "missing: $(echo $lacking)"
    sh "$0" install "$what"
    lacking=$(missing "$what")
    [ -z "$lacking" ] || { echo "still missing: $(echo $lacking)" >&2; exit 1; }
    ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
