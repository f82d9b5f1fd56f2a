"""The short time in which an account is switched over, and the end of a proxy: nobody loses a command that was answered,
nobody waits for ever, and what fails goes back to where it was."""
import os
import signal
import threading
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import mail, net
from harness.ferry import backend
from harness.relay import Relay
from harness.scene import assert_equal, connect, fill, new_user, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}


def ready(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    return ferry.wait_state(user, "ready")


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0




def test_login_during_the_freeze_waits_and_lands_on_the_new_server(make_ferry, old, new, authority):
    user = new_user()
    fill(old, user, small(messages=10))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")}, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator()
    ready(ferry, user)
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        relay.delay(0.1)
        flip(ferry, user)
        net.wait_until("freeze", lambda: ferry.route(user)["state"] == "freezing", step=0.002)
        with connect(proxy) as late:
            assert late.login(user).startswith(b"l1 OK")
            assert late.separator() == wire.separator() == "."
            assert ferry.where(user) == {"new"}
    ferry.wait_state(user, "flipped")
    relay.close()
    assert_equal(old, new, user, 10)


# ---- a login in a freeze that does not end by itself

@pytest.fixture
def fakes():
    with FakeImap(name="old") as old_one, FakeImap(name="new") as new_one:
        yield old_one, new_one


def still(ferry, user, state="freezing"):
    """The account stands still until thaw() or flipped(): no migrator has it."""
    now, _ = ferry.redis.client().time()
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": "old", "state": state, "epoch": 3, "generation": 1, "source": "old", "target": "new", "owner": "o",
        "deadline": (now + 60) * 1000})


def becomes(ferry, user, state, backend_name):
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": backend_name, "state": state, "epoch": 4, "owner": "", "deadline": 0})


def on_fakes(make_ferry, fakes, **settings):
    old_one, new_one = fakes
    checked_at = settings.pop("auth_backend", None)
    options = {"auth_backend": checked_at} if checked_at else {}
    return make_ferry({"old": backend(old_one, "imap", **options), "new": backend(new_one, "imap")},
                      {"proxy": {"hold_max": "20s"}, **settings})


@pytest.mark.parametrize("state", ["freezing", "flipping"])
def test_wrong_password_in_a_freeze_is_refused_like_any_other(make_ferry, fakes, state):
    """Who had to wait knew that there is such an account."""
    ferry = on_fakes(make_ferry, fakes)
    proxy = ferry.proxy()
    still(ferry, "ann", state)
    answers, times = [], []
    for name in ("nobody", "ann"):
        with connect(proxy) as wire:
            began = time.monotonic()
            answers.append(wire.login(name, "wrong"))
            times.append(time.monotonic() - began)
    assert answers[0] == answers[1] and answers[0].startswith(b"l1 NO [AUTHENTICATIONFAILED]"), answers
    assert abs(times[0] - times[1]) < 0.9, times
    assert not proxy.find("login_waits") and not ferry.redis.client().exists("imapferry:sessions:ann")


@pytest.mark.parametrize("end", ["flipped", "ready"])
def test_right_password_in_a_freeze_waits_and_writes_nothing(make_ferry, fakes, end):
    old_one, new_one = fakes
    ferry = on_fakes(make_ferry, fakes)
    proxy = ferry.proxy()
    still(ferry, "ann")
    with connect(proxy) as wire:
        wire.send(b"l1 LOGIN ann secret\r\nc CREATE Fresh\r\n")
        proxy.wait("login_waits")
        assert not ferry.redis.client().exists("imapferry:sessions:ann")
        assert old_one.sign_ins("ann") == 1 and new_one.sign_ins("ann") == 0
        assert not old_one.commands("", "ann")
        becomes(ferry, "ann", end, "new" if end == "flipped" else "old")
        assert wire.until(b"l1 ")[-1].startswith(b"l1 OK")
        assert wire.until(b"c ")[-1].startswith(b"c OK")
    there, elsewhere = (new_one, old_one) if end == "flipped" else (old_one, new_one)
    assert there.commands("CREATE", "ann") and not elsewhere.commands("CREATE", "ann")
    assert there.sign_ins("ann") == 1


