"""A site with two stores: accounts are spread over both, and one that is out of reach stops its own and no others."""
import concurrent.futures
import hashlib
import imaplib
import json
import os
import re
import signal
import time

import pytest

from harness import mail, net, redisd
from harness.api import Api
from harness.ferry import backend
from harness.monitor import LISTEN, metrics
from harness.scene import assert_equal, connect, fill, new_user, small
from harness.stores import domain_in, place, user_in
from harness.viewed import lines_of, seen


@pytest.fixture
def second():
    store = redisd.Redis(port=net.free_port())
    yield store
    store.close()


@pytest.fixture
def two(make_ferry, redis, second, old, new, authority):
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"redis": {"url": [redis.url, second.url]}, "proxy": {"threads": 1, "store_timeout": "1s"}}, init=False)
    ferry.init()
    ferry.stores = [redis, second]
    return ferry


def state(ferry, which, user):
    return ferry.stores[which].client().hget(f"imapferry:route:{user}", "state")


def test_both_are_served_and_one_that_is_killed_stops_its_own(two, old, new):
    users = [user_in(0), user_in(1)]
    for user in users:
        fill(old, user, small(messages=10))
    proxy = two.proxy()
    two.migrator()
    for which, user in enumerate(users):
        two.login(proxy, user, "secret")
        net.wait_until("flip", lambda w=which, u=user: state(two, w, u) in ("flipped", "settled"), 40)
        assert state(two, 1 - which, user) is None
        route = two.user(user)
        assert (route["backend"], route["store"]) == ("new", which + 1)
        assert_equal(old, new, user, 10)
    status, answer = two.ctl("status")
    assert status == 0 and answer["backends"]["new"] == 2, answer
    assert [(s["store"], s["error"]) for s in answer["stores"]] == [(1, None), (2, None)]
    assert {p["proxy"].split(".")[0] for p in answer["proxies"]} == {proxy.label} and len(answer["proxies"]) == 1
    status, answer = two.ctl("list")
    assert status == 0 and [(a["user"], a["store"]) for a in answer["accounts"]] == sorted((u, i + 1) for i, u in enumerate(users))
    with connect(proxy) as here, connect(proxy) as there:
        assert here.login(users[0]).startswith(b"l1 OK") and there.login(users[1]).startswith(b"l1 OK")
        two.stores[1].kill()
        proxy.wait("event=store_down")
        two.login(proxy, users[0], "secret")
        assert here.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            two.login(proxy, users[1], "secret")
        assert two.ctl_raw("user", users[0])[0] == 0 and two.ctl_raw("user", users[1])[0] == 5
        status, answer = two.ctl("pause", "--reason", "x")
        assert status == 5 and "store 2 of 2" in answer["error"], answer
        status, out, err = two.ctl_raw("status")
        assert status == 5 and f"127.0.0.1:{two.stores[0].port}" in out and "mail on 1 new" in " ".join(out.split()), out
        assert f"store 2 of 2 (redis://127.0.0.1:{two.stores[1].port}" in err, err
        two.stores[1].start()
        net.wait_until("login once it is back", lambda: logs_in(two, proxy, users[1]), 30)
        assert there.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    status, answer = two.ctl("resume")
    assert status == 0, answer


def logs_in(ferry, proxy, user):
    try:
        return ferry.login(proxy, user, "secret")
    except imaplib.IMAP4.error:
        return None


def test_another_number_of_stores_is_refused(two, old):
    user = user_in(0)
    fill(old, user, small(messages=1))
    status, out, err = two.ctl_raw("status", redis={"url": two.stores[0].url})
    assert status == 5 and "this is store 1 of 2" in out + err
    status, out, err = two.ctl_raw("user", user, redis={"url": [s.url for s in reversed(two.stores)]})
    assert status == 5 and "by its record this is store 2 of 2" in out + err
    status, out, err = two.ctl_raw("status", redis={"url": [two.stores[0].url] * 2})
    assert status == 1 and "two stores have one url" in out + err
    proxy = two.proxy(redis={"url": two.stores[0].url})
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        two.login(proxy, user, "secret")


def test_a_store_is_not_made_beside_one_that_is_there(two):
    """An empty one would send those who were switched over to the old server; and one of another place has other users."""
    users = [user_in(0), user_in(1)]
    for user in users:
        assert two.ctl_raw("hold", user, "--reason", "x")[0] == 0
    file = os.path.join(two.folder, "export")
    assert two.ctl_raw("route", "export", file)[0] == 0
    lost, there = two.stores
    site = there.client().hget("imapferry:store", "site")
    lost.client().flushall()
    status, out, err = two.ctl_raw("init")
    assert status == 4 and "at url 2 of 2, and none at url 1" in err and "nothing was changed" in err, (out, err)
    exchanged = {"url": [there.url, lost.url]}
    assert two.ctl_raw("init", redis=exchanged)[0] == 4
    status, out, err = two.ctl_raw("route", "restore", file, redis={"url": [lost.url, there.url, there.url.replace("127.0.0.1", "localhost")]})
    assert status == 5, (out, err)
    assert two.ctl_raw("route", "restore", file, redis=exchanged)[0] == 5
    assert lost.client().keys("imapferry:*") == []
    status, out, err = two.ctl_raw("route", "restore", file)
    assert status == 0, (out, err)
    assert lost.client().hget("imapferry:store", "site") == site and state(two, 0, users[0]) == "held"
    assert two.ctl_raw("status")[0] == 0


