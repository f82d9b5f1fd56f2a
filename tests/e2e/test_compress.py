"""COMPRESS=DEFLATE between the migrator and a backend (`compress` in the section of the backend)."""
import re

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


def test_backend_whose_bytes_are_damaged(make_ferry, packers, new):
    """It says OK and goes on in clear: nothing is taken out of what cannot be unpacked, and the reason says so."""
    user = new_user("liar")
    fill(packers[0], user, mail.sample(seed=6, messages=20, sizes=(300, 3000)))
    state = {"asked": False, "answered": False}

    def edit(direction, data):
        if direction == UP and b"COMPRESS DEFLATE" in data:
            state["asked"] = True
        elif direction == DOWN and state["answered"]:
            state.update(asked=False, answered=False)  # the next connection is treated alike
            return b"* OK not packed\r\n"
        elif direction == DOWN and state["asked"]:
            state["answered"] = True
        return data
    relay = Relay(("127.0.0.1", packers[0].port["imap"]), edit=edit)
    ferry = make_ferry({"old": backend(relay, "imap", compress=True), "new": backend(new, "imap")})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    route = ferry.wait_state(user, "backoff")
    assert re.search("compressed data", route["reason"]), route["reason"]
    relay.close()
