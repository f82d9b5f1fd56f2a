"""Redis that is away, comes back, was emptied, was never made, or would forget: logins are refused, never guessed."""
import os

import pytest

from harness import net, redisd
from harness.relay import DOWN, UP, Relay
from harness.scene import assert_equal, connect, fill, new_user, small

SETTINGS = {"proxy": {"store_timeout": "500ms", "lease": "500ms", "lease_long": "1s"}}


def login(proxy, user):
    with connect(proxy) as wire:
        return wire.login(user)


def wait_served(proxy, user, timeout=20):
    net.wait_until("login", lambda: login(proxy, user).startswith(b"l1 OK"), timeout, step=0.1)


def test_down_at_start(make_ferry, backends, redis, old, new):
    """Both programs wait for it, and begin by themselves."""
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=3))
    redis.stop()
    proxy = ferry.proxy()
    migrator = ferry.migrator(wait=False)
    assert login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]")
    redis.start()
    wait_served(proxy, user)
    migrator.wait("event=ready")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 3)


def test_lost_and_back(make_ferry, backends, redis, old, new):
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=20))
    proxy = ferry.proxy()
    ferry.migrator()
    redis.kill()
    assert login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]")
    redis.start()
    wait_served(proxy, user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 20)


def test_flipped_user_stays_on_the_new_server_over_a_restart(make_ferry, backends, redis, old, new):
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    ferry.migrator()
    wait_served(proxy, user)
    ferry.wait_state(user, "flipped")
    redis.kill()
    assert login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]")
    redis.start()
    wait_served(proxy, user)
    with connect(proxy) as wire:
        wire.login(user)
        assert ferry.where(user) == {"new"} and wire.separator() == "."


def test_restart_in_the_middle_of_a_copy(make_ferry, backends, redis, old, new):
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=300, big=(4 << 20,)))
    proxy = ferry.proxy()
    assert login(proxy, user).startswith(b"l1 OK")
    ferry.migrator()
    ferry.wait_state(user, "copying")
    redis.kill()
    redis.start()
    ferry.wait_state(user, "flipped", timeout=60)
    assert_equal(old, new, user, 301)


def test_emptied_redis_refuses_everybody(make_ferry, backends, redis, old, new):
    """It would mean that everybody lives on the old server. Made anew, it is another store: refused as well."""
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    ferry.migrator()
    wait_served(proxy, user)
    ferry.wait_state(user, "flipped")
    redis.wipe()
    net.wait_until("refusal", lambda: login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]"), 10, step=0.1)
    assert login(proxy, new_user()).startswith(b"l1 NO [UNAVAILABLE]")
    assert ferry.ctl("init")[0] == 4, "the journal knows that users have moved"
    os.remove(os.path.join(ferry.folder, "journal", "flips"))
    ferry.init()
    assert login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]")


def test_redis_that_was_never_made_refuses_everybody(make_ferry, backends, redis, old):
    ferry = make_ferry(backends, SETTINGS, init=False)
    proxy = ferry.proxy()
    assert login(proxy, new_user()).startswith(b"l1 NO [UNAVAILABLE]")
    assert redis.client().keys("imapferry:route:*") == []
    ferry.init()
    wait_served(proxy, new_user())


def test_store_by_unix_socket(make_ferry, backends, redis, old, new):
    ferry = make_ferry(backends, {"redis": {"url": f"unix://{redis.socket}"}})
    user = new_user()
    fill(old, user, small(messages=5))
    proxy = ferry.proxy()
    ferry.migrator()
    wait_served(proxy, user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


@pytest.mark.parametrize("options", [
    {"appendonly": "no"}, {"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"},
])
def test_store_that_may_forget_is_not_migrated_on(make_ferry, backends, old, new, options, redis_program):
    store = redisd.Redis(port=net.free_port(), program=redis_program)
    for name, value in options.items():
        store.client().config_set(name, value)
    try:
        user = new_user()
        fill(old, user, small(messages=5))
        ferry = make_ferry(backends, SETTINGS, store=store)
        proxy = ferry.proxy()
        wait_served(proxy, user)
        migrator = ferry.migrator(wait=False)
        migrator.wait(f"event=store_unsafe.*{next(iter(options))}")
        assert ferry.route(user)["state"] in ("queued", "resting")
        migrator.kill()
        ferry.migrator(redis={"store_override": True})
        ferry.wait_state(user, "flipped")
        ferry.stop_all()
    finally:
        store.close()


def test_each_flip_stands_in_the_journal(ferry, redis, old, new):
    user = new_user()
    fill(old, user, small(messages=5))
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    with open(os.path.join(ferry.folder, "journal", "flips"), encoding="utf-8") as f:
        text = f.read()
    assert user in text and '"new"' in text


def test_redis_that_knows_no_function_ever(make_ferry, backends, redis):
    """Loaded, it is not loaded once more at once: that would have no end."""
    asked, mad = [], []

    def edit(direction, data):
        if direction == UP and mad:
            asked.append(data)
        return b"-ERR Function not found\r\n" if direction == DOWN and mad else data
    relay = Relay(redis.address, edit)
    ferry = make_ferry(backends, SETTINGS)
    proxy = ferry.proxy(redis={"url": relay.redis_url})
    mad.append(True)
    assert login(proxy, new_user()).startswith(b"l1 NO [UNAVAILABLE]")
    loads = sum(x.count(b"\r\nLOAD\r\n") for x in asked)
    assert 0 < loads < 20, loads
    mad.clear()
    net.wait_until("login", lambda: login(proxy, new_user()).startswith(b"l1 OK"))
    relay.close()
