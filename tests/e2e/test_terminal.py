"""imapferryctl on a terminal, and in a pipe: colours, widths, and names that would write to the screen by themselves. On a store
that has accounts, without servers."""
import os
import re
import subprocess

import pytest

from harness.daemon import program, sanitizer_environment, sanitizer_reports
from harness.terminal import Terminal

HOSTILE = "a\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066"


@pytest.fixture
def ferry(make_ferry):
    made = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}}, {"migration": {"trigger": "manual"}})
    put(made, "ann", "blocked", "cannot: " + "mailbox \"Sent\": UID 17: 31457280 bytes are more than the target takes (26214400) " * 2)
    put(made, "bob", "settled", "", backend="new")
    put(made, "eve", "backoff", "unreachable: " + HOSTILE)
    return made


def put(ferry, user, state, reason, backend="old", **more):
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": backend, "state": state, "epoch": "3", "generation": "1", "reason": reason, "source": "old", "target": "new",
        "counted": f"1 {state} {backend}", **more})


def on_terminal(ferry, *args, columns=80, env=None):
    report = os.path.join(ferry.folder, "sanitizer-terminal")
    with Terminal([program("imapferryctl"), "-c", ferry.config(), *args], columns=columns, env={"NO_COLOR": None, **(env or {})},
                  report=report) as terminal:
        assert terminal.end() == 0, terminal.text
        assert not sanitizer_reports(report)
        return terminal


def cell(terminal, text):
    """The first character of this text on the screen."""
    row = next(i for i, line in enumerate(terminal.lines) if text in line)
    return terminal.screen.buffer[row][terminal.lines[row].index(text)]


def test_colours_are_for_terminals_alone(ferry):
    terminal = on_terminal(ferry, "list")
    assert cell(terminal, "blocked").fg == "red" and cell(terminal, "settled").fg == "green" and cell(terminal, "USER").bold
    assert cell(terminal, "bob").fg == "default"
    for args in (("list",), ("status",), ("user", "ann"), ("audit",)):
        out = ferry.ctl_raw(*args)[1]
        assert out and not re.search(r"[^\n\x20-\x7e]", out), args
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        assert b"\x1b" not in on_terminal(ferry, "list", env=env).output, env


@pytest.mark.parametrize("columns", [50, 80, 132])
def test_lines_are_as_wide_as_the_terminal(ferry, columns):
    for args in (("list",), ("user", "ann")):
        terminal = on_terminal(ferry, *args, columns=columns)
        plain = re.sub(rb"\x1b\[\d+m", b"", terminal.output).decode()
        assert max(len(line.rstrip("\r")) for line in plain.split("\n")) < columns, plain
    lines = on_terminal(ferry, "list", columns=columns).lines
    assert lines[0].index("REASON") == lines[1].index("cannot: ") and "takes" in " ".join(lines)


def test_what_is_wide_keeps_columns_below_each_other(ferry):
    put(ferry, "日本@x", "settled", "reason: 1")
    put(ferry, "Zoë@x", "settled", "reason: 2")
    terminal = on_terminal(ferry, "list")
    at = terminal.lines[0].index("STATE")
    rows = [row for row, line in enumerate(terminal.lines) if "reason: " in line]
    assert len(rows) == 2
    for row in rows:
        assert "".join(terminal.screen.buffer[row][at + i].data for i in range(7)) == "settled", terminal.text


def test_hostile_text_is_shown_as_text(ferry):
    for args in (("list",), ("user", "eve")):
        terminal = on_terminal(ferry, *args)
        assert b"\x1b]" not in terminal.output and b"\x07" not in terminal.output and b"\xc2\x9b" not in terminal.output, args
        assert "\u202e".encode() not in terminal.output and "a?]0;owned??31m?gnp.exe?" in terminal.text.replace("\n", ""), terminal.text
        assert terminal.screen.title == ""
        out = ferry.ctl_raw(*args)[1]
        assert "a?]0;owned??31m?gnp.exe?" in out


def test_hostile_text_for_programs_is_harmless_on_a_terminal_too(ferry):
    for args in (("--json", "user", "eve"), ("--json", "list"), ("report", "--format", "csv")):
        terminal = on_terminal(ferry, *args)
        for bad in (b"\x1b]", b"\x07", b"\xc2\x9b"):
            assert bad not in terminal.output, (args, bad)
    assert ferry.ctl("user", "eve")[1]["reason"] == "unreachable: " + HOSTILE
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", ferry.ctl_raw("report", "--format", "csv")[1])


def test_no_text_begins_a_line_that_it_was_not_given(ferry):
    """Else who names a mailbox or a server's answer writes what staff read."""
    put(ferry, "mal", "blocked", "cannot: x\nbob  settled  new  all is well")
    assert ferry.ctl("hold", "ann", "--reason", "on leave\n2026-01-01T00:00:00Z  root  release ann: held -> resting")[0] == 0
    for args, lines in ((("list",), 5), (("audit",), 1)):
        status, out, _ = ferry.ctl_raw(*args)
        assert status == 0 and out.count("\n") == lines and "?" in out, out
    assert "reason      cannot: x?bob" in ferry.ctl_raw("user", "mal")[1]
    assert "x\nbob" in ferry.ctl("user", "mal")[1]["reason"], "programs are told what it is"


def in_shell(ferry, command):
    report = os.path.join(ferry.folder, "sanitizer-shell")
    run = subprocess.run(["bash", "-c", command, "ctl", program("imapferryctl"), "-c", ferry.config()], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, text=True, timeout=60, check=False, env=sanitizer_environment(report))
    assert not sanitizer_reports(report)
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize("to,why", [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
@pytest.mark.parametrize("verb", ["list", "--json list", "report --format csv", "--help"])
def test_what_can_not_be_said_is_no_success(ferry, to, why, verb):
    status, _, err = in_shell(ferry, f'exec "$@" {verb} {to}')
    assert status == 1 and "could be written" in err and (why in err or verb == "--help") and len(err.splitlines()) == 1, err


def test_closed_descriptors_become_no_connections(ferry):
    """The next ones that are opened would have their numbers, and be written to."""
    for closed in ("<&-", "2>&-", "<&- 2>&-"):
        status, out, _ = in_shell(ferry, f'exec "$@" list {closed}')
        assert status == 0 and "settled" in out, closed
    assert ferry.ctl("list")[1]["total"] == 3


def test_a_reader_that_has_seen_enough_is_no_fault(ferry):
    for i in range(3000):
        put(ferry, f"user{i}@example.org", "blocked", "cannot: " + "x" * 60)
    status, out, err = in_shell(ferry, '"$@" list | head -n 1; exit ${PIPESTATUS[0]}')
    assert status == 1 and out.startswith("USER") and err == "", err


def test_a_narrow_terminal_shows_all_of_it(ferry):
    for args in (("list",), ("user", "ann"), ("status",), ("audit",)):
        terminal = on_terminal(ferry, *args, columns=20)
        assert b"\x1b]" not in terminal.output and terminal.output.strip(), args
