"""How fast a backend may be used: limits of the configuration, and what a server asks for."""
import re
import time

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import mail
from harness.ferry import backend
from harness.scene import assert_equal, fill, new_user
from harness.site import Site


def took(ferry, user):
    """Seconds from the claim of the job to its end."""
    began = time.monotonic()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready", "flipped")
    return time.monotonic() - began


@pytest.mark.parametrize("side, rounds", [("old", 1), ("new", 2)])
def test_messages_a_second(make_ferry, old, new, side, rounds):
    """50 messages at 20 a second on one side: read from it, or stored there and read back."""
    user = new_user("slow")
    fill(old, user, mail.sample(seed=20, messages=50, sizes=(300, 900)))
    limits = {side: {"max_messages_per_second": 20}}
    ferry = make_ferry({name: backend(s, "imap", **limits.get(name, {})) for name, s in (("old", old), ("new", new))},
                       settings={"migration": {"cutover": "manual"}})
    ferry.migrator()
    seconds = took(ferry, user)
    least = (50 - 5) / 20 * rounds
    assert least <= seconds < least + 12, f"{seconds:.1f} s"
    assert_equal(old, new, user, 50)


def test_bytes_a_second(make_ferry, old, new):
    """A message that takes longer than the time-out of a command breaks nothing."""
    user = new_user("thin")
    account = fill(old, user, mail.sample(seed=21, messages=10, sizes=(300, 900), big=(600_000,)))
    ferry = make_ferry({"old": backend(old, "imap", max_bytes_per_second=200_000), "new": backend(new, "imap", max_bytes_per_second=400_000)},
                       settings={"migration": {"cutover": "manual"}, "migrator": {"command_timeout": "1s"}})
    migrator = ferry.migrator()
    seconds = took(ferry, user)
    assert (account.size - 50_000) / 200_000 <= seconds < 25, f"{seconds:.1f} s for {account.size} bytes"
    assert_equal(old, new, user, 11)
    assert not migrator.find("no answer for"), "the time-out ran while we ourselves held the connection up"


def test_server_that_asks_for_a_rest_gets_it():
    """Nothing is asked of it before the rest is over, the account is not blamed, and the log says so."""
    with Site(FakeImap("old"), FakeImap("new")) as site:
        user = new_user("rest")
        site.letters(user, *(b"Subject: %d\r\n\r\ntext\r\n" % n for n in range(6)))
        site.source.behave_like(user, servers.Refuses("FETCH", "NO Server Busy. Suggested Backoff Time: 1500 milliseconds", times=1))
        began = time.monotonic()
        site.start(user, "--now")
        route = site.wait(user, "flipped", "backoff")
        assert time.monotonic() - began >= 1.5
        assert route["state"] == "flipped" and route["attempts"] == "0", route
        site.migrator.wait(r"event=throttled .*rest_ms=1[45]\d\d")


def test_attempts_that_a_server_throttled_are_not_counted():
    with Site(FakeImap("old"), FakeImap("new")) as site:
        user = new_user("never")
        site.letters(user, b"Subject: 1\r\n\r\ntext\r\n")
        site.source.behave_like(user, servers.Refuses("EXAMINE", "NO [THROTTLED] Suggested Backoff Time: 100", times=-1))
        site.start(user, "--now")
        route = site.wait(user, "backoff")
        assert re.match("throttled: ", route["reason"]) and route["attempts"] == "0", route
