"""By what a user may sign in (mechanisms): each of the ways, what does not belong there, and who may sign in as somebody else."""
import base64
import socket
import time

import pytest

from fakes.fake_imap import INVALID_TOKEN
from harness.scene import connect

LISTEN = ["imap://127.0.0.1:0", "imap+starttls://127.0.0.1:0"]


@pytest.fixture(scope="module")
def proxy(fake_site):
    return fake_site.proxy(listen=LISTEN)


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


def test_offered_are_those_named(fake_site, authority, fake):
    proxy = fake_site.proxy(listen=LISTEN, proxy={"mechanisms": ["LOGIN"]})
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


def test_settings_that_do_not_fit(fake_site):
    for options, why in (({"mechanisms": ["PLAIN", "CRAM-MD5"]}, r'mechanisms: \"CRAM-MD5\" is unknown; expected some of: PLAIN, LOGIN'),
                         ({"mechanisms": []}, "mechanisms: is empty")):
        daemon = fake_site.proxy(listen=LISTEN, proxy=options, wait=False)
        assert daemon.process.wait(timeout=30) == 1
        daemon.wait(why, since=0)
        fake_site.daemons.remove(daemon)


# ---- who signs in as somebody else


def plain(authzid, authcid, password):
    return b"AUTHENTICATE PLAIN " + coded(f"{authzid}\0{authcid}\0{password}")


@pytest.fixture(scope="module", name="masters")
def fixture_masters(fake_site):
    return fake_site.proxy(listen=LISTEN, proxy={"masters": ["Admin", "helper@example.org"]})


def test_master_signs_in_as_the_user(masters, fake_site, fake):
    """With the master's own credentials, at the account's server; the session is the account's."""
    mark = masters.mark()
    with connect(masters) as wire:
        assert wire.command(b"a", plain("ann", "ADMIN", "styx-ferry"))[-1].startswith(b"a NO ")  # it is for the server to say who that is
        assert wire.command(b"b", plain("ann", "admin", "styx-ferry"))[-1].startswith(b"b OK ")
        masters.wait(r"event=login user=ann backend=old .* master=admin\b", since=mark)
        assert fake.logins == [("ann", "master")]
        assert fake_site.where("ann") == {"old"}
    masters.wait(r"event=session_end why=client_gone .*user=ann\b", since=mark)


def test_master_with_a_wrong_password(masters, fake):
    with connect(masters) as wire:
        assert wire.command(b"a", plain("ann", "admin", "wrong")) == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
        assert wire.command(b"b", plain("n" * 513, "admin", "styx-ferry"))[-1].startswith(b"b BAD ")
        assert wire.command(b"c", plain("a\x01b", "admin", "styx-ferry"))[-1].startswith(b"c BAD ")
        assert wire.command(b"d", plain("@", "admin", "styx-ferry"))[-1].startswith(b"d NO ")
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


def test_masters_that_are_no_names(fake_site):
    daemon = fake_site.proxy(listen=LISTEN, proxy={"masters": ["admin", "@"]}, wait=False)
    assert daemon.process.wait(timeout=30) == 1
    daemon.wait(r'masters: \\?"@\\?" is no login name', since=0)
    fake_site.daemons.remove(daemon)


# ---- tokens


def xoauth2(user, token):
    return b"XOAUTH2 " + coded(f"user={user}\1auth=Bearer {token}\1\1")


def bearer(user, token):
    return b"OAUTHBEARER " + coded(f"n,a={user},\1host=mail.example.org\1port=143\1auth=Bearer {token}\1\1")


@pytest.fixture(scope="module", name="all_ways")
def fixture_all_ways(fake_site):
    return fake_site.proxy(listen=LISTEN, proxy={"mechanisms": ["PLAIN", "LOGIN", "xoauth2", "OAUTHBEARER"]})


@pytest.fixture(name="tokens")
def fixture_tokens(fake):
    fake.mechanisms = ["PLAIN", "XOAUTH2", "OAUTHBEARER"]
    fake.tokens = {"T1": "ann", "T2": "a,b=c@example.org"}
    fake.challenge, fake.behind_challenge = INVALID_TOKEN, "NO [AUTHENTICATIONFAILED] wrong token"
    fake.acknowledged.clear()
    yield fake
    fake.mechanisms = ["PLAIN"]


