#!/usr/bin/python3
"""make bench-view: the CPU that the relay takes for a session whose UIDs are mapped, beside one that sees the server as it
is; and beside a proxy of before (BEFORE=FOLDER, a build folder of another commit).

    MESSAGES=20000      in the mailbox, with a gap after each
    SIZE=100            MiB of bodies, in messages of 64 KiB
    ROUNDS=150          each listing is fetched so often a run; RUNS=3, and the best of them counts

The server is a process of this file, which sends what it has ready. The clients read and throw away."""
import os
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import daemon, net, redisd  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402

MESSAGES = int(os.environ.get("MESSAGES") or 20000)
SIZE = int(os.environ.get("SIZE") or 100)
ROUNDS = int(os.environ.get("ROUNDS") or 150)
RUNS = int(os.environ.get("RUNS") or 3)
BEFORE = os.environ.get("BEFORE") or ""
NOW = daemon.BUILD
TICK = os.sysconf("SC_CLK_TCK")
PIECE = 64 * 1024


# ---- a server that has its answers ready

def flags_answer():
    return b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (n, n) for n in range(1, MESSAGES + 1))


def bodies_answer():
    n = SIZE * 1024 * 1024 // PIECE
    line = b"x" * 76 + b"\r\n"
    body = (line * (PIECE // len(line) + 1))[:PIECE]
    return b"".join(b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (k, k, PIECE, body) for k in range(1, n + 1))


def serve_one(connection, ready):
    connection.sendall(b"* OK [CAPABILITY IMAP4rev1 UIDPLUS AUTH=PLAIN SASL-IR] ready\r\n")
    stream = connection.makefile("rb")
    for line in stream:
        tag, verb = line.split()[0], line.upper().split()[1]
        if verb == b"LOGIN" or verb == b"AUTHENTICATE":
            answer = b"%s OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n" % tag
        elif verb == b"SELECT":
            answer = (b"* %d EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT %d] so\r\n%s OK in\r\n"
                      % (MESSAGES, MESSAGES + 1, tag))
        elif verb == b"UID":
            answer = (ready["flags"] if b"FLAGS" in line else ready["bodies"]) + b"%s OK done\r\n" % tag
        else:
            answer = b"%s OK done\r\n" % tag
        connection.sendall(answer)


def serve():
    ready = {"flags": flags_answer(), "bodies": bodies_answer()}
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection = listener.accept()[0]
        threading.Thread(target=serve_one, args=(connection, ready), daemon=True).start()


# ---- the account, as a flip leaves it

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def digits(n):
    """lib/digits.h."""
    text = ""
    while n >= 32:
        text += DIGITS[32 + n % 32]
        n //= 32
    return text + DIGITS[n]


def map_text():
    """Every second UID of the client's."""
    return "1" + digits(2 * MESSAGES + 1) + digits(MESSAGES + 1) + digits(MESSAGES) + (digits(1) + digits(0) + digits(0)) * MESSAGES


def plant(store, user, view):
    store.hset(f"imapferry:route:{user}", mapping={
        "backend": "new", "state": "settled", "epoch": 3, "source": "old", "target": "new", "home": "old", "left": "old",
        "generation": store.hget("imapferry:store", "generation"), "view": view})
    store.hset(f"imapferry:views:{user}", mapping={
        "": "1 client=/, backend=/, avoid=",
        "INBOX": f"1 id=a1 source=INBOX target=INBOX uidvalidity=7,70 uidnext={2 * MESSAGES + 1},{MESSAGES + 1} highest=7 "
                 f"tier=T2 map={map_text()}"})


# ---- clients

class Client:
    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.tail = b""
        self.until(b"* OK")
        self.command(b"a LOGIN %s secret" % user.encode())
        self.command(b"a SELECT INBOX")

    def until(self, start):
        """Reads and throws away; the bytes."""
        total = 0
        while True:
            data = self.socket.recv(1 << 20)
            assert data
            total += len(data)
            self.tail = (self.tail + data)[-200:]
            last = self.tail.rstrip(b"\r\n").rsplit(b"\n", 1)[-1]
            if self.tail.endswith(b"\r\n") and last.startswith(start):
                assert b" NO " not in last and b" BAD " not in last, last
                self.tail = b""
                return total

    def command(self, line):
        self.socket.sendall(line + b"\r\n")
        return self.until(b"a ")


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(proxy, user):
    """Seconds of CPU a GiB of bodies, and for ROUNDS listings."""
    port = int(proxy.addresses[0].rsplit(":", 1)[1])
    client = Client(port, user)
    began, total = cpu(proxy.pid), 0
    while total < 1 << 30:
        total += client.command(b"a UID FETCH 1:* (BODY.PEEK[])")
    bodies = (cpu(proxy.pid) - began) * (1 << 30) / total
    began = cpu(proxy.pid)
    for _ in range(ROUNDS):
        client.command(b"a UID FETCH 1:* (FLAGS)")
    return bodies, cpu(proxy.pid) - began


class Server:
    """What harness.ferry has to know of one."""

    def __init__(self, name, port):
        self.name, self.port = name, {"imap": port}

    def url(self, scheme="imap", host="127.0.0.1"):
        return f"{scheme}://{host}:{self.port['imap']}"


def run_proxy(ferry, store, build):
    daemon.BUILD = build
    proxy = ferry.proxy(proxy={"threads": 1, "allow_plaintext": True})
    found = {}
    for kind, view in (("as it is", ""), ("mapped", "1:ab")):
        user = f"{kind.split()[-1]}@example.org"
        plant(store, user, view)
        runs = [measure(proxy, user) for _ in range(RUNS)]
        found[kind] = tuple(min(r[i] for r in runs) for i in (0, 1))
    proxy.stop()
    return found


def main():
    if sys.argv[1:] == ["serve"]:
        serve()
    server = subprocess.Popen([sys.executable, "-B", __file__, "serve"], stdout=subprocess.PIPE, text=True)
    redis = redisd.Redis(port=net.free_port())
    try:
        there = Server("new", int(server.stdout.readline()))
        sides = {"old": backend(Server("old", net.free_port()), "imap", master=False), "new": backend(there, "imap", master=False)}
        ferry = Ferry(redis, sides, None, {"migration": {"trigger": "manual"}})
        ferry.init()
        rows = []
        if BEFORE:
            rows.append(("before, as it is", run_proxy(ferry, redis.client(), BEFORE)["as it is"]))
        now = run_proxy(ferry, redis.client(), NOW)
        rows += now.items()
        print(f"{'session':20} {'s/GiB of bodies':>18} {f's/{ROUNDS} lists of {MESSAGES} FLAGS':>30}")
        plain = now["as it is"]
        for name, (bodies, flags) in rows:
            print(f"{name:20} {bodies:10.3f} ({bodies / plain[0]:5.2f}) {flags:20.3f} ({flags / plain[1]:5.2f})")
        good = now["mapped"][0] <= 1.3 * plain[0] and now["mapped"][1] <= 2 * plain[1]
        print("bounds: bodies 1.3, flags 2.0:", "kept" if good else "NOT kept")
        return 0 if good else 1
    finally:
        server.kill()
        server.wait()
        redis.close()


if __name__ == "__main__":
    sys.exit(main())
