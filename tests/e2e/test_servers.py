"""Cyrus and Courier as they are: what each does differently, so that the engine need not guess, and accounts that move
from and to them. Where an account cannot arrive whole, the message is named and the user stays."""
import base64
import dataclasses
import os
import time

import pytest

from harness import compare, handbook, mail, net
from harness.courier import Courier, asks_gamin
from harness.cyrus import Cyrus
from harness.dovecot import MASTER_PASSWORD, MASTER_USER, Dovecot
from harness.ferry import backend
from harness.scene import Wire, assert_equal, connect, differences, fill, new_user, read, separator

# With "Ämter" itself, since Cyrus makes a mailbox of each parent.
MAILBOXES = [*mail.MAILBOXES, ("Ämter",)]


@pytest.fixture(scope="module")
def courier(cert):
    with Courier("courier", cert=cert) as server:
        yield server


@pytest.fixture(scope="module")
def cyrus(cert):
    with Cyrus("cyrus", cert=cert, extra="munge8bit: no") as server:
        yield server


@pytest.fixture(scope="module")
def munging(cert):
    """As Debian sets it up: it writes X for each 8-bit byte in a header."""
    with Cyrus("munging", cert=cert) as server:
        yield server


@pytest.fixture(scope="module")
def plain(cert):
    """A Dovecot with no special-use mailboxes of its own, as Courier and a new Cyrus have none."""
    with Dovecot("plain", mail="mdbox", cert=cert, special_use=False) as server:
        yield server


@pytest.fixture(params=["courier", "cyrus"])
def server(request):
    return request.getfixturevalue(request.param)


def sample(seed=7, messages=80):
    """Without line ends that the servers alter: Dovecot CRCRLF, Courier a last line without CRLF."""
    account = mail.sample(seed, messages * 2, MAILBOXES, sizes=(200, 30000))
    clean = [m for m in account.messages if b"\r\r\n" not in m.body and m.body.endswith(b"\r\n")]
    assert len(clean) >= messages
    return dataclasses.replace(account, messages=clean[:messages])


def sign_in(server, user):
    wire = Wire(server.url("imap"))
    wire.until(b"* ")
    answer = wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
    assert answer.startswith(b"l OK"), answer
    return wire


def ok(lines):
    assert lines[-1].split(b" ")[1] == b"OK", lines
    return lines


def append(wire, body, arguments=b"", mailbox=b"INBOX"):
    """The tagged answer to an APPEND, or to its first line where that is refused already."""
    wire.line(b"p APPEND %s %s{%d}" % (mailbox, arguments, len(body)))
    while True:
        line = wire.read_line()
        if line.startswith(b"p "):
            return line
        if line.startswith(b"+"):
            wire.line(body)
            return wire.until(b"p ")[-1]


def stored(server, user, mailbox="INBOX"):
    """The bodies in a mailbox, byte by byte."""
    m = mail.connect(server, user, "secret")
    assert m.select(mailbox, True)[0] == "OK"
    found = [x[1] for x in m.uid("FETCH", "1:*", "(BODY.PEEK[])")[1] if isinstance(x, tuple)]
    m.logout()
    return found


def code(lines, name):
    """The argument of a response code in these lines, or None."""
    found = [x.partition(b"[" + name + b" ")[2].partition(b"]")[0] for x in lines if b"[" + name + b" " in x]
    return found[0] if found else None


# ---- both

@pytest.mark.parametrize("scheme", ["imap", "imap+starttls", "imaps"])
def test_every_way_in(server, authority, scheme):
    m = compare.connect(server.url(scheme).replace("://", "://ann%40example.org:secret@"), authority.ca)
    assert m.select("INBOX")[0] == "OK"
    assert separator(m) == server.separator
    m.logout()


def test_sample_mail_is_kept_as_a_dovecot_keeps_it(server, plain):
    user = new_user()
    account = sample()
    for s in (server, plain):
        fill(s, user, account)
    assert_equal(server, plain, user, 80)


@pytest.mark.parametrize("make", [Courier, Cyrus])
def test_nothing_stays_behind(make, cert):
    with make("gone", cert=cert) as server:
        wire = sign_in(server, "ann")  # a session that is alive at the end
        assert processes_of(server) >= 2
    assert wire.rest() is not None
    assert processes_of(server) == 0 and not os.path.exists(server.folder)


def processes_of(server):
    count = 0
    for number in (x for x in os.listdir("/proc") if x.isdigit()):
        try:
            with open(f"/proc/{number}/environ", "rb") as f:
                count += server.folder.encode() in f.read()
        except OSError:
            pass
    return count