@pytest.mark.parametrize("offered", (["XOAUTH2", "OAUTHBEARER"], ["XOAUTH2"], ["OAUTHBEARER"]))
@pytest.mark.parametrize("message", (xoauth2("ann", "T1"), bearer("ann", "T1")))
def test_token(all_ways, tokens, offered, message):
    """By the client's mechanism, or by the other one where the server has only that."""
    tokens.mechanisms = ["PLAIN", *offered]
    name, coded_message = message.split()
    with connect(all_ways) as wire:
        assert mechanisms(wire.greeting) == [b"AUTH=PLAIN", b"AUTH=LOGIN", b"AUTH=XOAUTH2", b"AUTH=OAUTHBEARER"]
        wire.line(b"a AUTHENTICATE " + message)
        assert wire.until(b"a ")[-1].startswith(b"a OK [CAPABILITY ")
    with connect(all_ways) as wire:
        wire.line(b"a AUTHENTICATE " + name)
        assert wire.read_line() == b"+ "
        wire.line(coded_message)
        assert wire.until(b"a ")[-1].startswith(b"a OK [CAPABILITY ")
    assert tokens.logins == [("ann", "token")] * 2
    by = name if name.decode() in offered else offered[0].encode()
    assert all(x.split()[1:3] == [b"AUTHENTICATE", by] for x in tokens.commands("AUTHENTICATE"))


def test_name_with_a_comma(all_ways, tokens):
    for message in (xoauth2("a,b=c@example.org", "T2"), bearer("a=2Cb=3Dc@example.org", "T2")):
        with connect(all_ways) as wire:
            assert wire.command(b"a", b"AUTHENTICATE " + message)[-1].startswith(b"a OK ")
    assert tokens.logins == [("a,b=c@example.org", "token")] * 2


@pytest.mark.parametrize("message,answer", ((xoauth2("ann", "T9"), b""), (bearer("ann", "T9"), b"AQ=="), (xoauth2("bob", "T1"), b"AQ==")))
def test_token_that_is_refused(all_ways, tokens, message, answer):
    """The client hears what the server says of it, whatever its mechanism, at a full second; its answer ends it."""
    with connect(all_ways) as wire:
        began = time.monotonic()
        wire.line(b"a AUTHENTICATE " + message)
        assert wire.read_line() == b"+ " + INVALID_TOKEN
        passed = time.monotonic() - began
        assert abs(passed - round(passed)) < 0.2 and round(passed) >= 1, passed
        wire.line(answer)
        assert wire.read_line() == b"a NO [AUTHENTICATIONFAILED] Authentication failed"
        assert wire.command(b"b", b"AUTHENTICATE " + xoauth2("ann", "T1"))[-1].startswith(b"b OK ")
    assert tokens.acknowledged == [b"" if message.startswith(b"X") else b"AQ=="]


def test_challenge_that_is_cancelled(all_ways, tokens):
    with connect(all_ways) as wire:
        wire.line(b"a AUTHENTICATE " + bearer("ann", "T9"))
        assert wire.read_line() == b"+ " + INVALID_TOKEN
        wire.line(b"*")
        assert wire.read_line() == b"a BAD Authentication was cancelled"
        assert wire.command(b"b", b"NOOP") == [b"b OK NOOP completed"]


def test_refused_tokens_count(all_ways, tokens):
    """As wrong passwords do, cancelled or not."""
    with connect(all_ways) as wire:
        for answer in (b"AQ==", b"*", b"anything"):
            wire.line(b"a AUTHENTICATE " + bearer("ann", "T9"))
            assert wire.read_line() == b"+ " + INVALID_TOKEN
            wire.line(answer)
            assert wire.read_line().startswith((b"a NO [AUTHENTICATIONFAILED]", b"a BAD "))
        assert wire.rest() == [b"* BYE Too many failed logins"]
    assert tokens.logins == []


@pytest.mark.parametrize("challenge", (None, b"", b"aGVsbG8=", b"{}", base64.b64encode(b'{"a":"\x1b[31m"}'),
                                       base64.b64encode(b'{"a":"' + b"x" * 3000 + b'"}')))
def test_challenge_of_a_server_that_is_none(all_ways, tokens, challenge):
    tokens.challenge = challenge
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + xoauth2("ann", "T9")) == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
    assert tokens.acknowledged == ([] if challenge is None else [b""])


