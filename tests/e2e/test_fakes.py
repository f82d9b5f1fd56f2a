"""The fake server: an account on it equals the same one on Dovecot, and each fault is one that the comparer sees."""
import imaplib
import itertools

import pytest

from fakes.fake_imap import FakeImap
from harness import compare, mail

BOXES = [("INBOX",), ("Sent",), ("Archive", "2019"), ("Ämter",)]
_number = itertools.count()


@pytest.fixture
def fake():
    with FakeImap() as server:
        yield server


@pytest.fixture
def account():
    return mail.sample(seed=5, messages=30, mailboxes=BOXES, sizes=(300, 3000))


def loaded(server, account, user, prefix="", separator="/"):
    m = mail.connect(server, user, "secret")
    mail.load(account, m, prefix, separator)
    return m


def compared(old, fake, account):
    user = f"fake{next(_number)}"
    a = loaded(old, account, user, old.prefix, old.separator)
    b = loaded(fake, account, user)
    found, _, _ = compare.compare_connections(a, b, 0)
    a.logout()
    return {d.kind for d in found} - {"special-use"}  # the fake has no mailboxes with a use of its own


def test_equal_to_dovecot(old, fake, account):
    assert compared(old, fake, account) == set()


@pytest.mark.parametrize("fault,kinds", [
    ("alter", {"body"}), ("drop_flag", {"flags"}), ("drop_keyword", {"keywords"}), ("shift_date", {"date"}),
    ("swap", {"order"}), ("hide", {"missing"}), ("foreign", {"extra"}),
])
def test_comparer_sees_each_fault(old, fake, account, fault, kinds):
    options = {} if fault.startswith("drop") else {"mailbox": "INBOX", "n": 3}
    fake.misbehave(fault, times=1, **options)
    assert compared(old, fake, account) == kinds


def test_comparer_breaks_on_a_message_that_is_counted_and_not_listed(old, fake, account):
    fake.misbehave("omit", mailbox="INBOX")
    with pytest.raises(compare.Broken, match="are listed"):
        compared(old, fake, account)


@pytest.mark.parametrize("at", ["greeting", "login", "select", "fetch_literal"])
def test_hang_and_close(fake, at):
    fake.add("ann", "INBOX", b"Subject: x\r\n\r\nbody\r\n")

    def read():
        m = imaplib.IMAP4(fake.host, fake.port["imap"], timeout=0.5)
        m.login("ann", "secret")
        m.select()
        return m.fetch("1", "(BODY.PEEK[])")
    assert read()[0] == "OK"
    for kind, error in (("hang", TimeoutError), ("close", imaplib.IMAP4.abort)):
        fake.behave()
        fake.misbehave(kind, at=at)
        with pytest.raises(error):
            read()


def test_lost_answer_and_late_landing(fake):
    for kind, stored in (("lose_ok", 1), ("land_late", 0)):
        fake.behave()
        fake.misbehave(kind, n=1, mailbox="INBOX", times=1)
        user = f"late-{kind}"
        m = mail.connect(fake, user, "secret")
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            m.append("INBOX", "", None, b"Subject: x\r\n\r\n")
        assert len(fake.account(user)[b"INBOX"].messages) == stored
        fake.land()
        assert len(fake.account(user)[b"INBOX"].messages) == 1


def test_heard(fake):
    m = imaplib.IMAP4(fake.host, fake.port["imap"], timeout=5)
    assert not fake.heard(b"secret")
    m.authenticate("PLAIN", lambda _: b"\0ann\0secret")
    assert fake.heard(b"secret") and fake.logins == [("ann", "user")]
