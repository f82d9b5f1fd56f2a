"""Logins that fail, backends that fail, and input that no client sends by accident."""
import base64
import re

import pytest

from fakes.fake_imap import FakeImap
from harness import compare, mail, net
from harness.ferry import backend, standing
from harness.scene import assert_equal, connect, fill, new_user, read, small

FAST = {"proxy": {"connect_timeout": "700ms", "backend_timeout": "700ms", "tls_timeout": "700ms",
                  "login_timeout": "6s"}, "migrator": {"command_timeout": "1s"}}


def stored(ferry):
    """Everything in Redis, but for what proxies write all the time to show that they live: of that, which they are."""
    client = ferry.redis.client(decode=False)
    alive = (b"imapferry:proxies", b"imapferry:instances")
    return {key: client.dump(key) for key in client.keys("*") if key not in alive}, [set(client.hkeys(key)) for key in alive]


@pytest.fixture(scope="module")
def fast_site(server, new, authority, cert):
    """imapferry in front of `server`, for tests that need no fresh one: a login makes a job, which nobody takes."""
    with standing({"old": backend(server, "imap"), "new": backend(new, ca=authority.ca)}, cert, FAST) as ferry:
        yield ferry


@pytest.fixture(scope="module")
def fast_proxy(fast_site):
    return fast_site.proxy()


@pytest.fixture(scope="module")
def hasty_proxy(fast_site):
    return fast_site.proxy(proxy={"login_timeout": "2s"})


@pytest.fixture
def idle_site(fast_site):
    """Nobody is signed in any more."""
    net.wait_until("end of all sessions", lambda: not fast_site.redis.client().keys("imapferry:sessions:*"))
    return fast_site


# ---- wrong passwords

def test_wrong_password_writes_nothing(ferry, old):
    proxy = ferry.proxy()
    before = stored(ferry)
    with connect(proxy) as wire:
        answer = wire.login(new_user(), "wrong")
        assert answer.startswith(b"l1 NO [AUTHENTICATIONFAILED]")
        assert wire.login(new_user(), "wrong", b"l2").startswith(b"l2 NO [AUTHENTICATIONFAILED]")
    assert stored(ferry) == before
    assert ferry.redis.client().xlen("imapferry:jobs") == 0


@pytest.mark.parametrize("name", [b"old\0", b"old\0new", b"old ", b"ol", b"\0", b""])
def test_route_that_names_no_backend(fast_site, fast_proxy, fake, name):
    """A password goes nowhere but to a backend that the configuration has by just this name."""
    user = new_user()
    fast_site.redis.client(decode=False).hset(f"imapferry:route:{user}", mapping={"backend": name, "state": "settled", "epoch": 3,
                                                                                 "generation": 1})
    with connect(fast_proxy) as wire:
        assert wire.login(user, "hunter2").startswith(b"l1 NO [UNAVAILABLE]")
        assert wire.login(new_user(), "secret", b"l2").startswith(b"l2 OK")
    assert not fake.heard(b"hunter2")


def test_right_password_after_a_wrong_one(ferry, old):
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        user = new_user()
        assert wire.login(user, "wrong").startswith(b"l1 NO")
        assert wire.login(user, "secret", b"l2").startswith(b"l2 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")


def test_too_many_wrong_passwords_end_the_connection(ferry, old):
    proxy = ferry.proxy(proxy={"login_tries": 2})
    with connect(proxy) as wire:
        assert wire.login("ann", "wrong").startswith(b"l1 NO")
        wire.send(b"b LOGIN ann wrong\r\n")
        lines = wire.rest()
        assert any(x.startswith(b"* BYE") for x in lines), lines


@pytest.mark.parametrize("code,shown", [
    ("[AUTHENTICATIONFAILED]", b"[AUTHENTICATIONFAILED]"), ("", b"[AUTHENTICATIONFAILED]"),
    ("[EXPIRED]", b"[EXPIRED]"), ("[AUTHORIZATIONFAILED]", b"[AUTHORIZATIONFAILED]"),
    ("[CONTACTADMIN]", b"[CONTACTADMIN]"), ("[UNAVAILABLE]", b"[UNAVAILABLE]"),
    ("[ALERT]", b"[AUTHENTICATIONFAILED]"), ("[REFERRAL imap://evil.example/]", b"[UNAVAILABLE]"),
])
def test_code_of_the_backend_is_passed_on(idle_site, fast_proxy, fake, code, shown):
    fake.misbehave("no", at="login", code=code)
    before = stored(idle_site)
    with connect(fast_proxy) as wire:
        answer = wire.login(new_user())
        assert answer.startswith(b"l1 NO " + shown), answer
        assert b"fake" not in answer and b"evil" not in answer, "the backend's own words were passed on"
    assert stored(idle_site) == before


