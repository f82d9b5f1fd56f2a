"""When accounts are switched over: windows, idleness, caps, the automatic stop."""
import threading
import time

import pytest

from harness import mail, net
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
        return sorted(ferry.route(user).get("state", "").replace("settled", "flipped") for user in users)
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


# ---- cutover = idle

def waits_for_idleness(ferry, user):
    net.wait_until("its wait", lambda: ferry.route(user).get("reason", "").startswith("idle: "))
    return ferry.route(user)


def is_marked(ferry, user):
    return ferry.redis.client().pttl(f"imapferry:busy:{user}") > 0


def time_has_come(ferry, user, **fields):
    """For another look at it, whose time is far."""
    redis = ferry.redis.client()
    redis.hset(f"imapferry:route:{user}", mapping=dict(fields, next_try="1"))
    redis.zadd("imapferry:later", {user: 1})


@pytest.mark.writes_source
def test_an_account_in_use_waits_and_its_mail_comes_along(make_ferry, backends, old, new):
    user = new_user("busy")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"cutover": "idle", "idle_time": "1h"}})
    proxy = ferry.proxy()
    client = ferry.login(proxy, user, "secret")
    client.list()
    client.noop()
    client.status("INBOX", "(MESSAGES)")
    assert not is_marked(ferry, user), "what programs do by themselves is no use"
    client.select("INBOX")
    net.wait_until("the mark", lambda: is_marked(ferry, user))
    ferry.migrator()
    route = waits_for_idleness(ferry, user)
    assert (route["state"], route["backend"], route["owner"]) == ("ready", "old", ""), route
    left = int(route["next_try"]) / 1000 - time.time()
    assert 20 * 60 < left <= 30 * 60, "the next pass comes before the mark ends"
    told = ferry.user(user)
    assert told["waits_since"] and "--now" in told["advice"], told
    assert "waits since" in ferry.ctl_raw("user", user)[1]

    client.append("INBOX", "", None, b"Subject: while it waits\r\n\r\nx\r\n")
    time_has_come(ferry, user, pass_at="1")
    net.wait_until("a pass", lambda: ferry.route(user)["epoch"] != route["epoch"])
    again = waits_for_idleness(ferry, user)
    assert (again["state"], again["backend"], again["waits"]) == ("ready", "old", route["waits"])
    m = mail.connect(new, user, "secret")
    assert m.select("INBOX", readonly=True) == ("OK", client.select("INBOX")[1])
    m.logout()

    ferry.redis.client().delete(f"imapferry:busy:{user}")  # as if an hour had passed, or a failover had lost it
    time_has_come(ferry, user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 7)


def test_staff_do_not_wait_for_a_user_who_is_never_idle(make_ferry, backends, old, new):
    user = new_user("never")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"cutover": "idle", "idle_time": "1h"}})
    proxy = ferry.proxy()
    ferry.migrator()
    client = ferry.login(proxy, user, "secret")
    client.select("INBOX")
    waits_for_idleness(ferry, user)
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "they are on the phone")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 6)


def test_a_phone_in_idle_and_a_program_that_polls_are_no_use(make_ferry, backends, old, new):
    user = new_user("phone")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"cutover": "idle", "idle_time": "2s"}})
    one, other = ferry.proxy(), ferry.proxy()
    ferry.migrator()
    redis = ferry.redis.client()
    stop = threading.Event()

    def poll(client):
        while not stop.wait(0.2):
            try:
                client.noop()
                client.status("INBOX", "(UNSEEN)")
            except (client.error, OSError):  # the flip, where it can't be handed over
                return
    with Wire(one.addresses[0]) as phone:
        phone.until(b"* ")
        assert b" OK" in phone.login(user)
        before = redis.time()[0]
        phone.command(b"s", b"SELECT INBOX")
        phone.line(b"i IDLE")
        phone.until(b"+ ")
        polls = threading.Thread(target=poll, args=(ferry.login(other, user, "secret"),))
        polls.start()
        try:
            route = ferry.wait_state(user, "flipped")
        finally:
            stop.set()
            polls.join()
    assert int(route["flipped_at"]) >= (before + 2) * 1000, "SELECT is use"
    assert_equal(old, new, user, 6)


def test_use_through_a_proxy_that_died_ends_by_itself(make_ferry, backends, old, new):
    user = new_user("died")
    fill(old, user, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"cutover": "idle", "idle_time": "4s"}})
    one, _ = ferry.proxy(), ferry.proxy()
    ferry.login(one, user, "secret").select("INBOX")
    net.wait_until("the mark", lambda: is_marked(ferry, user))
    one.kill()
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 6)


def test_what_was_used_just_before_it_was_queued_is_in_use(make_ferry, backends, old):
    user = new_user("before")
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"cutover": "idle", "idle_time": "1h", "trigger": "manual"}})
    client = ferry.login(ferry.proxy(), user, "secret")
    client.select("INBOX")
    assert ferry.ctl("migrate", user)[0] == 0
    net.wait_until("the mark", lambda: is_marked(ferry, user))
    ferry.migrator()
    waits_for_idleness(ferry, user)
