"""What users do to their mailboxes in the middle of a move: while they are copied, and while the account stands still; on the
first move, and on a second one, when clients see the account by its records."""
import contextlib
import re
import signal

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.scene import assert_equal, connect, fill, new_user
from harness.viewed import MANUAL, code, lines_of, seen, select, uids

pytestmark = pytest.mark.writes_source
MAILBOXES = [("INBOX",), ("Sent",), ("Tree",), ("Tree", "a"), ("Tree", "a", "b")]
FREEZE = {"migration": dict(MANUAL["migration"], freeze_budget="30s")}
FROZEN = "bypass.sent:1:stop"  # the last pass is over, and its records are written


@contextlib.contextmanager
def stopped(daemon):
    """In the middle of what it does; it goes on at the end."""
    net.wait_until("it stops", daemon.is_stopped, timeout=60)
    try:
        yield
    finally:
        daemon.signal(signal.SIGCONT)


def holding(a, point):
    """Another migrator, which stops once at this point."""
    a.migrator.stop()
    a.migrator = a.ferry.migrator(env={"IMAPFERRY_FAULT": point})
    return a.migrator


class First:
    """An account on its first move, with mailboxes below each other; clients are at a proxy."""

    def __init__(self, make_ferry, old, new, authority, point):
        self.old, self.new, self.user = old, new, new_user("first")
        self.messages = mail.sample(11, 60, MAILBOXES, sizes=(300, 6000))
        fill(old, self.user, self.messages)
        self.ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, FREEZE)
        self.proxy = self.ferry.proxy()
        self.migrator = self.ferry.migrator(env={"IMAPFERRY_FAULT": point})
        assert self.ferry.ctl("migrate", self.user)[0] == 0

    def flip(self):
        assert self.ferry.ctl("flip", self.user, "--to", "new", "--reason", "test")[0] == 0


@pytest.fixture(name="first")
def make_first(make_ferry, old, new, authority):
    return lambda point: First(make_ferry, old, new, authority, point)


def rename(wire, name, to):
    return wire.command(b"r", f"RENAME INBOX.{name} INBOX.{to}".encode())[-1]


RENAMED = {"INBOX": "INBOX", "INBOX.Old": "INBOX.Sent", "INBOX.Moved": "INBOX.Tree", "INBOX.Moved.a": "INBOX.Tree.a",
           "INBOX.Moved.a.b": "INBOX.Tree.a.b"}


def assert_moved(wire, known):
    """Each mailbox is under its new name what it was under its old one, and there is nothing under that."""
    for name, before in RENAMED.items():
        assert seen(wire, name) == known[before], name
        if name != before:
            assert select(wire, before)[-1].startswith(b"s NO"), before


@pytest.mark.parametrize("point", ["command.APPEND.answered:2:stop", "command.CREATE.answered:1:stop"])
def test_mailboxes_are_renamed_while_they_are_copied(first, point):
    a = first(point)
    with connect(a.proxy) as wire:
        assert wire.login(a.user).startswith(b"l1 OK")
        known = {name: seen(wire, name) for name in RENAMED.values()}
        wire.command(b"x", b"SELECT INBOX")
        with stopped(a.migrator):
            assert a.ferry.route(a.user)["state"] == "copying"
            for name, to in (("Sent", "Old"), ("Tree", "Moved")):
                assert rename(wire, name, to).startswith(b"r OK")
        a.ferry.wait_state(a.user, "ready", timeout=90)
        a.flip()
        a.ferry.wait_state(a.user, "flipped", timeout=90)
    assert_equal(a.old, a.new, a.user, 60)
    with connect(a.proxy) as wire:
        assert wire.login(a.user).startswith(b"l1 OK")
        assert_moved(wire, known)


