"""COMPRESS=DEFLATE between clients and the proxy, which does it itself: real clients' ways, and those of attackers."""
import contextlib
import imaplib
import os
import socket
import ssl
import threading
import time
import zlib

import pytest

from harness import mail, net
from harness.deflated import Deflated, compress, compress_imaplib
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend, standing
from harness.scene import change, connect, fill, new_user, small

MANUAL = {"migration": {"trigger": "manual"}}


@pytest.fixture(scope="module")
def ferry(old, new, authority, cert):
    with standing({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, cert) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(ferry):
    return ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"))


def sign_in(proxy, user=None, listener=0, ca=None, timeout=20):
    wire = connect(proxy, listener, ca=ca, timeout=timeout)
    wire.user = user or new_user("packed")
    wire.shown = wire.login(wire.user)
    assert wire.shown.startswith(b"l1 OK"), wire.shown
    return wire


@pytest.fixture
def packed(proxy):
    wire = sign_in(proxy)
    compress(wire)
    return wire


def mailboxes(server, user):
    return server.doveadm("mailbox", "list", "-u", user).split()


# ---- the command


def test_offered_after_login_and_until_it_is_active(proxy):
    wire = connect(proxy)
    assert b"COMPRESS" not in wire.greeting + b"".join(wire.command(b"a", b"CAPABILITY"))
    assert wire.command(b"b", b"COMPRESS DEFLATE")[-1].startswith(b"b BAD ")
    wire = sign_in(proxy)
    assert b" COMPRESS=DEFLATE" in wire.shown
    assert b" COMPRESS=DEFLATE" in wire.command(b"c", b"CAPABILITY")[0]
    for wrong in (b"COMPRESS", b"COMPRESS GZIP", b'COMPRESS "DEFLATE"', b"COMPRESS DEFLATE 9", b"COMPRESS {7}",
                  b"COMPRESS {7+}\r\nDEFLATE"):
        assert wire.command(b"d", wrong)[-1] == b"d BAD Expected COMPRESS DEFLATE"
    assert wire.command(b"e", b"compress deflate")[-1].startswith(b"e OK ")
    wire.socket = Deflated(wire.socket)
    assert b"COMPRESS" not in b"".join(wire.command(b"f", b"CAPABILITY"))
    assert wire.command(b"g", b"COMPRESS DEFLATE")[-1].startswith(b"g NO [COMPRESSIONACTIVE] ")
    assert wire.command(b"h", b"COMPRESS GZIP")[-1].startswith(b"h BAD ")
    assert wire.command(b"i", b"LOGOUT")[-1].startswith(b"i OK")
    assert wire.rest() == []


def test_what_servers_offer_is_not_it(make_ferry, cert):
    """They can compress too, and are not asked; and where the site does not want it, it is not theirs instead."""
    with Dovecot("old", extra=extra("compress")) as old, Dovecot("new", extra=extra("compress")) as new:
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap")}, MANUAL)
        with sign_in(ferry.proxy(proxy={"compress": False})) as wire:
            assert b"COMPRESS" not in wire.shown + b"".join(wire.command(b"a", b"CAPABILITY"))
            assert wire.command(b"b", b"COMPRESS DEFLATE")[-1] == b"b BAD This command is not offered here"
        with sign_in(ferry.proxy()) as wire:
            assert wire.shown.count(b"COMPRESS=DEFLATE") == 1
            compress(wire)
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")


def test_the_same_before_and_after_a_move(make_ferry, backends, old):
    ferry = make_ferry(backends, MANUAL)
    user = new_user()
    fill(old, user, small(messages=3))
    proxy = ferry.proxy()
    ferry.migrator()
    for _ in range(2):
        with sign_in(proxy, user) as wire:
            assert b" COMPRESS=DEFLATE" in wire.shown
            compress(wire)
            assert wire.command(b"t", b"SELECT INBOX")[-1].startswith(b"t OK")
            assert b"COMPRESS" not in wire.command(b"c", b"CAPABILITY")[0]
        assert ferry.ctl("migrate", user, "--wait")[0] == 0


def test_behind_commands_under_way(proxy, old):
    """Their answers come before the OK, in clear; what comes behind it is packed to the last byte."""
    user = new_user()
    fill(old, user, mail.sample(3, 1, sizes=(100, 200), big=(3 << 20,)))
    wire = sign_in(proxy, user)
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    wire.send(b"a FETCH 1:* BODY.PEEK[]\r\nb ENABLE X\r\nc COMPRESS DEFLATE\r\n")
    tags = [x[:4] for x in wire.until(b"c ") if x[:5] in (b"a OK ", b"b OK ", b"c OK ")]
    assert sorted(tags) == [b"a OK", b"b OK", b"c OK"] and tags[-1] == b"c OK"
    wire.socket, wire.buffer = Deflated(wire.socket, wire.buffer), b""
    assert wire.command(b"d", b"NOOP")[-1].startswith(b"d OK")


# ---- mail both ways


@pytest.mark.parametrize("listener", [0, 1])
def test_imaplib_with_zlib(proxy, old, authority, listener):
    user = new_user()
    account = fill(old, user, mail.sample(5, 40, sizes=(300, 60000), big=(2 << 20,)))
    address = proxy.addresses[listener]
    client = imap_client(address, user, authority.ca)
    wire = compress_imaplib(client)
    separator = old.separator
    assert client.select("INBOX")[0] == "OK"
    inbox = [m for m in account.messages if m.mailbox == ("INBOX",)]
    status, answer = client.fetch("1:*", "(BODY.PEEK[])")
    assert status == "OK"
    assert [x[1] for x in answer if isinstance(x, tuple)] == [m.body for m in inbox]
    assert wire.came < 0.85 * wire.unpacked
    assert client.create(f"{old.prefix}again{separator}x")[0] == "OK"
    before = wire.went
    for m in account.messages:
        assert client.append(f"{old.prefix}again{separator}x", None, None, m.body)[0] == "OK"
    assert wire.went - before < 0.85 * account.size
    assert client.select(f"{old.prefix}again{separator}x")[0] == "OK"
    answer = client.fetch("1:*", "(BODY.PEEK[])")[1]
    assert [x[1] for x in answer if isinstance(x, tuple)] == [m.body for m in account.messages]
    assert client.logout()[0] == "BYE"


def imap_client(address, user, ca):
    scheme, _, where = address.partition("://")
    host, _, port = where.rpartition(":")
    client = imaplib.IMAP4_SSL(host, int(port), ssl_context=ssl.create_default_context(cafile=ca)) if scheme == "imaps" else \
        imaplib.IMAP4(host, int(port))
    client.login(user, "secret")
    return client


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("body", [b"", b"x" * 5000, os.urandom(300_000).replace(b"\0", b"1")], ids=["empty", "same", "random"])
def test_append_and_fetch_give_the_same_bytes(packed, sync, body):
    body = b"Subject: x\r\n\r\n" + body.replace(b"\r", b"2").replace(b"\n", b"3")
    packed.send(b"b APPEND INBOX {%d%s}\r\n" % (len(body), b"" if sync else b"+"))
    if sync:
        assert packed.read_line().startswith(b"+ ")
    packed.send(body + b"\r\n")
    assert packed.until(b"b ")[-1].startswith(b"b OK [APPENDUID ")
    assert packed.command(b"c", b"SELECT INBOX")[-1].startswith(b"c OK")
    packed.line(b"d FETCH 1 BODY.PEEK[]")
    assert packed.read_line() == b"* 1 FETCH (BODY[] {%d}" % len(body)
    while len(packed.buffer) < len(body):
        packed.buffer += packed.socket.recv(1 << 16)
    assert packed.buffer[:len(body)] == body
    packed.buffer = packed.buffer[len(body):]
    assert packed.until(b"d ")[-1].startswith(b"d OK")


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH])
def test_one_byte_at_a_time(packed, flush):
    text = b"b APPEND INBOX {5+}\r\nhello\r\nc NOOP\r\n"
    for i in range(len(text)):
        for byte in packed.socket.pack(text[i:i + 1], flush):
            packed.socket.sock.sendall(bytes([byte]))
    assert [x for x in packed.until(b"c ") if x.startswith(b"b OK")]


