"""A UIDVALIDITY that changes, on either side, between two runs: nothing that the ledger says of that mailbox holds any more,
so copies are found again by their bytes; what is there is not copied twice, and what is gone is copied again."""
import dataclasses

import pytest

from harness import mail
from harness.scene import assert_equal, differences, fill, new_user, read, small

pytestmark = pytest.mark.writes_source
MANUAL = {"migration": {"cutover": "manual"}}
COUNT = 43


def account():
    """With doubles in INBOX, side by side and apart."""
    a = small(seed=21, messages=40)
    inbox = [m for m in a.messages if m.mailbox == ("INBOX",)]
    a.messages += [dataclasses.replace(inbox[0]), dataclasses.replace(inbox[2]), dataclasses.replace(inbox[2])]
    return a


@pytest.fixture
def copied(make_ferry, backends, old):
    """An account that was copied and waits for its cut-over: ferry, user."""
    user = new_user("validity")
    fill(old, user, account())
    ferry = make_ferry(backends, MANUAL)
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    return ferry, user


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")


def numbers(server, user, name):
    """(UIDVALIDITY, [UID]) of a mailbox."""
    m = mail.connect(server, user, "secret")
    status = m.status(name, "(UIDVALIDITY)")[1][0]
    m.select(name, readonly=True)
    uids = [int(u) for u in m.uid("SEARCH", None, "ALL")[1][0].split()]
    m.logout()
    return int(status.split()[-1].rstrip(b")")), uids


def renumber(server, user, name, uidvalidity=4000000000):
    before = numbers(server, user, name)
    server.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(uidvalidity), name)
    after = numbers(server, user, name)
    assert after[0] == uidvalidity != before[0], (before, after)
    return before, after


def change(old, user):
    """One more, one less, one re-flagged; the double of a double among those that go."""
    m = mail.connect(old, user, "secret")
    count = int(m.select("INBOX")[1][0])
    m.store("3", "+FLAGS.SILENT", "(\\Flagged renumbered)")
    m.store(str(count), "+FLAGS.SILENT", "(\\Deleted)")
    m.store("1", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.append("INBOX", None, '"01-Mar-2021 10:00:00 +0000"', b"Subject: new\r\n\r\nnew\r\n")
    m.append("INBOX", None, '"01-Mar-2021 10:00:00 +0000"', b"Subject: new\r\n\r\nnew\r\n")
    m.logout()


def test_source(copied, old, new):
    """Nothing is copied again: the copies keep their UIDs."""
    ferry, user = copied
    before = numbers(new, user, "INBOX")
    renumber(old, user, "INBOX")
    flip(ferry, user)
    assert numbers(new, user, "INBOX") == before
    assert_equal(old, new, user, COUNT)


def test_source_and_messages(copied, old, new):
    """New numbers and changes at once: nothing lacks and nothing is copied twice. Copies whose message went meanwhile can't be
    told from foreign messages any more, since no number names them: they stay."""
    ferry, user = copied
    before = numbers(old, user, "INBOX")[1]
    renumber(old, user, "INBOX")
    change(old, user)
    gone = len(before) - (len(numbers(old, user, "INBOX")[1]) - 2)
    flip(ferry, user)
    found = differences(old, new, user)
    assert [d.kind for d in found] == ["extra"] * gone, found


def test_target(copied, old, new):
    ferry, user = copied
    before, after = renumber(new, user, "INBOX")
    assert before[1] == after[1]
    flip(ferry, user)
    assert numbers(new, user, "INBOX") == after
    assert_equal(old, new, user, COUNT)


def test_both(copied, old, new):
    ferry, user = copied
    renumber(old, user, "INBOX", 4000000001)
    _, after = renumber(new, user, "INBOX")
    flip(ferry, user)
    assert numbers(new, user, "INBOX") == after
    assert_equal(old, new, user, COUNT)


@pytest.mark.parametrize("again", [True, False])
def test_target_mailbox_was_deleted(copied, old, new, again):
    """And made again, by somebody, or not: it is copied anew."""
    ferry, user = copied
    m = mail.connect(new, user, "secret")
    names = [levels for levels, box in read(new, user).mailboxes.items() if box.messages and levels != ("INBOX",)]
    name = mail.quoted(read(new, user).mailboxes[names[0]].name)
    assert m.delete(name)[0] == "OK"
    if again:
        assert m.create(name)[0] == "OK"
    m.logout()
    flip(ferry, user)
    assert_equal(old, new, user, COUNT)
