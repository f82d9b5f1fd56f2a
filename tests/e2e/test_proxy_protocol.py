"""Whose connection it is: PROXY headers and ID (x-originating-ip) from balancers, webmails and proxies, and what servers are
told. Cases P1 to P8 of ../CASES.md."""
import contextlib
import re
import socket
import ssl

import pytest

from harness import header, net
from harness.scene import Wire, connect, new_user

# In the order of the proxy's listeners.
PLAIN, TLS, STARTTLS, BARE = range(4)
LISTEN = ("imap://127.0.0.1:0?proxy_protocol", "imaps://127.0.0.1:0?proxy_protocol", "imap+starttls://127.0.0.1:0?proxy_protocol",
          "imap://127.0.0.1:0")
STRANGER = "127.0.0.2"
CLIENT, CLIENT6 = "192.0.2.9", "2001:db8::9"
TLV_TLS = b"\x20\0\x0f\x07\0\0\0\0\x21\0\x07TLSv1.3"


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(fake_site):
    return fake_site.proxy(listen=LISTEN, proxy={"trusted": ["127.0.0.1", "203.0.113.0/24", "2001:db8:5::/48"]})


class Raw(Wire):
    """A connection that begins with bytes of ours, from an address of ours; TLS starts when it is told."""

    def __init__(self, address, first=b"", by_bytes=False, source="127.0.0.1"):  # pylint: disable=super-init-not-called
        host, port = re.match(r".*://(.*):(\d+)$", address).groups()
        self.socket = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        for piece in ([bytes([x]) for x in first] if by_bytes else [first]):
            self.socket.sendall(piece)

    def secure_behind(self, first, ca, by_bytes=False):
        """The handshake's first bytes go out with these in front, as a balancer sends them."""
        context = ssl.create_default_context(cafile=ca)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        plain, self.socket = self.socket, None
        while True:
            done = False
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                done = True
            data, first = first + outgoing.read(), b""
            for piece in ([data[i:i + 1] for i in range(len(data))] if by_bytes else [data]):
                plain.sendall(piece)
            if done:
                break
            incoming.write(plain.recv(65536))
        self.socket = Bio(plain, tls, incoming, outgoing)


class Bio:
    """As much of a socket as a Wire needs."""

    def __init__(self, plain, tls, incoming, outgoing):
        self._plain, self._tls, self._in, self._out = plain, tls, incoming, outgoing

    def sendall(self, data):
        self._tls.write(data)
        self._plain.sendall(self._out.read())

    def recv(self, size):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return self._tls.read(size)
            data = self._plain.recv(65536)
            if not data:
                return b""
            self._in.write(data)

    def close(self):
        self._plain.close()


def nothing_comes(wire):
    """The proxy closes, and has said nothing."""
    with wire:
        assert wire.rest() == [] and wire.buffer == b""


def logged_in(proxy, user, peer, via=True):
    line = proxy.wait(rf'event=login .*user={re.escape(user)} .*').group(0)
    assert f" peer={peer} " in line, line
    assert bool(re.search(r" via=127\.0\.0\.\d:\d+$", line)) == via, line


def id_heard(fake):
    return dict(re.findall(rb'"(x-[a-z-]+)" "([^"]*)"', fake.commands("ID")[-1]))


# ---- in: by header


@pytest.mark.parametrize("first,peer", [
    (header.v1(CLIENT, 40000), f"{CLIENT}:40000"),
    (header.v2(CLIENT, 40001), f"{CLIENT}:40001"),
    (header.v1(CLIENT6, 40002, "2001:db8::2"), f'[{CLIENT6}]:40002'),
    (header.v2(CLIENT6, 40003), f'[{CLIENT6}]:40003'),
    (header.v2("::ffff:" + CLIENT, 40004), f"{CLIENT}:40004"),
    (header.v2(CLIENT, 40005, tlvs=header.crc), f"{CLIENT}:40005"),
    (header.v2(CLIENT, 40006, tlvs=TLV_TLS), f"{CLIENT}:40006"),
], ids=["v1", "v2", "v1-6", "v2-6", "mapped", "crc32c", "tls"])
def test_header_names_the_client(proxy, fake_site, fake, authority, first, peer):
    """In the log, in the store, and to the server; with the first bytes of TLS in the same segment, and byte by byte."""
    for by_bytes in (False, True):
        user = new_user()
        wire = Raw(proxy.addresses[TLS])
        wire.secure_behind(first, authority.ca, by_bytes)
        with wire:
            assert wire.read_line().startswith(b"* OK ")
            assert wire.login(user).startswith(b"l1 OK")
            logged_in(proxy, user, peer)
            ip, port = peer.strip("[").replace("]", "").rsplit(":", 1)
            sent = id_heard(fake)
            assert sent[b"x-originating-ip"].decode() == ip and sent[b"x-originating-port"].decode() == port
            assert peer in str(fake_site.redis.client().hgetall(f"imapferry:sessions:{user}"))


