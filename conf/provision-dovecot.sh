#!/bin/sh
# Makes an account on a Dovecot of this host whose users stand in a passwd-file, with a quota and the password that the user has
# just signed in with. Where it is there already, it is given that password and nothing else is changed.
#
#   backend "new" {
#       ...
#       provision          = {"/etc/imapferry/provision-dovecot.sh"}
#       provision_password = true
#   }
#
# Copy it there (mode 755) and set what follows. The file is exchanged for a new one at each change, so its folder is the
# migrator's to write, and its group Dovecot's to read:
#
#   install -d -o imapferry-migrator -g dovecot -m 2750 /etc/dovecot/imapferry
#
# Dovecot is told of it as a passdb and a userdb, both with the driver passwd-file.
set -eu
umask 027

users=/etc/dovecot/imapferry/users
limits='userdb_quota_rule=*:storage=2G' # of Dovecot 2.3; of 2.4: userdb_quota_storage_size=2G

user=$IMAPFERRY_USER
case $user in
*:*) echo "a passwd-file can't have a name with a colon" >&2; exit 1 ;;
esac

exec 9>>"$users.lock" # at two migrators at once, perhaps
flock 9
[ -e "$users" ] || : >"$users"
known=$(awk -F : '$1 == ENVIRON["IMAPFERRY_USER"] {print "yes"}' "$users")

read -r mechanism || { echo "it is told nothing: set provision_password" >&2; exit 1; }
case $mechanism in
PLAIN) # the password is in the second line
    hash="{SHA512-CRYPT}$(openssl passwd -6 -stdin)" ;;
OAUTHBEARER | XOAUTH2) # who signs in by tokens has no password here
    [ -z "$known" ] || exit 0
    hash='{CRYPT}*' ;;
*) # nobody has signed in of late
    [ -z "$known" ] || exit 0
    echo "the account is made once its user has signed in" >&2
    exit 77 ;;
esac

export hash limits
{
    [ -n "$known" ] || printf '%s:%s::::::%s\n' "$user" "$hash" "$limits"
    awk -F : -v OFS=: '$1 == ENVIRON["IMAPFERRY_USER"] {$2 = ENVIRON["hash"]} {print}' "$users"
} >"$users.new"
mv "$users.new" "$users"
exec 9>&-
sleep 1 # Dovecot looks at its file once a second
