#!/usr/bin/python3
"""Runs every test there is, and prints `N passed, N failed` as its last line: one sum over all runners.

    tests/run.py [--build DIR] [--only GROUP[,GROUP]] [PYTEST ARGUMENT...]

Groups: build, format (.clang-format), unit (cmocka), fuzz (the corpus and what is near to it), layers, tree (sample configuration, README, docker/), route (scripts on Redis), e2e
(real servers). What a group needs is built before it. A skipped test, a runner that says nothing and a sanitizer's report each count as failed."""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
GROUPS = ("build", "format", "unit", "fuzz", "layers", "tree", "route", "e2e")
DEADLINE = 40 * 60  # of one runner, seconds
SCRATCH_ROOM = 6 << 30  # bytes


class Sum:
    def __init__(self):
        self.passed = self.failed = 0
        self.troubles = []

    def add(self, passed, failed, trouble=""):
        self.passed += passed
        self.failed += failed
        if failed and trouble:
            self.troubles.append(trouble)


def stream(command, env=None, quiet=False):
    """Runs it, shows its output as it comes; (exit status, output)."""
    lines = []
    env = {k: v for k, v in (env or os.environ).items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    killer = threading.Timer(DEADLINE, lambda: os.killpg(process.pid, 9))
    killer.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if not quiet:
                print(line, end="", flush=True)
        status = process.wait()
    finally:
        killer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, 9)
    return status, "".join(lines)


MADE = {"unit": ["units"], "fuzz": ["fuzzers"], "tree": ["all"], "e2e": ["all"], "route": []}  # what a group runs


def make(args, targets):
    return stream(["make", "-sk", f"-j{os.cpu_count()}", "SAN=1", "WERROR=1", f"BUILD={args.build}", *targets])[0]


def run_build(total, args):
    """gcc with both sanitizers, warnings as errors; then what clang has to say to every file."""
    status = make(args, ["all", "units", "fuzzers"])
    total.add(status == 0, status != 0, "the build")
    status, _ = stream(["make", "-sk", f"-j{os.cpu_count()}", "WERROR=1", f"BUILD={args.build}", "clang-syntax"])
    total.add(status == 0, status != 0, "warnings of clang")


FORMATTER = "14"  # Debian 12's; each version breaks lines elsewhere


def run_format(total, _):
    """Every C file as .clang-format has it. Not counted where the formatter is another version."""
    _, said = stream(["clang-format", "--version"], quiet=True)
    if not re.search(rf"version {FORMATTER}\.", said):
        print(f"format: not checked: that needs clang-format {FORMATTER}, and here is {said.strip()}", flush=True)
        return
    files = [os.path.join(folder, name) for top in ("lib", "proxy", "migrator", "tests")
             for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names if name.endswith((".c", ".h"))]
    status, output = stream(["clang-format", "--dry-run", "--Werror", *files], quiet=True)
    found = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error:", output, re.M)))
    for name in found:
        print(f"format: clang-format -i {os.path.relpath(name, ROOT)}", flush=True)
    good = status == 0 and not found and len(files) > 100
    print(f"format: {len(files) - len(found)} passed, {len(found)} failed", flush=True)
    total.add(1 if good else 0, 0 if good else 1, "format: see clang-format -i above")


def run_one_unit(args, name):
    """(passed, failed, what to print)"""
    from harness.daemon import sanitizer_environment, sanitizer_reports
    program = os.path.join(args.build, "unit", name)
    if not os.path.exists(program):
        return 0, 1, f"unit: {name}: was not built"
    with tempfile.TemporaryDirectory() as reports:
        report = os.path.join(reports, "report")
        status, output = stream([program], env=sanitizer_environment(report), quiet=True)
        found = sanitizer_reports(report)
    ran, passed, failed = (sum(int(n) for n in re.findall(pattern, output)) for pattern in (
        r"\[=+\] (?:\S+: )?(\d+) test\(s\) run", r"\[  PASSED  \] (\d+) test", r"\[  FAILED  \] (?:\S+: )?(\d+) test"))
    bad = max(ran - passed, failed, 1 if status or found or not ran else 0)
    text = f"unit: {name}: {passed} passed"
    return passed, bad, "\n".join([f"{text}, {bad} failed, exit status {status}", output, *found]) if bad else text


