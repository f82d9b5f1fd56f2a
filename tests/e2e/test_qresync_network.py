"""A client asks what has vanished (QRESYNC), and the network between proxy, backend, store and client goes away at each point of
that: all waits end by their deadline, nothing half told passes for the whole, and the next session is told all. The backend is that of
test_qresync_hostile.py: the client's UIDs 10, 11, 12 are its 1, 2, 3."""
import contextlib
import re
import signal
import socket
import struct
import threading
import time

import pytest

from e2e import test_qresync_hostile as other
from e2e import test_view_hostile as hostile
from e2e.test_qresync_hostile import FLOOR, usual
from harness import net, sentinel
from harness.relay import Relay
from harness.scene import connect

SETTINGS = {"compress": True, "backend_timeout": "1s"}
AWAY = 2.5  # seconds: longer than lease_long, and than backend_timeout
OLD, NEW = b"SELECT INBOX (QRESYNC (7 5 1:19))", b"SELECT INBOX (QRESYNC (7 %d 1:19))" % (FLOOR + 10)
FETCH = b"UID FETCH 1:19 (FLAGS) (CHANGEDSINCE 5 VANISHED)"
FETCHED = b"".join(b"* %d FETCH (UID %d FLAGS () MODSEQ (%d))\r\n" % (n, n, 20 + n) for n in (1, 2, 3))


@pytest.fixture(name="scene")
def make_scene(make_ferry, monkeypatch):
    monkeypatch.setattr(hostile, "CAPABILITIES", hostile.CAPABILITIES + b" CONDSTORE QRESYNC")
    def patient(backends, settings):
        return make_ferry(backends, {"proxy": SETTINGS})
    s = other.Scene(patient)
    s.server.answer = s.old.answer = usual
    yield s
    s.wires.close()
    s.server.close()
    s.old.close()


def answers(tag, line):
    """As `usual`, and with messages."""
    if b"FETCH" in line:
        return FETCHED + tag + b" OK done\r\n"
    return usual(tag, line)


class Until:
    """Says of the n-th command of ours no more than share of its answer; the rest when it is let."""

    def __init__(self, word, share):
        self.word, self.share, self.came, self.rest = word, share, threading.Event(), b""

    def __call__(self, tag, line):
        out = answers(tag, line)
        if self.word not in line or self.came.is_set():
            return out
        size = int(len(out) * self.share)
        self.rest = out[size:]
        self.came.set()
        return out[:size] or None


POINTS = [(ask, word, share) for ask, words in ((OLD, (b" SEARCH ", b" FETCH ")), (NEW, (b" FETCH ",)), (FETCH, (b" FETCH ",)))
          for word in words for share in (0, 0.5, 0.999)]
DOES = ("waits", "dribbles", "pipelines", "idles")


@pytest.mark.parametrize("ask,word,share,does", [(*point, DOES[n % 4]) for n, point in enumerate(POINTS)])
def test_a_backend_that_falls_silent(scene, ask, word, share, does):
    """Whatever the client does meanwhile."""
    w = scene.wire(timeout=20)
    if ask is FETCH:
        w.command(b"s", b"SELECT INBOX")
    scene.server.answer = Until(word, share)
    start = time.monotonic()
    w.line(b"a " + ask)
    if does == "pipelines":
        w.send(b"".join(b"n%d NOOP\r\n" % n for n in range(100)))
    if does == "idles":
        w.send(b"i IDLE\r\n")
    assert scene.server.answer.came.wait(10)
    if does == "dribbles":
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 6:
                w.send(b"x")
                time.sleep(0.1)
    told = w.rest()
    assert time.monotonic() - start < 5, told
    assert not [x for x in told if re.match(rb"(a|n\d+|i) OK", x)], told
    assert scene.wire().command(b"a", OLD)[-1].startswith(b"a OK")


class Held:
    """Answers the first command of ours with this word in it when it is let."""

    def __init__(self, word):
        self.word, self.came, self.go = word, threading.Event(), threading.Event()

    def __call__(self, tag, line):
        if self.word in line and not self.came.is_set():
            self.came.set()
            assert self.go.wait(20)
        return answers(tag, line)


def check_told(told, tag=b"a"):
    """All of it, once, in its order."""
    assert told[-1].startswith(tag + b" OK"), told
    kinds = [x for x in told if re.match(rb"\* (VANISHED|\d+ FETCH)", x)]
    assert kinds == [b"* VANISHED (EARLIER) 1:9,13:19"] + [
        b"* %d FETCH (UID %d FLAGS () MODSEQ (%d))" % (n, 9 + n, FLOOR + 20 + n) for n in (1, 2, 3)], told


