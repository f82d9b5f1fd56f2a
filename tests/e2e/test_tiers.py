"""Targets that are told the source's numbers (tier T0): after the flip a SELECT on the target itself shows the source's
UIDVALIDITY, UIDs and UIDNEXT, and MODSEQs above those of the source. Where the channel by which they are told fails or
lies, the account moves all the same, with the next tier and the reason."""
import contextlib
import http.server
import json
import re
import threading
import time

import pytest

from harness import mail, net
from harness.courier import Courier
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.moves import copy, deliver, expunge, flag, flip, highest, move, record, start
from harness.redisd import Redis
from harness.relay import UP, Relay
from harness.scene import connect, fill, new_user, small

pytestmark = pytest.mark.writes_source
COUNT = 30


# ---- servers

@pytest.fixture(scope="module", name="told")
def told_server(cert):
    """A new Dovecot that can be told its numbers, by HTTPS."""
    with Dovecot("told", separator="/", mail="mdbox", cert=cert, doveadm=True) as server:
        yield server


@pytest.fixture(scope="module", name="cyrus")
def cyrus_server():
    with Cyrus("cyrus") as server:
        yield server


@pytest.fixture(name="sides")
def told_sides(old, told, authority):
    return {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **told.doveadm_options())}


# ---- what servers show

def numbers(server, user, name="INBOX"):
    """UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ (0: none), and {UID: MODSEQ}."""
    m = mail.connect(server, user, "secret")
    condstore = b"CONDSTORE" in m.capability()[1][0]
    try:
        what = "(UIDVALIDITY UIDNEXT HIGHESTMODSEQ)" if condstore else "(UIDVALIDITY UIDNEXT)"
        status = m.status(mail.quoted(name), what)[1][0].decode()
        value = {k: int(v) for k, v in re.findall(r"(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)", status)}
        assert m.select(mail.quoted(name), readonly=True)[0] == "OK"
        rows = [r.decode() for r in m.uid("FETCH", "1:*", "(UID MODSEQ)" if condstore else "(UID)")[1] if r]
        uids = {int(re.search(r"UID (\d+)", r)[1]): int((re.search(r"MODSEQ \((\d+)\)", r) or [0, 0])[1]) for r in rows}
        return value["UIDVALIDITY"], value["UIDNEXT"], value.get("HIGHESTMODSEQ", 0), uids
    finally:
        m.logout()


def names(server, user):
    m = mail.connect(server, user, "secret")
    try:
        rows = [re.match(rb'\(([^)]*)\) "." (.*)', row) for row in m.list()[1]]
        return [row[2].decode().strip('"') for row in rows if b"\\Noselect" not in row[1]]
    finally:
        m.logout()


def spelled(old, new, name):
    """The name on the other server."""
    bare = name if name == "INBOX" else name.removeprefix(old.prefix)
    return bare if bare == "INBOX" else new.prefix + bare.replace(old.separator, new.separator)


def assert_t0(old, new, user, name="INBOX"):
    was, now = numbers(old, user, name), numbers(new, user, spelled(old, new, name))
    assert now[:2] == was[:2], (name, was, now)
    assert list(now[3]) == list(was[3]), (name, was, now)
    assert now[2] >= was[2] and all(m > was[2] for m in now[3].values()), (name, was, now)


# ---- what users do

def number_it_itself(sides):
    """To be called behind make(): both servers might give one UIDVALIDITY by chance, which is T3."""
    sides["new"]["numbers"] = "none"
    net.wait_next_second()


def make(old, user, messages=COUNT):
    """With a gap after each second message, at the start and at the end, in each mailbox."""
    fill(old, user, small(messages=messages))
    for name in names(old, user):
        expunge(old, user, lambda i: i % 3 == 0, name)


# ---- what staff do

def tier(ferry, user, name="INBOX"):
    return re.search(r" tier=(T\d)", record(ferry, user, name))[1]


def reported(ferry, user, name="INBOX"):
    """(tier, why) in the report."""
    boxes = ferry.ctl("user", user, "--report")[1]["report"]["mailboxes"]
    box = next(b for b in boxes if b["name"] == name)
    return box["tier"], box.get("tier_why", "")


def all_t0(ferry, old, new, user):
    boxes = names(old, user)
    for name in boxes:
        assert tier(ferry, user, name) == "T0", (record(ferry, user, name), reported(ferry, user, name))
        assert_t0(old, new, user, name)
        assert tier(ferry, user, name) == "T0", record(ferry, user, name)
    assert ferry.ctl("user", user)[1]["tiers"] == {"T0": len(boxes)}


