#!/usr/bin/python3
"""Runs every test there is, and prints `N passed, N failed` as its last line: one sum over all runners.

    tests/run.py [--build DIR] [--only GROUP[,GROUP]] [PYTEST ARGUMENT...]

Groups: build, unit (cmocka), format (.clang-format), fuzz (the corpus and what is near to it), layers, tree (sample configuration, README, docker/), route (scripts on Redis), e2e
(real servers). What a group needs is built before it. The end-to-end tests begin as soon as the programs are there; the rest of the build and the other
groups take what these leave of the processors. A skipped test, a runner that says nothing and a sanitizer's report each count as failed."""

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
BESIDE = ("unit", "format", "fuzz", "layers", "tree", "route")  # one group needs no other, and hardly one needs two cores
GROUPS = ("build", *BESIDE, "e2e")
DEADLINE = 40 * 60  # of one runner, seconds
SCRATCH_ROOM = 6 << 30  # bytes
RUNNERS = 5  # of end-to-end tests, for each core: these wait for three quarters of their time


class Sum:
    """What came of one group, or of all; says what is to be read, at once or when the group is over."""

    def __init__(self, at_once=True):
        self.passed = self.failed = 0
        self.troubles = []
        self.said = None if at_once else []

    def say(self, text):
        if self.said is None:
            print(text, flush=True)
        else:
            self.said.append(text)

    def add(self, passed, failed, trouble=""):
        self.passed += passed
        self.failed += failed
        if failed and trouble:
            self.troubles.append(trouble)

    def add_group(self, group):
        self.passed += group.passed
        self.failed += group.failed
        self.troubles += group.troubles


def stream(command, env=None, say=None):
    """Runs it, tells say() each line as it comes; (exit status, output)."""
    lines = []
    env = {k: v for k, v in (env or os.environ).items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    killer = threading.Timer(DEADLINE, lambda: os.killpg(process.pid, 9))
    killer.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if say:
                say(line.rstrip("\n"))
        status = process.wait()
    finally:
        killer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, 9)
    return status, "".join(lines)


PROGRAMS = ("tree", "e2e")  # the groups that run the three programs
MADE = {"unit": "units", "fuzz": "fuzzers"}  # what others run
BEHIND = 5  # niceness of what is built while end-to-end tests run: these wait for much, but not for this


def make(total, args, *arguments):
    """The status of make, behind whatever else runs."""
    command = ["nice", "-n", str(BEHIND), "make", "-sk", f"-j{os.cpu_count()}", "WERROR=1", f"BUILD={args.build}", *arguments]
    return stream(command, say=total.say)[0]


def make_or_fail(total, args, *targets):
    """gcc with both sanitizers, warnings as errors."""
    if targets and make(total, args, "SAN=1", *targets) != 0:
        total.add(0, 1, f"not all of this was built: {', '.join(targets)}")


def run_build(total, args):
    """What the other groups run, and what clang has to say to every file."""
    status = make(total, args, "SAN=1", "all", "units", "fuzzers")
    total.add(status == 0, status != 0, "the build")
    status = make(total, args, "clang-syntax")
    total.add(status == 0, status != 0, "warnings of clang")


FORMATTER = "14"  # Debian 12's; each version breaks lines elsewhere


def run_format(total, _):
    """Every C file as .clang-format has it. Not counted where the formatter is another version."""
    _, said = stream(["clang-format", "--version"])
    if not re.search(rf"version {FORMATTER}\.", said):
        total.say(f"format: not checked: that needs clang-format {FORMATTER}, and here is {said.strip()}")
        return
    files = [os.path.join(folder, name) for top in ("lib", "proxy", "migrator", "tests")
             for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names if name.endswith((".c", ".h"))]
    status, output = stream(["clang-format", "--dry-run", "--Werror", *files])
    found = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error:", output, re.M)))
    for name in found:
        total.say(f"format: clang-format -i {os.path.relpath(name, ROOT)}")
    good = status == 0 and not found and len(files) > 100
    total.say(f"format: {len(files) - len(found)} passed, {len(found)} failed")
    total.add(1 if good else 0, 0 if good else 1, "format: see clang-format -i above")


def run_one_unit(args, name):
    """(passed, failed, what to print)"""
    from harness.daemon import sanitizer_environment, sanitizer_reports
    program = os.path.join(args.build, "unit", name)
    if not os.path.exists(program):
        return 0, 1, f"unit: {name}: was not built"
    with tempfile.TemporaryDirectory() as reports:
        report = os.path.join(reports, "report")
        status, output = stream([program], env=sanitizer_environment(report))
        found = sanitizer_reports(report)
    ran, passed, failed = (sum(int(n) for n in re.findall(pattern, output)) for pattern in (
        r"\[=+\] (?:\S+: )?(\d+) test\(s\) run", r"\[  PASSED  \] (\d+) test", r"\[  FAILED  \] (?:\S+: )?(\d+) test"))
    bad = max(ran - passed, failed, 1 if status or found or not ran else 0)
    text = f"unit: {name}: {passed} passed"
    return passed, bad, "\n".join([f"{text}, {bad} failed, exit status {status}", output, *found]) if bad else text


