"""A lane goes on to the next mailbox while the last bytes of the one before are still read back, and begins with a mailbox
that is there while others are made: what breaks there is tried again, and nothing is lost or doubled. There is one lane, and
the target's answers are held until it has gone on."""
import threading

import pytest

from harness.ferry import backend
from harness.relay import UP, Relay
from harness.scene import assert_equal, fill, new_user, small

# Longer than answers are held for here.
LIMITS = {"migration": {"cutover": "manual"}, "migrator": {"command_timeout": "40s"}}
BRIEF = {"migration": {"cutover": "manual"}, "migrator": {"command_timeout": "5s"}}


class Held:
    """Edits what passes to and from the target. The answers to the first such command (of reading back; of making) wait for the
    SELECT of the next mailbox; then act() is called, once."""

    def __init__(self, command, act, change=lambda data: data):
        self.command, self.act, self.change = command, act, change
        self.asked, self.went_on = threading.Event(), threading.Event()
        self.waited_in_vain = False

    def edit(self, direction, data):
        if direction == UP:
            asked = self.asked.is_set() or self.command in data
            if asked and not self.went_on.is_set() and b" SELECT " in data[max(data.find(self.command), 0):]:
                self.act()
                self.went_on.set()
            if asked:
                self.asked.set()
            return data
        if self.asked.is_set() and not self.went_on.is_set():
            self.waited_in_vain = not self.went_on.wait(20) or self.waited_in_vain
        return self.change(data) if self.went_on.is_set() else data


def copy(make_ferry, old, new, how, settings=None, command=b"BODY.PEEK"):
    """how(source, target) -> what happens when the lane has gone on, and how bytes change from then on. Returns how many
    mailboxes were begun more than once."""
    user = new_user("lane")
    fill(old, user, small(messages=60))
    source = Relay(("127.0.0.1", old.port["imap"]))
    target = Relay(("127.0.0.1", new.port["imap"]))
    held = Held(command, *how(source, target))
    target.edit = held.edit
    ferry = make_ferry({"old": backend(source, "imap", max_connections=1), "new": backend(target, "imap", max_connections=1)},
                       settings or LIMITS)
    try:
        migrator = ferry.migrator()
        ferry.ctl("migrate", user)
        ferry.wait_state(user, "ready", timeout=60)
        assert held.went_on.is_set() and not held.waited_in_vain, "the lane went on only when all was answered"
        assert_equal(old, new, user, 60)
        mailboxes, opened = migrator.find(r"event=pass .*\bnumber=1 .*\bmailboxes=(\d+) .*\bopened=(\d+) ")[0].groups()
        return int(opened) - int(mailboxes)
    finally:
        source.close()
        target.close()


def test_lane_goes_on_before_all_is_read_back(make_ferry, old, new):
    assert copy(make_ferry, old, new, lambda source, target: (lambda: None,)) == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_connection_is_cut_while_the_next_mailbox_is_opened(make_ferry, old, new, side):
    copy(make_ferry, old, new, lambda source, target: ((source if side == "source" else target).reset,))


def test_target_stalls_while_the_next_mailbox_is_opened(make_ferry, old, new):
    """For longer than a command may take."""
    def stall(_, target):
        def act():
            target.stall()
            threading.Timer(8, target.resume).start()
        return (act,)
    copy(make_ferry, old, new, stall, BRIEF)


def test_bytes_differ_when_the_lane_has_gone_on(make_ferry, old, new):
    """The source has to be read a second time, which shows the next mailbox by then: the copy is done once more, alone."""
    changed = []

    def change(data):
        if not changed and b"\r\nSubject: " in data:
            changed.append(True)
            return data.replace(b"\r\nSubject: ", b"\r\nSubjcet: ", 1)
        return data
    assert copy(make_ferry, old, new, lambda source, target: (lambda: None, change)) == 2, "it, and the one behind it"
    assert changed


def test_mailbox_that_is_there_is_opened_before_the_others_are_made(make_ferry, old, new):
    assert copy(make_ferry, old, new, lambda source, target: (lambda: None,), command=b" CREATE ") == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_connection_is_cut_while_mailboxes_are_made_and_one_is_opened(make_ferry, old, new, side):
    copy(make_ferry, old, new, lambda source, target: ((source if side == "source" else target).reset,), command=b" CREATE ")


def test_lanes_are_signed_in_while_a_new_account_is_listed(make_ferry, old, new):
    """On a long way, where it is not known yet that the account has one mailbox."""
    user = new_user("far")
    source, target = Relay(("127.0.0.1", old.port["imap"])), Relay(("127.0.0.1", new.port["imap"]))
    source.delay(0.03)
    target.delay(0.03)
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, LIMITS)
    try:
        ferry.migrator()
        ferry.ctl("migrate", user)
        ferry.wait_state(user, "ready", timeout=60)
        assert source.connections >= 6 and target.connections >= 6
    finally:
        source.close()
        target.close()
