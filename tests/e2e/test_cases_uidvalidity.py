"""tests/CASES.md 19 to 24: numbers that change, lie, or are not told."""
import pytest

from fakes import servers
from harness.site import LETTER, letters

LAST = 2 ** 32 - 1


def renumber(site, side, user, first=500, step=3):
    server = getattr(site, side)
    with server.lock:
        box = server.box(user)
        box.uidvalidity += 1000
        for number, message in enumerate(box.messages):
            message.uid = first + step * number
        box.uidnext = first + step * len(box.messages)


def test_uidvalidity_of_the_source_that_changes_doubles_nothing(site):
    user = letters(site)
    site.copy(user)
    renumber(site, "source", user)
    site.letters(user, LETTER % 99)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 7


def test_mailbox_of_the_target_that_was_made_anew_is_copied_again(site):
    user = letters(site)
    site.copy(user)
    with site.target.lock:
        box = site.target.box(user)
        box.messages.clear()
        box.uidvalidity, box.uidnext = box.uidvalidity + 1000, 1
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and len(site.texts(user)) == 6


def test_holes_and_the_highest_uid_keep_the_order(site):
    user = site.user()
    for uid in (1, 7, 2 ** 31 - 1, 2 ** 31, LAST - 1):
        site.source.add(user, "INBOX", LETTER % uid, uid=uid)
    site.copy(user)
    site.source.add(user, "INBOX", LETTER % LAST, uid=LAST)
    site.source.box(user).uidnext = LAST
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 6


@pytest.mark.parametrize("value", [0, None])
def test_uidvalidity_of_zero_or_none_is_named(site, value):
    user = letters(site, 2)
    site.source.behave_like(user, servers.Uidvalidity(examine=value, select=value))
    site.stays(user, "source.* UIDVALIDITY")
    user = letters(site, 2)
    site.target.behave_like(user, servers.Uidvalidity(examine=value, select=value))
    site.stays(user, "target.* UIDVALIDITY")


def test_uidvalidity_that_examine_alone_lacks_is_taken_from_select(site):
    """Never is what EXAMINE shows kept."""
    user = letters(site)
    site.source.behave_like(user, *servers.courier())
    site.copy(user)
    site.letters(user, LETTER % 99)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 7


def test_equal_uidvalidity_with_other_uids_is_not_shown_again(site):
    """The tier under which clients learn the mailbox anew; test_target_faults has what they are shown."""
    user = letters(site)
    del site.source.box(user).messages[2]
    site.target.account(user)
    site.target.box(user).uidvalidity = site.source.box(user).uidvalidity
    assert site.flip(user)["tiers"] == "T3:1"
    assert site.texts(user) == site.texts(user, "source")


class Meddles(servers.Manners):
    """Somebody else delivers between our messages and their answer."""

    def accepted(self, c, box, message):
        if b"Subject: 3" in message.body:
            c.server.add(c.user, "INBOX", b"Subject: somebody else's\r\n\r\n")


def test_without_uidplus_uids_are_found_though_another_writer_is_active(site):
    user = letters(site)
    site.target.behave_like(user, servers.Offers(without=("UIDPLUS",)), Meddles())
    site.start(user, "--now")
    route = site.wait(user, "flipped", "blocked", "backoff")
    ours = [x for x in site.texts(user) if b"somebody" not in x]
    assert ours == site.texts(user, "source") and site.sent(user) == 6, route
    assert site.texts(user).count(b"Subject: somebody else's\r\n\r\n") == 1


@pytest.mark.parametrize("by", [None, 1000])
def test_false_uidplus_doubles_nothing(site, by):
    """APPENDUID lacks, or names what is not there: the messages are found by their bytes, or the account stays."""
    user = letters(site)
    site.target.behave_like(user, servers.FalseUidplus(by))
    site.start(user, "--now")
    route = site.wait(user, "flipped", "blocked", "backoff")
    if by is None:
        assert route["state"] == "flipped", route
    if route["state"] == "flipped":
        site.same(user, 6)
    assert site.sent(user) == 6 and site.texts(user) == site.texts(user, "source")
