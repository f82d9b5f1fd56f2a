"""Copies that get the UIDs of their messages, by fillers (migration.t1_max_gaps), on real servers and on ones that lie."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import dovecot, mail, net
from harness.courier import Courier
from harness.cyrus import Cyrus
from harness.ferry import backend
from harness.site import Site

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"
GAPS = {"migration": {"t1_max_gaps": 3000}}
SINGLE = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE NAMESPACE UIDPLUS SPECIAL-USE LIST-EXTENDED UNSELECT IDLE"
OLD = {"separator": ".", "prefix": "INBOX."}
PAIRS = {"dovecot": (lambda: dovecot.Dovecot("old", **OLD), lambda: dovecot.Dovecot("new")),
         "mdbox": (lambda: dovecot.Dovecot("old", **OLD), lambda: dovecot.Dovecot("mdbox", mail="mdbox")),
         "single": (lambda: dovecot.Dovecot("old", **OLD), lambda: dovecot.Dovecot("single", capability=SINGLE)),
         "cyrus": (lambda: dovecot.Dovecot("old", **OLD), lambda: Cyrus("cyrus")),
         "courier": (lambda: dovecot.Dovecot("old", **OLD), lambda: Courier("courier")),
         "from_cyrus": (lambda: Cyrus("old"), lambda: dovecot.Dovecot("new")),
         "from_courier": (lambda: Courier("old"), lambda: dovecot.Dovecot("new"))}


@pytest.fixture(scope="module", params=PAIRS)
def real(request):
    """Courier has no master user: there what the proxy seals serves, and a login sets the migration off."""
    source, target = (make() for make in PAIRS[request.param])
    courier = isinstance(target, Courier) or isinstance(source, Courier)
    settings = {"migration": {**GAPS["migration"], "trigger": "login" if courier else "manual"},
                "migrator": {"command_timeout": "10s"}}
    with Site(source, target, settings, writes_source=True, old={"master": not isinstance(source, Courier)},
              new={"master": not isinstance(target, Courier)}) as s:
        s.proxy = None
        if courier:
            s.migrator.stop()
            s.ferry.seal_keys()
            s.migrator, s.proxy = s.ferry.migrator(), s.ferry.proxy()
        yield s


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {**GAPS, "migrator": {"command_timeout": "1s", "retry_min": "200ms",
                                                                       "retry_max": "400ms"}}) as s:
        yield s


def box(server, name):
    return getattr(server, "prefix", "") + name


def copied(site, user):
    if site.proxy:
        site.ferry.login(site.proxy, user, "secret").logout()
        site.wait(user, "ready")
    else:
        site.copy(user)


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {**GAPS, "migrator": {"command_timeout": "1s", "retry_min": "200ms",
                                                                       "retry_max": "400ms"}}) as s:
        yield s


def numbers(m, name="INBOX"):
    """(UIDs, UIDNEXT)"""
    uidnext = int(re.search(rb"UIDNEXT (\d+)", m.status(mail.quoted(name), "(UIDNEXT)")[1][0]).group(1))
    m.select(mail.quoted(name), readonly=True)
    uids = [int(uid) for uid in m.uid("SEARCH", "ALL")[1][0].split()]
    m.unselect() if "UNSELECT" in m.capabilities else m.close()
    return uids, uidnext


def expunge(m, name, uids):
    m.select(mail.quoted(name))
    m.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.close()


def letters(m, name, first, count):
    mail.append(m, name, [mail.Message(("INBOX",), LETTER % n) for n in range(first, first + count)])


def gapped(site, *uids, uidnext=0):
    """A new account, with messages of these UIDs in its INBOX on a fake source."""
    user = site.user("gapped")
    for uid in uids:
        site.source.add(user, "INBOX", LETTER % uid, uid=uid)
    box = site.source.box(user)
    box.uidnext = max(box.uidnext, uidnext)
    return user


def uids_of(site, user, side="target"):
    box = getattr(site, side).box(user)
    return [x.uid for x in box.messages], box.uidnext


def fillers_sent(site, user):
    """How many a fake target was ever given."""
    return site.sent(user) - len(site.texts(user, "source"))


def lost(site, reason, since):
    site.migrator.wait(f'event=numbers_lost .*reason="?{reason}', since=since)


def test_every_gap_is_filled(real):
    """At the start, in the middle, at the end, in a mailbox that is empty; and what comes and goes between the passes."""
    user = real.user("gaps")
    m = real.connect(user)
    here, there = box(real.source, "Empty"), box(real.target, "Empty")
    m.create(here)
    letters(m, "INBOX", 0, 60)
    letters(m, here, 0, 5)
    expunge(m, "INBOX", "1:7,9,20:44,58:60")
    expunge(m, here, "1:5")
    net.wait_next_second()
    before = numbers(m)
    assert before[1] == 61 and before[0][0] == 8 and before[0][-1] == 57
    copied(real, user)
    t = real.connect(user, "target")
    assert numbers(t) == before
    assert numbers(t, there) == ([], 6) == numbers(m, here)
    letters(m, "INBOX", 60, 10)
    expunge(m, "INBOX", "10:12,61:63,66,70")
    letters(m, here, 10, 2)
    expunge(m, here, "7")
    real.flip(user)
    assert numbers(t) == numbers(m)
    assert numbers(t, there) == ([6], 8) == numbers(m, here)
    real.same(user, 20)
    m.logout()
    t.logout()


def test_long_gap_by_several_appends(real):
    user = real.user("long")
    m = real.connect(user)
    letters(m, "INBOX", 0, 1300)
    expunge(m, "INBOX", "2:700")
    net.wait_next_second()
    copied(real, user)
    if isinstance(real.source, dovecot.Dovecot) and real.target.name in ("new", "mdbox"):  # both with CONDSTORE
        for verb in ("hold", "release"):
            assert real.ferry.ctl(verb, user, "--reason", "test")[0] == 0
        real.wait(user, "ready")
        real.migrator.wait(rf"event=pass user={user} number=1 .* opened=0 ")
    real.flip(user)
    t = real.connect(user, "target")
    assert numbers(t) == numbers(m) == ([1, *range(701, 1301)], 1301)
    m.logout()
    t.logout()


# ---- servers that do as they like

def test_numbers_of_a_fake(site):
    user = gapped(site, 3, 4, 9, 20, uidnext=31)
    site.move(user)
    assert uids_of(site, user) == ([3, 4, 9, 20], 31)
    assert site.sent(user) == 30, "each UID was given once"
    site.same(user, 4)


@pytest.mark.parametrize("target,reason", [
    (servers.Offers(without=("UIDPLUS",)), "the target has no UIDPLUS"),
    (servers.FalseUidplus(), "the target does not tell the UIDs"),
    (servers.RefusesMail(lambda body: b"X-Imapferry-Filler" in body, "NO not such"), "the target refuses what is to hold")])
def test_target_that_numbers_as_it_likes(site, target, reason):
    """The copy is right all the same, and nothing else is there."""
    since, user = site.migrator.mark(), gapped(site, 3, 4, 9)
    site.target.behave_like(user, target)
    site.move(user)
    lost(site, reason, since)
    assert site.texts(user) == site.texts(user, "source")


@pytest.mark.parametrize("by", [1, 5, 1000])
def test_target_that_lies_about_uids(site, by):
    """The account stays, as without numbers, and no filler does. What such a server takes for another message may be
    moved by a second try, so that it is there twice."""
    since, user = site.migrator.mark(), gapped(site, 3, 4, 9)
    site.target.behave_like(user, servers.FalseUidplus(by))
    site.stays(user, "differs: ")
    lost(site, "the target gave UID", since)
    site.wait(user, "blocked")
    assert set(site.texts(user)) == set(site.texts(user, "source"))


def test_target_that_was_used_before(site):
    since, user = site.migrator.mark(), gapped(site, 3, 4, 9)
    site.target.box(user).uidnext = 4
    site.move(user)
    lost(site, "the target's next UID is 4, above 3", since)
    assert uids_of(site, user) == ([4, 5, 6], 7) and fillers_sent(site, user) == 0


def test_too_many_gaps(site):
    since, user = site.migrator.mark(), gapped(site, 3, 3600)
    site.move(user)
    lost(site, "3598 UIDs have no message", since)
    assert uids_of(site, user) == ([1, 2], 3) and fillers_sent(site, user) == 0


def test_source_that_does_not_say_where_it_ends(site):
    """Whether a client has seen UIDs above the highest, which would be given out again, is not known."""
    since, user = site.migrator.mark(), gapped(site, 3, 9)
    site.source.behave_like(user, servers.NoUidnext(), servers.Refuses("STATUS", "NO not now"))
    site.move(user, "flipped", "blocked", "backoff")
    lost(site, "the source does not tell its UIDNEXT", since)


@pytest.mark.parametrize("n", [2, 4])
def test_delivery_in_between(site, n):
    """Behind a filler, behind a message: nothing of ours lies under a UID that a client takes for another message."""
    since, user = site.migrator.mark(), gapped(site, 3, 4, 9, 12)
    site.target.misbehave("foreign", mailbox="INBOX", n=n, times=1)
    site.move(user)
    site.target.behave()
    lost(site, "the target gave UID", since)
    assert [x for x in site.texts(user) if b"foreign" not in x] == site.texts(user, "source")


@pytest.mark.parametrize("n", [1, 4, 7])
@pytest.mark.parametrize("kind", ["lose_ok", "land_late"])
def test_answer_that_is_lost(site, kind, n):
    """Of an APPEND of fillers and messages: what is found is known by its bytes, and the numbers hold all the same."""
    user = gapped(site, 3, 4, 9, uidnext=13)
    site.target.misbehave(kind, mailbox="INBOX", n=n, times=1)
    site.start(user, "--now")
    if kind == "land_late":
        site.target.wait("APPEND in the air", lambda: site.target.late)
        site.target.land()
    site.wait(user, "flipped")
    site.target.behave()
    if kind == "lose_ok":  # else what was sent again may have come first
        assert uids_of(site, user) == ([3, 4, 9], 13)
    site.same(user, 3)


def test_what_lands_behind_what_was_sent_again(site):
    """All of it is on the target twice, fillers too, for a while."""
    since, user = site.migrator.mark(), gapped(site, 3, 4, 9)
    site.target.misbehave("land_late", mailbox="INBOX", n=2, times=1)
    site.start(user)
    site.target.wait("APPEND in the air", lambda: site.target.late)
    site.target.wait("APPEND again", lambda: site.sent(user) >= 9)
    site.target.land()
    site.wait(user, "ready")
    site.target.behave()
    site.flip(user)
    assert site.texts(user) == site.texts(user, "source")
    assert all(b"Filler" not in x for x in site.texts(user))
    lost(site, "", since)


def test_filler_that_lands_behind_the_flip_is_removed():
    """By the late watch, which looks since there was a doubt."""
    watch = {"migration": {**GAPS["migration"], "late_watch": "30d"}, "migrator": {"command_timeout": "1s"}}
    with Site(FakeImap("old"), FakeImap("new"), watch) as site:
        user = gapped(site, 3, 4, 9)
        site.target.misbehave("land_late", mailbox="INBOX", n=2, times=1)
        site.move(user)
        site.target.behave()
        assert site.target.late and uids_of(site, user)[0] == [3, 4, 9]
        site.target.land()
        assert len([x for x in site.texts(user) if b"Filler" in x]) == 6
        site.ferry.redis.client().zadd("imapferry:late", {user: 1})
        net.wait_until("a look", lambda: uids_of(site, user)[0] == [3, 4, 9])


def test_message_that_is_refused_costs_no_number(site):
    """Of a MULTIAPPEND nothing is stored, and what is sent again finds its number; the place of the message is held."""
    user = gapped(site, *range(3, 40))
    site.target.misbehave("refuse_text", text=b"Subject: 17\r\n")
    site.stays(user, "UID 17: the target refuses it")
    status, out, err = site.ferry.ctl_raw("waive", user, "INBOX:17", "--reason", "test")
    assert status == 0, (out, err)
    site.wait(user, "ready", "flipped")
    if site.ferry.route(user)["state"] == "ready":
        site.flip(user)
    assert uids_of(site, user) == ([u for u in range(3, 40) if u != 17], 40)
    site.target.behave()


def test_message_that_is_taken_later_loses_the_numbers(site):
    """Its number can't be had any more; the order is kept."""
    since, user = site.migrator.mark(), gapped(site, *range(3, 12))
    site.target.misbehave("refuse_text", text=b"Subject: 7\r\n")
    site.stays(user, "UID 7: the target refuses it")
    site.target.behave()
    site.retry(user)
    if site.ferry.route(user)["state"] == "ready":
        site.flip(user)
    site.wait(user, "flipped")
    lost(site, "the target gave UID 12 where UID 7 was wanted", since)
    assert site.texts(user) == site.texts(user, "source")
    site.same(user, 9)


