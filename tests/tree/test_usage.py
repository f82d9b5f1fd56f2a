"""imapferryctl's help and what it says of wrong arguments: nothing of it needs a configuration or Redis."""
import functools
import json
import re
import subprocess

import pytest

from harness.daemon import program


@functools.cache
def ctl(*args):
    run = subprocess.run([program("imapferryctl"), *args], capture_output=True, timeout=30, check=False)
    return run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")


def test_help_of_all_and_of_each():
    verbs = set(re.findall(r"^  ([a-z-]+)", ctl("help")[1], re.M))
    assert ctl("help") == ctl("--help") and ctl("help")[0] == 0
    assert {"init", "status", "migrate", "waive", "help"} <= verbs
    for verb in ("status", "migrate", "waive"):
        status, out, error = ctl(verb, "--help")
        assert (status, error) == (0, "") and out.startswith(f"usage: imapferryctl {verb}"), verb
    assert ctl("help", "migrate") == ctl("migrate", "--help")
    for out in (ctl("help")[1], ctl("migrate", "--help")[1], ctl("waive", "--help")[1]):
        assert all(len(line) < 80 for line in out.splitlines()), out


def test_waive_lists_its_words():
    out = ctl("waive", "--help")[1]
    assert re.search(r"^  too_large +larger than", out, re.M) and re.search(r"^  listing ", out, re.M)
    assert not re.search(r"^  (missing|not_copied|quota) ", out, re.M), "these can't be waived by their word"


WRONG = [
    ((), "say what to do", "imapferryctl help"),
    (("stauts",), 'no verb "stauts": did you mean "status"?', "imapferryctl help"),
    (("mig",), 'did you mean "migrate"?', "imapferryctl help"),
    (("xyzzy",), 'there is no verb "xyzzy"', "imapferryctl help"),
    (("user",), "user needs the NAME", "user --help"),
    (("user", "ann", "--reprot"), 'no option "--reprot": did you mean "--report"?', "user --help"),
    (("user", "ann", "--to", "new"), "user does not take --to", "user --help"),
    (("user", "ann", "bob"), 'one word too many: "bob"', "user --help"),
    (("hold", "ann", "--reason"), "--reason needs a value", "hold --help"),
    (("migrate", "--all", "x", "--now"), "--all takes neither", "migrate --help"),
    (("status", "-c", "x"), "before the verb", "status --help"),
    (("help", "stauts"), 'did you mean "status"?', "help --help"),
    (("route",), "route needs one more word: export, move, reopen, restore", "imapferryctl help"),
    (("help", "stauts", "x"), "there is no verb", "help --help"),
    (("--jsn", "status"), 'no option "--jsn": did you mean "--json"?', "imapferryctl help"),
    (("--print-conf=smaple",), 'did you mean "--print-conf=sample"?', "imapferryctl help"),
    (("user", "\udcff", "--x\udcff"), "there is no option", "user --help"),
]


def test_wrong_arguments_are_told_in_two_lines():
    for args, what, hint in WRONG[::3]:
        status, out, error = ctl(*args)
        lines = error.splitlines()
        assert status == 2 and not out and len(lines) == 2, error
        assert what in lines[0] and hint in lines[1], error


@pytest.mark.parametrize("args,what,hint", WRONG)
def test_wrong_arguments_as_json(args, what, hint):
    status, out, error = ctl("--json", *args)
    answer = json.loads(out)
    assert status == 2 and not error and what in answer["error"] and hint in answer["hint"], answer


def test_json_said_behind_what_is_wrong():
    assert "status" in json.loads(ctl("stauts", "--json")[1])["error"]


def test_option_without_its_file():
    status, out, error = ctl("-c")
    assert status == 2 and not out and "-c needs a FILE" in error and len(error.splitlines()) == 2


def test_what_the_configuration_lacks_as_json():
    status, out, error = ctl("-c", "/nonexistent.conf", "--json", "status")
    assert status == 1 and not error and "/nonexistent.conf" in json.loads(out)["error"]


def test_help_of_verbs_that_have_two_words():
    assert ctl("help", "route", "export") == ctl("route", "export", "--help")
    status, out, error = ctl("help", "route")
    assert status == 0 and not error and "route export" in out and "route restore" in out and "status" not in out
    assert "must be given" in ctl("flip", "--help")[1] and "the configuration moves it" in ctl("migrate", "--help")[1]


def test_version_as_json():
    assert set(json.loads(ctl("--json", "--version")[1])) == {"version"} and ctl("--version")[1].startswith("imapferry ")
