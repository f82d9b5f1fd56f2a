"""Failed logins: who has failed waits, and nobody else does."""
import base64
import collections
import hashlib
import re
import signal
import time

import pytest

from harness import net
from harness.scene import Wire, new_user

DELAY = {"login_delay": "100ms", "login_delay_max": "60s", "login_timeout": "20s", "login_tries": 100}
WEB = {"trusted": ["127.0.0.0/8"]}  # each client says by ID who it is: any address is one, without its interface


@pytest.fixture
def proxies(fake_site):
    """Two of them, with a thread each: a thread goes by what has failed at it, and by what Redis tells it then. They are new for each test: of
    one network, fifty failures in ten seconds have a line in the log (proxy/noise.h)."""
    made = [fake_site.proxy(proxy={**DELAY, **WEB, "threads": 1}) for _ in range(2)]
    yield made
    for proxy in made:
        proxy.stop()


@pytest.fixture
def user(fake_site):
    """Nobody has failed yet."""
    fake_site.redis.client().delete("imapferry:penalty", "imapferry:penalty:ends")
    return new_user()


_addresses = iter(range(1, 60000))


def address():
    """Of a network that nobody has come from."""
    n = next(_addresses)
    return f"198.18.{n // 250}.{1 + n % 250}"


def come(proxy, ip):
    w = Wire(proxy.addresses[0], timeout=30)
    w.read_line()
    assert w.command(b"i", b'ID ("x-originating-ip" "%s")' % ip.encode())[-1].startswith(b"i OK")
    return w


def login(wire, user, password=b"secret"):
    """The answer, and how long it took."""
    began = time.monotonic()
    said = wire.command(b"l", b"LOGIN " + user.encode() + b" " + password)[-1]
    return said, time.monotonic() - began


def guess(proxy, wire, user, password):
    """The answer is not waited for, which comes at a full second."""
    mark = proxy.mark()
    wire.line(b"l LOGIN " + user.encode() + b" " + password)
    proxy.wait(rf"event=login_failed user={re.escape(user)} code=AUTHENTICATIONFAILED", since=mark)


def fail(proxy, ip, user, times, word=b"wrong"):
    for n in range(times):
        with come(proxy, ip) as w:
            guess(proxy, w, user, word + b"%d" % n)


def gone(fake_site, user):
    net.wait_until("ends", lambda: not fake_site.redis.client().hlen(f"imapferry:sessions:{user}"))


def told(fake_site, user, failures):
    """Redis has heard of as many, which a proxy tells behind its answer."""
    name = "a" + hashlib.sha1(user.encode()).hexdigest()[:16]
    redis = fake_site.redis.client()
    net.wait_until("failures", lambda: (redis.hget("imapferry:penalty", name) or "").startswith(f"{failures} "))


def delays(proxy, user, mark=0):
    return [int(m[1]) for m in proxy.find(rf"event=login_delayed user={re.escape(user)} .* ms=(\d+)", mark)]


def test_guesses_wait_longer_and_longer_whichever_proxy_they_come_to(fake_site, proxies, user, server):
    ip, marks = address(), [p.mark() for p in proxies]
    for n in range(5):
        fail(proxies[n % 2], ip, user, 1, b"guess%d-" % n)
        told(fake_site, user, n + 1)
    waits = [d for p, m in zip(proxies, marks) for d in delays(p, user, m)]
    assert max(waits) > 500, waits  # the fourth wait is 0.8 s; one proxy alone has seen two failures: 0.2 s


def test_owner_is_not_kept_waiting(proxies, user):
    """However many networks guess, and from however many they do, one without a failure is let in at once."""
    for n in range(12):
        fail(proxies[n % 2], address(), user, 1)
    for p in proxies:
        mark = p.mark()
        assert login(come(p, address()), user)[0].startswith(b"l OK")
        assert not delays(p, user, mark)


def test_parallel_guesses_of_one_account_are_few(proxies, user, server):
    """120 connections at once, with a password each, at two proxies."""
    ip, before = address(), len(server.logins)
    wires = [come(proxies[n % 2], ip) for n in range(120)]
    for n, w in enumerate(wires):
        w.line(b"l LOGIN %s guess%d" % (user.encode(), n))
    wires[0].until(b"l ")
    wires[1].until(b"l ")
    tried = [x for p in proxies for x in p.find(rf"event=login_failed user={re.escape(user)} code=AUTHENTICATIONFAILED")]
    assert len(tried) <= 10, len(tried)  # two a thread, and those whose turn has come in this second
    assert login(come(proxies[0], address()), user)[0].startswith(b"l OK")
    for w in wires:
        w.close()
    assert len(server.logins) - before <= 2


