"""The late watch: what still arrives on the server that an account has left."""
import re

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.scene import fill, new_user, read, small

pytestmark = pytest.mark.writes_source

DATE = '"03-Feb-2021 04:05:06 +0200"'
LATE = {"migration": {"trigger": "manual", "late_watch": "8s"}}


def text(subject):
    return f"Subject: {subject}\r\n\r\n{subject}\r\n".encode()


def subjects(server, user, name="INBOX"):
    m = mail.connect(server, user, "secret")
    typ, count = m.select(name, readonly=True)
    if typ != "OK" or count == [b"0"]:
        m.logout()
        return []
    found = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return [re.sub(rb"(?i)subject: *", b"", x[1]).strip().decode("latin-1") for x in found if isinstance(x, tuple)]


def move(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    return ferry.wait_state(user, "flipped", "settled")


def arrives(server, user, subject, name="INBOX"):
    return net.wait_until(subject, lambda: subject in subjects(server, user, name))


def test_a_late_delivery_is_brought_once(make_ferry, backends, old, new):
    user = new_user("late")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends, LATE)
    ferry.migrator()
    move(ferry, user)
    w = mail.connect(new, user, "secret")
    w.append("INBOX", "", DATE, text("by the user"))
    w.select("INBOX")
    gone = w.uid("SEARCH", "ALL")[1][0].split()[0]
    w.uid("STORE", gone, "+FLAGS.SILENT", "(\\Deleted)")
    w.uid("EXPUNGE", gone)
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "(\\Flagged)", DATE, text("late one"))
    m.create("INBOX.Fresh")
    m.append("INBOX.Fresh", "", DATE, text("in a new mailbox"))
    m.select("INBOX")
    first = m.uid("FETCH", "1:*", "(BODY.PEEK[])")[1][0][1]
    m.append("INBOX", "", DATE, first)
    before = read(old, user)
    arrives(new, user, "late one")
    arrives(new, user, "in a new mailbox", "Fresh")
    m.append("INBOX", "", DATE, text("late two"))
    arrives(new, user, "late two")
    ferry.wait_state(user, "settled")
    found = subjects(new, user)
    assert [found.count(x) for x in ("late one", "late two", "by the user")] == [1, 1, 1], found
    assert len(found) == len(subjects(old, user)) - 1, "one was deleted, one came by the user, one is known"
    late = [x for x in read(new, user).mailboxes[(b"INBOX",)].messages if "\\flagged" in x.flags][-1]
    assert late.sha256 in {x.sha256 for x in before.mailboxes[(b"INBOX",)].messages}
    told = [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "late"]
    assert len(told) == 4 and sum("came late" in x for x in told) == 3 and sum("not brought" in x for x in told) == 1, told
    assert ferry.route(user)["late_found"] == "3"
    due = ferry.redis.client().zscore("imapferry:late:daily", user)
    assert due / 1000 - int(ferry.route(user)["flipped_at"]) / 1000 > 80000, "daily from now on"

    assert ferry.ctl("flip", user, "--to", "old", "--reason", "back")[0] == 0
    ferry.wait_state(user, "held")
    back = subjects(old, user)
    assert [back.count(x) for x in ("late one", "late two", "by the user")] == [1, 1, 1], back
    w.logout()
    m.logout()


def test_what_a_deliverer_brings_to_the_old_server_after_the_flip_arrives(make_ferry, backends, old, new):
    """tests/CASES.md 32: by Dovecot's own delivery agent, which knows nothing of us, before and after a look."""
    user = new_user("delivered")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, LATE)
    ferry.migrator()
    move(ferry, user)
    old.deliver(user, text("delivered at once"))
    arrives(new, user, "delivered at once")
    old.deliver(user, text("delivered later"))
    arrives(new, user, "delivered later")
    ferry.wait_state(user, "settled")
    there, here = read(old, user).mailboxes[(b"INBOX",)], read(new, user).mailboxes[(b"INBOX",)]
    assert sorted(m.sha256 for m in there.messages) == sorted(m.sha256 for m in here.messages)


def test_what_redis_forgot_is_not_brought_twice(make_ferry, backends, old, new):
    """A failover to a replica that lacks the last look: neither its rows nor how far it looked are there."""
    user = new_user("forgot")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, LATE)
    ferry.migrator()
    move(ferry, user)
    store = ferry.redis.client(decode=False)
    before = {key: store.dump(key) for key in store.keys(f"imapferry:ledger:{user}*".encode())}
    assert before
    old.deliver(user, text("once"))
    arrives(new, user, "once")
    ferry.wait_state(user, "settled")
    for key, value in before.items():
        store.restore(key, 0, value, replace=True)
    last = ferry.route(user)["last_late"]
    store.zadd("imapferry:late", {user: 1})
    net.wait_until("another look", lambda: ferry.route(user)["last_late"] != last, timeout=20)
    assert subjects(new, user).count("once") == 1


