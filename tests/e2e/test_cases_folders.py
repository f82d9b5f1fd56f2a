"""tests/CASES.md 53 to 65: mailboxes, what they are called, and what hangs on them."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap

from harness.dovecot import Dovecot
from harness.site import Site

LETTER = b"From: a@example.org\r\nSubject: %s\r\n\r\ntext\r\n"

@pytest.fixture(scope="module")
def site():
    """The same names on both sides."""
    with Site(FakeImap("old"), FakeImap("new")) as s:
        yield s

@pytest.fixture(scope="module")
def dots():
    """From "INBOX." to no prefix and "/"."""
    with Site(FakeImap("old", separator=".", prefix="INBOX."), FakeImap("new")) as s:
        yield s

@pytest.fixture(scope="module")
def slashes():
    """From no prefix and "/" to "INBOX."."""
    with Site(FakeImap("old"), FakeImap("new", separator=".", prefix="INBOX.")) as s:
        yield s

@pytest.fixture(scope="module")
def dovecot():
    with Site(FakeImap("old"), Dovecot("new", special_use=False, mail="mdbox")) as s:
        yield s

def with_mailboxes(site, *names):
    user = site.user()
    for name in names:
        name = name.encode() if isinstance(name, str) else name
        site.source.add(user, name, LETTER % b"in " + re.sub(rb"\W", b"_", name))
        site.source.box(user, name).subscribed = True
    return user

def names(site, user, side="target"):
    return sorted(n.decode("latin-1") for n in getattr(site, side).account(user))

def test_separator_and_prefix_are_mapped_and_foreign_separators_escaped(dots, slashes):
    user = with_mailboxes(dots, "INBOX.Work.Bills", "INBOX.a/b", "INBOX.INBOX.x")
    dots.move(user)
    assert names(dots, user) == sorted(["INBOX", "Work/Bills", "a=2Fb", "INBOX/x"])
    user = with_mailboxes(slashes, "Work/Bills", "v1.2", "a=2Eb")
    slashes.move(user)
    assert names(slashes, user) == sorted(["INBOX", "INBOX.Work.Bills", "INBOX.v1=2E2", "INBOX.a=3D2Eb"])

def test_inbox_is_never_doubled(dots, site):
    user = with_mailboxes(dots, "INBOX.INBOX", "INBOX.Inbox", "INBOX.INBOX.INBOX")
    dots.source.add(user, "INBOX", LETTER % b"in the real one")
    dots.move(user)
    found = names(dots, user)
    assert len(found) == 4 and found.count("INBOX") == 1 and not {x.upper() for x in found if x != "INBOX"} & {"INBOX"}
    assert [m.body for m in dots.target.box(user).messages] == [LETTER % b"in the real one"]

ODD_NAMES = ["Entw&APw-rfe", "A &- B", "&ZeVnLIqe-", " leading", "trailing ", 'quo"te', "back\\slash", "per%cent", "as*terisk",
             "car^et", "til~de", "~", "(parens)", "{5}", "x" * 255, "a//b", "&bad-utf7", "& alone"]

def test_odd_names_are_the_same_on_the_target(site):
    user = with_mailboxes(site, *ODD_NAMES, b"raw \xfc\xff")
    site.source.behave_like(user, servers.Lists(servers.literal_names))
    site.start(user, "--now")
    route = site.wait(user, "flipped", "blocked")
    if route["state"] == "flipped":
        assert names(site, user) == sorted(x.replace("a//b", "a/=00/b") for x in names(site, user, "source"))
    else:
        assert '"' in route["reason"]

@pytest.mark.parametrize("name", ["Entw&APw-rfe", "&ZeVnLIqe-", " leading", "trailing ", 'quo"te', "back\\slash", "per%cent",
                                  "as*terisk", "car^et", "(parens)", "x" * 255, b"raw \xfc\xff", "& alone", "til~de"])
def test_odd_name_arrives_at_dovecot_or_is_named(dovecot, name):
    user = with_mailboxes(dovecot, name, "plain")
    dovecot.start(user, "--now")
    route = dovecot.wait(user, "flipped", "blocked", "backoff")
    if route["state"] == "flipped":
        dovecot.same(user, 2)
    else:
        assert '"' in route["reason"] and "plain" not in route["reason"], route

def test_name_that_the_target_refuses_is_named(site):
    for name, manners in (("Files", servers.exchange_target()), ("car^et", servers.gmail_target())):
        user = with_mailboxes(site, name)
        site.target.behave_like(user, *manners)
        site.stays(user, re.escape(f'"{name}"'))

def test_name_that_is_not_quoted_is_never_taken_for_another(site):
    """Domino: LIST says `Sent Items`, and there is a mailbox Sent too."""
    user = with_mailboxes(site, "Sent", "Sent Items")
    site.source.behave_like(user, servers.Lists(servers.unquoted_names))
    site.stays(user, "^not_understood: old answers LIST by .*Sent Items$")
    assert b"Sent Items" not in site.target.account(user)

def test_parent_that_holds_no_mail_is_a_place_and_no_mailbox(site, dovecot):
    for s in (site, dovecot):
        user = with_mailboxes(s, "Parent/child")
        s.source.create(user, b"Parent", attributes=[b"\\Noselect"])
        s.source.create(user, b"Only", attributes=[b"\\NonExistent", b"\\Noselect"])
        s.source.box(user, "Only").subscribed = True
        s.move(user)
        m = s.connect(user, "target")
        listed = [x.decode() for x in m.list()[1]]
        m.logout()
        assert any("Parent/child" in x for x in listed)
        assert not any(x.endswith(("Only", '"Only"')) and "\\No" not in x for x in listed), listed

def test_two_mailboxes_never_become_one(slashes, dots):
    user = with_mailboxes(slashes, "a.b", "a/b", "a=2Eb")
    slashes.move(user)
    assert len(names(slashes, user)) == 4

def test_shared_and_public_namespaces_are_left_out(site):
    user = with_mailboxes(site, "mine", "Public/notes", "Other Users/bob")
    site.source.behave_like(user, servers.Namespaces(b'(("" "/")) (("Other Users/" "/")) (("Public/" "/"))'))
    site.start(user, "--now")
    site.wait(user, "flipped", "blocked")
    assert not {"Public/notes", "Other Users/bob"} & set(names(site, user))

def test_subscriptions_become_equal(dovecot):
    user = with_mailboxes(dovecot, "kept", "not")
    dovecot.source.box(user, "not").subscribed = False
    dovecot.source.behave_like(user, servers.Lists(more_lsub=[b'* LSUB () "/" "gone"']))
    m = dovecot.connect(user, "target")
    m.create("not")
    m.subscribe("not")
    m.subscribe("other")
    m.logout()
    dovecot.move(user)
    m = dovecot.connect(user, "target")
    got = {re.search(rb'"/" "?([^"]*)"?$', x).group(1) for x in m.lsub()[1] if x}
    m.logout()
    assert {b"kept", b"gone"} <= got and not got & {b"not", b"other"}, got

def test_sent_that_exists_on_both_sides_stays_one(site):
    user = with_mailboxes(site, "Sent", "Sent/2019")
    site.source.box(user, "Sent").special = b"\\Sent"
    site.target.create(user, b"Sent", b"\\Sent")
    site.move(user)
    site.same(user, 2)

def test_many_mailboxes_take_no_connection_each(site):
    user = site.user()
    for i in range(400):
        site.source.create(user, b"box%03d" % i)
    site.move(user)
    assert len(names(site, user)) == 401
    assert site.source.sign_ins(user) <= 8 and site.target.sign_ins(user) <= 8
    # A slow machine needs more of them. Three more look at each mailbox: before the freeze, in it, and right before the flip.
    passes = 3 + len(site.migrator.find(rf"event=pass user={user} "))
    for server in (site.source, site.target):
        commands = len(server.commands("", user))
        assert commands < 401 * (1 + 3.2 * passes), f"{commands} commands for 401 empty mailboxes in {passes} passes"


def test_wrong_child_attributes_hide_nothing(site):
    user = with_mailboxes(site, "Parent", "Parent/child", "Leaf")
    site.source.behave_like(user, servers.Lists(servers.no_children))
    site.move(user)
    site.same(user, 3)

def test_mailbox_that_ends_the_connection_is_named_and_not_retried_for_ever(site):
    """Zimbra, a locked share: BYE at each SELECT of it."""
    user = with_mailboxes(site, "fine", "locked")
    for verb in ("SELECT", "EXAMINE"):
        site.source.behave_like(user, servers.SaysBye(verb, -1, b"locked"), servers.SaysBye("EXAMINE", -1, b"locked"))
    site.stays(user, "^(unreachable|throttled): .*going away")

