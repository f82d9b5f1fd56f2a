"""TLS sessions that clients go on with: by tickets, at each proxy with the same keys, and what is never taken from one."""
import os
import re
import socket
import ssl
import subprocess
import tempfile

import pytest

from harness import net
from harness.scene import TlsProgram, port_of

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def ticket_file(tls_site, name="ticket.key", keys=1, mode=0o600):
    path = os.path.join(tls_site.folder, name)
    with open(path, "wb") as f:
        f.write(os.urandom(80 * keys))
    os.chmod(path, mode)
    return path


@pytest.mark.parametrize("version", VERSIONS, ids=("1.2", "1.3"))
def test_all_threads_know_the_keys_and_a_reload_keeps_them(tls_site, authority, version):
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy={"threads": 3})
    client = TlsProgram(authority.ca, version)
    assert not client.comes(proxy)
    assert all(client.comes(proxy) for _ in range(12))
    proxy.reload("reloaded")
    assert all(client.comes(proxy) for _ in range(6))
    proxy.stop()


@pytest.mark.parametrize("version", VERSIONS, ids=("1.2", "1.3"))
def test_a_shared_file_holds_at_other_proxies_and_over_a_restart(tls_site, authority, version):
    files = {"tls_ticket_files": [ticket_file(tls_site)]}
    first, second = (tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy=files) for _ in range(2))
    alone = tls_site.proxy(listen=["imaps://127.0.0.1:0"])
    client = TlsProgram(authority.ca, version)
    assert not client.comes(first)
    assert client.comes(second) and client.comes(first)
    first.stop()
    again = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy=files)
    assert client.comes(again)
    assert not client.comes(alone)  # whole, and not an error
    for proxy in (second, alone, again):
        proxy.stop()


def test_staff_rotate_keys_and_nobody_notices(tls_site, authority):
    path = os.path.join(tls_site.folder, "rotated.key")
    settings = {"tls_ticket_files": [path]}
    assert tls_site.ctl_raw("ticket-key", proxy=settings)[0] == 0
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.path.getsize(path) == 80
    os.chmod(path, 0o640)
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy=settings)
    old = TlsProgram(authority.ca, ssl.TLSVersion.TLSv1_2)
    assert not old.comes(proxy)
    kept = old.session
    sizes = []
    for _ in range(2):
        status, answer = tls_site.ctl("ticket-key", proxy=settings)
        assert (status, answer) == (0, {"ticket_key_file": path})
        sizes.append(os.path.getsize(path))
        proxy.reload("reloaded")
        old.session = kept
        net.wait_until("the keys of now", lambda: old.comes(proxy))
    assert sizes == [160, 240] and os.stat(path).st_mode & 0o777 == 0o640
    fresh = old.session  # by the newest key: in TLS 1.2 too a client gets one where its ticket is of an older key
    tls_site.ctl("ticket-key", proxy=settings)
    assert os.path.getsize(path) == 240
    proxy.reload("reloaded")
    old.session = kept
    net.wait_until("the first key to be gone", lambda: not again(old, kept, proxy))
    assert again(old, fresh, proxy)
    assert tls_site.ctl_raw("ticket-key")[0] == 1  # no file is named
    proxy.stop()


def again(client, session, proxy):
    client.session = session
    return client.comes(proxy)


def test_key_files_that_are_refused(tls_site, authority):
    """Open to others, of another size, not there: an error before anything is changed."""
    path = ticket_file(tls_site, "odd.key")
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy={"tls_ticket_files": [path]})
    client = TlsProgram(authority.ca)
    client.comes(proxy)

    def refused(why):
        since = proxy.reload("reload_refused")
        proxy.wait(rf"event=reload_refused error=.*tls_ticket_files: .*{why}", since=since)
        assert client.comes(proxy)

    for mode in (0o644, 0o604, 0o620, 0o602):
        os.chmod(path, mode)
        refused("chmod 640")
    os.chmod(path, 0o600)
    with open(path, "rb") as f:
        key = f.read()
    for size in (0, 1, 48, 79, 81, 159):
        with open(path, "wb") as f:
            f.write((key * 3)[:size])
        refused("80, 160 or 240 bytes")
    with open(path, "wb") as f:
        f.write(key * 4)
    refused("80, 160 or 240 bytes")
    os.unlink(path)
    refused("odd.key")
    os.mkdir(path)
    os.chmod(path, 0o700)
    refused("is no file")
    os.rmdir(path)
    ticket_file(tls_site, "odd.key")
    proxy.reload("reloaded")
    proxy.stop()


