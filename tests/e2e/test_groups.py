"""Accounts that share mailboxes are switched over as one: all routes or none."""
import contextlib
import os
import signal

import pytest

from harness import mail, monitor, net, sentinel
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.scene import Wire, assert_equal, connect, new_user

@pytest.fixture(scope="module")
def servers(cert):
    made = {}
    for name in ("old", "new"):
        folder = net.temp_folder(f"groups-map-{name}")
        os.chmod(folder, 0o777)
        made[name] = Dovecot(f"groups-{name}", mail="mdbox", cert=cert, special_use=False,
                             extra=extra("shared", driver="mdbox", path="mdbox", folder=folder))
    yield made
    for server in made.values():
        server.close()


class Sharers:
    """Accounts of which each gives the next one its mailbox Work, copied by nobody yet."""

    def __init__(self, make_ferry, servers, authority, n=2, messages=3, **migration):
        self.old, self.new = servers["old"], servers["new"]
        self.users = [new_user(f"share{i}-") for i in range(n)]
        for i, user in enumerate(self.users):
            m = mail.connect(self.old, user, "secret")
            assert m.create("Work")[0] == "OK"
            for box in ("INBOX", "Work"):
                for k in range(messages):
                    assert m.append(box, None, None, f"Subject: {box} {k} of {user}\r\n\r\nx\r\n".encode())[0] == "OK"
            assert m._simple_command("SETACL", "Work", self.users[(i + 1) % n], "lrswite")[0] == "OK"
            m.logout()
        net.wait_next_second()
        self.ferry = make_ferry({"old": backend(self.old, ca=authority.ca), "new": backend(self.new, ca=authority.ca)},
                                {"migration": dict({"trigger": "manual"}, **migration)})

    def make(self, name="office", users=None):
        status, answer = self.ferry.ctl("group", "make", name, *(users or self.users), "--reason", "they share")
        assert status == 0, answer
        return answer

    def hurry(self, job_lease="1s", **proxy):
        """Who is gone is replaced soon, and what failed is tried again soon."""
        self.ferry.settings["migrator"].update({"job_lease": job_lease, "retry_min": "200ms", "retry_max": "400ms"})
        self.ferry.settings["proxy"].update(proxy)

    @contextlib.contextmanager
    def signed_in(self, proxy, mailbox=b"INBOX"):
        """A session of each, by user."""
        with contextlib.ExitStack() as stack:
            wires = {user: stack.enter_context(connect(proxy)) for user in self.users}
            for user, wire in wires.items():
                assert wire.login(user).startswith(b"l1 OK") and wire.command(b"s", b"SELECT " + mailbox)[-1].startswith(b"s OK")
            yield wires

    def states(self):
        return [self.ferry.route(u)["state"] for u in self.users]

    def order(self):
        """(user, state) of all events of state, in their order."""
        return [(e["user"], e["state"]) for _, e in self.ferry.redis.client().xrange("imapferry:events")
                if e.get("user") in self.users and e["kind"] == "state"]

    def flipped(self, timeout=60):
        for user in self.users:
            self.ferry.wait_state(user, "flipped", timeout=timeout)

    def are_flipped(self):
        return all(self.ferry.route(user)["state"] in ("flipped", "settled") for user in self.users)

    def assert_moved_as_one(self):
        """All are flipping at one moment, and from then on nobody goes back. (Who claims one that is flipping says so once more.)"""
        order = self.order()
        first = min(i for i, (_, s) in enumerate(order) if s == "flipping")
        together = order[first:first + len(self.users)]
        assert {u for u, s in together if s == "flipping"} == set(self.users), order
        assert {s for _, s in order[first:]} <= {"flipping", "flipped", "settled"}, order

    def assert_all_is_there(self, messages):
        """Moved as one, each with so many."""
        self.assert_moved_as_one()
        for user in self.users:
            assert_equal(self.old, self.new, user, messages)


def assert_live(wires):
    for wire in wires.values():
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")


def ask(server, user, command):
    """The first line of its answer."""
    with Wire(server.url("imap")) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        answer = wire.command(b"c", command.encode())
        assert answer[-1].startswith(b"c OK"), answer
        return answer[0].decode()


def acl(server, user):
    words = ask(server, user, "GETACL Work").replace('"', "").split(" ")[3:]
    return dict(zip(words[::2], words[1::2]))


