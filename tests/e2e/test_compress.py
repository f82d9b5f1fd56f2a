"""COMPRESS=DEFLATE between the migrator and a backend (`compress` in the section of the backend)."""
import re
import threading

import pytest

from harness import mail
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.relay import DOWN, UP, Relay
from harness.scene import assert_equal, fill, new_user

OFFERS = extra("compress")


@pytest.fixture(scope="module")
def packers():
    """Two Dovecots that can."""
    with Dovecot("old", separator=".", prefix="INBOX.", extra=OFFERS) as old, Dovecot("new", mail="mdbox", extra=OFFERS) as new:
        yield old, new


def test_half_the_bytes_pass(make_ferry, packers, authority):
    """Between real servers: text takes less than half its bytes on the way, and arrives whole."""
    old, new = packers
    user = new_user("packed")
    account = fill(old, user, mail.sample(seed=4978, messages=150, sizes=(2000, 60000), big=(3 << 20,)))
    relays = [Relay(("127.0.0.1", s.port["imap"])) for s in (old, new)]
    ferry = make_ferry({"old": backend(relays[0], "imap", compress=True), "new": backend(relays[1], "imap", compress=True)})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, len(account.messages))
    text = sum(len(m.body) for m in account.messages if b"base64" not in m.body)
    rest = account.size - text
    for relay, direction, times in ((relays[0], DOWN, 1), (relays[1], UP, 1), (relays[1], DOWN, 1)):
        passed = relay.passed[direction]
        assert passed < times * (0.5 * text + 0.85 * rest), f"{passed} bytes for {account.size}"
    for relay in relays:
        relay.close()


def test_backend_that_cannot(make_ferry, packers, new, authority):
    """One that does not offer it is used as before."""
    user = new_user("plain")
    account = fill(packers[0], user, mail.sample(seed=5, messages=20, sizes=(300, 3000)))
    ferry = make_ferry({"old": backend(packers[0], "imap", compress=True), "new": backend(new, ca=authority.ca, compress=True)})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(packers[0], new, user, len(account.messages))


class Liar(Relay):
    """On each connection the server says OK to COMPRESS, and goes on in clear."""

    def __init__(self, server):
        self.here, self.told = threading.local(), {}
        super().__init__(("127.0.0.1", server.port["imap"]), edit=self.lie)

    def _pump(self, pair, *way):
        self.here.pair = pair
        super()._pump(pair, *way)

    def lie(self, direction, data):
        tag = self.told.get(self.here.pair)
        asked = re.search(rb"(\S+) COMPRESS DEFLATE\r\n", data) if direction == UP else None
        if asked:
            self.told[self.here.pair] = asked[1]
        elif direction == DOWN and tag == b"":
            return b"* OK not packed\r\n"
        elif direction == DOWN and tag and tag + b" OK" in data:
            self.told[self.here.pair] = b""
        return data


def test_backend_whose_bytes_are_damaged(make_ferry, packers, new):
    """Nothing is taken out of what cannot be unpacked, and the reason says so."""
    user = new_user("liar")
    fill(packers[0], user, mail.sample(seed=6, messages=20, sizes=(300, 3000)))
    relay = Liar(packers[0])
    ferry = make_ferry({"old": backend(relay, "imap", compress=True), "new": backend(new, "imap")})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    route = ferry.wait_state(user, "backoff")
    assert re.search("compressed data", route["reason"]), route["reason"]
    relay.close()