def test_urls_that_lead_to_one_redis_make_no_store(two, make_ferry, redis):
    """Known before any is made: by its url alone the second one is another Redis."""
    urls = [redis.url, two.stores[1].url, redis.url.replace("127.0.0.1", "localhost")]
    file = os.path.join(two.folder, "export")
    assert two.ctl_raw("hold", user_in(0), "--reason", "x")[0] == 0 and two.ctl_raw("route", "export", file)[0] == 0
    for verb in (("init",), ("route", "restore", file)):
        status, out, err = two.ctl_raw(*verb, redis={"url": urls, "prefix": "again"})
        assert status == 4 and "urls 1 and 3 of 3 lead to one Redis" in err, (out, err)
        assert not [k for s in two.stores for k in s.client().keys("again:*") if k != "again:reserved"]
    status, out, err = two.ctl_raw("init", redis={"url": urls[:2], "prefix": "again"})
    assert status == 0, (out, err)


def test_a_proxy_that_starts_while_a_store_is_away_serves_the_other(two, old):
    users = [user_in(0), user_in(1)]
    for user in users:
        fill(old, user, small(messages=1))
    two.stores[1].kill()
    before = two.proxy()
    assert before.find("event=serving_early") and two.login(before, users[0], "secret")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        two.login(before, users[1], "secret")
    status, _, err = two.ctl_raw("status")
    assert status == 5 and "store 2 of 2" in err
    two.stores[1].start()
    net.wait_until("login once it is back", lambda: logs_in(two, before, users[1]), 30)


def test_stores_that_hang_are_waited_for_once_and_named(make_ferry, redis, second):
    third = redisd.Redis(port=net.free_port())
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}},
                       {"redis": {"url": [redis.url, second.url, third.url]}}, init=False)
    ferry.init()
    for store in (second, third):
        store.signal(signal.SIGSTOP)
    began = time.monotonic()
    status, out, err = ferry.ctl_raw("status")
    took = time.monotonic() - began
    for store in (second, third):
        store.signal(signal.SIGCONT)
    third.close()
    assert status == 5 and "store 2 of 3" in err and "store 3 of 3" in err and str(redis.port) in out, (out, err)
    assert took < 9, f"5 s each: {took}"


def messages(server, user):
    account = mail.connect(server, user, "secret")
    n = int(account.select("INBOX", readonly=True)[1][0])
    account.logout()
    return n


@pytest.mark.writes_source
def test_late_mail_and_hooks_of_the_store_that_is_there(two, old, new):
    """They go on while the other one is away, and are made up for once it is back."""
    users, said = [user_in(0), user_in(1)], os.path.join(two.folder, "said")
    path = os.path.join(two.folder, "hook")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\necho "$1 $2" >> {said}\n')
    os.chmod(path, 0o755)
    two.settings["migration"].update(trigger="manual", late_watch="8s", hook_flip=[path, "%e", "%u"], hook_settle=[path, "%e", "%u"])
    for user in users:
        fill(old, user, small(messages=2))
    two.migrator()
    for which, user in enumerate(users):
        assert two.ctl("migrate", user)[0] == 0
        net.wait_until("flip", lambda w=which, u=user: state(two, w, u) == "flipped", 40)

    def has(user, event):
        with open(said, encoding="utf-8") as lines:
            return f"{event} {user}\n" in lines
    net.wait_until("hooks of the flips", lambda: all(has(user, "flip") for user in users))
    two.stores[1].kill()
    for user in users:
        old.deliver(user, b"Subject: late\r\n\r\nlate\r\n")
    net.wait_until("late mail", lambda: messages(new, users[0]) == messages(old, users[0]), 30)
    net.wait_until("settled", lambda: state(two, 0, users[0]) == "settled" and has(users[0], "settle"), 30)
    assert not has(users[1], "settle")
    two.stores[1].start()
    net.wait_until("settled", lambda: state(two, 1, users[1]) == "settled" and has(users[1], "settle"), 40)
    assert messages(new, users[1]) == messages(old, users[1])
    assert all(two.ctl("audit", user)[1]["audit"] for user in users)


def test_what_is_asked_of_a_whole_site_is_added_up(two, tmp_path):
    """May an old server be switched off, or the proxies; and another source for accounts without a record."""
    users, bare = [user_in(0), user_in(1), user_in(1)], [user_in(0), user_in(1)]
    for user in users:
        assert two.ctl_raw("hold", user, "--reason", "x")[0] == 0
    names = tmp_path / "names"
    names.write_text("".join(f"{user}\n" for user in users + bare))
    status, answer = two.ctl("retire", "old", "--all", str(names))
    told = {check["of"]: check for check in answer["checks"]}
    assert status == 4 and not answer["may_retire"] and len(answer["checks"]) == len(told), answer
    assert told["accounts"]["accounts"] == 3 and set(told["accounts"]["examples"]) == set(users), answer
    assert told["others"]["accounts"] == 2 and set(told["others"]["examples"]) == set(bare), answer
    status, answer = two.ctl("doctor", "--without-proxy")
    assert status == 4 and answer["unmoved"] == 3 and "3 accounts with a record" in answer["checks"][0]["text"], answer
    exchanged = {"migration": {"source": "new", "target": "old"}}
    assert two.ctl_raw("status", **exchanged)[0] != 0
    status, answer = two.ctl("route", "source", "new", **exchanged)
    assert status == 4 and answer["error"].count("--yes") == 1, answer
    assert two.ctl("route", "source", "new", "--yes", "--reason", "x", **exchanged)[0] == 0
    assert [s.client().hget("imapferry:store", "source") for s in two.stores] == ["new", "new"]
    assert two.ctl_raw("status", **exchanged)[0] == 0 and two.ctl("retire", "new", **exchanged)[1]["checks"][0]["level"] == "ok"
    two.stores[1].kill()
    status, answer = two.ctl("retire", "old", **exchanged)
    assert status == 5 and "store 2 of 2" in answer["error"], answer
    two.stores[1].start()


