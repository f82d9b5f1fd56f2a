"""Groups of accounts that share mailboxes: the scripts by which they are made, and move as one (lib/route/README.md)."""
import pytest

from test_scripts import EPOCH, LONG, TOKEN, made_store, server  # noqa: F401: fixtures

BOTH = ("ann", "bob")


def owner(user):
    return f"{TOKEN}-{user}"


def edit(store, what, *users, name="office", most=20):
    return store.call("sharing_edit", what, name, "root", "they share", most, *[x for u in users for x in (u, "old")])


def planted(store, state, *users, **fields):
    for user in users or BOTH:
        store.plant(state, user, owner=owner(user), **fields)


@pytest.fixture(name="group")
def made_group(store):
    """ann and bob, in one group, copied, each with its owner."""
    planted(store, "resting")
    assert edit(store, "make", *BOTH) == ["ok", "2"]
    planted(store, "ready", gather="go")
    return store


def call(store, name, user, *more, epoch=None):
    return store.call(name, user, owner(user), epoch or store.route(user)["epoch"], *more)


def states(store, *users):
    return [store.route(u).get("state") for u in users or BOTH]


def prepared(store):
    for user in BOTH:
        call(store, "prepare", user, 60000)
    assert states(store) == ["preparing", "preparing"]


def frozen(store):
    prepared(store)
    for user in BOTH:
        store.put_session("p1/" + user, epoch=EPOCH + 1, mode="frozen", user=user)
    for user in BOTH:
        call(store, "freeze", user, 60000)
    assert states(store) == ["freezing", "freezing"]


def read(store, name="office", user=""):
    rows = store.call("sharing_read", name, user)[1:]
    return rows[:5], [rows[i:i + 7] for i in range(5, len(rows), 7)]


# ---- making and changing ----

def test_a_group_is_made_read_changed_and_dropped(store):
    assert store.call("sharing_list") == ["ok"] == store.call("sharing_read", "office", "")
    assert edit(store, "make", "ann", "bob") == ["ok", "2"]
    assert store.call("sharing_list") == ["ok", "office"]
    (name, rev, who, at, why), members = read(store)
    assert (name, rev, who, why) == ("office", "1", "root", "they share") and int(at) > 0
    assert [m[:3] for m in members] == [["ann", "resting", "old"], ["bob", "resting", "old"]]
    assert read(store, "", "bob")[0] == read(store)[0] and read(store, "", "eve") == ([], [])
    assert edit(store, "make", "ann", "bob") == ["ok", "2"] and read(store)[0][1] == "1", "a repeat changes nothing"
    assert edit(store, "add", "eve", "bob") == ["ok", "3"] and store.route("eve")["group"] == "office"
    assert edit(store, "remove", "bob") == ["ok", "2"] and "group" not in store.route("bob")
    assert [m[0] for m in read(store)[1]] == ["ann", "eve"]
    assert edit(store, "drop") == ["ok", "0"] and "group" not in store.route("ann")
    assert store.call("sharing_list") == ["ok"] and not store.client.exists(store.key("sharing", "office"))
    assert [(e["what"], e["user"]) for e in store.audit()] == [
        ("group make", "ann"), ("group make", "bob"), ("group add", "eve"), ("group remove", "bob"),
        ("group drop", "ann"), ("group drop", "eve")]


def test_a_group_is_refused(store):
    assert edit(store, "make", "ann")[0] == "refused" and edit(store, "add", "ann") == ["refused", "is not known"]
    assert edit(store, "make", "ann", "bob", "eve", most=2) == ["refused", "would have 3 members, more than group_max = 2"]
    assert edit(store, "make", "ann", "bob") == ["ok", "2"]
    assert edit(store, "make", "eve", "joe") == ["refused", "is there already"]
    assert edit(store, "make", "eve", "bob", name="other") == ["refused", "can't have bob, which is in the group office"]
    assert edit(store, "remove", "eve") == ["refused", "has no member eve"]
    assert edit(store, "remove", "bob") == ["refused", "would have fewer than two members"]
    assert store.route("eve") == {}
    store.plant("queued", "eve", force="1")
    assert edit(store, "add", "eve") == ["refused", "can't have eve, which is to be switched over without a copy"]


