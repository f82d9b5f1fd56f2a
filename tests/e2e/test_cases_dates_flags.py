"""tests/CASES.md 43 to 52: dates, flags and keywords."""
import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.dovecot import Dovecot
from harness.site import LETTER, Site


@pytest.fixture(scope="module")
def dovecot():
    with Site(FakeImap("old"), Dovecot("new", mail="maildir", special_use=False)) as s:
        yield s


def instants(site, user):
    from harness.compare import instant_of
    return [instant_of(b'"' + m.date + b'"') for m in site.target.box(user).messages]


def flags(site, user):
    return [m.flags for m in site.target.box(user).messages]


DATES = {b'"30-Dec-1899 00:00:00 +0000"': -2209161600, b'"31-Dec-1969 23:59:59 +0000"': -1,
         b'"01-Jan-1980 00:00:00 +0000"': 315532800, b'"19-Jan-2038 03:14:08 +0000"': 2147483648,
         b'"07-Feb-2106 06:28:16 +0000"': 4294967296,
         b'"01-Jan-2020 00:00:00 UT"': 1577836800, b'"01-Jan-2020 00:00:00 UTC"': 1577836800,
         b'"01-Jan-2020 00:00:00"': 1577836800, b'" 1-Jan-2020 00:00:00 +0000"': 1577836800,
         b'"1-Jan-2020 00:00:00 +0000"': 1577836800,
         b'"01-Jan-2020 05:30:00 +0530"': 1577836800, b'"31-Dec-2019 20:30:00 -0330"': 1577836800,
         b'"29-Mar-2020 02:30:00 +0100"': 1585445400, b'"29-Mar-2020 02:30:00 +0200"': 1585441800}


def dated(site):
    """An account with a message of each date, as the source shows it."""
    user = site.letters(site.user(), *(LETTER % i for i in range(len(DATES))))
    site.source.behave_like(user, servers.ShowsDates(dict(enumerate(DATES, 1))))
    return user


def test_odd_dates_arrive_at_their_instant(site):
    """1899, 1969, after 2038, UT, no zone, a blank before the day, half hours, the hour that summer time skips."""
    user = dated(site)
    site.move(user)
    assert [x for x, _ in instants(site, user)] == list(DATES.values())


def test_zones_are_kept_where_the_target_takes_them(site):
    user = dated(site)
    site.move(user)
    zones = [z for _, z in instants(site, user)]
    assert zones[-4:] == ["+0530", "-0330", "+0100", "+0200"]


def test_date_that_the_target_clamps_is_named(site, dovecot):
    user = dated(site)
    site.target.behave_like(user, servers.ClampsDates())
    site.stays(user, 'UID 1: date differs: source "30-Dec-1899')
    user = dovecot.letters(dovecot.user(), LETTER % 1, date=b"30-Dec-1899 00:00:00 +0000")
    dovecot.stays(user, '"INBOX": UID 1: (date differs|the target refuses it)')


@pytest.mark.parametrize("shown", [b"NIL", b'"31-Feb-2020 12:00:00 +0000"', b'"yesterday"', b'""'])
def test_date_that_is_none_is_never_now(site, shown):
    user = site.letters(site.user(), LETTER % 1)
    site.source.behave_like(user, servers.ShowsDates({1: shown}))
    site.stays(user, '"INBOX": UID 1: .*no date')
    assert site.texts(user) == []


class ShowsPadded(servers.Manners):
    def date(self, c, message, date):
        return date.replace(b'" ', b'"0')


def test_blank_padded_day_equals_one_with_a_zero(site):
    user = site.letters(site.user(), LETTER % 1, date=b" 1-Jan-2020 12:00:00 +0000")
    site.target.behave_like(user, ShowsPadded())
    site.move(user)


def test_recent_is_neither_sent_nor_taken_from_the_source(dovecot):
    user = dovecot.letters(dovecot.user(), LETTER % 1, flags=("\\Recent", "\\Seen"))
    dovecot.move(user)
    with Dovecot("recent") as real, Site(real, FakeImap("new"), keep=True) as site:
        who = site.user()
        m = site.connect(who)
        m.append("INBOX", "", None, LETTER % 1)
        site.move(who)
        assert flags(site, who) == [set()]
        assert m.select("INBOX")[0] == "OK" and m.response("RECENT")[1] == [b"1"]
        m.logout()


