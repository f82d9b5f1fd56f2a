"""The configuration names other backends than Redis does: nobody may be served from the wrong server for it."""
import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.scene import connect, new_user
from harness.site import LETTER, Site


@pytest.fixture
def site():
    with Site(FakeImap("old"), FakeImap("new"), {"migration": {"cutover": "immediate", "late_watch": "1h"}}) as made:
        yield made


EXCHANGED = {"migration": {"source": "new", "target": "old"}}


def test_source_and_target_are_exchanged(site):
    """An account without a record was signed in on the new server, and its mail is on the old one."""
    ferry, user = site.ferry, new_user("exchanged")
    site.letters(user, LETTER % 1)
    assert ferry.redis.client().hget("imapferry:store", "source") == "old"
    proxy = ferry.proxy(wait=False, **EXCHANGED)
    line = proxy.wait(".*event=store_differs.*").group()
    assert "level=error" in line and "migration.source" in line and "route source" in line, line
    migrator = ferry.migrator(wait=False, **EXCHANGED)
    migrator.wait("level=error event=store_differs")
    status, answer = ferry.ctl("status", **EXCHANGED)
    assert status == 4 and '"old" by the store, and on "new"' in answer["error"], answer
    assert ferry.ctl("migrate", user, **EXCHANGED)[0] == 4 and not ferry.route(user)
    checks = ferry.ctl("check", **EXCHANGED)[1]["checks"]
    assert any(c["of"] == "redis" and c["level"] == "error" and "migration.source" in c["text"] for c in checks), checks

    # Staff who mean it say so; programs that wait go on by themselves.
    assert ferry.ctl("route", "source", "nwe", **EXCHANGED)[0] == 2 and ferry.ctl("route", "source", **EXCHANGED)[0] == 2
    status, answer = ferry.ctl("route", "source", "new", **EXCHANGED)
    assert status == 4 and "--yes" in answer["error"]
    assert ferry.ctl("route", "source", "new", "--yes", **EXCHANGED)[0] == 2, "a reason"
    told = ("route", "source", "new", "--yes", "--reason", "moved by hand")
    status, answer = ferry.ctl(*told, **EXCHANGED)
    assert status == 4 and "is alive" in answer["error"], answer
    for daemon in list(ferry.daemons):
        if daemon not in (proxy, migrator):
            daemon.stop()
    status, answer = ferry.ctl(*told, **EXCHANGED)
    assert status == 0 and "before: old" in answer["message"], answer
    migrator.wait("event=ready")
    assert ferry.ctl("status", **EXCHANGED)[0] == 0 and ferry.ctl("status")[0] == 4
    entry = ferry.ctl("audit", **EXCHANGED)[1]["audit"][0]
    assert entry["what"] == "route source" and entry["reason"] == "moved by hand" and entry["before"] == "old", entry


def test_a_store_of_the_version_before_learns_it(site):
    redis = site.ferry.redis.client()
    redis.hdel("imapferry:store", "source")
    assert site.ferry.ctl("status", **EXCHANGED)[0] == 0 and not redis.hget("imapferry:store", "source")
    site.ferry.proxy()
    assert redis.hget("imapferry:store", "source") == "old"


def test_a_backend_is_renamed(site):
    """61 accounts lived on "new", and neither check nor status had a word on it."""
    ferry, user = site.ferry, new_user("renamed")
    site.letters(user, LETTER % 1)
    site.move(user)
    redis = ferry.redis.client()
    redis.hset(f"imapferry:route:{user}", "backend", "neu")
    redis.hset("imapferry:counts", mapping={"backend:neu": 1, "backend:new": 0})
    proxy = ferry.proxy()
    line = proxy.wait(".*event=backend_unknown.*").group()
    assert "level=error" in line and '1 on' in line and "neu" in line
    ferry.migrator().wait("level=error event=backend_unknown")
    assert ferry.ctl("status")[1]["backends_unknown"] == '1 on "neu"'
    assert 'NO SUCH BACKEND in the configuration: 1 on "neu"' in ferry.ctl_raw("status")[1]
    status, answer = ferry.ctl("check")
    assert status == 1 and [c["text"] for c in answer["checks"] if c["level"] == "error"] == [
        "accounts live on backends that the configuration does not name, and their users can't sign in: 1 on \"neu\""]


def test_redis_is_full(site):
    """`check` said "it keeps what it is told", and `status` that no proxy and no migrator was alive."""
    ferry, user = site.ferry, new_user("full")
    site.letters(user, LETTER % 1)
    proxy, redis = ferry.proxy(), ferry.redis.client()

    def warnings():
        redis.config_set("maxmemory", int(int(redis.info("memory")["used_memory"]) / 0.88))
        return [c for c in ferry.ctl("check")[1]["checks"] if "memory" in c["text"]]
    line = net.wait_until("what it uses is the same when check looks", warnings)
    assert [c["level"] for c in line] == ["warning"] and "(maxmemory)" in line[0]["text"], line
    redis.config_set("maxmemory", "1mb")
    status, answer = ferry.ctl("check")
    errors = [c["text"] for c in answer["checks"] if c["level"] == "error"]
    assert status == 1 and any("of its memory are used" in e for e in errors), errors
    assert any(e.startswith("Redis refuses writes, since its memory is full (maxmemory)") for e in errors), errors
    with connect(proxy) as wire:
        assert b"[UNAVAILABLE]" in wire.login(user)
    status, answer = ferry.ctl("status")
    assert status == 0 and "memory is full" in answer["store"]["refuses_writes"], answer
    assert len(answer["proxies"]) > 0 and "Redis refuses writes, since its memory is full" in ferry.ctl_raw("status")[1]
    for verb in (["migrate", user], ["hold", user], ["pause"], ["flip", user, "--to", "new", "--reason", "x"], ["retry", "--all"]):
        status, answer = ferry.ctl(*verb)
        assert status != 0 and "OOM" in answer["error"], (verb, status, answer)
    assert "memory is full" in ferry.ctl("user", user)[1]["held_up"]
    redis.config_set("maxmemory", "0")
    assert ferry.ctl("status")[1]["store"]["refuses_writes"] is None and redis.keys("*probe*") == []


def test_the_store_is_gone(site):
    """The proxy said that its lease had lapsed, and the migrator that Redis did not answer, which it did."""
    ferry, user = site.ferry, new_user("gone")
    site.letters(user, LETTER % 1)
    proxy = ferry.proxy()
    ferry.redis.client().flushall()
    for daemon in (proxy, site.migrator):
        line = daemon.wait(".*event=store_missing.*").group()
        assert "level=error" in line and "every login is refused" in line, line
    with connect(proxy) as wire:
        assert b"[UNAVAILABLE]" in wire.login(user)
    net.wait_until("the store again", lambda: ferry.ctl("init")[0] == 0)
    assert len(proxy.find("event=store_missing")) == 1, "once a minute"
