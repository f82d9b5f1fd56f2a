"""What administrators do wrong when the target is to be told numbers of mailboxes: `check`, `plan` and the report say what was
expected, and what to do; the account moves all the same, with the next tier."""
import dataclasses
import os
import re
import subprocess

import pytest

from harness import mail, net
from harness.cyrus import Cyrus
from harness.daemon import program
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.scene import new_user

pytestmark = pytest.mark.writes_source
LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"


@pytest.fixture(scope="module", name="told")
def told_server(cert):
    with Dovecot("told", separator="/", mail="mdbox", cert=cert, doveadm=True) as server:
        yield server


@dataclasses.dataclass
class Mistake:
    """what: words of check's line, and of its advice; why: words of the reason in plan (None: it does not see that) and report."""
    options: dict
    level: str
    what: str
    advice: str
    why: str
    plans: bool = True
    tier: str = "T2"


def doveadm(**more):
    """Of the right options, with the port in place of "PORT"."""
    return {"doveadm_url": "https://127.0.0.1:PORT/doveadm/v1", "doveadm_key_file": "doveadm.key", **more}


MISTAKES = {
    "another-key": Mistake(doveadm(doveadm_key_file="wrong.key"), "error", "status 401", "doveadm_api_key",
                           "doveadm: was answered with status 401; doveadm_key_file has to hold the doveadm_api_key"),
    "http-for-https": Mistake(doveadm(doveadm_url="http://127.0.0.1:PORT/doveadm/v1"), "error", "failed: Empty reply",
                              "begin with https://", "doveadm: failed: Empty reply from server; see whether doveadm_url"),
    "closed-port": Mistake(doveadm(doveadm_url="https://127.0.0.1:1/doveadm/v1"), "error", "failed: ", "inet_listener",
                           "see doveadm_url, the inet_listener in its service doveadm"),
    "another-path": Mistake(doveadm(doveadm_url="https://127.0.0.1:PORT/"), "error", "status 404", "end in /doveadm/v1",
                            "doveadm_url has to end in /doveadm/v1"),
    "another-ca": Mistake(doveadm(ca_file="", tls=False), "error", "certificate", "signed by one of ca_file",
                          "its certificate has to be of the host in doveadm_url"),
    "cyrus-for-dovecot": Mistake({"numbers": "cyrus"}, "error", 'numbers = "cyrus", but its master_user', "doveadm_url",
                                 "numbers = cyrus, but the target offers no X-REPLICATION"),
    "nothing": Mistake({"numbers": "none"}, "", "", "", "numbers = none"),
}


def fill(old, user):
    m = mail.connect(old, user, "secret")
    m.create('"INBOX.Sent Items"')
    for box in ("INBOX", '"INBOX.Sent Items"'):
        for n in range(5):
            assert m.append(box, None, None, LETTER % n)[0] == "OK"
        m.select(box)
        m.uid("STORE", "2,4", "+FLAGS.SILENT", "(\\Deleted)")
        m.expunge()
    m.logout()
    for _ in range(3):  # UIDVALIDITYs are the second of a mailbox's birth, and one more for each made in the same one
        net.wait_next_second()


def tried(make_ferry, old, new, authority, **migration):
    """What check, plan and the report said: lines of check about the new server, and {mailbox: (tier, why)} of both others."""
    user = new_user("oops")
    fill(old, user)
    return moved(make_ferry, old, new, authority, user, **migration)[1:]


def moved(make_ferry, old, new, authority, user, **migration):
    """The ferry too."""
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": new}, {"migration": {"trigger": "manual", **migration}})
    lines = [x for x in ferry.ctl("check")[1]["checks"] if x["of"] == "new"]
    plan = {m["mailbox"]: (m["tier"], m.get("tier_why", "")) for m in ferry.ctl("plan", user)[1]["mailboxes"]}
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    ferry.wait_state(user, "flipped", "settled", timeout=90)
    report = ferry.ctl("user", user, "--report")[1]["report"]["mailboxes"]
    return ferry, lines, plan, {m["name"]: (m["tier"], m.get("tier_why", "")) for m in report}


