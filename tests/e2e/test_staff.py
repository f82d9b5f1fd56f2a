"""imapferryctl: what staff type, with the exit status and the JSON that scripts rely on."""
import json
import re
import subprocess

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.daemon import program
from harness.ferry import backend
from harness.scene import assert_equal, connect, fill, new_user, small

FIELDS = {"user", "backend", "state", "epoch", "source", "target", "reason", "mailboxes", "messages", "bytes", "tiers"}
MOVED = ("flipped", "settled")  # the latter at once, without a late watch
MANUAL = {"migration": {"trigger": "manual"}}


@pytest.fixture
def manual(make_ferry, backends):
    return make_ferry(backends, MANUAL)


def states(ferry, user):
    return [e["state"] for _, e in ferry.redis.client().xrange("imapferry:events") if e.get("user") == user]


def test_init_makes_the_store_once(make_ferry, backends):
    ferry = make_ferry(backends, init=False)
    assert ferry.ctl("init")[0] == 0
    store = ferry.redis.client().hgetall("imapferry:store")
    assert store["id"] and store["generation"] == "1" and store["schema"]
    assert ferry.ctl("init")[0] == 4
    assert ferry.redis.client().hget("imapferry:store", "id") == store["id"]


def test_seal_key_does_not_overwrite(manual):
    manual.seal_keys()
    with open(manual.settings["seal"]["private_key_files"][0], encoding="ascii") as f:
        before = f.read()
    assert manual.ctl_raw("seal-key")[0] == 1
    with open(manual.settings["seal"]["private_key_files"][0], encoding="ascii") as f:
        assert f.read() == before


@pytest.mark.parametrize("args", [(), ("no-such-verb",), ("user",), ("flip", "ann"), ("flip", "ann", "--to", "new", "--force"),
                                  ("hold",), ("user", "ann", "--no-such-option")])
def test_usage(manual, args):
    status, _, error = manual.ctl_raw(*args)
    assert status == 2 and len(error.splitlines()) == 2, error


def test_backend_that_is_none(manual, tmp_path):
    """Also where only the configuration tells that an argument is wrong."""
    (tmp_path / "names").write_text("ann\n")
    for args in (("flip", "ann", "--to", "nwe", "--reason", "x"), ("migrate", "--all", str(tmp_path / "names"), "--to", "nwe")):
        status, out, error = manual.ctl_raw(*args)
        assert status == 2 and not out and 'did you mean "new"' in error and len(error.splitlines()) == 2, error
    assert "old, new" in manual.ctl("migrate", "ann", "--to", "xyz")[1]["error"]


def test_no_route_record(manual):
    for verb in ("user", "sessions", "audit"):
        assert manual.ctl(verb, "nobody")[0] == 3, verb


def test_redis_out_of_reach(manual, redis):
    redis.stop()
    for args in (("init",), ("status",), ("user", "ann"), ("sessions", "ann"), ("audit",), ("migrate", "ann", "--wait"),
                 ("flip", "ann", "--to", "new", "--reason", "x"), ("hold", "ann"), ("release", "ann"), ("retry", "ann"),
                 ("pause",), ("resume",)):
        status, _, error = manual.ctl_raw(*args)
        assert status == 5 and error, args
    redis.start()


def test_migrate_and_wait(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=10))
    manual.migrator()
    status, answer = manual.ctl("migrate", user, "--wait")
    assert status == 0, answer
    status, answer = manual.ctl("user", user)
    assert status == 0 and FIELDS <= set(answer), FIELDS - set(answer)
    assert (answer["user"], answer["backend"]) == (user, "new") and answer["state"] in MOVED
    assert answer["messages"]["done"] == answer["messages"]["total"] == 10
    assert answer["mailboxes"]["done"] == answer["mailboxes"]["total"] > 0
    assert_equal(old, new, user, 10)


def test_migrate_and_wait_tells_of_failure(make_ferry, old, authority):
    user = new_user()
    fill(old, user, small(messages=10))
    with FakeImap(name="new") as target:
        target.misbehave("alter", mailbox="INBOX", n=2)
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")}, MANUAL)
        ferry.migrator()
        status, out, error = ferry.ctl_raw("migrate", user, "--wait")
        assert status == 1 and "differs" in out + error


def test_plain_output_for_people(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=10))
    manual.migrator()
    assert manual.ctl_raw("migrate", user, "--wait")[0] == 0
    status, out, _ = manual.ctl_raw("user", user)
    assert status == 0 and user in out and "new" in out and any(word in out for word in MOVED)
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)
    status, out, _ = manual.ctl_raw("status")
    assert status == 0 and any(word in out for word in MOVED)


def test_status(manual, old, new):
    status, answer = manual.ctl("status")
    assert status == 0 and isinstance(answer, dict)
    user = new_user()
    fill(old, user, small(messages=3))
    proxy = manual.proxy()
    manual.migrator()
    manual.login(proxy, user, "secret")
    manual.ctl("migrate", user, "--wait")
    status, answer = manual.ctl("status")
    assert status == 0 and any(answer["accounts"].get(word) for word in MOVED), answer


