"""A Redis Cluster: each partition is a store; one that moves, fails over or is away concerns its own accounts alone."""
import contextlib
import imaplib
import os
import re
import signal
import subprocess
import time

import pytest

from fakes import fake_node
from harness import cluster, net, redisd
from harness.daemon import program
from harness.ferry import backend
from harness.scene import assert_equal, fill, sign_in, small
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
    def made(store, init=True, **settings):
        return make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                          {**SETTINGS, **settings}, store=store, init=init)
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
    wires = [sign_in(proxy, user) for user in users]
    for nth, user in zip(each, users):
        ferry.wait_state(user, "flipped")
        assert ferry.user(user)["store"] == nth and f"store {nth}" in " ".join(ferry.ctl_raw("user", user)[1].split())
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
        ferry = make(whole, proxy={**SETTINGS["proxy"], "lease": "3s", "lease_long": "4s"})
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
    ferry = make(whole, proxy={**SETTINGS["proxy"], "lease": "10s", "lease_long": "10s"})
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


@pytest.mark.parametrize("how", ["failover", "stable", "away"])
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
        gone = [whole.replica_of(to), to] if how == "away" else []
        for node in gone:
            node.kill()
        if gone:
            net.wait_until("failed", lambda: any(port == to.port and "fail" in flags for _, port, flags, _ in whole.rows(here)))
        if how != "stable":
            whole.fail_over(here, *(["FORCE"] if gone else []))
        else:
            whole.say(here, "SETSLOT", slot, "STABLE")
        if gone:
            proxy.wait(f"event=store_refused .*127.0.0.1:{to.port} can't be asked whether it has keys of slot {slot}, too: it has failed")
            assert logs_in(ferry, proxy, users[1]) is None
        for node in reversed(gone):
            node.start()
        proxy.wait(f"event=store_refused .*keys of slot {slot} are at 127.0.0.1:{to.port}, too")
        assert logs_in(ferry, proxy, users[1]) is None and logs_in(ferry, proxy, users[4]) is None
        whole.fix()
        net.wait_until("login", lambda: logs_in(ferry, proxy, users[1]), 20)
        assert [ferry.user(user)["state"] for user in users] == ["held"] * 5


@pytest.mark.parametrize("how", ["seen", "followed"])
def test_receiver_without_slots_that_is_gone_with_half_of_one(make, old, how):
    """The giving node fails over meanwhile. Who has seen where the slot was going waits for that node; so do all others if it has a replica, which
    can be made to take its place."""
    with cluster.Cluster(masters=2, partitions=2, spare=1 if how == "seen" else 2) as whole:
        to, *replica = [n for n in whole.masters() if not whole.partitions_of(n)]
        for node in replica:
            whole.say(node, "REPLICATE", whole.id(to))
            net.wait_until("replica", lambda: to.client().info("replication")["min_slaves_good_slaves"])
        to.client().config_set("min-replicas-to-write", len(replica))
        ferry = make(whole, migration={"trigger": "manual"})
        users = [user_of(whole, 1) for _ in range(2)]
        for user in users:
            fill(old, user, small(messages=1))
            assert ferry.ctl("hold", user, "--reason", "x")[0] == 0
        proxy = ferry.proxy() if how == "seen" else None
        slot, here = whole.begin_move(1, to)
        if proxy:
            proxy.wait(f"event=store_down .*on its way to 127.0.0.1:{to.port}")
        here.client(False).migrate(net.HOST, to.port, f"{whole.prefix(1)}:route:{users[1]}", 0, 5000, auth=cluster.PASSWORD)
        for node in replica:
            net.wait_until("replica that has it", lambda: whole.say(node, "COUNTKEYSINSLOT", slot))
        lost = whole.id(to)
        to.kill()
        net.wait_until("failed", lambda: any(port == to.port and "fail" in flags for _, port, flags, _ in whole.rows(here)))
        whole.fail_over(here, "FORCE")
        back = replica[0] if replica else to
        asked, found = f"127.0.0.1:{to.port} can't be asked whether it has keys of slot {slot}, too", f"keys of slot {slot} are at 127.0.0.1:{back.port}, too"

        def refused(why):
            if proxy:
                proxy.wait(f"event=store_refused .*{why}")
                assert logs_in(ferry, proxy, users[1]) is None
            else:
                status, answer = ferry.ctl("user", users[1])
                assert status == 5, answer
                return why in answer["error"]
            return True
        net.wait_until("refusal", lambda: refused(asked), 20)
        if replica:
            whole.say(back, "FAILOVER", "TAKEOVER")
        else:
            to.start()
        net.wait_until("what it had is back", lambda: refused(found), 20)
        back.client().config_set("min-replicas-to-write", 0)
        if replica:  # which does not know what was on its way to its master
            for node in (n for n in whole.nodes if n is not to):
                whole.say(node, "FORGET", lost)
            whole.say(back, "SETSLOT", slot, "IMPORTING", whole.id(whole.node_of(1)))
        whole.fix()
        net.wait_until("all of it", lambda: ferry.ctl("user", users[1])[0] == 0, 20)
        assert [ferry.user(user)["state"] for user in users] == ["held"] * 2


