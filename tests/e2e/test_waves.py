"""Waves: whose login sets a migration off, in which order, and how many a day."""
import contextlib
import os
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import Ferry, backend
from harness.scene import assert_equal, change, fill, new_user, small

LETTER = b"From: a@example.org\r\nSubject: hello\r\n\r\ntext\r\n"
PILOT, REST = 'wave "pilot"', 'wave "rest"'


class Scene:
    """Two fake servers, and imapferry with waves whose migrations nothing else sets off."""

    def __init__(self, redis, cert, waves, settings=None):
        self.stack = contextlib.ExitStack()
        servers = [self.stack.enter_context(FakeImap(name)) for name in ("old", "new")]
        self.old = servers[0]
        migration = dict({"trigger": "manual"}, **(settings or {}))
        self.ferry = Ferry(redis, {s.name: backend(s, "imap") for s in servers}, cert,
                           {"migration": migration, **waves})
        self.stack.callback(self.ferry.close)
        self.ferry.init()

    def user(self, label="wave"):
        user = new_user(label)
        self.old.add(user, "INBOX", LETTER)
        return user

    def login(self, proxy, user):
        """A whole session; the state that its account is in afterwards."""
        self.ferry.login(proxy, user, "secret").logout()
        return self.ferry.route(user).get("state", "resting")

    def told(self, user):
        """What `user` says of its wave: name, and why it is not its turn."""
        status, answer = self.ferry.ctl("user", user)
        assert status in (0, 3), answer
        wave = answer["wave"]
        return wave and (wave["name"], wave["not_its_turn"])

    def wave(self, name):
        found, = [w for w in self.ferry.ctl("status")[1]["waves"] if w["wave"] == name]
        return found


@pytest.fixture(name="scene")
def make_scene(redis, cert):
    made = []

    def make(waves, **settings):
        made.append(Scene(redis, cert, waves, settings))
        return made[-1]
    yield make
    for scene in made:
        scene.stack.close()


def a_list(scene_folder, *users):
    path = os.path.join(scene_folder, "pilot.txt")
    with open(path, "w", encoding="utf-8") as f:
        f.write("# who begins\n" + "".join(u.upper() + "\n" for u in users))
    return path


def test_a_list_moves_and_nobody_else_does(scene, tmp_path):
    listed, other, third = new_user("listed"), new_user("other"), new_user("third")
    path = a_list(tmp_path, listed)
    s = scene({PILOT: {"accounts": [path]}})
    for user in (listed, other, third):
        s.old.add(user, "INBOX", LETTER)
    proxy = s.ferry.proxy()
    assert s.told(listed) == ("pilot", None) and s.told(other) is None
    assert [s.login(proxy, u) for u in (listed, other)] == ["queued", "resting"]
    # The file is read anew by SIGHUP; one that is wrong is refused, and all stays as it was.
    with open(path, "a", encoding="utf-8") as f:
        f.write("not a name\n")
    since = proxy.reload("reload_refused")
    assert proxy.find(r'event=reload_refused error=.*wave "?.*pilot.*line 3 is more than a login name', since)
    a_list(tmp_path, other)
    since = proxy.reload("reloaded")
    assert proxy.find(r"event=option_reloaded section=wave name=pilot option=accounts", since)
    assert s.login(proxy, other) == "queued"
    # A wave that is new in the file is taken without a restart.
    assert s.login(proxy, third) == "resting"
    conf = os.path.join(s.ferry.folder, proxy.label + ".conf")
    change(conf, PILOT, REST + ' {\n    accounts = "*"\n}\n' + PILOT)
    since = proxy.reload("reloaded")
    assert proxy.find(r"event=option_reloaded section=wave name=rest option=-", since)
    assert s.login(proxy, third) == "queued"
    s.ferry.migrator()
    for user in (listed, other, third):
        assert s.ferry.wait_state(user, "flipped")["backend"] == "new"
    found = s.wave("pilot")
    assert (found["listed"], found["moved"], found["under_way"], found["failing"], found["today"]) == (1, 2, 0, 0, 2)
    gone = [w["wave"] for w in s.ferry.ctl("status")[1]["waves"] if not w["configured"]]
    assert gone == ["rest"], "imapferryctl's file knows it not, and it has moved an account"


