"""Accounts that share mailboxes: who shares with whom, which belong together, and where they are."""
import csv
import io
import json
import os
import re
import threading

import pytest

from harness import mail, net
from harness.cyrus import Cyrus
from harness.dovecot import MASTER_PASSWORD, MASTER_USER, Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.scene import Wire, new_user


@pytest.fixture(scope="module")
def shared_map():
    folder = net.temp_folder("shared-map")
    os.chmod(folder, 0o777)
    return folder


@pytest.fixture(scope="module")
def dovecot(cert, shared_map):
    """Shows each user what others grant them."""
    with Dovecot("sharing", mail="mdbox", cert=cert, special_use=False,
                 extra=extra("shared", driver="mdbox", path="mdbox", folder=shared_map)) as server:
        yield server


@pytest.fixture(scope="module")
def cyrus(cert):
    with Cyrus("cyrus", cert=cert) as server:
        yield server


def ask(server, user, *commands, password="secret"):
    """Each must succeed."""
    with Wire(server.url("imap")) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.command(b"l", f"LOGIN {user} {password}".encode())[-1]
        for c in commands:
            answer = wire.command(b"c", c)
            assert answer[-1].startswith(b"c OK"), (c, answer)


def fill(server, user, *mailboxes):
    m = mail.connect(server, user, "secret")
    for name in ("INBOX", *mailboxes):
        assert name == "INBOX" or m.create(name)[0] == "OK", name
        assert m.append(name, None, None, b"Subject: x\r\n\r\nx\r\n")[0] == "OK", name
    m.logout()


def shares(plan):
    return {(s["with"], s["who"], s["gives"]): s for s in plan["shares"]}


@pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
def test_who_shares_is_found_from_both_sides(make_ferry, request, new, authority, tmp_path, kind):
    """ann gives bob a mailbox, bob gives carl one, dora gives everybody one; eve shares nothing."""
    source = request.getfixturevalue(kind)
    ann, bob, carl, dora, eve = users = [new_user(name) for name in ("ann", "bob", "carl", "dora", "eve")]
    for user in users:
        fill(source, user, "Work", "Plan")
    ask(source, ann, f"SETACL Work {bob} lrs".encode(), f"SETACL Plan {bob} lri".encode())
    ask(source, bob, f"SETACL Work {carl} lrs".encode())
    ask(source, dora, b"SETACL Work anyone lrs")
    if kind == "cyrus":
        ask(source, MASTER_USER, b"CREATE news@example.org", b"SETACL news@example.org anyone lrs", password=MASTER_PASSWORD)
    ferry = make_ferry({"old": backend(source, ca=authority.ca), "new": backend(new, ca=authority.ca)}, {"migration": {"group_max": 2}})
    plan = {user: ferry.ctl("plan", user)[1] for user in (ann, bob, carl)}
    given = shares(plan[ann])["account", bob, True]
    assert (given["mailboxes"], given["rights"]) == (2, "ilrs"), plan[ann]["shares"]
    assert shares(plan[bob])["account", ann, False]["mailboxes"] == 2 and ("account", carl, True) in shares(plan[bob]), plan[bob]["shares"]
    assert ("account", bob, False) in shares(plan[carl]) and ("account", bob, True) not in shares(plan[carl])
    text = ferry.ctl_raw("plan", bob)[1]
    assert f"is shown what belongs to {ann}: 2 mailboxes, such as" in text and f"gives {carl} the rights lrs on \"Work\"" in text, text
    text = ferry.ctl_raw("plan", eve)[1]
    assert f"gives {bob}" not in text and f"gives {ann}" not in text

    names, result = tmp_path / "names", tmp_path / "result"
    names.write_text("\n".join((ann, bob, dora, eve)))  # and nobody asks for carl
    assert ferry.ctl("survey", str(names), "--out", str(result))[0] == 0
    o = ferry.ctl("report", "--survey", str(result))[1]["sharing"]
    group = next(g for g in o["groups"] if any(m["user"] == ann for m in g["members"]))
    assert {ann, bob, carl} <= {m["user"] for m in group["members"]} and eve not in {m["user"] for m in group["members"]}, o
    assert {m["user"]: m["surveyed"] for m in group["members"]}[carl] is False and group["bytes"] > 0
    assert group["too_large"] and o["group_max"] == 2 and bob in group["without"], group
    apart = {(a["with"], a["who"]): a for a in o["apart"]}
    status, answer = ferry.ctl("group", bob, "--survey", str(result))
    assert status == 0 and {m["user"]: (m["state"], m["on"], m["waived"]) for m in answer["members"]}[carl] == ("resting", "old", False), answer
    status, answer = ferry.ctl("group", eve, "--survey", str(result))
    assert status == 1 and "shares mailboxes with nobody" in answer["error"]
    assert apart["everybody", "anyone"]["examples"] == [dora], o["apart"]
    if kind == "cyrus":
        assert any(with_ == "nobody" and a["accounts"] == 4 for (with_, _), a in apart.items()), o["apart"]
        rule = 'exclude = {"Shared Folders"}'
        assert rule in ferry.ctl_raw("report", "--survey", str(result))[1]
        assert f"{rule} leaves it where it is" in text, text
        ferry.settings["migration"]["exclude"] = ["Shared Folders"]
        assert {s["who"] for s in ferry.ctl("plan", eve)[1]["shares"]} == {dora}
        migrator = ferry.migrator()
        assert ferry.ctl("waive", eve, "shared", "--reason", "dora goes too")[0] == 0
        assert ferry.ctl("migrate", eve, "--wait")[0] == 0, ferry.user(eve)
        migrator.wait(f"event=findings .*user={eve} kind=left_out count=1")


