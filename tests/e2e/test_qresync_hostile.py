"""Attacks on what is asked by MODSEQs: a client and a backend that keep to no rule, between them a proxy with a view. Clients know
MODSEQs up to 1000000 from before the flip, and all that they are shown since is above that; the backend's own are below 100000."""
import contextlib
import random
import re
import threading
import time

import pytest

from e2e import test_view_hostile as hostile
from harness import deflated
from harness.scene import connect

FLOOR = 1000000
RECORD = ("1 id=9f03 source={0} target={1} uidvalidity=7,70 uidnext=20,4 highest=7 modseq=%d,%d tier=T2 map=1UEBJAC"
          % (FLOOR, FLOOR))
SELECTED = (b"* 3 EXISTS\r\n* OK [UIDVALIDITY 70] v\r\n* OK [UIDNEXT 4] n\r\n* OK [HIGHESTMODSEQ 50] h\r\n"
            b"%s OK [READ-WRITE] in\r\n")


class Scene(hostile.Scene):
    def __init__(self, make_ferry):
        super().__init__(make_ferry)
        self.keep()

    def keep(self, inbox=RECORD):
        self.store.hset(self.records, mapping={"INBOX": inbox.format("INBOX", "INBOX"),
                                               "INBOX.Sent": RECORD.format("INBOX.Sent", "Sent")})

    def wire(self, select=False, timeout=15):
        w = self.wires.enter_context(connect(self.proxy, timeout=timeout))
        answer = w.login(self.user)
        assert answer.startswith(b"l1 OK") and b" QRESYNC" in answer, answer
        assert b"* ENABLED QRESYNC" in w.command(b"e", b"ENABLE QRESYNC")
        return w


def usual(tag, line):
    words = line.split()
    if b"ENABLE" in words[1:2]:
        return b"* ENABLED QRESYNC\r\n" + tag + b" OK done\r\n"
    if words[1:2] in ([b"SELECT"], [b"EXAMINE"]):
        return SELECTED % tag
    if b" SEARCH " in line:
        return b'* ESEARCH (TAG "%s") UID ALL 1:3\r\n%s OK done\r\n' % (tag, tag)
    return tag + b" OK done\r\n"


@pytest.fixture(name="scene")
def make_scene(make_ferry, monkeypatch):
    monkeypatch.setenv("IMAPFERRY_ASAN_OPTIONS", "quarantine_size_mb=1")  # memory is measured
    monkeypatch.setattr(hostile, "CAPABILITIES", hostile.CAPABILITIES + b" CONDSTORE QRESYNC")
    s = Scene(make_ferry)
    s.server.answer = s.old.answer = usual
    yield s
    s.wires.close()
    s.server.close()
    s.old.close()


