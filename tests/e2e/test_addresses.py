"""Several addresses of one backend: one that is dead, all that are, what is known of them, and where servers refer to."""
import imaplib
import os
import re
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import backend
from harness.relay import Relay
from harness.scene import Wire, assert_equal, change, fill, new_user, small

LATER = b"NO [UNAVAILABLE] The mail server can't be reached at the moment, please try again later"


class Doors:
    """Ways to one server: url() gives all of their addresses."""

    def __init__(self, server, n=3, scheme="imaps"):
        self.upstream = ("127.0.0.1", server.port[scheme])
        self.relays = [Relay(self.upstream) for _ in range(n)]
        self.ports = [r.number for r in self.relays]

    def url(self, scheme="imaps", host="127.0.0.1"):
        return [f"{scheme}://{host}:{port}" for port in self.ports]

    def place(self, i):
        return f"127.0.0.1:{self.ports[i]}"

    def shut(self, i):
        """Connections are refused, and those that are there are cut off."""
        self.relays[i].close()

    def open(self, i):
        self.relays[i] = Relay(self.upstream, port=self.ports[i])

    def close(self):
        for relay in self.relays:
            relay.close()


@pytest.fixture(name="doors")
def fixture_doors():
    made = []

    def make(server, *args, **options):
        made.append(Doors(server, *args, **options))
        return made[-1]
    yield make
    for doors in made:
        doors.close()


def comes_in(ferry, proxy, user):
    ferry.login(proxy, user, "secret").logout()


def answer(proxy, user):
    """The tagged answer to a LOGIN."""
    wire = Wire(proxy.addresses[0])
    wire.read_line()
    last = wire.command(b"a", b"LOGIN " + user.encode() + b" secret")[-1]
    wire.socket.close()
    return last.partition(b" ")[2]


# ---- one of several

@pytest.mark.parametrize("how", ("refuses", "hangs_up", "never_speaks"))
def test_logins_go_on_where_one_address_is_dead(make_ferry, old, new, authority, doors, how):
    to_old = doors(old)
    ferry = make_ferry({"old": backend(to_old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": {"trigger": "manual"}, "proxy": {"threads": 1, "backend_timeout": "3s"}})
    user = new_user()
    proxy = ferry.proxy()
    {"refuses": lambda: to_old.shut(0), "hangs_up": to_old.relays[0].cut, "never_speaks": to_old.relays[0].stall}[how]()
    comes_in(ferry, proxy, user)
    proxy.wait(rf"level=warn event=address_dead backend=old address={re.escape(to_old.place(0))} detail=")
    used = to_old.relays[1].connections
    began = time.monotonic()
    for _ in range(5):
        comes_in(ferry, proxy, user)  # nobody asks the dead one any more
    assert time.monotonic() - began < 3 and to_old.relays[1].connections == used + 5
    assert not proxy.find("event=(breaker_open|backend_failed)")
    since = proxy.mark()
    {"refuses": lambda: to_old.open(0), "hangs_up": to_old.relays[0].heal, "never_speaks": to_old.relays[0].resume}[how]()
    proxy.wait(rf"event=address_alive backend=old address={re.escape(to_old.place(0))}", since=since, timeout=40)
    before = to_old.relays[0].connections
    comes_in(ferry, proxy, user)
    assert to_old.relays[0].connections == before + 1


def test_a_certificate_that_is_not_believed_costs_one_address(make_ferry, authority, doors):
    """Each address has to have its own name in the certificate."""
    named = authority.issue("named", names=("localhost",))
    with FakeImap("one", cert=named) as one, FakeImap("new") as new:
        ways = doors(one, 2)
        urls = [f"imaps://127.0.0.1:{ways.ports[0]}", f"imaps://localhost:{ways.ports[1]}"]
        ferry = make_ferry({"old": backend(one, ca=authority.ca, address=urls), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}})
        proxy = ferry.proxy()
        comes_in(ferry, proxy, "ann")
        proxy.wait(r"event=address_dead backend=old address=127\.0\.0\.1:\d+ detail=.*other names")
        status, lines = ferry.ctl("check")
        texts = [line["text"] for line in lines["checks"] if line["of"] == "old"]
        assert status == 1 and any(t.startswith(urls[1] + " answers") for t in texts), texts
        assert any(t.startswith(urls[0] + ": ") and "other names" in t for t in texts), texts


def test_users_are_spread(make_ferry, doors):
    with FakeImap("old") as old, FakeImap("new") as new:
        to_old = doors(old, scheme="imap")
        ferry = make_ferry({"old": backend(to_old, "imap", spread=True), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}, "proxy": {"threads": 2}})
        proxies = [ferry.proxy(), ferry.proxy()]
        counts = []
        for proxy in proxies:
            before = [r.connections for r in to_old.relays]
            for i in range(24):
                comes_in(ferry, proxy, f"user{i}")
            counts.append([r.connections - b for r, b in zip(to_old.relays, before)])
        assert counts[0] == counts[1] and min(counts[0]) >= 3 and sum(counts[0]) == 24, counts


# ---- all of them

def test_the_breaker_opens_and_closes(make_ferry, doors):
    with FakeImap("old") as old, FakeImap("new") as new:
        to_old = doors(old, scheme="imap")
        ferry = make_ferry({"old": backend(to_old, "imap"), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}, "proxy": {"threads": 1}})
        proxy = ferry.proxy()
        comes_in(ferry, proxy, "ann")
        live = ferry.login(proxy, "ann", "secret")
        for i in (1, 2):
            to_old.shut(i)
        to_old.relays[0].refuse()
        texts = [answer(proxy, f"user{i}") for i in range(5)]
        assert texts == [LATER] * 5
        proxy.wait(r"level=error event=breaker_open backend=old detail=.*refused.*effect=")
        began = time.monotonic()
        assert [answer(proxy, f"user{i}") for i in range(30)] == [LATER] * 30
        assert time.monotonic() - began < 5
        assert live.noop()[0] == "OK"  # who is there stays
        net.wait_until("the status", lambda: ferry.ctl("status")[1]["breakers"])
        shown = ferry.ctl("status")[1]["breakers"]
        assert [b["backend"] for b in shown] == ["old"] and shown[0]["proxy"].startswith(proxy.label)
        assert re.search(rf"old DOES NOT ANSWER, so its users can't sign in: {proxy.label} \(1 thread\)", ferry.ctl_raw("status")[1])
        to_old.open(2)
        proxy.wait(r"event=breaker_closed backend=old ms=\d+ refused=30\b", timeout=30)
        comes_in(ferry, proxy, "ann")
        net.wait_until("the status", lambda: ferry.ctl("status")[1]["breakers"] == [])
        assert live.noop()[0] == "OK"
        live.logout()
        proxy.stop()
        proxy.wait(r"event=tally thread=0 of=breakers why=old count=1")
        proxy.wait(r"event=tally thread=0 of=refused_at_once why=old count=30")