# ---- real servers of unlike kind

def test_dovecot_to_dovecot(make_ferry, sides, old, told):
    user = new_user("told")
    make(old, user)
    ferry = start(make_ferry, sides)
    plan = ferry.ctl("plan", user)[1]["mailboxes"]
    assert {m["tier"] for m in plan} == {"T0"}, plan
    copy(ferry, user)
    expunge(old, user, lambda i: i % 2)
    deliver(old, user, 1, 2, 3)
    expunge(old, user, lambda i: i > 8)
    flip(ferry, user)
    all_t0(ferry, old, told, user)
    assert reported(ferry, user) == ("T0", "")
    assert ferry.route(user)["view"].startswith("1:"), "names differ"
    assert record(ferry, user, "") == "1 client=.,INBOX. backend=/, avoid="


@pytest.mark.parametrize("first", [1 << 31, 4000000000])
def test_high_uids(make_ferry, sides, old, told, first):
    """And a UIDVALIDITY that lies far in the future: then the proxy has to remember it."""
    user = new_user("high")
    numbers(old, user)  # makes it
    old.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(first + 5), "INBOX")
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", str(first), "INBOX")
    deliver(old, user, 2, 3)
    expunge(old, user, lambda i: i == 1)
    ferry = start(make_ferry, sides)
    move(ferry, user)
    assert list(numbers(told, user)[3]) == [1, first + 1]
    all_t0(ferry, old, told, user)


def test_courier_to_dovecot(make_ferry, told, authority):
    with Courier("old") as old:
        user = new_user("courier")
        make(old, user)
        sides = {"old": backend(old, "imap", master=False),
                 "new": backend(told, ca=authority.ca, **told.doveadm_options())}
        ferry = make_ferry(sides, {"migration": {"cutover": "manual"}, "migrator": {"job_lease": "10s"}})
        ferry.seal_keys()
        ferry.migrator()
        ferry.login(ferry.proxy(), user, "secret").logout()
        ferry.wait_state(user, "ready", timeout=60)
        flip(ferry, user)
        all_t0(ferry, old, told, user)


SPELLINGS = {"slash": {"separator": "/"}, "dot": {"separator": "."}, "inbox-dot": {"separator": ".", "prefix": "INBOX."},
             "inbox-slash": {"separator": "/", "prefix": "INBOX/"}}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dovecot_to_cyrus(make_ferry, old, authority, spelling):
    """What SYNCGET tells of rights and annotations is there afterwards, too."""
    with Cyrus("new", **SPELLINGS[spelling]) as new:
        user = new_user("ann")  # with a dot, which Cyrus spells "^" inside, and can't have where dots separate
        if new.separator == ".":
            user = user.replace(".", "-", 1)
        make(old, user)
        m = mail.connect(new, user, "secret")
        sent = mail.quoted(new.prefix + "Sent")
        m.create(sent)
        m.setacl(sent, "frank", "lr")
        m.xatom("SETMETADATA", sent, '(/private/comment "it \\"is\\" (mine)" /private/specialuse "\\\\Sent")')
        ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(new, "imap")})
        copy(ferry, user)
        deliver(old, user, 1, 2, 3)
        expunge(old, user, lambda i: i > 5)
        flip(ferry, user)
        all_t0(ferry, old, new, user)
        m.noop()
        assert b"frank lr" in m.getacl(sent)[1][0]
        m.xatom("GETMETADATA", sent, "(/private/comment)")
        told = m.untagged_responses.pop("METADATA")
        assert b'it "is" (mine)' in b"".join(x if isinstance(x, bytes) else b"".join(x) for x in told), told
        assert any(b"\\Sent" in row and b"Sent" in row for row in m.list()[1])
        m.logout()


def test_cyrus_to_dovecot(make_ferry, cyrus, told, authority):
    user = new_user("cyrus")
    make(cyrus, user)
    ferry = start(make_ferry, {"old": backend(cyrus, "imap"),
                               "new": backend(told, ca=authority.ca, **told.doveadm_options())})
    move(ferry, user)
    all_t0(ferry, cyrus, told, user)


def test_high_uids_on_cyrus(make_ferry, old, cyrus, authority):
    """It answers no set in which UIDs of 2^31 and above stand beside others, and says OK."""
    user = new_user("high")
    deliver(old, user, 1, 2, 3, 4)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "4000000000", "INBOX")
    deliver(old, user, 5, 6, 7, 8)
    expunge(old, user, "2,4000000001")
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(cyrus, "imap")})
    copy(ferry, user)
    flag(old, user, "1:*")
    expunge(old, user, "3,4000000002")
    flip(ferry, user)
    assert list(numbers(cyrus, user)[3]) == [1, 4, 4000000000, 4000000003]
    all_t0(ferry, old, cyrus, user)
    with mail.connect(cyrus, user, "secret") as m:
        assert m.select("INBOX")[0] == "OK"
        found = b"".join(m.uid("FETCH", "1:*", "(FLAGS)")[1])
        assert found.count(b"\\Flagged") == 4, found