def survey_of(tmp_path, rows):
    result = tmp_path / "result"
    box = {"mailbox": "INBOX", "messages": 10, "bytes": 1000, "tier": "T0"}
    result.write_text("".join(json.dumps({"user": u, "mailboxes": [box], "findings": [], "shares": [
        {"with": w, "who": who, "gives": True, "mailboxes": 1, "such_as": "Work", "rights": "lrs", **({"or": other} if other else {})}
        for w, who, other in given]}) + "\n" for u, given in rows.items()))
    return str(result)


def test_the_report_has_the_groups(make_ferry, backends, tmp_path):
    """A name that a rule of acl_map means is the account that was surveyed; an office with one account for all is too large."""
    ferry = make_ferry(backends, {"migration": {"group_max": 5}})
    rows = {"ann@x": [("account", "bob@new", "bob@x"), ("everybody", "anyone", "")], "bob@x": [], "alone@x": [("group", "$sales", "")],
            "a=b@x": [("account", "z@x", "")], "team@x": [("account", f"u{n}@x", "") for n in range(7)]}
    result = survey_of(tmp_path, rows)
    o = ferry.ctl("report", "--survey", result)[1]["sharing"]
    assert [(g["accounts"], g["surveyed"], g["messages"], g["bytes"], g["too_large"]) for g in o["groups"]] == [
        (8, 1, 10, 1000, True), (2, 1, 10, 1000, False), (2, 2, 20, 2000, False)], o
    assert [m["user"] for m in o["groups"][2]["members"]] == ["ann@x", "bob@x"] and o["accounts"] == 12
    assert (o["groups"][0]["without"], o["groups"][0]["rest"]) == (["team@x"], 1)
    assert sorted((a["with"], a["who"], a["examples"]) for a in o["apart"]) == [("everybody", "anyone", ["ann@x"]), ("group", "$sales", ["alone@x"])]
    text = ferry.ctl_raw("report", "--survey", result)[1]
    assert "ann@x, bob@x" in text and "too large: team@x, u0@x" in text and "8 accounts are more than group_max = 5" in text and "(team@x)" in text, text
    assert "$sales" in text and "anyone" in text
    status, text, _ = ferry.ctl_raw("report", "--survey", result, "--format", "csv")
    lines = list(csv.reader(io.StringIO(text)))
    assert status == 0 and lines[0] == ["group", "accounts", "too large", "account", "surveyed", "messages", "bytes", "ties"], text
    assert lines[1] == ["1", "8", "yes", "team@x", "yes", "10", "1000", "7"] and lines[-1] == ["3", "2", "no", "bob@x", "yes", "10", "1000", "1"]
    assert len(lines) == 1 + 12
    status, answer = ferry.ctl("group", "make", "team", "u3@x", "--survey", result)
    assert status == 4 and "8 accounts are more than group_max = 5. Raise it, or move 1 by themselves (team@x)" in answer["error"], answer
    assert ferry.ctl("group", "make", "nobody", "alone@x", "--survey", result)[0] == 2
    assert ferry.ctl("group", "make", "pair", "a=b@x", "--survey", result)[1]["accounts"] == 2
    status, answer = ferry.ctl("group", "make", "many", *(f"m{n}@x" for n in range(6)))
    assert status == 4 and "would have 6 members, more than group_max = 5" in answer["error"], answer
    assert [(g["group"], sorted(m["user"] for m in g["members"])) for g in ferry.ctl("group", "list")[1]["sharing"]] == [
        ("pair", ["a=b@x", "z@x"])]


