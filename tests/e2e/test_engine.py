"""The copy of one mailbox on servers that offer less, change their numbers, or lie: what arrives is the same, once, in
order, or the reason says what stands in the way."""
import re
import threading

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import compare, mail
from harness.ferry import backend
from harness.scene import fill, new_user, read, small

MANUAL = {"migration": {"cutover": "manual"}}


def without(*names):
    return " ".join(c for c in CAPABILITIES.split() if c not in names)


def same(old, new, user, count):
    found = [d for d in compare.compare(read(old, user), read(new, user), count) if d.kind != "special-use"]
    assert not found, "\n".join(map(str, found))


def flip(ferry, user, *states):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    return ferry.wait_state(user, *(states or ("flipped",)))


def sent(target, user):
    return sum(box.appended for box in target.account(user).values())


def bodies(box):
    return [m.body for m in box.messages]


@pytest.fixture
def target():
    with FakeImap(name="new") as server:
        yield server


@pytest.fixture
def source():
    with FakeImap(name="old") as server:
        yield server


@pytest.fixture
def fakes(make_ferry, source, target):
    """A ferry between two fakes that waits before its cut-over."""
    return make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, MANUAL)


def begin(ferry, user, *states):
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    return ferry.wait_state(user, *(states or ("ready",)))


@pytest.mark.parametrize("lacks", ["MULTIAPPEND", "LITERAL+", "UIDPLUS", "MULTIAPPEND UIDPLUS",
                                   "MULTIAPPEND LITERAL+ UIDPLUS", "LITERAL+ UIDPLUS"])
def test_target_that_offers_less(make_ferry, old, authority, lacks):
    user = new_user()
    fill(old, user, small(messages=60, big=(700_000,)))
    with FakeImap(name="new", capabilities=without(*lacks.split())) as target:
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")})
        begin(ferry, user, "flipped")
        same(old, target, user, 61)
        assert sent(target, user) == 61


def test_without_uidplus_nothing_is_removed_and_that_is_named(make_ferry, source):
    user = new_user()
    for i in range(5):
        source.add(user, "INBOX", b"Subject: %d\r\n\r\n" % i)
    with FakeImap(name="new", capabilities=without("UIDPLUS")) as target:
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, MANUAL)
        begin(ferry, user)
        with source.lock:
            del source.account(user)[b"INBOX"].messages[2]
        route = flip(ferry, user, "blocked")
        assert re.match(r'cannot: mailbox "INBOX": UID 3: is gone, and its copy \(target UID 3\) has to be removed, .*UIDPLUS', route["reason"])
        assert len(target.account(user)[b"INBOX"].messages) == 5


