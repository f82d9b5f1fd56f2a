"""What Prometheus and others are told of both daemons: values after what really happened, and names by their rules."""
import os
import subprocess

import pytest

from fakes.fake_imap import FakeImap
from harness import mail, net
from harness.daemon import program
from harness.ferry import backend
from harness.monitor import LISTEN, ask, check, metrics, text, wait_metric
from harness.scene import connect, fill, new_user, small

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_logins_and_a_migration(ferry, old, new):
    """A login, a refused one, and an account that is switched over under an open session."""
    user = new_user()
    fill(old, user, small(messages=20))
    proxy, migrator = ferry.proxy(proxy=LISTEN), ferry.migrator(migrator=LISTEN)
    before = metrics(proxy)
    assert before["imapferry_logins_total", "ok"] == 0 and before["imapferry_backend_open_breakers", "old"] == 0
    with connect(proxy) as stranger:
        assert stranger.login(user, "not the password").startswith(b"l1 NO")
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        ferry.wait_state(user, "flipped")
        proxy.wait("event=handed_over")
        wait_metric(proxy, ("imapferry_handovers_total", "moved", ""), 1)
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        now = metrics(proxy)
        assert now["imapferry_sessions", "relay"] == 1
    wait_metric(proxy, ("imapferry_sessions", "relay"), 0)
    now = metrics(proxy)
    assert now["imapferry_logins_total", "ok"] == 1 and now["imapferry_logins_total", "refused"] == 1
    assert now["imapferry_login_duration_seconds_count", "ok"] == 1
    assert 0 < now["imapferry_login_duration_seconds_sum", "ok"] < 20
    assert now["imapferry_connections_total",] == 2
    assert now["imapferry_session_bytes_total", "in"] >= len("s SELECT INBOX\r\n")
    assert now["imapferry_session_bytes_total", "out"] > 100
    assert now["imapferry_session_freeze_duration_seconds_count", "moved"] == 1
    assert now["imapferry_handover_duration_seconds_count",] == 1
    assert now["imapferry_backend_signins_total", "old", "ok"] == 1
    assert now["imapferry_backend_signins_total", "old", "refused"] == 1
    assert now["imapferry_backend_signins_total", "new", "ok"] >= 1
    assert now["imapferry_backend_signin_duration_seconds_count", "old"] == 1
    assert now["imapferry_redis_calls_total", "ok"] >= now["imapferry_redis_call_duration_seconds_count",] > 0
    assert now["imapferry_redis_calls_total", "lost"] == 0
    assert now["imapferry_store_up", "1"] == now["imapferry_ready",] == 1
    assert sum(n for key, n in now.items() if key[0] == "imapferry_sessions_ended_total") == 2

    wait_metric(migrator, ("imapferry_jobs_total", "flipped"), 1)
    done = metrics(migrator)
    assert done["imapferry_flips_total", "old", "new"] == 1
    assert done["imapferry_freeze_duration_seconds_count", "flipped"] == 1
    assert done["imapferry_freeze_duration_seconds_count", "thawed"] == 0
    assert done["imapferry_messages_copied_total",] == done["imapferry_messages_verified_total",] == 20
    assert done["imapferry_copied_bytes_total",] == done["imapferry_verified_bytes_total",] > 20 * 300
    assert sum(n for key, n in done.items() if key[0] == "imapferry_jobs_running") == 0
    for body in (text(proxy), text(migrator)):
        check(body)
        assert user.partition("@")[0] not in body
    for daemon in (proxy, migrator):
        assert metrics(daemon)["imapferry_log_lines_total", "info"] == len(daemon.find(" level=info "))


def test_accounts_and_a_pause(ferry, old):
    user = new_user()
    fill(old, user, small(messages=2))
    assert ferry.ctl("hold", user, "--reason", "first")[0] == 0
    assert ferry.ctl("pause", "--reason", "a look")[0] == 0
    migrator = ferry.migrator(migrator=LISTEN)
    wait_metric(migrator, ("imapferry_accounts", "held"), 1)
    now = metrics(migrator)
    assert now["imapferry_migrations_paused",] == 1
    assert now["imapferry_accounts", "flipped"] == 0
    assert now["imapferry_accounts_at_backend", "old"] == 1


def test_a_thaw(make_ferry, backends, old):
    """The site's hook fails in the freeze: the account goes on at the old server, and is tried again."""
    user = new_user()
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "hook_freeze": ["/bin/false"]}})
    migrator = ferry.migrator(migrator=LISTEN)
    assert ferry.ctl("migrate", user)[0] == 0
    migrator.wait("event=thawed .*why=hook")
    now = net.wait_until("the job's end", lambda: (lambda m: m["imapferry_jobs_total", "backoff"] > 0 and m)(metrics(migrator)))
    assert now["imapferry_thaws_total", "hook"] >= 1
    assert now["imapferry_freeze_duration_seconds_count", "thawed"] >= 1
    assert now["imapferry_freeze_duration_seconds_count", "flipped"] == 0
    assert ("imapferry_flips_total", "old", "new") not in now


