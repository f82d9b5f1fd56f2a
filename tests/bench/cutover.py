#!/usr/bin/python3
"""make bench-cutover: how long a client waits while its account is switched over.

    RUNS=5              cut-overs for each number of sessions
    SESSIONS=1,10,50    numbers of sessions, each in a mailbox of its own, over two proxies
    MESSAGES=10000 MAILBOXES=100

The account has its messages in many mailboxes, and the same UIDVALIDITYs and UIDs on both servers. While it is switched over,
one more session changes flags all the while and mail is delivered to the server that the route names. Each session
asks NOOP 20 ms after it was answered. Its pause is the time from the freeze (the store's own time) to the first
answer after it that is not from the source any more: the first that comes after the store says `flipped`.

Judged as well: sessions that were disconnected, and acknowledged changes and deliveries that the new server lacks or has twice."""
import os
import selectors
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from harness import dovecot, mail, net, redisd  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402
from harness.scene import PASSWORD, Wire  # noqa: E402

RUNS = int(os.environ.get("RUNS") or 5)
SESSIONS = [int(n) for n in (os.environ.get("SESSIONS") or "1,10,50").split(",")]
MESSAGES = int(os.environ.get("MESSAGES") or 10000)
MAILBOXES = int(os.environ.get("MAILBOXES") or 100)
SETTINGS = {
    "proxy": {"lease": "10s", "lease_long": "10m", "hold_max": "20s", "threads": 1},
    "migrator": {"job_lease": "30s", "command_timeout": "30s"},
    "migration": {"freeze_budget": "5s", "trigger": "manual", "cutover": "manual"},
}
PACE = 0.02  # seconds from an answer to the next NOOP
BODY = b"Subject: %s\r\nFrom: ann@example.org\r\n\r\n" + b"x" * 500 + b"\r\n"


class Client:
    """One connection with a mailbox open; when each answer came."""

    def __init__(self, address, user, box):
        self.wire = Wire(address, timeout=30)
        self.wire.until(b"* ")
        assert self.wire.login(user).startswith(b"l1 OK")
        assert self.wire.command(b"s", b'SELECT "%s"' % box.encode())[-1].startswith(b"s OK")
        self.answers, self.ended = [], None
        self.tag, self.due = None, 0.0  # the tag of a NOOP that was not answered; when the next is to be sent

    def pause(self, froze, flipped):
        """Milliseconds; None where no answer came after the flip."""
        after = [t for t in self.answers if t > flipped]
        return (after[0] - froze) * 1000 if after else None

    def send(self, n):
        self.tag = b"n%d" % n
        self.wire.line(self.tag + b" NOOP")

    def read(self):
        """What is there; notes an answer."""
        data = self.wire.socket.recv(65536)
        now = time.time()
        if not data:
            raise OSError("the connection was closed")
        self.wire.buffer += data
        *lines, self.wire.buffer = self.wire.buffer.split(b"\r\n")
        if any(line.startswith(b"* BYE") for line in lines):
            raise OSError(str(lines))
        if self.tag and any(line.startswith(self.tag + b" ") for line in lines):
            self.answers.append(now)
            self.tag, self.due = None, now + PACE


