"""A STORE that a migrator had sent when it died, and that the new server executes only when another one has switched the
account over: what the user was told OK for by then stands."""
import os
import threading

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