def test_a_group_of_a_whole_site_is_refused_as_such(store):
    """A survey may find one that holds thousands together: Lua unpacks no list as long."""
    assert edit(store, "make", *[f"u{i}" for i in range(5000)]) == ["refused", "would have 5000 members, more than group_max = 20"]
    assert edit(store, "make", "ann", "ann", "ann")[1] == "would have fewer than two members"


def test_a_group_above_the_most_may_only_shrink(store):
    assert edit(store, "make", "ann", "bob", "eve", "joe") == ["ok", "4"]
    assert edit(store, "add", "zoe", most=2)[1] == "would have 5 members, more than group_max = 2"
    assert edit(store, "remove", "joe", most=2) == ["ok", "3"]


def test_no_group_while_a_migrator_of_the_release_before_runs(store):
    assert store.call("migrator", "m1", 30000, "0.1.0", "") == ["ok"]
    store.client.hset(store.key("migrators"), "m2", f"30000 {store.now() - 1000} 0.0.9 %")
    no = ["refused", "can't be: the migrator m2 is of a release that knows no groups"]
    assert edit(store, "make", "ann", "bob") == no
    assert store.call("migrator", "m2", 30000, "0.1.0", "") == ["ok"] and edit(store, "make", "ann", "bob") == ["ok", "2"]
    store.client.hset(store.key("migrators"), "m2", f"30000 {store.now() - 1000} 0.0.9 %")
    assert edit(store, "add", "eve") == no and edit(store, "remove", "bob", "eve")[0] == "refused"
    store.client.hset(store.key("migrators"), "m2", f"30000 {store.now() - 90001} 0.0.9 %")
    assert edit(store, "add", "eve") == ["ok", "3"], "it is gone"


def brake_of_the_release_before(store):
    """What its scripts ask before each claim, and before each gate: another function of another library, which nobody can change any more."""
    return store.client.hget(store.key("control"), "paused") == "1"


def test_a_migrator_of_the_release_before_that_comes_later_finds_the_brake_on(store):
    store.plant("queued", "eve")
    assert edit(store, "make", *BOTH) == ["ok", "2"] and brake_of_the_release_before(store)
    assert store.call("control_read") == ["ok", "0", "", "", "0"], "for all others it is not"
    assert store.call("claim", "eve", TOKEN, "m1", "0")[0] == "ok"
    assert store.call("pause", 1, "root", "lunch", "") == ["ok"] and store.call("control_read")[:4] == ["ok", "1", "root", "lunch"]
    store.plant("queued", "max")
    assert store.call("claim", "max", TOKEN, "m1", "0") == ["paused"], "for these it is where staff say so"
    assert edit(store, "make", "joe", "zoe", name="other") == ["ok", "2"] and edit(store, "drop") == ["ok", "0"]
    assert store.call("control_read")[:4] == ["ok", "1", "root", "lunch"]
    assert store.call("pause", 0, "root", "", "") == ["ok"] and store.call("control_read")[1] == "0" and brake_of_the_release_before(store)
    store.client.hset(store.key("control"), mapping={"paused": "0", "paused_by": "a resume of the release before"})
    assert store.call("migrator", "m1", 30000, "0.1.0", "") == ["ok"] and brake_of_the_release_before(store)
    assert edit(store, "drop", name="other") == ["ok", "0"] and not brake_of_the_release_before(store)
    assert set(store.client.hkeys(store.key("control"))) == {"paused", "paused_by", "paused_reason", "paused_at"}


def test_a_brake_from_before_the_first_group_and_behind_the_last_holds(store):
    store.plant("queued", "eve")
    assert store.call("pause", 1, "root", "lunch", "") == ["ok"]
    for what, *users in (("make", *BOTH), ("drop",)):
        assert edit(store, what, *users)[0] == "ok"
        assert store.call("control_read")[:4] == ["ok", "1", "root", "lunch"] and store.call("claim", "eve", TOKEN, "m1", "0") == ["paused"]
    store.client.sadd(store.key("sharing"), "office")
    assert store.call("migrator", "m1", 30000, "0.1.0", "") == ["ok"], "a group that was made before there was such a brake"
    assert brake_of_the_release_before(store) and store.call("pause", 0, "root", "", "") == ["ok"] and brake_of_the_release_before(store)