LINES = [
    b"* VANISHED %u", b"* VANISHED (EARLIER) %u", b"* VANISHED (EARLIER) 1:4294967295", b"* VANISHED 9:1,4294967295", b"* VANISHED *",
    b"* VANISHED (EARLIER)", b"* VANISHED", b"* VANISHED ", b"* VANISHED (EARLIER) ", b"* VANISHED (LATER) %u", b"* VANISHED 0",
    b"* VANISHED (EARLIER) %u %u", b"* VANISHED {1}\r\n1", b"* 1 FETCH (UID %u MODSEQ (%m))", b"* 1 FETCH (MODSEQ (%m) UID %u)",
    b"* 1 FETCH (UID %u)", b"* 1 FETCH (MODSEQ (%m))", b"* 1 FETCH (UID %u MODSEQ (0))", b"* 1 FETCH (UID %u MODSEQ (-1))",
    b"* 1 FETCH (UID %u MODSEQ (9223372036854775807))", b"* 1 FETCH (UID %u MODSEQ (9223372036854775808))",
    b"* 1 FETCH (UID %u MODSEQ (18446744073709551615))", b"* 1 FETCH (UID %u MODSEQ (18446744073709551616))",
    b"* 1 FETCH (UID %u MODSEQ %m)", b"* 1 FETCH (UID %u MODSEQ ())", b"* 1 FETCH (UID %u MODSEQ (%m) MODSEQ (%m))",
    b"* 1 FETCH (UID %u MODSEQ ((%m)))", b"* 1 FETCH (UID %u MODSEQ NIL)", b'* 1 FETCH (UID %u MODSEQ ("%m"))',
    b"* 1 FETCH (UID %u MODSEQ {4}\r\n(%%))", b"* 1 FETCH (UID %u modseq (%m))", b"* 1 FETCH (UID %u MODSEQ(%m))",
    b"* 1 FETCH (BODY[] {10}\r\nMODSEQ (5) UID %u MODSEQ (%m))", b"* OK [HIGHESTMODSEQ %m] h", b"* OK [HIGHESTMODSEQ 0] h",
    b"* OK [HIGHESTMODSEQ 9223372036854775807] h", b"* OK [HIGHESTMODSEQ 99999999999999999999] h", b"* OK [HIGHESTMODSEQ] h",
    b"* OK [NOMODSEQ] n", b"* OK [CLOSED] c", b"* OK [CLOSED] c\r\n* OK [CLOSED] c", b"* OK [MODIFIED %u] m", b"* 1 EXPUNGE",
    b'* ESEARCH (TAG "x") UID ALL %u MODSEQ %m', b"* ESEARCH UID ALL %u", b"* ESEARCH ALL %u", b"* ESEARCH", b"* ESEARCH UID",
    b"* SEARCH %u (MODSEQ %m)", b"* SEARCH (MODSEQ %m)", b"* SEARCH %u\r\n* SEARCH %u", b"* SEARCH 3 2 1", b"* SEARCH 0",
    b"* SEARCH 4294967295 1", b"* STATUS INBOX (HIGHESTMODSEQ %m)", b"* STATUS INBOX (HIGHESTMODSEQ 0 UIDVALIDITY 70 UIDNEXT 5)",
    b"* ENABLED", b"* ENABLED CONDSTORE", b"* ENABLED QRESYNC X", b"* 99 EXISTS", b"* 0 EXISTS", b"* BYE b", b"+ x",
    b"* OK [UNAVAILABLE] x", b"* NO [HIGHESTMODSEQ %m] x", b"* 1 FETCH (UID %u FLAGS (\\Seen) MODSEQ (%m))",
]
COMMANDS = [
    b"SELECT INBOX (QRESYNC (7 %M))", b"SELECT INBOX (QRESYNC (7 %M 10:12,20:30))", b"SELECT INBOX (QRESYNC (7 %M 1:19 (1,3 10,12)))",
    b"SELECT INBOX (CONDSTORE QRESYNC (7 %M))", b"EXAMINE INBOX (QRESYNC (70 %M))", b"SELECT INBOX (CONDSTORE)", b"SELECT INBOX",
    b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %M)", b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %M VANISHED)",
    b"UID FETCH 1:19 FLAGS (VANISHED CHANGEDSINCE %M)", b"FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE %M)",
    b"UID STORE 10 (UNCHANGEDSINCE %M) +FLAGS (\\Seen)", b"STORE 1 (UNCHANGEDSINCE %M) FLAGS.SILENT ()", b"UID SEARCH MODSEQ %M",
    b"SEARCH RETURN (ALL) MODSEQ \"/flags/\\\\Seen\" all %M", b"UID SEARCH RETURN (ALL) MODSEQ %M", b"STATUS INBOX (HIGHESTMODSEQ)",
    b"LIST \"\" * RETURN (STATUS (UIDVALIDITY HIGHESTMODSEQ))", b"UID EXPUNGE 10", b"EXPUNGE", b"CLOSE", b"UNSELECT", b"NOOP",
    b"UID FETCH 13:19 FLAGS (CHANGEDSINCE %M VANISHED)", b"UID MOVE 10 INBOX.Sent", b"UID FETCH 10 BODY[HEADER.FIELDS ({4+}\r\nDATE)]",
    b"FETCH 1 BODY[HEADER.FIELDS ({4+}\r\nDATE)] (CHANGEDSINCE %M)", b"ENABLE CONDSTORE QRESYNC", b"IDLE\r\nDONE",
]


def judge(out, said):
    """Each MODSEQ is one since the flip; HIGHESTMODSEQ never falls while a mailbox is open; UIDs are the client's."""
    highest = 0
    for line in re.split(rb"\r\n(?=\* |\w+ (?:OK|NO|BAD)|\+)", re.sub(rb"\{10\}\r\nMODSEQ \(5\)", b"", out)):
        for n in re.findall(rb"MODSEQ[ (]+(\d+)", line):
            assert FLOOR <= int(n) < 1 << 63, (said, line)
        if m := re.search(rb"\[HIGHESTMODSEQ (\d+)", line):
            highest = 0 if b"] Highest" in line else highest
            assert int(m[1]) >= highest, (said, line)
            highest = int(m[1])
        vanished = line.startswith(b"* VANISHED ") and b"(" not in line  # what is asked may have any UIDs in it
        for n in re.findall(rb"\d+" if vanished else rb"FETCH .*\bUID (\d+)", line):
            assert int(n) >= 10, (said, line)


