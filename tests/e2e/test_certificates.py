"""The certificates that clients are shown: by the name that they ask for, by what they can verify, and by what SIGHUP brings."""
import os
import shutil
import socket
import ssl

import pytest

from harness import net
from harness.scene import Wire, change, port_of


def shown(proxy, name=None, listener=0, version=None, ciphers=None):
    """Of the certificate that a client is shown: (the DNS names in it, the kind of its key)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    with socket.create_connection(("127.0.0.1", port_of(proxy, listener)), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname=name) as s:
            der = s.getpeercert(binary_form=True)
            assert s.recv(100).startswith(b"* OK ")
    return names_in(der), "ec" if b"\x2a\x86\x48\xce\x3d\x02\x01" in der else "rsa"


def names_in(der):
    """Those of subjectAltName (2.5.29.17), which Python tells only of certificates that it has verified."""
    at = der.index(b"\x06\x03\x55\x1d\x11")
    at = der.index(b"\x30", at)
    end = at + 2 + der[at + 1]
    assert der[at + 1] < 128
    at, names = at + 2, []
    while at < end:
        if der[at] == 0x82:
            names.append(der[at + 2:at + 2 + der[at + 1]].decode())
        at += 2 + der[at + 1]
    return names


def pair(files):
    return "+".join(files)


def hello(name):
    """The bytes of a client's first message that asks for a name."""
    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    s = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        s.do_handshake()
    return out.read()


def test_name_and_kind_choose_the_certificate(tls_site, authority):
    """Exact names go before a star, ECDSA and RSA stand side by side, and STARTTLS chooses as TLS from the first byte does."""
    first = authority.issue("first", ["localhost", "imap.a.example"], rsa=2048)
    first_ec = authority.issue("first-ec", ["imap.a.example", "localhost"])
    star = authority.issue("star", ["*.b.example"])
    exact = authority.issue("exact", ["imap.b.example", "mail.b.example"])
    whole = os.path.join(tls_site.folder, "exact-whole.pem")
    with open(whole, "wb") as out:
        for part in exact:
            with open(part, "rb") as f:
                out.write(f.read())
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0"],
                       proxy={"tls_cert": first[0], "tls_key": first[1], "tls_certs": [pair(star), whole, pair(first_ec)]})
    a, b, exactly = ["localhost", "imap.a.example"], ["*.b.example"], ["imap.b.example", "mail.b.example"]
    assert shown(proxy, "imap.b.example") == (exactly, "ec")
    assert shown(proxy, "IMAP.B.Example.") == (exactly, "ec")
    assert shown(proxy, "smtp.b.example") == (b, "ec")
    for name in ("x.y.b.example", "b.example", "elsewhere.example", "127.0.0.1", None):
        assert sorted(shown(proxy, name)[0]) == sorted(a), name
    # A client that can verify only one kind gets that one.
    for version, kinds in ((ssl.TLSVersion.TLSv1_2, {"ECDHE-RSA-AES128-GCM-SHA256": "rsa", "ECDHE-ECDSA-AES128-GCM-SHA256": "ec"}),):
        for ciphers, kind in kinds.items():
            assert shown(proxy, "imap.a.example", version=version, ciphers=ciphers)[1] == kind
            assert shown(proxy, None, version=version, ciphers=ciphers)[1] == kind
    with pytest.raises((ssl.SSLError, ConnectionError)):  # not that of another name
        shown(proxy, "smtp.b.example", version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    context = ssl.create_default_context(cafile=authority.ca)
    with socket.create_connection(("127.0.0.1", port_of(proxy, 1)), timeout=20) as plain:
        assert plain.recv(1000).startswith(b"* OK ")
        plain.sendall(b"a STARTTLS\r\n")
        assert plain.recv(1000).startswith(b"a OK")
        with context.wrap_socket(plain, server_hostname="mail.b.example") as s:
            s.sendall(b"b LOGOUT\r\n")
            assert s.recv(1000).startswith(b"* BYE")
    proxy.stop()


def test_names_that_no_client_should_send(tls_site, authority):
    """A NUL in the name, 255 bytes, none at all in the list: an alert or the default, and the next client is served."""
    first, second = authority.issue("first", ["localhost"]), authority.issue("second", ["imap.b.example", "bbbbbbb.example"])
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"],
                       proxy={"tls_cert": first[0], "tls_key": first[1], "tls_certs": [pair(second)]})
    good = hello("bbbbbbb.example")
    assert good.count(b"bbbbbbb.example") == 1
    for name in (b"bbb\0bbb.example", b"\0bbbbbb.example", b"bbbbbbb.exampl\0", b"bbbbbbb.exampl\n", b"\xff" * 15, b"." * 15, b"*.bbbbb.example",
                 b"192.168.100.200"):
        with socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=20) as s:
            s.sendall(good.replace(b"bbbbbbb.example", name))
            answer = s.recv(5)
            assert answer[:1] == (b"\x15" if b"\0" in name else b"\x16"), (name, answer)
    long = ".".join(["a" * 63] * 3 + ["a" * 61])  # 253 bytes, as long as a name may be
    for name in (long, "b" * 63 + ".example", "xn--bcher-kva.example"):
        assert shown(proxy, name)[0] == ["localhost"]
    longest = hello(long).replace(long.encode(), long.encode())
    # 255 and 256 bytes: with the lengths of extension, list and name put right.
    for size in (255, 256):
        raw = grown(longest, long.encode(), size)
        with socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=20) as s:
            s.sendall(raw)
            assert s.recv(1) in (b"\x16", b"\x15")
    assert shown(proxy, "imap.b.example")[0][0] == "imap.b.example"
    proxy.stop()


