"""After a flip between servers that spell names and number messages in different ways: clients go on seeing the mailboxes
that they know. The old server has "INBOX." and ".", the new one "/"; messages have gaps on the old one and none on the new
one, so they are mapped (T2).

As long as the migrator records T3 alone, the tests make T2 of it in the store."""
import contextlib
import re
import signal
import threading
import time

import pytest

from harness import mail, net, redisd
from harness.courier import Courier
from harness.ferry import backend
from harness.relay import DOWN, Relay
from harness.scene import connect
from harness.viewed import MANUAL, Account, body, code, lines_of, message, seen, select, uids


# ---- what is seen

def test_a_client_sees_what_it_knew(account):
    """Names, UIDVALIDITY, UIDNEXT and UIDs; each message by its UID; and the source is not asked."""
    a = account("known")
    wire = a.session()
    listed = {re.search(rb'"\." "?([^"]+)"?$', line)[1].decode() for line in lines_of(wire.command(b"l", b'LIST "" *'), b"LIST")}
    assert set(a.names) <= listed and not [n for n in listed if "/" in n], listed
    assert wire.separator() == "."
    for name in a.names:
        assert seen(wire, name) == a.at_source(name)
        status = lines_of(wire.command(b"t", b'STATUS "%s" (UIDNEXT UIDVALIDITY)' % name.encode()), b"STATUS")[0]
        validity, uidnext, known = a.at_source(name)
        assert b"UIDNEXT %d" % uidnext in status and b"UIDVALIDITY %d" % validity in status and name.encode() in status
        for uid in known[:5]:
            shown, text = body(wire, uid)
            theirs = a.source.uid("FETCH", str(uid), "(BODY.PEEK[])")[1][0][1]
            assert shown == uid and theirs.replace(b"\r\n", b"\n").strip() in text, (name, uid)
    assert wire.command(b"q", b"NAMESPACE")[0] == b'* NAMESPACE (("INBOX." ".")) NIL NIL'
    other = a.session(proxy=1)
    assert seen(other, a.names[-1]) == a.at_source(a.names[-1])


def test_a_client_of_a_courier_sees_what_it_knew(account, cert):
    with Courier("courier", cert=cert) as courier:
        a = account("courier", old=courier, by_login=True)
        wire = a.session()
        assert wire.separator() == "."
        for name in a.names:
            assert seen(wire, name) == a.at_source(name)
        validity, uidnext, known = a.at_source("INBOX")
        wire.command(b"x", b"SELECT INBOX")
        shown, text = body(wire, known[3])
        theirs = a.source.uid("FETCH", str(known[3]), "(BODY.PEEK[])")[1][0][1]
        assert shown == known[3] and theirs.replace(b"\r\n", b"\n").strip() in text
        wire.line(b"g APPEND INBOX {6}")
        wire.until(b"+")
        wire.line(b"abcdef")
        assert b"APPENDUID %d %d]" % (validity, uidnext) in wire.until(b"g ")[-1]
        a.source.logout()


def test_changes_by_uid_reach_the_message_that_is_meant(account):
    a = account("changes")
    wire = a.session("INBOX")
    validity, uidnext, known = a.at_source("INBOX")
    copied = wire.command(b"c", b'UID COPY %d,%d "INBOX.Sent"' % (known[0], known[2]))[-1]
    m = re.search(rb"\[COPYUID (\d+) (\S+) (\S+)\]", copied)
    sent = a.at_source("INBOX.Sent")
    assert int(m[1]) == sent[0] and m[2] == b"%d,%d" % (known[0], known[2]), copied
    assert m[3] == b"%d:%d" % (sent[1], sent[1] + 1), (copied, sent)
    text = body(wire, known[1])[1]
    assert wire.command(b"d", b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % known[1])[-1].startswith(b"d OK")
    gone = wire.command(b"e", b"UID EXPUNGE %d" % known[1])
    assert gone == [b"* 2 EXPUNGE", gone[-1]] and gone[-1].startswith(b"e OK")
    assert wire.command(b"f", b"UID FETCH %d (FLAGS)" % known[1])[-1].startswith(b"f OK")
    added = wire.command(b"g", b"APPEND INBOX {6+}\r\nabcdef")[-1]
    assert code([added], b"APPENDUID") == validity and b"APPENDUID %d %d]" % (validity, uidnext) in added
    assert uids(wire) == [n for n in known if n != known[1]] + [uidnext]
    assert uids(wire, b"UID SEARCH UID %d:*" % uidnext) == [uidnext]
    assert uids(wire, b"UID SEARCH NOT UID %d:%d" % (known[0], known[-1])) == [uidnext]
    moved = wire.command(b"h", b'UID MOVE %d "INBOX.Sent"' % known[2])
    assert any(b"COPYUID %d %d %d" % (sent[0], known[2], sent[1] + 2) in x for x in moved), moved
    target = a.at_target()
    target.select("INBOX")
    assert len(target.uid("SEARCH", "ALL")[1][0].split()) == len(known) - 1
    assert not [x for x in target.uid("FETCH", "1:*", "(BODY.PEEK[])")[1] if isinstance(x, tuple) and x[1].strip() in text]
    target.logout()