def test_a_way_back_takes_the_account_away(make_ferry, backends, old, new):
    """Whoever looks at the left server just then touches nothing more."""
    user = new_user("race")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, LATE)
    ferry.migrator()
    move(ferry, user)
    net.wait_until("a look", lambda: ferry.route(user).get("last_late"))
    assert ferry.ctl("migrate", user, "--to", "old")[0] == 0
    assert ferry.wait_state(user, "held")["backend"] == "old"
    m = mail.connect(new, user, "secret")
    m.append("INBOX", "", DATE, text("late on the new one"))
    m.logout()
    arrives(old, user, "late on the new one")
    assert ferry.route(user)["state"] == "held"


@pytest.mark.parametrize("kill", [False, True])
def test_a_look_that_died_is_taken_over(make_ferry, backends, old, new, kill):
    user = new_user("killed")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "late_watch": "4s"}})
    migrator = ferry.migrator()
    move(ferry, user)
    m = mail.connect(old, user, "secret")
    for i in range(30):
        m.append("INBOX", "", DATE, text(f"late {i}"))
    m.logout()
    if kill:
        net.wait_until("a late batch", lambda: ferry.route(user).get("owner"), step=0)
        migrator.kill()
    else:
        migrator.stop()
    ferry.migrator()
    ferry.wait_state(user, "settled")
    found = subjects(new, user)
    assert [found.count(f"late {i}") for i in range(30)] == [1] * 30, found


def test_nothing_after_the_backend_is_retired(make_ferry, old, new, authority):
    user = new_user("retired")
    fill(old, user, small(messages=5))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": {"trigger": "manual", "late_watch": "1h"}})
    first = ferry.migrator()
    move(ferry, user)
    first.stop()
    migrator = ferry.migrator(backends={"old": backend(old, ca=authority.ca, retired=True)})
    migrator.wait(rf"event=late_retired user={re.escape(user)}")
    assert ferry.wait_state(user, "settled")
    redis = ferry.redis.client()
    assert redis.zscore("imapferry:late", user) is redis.zscore("imapferry:late:daily", user) is None
    assert not list(redis.scan_iter(f"imapferry:ledger:{user}:*", count=1000))


def test_by_the_users_own_password(make_ferry, old, new, authority):
    user = new_user("sealed")
    fill(old, user, small(messages=5))
    pair = {"old": backend(old, ca=authority.ca, master=False), "new": backend(new, ca=authority.ca, master=False)}
    ferry = make_ferry(pair, {"migration": {"late_watch": "5s"}})
    ferry.seal_keys()
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, user, "secret").logout()
    ferry.wait_state(user, "flipped")
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "", DATE, text("late"))
    m.logout()
    arrives(new, user, "late")
    ferry.wait_state(user, "settled")
    assert not ferry.redis.client().exists(f"imapferry:secret:{user}")


# ---- behind a flip by force

SELDOM = {"migration": {"trigger": "manual", "late_watch": "1h"}}


def force(ferry, user, to):
    assert ferry.ctl("flip", user, "--to", to, "--force", "--reason", "test")[0] == 0
    net.wait_until("the flip", lambda: ferry.route(user).get("backend") == to)


def told(ferry, user):
    return [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "late"]


def look(ferry, user):
    """A whole look that begins now: its time is far."""
    net.wait_until("the end of another", lambda: not ferry.route(user).get("owner"))
    last = ferry.route(user).get("last_late")
    ferry.redis.client().zadd("imapferry:late", {user: 1})
    net.wait_until("a look", lambda: ferry.route(user).get("last_late") != last)


