"""A proxy whose backend is a proxy: itself, one of its own site, or one of another."""
import re
import subprocess
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.daemon import program
from harness.ferry import backend
from harness.scene import connect


@pytest.fixture
def fake():
    with FakeImap(name="old") as server:
        yield server


def at(port, host="127.0.0.1"):
    return {"address": f"imap://{host}:{port}"}


def test_ring_of_proxies_ends_after_one_hop(make_ferry, fake):
    ferry = make_ferry({"old": at(1), "new": backend(fake, "imap")})
    one, two = net.free_port(), net.free_port()
    first = ferry.proxy([f"imap://127.0.0.1:{one}"], backends={"old": at(two)})
    second = ferry.proxy([f"imap://127.0.0.1:{two}"], backends={"old": at(one)})
    with connect(first) as wire:
        began = time.monotonic()
        assert wire.login("ann").startswith(b"l1 NO [UNAVAILABLE]")
        assert time.monotonic() - began < 5
    second.wait("event=proxy_loop")
    assert not first.find("event=proxy_loop")
    second.wait_count("event=proxy_loop", 1)
    second.wait_count("event=login_failed", 1)


def ends_at_start(ferry, listen, address):
    """In a network of its own, where ports are free."""
    conf = ferry.config("self", proxy={"listen": [listen]}, backends={"old": {"address": address}})
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && ip addr add 192.0.2.7/32 dev lo && exec "$@"', "--"]
    ended = subprocess.run([*alone, program("imapferry-proxy"), "-c", conf], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert b'backend "old": ' in ended.stderr and b"is this proxy itself" in ended.stderr, ended.stderr
    tried = subprocess.run([*alone, program("imapferry-proxy"), "-c", conf, "--check-conf"], capture_output=True, timeout=60, check=False)
    assert tried.returncode == 1 and b"proxy: listen: " in tried.stderr and b'is the address of backend "old"' in tried.stderr, tried.stderr


@pytest.mark.parametrize("listen,host", [
    ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "127.0.0.9"),
    ("0.0.0.0", "192.0.2.7"), ("[::]", "192.0.2.7"), ("[::]", "127.0.0.1"), ("[::]", "[::1]"), ("[::1]", "[::1]"),
    ("localhost", "localhost"), ("[::]", "0.0.0.0"), ("192.0.2.7", "192.0.2.7"),
])
def test_proxy_that_is_its_own_backend_does_not_start(make_ferry, fake, listen, host):
    ferry = make_ferry({"old": at(1), "new": backend(fake, "imap")}, init=False)
    ends_at_start(ferry, f"imap://{listen}:1143", f"imap://{host}:1143")


def test_socket_that_is_its_own_backend(make_ferry, fake):
    ferry = make_ferry({"old": at(1), "new": backend(fake, "imap")}, init=False)
    path = f"imap+unix://{ferry.folder}/proxy.sock"
    ends_at_start(ferry, path, path)


def test_same_port_of_another_address_is_no_ring(make_ferry, fake):
    ferry = make_ferry({"old": backend(fake, "imap"), "new": at(1)})
    port = fake.port["imap"]
    proxy = ferry.proxy([f"imap://127.0.0.2:{port}"])
    with connect(proxy) as wire:
        assert wire.login("ann").startswith(b"l1 OK")


def id_sent(fake):
    return dict(re.findall(rb'"(x-[a-z-]+)" "([^"]*)"', fake.commands("ID")[-1]))


def test_proxies_in_a_row_count_down(make_ferry, fake):
    """What Dovecot's proxies say to each other, and to us."""
    ferry = make_ferry({"old": backend(fake, "imap"), "new": at(1)})
    proxy = ferry.proxy()
    for said, passed in ((None, b"4"), (b"3", b"2"), (b"2", b"1"), (b"99", b"4"), (b"x", b"4")):
        with connect(proxy) as wire:
            if said:
                assert wire.command(b"i", b'ID ("x-proxy-ttl" "%s" "x-proxy-site" "f00")' % said)[-1].startswith(b"i OK")
            assert wire.login("ann").startswith(b"l1 OK")
        sent = id_sent(fake)
        assert sent[b"x-proxy-ttl"] == passed, said
        assert sent[b"x-proxy-site"].decode() == ferry.redis.client().hget("imapferry:store", "id")
    assert not proxy.find("event=proxy_loop")
    with connect(proxy) as wire:
        wire.command(b"i", b'ID ("X-Proxy-TTL" "1")')
        assert wire.login("ann").startswith(b"l1 NO [UNAVAILABLE]")
    proxy.wait("event=proxy_loop")
    assert fake.sign_ins("ann") == 5
