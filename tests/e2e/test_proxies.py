"""Several proxies, dead proxies, proxies that can't reach Redis."""
import concurrent.futures
import imaplib
import re
import signal
import threading
import time

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.relay import UP, Relay
from harness.scene import assert_equal, connect, fill, new_user, sign_in_twice, small

LEASE, LEASE_LONG = 1.0, 6.0
TERMS = {"proxy": {"lease": "1s", "lease_long": "6s"}, "migration": {"trigger": "manual", "cutover": "manual"}}
SLACK = 3.0  # a loaded machine, and the watch's own margin


def sessions(ferry, user):
    """session -> [backend, epoch, mode, address, since] as they are registered."""
    found = ferry.redis.client().hgetall(f"imapferry:sessions:{user}")
    return {name: row.split(" ") for name, row in found.items()}


def test_fifty_logins_through_two_proxies_make_one_job(ferry, old, new):
    user = new_user("crowd")
    fill(old, user, small(messages=30))
    proxies = [ferry.proxy(proxy={"threads": 2}), ferry.proxy(proxy={"threads": 2})]
    start = threading.Barrier(50)

    def login(n):
        wire = connect(proxies[n % 2], timeout=40)
        start.wait(30)
        assert wire.login(user).startswith(b"l1 OK")
        return wire
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        wires = list(pool.map(login, range(50)))
    client = ferry.redis.client()
    assert client.xlen("imapferry:jobs") == 1 and client.xlen("imapferry:jobs:bulk") == 0
    assert len(sessions(ferry, user)) == 50
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    states = [e["state"] for _, e in client.xrange("imapferry:events") if e.get("user") == user and e["kind"] == "state"]
    assert states.count("queued") == 1 and states.count("flipped") == 1, states
    for wire in wires:
        assert wire.separator() == "."
    assert {row[0] for row in sessions(ferry, user).values()} == {"new"}
    for wire in wires:
        wire.close()
    assert_equal(old, new, user, 30)


def seconds_to_flip(ferry, user):
    """From the order to flip until it is done."""
    began = time.monotonic()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    return time.monotonic() - began


def test_proxy_killed_during_the_copy_holds_the_flip_up_for_the_short_term(make_ferry, old, new, authority):
    user = new_user("dead")
    fill(old, user, small(messages=30))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")},
                       {"proxy": TERMS["proxy"]})
    dead, alive = ferry.proxy(), ferry.proxy()
    wires = [connect(dead), connect(dead)]
    for wire in wires:
        assert wire.login(user).startswith(b"l1 OK")
    relay.stall_after(10000)
    ferry.migrator(migrator={"job_lease": "30s", "command_timeout": "30s"})
    assert relay.tripped.wait(20)
    epoch = ferry.route(user)["epoch"]
    net.wait_until("proxy that has seen the epoch",
                   lambda: {row[1] for row in sessions(ferry, user).values()} == {epoch})
    dead.kill()
    killed = time.monotonic()
    relay.resume()
    ferry.wait_state(user, "flipped", timeout=60)
    assert time.monotonic() - killed < 1.1 * LEASE + SLACK < LEASE_LONG
    with connect(alive) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert "new" in ferry.where(user) and wire.separator() == "."
    relay.close()
    assert_equal(old, new, user, 30)


def test_killed_proxy_that_knew_of_nothing_holds_it_up_for_the_long_term(make_ferry, backends, old, new):
    user = new_user("dead")
    fill(old, user, small(messages=10))
    ferry = make_ferry(backends, TERMS)
    dead, alive = ferry.proxy(), ferry.proxy()
    wire = connect(dead)
    assert wire.login(user).startswith(b"l1 OK")
    dead.kill()
    killed = time.monotonic()
    with connect(alive) as other:  # a new login works meanwhile
        assert other.login(user).startswith(b"l1 OK")
        other.command(b"z", b"LOGOUT")
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")
    said = threading.Thread(target=lambda: reasons.append(net.wait_until(
        "a reason", lambda: re.match(r"proxy: waits for the silent proxy (\S+) on host \S+, .* until 20\S+Z$",
                                     ferry.redis.client().hget(f"imapferry:route:{user}", "reason") or ""))))
    reasons = []
    said.start()
    taken = seconds_to_flip(ferry, user)
    said.join()
    assert reasons[0][1].startswith(dead.label) and not ferry.user(user)["reason"], "it holds no more"
    assert time.monotonic() - killed > LEASE_LONG * 0.9, "the long term was not waited for"
    assert taken < 1.1 * LEASE_LONG + SLACK
    assert_equal(old, new, user, 10)