def test_what_lacks_at_a_forced_flip_comes_afterwards(make_ferry, backends, old, new):
    """Copied and ready, then mail that no pass has seen, then by force: it is brought once, and nothing else is."""
    user = new_user("forced")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends, {"migration": dict(SELDOM["migration"], cutover="manual")})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "", DATE, text("no pass has seen it"))
    m.create("INBOX.Fresh")
    m.append("INBOX.Fresh", "", DATE, text("nor its mailbox"))
    force(ferry, user, "new")
    assert ferry.route(user)["forced"] == "copied"
    look(ferry, user)
    assert subjects(new, user).count("no pass has seen it") == 1 and subjects(new, user, "Fresh") == ["nor its mailbox"]
    m.append("INBOX", "", DATE, text("late"))
    m.logout()
    look(ferry, user)
    assert sorted(subjects(new, user)) == sorted(subjects(old, user))
    assert len(told(ferry, user)) == 3 and all("was not here" in x for x in told(ferry, user)), told(ferry, user)
    w = mail.connect(new, user, "secret")
    w.delete("Fresh")
    look(ferry, user)
    assert w.list('""', "Fresh")[1] == [None], "what the user deletes stays deleted"
    w.logout()


def test_what_was_never_copied_stays_behind_a_forced_flip_by_name(make_ferry, backends, old, new):
    user = new_user("bare")
    fill(old, user, small(messages=20))
    there = len(subjects(old, user))
    ferry = make_ferry(backends, SELDOM)
    ferry.migrator()
    force(ferry, user, "new")
    assert ferry.route(user)["forced"] == "bare"
    look(ferry, user)
    assert subjects(new, user) == []
    boxes = [x for x in told(ferry, user) if "stay behind" in x]
    assert any(x.startswith(f'"INBOX": {there} messages') for x in boxes), boxes
    m = mail.connect(old, user, "secret")
    m.append("INBOX", "", DATE, text("late"))
    m.create("INBOX.Fresh")
    m.append("INBOX.Fresh", "", DATE, text("in a new mailbox"))
    m.logout()
    look(ferry, user)
    look(ferry, user)
    assert subjects(new, user) == ["late"] and subjects(new, user, "Fresh") == ["in a new mailbox"]
    assert [x for x in told(ferry, user) if "stay behind" in x] == boxes, "told once"


def test_what_came_to_the_new_server_follows_an_account_that_was_sent_back_by_force(make_ferry, backends, old, new):
    user = new_user("rescued")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends, SELDOM)
    ferry.migrator()
    move(ferry, user)
    before = subjects(old, user)
    m = mail.connect(new, user, "secret")
    m.append("INBOX", "", DATE, text("came to the new server"))
    force(ferry, user, "old")
    look(ferry, user)
    m.append("INBOX", "", DATE, text("late"))
    m.logout()
    look(ferry, user)
    look(ferry, user)
    assert sorted(subjects(old, user)) == sorted(before + ["came to the new server", "late"])
    assert ferry.route(user)["state"] == "held"


# ---- a way back that is given up

@pytest.mark.parametrize("how", ["blocked", "held"])
def test_a_way_back_that_is_given_up_leaves_the_watch_as_it_was(make_ferry, backends, old, new, how):
    """Its ledgers are turned by then, and some of the way back is done."""
    user = new_user("stays")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends, {"migration": dict(SELDOM["migration"], cutover="manual")})
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    ferry.wait_state(user, "flipped")
    m, w = mail.connect(old, user, "secret"), mail.connect(new, user, "secret")
    w.append("INBOX", "", DATE, text("by the user"))
    redis = ferry.redis.client()
    assert ferry.ctl("migrate", user, "--to", "old")[0] == 0
    ferry.wait_state(user, "ready")
    assert "by the user" in subjects(old, user), "its copy is done"
    m.append("INBOX", "", DATE, text("late"))
    if how == "held":
        assert ferry.ctl("hold", user)[0] == 0
    else:
        redis.hset(f"imapferry:route:{user}", mapping={"state": "blocked", "owner": "", "reason": "cannot: a test"})
    look(ferry, user)
    assert "late" in subjects(new, user)
    look(ferry, user)
    route = ferry.route(user)
    assert (route["state"], route["backend"], route["target"]) == (how, "new", "old")
    assert sorted(subjects(new, user)) == sorted(subjects(old, user)), "nothing comes twice"
    w.select("INBOX")
    w.store("1", "+FLAGS.SILENT", "(\\Deleted)")
    w.expunge()
    assert ferry.ctl("release" if how == "held" else "retry", user)[0] == 0
    ferry.wait_state(user, "ready")
    assert ferry.ctl("flip", user, "--to", "old", "--reason", "test")[0] == 0
    assert ferry.wait_state(user, "held")["backend"] == "old"
    assert sorted(subjects(new, user)) == sorted(subjects(old, user))
    m.logout()
    w.logout()


# ---- folded ledgers

def lists(ferry, user):
    return list(ferry.redis.client(decode=False).scan_iter(f"imapferry:ledger:{user}:*".encode(), count=1000))


