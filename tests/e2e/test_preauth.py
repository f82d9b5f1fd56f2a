"""What a client may say before it has signed in, and what is answered."""
import base64
import os
import re
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.scene import Wire

PLAIN = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN ID LITERAL-] imapferry ready"
LISTENERS = ("imap://127.0.0.1:0", "imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0")


@pytest.fixture(scope="module")
def proxy(fake_site):
    return fake_site.proxy(listen=LISTENERS)


@pytest.fixture
def wire(proxy):
    w = Wire(proxy.addresses[0])
    w.read_line()
    return w


@pytest.fixture
def starttls(proxy):
    w = Wire(proxy.addresses[2])
    w.read_line()
    return w


def sasl(*fields):
    return base64.b64encode(b"\0".join(fields))


# ---- capabilities


def test_greeting_by_listener(proxy, authority):
    assert Wire(proxy.addresses[0]).read_line() == PLAIN
    assert Wire(proxy.addresses[1], ca=authority.ca).read_line() == PLAIN
    w = Wire(proxy.addresses[2])
    assert w.read_line() == b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED SASL-IR ID LITERAL-] imapferry ready"
    assert w.command(b"a", b"LOGIN ann secret") == [b"a NO [PRIVACYREQUIRED] Signing in needs TLS"]
    assert w.command(b"b", b"STARTTLS")[-1].startswith(b"b OK")
    w.secure(authority.ca)
    assert w.command(b"c", b"CAPABILITY")[0] == b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN ID LITERAL-"
    assert w.command(b"d", b"STARTTLS")[-1].startswith(b"d BAD")
    assert w.command(b"e", b"LOGIN ann secret")[-1].startswith(b"e OK [CAPABILITY IMAP4rev1 ")


def test_refused_login_before_tls_does_not_ask_for_the_literal(starttls, fake):
    starttls.line(b"a LOGIN {3}")
    assert starttls.read_line().startswith(b"a NO [PRIVACYREQUIRED]")
    assert starttls.command(b"b", b"NOOP")[-1].startswith(b"b OK")
    assert fake.logins == []


def test_one_byte_behind_starttls_is_enough(starttls, proxy, fake):
    mark = proxy.mark()
    starttls.send(b"a STARTTLS\r\nb")
    assert starttls.rest() == [b"* BYE plaintext after STARTTLS"]
    proxy.wait(r"event=session_end why=starttls_plaintext", since=mark)
    assert fake.logins == []


# ---- ways to sign in


@pytest.mark.parametrize("name,send", [
    (b"ann", [b"a LOGIN ann secret\r\n"]),
    (b"ann", [b'a login "ann" "secret"\r\n']),
    (b'q"uo\\te', [b'a LOGIN "q\\"uo\\\\te" secret\r\n']),
    (b"with blank", [b"a LOGIN {10+}\r\nwith blank {6+}\r\nsecret\r\n"]),
    (b"ann", [b"a LOGIN {3}\r\n", b"ann {6}\r\n", b"secret\r\n"]),
    (b"ann", [b"a LOGIN {3+}\r\nann ", b'"secret"\r\n']),
    (b"per%cent{5}", [b'a LOGIN "per%cent{5}" secret\r\n']),
    ("jörg@example.org".encode(), [b"a LOGIN {17+}\r\n" + "jörg@example.org".encode() + b" secret\r\n"]),
])
def test_login(wire, fake, name, send):
    for i, piece in enumerate(send):
        wire.send(piece)
        if b"{" in piece and piece.endswith(b"}\r\n") and i + 1 < len(send):
            assert wire.read_line().startswith(b"+ ")
    assert wire.until(b"a ")[-1].startswith(b"a OK ")
    assert fake.logins == [(name.decode(), "user")]


@pytest.mark.parametrize("response", [sasl(b"", b"ann", b"secret"), sasl(b"ann", b"ann", b"secret")])
@pytest.mark.parametrize("initial", [True, False])
def test_authenticate_plain(wire, fake, response, initial):
    if initial:
        wire.line(b"a AUTHENTICATE PLAIN " + response)
    else:
        wire.line(b"a authenticate plain")
        assert wire.read_line() == b"+ "
        wire.line(response)
    assert wire.until(b"a ")[-1].startswith(b"a OK ")
    assert fake.logins == [("ann", "user")]


