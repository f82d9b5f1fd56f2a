#!/usr/bin/python3
"""make bench-scale: how far one Redis goes, by simulation: CPU and memory for each thing that a large site does, what is full
first, and how many stores sites of 1, 10 and 100 million accounts need.

    ACCOUNTS=1000000    of which seven in ten are settled, and three rest without a record
    SESSIONS=100000     open at any time, each of another account
    PROXIES=50          that are simulated (site.c), of THREADS=4 each; each thread has its lease and its follower of events
    LOGINS=200          a second
    FLIPS=5             accounts switched over a second, sessions and all; their mail is left out (make bench-store has that)
    EVENTS=100          a second, by more flips, in a step of their own
    LOOKS=20            late looks a second (a million accounts that are looked at daily make 11.6)
    SECONDS=20          of each step
    MAILBOXES=5         of an account, for the memory of larger sites; the accounts that are played have none
    MOVED=5000          accounts that are moved by the scripts first, by which the memory of a settled one is told
    STORES=16,0.5       what a store may have: GiB of memory, and the share of its core
    CONFIG="hash-max-listpack-value 512"    set at Redis before all

A Redis with appendfsync always, and an append-only file that is not rewritten while this runs. site.c plays all proxies but one, and
the migrators, in one process; the other one is a real imapferry-proxy of one thread, which has none of these accounts: what it pays is
what others' events cost. CPU is what the kernel says of a process (schedstat), so it counts what each does for sockets too, and nothing
of what others on the machine do; caches and turbo it can't tell. Steps, one behind the other:

    nothing     Redis alone
    moves       MOVED accounts through each script of a move: memory of a settled account, by kind of key. Then all others are planted
    sessions    SESSIONS sign in, as fast as they can: memory of a session
    idle        leases and followers
    logins      LOGINS a second, each with the end of another session
    flips       FLIPS a second; many flips: so many that there are EVENTS a second
    deaf        both again while only the migrators and the real proxy follow events: the difference is what it costs Redis to tell
    looks       LOOKS a second
    all         all of it, and in the middle Redis is another master for all: connections cut, each session registers, each account is
                read; how long that takes, lapses of leases, logins meanwhile
    most        logins without a pause, 200 at once: what Redis does at most"""
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from fakes.fake_imap import FakeImap  # noqa: E402
from harness import daemon, net, redisd  # noqa: E402
from harness.ferry import Ferry  # noqa: E402


def setting(name, otherwise):
    return type(otherwise)(os.environ.get(name) or otherwise)


