"""Clients that show a certificate: where it is asked for, where it must be there, and that no ticket stands in for it."""
import base64
import os
import shutil
import socket
import ssl
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import certs, net, redisd
from harness.ferry import Ferry, backend
from harness.scene import Wire, change

LISTEN = ["imaps://127.0.0.1:0", "imaps://localhost:0", "imap+starttls://localhost:0"]


@pytest.fixture(name="people", scope="module")
def fixture_people():
    """An authority of clients, which is none of servers."""
    folder = net.temp_folder("people")
    yield certs.Authority(folder)
    net.remove_folder(folder)


class Client:
    def __init__(self, ca, pair=None, version=ssl.TLSVersion.TLSv1_3):
        self.context = ssl.create_default_context(cafile=ca)
        self.context.minimum_version = self.context.maximum_version = version
        if pair:
            self.context.load_cert_chain(*pair)
        self.session, self.resumed = None, False

    def comes(self, proxy, listener=1):
        """Is it greeted?"""
        scheme, _, rest = proxy.addresses[listener].partition("://")
        host, _, port = rest.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=20) as plain:
                if scheme == "imap+starttls":
                    assert plain.recv(1000).startswith(b"* OK ")
                    plain.sendall(b"a STARTTLS\r\n")
                    assert plain.recv(1000).startswith(b"a OK")
                with self.context.wrap_socket(plain, server_hostname="localhost", session=self.session) as s:
                    if scheme == "imap+starttls":
                        s.sendall(b"a NOOP\r\n")
                    if s.recv(1000) == b"":
                        return False
                    self.session, self.resumed = s.session, s.session_reused
                    return True
        except (ssl.SSLError, ConnectionError):
            return False


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))
def test_required(tls_site, authority, people, version):
    """FRONT: a certificate, of the right authority, in its time, for clients; and the other port asks for none."""
    proxy = tls_site.proxy(listen=LISTEN, proxy={"tls_client_ca": people.ca, "tls_client_required": True, "tls_client_listen": LISTEN[1:]})
    ann = people.issue("ann", ["ann@example.org", "a.b@example.org"], usage="clientAuth")
    for listener in (1, 2):
        assert Client(authority.ca, ann, version).comes(proxy, listener)
        proxy.wait(r'event=client_certificate session=\S+ peer=\S+ subject="?CN=ann"? email=ann@example\.org')
        assert not Client(authority.ca, None, version).comes(proxy, listener)
        for pair in (authority.issue("ann", ["ann@example.org"], usage="clientAuth"), people.issue("ann", ["ann@example.org"]),
                     people.issue("ann", ["ann@example.org"], usage="clientAuth", expired=True),
                     people.issue("ann", ["ann@example.org"], usage="clientAuth", self_signed=True)):
            assert not Client(authority.ca, pair, version).comes(proxy, listener)
    assert Client(authority.ca, None, version).comes(proxy, 0)
    proxy.wait_count("event=client_certificate ", 2)
    proxy.stop()


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))
def test_no_session_stands_in_for_a_certificate(tls_site, authority, people, version):
    """One of the port that asks for none is of no use at the one that does, and the other way round."""
    proxy = tls_site.proxy(listen=LISTEN, proxy={"tls_client_ca": people.ca, "tls_client_required": True, "tls_client_listen": LISTEN[1:]})
    stranger = Client(authority.ca, None, version)
    assert stranger.comes(proxy, 0) and stranger.comes(proxy, 0) and stranger.resumed
    assert not stranger.comes(proxy, 1)
    ann = Client(authority.ca, people.issue("ann", ["ann@example.org"], usage="clientAuth"), version)
    assert ann.comes(proxy, 0)
    for _ in range(3):
        assert ann.comes(proxy, 1) and not ann.resumed
    proxy.stop()


def test_asked(tls_site, authority, people):
    """Who shows none, or one that is not believed, is served as anybody; a line in the log only for who is believed."""
    proxy = tls_site.proxy(listen=LISTEN, proxy={"tls_client_ca": people.ca})
    for pair in (None, authority.issue("ann", ["ann@example.org"], usage="clientAuth"),
                 people.issue("late", ["ann@example.org"], usage="clientAuth", expired=True)):
        for listener in range(3):
            assert Client(authority.ca, pair).comes(proxy, listener)
    assert not proxy.find("event=client_certificate ")
    assert Client(authority.ca, people.issue("ben", ["x.example"], usage="clientAuth")).comes(proxy, 0)
    proxy.wait(r'event=client_certificate session=\S+ peer=\S+ subject="?CN=ben"? email=-')
    proxy.stop()