# ---- a channel that fails or lies

class Channel:
    """Stands in front of doveadm, or alone: does what `how` says with each POST, and passes on what it does not answer."""

    def __init__(self, server, how, passes=0):
        outer = self
        self.how, self.passes, self.asked = how, passes, []
        self.over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                if outer.passes:
                    outer.passes -= 1
                    outer.forward(self, server, body)
                else:
                    outer.how(outer, self, body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/doveadm/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def forward(request, server, body):
        """Not by HTTP: what is asked for is done."""
        what = body[0][1]
        options = {"uidValidity": "--uid-validity", "minNextUid": "--min-next-uid", "minHighestModseq": "--min-highest-modseq"}
        args = [x for k, o in options.items() if k in what for x in (o, str(what[k]))]
        server.doveadm("mailbox", "update", "-u", what["user"], *args, what["mailbox"])
        Channel.answer(request, [["doveadmResponse", [], body[0][2]]])

    @staticmethod
    def answer(request, what, status=200):
        text = (what if isinstance(what, str) else json.dumps(what)).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def lies(channel, request, body):
    channel.answer(request, [["doveadmResponse", [], body[0][2]]])


def refuses(channel, request, body):
    channel.answer(request, [["error", {"type": "exitCode", "exitCode": 68}, body[0][2]]])


def too_old(channel, request, body):
    channel.answer(request, [["error", {"type": "unknownMethod", "exitCode": 0}, body[0][2]]])


def babbles(channel, request, _):
    channel.answer(request, "<html>It works!</html>")


def shouts(channel, request, _):
    channel.answer(request, "x" * 100000)


def is_silent(channel, _request, _):
    channel.over.wait(30)


def forbids(channel, request, _):
    channel.answer(request, "no", 401)


@pytest.mark.parametrize("how,why", [
    (lies, r"doveadm: says that it is done, but UIDVALIDITY is \d+"), (refuses, "doveadm: exit status 68, no such mailbox"),
    (too_old, "doveadm: unknownMethod"), (babbles, "doveadm: answers what is not understood"),
    (shouts, "doveadm: answered more than can be read"), (is_silent, "doveadm: took too long"),
    (forbids, "doveadm: was answered with status 401: no")])
def test_channel_that_fails(make_ferry, old, told, authority, how, why):
    """The account moves with the next tier, and staff are told why."""
    user = new_user("fails")
    make(old, user, 8)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                  migrator={"command_timeout": "2s", "retry_min": "300ms", "retry_max": "1s"})
    try:
        move(ferry, user)
    finally:
        channel.close()
    got, said = reported(ferry, user)
    assert got in ("T1", "T2") and re.match(why, said), (got, said)
    assert numbers(told, user)[0] != numbers(old, user)[0]
    if how not in (lies, refuses):
        assert len(channel.asked) <= (2 + len(names(old, user))) * (4 if how is is_silent else 1), "it is not asked for each mailbox"


def test_channel_that_is_away_for_a_while(make_ferry, old, told, authority):
    """It costs an attempt, and not the numbers; also of an account that has failed often, of something else."""
    user = new_user("while")
    make(old, user, 8)
    there = threading.Event()
    channel = Channel(told, lambda channel, request, body: channel.forward(request, told, body) if there.is_set()
                      else channel.answer(request, "restarting", 503))
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                  migrator={"retry_min": "300ms", "retry_max": "1s"})
    try:
        assert ferry.ctl("pause")[0] == 0 and ferry.ctl("migrate", user, "--now")[0] == 0
        ferry.redis.client().hset(f"imapferry:route:{user}", mapping={"attempts": 7, "failed": "unreachable: old: no answer"})
        assert ferry.ctl("resume")[0] == 0
        ferry.daemons[-1].wait("event=job_given_up .*status 503")
        there.set()
        ferry.wait_state(user, "flipped", timeout=60)
    finally:
        channel.close()
    all_t0(ferry, old, told, user)


def test_channel_that_is_not_there(make_ferry, old, told, authority):
    user = new_user("away")
    make(old, user, 8)
    options = dict(told.doveadm_options(), doveadm_url=f"http://127.0.0.1:{net.free_port()}/doveadm/v1")
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)})
    move(ferry, user)
    assert "doveadm: failed: Failed to connect" in reported(ferry, user)[1]