@pytest.mark.parametrize("behind", ("+", "OK welcome", "NO [UNAVAILABLE] the provider is away", "BAD what"))
def test_server_that_goes_on_strangely(all_ways, tokens, behind):
    tokens.behind_challenge = behind
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + xoauth2("ann", "T9"))[-1].startswith(b"a NO [UNAVAILABLE] ")
        assert wire.command(b"b", b"NOOP") == [b"b OK NOOP completed"]
    assert tokens.logins == []


def test_server_without_tokens(all_ways, tokens):
    """It is not the user's fault, and the log says whose."""
    tokens.mechanisms = ["PLAIN"]
    mark = all_ways.mark()
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + xoauth2("ann", "T1"))[-1].startswith(b"a NO [UNAVAILABLE] ")
    all_ways.wait(r"event=backend_failed backend=old how=no_mechanism .*no AUTH=XOAUTH2", since=mark)
    assert not tokens.heard(b"T1")


@pytest.mark.parametrize("message", (
    b"XOAUTH2 =", b"XOAUTH2 " + coded("user=ann"), xoauth2("", "T1"), xoauth2("ann", ""), xoauth2("ann", "T 1"), xoauth2("an\0n", "T1"),
    xoauth2("ann", "T\r\nx LOGOUT"), xoauth2("a\x7f", "T1"), b"XOAUTH2 " + coded(b"user=a\xff\1auth=Bearer T1\1\1"), xoauth2("n" * 513, "T1"),
    bearer("", "T1"), bearer("a=2Dn", "T1"), b"OAUTHBEARER " + coded("n,,\1auth=Bearer T1\1\1"),
    b"OAUTHBEARER " + coded("p=tls-unique,a=ann,\1auth=Bearer T1\1\1"), xoauth2("ann\1user=bob", "T1"), b"OAUTHBEARER no-base64",
))
def test_message_that_is_none(all_ways, tokens, message):
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + message)[-1].startswith(b"a BAD ")
        assert wire.command(b"b", b"NOOP") == [b"b OK NOOP completed"]
    assert tokens.logins == [] and not tokens.commands("AUTHENTICATE")


def test_long_token(all_ways, tokens):
    tokens.tokens["L" * 5000] = "ann"
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + xoauth2("ann", "L" * 5000))[-1].startswith(b"a OK ")
    with connect(all_ways) as wire:
        wire.line(b"a AUTHENTICATE " + xoauth2("ann", "L" * 9000))
        assert wire.rest()[-1] == b"* BYE [CLIENTBUG] This line can't be read"


def test_no_passwords(fake_site, tokens):
    proxy = fake_site.proxy(listen=LISTEN, proxy={"mechanisms": ["OAUTHBEARER"]})
    with connect(proxy) as wire:
        assert mechanisms(wire.greeting) == [b"LOGINDISABLED", b"AUTH=OAUTHBEARER"]
        assert wire.login("ann") == b"l1 NO [CANNOT] Passwords are not taken here"
        wire.line(b"a LOGIN {3}")  # is not asked for
        assert wire.read_line().startswith(b"a NO [CANNOT] ")
        assert wire.command(b"n", b"NOOP") == [b"n OK NOOP completed"]
        assert wire.command(b"b", b"AUTHENTICATE PLAIN " + coded("\0ann\0secret"))[-1].startswith(b"b NO [CANNOT] ")
        assert wire.command(b"c", b"AUTHENTICATE " + bearer("ann", "T1"))[-1].startswith(b"c OK ")
    assert tokens.logins == [("ann", "token")]
    proxy.stop()


def test_client_that_goes_at_the_challenge(all_ways, tokens):
    """Or has ended its side before: nothing is left of it."""
    with connect(all_ways) as wire:
        wire.line(b"a AUTHENTICATE " + bearer("ann", "T9"))
        assert wire.read_line() == b"+ " + INVALID_TOKEN
    with connect(all_ways) as wire:
        wire.line(b"a AUTHENTICATE " + bearer("ann", "T9"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.rest() in ([b"+ " + INVALID_TOKEN], [])
    with connect(all_ways) as wire:
        assert wire.command(b"a", b"AUTHENTICATE " + bearer("ann", "T1"))[-1].startswith(b"a OK ")
    assert tokens.logins == [("ann", "token")]