def test_reload_of_authorities(tls_site, authority, people):
    live = os.path.join(tls_site.folder, "people.pem")
    shutil.copy(people.ca, live)
    proxy = tls_site.proxy(listen=LISTEN, proxy={"tls_client_ca": live, "tls_client_required": True})
    path = os.path.join(tls_site.folder, proxy.label + ".conf")
    ann = people.issue("ann", ["ann@example.org"], usage="clientAuth")
    assert Client(authority.ca, ann).comes(proxy)
    with open(live, "w", encoding="ascii") as f:
        f.write("nothing\n")
    since = proxy.reload("reload_refused")
    proxy.wait(r"event=reload_refused error=.*tls_client_ca: ", since=since)
    assert Client(authority.ca, ann).comes(proxy)
    shutil.copy(authority.ca, live)
    proxy.reload("reloaded")
    net.wait_until("the other authority", lambda: not Client(authority.ca, ann).comes(proxy))
    assert Client(authority.ca, authority.issue("eve", ["eve@example.org"], usage="clientAuth")).comes(proxy)
    change(path, "tls_client_required = true", "tls_client_required = false")
    proxy.reload("reloaded")
    net.wait_until("it not to be required", lambda: Client(authority.ca).comes(proxy))
    proxy.stop()


def test_settings_that_do_not_fit(tls_site, people):
    for options, why in (({"tls_client_required": True}, "tls_client_required: needs tls_client_ca"),
                         ({"tls_client_ca": people.ca, "tls_client_listen": ["imaps://[::]:1"]}, 'tls_client_listen: "imaps://\\[::\\]:1" does not'),
                         ({"tls_client_ca": "/nonexistent"}, "tls_client_ca: .*cannot be read")):
        proxy = tls_site.proxy(listen=LISTEN, proxy=options, wait=False)
        assert proxy.process.wait(timeout=30) == 1
        proxy.wait(why, since=0)
        tls_site.daemons.remove(proxy)


# ---- EXTERNAL: who the certificate is, signs in


MASTER = {"sign_in": "master"}


@pytest.fixture(name="external", scope="module")
def fixture_external(cert, people):
    """Two servers of which nobody knows a password but the master's, and a proxy by whose certificates users sign in."""
    with FakeImap("old") as old, FakeImap("new") as new:
        old.strangers.add("gone@example.org")
        store = redisd.Redis(port=net.free_port())
        ferry = Ferry(store, {"old": backend(old, "imap", **MASTER), "new": backend(new, "imap", **MASTER)}, cert,
                      {"migration": {"trigger": "manual"}, "proxy": {"mechanisms": ["PLAIN", "EXTERNAL"], "tls_client_ca": people.ca}})
        ferry.init()
        yield ferry
        try:
            ferry.close()
        finally:
            store.close()


def shows(proxy, ca, pair=None, listener=0):
    """A Wire of a client with this certificate, greeted."""
    context = ssl.create_default_context(cafile=ca)
    if pair:
        context.load_cert_chain(*pair)
    wire = Wire(proxy.addresses[listener].replace("imaps:", "imap:"))
    if listener == 2:
        wire.read_line()
        assert wire.command(b"t", b"STARTTLS")[-1].startswith(b"t OK")
    wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1")
    wire.greeting = wire.command(b"c", b"CAPABILITY")[0] if listener == 2 else wire.read_line()
    return wire


def as_who(name=b""):
    return b"AUTHENTICATE EXTERNAL " + (base64.b64encode(name) or b"=")


def test_certificate_signs_in(external, authority, people):
    """At the server by its master, and only who shows a certificate is offered it."""
    old = external.servers["old"]
    proxy = external.proxy(listen=LISTEN)
    ann = people.issue("ann", ["ann@example.org", "a.b@example.org"], usage="clientAuth")
    nobody = people.issue("nobody", ["host.example.org"], usage="clientAuth")
    for listener in (0, 2):
        old.logins.clear()
        for asked, who in ((b"", "ann@example.org"), (b"A.B@example.org", "a.b@example.org"), (b"ann@example.org", "ann@example.org")):
            with shows(proxy, authority.ca, ann, listener) as wire:
                assert b"AUTH=EXTERNAL" in wire.greeting
                assert wire.command(b"a", as_who(asked))[-1].startswith(b"a OK [CAPABILITY ")
                assert wire.command(b"b", b"SELECT INBOX")[-1].startswith(b"b OK")
            assert old.logins[-1] == (who, "master")
    with shows(proxy, authority.ca, ann) as wire:
        wire.line(b"a AUTHENTICATE EXTERNAL")
        assert wire.read_line() == b"+ "
        wire.line(b"")
        assert wire.until(b"a ")[-1].startswith(b"a OK ")
    with shows(proxy, authority.ca, ann) as wire:
        assert wire.login("bob") .startswith(b"l1 OK ")  # by a password, as anybody
    old.logins.clear()
    for pair in (None, authority.issue("eve", ["eve@example.org"], usage="clientAuth")):
        with shows(proxy, authority.ca, pair) as wire:
            assert b"EXTERNAL" not in wire.greeting
            assert wire.command(b"a", as_who())[-1] == b"a NO [CANNOT] This mechanism is not offered"
    with shows(proxy, authority.ca, nobody) as wire:
        assert wire.command(b"a", as_who())[-1] == b"a NO [AUTHENTICATIONFAILED] The certificate has no login name"
    assert old.logins == []
    proxy.stop()


