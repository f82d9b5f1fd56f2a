"""`imapferryctl migrate --all FILE`: many accounts that never log in."""
import os
import time

from harness.scene import assert_equal, fill, new_user, small


def listed(ferry, lines):
    path = os.path.join(ferry.folder, "names")
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join(line + "\n" for line in lines))
    return path


def counts(answer):
    return {k: answer[k] for k in ("queued", "under_way", "there", "twice", "bad", "refused") if answer[k]}


def test_a_list_is_moved_behind_the_logins(make_ferry, backends, old, new):
    users, login, held = [new_user("bulk") for _ in range(3)], new_user("first"), new_user("kept")
    for user in users + [login]:
        fill(old, user, small(messages=4))
    ferry = make_ferry(backends)
    assert ferry.ctl("hold", held)[0] == 0
    path = listed(ferry, ["# the last ones", "", *users, users[0].upper(), "@", held])
    status, answer = ferry.ctl("migrate", "--all", path, "--reason", "the end")
    assert status == 1 and counts(answer) == {"queued": 3, "twice": 1, "bad": 1, "refused": 1}, answer
    assert [(p["line"], p["error"].split()[0]) for p in answer["problems"]] == [(6, "is"), (7, "the"), (8, "is")]
    proxy = ferry.proxy()
    ferry.login(proxy, login, "secret").logout()
    migrator = ferry.migrator(migrator={"jobs": 1})
    for user in users + [login]:
        assert ferry.wait_state(user, "flipped")["backend"] == "new"
        assert_equal(old, new, user, 4)
    assert [m.group(1) for m in migrator.find(r"event=job_claimed .*user=(\S+)")][0] == login
    entries = [e for e in ferry.ctl("audit")[1]["audit"] if e["what"] == "migrate --all"]
    assert [(e["reason"], e["after"]) for e in entries] == [("the end", "3 queued")]


def test_a_list_may_be_given_again(make_ferry, backends):
    ferry = make_ferry(backends)
    path = listed(ferry, ["ann", "bob"])
    status, answer = ferry.ctl("migrate", "--all", path)
    assert (status, counts(answer)) == (0, {"queued": 2})
    before = ferry.route("ann")
    assert answer["without_domain"] == 2 and "2 of these names have no domain" in answer["message"], answer
    status, answer = ferry.ctl("migrate", "--all", path)
    assert (status, counts(answer)) == (0, {"under_way": 2})
    assert ferry.route("ann") == before
    status, out, _ = ferry.ctl_raw("migrate", "--all", path, "--to", "old")
    assert status == 4 or "0 queued" in out, out
    assert ferry.ctl("migrate", "--all", path, "--to", "nowhere")[0] == 2
    assert ferry.ctl("migrate", "--all", path + ".none")[0] == 2
    assert ferry.ctl("migrate", "--all", path, "ann")[0] == 2
    assert ferry.ctl("migrate", "--all", path, "--wait")[0] == 2


def test_twenty_thousand_names(make_ferry, backends):
    ferry = make_ferry(backends)
    path = listed(ferry, (f"user{i}@example.org" for i in range(20000)))
    began = time.monotonic()
    status, answer = ferry.ctl("migrate", "--all", path, timeout=120)
    assert (status, counts(answer)) == (0, {"queued": 20000})
    assert ferry.redis.client().xlen("imapferry:jobs:bulk") == 20000
    assert time.monotonic() - began < 60
