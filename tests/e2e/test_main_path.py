"""The main job: a user signs in and is served from the old server, the account is copied, verified and switched over,
and the next login lands on the new server. And what a client sees of the proxy on the way."""
import base64
import hashlib
import os

import pytest

from harness import mail
from harness.scene import assert_equal, connect, fill, new_user, separator, small

LISTENERS = ("imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0", "imap://127.0.0.1:0")


@pytest.mark.parametrize("listener", range(3))
def test_login_copy_flip_login(ferry, old, new, authority, listener):
    user = new_user()
    account = fill(old, user, small(messages=60))
    proxy = ferry.proxy(LISTENERS)
    client = ferry.login(proxy, user, "secret", listener, ca=authority.ca)
    assert separator(client) == "."
    route = ferry.user(user)
    assert (route["backend"], route["state"]) == ("old", "queued")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    route = ferry.user(user)
    assert (route["user"], route["backend"], route["source"], route["target"]) == (user, "new", "old", "new")
    assert route["messages"]["done"] == route["messages"]["total"] == 60
    assert route["mailboxes"]["done"] == route["mailboxes"]["total"] == len(account.mailboxes)
    client = ferry.login(proxy, user, "secret", listener, ca=authority.ca)
    assert ferry.where(user) == {"new"} and separator(client) == "."
    assert_equal(old, new, user, 60)


def test_unix_listener(ferry, old):
    user = new_user()
    fill(old, user, small(messages=2))
    path = os.path.join(ferry.folder, "imap.sock")
    proxy = ferry.proxy([f"imap+unix://{path}"])
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")


@pytest.mark.parametrize("scheme", ["imap", "imap+starttls", "imaps"])
def test_each_scheme_to_the_backends(make_ferry, old, new, authority, scheme):
    from harness.ferry import backend
    user = new_user()
    fill(old, user, small(messages=10))
    ferry = make_ferry({"old": backend(old, scheme, authority.ca), "new": backend(new, scheme, authority.ca)})
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, user, "secret")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 10)


def plain(user, password="secret", authzid=""):
    return base64.b64encode("\0".join((authzid, user, password)).encode())


LOGINS = {
    "quoted": lambda u: b'a LOGIN "%s" "secret"\r\n' % u,
    "atoms": lambda u: b"a LOGIN %s secret\r\n" % u,
    "non-synchronizing literals": lambda u: b"a LOGIN {%d+}\r\n%s {6+}\r\nsecret\r\n" % (len(u), u),
    "PLAIN with initial response": lambda u: b"a AUTHENTICATE PLAIN %s\r\n" % plain(u.decode()),
    "PLAIN with its own name as authzid": lambda u: b"a AUTHENTICATE plain %s\r\n" % plain(u.decode(), authzid=u.decode()),
}


@pytest.mark.parametrize("form", LOGINS)
def test_forms_of_login(ferry, old, form):
    user = new_user().encode()
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        wire.send(LOGINS[form](user))
        answer = wire.until(b"a ")[-1]
        assert answer.startswith(b"a OK [CAPABILITY IMAP4rev1 "), answer
        assert wire.command(b"b", b"SELECT INBOX")[-1].startswith(b"b OK")
        assert wire.command(b"c", b"LOGOUT")[-1].startswith(b"c OK")
        assert wire.rest() == []


def test_synchronizing_literals_and_plain_without_initial_response(ferry, old):
    user = new_user().encode()
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        wire.line(b"a LOGIN {%d}" % len(user))
        wire.until(b"+")
        wire.line(user + b" {6}")
        wire.until(b"+")
        wire.line(b"secret")
        assert wire.until(b"a ")[-1].startswith(b"a OK")
    with connect(proxy) as wire:
        wire.line(b"a AUTHENTICATE PLAIN")
        wire.until(b"+")
        wire.line(plain(user.decode()))
        assert wire.until(b"a ")[-1].startswith(b"a OK")


def test_commands_behind_login_are_kept_for_the_backend(ferry, old):
    user = new_user().encode()
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        wire.send(b"a LOGIN %s secret\r\nb SELECT INBOX\r\nc STATUS INBOX (MESSAGES)\r\nd LOGOUT\r\n" % user)
        lines = wire.rest()
        tagged = [x[:4] for x in lines if x[1:2] == b" " and x[:1] != b"*"]
        assert tagged == [b"a OK", b"b OK", b"c OK", b"d OK"], lines


def test_before_login(ferry, old):
    proxy = ferry.proxy(LISTENERS)
    with connect(proxy, 2) as wire:
        assert wire.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
        words = wire.command(b"a", b"CAPABILITY")[0].split()
        assert {b"LITERAL-", b"SASL-IR", b"AUTH=PLAIN", b"ID"} <= set(words) and b"LITERAL+" not in words
        assert wire.command(b"b", b"NOOP")[-1].startswith(b"b OK")
        assert wire.command(b"c", b'ID ("name" "test" "version" NIL)')[-1].startswith(b"c OK")
        assert wire.command(b"d", b"SELECT INBOX")[-1].startswith(b"d BAD")
        assert wire.command(b"e", b"logout")[-1].startswith(b"e OK")
        assert wire.rest() == []


