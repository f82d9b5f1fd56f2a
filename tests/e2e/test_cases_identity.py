"""tests/CASES.md 1 to 10: which message is which, and is it all there."""
import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.site import Site


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new")) as s:
        yield s


def letters(site, user, *bodies, name="INBOX"):
    for body in bodies:
        site.source.add(user, name, body)


def texts(server, user, name="INBOX"):
    return [m.body for m in server.box(user, name).messages]


def sent(site, user):
    return sum(box.appended for box in site.target.account(user).values())


def reason(route, pattern):
    import re
    assert re.search(pattern, route["reason"]), route["reason"]
    assert route.get("backend", "old") == "old"


SAME = b"Received: from a by b; Tue, 3 Mar 2015 10:00:00 +0100\r\nMessage-ID: <same@example.org>\r\nSubject: x\r\n\r\n"


def test_same_message_id_and_received_with_other_bodies_are_two_messages(site):
    user = site.user()
    letters(site, user, SAME + b"one\r\n", SAME + b"two\r\n")
    site.move(user)
    assert texts(site.target, user) == [SAME + b"one\r\n", SAME + b"two\r\n"]


def test_identical_messages_stay_two_and_never_become_three(site):
    user = site.user()
    letters(site, user, SAME, SAME, b"Subject: other\r\n\r\n", SAME)
    site.copy(user)
    site.start(user, "--now")
    site.wait(user, "flipped")
    assert texts(site.target, user) == texts(site.source, user) and sent(site, user) == 4


def test_same_message_in_two_mailboxes_is_compared_in_each(site):
    """It lacks in the second one: that the first one has it does not count."""
    user = site.user()
    letters(site, user, SAME)
    letters(site, user, SAME, SAME, name="Archive")
    site.copy(user)
    with site.target.lock:
        del site.target.box(user, "Archive").messages[1]
        site.target.behave_like(user, servers.Refuses("APPEND", "NO [CANNOT] no more", holds=b"Archive"))
    route = site.flip(user, "blocked", "backoff", "flipped")
    assert route["state"] != "flipped" and "Archive" in route["reason"], route


def test_message_without_message_id_and_received_is_copied_unchanged(site):
    user = site.user()
    letters(site, user, b"From: scanner\r\n\r\npage 1\r\n", b"From: scanner\r\n\r\npage 2\r\n")
    site.move(user)
    assert texts(site.target, user) == [b"From: scanner\r\n\r\npage 1\r\n", b"From: scanner\r\n\r\npage 2\r\n"]