# ---- backends that are down or hang

PHASES = [(kind, at) for at in ("greeting", "capability", "login")
          for kind in ("hang", "close", "bye", "endless", "wrong_tag") if (kind, at) != ("wrong_tag", "greeting")]


@pytest.mark.parametrize("kind,at", PHASES)
def test_backend_that_fails(idle_site, fast_proxy, fake, kind, at):
    before = stored(idle_site)
    fake.misbehave(kind, at=at)
    user = new_user()
    with connect(fast_proxy) as wire:
        answer = wire.login(user)
        assert answer.startswith(b"l1 NO [UNAVAILABLE]"), answer
        assert stored(idle_site) == before
        fake.behave()
        assert wire.login(user, tag=b"l2").startswith(b"l2 OK")


@pytest.mark.parametrize("kind", ["hang", "no"])
def test_logout_that_the_backend_does_not_see_to(make_ferry, fake, new, authority, kind):
    ferry = make_ferry({"old": backend(fake, "imap"), "new": backend(new, ca=authority.ca)},
                       {"proxy": {"close_timeout": "700ms"}})
    with connect(ferry.proxy()) as wire:
        assert wire.login(new_user()).startswith(b"l1 OK")
        fake.misbehave(kind, at="logout", times=1)
        if kind == "hang":
            wire.line(b"b LOGOUT")
            assert wire.rest() == [b"* BYE Logging out", b"b OK Logout completed"]
        else:
            assert wire.command(b"b", b"LOGOUT")[-1].startswith(b"b NO")
            assert wire.command(b"c", b"NOOP")[-1].startswith(b"c OK")
            wire.line(b"d LOGOUT")
            assert wire.rest()[-1].startswith(b"d OK")


def test_backend_that_nobody_listens_at(make_ferry, old, new, authority):
    closed = FakeImap(name="old")
    section = backend(closed, "imap")
    closed.close()
    ferry = make_ferry({"old": section, "new": backend(new, ca=authority.ca)}, FAST)
    with connect(ferry.proxy()) as wire:
        assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")


def test_backend_that_hangs_in_the_tls_handshake(make_ferry, new, cert, authority):
    with FakeImap(name="old", cert=cert) as fake:
        fake.misbehave("hang", at="tls")
        ferry = make_ferry({"old": backend(fake, "imaps", authority.ca), "new": backend(new, ca=authority.ca)}, FAST)
        with connect(ferry.proxy()) as wire:
            assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")


@pytest.mark.parametrize("kind", ["hang", "close", "bye", "no"])
def test_backend_that_fails_at_starttls(make_ferry, new, cert, authority, kind):
    with FakeImap(name="old", cert=cert) as fake:
        ferry = make_ferry({"old": backend(fake, "imap+starttls", authority.ca), "new": backend(new, ca=authority.ca)}, FAST)
        proxy = ferry.proxy()
        fake.misbehave(kind, at="starttls")
        user = new_user()
        with connect(proxy) as wire:
            assert wire.login(user).startswith(b"l1 NO [UNAVAILABLE]")
            assert not fake.heard(b"secret") and not fake.commands("LOGIN|AUTHENTICATE")
            fake.behave()
            assert wire.login(user, tag=b"l2").startswith(b"l2 OK")


@pytest.mark.parametrize("at", ["greeting", "login", "list", "select", "append", "append_literal", "fetch"])
@pytest.mark.parametrize("kind", ["hang", "close"])
def test_target_that_fails_while_copying(make_ferry, old, authority, kind, at):
    """The user stays on the old server, with a reason; when the target is well again the account moves by itself."""
    user = new_user()
    fill(old, user, small(messages=12))
    with FakeImap(name="new") as target:
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")}, FAST)
        target.misbehave(kind, at=at)
        proxy = ferry.proxy()
        ferry.login(proxy, user, "secret")
        ferry.migrator()
        route = ferry.wait_state(user, "backoff")
        assert route["backend"] == "old"
        assert re.match(r"unreachable: .*\b(new|target)\b", route["reason"]), route["reason"]
        ferry.login(proxy, user, "secret")
        target.behave()
        target.drop_all()
        ferry.wait_state(user, "flipped")