ACCOUNTS = setting("ACCOUNTS", 1000000)
SESSIONS = setting("SESSIONS", ACCOUNTS // 10)
PROXIES, THREADS = setting("PROXIES", 50), setting("THREADS", 4)
LOGINS, FLIPS, LOOKS = setting("LOGINS", 200.0), setting("FLIPS", 5.0), setting("LOOKS", 20.0)
EVENTS = setting("EVENTS", 100.0)
SECONDS = setting("SECONDS", 20.0)
MAILBOXES = setting("MAILBOXES", 5)
OF_MAILBOX = 940  # bytes of Redis: view record, stamp, folded ledger, report, as a migrator leaves them (make bench-store)
MOVED = min(setting("MOVED", 5000), ACCOUNTS // 2)
SETTLED = max(MOVED, ACCOUNTS * 7 // 10)
STORE_GIB, STORE_CORE = (float(x) for x in setting("STORES", "16,0.5").split(","))
CONFIG = setting("CONFIG", "").split()
DAY = 86400
# As the scripts leave an account: u0 is one that they have moved.
PLANT = """
local r, seed = redis.call('HGETALL', 'imapferry:route:u0@example.org'), redis.call('TIME')
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local user = 'u' .. i .. '@example.org'
    redis.call('HSET', 'imapferry:route:' .. user, unpack(r))
    redis.call('ZADD', 'imapferry:late:daily', tonumber(ARGV[3]) + math.random() * 86400000, user)
    redis.call('COPY', 'imapferry:packed:u0@example.org', 'imapferry:packed:' .. user)
    local marks = ''
    for k = 1, 3 do
        local mark = string.sub(redis.sha1hex(k .. user), 1, 24)
        local bytes = string.gsub(mark, '%x%x', function(h) return string.char(tonumber(h, 16)) end)
        redis.call('HSET', 'imapferry:fingerprints:' .. string.sub(mark, 1, 4), string.sub(bytes, 3), user)
        marks = marks .. string.char(12) .. bytes
    end
    redis.call('HSET', 'imapferry:fingerprints:' .. string.sub(redis.sha1hex(user), 1, 4), '=' .. user, marks)
end"""


# ---- what is measured

def cpu(pid):
    """Seconds that all threads of a process have run."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


class Site:
    """The simulated proxies and migrators."""

    def __init__(self, conf):
        self.process = subprocess.Popen([os.path.join(daemon.BUILD, "bench", "site"), conf, str(ACCOUNTS), str(PROXIES * THREADS)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._hear("begin", 60)

    def _hear(self, word, timeout):
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"site said nothing for {timeout} s, or ended, at {word}"
        return json.loads(line)

    def do(self, line, timeout=60):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._hear(line, timeout)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class Bench:
    def __init__(self):
        self.redis = redisd.Redis(port=net.free_port(), options=["auto-aof-rewrite-percentage", "0", *CONFIG])
        self.fakes = [FakeImap(), FakeImap()]
        old, new = self.fakes
        self.ferry = Ferry(self.redis, {"old": {"address": old.url()}, "new": {"address": new.url()}},
                           settings={"proxy": {"lease": "10s", "lease_long": "600s", "threads": 1},
                                     "migration": {"trigger": "manual", "cutover": "immediate"}})
        self.ferry.init()
        self.client = self.redis.client()
        self.client.hset("imapferry:store", mapping={"series": "1", "audit_keep": 365 * DAY * 1000, "quarantine_until": 0})
        self.client.hset("imapferry:counts", "whole", "1")
        self.site = self.proxy = None

    def memory(self):
        """Without what is in the hands of clients at this moment, which Redis counts anew once a second."""
        time.sleep(2)
        self.client.execute_command("MEMORY", "PURGE")
        m = self.client.info("memory")
        return m["used_memory"] - m["mem_clients_normal"] - m["mem_aof_buffer"]

    def settle(self):
        """Until what follows events again has read the accounts that it has."""
        time.sleep(2)
        net.wait_until("all accounts read", lambda: self.site.do("stat")["unread"] == 0, 300, step=0.5)

    def step(self, seconds=None, orders=(), during=None):
        """What happened a second, and the CPU of each; orders are taken back behind it."""
        for order in orders:
            self.site.do(order)
        if orders:
            time.sleep(1)
        if self.site:
            self.site.do("stat")
        who = {"redis": self.redis.pid}
        if self.proxy:
            who["proxy"] = self.proxy.pid
        if self.site:
            who["site"] = self.site.process.pid
        before, began = {name: cpu(pid) for name, pid in who.items()}, time.monotonic()
        time.sleep(seconds or SECONDS)
        if during:
            during()
        after, took = {name: cpu(pid) for name, pid in who.items()}, time.monotonic() - began
        said = self.site.do("stat") if self.site else {}
        for order in orders:
            word = order.split()[0]
            self.site.do("most 0" if word == "most" else f"{word} 0")
        rates = {name: (after[name] - before[name]) / took for name in who}
        for name in ("logins", "flips", "looks", "events"):
            rates[name] = said.get(name, 0) / took
        return dict(said, **{f"{name}_a_second": rate for name, rate in rates.items()})

    def close(self):
        if self.site:
            self.site.close()
        self.ferry.close()
        self.redis.close()
        for fake in self.fakes:
            fake.close()


# ---- memory

def plant(bench):
    client = bench.client
    now = int(time.time() * 1000)
    script = client.script_load(PLANT)
    for at in range(MOVED, SETTLED, 500):
        client.evalsha(script, 0, at, min(at + 500, SETTLED) - 1, now)


def of_one(client, kind):
    """Bytes of a key of each account, its name and its place in Redis' table included."""
    users = range(0, MOVED, max(1, MOVED // 200))
    sizes = [client.memory_usage(f"imapferry:{kind}:u{n}@example.org", samples=0) or 0 for n in users]
    return sum(sizes) / len(sizes)


def memory_of_accounts(bench):
    """Without what is capped however many there are."""
    for stream in ("events", "audit", "jobs"):
        bench.client.xtrim(f"imapferry:{stream}", maxlen=0, approximate=False)
    return bench.memory()


def memory_of_settled(bench):
    client = bench.client
    bench.site.do("deaf 1")
    time.sleep(1)
    bench.site.do("looks 100000")
    first, count = MOVED // 5, MOVED - MOVED // 5
    bench.site.do(f"move 0 {first}", 600)
    before, used = memory_of_accounts(bench), cpu(bench.redis.pid)
    bench.site.do(f"move {first} {count}", 600)
    used = (cpu(bench.redis.pid) - used) / count
    bench.site.do("looks 0")
    bench.site.do("deaf 0")
    grown = (memory_of_accounts(bench) - before) / count
    parts = {kind: of_one(client, kind) for kind in ("route", "packed")}
    parts["late:daily"] = client.memory_usage("imapferry:late:daily", samples=0) / MOVED
    print(f"{MOVED} accounts moved by the scripts, bytes of Redis each: {grown:.0f}. Of it " +
          ", ".join(f"{kind} {size:.0f}" for kind, size in parts.items()) +
          f"; the route as {client.object('encoding', 'imapferry:route:u0@example.org')}.", flush=True)
    before = bench.memory()
    plant(bench)
    each = (bench.memory() - before) / max(1, SETTLED - MOVED)
    marks = sum(client.memory_usage(k, samples=0) for k in client.scan_iter("imapferry:fingerprints:00*", count=10000)) * 256 / SETTLED
    print(f"{SETTLED - MOVED} more planted like them: {each:.0f} each, of it marks {marks:.0f}. (Marks stand in 65,536 hashes, which are worth "
          "it from a hundred thousand accounts on.)", flush=True)
    return each if SETTLED >= 100000 else grown, used


def memory_of_sessions(bench):
    before, used, began = bench.memory(), cpu(bench.redis.pid), time.monotonic()
    bench.site.do(f"open {SESSIONS}", 1800)
    took = time.monotonic() - began
    used = cpu(bench.redis.pid) - used
    size = (bench.memory() - before) / SESSIONS
    print(f"{SESSIONS} sessions signed in within {took:.1f} s, {size:.0f} bytes of Redis each, {used / SESSIONS * 1e6:.0f} µs of its CPU "
          "for each.\n", flush=True)
    return size


# ---- a failover in the middle

def fail_over(bench, marks):
    """All connections are cut, and the server says that it is another: what each program does then it does here at once."""
    def run():
        marks["before"] = bench.site.do("stat")
        marks["began"] = time.monotonic()
        bench.client.hset("imapferry:store", "run_id", "former")
        bench.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        worst, lapses, lost = 0, 0, 0
        while True:
            time.sleep(0.5)
            said = bench.site.do("stat")
            worst, lapses, lost = max(worst, said["login_us"][2]), lapses + said["lapses"], lost + said["flips_lost"]
            marks["masters"] = marks.get("masters", 0) + said["masters"]
            if marks["masters"] >= PROXIES * THREADS and not said["unregistered"]:
                marks.setdefault("registered", time.monotonic() - marks["began"])
            if "registered" in marks and not said["unread"]:
                marks.setdefault("read", time.monotonic() - marks["began"])
            if "read" in marks and time.monotonic() - marks["began"] > SECONDS:
                break
            if time.monotonic() - marks["began"] > 600:
                raise TimeoutError(said)
        marks.update(worst=worst, lapses=lapses, lost=lost, leased=said["leased"], open=said["open"])
    return run


# ---- the table

def cost(step, base, what):
    """Seconds of Redis' CPU for each."""
    return (step["redis_a_second"] - base["redis_a_second"]) / step[f"{what}_a_second"] if step[f"{what}_a_second"] else 0.0


def reads(events):
    """How often a second a thread is told, which rests behind each read (EVENTS_REST_MS in proxy/branch.c)."""
    return events / (1 + 0.1 * events)


class Units:
    """What is paid for each, in seconds of CPU."""

    def __init__(self, steps, moved):
        idle, nothing = steps["idle"], steps["nothing"]
        self.thread = max(0.0, idle["redis_a_second"] - nothing["redis_a_second"]) / (PROXIES * THREADS)
        self.login, self.busy_login = cost(steps["logins"], idle, "logins"), cost(steps["most"], idle, "logins")
        self.flip, self.busy_flip = cost(steps["deaf"], steps["deaf idle"], "flips"), moved
        self.look = cost(steps["looks"], idle, "looks")
        self.events_of_flip = steps["flips"]["events_a_second"] / steps["flips"]["flips_a_second"]
        self.told = [self._told(steps, "flips", "deaf"), self._told(steps, "many flips", "many deaf")]
        self.heard = [(steps[name]["events_a_second"], (steps[name]["proxy_a_second"] - idle["proxy_a_second"]) / steps[name]["events_a_second"])
                      for name in ("flips", "many flips")]

    def _told(self, steps, with_followers, without):
        """(events a second, what it costs Redis a second to tell a thread of them)"""
        telling = steps[with_followers]["redis_a_second"] - steps["idle"]["redis_a_second"]
        rest = cost(steps[without], steps["deaf idle"], "flips") * steps[with_followers]["flips_a_second"]
        return steps[with_followers]["events_a_second"], max(0.0, telling - rest) / (PROXIES * THREADS)

    def telling(self, events):
        """... at another rate. Below those that were played a read costs what it cost there; above them an event what it cost there, since how
        much less it would be nobody has measured."""
        (few, low), (many, high) = self.told
        if events < few:
            return low * reads(events) / reads(few)
        if events < many:
            return low + (high - low) * (events - few) / (many - few)
        return max(low, high) + (events - many) * high / many


def report(steps, units):
    threads = PROXIES * THREADS
    logins, most, flips = steps["logins"], steps["most"], steps["flips"]
    print("\n| what | here, a second | µs of Redis' CPU each |\n|---|---|---|")
    rows = [(f"a thread of a proxy, idle ({threads} of them), a second", threads, units.thread),
            ("a login, with the end of a session", logins["logins_a_second"], units.login),
            ("... at the most that it does", most["logins_a_second"], units.busy_login),
            (f"a flip, without its copy and without telling ({units.events_of_flip:.1f} events)", steps["deaf"]["flips_a_second"], units.flip),
            ("... and its last look, 50 at once", "", units.busy_flip), ("a late look", steps["looks"]["looks_a_second"], units.look)]
    rows += [(f"an event, told to a thread, at {events:.0f} a second", events * threads, each / events) for events, each in units.told]
    for name, rate, each in rows:
        print(f"| {name} | {rate if rate == '' else format(rate, '.0f')} | {each * 1e6:.{0 if each > 1e-4 else 1}f} |")
    few, many = units.heard
    print(f"\nA real proxy that has none of these accounts, one thread: {steps['idle']['proxy_a_second']:.3%} of a core idle; {few[1] * 1e6:.0f} µs for "
          f"each event of others at {few[0]:.0f} a second, {many[1] * 1e6:.0f} at {many[0]:.0f}: so {many[1] * 100:.2%} of a core at 100 a second.")
    print(f"Logins: {1 / units.busy_login:.0f} a second by one whole core of Redis; {most['logins_a_second']:.0f} were made here, with Redis at "
          f"{most['redis_a_second']:.0%} of a core and the clients at {most['site_a_second']:.0%}; p50 {most['login_us'][0] / 1000:.1f} ms, p99 "
          f"{most['login_us'][1] / 1000:.1f} ms. At {LOGINS:.0f} a second: p50 {logins['login_us'][0] / 1000:.1f} ms, p99 "
          f"{logins['login_us'][1] / 1000:.1f} ms.")
    print(f"A flip takes {flips['flip_us'][0] / 1000:.0f} ms, p99 {flips['flip_us'][1] / 1000:.0f} ms, its copy left out.")


def report_failover(marks, step):
    print(f"All at once (Redis at {step['redis_a_second']:.0%} of a core), a failover in the middle: {marks['open']} sessions registered after "
          f"{marks['registered']:.1f} s, all accounts read after {marks['read']:.1f} s, {marks['lapses']} lapses of "
          f"{PROXIES * THREADS} leases (10 s), slowest login {marks['worst'] / 1e6:.2f} s.")


# ---- other sites

class Other:
    """A site like this one of so many millions: what each of its stores has to do, as shares of a core, and its GiB."""

    def __init__(self, millions, stores, units, settled, session):
        one = millions * 1e6 / ACCOUNTS / stores
        self.threads = PROXIES * THREADS * one * stores
        self.parts = {
            "logins": LOGINS * one * units.busy_login,
            "flips": FLIPS * one * units.busy_flip,
            "late looks": millions * 1e6 / DAY / stores * min(units.look, units.busy_flip),
            "leases and followers": self.threads * units.thread,
            "telling events": self.threads * units.telling(FLIPS * one * units.events_of_flip)}
        self.core = sum(self.parts.values())
        self.most = max(self.parts, key=self.parts.get)
        self.gib = (ACCOUNTS * (settled + MAILBOXES * OF_MAILBOX) + SESSIONS * session) * one / 2 ** 30
        self.fits = self.core <= STORE_CORE and self.gib <= STORE_GIB


def report_sites(*known):
    print(f"\nSites like this one, all settled, {MAILBOXES} mailboxes an account, where a store has {STORE_GIB:.0f} GiB and {STORE_CORE:.0%} of a core at most:\n")
    print("| accounts | proxies' threads | one store alone, of a core; most of it | GiB | stores | of the core of each; most of it | GiB of each |\n"
          "|---|---|---|---|---|---|---|")
    for millions in (1, 10, 100):
        alone = Other(millions, 1, *known)
        stores = next((n for n in range(1, 1001) if Other(millions, n, *known).fits), None)
        split = Other(millions, stores or 1000, *known)
        print(f"| {millions},000,000 | {alone.threads:.0f} | {alone.core:.0%}; {alone.most} {alone.parts[alone.most]:.0%} | {alone.gib:.1f} | "
              f"{stores or 'more than 1,000'} | {split.core:.0%}; {split.most} {split.parts[split.most]:.0%} | {split.gib:.2f} |")
    here = Other(ACCOUNTS / 1e6, 1, *known)
    core, memory = here.core / STORE_CORE, here.gib / STORE_GIB
    print(f"\nFull first on this site: {'CPU' if core > memory else 'memory'} (of the CPU {core:.0%} is used, of the memory {memory:.0%}).")


def measure(bench):
    steps = {"nothing": bench.step(min(5.0, SECONDS))}
    bench.site = Site(bench.ferry.config("site", proxy={"listen": ["imap://127.0.0.1:0"], "id": "site"}))
    settled, moved = memory_of_settled(bench)
    session = memory_of_sessions(bench)
    bench.proxy = bench.ferry.proxy()
    time.sleep(3)
    steps["idle"] = bench.step()
    steps["logins"] = bench.step(orders=[f"logins {LOGINS}"])
    steps["flips"] = bench.step(orders=[f"flips {FLIPS} {SETTLED}"])
    many = FLIPS * EVENTS / steps["flips"]["events_a_second"]
    steps["many flips"] = bench.step(orders=[f"flips {many}"])
    bench.site.do("deaf 1")
    time.sleep(1)
    steps["deaf idle"] = bench.step()
    steps["deaf"] = bench.step(orders=[f"flips {FLIPS}"])
    steps["many deaf"] = bench.step(orders=[f"flips {many}"])
    bench.site.do("deaf 0")
    bench.settle()
    bench.client.zadd("imapferry:late:daily", {f"u{n}@example.org": 1 for n in range(MOVED)})
    steps["looks"] = bench.step(orders=[f"looks {LOOKS}"])
    marks = {}
    steps["all"] = bench.step(orders=[f"logins {LOGINS}", f"flips {FLIPS}", f"looks {LOOKS}"], during=fail_over(bench, marks))
    time.sleep(3)
    steps["most"] = bench.step(orders=["most 200"])
    units = Units(steps, moved)
    report(steps, units)
    report_failover(marks, steps["all"])
    report_sites(units, settled, session)


def main():
    print(f"{ACCOUNTS} accounts, {SESSIONS} sessions, {PROXIES} proxies of {THREADS} threads, {SECONDS:.0f} s a step, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n", flush=True)
    bench = Bench()
    try:
        measure(bench)
        print(f"\nLoad at the end: {os.getloadavg()[0]:.1f}")
    finally:
        bench.close()


if __name__ == "__main__":
    main()