def test_parallel_guesses_of_a_masters_password_are_few(fake_site, user):
    """Each names the account of somebody else, and all show the password of one."""
    proxy, ip = fake_site.proxy(proxy={**DELAY, **WEB, "threads": 1, "masters": ["admin"]}), address()
    wires = [come(proxy, ip) for _ in range(60)]
    for n, w in enumerate(wires):
        w.line(b"l AUTHENTICATE PLAIN " + base64.b64encode(b"%s-%d\0admin\0guess%d" % (user.encode(), n, n)))
    wires[0].until(b"l ")
    wires[1].until(b"l ")
    tried = proxy.find(r"event=login_failed .* code=AUTHENTICATIONFAILED .* master=admin")
    assert len(tried) <= 10, len(tried)
    for w in wires:
        w.close()


def test_same_wrong_password_once_more_is_not_counted(fake_site, user):
    proxy = fake_site.proxy(proxy={**DELAY, **WEB})
    ip = address()
    for _ in range(3):
        with come(proxy, ip) as w:
            guess(proxy, w, user, b"old-password")
    with come(proxy, ip) as w:
        guess(proxy, w, user, b"another")
    counted = lambda: {k[0]: v.split()[0] for k, v in fake_site.redis.client().hgetall("imapferry:penalty").items()}  # noqa: E731
    net.wait_until("count", lambda: counted() == {"p": "2", "a": "2", "n": "2"})
    proxy.stop()


def test_network_that_guesses_at_many_accounts_waits_but_not_who_has_signed_in_there(proxies, user):
    ip, known = address(), new_user()
    proxy = proxies[0]
    for n in range(14):
        fail(proxy, ip, new_user(), 1)
    login(come(proxy, ip), known)
    mark = proxy.mark()
    login(come(proxy, ip), new_user())
    proxy.wait(r"event=login_delayed", since=mark)
    mark = proxy.mark()
    assert login(come(proxy, ip), known)[0].startswith(b"l OK") and not delays(proxy, known, mark)
    assert login(come(proxy, address()), user)[0].startswith(b"l OK") and not delays(proxy, user, mark)


def test_addresses_of_one_64_are_one_network(proxies, user):
    for n in range(3):
        fail(proxies[0], f"2001:db8:7:1::{n}", user, 1, b"w%d" % n)
    mark = proxies[0].mark()
    login(come(proxies[0], "2001:db8:7:1:ffff::1"), user)
    assert delays(proxies[0], user, mark)
    mark = proxies[0].mark()
    login(come(proxies[0], "2001:db8:7:2::1"), user)
    assert not delays(proxies[0], user, mark)


def test_webmail_that_does_not_say_who_comes_is_not_slowed_down_for_all(proxies, user):
    proxy = proxies[0]
    for n in range(14):
        with Wire(proxy.addresses[0]) as w:
            w.read_line()
            guess(proxy, w, f"{n}{user}", b"wrong")
    mark = proxy.mark()
    with Wire(proxy.addresses[0]) as w:
        w.read_line()
        assert login(w, user)[0].startswith(b"l OK")
    assert not delays(proxy, user, mark)


def test_a_thread_that_has_seen_nothing_fail_is_told_with_the_route(proxies, user):
    """Not even its first password is tried before the wait that the other proxy's failures ask for; and no one else waits."""
    ip, other = address(), address()
    fail(proxies[0], ip, user, 6)
    mark = proxies[1].mark()
    guess(proxies[1], come(proxies[1], ip), user, b"first-here")
    assert delays(proxies[1], user, mark) and delays(proxies[1], user, mark)[0] > 100
    mark = proxies[1].mark()
    assert login(come(proxies[1], other), user)[0].startswith(b"l OK") and not delays(proxies[1], user, mark)
    for _ in range(14):
        fail(proxies[0], other, new_user(), 1)
    late = new_user()
    mark = proxies[1].mark()
    guess(proxies[1], come(proxies[1], other), late, b"first-here")
    assert delays(proxies[1], late, mark)


