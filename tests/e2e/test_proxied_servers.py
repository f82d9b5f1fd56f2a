"""What servers hear of whose connection it is: PROXY headers to real ones, hand-overs and migrators included, and what
`imapferryctl check` says where a server and its section disagree. And what a Dovecot does that does not know users apart."""
import re

import pytest

from fakes.fake_imap import FakeImap
from harness import dovecot_conf, header, net
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import backend
from harness.header import Gate
from harness.scene import Wire, assert_equal, fill, new_user, small

CLIENT = "192.0.2.9"
MANUAL = {"migration": {"trigger": "manual", "cutover": "manual"}}
IN = ("imap://127.0.0.1:0?proxy_protocol",)
TRUSTED = {"trusted": ["127.0.0.1"], "allow_plaintext": True}


@pytest.fixture(name="old", scope="module")
def fixture_old(cert):
    with Dovecot("old", separator=".", prefix="INBOX.", cert=cert, header=True) as server:
        yield server


@pytest.fixture(name="new", scope="module")
def fixture_new(cert):
    with Dovecot("new", mail="mdbox", cert=cert, header=True) as server:
        yield server


def client_of(proxy, user, first=header.v2(CLIENT, 40000)):
    wire = Wire(proxy.addresses[0])
    wire.send(first)
    assert wire.read_line().startswith(b"* OK ")
    assert wire.login(user).startswith(b"l1 OK")
    return wire


def addresses(server, user):
    """From where Dovecot says that this user has come, in the order of its log."""
    return re.findall(rf"(?:Login|Logged in): user=<{re.escape(user)}>,.* rip=([^,]+),", server.log())


@pytest.mark.parametrize("versions", [("v1", "v2"), ("v2", "v1")], ids="-".join)
def test_dovecot_hears_of_clients_over_a_hand_over_too(make_ferry, authority, old, new, versions):
    """Users by their own addresses, at the login and where their sessions go on; migrators, who have no client, by theirs."""
    ferry = make_ferry({"old": backend(old, ca=authority.ca, address=old.header_url(), proxy_protocol=versions[0]),
                        "new": backend(new, ca=authority.ca, address=new.header_url("imap+starttls"), proxy_protocol=versions[1])},
                       MANUAL)
    user = new_user()
    account = fill(old, user, small(messages=6))
    direct = addresses(old, user)
    proxy, _ = ferry.proxy(IN, proxy=TRUSTED), ferry.migrator()
    with client_of(proxy, user) as wire:
        assert addresses(old, user)[len(direct):] == [CLIENT]
        assert ferry.ctl("migrate", user, "--now")[0] == 0
        ferry.wait_state(user, "flipped")
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        proxy.wait(f"event=handed_over .*user={re.escape(user)}")
        assert ferry.where(user) == {"new"}
    assert set(addresses(old, user)) == {"127.0.0.1", CLIENT}
    assert addresses(new, user).count(CLIENT) >= 1 and set(addresses(new, user)) == {"127.0.0.1", CLIENT}
    assert_equal(old, new, user, len(account.messages))


@pytest.mark.parametrize("version,scheme", [("v1", "imap"), ("v2", "imaps")])
def test_cyrus_takes_a_header_that_it_can_see_at_once(make_ferry, cert, authority, version, scheme):
    """Debian's is too old for "imapd -H": behind a gate that reads a header as a newer one does."""
    with Cyrus("cyrus", cert=cert) as cyrus, FakeImap("new") as new, Gate(("127.0.0.1", cyrus.port[scheme])) as gate:
        ferry = make_ferry({"old": backend(cyrus, ca=authority.ca, address=gate.url(scheme), proxy_protocol=version),
                            "new": backend(new, "imap")}, MANUAL)
        proxy, _ = ferry.proxy(IN, proxy=TRUSTED), ferry.migrator()
        user = new_user()
        with client_of(proxy, user) as wire:
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
            assert [header.client_of(h) for h in gate.headers].count(f"{CLIENT} 40000") == 1
        with client_of(proxy, user, header.v1("2001:db8::9", 40001, "2001:db8::2")) as wire:
            assert header.client_of(gate.headers[-1]) == "2001:db8::9 40001"
        assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(user, "ready")
        assert {header.client_of(h) for h in gate.headers} == {"", f"{CLIENT} 40000", "2001:db8::9 40001"}
        assert not gate.refused and max(map(len, gate.headers)) <= 107


def test_ring_of_proxies_ends_over_headers_too(make_ferry):
    """Each of them believes the other; what ends it is what they say of their store."""
    with FakeImap("new") as fake:
        at = lambda port: {"address": f"imap://127.0.0.1:{port}", "proxy_protocol": "v2"}  # noqa: E731
        ferry = make_ferry({"old": at(1), "new": backend(fake, "imap")})
        one, two = net.free_port(), net.free_port()
        first = ferry.proxy([f"imap://127.0.0.1:{one}?proxy_protocol"], proxy=TRUSTED, backends={"old": at(two)})
        second = ferry.proxy([f"imap://127.0.0.1:{two}?proxy_protocol"], proxy=TRUSTED, backends={"old": at(one)})
        wire = Wire(first.addresses[0])
        with wire:
            wire.send(header.v2(CLIENT))
            assert wire.read_line().startswith(b"* OK ")
            assert wire.login("ann").startswith(b"l1 NO [UNAVAILABLE]")
        assert f" peer={CLIENT}:40000 " in second.wait("event=proxy_loop .* via=127.0.0.1:.*").group(0)
        second.wait_count("event=login_failed", 1)
        assert not first.find("event=proxy_loop")


