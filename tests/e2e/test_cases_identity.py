"""tests/CASES.md 1 to 10: which message is which, and whether it is all there."""
import pytest

from fakes import servers
from harness.site import LETTER

SAME = b"Received: from a by b; Tue, 3 Mar 2015 10:00:00 +0100\r\nMessage-ID: <same@example.org>\r\nSubject: x\r\n\r\n"


def numbered(count):
    return [LETTER % i for i in range(count)]


def test_same_message_id_and_received_with_other_bodies_are_two_messages(site):
    user = site.letters(site.user(), SAME + b"one\r\n", SAME + b"two\r\n")
    site.move(user)
    assert site.texts(user) == [SAME + b"one\r\n", SAME + b"two\r\n"]


def test_identical_messages_stay_two_and_never_become_three(site):
    user = site.letters(site.user(), SAME, SAME, b"Subject: other\r\n\r\n", SAME)
    site.copy(user)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 4


def test_same_message_in_two_mailboxes_is_looked_for_in_each(site):
    """It is lost in the second one and can't be brought back: that the first one has it does not count."""
    user = site.letters(site.user(), SAME)
    site.letters(user, SAME, SAME, name="Archive")
    site.copy(user)
    with site.target.lock:
        del site.target.box(user, "Archive").messages[1]
    site.target.behave_like(user, servers.Refuses("APPEND", "NO [CANNOT] no more", holds=b"Archive"))
    site.target.drop_all()
    site.stays(user, '"Archive": UID 2:')


def test_message_without_message_id_and_received_is_copied_unchanged(site):
    pages = [b"From: scanner\r\n\r\npage %d\r\n" % i for i in (1, 2, 2)]
    user = site.letters(site.user(), *pages)
    site.move(user)
    assert site.texts(user) == pages


def test_header_without_blank_line_and_body_without_header_are_copied_or_named(site):
    odd = [b"Subject: header alone\r\n", b"no header at all\r\n", b"\r\nbody alone\r\n", b"Subject: x", b"x"]
    user = site.letters(site.user(), *odd)
    site.move(user)
    assert site.texts(user) == odd
    refused = site.letters(site.user(), b"Subject: fine\r\n\r\n", odd[1])
    site.target.behave_like(refused, servers.RefusesMail(lambda body: b":" not in body, "NO Message contains invalid header"))
    site.stays(refused, '"INBOX": UID 2: .*invalid header')


def test_message_of_no_bytes_is_named(site):
    user = site.letters(site.user(), LETTER % 1, b"", LETTER % 3)
    site.stays(user, '"INBOX": UID 2: .*without a byte')


def test_body_that_is_nil_since_the_message_was_expunged_meanwhile_is_dropped(site):
    for how in ("nil", "nothing"):
        user = site.letters(site.user(), *numbered(5))
        site.source.behave_like(user, servers.Expunges(3, how))
        site.move(user)
        assert site.texts(user) == [LETTER % i for i in (0, 1, 3, 4)]


def test_body_that_is_nil_though_the_message_is_there_is_named(site):
    user = site.letters(site.user(), *numbered(5))
    site.source.box(user).messages[2].nil = True
    site.stays(user, '"INBOX": UID 3: ')


def test_search_that_finds_nothing_does_not_make_a_mailbox_empty(site):
    user = site.letters(site.user(), *numbered(5))
    for server in (site.source, site.target):
        server.behave_like(user, servers.EmptySearch())
    site.copy(user)
    site.letters(user, LETTER % 9)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 6


def test_message_that_is_counted_and_not_listed_is_asked_for_again_and_then_named(site):
    user = site.letters(site.user(), *numbered(5))
    site.source.behave_like(user, servers.Omits(4, times=1))
    site.move(user)
    assert len(site.texts(user)) == 5
    user = site.letters(site.user(), *numbered(5))
    site.source.behave_like(user, servers.Omits(4))
    site.stays(user, '"INBOX".* 5 messages.* number 4')
    user = site.letters(site.user(), *numbered(5))
    site.source.behave_like(user, servers.Omits(4, times=2, bodies=True))
    site.move(user)
    assert site.texts(user) == numbered(5)


def test_search_of_the_whole_is_never_asked(site):
    user = site.letters(site.user(), *numbered(3))
    site.move(user)
    assert not [x for x in site.source.commands("SEARCH") if b"ALL" in x.upper()]


@pytest.mark.parametrize("alter", [servers.adds_received, servers.changes_message_id, servers.sorts_headers])
def test_header_that_the_target_alters_is_named_and_doubles_nothing(site, alter):
    user = site.letters(site.user(), LETTER % 1, SAME + b"text\r\n")
    site.target.behave_like(user, servers.AltersMail(alter))
    site.stays(user, r'"INBOX": (.*; )?UID 2: bytes differ')
    site.retry(user, "blocked", "backoff")
    assert site.sent(user) == 2 and len(site.texts(user)) == 2