def test_staff_do_nothing_to_half_of_a_slot(whole, make):
    """With no daemon that has seen it: what is at the other node is not taken for accounts without a record, nor for a lost store."""
    ferry = make(whole, migration={"trigger": "manual"})
    users = [user_of(whole, 1) for _ in range(2)]
    for user in users:
        assert ferry.ctl("hold", user, "--reason", "x")[0] == 0
    to = whole.other(1)
    slot, here = whole.begin_move(1, to)

    def all_refuse(why):
        for verb in (("user", users[1]), ("migrate", users[1]), ("route", "export", os.path.join(ferry.folder, "export")), ("init",)):
            status, out, err = ferry.ctl_raw(*verb)
            assert status == 5 and re.search(why, out + err), (verb, status, out, err)
    def loses(key):
        here.client(False).migrate(net.HOST, to.port, f"{whole.prefix(1)}:{key}", 0, 5000, auth=cluster.PASSWORD)
    try:
        loses(f"route:{users[1]}")
        all_refuse("is on its way")
        whole.say(here, "SETSLOT", slot, "STABLE")
        all_refuse(f"keys of slot {slot} are at 127.0.0.1:{to.port}, too")
        loses("store")
        all_refuse(f"keys of slot {slot} are at 127.0.0.1:{to.port}, too")
    finally:
        whole.fix()
    assert [ferry.user(user)["state"] for user in users] == ["held"] * 2


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
        lines = [line.strip() for line in ferry.ctl_raw("status")[1].splitlines()[:6]]
        assert lines[0].startswith("stores") and lines[0].endswith("?partitions=8") and \
            " ".join(f"{{{nth:02}}}" for nth in its) + ":" in lines, lines
        net.wait_until("failed", lambda: any("fail" in flags for _, _, flags, _ in whole.rows(whole.masters()[0])))
        assert ferry.ctl_raw("user", far)[0] == 0 and ferry.ctl_raw("user", near)[0] == 5
        begun = ferry.proxy()
        net.wait_until("login by one that begins meanwhile", lambda: logs_in(ferry, begun, far), 10)
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


def test_slot_that_takes_longer_than_a_lease(make, old, whole):
    """Sessions stand still, and go on."""
    ferry = make(whole, migration={"trigger": "manual"}, proxy={**SETTINGS["proxy"], "lease": "500ms", "lease_long": "1s"})
    user = user_of(whole, 2)
    fill(old, user, small(messages=1))
    proxy = ferry.proxy()
    wire, to = sign_in(proxy, user), whole.other(2)
    slot, here = whole.begin_move(2, to)
    proxy.wait("event=lease_lapsed")
    wire.line(b"n NOOP")
    whole.move_keys(slot, here, to)
    whole.end_move(slot, here, to)
    assert wire.until(b"n ")[-1].startswith(b"n OK")
    assert lives(wire)


@pytest.mark.parametrize("point", ["script.freeze.answered:1", "script.flip.answered:1"])
def test_slot_that_moves_in_a_cut_over(make, old, new, whole, point):
    """The freeze ends by a thaw and comes again; what was decided is carried out."""
    ferry = make(whole, migration={"trigger": "manual"}, proxy={**SETTINGS["proxy"], "lease": "10s", "lease_long": "10s"})
    user = user_of(whole, 3)
    fill(old, user, small(messages=5))
    wire = sign_in(ferry.proxy(), user)
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": point + ":stop"})
    assert ferry.ctl("migrate", user)[0] == 0
    net.wait_until(point, migrator.is_stopped, timeout=30)
    whole.move(3, whole.other(3))
    migrator.signal(signal.SIGCONT)
    ferry.wait_state(user, "flipped")
    assert lives(wire)
    assert_equal(old, new, user, 5)