@pytest.mark.writes_source
def test_proxy_cut_off_from_redis_during_a_flip_passes_nothing_on_after_its_lease(make_ferry, backends, redis, old, new):
    """Whatever the client was told OK for is on the server that its account ended on."""
    user = new_user("cut")
    fill(old, user, small(messages=10))
    relay = Relay(redis.address)
    ferry = make_ferry(backends, {**TERMS, "migration": {"trigger": "login", "cutover": "manual"}})
    proxy = ferry.proxy(redis={"url": relay.redis_url})
    ferry.migrator()
    client = ferry.login(proxy, user, "secret", timeout=30)
    epoch = ferry.wait_state(user, "ready")["epoch"]
    net.wait_until("proxy that has seen the epoch",
                   lambda: {row[1] for row in sessions(ferry, user).values()} == {epoch})
    acknowledged, ended = [], threading.Event()

    def write():
        """Appends as fast as it goes, and notes what it was told OK for, and when."""
        n = 0
        try:
            while True:
                n += 1
                body = f"Subject: note {n}\r\n\r\n{n}\r\n".encode()
                if client.append("INBOX", "", None, body)[0] == "OK":
                    acknowledged.append((time.monotonic(), n))
        except (imaplib.IMAP4.error, OSError):
            ended.set()
    writer = threading.Thread(target=write)
    writer.start()
    net.wait_until("messages that were acknowledged", lambda: len(acknowledged) > 5)
    relay.stall()
    cut = time.monotonic()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    relay.resume()
    assert ended.wait(30), "the session still goes on"
    writer.join(10)
    last, _ = acknowledged[-1]
    assert last - cut < LEASE, f"an OK was passed on {last - cut:.2f} s after the cut"
    missing = {n for _, n in acknowledged} - notes(new, user)
    assert not missing, f"acknowledged and not on the new server: {missing}"
    relay.close()


@pytest.mark.writes_source
def test_migrator_of_a_shorter_lease_waits_for_the_proxys(make_ferry, backends, redis, old, new):
    """As while `lease` is being changed. A proxy that is cut off acknowledges by its own lease for as long."""
    user = new_user("unequal")
    fill(old, user, small(messages=3))
    relay = Relay(redis.address)
    ferry = make_ferry(backends, {"proxy": {"lease": "1s", "lease_long": "1s"},
                                  "migration": {"trigger": "login", "cutover": "manual"}})
    proxy = ferry.proxy(redis={"url": relay.redis_url}, proxy={"lease": "30s", "lease_long": "60s"})
    migrator = ferry.migrator()
    client = ferry.login(proxy, user, "secret", timeout=30)
    epoch = ferry.wait_state(user, "ready")["epoch"]
    net.wait_until("proxy that has seen the epoch",
                   lambda: {row[1] for row in sessions(ferry, user).values()} == {epoch})
    relay.stall()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    acknowledged, began = 0, time.monotonic()
    while time.monotonic() - began < 3 * 1.1:
        acknowledged += 1
        body = f"Subject: note {acknowledged}\r\n\r\n".encode()
        assert client.append("INBOX", "", None, body)[0] == "OK"
    assert ferry.route(user)["state"] in ("queued", "copying", "ready") and not migrator.find("proxy_evicted")
    relay.resume()
    ferry.wait_state(user, "flipped", timeout=60)
    assert notes(new, user) == set(range(1, acknowledged + 1))
    relay.close()