def test_server_that_closes_the_waiting_login_s_connection(make_ferry, fakes):
    old_one, _ = fakes
    ferry = on_fakes(make_ferry, fakes)
    proxy = ferry.proxy()
    still(ferry, "ann")
    with connect(proxy) as wire:
        wire.line(b"l1 LOGIN ann secret")
        proxy.wait("login_waits")
        old_one.drop_all()
        becomes(ferry, "ann", "ready", "old")
        assert wire.until(b"l1 ")[-1].startswith(b"l1 OK")
    assert old_one.sign_ins("ann") == 2


def test_site_that_closes_the_old_server_in_the_freeze(make_ferry, fakes):
    """A login that it denies is no wrong password."""
    old_one, new_one = fakes
    ferry = on_fakes(make_ferry, fakes, migration={"hook_freeze": ["/bin/true"]})
    proxy = ferry.proxy()
    still(ferry, "ann")
    old_one.passwords["ann"] = b"denied"
    with connect(proxy) as wire:
        assert wire.login("ann", "wrong").startswith(b"l1 NO [AUTHENTICATIONFAILED]")
        wire.line(b"l2 LOGIN ann secret")
        proxy.wait("login_waits")
        becomes(ferry, "ann", "flipped", "new")
        assert wire.until(b"l2 ")[-1].startswith(b"l2 OK")
    assert new_one.sign_ins("ann") == 1 and old_one.sign_ins("ann") == 0


def test_password_that_another_backend_checks(make_ferry, fakes):
    """The old server can't: its master is for after the check, and for no other server."""
    old_one, new_one = fakes
    ferry = on_fakes(make_ferry, fakes, auth_backend="new")
    proxy = ferry.proxy()
    still(ferry, "ann")
    with connect(proxy) as wire:
        assert wire.login("ann", "wrong").startswith(b"l1 NO [AUTHENTICATIONFAILED]")
        wire.line(b"l2 LOGIN ann secret")
        proxy.wait("login_waits")
        assert old_one.sign_ins("ann") == 0
        becomes(ferry, "ann", "flipped", "new")
        assert wire.until(b"l2 ")[-1].startswith(b"l2 OK")
    assert [how for user, how in new_one.logins if user == "ann"] == ["user", "user"]
    assert old_one.sign_ins("ann") == 0


def test_login_waits_no_longer_than_hold_max(make_ferry, fakes):
    ferry = on_fakes(make_ferry, fakes, proxy={"hold_max": "1s"})
    with connect(ferry.proxy()) as wire:
        still(ferry, "ann")
        assert wire.login("ann").startswith(b"l1 NO [UNAVAILABLE]")


@pytest.mark.parametrize("has_a_session", [True, False])
def test_registration_of_a_login_whose_answer_was_lost(make_ferry, backends, old, new, has_a_session):
    """A proxy that lives has a registration and no session for it: nobody waits for it, whether the proxy has other sessions of
    the account or none."""
    user = new_user()
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "freeze_budget": "2s"}})
    proxy, store = ferry.proxy(), ferry.redis.client()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        name, session = next(iter(store.hgetall(f"imapferry:sessions:{user}").items()))
        if not has_a_session:
            assert wire.command(b"z", b"LOGOUT")[-1].startswith(b"z OK")
            net.wait_until("end of the session", lambda: not store.exists(f"imapferry:sessions:{user}"))
        store.hset(f"imapferry:sessions:{user}", name.rpartition("/")[0] + "/999999", session)
        ferry.migrator()
        assert ferry.ctl("migrate", user)[0] == 0
        assert ferry.wait_state(user, "flipped")["attempts"] == "0"
    states = [e["state"] for _, e in store.xrange("imapferry:events") if e["user"] == user and e["kind"] == "state"]
    assert states.count("preparing") == 1, states


