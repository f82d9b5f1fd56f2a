"""Redis fails over to a replica by a real Sentinel in the middle of things: the same target, nothing doubled, logins go on,
and no cut-over begins in the quarantine, while a flip that was decided is carried out."""
import signal
import time

import pytest
import redis as redis_client

from harness import net, sentinel
from harness.scene import assert_equal, connect, fill, new_user, sign_in_twice, small

BRIEF, LONG = "1s", "10s"
SETTINGS = {"proxy": {"store_timeout": "1s", "lease": "500ms"}, "migration": {"trigger": "manual"}}


@pytest.fixture
def group(redis_program):
    with sentinel.Group(program=redis_program) as g:
        yield g


@pytest.fixture
def quick_group(redis_program):
    """That soon fails over again."""
    with sentinel.Group(failover_timeout=1000, program=redis_program) as g:
        yield g


def make(make_ferry, backends, group, lease_long, **proxy):
    settings = dict(SETTINGS, proxy=dict(SETTINGS["proxy"], lease_long=lease_long, **proxy))
    return make_ferry(backends, settings, store=group)


def migrate_until(ferry, user, point):
    """The migrator, stopped at this point."""
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": point + ":stop"})
    assert ferry.ctl("migrate", user)[0] == 0
    net.wait_until(point, migrator.is_stopped, timeout=30)
    return migrator


def fail_over(group, migrator):
    try:
        group.kill_master()
        group.wait_failover()
    finally:
        migrator.signal(signal.SIGCONT)


def events(group, user):
    """[(ms, state or kind)] of an account, and of the store itself."""
    found = []
    for at, e in group.client().xrange("imapferry:events"):
        if e["user"] in (user, ""):
            found.append((int(at.partition("-")[0]), e["state"] if e["user"] else e["kind"]))
    return found


def quarantine(group, user):
    """(begin, end) in ms, and the account's states in it."""
    store = group.client().hgetall("imapferry:store")
    end = int(store["quarantine_until"])
    begin = end - int(store["quarantine"])
    assert int(store["generation"]) > 1
    return begin, end, [state for at, state in events(group, user) if begin <= at < end]


def logs_in(proxy, user):
    with connect(proxy) as wire:
        return wire.login(user).startswith(b"l1 OK")


@pytest.mark.parametrize("point,states", [
    ("ledger.landed.answered:2", []), ("script.freeze.answered:1", ["ready"]),
])
def test_no_cut_over_in_the_quarantine(make_ferry, backends, group, old, new, point, states):
    """In the middle of the copy; and in a freeze, which the first script on the new master ends."""
    ferry = make(make_ferry, backends, group, BRIEF)
    user = new_user("failover")
    fill(old, user, small(messages=60, big=(2 << 20,)))
    proxy = ferry.proxy()
    migrator = migrate_until(ferry, user, point)
    fail_over(group, migrator)
    ferry.wait_state(user, "flipped")
    begin, end, within = quarantine(group, user)
    assert end - begin == 1650 + sentinel.LAG * 1000, "the job lease, which is the longer one, and a tenth"
    assert not {"preparing", "freezing", "flipping", "flipped"} & set(within), within
    assert set(within[1:]) <= set(states), within
    after = [state for at, state in events(group, user) if at >= begin]
    assert after[0] == "generation", after
    assert not states or after[1] in (*states, "copying"), after  # whoever takes the job over ends a freeze too
    assert logs_in(proxy, user)
    ferry.stop_all()
    assert_equal(old, new, user, 61)


@pytest.mark.parametrize("point,state", [("script.freeze.answered:1", "ready"), ("script.flip.answered:1", "flipping")])
def test_no_flip_while_a_replica_is_made_master(make_ferry, backends, group, old, new, point, state):
    """Sentinel has told a replica to be master, and the old one does not know yet: it still has the other replica, but what
    it writes now will be lost. Nobody may be told of a flip before all replicas that there were have it."""
    ferry = make(make_ferry, backends, group, LONG)
    user = new_user("failover")
    fill(old, user, small(messages=5))
    migrator = migrate_until(ferry, user, point)
    group.stop_sentinel()
    promoted, stays = group.replicas()
    promoted.client().replicaof("NO", "ONE")
    net.wait_until("one replica", lambda: group.client().info("replication")["connected_slaves"] == 1)
    migrator.signal(signal.SIGCONT)
    if state == "ready":
        net.wait_until("thaw", lambda: ferry.route(user)["state"] == "backoff")
        assert ferry.route(user)["reason"].startswith("store:"), ferry.route(user)
    else:
        migrator.wait("event=flip_waits .*replicas")
        assert ferry.route(user)["state"] == state
    promoted.client().replicaof(net.HOST, group.master.port)  # it was not to be
    ferry.wait_state(user, "flipped")
    assert stays.client().role()[0] == "slave"


