"""Users who read by POP3: they are routed like those of IMAP, nothing that they delete is deleted by half, and a freeze knows of
them."""
import base64
import contextlib
import os
import poplib
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest

from fakes.fake_imap import FakeImap
from fakes.fake_pop3 import FakePop3
from harness import handbook, mail, net
from harness.courier import Courier
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.dovecot_conf import is_new
from harness.ferry import backend
from harness.relay import UP, Relay
from harness.scene import Wire, assert_equal, connect, fill, new_user, port_of, small

LISTEN = ("imap://127.0.0.1:0", "pop3://127.0.0.1:0")
MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}


@pytest.fixture(scope="module")
def pair(cert):
    """Two Dovecots that speak POP3, with one format of UIDLs."""
    with Dovecot("old", separator=".", prefix="INBOX.", cert=cert, pop3="", doveadm=True) as old, \
            Dovecot("new", mail="mdbox", cert=cert, pop3="", doveadm=True) as new:
        yield old, new


@pytest.fixture
def site(make_ferry, pair, authority):
    def make(**settings):
        old, new = pair
        return make_ferry({
            "old": backend(old, ca=authority.ca, pop3=old.pop3_url("pop3s")),
            "new": backend(new, ca=authority.ca, pop3=new.pop3_url("pop3+starttls"), **new.doveadm_options())},
            dict(MANUAL, **settings))
    return make


def pop3(proxy, user=None, password="secret", listener=1):
    client = poplib.POP3("127.0.0.1", port_of(proxy, listener), timeout=20)
    if user:
        client.user(user)
        client.pass_(password)
    return client


def wire_of(proxy, listener=1):
    wire = Wire(proxy.addresses[listener].replace("pop3", "imap"))
    wire.greeting = wire.read_line()
    assert wire.greeting == b"+OK imapferry ready"
    return wire


