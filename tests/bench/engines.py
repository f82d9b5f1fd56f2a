"""What is measured side by side. Each engine has

    copy(user) -> Time     brings the account of `user` from the old to the new server; a second call finds what changed

and reaches both servers at the ports in `way`, which lead through the delay where there is one."""
import concurrent.futures
import dataclasses
import os
import re
import resource
import socket
import subprocess
import threading
import time

from harness import dovecot, ferry, net

PASSWORD = dovecot.PASSWORD


@dataclasses.dataclass
class Time:
    seconds: float
    cpu: float = 0.0  # of the tool itself
    machine: float = 0.0  # of all processes, the servers' too, in CPU seconds
    note: str = ""


class Failed(Exception):
    pass


def machine_cpu():
    """CPU seconds that all cores were busy since the machine began."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _idle, _iowait, irq, softirq = (int(x) for x in f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Tool:
    """A program that is started for each copy."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = net.temp_folder("tool")

    def command(self, user):
        raise NotImplementedError

    fine = (0,)

    def copy(self, user):
        command = self.command(user)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=900, check=False,
                             env=dict(os.environ, HOME=self.folder, XDG_CONFIG_HOME=self.folder, XDG_DATA_HOME=self.folder))
        seconds = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if run.returncode not in self.fine:
            raise Failed(f"{command[0]} ended with {run.returncode}: {run.stderr[-600:]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Time(seconds, cpu, "" if run.returncode == 0 else f"exit status {run.returncode}")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def close(self):
        net.remove_folder(self.folder)


class Mbsync(Tool):
    def command(self, user):
        stores = "".join(f"""
IMAPAccount {side}
Host 127.0.0.1
Port {self.bench.way[side]}
User {user}
Pass {PASSWORD}
SSLType None
AuthMechs PLAIN

IMAPStore {side}
Account {side}
""" for side in ("old", "new"))
        state = os.path.join(self.folder, f"state-{user}")
        os.makedirs(state, exist_ok=True)
        return ["mbsync", "-q", "-c", self.write(f"{user}.mbsync", f"""{stores}
Channel all
Far :old:
Near :new:
Patterns *
Create Near
Sync Pull
CopyArrivalDate yes
SyncState {state}/
"""), "all"]


class Interimap(Tool):
    def command(self, user):
        sides = "".join(f"""
[{section}]
type = imap
host = 127.0.0.1
port = {self.bench.way[side]}
username = {user}
password = {PASSWORD}
STARTTLS = NO
auth = PLAIN
""" for section, side in (("local", "old"), ("remote", "new")))
        return ["interimap", "-q", "--config", self.write(f"{user}.interimap", f"database = {self.folder}/{user}.db\n"
                                                          f"list-mailbox = *\n{sides}")]


class Dsync(Tool):
    """doveadm backup on the new server itself, so only its way to the old one is longer."""
    fine = (0, 2)

    def command(self, user):
        options = {"imapc_host": "127.0.0.1", "imapc_port": self.bench.way["old"], "imapc_user": user,
                   "imapc_password": PASSWORD, "imapc_features": "rfc822.size fetch-headers", "mail_prefetch_count": 20}
        return ["doveadm", "-c", self.bench.new.config, *(x for k, v in options.items() for x in ("-o", f"{k}={v}")),
                "backup", "-R", "-u", user, "imapc:"]


# ---- imapferry

class Ferry:
    """One migrator and one Redis (appendfsync always) for all copies. From `queued` to `ready` by Redis' own clock."""

    def __init__(self, bench, verify, told=False, **more):
        """told: the target is told the source's numbers; it has to come to T0 for all mailboxes."""
        self.bench = bench
        self.told = told
        options = {"cutover": "manual", "trigger": "manual", "verify": verify, **more}
        backends = {side: {"address": f"imap://127.0.0.1:{bench.way[side]}", "master_user": dovecot.MASTER_USER,
                           **bench.backend_options} for side in ("old", "new")}
        backends["new"].update(bench.told() if told else {"numbers": "none"})
        self.ferry = ferry.Ferry(bench.redis, backends, settings={
            "migration": options, "migrator": {"job_lease": "30s", "command_timeout": "60s"}})
        bench.redis.wipe()
        self.ferry.init()
        self.migrator = self.ferry.migrator(wrapper=bench.wrapper)
        self.events = bench.redis.client()

    def _cpu(self):
        with open(f"/proc/{self.migrator.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ctl(self, *args):
        status, out, err = self.ferry.ctl_raw(*args)
        if status:
            raise Failed(f"imapferryctl {args}: {out}{err}")

    def _start(self, user):
        state = self.ferry.route(user).get("state")
        if state == "ready":
            self._ctl("hold", user, "--reason", "bench")
            self._ctl("release", user)
        else:
            self._ctl("migrate", user)

    def _ended(self, user, after):
        times = {}
        for number, entry in self.events.xrange("imapferry:events", min="(" + after):
            if entry.get("user") == user and entry.get("kind") == "state":
                times.setdefault(entry["state"], int(number.split("-")[0]))
                if entry["state"] in ("blocked", "backoff"):
                    raise Failed(f"imapferry: {self.ferry.route(user).get('reason')}")
        return times if "ready" in times and "queued" in times and times["ready"] >= times["queued"] else None

    def copy(self, user):
        last = self.events.xrevrange("imapferry:events", count=1)
        after = last[0][0] if last else "0-0"
        state = self.ferry.route(user).get("state")
        if state == "ready":
            self._ctl("hold", user, "--reason", "bench")
            after = self.events.xrevrange("imapferry:events", count=1)[0][0]
        cpu = self._cpu()
        self._ctl("release" if state == "ready" else "migrate", user)
        times = net.wait_until(f"end of {user}", lambda: self._ended(user, after), timeout=900, step=0.01)
        tiers = self.ferry.route(user).get("tiers", "")
        if self.told and not re.fullmatch(r"T0:\d+", tiers):
            raise Failed(f"not all mailboxes have T0: {tiers}")
        return Time((times["ready"] - times["queued"]) / 1000, self._cpu() - cpu)

    def memory_peak(self):
        return self.migrator.memory_peak()

    def close(self):
        self.ferry.close()


# ---- the floor

class Raw:
    """One connection that sends what it is given and throws away what comes, up to the last answer."""

    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(4096)
        self.socket.sendall(b"login LOGIN \"%s\" \"%s\"\r\n" % (user.encode(), PASSWORD.encode()))
        if b"login OK" not in self.read_until(b"login "):
            raise Failed("no login")

    def read_until(self, tag):
        """Reads to nowhere until the line that begins with this tag is the last; its end."""
        room, tail = bytearray(1 << 20), b""
        while True:
            n = self.socket.recv_into(room)
            if n == 0:
                raise Failed("closed")
            tail = (tail + bytes(room[max(n - 600, 0):n]))[-600:]
            if tail.endswith(b"\r\n") and tail[:-2].rsplit(b"\r\n", 1)[-1].startswith(tag):
                return tail

    def close(self):
        self.socket.close()


class Floor:
    """All bodies fetched raw, pipelined, to nowhere; the same bytes appended from memory. The larger of the two."""

    def __init__(self, bench):
        self.bench = bench
        self.mailboxes = list(bench.by_name())

    def fetch(self, user, mailboxes):
        began = time.perf_counter()
        raw = Raw(self.bench.way["old"], user)
        for name, _ in mailboxes:
            raw.socket.sendall(b"e EXAMINE \"%s\"\r\nf UID FETCH 1:* (BODY.PEEK[])\r\n" % name)
        raw.socket.sendall(b"last NOOP\r\n")
        raw.read_until(b"last ")
        raw.close()
        return time.perf_counter() - began

    @staticmethod
    def commands(mailboxes):
        """CREATEs and MULTIAPPENDs for all mail, made before the clock runs; the tag of a mailbox's last one is "end"."""
        out = [b"c CREATE \"%s\"\r\n" % name for name, _ in mailboxes if name != b"INBOX"]
        for name, messages in mailboxes:
            batch, size = [], 0
            for m in messages + [None]:
                if batch and (m is None or len(batch) == 500 or size + len(m.body) > 8 << 20):
                    tag = b"end" if m is None else b"a"
                    out.append(b"%s APPEND \"%s\"%s\r\n" % (tag, name, b"".join(batch)))
                    batch, size = [], 0
                if m:
                    batch.append(b" (%s) %s {%d+}\r\n" % (" ".join(m.flags).encode(), m.date.encode(), len(m.body)) + m.body)
                    size += len(m.body)
        return out + [b"last NOOP\r\n"]

    def append(self, user, commands, appended=lambda: None):
        """appended() is called behind each mailbox, in their order."""
        began = time.perf_counter()
        raw = Raw(self.bench.way["new"], user)

        def send():
            for command in commands:
                raw.socket.sendall(command)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for answer in raw.socket.makefile("rb"):
            if answer.startswith(b"end "):
                appended()
            elif answer.startswith(b"last "):
                break
        else:
            raise Failed("closed")
        sender.join()
        raw.close()
        return time.perf_counter() - began

    def copy(self, user):
        fetch, append = self.fetch(user, self.mailboxes), self.append(user, self.commands(self.mailboxes))
        return Time(max(fetch, append), 0, f"fetch {fetch:.2f}, append {append:.2f}")

    def close(self):
        pass


class VerifiedFloor(Floor):
    """What a copy takes of which every byte is read back, by bare clients that do all at once: one fetches all bodies of the
    old server to nowhere, one appends them to the new one from memory, and one fetches each mailbox of the new one, to
    nowhere, as soon as it was appended. With more lanes there are so many of each, and the mailboxes are dealt to them."""

    def __init__(self, bench, lanes):
        super().__init__(bench)
        self.lanes = [[] for _ in range(lanes)]
        for mailbox in sorted(self.mailboxes, key=lambda x: -sum(len(m.body) for m in x[1])):
            min(self.lanes, key=lambda lane: sum(len(m.body) for _, x in lane for m in x)).append(mailbox)
        self.lanes = [lane for lane in self.lanes if lane]

    def read_back(self, user, mailboxes, appended):
        raw = Raw(self.bench.way["new"], user)
        for name, messages in mailboxes:
            if messages:
                appended.acquire()
                raw.socket.sendall(b"e EXAMINE \"%s\"\r\nf UID FETCH 1:* (BODY.PEEK[])\r\n" % name)
        raw.socket.sendall(b"last NOOP\r\n")
        raw.read_until(b"last ")
        raw.close()

    def copy(self, user):
        commands = [self.commands(lane) for lane in self.lanes]
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(3 * len(self.lanes)) as pool:
            parts = []
            for lane, what in zip(self.lanes, commands):
                appended = threading.Semaphore(0)
                parts += [pool.submit(self.fetch, user, lane), pool.submit(self.append, user, what, appended.release),
                          pool.submit(self.read_back, user, lane, appended)]
            for part in parts:
                part.result()
        return Time(time.perf_counter() - began, 0, f"{len(self.lanes)} lanes")


ENGINES = {
    "floor": Floor,
    "floor-verified": lambda bench: VerifiedFloor(bench, 1),
    "floor-verified-3": lambda bench: VerifiedFloor(bench, 3),
    "imapferry": lambda bench: Ferry(bench, "full"),
    "imapferry-sample": lambda bench: Ferry(bench, "sample"),
    "imapferry-numbers": lambda bench: Ferry(bench, "full", t1_max_gaps=100000),
    "imapferry-told": lambda bench: Ferry(bench, "full", told=True),
    "imapferry-sample-numbers": lambda bench: Ferry(bench, "sample", t1_max_gaps=100000),
    "mbsync": Mbsync,
    "interimap": Interimap,
    "dsync": Dsync,
}
