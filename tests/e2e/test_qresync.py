"""Clients that keep MODSEQs (CONDSTORE and QRESYNC, RFC 7162) over a move: what they have synced before a flip, they bring up to
date after it without listing anything, and open sessions go over. On real servers, in each tier."""
import contextlib
import re
import threading

import pytest

from harness import mail, net
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.relay import DOWN, UP, Relay
from harness.moves import LETTER, copy, deliver, expunge, flag, flip, record
from harness.scene import connect, new_user

pytestmark = pytest.mark.writes_source
JUMP = 3000000


@pytest.fixture(scope="module", name="alike")
def alike_server(cert):
    """A new Dovecot that spells names as the old one does, and can be told its numbers."""
    with Dovecot("alike", separator=".", prefix="INBOX.", mail="mdbox", cert=cert, doveadm=True) as server:
        yield server


# ---- a client that keeps what it knows

def uids_of(text):
    found = set()
    for part in text.split(b","):
        first, _, end = part.partition(b":")
        found.update(range(int(first), int(end or first) + 1))
    return found


def set_of(uids):
    return b",".join(b"%d" % n for n in sorted(uids)) or b"1"


class Client:
    """Knows a mailbox by heart: UIDVALIDITY, the highest MODSEQ, and each UID with its flags."""

    def __init__(self, proxy, user):
        self.proxy, self.user = proxy, user
        self.known, self.validity, self.modseq = {}, None, None
        self.heard = []
        self.wire = None

    def online(self):
        self.offline()
        self.wire = connect(self.proxy)
        answer = self.wire.login(self.user)
        assert b" CONDSTORE" in answer and b" QRESYNC" in answer, answer
        assert self.enables[7:] in self.wire.command(b"e", self.enables)[0]
        return self

    def offline(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def take(self, lines):
        """What the server says, in its order. EXPUNGE must not come."""
        exists = None
        for line in lines:
            if found := re.match(rb"\* VANISHED (?:\(EARLIER\) )?(\S+)$", line):
                for uid in uids_of(found[1]) & set(self.known):
                    del self.known[uid]
            elif re.match(rb"\* \d+ FETCH", line):
                uid = self.uid_in(line)
                flags = set(re.search(rb"FLAGS \(([^)]*)\)", line)[1].split()) - {b"\\Recent"}
                modseq = int(re.search(rb"MODSEQ \((\d+)\)", line)[1])
                assert modseq > (self.floor or 0), (line, self.floor)
                self.known[uid] = flags
            elif found := re.match(rb"\* (\d+) EXISTS", line):
                exists = int(found[1])
            assert not re.match(rb"\* \d+ EXPUNGE", line), line
        self.heard = lines
        return exists

    def uid_in(self, line):
        """Where only CONDSTORE is enabled, the server may tell the number alone."""
        found = re.search(rb"UID (\d+)", line)
        return int(found[1]) if found else sorted(self.known)[int(line.split()[1]) - 1]

    floor, says_known, uidnext, enables = None, False, 1, b"ENABLE QRESYNC"

    def open(self):
        """As after a start: what it knows is brought up to date by one SELECT."""
        how = b""
        if self.validity:
            known = b" " + set_of(self.known) if self.says_known else b""
            how = b" (QRESYNC (%d %d%s))" % (self.validity, self.modseq, known)
        lines = self.wire.command(b"s", b"SELECT INBOX" + how)
        assert lines[-1].startswith(b"s OK"), lines
        validity = int(next(re.search(rb"UIDVALIDITY (\d+)", x)[1] for x in lines if b"[UIDVALIDITY" in x))
        if self.validity:
            assert validity == self.validity, lines
        exists = self.take(lines)
        resynced = self.heard
        if not self.validity or self.says_known:  # what it knows nothing of is asked for
            self.take(self.wire.command(b"f", b"UID FETCH %d:* (FLAGS MODSEQ)" % self.uidnext))
        self.heard = resynced
        self.uidnext = int(next(re.search(rb"UIDNEXT (\d+)", x)[1] for x in lines if b"[UIDNEXT" in x))
        self.validity = validity
        self.modseq = int(next(re.search(rb"HIGHESTMODSEQ (\d+)", x)[1] for x in lines if b"[HIGHESTMODSEQ" in x))
        assert exists == len(self.known), b"\n".join([b"%d" % exists, how, str(self.known).encode(), *lines]).decode()
        return self

    def sync(self):
        self.online().open().offline()
        return self

    def told(self, what):
        return [x for x in self.heard if re.match(rb"\* (\d+ )?" + what, x)]


def truth(proxy, user):
    """As a client sees it that knows nothing."""
    with contextlib.closing(Client(proxy, user).online().open().wire) as wire:
        lines = wire.command(b"t", b"UID FETCH 1:* (FLAGS)")
        return {int(re.search(rb"UID (\d+)", x)[1]): set(re.search(rb"FLAGS \(([^)]*)\)", x)[1].split()) - {b"\\Recent"}
                for x in lines if b"FETCH (" in x}


# ---- what staff do

class Move:
    def __init__(self, make_ferry, old, new, authority, tier, user=None, door=None, new_door=None):
        """door, new_door: relays by which the proxies reach the old server and the new one."""
        self.old, self.new, self.user, self.tier = old, new, user or new_user("qresync"), tier
        deliver(old, self.user, *range(12))
        if tier.startswith("T0"):
            old.doveadm("mailbox", "update", "-u", self.user, "--uid-validity", "1700000000", "INBOX")
        there = backend(new, "imap") if isinstance(new, Cyrus) else backend(new, ca=authority.ca, **new.doveadm_options())
        if tier in ("T1", "T2"):
            there["numbers"] = "none"
            net.wait_next_second()  # both servers might give one UIDVALIDITY by chance
        settings = {"migration": {"trigger": "manual", "cutover": "manual", "t1_max_gaps": 100 if tier == "T1" else 0}}
        if tier != "T1":
            del settings["migration"]["t1_max_gaps"]
        straight = backend(old, ca=authority.ca)
        self.ferry = make_ferry({"old": straight, "new": there}, settings)
        self.ferry.migrator()
        doors = {name: dict(section, address=one.url()) for name, section, one in (("old", straight, door), ("new", there, new_door)) if one}
        self.proxy = self.ferry.proxy(backends=doors)
        self.early = Client(self.proxy, self.user).sync()
        expunge(old, self.user, "2:3")
        if tier == "T0 with jump":
            old.doveadm("mailbox", "update", "-u", self.user, "--min-next-uid", str(JUMP), "INBOX")
        copy(self.ferry, self.user)
        deliver(old, self.user, 20, 21, 22)
        late = max(truth(self.proxy, self.user))
        self.middle = Client(self.proxy, self.user).sync()
        expunge(old, self.user, f"5,{late - 1}")
        flag(old, self.user, f"6,{late}")
        self.last = late

    def go(self):
        flip(self.ferry, self.user)
        assert f" tier={self.tier[:2]} " in record(self.ferry, self.user), record(self.ferry, self.user)
        view = self.ferry.route(self.user)["view"]
        plain = self.tier == "T0" and not isinstance(self.new, Cyrus)  # which has other names
        assert view.startswith("1=:m" if plain else "1:"), view
        self.floor = int(re.search(r" modseq=(\d+),", record(self.ferry, self.user))[1])


@pytest.fixture(name="move")
def make_move(make_ferry, old, alike, authority):
    def make(tier, new=alike, **how):
        return Move(make_ferry, old, new, authority, tier, **how)
    return make


@pytest.fixture(scope="module", name="cyrus")
def cyrus_server():
    with Cyrus("cyrus") as server:
        yield server


TIERS = ["T0", "T0 with jump", "T1", "T2"]


def check_offline(m):
    """Clients that knew the mailbox at different times before the flip, and what they are told after it."""
    exact = Client(m.proxy, m.user).sync()  # its MODSEQ is the old server's highest
    m.go()
    now = truth(m.proxy, m.user)
    assert 2 not in now and 5 not in now and m.last in now and b"\\Flagged" in now[6]
    for client in (m.early, m.middle, exact):
        before = client.modseq
        assert before <= m.floor
        client.floor, client.says_known = m.floor, client is not exact
        client.sync()
        assert client.known == now, (client.heard, now)
        assert client.modseq > m.floor
        client.sync()  # nothing is new
        assert client.known == now and not client.told(rb"FETCH") and not client.told(rb"VANISHED"), client.heard
    flag(m.new, m.user, "1")
    with mail.connect(m.new, m.user, "secret") as past:  # the new server may count otherwise
        past.select("INBOX")
        past.uid("STORE", past.uid("SEARCH", "ALL")[1][0].split()[1].decode(), "+FLAGS.SILENT", "(\\Deleted)")
        past.expunge()
    deliver(m.new, m.user, 30)
    exact.sync()
    assert exact.known == truth(m.proxy, m.user)
    assert len(exact.told(rb"FETCH")) <= 2, exact.heard  # what has changed, and no more
    return exact


@pytest.mark.parametrize("tier", TIERS)
def test_clients_come_back_after_the_flip(move, tier):
    m = move(tier)
    client = check_offline(m)
    # ... and after the way back
    before = client.modseq
    flip(m.ferry, m.user, "old")
    client.floor = None
    client.sync()
    assert client.known == truth(m.proxy, m.user) and client.modseq > before
    m.early.floor = None
    m.early.sync()
    assert m.early.known == client.known
    client.sync()
    assert not client.told(rb"FETCH") and not client.told(rb"VANISHED"), client.heard


def test_clients_come_back_to_a_cyrus(move, cyrus):
    check_offline(move("T0", cyrus, user="ann"))


@pytest.mark.parametrize("tier", TIERS)
def test_open_sessions_go_over(move, tier):
    """What other sessions do then is heard by MODSEQ and VANISHED, and by EXPUNGE where QRESYNC was not enabled."""
    m = move(tier)
    live, other = Client(m.proxy, m.user).online().open(), Client(m.proxy, m.user).online().open()
    plain = connect(m.proxy)
    plain.login(m.user)
    plain.command(b"s", b"SELECT INBOX")
    m.go()
    assert len(m.ferry.redis.client().hgetall(f"imapferry:sessions:{m.user}")) >= 3
    live.floor = other.floor = m.floor
    for line in (b"UID STORE 1 +FLAGS (\\Answered)", b"UID STORE 7:8 +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE 7:8",
                 b"APPEND INBOX {3+}\r\nabc"):
        answer = other.wire.command(b"o", line)
        assert answer[-1].startswith(b"o OK"), answer
        other.take(x for x in answer if b"FETCH" not in x or b"FLAGS" in x)
    exists = live.take(live.wire.command(b"n", b"NOOP"))
    assert live.told(rb"VANISHED") == [b"* VANISHED 7:8"], live.heard
    live.take([x for x in live.wire.command(b"f", b"UID FETCH %d:* (FLAGS MODSEQ)" % (m.last + 1))])
    now = truth(m.proxy, m.user)
    assert live.known == now and exists == len(now), (live.known, now, live.heard)
    heard = plain.command(b"n", b"NOOP")
    assert len([x for x in heard if x.endswith(b"EXPUNGE")]) == 2, heard
    assert not [x for x in heard if b"MODSEQ" in x or b"VANISHED" in x], heard
    m.proxy.wait_count("event=handed_over", 3)
    assert not m.proxy.find("not_handed_over")
    changed = live.wire.command(b"c", b"UID STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)")
    assert b"MODIFIED 1]" in changed[-1], changed
    plain.close()


class Door(Relay):
    """On the way to the old server: a STORE waits until another session's list of messages was taken from there."""

    def __init__(self, server, lists=rb"\(UID\)"):
        super().__init__(("127.0.0.1", server.port["imap"]), edit=self.look)
        self.lists = lists
        self.holds, self.held, self.listed = False, threading.Event(), threading.Event()
        self.tag = None

    def look(self, direction, data):
        if self.holds and direction == UP and b" UID STORE " in data:
            self.held.set()
            assert self.listed.wait(20)
        elif self.holds and direction == UP and (found := re.search(rb"(?m)^(\S+) FETCH 1:\d+ " + self.lists + rb"\r$", data)):
            self.tag = found[1]
        elif self.tag and direction == DOWN and self.tag + b" OK" in data:
            self.listed.set()
        return data


@pytest.mark.parametrize("enabled", [b"ENABLE QRESYNC", b"ENABLE CONDSTORE"])
@pytest.mark.parametrize("waits", ["at rest", "in IDLE"])
@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_flag_that_is_set_in_the_freeze_behind_a_session_s_list(move, old, tier, waits, enabled):
    """Neither server tells that session of it by itself, and what it hears next has a greater MODSEQ."""
    with contextlib.closing(Door(old)) as door:
        m = move(tier, door=door)
        live, other = Client(m.proxy, m.user), Client(m.proxy, m.user)
        live.enables = enabled
        live.online().open()
        other.online().open()
        if waits == "in IDLE":
            live.wire.line(b"i IDLE")
            live.wire.until(b"+")
        door.holds = True
        other.wire.line(b"o UID STORE 9 +FLAGS (\\Flagged)")
        assert door.held.wait(10)
        m.go()
        assert other.wire.until(b"o ")[-1].startswith(b"o OK") and door.listed.is_set()
        live.floor = m.floor
        assert other.wire.command(b"o", b"UID STORE 10 +FLAGS (\\Answered)")[-1].startswith(b"o OK")
        if waits == "in IDLE":
            live.wire.line(b"DONE")
            heard = live.wire.until(b"i ")
        else:
            heard = live.wire.command(b"n", b"NOOP")
        heard += live.wire.command(b"n", b"NOOP")  # the server may be slow to see what others do
        assert [x for x in heard if b"\\Answered" in x], heard
        live.take(heard)
        live.modseq = max(int(n) for x in heard for n in re.findall(rb"MODSEQ \((\d+)\)", x))
        live.enables = b"ENABLE QRESYNC"
        m.proxy.wait_count("event=handed_over", 2)
        assert live.sync().known == truth(m.proxy, m.user), (heard, live.heard)


def flags_told(lines):
    """UID -> flags, of FETCH answers without MODSEQ."""
    assert not [x for x in lines if b"MODSEQ" in x], lines
    told = [(re.search(rb"UID (\d+)", x), re.search(rb"FLAGS \(([^)]*)\)", x)) for x in lines if b" FETCH (" in x]
    return {int(uid[1]): set(flags[1].split()) - {b"\\Recent"} for uid, flags in told}


@pytest.mark.parametrize("waits", ["at rest", "in IDLE"])
@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_flag_that_is_set_in_the_freeze_is_told_without_condstore(move, old, tier, waits):
    """It was told none, until it opened the mailbox again. It is told this one, and no others."""
    with contextlib.closing(Door(old, lists=rb"\(FLAGS\)")) as door:
        m = move(tier, door=door)
        plain, other = connect(m.proxy), connect(m.proxy)
        for wire in (plain, other):
            wire.login(m.user)
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        assert len(flags_told(plain.command(b"f", b"UID FETCH 1:* (FLAGS)"))) > 5
        if waits == "in IDLE":
            plain.line(b"i IDLE")
            plain.until(b"+")
        door.holds = True
        other.line(b"o UID STORE 9 +FLAGS (\\Flagged)")
        assert door.held.wait(10)
        m.go()
        assert other.until(b"o ")[-1].startswith(b"o OK") and door.listed.is_set()
        if waits == "in IDLE":
            plain.line(b"DONE")
            heard = plain.until(b"i ")
        else:
            heard = plain.command(b"n", b"NOOP")
        told = flags_told(heard)
        assert set(told) == {9} and b"\\Flagged" in told[9], heard
        m.proxy.wait_count("event=handed_over", 2)
        plain.close()
        other.close()


@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_what_others_changed_is_told_without_condstore(move, tier):
    """Behind a long FETCH it goes over later than others. Message numbers are those of before the EXPUNGE until that is told."""
    m = move(tier)
    with mail.connect(m.old, m.user, "secret") as past:
        for n in range(8):
            assert past.append("INBOX", None, None, LETTER % n + (b"y" * 70 + b"\r\n") * 60000)[0] == "OK"
    plain, other = connect(m.proxy), connect(m.proxy)
    for wire in (plain, other):
        wire.login(m.user)
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    known = flags_told(plain.command(b"f", b"UID FETCH 1:* (FLAGS)"))
    plain.line(b"big UID FETCH 1:* (BODY.PEEK[])")
    assert plain.read_line().startswith(b"* 1 FETCH")
    m.go()
    for line in (b"UID STORE 1,7 +FLAGS.SILENT (\\Answered)", b"UID STORE 12 +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE 12"):
        assert other.command(b"o", line)[-1].startswith(b"o OK")
    plain.until(b"big ")
    heard = plain.command(b"n", b"NOOP")
    position = sorted(known).index(12) + 1
    assert [x for x in heard if x.endswith(b"EXPUNGE")] == [b"* %d EXPUNGE" % position], heard
    assert flags_told(heard) == {uid: known[uid] | {b"\\Answered"} for uid in (1, 7)}, heard
    del known[12]
    known.update(flags_told(heard))
    assert flags_told(plain.command(b"f", b"UID FETCH 1:* (FLAGS)")) == known
    m.proxy.wait_count("event=handed_over", 2)
    plain.close()
    other.close()


@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_an_account_that_an_older_release_has_moved(move, tier):
    """Its records do not tell how MODSEQs go on: clients are shown none, and no command with them passes."""
    m = move(tier)
    m.go()
    store, views, route = m.ferry.redis.client(), f"imapferry:views:{m.user}", f"imapferry:route:{m.user}"
    store.hset(views, "INBOX", re.sub(r" modseq=\S+", "", record(m.ferry, m.user)))
    store.hset(route, "view", "1=:ab" if tier == "T0" else "1:ab")
    with connect(m.ferry.proxy()) as wire:
        shown = wire.login(m.user)
        assert b"CONDSTORE" not in shown and b"QRESYNC" not in shown and b" ENABLE" in shown, shown
        assert wire.command(b"e", b"ENABLE QRESYNC") == [b"* ENABLED", b"e OK Nothing to enable"]
        opened = wire.command(b"s", b"SELECT INBOX")
        assert opened[-1].startswith(b"s OK") and not [x for x in opened if b"MODSEQ" in x], opened
        for command in (b"SELECT INBOX (CONDSTORE)", b"FETCH 1 MODSEQ", b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)",
                        b"STATUS INBOX (HIGHESTMODSEQ)", b"SEARCH MODSEQ 1"):
            assert wire.command(b"c", command)[-1].startswith(b"c BAD "), command