def test_others_add_and_expunge(account):
    """Past the proxy, while a client has the mailbox open."""
    a = account("others")
    wire = a.session("INBOX")
    validity, uidnext, known = a.at_source("INBOX")
    target = a.at_target()
    target.append("INBOX", None, None, b"Subject: late\r\n\r\nx\r\n")
    target.select("INBOX")
    first = target.uid("SEARCH", "ALL")[1][0].split()[0].decode()
    target.uid("STORE", first, "+FLAGS.SILENT", "(\\Deleted)")
    target.uid("EXPUNGE", first)
    answer = wire.command(b"n", b"NOOP")
    assert b"* 1 EXPUNGE" in answer and any(x.endswith(b"EXISTS") for x in answer), answer
    assert uids(wire) == known[1:] + [uidnext]
    assert b"late" in body(wire, uidnext)[1]
    assert code(select(wire, "INBOX"), b"UIDVALIDITY") == validity
    target.logout()


# ---- life

def test_a_subtree_is_renamed(account):
    """By one proxy; the other one knows it at once, and so does a session that was there before."""
    a = account("rename")
    wire, other = a.session(), a.session(proxy=1)
    for name in (b"INBOX.Tree.a.b", b"INBOX.Tree.a.c"):
        assert wire.command(b"c", b"CREATE " + name)[-1].startswith(b"c OK")
    for name in ("Sent", "Drafts"):
        assert wire.command(b"r", b"RENAME INBOX.%s INBOX.Tree.a.%s" % (name.encode(), name.encode()))[-1].startswith(b"r OK")
    known = {name: a.at_source("INBOX." + name) for name in ("Sent", "Drafts")}
    before = a.view()
    assert wire.command(b"r", b'RENAME INBOX.Tree "INBOX.New Tree"')[-1].startswith(b"r OK")
    assert a.view() != before
    net.wait_until("the other proxy", lambda: seen_or_none(other, "INBOX.New Tree.a.Sent") == known["Sent"])
    for w in (wire, other, a.session(), a.session(proxy=1)):
        for name in ("Sent", "Drafts"):
            assert seen(w, "INBOX.New Tree.a." + name) == known[name]
            for gone in ("INBOX." + name, "INBOX.Tree.a." + name):
                assert select(w, gone)[-1].startswith(b"s NO"), gone
    # a name that comes back is another mailbox
    assert wire.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    validity, _, found = seen(wire, "INBOX.Sent")
    assert validity > known["Sent"][0] and found == []
    assert seen(other, "INBOX.Sent")[0] == validity
    assert seen(other, "INBOX.New Tree.a.Sent") == known["Sent"]


def seen_or_none(wire, name):
    answer = select(wire, name)
    return (code(answer, b"UIDVALIDITY"), code(answer, b"UIDNEXT"), uids(wire)) if answer[-1].startswith(b"s OK") else None


@pytest.mark.parametrize("behind", [False, True], ids=["by the client", "behind the proxy's back"])
def test_a_mailbox_is_made_anew(account, behind):
    a = account("anew")
    wire = a.session()
    validity, _, known = a.at_source("INBOX.Sent")
    assert seen(wire, "INBOX.Sent")[2] == known
    wire.command(b"x", b"SELECT INBOX")
    if behind:
        a.new.doveadm("mailbox", "delete", "-u", a.user, "Sent")
        a.new.doveadm("mailbox", "create", "-u", a.user, "Sent")
    else:
        assert wire.command(b"d", b"DELETE INBOX.Sent")[-1].startswith(b"d OK")
        assert wire.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    assert wire.command(b"a", b"APPEND INBOX.Sent {6+}\r\nabcdef")[-1].startswith(b"a OK")
    first, second = seen(wire, "INBOX.Sent"), seen(a.session(proxy=1), "INBOX.Sent")
    assert first == second and first[0] > validity and first[1:] == (2, [1])


