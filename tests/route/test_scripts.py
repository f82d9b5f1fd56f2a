"""The route scripts against a real Redis, called as lib/store.c calls them: as functions of the library, the prefix as KEYS[1],
the store's id as ARGV[1]."""
import json
import re

import pytest
import redis as redis_client

from harness import net, redisd, scripts

STATES = ("resting queued copying ready preparing freezing flipping flipped settled backoff blocked held").split()
ENGAGED = "queued copying ready preparing freezing flipping".split()
TOKEN, EPOCH = "token-of-the-owner", 5
LONG = 600000


SCRIPTS = scripts.names()


class Store:
    """One process's view of a store."""

    def __init__(self, client, prefix="t"):
        self.client, self.prefix, self.id = client, prefix, ""

    def call(self, name, *args):
        return self.client.fcall(scripts.function(name), 1, self.prefix, self.id, *args)

    def key(self, *parts):
        return ":".join((self.prefix,) + parts)

    def init(self, quarantine=LONG):
        assert self.call("init", "id-one", quarantine) == ["ok"]
        return self.hello(quarantine)

    def hello(self, quarantine=LONG, *source):
        answer = self.call("hello", quarantine, *source)
        if answer == ["greet"]:
            answer = self.call("greet", quarantine, *source)
        if answer[0] == "ok":
            self.id = answer[1]
        return answer

    def generation(self):
        return int(self.client.hget(self.key("store"), "generation"))

    def route(self, user="ann"):
        return self.client.hgetall(self.key("route", user))

    def sessions(self, user="ann"):
        return self.client.hgetall(self.key("sessions", user))

    def events(self):
        return [fields for _, fields in self.client.xrange(self.key("events"))]

    def jobs(self, bulk=False):
        return [f["user"] for _, f in self.client.xrange(self.key("jobs:bulk" if bulk else "jobs"))]

    def audit(self):
        return [fields for _, fields in self.client.xrange(self.key("audit"))]

    def arrivals(self):
        return [fields for _, fields in self.client.xrange(self.key("arrivals"))]

    def now(self):
        s, us = self.client.time()
        return s * 1000 + us // 1000

    def plant(self, state, user="ann", **fields):
        """A route in a state as its scripts leave it."""
        owned = state in ("copying", "ready", "preparing", "freezing", "flipping")
        r = {"backend": "new" if state in ("flipped", "settled") else "old", "state": state, "epoch": EPOCH,
             "generation": self.generation(), "source": "old", "target": "new",
             "owner": TOKEN if owned else "", "last_owner": "" if owned else "somebody"}
        if state in ("preparing", "freezing"):
            r["deadline"], r["prepared"] = self.now() + 60000, self.now()
        if state == "held":
            r["held_from"] = "resting"
        r.update(fields)
        self.client.hset(self.key("route", user), mapping=r)

    def put_session(self, name, backend="old", epoch=EPOCH, mode="running", user="ann", since=0):
        self.client.hset(self.key("sessions", user), name, f"{backend} {epoch} {mode} 192.0.2.1 {since}")

    def restart(self):
        """Another run_id, as after a restart or a failover."""
        self.client.hset(self.key("store"), "run_id", "another")

    def end_quarantine(self):
        self.client.hset(self.key("store"), "quarantine_until", 0)

    def enter(self, session="p1/1", user="ann", backend="old", state="resting", epoch=0, generation=None, enqueue=1,
              source="old", target="new", ttl=1000, sealed="", wave=""):
        more = (0, "*", wave) if wave else ()
        return self.call("enter", user, session, backend, state, epoch, generation or self.generation(),
                         "192.0.2.1", enqueue, source, target, "old", ttl, sealed, *more)


@pytest.fixture(scope="module")
def server(redis_program):
    s = redisd.Redis(fsync="everysec", program=redis_program)
    scripts.load(s.client())
    yield s
    s.close()


@pytest.fixture(name="store")
def made_store(server):
    client = server.client()
    client.flushall()
    s = Store(client)
    s.init()
    return s


# ---- the store ----

MAKING = ("init", "hello", "greet", "restore", "reserve", "carry", "reopen", "source")  # for a store that is not there, or at odds


def test_each_script_refuses_a_missing_store(server):
    client = server.client()
    client.flushall()
    s = Store(client)
    s.id = "id-one"
    for name in SCRIPTS:
        if name not in MAKING:
            assert s.call(name, "ann", "x", "1", "1", "1", "1", "1") == ["nostore"], name
    assert s.hello() == ["nostore"]
    assert client.keys("*") == []


def test_each_script_refuses_another_store(store):
    store.plant("copying")
    keys, route = sorted(store.client.keys("*")), store.route()
    store.id = "another"
    for name in SCRIPTS:
        if name not in MAKING:
            assert store.call(name, "ann", "x", "1", "1", "1", "1", "1") == ["nostore"], name
    assert store.hello() == ["foreign", "id-one"]
    assert sorted(store.client.keys("*")) == keys and store.route() == route


def test_init_only_once(store):
    assert store.call("init", "id-one", LONG) == ["ok"]
    assert store.call("init", "id-two", LONG)[0] == "refused"
    assert store.generation() == 1
    assert store.hello() == ["ok", "id-one", "1", "0", ""]


def test_a_store_knows_its_place(server):
    """A program whose configuration says otherwise, or is of the version before and knows of one store alone, is told so."""
    client = server.client()
    client.flushall()
    s = Store(client)
    assert s.call("init", "id-one", LONG, "", "", "old", "", 2, 3, "site") == ["ok"]
    for wrong in ((LONG,), (LONG, "old", ""), (LONG, "old", 1, 1, 1), (LONG, "old", 1, 1, 3), (LONG, "old", 1, 2, 4)):
        assert s.hello(*wrong) == ["place", "2", "3"] == s.call("greet", *wrong)
    assert s.hello(LONG, "old", 1, 2, 3) == ["ok", "id-one", "1", "0", "site"]
    client.flushall()
    assert s.call("init", "id-one", LONG, "", "", "old", "", 1, 1, "site") == ["ok"]
    assert s.hello(LONG, "old", 1, 1, 2) == ["place", "1", "1"]
    assert s.hello(LONG, "old", 1, 1, 1) == s.hello(LONG, "old", 1) == ["ok", "id-one", "1", "0", ""]


def test_a_store_keeps_its_source(store):
    """Where accounts without a record live. The version before tells none; the first daemon that does is taken at its word."""
    field = lambda: store.client.hget(store.key("store"), "source")  # noqa: E731
    assert store.hello()[0] == "ok" and field() is None
    assert store.hello(LONG, "new")[0] == "ok" and field() is None, "imapferryctl, with whatever configuration"
    assert store.hello(LONG, "old", 1)[0] == "ok" and field() == "old"
    assert store.hello(LONG, "new", 1) == store.hello(LONG, "new") == ["source", "old"] and field() == "old"
    assert store.hello()[0] == "ok"
    assert store.call("instance", "proxy/p", "a", "host/a", 12000, "", "") == ["ok"]
    store.id = ""
    assert store.call("source", "new", "who", "why") == ["refused", "proxy/p"] and field() == "old", "it would go on with it"
    store.client.hset(store.key("instances"), "proxy/p", f"a {store.now() - 12001} host/a")
    assert store.call("source", "new", "who", "why") == ["ok", "old"] and field() == "new"
    assert store.call("source", "new", "who", "why") == ["ok", "new"]
    assert store.hello(LONG, "new")[0] == "ok" and store.hello(LONG, "old") == ["source", "new"]
    assert store.client.xlen(store.key("audit")) == 1


def test_init_takes_the_source(server):
    client = server.client()
    client.flushall()
    s = Store(client)
    assert s.call("source", "new", "who", "why") == ["nostore"] and client.keys("*") == []
    assert s.call("init", "id-one", LONG, "", "", "old") == ["ok"]
    assert s.hello(LONG, "new") == ["source", "old"]


def test_hello_notices_a_restart(server):
    client = server.client()
    client.flushall()
    s = Store(client)
    s.init()
    server.restart()
    s = Store(server.client())
    began, answer = s.now(), s.hello()
    assert answer[:2] == ["ok", "id-one"] and LONG - 60000 < int(answer[3]) <= LONG
    assert began <= int(answer[2]) <= s.now() and s.hello()[2] == answer[2]
    assert [e["kind"] for e in s.events()] == ["generation"]


def test_hello_notices_a_master_that_is_made_the_master_again(server):
    """It has not heard of the one in between, and finds the run_id that it left. Twice: no number comes again."""
    client = server.client()
    client.flushall()
    s = Store(client)
    s.init()
    said = [int(s.hello()[2])]
    for _ in range(2):
        client.replicaof(net.HOST, 1)
        assert s.hello() == ["replica"]
        client.replicaof("NO", "ONE")
        answer = s.hello()
        assert int(answer[3]) > LONG - 60000
        said.append(int(answer[2]))
    assert said == sorted(set(said)) and int(s.hello()[2]) == said[-1]


def test_a_number_of_the_time_is_above_the_one_before(server):
    """Also where this server's clock goes behind the one that gave it."""
    client = server.client()
    client.flushall()
    s = Store(client)
    s.init()
    ahead = s.now() + 3600000
    client.hset(s.key("store"), "generation", ahead)
    s.restart()
    assert s.hello()[2] == str(ahead + 1)


def test_a_store_of_the_version_before_is_of_the_same_server(store):
    store.client.hdel(store.key("store"), "promoted")
    assert store.hello()[2:4] == ["1", "0"]
    assert store.client.hget(store.key("store"), "promoted") == store.client.info("replication")["master_replid2"]


def test_hello_refuses_a_replica(server):
    replica = redisd.Redis(fsync="everysec", options=("replica-read-only", "yes"))
    try:
        scripts.load(replica.client())
        replica.client().replicaof(net.HOST, 1)
        assert Store(replica.client()).hello() == ["replica"]
    finally:
        replica.close()


@pytest.mark.parametrize("name", ["claim", "prepare", "freeze", "flip", "flipped"])
def test_cutover_scripts_notice_another_server(store, name):
    store.plant({"claim": "queued", "prepare": "ready", "freeze": "preparing", "flip": "freezing",
                 "flipped": "flipping"}[name])
    store.restart()
    answer = store.call(name, "ann", TOKEN, EPOCH, 1000)
    assert store.generation() > 1
    assert store.client.hget(store.key("store"), "run_id") == store.client.info("server")["run_id"]
    assert int(store.client.hget(store.key("store"), "quarantine_until")) > store.now() + LONG - 60000
    assert answer[0] == {"claim": "quarantine", "prepare": "quarantine", "freeze": "refused", "flip": "refused",
                         "flipped": "ok"}[name]


@pytest.mark.parametrize("state", ["preparing", "freezing"])
@pytest.mark.parametrize("name", ["leave", "seen", "frozen", "resume", "register", "reconcile", "thaw", "claim",
                                  "progress", "abort", "hold", "enqueue", "evict", "due", "enter", "retry"])
def test_an_older_generation_thaws(store, state, name):
    store.plant(state)
    store.put_session("p1/1", mode="frozen")
    store.client.hset(store.key("store"), "generation", 9)
    if name == "enter":
        store.enter("p1/2", state=state, epoch=EPOCH)
    elif name == "claim":
        store.call(name, "ann", "p1/1", "m1")
    else:
        store.call(name, "ann", "p1/1", EPOCH, 9, "old", 9, 9)
    r = store.route()
    assert r["state"] in ("ready", "copying", "held") and r["generation"] == "9" and r["deadline"] == "0"
    thawed = [e for e in store.events() if e["state"] == "ready"]
    assert len(thawed) == 1 and thawed[0]["generation"] == "9"


def test_flipping_never_goes_back(store):
    for name in ("thaw", "abort", "ready", "recopy", "backoff", "block", "hold", "enqueue", "retry", "release",
                 "prepare", "freeze", "now", "due"):
        store.plant("flipping", deadline=1, generation=7)
        store.call(name, "ann", TOKEN, EPOCH, "old", "new", 0, 1, 0, "old")
        assert store.route()["state"] == "flipping", name


def test_a_read_shows_an_old_freeze_as_it_will_be_found(store):
    store.plant("freezing", generation=0)
    answer = store.call("read", "ann")
    fields = dict(zip(answer[3::2], answer[4::2]))
    assert fields["state"] == "ready" and fields["deadline"] == "0"
    assert store.route()["state"] == "freezing" and store.events() == []


def test_a_read_writes_nothing(store):
    keys = sorted(store.client.keys("*"))
    assert store.call("read", "anything\n:*") [0:2] == ["ok", "1"]
    assert sorted(store.client.keys("*")) == keys


# ---- transitions: every script of an owner from every state, with right and wrong token and epoch ----

# name -> (further arguments, {state: (answer, state after, epoch after)}); a state that is not named refuses.
OWNER = {
    "ready": ((), {"copying": ("ok", "ready", 5), "ready": ("ok", "ready", 5)}),
    "recopy": ((), {"ready": ("ok", "copying", 5), "copying": ("ok", "copying", 5)}),
    "prepare": ((1000,), {"ready": ("ok", "preparing", 6)}),
    "freeze": ((1000,), {"preparing": ("ok", "freezing", 5), "freezing": ("ok", "freezing", 5)}),
    "abort": (("why",), {"preparing": ("ok", "ready", 5), "freezing": ("ok", "ready", 5), "ready": ("ok", "ready", 5)}),
    "flip": (("1:ab",), {"freezing": ("ok", "flipping", 5), "flipping": ("ok", "flipping", 5)}),
    "flipped": ((), {"flipping": ("ok", "flipped", 6)}),
    "backoff": (("why", 60000), {"copying": ("ok", "backoff", 5), "ready": ("ok", "backoff", 5)}),
    "why": (("proxy: waits",), {"copying": ("ok", "copying", 5), "ready": ("ok", "ready", 5)}),
    "block": (("why",), {"copying": ("ok", "blocked", 5), "ready": ("ok", "blocked", 5)}),
}
WITH_OWNER = "copying ready preparing freezing flipping".split()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", sorted(OWNER))
def test_owner_transition(store, name, state):
    more, table = OWNER[name]
    for token, epoch in ((TOKEN, EPOCH + 1), (TOKEN, EPOCH - 1), ("another", EPOCH), ("", EPOCH), (TOKEN, "")):
        store.plant(state)
        before = store.route()
        assert store.call(name, "ann", token, epoch, *more)[0] == "lost", (token, epoch)
        assert store.route() == before
    store.plant(state)
    before = store.route()
    answer = store.call(name, "ann", TOKEN, EPOCH, *more)
    if state not in WITH_OWNER:
        assert answer == ["lost", state] and store.route() == before
        return
    if state not in table:
        assert answer == ["refused", state] and store.route() == before
        return
    status, after, new_epoch = table[state]
    r = store.route()
    assert (answer[0], r["state"], int(r["epoch"])) == (status, after, new_epoch)
    assert r["backend"] == ("new" if name == "flipped" else "old")
    repeat = store.call(name, "ann", TOKEN, EPOCH, *more)
    assert repeat == answer and store.route() == r, "a repeat returns the first result and changes nothing"
    wrong = store.call(name, "ann", "another", EPOCH, *more)
    assert wrong[0] == "lost" and store.route() == r
    assert len(store.events()) == (1 if after != state else 0)


@pytest.mark.parametrize("state", STATES)
def test_claim_from_every_state(store, state):
    store.plant(state)
    answer = store.call("claim", "ann", "fresh")
    r = store.route()
    if state in WITH_OWNER + ["queued"]:
        fields = dict(zip(answer[3::2], answer[4::2]))
        assert answer[0] == "ok" and fields == r
        assert r["state"] == ("flipping" if state == "flipping" else "copying")
        assert (r["owner"], r["epoch"]) == ("fresh", "6")
        again = store.call("claim", "ann", "fresh")
        assert dict(zip(again[3::2], again[4::2])) == fields and store.route() == r
        for name in OWNER:
            assert store.call(name, "ann", TOKEN, EPOCH, 1, 1)[0] == "lost", "the old owner touches nothing more"
    else:
        assert answer == ["refused", state] and r["epoch"] == str(EPOCH)


def test_backoff_waits_for_no_login_that_has_come(store):
    """It was tried by an older credential than the one that is there."""
    for tried, at_hand, waits in (("1.k.5.aa", "1.k.5.aabb", True), ("1.k.5.aa", "1.k.7.ccdd", False), ("1.k.5.aa", None, True),
                                  ("-", "1.k.7.ccdd", False), ("-", None, True), ("", "1.k.7.ccdd", True)):
        store.plant("copying")
        store.client.delete(store.key("secret", "ann"))
        if at_hand:
            store.client.set(store.key("secret", "ann"), at_hand)
        assert store.call("backoff", "ann", TOKEN, EPOCH, "credentials: old", 0, 0, tried)[0] == "ok"
        assert (store.route()["next_try"] == "0") == waits
        assert (store.client.zscore(store.key("later"), "ann") is not None) != waits


def test_claim_of_a_backoff_waits_for_its_time(store):
    store.plant("backoff", next_try=store.now() + 60000)
    assert store.call("claim", "ann", "fresh") == ["refused", "backoff"]
    store.plant("backoff", next_try=0)
    assert store.call("claim", "ann", "fresh") == ["refused", "backoff"]
    store.plant("backoff", next_try=store.now() - 1)
    assert store.call("claim", "ann", "fresh")[0] == "ok"


def test_claim_without_record_or_token(store):
    assert store.call("claim", "nobody", "fresh") == ["refused", "resting"]
    store.plant("queued")
    assert store.call("claim", "ann", "")[0] == "refused"
    assert store.route()["state"] == "queued" and store.route("nobody") == {}


def test_pause_stops_what_begins_and_lets_finish_what_cannot_go_back(store):
    assert store.call("pause", 1, "root", "why") == ["ok"]
    for name, state in (("claim", "queued"), ("claim", "copying"), ("prepare", "ready"), ("freeze", "preparing"),
                        ("flip", "freezing")):
        store.plant(state)
        assert store.call(name, "ann", "fresh" if name == "claim" else TOKEN, EPOCH, 1000) == ["paused"]
        assert store.route()["state"] == state
    store.plant("flipping")
    assert store.call("claim", "ann", "fresh")[0] == "ok"
    assert store.call("flipped", "ann", "fresh", EPOCH + 1)[0] == "ok"
    store.client.delete(store.key("route", "ann"))
    assert store.enter()[1] == "queued", "enqueue still queues"
    assert store.call("pause", 0, "root", "done") == ["ok"] and store.call("pause", 0, "root", "done") == ["ok"]
    assert [e["kind"] for e in store.events() if not e["user"]] == ["paused", "resumed"]
    assert [a["what"] for a in store.audit()] == ["pause", "flip", "resume"]
    assert {k: store.audit()[1][k] for k in ("who", "user", "before", "after")} == {
        "who": "migrator", "user": "ann", "before": "flipping old", "after": "flipped new"}


def test_quarantine_stops_claim_prepare_freeze_and_flip(store):
    store.client.hset(store.key("store"), "quarantine_until", store.now() + 60000)
    for state in ("queued", "copying", "ready"):
        store.plant(state)
        assert store.call("claim", "ann", "fresh")[0] == "quarantine" and store.route()["state"] == state
    assert store.call("claim", "ann", TOKEN)[0] == "ok", "its owner asks again"
    for name, state in (("prepare", "ready"), ("freeze", "preparing"), ("flip", "freezing")):
        store.plant(state)
        answer = store.call(name, "ann", TOKEN, EPOCH, 1000)
        assert answer[0] == "quarantine" and 0 < int(answer[1]) <= 60000
        assert store.route()["state"] == state
    store.plant("flipping")
    assert store.call("flipped", "ann", TOKEN, EPOCH)[0] == "ok"


def test_deadlines(store):
    for name, state in (("freeze", "preparing"), ("flip", "freezing")):
        store.plant(state, deadline=store.now() - 1)
        assert store.call(name, "ann", TOKEN, EPOCH, 1000) == ["late"]
        assert store.route()["state"] == state
        assert store.call("thaw", "ann") == ["ok"]
        r = store.route()
        assert r["state"] == "ready" and r["reason"].startswith("deadline") and r["owner"] == TOKEN
    for state in STATES:
        store.plant(state)
        assert store.call("thaw", "ann") == ["refused", state]
        assert store.route()["state"] == state


def test_flip_demands_that_every_session_rests_for_this_epoch(store):
    store.plant("freezing")
    store.put_session("p1/1")
    store.put_session("p2/1", mode="frozen", epoch=EPOCH - 1)
    store.put_session("p2/2", mode="prepared")
    store.client.hset(store.key("sessions", "ann"), "p3/1", "not a registration")
    assert store.call("flip", "ann", TOKEN, EPOCH, "v") == ["busy", "4"]
    store.client.hdel(store.key("sessions", "ann"), "p3/1", "p2/2")
    assert store.call("leave", "ann", "p1/1") == ["ok"]
    assert store.call("flip", "ann", TOKEN, EPOCH, "v") == ["busy", "1"]
    assert store.call("frozen", "ann", "p2/1", EPOCH, 1) == ["ok"]
    assert store.call("flip", "ann", TOKEN, EPOCH, "v") == ["ok"]
    assert store.route()["view"] == "v"
    assert [e["kind"] for e in store.events()] == ["left", "frozen", "state"]


def test_sessions_that_rest_go_on_at_the_target(store):
    store.plant("flipping")
    for n, mode in enumerate(("frozen", "frozen")):
        store.put_session(f"p{n}/1", mode=mode)
    assert store.call("flipped", "ann", TOKEN, EPOCH) == ["ok", "6"]
    assert {v[:13] for v in store.sessions().values()} == {"new 6 running"}
    assert store.call("resume", "ann", "p0/1", "old", 6, "old", 1)[0] == "lost"
    assert store.call("resume", "ann", "p0/1", "new", 6, "old", 1) == ["ok", "flipped"]
    assert store.call("leave", "ann", "p0/1") == ["ok"] and list(store.sessions()) == ["p1/1"]


def test_prepare_makes_an_epoch_for_which_nobody_rests(store):
    store.plant("ready")
    store.put_session("p1/1", mode="frozen")
    store.put_session("p1/2", mode="prepared")
    store.put_session("p2/1")
    assert store.call("prepare", "ann", TOKEN, EPOCH, 1000) == ["ok", "6"]
    told = store.events()[-1]["registered"].split()
    assert dict(zip(told[::2], told[1::2])) == {"p1": "2", "p2": "1"}
    assert store.call("leave", "ann", "p2/1") == ["ok"]
    assert store.sessions()["p1/2"].split()[:3] == ["old", "5", "running"]
    assert store.call("leave", "ann", "p1/2") == ["ok"]
    assert store.sessions()["p1/1"].split()[:3] == ["old", "5", "running"]
    assert store.call("freeze", "ann", TOKEN, 6, 1000) == ["ok"]
    assert store.call("frozen", "ann", "p1/1", 5, 1) == ["lost", "freezing"]
    assert store.call("flip", "ann", TOKEN, 6, "") == ["busy", "1"]