def test_a_restore_tells_of_all_stores(two):
    """Doubts of the first one are told at the end, and keep nobody from the second."""
    held = [user_in(0), user_in(1), user_in(1)]
    doubted = user_in(0)
    for user in held:
        assert two.ctl_raw("hold", user, "--reason", "x")[0] == 0
    file, journal = (os.path.join(two.folder, name) for name in ("export", "flips-of-another"))
    assert two.ctl_raw("route", "export", file)[0] == 0
    with open(journal, "w") as f:
        for time, source, target, epoch in (("10", "old", "new", 3), ("09", "new", "old", 5)):
            print(json.dumps({"time": f"2026-01-31T{time}:00:00.000Z", "user": doubted, "source": source, "target": target,
                              "epoch": epoch, "generation": 1, "view": ""}), file=f)
    for store in two.stores:
        store.client().flushall()
    status, answer = two.ctl("route", "restore", file, journal)
    assert status == 1 and [s["restored"] for s in answer["stores"]] == [2, 2], answer
    assert (answer["restored"], answer["held"], answer["backends"], answer["in_doubt"]) == (4, 4, {"old": 4}, [doubted]), answer
    assert two.ctl_raw("status")[0] == 0


def test_a_proxy_is_forgotten_again_where_one_store_knew_it(two):
    """One was out of reach: said again, it is done there too; and once more, there is nothing left to do."""
    proxy = two.proxy(proxy={"id": "p1"})
    net.wait_until("lease in both", lambda: all(s.client().hlen("imapferry:proxies") == 1 for s in two.stores))
    proxy.kill()
    two.stores[1].kill()
    forget = ("proxy", "forget", "p1", "--yes", "--reason", "x")
    assert two.ctl_raw(*forget)[0] == 5
    two.stores[1].start()
    for _ in range(2):
        status, answer = two.ctl(*forget)
        assert status == 0 and len(answer["proxies"]) == 1, answer
        assert not any(s.client().hlen("imapferry:proxies") for s in two.stores)
    two.stores[0].client().delete("imapferry:forgotten")
    assert two.ctl_raw(*forget)[0] == 0
    status, answer = two.ctl("proxy", "forget", "p2", "--yes", "--reason", "x")
    assert status == 1 and answer["error"].startswith("no proxy of that name is known"), answer


def test_monitoring_says_which_store_is_away(two, old):
    """And what a migrator has seen of the servers is in both."""
    user = user_in(0)
    fill(old, user, small(messages=1))
    daemons = [two.proxy(proxy=LISTEN), two.migrator(migrator=LISTEN)]
    two.login(daemons[0], user, "secret")
    net.wait_until("flip", lambda: state(two, 0, user) in ("flipped", "settled"), 40)
    net.wait_until("what users are shown", lambda: all(s.client().hget("imapferry:backends", "new/by") == "user" for s in two.stores))
    assert [metrics(d)["imapferry_store_up", n] for d in daemons for n in "12"] == [1, 1, 1, 1]
    two.stores[1].kill()
    for daemon in daemons:
        net.wait_until("store that is away", lambda d=daemon: metrics(d)["imapferry_store_up", "2"] == 0)
        assert metrics(daemon)["imapferry_store_up", "1"] == 1 and metrics(daemon)["imapferry_ready",] == 1
    two.stores[1].start()


def test_an_export_of_one_store_alone_does_not_look_whole(two):
    users = [user_in(0), user_in(0), user_in(1)]
    for user in users:
        assert two.ctl_raw("hold", user, "--reason", "x")[0] == 0

    def export():
        status, out, _ = two.ctl_raw("route", "export", "-")
        return status, [json.loads(line) for line in out.splitlines()]
    status, lines = export()
    assert status == 0 and {x["user"] for x in lines[:-1]} == set(users)
    assert [x.get("end") for x in lines] == [None] * 3 + [3]
    for away, left in ((1, 2), (0, 1)):
        two.stores[away].kill()
        status, lines = export()
        assert status == 5 and len(lines) == left and not any("end" in x for x in lines), lines
        two.stores[away].start()


def test_a_pause_of_one_store_alone_is_told(two):
    """Whichever it is: one was out of reach when it was paused, or when it went on."""
    for verb, text in (("pause", ["paused", "not paused"]), ("resume", ["not paused", "paused"])):
        if verb == "resume":
            assert two.ctl_raw("pause", "--reason", "a reason")[0] == 0
            assert "paused\n" not in two.ctl_raw("status")[1]
        two.stores[1].kill()
        assert two.ctl_raw(verb, *(["--reason", "a reason"] if verb == "pause" else []))[0] == 5
        two.stores[1].start()
        status, answer = two.ctl("status")
        assert status == 0 and answer["paused"] and (answer["paused_reason"], bool(answer["paused_by"])) == ("a reason", True), answer
        lines = [line.strip() for line in two.ctl_raw("status")[1].splitlines()]
        assert [line for line in lines if line in ("paused", "not paused")] == text, lines


def test_what_is_for_all_is_shared_out(two, old):
    """Three a day for a site of two stores: two at each, and status adds up."""
    users = [user_in(0) for _ in range(3)] + [user_in(1)]
    two.settings["migration"]["trigger"] = "manual"
    two.settings['wave "some"'] = {"accounts": ["*"], "per_day": 3}
    proxy = two.proxy()
    for user in users:
        fill(old, user, small(messages=1))
        two.login(proxy, user, "secret")
    assert [state(two, place(user), user) for user in users] == ["queued", "queued", None, "queued"]
    wave = two.ctl("status")[1]["waves"][0]
    assert (wave["today"], wave["per_day"]) == (3, 3), wave
    assert two.ctl("user", users[2])[1]["wave"]["not_its_turn"].startswith("the 2 accounts of this day have begun")


