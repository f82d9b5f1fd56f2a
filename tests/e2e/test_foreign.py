"""Mail that lies on the target before the move, or comes there by mistake while it goes on: it is moved behind the copies
(migration.foreign_max), so that clients see the mailbox as they know it, and that mail as new. On real servers and on a
fake one, killed at each step."""
import re
from concurrent import futures

import pytest

from fakes import servers
from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import mail, net
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.scene import new_user
from harness.site import LETTER, Site, letters

FOREIGN = b"From: b@example.org\r\nSubject: own %d\r\n\r\nnot a copy\r\n"
KINDS = ((), ("\\Seen", "$Forwarded"), ("\\Deleted", "\\Flagged"), ("own",))
DATE = '"%02d-Feb-2019 11:22:33 +0000"'
MANUAL = {"migration": {"cutover": "manual", "trigger": "manual"}}
FAST = {"job_lease": "500ms", "command_timeout": "1s", "retry_min": "200ms", "retry_max": "400ms"}
QUICK = {"job_lease": "3s", "command_timeout": "3s", "retry_min": "200ms", "retry_max": "400ms"}
PAIRS = {"dovecot": (lambda: Dovecot("old", separator=".", prefix="INBOX."), lambda: Dovecot("new")),
         "cyrus": (lambda: Dovecot("old", separator=".", prefix="INBOX."), lambda: Cyrus("cyrus")),
         "from_cyrus": (lambda: Cyrus("old"), lambda: Dovecot("new"))}


# ---- what lies where

def append(server, user, texts, flags=lambda n: ()):
    m = mail.connect(server, user, "secret")
    mail.append(m, "INBOX", [mail.Message(("INBOX",), text, flags(n), DATE % (n % 28 + 1)) for n, text in enumerate(texts)])
    m.logout()


def deliver_foreign(server, user, first, count):
    append(server, user, [FOREIGN % n for n in range(first, first + count)], lambda n: KINDS[n % len(KINDS)])


def listing(m, name="INBOX"):
    """(UID, body, flags, date) of each message; what a server makes of flags by itself is left out."""
    assert m.select(mail.quoted(name), readonly=True)[0] == "OK"
    found = []
    for row in m.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if not isinstance(row, tuple):
            continue
        head = row[0].decode()
        flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {"\\Recent"}
        found.append((int(re.search(r"UID (\d+)", head)[1]), row[1], flags, re.search(r'INTERNALDATE " ?0?([^"]*)"', head)[1]))
    return found


def inbox(server, user):
    m = mail.connect(server, user, "secret")
    try:
        return listing(m)
    finally:
        m.logout()


def without_uids(rows):
    return [row[1:] for row in rows]


def uidnext(m):
    return int(re.search(rb"UIDNEXT (\d+)", m.status("INBOX", "(UIDNEXT)")[1][0])[1])


def expunge(server, user, uids):
    m = mail.connect(server, user, "secret")
    m.select("INBOX")
    m.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
    assert m.expunge()[0] == "OK"
    m.logout()


def tier(site, user, name="INBOX"):
    """Of the last report: (tier, why not a better one)."""
    status, report = site.ferry.ctl("user", user, "--report")
    assert status == 0
    row = next(x for x in report["report"]["mailboxes"] if x["name"] == name)
    return row["tier"], row.get("tier_why", "")


def prepared(site, copies=8, foreign=3):
    """A new account: some mail on the source, with gaps, and some on the target that is not ours."""
    user = site.user("foreign")
    deliver_foreign(site.target, user, 0, foreign)
    net.wait_next_second()
    append(site.source, user, [LETTER % n for n in range(copies + 3)], lambda n: KINDS[n % 2])
    expunge(site.source, user, "1,4:5")
    return user


def assert_behind(site, user, foreign):
    """The copies in the order of the source, and behind them, once, what was there: as it was."""
    source, target = inbox(site.source, user), inbox(site.target, user)
    assert without_uids(target[:len(source)]) == without_uids(source)
    assert without_uids(target[len(source):]) == foreign


# ---- on real servers

@pytest.fixture(scope="module", params=PAIRS)
def real(request):
    source, target = (make() for make in PAIRS[request.param])
    with Site(source, target, {"migrator": QUICK}, writes_source=True) as s:
        s.proxy = s.ferry.proxy()
        yield s


