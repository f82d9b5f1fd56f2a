#!/usr/bin/python3
"""Explores the model of the cut-over with spin, and each weakened variant of it, which has to yield a counterexample.

    tests/model/run.py [-j N] [NAME...]      all, or those whose names are given
    tests/model/run.py --trail NAME          the shortest way to the counterexample that a short search finds

Prints one line each, and at last `N passed, N failed`. A search that was not completed counts as failed."""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
MEMORY_MB = 3500
CPU_SECONDS = 420  # of one search: however busy the machine is

# One proxy, one migrator and an account that all know to be on its way, unless said otherwise.
BASE = {"NP": 1, "NM": 1, "CLAIMS": 2, "FIRST": 1}
FAILOVER = {"FAILOVERS": 1, "CLAIMS": 1}
LOGIN = {"LOGIN": ""}
RESTING = {"FIRST": 0}
TWO_MIGRATORS = {"NM": 2}
TWO_SESSIONS = {"NS": 2, "CLAIMS": 1}
# Two accounts, by a model of their own.
GROUP = {"MODEL": "group.pml", "CLAIMS": 3}

# Searches that are complete and find nothing.
SOUND = {
    "one_session": {},
    "one_login": LOGIN,
    "without_hand_over": {"BYE": ""},
    "both_terms": {**RESTING, "CLAIMS": 1},
    "both_terms_login": {**RESTING, **LOGIN, "CLAIMS": 1},
    "second_claim": TWO_MIGRATORS,
    "two_sessions": {**RESTING, **TWO_SESSIONS, "LAPSES": 2},
    "two_proxies": {"NP": 2, "CLAIMS": 1, "LAPSES": 1},
    "failover": FAILOVER,
    "failover_login": {**FAILOVER, **LOGIN},
    "failover_both_terms": {**FAILOVER, **RESTING, **LOGIN},
    "failover_without_hand_over": {**FAILOVER, "BYE": "", **LOGIN},
    "group": {**GROUP, "CLAIMS": 4},
    "group_failover": {**GROUP, "FAILOVERS": 1},
}
LIVE = {
    "freeze_ends": {**TWO_MIGRATORS, "LIVE": "", "CRASHES": 1, "CLAIMS": 1},
}
# What is taken away, and where that shows.
WEAKENED = {
    "NO_EPOCH_ACK": {},
    "OK_AFTER_LEASE": {},
    "CLOCK_FIRST": {},
    "EVICT_BLIND": {},
    "UNNOTICED_LAPSE": {},
    "ENTER_EPOCH": LOGIN,
    "OK_BEFORE_ENTER": LOGIN,
    "SHORT_TERM": RESTING,
    "OVERTAKEN": {**RESTING, **TWO_SESSIONS, "LAPSES": 1},
    "OWN_TERMS": {},
    "RENEW_FIRST": {**FAILOVER, **LOGIN},
    "LOGIN_UNDOUBTED": {**FAILOVER, **LOGIN},
    "ANSWER_OF_BEFORE": {**FAILOVER, **LOGIN},
    "COUNTERS_AGAIN": FAILOVER,
    "NO_THAW": {**TWO_MIGRATORS, **FAILOVER, "CLAIMS": 2},
    "NO_QUARANTINE": {**FAILOVER, **LOGIN},
    "NO_WAIT": FAILOVER,
    "THAW_FLIPPING": TWO_MIGRATORS,
    "NO_SETTLE": TWO_MIGRATORS,
    "KEPT_BLIND": FAILOVER,
    "WAIT_IS_FREEZING": {},
    "REFUSE_ANY": {},
    "OWN_FLIP": GROUP,
    "OWN_REST": GROUP,
    "OLD_VOICE": {**GROUP, "CLAIMS": 4},
    "UNKEPT": {**GROUP, "FAILOVERS": 1},
}


def model(given):
    return os.path.join(FOLDER, given.get("MODEL", "cutover.pml"))


def defines(given):
    sizes = given if "MODEL" in given else {**BASE, **given}
    return [f"-D{k}={v}" if v != "" else f"-D{k}" for k, v in sizes.items() if k != "MODEL"]


def build(folder, given, *flags):
    run = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    subprocess.run(["spin", "-a", *defines(given), model(given)], **run)
    live = "LIVE" in given
    # HC4: states are kept as hashes of 64 bits, so that two may be taken for one, by a chance of about 1 in 10^4.
    kind = ["-DNFAIR=3"] if live else ["-DSAFETY", "-DNOFAIR"]
    subprocess.run(["gcc", "-O2", "-w", "-DHC4", f"-DMEMLIM={MEMORY_MB}", *kind, *flags, "-o", "pan", "pan.c"], **run)


def search(folder, given, *arguments):
    live = ["-a", "-f"] if "LIVE" in given else []
    done = subprocess.run(["prlimit", f"--cpu={CPU_SECONDS}", "./pan", "-m100000", "-w25", *live, *arguments], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout


def judge(out, weakened):
    errors = re.search(r"errors: (\d+)", out)
    found = re.search(r"pan:1: (assertion violated|acceptance cycle)", out)
    cut_off = re.search(r"Search not completed|max search depth too small|out of memory|reached -DMEMLIM", out)
    if not errors:
        return False, "the search broke off, or took too long"
    if weakened:
        return bool(found), "a counterexample" if found else "no counterexample"
    if found or int(errors[1]):
        return False, re.search(r"pan:1: (.*)", out)[0]
    return not cut_off, "not completed" if cut_off else "nothing found"


def check(name, given, weakened):
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="model.") as folder:
            build(folder, given)
            out = search(folder, given)
            good, what = judge(out, weakened)
    except subprocess.CalledProcessError as e:
        good, what, out = False, "does not build: " + (e.stderr or "").strip()[-200:], ""
    states = re.search(r"(\d+) states, stored", out)
    return (f"{'passed' if good else 'FAILED'}  {name:28} {what}, {int(states[1]) if states else 0:,} states, "
            f"{time.monotonic() - began:.0f} s"), good


def jobs(names):
    every = [(n, d, False) for n, d in {**SOUND, **LIVE}.items()] + \
            [(n, {**d, n: ""}, True) for n, d in WEAKENED.items()]
    unknown = set(names) - {n for n, _, _ in every}
    if unknown:
        sys.exit("no such search: " + ", ".join(sorted(unknown)))
    return [j for j in every if not names or j[0] in names]


def trail(name):
    """Each step's first line in the model, which is its guard."""
    _, given, _ = jobs([name])[0]
    with open(model(given), encoding="utf-8") as f:
        source = f.read().splitlines()
    with tempfile.TemporaryDirectory(prefix="model.") as folder:
        build(folder, given, "-DREACH")
        search(folder, given, "-i", "-m2000")
        path = os.path.join(folder, os.path.basename(model(given)) + ".trail")
        out = subprocess.run(["spin", "-t", "-k", path, "-p", *defines(given), model(given)], cwd=folder, text=True,
                             stdout=subprocess.PIPE, check=False).stdout
    last = ""
    for found in re.finditer(r"^\s*(\d+):\s+proc\s+\d+ \((\w+:\d+)\) \S*?:?(\d+) \(state", out, re.M):
        step, who, line = found.groups()
        if step != last:
            print(f"{step:>4} {who:12} {line:>4}: {source[int(line) - 1].strip()[:120]}")
        last = step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-j", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--trail", metavar="NAME")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if args.trail:
        return trail(args.trail)
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        for line, good in pool.map(lambda j: check(*j), jobs(args.names)):
            print(line, flush=True)
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