@pytest.mark.writes_source
def test_nothing_passes_in_either_direction_once_the_lease_is_over(make_ferry, redis, old, new, authority):
    """The old server answers late, tells an IDLE of new mail and would take further commands. What it did is not
    acknowledged, and what it is not yet told it never hears."""
    user = new_user("gate")
    fill(old, user, small(messages=5))
    to_redis, to_old = Relay(redis.address), Relay(("127.0.0.1", old.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, TERMS)
    proxy = ferry.proxy(redis={"url": to_redis.redis_url}, backends={"old": backend(to_old, "imap")})
    ferry.migrator()
    wire, idle = sign_in_twice(proxy, user)
    assert ferry.ctl("migrate", user)[0] == 0
    epoch = ferry.wait_state(user, "ready")["epoch"]
    net.wait_until("proxy that has seen the epoch",
                   lambda: {row[1] for row in sessions(ferry, user).values()} == {epoch})
    assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")

    up, mark = to_old.passed["up"], proxy.mark()
    to_old.stall()
    wire.line(b"a STORE 1 +FLAGS.SILENT (late)")
    to_redis.stall()
    proxy.wait("event=lease_lapsed", since=mark)
    to_old.resume()
    net.wait_until("command at the old server", lambda: late_keyword(old, user))
    m = mail.connect(old, user, "secret")
    m.append("INBOX", None, None, b"Subject: news for the IDLE\r\n\r\n")
    m.logout()
    sent = net.wait_until("command that was sent in time", lambda: to_old.passed["up"] - up)
    wire.line(b"b STORE 2 +FLAGS.SILENT (never)")
    idle.line(b"DONE")
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    with connect(proxy) as other:  # the thread has been round since, and it is at work
        assert other.command(b"x", b"NOOP")[-1].startswith(b"x OK")
    assert to_old.passed["up"] - up == sent, "something went to the old server after the lease"
    for w in (wire, idle):
        assert not w.buffer
        w.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            w.socket.recv(1)
        w.socket.settimeout(15)
    to_redis.resume()
    for w in (wire, idle):
        lines = w.rest()
        assert len(lines) == 1 and lines[0].startswith(b"* BYE [UNAVAILABLE]"), lines
        w.close()
    to_redis.close()
    to_old.close()
    assert not late_keyword(old, user, "never")


class Hold:
    """The edit of a relay to Redis: holds up what names one of the sessions, once it is armed."""

    def __init__(self):
        self.names, self.held, self.go = [], threading.Event(), threading.Event()

    def __call__(self, direction, data):
        if direction == UP and any(name.encode() in data for name in self.names):
            self.held.set()
            self.go.wait(60)
        return data


def announce(client, user, **fields):
    """A change of the route, as a migrator's script would make it."""
    client.hset(f"imapferry:route:{user}", mapping=fields)
    route = client.hgetall(f"imapferry:route:{user}")
    client.xadd("imapferry:events", {
        "n": client.hincrby("imapferry:store", "events", 1), "user": user, "kind": "state", "state": route["state"],
        "epoch": route["epoch"], "backend": "old", "target": "new", "left": 60000, "generation": route["generation"]})


def freeze(ferry, user):
    client = ferry.redis.client()
    now = client.time()[0] * 1000
    base = {"backend": "old", "source": "old", "target": "new", "owner": "token", "epoch": 5, "generation": 1}
    announce(client, user, state="preparing", prepared=now, deadline=now + 60000, **base)
    net.wait_until("sign-ins at the target", lambda: {row[2] for row in sessions(ferry, user).values()} == {"prepared"})
    announce(client, user, state="freezing")
    net.wait_until("sessions at rest", lambda: {row[2] for row in sessions(ferry, user).values()} == {"frozen"})


@pytest.mark.writes_source
@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_passes_on_a_new_master_before_the_session_is_registered_there(make_ferry, redis, old, new, authority, frozen):
    """The new master has lost the registrations, and the proxy's answer to that takes long."""
    user, hold = new_user("failover"), Hold()
    fill(old, user, small(messages=3))
    to_redis, to_old = Relay(redis.address, edit=hold), Relay(("127.0.0.1", old.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {**TERMS, "proxy": {"lease": "3s", "lease_long": "60s"}})
    proxy = ferry.proxy(redis={"url": to_redis.redis_url}, backends={"old": backend(to_old, "imap")},
                        proxy={"lease": "6s", "store_timeout": "30s"})
    client = ferry.redis.client()
    wire, idle = sign_in_twice(proxy, user)
    if frozen:
        freeze(ferry, user)
    hold.names = list(sessions(ferry, user))
    client.hset("imapferry:store", "generation", 2)
    client.delete(f"imapferry:sessions:{user}")
    incarnation = hold.names[0].rpartition("/")[0]
    net.wait_until("renewal", lambda: client.hget("imapferry:proxies", incarnation).split(" ")[3] == "2")
    if frozen:
        announce(client, user, state="ready", generation=2)
    assert hold.held.wait(30)

    up, down = to_old.passed["up"], to_old.passed["down"]
    wire.line(b"n NOOP")
    m = mail.connect(old, user, "secret")
    m.append("INBOX", None, None, b"Subject: news for the IDLE\r\n\r\n")
    m.logout()
    if not frozen:  # its IDLE was ended
        net.wait_until("news at the proxy", lambda: to_old.passed["down"] > down)
    with connect(proxy) as other:  # the thread has been round since
        assert other.command(b"x", b"NOOP")[-1].startswith(b"x OK")
    assert to_old.passed["up"] == up, "a command went to the old server"
    for w in (wire, idle):
        assert not w.buffer
        w.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            pytest.fail(f"it was told {w.socket.recv(4096)}, {proxy.tail()}")
        w.socket.settimeout(15)
    assert not sessions(ferry, user)
    hold.go.set()
    assert wire.until(b"n ")[-1].startswith(b"n OK")
    while not idle.until(b"* ")[-1].endswith(b" EXISTS"):
        pass
    assert set(sessions(ferry, user)) == set(hold.names)
    for w in (wire, idle):
        w.close()
    to_redis.close()
    to_old.close()


ENTERED = b"*3\r\n$2\r\nok\r\n$7\r\nresting\r\n$1\r\n0\r\n"  # what `enter` answers


class Late:
    """The edit of a relay to Redis: the answer of one `enter` comes late, and is the last that passes."""

    def __init__(self):
        self.armed, self.held, self.go = threading.Event(), threading.Event(), threading.Event()
        self.relay = None

    def __call__(self, direction, data):
        end = data.find(ENTERED)
        if direction == UP or end < 0 or not self.armed.is_set():
            return data
        self.held.set()
        self.go.wait(60)
        self.relay.stall()
        return data[:end + len(ENTERED)]


@pytest.mark.writes_source
def test_login_that_the_engagement_overtook_begins_on_the_short_term(make_ferry, redis, old, new, authority):
    """The store counts the short one: the registration was there when the proxy said that it knows."""
    user, late = new_user("overtaken"), Late()
    fill(old, user, small(messages=3))
    to_redis, to_old = Relay(redis.address, edit=late), Relay(("127.0.0.1", old.port["imap"]))
    late.relay = to_redis
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {**TERMS, "proxy": {"lease": "5s", "lease_long": "60s"}})
    proxy = ferry.proxy(redis={"url": to_redis.redis_url}, backends={"old": backend(to_old, "imap")},
                        proxy={"store_timeout": "30s"})
    client = ferry.redis.client()
    first, second = connect(proxy), connect(proxy)
    assert first.login(user).startswith(b"l1 OK")
    late.armed.set()
    second.line(b'l1 LOGIN "' + user.encode() + b'" secret')
    assert late.held.wait(20)
    base = {"backend": "old", "source": "old", "target": "new", "generation": 1}
    announce(client, user, state="queued", epoch=0, **base)
    announce(client, user, state="copying", epoch=1, engaged=1, owner="token")
    net.wait_until("both registrations have seen it",
                   lambda: [row[1] for row in sessions(ferry, user).values()] == ["1", "1"])
    mark = proxy.mark()
    late.go.set()
    assert second.until(b"l1 ")[-1].startswith(b"l1 OK")
    proxy.wait("event=lease_lapsed", since=mark)
    up = to_old.passed["up"]
    second.line(b"n NOOP")
    with connect(proxy) as other:  # the thread has been round since
        assert other.command(b"x", b"NOOP")[-1].startswith(b"x OK")
    assert to_old.passed["up"] == up, "a command went to the old server after the short term"
    second.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        second.socket.recv(1)
    for w in (first, second):
        w.close()
    to_redis.resume()
    to_redis.reset()
    to_redis.close()
    to_old.close()


def test_proxy_that_wakes_after_the_flip_passes_nothing_on(make_ferry, backends, old, new):
    user = new_user("asleep")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, TERMS)
    proxy = ferry.proxy()
    ferry.migrator()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        assert ferry.ctl("migrate", user)[0] == 0
        epoch = ferry.wait_state(user, "ready")["epoch"]
        net.wait_until("proxy that has seen the epoch",
                       lambda: {row[1] for row in sessions(ferry, user).values()} == {epoch})
        proxy.signal(signal.SIGSTOP)
        net.wait_until("proxy at rest", proxy.is_stopped)
        try:
            wire.line(b"a STORE 1 +FLAGS.SILENT (late)")
            assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
            ferry.wait_state(user, "flipped", timeout=60)
        finally:
            proxy.signal(signal.SIGCONT)
        lines = wire.rest()
        assert len(lines) == 1 and lines[0].startswith(b"* BYE [UNAVAILABLE]"), lines
    assert not late_keyword(old, user) and not late_keyword(new, user)
    assert_equal(old, new, user, 5)