def test_it_is_moved_behind_the_copies_before_the_flip(real):
    """Some lay there before; one comes between two passes, and one of the source's with it. Clients know the copies by their
    UIDs, and see the rest as new mail."""
    user = prepared(real)
    before = inbox(real.target, user)
    client = real.ferry.login(real.proxy, user, "secret")
    known = listing(client)
    was = uidnext(client)
    validity = client.response("UIDVALIDITY")[1]
    real.copy(user)
    assert inbox(real.target, user)[:3] == before, "moved while nobody wants to switch over"
    assert tier(real, user) == ("T2", "messages of the target's own lie before copies, and will be moved behind these")
    deliver_foreign(real.target, user, 3, 1)
    append(real.source, user, [LETTER % 90])
    known.append(inbox(real.source, user)[-1])
    foreign = without_uids(before + inbox(real.target, user)[-1:])
    real.flip(user)
    assert_behind(real, user, foreign)
    client = real.ferry.login(real.proxy, user, "secret")
    shown = listing(client)
    assert client.response("UIDVALIDITY")[1] == validity
    assert shown[:len(known)] == known, "what the client knew has other numbers"
    assert without_uids(shown[len(known):]) == foreign
    assert all(uid >= was + 1 for uid, *_ in shown[len(known):])
    assert tier(real, user)[0] == "T2"


def test_more_than_allowed_stay_and_are_named(real):
    user = prepared(real, foreign=4)
    real.migrator.stop()
    real.migrator = real.ferry.migrator(migration={"foreign_max": 3})
    before = inbox(real.target, user)
    real.move(user)
    assert inbox(real.target, user)[:4] == before
    found, why = tier(real, user)
    assert found == "T3" and why.endswith(": 4 would have to be moved behind these, and foreign_max allows 3"), why
    real.migrator.stop()
    real.migrator = real.ferry.migrator()


KILLS = [f"{point}.{moment}:1:kill" for point in ("ledger.move", "command.UID_COPY", "ledger.moved", "ledger.clearing",
                                                   "ledger.expunge", "command.UID_STORE", "command.UID_EXPUNGE",
                                                   "ledger.cleared")
         for moment in ("sent", "answered")] + ["ledger.touched.sent:1:kill", "ledger.touched.sent:2:kill"]
REAL_KILLS = [f"{point}.answered:1:kill" for point in ("ledger.move", "command.UID_COPY", "ledger.moved",
                                                        "command.UID_STORE", "command.UID_EXPUNGE")]


def kill(ferry, user, fault):
    first = ferry.migrator(env={"IMAPFERRY_FAULT": fault})
    ferry.ctl("migrate", user, "--now")
    net.wait_until("death", lambda: first.process.poll() is not None, timeout=40)
    first.kill()


@pytest.fixture(scope="module", params=["dovecot", "cyrus"])
def killing(request):
    source, target = (make() for make in PAIRS[request.param])
    with source, target:
        yield source, target


@pytest.mark.parametrize("fault", REAL_KILLS)
def test_killed_between_two_steps(make_ferry, killing, fault):
    """The next one neither loses nor doubles one, and leaves none in the way."""
    source, target = killing
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")},
                       {"migrator": {"job_lease": "1s", "command_timeout": "2s"}, **MANUAL})
    user = new_user("killed")
    deliver_foreign(target, user, 0, 3)
    net.wait_next_second()
    append(source, user, [LETTER % n for n in range(6)])
    foreign = without_uids(inbox(target, user))
    kill(ferry, user, fault)
    assert {row[0] for row in foreign} <= {row[1] for row in inbox(target, user)}
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    assert without_uids(inbox(target, user)) == without_uids(inbox(source, user)) + foreign


# ---- on a fake target

@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {"migrator": FAST}) as s:
        yield s


@pytest.fixture
def killed(make_ferry, site):
    """killed(fault, user): a migrator of a ferry of its own, at the same servers, has died there."""
    def run(fault, user):
        ferry = make_ferry({"old": backend(site.source, "imap"), "new": backend(site.target, "imap")},
                           {"migrator": FAST, **MANUAL})
        kill(ferry, user, fault)
        return ferry
    return run


def fakes_prepared(site, count=3, copies=5):
    user = letters(site, copies)
    site.target.create(user, "INBOX") if b"INBOX" not in site.target.account(user) else None
    site.target.box(user).uidvalidity += 50000  # equal ones with other UIDs are refused
    for n in range(count):
        site.target.add(user, "INBOX", FOREIGN % n, flags=KINDS[n % len(KINDS)], date=b"%02d-Feb-2019 11:22:33 +0000" % (n + 1))
    return user


