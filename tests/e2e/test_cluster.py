"""A Redis Cluster: each partition is a store; one that moves, fails over or is away concerns its own accounts alone."""
import imaplib
import os
import re

import pytest

from harness import cluster, net
from harness.ferry import backend
from harness.scene import assert_equal, connect, fill, small
from harness.stores import place, user_in

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")
SETTINGS = {"proxy": {"store_timeout": "2s", "threads": 1}}


@pytest.fixture(scope="module")
def of_module():
    with cluster.Cluster() as c:
        yield c


@pytest.fixture
def whole(of_module):
    """Empty, and all nodes are there."""
    for node in of_module.masters():
        node.client().flushall()
    return of_module


@pytest.fixture
def make(make_ferry, old, new, authority):
    def made(store, **settings):
        return make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                          {**SETTINGS, **settings}, store=store)
    return made


def user_of(whole, nth):
    return user_in(nth - 1, whole.partitions)


def test_accounts_are_moved_with_the_rights_of_the_sample_and_no_more(whole, make, old, new):
    """Of a partition at each node."""
    with open(os.path.join(CONF, "cluster.acl"), encoding="ascii") as f:
        line = f.read().split()
    password = next(w for w in line if w.startswith(">"))[1:]
    for node in whole.nodes:
        node.client().execute_command("ACL", "SETUSER", *line[1:])
    denied = [node.client().info("errorstats").get("errorstat_NOPERM") for node in whole.nodes]
    ferry = make(whole, redis={"url": re.sub("://.*@", f"://imapferry:{password}@", whole.url)})
    each = [whole.partitions_of(node)[0] for node in whole.masters()]
    users = [user_of(whole, nth) for nth in each]
    for user in users:
        fill(old, user, small(messages=5))
    proxy, migrator = ferry.proxy(), ferry.migrator()
    wires = [connect(proxy) for _ in users]
    for wire, user in zip(wires, users):
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    for nth, user in zip(each, users):
        ferry.wait_state(user, "flipped")
        assert ferry.user(user)["store"] == nth
        assert_equal(old, new, user, 5)
    for wire in wires:
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        wire.close()
    status, answer = ferry.ctl("status")
    assert status == 0 and answer["backends"]["new"] == len(users), answer
    assert [s["error"] for s in answer["stores"]] == [None] * whole.partitions
    for verb in (("sessions", users[0]), ("check",), ("audit",), ("audit", users[0]), ("list",), ("pause", "--reason", "x"), ("resume",)):
        status, answer = ferry.ctl(*verb)
        assert status == 0 or verb == ("check",), (verb, answer)
    assert denied == [node.client().info("errorstats").get("errorstat_NOPERM") for node in whole.nodes]
    assert not proxy.find("event=store_error") and not migrator.find("event=store_error")
    keys = [key for node in whole.masters() for key in node.client().scan_iter()]
    assert keys and all(whole.prefix(place(key.split(":")[2], whole.partitions) + 1) == key.split(":")[0]
                        for key in keys if ":route:" in key)


def sign_in(proxy, user):
    wire = connect(proxy)
    assert wire.login(user).startswith(b"l1 OK")
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    return wire


def lives(wire):
    return wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")


def logs_in(ferry, proxy, user):
    try:
        return ferry.login(proxy, user, "secret")
    except imaplib.IMAP4.error as e:
        assert "UNAVAILABLE" in str(e)
        return None


def neighbour(whole, nth):
    """A partition that is with another node than this one."""
    here = whole.node_of(nth)
    return next(n for n in range(1, whole.partitions + 1) if whole.node_of(n) is not here)


def generation(whole, nth):
    return int(whole.call(nth, "hget", f"{whole.prefix(nth)}:store", "generation"))


@pytest.mark.parametrize("how", ["asked", "killed"])
def test_failover_of_a_node_is_one_of_its_partitions(make, old, new, how):
    with cluster.Cluster() as whole:
        ferry = make(whole)
        near, far = user_of(whole, 1), user_of(whole, neighbour(whole, 1))
        for user in (near, far):
            fill(old, user, small(messages=5))
        proxy = ferry.proxy()
        wires = [sign_in(proxy, near), sign_in(proxy, far)]
        before = [generation(whole, n) for n in (1, neighbour(whole, 1))]
        node, apart = whole.node_of(1), neighbour(whole, 1)
        if how == "asked":
            whole.fail_over(node, "FORCE")
        else:
            node.kill()
            ferry.login(proxy, far, "secret")
            net.wait_until("another master", lambda: whole.node_of(1) is not node)
            assert logs_in(ferry, proxy, near) is None, "what its new master writes nobody else would have"
            node.start()  # as a replica
        net.wait_until("login behind the failover", lambda: logs_in(ferry, proxy, near), 30)
        ferry.login(proxy, far, "secret")
        assert [lives(wire) for wire in wires] == [True, True]
        assert generation(whole, 1) > before[0] and generation(whole, apart) == before[1]
        ferry.migrator(migrator={"job_lease": "1s"})
        ferry.wait_state(far, "flipped")
        assert ferry.ctl("migrate", near)[0] in (0, 5)
        assert ferry.route(near)["state"] != "flipped", "the quarantine is that of partition 1"
        assert [lives(wire) for wire in wires] == [True, True]
        assert how == "killed" or not proxy.find("event=lease_lapsed")


