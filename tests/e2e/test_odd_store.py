"""What is in Redis and none of ours wrote: it concerns the account whose record it is, it is told, and nobody ends for it."""
import pytest

from fakes.fake_imap import FakeImap
from harness.site import LETTER, Site, letters


@pytest.fixture(name="site", scope="module")
def _site():
    with Site(FakeImap("old"), FakeImap("new")) as made:
        made.proxy = made.ferry.proxy()
        yield made


def record(site, kind, user):
    return f"imapferry:{kind}:{user}"


def copied(site):
    user = letters(site, 3)
    site.copy(user)
    return user


def others_move(site):
    user = letters(site, 1)
    site.move(user)
    site.same(user, 1)


def test_route_that_nobody_can_read_is_told_to_staff_and_refused_to_its_user(site):
    user, redis = copied(site), site.ferry.redis.client()
    for field, value in (("epoch", "many"), ("state", "ready x"), ("backend", "elsewhere"), ("backend", "old\0new")):
        right = redis.hget(record(site, "route", user), field)
        redis.hset(record(site, "route", user), field, value)
        status, _, text = site.ferry.ctl_raw("flip", user, "--to", "new", "--reason", "test")
        assert status != 0 and "does not answer" not in text, text
        client = site.ferry.connect(site.proxy)
        with pytest.raises(Exception, match="UNAVAILABLE"):
            client.login(user, "secret")
        client.shutdown()
        redis.hset(record(site, "route", user), field, right)
    site.flip(user)
    site.same(user, 3)


def test_record_of_another_type_is_told_by_what_redis_says(site):
    user, redis = copied(site), site.ferry.redis.client()
    redis.delete(record(site, "route", user))
    redis.rpush(record(site, "route", user), "x")
    status, _, text = site.ferry.ctl_raw("hold", user, "--reason", "test")
    assert status == 5 and "WRONGTYPE" in text, text
    others_move(site)


@pytest.mark.parametrize("entry", ["garbage", "1 verified 1:4294967296", "3 landed 1:3 7:9"])
def test_ledger_that_nobody_wrote_is_not_believed(site, entry):
    """Nothing is lost or doubled by it, whatever the account's end is."""
    user, redis = copied(site), site.ferry.redis.client()
    key = next(k for k in redis.keys("*") if f":ledger:{user}:" in k)
    redis.rpush(key, entry)
    site.source.add(user, "INBOX", LETTER % 7)
    site.ferry.ctl("flip", user, "--to", "new", "--reason", "test")
    route = site.wait(user, "flipped", "backoff", "blocked")
    if route["state"] == "flipped":
        site.same(user, 4)
    else:
        assert "ledger" in route["reason"], route["reason"]
    others_move(site)


@pytest.mark.parametrize("kind", ["views", "stamps", "report", "waivers"])
def test_record_beside_the_mail_that_nobody_wrote(site, kind):
    user, redis = copied(site), site.ferry.redis.client()
    if kind == "report":
        redis.set(record(site, kind, user), "[[[")
    else:
        for field in redis.hkeys(record(site, kind, user)) or ["x"]:
            redis.hset(record(site, kind, user), field, "garbage")
    assert site.ferry.ctl_raw("user", user, "--report")[0] in (0, 1)
    site.ferry.ctl("flip", user, "--to", "new", "--reason", "test")
    route = site.wait(user, "flipped", "backoff", "blocked")
    if route["state"] == "flipped":
        site.same(user, 3)
    else:
        assert route["reason"]


def test_counts_that_are_no_numbers_stop_nobody(site):
    redis = site.ferry.redis.client()
    for field in list(redis.hkeys("imapferry:counts")):
        redis.hset("imapferry:counts", field, "many")
    others_move(site)
    with redis.pipeline() as at_once:  # else a migrator counts in between
        at_once.delete("imapferry:counts").rpush("imapferry:counts", "x").execute()
    others_move(site)
    assert site.ferry.ctl_raw("status")[0] == 0


def test_accounts_whose_records_are_broken_take_nobodys_place(site):
    """More of them than jobs at once, before they are claimed and behind it, and at the head of the late watch."""
    redis = site.ferry.redis.client()
    late, queued = copied(site), [letters(site, 1) for _ in range(6)]
    site.flip(late)
    redis.hset(record(site, "route", late), "epoch", "many")
    redis.zadd("imapferry:late", {late: 1, "garbage": 0})
    assert site.ferry.ctl("pause", "--reason", "test")[0] == 0
    for i, user in enumerate(queued):
        site.start(user)
        if i % 2:
            redis.hset(record(site, "route", user), "attempts", "many")
        else:
            redis.rename(record(site, "route", user), "kept")
            redis.rpush(record(site, "route", user), "x")
    assert site.ferry.ctl("resume")[0] == 0
    others_move(site)
    site.migrator.wait("event=job_broken")