class Crowd(threading.Thread):
    """All clients, in one thread: many would wait for each other, and that is not what is measured."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.selector = selectors.DefaultSelector()
        for c in clients:
            self.selector.register(c.wire.socket, selectors.EVENT_READ, c)

    def each(self):
        return [key.data for key in list(self.selector.get_map().values())]

    def guard(self, client, step, *args):
        try:
            step(*args)
        except OSError as e:
            client.ended = str(e)
            self.selector.unregister(client.wire.socket)

    def run(self):
        n = 0
        while not self.over.is_set():
            for client in self.each():
                if not client.tag and client.due <= time.time():
                    n += 1
                    self.guard(client, client.send, n)
            for key, _ in self.selector.select(0.002):
                self.guard(key.data, key.data.read)
        self.selector.close()


class Writer(threading.Thread, Client):
    """Sets and clears flags; what it was told last of each message."""

    def __init__(self, address, user, box):
        threading.Thread.__init__(self, daemon=True)
        Client.__init__(self, address, user, box)
        self.told, self.open = {}, None
        self.over = threading.Event()

    def step(self, n):
        number, add = n % 50 + 1, n // 50 % 2 == 0
        self.open = number
        answer = self.wire.command(b"w%d" % n, b"STORE %d %sFLAGS.SILENT (\\Flagged)" % (number, b"+" if add else b"-"))[-1]
        if b" OK" in answer:
            self.told[number], self.open = add, None
        self.answers.append(time.time())

    def run(self):
        n = 0
        try:
            while not self.over.wait(0.005):
                n += 1
                self.step(n)
        except (OSError, AssertionError) as e:
            self.ended = str(e)


class Deliverer(threading.Thread):
    """Brings mail to the server that the route names, as an LMTP server would, by its master user."""

    def __init__(self, world, user):
        super().__init__(daemon=True)
        self.world, self.user = world, user
        self.delivered = []
        self.over = threading.Event()

    def run(self):
        ways = {"old": mail.connect(self.world.old, self.user, PASSWORD), "new": mail.connect(self.world.new, self.user, PASSWORD)}
        while not self.over.wait(0.05):
            route = self.world.ferry.route(self.user)
            if route.get("state") in ("freezing", "flipping"):
                continue  # what is delivered to the source in the freeze is for the late watch
            mark = f"delivered {len(self.delivered)}"
            mail.append(ways[route["backend"]], "INBOX", [mail.Message(("INBOX",), BODY % mark.encode())])
            self.delivered.append(mark)


class World:
    def __init__(self):
        self.old = dovecot.Dovecot("old", separator="/", mail="maildir")
        self.new = dovecot.Dovecot("new", separator="/", mail="mdbox")
        self.redis = redisd.Redis(port=net.free_port())
        self.ferry = Ferry(self.redis, {"old": backend(self.old, "imap"), "new": backend(self.new, "imap")}, settings=SETTINGS)
        self.ferry.init()
        self.proxies = [self.ferry.proxy(label=f"proxy{n}") for n in (1, 2)]
        self.migrator = self.ferry.migrator(label="migrator1")
        self.users = 0

    def account(self):
        """A fresh one, filled on the old server, with equal UIDVALIDITYs on the new one."""
        self.users += 1
        user = f"bench{self.users}@example.org"
        boxes = ["INBOX"] + [f"box{n}" for n in range(1, MAILBOXES)]
        each = MESSAGES // MAILBOXES
        m, t = mail.connect(self.old, user, PASSWORD), mail.connect(self.new, user, PASSWORD)
        for box in boxes:
            if box != "INBOX":
                m.create(box)
                t.create(box)
            mail.append(m, box, [mail.Message((box,), BODY % b"%d" % n) for n in range(each)])
            value = m.status(box, "(UIDVALIDITY)")[1][0].split(b"UIDVALIDITY ")[1].rstrip(b")").decode()
            self.new.doveadm("mailbox", "update", "-u", user, "--uid-validity", value, box)
        m.logout()
        t.logout()
        return user, boxes

    def close(self):
        self.ferry.close()
        self.redis.close()
        self.old.close()
        self.new.close()


def moments(world, user):
    """When it froze and when it was flipped, by the ids of the store's events: seconds of the same clock."""
    found = {}
    for number, event in world.redis.client().xrange("imapferry:events"):
        if event.get("user") == user and event.get("kind") == "state":
            found[event["state"]] = int(number.split("-")[0]) / 1000
    return found["freezing"], found["flipped"]


def lacking(world, user, writer, deliverer):
    m = mail.connect(world.new, user, PASSWORD)
    m.select("INBOX", readonly=True)
    heads = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    subjects = [p[1].split(b"\r\n")[0] for p in heads if isinstance(p, tuple)]
    found = [f"{mark}: {subjects.count(b'Subject: ' + mark.encode())} times" for mark in deliverer.delivered
             if subjects.count(b"Subject: " + mark.encode()) != 1]
    flagged = {int(n) for n in m.search(None, "FLAGGED")[1][0].split()}
    found += [f"message {n} is {'not ' if add else ''}flagged" for n, add in writer.told.items()
              if n != writer.open and (n in flagged) != add]
    m.logout()
    return found


