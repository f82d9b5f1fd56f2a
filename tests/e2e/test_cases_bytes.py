"""tests/CASES.md 33 to 42: what is between the first byte of a message and the last."""
import hashlib
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.site import Site

HEAD = b"From: a@example.org\r\nSubject: x\r\n"
# What every server keeps that is not known for altering it.
KEPT = {
    "8-bit header": b"Subject: Gr\xfc\xdfe \xf0\x9f\x9a\xa2\r\nX-Odd: \xff\xfe\x80\r\n\r\ntext\r\n",
    "UTF-8 header": "Subject: Grüße 日本\r\n\r\nтекст\r\n".encode(),
    "line of 20 kB": HEAD + b"\r\n" + b"x" * 20000 + b"\r\n",
    "line of 3 MB": HEAD + b"\r\n" + b"y" * 3000000 + b"\r\n",
    "no last CRLF": HEAD + b"\r\nlast line",
    "mbox From": b"From ann Tue Mar  3 10:00:00 2015\r\n" + HEAD + b"\r\ntext\r\n",
    ">From": HEAD + b"\r\n>From here\r\n>>From there\r\nFrom now\r\n",
    "folded with tabs": b"Subject: a\r\n\tb\r\n \tc\r\n   \r\nX-Empty:\r\n\r\ntext\r\n",
    "headers of other tools": b"X-Message-Flag: x\r\nX-TUID: abcdefghijkl\r\nX-UID: 7\r\nStatus: RO\r\nX-Status: A\r\n"
                              b"X-Keywords: a b\r\nX-IMAPbase: 1 2\r\n" + HEAD + b"\r\ntext\r\n",
    "dots and tags": HEAD + b"\r\n.\r\n..\r\n)\r\na1 OK done\r\n* BYE\r\n{5}\r\n",
    "empty lines at the end": HEAD + b"\r\ntext\r\n\r\n\r\n",
    "control characters": HEAD + b"\r\n\x01\x02\x07\x1b[0m\x7f\x0b\x0c\r\n",
}
# What a server may refuse or alter.
LINE_ENDS = {"bare LF": HEAD + b"\r\na\nb\n", "bare CR": HEAD + b"\r\na\rb\r\n", "mixed": b"Subject: x\n\r\na\r\nb\nc\rd\r\n"}
NUL = HEAD + b"\r\na\0b\r\n"


@pytest.fixture(scope="module")
def fakes():
    with Site(FakeImap("old"), FakeImap("new")) as s:
        yield s


@pytest.fixture(scope="module")
def dovecot():
    """From a source that keeps every octet to a real Dovecot."""
    with Site(FakeImap("old"), Dovecot("new", mail="mdbox", special_use=False)) as s:
        yield s


@pytest.fixture(scope="module")
def cyrus():
    with Site(FakeImap("old"), Cyrus("new", extra="munge8bit: no")) as s:
        yield s


@pytest.fixture(params=["fakes", "dovecot", "cyrus"])
def site(request):
    return request.getfixturevalue(request.param)


def stored(site, user, name="INBOX"):
    m = site.connect(user, "target")
    assert m.select(name, True)[0] == "OK"
    found = [x[1] for x in m.uid("FETCH", "1:*", "(BODY.PEEK[])")[1] if isinstance(x, tuple)]
    m.logout()
    return found


def test_octets_are_unchanged(site):
    """Of each kind a message: nothing is added, folded, escaped or shortened."""
    user = site.letters(site.user(), *KEPT.values())
    site.move(user)
    got = stored(site, user)
    assert [k for k, a, b in zip(KEPT, KEPT.values(), got) if a != b] == [] and len(got) == len(KEPT)
    site.same(user, len(KEPT))


def test_line_ends_are_unchanged_or_named(fakes, dovecot, cyrus):
    user = fakes.letters(fakes.user(), *LINE_ENDS.values(), NUL, HEAD + b"\r\nx\0\0\0")
    fakes.move(user)
    assert stored(fakes, user) == [*LINE_ENDS.values(), NUL, HEAD + b"\r\nx\0\0\0"]
    for site in (dovecot, cyrus):
        for body in LINE_ENDS.values():
            user = site.letters(site.user(), body)
            site.start(user, "--now")
            route = site.wait(user, "flipped", "blocked", "backoff")
            if route["state"] == "flipped":
                assert stored(site, user) == [body]
            else:
                assert re.search('"INBOX": UID 1: (bytes differ|.*refuses it)', route["reason"]), route["reason"]


