"""A target that does not keep what it was given: the flip is refused with that reason, the user stays on the old server
and keeps working, and the comparer, which knows nothing of ours, sees the same fault."""
import re

import pytest

from fakes.fake_imap import FakeImap
from harness import compare, mail
from harness.ferry import backend
from harness.scene import fill, new_user, read, separator, small

# fault -> its options, what the reason says of it, what the comparer calls it. Two messages that changed places differ
# in their bytes where they now are.
FAULTS = {
    "alter": ({"mailbox": "INBOX", "n": 3}, r'"INBOX": UID 3: bytes differ \(target UID 3\)$', "body"),
    "drop_flag": ({}, r'": UID \d+: flags differ: source \(.*\\\w+.*\) target \(', "flags"),
    "drop_keyword": ({}, r'": UID \d+: flags differ: source \(.*\$?\w+.*\) target \(', "keywords"),
    "shift_date": ({"mailbox": "INBOX", "n": 2}, r'"INBOX": UID 2: date differs: source ".*" target ".*"$', "date"),
    "swap": ({"mailbox": "INBOX", "n": 2},
             r'"INBOX": (UID [23]: bytes differ \(target UID [23]\)(; |$)){2}|"INBOX": UID \d: out of order', "order"),
    "hide": ({"mailbox": "INBOX", "n": 3}, r'"INBOX": UID 3: missing on the target', "missing"),
}


@pytest.fixture
def target():
    with FakeImap(name="new") as server:
        yield server


@pytest.fixture
def ferry(make_ferry, old, target, authority):
    return make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")})


def kinds(old, target, user):
    return {d.kind for d in compare.compare(read(old, user), read(target, user))} - {"special-use"}


@pytest.mark.parametrize("fault", FAULTS)
def test_flip_is_refused(make_ferry, old, target, authority, fault):
    """The next try is an hour off: it would mend a lost flag, and clear the reason while it runs."""
    options, reason, kind = FAULTS[fault]
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")},
                       {"migrator": {"retry_min": "1h", "retry_max": "1h"}})
    user = new_user(fault.replace("_", "-"))
    fill(old, user, small(messages=40))
    target.misbehave(fault, times=1, **options)
    proxy = ferry.proxy()
    ferry.login(proxy, user, "secret")
    ferry.migrator()
    route = ferry.wait_state(user, "blocked", "backoff")
    assert re.match("differs: mailbox .*" + reason, route["reason"]), route["reason"]
    assert route["backend"] == "old"
    assert kind in kinds(old, target, user)
    client = ferry.login(proxy, user, "secret")
    assert separator(client) == "."
    assert client.select("INBOX")[0] == "OK"
    assert ferry.user(user)["reason"] == ferry.route(user)["reason"] != ""


def test_foreign_message_between_the_copies_is_kept(ferry, old, target):
    """It is the user's too, and the order among the copies is what it was; it lies behind them at the end."""
    user = new_user()
    fill(old, user, small(messages=40))
    target.misbehave("foreign", mailbox="INBOX", n=3, times=1)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert kinds(old, target, user) == {"extra"}


def test_without_a_fault_the_fake_target_is_taken(ferry, old, target):
    user = new_user()
    fill(old, user, small(messages=40))
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert kinds(old, target, user) == set()


def test_message_that_the_target_refuses_is_named(ferry, old, target):
    user = new_user()
    fill(old, user, small(messages=40))
    target.misbehave("refuse", mailbox="INBOX", n=4)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    route = ferry.wait_state(user, "blocked", "backoff")
    assert re.search(r"^cannot: .*INBOX.*(UID|message)", route["reason"]), route["reason"]


