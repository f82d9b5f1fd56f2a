"""Attacks on what rewrites names and numbers: a client and a backend that keep to no rule, between them a proxy with a view.
INBOX has the UIDs 10, 11, 12 and from 20 on for the client, 1, 2, 3 and from 4 on at the backend, and the UIDVALIDITY 7 for
70: whatever the backend sends, a client must never see one of the backend's numbers."""
import contextlib
import random
import re
import socket
import threading
import time

import pytest

from harness import net
from harness.ferry import backend
from harness.scene import connect, new_user

RECORD = "1 id=9f03 source={0} target={1} uidvalidity=7,70 uidnext=20,4 highest=7 tier=T2 map=1UEBJAC"
SPELLING = "1 client=.,INBOX. backend=/, avoid="
CAPABILITIES = (b"IMAP4rev1 LITERAL+ UIDPLUS MOVE IDLE NAMESPACE UNSELECT ESEARCH SORT THREAD=REFERENCES LIST-EXTENDED "
                b"LIST-STATUS MULTIAPPEND CHILDREN SPECIAL-USE METADATA QUOTA ACL BINARY ENABLE")
SELECTED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 70] v\r\n* OK [UIDNEXT 4] n\r\n%s OK [READ-WRITE] in\r\n"


class Scripted:
    """A backend that answers each command with what answer(tag, line) says: bytes, None for nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.answer, self.heard, self.sockets = self.usual, [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, *_):
        return "imap://127.0.0.1:%d" % self.listener.getsockname()[1]

    @staticmethod
    def usual(tag, line):
        verb = line.split()[1].upper() if len(line.split()) > 1 else b""
        if verb in (b"SELECT", b"EXAMINE"):
            return SELECTED % tag
        return tag + b" OK done\r\n"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                s = self.listener.accept()[0]
                self.sockets.append(s)
                threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with contextlib.suppress(OSError):
            s.sendall(b"* OK [CAPABILITY " + CAPABILITIES + b" AUTH=PLAIN SASL-IR] hi\r\n")
            f = s.makefile("rb")
            for line in f:
                sizes = []
                while (m := re.search(rb"\{(\d+)(\+?)\}\r\n$", line)):
                    sizes.append(int(m[1]))
                    if not m[2]:
                        s.sendall(b"+ go\r\n")
                    line += f.read(int(m[1])) + f.readline()
                words = line.split()
                verb = words[1].upper() if len(words) > 1 else b""
                if verb in (b"LOGIN", b"AUTHENTICATE", b"CAPABILITY", b"ID"):
                    told = b"* CAPABILITY " + CAPABILITIES + b"\r\n" if verb == b"CAPABILITY" else b""
                    out = told + words[0] + b" OK done\r\n"
                elif verb == b"NAMESPACE":
                    out = b'* NAMESPACE (("" "/")) NIL NIL\r\n' + words[0] + b" OK done\r\n"
                else:
                    self.heard.append(line)
                    out = self.answer(words[0] if words else b"*", line)
                if out is not None:
                    s.sendall(out)

    def close(self):
        self.listener.close()
        for s in self.sockets:
            s.close()


class Scene:
    def __init__(self, make_ferry):
        self.server, self.old = Scripted(), Scripted()
        self.ferry = make_ferry({"old": backend(self.old, master=False), "new": backend(self.server, master=False)},
                                {"proxy": {"compress": True}})
        self.user = new_user("hostile")
        self.store = self.ferry.redis.client()
        self.records = f"imapferry:views:{self.user}"
        self.store.hset(f"imapferry:route:{self.user}",
                        mapping={"backend": "new", "state": "settled", "epoch": 3, "generation": 1, "view": "1:ab"})
        self.store.hset(self.records, mapping={"": SPELLING, "INBOX": RECORD.format("INBOX", "INBOX"),
                                               "INBOX.Sent": RECORD.format("INBOX.Sent", "Sent")})
        self.proxy = self.ferry.proxy()
        self.wires = contextlib.ExitStack()

    def wire(self, select=True, timeout=15):
        w = self.wires.enter_context(connect(self.proxy))
        w.socket.settimeout(timeout)
        assert w.login(self.user).startswith(b"l1 OK")
        if select:
            answer = w.command(b"s", b"SELECT INBOX")
            assert answer[-1].startswith(b"s OK") and b"* OK [UIDVALIDITY 7] UIDs valid" in answer, answer
        return w

    def rest(self, w):
        """All that comes until the end, or until the answer to a last NOOP."""
        out = b""
        with contextlib.suppress(OSError):
            w.socket.sendall(b"zzz NOOP\r\n")
            while b"\r\nzzz " not in out:
                data = w.socket.recv(1 << 20)
                if not data:
                    break
                out += data
        return w.buffer + out


@pytest.fixture(name="scene")
def make_scene(make_ferry, monkeypatch):
    monkeypatch.setenv("IMAPFERRY_ASAN_OPTIONS", "quarantine_size_mb=1")  # memory is measured
    s = Scene(make_ferry)
    yield s
    s.wires.close()
    s.server.close()
    s.old.close()


# ---- the backend

LINES = [
    b"* 1 FETCH (UID %d FLAGS ())", b"* 1 FETCH (FLAGS (UID) UID %d)", b"* 1 FETCH (UID %d UID %d)", b"* 1 FETCH (uid %d)",
    b"* 1 FETCH (BODY[] {3}\r\nUID UID %d)", b'* 1 FETCH (ENVELOPE ("UID 2" NIL) UID %d)', b"*  1  FETCH  (UID  %d)",
    b"* 1 FETCH (BODY[HEADER.FIELDS (UID)] {7}\r\nUID 1\r\n UID %d)", b'* 1 FETCH (BODY[HEADER.FIELDS ("UID ]")] NIL UID %d)',
    b"* 1 FETCH (BODY[HEADER.FIELDS ({3}\r\nUID)] NIL UID %d)", b"* 1 FETCH UID %d", b"* 1 FETCH (UID (%d))",
    b'* 1 FETCH (UID "%d")',
    b"* 1 FETCH (UID {1}\r\n%d)", b"* 1 FETCH ({3}\r\nUID %d)", b"* 1 FETCH ((UID %d))", b"* 1 FETCH (X (UID %d) UID %d)",
    b"* 1 FETCH (UID %d", b"* 1 FETCH (UID %d))", b"* FETCH (UID %d)", b"* 1 FETCH(UID %d)", b"* 1 FETCH\t(UID %d)",
    b"* 1 UIDFETCH (UID %d)",
    b"* 1 FETCH (UID %d MODSEQ (5))", b"* 1 FETCH (UID 0%d)", b"* 1 FETCH (UID %d]",
    b"* 1 FETCH (BODYSTRUCTURE " + b"(" * 10000 + b")" * 10000 + b" UID %d)",
    b"* SEARCH %d %d", b"* SEARCH %d(%d)", b"* search %d", b"* SORT %d", b"* THREAD (%d (%d)(%d))",
    b"* THREAD " + b"(" * 5000 + b"%d" + b")" * 5000,
    b"* SEARCH %d (MODSEQ 9)", b"* SEARCH {1}\r\n%d", b'* ESEARCH (TAG "a1") UID ALL %d',
    b'* ESEARCH (TAG "a1") UID MIN %d MAX %d COUNT 2',
    b'* ESEARCH (TAG "a1") ALL %d', b"* ESEARCH UID ALL %d:%d", b"* ESEARCH ALL %d UID", b'* ESEARCH (TAG "a) UID") MIN %d',
    b"* ESEARCH (TAG {2}\r\na1) UID ALL %d",
    b"* ESEARCH UID PARTIAL (1:3 %d)", b"* VANISHED %d", b"* VANISHED (EARLIER) %d:%d,9", b"* OK [UIDNEXT %d] n",
    b"* OK [UIDVALIDITY 70] v", b"* OK [UIDVALIDITY 71] v",
    b"* OK [UIDVALIDITY 70%d] v", b"* NO [UIDVALIDITY 70] v", b"* OK [COPYUID 70 %d %d] c", b"* OK [APPENDUID 70 %d] a",
    b"* OK [MODIFIED %d] m",
    b"* STATUS INBOX (UIDNEXT %d UIDVALIDITY 70)", b"* STATUS INBOX (UIDNEXT %d)",
    b"* STATUS Sent (UIDVALIDITY 70 UIDNEXT 5)", b"* STATUS INBOX (UIDVALIDITY 70 UIDVALIDITY 70 UIDNEXT 5)",
    b"* STATUS {5}\r\nINBOX (UIDVALIDITY 70)", b"* STATUS INBOX (UIDVALIDITY (70))", b'* STATUS INBOX ("UIDVALIDITY" 70)',
    b"* STATUS INBOX UIDVALIDITY 70", b"* LIST () \"/\" Sent/70",
    b"* BYE [UIDNEXT %d] bye", b"* OK [CLOSED] c", b"* OK [REFERRAL imap://x/INBOX;UIDVALIDITY=70/;UID=%d] r",
    b"* 1 EXPUNGE", b"* 0 EXPUNGE", b"* 4294967295 EXPUNGE", b"* 9 EXISTS", b"* 1 EXISTS",
    b"* PREAUTH [UIDVALIDITY 70] x", b"+ [UIDNEXT %d] x", b"* ANNOTATION INBOX %d", b"* 1 RECENT", b"*", b"", b"* ", b"* 1",
    b"* 99999999999 FETCH (UID %d)", b"%d", b"a1", b"* METADATA INBOX (/private/x \"UID %d\")",
]
COMMANDS = [b"UID FETCH 1:* (FLAGS)", b"FETCH 1:* (UID)", b"UID SEARCH ALL", b"UID SORT (DATE) UTF-8 ALL",
            b"UID THREAD REFERENCES UTF-8 ALL",
            b"UID SEARCH RETURN (ALL) ALL", b"UID COPY 10 INBOX.Sent", b"UID MOVE 10 INBOX.Sent", b"UID STORE 10 FLAGS ()",
            b"NOOP", b"CHECK",
            b"STATUS INBOX (UIDNEXT UIDVALIDITY)", b"SELECT INBOX", b"APPEND INBOX {1+}\r\nx",
            b"LIST \"\" * RETURN (STATUS (UIDVALIDITY UIDNEXT))"]
# Strings of the lines above, in which a "UID" means nothing.
STRINGS = re.compile(rb'X \(UID \d+\)|"UID \d+"|"UID 2"|"UID \]"|\{7\}\r\nUID 1\r\n|\{3\}\r\nUID')


def numbers(line):
    """UIDs, UIDVALIDITYs and UIDNEXTs in a response."""
    status = re.match(rb"(?:\*|\w+) +(?:OK|NO|BAD|BYE|PREAUTH) \[(?:UID|APPENDUID|COPYUID)([^\]]*)\]", line, re.I)
    found = re.match(rb"\* +(?:SEARCH|SORT|THREAD|VANISHED)\b(.*)", line, re.I | re.S)
    if status or found:
        return re.findall(rb"\d+", (status or found)[1])
    if re.match(rb"\* +(?:\d+ +FETCH|STATUS)\b", line, re.I):
        return [m[1] for m in re.finditer(rb"\bUID(?:NEXT|VALIDITY)?[ \"(]+(\d+)", line, re.I)]
    if re.match(rb"\* +ESEARCH\b.*\bUID (?:MIN|MAX|ALL|PARTIAL)", line, re.I):
        return re.findall(rb"(?:MIN|MAX|ALL) (\d+)", line, re.I)
    return []


def tells_another(command, said):
    """That INBOX is another mailbox now: then it is shown as it is, by another UIDVALIDITY."""
    anew = re.search(rb"UIDNEXT [123]\b|UIDVALIDITY 7[01]\d|UIDVALIDITY 71", b" ".join(said))
    return anew and command.startswith((b"SELECT", b"STATUS", b"LIST"))


def judge(out, sent):
    """No number of the backend's: all of them are below 10, or 70 and what follows."""
    for line in re.split(rb"\r\n(?=\* |\w+ (?:OK|NO|BAD)|\+)", STRINGS.sub(b"", out)):
        assert all(n == b"7" or 10 <= int(n) < 70 for n in numbers(line)), (sent, line)


