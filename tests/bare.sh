# Bare Debian systems, and this machine's way to Debian's packages, which they get and no more: read by fresh.sh and docker.sh.

target() { # label; where this machine has Debian's packages from
    apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(LABEL)' 'Created-By: Packages' |
        awk -F'|' -v label="$1" '$2 == "Debian" && $3 == label { print $1; exit }'
}

# FOLDER/SUITE.tar, as long as it is younger than a week.
make_base() { # suite folder
    base=$2/$1.tar
    [ -z "$(find "$base" -mtime -7 2>/dev/null)" ] || return 0
    echo "debootstrap: $1"
    rm -rf "$2/$1.base"
    debootstrap --variant=minbase "$1" "$2/$1.base" "$(target Debian)" >"$2/$1.log" 2>&1 || { cat "$2/$1.log"; exit 1; }
    tar -C "$2/$1.base" -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf "$2/$1.base"
}

set_up_apt() { # suite root
    echo "deb $(target Debian) $1 main" >"$2/etc/apt/sources.list"
    echo "deb $(target Debian) $1-updates main" >>"$2/etc/apt/sources.list"
    if [ -n "$(target Debian-Security)" ]; then
        echo "deb $(target Debian-Security) $1-security main" >>"$2/etc/apt/sources.list"
    fi
    apt-config dump | grep -E '^Acquire::(http|https|ftp)?:*(Proxy|Check|Retries)' >"$2/etc/apt/apt.conf.d/99fresh" || true
}
