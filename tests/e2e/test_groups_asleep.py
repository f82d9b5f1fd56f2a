"""Groups in hard times: few places and connections, a migrator that stands still at a gate, or behind the common flip."""
import signal

import pytest

from harness import net
from test_groups import Sharers, assert_live, servers  # noqa: F401: a fixture


def test_one_place_and_one_connection(make_ferry, servers, authority):
    """Five members, a migrator with one place and one connection to each server: nobody waits with what another needs."""
    def with_one_connection(backends, *more):
        for section in backends.values():
            section["max_connections"] = 1
        return make_ferry(backends, *more)
    s = Sharers(with_one_connection, servers, authority, n=5, messages=1)
    s.make()
    s.ferry.migrator(migrator={"jobs": 1})
    assert s.ferry.ctl("group", "migrate", "office", "--now", "--reason", "test")[1]["queued"] == 5
    s.flipped()
    s.assert_moved_as_one()


@pytest.mark.parametrize("point", ["script.prepare.answered:2", "script.freeze.answered:2", "script.rested.answered:2", "script.flip.answered:2",
                                   "journal.answered:1"])
def test_asleep_at_each_gate(make_ferry, servers, authority, point):
    """One of two migrators stands still, and wakes when all is done by the other: it touches nothing, and nobody is sent away."""
    s = Sharers(make_ferry, servers, authority, n=4, messages=2)
    s.hurry(lease="1s", lease_long="1s")
    s.ferry.settings["migration"]["freeze_budget"] = "3s"
    proxy = s.ferry.proxy()
    s.make()
    with s.signed_in(proxy) as wires:
        sleeps = s.ferry.migrator(migrator={"jobs": 2}, env={"IMAPFERRY_FAULT": f"{point}:stop"})
        s.ferry.migrator(migrator={"jobs": 2})
        assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
        net.wait_until("it sleeps", sleeps.is_stopped, timeout=60)
        s.flipped()
        sleeps.signal(signal.SIGCONT)
        assert_live(wires)
    s.assert_all_is_there(4)


def test_one_is_there_and_the_other_is_about_to_be(make_ferry, servers, authority):
    """Behind the common flip one migrator sleeps: who is on the new server writes into the mailbox of who is not told yet, and finds it there."""
    s = Sharers(make_ferry, servers, authority)
    s.ferry.settings["migrator"]["job_lease"] = "5s"
    proxy = s.ferry.proxy()
    s.make()
    with s.signed_in(proxy, b"Work") as wires:
        sleeps = s.ferry.migrator(migrator={"jobs": 1}, env={"IMAPFERRY_FAULT": "journal.sent:1:stop"})
        s.ferry.migrator(migrator={"jobs": 1})
        assert s.ferry.ctl("group", "migrate", "office", "--now")[0] == 0
        net.wait_until("it sleeps", sleeps.is_stopped, timeout=60)
        net.wait_until("one is there", lambda: sorted(s.states()) == ["flipped", "flipping"])
        there, behind = sorted(s.users, key=lambda u: s.ferry.route(u)["state"])
        body = b"Subject: meanwhile\r\n\r\nx\r\n"
        wire = wires[there]
        wire.line(b'p APPEND "shared/%s/Work" (\\Flagged) {%d+}' % (behind.encode(), len(body)))
        wire.send(body + b"\r\n")
        assert wire.until(b"p ")[-1].startswith(b"p OK")
        assert wire.command(b"t", b'STATUS "shared/%s/Work" (MESSAGES)' % behind.encode())[0].endswith(b"(MESSAGES 4)")
        assert s.ferry.route(behind)["state"] == "flipping"
        s.flipped()
        sleeps.signal(signal.SIGCONT)
        wire = wires[behind]
        assert any(b"4 EXISTS" in line for c in (b"n1", b"n2") for line in wire.command(c, b"NOOP"))
        assert b"Subject: meanwhile" in b"".join(wire.command(b"f", b"FETCH 4 BODY.PEEK[HEADER.FIELDS (SUBJECT)]"))
    s.assert_moved_as_one()