def test_passwords(server):
    server.add_user("carl@example.org", "his own")
    tries = [("his own", True), ("secret", True)]
    if server.tree == "cyrus":  # Courier waits 5 s before it says no
        tries.append(("wrong", False))
    for password, good in tries:
        with Wire(server.url("imap")) as wire:
            wire.until(b"* ")
            assert wire.command(b"a", f'LOGIN carl@example.org "{password}"'.encode())[-1].startswith(b"a OK") == good


# ---- Courier

def test_courier_loses_what_is_pipelined_behind_login(courier):
    with Wire(courier.url("imap")) as wire:
        wire.until(b"* ")
        wire.send(b"a LOGIN ann secret\r\nb NOOP\r\n")
        ok(wire.until(b"a "))
        wire.line(b"c NOOP")
        assert not [x for x in wire.until(b"c ") if x.startswith(b"b ")]


def test_courier_takes_no_literal_plus(courier):
    with Wire(courier.url("imap")) as wire:
        greeting = wire.until(b"* ")[0]
        assert b"LITERAL" not in greeting and b"UIDPLUS" in greeting
        wire.send(b"a LOGIN {3+}\r\nann {6+}\r\nsecret\r\n")
        wire.until(b"ann ")  # the bytes of the literal are read as a command


def test_courier_does_not_keep_what_examine_shows(courier):
    user = new_user()
    sign_in(courier, user)
    courier.deliver(user, "1005.a", "Subject: A\n\n")
    seen = []
    for name in ("1007.b", "1006.c"):
        courier.deliver(user, name, f"Subject: {name}\n\n")
        wire = sign_in(courier, user)
        seen.append((code(ok(wire.command(b"e", b"EXAMINE INBOX")), b"UIDVALIDITY"),
                     b"".join(wire.command(b"f", b"UID FETCH 2 (BODY.PEEK[HEADER])")[1:-1])))
        net.wait_next_second()
    assert seen[0][0] != seen[1][0], "the UIDVALIDITY"
    assert b"1007.b" in seen[0][1] and b"1006.c" in seen[1][1], "UID 2"
    selected = code(ok(sign_in(courier, user).command(b"e", b"SELECT INBOX")), b"UIDVALIDITY")
    net.wait_next_second()
    assert code(ok(sign_in(courier, user).command(b"e", b"EXAMINE INBOX")), b"UIDVALIDITY") == selected


def test_courier_says_uidnext_only_in_status(courier):
    wire = sign_in(courier, new_user())
    for verb in (b"SELECT", b"EXAMINE"):
        assert code(ok(wire.command(b"s", verb + b" INBOX")), b"UIDNEXT") is None
    assert b"UIDNEXT 1" in ok(wire.command(b"s", b"STATUS INBOX (UIDNEXT)"))[0]


def test_courier_tells_of_an_append_only_at_the_next_command(courier):
    wire = sign_in(courier, new_user())
    ok(wire.command(b"s", b"SELECT INBOX"))
    wire.line(b"p APPEND INBOX {14}")
    wire.until(b"+")
    wire.line(b"Subject: x\r\n\r\n")
    assert not [x for x in wire.until(b"p ") if x.endswith(b" EXISTS")]
    assert b"* 1 EXISTS" in wire.command(b"n", b"NOOP")


def test_courier_alters_line_ends(courier):
    user = new_user()
    wire = sign_in(courier, user)
    for body in (b"Subject: a\n\nLF\n", b"Subject: a\r\n\r\nC\rR\r\n", b"Subject: a\r\n\r\nNUL \0\r\n",
                 b"Subject: a\r\n\r\nlast", b""):
        assert append(wire, body).startswith(b"p OK")
    assert stored(courier, user) == [b"Subject: a\r\n\r\nLF\r\n", b"Subject: a\r\n\r\nCR\r\n",
                                     b"Subject: a\r\n\r\nNUL \0\r\n", b"Subject: a\r\n\r\nlast\r\n", b"\r\n"]


def test_courier_lists_parents_as_subscribed_and_ignores_the_selection_of_list(courier):
    wire = sign_in(courier, new_user())
    ok(wire.command(b"a", b"CREATE INBOX.A.B"))
    ok(wire.command(b"a", b"SUBSCRIBE INBOX.A.B"))
    assert b'* LSUB (\\Noselect \\HasChildren) "." "INBOX.A"' in ok(wire.command(b"b", b'LSUB "" "*"'))
    ok(wire.command(b"a", b"UNSUBSCRIBE INBOX.A.B"))
    assert any(b"INBOX.A.B" in x for x in ok(wire.command(b"c", b'LIST (SUBSCRIBED) "" "*"')))