def test_a_share_is_always_the_same_accounts(scene):
    s = scene({PILOT: {"accounts": ["*"], "share": 40}})
    users = [s.user("share") for _ in range(12)]
    proxy = s.ferry.proxy()
    states = {u: s.login(proxy, u) for u in users}
    told = {u: s.told(u) for u in users}
    for user in users:
        wanted = "the account is not among the 40 % that are moved (share)" if states[user] == "resting" else None
        assert told[user] == ("pilot", wanted)
    assert {s.login(proxy, u) for u in users if states[u] == "resting"} <= {"resting"}
    conf = os.path.join(s.ferry.folder, proxy.label + ".conf")
    change(conf, "share = 40", "share = 100")
    proxy.reload("reloaded")
    assert {s.login(proxy, u) for u in users} == {"queued"}


def test_a_time_and_a_number_a_day_at_two_proxies(scene):
    s = scene({PILOT: {"accounts": ["*@first.example"], "after": "2099-01-01"},
               REST: {"accounts": ["*"], "per_day": 3}})
    early, users = new_user("early") + "@first.example", [s.user("day") for _ in range(5)]
    s.old.add(early, "INBOX", LETTER)
    proxies = [s.ferry.proxy(), s.ferry.proxy()]
    assert s.login(proxies[0], early) == "resting"
    assert s.told(early) == ("pilot", "it begins at 2099-01-01 00:00 (after)")
    states = [s.login(proxies[i % 2], u) for i, u in enumerate(users)]
    assert states == ["queued"] * 3 + ["resting"] * 2
    name, why = s.told(users[4])
    assert name == "rest" and why.startswith("the 3 accounts of this day have begun (per_day); it goes on at 20"), why
    out = s.ferry.ctl_raw("status")[1]
    assert "3 of 3 today" in out and "begins at 2098-12-31" in out or "begins at 2099-01-01" in out, out
    # The next day.
    s.ferry.redis.client().hincrby("imapferry:waves", "rest:day", -1)
    assert s.told(users[4]) == ("rest", None) and s.wave("rest")["today"] == 0
    assert [s.login(proxies[1], u) for u in users[3:]] == ["queued"] * 2 and s.wave("rest")["today"] == 2


def test_pause_and_resume_of_one_wave(scene):
    s = scene({PILOT: {"accounts": ["pilot*"]}, REST: {"accounts": ["*"]}})
    users = [s.user("pilot") for _ in range(3)]
    others = [s.user("rest") for _ in range(2)]
    proxy = s.ferry.proxy()
    assert s.login(proxy, users[0]) == "queued"
    assert s.ferry.ctl("pause", "--wave", "pilto")[0] == 2
    assert "did you mean \"pilot\"" in s.ferry.ctl("pause", "--wave", "pilto")[1]["error"]
    assert s.ferry.ctl("pause", "--wave", "pilot", "--reason", "look first")[0] == 0
    assert [s.login(proxy, u) for u in (users[1], others[0])] == ["resting", "queued"]
    why = s.told(users[1])[1]
    assert why.startswith("it is paused by ") and why.endswith(": look first"), why
    # One job at a time: what waits in the paused wave is in nobody's way.
    migrator = s.ferry.migrator(migrator={"jobs": 1})
    s.ferry.wait_state(others[0], "flipped")
    net.wait_until("parked", lambda: s.ferry.route(users[0]).get("parked"))
    parked = s.ferry.user(users[0])
    assert (parked["state"], parked["reason"]) == ("queued", "wave: pilot is paused") and "resume --wave" in parked["advice"]
    assert s.told(users[0])[1] == why
    found = s.wave("pilot")
    assert (found["paused"], found["parked"], found["under_way"], found["moved"]) == (True, 1, 1, 0)
    assert "PAUSED by" in s.ferry.ctl_raw("status")[1] and "look first" in s.ferry.ctl_raw("status")[1]
    # What staff move by name goes, and the wave stays paused.
    assert s.ferry.ctl("migrate", users[2])[0] == 0
    s.ferry.wait_state(users[2], "flipped")
    assert s.ferry.route(users[0])["state"] == "queued"
    assert s.ferry.ctl("resume", "--wave", "pilot")[0] == 0
    s.ferry.wait_state(users[0], "flipped")
    assert s.login(proxy, users[1]) != "resting"
    s.ferry.wait_state(users[1], "flipped")
    assert (s.wave("pilot")["moved"], s.wave("pilot")["parked"], s.wave("pilot")["paused"]) == (2, 0, False)
    audit = [(e["what"], e["after"]) for e in s.ferry.ctl("audit")[1]["audit"] if e["what"] in ("pause", "resume")]
    assert audit == [("resume", "running wave pilot"), ("pause", "paused wave pilot")]
    migrator.stop()