@pytest.mark.parametrize("seed", range(2))
def test_a_backend_that_sends_what_it_likes(scene, seed):
    """Each line behind each command, alone and in twos, whole and cut off."""
    rng, ended, sessions = random.Random(seed), 0, 0
    said = []

    def answer(tag, line):
        if b"SELECT" in line.upper() and said == []:
            return SELECTED % tag
        out = b"".join(x + b"\r\n" for x in said)
        if rng.random() < 0.1:
            out = out[:rng.randrange(len(out) + 1)]
        return out + (SELECTED % tag if b"SELECT" in line.upper() else tag + rng.choice([
            b" OK done", b" NO [UIDNEXT 2] n", b" BAD b", b" OK [COPYUID 70 1 4] d", b" OK [APPENDUID 70 5] d",
            b" OK [UIDVALIDITY 70] d",
            b" OK [COPYUID 70 1:3 4] d", b" OK [APPENDUID 70 2] d", b" OK [READ-ONLY] d",
            b" OK [HIGHESTMODSEQ 70] d"]) + b"\r\n")
    scene.server.answer = answer
    pairs = [(c, x) for c in COMMANDS for x in LINES]
    for command, line in rng.sample(pairs, 100):
        said[:] = []
        scene.store.hset(scene.records, "INBOX", RECORD.format("INBOX", "INBOX"))  # another one in a session before
        with connect(scene.proxy, timeout=1) as w:
            assert w.login(scene.user).startswith(b"l1 OK")
            w.command(b"s", b"SELECT INBOX")
            picked = [line] + rng.sample(LINES, rng.randrange(2))
            said[:] = [re.sub(rb"%d", lambda _: b"%d" % rng.randrange(1, 7), x) for x in picked]
            w.socket.sendall(b"a1 " + command + b"\r\n")
            out = scene.rest(w)
            if not tells_another(command, said):
                judge(out, (command, said))
            sessions += 1
            ended += b"* BYE" in out
    print(f"{sessions} sessions, {ended} ended")
    scene.server.answer = scene.server.usual
    scene.wire()