def fakes_foreign(site, user):
    """(body, flags, date) of what is no copy, in its order."""
    return [(m.body, frozenset(m.flags), m.date) for m in site.target.box(user).messages if b"own" in m.body.split(b"\r\n")[1]]


def fakes_assert_behind(site, user, foreign):
    assert site.texts(user) == site.texts(user, "source") + [row[0] for row in foreign]
    assert fakes_foreign(site, user) == foreign


def assert_t3(site, user, foreign, why):
    """They lie where they lay."""
    assert site.texts(user) == [row[0] for row in foreign] + site.texts(user, "source")
    assert fakes_foreign(site, user) == foreign
    found, said = tier(site, user)
    assert found == "T3" and why in said, (found, said)


@pytest.mark.parametrize("fault", KILLS)
def test_killed_at_each_step(site, killed, fault):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    ferry = killed(fault, user)
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    fakes_assert_behind(site, user, foreign)


@pytest.mark.parametrize("fault", ["ledger.move.answered:1:kill", "ledger.moved.answered:1:kill",
                                   "command.UID_STORE.sent:1:kill"])
def test_one_that_is_expunged_meanwhile_does_not_come_back(site, killed, fault):
    """By somebody who works on the target past us, while both are there: the copy goes too. Where we were about to remove
    it ourselves, nobody knows who did."""
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    ferry = killed(fault, user)
    with site.target.lock:
        messages = site.target.box(user).messages
        messages.remove(next(m for m in messages if m.body == foreign[1][0]))
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    unknown = "UID_STORE" in fault
    fakes_assert_behind(site, user, foreign if unknown else [foreign[0], foreign[2]])


@pytest.mark.parametrize("fault", ["ledger.move.answered:1:kill", "command.UID_COPY.answered:1:kill",
                                   "ledger.moved.answered:1:kill", "command.UID_STORE.answered:1:kill",
                                   "command.UID_EXPUNGE.answered:1:kill"])
def test_mailbox_that_goes_in_the_middle_of_it(site, killed, fault):
    """Nobody copies it any more; what was half moved is there once all the same, and the copies go."""
    user = site.letters(fakes_prepared(site, count=0), *(LETTER % n for n in range(4)), name="Box")
    site.target.create(user, b"Box").uidvalidity += 50000
    for n in range(3):
        site.target.add(user, "Box", FOREIGN % n, flags=KINDS[n])
    ferry = killed(fault, user)
    with site.source.lock:
        del site.source.account(user)[b"Box"]
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    found = [(m.body, m.flags) for m in site.target.box(user, "Box").messages]
    assert sorted(body for body, _ in found) == [FOREIGN % n for n in range(3)]
    assert all(flags == {f.encode() for f in KINDS[n]} for body, flags in found for n in range(3) if body == FOREIGN % n)


def test_flags_that_are_set_meanwhile_come_along(site, killed):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    ferry = killed("ledger.moved.answered:1:kill", user)
    with site.target.lock:
        next(m for m in site.target.box(user).messages if m.body == foreign[0][0]).flags = {b"\\Answered", b"late"}
    ferry.migrator()
    ferry.wait_state(user, "flipped", timeout=60)
    foreign[0] = (foreign[0][0], {b"\\Answered", b"late"}, foreign[0][2])
    fakes_assert_behind(site, user, foreign)


@pytest.mark.parametrize("fault", ["lose_copy", "copy_late"])
def test_copy_without_an_answer(site, fault):
    """Whether it was done is known when it can't be done any more; what was copied then is not copied again."""
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    site.target.misbehave(fault, times=1)
    with futures.ThreadPoolExecutor(1) as pool:
        staff = pool.submit(site.ferry.ctl_raw, "migrate", user, "--now", "--wait")
        if fault == "copy_late":
            site.target.wait("COPY in the air", lambda: site.target.late)
            site.migrator.wait("event=settle_waits")
            site.target.land()
        site.wait(user, "flipped")
        status, out, _ = staff.result()
    told = r"\n(?:ready|copying): doubt: waits until \S+Z, since new may until then carry out what a connection told it that is gone\n"
    assert status == 0 and re.search(told, out.replace(f"{user}: ", "")), out
    assert not site.ferry.route(user)["reason"]
    site.target.behave()
    fakes_assert_behind(site, user, foreign)


