#!/usr/bin/python3
"""make check-view: all mail programs between each pair of servers, with a mailbox of MESSAGES (20,000) messages; then caches
that go by MODSEQs, in each world of resync.py; then random commands to accounts that were moved, and to their copies that were
not, in each world of differential.py. Prints what differs, with its seed and the shortest sequence that shows it, and
`N passed, N failed`.

    run.py [--runs N] [--seed S] [--only clients,resync,WORLD,...] [--steps N]
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from view import differential, resync, scene  # noqa: E402  pylint: disable=wrong-import-position
from view.account import View  # noqa: E402  pylint: disable=wrong-import-position


def run_clients(messages):
    """How many pairs failed."""
    failed = 0
    for old, new in scene.PAIRS:
        began = time.monotonic()
        try:
            with scene.Scene(old, new, view=View(big=messages)) as one:
                one.whole()
                count = one.view.count
            print(f"{old} to {new}: {count} messages, nothing transferred again: {time.monotonic() - began:.0f} s", flush=True)
        except (AssertionError, TimeoutError) as e:
            failed += 1
            print(f"{old} to {new}: {e}", flush=True)
    return failed


def run_caches(args):
    """How many runs failed."""
    failed = 0
    for name, options in resync.WORLDS.items():
        with resync.World(**options) as world:
            for seed in range(args.seed, args.seed + args.runs):
                found = world.run(seed, args.steps)
                if found:
                    failed += 1
                    print(f"resync, {name}: " + "\n".join(found), flush=True)
            print(f"resync, {name}: {args.runs} runs from seed {args.seed}, {world.went_over} sessions went over", flush=True)
    return failed


def run_world(name, args):
    """How many runs failed."""
    failed = 0
    with differential.World(**differential.WORLDS[name]) as world:
        for seed in range(args.seed, args.seed + args.runs):
            found = world.run(seed, args.steps, args.tries)
            if found:
                failed += 1
                print(f"{name}: {found}", flush=True)
    print(f"{name}: {args.runs} runs from seed {args.seed}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20, help="of each world")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default=",".join(["clients", "resync", *differential.WORLDS]))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tries", type=int, default=differential.TRIES)
    args = parser.parse_args()
    total = failed = 0
    for name in args.only.split(","):
        if name == "clients":
            total += len(scene.PAIRS)
            failed += run_clients(int(os.environ.get("MESSAGES") or 20000))
        elif name == "resync":
            total += len(resync.WORLDS) * args.runs
            failed += run_caches(args)
        else:
            total += args.runs
            failed += run_world(name, args)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
