"""imapferryctl check: what is wrong with servers and Redis, each in a line of its own, and where the user lacks."""
import os
import re

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import certs, net, redisd
from harness.ferry import backend
from harness.scene import new_user


@pytest.fixture(scope="module")
def fakes(cert):
    with FakeImap("old", cert=cert) as one, FakeImap("new", cert=cert, capabilities=CAPABILITIES.replace(" UNSELECT", "")) as two:
        yield one, two


@pytest.fixture(autouse=True)
def behave(fakes):
    yield
    for fake in fakes:
        fake.behave()


def check(ferry, *args, **overrides):
    """(status, all lines as "level of: text", advice of each)."""
    status, answer = ferry.ctl("check", *args, **overrides)
    lines = answer["checks"]
    assert all(line["advice"] for line in lines if line["level"] != "ok"), lines
    assert answer["ok"] == (status == 0) == all(line["level"] != "error" for line in lines), answer
    return status, [f'{line["level"]} {line["of"]}: {line["text"]}' for line in lines], answer


def advice_of(answer, of):
    return next(line["advice"] for line in answer["checks"] if line["of"] == of and line["level"] == "error")


def one(lines, *words):
    found = [line for line in lines if all(w in line for w in words)]
    assert len(found) == 1, (words, lines)
    return found[0]


def test_a_site_that_is_well(make_ferry, authority, fakes):
    ferry = make_ferry({"old": backend(fakes[0], ca=authority.ca), "new": backend(fakes[1], "imap+starttls", ca=authority.ca)})
    status, lines, _ = check(ferry)
    assert status == 0, lines
    one(lines, "ok redis", "is the master; its replicas: 0")
    one(lines, "ok redis", "keeps what it is told")
    one(lines, "ok certificate", "ends in")
    for name in ("old", "new"):
        one(lines, f"ok {name}", "its certificate is good")
        one(lines, f"ok {name}", "master_user admin signed in")
        one(lines, f"ok {name}", "8 connections at the same time were taken")
        one(lines, f"ok {name}", "6 connections as one user at the same time")
        assert "NAMESPACE" in one(lines, f"ok {name}", "can do: IMAP4rev1")
    assert "UNSELECT" not in one(lines, "ok clients", "are shown: ")
    assert one(lines, "warning clients", "old can do and new can't").endswith(": UNSELECT")
    stored = ferry.redis.client().hgetall("imapferry:backends")
    assert stored["old/by"] == stored["new/by"] == "master" and "UNSELECT" in stored["old"] and "UNSELECT" not in stored["new"]
    status, out, _ = ferry.ctl_raw("check")
    assert status == 0 and out.endswith("\n0 errors, 1 warning\n"), out
    assert out.startswith("ok       redis        redis://127.0.0.1:") and all(len(x) < 80 or " " not in x[22:] for x in out.splitlines()), out
    status, lines, _ = check(ferry, backends={"old": backend(fakes[0], ca=authority.ca, check_user="probe")})
    one(lines, "ok old", "signed in for probe")
    assert ferry.redis.client().hget("imapferry:backends", "old/by") == "user"


def test_a_server_that_is_retired_may_be_off(make_ferry, authority, fakes):
    gone = {**backend(fakes[0], ca=authority.ca), "address": f"imaps://127.0.0.1:{net.free_port()}"}
    new = backend(fakes[1], ca=authority.ca)
    ferry = make_ferry({"old": gone, "new": new})
    assert check(ferry)[0] == 1
    retired = {"old": {**gone, "retired": True}, "new": new}
    status, lines, _ = check(ferry, backends=retired)
    assert status == 0 and one(lines, " old: ") == "ok old: is retired, and is not looked at", lines
    one(lines, "ok new", "master_user admin signed in")
    status, lines, answer = check(ferry, "ann", backends=retired)
    assert status == 0 and answer["exists"] == {"new": True}, answer


