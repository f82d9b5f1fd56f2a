"""Cut-overs under load with a fault at a random step of each (tests/faults/), and that the judgement of them can fail."""
import os
import random
import socketserver
import threading

import pytest

from faults import checker, run
from faults.message import Flag, Message, Put, State
from faults.session import Session
from view.cache import Cache

SEED = os.environ.get("SEED", "1")  # what is drawn at random is drawn by `make check-faults`
SEEN_FLAGS = frozenset({"\\Seen"})
TOLD = State("INBOX", SEEN_FLAGS)
SEEN, NONE = ("INBOX", SEEN_FLAGS), ("INBOX", frozenset())
KEYWORD = frozenset({"\\Seen", "k1"})
APPEND, MOVE, EXPUNGE, STORE = Put("INBOX", SEEN_FLAGS), Put("Archive"), Put(None), Flag("k1", True)


def judge(message, winner, loser=(), late_seen=False):
    session = Session(lambda: [], "ann", "s", 1)
    session.messages.append(message)
    return checker.violations([session], {message.mark: list(winner)} if winner else {},
                              {message.mark: list(loser)} if loser else {}, late_seen)


@pytest.mark.parametrize("message,winner,loser", [
    (Message("m", TOLD), [SEEN], [SEEN]),
    (Message("m", TOLD), [SEEN], []),
    (Message("m", State(None)), [], [SEEN]),
    (Message("m", TOLD, [MOVE]), [("Archive", SEEN_FLAGS)], [SEEN]),
    (Message("m", TOLD, [MOVE]), [("Archive", SEEN_FLAGS), SEEN], [SEEN]),
    (Message("m", TOLD, [EXPUNGE]), [], [SEEN]),
    (Message("m", State(None), [APPEND]), [], []),
    (Message("m", TOLD, [STORE, MOVE]), [SEEN], []),
    (Message("m", TOLD, [STORE, MOVE]), [("INBOX", KEYWORD)], []),
    (Message("m", TOLD, [STORE, MOVE]), [("Archive", KEYWORD)], []),
])
def test_judgement_of_what_is_right(message, winner, loser):
    assert not judge(message, winner, loser, late_seen=True)


@pytest.mark.parametrize("message,winner,text", [
    (Message("m", TOLD), [], "is missing"),
    (Message("m", TOLD), [SEEN, SEEN], "twice"),
    (Message("m", TOLD), [SEEN, ("Archive", SEEN_FLAGS)], "twice"),
    (Message("m", TOLD, [STORE]), [SEEN, ("Archive", SEEN_FLAGS)], "twice"),
    (Message("m", TOLD, [MOVE]), [SEEN, SEEN], "twice"),
    (Message("m", TOLD), [NONE], "has the flags"),
    (Message("m", TOLD), [("Archive", SEEN_FLAGS)], "is in Archive"),
    (Message("m", State(None, SEEN_FLAGS)), [SEEN], "is in INBOX"),
    (Message("m", TOLD, [Flag("\\Seen", False)]), [("INBOX", frozenset({"\\Flagged"}))], "has the flags"),
    (Message("m", TOLD, [STORE, MOVE]), [("Archive", SEEN_FLAGS)], "has the flags"),
    (Message("m", TOLD, [STORE]), [], "is missing"),
])
def test_judgement_of_what_is_wrong(message, winner, text):
    found = judge(message, winner, [SEEN])
    assert len(found) == 1 and text in found[0], found


def test_what_only_the_losing_server_has_is_found_once_it_was_looked_at():
    """An APPEND without an answer, which the old server did."""
    message = Message("m", State(None), [APPEND])
    assert not judge(message, [], [SEEN])
    found = judge(message, [], [SEEN], late_seen=True)
    assert len(found) == 1 and "alone" in found[0], found


def test_answers_are_those_to_what_was_asked_first():
    message = Message("m", TOLD)
    message.ask(STORE)
    message.ask(MOVE)
    message.done()
    assert (message.told, message.states()) == (State("INBOX", KEYWORD), [State("INBOX", KEYWORD), State("Archive", KEYWORD)])
    message.refused(b"NO")
    assert message.is_open and message.states() == [State("INBOX", KEYWORD)]


class OneMessage(socketserver.StreamRequestHandler):
    """A server with one message. The first session ends where all of the listing is told, and not that it is all; then
    another client removes the keyword."""

    def handle(self):
        self.server.sessions += 1
        first = self.server.sessions == 1
        modseq, flag = (5, b"k1") if first else (6, b"")
        data = {b"ENABLE": b"* ENABLED QRESYNC\r\n",
                b"SELECT": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [HIGHESTMODSEQ %d] so\r\n" % modseq,
                b"UID": b"* 1 FETCH (UID 1 FLAGS (%s) MODSEQ (%d))\r\n" % (flag, modseq)}
        self.wfile.write(b"* OK here\r\n")
        for line in self.rfile:
            tag, verb = line.split()[:2]
            while b"{" in line[-8:]:  # a literal
                line = self.rfile.readline()
            searches = b"SEARCH" in line
            self.wfile.write(b"* SEARCH 1\r\n" if searches else data.get(verb, b""))
            if verb == b"UID" and first and not searches:
                return
            self.wfile.write(tag + b" OK done\r\n")


@pytest.mark.parametrize("way", ["select", "fetch", "search"])
def test_listing_that_was_cut_off_counts_for_nothing(way):
    """A cache that believed it would hold the keyword for ever: the next MODSEQ that it hears lies above its removal."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OneMessage) as server:
        server.daemon_threads, server.sessions = True, 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cache = Cache(f"imap://127.0.0.1:{server.server_address[1]}", "ann", b"INBOX", random.Random(1), [way], patient=True)
        assert not cache.open() and cache.open()
        cache.drop()
        server.shutdown()
    assert not cache.faults and cache.messages == {1: frozenset()} and cache.modseq == 6


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way,runs", [("alike", 4), ("doveadm", 4), ("fillers", 4), ("map", 4)])
def test_cut_overs_under_load_with_a_fault_each(capsys, way, runs):
    with capsys.disabled():
        assert run.cut_overs(["--runs", str(runs), "--accounts", "4", "--seed", SEED, "--way", way]).found == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["cyrus", "map from Cyrus"])
def test_cut_overs_to_a_cyrus_and_from_one(capsys, way):
    """Sessions under load that stay open: in IDLE, by CONDSTORE and QRESYNC, compressed."""
    with capsys.disabled():
        assert run.cut_overs(["--runs", "1", "--accounts", "3", "--seed", SEED, "--way", way, "--fault", "nothing"]).found == []


@pytest.mark.timeout(600)
def test_cut_overs_over_a_failover_of_redis(capsys):
    with capsys.disabled():
        assert run.cut_overs(["--runs", "2", "--accounts", "1", "--sessions", "1", "--seed", SEED, "--fault", "fail_over"]).found == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["nothing", "cut_off", "fail_over"])
@pytest.mark.parametrize("kind", ["several", "cluster"])
def test_cut_overs_of_accounts_in_several_stores(capsys, kind, fault):
    with capsys.disabled():
        assert run.cut_overs(["--runs", "1", "--accounts", "2", "--sessions", "1", "--seed", SEED, "--way", "map", "--store", kind,
                              "--fault", fault]).found == []
