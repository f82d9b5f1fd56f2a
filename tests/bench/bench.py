#!/usr/bin/python3
"""make bench-migrate: how long an account takes, side by side with other engines and with a floor that no copy can
beat, on one pair of real servers: Dovecot with Maildir to Dovecot with mdbox, each with Debian's defaults.

    RUNS=3              medians of so many
    ONLY=small,20,mbsync,first   only these: sets (small, mixed, gaps), round trips in ms (0, 20, 50), engines, phases (first,
                        nothing, changed); of what is not named, all
    SCALE=0.1           a tenth of the mail
    BACKEND="compress=yes"  options for both backends of imapferry
    TARGET=cyrus        the new server is a Cyrus (imapferry and imapferry-told alone, the others know Dovecots only)

A run: for each set of mail and round trip, each engine gets its own copy of the account on the old server and none on
the new one; then `first`: everything is new; `nothing`: again, nothing has changed; `changed`: 1 % new messages, other
flags on 1 %. Of imapferry the time from a job's arrival to its end counts, of the others that of their process."""
import os
import platform
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from harness import mail, net  # noqa: E402
from harness.cyrus import Cyrus  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402
from harness.redisd import Redis  # noqa: E402
import engines  # noqa: E402
import mailset  # noqa: E402
import report  # noqa: E402

PHASES = ("first", "nothing", "changed")
TRIPS = (0, 20, 50)


class Bench:
    """The two servers, and the way to them."""

    def __init__(self):
        self.loader = Dovecot("loader", mail="maildir")  # does not wait for the disk
        self.old = Dovecot("old", mail="maildir", fsync="optimized")
        self.to_cyrus = os.environ.get("TARGET") == "cyrus"
        self.new = Cyrus("new") if self.to_cyrus else Dovecot("new", mail="mdbox", fsync="optimized", doveadm=True)
        self.redis = Redis()
        self.way = {"old": self.old.port["imap"], "new": self.new.port["imap"]}
        self.delays = []
        self.account = self.names = None
        self.wrapper = tuple(os.environ.get("WRAPPER", "").split())
        self.backend_options = dict(x.split("=") for x in os.environ.get("BACKEND", "").split())
        self.delay_program = os.path.join(tempfile.mkdtemp(prefix="ferry-delay-"), "delay")
        subprocess.run(["cc", "-O2", "-Wall", "-D_GNU_SOURCE", "-o", self.delay_program, os.path.join(HERE, "delay.c")],
                       check=True)
        self.users = 0

    def set_trip(self, ms):
        """Both ways get this round trip, each through a process of its own."""
        for process in self.delays:
            net.stop_process(process)
            process.stdout.close()
        self.delays = []
        ports = {"old": self.old.port["imap"], "new": self.new.port["imap"]}
        self.way = dict(ports)
        for side, port in ports.items() if ms else ():
            process = subprocess.Popen([self.delay_program, str(ms), str(port)], stdout=subprocess.PIPE, text=True,
                                       start_new_session=True)
            self.way[side] = int(process.stdout.readline().split()[1])
            self.delays.append(process)

    def load(self, name, scale):
        self.account = mailset.SETS[name](scale)
        self.template = f"template-{name}"
        self.names = [mail.wire_name(x, "", "/").encode() for x in self.account.mailboxes]
        m = mail.connect(self.loader, self.template, "secret")
        mail.load(self.account, m, "", "/")
        if name == "gaps":
            mailset.make_gaps(m, self.account, self.names)
        m.logout()

    def by_name(self):
        for levels, name in zip(self.account.mailboxes, self.names):
            yield name, [x for x in self.account.messages if x.mailbox == levels]

    def told(self):
        """Options by which the new server is told the old one's numbers. A Cyrus whose administrator we are needs none."""
        return {} if self.to_cyrus else self.new.doveadm_options()

    def new_user(self):
        self.users += 1
        user = f"user{self.users}"
        mailset.clone(self.loader, self.template, self.old, user)
        return user

    def close(self):
        self.set_trip(0)
        for server in (self.redis, self.loader, self.old, self.new):
            server.close()
        net.remove_folder(os.path.dirname(self.delay_program))