def test_nul_that_the_target_refuses_is_named(fakes):
    user = fakes.letters(fakes.user(), NUL)
    fakes.target.behave_like(user, servers.nul_or_bare_lf())
    fakes.stays(user, '"INBOX": UID 1: .*NUL')


def test_nul_that_the_target_writes_as_0x80_is_named(dovecot, fakes):
    for site in (dovecot, fakes):
        user = site.letters(site.user(), NUL)
        site.target is fakes.target and site.target.behave_like(user, servers.AltersMail(servers.writes_0x80_for_nul))
        site.stays(user, '"INBOX": UID 1: ')


def test_0x80_that_the_source_sends_for_nul_is_copied_as_sent(dovecot):
    user = dovecot.letters(dovecot.user(), servers.writes_0x80_for_nul(NUL))
    dovecot.move(user)
    assert stored(dovecot, user) == [HEAD + b"\r\na\x80b\r\n"]


def test_line_too_long_for_the_target_is_named(fakes):
    user = fakes.letters(fakes.user(), HEAD + b"\r\nshort\r\n", KEPT["line of 20 kB"])
    fakes.target.behave_like(user, servers.long_lines())
    fakes.stays(user, '"INBOX": UID 2: .*Command Argument Error. 11')


def test_missing_last_crlf_that_the_target_refuses_is_named(fakes):
    user = fakes.letters(fakes.user(), HEAD + b"\r\nfine\r\n", KEPT["no last CRLF"])
    fakes.target.behave_like(user, servers.no_final_crlf())
    fakes.stays(user, '"INBOX": UID 2: .*must end with CRLF')


def test_message_over_the_appendlimit_is_named_before_it_is_read(fakes):
    user = fakes.letters(fakes.user(), HEAD + b"\r\n" + b"y" * 5000, HEAD)
    noted = servers.NotesBodies()
    fakes.source.behave_like(user, noted)
    fakes.target.behave_like(user, servers.Offers("APPENDLIMIT=4000"))
    fakes.stays(user, r'"INBOX": UID 1: \d+ bytes .*4000')
    assert 1 not in noted.asked


def test_mailbox_that_takes_less_than_others_is_obeyed(fakes):
    """RFC 7889: each mailbox says its own, or that it has none; 0 takes nothing."""
    large = HEAD + b"\r\n" + b"y" * 5000
    user = fakes.letters(fakes.user(), large, uid=11)
    fakes.letters(user, HEAD, uid=12)
    fakes.letters(user, large, name="Large", uid=21)
    fakes.letters(user, HEAD, name="Closed", uid=31)
    noted, limits = servers.NotesBodies(), {b"INBOX": 4000, b"Large": None, b"Closed": 0}
    fakes.source.behave_like(user, noted)
    fakes.target.behave_like(user, servers.AppendLimits(limits))
    fakes.stays(user, r'"INBOX": UID 11: \d+ bytes are more than the target takes \(4000\)',
                r'"Closed": UID 31: \d+ bytes are more than the target takes \(0\)')
    assert 11 not in noted.asked and 31 not in noted.asked, noted.asked
    assert stored(fakes, user) == [HEAD] and fakes.texts(user, name="Large") == [large]
    limits.update({b"INBOX": 6000, b"Closed": None})
    fakes.retry(user, "ready", "flipped")
    assert stored(fakes, user) == [large, HEAD] and fakes.texts(user, name="Closed") == [HEAD]


def test_limit_of_a_mailbox_that_is_not_told_is_found_by_append(fakes):
    user = fakes.letters(fakes.user(), HEAD + b"\r\n" + b"y" * 5000, HEAD)
    fakes.target.behave_like(user, servers.AppendLimits({b"INBOX": 4000}, tells=False))
    fakes.stays(user, '"INBOX": UID 1: .*TOOBIG')
    assert stored(fakes, user) == [HEAD]


def test_message_that_each_reading_gives_otherwise_is_named_as_mutable(fakes):
    user = fakes.letters(fakes.user(), HEAD + b"\r\none\r\n", HEAD + b"\r\ntwo\r\n")
    fakes.source.behave_like(user, servers.Mutable(2))
    fakes.target.misbehave("alter", mailbox="INBOX", n=2, times=1)
    fakes.stays(user, '"INBOX": UID 2: the source gives other bytes at each reading')
    fakes.target.behave()


def test_large_message_is_one_literal_and_whole(site):
    body = HEAD + b"\r\n" + hashlib.sha512(b"x").hexdigest().encode() * 100000 + b"\r\n"
    user = site.letters(site.user(), body)
    site.move(user)
    assert stored(site, user) == [body]