def run_unit(total, args):
    """As many at once as there are cores: most of them wait."""
    names = sorted(re.sub(r"\.c$", "", x) for x in os.listdir(os.path.join(TESTS, "unit"))
                   if x.startswith("test_") and x.endswith(".c"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (passed, bad, text) in zip(names, pool.map(lambda name: run_one_unit(args, name), names)):
            print(text, flush=True)
            total.add(passed, bad, name)


def run_fuzz(total, args):
    from harness.daemon import sanitizer_environment, sanitizer_reports
    names = sorted(re.sub(r"^fuzz_|\.c$", "", x) for x in os.listdir(os.path.join(TESTS, "fuzz")) if x.startswith("fuzz_")
                   and x.endswith(".c"))
    for name in names:
        program, corpus = os.path.join(args.build, "fuzz", name), os.path.join(TESTS, "fuzz", "corpus", name)
        if not os.path.exists(program) or not os.path.isdir(corpus):
            total.add(0, 1, f"fuzz {name}: was not built, or has no corpus")
            continue
        with tempfile.TemporaryDirectory() as reports:
            report = os.path.join(reports, "report")
            status, output = stream([program, corpus], env=sanitizer_environment(report), quiet=True)
            found = sanitizer_reports(report)
        good = status == 0 and not found and re.search(r"^[1-9]\d* replayed$", output, re.M)
        print(f"fuzz: {name}: " + (output.strip().splitlines()[-1] if good else f"failed, exit status {status}"), flush=True)
        if not good:
            print(output, "\n".join(found), flush=True)
        total.add(1 if good else 0, 0 if good else 1, f"fuzz {name}")


def run_layers(total, _):
    script = os.path.join(TESTS, "check_layers.py")
    if not os.path.exists(script):
        total.add(0, 1, "layers: no check")
        return
    status, output = stream(["/usr/bin/python3", script], quiet=True)
    sums = re.findall(r"(\d+) passed, (\d+) failed", output)
    passed, failed = (int(x) for x in sums[-1]) if sums else (0, 1)
    failed = max(failed, 1 if status else 0)
    print(output if failed else output.splitlines()[-1], flush=True)
    total.add(passed, failed, "layers")


def scratch_base():
    """Where servers of tests have their files: in memory where there is room, since thousands of small files are made and
    removed, and a disk shared by six runners makes each fsync of Redis slow."""
    memory = "/dev/shm"
    if os.path.isdir(memory) and os.access(memory, os.W_OK):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= SCRATCH_ROOM:
            return memory
    return "/tmp"


def run_pytest(total, args, group, folder, parallel):
    path = os.path.join(TESTS, folder)
    if not os.path.isdir(path):
        return
    report = os.path.join(args.build, f"junit-{group}.xml")
    command = ["/usr/bin/python3", "-B", "-m", "pytest", "-c", os.path.join(TESTS, "pytest.ini"),
               f"--junitxml={report}", "-v" if not parallel else "-q", path, *args.pytest]
    if parallel:
        command += ["-n", str(3 * os.cpu_count()), "--dist", "loadfile"]  # they wait more than they work
    if os.path.exists(report):
        os.remove(report)
    base = scratch_base()
    with tempfile.TemporaryDirectory(prefix="ferry-pytest-", dir=base) as scratch:
        env = dict(os.environ, IMAPFERRY_BUILD=args.build, PYTHONDONTWRITEBYTECODE="1", PYTEST_DEBUG_TEMPROOT=scratch,
                   IMAPFERRY_SCRATCH=base)
        status, _ = stream(command, env=env)
    try:
        suites = list(ET.parse(report).getroot().iter("testsuite"))
    except (OSError, ET.ParseError):
        total.add(0, 1, f"{group}: no report")
        return
    tests = sum(int(s.get("tests")) for s in suites)
    bad = sum(int(s.get(k)) for s in suites for k in ("failures", "errors", "skipped"))
    for case in ET.parse(report).getroot().iter("testcase"):
        if any(case.find(k) is not None for k in ("failure", "error", "skipped")):
            total.troubles.append(f"{case.get('classname')}::{case.get('name')}")
    bad = max(bad, 1 if status or not tests else 0)
    total.add(max(tests - bad, 0), bad)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "san"))
    parser.add_argument("--only", default=",".join(GROUPS))
    args, args.pytest = parser.parse_known_args()
    args.build = os.path.abspath(args.build)
    os.makedirs(args.build, exist_ok=True)
    only = args.only.split(",")
    runners = {
        "build": lambda: run_build(total, args),
        "format": lambda: run_format(total, args),
        "unit": lambda: run_unit(total, args),
        "fuzz": lambda: run_fuzz(total, args),
        "layers": lambda: run_layers(total, args),
        "tree": lambda: run_pytest(total, args, "tree", "tree", False),
        "route": lambda: run_pytest(total, args, "route", "route", False),
        "e2e": lambda: run_pytest(total, args, "e2e", "e2e", True),
    }
    total = Sum()
    started = time.monotonic()
    for group in GROUPS:
        if group in only:
            print(f"==== {group}", flush=True)
            if MADE.get(group) and "build" not in only and make(args, MADE[group]) != 0:
                total.add(0, 1, f"what {group} needs was not built")
            runners[group]()
    print(f"==== {time.monotonic() - started:.0f} s")
    for trouble in total.troubles:
        print(f"failed: {trouble}")
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
