#!/bin/sh
# One of the demo's two IMAP servers, by imaps at port 1993:
#   server.sh old   an older one: Maildir, "." between levels, all below INBOX; ann and bob have mail there
#   server.sh new   mdbox, "/" between levels, empty; its doveadm takes UIDVALIDITY and UIDs from the migrators, at port 8080
# Who lives there: ann@example.org and bob@example.org, password "secret". setup.sh has made certificates and secrets.
set -eu
name=$1
umask 077

letter() { # user folder number
    mkdir -p "/mail/$1/Maildir$2/cur" "/mail/$1/Maildir$2/new" "/mail/$1/Maildir$2/tmp"
    printf 'From: Demo <demo@example.org>\nTo: %s\nSubject: Letter %s\nMessage-ID: <%s%s.%s>\nDate: Mon, 01 Dec 2025 12:00:00 +0000\n\n%s\n' \
        "$1" "$3" "$3" "$2" "$1" "This is letter $3." >"/mail/$1/Maildir$2/cur/$((1764590400 + $3)).$3.demo:2,S"
}

fill() { # user
    [ ! -e "/mail/$1" ] || return 0
    for number in $(seq 1 40); do letter "$1" "" "$number"; done
    for number in $(seq 1 20); do letter "$1" /.Sent "$number"; done
    for number in $(seq 1 10); do letter "$1" /.Archive.2025 "$number"; done
}

users="ann@example.org bob@example.org"
case $name in
old)
    mail='maildir:~/Maildir' separator=. prefix=INBOX.
    for user in $users; do fill "$user"; done
    ;;
new) mail='mdbox:~/mdbox' separator=/ prefix= ;;
*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

for user in $users; do echo "$user:{PLAIN}secret"; done >/tmp/users
echo "admin:{PLAIN}$(cat "/masters/$name.secret")" >/tmp/masters
cat >/tmp/dovecot.conf <<CONF
base_dir = /tmp/run
state_dir = /tmp/state
log_path = /dev/stderr
protocols = imap
listen = *
default_internal_user = demo
default_internal_group = demo
default_login_user = demo
first_valid_uid = 900
mail_uid = demo
mail_gid = demo
mail_location = $mail
ssl = required
ssl_cert = </certs/$name.pem
ssl_key = </certs/$name.key
auth_mechanisms = plain login
auth_master_user_separator = *
passdb {
  driver = passwd-file
  master = yes
  args = /tmp/masters
  result_success = continue
}
passdb {
  driver = passwd-file
  args = /tmp/users
}
userdb {
  driver = static
  args = uid=demo gid=demo home=/mail/%u allow_all_users=yes
}
namespace inbox {
  inbox = yes
  separator = $separator
  prefix = $prefix
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = 1993
    ssl = yes
  }
}
CONF
[ "$name" = old ] || cat >>/tmp/dovecot.conf <<CONF
service doveadm {
  inet_listener http {
    port = 8080
    ssl = yes
  }
}
doveadm_api_key = $(cat /masters/new.doveadm)
CONF
exec dovecot -F -c /tmp/dovecot.conf
