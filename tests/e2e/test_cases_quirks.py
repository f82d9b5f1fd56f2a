"""tests/CASES.md, the ways of servers: what each of them is known for, met by the engine."""
import pytest

from fakes import servers
from fakes.fake_imap import CAPABILITIES, FakeImap
from harness.ferry import backend
from harness.site import LETTER, Site, letters

DOUBLE = LETTER % 7


def unchanged(site, user, count):
    """Moved, and every message arrived once."""
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == count


# ---- servers

def test_exchange_as_old_server(site):
    """Stray FETCHes, such without data, sizes that are wrong, an end after ten errors."""
    user = letters(site, 30)
    site.source.behave_like(user, *servers.exchange_source())
    unchanged(site, user, 30)


def test_exchange_as_new_server(site):
    """\\Flagged is lost by APPEND and stored; a long line and the name "Files" are named."""
    user = letters(site, 12, flags=("\\Flagged",))
    site.target.behave_like(user, *servers.exchange_target())
    unchanged(site, user, 12)
    assert all(m.flags == {b"\\Flagged"} for m in site.target.box(user).messages)


def test_gmail_as_new_server_drops_a_double_and_that_is_named(site):
    """It tells the UID of the message that is there already."""
    user = site.letters(site.user(), DOUBLE, LETTER % 1, DOUBLE)
    site.target.behave_like(user, *servers.gmail_target())
    site.stays(user, '"INBOX"')
    assert sorted(site.texts(user)) == sorted([DOUBLE, LETTER % 1])


def test_gmail_that_throttles_is_left_alone_for_a_while(site):
    user = letters(site)
    site.source.behave_like(user, servers.Refuses("FETCH", "NO Account exceeded bandwidth limits. [THROTTLED]", 3, bye=True))
    site.start(user, "--now")
    assert site.wait(user, "backoff", "flipped")["state"] in ("backoff", "flipped")
    site.wait(user, "flipped")
    assert site.texts(user) == site.texts(user, "source")


def test_yahoo_as_old_server_limits_its_fetches(site):
    user = letters(site)
    site.source.behave_like(user, servers.Refuses("FETCH", "NO [LIMIT] UID FETCH Rate limit hit", 3, bye=True))
    site.start(user, "--now")
    assert "UID 1" not in site.wait(user, "backoff", "flipped")["reason"]
    site.wait(user, "flipped")
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 6


def test_courier_as_either_server(site):
    """No UIDNEXT, EXISTS late, an UIDVALIDITY at EXAMINE that is not kept, no LITERAL+, no MULTIAPPEND."""
    user = letters(site)
    for side in (site.source, site.target):
        side.behave_like(user, *servers.courier())
    site.copy(user)
    site.letters(user, LETTER % 50)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 7


def test_icloud_lacks_an_item_that_is_not_asked_for(site):
    user = letters(site)
    site.source.behave_like(user, servers.LacksItem())
    unchanged(site, user, 6)
    assert not [x for x in site.source.commands("FETCH") if b"RFC822)" in x.upper() or b"RFC822 " in x.upper()]


def test_gromox_gets_flags_and_date_with_each_append(site):
    user = letters(site)
    site.target.behave_like(user, servers.NeedsFlagsAndDate())
    unchanged(site, user, 6)


def test_zimbra_shows_other_headers_alone_than_in_the_message(site):
    user = site.letters(site.user(), b"Subject: Gr\xfc\xdfe\r\n\r\ntext\r\n", LETTER % 2)
    for side in (site.source, site.target):
        side.behave_like(user, servers.HeadersOtherThanBodies())
    unchanged(site, user, 2)


def test_domino_separates_by_backslashes():
    with Site(FakeImap("old", separator="\\"), FakeImap("new")) as site:
        user = letters(site, 3)
        site.letters(user, LETTER % 8, name="Work\\Bills")
        site.move(user)
        assert site.texts(user, name="Work/Bills") == [LETTER % 8]


@pytest.mark.parametrize("lie", [servers.WrongSizes(zero=True), servers.WrongSizes(by=-20), servers.WrongSizes(by=1)])
def test_sizes_of_hmailserver_protonbridge_and_kopano_are_no_sizes(site, lie):
    user = letters(site)
    site.source.behave_like(user, lie)
    unchanged(site, user, 6)


def test_icewarp_dates_its_mail_1899(site):
    user = letters(site, 2, date=b"30-Dec-1899 00:00:00 +0000")
    unchanged(site, user, 2)
    assert {m.date for m in site.target.box(user).messages} == {b"30-Dec-1899 00:00:00 +0000"}


def test_smartermail_and_its_like_find_nothing(site):
    user = letters(site)
    for side in (site.source, site.target):
        side.behave_like(user, servers.EmptySearch())
    unchanged(site, user, 6)


# ---- what Dovecot's own client works around

@pytest.mark.parametrize("lacks", ["LITERAL+", "UIDPLUS", "NAMESPACE", "UNSELECT", "ID", "ENABLE", "SPECIAL-USE", "IDLE",
                                   "CHILDREN", "MULTIAPPEND"])
def test_either_side_may_lack_any_extension(site, lacks):
    user = letters(site)
    site.letters(user, LETTER % 9, name="Archive/2019")
    for side in (site.source, site.target):
        side.behave_like(user, servers.Offers(without=(lacks,)))
    site.move(user)
    site.same(user, 7)


def test_side_without_any_extension():
    with Site(FakeImap("old", capabilities="IMAP4rev1"), FakeImap("new", capabilities="IMAP4rev1")) as site:
        user = letters(site)
        site.letters(user, LETTER % 9, name="Archive/2019")
        site.move(user)
        site.same(user, 7)
    assert "UIDPLUS" in CAPABILITIES