# ---- the client

def rss(proxy):
    with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) // 1024


def test_floods_of_commands_that_wait(scene):
    """10,000 searches that can't be told apart, by a client that does not read; each gets its answer, in its numbers."""
    def answer(tag, line):
        if b"SELECT" in line:
            return SELECTED % tag
        return b"* SEARCH 1 2 3\r\n" + tag + b" OK done\r\n"
    scene.server.answer = answer
    w, n = scene.wire(), 10000
    before = rss(scene.proxy)
    sender = threading.Thread(target=w.socket.sendall, daemon=True, args=(b"".join(
        b"a%d %sSEARCH ALL\r\n" % (i, b"UID " if i % 2 else b"") for i in range(n)),))
    sender.start()
    answers = [w.read_line() for _ in range(2 * n)]
    sender.join()
    for i in range(n):
        assert answers[2 * i] == (b"* SEARCH 10 11 12" if i % 2 else b"* SEARCH 1 2 3"), i
        assert answers[2 * i + 1] == b"a%d OK done" % i
    assert rss(scene.proxy) < before + 64
    assert scene.wire()


def test_a_client_that_never_reads(scene):
    """The proxy takes no more than it can hold, whoever the answers wait for."""
    w = scene.wire()
    w.socket.settimeout(1)
    before, sent = rss(scene.proxy), 0
    commands = [b"a LIST \"\" *\r\n", b"a SELECT INBOX\r\n", b"a UID FETCH 13:19 (FLAGS)\r\n",
                b"a STATUS {4096+}\r\n" + b"x" * 4096 + b" (MESSAGES)\r\n",
                b"a UID SEARCH UID 10\r\na SEARCH 1\r\n", b"a SELECT " + b"x" * 5000 + b"\r\n",
                b"a RENAME INBOX.Sent INBOX.Sent\r\n"]
    with contextlib.suppress(OSError):
        while sent < 64 << 20:
            data = b"".join(random.Random(sent).choice(commands) for _ in range(200))
            w.socket.sendall(data)
            sent += len(data)
    assert rss(scene.proxy) < before + 100, sent
    assert scene.wire()


