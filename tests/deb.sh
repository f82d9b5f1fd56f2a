#!/bin/sh
# The Debian package on this machine, which is bare and is thrown away afterwards: "make check-deb" runs it on those of fresh.sh.
#   deb.sh [PACKAGE]     without PACKAGE it is built first, lintian looks at it, and piuparts puts it into a bare system of its own and takes it
#                        out again, which leaves nothing behind
# Then the autopkgtest, and all that is done with a package (deb.py), under a systemd of its own, in namespaces without a network.
set -eu

cd "$(dirname "$0")/.."
. tests/bare.sh
work=/var/tmp/imapferry-deb
package=${1:-}

# Its log where that is not so. What is passed over is systemd's, which comes along for its users and folders and leaves these behind.
piuparts_of() { # package
    apt-get -q install -y --no-install-recommends piuparts debootstrap >/dev/null
    piuparts --defaults debian --distribution "$(. /etc/os-release && echo "$VERSION_CODENAME")" --mirror "$(target Debian) main" \
        --no-eatmydata --no-adequate --ignore-regex '^/root/\.ssh|^/var/(cache|lib|log)/private|^/var/lib/systemd' \
        "$1" >build/deb/piuparts.log 2>&1 || { tail -n 60 build/deb/piuparts.log >&2; exit 1; }
    sed -n 's/^.* INFO: PASS/piuparts: PASS/p' build/deb/piuparts.log
}

if [ -z "$package" ]; then
    make -s deb
    lintian --allow-root --fail-on error,warning build/deb/*.changes
    package=$(ls build/deb/imapferry_*.deb)
    piuparts_of "$package"
fi
sh tests/deps.sh ensure demo
apt-get -q install -y --no-install-recommends systemd iproute2 >/dev/null
apt-get -q satisfy -y --no-install-recommends "$(dpkg-deb -f "$package" Depends)" >/dev/null

# The releases behind it, as far as dpkg and systemd can tell.
rm -rf "$work"
mkdir -p "$work"
cp "$package" "$work/1.deb"
for release in 2 3; do
    dpkg-deb -R "$package" "$work/next"
    sed -i "s/^Version: .*/&+$release/" "$work/next/DEBIAN/control"
    dpkg-deb -b "$work/next" "$work/$release.deb" >/dev/null
    rm -r "$work/next"
done

# systemd wants a group of processes to itself, wherever this machine has its own. A new one for each run, and none that cgroup.kill has
# ended: the kernel goes on killing what a later systemd (257) begins in it.
mkdir -p "$work/cgroup"
mount -t cgroup2 cgroup2 "$work/cgroup"
group=$(mktemp -d "$work/cgroup/imapferry-deb.XXXXXX")
echo $$ >"$group/cgroup.procs"
unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -euc '
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 run /run
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    ip link set lo up
    exec env -i container=imapferry PATH="$PATH" LANG=C.UTF-8 /lib/systemd/systemd --unit=multi-user.target' >"$work/boot.log" 2>&1 &
shell=$!
end() {
    kill -KILL "$shell" 2>/dev/null || true
    wait "$shell" 2>/dev/null || true
    echo $$ >"$work/cgroup/cgroup.procs"
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
trap end EXIT
first=
left=100
while [ -z "$first" ] && [ "$left" -gt 0 ]; do
    first=$(cat "/proc/$shell/task/$shell/children" 2>/dev/null | tr -d ' ')
    [ -n "$first" ] || sleep 0.1
    left=$((left - 1))
done
inside() { nsenter -t "$first" --all --root="/proc/$first/root" --wd=/ "$@"; }
left=300
until inside systemctl is-system-running 2>/dev/null | grep -q -e running -e degraded; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { echo "systemd does not come up" >&2; cat "$work/boot.log" >&2; exit 1; }
    sleep 0.2
done
inside /usr/bin/env -i HOME=/root PATH="$PATH" LANG=C.UTF-8 AUTOPKGTEST_TMP="$work" \
    /usr/bin/python3 -B "$(pwd)/tests/deb.py" "$work/1.deb" "$work/2.deb" "$work/3.deb"