def test_courier_refuses_slashes_names_outside_inbox_and_old_dates(courier):
    wire = sign_in(courier, new_user())
    for name in (b"INBOX.a/b", b"Elsewhere"):
        assert wire.command(b"a", b"CREATE " + name)[-1].startswith(b"a NO")
    assert append(wire, b"Subject: x\r\n\r\n", b'() "01-Jan-1969 00:00:00 +0000" ').startswith(b"p NO")


def test_courier_without_gamin_is_slow():
    """Where it asks for it at all."""
    with Courier("slow", gamin=False) as slow:
        wire = sign_in(slow, "ann")
        start = time.monotonic()
        ok(wire.command(b"a", b"SELECT INBOX"))
        assert (time.monotonic() - start > 1) == asks_gamin()


# ---- Cyrus

def authenticate(wire, authzid, user, password):
    text = "\0".join((authzid, user, password)).encode()
    return wire.command(b"a", b"AUTHENTICATE PLAIN " + base64.b64encode(text))[-1]


def test_cyrus_lets_its_master_user_be_anybody_and_nobody_else(cyrus):
    user = new_user()
    sign_in(cyrus, user)
    for words, good in (((user, MASTER_USER, MASTER_PASSWORD), True), ((user, MASTER_USER, "wrong"), False),
                        ((user, "ann@example.org", "secret"), False)):
        with Wire(cyrus.url("imap")) as wire:
            wire.until(b"* ")
            assert authenticate(wire, *words).startswith(b"a OK") == good
            if good:
                assert user.encode() in ok(wire.command(b"b", b"GETACL INBOX"))[0]
    with Wire(cyrus.url("imap")) as wire:
        wire.until(b"* ")
        ok(wire.command(b"a", f"LOGIN {MASTER_USER} {MASTER_PASSWORD}".encode()))
        assert any(f"user/{user}".encode() in x for x in ok(wire.command(b"b", b'LIST "" "*"')))


def test_cyrus_loses_what_is_pipelined_behind_authenticate(cyrus):
    with Wire(cyrus.url("imap")) as wire:
        wire.until(b"* ")
        plain_login = base64.b64encode(b"\0ann@example.org\0secret")
        wire.send(b"a AUTHENTICATE PLAIN " + plain_login + b"\r\nb NOOP\r\n")
        ok(wire.until(b"a "))
        # What comes in the same breath as the lost command is lost too, so it takes more than one.
        lines = []
        wire.socket.settimeout(0.2)
        end = time.monotonic() + 10
        while not [x for x in lines if x.startswith(b"c ")] and time.monotonic() < end:
            try:
                lines += wire.command(b"c", b"NOOP")
            except TimeoutError:
                pass
        assert [x[:4] for x in lines] == [b"c OK"]


def test_cyrus_refuses_nul_bare_newlines_emptiness_and_no_header(cyrus):
    user = new_user()
    wire = sign_in(cyrus, user)
    for body, why in ((b"Subject: a\r\n\r\n\0\r\n", b"NUL"), (b"Subject: a\n\nb\n", b"bare newlines"),
                      (b"no header\r\n", b"invalid header"), (b"", b"Zero-length")):
        answer = append(wire, body)
        assert answer.startswith(b"p NO") and why in answer, answer
    assert append(wire, b"Subject: a\r\n\r\nC\rR\r\n").startswith(b"p OK")
    assert stored(cyrus, user) == [b"Subject: a\r\n\r\nC\rR\r\n"]


def test_cyrus_refuses_old_dates_and_alters_those_after_2106(cyrus):
    wire = sign_in(cyrus, new_user())
    body = b"Subject: x\r\n\r\n"
    assert append(wire, body, b'() "01-Jan-1969 00:00:00 +0000" ').startswith(b"p BAD")
    for year in (2039, 2110):
        assert append(wire, body, b'() "31-Dec-%d 00:00:00 +0000" ' % year).startswith(b"p OK")
    ok(wire.command(b"s", b"EXAMINE INBOX"))
    dates = ok(wire.command(b"f", b"FETCH 1:* (INTERNALDATE)"))
    assert b"-2039 " in dates[0] and b"-1974 " in dates[1]


def test_cyrus_makes_parents_and_subscribes_only_to_what_is_there(cyrus):
    wire = sign_in(cyrus, new_user())
    ok(wire.command(b"a", b"CREATE one/two"))
    ok(wire.command(b"b", b"SELECT one"))
    assert wire.command(b"c", b"SUBSCRIBE missing")[-1].startswith(b"c NO")