def test_mailboxes_are_renamed_in_the_freeze(first):
    """The commands wait, and are executed where the account is then, by the names and numbers that the client knows."""
    a = first(FROZEN)
    a.ferry.wait_state(a.user, "ready", timeout=90)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connect(a.proxy)) for _ in range(2)]
        for wire in wires:
            assert wire.login(a.user).startswith(b"l1 OK")
        known = {name: seen(wires[0], name) for name in RENAMED.values()}
        for wire in wires:
            wire.command(b"x", b"SELECT INBOX")
        a.flip()
        with stopped(a.migrator):
            assert a.ferry.route(a.user)["state"] == "freezing"
            wires[0].line(b"r RENAME INBOX.Sent INBOX.Old")
            wires[1].line(b"r RENAME INBOX.Tree INBOX.Moved")
        for wire in wires:
            assert wire.until(b"r ")[-1].startswith(b"r OK")
        a.ferry.wait_state(a.user, "flipped", timeout=90)
        assert not a.proxy.find("event=not_handed_over.*")
        for wire in wires:
            assert_moved(wire, known)
    source = mail.connect(a.old, a.user, "secret")
    assert source.select("INBOX.Sent", readonly=True)[0] == "OK", "nothing was renamed there"
    source.logout()


# ---- a second move

@pytest.mark.parametrize("when", ["copying", "to the end"])
def test_a_mailbox_is_deleted_in_a_second_move(account, when):
    """... and made anew by a server that gives one UIDVALIDITY for ever: what clients see of it is new to them, then and after
    the move, though the migrator has read the records before. A RENAME is refused meanwhile, but for one without a record."""
    a = account("job", settings=FREEZE)
    wire = a.session()
    validity, _, known = a.at_source("INBOX.Sent")
    assert seen(wire, "INBOX.Sent")[2] == known
    real = re.search(r"uidvalidity=\d+,(\d+)", a.store.hget(a.records, "INBOX.Sent"))[1]
    assert wire.command(b"c", b"CREATE INBOX.Made")[-1].startswith(b"c OK")
    wire.command(b"x", b"SELECT INBOX")
    held = holding(a, "command.LIST.answered:1:stop")
    if when == "copying":
        assert a.ferry.ctl("migrate", a.user, "--to", "old")[0] == 0
    else:
        assert a.ferry.ctl("flip", a.user, "--to", "old", "--reason", "test")[0] == 0
    with stopped(held):
        assert a.ferry.route(a.user)["owner"], "a job is under way"
        assert rename(wire, "Drafts", "Other").startswith(b"r NO [UNAVAILABLE]")
        assert rename(wire, "Made", "Kept").startswith(b"r OK")
        assert wire.command(b"d", b"DELETE INBOX.Sent")[-1].startswith(b"d OK")
        target = a.at_target()
        assert target.create("Sent")[0] == "OK"
        a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", real, "Sent")
        for i in range(len(known) + 3):
            assert target.append("Sent", None, None, b"Subject: anew %d\r\n\r\nanew\r\n" % i)[0] == "OK"
        target.logout()
        now = [seen(w, "INBOX.Sent") for w in (wire, a.session(proxy=1))]
        assert now[0] == now[1] and now[0][0] > validity and now[0][2] == list(range(1, len(known) + 4))
        wire.command(b"x", b"SELECT INBOX")
        # The migrator can't tell them apart by that either, and would ask a person.
        a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", "5", "Sent")
        now = [seen(wire, "INBOX.Sent")]
        wire.command(b"x", b"SELECT INBOX")
    if when == "copying":
        a.ferry.wait_state(a.user, "ready", timeout=90)
        assert seen(wire, "INBOX.Sent") == now[0]
        a.flip("old")
    a.ferry.wait_state(a.user, "held", timeout=90)
    wire = a.session()
    home = seen(wire, "INBOX.Sent")
    assert home[0] > now[0][0] and len(home[2]) >= len(now[0][2])  # what was there before is the user's own, and stays
    assert select(wire, "INBOX.Kept")[-1].startswith(b"s OK") and select(wire, "INBOX.Made")[-1].startswith(b"s NO")


