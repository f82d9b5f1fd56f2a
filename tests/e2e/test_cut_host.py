"""A migrator's host that loses its network for longer than the lease of its jobs: what it had sent stays in its kernel, and
must not arrive once another migrator has done the work. And a proxy's host whose packets are lost in the middle of a
switch-over, for shorter and for longer than its lease."""
import re
import signal

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.host import Host
from harness.relay import UP, Relay
from harness.scene import Wire, assert_equal, connect, fill, new_user, read

MESSAGES, SIZE = 18, 6000


class Away:
    """A migrator on a host of its own, and the relays that it reaches the rest by."""

    def __init__(self, ferry, old, new, host):
        self.ferry, self.host = ferry, host
        self.target = Relay(("127.0.0.1", new.port["imap"]), self._edit, host=host.here, receive_buffer=4096)
        self.source = Relay(("127.0.0.1", old.port["imap"]), host=host.here)
        self.store = Relay(("127.0.0.1", ferry.redis.port), host=host.here)
        self.begun = self.target.tripped
        self.migrator = ferry.migrator(wrapper=host.wrapper, redis={"url": self.store.redis_url},
                                       backends={"old": backend(self.source, "imap"), "new": backend(self.target, "imap")})

    def _edit(self, direction, data):
        """Reads no more once an APPEND has begun: the rest stays in the other host's kernel."""
        if direction == UP and b" APPEND " in data and not self.begun.is_set():
            self.target.stall()
            self.begun.set()
        return data

    def close(self):
        for relay in (self.target, self.source, self.store):
            relay.close()


def ledger_has(ferry, user, kind):
    client = ferry.redis.client()
    return any(entry.split()[1] == kind for key in client.keys(f"imapferry:ledger:{user}:*")
               for entry in client.lrange(key, 0, -1))


@pytest.fixture
def host():
    with Host() as h:
        yield h


@pytest.mark.parametrize("how", ["cut", "stopped", "killed"])
def test_an_append_in_a_kernel_that_was_cut_off_does_not_arrive(make_ferry, old, new, host, how):
    """cut: the migrator itself gives its connections up in time. stopped, killed: only the kernel can."""
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")}, {"migrator": {"job_lease": "3s"}})
    user = new_user("cut")
    fill(old, user, mail.sample(3, MESSAGES, [("INBOX",)], sizes=(SIZE, SIZE + 1)))
    assert ferry.ctl("migrate", user)[0] == 0
    away = Away(ferry, old, new, host)
    assert away.begun.wait(20)
    net.wait_until("the whole APPEND in the kernel", lambda: ledger_has(ferry, user, "sent"))
    net.wait_until("its end too", lambda: host.unsent(away.target.number) >= MESSAGES * SIZE // 2)
    if how == "stopped":
        away.migrator.signal(signal.SIGSTOP)
    host.cut()
    assert host.unsent(away.target.number) > 0
    if how == "killed":
        away.migrator.kill()
    other = ferry.migrator()
    other.wait("event=job_taken_over")
    assert host.unsent(away.target.number) == 0, "it may still arrive, and another works on the account already"
    ferry.wait_state(user, "flipped", timeout=60)
    assert read(new, user).count == MESSAGES
    away.target.resume()
    host.heal()
    if how == "stopped":
        away.migrator.signal(signal.SIGCONT)
    if how != "killed":
        away.migrator.stop()
    assert_equal(old, new, user, MESSAGES)
    away.close()


def counter_of(ferry, proxy):
    """Of its lease; it moves with each renewal."""
    return int(next(value for name, value in ferry.redis.client().hgetall("imapferry:proxies").items()
                    if name.startswith(proxy.label)).split()[0])


@pytest.mark.parametrize("how", ["cut", "stopped"])
def test_what_a_proxy_has_sent_to_the_server_that_is_left_does_not_arrive(make_ferry, old, new, host, how):
    """A server that takes nothing keeps its session for as long as the lease holds. Once the proxy is gone for its term, what is
    left in its kernel is gone too, before the account is on the other server."""
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")},
                       {"proxy": {"lease": "2s", "lease_long": "4s"}, "migration": {"cutover": "manual"}})
    user = new_user("cut")
    fill(old, user, mail.sample(3, 5, [("INBOX",)]))
    source, store = Relay(("127.0.0.1", old.port["imap"]), host=host.here, receive_buffer=4096), \
        Relay(("127.0.0.1", ferry.redis.port), host=host.here)
    target = Relay(("127.0.0.1", new.port["imap"]), host=host.here)
    proxy = ferry.proxy([f"imap://{host.there}:0"], wrapper=host.wrapper, redis={"url": store.redis_url},
                        proxy={"allow_plaintext": True, "threads": 1},
                        backends={"old": backend(source, "imap"), "new": backend(target, "imap")})
    migrator = ferry.migrator()
    wire = Wire(proxy.addresses[0])
    wire.read_line()
    assert wire.login(user).startswith(b"l1 OK")
    epoch = ferry.wait_state(user, "ready")["epoch"]
    net.wait_until("proxy that has seen the epoch", lambda: {row.split()[1] for row in ferry.redis.client().hvals(
        f"imapferry:sessions:{user}")} == {epoch})
    wire.line(b"a APPEND INBOX {200000}")
    assert wire.read_line().startswith(b"+")
    source.stall()
    wire.send(b"x" * 60000)
    net.wait_until("its kernel to be full", lambda: host.unsent(source.number) > 0)
    if how == "stopped":
        before = counter_of(ferry, proxy)
        net.wait_until("more than a term", lambda: counter_of(ferry, proxy) >= before + 4)
        assert host.unsent(source.number) > 0 and not proxy.find("event=session_end"), "nothing was wrong with its lease"
        proxy.signal(signal.SIGSTOP)
    else:
        host.cut()
    assert host.unsent(source.number) > 0
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=60)
    assert host.unsent(source.number) == 0, "it may still arrive"
    migrator.wait("event=proxy_silent")
    source.resume()
    proxy.signal(signal.SIGCONT)
    host.heal()
    proxy.wait("event=session_end")
    assert_equal(old, new, user, 5)
    proxy.stop()
    for relay in (source, store, target):
        relay.close()