def test_who_waives_learns_whom_it_concerns(make_ferry, dovecot, new, authority, tmp_path):
    ann, bob, carl = (new_user(name) for name in ("ann", "bob", "carl"))
    for user in (ann, bob, carl):
        fill(dovecot, user, "Work")
    ask(dovecot, ann, f"SETACL Work {bob} lrs".encode())
    ask(dovecot, carl, f"SETACL Work {ann} lrs".encode())
    ferry = make_ferry({"old": backend(dovecot, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    ferry.migrator()
    assert ferry.ctl("migrate", ann, "--wait")[0] == 1 and f"{bob} has the rights lrs" in ferry.user(ann)["reason"]
    report = ferry.ctl("user", ann, "--report")[1]["report"]
    assert {(s["who"], s["gives"]) for s in report["shares"]} >= {(bob, True), (carl, False)}, report
    assert f"gives {bob} the rights" in ferry.ctl_raw("user", ann, "--report")[1]
    status, answer = ferry.ctl("waive", ann, "shared", "--reason", "all of them go tonight")
    assert status == 0 and {bob, carl} <= set(answer["together"]), answer
    result = survey_of(tmp_path, {ann: [("account", bob, "")], bob: [("account", carl, "")]})
    answer = ferry.ctl("group", ann, "--survey", result)[1]
    assert {m["user"]: m["waived"] for m in answer["members"]} == {ann: True, bob: False, carl: False}, answer
    text = ferry.ctl_raw("group", carl, "--survey", result)[1]
    assert "3 accounts share mailboxes" in text and "not surveyed" in text and ann in text, text
    status, answer = ferry.ctl("waive", ann, "INBOX:listing", "--reason", "x")
    assert "together" not in answer, "it is about something else"


# ---- moved in the same hour, as the handbook says

@pytest.fixture(scope="module")
def servers(cert):
    """Of each kind an old and a new one."""
    made = {}
    for name, kind, path in (("old", "mdbox", "mdbox"), ("new", "maildir", "Maildir")):
        folder = net.temp_folder(f"shared-map-{name}")
        os.chmod(folder, 0o777)
        made["dovecot", name] = Dovecot(f"sharing-{name}", mail=kind, cert=cert, special_use=False,
                                        extra=extra("shared", driver=kind, path=path, folder=folder))
        made["cyrus", name] = Cyrus(f"sharing-cyrus-{name}", cert=cert)
    yield made
    for server in made.values():
        server.close()


def of_ann(kind, ann):
    """Her mailbox, as a server of this kind shows it to others."""
    return (f"shared/{ann}/Work" if kind == "dovecot" else f"Other Users/{ann.partition('@')[0]}/Work").encode()


def sees(wire, name):
    """Also what is in it."""
    listed = wire.command(b"l", b'LIST "" "*"')
    assert any(name in line and b"\\Noselect" not in line for line in listed), (name, listed)
    assert b"* 1 EXISTS" in wire.command(b"e", b'EXAMINE "%s"' % name)
    assert wire.command(b"u", b"UNSELECT")[-1].startswith(b"u OK")


@pytest.mark.parametrize("way", ["dovecot-dovecot", "cyrus-cyrus", "dovecot-cyrus", "cyrus-dovecot"])
def test_a_grantee_finds_the_mailboxes_once_both_are_moved(make_ferry, servers, authority, way):
    """Both are logged in. The mailbox goes on by the name that it had, whatever the new server calls it."""
    source, target = way.split("-")
    old, new = servers[source, "old"], servers[target, "new"]
    ann, bob, first = (new_user(name) for name in ("ann", "bob", "first"))
    for user in (ann, bob, first):
        fill(old, user, "Work")
    ask(old, ann, f"SETACL Work {bob} lrs".encode())
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, {"migration": {"trigger": "manual"}})
    ferry.migrator()
    assert ferry.ctl("migrate", first, "--wait")[0] == 0  # what both servers can do is known from here on
    address = ferry.proxy().addresses[0]
    with Wire(address) as a, Wire(address) as b:
        for wire, user in ((a, ann), (b, bob)):
            wire.until(b"* ")
            assert b" OK" in wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        sees(b, of_ann(source, ann))
        for user in (ann, bob):
            assert ferry.ctl("waive", user, "shared", "--reason", "both go now")[0] == 0
            assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
        name = of_ann(source, ann)
        sees(b, name)
        rights = b.command(b"r", b'MYRIGHTS "%s"' % name)[0].split()[-1]
        assert sorted(rights) == sorted(b"lrs"), rights
        others = name.partition(b"/")[0] + b"/"
        assert b'(("%s" "/"))' % others in b.command(b"n", b"NAMESPACE")[0]
        below = b.command(b"p", b'LIST "" "%s*"' % others)
        assert [line for line in below if line.endswith(name) or line.endswith(b'"%s"' % name)], below
        assert any(bob.encode() in line for line in a.command(b"g", b"GETACL Work"))


def numbers(wire, name, command=b"EXAMINE"):
    """UIDVALIDITY, and the UIDs of the messages by their subjects."""
    opened = b"\n".join(wire.command(b"e", command + b' "%s"' % name))
    listed = b"\n".join(wire.command(b"f", b"UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    uids = re.findall(rb"UID (\d+)", listed)
    return re.search(rb"\[UIDVALIDITY (\d+)\]", opened).group(1), dict(zip(re.findall(rb"Subject: (\w+)", listed), uids))


@pytest.mark.parametrize("way", ["dovecot-dovecot", "cyrus-cyrus", "dovecot-cyrus", "cyrus-dovecot"])
def test_a_grantee_keeps_the_numbers_of_the_owner(make_ferry, servers, authority, way):
    """UIDs are mapped. Who has the owner's mailbox open goes on in it, and nobody downloads anything again."""
    source, target = way.split("-")
    old, new = servers[source, "old"], servers[target, "new"]
    ann, bob, first = (new_user(name) for name in ("ann", "bob", "first"))
    for user in (ann, bob, first):
        fill(old, user, "Work")
    with Wire(old.url("imap")) as wire:
        wire.until(b"* ")
        wire.command(b"l", f"LOGIN {ann} secret".encode())
        for box in (b"INBOX", b"Work"):
            for subject in b"abc":
                wire.command(b"a", b'APPEND %s {14+}\r\nSubject: %c\r\n\r\n' % (box, subject))
            wire.command(b"s", b"SELECT " + box)
            wire.command(b"t", b"STORE 1:2 +FLAGS.SILENT (\\Deleted)")
            wire.command(b"x", b"EXPUNGE")
    ask(old, ann, f"SETACL Work {bob} lrswite".encode(), f"SETACL INBOX {bob} lrs".encode())
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": {"trigger": "manual", "t0_max_gaps": 0, "t1_max_gaps": 0}})
    ferry.migrator()
    assert ferry.ctl("migrate", first, "--wait")[0] == 0  # what both servers can do is known from here on
    proxy = ferry.proxy()
    work = of_ann(source, ann)
    inbox = work.replace(b"/Work", b"/INBOX" if source == "dovecot" else b"")
    with Wire(proxy.addresses[0]) as b:
        b.until(b"* ")
        assert b" OK" in b.command(b"l", f"LOGIN {bob} secret".encode())[-1]
        before = {name: numbers(b, name, b"SELECT") for name in (inbox, work)}
        assert list(before[work][1]) == [b"b", b"c"], before
        for user in (ann, bob):
            assert ferry.ctl("waive", user, "shared", "--reason", "both go now")[0] == 0
            assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
        assert {m["tier"] for m in ferry.ctl("user", ann, "--report")[1]["report"]["mailboxes"]} == {"T2"}
        kept = b"\n".join(b.command(b"f", b"UID FETCH %s (UID FLAGS)" % before[work][1][b"c"]))
        assert b"UID " + before[work][1][b"c"] in kept, kept
        assert b.command(b"t", b"UID STORE %s +FLAGS (\\Flagged)" % before[work][1][b"c"])[-1].startswith(b"t OK")
        assert {name: numbers(b, name) for name in (inbox, work)} == before
        status = b.command(b"s", b'STATUS "%s" (UIDVALIDITY MESSAGES)' % inbox)[0]
        assert b"UIDVALIDITY " + before[inbox][0] in status, status
    proxy.wait(f"event=handed_over .*user={bob} ")
    with Wire(proxy.addresses[0]) as a:
        a.until(b"* ")
        assert b" OK" in a.command(b"l", f"LOGIN {ann} secret".encode())[-1]
        a.command(b"e", b"EXAMINE Work")
        assert b"\\Flagged" in a.command(b"f", b"UID FETCH %s (FLAGS)" % before[work][1][b"c"])[0]


# ---- moved as a group, while they write into each other's mailboxes

def numbers_of(proxy, user, name):
    with Wire(proxy.addresses[0]) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        return numbers(wire, name)


class Writer(threading.Thread):
    """Signed in as one user with a mailbox of another one open, and adds messages to it. What it was told OK for is kept."""

    def __init__(self, address, user, name):
        super().__init__(daemon=True)
        self.wire = Wire(address)
        self.user, self.box = user, name
        self.written, self.ended, self.failed = [], threading.Event(), None
        self.wire.until(b"* ")
        assert b" OK" in self.wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        self.uidvalidity, self.first = numbers(self.wire, name, b"SELECT")

    def write(self):
        subject = b"w%d" % len(self.written)
        answer = self.wire.command(b"a", b'APPEND "%s" {%d+}\r\nSubject: %s\r\n\r\n\r\n' % (self.box, len(subject) + 15, subject))
        told = re.search(rb"^a OK \[APPENDUID (\d+) (\d+)\]", answer[-1])
        assert told, answer
        self.written.append((subject, told.group(1), told.group(2)))

    def run(self):
        try:
            while not self.ended.is_set():
                self.write()
            for _ in range(3):
                self.write()
        except (AssertionError, OSError) as error:
            self.failed = error

    def check(self):
        """Each message is there once, by the UID that was told, and so are those of before."""
        self.ended.set()
        self.join(60)
        assert not self.failed, self.failed
        uidvalidity, now = numbers(self.wire, self.box)
        assert uidvalidity == self.uidvalidity and {v for _, v, _ in self.written} == {uidvalidity}
        assert now == {**self.first, **{subject: uid for subject, _, uid in self.written}}
        count = self.wire.command(b"c", b'STATUS "%s" (MESSAGES)' % self.box)[0]
        assert int(re.search(rb"MESSAGES (\d+)", count).group(1)) == len(now), "none is doubled"
        self.wire.close()


@pytest.mark.parametrize("numbered", ["filled", "mapped"])
@pytest.mark.parametrize("way", ["cyrus-dovecot", "dovecot-cyrus", "cyrus-cyrus", "dovecot-dovecot"])
def test_members_write_into_each_others_mailboxes_over_the_flip(make_ferry, servers, authority, way, numbered):
    """Nobody is disconnected, and each is told of the other's mailbox what its owner is told."""
    source, target = way.split("-")
    old, new = servers[source, "old"], servers[target, "new"]
    users = ann, bob = new_user("ann"), new_user("bob")
    for user, other in (users, reversed(users)):
        fill(old, user, "Work", "Gone")
        m = mail.connect(old, user, "secret")
        for subject in ("a", "b", "c"):
            assert m.append("Work", None, None, f"Subject: {subject}\r\n\r\nx\r\n".encode())[0] == "OK"
        m.select("Work")
        m.store("1:2", "+FLAGS.SILENT", r"(\Deleted)")
        m.expunge()
        m.logout()
        ask(old, user, f"SETACL Work {other} lrswipkxte".encode())
    gaps = {} if numbered == "filled" else {"t0_max_gaps": 0, "t1_max_gaps": 0}
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": {"trigger": "manual", **gaps}})
    ferry.migrator()
    first = new_user("first")
    fill(old, first)
    assert ferry.ctl("migrate", first, "--wait")[0] == 0  # what both servers can do is known from here on
    proxy = ferry.proxy()
    assert ferry.ctl("group", "make", "office", ann, bob, "--reason", "they share")[0] == 0
    writers = [Writer(proxy.addresses[0], user, of_ann(source, other)) for user, other in (users, reversed(users))]
    for w in writers:
        w.start()
    assert ferry.ctl("group", "migrate", "office")[0] == 0
    for user in users:
        ferry.wait_state(user, "flipped", timeout=90)
    for w in writers:
        w.check()
        proxy.wait(f"event=handed_over .*user={w.user} ")
    for w, owner in zip(writers, (bob, ann)):
        assert numbers_of(proxy, owner, b"Work") == (w.uidvalidity, {**w.first, **{s: uid for s, _, uid in w.written}})
    # And back: whatever the owner is shown then, the other is, too.
    assert ferry.ctl("group", "migrate", "office", "--to", "old", "--reason", "test")[0] == 0
    for user in users:
        ferry.wait_state(user, "held", timeout=90)
    for w, owner in zip(writers, (bob, ann)):
        seen = numbers_of(proxy, owner, b"Work")
        assert list(seen[1]) == [*w.first, *(s for s, _, _ in w.written)] and numbers_of(proxy, w.user, w.box) == seen
        if seen[0] == w.uidvalidity:
            assert seen[1] == {**w.first, **{s: uid for s, _, uid in w.written}}