COMMAND_PARTS = [
    b"UID", b"FETCH", b"STORE", b"SEARCH", b"SELECT", b"EXAMINE", b"COPY", b"MOVE", b"EXPUNGE", b"CLOSE", b"UNSELECT",
    b"STATUS", b"LIST", b"LSUB",
    b"RENAME", b"CREATE", b"DELETE", b"APPEND", b"SETMETADATA", b"GETMETADATA", b"IDLE", b"DONE", b"NOOP",
    b"SORT (DATE) UTF-8", b"THREAD REFERENCES UTF-8",
    b"INBOX", b"INBOX.Sent", b'"INBOX.Sent"', b'"IN\\"B\\\\OX"', b"inbox.a/b", b"Sent", b"*", b"%", b"1:*", b"10", b"*:11",
    b"4294967295", b"0", b"1,,2", b"12:10,20",
    b"(UIDNEXT UIDVALIDITY)", b"(FLAGS)", b"(UID 10)", b"+FLAGS (\\Deleted)", b"ALL", b"NOT", b"OR", b"SUBJECT", b"HEADER",
    b"RETURN (ALL)", b"(", b")", b'""', b"NIL",
    b"{3}\r\nabc", b"{3+}\r\nUID", b"{10+}\r\nINBOX.Sent", b"{5}\r\nINBOX", b"{2+}\r\n\x00x", b"{4+}\r\n\xff\xfe\r\n",
    b"{0+}\r\n", b"{0}\r\n", b"~{3+}\r\nabc", b"{99999999999}",
    b"x" * 3000, b"\xc3\xa9", b"BODY[HEADER.FIELDS (UID)]", b"(HIGHESTMODSEQ)", b"MODSEQ", b"$", b"COMPRESS DEFLATE",
    b"(USE (\\Sent))",
]


