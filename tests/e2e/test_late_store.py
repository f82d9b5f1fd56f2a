"""A command that a migrator had sent when it died, and that the new server executes later, if ever: nobody is switched over
before it can't be executed any more, and what the user was told OK for behind the flip stands."""
import os
import re
import threading
import time

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.relay import DOWN, UP, Relay
from harness.scene import assert_equal, fill, new_user, small

pytestmark = pytest.mark.writes_source

MESSAGES = 12
WITHOUT_CONDSTORE = ["-CONDSTORE", "-QRESYNC"]


class Held:
    """A server that has got a STORE and is slow with it."""

    def __init__(self, server):
        self.arrived, self.go, self.answered = threading.Event(), threading.Event(), threading.Event()
        self.relay = Relay(("127.0.0.1", server.port["imap"]), self._edit, patient=True)

    def _edit(self, direction, data):
        if direction == UP and b" UID STORE " in data and not self.arrived.is_set():
            self.arrived.set()
            self.go.wait()
        if direction == DOWN and self.go.is_set() and (b"Store completed" in data or b"MODIFIED" in data):
            self.answered.set()
        return data

    def release(self):
        self.go.set()
        assert self.answered.wait(20)

    def close(self):
        self.go.set()
        self.relay.close()


def begin(make_ferry, old, new, **settings):
    """An account that was copied, a flag changed since, and a migrator that has died over its STORE."""
    options = settings.pop("options", {})
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap", **options)},
                       {"migrator": dict({"job_lease": "900ms", "command_timeout": "2s"}, **settings.pop("migrator", {})),
                        "migration": dict({"cutover": "manual"}, **settings)})
    user = new_user("store")
    fill(old, user, small(messages=MESSAGES))
    held = Held(new)
    first = ferry.migrator(backends={"new": backend(held.relay, "imap", **options)})
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    flag(old, user, "INBOX", "FLAGS.SILENT", "(\\Flagged)")
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    assert held.arrived.wait(20), first.tail()
    first.kill()
    return ferry, user, held


def flag(server, user, name, how, flags):
    m = mail.connect(server, user, "secret")
    m.select(name)
    assert m.store("1:3", how, flags)[0] == "OK"
    m.logout()


def flags_of(server, user):
    m = mail.connect(server, user, "secret")
    m.select("INBOX", readonly=True)
    answer = m.fetch("1", "(FLAGS)")[1][0].lower()
    m.logout()
    return answer


def test_it_is_waited_for_and_then_does_nothing_to_what_the_user_changed(make_ferry, old, new):
    ferry, user, held = begin(make_ferry, old, new)
    second = ferry.migrator()
    second.wait("event=settle_waits")
    assert ferry.route(user)["state"] == "ready", "the user works on the old server meanwhile"
    ferry.wait_state(user, "flipped")
    flag(new, user, "INBOX", "FLAGS.SILENT", "(\\Answered)")
    held.release()
    assert b"\\answered" in flags_of(new, user) and b"\\flagged" not in flags_of(new, user)
    held.close()


def test_without_condstore_it_is_waited_for(make_ferry, old, new):
    """It is executed in that time; the source has changed its mind by then."""
    ferry, user, held = begin(make_ferry, old, new, options={"capabilities": WITHOUT_CONDSTORE})
    flag(old, user, "INBOX", "FLAGS.SILENT", "(\\Draft)")
    second = ferry.migrator()
    second.wait("event=settle_waits")
    held.release()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, MESSAGES)
    held.close()


def test_what_is_done_later_still_is_told(make_ferry, old, new):
    """Nothing can stop it, without CONDSTORE; so the late watch says of which messages staff may ask the user."""
    ferry, user, held = begin(make_ferry, old, new, options={"capabilities": WITHOUT_CONDSTORE}, late_watch="30d")
    flag(old, user, "INBOX", "FLAGS.SILENT", "(\\Draft)")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    held.release()
    ferry.redis.client().zadd("imapferry:late", {user: 1})

    def told():
        return [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "late"]
    assert all("has the flags (\\Flagged)" in x for x in net.wait_until("word of it", told))
    assert len(told()) == 3
    held.close()


def test_a_hook_that_ends_its_connection_ends_the_wait(make_ferry, old, new):
    path = net.temp_folder("kick")
    ferry, user, held = begin(make_ferry, old, new, migrator={"command_timeout": "5m"},
                              hook_kick=["/usr/bin/touch", os.path.join(path, "%t-%u")])
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert os.listdir(path) == [f"new-{user}"]
    net.remove_folder(path)
    held.close()


def test_also_by_force_and_by_hold_and_release(make_ferry, old, new):
    ferry, user, held = begin(make_ferry, old, new)
    assert ferry.ctl("hold", user, "--reason", "test")[0] == 0
    assert ferry.ctl("release", user)[0] == 0
    assert ferry.ctl("flip", user, "--to", "new", "--force", "--reason", "test")[0] == 0
    second = ferry.migrator()
    second.wait("event=settle_waits")
    held.release()
    assert ferry.route(user)["backend"] == "old"
    ferry.wait_state(user, "flipped")
    held.close()