def test_slot_that_moves_under_load(make, old, new, whole):
    """Key by key, with a break in the middle, in which nothing of the partition is done and nobody is thrown out."""
    ferry = make(whole, proxy={**SETTINGS["proxy"], "lease": "3s", "lease_long": "4s"})
    users = [user_of(whole, 1) for _ in range(4)]
    apart = user_of(whole, neighbour(whole, 1))
    for user in (*users, apart):
        fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    ferry.migrator()
    wires = [sign_in(proxy, user) for user in users[:3]]
    ferry.wait_state(users[0], "flipped")
    before, to = generation(whole, 1), whole.other(1)
    to.client().function_flush()
    slot, here = whole.begin_move(1, to)
    assert whole.move_keys(slot, here, to, most=7) == 7
    kept = sorted(here.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10000))
    arrived = sorted(to.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10000))
    proxy.wait("event=store_down .*on its way")
    assert logs_in(ferry, proxy, users[3]) is None
    assert [lives(wire) for wire in wires] == [True] * 3
    ferry.login(proxy, apart, "secret")
    status, answer = ferry.ctl("user", users[0])
    assert status == 5 and "on its way" in answer["error"], answer
    assert sorted(here.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10000)) == kept
    assert sorted(to.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10000)) == arrived
    whole.move_keys(slot, here, to)
    whole.end_move(slot, here, to)
    net.wait_until("login", lambda: logs_in(ferry, proxy, users[3]), 20)
    assert ferry.user(users[0])["backend"] == "new" and generation(whole, 1) > before
    assert [lives(wire) for wire in wires] == [True] * 3
    for user in users:
        ferry.wait_state(user, "flipped")
    assert [lives(wire) for wire in wires] == [True] * 3
    assert not proxy.find("event=lease_lapsed")
    for user in users:
        assert_equal(old, new, user, 5)


@pytest.mark.parametrize("how", ["failover", "stable"])
def test_half_of_a_slot_is_not_taken_for_all_of_it(make, old, how):
    """The node forgets that it gives the slot away: what is with the other node looks like accounts that nobody has moved."""
    with cluster.Cluster() as whole:
        ferry = make(whole, migration={"trigger": "manual"})
        users = [user_of(whole, 1) for _ in range(5)]
        for user in users:
            fill(old, user, small(messages=1))
            assert ferry.ctl("hold", user, "--reason", "x")[0] == 0
        proxy = ferry.proxy()
        ferry.login(proxy, users[0], "secret")
        to = whole.other(1)
        slot, here = whole.begin_move(1, to)
        proxy.wait("event=store_down .*on its way")
        for user in users[1:3]:
            here.client(False).migrate(net.HOST, to.port, f"{whole.prefix(1)}:route:{user}", 0, 5000, auth=cluster.PASSWORD)
        if how == "failover":
            here = whole.fail_over(here)
        else:
            whole.say(here, "SETSLOT", slot, "STABLE")
        proxy.wait(f"event=store_refused .*keys of slot {slot} are at 127.0.0.1:{to.port}, too")
        assert logs_in(ferry, proxy, users[1]) is None and logs_in(ferry, proxy, users[4]) is None
        whole.say(here, "SETSLOT", slot, "MIGRATING", whole.id(to))
        whole.say(to, "SETSLOT", slot, "IMPORTING", whole.id(here))
        whole.move_keys(slot, here, to)
        whole.end_move(slot, here, to)
        net.wait_until("login", lambda: logs_in(ferry, proxy, users[1]), 20)
        assert [ferry.user(user)["state"] for user in users] == ["held"] * 5


def test_node_without_a_replica_stops_its_own(make, old):
    with cluster.Cluster(replicas=0) as whole:
        ferry = make(whole)
        near, far = user_of(whole, 1), user_of(whole, neighbour(whole, 1))
        for user in (near, far):
            fill(old, user, small(messages=1))
        proxy = ferry.proxy()
        wires = [sign_in(proxy, near), sign_in(proxy, far)]
        node, its = whole.node_of(1), whole.partitions_of(whole.node_of(1))
        node.kill()
        proxy.wait("event=store_down")
        assert logs_in(ferry, proxy, near) is None
        ferry.login(proxy, far, "secret")
        status, answer = ferry.ctl("status")
        assert status == 5 and [s["store"] for s in answer["stores"] if s["error"]] == its, answer
        assert ferry.ctl_raw("user", far)[0] == 0 and ferry.ctl_raw("user", near)[0] == 5
        node.start()
        net.wait_until("login once it is back", lambda: logs_in(ferry, proxy, near), 30)
        assert [lives(wire) for wire in wires] == [True, True]


def test_another_number_of_partitions_is_refused(whole, make):
    ferry = make(whole, migration={"trigger": "manual"})
    for number in (4, 16):
        url = whole.url_of(whole.nodes[:2], partitions=number)
        status, out, err = ferry.ctl_raw("status", redis={"url": url})
        assert status == 5 and re.search(f"by its record this is store ([1-8]) of 8, and by url .* it is \\1 of {number}: how many partitions", out + err), (out, err)
        assert ferry.ctl_raw("init", redis={"url": url})[0] in (4, 5)
    assert all(int(node.client().dbsize()) for node in whole.masters())
    assert ferry.ctl_raw("status")[0] == 0
