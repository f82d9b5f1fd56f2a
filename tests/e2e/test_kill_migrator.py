"""kill -9 of the migrator at seeded moments of a copy: the next one ends in the same account, nothing doubled, nothing
lost. A relay before the target stops the world after an exact number of bytes, so the moment is the same each time."""
import random
import re
import signal

import pytest

from harness import mail, net, redisd
from harness.ferry import Ferry, backend
from harness.relay import DOWN, UP, Relay
from harness.scene import assert_equal, fill, new_user, read, small

BIG = 2 << 20
SEED = 4711


def moments():
    """(direction, share of all bytes): eight on the way to the target, one inside a large literal for sure, and two on
    the way back, where the answer to a command that was done gets lost."""
    rng = random.Random(SEED)
    ups = [(UP, round((n + rng.random()) / 7 * 0.96, 3)) for n in range(7)]
    return ups + [("literal", 0.5)] + [(DOWN, round(0.1 + rng.random() * 0.8, 3)) for _ in range(2)]


def make(make_ferry, old, new, authority):
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")})
    user = new_user("killed")
    fill(old, user, small(seed=77, messages=60, big=(BIG,)))
    return relay, ferry, user


@pytest.fixture(scope="module")
def volume(old, new, cert, authority):
    """Bytes that an undisturbed copy of the same account passes in each direction."""
    store = redisd.Redis(port=net.free_port())
    made = []

    def make_one(backends):
        made.append(Ferry(store, backends, cert))
        made[0].init()
        return made[0]
    relay, ferry, user = make(make_one, old, new, authority)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    ferry.close()
    store.close()
    relay.close()
    return dict(relay.passed)


@pytest.mark.parametrize("direction,share", moments())
def test_kill_and_go_on(make_ferry, old, new, authority, volume, direction, share):
    relay, ferry, user = make(make_ferry, old, new, authority)
    ferry.login(ferry.proxy(), user, "secret")
    if direction == "literal":
        body_seen = stop_inside_literal(relay)
    else:
        # Read-back and listings come back as many bytes too; the whole run is covered.
        relay.stall_after(int(volume[direction] * share), direction)
    migrator = ferry.migrator()
    assert relay.tripped.wait(30), f"the copy never passed {share} of its bytes {direction}\n{migrator.tail()}"
    if direction == "literal":
        assert body_seen(), "not inside the literal"
    migrator.kill()
    relay.reset()
    relay.heal()
    assert ferry.route(user)["backend"] == "old"
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    relay.close()
    assert_equal(old, new, user, 61)


def stop_inside_literal(relay):
    """Stalls when half of the large message has gone by: it is by far the largest thing on its way."""
    seen = {"begun": False}

    def edit(direction, data):
        if direction == UP and not seen["begun"]:
            for found in re.finditer(rb"\{(\d+)\+?\}\r\n", data):
                if int(found.group(1)) > BIG // 2:
                    seen["begun"] = True
                    relay.stall_after(BIG // 2, UP)
        return data
    relay.edit = edit
    return lambda: seen["begun"]


def test_two_migrators_and_one_dies(make_ferry, old, new, authority):
    """The other one takes the job over by itself."""
    relay, ferry, user = make(make_ferry, old, new, authority)
    ferry.login(ferry.proxy(), user, "secret")
    relay.stall_after(BIG // 2, UP)
    first = ferry.migrator()
    assert relay.tripped.wait(30)
    second = ferry.migrator()
    owner = ferry.route(user)["owner"]
    first.kill()
    relay.reset()
    relay.heal()
    ferry.wait_state(user, "flipped", timeout=60)
    assert owner and second.process.poll() is None
    relay.close()
    assert_equal(old, new, user, 61)


def test_migrator_that_wakes_late_adds_nothing(make_ferry, old, new, authority):
    """Stopped inside the literal of a large message while another one takes the job over, carries it out and flips: what
    it goes on with when it wakes is nobody's job any more."""
    relay, ferry, user = make(make_ferry, old, new, authority)
    relay_of_next = Relay(("127.0.0.1", new.port["imap"]))
    ferry.login(ferry.proxy(), user, "secret")
    body_seen = stop_inside_literal(relay)
    sleeper = ferry.migrator()
    assert relay.tripped.wait(30) and body_seen()
    sleeper.signal(signal.SIGSTOP)
    try:
        relay.resume()
        ferry.migrator(backends={"new": backend(relay_of_next, "imap")})
        ferry.wait_state(user, "flipped", timeout=60)
        assert_equal(old, new, user, 61)
        mark = sleeper.mark()
    finally:
        sleeper.signal(signal.SIGCONT)
    sleeper.wait(r"event=job_(lost|lapsed)", since=mark)
    sleeper.stop()
    relay.close()
    relay_of_next.close()
    assert_equal(old, new, user, 61)


@pytest.mark.writes_source
def test_copies_of_messages_that_the_user_expunges_before_the_next_run_do_not_stay(ferry, old, new):
    """Killed when the target has stored them and the ledger does not know where; the source can't tell their bytes any
    more, so the ledger has to."""
    user = new_user("expunged")
    fill(old, user, mail.sample(9, 12, [("INBOX",)]))
    ferry.login(ferry.proxy(), user, "secret")
    migrator = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": "command.APPEND.answered:1:kill"})
    net.wait_until("death", lambda: migrator.process.poll() is not None)
    migrator.kill()
    client = mail.connect(old, user, "secret")
    client.select("INBOX")
    client.store("2:5", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    assert read(new, user).count == 12
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    left = read(old, user).count
    assert left <= 8
    assert_equal(old, new, user, left)
