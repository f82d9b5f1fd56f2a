#!/usr/bin/python3
"""What COMPRESS=DEFLATE costs the proxy and saves clients: `make bench-compress`. One thread of the proxy, a real server behind
it, and for each kind of mail, without and with COMPRESS, by IMAP and by IMAPS:

    CPU     seconds of the proxy's processor for each GiB that the client got (or stored)
    bytes   that passed to the client (or from it), of those that it unpacked; without TLS, whose part is the same

and the proxy's memory for each of SESSIONS idle sessions, that have said a little.

    MIB=256 SESSIONS=500 make bench-compress"""
import base64
import os
import random
import resource
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from fakes.fake_imap import FakeImap                             # noqa: E402
from harness import certs, mail, net, redisd                     # noqa: E402
from harness.deflated import Deflated                            # noqa: E402
from harness.dovecot import Dovecot                              # noqa: E402
from harness.ferry import Ferry                                  # noqa: E402

MIB = int(os.environ.get("MIB") or 256)
SESSIONS = int(os.environ.get("SESSIONS") or 500)
GIB = 1 << 30
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def texts():
    """What people wrote: the files of this tree."""
    found = []
    for folder in ("lib", "proxy", "migrator", "tests/e2e"):
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".py", ".md")):
                    with open(os.path.join(path, name), "rb") as f:
                        found.append(f.read().replace(b"\n", b"\r\n"))
    return b"".join(found)


def head(n):
    return (f"From: Ann Other <ann{n % 9}@example.org>\r\nTo: bob@example.net\r\nSubject: about {n * 7919 % 1000}\r\n"
            f"Date: Tue, 03 Mar 2015 10:00:{n % 60:02} +0100\r\nMessage-ID: <{n}.{n * 48271 % 2147483647:x}@example.org>\r\n\r\n").encode()


def mailboxes():
    rng, text = random.Random(4978), texts()
    pieces = [text[i:i + 12000] for i in range(0, min(len(text), 8 << 20), 12000)]
    yield "text of 12 KB", b"(BODY.PEEK[])", [head(n) + piece for n, piece in enumerate(pieces)]
    yield "attachments of 1 MB", b"(BODY.PEEK[])", [
        head(n) + base64.encodebytes(rng.randbytes(750_000)).replace(b"\n", b"\r\n") for n in range(16)]
    yield "lists with ENVELOPE", b"(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", [head(n) + b"x\r\n" for n in range(8000)]


class Client:
    def __init__(self, address, user, compressed):
        scheme, _, where = address.partition("://")
        host, port = where.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        if scheme == "imaps":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.got = 0
        self.tail = b""
        while b"\n" not in self.tail:
            self.tail += self.socket.recv(4096)
        self.command(b"LOGIN %s secret" % user.encode())
        if compressed:
            self.command(b"COMPRESS DEFLATE")
            self.socket = Deflated(self.socket)

    def command(self, text):
        self.socket.sendall(b"x " + text + b"\r\n")
        self.answer()

    def answer(self):
        tail = b""
        while True:
            data = self.socket.recv(1 << 20)
            assert data, tail
            self.got += len(data)
            tail = tail[-2000:] + data
            last = (b"\r\n" + tail)[-2000:].rpartition(b"\r\nx ")
            if last[1] and last[2].find(b"\r\n") == len(last[2]) - 2:
                assert last[2].startswith(b"OK"), last
                return


def cpu(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
        stat = f.read().rpartition(") ")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def download(proxy, listener, user, what, compressed):
    client = Client(proxy.addresses[listener], user, compressed)
    client.command(b"SELECT INBOX")
    before, client.got = cpu(proxy), 0
    came = client.socket.came if compressed else 0
    while client.got < MIB << 20:
        client.command(b"FETCH 1:* " + what)
    share = (client.socket.came - came) / client.got if compressed else 1
    used = (cpu(proxy) - before) / client.got * GIB
    client.socket.close()
    return used, share


def upload(proxy, listener, user, bodies, compressed):
    client = Client(proxy.addresses[listener], user, compressed)
    before, sent = cpu(proxy), 0
    went = client.socket.went if compressed else 0
    while sent < MIB << 18:  # the server stores it: a quarter
        for body in bodies:
            client.socket.sendall(b"x APPEND INBOX {%d+}\r\n%s\r\n" % (len(body), body))
            client.answer()
            sent += len(body)
            if sent >= MIB << 18:
                break
    share = (client.socket.went - went) / sent if compressed else 1
    used = (cpu(proxy) - before) / sent * GIB
    client.socket.close()
    return used, share


def row(label, figures):
    (off, _), (on, share), (off_tls, _), (on_tls, _) = figures
    print(f"| {label} | {off:.1f} | {on:.1f} | {off_tls:.1f} | {on_tls:.1f} | {share:.0%} |", flush=True)


def measure_work(folder, store, cert):
    with Dovecot("old") as old, Dovecot("new") as new:
        ferry = Ferry(store, {"old": {"address": old.url("imap")}, "new": {"address": new.url("imap")}}, cert,
                      {"migration": {"trigger": "manual"}})
        ferry.init()
        proxy = ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"), proxy={"threads": 1})
        ways = [(listener, compressed) for listener in (0, 1) for compressed in (False, True)]
        print("| | CPU s/GiB by IMAP | with COMPRESS | by IMAPS | with COMPRESS | bytes that pass |\n|---|---|---|---|---|---|")
        for number, (label, what, bodies) in enumerate(mailboxes()):
            user = f"down{number}@example.org"
            m = mail.connect(old, user, "secret")
            for body in bodies:
                m.append("INBOX", None, None, body)
            m.logout()
            row(label, [download(proxy, listener, user, what, compressed) for listener, compressed in ways])
            if number < 2:
                row(label + ", stored", [upload(proxy, listener, f"up{number}@example.org", bodies, compressed)
                                         for listener, compressed in ways])
        ferry.close()


def measure_memory(store, cert):
    with FakeImap() as old, FakeImap() as new:
        ferry = Ferry(store, {"old": {"address": old.url()}, "new": {"address": new.url()}}, cert,
                      {"migration": {"trigger": "manual"}, "redis": {"prefix": "memory"}})
        ferry.init()
        for compressed in (False, True):
            proxy = ferry.proxy(proxy={"threads": 1})
            clients = [Client(proxy.addresses[0], "ann", compressed)]
            before = proxy.memory()
            for n in range(SESSIONS):
                client = Client(proxy.addresses[0], f"ann{n}", compressed)
                client.command(b"SELECT INBOX")
                for _ in range(10):
                    client.command(b"NOOP")
                clients.append(client)
            time.sleep(0.5)
            print(f"memory of an idle session {'with COMPRESS' if compressed else 'without'}: "
                  f"{(proxy.memory() - before) / SESSIONS / 1024:.1f} KiB", flush=True)
            for client in clients:
                client.socket.close()
            proxy.stop()
        ferry.close()


def main():
    folder = net.temp_folder("compress")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    authority = certs.Authority(folder)
    cert = authority.issue("proxy")
    store = redisd.Redis(port=net.free_port(), fsync="everysec")
    try:
        measure_work(folder, store, cert)
        measure_memory(store, cert)
    finally:
        store.close()
        net.remove_folder(folder)


if __name__ == "__main__":
    main()
