#!/bin/sh
# Cyrus and Courier for the tests, in build/servers. Debian lets neither be installed beside Dovecot, so their packages
# are only unpacked, with the libraries that this machine lacks; nothing of them is installed, started or enabled.
# An Exim, which Debian doesn't install beside Postfix.
# A Roundcube with the PHP that it needs, without the web server that Debian would start for it.
# And packages of npm (tests/view/npm), which tests use without a network.
# Quick where they are there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
servers=$(dirname "$here")/build/servers
cyrus="cyrus-imapd cyrus-pop3d cyrus-common libsasl2-modules"
courier="courier-imap courier-pop courier-base courier-authlib"
exim="exim4-daemon-light"
courier_waits_for="gamin libgamin0" # in Debian 12; that of 13 needs no such thing
apt="apt-get -q"

# What a package draws in and this machine has not: libraries, but not those of the virus scanner. No mail server.
lacking() { # package...
    $apt install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p' | grep '^lib' | grep -v -e -dev -e clamav -e mspack || true
}

# An installed package that is wanted by name is found where it is.
not_installed() { # package...
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

download() { # package...
    # shellcheck disable=SC2046
    $apt -o APT::Sandbox::User=root download $( (not_installed "$@"; lacking "$@") | sort -u)
}

# Those of the packages that this release has.
known() { # package...
    for package; do
        if apt-cache policy "$package" | grep -q 'Candidate: [^(]'; then echo "$package"; fi
    done
}

refresh() {
    if [ "$(id -u)" = 0 ]; then $apt update; else sudo $apt update; fi
}

fetch() { # name package...
    name=$1; shift
    folder=$servers/$name.new
    rm -rf "$folder" "${servers:?}/$name"
    mkdir -p "$folder/packages"
    echo "unpacking for the tests: $name"
    (cd "$folder/packages" && download "$@" >../log 2>&1) ||
        { refresh; (cd "$folder/packages" && download "$@" >../log 2>&1); } || { cat "$folder/log" >&2; exit 1; }
    for package in "$folder"/packages/*.deb; do
        dpkg-deb -x "$package" "$folder"
    done
    find "$folder" -type f -perm /6000 -exec chmod ug-s {} +
    rm -rf "$folder/packages" "$folder/log" "$folder/usr/share" "$folder/etc" "$folder/usr/lib/tmpfiles.d"
    mv "$folder" "$servers/$name"
}

# Roundcube and all that is PHP of what it depends on, whatever this machine has of it.
fetch_roundcube() {
    folder=$servers/roundcube.new
    rm -rf "$folder" "$servers/roundcube"
    mkdir -p "$folder/packages"
    echo "unpacking for the tests: roundcube"
    names="roundcube-core php-cli php-intl php-mbstring php-xml php-sqlite3"
    # shellcheck disable=SC2046,SC2086
    (cd "$folder/packages" && $apt -o APT::Sandbox::User=root download \
        $($apt install -s -o Dir::State::status=/dev/null --no-install-recommends $names |
            sed -n 's/^Inst \([^ ]*\) (.*/\1/p' | grep -e '^php' -e '^roundcube-core$') \
        $(lacking php-cli php-intl php-mbstring php-xml php-sqlite3) >../log 2>&1) || return 1
    for package in "$folder"/packages/*.deb; do
        dpkg-deb -x "$package" "$folder"
    done
    rm -rf "$folder/packages" "$folder/log" "$folder/usr/share/doc" "$folder/usr/share/man" "$folder/usr/share/roundcube/installer"
    # Libraries that Debian has find each other by their place there; without it PHP looks along its include_path.
    find "$folder/usr/share/php" -name '*autoload.php' -exec sed -i "s,'/usr/share/php/,',g" {} +
    mv "$folder" "$servers/roundcube"
}

# What the lock file names, each with its hash; no script of a package runs.
fetch_npm() {
    folder=$servers/npm.new
    rm -rf "$folder" "$servers/npm"
    mkdir -p "$folder"
    cp "$here/view/npm/package.json" "$npm_lock" "$folder"
    echo "unpacking for the tests: packages of npm"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund >log 2>&1) || { cat "$folder/log" >&2; exit 1; }
    mv "$folder" "$servers/npm"
}

npm_lock=$here/view/npm/package-lock.json
mkdir -p "$servers"
[ -x "$servers/cyrus/usr/lib/cyrus/bin/pop3d" ] || fetch cyrus $cyrus
[ -x "$servers/courier/usr/lib/courier/courier/courierpop3d" ] || fetch courier $courier $(known $courier_waits_for)
[ -x "$servers/exim/usr/sbin/exim4" ] || fetch exim $exim
[ -d "$servers/roundcube" ] || fetch_roundcube || { refresh; fetch_roundcube; } || { cat "$servers/roundcube.new/log" >&2; exit 1; }
cmp -s "$npm_lock" "$servers/npm/package-lock.json" || fetch_npm
if [ ! "$servers/private.so" -nt "$here/harness/private.c" ]; then
    ${CC:-cc} -shared -fPIC -O1 -Wall -Wextra -D_GNU_SOURCE -o "$servers/private.so.new" "$here/harness/private.c" -ldl
    mv "$servers/private.so.new" "$servers/private.so"
fi