def test_header_before_starttls(proxy, authority):
    user = new_user()
    with Raw(proxy.addresses[STARTTLS], header.v2(CLIENT) + b"a CAPABILITY\r\n", by_bytes=True) as wire:
        assert wire.until(b"a ")[-1].startswith(b"a OK")  # what came behind it is IMAP
        assert wire.command(b"b", b"STARTTLS")[-1].startswith(b"b OK")
        wire.secure(authority.ca)
        assert wire.login(user).startswith(b"l1 OK")
    logged_in(proxy, user, f"{CLIENT}:40000")


@pytest.mark.parametrize("first", [
    header.LOCAL, header.UNKNOWN, b"PROXY UNKNOWN ffff:f... 1 2\r\n", header.SIGNATURE + b"\x21\0\0\0",
    header.SIGNATURE + b"\x21\x31\0\xd8" + b"/run/x".ljust(216, b"\0"), header.SIGNATURE + b"\x20\x11\0\x02\xff\xff",
], ids=["LOCAL", "UNKNOWN", "UNKNOWN with more", "AF_UNSPEC", "AF_UNIX", "LOCAL with more"])
def test_header_that_names_nobody_leaves_the_connections_own_address(proxy, first):
    user = new_user()
    with Raw(proxy.addresses[PLAIN], first, by_bytes=True) as wire:
        assert wire.read_line().startswith(b"* OK ")
        assert wire.login(user).startswith(b"l1 OK")
    line = proxy.wait(rf"event=login .*user={re.escape(user)} .*").group(0)
    assert re.search(r" peer=127\.0\.0\.1:\d+ ", line) and " via=" not in line


def test_strangers_are_not_even_heard(proxy, fake):
    for listener in (PLAIN, TLS, STARTTLS):
        for first in (header.v1(CLIENT), header.v2(CLIENT), header.LOCAL, b"", b"a CAPABILITY\r\n"):
            mark = proxy.mark()
            nothing_comes(Raw(proxy.addresses[listener], first, source=STRANGER))
            proxy.wait(rf'event=session_end why=proxy_header .*peer={STRANGER}:\d+ state=header .*outside of the networks', since=mark)
    assert fake.logins == []