def test_two_that_share_move_as_one(make_ferry, servers, authority):
    """Both are signed in and write, one of them into the other's mailbox; nobody is disconnected, and all of it is there."""
    s = Sharers(make_ferry, servers, authority)
    ann, bob = s.users
    ferry, proxy = s.ferry, s.ferry.proxy(proxy=monitor.LISTEN)
    ferry.migrator()
    with s.signed_in(proxy) as wires:
        assert ferry.ctl("migrate", ann)[0] == 0
        assert ferry.wait_state(ann, "blocked")["reason"].startswith("shared: ")
        assert s.make()["accounts"] == 2
        s.flipped()
        s.assert_moved_as_one()
        assert_live(wires)
        for wire in wires.values():
            assert wire.command(b"a", b"STATUS Work (MESSAGES)")[0].endswith(b"(MESSAGES 3)")
        assert ferry.where(ann) == ferry.where(bob) == {"new"}
    assert "r" in acl(s.new, ann)[bob] and "w" in acl(s.new, bob)[ann]
    for user in s.users:
        assert_equal(s.old, s.new, user, 6)


def test_a_plan_knows_the_group(make_ferry, servers, authority):
    """What is shared blocks whoever moves alone, and nobody whose group has all who share it."""
    s = Sharers(make_ferry, servers, authority)
    bob = s.users[1]

    def shared():
        status, plan = s.ferry.ctl("plan", bob)
        assert status == 0, plan
        return [f for f in plan["findings"] if f["kind"] == "shared"]
    assert shared()
    s.make()
    assert not shared()


def test_more_members_than_places(make_ferry, servers, authority):
    """A migrator with one place, and a group of three: whoever is copied waits without it."""
    s = Sharers(make_ferry, servers, authority, n=3)
    s.make()
    s.ferry.migrator(migrator={"jobs": 1})
    assert s.ferry.ctl("group", "migrate", "office", "--now", "--reason", "test")[1]["queued"] == 3
    s.flipped()
    s.assert_all_is_there(6)


def test_a_group_of_which_one_is_in_use_waits(make_ferry, servers, authority):
    """cutover = idle: until nobody uses any of them; who is not in use himself waits too."""
    s = Sharers(make_ferry, servers, authority, cutover="idle", idle_time="2s")
    s.make()
    ferry, proxy = s.ferry, s.ferry.proxy()
    ferry.migrator()
    with connect(proxy) as wire:
        assert wire.login(s.users[0]).startswith(b"l1 OK") and wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        assert ferry.ctl("group", "migrate", "office")[0] == 0

        def waits():
            assert wire.command(b"f", b"FETCH 1 (FLAGS)")[-1].startswith(b"f OK")
            return ferry.route(s.users[1])["reason"] == "idle: waits until no account of the group office is in use"
        net.wait_until("the other waits, too", waits, 40)
        s.flipped()
    s.assert_moved_as_one()


def test_what_is_refused_of_one(make_ferry, servers, authority):
    """Neither force nor the way back; a hold of one holds all, by name; the way back is for all."""
    s = Sharers(make_ferry, servers, authority)
    ann, bob = s.users
    ferry = s.ferry
    s.make()
    status, answer = ferry.ctl("flip", ann, "--to", "new", "--force", "--yes", "--reason", "test")
    assert status == 4 and '"group migrate office" moves all of it' in answer["error"], answer
    assert ferry.ctl("forget", ann)[0] == 4
    status, answer = ferry.ctl("group", "make", "other", bob, new_user("eve"))
    assert status == 4 and answer["error"] == f"the group other can't have {bob}, which is in the group office", answer
    assert ferry.ctl("hold", bob)[0] == 0
    ferry.migrator()
    assert ferry.ctl("migrate", ann)[0] == 0
    net.wait_until("ann waits for bob", lambda: ferry.route(ann)["reason"] == f"group: waits for {bob}")
    assert ferry.route(ann)["owner"] == "" and ferry.user(ann)["group"] == "office"
    group = ferry.ctl("group", "show", bob)[1]
    assert [(m["user"], m["state"], m["gather"]) for m in group["members"]] == [(ann, "ready", "in"), (bob, "held", "")]
    assert "copied, waits for the others" in ferry.ctl_raw("group", "show", "office")[1]
    assert "1 ready, 1 held" in ferry.ctl_raw("group", "list")[1]
    assert ferry.ctl("group", "migrate", "office")[0] == 4 and ferry.ctl("group", "show", "none")[0] == 3
    assert ferry.ctl("release", bob)[0] == 0 and ferry.ctl("migrate", bob)[0] == 0
    s.flipped()
    s.assert_moved_as_one()
    status, answer = ferry.ctl("migrate", ann, "--to", "old")
    assert status == 4 and "group migrate office" in answer["error"], answer
    status, out, _ = ferry.ctl_raw("group", "migrate", "office", "--to", "old", "--reason", "test", "--wait")
    assert status == 0 and out.startswith("2 of the group office are queued"), out
    assert out.splitlines()[-1] == 'all 2 accounts of the group office are on old, and held there until "release"', out
    for user in s.users:
        route = ferry.wait_state(user, "held", timeout=60)
        assert (route["backend"], route["held_from"]) == ("old", "resting")
    assert ferry.ctl("group", "drop", "office")[0] == 0 and ferry.ctl("group", "list")[1]["sharing"] == []