def test_wrong_key(make_ferry, sides, old, told):
    user = new_user("key")
    make(old, user, 8)
    with open(sides["new"]["doveadm_key_file"], "w", encoding="ascii") as f:
        f.write("another\n")
    ferry = start(make_ferry, sides)
    move(ferry, user)
    told.doveadm_options()
    assert "doveadm: was answered with status 401" in reported(ferry, user)[1]
    assert not [x for d in ferry.daemons for x in d.find("another")], "the key is in the log"


def test_numbers_none(make_ferry, sides, old, told):
    user = new_user("none")
    make(old, user, 8)
    number_it_itself(sides)
    ferry = start(make_ferry, sides)
    assert {m["tier_why"] for m in ferry.ctl("plan", user)[1]["mailboxes"]} == {"numbers = none"}
    move(ferry, user)
    assert reported(ferry, user)[1].startswith("numbers = none")


def test_jump_that_fails_half_way(make_ferry, old, told, authority):
    """UIDVALIDITY is told, UIDNEXT is not taken: the mailbox gets a UIDVALIDITY greater than both."""
    user = new_user("half")
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "5000", "INBOX")
    deliver(old, user, 2, 3)

    def no_jump(channel, request, body):
        (refuses if "minNextUid" in body[0][1] else lambda *_: channel.forward(request, told, body))(channel, request, body)
    channel = Channel(told, no_jump)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)})
    move(ferry, user)
    channel.close()
    was, now = numbers(old, user), numbers(told, user)
    assert now[0] > was[0] and len(now[3]) == 3
    assert reported(ferry, user)[0] == "T2" and "exit status 68" in reported(ferry, user)[1], reported(ferry, user)


def test_channel_that_goes_away_before_a_jump(make_ferry, old, told, authority):
    """UIDVALIDITY is told, and then nobody answers: that costs attempts, and not the numbers."""
    user = new_user("away")
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "5000", "INBOX")
    deliver(old, user, 2, 3)
    there, gone = threading.Event(), threading.Event()

    def how(channel, request, body):
        if "minNextUid" in body[0][1]:
            gone.set()
        if gone.is_set() and not there.is_set():
            channel.answer(request, "restarting", 503)
        else:
            channel.forward(request, told, body)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                  migrator={"retry_min": "300ms", "retry_max": "1s"})
    try:
        assert ferry.ctl("migrate", user, "--now")[0] == 0
        ferry.daemons[-1].wait("event=job_given_up .*unreachable.*next UID can't be set to 5000.*status 503")
        there.set()
        ferry.wait_state(user, "flipped", timeout=60)
    finally:
        channel.close()
    all_t0(ferry, old, told, user)


# ---- mailboxes that are not unused, and what happens between the copy and the flip

@pytest.mark.parametrize("breaks", [False, True], ids=["reads", "breaks"])
def test_source_is_read_while_the_target_is_told(make_ferry, old, told, authority, breaks):
    """On the only lane: its first bodies are asked for before the target has answered. Should the source break then, what it is
    told does no harm."""
    user, bodies, in_vain = new_user("meanwhile"), threading.Event(), []
    make(old, user)

    def edit(direction, data):
        if direction == UP and b"BODY.PEEK[]" in data:
            bodies.set()
        return data

    def how(channel, request, body):
        first = len(channel.asked) == 1
        if first and not bodies.wait(20):
            in_vain.append(body)
        if first and breaks:
            source.reset()
        Channel.forward(request, told, body)
    source, channel = Relay(("127.0.0.1", old.port["imap"]), edit), Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(source, "imap", max_connections=1),
                               "new": backend(told, ca=authority.ca, max_connections=1, **options)})
    try:
        move(ferry, user)
    finally:
        channel.close()
        source.close()
    assert not in_vain, "the source stood still"
    all_t0(ferry, old, told, user)


def test_target_is_told_what_the_replicas_have(make_ferry, old, told, authority):
    """Of the two entries that stand in the ledger before, neither may be forgotten by a failover, and they are kept some time after
    the master has them."""
    user, kept = new_user("kept"), []
    make(old, user)

    def how(channel, request, body):
        client = replica.client()
        entries = [x for key in client.keys("imapferry:ledger:*") for x in client.lrange(key, 0, -1)]
        kept.append({word for word in ("mailbox", "renewal") if any(f" {word} " in x for x in entries)})
        channel.forward(request, told, body)
    store = Redis(port=net.free_port())
    road, channel = Relay(store.address), Channel(told, how)
    replica = Redis(options=("replicaof", f"127.0.0.1 {road.number}"))
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    try:
        net.wait_until("the replica", lambda: store.client().info("replication").get("slave0", {}).get("state") == "online")
        road.delay(0.15)
        ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                      store=store)
        move(ferry, user)
        all_t0(ferry, old, told, user)
        assert kept == [{"mailbox", "renewal"}] * len(kept) and kept
        ferry.close()
    finally:
        channel.close()
        replica.close()
        road.close()
        store.close()


