"""Small steps of tests of numbers and MODSEQs: mail that comes and goes past the proxies, what staff do with the account, and
what its record says then."""
import re

from . import mail

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"


# ---- what users do, past the proxies

def deliver(server, user, *subjects, name="INBOX"):
    with mail.connect(server, user, "secret") as m:
        for n in subjects:
            assert m.append(mail.quoted(name), None, None, LETTER % n)[0] == "OK"


def expunge(server, user, which, name="INBOX"):
    """which: UIDs; or chooses messages by their place, from 0."""
    with mail.connect(server, user, "secret") as m:
        assert m.select(mail.quoted(name))[0] == "OK"
        if callable(which):
            uids = m.uid("SEARCH", "ALL")[1][0].decode().split()
            which = ",".join(u for i, u in enumerate(uids) if which(i))
        if which:
            m.uid("STORE", which, "+FLAGS.SILENT", "(\\Deleted)")
            assert m.expunge()[0] == "OK"


def flag(server, user, uids):
    with mail.connect(server, user, "secret") as m:
        assert m.select("INBOX")[0] == "OK"
        assert m.uid("STORE", uids, "+FLAGS", "(\\Flagged)")[0] == "OK"


def highest(server, user):
    with mail.connect(server, user, "secret") as m:
        return int(re.search(rb"HIGHESTMODSEQ (\d+)", m.status("INBOX", "(HIGHESTMODSEQ)")[1][0])[1])


def age(server, user):
    """Its UIDVALIDITY lies in the past, so that no proxy has to remember it. To be done before there is mail."""
    assert highest(server, user) > 0  # makes it
    server.doveadm("mailbox", "update", "-u", user, "--uid-validity", "1700000000", "INBOX")


# ---- what staff do

def start(make_ferry, sides, store=None, **more):
    """No request waits for longer than the job is held: on a busy machine that has to be enough for a command of doveadm."""
    ferry = make_ferry(sides, {"migration": {"trigger": "manual", "cutover": "manual", **more.pop("migration", {})},
                               "migrator": {"job_lease": "5s", **more.pop("migrator", {})}, **more}, store=store)
    ferry.migrator()
    return ferry


def copy(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready", timeout=60)


def flip(ferry, user, to="new"):
    assert ferry.ctl("flip", user, "--to", to, "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped" if to == "new" else "held", timeout=60)


def move(ferry, user, to="new"):
    if ferry.route(user).get("state") == "held":
        assert ferry.ctl("release", user)[0] == 0
    assert ferry.ctl("migrate", user, "--to", to, "--now")[0] == 0
    ferry.wait_state(user, "flipped" if to == "new" else "held", timeout=60)


def record(ferry, user, name="INBOX"):
    return ferry.redis.client().hget(f"imapferry:views:{user}", name)
