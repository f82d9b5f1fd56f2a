"""Accounts with a pair of backends of their own, and the way back."""
import collections
import re

import pytest

from harness import mail, net
from harness.scene import assert_equal, fill, new_user, read, separator, small

MANUAL = {"migration": {"trigger": "manual"}}
DATE = '"03-Feb-2021 04:05:06 +0200"'


def bag(account):
    """The messages of each mailbox without their order."""
    return {levels: collections.Counter((x.sha256, x.flags, x.keywords, x.instant) for x in box.messages)
            for levels, box in account.mailboxes.items()}


def text(subject):
    return f"Subject: {subject}\r\n\r\n{subject}\r\n".encode()


def subjects(server, user, name="INBOX"):
    m = mail.connect(server, user, "secret")
    m.select(name, readonly=True)
    found = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return [re.sub(rb"(?i)subject: *", b"", x[1]).strip().decode("latin-1") for x in found if isinstance(x, tuple)]


def act(server, user, number):
    """What a user does on the server where the account is: deletes, flags, moves, gets mail, makes a mailbox."""
    m = mail.connect(server, user, "secret")
    prefix, sep = getattr(server, "prefix", ""), server.separator
    m.select("INBOX")
    uids = m.uid("SEARCH", "UNDELETED")[1][0].split()
    m.uid("STORE", uids[0], "+FLAGS.SILENT", "(\\Deleted)")
    m.uid("EXPUNGE", uids[0])
    m.uid("STORE", uids[1], "FLAGS.SILENT", f"(\\Flagged leg{number})")
    m.uid("MOVE", uids[2], f"{prefix}Sent")
    m.append("INBOX", "(\\Seen)", DATE, text(f"new on leg {number}"))
    name = f"{prefix}Made{sep}on{number}"
    assert m.create(name)[0] == "OK"
    m.subscribe(name)
    m.append(name, "", DATE, text(f"in the new mailbox {number}"))
    m.logout()


def leave(ferry, user, to, state):
    status, answer = ferry.ctl("migrate", user, "--to", to, "--reason", "test")
    assert status == 0, answer
    route = ferry.wait_state(user, state)
    assert route["backend"] == to, route
    return route


def test_a_rule_gives_an_account_its_own_pair(make_ferry, backends, old, new):
    """The pair is the other way round for one domain: its accounts live on the new server and move to the old."""
    user, other = new_user("ruled").replace("example.org", "b.example"), new_user("plain")
    fill(new, user, small(messages=8))
    fill(old, other, small(messages=8))
    ferry = make_ferry(backends, {'rule "*@B.example"': {"source": "new", "target": "old"}})
    proxy = ferry.proxy()
    assert ferry.ctl("hold", user)[0] == 0
    assert ferry.route(user)["backend"] == "new"
    assert ferry.ctl("release", user)[0] == 0
    ferry.login(proxy, user, "secret").logout()
    assert (ferry.route(user)["source"], ferry.route(user)["target"]) == ("new", "old")
    ferry.login(proxy, other, "secret").logout()
    ferry.migrator()
    assert ferry.wait_state(user, "flipped")["backend"] == "old"
    assert ferry.wait_state(other, "flipped")["backend"] == "new"
    assert_equal(new, old, user, 8)
    assert_equal(old, new, other, 8)
    status, answer = ferry.ctl("migrate", user)
    assert status == 0 and "on old already" in answer["message"], answer


@pytest.mark.writes_source
def test_there_and_back_and_there_again(make_ferry, backends, old, new):
    """Nothing is copied twice, nothing that was deleted returns, what came to the old server meanwhile stays."""
    user = new_user("pendulum")
    fill(old, user, small(messages=40))
    ferry = make_ferry(backends, MANUAL)
    migrator = ferry.migrator()
    leave(ferry, user, "new", "flipped")
    act(new, user, 1)
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "", DATE, text("came too late"))
    m.logout()
    before = len(appended(migrator))
    leave(ferry, user, "old", "held")
    assert sum(appended(migrator)[before:]) == 3, "moved, new, in the new mailbox"
    here, there = bag(read(new, user)), bag(read(old, user))
    assert "came too late" in subjects(old, user)
    extra = {levels: list((there[levels] - here.get(levels, collections.Counter())).elements()) for levels in there}
    assert {k: len(v) for k, v in extra.items() if v} == {(b"INBOX",): 1}, extra
    assert all(not here[levels] - there[levels] for levels in here)

    act(old, user, 2)
    assert ferry.ctl("release", user)[0] == 0
    before = len(appended(migrator))
    leave(ferry, user, "new", "flipped")
    assert sum(appended(migrator)[before:]) == 4, "moved, new, in the new mailbox, the late one"
    assert bag(read(old, user)) == bag(read(new, user))

    act(new, user, 3)
    before = len(appended(migrator))
    leave(ferry, user, "old", "held")
    assert sum(appended(migrator)[before:]) == 3
    assert bag(read(old, user)) == bag(read(new, user))
    assert len(subjects(old, user)) == len(set(subjects(old, user)))