def test_export_and_restore(whole, make):
    """All of a node's partitions are lost, and brought back; the others are left as they are."""
    ferry = make(whole, migration={"trigger": "manual"})
    users = [user_of(whole, nth) for nth in range(1, whole.partitions + 1)]
    for user in users:
        assert ferry.ctl_raw("hold", user, "--reason", "x")[0] == 0
    file, left = os.path.join(ferry.folder, "export"), [generation(whole, nth) for nth in range(1, whole.partitions + 1)]
    assert ferry.ctl_raw("route", "export", file)[0] == 0
    status, answer = ferry.ctl("list")
    assert status == 0 and [(a["user"], a["store"]) for a in answer["accounts"]] == sorted((u, i) for i, u in enumerate(users, 1))
    lost = whole.node_of(1)
    its = whole.partitions_of(lost)
    lost.client().flushall()
    assert ferry.ctl_raw("init")[0] == 4
    status, out, err = ferry.ctl_raw("route", "restore", file)
    assert status == 0, (out, err)
    assert [ferry.user(user)["state"] for user in users] == ["held"] * len(users)
    assert [generation(whole, nth) for nth in range(1, whole.partitions + 1) if nth not in its] == \
        [g for nth, g in enumerate(left, 1) if nth not in its]
    lost.client().config_set("cluster-allow-reads-when-down", "yes")
    status, answer = ferry.ctl("doctor")
    lost.client().config_set("cluster-allow-reads-when-down", "no")
    assert sum(line["of"] == "proxies" for line in answer["checks"]) == 1, answer
    of_redis = [line["text"] for line in answer["checks"] if line["of"] == "redis"]
    assert all(any(f"{{{nth:02}}} answers, and is the master; its replicas: 1" in text for text in of_redis) for nth in range(1, 9)), of_redis
    assert any("cluster-allow-reads-when-down is" in text for text in of_redis), of_redis


