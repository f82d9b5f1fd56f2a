"""imapferryctl on many accounts, and on what is known of one: on a store that has them, without servers."""
import hashlib
import time

import pytest

STATES = {"ann": ("blocked", "cannot: too large"), "bob": ("backoff", "unreachable: new: refused"),
          "carl": ("backoff", "unreachable"), "dora": ("settled", ""), "eve": ("held", "held: not yet"), "fred": ("resting", "")}


@pytest.fixture
def ferry(make_ferry):
    made = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}}, {"migration": {"trigger": "manual"}})
    redis = made.redis.client()
    for user, (state, reason) in STATES.items():
        redis.hset(f"imapferry:route:{user}", mapping={
            "backend": "new" if state == "settled" else "old", "state": state, "epoch": "3", "generation": "1", "reason": reason,
            "source": "old", "target": "new", "counted": f"1 {state} old"})
    redis.hset("imapferry:counts", mapping={"state:blocked": 1, "backend:old": 6})
    return made


def names(answer):
    return [a["user"] for a in answer["accounts"]]


def test_list_by_state_and_reason(ferry):
    status, answer = ferry.ctl("list")
    assert status == 0 and names(answer) == sorted(STATES) and answer["total"] == 6
    assert answer["accounts"][1] == {"user": "bob", "state": "backoff", "backend": "old", "reason": "unreachable: new: refused",
                                     "next_try": None}
    assert names(ferry.ctl("list", "--state", "backoff")[1]) == ["bob", "carl"]
    assert names(ferry.ctl("list", "--reason", "unreachable")[1]) == ["bob", "carl"]
    assert names(ferry.ctl("list", "--reason", "held", "--state", "held")[1]) == ["eve"]
    status, out, _ = ferry.ctl_raw("list", "--reason", "cannot")
    assert (status, out) == (0, "USER  STATE    ON   REASON\nann   blocked  old  cannot: too large\n")
    assert ferry.ctl_raw("list", "--state", "ready")[1] == "no such accounts\n"
    status, answer = ferry.ctl("list", "--state", "bloked")
    assert status == 2 and 'did you mean "blocked"' in answer["error"]
    status, answer = ferry.ctl("list", "--reason", "unreachabel")
    assert status == 2 and 'did you mean "unreachable"' in answer["error"]


def test_retry_of_all(ferry):
    redis = ferry.redis.client()
    status, answer = ferry.ctl("retry", "--all", "--state", "backoff", "--reason", "the server is back")
    assert status == 0 and answer["queued"] == 2 and answer["message"] == "2 accounts are queued again"
    assert {f["user"] for _, f in redis.xrange("imapferry:jobs:bulk")} == {"bob", "carl"}, "behind the logins"
    assert ferry.route("ann")["state"] == "blocked"
    assert ferry.ctl("retry", "--all")[1]["queued"] == 1 and ferry.ctl("retry", "--all")[1]["queued"] == 0
    entries = [(e["what"], e["reason"], e["after"]) for e in ferry.ctl("audit")[1]["audit"]]
    assert entries[-1] == ("retry --all --state backoff", "the server is back", "2 queued"), entries
    for args in (("--all", "ann"), ("ann", "--state", "backoff"), ("--all", "--state", "xyz")):
        assert ferry.ctl("retry", *args)[0] == 2, args


def test_forget(ferry):
    redis = ferry.redis.client()
    assert ferry.ctl("migrate", "typo@x")[0] == 0 and redis.xlen("imapferry:jobs") == 1
    redis.hset("imapferry:views:typo@x", "INBOX", "1 id=9f03 source=INBOX target=INBOX uidvalidity=7,8 uidnext=2,2 highest=7 tier=T3")
    redis.rpush("imapferry:ledger:typo@x:9f03", "x")
    mine, common = b"\xab\xcd", "imapferry:fingerprints:5678"
    redis.hset("imapferry:fingerprints:1234", mapping={mine: "typo@x"})
    redis.hset(common, mapping={mine: "ann"})
    at = "imapferry:fingerprints:" + hashlib.sha1(b"typo@x").hexdigest()[:4]
    redis.hset(at, "=typo@x", bytes([4]) + b"\x12\x34" + mine + bytes([4]) + b"\x56\x78" + mine)
    for kind in ("secret", "report"):
        redis.set(f"imapferry:{kind}:typo@x", "x")
    status, answer = ferry.ctl("forget", "typo@x", "--reason", "nobody")
    assert status == 0 and answer["message"] == "typo@x is forgotten: it was queued", answer
    assert redis.xlen("imapferry:jobs") == 0 and redis.keys("imapferry:fingerprints*") == [common]
    assert [k for k in redis.scan_iter("*typo@x*")] == ["imapferry:audit:typo@x"]
    assert not ferry.route("typo@x") and ferry.ctl("forget", "typo@x")[0] == 3
    assert [(e["what"], e["before"], e["after"]) for e in ferry.ctl("audit", "typo@x")[1]["audit"]][0] == ("forget", "queued", "none")
    redis.hset("imapferry:counts", "state:blocked", 1)
    assert ferry.ctl("forget", "ann")[0] == 0
    assert redis.hget("imapferry:counts", "state:blocked") == "0" and redis.hget("imapferry:counts", "backend:old") == "5"


@pytest.mark.parametrize("fields,why", [
    ({"flipped_at": "1", "backend": "new", "state": "settled"}, "switched over: its mail is on new"),
    ({"flipped_at": "1"}, "has been switched over"), ({"state": "copying", "owner": "t"}, "is copying"),
    ({"touching": "1"}, "change under way at new")])
