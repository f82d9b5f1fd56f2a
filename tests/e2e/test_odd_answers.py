"""Servers whose answers break the rules: what can be set apart goes on, the rest is named, and nothing is retried for ever or
takes a migrator down."""
import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.site import Site

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new")) as s:
        yield s


def letters(site, count=3, **more):
    return site.letters(site.user(), *(LETTER % i for i in range(count)), **more)


def mended(site, user):
    """A retry of its own may have been faster."""
    site.ferry.ctl("retry", user)
    site.wait(user, "flipped")


# ---- bodies that are not the ones that were asked for

def body(message):
    return b"BODY[] {%d}\r\n%s" % (len(message.body), message.body)


def without_uid(c, number, message, items):
    return b"* %d FETCH (%s)\r\n" % (number, body(message))


def other_uid_before(c, number, message, items):
    return b"* %d FETCH (UID %d %s)\r\n" % (number, message.uid + 77, body(message))


def other_uid_behind(c, number, message, items):
    return b"* %d FETCH (%s UID %d)\r\n" % (number, body(message), message.uid + 77)


def two_bodies(c, number, message, items):
    return b"* %d FETCH (UID %d %s %s)\r\n" % (number, message.uid, body(message), body(message))


def literal_and_quoted(c, number, message, items):
    return b'* %d FETCH (UID %d %s BODY[] "short")\r\n' % (number, message.uid, body(message))


def behind_the_list(c, number, message, items):
    return b"* %d FETCH (UID %d) %s\r\n" % (number, message.uid, body(message))


def uid_that_is_none(c, number, message, items):
    return b"* %d FETCH (UID (4) %s)\r\n" % (number, body(message))


def of_message(uid, of):
    return lambda c, number, message, items: of(c, number, message, items) if message.uid == uid else None


WRONG_BODIES = [without_uid, other_uid_before, other_uid_behind, two_bodies, literal_and_quoted, uid_that_is_none]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("of", WRONG_BODIES)
def test_body_that_is_not_the_one_that_was_asked_for_is_named(site, of, count):
    """It may be another message's: nothing of it is stored, and the migrator lives."""
    user = letters(site, count)
    site.source.behave_like(user, servers.Answers(of_message(count, of), bodies=True))
    site.stays(user, f'"INBOX": .*UID {count}: the source ')
    assert site.texts(user) in ([LETTER % i for i in range(n)] for n in range(count))
    site.source.behave_like(user)
    site.source.drop_all()
    mended(site, user)
    assert site.texts(user) == site.texts(user, "source")


def test_body_that_comes_twice_is_taken_once(site):
    def twice(c, number, message, items):
        one = b"* %d FETCH (UID %d %s)\r\n" % (number, message.uid, body(message))
        return one + one
    user = letters(site)
    site.source.behave_like(user, servers.Answers(twice, bodies=True))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 3


def test_body_that_comes_behind_the_tagged_ok_is_nobodys(site):
    user = letters(site)
    site.source.behave_like(user, servers.Answers(of_message(3, lambda c, number, message, items: b"* %d FETCH (UID %d %s)\r\n" % (
        number, message.uid, body(message))), bodies=True, late=True))
    site.stays(user, '"INBOX": .*UID 3: the source does not give it')
    assert site.texts(user) == [LETTER % 0, LETTER % 1]