BAD = {
    "none, IMAP": (b"a LOGIN ann secret\r\n", "no PROXY header"),
    "none, TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "no PROXY header"),
    "none, HTTP": (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
    "v1, too long": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "too long"),
    "v1, without end": (b"PROXY TCP4 " + b"1" * 2000, "too long"),
    "v1, LF": (b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\n", "does not end in CRLF"),
    "v1, no address": (b"PROXY TCP4 mail.example.org 192.0.2.1 1 2\r\n", "addresses or ports"),
    "v1, UDP": (b"PROXY UDP4 192.0.2.9 192.0.2.1 1 2\r\n", "protocol that is none"),
    "v2, 65535": (header.SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 3000, "too long"),
    "v2, other version": (header.SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12, "another version"),
    "v2, other command": (header.SIGNATURE + b"\x22\x11\0\x0c" + b"x" * 12, "command that is none"),
    "v2, UDP": (header.SIGNATURE + b"\x21\x12\0\x0c" + b"x" * 12, "family or transport"),
    "v2, short": (header.SIGNATURE + b"\x21\x21\0\x0c" + b"x" * 12, "too short"),
    "v2, TLV": (header.v2(CLIENT, tlvs=b"\x04\xff\xff\0"), "TLV that goes beyond"),
    "v2, CRC32C": (header.v2(CLIENT, tlvs=header.wrong_crc), "CRC32C is wrong"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_header_ends_the_connection(proxy, fake, case):
    """Nothing of it is taken for IMAP, nor for TLS, and nothing is answered."""
    first, detail = BAD[case]
    for by_bytes in (False, True) if len(first) < 300 else (False,):
        mark = proxy.mark()
        with contextlib.suppress(ConnectionError):  # it may be closed before all bytes are out
            nothing_comes(Raw(proxy.addresses[PLAIN], first + b"a LOGIN ann secret\r\n" * (not by_bytes), by_bytes))
        proxy.wait(rf'event=session_end why=proxy_header .*state=header .*detail="[^"]*{re.escape(detail)}', since=mark)
    assert fake.logins == []


def test_header_that_is_cut_off(proxy):
    for whole in (header.v1(CLIENT), header.v2(CLIENT)):
        mark = proxy.mark()
        wire = Raw(proxy.addresses[PLAIN], whole[:-1])
        wire.socket.shutdown(socket.SHUT_WR)
        nothing_comes(wire)
        proxy.wait(r'event=session_end why=proxy_header .*detail="a PROXY header that was cut off', since=mark)


def test_header_has_a_deadline(fake_site):
    """Of the whole header, and not of each byte."""
    proxy = fake_site.proxy(listen=LISTEN[:1], proxy={"trusted": ["127.0.0.1"], "tls_timeout": "1s"})
    wires = [Raw(proxy.addresses[PLAIN], header.v2(CLIENT)[:n]) for n in (0, 1, 12, 27)]
    for wire in wires:
        nothing_comes(wire)
    net.wait_until("all of them", lambda: len(proxy.find("why=proxy_header .*no whole PROXY header in time")) == len(wires))
    proxy.stop()


@pytest.mark.parametrize("first", [header.v1(CLIENT), header.UNKNOWN, header.v2(CLIENT), header.LOCAL], ids=["v1", "UNKNOWN", "v2", "LOCAL"])
def test_header_where_none_is_expected_is_no_command(proxy, fake, first):
    """From a trusted address too: a listener wants a header, or has none."""
    mark = proxy.mark()
    wire = Raw(proxy.addresses[BARE], first + b"a LOGIN ann secret\r\n")
    assert wire.read_line().startswith(b"* OK ")
    rest = wire.rest()
    assert not [line for line in rest if b" OK" in line] and len(rest) <= 4, rest
    proxy.wait(r"event=session_end why=(proxy_header|bad_line|bad_commands) ", since=mark)
    assert fake.logins == []


def test_header_makes_no_connection_a_safe_one(proxy, fake):
    """Who comes from elsewhere shows no password without TLS, though the balancer is on this machine, and whatever it says of TLS."""
    for first in (header.v1(CLIENT), header.v2(CLIENT, tlvs=TLV_TLS)):
        with Raw(proxy.addresses[PLAIN], first) as wire:
            assert b"LOGINDISABLED" in wire.read_line()
            assert wire.command(b"a", b"LOGIN ann secret") == [b"a NO [PRIVACYREQUIRED] Signing in needs TLS"]
    with Raw(proxy.addresses[PLAIN], header.v1("127.0.0.1")) as wire:
        assert b"LOGINDISABLED" not in wire.read_line()
    assert fake.logins == []


def test_unix_socket_with_a_header(fake_site, fake):
    path = f"{fake_site.folder}/header.sock"
    proxy = fake_site.proxy(listen=[f"imap+unix://{path}?proxy_protocol"])
    user = new_user()
    with Wire(f"imap+unix://{path}") as wire:
        wire.send(header.v2(CLIENT))
        assert wire.read_line().startswith(b"* OK ")
        assert wire.login(user).startswith(b"l1 OK")
    assert f" peer={CLIENT}:40000 " in proxy.wait(rf"event=login .*user={re.escape(user)} .*via=unix").group(0)
    assert id_heard(fake)[b"x-originating-ip"].decode() == CLIENT
    proxy.stop()


# ---- in: by ID


def by_id(proxy, listener, *pairs, source="127.0.0.1", first=b"", tls=None):
    """Logs in behind such an ID; (user, log line of the login)."""
    user = new_user()
    with Raw(proxy.addresses[listener], first, source=source) as wire:
        assert wire.read_line().startswith(b"* OK ")
        said = b" ".join(b'"%s" "%s"' % pair for pair in pairs)
        assert wire.command(b"i", b"ID (" + said + b")")[-1].startswith(b"i OK")
        if tls:
            assert wire.command(b"b", b"STARTTLS")[-1].startswith(b"b OK")
            wire.secure(tls)
        assert wire.login(user).startswith(b"l1 OK")
    return user, proxy.wait(rf"event=login .*user={re.escape(user)} .*").group(0)


def test_trusted_webmail_names_its_client_by_id(proxy, fake):
    named = (b"x-originating-ip", CLIENT.encode())
    user, _ = by_id(proxy, BARE, (b"name", b"Roundcube"), named, (b"x-originating-port", b"5000"))
    logged_in(proxy, user, f"{CLIENT}:5000")
    assert id_heard(fake)[b"x-originating-ip"].decode() == CLIENT and id_heard(fake)[b"x-originating-port"] == b"5000"
    user, _ = by_id(proxy, BARE, (b"X-Originating-IP", b"2001:DB8:0::9"))
    logged_in(proxy, user, f"[{CLIENT6}]:0")
    assert b"x-originating-port" not in id_heard(fake)
    user, _ = by_id(proxy, BARE, named, (b"x-originating-port", b"65536"))
    logged_in(proxy, user, f"{CLIENT}:0")
    _, line = by_id(proxy, BARE, named, (b"x-session-id", b"outer/17 x"))
    session = re.search(r"session=(\S+)", line).group(1)
    proxy.wait(rf'event=session_outer session={re.escape(session)} outer="outer/17 x" via=127\.0\.0\.1:')


@pytest.mark.parametrize("said", [b"", b"unknown", b"192.0.2.256", b"192.0.2.1:5", b"192.0.2.1\\\\", b"::1%lo"])
def test_what_is_no_address_is_passed_over(proxy, said):
    _, line = by_id(proxy, BARE, (b"x-originating-ip", said))
    assert re.search(r" peer=127\.0\.0\.1:\d+ ", line) and " via=" not in line


def test_nobody_else_names_a_client(proxy, fake):
    """Neither a stranger, nor who comes through a balancer, nor anybody before TLS."""
    forged = (b"x-originating-ip", b"192.0.2.66")
    _, line = by_id(proxy, BARE, forged, (b"x-session-id", b"forged"), source=STRANGER)
    assert re.search(rf" peer={STRANGER}:\d+ ", line) and " via=" not in line
    assert id_heard(fake)[b"x-originating-ip"].decode() == STRANGER and b"forged" not in id_heard(fake)[b"x-session-id"]
    assert not proxy.find("outer=forged")


def test_id_behind_a_header_counts_for_whom_the_header_names(proxy, authority):
    named = (b"x-originating-ip", b"192.0.2.66")
    for client, peer in ((CLIENT, f"{CLIENT}:40000"), ("203.0.113.7", "192.0.2.66:0"), ("2001:db8:5::1", "192.0.2.66:0")):
        user = new_user()
        server = "2001:db8::2" if ":" in client else "198.51.100.2"
        wire = Raw(proxy.addresses[TLS])
        wire.secure_behind(header.v1(client, 40000, server), authority.ca)
        with wire:
            assert wire.read_line().startswith(b"* OK ")
            assert wire.command(b"i", b'ID ("%s" "%s")' % named)[-1].startswith(b"i OK")
            assert wire.login(user).startswith(b"l1 OK")
        logged_in(proxy, user, peer)


def test_id_before_tls_names_nobody(fake_site, authority):
    proxy = fake_site.proxy(listen=["imap+starttls://127.0.0.1:0"], proxy={"trusted": ["127.0.0.1"]})
    _, line = by_id(proxy, 0, (b"x-originating-ip", b"192.0.2.66"), tls=authority.ca)
    assert re.search(r" peer=127\.0\.0\.1:\d+ ", line) and " via=" not in line
    proxy.stop()


def test_failed_logins_are_logged_with_the_clients_address(proxy):
    """What fail2ban reads: the webmail's users, and not the webmail."""
    mark = proxy.mark()
    with connect(proxy, BARE) as wire:
        assert wire.command(b"i", b'ID ("x-originating-ip" "192.0.2.77")')[-1].startswith(b"i OK")
        assert wire.login(new_user(), "wrong").startswith(b"l1 NO [AUTHENTICATIONFAILED]")
    assert re.search(r" peer=192\.0\.2\.77:0 .* via=127\.0\.0\.1:\d+$", proxy.wait("event=login_failed .*", since=mark).group(0))


def test_trusted_networks_are_taken_by_sighup(fake_site):
    proxy = fake_site.proxy(listen=["imap://127.0.0.1:0"])
    _, line = by_id(proxy, 0, (b"x-originating-ip", CLIENT.encode()))
    assert " peer=127.0.0.1:" in line
    fake_site.config(proxy.label, proxy={"listen": proxy.listen, "id": proxy.label, "trusted": ["127.0.0.0/8"]})
    proxy.signal(1)
    named = lambda: by_id(proxy, 0, (b"x-originating-ip", CLIENT.encode()))[1]  # noqa: E731
    assert f" peer={CLIENT}:0 " in net.wait_until("the thread to have them", lambda: (line := named()) and " via=" in line and line)
    proxy.stop()


# ---- limits count by whom it is


def test_crowd_counts_clients_and_not_their_balancer(fake_site):
    """One client that opens very many connections, by a balancer or by a webmail, loses its own and nobody else's."""
    proxy = fake_site.proxy(listen=[LISTEN[0], LISTEN[3]], wrapper=("prlimit", "--nofile=300:300"), proxy={"trusted": ["127.0.0.1"]})
    others = [Raw(proxy.addresses[0], header.v1(f"192.0.2.{n}")) for n in range(1, 4)]
    mails = [Raw(proxy.addresses[1]) for _ in range(3)]
    for wire in others + mails:
        assert wire.read_line().startswith(b"* OK ")
    for n, wire in enumerate(mails):
        assert wire.command(b"i", b'ID ("x-originating-ip" "198.51.100.%d")' % n)[-1].startswith(b"i OK")
    flood = [Raw(proxy.addresses[0], header.v1("203.0.113.66")) for _ in range(120)]
    proxy.wait("event=crowd .*")
    for wire in others + mails:
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    for wire in flood + others + mails:
        wire.close()
    proxy.stop()