def openssl(proxy, *args, says=b"", ca=None):
    run = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port_of(proxy)}", "-CAfile", ca, *args],
                         input=says, capture_output=True, timeout=60, check=False)
    return run.stdout + run.stderr


def test_no_early_data_and_no_renegotiation(tls_site, authority):
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"])
    with tempfile.TemporaryDirectory() as folder:
        kept, early = os.path.join(folder, "session"), os.path.join(folder, "early")
        with open(early, "wb") as f:
            f.write(b"e1 CAPABILITY\r\n")
        out = openssl(proxy, "-tls1_3", "-sess_out", kept, "-ign_eof", says=b"a LOGOUT\r\n", ca=authority.ca)
        assert b"a OK" in out and re.search(rb"Max Early Data: 0\b", out), out
        out = openssl(proxy, "-tls1_3", "-sess_in", kept, "-early_data", early, "-ign_eof", says=b"a LOGOUT\r\n", ca=authority.ca)
        assert b"Early data was not sent" in out and b"Reused, TLSv1.3" in out and b"e1 OK" not in out, out
    out = openssl(proxy, "-tls1_2", says=b"R\na LOGOUT\r\n", ca=authority.ca)
    assert b"RENEGOTIATING" in out and b"a OK" not in out, out
    assert TlsProgram(authority.ca).comes(proxy) is False
    proxy.stop()


def test_alpn(tls_site, authority):
    """Who names protocols and not ours is no mail program."""
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"])
    for version in VERSIONS:
        for offered, chosen in ((["imap"], "imap"), (["http/1.1", "imap", "h2"], "imap"), ([], None)):
            client = TlsProgram(authority.ca, version)
            if offered:
                client.context.set_alpn_protocols(offered)
            with socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=20) as plain:
                with client.context.wrap_socket(plain, server_hostname="localhost") as s:
                    assert s.selected_alpn_protocol() == chosen and s.recv(100).startswith(b"* OK ")
        for offered in (["http/1.1"], ["h2", "http/1.1"], ["imap4"], ["pop3", "smtp"]):
            client = TlsProgram(authority.ca, version)
            client.context.set_alpn_protocols(offered)
            with socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=20) as plain:
                with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
                    with client.context.wrap_socket(plain, server_hostname="localhost") as s:
                        s.recv(100)
    proxy.stop()


POST = (b"POST / HTTP/1.1\r\nHost: imap.example.org:993\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\n"
        b"a1 LOGIN ann secret\r\na2 SELECT INBOX\r\na3 DELETE INBOX\r\n")


def test_a_form_of_a_web_page_is_no_session(tls_site, authority):
    """A browser that was made to send its POST to the port of a mail server gets no further than three lines."""
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0", "imap://127.0.0.1:0"])
    for listener in range(3):
        with socket.create_connection(("127.0.0.1", port_of(proxy, listener)), timeout=20) as s:
            if listener == 0:
                s = TlsProgram(authority.ca).context.wrap_socket(s, server_hostname="localhost")
            with s:
                s.sendall(POST)
                answer = b"".join(iter(lambda: s.recv(4096), b""))
                lines = answer.split(b"\r\n")
                assert lines[0].startswith(b"* OK ") and b" BAD " in lines[1] and lines[-2].startswith(b"* BYE"), answer
                assert answer.count(b" BAD ") <= 3 and b"a1 " not in answer, answer
    proxy.wait_count("why=bad_commands", 3)
    # In clear to the port of TLS: an alert or nothing, and no line of IMAP.
    with socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=20) as s:
        s.sendall(POST)
        assert b"* " not in b"".join(iter(lambda: s.recv(4096), b""))
    proxy.stop()