def test_a_prepare_is_answered_again_after_its_thaw(store):
    store.plant("ready")
    assert store.call("prepare", "ann", TOKEN, EPOCH, 1000) == ["ok", "6"]
    store.client.hset(store.key("route", "ann"), "deadline", 1)
    assert store.call("thaw", "ann") == ["ok"]
    assert store.call("prepare", "ann", TOKEN, EPOCH, 1000) == ["ok", "6"]
    assert store.route()["state"] == "ready"
    assert store.call("freeze", "ann", TOKEN, 6, 1000) == ["refused", "ready"]
    assert store.call("prepare", "ann", TOKEN, 6, 1000) == ["ok", "7"]
    assert store.call("prepare", "ann", TOKEN, EPOCH, 1000) == ["lost", "preparing"]


# ---- jobs of migrators that are gone ----

GROUP = "migrators"


def hand_out(store, *users, to="dead", bulk=False):
    """Each gets an entry in the stream, which `to` has read; their ids."""
    stream = store.key("jobs:bulk" if bulk else "jobs")
    ids = [store.client.xadd(stream, {"user": u}) for u in users]
    if not store.client.xinfo_groups(stream):
        store.client.xgroup_create(stream, GROUP, id="0")
    store.client.xreadgroup(GROUP, to, {stream: ">"})
    return ids


def age(store, *ids, ms=LONG, who="dead"):
    store.client.execute_command("XCLAIM", store.key("jobs"), GROUP, who, 0, *ids, "IDLE", ms, "JUSTID")


def orphans(store, places=10, suspects=1, patience=0, after="", at_most=100, bulk=0):
    answer = store.call("orphans", GROUP, "me", bulk, 1000, places, suspects, patience, after, at_most)
    assert answer[0] == "ok"
    return answer[1], list(zip(*[iter(answer[2:])] * 3))


def of_me(store):
    return [e["message_id"] for e in store.client.xpending_range(store.key("jobs"), GROUP, "-", "+", 100, consumername="me")]


def test_orphans_are_those_that_nobody_has_claimed_for_so_long(store):
    ids = hand_out(store, "ann", "bob", "cas")
    for user in ("ann", "bob", "cas"):
        store.plant("queued", user=user, owner="")
    age(store, ids[0], ids[2])
    assert orphans(store) == ("", [(ids[0], "ann", "plain"), (ids[2], "cas", "plain")])
    assert of_me(store) == [ids[0], ids[2]] and orphans(store) == ("", []), "from now on they are the caller's"
    bulk = hand_out(store, "dan", bulk=True)
    store.client.execute_command("XCLAIM", store.key("jobs:bulk"), GROUP, "dead", 0, *bulk, "IDLE", LONG, "JUSTID")
    assert orphans(store, bulk=1) == ("", [(bulk[0], "dan", "plain")])


def test_one_dead_behind_49_living(store):
    """Looked for in pages of ten: the cursor goes on behind the last one that was seen, and round."""
    ids = hand_out(store, *[f"u{i}" for i in range(50)])
    store.client.execute_command("XCLAIM", store.key("jobs"), GROUP, "dead", 0, ids[-1], "IDLE", LONG, "JUSTID")
    assert orphans(store, at_most=10) == ("", [(ids[-1], "u49", "plain")])
    age(store, *ids)
    seen, after, pages = [], "", 0
    while pages == 0 or after:
        after, rows = orphans(store, places=0 if pages < 3 else 50, after=after, at_most=10)
        seen, pages = seen + [r[0] for r in rows], pages + 1
    assert seen == ids[30:] and pages == 6, "those that it had no place for come in the next round"
    assert [r[0] for r in orphans(store, places=50)[1]] == ids[:30]


def test_flipping_needs_no_place(store):
    ids = hand_out(store, "ann", "bob", "cas")
    store.plant("copying", user="ann", given=TOKEN)
    store.plant("flipping", user="bob")
    store.plant("ready", user="cas", given=TOKEN)
    age(store, *ids, ms=5000)
    assert orphans(store, places=0, patience=5000) == ("", []), "left to others for a while by who can't finish it"
    assert orphans(store, places=0) == ("", [(ids[1], "bob", "forward")])
    assert orphans(store, places=1) == ("", [(ids[0], "ann", "plain")])


def test_entries_without_a_job_go(store):
    ids = hand_out(store, "ann", "bob")
    store.client.xdel(store.key("jobs"), ids[0])
    other = store.client.xadd(store.key("jobs"), {"nonsense": "x"})
    store.client.xreadgroup(GROUP, "dead", {store.key("jobs"): ">"})
    age(store, ids[1], other)
    store.client.execute_command("XCLAIM", store.key("jobs"), GROUP, "dead", 0, ids[0], "IDLE", LONG, "JUSTID")
    assert orphans(store) == ("", [(ids[1], "bob", "plain")])
    assert store.client.xpending(store.key("jobs"), GROUP)["pending"] == 1 and store.client.xlen(store.key("jobs")) == 1


def dies(store, n, user="ann", name="mx"):
    """Claimed by the n-th migrator, which is found gone."""
    return store.call("claim", user, f"tok{n}", f"{name}{n}")


def test_job_that_has_killed_two_owners_is_blocked(store):
    store.plant("queued", attempts="0")
    assert dies(store, 1)[0] == "ok" and store.route().get("died", "") == ""
    assert dies(store, 2)[0] == "ok" and store.route()["died"].split() == ["tok1/mx1"]
    assert dies(store, 3) == ["refused", "blocked"] and dies(store, 3) == ["refused", "blocked"]
    r = store.route()
    assert r["reason"].startswith("killed: ") and "mx1, mx2" in r["reason"] and "copying" in r["reason"]
    assert (r["state"], r["owner"], r["attempts"], r["epoch"]) == ("blocked", "", "1", "7")
    assert store.call("retry", "ann", "root", "it was a reboot") == ["ok", "queued"]
    assert dies(store, 4)[0] == "ok" and store.route()["died"] == ""
    assert dies(store, 5)[0] == "ok", "counted anew"


@pytest.mark.parametrize("state", ["copying", "ready", "preparing", "freezing"])
def test_death_counts_until_the_account_has_come_past_it(store, state):
    store.plant(state, at="mx0")
    assert dies(store, 1)[0] == "ok" and store.route()["died"].split() == [f"{TOKEN}/mx0"]
    early = state == "copying"
    for _ in range(2):
        assert store.call("ready", "ann", "tok1", 6) == ["ok", "0" if early else "1"]
    assert (store.route()["died"] == "") == early
    assert store.call("prepare", "ann", "tok1", 6, 1000)[0] == "ok"
    assert dies(store, 2)[0] == ("ok" if early else "refused")
    assert store.route()["state"] == ("copying" if early else "blocked")


def test_death_in_flipping_blocks_nobody(store):
    store.plant("flipping")
    for n in range(1, 5):
        assert dies(store, n)[0] == "ok" and store.route()["state"] == "flipping"
    assert store.call("flipped", "ann", "tok4", EPOCH + 4)[0] == "ok"


@pytest.mark.parametrize("state", ["copying", "ready", "flipping"])
def test_given_away_is_not_dead(store, state):
    entry, = hand_out(store, "ann", to="m1")
    store.plant(state, at="m1", job=entry)
    for migrator, term in (("m1", 1000), ("m2", 60000)):
        store.call("migrator", migrator, term, "v")
    for _ in range(2):
        assert store.call("give", "ann", TOKEN, 0, entry, GROUP, "m1", 1000) == ["ok"]
    r = store.route()
    assert (r["state"], r["epoch"], r["owner"]) == (state, str(EPOCH), TOKEN) and store.events() == []
    assert state != "flipping" or orphans(store, patience=100)[1] == [], "who can't finish it leaves it to others"
    assert orphans(store)[1] == [(entry, "ann", "forward" if state == "flipping" else "plain")], "at once"
    assert dies(store, 2)[0] == "ok" and store.route().get("died", "") == "" and store.route()["given"] == ""
    assert store.call("give", "ann", TOKEN, 0, entry, GROUP, "m1", 1000) == ["ok"]
    assert of_me(store) == [entry] and store.route()["given"] == "", "what is another's is left alone"


def test_who_was_only_silent_says_so(store):
    entry, = hand_out(store, "ann", to="me")
    store.plant("copying", at="m1", job=entry)
    assert dies(store, 1)[0] == "ok" and store.route()["died"].split() == [f"{TOKEN}/m1"]
    assert store.call("give", "ann", TOKEN, 0, entry, GROUP, "m1", 1000) == ["ok"]
    assert store.route()["died"] == "" and store.route()["owner"] == "tok1" and orphans(store)[1] == []


def claim(store, token, migrator, entry, user="ann"):
    return store.call("claim", user, token, migrator, 0, entry, GROUP)


def keep(store, migrator, *ids):
    answer = store.call("keep", GROUP, migrator, 0, *ids)
    assert answer[0] == "ok"
    return answer[1:]


def test_who_lost_an_entry_takes_nothing_back(store):
    """What a connection that stood still delivers late, of a migrator that another has taken the job of."""
    entry, = hand_out(store, "ann", to="m1")
    store.plant("queued", owner="", job=entry)
    assert keep(store, "m1", entry) == [entry] and claim(store, "one", "m1", entry)[0] == "ok"
    age(store, entry, who="m1")
    assert orphans(store)[1] == [(entry, "ann", "suspect")] and claim(store, "two", "me", entry)[0] == "ok"
    r = store.route()
    for _ in range(2):
        assert keep(store, "m1", entry) == [] and of_me(store) == [entry]
        assert claim(store, "late", "m1", entry) == ["lost", "copying"]
        assert claim(store, "one", "m1", entry) == ["lost", "copying"]
        assert store.route() == r, "nobody is taken for dead"
    assert keep(store, "me", entry) == [entry] and claim(store, "two", "me", entry)[0] == "ok"
    store.client.xdel(store.key("jobs"), entry)
    assert keep(store, "me", entry) == [], "not in the stream any more"


@pytest.mark.parametrize("token", ["", "one"])
def test_a_late_give_leaves_what_was_taken_once_more(store, token):
    entry, = hand_out(store, "ann", to="me")
    store.plant("queued", owner="", job=entry)
    assert not token or claim(store, token, "me", entry)[0] == "ok"
    assert store.call("give", "ann", token, 0, entry, GROUP, "me", 1000) == ["ok"]
    assert orphans(store)[1] == [(entry, "ann", "plain")] and claim(store, "two", "me", entry)[0] == "ok"
    assert store.call("give", "ann", token, 0, entry, GROUP, "me", 1000) == ["ok"]
    assert orphans(store)[1] == [] and store.route()["owner"] == "two"
    assert store.call("give", "ann", "two", 0, entry, GROUP, "me", 1000) == ["ok"] and len(orphans(store)[1]) == 1


def test_an_entry_that_was_replaced_claims_nothing(store):
    """It lay with one migrator, for a place or for the end of a pause, while a login queued the account anew."""
    entry, = hand_out(store, "ann", to="m1")
    store.plant("queued", owner="", job=entry)
    assert store.call("hold", "ann", "root", "", "old") == ["ok", "held"]
    assert store.call("release", "ann", "root", "") == ["ok", "queued"]
    other = store.route()["job"]
    store.client.xreadgroup(GROUP, "m2", {store.key("jobs"): ">"})
    assert claim(store, "one", "m1", entry) == ["refused", "queued"]
    assert claim(store, "two", "m2", other)[0] == "ok"
    assert claim(store, "one", "m1", entry) == ["refused", "copying"] and store.route()["owner"] == "two"


def test_one_suspect_at_a_time(store):
    """Should this migrator die, it is known of what."""
    users = ("ann", "bob", "cas", "dan")
    ids = hand_out(store, *users)
    for user in users[:3]:
        store.plant("copying", user=user)
    store.plant("queued", user="dan", died=" x/m1")
    age(store, *ids)
    assert orphans(store) == ("", [(ids[0], "ann", "suspect")])
    assert orphans(store, suspects=0) == ("", [])
    store.client.hset(store.key("route", "bob"), "died", " x/m1")
    assert orphans(store, suspects=0) == ("", [(ids[1], "bob", "plain")]), "it will be blocked, not run"


@pytest.mark.parametrize("state,fields,kept", [
    ("freezing", {}, True), ("ready", {}, True), ("flipping", {}, True), ("queued", {"owner": ""}, True),
    ("ready", {"owner": ""}, False),  # it waits for its time, without a job
    ("copying", {"job": "9-9"}, False), ("queued", {"job": "9-9"}, False), ("flipped", {}, False), ("blocked", {}, False),
    ("backoff", {}, False), ("held", {}, False)])
def test_drop_of_a_job_that_only_a_former_master_knows_to_have_ended(store, state, fields, kept):
    entry = store.client.xadd(store.key("jobs"), {"user": "ann"})
    store.client.xgroup_create(store.key("jobs"), "migrators", id="0")
    store.client.xreadgroup("migrators", "m1", {store.key("jobs"): ">"})
    store.plant(state, **{"job": entry, **fields})
    assert store.call("drop", "ann", "", entry, "migrators") == ["ok", "0" if kept else "1"]
    assert store.client.xlen(store.key("jobs")) == kept
    assert store.client.xpending(store.key("jobs"), "migrators")["pending"] == kept


def test_a_whole_migration(store):
    assert store.enter("p1/1", sealed="secret", ttl=5000) == ["ok", "queued", "0"]
    assert store.jobs() == ["ann"]
    assert store.call("claim", "ann", "tok")[0] == "ok"
    assert store.call("seen", "ann", "p1", 1, 1) == ["ok"]
    assert store.sessions()["p1/1"].split()[:3] == ["old", "1", "running"]
    assert store.call("progress", "ann", "tok", 1, "messages_done", 7) == ["ok", "copying"]
    assert store.call("ready", "ann", "tok", 1) == ["ok", "0"]
    assert store.call("prepare", "ann", "tok", 1, 5000) == ["ok", "2"]
    assert store.call("prepared", "ann", "p1/1", 2, 1) == ["ok"]
    assert store.call("freeze", "ann", "tok", 2, 5000) == ["ok"]
    assert store.enter("p1/2", state="freezing", epoch=2) == ["wait", "freezing"]
    assert store.call("frozen", "ann", "p1/1", 2, 1) == ["ok"]
    assert store.call("flip", "ann", "tok", 2, "v") == ["ok"]
    assert store.enter("p1/2", state="flipping", epoch=2) == ["wait", "flipping"]
    assert store.call("flipped", "ann", "tok", 2) == ["ok", "3"]
    r = store.route()
    assert (r["backend"], r["state"], r["epoch"], r["owner"]) == ("new", "flipped", "3", "")
    assert store.sessions()["p1/1"].split()[:3] == ["new", "3", "running"], "the session goes on at the target"
    assert store.enter("p1/2", state="freezing", epoch=2) == ["again", "flipped"]
    assert store.enter("p1/2", backend="new", state="flipped", epoch=3, sealed="another") == ["ok", "flipped", "3"]
    assert store.client.get(store.key("secret", "ann")) == "secret", "nothing is sealed for an account that moved"
    events = store.events()
    assert [int(e["n"]) for e in events] == list(range(1, len(events) + 1))
    assert [e["state"] for e in events if e["kind"] == "state"] == \
        ["queued", "copying", "ready", "preparing", "freezing", "flipping", "flipped"]


# ---- enter and what sessions do ----

def test_fifty_logins_make_one_job(store):
    for n in range(50):
        generation, state, epoch = store.generation(), "resting", 0
        answer = store.enter(f"p{n % 2}/{n}", state=state, epoch=epoch, generation=generation)
        if answer[0] == "again":
            r = store.route()
            answer = store.enter(f"p{n % 2}/{n}", state=r["state"], epoch=r["epoch"])
        assert answer == ["ok", "queued", "0"]
    assert store.jobs() == ["ann"] and len(store.sessions()) == 50


@pytest.mark.parametrize("state", STATES)
def test_enter_in_every_state(store, state):
    store.plant(state, next_try=store.now() + 60000)
    backend = store.route()["backend"]
    assert store.enter(backend="old" if backend == "new" else "new", state=state, epoch=EPOCH)[0] in ("again", "wait")
    assert store.enter(backend=backend, state="copying" if state != "copying" else "ready", epoch=EPOCH)[0] \
        in ("again", "wait")
    assert store.enter(backend=backend, state=state, epoch=EPOCH + 1)[0] in ("again", "wait")
    assert store.enter(backend=backend, state=state, epoch=EPOCH, generation=7) == ["again", "generation"]
    assert store.sessions() == {} and store.jobs() == []
    answer = store.enter(backend=backend, state=state, epoch=EPOCH, sealed="s")
    if state in ("freezing", "flipping"):
        assert answer == ["wait", state] and store.sessions() == {}
        return
    after = "queued" if state == "resting" else state
    assert answer == ["ok", after, str(EPOCH)]
    assert store.enter(backend=backend, state=state, epoch=EPOCH) == answer, "a repeat"
    assert list(store.sessions()) == ["p1/1"]
    assert store.jobs() == (["ann"] if state == "resting" else [])
    kept = store.client.get(store.key("secret", "ann"))
    assert kept == ("s" if after in ENGAGED + ["backoff", "blocked"] else None)
    if kept:
        assert 0 < store.client.pttl(store.key("secret", "ann")) <= 1000


def test_enter_without_trigger_writes_no_route(store):
    assert store.enter(enqueue=0, sealed="s") == ["ok", "resting", "0"]
    assert store.route() == {} and store.jobs() == [] and store.client.get(store.key("secret", "ann")) is None


def test_enter_remembers_the_last_login_to_the_hour(store):
    store.plant("settled", backend="new", target="new")
    begun = store.now()
    assert store.enter("p1/1", backend="new", state="settled", epoch=EPOCH)[0] == "ok"
    first = int(store.route()["login"])
    assert first >= begun
    assert store.enter("p1/2", backend="new", state="settled", epoch=EPOCH)[0] == "ok" and int(store.route()["login"]) == first
    store.client.hset(store.key("route", "ann"), "login", begun - 3600001)
    assert store.enter("p1/3", backend="new", state="settled", epoch=EPOCH)[0] == "ok" and int(store.route()["login"]) >= first
    assert store.call("list", "", "", "", "60000", "0", "ann")[2] == "ann"
    assert len(store.call("list", "", "", "", "0", "60000", "ann")) == 2, "younger than a minute"


def test_kick_is_told_and_audited(store):
    store.plant("settled", backend="new", target="new")
    assert store.call("kick", "ann", "root", "why", "old") == ["ok", "0"] and not store.client.exists(store.key("audit", "ann"))
    store.enter("p1/1", backend="new", state="settled", epoch=EPOCH)
    assert store.call("kick", "ann", "root", "why", "old") == ["ok", "1"]
    last = store.client.xrevrange("t:events", count=1)[0][1]
    assert (last["user"], last["kind"], last["state"], last["backend"]) == ("ann", "kick", "settled", "new")
    entry = store.client.xrevrange("t:audit", count=1)[0][1]
    assert (entry["who"], entry["what"], entry["reason"], entry["before"]) == ("root", "kick", "why", "1 sessions")
    for state in ("preparing", "freezing", "flipping"):
        store.plant(state)
        assert store.call("kick", "ann", "root", "why", "old") == ["refused", state]


def test_what_is_kept_of_people_ends(store):
    old, young = store.now() - 3 * 86400000, store.now() - 3600000
    for stream in ("t:audit", "t:arrivals", "t:events"):
        store.client.delete(stream)
        store.client.xadd(stream, {"user": "ann"}, id=f"{old}-1")
        store.client.xadd(stream, {"user": "bob"}, id=f"{young}-1")
    assert store.call("sample", str(2 * 86400000)) == ["ok"]
    for stream in ("t:audit", "t:arrivals", "t:events"):
        assert [f["user"] for _, f in store.client.xrange(stream)] == ["bob"], stream
    store.call("hold", "cid", "root", "", "old")
    assert 0 < store.client.pttl("t:audit:cid") <= 2 * 86400000
    store.client.delete("t:history", "t:history:hours")
    assert store.call("sample", "0") == ["ok"] and store.client.hget("t:store", "audit_keep") == "0"
    store.call("hold", "dan", "root", "", "old")
    assert store.client.pttl("t:audit:dan") == -1


def test_enter_never_queues_for_the_same_server(store):
    assert store.enter(source="old", target="old") == ["ok", "resting", "0"]
    store.plant("resting", user="bob", backend="new")
    assert store.enter(user="bob", backend="new", epoch=EPOCH) == ["ok", "resting", "5"]
    assert store.jobs() == []


def test_a_login_brings_back_what_waits_for_credentials(store):
    store.plant("backoff", reason="credentials: none in the store", next_try=0)
    assert store.enter(state="backoff", epoch=EPOCH, enqueue=0, sealed="s") == ["ok", "queued", "5"]
    assert store.jobs() == ["ann"] and store.client.get(store.key("secret", "ann")) == "s"
    store.plant("backoff", user="bob", reason="credentials: refused", next_try=store.now() + 60000)
    store.client.zadd(store.key("later"), {"bob": store.now() + 60000})
    assert store.enter(user="bob", state="backoff", epoch=EPOCH) == ["ok", "queued", "5"]
    assert store.client.zcard(store.key("later")) == 0
    store.plant("backoff", user="cid", reason="target: quota", next_try=store.now() + 60000)
    assert store.enter(user="cid", state="backoff", epoch=EPOCH) == ["ok", "backoff", "5"]


def test_a_login_goes_before_bulk(store):
    assert store.call("enqueue", "ann", "root", "", "old", "new", 1, 0, 0, "old") == ["ok", "queued"]
    assert (store.jobs(), store.jobs(bulk=True)) == ([], ["ann"])
    assert store.enter(state="queued")[0] == "ok"
    assert (store.jobs(), store.jobs(bulk=True)) == (["ann"], [])


@pytest.mark.parametrize("state", ["preparing", "freezing"])
def test_a_login_thaws_a_freeze_that_is_late(store, state):
    store.plant(state, deadline=store.now() - 1)
    assert store.enter(state=state, epoch=EPOCH) == ["again", "ready"]
    assert store.enter(state="ready", epoch=EPOCH) == ["ok", "ready", "5"]


