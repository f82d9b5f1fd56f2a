"""retire: may an old server be switched off? Each thing that keeps it, and none."""
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import standing, backend
from harness.scene import new_user

LETTER = b"From: a@example.org\r\nSubject: hello\r\n\r\ntext\r\n"


@pytest.fixture(name="scene")
def make_scene(cert):
    with FakeImap("old") as old, FakeImap("new") as new, \
            standing({"old": backend(old, "imap"), "new": backend(new, "imap")}, cert) as ferry:
        ferry.old = old
        yield ferry


def retire(ferry, *more):
    """Exit status, whether it may, and by what was looked at: level and how many accounts."""
    status, answer = ferry.ctl("retire", "old", *more)
    assert status == (0 if answer["may_retire"] else 4), answer
    return status, {c["of"]: (c["level"], c["accounts"]) for c in answer["checks"]}, answer


def a_list(tmp_path, *users):
    path = tmp_path / "all.txt"
    path.write_text("".join(u + "\n" for u in users), encoding="utf-8")
    return "--all", str(path)


def test_what_keeps_an_old_server_and_that_nothing_does(scene, tmp_path):
    moved, stays, never = new_user("moved"), new_user("stays"), new_user("never")
    for user in (moved, stays, never):
        scene.old.add(user, "INBOX", LETTER)
    listed = a_list(tmp_path, moved, stays, never)
    # Nobody is known yet: that says nothing of those who live there.
    status, found, answer = retire(scene)
    assert status == 4 and found["others"][0] == "error" and found["accounts"] == ("ok", 0), answer
    status, found, _ = retire(scene, *listed)
    assert (status, found["others"]) == (4, ("error", 3))

    scene.migrator()
    proxy = scene.proxy()
    assert scene.ctl("migrate", moved)[0] == 0 and scene.ctl("hold", stays)[0] == 0
    scene.wait_state(moved, "settled")
    client = scene.login(proxy, never, "secret")
    status, found, answer = retire(scene, *listed)
    assert status == 4 and found["accounts"] == ("error", 1) and found["others"] == ("error", 1), found
    assert found["sessions"] == ("error", 1) and found["way back"] == ("warning", 1), found
    line = next(c for c in answer["checks"] if c["of"] == "accounts")
    assert line["examples"] == [stays] and line["states"] == {"held": 1} and "1 held" in line["text"], line
    client.logout()
    net.wait_until("the end of the session", lambda: not scene.where(never))

    for user in (stays, never):
        scene.ctl("release", user)
        assert scene.ctl("migrate", user)[0] == 0
        scene.wait_state(user, "settled")
    status, found, answer = retire(scene, *listed)
    assert status == 0 and {level for level, _ in found.values()} == {"ok", "warning"}, answer
    assert "retired = true" in answer["message"] and found["way back"] == ("warning", 3)
    text = scene.ctl_raw("retire", "old", *listed)
    assert text[0] == 0 and "0 errors, 1 warning: old may be switched off" in text[1], text
    # The other one has everything.
    assert scene.ctl("retire", "new")[0] == 4
    assert scene.ctl("retire", "nwe")[0] == 2 and "did you mean" in scene.ctl("retire", "nwe")[1]["error"]