@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_what_others_changed_before_a_session_goes_over(move, tier):
    """Behind a long FETCH a session goes over later than others, and what these have changed at the new server is told to it by no
    SELECT. It is told before it hears any MODSEQ that lies above."""
    m = move(tier)
    with mail.connect(m.old, m.user, "secret") as past:
        for n in range(8):
            assert past.append("INBOX", None, None, LETTER % n + (b"y" * 70 + b"\r\n") * 60000)[0] == "OK"
    live, other = Client(m.proxy, m.user).online().open(), Client(m.proxy, m.user).online().open()
    live.wire.line(b"big UID FETCH 1:* (BODY.PEEK[])")  # of which it reads nothing for a while
    assert live.wire.read_line().startswith(b"* 1 FETCH")
    m.go()
    for line in (b"UID STORE 1,7 +FLAGS.SILENT (\\Answered)", b"UID STORE 12 +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE 12"):
        assert other.wire.command(b"o", line)[-1].startswith(b"o OK")
    live.wire.until(b"big ")
    live.floor = m.floor
    heard = live.wire.command(b"n", b"NOOP") + live.wire.command(b"c", b"UID STORE 8 +FLAGS (\\Seen)")
    live.take(heard)
    m.proxy.wait_count("event=handed_over", 2)
    assert live.known[8] == {b"\\Seen"} and 12 not in live.known, heard
    live.modseq = max(int(n) for x in heard for n in re.findall(rb"MODSEQ \((\d+)\)", x))
    live.sync()
    assert live.known == truth(m.proxy, m.user)


@pytest.mark.parametrize("back", [False, True], ids=["plain", "back"])
def test_the_store_is_lost_and_restored(move, back):
    """Where nobody knows any more what clients were shown, they are shown no MODSEQs rather than less than before; where the new
    server goes on by itself, they are."""
    m = move("T0")
    client = Client(m.proxy, m.user).sync()
    m.go()
    if back:
        flip(m.ferry, m.user, "old")
    client.sync()
    flag(m.old if back else m.new, m.user, "7")
    for daemon in list(m.ferry.daemons):
        daemon.stop()
    m.ferry.redis.client().flushall()
    status, answer = m.ferry.ctl("route", "restore", m.ferry.folder + "/journal")
    assert status == 0 and answer["restored"] == 1, answer
    client.proxy = m.ferry.proxy()
    if not back:
        client.sync()
        assert client.known == truth(client.proxy, m.user) and b"\\Flagged" in client.known[7]
        return
    with connect(client.proxy) as wire:
        shown = wire.login(m.user)
        opened = wire.command(b"s", b"SELECT INBOX")
        assert b"CONDSTORE" not in shown and b"QRESYNC" not in shown and not [x for x in opened if b"MODSEQ" in x], (shown, opened)