def test_keyword_that_the_target_does_not_know_is_named_and_the_message_copied(site):
    user = site.letters(site.user(), LETTER % 1, flags=("\\Seen", "\\Flagged", "project"))
    site.target.behave_like(user, servers.NoNewKeywords())
    site.stays(user, '"INBOX": UID 1: .*project')
    assert flags(site, user) == [{b"\\Seen", b"\\Flagged"}]


def test_keyword_in_another_case_is_equal_and_never_stored_again(site):
    user = site.letters(site.user(), LETTER % 1, flags=("\\Seen", "$MDNSent", "NonJunk"))
    site.copy(user)
    with site.target.lock:
        site.target.box(user).messages[0].flags = {b"\\seen", b"$MdnSent", b"nonjunk"}
    site.flip(user)
    assert not site.target.commands("STORE", user)


@pytest.mark.parametrize("bad", ["\\JUNK", "\\FORWARDED", "\\X-HAS-ATTACH", "\\RECEIPTCHECKED", "x]y", "\u00e4rger"])
def test_flag_that_is_none_is_named_and_the_message_copied_with_the_others(site, bad):
    user = site.letters(site.user(), LETTER % 1, flags=("\\Seen", "fine"))
    site.source.box(user).messages[0].flags.add(bad.encode("latin-1"))
    site.stays(user, '"INBOX": UID 1: ')
    assert flags(site, user) == [{b"\\Seen", b"fine"}]


def test_keyword_with_a_dot_is_kept_or_named(site):
    user = site.letters(site.user(), LETTER % 1, LETTER % 2, flags=("a.b",))
    site.move(user)
    assert flags(site, user) == [{b"a.b"}] * 2
    user = site.letters(site.user(), LETTER % 1)
    site.letters(user, LETTER % 2, flags=("a.b",))
    site.target.behave_like(user, *servers.gromox())
    site.stays(user, '"INBOX": UID 2: ')


def test_more_keywords_than_the_target_keeps_are_named(site):
    user = site.user()
    for i in range(70):
        site.letters(user, LETTER % i, flags=(f"key{i:02}",))
    site.target.behave_like(user, servers.KeepsKeywords(26))
    site.stays(user, '"INBOX": UID 27: .*key26')
    assert len(site.texts(user)) == 70 and flags(site, user)[25] == {b"key25"}


def test_seventy_keywords_on_a_maildir_of_dovecot_are_kept_or_named(dovecot):
    user = dovecot.user()
    for i in range(70):
        dovecot.letters(user, LETTER % i, flags=(f"key{i:02}",))
    dovecot.start(user, "--now")
    route = dovecot.wait(user, "flipped", "blocked", "backoff")
    if route["state"] == "flipped":
        dovecot.same(user, 70)
    else:
        assert "key" in route["reason"], route


def test_deleted_message_is_copied_with_its_flag_or_named(site):
    user = site.letters(site.user(), LETTER % 1, flags=("\\Deleted", "\\Seen"))
    site.move(user)
    assert flags(site, user) == [{b"\\Deleted", b"\\Seen"}]
    user = site.letters(site.user(), LETTER % 1, flags=("\\Deleted",))
    site.target.behave_like(user, servers.ForgetsFlags(b"\\deleted", store=False))
    site.stays(user, r'"INBOX": UID 1: flags differ: source \(\\Deleted\) target \(\)')


def test_receipt_is_not_asked_for_again_since_the_flags_come_with_the_append(site):
    mdn = b"Disposition-Notification-To: a@example.org\r\n" + LETTER % 1
    user = site.letters(site.user(), mdn, flags=("\\Seen", "$MDNSent"))
    site.move(user)
    assert flags(site, user) == [{b"\\Seen", b"$MDNSent"}] and not site.target.commands("STORE", user)


def test_flag_that_append_loses_is_stored(site):
    user = site.letters(site.user(), LETTER % 1, flags=("\\Flagged", "\\Seen"))
    site.target.behave_like(user, servers.ForgetsFlags(b"\\flagged", store=True))
    site.move(user)
    assert flags(site, user) == [{b"\\Flagged", b"\\Seen"}]
