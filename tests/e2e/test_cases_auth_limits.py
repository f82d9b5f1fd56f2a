"""tests/CASES.md 66 to 72: who signs in as whom, what a server allows, and what it costs when nothing changed."""
import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.ferry import backend
from harness.site import LETTER, Site, letters


@pytest.mark.parametrize("how", [{}, {"master_login": "%u*%m"}, {"sign_in": "proxyauth"}])
def test_administrator_is_bound_to_the_users_mailbox(how):
    """By authzid, by a name of two parts, by PROXYAUTH; the administrator's own mail stays out of it."""
    options = {"old": dict(how), "new": dict(how)}
    with Site(FakeImap("old"), FakeImap("new"), **options) as site:
        site.source.add("admin", "INBOX", b"Subject: of the administrator\r\n\r\n")
        user = letters(site, 3)
        site.move(user)
        assert site.texts(user) == site.texts(user, "source") and site.texts("admin") == []
        kinds = {k for u, k in site.source.logins if u == user}
        assert kinds == {"proxyauth" if how.get("sign_in") == "proxyauth" else "master"}


def test_authenticated_but_not_connected_is_no_fault_of_a_message(site):
    user = letters(site)
    site.source.behave_like(user, servers.NotConnected())
    route = site.stays(user, "^(credentials|refused|unreachable): .*")
    assert "UID" not in route["reason"], route


def test_server_that_closes_after_ten_errors_sees_fewer(site):
    user = letters(site, 30)
    for side in (site.source, site.target):
        side.behave_like(user, servers.ClosesAfterErrors(10))
    site.move(user)
    user = letters(site, 30)
    site.target.behave_like(user, servers.ClosesAfterErrors(10), *servers.exchange_target())
    site.move(user)
    assert site.texts(user) == site.texts(user, "source")


def test_engine_leaves_room_for_the_users_own_sessions():
    """Where a backend allows three connections in all, there are never more."""
    with Site(FakeImap("old"), FakeImap("new"), old={"max_connections": 3}, new={"max_connections": 3}) as site:
        users = []
        for _ in range(4):
            user = letters(site, 4)
            for i in range(5):
                site.letters(user, LETTER % i, name=f"box{i}")
            users.append(user)
        for user in users:
            site.start(user, "--now")
        for user in users:
            site.wait(user, "flipped")
        assert site.source.most_at_once <= 3 and site.target.most_at_once <= 3
        for user in users:
            site.same(user, 9)


def test_nothing_changed_costs_a_few_commands_a_mailbox(site):
    user = letters(site, 50)
    for i in range(20):
        site.letters(user, LETTER % i, name=f"box{i:02}")
    site.copy(user)
    before = {side: len(getattr(site, side).commands("", user)) for side in ("source", "target")}
    bodies = servers.NotesBodies()
    for side in (site.source, site.target):
        side.behave_like(user, bodies)
    site.flip(user)
    assert bodies.asked == []
    for side, count in before.items():
        commands = len(getattr(site, side).commands("", user)) - count
        # Three passes of 21 mailboxes; the lists and the sign-ins of each connection beside them.
        assert commands <= 21 * 4 * 3 + 40, f"{commands} commands at the {side}"
