#!/usr/bin/python3
"""`make check-valgrind`: both daemons through a full migration under valgrind: sealed credentials, several logins, a wrong
password, a second account, a flip by force, a drain. Definite and indirect leaks and errors make the status 1."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import certs, dovecot, net, redisd  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402
from harness.scene import assert_equal, connect, fill, small  # noqa: E402


def wrapper(folder, label):
    return ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=97", "--child-silent-after-fork=yes",
            f"--log-file={os.path.join(folder, label)}.valgrind"]


def migrate(ferry, servers, ca):
    # Valgrind is slow: terms and waits are longer than in the tests.
    proxy = ferry.proxy(["imaps://127.0.0.1:0", "imap://127.0.0.1:0"], label="proxy", wrapper=wrapper(ferry.folder, "proxy"),
                        wait=False)
    proxy.addresses = proxy.listeners(2, timeout=60)
    migrator = ferry.migrator(label="migrator", wrapper=wrapper(ferry.folder, "migrator"), wait=False)
    users = ["ann@example.org", "bob@example.org"]
    for user in users:
        fill(servers["old"], user, small(messages=80, big=(300000,)))
    with connect(proxy, 0, ca, timeout=60) as wire:
        assert wire.login("ann@example.org", "wrong").startswith(b"l1 NO")
    clients = [ferry.login(proxy, user, "secret", listener, timeout=60, ca=ca) for user in users for listener in (0, 1)]
    for client in clients[::2]:
        client.select("INBOX")
        client.fetch("1:*", "(BODY.PEEK[])")
    for user in users:
        ferry.wait_state(user, "flipped", timeout=180)
        assert_equal(servers["old"], servers["new"], user, 81)
        ferry.login(proxy, user, "secret", 1, timeout=60)
    assert ferry.ctl("flip", users[0], "--to", "old", "--force", "--reason", "valgrind")[0] == 0
    ferry.wait_state(users[0], "held", timeout=60)
    for daemon in (proxy, migrator):
        daemon.stop(timeout=90)


def main():
    folder = net.temp_folder("valgrind")
    authority = certs.Authority(folder)
    cert = authority.issue("server")
    redis = redisd.Redis(port=net.free_port())
    servers = {"old": dovecot.Dovecot("old", separator=".", prefix="INBOX.", cert=cert),
               "new": dovecot.Dovecot("new", mail="mdbox", cert=cert)}
    ferry = Ferry(redis, {"old": backend(servers["old"], ca=authority.ca),
                          "new": backend(servers["new"], ca=authority.ca, master=False)}, cert,
                  {"proxy": {"lease": "5s", "lease_long": "10s", "sandbox": False},  # valgrind makes calls of its own
                   "migrator": {"job_lease": "20s", "command_timeout": "60s", "sandbox": False},
                   "migration": {"freeze_budget": "30s"}})
    failed = ""
    try:
        ferry.init()
        ferry.seal_keys()
        migrate(ferry, servers, authority.ca)
    except (AssertionError, TimeoutError, RuntimeError) as e:
        failed = str(e)
    for label in ("proxy", "migrator"):
        path = os.path.join(ferry.folder, f"{label}.valgrind")
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read()
        print(f"imapferry-{label}: " + ("no errors, definite and indirect leaks 0" if not text else "valgrind says:\n" + text))
        failed = failed or text
    for closing in (ferry, redis, *servers.values()):
        try:
            closing.close()
        except AssertionError as e:
            failed = failed or str(e)
    net.remove_folder(folder)
    if failed:
        print(f"failed: {failed[-4000:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