def test_a_breaker_of_one_backend_is_not_the_others(make_ferry, doors):
    with FakeImap("old") as old, FakeImap("new") as new:
        to_new = doors(new, n=1, scheme="imap")
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(to_new, "imap")}, {"proxy": {"threads": 1}})
        proxy = ferry.proxy()
        migrator = ferry.migrator()
        comes_in(ferry, proxy, "moved")
        ferry.wait_state("moved", "flipped")
        migrator.stop()
        to_new.shut(0)
        assert [answer(proxy, "moved") for _ in range(8)] == [LATER] * 8
        proxy.wait("event=breaker_open backend=new")
        comes_in(ferry, proxy, "staying")
        assert answer(proxy, "moved") == LATER
        to_new.open(0)
        proxy.wait("event=breaker_closed backend=new", timeout=30)
        comes_in(ferry, proxy, "moved")


# ---- a migration

def test_a_move_with_a_dead_address_on_each_side(make_ferry, old, new, authority, doors):
    to_old, to_new = doors(old, 2), doors(new, 2)
    to_old.shut(0)
    to_new.relays[0].stall()
    ferry = make_ferry({"old": backend(to_old, ca=authority.ca), "new": backend(to_new, ca=authority.ca)},
                       {"proxy": {"threads": 1, "backend_timeout": "3s"}})
    ferry.servers = {"old": old, "new": new}
    user = new_user()
    fill(old, user, small())
    proxy = ferry.proxy()
    migrator = ferry.migrator()
    client = ferry.login(proxy, user, "secret")
    client.select("INBOX")
    ferry.wait_state(user, "flipped")
    proxy.wait(rf"event=handed_over .*user={re.escape(user)}")
    assert client.noop()[0] == "OK"
    client.logout()
    assert_equal(old, new, user, 1)
    for daemon, doors_ in ((migrator, to_old), (migrator, to_new), (proxy, to_new)):
        daemon.wait(rf"event=address_dead backend=\w+ address={re.escape(doors_.place(0))}")


def test_an_address_that_dies_while_an_account_is_copied(make_ferry, old, new, authority, doors):
    to_old, to_new = doors(old, 2), doors(new, 2)
    ferry = make_ferry({"old": backend(to_old, ca=authority.ca), "new": backend(to_new, ca=authority.ca)}, {"proxy": {"threads": 1}})
    ferry.servers = {"old": old, "new": new}
    user = new_user()
    fill(old, user, small(messages=60))
    proxy = ferry.proxy()
    to_new.relays[0].cut_after(40000, "up")
    migrator = ferry.migrator()
    ferry.login(proxy, user, "secret").logout()
    assert to_new.relays[0].tripped.wait(30)
    to_new.shut(0)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 1)
    migrator.wait(rf"event=address_dead backend=new address={re.escape(to_new.place(0))}")