# ---- APPEND, RENAME, DELETE

LATE_MAIL = b"Subject: late\r\n\r\nlate body\r\n"
LEASE, TIMEOUT = 0.9, 5.0  # so long that all three are still waited for when the last of them is claimed
HOLDS = {"APPEND": b"late body\r\n", "RENAME": b" RENAME ", "DELETE": b" DELETE "}


class HeldBack:
    """A server that has got these commands whole, one of each, and is slow with them; what is behind each waits too."""

    def __init__(self, server):
        self.arrived = {verb: threading.Event() for verb in HOLDS}
        self.answered = {verb: threading.Event() for verb in HOLDS}
        self.go, self._tail, self._tags = threading.Event(), b"", {}
        self.relay = Relay(("127.0.0.1", server.port["imap"]), self._edit, patient=True)

    def _edit(self, direction, data):
        seen = self._tail + data if direction == UP else b""
        self._tail = seen[-4000:] if direction == UP else self._tail
        for verb, mark in HOLDS.items():
            if direction == UP and not self.arrived[verb].is_set() and mark in (data if verb != "APPEND" else seen):
                self._tags[verb] = re.findall(rb"(\w+) " + verb.encode(), seen)[-1]
                self.arrived[verb].set()
                self.go.wait()
            if direction == DOWN and self.go.is_set() and re.search(rb"(?m)^%s (OK|NO) " % self._tags[verb], data):
                self.answered[verb].set()
        return data

    def release(self):
        self.go.set()
        for verb, event in self.answered.items():
            assert event.wait(20), verb

    def close(self):
        self.go.set()
        self.relay.close()


def source_changes(old, user, verb):
    """What a migrator brings over by this command."""
    m = mail.connect(old, user, "secret")
    if verb == "APPEND":
        m.append("INBOX", None, None, LATE_MAIL)
    elif verb == "RENAME":
        m.rename("INBOX.Box", "INBOX.Moved")
    else:
        m.delete("INBOX.Box")
    m.logout()


def test_append_rename_and_delete_of_a_dead_owner_are_waited_for(make_ferry, old, new):
    """Three accounts, the same death. The commands are executed in that time, unknown to whoever goes on."""
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")},
                       {"migrator": {"job_lease": f"{LEASE * 1000:.0f}ms", "command_timeout": f"{TIMEOUT * 1000:.0f}ms"},
                        "migration": {"cutover": "manual"}})
    users = {verb: new_user(verb.lower()) for verb in HOLDS}
    for user in users.values():
        m = mail.connect(old, user, "secret")
        m.append("INBOX", None, None, b"Subject: 1 %s\r\n\r\n" % user.encode())
        m.create("INBOX.Box")
        m.append("INBOX.Box", None, None, b"Subject: 2 %s\r\n\r\n" % user.encode())
        m.logout()
    held = HeldBack(new)
    first = ferry.migrator(backends={"new": backend(held.relay, "imap")})
    for user in users.values():
        assert ferry.ctl("migrate", user)[0] == 0
    for verb, user in users.items():
        ferry.wait_state(user, "ready")
        source_changes(old, user, verb)
    began = time.time()
    for verb, user in users.items():
        assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
        assert held.arrived[verb].wait(20), first.tail()
    first.kill()
    second = ferry.migrator()
    for user in users.values():
        second.wait(f"event=settle_waits user={user}")
        assert ferry.route(user)["backend"] == "old"
    held.release()
    for user in users.values():
        ferry.wait_state(user, "flipped")
    for number, event in ferry.redis.client().xrange("imapferry:events"):
        if event.get("state") == "flipped":
            assert int(number.split("-")[0]) / 1000 - began >= LEASE + TIMEOUT, event
    for verb, user in users.items():
        with_box_anew(new, user)
        assert texts_of(new, user, "INBOX").count(b"Subject: late") == (verb == "APPEND")
        assert texts_of(new, user, "Moved" if verb == "RENAME" else "INBOX")
    held.close()


def with_box_anew(new, user):
    """A mailbox of the name that was taken away or had another one is the user's; where it stayed, it is as it was."""
    m = mail.connect(new, user, "secret")
    if m.create("Box")[0] == "OK":
        assert m.append("Box", None, None, b"Subject: mine\r\n\r\n")[0] == "OK"
    m.logout()
    assert len(texts_of(new, user, "Box")) == 1


def texts_of(server, user, name):
    m = mail.connect(server, user, "secret")
    assert m.select(name, readonly=True)[0] == "OK"
    found = [p[1].strip() for p in m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(p, tuple)]
    m.logout()
    return found
