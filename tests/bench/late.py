#!/usr/bin/python3
"""make bench-late: how many accounts a second one migrator looks at on the server that they have left.

    LOOKS=2,8,16,32     migrator.late_looks, one run each
    ACCOUNTS=200        flipped and settled, so that daily looks are due; MAILBOXES=5 each with a few messages
    ROUNDS=3            each account is looked at so often a run
    CONNECTIONS=0       backend.max_connections; 0: twice the looks, so that these are the bound
    TLS=1               both servers by IMAPS

All looks of a round are due at once. Beside it the floor: what bare clients reach that do, as many at once, what a look has to
do on both servers: sign in, LIST and STATUS of each mailbox on the old one, LIST on the new one, sign out. A million
accounts need 11.6 looks a second for daily ones."""
import os
import re
import socket
import ssl
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import certs, dovecot, mail, net, redisd  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402

LOOKS = [int(n) for n in (os.environ.get("LOOKS") or "2,8,16,32").split(",")]
ACCOUNTS = int(os.environ.get("ACCOUNTS") or 200)
MAILBOXES = int(os.environ.get("MAILBOXES") or 5)
ROUNDS = int(os.environ.get("ROUNDS") or 3)
CONNECTIONS = int(os.environ.get("CONNECTIONS") or 0)
TLS = bool(int(os.environ.get("TLS") or 0))
SETTINGS = {
    "migrator": {"job_lease": "30s", "command_timeout": "30s", "jobs": 8},
    "migration": {"trigger": "manual", "cutover": "immediate", "late_watch": "1s"},
    "proxy": {"lease": "10s", "lease_long": "20s"},
}
DAILY = "imapferry:late:daily"
FAR = 12 * 3600 * 1000  # ms; the next daily look is further off
BODY = b"Subject: %s %d\r\nFrom: ann@example.org\r\n\r\n" + b"x" * 500 + b"\r\n"


# ---- the floor: a process of its own for each client, so that they don't wait for each other

class Bare:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if TLS:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.data = b""

    def answer(self, *tags):
        """All of it up to the last of these tagged answers."""
        while not all(re.search(rb"^%s (OK|NO|BAD)[^\n]*\n" % t, self.data, re.M) for t in tags):
            more = self.socket.recv(65536)
            assert more, self.data
            self.data += more
        found, self.data = self.data, b""
        assert found.count(b" OK ") >= len(tags), found
        return found

    def sign_in(self, user):
        self.answer(rb"\*")
        self.socket.sendall(b"a LOGIN %s*%s %s\r\n" % (user.encode(), dovecot.MASTER_USER.encode(), dovecot.MASTER_PASSWORD.encode()))
        self.answer(b"a")

    def names(self):
        self.socket.sendall(b'l LIST "" "*"\r\n')
        return re.findall(rb'^\* LIST \([^)]*\) "." "?([^"\r\n]+)', self.answer(b"l"), re.M)

    def numbers(self, names):
        self.socket.sendall(b"".join(b's%d STATUS "%s" (MESSAGES UIDNEXT UIDVALIDITY)\r\n' % x for x in enumerate(names)))
        self.answer(*(b"s%d" % i for i in range(len(names))))

    def sign_out(self):
        self.socket.sendall(b"z LOGOUT\r\n")
        self.answer(b"z")
        self.socket.close()


def bare_look(old, new, user):
    sides = [Bare(old), Bare(new)]
    for side in sides:
        side.sign_in(user)
    sides[0].numbers(sides[0].names())
    sides[1].names()
    for side in sides:
        side.sign_out()


def bare_client(old, new, users):
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for user in users:
        bare_look(old, new, user)


def floor(world, count):
    """Looks a second of so many bare clients."""
    users = world.users * ROUNDS
    port = "imaps" if TLS else "imap"
    ports = [str(world.old.port[port]), str(world.new.port[port])]
    clients = [subprocess.Popen([sys.executable, "-B", __file__, "client", *ports, *users[i::count]], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True) for i in range(count)]
    for c in clients:
        assert c.stdout.readline() == "ready\n"
    began = time.monotonic()
    for c in clients:
        c.stdin.write("go\n")
        c.stdin.flush()
    for c in clients:
        assert c.wait() == 0
        c.stdin.close()
        c.stdout.close()
    return len(users) / (time.monotonic() - began)