def grown(raw, name, size):
    """A ClientHello whose server name has another length."""
    more = size - len(name)
    at = raw.index(name)

    def add(where, width):
        value = int.from_bytes(raw[where:where + width], "big") + more
        return raw[:where] + value.to_bytes(width, "big") + raw[where + width:]
    for where, width in ((at - 2, 2), (at - 5, 2), (at - 7, 2), (6, 3), (3, 2)):
        raw = add(where, width)
    # That of all extensions stands behind version, random, session id, ciphers and compressions.
    where = 43 + 1 + raw[43]
    where += 2 + int.from_bytes(raw[where:where + 2], "big")
    where += 1 + raw[where]
    raw = add(where, 2)
    return raw.replace(name, b"a" * size)


def test_a_hundred_certificates(tls_site, authority):
    files = [authority.issue(f"many{n}", [f"h{n}.example", f"*.h{n}.example"], rsa=2048 if n % 50 == 7 else 0) for n in range(100)]
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"],
                       proxy={"tls_cert": files[0][0], "tls_key": files[0][1], "tls_certs": [pair(f) for f in files[1:]], "threads": 2})
    for n in (0, 1, 7, 50, 57, 99):
        assert shown(proxy, f"h{n}.example") == ([f"h{n}.example", f"*.h{n}.example"], "rsa" if n % 50 == 7 else "ec")
        assert shown(proxy, f"any.h{n}.example")[0][0] == f"h{n}.example"
    proxy.stop()


def test_reload_takes_all_certificates_or_none(tls_site, authority):
    """A file of which the end is missing, a key of another certificate, one without a name: all stay as they were, open sessions
    too. Then one more, and one less, without a restart."""
    first, second, third = (authority.issue(x, [f"{x}.example", *more]) for x, more in
                            (("first", ["127.0.0.1"]), ("second", []), ("third", [])))
    live = [os.path.join(tls_site.folder, x) for x in ("sni.pem", "sni.key")]
    for source, target in zip(second, live):
        shutil.copy(source, target)
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"],
                       proxy={"tls_cert": first[0], "tls_key": first[1], "tls_certs": [pair(live)], "threads": 2})
    path = os.path.join(tls_site.folder, proxy.label + ".conf")
    session = Wire(proxy.addresses[0], ca=authority.ca)
    session.read_line()
    with open(second[0], "rb") as f:
        whole = f.read()
    with open(authority.ca, "rb") as f:
        chain = whole + f.read()

    def refused(why):
        since = proxy.reload("reload_refused")
        proxy.wait(rf"event=reload_refused error=.*tls_certs: .*{why}", since=since)
        assert shown(proxy, "second.example")[0] == ["second.example"]

    for text, why in ((whole[:len(whole) // 2], "sni.pem"), (chain[:len(whole) + 300], "sni.pem"), (b"", "holds no certificate"),
                      (chain[:len(whole) + 15], "its end is missing"), (chain[:-3], "sni.pem")):
        with open(live[0], "wb") as f:
            f.write(text)
        refused(why)
    shutil.copy(third[0], live[0])
    refused("sni.key: does not belong to the certificate")
    shutil.copy(second[0], live[0])
    nameless = authority.issue("nameless", ["192.0.2.7"])
    change(path, pair(live), pair(nameless))
    refused("has no DNS name")
    change(path, pair(nameless), f'{pair(live)}", "{pair(third)}')
    proxy.reload("reloaded")
    net.wait_until("the third certificate", lambda: all(shown(proxy, "third.example")[0] == ["third.example"] for _ in range(6)))
    assert shown(proxy, "second.example")[0] == ["second.example"]
    change(path, f'{pair(live)}", "{pair(third)}', pair(third))
    proxy.reload("reloaded")
    net.wait_until("no second certificate", lambda: all(shown(proxy, "second.example")[0] == ["first.example"] for _ in range(6)))
    assert session.command(b"a", b"NOOP")[-1].startswith(b"a OK")
    proxy.stop()


def test_each_certificate_that_ends_soon_is_a_warning(tls_site, authority):
    first, soon, over = authority.issue("first"), authority.issue("soon", ["soon.example"], days=13), \
        authority.issue("over", ["over.example"], expired=True)
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"],
                       proxy={"tls_cert": first[0], "tls_key": first[1], "tls_certs": [pair(soon), pair(over)]})
    proxy.wait(r"level=warn event=certificate_expires file=.*soon.* days=1[23] ")
    proxy.wait(r"level=error event=certificate_expired file=.*over.*\.pem")
    assert not proxy.find(r"event=certificate_exp\w+ file=.*first")
    proxy.stop()
