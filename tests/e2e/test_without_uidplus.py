"""A target without UIDPLUS, by `backend.capabilities`: everything is copied and compared as ever; what would have to be
removed there is named, stays, and stops the flip."""
import re

import pytest

from harness import mail
from harness.ferry import backend
from harness.scene import assert_equal, fill, new_user, read, small

MANUAL = {"migration": {"cutover": "manual"}}
HIDDEN = {"capabilities": ["-UIDPLUS", "-MULTIAPPEND"]}


@pytest.fixture
def copied(make_ferry, old, new, authority):
    """An account that was copied and waits: ferry, user, a connection to the old server."""
    user = new_user("plain")
    fill(old, user, small(messages=40))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca, **HIDDEN)}, MANUAL)
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    m = mail.connect(old, user, "secret")
    yield ferry, user, m
    m.logout()


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0


@pytest.mark.writes_source
def test_new_and_reflagged(copied, old, new):
    ferry, user, m = copied
    m.select("INBOX")
    m.store("2", "+FLAGS.SILENT", "(\\Answered)")
    m.append("INBOX", None, '"01-Mar-2021 10:00:00 +0000"', b"Subject: new\r\n\r\nnew\r\n")
    flip(ferry, user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 41)


@pytest.mark.writes_source
def test_what_has_to_be_removed_is_named_and_stays(copied, old, new):
    ferry, user, m = copied
    before = read(new, user).count
    m.select("INBOX")
    m.store("1:*", "-FLAGS.SILENT", "(\\Deleted)")
    m.store("2", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    flip(ferry, user)
    route = ferry.wait_state(user, "blocked", "backoff")
    assert re.search(r"INBOX.*removed.*UIDPLUS", route["reason"]), route["reason"]
    assert route["backend"] == "old" and read(new, user).count == before