@pytest.mark.writes_source
def test_freeze_that_takes_too_long_thaws(make_ferry, backends, old, new):
    """A session whose client does not read can't come to rest: never a flip after the deadline. A login that waited goes
    to the old server, the session goes on, and later the account moves."""
    user = new_user()
    fill(old, user, small(messages=2, big=(20 << 20,)))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual", "cutover": "manual", "freeze_budget": "1s"}})
    proxy = ferry.proxy()
    ferry.migrator()
    ready(ferry, user)
    with connect(proxy) as slow, connect(proxy) as late:
        assert slow.login(user).startswith(b"l1 OK")
        assert slow.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        slow.line(b"f FETCH 1:* (BODY[])")  # which sets \\Seen
        slow.read_line()
        flip(ferry, user)
        net.wait_until("freeze", lambda: ferry.route(user)["state"] == "freezing")
        began = time.monotonic()
        assert late.login(user).startswith(b"l1 OK")
        assert time.monotonic() - began > 0.3, "the login did not wait"
        assert late.separator() == "."
        route = ferry.route(user)
        assert route["backend"] == "old" and route["state"] not in ("flipping", "flipped") and route["reason"], route
        assert slow.until(b"f ")[-1].startswith(b"f OK")
    ferry.wait_state(user, "flipped", timeout=60)
    assert_equal(old, new, user, 3)


