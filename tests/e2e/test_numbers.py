"""Copies that get the UIDs of their messages, by fillers (migration.t1_max_gaps), on real servers and on ones that lie."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import CAPABILITIES, FakeImap, Message
from fakes.manners import Manners
from harness import dovecot, mail, net
from harness.courier import Courier
from harness.cyrus import Cyrus
from harness.site import Site

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"
GAPS = {"migration": {"t1_max_gaps": 3000}}
SINGLE = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE NAMESPACE UIDPLUS SPECIAL-USE LIST-EXTENDED UNSELECT IDLE"
TARGETS = {"dovecot": lambda: dovecot.Dovecot("new"), "mdbox": lambda: dovecot.Dovecot("mdbox", mail="mdbox"),
           "single": lambda: dovecot.Dovecot("single", capability=SINGLE), "cyrus": lambda: Cyrus("cyrus"),
           "courier": lambda: Courier("courier")}


@pytest.fixture(scope="module", params=TARGETS)
def real(request, old):
    """Courier has no master user: there what the proxy seals serves, and a login sets the migration off."""
    target = TARGETS[request.param]()
    net.wait_next_second()
    courier = isinstance(target, Courier)
    settings = {"migration": {**GAPS["migration"], "trigger": "login" if courier else "manual"},
                "migrator": {"command_timeout": "10s"}}
    with Site(old, target, settings, writes_source=True, keep=True, new={"master": not courier}) as s:
        s.proxy = None
        if courier:
            s.migrator.stop()
            s.ferry.seal_keys()
            s.migrator, s.proxy = s.ferry.migrator(), s.ferry.proxy()
        yield s
    target.close()


def copied(site, user):
    if site.proxy:
        site.ferry.login(site.proxy, user, "secret").logout()
        site.wait(user, "ready")
    else:
        site.copy(user)


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {**GAPS, "migrator": {"command_timeout": "1s", "retry_min": "200ms",
                                                                       "retry_max": "400ms"}}) as s:
        yield s


def numbers(m, name="INBOX"):
    """(UIDs, UIDNEXT)"""
    uidnext = int(re.search(rb"UIDNEXT (\d+)", m.status(mail.quoted(name), "(UIDNEXT)")[1][0]).group(1))
    m.select(mail.quoted(name), readonly=True)
    uids = [int(uid) for uid in m.uid("SEARCH", "ALL")[1][0].split()]
    m.unselect() if "UNSELECT" in m.capabilities else m.close()
    return uids, uidnext


def expunge(m, name, uids):
    m.select(mail.quoted(name))
    m.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.close()


def letters(m, name, first, count):
    mail.append(m, name, [mail.Message(("INBOX",), LETTER % n) for n in range(first, first + count)])


def logged(site, user, event):
    return [line for line in site.migrator.lines() if f"event={event}" in line]


def test_every_gap_is_filled(real):
    """At the start, in the middle, at the end, in a mailbox that is empty; and what comes and goes between the passes."""
    user = real.user("gaps")
    m = real.connect(user)
    m.create("INBOX.Empty")
    letters(m, "INBOX", 0, 60)
    letters(m, "INBOX.Empty", 0, 5)
    expunge(m, "INBOX", "1:7,9,20:44,58:60")
    expunge(m, "INBOX.Empty", "1:5")
    before = numbers(m)
    assert before[1] == 61 and before[0][0] == 8 and before[0][-1] == 57
    copied(real, user)
    t = real.connect(user, "target")
    empty = "INBOX.Empty" if isinstance(real.target, Courier) else "Empty"
    assert numbers(t) == before
    assert numbers(t, empty) == ([], 6) == numbers(m, "INBOX.Empty")
    letters(m, "INBOX", 60, 10)
    expunge(m, "INBOX", "10:12,61:63,66,70")
    letters(m, "INBOX.Empty", 10, 2)
    expunge(m, "INBOX.Empty", "7")
    real.flip(user)
    assert numbers(t) == numbers(m)
    assert numbers(t, empty) == ([6], 8) == numbers(m, "INBOX.Empty")
    real.same(user, 20)
    m.logout()
    t.logout()


def test_long_gap_by_several_appends(real):
    user = real.user("long")
    m = real.connect(user)
    letters(m, "INBOX", 0, 1300)
    expunge(m, "INBOX", "2:1299")
    copied(real, user)
    real.flip(user)
    t = real.connect(user, "target")
    assert numbers(t) == numbers(m) == ([1, 1300], 1301)
    m.logout()
    t.logout()