def test_who_shares_with_others_too_is_blocked(make_ferry, servers, authority):
    """Members by a survey; somebody outside of the group stops it by name, also one who came while it was copied."""
    s = Sharers(make_ferry, servers, authority)
    ann, bob = s.users
    eve = new_user("eve")
    ask(s.old, bob, f"SETACL INBOX {eve} lrs")
    s.make()
    s.ferry.migrator()
    status, out, error = s.ferry.ctl_raw("group", "migrate", "office", "--wait")
    assert status == 1 and f"{bob}: blocked\n" in out, (out, error)
    assert f"the group office does not get on: {bob} is blocked: shared: " in error and eve in error, (out, error)
    net.wait_until("ann waits for bob", lambda: s.ferry.route(ann)["reason"] == f"group: waits for {bob}")
    for server in (s.old, s.new):
        ask(server, bob, f"DELETEACL INBOX {eve}")
    assert s.ferry.ctl("retry", bob)[0] == 0
    status, answer = s.ferry.ctl("group", "migrate", "office", "--wait")
    assert status == 0 and answer["held_up_by"] is None, answer
    assert [(m["user"], m["backend"], m["state"] in ("flipped", "settled")) for m in answer["members"]] == [
        (ann, "new", True), (bob, "new", True)]
    s.assert_moved_as_one()


def test_waiting_ends_where_staff_have_the_next_word(make_ferry, servers, authority):
    """cutover = manual: once all are copied, and not before; with --now once all have arrived."""
    s = Sharers(make_ferry, servers, authority, cutover="manual")
    s.make()
    s.ferry.migrator()
    status, out, _ = s.ferry.ctl_raw("group", "migrate", "office", "--wait")
    assert status == 0 and s.states() == ["ready", "ready"], out
    assert out.splitlines()[-1] == 'the group office is copied and verified, and waits for "group migrate office --now"', out
    status, out, _ = s.ferry.ctl_raw("group", "migrate", "office", "--now", "--wait")
    assert status == 0 and out.splitlines()[-1] == "all 2 accounts of the group office are on new", out
    s.assert_moved_as_one()


POINTS = [f"{point}:{nth}" for point, most in (
    ("script.gather.answered", 2), ("script.prepare.sent", 2), ("script.prepare.answered", 3), ("script.freeze.sent", 2),
    ("script.freeze.answered", 2), ("script.rested.answered", 2), ("script.flip.sent", 2), ("script.flip.answered", 3),
    ("journal.sent", 1), ("journal.answered", 2), ("script.flipped.answered", 1)) for nth in range(1, most + 1)]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_gate(make_ferry, servers, authority, point):
    """Two migrators have two members each, and one of them dies: all are flipped as one all the same, and nobody is sent away."""
    s = Sharers(make_ferry, servers, authority, n=4, messages=2)
    s.hurry()
    proxy = s.ferry.proxy()
    s.make()
    with s.signed_in(proxy) as wires:
        dies = s.ferry.migrator(migrator={"jobs": 2}, env={"IMAPFERRY_FAULT": f"{point}:kill"})
        s.ferry.migrator(migrator={"jobs": 2})
        assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
        # How often a member asks at a gate is a matter of how long the others take: a later time may never come.
        net.wait_until("death", lambda: dies.process.poll() is not None or (point[-1] != "1" and s.are_flipped()), timeout=60)
        dies.kill()
        s.flipped()
        assert_live(wires)
    s.assert_all_is_there(4)


def mode_of(ferry, user):
    return [row.split()[2] for row in ferry.redis.client().hgetall(f"imapferry:sessions:{user}").values()]