def test_slot_that_moves_in_an_export(whole, make):
    """SCAN is answered by whichever node is asked: what has gone to another one is no reason to call it whole."""
    ferry = make(whole)
    here, slot = whole.node_of(1), next(n for n in whole.partitions_of(whole.node_of(1)) if n != 1)
    with here.client().pipeline(transaction=False) as p:
        for i in range(6000):  # of a neighbour, so that there are several pages
            p.set(f"{whole.prefix(slot)}:x:{i}", "")
        p.execute()
    users = [user_of(whole, 1) for _ in range(40)]
    for user in users:
        whole.client().hset(f"imapferry:route:{user}", mapping={"backend": "new", "state": "settled", "epoch": "6", "flipped_at": "1769853600123"})
    file = os.path.join(ferry.folder, "export")
    with subprocess.Popen([program("imapferryctl"), "-c", ferry.config(), "route", "export", file], stderr=subprocess.PIPE,
                          env={**os.environ, "IMAPFERRY_FAULT": "script.export.answered:1:stop"}) as run:
        _, how = os.waitpid(run.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(how)
        whole.move(1, whole.other(1))
        run.send_signal(signal.SIGCONT)
        _, err = run.communicate(timeout=30)
    assert run.returncode == 5 and not os.path.exists(file), err
    status, answer = ferry.ctl("route", "export", file)
    assert status == 0 and answer["exported"] == 40, answer


def test_tls_to_all_nodes(make, old, authority):
    """Which are called by their addresses; one certificate is for all."""
    cert, key = authority.issue("node", ("127.0.0.1",), usage="serverAuth,clientAuth")
    with cluster.Cluster(masters=2, replicas=0, partitions=4, papers=redisd.Papers(cert, key, authority.ca, False)) as whole:
        ferry = make(whole, redis={"ca_file": authority.ca})
        users = [user_of(whole, nth) for nth in (1, neighbour(whole, 1))]
        proxy = ferry.proxy()
        for user in users:
            fill(old, user, small(messages=1))
            ferry.login(proxy, user, "secret")
        whole.move(1, whole.other(1))
        net.wait_until("login", lambda: logs_in(ferry, proxy, users[0]), 20)


NAMES = {
    "IPv6": {"host": "::1"},
    "name": {"options": ("cluster-announce-hostname", "localhost", "cluster-preferred-endpoint-type", "hostname")},
    "name beside the address": {"options": ("cluster-announce-hostname", "nowhere.invalid")},
    "none": {"options": ("cluster-announce-hostname", "nowhere.invalid", "cluster-preferred-endpoint-type", "unknown-endpoint")},
}


@pytest.mark.parametrize("how", NAMES)
def test_what_nodes_are_called(make, old, how):
    """By one of them all others are found, and asked for the rest of a slot."""
    with cluster.Cluster(masters=3, replicas=0, partitions=4, **NAMES[how]) as whole:
        nth = whole.partitions_of(whole.nodes[0])[0]
        ferry = make(whole, redis={"url": whole.url_of(whole.nodes[2:3], host=None if how == "IPv6" else "localhost")})
        user = user_of(whole, nth)
        fill(old, user, small(messages=1))
        proxy = ferry.proxy()
        ferry.login(proxy, user, "secret")
        assert ferry.ctl_raw("status")[0] == 0
        to = whole.nodes[1]
        whole.move(nth, to)
        net.wait_until("login", lambda: logs_in(ferry, proxy, user), 20)
        assert ferry.ctl("user", user)[0] == 0
        name = {"IPv6": "::1", "name beside the address": "127.0.0.1"}.get(how, "localhost")
        proxy.wait(f"event=store_down why=\"partition .{nth:02}. is at {name}:{to.port} now")


# ---- nodes that lie

MYSELF = b"aa 127.0.0.1:1@2 myself,master - 0 1 1 connected 0-16383\n"
WORKS = {"EXISTS": b":0", "CLUSTER NODES": fake_node.bulk(MYSELF), "CONFIG": b"*0", "FCALL": b"*1\r\n$5\r\ngreet"}


@pytest.mark.parametrize("answers,why", [
    ({"EXISTS": b"-MOVED 5 127.0.0.1:OTHER"}, "is at 127.0.0.1:OTHER now"),
    ({"EXISTS": b"-MOVED 5 :1"}, "refused"),
    ({"EXISTS": b"-MOVED 5 ?:7000"}, "MOVED 5 ?:7000"),
    ({"EXISTS": b"-MOVED 99999 127.0.0.1:OTHER"}, "MOVED 99999"),
    ({"EXISTS": b"-ASK 5 127.0.0.1:OTHER"}, "ASK 5"),
    ({"EXISTS": b"-CLUSTERDOWN The cluster is down"}, "CLUSTERDOWN"),
    ({"EXISTS": b":1"}, "a key that has the bare prefix"),
    ({"EXISTS": b"*2000000"}, "too great a length"),
    ({"CLUSTER NODES": b"-ERR This instance has cluster support disabled"}, "cluster support disabled"),
    ({"CLUSTER NODES": fake_node.bulk(b"x" * (4 << 20) + b"x")}, "too many nodes"),
    ({"CLUSTER NODES": fake_node.bulk(b"no nodes at all")}, "not understood"),
    ({"CLUSTER NODES": fake_node.bulk(b"")}, "not understood"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF * 1001)}, "not understood"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb 127.0.0.1:1@2 master - 0 1 1 connected\n")}, "127.0.0.1:1 can't be asked"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb 127.0.0.1:OTHER@2 master - 0 1 1 connected\n"), "CLUSTER COUNTKEYSINSLOT": b":7"},
     "at 127.0.0.1:OTHER, too"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb 127.0.0.1:OTHER@2 master - 0 1 1 connected\n"), "CLUSTER COUNTKEYSINSLOT": b"+OK"},
     "can't be asked"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb 127.0.0.1:OTHER@2 master,fail - 0 1 1 disconnected 5461-10922\n")},
     "127.0.0.1:OTHER can't be asked"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb :0@0 master,noaddr - 0 1 1 disconnected 7\n")}, "bb:0 can't be asked"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb :1@2 master - 0 1 1 connected 7\n")}, "bb:1 can't be asked"),
    ({"CLUSTER NODES": fake_node.bulk(MYSELF + b"bb 127.0.0.1:OTHER@2 master - 0 1 1 connected\n"), "CLUSTER COUNTKEYSINSLOT": b":0",
      "CONFIG": b"*2\r\n$31\r\ncluster-preferred-endpoint-type\r\n" + fake_node.bulk(b"unknown-endpoint")}, "there is another node"),
    ({"FCALL": b"-ASK 5 127.0.0.1:OTHER"}, "is on its way to 127.0.0.1:OTHER"),
    ({"FCALL": b"-TRYAGAIN Multiple keys"}, "on its way to another node"),
])
def test_node_that_says_what_is_not_so(make, answers, why):
    """It is told what is the matter, in time, and nothing is believed."""
    with contextlib.ExitStack() as stack:
        node, other = [stack.enter_context(fake_node.Node({})) for _ in range(2)]
        port = b"%05d" % other.port
        for n in (node, other):
            n.answers.update({k: v.replace(b"OTHER", port) for k, v in {**WORKS, **answers}.items()})
        url = f"cluster://127.0.0.1:{node.port},127.0.0.1:{other.port}?partitions=2"
        ferry = make(node, redis={"url": url}, init=False)
        begin = time.monotonic()
        status, out, err = ferry.ctl_raw("status")
        assert status == 5 and why.replace("OTHER", port.decode()) in out + err, (out, err)
        assert time.monotonic() - begin < 5
        assert not any(words[1:2] and "greet" in words[1] for n in (node, other) for words in n.asked)


def test_greeting_that_is_answered_by_another_one(make):
    """It is given again from time to time, not at once and for ever."""
    with fake_node.Node(WORKS) as node:
        ferry = make(node, redis={"url": node.url}, init=False)
        status, out, err = ferry.ctl_raw("status")
        assert status == 5 and "by another one" in out + err, (out, err)
        assert 2 <= sum(words[0] == "FCALL" for words in node.asked) < 100, len(node.asked)
