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


DOCKERFILES = {"docker/Dockerfile": "", "docker/demo/Dockerfile": "docker/demo"}  # each with its context


def dockerfile_steps(name):
    text = re.sub(r"^\s*#.*\n", "", read(name), flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfile(dockerfile):
    steps = dockerfile_steps(dockerfile)
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
                    assert os.path.exists(os.path.join(ROOT, DOCKERFILES[dockerfile], source)), rest
        elif name == "RUN":
            assert run("sh", "-n", "-c", rest).stderr == "", rest
        elif name in ("ENTRYPOINT", "CMD"):
            assert isinstance(yaml.safe_load(rest), list), rest


def test_image_has_the_libraries_that_the_programs_are_built_with():
    build, _, image = read("docker", "Dockerfile").partition("\nFROM debian:bookworm-slim\n")
    built_with = {re.sub(r"(\d\w*)?(-openssl)?-dev$", "", x) for x in re.findall(r"\b(?:lib|zlib)[a-z0-9.-]*-dev\b", build)} - {"libc"}
    assert len(built_with) > 7
    assert not {x for x in built_with if not re.search(rf"\b{x}[\d.]", image)}


def compose_file():
    return yaml.safe_load(read("docker", "compose.yaml"))


def test_compose_file():
    compose = compose_file()
    services = compose["services"]
    assert set(services) == {"redis", "setup", "old", "new", "proxy1", "proxy2", "migrator1", "migrator2", "prometheus"}
    built = {s["image"] for s in services.values() if "build" in s}
    used = set()
    for name, service in services.items():
        if "build" in service:
            dockerfile = os.path.join("docker", service["build"]["context"], service["build"]["dockerfile"])
            assert os.path.normpath(dockerfile) in DOCKERFILES, name
        assert service["image"] in built or re.search(r":v?\d", service["image"]), f"{name}: {service['image']} of no version"
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert has_health_check(services[needed]), f"{name}: {needed}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            used.add(source)
            assert source in compose["volumes"] or os.path.exists(os.path.join(ROOT, "docker", source)), f"{name}: {volume}"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is open to everybody, with the demo's password"
    assert set(compose["volumes"]) <= used
    ports = [p.rsplit(":", 1)[0] for s in services.values() for p in s.get("ports", [])]
    assert len(ports) == len(set(ports))


def has_health_check(service):
    file = {"imapferry": "docker/Dockerfile", "imapferry-demo": "docker/demo/Dockerfile"}.get(service["image"])
    return "healthcheck" in service or (file and "HEALTHCHECK" in dict(dockerfile_steps(file)))


def test_compose_file_runs_our_programs_without_rights():
    ours = {n: s for n, s in compose_file()["services"].items() if s["image"] == "imapferry"}
    conf = read("docker", "etc", "imapferry.conf")
    for name, service in ours.items():
        program_, *arguments = service["command"]
        assert program_ in PROGRAMS and arguments == ["-c", "/etc/imapferry/imapferry.conf"], name
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        section = program_.removeprefix("imapferry-")
        port = re.search(rf'^{section} {{$.*?^    metrics_listen = "http://0.0.0.0:(\d+)"$', conf, re.M | re.S)
        assert service["environment"]["READY_PORT"] == port.group(1), name
        assert any(v.endswith(":/masters:ro") for v in service["volumes"]) == (section == "migrator"), f"{name}: masters' passwords"
    assert len({s["hostname"] for s in ours.values()}) == len(ours)
    targets = yaml.safe_load(read("docker", "prometheus.yml"))["scrape_configs"][0]["static_configs"][0]["targets"]
    assert sorted(targets) == sorted(f"{n}:{s['environment']['READY_PORT']}" for n, s in ours.items())


def test_configuration_of_the_compose_file():
    """Every file that it names lies in a volume; what a program says of it is about those alone."""
    said = run(program("imapferryctl"), "-c", "docker/etc/imapferry.conf", "--print-conf")
    assert said.returncode == 0, said.stderr
    volumes = ("/certs/", "/masters/")
    assert all(path.startswith(volumes) for path in re.findall(r'_(?:file|cert|key) = "([^"]+)"', read("docker", "etc", "imapferry.conf")))


def test_context_of_the_image_leaves_out_what_is_built():
    assert {"build", ".git"} <= set(read(".dockerignore").split())
