"""Clients that show a certificate: where it is asked for, where it must be there, and that no ticket stands in for it."""
import os
import shutil
import socket
import ssl

import pytest

from harness import certs, net
from harness.scene import change

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
    assert proxy.find(r"event=reload_refused error=.*tls_client_ca: ", since)
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
