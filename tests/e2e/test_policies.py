"""When accounts are switched over: windows, caps, the automatic stop."""
import time

from harness import net
from harness.scene import Wire, assert_equal, fill, new_user, small

DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()


def other_day():
    """A time that is days away."""
    return f"{DAYS[(time.localtime().tm_wday + 3) % 7]} 10:00-11:00"


def test_outside_the_window(make_ferry, backends, old, new):
    user = new_user("window")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"cutover": "window", "window": [other_day()]}})
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    net.wait_until("its wait", lambda: ferry.route(user).get("reason", "").startswith("window: "))
    route = ferry.route(user)
    assert (route["state"], route["backend"], route["owner"]) == ("ready", "old", ""), route
    left = int(route["next_try"]) / 1000 - time.time()
    assert 24 * 3600 < left < 5 * 24 * 3600
    redis = ferry.redis.client()
    assert redis.zscore("imapferry:later", user) == float(route["next_try"])

    redis.hset(f"imapferry:route:{user}", "next_try", "1")
    redis.zadd("imapferry:later", {user: 1})
    net.wait_until("another look", lambda: ferry.route(user)["epoch"] != route["epoch"])
    net.wait_until("its wait", lambda: ferry.route(user).get("reason", "").startswith("window: "))
    assert ferry.route(user)["backend"] == "old"

    assert ferry.ctl("migrate", user, "--now")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 6)


def test_inside_the_window(make_ferry, backends, old, new):
    user = new_user("open")
    fill(old, user, small(messages=6))
    settings = {"cutover": "window", "window": [other_day(), "00:00-24:00"], "freeze_jitter": "1s"}
    ferry = make_ferry(backends, {"migration": settings})
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 6)


def test_so_many_a_minute(make_ferry, backends, old):
    users = [new_user("cap") for _ in range(3)]
    for user in users:
        fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"max_flips_per_minute": 2, "trigger": "manual"}})
    ferry.migrator()
    ferry.migrator()
    for user in users:
        assert ferry.ctl("migrate", user)[0] == 0

    def states():
        return sorted(ferry.route(user).get("state", "") for user in users)
    net.wait_until("two flips", lambda: states().count("flipped") == 2 and "ready" in states())
    time.sleep(1)
    assert states() == ["flipped", "flipped", "ready"]
    redis = ferry.redis.client()
    for user in users:
        redis.zadd("imapferry:flips", {user: 1}, xx=True)
    net.wait_until("the third", lambda: states() == ["flipped"] * 3)


def test_the_automatic_stop(make_ferry, backends, old):
    user, other = new_user("stuck"), new_user("waits")
    for x in (user, other):
        fill(old, x, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"stop_failure_share": 50, "freeze_budget": "300ms"},
                                  "migrator": {"retry_max": "400ms"}})
    proxy = ferry.proxy()
    with Wire(proxy.addresses[0]) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.login(user)
        wire.send(b"a APPEND INBOX {1000}\r\n")
        wire.until(b"+ ")
        migrator = ferry.migrator()
        migrator.wait(r"event=automatic_stop")
        wire.send(b"x" * 1000 + b"\r\n")
        wire.until(b"a ")
    status = ferry.ctl("status")[1]
    assert "5 of the last 5" in str(status), status
    assert "automatic stop" in str(status), status
    assert [e["who"] for e in ferry.ctl("audit")[1]["audit"] if e["what"] == "pause"] == ["automatic stop"]
    ferry.login(proxy, other, "secret").logout()
    time.sleep(1)
    assert ferry.route(other)["state"] == "queued"
    assert ferry.ctl("resume")[0] == 0
    ferry.wait_state(other, "flipped")
    ferry.wait_state(user, "flipped")