def test_leave_tells_only_who_waits(store):
    for state in STATES:
        store.client.delete(store.key("events"))
        store.plant(state)
        store.put_session("p1/1")
        assert store.call("leave", "ann", "p1/1") == ["ok"] and store.call("leave", "ann", "p1/1") == ["ok"]
        assert [e["kind"] for e in store.events()] == (["left"] if state in ("preparing", "freezing") else [])
    assert store.sessions() == {}


def test_seen(store):
    store.plant("copying")
    store.put_session("p1/1", epoch=3)
    store.put_session("p1/2", epoch=4, mode="frozen")
    store.put_session("p1/3", epoch=5, mode="frozen")
    store.put_session("p10/1", epoch=3)
    assert store.call("seen", "ann", "p1", 6, 1) == ["lost", "copying"]
    assert store.call("seen", "ann", "p1", 5, 2) == ["lost", "copying"]
    assert store.call("seen", "ann", "p1", 5, 1) == ["ok"]
    got = {k: v.split()[1:3] for k, v in store.sessions().items()}
    assert got == {"p1/1": ["5", "running"], "p1/2": ["5", "running"], "p1/3": ["5", "frozen"],
                   "p10/1": ["3", "running"]}
    assert store.call("seen", "ann", "p1", 5, 1) == ["ok"]
    assert [e["kind"] for e in store.events()] == ["seen"]


@pytest.mark.parametrize("state", STATES)
def test_prepared_in_every_state(store, state):
    store.plant(state)
    store.put_session("p1/1", epoch=4)
    for args in (("p1/1", 4, 1), ("p1/1", 6, 1), ("p1/1", 5, 2), ("p1/9", 5, 1)):
        assert store.call("prepared", "ann", *args) == ["lost", state]
    answer = store.call("prepared", "ann", "p1/1", 5, 1)
    if state != "preparing":
        assert answer == ["lost", state] and store.sessions()["p1/1"].split()[:3] == ["old", "4", "running"]
        return
    assert answer == ["ok"] and store.sessions()["p1/1"].split()[:3] == ["old", "5", "prepared"]
    assert store.call("prepared", "ann", "p1/1", 5, 1) == ["ok"]
    assert [e["kind"] for e in store.events()] == ["prepared"]
    assert 0 < int(store.events()[0]["left"]) <= 60000 and store.events()[0]["target"] == "new"


@pytest.mark.parametrize("state", STATES)
def test_refuse_in_every_state(store, state):
    """It comes when it comes: from freezing on nobody asks the target any more, and from flipping there is no way back."""
    store.plant(state)
    store.put_session("p1/1")
    before = store.route()
    for args in (("p1/1", 4, 1), ("p1/1", 6, 1), ("p1/1", 5, 2), ("p1/9", 5, 1)):
        assert store.call("refuse", "ann", *args, "refused: new: no") == ["lost", state]
    answer = store.call("refuse", "ann", "p1/1", 5, 1, "refused: new: no")
    if state != "preparing":
        assert answer == ["lost", state] and store.route() == before
        return
    r = store.route()
    assert answer == ["ok"] and (r["state"], r["reason"], r["deadline"]) == ("ready", "refused: new: no", "0")
    assert store.call("refuse", "ann", "p1/1", 5, 1, "refused: new: no") == ["ok"] and store.route() == r
    assert store.call("freeze", "ann", TOKEN, EPOCH, 1000) == ["refused", "ready"]


@pytest.mark.parametrize("state", STATES)
def test_frozen_in_every_state(store, state):
    store.plant(state)
    store.put_session("p1/1", epoch=4)
    for args in (("p1/1", 4, 1), ("p1/1", 6, 1), ("p1/1", 5, 2), ("p1/9", 5, 1)):
        assert store.call("frozen", "ann", *args) == ["lost", state]
    answer = store.call("frozen", "ann", "p1/1", 5, 1)
    if state != "freezing":
        assert answer == ["lost", state]
        return
    assert answer == ["ok"] and store.sessions()["p1/1"].split()[:3] == ["old", "5", "frozen"]
    assert store.call("frozen", "ann", "p1/1", 5, 1) == ["ok"]
    store.client.hset(store.key("route", "ann"), "state", "flipping")
    assert store.call("frozen", "ann", "p1/1", 5, 1) == ["ok"], "a repeat that comes late"
    assert len(store.events()) == 1


@pytest.mark.parametrize("state", STATES)
def test_resume_in_every_state(store, state):
    store.plant(state)
    backend = store.route()["backend"]
    store.put_session("p1/1", backend=backend, epoch=4)
    assert store.call("resume", "ann", "p1/2", backend, 4, "old", 1) == ["lost", state]
    assert store.call("resume", "ann", "p1/1", "third", 4, "old", 1) == ["lost", state]
    assert store.call("resume", "ann", "p1/1", backend, 3, "old", 1) == ["lost", state]
    assert store.call("resume", "ann", "p1/1", backend, 6, "old", 1) == ["lost", state]
    assert store.call("resume", "ann", "p1/1", backend, 4, "old", 2) == ["lost", state]
    want = "wait" if state in ("freezing", "flipping") else "ok"
    assert store.call("resume", "ann", "p1/1", backend, 4, "old", 1) == [want, state]
    assert store.call("resume", "ann", "p1/1", backend, 5, "old", 1) == [want, state]
    other = "old" if backend == "new" else "new"
    store.client.hset(store.key("route", "ann"), "backend", other)
    assert store.call("resume", "ann", "p1/1", backend, 4, "old", 1) == ["lost", state]


def test_resume_without_record(store):
    store.enter(enqueue=0)
    assert store.call("resume", "ann", "p1/1", "old", 0, "old", 1) == ["ok", "resting"]
    assert store.route() == {}


@pytest.mark.parametrize("state", STATES)
def test_register_on_a_new_master(store, state):
    store.plant(state)
    backend = store.route()["backend"]
    args = (backend, 4, "192.0.2.1", "old", 1)
    stays = state in ("freezing", "flipping")
    assert store.call("register", "ann", "p1/1", *args) == ["lost" if stays else "ok", state]
    if not stays:
        assert store.sessions()["p1/1"].split()[:3] == [backend, "4", "running"]
        assert store.call("register", "ann", "p1/1", *args) == ["ok", state]
    store.put_session("p1/2", backend=backend, mode="frozen")
    assert store.call("register", "ann", "p1/2", *args) == ["wait" if stays else "ok", state]
    assert store.sessions()["p1/2"].split()[2] == ("frozen" if stays else "running")
    assert store.call("register", "ann", "p1/3", "third", 4, "a", "old", 1) == ["lost", state]
    assert store.call("register", "ann", "p1/3", backend, 4, "a", "old", 2) == ["lost", state]
    assert "p1/3" not in store.sessions()


def test_reconcile(store):
    store.plant("preparing")
    for name in ("p1/1", "p1/2", "p1/3", "p10/1", "p2/1"):
        store.put_session(name)
    assert store.call("reconcile", "ann", "p1", EPOCH, 1, "p1/2", "p2/9") == ["ok", "0", "2"]
    assert sorted(store.sessions()) == ["p1/2", "p10/1", "p2/1"]
    assert store.call("reconcile", "ann", "p1", EPOCH, 1, "p1/2") == ["ok", "0", "0"]
    assert [e["kind"] for e in store.events()] == ["left"]


@pytest.mark.parametrize("state,epoch,generation", [
    ("preparing", EPOCH - 1, 1), ("preparing", EPOCH + 1, 1), ("preparing", EPOCH, 2), ("ready", EPOCH, 1),
    ("freezing", EPOCH, 1), ("copying", EPOCH, 1)])
def test_reconcile_that_comes_too_late(store, state, epoch, generation):
    """A connection that stood still delivers it when the session is there that it does not name."""
    store.plant(state)
    store.put_session("p1/1")
    assert store.call("reconcile", "ann", "p1", epoch, generation) == ["lost", state]
    assert list(store.sessions()) == ["p1/1"]


def test_reconcile_leaves_what_came_after_the_preparing(store):
    """A login over another connection, in the very `preparing` that the late call is about."""
    store.plant("preparing")
    store.put_session("p1/1")
    store.put_session("p1/2", since=store.now() + 1)
    assert store.call("reconcile", "ann", "p1", EPOCH, 1) == ["ok", "1", "1"]
    assert list(store.sessions()) == ["p1/2"]


def test_words_of_a_registration_are_encoded(store):
    assert store.call("enter", "ann", "p1/1", "a b", "resting", 0, 1, "x\n1 2", 0, "a b", "new", "a b", 0, "")[0] == "ok"
    assert store.sessions()["p1/1"].split(" ")[:4] == ["a%20b", "0", "running", "x%0A1%202"]
    assert store.call("resume", "ann", "p1/1", "a b", 0, "a b", 1)[0] == "ok"


# ---- leases ----

def test_renew_counts_up_only(store):
    assert store.call("renew", "p1", 10, "0.1", "host one") == ["ok", "1", "1", "0"]
    assert store.call("renew", "p1", 11, "0.1", "host one") == ["ok", "1", "0", "0"]
    assert store.call("renew", "p1", 11, "0.1", "host one")[0] == "lost"
    assert store.call("renew", "p1", 9, "0.1", "host one")[0] == "lost"
    *value, renewed = store.client.hget(store.key("proxies"), "p1").split(" ")
    assert value == ["11", "0.1", "host%20one", "1"] and 0 <= store.client.time()[0] - int(renewed) // 1000 < 60
    assert store.call("renew", "p1", 12, "0.1", "host one", 10000, 600000) == ["ok", "1", "0", "0"]
    *value, renewed, short, long = store.client.hget(store.key("proxies"), "p1").split(" ")
    assert value == ["12", "0.1", "host%20one", "1"] and (short, long) == ("10000", "600000")
    assert 0 <= store.client.time()[0] - int(renewed) // 1000 < 60


@pytest.mark.parametrize("state", STATES)
def test_evict(store, state):
    store.plant(state)
    store.call("renew", "p1", 10, "v", "a")
    for name in ("p1/1", "p1/2", "p10/1", "gone/1"):
        store.put_session(name)
    assert store.call("evict", "ann", "p1", 10, 2) == ["lost", "generation"]
    if state in ("freezing", "flipping"):
        assert store.call("evict", "ann", "p1", 10, 1) == ["refused", state]
        assert len(store.sessions()) == 4
        return
    assert store.call("evict", "ann", "p1", 9, 1) == ["again", "10"]
    assert store.call("evict", "ann", "p1", "", 1) == ["again", "10"]
    assert len(store.sessions()) == 4
    assert store.call("evict", "ann", "p1", 10, 1) == ["ok", "2"]
    assert store.call("evict", "ann", "p1", 10, 1) == ["ok", "0"]
    assert store.call("evict", "ann", "gone", 1, 1) == ["again", ""]
    assert store.call("evict", "ann", "gone", "", 1) == ["ok", "1"]
    assert list(store.sessions()) == ["p10/1"]
    assert [e["kind"] for e in store.events()] == ["evicted", "evicted"]


def test_census(store):
    store.call("renew", "p1", 10, "v", "a")
    for name in ("p1/1", "p1/2", "p2/1", "odd"):
        store.put_session(name)
    status, generation, rows, proxies, _, hosts = store.call("census", "ann")
    assert (status, generation) == ("ok", "1")
    assert sorted(rows[::2]) == ["odd", "p1/1", "p1/2", "p2/1"]
    assert dict(zip(proxies[::2], proxies[1::2])) == {"p1": "10", "p2": "", "odd": ""}
    assert dict(zip(proxies[::2], hosts)) == {"p1": "a", "p2": "", "odd": ""}


PROXIES = {  # as versions write them -> counter, short, long
    "17 0.1.0 host 1 1700000000000": ("17", "", ""),
    "17": ("17", "", ""),
    "17 0.1.0 host 1 1700000000000 10000 600000": ("17", "10000", "600000"),
    "17 0.1.0 % 1 1700000000000 10000 600000 later words": ("17", "10000", "600000"),
    "17 0.1.0 host 1 1700000000000 10000": ("17", "", ""),
    "what": ("", "", ""),
}


@pytest.mark.parametrize("value", PROXIES)
def test_leases_are_read_as_any_version_writes_them(store, value):
    counter, short, long = PROXIES[value]
    store.put_session("p1/1")
    store.client.hset(store.key("proxies"), "p1", value)
    assert store.call("census", "ann")[3:5] == [["p1", counter], [short, long]]
    assert store.call("evict", "ann", "p1", "99", 1) == ["again", counter]
    assert store.call("renew", "p1", 17, "v", "a", 1, 2)[0] == ("lost" if counter else "ok")
    assert store.call("renew", "p1", 18, "v", "a", 1, 2) == ["ok", "1", "0", "0"]
    assert store.call("census", "ann")[3:] == [["p1", "18"], ["1", "2"], ["a"]]
    assert store.call("evict", "ann", "p1", "18", 1) == ["ok", "1"]


def hello_of_the_version_before(store, quarantine):
    store.client.hset(store.key("store"), "quarantine", quarantine)


def failover_seen_by_the_version_before(store, run):
    f = store.client.hgetall(store.key("store"))
    store.client.hset(store.key("store"), mapping={
        "run_id": run, "generation": int(f["generation"]) + 1, "quarantine_until": store.now() + int(f["quarantine"])})


def test_quarantine_lasts_as_long_as_any_program_asked_for(store):
    for asked in (LONG, 3 * LONG, 2 * LONG, 300):
        store.hello(asked)
    hello_of_the_version_before(store, 300)
    store.restart()
    left = int(store.hello(1000)[3])
    assert 3 * LONG - 60000 < left <= 3 * LONG
    hello_of_the_version_before(store, 300)
    assert 0 <= left - int(store.hello(1000)[3]) < 60000


def test_who_asks_for_more_in_a_quarantine_lengthens_it(store):
    store.restart()
    store.hello(1000)
    began = int(store.client.hget(store.key("store"), "quarantine_from"))
    store.hello(5 * LONG)
    assert int(store.client.hget(store.key("store"), "quarantine_until")) == began + 5 * LONG
    store.end_quarantine()
    assert store.hello(9 * LONG)[2:4] == [str(store.generation()), "0"], "one that is over begins again"


def test_quarantine_of_the_version_before_is_lengthened(store):
    store.hello(3 * LONG)
    run = store.client.hget(store.key("store"), "run_id")
    hello_of_the_version_before(store, LONG)
    failover_seen_by_the_version_before(store, run)
    until = int(store.client.hget(store.key("store"), "quarantine_until"))
    for _ in range(3):
        store.hello(1000)
        hello_of_the_version_before(store, LONG)
        assert int(store.client.hget(store.key("store"), "quarantine_until")) == until + 2 * LONG


# ---- jobs ----

def read_job(store, migrator, user):
    """A migrator reads a job of its own."""
    store.client.xadd(store.key("jobs"), {"user": user})
    [[_, [[entry, _]]]] = store.client.xreadgroup("migrators", migrator, {store.key("jobs"): ">"})
    return entry


def idle(store, entry, migrator, ms):
    store.client.xclaim(store.key("jobs"), "migrators", migrator, 0, [entry], idle=ms, justid=True)


def all_orphans(store, term, most=10, who="me"):
    """Page by page; the users."""
    found, after = [], None
    while after != "":
        status, after, *rows = store.call("orphans", GROUP, who, 0, term, most - len(found), 1, 0, after or "", 100)
        assert status == "ok"
        found += rows[1::3]
    return found


def test_orphans_go_by_the_longer_term(store):
    store.client.xgroup_create(store.key("jobs"), "migrators", "0", mkstream=True)
    for migrator, term in (("brief", 1000), ("long", 30000)):
        assert store.call("migrator", migrator, term, "v") == ["ok"]
    assert all_orphans(store, 300) == []
    for migrator in ("brief", "long", "older version"):
        idle(store, read_job(store, migrator, migrator), migrator, 2000)
    assert all_orphans(store, 60000) == [] and all_orphans(store, 3000) == []
    assert all_orphans(store, 300, who="other") == ["brief", "older version"]
    assert [x["consumer"] for x in store.client.xpending_range(store.key("jobs"), "migrators", "-", "+", 9)] == \
        ["other", "long", "other"]
    [long] = [x["message_id"] for x in store.client.xpending_range(store.key("jobs"), "migrators", "-", "+", 9, "long")]
    idle(store, long, "long", 29000)
    assert all_orphans(store, 300) == []
    idle(store, long, "long", 30000)
    assert all_orphans(store, 300) == ["long"] and all_orphans(store, 300) == []


def test_orphans_are_found_behind_many_living(store):
    store.client.xgroup_create(store.key("jobs"), "migrators", "0", mkstream=True)
    store.call("migrator", "long", 30000, "v")
    for n in range(250):
        idle(store, read_job(store, "long", f"u{n}"), "long", 2000)
    for n in range(3):
        idle(store, read_job(store, "gone", f"gone{n}"), "gone", 2000)
    assert all_orphans(store, 1000, most=2) == ["gone0", "gone1"]
    assert all_orphans(store, 1000, most=2) == ["gone2"]
    store.client.xtrim(store.key("jobs"), maxlen=0)
    idle(store, store.client.xpending_range(store.key("jobs"), "migrators", "-", "+", 1)[0]["message_id"], "long", 60000)
    assert all_orphans(store, 1000) == [], "an entry that is gone from the stream"


def test_a_namesake_of_a_longer_term_keeps_it_until_it_is_over(store):
    def term():
        return store.client.hget(store.key("migrators"), "m").split(" ")[0]
    store.call("migrator", "m", 30000, "v")
    store.call("migrator", "m", 1000, "v")
    assert term() == "30000"
    store.client.hset(store.key("migrators"), "m", f"30000 {store.now() - 30000} v")
    store.client.hset(store.key("migrators"), "gone", f"30000 {store.now() - 2 * 86400000} v")
    store.call("migrator", "m", 1000, "v")
    assert term() == "1000" and store.client.hkeys(store.key("migrators")) == ["m"]
    store.call("migrator", "m", 2000, "v")
    assert term() == "2000"


# ---- staff and schedule ----

def test_enqueue_that_is_to_move_now(store):
    """What comes between two calls would make the account wait for its policy, though staff were told that it does not."""
    store.plant("resting")
    assert store.call("enqueue", "ann", "root", "why", "old", "new", 0, 0, 0, "old", 1) == ["ok", "queued"]
    assert store.route()["now"] == "1" and sorted(a["what"] for a in store.audit()) == ["enqueue", "now"]
    assert store.call("now", "ann", "root", "why") == ["ok", "queued"] and len(store.audit()) == 2
    store.plant("blocked", now="1")
    assert store.call("now", "ann", "root", "why") == ["refused", "blocked"] and store.route()["now"] == "1"


@pytest.mark.parametrize("force", [0, 1])
@pytest.mark.parametrize("state", STATES)
def test_enqueue_from_every_state(store, state, force):
    moved = state in ("flipped", "settled")
    source, target = ("new", "old") if moved else ("old", "new")
    store.plant(state, attempts=3, reason="x", next_try=5)
    before = store.route()
    args = ("ann", "root", "why", source, target, 0, force, 0, "old")
    answer = store.call("enqueue", *args)
    allowed = state in ("resting", "backoff", "blocked", "flipped", "settled") or \
        (force and state in ("queued", "copying", "ready"))
    if allowed:
        r = store.route()
        assert answer == ["ok", "queued"] and store.jobs() == ["ann"]
        assert (r["state"], r["source"], r["target"], r["owner"]) == ("queued", source, target, "")
        assert (r["attempts"], r["reason"], r["epoch"], r["force"]) == ("0", "", "5", "1" if force else "")
        assert store.call("enqueue", *args) == answer and store.route() == r and store.jobs() == ["ann"]
        assert [a["what"] for a in store.audit()] == ["enqueue --force" if force else "enqueue"]
        assert store.audit()[0]["who"] == "root" and store.audit()[0]["reason"] == "why"
    else:
        under_way = state in ENGAGED and not force
        assert answer == (["ok", state] if under_way else ["refused", state])
        assert store.route() == before and store.jobs() == [] and store.audit() == []


def test_enqueue_looks_at_the_backend(store):
    assert store.call("enqueue", "ann", "root", "", "new", "old", 0, 1, 1, "old") == ["refused", "resting on old"]
    assert store.call("enqueue", "ann", "root", "", "old", "old", 0, 0, 0, "old") == ["refused", "resting on old"]
    assert store.route() == {}
    store.plant("copying")
    assert store.call("enqueue", "ann", "root", "", "old", "third", 0, 0, 0, "old") == ["refused", "copying"]


@pytest.mark.parametrize("state", STATES)
def test_bulk_from_every_state(store, state):
    store.plant(state, job="", reason="x")
    before = store.route()
    answer = store.call("bulk", "ann", "run1", "new", 0, "old")
    moved, under_way = state in ("flipped", "settled"), state in ENGAGED or state == "backoff"
    if state == "resting":
        r = store.route()
        assert answer == ["ok", "queued"] and store.jobs(bulk=True) == ["ann"] and store.jobs() == []
        assert (r["state"], r["source"], r["target"], r["bulk"]) == ("queued", "old", "new", "1")
        assert store.call("bulk", "ann", "run1", "new", 0, "old") == ["ok", "queued"] and store.route() == r
        assert store.call("bulk", "ann", "run2", "new", 0, "old") == ["ok", "under_way"] and store.route() == r
        assert store.jobs(bulk=True) == ["ann"]
    else:
        want = ["ok", "there"] if moved else ["ok", "under_way"] if under_way else ["refused", state]
        assert answer == want and store.route() == before and store.jobs(bulk=True) == []
    if moved:
        assert store.call("bulk", "ann", "run2", "old", 1, "old") == ["ok", "queued"]
        r = store.route()
        assert (r["source"], r["target"], r["back"], r["staff"].split("\n")[0]) == ("new", "old", "1", "bulk")
    assert store.audit() == []


def test_bulk_and_servers_that_are_retired(store):
    """An account that is there already is no fault of the list."""
    assert store.call("bulk", "ann", "run", "new", 0, "old", " old  other ") == ["refused", "on old, which is retired"]
    assert store.call("bulk", "ann", "run", "old", 1, "old", " old  other ") == ["ok", "there"]
    assert store.call("bulk", "ann", "run", "other", 0, "old", " old  other ") == ["refused", "not moved to other, which is retired"]
    assert store.jobs(bulk=True) == [] and store.call("bulk", "ann", "run", "new", 0, "old", " ol  d  new2 ") == ["ok", "queued"]


