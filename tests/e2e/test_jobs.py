"""One account from the claim to the flip: what a job does besides copying messages, what interrupts it, and who goes on."""
import collections
import json
import os
import re
import signal

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import compare, mail, net
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.relay import UP, Relay
from harness.scene import assert_equal, connect, differences, fill, new_user, read, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}
BIG = 2 << 20


def journal(ferry):
    with open(os.path.join(ferry.folder, "journal", "flips"), encoding="ascii") as f:
        return [json.loads(line) for line in f if line.strip()]


def states(ferry, user):
    return [e["state"] for _, e in ferry.redis.client().xrange("imapferry:events")
            if e.get("user") == user and e["kind"] == "state"]


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0


# ---- names, subscriptions, special use

def test_subscriptions_become_equal(ferry, old, new):
    """Also to a mailbox that is gone; and what was subscribed on the target alone is not any more."""
    user = new_user("subscriber")
    fill(old, user, small(messages=8))
    m = mail.connect(old, user, "secret")
    for name in ("INBOX.Gone", "INBOX.There"):
        m.create(name)
        m.subscribe(name)
    m.delete("INBOX.Gone")
    m.logout()
    assert (b"Gone",) in read(old, user).subscribed
    m = mail.connect(new, user, "secret")
    m.create("There")
    m.create("Foreign")
    m.subscribe("Foreign")
    m.logout()
    net.wait_next_second()
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    left = [d for d in differences(old, new, user, 8) if "Foreign" not in str(d)]
    assert not left, left
    after = read(new, user)
    assert (b"Gone",) in after.subscribed and (b"Gone",) not in after.mailboxes, "made for a moment only"
    assert (b"Foreign",) in after.mailboxes and (b"Foreign",) not in after.subscribed


def test_mailboxes_of_other_namespaces_block_unless_a_rule_excludes_them(make_ferry, new, authority):
    user, other = new_user("shared"), new_user("shared")
    with Dovecot("public", separator=".", prefix="INBOX.", extra=extra("public")) as old:
        for name in (user, other):
            fill(old, name, small(messages=6))
            m = mail.connect(old, name, "secret")
            assert m.create("Public.News")[0] == "OK"
            assert m.append("Public.News", None, None, b"Subject: for all\r\n\r\n")[0] == "OK"
            m.logout()
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, ca=authority.ca)})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 1
        assert ferry.user(user)["reason"] == 'shared: mailbox "Public.News": lies in a namespace of others'
        assert 'exclude = {"Public"} leaves it where it is' in ferry.ctl_raw("plan", other)[1]
        migrator.stop()
        migrator = ferry.migrator(migration={"exclude": ["Public"]})
        assert ferry.ctl("migrate", other, "--wait")[0] == 0
        migrator.wait(f"event=findings .*user={other} kind=left_out count=1")
        left = [d for d in differences(old, new, other, 6) if "Public" not in str(d)]
        assert not left, left
        assert not [name for name in read(new, other).mailboxes if b"News" in name[-1]]
        ferry.stop_all()


def test_special_use_is_asked_for_when_a_mailbox_is_made(make_ferry, authority):
    user = new_user("special")
    with FakeImap(name="old") as source, FakeImap(name="new") as target:
        source.account(user)
        for name, use in ((b"Post aus", b"\\Sent"), (b"Papierkorb", b"\\Trash"), (b"Plain", b"")):
            source.create(user, name, use)
        source.add(user, b"Post aus", b"Subject: x\r\n\r\nx\r\n")
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        assert not compare.compare(read(source, user), read(target, user), 1)
        assert any(b"(USE (\\Sent))" in c for c in target.commands("CREATE"))
        assert not any(b"USE" in c for c in target.commands("CREATE") if b"Plain" in c)


@pytest.mark.parametrize("refuses", ["nothing", "create", "both"])
def test_special_use_that_create_does_not_take_is_set_behind(make_ferry, refuses):
    """RFC 6154 5.4; a refusal of that, too, costs nobody the mailbox."""
    user = new_user("special")
    words = "IMAP4rev1 LITERAL+ NAMESPACE UIDPLUS UNSELECT SPECIAL-USE METADATA"
    with FakeImap(name="old") as source, \
            FakeImap(name="new", capabilities=words + ("" if refuses == "nothing" else " CREATE-SPECIAL-USE")) as target:
        source.account(user)
        source.create(user, b"Post aus", b"\\Sent")
        source.create(user, b"Plain")
        manners = [servers.Refuses("CREATE", "NO [USEATTR] no", holds=b"USE")] if refuses != "nothing" else []
        target.behave_like(user, *manners, *([servers.Refuses("SETMETADATA", "NO no")] if refuses == "both" else []))
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        assert target.box(user, "Post aus").special == (b"" if refuses == "both" else b"\\Sent")
        assert target.box(user, "Plain").special == b"" and len(target.commands("SETMETADATA")) == 1
        assert bool(migrator.find("event=findings .*kind=special_use count=1")) == (refuses == "both")