def migrate(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0


# ---- the main path, on real servers

def test_mail_before_and_after_the_flip(site, pair):
    old, new = pair
    user = new_user()
    fill(old, user, small(messages=8))
    ferry = site()
    proxy = ferry.proxy(listen=LISTEN)
    ferry.migrator()
    client = pop3(proxy, user)
    n = client.stat()[0]
    before, body = client.uidl()[1], client.retr(1)[1]
    assert len(before) == n > 0 and ferry.where(user) == {"old"}
    assert {b"TOP", b"UIDL"} <= set(client.capa().keys() if isinstance(next(iter(client.capa())), bytes)
                                    else [k.encode() for k in client.capa()])
    client.quit()
    net.wait_until("end of the session", lambda: not ferry.where(user))
    migrate(ferry, user)
    flip(ferry, user)
    ferry.wait_state(user, "flipped")
    client = pop3(proxy, user)
    assert ferry.where(user) == {"new"}
    assert client.uidl()[1] == before and client.retr(1)[1] == body
    client.dele(1)
    assert client.quit().startswith(b"+OK")
    client = pop3(proxy, user)
    assert client.uidl()[1] == [b"%d %s" % (i, x.split()[1]) for i, x in enumerate(before[1:], 1)]
    client.quit()
    assert proxy.find("event=login .*protocol=pop3")


def test_login_sets_a_migration_off(site, pair):
    old, _ = pair
    user = new_user()
    fill(old, user, small(messages=2))
    ferry = site(migration={"trigger": "login", "cutover": "immediate"})
    proxy = ferry.proxy(listen=LISTEN)
    ferry.migrator()
    pop3(proxy, user).quit()
    ferry.wait_state(user, "flipped")


@pytest.mark.writes_source
def test_freeze_asks_an_open_session_to_end_and_deletes_nothing(site, pair):
    old, new = pair
    user = new_user()
    fill(old, user, small(messages=6))
    ferry = site()
    proxy = ferry.proxy(listen=LISTEN)
    ferry.migrator()
    migrate(ferry, user)
    with wire_of(proxy) as wire:
        wire.send(b"USER %s\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nDELE 2\r\n" % user.encode())
        assert [wire.read_line()[:3] for _ in range(5)] == [b"+OK"] * 5
        flip(ferry, user)
        assert wire.rest() == [b"-ERR [SYS/TEMP] Your mailboxes are being moved, please connect again"]
    assert ferry.wait_state(user, "flipped")["attempts"] == "0"
    client = pop3(proxy, user)
    assert client.stat()[0] > 0 and ferry.where(user) == {"new"}
    client.quit()
    assert_equal(old, new, user, 6)
    assert proxy.find("event=session_end why=freeze .*state=relay")


@pytest.mark.writes_source
def test_flags_that_the_server_writes_at_the_end_of_a_session_move_too(make_ferry, pair, authority):
    """Dovecot writes \\Seen when the connection is gone; here it takes its time until it has to."""
    old, new = pair
    user, sent = new_user(), threading.Event()

    def look(direction, data):
        if direction == UP and data == b"QUIT\r\n":
            sent.set()
        return data
    with contextlib.closing(Relay(("127.0.0.1", old.port["pop3"]), look)) as relay:
        ferry = make_ferry({"old": backend(old, ca=authority.ca, pop3=f"pop3://127.0.0.1:{relay.port['imap']}"),
                            "new": backend(new, ca=authority.ca, pop3=new.pop3_url("pop3s"), **new.doveadm_options())}, MANUAL)
        append(old, user).logout()
        proxy = ferry.proxy(listen=LISTEN)
        ferry.migrator()
        migrate(ferry, user)
        with wire_of(proxy) as wire:
            wire.send(b"USER %s\r\nPASS secret\r\nRETR 1\r\n" % user.encode())
            wire.until(b".")
            with old.stopped("pop3"):
                flip(ferry, user)
                net.wait_until("the end of the session", lambda: sent.is_set() or ferry.route(user)["state"] == "flipped")
            assert wire.rest() == [b"-ERR [SYS/TEMP] Your mailboxes are being moved, please connect again"]
        ferry.wait_state(user, "flipped")
        assert_equal(old, new, user, 1)
    assert proxy.find("event=session_end why=freeze .*state=relay")


@pytest.mark.parametrize("mechanism", ["user", "plain", "plain in two"])
def test_sign_in(site, pair, mechanism):
    user = new_user()
    ferry = site()
    proxy = ferry.proxy(listen=LISTEN)
    message = base64.b64encode(b"\0%s\0secret" % user.encode())
    with wire_of(proxy) as wire:
        if mechanism == "user":
            wire.send(b"USER %s\r\nPASS secret\r\nNOOP\r\n" % user.encode())
            assert wire.read_line().startswith(b"+OK")
        elif mechanism == "plain":
            wire.send(b"AUTH PLAIN %s\r\nNOOP\r\n" % message)
        else:
            wire.line(b"AUTH PLAIN")
            assert wire.read_line() == b"+ "
            wire.send(message + b"\r\nNOOP\r\n")
        assert wire.read_line() == b"+OK Signed in"
        assert wire.read_line().startswith(b"+OK")
        wire.line(b"QUIT")
        assert wire.read_line().startswith(b"+OK") and wire.rest() == []
    assert not proxy.find("secret")


# ---- UIDLs

def fetch_new(proxy, user, folder):
    """What fetchmail takes for new, with `keep` and its list of UIDLs in that folder."""
    port, box = port_of(proxy, 1), os.path.join(folder, "box")
    config = os.path.join(folder, "fetchmailrc")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f'poll 127.0.0.1 service {port} proto pop3 uidl user "{user}" password "secret" sslproto "" keep fetchall no rewrite '
                f'mda "cat >> {box}; echo >> {box}.n"\n'.replace("fetchall ", ""))
    os.chmod(config, 0o600)
    with contextlib.suppress(OSError):
        os.unlink(box + ".n")
    run = subprocess.run(["fetchmail", "-f", config, "-i", os.path.join(folder, "ids"), "--pidfile", os.path.join(folder, "pid"), "--nobounce"],
                         capture_output=True, text=True, timeout=60, env={"HOME": folder, "PATH": os.environ["PATH"]})
    assert run.returncode in (0, 1), (run.returncode, run.stdout, run.stderr)
    with contextlib.suppress(OSError), open(box + ".n", encoding="ascii") as f:
        return len(f.read())
    return 0


def fetch_over_a_flip(ferry, sides, folder):
    """How many a client fetches before it, behind it, and when one more has come."""
    user = new_user()
    fill_inbox(sides[0], user)
    proxy = ferry.proxy(listen=LISTEN)
    ferry.migrator()
    before = fetch_new(proxy, user, folder)
    assert before == 3 and fetch_new(proxy, user, folder) == 0
    migrate(ferry, user)
    inbox = next(x for x in ferry.ctl("user", user, "--report")[1]["report"]["mailboxes"] if x["name"] == "INBOX")
    assert inbox["tier"] == "T0", inbox["tier_why"]
    said = ferry.ctl("plan", user)[1]["uidls"]
    flip(ferry, user)
    ferry.wait_state(user, "flipped")
    behind = fetch_new(proxy, user, folder)
    append(sides[1], user).logout()
    assert fetch_new(proxy, user, folder) == 1
    assert proxy.find("event=login .*backend=new .*protocol=pop3")
    net.wait_until("the end of the last session is known", lambda: ferry.where(user) == set())
    return behind, said