def timed(engine, user):
    before = engines.machine_cpu()
    result = engine.copy(user)
    result.machine = engines.machine_cpu() - before
    return result


def measure(bench, make, phases, seed):
    """[(phase, Time)] of one engine on an account of its own."""
    user = bench.new_user()
    engine = make(bench)
    expected = len(bench.account.messages)
    out = []
    try:
        out.append(("first", timed(engine, user)))
        check(bench, user, expected, out[-1])
        if isinstance(engine, engines.Floor):
            return out
        if "nothing" in phases:
            out.append(("nothing", timed(engine, user)))
        if "changed" in phases:
            expected += mailset.change(bench.old, user, bench.account, seed)
            out.append(("changed", timed(engine, user)))
            check(bench, user, expected, out[-1])
        if hasattr(engine, "memory_peak"):
            out[0][1].note = f"{engine.memory_peak() >> 20} MiB resident at most"
        return out
    finally:
        engine.close()
        mailset.remove(bench.old, user)
        mailset.remove(bench.new, user)


def check(bench, user, expected, result):
    """An engine that left something out was not quicker for it."""
    found = mailset.count(bench.new, user)
    if found != expected:
        result[1].note = f"{found} of {expected} messages"


def chosen(known, tokens):
    some = [x for x in known if str(x) in tokens]
    return some or list(known)


def main():
    tokens = [x for x in os.environ.get("ONLY", "").split(",") if x]
    runs, scale = int(os.environ.get("RUNS", "3")), float(os.environ.get("SCALE", "1"))
    bench = Bench()
    try:
        unknown = set(tokens) - {*map(str, TRIPS), *PHASES, *mailset.SETS, *engines.ENGINES}
        if unknown:
            sys.exit(f"unknown in ONLY: {', '.join(sorted(unknown))}")
        results = report.Results(describe(bench))
        for name in chosen(mailset.SETS, tokens):
            bench.load(name, scale)
            results.note_set(name, len(bench.account.messages), bench.account.size, len(bench.account.mailboxes))
            for run in range(runs):
                for trip in chosen(TRIPS, tokens):
                    bench.set_trip(trip)
                    for engine in chosen(("imapferry", "imapferry-told") if bench.to_cyrus else engines.ENGINES, tokens):
                        try:
                            times = measure(bench, engines.ENGINES[engine], chosen(PHASES, tokens), run)
                        except (engines.Failed, subprocess.TimeoutExpired) as e:
                            print(f"{name} {trip} ms {engine}: {e}", flush=True)
                            continue
                        for phase, t in times:
                            results.add(name, trip, engine, phase, t)
                            print(f"run {run + 1}: {name:6} {trip:3} ms  {engine:16} {phase:8} {t.seconds:7.2f} s  "
                                  f"cpu {t.cpu:6.2f} of {t.machine:6.2f}  {t.note}", flush=True)
        folder = os.environ.get("BENCH_OUT", os.path.join(ROOT, "build", "bench"))
        results.write(folder, runs)
    finally:
        bench.close()


def describe(bench):
    def ask(*command):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    versions = [ask("dovecot", "--version").strip(), *(ask(x, "--version").splitlines()[0] for x in ("mbsync", "interimap"))]
    conf = {}
    for server in (bench.old,) if bench.to_cyrus else (bench.old, bench.new):
        conf[server.name] = ask("doveconf", "-n", "-c", server.config)
    way = f"Dovecot, Maildir → {'Cyrus' if bench.to_cyrus else 'Dovecot, mdbox'}, Debian's defaults"
    return {"way": way, "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, everything on it; load when it began "
                       f"{os.getloadavg()[0]:.1f}",
            "versions": "Dovecot " + ", ".join(versions), "conf": conf, "when": time.strftime("%Y-%m-%d")}


if __name__ == "__main__":
    main()