@pytest.mark.parametrize("state", ["preparing", "freezing", "flipping"])
def test_no_group_is_changed_in_a_switch_over(group, state):
    group.plant(state, "bob")
    for what, users in (("add", ["eve"]), ("remove", ["bob"]), ("drop", [])):
        assert edit(group, what, *users) == ["refused", f"can't be changed now: bob is {state}"]
    assert edit(group, "make", "joe", "bob", name="other")[0] == "refused"
    planted(group, "ready")
    group.plant(state, "joe")
    assert edit(group, "add", "joe") == ["refused", f"can't be changed now: joe is {state}"]


def test_members_under_way_begin_anew(group):
    """What they found of sharing was judged by the members of before."""
    group.plant("blocked", "eve", reason="shared: 2 mailboxes", attempts=3)
    group.plant("blocked", "joe", reason="quota: none")
    assert edit(group, "add", "eve", "joe") == ["ok", "4"]
    assert states(group, "ann", "bob", "eve", "joe") == ["queued", "queued", "queued", "blocked"]
    assert group.route("ann")["owner"] == "" and group.route("eve")["attempts"] == "0"
    assert call(group, "ready", "ann", epoch=EPOCH)[0] == "lost"


# ---- gathering ----

def test_copied_members_wait_without_an_owner_until_all_are(group):
    planted(group, "copying", "bob", gather="")
    assert call(group, "gather", "ann", 0) == ["ok"] == call(group, "gather", "ann", 0)
    ann = group.route("ann")
    assert (ann["state"], ann["owner"], ann["gather"]) == ("ready", "", "in")
    assert ann["reason"] == "group: waits for bob" and group.jobs() == []
    assert call(group, "ready", "bob")[0] == "ok"
    assert call(group, "gather", "bob", 0) == ["again", "go"]
    ann, bob = group.route("ann"), group.route("bob")
    assert (ann["state"], ann["gather"]) == ("queued", "go") and group.jobs() == ["ann"]
    assert (bob["state"], bob["gather"], bob["owner"]) == ("ready", "go", owner("bob"))
    assert call(group, "gather", "bob", 0) == ["again", "go"] and group.jobs() == ["ann"]


def test_who_moves_one_moves_all(group):
    planted(group, "resting", "bob")
    group.client.hdel(group.key("route", "bob"), "source", "target")
    assert call(group, "gather", "ann", 0) == ["ok"]
    bob = group.route("bob")
    assert (bob["state"], bob["source"], bob["target"]) == ("queued", "old", "new") and group.jobs(bulk=True) == ["bob"]
    assert group.audit()[-1]["reason"] == "moves with ann (group office)"


def test_who_is_released_goes_with_those_who_wait(group):
    """They have no owner who would see that it may go now."""
    group.plant("held", "bob", held_from="resting", gather="")
    group.client.hdel(group.key("route", "bob"), "source", "target", "owner")
    assert call(group, "gather", "ann", 0) == ["ok"]
    assert group.call("release", "bob", "root", "why") == ["ok", "queued"] == group.call("release", "bob", "root", "why")
    bob = group.route("bob")
    assert (bob["source"], bob["target"], bob["held_from"]) == ("old", "new", "") and group.jobs(bulk=True) == ["bob"]
    group.plant("held", "bob", held_from="resting", gather="", backend="new")
    assert group.call("release", "bob", "root", "again") == ["ok", "resting"], "it is there"


def test_who_is_released_is_queued_once_however_many_wait(store):
    """It had an entry among the jobs for each of them, and stood on the list of these as often."""
    planted(store, "resting", "ann", "bob", "eve")
    assert edit(store, "make", "ann", "bob", "eve") == ["ok", "3"]
    planted(store, "ready", "ann", "bob")
    store.plant("held", "eve", held_from="resting", owner="")
    for user in BOTH:
        assert call(store, "gather", user, 0) == ["ok"]
    assert store.call("release", "eve", "root", "why") == ["ok", "queued"]
    assert store.jobs(bulk=True) == ["eve"]


def test_what_staff_said_to_one_holds_for_who_is_copied_last(group):
    """Else it would wait for staff, and the others for it (cutover = manual)."""
    group.client.hset(group.key("route", "ann"), "now", "1")
    planted(group, "copying", "bob", gather="")
    assert call(group, "gather", "ann", 0) == ["ok"]
    assert call(group, "ready", "bob")[0] == "ok"
    assert call(group, "wait", "bob", "", 0) == ["again", "now"] and group.route("bob")["now"] == "1"
    group.client.hset(group.key("route", "ann"), "now", "")
    group.client.hset(group.key("route", "bob"), "now", "")
    assert call(group, "wait", "bob", "", 0) == ["ok"], "nobody said so"