def test_mailbox_with_mail_of_its_own(make_ferry, sides, old, told):
    """Behind the copies, its UIDs are new ones to clients; before them there is no map."""
    user = new_user("own")
    make(old, user, 8)
    deliver(told, user, 100)
    ferry = start(make_ferry, sides, migration={"foreign_max": 0})
    move(ferry, user)
    got, why = reported(ferry, user)
    assert got == "T3" and "a message of its own" in why, (got, why)
    row = record(ferry, user)
    source, highest = int(re.search(r"uidvalidity=(\d+)", row)[1]), int(re.search(r"highest=(\d+)", row)[1])
    assert highest > source, row


def test_attempt_that_did_not_come_to_its_flip(make_ferry, sides, old, told):
    """Behind it clients would have seen another UIDVALIDITY. None has, so that the next one may keep the old one."""
    user = new_user("attempt")
    make(old, user, 8)
    deliver(told, user, 100)
    source = numbers(old, user)[0]
    ferry = make_ferry(sides, {"migration": {"foreign_max": 0, "trigger": "manual"}})
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": "script.flip.sent:1:kill"})
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    net.wait_until("death", lambda: migrator.process.poll() is not None, timeout=60)
    migrator.kill()
    row = record(ferry, user)
    assert " tier=T3 " in row and f",{source} " in row, row
    expunge(told, user, lambda i: i == 0)
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    row = record(ferry, user)
    assert " tier=T2 " in row and f" highest={source} " in row, row


def test_mailbox_that_was_used(make_ferry, sides, old, told):
    user = new_user("used")
    make(old, user, 8)
    deliver(told, user, 100)
    expunge(told, user, lambda i: True)
    ferry = start(make_ferry, sides)
    move(ferry, user)
    assert reported(ferry, user) == ("T2", "the target's mailbox has been used before")


def test_delivery_that_was_faster(make_ferry, sides, old, told):
    """On the target, while the account is on the source still: no client may take one message for the other."""
    user = new_user("faster")
    make(old, user, 8)
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    assert_t0(old, told, user)
    deliver(told, user, 100)
    deliver(old, user, 101)
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    was, now = numbers(old, user), numbers(told, user)
    assert now[0] > was[0] and len(now[3]) == len(was[3]) + 1
    assert tier(ferry, user) in ("T2", "T3")
    assert [tier(ferry, user, n) for n in names(old, user) if n != "INBOX"].count("T0") == len(names(old, user)) - 1


@pytest.mark.parametrize("point", ["sent", "answered"])
def test_killed_when_another_uidvalidity_is_told(make_ferry, sides, old, told, point):
    """Before the target has heard of it, and behind that, when nobody has noted it: what was copied is still known, so the copy
    of a message that has gone meanwhile goes too, and nothing comes twice."""
    user = new_user("killed")
    make(old, user, 8)
    deliver(old, user, 1, 2, 3)
    ferry = start(make_ferry, sides, migrator={"command_timeout": "4s"})
    copy(ferry, user)
    assert_t0(old, told, user)
    was = numbers(told, user)
    ferry.daemons[-1].stop()
    dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": f"channel.doveadm.{point}:1:kill"})
    deliver(told, user, 100)  # past everything
    deliver(old, user, 101)  # has its UID, and goes: all that was copied still has its own
    expunge(old, user, lambda i: i == len(was[3]))
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    dead.process.wait(60)
    dead.kill()
    assert (numbers(told, user)[0] == was[0]) == (point == "sent")
    expunge(old, user, lambda i: i == 0)
    migrator = ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=90)
    source, target = numbers(old, user), numbers(told, user)
    assert len(target[3]) == len(source[3]) + 1, (source, target)
    assert target[0] > was[0]
    assert not migrator.find("event=uidvalidity_changed.*")