def filled(rng, text):
    client = [0, 1, FLOOR - 1, FLOOR, FLOOR + 1, FLOOR + 50, FLOOR + 51, (1 << 63) - 1, 1 << 63, 1 << 64]
    text = re.sub(rb"%M", lambda _: b"%d" % rng.choice(client), text)
    text = re.sub(rb"%m", lambda _: b"%d" % rng.choice([1, 2, 49, 50, 51, 99, 99999]), text)
    return re.sub(rb"%u", lambda _: b"%d" % rng.randrange(1, 7), text)


@pytest.mark.parametrize("seed", range(2))
def test_a_backend_that_lies_of_modseqs(scene, seed):
    """Any lines behind any of its commands, ours too: each session answers or ends, and no number comes through as it was."""
    rng, ended, sessions = random.Random(seed), 0, 0
    said = []

    def answer(tag, line):
        if b"ENABLE" in line or not said:
            return usual(tag, line)
        out = b"".join(x.replace(b'"x"', b'"%s"' % tag) + b"\r\n" for x in rng.sample(said, rng.randrange(len(said) + 1)))
        return out + (usual(tag, line) if rng.random() < 0.7 else tag + rng.choice([
            b" NO no", b" BAD bad", b" NO [EXPUNGEISSUED] e", b" OK [HIGHESTMODSEQ 3] h", b" OK [MODIFIED 1:3] m", b" OK [NOMODSEQ] o",
            b" OK fine"]) + b"\r\n")
    scene.server.answer = answer
    slow = []
    for turn in range(150):
        said[:] = []
        scene.keep()
        w = scene.wire(timeout=4)
        if rng.random() < 0.7:
            w.command(b"s", b"SELECT INBOX")
        if turn % 3 == 0:
            deflated.compress(w)
        said[:] = [filled(rng, x) for x in rng.sample(LINES, rng.randrange(1, 5))]
        commands = [filled(rng, rng.choice(COMMANDS)) for _ in range(rng.randrange(1, 5))]
        start = time.monotonic()
        w.socket.sendall(b"".join(b"a%d %s\r\n" % (i, c) for i, c in enumerate(commands)))
        out = scene.rest(w)
        if time.monotonic() - start > 3:
            slow.append((commands, list(said), out))
        if not re.search(rb"UIDVALIDITY 7[01]", b" ".join(said)):
            judge(out, (commands, list(said)))
        sessions += 1
        ended += b"* BYE" in out
        w.close()
    print(f"{sessions} sessions, {ended} ended")
    assert not slow, slow[0]
    scene.server.answer = usual
    scene.keep()
    assert scene.wire().command(b"s", b"SELECT INBOX (QRESYNC (7 %d))" % FLOOR)[-1].startswith(b"s OK")


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def number(n):
    """As lib/digits.h has them."""
    return ALPHABET[n] if n < 32 else ALPHABET[n % 32 + 32] + number(n // 32)


def many_runs(n):
    """A record whose client's UIDs are 2, 4, 6 ... and the backend's 1, 2, 3 ..."""
    text = "1" + number(2 * n + 10) + number(n + 10) + number(n) + "BAA" * n
    return RECORD.replace("uidnext=20,4", f"uidnext={2 * n + 10},{n + 10}").replace("map=1UEBJAC", "map=" + text)


def others_wait(other, until, seconds=60):
    """The longest time in which a session of somebody else had no answer."""
    longest, end = 0, time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        start = time.monotonic()
        assert other.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        longest = max(longest, time.monotonic() - start)
    assert until()
    return longest


def test_short_lines_that_a_map_makes_long(scene):
    """30 bytes become 100,000, some thousand times, for a client that does not read: neither memory nor the time of others."""
    n, flood = 10000, []
    scene.keep(many_runs(n))

    def answer(tag, line):
        if b"CHECK" in line:
            flood.append(tag)
            return b"* VANISHED (EARLIER) 1:4294967295\r\n" * 3000 + tag + b" OK done\r\n"
        return usual(tag, line).replace(b"UIDNEXT 4", b"UIDNEXT %d" % (n + 10))
    scene.server.answer = answer
    w, other = scene.wire(), scene.wire(timeout=60)
    assert b"* OK [UIDNEXT %d] Predicted next UID" % (2 * n + 10) in w.command(b"s", b"SELECT INBOX")
    before = hostile.rss(scene.proxy)
    w.socket.sendall(b"a CHECK\r\n")
    start = time.monotonic()
    assert others_wait(other, lambda: flood and time.monotonic() - start > 3) < 4  # it was 8
    assert hostile.rss(scene.proxy) < before + 64
    lines = w.read_line(), w.read_line()
    assert lines[0] == lines[1] and len(lines[0]) > 40000, lines[0][:80]


def test_what_is_there_is_told_from_behind(scene):
    """400,000 UIDs in an order that costs most, while others go on."""
    lines = [b"* SEARCH " + b" ".join(b"%d" % u for u in range(k, k - 4000, -2)) + b"\r\n" for k in range(800000, 0, -4000)]
    blob = b"".join(lines)

    def answer(tag, line):
        return blob + tag + b" OK done\r\n" if b" SEARCH " in line else usual(tag, line)
    scene.server.answer = answer
    w, other, told = scene.wire(timeout=60), scene.wire(timeout=60), []
    w.socket.sendall(b"a SELECT INBOX (QRESYNC (7 1))\r\n")
    threading.Thread(target=lambda: told.extend(w.until(b"a ")), daemon=True).start()
    assert others_wait(other, lambda: told) < 2
    assert told[-1].startswith(b"a OK"), told[-1]
    gone = b",".join(x.split()[-1] for x in told if b"VANISHED" in x)
    assert gone == b"1:10,12:19," + b",".join(b"%d" % u for u in range(21, 800016, 2))


def test_a_client_that_does_not_read_what_it_asks_for(scene):
    """100,000 lines of our own FETCH wait for the client, without memory for them, and then all of them come, in order."""
    n = 100000
    blob = b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen) MODSEQ (%d))\r\n" % (i, i, i) for i in range(1, n + 1))

    def answer(tag, line):
        if b" SEARCH " in line:
            return b'* ESEARCH (TAG "%s") UID ALL 1:%d\r\n%s OK done\r\n' % (tag, n, tag)
        if b"FETCH" in line:
            return blob + tag + b" OK done\r\n"
        return usual(tag, line).replace(b"UIDNEXT 4", b"UIDNEXT %d" % (n + 1))
    scene.server.answer = answer
    w = scene.wire(timeout=60)
    before = hostile.rss(scene.proxy)
    w.socket.sendall(b"a SELECT INBOX (QRESYNC (7 1))\r\nb NOOP\r\nc IDLE\r\n")
    time.sleep(2)
    assert hostile.rss(scene.proxy) < before + 32
    told = w.until(b"a ")
    fetched = [x for x in told if b" FETCH " in x]
    assert len(fetched) == n and told[-1].startswith(b"a OK")
    for i in (0, 1, 2, 3, n - 1):
        uid = i + 10 if i < 3 else i + 17
        assert fetched[i] == b"* %d FETCH (UID %d FLAGS (\\Seen) MODSEQ (%d))" % (i + 1, uid, FLOOR + i + 1)
    assert w.until(b"b ")[-1].startswith(b"b OK")
    w.socket.sendall(b"DONE\r\nd NOOP\r\n")
    assert w.until(b"d ")[-1].startswith(b"d OK")