# ---- what check says


def errors_of(ferry, name):
    _, answer = ferry.ctl("check")
    return [(line["text"], line["advice"]) for line in answer["checks"] if line["of"] == name and line["level"] == "error"], answer


@pytest.mark.parametrize("scheme", ["imaps", "imap+starttls", "imap"])
def test_check_says_where_a_header_is_missing(make_ferry, authority, old, new, scheme):
    ferry = make_ferry({"old": backend(old, ca=authority.ca, address=old.header_url(scheme)), "new": backend(new, ca=authority.ca)})
    (text, advice), = errors_of(ferry, "old")[0]
    assert text == f"{old.header_url(scheme)} expects a PROXY header at this port, and is sent none: it answers where it gets one (v2)"
    assert 'proxy_protocol = "v2"' in advice


@pytest.mark.parametrize("version,scheme", [("v1", "imaps"), ("v2", "imap+starttls"), ("v1", "imap"), ("v2", "imap")])
def test_check_says_where_a_header_is_not_expected(make_ferry, authority, old, new, version, scheme):
    ferry = make_ferry({"old": backend(old, scheme, ca=authority.ca, proxy_protocol=version), "new": backend(new, ca=authority.ca)})
    found, _ = errors_of(ferry, "old")
    said = [text for text, advice in found if "Take proxy_protocol out of its section" in advice]
    assert len(said) == 1 and f'(proxy_protocol = "{version}")' in said[0], found


def test_check_of_servers_that_agree(make_ferry, authority, old, new):
    ferry = make_ferry({"old": backend(old, ca=authority.ca, address=old.header_url(), proxy_protocol="v1", check_user="ann"),
                        "new": backend(new, ca=authority.ca, check_user="ann")})
    found, answer = errors_of(ferry, "old")
    assert found == [] and answer["ok"], answer
    assert "expects a PROXY header, and takes ours (v1)" in [line["text"] for line in answer["checks"] if line["of"] == "old"]


def test_check_of_a_server_that_takes_headers_from_others_alone(make_ferry, authority, cert, new):
    with Dovecot("closed", cert=cert, header=True, extra="haproxy_trusted_networks = 192.0.2.0/24\n") as closed:
        ferry = make_ferry({"old": backend(closed, ca=authority.ca, address=closed.header_url(), proxy_protocol="v2"),
                            "new": backend(new, ca=authority.ca)})
        (_, advice), = errors_of(ferry, "old")[0]
        assert "haproxy_trusted_networks" in advice


# ---- a Dovecot's penalty

PENALTY = "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0600\n  }\n}\n"


def punished(server):
    """The addresses that Dovecot makes wait. That of Debian 13 (2.4.1) tells of none, even without a proxy: there, whom it blames."""
    if dovecot_conf.is_new():
        return set(re.findall(r"\(auth_failed\): user=<[^>]+>,.* rip=([^,]+),", server.log()))
    return {line.split()[0] for line in server.doveadm("penalty").splitlines()[1:] if line.split()[1] != "0"}


def two_wrong_passwords(proxy):
    user = new_user()
    for n in range(2):
        with Wire(proxy.addresses[0], timeout=60) as wire:
            assert wire.command(b"i", b'ID ("x-originating-ip" "192.0.2.66")')[-1].startswith(b"i OK")
            assert wire.login(user, f"wrong{n}").startswith(b"l1 NO [AUTHENTICATIONFAILED]")


@pytest.mark.parametrize("knows", [True, False], ids=["login_trusted_networks", "without"])
def test_penalty_of_dovecot_falls_on_whom_it_knows(make_ferry, cert, authority, knows):
    with Dovecot("old", cert=cert, header=knows, extra=PENALTY) as server, FakeImap("new") as new:
        ferry = make_ferry({"old": backend(server, ca=authority.ca), "new": backend(new, "imap")}, MANUAL)
        proxy = ferry.proxy(proxy={"trusted": ["127.0.0.1"]})
        two_wrong_passwords(proxy)
        assert punished(server) == {"192.0.2.66" if knows else "127.0.0.1"}
        status, answer = ferry.ctl("check", "ann@example.org")
        waited = not knows and not dovecot_conf.is_new()
        assert status in (0, 1) and ("took" in str(answer)) == waited, answer


def test_snippet_is_for_both_dovecots():
    """The harness has taken these lines; what it changes in them is there."""
    text = dovecot_conf.behind_proxies(1, 2, True)
    assert "192.0.2.1" not in text and "port = 2\n" in text and "port = 1\n" in text and "ssl = yes" in text