def test_a_proxy_that_is_stopped_for_longer_than_all_terms(scene):
    """The answers have come meanwhile: nobody was late."""
    w = scene.wire(timeout=20)
    scene.server.answer = held = Held(b" SEARCH ")
    w.line(b"a " + OLD)
    assert held.came.wait(10)
    scene.proxy.signal(signal.SIGSTOP)
    held.go.set()
    time.sleep(AWAY)
    scene.proxy.signal(signal.SIGCONT)
    check_told(w.until(b"a "))
    assert w.command(b"n", b"NOOP")[-1].startswith(b"n OK")


@pytest.mark.parametrize("how,word", [("stall", b" SELECT "), ("stall", b" SEARCH "), ("stall", b" FETCH "), ("cut", b" SELECT ")])
def test_a_store_that_goes_away(scene, how, word):
    """Before the proxy asks whether its records are the newest, and behind that; for longer than all leases."""
    with contextlib.closing(Relay(scene.ferry.redis.address)) as relay:
        proxy = scene.ferry.proxy(redis={"url": relay.redis_url})
        w = scene.wires.enter_context(connect(proxy, timeout=20))
        w.login(scene.user)
        w.command(b"e", b"ENABLE QRESYNC")
        scene.server.answer = held = Held(word)
        w.line(b"a " + OLD)
        assert held.came.wait(10)
        getattr(relay, how)()
        start = time.monotonic()
        held.go.set()
        time.sleep(AWAY)
        relay.heal()
        check_told(w.until(b"a "))
        assert time.monotonic() - start < AWAY + 3
        assert w.command(b"n", b"NOOP")[-1].startswith(b"n OK")


@pytest.mark.parametrize("ask,word", [(OLD, b" SELECT "), (OLD, b" SEARCH "), (OLD, b" FETCH "), (NEW, b" FETCH ")])
@pytest.mark.parametrize("when", ["behind it", "meanwhile"])
def test_redis_fails_over_in_it(make_ferry, monkeypatch, ask, word, when):
    """By a real Sentinel. The backend answers behind the failover, or while there is no master: the client is told all once the session
    is registered at the new one, and its next commands pass."""
    monkeypatch.setattr(hostile, "CAPABILITIES", hostile.CAPABILITIES + b" CONDSTORE QRESYNC")
    settings = dict(SETTINGS, backend_timeout="30s", lease="500ms", store_timeout="1s")
    with sentinel.Group() as group:
        scene = other.Scene(lambda backends, _: make_ferry(backends, {"proxy": settings}, store=group))
        with contextlib.closing(scene.server), contextlib.closing(scene.old), scene.wires:
            scene.server.answer = usual
            w = scene.wire(timeout=30)
            scene.server.answer = held = Held(word)
            w.line(b"a " + ask)
            assert held.came.wait(10)
            group.kill_master()
            if when == "meanwhile":
                held.go.set()
            group.wait_failover()
            sessions = f"imapferry:sessions:{scene.user}"
            net.wait_until("the session at the new master", lambda: group.client().hgetall(sessions))
            held.go.set()
            told = w.until(b"a ")
            if ask is OLD:
                check_told(told)
            else:
                assert told[-1].startswith(b"a OK"), told
            assert w.command(b"n", b"NOOP")[-1].startswith(b"n OK")


@pytest.mark.parametrize("does", ["resets", "ends its side"])
@pytest.mark.parametrize("word", [b" SEARCH ", b" FETCH "])
def test_a_client_that_leaves_in_it(scene, word, does):
    """Its session ends at once, or when all was answered; nothing waits for it."""
    w = scene.wire()
    scene.server.answer = held = Held(word)
    w.send(b"a " + OLD + b"\r\nn1 NOOP\r\ni IDLE\r\n")
    assert held.came.wait(10)
    mark = scene.proxy.mark()
    if does == "resets":
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        w.close()
        scene.proxy.wait("event=session_end", since=mark, timeout=5)
        held.go.set()
    else:
        w.socket.shutdown(socket.SHUT_WR)
        held.go.set()
        told = w.rest()
        assert [x for x in told if x.startswith(b"a OK")] and [x for x in told if x.startswith(b"n1 OK")], told
        scene.proxy.wait("event=session_end", since=mark, timeout=5)
    net.wait_until("the store's list without it", lambda: not scene.store.hgetall(f"imapferry:sessions:{scene.user}"))
