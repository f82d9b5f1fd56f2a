"""Jobs of migrators that are gone, or that can't finish what they have begun: who goes on, and when."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from fakes.fake_imap import FakeImap
from harness import dovecot, net
from harness.ferry import backend
from harness.scene import connect, new_user

SHORT = {"job_lease": "900ms"}  # of those that die
STREAM, GROUP = "imapferry:jobs", "migrators"


@pytest.fixture(name="servers", scope="module")
def both_servers():
    with FakeImap(name="old") as old, FakeImap(name="new") as new:
        yield old, new


def user_of(servers, label="orphan"):
    user = new_user(label)
    servers[0].add(user, "INBOX", b"Subject: x\r\n\r\nx\r\n")
    return user


def make(make_ferry, servers, **settings):
    return make_ferry({"old": backend(servers[0], "imap"), "new": backend(servers[1], "imap")},
                      dict({"migration": {"trigger": "manual"}}, **settings))


def migrate(ferry, *users):
    for user in users:
        assert ferry.ctl("migrate", user)[0] == 0


def moved(ferry, user, **options):
    return ferry.wait_state(user, "flipped", "settled", **options)


@contextlib.contextmanager
def deaf_server():
    """Takes connections and says nothing: whoever works with it has its hands full."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as s:
        yield {"address": f"imap://127.0.0.1:{s.getsockname()[1]}", "master_user": dovecot.MASTER_USER}


def journal(path):
    with open(path, encoding="ascii") as f:
        return [json.loads(line) for line in f.read().splitlines() if line]


# ---- an account whose migrator died in `flipping`

def dies_in_flipping(ferry, servers):
    user = user_of(servers, "flipping")
    migrate(ferry, user)
    dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": "script.flipped.sent:1:kill"})
    net.wait_until("death", lambda: dead.process.poll() is not None)
    dead.kill()
    assert ferry.route(user)["state"] == "flipping"
    return user


def test_flip_that_was_begun_needs_no_place(make_ferry, servers):
    """The one place is taken by a job that gets no further, and there is a backlog."""
    ferry = make(make_ferry, servers, migrator=SHORT)
    user = dies_in_flipping(ferry, servers)
    backlog = [user_of(servers) for _ in range(3)]
    migrate(ferry, *backlog)
    with deaf_server() as deaf:
        migrator = ferry.migrator(migrator={"jobs": 1}, backends={"old": deaf})
        moved(ferry, user, timeout=15)
        migrator.wait("event=job_taken_over .*kind=forward")
        states = [ferry.route(u)["state"] for u in backlog]
        assert states.count("copying") == 1 and states.count("queued") == 2
    migrator.stop()
    ferry.migrator()
    for other in backlog:
        moved(ferry, other)


@pytest.mark.parametrize("what", ["pause", "quarantine"])
def test_flip_that_was_begun_needs_no_permission(make_ferry, servers, redis, what):
    ferry = make(make_ferry, servers, proxy={"lease_long": "120s"}, migrator=SHORT)
    user = dies_in_flipping(ferry, servers)
    other = user_of(servers)
    if what == "pause":
        assert ferry.ctl("pause", "--reason", "test")[0] == 0
    else:
        redis.restart()
    migrate(ferry, other)
    ferry.migrator(migrator={"jobs": 1})
    moved(ferry, user, timeout=15)
    assert ferry.route(other)["state"] == "queued"


def test_orphans_come_before_the_backlog(make_ferry, servers):
    """One of fifty has an owner that is gone; the others' lives, and the backlog lies in wait for the place."""
    ferry = make(make_ferry, servers)
    users = [user_of(servers) for _ in range(50)]
    client = ferry.redis.client()
    path = os.path.join(ferry.folder, "list")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(users) + "\n")
    assert ferry.ctl("migrate", "--all", path)[0] == 0
    stream = STREAM + ":bulk"
    client.xgroup_create(stream, GROUP, id="0")
    ids = [i for _, rows in client.xreadgroup(GROUP, "living", {stream: ">"}) for i, _ in rows]
    assert len(ids) == 50
    backlog = [user_of(servers) for _ in range(5)]
    over = threading.Event()

    def live():
        while not over.wait(0.2):
            client.execute_command("XCLAIM", stream, GROUP, "living", 0, *ids[:49], "JUSTID")
    keeper = threading.Thread(target=live)
    keeper.start()
    try:
        client.execute_command("XCLAIM", stream, GROUP, "dead", 0, ids[49], "IDLE", 60000, "JUSTID")
        migrate(ferry, *backlog)
        ferry.migrator(migrator={"jobs": 1})
        for user in (users[49], *backlog):
            moved(ferry, user)
        claims = [e["user"] for _, e in client.xrange("imapferry:events") if e["state"] == "copying"]
        assert claims.index(users[49]) == 0, claims
        assert {ferry.route(u)["state"] for u in users[:49]} == {"queued"}
    finally:
        over.set()
        keeper.join()