def test_cyrus_ends_at_an_option_given_twice():
    with pytest.raises(RuntimeError, match="ended with 78(.|\n)*specified twice"):
        Cyrus("twice", extra="altnamespace: yes")


def test_cyrus_with_dots(cert, plain):
    with Cyrus("dots", separator=".", prefix="INBOX.", cert=cert, extra="munge8bit: no") as dots:
        user = new_user().replace(".", "-", 1)
        account = sample(messages=30)
        for s in (dots, plain):
            fill(s, user, account)
        assert_equal(dots, plain, user, 30)


# ---- whole accounts

def sealed(server, authority):
    return backend(server, ca=authority.ca, master=False)


def move(ferry, user):
    """Without a login: by staff, with the master users."""
    ferry.migrator()
    status, out, err = ferry.ctl_raw("migrate", user, "--wait")
    assert status == 0, (out, err)


def move_by_login(ferry, user):
    """With what the proxy seals: Courier has no master user. The next login finds the other server. The migrator."""
    ferry.seal_keys()
    proxy = ferry.proxy()
    client = ferry.login(proxy, user, "secret")
    assert separator(client) == "."
    migrator = ferry.migrator()
    ferry.wait_state(user, "flipped")
    again = ferry.login(proxy, user, "secret")
    assert ferry.where(user) == {"new"} and separator(again) == "."
    return migrator


def fill_courier(courier, user, seed):
    """With a subscription to what is not there, which Courier takes."""
    fill(courier, user, sample(seed))
    ok(sign_in(courier, user).command(b"a", b"SUBSCRIBE INBOX.missing"))


def test_courier_to_dovecot(make_ferry, courier, plain, authority):
    user = new_user()
    fill_courier(courier, user, 7)
    before = read(courier, user)
    move_by_login(make_ferry({"old": sealed(courier, authority), "new": backend(plain, ca=authority.ca)}), user)
    assert_equal(courier, plain, user, 80)
    assert read(courier, user) == before


def test_courier_as_the_handbook_has_it(make_ferry, courier, plain, authority):
    """The keys and lines of its page: an account waits for its user, and moves by their own password."""
    user = new_user()
    fill(courier, user, mail.sample(3, 5, [("INBOX",)]))
    ferry = make_ferry({"old": sealed(courier, authority), "new": backend(plain, ca=authority.ca)})
    make, *_ = handbook.block("servers.md", "seal-key").text.splitlines()
    assert ferry.ctl_raw(*handbook.replace(make, ("/etc/imapferry", ferry.folder)).split()[1:])[0] == 0
    lines = handbook.block("servers.md", "private_key_files").text
    ferry.settings["seal"] = handbook.options(handbook.replace(lines, ("/etc/imapferry", ferry.folder)))["seal"]
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert ferry.wait_state(user, "backoff")["reason"].startswith("credentials: ")
    ferry.login(ferry.proxy(), user, "secret").logout()
    ferry.wait_state(user, "flipped")


def test_courier_keeps_out_the_fifth_session_that_comes_by_a_proxy(make_ferry, plain, authority):
    """MAXPERIP as it comes. Those of another user count too, and who goes makes room."""
    with Courier("few", per_ip=4) as few:
        ferry = make_ferry({"old": backend(few, "imap", master=False), "new": backend(plain, ca=authority.ca)}, {"migration": {"trigger": "manual"}})
        proxy = ferry.proxy()
        inside = [ferry.login(proxy, new_user(), "secret") for _ in range(4)]
        with connect(proxy) as wire:
            assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")
        inside.pop().logout()
        net.wait_until("room", lambda: _is_let_in(proxy), 20, step=0.2)


def _is_let_in(proxy):
    with connect(proxy) as wire:
        return wire.login(new_user()).startswith(b"l1 OK")


def test_cyrus_to_dovecot(make_ferry, cyrus, plain, authority):
    user = new_user()
    fill(cyrus, user, sample(8))
    before = read(cyrus, user)
    move(make_ferry({"old": backend(cyrus, ca=authority.ca), "new": backend(plain, ca=authority.ca)}), user)
    assert_equal(cyrus, plain, user, 80)
    assert read(cyrus, user) == before


def test_dovecot_to_cyrus(make_ferry, old, cyrus, authority):
    user = new_user()
    fill(old, user, sample(9))
    before = read(old, user)
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(cyrus, ca=authority.ca)})
    move(ferry, user)
    assert_equal(old, cyrus, user, 80)
    assert read(old, user) == before
    client = ferry.login(ferry.proxy(), user, "secret")
    assert ferry.where(user) == {"new"} and separator(client) == "." and client.select("INBOX.Sent")[0] == "OK"