def test_forget_is_refused_where_it_would_change_something(ferry, fields, why):
    redis = ferry.redis.client()
    redis.hset("imapferry:route:fred", mapping=fields)
    before = redis.hgetall("imapferry:route:fred")
    status, answer = ferry.ctl("forget", "fred")
    assert status == 4 and why in answer["error"] and redis.hgetall("imapferry:route:fred") == before, answer


def test_forget_of_one_that_was_moved_and_is_gone(ferry):
    redis = ferry.redis.client()
    redis.hset("imapferry:route:fred", mapping={"flipped_at": "1", "backend": "new", "state": "settled"})
    status, answer = ferry.ctl("forget", "fred", "--reason", "left")
    assert status == 4 and "--gone" in answer["error"], answer
    assert ferry.ctl("forget", "fred", "--gone")[0] == 2, "not without a reason"
    redis.hset("imapferry:route:fred", "owner", "t")
    redis.hset("imapferry:route:fred", "state", "copying")
    assert ferry.ctl("forget", "fred", "--gone", "--reason", "left")[0] == 4
    redis.hset("imapferry:route:fred", "state", "settled")
    redis.zadd("imapferry:hooks", {"settle\n3\nold\nnew\nfred": 1, "settle\n3\nold\nnew\nalfred": 2})
    assert ferry.ctl("forget", "fred", "--gone", "--reason", "left")[0] == 0
    assert not ferry.route("fred") and redis.zrange("imapferry:hooks", 0, -1) == ["settle\n3\nold\nnew\nalfred"]


def test_forget_is_refused_while_signed_in(ferry):
    ferry.redis.client().hset("imapferry:sessions:fred", "p-1/1", f"old 3 running 192.0.2.1 {int(time.time())}000")
    status, answer = ferry.ctl("forget", "fred")
    assert status == 4 and "signed in" in answer["error"]


def test_what_is_shown_may_be_given_back(ferry, tmp_path):
    """Accounts are shown as their keys; a key that is given is no login name with "%" in it, unless that is what has a record."""
    redis = ferry.redis.client()
    assert ferry.ctl("hold", "sp ace@x")[1]["user"] == "sp%20ace@x"
    status, answer = ferry.ctl("user", "sp%20ace@x")
    assert (status, answer["user"], answer["login"], answer["state"]) == (0, "sp%20ace@x", "sp ace@x", "held")
    assert ferry.ctl("release", "sp%20ace@x")[1]["user"] == "sp%20ace@x"
    assert not redis.exists("imapferry:route:sp%2520ace@x")
    listed = [line.split()[0] for line in ferry.ctl_raw("list", "--state", "resting")[1].splitlines()[1:]]
    assert "sp%20ace@x" in listed
    (tmp_path / "names").write_text("\n".join(listed))
    assert ferry.ctl("migrate", "--all", str(tmp_path / "names"))[1]["queued"] == 2
    assert ferry.route("sp%20ace@x")["state"] == "queued" and not redis.exists("imapferry:route:sp%2520ace@x")
    # A login name that has the "%" itself: where neither has a record, where it has one, and where both have.
    status, answer = ferry.ctl("hold", "a%20b@x")
    assert answer["user"] == "a%2520b@x" and "a%20b@x has no record either" in answer["note"], answer
    assert ferry.ctl("user", "a%20b@x")[1]["user"] == ferry.ctl("user", "a%2520b@x")[1]["user"] == "a%2520b@x"
    assert ferry.ctl("hold", "a b@x")[1]["user"] == "a%20b@x"
    status, answer = ferry.ctl("release", "a%20b@x")
    assert status == 2 and answer["error"].startswith('"a%20b@x" may mean two accounts: say "a%2520b@x"'), answer
    (tmp_path / "names").write_text("a%20b@x\n")
    assert ferry.ctl("migrate", "--all", str(tmp_path / "names"))[1]["refused"] == 1
    assert ferry.ctl("release", "a%2520b@x")[1]["user"] == "a%2520b@x" and ferry.ctl("release", "a b@x")[1]["user"] == "a%20b@x"


def test_what_nobody_said_leaves_no_colon(ferry):
    assert ferry.ctl("hold", "gus@x")[0] == 0
    assert ferry.ctl("user", "gus@x")[1]["reason"] == "held" and "held: " not in ferry.ctl_raw("list", "--reason", "held")[1].replace("held: not yet", "")
    assert ferry.ctl("pause")[0] == 0
    line = next(x for x in ferry.ctl_raw("status")[1].splitlines() if x.startswith("PAUSED"))
    assert "by root, 2" in line or ": ," not in line, line


def test_one_long_name_pads_no_other_line(ferry):
    assert ferry.ctl("hold", "x" * 200 + "@x")[0] == 0
    lines = ferry.ctl_raw("list")[1].splitlines()
    assert len(lines) == 8 and sorted(len(line) for line in lines)[-2] < 60, lines


def test_a_migrator_that_was_stopped_is_not_missed(ferry):
    migrator = ferry.migrator()
    assert [m["migrator"] for m in ferry.ctl("status")[1]["migrators"]] == [migrator.label]
    migrator.stop()
    assert not ferry.ctl("status")[1]["migrators"]
    killed = ferry.migrator()
    while not ferry.ctl("status")[1]["migrators"]:  # it says that it is ready before Redis has heard of it
        pass
    killed.kill()
    assert [m["migrator"] for m in ferry.ctl("status")[1]["migrators"]] == [killed.label]
    ferry.daemons.remove(killed)