def test_decided_flip_is_carried_out_in_the_quarantine(make_ferry, backends, group, old, new):
    ferry = make(make_ferry, backends, group, LONG)
    user = new_user("failover")
    fill(old, user, small(messages=30))
    proxy = ferry.proxy()
    migrator = migrate_until(ferry, user, "script.flip.answered:1")
    assert ferry.route(user)["state"] == "flipping"
    fail_over(group, migrator)
    ferry.wait_state(user, "flipped")
    _, _, within = quarantine(group, user)
    assert "flipped" in within, within
    net.wait_until("login", lambda: logs_in(proxy, user))
    ferry.stop_all()
    assert_equal(old, new, user, 30)


def begins(group):
    try:
        return group.ask("FAILOVER", sentinel.NAME)
    except redis_client.ResponseError:  # the one before is not through
        return False


def over(group, how):
    """Redis fails over; twice: to one more behind that at once, which may know nothing of the one in between."""
    for _ in range(2 if how == "twice" else 1):
        before = group.master
        if how == "kill":
            before.kill()
        else:
            net.wait_until("Sentinel that begins", lambda: begins(group))
        group.wait_failover(before)


def still_live(proxy, wire, idle):
    try:
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        idle.line(b"DONE")
        assert idle.until(b"i ")[-1].startswith(b"i OK")
        for w in (wire, idle):
            assert w.command(b"f", b"FETCH 1:* (UID)")[-1].startswith(b"f OK")
            w.close()
    except AssertionError as e:
        raise AssertionError(f"{e}\n{proxy.tail(200)}") from None


@pytest.mark.parametrize("how", ["kill", "twice"])
@pytest.mark.parametrize("who,point", [
    *(("migrator", f"script.{script}.{when}:1") for script in ("prepare", "freeze", "flip") for when in ("sent", "answered")),
    *(("proxy", f"script.{script}:1") for script in ("seen.sent", "seen.answered", "prepared.sent", "prepared.answered", "frozen.sent")),
])
def test_account_with_sessions_moves_over_failovers(make_ferry, backends, quick_group, old, new, who, point, how):
    """Whoever says or was told something at this moment stands still until there is another master, for less than a lease."""
    user, group = new_user("failover"), quick_group
    ferry = make(make_ferry, backends, group, LONG, store_timeout="3s", lease="5s")
    fill(old, user, small(messages=10))
    env = {"IMAPFERRY_FAULT": point + ":stop"}
    proxies = [ferry.proxy(env=env if who == "proxy" else None), ferry.proxy()]
    wires = [sign_in_twice(proxy, user) for proxy in proxies]
    migrator = ferry.migrator(env=env if who == "migrator" else None)
    assert ferry.ctl("migrate", user)[0] == 0
    stopped = migrator if who == "migrator" else proxies[0]
    net.wait_until(point, stopped.is_stopped, timeout=30)
    group.wait_replicas()
    try:
        over(group, how)
    finally:
        stopped.signal(signal.SIGCONT)
    ferry.wait_state(user, "flipped", timeout=40)
    for proxy, pair in zip(proxies, wires):
        still_live(proxy, *pair)
    ferry.stop_all()
    assert_equal(old, new, user, 10)


@pytest.mark.parametrize("point", ["register.sent:1", "register.answered:1", "where.sent:2", "where.answered:2"])
def test_account_with_sessions_moves_behind_two_failovers(make_ferry, backends, quick_group, old, new, point):
    """A proxy stands still in the middle of what it says to the first new master, until there is the second."""
    user, group = new_user("failover"), quick_group
    ferry = make(make_ferry, backends, group, LONG, store_timeout="3s", lease="5s")
    fill(old, user, small(messages=10))
    proxies = [ferry.proxy(env={"IMAPFERRY_FAULT": f"script.{point}:stop"}, proxy={"threads": 1}), ferry.proxy()]
    wires = [sign_in_twice(proxy, user) for proxy in proxies]
    group.wait_replicas()
    over(group, "ask")
    net.wait_until(point, proxies[0].is_stopped, timeout=30)
    try:
        over(group, "ask")
    finally:
        proxies[0].signal(signal.SIGCONT)
    ferry.migrator()
    net.wait_until("store that writes", lambda: ferry.ctl("migrate", user)[0] == 0)
    ferry.wait_state(user, "flipped", timeout=60)
    for proxy, pair in zip(proxies, wires):
        still_live(proxy, *pair)
    ferry.stop_all()
    assert_equal(old, new, user, 10)


def test_proxies_register_again(make_ferry, backends, group, old):
    """The replicas never heard of the session; the user does not notice."""
    ferry = make(make_ferry, backends, group, LONG)
    user = new_user("failover")
    fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    key = f"imapferry:sessions:{user}"
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        name = net.wait_until("registration", lambda: group.client().hkeys(key))
        group.wait_replicas()
        for replica in group.replicas():
            replica.client().delete(key)
        group.kill_master()
        group.wait_failover()
        net.wait_until("registration on the new master", lambda: group.client().hkeys(key) == name)
        assert wire.command(b"n1", b"NOOP")[-1].startswith(b"n1 OK")
        assert logs_in(proxy, user)