@pytest.mark.parametrize("dies", [False, True])
def test_a_deleted_mailbox_leaves_nothing(account, new, dies):
    """Of a server that gives out one UIDVALIDITY for ever: no message of the mailbox made anew has a number that clients know,
    also where the proxy dies before the server has executed the DELETE."""
    relay = Relay((net.HOST, new.port["imap"]))
    a = account("grave", through=relay)
    validity, _, known = a.at_source("INBOX.Sent")
    real = re.search(r"uidvalidity=\d+,(\d+)", a.store.hget(a.records, "INBOX.Sent"))[1]
    wire, other = a.session(), a.session(proxy=1)
    wire.command(b"x", b"SELECT INBOX")
    if dies:
        relay.stall()
        wire.line(b"d DELETE INBOX.Sent")
        net.wait_until("the intent", lambda: f",{real} " not in a.store.hget(a.records, "INBOX.Sent"))
        a.proxies[0].kill()
        relay.cut()
        relay.resume()
    else:
        assert wire.command(b"d", b"DELETE INBOX.Sent")[-1].startswith(b"d OK")
        assert select(wire, "INBOX.Sent")[-1].startswith(b"s NO")
    assert re.search(r"uidvalidity=\d+,0 .* highest=%d tier=T3\b" % validity, a.store.hget(a.records, "INBOX.Sent"))
    target = a.at_target()
    target.delete("Sent")
    assert target.create("Sent")[0] == "OK"
    a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", real, "Sent")
    for i in range(len(known) + 5):
        target.append("Sent", None, None, b"Subject: anew %d\r\n\r\nanew\r\n" % i)
    target.logout()
    for w in (other, a.session(proxy=1)):
        shown, _, found = seen(w, "INBOX.Sent")
        assert shown > validity and found == list(range(1, len(known) + 6))


@pytest.mark.parametrize("how", ["deleted", "renamed away", "replaced"])
@pytest.mark.parametrize("ahead", [0, 1000], ids=["", "in the future"])
def test_a_mailbox_made_behind_the_flip_goes(account, how, ahead):
    """It has no record. Servers like Cyrus and Courier give the one that comes in its place the same UIDVALIDITY, where both were
    made in one second; some have a clock that is fast."""
    a = account("unrecorded")
    wire, target, real = a.session(), a.at_target(), int(time.time()) + ahead

    def made(name):
        assert wire.command(b"c", b"CREATE INBOX." + name.encode())[-1].startswith(b"c OK")
        number(name)

    def number(name):
        a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", str(real), name)
        assert target.append(name, None, None, b"Subject: in %s\r\n\r\n." % name.encode())[0] == "OK"
    made("One")
    if how == "replaced":
        made("Two")
    assert seen(wire, "INBOX.One") == (real, 2, [1])
    wire.command(b"x", b"SELECT INBOX")
    if how == "renamed away":
        assert wire.command(b"r", b"RENAME INBOX.One INBOX.Old")[-1].startswith(b"r OK")
        assert seen(wire, "INBOX.Old")[0] == real
        wire.command(b"x", b"SELECT INBOX")
    else:
        assert wire.command(b"d", b"DELETE INBOX.One")[-1].startswith(b"d OK")
    if how == "replaced":
        assert wire.command(b"r", b"RENAME INBOX.Two INBOX.One")[-1].startswith(b"r OK")
    else:
        made("One")
    shown = [seen(w, "INBOX.One") for w in (wire, a.session(proxy=1))]
    assert shown[0] == shown[1] and shown[0][0] > real and shown[0][1:] == (2, [1])
    if how == "replaced":
        made("Two")
        assert seen(wire, "INBOX.Two")[0] > real
    # What is refused, or was never there, leaves nothing behind.
    before = a.store.hgetall(a.records)
    for command in (b"DELETE INBOX.none", b"RENAME INBOX.none INBOX.nowhere", b"RENAME INBOX.Drafts INBOX.One"):
        assert wire.command(b"n", command)[-1].startswith(b"n NO"), command
    assert a.store.hgetall(a.records) == before
    target.logout()


@pytest.mark.writes_source
def test_a_grave_made_at_home(account):
    """Its name is spelled as the other server does, once the account goes there again."""
    a = account("homegrave")
    real = int(re.search(r"uidvalidity=\d+,(\d+)", a.store.hget(a.records, "INBOX.Drafts"))[1])
    a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", str(real + 1), "Drafts")
    assert seen(a.session(), "INBOX.Drafts")[0] > a.at_source("INBOX.Drafts")[0]
    a.flip("old")
    boxes = {b["name"]: b for b in a.ferry.ctl("user", a.user, "--report")[1]["report"]["mailboxes"]}
    for name in ("INBOX", "INBOX.Sent", "INBOX.Drafts"):
        assert f" tier={boxes[name.removeprefix('INBOX.')]['tier']} " in a.store.hget(a.records, name), (name, boxes)
    assert boxes["Drafts"]["tier"] == "T3" and boxes["Drafts"]["tier_why"]
    wire = a.session()
    assert wire.command(b"c", b"CREATE INBOX.Two.Lev")[-1].startswith(b"c OK")
    shown = seen(wire, "INBOX.Two.Lev")[0]
    wire.command(b"x", b"SELECT INBOX")
    assert wire.command(b"d", b"DELETE INBOX.Two.Lev")[-1].startswith(b"d OK")
    assert int(re.search(r"highest=(\d+)", a.store.hget(a.records, "INBOX.Two.Lev"))[1]) >= shown
    assert a.ferry.ctl("release", a.user)[0] == 0
    assert a.ferry.ctl("migrate", a.user)[0] == 0
    a.ferry.wait_state(a.user, "ready")
    a.flip("new")
    assert " target=Two/Lev " in a.store.hget(a.records, "INBOX.Two.Lev")
    wire = a.session()
    assert wire.command(b"c", b"CREATE INBOX.Two.Lev")[-1].startswith(b"c OK")
    assert seen(wire, "INBOX.Two.Lev")[0] > shown
    target = a.at_target()
    assert target.select("Two/Lev")[0] == "OK"
    target.logout()