def test_wrong_numbers_in_front_of_bodies_are_not_trusted(site):
    """Larger than EXISTS, or another message's."""
    user = letters(site)
    site.source.behave_like(user, servers.WrongNumbers())
    unchanged(site, user, 6)
    user = letters(site)
    site.source.behave_like(user, servers.WrongNumbers(lambda c, n: 1 + n % len(c.view)))
    site.start(user, "--now")
    route = site.wait(user, "flipped", "blocked", "backoff")
    if route["state"] == "flipped":
        site.same(user, 6)
    assert not [x for x in site.texts(user) if x not in site.texts(user, "source")]


def test_mailbox_whose_number_of_messages_is_not_told_is_named(site):
    user = letters(site)
    site.source.behave_like(user, servers.NoExists())
    site.stays(user, "does not say how many messages")
    assert site.texts(user) == []


def test_broken_message_is_named_and_never_copied_empty(site):
    user = letters(site)
    site.source.behave_like(user, servers.BrokenMail(4))
    site.stays(user, r'"INBOX": (.*; )?UID 4: .*can.t be read')
    assert b"" not in site.texts(user)


def test_body_that_is_empty_for_an_expunged_message_is_no_message(site):
    user = letters(site)
    site.source.behave_like(user, servers.Expunges(2, "nil"))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and len(site.texts(user)) == 5


def test_gmail_all_mail_is_asked_about_and_labels_are_mailboxes(site):
    """A message under a label lies in that mailbox, and once more in All Mail, where archived ones lie alone."""
    user = letters(site, 3)
    for name, special in ((b"[Gmail]/All Mail", b"\\All"), (b"[Gmail]/Starred", b"\\Flagged"), (b"Label", b"")):
        site.source.create(user, name, special)
    site.letters(user, LETTER % 1, name="Label")
    site.letters(user, *(LETTER % i for i in range(4)), name="[Gmail]/All Mail")
    site.letters(user, LETTER % 2, name="[Gmail]/Starred")
    site.stays(user, r'"\[Gmail\]/All Mail": archived messages lie in no other mailbox')
    assert site.ferry.ctl("waive", user, "all_mail", "--reason", "nobody archives here")[0] == 0
    site.flip(user)
    assert site.texts(user) == [LETTER % i for i in range(3)] and site.texts(user, name="Label") == [LETTER % 1]
    assert not [x for x in site.target.account(user) if x.startswith(b"[Gmail]")]


@pytest.mark.parametrize("line", [None, b"* ACL INBOX bob", b"* ACL (INBOX)", b"* ACL (INBOX) bob lrs", b"* ACL"],
                         ids=["refused", "half", "list", "name", "nothing"])
def test_rights_that_are_announced_and_not_told_are_counted(site, line):
    """They can't be carried, and are no reason to stay."""
    user = letters(site)
    site.source.behave_like(user, servers.TellsNoRights(line))
    unchanged(site, user, 6)
    site.migrator.wait(f"event=findings .*user={user} kind=untold count=1 waived=0 blocks=no")


def test_rights_that_a_target_can_not_tell_are_named(site):
    user = letters(site)
    site.source.behave_like(user, servers.Shares(b"bob", b"lrs"))
    site.target.behave_like(user, servers.TellsNoRights())
    site.stays(user)
    site.migrator.wait(f"event=findings .*user={user} kind=acl count=1 .*blocks=yes")


def test_annotations_that_are_announced_and_not_told_are_counted(site):
    user = letters(site)
    site.source.behave_like(user, servers.TellsNoAnnotations())
    unchanged(site, user, 6)
    site.migrator.wait(f"event=findings .*user={user} kind=untold count=1 waived=0 blocks=no")


def test_annotations_that_a_target_can_not_tell_are_named(site):
    user = letters(site)
    site.source.behave_like(user, servers.Annotates(b"a note"))
    site.target.behave_like(user, servers.TellsNoAnnotations())
    site.stays(user, "/private/comment")
    site.migrator.wait(f"event=findings .*user={user} kind=metadata count=1 .*blocks=yes")


# ---- and without a switch

def test_fetch_for_more_messages_than_exist_is_passed_over(site):
    user = letters(site)
    for side in (site.source, site.target):
        side.behave_like(user, servers.StrayFetches())
    unchanged(site, user, 6)


@pytest.mark.parametrize("uid,shown", [(4, 3), (5, 1), (2, 6)])
def test_uid_that_is_there_twice_is_named(site, uid, shown):
    user = letters(site)
    site.source.behave_like(user, servers.WrongUid(uid, shown))
    site.stays(user, '"INBOX"')
    assert not [x for x in site.texts(user) if x not in site.texts(user, "source")]


def test_commands_are_never_longer_than_8000_bytes(site):
    """UIDs of nine and ten digits, none next to another: sets of them are as long as they can be."""
    user = site.user()
    for number in range(1500):
        site.source.add(user, "INBOX", b"S: x\r\n\r\n", uid=900000000 + 70007 * number)
    site.copy(user)
    with site.source.lock:
        for m in site.source.box(user).messages[::2]:
            m.flags = {b"\\Seen"}
    site.flip(user)
    site.same(user, 1500)
    for server in (site.source, site.target):
        longest = max(len(x.split(b"\r\n")[0]) for _, _, x in server.lines)
        assert longest <= 8000, longest


def test_yahoo_wants_to_know_who_comes_first(make_ferry):
    """ID before the sign-in; a refusal there is no wrong password of the user."""
    with FakeImap("old") as old, FakeImap("new") as new:
        old.behave_like(None, servers.NeedsId())
        user = Site.user()
        old.add(user, "INBOX", LETTER % 1)
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}})
        ferry.migrator()
        assert ferry.ctl_raw("migrate", user)[0] == 0
        ferry.wait_state(user, "flipped")