def the_line(lines, level, words):
    found = [x for x in lines if x["level"] == level and words in x["text"]]
    assert len(found) == 1, (level, words, lines)
    return found[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_dovecot(make_ferry, old, told, authority, name):
    mistake = MISTAKES[name]
    right = told.doveadm_options()
    with open(os.path.join(told.folder, "wrong.key"), "w", encoding="ascii") as f:
        f.write("something else\n")
    options = {k: v.replace("PORT", str(told.port["doveadm"])) for k, v in mistake.options.items() if isinstance(v, str)}
    if "doveadm_key_file" in options:
        options["doveadm_key_file"] = right["doveadm_key_file"].replace("doveadm.key", options["doveadm_key_file"])
    plain = not mistake.options.get("tls", True)
    new = backend(told, "imap" if plain else "imaps", **{"ca": authority.ca} if not plain else {}, **options)
    lines, plan, report = tried(make_ferry, old, new, authority)
    if mistake.level:
        assert mistake.advice in the_line(lines, mistake.level, mistake.what)["advice"]
    for what in (plan, report):
        for mailbox, (tier, why) in what.items():
            assert tier == mistake.tier and mistake.why in why, (mailbox, tier, why)


def seen(m):
    """What a client sees: names, subscriptions, and UIDVALIDITY, UIDNEXT and UIDs of each mailbox."""
    rows = [re.match(rb'\(([^)]*)\) "(.)" "?([^"]*)"?$', row) for row in m.list()[1]]
    names = sorted((row[3].decode(), row[2], b"\\Noselect" in row[1]) for row in rows)
    subscribed = sorted(row.rpartition(b'" ')[2].decode().strip('"') for row in m.lsub()[1] if row)
    numbers = {}
    for name in (name for name, _, empty in names if not empty):
        status = sorted(re.findall(rb"UID(?:VALIDITY|NEXT) \d+", m.status(mail.quoted(name), "(UIDVALIDITY UIDNEXT)")[1][0]))
        assert m.select(mail.quoted(name), readonly=True)[0] == "OK", name
        numbers[name] = status, m.uid("SEARCH", "ALL")[1]
        m.unselect()
    return names, subscribed, numbers


@pytest.mark.parametrize("tier", ["T0", "T2"])
def test_all_is_well(make_ferry, old, told, authority, tier):
    """Other separators, a name that the site changes, subscriptions: clients see what they saw."""
    new = backend(told, ca=authority.ca, **told.doveadm_options() if tier == "T0" else {})
    user = new_user("well")
    m = mail.connect(old, user, "secret")
    m.create('"INBOX.Work.Deep"')
    m.subscribe('"INBOX.Work.Deep"')
    m.subscribe('"INBOX.Sent Items"')
    m.logout()
    fill(old, user)
    m = mail.connect(old, user, "secret")
    before = seen(m)
    m.logout()
    ferry, lines, plan, report = moved(make_ferry, old, new, authority, user, rename=["Sent Items=Sent"])
    assert any("doveadm answers, and takes the key" in x["text"] for x in lines) == (tier == "T0"), lines
    assert plan["INBOX"][0] == report["INBOX"][0] == report["INBOX.Sent Items"][0] == tier, (plan, report)
    m = ferry.login(ferry.proxy(), user, "secret")
    assert seen(m) == before
    m.logout()


def test_fillers_alone(make_ferry, old, told, authority):
    lines, plan, report = tried(make_ferry, old, backend(told, ca=authority.ca), authority, t1_max_gaps=100)
    for what in (plan, report):
        for tier, why in what.values():
            assert tier == "T1" and "no doveadm_url" in why, what
    assert not any("numbers" in x["text"] for x in lines if x["level"] == "error"), lines


def test_no_administrator_of_a_cyrus(make_ferry, old, authority):
    with Cyrus("new") as new:
        new.stop()
        conf = os.path.join(new.folder, "imapd.conf")
        with open(conf, encoding="utf-8") as f:
            text = f.read()
        new.write("imapd.conf", re.sub(r"^admins: .*", "admins: somebody", text, flags=re.M))
        new.start()
        lines, _, report = tried(make_ferry, old, backend(new, "imap"), authority)
        line = the_line(lines, "error", "is no administrator there (SYNCGET: BAD Unrecognized command)")
        assert '"admins"' in line["advice"]
        for tier, why in report.values():
            assert tier == "T2" and "has to be one of the admins in imapd.conf" in why, report


def test_an_administrator_of_a_cyrus(make_ferry, old, authority):
    with Cyrus("new") as new:
        lines, plan, report = tried(make_ferry, old, backend(new, "imap"), authority)
        the_line(lines, "ok", "is an administrator")
        assert {tier for tier, _ in plan.values()} == {tier for tier, _ in report.values()} == {"T0"}, (plan, report)


@pytest.mark.parametrize("text, said", [(None, "cannot be read: No such file"), ("two\nlines\n", "more than one line"),
                                        ("", "holds no password"), ("key\r\n", "control characters")])
def test_key_file(make_ferry, old, told, authority, text, said):
    """--check-conf tells it."""
    key = os.path.join(told.folder, "odd.key")
    if os.path.exists(key):
        os.unlink(key)
    if text is not None:
        with open(key, "w", encoding="ascii", newline="") as f:
            f.write(text)
    options = {**told.doveadm_options(), "doveadm_key_file": key}
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)})
    run = subprocess.run([program("imapferry-migrator"), "-c", ferry.config(), "--check-conf"], capture_output=True, text=True,
                         timeout=60, check=False)
    assert run.returncode and "doveadm_key_file" in run.stderr and said in run.stderr, run.stderr