def test_one_server_by_any_of_its_addresses(make_ferry, doors):
    """An account is never moved to where it is."""
    with FakeImap("one") as one, FakeImap("other") as other:
        to_one = doors(one, 1, scheme="imap")
        both = [other.url("imap"), one.url("imap")]
        ferry = make_ferry({"old": backend(one, "imap"), "new": backend(to_one, "imap")}, init=False)
        path = ferry.config("wrong", backends={"new": backend(other, "imap", address=both)})
        status, _, err = ferry.ctl_raw("--check-conf", backends={"new": backend(other, "imap", address=both)})
        assert status == 1 and '"new" has the same address as "old"' in err, (path, err)


# ---- SIGHUP

def test_sighup_takes_another_list(make_ferry, doors):
    with FakeImap("old") as old, FakeImap("new") as new:
        to_old = doors(old, scheme="imap")
        urls = to_old.url("imap")
        ferry = make_ferry({"old": backend(old, "imap", address=urls[:2]), "new": backend(new, "imap")},
                           {"migration": {"trigger": "manual"}, "proxy": {"threads": 1}})
        proxy = ferry.proxy()
        migrator = ferry.migrator()
        live = ferry.login(proxy, "ann", "secret")
        to_old.shut(1)
        before = to_old.relays[0].connections
        for daemon in (proxy, migrator):
            change(os.path.join(ferry.folder, daemon.label + ".conf"), f'{{"{urls[0]}", "{urls[1]}"}}', f'{{"{urls[1]}", "{urls[2]}"}}')
            since = daemon.reload("reloaded")
            daemon.wait("event=option_reloaded section=backend name=old option=address", since=since)
        comes_in(ferry, proxy, "bob")
        assert to_old.relays[0].connections == before and to_old.relays[2].connections >= 1
        assert live.noop()[0] == "OK"
        live.logout()
        # What is known is forgotten: the one that was dead is tried at once.
        proxy.wait("event=address_dead")
        to_old.open(1)
        proxy.reload("reloaded")
        before = to_old.relays[1].connections
        comes_in(ferry, proxy, "bob")
        assert to_old.relays[1].connections == before + 1
        # Another scheme would need another policy of TLS.
        change(os.path.join(ferry.folder, proxy.label + ".conf"), f'{{"{urls[1]}", "{urls[2]}"}}', '"imap+starttls://127.0.0.1:1"')
        since = proxy.reload("reloaded")
        proxy.wait("event=option_needs_restart section=backend name=old option=address", since=since)
        comes_in(ferry, proxy, "bob")


# ---- referrals

@pytest.fixture(name="three")
def fixture_three():
    with FakeImap("one") as one, FakeImap("two") as two, FakeImap("new") as new:
        yield one, two, new


def refer(fake, url, **options):
    fake.misbehave("no", at="login", code=f"[REFERRAL {url}]", **options)


def test_a_referral_to_another_address_is_followed(make_ferry, three):
    one, two, new = three
    ferry = make_ferry({"old": backend(one, "imap", address=[one.url(), two.url()]), "new": backend(new, "imap")},
                       {"migration": {"trigger": "manual"}})
    proxy = ferry.proxy()
    refer(one, two.url() + "/")
    comes_in(ferry, proxy, "ann")
    assert two.sign_ins("ann") == 1 and not new.heard(b"secret")
    proxy.wait(r"event=referral backend=old session=\S+ to=127\.0\.0\.1")
    refer(two, one.url() + "/")  # round and round
    assert answer(proxy, "bob") == LATER
    proxy.wait(r"event=login_failed user=bob code=UNAVAILABLE .*detail=.*refers to")


def test_a_referral_to_another_backend_is_not(make_ferry, three):
    """The route alone says where an account lives: one session at another server would write to the wrong side."""
    one, two, new = three
    ferry = make_ferry({"old": backend(one, "imap"), "new": backend(new, "imap")}, {"migration": {"trigger": "manual"}})
    proxy = ferry.proxy()
    for count, to in enumerate((new, two), 1):
        refer(one, f"imap://ann;AUTH=*@127.0.0.1:{to.port['imap']}/")
        assert answer(proxy, "ann") == LATER
        proxy.wait_count(r"event=backend_failed backend=old how=unavailable while=sign_in detail=.*refers to .*not followed", count)
        one.behave()
    assert new.connections == 0 or not new.heard(b"secret")
    assert not two.lines
    comes_in(ferry, proxy, "ann")


def test_a_referral_leads_a_migrator_nowhere_else(make_ferry, three):
    one, two, new = three
    ferry = make_ferry({"old": backend(one, "imap"), "new": backend(new, "imap", address=[new.url(), two.url()])})
    proxy = ferry.proxy()
    migrator = ferry.migrator()
    refer(one, new.url() + "/")  # for as long as it takes: a migrator that has just begun signs in there, too
    with pytest.raises(imaplib.IMAP4.error):
        ferry.login(proxy, "ann", "secret")
    one.behave()
    refer(new, one.url() + "/")
    comes_in(ferry, proxy, "ann")
    migrator.wait(r"event=lane_failed user=ann .*detail=.*refers to", timeout=30)
    assert ferry.route("ann").get("backend", "old") == "old"