def test_idle(packed, old):
    assert packed.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    packed.line(b"b IDLE")
    assert packed.read_line().startswith(b"+ ")
    for n in (1, 2, 3):
        m = mail.connect(old, packed.user, "secret")
        m.append("INBOX", None, None, b"Subject: new\r\n\r\nmail\r\n")
        m.logout()
        assert packed.until(b"* %d EXISTS" % n)
    packed.line(b"c COMPRESS DEFLATE")
    assert packed.until(b"c ")[-1] == b"c BAD Expected DONE"
    packed.line(b"DONE")
    assert packed.until(b"b ")[-1].startswith(b"b OK")
    assert packed.command(b"d", b"NOOP")[-1].startswith(b"d OK")


def test_thousands_of_commands_in_one_pipeline(packed):
    n = 3000
    sender = threading.Thread(target=packed.send, args=(b"".join(b"t%d NOOP\r\n" % i for i in range(n)),))
    sender.start()
    tags = [x.split()[0] for x in packed.until(b"t%d " % (n - 1)) if not x.startswith(b"*")]
    sender.join()
    assert tags == [b"t%d" % i for i in range(n)]


def test_last_block_behind_logout(packed, proxy):
    """Some end their data as they log out: the answer comes all the same."""
    packed.socket.sock.sendall(packed.socket.pack(b"b LOGOUT\r\n", zlib.Z_FINISH))
    answers = packed.rest()
    assert answers[0].startswith(b"* BYE") and answers[-1].startswith(b"b OK"), answers
    proxy.wait(rf"event=session_end why=logout .*user={packed.user}")