def test_a_group_has_its_turn_together(group):
    """One a minute, and the first would not wait for the tenth."""
    assert [group.call("turn", u, 1)[0] for u in ("ann", "bob", "eve")] == ["ok", "ok", "late"]
    group.client.delete(group.key("flips"))
    assert [group.call("turn", u, 3)[0] for u in ("ann", "bob", "eve", "joe")] == ["ok", "ok", "ok", "late"], "each counts"
    group.client.delete(group.key("flips"))
    group.plant("settled", "bob")
    assert [group.call("turn", u, 2)[0] for u in ("ann", "eve", "joe")] == ["ok", "ok", "late"]


@pytest.mark.parametrize("state", ["held", "blocked", "backoff"])
def test_who_does_not_get_on_is_waited_for_by_name(group, state):
    group.plant(state, "bob")
    assert call(group, "prepare", "ann", 60000) == ["again", "bob"]
    assert call(group, "gather", "ann", 0) == ["ok"]
    assert group.route("ann")["reason"] == f"group: waits for bob"


def test_who_is_there_is_not_waited_for(group):
    group.plant("settled", "bob")
    assert call(group, "gather", "ann", 0) == ["again", "go"]
    assert call(group, "prepare", "ann", 60000)[1].startswith("6 ")
    assert call(group, "freeze", "ann", 60000)[0] == "ok" and call(group, "rested", "ann") == ["ok"]
    assert call(group, "flip", "ann", "1:ab") == ["ok"] and states(group) == ["flipping", "settled"]


def test_on_its_way_elsewhere_is_waited_for(group):
    planted(group, "ready", "bob", target="third")
    assert call(group, "gather", "ann", 0) == ["ok"] and "bob" in group.route("ann")["reason"]


def test_a_group_in_use_waits_where_it_may_not_be(group):
    group.client.set(group.key("busy", "bob"), 1, px=60000)
    assert call(group, "gather", "ann", 1) == ["ok"]
    assert group.route("ann")["reason"].startswith("idle: ") and group.client.zscore(group.key("later"), "ann")
    planted(group, "ready")
    group.client.hset(group.key("route", "ann"), "now", "1")
    assert call(group, "gather", "ann", 1) == ["again", "go"], "staff said so"


def test_a_group_with_many_has_the_first_few_named(store):
    users = [f"u{i}" for i in range(9)]
    assert edit(store, "make", *users) == ["ok", "9"]
    store.plant("ready", "u0", owner=owner("u0"))
    assert call(store, "gather", "u0", 0) == ["ok"]
    assert store.route("u0")["reason"].endswith("u5 and 3 more")


# ---- the gates ----

def test_prepare_begins_for_all(group):
    assert call(group, "prepare", "ann", 1000) == ["wait", "bob"] and states(group) == ["ready", "ready"]
    assert group.route("ann")["reason"] == "group: waits for bob" and group.events() == []
    epoch, left = call(group, "prepare", "bob", 60000)[1].split()
    assert epoch == "6" and 50000 < int(left) <= 60000 and states(group) == ["preparing", "preparing"]
    ann, bob = group.route("ann"), group.route("bob")
    assert ann["epoch"] == "6" and ann["deadline"] == bob["deadline"] and ann["reason"] == ""
    assert int(ann["deadline"]) > group.now() + 50000, "the longest"
    epoch, left = call(group, "prepare", "ann", 1000, epoch=EPOCH)[1].split()
    assert epoch == "6" and 50000 < int(left) <= 60000, "who asks again finds it done, and has as long as the others"
    assert sorted((e["user"], e["state"]) for e in group.events()) == [("ann", "preparing"), ("bob", "preparing")]


def test_prepare_tells_one_that_was_thawed_before_it_heard_of_it(group):
    call(group, "prepare", "ann", 1000)
    call(group, "prepare", "bob", 60000)
    call(group, "abort", "bob", "sessions: why")
    assert call(group, "prepare", "ann", 1000, epoch=EPOCH) == ["ok", "6 0"]


@pytest.mark.parametrize("of", ["touching", "state", "owner", "epoch", "given"])
def test_prepare_waits_for_a_gate_that_holds(group, of):
    call(group, "prepare", "ann", 1000)
    group.client.hset(group.key("route", "ann"), of, {"touching": 1, "state": "copying", "owner": "", "epoch": 9, "given": owner("ann")}[of])
    answer = "again" if of == "owner" else "wait"
    assert call(group, "prepare", "bob", 1000)[0] == answer and group.route("bob")["state"] == "ready"