@pytest.mark.writes_source
def test_killed_while_the_ledgers_are_turned(make_ferry, backends, old, new):
    user = new_user("turned")
    fill(old, user, small(messages=40))
    ferry = make_ferry(backends, MANUAL)
    migrator = ferry.migrator()
    leave(ferry, user, "new", "flipped")
    act(new, user, 1)
    redis = ferry.redis.client()
    assert ferry.ctl("flip", user, "--to", "old", "--reason", "test")[0] == 0

    def turned():
        keys = list(redis.scan_iter(f"imapferry:ledger:{user}:*", count=1000))
        return sum("1 pair new old" in redis.lrange(key, 0, -1) for key in keys)
    net.wait_until("a turned ledger", turned, step=0)
    migrator.kill()
    ferry.migrator()
    assert ferry.wait_state(user, "held")["backend"] == "old"
    assert bag(read(old, user)) == bag(read(new, user))


@pytest.mark.writes_source
def test_equal_numbers_for_other_messages(make_ferry, backends, old, new):
    """Clients saw UID 4 on the new server; the old one has given it to another message meanwhile: they learn it anew."""
    user = new_user("clash")
    for server in (old, new):
        m = mail.connect(server, user, "secret")
        m.select("INBOX")
        m.logout()
        server.doveadm("mailbox", "update", "-u", user, "--uid-validity", "1234567", "INBOX")
    m = mail.connect(old, user, "secret")
    for i in range(3):
        m.append("INBOX", "", DATE, text(f"number {i}"))
    ferry = make_ferry(backends, MANUAL)
    ferry.migrator()
    leave(ferry, user, "new", "flipped")
    w = mail.connect(new, user, "secret")
    w.append("INBOX", "", DATE, text("gone again"))
    w.select("INBOX")
    w.uid("STORE", "4", "+FLAGS.SILENT", "(\\Deleted)")
    w.uid("EXPUNGE", "4")
    assert w.response("UIDVALIDITY")[1] == [b"1234567"]
    w.logout()
    m.append("INBOX", "", DATE, text("another"))
    m.logout()
    assert ferry.ctl("migrate", user, "--to", "old")[0] == 0
    assert ferry.wait_state(user, "held")["backend"] == "old"
    client = ferry.login(ferry.proxy(), user, "secret")
    assert client.select("INBOX")[0] == "OK"
    assert int(client.response("UIDVALIDITY")[1][0]) > 1234567
    assert "another" in subjects(old, user)


@pytest.mark.writes_source
def test_sessions_are_moved_back_too(make_ferry, backends, old, new):
    user = new_user("live")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator()
    leave(ferry, user, "new", "flipped")
    client = ferry.login(proxy, user, "secret")
    assert ferry.where(user) == {"new"} and separator(client) == old.separator
    client.append("INBOX", "", DATE, text("through the proxy"))
    leave(ferry, user, "old", "held")
    again = ferry.login(proxy, user, "secret")
    assert ferry.where(user) == {"old"} and separator(again) == old.separator
    assert again.select("INBOX")[0] == "OK"
    assert "through the proxy" in subjects(old, user)
    status, answer = ferry.ctl("migrate", user)
    assert status == 4 and "held" in answer["error"], answer


def appended(migrator):
    """Of each pass, the last ones included."""
    return [int(m.group(1)) for m in migrator.find(r"event=(?:pass|verified) .*\bappended=(\d+)")]
