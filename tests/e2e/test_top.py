"""imapferryctl top, on a terminal: what it shows, that it fits, and that the terminal is as before however it ends. On a store that
has accounts, without servers."""
import contextlib
import json
import os
import re
import signal

import pytest

from harness import net
from harness.daemon import program, sanitizer_reports
from harness.terminal import Terminal

HOSTILE = "cannot: \x1b]0;owned\x07\x1b[2J\u202e\x9b31m"


@pytest.fixture
def ferry(make_ferry):
    made = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}}, {"migration": {"trigger": "manual"}})
    redis = made.redis.client()
    for n in range(40):
        put(redis, f"user{n}@example.org", "copying", bytes_done=str(n * 25000), bytes_total="1000000", messages_done=str(n), messages_total="40")
    for n in range(3):
        put(redis, f"bad{n}@example.org", "blocked", HOSTILE)
    put(redis, "done@example.org", "settled", backend="new", flipped_at="1")
    assert made.ctl("recount")[0] == 0
    return made


def put(redis, user, state, reason="", backend="old", **more):
    redis.hset(f"imapferry:route:{user}", mapping={"backend": backend, "state": state, "epoch": "3", "generation": "1", "reason": reason,
                                                   "source": "old", "target": "new", **more})


@contextlib.contextmanager
def top(ferry, columns=80, rows=24):
    report = os.path.join(ferry.folder, "sanitizer-top")
    with Terminal([program("imapferryctl"), "-c", ferry.config(), "top"], columns=columns, rows=rows, env={"NO_COLOR": None},
                  report=report) as terminal:
        terminal.before = terminal.settings()
        terminal.wait("the first look", "44 moved")
        yield terminal
    assert not sanitizer_reports(report)


def assert_given_back(terminal):
    """The screen of before, a cursor, lines that break; and keys that are shown and come line by line."""
    assert terminal.settings() == terminal.before
    end = terminal.output[terminal.output.rindex(b"\x1b[?1049l") - 20:]
    assert b"\x1b[?25h" in end and b"\x1b[?7h" in end, end


@pytest.mark.parametrize("columns,rows", [(80, 24), (40, 10), (200, 60), (20, 4)])
def test_it_fits(ferry, columns, rows):
    report = os.path.join(ferry.folder, "sanitizer-top")
    with Terminal([program("imapferryctl"), "-c", ferry.config(), "top"], columns=columns, rows=rows, report=report) as terminal:
        terminal.wait("the first look", "imapferry")
        terminal.wait("the second", lambda: terminal.output.count(b"\x1b[H") > 3)
        assert terminal.lines[0].startswith("imapferry"), terminal.text
        if rows >= 10:
            assert terminal.lines[rows - 1].startswith("q quit") and "UNDER WAY 40" in terminal.text, terminal.text
        if rows >= 24:
            assert "DO NOT GET ON" in terminal.text and re.search(r"^ +3  blocked cannot: ", terminal.text, re.M), terminal.text
            assert re.search(r"user\d+@example.org +copying +\[#*\.+\] +\d+ % \d+/40", terminal.text), terminal.text
        terminal.send("q")
        assert terminal.end() == 0
    assert not sanitizer_reports(report)


def test_keys(ferry):
    with top(ferry) as terminal:
        terminal.wait("the rest of the first look", "UNDER WAY 40  1-")
        terminal.send("\x1b[B")
        terminal.wait("the next one", "UNDER WAY 40  2-")
        terminal.send("j")
        terminal.wait("the next one", "UNDER WAY 40  3-")
        terminal.send("\x1b[A\x1b[5~")
        terminal.wait("the one before", "UNDER WAY 40  2-")
        terminal.send("-")
        terminal.wait("a longer time", "each 2.0 s")
        terminal.send("+++")
        terminal.wait("the shortest time", "each 0.2 s")
        terminal.send(" ")
        terminal.wait("that it stands still", "STOPPED")
        terminal.send(" ")
        terminal.wait("that it goes on", lambda: "STOPPED" not in terminal.text)
        terminal.resize(100, 30)
        terminal.wait("the new size", lambda: terminal.lines[29].startswith("q quit"))
        terminal.send("q")
        assert terminal.end() == 0
        assert_given_back(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_before(ferry, number):
    with top(ferry) as terminal:
        assert terminal.settings() != terminal.before
        terminal.signal(number)
        assert terminal.end() == -number
        assert_given_back(terminal)


def test_a_terminal_that_takes_nothing(ferry):
    """Ctrl-S, or a connection that stalls: it can be ended all the same."""
    with top(ferry) as terminal:
        theirs = os.open(os.readlink(f"/proc/{terminal.pid}/fd/1"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(theirs, b"x")
        os.close(theirs)
        terminal.signal(signal.SIGTERM)

        def has_ended():
            terminal.reap()
            return terminal.status is not None
        net.wait_until("its end, though nothing is read", has_ended)
        assert terminal.status == -signal.SIGTERM and terminal.settings() == terminal.before


def test_what_runs_behind_it_may_wait_for_its_input(ferry):
    """The descriptor is the shell's too."""
    command = [program("imapferryctl"), "-c", ferry.config(), "top"]
    flags = "import fcntl, os; print('FLAGS', fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK, '.')"
    with Terminal(["sh", "-c", '"$@"; exec /usr/bin/python3 -c "$0"', flags, *command]) as terminal:
        terminal.wait("the first look", "44 moved")
        terminal.send("q")
        terminal.wait("what comes behind it", "FLAGS 0 .")


def test_stopped_and_continued(ferry):
    with top(ferry) as terminal:
        terminal.send("\x1a")
        terminal.wait("the screen of before", lambda: b"\x1b[?1049l" in terminal.output)
        os.waitid(os.P_PID, terminal.pid, os.WSTOPPED)
        assert_given_back(terminal)
        terminal.signal(signal.SIGCONT)
        terminal.wait("the view", lambda: terminal.output.count(b"\x1b[?1049h") == 2 and "UNDER WAY" in terminal.text)
        assert terminal.settings() != terminal.before
        terminal.send("q")
        assert terminal.end() == 0
        assert_given_back(terminal)


def test_names_write_nothing_to_the_screen(ferry):
    redis = ferry.redis.client()
    redis.xadd("imapferry:events", {"n": "9", "user": "x\x1b[2J\u202ey", "kind": "state", "state": "blocked", "epoch": "1", "backend": "old"})
    with top(ferry) as terminal:
        terminal.wait("the event", "x?[2J?y on old")
        assert terminal.screen.title == "" and b"\x1b[2J" not in terminal.output and "\u202e".encode() not in terminal.output
        terminal.send("q")
        assert terminal.end() == 0


def test_redis_goes_and_comes(ferry, redis):
    with top(ferry) as terminal:
        redis.stop()
        terminal.wait("that it is gone", lambda: terminal.lines[6] != "" and "UNDER WAY 40" in terminal.text)
        redis.start()
        terminal.wait("that it is there", lambda: terminal.lines[6] == "")
        terminal.send("q")
        assert terminal.end() == 0


def test_without_a_terminal(ferry):
    status, _, error = ferry.ctl_raw("top")
    assert status == 2 and "needs a terminal" in error
    status, answer = ferry.ctl("top")
    assert status == 2 and json.dumps(answer)