def test_what_a_grantee_writes_in_the_freeze_is_there(make_ferry, servers, authority):
    """bob's message is on its way into ann's mailbox while hers rest already: her last pass begins once his session rests, too."""
    s = Sharers(make_ferry, servers, authority)
    ann, bob = s.users
    ferry, proxy = s.ferry, s.ferry.proxy()
    s.make()
    with s.signed_in(proxy) as wires:
        of_ann, of_bob = wires[ann], wires[bob]
        message = b"Subject: late\r\n\r\nfrom bob\r\n"
        of_bob.line(b"a APPEND shared/%s/Work {%d}" % (ann.encode(), len(message)))
        of_bob.until(b"+")
        of_bob.send(message[:10])
        trace = os.path.join(ferry.folder, "trace")
        ferry.migrator(env={"IMAPFERRY_FAULT_TRACE": trace})
        assert ferry.ctl("group", "migrate", "office", "--now")[0] == 0

        def passed(point):
            with open(trace, encoding="ascii") as f:
                return f.read().split("\n").count(point)
        net.wait_until("ann asks for bob", lambda: passed("bypass.sent") or passed("script.rested.answered") > 3, 40)
        assert s.states() == ["freezing", "freezing"] and not passed("bypass.sent"), "her last pass has begun"
        assert [mode_of(ferry, u) for u in s.users] == [["frozen"], ["prepared"]]
        of_bob.send(message[10:] + b"\r\n")
        assert of_bob.until(b"a ")[-1].startswith(b"a OK")
        s.flipped()
        seen = of_bob.command(b"n", b"STATUS shared/%s/Work (MESSAGES)" % ann.encode())
        assert any(line.endswith(b"(MESSAGES 4)") for line in seen) and seen[-1].startswith(b"n OK"), seen
        assert of_ann.command(b"n", b"NOOP")[-1].startswith(b"n OK") and ferry.where(bob) == {"new"}
    s.assert_moved_as_one()
    assert_equal(s.old, s.new, ann, 7)
    assert_equal(s.old, s.new, bob, 6)


def test_fewer_connections_than_members(make_ferry, servers, authority):
    """Who waits for the others gives its connections back."""
    s = Sharers(make_ferry, servers, authority, n=4, messages=2)
    for options in s.ferry.backends.values():
        options["max_connections"] = 2
    s.make()
    s.ferry.migrator()
    assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
    s.flipped()
    s.assert_all_is_there(4)


def test_redis_restarts_while_all_stand_still(make_ferry, servers, authority):
    """The attempt ends for all, and the next one moves all."""
    s = Sharers(make_ferry, servers, authority)
    s.hurry(lease="1s", lease_long="1s")
    frozen, go = os.path.join(s.ferry.folder, "frozen"), os.path.join(s.ferry.folder, "go")
    hook = os.path.join(s.ferry.folder, "hook")
    with open(hook, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\ntouch {frozen}\nwhile ! [ -e {go} ]; do sleep 0.05; done\n")
    os.chmod(hook, 0o755)
    os.chmod(s.ferry.folder, 0o777)
    s.make()
    s.ferry.migrator(migration={"hook_freeze": [hook]})
    assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
    net.wait_until("freeze", lambda: os.path.exists(frozen), 40)
    assert s.states() == ["freezing", "freezing"]
    s.ferry.redis.restart()
    with open(go, "w", encoding="ascii"):
        pass
    s.flipped(90)
    s.assert_all_is_there(6)


@pytest.fixture
def sentinels(redis_program):
    with sentinel.Group(failover_timeout=1000, program=redis_program) as g:
        yield g


FAILOVERS = [(point, how) for how in ("stop", "kill") for point in (
    "script.gather.answered:2", "script.prepare.sent:2", "script.prepare.answered:2", "script.freeze.answered:2",
    "script.rested.answered:1", "script.flip.sent:2", "script.flip.answered:2", "journal.sent:1", "script.flipped.sent:1")]


@pytest.mark.parametrize("point,how", FAILOVERS)
def test_failover_at_each_gate(make_ferry, servers, authority, sentinels, point, how):
    """The master dies while the migrator stands still, or is gone: all or none, and in the end all."""
    s = Sharers(lambda *args: make_ferry(*args, store=sentinels), servers, authority)
    s.hurry("5s", lease="5s", lease_long="10s", store_timeout="3s")
    proxy = s.ferry.proxy()
    s.make()
    with s.signed_in(proxy) as wires:
        migrator = s.ferry.migrator(env={"IMAPFERRY_FAULT": f"{point}:stop"})
        assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
        net.wait_until(point, migrator.is_stopped, timeout=40)
        if how == "kill":
            migrator.kill()
        sentinels.wait_replicas()
        before = sentinels.master
        before.kill()
        sentinels.wait_failover(before)
        if how == "kill":
            s.ferry.migrator()
        else:
            migrator.signal(signal.SIGCONT)
        s.flipped(120)
        assert_live(wires)
    s.assert_all_is_there(6)