def test_bulk_without_record(store):
    assert store.call("bulk", "ann", "run", "new", 0, "old") == ["ok", "queued"]
    assert store.call("bulk", "bob", "run", "old", 1, "old") == ["ok", "there"]
    assert store.route("bob") == {} and store.route()["backend"] == "old"


def test_note_once(store):
    for _ in range(2):
        assert store.call("note", "run", "root", "migrate --all", "why", "3 queued") == ["ok"]
    assert store.call("note", "other", "root", "migrate --all", "why", "0 queued") == ["ok"]
    assert store.call("note", "run", "root", "migrate --all", "why", "3 queued") == ["ok"]
    assert [a["after"] for a in store.audit()] == ["3 queued", "0 queued"]


def late_at(store):
    first, daily = (store.client.zscore(store.key(k), "ann") for k in ("late", "late:daily"))
    assert first is None or daily is None
    return first or daily


def test_first_looks_come_before_daily_ones(store):
    for i in range(5):
        store.client.zadd(store.key("late:daily"), {f"daily{i}": i})
    assert store.call("late_list", 3) == ["ok", "daily0", "daily1", "daily2"]
    for i in range(2):
        store.client.zadd(store.key("late"), {f"first{i}": 100 + i})
    store.client.zadd(store.key("late"), {"far": store.now() + 60000})
    assert store.call("late_list", 3) == ["ok", "first0", "first1", "daily0"]
    assert store.call("late_list", 1) == ["ok", "first0"]


def test_a_look_that_is_set_aside_waits_in_its_own_list(store):
    assert store.call("late_aside", "ann", 5000) == ["ok"] and late_at(store) is None
    for key in ("late", "late:daily"):
        store.client.delete(store.key("late"))
        store.client.zadd(store.key(key), {"ann": 1})
        assert store.call("late_aside", "ann", 5000) == ["ok"]
        assert store.client.zscore(store.key(key), "ann") == late_at(store) > store.now()


def test_records_of_another_type_are_in_no_other_accounts_way(store):
    store.plant("flipped", owner="", last_owner="")
    store.client.rpush(store.key("route:bob"), "x")
    store.client.rpush(store.key("sessions:bob"), "x")
    assert store.call("list", "", "", "", "0", "0", "bob", "ann")[2] == "ann"
    assert store.call("strangers", "bob", "ann")[0] == "ok"
    assert store.call("due", "bob") == ["ok", "0"]
    series = store.call("recount_begin", 0)[1]
    assert store.call("recount", series, "bob", "ann") == ["ok"]
    assert store.client.hget(store.key("counts"), "state:flipped") == "1"
    store.client.hset(store.key("counts"), "state:flipped", "many")
    assert store.call("hold", "ann", "root", "test")[0] == "ok"
    assert store.client.hget(store.key("counts"), "whole") is None, "they are counted anew"


def test_a_look_stays_daily_or_becomes_so(store):
    store.plant("flipped", owner="", last_owner="")
    for token, key, over in (("a", "late", 0), ("b", "late", 1), ("c", "late:daily", 1)):
        store.client.zadd(store.key(key), {"ann": 1})
        assert store.call("late_claim", "ann", token, 1000)[0] == "ok" and late_at(store) > store.now()
        assert store.call("late_keep", "ann", token, EPOCH, 2000) == ["ok"]
        assert store.client.zscore(store.key(key), "ann") is not None
        assert store.call("late_done", "ann", token, EPOCH, 5000, over, 0)[0] == "ok"
        assert store.client.zscore(store.key("late:daily" if over else "late"), "ann") == late_at(store)


def test_flipped_sets_the_late_watch(store):
    store.plant("flipping")
    assert store.call("flipped", "ann", TOKEN, EPOCH, 5000) == ["ok", "6"]
    assert 3000 < late_at(store) - store.now() <= 5000
    assert (store.route()["left"], store.route()["forced"]) == ("old", "")
    for forced in ("bare", "copied"):
        store.plant("flipping", force="1")
        store.client.delete(store.key("late"))
        assert store.call("flipped", "ann", TOKEN, EPOCH, 5000) == ["ok", "6"] and late_at(store) is not None
        assert (store.route()["left"], store.route()["forced"]) == ("old", forced)
        store.client.hset(store.key("views", "ann"), "INBOX", "x")
    store.plant("flipping")
    assert store.call("flipped", "ann", TOKEN, EPOCH, 0) == ["ok", "6"] and late_at(store) is None


def hooks(store):
    by = store.client.hgetall(store.key("hooks", "by"))
    times = dict(store.client.zrange(store.key("hooks"), 0, -1, withscores=True))
    assert sorted(by) == sorted(times)
    return {name: (token, times[name] - store.now()) for name, token in by.items()}


def test_hooks_that_have_to_be_run(store):
    store.plant("flipping")
    for _ in range(2):
        assert store.call("flipped", "ann", TOKEN, EPOCH, 0, 60000) == ["ok", "6"]
    name = "flip\n6\nold\nnew\nann"
    assert list(hooks(store)) == [name] and hooks(store)[name][0] == TOKEN and 40000 < hooks(store)[name][1] <= 60000
    assert store.call("hook_list", 10) == ["ok"], "its owner runs it"
    assert store.call("hook_take", name, "another", 9000) == ["lost", "hook"]
    assert store.call("hook_keep", name, "another", 90000) == ["lost", "hook"]
    assert store.call("hook_keep", name, TOKEN, 90000) == ["ok"] and hooks(store)[name][1] > 60000
    store.client.zadd(store.key("hooks"), {name: 1})
    assert store.call("hook_list", 10) == ["ok", name]
    assert store.call("hook_take", name, "", 9000) == ["lost", "hook"]
    for _ in range(2):
        assert store.call("hook_take", name, "another", 9000) == ["ok"]
    assert store.call("hook_take", name, "third", 9000) == ["lost", "hook"]
    assert store.call("hook_keep", name, TOKEN, 9000) == ["lost", "hook"]
    for _ in range(2):
        assert store.call("hook_done", name) == ["ok"] and hooks(store) == {}
    assert store.call("hook_keep", name, "another", 9000) == ["lost", "hook"] and hooks(store) == {}
    assert store.call("hook_take", name, "another", 9000) == ["lost", "hook"] and hooks(store) == {}


def test_staff_declare_a_proxy_dead(store):
    """Noted before its registrations go, so that it hears of it at whatever renewal comes next; not one that has moved."""
    store.call("renew", "p1.0-ab", 10, "v", "a", 1, 2)
    store.put_session("p1.0-ab/1")
    store.put_session("p1.0-ab/2")
    store.put_session("p2/1")
    store.plant("copying")
    assert store.call("proxy_holds", 1, "p1.0-ab", "ann", "bob") == ["ok", "2", "1", "1"]
    assert store.call("proxy_forget", "p1.0-ab", 9, 1, "eve", "why") == ["again", "10"]
    assert store.call("proxy_forget", "p1.0-ab", 10, 7, "eve", "why") == ["lost", "generation"]
    assert store.call("proxy_forget", "p1.0-ab", 10, 1, "eve", "its host burnt") == ["ok"]
    assert not store.client.hexists(store.key("proxies"), "p1.0-ab")
    entry = store.client.xrevrange(store.key("audit"), count=1)[0][1]
    assert (entry["who"], entry["what"], entry["before"], entry["reason"]) == ("eve", "proxy forget", "p1.0-ab", "its host burnt")
    assert store.call("sweep", "p1.0-ab", "", 1, "ann") == ["ok", "0"] and list(store.sessions()) == ["p2/1"]
    heard = store.call("renew", "p1.0-ab", 11, "v", "a", 1, 2)
    assert heard[:3] == ["ok", "1", "1"] and int(heard[3]) > 0
    assert store.call("renew", "p1.0-ab", 12, "v", "a", 1, 2) == ["ok", "1", "0", heard[3]], "also where the answer was lost"
    assert store.call("sweep", "p1.0-ab", "", 1, "ann") == ["again", "12"], "it is back"
    store.client.hset(store.key("forgotten"), "old", 1)
    assert store.call("proxy_forget", "p3", "", 1, "eve", "why") == ["ok"]
    assert sorted(store.client.hkeys(store.key("forgotten"))) == ["p1.0-ab", "p3"], "no note stays for ever"


def test_a_reason_holds_for_the_state_that_it_stands_in(store):
    """What ended an attempt is kept apart, and what an account waited for is gone with the wait."""
    store.plant("copying")
    assert store.call("backoff", "ann", TOKEN, EPOCH, "unreachable: new", 1) == ["ok"]
    r = store.route()
    assert (r["reason"], r["failed"]) == ("unreachable: new", "unreachable: new")
    store.client.hset(store.key("route:ann"), "next_try", 1)
    assert store.call("due", "ann") == ["ok", "1"]
    assert (store.route()["reason"], store.route()["failed"]) == ("", "unreachable: new")
    assert store.call("claim", "ann", "fresh")[0] == "ok"
    assert store.call("why", "ann", "fresh", EPOCH + 1, "changing: pass 2") == ["ok"]
    assert store.route()["reason"] == "changing: pass 2" and store.events()[-1]["state"] == "copying"
    assert store.call("ready", "ann", "fresh", EPOCH + 1)[0] == "ok" and store.route()["reason"] == ""
    assert store.call("why", "ann", "fresh", EPOCH + 1, "proxy: waits") == ["ok"]
    assert store.call("recopy", "ann", "fresh", EPOCH + 1) == ["ok"]
    assert (store.route()["reason"], store.route()["failed"]) == ("", "unreachable: new")
    assert store.call("backoff", "ann", "fresh", EPOCH + 1, "tls: new", 1, 1) == ["ok"]
    assert store.route()["attempts"] == r["attempts"], "a backend that refuses everybody"


def test_only_what_has_happened_makes_a_hook_due(store):
    store.plant("freezing")
    assert store.call("flipped", "ann", TOKEN, EPOCH, 0, 60000)[0] == "refused"
    store.plant("flipping")
    assert store.call("flipped", "ann", TOKEN, EPOCH - 1, 0, 60000)[0] == "lost"
    assert store.call("flipped", "ann", TOKEN, EPOCH, 0, 0) == ["ok", "6"] and hooks(store) == {}
    store.plant("flipped", owner="look", last_owner="")
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 0, 0, 60000) == ["ok", "flipped"] and hooks(store) == {}
    store.plant("flipped", owner="look", last_owner="")
    for _ in range(2):
        assert store.call("late_done", "ann", "look", EPOCH, 0, 1, 0, 60000)[0] == "ok"
    assert list(hooks(store)) == ["settle\n5\nold\nnew\nann"]


@pytest.mark.parametrize("state", STATES)
def test_late_claim_from_every_state(store, state):
    watched = state in ("flipped", "settled", "held", "resting", "backoff", "blocked")
    store.plant(state, backend="new", counted=f"1 {state} new")
    assert store.call("late_claim", "ann", "look", 1000)[0] == "refused"
    store.client.zadd(store.key("late"), {"ann": store.now() + 60000})
    assert store.call("late_claim", "ann", "look", 1000) == ["refused", "not due"]
    store.client.zadd(store.key("late"), {"ann": 1})
    before, events = store.route(), len(store.events())
    answer = store.call("late_claim", "ann", "look", 1000)
    if watched:
        assert answer[0] == "ok" and store.route() == dict(before, owner="look") and len(store.events()) == events
        assert store.call("late_claim", "ann", "look", 1000)[0] == "ok"
        assert store.call("late_claim", "ann", "other", 1000) == ["refused", "not due"]
        assert store.call("late_keep", "ann", "look", EPOCH, 1000) == ["ok"]
        assert store.call("late_keep", "ann", "other", EPOCH, 1000)[0] == "lost"
    else:
        assert answer == ["refused", state] and store.route() == before, "another move, which may be given up"
        assert 0 < late_at(store) - store.now() <= 1000


@pytest.mark.parametrize("state", STATES)
def test_late_claim_while_another_move_is_wanted(store, state):
    """From new to old by the last flip, back to new by the next: what was left is still looked at, unless it moves."""
    for left, watched in (("old", state not in ENGAGED), ("", False)):
        store.plant(state, backend="new", source="new", target="old", left=left)
        store.client.zadd(store.key("late"), {"ann": 1})
        answer = store.call("late_claim", "ann", "look", 1000)
        assert (answer[0] == "ok") == watched, answer
        assert (late_at(store) is not None) == (left != ""), "asked again later"
        if watched:
            assert store.call("late_note", "ann", "look", EPOCH, "x") == ["ok"]
            assert [(a["before"], a["after"]) for a in store.arrivals()] == [("old", "new")]
            assert store.call("late_done", "ann", "look", EPOCH, 5000, 1, 0)[0] == "ok"
            assert store.route()["state"] == ("settled" if state == "flipped" else state)


def test_late_claim_only_where_the_flip_led(store):
    store.plant("flipped", backend="old")
    store.client.zadd(store.key("late"), {"ann": 1})
    assert store.call("late_claim", "ann", "look", 1000) == ["refused", "flipped"] and late_at(store) is None


def test_late_note_and_done(store):
    store.plant("flipped", owner="look", last_owner="")
    store.client.set(store.key("secret", "ann"), "x")
    for _ in range(2):
        assert store.call("late_note", "ann", "look", EPOCH, "one", "two") == ["ok"]
    assert [(a["what"], a["reason"]) for a in store.arrivals()] == [("late", "one"), ("late", "two")]
    assert store.call("late_note", "ann", "other", EPOCH, "x")[0] == "lost"
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 0, 2) == ["ok", "flipped"]
    assert store.route()["owner"] == "" and store.route()["late_found"] == "2" and late_at(store) > store.now()
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 0, 2) == ["ok", "flipped"]
    assert store.route()["late_found"] == "2" and store.client.exists(store.key("secret", "ann"))
    store.plant("flipped", owner="look2", last_owner="")
    assert store.call("late_done", "ann", "look2", EPOCH, 0, 1, 0, 0, 1) == ["ok", "settled"]
    assert "doubted" not in store.route()
    assert late_at(store) is None and not store.client.exists(store.key("secret", "ann"))
    assert store.events()[-1]["state"] == "settled" and store.route().get("engaged", "0") == "0"


def test_a_settled_account_keeps_what_is_of_use_and_in_little_room(store):
    """Redis keeps a hash as a table from the first long value on, such as a reason, and for ever."""
    store.plant("flipped", owner="look", reason="r" * 70, failed="", deadline="0", prepared="123", job="1-1", home="old", left="old",
                flipped_at="1700000000000", messages_done="7", waits="0")
    key, before = store.key("route", "ann"), store.client.memory_usage(store.key("route", "ann"))
    store.client.hset(key, "reason", "")
    assert store.client.object("encoding", key) == "hashtable"
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 1, 0, 0, 1) == ["ok", "settled"]
    assert store.client.object("encoding", key) == "listpack" and store.client.memory_usage(key) < before / 3
    assert store.route() == {
        "backend": "new", "state": "settled", "epoch": str(EPOCH), "generation": str(store.generation()), "source": "old", "target": "new",
        "home": "old", "left": "old", "flipped_at": "1700000000000", "messages_done": "7", "last_late": "look",
        **{k: v for k, v in store.route().items() if k in ("counted", "counted_wave")}}
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 1, 0, 0, 1) == ["ok", "settled"]  # a repeat
    assert store.call("enqueue", "ann", "root", "", "new", "old", 0, 0, 1, "old", 0) == ["ok", "queued"]


def test_what_the_version_before_has_settled_is_made_small_by_the_next_look(store):
    proof = "a" * 64 + " 1.2 mig1"
    store.plant("settled", owner="look", last_owner="somebody", proof=proof, engaged="0", left="old")
    for token in ("look", "look"):  # and a repeat
        assert store.call("late_done", "ann", token, EPOCH, 5000, 1, 0) == ["ok", "settled"]
    route = store.route()
    assert store.client.object("encoding", store.key("route", "ann")) == "listpack"
    assert route["proof"] + " " + route["proof_at"] == proof and route["left"] == "old"
    assert not {"engaged", "last_owner", "owner"} & set(route)


def test_a_proof_makes_no_table_of_the_route(store):
    proof = "a" * 64 + " 1.2 migrator-of-the-second-host"
    store.plant("freezing")
    assert store.call("flip", "ann", TOKEN, EPOCH, "1:ab", proof) == ["ok"]
    assert store.client.object("encoding", store.key("route", "ann")) == "listpack"
    assert store.call("flipped", "ann", TOKEN, EPOCH, 0, 0)[0] == "ok"
    assert store.audit()[-1]["reason"] == "proof " + proof
    # One that the version before has written is whole already, whatever a flip before it has left.
    store.plant("flipping", user="bob", proof=proof, proof_at="1.1 another")
    assert store.call("flipped", "bob", TOKEN, EPOCH, 0, 0)[0] == "ok"
    assert store.audit()[-1]["reason"] == "proof " + proof
    store.plant("freezing", user="eve", proof="b" * 64, proof_at="1.1 another")
    assert store.call("flip", "eve", TOKEN, EPOCH, "1:ab", "") == ["ok"]
    assert store.call("flipped", "eve", TOKEN, EPOCH, 0, 0)[0] == "ok" and store.audit()[-1]["reason"] == ""


@pytest.mark.parametrize("denied", ["copy", "rename"])
def test_who_may_not_copy_does_the_deed_all_the_same(store, denied):
    store.plant("resting")
    store.client.execute_command("ACL", "SETUSER", "default", f"-{denied}")
    try:
        assert store.call("hold", "ann", "root", "why", "old")[0] == "ok"
    finally:
        store.client.execute_command("ACL", "SETUSER", "default", f"+{denied}")
    assert store.route()["state"] == "held"
    assert [f["what"] for _, f in store.client.xrange(store.key("audit", "ann"))] == ["hold"]


def test_the_audit_of_an_account_takes_what_it_needs(store):
    store.client.hset(store.key("store"), "audit_keep", 1000000)
    store.plant("resting")
    for verb in ("hold", "release", "hold"):
        assert store.call(verb, "ann", "root", "why", "old")[0] == "ok"
    own = store.key("audit", "ann")
    assert [f["what"] for _, f in store.client.xrange(own)] == ["hold", "release", "hold"]
    assert store.client.memory_usage(own) < 1500 and store.client.pttl(own) > 900000
    assert sorted(store.client.keys(store.key("copy*"))) == []


@pytest.mark.parametrize("over,saw_all,doubted", [(0, 1, "1"), (1, 0, "1"), (1, 1, "0")])
def test_a_doubt_ends_when_all_was_seen_at_the_end_of_the_set_time(store, over, saw_all, doubted):
    store.plant("flipped", owner="look", last_owner="", doubted="1")
    assert store.call("late_done", "ann", "look", EPOCH, 5000, over, 0, 0, saw_all)[0] == "ok"
    assert store.route()["doubted"] == doubted


def test_whatever_is_done_with_the_account_ends_a_look(store):
    store.plant("flipped", owner="look", last_owner="", job="")
    assert store.call("enqueue", "ann", "root", "", "new", "old", 0, 0, 1, "old") == ["ok", "queued"]
    assert store.call("late_done", "ann", "look", EPOCH, 5000, 1, 0) == ["lost", "queued"]
    assert store.call("ledger", "ann", "look", EPOCH, "r", "x")[0] == "lost"


def test_an_account_sent_back_is_held(store):
    store.plant("flipped")
    assert store.call("enqueue", "ann", "root", "why", "new", "old", 0, 1, 1, "old") == ["ok", "queued"]
    store.call("claim", "ann", "tok")
    for call in (("ready", 6), ("prepare", 6, 1000), ("freeze", 7, 1000), ("flip", 7, ""), ("flipped", 7)):
        answer = store.call(call[0], "ann", "tok", *call[1:])
        assert answer[0] == "ok", call
    assert store.call("flipped", "ann", "tok", 7) == answer == ["ok", "8"]
    r = store.route()
    assert (r["backend"], r["state"], r["held_from"], r["force"], r["back"]) == ("old", "held", "resting", "", "")
    assert store.enter(state="held", epoch=8) == ["ok", "held", "8"] and store.jobs() == ["ann"]
    assert store.call("release", "ann", "root", "again") == ["ok", "resting"]
    assert store.call("release", "ann", "root", "again") == ["ok", "resting"]
    assert store.enter("p1/2", state="resting", epoch=8) == ["ok", "queued", "8"]


@pytest.mark.parametrize("state", STATES)
def test_hold_and_release(store, state):
    store.plant(state, next_try=5, reason="before")
    store.client.zadd(store.key("later"), {"ann": 5})
    before = store.route()
    answer = store.call("hold", "ann", "root", "why", "old")
    if state in ("preparing", "freezing", "flipping"):
        assert answer == ["refused", state] and store.route() == before
        return
    r = store.route()
    assert answer == ["ok", "held"] and (r["state"], r["epoch"], r["owner"]) == ("held", "5", "")
    assert store.call("hold", "ann", "root", "why", "old") == ["ok", "held"] and store.route() == r
    if state != "held":
        assert store.client.zcard(store.key("later")) == 0 and r["held_from"] == state
        assert store.call("ready", "ann", TOKEN, EPOCH)[0] == "lost"
    answer = store.call("release", "ann", "root", "why")
    back = {"copying": "queued", "ready": "queued", "backoff": "queued", "held": "resting"}.get(state, state)
    assert answer == ["ok", back] and store.route()["state"] == back
    assert store.jobs() == (["ann"] if back == "queued" else [])
    assert store.route()["reason"] == ("" if back == "queued" or state == "held" else "before")
    assert store.call("release", "ann", "root", "why") == answer
    assert store.call("release", "ann", "eve", "why") == ["refused", back]


def test_hold_without_record(store):
    assert store.call("hold", "ann", "root", "why", "old") == ["ok", "held"]
    r = store.route()
    assert (r["backend"], r["state"], r["epoch"], r["held_from"]) == ("old", "held", "0", "resting")
    assert store.enter(state="held") == ["ok", "held", "0"] and store.jobs() == []
    assert store.call("release", "bob", "root", "") == ["refused", "resting"] and store.route("bob") == {}


@pytest.mark.parametrize("state", STATES)
def test_retry(store, state):
    store.plant(state, attempts=4, reason="x")
    before = store.route()
    answer = store.call("retry", "ann", "root", "why")
    if state in ("backoff", "blocked"):
        assert answer == ["ok", "queued"] and store.jobs() == ["ann"] and store.route()["attempts"] == "0"
        assert store.call("retry", "ann", "root", "why") == answer and store.jobs() == ["ann"]
    else:
        assert answer == ["refused", state] and store.route() == before


