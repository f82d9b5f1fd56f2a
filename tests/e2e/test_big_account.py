"""A large account, and the memory that it takes. Memory is measured over what the process had before, since the
sanitizers' own share is large; their quarantine of freed memory is switched off for it."""
import hashlib
import os
import socket

import pytest

from harness import mail, net
from harness.relay import DOWN, Relay
from harness.ferry import backend
from harness.maildir import Maildir
from harness.scene import assert_equal, connect, fill, new_user

BIG = 30 << 20
MB = 1 << 20


@pytest.fixture(autouse=True)
def lean(monkeypatch):
    monkeypatch.setenv("IMAPFERRY_ASAN_OPTIONS", "quarantine_size_mb=0:thread_local_quarantine_size_kb=0")


@pytest.mark.timeout(300)
def test_two_thousand_messages_and_thirty_megabytes(ferry, old, new):
    user = new_user("big")
    account = mail.sample(seed=2000, messages=1999, sizes=(500, 60000), big=(BIG,))
    assert len(account.messages) == 2000 and account.size > BIG
    fill(old, user, account)
    migrator = ferry.migrator()
    before = migrator.memory_peak()
    ferry.login(ferry.proxy(), user, "secret")
    ferry.wait_state(user, "flipped", timeout=200)
    grown = migrator.memory_peak() - before
    assert grown < 12 * MB, f"the migrator grew by {grown / MB:.1f} MB"
    assert_equal(old, new, user, 2000)


def moved(ferry, migrator, user):
    """What the migrator's memory has ever been, once the account is on the new server."""
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "flipped", timeout=240)
    return migrator.memory_peak()


def listed(server, user):
    """(message number, flags and size) of INBOX."""
    m = mail.connect(server, user, "secret")
    m.select("INBOX", readonly=True)
    lines = m.fetch("1:*", "(FLAGS RFC822.SIZE)")[1]
    m.logout()
    return [line.replace(b"\\Recent", b"").replace(b"( ", b"(").replace(b" )", b")") for line in lines]


@pytest.mark.timeout(300)
def test_thirty_thousand_messages_take_little_more_than_a_thousand(ferry, old, new):
    """What `make check-huge` shows of half a million; there it is 100 bytes a message, here sanitizers take part."""
    few, many = new_user("few"), new_user("many")
    migrator = ferry.migrator()
    Maildir(old, few).fill(1000)
    Maildir(old, many).fill(30000)
    before = moved(ferry, migrator, few)
    grown = moved(ferry, migrator, many) - before
    assert listed(old, many) == listed(new, many) and len(listed(new, many)) == 30000
    print(f"grown by {grown / MB:.1f} MB")
    assert grown < 7 * MB, f"the migrator grew by {grown / MB:.1f} MB"


@pytest.mark.timeout(300)
def test_message_of_sixty_four_megabytes_is_never_in_memory(ferry, old, new):
    small, large = new_user("small"), new_user("large")
    migrator = ferry.migrator()
    for user, size in ((small, 1 << 20), (large, 64 << 20)):
        box = Maildir(old, user)
        box.link(box.write(1, size))
    before = moved(ferry, migrator, small)
    grown = moved(ferry, migrator, large) - before
    assert listed(old, large) == listed(new, large) and len(listed(new, large)) == 1
    print(f"grown by {grown / MB:.1f} MB")
    assert grown < 3 * MB, f"the migrator grew by {grown / MB:.1f} MB"


def test_reader_that_stops_in_the_middle_of_a_fetch(make_ferry, old, new, authority):
    user = new_user("slow")
    body = b"Subject: large\r\n\r\n" + os.urandom(BIG // 2).hex().encode() + b"\r\n"
    m = mail.connect(old, user, "secret")
    mail.append(m, "INBOX", [mail.Message(("INBOX",), body)])
    m.logout()
    relay = Relay(("127.0.0.1", old.port["imap"]))
    ferry = make_ferry({"old": backend(relay, "imap"), "new": backend(new, ca=authority.ca)},
                       settings={"migration": {"trigger": "manual"}})
    proxy = ferry.proxy()
    with connect(proxy, timeout=60) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
        # The kernel would hold half of the message for a client whose buffer it lets grow (tcp_rmem).
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        before = proxy.memory_peak()
        wire.line(b"f FETCH 1 (BODY.PEEK[])")
        head = wire.until(b"* 1 FETCH")[-1]
        seen = []

        def stopped():
            """Nothing more came from the backend for a second."""
            seen.append(relay.passed[DOWN])
            return len(seen) > 20 and seen[-1] == seen[-20]
        net.wait_until("end of what the proxy takes from the backend", stopped, timeout=30, step=0.05)
        # Of what the relay passed on, most lies in the kernel: a connection's buffers may hold a message of this size.
        taken = relay.passed[DOWN] - net.unread(relay.number)
        assert taken < BIG // 2, f"the proxy went on reading: {taken / MB:.1f} MB"
        with connect(proxy) as other:  # the thread is not held up by it
            assert other.login(new_user()).startswith(b"l1 OK")
        grown = proxy.memory_peak() - before
        assert grown < 2 * MB, f"the proxy grew by {grown / MB:.1f} MB"
        size = int(head[head.index(b"{") + 1:head.index(b"}")])
        assert size == len(body)
        left, digest = size, hashlib.sha256()
        while left:
            data = wire.buffer[:left] or wire.socket.recv(min(left, 1 << 20))
            wire.buffer = wire.buffer[len(data):] if wire.buffer else b""
            assert data, "the connection ended inside the literal"
            digest.update(data)
            left -= len(data)
        assert digest.digest() == hashlib.sha256(body).digest()
        assert wire.until(b"f ")[-1].startswith(b"f OK")
        grown = proxy.memory_peak() - before
        assert grown < 2 * MB, f"the proxy grew by {grown / MB:.1f} MB"
    relay.close()


def test_sender_against_a_backend_that_stops_reading(make_ferry, old, new, authority):
    """The other direction: an APPEND of 30 MB while the backend takes nothing."""
    user = new_user("push")
    relay = Relay(("127.0.0.1", old.port["imap"]))
    ferry = make_ferry({"old": backend(relay, "imap"), "new": backend(new, ca=authority.ca)},
                       settings={"migration": {"trigger": "manual"}})
    proxy = ferry.proxy()
    body = b"Subject: large\r\n\r\n" + os.urandom(BIG // 2).hex().encode() + b"\r\n"
    with connect(proxy, timeout=5) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        before = proxy.memory_peak()
        relay.stall()
        wire.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            wire.send(b"a APPEND INBOX {%d+}\r\n" % len(body) + body + b"\r\n")
        grown = proxy.memory_peak() - before
        assert grown < 2 * MB, f"the proxy grew by {grown / MB:.1f} MB"
    relay.close()
