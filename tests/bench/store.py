#!/usr/bin/python3
"""make bench-store: what Redis has to do for a login, a session, a migration, and what of it is full first.

    LOGINS=20000        logins of which Redis' CPU time is taken, for each way to run the transitions
    CONNECTIONS=200     of proxies' threads, each with one login under way
    BUSY=1              Redis has so much to do that all of them wait for it; 0: it waits for each call
    ROUNDS=5            both ways take turns; the median counts
    BEFORE=REVISION     the EVALSHA side is made of the files of that revision of the tree, not of those that stand here
    ONLY=cpu,site       one half only
    IDLE=30             seconds of each look at what goes on while nothing happens
    ACCOUNTS=20         accounts that are migrated in the second half; MAILBOXES=5 each

First half: the very calls of a login (its route, `enter`, `leave`), with the arguments that proxies send, against a private
Redis with appendfsync always: as EVALSHA with the common head in front of each script, and as the programs call
them. Of a hundred accounts 70 are settled, 29 rest without a record, and one is queued by its login. CPU time is what Redis
says of itself (user and system), the network and the append-only file included.
Second half: a proxy, a migrator and two Dovecots; what Redis counts while nothing happens, while users sign in, while sessions
are open, while accounts move. Then a large site by these figures."""
import os
import signal
import socket
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import dovecot, mail, net, redisd, scripts  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402

LOGINS = int(os.environ.get("LOGINS") or 20000)
CONNECTIONS = int(os.environ.get("CONNECTIONS") or 200)
BUSY = bool(int(os.environ.get("BUSY") or 1))
ROUNDS = int(os.environ.get("ROUNDS") or 5)
BEFORE = os.environ.get("BEFORE") or None
ONLY = [x for x in (os.environ.get("ONLY") or "cpu,site").split(",") if x]
ACCOUNTS = int(os.environ.get("ACCOUNTS") or 20)
IDLE = int(os.environ.get("IDLE") or 30)
MAILBOXES = int(os.environ.get("MAILBOXES") or 5)
STORE = "0123456789abcdef0123456789abcdef"
# As a migration leaves it.
SETTLED = {"backend": "new", "state": "settled", "epoch": "3", "source": "old", "target": "new", "owner": "",
           "last_owner": "0123456789abcdef0123456789abcdef", "prior": "2", "deadline": "0", "reason": "", "attempts": "0",
           "next_try": "0", "force": "", "back": "", "now": "", "bulk": "", "job": "", "staff": "", "view": "", "engaged": "0",
           "prepared": "1700000000000", "waits": "0", "pass_at": "1700000000000", "left": "old", "home": "old", "given": "",
           "at": "mig1", "died": "", "died_late": "", "held_from": "", "failed": "", "flipped_at": "1700000000000",
           "counted": "1 settled new", "mailboxes_done": "5", "mailboxes_total": "5", "messages_done": "1000",
           "messages_total": "1000", "messages_verified": "1000", "bytes_done": "20000000", "bytes_total": "20000000",
           "tiers": "T3:5", "touching": "0"}


# ---- the first half: CPU time

