#!/usr/bin/python3
"""make check-crash: a migration that is killed, stopped and cut off at every point of lib/fault.h, one after another.

    tests/crash/run.py [--seed N] [--only REGULAR-EXPRESSION] [--count N] [--threads N] [CASE...]

What a case is stands at the head of tests/harness/crash.py. --only takes the cases whose name it is found in, --count
draws so many of them. The last line is `N passed, N failed`; a case that failed is printed as it can be given here."""

import argparse
import concurrent.futures
import os
import random
import re
import sys
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)
os.environ.setdefault("IMAPFERRY_BUILD", os.path.join(os.path.dirname(TESTS), "build", "san"))  # it has the points

from harness import certs, crash, net  # noqa: E402  pylint: disable=wrong-import-position


def choose(world, args):
    if args.cases:
        return [crash.Case.parse(c) for c in args.cases]
    rng = random.Random(args.seed)
    cases = [c for c in crash.all_cases(world, args.seed) if re.search(args.only, str(c))]
    rng.shuffle(cases)
    return cases[:args.count] if args.count else cases


def attempt(world, case):
    """(case, was it reached, what went wrong)."""
    try:
        return case, world.run(case), ""
    except Exception as e:  # pylint: disable=broad-except
        return case, True, f"{type(e).__name__}: {e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6)))
    parser.add_argument("--only", default="")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--threads", type=int, default=3 * (os.cpu_count() or 1))
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    started, failed, missed, done = time.monotonic(), [], [], 0
    folder = net.temp_folder("ca")
    with crash.World(certs.Authority(folder).issue("server")) as world:
        cases = choose(world, args)
        print(f"seed {args.seed}, {len(cases)} cases", flush=True)
        with concurrent.futures.ThreadPoolExecutor(args.threads) as pool:
            for case, reached, trouble in pool.map(lambda c: attempt(world, c), cases):
                done += 1
                if trouble:
                    failed.append(case)
                    print(f"failed: {case}\n{trouble}", flush=True)
                elif not reached:
                    missed.append(case)
                if done % 100 == 0:
                    print(f"{done} of {len(cases)}, {len(failed)} failed, {time.monotonic() - started:.0f} s", flush=True)
    net.remove_folder(folder)
    for case in missed:
        print(f"not reached so often: {case}")
    for case in failed:
        print(f"failed: {case}")
    print(f"==== {time.monotonic() - started:.0f} s, seed {args.seed}")
    print(f"{done - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