def modseqs(wire):
    """HIGHESTMODSEQ, and {UID: MODSEQ}, of INBOX."""
    answer = wire.command(b"m", b"SELECT INBOX (CONDSTORE)")
    assert answer[-1].startswith(b"m OK"), answer
    rows = [line.decode() for line in lines_of(wire.command(b"f", b"UID FETCH 1:* (UID MODSEQ)"), b"FETCH")]
    each = {int(re.search(r"UID (\d+)", r)[1]): int(re.search(r"MODSEQ \((\d+)\)", r)[1]) for r in rows}
    return code(answer, b"HIGHESTMODSEQ"), each


def resynced(a, validity, since):
    """UIDs that are told as gone, and as changed, to a client that has seen this MODSEQ."""
    wire = a.session(proxy=1)
    wire.command(b"e", b"ENABLE QRESYNC")
    answer = wire.command(b"q", b"SELECT INBOX (QRESYNC (%d %d))" % (validity, since))
    assert answer[-1].startswith(b"q OK"), answer
    gone = set()
    for line in lines_of(answer, b"VANISHED"):
        for part in line.split()[-1].split(b","):
            first, _, last = part.partition(b":")
            gone.update(range(int(first), int(last or first) + 1))
    return gone, {int(re.search(rb"UID (\d+)", line)[1]) for line in lines_of(answer, b"FETCH")}


@pytest.mark.parametrize("tier", ["T1", "T2"])
def test_a_second_move_is_called_off(account, tier):
    """In the freeze, when the records are written already: the view is as it was, for who was there and for who comes, and no
    client misses what has changed."""
    settings = {"migration": dict(MANUAL["migration"], freeze_budget="3s", t1_max_gaps=0 if tier == "T2" else 5000),
                "migrator": {"retry_min": "60s", "retry_max": "60s"}}
    a = account("off", settings=settings, tier=tier)
    wire, idle = a.session(), a.session("INBOX.Sent")
    before = {name: seen(wire, name) for name in a.names}
    highest, of_each = modseqs(wire)
    assert highest and of_each
    records = a.store.hgetall(a.records)
    assert f"tier={tier}" in records["INBOX"]
    held = holding(a, FROZEN)
    assert a.ferry.ctl("flip", a.user, "--to", "old", "--reason", "test")[0] == 0
    with stopped(held):
        assert a.store.hgetall(a.records) != records, "they are written"
        net.wait_until("the thaw", lambda: a.ferry.route(a.user)["state"] == "ready", timeout=30)
        held.kill()  # or it would try again at once
    for w in (wire, a.session(proxy=1)):
        assert {name: seen(w, name) for name in a.names} == before
    assert uids(idle) == before["INBOX.Sent"][2]
    later, each = modseqs(a.session())
    assert later >= highest and set(each) == set(of_each) and max(each.values()) <= later
    # What changes now is above all that clients know.
    uid, other = before["INBOX"][2][0], before["INBOX"][2][1]
    modseqs(wire)
    assert wire.command(b"k", b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)[-1].startswith(b"k OK")
    assert wire.command(b"g", b"UID EXPUNGE %d" % uid)[-1].startswith(b"g OK")
    assert wire.command(b"h", b"UID STORE %d +FLAGS.SILENT ($Later)" % other)[-1].startswith(b"h OK")
    for since in (highest, later):
        gone, changed = resynced(a, before["INBOX"][0], since)
        assert uid in gone and not gone & set(uids(wire)) and other in changed, since
    assert a.ferry.route(a.user)["state"] == "ready"
    a.migrator = a.ferry.migrator()
    a.ferry.ctl("flip", a.user, "--to", "old", "--reason", "test")  # unless the next attempt was faster
    a.ferry.wait_state(a.user, "held", timeout=90)
    wire = a.session()
    home = seen(wire, "INBOX")
    assert home[0] >= before["INBOX"][0] and len(home[2]) == len(before["INBOX"][2]) - 1