def test_source_mailbox_made_anew(make_ferry, sides, old, told):
    """Clients have seen the UIDVALIDITY that the target was given, with other UIDs."""
    user = new_user("anew")
    make(old, user, 8)
    m = mail.connect(old, user, "secret")
    m.create("INBOX.Box")
    deliver(old, user, 1, 2, 3, name="INBOX.Box")
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    was = numbers(told, user, "Box")[0]
    assert was == numbers(old, user, "INBOX.Box")[0]
    net.wait_next_second()
    m.delete("INBOX.Box")
    m.create("INBOX.Box")
    m.logout()
    deliver(old, user, 4, name="INBOX.Box")
    assert numbers(old, user, "INBOX.Box")[0] != was
    flip(ferry, user)
    assert numbers(told, user, "Box")[0] > was
    assert tier(ferry, user, "INBOX.Box") != "T0"
    assert_t0(old, told, user)


def test_source_mailbox_renamed(make_ferry, sides, old, told):
    user = new_user("renamed")
    make(old, user, 8)
    m = mail.connect(old, user, "secret")
    m.create("INBOX.Box")
    deliver(old, user, 1, 2, 3, name="INBOX.Box")
    ferry = start(make_ferry, sides)
    copy(ferry, user)
    m.rename("INBOX.Box", "INBOX.Other")
    m.logout()
    flip(ferry, user)
    all_t0(ferry, old, told, user)


# ---- clients

def test_selected_session_goes_over(make_ferry, old, authority, cert):
    """Nothing is made equal by hand, and nobody is disconnected."""
    user = new_user("live")
    with Dovecot("alike", separator=".", prefix="INBOX.", mail="mdbox", cert=cert, doveadm=True) as new:
        make(old, user, 12)
        sides = {"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca, **new.doveadm_options())}
        ferry = start(make_ferry, sides)
        proxy = ferry.proxy()
        last = max(numbers(old, user, name)[0] for name in names(old, user))
        net.wait_until("no UIDVALIDITY that would have to be remembered", lambda: time.time() > last + 1, timeout=30)
        with connect(proxy) as wire:
            assert wire.login(user).startswith(b"l1 OK")
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
            before = [x for x in wire.command(b"u", b"UID FETCH 1:* (UID FLAGS)") if b" FETCH " in x]
            move(ferry, user)
            proxy.wait(r"event=handed_over\b")
            assert not proxy.find("event=not_handed_over")
            assert [x for x in wire.command(b"u", b"UID FETCH 1:* (UID FLAGS)") if b" FETCH " in x] == before
            all_t0(ferry, old, new, user)
            deliver(new, user, 1)
            assert any(b"EXISTS" in line for line in wire.command(b"n", b"NOOP"))
        assert ferry.route(user)["view"].startswith("1=:"), ferry.route(user)["view"]


def test_back_and_forth(make_ferry, sides, old, told):
    """The way back of mailboxes with the same numbers."""
    user = new_user("back")
    make(old, user, 8)
    ferry = start(make_ferry, sides)
    move(ferry, user)
    deliver(told, user, 1, 2)
    assert ferry.ctl("migrate", user, "--to", "old", "--now")[0] == 0
    ferry.wait_state(user, "held", timeout=60)
    was, now = numbers(told, user), numbers(old, user)
    assert now[:2] == was[:2] and list(now[3]) == list(was[3])


# ---- by force, and where the channel is slow

def shown(ferry, proxy, user, name="INBOX"):
    """UIDVALIDITY and {UID: subject} as a client sees them."""
    m = ferry.login(proxy, user, "secret")
    try:
        assert m.select(mail.quoted(name), readonly=True)[0] == "OK"
        uidvalidity = int(m.response("UIDVALIDITY")[1][0])
        rows = [r for r in m.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(r, tuple)]
        return uidvalidity, {int(re.search(rb"UID (\d+)", r[0])[1]): r[1].strip() for r in rows}
    finally:
        m.logout()


def assert_one_message(before, after):
    """No number that a client has seen names another message now."""
    assert after[0] >= before[0]
    other = {uid: (text, after[1][uid]) for uid, text in before[1].items() if after[1].get(uid, text) != text}
    assert after[0] != before[0] or not other, (before[0], other)


def force(ferry, user, to):
    assert ferry.ctl("flip", user, "--to", to, "--force", "--reason", "test")[0] == 0
    net.wait_until("the flip", lambda: ferry.route(user).get("backend") == to)


@pytest.mark.parametrize("tier_", ["T0", "T2"])
def test_forced_flip_of_what_goes_on(make_ferry, sides, old, told, tier_):
    """The copy has the source's UIDVALIDITY, and clients have seen later UIDs than it has."""
    user = new_user("forced")
    make(old, user, 8)
    if tier_ == "T2":
        number_it_itself(sides)
    ferry = start(make_ferry, sides)
    proxy = ferry.proxy()
    copy(ferry, user)
    deliver(old, user, 1, 2, 3)
    before = shown(ferry, proxy, user)
    force(ferry, user, "new")
    deliver(told, user, 11, 12, 13)
    after = shown(ferry, proxy, user)
    assert b"Subject: 12" in after[1].values()
    assert_one_message(before, after)


@pytest.mark.parametrize("tier_", ["T0", "T2"])
def test_forced_flip_home(make_ferry, sides, old, told, tier_):
    """Clients have seen the numbers go on at the other server."""
    user = new_user("home")
    make(old, user, 8)
    if tier_ == "T2":
        number_it_itself(sides)
    ferry = start(make_ferry, sides)
    proxy = ferry.proxy()
    move(ferry, user)
    assert tier(ferry, user) == tier_
    deliver(told, user, 1, 2, 3)
    before = shown(ferry, proxy, user)
    force(ferry, user, "old")
    deliver(old, user, 11, 12, 13)
    after = shown(ferry, proxy, user)
    assert b"Subject: 12" in after[1].values()
    assert_one_message(before, after)


def test_channel_that_is_away_when_a_uidvalidity_is_due(make_ferry, old, told, authority):
    """UIDVALIDITY is told and UIDNEXT refused, and then the channel has a fault: another job does it, and no person has to."""
    user = new_user("due")
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "5000", "INBOX")
    deliver(old, user, 2, 3)
    faults = [babbles] * 4

    def how(channel, request, body):
        if "minNextUid" in body[0][1]:
            refuses(channel, request, body)
        elif len(channel.asked) > 2 and faults:
            faults.pop()(channel, request, body)
        else:
            channel.forward(request, told, body)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)})
    move(ferry, user)
    channel.close()
    was, now = numbers(old, user), numbers(told, user)
    assert now[0] > was[0] and len(now[3]) == 3
    assert not faults