@pytest.mark.parametrize("option,value", [("appendfsync", "everysec"), ("min-replicas-to-write", "0")])
def test_store_that_may_forget_over_a_failover_is_not_migrated_on(make_ferry, backends, group, option, value):
    ferry = make(make_ferry, backends, group, BRIEF)
    group.client().config_set(option, value)
    migrator = ferry.migrator(wait=False)
    migrator.wait(f"event=store_unsafe .*{option}")
    status, answer = ferry.ctl("status")
    assert status == 0 and answer["store"]["durability"] == "unsafe", answer
    assert sentinel.PASSWORD not in str(answer) and "p%40ss" not in str(answer)


def test_replica_that_was_there_between_two_waits_is_waited_for(make_ferry, backends, group, old):
    """It may be becoming the master: what the other one alone has is lost then."""
    ferry = make(make_ferry, backends, group, BRIEF)
    leaving = group.replicas()[0]
    watching = group.client()
    watching.connection_pool.connection_kwargs["socket_timeout"] = 20

    def follow(many):
        words = (net.HOST, group.master.port) if many == 2 else ("NO", "ONE")
        leaving.client().execute_command("REPLICAOF", *words)
        net.wait_until("replicas", lambda: group.client().info("replication")["connected_slaves"] == many)

    def ask():
        """What staff are told, what becomes of the account, and how long both took."""
        user = new_user("between")
        fill(old, user, small(messages=1))  # one intent: each waits behind the other for what never comes
        follow(2)
        with watching.monitor() as monitor:
            next(c for c in monitor.listen() if c["command"].upper() == "INFO REPLICATION" and c["client_type"] != "unix")
        begin = time.monotonic()
        follow(1)
        answer = ferry.ctl("migrate", user)
        route = ferry.wait_state(user, "backoff", "flipped")
        return answer, route, time.monotonic() - begin

    follow(1)
    # A short lease of the job would lapse while its connection waits for the replicas.
    ferry.migrator(migrator={"retry_min": "1m", "retry_max": "1m", "job_lease": "10s"})
    # For longer than that (REPLICA_GONE_MS), which a busy machine may take, no replica is waited for.
    (status, answer), route = next(x[:2] for x in (ask() for _ in range(6)) if x[2] < 20)
    assert status == 5 and "have not confirmed it" in answer["error"], (status, answer)
    # "the replicas of Redis do not keep up"; or of what had to wait behind that question for too long.
    assert route["state"] == "backoff", route
    assert "the replicas of Redis do not keep up" in route["reason"] or route["reason"].startswith("store: "), route


def test_intents_wait_together_for_a_replica_that_stands_still(make_ferry, backends, group, old):
    """Each would wait for its own time-out else, one behind the other, while the lease waits behind all of them."""
    ferry = make(make_ferry, backends, group, BRIEF)
    user, still = new_user("together"), group.replicas()[0]
    fill(old, user, small(messages=60))
    ferry.migrator(migrator={"retry_min": "1m", "retry_max": "1m", "job_lease": "10s"})
    still.signal(signal.SIGSTOP)
    group.client().config_resetstat()
    try:
        ferry.ctl("migrate", user)
        route = ferry.wait_state(user, "backoff", "blocked")
    finally:
        still.signal(signal.SIGCONT)
    assert "the replicas of Redis do not keep up" in route["reason"], route
    waits = group.client().info("commandstats")["cmdstat_wait"]["calls"] - 1  # that of imapferryctl
    kinds = [entry.split()[1] for key in group.client().scan_iter(f"imapferry:ledger:{user}:*")
             for entry in group.client().lrange(key, 0, -1)]
    waited_for = kinds.count("sent") + kinds.count("settled")  # the latter of a batch in doubt, by the next try
    assert waited_for >= 8 and waits < waited_for, (waits, kinds)


def test_staff_are_told_what_a_failover_would_undo(make_ferry, backends, group, tmp_path):
    """A Sentinel knows of two replicas, and one follows: what was asked for may be said again when both do."""
    ferry = make(make_ferry, backends, group, BRIEF)
    away, listed = group.replicas()[0], tmp_path / "list"
    listed.write_text("ann\nbob\n")
    asked = [("hold", "carl"), ("migrate", "--all", str(listed))]
    away.signal(signal.SIGSTOP)
    try:
        for verb in asked:
            status, answer = ferry.ctl(*verb)
            assert status == 5 and "have not confirmed it" in answer["error"], (status, answer)
    finally:
        away.signal(signal.SIGCONT)
    group.wait_replicas()
    for verb in asked:
        status, answer = ferry.ctl(*verb)
        assert status == 0 and "message" in answer, (status, answer)
    assert ferry.route("carl")["state"] == "held" and ferry.route("bob")["state"] == "queued"
