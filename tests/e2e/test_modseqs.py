"""What the view records tell of MODSEQs after each move (RFC 7162): all that clients were shown before is at most the floor,
all that they are shown now (what the server says, and the shift) is above it. On real servers."""
import os
import re

import pytest

from harness import mail
from harness.courier import Courier
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.moves import LETTER, age, copy, deliver, expunge, flag, flip, highest, move, record, start
from harness.scene import new_user

pytestmark = pytest.mark.writes_source
SLACK = 1 << 20


@pytest.fixture(scope="module", name="alike")
def alike_server(cert):
    """A new Dovecot that spells names as the old one does, and can be told its numbers."""
    with Dovecot("alike", separator=".", prefix="INBOX.", mail="mdbox", cert=cert, doveadm=True) as server:
        yield server


@pytest.fixture(scope="module", name="told")
def told_server(cert):
    """One that spells them otherwise."""
    with Dovecot("told", separator="/", mail="mdbox", cert=cert, doveadm=True) as server:
        yield server


@pytest.fixture(scope="module", name="cyrus")
def cyrus_server():
    with Cyrus("cyrus") as server:
        yield server


@pytest.fixture(name="sides")
def alike_sides(old, alike, authority):
    return {"old": backend(old, ca=authority.ca), "new": backend(alike, ca=authority.ca, **alike.doveadm_options())}


# ---- what users do, past the proxies

def modseqs(server, user):
    """{UID: MODSEQ}"""
    with mail.connect(server, user, "secret") as m:
        assert m.select("INBOX", readonly=True)[0] == "OK"
        rows = [r.decode() for r in m.uid("FETCH", "1:*", "(UID MODSEQ)")[1] if r]
        return {int(re.search(r"UID (\d+)", r)[1]): int(re.search(r"MODSEQ \((\d+)\)", r)[1]) for r in rows}


def vanished(server, user, since, last):
    """What a server itself tells a client to have gone."""
    with mail.connect(server, user, "secret") as m:
        m.enable("QRESYNC")
        assert m.select("INBOX", readonly=True)[0] == "OK"
        m.untagged_responses.clear()
        assert m.uid("FETCH", f"1:{last}", f"(FLAGS) (CHANGEDSINCE {since} VANISHED)")[0] == "OK"
        told = b"".join(x for x in m.untagged_responses.get("VANISHED", []) if x).decode()
        uids = set()
        for part in filter(None, told.removeprefix("(EARLIER) ").split(",")):
            first, _, end = part.partition(":")
            uids.update(range(int(first), int(end or first) + 1))
        return uids


# ---- what staff do

def told_of(ferry, user):
    """(floor, shift, jumped); None: the record does not say."""
    found = re.search(r" highest=\d+ modseq=(\d+),(\d+)(,j)? tier=", record(ferry, user))
    return found and (int(found[1]), int(found[2]), bool(found[3]))


def reported(ferry, user):
    (box,) = [b for b in ferry.ctl("user", user, "--report")[1]["report"]["mailboxes"] if b["name"] == "INBOX"]
    return box["modseqs"]


def version(ferry, user):
    return re.match(r"1[=<]?:m?", ferry.route(user)["view"])[0]


def assert_goes_on(ferry, user, server, shown):
    """shown: the highest that a client was shown before."""
    floor, shift, _ = told_of(ferry, user)
    assert floor >= shown + SLACK, (floor, shown)
    assert all(m + shift > floor for m in modseqs(server, user).values())
    assert highest(server, user) + shift > floor


# ---- tests

def test_short_gaps(make_ferry, sides, old, alike):
    """They are filled, so the server itself answers rightly to what clients ask about the time before: nothing is to be
    rewritten."""
    user = new_user("short")
    age(old, user)
    deliver(old, user, *range(20))
    was = highest(old, user)
    expunge(old, user, "1:3,9,12:15")
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    deliver(old, user, 20, 21, 22)
    expunge(old, user, "16,21,23")
    shown = highest(old, user)
    flip(ferry, user)
    floor, shift, jumped = told_of(ferry, user)
    assert (shift, jumped) == (0, False), record(ferry, user)
    assert_goes_on(ferry, user, alike, shown)
    assert version(ferry, user) == "1=:m"
    for since in (was, shown, floor):
        assert vanished(alike, user, since, 23) == {1, 2, 3, 9, 12, 13, 14, 15, 16, 21, 23}