def calls_of(fake_site, user):
    """The functions that were called for this account, as Redis has them in its list of slow calls."""
    names = [e["command"].split() for e in fake_site.redis.client(decode=False).slowlog_get(100000)]
    return collections.Counter(c[1].decode().rpartition("_")[2] for c in names if c[0] == b"FCALL" and user.encode() in c)


def test_login_without_failures_costs_no_call_more(fake_site, user):
    """With the delay and without, while another network fails at the account."""
    counts = []
    client = fake_site.redis.client()
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 100000)
    for delay in ("0s", "1s"):
        proxy = fake_site.proxy(proxy={**DELAY, **WEB, "login_delay": delay, "max_connections_per_account": 100, "drain_time": "1ms"})
        fail(proxy, address(), user, 2)
        if delay != "0s":
            told(fake_site, user, 2)
        client.slowlog_reset()
        for _ in range(10):
            with come(proxy, address()) as w:
                assert login(w, user)[0].startswith(b"l OK")
        gone(fake_site, user)
        counts.append(calls_of(fake_site, user))
        proxy.stop()
    client.config_set("slowlog-log-slower-than", -1)
    assert counts == [{"enter": 10, "leave": 10}] * 2, counts


def test_redis_stops_and_goes_on(fake_site, user):
    """The thread goes by its own numbers meanwhile, and its logins end."""
    proxy = fake_site.proxy(proxy={**DELAY, **WEB, "store_timeout": "300ms", "login_delay": "500ms"})
    ip = address()
    fail(proxy, ip, user, 2)
    fake_site.redis.signal(signal.SIGSTOP)
    try:
        mark = proxy.mark()
        w = come(proxy, ip)
        said, took = login(w, user)
        assert said.startswith(b"l NO [UNAVAILABLE]") and took < 10, (said, took)
        assert delays(proxy, user, mark)
    finally:
        fake_site.redis.signal(signal.SIGCONT)
    proxy.wait(r"event=store_up|event=lease_renewed", since=mark)
    net.wait_until("login", lambda: login(come(proxy, address()), user)[0].startswith(b"l OK"))
    proxy.stop()


def test_login_that_would_wait_for_too_long_is_told_so(fake_site, user):
    proxy = fake_site.proxy(proxy={**DELAY, **WEB, "login_delay": "30s"})
    ip = address()
    fail(proxy, ip, user, 1)
    with come(proxy, ip) as w:
        said, took = login(w, user)
        assert said == b"l NO [LIMIT] Too many failed logins, please try again later" and took < 5
    proxy.wait(rf"event=login_failed user={re.escape(user)} code=LIMIT .* while=throttled")
    proxy.stop()


def test_who_waits_gives_its_place_to_others(fake_site, user):
    """A crowd that waits for its turns is one of strangers like any other."""
    proxy = fake_site.proxy(wrapper=("prlimit", "--nofile=200:200"), proxy={**DELAY, "threads": 1, "login_delay": "10s"})
    wires = []
    with Wire(proxy.addresses[0]) as w:
        w.read_line()
        guess(proxy, w, user, b"wrong")
    for n in range(80):
        wires.append(Wire(proxy.addresses[0]))
        wires[-1].read_line()
        wires[-1].line(b"l LOGIN %s x%d" % (user.encode(), n))
    w = Wire(proxy.addresses[0])
    assert w.read_line().startswith(b"* OK")
    assert login(w, new_user())[0].startswith(b"l OK")
    for w in wires:
        w.close()
    proxy.stop()


def test_record_of_another_kind_keeps_nobody_out(proxies, fake_site, user):
    """Then threads go by their own numbers."""
    ip = address()
    fake_site.redis.client().set("imapferry:penalty", "not ours")
    fail(proxies[0], ip, user, 3)
    assert login(come(proxies[0], ip), user)[0].startswith(b"l OK")
    assert login(come(proxies[1], address()), user)[0].startswith(b"l OK")


def test_proxy_ends_while_logins_wait(fake_site, user):
    proxy = fake_site.proxy(proxy={**DELAY, **WEB, "login_delay": "10s"})
    ip = address()
    fail(proxy, ip, user, 1)
    wires = [come(proxy, ip) for _ in range(5)]
    for w in wires:
        w.line(b"l LOGIN " + user.encode() + b" secret")
    proxy.wait(r"event=login_delayed")
    proxy.stop()
    for w in wires:
        said = w.rest()
        assert said[0].startswith(b"l NO [") and said[-1].startswith(b"* BYE [UNAVAILABLE]"), said
