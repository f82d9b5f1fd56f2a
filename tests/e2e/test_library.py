"""The scripts as a library of Redis functions: loaded by whoever finds it missing, beside those of other releases."""
import os
import re
import shutil
import time
import zlib

import pytest

from harness import net, redisd, scripts
from harness.daemon import program
from harness.relay import DOWN, Relay
from harness.scene import assert_equal, connect, fill, new_user, small

SETTINGS = {"proxy": {"store_timeout": "2s", "lease": "1s", "lease_long": "2s"}}
CONF = os.path.join(scripts.ROOT, "conf")


def libraries(redis):
    return sorted(row[1] for row in redis.client().execute_command("FUNCTION", "LIST"))


def own_library():
    """Of the programs as they were built."""
    with open(program("imapferryctl"), "rb") as f:
        return re.search(rb"#!lua name=(imapferry_[0-9a-zA-Z_]+)\n", f.read()).group(1).decode()


def another_release(folder, release):
    """Copies of the programs whose library has another name, release and functions: all that a program of another release is
    for Redis. (The numbers have as many digits, so that every byte keeps its place.)"""
    name = own_library()
    hash_ = name.rpartition("_")[2].encode()
    fresh = name.replace("_0_1_0_", f"_{release}_").replace(hash_.decode(), f"{zlib.crc32(release.encode()):08x}")
    assert len(fresh) == len(name) and fresh != name
    os.makedirs(folder)
    for p in ("imapferry-proxy", "imapferry-migrator", "imapferryctl"):
        with open(program(p), "rb") as f:
            data = f.read().replace(name.encode(), fresh.encode()).replace(hash_, fresh.rpartition("_")[2].encode())
        with open(os.path.join(folder, p), "wb") as f:
            f.write(data)
        shutil.copymode(program(p), os.path.join(folder, p))
    return fresh, lambda p: ("sh", "-c", f'exec {os.path.join(folder, p)} "$@"')


def plant(redis, name):
    redis.client().execute_command("FUNCTION", "LOAD", f"#!lua name={name}\nredis.register_function('f_{name}', function() return 1 end)\n")


def login(proxy, user):
    with connect(proxy) as wire:
        return wire.login(user)


def served(proxy, user):
    net.wait_until("login", lambda: login(proxy, user).startswith(b"l1 OK"), 20, step=0.1)


def test_init_loads_it_and_staff_see_its_release(make_ferry, backends, redis):
    make_ferry(backends, SETTINGS)
    assert libraries(redis) == [own_library()] and own_library().startswith("imapferry_0_1_0_")
    rows = redis.client().execute_command("FUNCTION", "LIST", "LIBRARYNAME", "imapferry*")
    names = {dict(zip(r[::2], r[1::2]))["name"] for r in dict(zip(rows[0][::2], rows[0][1::2]))["functions"]}
    assert names == {f"imapferry_{own_library().rpartition('_')[2]}_{n}" for n in scripts.names()}


def test_flushed_again_and_again_under_a_migration(make_ferry, backends, redis, old, new):
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=40))
    proxy, migrator = ferry.proxy(), ferry.migrator()
    client = redis.client()
    with connect(proxy) as live:
        assert live.login(user).startswith(b"l1 OK")
        until = time.monotonic() + 60
        while ferry.route(user).get("state") not in ("flipped", "settled"):
            assert time.monotonic() < until, ferry.route(user)
            client.execute_command("FUNCTION", "FLUSH")
            assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
            time.sleep(0.03)
        assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    assert_equal(old, new, user, 1)
    assert migrator.find("event=library_loaded") or proxy.find("event=library_loaded")
    assert not proxy.find("event=store_down") and not migrator.find("event=store_down")


def test_many_that_load_at_once(make_ferry, backends, redis):
    ferry = make_ferry(backends, SETTINGS)
    redis.client().execute_command("FUNCTION", "FLUSH")
    proxies = [ferry.proxy(proxy={"threads": 4}, wait=False) for _ in range(3)]
    for proxy in proxies:
        proxy.addresses = proxy.listeners(1)
        served(proxy, new_user())
        assert not proxy.find("event=store_refused") and not proxy.find("event=store_error")
    assert libraries(redis) == [own_library()]


def test_master_that_comes_without_it(make_ferry, backends, redis, old, new):
    """Flushed and ended in one breath, so that nobody can load it in between."""
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    fill(old, user, small(messages=10))
    proxy = ferry.proxy()
    ferry.migrator()
    pipeline = redis.client().pipeline(transaction=False)
    pipeline.execute_command("FUNCTION", "FLUSH")
    pipeline.execute_command("SHUTDOWN", "NOSAVE")
    with pytest.raises(Exception):
        pipeline.execute()
    redis.stop()
    redis.start()
    served(proxy, user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 1)
    assert own_library() in libraries(redis)


def test_migration_with_the_rights_of_the_sample_and_no_more(make_ferry, backends, redis, old, new):
    with open(os.path.join(CONF, "redis.acl"), encoding="ascii") as f:
        line = f.read().split()
    assert line[:2] == ["user", "imapferry"]
    redis.client().execute_command("ACL", "SETUSER", "imapferry", *line[2:])
    password = next(w for w in line if w.startswith(">"))[1:]
    url = redis.url.replace("redis://", f"redis://imapferry:{password}@")
    ferry = make_ferry(backends, {**SETTINGS, "redis": {"url": url}})
    user, seen = new_user(), redis.client().info("errorstats").get("errorstat_NOPERM")
    fill(old, user, small(messages=10))
    proxy, migrator = ferry.proxy(), ferry.migrator()
    with connect(proxy) as live:
        assert live.login(user).startswith(b"l1 OK")
        ferry.wait_state(user, "flipped")
        assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    for verb in (("status",), ("sessions", user), ("user", user), ("check",), ("audit", user), ("list",)):
        ferry.ctl(*verb)
    assert_equal(old, new, user, 1)
    assert redis.client().info("errorstats").get("errorstat_NOPERM") == seen, redis.client().execute_command("ACL", "LOG")
    assert not proxy.find("event=store_error") and not migrator.find("event=store_error")


