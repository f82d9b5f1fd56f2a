"""How the migrator signs in on a user's behalf, and that no password is where it does not belong."""
import glob
import os

import pytest

from fakes.fake_imap import FakeImap
from harness import dovecot, net
from harness.ferry import backend
from harness.scene import assert_equal, connect, fill, new_user, small


@pytest.fixture
def fakes():
    with FakeImap(name="old") as old, FakeImap(name="new") as new:
        yield old, new


@pytest.mark.parametrize("old_master,new_master", [(True, True), (True, False), (False, True), (False, False)])
def test_master_or_sealed_on_each_side(make_ferry, old, new, authority, old_master, new_master):
    user = new_user()
    fill(old, user, small(messages=10))
    ferry = make_ferry({"old": backend(old, ca=authority.ca, master=old_master),
                        "new": backend(new, ca=authority.ca, master=new_master)})
    ferry.seal_keys()
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 10)


@pytest.mark.parametrize("pattern", ["", "%u*%m"])
def test_master_by_authzid_or_in_the_name(make_ferry, fakes, pattern):
    old, new = fakes
    user = new_user()
    old.add(user, "INBOX", b"Subject: one\r\n\r\nbody\r\n")
    ferry = make_ferry({"old": backend(old, "imap", master_login=pattern), "new": backend(new, "imap")})
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert (user, "master") in old.logins and (user, "master") in new.logins
    assert old.heard(f"{user}*{dovecot.MASTER_USER}".encode()) == bool(pattern)
    assert not new.heard(f"{user}*{dovecot.MASTER_USER}".encode())
    assert [m.body for m in new.account(user)[b"INBOX"].messages] == [b"Subject: one\r\n\r\nbody\r\n"]


def test_client_login_never_uses_the_master(make_ferry, fakes):
    old, new = fakes
    user = new_user()
    ferry = make_ferry({"old": backend(old, "imap", sign_in="master"), "new": backend(new, "imap")})
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        assert wire.login(user, "wrong").startswith(b"l1 NO [AUTHENTICATIONFAILED]")
        assert wire.login(user, "secret", b"l2").startswith(b"l2 OK")
    # What the server can do the proxy asks as the master alone, for nobody.
    assert [x for x in old.logins if x != (dovecot.MASTER_USER, "master")] == [(user, "user")]


def test_without_a_usable_credential_the_job_waits_for_the_next_login(make_ferry, old, new, authority):
    """Nothing sealed, no master: the reason says so; when a login brings the password, the account moves."""
    user = new_user()
    fill(old, user, small(messages=10))
    ferry = make_ferry({"old": backend(old, ca=authority.ca, master=False), "new": backend(new, ca=authority.ca, master=False)},
                       {"migration": {"trigger": "login"}})
    plain = ferry.proxy()
    ferry.seal_keys()
    ferry.login(plain, user, "secret")  # this one knows of no key
    ferry.migrator()
    route = ferry.wait_state(user, "backoff")
    assert route["reason"].startswith("credentials: "), route["reason"]
    assert ferry.user(user)["backend"] == "old"
    sealing = ferry.proxy()
    ferry.login(sealing, user, "secret")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 10)


def test_password_that_the_target_does_not_know(make_ferry, old, authority):
    """Sealed and refused: waits for the next login, with that reason."""
    user = new_user()
    fill(old, user, small(messages=3))
    with FakeImap(name="new", password="another") as new:
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, "imap", master=False)})
        ferry.seal_keys()
        proxy = ferry.proxy()
        ferry.login(proxy, user, "secret")
        ferry.migrator()
        route = ferry.wait_state(user, "backoff")
        assert route["reason"].startswith("credentials: ") and "new" in route["reason"], route["reason"]
        new.password = b"secret"
        ferry.login(proxy, user, "secret")
        ferry.wait_state(user, "flipped")


def test_no_secret_where_it_does_not_belong(make_ferry, old, new, authority):
    """Not in a log, not in Redis, not in a command line or environment, not in the journal."""
    password = "q7Vx-uncommon-password"
    user = "discreet@example.org"
    servers = {}
    try:
        for name, options in (("old", {"separator": ".", "prefix": "INBOX."}), ("new", {})):
            servers[name] = dovecot.Dovecot(name, users={user: password}, **options)
        fill(servers["old"], user, small(messages=10), password)
        ferry = make_ferry({n: backend(s, "imap", master=(n == "old")) for n, s in servers.items()},
                           {"migration": {"cutover": "manual"}})
        ferry.seal_keys()
        proxy = ferry.proxy()
        ferry.login(proxy, user, password)
        with connect(proxy) as wire:
            wire.login(user, password + "-wrong")
        migrator = ferry.migrator()
        ferry.wait_state(user, "ready")
        client = ferry.redis.client(decode=False)
        assert client.exists(f"imapferry:secret:{user}")
        assert client.ttl(f"imapferry:secret:{user}") > 3600
        places = {key.decode(): client.dump(key) for key in client.keys("*")}
        places.update({str(d): "\n".join(x or "" for x in d.lines).encode() for d in (proxy, migrator)})
        for daemon in (proxy, migrator):
            for name in ("cmdline", "environ"):
                with open(f"/proc/{daemon.pid}/{name}", "rb") as f:
                    places[f"{daemon.label} {name}"] = f.read()
        for path in (glob.glob(os.path.join(ferry.folder, "journal", "**"), recursive=True)
                     + glob.glob(os.path.join(ferry.redis.folder, "**", "*.aof"), recursive=True)):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    places[path] = f.read()
        found = [name for name, text in places.items()
                 if any(s.encode() in text for s in (password, dovecot.MASTER_PASSWORD + '"', dovecot.MASTER_PASSWORD + "\n"))]
        assert not found, found
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
        ferry.wait_state(user, "flipped")
        ferry.stop_all()
    finally:
        for server in servers.values():
            server.close()


def test_sealed_credential_is_renewed_at_each_login(make_ferry, old, new, authority):
    user = new_user()
    fill(old, user, small(messages=3))
    ferry = make_ferry({"old": backend(old, ca=authority.ca, master=False), "new": backend(new, ca=authority.ca, master=False)})
    ferry.seal_keys()
    proxy = ferry.proxy()
    client = ferry.redis.client(decode=False)
    seen = set()
    for _ in range(2):
        ferry.login(proxy, user, "secret")
        seen.add(client.get(f"imapferry:secret:{user}"))
    assert len(seen) == 2 and None not in seen


def test_rotated_keys(make_ferry, old, new, authority):
    """What was sealed to the old key is opened while the migrator still has it."""
    user = new_user()
    fill(old, user, small(messages=3))
    ferry = make_ferry({"old": backend(old, ca=authority.ca, master=False), "new": backend(new, ca=authority.ca, master=False)})
    ferry.seal_keys()
    ferry.login(ferry.proxy(), user, "secret")
    first = ferry.settings["seal"]["private_key_files"][0]
    os.rename(first, first + ".old")
    os.rename(ferry.settings["seal"]["public_key_file"], ferry.settings["seal"]["public_key_file"] + ".old")
    ferry.seal_keys()
    ferry.settings["seal"]["private_key_files"] = [first, first + ".old"]
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    net.wait_until("journal", lambda: os.listdir(os.path.join(ferry.folder, "journal")))
