"""A migrator's host that loses its network for longer than the lease of its jobs: what it had sent stays in its kernel, and
must not arrive once another migrator has done the work."""
import signal

import pytest

from harness import mail, net
from harness.ferry import backend
from harness.host import Host
from harness.relay import UP, Relay
from harness.scene import assert_equal, fill, new_user, read

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