def test_courier_to_cyrus(make_ferry, courier, cyrus, authority):
    user = new_user()
    fill_courier(courier, user, 10)
    ferry = make_ferry({"old": sealed(courier, authority), "new": backend(cyrus, ca=authority.ca)})
    migrator = move_by_login(ferry, user)
    # The one thing that Cyrus does not take is counted.
    found = [str(d) for d in differences(courier, cyrus, user)]
    assert found == ["subscription: missing: subscribed on the old side only"]
    migrator.wait(r"event=findings .* kind=subscription count=1\b")


def test_courier_gives_uids_of_new_mail_to_other_mail(make_ferry, courier, plain, authority):
    """Mail that was copied from a mailbox which nobody has SELECTed yet, and then mail that Courier sorts before it."""
    user = new_user()
    sign_in(courier, user)
    courier.deliver(user, "1005.a", "Subject: A\n\nfirst\n")
    courier.deliver(user, "1006.b", "Subject: B\n\nsecond\n")
    ferry = make_ferry({"old": sealed(courier, authority), "new": backend(plain, ca=authority.ca)},
                       {"migration": {"cutover": "manual"}})
    ferry.seal_keys()
    ferry.login(ferry.proxy(), user, "secret").logout()
    ferry.migrator()
    ferry.wait_state(user, "ready")
    courier.deliver(user, "1003.c", "Subject: C\n\nthird\n")
    net.wait_next_second()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(courier, plain, user, 3)


def test_nothing_pipelined_is_lost_behind_the_proxy(make_ferry, server, plain, authority):
    """What the two lose behind LOGIN and AUTHENTICATE, the proxy keeps until they are ready."""
    user = new_user()
    ferry = make_ferry({"old": sealed(server, authority), "new": backend(plain, ca=authority.ca)},
                       {"migration": {"trigger": "manual"}})
    proxy = ferry.proxy()
    initial = base64.b64encode(f"\0{user}\0secret".encode())
    for verb in (f"LOGIN {user} secret".encode(), b"AUTHENTICATE PLAIN " + initial):
        with connect(proxy) as wire:
            wire.send(b"a %s\r\nb SELECT INBOX\r\nc STATUS INBOX (MESSAGES)\r\nd CAPABILITY\r\ne LOGOUT\r\n" % verb)
            lines = wire.rest()
        tagged = [x[:4] for x in lines if x[1:2] == b" " and x[:1] != b"*"]
        assert tagged == [b"a OK", b"b OK", b"c OK", b"d OK", b"e OK"]
        capability = [x for x in lines if x.startswith(b"* CAPABILITY")][-1]
        assert (b"LITERAL+" in capability) == (server.tree == "cyrus")


def stays(make_ferry, source, target, authority, message):
    """An account with this one message: why it is not moved."""
    user = new_user()
    mailboxes = list(dict.fromkeys([("INBOX",), message.mailbox]))
    fill(source, user, mail.Account(mailboxes, [message], []))
    ferry = make_ferry({"old": sealed(source, authority), "new": backend(target, ca=authority.ca, numbers="none")})
    ferry.seal_keys()
    ferry.login(ferry.proxy(), user, "secret").logout()
    ferry.migrator()
    route = ferry.wait_state(user, "blocked")
    assert route.get("backend", "old") == "old", route
    return route["reason"]


def letter(body, mailbox="INBOX", **more):
    return mail.Message((mailbox,), body, **more)


CANNOT = {
    "8-bit header": (letter(b"Subject: \xe4\r\n\r\n"), '"INBOX": UID 1: bytes differ'),
    "NUL": (letter(b"Subject: x\r\n\r\n\0\r\n"), '"INBOX": UID 1: the target refuses it: Message contains NUL'),
    "no header": (letter(b"no header\r\n"), "invalid header"),
    "date": (letter(b"Subject: x\r\n\r\n", date='"31-Dec-2110 00:00:00 +0000"'), '"INBOX": UID 1: date differs'),
    "name": (letter(b"Subject: x\r\n\r\n", "^caret"), '^caret"'),
}


@pytest.mark.parametrize("what", CANNOT)
def test_what_cyrus_alters_or_refuses_is_named_and_the_user_stays(make_ferry, courier, munging, authority, what):
    message, said = CANNOT[what]
    assert said in stays(make_ferry, courier, munging, authority, message)


def test_what_dovecot_alters_is_named_and_the_user_stays(make_ferry, cyrus, plain, authority):
    reason = stays(make_ferry, cyrus, plain, authority, letter(b"Subject: a\r\n\r\nCR before CRLF\r\r\n"))
    assert '"INBOX": UID 1: bytes differ' in reason
