"""Redis loses everything: what journals and exports know is brought back, and nobody is on the wrong server."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from fakes.fake_imap import FakeImap
from harness import handbook, net, redisd
from harness.daemon import program
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


def test_an_export_alone_makes_another_redis(site, tmp_path):
    """The host of Redis is gone, and so are all journals: what was exported that night goes to a new one, where logins and moves go on."""
    ferry, users = site.ferry, [new_user(f"night{i}") for i in range(4)]
    backup, journal = str(tmp_path / "routes"), tmp_path / "journal"
    for user in users:
        site.letters(user, LETTER % 1, LETTER % 2)
    for user in users[:2]:
        site.move(user)
    assert ferry.ctl("hold", users[2], "--reason", "her wish")[0] == 0
    status, answer = ferry.ctl("group", "make", "office", users[1], users[3], "--reason", "a diary")
    assert status == 0, answer
    office = ferry.ctl("group", "show", "office")[1]
    status, answer = ferry.ctl("route", "export", backup)
    assert status == 0 and answer["message"] == "3 accounts that were switched over, or are held, and 1 group", answer
    for daemon in list(ferry.daemons):
        daemon.stop()
    ferry.redis.kill()
    journal.mkdir()
    ferry.settings["migrator"]["journal_dir"] = str(journal)
    another = redisd.Redis(port=net.free_port(), program=redisd.PROGRAMS[-1])
    before, ferry.redis = ferry.redis, another
    try:
        status, answer = ferry.ctl("route", "restore", backup)
        assert status == 0 and answer["restored"] == 3 and answer["held"] == 1 and answer["backends"] == {"new": 2, "old": 1}, answer
        assert answer["groups"] == 1 and "1 group of accounts that share is there again" in answer["message"], answer
        again = ferry.ctl("group", "show", "office")[1]
        assert [(m["user"], m["state"], m["backend"]) for m in again["members"]] == [(users[1], "flipped", "new"), (users[3], "resting", "old")]
        assert [again[x] for x in ("changed_by", "changed", "why")] == [office[x] for x in ("changed_by", "changed", "why")], (again, office)
        assert ferry.ctl("flip", users[3], "--to", "new", "--force", "--yes", "--reason", "x")[0] == 4
        proxy = ferry.proxy()
        for user, server in zip(users, ("new", "new", "old", "old")):
            with connect(proxy) as wire:
                assert wire.login(user).startswith(b"l1 OK")
                assert ferry.where(user) == {server}
        assert ferry.route(users[2])["reason"] == "held: her wish"
        another.client().hset("imapferry:store", "quarantine_until", 0)
        ferry.migrator()
        site.move(users[3])
        site.same(users[3], 2)
        for daemon in list(ferry.daemons):
            daemon.stop()
    finally:
        ferry.redis = before
        another.close()


def test_a_store_that_was_made_by_mistake_is_taken_away_as_the_handbook_has_it(site, tmp_path):
    """By what its page has typed; another host than that of the journal has made it."""
    ferry, user, backup = site.ferry, new_user("mistake"), tmp_path / "routes"
    site.letters(user, LETTER % 1)
    site.move(user)
    handbook.type_in(handbook.block("restore.md", "route export /var"), ("imapferryctl", f"{program('imapferryctl')} -c {ferry.config()}"),
                     ("/var/backups/imapferry.routes", backup))
    for daemon in list(ferry.daemons):
        daemon.stop()
    redis = ferry.redis.client()
    redis.flushall()
    redis.set("somebody:else", "x")
    ferry.settings["migrator"]["journal_dir"] = str(tmp_path / "journal")
    (tmp_path / "journal").mkdir()
    assert ferry.ctl("init")[0] == 0
    assert ferry.ctl("route", "restore", str(backup))[0] == 4, "there is a store"
    handbook.type_in(handbook.block("restore.md", "redis-cli"), ("redis-cli", f"redis-cli -s {ferry.redis.socket}"))
    assert redis.keys("*") == ["somebody:else"]
    assert ferry.ctl("route", "restore", str(backup))[0] == 0
    assert ferry.route(user)["backend"] == "new"


def test_what_restore_refuses(site, tmp_path):
    ferry = site.ferry
    assert ferry.ctl("route", "restore", str(tmp_path / "none"))[0] == 2
    assert ferry.ctl_raw("route", "restore")[0] == 2 and ferry.ctl_raw("route", "export")[0] == 2
    assert ferry.ctl_raw("route", "exprot", "x")[0] == 2
    (tmp_path / "flips").write_text("")
    assert ferry.ctl("route", "restore", str(tmp_path))[0] == 4, "there is a store"
    assert ferry.ctl("route", "export", "/nonexistent/x")[0] == 1


def flip(user, second=1, source="old", target="new", epoch=5):
    return json.dumps({"time": f"2026-01-31T10:00:{second:02}.000Z", "user": user, "source": source, "target": target,
                       "epoch": epoch, "generation": 1, "view": ""}) + "\n"


def exported(user, backend="new", epoch=6):
    return json.dumps({"time": "2026-01-31T09:00:00.000Z", "user": user, "backend": backend, "state": "settled",
                       "epoch": epoch, "generation": 1, "source": "old", "target": backend, "home": "old", "left": "old",
                       "flipped_at": "1769853600123", "held_from": "", "reason": ""}) + "\n"


def end(n):
    return json.dumps({"time": "2026-01-31T11:00:00.000Z", "end": n}) + "\n"


EXPORT = "".join(exported(f"user{i}") for i in range(14)) + end(14)


def with_groups(*groups):
    return json.dumps({**json.loads(end(14)), "groups": [{"group": name, "members": members, "changed_by": "root", "changed": "2026-01-30T10:00:00Z",
                                                         "why": "they share"} for name, *members in groups]}) + "\n"


@pytest.mark.parametrize("name, text, says", [
    ("empty", "", "no account is told of"),
    ("only an end", end(0), "no account is told of"),
    ("a log", "2026-01-31 event=login user=ann\n" * 3, "FILE:1: can't be read; and 3 more"),
    ("names", "ann\nbob\n", "FILE:1: can't be read; and 2 more"),
    ("garbage within a line", EXPORT.replace('"user": "user7"', '"us\x01er": "user7"'), "FILE:8: can't be read; and 1 more"),
    ("the end is cut off", EXPORT[:-50], "FILE: this export may be cut off"),
    ("two lines are gone", "".join(EXPORT.splitlines(True)[:-2]), "FILE: this export may be cut off"),
    ("a line is gone in the middle", EXPORT.replace(exported("user7"), ""), "by this line it has 14 accounts, and there are 13"),
    ("a backend that is none", EXPORT.replace('"target": "new"', '"target": "newer"').replace('"backend": "new"', '"backend": "newer"', 9),
     '9 accounts are on "newer", which is no backend of the configuration ("old", "new")'),
    ("a group of one", EXPORT.replace(end(14), with_groups(["one", "user1"], ["two", "user2", "user3"])), "the group one has fewer than two accounts"),
    ("a group of no accounts", EXPORT.replace(end(14), with_groups(["one", "user1", "user2 user3"])), '"user2 user3" in the group one is no name'),
    ("a member twice, and an account in two groups", EXPORT.replace(end(14), with_groups(["one", "user1", "user1"], ["two", "user2", "user3"], ["three", "user4", "user3"])),
     "user1 in the group one is there already, in the group one; and 1 more"),
    ("two groups of one name", EXPORT.replace(end(14), with_groups(["one", "user1", "user2"], ["one", "user3", "user4"])), "the group one is there twice"),
    ("a journal of other names", flip("ann", target="newer"), '1 accounts are on "newer", which is no backend'),
])
def test_a_store_is_not_made_from_anything(site, tmp_path, name, text, says):
    """With status 0 a store was made: what was moved, and was not told of, was served from the old server."""
    ferry, path = site.ferry, str(tmp_path / "file")
    with open(path, "w", encoding="latin-1") as f:
        f.write(text)
    redis = ferry.redis.client()
    for daemon in list(ferry.daemons):
        daemon.stop()  # a migrator makes its queue again where that is gone
    redis.flushall()
    status, answer = ferry.ctl("route", "restore", path)
    assert status == 4 and answer["error"].startswith("nothing is made: ") and answer["restored"] == 0, answer
    assert says.replace("FILE", path) in answer["error"] and "--yes" in answer["error"], answer
    assert redis.keys("*") == []
    status, _, err = ferry.ctl_raw("route", "restore", path)
    assert status == 4 and says.split("; and")[0].replace("FILE", path) in err.splitlines()[0], err
    status, out, err = ferry.ctl_raw("route", "restore", "--yes", path)
    assert status == 0 and "may be missing" in out and "accounts are restored" in out and err, (out, err)
    assert redis.exists("imapferry:store")


def test_groups_come_back_a_few_hundred_accounts_at_a_time(site, tmp_path):
    """Many groups in one call kept Redis from all else for seconds."""
    ferry, path = site.ferry, str(tmp_path / "file")
    redis = ferry.redis.client()
    with open(path, "w", encoding="ascii") as f:
        f.write(EXPORT.replace(end(14), with_groups(*([f"g{n}", *(f"m{n}.{i}" for i in range(200))] for n in range(10)))))
    for daemon in list(ferry.daemons):
        daemon.stop()
    redis.flushall()
    redis.config_set("slowlog-log-slower-than", 0)
    redis.config_set("slowlog-max-len", 100000)  # it has what scripts call, too
    redis.slowlog_reset()
    status, answer = ferry.ctl("route", "restore", path)
    redis.config_set("slowlog-log-slower-than", -1)
    assert status == 0 and answer["groups"] == 10, answer
    more = [int(re.search(rb"\((\d+) more arguments\)", x["command"])[1]) for x in redis.slowlog_get(100000) if b"more arguments" in x["command"]]
    assert sum(more) > 2 * 10 * 200 and max(more) < 2 * 3 * 200 + 100, more


def test_restore_says_where_accounts_live(site, tmp_path):
    ferry, path = site.ferry, str(tmp_path / "file")
    with open(path, "w", encoding="ascii") as f:
        f.write(EXPORT + flip("user0", 30, "new", "old", 9) + flip("half")[:-30])
    ferry.redis.client().flushall()
    status, answer = ferry.ctl("route", "restore", path)
    assert status == 0 and answer["backends"] == {"new": 13, "old": 1} and answer["half"] == 1 and answer["problems"] == 0, answer
    assert answer["message"].startswith("14 accounts are restored (1 on old, 13 on new), 1 of them held"), answer


def test_the_journal_of_this_host_is_read_too(site, tmp_path):
    """It was left out where only the files of other hosts were given; `init` looks at it."""
    ferry, path = site.ferry, str(tmp_path / "file")
    with open(path, "w", encoding="ascii") as f:
        f.write(EXPORT)
    with open(os.path.join(ferry.folder, "journal", "flips"), "w", encoding="ascii") as f:
        f.write(flip("user3") + flip("here"))
    ferry.redis.client().flushall()
    status, answer = ferry.ctl("route", "restore", path)
    assert status == 0 and answer["by_journal"] == 1 and answer["restored"] == 15, answer
    assert "1 are known by the journal of this host alone" in answer["message"]
    assert ferry.route("here")["backend"] == "new"


def test_accounts_in_doubt_are_named(site, tmp_path):
    ferry, path = site.ferry, str(tmp_path / "file")
    with open(path, "w", encoding="ascii") as f:
        for i in range(25):
            f.write(flip(f"doubt{i:02}", 2) + flip(f"doubt{i:02}", 1, "new", "old", 9))
    ferry.redis.client().flushall()
    status, _, err = ferry.ctl_raw("route", "restore", path)
    assert status == 1, err
    assert "(25):\n  doubt00\n" in err and "  doubt19\n  and 5 more: " in err and "doubt20" not in err, err
    assert ferry.route("doubt24")["state"] == "held"


def test_export_replaces_files_alone(site, tmp_path):
    """/dev/null became a file, and a link was replaced; what could not be written was a success."""
    ferry = site.ferry
    ferry.ctl("hold", "ann", "--reason", "x")
    real, link, part = tmp_path / "real", tmp_path / "link", tmp_path / "real.part"
    real.write_text("the one before")
    link.symlink_to("real")
    assert ferry.ctl("route", "export", str(link))[0] == 0
    assert link.is_symlink() and [sorted(json.loads(x)) for x in real.read_text().splitlines()][1] == ["end", "groups", "time"]
    (tmp_path / "nothing").symlink_to("gone")
    status, answer = ferry.ctl("route", "export", str(tmp_path / "nothing"))
    assert status == 1 and "error" in answer and not (tmp_path / "gone").exists()
    part.symlink_to("gone")
    assert ferry.ctl("route", "export", str(real))[0] == 1 and not (tmp_path / "gone").exists()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), encoding="ascii") as f:
        assert ferry.ctl("route", "export", str(fifo))[0] == 0
        assert len(f.readlines()) == 2 and fifo.is_fifo()
    status, out, err = ferry.ctl_raw("route", "export", "/dev/full")
    assert status == 1 and out == "" and "No space left" in err, (out, err)
    assert ferry.ctl("route", "export", str(tmp_path))[0] == 1
    status, out, err = ferry.ctl_raw("route", "export", "-")
    assert (status, len(out.splitlines()), err) == (0, 2, "")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([program("imapferryctl"), "-c", ferry.config("ctl"), "route", "export", "-"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "No space left" in done.stderr


def test_two_exports_into_one_file(site, tmp_path):
    """As of a backup that takes longer than until the next one. Each ended with 0, and left a file that was neither's."""
    ferry, file = site.ferry, tmp_path / "export"
    for i in range(3):
        assert ferry.ctl("hold", f"user{i}", "--reason", "x" * 3000)[0] == 0
    with subprocess.Popen([program("imapferryctl"), "-c", ferry.config("ctl"), "route", "export", str(file)], stderr=subprocess.PIPE,
                          env={**os.environ, "IMAPFERRY_FAULT": "script.export.answered:1:stop"}) as run:
        _, how = os.waitpid(run.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(how)
        status, answer = ferry.ctl("route", "export", str(file))
        run.send_signal(signal.SIGCONT)
        run.communicate(timeout=30)
    assert status == 1 and "busy" in answer["error"], answer
    assert run.returncode == 0 and len(file.read_text().splitlines()) == 4
    (tmp_path / "export.part").write_text("what one that was killed has left" * 10000)
    assert ferry.ctl("route", "export", str(file))[0] == 0 and len(file.read_text().splitlines()) == 4


def test_a_store_that_was_made_anew_on_another_host(site, tmp_path):
    """`init` ran where there is no journal; the migrator, whose journal has the switch-overs, was "ready" as if nothing were."""
    ferry = site.ferry
    users = [new_user(f"lost{i}") for i in range(5)]
    with open(os.path.join(ferry.folder, "journal", "flips"), "w", encoding="ascii") as f:
        f.write("".join(flip(u) for u in users))
    for daemon in list(ferry.daemons):
        daemon.stop()
    redis = ferry.redis.client()
    redis.flushall()
    assert ferry.ctl("init", migrator={"journal_dir": str(tmp_path)})[0] == 0
    migrator = ferry.migrator()
    line = migrator.wait(".*event=flips_unknown.*").group()
    assert "level=error" in line and "accounts=5" in line and "and 2 more" in line and "route restore" in line, line
    net.wait_until("the brake", lambda: redis.hget("imapferry:control", "paused") == "1")
    status, answer = ferry.ctl("status")
    assert answer["paused"] and "does not know 5 of the last 5 accounts" in answer["paused_reason"], answer
    assert "does not know 5" in answer["migrators"][0]["rests"]
    checks = [c for c in ferry.ctl("check")[1]["checks"] if c["of"] == "journal"]
    assert [c["level"] for c in checks] == ["error"], checks
    # Staff go on all the same: this migrator still takes nothing.
    assert ferry.ctl("resume")[0] == 0
    user = new_user("next")
    site.letters(user, LETTER % 1)
    ferry.ctl("migrate", user)
    assert ferry.ctl("user", user)[1]["held_up"].startswith("no migrator takes work"), ferry.ctl("user", user)
    assert ferry.route(user)["state"] == "queued" and not redis.hget("imapferry:control", "paused") == "1"
    # The way out that it names: the journal was another site's.
    migrator.stop()
    shutil.move(os.path.join(ferry.folder, "journal", "flips"), str(tmp_path / "flips"))
    ferry.migrator()
    site.wait(user, "flipped")
    assert [c["level"] for c in ferry.ctl("check")[1]["checks"] if c["of"] == "journal"] == ["ok"]


def test_a_journal_is_known_after_restore_and_restart(site):
    ferry = site.ferry
    user = new_user("known")
    site.letters(user, LETTER % 1)
    site.move(user)
    again = ferry.migrator()
    again.wait("event=ready")
    assert ferry.ctl("route", "export", os.path.join(ferry.folder, "x"))[0] == 0
    for daemon in list(ferry.daemons):
        daemon.stop()
    ferry.redis.client().flushall()
    assert ferry.ctl("route", "restore", os.path.join(ferry.folder, "x"))[0] == 0
    last = ferry.migrator()
    assert not last.find("event=flips_unknown") and not ferry.ctl("status")[1]["paused"]


def test_a_store_that_lost_its_newest_writes(site):
    """Redis came up with an older copy of its data: the generation is another one, and the journal knows more."""
    ferry = site.ferry
    user, redis = new_user("older"), ferry.redis.client()
    site.letters(user, LETTER % 1)
    site.move(user)
    redis.hset(f"imapferry:route:{user}", mapping={"epoch": "1", "state": "resting", "backend": "old"})
    redis.hset("imapferry:store", "run_id", "0" * 40)
    redis.client_kill_filter(_type="normal", skipme=True)
    site.migrator.wait("event=flips_unknown")
