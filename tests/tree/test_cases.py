"""tests/CASES.md has all cases and all servers, and each of them a test that is there, or a reason."""
import ast
import functools
import os
import re

import pytest

from harness import transcript

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NUMBERS = [str(n) for n in range(1, 85)]
FRONT = [f"P{n}" for n in range(1, 12)] + [f"T{n}" for n in range(1, 8)]
WIRE = [f"F{n}" for n in range(1, 51)] + [f"C{n}" for n in range(1, 11)]
SERVERS = ["Exchange", "Gmail", "Yahoo", "Courier", "Cyrus", "iCloud, gromox", "Zimbra", "Domino",
           "hMailServer, ProtonBridge, IceWarp, Kopano", "MailEnable, DBmail, FTGate", "SmarterMail, Softalk, QQ, Yandex",
           "GroupWise, FirstClass"]
SWITCHES = ["no-fetch-size", "no-fetch-headers", "no-fetch-bodystructure", "no-search", "no-modseq", "no-qresync",
            "no-delay-login", "no-acl", "no-metadata", "no-capability", "guid-forced", "gmail-migration",
            "zimbra-workarounds", "no-examine", "proxyauth", "fetch-msn-workarounds", "no-msn-updates",
            "fetch-fix-broken-mails", "fetch-empty-is-expunged", "send-id", "throttle"]
WITHOUT = ["Exchange: FETCH beyond EXISTS, later headers, FETCH without data", "Yahoo's and Gmail's limits stand in the text",
           "Courier: UIDNEXT by STATUS, EXISTS by NOOP",
           "duplicate or reappearing UIDs; EXISTS and UIDVALIDITY must come at SELECT",
           "fetched octets rule over RFC822.SIZE; commands of at most 8000 bytes",
           "a server that does not answer is left after command_timeout"]
REASON_WORDS = 8  # fewer say nothing


def table(title):
    """First column -> last column of the tables below the headings that title(heading) is true for."""
    rows, within = {}, False
    with open(os.path.join(TESTS, "CASES.md"), encoding="utf-8") as f:
        for line in f:
            if line.startswith("## "):
                within = title(line[3:].strip())
            cells = [x.strip() for x in line.strip().strip("|").split("|")]
            if within and line.startswith("| ") and cells[0] not in ("no.", "server", "switch", "what"):
                assert cells[0] not in rows, f"{cells[0]} is there twice"
                rows[cells[0]] = cells[-1]
    return rows


@functools.lru_cache(None)
def functions(path):
    with open(path, encoding="utf-8") as f:
        if path.endswith(".c"):
            return set(re.findall(r"^static void (\w+)\(void \*\*", f.read(), re.M))
        return {x.name for x in ast.parse(f.read()).body if isinstance(x, ast.FunctionDef)}


def fault_of(entry):
    """Why an entry is none, or None."""
    if entry.startswith("reason: "):
        return None if len(entry.split()) > REASON_WORDS else "a reason that says nothing"
    named = re.findall(r"`([^`]+)`", entry)
    if not named:
        return "neither a test nor a reason"
    for one in named:
        name, _, function = one.partition("::")
        if name.endswith(".t"):
            if not os.path.exists(os.path.join(TESTS, name)):
                return f"{one} is not there"
            continue
        path = os.path.join(TESTS, name if "/" in name else f"e2e/{name}.py")
        path += "" if os.path.splitext(path)[1] else ".py"
        if not os.path.exists(path) or function not in functions(path):
            return f"{one} is not there"
    return None


@pytest.mark.parametrize("wanted,title", [
    (NUMBERS, lambda t: t not in ("The front door", "The wire", "Servers", "What Dovecot's own client works around", "And without a switch")),
    (FRONT, lambda t: t == "The front door"),
    (WIRE, lambda t: t == "The wire"),
    (SERVERS, lambda t: t == "Servers"),
    (SWITCHES, lambda t: t == "What Dovecot's own client works around"),
    (WITHOUT, lambda t: t == "And without a switch"),
], ids=["cases", "front", "wire", "servers", "switches", "without"])
def test_each_has_a_test_or_a_reason(wanted, title):
    rows = table(title)
    assert list(rows) == wanted
    faults = {row: fault_of(entry) for row, entry in rows.items() if fault_of(entry)}
    assert not faults, faults


def test_transcripts_are_all_on_the_map():
    """Each with the rows that it names, and no others."""
    rows = {}
    for name in transcript.files():
        for scene in transcript.read(name):
            for row in scene.header("row").split():
                rows.setdefault(name, set()).add(row if row.startswith("C") else f"F{row}")
    named = {}
    for row, entry in table(lambda t: t == "The wire").items():
        for name in re.findall(r"`transcripts/([^`]+)`", entry):
            named.setdefault(name, set()).add(row)
    assert rows == named


def test_faults_of_the_map_are_seen():
    assert fault_of("`transcripts/none.t`").endswith("is not there")
    assert fault_of("`test_engine::test_that_is_none`").endswith("is not there")
    assert fault_of("`test_none::test_x`").endswith("is not there")
    assert fault_of("reason: too hard") and fault_of("") and fault_of("later")
    assert fault_of("`test_engine::test_dates_of_all_kinds`") is None


def test_tests_of_cases_are_all_on_the_map():
    """No test of a case that no case names."""
    with open(os.path.join(TESTS, "CASES.md"), encoding="utf-8") as f:
        text = f.read()
    lost = []
    for name in sorted(os.listdir(os.path.join(TESTS, "e2e"))):
        if name.startswith("test_cases_"):
            lost += [f for f in functions(os.path.join(TESTS, "e2e", name))
                     if f.startswith("test_") and f"{name[:-3]}::{f}`" not in text]
    assert not lost, lost
