"""How many connections an account and a network may have."""
import pytest

from fakes.fake_imap import FakeImap
from harness import net, redisd
from harness.ferry import Ferry
from harness.scene import Wire, new_user

WEB = {"trusted": ["127.0.0.0/8"], "login_timeout": "20s"}


@pytest.fixture(scope="module")
def ferry():
    store = redisd.Redis(port=net.free_port(), fsync="everysec")
    with FakeImap() as old, FakeImap() as new:
        made = Ferry(store, {"old": {"address": old.url()}, "new": {"address": new.url()}}, None,
                     {"migration": {"trigger": "manual"}})
        made.init()
        yield made
        try:
            made.close()
        finally:
            store.close()


def come(proxy, user, ip=None):
    """A connection for this address, and what its login was told."""
    w = Wire(proxy.addresses[0], timeout=20)
    w.read_line()
    if ip:
        assert w.command(b"i", b'ID ("x-originating-ip" "%s")' % ip.encode())[-1].startswith(b"i OK")
    return w, w.command(b"l", b"LOGIN " + user.encode() + b" secret")[-1]


def test_connections_of_an_account_at_two_proxies(ferry):
    proxies = [ferry.proxy(proxy={**WEB, "max_connections_per_account": 4, "threads": 2}) for _ in range(2)]
    user = new_user()
    live = [come(proxies[n % 2], user, f"198.18.0.{n}") for n in range(4)]
    assert all(said.startswith(b"l OK") for _, said in live)
    refused, said = come(proxies[1], user, "198.18.0.9")
    assert said == b"l NO [LIMIT] Too many connections of this account, please close some"
    proxies[1].wait(rf"event=login_failed user={user} code=LIMIT .* detail=\"the account has as many connections as it may\"")
    assert come(proxies[1], new_user())[1].startswith(b"l OK")
    live[0][0].close()
    net.wait_until("place", lambda: ferry.redis.client().hlen(f"imapferry:sessions:{user}") == 3)
    assert refused.command(b"m", b"LOGIN " + user.encode() + b" secret")[-1].startswith(b"m OK")
    for p in proxies:
        p.stop()


def test_connections_that_a_crashed_proxy_had_are_in_nobodys_way(ferry):
    crashed = ferry.proxy(proxy={**WEB, "max_connections_per_account": 2, "lease": "300ms", "lease_long": "2s"})
    user = new_user()
    live = [come(crashed, user) for _ in range(2)]
    proxy = ferry.proxy(proxy={**WEB, "max_connections_per_account": 2})
    assert come(proxy, user)[1].startswith(b"l NO [LIMIT]")
    crashed.kill()
    ferry.daemons.remove(crashed)
    net.wait_until("room", lambda: come(proxy, user)[1].startswith(b"l OK"))
    for w, _ in live:
        w.close()
    proxy.stop()


def test_connections_of_a_network(ferry):
    """By the client's own address, in all threads; a webmail that does not say who comes has no limit."""
    proxy = ferry.proxy(proxy={**WEB, "max_connections_per_network": 3, "threads": 3})
    live = [come(proxy, new_user(), f"2001:db8:0:1::{n}") for n in range(3)]
    assert all(said.startswith(b"l OK") for _, said in live)
    refused, said = come(proxy, new_user(), "2001:db8:0:1:ffff::1")
    assert said == b"l NO [LIMIT] Too many connections from your network, please close some"
    proxy.wait(r"event=login_failed .* code=LIMIT .* peer=\[2001:db8:0:1:ffff::1\]:0 .* detail=\"the network has as many connections")
    assert come(proxy, new_user(), "2001:db8:0:2::1")[1].startswith(b"l OK")
    assert all(come(proxy, new_user())[1].startswith(b"l OK") for _ in range(5))
    mark = proxy.mark()
    live[1][0].close()
    proxy.wait("event=session_end why=client_gone", since=mark)
    assert refused.command(b"m", b"LOGIN %s secret" % new_user().encode())[-1].startswith(b"m OK")
    proxy.stop()


def test_failed_logins_keep_no_places(ferry):
    proxy = ferry.proxy(proxy={**WEB, "max_connections_per_network": 1, "max_connections_per_account": 1, "login_tries": 100})
    user, ip = new_user(), "198.18.3.1"
    w = Wire(proxy.addresses[0], timeout=20)
    w.read_line()
    assert w.command(b"i", b'ID ("x-originating-ip" "%s")' % ip.encode())[-1].startswith(b"i OK")
    assert w.command(b"a", b"LOGIN " + user.encode() + b" wrong")[-1].startswith(b"a NO [AUTH")
    live, said = come(proxy, user, "198.18.3.2")
    assert said.startswith(b"l OK")
    assert w.command(b"b", b"LOGIN " + user.encode() + b" secret")[-1].startswith(b"b NO [LIMIT] Too many connections of this")
    assert come(proxy, new_user(), ip)[1].startswith(b"l OK")
    live.close()
    proxy.stop()