def test_sessions(manual, old):
    user = new_user()
    proxy = manual.proxy()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        status, answer = manual.ctl("sessions", user)
        assert status == 0
        rows = answer["sessions"]
        assert len(rows) == 1 and rows[0]["backend"] == "old" and "127.0.0.1" in rows[0]["address"], rows
        wire.command(b"x", b"LOGOUT")
    net.wait_until("end of the registration", lambda: not manual.redis.client().exists(f"imapferry:sessions:{user}"))


def test_kick_ends_all_sessions_of_one_account(manual, old):
    user, other = new_user(), new_user()
    proxies = [manual.proxy(proxy={"threads": 2}), manual.proxy()]
    with connect(proxies[0]) as first, connect(proxies[1]) as second, connect(proxies[0]) as stays:
        for wire, name in ((first, user), (second, user), (stays, other)):
            assert wire.login(name).startswith(b"l1 OK")
        first.command(b"s", b"SELECT INBOX")
        first.line(b"i IDLE")
        first.until(b"+ ")
        status, answer = manual.ctl("kick", user, "--reason", "stolen password")
        assert status == 0 and answer["sessions"] == 2, answer
        for wire in (first, second):
            assert b"UNAVAILABLE" in wire.until(b"* BYE")[-1]
        assert stays.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        net.wait_until("end of the registrations", lambda: not manual.redis.client().exists(f"imapferry:sessions:{user}"))
        with connect(proxies[1]) as again:
            assert again.login(user).startswith(b"l1 OK")
    proxies[0].wait(r"event=session_end .*\bkicked\b")
    entry = manual.ctl("audit", user)[1]["audit"][0]
    assert (entry["what"], entry["before"], entry["reason"]) == ("kick", "2 sessions", "stolen password") and entry["who"]
    assert manual.ctl("kick", other)[1]["sessions"] in (0, 1)
    assert manual.ctl("kick", new_user())[1]["sessions"] == 0


def test_hold_and_release(make_ferry, backends, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends)
    proxy = ferry.proxy()
    assert ferry.ctl("hold", user, "--reason", "on holiday")[0] == 0
    assert ferry.route(user)["state"] == "held"
    ferry.migrator()
    ferry.login(proxy, user, "secret")
    other = new_user()
    ferry.login(proxy, other, "secret")
    ferry.wait_state(other, "flipped")
    assert ferry.route(user)["state"] == "held" and ferry.route(user)["backend"] == "old"
    assert ferry.ctl("migrate", user)[0] == 4
    for force in ((), ("--force",)):
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "x", *force)[0] == 4
    assert ferry.ctl("retry", user)[0] == 4
    assert ferry.ctl("release", user)[0] == 0
    assert ferry.ctl("release", other)[0] == 4
    ferry.login(proxy, user, "secret")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


def test_what_holds_up_all_accounts_is_said_of_each(make_ferry):
    """No migrator, a pause, a quarantine, a Redis that may forget: in `user` and `--wait`, and no more once it is over."""
    with FakeImap("old") as source, FakeImap("new") as target:
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, MANUAL)
        client = ferry.redis.client()
        assert ferry.ctl("migrate", "ann")[0] == 0 and ferry.user("ann")["held_up"] == "no migrator is alive"
        client.config_set("appendonly", "no")
        client.hset("imapferry:store", "quarantine_until", (client.time()[0] + 600) * 1000)
        assert ferry.ctl("pause", "--reason", "look first")[0] == 0
        parts = ferry.user("ann")["held_up"].split("; ")
        assert any(re.match(r"paused by .* since 2\S+Z: look first$", p) for p in parts), parts
        assert any(p.startswith("Redis may forget what it is told, so nothing is migrated: ") for p in parts), parts
        assert any(re.match(r"no account is begun or switched over until 2\S+Z$", p) for p in parts), parts
        assert ferry.ctl("resume")[0] == 0
        client.config_set("appendonly", "yes")
        client.hset("imapferry:store", "quarantine_until", 0)
        wait = subprocess.Popen([program("imapferryctl"), "-c", ferry.config("wait"), "migrate", "ann", "--wait"],
                                stdout=subprocess.PIPE, text=True)
        said = [wait.stdout.readline() for _ in range(3)]
        ferry.migrator()
        rest = wait.communicate()[0]
        assert said == ["ann is queued\n", "ann: queued\n", "ann: held up: no migrator is alive\n"]
        assert wait.returncode == 0 and "ann is on new" in rest, rest
        assert not ferry.user("ann").get("held_up")


