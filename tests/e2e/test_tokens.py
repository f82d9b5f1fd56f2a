"""Users who sign in by the token of an identity provider, on real servers that ask it: at login, over a move, and for the migrator."""
import base64
import contextlib
import json
import os
import re
import subprocess

import pytest

from fakes.fake_imap import FakeImap
from harness import dovecot, dovecot_conf, net
from harness.ferry import backend
from harness.provider import Provider
from harness.scene import assert_equal, connect, fill, new_user, small

WAYS = {"proxy": {"mechanisms": ["PLAIN", "XOAUTH2", "OAUTHBEARER"]}}


@pytest.fixture(scope="module", name="provider")
def fixture_provider():
    with Provider() as made:
        yield made


@pytest.fixture(scope="module", name="servers")
def fixture_servers(provider):
    with dovecot.Dovecot("old", separator=".", prefix="INBOX.", provider=provider) as old, dovecot.Dovecot("new", provider=provider) as new:
        yield old, new


@pytest.fixture(name="site")
def fixture_site(make_ferry, servers):
    """site(master of old, of new, settings): nobody knows a password of a user, and migrators have keys."""
    def make(old_master=False, new_master=False, **migration):
        ferry = make_ferry({"old": backend(servers[0], "imap", master=old_master), "new": backend(servers[1], "imap", master=new_master)},
                           dict(WAYS, migration=migration))
        ferry.seal_keys()
        return ferry
    return make


def message(user, token, mechanism="OAUTHBEARER"):
    head = f"user={user}\1" if mechanism == "XOAUTH2" else f"n,a={user},\1"
    return f"AUTHENTICATE {mechanism} ".encode() + base64.b64encode(f"{head}auth=Bearer {token}\1\1".encode())


def sign_in(proxy, user, token, mechanism="OAUTHBEARER"):
    wire = connect(proxy)
    answer = wire.command(b"s", message(user, token, mechanism))[-1]
    assert answer.startswith(b"s OK [CAPABILITY "), answer
    return wire


@pytest.mark.parametrize("mechanism,end", (("XOAUTH2", b""), ("OAUTHBEARER", b"AQ==")))
def test_sign_in(site, provider, mechanism, end):
    user = new_user("to=ken")
    proxy = site(trigger="manual").proxy()
    token = provider.issue(user)
    name = user.replace("=", "=3D") if mechanism == "OAUTHBEARER" else user
    with sign_in(proxy, name, token, mechanism) as wire:
        assert wire.command(b"a", b"SELECT INBOX")[-1].startswith(b"a OK")
    for wrong in (token[:-1], provider.issue("somebody@example.org")):
        with connect(proxy) as wire:
            wire.line(b"a " + message(name, wrong, mechanism))
            line = wire.read_line()
            if line.startswith(b"+ "):
                assert "status" in json.loads(base64.b64decode(line[2:])), line
                wire.line(end)
                line = wire.read_line()
            else:
                assert dovecot_conf.is_new(), "2.4 says why for some tokens alone"
            assert line == b"a NO [AUTHENTICATIONFAILED] Authentication failed"


def test_live_session_goes_over(site, servers, provider):
    """Its token signs it in at the new server, while the migrator moves the account as the master."""
    user = new_user("live")
    fill(servers[0], user, small(messages=10))
    ferry = site(True, True, cutover="manual")
    proxy = ferry.proxy()
    wire = sign_in(proxy, user, provider.issue(user))
    assert wire.command(b"a", b"SELECT INBOX")[-1].startswith(b"a OK")
    ferry.migrator()
    ferry.wait_state(user, "ready")
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")
    assert wire.command(b"b", b"NOOP")[-1].startswith(b"b OK")
    assert ferry.where(user) == {"new"}
    wire.close()
    assert_equal(servers[0], servers[1], user, 10)


def test_live_session_whose_token_has_expired(site, servers, provider):
    """It can't go over, and does not keep the account: the client hears BYE, and comes back with a fresh token."""
    user = new_user("late")
    fill(servers[0], user, small(messages=3))
    ferry = site(True, True, cutover="manual")
    proxy = ferry.proxy()
    token = provider.issue(user)
    wire = sign_in(proxy, user, token)
    ferry.migrator()
    ferry.wait_state(user, "ready")
    provider.expire(token)
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")
    assert wire.rest()[-1].startswith(b"* BYE [UNAVAILABLE] ")
    proxy.wait(r"event=not_handed_over .*why=old_token")
    sign_in(proxy, user, provider.issue(user)).close()
    assert_equal(servers[0], servers[1], user, 3)