def test_long_gaps(make_ferry, sides, old, alike):
    """They are jumped over, and no proxy may leave it to the server to answer for them."""
    user = new_user("long")
    age(old, user)
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "3000000", "INBOX")
    deliver(old, user, 2)
    shown = highest(old, user)
    ferry = start(make_ferry, sides)
    move(ferry, user)
    assert told_of(ferry, user)[1:] == (0, True), record(ferry, user)
    assert_goes_on(ferry, user, alike, shown)
    assert version(ferry, user) == "1:"


@pytest.mark.parametrize("filled", [True, False])
def test_gaps_that_could_be_jumped(make_ferry, sides, old, told, alike, authority, filled):
    """They are filled all the same, unless they are too long; but not where proxies have names to rewrite anyway."""
    user = new_user("could")
    age(old, user)
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "3000", "INBOX")
    deliver(old, user, 2)
    shown = highest(old, user)
    server = alike if filled else told
    if not filled:
        sides["new"] = backend(told, ca=authority.ca, **told.doveadm_options())
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "6000", "INBOX")
    deliver(old, user, 3)
    flip(ferry, user)
    assert told_of(ferry, user)[1:] == (0, not filled), record(ferry, user)
    assert reported(ferry, user) == ("kept" if filled else "jumped")
    assert_goes_on(ferry, user, server, shown)
    assert version(ferry, user) == ("1=:m" if filled else "1:")
    assert list(modseqs(server, user)) == [1, 3000, 6000]


@pytest.mark.parametrize("gap", [450, 600])
def test_a_gap_that_comes_in_the_freeze(make_ferry, sides, old, alike, gap):
    """There time is short: up to 500 fillers are sent, and what would take more is jumped over. Both keep each UID, and nothing is
    left of the fillers."""
    user = new_user("frozen")
    age(old, user)
    deliver(old, user, 1, 2)
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    letter, path = (os.path.join(ferry.folder, name) for name in ("letter", "hook"))
    with open(letter, "wb") as f:
        f.write(LETTER % 3)
    doveadm = f"doveadm -c {old.config}"
    with open(path, "w", encoding="utf-8") as f:  # when all sessions rest, before the last pass
        f.write(f"#!/bin/sh\nset -e\n{doveadm} mailbox update -u {user} --min-next-uid {3 + gap} INBOX\n"
                f"{doveadm} save -u {user} -m INBOX {letter}\n")
    os.chmod(path, 0o755)
    ferry.settings["migration"]["hook_freeze"] = [path]
    ferry.daemons[-1].stop()
    ferry.migrator()
    flip(ferry, user)
    shown = highest(old, user)
    assert list(modseqs(alike, user)) == [1, 2, 3 + gap] == list(modseqs(old, user))
    assert told_of(ferry, user)[1:] == (0, gap > 500), record(ferry, user)
    assert reported(ferry, user) == ("kept" if gap < 500 else "jumped")
    assert_goes_on(ferry, user, alike, shown)
    assert version(ferry, user) == ("1=:m" if gap < 500 else "1:")


def test_there_and_back(make_ferry, sides, old, alike):
    """And once more: each move lies above all that was shown before."""
    user = new_user("back")
    age(old, user)
    deliver(old, user, *range(10))
    ferry = start(make_ferry, sides)
    here, there, shown = old, alike, highest(old, user)
    for n, to in enumerate(["new", "old", "new", "old"]):
        move(ferry, user, to)
        here, there = there, here
        assert_goes_on(ferry, user, here, shown)
        assert version(ferry, user) == ("1=:m" if n == 0 else "1<:" if to == "old" else "1:"), record(ferry, user)
        floor, shift, _ = told_of(ferry, user)
        assert (shift == 0) == (n == 0) and shift in (0, floor)
        deliver(here, user, 100 + n)
        flag(here, user, "1:*")
        shown = highest(here, user) + shift


