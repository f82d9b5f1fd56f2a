"""Messages that a Cyrus refuses by APPEND (NUL, a bare LF, no header), and is given by SYNCAPPLY MESSAGE."""
import concurrent.futures
import contextlib
import hashlib
import itertools
import re
import signal

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import compare, mail, net
from harness.cyrus import Cyrus
from harness.dovecot import MASTER_USER
from harness.ferry import Ferry, backend
from harness.scene import read
from harness.site import Site

HEAD = b"From: a@example.org\r\nSubject: x\r\n"
LETTER = HEAD + b"\r\nplain %d\r\n"
ODD = {"NUL": HEAD + b"\r\na\0b\r\n", "bare LF": HEAD + b"\r\na\nb\n", "no header": b"no header at all\r\n",
       "NULs at the end": HEAD + b"\r\nx\0\0\0", "LF in the header": b"Subject: x\nTo: b\n\nb\n",
       "line without a colon": HEAD + b"no colon\r\n\r\ntext\r\n", "like IMAP": HEAD + b"\r\n\0)\r\nm1 OK done\r\n* BYE\r\n"}
SETTINGS = {"migration": {"t0_max_gaps": 1000}, "migrator": {"retry_min": "200ms", "retry_max": "400ms", "job_lease": "20s"}}
COUNT = itertools.count(1)


@pytest.fixture(scope="module", name="cyrus")
def cyrus_server():
    with Cyrus("new") as server:
        yield server


@pytest.fixture(scope="module")
def site(cyrus):
    with FakeImap("old") as source, Site(source, cyrus, SETTINGS, keep=True, writes_source=True) as s:
        yield s


# ---- accounts

def numbers(server, user, name="INBOX"):
    """UIDVALIDITY, UIDNEXT and {UID: MODSEQ}."""
    m = mail.connect(server, user, "secret")
    try:
        status = m.status(mail.quoted(name), "(UIDVALIDITY UIDNEXT)")[1][0]
        m.select(mail.quoted(name), readonly=True)
        what = "(UID MODSEQ)" if isinstance(server, Cyrus) else "(UID)"
        rows = [r.decode() for r in m.uid("FETCH", "1:*", what)[1] if r]
        uids = {int(re.search(r"UID (\d+)", r)[1]): int((re.search(r"MODSEQ \((\d+)\)", r) or [0, 0])[1]) for r in rows}
        return *(int(re.search(rb"%s (\d+)" % x, status)[1]) for x in (b"UIDVALIDITY", b"UIDNEXT")), uids
    finally:
        m.logout()