@pytest.mark.parametrize("mechanism", ("XOAUTH2", "OAUTHBEARER"))
def test_migrator_works_by_the_token(site, servers, provider, mechanism):
    user = new_user("sealed")
    fill(servers[0], user, small(messages=10))
    ferry = site()
    token = provider.issue(user)
    proxy = ferry.proxy()
    sign_in(proxy, user, token, mechanism).close()
    secret = ferry.redis.client(decode=False).get(f"imapferry:secret:{user}")
    assert secret and token.encode() not in secret
    migrator = ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert_equal(servers[0], servers[1], user, 10)
    assert not [x for d in (proxy, migrator) for x in d.lines if token in x]


def test_token_is_nobodys_password(site, servers, provider):
    """A program that makes accounts is told that there is one, and not which."""
    user = new_user("made")
    fill(servers[0], user, small(messages=3))
    ferry = site(True, True)
    path = os.path.join(ferry.folder, "provision")
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\ncat >$0.said\n")
    os.chmod(path, 0o755)
    ferry.backends["new"].update(provision=[path], provision_password=True)
    sign_in(ferry.proxy(), user, provider.issue(user)).close()
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    with open(path + ".said", encoding="utf-8") as f:
        assert f.read() == "OAUTHBEARER\n"


def test_token_expires_before_the_move(site, servers, provider):
    """The reason says so, and what to do; the account waits for the next login, which brings a fresh one, and moves."""
    user = new_user("expired")
    fill(servers[0], user, small(messages=5))
    ferry = site()
    proxy = ferry.proxy()
    token = provider.issue(user)
    sign_in(proxy, user, token).close()
    provider.expire(token)
    ferry.migrator()
    route = ferry.wait_state(user, "backoff")
    assert re.match("credentials: (old|new): the user's token is refused, so it may have expired: .*(invalid_token|internal_failure)", route["reason"]), route
    assert route["next_try"] == "0"
    text = ferry.ctl_raw("user", user)[1]
    assert "Goes on at the user's next login" in text and "fresh" in text, text
    sign_in(proxy, user, provider.issue(user)).close()
    ferry.wait_state(user, "flipped")
    assert_equal(servers[0], servers[1], user, 5)


def test_fresh_token_that_came_meanwhile_is_taken(site, servers, provider):
    """A login brought one while the job still had the old one: nobody has to log in once more."""
    user = new_user("meanwhile")
    fill(servers[0], user, small(messages=5))
    ferry = site(cutover="manual")
    proxy = ferry.proxy()
    first, second = provider.issue(user), provider.issue(user)
    sign_in(proxy, user, first).close()
    ferry.migrator()
    ferry.wait_state(user, "ready")
    sign_in(proxy, user, second).close()
    provider.expire(first)
    for server in servers:
        with contextlib.suppress(subprocess.CalledProcessError):  # there may be none
            server.doveadm("kick", user)
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")
    assert_equal(servers[0], servers[1], user, 5)


def test_master_s_password_is_not_the_user_s(make_ferry, servers):
    """What somebody else signs in with is never sealed as the user's."""
    user = new_user("helped")
    fill(servers[0], user, small(messages=3))
    ferry = make_ferry({"old": backend(servers[0], "imap", master=False), "new": backend(servers[1], "imap", master=False)},
                       {"proxy": {"masters": [dovecot.MASTER_USER]}})
    ferry.seal_keys()
    proxy = ferry.proxy()
    with connect(proxy) as wire:
        plain = base64.b64encode(f"{user}\0{dovecot.MASTER_USER}\0{dovecot.MASTER_PASSWORD}".encode())
        assert wire.command(b"a", b"AUTHENTICATE PLAIN " + plain)[-1].startswith(b"a OK ")
        assert wire.command(b"b", b"SELECT INBOX")[-1].startswith(b"b OK ")
    assert not ferry.redis.client().exists(f"imapferry:secret:{user}")
    ferry.migrator()
    assert ferry.wait_state(user, "backoff")["reason"].startswith("credentials: no password or token of the user is at hand")
    ferry.login(proxy, user, dovecot.PASSWORD).logout()
    ferry.wait_state(user, "flipped")
    assert_equal(servers[0], servers[1], user, 3)


def test_new_server_without_tokens(make_ferry, servers, provider):
    """Whoever signs in by them could not use it: the account stays, with that reason."""
    user = new_user("nowhere")
    fill(servers[0], user, small(messages=3))
    with FakeImap("new") as new:
        ferry = make_ferry({"old": backend(servers[0], "imap"), "new": backend(new, "imap")}, WAYS)
        wire = sign_in(ferry.proxy(), user, provider.issue(user))
        ferry.migrator()
        route = net.wait_until("the reason", lambda: ferry.route(user) if "offers no AUTH=" in ferry.route(user).get("reason", "") else None)
        assert route["reason"].startswith("refused: new does not let the user in: the backend offers no AUTH=OAUTHBEARER"), route
        assert wire.command(b"a", b"NOOP")[-1].startswith(b"a OK")
        assert ferry.where(user) == {"old"}
        wire.close()