def test_command_under_way_ends_before_the_session_goes_over(make_ferry, old, new, authority):
    """A slow FETCH is answered to its end."""
    user = new_user()
    fill(old, user, small(messages=5, big=(6 << 20,)))
    relay = Relay(("127.0.0.1", old.port["imap"]))
    ferry = make_ferry({"old": backend(relay, "imap"), "new": backend(new, ca=authority.ca)}, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator(backends={"old": backend(old, ca=authority.ca)})
    ready(ferry, user)
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        relay.delay(0.02)
        wire.line(b"f FETCH 1:* (BODY.PEEK[])")
        wire.read_line()
        flip(ferry, user)
        net.wait_until("freeze", lambda: ferry.route(user)["state"] in ("freezing", "flipping", "flipped"))
        assert wire.until(b"f ")[-1].startswith(b"f OK")
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        ferry.wait_state(user, "flipped", timeout=60)
    relay.close()


@pytest.mark.writes_source
def test_what_was_acknowledged_before_the_flip_is_on_the_new_server(make_ferry, backends, old, new):
    """A client writes as fast as it can through the whole switch-over."""
    user = new_user()
    fill(old, user, small(messages=10))
    ferry = make_ferry(backends, MANUAL)
    proxy = ferry.proxy()
    ferry.migrator()
    ready(ferry, user)
    acknowledged = []
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            try:
                client = ferry.login(proxy, user, "secret")
                while not stop.is_set():
                    n += 1
                    if client.append("INBOX", "", None, f"Subject: note {n}\r\n\r\n".encode())[0] == "OK":
                        acknowledged.append(n)
            except (client.error, OSError):
                continue
    writer = threading.Thread(target=write)
    writer.start()
    try:
        net.wait_until("messages before", lambda: len(acknowledged) > 10)
        flip(ferry, user)
        ferry.wait_state(user, "flipped", timeout=60)
        after = len(acknowledged)
        net.wait_until("messages after", lambda: len(acknowledged) > after + 10)
    finally:
        stop.set()
        writer.join(20)
    m = mail.connect(new, user, "secret")
    m.select("INBOX", readonly=True)
    heads = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    found = b"".join(part[1] for part in heads if isinstance(part, tuple))
    missing = [n for n in acknowledged if b"note %d\r\n" % n not in found]
    assert not missing, missing


# ---- SIGTERM

def test_drain(make_ferry, backends, old):
    """No new connections; an IDLE ends at once, a command is answered first; all hear BYE [UNAVAILABLE]."""
    ferry = make_ferry(backends, {"proxy": {"drain_time": "1s"}, "migration": {"trigger": "manual"}})
    user = new_user()
    fill(old, user, small(messages=3, big=(4 << 20,)))
    proxy = ferry.proxy(["imap://127.0.0.1:0"])
    wires = [connect(proxy, timeout=30) for _ in range(6)]
    for wire in wires:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    idle, busy, *rest = wires
    idle.line(b"i IDLE")
    idle.until(b"+")
    busy.line(b"f FETCH 1:* (BODY.PEEK[])")
    busy.read_line()
    not_signed_in = connect(proxy)
    port = int(proxy.addresses[0].rpartition(":")[2])
    proxy.signal(signal.SIGTERM)
    for wire in [idle, not_signed_in, *rest]:
        assert wire.rest()[-1].startswith(b"* BYE [UNAVAILABLE]")
    assert not net.accepts(("127.0.0.1", port))
    lines = busy.rest()
    assert any(x.startswith(b"f OK") for x in lines) and lines[-1].startswith(b"* BYE [UNAVAILABLE]"), lines[-3:]
    proxy.stop(timeout=10)
    assert ferry.redis.client().hgetall("imapferry:proxies") == {}
    assert not ferry.redis.client().exists(f"imapferry:sessions:{user}")


def stuck(ferry, old):
    """A proxy with a session whose client asked for much and reads nothing of it."""
    user = new_user()
    fill(old, user, small(messages=1, big=(20 << 20,)))
    proxy = ferry.proxy()
    wire = connect(proxy)
    assert wire.login(user).startswith(b"l1 OK")
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    wire.line(b"f FETCH 1:* (BODY.PEEK[])")
    wire.read_line()
    return proxy, wire


DRAIN = {"proxy": {"drain_time": "500ms", "close_timeout": "500ms"}, "migration": {"trigger": "manual"}}


def test_drain_does_not_wait_for_ever_for_a_client_that_reads_nothing(make_ferry, backends, old):
    proxy, wire = stuck(make_ferry(backends, DRAIN), old)
    proxy.stop(timeout=30)
    wire.close()


def hail(daemon, seconds=8):
    """SIGTERM again and again until it is gone, by its own end and not by one of them."""
    end = time.monotonic() + seconds
    while daemon.process.poll() is None:
        assert time.monotonic() < end, daemon.tail()
        daemon.signal(signal.SIGTERM)
        os.sched_yield()
    daemon.stop()


def test_second_signal_ends_at_once(make_ferry, backends, old):
    """And any further one is harmless, whenever it comes."""
    proxy, wire = stuck(make_ferry(backends, DRAIN), old)
    proxy.signal(signal.SIGTERM)
    proxy.wait("event=draining")
    hail(proxy)
    wire.close()


def test_migrator_stops_in_the_middle_of_a_copy(ferry, old, new):
    """SIGTERM gives the job back; the next one goes on."""
    user = new_user()
    fill(old, user, small(messages=200, big=(8 << 20,)))
    ferry.login(ferry.proxy(), user, "secret")
    migrator = ferry.migrator()
    ferry.wait_state(user, "copying")
    migrator.stop(timeout=15)
    assert ferry.route(user)["backend"] == "old"
    other = ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 201)
    hail(other)


def test_threads(ferry, old, new):
    """Two threads, many sessions, one account and several."""
    proxy = ferry.proxy(proxy={"threads": 2})
    ferry.migrator()
    users = [new_user() for _ in range(6)]
    for user in users:
        fill(old, user, small(messages=4))
    clients = [ferry.login(proxy, u, "secret") for u in users for _ in range(3)]
    assert len(clients) == 18
    for user in users:
        ferry.wait_state(user, "flipped")
        assert_equal(old, new, user, 4)