# ---- a journal that can't be written

@contextlib.contextmanager
def small_disk(folder, size="64k"):
    os.makedirs(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_up(folder):
    with open(os.path.join(folder, "filler"), "wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(b"x" * 4096):
            pass


def test_full_disk_keeps_nobody_from_his_mail(make_ferry, servers):
    """It is noticed before the account stands still; another migrator does it, and the one with the full disk takes no
    work until it has room."""
    ferry = make(make_ferry, servers)
    user, later = user_of(servers), user_of(servers)
    with small_disk(os.path.join(ferry.folder, "small")) as disk:
        full = ferry.migrator(migrator={"journal_dir": disk})
        fill_up(disk)
        migrate(ferry, user)
        route = ferry.wait_state(user, "backoff")
        assert route["reason"].startswith(f"journal: migrator {full.label}: ") and "No space left" in route["reason"]
        assert {"freezing", "flipping"}.isdisjoint(e["state"] for _, e in ferry.redis.client().xrange("imapferry:events"))
        full.wait("event=journal_unwritable")
        good = ferry.migrator()
        moved(ferry, user)
        migrate(ferry, later)
        moved(ferry, later)
        assert [line["user"] for line in journal(os.path.join(ferry.folder, "journal", "flips"))] == [user, later]
        good.stop()
        os.remove(os.path.join(disk, "filler"))
        full.wait("event=journal_writable")
        last = user_of(servers)
        migrate(ferry, last)
        moved(ferry, last)
        assert [line["user"] for line in journal(os.path.join(disk, "flips"))] == [last]
        full.stop()


def stops_in_flipping(ferry, servers, **options):
    """A migrator that was stopped when the flip had just begun; user, migrator, the path of its journal."""
    user = user_of(servers, "begun")
    migrate(ferry, user)
    folder = os.path.join(ferry.folder, "own")
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": "script.flip.answered:1:stop"},
                              migrator=dict({"journal_dir": folder}, **options))
    net.wait_until("stop", migrator.is_stopped)
    assert ferry.route(user)["state"] == "flipping"
    return user, migrator, os.path.join(folder, "flips")


LEASE = {"migrator": {"job_lease": "6s"}}


def test_disk_that_fills_up_behind_the_probe_has_room_for_the_line(make_ferry, servers):
    ferry = make(make_ferry, servers, **LEASE)
    with small_disk(os.path.join(ferry.folder, "own")) as disk:
        user, migrator, flips = stops_in_flipping(ferry, servers)
        fill_up(disk)
        migrator.signal(signal.SIGCONT)
        moved(ferry, user)
        assert [line["user"] for line in journal(flips)] == [user]
        migrator.stop()


@pytest.mark.parametrize("how", ["full", "hangs"])
def test_owner_that_cannot_write_gives_the_flip_away(make_ferry, servers, how):
    """It lives, and so nobody would take the job over; the user does not wait for its disk."""
    ferry = make(make_ferry, servers, **LEASE)
    proxy = ferry.proxy()
    user, migrator, flips = stops_in_flipping(ferry, servers)
    os.remove(flips)
    pipe = None
    if how == "full":
        os.symlink("/dev/full", flips)
    else:  # a write to it ends when somebody reads
        os.mkfifo(flips)
        pipe = os.open(flips, os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"x" * 4096)
    other = ferry.migrator()
    migrator.signal(signal.SIGCONT)
    migrator.wait("event=flip_waits .*journal")
    moved(ferry, user, timeout=10)
    other.wait("event=flipped")
    assert [line["user"] for line in journal(os.path.join(ferry.folder, "journal", "flips"))] == [user]
    assert ferry.route(user).get("died", "") == ""
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
    if pipe is not None:
        with contextlib.suppress(BlockingIOError):
            while os.read(pipe, 65536):
                pass
        os.close(pipe)
        os.remove(flips)
    migrator.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_flip_that_was_begun_is_carried_out_by_the_next(make_ferry, servers, how):
    """The journal can't be written, and there is no other migrator: the account stays flipping, nobody is served from
    either side. Then the migrator goes, and another one goes forward."""
    ferry = make(make_ferry, servers, migrator={"job_lease": "3s"})
    proxy = ferry.proxy()
    user, migrator, flips = stops_in_flipping(ferry, servers)
    os.remove(flips)
    os.mkdir(flips)
    migrator.signal(signal.SIGCONT)
    migrator.wait("event=flip_waits .*journal")
    mark = migrator.mark()
    migrator.wait("event=flip_waits .*journal", since=mark)  # where nobody else takes it, it tries again itself
    assert ferry.route(user)["state"] == "flipping" and ferry.route(user)["backend"] == "old"
    if how == signal.SIGKILL:
        migrator.kill()
    else:
        migrator.stop(timeout=20)
    assert ferry.route(user)["state"] == "flipping"
    ferry.migrator()
    assert moved(ferry, user)["backend"] == "new"
    assert journal(os.path.join(ferry.folder, "journal", "flips"))[-1]["user"] == user
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")


# ---- a job that kills its owners

def dies_with(ferry, user, point):
    dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": f"{point}:1:kill"})
    net.wait_until("death", lambda: dead.process.poll() is not None, timeout=30)
    dead.kill()
    assert ferry.route(user)["state"] not in ("flipped", "settled")
    return dead.label


def test_job_that_has_killed_two_migrators_is_blocked(make_ferry, servers):
    """And the third one works on for the others."""
    ferry = make(make_ferry, servers, migrator=SHORT)
    user = user_of(servers, "deadly")
    migrate(ferry, user)
    names = [dies_with(ferry, user, "command.APPEND.sent") for _ in range(2)]
    other = user_of(servers)
    migrate(ferry, other)
    ferry.migrator()
    route = ferry.wait_state(user, "blocked")
    assert route["reason"].startswith("killed: ") and ", ".join(names) in route["reason"] and route["backend"] == "old"
    moved(ferry, other)
    assert ferry.ctl("retry", user)[0] == 0
    moved(ferry, user)


def test_migrators_that_staff_stop_block_nothing(make_ferry, servers):
    ferry = make(make_ferry, servers)
    user = user_of(servers)
    migrate(ferry, user)
    with deaf_server() as deaf:
        for _ in range(3):
            migrator = ferry.migrator(backends={"new": deaf})
            migrator.wait("event=job_claimed")
            migrator.stop()
    assert ferry.route(user).get("died", "") == ""
    ferry.migrator()
    moved(ferry, user)


def test_job_whose_step_is_refused_is_given_away(make_ferry, servers):
    """Its owner lives, so whoever takes it over does not count a death."""
    ferry = make(make_ferry, servers)
    user = user_of(servers)
    migrate(ferry, user)
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": "command.APPEND.sent:1:stop"})
    net.wait_until("stop", migrator.is_stopped)
    ferry.redis.client().hset(f"imapferry:route:{user}", "state", "freezing")
    migrator.signal(signal.SIGCONT)
    migrator.wait("event=job_refused .*state=freezing")
    assert moved(ferry, user).get("died", "") == ""
    assert not migrator.find("event=job_lapsed")


def test_account_that_waits_for_staff_has_no_job(make_ferry, servers):
    """It was taken for one whose owner is gone, and copied anew at each turn of the lease."""
    ferry = make(make_ferry, servers, migration={"trigger": "manual", "cutover": "manual"})
    user = user_of(servers)
    migrate(ferry, user)
    migrator = ferry.migrator()
    ferry.wait_state(user, "ready")
    client = ferry.redis.client()
    net.wait_until("end of the job", lambda: client.xlen(STREAM) == 0)
    assert not migrator.find("event=job_not_ended") and ferry.route(user)["owner"] == ""
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    moved(ferry, user)


def test_a_master_that_was_not_told_hears_again_that_nobody_died(make_ferry, servers):
    """A job that was given away to a master that is none any more."""
    ferry = make(make_ferry, servers, migrator=SHORT)
    user = user_of(servers, "told")
    client, route = ferry.redis.client(), f"imapferry:route:{user}"
    migrate(ferry, user)
    migrator = ferry.migrator(env={"IMAPFERRY_FAULT": "script.prepare.sent:1:stop"})
    owner = ferry.wait_state(user, "ready")["owner"]
    net.wait_until("stop", migrator.is_stopped)
    assert ferry.ctl("pause", "--reason", "test")[0] == 0
    net.wait_until("end of its lease",
                   lambda: client.xpending_range(STREAM, GROUP, "-", "+", 1)[0]["time_since_delivered"] > 900)
    migrator.signal(signal.SIGCONT)

    def is_told():
        return client.hget(route, "given") == owner
    net.wait_until("word of it", is_told)
    client.hdel(route, "given")
    client.hset("imapferry:store", "run_id", "of a master that fell silent")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    net.wait_until("word to the new master", is_told)