@pytest.mark.parametrize("at", ["login", "list", "select", "fetch", "fetch_literal"])
@pytest.mark.parametrize("kind", ["hang", "close"])
def test_source_that_fails_while_copying(make_ferry, new, authority, kind, at):
    user = new_user()
    with FakeImap(name="old") as source:
        m = mail.connect(source, user, "secret")
        mail.load(small(messages=12), m)
        m.logout()
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)}, FAST)
        source.misbehave(kind, at=at)
        ferry.migrator()
        assert ferry.ctl("migrate", user)[0] == 0
        route = ferry.wait_state(user, "backoff")
        assert route["backend"] == "old"
        assert re.match(r"unreachable: .*\b(old|source)\b", route["reason"]), route["reason"]
        source.behave()
        source.drop_all()
        ferry.wait_state(user, "flipped")
        found = compare.compare(read(source, user), read(new, user), 12)
        assert {d.kind for d in found} <= {"special-use"}, found


# ---- TLS to backends: refused before anything secret is said

def bad_certificates(authority):
    return {
        "wrong name": authority.issue("wrong", names=("mail.example.net",)),
        "expired": authority.issue("expired", expired=True),
        "self-signed": authority.issue("selfsigned", self_signed=True),
    }


@pytest.mark.parametrize("scheme", ["imaps", "imap+starttls"])
@pytest.mark.parametrize("what", ["wrong name", "expired", "self-signed"])
def test_certificate_that_does_not_hold(make_ferry, old, authority, what, scheme):
    with FakeImap(cert=bad_certificates(authority)[what]) as fake:
        ferry = make_ferry({"old": backend(fake, scheme, authority.ca), "new": backend(old, ca=authority.ca)}, FAST)
        with connect(ferry.proxy()) as wire:
            assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")
        assert fake.connections > 0 and not fake.heard(b"secret") and not fake.commands("LOGIN|AUTHENTICATE")


@pytest.mark.parametrize("what", ["wrong name", "expired", "self-signed", "stripped"])
def test_migrator_refuses_it_too(make_ferry, old, cert, authority, what):
    user = new_user()
    fill(old, user, small(messages=3))
    certificate = cert if what == "stripped" else bad_certificates(authority)[what]
    with FakeImap(cert=certificate) as fake:
        if what == "stripped":
            fake.misbehave("strip_starttls")
        ferry = make_ferry({"old": backend(old, ca=authority.ca),
                            "new": backend(fake, "imap+starttls" if what == "stripped" else "imaps", authority.ca)}, FAST)
        ferry.login(ferry.proxy(), user, "secret")
        ferry.migrator()
        route = ferry.wait_state(user, "backoff", "blocked")
        assert route["reason"].startswith("tls: new") and route["backend"] == "old", route["reason"]
        assert fake.connections > 0 and not fake.heard(b"styx-ferry") and not fake.heard(b"secret")
        assert not fake.commands("LOGIN|AUTHENTICATE")


def test_stripped_starttls(make_ferry, old, cert, authority):
    with FakeImap(cert=cert) as fake:
        fake.misbehave("strip_starttls")
        ferry = make_ferry({"old": backend(fake, "imap+starttls", authority.ca), "new": backend(old, ca=authority.ca)}, FAST)
        with connect(ferry.proxy()) as wire:
            assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")
        assert fake.connections > 0 and not fake.heard(b"secret") and not fake.commands("LOGIN|AUTHENTICATE")


# ---- hostile input

def still_serves(proxy):
    with connect(proxy) as wire:
        assert wire.login(new_user()).startswith(b"l1 OK")