def test_a_new_uidvalidity_at_the_target(account):
    """Each time it is greater than any that was shown, however small the real one is."""
    a = account("validity")
    wire = a.session("INBOX.Sent")
    shown = a.at_source("INBOX.Sent")[0]
    for real in (5, 4000000000, 6):
        wire.command(b"x", b"SELECT INBOX")
        a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", str(real), "Sent")
        validity, _, found = seen(wire, "INBOX.Sent")
        assert validity > shown, (real, validity, shown)
        assert validity == (real if real > shown else shown + 1)
        assert found == list(range(1, len(found) + 1))
        assert code(select(a.session(proxy=1), "INBOX.Sent"), b"UIDVALIDITY") == validity
        shown = validity


def test_a_proxy_with_an_older_view(account):
    """It hears nothing of the other one's RENAME, but no number that it tells is wrong."""
    a = account("older")
    other = a.session(proxy=1)
    known = a.at_source("INBOX.Sent")
    wire = a.session()
    a.proxies[1].signal(signal.SIGSTOP)
    try:
        assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Old")[-1].startswith(b"r OK")
        assert wire.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    finally:
        other.line(b"s SELECT INBOX.Sent")
        a.proxies[1].signal(signal.SIGCONT)
    answer = other.until(b"s ")
    assert answer[-1].startswith(b"s OK") and code(answer, b"UIDVALIDITY") > known[0] and uids(other) == []
    assert seen(other, "INBOX.Old") == known


@pytest.mark.parametrize("away", [False, True], ids=["", "the store is away"])
def test_two_mailboxes_of_one_uidvalidity(account, away):
    """As Cyrus and Courier make them in one second. One gets the name of the other at one proxy; another proxy, which is told
    nothing of it, must not show it by the other's map."""
    a = account("alike")
    numbers = {n: re.search(r"uidvalidity=\d+,(\d+) uidnext=\d+,(\d+)", a.store.hget(a.records, n)).groups()
               for n in ("INBOX.Sent", "INBOX.Drafts")}
    # The one that gets the name has more messages, so that UIDNEXT does not give it away.
    high, low = sorted(numbers, key=lambda n: int(numbers[n][1]))
    a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", numbers[high][0], low[6:])
    text = a.store.hget(a.records, low).replace(f",{numbers[low][0]} ", f",{numbers[high][0]} ")
    a.store.hset(a.records, low, text)
    deaf = threading.Event()
    edit = lambda direction, data: b"" if deaf.is_set() and direction == DOWN and b"imapferry:events" in data else data
    relay = Relay(("127.0.0.1", a.ferry.redis.port), edit)
    a.proxies.append(a.ferry.proxy(redis={"url": relay.redis_url}, proxy={"store_timeout": "4s"}))
    wire, other = a.session(), a.session(proxy=2)
    known = {n: a.at_source(n) for n in numbers}
    assert all(seen(other, n) == known[n] for n in numbers)
    took = time.monotonic()
    for _ in range(100):
        select(other, high)
    print("SELECT: %.3f ms" % ((time.monotonic() - took) * 10))
    deaf.set()
    if away:
        relay.stall()
        assert seen(other, high) == known[high]
        relay.resume()
        return
    for names in ((high, "INBOX.Old"), (low, high)):
        assert wire.command(b"r", "RENAME {} {}".format(*names).encode())[-1].startswith(b"r OK")
    shown, _, found = seen(other, high)
    assert shown > known[high][0] and found == known[low][2], "it is another one"
    assert seen(other, "INBOX.Old") == known[high] and seen(wire, high)[0] == shown


@pytest.mark.parametrize("executed", [False, True], ids=["not sent", "answer lost"])
def test_a_proxy_dies_in_a_rename(account, executed):
    """Between its changes of the store: whichever name is there has the numbers, and the other one is not there."""
    a = account("crash")
    known = a.at_source("INBOX.Sent")
    wire = a.session()
    before = a.store.hgetall(a.records)
    assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Gone")[-1].startswith(b"r OK")
    after = a.store.hgetall(a.records)
    a.proxies[0].kill()
    # as it was with the first change made alone
    a.store.hset(a.records, mapping={"INBOX.Sent": before["INBOX.Sent"], "INBOX.Gone": after["INBOX.Gone"]})
    a.store.hset(a.route, "view", "1:ab:7")
    if not executed:
        target = a.at_target()
        assert target.rename("Gone", "Sent")[0] == "OK"
        target.logout()
    a.proxies.append(a.ferry.proxy())
    there, gone = ("INBOX.Gone", "INBOX.Sent") if executed else ("INBOX.Sent", "INBOX.Gone")
    wire = a.session(proxy=2)
    assert seen(wire, there) == known
    assert select(wire, gone)[-1].startswith(b"s NO")
    assert wire.command(b"c", b"CREATE " + gone.encode())[-1].startswith(b"c OK")
    assert seen(wire, gone)[0] > known[0] and seen(wire, there) == known


