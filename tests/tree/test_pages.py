"""What imapferryctl makes of its tables: manual pages, in which mandoc and groff find nothing, and completion, in real shells."""
import os
import re
import subprocess

import pytest

from harness.daemon import BUILD, program
from harness.terminal import Terminal

PAGES = {"imapferryctl": 8, "imapferry-proxy": 8, "imapferry-migrator": 8, "imapferry.conf": 5}
CONFIG = """redis { url = "redis://127.0.0.1:1/0" }
backend "oak" { address = "imap://127.0.0.1:1" }
backend "new" { address = "imap://127.0.0.1:2" }
migration { source = "oak" target = "new" }
"""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def ctl(*args):
    said = run(program("imapferryctl"), *args)
    assert said.returncode == 0 and not said.stderr, said
    return said.stdout


def usage():
    """(verb, its form) of each line of `help`; a verb may have two words."""
    return re.findall(r"^  ((?:(?:route|proxy|group) (?=[a-z]))?[a-z][a-z-]*)(.*)$", ctl("help"), re.M)


@pytest.fixture
def page(tmp_path):
    def write(name):
        path = tmp_path / f"{name}.{PAGES[name]}"
        path.write_text(ctl("manual", name))
        return str(path)
    return write


@pytest.mark.parametrize("name", PAGES)
def test_manual_pages_are_clean(page, name):
    said = run("mandoc", "-Tlint", "-W", "warning", page(name))
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    said = run("groff", "-man", "-Tutf8", "-ww", "-z", page(name))
    assert (said.returncode, said.stderr) == (0, "")
    title = run("mandoc", "-Tascii", page(name)).stdout.splitlines()[0]
    assert title.upper().startswith(f"{name.upper()}({PAGES[name]})"), title


def test_manual_has_each_verb_option_and_section(page):
    text = re.sub(r".\x08", "", run("mandoc", "-Tascii", page("imapferryctl")).stdout)
    for verb, _ in usage():
        assert re.search(rf"^ +{verb}\b", text, re.M), verb
    for flag in set(re.findall(r"--[a-z-]+", "".join(form for _, form in usage()))):
        assert flag in text, flag
    text = re.sub(r".\x08", "", run("mandoc", "-Tascii", page("imapferry.conf")).stdout)
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "conf", "imapferry.conf"), encoding="utf-8") as f:
        sample = f.read()
    options = set(re.findall(r"^ *#?([a-z_]+) = ", sample, re.M))
    assert len(options) > 90
    for option in options:
        assert re.search(rf"^ +{option} (string|list|switch|number|duration|word)$", text, re.M), option


def test_forms_have_the_options_that_their_verbs_take():
    for verb, form in usage():
        told = ctl(*verb.split(), "--help")
        for flag in re.findall(r"--[a-z-]+", form):
            assert re.search(rf"^  {flag} ", told, re.M), (verb, flag)


# ---- completion

@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.conf"
    path.write_text(CONFIG)
    return str(path)


def offered(*words):
    """(what kind, {word: meaning})"""
    mode, *lines = ctl("--complete", *words).splitlines()
    return mode, dict(line.split("\t", 1) for line in lines)


def test_what_may_stand_where(config):
    first = offered("")[1]
    assert {"status", "migrate", "route", "proxy"} <= set(first) and "route export" not in first
    assert set(offered("route", "")[1]) == {"export", "move", "reopen", "restore", "source"}
    assert {"-c", "--json", "--check-conf"} <= set(offered("-")[1])
    assert offered("-c", "")[0] == "files" and offered("-c", config, "sta")[0] == "words"
    assert {"--to", "--wait", "--json"} <= set(offered("migrate", "ann", "-")[1])
    assert set(offered("-c", config, "migrate", "ann", "--to", "")[1]) == {"oak", "new"}
    assert set(offered("-c", config, "migrate", "--to=")[1]) == {"--to=oak", "--to=new"}
    assert set(offered("-c", config, "migrate", "--to", "=", "o")[1]) == {"oak", "new"}, "as bash cuts it"
    assert set(offered("-c", config, "route", "source", "")[1]) == {"oak", "new"}
    assert "blocked" in offered("list", "--state", "")[1] and "unreachable" in offered("list", "--reason", "")[1]
    assert offered("hold", "ann", "--reason", "")[1] == {} and offered("hold", "ann", "--reason", "x", "")[1] == {}
    assert offered("migrate", "--all", "")[0] == offered("route", "export", "")[0] == "files"
    assert offered("seal-key", "--out", "")[0] == "folders"
    assert "too_large" in offered("waive", "ann", "")[1] and offered("waive", "")[1] == {}, "no names of accounts"
    assert set(offered("completion", "")[1]) == {"bash", "zsh", "fish"} and "imapferry.conf" in offered("manual", "")[1]
    assert "status" in offered("help", "")[1] and offered("xyzzy", "")[0] == "words"


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(imapferryctl completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -D -u; eval "$(imapferryctl completion zsh)"'),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_in_a_shell(shell, config, tmp_path):
    command, setup = SHELLS[shell]
    environment = {"PATH": f"{BUILD}:{os.environ['PATH']}", "PS1": "$ ", "HOME": str(tmp_path), "HISTFILE": None}
    (tmp_path / "names.txt").write_text("ann\n")
    with Terminal(command, columns=160, rows=40, env=environment) as terminal:
        terminal.send(f"cd '{tmp_path}'; {setup}; echo rea''dy\r")
        terminal.wait("the setup", "\nready")
        for typed, line in (
                ("imapferryctl stat", "imapferryctl status "),
                ("imapferryctl route exp", "imapferryctl route export "),
                (f"imapferryctl -c {config} migrate ann --to oa", " migrate ann --to oak "),
                ("imapferryctl list --state bloc", "imapferryctl list --state blocked "),
                ("imapferryctl migrate --all nam", "imapferryctl migrate --all names.txt "),
                ("imapferryctl help compl", "imapferryctl help completion "),
                ("imapferry-proxy --check", "imapferry-proxy --check-conf ")):
            terminal.send(typed + "\t")
            terminal.wait(f"{line!r}", lambda text=line: (terminal.screen.display[terminal.screen.cursor.y]
                                                          [:terminal.screen.cursor.x]).endswith(text))
            terminal.send("\x15\r")
        terminal.send("exit\r")
        terminal.end()


def test_completion_in_fish(config, tmp_path):
    environment = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "names.txt").write_text("ann\n")

    def complete(line):
        said = run("fish", "-c", f"imapferryctl completion fish | source; complete -C '{line}'", env=environment, cwd=tmp_path)
        assert said.returncode == 0 and not said.stderr, said.stderr
        return [x.split("\t")[0] for x in said.stdout.splitlines()]
    assert complete("imapferryctl stat") == ["status"] and complete("imapferryctl route exp") == ["export"]
    assert complete(f"imapferryctl -c {config} migrate ann --to ") == ["new", "oak"]
    assert complete("imapferryctl list --state bloc") == ["blocked"] and complete("imapferryctl migrate --all nam") == ["names.txt"]
    assert "--check-conf" in complete("imapferry-proxy --che")


def test_scripts_are_of_their_shells():
    for shell, check in (("bash", ("bash", "-n")), ("zsh", ("zsh", "-n")), ("fish", ("fish", "--no-execute"))):
        said = run(*check, "/dev/stdin", input=ctl("completion", shell))
        assert (said.returncode, said.stderr) == (0, ""), shell
