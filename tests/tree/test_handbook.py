"""conf/handbook: the pages agree with the programs and with what the tests run servers by."""
import os
import re

import pytest

from harness import dovecot_conf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HANDBOOK = os.path.join(ROOT, "conf", "handbook")


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def pages():
    return sorted(name for name in os.listdir(HANDBOOK) if name.endswith(".md") and name != "README.md")


def test_each_page_stands_in_the_list():
    listed = re.findall(r"^\| \[([^]]+)\]\(\1\) \|", read(HANDBOOK, "README.md"), re.M)
    assert sorted(listed) == pages()


def test_each_reason_has_a_row():
    """By whether it goes on by itself, or waits for somebody."""
    reasons = dict(re.findall(r'\{"(\w+)", THEN_(\w+)', read(ROOT, "lib", "reasons.c")))
    assert len(reasons) > 20
    page = read(HANDBOOK, "stuck.md")
    by_itself, rest = page.split("\n## It waits for somebody\n")
    for_somebody = rest.split("\n## ")[0]
    for text, persons in ((by_itself, False), (for_somebody, True)):
        rows = re.findall(r"^\| `(\w+)` \|", text, re.M)
        assert sorted(rows) == sorted(word for word, then in reasons.items() if (then == "PERSON") == persons)


@pytest.mark.parametrize("page", pages())
def test_options_that_pages_name_exist(page):
    """`option = value`, and names with an underscore that stand before it in the sample."""
    sample = read(ROOT, "conf", "imapferry.conf")
    options = set(re.findall(r"^\s*#?\s*(\w+) = ", sample, re.M))
    for name in re.findall(r"`(freeze_budget|late_watch|idle_time|journal_dir|max_\w+_per_second|master_\w+|hook_\w+|job_\w+)\b[^`]*`",
                           read(HANDBOOK, page)):
        assert name in options, name


def test_lines_for_dovecot_are_those_that_the_tests_run():
    block = re.search(r"^## Dovecot$.*?^```\n(.*?)^```", read(HANDBOOK, "servers.md"), re.M | re.S)[1]
    run = {re.sub(r"\s+", " ", line.strip()) for line in (dovecot_conf.HEAD + dovecot_conf.OLD).replace("{{", "{").splitlines()}
    for line in block.splitlines():
        line = re.sub(r"\s+", " ", line.strip())
        assert line in run or line == "}" or line.startswith("args = "), line
