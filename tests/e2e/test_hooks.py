"""Commands of the site at freeze, flip and settle."""
import os

import pytest

from harness import net
from harness.scene import assert_equal, fill, new_user, small


def script(ferry, name, text):
    path = os.path.join(ferry.folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return path


def test_hooks_are_run_in_their_order(make_ferry, backends, old, new):
    user = new_user("hooked")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends, {"migration": {"late_watch": "2s"}})
    said = os.path.join(ferry.folder, "said")
    path = script(ferry, "hook", f'echo "$1 $2 $IMAPFERRY_USER $3 $4" >> {said}\n'
                                 f'[ $1 != flip ] || [ -e {said}.once ] || {{ touch {said}.once; exit 1; }}')
    for event in ("freeze", "flip", "settle"):
        ferry.settings["migration"][f"hook_{event}"] = [path, "%e", "%u", "%s", "%t"]
    proxy = ferry.proxy()
    ferry.migrator()
    ferry.login(proxy, user, "secret")
    ferry.wait_state(user, "settled")

    def lines():
        with open(said, encoding="utf-8") as f:
            return f.read().splitlines()
    net.wait_until("all hooks", lambda: len(lines()) == 4)
    want = [f"{e} {user} {user} old new" for e in ("freeze", "flip", "flip", "settle")]
    assert sorted(lines()) == sorted(want) and lines()[:2] == want[:2], lines()
    assert_equal(old, new, user, 5)


def test_a_hook_that_fails_thaws(make_ferry, backends, old, new):
    user = new_user("refused")
    fill(old, user, small(messages=5))
    ferry = make_ferry(backends)
    path = script(ferry, "hook", "[ -e $0.good ] && exit 0; echo the old server is not to be closed >&2; exit 7")
    ferry.settings["migration"]["hook_freeze"] = [path]
    proxy = ferry.proxy()
    ferry.migrator()
    client = ferry.login(proxy, user, "secret")
    net.wait_until("the reason", lambda: ferry.route(user).get("reason", "").startswith("hook: "))
    reason = ferry.route(user)["reason"]
    assert reason == "hook: hook_freeze ended with status 7: the old server is not to be closed", reason
    assert ferry.route(user)["backend"] == "old"
    assert client.select("INBOX")[0] == "OK"
    script(ferry, "hook.good", "")
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


@pytest.mark.parametrize("event", ["flip", "settle"])
def test_a_hook_survives_the_migrator(make_ferry, backends, old, event):
    """Killed when the account is switched over, or settled, and nobody has been told: the next one runs it."""
    user = new_user("survives")
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"late_watch": "1s", "trigger": "manual"}})
    said = os.path.join(ferry.folder, "said")
    ferry.settings["migration"][f"hook_{event}"] = [script(ferry, "hook", f'echo "$*" >> {said}'),
                                                    "%e", "%u", "%k", "%s", "%t"]
    point = {"flip": "flipped", "settle": "late_done"}[event]
    redis = ferry.redis.client()
    assert ferry.ctl("migrate", user)[0] == 0
    while redis.zcard("imapferry:hooks") == 0:  # each look ends with late_done, not only the last one
        migrator = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": f"script.{point}.answered:1:kill"})
        net.wait_until("death", lambda m=migrator: m.process.poll() is not None)
        migrator.kill()
    assert not os.path.exists(said)
    ferry.migrator().wait(rf"event=hook_left_behind event_of={event}")
    net.wait_until("its end", lambda: redis.zcard("imapferry:hooks") == 0)
    with open(said, encoding="utf-8") as f:
        assert f.read() == f"{event} {user} {user} old new\n"
    assert not redis.exists("imapferry:hooks:by")


def test_a_hook_that_runs_long_is_run_once(make_ferry, backends, old):
    """Longer than others wait for a word from who runs it."""
    user = new_user("long")
    fill(old, user, small(messages=3))
    ferry = make_ferry(backends, {"migration": {"trigger": "manual"}})
    said = os.path.join(ferry.folder, "said")
    ferry.settings["migration"]["hook_flip"] = [script(ferry, "hook", f"echo began >> {said}; sleep 4; echo ended >> {said}")]
    migrators = [ferry.migrator(), ferry.migrator()]
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped")
    redis = ferry.redis.client()
    net.wait_until("its end", lambda: redis.zcard("imapferry:hooks") == 0)
    with open(said, encoding="utf-8") as f:
        text = f.read()
    if not any(m.find("event=hook_left_behind") for m in migrators):  # a machine that stood still may run it twice
        assert text == "began\nended\n"
    assert text.count("ended") >= 1
