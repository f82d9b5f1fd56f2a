"""Redis loses everything: what journals and exports know is brought back, and nobody is on the wrong server."""
import json
import os

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.scene import connect, new_user
from harness.site import LETTER, Site


@pytest.fixture
def site():
    with Site(FakeImap("old"), FakeImap("new"), {"migration": {"cutover": "immediate", "late_watch": "1h"}}) as made:
        yield made


def journals(ferry, *labels):
    return [os.path.join(ferry.folder, name) for name in labels]


def test_everything_is_lost_in_the_middle_of_many_migrations(site):
    ferry = site.ferry
    ferry.migrator(migrator={"journal_dir": os.path.join(ferry.folder, "journal-b"), "jobs": 2})
    users = [new_user(f"many{i}") for i in range(30)]
    for user in users:
        site.letters(user, *(LETTER % i for i in range(5)))
    held, back = users[0], users[1]
    assert ferry.ctl("hold", held, "--reason", "her wish")[0] == 0
    site.move(back)
    assert ferry.ctl("flip", back, "--to", "old", "--reason", "asked for")[0] == 0
    site.wait(back, "held")
    backup = os.path.join(ferry.folder, "backup")
    status, answer = ferry.ctl("route", "export", backup)
    assert status == 0 and answer["exported"] == 2, answer
    assert os.stat(backup).st_mode & 0o777 == 0o600 and not os.path.exists(backup + ".part")
    for user in users[2:]:
        site.start(user)
    for user in users[2:8]:
        site.wait(user, "flipped")
    redis = ferry.redis.client()
    redis.flushall()
    for daemon in list(ferry.daemons):
        daemon.stop()

    status, answer = ferry.ctl("init")
    assert status == 4 and "route restore" in answer["error"], answer
    files = journals(ferry, "journal", "journal-b")
    flips = []
    for folder in files:
        with open(os.path.join(folder, "flips"), encoding="ascii") as f:
            flips += [json.loads(line) for line in filter(str.strip, f)]
    moved = {flip["user"]: flip["target"] for flip in sorted(flips, key=lambda x: int(x["epoch"]))}
    assert set(users[2:8]) <= set(moved) and held not in moved and moved[back] == "old"
    status, answer = ferry.ctl("route", "restore", *files, backup)
    assert status == 0 and answer["held"] == 2 and answer["restored"] == len(moved) + 1 and answer["in_doubt"] == [], answer
    assert ferry.ctl("route", "restore", *files)[0] == 4, "there is a store now"
    for user in users:
        route = ferry.route(user) or {"backend": "old", "state": "resting"}
        assert route["backend"] == moved.get(user, "old"), user
        # What was acknowledged there is what the user finds: the copy is whole, or nothing of it counts.
        if route["backend"] == "new":
            site.same(user)
    assert [ferry.route(u)["state"] for u in (held, back)] == ["held", "held"]
    assert ferry.route(held)["reason"] == "held: her wish"
    status, answer = ferry.ctl("status")
    assert answer["store"]["generation"] == 2 and answer["counted"]
    assert int(redis.hget("imapferry:store", "quarantine_until")) > 0, "proxies and migrators of before may be at work still"
    assert answer["backends"]["new"] == list(moved.values()).count("new")

    proxy = ferry.proxy()
    for user in (users[2], held, users[29]):
        with connect(proxy) as wire:
            assert wire.login(user).startswith(b"l1 OK")
            assert [s["backend"] for s in ferry.ctl("sessions", user)[1]["sessions"]] == [moved.get(user, "old")]
    # Nothing tells any more what was copied: the first look of the late watch takes all that is there for known.
    redis.zadd("imapferry:late", {users[2]: 1})
    ferry.migrator()
    net.wait_until("a look", lambda: (redis.zscore("imapferry:late", users[2]) or 1) > 1 and not ferry.route(users[2])["owner"])
    site.same(users[2])
    site.letters(users[2], LETTER % 77)
    redis.zadd("imapferry:late", {users[2]: 1})
    net.wait_until("what comes later", lambda: len(site.texts(users[2])) == 6)
    site.same(users[2])


def test_what_restore_refuses(site, tmp_path):
    ferry = site.ferry
    assert ferry.ctl("route", "restore", str(tmp_path / "none"))[0] == 2
    assert ferry.ctl_raw("route", "restore")[0] == 2 and ferry.ctl_raw("route", "export")[0] == 2
    assert ferry.ctl_raw("route", "exprot", "x")[0] == 2
    (tmp_path / "flips").write_text("")
    assert ferry.ctl("route", "restore", str(tmp_path))[0] == 4, "there is a store"
    assert ferry.ctl("route", "export", "/nonexistent/x")[0] == 1
    status, out, _ = ferry.ctl_raw("route", "export", "-")
    assert (status, out) == (0, "")
