"""conf/handbook: the pages agree with the programs and with what the tests run servers by."""
import os
import re
import shutil
import subprocess

import pytest

import walk
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


# ---- blocks of code

# Who runs a block that the walk leaves out: by page, heading and what stands in it.
RUN_BY = {
    ("pop3.md", "UIDLs", "UIDLs of POP3: the same"): "test_pop3::test_plan_says_whether_clients_would_download_again",
    ("pop3.md", "UIDLs", "pop3_uidl_format = %v.%u"): "test_pop3::test_fetchmail_fetches_nothing_again_behind_a_cyrus",
    ("provisioning.md", "Accounts on the new server", "provision = "): "test_provision_programs::test_as_the_handbook_has_it",
    ("provisioning.md", "What it has to do", "#!/bin/sh"): "test_provision_programs::test_as_the_handbook_has_it",
    ("redis.md", "A user of its own", "sentinels://"): "test_redis_tls::test_sentinels_as_the_handbook_has_them",
    ("redis.md", "TLS", "tls-port"): "test_redis_tls::test_tls_as_the_handbook_has_it",
    ("redis.md", "TLS", "rediss://"): "test_redis_tls::test_tls_as_the_handbook_has_it",
    ("restore.md", "Backup, loss and restore", "route export"): "test_restore::test_a_store_that_was_made_by_mistake_is_taken_away_as_the_handbook_has_it",
    ("restore.md", "Backup, loss and restore", "redis-cli"): "test_restore::test_a_store_that_was_made_by_mistake_is_taken_away_as_the_handbook_has_it",
    ("servers.md", "Courier", "seal"): "test_servers::test_courier_as_the_handbook_has_it",
}


def walked():
    """Pages of which tests/walk.py leaves no block out, but for its NOT_RUN."""
    return set(re.findall(r'(?:blocks|step)\("([\w-]+\.md)"', read(ROOT, "tests", "walk.py")))


def left_by_the_walk(block):
    """On both systems: it shows something, or is of a heading that the walk does not take, or does not suit the servers there."""
    if block.page not in walked() or not (block.is_typed or block.path):
        return True
    return all(any(block.page == page and block.heading.endswith(heading) and text in block.text for page, heading, text in walk.NOT_RUN[suite])
               for suite in ("bookworm", "trixie"))


def row_of(block):
    return [key for key in RUN_BY if key[0] == block.page and key[1] == block.heading and key[2] in block.text]


def test_each_block_is_run_by_the_walk_or_a_test():
    blocks = [b for page in pages() for b in handbook.blocks(page)]
    assert len(blocks) > 50
    for block in blocks:
        assert left_by_the_walk(block) == bool(row_of(block)), f"{block!r}: who runs it?"
    assert {key for b in blocks for key in row_of(b)} == set(RUN_BY), "rows without a block"


@pytest.mark.parametrize("name", sorted(set(RUN_BY.values())))
def test_tests_that_run_blocks_are_there(name):
    module, test = name.split("::")
    text = read(ROOT, "tests", "e2e", f"{module}.py")
    assert re.search(rf"^def {test}\(", text, re.M)
    for page in {page for (page, *_), by in RUN_BY.items() if by == name}:
        assert f'"{page}"' in text, page


# ---- configuration

ONE_AFTER_ANOTHER = ("start.md", "numbers.md", "pop3.md", "delivery.md", "staff.md", "waves.md", "lmtp.md", "finish.md")  # as the walk does it


class Place:
    """A folder in the place of /etc/imapferry, with what the pages say that lies there."""

    def __init__(self, folder, authority):
        self.folder = folder
        certificate, key = authority.issue("imap", ("imap.example.org",))
        for name, source in (("proxy.pem", certificate), ("proxy.key", key), ("redis-ca.pem", authority.ca), ("redis-client.pem", certificate),
                             ("redis-client.key", key)):
            shutil.copy(source, folder / name)
            os.chmod(folder / name, 0o600)
        for name, text in (("old.secret", "x"), ("new.secret", "x"), ("new.doveadm", "x"), ("redis.secret", "x"), ("sentinel.secret", "x"),
                           ("pilot.txt", "ann@example.org"), ("tokens", "operator ann " + "0" * 64), ("provision.sh", "#!/bin/sh")):
            (folder / name).write_text(text + "\n", encoding="utf-8")
            os.chmod(folder / name, 0o700 if name.endswith(".sh") else 0o600)
        made = self.call("imapferryctl", of_the_configuration("start.md")[0].text, "seal-key", "--out", folder)
        assert made.returncode == 0, made.stderr

    def call(self, name, text, *args):
        """Of a program with this configuration, as whoever runs it here: no user of the package is there, and each port is a free one."""
        text = re.sub(r"^ +(user|upgrade_socket) = .*\n", "", text, flags=re.M).replace("/etc/imapferry/", f"{self.folder}/")
        text = re.sub(r'^( +listen = .*)$', lambda m: re.sub(r":\d+\"", ':0"', m[1]), text, flags=re.M)
        text = text.replace("migrator {\n", f'migrator {{\n    journal_dir = "{self.folder}/journal"\n')
        (self.folder / "imapferry.conf").write_text(text, encoding="utf-8")
        return subprocess.run([os.path.join(BUILD, name), "-c", self.folder / "imapferry.conf", *args], capture_output=True, text=True,
                              check=False, timeout=60)

    def check(self, text, what):
        for name in ("imapferry-proxy", "imapferry-migrator"):
            said = self.call(name, text, "--check-conf")
            assert said.returncode == 0, f"{what}\n{name}: {said.stdout}{said.stderr}\n{text}"


@pytest.fixture(name="place")
def fixture_place(tmp_path, authority):
    return Place(tmp_path, authority)


def of_the_configuration(page):
    return [b for b in handbook.blocks(page) if b.path == "/etc/imapferry/imapferry.conf"]


def test_what_the_walk_writes_into_the_configuration_is_one_that_programs_take(place):
    """Page by page, as tests/walk.py does it on real machines."""
    text = ""
    for page in ONE_AFTER_ANOTHER:
        for block in of_the_configuration(page):
            text = handbook.merge(text, block.text) if block.how else block.text
        place.check(text, page)
    assert text.count("share = ") == 1 and "    share = 100\n" in text and "    retired = true\n" in text


@pytest.mark.parametrize("page", [page for page in pages() if page not in ONE_AFTER_ANOTHER and of_the_configuration(page)])
def test_what_other_pages_write_into_the_configuration_is_one_that_programs_take(place, page):
    """Each block behind that of start.md, where users' own passwords are sealed."""
    seal = next(b for b in of_the_configuration("servers.md"))
    text = handbook.merge(of_the_configuration("start.md")[0].text, seal.text)
    for block in of_the_configuration(page):
        place.check(handbook.merge(text, block.text), repr(block))


def test_a_block_goes_into_the_sections_that_are_there():
    text = 'backend "old" {\n    address = "x"\n    delivery = "y"\n}\nmigration {\n    trigger = "manual"\n}\n'
    merged = handbook.merge(text, '# in /x\nbackend "old" {\n    delivery = "z"\n}\nwave "a"  { share = 5 }   # some\nmigration {\n    trigger = "login"\n}\n')
    assert merged == ('backend "old" {\n    delivery = "z"\n    address = "x"\n}\nwave "a"  { share = 5 }   # some\n'
                      'migration {\n    trigger = "login"\n}\n')
