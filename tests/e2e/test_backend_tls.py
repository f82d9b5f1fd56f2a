"""TLS towards backends: sessions that are gone on with, and keys that are pinned."""
import base64
import contextlib
import hashlib
import imaplib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from fakes.fake_imap import FakeImap
from harness import net, redisd
from harness.ferry import Ferry, backend
from harness.scene import change, new_user


@pytest.fixture(name="store", scope="module")
def fixture_store():
    server = redisd.Redis(port=net.free_port())
    yield server
    server.close()


def served(cert, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@contextlib.contextmanager
def site(store, cert, old, new, **options):
    """A proxy for accounts of `old`."""
    store.client().flushall()
    ferry = Ferry(store, {"old": backend(old, **options), "new": backend(new, "imap")}, cert, {"migration": {"trigger": "manual"}})
    try:
        ferry.init()
        yield ferry
    finally:
        ferry.close()


def comes_in(ferry, proxy):
    user = new_user()
    try:
        ferry.login(proxy, user, "secret").logout()
    except imaplib.IMAP4.error as e:
        assert "UNAVAILABLE" in str(e), e
        return False
    return True


def pin_of(cert):
    key = subprocess.run(["openssl", "x509", "-in", cert, "-pubkey", "-noout"], check=True, capture_output=True).stdout
    der = base64.b64decode(b"".join(key.split(b"\n")[1:-2]))
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))
@pytest.mark.parametrize("scheme", ("imaps", "imap+starttls"))
def test_logins_go_on_with_sessions_of_the_backend(store, authority, cert, version, scheme):
    """One whole handshake, then none, until SIGHUP has the certificate looked at anew."""
    context = served(authority.issue("backend"), version)
    with FakeImap("old", cert=context) as old, FakeImap("new") as new, \
            site(store, cert, old, new, scheme=scheme, ca=authority.ca) as ferry:
        proxy = ferry.proxy()
        before = context.session_stats()  # of what was asked at the start
        assert all(comes_in(ferry, proxy) for _ in range(6))
        stats = context.session_stats()
        whole = (stats["accept_good"] - before["accept_good"]) - (stats["hits"] - before["hits"])
        assert stats["hits"] - before["hits"] >= 5 and whole <= 1, (before, stats)
        proxy.reload("reloaded")
        assert all(comes_in(ferry, proxy) for _ in range(3))
        after = context.session_stats()
        assert after["accept_good"] - stats["accept_good"] - (after["hits"] - stats["hits"]) >= 1, (stats, after)


def asks_to_go_on(raw):
    """Does a ClientHello show a session of TLS 1.3 (pre_shared_key)?"""
    where = 43 + 1 + raw[43]
    where += 2 + int.from_bytes(raw[where:where + 2], "big")
    where += 1 + raw[where] + 2
    while where + 4 <= len(raw):
        if int.from_bytes(raw[where:where + 2], "big") == 41:
            return True
        where += 4 + int.from_bytes(raw[where + 2:where + 4], "big")
    return False


class Choosy:
    """A port in front of a server that hangs up on who shows a session."""

    def __init__(self, port):
        self.behind, self.refused, self.passed = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, _scheme="imaps", host="127.0.0.1"):
        return f"imaps://{host}:{self.listener.getsockname()[1]}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            raw = client.recv(16384)
            if not raw:
                return
            if asks_to_go_on(raw):
                self.refused += 1
                return
            self.passed += 1
            with socket.create_connection(("127.0.0.1", self.behind)) as server:
                server.sendall(raw)
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()

    @staticmethod
    def _pump(one, other):
        with contextlib.suppress(OSError):
            for data in iter(lambda: one.recv(65536), b""):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


def test_a_server_that_can_not_bear_it_costs_one_login(store, authority, cert):
    with FakeImap("old", cert=authority.issue("backend")) as old, FakeImap("new") as new:
        front = Choosy(old.port["imaps"])
        try:
            with site(store, cert, front, new, ca=authority.ca) as ferry:
                proxy = ferry.proxy()
                results = [comes_in(ferry, proxy) for _ in range(5)]
                assert results.count(False) <= 1 and results[2:] == [True] * 3, results
                assert front.refused == 1
        finally:
            front.close()


def test_keys_that_are_exchanged_at_the_backend(store, authority, cert):
    """Tickets that it does not know any more are no fault: the handshake is a whole one."""
    context = served(authority.issue("backend"))
    with FakeImap("old", cert=context) as old, FakeImap("new") as new, site(store, cert, old, new, ca=authority.ca) as ferry:
        proxy = ferry.proxy()
        assert comes_in(ferry, proxy) and comes_in(ferry, proxy)
        old.context = served(authority.issue("renewed"))
        assert all(comes_in(ferry, proxy) for _ in range(3))
        assert old.context.session_stats()["hits"] >= 1


def test_pins(store, authority, cert):
    """In place of authorities, then beside them; the log says the key that the server has."""
    alien = authority.issue("alien", ["elsewhere.example"], self_signed=True)
    with FakeImap("old", cert=alien) as old, FakeImap("new") as new, \
            site(store, cert, old, new, pin=[pin_of(cert[0])]) as ferry:
        proxy = ferry.proxy()
        path = os.path.join(ferry.folder, proxy.label + ".conf")
        assert not comes_in(ferry, proxy)
        told = proxy.wait(r'its key is \W*(sha256//[A-Za-z0-9+/=]+)\W* *, and that is not in pin').group(1)
        assert told == pin_of(alien[0]) and old.logins == []
        change(path, pin_of(cert[0]), f'{pin_of(cert[0])}", "{told}')
        proxy.reload("reloaded")
        net.wait_until("the pin", lambda: comes_in(ferry, proxy))
        ca = shutil.copy(authority.ca, ferry.folder)  # a reload reads in the folders of the start
        change(path, "    pin = ", f'    ca_file = "{ca}"\n    pin = ')
        proxy.reload("reloaded")
        net.wait_until("the authority to be asked too", lambda: not comes_in(ferry, proxy))
        proxy.wait("self-signed certificate")
    good = authority.issue("good")
    with FakeImap("old", cert=good) as old, FakeImap("new") as new, \
            site(store, cert, old, new, ca=authority.ca, pin=[pin_of(good[0])]) as ferry:
        proxy = ferry.proxy()
        assert comes_in(ferry, proxy)
        change(os.path.join(ferry.folder, proxy.label + ".conf"), pin_of(good[0]), pin_of(cert[0]))
        proxy.reload("reloaded")
        net.wait_until("another pin", lambda: not comes_in(ferry, proxy))  # no session of before is gone on with


def test_pins_that_are_none(store, authority, cert):
    with FakeImap("old", cert=authority.issue("backend")) as old, FakeImap("new") as new, site(store, cert, old, new) as ferry:
        for pin, scheme, why in (("sha256//AAAA", "imaps", "is not"), ("sha1//" + "A" * 43 + "=", "imaps", "is not"),
                                 (pin_of(cert[0])[8:], "imaps", "is not"), (pin_of(cert[0]), "imap", "of no use without TLS")):
            _, out, err = ferry.ctl_raw("--check-conf", backends={"old": backend(old, scheme, pin=[pin])})
            assert re.search(rf'backend "old": pin: .*{why}', out + err), out + err