# ---- the store

def test_no_login_without_the_view(account):
    a = account("unread")
    a.store.hset(a.records, "INBOX", "nonsense")
    with connect(a.proxies[0]) as wire:
        assert wire.login(a.user).startswith(b"l1 NO [UNAVAILABLE]")
    a.proxies[0].wait(r"event=view_record_unreadable user=%s mailbox=INBOX" % re.escape(a.user))
    a.store.hdel(a.records, "INBOX")
    assert seen(a.session(), "INBOX.Sent") == a.at_source("INBOX.Sent")


def test_nothing_is_renamed_while_the_store_is_away(account):
    a = account("away")
    wire = a.session("INBOX.Sent")
    known = a.at_source("INBOX.Sent")
    a.ferry.redis.stop()
    try:
        answer = wire.command(b"r", b"RENAME INBOX.Sent INBOX.Gone")
        assert answer[-1].startswith(b"r NO [UNAVAILABLE]"), answer
        assert uids(wire) == known[2]
    finally:
        a.ferry.redis.start()
    assert seen(wire, "INBOX.Sent") == known


STUCK = {"proxy": {"store_timeout": "2s", "lease": "60s", "lease_long": "60s"}, **MANUAL}


@contextlib.contextmanager
def stuck(redis):
    """It takes what it is sent, and does nothing of it until the end: then it does all of it, late."""
    redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.signal(signal.SIGCONT)


def comes(a, proxy=0):
    """A session, once the proxy has its store again."""
    def there():
        wire = a.wires.enter_context(connect(a.proxies[proxy]))
        return wire if wire.login(a.user).startswith(b"l1 OK") else None
    return net.wait_until("a login", there, timeout=40)


def assert_agree(a, known, gone, name):
    """Both proxies show the mailbox under this name, and under no other: as it was, or clients learn it anew."""
    target = a.at_target()
    there = [n for n in ("Sent", "Gone", "Kept") if target.select(n, readonly=True)[0] == "OK"]
    target.logout()
    assert there == [name[6:]], there
    shown = [seen(comes(a, n), name) for n in (0, 1)]
    assert shown[0] == shown[1] and (shown[0] == known or shown[0][0] > known[0]), (shown, known)
    for n in gone:
        assert select(comes(a), n)[-1].startswith(b"s NO"), n
    return shown[0]


@pytest.mark.parametrize("verb", ["RENAME", "DELETE"])
def test_the_store_stands_still_before_a_change(account, verb):
    """The client is told NO, and the mailbox is there as ever. What the store does late of it is no harm."""
    a = account("stuck", settings=STUCK)
    wire, known = a.session(), a.at_source("INBOX.Sent")
    wire.command(b"x", b"SELECT INBOX")
    with stuck(a.ferry.redis):
        answer = wire.command(b"r", b"%s INBOX.Sent%s" % (verb.encode(), b" INBOX.Gone" if verb == "RENAME" else b""))
        assert answer[-1].startswith(b"r NO [UNAVAILABLE]"), answer
    net.wait_until("the store does it late", lambda: a.view().count(":") > 1, timeout=30)
    shown = assert_agree(a, known, ["INBOX.Gone"], "INBOX.Sent")
    assert shown == known or verb == "DELETE"
    other = comes(a, 1)
    assert other.command(b"r", b"RENAME INBOX.Sent INBOX.Kept")[-1].startswith(b"r OK")
    assert assert_agree(a, known, ["INBOX.Gone", "INBOX.Sent"], "INBOX.Kept") == shown
    assert other.command(b"c", b"CREATE INBOX.Gone")[-1].startswith(b"c OK")
    assert seen(other, "INBOX.Gone")[2] == []


