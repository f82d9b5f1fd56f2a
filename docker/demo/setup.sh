#!/bin/sh
# Certificates and secrets of the demo, made once:
#   /certs     an authority (ca.pem), and a certificate and its key for each of old, new and proxy
#   /masters   the master user's password of each server, and the key of new's doveadm: for the migrators and the two servers
set -eu
[ ! -e /masters/made ] || exit 0
umask 077

export OPENSSL_CONF=/tmp/openssl.cnf
printf '[req]\ndistinguished_name = names\n[names]\n' >"$OPENSSL_CONF"

certificate() { # name, then what else openssl req takes
    name=$1; shift
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$name" \
        -keyout "/certs/$name.key" -out "/certs/$name.pem" "$@"
    chmod 644 "/certs/$name.pem"
}

certificate ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
for name in old new proxy; do
    certificate "$name" -CA /certs/ca.pem -CAkey /certs/ca.key -addext basicConstraints=critical,CA:FALSE \
        -addext extendedKeyUsage=serverAuth -addext "subjectAltName=DNS:$name,DNS:localhost,DNS:proxy1,DNS:proxy2,IP:127.0.0.1"
done
for name in old.secret new.secret new.doveadm; do
    openssl rand -hex 16 >"/masters/$name"
done
: >/masters/made
