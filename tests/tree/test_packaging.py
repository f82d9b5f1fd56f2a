"""What `make install` brings: the files, and that units, users and folders fit together; how much the units leave open, and that they
say why."""
import json
import os
import re
import stat
import subprocess

import pytest

from harness.daemon import BUILD

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = ("imapferry-proxy.service", "imapferry-proxy@.service", "imapferry-migrator.service")
EXPOSURE_MAX = 2.0


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False, **options)


@pytest.fixture(name="installed", scope="module")
def fixture_installed(tmp_path_factory):
    """What make check built, below DESTDIR."""
    folder = tmp_path_factory.mktemp("installed")
    sanitized = "1" if os.path.basename(BUILD) == "san" else ""
    built = run("make", "-s", "install", f"BUILD={BUILD}", f"SAN={sanitized}", "WERROR=1", f"DESTDIR={folder}", "PREFIX=/opt/ferry",
                "ETC=/opt/ferry/etc", env={**os.environ, "MAKEFLAGS": ""})
    assert built.returncode == 0, built.stderr
    return str(folder)


def files(folder):
    return {os.path.relpath(os.path.join(place, n), folder) for place, _, names in os.walk(folder) for n in names}


def test_install(installed):
    found = files(installed)
    assert all(x.startswith("opt/ferry/") for x in found), found
    below = {x.removeprefix("opt/ferry/") for x in found}
    assert {"sbin/imapferry-proxy", "sbin/imapferry-migrator", "bin/imapferryctl", "lib/imapferry/imapferry-upgrade",
            "share/man/man8/imapferryctl.8", "share/man/man8/imapferry-proxy.8", "share/man/man8/imapferry-migrator.8",
            "share/man/man5/imapferry.conf.5", "share/bash-completion/completions/imapferryctl",
            "share/bash-completion/completions/imapferry-proxy", "share/zsh/site-functions/_imapferryctl",
            "share/fish/vendor_completions.d/imapferryctl.fish", "lib/sysusers.d/imapferry.conf", "lib/tmpfiles.d/imapferry.conf",
            "etc/fail2ban/filter.d/imapferry.conf", "lib/systemd/system/imapferry-proxy.socket",
            *(f"lib/systemd/system/{unit}" for unit in UNITS)} <= below
    said = run(os.path.join(installed, "opt/ferry/bin/imapferryctl"), "--version")
    assert said.returncode == 0


def test_install_leaves_nothing_of_conf_out(installed):
    """But for its README, which tells of the folder."""
    source = os.path.join(ROOT, "conf")
    bodies = {read(installed, x).replace("/opt/ferry/sbin/", "/usr/local/sbin/").replace("/opt/ferry/etc/imapferry", "/etc/imapferry")
              for x in files(installed) if not re.search(r"/s?bin/|/man/|completion|site-func", x)}
    missing = [x for x in files(source) if not x.endswith("README.md") and not x.startswith("debian/") and read(source, x) not in bodies]
    assert not missing


def test_all_may_read_it_and_only_root_may_write_it(installed):
    for name in files(installed):
        mode = stat.S_IMODE(os.stat(os.path.join(installed, name)).st_mode)
        program = re.search(r"/s?bin/|imapferry-upgrade$", name)
        assert mode == (0o755 if program else 0o644), name


# ---- units, users and folders

def settings(unit, key):
    return re.findall(rf"^{key}=(.*)$", unit, re.M)


def unit_of(installed, name):
    return read(installed, "opt/ferry/lib/systemd/system", name)


@pytest.mark.parametrize("name", UNITS)
def test_unit_starts_what_is_installed_with_the_configuration_that_is(installed, name):
    unit = unit_of(installed, name)
    program, *arguments = settings(unit, "ExecStart")[0].split()
    assert os.access(installed + program, os.X_OK) and arguments == ["-c", "/opt/ferry/etc/imapferry/imapferry.conf"]
    assert "/usr/local" not in unit
    for page in re.findall(r"man:(\S+)\((\d)\)", " ".join(settings(unit, "Documentation"))):
        assert os.path.exists(os.path.join(installed, f"opt/ferry/share/man/man{page[1]}/{page[0]}.{page[1]}")), page


@pytest.mark.parametrize("name", UNITS)
def test_users_and_folders_of_a_unit(installed, name):
    unit = unit_of(installed, name)
    user = settings(unit, "User")[0]
    users = dict(re.findall(r"^u (\S+) +- \"([^\"]+)\" +/nonexistent$", read(installed, "opt/ferry/lib/sysusers.d/imapferry.conf"), re.M))
    assert set(users) == {"imapferry", "imapferry-migrator"} and user in users
    rows = re.findall(r"^d (\S+) +(\d+) +(\S+) +(\S+) +-$", read(installed, "opt/ferry/lib/tmpfiles.d/imapferry.conf"), re.M)
    folders = {row[0]: row[1:] for row in rows}
    assert folders["/opt/ferry/etc/imapferry"] == ("0750", "root", "imapferry")
    for base, kind in (("/run", "Runtime"), ("/var/lib", "State")):
        for folder in settings(unit, f"{kind}Directory"):
            mode = settings(unit, f"{kind}DirectoryMode")[0]
            assert folders.get(f"{base}/{folder}", (mode, user, user)) == (mode, user, user), folder


