"""A backend that refuses everybody is a fault of the configuration: no account is blamed, and nothing is tried over and over."""
import signal

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import backend

MANUAL = {"migration": {"trigger": "manual"}, "migrator": {"retry_min": "20s", "retry_max": "30s", "jobs": 2}}
MOVED = ("flipped", "settled")


def queue(ferry, folder, users):
    (folder / "names").write_text("\n".join(users))
    assert ferry.ctl("migrate", "--all", str(folder / "names"))[0] == 0


def test_master_that_is_refused_stops_the_work_and_goes_on_by_itself(make_ferry, tmp_path):
    """Accounts that were not begun stay queued, staff hear of it, and the first one that is let in ends it."""
    users = [f"u{i}@example.org" for i in range(6)]
    with FakeImap("old") as old, FakeImap("new") as new:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")}, MANUAL)
        right, new.master = new.master, ("admin", "changed")
        m = ferry.migrator()
        queue(ferry, tmp_path, users)
        m.wait("event=backend_rests backend=new why=master")
        net.wait_until("status", lambda: "rests: new refuses the sign-in as master of each account: " in
                       ferry.ctl_raw("status")[1])
        routes = {u: ferry.route(u) for u in users}
        waiting = [u for u in users if routes[u]["state"] == "queued"]
        assert len(waiting) >= 2, routes
        assert sum(int(r["attempts"]) for r in routes.values()) <= 3, routes
        assert "new refuses the sign-in as master" in ferry.user(waiting[-1])["held_up"]
        sign_ins = len(new.commands("AUTHENTICATE"))
        assert sign_ins <= 6  # not once an account, and again and again
        new.master = right
        m.wait("event=backend_rest_over backend=new")
        for user in users:
            if int(routes[user]["attempts"]) == 0:
                ferry.wait_state(user, *MOVED)
        assert m.find("event=backend_rests") and not ferry.user(waiting[-1]).get("held_up")
        assert sum("event=backend_rests" in line for line in m.lines if line) == 1


def test_tls_that_fails_stops_the_work_until_a_reload(make_ferry, authority, tmp_path):
    """The certificate of the new server is none of the file's; the right one comes with SIGHUP, which tries at once."""
    users = [f"t{i}@example.org" for i in range(5)]
    wrong = tmp_path / "ca.pem"
    with open(authority.issue("lone", self_signed=True)[0], "rb") as f:
        wrong.write_bytes(f.read())
    with FakeImap("old") as old, FakeImap("new", cert=authority.issue("new")) as new:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, ca=str(wrong))}, MANUAL)
        m = ferry.migrator()
        queue(ferry, tmp_path, users)
        m.wait("event=backend_rests backend=new why=tls")
        routes = {u: ferry.route(u) for u in users}
        assert sum(int(r["attempts"]) for r in routes.values()) <= 3, routes
        with open(authority.ca, "rb") as f:
            wrong.write_bytes(f.read())
        m.signal(signal.SIGHUP)
        m.wait("event=backend_rest_over backend=new")
        for user in users:
            if int(routes[user]["attempts"]) == 0:
                ferry.wait_state(user, *MOVED)


def test_a_server_that_is_to_be_left_for_itself_moves_nothing(make_ferry, tmp_path):
    """One server under two names: everything there would be verified, and gone once the old server is switched off."""
    users = [f"s{i}@example.org" for i in range(5)]
    with FakeImap("old") as old:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(old, "imap", host="localhost")}, MANUAL)
        m = ferry.migrator()
        queue(ferry, tmp_path, users)
        m.wait("event=backend_rests backend=old why=same_server")
        net.wait_until("status", lambda: "rests: old and new lead to one server, 127.0.0.1:" in ferry.ctl_raw("status")[1])
        net.wait_until("trials", lambda: any("same_server: old and new lead to one server, " in ferry.route(u).get("reason", "")
                                             for u in users))
        routes = [ferry.route(u) for u in users]
        assert all(int(r["attempts"]) == 0 and r["backend"] == "old" for r in routes), routes
        assert not old.commands("APPEND") and not old.commands("LIST")


def test_one_account_that_is_refused_stops_nobody(make_ferry):
    """Whoever is not let in at the new server is tried again and again; the others go."""
    with FakeImap("old") as old, FakeImap("new") as new:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}, "migrator": {"retry_min": "100ms", "retry_max": "100ms"}})
        new.strangers.add("mallory@example.org")
        m = ferry.migrator()
        assert ferry.ctl("migrate", "mallory@example.org")[0] == 0
        net.wait_until("attempts", lambda: int(ferry.route("mallory@example.org")["attempts"]) >= 4)
        assert ferry.ctl("migrate", "ann@example.org")[0] == 0
        ferry.wait_state("ann@example.org", *MOVED)
        assert not m.find("event=backend_rests")