@pytest.mark.parametrize("verb", ["RENAME", "DELETE"])
def test_the_store_stands_still_behind_a_change(account, new, verb):
    """The server has done it. The client is told so, or its session ends; the names and numbers agree all the same."""
    sent, goes_on = threading.Event(), threading.Event()

    def edit(direction, data):
        if direction != DOWN and b"r %s " % verb.encode() in data:
            sent.set()
            assert goes_on.wait(60)
        return data
    a = account("behind", settings=STUCK, through=Relay((net.HOST, new.port["imap"]), edit))
    wire, known = a.session(), a.at_source("INBOX.Sent")
    wire.command(b"x", b"SELECT INBOX")
    wire.line(b"r %s INBOX.Sent%s" % (verb.encode(), b" INBOX.Gone" if verb == "RENAME" else b""))
    assert sent.wait(30)
    with stuck(a.ferry.redis):
        goes_on.set()
        lines = []
        while not lines or not (lines[-1] is None or lines[-1].startswith(b"r ")):
            lines.append(wire.read_line())
        assert lines[-1] is None or lines[-1].startswith(b"r OK"), lines
    if verb == "RENAME":
        assert assert_agree(a, known, ["INBOX.Sent"], "INBOX.Gone") == known
        return
    other = comes(a, 1)
    assert select(other, "INBOX.Sent")[-1].startswith(b"s NO")
    assert other.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    shown = assert_agree(a, known, ["INBOX.Gone"], "INBOX.Sent")
    assert shown[0] > known[0] and shown[2] == []


def test_a_replica_that_stands_still(account):
    """A failover would lose what was recorded of a RENAME: it is not done. Of a DELETE it may, as the mailbox that comes in its
    place has another UIDVALIDITY than its record (test_a_mailbox_is_made_anew)."""
    a = account("replica")
    replica = redisd.Redis(options=("replicaof", f"127.0.0.1 {a.ferry.redis.port}"))
    try:
        net.wait_until("the replica", lambda: a.store.info("replication").get("slave0", {}).get("state") == "online")
        wire, known = a.session(), a.at_source("INBOX.Sent")
        replica.signal(signal.SIGSTOP)
        for _ in range(2):  # behind the first one nobody waits
            answer = wire.command(b"r", b"RENAME INBOX.Sent INBOX.Gone")
            assert answer[-1].startswith(b"r NO [UNAVAILABLE]"), answer
        assert wire.command(b"d", b"DELETE INBOX.Drafts")[-1].startswith(b"d OK")
        assert seen(wire, "INBOX.Sent") == known
        wire.command(b"x", b"SELECT INBOX")
        replica.signal(signal.SIGCONT)
        net.wait_until("the RENAME", lambda: wire.command(b"r", b"RENAME INBOX.Sent INBOX.Gone")[-1].startswith(b"r OK"))
        assert " source=INBOX.Gone " in replica.client().hget(a.records, "INBOX.Gone")
        assert seen(wire, "INBOX.Gone") == known and select(wire, "INBOX.Sent")[-1].startswith(b"s NO")
    finally:
        replica.signal(signal.SIGCONT)
        replica.close()


# ---- mail that still arrives on the old server

@pytest.mark.writes_source
def test_late_mail_follows_a_rename(account):
    """It goes where the mailbox is now, and nothing that was copied comes twice."""
    a = account("follows", settings={"migration": dict(MANUAL["migration"], late_watch="8s")})
    wire = a.session()
    known = a.at_source("INBOX.Sent")
    assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Old")[-1].startswith(b"r OK")
    a.source.append('"INBOX.Sent"', None, None, b"Subject: late\r\n\r\nlate\r\n")
    net.wait_until("the late one", lambda: seen(wire, "INBOX.Old")[2] == known[2] + [known[1]])
    assert b"late" in body(wire, known[1])[1]
    assert seen(wire, "INBOX.Old")[0] == known[0]
    assert select(wire, "INBOX.Sent")[-1].startswith(b"s NO")


@pytest.mark.writes_source
@pytest.mark.parametrize("moment", ["sent", "answered"])
def test_a_rename_in_the_middle_of_a_look_makes_no_second_mailbox(account, moment):
    """The look has read the lists, or the records as well, when the mailbox gets its other name."""
    a = account("overtaken", settings={"migration": dict(MANUAL["migration"], late_watch="8s")})
    wire = a.session()
    known = a.at_source("INBOX.Sent")
    a.migrator.stop()
    a.source.append('"INBOX.Sent"', None, None, b"Subject: late\r\n\r\nlate\r\n")
    point = f"script.views_read.{moment}:1:stop"
    looker = a.ferry.migrator(env={"IMAPFERRY_FAULT": point})
    net.wait_until(point, looker.is_stopped, timeout=30)
    try:
        assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Old")[-1].startswith(b"r OK")
    finally:
        looker.signal(signal.SIGCONT)
    net.wait_until("the late one", lambda: seen(wire, "INBOX.Old")[2] == known[2] + [known[1]], timeout=60)
    assert not [x for x in lines_of(wire.command(b"l", b'LIST "" *'), b"LIST") if b"Sent" in x]