@pytest.mark.writes_source
def test_a_late_arrival(make_ferry, backends, old):
    user = new_user()
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "late_watch": "8s"}})
    migrator = ferry.migrator(migrator=LISTEN)
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    client = mail.connect(old, user, "secret")
    client.append("INBOX", "", None, b"Subject: late\r\n\r\nlate\r\n")
    client.logout()
    migrator.wait("event=late ")
    wait_metric(migrator, ("imapferry_late_arrivals_total",), 1)
    now = metrics(migrator)
    assert now["imapferry_late_looks_total", "copied"] == 1 and now["imapferry_late_looks_total", "failed"] == 0
    assert now["imapferry_messages_copied_total",] == 4


def test_a_difference(make_ferry):
    """A target that does not take a message: the account is blocked."""
    with FakeImap("old") as old, FakeImap("new") as new:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap", capabilities=["APPENDLIMIT=200"])},
                           {"migration": {"trigger": "manual"}})
        user = new_user()
        old.add(user, "INBOX", b"Subject: large\r\n\r\n" + b"x" * 500 + b"\r\n")
        migrator = ferry.migrator(migrator=LISTEN)
        assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(user, "blocked")
        wait_metric(migrator, ("imapferry_jobs_total", "blocked"), 1)
        assert metrics(migrator)["imapferry_differences_total", "too_large"] == 1


def test_a_backend_that_fails(make_ferry):
    with FakeImap("new") as new:
        dead = net.free_port()
        ferry = make_ferry({"old": {"address": f"imap://127.0.0.1:{dead}"}, "new": backend(new, "imap", master=False)},
                           {"migration": {"trigger": "manual"}})
        proxy = ferry.proxy(proxy={**LISTEN, "login_tries": 20})
        for n in range(7):
            with connect(proxy) as wire:
                assert b"[UNAVAILABLE]" in wire.login(new_user())
        now = metrics(proxy)
        assert now["imapferry_logins_total", "unavailable"] == 7
        assert now["imapferry_backend_signins_total", "old", "unavailable"] == 5
        assert now["imapferry_backend_open_breakers", "old"] == now["imapferry_breaker_openings_total", "old"] == 1
        assert now["imapferry_logins_refused_at_once_total", "old"] == 2
        assert now["imapferry_backend_dead_addresses", "old"] == 1
        assert now["imapferry_backend_open_breakers", "new"] == 0
        check(text(proxy))


def test_ready(ferry):
    """Ready while Redis answers and the lease holds; the body says what is missing."""
    proxy, migrator = ferry.proxy(proxy=LISTEN), ferry.migrator(migrator=LISTEN)
    for daemon in (proxy, migrator):
        net.wait_until("it is ready", lambda d=daemon: ask(d, "/readyz")[:2] == (200, "ready\n"))
        assert ask(daemon, "/healthz")[:2] == (200, "ok\n")
    ferry.redis.kill()
    net.wait_until("the lease is over", lambda: "the lease is not held" in ask(proxy, "/readyz")[1])
    for daemon in (proxy, migrator):
        net.wait_until("it is not ready", lambda d=daemon: ask(d, "/readyz")[0] == 503)
        assert "Redis does not answer" in ask(daemon, "/readyz")[1]
        assert ask(daemon, "/healthz")[0] == 200
        assert metrics(daemon)["imapferry_ready",] == metrics(daemon)["imapferry_store_up", "1"] == 0
    assert metrics(proxy)["imapferry_lease_lapses_total",] == 1


def test_ready_without_a_store(make_ferry, fake):
    new = {"address": f"imap://127.0.0.1:{net.free_port()}"}
    ferry = make_ferry({"old": backend(fake, "imap", master=False), "new": new}, init=False)
    migrator = ferry.migrator(wait=False, migrator=LISTEN)
    status, body, _ = ask(migrator, "/readyz")
    assert status == 503 and "does not hold the store of this site" in body
    ferry.init()
    net.wait_until("it is ready", lambda: ask(migrator, "/readyz")[0] == 200)


def test_unix_socket_and_what_is_not_there(ferry):
    path = os.path.join(ferry.folder, "metrics")
    proxy = ferry.proxy(proxy={"metrics_listen": f"http+unix://{path}"})
    assert ask(proxy, "/readyz")[0] == 200
    assert ask(proxy, "/")[0] == ask(proxy, "/metrics/x")[0] == 404
    assert ask(proxy, "/metrics", "POST")[0] == 405
    proxy.stop()
    assert not os.path.exists(path)


def test_bad_address(ferry):
    for kind in ("proxy", "migrator"):
        for wrong in ("https://127.0.0.1:1", "127.0.0.1:9143", "http://127.0.0.1:1/metrics"):
            path = ferry.config("bad", **{kind: {"metrics_listen": wrong}})
            run = subprocess.run([program(f"imapferry-{kind}"), "-c", path, "--check-conf"], capture_output=True, text=True, check=False)
            assert run.returncode == 1 and f"{kind}: metrics_listen: " in run.stderr, run.stderr


def test_page_of_all_metrics():
    """conf/METRICS.md is what the programs say that there is."""
    page = subprocess.run([program("imapferry-proxy"), "--print-metrics"], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(ROOT, "conf", "METRICS.md"), encoding="utf-8") as f:
        assert f.read() == page
