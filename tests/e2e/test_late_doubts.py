"""What a server has done behind the flip of commands that were never answered: the late watch looks at these messages once
more, names what it finds once, and removes doubles of its own copies where the first one stands."""
import re

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.scene import connect, new_user

pytestmark = pytest.mark.writes_source

DATE = '"03-Feb-2021 04:05:06 +0200"'
MESSAGES = 8


def text(n, pad=""):
    return f"Subject: number {n}\r\n\r\nbody {n}{pad}\r\n".encode()


def account(server, user, mailboxes):
    m = mail.connect(server, user, "secret")
    for name in mailboxes:
        m.create(name)
        for n in range(1, MESSAGES + 1):
            assert m.append(name, "(\\Seen)", DATE, text(n))[0] == "OK"
    m.logout()


class Target:
    """The user on the new server."""

    def __init__(self, server, user):
        self.m = mail.connect(server, user, "secret")
        self.m.select("INBOX")

    def uids(self):
        """Subject's number -> UIDs."""
        self.m.noop()
        found = {}
        for line in self.m.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
            if isinstance(line, tuple):
                number = int(re.search(rb"number (\d+)", line[1]).group(1))
                found.setdefault(number, []).append(re.search(rb"UID (\d+)", line[0]).group(1).decode())
        return found

    def store(self, uid, how, flags):
        assert self.m.uid("STORE", uid, how, flags)[0] == "OK"

    def remove(self, uid):
        self.store(uid, "+FLAGS.SILENT", "(\\Deleted)")
        assert self.m.uid("EXPUNGE", uid)[0] == "OK"

    def append(self, n, flags="(\\Seen)", pad="", mailbox="INBOX"):
        assert self.m.append(mailbox, flags, DATE, text(n, pad))[0] == "OK"


def doubt(ferry, user, *entries):
    """As if all of INBOX had been sent again after a doubt, and, by the entries, changes had got no answer."""
    client = ferry.redis.client()
    for key in client.keys(f"imapferry:ledger:{user}:*"):
        for sent in [e for e in client.lrange(key, 0, -1) if " sent " in e]:
            assert client.linsert(key, "AFTER", sent, f"1 settled 1:{MESSAGES}") > 0
            for entry in entries:
                client.rpush(key, entry)
    client.hset(f"imapferry:route:{user}", "doubted", "1")


def look(ferry, user):
    """What it says to staff."""
    client = ferry.redis.client()
    before = client.hget(f"imapferry:route:{user}", "last_late")
    client.zadd("imapferry:late", {user: 1})
    net.wait_until("a look", lambda: client.hget(f"imapferry:route:{user}", "last_late") not in (None, before))
    return [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "late"]


def begin(make_ferry, old, new, mailboxes=("INBOX",), **options):
    """An account on the new server."""
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap", **options)},
                       {"migration": {"trigger": "manual", "late_watch": "30d"}})
    user = new_user("doubts")
    account(old, user, mailboxes)
    net.wait_next_second()
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    return ferry, user, Target(new, user)


def test_what_was_done_of_it_behind_the_flip(make_ferry, old, new):
    ferry, user, there = begin(make_ferry, old, new)
    assert not look(ferry, user)
    uid = {n: x[0] for n, x in there.uids().items()}
    doubt(ferry, user, f"5 store 1 {uid[1]},{uid[2]} (\\Seen \\Flagged)", f"5 expunge 2 {uid[3]}")
    assert not look(ferry, user), "nothing has been done of it"

    there.store(uid[1], "FLAGS.SILENT", "(\\Seen \\Flagged)")
    there.store(uid[2], "FLAGS.SILENT", "(\\Seen \\Answered)")
    there.remove(uid[3])
    there.append(4)
    there.append(5, "(\\Seen \\Flagged)")
    there.remove(uid[6])
    there.append(6)
    there.append(7, pad=" which is another")
    there.append(9)
    late = {n: x[-1] for n, x in there.uids().items()}
    told = look(ferry, user)
    assert there.uids() == {1: [uid[1]], 2: [uid[2]], 4: [uid[4]], 5: [uid[5], late[5]], 6: [late[6]],
                            7: [uid[7], late[7]], 8: [uid[8]], 9: [late[9]]}, told

    def said(n, words):
        found = [x for x in told if re.match(rf'"INBOX" UID {n} here ', x)]
        assert len(found) == 1 and words in found[0], told
    said(uid[1], "has the flags")
    said(uid[3], "is gone")
    said(late[4], "is removed")
    said(late[5], "flags that its first copy lacks")
    said(late[6], "first copy is not there")
    assert len(told) == 5, told
    assert look(ferry, user) == told, "said once"

    route = f"imapferry:route:{user}"
    ferry.redis.client().hset(route, "flipped_at", 1)
    there.append(8)
    told = look(ferry, user)
    assert len(there.uids()[8]) == 1 and len(told) == 6, told
    ferry.wait_state(user, "settled")
    there.append(8)
    assert look(ferry, user) == told and len(there.uids()[8]) == 2, "the set time is over, so this is the user's own"
    there.m.logout()


