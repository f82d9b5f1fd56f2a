"""What imapferryctl prints, for people and for programs, beyond what its verbs do (test_staff.py)."""
import json
import os
import pty
import re
import select
import subprocess
import time

import pytest

from harness import net
from harness.daemon import program, sanitizer_environment
from harness.relay import UP, Relay
from harness.ferry import backend
from harness.scene import connect, fill, new_user, small

MOVED = ("flipped", "settled")  # the latter at once, without a late watch
MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}
BIG = 1 << 20


@pytest.fixture
def manual(make_ferry, backends):
    return make_ferry(backends, MANUAL)


def on_terminal(ferry, *args, timeout=60):
    """(status, all that appeared on the terminal) of imapferryctl."""
    master, slave = pty.openpty()
    report = os.path.join(ferry.folder, "sanitizer-pty")
    run = subprocess.Popen([program("imapferryctl"), "-c", ferry.config(), *args], stdout=slave, stderr=slave,
                           stdin=subprocess.DEVNULL, env=sanitizer_environment(report))
    os.close(slave)
    text, end = b"", time.monotonic() + timeout
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        text += data
    os.close(master)
    return run.wait(10), text.decode()


def test_progress_on_a_terminal(make_ferry, old, new, authority):
    user = new_user("watched")
    fill(old, user, small(messages=40, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    relay.delay(0.03)
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")}, {"migration": {"trigger": "manual"}})
    ferry.migrator()
    status, text = on_terminal(ferry, "migrate", user, "--wait")
    assert status == 0, text
    assert re.search(r"\[[#.]{8,30}\] \d+/41 messages, .* of ", re.sub(r"\x1b\[\d+m", "", text)), text
    shown = re.findall(rf"{re.escape(user)}: (\w+)", text)
    assert shown[-1] in MOVED and len(shown) == len(set(shown)), shown
    assert text.rstrip().endswith(f"{user} is on new")
    relay.close()


def test_wait_without_a_terminal_prints_states_alone(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=4))
    manual.migrator()
    status, out, _ = manual.ctl_raw("migrate", user, "--now", "--wait")
    assert status == 0 and "\r" not in out and "[" not in out
    assert out.splitlines()[-2] in [f"{user}: {word}" for word in MOVED] and out.splitlines()[-1] == f"{user} is on new", out
    status, answer = manual.ctl("migrate", user, "--wait")
    assert status == 0 and answer["state"] in MOVED, "it is there already"


def test_wait_ends_where_staff_have_the_next_word(manual, old, new):
    user = new_user()
    fill(old, user, small(messages=4))
    manual.migrator()
    status, answer = manual.ctl("migrate", user, "--wait")
    assert status == 0 and (answer["state"], answer["backend"]) == ("ready", "old")
    status, answer = manual.ctl("flip", user, "--to", "new", "--reason", "now", "--wait")
    assert status == 0 and answer["state"] in MOVED and answer["backend"] == "new"
    status, out, _ = manual.ctl_raw("flip", user, "--to", "old", "--force", "--reason", "back", "--wait")
    assert status == 0 and 'will be held there until "release"' in out.splitlines()[0], out
    assert out.splitlines()[-1] == f'{user} is on old, and held there until "release"', out
    assert manual.route(user)["state"] == "held"


def test_wait_tells_that_the_account_was_held(make_ferry, old, authority, new):
    user = new_user()
    fill(old, user, small(messages=10, big=(BIG,)))
    relay = Relay(("127.0.0.1", new.port["imap"]))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(relay, "imap")}, {"migration": {"trigger": "manual"}})
    relay.stall_after(BIG // 2, UP)
    ferry.migrator()
    config = ferry.config()
    run = subprocess.Popen([program("imapferryctl"), "-c", config, "migrate", user, "--wait"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=sanitizer_environment(os.path.join(ferry.folder, "sanitizer-wait")))
    assert relay.tripped.wait(30)
    assert ferry.ctl("hold", user, "--reason", "not yet")[0] == 0
    out, error = run.communicate(timeout=30)
    assert run.returncode == 1 and "held: not yet" in out + error, (out, error)
    relay.close()


def test_human_output(manual, old):
    user = new_user("reader")
    proxy = manual.proxy()
    assert manual.ctl_raw("status")[1].splitlines()[0].startswith("store       redis://127.0.0.1:")
    assert manual.ctl_raw("user", user)[1].splitlines()[:3] == [
        f"user        {user}", "backend     old", "state       resting"]
    assert manual.ctl("hold", user, "--reason", "a\nb\x1b[31m")[0] == 0
    text = manual.ctl_raw("user", user)[1]
    assert "\x1b" not in text and "held from   resting" in text
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        status, out, _ = manual.ctl_raw("sessions", user)
        assert status == 0 and out.startswith("MODE ") and len(out.splitlines()) == 2
        assert re.match(r"running +old +127\.0\.0\.1", out.splitlines()[1]), out
    assert "PAUSED" not in manual.ctl_raw("status")[1]
    assert re.search(r"^migrators   none is alive", manual.ctl_raw("status")[1], re.M)
    assert manual.ctl_raw("pause", "--reason", "lunch")[0] == 0
    assert re.search(r"^PAUSED +by \w+: lunch, 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ \(", manual.ctl_raw("status")[1], re.M)


def test_proxy_that_crashed_is_not_shown_as_if_it_lived(manual):
    dead, alive = manual.proxy(), manual.proxy()
    dead.kill()

    def silent():
        return {p["proxy"].rpartition("-")[0].split(".")[0]: p["silent"] for p in manual.ctl("status")[1]["proxies"]}
    net.wait_until("silence", lambda: silent()[dead.label], step=0.1)
    assert silent() == {dead.label: True, alive.label: False}
    text = manual.ctl_raw("status")[1]
    waited_for = r"(, waited for until 20\d\d-\S*Z)?"
    assert re.search(rf"{dead.label} +version .* SILENT since 20\d\d-\S*Z \(.* ago\){waited_for}$", text, re.M), text
    assert re.search(rf"{alive.label} +version .* 1 thread$", text, re.M), text
    redis, key = manual.redis.client(), "imapferry:proxies"
    (name,) = [n for n in redis.hkeys(key) if n.startswith(dead.label)]
    words = redis.hget(key, name).split()
    words[4] = str(int(words[4]) - 25 * 3600 * 1000)
    redis.hset(key, name, " ".join(words))
    assert list(silent()) == [alive.label], "it was heard a day ago"


def test_status_is_aligned_and_in_order(manual):
    """One line a proxy, however many threads it has had; states as an account goes through them."""
    redis, now = manual.redis.client(), int(time.time() * 1000)
    redis.hset("imapferry:counts", mapping={f"state:{s}": n for s, n in
                                            (("held", 3), ("settled", 12345), ("queued", 7), ("blocked", 20), ("copying", 1))})
    old = now - 600000
    for name, told in (("front-1.0-aa", now), ("front-1.1-bb", now), ("front-1.2-cc", old), ("mx.0-aa", old), ("mx.1-bb", old - 1000)):
        redis.hset("imapferry:proxies", name, f"7 0.1.0 host.example 1 {told} 10000 60000")
    redis.hset("imapferry:migrators", mapping={"m1": f"300000 {now} 0.1.0", "m-two": f"300000 {old} 0.1.0", "m3": "300000 5 0.1.0"})
    text = manual.ctl_raw("status")[1]
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("accounts"))
    assert lines[at:at + 5] == ["accounts         7 queued", "                 1 copying", "            12,345 settled",
                                "                20 blocked", "                 3 held"], text
    at = next(i for i, line in enumerate(lines) if line.startswith("proxies"))
    assert lines[at] == "proxies     front-1  version 0.1.0  host.example  2 threads, and 1 of before that are silent", text
    assert re.match(r"^ {12}mx       version 0\.1\.0  host\.example  SILENT since \S+Z \(10 min ago\)$", lines[at + 1]), text
    assert re.match(r"^migrators   m-two  version 0\.1\.0  0 jobs  SILENT since ", lines[at + 2]), text
    assert lines[at + 3:] == ["            m1     version 0.1.0  0 jobs"], text
    answer = manual.ctl("status")[1]
    assert list(answer["accounts"]) == ["queued", "copying", "settled", "blocked", "held"]
    assert {m["migrator"]: m["silent"] for m in answer["migrators"]} == {"m1": False, "m-two": True}


def test_sessions_are_aligned(manual):
    redis = manual.redis.client()
    redis.hset("imapferry:sessions:ann", mapping={"p-1/1": "old 1 running 198.51.100.7 1700000000000",
                                                  "p-1/22": "a-long-name 1 frozen 2001:db8:0:0:0:0:0:1 1700000000000"})
    lines = manual.ctl_raw("sessions", "ann")[1].splitlines()
    assert len(lines) == 3 and "2023-11-14T22:13:20Z" in lines[1]
    for head in ("BACKEND", "ADDRESS", "SINCE", "SESSION"):
        at = lines[0].index(head)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines), lines