class Proxied:
    """A proxy on a host of its own, which reaches both servers and the store over its only line, as its clients reach it."""

    def __init__(self, ferry, old, new, host):
        self.relays = [Relay(("127.0.0.1", port), host=host.here) for port in (old.port["imap"], new.port["imap"], ferry.redis.port)]
        source, target, store = self.relays
        self.proxy = ferry.proxy(listen=[f"imap://{host.there}:0"], wrapper=host.wrapper, redis={"url": store.redis_url},
                                 proxy={"allow_plaintext": True}, backends={"old": backend(source, "imap"), "new": backend(target, "imap")})

    def session(self, user):
        wire = connect(self.proxy, timeout=30)
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        return wire

    def close(self):
        for relay in self.relays:
            relay.close()


def flags_of(server, user):
    with mail.connect(server, user, "secret") as m:
        m.select("INBOX", readonly=True)
        return [set(re.search(rb"FLAGS \(([^)]*)\)", row)[1].split()) for row in m.uid("FETCH", "1:*", "(FLAGS)")[1]]


def answered(wire, tag):
    """Whether the client was told OK; None where the connection ended first."""
    while (line := wire.read_line()) is not None:
        if line.startswith(tag):
            return line.startswith(tag + b"OK")
    return None


@pytest.mark.writes_source
@pytest.mark.parametrize("point", ["freeze", "flip", "flipped"])
@pytest.mark.parametrize("lasts", ["short", "long"])
def test_packets_of_a_proxy_are_lost_in_a_switch_over(make_ferry, old, new, host, point, lasts):
    """short: its lease outlives that, and the client stays connected, over the flip too. long: the account moves without that proxy.
    What the client says meanwhile comes to the proxy behind it: told OK, it holds on the new server."""
    long = lasts == "long"
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")},
                       {"proxy": {"lease": "1s" if long else "9s", "lease_long": "2s" if long else "20s"},
                        "migrator": {"job_lease": "20s"}, "migration": {"trigger": "manual", "freeze_budget": "20s"}})
    user = new_user("lost")
    fill(old, user, mail.sample(3, 20, [("INBOX",)]))
    proxied = Proxied(ferry, old, new, host)
    wire = proxied.session(user)
    assert wire.command(b"f", b"UID STORE 1:* +FLAGS.SILENT (before)")[-1].startswith(b"f OK")
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": f"script.{point}.answered:1:stop"})
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    net.wait_until(point, migrator.is_stopped, timeout=40)
    host.cut()
    migrator.signal(signal.SIGCONT)
    wire.line(b"g UID STORE 1:* +FLAGS.SILENT (after)")
    if long:
        ferry.wait_state(user, "flipped", timeout=60)
    else:
        net.wait_until("packets that are lost", lambda: any(host.unsent(r.number) > 0 for r in proxied.relays))
    host.heal()
    told = answered(wire, b"g ")
    ferry.wait_state(user, "flipped", timeout=60)
    assert told or (long and told is None), told
    found = flags_of(new, user)
    assert len(found) == 20 and all(b"before" in flags for flags in found)
    assert not told or all(b"after" in flags for flags in found)
    again = proxied.session(user)
    assert again.command(b"l", b"UID STORE 1:* +FLAGS.SILENT (last)")[-1].startswith(b"l OK")
    assert all(b"last" in flags for flags in flags_of(new, user))
    proxied.close()