def test_a_reload_is_for_those_who_sign_in_later(make_ferry, backends):
    ferry = make_ferry(backends, MANUAL)
    proxy = ferry.proxy(proxy={"compress": True})
    before, active = sign_in(proxy), sign_in(proxy)
    compress(active)
    change(os.path.join(ferry.folder, proxy.label + ".conf"), "compress = true", "compress = false")
    proxy.reload()
    assert b"COMPRESS" not in sign_in(proxy).shown
    assert active.command(b"a", b"NOOP")[-1].startswith(b"a OK")
    compress(before)
    assert before.command(b"a", b"NOOP")[-1].startswith(b"a OK")


# ---- what is none, and what is too much


def test_clear_text_behind_compress_is_no_command(proxy, old):
    """As with STARTTLS: nothing that was sent in clear is taken for something that came later."""
    wire = sign_in(proxy)
    wire.send(b"b COMPRESS DEFLATE\r\nc CREATE INBOX.smuggled\r\n")
    assert wire.rest() == [b"* BYE [CLIENTBUG] Nothing may be sent behind COMPRESS before its answer"]
    proxy.wait(rf"event=session_end why=behind_compress .*user={wire.user}")
    assert "INBOX.smuggled" not in mailboxes(old, wire.user)


def raw(wire, data):
    """What it sends cannot be unpacked: the session ends, and nobody else's."""
    wire.socket.sock.sendall(data)
    try:
        assert wire.rest() == []
    except (ConnectionResetError, BrokenPipeError):
        pass


def far_back():
    """A match that points to before the first byte."""
    return bytes.fromhex("4a041e000000")


@pytest.mark.parametrize("data,detail", [
    (b"c CREATE INBOX.smuggled\r\n", "the peer sends damaged compressed data"),
    (b"C CREATE INBOX.smuggled\r\n" * 100, "damaged"),
    (b"\xff" * 100, "damaged"),
    (zlib.compress(b"c CREATE INBOX.smuggled\r\n"), "damaged"),  # with a head of zlib
    (far_back(), "damaged"),
    (b"\x03\x00c CREATE INBOX.smuggled\r\n", "bytes behind the end of the peer's compressed data"),
], ids=["clear", "clear-much", "ones", "zlib", "far", "behind-the-end"])
def test_garbage(packed, proxy, old, data, detail):
    other = sign_in(proxy)
    compress(other)
    raw(packed, data)
    proxy.wait(rf"event=session_end why=client_broken .*user={packed.user}.*detail=.*{detail}")
    assert "INBOX.smuggled" not in mailboxes(old, packed.user)
    assert other.command(b"n", b"NOOP")[-1].startswith(b"n OK")


def test_random_bytes(proxy):
    """Most end the session at once, some only when they have said something: nothing else may happen."""
    other = sign_in(proxy)
    compress(other)
    for seed in range(60):
        wire = sign_in(proxy)
        compress(wire)
        junk = zlib.crc32(b"%d" % seed).to_bytes(4, "big") * 3 + bytes((seed * i * i) % 256 for i in range(500))
        wire.socket.sock.sendall(junk)
        wire.socket.sock.shutdown(socket.SHUT_WR)
        try:
            wire.rest()
        except (ConnectionResetError, zlib.error):
            pass
    assert other.command(b"n", b"NOOP")[-1].startswith(b"n OK")