def test_nobody_is_moved_to_a_retired_server_or_from_it(scene, tmp_path):
    """Whoever says so hears why, and nothing is queued; the way from it without a copy is left."""
    there, here = new_user("there"), new_user("here")
    for user, place in ((there, "new"), (here, "old")):
        scene.redis.client().hset(f"imapferry:route:{user}", mapping={
            "backend": place, "state": "settled", "source": "old", "target": "new", "epoch": 3, "generation": 1})
    scene.backends["old"]["retired"] = True

    def refused(text, *command):
        status, answer = scene.ctl(*command)
        assert status == 4 and text in answer["error"] and scene.redis.client().xlen("imapferry:jobs") == 0, answer
    refused("old is retired, as its section says", "migrate", there, "--to", "old")
    refused("old is retired, as its section says", "migrate", there, "--to", "old", "--now", "--wait")
    refused("old is retired, as its section says", "flip", there, "--to", "old", "--force", "--yes", "--reason", "back")
    refused(f"{here} is on old, which is retired", "migrate", here)
    refused(f"{here} is on old, which is retired", "flip", here, "--to", "new", "--reason", "now")
    assert scene.ctl("migrate", there)[1]["message"] == f"{there} is on new already"
    status, answer = scene.ctl("migrate", *a_list(tmp_path, there, here))
    assert status == 4 and (answer["there"], answer["refused"], answer["queued"]) == (1, 1, 0), answer
    assert [p["error"] for p in answer["problems"]] == ["is on old, which is retired"], answer
    status, answer = scene.ctl("migrate", *a_list(tmp_path, there, here), "--to", "old")
    assert status == 4 and [p["error"] for p in answer["problems"]] == ["is not moved to old, which is retired"], answer
    assert scene.ctl("flip", here, "--to", "new", "--force", "--yes", "--reason", "it burned")[0] == 0
    assert scene.route(here)["state"] == "queued"


def test_late_mail_waivers_and_a_watch_that_is_not_over(scene, tmp_path):
    user, other = new_user("late"), new_user("waived")
    listed = a_list(tmp_path, user, other)
    redis = scene.redis.client()
    redis.hset(f"imapferry:route:{user}", mapping={
        "backend": "new", "state": "flipped", "source": "old", "target": "new", "left": "old", "epoch": 3, "generation": 1})
    redis.hset(f"imapferry:route:{other}", mapping={
        "backend": "new", "state": "settled", "source": "old", "target": "new", "left": "old", "epoch": 3, "generation": 1})
    redis.hset(f"imapferry:waivers:{other}", mapping={"INBOX:7/1": "{}", "too_large": "{}"})
    status, found, answer = retire(scene, *listed)
    assert status == 4 and found["late watch"] == ("error", 1) and found["waivers"] == ("warning", 1), answer
    assert found["arrivals"] == ("ok", 0) and found["way back"] == ("warning", 1)
    redis.hset(f"imapferry:route:{user}", "state", "settled")
    for n, before in ((1, "old"), (2, "old"), (3, "elsewhere")):
        redis.xadd("imapferry:arrivals", {"user": user, "who": "late watch", "what": "late", "before": before, "after": "new",
                                          "reason": f"INBOX UID {n}: came late, is UID 9 here"})
    redis.xadd("imapferry:audit", {"user": user, "what": "late", "before": "old"})
    status, found, answer = retire(scene, *listed)
    line = next(c for c in answer["checks"] if c["of"] == "arrivals")
    assert status == 4 and line["level"] == "error" and "2 messages" in line["text"] and "UID 2: came late" in line["text"], line
    # What came a long time ago keeps nothing.
    redis.delete("imapferry:arrivals")
    redis.xadd("imapferry:arrivals", {"user": user, "before": "old", "reason": "x"}, id="1000-1")
    assert retire(scene, *listed)[0] == 0
    redis.hset(f"imapferry:route:{user}", mapping={"state": "copying", "source": "new", "target": "old"})
    status, found, _ = retire(scene, *listed)
    assert status == 4 and found["accounts"] == ("error", 1), found


def test_a_hundred_thousand_accounts_take_seconds(scene):
    redis = scene.redis.client()
    pipe = redis.pipeline(transaction=False)
    for i in range(100000):
        pipe.hset(f"imapferry:route:user{i}@example.org", mapping={
            "backend": "old" if i % 100 == 0 else "new", "state": "resting" if i % 100 == 0 else "settled", "source": "old",
            "target": "new", "left": "" if i % 100 == 0 else "old", "epoch": 3})
        if i % 5000 == 4999:
            pipe.execute()
    before = time.monotonic()
    status, found, answer = retire(scene)
    took = time.monotonic() - before
    assert status == 4 and found["accounts"] == ("error", 1000) and found["way back"] == ("warning", 99000), answer
    assert all(len(c["examples"]) <= 5 for c in answer["checks"]) and took < 30, took