def append(server, user, count=1):
    m = mail.connect(server, user, "secret")
    for n in range(count):
        assert m.append("INBOX", None, None, b"Subject: message %d\r\n\r\nx\r\n" % n)[0] == "OK"
    return m


def fill_inbox(server, user):
    """With a gap among the UIDs."""
    m = append(server, user, 4)
    m.select("INBOX")
    m.store("2", "+FLAGS", "\\Deleted")
    m.expunge()
    m.logout()
    net.wait_next_second()


def test_fetchmail_fetches_nothing_again(site, pair, tmp_path):
    assert fetch_over_a_flip(site(), pair, str(tmp_path))[0] == 0


@pytest.fixture(scope="module")
def other(cert):
    """One that makes UIDLs as the handbook has it behind a Cyrus."""
    lines = handbook.block("pop3.md", "%{uidvalidity}.%{uid}" if is_new() else "= %v.%u").text
    with Dovecot("other", mail="mdbox", cert=cert, pop3=re.search("pop3_uidl_format = (.*)", lines)[1], doveadm=True) as server:
        yield server


@pytest.fixture(scope="module")
def cyruses():
    """Of each format that uidl_format has; what nobody asks for is not started."""
    with contextlib.ExitStack() as stack:
        made = {}

        def make(uidl, number=1):
            if (uidl, number) not in made:
                made[uidl, number] = stack.enter_context(Cyrus(f"cyrus{len(made)}", pop3=uidl))
            return made[uidl, number]
        yield make


def speaking_pop3(server, authority):
    if isinstance(server, Dovecot):
        return backend(server, ca=authority.ca, pop3=server.pop3_url("pop3s"), **server.doveadm_options())
    return backend(server, "imap", pop3=server.pop3_url())


CYRUS = {"to_cyrus": lambda pair, other, make: (pair[0], make("dovecot")),
         "from_cyrus": lambda pair, other, make: (make(""), other),
         "between_two": lambda pair, other, make: (make(""), make("", 2))}


@pytest.mark.parametrize("which", CYRUS)
def test_fetchmail_fetches_nothing_again_behind_a_cyrus(make_ferry, pair, other, cyruses, authority, tmp_path, which):
    sides = CYRUS[which](pair, other, cyruses)
    ferry = make_ferry({name: speaking_pop3(server, authority) for name, server in zip(("old", "new"), sides)},
                       dict(MANUAL, migrator={"command_timeout": "20s", "job_lease": "10s"}))
    behind, said = fetch_over_a_flip(ferry, sides, str(tmp_path))
    assert behind == 0 and said["same"], said


# Of 2.4, for what 2.3 has.
SPELLED = {"%08Xu": "%{uid | hex(8)}", "%08Xv": "%{uidvalidity | hex(8)}", "%u": "%{uid}", "%v": "%{uidvalidity}"}


def formats_of_the_handbook():
    """(of a Dovecot, of a Cyrus or None) in each row of its table."""
    with open(os.path.join(handbook.CONF, "handbook", "pop3.md"), encoding="utf-8") as f:
        return re.findall(r"^\|[^|]*\| `(%[^`]*|UID%[^`]*)` \| (?:`(\w+)`)? ?\|$", f.read(), re.M)


def uidl_of(server, user):
    """What it shows for one message by POP3, and its UIDVALIDITY and UID."""
    m = append(server, user, 2)
    m.select("INBOX")
    m.store("1", "+FLAGS", "\\Deleted")
    m.expunge()
    validity, uid = m.response("UIDVALIDITY")[1][0], m.uid("SEARCH", "ALL")[1][0]
    m.logout()
    client = poplib.POP3("127.0.0.1", server.port["pop3"], timeout=20)
    client.user(user)
    client.pass_("secret")
    (row,) = client.uidl()[1]
    client.quit()
    return row.split()[1].decode(), int(validity), int(uid)


def as_dovecot_makes_it(uidl_format, validity, uid):
    for word, value in (("%08Xu", f"{uid:08x}"), ("%08Xv", f"{validity:08x}"), ("%u", str(uid)), ("%v", str(validity))):
        uidl_format = uidl_format.replace(word, value)
    return uidl_format


@pytest.mark.parametrize("dovecots, cyrus", formats_of_the_handbook())
def test_formats_of_the_handbook(cyruses, dovecots, cyrus):
    """A Dovecot of that format, and a Cyrus of the one beside it, make UIDLs alike."""
    spelled = re.sub(r"%(?:08X)?[uv]", lambda m: SPELLED[m[0]], dovecots) if is_new() else dovecots
    with Dovecot("format", pop3=spelled) as dovecot:
        for server in (dovecot, *([cyruses(cyrus)] if cyrus else [])):
            said, validity, uid = uidl_of(server, new_user())
            assert said == as_dovecot_makes_it(dovecots, validity, uid), server.name