def test_truncated_stream(packed, proxy, old):
    """The command that has not come whole is none."""
    data = packed.socket.pack(b"b CREATE INBOX.first\r\nc CREATE INBOX.second\r\n")
    packed.socket.sock.sendall(data[:-9])
    packed.socket.sock.shutdown(socket.SHUT_WR)
    assert packed.until(b"b ")[-1].startswith(b"b OK")
    assert packed.rest() == []
    proxy.wait(rf"event=session_end why=client_gone .*user={packed.user}")
    assert "INBOX.first" in mailboxes(old, packed.user) and "INBOX.second" not in mailboxes(old, packed.user)


def test_limits_hold_for_what_is_unpacked(packed):
    """A line of 64 MiB in 64 KiB."""
    packed.send(b"b" * (64 << 20))
    assert packed.rest()[-1] == b"* BYE [CLIENTBUG] This line can't be read"


MIB = 1 << 20
# Kernel buffers on the way are not ours to bound.
TAKEN_MAX = 32 * MIB


@pytest.mark.parametrize("listener", [0, 1])
def test_bomb_against_a_server_that_does_not_take_it(relayed, authority, listener):
    """1 GiB in 1 MiB: it stays packed, and the proxy's memory does not grow."""
    proxy, relay = relayed
    wire = sign_in(proxy, listener=listener, ca=authority.ca, timeout=60)
    compress(wire)
    wire.send(b"b APPEND INBOX {%d+}\r\n" % (1024 * MIB))
    before, memory = relay.passed["up"], proxy.memory()
    relay.stall()
    zeros, bomb = bytes(MIB), b""
    for _ in range(64):
        bomb += wire.socket.pack(zeros)
    wire.socket.sock.setblocking(False)
    for _ in range(16):
        try:
            wire.socket.sock.send(bomb)
        except (BlockingIOError, OSError):
            time.sleep(0.05)
    taken = net.wait_quiet(lambda: relay.passed["up"]) - before
    assert taken < TAKEN_MAX, taken
    assert proxy.memory() - memory < 16 * MIB
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.close()
    relay.resume()
    proxy.wait(rf"event=session_end .*user={wire.user}")


def test_bomb_of_commands_leaves_others_their_turn(proxy):
    """Hundreds of thousands of refused commands in some KiB, their answers read."""
    other, wire = sign_in(proxy), sign_in(proxy)
    compress(wire)
    wire.send(b"x FROB\r\n" * 400_000)

    def read():
        with contextlib.suppress(OSError):
            while wire.socket.sock.recv(65536):
                pass
    reader = threading.Thread(target=read)
    reader.start()
    worst = 0
    for _ in range(30):
        began = time.monotonic()
        assert other.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        worst = max(worst, time.monotonic() - began)
    assert worst < 1, worst
    wire.socket.sock.shutdown(socket.SHUT_RDWR)
    reader.join()
    wire.close()


@pytest.mark.parametrize("listener", [0, 1])
def test_client_that_stops_reading_stops_the_backend(relayed, authority, old, listener):
    """By what waits packed. Then it gets all of it."""
    proxy, relay = relayed
    user = new_user()
    body = b"Subject: big\r\n\r\n" + os.urandom(60 * MIB).replace(b"\0", b"1").replace(b"\r", b"2").replace(b"\n", b"3")
    m = mail.connect(old, user, "secret")
    assert m.append("INBOX", None, None, body)[0] == "OK"
    m.logout()
    wire = sign_in(proxy, user, listener, ca=authority.ca, timeout=60)
    compress(wire)
    wire.command(b"b", b"SELECT INBOX")
    before, memory = relay.passed["down"], proxy.memory()
    wire.send(b"c FETCH 1:* BODY.PEEK[]\r\nd LOGOUT\r\n")
    taken = net.wait_quiet(lambda: relay.passed["down"]) - before
    assert 100_000 < taken < TAKEN_MAX, taken
    assert proxy.memory() - memory < 16 * MIB
    got, tail = 0, wire.buffer
    while True:
        data = wire.socket.recv(1 << 20)
        if not data:
            break
        got, tail = got + len(data), (tail + data)[-300:]
    assert got > len(body) and b"\r\nd OK" in tail, (got, tail)


def test_clients_that_go_away_leave_nothing_behind(ferry, proxy):
    wires = [sign_in(proxy, new_user("left")) for _ in range(20)]
    for n, wire in enumerate(wires):
        compress(wire)
        wire.socket.sock.sendall(wire.socket.pack(b"b IDLE\r\n" if n % 2 else b"b NOO",
                                                  zlib.Z_NO_FLUSH if n % 3 else zlib.Z_SYNC_FLUSH))
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.socket.close()
    net.wait_until("no registrations", lambda: not ferry.redis.client().keys("imapferry:sessions:left*"))
