"""How many connections an account and a network may have."""
import pytest

from harness import net
from harness.scene import Wire, new_user

WEB = {"trusted": ["127.0.0.0/8"], "login_timeout": "20s"}


@pytest.fixture(scope="module")
def proxies(fake_site):
    options = {**WEB, "max_connections_per_account": 4, "max_connections_per_network": 3, "threads": 2}
    return [fake_site.proxy(proxy=options) for _ in range(2)]


def come(proxy, user, ip=None, password=b"secret", wait=True):
    """A connection for this address, and what its login was told."""
    w = Wire(proxy.addresses[0], timeout=20)
    w.read_line()
    if ip:
        assert w.command(b"i", b'ID ("x-originating-ip" "%s")' % ip.encode())[-1].startswith(b"i OK")
    w.line(b"l LOGIN " + user.encode() + b" " + password)
    return w, w.until(b"l ")[-1] if wait else None


def test_connections_of_an_account_at_two_proxies(proxies, fake_site):
    user = new_user()
    live = [come(proxies[n % 2], user, f"198.18.0.{n}") for n in range(4)]
    assert all(said.startswith(b"l OK") for _, said in live)
    refused, said = come(proxies[1], user, "198.18.0.9")
    assert said == b"l NO [LIMIT] Too many connections of this account, please close some"
    proxies[1].wait(rf"event=login_failed user={user} code=LIMIT .* detail=\"the account has as many connections as it may\"")
    assert come(proxies[1], new_user())[1].startswith(b"l OK")
    live[0][0].close()
    net.wait_until("place", lambda: fake_site.redis.client().hlen(f"imapferry:sessions:{user}") == 3)
    assert refused.command(b"m", b"LOGIN " + user.encode() + b" secret")[-1].startswith(b"m OK")


def test_connections_that_a_crashed_proxy_had_are_in_nobodys_way(proxies, fake_site):
    crashed = fake_site.proxy(proxy={**WEB, "lease": "300ms", "lease_long": "2s"})
    user = new_user()
    live = [come(crashed, user) for _ in range(4)]
    assert come(proxies[0], user)[1].startswith(b"l NO [LIMIT]")
    crashed.kill()
    fake_site.daemons.remove(crashed)
    net.wait_until("room", lambda: come(proxies[0], user)[1].startswith(b"l OK"))
    for w, _ in live:
        w.close()


def test_connections_of_a_network(proxies):
    """By the client's own address, in all threads; a webmail that does not say who comes has no limit."""
    proxy = proxies[0]
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


def test_failed_logins_keep_no_places(proxies):
    ip = "198.18.3.1"
    wires = [come(proxies[0], new_user(), ip, b"wrong", wait=False)[0] for _ in range(8)]
    assert all(w.until(b"l ")[-1].startswith(b"l NO [AUTH") for w in wires)
    live = [come(proxies[0], new_user(), ip) for _ in range(3)]
    assert all(said.startswith(b"l OK") for _, said in live)
