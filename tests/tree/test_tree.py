"""What stands in the tree agrees with what the programs say: the sample configuration, the READMEs, docker/."""
import os
import re
import shlex
import subprocess

import pytest
import yaml

from harness.daemon import program

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ("imapferry-proxy", "imapferry-migrator", "imapferryctl")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False, **options)


def tracked(pattern):
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [x for x in folders if x not in (".git", "build", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names if re.search(pattern, n)]
    assert found, pattern
    return sorted(found)


# ---- programs

@pytest.mark.parametrize("name", PROGRAMS)
def test_sample_configuration_is_what_the_program_prints(name):
    printed = run(program(name), "--print-conf=sample")
    assert printed.returncode == 0 and printed.stdout == read("conf", "imapferry.conf")


@pytest.mark.parametrize("name", PROGRAMS)
def test_version(name):
    version = re.search(r"^VERSION := (\S+)$", read("Makefile"), re.M).group(1)
    said = run(program(name), "--version")
    assert said.returncode == 0 and version in said.stdout
    assert re.search(rf"^## {re.escape(version)}\b", read("CHANGES.md"), re.M), "CHANGES.md does not know this version"


# ---- READMEs

def code_blocks(text):
    return re.findall(r"^```(?:sh|console|bash)?\n(.*?)^```", text, re.M | re.S)


def manuals():
    """Each README, and the pages of the handbook."""
    return [x for x in tracked(r"\.md$") if os.path.basename(x) == "README.md" or x.startswith("conf/handbook/")]


def commands_in_readmes():
    """(file, command) of every line of a code block, and every `make x` and `imapferryctl x` in the text."""
    for name in manuals():
        text = read(name)
        for block in code_blocks(text):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((name, part.strip()) for part in line.split("&&"))
        for found in re.findall(r"`((?:make|imapferryctl|imapferry-\w+)\b[^`\n]*)`", text):
            yield from ((name, part.strip()) for part in found.split("&&"))


def test_make_targets_in_readmes_exist():
    targets = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.M).group(1).split())
    named = [(f, c) for f, c in commands_in_readmes() if re.match(r"(sudo )?make\b", c)]
    assert {"demo", "check"} <= {w for _, c in named for w in c.split()}
    for file, command in named:
        words = [w for w in shlex.split(command, comments=True)[1:] if "=" not in w and w != "make" and w[0] != "-"]
        assert set(words) <= targets, f"{file}: {command}"


def test_verbs_of_imapferryctl_in_readmes_exist():
    usage = run(program("imapferryctl"), "--help").stdout
    for file, command in commands_in_readmes():
        found = re.match(r"(?:sudo )?imapferryctl\s+(?:-c \S+\s+|--json\s+)*([a-z][a-z-]*)", command)
        if found:
            assert re.search(rf"(^|[\s|]){found.group(1)}\b", usage), f"{file}: {command}"


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"^exec (.*)$", read(".ci", "run"), re.M).group(1)
    assert command in [c for f, c in commands_in_readmes() if f == "README.md"]


def folders_with_code():
    files = [name for name in tracked(r"\.[ch]$") if re.match("(lib|proxy|migrator)/", name)]
    return sorted({os.path.dirname(name) for name in files})


def test_each_folder_has_a_readme():
    for folder in folders_with_code() + ["conf", "tests", "docker"]:
        assert os.path.exists(os.path.join(ROOT, folder, "README.md")), folder


@pytest.mark.parametrize("folder", folders_with_code())
def test_each_file_stands_in_its_folders_readme(folder):
    text = read(folder, "README.md")
    for name in tracked(r"\.[ch]$"):
        if os.path.dirname(name) == folder and not name.endswith("_priv.h"):
            stem = os.path.splitext(os.path.basename(name))[0]
            assert re.search(rf"\b{stem}\b", text), name


def test_links_in_readmes_lead_somewhere():
    for name in manuals():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(name)):
            if "://" not in target:
                assert os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)), f"{name}: {target}"


# ---- scripts, docker/

@pytest.mark.parametrize("name", tracked(r"\.sh$") + [".ci/run"])
def test_shell_syntax(name):
    shell = "bash" if name == ".ci/run" else "sh"
    assert run(shell, "-n", name).stderr == ""


INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENTRYPOINT", "CMD", "USER", "WORKDIR", "EXPOSE", "ENV", "ARG", "LABEL",
                "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ADD", "SHELL"}


def dockerfile_steps():
    text = re.sub(r"^\s*#.*\n", "", read("docker", "Dockerfile"), flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def test_dockerfile():
    steps = dockerfile_steps()
    assert steps[0][0] in ("FROM", "ARG")
    stages = set()
    for step in steps:
        assert len(step) == 2 and step[0] in INSTRUCTIONS, step
        name, rest = step
        if name == "FROM":
            found = re.fullmatch(r"\S+(?: AS (\w+))?", rest)
            assert found, rest
            stages.add(found.group(1))
        elif name == "COPY":
            options = [w for w in rest.split() if w.startswith("--")]
            sources = [w for w in rest.split() if not w.startswith("--")][:-1]
            assert sources
            stage = [o.removeprefix("--from=") for o in options if o.startswith("--from=")]
            if stage:
                assert stage[0] in stages, rest
            else:
                for source in sources:
                    assert os.path.exists(os.path.join(ROOT, source)), rest
        elif name == "RUN":
            assert run("sh", "-n", "-c", rest).stderr == "", rest
        elif name in ("ENTRYPOINT", "CMD"):
            assert isinstance(yaml.safe_load(rest), list), rest


def test_image_has_the_libraries_that_the_programs_are_built_with():
    build, _, image = read("docker", "Dockerfile").partition("\nFROM debian:bookworm-slim\n")
    built_with = {re.sub(r"(\d\w*)?(-openssl)?-dev$", "", x) for x in re.findall(r"\b(?:lib|zlib)[a-z0-9.-]*-dev\b", build)} - {"libc"}
    assert len(built_with) > 7
    assert not {x for x in built_with if not re.search(rf"\b{x}[\d.]", image)}


def test_compose_file():
    compose = yaml.safe_load(read("docker", "compose.yaml"))
    services = compose["services"]
    assert {"redis", "proxy1", "proxy2", "migrator1", "migrator2"} <= set(services)
    volumes = set(compose.get("volumes") or {})
    for name, service in services.items():
        assert ("image" in service) or ("build" in service), name
        if "build" in service:
            context = os.path.join(ROOT, "docker", service["build"]["context"])
            assert os.path.exists(os.path.join(context, service["build"]["dockerfile"])), name
        for needed in service.get("depends_on", []):
            assert needed in services, f"{name}: {needed}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in volumes or source.startswith(("./", "/")), f"{name}: {volume}"
        command = service.get("command")
        if isinstance(command, list) and command and command[0].startswith("imapferry"):
            assert command[0] in PROGRAMS, command
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
            section = command[0].removeprefix("imapferry-")
            port = re.search(rf'^{section} {{$.*?^    metrics_listen = "http://127.0.0.1:(\d+)"$', read("conf", "imapferry.conf"), re.M | re.S)
            assert service["environment"]["READY_PORT"] == port.group(1), name
    assert sum("hostname" in s for s in services.values()) == len({s.get("hostname") for s in services.values()} - {None})
