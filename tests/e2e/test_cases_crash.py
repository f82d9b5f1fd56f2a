"""tests/CASES.md 11 to 18: answers that never come, bytes that stop, servers that want to be left alone. What is killed
by us is in test_kill_migrator.py and its like."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.site import Site

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {"migrator": {"command_timeout": "1s"}}) as s:
        yield s


def letters(site, count=6):
    return site.letters(site.user(), *(LETTER % i for i in range(count)))


@pytest.mark.parametrize("kind", ["lose_ok", "land_late"])
def test_answer_to_an_append_that_is_lost_leads_to_one_copy(site, kind):
    user = letters(site)
    name = f"Box-{kind}"
    site.letters(user, *(LETTER % i for i in range(20, 24)), name=name)
    site.target.misbehave(kind, mailbox=name, n=1, times=1)
    site.start(user, "--now")
    if kind == "land_late":
        site.target.wait("APPEND in the air", lambda: site.target.late)
        site.target.land()
    site.wait(user, "flipped")
    site.target.behave()
    site.same(user, 10)
    assert len(site.texts(user, name=name)) == 4


def test_literal_shorter_than_it_says_is_never_stored_short(site):
    user = letters(site)
    site.source.behave_like(user, servers.LongLiteral(3, times=2))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source")
    user = letters(site)
    site.source.behave_like(user, servers.LongLiteral(3))
    site.stays(user, "^(unreachable|cannot|differs): ")
    assert not [x for x in site.texts(user) if x not in site.texts(user, "source")]


@pytest.mark.parametrize("lie", [servers.WrongSizes(by=-7), servers.WrongSizes(by=900), servers.WrongSizes(zero=True)])
def test_size_that_is_a_lie_is_nothing_where_the_literal_is_whole(site, lie):
    user = letters(site)
    site.source.behave_like(user, lie)
    site.target.behave_like(user, servers.WrongSizes(by=3))
    site.copy(user)
    site.letters(user, LETTER % 99)
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 7


def test_source_that_hangs_inside_a_message_is_left_and_asked_again(site):
    user = letters(site)
    noted = servers.NotesBodies()
    site.source.behave_like(user, noted, servers.HangsInsideABody(4))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) <= 8
    assert noted.asked.count(1) <= 2, noted.asked


def test_source_that_always_hangs_is_given_up_after_a_few_tries(site):
    user = letters(site)
    hangs = servers.HangsInsideABody(4, times=-1)
    site.source.behave_like(user, hangs)
    site.stays(user, "^(unreachable|cannot|differs): ")
    assert 2 <= -1 - hangs.left <= 6


THROTTLES = {
    "limit": ("FETCH", "NO [LIMIT] UID FETCH Rate limit hit", True),
    "throttled in the text": ("FETCH", "NO Please try again later [THROTTLED]", False),
    "backoff time": ("FETCH", "NO Server Busy. Suggested Backoff Time: 400 milliseconds", False),
    "unavailable": ("SELECT", "NO [UNAVAILABLE] Mailbox is being moved", False),
    "in use": ("EXAMINE", "NO [INUSE] locked by another process", False),
    "append": ("APPEND", "NO [LIMIT] too many messages this hour", False),
    "server bug": ("APPEND", "NO [SERVERBUG] Internal error. Refer to the log", False),
}


@pytest.mark.parametrize("what", THROTTLES)
def test_server_that_wants_less_is_obeyed_and_no_message_blamed(site, what):
    verb, text, bye = THROTTLES[what]
    user = letters(site)
    server = site.target if verb in ("APPEND", "SELECT") else site.source
    server.behave_like(user, servers.Refuses(verb, text, times=4, bye=bye))
    site.start(user, "--now")
    route = site.wait(user, "backoff", "flipped", "blocked")
    assert route["state"] != "blocked", route
    if route["state"] == "backoff":
        assert "UID " not in re.sub("UID FETCH", "", route["reason"]), route["reason"]
        assert route.get("backend", "old") == "old"
    site.wait(user, "flipped")
    site.same(user, 6)
    # What LIMIT means is found out by the smallest message, out of its turn; for the sake of order it may go once more.
    assert site.sent(user) == 6 or what == "append" and site.sent(user) <= 12


@pytest.mark.parametrize("verb,side", [("NAMESPACE", "source"), ("LIST", "source"), ("LIST", "target"), ("EXAMINE", "source"),
                                       ("FETCH", "source"), ("FETCH", "target"), ("CREATE", "target"), ("SELECT", "target"),
                                       ("APPEND", "target"), ("NOOP", "target"), ("SUBSCRIBE", "target"), ("STATUS", "source")])
def test_bye_at_any_command_is_no_end(site, verb, side):
    user = letters(site)
    site.letters(user, LETTER % 77, name="Other")
    site.source.box(user, "Other").subscribed = True
    getattr(site, side).behave_like(user, servers.SaysBye(verb))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and len(site.texts(user, name="Other")) == 1


def test_disk_that_is_full_stops_and_goes_on_without_doubles(site):
    user = letters(site, 10)
    full = servers.Refuses("APPEND", "NO [OVERQUOTA] Quota exceeded (mailbox for user is full)")
    site.target.behave_like(user, full)
    route = site.stays(user, "[Qq]uota")
    full.left = 0
    if route["state"] == "blocked":
        site.retry(user, "flipped")
    site.wait(user, "flipped")
    assert site.texts(user) == site.texts(user, "source")


def test_password_that_changes_midway_stops_and_goes_on_at_the_next_login(make_ferry):
    """At the second pass nobody can sign in any more; the next login through the proxy brings a new password."""
    from harness.ferry import backend
    with FakeImap("old") as old, FakeImap("new") as new:
        ferry = make_ferry({"old": backend(old, "imap", master=False), "new": backend(new, "imap", master=False)},
                           {"migration": {"cutover": "manual"}})
        ferry.seal_keys()
        proxy = ferry.proxy()
        user = Site.user()
        for i in range(5):
            old.add(user, "INBOX", LETTER % i)
        ferry.migrator()
        ferry.login(proxy, user, "secret").logout()
        ferry.wait_state(user, "ready")
        for server in (old, new):
            server.passwords[user] = b"changed"
            server.drop_all()
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
        route = ferry.wait_state(user, "backoff", "blocked", "flipped")
        assert route["state"] == "backoff" and route["reason"].startswith("credentials: "), route
        refused = len(old.logins)
        ferry.login(proxy, user, "changed").logout()
        ferry.wait_state(user, "ready", "flipped")
        assert len(old.logins) > refused and sum(b.appended for b in new.account(user).values()) == 5