def test_from_one_store_to_two(make_ferry, redis, second, old, new, authority):
    """What the handbook says: pause, stop, export, restore into two stores under another prefix, start."""
    users = [user_in(0), user_in(1), user_in(1)]
    for user in users:
        fill(old, user, small(messages=4))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    proxy = ferry.proxy()
    ferry.migrator()
    for user in users[:2]:
        ferry.login(proxy, user, "secret")
        ferry.wait_state(user, "flipped", "settled")
    file = os.path.join(ferry.folder, "export")
    assert ferry.ctl_raw("route", "export", file)[0] == 0
    ferry.stop_all()
    ferry.settings["redis"].update(url=[redis.url, second.url], prefix="more")
    status, out, err = ferry.ctl_raw("init")
    assert status == 4, (out, err)
    status, out, err = ferry.ctl_raw("route", "restore", file)
    assert status == 0 and "store 1 of 2: 1 accounts are restored" in err, (out, err)
    routes = [server.client().keys("more:route:*") for server in (redis, second)]
    assert routes == [[f"more:route:{users[0]}"], [f"more:route:{users[1]}"]]
    proxy = ferry.proxy()
    for user in users:
        ferry.login(proxy, user, "secret")
    assert [ferry.user(user)["backend"] for user in users] == ["new", "new", "old"]
    status, answer = ferry.ctl("doctor")
    of_redis = [line["text"] for line in answer["checks"] if line["of"] == "redis"]
    assert all(any(str(port) in text for text in of_redis) for port in (redis.port, second.port)), of_redis


def test_a_moved_store_comes_whole_or_not_at_all(make_ferry, redis, second):
    """And back: as long as nothing else was made of it, it is opened again."""
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}})
    users = [user_in(i % 2) for i in range(4)]
    for user in users:
        assert ferry.ctl_raw("hold", user, "--reason", "x")[0] == 0
        assert ferry.ctl_raw("waive", user, "flags", "--reason", 'a "b" \\ \xe9\u20ac\n')[0] == 0
    bare, file = user_in(1), os.path.join(ferry.folder, "moved")
    assert ferry.ctl_raw("waive", bare, "flags", "--reason", "y")[0] == 0
    redis.client().rpush(f"imapferry:ledger:{users[0]}:ab", *[f"5 landed {i} {i}" for i in range(2300)])
    redis.client().hset(f"imapferry:views:{users[0]}", mapping={"": "x", "INBOX": RECORD})
    status, answer = ferry.ctl("route", "move", file)
    assert status == 0 and answer["moved"] == 5 and os.stat(file).st_mode & 0o777 == 0o600, answer
    kept = {user: kept_of(redis.client(), "imapferry", user) for user in [*users, bare]}
    ferry.settings["redis"].update(url=[redis.url, second.url], prefix="more")
    with open(file, encoding="ascii") as f:
        lines = f.read().splitlines()
    piece = next(i for i, line in enumerate(lines) if '"waivers"' in line)
    of = next(i for i, line in enumerate(lines) if '"kind": "views"' in line)
    for why, wrong in (("may be cut off", lines[:-1]), ("may be cut off", lines[:-3]), ("sha256", lines[:piece] + lines[piece + 1:]),
                       ("sha256", [line.replace("flags", "zone") for line in lines]), ("more behind its last line", lines + [lines[1]]),
                       ("there are 6", lines[:-1] + [x for x in lines if '"state"' in x][:1] + lines[-1:]),
                       ("another release", ['{"move": 2, "time": "2026-01-31T10:00:00Z"}'] + lines[1:]),
                       ("can't read", signed(lines[:of] + [lines[of].replace("tier=T2", "tier=T7")] + lines[of + 1:-1], lines[-1])),
                       ("no piece of an account", signed([x.replace('"waivers"', '"store"') for x in lines[:-1]], lines[-1])),
                       ("do not belong", signed([x.replace('["flags", ', "[") for x in lines[:-1]], lines[-1]))):
        with open(file + ".wrong", "w", encoding="ascii") as f:
            f.writelines(line + "\n" for line in wrong)
        status, out, err = ferry.ctl_raw("route", "restore", file + ".wrong")
        assert status == 4 and why in err, (why, out, err)
        assert not any(s.client().exists("more:store") for s in (redis, second)), why
        for server in (redis, second):
            server.client().delete("more:restoring")  # else one at a time, for a minute
    status, answer = ferry.ctl("route", "restore", file)
    assert status == 0 and (answer["restored"], answer["held"]) == (5, 4), answer
    for user, was in kept.items():
        assert kept_of((redis, second)[place(user)].client(), "more", user) == was
    assert ferry.ctl_raw("list")[1].count("held: x") == 4
    ferry.settings["redis"].update(url=redis.url, prefix="imapferry")
    assert ferry.ctl_raw("status")[0] == 5 and ferry.ctl_raw("route", "reopen")[0] == 4
    assert ferry.ctl_raw("route", "reopen", "--yes")[0] == 0
    status, answer = ferry.ctl("status")
    assert status == 0 and answer["accounts"]["held"] == 4 and answer["store"]["quarantine_ms"] > 0, answer