@pytest.mark.writes_source
def test_late_mail_follows_one_rename_after_another(account):
    """All of the names have one record's id, and its mailbox is that of the last."""
    a = account("wanders", settings={"migration": dict(MANUAL["migration"], late_watch="8s")})
    wire = a.session()
    known = a.at_source("INBOX.Sent")
    names = ["INBOX.Sent", *(f"INBOX.{n}" for n in "dbeca")]
    for before, after in zip(names, names[1:]):
        assert wire.command(b"r", f"RENAME {before} {after}".encode())[-1].startswith(b"r OK")
    a.source.append('"INBOX.Sent"', None, None, b"Subject: late\r\n\r\nlate\r\n")
    net.wait_until("the late one", lambda: seen(wire, "INBOX.a")[2] == known[2] + [known[1]])
    for name in names[:-1]:
        assert select(wire, name)[-1].startswith(b"s NO"), name


@pytest.mark.writes_source
def test_late_mail_follows_a_rename_behind_which_the_names_are_used_again(account, old):
    """One is made anew, and one is given to another mailbox."""
    a = account("reused", settings={"migration": dict(MANUAL["migration"], late_watch="8s")}, flipped=False)
    for n, name in enumerate(("Sent", "Drafts", "Trash")):
        old.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", str(1234567890 + n), "INBOX." + name)
    a.flip("new")
    wire = a.session()
    known = {name: a.at_source(name) for name in ("INBOX.Sent", "INBOX.Drafts", "INBOX.Trash")}
    for name in ("Sent Old1", "Drafts Old2", "Trash Drafts"):
        assert wire.command(b"r", b"RENAME INBOX.%s INBOX.%s" % tuple(name.encode().split()))[-1].startswith(b"r OK")
    assert wire.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    anew = seen(wire, "INBOX.Sent")
    for name in known:
        a.source.append(f'"{name}"', None, None, f"Subject: late in {name}\r\n\r\nlate\r\n".encode())
    for name, now in (("INBOX.Sent", "INBOX.Old1"), ("INBOX.Drafts", "INBOX.Old2"), ("INBOX.Trash", "INBOX.Drafts")):
        net.wait_until(f"the late one in {now}", lambda: len(seen(wire, now)[2]) == len(known[name][2]) + 1)
        assert f"late in {name}".encode() in message(wire, seen(wire, now)[2][-1])
    assert seen(wire, "INBOX.Sent") == anew


class Unanswered:
    """The edit of a relay to an IMAP server: the answer to a RENAME is held until it may go."""

    def __init__(self):
        self.held, self.go = threading.Event(), threading.Event()

    def __call__(self, direction, data):
        if direction == DOWN and b"Rename completed" in data:
            self.held.set()
            self.go.wait(60)
        return data


@pytest.mark.writes_source
def test_a_rename_that_is_long_in_being_answered_makes_no_second_mailbox(account, new):
    """The server has done it, and the proxy does not know yet."""
    edit = Unanswered()
    relay = Relay((net.HOST, new.port["imap"]), edit=edit)
    a = account("slow", settings={"migration": dict(MANUAL["migration"], late_watch="8s")}, through=relay)
    wire = a.session()
    known = a.at_source("INBOX.Sent")
    wire.line(b"r RENAME INBOX.Sent INBOX.Old")
    assert edit.held.wait(20)
    a.source.append('"INBOX.Sent"', None, None, b"Subject: late\r\n\r\nlate\r\n")
    try:
        a.migrator.wait("event=late .*what=")
    finally:
        edit.go.set()
    assert wire.until(b"r ")[-1].startswith(b"r OK")
    assert seen(wire, "INBOX.Old") == (known[0], known[1] + 1, known[2] + [known[1]])
    assert select(wire, "INBOX.Sent")[-1].startswith(b"s NO")
    relay.close()


# ---- over a flip, and back

def handed_over(a, n):
    def there():
        failed = [m[0] for p in a.proxies for m in p.find("event=not_handed_over.*")]
        assert not failed, failed
        return sum(len(p.find(r"event=handed_over\b")) for p in a.proxies) >= n
    net.wait_until("hand-over", there)


def test_sessions_go_on_through_names_and_map(account):
    a = account("live", flipped=False)
    known = {name: a.at_source(name) for name in ("INBOX", "INBOX.Sent")}
    wire, idle, bare = a.session("INBOX.Sent"), a.session("INBOX", proxy=1), a.session()
    assert wire.separator() == "."
    idle.line(b"i IDLE")
    assert idle.read_line().startswith(b"+")
    a.flip("new")
    handed_over(a, 3)
    uid = known["INBOX.Sent"][2][-1]
    assert uids(wire) == known["INBOX.Sent"][2] and body(wire, uid)[0] == uid
    assert wire.command(b"c", b"UID COPY %d INBOX" % uid)[-1].startswith(b"c OK [COPYUID %d %d %d]" % (
        known["INBOX"][0], uid, known["INBOX"][1]))
    idle.until(b"* %d EXISTS" % (len(known["INBOX"][2]) + 1))
    idle.send(b"DONE\r\n")
    idle.until(b"i OK")
    assert uids(idle) == known["INBOX"][2] + [known["INBOX"][1]]
    for w in (wire, idle, bare):
        assert w.separator() == "."
        assert seen(w, "INBOX.Sent") == known["INBOX.Sent"]


