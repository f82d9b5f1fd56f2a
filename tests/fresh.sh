#!/bin/sh
# The commands of README.md on machines that have never seen the project: bare Debian 12 and 13, each a debootstrap in a chroot
# with its own processes, /proc, /dev, /etc/hosts and host name. What is committed is cloned there; what is not is not tried.
#   fresh.sh [--only SUITE] [--keep] [COMMAND...]     default: both suites, "make demo ONCE=1" and "make check"
# The packages come from where this machine has its own from. Needs root, and some GiB in build/fresh; a bare system is kept
# there as a tar file, as long as it is younger than a week. --keep leaves the machine there to look at. Two runs may go on at
# once, each with another suite.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=$here/build/fresh
suites="bookworm trixie"
keep=
while [ $# -gt 0 ]; do
    case $1 in
    --only) suites=$2; shift 2 ;;
    --keep) keep=1; shift ;;
    -*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- "make demo ONCE=1" "make check"
[ "$(id -u)" = 0 ] || { echo "check-fresh has to run as root: it makes file systems" >&2; exit 1; }

. "$here/tests/bare.sh"

# Where that asks another registry, or trusts other certificates, than npm does by itself.
set_up_npm() { # home
    command -v npm >/dev/null || return 0
    echo "registry=$(npm config get registry)" >"$1/.npmrc"
    trusted=$(npm config get cafile)
    if [ -f "$trusted" ]; then
        cp "$trusted" "$1/npm-trusted.pem"
        echo "cafile=/root/npm-trusted.pem" >>"$1/.npmrc"
    fi
}

# How this machine reaches its packages, and no more of it.
set_up() { # suite root
    set_up_apt "$1" "$2"
    cp /etc/resolv.conf "$2/etc/resolv.conf"
    grep -v -e localhost -e "$(hostname)" /etc/hosts >"$2/etc/hosts" || true # the mirror's, where it stands there
    printf '127.0.0.1 localhost fresh\n::1 localhost\n' >>"$2/etc/hosts"
    echo fresh >"$2/etc/hostname"
    set_up_npm "$2/root"
}

# Runs in namespaces of its own, so that no mount and no process outlives it.
cat_inside() {
    cat <<'INSIDE'
set -eu
root=$1; source=$2; shift 2
hostname fresh
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 dev dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm dev/net
mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mkdir -p mnt/imapferry
mount --bind -o ro "$source" mnt/imapferry
exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \
    chroot . /bin/sh -eu /root/try "$@"
INSIDE
}

# What somebody types there.
cat_try() {
    cat <<'TRY'
apt-get -q update
apt-get -q install -y --no-install-recommends git make ca-certificates >/root/apt.log 2>&1 || { cat /root/apt.log; exit 1; }
git config --global --add safe.directory '*'
git clone -q /mnt/imapferry/.git /root/imapferry
cd /root/imapferry
for command; do
    echo "fresh: $command"
    start=$(date +%s)
    sh -c "$command"
    echo "fresh: $command: ended well after $(($(date +%s) - start)) s"
done
TRY
}

try() { # suite command...
    suite=$1; shift
    root=$work/$suite
    exec 9>"$work/$suite.lock"
    flock -n 9 || { echo "$suite: another run has that machine" >&2; return 1; }
    rm -rf "$root"
    mkdir -p "$root"
    tar -C "$root" -xf "$work/$suite.tar"
    set_up "$suite" "$root"
    cat_try >"$root/root/try"
    cat_inside >"$own/inside"
    echo "==== $suite"
    status=0
    unshare --mount --pid --fork --uts --ipc --kill-child sh "$own/inside" "$root" "$own/clone" "$@" 9>&- || status=$?
    [ -n "$keep" ] || rm -rf "$root"
    if [ $status = 0 ]; then echo "$suite: passed"; else echo "$suite: failed ($status)"; fi
    return $status
}

mkdir -p "$work"
own=$(mktemp -d "$work/run.XXXXXX") # of this run alone
trap 'rm -rf "$own"' EXIT
trap 'exit 1' HUP INT TERM
git clone -q --no-checkout "$(git -C "$here" rev-parse --path-format=absolute --git-common-dir)" "$own/clone"
git -C "$own/clone" checkout -q --detach "$(git -C "$here" rev-parse HEAD)"
failed=0
for suite in $suites; do
    make_base "$suite" "$work"
    try "$suite" "$@" || failed=1
done
exit $failed