def test_what_dead_proxies_leave_behind_is_swept(make_ferry, backends, old):
    """Their registrations of accounts that nobody moves, and then they themselves; also one that is known no more. One that was only stopped is told so: no byte
    passes for a session whose registration is gone, though its server has answered."""
    user = new_user("swept")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"proxy": {"lease": "1s", "lease_long": "2s"}, "migration": {"trigger": "manual"}})
    crashed, asleep, alive = ferry.proxy(), ferry.proxy(), ferry.proxy()
    wires = [connect(proxy) for proxy in (crashed, asleep, alive)]
    for wire in wires:
        assert wire.login(user).startswith(b"l1 OK")
    store = ferry.redis.client()
    before = store.hlen("imapferry:proxies")
    store.hset(f"imapferry:sessions:{user}", "ended.0-0123456789abcdef/7", "old 0 running 192.0.2.1 0")
    crashed.kill()
    asleep.signal(signal.SIGSTOP)
    net.wait_until("proxy at rest", asleep.is_stopped)
    try:
        wires[1].line(b"a NOOP")
        ferry.migrator()
        net.wait_until("a sweep", lambda: len(sessions(ferry, user)) == 1 and 3 * store.hlen("imapferry:proxies") == before)
        assert "silent" in str(ferry.ctl("status")[1]["proxies"]) and not ferry.route(user)
    finally:
        asleep.signal(signal.SIGCONT)
    lines = wires[1].rest()
    assert len(lines) == 1 and lines[0].startswith(b"* BYE [UNAVAILABLE]"), lines
    assert wires[2].command(b"b", b"NOOP")[-1].startswith(b"b OK")
    with connect(asleep) as again:
        assert again.login(user).startswith(b"l1 OK")
    for wire in wires:
        wire.close()


