"""A proxy with many sessions while Redis is slow, was away, or is another server."""
import threading
import time

from harness.relay import UP, Relay
from harness.scene import connect, new_user

LEASE = 1.0
SETTINGS = {"proxy": {"lease": "1s", "lease_long": "5s", "threads": 1}, "migration": {"trigger": "login", "cutover": "manual"}}


def test_a_connection_on_which_calls_pile_up_costs_no_lease(make_ferry, backends, redis):
    """One call takes longer than the lease, on the connection that it is sent on; a session of an engaged account goes on."""
    slow, held = new_user("slow"), threading.Event()

    def edit(direction, data):
        if direction == UP and slow.encode() in data and not held.is_set():
            held.set()
            time.sleep(2.5 * LEASE)
        return data
    relay = Relay(redis.address, edit=edit)
    ferry = make_ferry(backends, SETTINGS)
    proxy = ferry.proxy(redis={"url": relay.redis_url})
    with connect(proxy) as live, connect(proxy) as waits:
        assert live.login(new_user("live")).startswith(b"l1 OK")
        waits.send(b"s LOGIN %s secret\r\n" % slow.encode())
        assert held.wait(10)
        until = time.monotonic() + 2.2 * LEASE
        while time.monotonic() < until:
            began = time.monotonic()
            assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
            assert time.monotonic() - began < LEASE / 2
        assert waits.until(b"s ")[-1].startswith(b"s OK")
    assert not proxy.find("event=lease_lapsed")
    relay.close()