def run_unit(total, args):
    """Twice as many at once as there are cores: most of them wait."""
    names = sorted(re.sub(r"\.c$", "", x) for x in os.listdir(os.path.join(TESTS, "unit"))
                   if x.startswith("test_") and x.endswith(".c"))
    with concurrent.futures.ThreadPoolExecutor(2 * os.cpu_count()) as pool:
        for name, (passed, bad, text) in zip(names, pool.map(lambda name: run_one_unit(args, name), names)):
            total.say(text)
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
            status, output = stream([program, corpus], env=sanitizer_environment(report))
            found = sanitizer_reports(report)
        good = status == 0 and not found and re.search(r"^[1-9]\d* replayed$", output, re.M)
        total.say(f"fuzz: {name}: " + (output.strip().splitlines()[-1] if good else f"failed, exit status {status}"))
        if not good:
            total.say("\n".join([output, *found]))
        total.add(1 if good else 0, 0 if good else 1, f"fuzz {name}")


def run_layers(total, _):
    script = os.path.join(TESTS, "check_layers.py")
    if not os.path.exists(script):
        total.add(0, 1, "layers: no check")
        return
    status, output = stream(["/usr/bin/python3", script])
    sums = re.findall(r"(\d+) passed, (\d+) failed", output)
    passed, failed = (int(x) for x in sums[-1]) if sums else (0, 1)
    failed = max(failed, 1 if status else 0)
    total.say(output if failed else output.splitlines()[-1])
    total.add(passed, failed, "layers")


def scratch_base():
    """Where servers of tests have their files: in memory where there is room, since thousands of small files are made and
    removed, and a disk shared by all runners makes each fsync of Redis slow."""
    memory = "/dev/shm"
    if os.path.isdir(memory) and os.access(memory, os.W_OK):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= SCRATCH_ROOM:
            return memory
    return "/tmp"


def compiled(args):
    """The environment in which what Python makes of the tests is kept in the build. Each runner would take ten seconds for it."""
    env = dict(os.environ, PYTHONPYCACHEPREFIX=os.path.join(args.build, "pyc"))
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def compile_tests(args):
    """Once, for all runners of end-to-end tests; what is wrong in them these will say."""
    stream(["/usr/bin/python3", "-m", "pytest", "-c", os.path.join(TESTS, "pytest.ini"), "-q", "--collect-only",
            os.path.join(TESTS, "e2e")], env=compiled(args))


def run_pytest(total, args, group, folder, parallel):
    path = os.path.join(TESTS, folder)
    if not os.path.isdir(path):
        return
    report = os.path.join(args.build, f"junit-{group}.xml")
    command = ["/usr/bin/python3", "-m", "pytest", "-c", os.path.join(TESTS, "pytest.ini"),
               f"--junitxml={report}", "-v" if not parallel else "-q", path, *args.pytest]
    if parallel:
        command += ["-n", str(RUNNERS * os.cpu_count()), "--dist", "loadfile"]
    if os.path.exists(report):
        os.remove(report)
    base = scratch_base()
    with tempfile.TemporaryDirectory(prefix="ferry-pytest-", dir=base) as scratch:
        env = dict(compiled(args), IMAPFERRY_BUILD=args.build, PYTEST_DEBUG_TEMPROOT=scratch, IMAPFERRY_SCRATCH=base)
        status, _ = stream(command, env=env, say=total.say)
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


def run_beside(total, runners, started):
    """As many groups at a time as there are cores, each told of in one piece, in the order of GROUPS."""
    def run(runner):
        group = Sum(at_once=False)
        runner(group)
        return group
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {name: pool.submit(run, runners[name]) for name in runners}
        for name, result in running.items():
            group = result.result()
            print("\n".join([f"==== {name} (by {time.monotonic() - started:.0f} s)", *group.said]), flush=True)
            total.add_group(group)


def run_rest(args, only, runners, started):
    """All but the end-to-end tests: what is still to be built, then the groups. Returns the sum."""
    total = Sum()
    if "build" in only:
        run_build(total, args)
        print(f"==== build (by {time.monotonic() - started:.0f} s)", flush=True)
    else:
        make_or_fail(total, args, *(MADE[group] for group in only if group in MADE))
    run_beside(total, {group: runners[group] for group in BESIDE if group in only}, started)
    return total


def run_all(args, only, runners, started):
    """The programs; then end-to-end tests, and beside them the rest. Returns the sum."""
    total = Sum()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        tests_compiled = pool.submit(compile_tests, args) if "e2e" in only else None
        if "build" in only or any(group in only for group in PROGRAMS):
            make_or_fail(total, args, "all")
        if tests_compiled:
            tests_compiled.result()
        rest = pool.submit(run_rest, args, only, runners, started)
        if "e2e" in only:
            print(f"==== e2e (at {time.monotonic() - started:.0f} s)", flush=True)
            run_pytest(total, args, "e2e", "e2e", True)
            print(f"==== e2e (by {time.monotonic() - started:.0f} s)", flush=True)
        total.add_group(rest.result())
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "san"))
    parser.add_argument("--only", default=",".join(GROUPS))
    args, args.pytest = parser.parse_known_args()
    args.build = os.path.abspath(args.build)
    os.makedirs(args.build, exist_ok=True)
    runners = {
        "format": lambda total: run_format(total, args),
        "unit": lambda total: run_unit(total, args),
        "fuzz": lambda total: run_fuzz(total, args),
        "layers": lambda total: run_layers(total, args),
        "tree": lambda total: run_pytest(total, args, "tree", "tree", False),
        "route": lambda total: run_pytest(total, args, "route", "route", False),
    }
    started = time.monotonic()
    total = run_all(args, args.only.split(","), runners, started)
    print(f"==== {time.monotonic() - started:.0f} s")
    for trouble in total.troubles:
        print(f"failed: {trouble}")
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
