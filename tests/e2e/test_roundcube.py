"""Debian's Roundcube, which opens a session a click, behind the proxy: before, over and after a move, each user counted and logged
by the address of the browser."""
import re
import threading

import pytest

from harness.ferry import backend
from harness.roundcube import Roundcube
from harness.scene import fill, new_user, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}
ONE, OTHER = "127.0.0.9", "127.0.0.10"


@pytest.fixture(name="ferry")
def fixture_ferry(make_ferry, old, new, authority):
    return make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, MANUAL)


@pytest.fixture(name="proxy")
def fixture_proxy(ferry):
    return ferry.proxy(proxy={"trusted": ["127.0.0.1"]})


@pytest.fixture(name="webmail")
def fixture_webmail(proxy):
    with Roundcube(int(proxy.addresses[0].rsplit(":", 1)[1])) as made:
        yield made


def logins(proxy, user):
    return [m.group(1) for m in proxy.find(rf"event=login .*user={re.escape(user)} .* peer=(\S+):0 .*via=127\.0\.0\.1:\d+$")]


@pytest.mark.writes_source
def test_clicks_go_on_over_a_move(ferry, proxy, webmail, old):
    """Nobody who clicks meanwhile sees an error, nor other messages, nor other numbers."""
    user = new_user()
    fill(old, user, small(messages=12))
    browser = webmail.browser(ONE)
    assert browser.login(user, "secret")
    uids = browser.uids("INBOX")
    assert uids
    ferry.migrator()
    moved, clicks, faults = threading.Event(), [], []

    def click():
        try:
            while not moved.is_set():
                assert browser.uids("INBOX") == uids
                browser.show("INBOX", uids[len(clicks) % len(uids)])
                clicks.append(browser)
        except Exception as e:  # pylint: disable=broad-exception-caught
            faults.append(e)
    clicking = threading.Thread(target=click)
    clicking.start()
    try:
        assert ferry.ctl("migrate", user, "--now")[0] == 0
        ferry.wait_state(user, "flipped")
    finally:
        moved.set()
        clicking.join(60)
    assert not faults and clicks, faults
    assert browser.uids("INBOX") == uids
    browser.flag("INBOX", uids[0])
    assert set(logins(proxy, user)) == {ONE} and len(logins(proxy, user)) >= 2 * len(clicks) + 3
    assert not proxy.find(rf"event=login_failed .*user={re.escape(user)}")
    with ferry.login(proxy, user, "secret") as client:
        client.select("INBOX")
        assert client.uid("SEARCH", "FLAGGED")[1][0].split()[0] == str(uids[0]).encode()


def test_users_of_a_webmail_are_told_apart(proxy, webmail, old):
    """By the log, which fail2ban reads: who guesses is the browser."""
    user = new_user()
    fill(old, user, small(messages=1))
    mark = proxy.mark()
    assert not webmail.browser(OTHER).login(new_user(), "wrong")
    assert webmail.browser(ONE).login(user, "secret")
    assert proxy.wait(r"event=login_failed .* peer=(\S+):0 .*via=127\.0\.0\.1:\d+$", since=mark).group(1) == OTHER
    assert set(logins(proxy, user)) == {ONE}
