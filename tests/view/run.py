#!/usr/bin/python3
"""make check-view: random commands to accounts that were moved, and to their copies that were not, in each world of
differential.py. Prints what differs, with its seed and the shortest sequence that shows it, and `N passed, N failed`.

    run.py [--runs N] [--seed S] [--only WORLD[,WORLD]] [--steps N]
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from view import differential  # noqa: E402  pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20, help="of each world")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default=",".join(differential.WORLDS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tries", type=int, default=differential.TRIES)
    args = parser.parse_args()
    passed = failed = 0
    for name in args.only.split(","):
        with differential.World(**differential.WORLDS[name]) as world:
            for seed in range(args.seed, args.seed + args.runs):
                found = world.run(seed, args.steps, args.tries)
                passed, failed = (passed, failed + 1) if found else (passed + 1, failed)
                if found:
                    print(f"{name}: {found}", flush=True)
        print(f"{name}: {args.runs} runs from seed {args.seed}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