def test_handbook_has_all_formats():
    """Of those that a Cyrus has."""
    assert {cyrus for _, cyrus in formats_of_the_handbook()} == {"dovecot", "cyrus", "uidonly", "courier", ""}


def test_courier_makes_uidls_of_numbers_of_its_own(make_ferry, pair, authority, tmp_path):
    """By POP3 its users go through the proxy like all others; behind the move mail programs fetch once more, whatever the new server is set to."""
    with Courier("courier", pop3=True) as courier:
        user = new_user()
        append(courier, user, 3).logout()
        said, validity, uid = uidl_of(courier, new_user())
        assert said not in {as_dovecot_makes_it(x, validity, uid) for x, _ in formats_of_the_handbook()}, (said, validity, uid)
        ferry = make_ferry({"old": backend(courier, "imap", master=False, pop3=courier.pop3_url()),
                            "new": backend(pair[1], ca=authority.ca, pop3=pair[1].pop3_url("pop3s"), **pair[1].doveadm_options())}, MANUAL)
        ferry.seal_keys()
        proxy = ferry.proxy(listen=LISTEN)
        ferry.migrator()
        assert fetch_new(proxy, user, str(tmp_path)) == 3 and fetch_new(proxy, user, str(tmp_path)) == 0
        assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(user, "backoff")  # for the password that the next login brings
        assert fetch_new(proxy, user, str(tmp_path)) == 0
        ferry.wait_state(user, "ready")
        assert "not known" in ferry.ctl("plan", user)[1]["uidls"]["text"]
        flip(ferry, user)
        ferry.wait_state(user, "flipped")
        assert fetch_new(proxy, user, str(tmp_path)) == 3 and proxy.find("event=login .*backend=new .*protocol=pop3")


def test_plan_says_whether_clients_would_download_again(make_ferry, pair, other, authority):
    user, checker = new_user(), new_user("check")
    fill(pair[0], user, small(messages=4))
    said = []
    for new in (pair[1], other):
        ferry = make_ferry({"old": backend(pair[0], ca=authority.ca, pop3=pair[0].pop3_url("pop3s")),
                            "new": backend(new, ca=authority.ca, pop3=new.pop3_url("pop3s"), check_user=checker,
                                           **new.doveadm_options())}, MANUAL, init=not said)
        said.append(ferry.ctl("plan", user)[1]["uidls"])
        new.deliver(checker, b"Subject: here\r\n\r\nx\r\n")
        said.append(ferry.ctl("plan", user)[1]["uidls"])
    assert said[0] == said[2] == {
        "same": False, "text": "not known: there is no message on new to see by how it makes them (nor one of its check_user)"}
    assert said[1] == {"same": True, "text": handbook.block("pop3.md", "UIDLs of POP3:").text.strip().removeprefix("UIDLs of POP3: ")}
    assert not said[3]["same"] and "%08xu%08xv on old, and %v.%u on new" in said[3]["text"], said[3]


def test_doctor_says_whether_servers_make_them_alike(make_ferry, pair, other, authority):
    user, checker = new_user(), new_user("check")
    append(pair[0], checker).logout()
    append(pair[0], user).logout()
    said = []
    for new in (pair[1], other):
        ferry = make_ferry({"old": backend(pair[0], ca=authority.ca, pop3=pair[0].pop3_url("pop3s"), check_user=checker),
                            "new": backend(new, ca=authority.ca, pop3=new.pop3_url("pop3+starttls"), check_user=checker, **new.doveadm_options())},
                           MANUAL, init=not said)
        said += [x for x in ferry.ctl("doctor")[1]["checks"] if x["of"] == "pop3"]
        append(new, checker).logout()
        said += [x for x in ferry.ctl("doctor")[1]["checks"] if x["of"] == "pop3"]
        said += [x for x in ferry.ctl("check", user)[1]["checks"] if x["of"] == "pop3"]
    levels, texts = [x["level"] for x in said], [x["text"] for x in said]
    assert levels == ["warning", "ok", "ok", "warning", "warning", "warning"], said
    assert all("no message on new" in x for x in (texts[0], texts[3])) and "(%08xu%08xv on both)" in texts[1] and texts[1] == texts[2], said
    assert "%08xu%08xv on old, and %v.%u on new" in texts[4] and all(x["advice"] for x in said if x["level"] != "ok"), said


# ---- on fakes