def test_copy_that_is_never_done(site):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    site.target.misbehave("copy_late", times=1)
    site.move(user)
    site.target.behave()
    site.target.late.clear()
    fakes_assert_behind(site, user, foreign)


@pytest.mark.parametrize("manners", [servers.FalseCopyuid(), servers.FalseCopyuid(by=-2), servers.FalseCopyuid(by=70),
                                     servers.CopiesAnew(keeps_flags=False)], ids=["none", "lower", "higher", "flags"])
def test_copies_are_known_by_their_bytes_and_get_their_flags(site, manners):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    site.target.behave_like(user, manners)
    site.move(user)
    fakes_assert_behind(site, user, foreign)


def test_date_that_is_not_kept(site):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    site.target.behave_like(user, servers.CopiesAnew(date=b"29-Nov-2026 10:00:00 +0000"))
    site.move(user)
    assert_t3(site, user, foreign, "gives a message that it copies another date")


def test_copy_that_is_refused(site):
    user = fakes_prepared(site)
    foreign = fakes_foreign(site, user)
    site.target.misbehave("refuse_copy")
    site.move(user)
    site.target.behave()
    assert_t3(site, user, foreign, "the target does not copy them: [OVERQUOTA] full")


def test_target_without_uidplus(make_ferry, site):
    with FakeImap("new", capabilities=CAPABILITIES.replace("UIDPLUS ", "")) as target:
        with Site(site.source, target, {"migrator": FAST}, keep=True) as other:
            user = fakes_prepared(other)
            foreign = fakes_foreign(other, user)
            other.move(user)
            assert_t3(other, user, foreign, "can't have them moved behind these, since it has no UIDPLUS")


def test_delivery_between_two_appends(site):
    """By mistake, while the first copy runs."""
    user = fakes_prepared(site, count=0)
    site.target.misbehave("foreign", mailbox="INBOX", n=3, times=1)
    site.move(user)
    site.target.behave()
    assert site.texts(user)[:5] == site.texts(user, "source") and len(site.texts(user)) == 6
    assert tier(site, user)[0] == "T2"


def test_plan_tells(site):
    few, many = fakes_prepared(site), fakes_prepared(site, count=101)
    for user, wanted in ((few, ("T2", "messages of its own, which will be moved behind the copies")),
                         (many, ("T3", "has 101 messages of its own, and foreign_max lets 100 be moved"))):
        status, plan = site.ferry.ctl("plan", user)
        row = next(x for x in plan["mailboxes"] if x["mailbox"] == "INBOX")
        assert status == 0 and row["tier"] == wanted[0] and wanted[1] in row["tier_why"], row


@pytest.mark.parametrize("late", [0, 1], ids=["left-out", "delivered"])
def test_way_back_leaves_clients_their_numbers(late):
    """What a rule left on the old server lies between messages that clients know; and mail that came to both servers meanwhile
    has the same UIDs there: that can't be mended."""
    settings = {"migrator": FAST, "migration": {"leave_out": ["flag:$Old"], "late_watch": "0s"}}
    with Site(FakeImap("old"), FakeImap("new"), settings, writes_source=True) as other:
        user = letters(other, 4)
        other.source.box(user).messages[1].flags.add(b"$Old")
        other.target.box(user).uidvalidity += 50000
        left = other.texts(user, "source")[1]
        other.move(user)
        assert not other.source.written_by_migrators
        other.target.add(user, "INBOX", LETTER % 50)
        for n in range(late):
            other.source.add(user, "INBOX", FOREIGN % n)
        kept = [(m.uid, m.body) for m in other.source.box(user).messages if m.body != left][:3]
        other.start(user, "--to", "old", "--now")
        other.wait(user, "held")
        assert other.ferry.route(user)["backend"] == "old"
        found = [(m.uid, m.body) for m in other.source.box(user).messages]
        assert found[:3] == kept and sorted(b for _, b in found) == sorted(
            [b for _, b in kept] + [left, LETTER % 50] + [FOREIGN % n for n in range(late)])
        if late == 0:
            assert found[3:] == [(5, LETTER % 50), (6, left)]
        record = other.redis.client().hget(f"imapferry:views:{user}", "INBOX")
        assert f" tier={'T3' if late else 'T2'} " in record, record
        other.source.written_by_migrators.clear()  # it was the target