def test_a_copy_under_way_is_parked_before_its_switch_over(scene):
    """By the pause of its wave, with its migrator killed in between: nobody loses it, and it is moved once."""
    s = scene({PILOT: {"accounts": ["*"]}}, cutover="window", window=[f"{time.strftime('%a', time.localtime(time.time() + 3 * 86400))} 10:00-11:00"])
    user = s.user("copied")
    proxy, migrator = s.ferry.proxy(), s.ferry.migrator()
    assert s.login(proxy, user) != "resting"
    net.wait_until("its wait", lambda: s.ferry.route(user).get("reason", "").startswith("window: "))
    assert s.ferry.ctl("pause", "--wave", "pilot")[0] == 0
    redis = s.ferry.redis.client()
    redis.hset(f"imapferry:route:{user}", "next_try", "1")
    redis.zadd("imapferry:later", {user: 1})
    net.wait_until("parked", lambda: s.ferry.route(user).get("parked"))
    migrator.kill()
    other = s.ferry.migrator(migration={"cutover": "immediate"})
    assert s.ferry.ctl("resume", "--wave", "pilot")[0] == 0
    s.ferry.wait_state(user, "flipped")
    assert not redis.keys("imapferry:parked*") and redis.xlen("imapferry:jobs") == 0
    assert redis.hget("imapferry:waves", "pilot:today") == "1"
    other.stop()


def test_many_at_two_proxies_and_two_migrators_while_waves_change(scene):
    """Unlike configurations during a reload: every account moves once, and the day's number is kept."""
    s = scene({PILOT: {"accounts": ["*"], "per_day": 20}})
    users = [s.user("many") for _ in range(24)]
    one = s.ferry.proxy()
    two = s.ferry.proxy(**{PILOT: {"per_day": 10}})
    s.ferry.migrator()
    s.ferry.migrator()
    before = [s.login((one, two)[i % 2], u) for i, u in enumerate(users[:12])]
    conf = os.path.join(s.ferry.folder, two.label + ".conf")
    change(conf, "per_day = 10", "per_day = 20")
    two.reload("reloaded")
    for i, user in enumerate(users):
        s.login((one, two)[i % 2], user)
    moved = [u for u in users if s.ferry.route(u)]
    assert len(moved) == 20 and before.count("resting") <= 2, (len(moved), before)
    for user in moved:
        s.ferry.wait_state(user, "flipped")
    assert (s.wave("pilot")["today"], s.wave("pilot")["moved"]) == (20, 20)
    flips = [e["user"] for _, e in s.ferry.redis.client().xrange("imapferry:audit") if e["what"] == "flip"]
    assert sorted(flips) == sorted(moved)


@pytest.mark.writes_source
def test_a_wave_between_real_servers(make_ferry, backends, old, new):
    user, other = new_user("real"), new_user("waits")
    for x in (user, other):
        fill(old, x, small(messages=6))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual"}, PILOT: {"accounts": ["real*"], "per_day": 1}})
    proxy = ferry.proxy()
    client = ferry.login(proxy, user, "secret")
    ferry.login(proxy, other, "secret").logout()
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    client.select("INBOX")
    assert ferry.where(user) == {"new"} and not ferry.route(other)
    client.logout()
    assert_equal(old, new, user, 6)
