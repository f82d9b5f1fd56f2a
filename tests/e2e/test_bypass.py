"""Something writes at the old server past the proxy while an account stands still: the account is not switched over, and
says why. Mail that is delivered there in that time stops nothing."""
import contextlib
import signal

import pytest

from harness import mail, net
from harness.courier import Courier
from harness.ferry import backend
from harness.scene import assert_equal, connect, differences, fill, new_user, small

pytestmark = pytest.mark.writes_source

MANUAL = {"migration": {"trigger": "login", "cutover": "manual", "freeze_budget": "30s",
                        "late_watch": "5s"},
          "migrator": {"job_lease": "30s", "command_timeout": "30s", "retry_min": "300ms"}}
HOLD = "bypass.sent:1:stop"


@pytest.fixture(scope="module")
def courier(cert):
    with Courier("courier", cert=cert) as server:
        yield server


def section(server, authority):
    """Courier has no master user: the migrator comes with the password that the proxy sealed."""
    return backend(server, ca=authority.ca, master=not isinstance(server, Courier))


@contextlib.contextmanager
def standing_still(make_ferry, old, new, authority):
    """(ferry, user, a session, go_on): the account is in the freeze, its last pass is over, and the migrator stands."""
    user = new_user("bypassed")
    fill(old, user, small(messages=20))
    ferry = make_ferry({"old": section(old, authority), "new": backend(new, ca=authority.ca)}, MANUAL)
    ferry.seal_keys()
    proxy = ferry.proxy()
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": HOLD})
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        ferry.wait_state(user, "ready")
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
        net.wait_until(HOLD, migrator.is_stopped, timeout=40)
        try:
            assert ferry.route(user)["state"] == "freezing"
            yield ferry, user, wire, lambda: migrator.signal(signal.SIGCONT)
        finally:
            migrator.signal(signal.SIGCONT)


def source(old, user, mailbox="INBOX"):
    m = mail.connect(old, user, "secret")
    assert m.select(mailbox)[0] == "OK"
    return m


def store_flags(old, user):
    m = source(old, user)
    assert m.uid("STORE", "3", "+FLAGS", "($Bypass)")[0] == "OK"
    m.logout()


def expunge(old, user):
    m = source(old, user)
    assert m.uid("STORE", "2", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert m.expunge()[0] == "OK"
    m.logout()


def deliver(old, user):
    m = source(old, user)
    assert m.append("INBOX", "", None, b"Subject: delivered\r\n\r\nbody\r\n")[0] == "OK"
    m.logout()


def expunge_and_deliver(old, user):
    expunge(old, user)
    deliver(old, user)


def in_another_mailbox(old, user):
    name = '"Sent"' if not old.prefix else f'"{old.prefix}Sent"'
    m = source(old, user, name)
    assert m.store("1", "+FLAGS", "($Bypass)")[0] == "OK"
    m.logout()


def rename(old, user):
    m = source(old, user)
    assert m.rename(f'"{old.prefix}Sent"', f'"{old.prefix}Elsewhere"')[0] == "OK"
    m.logout()


def same(old, new, user):
    """Courier has no special uses."""
    return not [d for d in differences(old, new, user) if d.kind != "special-use"]


WAYS = [(store_flags, '"INBOX" was changed: other flags'), (expunge, '"INBOX" was changed: messages are gone'),
        (expunge_and_deliver, '"INBOX" was changed'), (in_another_mailbox, 'Sent" was changed: other flags'),
        (rename, "is gone, or can't be opened")]


def aborts(ferry, user, wire, go_on, old, new, write, reason):
    write(old, user)
    go_on()
    net.wait_until("the reason", lambda: ferry.route(user).get("reason", "").startswith("bypass: "))
    assert reason in ferry.route(user)["reason"], ferry.route(user)
    assert ferry.route(user)["backend"] == "old"
    # The user works on where they were; and the account moves later, with what was changed.
    assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    if ferry.wait_state(user, "flipped", "settled", "ready", timeout=60)["state"] == "ready":
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "again")[0] == 0
        ferry.wait_state(user, "flipped", "settled", timeout=60)
    assert same(old, new, user)


@pytest.mark.parametrize("write,reason", WAYS, ids=lambda x: getattr(x, "__name__", ""))
def test_what_changes_past_the_proxy_aborts(make_ferry, old, new, authority, write, reason):
    with standing_still(make_ferry, old, new, authority) as (ferry, user, wire, go_on):
        aborts(ferry, user, wire, go_on, old, new, write, reason)


@pytest.mark.parametrize("write", [store_flags, expunge, in_another_mailbox])
def test_without_condstore_too(make_ferry, courier, new, authority, write):
    reason = 'Sent" was changed' if write is in_another_mailbox else '"INBOX" was changed'
    with standing_still(make_ferry, courier, new, authority) as (ferry, user, wire, go_on):
        aborts(ferry, user, wire, go_on, courier, new, write, reason)


@pytest.mark.parametrize("kind", ["dovecot", "courier"])
def test_a_delivery_stops_nothing(request, make_ferry, old, new, authority, kind):
    """It is brought over by the late watch."""
    server = request.getfixturevalue("courier") if kind == "courier" else old
    with standing_still(make_ferry, server, new, authority) as (ferry, user, _, go_on):
        deliver(server, user)
        go_on()
        route = ferry.wait_state(user, "flipped", "settled", "ready", "backoff")
        assert route["state"] in ("flipped", "settled"), route
        net.wait_until("what was delivered", lambda: same(server, new, user), timeout=60)


def test_nothing_is_found_where_nothing_was_done(make_ferry, old, new, authority):
    with standing_still(make_ferry, old, new, authority) as (ferry, user, _, go_on):
        go_on()
        ferry.wait_state(user, "flipped", "settled")
        found = ferry.daemons[-1].wait(r"event=looked_again.*mailboxes=(\d+) closer=(\d+)")
        assert int(found.group(1)) > 1 and found.group(2) == "0", found.group(0)
        assert_equal(old, new, user, 20)