def test_audit(manual):
    user = new_user("audited")
    for args in (("migrate", user, "--reason", "first"), ("hold", user, "--reason", "second"), ("release", user), ("pause",)):
        assert manual.ctl(*args)[0] == 0
    status, answer = manual.ctl("audit", user)
    assert status == 0
    assert [(e["what"], e["reason"], e["after"].split()[0]) for e in answer["audit"]] == [
        ("release", "", "queued"), ("hold", "second", "held"), ("enqueue", "first", "queued")]
    assert all(e["user"] == user and e["who"] and e["time"] for e in answer["audit"])
    status, answer = manual.ctl("audit")
    assert [e["what"] for e in answer["audit"]] == ["pause", "release", "hold", "enqueue"]
    status, out, _ = manual.ctl_raw("audit", user)
    assert status == 0 and "(second)" in out


def test_who_it_was_behind_sudo(manual, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "mallory")
    assert manual.ctl("pause")[0] == 0
    assert manual.ctl("audit")[1]["audit"][0]["who"] == "mallory"


def test_account_names_are_keys(make_ferry, backends):
    ferry = make_ferry(backends, {"migration": {"default_domain": "example.org", "aliases": ["info=ann@example.org"]}})
    for name in (" Ann ", "ann@EXAMPLE.org.", "INFO"):
        assert ferry.ctl("user", name)[1]["user"] == "ann@example.org"
    for name in ("", "@", "a\tb", "x" * 600):
        status, out, error = ferry.ctl_raw("user", name)
        assert status == 2 and error and not out, name


