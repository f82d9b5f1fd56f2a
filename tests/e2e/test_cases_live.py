"""tests/CASES.md 25 to 32: what users and deliverers do while an account moves. See also test_second_run.py, and
test_engine.py for a client that works all the while."""
import pytest

from fakes import servers
from fakes.store import Message
from harness.dovecot import Dovecot
from harness.site import LETTER, Site, letters


@pytest.fixture(scope="module")
def dovecots():
    with Site(Dovecot("old", separator=".", prefix="INBOX."), Dovecot("new", mail="mdbox"), writes_source=True) as s:
        yield s


class During(servers.Manners):
    """Does something once, just when the bodies of a mailbox are asked for: in the middle of the copy."""

    def __init__(self, what):
        self.what = what

    def fetched(self, c, messages):
        if c.asks_bodies and self.what:
            what, self.what = self.what, None
            what(c)
        return messages


def test_mail_that_arrives_behind_the_list_comes_with_the_last_pass(site):
    user = letters(site)
    site.source.behave_like(user, During(lambda c: site.letters(user, LETTER % 50)))
    site.copy(user)
    site.letters(user, LETTER % 51)
    site.flip(user)
    assert site.texts(user) == [LETTER % i for i in (0, 1, 2, 3, 4, 5, 50, 51)]


def test_message_that_the_user_expunged_goes_from_the_target_if_it_is_ours(site):
    user = letters(site)
    site.copy(user)
    site.target.add(user, "INBOX", b"Subject: somebody's own\r\n\r\n")
    with site.source.lock:
        del site.source.box(user).messages[1]
    site.flip(user)
    assert site.texts(user) == [LETTER % i for i in (0, 2, 3, 4, 5)] + [b"Subject: somebody's own\r\n\r\n"]
    assert not site.target.commands("CLOSE")
    assert not [x for x in site.target.commands("EXPUNGE") if b"UID EXPUNGE" not in x.upper()]


def move(server, user, uid, to):
    with server.lock:
        box = server.box(user)
        message = next(m for m in box.messages if m.uid == uid)
        box.messages.remove(message)
        other = server.account(user).get(to) or server.create(user, to)
        other.messages.append(Message(other.uidnext, message.body, set(message.flags), message.date))
        other.uidnext += 1


def test_message_moved_while_both_mailboxes_are_copied_is_in_one_of_them_once(site):
    user = letters(site)
    site.letters(user, LETTER % 40, name="B")
    site.source.behave_like(user, During(lambda c: move(c.server, user, 3, b"B")))
    site.copy(user)
    move(site.source, user, 5, b"B")
    site.flip(user)
    site.same(user, 7)
    assert sorted(site.texts(user) + site.texts(user, name="B")) == sorted(LETTER % i for i in (0, 1, 2, 3, 4, 5, 40))


def test_flags_set_and_cleared_after_the_copy_are_equal_at_the_flip(site):
    user = letters(site, flags=("\\Seen", "work"))
    site.copy(user)
    with site.source.lock:
        box = site.source.box(user).messages
        box[0].flags = set()
        box[1].flags = {b"\\Seen", b"work", b"\\Answered", b"later"}
        box[2].flags = {b"WORK"}
    site.flip(user)
    site.same(user, 6)


def test_mailboxes_that_are_renamed_deleted_and_made_are_followed(dovecots):
    user = dovecots.user()
    m = dovecots.connect(user)
    for name in ("INBOX.Old name", "INBOX.Goes", "INBOX.Goes.below", "INBOX.Stays"):
        m.create(f'"{name}"')
        m.append(f'"{name}"', "", None, LETTER % len(name))
    dovecots.copy(user)
    assert m.rename('"INBOX.Old name"', '"INBOX.New name"')[0] == "OK"
    assert m.delete("INBOX.Goes.below")[0] == "OK" and m.delete("INBOX.Goes")[0] == "OK"
    m.create("INBOX.Fresh")
    m.append("INBOX.Fresh", "", None, LETTER % 9)
    m.logout()
    dovecots.flip(user)
    found = [d for d in dovecots.differences(user, 3) if d.kind == "mailbox" and "on the new side only" not in d.text]
    assert not found, found


def test_deleted_mailbox_never_takes_mail_with_it_that_is_not_ours(site):
    user = letters(site)
    site.letters(user, LETTER % 40, LETTER % 41, name="Goes")
    site.copy(user)
    site.target.add(user, "Goes", b"Subject: somebody's own\r\n\r\n")
    with site.source.lock:
        del site.source.account(user)[b"Goes"]
    site.start(user, "--now")
    site.wait(user, "flipped", "blocked", "backoff")
    assert b"Subject: somebody's own\r\n\r\n" in site.texts(user, name="Goes")


def test_mail_that_was_delivered_to_the_target_before_is_kept(site):
    user = letters(site)
    site.target.add(user, "INBOX", b"Subject: early\r\n\r\n", flags=("\\Seen",))
    site.copy(user)
    site.target.add(user, "INBOX", b"Subject: late\r\n\r\n")
    site.flip(user)
    texts = site.texts(user)
    assert texts.count(b"Subject: early\r\n\r\n") == 1 and texts.count(b"Subject: late\r\n\r\n") == 1
    assert [x for x in texts if x.startswith(b"From")] == [LETTER % i for i in range(6)]