def test_pause_and_resume(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    manual.migrator()
    assert manual.ctl("pause", "--reason", "look first")[0] == 0
    assert manual.ctl("migrate", user)[0] == 0
    client = manual.redis.client()
    before = client.xlen("imapferry:events")
    # The brake holds for everything that comes after it: a second order gets no further either.
    assert manual.ctl("migrate", second := new_user())[0] == 0
    net.wait_until("second order", lambda: client.xlen("imapferry:events") > before)
    assert {manual.route(u)["state"] for u in (user, second)} == {"queued"}
    assert "pause" in json.dumps(manual.ctl("status")[1])
    assert manual.ctl("resume")[0] == 0
    manual.wait_state(user, "flipped")
    manual.wait_state(second, "flipped")


def test_retry_after_a_failure(make_ferry, old, authority):
    user = new_user()
    fill(old, user, small(messages=10))
    with FakeImap(name="new") as target:
        target.misbehave("refuse", mailbox="INBOX", n=2)
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")},
                           {"migrator": {"retry_min": "1h", "retry_max": "1h"}})
        ferry.login(ferry.proxy(), user, "secret")
        ferry.migrator()
        ferry.wait_state(user, "blocked", "backoff")
        target.behave()
        assert ferry.ctl("retry", user)[0] == 0
        ferry.wait_state(user, "flipped")
        assert ferry.ctl("retry", user)[0] == 4


def test_failures_are_tried_again_with_growing_delay(make_ferry, old, authority):
    user = new_user()
    fill(old, user, small(messages=5))
    with FakeImap(name="new") as target:
        target.misbehave("close", at="list")
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")},
                           {"migrator": {"retry_min": "200ms", "retry_max": "10s"}})
        ferry.login(ferry.proxy(), user, "secret")
        ferry.migrator()
        net.wait_until("third failure", lambda: int(ferry.route(user).get("attempts") or 0) >= 3, timeout=30)
        stamps = [(int(number.split("-")[0]), e["state"]) for number, e in ferry.redis.client().xrange("imapferry:events")
                  if e.get("user") == user]
        failed = [t for t, s in stamps if s == "backoff"]
        begun = [t for t, s in stamps if s == "copying"]
        rests = [b - f for f, b in zip(failed, begun[1:])]
        assert len(rests) >= 2 and rests[1] > rests[0] * 1.3, rests
        target.behave()
        ferry.wait_state(user, "flipped")


def test_flip_means_migrate_now(make_ferry, backends, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "cutover": "manual"}})
    ferry.migrator()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "now")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


def test_cutover_by_hand(make_ferry, backends, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "cutover": "manual"}})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    assert ferry.user(user)["backend"] == "old"
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "looks good")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


def test_flip_by_force_skips_the_copy_and_is_audited(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    proxy = manual.proxy()
    manual.migrator()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert manual.ctl("flip", user, "--to", "new", "--force", "--reason", "they asked for it")[0] == 0
        route = manual.wait_state(user, "flipped", "held")
        assert wire.separator() == "/", "a session that has nothing open goes on there"
    assert route["backend"] == "new"
    assert "freezing" in states(manual, user), "the freeze is not skipped"
    audit = [e for _, e in manual.redis.client().xrange("imapferry:audit") if e.get("user") == user]
    assert any("they asked for it" in e["reason"] for e in audit), audit


def test_flip_by_force_locks_nobody_out(make_ferry):
    """A name that is none, or a user whom the other server doesn't have: nothing is done, and what was answered is said."""
    with FakeImap("old") as source, FakeImap("new") as target:
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, MANUAL)
        force = ("--to", "new", "--force", "--reason", "x")
        target.strangers.add("typo@x")
        status, answer = ferry.ctl("flip", "typo@x", *force)
        assert status == 4 and "new does not let master_user admin in for typo@x: " in answer["error"], answer
        assert answer["error"].endswith("To do it all the same: --yes") and not ferry.route("typo@x")
        assert ferry.ctl("flip", "ann@x", *force)[0] == 0
        assert ferry.ctl("flip", "typo@x", *force, "--yes")[0] == 0 and ferry.route("typo@x")["state"] == "queued"
        assert ferry.ctl("flip", "bob@x", "--to", "new", "--reason", "x", "--yes")[0] == 2
        away = backend(target, "imap", address="imap://127.0.0.1:1")
        status, answer = ferry.ctl("flip", "bob@x", *force, backends={"new": away})
        assert status == 4 and "whether bob@x is on new can't be seen: " in answer["error"], answer
        status, answer = ferry.ctl("flip", "bob@x", *force, backends={"new": backend(target, "imap", master=False)})
        assert status == 0 and "it has no master_user to ask with" in answer["note"], answer


def test_back_to_the_old_server(manual, old, new):
    """By force only, and held there until released."""
    user = new_user()
    fill(old, user, small(messages=5))
    proxy = manual.proxy()
    manual.migrator()
    assert manual.ctl("migrate", user, "--wait")[0] == 0
    assert manual.ctl("flip", user, "--to", "old", "--force", "--reason", "back")[0] == 0
    route = manual.wait_state(user, "held")
    assert route["backend"] == "old"
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.separator() == "."
    assert manual.ctl("migrate", user)[0] == 4
    assert manual.ctl("release", user)[0] == 0
    assert manual.route(user)["state"] == "resting"


def test_unknown_backend(manual):
    assert manual.ctl("flip", "ann", "--to", "elsewhere", "--reason", "x")[0] == 2