def mixed(source, user, name="INBOX", uids=(3, 5, 9, 10, 15, 30)):
    """Plain ones and odd ones by turns, with gaps, flags, keywords, and dates."""
    odd = list(ODD.values())
    for i, uid in enumerate(uids):
        body = LETTER % uid if i % 2 == 0 else odd[i // 2 % len(odd)]
        source.add(user, name, body, flags=("\\Seen", "$Label1") if i % 4 == 1 else (), date=b"01-Jan-198%d 12:00:00 +0000" % (i % 10),
                   uid=uid)
    source.box(user, name).uidnext = max(uids) + 7
    return len(uids)


def bodies(server, user, name="INBOX"):
    """Hashes, in the order of the mailbox."""
    return [x.sha256 for x in read(server, user).mailboxes[(name.encode(),)].messages]


def digest(body):
    return hashlib.sha256(body).hexdigest()


def assert_t0(source, target, user, name="INBOX"):
    was, now = numbers(source, user, name), numbers(target, user, name)
    assert (now[:2], list(now[2])) == (was[:2], list(was[2]))
    assert sorted(now[2].values()) == list(now[2].values()) and min(now[2].values()) > 1, now


def tiers(site, user):
    return site.ferry.ctl("user", user)[1]["tiers"]


# ---- tests

def test_each_kind_keeps_its_bytes_and_its_numbers(site):
    user = site.user()
    count = mixed(site.source, user, uids=range(2, 40, 2))
    count += mixed(site.source, user, "v1.2")
    site.copy(user)
    assert tiers(site, user) == {"T0": 2}
    site.flip(user)
    site.same(user, count)
    for name in ("INBOX", "v1.2"):
        assert_t0(site.source, site.target, user, name)


def test_what_comes_later_goes_the_same_way(site):
    """Between the copy and the flip."""
    user = site.user()
    count = mixed(site.source, user)
    site.copy(user)
    for body in (ODD["NUL"], LETTER % 1, ODD["bare LF"]):
        site.source.add(user, "INBOX", body)
    site.flip(user)
    site.same(user, count + 3)
    assert_t0(site.source, site.target, user)


def test_numbers_are_held_where_they_are_full_of_refused_ones(site):
    """Many in a row, with gaps that are jumped over, and one at the highest UIDs."""
    user = site.user()
    for i in range(60):
        site.source.add(user, "INBOX", ODD["NUL"] + b"%d" % i, uid=100 + 2 * i)
    site.source.add(user, "INBOX", ODD["NUL"], uid=2000000000)
    site.move(user)
    site.same(user, 61)
    assert_t0(site.source, site.target, user)


def test_large_one_streams(site):
    """By SYNCAPPLY as by APPEND."""
    user = site.letters(site.user(), LETTER % 1, HEAD + b"\r\n" + b"0123456789abcd\0\n" * (2 << 20), LETTER % 3)
    site.move(user, timeout=120)
    site.same(user, 3)


def test_target_with_messages_of_its_own_keeps_the_order(site):
    """No tier T0 there; its own message is moved behind the others."""
    user = site.user()
    m = mail.connect(site.target, user, "secret")
    assert m.append("INBOX", None, None, LETTER % 77)[0] == "OK"
    m.logout()
    for i in range(30):
        site.source.add(user, "INBOX", ODD["NUL"] + b"%d" % i if i % 3 == 1 else LETTER % i)
    site.move(user)
    assert bodies(site.target, user) == [*bodies(site.source, user), digest(LETTER % 77)]


def test_plain_one_that_is_refused_is_named(site):
    """Only bytes that APPEND can't take go another way: this one has a date that it can't."""
    user = site.user()
    site.source.add(user, "INBOX", LETTER % 1, date=b"01-Jan-1965 12:00:00 +0000")
    site.stays(user, '"INBOX": UID 1: the target refuses it: [^;]*$')
    user = site.user()
    site.source.add(user, "INBOX", ODD["NUL"], date=b"01-Jan-1965 12:00:00 +0000")
    site.stays(user, '"INBOX": UID 1: the target refuses it: [^;]*$')


def test_source_that_gives_other_bytes_at_each_reading(site):
    user = site.letters(site.user(), ODD["NUL"])
    site.source.behave_like(user, servers.Mutable(1))
    site.stays(user, "UID 1: .*other bytes")
    t = site.connect(user, "target")
    assert t.select("INBOX")[1] == [b"0"]
    t.logout()


# ---- without the channel

def test_without_the_channel_they_are_named(cyrus):
    with FakeImap("old") as source, Site(source, cyrus, keep=True, new={"numbers": "none"}) as site:
        user = site.letters(site.user(), *ODD.values())
        site.stays(user, '"INBOX": UID 1: the target refuses it: Message contains NUL', "UID 2: .*bare newlines",
                   "UID 3: .*invalid header")


class Plain(Cyrus):
    """Its master may sign in for users, and is no administrator."""

    def _admins(self):
        return f"admins: somebody\nproxyservers: {MASTER_USER}"


def test_master_that_is_no_administrator(site):
    with FakeImap("old") as source, Plain("plain") as target, Site(source, target, keep=True) as mine:
        user = mine.letters(mine.user(), LETTER % 1, ODD["NUL"])
        mine.stays(user, '"INBOX": UID 2: the target refuses it: Message contains NUL characters; cyrus: .*admins')
        assert len(mine.ferry.route(user)["reason"].split("UID ")) == 2


# ---- disturbed

@contextlib.contextmanager
def disturbed(site, fault, **migrator):
    """A site of its own on the same servers, and a migrator with this fault: (site, migrator)."""
    ferry = Ferry(site.redis, site.ferry.backends, None, SETTINGS)
    ferry.settings["migration"].update(trigger="manual", cutover="manual")
    ferry.settings["migrator"].update(migrator)
    ferry.settings["redis"]["prefix"] = f"d{next(COUNT)}"
    try:
        ferry.init()
        yield ferry, ferry.migrator(env={"IMAPFERRY_FAULT": fault})
    finally:
        ferry.close()


def moved(ferry, user, *more):
    status, out, err = ferry.ctl_raw("migrate", user, "--now", *more)
    assert status == 0, (status, out, err)


def same(site, user, count):
    found = [str(d) for d in compare.compare(read(site.source, user), read(site.target, user), count) if d.kind != "special-use"]
    assert not found, "\n".join(found[:20])


# Which occurrence is which: two of SYNCGET and one of SYNCAPPLY tell the numbers; then each message has two of each.
POINTS = ["command.SYNCGET.sent:3", "command.SYNCAPPLY.body:1", "channel.cyrus.given:1", "command.SYNCAPPLY.answered:2",
          "command.SYNCGET.answered:4", "command.SYNCAPPLY.sent:3", "command.SYNCAPPLY.answered:3", "channel.cyrus.answered:2"]
LEDGER = [f"ledger.{point}" for point in ("intent.answered:3", "sent.sent:3", "sent.answered:3", "landed.sent:2", "landed.answered:2")]


def disturb(site, point, action):
    user = site.user("disturbed")
    mixed(site.source, user)
    target = site.target.port["imap"]
    try:
        with disturbed(site, f"{point}:{action}" + (f"={target}" if action != "kill" else ""), job_lease="4s",
                       command_timeout="4s") as (ferry, first):
            moved(ferry, user)
            if action == "kill":
                assert first.process.wait(40) == -signal.SIGKILL
                first.kill()
                ferry.migrator()
            ferry.wait_state(user, "flipped", timeout=60)
            same(site, user, 6)
            assert_t0(site.source, site.target, user)
            return ""
    except Exception as e:  # pylint: disable=broad-except
        return f"{point} {action}: {type(e).__name__}: {e}"


@pytest.mark.parametrize("action,points", [("kill", POINTS), ("kill", LEDGER), ("cut", POINTS), ("reset", POINTS[::2])],
                         ids=["kill", "kill_at_the_ledger", "cut", "reset"])
def test_disturbed_at_each_step_it_ends_in_the_same_account(site, action, points):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        failed = [text for text in pool.map(lambda point: disturb(site, point, action), points) if text]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("point", ["channel.cyrus.given:1", "command.SYNCAPPLY.sent:3"])
def test_delivery_that_is_faster_takes_the_number_and_not_the_message(site, point):
    """It comes before the numbers are asked for, and after that, when the server refuses what they say."""
    user = site.user()
    count = mixed(site.source, user)
    with disturbed(site, f"{point}:stop", job_lease="60s") as (ferry, migrator):
        moved(ferry, user)
        net.wait_until("a migrator that stands still", migrator.is_stopped, 40)
        m = mail.connect(site.target, user, "secret")
        assert m.append("INBOX", None, None, LETTER % 77)[0] == "OK"
        m.logout()
        migrator.signal(signal.SIGCONT)
        ferry.wait_state(user, "flipped", timeout=60)
        migrator.wait("event=numbers_lost.*wanted")
        there = bodies(site.target, user)
        assert len(there) == count + 1 and [x for x in there if x != digest(LETTER % 77)] == bodies(site.source, user)
        assert numbers(site.source, user)[0] != numbers(site.target, user)[0]


def test_what_comes_to_the_old_server_after_the_flip(cyrus):
    """The late watch brings it behind what the user has got on the new one."""
    late = {"migration": {**SETTINGS["migration"], "late_watch": "20s"}, "migrator": SETTINGS["migrator"]}
    with FakeImap("old") as source, Site(source, cyrus, late, keep=True, writes_source=True) as site:
        user = site.letters(site.user(), LETTER % 1, ODD["NUL"])
        site.move(user)
        m = mail.connect(cyrus, user, "secret")
        assert m.append("INBOX", None, None, LETTER % 77)[0] == "OK"
        m.logout()
        source.add(user, "INBOX", ODD["bare LF"], flags=("\\Flagged",))
        wanted = [digest(x) for x in (LETTER % 1, ODD["NUL"], LETTER % 77, ODD["bare LF"])]
        net.wait_until("the late one", lambda: bodies(cyrus, user) == wanted, 40)
        assert "\\flagged" in read(cyrus, user).mailboxes[(b"INBOX",)].messages[-1].flags