def test_doubts_follow_a_rename(make_ferry, old, new):
    """By the name that the mailbox has now on the new server, and by the one that it has on the old one."""
    ferry, user, there = begin(make_ferry, old, new, mailboxes=("INBOX", "INBOX.Work"))
    with connect(ferry.proxy()) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        for before, after in (("Work", "Some"), ("Some", "Old")):
            assert wire.command(b"r", f"RENAME INBOX.{before} INBOX.{after}".encode())[-1].startswith(b"r OK")
    there.m.select("Old")
    uid = {n: x[0] for n, x in there.uids().items()}
    doubt(ferry, user, f"5 store 1 {uid[1]},{uid[2]} (\\Seen \\Flagged)")
    there.store(uid[1], "FLAGS.SILENT", "(\\Seen \\Flagged)")
    there.append(4, mailbox="Old")
    told = look(ferry, user)
    assert there.uids() == {n: [x] for n, x in uid.items()}, told
    assert sorted(re.sub(r".*(has the flags|is removed).*", r"\1", x) for x in told) == ["has the flags", "is removed"], told
    assert look(ferry, user) == told and not ferry.daemons[0].find("event=late_blind"), "said once"
    there.m.logout()


@pytest.mark.parametrize("point", ["ledger.told.answered", "command.UID_EXPUNGE.answered"])
def test_nothing_goes_without_a_word(make_ferry, old, new, point):
    """Whoever dies before the end of a look has told what it found and did, also where nobody will find it again."""
    ferry, user, there = begin(make_ferry, old, new)
    ferry.daemons[-1].stop()
    uid = {n: x[0] for n, x in there.uids().items()}
    doubt(ferry, user, f"5 expunge 2 {uid[3]}")
    there.remove(uid[3])
    there.append(4)
    late = there.uids()[4][-1]
    ferry.redis.client().zadd("imapferry:late", {user: 1})
    dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": f"{point}:1:kill"})
    dead.process.wait(30)
    dead.kill()
    told = [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "late"]
    for n in (uid[3], late):
        assert [x for x in told if x.startswith(f'"INBOX" UID {n} here ')], told
    assert len(there.uids()[4]) == 1
    there.m.logout()


def test_a_doubt_outlives_looks_that_are_blind(make_ferry, old, new):
    ferry, user, there = begin(make_ferry, old, new, mailboxes=("INBOX", "INBOX.Work"))
    client, route = ferry.redis.client(), f"imapferry:route:{user}"
    broken, other = sorted(client.keys(f"imapferry:ledger:{user}:*"))
    doubt(ferry, user)
    client.rpush(broken, "nonsense")
    client.rpush(other, "5 store 1 1,2 (\\Seen \\Flagged)")
    client.hset(route, "flipped_at", 1)
    look(ferry, user)
    assert ferry.wait_state(user, "settled")["doubted"] == "1"
    assert any(" store " in e for e in client.lrange(other, 0, -1)), "what nobody has looked at was folded away"
    client.lrem(broken, 0, "nonsense")
    look(ferry, user)
    assert ferry.route(user)["doubted"] == "0" and not any(" store " in e for e in client.lrange(other, 0, -1))
    there.m.logout()


def test_without_uidplus_a_double_is_named(make_ferry, old, new):
    ferry, user, there = begin(make_ferry, old, new, capabilities=["-UIDPLUS"])
    doubt(ferry, user)
    there.append(4)
    told = look(ferry, user)
    assert len(told) == 1 and "can't remove it (UIDPLUS)" in told[0], told
    assert len(there.uids()[4]) == 2
    there.m.logout()
