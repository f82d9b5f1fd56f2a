"""Commands at random to an account that was moved and to one that was not (tests/view/differential.py): a short run, and that a
difference is found. `make check-view RUNS=N` makes long ones."""
import os
import re

import pytest

from harness.relay import DOWN, Relay
from view import differential
from view.answers import read_answer, value
from view.script import spell

SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="module")
def world():
    with differential.World(**differential.WORLDS["T2"]) as made:
        yield made


def test_a_moved_account_answers_as_one_that_was_not(world):
    """By a map, with other names: where most is rewritten."""
    for seed in range(SEED, SEED + 3):
        found = world.run(seed, steps=40)
        assert not found, str(found)


@pytest.mark.parametrize("name", ["T0 with other names", "T1"])
def test_other_tiers(name):
    with differential.World(**differential.WORLDS[name]) as made:
        found = made.run(SEED, steps=40)
        assert not found, str(found)


@pytest.mark.parametrize("what,was,becomes", [
    ("a UID", rb"(\* \d+ FETCH \([^\r\n]*\bUID )(\d+)", lambda m: m[1] + b"%0*d" % (len(m[2]), (int(m[2]) + 1) % 10 ** len(m[2]))),
    ("a UIDNEXT", rb"(\* STATUS [^\r\n]*\bUIDNEXT )(\d+)", lambda m: m[1] + b"%0*d" % (len(m[2]), int(m[2]) - 1)),
    ("a search", rb"(\* SEARCH[^\r\n]*) \d+\r\n", lambda m: m[1] + b"\r\n"),
])
def test_what_a_relay_falsifies_is_found(world, what, was, becomes):
    """In each answer of its kind on the way from the proxy; and the sequence becomes short."""
    relay = Relay(world.scene.way, edit=lambda way, data: re.sub(was, becomes, data) if way == DOWN else data)
    honest = world.addresses[1]
    world.addresses[1] = relay.url()
    try:
        found = world.run(SEED, steps=200, tries=8)
    finally:
        world.addresses[1] = honest
        relay.close()
    assert found, what
    assert f"seed {SEED}: at step {len(found.steps) - 1}" in str(found)
    assert len(found.steps) <= 12 and spell(found.steps[-1]) in str(found)


@pytest.mark.parametrize("one,other", [
    (b"* SEARCH 5 3 4", b"* SEARCH 3 4 5"), (b"* ESEARCH (TAG \"a\") UID ALL 1:3", b"* ESEARCH (TAG \"b\") UID ALL 1,2,3"),
    (b'* LIST (\\HasChildren \\Marked) "." "INBOX"', b'* LIST (\\HasChildren) "." inbox'),
    (b"* STATUS a (UIDNEXT 4 MESSAGES 3)", b'* STATUS "a" (MESSAGES 3 UIDNEXT 4)'),
])
def test_answers_that_say_the_same_are_equal(one, other):
    def understood(line):
        return value(read_answer(lambda: line, None))
    assert understood(one) == understood(other)
    assert understood(one) != understood(other.replace(b"3", b"6").replace(b"HasC", b"HasNoC"))