class Fakes:
    def __init__(self):
        self.imap = {name: FakeImap(name) for name in ("old", "new")}
        self.pop3 = {name: FakePop3() for name in ("old", "new")}

    def backends(self, **options):
        return {name: backend(self.imap[name], "imap", master=False, pop3=self.pop3[name].url(), **options)
                for name in ("old", "new")}

    def close(self):
        for one in [*self.imap.values(), *self.pop3.values()]:
            one.close()


@pytest.fixture
def fakes():
    made = Fakes()
    yield made
    made.close()


@pytest.fixture
def faked(make_ferry, fakes):
    def make(**settings):
        ferry = make_ferry(fakes.backends(), dict({"migration": {"trigger": "manual"}}, **settings))
        return ferry, ferry.proxy(listen=LISTEN)
    return make


def still(ferry, user, state="freezing"):
    """The account stands still until becomes(): no migrator has it."""
    now, _ = ferry.redis.client().time()
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": "old", "state": state, "epoch": 3, "generation": 1, "source": "old", "target": "new", "owner": "o",
        "deadline": (now + 60) * 1000})


def becomes(ferry, user, state, where):
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": where, "state": state, "epoch": 4, "owner": "", "deadline": 0})


def test_login_in_a_freeze_waits_and_lands_on_the_new_server(faked, fakes):
    ferry, proxy = faked()
    still(ferry, "ann")
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\nSTAT\r\n")
        proxy.wait("login_waits")
        becomes(ferry, "ann", "flipped", "new")
        assert [wire.read_line()[:3] for _ in range(3)] == [b"+OK"] * 3
    assert b"STAT" in fakes.pop3["new"].lines and b"STAT" not in fakes.pop3["old"].lines


def test_login_waits_no_longer_than_hold_max(faked):
    ferry, proxy = faked(proxy={"hold_max": "1s"})
    still(ferry, "ann")
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert wire.read_line().startswith(b"+OK")
        assert wire.read_line().startswith(b"-ERR [SYS/TEMP]")


def test_wrong_password_and_a_store_that_is_gone(faked):
    ferry, proxy = faked()
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS wrong\r\n")
        assert wire.read_line().startswith(b"+OK")
        assert wire.read_line() == b"-ERR [AUTH] Authentication failed"
        ferry.redis.stop()
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert wire.read_line().startswith(b"+OK")
        assert wire.read_line().startswith(b"-ERR [SYS/TEMP]")
    ferry.redis.start()


def test_server_that_is_away_is_not_waited_for_by_everybody(make_ferry, fakes):
    """As by IMAP: each login but the first ones is refused at once; and IMAP goes on, whose address is another."""
    with contextlib.closing(Relay(("127.0.0.1", fakes.pop3["old"].port))) as relay:
        made = fakes.backends()
        made["old"]["pop3"] = f"pop3://127.0.0.1:{relay.port['imap']}"
        ferry = make_ferry(made, {"migration": {"trigger": "manual"}})
        proxy = ferry.proxy(listen=LISTEN)
        relay.refuse()
        for n in range(5):
            assert refused_by(proxy, f"user{n}").startswith(b"-ERR [SYS/TEMP] ")
        proxy.wait("event=breaker_open backend=old protocol=pop3 ")
        assert refused_by(proxy, "ann").startswith(b"-ERR [SYS/TEMP] ")
        with connect(proxy) as wire:
            assert wire.login("ann").startswith(b"l1 OK")
        with contextlib.closing(Relay(("127.0.0.1", fakes.pop3["old"].port), port=relay.number)):
            proxy.wait("event=breaker_closed backend=old protocol=pop3 ms=.* refused=1", timeout=30)
            pop3(proxy, "ann").quit()
    assert fakes.pop3["old"].lines.count(b"QUIT") == 2 and b"PASS secret" not in fakes.pop3["old"].lines[:2]


def test_server_out_of_reach(faked, fakes):
    _, proxy = faked()
    fakes.pop3["old"].close()
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert wire.read_line().startswith(b"+OK")
        assert wire.read_line().startswith(b"-ERR [SYS/TEMP]")
        wire.line(b"AUTH PLAIN AGFubgBzZWNyZXQ=")
        assert wire.read_line().startswith(b"-ERR [SYS/TEMP]")


def test_failures_count_whatever_the_protocol(faked):
    _, proxy = faked(proxy={"login_delay": "2s"})
    with connect(proxy) as wire:
        assert wire.login("ann", "wrong").startswith(b"l1 NO")
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert [wire.read_line()[:3] for _ in range(2)] == [b"+OK"] * 2
    assert proxy.find("login_delayed user=ann")