@pytest.mark.parametrize("response", [
    b"*", b"", b"=", b"====", b"not base64", b"QQ", sasl(b"ann", b"secret"), sasl(b"", b"ann", b"sec", b"ret"),
    sasl(b"", b"", b"secret"), sasl(b"", b"ann", b""), sasl(b"", b"a\x01n", b"secret"), sasl(b"", b"a\xffn", b"secret"),
    sasl(b"", b"ann\r\nx LOGOUT", b"secret"), sasl(b"", b"n" * 513, b"secret"), sasl(b"", b"ann", b"p" * 4097),
])
def test_response_that_is_none(wire, fake, response):
    wire.line(b"a AUTHENTICATE PLAIN")
    assert wire.read_line() == b"+ "
    wire.line(response)
    assert wire.until(b"a ")[-1].startswith(b"a BAD ")
    assert fake.logins == []
    assert wire.command(b"b", b"AUTHENTICATE PLAIN " + sasl(b"", b"ann", b"secret"))[-1].startswith(b"b OK ")


def test_nobody_signs_in_as_somebody_else(wire, fake):
    answer = wire.command(b"a", b"AUTHENTICATE PLAIN " + sasl(b"ann", b"bob", b"secret"))
    assert answer == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
    assert fake.logins == []


def test_other_mechanisms(wire):
    for name in (b"CRAM-MD5", b"PLAI", b"XOAUTH2", b"EXTERNAL"):
        assert wire.command(b"a", b"AUTHENTICATE " + name)[-1] == b"a NO [CANNOT] This mechanism is not offered"
        assert wire.command(b"c", b"NOOP")[-1] == b"c OK NOOP completed"
    assert wire.command(b"b", b"AUTHENTICATE")[-1].startswith(b"b BAD ")


def test_commands_behind_login_are_answered_in_order(wire):
    wire.send(b"a LOGIN ann secret\r\nb CAPABILITY\r\nc SELECT INBOX\r\nd NOOP\r\ne LOGOUT\r\n")
    answers = wire.rest()
    assert [x[:4] for x in answers if x[1:2] == b" " and x[:1] in b"abcde"] == [
        b"a OK", b"b OK", b"c OK", b"d OK", b"e OK"]


def test_half_closed_client_gets_its_answers(wire):
    wire.send(b"a LOGIN ann secret\r\nb SELECT INBOX\r\nc NOOP\r\n")
    wire.socket.shutdown(1)
    assert [x for x in wire.rest() if x.startswith(b"c OK")]


def test_pipelined_logins_count_both(wire, fake):
    wire.send(b"a LOGIN ann wrong\r\nb LOGIN ann secret\r\nc LOGIN bob secret\r\n")
    answers = [x for x in wire.until(b"c ") if not x.startswith(b"*")]
    assert answers[0] == b"a NO [AUTHENTICATIONFAILED] Authentication failed"
    assert answers[1].startswith(b"b OK ")
    assert answers[2] == b"c BAD Already logged in"
    assert fake.logins[-1] == ("ann", "user")


def test_refusal_does_not_tell_how_long_it_took(wire):
    """Whether there is such a user must not show: the answer comes at a full second."""
    for tag in (b"a", b"b"):
        began = time.monotonic()
        assert wire.command(tag, b"LOGIN ann wrong")[-1].startswith(tag + b" NO [AUTHENTICATIONFAILED]")
        passed = time.monotonic() - began
        assert abs(passed - round(passed)) < 0.2 and round(passed) >= 1, passed


# ---- nonsense


