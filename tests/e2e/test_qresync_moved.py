"""A client asks what has vanished (QRESYNC, by a MODSEQ of before a flip) while its account is moved once more: the server that it
leaves answers commands of the proxy's own before the freeze, in it, and behind the flip. On real servers; test_qresync.py has the client."""
import contextlib
import threading

import pytest

from e2e.test_qresync import Move, alike_server, expunge, flag, deliver, truth  # noqa: F401  pylint: disable=unused-import
from harness import net
from harness.relay import DOWN, UP, Relay

pytestmark = pytest.mark.writes_source


class Gate(Relay):
    """What a server answers behind a command with this word in it waits until it is let."""

    def __init__(self, server):
        super().__init__(("127.0.0.1", server.port["imap"]), edit=self._look)
        self._word, self._asked = None, set()
        self.held, self.open = threading.Event(), threading.Event()

    def hold(self, word):
        self._word = word

    def _edited(self, pair, direction, data):
        if direction == UP and self._word and self._word in data:
            self._word = None
            self._asked.add(pair)
        if direction == DOWN and pair in self._asked and not self.open.is_set():
            self.held.set()
            assert self.open.wait(60)
        return data

    @staticmethod
    def _look(_direction, data):
        return data


class Asks(threading.Thread):
    """The client, which waits."""

    def __init__(self, client, selects):
        super().__init__(daemon=True)
        self.client, self.selects, self.error = client, selects, None

    def run(self):
        try:
            if self.selects:
                self.client.open()
            else:
                last = max(self.client.known)
                self.client.take(self.client.wire.command(b"r", b"UID FETCH 1:%d (FLAGS MODSEQ) (CHANGEDSINCE %d VANISHED)" % (
                    last, self.client.modseq)))
        except Exception as e:  # pylint: disable=broad-except
            self.error = e


@pytest.mark.parametrize("tier,asks,word", [
    ("T2", "SELECT", b"SELECT"), ("T2", "SELECT", b"UID SEARCH"), ("T2", "SELECT", b"UID FETCH"), ("T2", "UID FETCH", b"UID SEARCH"),
    ("T2", "UID FETCH", b"UID FETCH"), ("T1", "UID FETCH", b"UID FETCH")])
def test_way_back_in_the_middle(make_ferry, old, alike, authority, tier, asks, word):
    with contextlib.closing(Gate(alike)) as gate:
        m = Move(make_ferry, old, alike, authority, tier, new_door=gate)
        m.go()
        client = m.early.online()
        client.says_known = True
        if asks != "SELECT":
            client.take(client.wire.command(b"s", b"SELECT INBOX"))
        gate.hold(word)
        thread = Asks(client, asks == "SELECT")
        thread.start()
        assert gate.held.wait(20)
        flag(alike, m.user, "1:2")
        expunge(alike, m.user, "3")
        deliver(alike, m.user, 40)
        assert m.ferry.ctl("flip", m.user, "--to", "old", "--reason", "test")[0] == 0
        if asks == "SELECT":
            net.wait_until("a freeze", lambda: m.ferry.route(m.user)["state"] in ("freezing", "ready", "backoff"))
        else:
            m.ferry.wait_state(m.user, "held", timeout=60)
        gate.open.set()
        thread.join(20)
        assert not thread.error, thread.error
        m.ferry.wait_state(m.user, "held", timeout=60)
        m.proxy.wait("event=handed_over .*backend=old")
        exists = client.take(client.wire.command(b"n", b"NOOP"))
        new = client.wire.command(b"f", b"UID FETCH %d:* (FLAGS MODSEQ)" % (max(client.known) + 1))
        client.take(new)
        now = truth(m.proxy, m.user)
        assert client.known == now, (client.known, now, client.heard)
        client.modseq = client.modseq if asks == "SELECT" else 1
        assert client.sync().known == now, exists
        client.offline()
