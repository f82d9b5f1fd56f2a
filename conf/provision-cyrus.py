#!/usr/bin/python3
"""Makes an account's INBOX on a Cyrus, with a quota, by IMAP as one of its admins. Where it is there already, nothing is changed.

    backend "new" {
        ...
        provision = {"/etc/imapferry/provision-cyrus.py"}
    }

Copy it there (mode 755) and set what follows. Passwords are not its business: Cyrus asks saslauthd for them, and whatever that asks.
"""
import imaplib
import os
import re
import ssl
import sys

HOST, PORT = "new.example.org", 993
CA_FILE = None  # the system's
ADMIN, PASSWORD_FILE = "imapferry", "/etc/imapferry/new.secret"
QUOTA = 2 * 1024 * 1024  # KiB


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def inbox_of(user, separator):
    """As administrators see it: user/ann@example.org, or user.ann^b@example.org where a dot separates levels."""
    local, at, domain = user.partition("@")
    if separator == ".":
        local = local.replace(".", "^")
    return f"user{separator}{local}{at}{domain}"


def must(answer):
    status, lines = answer
    if status != "OK":
        raise imaplib.IMAP4.error(" ".join(line.decode(errors="replace") for line in lines if line))
    return lines


def make(server, user):
    separator = re.match(rb'\([^)]*\) "(.)"', must(server.list('""', '""'))[0]).group(1).decode()
    inbox = quoted(inbox_of(user, separator))
    if must(server.list('""', inbox)) != [None]:
        return
    status, lines = server.create(inbox)
    if status != "OK" and must(server.list('""', inbox)) == [None]:  # else another migrator was faster
        must((status, lines))
    must(server.setquota(inbox, f"(STORAGE {QUOTA})"))


def main():
    user = os.environ["IMAPFERRY_USER"]
    if not user.isascii():
        sys.exit("a name that is not ASCII")
    with open(PASSWORD_FILE, encoding="utf-8") as f:
        password = f.read().rstrip("\n")
    try:
        with imaplib.IMAP4_SSL(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA_FILE), timeout=30) as server:
            server.login(ADMIN, password)
            make(server, user)
    except (OSError, imaplib.IMAP4.error) as e:
        said = e.args[0] if e.args else e
        sys.exit(f"{HOST}: {said.decode(errors='replace') if isinstance(said, bytes) else e}")


if __name__ == "__main__":
    main()