def test_login_is_disabled_until_starttls(ferry, old, authority):
    proxy = ferry.proxy(LISTENERS)
    user = new_user().encode()
    with connect(proxy, 1) as wire:
        words = wire.command(b"a", b"CAPABILITY")[0].split()
        assert b"LOGINDISABLED" in words and b"STARTTLS" in words and b"AUTH=PLAIN" not in words
        for command in (b"LOGIN %s secret" % user, b"AUTHENTICATE PLAIN " + plain(user.decode())):
            assert wire.command(b"b", command)[-1].startswith(b"b NO [PRIVACYREQUIRED]")
        assert wire.command(b"c", b"STARTTLS")[-1].startswith(b"c OK")
        wire.secure(authority.ca)
        words = wire.command(b"d", b"CAPABILITY")[0].split()
        assert b"LOGINDISABLED" not in words and b"STARTTLS" not in words
        assert wire.login(user).startswith(b"l1 OK")


def test_capabilities_are_an_allow_list(make_ferry, backends, old, new):
    """The same before and after the flip, and what is hidden is refused too. Known once somebody has signed in at
    both servers."""
    ferry = make_ferry(backends, {"migration": {"trigger": "manual"}})
    first, user = new_user(), new_user()
    fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, first, "secret").logout()
    assert ferry.ctl("migrate", first, "--wait")[0] == 0
    ferry.login(proxy, first, "secret").logout()
    proxy = ferry.proxy()

    def shown():
        with connect(proxy) as wire:
            answer = wire.login(user)
            words = set(answer[answer.index(b"[CAPABILITY ") + 12:answer.index(b"]")].split())
            again = wire.command(b"a", b"CAPABILITY")[0]
            assert set(again.split()[2:]) == words
            assert wire.command(b"b", b"SELECT INBOX")[-1].startswith(b"b OK")
            for command in (b"FETCH 1 (FLAGS EMAILID)", b"NOTIFY NONE", b"COMPRESS GZIP", b"STARTTLS", b"UNAUTHENTICATE",
                            b"LOGIN a b"):
                assert wire.command(b"c", command)[-1].startswith(b"c BAD"), command
            modseqs = b"CONDSTORE" in words
            for command in (b"FETCH 1 (FLAGS MODSEQ)", b"STATUS INBOX (HIGHESTMODSEQ)", b"SELECT INBOX (CONDSTORE)",
                            b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)"):
                assert wire.command(b"c", command)[-1].startswith(b"c OK" if modseqs else b"c BAD"), command
            with connect(proxy) as other:
                other.login(user)
                enabled = other.command(b"d", b"ENABLE CONDSTORE UTF8=ACCEPT")
            assert (b"CONDSTORE" in enabled[0]) == modseqs and b"UTF8" not in enabled[0], enabled
        return words
    before = shown()
    hidden = {b"SEARCHRES", b"NOTIFY", b"CONTEXT=SEARCH", b"ESORT", b"CATENATE", b"URL-PARTIAL",
              b"OBJECTID", b"LOGIN-REFERRALS", b"STARTTLS", b"AUTH=PLAIN", b"SASL-IR"}
    assert not before & hidden and {b"IMAP4rev1", b"UIDPLUS", b"IDLE", b"MOVE", b"NAMESPACE"} <= before
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    assert shown() == before


def test_large_literals_pass_both_ways(ferry, old):
    user = new_user()
    proxy = ferry.proxy()
    body = b"Subject: large\r\n\r\n" + os.urandom(3 << 20).hex().encode() + b"\r\n"
    client = ferry.login(proxy, user, "secret")
    assert client.append("INBOX", "(\\Seen)", None, body)[0] == "OK"
    assert client.select("INBOX")[0] == "OK"
    got = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
    assert hashlib.sha256(got).hexdigest() == hashlib.sha256(body).hexdigest()


def test_sessions_go_on_although_their_mailbox_has_other_numbers_on_the_new_server(ferry, old, new):
    """In IDLE too; they are shown the numbers that they know."""
    user = new_user()
    fill(old, user, small(messages=20))
    proxy = ferry.proxy()
    with connect(proxy) as idle, connect(proxy) as resting:
        for wire in (idle, resting):
            assert wire.login(user).startswith(b"l1 OK")
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        known = resting.command(b"u", b"UID FETCH 1:* (UID)")[:-1]
        idle.line(b"i IDLE")
        idle.until(b"+")
        ferry.migrator()
        ferry.wait_state(user, "flipped")
        idle.line(b"DONE")
        assert idle.until(b"i ")[-1].startswith(b"i OK")
        for wire in (idle, resting):
            assert [x for x in wire.command(b"u", b"UID FETCH 1:* (UID)") if b" FETCH (" in x] == known
        assert ferry.where(user) == {"new"}
    client = ferry.login(proxy, user, "secret")
    assert client.append("INBOX", "", None, b"Subject: after the move\r\n\r\n")[0] == "OK"
    ours = mail.connect(new, user, "secret")
    assert ours.select("INBOX")[0] == "OK"
    assert ours.search(None, "SUBJECT", '"after the move"')[1][0]
    ours.logout()
    assert ferry.redis.client().hgetall(f"imapferry:sessions:{user}") != {}


def test_all_mailboxes_of_a_real_account(ferry, old, new):
    """Names, flags, keywords, dates, subscriptions, special-use: everything the comparer knows."""
    user = new_user()
    fill(old, user, mail.sample(seed=7, messages=400, sizes=(200, 40000)))
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, user, "secret")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 400)