LEAVES = {
    "pause": lambda s: (s.call("pause", 1, "root", "why"), call(s, "prepare", "ann", 1000), s.call("pause", 0, "root", "why")),
    "quarantine": lambda s: (s.client.hset(s.key("store"), "quarantine_until", s.now() + LONG), call(s, "prepare", "ann", 1000),
                             s.client.hset(s.key("store"), "quarantine_until", 0)),
    "doubt": lambda s: (s.client.hset(s.key("route", "ann"), "touching", 1), call(s, "prepare", "ann", 1000),
                        s.client.hset(s.key("route", "ann"), "touching", 0)),
    "again": lambda s: (s.client.hset(s.key("route", "bob"), "state", "held"), call(s, "prepare", "ann", 1000),
                        s.client.hset(s.key("route", "bob"), "state", "ready")),
    "gather": lambda s: call(s, "gather", "ann", 0),
    "abort": lambda s: call(s, "abort", "ann", "paused: the migrator was stopped"),
}


@pytest.mark.parametrize("how", sorted(LEAVES))
def test_who_has_left_the_gate_is_not_taken_through_it(group, how):
    """Its owner does something else by the epoch that it knows, and would have lost its job by the next one."""
    assert call(group, "prepare", "ann", 1000)[0] == "wait"
    LEAVES[how](group)
    assert call(group, "prepare", "bob", 1000) == ["wait", "ann"] and states(group) == ["ready", "ready"]
    assert call(group, "prepare", "ann", 1000)[0] == "ok" and states(group) == ["preparing", "preparing"]


def test_who_waits_elsewhere_is_called_from_the_gate(group):
    """For its window, or for staff, who spoke of the other alone: nobody waits for it at the gate."""
    assert call(group, "wait", "bob", "", 0) == ["ok"]
    assert call(group, "prepare", "ann", 1000) == ["again", "bob"]
    assert call(group, "gather", "ann", 0) == ["again", "go"] and group.jobs() == ["bob"]
    assert call(group, "prepare", "ann", 1000) == ["wait", "bob"]


def test_prepare_waits_while_one_is_in_use(group):
    group.client.set(group.key("busy", "ann"), 1, px=60000)
    assert call(group, "prepare", "ann", 1000, 1)[0] == "wait" == call(group, "prepare", "bob", 1000, 1)[0]
    group.client.delete(group.key("busy", "ann"))
    assert call(group, "prepare", "ann", 1000, 1)[0] == "ok" and states(group) == ["preparing", "preparing"]


def test_freeze_begins_for_all(group):
    prepared(group)
    assert call(group, "freeze", "ann", 1000) == ["wait", "bob"] and states(group) == ["preparing", "preparing"]
    answer = call(group, "freeze", "bob", 60000)
    assert answer[0] == "ok" and 50000 < int(answer[1]) <= 60000 and states(group) == ["freezing", "freezing"]
    answer = call(group, "freeze", "ann", 1000)
    assert answer[0] == "ok" and 50000 < int(answer[1]) <= 60000, "what is left of the common deadline"


def test_a_gate_of_an_earlier_attempt_does_not_count(group):
    prepared(group)
    call(group, "freeze", "ann", 1000)
    call(group, "abort", "bob", "why: so")
    assert states(group) == ["ready", "ready"]
    prepared_again = [call(group, "prepare", u, 60000)[0] for u in BOTH]
    assert prepared_again == ["wait", "ok"]
    assert call(group, "freeze", "bob", 1000)[0] == "wait" and states(group) == ["preparing", "preparing"]


def test_rested_waits_for_the_sessions_of_all(group):
    frozen(group)
    assert call(group, "rested", "ann") == ["ok"] == call(group, "rested", "bob")
    group.put_session("p2/1", epoch=EPOCH + 1, user="bob")
    assert call(group, "rested", "ann") == ["busy", "bob"]
    group.put_session("p2/1", epoch=EPOCH, mode="frozen", user="bob")
    assert call(group, "rested", "ann")[0] == "busy", "for an earlier attempt"
    assert group.call("rested", "ann", "another", EPOCH + 1)[0] == "lost"