@pytest.mark.parametrize("line", [
    b"", b" ", b"a", b"a ", b"* NOOP", b"+ NOOP", b"a+ NOOP", b"a NOOP now", b"a{ NOOP", b"a UID", b"a UID NOOP", b"a SELECT INBOX",
    b"a LOGIN", b"a LOGIN ann", b"a LOGIN ann secret more", b"a LOGIN (ann) secret", b'a LOGIN "ann secret',
    b"a LOGIN NIL", b"a ID", b"a ID ann", b"a ID (1 2 3)", b"a ID (" + b"(" * 100, b"a XFROB", b"\xff\xfe NOOP",
    b"t" * 300 + b" NOOP", b"a ID (" + b" ".join(b'"k%d" "v"' % i for i in range(31)) + b")",
    b'a ID ("' + b"k" * 31 + b'" "v")', b'a ID ("k" "' + b"v" * 1025 + b'")', b"GET / HTTP/1.1",
])
def test_invalid_command(wire, fake, line):
    wire.line(line)
    assert re.match(rb"(\S+) BAD ", wire.read_line())
    assert wire.command(b"z", b"NOOP") == [b"z OK NOOP completed"]
    assert fake.logins == []


def test_three_invalid_commands_in_a_row_are_the_end(wire):
    wire.send(b"GET / HTTP/1.1\r\nHost: mail\r\nUser-Agent: a scanner\r\nAccept: */*\r\n\r\n")
    answers = wire.rest()
    assert len(answers) == 4 and all(b" BAD " in x for x in answers[:-1])
    assert answers[-1] == b"* BYE Too many invalid commands"


def test_valid_commands_between_invalid_ones(wire):
    for _ in range(5):
        assert wire.command(b"a", b"XFROB")[-1].startswith(b"a BAD")
        assert wire.command(b"b", b"NOOP")[-1].startswith(b"b OK")


@pytest.mark.parametrize("send,answer", [
    (b"a LOGIN {5-}\r\n", b"a BAD malformed literal"),
    (b"a LOGIN {05+}\r\n", b"a BAD malformed literal"),
    (b"a LOGIN {+}\r\n", b"a BAD malformed literal"),
    (b"a LOGIN ~{5-}\r\n", b"a BAD malformed literal"),
    (b"a LOGIN {4097+}\r\n", b"a BAD non-synchronizing literal too large"),
    (b"a LOGIN {18446744073709551616+}\r\n", b"a BAD non-synchronizing literal too large"),
    (b"a NO\0OP\r\n", b"* BAD NUL in a line"),
    (b"a NOOP\n", b"* BAD LF without CR"),
    (b"a NOOP\r\r\n", b"* BAD CR without LF"),
    (b"a" * 9000, b"* BAD line too long"),
])
def test_line_that_two_readers_could_read_differently_ends_the_connection(wire, fake, send, answer):
    wire.send(send)
    assert wire.rest() == [answer, b"* BYE [CLIENTBUG] This line can't be read"]
    assert fake.logins == []


@pytest.mark.parametrize("marker,answer", [
    (b"{4294967296}", b"literal too large"), (b"{18446744073709551616}", b"literal too large"),
    (b"{05}", b"malformed literal"), (b"{-1}", b"malformed literal"), (b"{ 5}", b"malformed literal"),
    (b"{}", b"malformed literal"), (b"~{}", b"malformed literal"), (b"~{05}", b"malformed literal"),
    (b"~{5}", b"Binary literals are not offered here"), (b"~{4294967296}", b"literal too large"),
])
def test_literal_that_is_not_asked_for(wire, marker, answer):
    wire.line(b"a LOGIN " + marker)
    assert wire.read_line() == b"a BAD " + answer
    assert wire.command(b"b", b"LOGIN ann secret")[-1].startswith(b"b OK ")


def test_binary_literal_that_comes_anyway_is_swallowed(wire, fake):
    wire.send(b"a LOGIN ~{3+}\r\nann secret\r\nb LOGIN ann ~{8+}\r\nx NOOP\r\n\r\nc NOOP\r\n")
    assert wire.read_line() == b"a BAD Binary literals are not offered here"
    assert wire.read_line() == b"b BAD Binary literals are not offered here"
    assert wire.read_line() == b"c OK NOOP completed"
    assert fake.logins == []


def test_empty_literal_is_an_empty_string(wire, fake):
    wire.send(b"a LOGIN {0+}\r\n secret\r\n")
    assert wire.until(b"a ")[-1].startswith(b"a BAD Expected a name")
    wire.send(b"b LOGIN ann {0+}\r\n\r\n")
    assert wire.until(b"b ")[-1].startswith(b"b BAD Expected a password")
    assert fake.logins == []
    assert wire.command(b"c", b"LOGIN ann secret")[-1].startswith(b"c OK ")


