"""Two processes with one id, and a Redis whose settings are changed while a migrator runs."""
import re

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.site import Site, letters


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new")) as made:
        yield made


def ended(daemon):
    daemon.process.wait(30)
    return daemon.process.returncode


def test_second_of_one_id_is_refused_and_one_behind_a_crash_is_not(site):
    """The crashed one has told its id a moment ago; that its process is gone can be seen at once."""
    ferry = site.ferry
    for kind, start in (("migrator", ferry.migrator), ("proxy", ferry.proxy)):
        first = start(label=f"twin-{kind}")
        second = start(label=f"twin-{kind}", wait=False)
        second.wait(rf"event=id_taken .*process {first.process.pid}")
        assert ended(second) == 1, kind
        ferry.daemons.remove(second)
        assert first.process.poll() is None
        first.kill()
        third = start(label=f"twin-{kind}")
        assert not third.find("event=id_taken") and not third.find("BUSYGROUP")
        third.stop()
        assert not ferry.redis.client().hexists("imapferry:instances", f"{kind}/twin-{kind}"), "given back"


def test_redis_that_becomes_unsafe_stops_new_work(site):
    redis = site.ferry.redis.client()
    redis.config_set("appendfsync", "no")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("maxmemory", "200mb")
    try:
        site.migrator.wait("event=store_unsafe .*no job is begun until it is safe")
        user = letters(site, 3)
        site.start(user)
        net.wait_until("status", lambda: site.ferry.ctl("status")[1]["store"]["durability"] == "unsafe")
        assert site.ferry.route(user)["state"] == "queued"
    finally:
        redis.config_set("maxmemory", "0")
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("appendfsync", "always")
    site.wait(user, "ready")
    log = "\n".join(site.migrator.lines)
    assert re.search(rf"event=store_safe.*event=job_claimed [^\n]*{user}", log, re.S), log[-3000:]
