"""Who has no password learns from no answer, and from no time, whether there is such a user."""
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes.fake_imap import FakeImap
from harness.scene import Wire

AT_ONCE = 4
ROUNDS = 2


class Hashes(dict):
    """Passwords that a server has to work for; whom it doesn't know it refuses at once. (Dovecot waits, with both.)"""

    def get(self, name, default=None):
        if name in self:
            threading.Event().wait(0.2)
        return super().get(name, default)


@pytest.fixture
def server():
    with FakeImap() as made:
        made.passwords = Hashes(ann=b"secret")
        yield made


def refusal(address, user):
    """The answer without its tag, and the time it took."""
    with Wire(address, timeout=30) as w:
        w.read_line()
        began = time.monotonic()
        said = w.command(b"a", b"LOGIN " + user.encode() + b" wrong")
        return said, time.monotonic() - began


def asked(address, at_once, rounds):
    """Both kinds side by side: a name that is none, a wrong password. Their answers and times."""
    found = {"nobody": [], "ann": []}
    with ThreadPoolExecutor(2 * at_once) as pool:
        for _ in range(rounds):
            tries = [(u, pool.submit(refusal, address, u)) for _ in range(at_once) for u in found]
            for user, each in tries:
                found[user].append(each.result())
    return found


def median(tries):
    return statistics.median(t for _, t in tries)


def test_unknown_user_and_wrong_password(make_ferry, server):
    """By ratios of one run: the server itself tells them apart by more than twice the time, the proxy by nothing."""
    alone = asked(server.url(), 2, 2)
    assert median(alone["ann"]) > 2 * median(alone["nobody"]), alone
    with FakeImap() as new:
        ferry = make_ferry({"old": {"address": server.url()}, "new": {"address": new.url()}}, {"migration": {"trigger": "manual"}})
        proxy = ferry.proxy(proxy={"login_tries": 10})
        found = asked(proxy.addresses[0], AT_ONCE, ROUNDS)
        texts = {tuple(said) for tries in found.values() for said, _ in tries}
        assert texts == {(b"a NO [AUTHENTICATIONFAILED] Authentication failed",)}
        ratio = median(found["ann"]) / median(found["nobody"])
        assert 0.95 < ratio < 1.05, found
        proxy.stop()
