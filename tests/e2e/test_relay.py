"""After login: what passes, what is refused, and what a slow side costs."""
import os
import signal
import socket
import threading
import time

import pytest

from fakes.fake_imap import FakeImap
from fakes.servers import Answers
from harness import mail, net
from harness.ferry import Ferry, backend, standing
from harness.scene import Wire, fill, new_user

HIDDEN = (b"NOTIFY", b"SEARCHRES", b"ESORT", b"CONTEXT", b"CATENATE", b"URLAUTH",
          b"LOGIN-REFERRALS", b"REPLACE", b"OBJECTID")
NEEDED = (b"IMAP4rev1", b"IDLE", b"UIDPLUS", b"MOVE", b"NAMESPACE", b"SPECIAL-USE", b"LITERAL+", b"COMPRESS=DEFLATE", b"CONDSTORE",
          b"QRESYNC")


@pytest.fixture(scope="module")
def ferry(old, new, authority, cert):
    with standing({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, cert) as made:
        # Both backends were seen after a sign-in, as they are when the first account has moved.
        words = ("IMAP4rev1 LITERAL+ IDLE UIDPLUS MOVE NAMESPACE SPECIAL-USE ENABLE ID CONDSTORE QRESYNC ESEARCH NOTIFY LIST-STATUS "
                 "CHILDREN UNSELECT SEARCHRES")
        made.redis.client().hset("imapferry:backends", mapping={"new": words, "new/common": words, "new/by": "user",
                                                                "new/since": int(time.time() * 1000)})
        yield made


@pytest.fixture(scope="module")
def proxy(ferry):
    return ferry.proxy()


def sign_in(proxy, user, listener=0, ca=None, timeout=20):
    w = Wire(proxy.addresses[listener], timeout=timeout, ca=ca)
    w.read_line()
    w.shown = w.command(b"a", b"LOGIN " + user.encode() + b" secret")[-1]
    assert w.shown.startswith(b"a OK "), w.shown
    return w


@pytest.fixture
def wire(proxy):
    return sign_in(proxy, new_user())


def keepalives(pid, ports):
    """The kernel's keepalive timers of a process's connections with these ports, in seconds."""
    mine = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    found = []
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            _, local, peer, state, _, timer, _, _, _, inode = line.split()[:10]
            at = {int(x.partition(":")[2], 16) for x in (local, peer)} & set(ports)
            if state == "01" and at and f"socket:[{inode}]" in mine and timer.startswith("02:"):
                found.append(int(timer[3:], 16) / os.sysconf("SC_CLK_TCK"))
    return found


def test_both_legs_are_asked_whether_they_are_there(proxy, wire, old):
    """The client's own, and the backend's; the others that the proxy has are of other ports."""
    def both():
        client, server = keepalives(proxy.pid, [wire.socket.getsockname()[1]]), keepalives(proxy.pid, old.port.values())
        return client + server if client and server else None
    assert wire.command(b"b", b"NOOP")[-1].startswith(b"b OK")
    assert all(60 < t <= 180 for t in net.wait_until("timers of both legs", both))


# ---- capabilities and what they rule


def test_capabilities_are_those_of_both_and_say_the_same_everywhere(wire):
    words = wire.shown.partition(b"[CAPABILITY ")[2].partition(b"]")[0].split()
    assert wire.command(b"b", b"CAPABILITY")[0].split()[2:] == words
    assert all(x in words for x in NEEDED), words
    assert not [x for x in words for h in HIDDEN if x.startswith(h)]
    assert b"SORT" not in words  # the old server has it alone


@pytest.mark.parametrize("command", [
    b"FETCH 1 EMAILID", b"STATUS INBOX (MAILBOXID)", b"SELECT INBOX (ANNOTATE)", b"SEARCH RETURN (SAVE) ALL",
    b"NOTIFY NONE", b"SORT (DATE) UTF-8 ALL", b"COMPRESS GZIP", b"UNAUTHENTICATE", b"XLIST \"\" *", b"X-FROB",
    b"LOGIN ann secret", b"AUTHENTICATE PLAIN", b"STARTTLS", b"RESETKEY", b"URLFETCH x", b"FETCH 1 X-GM-MSGID",
])
def test_command_of_what_is_hidden(wire, command):
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    assert wire.command(b"b", command)[-1].startswith(b"b BAD ")
    assert wire.command(b"c", b"NOOP")[-1].startswith(b"c OK")


def test_enable_drops_what_is_hidden(wire):
    assert wire.command(b"b", b"ENABLE UTF8=ACCEPT X-FROB") == [b"* ENABLED", b"b OK Nothing to enable"]
    assert wire.command(b"c", b"ENABLE")[-1].startswith(b"c BAD ")
    answers = wire.command(b"d", b"SELECT INBOX")
    assert not [x for x in answers if b"MAILBOXID" in x] and [x for x in answers if b"[UIDNEXT " in x]


MODSEQS = [b"FETCH 1 MODSEQ", b"UID FETCH 1 (UID MODSEQ)", b"FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", b"STATUS INBOX (HIGHESTMODSEQ)",
           b"SELECT INBOX (CONDSTORE)", b"STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Seen)", b"SEARCH MODSEQ 1"]


def test_modseqs_pass(proxy):
    """All of RFC 7162, where both servers have it."""
    wire = sign_in(proxy, new_user())
    wire.command(b"a", b"APPEND INBOX {3+}\r\nabc")
    assert wire.command(b"b", b"ENABLE QRESYNC")[0].startswith(b"* ENABLED ")
    opened = wire.command(b"s", b"SELECT INBOX")
    validity = next(x for x in opened if b"[UIDVALIDITY " in x).split()[3].rstrip(b"]")
    assert [x for x in opened if b"[HIGHESTMODSEQ " in x], opened
    for command in MODSEQS:
        answer = wire.command(b"c", command)
        assert answer[-1].startswith((b"c OK", b"c NO")), (command, answer)
    resync = wire.command(b"d", b"SELECT INBOX (QRESYNC (%s 1 1:5))" % validity)
    assert resync[-1].startswith(b"d OK") and any(b"MODSEQ (" in x for x in resync), resync
    assert wire.command(b"e", b"UID FETCH 1:9 (FLAGS) (CHANGEDSINCE 1 VANISHED)")[-1].startswith(b"e OK")
    wire.command(b"f", b"STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert any(x.startswith(b"* VANISHED ") for x in wire.command(b"g", b"EXPUNGE"))


def test_modseqs_are_refused_where_a_site_hides_them(make_ferry, old, new, authority):
    """"-CONDSTORE" at one of the two backends takes QRESYNC away too."""
    hidden = {**backend(new, ca=authority.ca), "capabilities": ["-CONDSTORE"]}
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": hidden}, {"migration": {"trigger": "manual"}})
    words = "IMAP4rev1 LITERAL+ IDLE UIDPLUS ENABLE CONDSTORE QRESYNC"
    ferry.redis.client().hset("imapferry:backends", mapping={"new": words, "new/common": words, "new/by": "user",
                                                             "new/since": int(time.time() * 1000)})
    wire = sign_in(ferry.proxy(), new_user())
    assert not [x for x in (b"CONDSTORE", b"QRESYNC") if x in wire.shown], wire.shown
    answers = wire.command(b"s", b"SELECT INBOX")
    assert answers[-1].startswith(b"s OK") and not [x for x in answers if b"MODSEQ" in x], answers
    for command in MODSEQS:
        assert wire.command(b"b", command)[-1].startswith(b"b BAD "), command
    assert wire.command(b"c", b"ENABLE CONDSTORE QRESYNC") == [b"* ENABLED", b"c OK Nothing to enable"]


def test_refused_command_with_a_literal(wire):
    wire.send(b"b FROB {6}\r\n")
    assert wire.read_line().startswith(b"b BAD ")  # and no "+"
    wire.send(b"c FROB {8+}\r\nd NOOP\r\n {2+}\r\nxx\r\ne NOOP\r\n")
    assert wire.read_line().startswith(b"c BAD ")
    assert wire.read_line().startswith(b"e OK ")


def test_id_is_answered_here_after_login_too(wire):
    assert wire.command(b"b", b'ID ("x-originating-ip" "192.0.2.1")') == [
        b'* ID ("name" "imapferry")', b"b OK ID completed"]
    wire.send(b'c ID ("name" {7}\r\n')
    assert wire.read_line().startswith(b"+ ")
    wire.send(b"Outlook)\r\n")
    assert wire.until(b"c ")[-1] == b"c OK ID completed"


def test_second_half_of_a_command_that_is_refused_ends_the_session(wire):
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    wire.send(b"b SEARCH SUBJECT {3+}\r\nabc EMAILID 5\r\n")
    answers = wire.rest()
    assert answers[-2].startswith(b"b BAD ") and answers[-1].startswith(b"* BYE [CLIENTBUG]")


@pytest.mark.parametrize("send", [b"b NOOP\n", b"b NO\0OP\r\n", b"b NOOP {05+}\r\n",
                                  pytest.param(b"b" * (1024 * 1024 + 1) + b"\r\n", id="no tag in a line that is too long")])
def test_line_that_can_not_be_read_ends_the_session(wire, send):
    wire.send(send)
    assert wire.rest()[-1] == b"* BYE [CLIENTBUG] This line can't be read"


def test_line_that_is_too_long_is_refused(wire):
    """The session went with it."""
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    wire.send(b"b UID FETCH 1" + b",1" * 600000 + b" FLAGS\r\nc NOOP\r\n")
    assert wire.until(b"b ")[-1].startswith(b"b BAD [LIMIT] ")
    assert wire.until(b"c ")[-1].startswith(b"c OK")
    wire.send(b"d UID FETCH 1" + b",1" * 600000 + b" BODY[HEADER.FIELDS ({8+}\r\nd NOOP\r\n)]\r\ne NOOP\r\n")
    assert wire.until(b"d ")[-1].startswith(b"d BAD [LIMIT] ")
    assert wire.until(b"e ")[-1].startswith(b"e OK")


@pytest.mark.parametrize("line", [
    b"APPEND INBOX (\\Bad {16+}\r\n0123456789abcdef)", b"APPEND INBOX (\\Bad {16}", b"APPEND INBOX (\\Seen",
    b"APPEND INBOX (\\Seen {5+}\r\nhello", b"FETCH 1 (FLAGS", b"FETCH 1 (BODY[HEADER.FIELDS (X])", b"SEARCH (ALL",
    b"STORE 1 FLAGS (\\Seen", b'LIST "" (a b', b"STATUS INBOX (UNSEEN", b"SEARCH ALL)", b"NOOP {05}", b"SEARCH SUBJECT {}",
    b"SEARCH SUBJECT { 5}", b'SEARCH SUBJECT "x', b"IDLE (",
])
def test_unbalanced_line_is_refused_here(wire, line):
    """Dovecot waits for more behind an open parenthesis, and the session hung with it."""
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    wire.send(b"b " + line + b"\r\nc NOOP\r\n")
    answers = wire.until(b"c ")
    assert answers[0].startswith(b"b BAD ") and answers[-1].startswith(b"c OK "), answers


# ---- literals, IDLE, pipelines


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("size", [0, 5000, 3_000_000])
def test_append_and_fetch_give_the_same_bytes(wire, sync, size):
    body = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * (size // 16)
    wire.send(b"b APPEND INBOX {%d%s}\r\n" % (len(body), b"" if sync else b"+"))
    if sync:
        assert wire.read_line().startswith(b"+ ")
    wire.send(body + b"\r\n")
    assert wire.until(b"b ")[-1].startswith(b"b OK [APPENDUID ")
    assert wire.command(b"c", b"SELECT INBOX")[-1].startswith(b"c OK")
    wire.line(b"d FETCH 1 BODY.PEEK[]")
    head = wire.read_line()
    assert head == b"* 1 FETCH (BODY[] {%d}" % len(body), head
    while len(wire.buffer) < len(body):
        wire.buffer += wire.socket.recv(1 << 16)
    assert wire.buffer[:len(body)] == body
    wire.buffer = wire.buffer[len(body):]
    assert wire.until(b"d ")[-1].startswith(b"d OK")


def test_literal_that_the_backend_refuses(wire):
    """It is answered NO in place of "+", and what the client sends next is a command again."""
    wire.line(b"b APPEND INBOX.no-such-mailbox {10}")
    answer = wire.read_line()
    if answer.startswith(b"+"):
        wire.send(b"b2 LOGOUT\r\n\r\n")  # ten bytes and the end of the line: a body, not a command
        wire.read_line()
        answer = wire.read_line()
    assert answer.startswith(b"b NO [TRYCREATE]"), answer
    assert wire.command(b"c", b"NOOP")[-1].startswith(b"c OK")


def test_body_of_a_literal_is_never_a_command(wire):
    """Dovecot gives this APPEND up at its flags, and what follows a "{n+}" would be commands to it."""
    body = b"c CREATE INBOX.smuggled\r\n"
    wire.send(b"b APPEND INBOX (\\Odd) {%d+}\r\n%s\r\nd LIST \"\" *\r\n" % (len(body), body))
    answers = wire.until(b"d ")
    assert answers[0].startswith(b"b BAD ") and answers[-1].startswith(b"d OK"), answers
    assert not any(b"smuggled" in line or line.startswith(b"c ") for line in answers), answers


def test_idle(old, proxy):
    user = new_user()
    w = sign_in(proxy, user)
    w.command(b"s", b"SELECT INBOX")
    w.line(b"b IDLE")
    assert w.read_line().startswith(b"+ ")
    m = mail.connect(old, user, "secret")
    m.append("INBOX", None, None, b"Subject: new\r\n\r\nmail\r\n")
    m.logout()
    assert b"* 1 EXISTS" in w.until(b"* 1 EXISTS")
    w.line(b"c NOOP")
    assert w.until(b"c ")[-1] == b"c BAD Expected DONE"
    w.line(b"done")
    assert w.until(b"b ")[-1].startswith(b"b OK")
    assert w.command(b"d", b"NOOP")[-1].startswith(b"d OK")


def test_done_sent_along_with_idle(wire):
    wire.send(b"b IDLE\r\nDONE\r\nc NOOP\r\n")
    answers = wire.until(b"c ")
    assert [x[:4] for x in answers if x[:1] in b"bc"] == [b"b OK", b"c OK"]


def test_thousands_of_commands_in_one_pipeline(wire):
    n = 3000
    sender = threading.Thread(target=wire.send, args=(b"".join(b"t%d NOOP\r\n" % i for i in range(n)),))
    sender.start()
    tags = [x.split()[0] for x in wire.until(b"t%d " % (n - 1)) if not x.startswith(b"*")]
    sender.join()
    assert tags == [b"t%d" % i for i in range(n)]


def test_same_tag_twice(wire):
    wire.send(b"b NOOP\r\nb FROB\r\nb NOOP\r\nc NOOP\r\n")
    answers = wire.until(b"c ")
    assert sorted(x[:5] for x in answers if x.startswith(b"b ")) == [b"b BAD", b"b OK ", b"b OK "]


def test_one_byte_at_a_time(wire):
    for byte in b"b APPEND INBOX {5+}\r\nhello\r\nc NOOP\r\n":
        wire.send(bytes([byte]))
    assert [x for x in wire.until(b"c ") if x.startswith(b"b OK")]


def test_logout(wire, proxy):
    wire.line(b"b LOGOUT")
    answers = wire.rest()
    assert answers[0].startswith(b"* BYE") and answers[-1].startswith(b"b OK")
    proxy.wait(r"event=session_end why=logout")


# ---- slow sides: what the proxy takes from one side while the other does not move


BIG = 60_000_000
# Kernel buffers on the way are not ours to bound; this leaves them room, and is far from all of it.
TAKEN_MAX = 24_000_000


@pytest.mark.parametrize("listener", [0, 1])
def test_client_that_stops_reading_stops_the_backend(relayed, authority, old, listener):
    proxy, relay = relayed
    user = new_user()
    fill(old, user, mail.sample(7, 1, sizes=(100, 200), big=(BIG,)))
    w = sign_in(proxy, user, listener, ca=authority.ca, timeout=60)
    w.command(b"b", b"SELECT INBOX")
    before = relay.passed["down"]
    w.line(b"c FETCH 1:* BODY.PEEK[]")
    w.line(b"d LOGOUT")
    taken = net.wait_quiet(lambda: relay.passed["down"]) - before
    assert 100_000 < taken < TAKEN_MAX, taken
    got, tail = 0, w.buffer
    while True:
        data = w.socket.recv(1 << 20)
        if not data:
            break
        got, tail = got + len(data), (tail + data)[-300:]
    assert got > BIG and b"\r\nd OK" in tail, (got, tail)


def test_backend_that_stops_reading_stops_the_client(relayed):
    proxy, relay = relayed
    w = sign_in(proxy, new_user(), timeout=60)
    body = os.urandom(1 << 20).replace(b"\0", b"1")
    w.line(b"b APPEND INBOX {%d+}" % (60 * len(body)))
    relay.stall()
    w.socket.setblocking(False)
    sent = 0
    stuck = time.monotonic()
    while time.monotonic() - stuck < 1 and sent < 60 * len(body):
        try:
            sent += w.socket.send(body[sent % len(body):])
            stuck = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    assert 100_000 < sent < TAKEN_MAX, sent
    w.socket.setblocking(True)
    w.socket.settimeout(60)
    relay.resume()
    left = 60 * len(body) - sent
    at = sent % len(body)
    w.send((body * 61)[at:at + left] + b"\r\n")
    assert w.until(b"b ")[-1].startswith(b"b OK")


def test_backend_that_goes_away(relayed):
    proxy, relay = relayed
    w = sign_in(proxy, new_user())
    relay.cut()
    assert w.rest()[-1].startswith(b"* BYE [UNAVAILABLE]")


ODD = b'* 1 FETCH (UID 1 ENVELOPE (NIL "a\nb OK [UIDNEXT 9] x\n* BYE x\n" "n\0ul" "c\rr" "\n\\"{9}"))\r\n'


def test_strings_of_a_mail_as_it_is_pass_and_no_mail_answers_a_command(redis, cert):
    """As servers are found to send headers with LF, NUL or CR in them: what is in a string ends no line."""
    with FakeImap("old") as odd, FakeImap("new") as other:
        ferry = Ferry(redis, {"old": backend(odd, "imap"), "new": backend(other, "imap")}, cert,
                      {"migration": {"trigger": "manual"}, "redis": {"prefix": "odd"}})
        try:
            ferry.init()
            user = new_user()
            odd.add(user, "INBOX", b"Subject: x\r\n\r\n")
            odd.behave_like(user, Answers(lambda c, number, message, items: ODD))
            w = sign_in(ferry.proxy(), user)
            assert w.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
            w.send(b"b FETCH 1 (UID ENVELOPE)\r\nc NOOP\r\n")
            while b"\r\nc OK" not in w.buffer:
                w.buffer += w.socket.recv(65536)
            assert w.buffer.startswith(ODD + b"b OK "), w.buffer
        finally:
            ferry.close()


def test_client_that_goes_away_leaves_nothing_behind(ferry, proxy):
    wires = [sign_in(proxy, new_user("gone")) for _ in range(20)]
    assert len(ferry.redis.client().keys("imapferry:sessions:gone*")) == 20
    for w in wires:
        w.line(b"b IDLE")
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, not closed
        w.socket.close()
    net.wait_until("no registrations", lambda: not ferry.redis.client().keys("imapferry:sessions:gone*"))


def test_silent_session_is_closed(ferry):
    proxy = ferry.proxy(proxy={"idle_timeout": "1s"})
    w = sign_in(proxy, new_user())
    assert w.rest() == [b"* BYE Autologout; idle for too long"]


def test_drain_is_spread_and_lets_commands_end(ferry):
    proxy = ferry.proxy(proxy={"drain_time": "1s", "threads": 2})
    idle = [sign_in(proxy, new_user("drained")) for _ in range(10)]
    for w in idle:
        w.line(b"b IDLE")
        assert w.read_line().startswith(b"+ ")
    busy = sign_in(proxy, new_user("drained"))
    busy.line(b"b APPEND INBOX {10}")
    assert busy.read_line().startswith(b"+ ")
    fresh = Wire(proxy.addresses[0])
    fresh.read_line()
    proxy.signal(signal.SIGTERM)
    began = time.monotonic()
    for w in idle:
        assert w.rest() == [b"* BYE [UNAVAILABLE] This server is being restarted, please connect again"]
    assert fresh.rest()[-1].startswith(b"* BYE [UNAVAILABLE]")
    times = sorted(m.group(1) for m in proxy.find(r"ts=(\S+) .*event=session_end why=shutdown"))
    assert len(set(times)) > 3, times
    assert time.monotonic() - began > 0.3
    busy.send(b"0123456789\r\n")
    assert busy.until(b"b ")[-1].startswith(b"b OK")
    assert busy.rest() == [b"* BYE [UNAVAILABLE] This server is being restarted, please connect again"]
    assert proxy.process.wait(10) == 0
    left = ferry.redis.client()
    assert not [x for x in left.hgetall("imapferry:proxies") if x.startswith(proxy.label + ".")]
    assert not left.keys("imapferry:sessions:drained*")


def test_what_the_new_server_can_do_is_known_before_the_first_account_has_moved(make_ferry, backends):
    """The migrator is the first to sign in there, long before a user is. Until then a client is shown what its own server can
    do; Dovecot does not let a master in for itself."""
    ferry = make_ferry(backends, {"migration": {"trigger": "login", "cutover": "manual"}})
    proxy, user = ferry.proxy(), new_user()
    proxy.wait("event=capabilities_unknown .*backend=new")
    before = sign_in(proxy, user)
    assert b" UIDPLUS" in before.shown and b" NAMESPACE" in before.shown
    migrator = ferry.migrator()
    assert migrator.wait("event=backend_unknown .*backend=new as=admin while=sign_in .*check_user")
    ferry.wait_state(user, "ready")
    proxy.wait("event=capabilities .*backend=new by=user are=\"IMAP4rev1 .*UIDPLUS")
    shown = sign_in(proxy, user).shown
    ferry.ctl("flip", user, "--to", "new", "--reason", "test")
    ferry.wait_state(user, "flipped")
    assert sign_in(proxy, user).shown == shown
    assert not proxy.find("capabilities_changed")