@pytest.mark.parametrize("state", STATES)
def test_waive(store, state):
    """Kept with who, when and why; what was blocked for it is queued again, once."""
    store.plant(state, reason="differs: x" if state == "backoff" else "")
    again = state in ("blocked", "backoff")
    for _ in range(2):
        assert store.call("waive", "ann", "staff", "they said so", "refused", "INBOX:7") == ["ok", "queued" if again else state]
    rows = store.call("waivers_read", "ann")
    kept = {k: json.loads(v) for k, v in zip(rows[1::2], rows[2::2])}
    assert set(kept) == {"refused", "INBOX:7"}
    assert kept["refused"]["who"] == "staff" and kept["refused"]["why"] == "they said so"
    assert abs(int(kept["refused"]["when"]) - store.now()) < 60000
    assert len(store.jobs()) == (1 if again else 0)
    assert [(a["what"], a["reason"]) for a in store.audit()] == [("waive", "refused, INBOX:7: they said so")]
    assert store.call("waivers_read", "bob") == ["ok"]


def test_waive_leaves_other_backoffs_and_unknown_accounts(store):
    store.plant("backoff", reason="unreachable: new")
    assert store.call("waive", "ann", "staff", "x", "refused") == ["ok", "backoff"]
    assert store.call("waive", "bob", "staff", "x", "refused") == ["ok", "resting"]
    assert store.route("bob") == {}
    assert store.call("waive", "eve", "staff", "x", *map(str, range(10001))) == ["refused", "full of waivers"]
    assert not store.client.exists(store.key("waivers", "eve"))


@pytest.mark.parametrize("state", STATES)
def test_unwaive(store, state):
    """What is not kept is no matter; not in the cut-over, where it may have been counted upon."""
    store.plant(state)
    store.client.hset(store.key("waivers", "ann"), mapping={"refused": "{}", "INBOX:9/7": "{}", "empty": "{}"})
    busy = state in ("preparing", "freezing", "flipping")
    wanted = ["refused", state] if busy else ["ok", state]
    assert store.call("unwaive", "ann", "staff", "", "INBOX:9/7", "nothing") == wanted
    assert store.call("unwaive", "ann", "staff", "by mistake", "refused") == wanted
    kept = {"refused", "INBOX:9/7", "empty"} if busy else {"empty"}
    assert set(store.call("waivers_read", "ann")[1::2]) == kept
    told = [] if busy else [("unwaive", "refused: by mistake"), ("unwaive", "INBOX:9/7")]
    assert [(a["what"], a["reason"]) for a in store.audit()] in (told, told[::-1])
    assert store.call("unwaive", "bob", "staff", "", "refused") == ["ok", "resting"]
    assert store.route("bob") == {}


def test_report(store):
    store.plant("copying")
    assert store.call("report_read", "ann") == ["ok"]
    assert store.call("report", "ann", TOKEN, EPOCH, "{1}") == store.call("report", "ann", TOKEN, EPOCH, "{2}") == ["ok"]
    assert store.call("report_read", "ann") == ["ok", "{2}"]


def test_hold_and_release_leave_one_job(store):
    store.enter()
    store.call("hold", "ann", "root", "", "old")
    store.call("release", "ann", "root", "")
    assert store.jobs() == ["ann"]


@pytest.mark.parametrize("state", STATES)
def test_now(store, state):
    store.plant(state)
    answer = store.call("now", "ann", "root", "why")
    if state in ("queued", "copying"):
        assert answer == ["ok", state] == store.call("now", "ann", "root", "why")
        assert store.route()["now"] == "1" and [e["kind"] for e in store.events()] == ["now"]
        assert store.jobs() == []
    elif state == "ready":  # no job may be left that could hear it
        assert answer == ["ok", "queued"] == store.call("now", "ann", "root", "why")
        assert store.route()["now"] == "1" and store.route()["owner"] == "" and store.jobs() == ["ann"]
    else:
        assert answer == ["refused", state]


def test_later(store):
    store.plant("copying")
    assert store.call("backoff", "ann", TOKEN, EPOCH, "source: down", 60000) == ["ok"]
    assert store.route()["attempts"] == "1" and store.call("due_list", 10) == ["ok"]
    assert store.call("due", "ann") == ["ok", "0"] and store.client.zcard(store.key("later")) == 1
    store.plant("copying", user="bob")
    assert store.call("backoff", "bob", TOKEN, EPOCH, "source: down", 1) == ["ok"]
    names = net.wait_until("time of bob", lambda: store.call("due_list", 10)[1:])
    assert names == ["bob"]
    store.client.hset(store.key("route", "ann"), "next_try", 1)
    store.client.zadd(store.key("later"), {"ann": 1})
    store.client.zrem(store.key("later"), "bob")
    names = store.call("due_list", 10)[1:]
    assert names == ["ann"]
    assert store.call("due", "ann") == ["ok", "1"] and store.call("due", "ann") == ["ok", "0"]
    assert store.jobs() == ["ann"] and store.route()["state"] == "queued"
    assert store.call("due_list", 10) == ["ok"]
    store.client.zadd(store.key("later"), {"nobody": 1})
    assert store.call("due", "nobody") == ["ok", "0"] and store.client.zcard(store.key("later")) == 0


def test_backoff_for_ever_waits_for_a_login(store):
    store.plant("copying")
    assert store.call("backoff", "ann", TOKEN, EPOCH, "credentials: none", 0) == ["ok"]
    assert store.client.zcard(store.key("later")) == 0 and store.route()["next_try"] == "0"
    assert store.call("due", "ann") == ["ok", "0"]


# ---- what the owner of a job keeps ----

def test_ledger_and_views_need_the_owner(store):
    store.plant("copying")
    for name in ("ledger", "ledger_drop", "views", "stamps", "progress", "report", "fingerprint"):
        for token, epoch in (("another", EPOCH), (TOKEN, EPOCH + 1), ("", EPOCH)):
            assert store.call(name, "ann", token, epoch, "0", "a", "b")[0] == "lost"
    store.plant("backoff")
    assert store.call("ledger", "ann", TOKEN, EPOCH, "rec", "a") == ["lost", "backoff"]
    assert store.client.keys("t:ledger*") == [] and store.client.keys("t:views*") == []


def marks_of(server, store, kind):
    """All that is kept of marks, as the kind of store writes it."""
    if kind == "text":
        return store.client.hgetall(store.key("fingerprints"))
    client, kept = server.client(decode=False), {}
    for name in client.scan_iter(store.key("fingerprints:*")):
        assert client.object("encoding", name) in (b"listpack", b"ziplist")
        for field, value in client.hgetall(name).items():
            if field.startswith(b"="):
                marks, at = [], 0
                while at < len(value):
                    marks.append(value[at + 1:at + 1 + value[at]].hex())
                    at += 1 + value[at]
                kept[field.decode()] = " ".join(marks)
            else:
                kept[name.decode()[-4:] + field.hex()] = value.decode()
    return kept


@pytest.mark.parametrize("kind", ["bytes", "text"])
def test_an_account_is_known_again_by_two_marks(server, store, kind):
    """In a store that the version before made, as that one would look for it."""
    a, b, c, d, x, y = (f"{n:04x}" + f"{n * 7:02x}3d00{n:02x}" * 2 + "ff0a0d20" for n in range(1, 7))

    def ask(user, *marks):
        store.client.hset(store.key("route", user), mapping={**store.client.hgetall(store.key("route", "ann"))})
        return store.call("fingerprint", user, TOKEN, EPOCH, *marks)
    if kind == "text":
        store.client.hdel(store.key("store"), "small")
    store.plant("copying")
    assert ask("ann", a, b, c) == ["ok"] == ask("ann", a, b, c)
    assert marks_of(server, store, kind) == {a: "ann", b: "ann", c: "ann", "=ann": f"{a} {b} {c}"}
    assert ask("alias", x, b, c) == ["refused", "ann"]
    assert ask("other", c, y) == ["ok"], "one message may be in many mailboxes"
    assert ask("ann", d) == ["ok"], "its first messages are gone"
    assert marks_of(server, store, kind) == {d: "ann", "=ann": d, y: "other", "=other": y}
    assert ask("ann") == ["ok"]
    assert marks_of(server, store, kind) == {y: "other", "=other": y}
    store.plant("resting", user="other", backend="old", target="", flipped_at=0)
    assert store.call("forget", "other", "root", "", "old")[0] == "ok" and marks_of(server, store, kind) == {}
    assert store.client.keys(store.key("fingerprints*")) == []


def test_marks_that_a_lost_store_has_left_are_found(server):
    """What the version before wrote is there, and the record of the store is made anew."""
    client = server.client()
    client.flushall()
    client.hset("t:fingerprints", mapping={"a" * 24: "ann", "b" * 24: "ann", "=ann": "a" * 24 + " " + "b" * 24})
    store = Store(client)
    store.init()
    store.plant("copying", user="alias")
    assert store.call("fingerprint", "alias", TOKEN, EPOCH, "a" * 24, "b" * 24) == ["refused", "ann"]


def settle(store, token="look"):
    """A flipped account whose set time is over."""
    store.plant("flipped", owner=token, last_late="", left="old")
    assert store.call("late_done", "ann", token, EPOCH, 5000, 1, 0, 0, 1) == ["ok", "settled"]


def test_what_was_done_with_a_settled_account_takes_little_room(store):
    """... and reads the same, with what is added later, and ends as it would have."""
    store.client.hset(store.key("store"), "audit_keep", 86400000)
    store.plant("resting")
    why = 'odd %20 text\nover "lines" \u00fc'
    assert store.call("hold", "ann", "root", why, "old")[0] == store.call("release", "ann", "", "", "old")[0] == "ok"
    before = store.call("audit_read", "ann", "10")
    assert len(before[1]) == 2
    settle(store)
    assert not store.client.exists("t:audit:ann") and 0 < store.client.pttl("t:packed:ann") <= 86400000
    assert store.call("audit_read", "ann", "10") == before and store.call("audit_read", "ann", "1")[1] == before[1][:1]
    assert store.client.memory_usage("t:packed:ann") < 300
    assert store.call("hold", "ann", "root", "later", "old")[0] == "ok"
    after = store.call("audit_read", "ann", "10")
    assert len(after[1]) == 3 and after[1][1:] == before[1] and store.call("audit_read", "ann", "2")[1] == after[1][:2]
    settle(store, "again")
    assert not store.client.exists("t:audit:ann") and store.call("audit_read", "ann", "10") == after
    assert len(store.client.get("t:packed:ann").splitlines()) == 3


def test_what_was_packed_ends_when_nothing_was_added_for_so_long(store):
    """... as the stream would have: with the last entry, not with that of the day when the account settled."""
    store.client.hset(store.key("store"), "audit_keep", 86400000)
    store.plant("resting")
    assert store.call("hold", "ann", "root", "x", "old")[0] == "ok"
    settle(store)
    store.client.pexpire("t:packed:ann", 5000)
    assert store.call("hold", "ann", "root", "later", "old")[0] == "ok"
    assert store.client.pttl("t:packed:ann") > 80000000 and len(store.call("audit_read", "ann", "10")[1]) == 2


@pytest.mark.parametrize("why", ["the version before", "forgotten once", "many entries"])
def test_what_was_done_stays_a_stream(store, why):
    store.plant("resting")
    for _ in range(30 if why == "many entries" else 1):
        assert store.call("hold", "ann", "root", "", "old")[0] == store.call("release", "ann", "root", "", "old")[0] == "ok"
    if why == "the version before":
        store.client.hdel(store.key("store"), "small")
    elif why == "forgotten once":
        assert store.call("forget", "ann", "root", "", "old")[0] == "ok"
    before = store.call("audit_read", "ann", "100")
    settle(store)
    assert store.client.type("t:audit:ann") == "stream" and store.call("audit_read", "ann", "100") == before


def test_nothing_is_prepared_or_flipped_over_a_change_without_an_answer(store):
    """By nobody, whoever the owner is by then, and by force neither; only answers end it, or the word that none of them is
    executed any more."""
    store.plant("copying")
    for token, epoch in (("another", EPOCH), (TOKEN, EPOCH + 1)):
        assert store.call("touch", "ann", token, epoch, "rec", 100, "x")[0] == "lost"
        assert store.call("touched", "ann", token, epoch, "rec", "x")[0] == "lost"
        assert store.call("calm", "ann", token, epoch)[0] == "lost"
    for record, ms, entry in (("rec", 300, "a"), ("rec", 300, "a"), ("other", 200, "a")):
        assert store.call("touch", "ann", TOKEN, EPOCH, record, ms, entry) == ["ok"]
    route = store.route()
    assert (route["touching"], route["touch_ms"]) == ("2", "300")
    for _ in range(2):
        assert store.call("touched", "ann", TOKEN, EPOCH, "rec", "b") == ["ok"]
    assert store.client.lrange("t:ledger:ann:rec", 0, -1) == ["a", "b"]
    store.client.hset(store.key("route", "ann"), mapping={"state": "ready", "force": "1"})
    assert store.call("prepare", "ann", TOKEN, EPOCH, LONG) == ["doubt", "1"]
    store.client.hset(store.key("route", "ann"), "state", "freezing")
    assert store.call("flip", "ann", TOKEN, EPOCH, "view") == ["doubt", "1"]
    store.client.hset(store.key("route", "ann"), "owner", "")
    claimed = store.call("claim", "ann", "next")
    epoch = EPOCH + 1
    assert claimed[0] == "ok" and claimed[claimed.index("touching") + 1] == "1"
    store.client.hset(store.key("route", "ann"), "state", "ready")
    assert store.call("prepare", "ann", "next", epoch, LONG) == ["doubt", "1"]
    assert store.call("touched", "ann", TOKEN, EPOCH, "other", "b")[0] == "lost", "the one before has no say any more"
    assert store.call("calm", "ann", "next", epoch) == ["ok"]
    assert store.route()["doubted"] == "1"
    assert store.call("prepare", "ann", "next", epoch, LONG)[0] == "ok"


def test_calm_says_nothing_of_an_account_that_was_in_no_doubt(store):
    store.plant("copying")
    assert store.call("calm", "ann", TOKEN, EPOCH) == ["ok"]
    assert "doubted" not in store.route()


def test_ledger_appends_once(store):
    store.plant("copying")

    def entries():
        return store.client.lrange("t:ledger:ann:rec", 0, -1)
    for more in (("a",), ("b", "c"), ("b", "c"), ("c",), (), ("d",)):
        assert store.call("ledger", "ann", TOKEN, EPOCH, "rec", *more) == ["ok"]
    assert entries() == ["a", "b", "c", "d"]
    many = [f"e{n}" for n in range(9000)]
    assert store.call("ledger", "ann", TOKEN, EPOCH, "rec", *many) == ["ok"]
    assert store.call("ledger", "ann", TOKEN, EPOCH, "rec", *many) == ["ok"]
    assert entries() == ["a", "b", "c", "d"] + many
    assert store.call("ledger_drop", "ann", TOKEN, EPOCH, "rec") == ["ok"] and entries() == []


def test_stamps(store):
    store.plant("copying")
    assert store.call("stamps", "ann", TOKEN, EPOCH, 0, "a1", "1 made=0", "b2", "1 made=1") == ["ok"]
    assert store.call("stamps", "ann", TOKEN, EPOCH, 1, "b2", "a1", "1 made=1") == ["ok"]
    assert store.call("stamps_read", "ann") == ["ok", "a1", "1 made=1"]
    assert store.call("stamps_read", "bob") == ["ok"]


def test_views(store):
    store.plant("copying")
    assert store.call("views", "ann", TOKEN, EPOCH, 0, "INBOX", "r1", "Sent", "r2") == ["ok"]
    assert store.call("views", "ann", TOKEN, EPOCH, 1, "Sent", "INBOX", "r3") == ["ok"]
    assert store.client.hgetall("t:views:ann") == {"INBOX": "r3"}


def plant_view(store, view="1:ab", state="flipped", **fields):
    store.plant(state, view=view, **fields)
    store.client.hset("t:views:ann", mapping={"": "spelling", "A": "r1", "B": "r2"})


def view_read(store, *more):
    answer = store.call("view_read", "ann", *more)
    return answer[:4], dict(zip(answer[4::2], answer[5::2]))


def view_change(store, *changes, backend="new", epoch=EPOCH):
    return store.call("view_change", "ann", backend, epoch, *sum(map(list, changes), []))


def test_a_view_is_read_with_the_backend_that_it_belongs_to(store):
    assert store.call("view_read", "ann") == ["ok", "", "", "0"]
    plant_view(store)
    records = {"": "spelling", "A": "r1", "B": "r2"}
    assert view_read(store) == (["ok", "1:ab", "new", "5"], records)
    store.plant("flipped", view="1=:ab")
    assert view_read(store) == (["ok", "1=:ab", "new", "5"], {}), "proxies need none"
    assert view_read(store, "1")[1] == records
    store.plant("flipping", view="1:cd")
    assert store.call("view_read", "ann", "1") == ["wait"], "it is the target's already"
    assert store.events() == []


def test_a_view_is_changed_as_a_whole(store):
    plant_view(store)
    move = (("A", "r1", "r1+"), ("C", "", "r3"), ("B", "r2", ""))
    assert view_change(store, *move) == ["ok", "1:ab:1"]
    assert view_read(store) == (["ok", "1:ab:1", "new", "5"], {"": "spelling", "A": "r1+", "C": "r3"})
    assert view_change(store, *move) == ["ok", "1:ab:1"], "repeated"
    assert view_change(store, ("A", "r1", "x")) == ["again", "flipped"]
    assert view_change(store, ("A", "r1+", "x"), ("C", "other", "y")) == ["again", "flipped"]
    assert view_change(store, ("A", "r1+", "x"), ("D", "r1", "y")) == ["again", "flipped"]
    assert view_change(store, ("A", "r1+", "x"), backend="old") == ["again", "flipped"]
    assert view_change(store, ("A", "r1+", "x"), epoch=EPOCH + 1) == ["again", "flipped"]
    assert view_read(store)[1] == {"": "spelling", "A": "r1+", "C": "r3"}
    assert view_change(store, ("A", "r1+", "r1")) == ["ok", "1:ab:2"]
    told = [(e["kind"], e["view"], e["state"]) for e in store.events()]
    assert told == [("view", "1:ab:1", "flipped"), ("view", "1:ab:2", "flipped")]
    for view, then in (("1<:ab", "1<:ab:1"), ("1:ab:9", "1:ab:10"), ("1=:ab", "1=:ab:1"),
                       ("1=:mab", "1=:mab:1"), ("1=:mab:7", "1=:mab:8")):
        store.plant("settled", view=view)
        assert view_change(store, (then, "", "r")) == ["ok", then]
    store.plant("settled", view="")
    assert view_change(store, ("F", "", "x")) == ["again", "settled"], "there is no view"
    store.client.delete(store.key("route", "ann"))
    assert view_change(store, ("F", "", "x")) == ["again", "resting"]


@pytest.mark.parametrize("state", STATES)
def test_a_view_is_not_changed_under_a_job(store, state):
    plant_view(store, state=state, backend="new", owner=TOKEN)
    answer = view_change(store, ("A", "r1", "x"))
    if state in ("freezing", "flipping"):
        assert answer == ["wait", state]
    elif state in ("copying", "ready", "preparing"):
        assert answer == ["refused", state]
        store.plant(state, view="1:ab", backend="new", owner="")
        assert view_change(store, ("A", "r1", "x")) == ["ok", "1:ab:1"], "it waits for its time"
    else:
        assert answer == ["ok", "1:ab:1"], "the late watch changes no record that is there"


def view_record(name, uidvalidity, highest, tier="T3", rid="ab"):
    return f"1 id={rid} source={name} target={name} uidvalidity={uidvalidity} uidnext=0,0 highest={highest} tier={tier} map=1AAA"


@pytest.mark.parametrize("state", ["copying", "ready", "preparing"])
def test_a_greater_uidvalidity_is_shown_under_a_job(store, state):
    """What was deleted, or is another one now. Its owner keeps that when it writes what it has read before."""
    live, grave, void = view_record("A", "5,50", 5, "T2"), view_record("A", "5,0", 5), view_record("A", "5,60", 60)
    plant_view(store, state=state, backend="new", owner=TOKEN)
    store.client.hset("t:views:ann", "A", live)
    assert view_change(store, ("A", live, grave)) == ["ok", "1:ab:1"]
    assert view_change(store, ("A", grave, void), ("N", "", view_record("N", "0,0", 70, rid="cd"))) == ["ok", "1:ab:2"]
    rows = store.client.hgetall("t:views:ann")
    for refused in ((("A", void, live),), (("A", void, void), ("C", "", view_record("C", "5,60", 60))),
                    (("A", void, view_record("A", "5,60", 60, rid="ef")),), (("A", void, ""),), (("C", "", live),)):
        assert view_change(store, *refused) == ["refused", state], refused
    assert store.client.hgetall("t:views:ann") == rows
    assert store.call("views", "ann", TOKEN, EPOCH, 0, "", "spelling", "N", view_record("N", "7,7", 9, rid="cd"),
                      "A", view_record("A", "5,0", 99)) == ["ok"]
    assert store.client.hget("t:views:ann", "N") == view_record("N", "7,7", 70, rid="cd")
    assert store.client.hget("t:views:ann", "A") == view_record("A", "5,0", 99)


def test_a_uidvalidity_that_nobody_was_shown_may_fall(store):
    """It was to be shown behind a flip that did not come."""
    for view, kept in (("", 7), ("1:ab", 9)):
        store.plant("copying", view=view, owner=TOKEN)
        store.client.hset(store.key("views", "ann"), "A", view_record("A", "5,50", "9,7"))
        assert store.call("views", "ann", TOKEN, EPOCH, 0, "A", view_record("A", "5,50", "6,5")) == ["ok"]
        assert store.client.hget(store.key("views", "ann"), "A") == view_record("A", "5,50", kept)
        assert store.call("views", "ann", TOKEN, EPOCH, 0, "A", view_record("A", "5,50", "10,5")) == ["ok"]
        assert store.client.hget(store.key("views", "ann"), "A") == view_record("A", "5,50", "10,5")


def test_an_account_with_a_changed_view_is_forgotten_and_exported(store):
    plant_view(store, state="blocked", backend="old", view="1:ab:3")
    assert store.call("forget", "ann", "staff", "why", "old") == ["ok", "blocked"]
    assert store.client.keys("t:views*") == []
    plant_view(store, view="1:ab:3", flipped_at=7)
    assert store.call("export", "ann")[2:5] == ["ann", "new", "flipped"]