def test_servers_that_take_no_tokens(make_ferry, cert, fakes):
    """Where clients may bring some: one of the two mechanisms is enough, and who has its passwords checked elsewhere needs none."""
    with FakeImap("tokens", cert=cert, capabilities=CAPABILITIES + " AUTH=OAUTHBEARER") as new:
        ferry = make_ferry({"old": backend(fakes[0], "imap"), "new": backend(new, "imap"),
                            "judged": backend(fakes[1], "imap", sign_in="master", auth_backend="new")})
        status, lines, _ = check(ferry, proxy={"mechanisms": ["PLAIN", "XOAUTH2"]})
        assert status == 0, lines
        assert one(lines, "takes no token").startswith("warning old: ") and "XOAUTH2" in one(lines, "takes no token")
        assert not [x for x in check(ferry)[1] if "token" in x]


def test_what_is_wrong_with_each_backend_is_named(make_ferry, authority, fakes):
    """All at the same time, and the names of what failed: DNS, TCP, a CA, TLS where there is none, the other way round."""
    old, new = fakes
    closed = net.free_port()
    other = certs.Authority(net.temp_folder("other-ca"))
    ferry = make_ferry({
        "old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca, max_connections=1),
        "dns": {"address": "imaps://no-such-host.invalid"}, "tcp": {"address": f"imaps://127.0.0.1:{closed}"},
        "ca": backend(new, ca=other.ca), "tls": {"address": f"imaps://127.0.0.1:{new.port['imap']}", "ca_file": authority.ca},
        "none": {"address": f"imap+starttls://127.0.0.1:{old.port['imap']}", "ca_file": authority.ca}})
    old.misbehave("strip_starttls")
    new.misbehave("no", at="login")
    status, lines, answer = check(ferry)
    net.remove_folder(os.path.dirname(other.ca))
    assert advice_of(answer, "tls").startswith("This port does not begin with TLS") and "STARTTLS" in advice_of(answer, "none")
    assert advice_of(answer, "ca").startswith("The certificate has to be signed")
    assert status == 1
    one(lines, "error dns", "can't be resolved", "(dialing)")
    one(lines, "error tcp", "refused", "(dialing)")
    one(lines, "error ca", "certificate")
    one(lines, "error tls", "(dialing)")
    one(lines, "error none", "STARTTLS")
    one(lines, "warning new", "can't sign in for itself", "the backend said NO")
    one(lines, "ok old", "master_user admin signed in")
    one(lines, "warning clients", "not known of new")
    assert not old.heard(b"styx-ferry") or all(tls for _, tls, text in old.lines if b"styx-ferry" in text)


def test_limits_on_connections(make_ferry, authority, fakes):
    old, new = fakes
    ferry = make_ferry({"old": backend(old, ca=authority.ca, max_connections=5), "new": backend(new, ca=authority.ca)})
    # The first answers the look at the server, the second the master.
    old.most_connections, new.most_signed_in = 3, 2
    try:
        status, lines, _ = check(ferry)
    finally:
        old.most_connections = new.most_signed_in = None
    assert status == 0, lines
    # A busy server may still count the connection of the step before.
    line = one(lines, "warning old", "of 5 connections at the same time (max_connections) it took ")
    assert re.search("it took [23]: ", line), line
    line = one(lines, "warning new", "of 6 connections as one user at the same time it took ")
    assert re.search("it took [12]: ", line), line


def test_a_server_that_never_answers_holds_up_nothing_else(make_ferry, authority, fakes):
    old, new = fakes
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    new.misbehave("close", at="greeting")
    status, lines, _ = check(ferry)
    assert status == 1
    one(lines, "error new", "(greeting)", "has not greeted")
    one(lines, "ok old", "6 connections as one user")


def test_two_names_of_one_server(make_ferry, fakes):
    """Everything would be on the new server at once, verified, and be gone with the old one."""
    old, _ = fakes
    ferry = make_ferry({"old": backend(old, "imap"), "new": backend(old, "imap", host="localhost")})
    status, lines, _ = check(ferry)
    assert status == 1
    one(lines, "error addresses", "lead to one server, 127.0.0.1:", "imap://localhost:")
    status, lines, _ = check(ferry, "ann@example.org")
    assert status == 1
    one(lines, "error addresses", "lead to one server, 127.0.0.1:")
    status, answer = ferry.ctl("plan", "ann@example.org")
    assert status == 1 and answer["error"].startswith("same_server: old and new lead to one server, 127.0.0.1:"), answer