# ---- ours

class World:
    def __init__(self):
        self.folder = net.temp_folder("late")
        authority = certs.Authority(os.path.join(self.folder, "ca")) if TLS else None
        cert = authority and authority.issue("server")
        self.old = dovecot.Dovecot("old", separator="/", mail="maildir", cert=cert)
        self.new = dovecot.Dovecot("new", separator="/", mail="mdbox", cert=cert)
        self.redis = redisd.Redis(port=net.free_port())
        options = {"scheme": "imaps", "ca": authority.ca} if TLS else {"scheme": "imap"}
        self.ferry = Ferry(self.redis, {"old": backend(self.old, **options), "new": backend(self.new, **options)}, settings=SETTINGS)
        self.ferry.source_may_change = True
        self.ferry.init()
        self.users = [f"late{n}@example.org" for n in range(ACCOUNTS)]
        self.client = self.redis.client()

    def fill(self):
        for user in self.users:
            m = mail.connect(self.old, user, dovecot.PASSWORD)
            for n in range(MAILBOXES):
                box = f"box{n}" if n else "INBOX"
                if n:
                    m.create(box)
                mail.append(m, box, [mail.Message((box,), BODY % (user.encode(), i)) for i in range(3)])
            m.logout()

    def settle(self):
        """All accounts are switched over, and past their set time."""
        path = os.path.join(self.ferry.folder, "users")
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(self.users) + "\n")
        migrator = self.ferry.migrator()
        assert self.ferry.ctl("migrate", "--all", path)[0] == 0
        net.wait_until("all settled", lambda: self.client.zcard(DAILY) == ACCOUNTS, 600)
        migrator.stop()

    def now(self):
        seconds, micro = self.client.time()
        return seconds * 1000 + micro // 1000

    def looked(self):
        return self.client.zcount(DAILY, self.now() + FAR, "+inf")

    def make_due(self):
        now = self.now()
        self.client.zadd(DAILY, {user: now for user in self.users})

    def looks(self, count):
        """Looks a second, from the end of the first to that of the last: a migrator that has nothing to do finds what is due
        within a second, which is not what is measured."""
        connections = {"max_connections": CONNECTIONS or max(8, 2 * count)}
        migrator = self.ferry.migrator(migrator={"late_looks": count}, backends={
            side: dict(self.ferry.backends[side], **connections) for side in ("old", "new")})
        looks, seconds = 0, 0.0
        for _ in range(ROUNDS):
            self.make_due()
            done = net.wait_until("a look", self.looked, 60, step=0.002)
            began = time.monotonic()
            net.wait_until("all looked at", lambda: self.looked() == ACCOUNTS, 600, step=0.005)
            looks, seconds = looks + ACCOUNTS - done, seconds + time.monotonic() - began
        assert not migrator.find("event=late_blind"), migrator.tail()
        migrator.stop()
        return looks / seconds

    def close(self):
        self.ferry.close()
        self.redis.close()
        self.old.close()
        self.new.close()
        net.remove_folder(self.folder)


def main():
    world = World()
    try:
        world.fill()
        world.settle()
        print(f"{ACCOUNTS} accounts, {MAILBOXES} mailboxes, {'IMAPS' if TLS else 'IMAP'}, max_connections "
              f"{CONNECTIONS or 'twice the looks'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
        print("| late_looks | looks a second | bare clients | share |\n|---|---|---|---|", flush=True)
        for count in LOOKS:
            rate, bare = world.looks(count), floor(world, count)
            print(f"| {count} | {rate:.1f} | {bare:.1f} | {rate / bare:.2f} |", flush=True)
        print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    finally:
        world.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        bare_client(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    else:
        main()