def test_a_name_that_is_none_is_an_error_of_the_script(store):
    text = scripts.library("0.0.9").replace("F.read = function()\n", "F.read = function()\nundefined_name()\n")
    store.client.execute_command("FUNCTION", "LOAD", text)
    with pytest.raises(redis_client.ResponseError, match="undefined_name.*user_function"):
        store.client.fcall(scripts.function("read", "0.0.9"), 1, "t", store.id, "ann")
    store.client.execute_command("FUNCTION", "DELETE", scripts.library_name("0.0.9"))


# ---- the library: one call leaves nothing to the next, and what Redis is told of each function

LOOKS = [n for n in SCRIPTS if "\n-- flags: no-writes\n" in scripts.text(n)]
FREES = [n for n in SCRIPTS if "\n-- flags: allow-oom\n" in scripts.text(n)]


def second_store(store):
    """Of another site that shares the Redis, with the same accounts."""
    other = Store(store.client, "u")
    assert other.call("init", "id-two", LONG, 7) == ["ok"]
    assert other.hello()[:3] == ["ok", "id-two", "7"]
    return other


def test_two_sites_share_the_library(store):
    other = second_store(store)
    store.plant("copying")
    other.plant("ready", backend="elsewhere", epoch=9)
    for _ in range(3):
        assert store.call("where", "ann")[1] == "1" and store.call("where", "ann")[2:5] == ["old", "copying", "5"]
        assert other.call("where", "ann")[1] == "7" and other.call("where", "ann")[2:5] == ["elsewhere", "ready", "9"]
        assert store.call("ready", "ann", TOKEN, EPOCH)[0] == "ok" and store.route()["state"] == "ready"
        assert other.call("recopy", "ann", TOKEN, 9)[0] == "ok" and other.route()["state"] == "copying"
        assert store.route()["generation"] == "1" and other.route()["generation"] == "7"
        store.plant("copying")
        other.plant("ready", backend="elsewhere", epoch=9)
    assert len(store.events()) == 3 and len(other.events()) == 3


@pytest.mark.parametrize("between", ["another store", "no store", "an error", "no keys", "another prefix"])
def test_a_call_leaves_nothing_to_the_next(store, between):
    """Neither the store that it looked at nor its arguments, however it ended."""
    other = second_store(store)
    store.plant("copying")
    wrong = Store(store.client, {"no store": "v", "another prefix": "u"}.get(between, "t"))
    wrong.id = {"another store": "id-three", "another prefix": "id-two"}.get(between, "id-one")
    other.plant("held", backend="elsewhere")
    store.client.set("t:route:bob", "not a hash")
    before = store.call("read", "ann")
    if between == "an error":
        with pytest.raises(redis_client.ResponseError, match="WRONGTYPE"):
            store.call("ready", "bob", TOKEN, EPOCH)
    elif between == "no keys":
        with pytest.raises(redis_client.ResponseError, match="user_function"):
            store.client.fcall(scripts.function("read"), 0, "id-one", "ann")
    else:
        assert wrong.call("where", "ann")[0] == ("ok" if between == "another prefix" else "nostore")
    after = store.call("read", "ann")
    assert dict(zip(after[3::2], after[4::2])) == dict(zip(before[3::2], before[4::2])) and after[1] == "1"
    assert store.call("progress", "ann", TOKEN, EPOCH) == ["ok", "copying"]
    assert Store(store.client, "t").call("where", "ann") == ["nostore"], "the id is asked for each time"


def test_a_field_that_is_read_late_is_what_was_written(store):
    """A route's fields are read when they are asked for first: also behind a write of the same call."""
    store.plant("copying", waits="77", died="x/y", counted="0 copying old", job="1-1")
    store.restart()
    store.call("hello", LONG)
    store.call("greet", LONG)
    store.end_quarantine()
    before = store.route()
    assert store.call("ready", "ann", TOKEN, EPOCH)[0] == "ok"
    after = store.route()
    assert after["generation"] == str(store.generation()) and after["state"] == "ready" and after["counted"] == "1 ready old"
    assert {k: v for k, v in before.items() if k not in ("generation", "state", "counted", "died", "pass_at", "died_late", "reason")}.items() \
        <= after.items()


def test_flags_are_known_and_what_redis_was_told(store):
    rows = store.client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", scripts.library_name())
    library = dict(zip(rows[0][::2], rows[0][1::2]))
    told = {}
    for row in library["functions"]:
        row = dict(zip(row[::2], row[1::2]))
        told[row["name"]] = list(row["flags"])
    assert told == {scripts.function(n): re.findall("^-- flags: (.*)$", scripts.text(n), re.M) for n in SCRIPTS}
    assert set(re.findall("^-- flags: (.*)$", "".join(map(scripts.text, SCRIPTS)), re.M)) == {"no-writes", "allow-oom"}


def refused_with(store, word, name, *args):
    try:
        store.call(name, *args)
    except redis_client.RedisError as e:
        # Newer modules make a class of the word, and take it off the text.
        return word in str(e) or (word == "OOM" and type(e).__name__ == "OutOfMemoryError")
    return False


def test_looks_are_answered_while_redis_takes_no_writes(store):
    store.plant("copying")
    route = store.route()
    store.client.config_set("min-replicas-to-write", 1)
    try:
        for name in LOOKS:
            assert not refused_with(store, "NOREPLICAS", name, "ann", "1", "1"), name
        assert store.call("where", "ann")[0] == "ok" and store.call("hello", LONG)[0] == "ok"
        for name in ("leave", "enter", "ready", "renew", "thaw"):
            assert refused_with(store, "NOREPLICAS", name, "ann", TOKEN, EPOCH), name
    finally:
        store.client.config_set("min-replicas-to-write", 0)
    assert store.route() == route


def test_what_takes_away_runs_while_memory_is_full(store):
    store.plant("settled")
    store.put_session("p1/1")
    store.client.config_set("maxmemory", 1)
    try:
        assert store.call("where", "ann")[0] == "ok" and store.call("hello", LONG)[0] == "ok"
        keys, route = sorted(store.client.keys("*")), store.route()
        for name in SCRIPTS:
            if name not in LOOKS + FREES:
                assert refused_with(store, "OOM", name, "ann", TOKEN, EPOCH, "x"), name
        assert sorted(store.client.keys("*")) == keys and store.route() == route
        assert store.call("leave", "ann", "p1/1") == ["ok"] and store.sessions() == {}
    finally:
        store.client.config_set("maxmemory", 0)


@pytest.mark.parametrize("state", STATES)
def test_where_says_what_read_says(store, state):
    assert store.call("where", "ann") == ["ok", "1"]
    store.plant(state, source="s", target="t", view="1:ab")
    for _ in range(2):
        answer = store.call("read", "ann")
        fields = dict(zip(answer[3::2], answer[4::2]))
        where = store.call("where", "ann")
        assert where[2:7] == [fields[k] for k in ("backend", "state", "epoch", "source", "target")]
        left = int(fields.get("deadline", 0)) and int(fields["deadline"]) - int(answer[2])
        assert left - 1000 <= int(where[7]) <= left, (where, fields)
        assert where[8] == "1:ab"
        store.client.hset(store.key("route", "ann"), "generation", "0")


def test_where_says_that_a_record_is_none_of_ours(store):
    store.client.hset(store.key("route", "ann"), "what", "ever")
    assert store.call("where", "ann")[2] == ""


def test_engaged_is_the_first_claim_of_an_unbroken_engagement(store):
    """Whose proxy has seen it, or a later epoch, goes by the short term of the lease."""
    store.enter()
    assert store.route().get("engaged", "0") == "0"
    store.call("claim", "ann", TOKEN)
    first = store.route()["epoch"]
    assert store.route()["engaged"] == first
    store.call("backoff", "ann", TOKEN, first, "unreachable: x", 1000)
    store.call("retry", "ann", "root", "")
    store.call("claim", "ann", "b" * 32)
    again = store.route()["epoch"]
    assert (store.route()["engaged"], again) == (first, str(int(first) + 1))
    store.call("block", "ann", "b" * 32, again, "cannot: x")
    assert store.route()["engaged"] == "0"
    store.call("retry", "ann", "root", "again")
    store.call("claim", "ann", "c" * 32)
    assert store.route()["engaged"] == store.route()["epoch"] == str(int(again) + 1)
    store.call("hold", "ann", "root", "", "old")
    assert store.route()["engaged"] == "0"


# ---- policies ----

def test_wait_keeps_it_ready_and_queues_it_later(store):
    store.plant("ready", now="", job="")
    assert store.call("wait", "ann", TOKEN, EPOCH, "window: x", 60000) == ["ok"]
    r = store.route()
    assert (r["state"], r["owner"], r["reason"]) == ("ready", "", "window: x")
    assert store.call("wait", "ann", TOKEN, EPOCH, "window: x", 60000) == ["ok"] and store.route() == r
    assert store.call("due", "ann") == ["ok", "0"] and store.route() == r
    store.client.hset(store.key("route", "ann"), "next_try", "1")
    assert store.call("due", "ann") == ["ok", "1"] and store.route()["state"] == "queued"
    assert store.client.zscore(store.key("later"), "ann") is None
    store.plant("ready", now="1")
    assert store.call("wait", "ann", TOKEN, EPOCH, "window: x", 60000) == ["again", "now"]


@pytest.mark.parametrize("state", STATES)
def test_busy_from_every_state(store, state):
    store.plant(state)
    before = store.route()
    waits = state in ENGAGED + ["backoff"]
    assert store.call("busy", "ann", 5000) == ["ok", "1" if waits else "0"]
    assert store.client.exists(store.key("busy", "ann")) == waits
    assert store.route() == before and store.events() == []
    if waits:
        assert store.call("busy", "ann", 60000) == ["ok", "1"] and store.client.pttl(store.key("busy", "ann")) > 50000
        assert store.call("busy", "ann", 1000) == ["ok", "1"] and store.client.pttl(store.key("busy", "ann")) > 50000


def test_wait_until_idle(store):
    def mark(ms):
        store.client.set(store.key("busy", "ann"), "1", px=ms)

    def due_in():
        r = store.route()
        assert store.client.zscore(store.key("later"), "ann") == float(r["next_try"])
        return int(r["next_try"]) - store.now()
    store.plant("ready")
    assert store.call("wait", "ann", TOKEN, EPOCH, "idle: x", 60000, 1) == ["again", "idle"]
    assert store.route()["owner"] == TOKEN and store.events() == []
    mark(30000)
    assert store.call("wait", "ann", TOKEN, EPOCH, "idle: x", 60000, 1) == ["ok"]
    r = store.route()
    assert (r["state"], r["owner"], r["reason"]) == ("ready", "", "idle: x") and 20000 < due_in() <= 30000
    assert abs(int(r["waits"]) - store.now()) < 20000
    assert store.call("wait", "ann", TOKEN, EPOCH, "idle: x", 60000, 1) == ["ok"] and store.route() == r

    def time_has_come(**fields):
        store.client.hset(store.key("route", "ann"), mapping=dict(fields, next_try=1))
    mark(40000)
    time_has_come()
    events = len(store.events())
    assert store.call("due", "ann") == ["ok", "0"] and 30000 < due_in() <= 40000, "it is in use still"
    assert len(store.events()) == events and store.jobs() == []
    mark(90000)
    time_has_come()
    assert store.call("due", "ann") == ["ok", "0"] and 40000 < due_in() <= 60000, "not beyond its next pass"
    time_has_come(pass_at=1)
    assert store.call("due", "ann") == ["ok", "1"] and store.jobs() == ["ann"], "a pass, though it is in use"

    assert store.call("claim", "ann", "tok")[0] == "ok" and store.call("ready", "ann", "tok", 6) == ["ok", "0"]
    assert store.call("wait", "ann", "tok", 6, "idle: x", 60000, 1) == ["ok"]
    assert store.route()["waits"] == r["waits"], "since the first time"
    store.client.delete(store.key("busy", "ann"))
    time_has_come()
    assert store.call("due", "ann") == ["ok", "1"], "nobody uses it"
    assert store.call("claim", "ann", "tok2")[0] == "ok" and store.call("ready", "ann", "tok2", 7) == ["ok", "0"]
    mark(30000)
    store.client.hset(store.key("route", "ann"), "now", "1")
    assert store.call("wait", "ann", "tok2", 7, "idle: x", 60000, 1) == ["again", "now"]
    assert store.call("prepare", "ann", "tok2", 7, 1000) == ["ok", "8"] and store.route()["waits"] == "0"


def test_turn(store):
    assert [store.call("turn", u, 2)[0] for u in ("a", "b", "c", "a")] == ["ok", "ok", "late", "ok"]
    assert 50000 < int(store.call("turn", "c", 2)[1]) <= 60000
    assert store.call("turn", "c", 0) == ["ok"] and store.call("turn", "c", 3) == ["ok"]
    store.client.zadd(store.key("flips"), {"a": 1})
    assert store.call("turn", "d", 3) == ["ok"]


def test_outcome_stops_when_too_many_failed(store):
    def outcome(good, epoch, share=50):
        return store.call("outcome", "ann", TOKEN, epoch, good, share)[1]
    assert [outcome(0, n) for n in range(4)] == ["0"] * 4, "too few to tell"
    assert outcome(0, 3) == "0", "told twice"
    assert outcome(0, 4, 100) == "0", "never at 100"
    assert outcome(1, 5) == "0", "a flip stops nothing"
    assert outcome(0, 6) == "1"
    assert store.client.hget(store.key("control"), "paused_reason") == "6 of the last 7 switch-overs failed"
    assert outcome(0, 7) == "0", "it stands already"
    assert store.call("pause", 0, "root", "") == ["ok"]
    assert [outcome(0, n) for n in range(10, 14)] == ["0"] * 4, "what was before is forgotten"
    store.client.delete(store.key("recent"))
    assert [outcome((n + 1) % 2, n) for n in range(20, 40)] == ["0"] * 20, "a half is not more than a half"


# ---- waves

def waves(store):
    """What waves_read tells: field -> value, without the time."""
    status, _, *flat = store.call("waves_read")
    assert status == "ok"
    return dict(zip(flat[::2], flat[1::2]))


def logs_in(store, user, wave):
    """By one more login of an account that rests; its state after it."""
    answer = store.enter(f"p1/{store.client.hlen(store.key('sessions', user)) + 1}", user=user, wave=wave)
    assert answer[0] == "ok", answer
    return answer[1]


def test_a_wave_queues_so_many_a_day_and_after_its_time(store):
    now = store.now()
    assert logs_in(store, "ann", f"pilot {now + 60000} 2 0") == "resting", "not yet"
    assert waves(store) == {} and not store.route()
    assert [logs_in(store, u, f"pilot {now} 2 0") for u in ("ann", "bob", "cas")] == ["queued", "queued", "resting"]
    assert waves(store)["pilot:today"] == "2" and store.jobs() == ["ann", "bob"]
    assert [store.route(u).get("wave") for u in ("ann", "bob", "cas")] == ["pilot", "pilot", None]
    assert logs_in(store, "cas", "other 0 1 0") == "queued", "another wave counts by itself"
    assert logs_in(store, "dan", "pilot 0 0 0") == "queued", "any number"
    assert logs_in(store, "eve", "") == "queued" and "wave" not in store.route("eve"), "in no wave"
    # The same login once more, since its answer was lost, and a further one: none is counted twice.
    assert store.enter("p1/1", user="ann", wave="pilot 0 9 0")[:2] == ["ok", "queued"]
    assert store.enter("p1/9", user="ann", state="queued", wave="pilot 0 9 0")[0] == "ok"
    assert waves(store)["pilot:today"] == "3"