def test_redis(make_ferry, authority, fakes, redis):
    sides = {"old": backend(fakes[0], ca=authority.ca), "new": backend(fakes[1], ca=authority.ca)}
    ferry = make_ferry(sides, init=False)
    status, lines, _ = check(ferry)
    assert status == 1 and "imapferryctl init" in one(lines, "error redis")
    one(lines, "ok new", "master_user admin signed in")
    ferry.init()
    redis.client().config_set("appendonly", "no")
    status, lines, _ = check(ferry)
    assert status == 1 and "nothing is migrated on it: appendonly is off" in one(lines, "error redis")
    status, lines, _ = check(ferry, redis={"url": f"redis://127.0.0.1:{net.free_port()}"})
    assert status == 1 and "refused" in one(lines, "error redis")
    status, lines, answer = check(ferry, redis={"url": f"redis://127.0.0.1:{fakes[0].port['imap']}"})
    assert 'this is no Redis (see redis: url), it says "* OK ' in one(lines, "error redis"), lines
    assert advice_of(answer, "redis").startswith("See host and port")
    redis.client().config_set("appendonly", "yes")
    redis.client().config_set("min-replicas-to-write", "1")
    status, lines, answer = check(ferry)
    assert status == 1 and "NOREPLICAS" in one(lines, "error redis") and "min-replicas-to-write" in advice_of(answer, "redis"), lines
    status, answer = ferry.ctl("status")
    assert status == 5 and "takes no writes: NOREPLICAS" in answer["error"].replace("Redis answers by an error: ", ""), answer
    redis.client().config_set("min-replicas-to-write", "0")
    redis.client().config_set("requirepass", "something")
    status, lines, answer = check(ferry)
    assert status == 1 and "Redis wants a password" in one(lines, "error redis")
    assert advice_of(answer, "redis").startswith("See url, or password_file")


def test_of_one_account(make_ferry, authority, cert, fakes):
    """Dovecot hangs up without a word where a master signs in for a user it does not know; others say NO."""
    old, new = fakes
    user = new_user("check")
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    status, lines, answer = check(ferry, user)
    assert status == 0 and answer["user"] == user and answer["exists"] == {"old": True, "new": True}, answer
    one(lines, f"{user} lives on old (resting)")
    assert ferry.redis.client().hget("imapferry:backends", "new/by") == "user"
    new.misbehave("close", at="login", times=1)
    status, lines, answer = check(ferry, user)
    assert status == 1 and answer["exists"] == {"old": True, "new": False}
    one(lines, "error new", "can't be signed in for", "Dovecot hangs up")
    new.misbehave("no", at="login", times=1)
    status, lines, answer = check(ferry, user)
    assert answer["exists"]["new"] is False and "said NO" in one(lines, "error new")
    status, lines, answer = check(ferry, user, backends={"new": backend(new, ca=authority.ca, master=False)})
    assert status == 0 and answer["exists"] == {"old": True, "new": None}
    one(lines, "warning new", "can't be known", "no master_user")
    status, out, error = ferry.ctl_raw("check", "not a\x01name")
    assert status == 2, (out, error)


def test_without_the_passwords_of_masters(make_ferry, authority, fakes):
    """On a host of proxies alone: the rest is looked at."""
    ferry = make_ferry({"old": backend(fakes[0], ca=authority.ca), "new": backend(fakes[1], ca=authority.ca)})
    os.remove(ferry._secret)  # pylint: disable=protected-access
    status, lines, _ = check(ferry)
    assert status == 0
    one(lines, "warning file", "master.secret")
    for name in ("old", "new"):
        one(lines, f"ok {name}", "8 connections")
        one(lines, f"warning {name}", "can't be read here")