LONG = b"x" * 70000
REFUSED = {  # what is sent -> what the lines that come back must begin with, "" = only that the connection ends well
    "line without an end": (LONG, (b"* BYE", b"* BAD", b"a BAD")),
    "over-long line": (b"a LOGIN " + LONG + b" secret\r\n", (b"* BYE", b"* BAD", b"a BAD")),
    "literal bomb": (b"a LOGIN {4294967296}\r\n", (b"a BAD", b"* BYE", b"* BAD")),
    "literal bomb without waiting": (b"a LOGIN {4000000000+}\r\n", (b"* BYE", b"* BAD", b"a BAD")),
    "literal over all numbers": (b"a LOGIN {18446744073709551617}\r\n", (b"a BAD", b"* BYE", b"* BAD")),
    "negative literal": (b"a LOGIN {-1}\r\n", (b"a BAD", b"* BAD", b"* BYE")),
    "literal- over its limit": (b"a LOGIN {5000+}\r\n", (b"a BAD", b"* BAD", b"* BYE")),
    "NUL in a quoted name": (b'a LOGIN "a\0b" secret\r\n', (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "NUL in a literal password": (b"a LOGIN ann {8+}\r\nsec\0ret1\r\n", (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "CR LF in a literal name": (b"a LOGIN {25+}\r\nann\r\nX1 DELETE INBOX.Sent \r\n secret\r\n", (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "8-bit name that is not UTF-8": (b"a LOGIN {3+}\r\n\xff\xfe\x80 secret\r\n", (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "8-bit in an atom": (b"a LOGIN \xfcmlaut secret\r\n", (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "control in a name": (b'a LOGIN "a\x1bb" secret\r\n', (b"a BAD", b"a NO", b"* BAD", b"* BYE")),
    "parentheses": (b"a ID " + b"(" * 5000 + b"\r\n", (b"a BAD", b"* BAD", b"* BYE")),
    "no tag": (b"\r\n\r\n\r\n\r\n", (b"* BAD", b"* BYE")),
    "bad base64": (b"a AUTHENTICATE PLAIN !!!!\r\n", (b"a BAD", b"a NO")),
    "PLAIN with NUL in its password": (b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0ann\0se\0cret") + b"\r\n", (b"a BAD", b"a NO")),
    "PLAIN without fields": (b"a AUTHENTICATE PLAIN " + base64.b64encode(b"ann") + b"\r\n", (b"a BAD", b"a NO")),
    "PLAIN for somebody else": (b"a AUTHENTICATE PLAIN " + base64.b64encode(b"bob\0ann\0secret") + b"\r\n", (b"a NO",)),
    "cancelled": (b"a AUTHENTICATE PLAIN\r\n*\r\n", (b"a BAD", b"+")),
    "unknown mechanism": (b"a AUTHENTICATE X-NONE\r\n", (b"a NO", b"a BAD")),
    "HTTP": (b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\nC: d\r\n\r\n", (b"POST BAD", b"* BAD", b"* BYE")),
    "bare LF": (b"a LOGIN ann secret\n", (b"* BAD", b"a BAD", b"* BYE")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_hostile_login(fast_site, hasty_proxy, fake, what):
    """An answer of BAD, NO or BYE, nothing at the backend, and the next client is served."""
    sent, allowed = REFUSED[what]
    routes = set(fast_site.redis.client().keys("imapferry:route:*"))
    with connect(hasty_proxy) as wire:
        wire.send(sent)
        first = wire.read_line()
        assert first.startswith(allowed), first
    assert not fake.commands("LOGIN|AUTHENTICATE|DELETE"), fake.lines
    assert set(fast_site.redis.client().keys("imapferry:route:*")) == routes
    still_serves(hasty_proxy)


def test_starttls_injection(make_ferry, old, new, authority):
    """What stands behind STARTTLS in the same segment is an attack: never run, neither before nor after TLS."""
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    proxy = ferry.proxy(["imap+starttls://127.0.0.1:0"])
    with connect(proxy) as wire:
        wire.send(b"a STARTTLS\r\nb LOGIN evil secret\r\n")
        lines = wire.rest()
        assert not any(x.startswith((b"b OK", b"b NO")) for x in lines), lines
    assert ferry.redis.client().keys("imapferry:route:*") == []


def test_connection_that_says_nothing_is_closed(fast_site):
    proxy = fast_site.proxy(proxy={"login_timeout": "500ms"})
    with connect(proxy) as wire:
        assert wire.rest()[-1].startswith(b"* BYE")


def test_slow_typist_is_closed_too(fast_site):
    """The deadline is for the whole login, not for each byte."""
    proxy = fast_site.proxy(proxy={"login_timeout": "1s"})
    with connect(proxy, timeout=0.1) as wire:
        for _ in range(100):
            try:
                wire.send(b"x")
                if wire.socket.recv(4096):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("ten seconds of one byte every tenth of a second, and still connected")


def test_one_byte_at_a_time(ferry, old):
    user = new_user().encode()
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        for byte in b"a LOGIN {%d+}\r\n%s {6+}\r\nsecret\r\nb NOOP\r\n" % (len(user), user):
            wire.send(bytes([byte]))
        assert wire.until(b"a ")[-1].startswith(b"a OK")
        assert wire.until(b"b ")[-1].startswith(b"b OK")


ODD_NAMES = ['a"b', "a\\b", "a b", "a%b", "a%sb", "a%{x}b", "a(b)", "a{5}", "a]b[", "ümlaut", "日本", "a:b:c", "a?b", "a/b",
             "a'b", "a$b", "a;b", "a#b", "a,b", "a=b&c", "a|b", "a<b>", "a`id`", "a~b", "a^b!",
             "route:other", "imapferry:store", "{user}", "NIL", "INBOX", "..", "+a+b", "[a-z]", "-a"]


def test_odd_user_names(fast_site, fast_proxy, fake):
    """The name reaches the backend as it was typed, and has keys of its own in Redis."""
    client = fast_site.redis.client()
    for name in ODD_NAMES:
        before = set(client.keys("*"))
        with connect(fast_proxy) as wire:
            assert wire.login(name).startswith(b"l1 OK"), name
            assert (name, "user") in fake.logins
            made = set(client.keys("*")) - before
            routes = [k for k in made if k.startswith("imapferry:route:")]
            assert len(routes) == 1, (name, made)
            assert all(c.isalnum() or c in "@._-+=%" for c in routes[0].removeprefix("imapferry:route:")), made
            status, answer = fast_site.ctl("user", "--", name)
            assert status == 0 and answer["state"] == "queued", (name, answer)


def test_odd_user_name_is_migrated(ferry, old, new):
    user = 'odd "name" \\ (with) {5} %s ü@example.org'
    fill(old, user, small(messages=8))
    proxy = ferry.proxy()
    ferry.migrator()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
    key = [k for k in ferry.redis.client().keys("imapferry:route:*")][0].removeprefix("imapferry:route:")
    ferry.wait_state(key, "flipped")
    assert_equal(old, new, user, 8)


def test_spellings_of_one_name_are_one_account(make_ferry, backends, old):
    ferry = make_ferry(backends, {"migration": {"default_domain": "example.org"}})
    proxy = ferry.proxy()
    for name in ("carol", "Carol", "CAROL@example.org", "carol@Example.ORG"):
        with connect(proxy) as wire:
            assert wire.login(name).startswith(b"l1 OK")
    assert ferry.redis.client().keys("imapferry:route:*") == ["imapferry:route:carol@example.org"]
    assert ferry.redis.client().xlen("imapferry:jobs") == 1


# ---- what a login asks the store

def test_repeated_login_reads_no_route(make_ferry, backends, old):
    """The route is known from the login before, until the account moves."""
    ferry = make_ferry(backends, {"migration": {"trigger": "manual"}})
    user, proxy = new_user(), ferry.proxy()
    fill(old, user, small())

    def routes_read():
        """By a login: what the script `where` asks Redis for."""
        with ferry.redis.client().monitor() as monitor:
            ferry.login(proxy, user, "secret").logout()
            ferry.redis.client().echo("behind the login")
            heard = []
            for command in monitor.listen():
                heard.append(command["command"])
                if "behind the login" in command["command"]:
                    return sum(f"route:{user} backend state epoch generation source target deadline view" in x for x in heard)

    assert [routes_read() for _ in range(3)] == [1, 0, 0]
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    ferry.wait_state(user, "flipped")
    net.wait_until("settled", lambda: ferry.route(user)["state"] == "settled")
    net.wait_until("news of the move", lambda: routes_read() == 1)
    client = ferry.login(proxy, user, "secret")
    assert ferry.where(user) == {"new"}
    client.logout()