@pytest.mark.parametrize("seed", range(2))
def test_a_client_that_sends_what_it_likes(scene, seed):
    """Nothing with the client's own numbers or names gets to the backend, and no session stands still."""
    rng, sessions = random.Random(seed), 0
    for _ in range(100):
        scene.server.heard.clear()
        with connect(scene.proxy, timeout=2) as w:
            assert w.login(scene.user).startswith(b"l1 OK")
            w.command(b"s", b"SELECT INBOX")
            data = b""
            for i in range(rng.randrange(1, 30)):
                data += b"%s %s\r\n" % (rng.choice([b"a%d" % i, b"a", b"b"]),
                                        b" ".join(rng.choice(COMMAND_PARTS) for _ in range(rng.randrange(1, 7))))
            with contextlib.suppress(OSError):
                w.socket.sendall(data)
            scene.rest(w)
            sessions += 1
        for line in scene.server.heard:
            head = line.split(b"{")[0].split(b"\r\n")[0]
            m = re.match(rb"\S+ UID (?:FETCH|STORE|COPY|MOVE|EXPUNGE) (\S+)", head, re.I)
            for number in re.findall(rb"\d+", m[1]) if m else ():
                assert int(number) <= 4 or int(number) > 1000, (line, data)
            named = re.match(rb"\S+ (SELECT|EXAMINE|STATUS|DELETE|CREATE|APPEND|SUBSCRIBE) \"?INBOX\.", head, re.I)
            assert not named, (line, data)
    assert sessions == 100 and scene.wire()


# ---- the store

def test_records_that_can_not_be_read(scene):
    """Sessions go on by what they know; a login is refused until the records can be read; nothing is told that is wrong."""
    good = scene.store.hgetall(scene.records)
    route = f"imapferry:route:{scene.user}"
    w = scene.wire()
    odd = [{"": None}, {"": "1 client=.,INBOX. backend=/, avoid=%"}, {"INBOX": ""}, {"INBOX": "1 id=9f03"},
           {"INBOX": RECORD.format("", "")},
           {"INBOX": RECORD.format("INBOX", "INBOX").replace("1UEBJAC", "1UEC")}, {"INBOX": "x" * 5000000},
           {"INBOX\r\nx": RECORD.format("a", "b")},
           {"INBOX": RECORD.format("INBOX", "INBOX").replace("T2", "T9")}, {"INBOX": None, "INBOX.Sent": None, "": None},
           {"INBOX": RECORD.format("INBOX", "INBOX").replace("7,70", "7,99999999999")}]
    for n, change in enumerate(odd):
        for field, text in change.items():
            if text is None:
                scene.store.hdel(scene.records, field)
            else:
                scene.store.hset(scene.records, field, text)
        scene.store.hset(route, "view", f"1:ab:{n + 1}")
        with connect(scene.proxy) as other:
            answer = other.login(scene.user)
            assert answer.startswith((b"l1 OK", b"l1 NO [UNAVAILABLE]")), (change, answer)
            if answer.startswith(b"l1 OK"):
                told = other.command(b"s", b"SELECT INBOX")
                told += other.command(b"f", b"UID FETCH 1:* (FLAGS)")
                # Without a spelling, or any record, the backend as it is: never one side's UIDVALIDITY with the other's UIDs.
                plain = "INBOX" in change or "" in change
                assert not plain or not any(b"[UIDVALIDITY 7]" in x for x in told), (change, told)
        assert w.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        scene.store.delete(scene.records)
        scene.store.hset(scene.records, mapping=good)
    scene.store.hset(route, "view", "1:ab")
    net.wait_until("the records", lambda: scene.wire())