def test_literal_where_none_may_be_is_swallowed(wire):
    wire.send(b"a NOOP {6+}\r\nb NOOP\r\nc NOOP\r\n")
    assert wire.read_line().startswith(b"a BAD ")
    assert wire.read_line() == b"c OK NOOP completed"


def test_id_is_answered_here(wire, fake):
    answer = [b'* ID ("name" "imapferry")', b"a OK ID completed"]
    assert wire.command(b"a", b"ID NIL") == answer
    assert wire.command(b"a", b'ID ("x-originating-ip" "192.0.2.1")') == answer
    wire.send(b'a ID ({4+}\r\nname {7+}\r\nOutlook "version" NIL)\r\n')
    assert wire.until(b"a ") == answer
    assert wire.command(b"b", b"LOGIN ann secret")[-1].startswith(b"b OK ")
    assert not fake.heard(b"192.0.2.1") and fake.heard(b"127.0.0.1")


# ---- deadlines, places


def test_deadline_is_for_the_whole_phase(fake_site):
    proxy = fake_site.proxy(proxy={"login_timeout": "1500ms"})
    w = Wire(proxy.addresses[0])
    w.read_line()
    began = time.monotonic()
    for i in range(3):
        assert w.command(b"a%d" % i, b"NOOP")[-1].startswith(b"a%d OK" % i)
    assert w.rest() == [b"* BYE Login took too long"]
    assert 1 < time.monotonic() - began < 5


def test_handshake_that_never_ends(fake_site):
    proxy = fake_site.proxy(listen=("imaps://127.0.0.1:0",), proxy={"tls_timeout": "500ms"})
    w = Wire(proxy.addresses[0].replace("imaps", "imap"))
    assert w.rest() == []
    proxy.wait(r"event=session_end why=tls_timeout")


def test_unix_socket(fake_site, fake):
    path = os.path.join(net.temp_folder("socket"), "imap.sock")
    try:
        proxy = fake_site.proxy(listen=(f"imap+unix://{path}",), proxy={"threads": 2}, wait=False)
        proxy.wait(r"listening on imap\+unix://")
        w = Wire(f"imap+unix://{path}")
        assert w.read_line() == PLAIN
        assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
        assert fake.logins == [("ann", "user")]
        proxy.stop()
        assert not os.path.exists(path)
    finally:
        net.remove_folder(os.path.dirname(path))


def test_address_in_use_ends_the_program(fake_site):
    first = fake_site.proxy(proxy={"threads": 2})
    second = fake_site.proxy(listen=(first.addresses[0],), wait=False, label="second")
    assert second.process.wait(20) == 1
    fake_site.daemons.remove(second)
    assert "can't listen: Address already in use" in second.tail()


def test_threads_share_the_port_that_was_free(fake_site):
    proxy = fake_site.proxy(proxy={"threads": 3})
    proxy.wait_count(r"event=lease_renewed", 3)
    wires = [Wire(proxy.addresses[0]) for _ in range(40)]
    for w in wires:
        assert w.read_line() == PLAIN
        assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
    used = {m.group(1) for m in proxy.find(r"event=login .* session=\S+\.(\d)-")}
    assert len(used) > 1, "the kernel gave all connections to one thread"


def test_another_backend_checks_the_password(fake_site, fake):
    """The old server knows no users' passwords; a master sign-in there never stands in for one."""
    with FakeImap(password="nobody knows") as old:
        proxy = fake_site.proxy(backends={"old": {"address": old.url(), "auth_backend": "checker", "master_user": "admin"},
                                      "checker": {"address": fake.url()}})
        w = Wire(proxy.addresses[0])
        w.read_line()
        assert w.command(b"a", b"LOGIN ann wrong")[-1] == b"a NO [AUTHENTICATIONFAILED] Authentication failed"
        # What the server can do the proxy asks as the master alone, for nobody.
        assert [x for x in old.logins if x != ("admin", "master")] == []
        assert w.command(b"b", b"LOGIN ann secret")[-1].startswith(b"b OK ")
        assert fake.logins == [("ann", "user")] and [x for x in old.logins if x[0] == "ann"] == [("ann", "master")]
        proxy.stop()