def test_over_half_of_a_restore_nothing_else_is_made(make_ferry, redis, second, monkeypatch):
    """imapferryctl is killed in the middle. What it has brought would stay beside what another restore brings: accounts of the store that
    was the other one when the urls are told in another order, a waiver that was taken back since, an account that was forgotten since. And
    init would make the store that is empty still, where the next restore leaves it as it is."""
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}})
    one, two_, gone = user_in(0), user_in(1), user_in(0)
    for user in (one, two_, gone):
        assert ferry.ctl_raw("hold", user, "--reason", "x")[0] == ferry.ctl_raw("waive", user, "flags", "--reason", "x")[0] == 0
    first, later = (os.path.join(ferry.folder, name) for name in ("first", "later"))
    assert ferry.ctl_raw("route", "move", first)[0] == 0
    before, urls = dict(ferry.settings["redis"]), [redis.url, second.url]
    ferry.settings["redis"].update(url=urls, prefix="more")
    monkeypatch.setenv("IMAPFERRY_FAULT", "script.carry.answered:1:kill")
    assert ferry.ctl_raw("route", "restore", first)[0] == -signal.SIGKILL
    monkeypatch.delenv("IMAPFERRY_FAULT")
    assert redis.client().exists(f"more:route:{one}") and not second.client().keys("more:route:*")
    status, out, err = ferry.ctl_raw("init")
    assert status == 4 and not second.client().exists("more:store") and "half of" in err, (out, err)

    ferry.settings["redis"] = dict(before)
    assert ferry.ctl_raw("route", "reopen", "--yes")[0] == 0
    assert ferry.ctl_raw("waive", one, "flags", "--remove", "--reason", "no")[0] == 0
    assert ferry.ctl_raw("forget", gone, "--reason", "y")[0] == 0
    assert ferry.ctl_raw("route", "move", later)[0] == 0
    redis.client().set("more:restoring", re.sub(r" \d+$", " 1", redis.client().get("more:restoring")))  # the minute is over
    for files, order in ((later, urls), (first, urls[::-1]), (first, urls[:1])):
        ferry.settings["redis"].update(url=order if len(order) > 1 else order[0], prefix="more")
        status, out, err = ferry.ctl_raw("route", "restore", files)
        assert status == 4 and "half of another" in err, (files, order, out, err)
        assert not any(server.client().exists("more:store") for server in (redis, second)), (files, order)
    ferry.settings["redis"].update(url=urls, prefix="more")
    assert ferry.ctl_raw("route", "restore", first)[0] == 0 and ferry.ctl("status")[1]["accounts"]["held"] == 3


def test_a_store_that_a_killed_restore_has_made_is_no_part_of_a_later_one(make_ferry, redis, second, monkeypatch):
    """It was left as it is, as one that has lost nothing: who was moved since would have been on the old server by it."""
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}})
    one, other = user_in(0), user_in(1)
    for user in (one, other):
        assert ferry.ctl_raw("hold", user, "--reason", "x")[0] == 0
    first, later = (os.path.join(ferry.folder, name) for name in ("first", "later"))
    assert ferry.ctl_raw("route", "move", first)[0] == 0
    before, after = dict(ferry.settings["redis"]), {"url": [redis.url, second.url], "prefix": "more"}
    ferry.settings["redis"].update(after)
    monkeypatch.setenv("IMAPFERRY_FAULT", "script.init.answered:1:kill")
    assert ferry.ctl_raw("route", "restore", first)[0] == -signal.SIGKILL
    monkeypatch.delenv("IMAPFERRY_FAULT")
    assert redis.client().exists("more:store") and not second.client().exists("more:store")
    ferry.settings["redis"] = dict(before)
    assert ferry.ctl_raw("route", "reopen", "--yes")[0] == 0 and ferry.ctl_raw("release", one)[0] == 0
    assert ferry.ctl_raw("route", "move", later)[0] == 0
    ferry.settings["redis"].update(after)
    status, out, err = ferry.ctl_raw("route", "restore", later)
    assert status == 4 and "what came since" in err and not second.client().exists("more:store"), (out, err)
    assert ferry.ctl_raw("route", "restore", first)[0] == 0 and ferry.user(other)["state"] == "held", "the one that was killed"
    for server in (redis, second):
        server.client().delete(*server.client().keys("more:*"))
    assert ferry.ctl_raw("route", "restore", later)[0] == 0 and ferry.ctl_raw("user", one)[0] == 0
    assert ferry.user(one)["state"] == "resting"


def test_a_move_that_ends_early_says_what_to_do(two):
    """Where one store is closed and the next one can't be, nobody of the first signs in; so it is where the disk is full at the end."""
    client, file = two.stores[1].client(), os.path.join(two.folder, "moved")
    client.sadd("imapferry:groups", "freezing:")
    client.zadd("imapferry:in:freezing:", {"bob": 1})
    status, _, err = two.ctl_raw("route", "move", file)
    assert status == 4 and "nobody is signed in by 1 of 2 stores" in err and '"route reopen"' in err, err
    status, _, err = two.ctl_raw("route", "move", file)
    assert status == 5 and '"route reopen"' in err and not os.path.exists(file), err
    client.delete("imapferry:in:freezing:")
    assert two.ctl_raw("route", "reopen", "--yes")[0] == 0
    status, _, err = two.ctl_raw("route", "move", "/dev/full")
    assert status == 1 and '"route reopen"' in err, err
    assert two.ctl_raw("route", "reopen", "--yes")[0] == 0 and two.ctl_raw("route", "move", file)[0] == 0


def test_a_move_brings_back_nobody_who_was_forgotten_and_loses_nobody(make_ferry, redis, second):
    """The journal of the host knows the switch-over before, and its end may be missing where an account's line is and nothing more."""
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}})
    gone, again, stays = user_in(0), user_in(1), user_in(1)
    journal = os.path.join(ferry.folder, "journal")
    for user in (gone, again, stays):
        assert ferry.ctl_raw("hold", user, "--reason", "x")[0] == 0
        redis.client().hset(f"imapferry:route:{user}", mapping={"backend": "new", "state": "settled", "flipped_at": "1769853600123", "epoch": "6",
                                                                "home": "old", "left": "old", "source": "old", "target": "new"})
    os.makedirs(journal, exist_ok=True)
    with open(os.path.join(journal, "flips"), "w", encoding="ascii") as f:
        for user in (gone, again):
            f.write(json.dumps({"time": "2026-01-31T10:00:00.123Z", "user": user, "source": "old", "target": "new", "epoch": 5,
                                "generation": 1}) + "\n")
    for user in (gone, again):
        assert ferry.ctl_raw("forget", user, "--gone", "--reason", "erased")[0] == 0
    assert ferry.ctl_raw("hold", again, "--reason", "came back")[0] == 0
    file = os.path.join(ferry.folder, "moved")
    status, answer = ferry.ctl("route", "move", file)
    assert status == 0 and answer["moved"] == 2, answer
    ferry.settings["redis"].update(url=[redis.url, second.url], prefix="more")
    status, answer = ferry.ctl("route", "restore", file)
    assert status == 0 and answer["restored"] == 2, answer
    assert ferry.ctl_raw("user", gone)[0] == 3 and '"forget"' in ferry.ctl_raw("--json", "audit", gone)[1]
    assert (ferry.user(again)["state"], ferry.user(stays)["backend"]) == ("held", "new")

    with open(file, encoding="ascii") as f:
        lines = f.read().splitlines()
    at = next(i for i, line in enumerate(lines) if f'"user": "{stays}"' in line)
    with open(file, "w", encoding="ascii") as f:
        f.writelines(line + "\n" for line in lines[:at + 1])
    ferry.settings["redis"].update(prefix="cut")
    assert ferry.ctl_raw("route", "restore", file)[0] == 4 and ferry.ctl_raw("route", "restore", file, "--yes")[0] == 0
    assert ferry.user(stays)["backend"] == "new"