def test_json_of_what_was_refused(manual):
    status, answer = manual.ctl("release", "ann")
    assert status == 4 and "resting" in answer["error"]
    status, answer = manual.ctl("flip", "ann", "--to", "old", "--reason", "x")
    assert status == 0 and "already" in answer["message"]
    status, answer = manual.ctl("retry", "ann")
    assert status == 4 and answer["user"] == "ann"


def test_redis_that_holds_another_store(manual, redis):
    """Wiped: everything but init is out of reach, and says why."""
    redis.wipe()
    status, answer = manual.ctl("status")
    assert status == 5 and "init" in answer["error"]
    assert manual.ctl("init")[0] == 0


@pytest.mark.parametrize("args", [("seal-key",), ("seal-key", "--out", "/nonexistent/folder")])
def test_seal_key_says_what_is_missing(manual, args):
    status, _, error = manual.ctl_raw(*args)
    assert status == (1 if len(args) > 1 else 2) and ("--out" in error or "/nonexistent/folder" in error)


def test_seal_key_to_a_folder(manual):
    status, out, _ = manual.ctl_raw("--json", "seal-key", "--out", manual.folder)
    keys = json.loads(out)
    assert status == 0 and os.stat(keys["private_key_file"]).st_mode & 0o777 == 0o600
    with open(keys["public_key_file"], encoding="ascii") as f:
        assert "PUBLIC KEY" in f.read()


def test_status_counts_without_going_through_all_keys(manual):
    """A store that an older version has filled is counted by the first migrator; staff may have it counted anew."""
    users = [new_user(f"counted{i}") for i in range(3)]
    for user in users[:2]:
        assert manual.ctl("hold", user)[0] == 0
    redis = manual.redis.client()
    status = manual.ctl("status")[1]
    assert (status["counted"], status["accounts"], status["backends"]) == (True, {"held": 2}, {"old": 2})
    redis.hdel("imapferry:store", "series", "audit_since")
    redis.delete("imapferry:counts")
    for user in users:
        redis.hdel(f"imapferry:route:{user}", "counted")
    assert manual.ctl("hold", users[2])[0] == 0
    assert manual.ctl("status")[1]["counted"] is False and manual.ctl("status")[1]["accounts"] == {}
    assert "recount" in manual.ctl_raw("status")[1]
    migrator = manual.migrator()
    migrator.wait("event=accounts_counted accounts=3")
    status = manual.ctl("status")[1]
    assert (status["counted"], status["accounts"]) == (True, {"held": 3})
    redis.hset("imapferry:counts", "state:held", 77)
    redis.config_resetstat()
    assert manual.ctl("status")[1]["accounts"] == {"held": 77}
    assert "cmdstat_scan" not in redis.info("commandstats")
    assert "3 accounts" in manual.ctl("recount")[1]["message"]
    assert manual.ctl("status")[1]["accounts"] == {"held": 3}
