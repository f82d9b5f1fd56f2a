"""A few of the cases of `make check-crash`, a migrator that is killed, stopped or cut off at a named
point, and an account that is moved all the same. SEED=N draws others; a case that failed is given to
tests/crash/run.py by its name."""
import concurrent.futures
import os
import random
import re
import subprocess

import pytest

from harness import crash

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILLS, OTHERS = 6, 6
# What an account's way must pass, or the cases say nothing of it.
LEDGER = ["bind", "intent", "sent"]
SCRIPTS = ["claim", "progress", "ledger", "ready", "prepare", "freeze", "flip", "flipped", "views"]
VERBS = ["APPEND", "CREATE", "SUBSCRIBE", "UID_STORE", "UID_FETCH"]
REQUIRED = ([f"ledger.{x}" for x in LEDGER] + [f"script.{x}" for x in SCRIPTS] + [f"command.{x}" for x in VERBS]
            + ["journal"])


@pytest.fixture(scope="module")
def world(cert):
    with crash.World(cert) as w:
        yield w


@pytest.mark.parametrize("way", ["multi", "single", "batches", "plain", "numbers", "fillers", "told", "cyrus"])
def test_every_point_is_passed(world, way):
    points = world.points(way)
    lacking = [f"{x}.{moment}" for x in REQUIRED for moment in ("sent", "answered") if f"{x}.{moment}" not in points]
    assert not lacking
    assert points["command.APPEND.body"] > 60 and points["command.APPEND.closed"] > 4
    # Without UIDPLUS nothing can be removed, and what arrived is read to learn its UIDs, which verifies it.
    more = {"command.UID_EXPUNGE.answered", "ledger.gone.answered", "ledger.landed.answered"} & set(points)
    kind = {"told": "doveadm", "cyrus": "cyrus"}.get(way)
    # On a busy machine the short lease of the job may lapse before an answer, and it is asked again.
    assert not kind or points[f"channel.{kind}.sent"] >= points[f"channel.{kind}.answered"] > 0
    assert way != "cyrus" or points["channel.cyrus.given"] >= 3
    assert len(more) == (0 if way == "plain" else 3) and ("ledger.done.answered" in points or way != "plain")


def test_sample(world):
    seed = int(os.environ.get("SEED", "1"))  # what is drawn at random is drawn by `make check-crash`
    rng = random.Random(seed)
    cases = crash.all_cases(world, seed)
    kills = [c for c in cases if c.action == crash.KILL]
    chosen = rng.sample(kills, KILLS) + rng.sample([c for c in cases if c.action != crash.KILL], OTHERS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda c: outcome(world, c), chosen))
    failed = [text for text in outcomes if text]
    assert not failed, f"SEED={seed}\n" + "\n".join(failed)


def outcome(world, case):
    try:
        world.run(case)
        return ""
    except Exception as e:  # pylint: disable=broad-except
        return f"{case}: {type(e).__name__}: {e}"


def test_release_has_no_points(tmp_path):
    """Files with points, built as for a release: nothing refers to them, and no name of one is in there."""
    sources = subprocess.run(["grep", "-rl", "FAULT_POINT(", "--include=*.c", "lib", "migrator", "proxy"], cwd=ROOT,
                             check=True, capture_output=True, text=True).stdout.split()
    sources.append("lib/fault.c")
    objects = [str(tmp_path / "obj" / re.sub(r"c$", "o", s)) for s in sources]
    assert len(objects) >= 5
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SAN", "FAULTS")}
    subprocess.run(["make", "-s", "-j2", "SAN=", f"BUILD={tmp_path}", "CFLAGS=-O0", *objects], cwd=ROOT, check=True,
                   env=environment)
    for path in objects:
        symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
        assert "fault" not in symbols, path
        with open(path, "rb") as f:
            data = f.read()
        assert b"IMAPFERRY_FAULT" not in data and b"\0answered\0" not in data, path