RECORD = "1 id=ab source=INBOX target=INBOX uidvalidity=7,1700000000 uidnext=20,6 highest=7 tier=T2 map=1UGBAAC"


def signed(lines, end):
    """As who writes such a file by hand would do it."""
    digest = hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()
    return lines + [re.sub(r'"sha256": "\w+"', f'"sha256": "{digest}"', end)]


def test_the_api_knows_both(make_ferry, redis, second):
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}},
                       {"redis": {"url": [redis.url, second.url]}, "migration": {"trigger": "manual"}}, init=False)
    ferry.init()
    api, users = Api(ferry), [user_in(i % 2) for i in range(6)]
    for user in users:
        assert api.call("account/hold", {"user": user, "reason": "x"})[0] == 200
    status, answer = api.call("status")
    assert status == 200 and answer["accounts"]["held"] == 6 and len(answer["stores"]) == 2 and answer["store"]["address"] == redis.url[:-2]
    status, answer = api.call("groups")
    assert status == 200 and [(g["state"], g["accounts"]) for g in answer["groups"]] == [("held", 6)], answer
    seen, cursor = [], None
    while cursor is not None or not seen:
        status, answer = api.call("accounts", state="held", cursor=cursor, count=2)
        assert status == 200 and len(answer["accounts"]) <= 2, answer
        seen += [a["user"] for a in answer["accounts"]]
        cursor = answer["next"]
    assert seen == users, "in one order, by since when"
    status, answer = api.call("audit")
    assert status == 200 and {e["user"] for e in answer["audit"]} == set(users)
    assert [e["time"] for e in answer["audit"]] == sorted((e["time"] for e in answer["audit"]), reverse=True)
    lines = [f"{ms} state:held={n}" for ms, n in ((1700000000000, 1), (1700000060000, 2), (1700000120000, 3))]
    for server, shift in ((redis, 0), (second, 1700)):
        server.client().delete("imapferry:history")
        server.client().rpush("imapferry:history", *[f"{int(x[:13]) + shift}{x[13:].replace(':', '%3A')}" for x in lines])
    status, answer = api.call("history", since=1)
    assert status == 200 and [p["accounts"].get("held") for p in answer["points"]][:3] == [2, 3, 5], answer
    second.kill()
    net.wait_until("store that is gone", lambda: api.migrator.find("event=store .*state=down"))
    status, answer = api.call("accounts", state="held")
    assert status == 200 and [a["user"] for a in answer["accounts"]] == users[::2] and answer["stores"][1]["error"], answer
    assert api.call("account/hold", {"user": users[1], "reason": "y"})[0] == 503 and api.call("account", user=users[0])[0] == 200
    second.start()


def test_a_group_lies_in_one_store(two):
    """It is found there by its name, and accounts of two stores are refused with what lies where."""
    here, also, there = user_in(0), user_in(1), user_in(1)
    status, answer = two.ctl("group", "make", "office", here, there)
    assert status == 4 and f'made with spread = "domain": {here} in store 1, {there} in store 2' in answer["error"], answer
    assert two.ctl("group", "list")[1]["sharing"] == [] and state(two, 0, here) is None
    assert two.ctl("group", "make", "office", also, there)[0] == 0 and two.stores[1].client().exists("imapferry:sharing:office")
    status, answer = two.ctl("group", "make", "office", here, user_in(0))
    assert status == 4 and answer["error"] == "the group office is there already", answer
    status, answer = two.ctl("group", "add", "office", here)
    assert status == 4 and "have to lie in one store" in answer["error"], answer
    assert [g["group"] for g in two.ctl("group", "list")[1]["sharing"]] == ["office"]
    assert two.ctl("group", "show", there)[1]["group"] == two.ctl("group", "show", "office")[1]["group"] == "office"
    assert two.ctl("group", "migrate", "office")[1]["queued"] == 2 and state(two, 1, also) == "queued"
    assert two.ctl("group", "drop", "office")[0] == 0 and two.ctl("group", "show", "office")[0] == 3