def test_a_day_of_a_wave_ends_by_the_sites_clock_and_never_goes_back(store):
    day = 86400000
    assert logs_in(store, "a", "w 0 1 0") == "queued" and logs_in(store, "b", "w 0 1 0") == "resting"
    assert logs_in(store, "b", f"w 0 1 {day}") == "queued", "the next day there"
    assert logs_in(store, "c", "w 0 1 0") == "resting", "whose clock says it is still the day before counts to that one"
    assert logs_in(store, "c", f"w 0 1 -{day}") == "resting"
    assert (waves(store)["w:day"], waves(store)["w:today"]) == (str(store.now() // day + 1), "1")


def test_a_paused_wave_queues_nobody_and_others_go_on(store):
    assert store.call("pause", 1, "root", "look", "pilot") == ["ok"]
    assert store.call("pause", 1, "root", "look", "pilot") == ["ok"], "it is"
    assert logs_in(store, "ann", "pilot 0 0 0") == "resting"
    assert logs_in(store, "bob", "rest 0 0 0") == "queued" and logs_in(store, "cas", "") == "queued"
    told = waves(store)
    assert (told["pilot:paused"], told["pilot:paused_by"], told["pilot:paused_reason"]) == ("1", "root", "look")
    assert store.call("control_read")[1] == "0", "not the brake of all"
    assert store.call("pause", 0, "root", "", "pilot") == ["ok"] and logs_in(store, "ann", "pilot 0 0 0") == "queued"
    assert [(e["what"], e["before"], e["after"]) for e in store.audit()] == [
        ("pause", "running wave pilot", "paused wave pilot"), ("resume", "paused wave pilot", "running wave pilot")]


def unpark(store):
    return [store.call("due", u)[1] for u in store.call("due_list", 200)[1:]]


def test_what_is_queued_in_a_paused_wave_is_parked_and_lost_by_nobody(store):
    entry, other = hand_out(store, "ann", "bob", to="m1")
    store.plant("queued", owner="", job=entry, wave="pilot")
    store.plant("queued", user="bob", owner="", job=other, wave="rest")
    assert store.call("pause", 1, "root", "", "pilot") == ["ok"]
    assert claim(store, "one", "m1", entry) == ["refused", "parked"]
    r = store.route()
    assert (r["state"], r["job"], r["parked"], r["owner"]) == ("queued", "", "pilot", "")
    assert r["reason"] == "wave: pilot is paused" and store.jobs() == ["bob"] and waves(store)["pilot:parked"] == "1"
    assert store.call("claim", "bob", "two", "m1", 0, other, GROUP)[0] == "ok", "nobody waits behind it"
    assert unpark(store) == [], "as long as it is paused"
    assert store.enter("p1/2", state="queued", epoch=EPOCH, wave="pilot 0 0 0")[:2] == ["ok", "queued"]
    assert store.jobs() == ["bob"], "nor does a login queue it"
    assert store.call("pause", 0, "root", "", "pilot") == ["ok"]
    # What of the entry is still in the migrator's hands is no job, also before it is queued again.
    assert claim(store, "one", "m1", entry)[0] in ("refused", "lost")
    assert unpark(store) == ["1"] and unpark(store) == [] and store.jobs() == ["bob", "ann"]
    r = store.route()
    assert r["parked"] == "" and r["reason"] == "" and r["wave"] == "pilot" and not store.client.keys(store.key("parked*"))
    assert store.call("drop", "ann", 0, entry, GROUP) == ["ok", "1"] and store.jobs() == ["bob", "ann"]


def test_a_pause_parks_a_copied_account_and_leaves_what_is_being_switched_over(store):
    store.call("pause", 1, "root", "", "pilot")
    for state, name, more in (("preparing", "freeze", (1000,)), ("freezing", "flip", ("",))):
        store.plant(state, wave="pilot")
        assert store.call(name, "ann", TOKEN, EPOCH, *more) == ["ok"], state
    assert store.call("flipped", "ann", TOKEN, EPOCH, 0, 0)[0] == "ok"
    store.plant("ready", user="cas", wave="pilot", job="1-1")
    assert store.call("prepare", "cas", TOKEN, EPOCH, 1000) == ["lost", "queued"]
    assert store.route("cas")["parked"] == "pilot" and store.route("cas")["owner"] == ""
    assert store.call("prepare", "cas", TOKEN, EPOCH, 1000) == ["lost", "queued"], "told twice"
    store.plant("ready", user="bob", wave="rest")
    assert store.call("prepare", "bob", TOKEN, EPOCH, 1000)[0] == "ok"


@pytest.mark.parametrize("state,parks", [("copying", True), ("ready", True), ("preparing", False), ("freezing", False)])
def test_a_job_whose_owner_died_in_a_paused_wave(store, state, parks):
    store.call("pause", 1, "root", "", "pilot")
    store.plant(state, wave="pilot")
    assert store.call("claim", "ann", "two", "m2") == (["refused", "parked"] if parks else ["paused"])
    assert store.route()["state"] == ("queued" if parks else state)
    store.plant("flipping", wave="pilot")
    assert store.call("claim", "ann", "three", "m2")[0] == "ok", "forward is the only way"


@pytest.mark.parametrize("how", ["enqueue", "bulk", "now", "hold", "forget"])
def test_staff_take_an_account_out_of_a_paused_wave(store, how):
    store.call("pause", 1, "root", "", "pilot")
    store.plant("queued", owner="", wave="pilot", epoch=0)
    assert store.call("claim", "ann", "one", "m1") == ["refused", "parked"]
    args = {"enqueue": ("root", "why", "old", "new", 0, 0, 0, "old"), "bulk": ("run", "new", 0, "old"), "now": ("root", "why"),
            "hold": ("root", "why", "old"), "forget": ("root", "why", "old")}[how]
    assert store.call(how, "ann", *args)[0] == "ok"
    assert not store.client.keys(store.key("parked*")), "it waits no more"
    if how == "hold":
        assert store.route()["state"] == "held" and store.jobs() == []
    elif how == "forget":
        assert not store.route()
    else:
        assert store.jobs(bulk=how == "bulk") == ["ann"]
        assert store.call("claim", "ann", "two", "m1")[0] == "ok" and store.route()["wave"] == ""


def test_the_automatic_stop_of_a_wave_stops_that_wave_alone(store):
    for user, wave in (("ann", "pilot"), ("bob", "rest"), ("cas", "")):
        store.plant("ready", user=user, wave=wave)

    def outcome(user, good, epoch):
        return store.call("outcome", user, TOKEN, epoch, good, 50)[1]
    assert [outcome("ann", 0, n) for n in range(4)] + [outcome("bob", 0, 0), outcome("cas", 0, 0)] == ["0"] * 6
    assert outcome("ann", 0, 4) == "1 wave pilot" and outcome("ann", 0, 5) == "0"
    told = waves(store)
    assert told["pilot:paused_by"] == "automatic stop" and told["pilot:paused_reason"] == "5 of the last 5 switch-overs failed"
    assert "rest:paused" not in told and store.call("control_read")[1] == "0"
    assert store.audit()[-1]["after"] == "paused wave pilot"
    store.call("pause", 0, "root", "", "pilot")
    assert [outcome("ann", 0, n) for n in range(10, 14)] == ["0"] * 4, "what was before is forgotten"
    assert [outcome("cas", 0, n) for n in range(20, 24)][-1] == "1" and store.call("control_read")[1] == "1"


def test_accounts_are_counted_by_wave(store):
    recount(store)
    for user in ("ann", "bob", "cas"):
        logs_in(store, user, "pilot 0 2 0")

    def by_wave():
        return {k: v for k, v in counts(store)[1].items() if k.startswith("wave:")}
    assert by_wave() == {"wave:pilot:queued": 2}
    assert store.call("claim", "ann", "one", "m1")[0] == "ok"
    assert by_wave() == {"wave:pilot:queued": 1, "wave:pilot:copying": 1}
    store.client.delete(store.key("counts"))
    recount(store)
    assert by_wave() == {"wave:pilot:queued": 1, "wave:pilot:copying": 1}
    assert store.call("forget", "bob", "root", "", "old") == ["refused", "is signed in at this moment"]
    store.client.delete(store.key("sessions", "bob"))
    assert store.call("forget", "bob", "root", "", "old") == ["ok", "queued"]
    assert by_wave() == {"wave:pilot:copying": 1}
    assert store.call("enqueue", "ann", "root", "x", "old", "new", 0, 1, 0, "old") == ["ok", "queued"]
    assert by_wave() == {}, "staff have moved it by themselves"


def test_a_record_of_waves_that_is_none_keeps_nobody_out(store):
    store.client.set(store.key("waves"), "x")
    assert logs_in(store, "ann", "pilot 0 0 0") == "resting" and logs_in(store, "bob", "") == "queued"
    store.plant("queued", owner="", wave="pilot")
    assert store.call("claim", "ann", "one", "m1")[0] == "ok" and waves(store) == {}


# ---- retire, direct

def test_retire_tells_what_accounts_have_to_do_with_a_backend(store):
    def told(*users, what="routes", backend="old"):
        status, *flat = store.call("retire", backend, what, *users)
        assert status == "ok"
        return sorted(zip(flat[::3], flat[1::3], flat[2::3]))
    for state in STATES:
        store.plant(state, user=state)
    here = [s for s in STATES if s not in ("flipped", "settled")]
    assert told(*STATES) == sorted([(s, "here", s) for s in here] + [("flipped", "watched", "flipped"), ("settled", "left", "settled")])
    assert told(*STATES, backend="elsewhere") == []
    store.plant("copying", user="back", backend="new", source="new", target="old", left="old")
    assert told("back") == [("back", "coming", "copying")]
    store.client.hset(store.key("waivers", "settled"), mapping={"a": 1, "b": 1})
    store.put_session("p1/1", user="settled")
    store.put_session("p1/2", user="settled", backend="new")
    store.put_session("p1/3", user="nobody")
    assert told("settled", "nobody") == [("settled", "left", "settled"), ("settled", "sessions", "1"), ("settled", "waived", "2")]
    assert told("settled", "nobody", what="sessions") == [("nobody", "sessions", "1")]
    assert told("settled", "nobody", "other", what="listed") == [("nobody", "unknown", ""), ("other", "unknown", "")]
    store.client.set(store.key("route", "broken"), "x")
    assert told("broken", "settled")[0][0] == "settled", "it is in nobody's way"


def test_direct_tells_for_whom_something_is_rewritten(store):
    for user, fields in (("old", {}), ("plain", {"view": "1=:aa"}), ("none", {"view": ""}), ("seen", {"view": "1:aa:3"})):
        store.plant("settled", user=user, flipped_at=0 if user == "old" else 5, home="old", **fields)
    store.plant("held", user="back", backend="old", flipped_at=5, home="old", view="1:aa")
    store.plant("resting", user="born", backend="new")
    _, *flat = store.call("direct", "new", "old", "plain", "none", "seen", "back", "born", "nobody")
    assert dict(zip(flat[::2], flat[1::2])) == {"old": "unmoved", "plain": "plain", "none": "plain", "seen": "seen", "back": "unmoved",
                                                     "born": "plain"}


# ---- counters

def counts(store):
    whole, *flat = store.call("counts_read")[1:]
    return whole == "1", {k: int(v) for k, v in zip(flat[::2], flat[1::2])}


def recount(store, needed=0):
    _, series, nothing = store.call("recount_begin", needed)
    if nothing == "1":
        return False
    users = [k.split(":", 2)[2] for k in store.client.scan_iter(store.key("route", "*"))]
    assert store.call("recount", series, *users) == ["ok"]
    assert store.call("recount_end", series) == ["ok"]
    return True


def test_accounts_are_counted_as_they_change(store):
    assert counts(store) == (True, {})
    for user in ("ann", "bob"):
        assert store.enter(user=user)[0] == "ok"
        assert store.enter(session="p1/2", user=user, state="queued")[0] == "ok"
    assert counts(store) == (True, {"state:queued": 2, "backend:old": 2})
    for _ in range(2):  # a repeat counts once
        assert store.call("claim", "ann", TOKEN)[0] == "ok"
    assert store.call("hold", "bob", "me", "why", "old")[0] == "ok"
    assert counts(store) == (True, {"state:copying": 1, "state:held": 1, "backend:old": 2})
    store.client.hset(store.key("route", "ann"), mapping={"state": "flipping", "deadline": 0})  # as an older version would
    epoch = store.route()["epoch"]
    assert store.call("flipped", "ann", TOKEN, epoch, 0, 0)[0] == "ok"
    assert counts(store) == (True, {"state:flipped": 1, "state:held": 1, "backend:old": 1, "backend:new": 1})


def test_a_store_of_an_older_version_is_counted_once(store):
    """Nothing is counted before; what changes while it is gone through counts once, and a second recount ends the first."""
    store.client.hdel(store.key("store"), "series", "audit_since")
    store.client.delete(store.key("counts"))
    for i in range(5):
        store.plant("settled", f"u{i}")
    assert store.call("hold", "u0", "me", "why", "old")[0] == "ok"
    assert counts(store) == (False, {})
    _, series, nothing = store.call("recount_begin", 1)
    assert nothing == "0" and store.call("recount_begin", 1)[2] == "1", "somebody is at it"
    assert store.call("recount", series, "u0", "u1") == ["ok"]
    assert store.call("hold", "u2", "me", "why", "old")[0] == "ok"
    assert store.call("recount", series, "u0", "u2", "u3", "nobody") == ["ok"]
    assert counts(store)[0] is False
    assert recount(store)
    assert store.call("recount", series, "u4")[0] == store.call("recount_end", series)[0] == "lost"
    assert counts(store) == (True, {"state:held": 2, "state:settled": 3, "backend:new": 5})
    assert not recount(store, needed=1)


def test_a_recount_mends_what_is_wrong(store):
    assert store.enter()[0] == "ok"
    store.client.hset(store.key("counts"), mapping={"state:queued": 77, "state:held": -3})
    assert recount(store)
    assert counts(store) == (True, {"state:queued": 1, "backend:old": 1})


# ---- what staff look at, by index

def groups(store):
    flat = store.call("groups_read")[1:]
    return {k: int(v) for k, v in zip(flat[::2], flat[1::2])}


FIELDS = "user state backend reason next_try since failed messages_done messages_total bytes_done bytes_total at".split()


def page(store, state="", word="", cursor="", n=100):
    """-> accounts, cursor of the next page"""
    _, after, *flat = store.call("list_page", state, word, cursor, n)
    return [dict(zip(FIELDS, flat[i:i + len(FIELDS)])) for i in range(0, len(flat), len(FIELDS))], after


def pages(store, state="", word="", n=100):
    """All accounts, by pages of n."""
    found, cursor, asked = [], "", 0
    while asked == 0 or cursor:
        more, cursor = page(store, state, word, cursor, n)
        assert len(more) <= n
        found += more
        asked += 1
        assert asked < 1000
    return [a["user"] for a in found]


def test_accounts_are_in_the_group_of_their_state_and_reason(store):
    assert groups(store) == {} and page(store) == ([], "")
    assert store.enter(user="ann")[0] == "ok"
    assert groups(store) == {} and pages(store, "queued") == ["ann"], "what is queued stands in the streams of jobs"
    claim = store.call("claim", "ann", TOKEN)
    epoch = store.route()["epoch"]
    assert claim[0] == "ok" and groups(store) == {"copying:": 1}
    assert pages(store, "queued") == [] and pages(store, "copying") == ["ann"]
    assert store.call("why", "ann", TOKEN, epoch, "proxy: p1 is silent") == ["ok"]
    assert groups(store) == {"copying:proxy": 1}
    for _ in range(2):  # a repeat is one
        assert store.call("block", "ann", TOKEN, epoch, "cannot: INBOX: UID 5 is too large") == ["ok"]
    assert groups(store) == {"blocked:cannot": 1}
    (ann,), after = page(store, "blocked", "cannot")
    assert after == "" and ann["user"] == "ann" and ann["reason"].startswith("cannot: INBOX") and int(ann["since"]) > 1e12
    assert page(store, "blocked", "quota") == page(store, "backoff") == ([], "")
    assert store.call("retry", "ann", "me", "mended", "old", "")[0] == "ok"
    assert groups(store) == {} and pages(store, "queued") == ["ann"] and "listed" not in store.route()
    assert store.call("hold", "ann", "me", "on leave", "old")[0] == "ok"
    assert groups(store) == {"held:held": 1}
    store.client.delete(store.key("sessions", "ann"))
    assert store.call("forget", "ann", "me", "gone", "old")[0] == "ok"
    assert groups(store) == {} and not store.client.exists(store.key("in:held:held"))


def test_what_was_switched_over_is_found_by_the_late_watch(store):
    store.plant("flipping", owner=TOKEN, deadline=0)
    assert store.call("flipped", "ann", TOKEN, EPOCH, 60000, 0)[0] == "ok"
    assert pages(store, "flipped") == ["ann"] and pages(store, "settled") == [] and groups(store) == {}


@pytest.mark.parametrize("n", [1, 7, 100])
def test_pages_have_each_account_once(store, n):
    for i in range(50):
        assert store.call("hold", f"h{i}", "me", "why", "old")[0] == "ok"
        assert store.enter(user=f"q{i}")[0] == "ok"
    store.plant("flipped", "late")
    store.client.zadd(store.key("late"), {"late": 5})
    everybody = sorted([f"h{i}" for i in range(50)] + [f"q{i}" for i in range(50)] + ["late"])
    assert sorted(pages(store, n=n)) == everybody
    assert sorted(pages(store, "held", "held", n)) == sorted(f"h{i}" for i in range(50))


def test_a_page_goes_on_where_its_last_account_has_gone(store):
    for i in range(10):
        assert store.call("hold", f"h{i}", "me", "why", "old")[0] == "ok"
        store.client.zadd(store.key("in:held:held"), {f"h{i}": 1000 + i})
    first, cursor = page(store, "held", n=4)
    assert store.call("release", first[-1]["user"], "me", "", "old")[0] == "ok"
    rest, after = page(store, "held", cursor=cursor, n=100)
    assert [a["user"] for a in rest] == [f"h{i}" for i in range(4, 10)] and after == ""


@pytest.mark.parametrize("state", ["held", "queued"])
def test_a_cursor_of_another_store_goes_on_behind_its_place(store, state):
    """One order of all: by time, and where that is the same, by account."""
    for user in "bdf":
        store.plant(state, user, reason="held: x" if state == "held" else "")
    store.client.sadd(store.key("groups"), "held:held")
    store.client.zadd(store.key("in:held:held"), {"b": 1000, "d": 1000, "f": 2000})
    for id_, user in (("1000-0", "b"), ("1000-1", "d"), ("2000-0", "f")):
        store.client.xadd(store.key("jobs"), {"user": user}, id=id_)
    places = [a["at"] for a in page(store, state)[0]]
    assert [x.split()[2] for x in places] == ["b", "d", "f"]
    source = places[0].split()[0]
    for place, rest in (("1000 c", "df"), ("1000 d", "f"), ("999 z", "bdf"), ("1500 a", "f"), ("2000 g", "")) if state == "held" else (
            ("1000-0 a", "bdf"), ("1000-0 c", "df"), ("1000-1 c", "df"), ("1000-1 d", "f"), ("1500-0 a", "f"), ("2000-0 g", "")):
        assert "".join(a["user"] for a in page(store, state, cursor=f"{source} {place}")[0]) == rest, place


@pytest.mark.parametrize("cursor", ["x", "held:held x ann", "~jobs 5 ann", "held:held 1-1 ann", "zzz 1 ann", "~late ( ann", "a b c d"])
def test_a_cursor_that_is_none_is_harmless(store, cursor):
    assert store.call("hold", "ann", "me", "why", "old")[0] == "ok"
    assert page(store, "", "", cursor)[1] == ""


def test_what_an_older_version_moved_is_on_no_page_and_a_recount_mends_it(store):
    for user in ("ann", "bob"):
        assert store.call("hold", user, "me", "why", "old")[0] == "ok"
    since = page(store, "held")[0][1]["since"]
    store.client.hset(store.key("route", "ann"), "state", "settled")
    assert pages(store, "held") == ["bob"] and groups(store) == {"held:held": 2}
    recount(store)
    assert groups(store) == {"held:held": 1} and page(store, "held")[0][0]["since"] == since
    assert "listed" not in store.route("ann")
    store.client.hset(store.key("counts"), "listed", "0")  # as a recount by such a version leaves it
    assert recount(store, needed=1) and not recount(store, needed=1)


def test_an_index_that_cannot_be_written_keeps_nobody_from_moving(store):
    store.client.set(store.key("in:held:held"), "nonsense")
    store.client.set(store.key("groups"), "nonsense")
    assert store.call("hold", "ann", "me", "why", "old")[0] == "ok"
    assert store.call("release", "ann", "me", "", "old")[0] == "ok"
    assert groups(store) == {}


def test_messages_and_bytes_of_all_accounts_are_added_up(store):
    for user in ("ann", "bob"):
        assert store.enter(user=user)[0] == "ok"
        assert store.call("claim", user, TOKEN)[0] == "ok"
        epoch = store.route(user)["epoch"]
        for done in (0, 3, 5):
            assert store.call("progress", user, TOKEN, epoch, "messages_done", done, "messages_total", 10, "bytes_done",
                              done * 100, "bytes_total", 1000)[0] == "ok"
    sums = {k[4:]: v for k, v in counts(store)[1].items() if k.startswith("sum:")}
    assert sums == {"messages_done": 10, "messages_total": 20, "bytes_done": 1000, "bytes_total": 2000}
    recount(store)
    assert {k[4:]: v for k, v in counts(store)[1].items() if k.startswith("sum:")} == sums
    assert store.call("hold", "bob", "me", "", "old")[0] == "ok"
    store.client.delete(store.key("sessions", "bob"))
    assert store.call("forget", "bob", "me", "", "old")[0] == "ok"
    sums = {k[4:]: v for k, v in counts(store)[1].items() if k.startswith("sum:")}
    assert sums == {"messages_done": 5, "messages_total": 10, "bytes_done": 500, "bytes_total": 1000}


def test_how_far_everything_is_stays_known_over_time(store):
    for _ in range(3):  # of several migrators one writes
        assert store.call("sample") == ["ok"]
    assert store.client.llen(store.key("history")) == store.client.llen(store.key("history:hours")) == 1
    assert store.call("hold", "ann", "me", "", "old")[0] == "ok"
    def at(ms, text=""):
        return f"{ms} state:held=1{text}"
    now = int(store.call("history_read", 0, 10)[1])
    store.client.delete(store.key("history"), store.key("history:hours"))
    store.client.rpush(store.key("history"), *(at(now - m * 60000) for m in range(1440, 0, -1)))
    store.client.rpush(store.key("history:hours"), *(at(now - h * 3600000) for h in range(8760, 0, -1)))
    assert store.call("sample") == ["ok"]
    assert store.client.llen(store.key("history")) == 1440 and store.client.llen(store.key("history:hours")) == 8760
    day = store.call("history_read", now - 3600000, 30)[2:]
    assert 20 <= len(day) <= 30 and day[-1].split()[1:] == ["state:held=1", "backend:old=1"]
    assert all(int(a.split()[0]) < int(b.split()[0]) for a, b in zip(day, day[1:]))
    year = store.call("history_read", 0, 100)[2:]
    assert 50 < len(year) <= 100 and int(year[0].split()[0]) < now - 8000 * 3600000
    store.client.rpush(store.key("history"), at(now + 999999999))  # a master whose clock was ahead
    assert store.call("sample") == ["ok"]
    assert int(store.client.lindex(store.key("history"), -1).split()[0]) < now + 60000


# ---- histories

def history(store, user="", n=100):
    return [[dict(zip(f[::2], f[1::2])) for _, f in part] for part in store.call("audit_read", user, n)[1:]]


def test_each_account_has_its_own_history(store):
    """However much others do, and however much comes late."""
    store.plant("settled", owner=TOKEN, left="old")
    assert store.call("hold", "bob", "me", "first", "old")[0] == "ok"
    with store.client.pipeline() as p:
        for i in range(6000):
            p.xadd(store.key("audit"), {"who": "x", "what": "hold", "user": "others", "reason": str(i)})
        p.execute()
    for _ in range(2):
        assert store.call("late_note", "ann", TOKEN, EPOCH, *(f"late {i}" for i in range(300))) == ["ok"]
    assert store.call("hold", "ann", "me", "why", "old")[0] == "ok"
    assert [[e["reason"] for e in x] for x in history(store, "bob")] == [["first"], []]
    done, late = history(store, "ann", 1000)
    assert [e["what"] for e in done] == ["hold"] and [e["reason"] for e in late] == [f"late {i}" for i in reversed(range(300))]
    assert not any(e["what"] == "late" for e in store.audit())
    done, late = history(store, "", 3)
    assert [e["user"] for e in done] == ["ann", "others", "others"] and len(late) == 3


def test_what_an_older_version_wrote_is_still_found(store):
    store.client.hdel(store.key("store"), "audit_since")
    store.client.xadd(store.key("audit"), {"who": "x", "what": "hold", "user": "ann", "reason": "before"}, id="1000-1")
    assert [e["reason"] for e in history(store, "ann")[0]] == ["before"]
    recount(store)
    store.plant("settled")
    assert store.call("hold", "ann", "me", "since", "old")[0] == "ok"
    assert [e["reason"] for e in history(store, "ann")[0]] == ["since", "before"]


# ---- crashed proxies

def test_what_a_crashed_proxy_left_is_swept(store):
    generation = store.generation()
    for name in ("p1", "p2"):
        assert store.call("renew", name, 7, "1", "host", 1000, 2000)[0] == "ok"
    assert store.call("proxies_read")[1:] == [str(generation)] + [x for p in ("p1", "p2") for x in (p, "7", "2000")]
    store.plant("settled", "ann")
    store.plant("freezing", "bob")
    for user in ("ann", "bob"):
        store.put_session("p1/1", user=user)
        store.put_session("p2/1", user=user)
    assert store.call("sweep", "p1", "6", generation, "ann", "bob") == ["again", "7"]
    assert store.call("sweep", "p1", "7", generation - 1, "ann", "bob")[0] == "lost"
    assert store.call("sweep", "p1", "7", generation, "ann", "bob", "nobody") == ["ok", "1"], "one stands still"
    assert (list(store.sessions("ann")), sorted(store.sessions("bob"))) == (["p2/1"], ["p1/1", "p2/1"])
    assert not store.route("nobody")
    store.client.hset(store.key("route", "bob"), "state", "ready")
    assert store.call("sweep", "p1", "7", generation, "ann", "bob") == ["ok", "0"]
    assert store.call("proxy_forget", "p1", "6", generation)[0] == "again"
    for _ in range(2):
        assert store.call("proxy_forget", "p1", "7" if _ == 0 else "", generation) == ["ok"]
    assert store.client.hkeys(store.key("proxies")) == ["p2"]
    # It comes back: it learns that it was not known, and no session of it goes on.
    assert store.call("resume", "ann", "p1/1", "old", EPOCH, "old", generation)[0] == "lost"
    assert store.call("renew", "p1", 8, "1", "host", 1000, 2000) == ["ok", str(generation), "1", "0"]


def test_what_a_proxy_left_that_is_not_known_is_found_and_swept(store):
    """It ended while a leave was not answered. One that is known is no stranger, whether it lives or not; nor is one that is
    heard of in time."""
    generation = store.generation()
    assert store.call("renew", "alive", 7, "1", "host", 1000, 2000)[0] == "ok"
    for user in ("ann", "bob"):
        store.put_session("alive/1", user=user)
        store.put_session("ended/1", user=user)
        store.put_session("ended/2", user=user)
    store.put_session("again/1", user="bob")
    found = store.call("strangers", "ann", "bob", "nobody")
    assert found[:2] == ["ok", str(generation)] and sorted(found[2:]) == ["again", "ended"]
    assert store.call("strangers", "ann")[2:] == ["ended"] and store.call("strangers") == ["ok", str(generation)]
    assert store.call("renew", "again", 1, "1", "host", 1000, 2000)[0] == "ok"
    assert store.call("sweep", "again", "", generation, "ann", "bob") == ["again", "1"]
    assert store.call("sweep", "ended", "", generation - 1, "ann", "bob")[0] == "lost"
    for _ in range(2):
        assert store.call("sweep", "ended", "", generation, "ann", "bob") == ["ok", "0"]
    assert (list(store.sessions("ann")), sorted(store.sessions("bob"))) == (["alive/1"], ["again/1", "alive/1"])
    assert store.call("proxy_forget", "ended", "", generation) == ["ok"]
    assert store.call("strangers", "ann", "bob") == ["ok", str(generation)]


# ---- ids of processes

def test_an_id_is_one_processs(store):
    def tell(token, gone="", bye="", name="migrator/m"):
        return store.call("instance", name, token, f"host/{token}", 12000, gone, bye)
    assert tell("a") == tell("a") == ["ok"]
    status, token, place, left = tell("b")
    assert (status, token, place) == ("taken", "a", "host/a") and 0 < int(left) <= 12000
    assert tell("b", name="proxy/m") == tell("b", name="migrator/n") == ["ok"]
    assert tell("b", gone="x")[0] == "taken" and tell("b", gone="a") == ["ok"], "known to be dead"
    assert tell("a")[0] == "taken", "it lives all the same: it is told that it has lost it"
    assert tell("a", bye="1")[0] == "taken" and tell("b", bye="1") == ["ok"] and tell("a") == ["ok"]
    key = store.key("instances")
    store.client.hset(key, "migrator/m", f"a {store.now() - 12001} host/a")
    store.client.hset(key, "proxy/old", f"c {store.now() - 86400001} host/c")
    assert tell("d") == ["ok"], "silent for too long"
    assert store.client.hexists(key, "proxy/old")
    assert tell("e", name="proxy/new") == ["ok"] and not store.client.hexists(key, "proxy/old")
    store.client.hset(key, "migrator/m", f"d {store.now() + 10 ** 9} host/d")
    assert int(tell("f")[3]) <= 12000, "a clock that went back"


# ---- a store that was lost

def test_one_restore_at_a_time(store):
    row = ["ann", "new", "flipped", "6", "old", "new", "old", "old", "1769853600123", "", "", "1=:mab"]
    store.client.flushall()
    assert store.call("restore", 4, "t", "", *row) == ["ok", "1"]
    assert store.call("restore", 4, "u", "1", *row) == ["refused", "another"]
    store.client.set(store.key("restoring"), f"t {store.now() - 60001}")
    assert store.call("restore", 4, "u", "", *row) == ["ok", "1"], "the first one has ended, and was not finished"
    assert store.call("init", "id-two", LONG, 4, 1, "old", "t") == ["refused", "restoring"]
    assert store.call("init", "id-two", LONG, 4, 1, "old", "u") == ["ok"]


def test_a_restore_goes_on_over_half_of_the_same_alone(store):
    """For the same of the site's stores, by the same files. A token of a release that told neither is followed by any."""
    store.client.flushall()
    restoring = store.key("restoring")
    assert store.call("restore", 4, "t.1/2-aa", "") == ["ok", "0"]
    assert store.call("reserve", "call", "1", "1000", "") == ["refused", "restoring"], "init"
    store.client.set(restoring, "t.1/2-aa 1")
    for other in ("u.2/2-aa", "u.1/2-ab", "u.1/1-aa", "u"):
        for anyway in ("", "1"):
            assert store.call("restore", 4, other, anyway) == ["refused", "half"], other
        assert store.call("reserve", "call", "1", "1000", other.partition(".")[2] or "x") == ["refused", "half"]
    assert store.call("reserve", "call", "1", "1000", "1/2-aa") == ["ok"]
    assert store.call("restore", 4, "u.1/2-aa", "") == ["ok", "0"]
    store.client.set(restoring, "t 1")
    assert store.call("restore", 4, "v.2/2-ab", "") == ["ok", "0"]
    store.client.delete(restoring)
    store.client.hset(store.key("store:moved"), "id", "x")
    assert store.call("reserve", "call", "1", "1000", "1/2-aa") == ["refused", "moved"] == store.call("reserve", "call", "1", "1000", "")


def test_marks_are_carried_as_the_store_will_look_for_them(store):
    """Over what a lost store of the version before has left, init makes none of the small ones."""
    client, marks = store.client, ["0123456789abcdef", "fedcba9876543210"]
    client.flushall()
    client.hset(store.key("fingerprints"), mapping={"a" * 24: "zoe", "=zoe": "a" * 24})
    assert store.call("restore", 4, "t", "1") == ["ok", "0"]
    assert store.call("carry", 4, "t", "ann", "route", "", "0", "4", "backend", "old", "state", "resting", "ann", "marks", "", "0", "2", *marks) == ["ok"]
    assert store.call("init", "id-one", LONG, 4, 1, "old", "t") == ["ok"]
    store.hello()
    store.plant("copying", user="alias")
    assert store.call("fingerprint", "alias", TOKEN, EPOCH, *marks) == ["refused", "ann"]


def test_a_store_that_was_moved_is_none_until_it_is_opened_again(store):
    store.plant("settled")
    client, record = store.client, store.client.hgetall(store.key("store"))
    client.hset(store.key("instances"), "proxy/p", f"t {store.now()} here")
    assert store.call("move", "") == ["refused", "proxy/p is at work"]
    client.hset(store.key("instances"), "proxy/p", f"t {store.now() - 12001} here")
    store.plant("freezing", user="bob")
    client.sadd(store.key("groups"), "freezing:")
    client.zadd(store.key("in:freezing:"), {"bob": 1})
    assert store.call("move", "1") == ["refused", "1 accounts are being switched over"]
    client.delete(store.key("in:freezing:"))
    assert store.call("move", "") == ["ok"] and store.call("move", "") == ["ok"]
    assert store.call("read", "ann") == ["nostore"] and store.call("hello", LONG)[:2] == ["nostore", "moved"]
    assert store.call("init", "id-two", LONG) == ["refused", "moved"]
    assert store.call("restore", 4, "t", "") == ["refused", "moved"]
    assert client.hget(store.key("store:moved"), "id") == record["id"]
    assert store.call("reopen", 1000) == ["ok"] and store.call("reopen", 1000) == ["ok"]
    assert store.call("read", "ann")[0] == "ok" and not client.exists(store.key("store:moved"))
    assert int(client.hget(store.key("store"), "generation")) > int(record["generation"])
    assert int(client.hget(store.key("store"), "quarantine_until")) > store.now()
    client.flushall()
    assert store.call("reopen", 1000) == ["refused", "not moved"]


def test_hello_says_that_a_restore_is_under_way(store):
    store.client.flushall()
    store.id = ""
    assert store.call("hello", LONG) == ["nostore"]
    assert store.call("restore", 4, "t", "") == ["ok", "0"]
    assert store.call("hello", LONG) == ["nostore", "coming"]
    store.client.set(store.key("restoring"), f"t {store.now() - 60001}")
    assert store.call("hello", LONG) == ["nostore"]


def test_what_is_carried_is_there_once_and_is_nobodys(store):
    """Also said again: a piece at the first place takes the place of what is there."""
    client = store.client
    client.flushall()
    assert store.call("carry", 4, "t", "ann", "route", "", "0", "2", "state", "held") == ["refused", "restoring"]
    assert store.call("restore", 4, "t", "") == ["ok", "0"]
    at = str(store.now() + 50000)
    route = ["backend", "old", "state", "copying", "epoch", "3", "owner", "x", "job", "1-1", "generation", "9", "counted", "7 copying old",
             "parked", "", "target", "new", "listed", "copying: 5"]
    pieces = ["ann", "route", "", "0", str(len(route)), *route, "ann", "ledger", "ab", "0", "2", "one", "two", "ann", "ledger", "ab", "2", "1", "three",
              "ann", "audit", "0", "0", "4", "5-1", "2", "who", "me", "ann", "late", "", "0", "2", at, "1", "ann", "marks", "", "0", "1", "0123456789abcdef", "ann", "packed", at, "0", "1", "1-1 me x % % %",
              "ann", "secret", at, "0", "1", "sealed", "bob", "route", "", "0", "8", "backend", "old", "state", "backoff", "epoch", "1", "next_try", at,
              "", "waves", "", "0", "4", "w:paused", "1", "w:today", "5", "", "group", "g", "0", "4", "members", "ann bob", "rev", "2"]
    for _ in range(2):
        assert store.call("carry", 4, "t", *pieces) == ["ok"]
        r = client.hgetall(store.key("route", "ann"))
        assert (r["state"], r["epoch"], r["owner"], r["generation"]) == ("queued", "3", "", "4"), r
        assert [x[1] for x in client.xrange(store.key("jobs"))] == [{"user": "ann"}]
        assert client.lrange(store.key("ledger", "ann:ab"), 0, -1) == ["one", "two", "three"]
        assert client.xrange(store.key("audit", "ann")) == [("5-1", {"who": "me"})]
        assert client.zscore(store.key("late:daily"), "ann") is not None and 0 < client.pttl(store.key("secret", "ann")) <= 50000
        assert any(client.hexists(k, "=ann") for k in client.keys(store.key("fingerprints:*"))), client.keys("*")
        assert client.get(store.key("packed", "ann")) and client.pttl(store.key("packed", "ann")) > 0
        assert [client.hget(store.key("route", u), "group") for u in ("ann", "bob")] == ["g", "g"] and client.smembers(store.key("sharing")) == {"g"}
        assert client.zscore(store.key("later"), "bob") == int(at) and client.hgetall(store.key("waves")) == {"w:paused": "1"}
        counts = client.hgetall(store.key("counts"))
        assert (counts["state:queued"], counts["state:backoff"], counts["backend:old"]) == ("1", "1", "2"), counts
    assert store.call("init", "id-two", LONG, 4, 1, "old", "t") == ["ok"]
    assert store.call("carry", 4, "t", *pieces) == ["refused", "there"]


def sharing(name, *users):
    return ["", "sharing", name, "0", str(3 + 2 * len(users)), "root", "1700000000000", "they share", *[x for u in users for x in (u, "old")]]


def test_groups_of_an_export_come_whole_and_once(store):
    """Those of an attempt before go; what is left of another store is newer, and stays as it is. Without the store's record none is half there."""
    client = store.client
    client.flushall()
    assert store.call("restore", 4, "t", "", "ann", "new", "settled", "6", "old", "new", "old", "old", "5", "", "", "") == ["ok", "1"]
    assert store.call("carry", 4, "t", "", "regroup", "", "0", "0", *sharing("office", "ann", "joe"), *sharing("gone", "eve", "max")) == ["ok", "2"]
    assert client.hgetall(store.key("route", "joe")).items() >= {"group": "office", "backend": "old", "state": "resting"}.items()
    for _ in range(2):
        assert store.call("carry", 4, "t", "", "regroup", "", "0", "0", *sharing("office", "ann", "bob"), *sharing("two", "ann", "zoe")) == ["ok", "1", "two"]
        assert client.smembers(store.key("sharing")) == {"office"} == client.smembers(store.key("restoring:groups"))
        assert [client.hget(store.key("route", u), "group") for u in ("ann", "bob", "joe", "eve", "max", "zoe")] == ["office", "office", None, None, None, None]
    assert client.hgetall(store.key("sharing", "office")) == {"members": "ann bob", "who": "root", "at": "1700000000000", "why": "they share", "rev": "1"}
    assert client.hget(store.key("control"), "shut") == "1"
    assert store.call("init", "id-two", LONG, 4, 1, "old", "t") == ["ok"] and not client.exists(store.key("restoring:groups"))
    assert store.route("ann")["state"] == "settled" and store.route("ann")["group"] == "office"
    client.delete(store.key("store"))
    assert store.call("restore", 5, "u", "1") == ["ok", "0"]
    assert store.call("carry", 5, "u", "", "regroup", "", "0", "0", *sharing("office", "eve", "max"), *sharing("one", "max")) == ["ok", "0", "office", "one"]
    assert store.call("carry", 5, "u", "", "regroup", "", "0", "0", *sharing("office", "ann", "bob"), *sharing("two", "bob", "zoe")) == ["ok", "1", "two"]
    assert client.hget(store.key("sharing", "office"), "members") == "ann bob" and client.hget(store.key("route", "max"), "group") is None


def test_two_urls_that_lead_to_one_redis_are_known(store):
    assert store.call("reserve", "call", "1", "1000") == ["ok"]
    assert store.call("reserve", "call", "2", "1000") == ["taken", "1"]
    assert store.call("reserve", "call", "1", "1000") == ["ok"], "said again"
    assert store.call("reserve", "another", "2", "1000") == ["ok"], "of another call"
    assert 0 < store.client.pttl(store.key("reserved")) <= 1000


def test_restore_over_what_a_wrong_store_has_left(store):
    """Claims of an account that was never switched over there are no proof that it is where that store says."""
    row = ["ann", "new", "flipped", "6", "old", "new", "old", "old", "1769853600123", "", "", "1=:mab"]
    store.plant("ready", epoch=20)
    store.client.hset(store.key("counts"), "whole", "1")
    store.client.delete(store.key("store"))
    assert store.call("restore", 4, "t", "", *row) == ["refused", "leftover"]
    assert store.call("restore", 4, "t", "1", *row) == ["ok", "1"]
    route = store.route()
    assert route["backend"] == "new" and route["state"] == "flipped" and route["epoch"] == "20" and route["view"] == "1=:mab"
    store.client.hset(store.key("route", "ann"), "view", "1:ab")
    assert store.call("restore", 4, "t", "1", *row) == ["ok", "1"]
    assert store.route()["view"] == "1:ab", "its records are there"


def test_restore_is_for_a_store_that_is_gone_and_may_be_repeated(store):
    row = ["ann", "new", "flipped", "6", "old", "new", "old", "old", "1769853600123", "", "", "1=:mab"]
    assert store.call("restore", 4, "t", "", *row) == ["refused", "there"]
    store.client.flushall()
    store.client.hset(store.key("route", "bob"), mapping={
        "backend": "new", "state": "settled", "epoch": "9", "flipped_at": "1769853600124"})
    rows = row + ["bob", "old", "held", "8", "new", "old", "old", "new", "1769853600123", "resting", "held: x", "1=:"]
    assert store.call("restore", 4, "t", "", *rows) == ["ok", "1"], "what was switched over later stays"
    before = store.route()
    assert store.call("restore", 4, "t", "", *rows) == ["ok", "1"] and store.route() == before
    assert {k: before[k] for k in ("backend", "state", "epoch", "generation", "left", "forced")} == {
        "backend": "new", "state": "flipped", "epoch": "6", "generation": "4", "left": "old", "forced": "bare"}
    assert store.client.zscore(store.key("late"), "ann") > store.now()
    assert store.call("read", "ann") == ["nostore"], "no login finds half of it"
    assert store.call("init", "id-two", LONG) == ["refused", "restoring"], "it would be served with half of them"
    assert store.call("init", "id-two", LONG, 4, 1, "old", "t") == ["ok"]
    assert not store.client.exists(store.key("restoring"))
    store.id = "id-two"
    assert store.generation() == 4 and store.hello(LONG)[3] != "0", "a quarantine"
    assert store.call("counts_read")[1:] == ["1", "state:flipped", "1", "backend:new", "1"]
    assert store.call("export", "ann", "bob", "eve") == [
        "ok", "4", "ann", "new", "flipped", "6", "4", "old", "new", "old", "old", "1769853600123", "", "", "1=:mab",
        "bob", "new", "settled", "9", "4", "", "", "", "", "1769853600124", "", "", ""]


# ---- what backends can do

def test_capabilities_are_written_where_nobody_was_quicker(store):
    assert store.call("caps", "new", "", "", "", "A B", "A B C", "5", "user") == ["ok"]
    assert store.client.hgetall(store.key("backends")) == {"new": "A B", "new/common": "A B C", "new/since": "5", "new/by": "user"}
    for was in (("", "", ""), ("A", "A B C", "5"), ("A B", "A B", "5"), ("A B", "A B C", "6")):
        assert store.call("caps", "new", *was, "X", "X", "7", "user") == ["changed"], was
    assert store.call("caps", "new", "A B", "A B C", "5", "A", "A", "6", "master") == ["ok"]
    assert store.client.hmget(store.key("backends"), "new", "new/by", "old") == ["A", "master", None]


# ---- failed logins ----

HERE, THERE = "04c0000201000000" + "00", "04c0000202000000" + "00"
MEMORY, FIRST, LONGEST, FREE, AHEAD = 600000, 1000, 15000, 10, 30000


def penalty(store, what, user="ann", network=HERE, many=0, ahead=AHEAD):
    """The status, and ms to wait, failures of the account from there, of the network."""
    status, *numbers = store.call("penalty", what, user, network, many, MEMORY, FIRST, LONGEST, FREE, ahead)
    return [status, *map(int, numbers)]


def told_to_wait(store, seconds, **how):
    status, ms, *_ = penalty(store, "turn", **how)
    assert status == "ok" and seconds * 1000 - 500 < ms <= seconds * 1000, (ms, seconds)


def test_nobody_waits_without_a_failure(store):
    before = store.client.keys("*")
    assert penalty(store, "turn") == ["ok", 0, 0, 0]
    assert store.client.keys("*") == before


def test_penalty_grows_to_its_bound(store):
    for n, seconds in enumerate((1, 2, 4, 8, 15, 15), 1):
        for i in range(1, n + 1):
            assert penalty(store, "failed") == ["ok", 0, i, i]
        told_to_wait(store, seconds)
        store.client.delete(store.key("penalty"))


def field_of(store, kind):
    return next(x for x in store.client.hkeys(store.key("penalty")) if x.startswith(kind))


def test_tries_take_turns(store):
    penalty(store, "failed")
    for seconds in (1, 2, 3, 4):
        told_to_wait(store, seconds)
    assert penalty(store, "turn", ahead=2000)[0] == "late"
    told_to_wait(store, 5)  # who was late has taken nobody's turn


def test_networks_without_failures_never_wait_and_others_do_by_the_sum(store):
    for n in range(40):
        penalty(store, "failed", network=f"04{n:016x}")
    assert penalty(store, "turn", network=THERE) == ["ok", 0, 0, 0]
    assert penalty(store, "turn", network=HERE) == ["ok", 0, 0, 0]
    told_to_wait(store, 1, network=f"04{0:016x}")  # by what was known when it failed
    penalty(store, "failed", network=HERE)
    told_to_wait(store, 15, network=HERE)
    assert penalty(store, "turn", user="bob", network=HERE) == ["ok", 0, 0, 1]


def test_a_network_waits_at_all_accounts_from_the_eleventh_failure_on(store):
    for n in range(FREE):
        penalty(store, "failed", user=f"u{n}")
    assert penalty(store, "turn", user="bob")[1] == 0
    penalty(store, "failed", user="u")
    told_to_wait(store, 1, user="bob")
    assert penalty(store, "turn", user="bob", network=THERE)[1] == 0
    penalty(store, "passed", user="bob")
    assert penalty(store, "turn", user="bob") == ["ok", 0, 0, 11]  # who has signed in from there
    told_to_wait(store, 2, user="eve")
    assert penalty(store, "failed", user="bob")[2:] == [1, 12]
    assert penalty(store, "turn", user="bob")[1] > 0


@pytest.mark.parametrize("state", [None, "resting"])
def test_a_look_for_the_route_tells_of_failures(store, state):
    if state:
        store.plant(state, source="s", target="t", view="1:ab")
    plain = store.call("where", "ann")

    def told(user="ann", network=HERE):
        answer = store.call("where", "ann", user, network)
        assert answer[:len(plain)] == plain
        return answer[len(plain):]
    assert not told()
    penalty(store, "failed")
    penalty(store, "failed")
    assert told() == ["2 2 0"] and told("admin") == ["0 2 0"] and not told(network=THERE) and not told(network="")
    penalty(store, "passed")
    assert told() == ["0 2 1"]
    for field, was in store.client.hgetall(store.key("penalty")).items():
        n, since, _, good = was.split()
        store.client.hset(store.key("penalty"), field, f"{n} {since} 1 {good}")
    assert told() == ["0 0 0"]  # all is forgotten, and not swept yet
    store.client.set(store.key("penalty"), "not ours")
    assert not told()


def test_many_people_at_one_address_are_told_apart(store):
    for n in range(50):
        assert penalty(store, "failed", user=f"u{n}", many=1)[3] == 0
    assert penalty(store, "turn", user="bob", many=1) == ["ok", 0, 0, 0]
    told_to_wait(store, 1, user="u3", many=1)


def test_right_password_forgets_failures_from_there_alone(store):
    for network in (HERE, THERE):
        for _ in range(3):
            penalty(store, "failed", network=network)
    assert penalty(store, "passed")[2] == 0
    assert penalty(store, "turn")[1] == 0
    told_to_wait(store, 15, network=THERE)


def test_penalty_is_forgotten_and_clocks_that_jump_make_nobody_wait(store):
    penalty(store, "failed")
    assert 0 < store.client.pttl(store.key("penalty")) <= 6 * MEMORY
    name, now = field_of(store, "p"), store.now()
    for value in (f"9 {now} {now - 1} 0", f"9 {now} {now + 7 * MEMORY} 0", "nonsense", "", f"9 {now - 9} 1 x"):
        store.client.hset(store.key("penalty"), name, value)
        assert penalty(store, "turn")[:2] == ["ok", 0], value
    store.client.hset(store.key("penalty"), name, f"9 {now + 3600000} {now + MEMORY} 0")
    assert penalty(store, "turn")[:2] == ["ok", 0]  # Redis' clock was ahead when that was written


def test_penalties_are_bounded(store):
    """Names that somebody typed, and networks: those that would be forgotten first make room."""
    store.client.eval("""for i = 1, 100000 do
        redis.call('HSET', KEYS[1], 'n' .. i, '1 0 ' .. ARGV[1] .. ' 0') redis.call('ZADD', KEYS[1] .. ':ends', ARGV[1] + i, 'n' .. i)
    end""", 1, store.key("penalty"), store.now() + MEMORY // 2)
    for n in range(5):
        penalty(store, "failed", user="u" * 512 + str(n), network=f"06{n:016x}")
    keys = store.key("penalty"), store.key("penalty:ends")
    assert store.client.hlen(keys[0]) == store.client.zcard(keys[1]) == 100000
    assert not store.client.hexists(keys[0], "n1") and store.client.hexists(keys[0], "n100000")
    assert max(len(x) for x in store.client.hkeys(keys[0])) <= 35
    store.client.zadd(keys[1], {f"n{n}": 1 for n in range(50, 75)})
    for n in range(3):
        penalty(store, "failed", user="ann", network=f"06{n:016x}")
    assert store.client.hlen(keys[0]) <= 99985 and store.client.hlen(keys[0]) == store.client.zcard(keys[1])


# ---- how many sessions an account may have ----


def proxy_of(store, incarnation, ago=0):
    store.client.hset(store.key("proxies"), incarnation, f"1 0.1 192.0.2.1 1 {store.now() - ago} 10000 600000")


def test_account_is_full(store):
    proxy_of(store, "p1")
    enter = lambda session, most: store.call(  # noqa: E731
        "enter", "ann", session, "old", "resting", 0, store.generation(), "192.0.2.1", 0, "old", "new", "old", 0, "", most)[0]
    assert [enter(f"p1/{n}", 2) for n in range(3)] == ["ok", "ok", "full"]
    assert len(store.sessions()) == 2
    assert enter("p1/1", 2) == "ok"  # it is there
    assert enter("p1/2", 0) == "ok" and enter("p1/3", 3) == "full" and enter("p1/3", 4) == "ok"
    store.call("leave", "ann", "p1/1")
    assert enter("p1/4", 4) == "ok" and enter("p1/5", 4) == "full"
    proxy_of(store, "p1", ago=30001)
    assert enter("p2/1", 1) == "ok"  # of those of p1, which is silent, nobody knows better
    proxy_of(store, "p2")
    assert enter("p2/2", 1) == "full"


def test_changed_route_is_told_before_the_number(store):
    proxy_of(store, "p1")
    store.plant("freezing")
    store.put_session("p1/1")
    args = "old", 0, store.generation(), "192.0.2.1", 0, "old", "new", "old", 0, "", 1
    assert store.call("enter", "ann", "p1/2", "old", "freezing", EPOCH, *args[2:])[0] == "wait"
    assert store.call("enter", "ann", "p1/2", "old", "resting", *args[1:])[0] == "wait"