@pytest.mark.parametrize("how", ["kick", "stop"])
def test_session_that_is_ended_deletes_nothing(faked, fakes, how):
    ferry, proxy = faked()
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\nDELE 1\r\n")
        assert [wire.read_line()[:3] for _ in range(3)] == [b"+OK"] * 3
        if how == "kick":
            assert ferry.ctl("kick", "ann")[0] == 0
        else:
            proxy.stop()
        assert wire.rest()[0].startswith(b"-ERR [SYS/TEMP] ")
    assert fakes.pop3["old"].quits == 0


# ---- a freeze with a command under way: the mail on real servers, POP3 on fakes

@pytest.fixture
def mixed(make_ferry, pair, authority, fakes):
    def make(**migration):
        ferry = make_ferry({
            "old": backend(pair[0], ca=authority.ca, pop3=fakes.pop3["old"].url()),
            "new": backend(pair[1], ca=authority.ca, pop3=fakes.pop3["new"].url())},
            {"migration": dict({"trigger": "manual", "cutover": "manual"}, **migration)})
        user = new_user()
        fill(pair[0], user, small(messages=3))
        proxy = ferry.proxy(listen=LISTEN)
        ferry.migrator()
        migrate(ferry, user)
        return ferry, proxy, user
    return make


def begin(proxy, user, server, verb):
    """Signed in, a message marked, and that command under way; the wire."""
    server.answer(verb, server.hold)
    wire = wire_of(proxy)
    wire.send(b"USER %s\r\nPASS secret\r\nDELE 1\r\n%s 1\r\n" % (user.encode(), verb.encode()) if verb != "QUIT" else
              b"USER %s\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n" % user.encode())
    assert [wire.read_line()[:3] for _ in range(3)] == [b"+OK"] * 3
    assert server.held.wait(20)
    return wire


def reset(wire):
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


def test_freeze_waits_for_a_quit_that_is_under_way(mixed, fakes):
    ferry, proxy, user = mixed()
    server = fakes.pop3["old"]
    with begin(proxy, user, server, "QUIT") as wire:
        flip(ferry, user)
        proxy.wait("event=freeze .*state=freezing")
        assert ferry.route(user)["state"] == "freezing" and ferry.route(user)["backend"] == "old"
        server.go_on.set()
        assert wire.rest() == [b"+OK"]
    ferry.wait_state(user, "flipped")
    assert server.ends == [[1]] and proxy.find("event=session_end why=logout")


def test_freeze_waits_for_a_quit_whose_client_is_gone(mixed, fakes):
    """The old server deletes what was marked all the same, and must not do so behind the last look."""
    ferry, proxy, user = mixed()
    server = fakes.pop3["old"]
    with begin(proxy, user, server, "QUIT") as wire:
        reset(wire)
    flip(ferry, user)
    proxy.wait("event=freeze .*state=freezing")
    assert ferry.route(user)["state"] == "freezing" and not server.ends
    server.go_on.set()
    ferry.wait_state(user, "flipped")
    assert server.ends == [[1]] and proxy.find("event=session_end why=logout")


@pytest.mark.parametrize("how", ["kick", "stop"])
def test_quit_that_is_under_way_is_not_cut(faked, fakes, how):
    ferry, proxy = faked(proxy={"drain_time": "20s"})
    server = fakes.pop3["old"]
    with begin(proxy, "ann", server, "QUIT") as wire:
        idle = pop3(proxy, "ann")
        if how == "kick":
            assert ferry.ctl("kick", "ann")[0] == 0
        else:
            proxy.signal(signal.SIGTERM)
        proxy.wait("event=session_end why=(kicked|shutdown) .*user=ann")
        idle.close()
        assert ferry.where("ann") == {"old"}
        server.go_on.set()
        assert wire.rest() == [b"+OK"]
    proxy.wait("event=session_end why=logout .*user=ann")
    assert server.ends == [[1]]


def test_quit_that_outlasts_the_freeze(mixed, fakes):
    """No flip while nobody knows what it has deleted."""
    ferry, proxy, user = mixed(freeze_budget="1s")
    server = fakes.pop3["old"]
    with begin(proxy, user, server, "QUIT") as wire:
        flip(ferry, user)
        proxy.wait("event=freeze .*state=freezing")
        net.wait_until("thaw", lambda: ferry.route(user)["state"] != "freezing")
        assert ferry.route(user)["backend"] == "old"
        server.go_on.set()
        assert wire.rest() == [b"+OK"]


