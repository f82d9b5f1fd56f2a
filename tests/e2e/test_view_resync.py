"""Caches that go by MODSEQs, while their account is moved (tests/view/resync.py): short runs, and that what is told wrongly is
found. `make check-view RUNS=N` makes long ones, between more servers."""
import os
import re

import pytest

from harness.relay import DOWN, Relay
from view import resync

SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="module")
def world():
    with resync.World(**resync.WORLDS["told"]) as made:
        yield made


def test_caches_hold_what_the_server_has(world):
    """It was told the numbers of the old one; some it has only jumped over, and knows nothing of what was there."""
    assert "QRESYNC" in world.scene.shown
    found = world.run(SEED)
    assert not found, "\n".join(found)
    assert world.went_over


def test_through_a_map():
    with resync.World(**resync.WORLDS["mapped"]) as made:
        found = made.run(SEED)
        assert not found, "\n".join(found)


def test_without_the_proxy(world):
    """Where all numbers were filled the new server itself answers rightly what was kept of the old one."""
    world.past = True
    try:
        found = world.run(SEED)
    finally:
        world.past = False
    assert not found, "\n".join(found)


@pytest.mark.parametrize("what,was,becomes", [
    ("vanished", rb"(\* VANISHED \(EARLIER\) )(\d+)", lambda m: m[1] + b"1" * len(m[2])),
    ("a flag", rb"(\* \d+ FETCH \(UID \d+ FLAGS \([^)]*)\\Seen", lambda m: m[1] + b"$Seen"),
    ("a MODSEQ", rb"HIGHESTMODSEQ (\d+)\]", lambda m: b"HIGHESTMODSEQ %d]" % (int(m[1]) + 50)),
])
def test_what_a_relay_falsifies_is_found(world, what, was, becomes):
    """In what the proxy sends to the caches; the changes and the look at the mailbox go another way."""
    relay = Relay(world.scene.way, edit=lambda way, data: re.sub(was, becomes, data) if way == DOWN else data)
    try:
        found = world.run(SEED, steps=200, caches=relay.url())
    finally:
        relay.close()
    assert found, what