def test_target_that_takes_no_special_use_gets_the_mailbox_all_the_same(make_ferry):
    user = new_user("special")
    words = "IMAP4rev1 LITERAL+ NAMESPACE UIDPLUS UNSELECT"
    with FakeImap(name="old") as source, FakeImap(name="new", capabilities=words) as target:
        source.account(user)
        source.create(user, b"Post aus", b"\\Sent")
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        assert b"Post aus" in target.account(user)
        migrator.wait("event=findings .*kind=special_use count=1")


def test_mailbox_that_is_refused_is_named(make_ferry, old, authority):
    user = new_user()
    fill(old, user, small(messages=6))
    with FakeImap(name="new") as target:
        target.misbehave("no", at="create", code="[CANNOT]")
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")})
        ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 1
        route = ferry.user(user)
        assert route["state"] == "blocked" and re.match(r'cannot: mailbox ".*": the target does not create it: \[CANNOT\]', route["reason"]), route
        assert route["advice"] and route["backend"] == "old"
        appended = target.commands("APPEND")
        assert appended and all(b" APPEND INBOX " in c for c in appended), "the rest goes"


# ---- what Redis keeps

def test_records_ledgers_and_journal(make_ferry, backends, old, new):
    user = new_user("kept")
    account = fill(old, user, small(messages=20))
    ferry = make_ferry(backends, MANUAL)
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    client = ferry.redis.client()
    before = client.hgetall(f"imapferry:views:{user}")
    assert "INBOX" in before and len([x for x in before if x]) == len(account.mailboxes)
    flip(ferry, user)
    route = ferry.wait_state(user, "flipped")
    records = client.hgetall(f"imapferry:views:{user}")
    assert records.pop("") == "1 client=.,INBOX. backend=/, avoid="
    before.pop("", None)
    ids = {name: re.search(r"id=([0-9a-f]+)", r).group(1) for name, r in records.items()}
    assert ids == {name: re.search(r"id=([0-9a-f]+)", r).group(1) for name, r in before.items()}
    tiers = collections.Counter(re.search(r"tier=(T\d)", r).group(1) for r in records.values())
    assert set(tiers) <= {"T1", "T2"}  # without a gap UIDs are the same
    assert len(set(ids.values())) == len(ids) and re.search(r"tier=T[12] ", records["INBOX"])
    assert re.search(r"map=\w", records["INBOX"]) and not re.search(r"uidvalidity=0", records["INBOX"])
    folded = client.get(f"imapferry:folded:{user}") or ""  # where the account was settled meanwhile
    assert client.llen(f"imapferry:ledger:{user}:{ids['INBOX']}") > 0 or len(folded) > 20
    assert re.fullmatch(r"1:[0-9a-f]{32}", route["view"])
    line = journal(ferry)[-1]
    assert (line["user"], line["source"], line["target"], line["view"]) == (user, "old", "new", route["view"])
    assert line["epoch"] == int(route["epoch"]) - 1 and line["generation"] == 1
    assert ferry.user(user)["tiers"] == tiers
    assert client.xlen("imapferry:jobs") == 0 and client.xpending("imapferry:jobs", "migrators")["pending"] == 0


