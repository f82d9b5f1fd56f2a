"""What clients are shown: learned at start where there is a master, from the server that a user is on until then, and never
changed without a line in the log."""
import time

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from harness.ferry import backend
from harness.scene import connect, new_user

MANUAL = {"migration": {"trigger": "manual"}}
LESS = CAPABILITIES.replace(" UNSELECT", "")
MASTER = {"sign_in": "master"}


@pytest.fixture
def fakes():
    with FakeImap("old") as one, FakeImap("new", capabilities=LESS) as two:
        yield one, two


def shown(proxy, user=None):
    with connect(proxy) as wire:
        answer = wire.login(user or new_user())
        assert answer.startswith(b"l1 OK"), answer
        wire.words = answer[answer.index(b"[CAPABILITY ") + 12:answer.index(b"]")].decode().split()
        assert wire.command(b"n", b'NAMESPACE')[-1].startswith(b"n OK" if "NAMESPACE" in wire.words else b"n BAD")
        return wire.words


def test_before_anybody_signed_in_at_the_new_server(make_ferry, fakes):
    """No master: a client that needs NAMESPACE would create its folders at the wrong place."""
    ferry = make_ferry({name: backend(fake, "imap", master=False) for name, fake in zip(("old", "new"), fakes)},
                       {**MANUAL, "seal": {}})
    proxy = ferry.proxy()
    words = shown(proxy)
    assert {"NAMESPACE", "UNSELECT", "UIDPLUS", "IDLE"} <= set(words), words
    proxy.wait_count("event=capabilities_unknown .*backend=new", 1)
    proxy.wait("event=capabilities .*backend=old by=user")
    assert not fakes[1].logins, "nobody signs in there for it"
    # The first session there: by staff's flip, of another account.
    other = new_user()
    ferry.redis.client().hset(f"imapferry:route:{other}", mapping={
        "backend": "new", "state": "flipped", "epoch": 1, "generation": 1, "source": "old", "target": "new"})
    assert "UNSELECT" not in shown(proxy, other)
    assert "UNSELECT" not in shown(proxy) and "NAMESPACE" in shown(proxy)
    proxy.wait("event=capabilities .*backend=new by=user")


@pytest.mark.parametrize("probe", ["", "probe"])
def test_learned_at_start_and_by_one_process_alone(make_ferry, fakes, probe):
    old, new = fakes
    options = dict(MASTER, **({"check_user": probe} if probe else {}))
    ferry = make_ferry({"old": backend(old, "imap", **options), "new": backend(new, "imap", **options)}, MANUAL)
    proxies = [ferry.proxy(proxy={"threads": 2}) for _ in range(2)]
    for proxy in proxies:
        for name in ("old", "new"):
            proxy.wait(f"event=capabilities .*backend={name} by={'user' if probe else 'master'}")
        for _ in range(4):  # over both threads
            words = shown(proxy)
            assert "NAMESPACE" in words and "UNSELECT" not in words, words
        assert not proxy.find("capabilities_changed")
    who = probe or "admin"
    for fake in fakes:
        assert len([1 for user, how in fake.logins if user == who and how == "master"]) == 1, fake.logins
    migrator = ferry.migrator()
    migrator.wait("event=ready")
    assert len([1 for user, how in new.logins if user == who]) == 1


def test_what_fails_delays_nobody_and_is_told_once(make_ferry, fakes):
    old, new = fakes
    new.misbehave("hang", at="greeting")
    ferry = make_ferry({"old": backend(old, "imap", **MASTER), "new": backend(new, "imap", **MASTER)},
                       {**MANUAL, "proxy": {"threads": 1}})
    began = time.monotonic()
    proxy = ferry.proxy()
    words = shown(proxy)
    assert time.monotonic() - began < 5, "a server that hangs delays the start by a second"
    assert {"NAMESPACE", "UNSELECT"} <= set(words)
    proxy.wait("event=capabilities_unknown .*backend=new")
    new.behave()
    new.drop_all()
    proxy.wait("event=backend_unknown .*backend=new as=admin while=greeting .*again_s=60")
    assert shown(proxy) == words
    # The configuration is read anew: now, not after the delay (of the claim, a minute).
    ferry.redis.client().delete("imapferry:learning:new")
    proxy.reload()
    proxy.wait("event=capabilities .*backend=new by=master")
    assert "UNSELECT" not in shown(proxy)
    proxy.wait_count("event=backend_unknown", 1)


def test_a_change_is_one_line_not_one_a_login(make_ferry, fakes):
    old, new = fakes
    ferry = make_ferry({"old": backend(old, "imap", **MASTER), "new": backend(new, "imap", **MASTER)}, MANUAL)
    proxies = [ferry.proxy(), ferry.proxy()]
    for proxy in proxies:
        proxy.wait("event=capabilities .*backend=new")
        assert "UIDPLUS" in shown(proxy)
    old.capabilities = CAPABILITIES.replace(" UIDPLUS", "")
    users = [new_user() for _ in range(6)]
    assert all("UIDPLUS" not in shown(proxies[0], user) for user in users)
    proxies[0].wait('event=capabilities_changed .*backend=old added="?"? dropped=UIDPLUS')
    old.capabilities = CAPABILITIES  # of some users alone: more is shown after an hour in which all had it
    assert all("UIDPLUS" not in shown(proxies[0], user) for user in users)
    proxies[1].reload()  # else within ten seconds
    proxies[1].wait("event=capabilities_changed .*backend=old .*dropped=UIDPLUS")
    assert "UIDPLUS" not in shown(proxies[1])
    for proxy in proxies:
        proxy.wait_count("capabilities_changed", 1)