def test_long_sets(scene):
    """Known UIDs and match data of 60 KB, many of them at once; and 700 KB of them, of 100,000 messages. What is above 1 MiB is BAD, and
    the session goes on."""
    known = b",".join(b"%d" % u for u in range(21, 20000, 2))[:60000].rsplit(b",", 1)[0]
    half = known[:29000].rsplit(b",", 1)[0]
    w = scene.wire(timeout=60)
    start = time.monotonic()
    for i in range(20):
        w.socket.sendall(b"a%d SELECT INBOX (QRESYNC (7 1 %s))\r\n" % (i, known))
        w.socket.sendall(b"b%d SELECT INBOX (QRESYNC (7 %d 10:20 (%s %s)))\r\n" % (i, FLOOR + 1, half, half))
    for i in range(20):
        assert w.until(b"a%d " % i)[-1].startswith(b"a%d OK" % i)
        assert w.until(b"b%d " % i)[-1].startswith(b"b%d OK" % i)
    assert time.monotonic() - start < 30
    assert all(len(x) < 8200 for x in scene.server.heard)
    large = b",".join(b"%d" % u for u in range(800001, 1000000, 2))
    assert len(large) > 690000
    w.socket.sendall(b"c SELECT INBOX (QRESYNC (7 1 %s))\r\n" % large)
    assert w.until(b"c ")[-1].startswith(b"c OK")
    before = hostile.rss(scene.proxy)
    for i in range(10):
        w.socket.sendall(b"d%d SELECT INBOX (QRESYNC (7 1 %s))\r\n" % (i, b",".join([large] * 2)))
        assert w.until(b"d%d " % i)[-1].startswith(b"d%d BAD [LIMIT]" % i)
    assert hostile.rss(scene.proxy) < before + 32
    w.socket.sendall(b"e NOOP\r\n")
    assert w.until(b"e ")[-1].startswith(b"e OK")
