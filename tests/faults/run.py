#!/usr/bin/python3
"""Cut-overs under load and one fault at a random step of them, and a judgement of what the clients were told.

    tests/faults/run.py [--runs N] [--seed S] [--accounts N] [--sessions N] [--fault NAME] [--way NAME] [--store KIND]

In each round some accounts are moved while their sessions write through two proxies, one of each is in IDLE, two keep a
mailbox by its MODSEQ, and mail comes to the servers; when one account comes to a step that the seed says, something happens
to a daemon, to its way to Redis, or to Redis itself, and is put right a little later. When all accounts have moved and the
late watch has looked once more, what clients were told OK for, and what was delivered, is compared with what the servers
hold. Each round prints its seed; `--seed S --runs 1` replays it (the step, the fault and what clients do; not the operating
system's clock)."""
import argparse
import concurrent.futures
import contextlib
import os
import random
import re
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from faults import checker, store  # noqa: E402  pylint: disable=wrong-import-position
from faults.accounts import Account, prepare  # noqa: E402  pylint: disable=wrong-import-position
from faults.world import LEASE, WAYS, Follower, Servers, World  # noqa: E402  pylint: disable=wrong-import-position
from harness import net  # noqa: E402  pylint: disable=wrong-import-position

STEPS = ("queued", "copying", "ready", "preparing", "freezing", "flipping", "flipped")
FAULTS = ("kill", "stop", "cut_off", "reset")  # of a daemon
NOTHING = "nothing"  # only where it is asked for
FAIL_OVER = "fail_over"
FAIL_OVER_SHARE = 1 / 12  # of the rounds: each costs some seconds,
# That are kept: each has four daemons and a store; this process, which relays all that they say, has 1024 descriptors for select().
WORLDS = {"alone": 4, "several": 2, "cluster": 2}
FAIL_OVER_ACCOUNTS = 2    # and so more accounts share it: times as many
MEMBERS = ("proxy1", "proxy2", "migrator1", "migrator2")
BEFORE, AFTER = 0.2, 0.3  # seconds of writing before the move and after it
MOVE_TIMEOUT = 400  # on a machine that has much else to do
HEAL_TIMEOUT = 90
TOLD_TIMEOUT = 40  # for EXISTS in IDLE


class Plan:
    """All that the seed decides."""

    def __init__(self, seed, fault=None, way=None, kind="alone"):
        rng = random.Random(seed)
        self.seed = seed
        self.step = rng.choice(STEPS)
        self.fault = rng.choice(FAULTS)
        self.member = rng.choice(MEMBERS)
        self.delay = rng.choice((0, 0, rng.random() * 0.05, rng.random() * 0.3))
        self.lasts = LEASE * rng.choice((0.5, 1.5, 1.5, 3))
        self.account = rng.randrange(1 << 30)
        self.sessions = rng.randrange(1 << 30)
        if rng.random() < FAIL_OVER_SHARE:
            self.fault = FAIL_OVER
        self.fault = fault or self.fault
        if self.fault == FAIL_OVER:
            self.member = "redis by " + rng.choice(store.HOW)
        self.way = way or rng.choices(list(WAYS), [w.share for w in WAYS.values()])[0]
        self.kind, self.only_one = kind, kind != "alone" and rng.random() < 0.7
        if kind == "cluster" and self.fault == FAIL_OVER and rng.random() < 0.4:
            self.member = "redis by " + store.MOVE

    @property
    def is_fail_over(self):
        return self.fault == FAIL_OVER

    def __str__(self):
        return (f"seed {self.seed}: {self.fault} {self.member} {self.delay * 1000:.0f} ms after {self.step} "
                f"for {self.lasts:.2f} s, {self.way}" + (f", {self.kind}" + ", one of them" * self.only_one if self.kind != "alone" else ""))