def packed(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Scripts:
    """Each transition a script behind the head."""
    name, command = "EVALSHA", "evalsha"

    def __init__(self, client):
        wanted = ("read", "enter", "leave")
        self.sha = {n: client.script_load(scripts.whole(n, BEFORE)) for n in wanted}

    def call(self, name, *args):
        return packed("EVALSHA", self.sha[name], 1, "imapferry", STORE, *args)

    def route(self, user):
        return self.call("read", user)


class Functions:
    """As the programs call: one library, its head run once."""
    name, command = "FCALL", "fcall"

    def __init__(self, client):
        scripts.load(client)

    @staticmethod
    def call(name, *args):
        return packed("FCALL", scripts.function(name), 1, "imapferry", STORE, *args)

    def route(self, user):
        return self.call("where", user)


class Server:
    """A Redis with a store, accounts, and connections."""

    def __init__(self):
        self.redis = redisd.Redis()
        self.client = self.redis.client()
        self.client.eval(scripts.whole("init"), 1, "imapferry", "", STORE, 1000)
        self.client.hset("imapferry:store", "quarantine_until", 0)
        self.generation = self.client.hget("imapferry:store", "generation")
        self.users = [f"user{n}@example.org" for n in range(LOGINS)]
        self.wires = []
        for _ in range(CONNECTIONS):
            wire = socket.socket(socket.AF_UNIX)
            wire.connect(self.redis.socket)
            self.wires.append(wire)

    def plant(self):
        """Accounts as they were before anybody signed in."""
        p = self.client.pipeline(transaction=False)
        for n, user in enumerate(self.users):
            p.delete(f"imapferry:route:{user}")
            if n % 100 < 70:
                p.hset(f"imapferry:route:{user}", mapping={**SETTLED, "generation": self.generation})
        p.delete("imapferry:jobs", "imapferry:events", "imapferry:counts")
        p.execute()

    def login(self, way, n):
        user, session = self.users[n], f"0123456789abcdef0123456789abcdef/{n}"
        seen = ("new", "settled", "3") if n % 100 < 70 else ("old", "resting", "0")
        queued = 1 if n % 100 == 99 else 0
        return [way.route(user),
                way.call("enter", user, session, *seen, self.generation, "192.0.2.17", queued, "old", "new", "old",
                         86400000 if queued else 0, b"s" * 160 if queued else b""),
                way.call("leave", user, session)]

    def cpu(self):
        info = self.client.info("cpu")
        return info["used_cpu_user"], info["used_cpu_sys"]

    def step(self, calls):
        """One call on each connection; their answers. A Redis that is busy finds the calls of all connections waiting when it
        looks: here it is stopped while they are sent."""
        if BUSY:
            self.redis.signal(signal.SIGSTOP)
        for wire, call in zip(self.wires, calls):
            wire.sendall(call)
        if BUSY:
            self.redis.signal(signal.SIGCONT)
        answers = []
        for wire, _ in zip(self.wires, calls):
            answer = wire.recv(65536)
            while not answer.endswith(b"\r\n"):
                answer += wire.recv(65536)
            answers.append(answer)
        return answers

    def run(self, way):
        """(user seconds, system seconds) for 1,000 logins, microseconds a call, bytes in, bytes out for a login."""
        self.plant()
        groups = [[self.login(way, n) for n in range(at, min(at + CONNECTIONS, LOGINS))] for at in range(0, LOGINS, CONNECTIONS)]
        self.client.config_resetstat()
        before, out = self.cpu(), 0
        for group in groups:
            for step in range(3):
                answers = self.step([login[step] for login in group])
                assert all(a.startswith(b"*") and b"\r\nok\r\n" in a for a in answers), answers
                out += sum(map(len, answers))
        after = self.cpu()
        took = self.client.info("commandstats")[f"cmdstat_{way.command}"]["usec_per_call"]
        sent = sum(len(call) for group in groups for login in group for call in login)
        return [(b - a) / LOGINS * 1000 for a, b in zip(before, after)] + [took, sent / LOGINS, out / LOGINS]

    def close(self):
        for wire in self.wires:
            wire.close()
        self.client.close()
        self.redis.close()


def ways_of(client):
    return [Scripts(client), Functions(client)]


def measure_cpu():
    """CPU seconds for 1,000 logins as the programs call."""
    server = Server()
    try:
        ways = ways_of(server.client)
        runs = {way.name: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                runs[way.name].append(server.run(way))
    finally:
        server.close()
    print(f"{LOGINS} logins on {CONNECTIONS} connections{'' if BUSY else ', one after the other'}, {ROUNDS} rounds, medians, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
    print("| as | CPU s per 1,000 logins | of it system | share | µs in a call | bytes to Redis a login | bytes back |\n"
          "|---|---|---|---|---|---|---|")
    first = None
    for way in ways:
        user, system, took, sent, back = (statistics.median(r[i] for r in runs[way.name]) for i in range(5))
        total = statistics.median(r[0] + r[1] for r in runs[way.name])
        first = first or total
        print(f"| {way.name} | {total:.4f} | {system:.4f} | {total / first:.2f} | {took:.1f} | {sent:.0f} | {back:.0f} |")
    print(flush=True)
    return total


# ---- the second half: a small site

class Counted:
    """What Redis did between two looks."""

    def __init__(self, client):
        self.client = client
        self.began = time.monotonic()
        self.before = self._look()

    def _look(self):
        info = self.client.info("everything")
        calls = sum(info.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("fcall", "evalsha", "eval"))
        return {"calls": calls, "in": info["total_net_input_bytes"], "out": info["total_net_output_bytes"],
                "cpu": info["used_cpu_user"] + info["used_cpu_sys"], "commands": info["total_commands_processed"]}

    def end(self, idle=None):
        """Without what would have been done anyway: a rate of each, by end() of another count."""
        seconds = time.monotonic() - self.began
        after = self._look()
        done = {k: after[k] - self.before[k] for k in after}
        if idle:
            return {k: max(0, v - idle[k] * seconds) for k, v in done.items()}
        return {k: v / seconds for k, v in done.items()}


def wire_to(address):
    host, port = address.partition("://")[2].rsplit(":", 1)
    s = socket.create_connection((host, int(port)), timeout=30)
    f = s.makefile("rb")
    f.readline()
    return s, f


def command(wire, line):
    s, f = wire
    s.sendall(b"x " + line + b"\r\n")
    while True:
        got = f.readline()
        if got.startswith(b"x ") or not got:
            assert got.startswith(b"x OK"), got
            return


def sign_in(proxy, user):
    wire = wire_to(proxy.addresses[0])
    command(wire, b"LOGIN %s %s" % (user.encode(), dovecot.PASSWORD.encode()))
    return wire


def sign_out(wire):
    command(wire, b"LOGOUT")
    wire[1].close()
    wire[0].close()


class Site:
    """trigger = manual, so that a login is a login; accounts move when they are told to."""

    def __init__(self):
        self.old = dovecot.Dovecot("old", separator="/", mail="maildir")
        self.new = dovecot.Dovecot("new", separator="/", mail="mdbox")
        self.redis = redisd.Redis(port=net.free_port())
        self.ferry = Ferry(self.redis, {"old": backend(self.old, scheme="imap"), "new": backend(self.new, scheme="imap")},
                           settings={"proxy": {"lease": "10s", "lease_long": "20s", "threads": 1},
                                     "migrator": {"job_lease": "30s", "command_timeout": "30s", "jobs": 4},
                                     "migration": {"trigger": "manual", "cutover": "manual", "late_watch": "1s"}})
        self.ferry.source_may_change = True
        self.ferry.init()
        self.client = self.redis.client()

    def fill(self, user):
        m = mail.connect(self.old, user, dovecot.PASSWORD)
        for n in range(MAILBOXES):
            box = f"box{n}" if n else "INBOX"
            if n:
                m.create(box)
            texts = [b"Subject: %s %d\r\n\r\n" % (user.encode(), i) + b"x" * 500 + b"\r\n" for i in range(20)]
            mail.append(m, box, [mail.Message((box,), text) for text in texts])
        m.logout()

    def memory(self, user):
        """Of all keys that are an account's own, and its parts of those of all."""
        keys = list(self.client.scan_iter(f"*:{user}*", count=1000)) + list(self.client.scan_iter(f"*:{user}", count=1000))
        return sum(self.client.memory_usage(key, samples=0) or 0 for key in set(keys))

    def wait(self, user, *wanted):
        try:
            net.wait_until(f"{user} {wanted}", lambda: self.ferry.route(user).get("state") in wanted, 60)
        except TimeoutError as late:
            raise TimeoutError(f"{late}: {self.ferry.route(user)}") from late

    def idle(self):
        """What goes on, a second."""
        time.sleep(3)
        c = Counted(self.client)
        time.sleep(IDLE)
        return c.end()

    def close(self):
        self.ferry.close()
        self.client.close()
        self.redis.close()
        self.old.close()
        self.new.close()


def measure_site(cpu_of_login):
    site = Site()
    try:
        nothing = site.idle()
        proxy = site.ferry.proxy()
        users = [f"moves{n}@example.org" for n in range(ACCOUNTS)]
        for user in users:
            site.fill(user)
        sign_out(sign_in(proxy, users[0]))
        one = site.idle()
        migrator = site.ferry.migrator()
        idle = site.idle()

        logins = 200
        c = Counted(site.client)
        for n in range(logins):
            sign_out(sign_in(proxy, users[n % ACCOUNTS]))
        login = {k: v / logins for k, v in c.end(idle).items()}

        wires = [sign_in(proxy, users[n % ACCOUNTS]) for n in range(100)]
        with_session = site.memory(users[0])
        time.sleep(2)
        c, began = Counted(site.client), time.monotonic()
        time.sleep(IDLE)
        hours = len(wires) * (time.monotonic() - began) / 3600
        session = {k: v / hours for k, v in c.end(idle).items()}
        session["cpu"] = session["commands"] * login["cpu"] / login["commands"]  # too little to be told from what goes on anyway
        for wire in wires:
            sign_out(wire)
        time.sleep(1)
        rests = site.memory(users[0])

        c = Counted(site.client)
        for user in users:
            assert site.ferry.ctl("migrate", user)[0] == 0
        for user in users:
            site.wait(user, "ready")
        under_way = statistics.mean(map(site.memory, users))
        for user in users:
            assert site.ferry.ctl("migrate", user, "--now")[0] == 0
        for user in users:
            site.wait(user, "flipped", "settled")
        for user in users:
            site.wait(user, "settled")
        moved = {k: v / ACCOUNTS for k, v in c.end(idle).items()}
        time.sleep(2)
        settled = statistics.mean(map(site.memory, users))
        migrator.stop()
        proxy.stop()
    finally:
        site.close()
    thread = {k: max(0, one[k] - nothing[k]) for k in one}
    looks = {k: max(0, idle[k] - one[k]) for k in idle}
    memory = {"rests": rests, "rests, with a session": with_session, "under way": under_way, "settled": settled}
    report_site(thread, looks, login, session, moved, memory, cpu_of_login)


def row(name, d, scale=1.0):
    print(f"| {name} | {d['calls'] * scale:.1f} | {d['commands'] * scale:.1f} | {d['in'] * scale:.0f} | {d['out'] * scale:.0f} | "
          f"{d['cpu'] * scale * 1000:.2f} |")


def report_site(thread, migrator, login, session, moved, memory, cpu_of_login):
    print(f"One proxy of one thread, one migrator, {ACCOUNTS} accounts of {MAILBOXES} mailboxes with 20 messages each\n")
    print("| what | transitions | all commands, theirs too | bytes to Redis | bytes back | CPU ms |\n|---|---|---|---|---|---|")
    row("a login with its end", login)
    row("an hour of a session, beside what its thread does anyway", session)
    row("a migrated account, staff's words and late look included", moved)
    row("an hour of a proxy's thread", thread, 3600)
    row("an hour of a migrator that has nothing to do", migrator, 3600)
    print("\n| an account that | bytes of memory |\n|---|---|")
    for name, size in memory.items():
        print(f"| {name} | {size:.0f} |")
    extrapolate(thread, migrator, login, session, moved, memory, cpu_of_login)


# ---- a large site

def extrapolate(thread, migrator, login, session, moved, memory, cpu_of_login):
    accounts, sessions, proxies, threads, many = 10 ** 6, 10 ** 5, 50, 4, 10
    stays, days = 1200, 30  # seconds that a session stays, days that the migration takes
    logins, moves = sessions / stays, accounts / (days * 86400)
    rates = [("logins", logins, dict(login, cpu=cpu_of_login / 1000 if cpu_of_login else login["cpu"])),
             ("open sessions", sessions, {k: v / 3600 for k, v in session.items()}),
             ("migrations", moves, moved), ("threads of proxies", proxies * threads, thread), ("migrators", many, migrator)]
    print(f"\n{accounts:,} accounts, {sessions:,} sessions of {stays // 60} minutes ({logins:.0f} logins a second), {proxies} proxies of "
          f"{threads} threads, {many} migrators, all moved in {days} days ({moves:.2f} accounts a second):\n")
    print("| what | of one core | Mbit/s to Redis | Mbit/s back |\n|---|---|---|---|")
    total = [0.0, 0.0, 0.0]
    for name, rate, each in rates:
        parts = [rate * each["cpu"], rate * each["in"] * 8e-6, rate * each["out"] * 8e-6]
        total = [a + b for a, b in zip(total, parts)]
        print(f"| {name} | {parts[0]:.1%} | {parts[1]:.2f} | {parts[2]:.2f} |")
    print(f"| together | {total[0]:.1%} | {total[1]:.2f} | {total[2]:.2f} |")
    size = (accounts * memory["settled"] + sessions * max(0, memory["rests, with a session"] - memory["rests"])) / 2 ** 30
    print(f"\nMemory when all are settled, without Redis' own table of keys: {size:.2f} GiB")
    shares = {"Redis' one core": total[0], "a network of 1 Gbit/s": max(total[1:]) / 1000, "memory of 16 GiB": size / 16}
    first = max(shares, key=shares.get)
    print("Used: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) + f". Full first: {first}, at "
          f"{1 / shares[first]:.1f} times this site.")


def main():
    cpu_of_login = measure_cpu() if "cpu" in ONLY else None
    if "site" in ONLY:
        measure_site(cpu_of_login)


if __name__ == "__main__":
    main()
