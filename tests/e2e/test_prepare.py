"""The sign-ins at the new server before a freeze: nobody waits for them, and what they show ends an attempt early."""
import re

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from fakes.manners import Manners
from fakes.protocol import Gone, Refused
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.relay import Relay
from harness.scene import assert_equal, connect, fill, new_user, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}


@pytest.fixture(scope="module", name="strict")
def strict_server(cert):
    """The new server, where users have passwords of their own."""
    with Dovecot("strict", separator="/", mail="mdbox", cert=cert, anybody=False) as server:
        yield server


def ready(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    return ferry.wait_state(user, "ready")


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0


def states(ferry, user):
    return [e["state"] for _, e in ferry.redis.client().xrange("imapferry:events")
            if e.get("user") == user and e["kind"] == "state"]


def signed_in(proxy, user):
    wire = connect(proxy)
    assert wire.login(user).startswith(b"l1 OK")
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    return wire


def test_target_that_refuses_the_user_ends_the_attempt_before_anybody_rests(make_ferry, old, strict, authority):
    user = new_user("refused")
    fill(old, user, small(messages=3))
    strict.set_users({user: "another password"})
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(strict, ca=authority.ca)}, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator(migrator={"retry_min": "1m", "retry_max": "1m"})
    ready(ferry, user)
    with signed_in(proxy, user) as wire:
        flip(ferry, user)
        route = ferry.wait_state(user, "backoff")
        assert route["backend"] == "old" and route["reason"].startswith("refused: new does not let the user in"), route
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert "preparing" in states(ferry, user) and "freezing" not in states(ferry, user)
    assert "secret" not in proxy.tail(1000)


def test_password_that_was_changed_since_holds_nobody_up(make_ferry, cert, strict, authority):
    """The session's own password is not good at the old server either: it ends at the flip, and the account moves."""
    user = new_user("changed")
    with Dovecot("strictold", separator=".", prefix="INBOX.", cert=cert, anybody=False, users={user: "secret"}) as old:
        fill(old, user, small(messages=3))
        strict.set_users({user: "fresh password"})
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(strict, ca=authority.ca)}, MANUAL)
        proxy = ferry.proxy()
        ferry.migrator()
        with signed_in(proxy, user) as wire:
            old.set_users({user: "fresh password"})
            ready(ferry, user)
            flip(ferry, user)
            assert wire.rest()[-1].startswith(b"* BYE [UNAVAILABLE]")
        ferry.wait_state(user, "flipped")
        assert proxy.wait("event=prepare .*step=unfit why=old_password")
        assert_equal(old, strict, user, 3, password="fresh password")


def test_target_that_does_not_answer_freezes_nobody(make_ferry, old, new, authority):
    user = new_user("stalled")
    fill(old, user, small(messages=3))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": dict(MANUAL["migration"], freeze_budget="1s")})
    proxy = ferry.proxy(backends={"new": backend(relay, "imap")})
    ferry.migrator(migrator={"retry_min": "1m", "retry_max": "1m"})
    with signed_in(proxy, user) as wire:
        ready(ferry, user)
        relay.stall()
        flip(ferry, user)
        ferry.wait_state(user, "preparing")
        for n in range(20):
            assert wire.command(b"n%d" % n, b"NOOP")[-1].startswith(b"n%d OK" % n)
        route = ferry.wait_state(user, "backoff")
        assert route["backend"] == "old" and route["reason"].startswith("sessions: 1 session could not be signed in at new")
        assert wire.command(b"z", b"NOOP")[-1].startswith(b"z OK")
    assert "freezing" not in states(ferry, user)
    relay.close()


def test_login_while_others_are_signed_in_is_signed_in_too(make_ferry, old, new, authority):
    user = new_user("late")
    fill(old, user, small(messages=3))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, MANUAL)
    proxy = ferry.proxy(backends={"new": backend(relay, "imap")})
    ferry.migrator()
    with signed_in(proxy, user):
        ready(ferry, user)
        relay.stall()
        flip(ferry, user)
        ferry.wait_state(user, "preparing")
        with signed_in(proxy, user):
            relay.resume()
            ferry.wait_state(user, "flipped")
            sessions = ferry.redis.client().xrange("imapferry:events")
            assert len([1 for _, e in sessions if e["user"] == user and e["kind"] == "prepared"]) == 2
    relay.close()


def test_sign_in_by_master_needs_no_password_of_the_user(make_ferry, old, strict, authority):
    user = new_user("master")
    fill(old, user, small(messages=3))
    strict.set_users({user: "another password"})
    ferry = make_ferry({"old": backend(old, ca=authority.ca),
                        "new": backend(strict, ca=authority.ca, sign_in="master")}, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator()
    with signed_in(proxy, user):
        ready(ferry, user)
        flip(ferry, user)
        ferry.wait_state(user, "flipped")
    assert proxy.wait("event=prepare .*step=ready")


class Opens(Manners):
    """What the new server does when a proxy opens a mailbox there before the freeze."""

    def __init__(self, error=None):
        self.error = error

    def command(self, c, verb, args):
        if verb == b"EXAMINE" and c.tag.startswith(b"W") and self.error:
            raise self.error


@pytest.mark.parametrize("without, leaves", [("", b"UNSELECT"), (" UNSELECT", b"CLOSE")])
@pytest.mark.parametrize("error", [None, Refused("NO it is not there"), Gone()], ids=["opened", "not_there", "lost"])
def test_mailbox_is_opened_once_before_anybody_rests(make_ferry, error, without, leaves):
    user = new_user("warm")
    offered = CAPABILITIES.replace(without, "")
    with FakeImap("old", capabilities=offered) as old, FakeImap("new", capabilities=offered) as new:
        for n in range(3):
            old.add(user, "INBOX", b"Subject: %d\r\n\r\n" % n)
        new.box(user).uidvalidity = old.box(user).uidvalidity
        new.behave_like(user, Opens(error))
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")}, MANUAL)
        proxy = ferry.proxy()
        ferry.migrator()
        ready(ferry, user)
        with signed_in(proxy, user) as wire:
            flip(ferry, user)
            ferry.wait_state(user, "flipped")
            assert proxy.wait(r"event=handed_over\b.*messages=3")
            assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        said = [re.sub(rb"^W\w+[ab] ", b"", line) for line in new.commands("", user) if line.startswith(b"W")]
        assert said == [b"EXAMINE INBOX"] + ([leaves] if not error else [])
        opened = [i for i, line in enumerate(new.commands("", user)) if re.match(rb"[WF]\w+ (EXAMINE|SELECT)", line)]
        assert len(opened) == 2, "opened for the client, and once before"
        assert bool(proxy.find("event=prepare_lost .*it closed the connection")) == isinstance(error, Gone)