class Injector:
    """Does the plan's fault once, when the chosen account comes to its step; puts it right after its time."""

    def __init__(self, world, plan, user):
        self.world, self.plan, self.user = world, plan, user
        self.struck = threading.Event()
        self.healed = threading.Event()
        self.failed = None

    def heard(self, user, state):
        if user == self.user and state == self.plan.step and not self.struck.is_set():
            self.struck.set()
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            time.sleep(self.plan.delay)
            self._fail_over() if self.plan.is_fail_over else self._strike()
            self.healed.set()
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.failed = f"the fault: {type(e).__name__}: {e}"

    def _strike(self):
        member = self.world.members[self.plan.member]
        member.way.only = self.world.store.place(self.user) if self.plan.only_one else None
        try:
            getattr(member, self.plan.fault)()
            time.sleep(self.plan.lasts)
        finally:
            member.heal()

    def _fail_over(self):
        try:
            self.world.store.fail_over(self.plan.member.rpartition(" ")[2], self.user)
            time.sleep(self.plan.lasts)
        finally:
            self.world.store.restore()


class Round:
    """Some accounts, and one fault for them."""

    def __init__(self, world, plan, users, sessions):
        self.world, self.plan, self.users = world, plan, users
        self.tiers = {}
        self.accounts = {user: Account(world, user, n, plan.sessions + n * 100, sessions) for n, user in enumerate(users)}
        self.injector = Injector(world, plan, users[plan.account % len(users)])
        self.helped = []

    def _heard(self, user, state):
        if user in self.accounts:
            self.accounts[user].heard(state)
        self.injector.heard(user, state)

    def go(self):
        """What is wrong afterwards."""
        follower = Follower(self.world, self._heard)
        everybody = list(self.accounts.values())
        try:
            for a in everybody:
                a.start()
            net.wait_until("all sessions to work", lambda: all(a.begun() for a in everybody), 60)
            time.sleep(BEFORE)
            self._move()
            time.sleep(AFTER)
            found = self._last_word(everybody)
        finally:
            self.injector.healed.wait(HEAL_TIMEOUT)
            for a in everybody:
                a.stop()
            for a in everybody:
                a.join(60)
            follower.stop()
        return found + self.world.dead() + self._judge()

    def _move(self):
        for user in self.users:  # 5: the fault has struck already, and Redis does not answer
            status = net.wait_until("a job", lambda u=user: {0: "done", 5: None}.get(
                self.world.ferry.ctl("migrate", u, "--now")[0], "refused"), MOVE_TIMEOUT)
            assert status == "done", f"{user}: {status}"
        self.helped = self.world.wait_moved(self.users, MOVE_TIMEOUT)
        assert self.injector.struck.is_set(), "the fault never struck"
        assert self.injector.healed.wait(HEAL_TIMEOUT), self.injector.failed or "the fault was not put right"

    @staticmethod
    def _last_word(everybody):
        """Who is in IDLE is told of what comes now, on the connection that it has."""
        for a in everybody:
            a.deliver_last()
        with contextlib.suppress(TimeoutError):
            net.wait_until("word of it", lambda: all(a.has_last() for a in everybody), TOLD_TIMEOUT, step=0.05)
        return [f"{a.user}: nobody in IDLE was told of {a.last}" for a in everybody if not a.has_last()]

    def _judge(self):
        self.world.look_late(self.users)
        self.tiers = self.world.tiers(self.users)
        found = []
        for user, account in self.accounts.items():
            winner = checker.contents(self.world.new, user)
            loser = checker.contents(self.world.old, user)
            account.judge(winner, user in self.helped)
            found += [f"{user}: {text}" for text in checker.violations(account.all, winner, loser, late_seen=True)]
        return found


class Totals:
    """Of all rounds; what they show must not be nothing."""

    def __init__(self):
        self.cut_overs = self.rounds = self.failed = 0
        self.found = []  # what was wrong, with the plan of its round
        self.counts = {}

    def add(self, a_round):
        for account in a_round.accounts.values():
            for name, n in account.counts().items():
                self.counts[name] = self.counts.get(name, 0) + n
        self.counts["helped"] = self.counts.get("helped", 0) + len(a_round.helped)
        for tier, n in sorted(a_round.tiers.items()):
            self.counts[tier] = self.counts.get(tier, 0) + n

    def text(self):
        return ", ".join(f"{n} {name}" for name, n in self.counts.items())