def test_flip_is_one_for_all(group):
    frozen(group)
    assert call(group, "flip", "ann", "1:ab", "sha 1.2 m") == ["wait", "bob"] and states(group) == ["freezing", "freezing"]
    assert group.route("ann").get("view", "") == "", "nothing is told before all have said so"
    assert call(group, "flip", "bob", "1:cd", "") == ["ok"] and states(group) == ["flipping", "flipping"]
    ann, bob = group.route("ann"), group.route("bob")
    assert (ann["view"], ann["proof"], ann["proof_at"], bob["view"]) == ("1:ab", "sha", "1.2 m", "1:cd")
    assert call(group, "flip", "ann", "1:ab", "sha 1.2 m") == ["ok"], "who asks again finds it done"
    assert group.call("claim", "bob", "fresh")[0] == "ok" and call(group, "flipped", "ann")[0] == "ok"
    assert states(group) == ["flipped", "flipping"], "from here each goes on by itself"
    assert group.call("flipped", "bob", "fresh", EPOCH + 2)[0] == "ok"
    assert [group.route(u)["backend"] for u in BOTH] == ["new", "new"]


def test_flip_by_a_voice_whose_owner_died(group):
    """It was verified, and its sessions rest: who takes it over goes on from there."""
    frozen(group)
    assert call(group, "flip", "ann", "1:ab")[0] == "wait"
    assert call(group, "flip", "bob", "1:cd") == ["ok"]
    assert group.call("claim", "ann", "fresh")[0] == "ok" and group.route("ann")["state"] == "flipping"


@pytest.mark.parametrize("of", ["session", "touching", "deadline", "epoch", "voice"])
def test_flip_waits_for_who_is_not_as_it_was_when_it_said_so(group, of):
    frozen(group)
    assert call(group, "flip", "ann", "1:ab")[0] == "wait"
    if of == "session":
        group.put_session("p2/1", epoch=EPOCH + 1, user="ann")
    else:
        group.client.hset(group.key("route", "ann"), of, {"touching": 1, "deadline": 1, "epoch": 9, "voice": EPOCH}[of])
    assert call(group, "flip", "bob", "1:cd")[0] == "wait" and states(group) == ["freezing", "freezing"]


@pytest.mark.parametrize("of", ["paused", "quarantine", "late"])
def test_flip_of_the_last_looks_at_what_stops_all(group, of):
    frozen(group)
    assert call(group, "flip", "ann", "1:ab")[0] == "wait"
    if of == "paused":
        group.call("pause", 1, "root", "why")
    elif of == "quarantine":
        group.client.hset(group.key("store"), "quarantine_until", group.now() + LONG)
    else:
        group.client.hset(group.key("route", "bob"), "deadline", 1)
    assert call(group, "flip", "bob", "1:cd")[0] == of and states(group) == ["freezing", "freezing"]


# ---- thaws ----

THAWS = {
    "abort": lambda s: call(s, "abort", "ann", "deadline: why"),
    "deadline": lambda s: (s.client.hset(s.key("route", "ann"), "deadline", 1), s.call("thaw", "ann")),
    "login": lambda s: (s.client.hset(s.key("route", "ann"), "deadline", 1),
                        s.enter("p9/1", "ann", state=s.route("ann")["state"], epoch=s.route("ann")["epoch"])),
    "claim": lambda s: s.call("claim", "ann", "fresh"),
    "deaths": lambda s: (s.client.hset(s.key("route", "ann"), "died", "a/m1"), s.call("claim", "ann", "fresh")),
    "master": lambda s: (s.client.hset(s.key("store"), "generation", 9), s.call("leave", "ann", "p1/1")),
}


@pytest.mark.parametrize("state", ["preparing", "freezing"])
@pytest.mark.parametrize("how", sorted(THAWS))
def test_a_thaw_of_one_thaws_all(group, how, state):
    (prepared if state == "preparing" else frozen)(group)
    THAWS[how](group)
    assert group.route("ann")["state"] in ("ready", "copying", "blocked")
    bob = group.route("bob")
    assert (bob["state"], bob["deadline"]) == ("ready", "0") and bob["reason"].startswith("group: ann: "), bob
    assert [e["state"] for e in group.events() if e["user"] == "bob"][-1] == "ready"


def test_a_refusal_of_the_target_thaws_all(group):
    prepared(group)
    group.put_session("p1/1", epoch=EPOCH + 1)
    assert group.call("refuse", "ann", "p1/1", EPOCH + 1, group.generation(), "credentials: no")[0] == "ok"
    assert states(group) == ["ready", "ready"]


