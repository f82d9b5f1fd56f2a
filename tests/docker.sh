#!/bin/sh
# docker/ on this machine, by Debian's buildah and podman, which need no daemon, and here no registry of images: "make check-docker".
# The images of docker/compose.yaml are built and all its services run (docker.py says what is looked at). In the place of
# debian:bookworm-slim stands a debootstrap, and in that of redis and prometheus what Debian has of them, started by the same commands.
# Needs root, and about 2 GiB in build/docker, where the layers of the images stay for the next time. It runs in namespaces of its own
# with a /run of its own, so that no mount and no process outlives it.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=$here/build/docker
[ "$(id -u)" = 0 ] || { echo "check-docker has to run as root: it makes file systems" >&2; exit 1; }
. "$here/tests/bare.sh"

# The base image: a bare Debian 12, and the way to this machine's packages.
mkdir -p "$work" "$here/build/fresh"
make_base bookworm "$here/build/fresh"
if [ -z "$(find "$work/base.tar" -newer "$here/build/fresh/bookworm.tar" 2>/dev/null)" ]; then
    rm -rf "$work/base"
    mkdir "$work/base"
    tar -C "$work/base" -xf "$here/build/fresh/bookworm.tar"
    set_up_apt bookworm "$work/base"
    tar -C "$work/base" -cf "$work/base.tar.new" .
    rm -rf "$work/base"
    mv "$work/base.tar.new" "$work/base.tar"
fi

cat >"$work/inside" <<'INSIDE'
set -eu
here=$1 work=$2
names=$(readlink -f /etc/resolv.conf)
cp "$names" "$work/resolv.conf"
mount -t tmpfs -o mode=755 run /run
mkdir -p "$(dirname "$names")" /run/lock
[ -e "$names" ] || cp "$work/resolv.conf" "$names"
/usr/bin/python3 -B "$here/tests/docker.py" build "$work"
exec unshare --net /usr/bin/python3 -B "$here/tests/docker.py" run "$work"
INSIDE
exec unshare --mount --pid --fork --uts --ipc --mount-proc --kill-child sh "$work/inside" "$here" "$work"