@pytest.mark.parametrize("side", ["source", "target"])
def test_changed_uidvalidity_is_repaired_by_matching(fakes, source, target, side):
    """The messages are the same, their numbers are not: they are found by their bytes, and none is sent again."""
    user = new_user()
    for i in range(30):
        source.add(user, "INBOX", b"Subject: %d\r\n\r\n" % (i // 2))  # pairs of equal ones
    begin(fakes, user)
    server = source if side == "source" else target
    with server.lock:
        box = server.account(user)[b"INBOX"]
        box.uidvalidity += 1000
        for number, message in enumerate(box.messages):
            message.uid = 500 + 3 * number
        box.uidnext = 1000
    flip(fakes, user)
    same(source, target, user, 30)
    assert sent(target, user) == 30


def test_lost_ledger_doubles_nothing(fakes, redis, source, target):
    user = new_user()
    for i in range(30):
        source.add(user, "INBOX", b"Subject: %d\r\n\r\n" % i)
    begin(fakes, user)
    fakes.stop_all()
    keys = redis.client().keys("imapferry:ledger:*")
    assert keys
    redis.client().delete(*keys)
    fakes.migrator()
    flip(fakes, user)
    same(source, target, user, 30)
    assert sent(target, user) == 30


def test_foreign_messages_before_and_behind_are_kept(fakes, source, target):
    """Mail that was delivered to the target itself is kept, with its flags, and counts as nothing of ours. What lies before
    the copies is moved behind them."""
    user = new_user()
    for i in range(5):
        source.add(user, "INBOX", b"Subject: %d\r\n\r\n" % i)
    target.account(user)[b"INBOX"].uidvalidity += 50000  # equal ones with other UIDs are refused
    target.add(user, "INBOX", b"Subject: first\r\n\r\n", flags=("\\Deleted",))
    begin(fakes, user)
    target.add(user, "INBOX", b"Subject: last\r\n\r\n")
    flip(fakes, user)
    wanted = bodies(source.account(user)[b"INBOX"]) + [b"Subject: last\r\n\r\n", b"Subject: first\r\n\r\n"]
    assert bodies(target.account(user)[b"INBOX"]) == wanted
    assert target.account(user)[b"INBOX"].messages[-1].flags == {b"\\Deleted"}


def test_message_over_the_limit_is_named_before_it_is_read(make_ferry, source):
    user = new_user()
    for size in (10, 5000, 10):
        source.add(user, "INBOX", b"Subject: x\r\n\r\n" + b"y" * size)
    with FakeImap(name="new", capabilities=CAPABILITIES + " APPENDLIMIT=4000") as target:
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        route = begin(ferry, user, "blocked")
        assert re.match(r'cannot: mailbox "INBOX": UID 2: 5014 bytes are more than the target takes \(4000\)',
                        route["reason"]), route["reason"]
        assert not [c for c in source.commands("FETCH") if b"BODY.PEEK[]" in c and b" 1,3 " not in c]


def test_date_that_is_none_is_named(make_ferry, source, target):
    """It is never made up."""
    user = new_user()
    source.add(user, "INBOX", b"Subject: good\r\n\r\n")
    source.add(user, "INBOX", b"Subject: bad\r\n\r\n", date=b"31-Feb-2020 12:00:00 +0000")
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    route = begin(ferry, user, "blocked")
    assert route["reason"] == 'cannot: mailbox "INBOX": UID 2: its INTERNALDATE is no date'
    assert bodies(target.account(user)[b"INBOX"]) == [b"Subject: good\r\n\r\n"]


def test_dates_of_all_kinds(fakes, source, target):
    user = new_user()
    dates = [b" 1-Jan-2020 00:00:00 +0000", b"01-Jan-2020 00:00:00 +0530", b"30-Dec-1899 00:00:00 -0330",
             b"31-Dec-1969 23:59:59 +0000", b"19-Jan-2038 03:14:08 +0000", b"31-Dec-9999 23:59:59 +0000"]
    for date in dates:
        source.add(user, "INBOX", b"Subject: x\r\n\r\n", date=date)
    begin(fakes, user)
    flip(fakes, user)
    got = [m.date.replace(b" ", b"0", 1) if m.date.startswith(b" ") else m.date for m in target.account(user)[b"INBOX"].messages]
    assert got == [d.replace(b" ", b"0", 1) if d.startswith(b" ") else d for d in dates]


@pytest.mark.parametrize("flag", ["\\JUNK", "x]y"])
def test_flag_that_no_server_keeps(make_ferry, source, target, flag):
    """The message is copied without it, and the loss is named: an APPEND is not refused for it."""
    user = new_user()
    source.add(user, "INBOX", b"Subject: a\r\n\r\n", flags=("\\Seen", "fine", flag))
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    route = begin(ferry, user, "blocked")
    assert route["reason"] == f'cannot: mailbox "INBOX": UID 1: the target can\'t keep its flags ({flag})'
    assert target.account(user)[b"INBOX"].messages[0].flags == {b"\\Seen", b"fine"}


def test_keyword_in_another_case_is_the_same(fakes, source, target):
    user = new_user()
    source.add(user, "INBOX", b"Subject: a\r\n\r\n", flags=("\\Seen", "$MDNSent"))
    begin(fakes, user)
    with target.lock:
        target.account(user)[b"INBOX"].messages[0].flags = {b"\\seen", b"$MdnSent"}
    flip(fakes, user)
    assert not target.commands("STORE")


@pytest.mark.parametrize("at", [1, 7, 12])
def test_refused_message_keeps_the_order(make_ferry, source, target, at):
    """The others go; when it is taken at last, all are in order."""
    user = new_user()
    for i in range(12):
        source.add(user, "INBOX", b"Subject: %d\r\n\r\n" % i)
    target.account(user)[b"INBOX"].uidvalidity += 50000  # equal ones with other UIDs are refused
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    target.misbehave("refuse_text", text=b"Subject: %d\r" % (at - 1))
    route = begin(ferry, user, "blocked")
    assert re.match(rf'cannot: mailbox "INBOX": UID {at}: the target refuses it: ', route["reason"]), route["reason"]
    all_of_them = bodies(source.account(user)[b"INBOX"])
    assert bodies(target.account(user)[b"INBOX"]) == all_of_them[:at - 1] + all_of_them[at:]
    target.behave()
    assert ferry.ctl("retry", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert bodies(target.account(user)[b"INBOX"]) == bodies(source.account(user)[b"INBOX"])


def test_empty_message_is_named(make_ferry, source, target):
    user = new_user()
    for text in (b"Subject: a\r\n\r\n", b"", b"Subject: b\r\n\r\n"):
        source.add(user, "INBOX", text)
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    route = begin(ferry, user, "blocked")
    assert route["reason"] == 'cannot: mailbox "INBOX": UID 2: the source gives it without a byte'
    assert bodies(target.account(user)[b"INBOX"]) == [b"Subject: a\r\n\r\n", b"Subject: b\r\n\r\n"]


@pytest.mark.writes_source
def test_changes_while_it_copies(make_ferry, backends, old, new):
    """Mail comes, goes, moves and is flagged through the proxy until the cut-over: what the client was told OK for is
    on the new server, once."""
    user = new_user("busy")
    account = fill(old, user, small(messages=300))
    ferry = make_ferry(backends)
    proxy = ferry.proxy()
    client = ferry.login(proxy, user, "secret")
    client.select("INBOX")
    done = {"appended": 0, "expunged": 0}
    began, enough = threading.Event(), threading.Event()

    def work():
        number = 0
        try:
            while not enough.is_set():
                number += 1
                if client.append("INBOX", "(\\Seen busy)", None, b"Subject: busy %d\r\n\r\n" % number)[0] == "OK":
                    done["appended"] += 1
                    began.set()
                client.store(str(1 + number % 5), "+FLAGS.SILENT", "(\\Flagged)")
                client.uid("SEARCH", "ALL")
                if number % 3 == 0 and client.uid("STORE", "*", "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK":
                    answer = client.expunge()
                    if answer[0] == "OK":
                        done["expunged"] += sum(1 for x in answer[1] if x)
        except (client.abort, OSError):
            began.set()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert began.wait(20)
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    enough.set()
    worker.join(20)
    assert not worker.is_alive() and done["appended"] > 0
    ours = mail.connect(new, user, "secret")
    count = int(ours.select("INBOX", readonly=True)[1][0])
    there = sum(1 for m in account.messages if m.mailbox == ("INBOX",))
    assert count == there + done["appended"] - done["expunged"]
    subjects = [x[1] for x in ours.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(x, tuple)]
    busy = [x for x in subjects if b"busy" in x]
    ours.logout()
    assert len(busy) == len(set(busy)) <= done["appended"]