def test_a_folded_ledger_still_knows_what_was_copied(make_ferry, backends, old, new):
    """By the bytes of the copy; where the user has removed that, by those that the old server still has. Whatever comes
    behind it is folded as well, and so is a ledger that an older version left."""
    user = new_user("folded")
    fill(old, user, small(messages=20))
    ferry = make_ferry(backends, {"migration": dict(LATE["migration"], late_watch="3s")})
    ferry.migrator()
    move(ferry, user)
    store = ferry.redis.client(decode=False)
    unfolded = {key: store.dump(key) for key in lists(ferry, user)}
    ferry.wait_state(user, "settled")
    assert unfolded and lists(ferry, user) == []
    folded = f"imapferry:folded:{user}".encode()
    text_of = store.get(folded)
    assert text_of.startswith(b"old new\n") and text_of.count(b"\n") == len(unfolded)

    w = mail.connect(new, user, "secret")
    w.select("INBOX")
    w.uid("STORE", "1", "+FLAGS.SILENT", "(\\Deleted)")
    w.uid("EXPUNGE", "1")
    m = mail.connect(old, user, "secret")
    m.select("INBOX")
    first, second = [m.uid("FETCH", n, "(BODY.PEEK[])")[1][0][1] for n in ("1", "2")]
    before = subjects(new, user)
    for body in (first, second, text("late, and new")):
        m.append("INBOX", "", DATE, body)
    look(ferry, user)
    assert sorted(subjects(new, user)) == sorted(before + ["late, and new"])
    assert sum("not brought" in x for x in told(ferry, user)) == 2, told(ferry, user)
    assert lists(ferry, user) == []
    m.append("INBOX", "", DATE, text("late, and new"))
    look(ferry, user)
    assert subjects(new, user).count("late, and new") == 1

    store.delete(folded)
    for key, value in unfolded.items():
        store.restore(key, 0, value)
    look(ferry, user)
    assert lists(ferry, user) == [] and store.get(folded).count(b"\n") == len(unfolded)
    assert subjects(new, user).count("late, and new") == 1
    m.logout()
    w.logout()


def test_the_way_back_of_a_folded_ledger(make_ferry, backends, old, new):
    """What was read by a sample is read on both sides where all of it has to be; a mailbox that gets another name meanwhile is
    known by its copies; what was deleted is deleted, what is new is copied, nothing is copied twice."""
    user = new_user("foldedback")
    fill(old, user, small(messages=60))
    m = mail.connect(old, user, "secret")
    m.create("INBOX.Plain")
    for i in range(12):
        m.append("INBOX.Plain", "", DATE, text(f"plain {i}"))
    ferry = make_ferry(backends, {"migration": dict(LATE["migration"], late_watch="2s", verify="sample")})
    migrator = ferry.migrator()
    move(ferry, user)
    ferry.wait_state(user, "settled")
    assert lists(ferry, user) == []
    migrator.stop()
    w = mail.connect(new, user, "secret")
    w.select("INBOX")
    w.uid("STORE", "2", "+FLAGS.SILENT", "(\\Deleted)")
    w.uid("EXPUNGE", "2")
    w.create("Later")
    w.append("INBOX", "", DATE, text("by the user"))
    ferry.settings["migration"].update(verify="full", cutover="manual")
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--to", "old")[0] == 0
    ferry.wait_state(user, "ready")
    assert w.rename("Plain", "Renamed")[0] == "OK"
    assert ferry.ctl("flip", user, "--to", "old", "--reason", "back")[0] == 0
    route = ferry.wait_state(user, "held")
    assert migrator.wait(r"event=mailbox_renamed .*on_target=too")
    assert route["backend"] == "old" and route["messages_verified"] == route["messages_done"]
    assert sorted(subjects(old, user)) == sorted(subjects(new, user))
    assert subjects(old, user).count("by the user") == 1
    assert subjects(old, user, "INBOX.Renamed") == [f"plain {i}" for i in range(12)]
    w.logout()
    m.logout()


def test_without_a_late_watch_the_account_is_settled_at_once(make_ferry, backends, old, new):
    user = new_user("unwatched")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": dict(LATE["migration"], late_watch="0s")})
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "settled")
    redis = ferry.redis.client()
    assert lists(ferry, user) == [] and redis.exists(f"imapferry:folded:{user}")
    assert redis.zscore("imapferry:late", user) is redis.zscore("imapferry:late:daily", user) is None and ferry.route(user)["late_found"] in ("", "0")