def one_run(world, count):
    user, boxes = world.account()
    assert world.ferry.ctl("migrate", user)[0] == 0
    world.ferry.wait_state(user, "ready", timeout=120)
    addresses = [p.addresses[0] for p in world.proxies]
    clients = [Client(addresses[n % 2], user, boxes[1 + n % (len(boxes) - 1)]) for n in range(count)]
    writer, deliverer = Writer(addresses[0], user, "INBOX"), Deliverer(world, user)
    threads = [Crowd(clients), writer, deliverer]
    for t in threads:
        t.start()
    time.sleep(0.5)
    assert world.ferry.ctl("flip", user, "--to", "new", "--reason", "bench")[0] == 0
    world.ferry.wait_state(user, "flipped", "settled", timeout=120)
    time.sleep(1)
    for t in threads:
        t.over.set()
    for t in threads:
        t.join(40)
    froze, flipped = moments(world, user)
    pauses = [c.pause(froze, flipped) for c in [*clients, writer]]
    return {"pauses": [p for p in pauses if p is not None], "frozen": (flipped - froze) * 1000,
            "ended": [c.ended for c in [*clients, writer] if c.ended], "lacking": lacking(world, user, writer, deliverer)}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def table(results):
    out = ["| sessions | cut-overs | pause p50, ms | p99, ms | longest, ms | account frozen, median ms | disconnected | lost, doubled, stale |",
           "|---|---|---|---|---|---|---|---|"]
    for count, runs in results.items():
        pauses = [p for r in runs for p in r["pauses"]]
        out.append(f"| {count} | {len(runs)} | {percentile(pauses, 0.5):.0f} | {percentile(pauses, 0.99):.0f} | "
                   f"{max(pauses, default=float('nan')):.0f} | {statistics.median(r['frozen'] for r in runs):.0f} | "
                   f"{sum(len(r['ended']) for r in runs)} | {sum(len(r['lacking']) for r in runs)} |")
    return "\n".join(out) + "\n"


def plot(results):
    """Each pause a dot, by number of sessions."""
    width, height, left, top = 640, 320, 60, 40
    most = max([500] + [p for runs in results.values() for r in runs for p in r["pauses"]])
    scale = height / (most * 1.05)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + height + 40}" font-family="sans-serif" '
           'font-size="11"><rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="18" font-size="14">What a client waits at the switch-over, ms (lines: p50 and p99 to reach)</text>']
    for ms, colour in ((0, "#999"), (100, "#1b7837"), (500, "#b35806")):
        y = top + height - ms * scale
        out.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
                   f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{ms}</text>')
    step = (width - left - 20) / len(results)
    for i, (count, runs) in enumerate(results.items()):
        x = left + step * (i + 0.5)
        pauses = [p for r in runs for p in r["pauses"]]
        for n, p in enumerate(pauses):
            out.append(f'<circle cx="{x + (n % 41 - 20) * step / 60:.1f}" cy="{top + height - p * scale:.1f}" r="2" fill="#2166ac" '
                       'fill-opacity="0.5"/>')
        out.append(f'<text x="{x:.0f}" y="{top + height + 18}" text-anchor="middle">{count} session{"s" if count > 1 else ""}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    world, results, bad = World(), {}, 0
    try:
        for count in SESSIONS:
            for _ in range(RUNS):
                r = one_run(world, count)
                results.setdefault(count, []).append(r)
                bad += len(r["ended"]) + len(r["lacking"])
                print(f"{count} sessions: frozen {r['frozen']:.0f} ms, pause p50 {percentile(r['pauses'], 0.5):.0f} ms, "
                      f"longest {max(r['pauses'], default=float('nan')):.0f} ms; ended {r['ended'][:2]}; {r['lacking'][:3]}", flush=True)
    finally:
        world.close()
    folder = os.path.join(ROOT, "build", "bench")
    os.makedirs(folder, exist_ok=True)
    machine = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    text = f"{MESSAGES} messages in {MAILBOXES} mailboxes, two proxies, {machine} cores, {time.strftime('%Y-%m-%d')}.\n\n{table(results)}"
    for name, content in (("cutover.md", text), ("cutover.svg", plot(results))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)
    print(f"\n{text}\nwritten to build/bench/cutover.md and cutover.svg")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