def test_channel_that_does_it_after_the_copy(make_ferry, old, told, authority):
    """What is in the mailbox is known under that UIDVALIDITY too: the copy of a message that has gone meanwhile goes."""
    user = new_user("late")
    make(old, user, 8)
    deliver(old, user, 1, 2, 3)
    told.doveadm("mailbox", "update", "-u", user, "--uid-validity", "1234567890", "INBOX")
    held, done = [], []

    def how(channel, request, body):
        if body[0][1].get("uidValidity") and body[0][1]["mailbox"] == "INBOX" and not done:
            held.append(body[0][1]["uidValidity"])
            channel.over.wait(4)
        else:
            channel.forward(request, told, body)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                  migrator={"command_timeout": "2s", "retry_min": "300ms", "retry_max": "1s"})
    copy(ferry, user)
    before = numbers(told, user)
    assert held and tier(ferry, user) != "T0" and before[0] != held[0], ferry.daemons[-1].tail()
    done.append(told.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(held[0]), "INBOX"))
    expunge(old, user, lambda i: i == 1)
    deliver(old, user, 4)
    flip(ferry, user)
    source, target = numbers(old, user), numbers(told, user)
    assert len(target[3]) == len(source[3]), (before, source, target)
    assert target[0] not in (before[0], held[0])
    assert not ferry.daemons[-1].find("event=uidvalidity_changed.*")
    channel.close()