@pytest.mark.writes_source
def test_the_way_back(account):
    """Each mailbox as it is known, or with a UIDVALIDITY that no client has seen; never another message under a known number."""
    a = account("back")
    bodies = {}

    def note(wire, name):
        validity, _, found = seen(wire, name)
        for uid in found:
            text = message(wire, uid)
            assert bodies.setdefault((name, validity, uid), text) == text, (name, validity, uid)
        return validity
    wire = a.session()
    before = {name: note(wire, name) for name in a.names}
    assert wire.command(b"a", b"APPEND INBOX {27+}\r\nSubject: on the new one\r\n\r\n")[-1].startswith(b"a OK")
    wire.command(b"x", b"SELECT INBOX")
    gone = uids(wire)[0]
    wire.command(b"y", b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % gone)
    wire.command(b"z", b"UID EXPUNGE %d" % gone)
    assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Some")[-1].startswith(b"r OK")
    assert wire.command(b"r", b"RENAME INBOX.Some INBOX.Old")[-1].startswith(b"r OK")
    assert wire.command(b"d", b"DELETE INBOX.Drafts")[-1].startswith(b"d OK")
    assert wire.command(b"e", b"CREATE INBOX.Drafts")[-1].startswith(b"e OK")
    now = {name: note(wire, name) for name in ("INBOX", "INBOX.Old", "INBOX.Drafts")}
    assert now["INBOX.Drafts"] > before["INBOX.Drafts"]
    live = a.session("INBOX", proxy=1)
    a.flip("old")
    live.line(b"n NOOP")
    last = live.read_line()
    while last and not last.startswith((b"n ", b"* BYE")):
        last = live.read_line()
    if last and last.startswith(b"n OK"):  # it has gone back too, under the numbers that it knew
        for uid in uids(live):
            assert message(live, uid) == bodies[("INBOX", now["INBOX"], uid)], uid
    wire = a.session()
    for name in ("INBOX", "INBOX.Old", "INBOX.Drafts"):
        validity = note(wire, name)
        assert validity >= now[name], name
    assert b"on the new one" in b"".join(text for (name, _, _), text in bodies.items() if name == "INBOX")
    for name in ("INBOX.Sent", "INBOX.Some"):
        left = seen_or_none(wire, name)
        assert left is None or not left[2], "its messages are in the renamed one"
    assert wire.command(b"r", b"RENAME INBOX.Old INBOX.Older")[-1].startswith(b"r OK")
    assert note(wire, "INBOX.Older") >= now["INBOX.Old"]


@pytest.mark.writes_source
def test_names_that_were_given_up_go_over_too(account):
    """Back and forth: a mailbox made anew is shown by a UIDVALIDITY greater than any that was shown under its name, wherever the
    account was then."""
    a = account("given-up")
    highest = {}

    def note(wire, name):
        shown = seen(wire, name)[0]
        assert shown >= highest.get(name, 0), (name, shown, highest)
        highest[name] = shown
        wire.command(b"x", b"SELECT INBOX")

    def anew(wire, name):
        made = wire.command(b"c", b"CREATE %s" % name.encode())[-1]
        assert made.startswith((b"c OK", b"c NO [ALREADYEXISTS]")), made  # the migrator deletes none that it has not made
        before = highest[name]
        note(wire, name)
        assert highest[name] > before, (name, highest)
    wire = a.session()
    note(wire, "INBOX.Sent")
    assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Old")[-1].startswith(b"r OK")
    assert wire.command(b"c", b"CREATE INBOX.Sent")[-1].startswith(b"c OK")
    for name, real in (("Sent", 4000000000), ("Drafts", 3900000000), ("Old", 3800000000)):
        a.new.doveadm("mailbox", "update", "-u", a.user, "--uid-validity", str(real), name)
        note(wire, "INBOX." + name)
        assert highest["INBOX." + name] == real
    for name in (b"INBOX.Sent", b"INBOX.Drafts"):
        assert wire.command(b"d", b"DELETE " + name)[-1].startswith(b"d OK")
    for leg, to in enumerate(("old", "new", "old")):
        if to == "new":
            assert a.ferry.ctl("release", a.user)[0] == 0
            assert a.ferry.ctl("migrate", a.user)[0] == 0
            a.ferry.wait_state(a.user, "ready")
        a.flip(to)
        wire = a.session()
        anew(wire, "INBOX.Drafts")
        anew(wire, "INBOX.Sent")
        note(wire, "INBOX.Old")
        assert wire.command(b"d", b"DELETE INBOX.Drafts")[-1].startswith(b"d OK")
        assert wire.command(b"r", b"RENAME INBOX.Sent INBOX.Sent-%d" % leg)[-1].startswith(b"r OK")