def test_fillers_of_a_mailbox_that_the_source_has_no_more(make_ferry):
    """What a migrator that died has left in it goes, as the copies do."""
    with FakeImap("old") as source, FakeImap("new") as target:
        user = "gone@example.org"
        for uid in (3, 5):
            source.add(user, "Box", LETTER % uid, uid=uid)
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")},
                           {"migration": {**GAPS["migration"], "cutover": "manual"},
                            "migrator": {"job_lease": "500ms", "command_timeout": "1s", "retry_min": "200ms"}})
        ferry.source_may_change = True
        assert ferry.ctl("migrate", user)[0] == 0
        dead = ferry.migrator(wait=False, env={"IMAPFERRY_FAULT": "ledger.filled.answered:1:kill"})
        dead.process.wait(30)
        dead.kill()
        assert [x for x in target.box(user, "Box").messages if b"Filler" in x.body]
        del source.account(user)[b"Box"]
        ferry.migrator()
        ferry.wait_state(user, "ready")
        assert b"Box" not in target.account(user) or not target.box(user, "Box").messages


@pytest.mark.parametrize("make", [lambda: FakeImap("new"), lambda: Cyrus("new")])
def test_batch_behind_one_that_is_refused_is_given_up(make):
    """It is out already when the one ahead of it is refused; nothing of it may be stored, or its numbers were gone."""
    with Site(FakeImap("old"), make(), GAPS, new={"numbers": "none"}) as site:
        user = gapped(site, *range(3, 1303), uidnext=1310)
        bad = next(m for m in site.source.box(user).messages if m.uid == 400)
        bad.body += b"a\0b\r\n"
        if isinstance(site.target, FakeImap):
            site.target.misbehave("refuse_text", text=b"a\0b")
        site.stays(user, "UID 400: the target refuses it")
        status, out, err = site.ferry.ctl_raw("waive", user, "INBOX:400", "--reason", "test")
        assert status == 0, (out, err)
        site.wait(user, "ready", "flipped")
        if site.ferry.route(user)["state"] == "ready":
            site.flip(user)
        site.wait(user, "flipped")
        t = site.connect(user, "target")
        assert numbers(t) == ([u for u in range(3, 1303) if u != 400], 1310)
        t.logout()
        if isinstance(site.target, FakeImap):
            assert any(b"{0" in c for c in site.target.commands("APPEND")), "it was not given up by a literal of no bytes"