def test_accounts_of_a_domain_lie_in_one_store_and_move_as_a_group(make_ferry, redis, second, old, new, authority):
    """spread = domain: also behind the move from one store. Programs that would look for them by account do nothing there."""
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, {"migration": {"trigger": "manual"}})
    here, there = ([new_user().split("@")[0] + "@" + domain_in(which) for _ in range(3)] for which in (0, 1))
    for user in (*here, *there):
        fill(old, user, small(messages=3))
    assert ferry.ctl("group", "make", "there", *there)[0] == 0
    moved = os.path.join(ferry.folder, "moved")
    assert ferry.ctl("route", "move", moved)[0] == 0
    ferry.settings["redis"].update(url=[redis.url, second.url], prefix="more", spread="domain")
    status, answer = ferry.ctl("route", "restore", moved)
    assert status == 0 and (answer["groups"], answer["groups_apart"]) == (1, []), answer
    assert ferry.ctl("group", "make", "here", *here)[0] == 0
    status, answer = ferry.ctl("group", "add", "here", f"x@{domain_in(1)}")
    assert status == 4 and "spread" not in answer["error"], answer
    proxy = ferry.proxy()
    ferry.migrator()
    for group in ("here", "there"):
        assert ferry.ctl("group", "migrate", group, "--now")[1]["queued"] == 3
    for which, user in ((0, here[0]), (1, there[0]), (0, here[2]), (1, there[2])):
        net.wait_until("flip", lambda u=user: ferry.user(u)["state"] in ("flipped", "settled"), 40)
        assert ferry.user(user)["store"] == which + 1
        assert [s.client().exists(f"more:route:{user}") for s in (redis, second)] == [1 - which, which]
        ferry.login(proxy, user, "secret")
        assert_equal(old, new, user, 3)
    ferry.settings["redis"].pop("spread")
    status, answer = ferry.ctl("status")
    assert status == 5 and "by its record this is store 1 of 2/domain" in answer["error"], answer


def members_of(ferry):
    return {g["group"]: sorted(m["user"] for m in g["members"]) for g in ferry.ctl("group", "list")[1]["sharing"]}


def test_groups_of_all_stores_are_in_the_export(two):
    """One store of two is lost, and then both: each gets its own groups again, and the other one's are left alone."""
    of = [sorted((user_in(which), user_in(which))) for which in (0, 1)]
    for which, users in enumerate(of):
        assert two.ctl("group", "make", f"g{which}", *users, "--reason", "x")[0] == 0
    assert two.ctl("hold", of[0][0], "--reason", "x")[0] == two.ctl("hold", of[1][0], "--reason", "x")[0] == 0
    file = os.path.join(two.folder, "export")
    status, out, _ = two.ctl_raw("route", "export", file)
    assert status == 0 and "2 accounts that were switched over, or are held, and 2 groups" in out, out
    before = members_of(two)
    assert before == {"g0": of[0], "g1": of[1]}
    for lost in ([1], [0, 1]):
        for which in lost:
            two.stores[which].client().flushall()
        status, answer = two.ctl("route", "restore", file)
        assert status == 0 and (answer["groups"], answer["groups_apart"]) == (len(lost), []), answer
        assert members_of(two) == before and [s.client().smembers("imapferry:sharing") for s in two.stores] == [{"g0"}, {"g1"}]


def test_groups_that_cannot_be_beside_what_redis_still_holds_are_named(two):
    """The stores' records alone are gone. The same group is the same, and nobody is left without one unheard."""
    of = [sorted((user_in(which), user_in(which), user_in(which))) for which in (0, 1)]
    for which, users in enumerate(of):
        assert two.ctl("group", "make", f"g{which}", *users[:2])[0] == two.ctl("hold", users[0], "--reason", "x")[0] == 0
    file = os.path.join(two.folder, "export")
    assert two.ctl("route", "export", file)[0] == 0
    assert two.ctl("group", "remove", "g1", of[1][0])[0] == 4
    assert two.ctl("group", "add", "g1", of[1][2])[0] == 0 == two.ctl("group", "remove", "g1", of[1][0])[0]
    before = members_of(two)
    for store in two.stores:
        store.client().delete("imapferry:store")
    status, answer = two.ctl("route", "restore", "--yes", file)
    assert status == 0 and (answer["groups"], answer["groups_apart"], answer["groups_unmade"]) == (1, [], ["g1"]), answer
    assert members_of(two) == before == {"g0": of[0][:2], "g1": of[1][1:]}
    for store in two.stores:
        store.client().delete("imapferry:store")
    status, _, err = two.ctl_raw("route", "restore", "--yes", file)
    assert status == 0 and "the group g1 is not as it was, since Redis still holds another one of that name" in err and "g0" not in err, err


def test_a_group_whose_accounts_come_to_lie_in_several_stores_is_named(make_ferry, redis, second):
    """From one store to two: which one an account is in follows from its name alone, so such a group can't be; all others come along. The way
    is the same for a store that was moved, and for the export of one that is lost. Those who were in it are in none, and nobody is in half of it."""
    ferry = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}})
    whole, apart = sorted((user_in(1), user_in(1))), sorted((user_in(0), user_in(1)))
    assert ferry.ctl("group", "make", "whole", *whole)[0] == ferry.ctl("group", "make", "apart", *apart)[0] == 0
    for user in (*whole, *apart):
        assert ferry.ctl("hold", user, "--reason", "x")[0] == 0
    export, moved = (os.path.join(ferry.folder, name) for name in ("export", "moved"))
    assert ferry.ctl("route", "export", export)[0] == ferry.ctl("route", "move", moved)[0] == 0
    for prefix, files in (("more", [moved]), ("again", [export]), ("both", [moved, export])):
        ferry.settings["redis"].update(url=[redis.url, second.url], prefix=prefix)
        status, answer = ferry.ctl("route", "restore", *files)
        assert status == 0 and (answer["restored"], answer["groups"], answer["groups_apart"]) == (4, 1, ["apart"]), answer
        assert members_of(ferry) == {"whole": whole} and [ferry.user(u)["group"] for u in apart] == [None, None]
        assert [ferry.user(u)["group"] for u in whole] == ["whole", "whole"]


def gaps(server, user, every):
    """Takes every so many-th message of INBOX away, so that the new server would number those behind it anew."""
    account = mail.connect(server, user, "secret")
    assert account.select("INBOX")[0] == "OK"
    for uid in account.uid("SEARCH", "ALL")[1][0].split()[::every]:
        account.uid("STORE", uid.decode(), "+FLAGS.SILENT", "(\\Deleted)")
    assert account.expunge()[0] == "OK"
    account.logout()


