#!/usr/bin/python3
"""Cut-overs under load and one fault at a random step of them, and a judgement of what the clients were told.

    tests/faults/run.py [--runs N] [--seed S] [--accounts N] [--sessions N]

In each run some accounts are moved while their sessions write through two proxies; when one account comes to a step that
the seed says, something happens to a daemon or to its way to Redis, and is put right a little later. When all accounts
have moved, what clients were told OK for is compared with what the servers hold. Each run prints its seed; `--seed S
--runs 1` replays it (the step, the fault and what clients do; not the operating system's clock)."""
import argparse
import contextlib
import os
import random
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from faults import checker  # noqa: E402  pylint: disable=wrong-import-position
from faults.session import BOXES, Session  # noqa: E402  pylint: disable=wrong-import-position
from faults.world import LEASE, Follower, World  # noqa: E402  pylint: disable=wrong-import-position
from harness import mail, net  # noqa: E402  pylint: disable=wrong-import-position
from harness.scene import PASSWORD  # noqa: E402  pylint: disable=wrong-import-position

STEPS = ("queued", "copying", "ready", "preparing", "freezing", "flipping", "flipped")
FAULTS = ("kill", "stop", "cut_off", "reset")
MEMBERS = ("proxy1", "proxy2", "migrator1", "migrator2")
MOVED = ("flipped", "settled")
BEFORE, AFTER = 0.2, 0.3  # seconds of writing before the move and after it
MOVE_TIMEOUT = 60


class Plan:
    """All that the seed decides."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.seed = seed
        self.step = rng.choice(STEPS)
        self.fault = rng.choice(FAULTS)
        self.member = rng.choice(MEMBERS)
        self.delay = rng.choice((0, 0, rng.random() * 0.05, rng.random() * 0.3))
        self.lasts = LEASE * rng.choice((0.5, 1.5, 1.5, 3))
        self.account = rng.randrange(1 << 30)
        self.sessions = rng.randrange(1 << 30)

    def __str__(self):
        return (f"seed {self.seed}: {self.fault} {self.member} {self.delay * 1000:.0f} ms after {self.step} "
                f"for {self.lasts:.2f} s")


class Injector:
    """Does the plan's fault once, when the chosen account comes to its step; puts it right after its time."""

    def __init__(self, world, plan, user):
        self.world, self.plan, self.user = world, plan, user
        self.struck = threading.Event()
        self.healed = threading.Event()

    def heard(self, user, state):
        if user == self.user and state == self.plan.step and not self.struck.is_set():
            self.struck.set()
            threading.Thread(target=self._strike, daemon=True).start()

    def _strike(self):
        member = self.world.members[self.plan.member]
        try:
            time.sleep(self.plan.delay)
            getattr(member, self.plan.fault)()
            time.sleep(self.plan.lasts)
        finally:
            member.heal()
            self.healed.set()


def prepare(server, user):
    """An account with a little mail that nobody touches."""
    m = mail.connect(server, user, PASSWORD)
    m.create("Archive")
    for box in BOXES:
        mail.append(m, box, [mail.Message((box,), b"Subject: quiet %s %d\r\n\r\nx\r\n" % (user.encode(), n)) for n in range(5)])
    m.logout()


def judge(world, sessions_of, late_seen):
    found = []
    for user, sessions in sessions_of.items():
        winner = checker.contents(world.new, user)
        loser = checker.contents(world.old, user)
        found += [f"{user}: {text}" for text in checker.violations(sessions, winner, loser, late_seen)]
    return found


def one_run(world, plan, accounts, sessions):
    users = [f"f{plan.seed}x{n}@example.org" for n in range(accounts)]
    for user in users:
        prepare(world.old, user)
    for _ in range(2):  # Dovecot gave the second mailbox the next second's UIDVALIDITY
        net.wait_next_second()
    sessions_of = {user: [Session(world.addresses, user, f"u{n}s{i}", plan.sessions + n * 100 + i) for i in range(sessions)]
                   for n, user in enumerate(users)}
    everybody = [s for group in sessions_of.values() for s in group]
    injector = Injector(world, plan, users[plan.account % accounts])
    follower = Follower(world, injector.heard)
    for s in everybody:
        s.start()
    try:
        net.wait_until("all sessions to write", lambda: all(s.written.is_set() for s in everybody), 30)
        time.sleep(BEFORE)
        for user in users:
            assert world.ferry.ctl("migrate", user, "--now")[0] == 0
        world.wait_all(users, MOVED, MOVE_TIMEOUT)
        assert injector.struck.is_set(), "the fault never struck"
        assert injector.healed.wait(20), "the fault was not put right"
        time.sleep(AFTER)
    finally:
        injector.healed.wait(20)
        for s in everybody:
            s.stop()
        for s in everybody:
            s.join(40)
        follower.stop()
    told = sum(s.told for s in everybody)
    ended = sum(len(s.endings) for s in everybody)
    return world.dead() + judge(world, sessions_of, late_seen=False), told, ended


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40, help="cut-overs, all accounts of all faults together")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--accounts", type=int, default=5, help="that share one fault")
    parser.add_argument("--sessions", type=int, default=2, help="of each account")
    args = parser.parse_args(arguments)
    first = args.seed if args.seed is not None else int(time.time()) % 1000000
    world, failed, done, n = World(), 0, 0, 0
    began = time.monotonic()
    try:
        while done < args.runs:
            plan = Plan(first + n)
            n += 1
            try:
                found, told, ended = one_run(world, plan, args.accounts, args.sessions)
            except (AssertionError, OSError, RuntimeError) as e:
                found, told, ended = [f"{type(e).__name__}: {e}", traceback.format_exc()], 0, 0
            done += args.accounts
            failed += bool(found)
            print(f"{plan}: {told} changes told, {ended} connections ended: {'FAILED' if found else 'clean'}", flush=True)
            for text in found[:10]:
                print(f"    {text}", flush=True)
            if found:
                for label, m in world.members.items():
                    if m.daemon:
                        print(f"    --- {label}\n" + m.daemon.tail(40), flush=True)
                with contextlib.suppress(AssertionError):  # what a dead daemon has to say was printed
                    world.close()
                world = World()
    finally:
        world.close()
    print(f"{done} cut-overs, {time.monotonic() - began:.0f} s")
    print(f"{n - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
