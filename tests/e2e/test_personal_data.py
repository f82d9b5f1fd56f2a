"""conf/handbook/personal-data.md: what of a person is in Redis, and what stays after `forget`."""
import os
import re

import pytest

from harness.scene import connect, fill, new_user, small

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "conf", "handbook", "personal-data.md")


def rows():
    """(keys, does it stay) of each row of the page's table."""
    with open(PAGE, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            keys = re.findall(r"`([a-z:A-Z]+)`", cells[0])
            if line.startswith("| `") and len(cells) == 4 and not line.startswith("| `journal"):
                yield keys, "STAYS" in cells[3]


def pattern(key):
    return re.compile("imapferry:" + re.sub(r"NAME|ID|STATE|WORD|WAVE|XXXX", ".*", key))


def texts(redis, key):
    """All that a key holds."""
    kind = redis.type(key).decode()
    read = {"string": lambda: [redis.get(key)], "hash": lambda: redis.hgetall(key), "list": lambda: redis.lrange(key, 0, -1),
            "zset": lambda: redis.zrange(key, 0, -1), "set": lambda: redis.smembers(key), "stream": lambda: redis.xrange(key)}[kind]()
    return repr(read)


def holders(server, user):
    """The keys that have the name, or hold it."""
    raw = server.client(decode=False)  # marks are bytes
    return {key.decode() for key in raw.scan_iter("imapferry:*", count=1000) if user in key.decode() or user in texts(raw, key)}


@pytest.fixture
def ferry(make_ferry, backends):
    return make_ferry(backends, {"migration": {"trigger": "manual", "late_watch": "1s"}})


def test_after_forget_nothing_is_there_but_what_the_page_says(ferry, old, new):
    user, redis = new_user("person"), ferry.redis.client()
    fill(old, user, small(messages=6))
    proxy = ferry.proxy()
    ferry.migrator()
    assert ferry.ctl("hold", user, "--reason", "not yet")[0] == ferry.ctl("release", user)[0] == 0
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        wire.command(b"s", b"SELECT INBOX")
        assert ferry.ctl("forget", user, "--gone", "--reason", "left")[0] == 4, "signed in"
        assert ferry.ctl("waive", user, "too_large", "--reason", "x")[0] == 0
        kept = holders(ferry.redis, user)
        known = [pattern(key) for keys, _ in rows() for key in keys]
        assert len(known) > 20 and len(kept) > 8
        assert not [key for key in kept if not any(p.fullmatch(key) for p in known)], "a key that the page does not name"
        assert ferry.ctl("kick", user)[1]["sessions"] == 1
        wire.until(b"* BYE")
    ferry.wait_state(user, "settled")
    status, answer = ferry.ctl("forget", user, "--gone", "--reason", "left")
    assert status == 0, answer
    stays = [pattern(key) for keys, stay in rows() if stay for key in keys]
    left = holders(ferry.redis, user)
    assert left and not [key for key in left if not any(p.fullmatch(key) for p in stays)], left
    assert f"imapferry:audit:{user}" in left and 0 < redis.pttl(f"imapferry:audit:{user}") <= 365 * 86400000


def test_what_staff_did_before_a_migrator_was_started_ends_too(ferry):
    """Until then nobody had told the store for how long, and what was written in that time stayed for ever."""
    user, redis = new_user("early"), ferry.redis.client()
    assert ferry.ctl("hold", user, "--reason", "not yet")[0] == 0
    year = 365 * 24 * 3600 * 1000
    assert year - 60000 < redis.pttl(f"imapferry:audit:{user}") <= year