def test_freeze_does_not_wait_long_for_a_client_that_only_reads(mixed, fakes):
    ferry, proxy, user = mixed(freeze_budget="10s")
    with begin(proxy, user, fakes.pop3["old"], "RETR") as wire:
        flip(ferry, user)
        assert wire.rest() == [b"-ERR [SYS/TEMP] Your mailboxes are being moved, please connect again"]
        ferry.wait_state(user, "flipped")
    assert fakes.pop3["old"].quits == 0


# ---- hostile servers

def refused_by(proxy, user="ann"):
    with wire_of(proxy) as wire:
        wire.send(b"USER %s\r\nPASS secret\r\n" % user.encode())
        assert wire.read_line().startswith(b"+OK")
        return wire.read_line()


@pytest.mark.parametrize("greeting", [b"garbage\r\n", b"* OK IMAP4rev1\r\n", b"+OK " + b"x" * 20000, b"-ERR no\r\n", b"+OK\n",
                                      b"+OK ready\r\n+OK\r\n+OK\r\n+OK\r\n", b"+OK\r\n" + b"+OK\r\nx\r\n" * 100000],
                         ids=["word", "imap", "long", "error", "lf", "answers", "many"])
def test_server_that_greets_in_odd_ways(faked, fakes, greeting):
    _, proxy = faked()
    fakes.pop3["old"].greeting = greeting
    assert refused_by(proxy).startswith(b"-ERR [SYS/TEMP]")
    assert not any(b"secret" in line or b"AHNlY3JldA" in line for line in fakes.pop3["old"].lines)


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"+OK\r\n+OK\r\n", b"+ \r\n+OK\r\n", b"- \r\n"], ids=["ok", "twice", "early", "none"])
def test_server_that_answers_before_it_knows_the_password(faked, fakes, answer):
    _, proxy = faked()
    fakes.pop3["old"].answer("AUTH", lambda connection, *_: connection.sendall(answer))
    assert refused_by(proxy).startswith(b"-ERR [SYS/TEMP]")
    assert proxy.find("backend_failed .*protocol error")


@pytest.mark.parametrize("answer", [b"x" * 20000, b"hello\r\n", b"+OK\r\n+OK\r\n"], ids=["long", "word", "two"])
def test_server_that_can_not_be_understood(faked, fakes, answer):
    _, proxy = faked()
    fakes.pop3["old"].answer("STAT", lambda connection, *_: connection.sendall(answer))
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\nSTAT\r\n")
        lines = wire.rest()
        assert lines[-1].startswith(b"-ERR [SYS/TEMP]"), lines
    assert proxy.find("session_end why=backend_protocol")


def test_server_that_offers_neither_capa_nor_sasl(faked, fakes):
    _, proxy = faked()
    fakes.pop3["old"].capa = b"-ERR unknown\r\n"
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert [wire.read_line()[:3] for _ in range(2)] == [b"+OK"] * 2
    assert fakes.pop3["old"].lines == [b"CAPA", b"USER ann", b"PASS secret"]


@pytest.mark.parametrize("code,shown", [(b"[IN-USE] busy", b"-ERR [IN-USE] "), (b"[SYS/TEMP] x", b"-ERR [SYS/TEMP] "),
                                        (b"[SYS/PERM] x", b"-ERR [SYS/PERM] "), (b"no", b"-ERR [AUTH] ")],
                         ids=["in_use", "temp", "perm", "none"])
def test_codes_of_the_server(faked, fakes, code, shown):
    _, proxy = faked()
    fakes.pop3["old"].capa = b"-ERR unknown\r\n"
    fakes.pop3["old"].answer("PASS", lambda connection, *_: connection.sendall(b"-ERR " + code + b"\r\n"))
    answer = refused_by(proxy)
    assert answer.startswith(shown) and b"busy" not in answer


# ---- hostile clients

def test_commands_in_one_segment_and_byte_by_byte(faked):
    _, proxy = faked()
    text = (b"CAPA\r\nUSER ann\r\nPASS secret\r\nUIDL\r\nXTND\r\nCAPA\r\nLIST\r\nRETR 1\r\nRETR 1 1\r\nTOP 1 0\r\nSTLS\r\nLIST 1\r\n"
            b"QUIT\r\nSTAT\r\n")
    said = []
    for step in (len(text), 1):
        with wire_of(proxy) as wire:
            for at in range(0, len(text), step):
                try:
                    wire.send(text[at:at + step])
                except OSError:
                    assert at > text.index(b"QUIT")
            said.append(wire.rest())
    assert said[0] == said[1]
    assert [x for x in said[0] if x.startswith(b"-ERR")] == [b"-ERR Unknown command", b"-ERR Expected RETR with a number", b"-ERR Unknown command"]
    assert said[0].count(b".") == 6 and said[0][-1] == b"+OK"