@pytest.mark.parametrize("what", ["uidValidity", "minNextUid"])
@pytest.mark.parametrize("fills", [0, 1000])
def test_channel_that_does_it_after_the_flip(make_ferry, old, told, authority, what, fills):
    """What was given up for lost is done when the account is there, with the next tier: a wrong number is never shown."""
    user = new_user("after")
    make(old, user, 8)
    held = []

    def how(channel, request, body):
        if what in body[0][1]:
            held.append(body)
            channel.over.wait(4)
        else:
            channel.forward(request, told, body)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)},
                  migrator={"command_timeout": "2s", "retry_min": "300ms", "retry_max": "1s"}, migration={"t1_max_gaps": fills})
    proxy = ferry.proxy()
    copy(ferry, user)
    if what == "minNextUid":
        m = mail.connect(old, user, "secret")
        deliver(old, user, *range(250))  # a gap that is jumped
        expunge(old, user, lambda i: i > 6)
        m.logout()
        deliver(old, user, 501)
    flip(ferry, user)
    before = shown(ferry, proxy, user)
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        assert held, "nothing was lost"
        for body in held:
            box = body[0][1]
            args = {"uidValidity": ["--uid-validity"], "minNextUid": ["--min-next-uid"]}[what]
            told.doveadm("mailbox", "update", "-u", user, *args, str(box[what]), box["mailbox"])
        deliver(told, user, 11, 12)
        with contextlib.suppress(AssertionError, OSError):
            wire.command(b"n", b"NOOP")
            lines = b"\n".join(wire.command(b"f", b"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            rows = re.findall(rb"UID (\d+).*?(Subject: [^\r\n]*)", lines, re.S)
            assert_one_message(before, (before[0], {int(uid): text.strip() for uid, text in rows}))
    middle = shown(ferry, proxy, user)
    assert b"Subject: 12" in middle[1].values()
    assert_one_message(before, middle)
    deliver(told, user, 13)
    assert_one_message(middle, shown(ferry, proxy, user))
    channel.close()


@pytest.mark.parametrize("tier_", ["T0", "T1", "T2"])
def test_back_and_forth_twice(make_ferry, sides, old, told, tier_):
    """Whatever the tiers are, no number names another message, nothing is lost or there twice."""
    user = new_user("twice")
    make(old, user, 8)
    if tier_ != "T0":
        number_it_itself(sides)
    ferry = start(make_ferry, sides, migration={"t1_max_gaps": 1000 if tier_ == "T1" else 0})
    proxy = ferry.proxy()
    known = [shown(ferry, proxy, user)]
    here = set(known[0][1].values())

    def seen():
        now = shown(ferry, proxy, user)
        for before in known:
            assert_one_message(before, now)
        assert len(set(now[1].values())) == len(now[1]) and set(now[1].values()) == here, (now, here)
        known.append(now)
    for n, (to, state, server) in enumerate([("new", "flipped", told), ("old", "held", old)] * 2):
        if ferry.route(user).get("state") == "held":
            assert ferry.ctl("release", user)[0] == 0
        assert ferry.ctl("migrate", user, "--to", to, "--now")[0] == 0
        ferry.wait_state(user, state, timeout=60)
        if n == 0:
            assert tier(ferry, user) == tier_
        seen()
        deliver(server, user, *range(10 * n, 10 * n + 3))
        here.update(b"Subject: %d" % i for i in range(10 * n, 10 * n + 3))
        seen()
        last = max(known[-1][1])
        expunge(server, user, lambda i: i == len(here) - 1)
        here.remove(known[-1][1][last])
        deliver(server, user, 10 * n + 5)
        here.add(b"Subject: %d" % (10 * n + 5))
        seen()


def test_forgotten_and_moved_anew(make_ferry, sides, old, told):
    """The target has the numbers and the copies, and nobody knows whose they are."""
    user = new_user("forget")
    make(old, user, 8)
    ferry = start(make_ferry, sides)
    proxy = ferry.proxy()
    copy(ferry, user)
    before = shown(ferry, proxy, user)
    net.wait_until("nobody to be signed in", lambda: not ferry.redis.client().exists(f"imapferry:sessions:{user}"))
    assert ferry.ctl("hold", user, "--reason", "test")[0] == 0
    answer = ferry.ctl("forget", user, "--reason", "test")
    assert answer[0] == 0, answer
    deliver(old, user, 1, 2)
    move(ferry, user)
    after = shown(ferry, proxy, user)
    assert_one_message(before, after)
    assert sorted(after[1].values()) == sorted([*before[1].values(), b"Subject: 1", b"Subject: 2"])


def test_what_goes_while_another_uidvalidity_is_told(make_ferry, old, told, authority):
    """The copy of a message that is gone at the source by then is still known as one, and goes too."""
    user = new_user("goes")
    deliver(old, user, 1)
    old.doveadm("mailbox", "update", "-u", user, "--min-next-uid", "5000", "INBOX")
    deliver(old, user, 2, 3, 4)
    renewed = []

    def how(channel, request, body):
        if "minNextUid" in body[0][1]:
            refuses(channel, request, body)
            return
        if body[0][1]["mailbox"] == "INBOX" and len(channel.asked) > 1 and numbers(told, user)[3] and not renewed:
            renewed.append(body)
            expunge(old, user, lambda i: i == 2)
        channel.forward(request, told, body)
    channel = Channel(told, how)
    options = dict(told.doveadm_options(), doveadm_url=channel.url)
    ferry = start(make_ferry, {"old": backend(old, ca=authority.ca), "new": backend(told, ca=authority.ca, **options)})
    proxy = ferry.proxy()
    move(ferry, user)
    channel.close()
    assert renewed
    assert sorted(shown(ferry, proxy, user)[1].values()) == [b"Subject: 1", b"Subject: 2", b"Subject: 4"]
