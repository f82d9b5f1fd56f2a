"""What mail servers that ask where mail goes are answered, and what is done to a proxy by this door."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import net
from harness.ferry import Section, standing
from harness.host import Host

SETTINGS = {
    "delivery": {"domains": ["example.org", "*.sub.example.org"]},
    "socketmap": {"listen": ["inet://127.0.0.1:0"]},
    "migration": {"trigger": "manual", "aliases": ["sales@example.org=ann@example.org"]},
    'rule "*@b.sub.example.org"': {"source": "new", "target": "old"},
}
OLD, NEW = "lmtp:inet:old.example.org:24", "lmtp:inet:new.example.org:24"


@pytest.fixture(scope="module")
def ferry():
    backends = {"old": Section(None, {"address": "imap://127.0.0.1:1", "delivery": OLD}),
                "new": Section(None, {"address": "imap://127.0.0.1:2", "delivery": NEW})}
    with standing(backends, settings=SETTINGS) as made:
        set_route(made, "moved@example.org")
        set_route(made, "lost@example.org", backend="third")
        yield made


@pytest.fixture(scope="module")
def proxy(ferry):
    return ferry.proxy()


def door(proxy, kind="inet"):
    return proxy.wait(rf'listening on ({kind}://[^"\s]+)').group(1)


class Asker:
    """One connection of a mail server."""

    def __init__(self, address, timeout=15):
        kind, where = address.split("://")
        self.socket = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        self.socket.settimeout(timeout)
        self.socket.connect(where if kind == "unix" else (where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1])))
        self.buffer = b""

    def send(self, *questions):
        self.socket.sendall(b"".join(b"%d:%s," % (len(q), q) for q in questions))

    def answer(self):
        """None at the end of the connection."""
        while not (whole := re.match(rb"(\d+):", self.buffer)) or len(self.buffer) <= whole.end() + int(whole.group(1)):
            more = self.socket.recv(65536)
            if not more:
                assert not self.buffer, self.buffer
                return None
            self.buffer += more
        end = whole.end() + int(whole.group(1))
        text, self.buffer = self.buffer[whole.end():end], self.buffer[end + 1:]
        return text.decode()

    def ask(self, address):
        self.send(b"transport " + (address if isinstance(address, bytes) else address.encode()))
        return self.answer()

    def ended(self):
        with contextlib.suppress(ConnectionResetError):
            return self.answer() is None
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def asker(proxy):
    with Asker(door(proxy)) as a:
        yield a


def set_route(ferry, user, **fields):
    generation = ferry.redis.client().hget("imapferry:store", "generation")
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": "new", "state": "settled", "epoch": 4, "source": "old", "target": "new", "generation": generation, **fields})


# ---- answers

def test_where_mail_goes(ferry, asker):
    assert asker.ask("moved@example.org") == f"OK {NEW}"
    assert asker.ask("Moved+lists@Example.ORG") == f"OK {NEW}", "case and extension"
    assert asker.ask("nobody-yet@example.org") == f"OK {OLD}", "where a login would go"
    assert asker.ask("x@b.sub.example.org") == f"OK {NEW}", "... by a rule"
    set_route(ferry, "ann@example.org")
    assert asker.ask("SALES@example.org") == f"OK {NEW}", "an alias"
    assert asker.ask('"moved"@example.org') == f"OK {NEW}"
    set_route(ferry, "moved+own@example.org", backend="old", state="held")
    assert asker.ask("moved+own@example.org") == f"OK {OLD}", "somebody's whole name"
    assert not ferry.route("nobody-yet@example.org"), "nothing is written"


def test_what_is_not_ours(asker):
    for key in ("*", "", "example.org", "@example.org", "moved@", "moved@elsewhere.example", "moved@sub.example.org", "moved",
                "moved@example.org.elsewhere.example", "moved@example.org\r\n", "a\rb@example.org", "a\0b@example.org",
                "moved@example.org\0.x", b"\xff@example.org", "x" * 9900 + "@example.org", "x" * 9974 + "@example.org"):
        assert asker.ask(key) == "NOTFOUND ", key


def test_another_map(asker):
    asker.send(b"virtual ann@example.org", b"transport", b"", b"TRANSPORT ann@example.org")
    assert [asker.answer()[:5] for _ in range(4)] == ["PERM "] * 4


def test_a_freeze(ferry, proxy, asker):
    later = ferry.proxy(socketmap={"frozen_answer": "temp"})
    for state in ("freezing", "flipping"):
        set_route(ferry, f"{state}@example.org", backend="old", state=state, deadline=99999999999999)
        assert asker.ask(f"{state}@example.org") == f"OK {OLD}"
        with Asker(door(later)) as other:
            assert other.ask(f"{state}@example.org") == "TEMP the account is being moved"
            assert other.ask("moved@example.org") == f"OK {NEW}"


def test_answers_stand_in_their_order(ferry, asker):
    users = [f"row{i}@example.org" for i in range(20)]
    for i, user in enumerate(users):
        set_route(ferry, user, backend="new" if i % 3 else "old")
    asker.send(*(b"transport %s" % key for user in users for key in (user.encode(), b"*")))
    asker.socket.shutdown(socket.SHUT_WR)  # as a program does that asks once, Exim for one: all is answered
    for i, _ in enumerate(users):
        assert asker.answer() == f"OK {NEW if i % 3 else OLD}"
        assert asker.answer() == "NOTFOUND "
    assert asker.ended()


def test_a_backend_that_is_gone(proxy, asker):
    assert asker.ask("lost@example.org").startswith("TEMP ")
    assert "lost@example.org" in proxy.wait(r"event=delivery_delayed .*").group(0)


def test_the_configuration_may_change(ferry, proxy, asker):
    assert asker.ask("ann@new.example") == "NOTFOUND "
    ferry.config(proxy.label, proxy={"listen": proxy.listen, "id": proxy.label},
                 delivery={"domains": ["example.org", "*.sub.example.org", "New.example"]},
                 backends={"old": {**ferry.backends["old"], "delivery": "lmtp:inet:other.example.org:24"}})
    proxy.reload()
    net.wait_until("the new domain", lambda: asker.ask("ann@new.example") == "OK lmtp:inet:other.example.org:24")
    ferry.config(proxy.label, proxy={"listen": proxy.listen, "id": proxy.label})
    proxy.reload()
    net.wait_until("the old one", lambda: asker.ask("else@example.org") == f"OK {OLD}")


def test_a_unix_socket_and_an_end(ferry):
    """Connections that wait are closed at once when a proxy ends, and its file is gone."""
    path = f"{ferry.folder}/map"
    proxy = ferry.proxy(socketmap={"listen": [f"unix://{path}"]}, proxy={"drain_time": "5s"})
    with Asker(door(proxy, "unix")) as a:
        assert os.stat(path).st_mode & 0o777 == 0o777, "other users ask"
        assert a.ask("moved@example.org") == f"OK {NEW}"
        began = time.monotonic()
        proxy.stop()
        assert a.ended() and time.monotonic() - began < 5
    assert not net.accepts(path)


def test_without_redis_mail_waits(ferry):
    """At once where it is known to be away; within store_timeout where it says nothing."""
    proxy = ferry.proxy(proxy={"store_timeout": "1s"})
    with Asker(door(proxy)) as a:
        assert a.ask("moved@example.org") == f"OK {NEW}"
        ferry.redis.signal(19)
        try:
            began = time.monotonic()
            assert a.ask("moved@example.org").startswith("TEMP ") and time.monotonic() - began < 5
            assert a.ask("*") == "NOTFOUND "
            assert a.ask("moved@elsewhere.example") == "NOTFOUND ", "that is known without it"
        finally:
            ferry.redis.signal(18)
        net.wait_until("Redis again", lambda: a.ask("moved@example.org") == f"OK {NEW}")
    proxy.stop()


def test_only_those_who_are_trusted(ferry):
    """From a host of its own: closed before it has asked, until the configuration names its network."""
    ask = ("import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])),10)\n"
           "try: s.sendall(b'27:transport moved@example.org,'); print(s.recv(99).decode())\nexcept OSError: print()")
    with Host() as host:
        proxy = ferry.proxy(socketmap={"listen": [f"inet://{host.here}:0"]})
        where = door(proxy).removeprefix("inet://").split(":")

        def answer():
            return subprocess.run([*host.wrapper, sys.executable, "-c", ask, *where], capture_output=True, text=True, check=True, timeout=30).stdout.strip()
        assert answer() == ""
        assert host.there in proxy.wait(r"event=socketmap_refused .*").group(0)
        ferry.config(proxy.label, proxy={"listen": proxy.listen, "id": proxy.label},
                     socketmap={"listen": [f"inet://{host.here}:0"], "trusted": [f"{host.there}/31"]})
        proxy.reload()
        net.wait_until("trust", lambda: answer() == f"{len(NEW) + 3}:OK {NEW},")
        proxy.stop()


# ---- attacks

def test_no_netstrings(proxy):
    for bad in (b"EHLO x\r\n", b"10001:", b"99999999999999999999:", b"01:a,", b"3:abcd", b":,", b"\0\0\0\0", b"-5:abc,", b"GET / HTTP/1.1\r\n\r\n",
                b"3:a b,x"):
        with Asker(door(proxy)) as a:
            a.socket.sendall(bad)
            if bad.startswith(b"3:a "):
                assert a.answer().startswith("PERM")
            assert a.ended(), bad
    proxy.wait(r"event=socketmap_broken")


def test_half_a_question_keeps_nobody_else(proxy):
    """Byte by byte, cut at every place, and left there."""
    question = b"27:transport moved@example.org,"
    halves = []
    for cut in range(1, len(question)):
        halves.append(Asker(door(proxy)))
        halves[-1].socket.sendall(question[:cut])
    with Asker(door(proxy)) as a:
        assert a.ask("moved@example.org") == f"OK {NEW}"
    for cut, half in enumerate(halves, 1):
        half.socket.sendall(question[cut:])
        assert half.answer() == f"OK {NEW}"
        half.socket.close()


def test_many_connections(ferry):
    """A thread has 256 at most; others are closed, and one that goes makes room."""
    proxy = ferry.proxy()
    many = [Asker(door(proxy)) for _ in range(300)]
    proxy.wait(r"event=socketmap_full")
    answered = 0
    for a in many:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            a.send(b"transport *")
            answered += a.answer() == "NOTFOUND "
    assert answered == 256, answered
    for a in many:
        a.socket.close()

    def room():
        with contextlib.suppress(ConnectionError, BrokenPipeError), Asker(door(proxy)) as a:
            return a.ask("*") == "NOTFOUND "
        return False
    net.wait_until("room", room)


def test_a_flood_that_reads_nothing(proxy, asker):
    """It is read no further than its answers are taken, and others are answered all the while."""
    stopped, threads = threading.Event(), []
    floods = [Asker(door(proxy), timeout=0.5) for _ in range(8)]

    def flood(a):
        text = b"11:transport *," * 2000
        with contextlib.suppress(OSError):
            while not stopped.is_set():
                a.socket.sendall(text)
        stuck.release()
    stuck = threading.Semaphore(0)
    for a in floods:
        a.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threads.append(threading.Thread(target=flood, args=(a,)))
        threads[-1].start()
    for _ in range(50):
        assert asker.ask("moved@example.org") == f"OK {NEW}"
    for _ in floods:
        assert stuck.acquire(timeout=60)
    stopped.set()
    for t in threads:
        t.join()
    assert asker.ask("moved@example.org") == f"OK {NEW}"
    for a in floods:
        a.socket.close()


def test_what_is_counted(proxy, ferry):
    del proxy
    metrics = net.free_port()
    counted = ferry.proxy(proxy={"metrics_listen": f"http://127.0.0.1:{metrics}"})
    with Asker(door(counted)) as a:
        for key in ("moved@example.org", "*", "lost@example.org"):
            a.ask(key)
        a.send(b"nothing")
        a.answer()
        def text():
            with socket.create_connection((net.HOST, metrics), timeout=10) as s:
                s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: s.recv(65536), b"")).decode()
        for result in ("ok", "notfound", "temp", "perm"):
            net.wait_until(result, lambda: f'imapferry_delivery_lookups_total{{result="{result}"}} 1\n' in text())
        assert "imapferry_delivery_connections 1\n" in text()