# Of a route, what belongs to the store that has it.
OF_STORE = {"generation", "counted", "job", "listed", "owner", "last_owner", "deadline", "prepared", "given", "reason", "next_try"}


def kept_of(client, prefix, user):
    """All that a store knows of an account, by what it is."""
    known = {}
    for kind in ("route", "views", "waivers", "stamps"):
        known[kind] = client.hgetall(f"{prefix}:{kind}:{user}")
    for kind in ("folded", "report", "secret", "packed"):
        known[kind] = client.get(f"{prefix}:{kind}:{user}")
    for key in client.keys(f"{prefix}:ledger:{user}:*"):
        known[key[len(prefix) + 1:]] = client.lrange(key, 0, -1)
    for kind in ("audit", "arrivals"):
        known[kind] = client.xrange(f"{prefix}:{kind}:{user}")
    known["marks"] = [client.hstrlen(k, "=" + user) for k in client.keys(f"{prefix}:fingerprints:*") if client.hexists(k, "=" + user)]
    known["late"] = client.zscore(f"{prefix}:late", user) is not None
    known["route"] = {k: v for k, v in known["route"].items() if k not in OF_STORE and v not in ("", "0")}
    return {kind: value for kind, value in known.items() if value}


def seen_by(ferry, proxy, user):
    """UIDVALIDITY, UIDNEXT and UIDs of each mailbox, as a mail program keeps them."""
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK"), user
        names = [re.search(rb'\) "." "?(.+?)"?$', x)[1].decode() for x in lines_of(wire.command(b"l", b'LIST "" "*"'), b"LIST")
                 if b"\\Noselect" not in x]
        return {name: seen(wire, name) for name in names}


def test_the_move_from_one_store_to_two_is_a_slow_login(make_ferry, redis, second, old, new, authority):
    """What the handbook says. Each keeps UIDs and all that is known of it, and who comes while the stores are made waits."""
    t1, t2, waived, blocked, queued = user_in(0), user_in(1), user_in(1), user_in(0), user_in(1)
    for user in (t1, t2, waived, blocked, queued):
        fill(old, user, small(messages=24))
    gaps(old, t1, 20)
    gaps(old, t2, 3)
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                       {"migration": {"t1_max_gaps": 3, "late_watch": "1h"}})
    ferry.seal_keys()
    proxy, migrator = ferry.proxy(), ferry.migrator()
    for user in (t1, t2):
        ferry.login(proxy, user, "secret").logout()
        ferry.wait_state(user, "flipped")
    with connect(proxy) as wire:  # a record that only a client made, through the proxy
        assert wire.login(t2).startswith(b"l1 OK")
        name = next(name for name in seen_by(ferry, proxy, t2) if name != "INBOX")
        assert wire.command(b"c", b'RENAME "%s" INBOX.Kept' % name.encode())[-1].startswith(b"c OK")
    before = {user: seen_by(ferry, proxy, user) for user in (t1, t2)}
    assert "INBOX.Kept" in before[t2]
    assert [ferry.ctl("user", user)[1]["tiers"].get(tier, 0) > 0 for user, tier in ((t1, "T1"), (t2, "T2"))] == [True, True]
    assert ferry.ctl_raw("waive", waived, "flags", "--reason", "known")[0] == 0
    assert ferry.ctl_raw("hold", blocked, "--reason", "wait")[0] == 0
    assert ferry.ctl_raw("pause", "--reason", "the move")[0] == 0
    ferry.login(proxy, queued, "secret").logout()
    assert ferry.user(queued)["state"] == "queued"
    known = {user: kept_of(redis.client(), "imapferry", user) for user in (t1, t2, waived, blocked, queued)}
    assert any(k.startswith("ledger") for k in known[t2]) and {"secret", "report", "late", "marks"} <= set(known[t1]), known[t1].keys()

    file = os.path.join(ferry.folder, "moved")
    status, out, err = ferry.ctl_raw("route", "move", file)
    assert status == 4 and "is at work" in err and not os.path.exists(file), (out, err)
    assert ferry.login(proxy, t1, "secret").logout()
    migrator.stop()
    proxy.stop()
    assert ferry.ctl_raw("route", "move", file)[0] == 0
    stale = ferry.proxy(proxy={"store_timeout": "1s"})  # somebody forgot one, with the configuration from before
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        ferry.login(stale, t1, "secret")
    assert "was moved to others" in ferry.ctl_raw("status")[2] and ferry.ctl_raw("init")[0] == 4
    stale.stop()

    ferry.settings["redis"].update(url=[redis.url, second.url], prefix="more")
    for server in (redis, second):  # as a restore begins; those who come meanwhile wait for its end
        server.client().set("more:restoring", f"t {int(time.time() * 1000)}")
    proxy = ferry.proxy(proxy={"store_timeout": "1s"})
    with concurrent.futures.ThreadPoolExecutor() as waiting:
        logins = {user: waiting.submit(seen_by, ferry, proxy, user) for user in (t1, t2)}
        net.wait_until("logins that wait", lambda: len(proxy.find("event=login_waits")) == 2)
        for server in (redis, second):
            server.client().delete("more:restoring")
        status, answer = ferry.ctl("route", "restore", file)
        assert status == 0 and answer["restored"] == 5 and answer["backends"] == {"new": 2, "old": 3}, answer
        assert {user: logins[user].result() for user in logins} == before
    for user, was in known.items():
        assert kept_of((redis, second)[place(user)].client(), "more", user) == was, user
    assert ferry.user(blocked)["state"] == "held" and ferry.user(queued)["state"] == "queued"
    ferry.migrator()
    net.wait_until("flip", lambda: ferry.user(queued)["state"] == "flipped", 60)
    assert_equal(old, new, queued, 24)
    assert {user: seen_by(ferry, proxy, user) for user in (t1, t2)} == before