class Runner:
    """One world of each kind, kept as long as nothing is found in it; the accounts of the next round are made meanwhile."""

    def __init__(self, args):
        self.args = args
        self.servers = Servers()
        self.worlds = {}
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.totals = Totals()

    def plan(self, seed):
        plan = Plan(seed, self.args.fault, self.args.way, self.args.store)
        n = self.args.accounts * (FAIL_OVER_ACCOUNTS if plan.is_fail_over else 1)
        users = [f"f{plan.seed}x{i}@example.org" for i in range(n)]
        return plan, users, self.pool.submit(prepare, self.servers, users, plan.way)

    def world(self, plan):
        kind = plan.is_fail_over, plan.way
        if kind not in self.worlds:
            if len(self.worlds) == WORLDS[plan.kind]:
                self.worlds.pop(next(iter(self.worlds))).close()
            self.worlds[kind] = World(self.servers, store.KINDS[plan.kind][plan.is_fail_over], way=plan.way)
        return self.worlds[kind]

    def run(self, first):
        seed, ready = first, self.plan(first)
        while self.totals.cut_overs < self.args.runs:
            plan, users, prepared = ready
            seed += 1
            prepared.result()
            if self.totals.cut_overs + len(users) < self.args.runs:
                ready = self.plan(seed)
            self._one(plan, users)
            self.totals.cut_overs += len(users)
            self.totals.rounds += 1

    def _one(self, plan, users):
        began, world = time.monotonic(), self.world(plan)
        a_round = Round(world, plan, users, self.args.sessions)
        try:
            found = a_round.go()
        except (AssertionError, OSError, RuntimeError) as e:
            found = [f"{type(e).__name__}: {e}", traceback.format_exc()]
        self.totals.add(a_round)
        told = sum(a.counts()["changes told"] for a in a_round.accounts.values())
        print(f"{plan}: {len(users)} accounts, {told} changes told, {time.monotonic() - began:.1f} s: "
              f"{'FAILED' if found else 'clean'}", flush=True)
        if found:
            self.totals.failed += 1
            self.totals.found += [f"{plan}: {text}" for text in found[:10]]
            self._explain(world, found)
            with contextlib.suppress(AssertionError):  # what a dead daemon has to say was printed
                self.worlds.pop((plan.is_fail_over, plan.way)).close()

    @staticmethod
    def _explain(world, found):
        """What is wrong, what staff would see, and what the daemons said of the accounts that are meant, or all that they said."""
        for text in found[:10]:
            print(f"    {text}", flush=True)
        users = set(re.findall(r"\bf\d+x\d+@example\.org", " ".join(found)))
        for user in sorted(users):
            print(f"    --- report of {user}\n{world.report(user)}", flush=True)
        for label, m in world.members.items():
            lines = [x for x in (m.daemon.lines if m.daemon else []) if x]
            lines = [x for x in lines if not users or " user=" not in x or any(u in x for u in users)]
            print(f"    --- {label}\n" + "\n".join(lines[-60:]), flush=True)

    def close(self):
        self.pool.shutdown()
        try:
            for world in self.worlds.values():
                world.close()
        finally:
            self.servers.close()


def cut_overs(arguments=None):
    """As the options have it; the totals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40, help="cut-overs, all accounts of all faults together")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--accounts", type=int, default=8, help="that share one fault; twice as many a failover")
    parser.add_argument("--sessions", type=int, default=2, help="of each account, besides the one in IDLE")
    parser.add_argument("--fault", choices=[*FAULTS, FAIL_OVER, NOTHING], default=None, help="this one each time")
    parser.add_argument("--way", choices=WAYS, default=None, help="in which numbers are kept; this one each time")
    parser.add_argument("--store", choices=store.KINDS, default="alone", help="one Redis, three, or a cluster of six nodes")
    args = parser.parse_args(arguments)
    began, runner = time.monotonic(), Runner(args)
    totals = runner.totals
    try:
        runner.run(args.seed if args.seed is not None else int(time.time()) % 1000000)
    finally:
        runner.close()
    print(f"{totals.cut_overs} cut-overs, {time.monotonic() - began:.0f} s: {totals.text()}")
    print(f"{totals.rounds - totals.failed} passed, {totals.failed} failed")
    return totals


if __name__ == "__main__":
    sys.exit(1 if cut_overs().failed else 0)
