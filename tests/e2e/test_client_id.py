"""What mail programs say of themselves by ID, and who hears it (forward_id)."""
import threading

import pytest

from fakes.fake_imap import FakeImap
from fakes.servers import UnsafeLogin
from harness import net
from harness.ferry import backend, standing
from harness.scene import connect, new_user

ANSWER = [b'* ID ("name" "imapferry")', b"a OK ID completed"]
LETTER = b"Subject: x\r\n\r\ntext\r\n"
MOST = [(b"%030d" % n, b"%01024d" % n) for n in range(29)]


@pytest.fixture(name="world", scope="module")
def fixture_world(cert):
    """(ferry, old, new): both open no mailbox before they were told, behind the sign-in, who comes."""
    with FakeImap("old") as old, FakeImap("new") as new, \
            standing({"old": backend(old, "imap", forward_id="client"), "new": backend(new, "imap", forward_id="client")}, cert,
                     {"migration": {"trigger": "manual", "cutover": "manual"}}) as ferry:
        yield ferry, old, new


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(world):
    return world[0].proxy()


def unsafe(*servers):
    """(user, a list of what each server heard of that user)."""
    user, heard = new_user(), [[] for _ in servers]
    servers[0].add(user, "INBOX", LETTER)
    for server, list_of in zip(servers, heard):
        server.behave_like(user, UnsafeLogin(list_of))
    return user, *heard


def quoted(pairs):
    return b"(" + b" ".join(b'"%s" "%s"' % pair for pair in pairs) + b")"


def flat(pairs):
    return [x for pair in pairs for x in pair]


def test_all_that_rfc_2971_allows_is_taken_and_forwarded_but_for_what_proxies_say(world, proxy):
    """Before login and after it, in quotes and in literals; nobody claims another's address."""
    user, heard = unsafe(world[1])
    forged = [(b"x-originating-ip", b"192.0.2.1")]
    with connect(proxy) as w:
        assert w.command(b"a", b"ID " + quoted(MOST + forged)) == ANSWER
        assert w.login(user).startswith(b"l1 OK")
        assert heard == [flat(MOST)]
        assert w.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        w.send(b"a ID (" + b" ".join(b"{%d+}\r\n%s" % (len(x), x) for x in flat(MOST + forged)) + b")\r\n")
        assert w.until(b"a ")[0] == ANSWER[0]
        assert heard[1] == flat(MOST)
        assert w.command(b"a", b"ID " + quoted(MOST + forged))[0] == ANSWER[0]
        assert heard[2] == flat(MOST)


def test_strangers_fill_no_memory_by_long_ids(world, proxy):
    """64 of a thread may say much before they have signed in, and each other line stays short."""
    begun = [connect(proxy) for _ in range(64)]
    for w in begun:
        w.send(b'a ID ("name" "' + b"x" * 9000)
    for w in begun:
        w.send(b'x')  # the line is under way
    with connect(proxy) as w:
        assert w.command(b"a", b"ID " + quoted(MOST[:5])) == ANSWER
        net.wait_until("all places to be taken", lambda: refused(proxy))
        assert w.command(b"b", b"ID " + quoted(MOST[:5]))[-1].startswith(b"b OK")
    begun.pop().close()
    net.wait_until("a place to be free", lambda: not refused(proxy))
    with connect(proxy) as w:
        w.send(b"a LOGIN ann " + b"x" * 9000)
        assert w.rest()[0].endswith(b"BAD line too long")
    for w in begun:
        w.close()


def refused(proxy):
    with connect(proxy) as w:
        w.send(b"a ID " + quoted(MOST) + b"\r\n")
        return w.read_line() != ANSWER[0]


def test_id_behind_the_login_is_relayed_and_answered_by_us(world, proxy):
    user, heard = unsafe(world[1])
    with connect(proxy) as w:
        assert w.login(user).startswith(b"l1 OK")
        assert w.command(b"s", b"SELECT INBOX")[-1] == b"s NO Unsafe Login" and heard == []
        w.send(b"a ID ({4}\r\n")
        assert w.read_line() == b"+ OK"
        w.send(b"name \"Mail\")\r\nb NOOP\r\n")
        assert w.until(b"b ") == [ANSWER[0], b"a OK done", b"b OK done"]
        assert heard == [[b"name", b"Mail"]]
        assert w.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        for wrong in (b"ID", b"ID ann", b'ID ("name")', b"ID " + quoted([(b"k", b"v")] * 31), b'ID ("k" "' + b"v" * 1025 + b'")'):
            assert w.command(b"a", wrong)[-1].startswith(b"a BAD Expected ID")
        w.send(b'a ID ("name" {1025+}\r\n' + b"v" * 1025 + b")\r\n")
        assert w.until(b"a ")[-1].startswith(b"a BAD Expected ID")
        assert w.command(b"a", b"ID NIL")[0] == ANSWER[0] and heard[1:] == [[b"NIL"]]


def test_a_migration_and_a_hand_over_tell_the_new_server_too(world, proxy):
    """The connection that was prepared is told again where the client says something else meanwhile."""
    ferry, old, new = world
    user, _, heard = unsafe(old, new)
    arrived, go = threading.Event(), threading.Event()

    def held(args):
        if args == [[b"name", b"First"]]:
            arrived.set()
            go.wait(20)
    new.behave_like(user, UnsafeLogin(heard, held))
    migrator = ferry.migrator()
    try:
        with connect(proxy) as w:
            assert w.command(b"a", b'ID ("name" "First")') == ANSWER
            assert w.login(user).startswith(b"l1 OK")
            assert ferry.ctl("migrate", user)[0] == 0
            ferry.wait_state(user, "ready")
            assert heard and all(x == [b"name", b"imapferry"] for x in heard), heard
            assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
            assert arrived.wait(20)
            assert w.command(b"a", b'ID ("name" "Second")')[0] == ANSWER[0]
            go.set()
            ferry.wait_state(user, "flipped")
            assert w.command(b"b", b"NOOP")[-1].startswith(b"b OK")
            proxy.wait("event=handed_over .*user=" + user)
            assert [x for x in heard if x != [b"name", b"imapferry"]] == [[b"name", b"First"], [b"name", b"Second"]]
            assert w.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    finally:
        go.set()
        migrator.stop()
