"""A second run copies only what changed, and follows what users did meanwhile. The target is a fake that counts."""
import pytest

from fakes.fake_imap import FakeImap
from harness import compare, mail
from harness.ferry import backend
from harness.scene import assert_equal, fill, new_user, read, small

MANUAL = {"migration": {"cutover": "manual"}}


@pytest.fixture
def target():
    with FakeImap(name="new") as server:
        yield server


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    return ferry.wait_state(user, "flipped")


def appended(target):
    return sum(text.count(b" (") for text in target.commands("APPEND"))


@pytest.fixture
def copied(make_ferry, old, target, authority):
    """An account that was copied and waits for its cut-over: ferry, user, a connection to the old server."""
    user = new_user("twice")
    fill(old, user, small(messages=40))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")}, MANUAL)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "ready")
    m = mail.connect(old, user, "secret")
    yield ferry, user, m
    m.logout()


def same(old, target, user, count):
    found = [d for d in compare.compare(read(old, user), read(target, user), count) if d.kind != "special-use"]
    assert not found, "\n".join(map(str, found))


def test_nothing_changed(copied, old, target):
    ferry, user, _ = copied
    before = len(target.commands("APPEND"))
    bodies = len([c for c in target.commands("FETCH") if b"BODY" in c])
    flip(ferry, user)
    assert len(target.commands("APPEND")) == before
    assert len([c for c in target.commands("FETCH") if b"BODY" in c]) == bodies, "what was verified is not read again"
    same(old, target, user, 40)


@pytest.mark.writes_source
def test_new_message(copied, old, target):
    ferry, user, m = copied
    before = len(target.commands("APPEND"))
    m.append("INBOX", "(\\Flagged)", '"03-Feb-2021 04:05:06 +0200"', b"Subject: late\r\n\r\nlate\r\n")
    flip(ferry, user)
    assert len(target.commands("APPEND")) == before + 1
    same(old, target, user, 41)


@pytest.mark.writes_source
def test_expunged_message(copied, old, target):
    ferry, user, m = copied
    before = len(target.commands("APPEND"))
    m.select("INBOX")
    m.store("3", "+FLAGS.SILENT", "(\\Deleted)")
    m.uid("EXPUNGE", m.fetch("3", "(UID)")[1][0].split()[-1].rstrip(b")").decode())
    flip(ferry, user)
    assert len(target.commands("APPEND")) == before
    same(old, target, user, 39)
    assert not [c for c in target.commands("EXPUNGE") if b"UID EXPUNGE" not in c.upper()] and not target.commands("CLOSE")


@pytest.mark.writes_source
def test_flags_and_keywords_both_ways(copied, old, target):
    ferry, user, m = copied
    m.select("INBOX")
    m.store("1:3", "FLAGS.SILENT", "(\\Seen \\Answered later)")
    m.store("4:5", "FLAGS.SILENT", "()")
    before = len(target.commands("APPEND"))
    flip(ferry, user)
    assert len(target.commands("APPEND")) == before
    same(old, target, user, 40)


@pytest.mark.writes_source
def test_moved_message_and_new_mailbox(copied, old, target):
    ferry, user, m = copied
    m.create("INBOX.Fresh")
    m.subscribe("INBOX.Fresh")
    m.select("INBOX")
    m.uid("MOVE", m.fetch("2", "(UID)")[1][0].split()[-1].rstrip(b")").decode(), "INBOX.Fresh")
    flip(ferry, user)
    same(old, target, user, 40)


def test_uidvalidity_of_the_target_changed(copied, old, target):
    """Somebody made the mailbox anew: what was known of it is void, and it is copied again, once."""
    ferry, user, _ = copied
    with target.lock:
        box = target.account(user)[b"Sent"]
        assert box.messages
        box.messages.clear()
        box.uidvalidity += 100000
        box.uidnext = 1
    flip(ferry, user)
    same(old, target, user, 40)


def test_message_that_vanished_from_the_target(copied, old, target):
    ferry, user, _ = copied
    with target.lock:
        box = target.account(user)[b"INBOX"]
        del box.messages[-1]
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    route = ferry.wait_state(user, "flipped", "blocked", "backoff", "ready")
    if route["state"] == "flipped":
        same(old, target, user, 40)
    else:
        assert "INBOX" in route["reason"] and route["backend"] == "old", route


@pytest.mark.writes_source
def test_there_and_back_and_there_again(make_ferry, backends, old, new):
    """Sent back by force, released, migrated once more: nothing twice."""
    user = new_user("again")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends)
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, user, "secret")
    ferry.wait_state(user, "flipped")
    assert ferry.ctl("flip", user, "--to", "old", "--force", "--reason", "test")[0] == 0
    route = ferry.wait_state(user, "held")
    assert route["backend"] == "old"
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "", None, b"Subject: written after the way back\r\n\r\n")
    m.logout()
    assert ferry.ctl("release", user)[0] == 0
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 21)
