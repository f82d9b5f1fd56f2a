#!/usr/bin/python3
"""make check-huge: what the daemons' memory is with a message of 1 GiB, and with a mailbox of 500,000 messages, from Dovecot
(Maildir) to Dovecot (mdbox), on a build without sanitizers: the first copy, a pass of a migrator that was started anew with one
per cent changed, the switch-over under a client with the mailbox open, a pass with nothing changed. Fails where one of the
daemons has ever taken MAX more than it had idle, or where the servers don't list the same. MIB, MESSAGES and ONLY=message or
mailbox make it smaller. Prints a line for each step, and `N passed, N failed`."""
import contextlib
import hashlib
import os
import re
import resource
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import certs, dovecot, dovecot_conf, net, redisd  # noqa: E402  pylint: disable=wrong-import-position
from harness.ferry import Ferry, backend  # noqa: E402  pylint: disable=wrong-import-position
from harness.maildir import Maildir, body  # noqa: E402  pylint: disable=wrong-import-position
from harness.scene import Wire, connect  # noqa: E402  pylint: disable=wrong-import-position

USER = "huge@example.org"
MB = 1 << 20
MAX = 64 * MB
LONG = 3600
# As a site has them, but for what tests need to go back and forth.
SETTINGS = {"migration": {"cutover": "manual", "trigger": "manual", "freeze_budget": "60s"},
            "migrator": {"job_lease": "30s", "command_timeout": "10m"},
            "proxy": {"lease": "10s", "lease_long": "20s", "hold_max": "60s"}}


# ---- mail

def fill_message(server, mib):
    box = Maildir(server, USER)
    small = box.write(1, 500)  # change() expunges the first message, and the second one gets flags
    for path in (small, small, box.write(0, mib * MB), small):
        box.link(path, "S")


def fill_mailbox(server, count):
    Maildir(server, USER).fill(count)


# ---- what both servers show

def answer(wire):
    """What comes for the command "f", up to its end: (True, a line), and (False, a piece of a body)."""
    left = 0
    while True:
        if left == 0 and b"\n" in wire.buffer:
            lines = wire.buffer.split(b"\n")
            wire.buffer = b""
            for n, line in enumerate(lines[:-1]):
                yield True, line
                if line.startswith(b"f "):
                    return
                if size := re.search(rb"\{(\d+)\}\r?$", line):
                    left = int(size[1])
                    wire.buffer = b"\n".join(lines[n + 1:])
                    break
            else:
                wire.buffer = lines[-1]
            continue
        if left:
            piece, wire.buffer = wire.buffer[:left], wire.buffer[left:]
            left -= len(piece)
            if piece:
                yield False, piece
        if left or not wire.buffer or b"\n" not in wire.buffer:
            data = wire.socket.recv(MB)
            assert data, "the connection ended"
            wire.buffer += data


def digest(server, items, which=b"1:*"):
    """(messages, SHA-256 of what is listed of INBOX, but for what belongs to the one server alone)."""
    with Wire(server.url("imap"), timeout=LONG) as wire:
        wire.until(b"* OK")
        assert wire.login(USER).startswith(b"l1 OK")
        wire.command(b"e", b"EXAMINE INBOX")
        wire.line(b"f FETCH " + which + b" (" + items + b")")
        seen, count = hashlib.sha256(), 0
        for is_line, line in answer(wire):
            if is_line and line.startswith(b"* ") and b" FETCH (" in line[:30]:
                count += 1
                line = re.sub(rb" ?\\Recent", b"", line)
            if not is_line or not line.startswith((b"* OK", b"f ")):
                seen.update(line)
        assert line.startswith(b"f OK"), line
    return count, seen.hexdigest()


