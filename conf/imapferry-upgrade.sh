#!/bin/sh
# imapferry-upgrade: the programs that are installed now take the place of those that run, and what does not run is not started. The
# Debian package calls it after an upgrade, and who types "make install" calls it too.
#   imapferry-proxy@a or @b   the other one of the two is started and takes the listeners over (upgrade_socket): no client is refused.
#                             Where it does not come up, the one that runs goes on
#   imapferry-proxy           is restarted. With imapferry-proxy.socket, clients wait meanwhile; without, they are refused
#   imapferry-migrator        is restarted: what it copies goes on where it was
# Exit status 1: something still runs as it was before.
set -eu

failed=0

runs() { # unit
    systemctl --quiet is-active "$1"
}

# Debian's way for an administrator to say what may not be started.
allowed() { # unit action
    rc=0
    if [ -x /usr/sbin/policy-rc.d ]; then /usr/sbin/policy-rc.d "$1" "$2" || rc=$?; fi
    [ "$rc" != 101 ]
}

run() { # action unit
    if ! allowed "$2" "$1"; then echo "imapferry-upgrade: policy-rc.d forbids to $1 $2" >&2; return 0; fi
    systemctl --quiet "$1" "$2"
}

follow() { # unit, the one that takes its place
    if run start "$2"; then return 0; fi
    echo "imapferry-upgrade: $2 did not take over, and $1 goes on as it was: journalctl -u $2" >&2
    failed=1
}

# The last upgrade was a moment ago: the proxy before drains still.
await_one() {
    left=90
    while [ "$left" -gt 0 ] && runs imapferry-proxy@a.service && runs imapferry-proxy@b.service; do
        sleep 1
        left=$((left - 1))
    done
}

renew_pair() {
    await_one
    if runs imapferry-proxy@a.service && runs imapferry-proxy@b.service; then
        echo "imapferry-upgrade: imapferry-proxy@a and @b both run, and neither ends; end the older one" >&2
        failed=1
    elif runs imapferry-proxy@a.service; then
        follow imapferry-proxy@a.service imapferry-proxy@b.service
    elif runs imapferry-proxy@b.service; then
        follow imapferry-proxy@b.service imapferry-proxy@a.service
    fi
}

restart() { # unit
    runs "$1" || return 0
    run restart "$1" || { echo "imapferry-upgrade: $1 could not be restarted: journalctl -u $1" >&2; failed=1; }
}

if [ ! -d /run/systemd/system ]; then
    echo "imapferry-upgrade: systemd does not run here: restart by hand what runs" >&2
    exit 0
fi
systemctl daemon-reload
renew_pair
restart imapferry-proxy.service
restart imapferry-migrator.service
exit $failed