def test_a_voice_is_void_behind_a_thaw(group):
    frozen(group)
    assert call(group, "flip", "ann", "1:ab")[0] == "wait"
    call(group, "abort", "bob", "deadline: why")
    for user in BOTH:
        call(group, "prepare", user, 60000)
        group.put_session("p1/" + user, epoch=EPOCH + 2, mode="frozen", user=user)
    for user in BOTH:
        call(group, "freeze", user, 60000)
    assert call(group, "flip", "bob", "1:cd")[0] == "wait" and states(group) == ["freezing", "freezing"]


def test_flipping_of_a_group_never_goes_back(group):
    frozen(group)
    call(group, "flip", "ann", "1:ab")
    call(group, "flip", "bob", "1:cd")
    for thaw in THAWS.values():
        thaw(group)
        assert states(group) == ["flipping", "flipping"]


# ---- what staff may not do to one ----

def test_neither_force_nor_back_of_one(store):
    planted(store, "resting")
    edit(store, "make", *BOTH)
    assert store.call("enqueue", "ann", "root", "why", "old", "new", 0, 1, 0, "old") == ["refused", "in the group office"]
    store.plant("settled", "ann")
    assert store.call("enqueue", "ann", "root", "why", "new", "old", 0, 0, 1, "old") == ["refused", "in the group office"]
    assert store.call("bulk", "ann", "run", "old", 1, "old", "") == ["refused", "in the group office"]
    assert store.call("forget", "bob", "root", "why", "old", 0)[1].startswith("is in the group office")
    assert store.route("ann")["state"] == "settled" and store.jobs() == []
    assert store.call("enqueue", "bob", "root", "why", "old", "new", 0, 0, 0, "old") == ["ok", "queued"]


def test_hold_of_one_holds_the_group(group):
    assert group.call("hold", "bob", "root", "why", "old") == ["ok", "held"]
    assert call(group, "prepare", "ann", 1000) == ["again", "bob"]
    prepared_group = dict(group.route("bob"))
    assert prepared_group["state"] == "held"


def move(store, target, *members, rev=None, now=0, retired=""):
    rows = [x for m in members for x in m]
    return store.call("sharing_move", "office", "root", "why", rev or read(store)[0][1], target, now, retired, *rows)


def test_a_group_is_moved_and_sent_back(store):
    planted(store, "resting")
    edit(store, "make", *BOTH)
    assert move(store, "new", ("ann", 0), ("bob", 0), rev="7") == ["refused", "has changed meanwhile, or is not known"]
    assert move(store, "new", ("ann", 0), ("bob", 0), retired=" new ")[0] == "refused"
    assert move(store, "new", ("ann", 0), ("bob", 0), now=1) == ["ok", "2"] and store.jobs() == ["ann", "bob"]
    assert [store.route(u)["now"] for u in BOTH] == ["1", "1"]
    assert move(store, "new", ("ann", 0), ("bob", 0), now=1) == ["ok", "2"] and store.jobs() == ["ann", "bob"]
    for user in BOTH:
        store.plant("settled", user, back="", now="")
    assert move(store, "new", ("ann", 0), ("bob", 0)) == ["ok", "0"]
    assert move(store, "old", ("ann", 1), ("bob", 1)) == ["ok", "2"]
    assert [(store.route(u)["back"], store.route(u)["source"]) for u in BOTH] == [("1", "new")] * 2


def test_all_or_none_of_a_group_is_moved(store):
    planted(store, "resting")
    edit(store, "make", *BOTH)
    store.call("hold", "bob", "root", "why", "old")
    assert move(store, "new", ("ann", 0), ("bob", 0)) == ["refused", "is not moved: bob is held on old"]
    assert states(store) == ["resting", "held"] and store.jobs() == []


def test_removing_the_last_obstacle_lets_the_others_go_on(group):
    assert edit(group, "add", "eve") == ["ok", "3"]
    planted(group, "ready")
    group.plant("blocked", "eve", reason="quota: none")
    assert [call(group, "gather", u, 0)[0] for u in BOTH] == ["ok", "ok"]
    group.client.delete(group.key("jobs"))
    assert edit(group, "remove", "eve") == ["ok", "2"] and states(group) == ["queued", "queued"]
    assert group.jobs() == ["ann", "bob"] and group.route("eve")["state"] == "blocked"