def change(server, share):
    """That part of the messages is expunged, as many get other flags, and as many are new."""
    with Wire(server.url("imap"), timeout=LONG) as wire:
        wire.until(b"* OK")
        assert wire.login(USER).startswith(b"l1 OK")
        said = wire.command(b"s", b"SELECT INBOX")
        count = max(int(x.split()[1]) for x in said if x.endswith(b" EXISTS"))
        step = int(3 / share)
        for command, first in ((b"+FLAGS.SILENT (\\Deleted)", 1), (b"FLAGS.SILENT (\\Flagged later)", 2)):
            numbers = [str(n).encode() for n in range(first, count, step)]
            for at in range(0, len(numbers), 500):
                assert wire.command(b"s", b"STORE " + b",".join(numbers[at:at + 500]) + b" " + command)[-1].startswith(b"s OK")
        assert wire.command(b"x", b"EXPUNGE")[-1].startswith(b"x OK")
        for at in range(0, max(1, count // step), 100):
            text = b"a APPEND INBOX"
            for n in range(min(100, max(1, count // step) - at)):
                new = b"".join(body(10 ** 7 + at + n, 700))
                text += b" (\\Seen) \"03-Mar-2021 04:05:06 +0000\" {%d+}\r\n" % len(new) + new
            wire.send(text + b"\r\n")
            assert wire.until(b"a ")[-1].startswith(b"a OK")


# ---- one case

class Case:
    """Steps of one account's life, each with its time and the memory that the daemons have taken in it."""

    def __init__(self, share):
        self.share = share
        self.peaks = []

    def run(self, fill, cert):
        with contextlib.ExitStack() as stack:
            room = dovecot_conf.extra("memory", limit="2G")  # Dovecot's own, which a mailbox of that size needs
            self.old = stack.enter_context(dovecot.Dovecot("old", separator=".", prefix="INBOX.", cert=cert, extra=room))
            self.new = stack.enter_context(dovecot.Dovecot("new", mail="mdbox", cert=cert, extra=room))
            self.redis = redisd.Redis(port=net.free_port())
            stack.callback(self.redis.close)
            with self.timed("filled"):
                fill(self.old)
                self.count, _ = digest(self.old, b"FLAGS")
            sides = {"old": backend(self.old, "imap"), "new": backend(self.new, "imap")}
            self.ferry = Ferry(self.redis, sides, cert, SETTINGS)
            stack.callback(self.ferry.close)
            self.ferry.init()
            self.proxy = self.ferry.proxy()
            self.daemons = {"proxy": self.proxy}
            self.start_migrator()
            self.live()
            self.stop_migrator()
        return [x for x in self.peaks if x[2] > MAX]

    # ---- measuring

    @contextlib.contextmanager
    def timed(self, what):
        began = time.monotonic()
        yield
        print(f"  {what}: {time.monotonic() - began:.1f} s", flush=True)

    @contextlib.contextmanager
    def step(self, what):
        """Peaks are counted anew in each."""
        for daemon in self.daemons.values():
            with open(f"/proc/{daemon.pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5")
        began, cpu = time.monotonic(), self.cpu()
        yield
        seconds, cpu = time.monotonic() - began, self.cpu() - cpu
        grown = {k: d.memory_peak() - self.idle[k] for k, d in self.daemons.items()}
        self.peaks += [(what, k, n) for k, n in grown.items()]
        print(f"  {what}: {seconds:.1f} s, migrator's CPU {cpu:.1f} s; more than idle: "
              + ", ".join(f"{k} {n / MB:.1f} MiB" for k, n in grown.items())
              + f"; kept by the migrator {(self.daemons['migrator'].memory() - self.idle['migrator']) / MB:.1f}", flush=True)

    def cpu(self):
        with open(f"/proc/{self.daemons['migrator'].pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start_migrator(self):
        self.daemons["migrator"] = self.ferry.migrator()
        self.idle = {k: d.memory() for k, d in self.daemons.items()}

    def stop_migrator(self):
        self.ferry.daemons.remove(self.daemons["migrator"])
        self.daemons.pop("migrator").stop(timeout=120)

    # ---- the account

    def staff(self, *args):
        status, out, err = self.ferry.ctl_raw(*args)
        assert status == 0, (args, status, out, err)

    def to(self, state, *args):
        self.staff(*args)
        self.ferry.wait_state(USER, state, timeout=LONG)

    def compare(self):
        """Bytes of a few thousand messages, for they are many, and what is listed of all."""
        last = self.count
        some = "1:*" if last < 10000 else f"1:2000,{last // 2}:{last // 2 + 2000},{last - 2000}:{last}"
        for items, which in ((b"FLAGS INTERNALDATE RFC822.SIZE", b"1:*"), (b"BODY.PEEK[]", some.encode())):
            with self.timed(f"compared {items.decode()} of {which.decode()}"):
                old, new = (digest(server, items, which) for server in (self.old, self.new))
            assert old == new and (which != b"1:*" or old[0] == last), f"{old} and {new} of {last} messages"

    def live(self):
        with self.step("first copy"):
            self.to("ready", "migrate", USER)
        self.tell_store()
        self.stop_migrator()
        with self.timed("changed"):
            change(self.old, self.share)
            self.count, _ = digest(self.old, b"UID")
        with connect(self.proxy, timeout=LONG) as client:
            self.start_migrator()
            with self.step("switched over, with changes, under a client"):
                assert client.login(USER).startswith(b"l1 OK")
                assert client.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
                self.to("flipped", "flip", USER, "--to", "new", "--reason", "check")
            with contextlib.suppress(AssertionError, OSError):
                client.command(b"n", b"NOOP")
        self.compare()
        with self.step("all read through the proxy"):
            self.read_by_client()
        self.to("held", "flip", USER, "--to", "old", "--force", "--reason", "check")
        self.staff("release", USER)
        with self.step("nothing changed"):
            self.to("ready", "migrate", USER)
        with self.step("switched over, nothing changed"):
            self.to("flipped", "flip", USER, "--to", "new", "--reason", "check")
        self.compare()

    def read_by_client(self):
        with connect(self.proxy, timeout=LONG) as wire:
            assert wire.login(USER).startswith(b"l1 OK")
            assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
            wire.line(b"f FETCH 1:* (" + (b"BODY.PEEK[]" if self.count < 10000 else b"FLAGS INTERNALDATE") + b")")
            count = 0
            for is_line, line in answer(wire):
                count += is_line and line.startswith(b"* ") and b" FETCH (" in line[:30]
            assert line.startswith(b"f OK") and count == self.count, (line, count)

    def tell_store(self):
        client = self.redis.client()
        keys = list(client.scan_iter("imapferry:ledger:*"))
        size = sum(client.memory_usage(k, samples=0) for k in keys)
        print(f"  ledger in Redis: {size / MB:.1f} MiB, {size / self.count:.0f} bytes a message; "
              f"{sum(client.llen(k) for k in keys)} entries", flush=True)


CASES = {
    "message": ("a message of {0} MiB", 0.01, fill_message, "MIB", 1024, lambda n: 3 * n * MB),
    "mailbox": ("a mailbox of {0} messages", 0.01, fill_mailbox, "MESSAGES", 500000, lambda n: 6000 * n),
}


def has_room(text, need):
    free = shutil.disk_usage("/tmp").free
    if free < need:
        print(f"{text}: needs {need / MB:.0f} MiB in /tmp, and there are {free / MB:.0f}", flush=True)
    return free >= need


def run(name, cert):
    text, share, fill, variable, default, room = CASES[name]
    n = int(os.environ.get(variable) or default)
    text = text.format(n)
    if not has_room(text, room(n) + 1024 * MB):
        return False
    print(text, flush=True)
    try:
        over = Case(share).run(lambda server: fill(server, n), cert)
    except (AssertionError, TimeoutError, RuntimeError) as e:
        print(f"  failed: {str(e)[-4000:]}", flush=True)
        return False
    for step, daemon, taken in over:
        print(f"  failed: {step}: the {daemon} took {taken / MB:.1f} MiB more than idle", flush=True)
    return not over


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = net.temp_folder("ca")
    try:
        cert = certs.Authority(folder).issue("server")
        names = os.environ.get("ONLY", "").split(",") if os.environ.get("ONLY") else list(CASES)
        results = [run(name, cert) for name in names]
    finally:
        net.remove_folder(folder)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