def test_user_who_may_not_load_it(make_ferry, backends, redis):
    ferry = make_ferry(backends, SETTINGS)
    user = new_user()
    redis.client().execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "&*", "+@all", "-function|load")
    url = redis.url.replace("redis://", "redis://weak:pw@")
    proxy = ferry.proxy(redis={"url": url})
    served(proxy, user)  # it is there already
    redis.client().execute_command("FUNCTION", "FLUSH")
    assert login(proxy, user).startswith(b"l1 NO [UNAVAILABLE]")
    proxy.wait("event=store_refused why=.*conf/redis.acl says")
    status, _, err = ferry.ctl_raw("status", redis={"url": url})
    assert status == 5 and "function|load" in err
    redis.client().execute_command("ACL", "SETUSER", "weak", "+function|load")
    served(proxy, user)


@pytest.mark.parametrize("command", ["FUNCTION", "FCALL"])
def test_redis_without_functions_is_named(make_ferry, backends, command, redis_program, tmp_path):
    # In a file: each kind of server has other quotes on its command line.
    (tmp_path / "without.conf").write_text(f'rename-command {command} ""\n')
    store = redisd.Redis(port=net.free_port(), options=("include", str(tmp_path / "without.conf")), program=redis_program)
    try:
        ferry = make_ferry(backends, SETTINGS, store=store, init=False)
        status, out, err = ferry.ctl_raw("init")
        assert status == 5 and "Redis 7.0 or Valkey 7.2 or later is asked for" in err, (out, err)
        proxy = ferry.proxy()
        proxy.wait("event=store_refused why=.*Valkey 7.2")
        assert login(proxy, new_user()).startswith(b"l1 NO [UNAVAILABLE]")
        proxy.stop()
    finally:
        store.close()


def test_redis_that_is_too_old_is_named(make_ferry, backends, redis):
    """As Redis 6 answers."""
    def edit(direction, data):
        return re.sub(rb"-ERR Function not found\r\n", b"-ERR unknown command `FCALL`, with args beginning with: `x`\r\n", data) \
            if direction == DOWN else data
    relay = Relay(redis.address, edit)
    ferry = make_ferry(backends, SETTINGS, init=False)
    status, _, err = ferry.ctl_raw("init", redis={"url": relay.redis_url})
    assert status == 5 and "Redis 7.0 or Valkey 7.2 or later is asked for" in err, err
    relay.close()


@pytest.mark.parametrize("first", ["proxy", "migrator"])
def test_two_releases_side_by_side(make_ferry, backends, redis, old, new, tmp_path, first):
    """One kind of program is upgraded, then the other, with a session that is there all the while; and back."""
    fresh, wrapper = another_release(os.path.join(tmp_path, "next"), "0_2_0")
    ferry = make_ferry(backends, SETTINGS)
    users = [new_user() for _ in range(3)]
    for user in users:
        fill(old, user, small(messages=8))
    upgraded = {first}
    proxy = ferry.proxy(wrapper=wrapper("imapferry-proxy") if "proxy" in upgraded else ())
    migrator = ferry.migrator(wrapper=wrapper("imapferry-migrator") if "migrator" in upgraded else ())
    with connect(proxy) as live:
        assert live.login(users[0]).startswith(b"l1 OK")
        ferry.wait_state(users[0], "flipped")
        assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        assert libraries(redis) == sorted([own_library(), fresh])
        migrator.stop()
        migrator = ferry.migrator(wrapper=() if "migrator" in upgraded else wrapper("imapferry-migrator"))
        assert login(proxy, users[1]).startswith(b"l1 OK")
        ferry.wait_state(users[1], "flipped")
        assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    second = ferry.proxy(wrapper=() if "proxy" in upgraded else wrapper("imapferry-proxy"))
    for p in (proxy, second):
        assert login(p, users[2]).startswith(b"l1 OK")
    ferry.wait_state(users[2], "flipped")
    for user in users:
        assert_equal(old, new, user, 1)
    assert libraries(redis) == sorted([own_library(), fresh])
    for d in (proxy, second, migrator):
        assert not d.find("event=store_error")


def test_what_is_older_than_the_release_before_goes(make_ferry, backends, redis):
    others = ["imapferry_0_0_2_00000001", "imapferry_0_0_9_00000002", "imapferry_0_0_10_00000003", "imapferry_0_0_10_00000004",
              "imapferry_0_1_0_00000005", "imapferry_0_10_0_00000006", "imapferry_1_0_0_00000007", "imapferry_", "imapferryx", "other"]
    for name in others:
        plant(redis, name)
    ferry = make_ferry(backends, SETTINGS)
    net.wait_until("two gone", lambda: libraries(redis) == sorted(others[2:] + [own_library()]))
    proxy = ferry.proxy()
    served(proxy, new_user())
    plant(redis, others[0])
    served(proxy, new_user())
    assert others[0] in libraries(redis), "nothing is taken away but by who loads"
    redis.client().execute_command("FUNCTION", "DELETE", own_library())
    served(proxy, new_user())
    proxy.wait(f"event=library_removed name={others[0]}")
    net.wait_until("gone", lambda: libraries(redis) == sorted(others[2:] + [own_library()]))