def test_quota_is_tried_again_and_ends_without_doubles(ferry, old, target):
    user = new_user()
    fill(old, user, small(messages=40))
    target.misbehave("overquota", mailbox=None, n=5)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    route = ferry.wait_state(user, "blocked", "backoff")
    assert "OVERQUOTA" in route["reason"] or "quota" in route["reason"].lower(), route["reason"]
    target.behave()
    if ferry.route(user)["state"] == "blocked":
        assert ferry.ctl("retry", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert kinds(old, target, user) == set()


def test_keywords_that_the_target_does_not_keep_stop_the_flip(ferry, old, target):
    user = new_user()
    fill(old, user, small(messages=40))
    target.misbehave("no_new_keywords")
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    route = ferry.wait_state(user, "blocked", "backoff")
    assert re.search(r"^cannot: .*INBOX.*\$Forwarded", route["reason"]), route["reason"]


@pytest.mark.parametrize("kind", ["lose_ok", "land_late"])
def test_append_whose_answer_was_lost_is_not_repeated(ferry, old, target, kind):
    """Stored though the answer never came; or stored when nobody counts on it any more."""
    user = new_user(kind.replace("_", "-"))
    fill(old, user, small(messages=40))
    target.misbehave(kind, mailbox="INBOX", n=1, times=1)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    if kind == "land_late":
        target.wait("APPEND that hangs in the air", lambda: target.late)
        target.land()
    ferry.wait_state(user, "flipped")
    assert kinds(old, target, user) == set()
    if kind == "lose_ok":
        sent = sum(box.appended for box in target.account(user).values())
        assert sent == 40, f"{sent} messages were sent"


def test_source_that_breaks_off_inside_a_message(make_ferry, new, authority):
    """No short mail is ever stored; the next try copies it whole."""
    user = new_user()
    with FakeImap(name="old", separator="/") as source:
        mail.load(small(messages=30), m := mail.connect(source, user, "secret"))
        m.logout()
        source.account(user)[b"INBOX"].messages[3].short = True
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
        ferry.login(ferry.proxy(), user, "secret")
        ferry.migrator()
        route = ferry.wait_state(user, "backoff")
        assert re.search(r"^(unreachable|refused|differs|cannot): ", route["reason"]), route["reason"]
        source.account(user)[b"INBOX"].messages[3].short = False
        ferry.wait_state(user, "flipped")
        found = [d for d in compare.compare(read(source, user), read(new, user), 30) if d.kind != "special-use"]
        assert not found, found


@pytest.mark.parametrize("how", ["nil", "omitted"])
def test_source_that_lists_a_message_and_does_not_give_it(make_ferry, new, authority, how):
    user = new_user()
    with FakeImap(name="old") as source:
        mail.load(small(messages=30), m := mail.connect(source, user, "secret"))
        m.logout()
        setattr(source.account(user)[b"INBOX"].messages[3], how, True)
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
        ferry.login(ferry.proxy(), user, "secret")
        ferry.migrator()
        route = ferry.wait_state(user, "blocked", "backoff")
        assert route["backend"] == "old" and "INBOX" in route["reason"], route["reason"]


def test_equal_uidvalidity_with_other_uids(ferry, old, target):
    """Clients are shown another one, and learn the mailbox anew."""
    user = new_user()
    fill(old, user, small(messages=40))
    m = mail.connect(old, user, "secret")
    uidvalidity = int(m.status("INBOX", "(UIDVALIDITY)")[1][0].split()[-1].rstrip(b")"))
    m.select("INBOX")
    m.store("2", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.logout()
    target.account(user)[b"INBOX"].uidvalidity = uidvalidity
    proxy = ferry.proxy()
    ferry.login(proxy, user, "secret")
    migrator = ferry.migrator()
    ferry.wait_state(user, "flipped")
    migrator.wait(r'event=uids_differ user=%s detail="\\"INBOX\\" has UIDVALIDITY %d on both' % (re.escape(user), uidvalidity))
    client = ferry.login(proxy, user, "secret")
    assert client.select("INBOX")[0] == "OK"
    assert int(client.response("UIDVALIDITY")[1][0]) == uidvalidity + 1
    client.logout()