def test_source_grows_past_the_base(make_ferry, sides, old, alike):
    """What the target was told is not above all that clients have seen any more."""
    user = new_user("grows")
    age(old, user)
    deliver(old, user, *range(5))
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    old.doveadm("mailbox", "update", "-u", user, "--min-highest-modseq", str(1 << 33), "INBOX")
    deliver(old, user, 5)
    shown = highest(old, user)
    assert shown > 1 << 33
    flip(ferry, user)
    assert_goes_on(ferry, user, alike, shown)
    assert told_of(ferry, user) == (shown + SLACK, shown + SLACK, False)
    assert reported(ferry, user) == "shifted"
    assert " tier=T0 " in record(ferry, user) and version(ferry, user) == "1:"


@pytest.mark.parametrize("fault,jumped", [("channel.doveadm.sent:2", True), ("channel.doveadm.answered:2", True),
                                          ("channel.doveadm.answered:1", True), ("script.stamps.sent:1", True),
                                          ("ledger.fill.sent:1", False), ("ledger.filled.sent:1", False),
                                          ("ledger.filled.answered:1", False), ("script.stamps.sent:1", False)])
def test_killed(make_ferry, sides, old, alike, fault, jumped):
    """Before and behind a jump, or a filler: what the record says of it is right all the same."""
    user = new_user("killed")
    age(old, user)
    deliver(old, user, *range(5))
    if jumped:
        old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "3000000", "INBOX")
    expunge(old, user, "2:3")
    deliver(old, user, 5, 6)
    shown = highest(old, user)
    ferry = make_ferry(sides, {"migration": {"trigger": "manual", "cutover": "manual"},
                               "migrator": {"job_lease": "3s", "command_timeout": "2s"}})
    dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": f"{fault}:kill"})
    assert ferry.ctl("migrate", user)[0] == 0
    dead.process.wait(30)
    dead.kill()
    ferry.migrator()
    ferry.wait_state(user, "ready", timeout=60)
    flip(ferry, user)
    assert told_of(ferry, user)[1:] == (0, jumped), record(ferry, user)
    assert_goes_on(ferry, user, alike, shown)
    if not jumped:
        assert vanished(alike, user, shown, 7) == {2, 3}


def test_cyrus(make_ferry, old, cyrus, authority):
    user = new_user("ann")
    deliver(old, user, *range(10))
    expunge(old, user, "1,4:5,10")
    shown = highest(old, user)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(cyrus, "imap")})
    move(ferry, user)
    assert told_of(ferry, user)[1:] == (0, False), record(ferry, user)
    assert_goes_on(ferry, user, cyrus, shown)
    assert vanished(cyrus, user, shown, 10) == {1, 4, 5, 10}


def test_other_uids(make_ferry, sides, old, alike):
    user = new_user("other")
    age(old, user)  # else both servers may give one UIDVALIDITY by chance
    deliver(old, user, *range(10))
    expunge(old, user, "1,4:5")
    shown = highest(old, user)
    sides["new"]["numbers"] = "none"
    ferry = start(make_ferry, sides)
    move(ferry, user)
    assert told_of(ferry, user) == (shown + SLACK, shown + SLACK, False)
    assert_goes_on(ferry, user, alike, shown)
    assert " tier=T2 " in record(ferry, user) and version(ferry, user) == "1:"


def test_source_without_condstore(make_ferry, alike, authority):
    """Clients were shown none: nothing is told, and all stays as it was."""
    with Courier("old") as old:
        user = new_user("courier")
        with mail.connect(old, user, "secret") as m:
            for n in range(5):
                assert m.append("INBOX", None, None, LETTER % n)[0] == "OK"
        sides = {"old": backend(old, "imap", master=False),
                 "new": backend(alike, ca=authority.ca, **alike.doveadm_options())}
        ferry = make_ferry(sides, {"migration": {"cutover": "manual"}})
        ferry.seal_keys()
        ferry.migrator()
        ferry.login(ferry.proxy(), user, "secret").logout()
        ferry.wait_state(user, "ready", timeout=60)
        flip(ferry, user)
        assert told_of(ferry, user) is None, record(ferry, user)
    assert reported(ferry, user) == "none"


def test_by_force(make_ferry, sides, old, alike):
    """Clients start again, so nothing is told."""
    user = new_user("force")
    deliver(old, user, *range(3))
    deliver(alike, user, 1)
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    assert ferry.ctl("flip", user, "--to", "new", "--force", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    assert told_of(ferry, user) is None and " tier=T3 " in record(ferry, user)