def test_totals_are_known_before_the_copy_ends(make_ferry, old, new, authority):
    user = new_user("large")
    fill(old, user, small(messages=30, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")})
    relay.stall_after(BIG // 2, UP)
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert relay.tripped.wait(30)
    route = net.wait_until("totals", lambda: (r := ferry.user(user))["bytes"]["total"] > BIG and r)
    assert route["messages"]["total"] == 31 and route["messages"]["done"] < 31 and route["state"] == "copying"
    relay.resume()
    ferry.wait_state(user, "flipped")
    route = ferry.user(user)
    assert route["messages"]["done"] == route["messages"]["verified"] == 31 and route["bytes"]["done"] == route["bytes"]["total"]
    relay.close()


# ---- limits

def test_one_connection_to_each_backend_is_enough(make_ferry, old, new, authority):
    """Four jobs share it: nobody waits for the half that another one has."""
    options = {"ca": authority.ca, "max_connections": 1}
    ferry = make_ferry({"old": backend(old, **options), "new": backend(new, **options)})
    users = [new_user("narrow") for _ in range(5)]
    for user in users:
        fill(old, user, small(messages=4))
        assert ferry.ctl("migrate", user)[0] == 0
    ferry.migrator(migrator={"jobs": 4})
    for user in users:
        ferry.wait_state(user, "flipped", timeout=60)
        assert_equal(old, new, user, 4)


def test_server_that_allows_one_connection_of_a_user(make_ferry, old, authority):
    """Further lanes are refused; the copy goes on with what it has."""
    user = new_user("limited")
    fill(old, user, small(messages=40))
    with Dovecot("narrow", extra=extra("connections", limit=1)) as narrow:
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(narrow, "imap")})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        migrator.wait("event=lane_failed")
        ferry.stop_all()
        assert_equal(old, narrow, user, 40)


# ---- interruptions

def test_hold_in_the_middle_of_a_copy(make_ferry, old, new, authority):
    user = new_user("held")
    fill(old, user, small(messages=30, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")})
    relay.stall_after(BIG // 2, UP)
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert relay.tripped.wait(30)
    assert ferry.ctl("hold", user, "--reason", "wait")[0] == 0
    migrator.wait("event=job_lost")
    relay.resume()
    assert ferry.route(user)["state"] == "held"
    assert ferry.ctl("release", user)[0] == 0
    ferry.wait_state(user, "flipped")
    relay.close()
    assert_equal(old, new, user, 31)


def test_pause_lets_the_copy_run_and_stops_the_cutover(make_ferry, old, new, authority):
    user = new_user("paused")
    fill(old, user, small(messages=30, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")})
    relay.stall_after(BIG // 2, UP)
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert relay.tripped.wait(30)
    assert ferry.ctl("pause", "--reason", "look")[0] == 0
    relay.resume()
    migrator.wait("event=job_ready")
    assert ferry.wait_state(user, "ready")["backend"] == "old"
    assert ferry.ctl("resume")[0] == 0
    ferry.wait_state(user, "flipped")
    assert "freezing" not in states(ferry, user)[:states(ferry, user).index("ready")]
    relay.close()
    assert_equal(old, new, user, 31)


@pytest.fixture
def half_a_command(make_ferry, backends, old):
    """An account whose freeze is held up by a client that does not end its command: ferry, user, wire, migrator."""
    user = new_user("slow")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "freeze_budget": "1s"},
                                  "migrator": {"retry_min": "1h", "retry_max": "1h"}})
    proxy = ferry.proxy()
    migrator = ferry.migrator()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        wire.line(b"a APPEND INBOX {4}")
        wire.until(b"+")
        assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(user, "freezing")
        yield ferry, user, wire, migrator


@pytest.mark.writes_source
def test_session_that_does_not_rest_is_the_reason(half_a_command, old, new):
    ferry, user, wire, _ = half_a_command
    route = ferry.wait_state(user, "backoff")
    assert re.match(r"sessions: 1 session did not come to rest", route["reason"]), route["reason"]
    assert route["backend"] == "old" and journal(ferry) == []
    wire.line(b"body")
    assert wire.until(b"a ")[-1].startswith(b"a OK"), "what it was about was not lost"
    assert ferry.ctl("retry", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 7)


@pytest.mark.writes_source
def test_migrator_that_is_stopped_in_the_freeze_thaws(half_a_command, old, new):
    ferry, user, wire, migrator = half_a_command
    migrator.stop(timeout=10)
    assert ferry.route(user)["state"] == "ready" and "migrator was stopped" in ferry.route(user)["reason"]
    wire.line(b"body")
    assert wire.until(b"a ")[-1].startswith(b"a OK")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 7)


@pytest.mark.writes_source
def test_migrator_that_sleeps_through_its_freeze_flips_nothing(half_a_command, old, new):
    """The next login waits until the time is over and thaws the account; both sessions go on where they were."""
    ferry, user, wire, migrator = half_a_command
    migrator.signal(signal.SIGSTOP)
    try:
        with connect(ferry.daemons[0]) as late:
            assert late.login(user).startswith(b"l1 OK") and late.separator() == "."
            assert ferry.route(user)["state"] == "ready"
            assert ferry.route(user)["reason"].startswith("deadline: "), ferry.route(user)
            wire.line(b"body")
            assert wire.until(b"a ")[-1].startswith(b"a OK")
            assert wire.separator() == "."
        before = len(states(ferry, user))
    finally:
        migrator.signal(signal.SIGCONT)
    net.wait_until("end of what it had begun", lambda: len(states(ferry, user)) > before)
    if ferry.wait_state(user, "flipped", "backoff")["state"] == "backoff":
        assert journal(ferry) == [] and ferry.route(user)["backend"] == "old"
        assert ferry.ctl("retry", user)[0] == 0
        ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 7)


@pytest.mark.writes_source
def test_freeze_ends_by_its_deadline_though_nobody_logs_in(half_a_command):
    """The migrator is gone for good, and no client comes along: the proxy thaws the account."""
    ferry, user, wire, migrator = half_a_command
    migrator.kill()
    assert ferry.wait_state(user, "ready", timeout=10)["reason"].startswith("deadline: ")
    wire.line(b"body")
    assert wire.until(b"a ")[-1].startswith(b"a OK")
    assert wire.separator() == "."


def test_half_a_line_in_the_journal(ferry, old, new):
    """A crash left it: the next flip begins a line of its own."""
    path = os.path.join(ferry.folder, "journal", "flips")
    with open(path, "w", encoding="ascii") as f:
        f.write('{"time": "2026-')
    user = new_user()
    fill(old, user, small(messages=2))
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    with open(path, encoding="ascii") as f:
        lines = [line for line in f.read().splitlines() if line]
    assert len(lines) == 2 and json.loads(lines[1])["user"] == user


def test_living_jobs_are_not_taken_over(make_ferry, old, new, authority):
    """A second migrator looks for orphans all the time, and a job runs for several terms."""
    user = new_user("long")
    fill(old, user, small(messages=30, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")},
                       {"migrator": {"job_lease": "600ms", "command_timeout": "30s"}})
    relay.stall_after(BIG // 2, UP)
    first = ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert relay.tripped.wait(30)
    second = ferry.migrator()
    other = [new_user("other") for _ in range(3)]
    for name in other:  # something that takes a while and can be waited for
        fill(old, name, small(messages=2))
    client = ferry.redis.client()
    idle = [net.wait_until("sign of life", lambda: client.xpending_range("imapferry:jobs", "migrators", "-", "+", 10))[0]
            for _ in range(5)]
    assert all(e["time_since_delivered"] < 600 for e in idle) and not second.find("job_taken_over")
    relay.resume()
    ferry.wait_state(user, "flipped")
    first.wait("event=flipped")  # which it tells after the store
    assert states(ferry, user).count("copying") == 1
    relay.close()


def test_job_is_its_migrators_for_the_longer_term(make_ferry, old, new, authority):
    """As while `job_lease` is being changed: a migrator of a shorter one looks for orphans all the time."""
    user = new_user("unequal")
    fill(old, user, small(messages=30, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")},
                       {"migrator": {"job_lease": "300ms", "command_timeout": "30s"}})
    relay.stall_after(BIG // 2, UP)
    first = ferry.migrator(migrator={"id": "first", "job_lease": "30s"})
    assert ferry.ctl("migrate", user)[0] == 0
    assert relay.tripped.wait(30)
    second = ferry.migrator(migrator={"id": "second"})
    client = ferry.redis.client()

    def told(migrator):
        return client.hget("imapferry:migrators", migrator)
    net.wait_until("claim that is older than the short term", lambda: client.xpending_range(
        "imapferry:jobs", "migrators", "-", "+", 10)[0]["time_since_delivered"] > 300)
    for _ in range(3):  # it looks for orphans as often as it tells its term
        before = net.wait_until("second migrator", lambda: told("second"))
        net.wait_until("look for orphans", lambda: told("second") != before)
    assert told("first").split(" ")[0] == "30000" and not second.find("job_taken_over")
    relay.resume()
    ferry.wait_state(user, "flipped")
    first.wait("event=flipped")
    assert states(ferry, user).count("copying") == 1
    relay.close()


def test_backend_that_the_configuration_does_not_have(make_ferry, backends, old):
    user = new_user()
    ferry = make_ferry(backends)
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.redis.client().hset(f"imapferry:route:{user}", "target", "elsewhere")
    ferry.migrator()
    route = ferry.wait_state(user, "backoff")
    assert route["reason"].startswith("internal: ") and route["backend"] == "old"


def test_account_that_is_sent_back_leaves_no_job_behind(make_ferry, backends, old, new):
    """It is held by the flip itself, which the job must not take for staff that took it away."""
    user = new_user("back")
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual"}})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    assert ferry.ctl("flip", user, "--to", "old", "--force", "--reason", "test", "--wait")[0] == 0
    migrator.wait("event=flipped .*target=old .*force=yes")
    assert not migrator.find("event=job_lost")
    client = ferry.redis.client()
    net.wait_until("end of the job", lambda: client.xlen("imapferry:jobs") == 0
                   and client.xpending("imapferry:jobs", "migrators")["pending"] == 0)