def test_certificate_of_somebody_else(external, authority, people):
    """Refused like a wrong password, unless it is one of masters; and what is no name is answered BAD."""
    old = external.servers["old"]
    ann = people.issue("ann", ["ann@example.org"], usage="clientAuth")
    old.logins.clear()
    proxy = external.proxy(listen=LISTEN)
    with shows(proxy, authority.ca, ann) as wire:
        began = time.monotonic()
        assert wire.command(b"a", as_who(b"bob@example.org")) == [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]
        passed = time.monotonic() - began
        assert abs(passed - round(passed)) < 0.2 and round(passed) >= 1, passed
        for name in (b"ann\0@example.org", b"a\xff", b"a\x1b[m", b"n" * 513):
            assert wire.command(b"b", as_who(name))[-1].startswith(b"b BAD ")
            assert wire.command(b"n", b"NOOP") == [b"n OK NOOP completed"]
    assert old.logins == []
    proxy.stop()
    proxy = external.proxy(listen=LISTEN, proxy={"masters": ["ann@example.org"]})
    with shows(proxy, authority.ca, ann) as wire:
        assert wire.command(b"a", as_who(b"bob@example.org"))[-1].startswith(b"a OK ")
    proxy.wait(r"event=login user=bob@example\.org .*master=ann@example\.org")
    assert old.logins == [("bob@example.org", "master")]
    proxy.stop()


def test_certificate_by_common_name(external, authority, people):
    proxy = external.proxy(listen=LISTEN, proxy={"tls_client_name": "common_name"})
    with shows(proxy, authority.ca, people.issue("ben", ["ann@example.org"], usage="clientAuth")) as wire:
        assert wire.command(b"x", as_who(b"ann@example.org"))[-1].startswith(b"x NO [AUTHENTICATIONFAILED] ")
        assert wire.command(b"a", as_who())[-1].startswith(b"a OK ")
    assert external.servers["old"].logins[-1] == ("ben", "master")
    proxy.stop()


def test_certificate_whose_account_is_not_there(external, authority, people):
    """The proxy knows who it is, so it is no wrong password."""
    proxy = external.proxy(listen=LISTEN)
    with shows(proxy, authority.ca, people.issue("gone", ["gone@example.org"], usage="clientAuth")) as wire:
        assert wire.command(b"a", as_who())[-1].startswith(b"a NO [UNAVAILABLE] ")
        assert wire.command(b"n", b"NOOP") == [b"n OK NOOP completed"]
    proxy.stop()


def test_session_of_a_certificate_goes_over(external, authority, people):
    proxy = external.proxy(listen=LISTEN)
    external.migrator()
    with shows(proxy, authority.ca, people.issue("cat", ["cat@example.org"], usage="clientAuth")) as wire:
        assert wire.command(b"a", as_who())[-1].startswith(b"a OK ")
        assert wire.command(b"b", b"SELECT INBOX")[-1].startswith(b"b OK")
        assert external.ctl("migrate", "cat@example.org")[0] == 0
        external.wait_state("cat@example.org", "flipped")
        assert wire.command(b"c", b"NOOP")[-1].startswith(b"c OK")
        assert external.where("cat@example.org") == {"new"}
    assert not external.redis.client().exists("imapferry:secret:cat@example.org")
    proxy.stop()


def test_external_that_does_not_fit(external):
    """No authority to believe; a server at which nobody could sign in for the user."""
    new = dict(external.backends["new"], sign_in="passthrough")
    for more, why in (({"proxy": {"tls_client_ca": ""}}, "mechanisms: EXTERNAL needs tls_client_ca"),
                      ({"backends": {"new": new}}, 'sign_in: has to be \\\\?"master')):
        proxy = external.proxy(listen=LISTEN, wait=False, **more)
        assert proxy.process.wait(timeout=30) == 1
        proxy.wait(why, since=0)
        external.daemons.remove(proxy)
