"""Commands of the site at freeze, flip and settle."""
import os

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
