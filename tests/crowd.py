#!/usr/bin/python3
"""make check-crowd: a proxy under very many logins, and two of them with very many sessions; on a build without sanitizers, with the
clients and the server of bench-proxy.

    growth   LOGINS (1,000,000) logins and logouts of 10,000 accounts end at the memory that the first tenth ends at: by then each
             thread remembers as many accounts as it ever does (proxy/lately.h)
    crowd    two proxies hold SESSIONS (18,000) sessions in IDLE, a process SHARE of the descriptors that it may have; FLIPS
             (1,000) of the accounts are switched over while others sign in and out. Nobody is disconnected: each session of a
             moved account goes on over there, and at the end each of all sessions gets the answer to its DONE

ONLY=growth or crowd. Prints a line for each step, and `N passed, N failed`."""
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "bench")]

from harness import net, redisd  # noqa: E402  pylint: disable=wrong-import-position
from harness.ferry import Ferry  # noqa: E402  pylint: disable=wrong-import-position
from proxy import Bench, pss  # noqa: E402  pylint: disable=wrong-import-position

LOGINS = int(os.environ.get("LOGINS") or 1000000)
SESSIONS = int(os.environ.get("SESSIONS") or 18000)
FLIPS = int(os.environ.get("FLIPS") or 1000)
FIRST = LOGINS // 10
SLACK = 1024  # KiB: a page here or there of the allocator's
LONG = 3600.0


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Site:
    """Redis, the two servers of bench, and what is started of ours."""

    def __init__(self, bench):
        self.redis = redisd.Redis(fsync="always")
        sides = {"old": {"address": f"imap://127.0.0.1:{bench.backend}"}, "new": {"address": f"imap://127.0.0.1:{bench.target}"}}
        self.ferry = Ferry(self.redis, sides, bench.cert, {
            "proxy": {"lease": "10s", "lease_long": "10m", "threads": 2, "hold_max": "30s", "max_connections_per_network": 0},
            "migration": {"source": "old", "target": "new", "trigger": "manual"}})
        self.ferry.init()

    def close(self):
        self.ferry.close()
        self.redis.close()


def port(proxy):
    return int(proxy.addresses[0].rsplit(":", 1)[1])


# ---- growth

def growth(bench):
    site = Site(bench)
    try:
        proxy = site.ferry.proxy()
        sizes = []
        for count in (FIRST, LOGINS - FIRST):
            said = bench.load("login", port(proxy), count, 20, "plain", timeout=LONG)
            assert said["done"] == count and not said["errors"], said
            sizes.append(pss([proxy.pid]))
            say(f"growth: {count} logins more in {said['seconds']:.0f} s, {sizes[-1]} KiB")
        assert sizes[1] <= sizes[0] + SLACK, f"{sizes[0]} KiB, and then {sizes[1]} KiB"
    finally:
        site.close()


# ---- crowd

class Holder:
    """Sessions in IDLE."""

    def __init__(self, bench, proxy, count):
        self.count = count
        self.process = subprocess.Popen([os.path.join(bench.folder, "load"), "idling", str(port(proxy)), str(count), "50", "plain"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait(self):
        said = self.process.stdout.readline()
        assert said == "ready\n", said

    def end(self):
        """How many got the answer to their DONE."""
        self.process.stdin.close()
        said = json.loads(self.process.stdout.readline())
        self.process.wait(60)
        return said

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def switch_over(site, users):
    for user in users:
        status, answer = site.ferry.ctl("flip", user, "--to", "new", "--force", "--reason", "a crowd", timeout=120)
        assert status == 0, (user, answer)
    for user in users:
        site.ferry.wait_state(user, "flipped", "held", timeout=600)


def count_lines(proxies, event):
    return sum(1 for p in proxies for line in p.lines if line and f" event={event} " in line)


def look_at_ends(site, proxies, holders, users):
    """Each session of those accounts is at the new server, and none has gone."""
    moved = len(users) * len(proxies)
    assert count_lines(proxies, "handed_over") == moved, (count_lines(proxies, "handed_over"), moved)
    assert not count_lines(proxies, "not_handed_over")
    for user in users:
        assert site.ferry.where(user) == {"new"}, (user, site.ferry.where(user))
    for holder in holders:
        said = holder.end()
        assert said["done"] == holder.count and not said["errors"], said


def crowd(bench):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = min(SESSIONS // 2, (limit - 600) // 2)
    site, holders, proxies = Site(bench), [], []
    try:
        proxies = [site.ferry.proxy(), site.ferry.proxy()]
        site.ferry.migrator()
        began = time.monotonic()
        holders = [Holder(bench, p, each) for p in proxies]
        for holder in holders:
            holder.wait()
        say(f"crowd: {2 * each} sessions by two proxies after {time.monotonic() - began:.0f} s, {pss([p.pid for p in proxies])} KiB")
        users = [f"u{n}@example.org" for n in range(FLIPS)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            began = time.monotonic()
            flips = pool.submit(switch_over, site, users)
            logins = 0
            while not flips.done() or not logins:
                said = bench.load("login", port(proxies[logins % 2]), 1000, 10, "plain", timeout=LONG)
                assert said["done"] == 1000 and not said["errors"], said
                logins += 1
            flips.result()
        say(f"crowd: {FLIPS} accounts switched over in {time.monotonic() - began:.0f} s, {logins * 1000} logins meanwhile")
        look_at_ends(site, proxies, holders, users)
    except AssertionError:
        print("\n".join(line for p in proxies for line in p.lines if line and "level=info" not in line))
        raise
    finally:
        for holder in holders:
            holder.kill()
        site.close()


def main():
    passed = failed = 0
    for name in (os.environ.get("ONLY") or "growth,crowd").split(","):
        bench = Bench()
        try:
            {"growth": growth, "crowd": crowd}[name](bench)
            passed += 1
        except (AssertionError, TimeoutError) as e:
            say(f"{name}: {e}")
            failed += 1
        finally:
            bench.close()
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
