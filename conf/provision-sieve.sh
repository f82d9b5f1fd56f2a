#!/bin/sh
# Copies an account's Sieve scripts from the old server to the new one over ManageSieve, and activates the one that is active, by
# sieve-connect (Debian: sieve-connect) and a master user who may authorize as anybody on both servers. What the new server has under
# another name stays.
#
#   backend "new" { ...  provision = {"/etc/imapferry/provision-sieve.sh"} }
#   migration     { ...  hook_flip = {"/etc/imapferry/provision-sieve.sh"} }
#
# By the first the scripts are there before any mail is; the second brings what has changed since. Copy it there (mode 755) and
# set what follows.
set -eu

# host, port
old="old.example.org 4190"
new="new.example.org 4190"
master=admin
password_file=/etc/imapferry/master.secret
ca= # a file; empty: the system's

# What the server answers goes to the files, and to the log where it fails.
sieve() { # "host port" action...
    host=${1% *} port=${1#* }
    shift
    sieve-connect --server "$host" --port "$port" --nosrv ${ca:+--tlscafile "$ca"} --authmech PLAIN --user "$master" \
        --authzid "$IMAPFERRY_USER" --passwordfd 8 "$@" 8<"$password_file" 2>"$folder/said" ||
        { tail -n 1 "$folder/said" >&2; exit 1; }
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sieve "$old" --list >"$folder/list"
active=
# "name", or "name" ACTIVE
while IFS= read -r line; do
    name=${line#\"}
    name=${name%\"*}
    case $name in
    *\\* | *\"*) echo "left out, by its name: $name" >&2; continue ;;
    esac
    case $line in
    *'" ACTIVE'*) active=$name ;;
    esac
    : >"$folder/script" # an empty one is not saved
    sieve "$old" --download --remotesieve "$name" --localsieve "$folder/script"
    sieve "$new" --upload --remotesieve "$name" --localsieve "$folder/script"
done <"$folder/list"
[ -z "$active" ] || sieve "$new" --activate --remotesieve "$active"