@pytest.mark.parametrize("sent,why", [
    (b"STAT\n", "bad_line"), (b"NOOP\rQUIT\r\n", "bad_line"), (b"USER " + b"a" * 250 + b"\r\n", "bad_line"),
    (b"NOOP\r\n" * 101, "many_commands"), (b"A\r\nB\r\nAPOP a b\r\n", "bad_commands"), (b"GET / HTTP/1.0\r\nHost: x\r\nX: y\r\n", "bad_commands"),
    (b"USER ann\r\nPASS a\0b\r\n", "bad_line"), (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "proxy_header")],
    ids=["lf", "cr", "long", "many", "apop", "http", "nul", "header"])
def test_what_nobody_says_who_reads_mail(faked, fakes, sent, why):
    _, proxy = faked()
    with wire_of(proxy) as wire:
        wire.send(sent)
        wire.rest()
    proxy.wait(f"session_end why={why}")
    assert fakes.pop3["old"].lines == []


def test_deadline_of_the_login_is_for_all_of_it(faked):
    _, proxy = faked(proxy={"login_timeout": "1s"})
    with wire_of(proxy) as wire:
        over = threading.Event()

        def drip():
            while not over.wait(0.1):
                try:
                    wire.send(b"N")
                except OSError:
                    return
        threading.Thread(target=drip, daemon=True).start()
        assert wire.rest() == [b"-ERR Login took too long"]
        over.set()


def test_stls(make_ferry, fakes, authority):
    ferry = make_ferry(fakes.backends(), {"migration": {"trigger": "manual"}})
    proxy = ferry.proxy(listen=("pop3+starttls://127.0.0.1:0", "pop3s://127.0.0.1:0"))
    with wire_of(proxy, 0) as wire:
        wire.send(b"USER ann\r\n")
        assert wire.read_line() == b"-ERR Signing in needs TLS"
        wire.send(b"STLS\r\nUSER evil\r\nPASS evil\r\n")
        assert wire.rest() == [b"-ERR plaintext after STLS"]
    with wire_of(proxy, 0) as wire:
        wire.line(b"CAPA")
        shown = wire.until(b".")
        assert b"STLS" in shown and b"USER" not in shown and not [x for x in shown if x.startswith(b"SASL")]
        wire.line(b"STLS")
        assert wire.read_line().startswith(b"+OK")
        wire.secure(authority.ca)
        wire.line(b"CAPA")
        shown = wire.until(b".")
        assert b"STLS" not in shown and b"USER" in shown and [x for x in shown if x.startswith(b"SASL PLAIN")]
        wire.send(b"USER ann\r\nPASS secret\r\n")
        assert [wire.read_line()[:3] for _ in range(2)] == [b"+OK"] * 2
    with Wire(proxy.addresses[1].replace("pop3s", "imaps"), ca=authority.ca) as wire:
        assert wire.read_line() == b"+OK imapferry ready"
    assert fakes.pop3["old"].lines.count(b"CAPA") == 1


def test_client_that_does_not_read(faked, fakes):
    """The proxy keeps a little of a large message, and the session can still be ended."""
    ferry, proxy = faked()
    took = []

    def pour(connection, *_):
        with contextlib.suppress(OSError):
            connection.sendall(b"+OK\r\n")
            for n in range(1024):
                connection.sendall(b"x" * 65534 + b"\r\n")
                took.append(n)
    fakes.pop3["old"].answer("RETR", pour)
    with wire_of(proxy) as wire:
        wire.send(b"USER ann\r\nPASS secret\r\nRETR 1\r\n")
        assert [wire.read_line()[:3] for _ in range(2)] == [b"+OK"] * 2
        net.wait_until("the message to come", lambda: len(took) > 5)
        assert ferry.ctl("kick", "ann")[0] == 0
        proxy.wait("session_end why=kicked")
    assert len(took) < 500, "most of it has come somewhere"


def test_address_of_the_client_reaches_the_server(make_ferry, fakes):
    """By a PROXY header of a balancer, and by one of ours."""
    ferry = make_ferry(fakes.backends(proxy_protocol="v1"), {"migration": {"trigger": "manual"}, "proxy": {"trusted": ["127.0.0.1"], "allow_plaintext": True}})
    proxy = ferry.proxy(listen=("pop3://127.0.0.1:0?proxy_protocol",))
    with Wire(proxy.addresses[0].replace("pop3", "imap")) as wire:
        wire.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 110\r\nUSER ann\r\nPASS secret\r\n")
        assert [wire.read_line()[:3] for _ in range(3)] == [b"+OK"] * 3
    assert fakes.pop3["old"].lines[0] == b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 110"
    assert proxy.find("event=login .*peer=192.0.2.7:4711 ")
