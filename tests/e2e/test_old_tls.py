"""Old servers and old clients: TLS 1.0, keys of 1024 bits, signatures by SHA-1 (tls_min)."""
import imaplib
import os
import re
import ssl
import warnings

import pytest

from fakes.fake_imap import FakeImap
from harness import net, redisd
from harness.ferry import Ferry, backend
from harness.scene import change, new_user

LETTER = b"Subject: old\r\n\r\ntext\r\n"


def tls_1_0(context):
    """A context of Python's that speaks nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


@pytest.fixture(name="world", scope="module")
def fixture_world(authority, cert):
    """(ferry, the old server): that one speaks TLS 1.0 alone, and its certificate is as old."""
    context = tls_1_0(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.load_cert_chain(*authority.issue("small", rsa=1024, digest="sha1"))
    with FakeImap("old", cert=context) as old, FakeImap("new", cert=cert) as new:
        store = redisd.Redis(port=net.free_port())
        sides = {"old": backend(old, "imaps", authority.ca), "new": backend(new, "imaps", authority.ca)}
        ferry = Ferry(store, sides, cert, {"migration": {"trigger": "manual"}})
        ferry.init()
        yield ferry, old
        try:
            ferry.close()
        finally:
            store.close()


def old_client(proxy, authority):
    host, port = re.match(r"imaps://(.*):(\d+)$", proxy.addresses[0]).groups()
    context = tls_1_0(ssl.create_default_context(cafile=authority.ca))
    return imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=15)


def gets_in(proxy, authority):
    try:
        old_client(proxy, authority).logout()
    except OSError:
        return False
    return True


def test_old_ones_are_refused_until_the_site_says_so(world, authority):
    """Both legs, with what to look at; SIGHUP takes the option up, and back."""
    ferry, _ = world
    proxy = ferry.proxy(listen=["imaps://127.0.0.1:0"])
    path = os.path.join(ferry.folder, proxy.label + ".conf")
    assert not proxy.find(r"event=old_tls\b")
    assert not gets_in(proxy, authority)
    proxy.wait(r"event=session_end why=tls_failed .*detail=.*see tls_min")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        ferry.login(proxy, new_user(), "secret", ca=authority.ca)
    proxy.wait(r"127\.0\.0\.1:\d+: .*see tls_min")

    change(path, "proxy {", 'proxy {\n    tls_min = "1.0"')
    change(path, 'backend "old" {', 'backend "old" {\n    tls_min = "1.0"')
    since = proxy.reload()
    proxy.wait(r"level=warn event=old_tls section=proxy name=- tls_min=1\.0 effect=", since=since)
    proxy.wait(r"level=warn event=old_tls section=backend name=old tls_min=1\.0 effect=", since=since)
    net.wait_until("an old client to get in", lambda: gets_in(proxy, authority))
    client = old_client(proxy, authority)
    assert client.login(new_user(), "secret")[0] == "OK"
    client.logout()

    change(path, 'proxy {\n    tls_min = "1.0"', 'proxy {\n    tls_min = "1.3"')
    proxy.reload()
    net.wait_until("old clients to be refused again", lambda: not gets_in(proxy, authority))
    proxy.stop()


def test_an_account_moves_off_a_server_of_tls_1_0(world):
    ferry, old = world
    user = new_user()
    for _ in range(3):
        old.add(user, "INBOX", LETTER)
    sides = {"old": dict(ferry.backends["old"], tls_min="1.0")}
    migrator = ferry.migrator(backends=sides)
    migrator.wait(r"level=warn event=old_tls section=backend name=old tls_min=1\.0 effect=")
    status, answer = ferry.ctl("migrate", user)
    assert status == 0, answer
    ferry.wait_state(user, "flipped")
    migrator.stop()
