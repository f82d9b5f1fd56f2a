"""conf/handbook: the pages agree with the programs and with what the tests run servers by."""
import os
import re
import subprocess

import pytest

from harness import dovecot_conf, handbook
from harness.daemon import BUILD

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
    files = [b for b in handbook.blocks("servers.md") if b.heading == "Dovecot" and b.path]
    for block, conf in zip(files, (dovecot_conf.OLD, dovecot_conf.NEW), strict=True):
        run = {re.sub(r"\s+", " ", line.strip()) for line in (dovecot_conf.HEAD + conf).replace("{{", "{").splitlines()}
        for line in block.text.splitlines()[1:]:
            line = re.sub(r"\s+", " ", line.strip())
            assert line in run or line == "}" or line.startswith(("args = ", "passwd_file_path = ")), line


def test_what_the_walk_writes_into_the_configuration_is_one_that_programs_take(tmp_path):
    """Page by page, as tests/walk.py does it on real machines. Passwords and keys are not there, but what is written is known."""
    text = ""
    (tmp_path / "pilot.txt").write_text("ann@example.org\n", encoding="utf-8")
    for page in ("start.md", "numbers.md", "delivery.md", "waves.md", "finish.md"):
        for block in handbook.blocks(page):
            if block.path == "/etc/imapferry/imapferry.conf":
                text = handbook.merge(text, block.text) if block.how else block.text
                conf = tmp_path / "imapferry.conf"
                conf.write_text(text.replace("/etc/imapferry/pilot.txt", str(tmp_path / "pilot.txt")), encoding="utf-8")
                said = subprocess.run([os.path.join(BUILD, "imapferryctl"), "-c", conf, "--print-conf"], capture_output=True, text=True,
                                      check=False, timeout=30)
                assert said.returncode == 0, f"{block!r}\n{said.stderr}\n{text}"
    assert text.count("share = ") == 1 and "    share = 100\n" in text and "    retired = true\n" in text


def test_a_block_goes_into_the_sections_that_are_there():
    text = 'backend "old" {\n    address = "x"\n    delivery = "y"\n}\nmigration {\n    trigger = "manual"\n}\n'
    merged = handbook.merge(text, '# in /x\nbackend "old" {\n    delivery = "z"\n}\nwave "a"  { share = 5 }   # some\nmigration {\n    trigger = "login"\n}\n')
    assert merged == ('backend "old" {\n    delivery = "z"\n    address = "x"\n}\nwave "a"  { share = 5 }   # some\n'
                      'migration {\n    trigger = "login"\n}\n')
