"""Live sessions over a flip: no client is disconnected that can go on, and each case that can go wrong, on real servers.

`old` and `twin` spell names alike, so that names need no rewriting; the migrator's copies get the source's UIDVALIDITY and
UIDs because the mailboxes are made so before."""
import contextlib
import re
import threading
import time

import pytest

from harness import mail, monitor, net
from harness.deflated import Deflated, compress
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.relay import UP, Relay
from harness.scene import assert_equal, connect, fill, new_user, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}


@pytest.fixture(scope="module", name="twin")
def twin_server(cert):
    """A new server that spells names as the old one does."""
    with Dovecot("twin", separator=".", prefix="INBOX.", mail="mdbox", cert=cert) as server:
        yield server


def status(server, user, mailbox, what):
    out = server.doveadm("-f", "tab", "mailbox", "status", "-u", user, what, mailbox)
    return int(out.split()[-1])


def same_numbers(old, new, user, *mailboxes):
    """Gives the new server's empty mailboxes the UIDVALIDITY of the old one's."""
    for name in mailboxes or ("INBOX",):
        if name != "INBOX":
            new.doveadm("mailbox", "create", "-u", user, name)
        value = status(old, user, name, "uidvalidity")
        new.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(value), name)


def deliver(server, user, subject, mailbox="INBOX"):
    m = mail.connect(server, user, "secret")
    assert m.append(mailbox, None, None, f"Subject: {subject}\r\n\r\n{subject}\r\n".encode())[0] == "OK"
    m.logout()


def change(server, user, command, mailbox="INBOX"):
    """Something that another client does at the server itself."""
    m = mail.connect(server, user, "secret")
    assert m.select(mailbox)[0] == "OK"
    command(m)
    m.logout()


def expunge(server, user, uids):
    def go(m):
        assert m.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
        assert m.uid("EXPUNGE", uids)[0] == "OK"
    change(server, user, go)