def test_proxy_that_staff_declare_dead_is_not_waited_for(make_ferry, backends, old, new):
    """One that lives is not forgotten; one that is gone holds nothing up; one that was but stopped drops all its sessions when it
    wakes, those too whose lease would be good for long."""
    user, resting = new_user("forgotten"), new_user("resting")
    fill(old, user, small(messages=5))
    fill(old, resting, small(messages=5))
    ferry = make_ferry(backends, {"proxy": {"lease": "500ms", "lease_long": "300s", "threads": 1}, "migration": {"trigger": "manual"}})
    dead, asleep, alive = ferry.proxy(), ferry.proxy(), ferry.proxy()
    wires = {name: connect(proxy) for name, proxy in (("dead", dead), ("asleep", asleep), ("alive", alive))}
    wires["resting"] = connect(asleep)
    for name, wire in wires.items():
        assert wire.login(resting if name == "resting" else user).startswith(b"l1 OK")
    status, answer = ferry.ctl("proxy", "forget", alive.label, "--yes", "--reason", "test")
    assert status == 4 and "it lives" in answer["error"]
    dead.kill()
    asleep.signal(signal.SIGSTOP)
    net.wait_until("proxy at rest", asleep.is_stopped)
    try:
        ferry.migrator()
        assert ferry.ctl("migrate", user)[0] == 0
        net.wait_until("a reason", lambda: ferry.route(user).get("reason", "").startswith("proxy: waits for the silent proxy "))
        status, answer = ferry.ctl("proxy", "forget", dead.label)
        assert status == 4 and (answer["sessions"], answer["accounts"], answer["being_moved"]) == (1, 1, 1), answer
        assert ", waited for until 2" in ferry.ctl_raw("status")[1]
        assert "may serve them until 2" in answer["error"] and len(sessions(ferry, user)) == 3
        assert ferry.ctl("proxy", "forget", dead.label, "--yes")[0] == 2  # no reason
        for label, count in ((dead.label, 1), (asleep.label, 2)):
            status, answer = ferry.ctl("proxy", "forget", label, "--yes", "--reason", "its host burnt")
            assert status == 0 and answer["sessions"] == count, answer
        ferry.wait_state(user, "flipped", "settled")
        assert [e["what"] for e in ferry.ctl("audit")[1]["audit"]].count("proxy forget") == 2
        assert "lives" not in str(ferry.ctl("status")[1]) and not sessions(ferry, resting)
    finally:
        asleep.signal(signal.SIGCONT)
    for name in ("asleep", "resting"):
        assert wires[name].rest()[-1].startswith(b"* BYE [UNAVAILABLE]")
    asleep.wait("event=lease_forgotten")
    with connect(asleep) as again:
        assert again.login(resting).startswith(b"l1 OK")
    assert wires["alive"].command(b"b", b"NOOP")[-1].startswith(b"b OK")
    assert ferry.ctl("proxy", "forget", "no-such")[0] == 1
    for wire in wires.values():
        wire.close()


