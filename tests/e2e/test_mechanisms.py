"""By what a user may sign in (mechanisms): each of the ways, what does not belong there, and who may sign in as somebody else."""
import base64
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net, redisd
from harness.ferry import Ferry, backend
from harness.scene import connect

LISTEN = ["imap://127.0.0.1:0", "imap+starttls://127.0.0.1:0"]


@pytest.fixture(scope="module")
def server():
    with FakeImap("old") as made:
        yield made


@pytest.fixture
def fake(server):
    server.logins.clear()
    server.lines.clear()
    return server


@pytest.fixture(scope="module")
def ferry(server, cert):
    store = redisd.Redis(port=net.free_port())
    with FakeImap("new") as new:
        made = Ferry(store, {"old": backend(server, "imap"), "new": backend(new, "imap")}, cert, {"migration": {"trigger": "manual"}})
        made.init()
        yield made
        try:
            made.close()
        finally:
            store.close()


@pytest.fixture(scope="module")
def proxy(ferry):
    return ferry.proxy(listen=LISTEN)


@pytest.fixture
def wire(proxy):
    with connect(proxy) as w:
        yield w


def coded(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def mechanisms(line):
    """Of a greeting or CAPABILITY."""
    return [x for x in line.replace(b"]", b" ").split() if x.startswith(b"AUTH=") or x == b"LOGINDISABLED"]


# ---- LOGIN


@pytest.mark.parametrize("initial", (False, True))
def test_login_in_two_answers(wire, fake, initial):
    if initial:
        wire.line(b"a authenticate login " + coded("ann"))
    else:
        wire.line(b"a AUTHENTICATE LOGIN")
        assert wire.read_line() == b"+ " + coded("Username:")
        wire.line(coded("ann"))
    assert wire.read_line() == b"+ " + coded("Password:")
    wire.line(coded("secret"))
    assert wire.until(b"a ")[-1].startswith(b"a OK ")
    assert fake.logins == [("ann", "user")]
    assert fake.commands("AUTHENTICATE PLAIN")  # as this server understands it


def test_wrong_password_by_login(wire, fake):
    wire.send(b"a AUTHENTICATE LOGIN %s\r\n%s\r\n" % (coded("ann"), coded("wrong")))  # at once
    assert wire.until(b"a ")[-1] == b"a NO [AUTHENTICATIONFAILED] Authentication failed"
    assert wire.login("ann") .startswith(b"l1 OK ")
    assert fake.logins == [("ann", "user")]


@pytest.mark.parametrize("answers", [
    [b"*"], [coded("ann"), b"*"], [b"", coded("secret")], [coded("ann"), b""], [b"QQ"], [coded("ann"), b"no base64"],
    [coded(b"an\0n"), coded("secret")], [coded("ann"), coded(b"sec\0ret")], [coded(b"ann\0secret"), b""],
    [coded(b"a\xff"), coded("secret")], [coded("a\r\nx LOGOUT"), coded("secret")], [coded("ann"), coded(b"a\x7fb")],
    [coded("n" * 513), coded("secret")], [coded("ann"), coded("p" * 4097)], [b"="], [coded("ann"), b"="],
])
def test_answers_that_are_none(wire, fake, answers):
    wire.line(b"a AUTHENTICATE LOGIN")
    for answer in answers:
        assert wire.read_line().startswith(b"+ ")
        wire.line(answer)
    last = wire.read_line()
    assert last.startswith(b"a BAD "), last
    assert wire.login("ann").startswith(b"l1 OK ")
    assert fake.logins == [("ann", "user")]


def test_name_that_is_begun_is_forgotten(wire, fake):
    """Cancelled behind the name: the next AUTHENTICATE begins anew, by another mechanism too."""
    wire.send(b"a AUTHENTICATE LOGIN %s\r\n*\r\n" % coded("bob"))
    assert wire.until(b"a ")[-1].startswith(b"a BAD ")
    wire.send(b"b AUTHENTICATE PLAIN %s\r\n" % coded("\0ann\0secret"))
    assert wire.until(b"b ")[-1].startswith(b"b OK ")
    assert fake.logins == [("ann", "user")]


def test_long_answers_end_the_connection(proxy, fake):
    for head in (b"a AUTHENTICATE LOGIN " + coded("ann") + b"\r\n", b"a AUTHENTICATE LOGIN\r\n", b"a AUTHENTICATE PLAIN\r\n"):
        with connect(proxy) as wire:
            wire.send(head + b"A" * 9000)
            assert wire.rest()[-1] == b"* BYE [CLIENTBUG] This line can't be read"
    with connect(proxy) as wire:
        wire.send(b"a AUTHENTICATE LOGIN\r\n{3+}\r\nann\r\n")
        assert wire.rest()[-1] == b"* BYE [CLIENTBUG] This line can't be read"
    assert fake.logins == []


def test_cancelling_for_ever_is_no_login(wire, fake):
    wire.send(b"a AUTHENTICATE LOGIN\r\n*\r\n" * 3)
    assert wire.rest()[-1] == b"* BYE Too many invalid commands"
    assert fake.logins == []


# ---- which are offered


def test_offered_are_those_named(ferry, authority, fake):
    proxy = ferry.proxy(listen=LISTEN, proxy={"mechanisms": ["LOGIN"]})
    with connect(proxy) as wire:
        assert mechanisms(wire.greeting) == mechanisms(wire.command(b"c", b"CAPABILITY")[0]) == [b"AUTH=LOGIN"]
        assert wire.command(b"a", b"AUTHENTICATE PLAIN " + coded("\0ann\0secret"))[-1].startswith(b"a NO [CANNOT] ")
        wire.send(b"b AUTHENTICATE LOGIN %s\r\n%s\r\n" % (coded("ann"), coded("secret")))
        assert wire.until(b"b ")[-1].startswith(b"b OK ")
    with connect(proxy, 1) as wire:
        assert mechanisms(wire.greeting) == [b"LOGINDISABLED"]
        assert wire.command(b"a", b"AUTHENTICATE LOGIN")[-1].startswith(b"a NO [PRIVACYREQUIRED] ")
        assert wire.command(b"s", b"STARTTLS")[-1].startswith(b"s OK")
        wire.secure(authority.ca)
        assert mechanisms(wire.command(b"c", b"CAPABILITY")[0]) == [b"AUTH=LOGIN"]
        assert wire.login("ann").startswith(b"l1 OK ")
    proxy.stop()


def test_settings_that_do_not_fit(ferry):
    for options, why in (({"mechanisms": ["PLAIN", "CRAM-MD5"]}, r'mechanisms: \"CRAM-MD5\" is unknown; expected some of: PLAIN, LOGIN'),
                         ({"mechanisms": []}, "mechanisms: is empty")):
        daemon = ferry.proxy(listen=LISTEN, proxy=options, wait=False)
        assert daemon.process.wait(timeout=30) == 1
        daemon.wait(why, since=0)
        ferry.daemons.remove(daemon)


# ---- who signs in as somebody else


def plain(authzid, authcid, password):
    return b"AUTHENTICATE PLAIN " + coded(f"{authzid}\0{authcid}\0{password}")


@pytest.fixture(scope="module", name="masters")
def fixture_masters(ferry):
    return ferry.proxy(listen=LISTEN, proxy={"masters": ["Admin", "helper@example.org"]})


def test_master_signs_in_as_the_user(masters, ferry, fake):
    """With the master's own credentials, at the account's server; the session is the account's."""
    mark = masters.mark()
    with connect(masters) as wire:
        assert wire.command(b"a", plain("ann", "ADMIN", "styx"))[-1].startswith(b"a NO ")  # it is for the server to say who that is
        assert wire.command(b"b", plain("ann", "admin", "styx"))[-1].startswith(b"b OK ")
        masters.wait(r"event=login user=ann backend=old .* master=admin\b", since=mark)
        assert fake.logins == [("ann", "master")]
        assert ferry.where("ann") == {"old"}
    masters.wait(r"event=session_end why=client_gone .*user=ann\b", since=mark)


def test_master_with_a_wrong_password(masters, fake):
    with connect(masters) as wire:
        assert wire.command(b"a", plain("ann", "admin", "wrong")) == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
        assert wire.command(b"b", plain("n" * 513, "admin", "styx"))[-1].startswith(b"b BAD ")
        assert wire.command(b"c", plain("a\x01b", "admin", "styx"))[-1].startswith(b"c BAD ")
        assert wire.command(b"d", plain("@", "admin", "styx"))[-1].startswith(b"d NO ")
    assert fake.logins == []


def test_nobody_else_does(masters, fake):
    """Refused as a wrong password is, be it right or wrong, and no server hears of it."""
    for password in ("secret", "wrong"):
        with connect(masters) as wire:
            began = time.monotonic()
            assert wire.command(b"a", plain("ann", "bob", password)) == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
            passed = time.monotonic() - began
            assert abs(passed - round(passed)) < 0.2 and round(passed) >= 1, passed
    assert fake.logins == [] and not fake.heard(b"bob")


def test_the_same_account_by_another_spelling_is_no_one_else(proxy, fake):
    with connect(proxy) as wire:
        assert wire.command(b"a", plain("ANN", "ann", "secret"))[-1].startswith(b"a OK ")
    assert fake.logins == [("ann", "user")]


def test_masters_that_are_no_names(ferry):
    daemon = ferry.proxy(listen=LISTEN, proxy={"masters": ["admin", "@"]}, wait=False)
    assert daemon.process.wait(timeout=30) == 1
    daemon.wait(r'masters: \\?"@\\?" is no login name', since=0)
    ferry.daemons.remove(daemon)