class Scene:
    """An account of messages in INBOX, copied and ready to be flipped; two proxies."""

    def __init__(self, make_ferry, old, new, authority, label, messages=5, mailboxes=("INBOX",), settings=None, source=None,
                 target=None, store=None, big=()):
        self.old, self.new, self.user = old, new, new_user(label)
        self.messages = messages + len(big)
        account = small(messages=messages, big=big)
        for message in account.messages:
            message.mailbox = ("INBOX",)
        fill(old, self.user, account)
        same_numbers(old, new, self.user, *mailboxes)
        both = {"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}
        self.ferry = make_ferry(both, settings or MANUAL)
        through = {"backends": {"old": backend(source, "imap")}} if source else {}
        if target:
            through = {"backends": {"new": backend(target, "imap")}}
        if store:
            through["redis"] = {"url": store}
        self.proxies = [self.ferry.proxy(proxy=monitor.LISTEN, **more) for more in (through, {})]
        self.migrator = self.ferry.migrator()
        self.wires = contextlib.ExitStack()

    def session(self, mailbox=b"INBOX", verb=b"SELECT", proxy=0):
        wire = self.wires.enter_context(connect(self.proxies[proxy]))
        assert wire.login(self.user).startswith(b"l1 OK")
        if mailbox:
            assert wire.command(b"s", verb + b" " + mailbox)[-1].startswith(b"s OK")
        return wire

    def ready(self):
        assert self.ferry.ctl("migrate", self.user)[0] == 0
        self.ferry.wait_state(self.user, "ready")

    def begin(self):
        assert self.ferry.ctl("flip", self.user, "--to", "new", "--reason", "test")[0] == 0

    def flip(self, timeout=40):
        self.begin()
        self.ferry.wait_state(self.user, "flipped", timeout=timeout)

    def handed_over(self, proxy=0, n=1):
        def there():
            failed = self.proxies[proxy].find("event=not_handed_over.*")
            assert not failed, self.proxies[proxy].tail()
            return len(self.proxies[proxy].find(r"event=handed_over\b")) >= n
        net.wait_until("hand-over", there)

    def states(self):
        return [e["state"] for _, e in self.ferry.redis.client().xrange("imapferry:events")
                if e.get("user") == self.user and e["kind"] == "state"]

    def where(self):
        """The servers that the account's sessions are registered at."""
        rows = self.ferry.redis.client().hgetall(f"imapferry:sessions:{self.user}")
        return sorted(row.split()[0] for row in rows.values())


@pytest.fixture(name="scene")
def make_scene(make_ferry, old, twin, authority):
    made = []

    def make(label, **options):
        made.append(Scene(make_ferry, old, options.pop("new", twin), authority, label, **options))
        return made[-1]
    yield make
    for scene in made:
        scene.wires.close()


def exists(lines):
    return [int(m[1]) for m in (re.match(rb"\* (\d+) EXISTS", x) for x in lines) if m]


def expunged(lines):
    return [int(m[1]) for m in (re.match(rb"\* (\d+) EXPUNGE", x) for x in lines) if m]


def uids(wire, tag=b"u"):
    lines = wire.command(tag, b"UID FETCH 1:* (UID)")
    assert lines[-1].startswith(tag + b" OK"), lines
    return [int(m[1]) for m in (re.match(rb"\* \d+ FETCH \(UID (\d+)\)", x) for x in lines) if m]


# ---- the ways a session may stand

@pytest.mark.writes_source
def test_sessions_go_on_however_they_stand(scene):
    """Nothing selected; selected and quiet, with names that both servers spell alike; in IDLE; by EXAMINE; through both proxies.
    A message that came to the old server after they were told last is told at once, and they hear of what comes later."""
    s = scene("stand", mailboxes=("INBOX", "INBOX.Sent"))
    nothing, quiet, examined = s.session(mailbox=None), s.session(), s.session(verb=b"EXAMINE")
    sent = s.session(mailbox=b"INBOX.Sent", proxy=1)
    idles = [s.session(), s.session(proxy=1)]
    assert quiet.command(b"l", b'LIST "" "*"')[-1].startswith(b"l OK")
    for wire in idles:
        wire.line(b"i IDLE")
        wire.until(b"+ ")
    s.ready()
    deliver(s.old, s.user, "late")
    s.flip()
    s.handed_over(0, 4)
    s.handed_over(1, 2)
    assert s.where() == ["new"] * 6
    for wire in [quiet, examined]:
        assert wire.until(b"* 6 EXISTS")
        assert uids(wire) == [1, 2, 3, 4, 5, 6]
    assert exists(nothing.command(b"s", b"SELECT INBOX")) == [6]
    assert sent.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert quiet.command(b"a", b"UID STORE 2 +FLAGS.SILENT (mark)")[-1].startswith(b"a OK")
    examined.command(b"a", b"STORE 1 +FLAGS (never)")
    for word, want in (("mark", 1), ("never", 0)):
        assert s.new.doveadm("search", "-u", s.user, "mailbox", "INBOX", "keyword", word).count("\n") == want
        assert s.old.doveadm("search", "-u", s.user, "mailbox", "INBOX", "keyword", word) == ""
    deliver(s.new, s.user, "after the flip")
    for wire in idles:
        assert wire.until(b"* 7 EXISTS")
        wire.line(b"DONE")
        assert wire.until(b"i ")[-1].startswith(b"i OK")
        assert uids(wire) == [1, 2, 3, 4, 5, 6, 7]
    for wire in [nothing, quiet, examined, sent, *idles]:
        assert wire.command(b"z", b"LOGOUT")[-1].startswith(b"z OK")
    net.wait_until("sessions that left", lambda: not s.where())


@pytest.mark.writes_source
def test_there_and_back(scene):
    """Sessions that were handed over are known at the new server, and go back with their account."""
    s = scene("back")
    idle, quiet = s.session(), s.session(proxy=1)
    idle.line(b"i IDLE")
    idle.until(b"+ ")
    s.ready()
    s.flip()
    s.handed_over(0)
    s.handed_over(1)
    deliver(s.new, s.user, "on the new one")
    assert idle.until(b"* 6 EXISTS")
    assert s.ferry.ctl("migrate", s.user, "--to", "old", "--now")[0] == 0
    s.ferry.wait_state(s.user, "held")
    s.handed_over(0, 2)
    s.handed_over(1, 2)
    assert s.where() == ["old", "old"]
    deliver(s.old, s.user, "on the old one")
    assert idle.until(b"* 7 EXISTS")
    assert exists(quiet.command(b"n", b"NOOP"))[-1] == 7
    assert uids(quiet) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.writes_source
def test_expunges_that_were_not_told_yet(scene):
    """RFC 3501 7.4.1: not while no command is under way. In IDLE at once."""
    s = scene("expunged", messages=8)
    quiet, idle, numbers = s.session(), s.session(), s.session(proxy=1)
    idle.line(b"i IDLE")
    idle.until(b"+ ")
    s.ready()
    expunge(s.old, s.user, "2,5:6")
    s.flip()
    s.handed_over(0, 2)
    s.handed_over(1)
    told = expunged(idle.until(b"* 2 EXPUNGE"))
    assert told == [6, 5, 2]
    quiet.line(b"n NOOP")
    lines = quiet.until(b"n ")
    assert lines[-1].startswith(b"n OK") and expunged(lines) == [6, 5, 2] and not exists(lines), lines
    assert uids(quiet) == [1, 3, 4, 7, 8]
    numbers.line(b"f FETCH 2 (UID)")
    lines = numbers.rest()
    assert lines[-1].startswith(b"* BYE [UNAVAILABLE]") and not expunged(lines), lines
    idle.line(b"DONE")
    assert idle.until(b"i ")[-1].startswith(b"i OK")
    assert uids(idle) == [1, 3, 4, 7, 8]


# ---- what servers tell when nobody asked

class Tells(Relay):
    """Behind the answer to the n-th list of messages of all connections stand the n-th of these lines; and NAMESPACE has its
    prefix in a literal."""

    def __init__(self, server, *lines):
        self.lines, self.tags = list(lines), []
        super().__init__(("127.0.0.1", server.port["imap"]), edit=self.edit_piece)

    def edit_piece(self, direction, data):
        if direction == "up":
            self.tags += re.findall(rb"(F[0-9a-f]+c?) FETCH 1:\S+ \(UID(?: FLAGS)?\)\r\n", data)
            return data
        for tag, more in zip(self.tags, self.lines):
            data = re.sub(tag + rb" OK .*\r\n", lambda m, more=more: m[0] + more, data)
        return re.sub(rb'NAMESPACE \(\("(INBOX\.)"', rb"NAMESPACE (({6}\r\n\1", data)


def goes_on(wire):
    """All that a client gets up to the answer to its next command, or up to the end."""
    with contextlib.suppress(OSError):
        wire.line(b"n NOOP")
    lines = []
    while (line := wire.read_line()) is not None:
        lines.append(line)
        if line.startswith(b"n "):
            break
    return lines


@pytest.mark.writes_source
def test_source_that_tells_more_behind_the_list_of_messages(scene, old):
    """Either it is drawn again, so that nothing is counted twice, or it holds no more. A literal in an answer that is for us
    alone is so too."""
    relay = Tells(old, b"* 6 EXISTS\r\n", b"* 1 EXPUNGE\r\n* 6 EXISTS\r\n")
    s = scene("behind", source=relay)
    wires, names = [s.session(), s.session()], s.session(mailbox=None)
    assert names.command(b"l", b'LIST "" "*"')[-1].startswith(b"l OK")
    s.ready()
    deliver(s.old, s.user, "late")
    s.flip()
    assert names.rest() == [b"* BYE [UNAVAILABLE] Your mailboxes were moved, please connect again"]
    gone, lines = sorted((goes_on(w) for w in wires), key=lambda x: x[-1].startswith(b"n OK"))
    assert gone[-1].startswith(b"* BYE [UNAVAILABLE]"), gone
    assert exists(lines)[-1] == 6 and max(exists(lines)) == 6, lines
    relay.close()


@pytest.mark.writes_source
def test_target_that_tells_numbers_before_expunges_are_told(scene, twin):
    """To the client there are more messages until it may hear which of them are gone."""
    relay = Tells(twin, b"* 5 EXISTS\r\n", b"* 3 FETCH (FLAGS (\\Seen))\r\n")
    s = scene("numbers", target=relay)
    wires = [s.session(), s.session()]
    s.ready()
    expunge(s.old, s.user, "2")
    s.flip()
    s.handed_over(0, 2)
    gone, lines = sorted((goes_on(w) for w in wires), key=lambda x: x[-1].startswith(b"n OK"))
    assert gone[-1].startswith(b"* BYE [UNAVAILABLE]") and not expunged(gone), gone
    assert exists(lines)[0] == 6 and expunged(lines) == [2], lines
    relay.close()


# ---- commands under way

def test_long_fetch_that_only_reads_ends_after_the_flip(scene):
    s = scene("fetch", messages=3, big=(6 << 20,), settings={"migration": dict(MANUAL["migration"], freeze_budget="2s")})
    wire = s.session()
    s.ready()
    wire.line(b"f FETCH 1:* (BODY.PEEK[])")
    wire.read_line()  # and reads no more: it takes as long as we like
    s.flip()
    lines = wire.until(b"f ")
    assert lines[-1].startswith(b"f OK"), lines[-1]
    s.handed_over()
    assert uids(wire) == [1, 2, 3, 4]


@pytest.mark.writes_source
def test_pipeline_of_ten_commands(scene, old):
    """They are sent while the freeze begins, behind one that changes something and takes its time: each is answered once, in
    order, and what was changed is on the new server."""
    relay = Relay(("127.0.0.1", old.port["imap"]))
    s = scene("pipeline", source=relay)
    wire = s.session()
    s.ready()
    relay.stall()
    wire.line(b"a0 STORE 1 +FLAGS.SILENT (first)")
    s.begin()
    s.ferry.wait_state(s.user, "freezing")
    for n in range(1, 10):
        wire.line(b"a%d UID STORE 2 +FLAGS.SILENT (k%d)" % (n, n))
    relay.resume()
    lines = wire.until(b"a9 ")
    assert [x.split()[:2] for x in lines if x[:1] == b"a"] == [[b"a%d" % n, b"OK"] for n in range(10)], lines
    s.ferry.wait_state(s.user, "flipped")
    words = s.new.doveadm("fetch", "-u", s.user, "flags", "mailbox", "INBOX", "uid", "1:2")
    assert "first" in words and all(f"k{n}" in words for n in range(1, 10)), words
    relay.close()


@pytest.mark.writes_source
def test_compressed_sessions_go_on(scene, old):
    """In IDLE, quiet, with a command in the freeze; and those who begin to compress in it, behind a command that takes its time
    or not: what one side of the connection has said goes on being known to the other, over another server."""
    relay = Relay(("127.0.0.1", old.port["imap"]))
    s = scene("packed", source=relay)
    idle, quiet, busy = (s.session() for _ in range(3))
    waits, fresh, sent = (s.session() for _ in range(3))
    for wire in (idle, quiet, busy):
        compress(wire)
        assert wire.command(b"n", b"UID FETCH 1:* (UID FLAGS)")[-1].startswith(b"n OK")
    idle.line(b"i IDLE")
    idle.until(b"+ ")
    s.ready()
    relay.stall()
    busy.line(b"a0 STORE 1 +FLAGS.SILENT (first)")
    waits.line(b"a0 STORE 2 +FLAGS.SILENT (second)")
    waits.line(b"z COMPRESS DEFLATE")
    s.begin()
    s.ferry.wait_state(s.user, "freezing")
    busy.line(b"a1 UID STORE 2 +FLAGS.SILENT (third)")
    fresh.line(b"z COMPRESS DEFLATE")
    sent.send(b"z COMPRESS DEFLATE\r\ny CREATE INBOX.smuggled\r\n")
    relay.resume()
    assert [x[:5] for x in busy.until(b"a1 ") if x[:1] == b"a"] == [b"a0 OK", b"a1 OK"]
    assert [x[:4] for x in waits.until(b"z ") if x[:1] in b"az"] == [b"a0 O", b"z OK"]
    assert fresh.until(b"z ")[-1].startswith(b"z OK")
    for wire in (waits, fresh):
        wire.socket, wire.buffer = Deflated(wire.socket, wire.buffer), b""
    assert sent.rest()[-1] == b"* BYE [CLIENTBUG] Nothing may be sent behind COMPRESS before its answer"
    s.ferry.wait_state(s.user, "flipped")
    s.handed_over(0, 5)
    assert s.where() == ["new"] * 5
    deliver(s.new, s.user, "after the flip")
    assert idle.until(b"* 6 EXISTS")
    idle.line(b"DONE")
    assert idle.until(b"i ")[-1].startswith(b"i OK")
    for wire in (idle, quiet, busy, waits, fresh):
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        assert uids(wire) == [1, 2, 3, 4, 5, 6]
        assert wire.command(b"x", b"COMPRESS DEFLATE")[-1].startswith(b"x NO [COMPRESSIONACTIVE]")
        assert b"COMPRESS" not in wire.command(b"c", b"CAPABILITY")[0]
        assert wire.command(b"o", b"LOGOUT")[-1].startswith(b"o OK")
    words = s.new.doveadm("fetch", "-u", s.user, "flags", "mailbox", "INBOX", "uid", "1:2")
    assert all(x in words for x in ("first", "second", "third")), words
    for server in (s.old, s.new):
        assert "smuggled" not in server.doveadm("mailbox", "list", "-u", s.user)
    relay.close()


@pytest.mark.writes_source
def test_append_that_takes_longer_than_the_freeze_is_not_cut_off(scene):
    """30 MB from a slow client: the freeze gives up by its deadline, the message gets through, and a later try moves the
    account with it."""
    s = scene("append", settings={"migration": dict(MANUAL["migration"], freeze_budget="1s")})
    wire, idle = s.session(), s.session(proxy=1)
    idle.line(b"i IDLE")
    idle.until(b"+ ")
    s.ready()
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 * 30
    wire.line(b"a APPEND INBOX {%d}" % len(body))
    wire.until(b"+ ")
    half = len(body) // 2
    wire.send(body[:half])
    s.begin()
    net.wait_until("freeze", lambda: "freezing" in s.states())
    net.wait_until("thaw", lambda: s.states()[-1] != "freezing")
    assert "flipping" not in s.states()
    wire.send(body[half:] + b"\r\n")
    assert wire.until(b"a ")[-1].startswith(b"a OK")
    s.ferry.wait_state(s.user, "flipped", timeout=60)
    s.handed_over(0)
    s.handed_over(1)
    assert uids(wire) == [1, 2, 3, 4, 5, 6]
    assert idle.until(b"* 6 EXISTS")
    assert_equal(s.old, s.new, s.user, 6)


# ---- who can't go on

def bye(wire, scene, why, proxy=0):
    lines = wire.rest()
    assert lines[-1].startswith(b"* BYE [UNAVAILABLE]"), lines
    assert scene.proxies[proxy].wait(f"event=not_handed_over .*why={why}\\b")


def tally(proxy, of):
    """Why -> how many, as a proxy that has ended logged it for all its threads."""
    sums = {}
    for found in proxy.find(rf"event=tally .*of={of} why=(\w+) count=(\d+)"):
        sums[found[1]] = sums.get(found[1], 0) + int(found[2])
    return sums


@pytest.mark.writes_source
def test_mailboxes_that_are_others_there_end_their_sessions_alone(scene):
    """Deleted or renamed; with another UIDVALIDITY it is the client's all the same."""
    s = scene("others", mailboxes=("INBOX", "INBOX.Sent", "INBOX.Trash", "INBOX.Drafts"))
    there, gone, moved = s.session(), s.session(b"INBOX.Sent", proxy=1), s.session(b"INBOX.Trash")
    numbers = s.session(b"INBOX.Drafts")
    s.new.doveadm("mailbox", "update", "-u", s.user, "--uid-validity", "77", "INBOX.Drafts")
    s.ready()
    m = mail.connect(s.old, s.user, "secret")
    assert m.delete("INBOX.Sent")[0] == "OK" and m.rename("INBOX.Trash", "INBOX.Elsewhere")[0] == "OK"
    m.logout()
    s.flip()
    for wire in (gone, moved):
        assert wire.rest()[-1].startswith(b"* BYE")
    assert status(s.new, s.user, "INBOX.Drafts", "uidvalidity") == 77
    assert numbers.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert there.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert uids(there) == [1, 2, 3, 4, 5]


def test_servers_that_spell_names_in_different_ways(scene, new):
    """All go on, by the names that they know."""
    s = scene("names", new=new)
    inbox, knows, nothing = s.session(), s.session(), s.session(mailbox=None, proxy=1)
    assert knows.command(b"l", b'LIST "" "*"')[-1].startswith(b"l OK")
    s.ready()
    s.flip()
    s.handed_over(1)
    s.handed_over(n=2)
    for wire in (inbox, nothing, knows):
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert uids(inbox) == [1, 2, 3, 4, 5]
    assert inbox.command(b"o", b"LOGOUT")[-1].startswith(b"o OK")
    assert any(b'"." INBOX' in line for line in knows.command(b"l", b'LIST "" "*"'))
    knows.command(b"o", b"LOGOUT")
    s.proxies[0].stop()
    assert tally(s.proxies[0], "handovers") == {"moved": 2}
    assert tally(s.proxies[0], "ends") == {"logout": 2}


# ---- thaw

def blocker(s):
    """A session that can't come to rest: half of a message is sent. Ends the message."""
    wire = s.session(proxy=1)
    wire.line(b"b APPEND INBOX {20}")
    wire.until(b"+ ")
    wire.send(b"Subject: x\r\n")

    def end():
        wire.send(b"\r\n123456\r\n")
        assert wire.until(b"b ")[-1].startswith(b"b OK")
    return end


SHORT = {"migration": dict(MANUAL["migration"], freeze_budget="1s")}


def freeze_in_vain(s, resting):
    """So many stand still: they have the list of their messages, which they don't when they acknowledge the freeze."""
    s.begin()
    net.wait_until("sessions at rest",
                   lambda: sum(monitor.metrics(p).get(("imapferry_sessions", "frozen"), 0) for p in s.proxies) == resting)


@pytest.mark.writes_source
def test_thaw_goes_on_where_it_was_and_dials_the_source_again(scene, old):
    """The source closes the resting sessions of the first proxy, those of the second stay as they are."""
    relay = Relay(("127.0.0.1", old.port["imap"]))
    s = scene("thaw", source=relay, settings={"migration": dict(MANUAL["migration"], freeze_budget="6s")})
    sessions = [(s.session(proxy=n), s.session(proxy=n)) for n in range(2)]
    for idle, _ in sessions:
        idle.line(b"i IDLE")
        idle.until(b"+ ")
    s.ready()
    end = blocker(s)
    freeze_in_vain(s, 4)
    deliver(s.old, s.user, "in the freeze")
    relay.cut()
    relay.heal()
    for idle, quiet in sessions:
        quiet.line(b"n NOOP")
        assert idle.until(b"* 6 EXISTS")
        assert exists(quiet.until(b"n ")) == [6]
    assert "flipping" not in s.states() and not s.proxies[1].find("handed_over")
    for event in ("source_closed", "back_at_the_source"):
        net.wait_until(f"{event} of both", lambda event=event: len(s.proxies[0].find(f"event={event}")) == 2)
    end()
    s.ferry.wait_state(s.user, "flipped", timeout=60)
    s.handed_over(0, 2)
    s.handed_over(1, 2)
    for idle, quiet in sessions:
        idle.line(b"DONE")
        assert idle.until(b"i ")[-1].startswith(b"i OK")
        for wire in (idle, quiet):
            assert uids(wire) == [1, 2, 3, 4, 5, 6, 7]
    assert_equal(s.old, s.new, s.user, 7)
    relay.close()


@pytest.mark.writes_source
def test_session_that_hears_nothing_after_the_freeze_ends(scene, redis):
    """Ten seconds behind the deadline; till then it passes nothing on, whatever the source says."""
    relay = Relay(redis.address)
    s = scene("deaf", settings=SHORT, store=relay.redis_url)
    deaf = s.session()
    s.ready()
    end = blocker(s)
    freeze_in_vain(s, 1)
    relay.stall()
    began = time.monotonic()
    deliver(s.old, s.user, "not told")
    deaf.line(b"n NOOP")
    lines = deaf.rest()
    assert len(lines) == 1 and lines[0].startswith(b"* BYE [UNAVAILABLE]"), lines
    assert 9 < time.monotonic() - began < 13
    relay.resume()
    end()
    s.ferry.wait_state(s.user, "flipped", timeout=60)
    relay.close()


class CutBehindFrozen:
    """The edit of a relay to Redis: stalls it behind the last of n acknowledgements, which passes, once it is armed."""

    def __init__(self, n):
        self.left, self.armed, self.relay, self.lock = n, False, None, threading.Lock()

    def __call__(self, direction, data):
        with self.lock:
            before = self.left
            self.left -= data.count(b"frozen\r\n") if direction == UP and self.armed else 0
            if before > 0 >= self.left:
                threading.Timer(0.05, self.relay.stall).start()
        return data


@pytest.mark.writes_source
def test_sessions_go_over_whose_lease_lapses_behind_their_acknowledgement(scene, redis, old):
    """They are not at rest yet: two wait for the list of their messages, one for an answer that only reads. Of one the
    store has no registration any more: it ends."""
    to_old, cut = Relay(("127.0.0.1", old.port["imap"])), CutBehindFrozen(3)
    cut.relay = Relay(redis.address, edit=cut)
    s = scene("lapse", source=to_old, store=cut.relay.redis_url,
              settings=dict(MANUAL, proxy={"lease": "1s", "lease_long": "6s"}))
    client, table = s.ferry.redis.client(), f"imapferry:sessions:{s.user}"
    gone = s.session()
    name, = client.hkeys(table)
    listed, reads = s.session(), s.session(mailbox=None)
    s.ready()
    to_old.stall()
    reads.line(b'l STATUS INBOX (MESSAGES)')
    mark, cut.armed = s.proxies[0].mark(), True
    s.flip()
    s.proxies[0].wait("event=lease_lapsed", since=mark)
    assert s.where() == ["new"] * 3
    client.hdel(table, name)
    cut.relay.resume()
    lines = gone.rest()
    assert len(lines) == 1 and lines[0].startswith(b"* BYE [UNAVAILABLE]"), lines
    to_old.resume()
    s.handed_over(0, 2)
    assert reads.until(b"l ")[-1].startswith(b"l OK")
    for wire in (listed, reads):
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert uids(listed) == [1, 2, 3, 4, 5]
    cut.relay.close()
    to_old.close()


# ---- under load

@pytest.mark.writes_source
def test_clients_that_write_all_the_while_are_not_disconnected(scene):
    """Three clients on two proxies, one of them in IDLE; each OK holds on the new server."""
    s = scene("load", messages=20)
    done, stop = {n: [] for n in range(2)}, threading.Event()
    wires = [s.session(proxy=n) for n in range(2)]
    idle = s.session()
    idle.line(b"i IDLE")
    idle.until(b"+ ")

    def write(n):
        count = 0
        while not stop.is_set():
            count += 1
            uid = 1 + count % 20
            line = wires[n].command(b"w%d" % count, b"UID STORE %d +FLAGS.SILENT (c%dw%d)" % (uid, n, count % 8))[-1]
            assert line.startswith(b"w%d OK" % count), line
            done[n].append((uid, f"c{n}w{count % 8}"))
    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    s.ready()
    for t in threads:
        t.start()
    try:
        net.wait_until("changes before", lambda: all(len(d) > 10 for d in done.values()))
        s.flip()
        after = {n: len(d) for n, d in done.items()}
        net.wait_until("changes after", lambda: all(len(d) > after[n] + 10 for n, d in done.items()))
    finally:
        stop.set()
        for t in threads:
            t.join(20)
    words = {}
    m = mail.connect(s.new, s.user, "secret")
    m.select("INBOX", readonly=True)
    for row in m.uid("FETCH", "1:*", "(FLAGS)")[1]:
        uid = int(re.search(rb"UID (\d+)", row)[1])
        words[uid] = row.decode()
    m.logout()
    for d in done.values():
        for uid, word in d:
            assert word in words[uid], (uid, word)
    idle.line(b"DONE")
    assert idle.until(b"i ")[-1].startswith(b"i OK")