def late_keyword(server, user, keyword="late"):
    """Has a message this keyword on the server itself?"""
    m = mail.connect(server, user, "secret")
    m.select("INBOX", readonly=True)
    found = m.search(None, "KEYWORD", keyword)[1][0]
    m.logout()
    return found


def notes(server, user):
    """The numbers of the notes in INBOX."""
    m = mail.connect(server, user, "secret")
    m.select("INBOX", readonly=True)
    heads = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return {int(x) for part in heads if isinstance(part, tuple) for x in re.findall(rb"Subject: note (\d+)", part[1])}


def test_proxy_cut_off_from_redis_serves_resting_accounts_for_the_long_term(make_ferry, backends, redis, old):
    user = new_user("calm")
    relay = Relay(redis.address)
    ferry = make_ferry(backends, {**TERMS, "proxy": {"lease": "500ms", "lease_long": "3s"}})
    proxy = ferry.proxy(redis={"url": relay.redis_url}, proxy={"store_timeout": "500ms"})
    client = ferry.login(proxy, user, "secret", timeout=10)
    relay.stall()
    began = time.monotonic()
    served = 0
    while True:
        try:
            assert client.noop()[0] == "OK"
            served = time.monotonic() - began
            if served > 10:
                break
        except (imaplib.IMAP4.error, OSError):
            break
    assert 1.5 < served < 3, f"served for {served:.2f} s"
    with connect(proxy) as wire:
        assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")
    relay.resume()
    net.wait_until("login after the outage", lambda: can_login(proxy, user), timeout=15, step=0.2)
    relay.close()


def can_login(proxy, user):
    with connect(proxy) as wire:
        return wire.login(user).startswith(b"l1 OK")


def test_short_outage_of_redis_goes_unnoticed(make_ferry, backends, redis, old):
    """Shorter than the short term: a session of an engaged account waits, and loses nothing."""
    user = new_user("blink")
    relay = Relay(redis.address)
    ferry = make_ferry(backends, {**TERMS, "proxy": {"lease": "2s", "lease_long": "6s"},
                                  "migration": {"trigger": "login", "cutover": "manual"}})
    proxy = ferry.proxy(redis={"url": relay.redis_url})
    client = ferry.login(proxy, user, "secret", timeout=10)
    passed = relay.passed["up"]
    relay.reset()
    assert client.noop()[0] == "OK"
    net.wait_until("new connection to Redis", lambda: relay.passed["up"] > passed)
    assert client.noop()[0] == "OK"
    relay.close()