def test_users_are_those_of_the_sample():
    sample = read(ROOT, "conf", "imapferry.conf")
    for section, unit in (("proxy", UNITS[0]), ("migrator", UNITS[2])):
        user = re.search(rf'^{section} {{$.*?^    user = "([^"]+)"$', sample, re.M | re.S).group(1)
        assert settings(read(ROOT, "conf", unit), "User") == [user]


def test_ports_of_the_socket_are_those_of_the_sample():
    listen = re.search(r"^    #?listen = (.*)$", read(ROOT, "conf", "imapferry.conf"), re.M).group(1)
    ports = {m.group(1) for m in re.finditer(r":(\d+)\"", listen)} or {"993", "143"}
    assert set(settings(read(ROOT, "conf", "imapferry-proxy.socket"), "ListenStream")) == ports


def test_the_two_units_of_a_proxy_differ_in_their_names_alone():
    one, two = (re.sub(r"^(#|Description).*\n", "", read(ROOT, "conf", name), flags=re.M) for name in UNITS[:2])
    assert one == two


def test_systemd_finds_nothing_in_them(installed, tmp_path):
    names = [*UNITS, "imapferry-proxy.socket"]
    for name in names:
        (tmp_path / name).write_text(unit_of(installed, name).replace("/opt/ferry/sbin", f"{installed}/opt/ferry/sbin"))
    said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / n).replace("@.", "@a.") for n in names))
    complaints = [x for x in (said.stdout + said.stderr).splitlines() if "imapferry" in x]
    assert not complaints


# ---- the Debian package

def test_package_is_of_this_version():
    version = re.search(r"^VERSION := (\S+)$", read(ROOT, "Makefile"), re.M).group(1)
    assert read(ROOT, "conf", "debian", "changelog").startswith(f"imapferry ({version}) ")


def test_package_is_built_with_what_a_build_needs():
    needed = re.search(r'^build="([^"]+)"', read(ROOT, "tests", "deps.sh"), re.M).group(1).split()
    given = set(re.findall(r"^ ([a-z0-9+.-]+)", read(ROOT, "conf", "debian", "control").partition("\nPackage:")[0], re.M))
    of_every_build = {"gcc", "make", "libc6-dev"}
    assert {n.replace("pkg-config", "pkgconf") for n in needed} - of_every_build <= given


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm", "tests/smoke"])
def test_scripts_of_the_package(name):
    assert run("sh", "-n", os.path.join("conf", "debian", name)).stderr == ""
    assert name == "tests/smoke" or "#DEBHELPER#" in read(ROOT, "conf", "debian", name)


def test_units_that_the_package_handles_are_those_that_are_installed(installed):
    rules, prerm = read(ROOT, "conf", "debian", "rules"), read(ROOT, "conf", "debian", "prerm")
    assert "--no-enable --no-start --no-stop-on-upgrade" in rules
    for unit in os.listdir(os.path.join(installed, "opt/ferry/lib/systemd/system")):
        assert unit.replace("@.", "@*.") in prerm, unit


# ---- what is left open

def judged(path):
    said = run("systemd-analyze", "security", "--offline=true", "--json=short", path)
    assert said.stdout.startswith("["), said
    return [row["name"] for row in json.loads(said.stdout) if row["set"] is False]


def word_of(name):
    """CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|RAW) is told of as CAP_NET_BIND_SERVICE, PrivateNetwork= by its name."""
    key, _, value = name.partition("=")
    value = re.sub(r"\((\w+)\|.*", r"\1", value.removeprefix("~"))
    return key if not value or value.startswith("/") else value


@pytest.mark.parametrize("name", UNITS)
def test_exposure(name):
    path = os.path.join(ROOT, "conf", name)
    said = run("systemd-analyze", "security", "--offline=true", path)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert level and float(level.group(1)) < EXPOSURE_MAX, said.stdout


@pytest.mark.parametrize("name", UNITS)
def test_unit_says_why_something_is_left_open(name):
    path = os.path.join(ROOT, "conf", name)
    why = re.search(r"^# And what stays open, and why:\n((?:#   .*\n)+)", read(path), re.M).group(1)
    words = {word_of(x) for x in judged(path)}
    assert len(words) > 5
    assert not {x for x in words if not re.search(rf"(^|\W){re.escape(x)}(\W|$)", why)}
