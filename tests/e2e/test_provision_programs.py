"""The programs for `provision` that conf/ has, on the servers that they are for."""
import os
import re
import shutil
import subprocess
import threading

import pytest

from harness import cyrus, dovecot, dovecot_conf, handbook, mail, net
from harness.ferry import backend
from harness.scene import assert_equal, differences, fill, new_user, small

CONF = dovecot_conf.CONF
LIMIT = 2 * 1024 * 1024  # KiB
PATIENT = {"migrator": {"job_lease": "30s"}}  # a busy machine takes no job away


def program(folder, name, **lines):
    """A copy of it with these lines in place of those that begin so."""
    path = os.path.join(folder, name)
    with open(os.path.join(CONF, name), encoding="utf-8") as f:
        text = f.read()
    for start, value in lines.items():
        text, n = re.subn(rf"^{start}( ?=).*$", lambda m, s=start, v=value: f"{s}{m[1]}{v}", text, flags=re.M)
        assert n == 1, start
    write_program(path, text)
    return path


def write_program(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, 0o755)


def call(path, user, lines="", status=0):
    """What it says on standard error."""
    run = subprocess.run([path], input=lines, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ, IMAPFERRY_USER=user))
    assert run.returncode == status and run.stdout == "", run
    return run.stderr


def quota_of(server, user):
    client = mail.connect(server, user, "secret")
    try:
        return int(re.search(r"STORAGE \d+ (\d+)", str(client.getquotaroot("INBOX"))).group(1))
    finally:
        client.logout()


# ---- a Dovecot with a passwd-file

@pytest.fixture(scope="module", name="listed")
def fixture_listed(cert):
    with dovecot.Dovecot("listed", mail="mdbox", cert=cert, anybody=False, listed=True, extra=dovecot_conf.extra("quota")) as server:
        yield server


@pytest.fixture(name="for_dovecot")
def fixture_for_dovecot(listed):
    lines = {"users": listed.users_file}
    if dovecot_conf.is_new():
        lines["limits"] = "'userdb_quota_storage_size=2G'"
    return program(listed.folder, "provision-dovecot.sh", **lines)


def users_of(server):
    with open(server.users_file, encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":", 1) for line in f)


def test_dovecot(make_ferry, old, listed, for_dovecot, authority):
    """One account is queued by staff and waits for its user, the other one by the login."""
    waits, comes = new_user("waits"), new_user("comes")
    for user in (waits, comes):
        fill(old, user, small(messages=5))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(listed, ca=authority.ca, provision=[for_dovecot], provision_password=True)},
                       PATIENT)
    ferry.seal_keys()
    ferry.migrator()
    assert ferry.ctl("migrate", waits)[0] == 0
    route = ferry.wait_state(waits, "backoff")
    assert route["reason"] == "credentials: new: provision ended with status 77: the account is made once its user has signed in", route
    proxy = ferry.proxy()
    for user in (comes, waits):
        ferry.login(proxy, user, "secret").logout()
    for user in (waits, comes):
        ferry.wait_state(user, "flipped")
        assert quota_of(listed, user) == LIMIT
        assert_equal(old, listed, user, 5)
    assert set(users_of(listed)) == {waits, comes}
    assert all(x.startswith("{SHA512-CRYPT}$6$") for x in users_of(listed).values())
    assert os.stat(listed.users_file).st_mode & 0o007 == 0


def test_dovecot_account_that_is_there(listed, for_dovecot):
    """It gets the password, and keeps what an administrator has given it; a token changes nothing."""
    user, other = "there@example.org", "token@example.org"
    with open(listed.users_file, "w", encoding="utf-8") as f:
        f.write(f"before@example.org:{{PLAIN}}x\n{user}:{{PLAIN}}old:::::/home:mail=x\nbehind@example.org:{{PLAIN}}y\n")
    call(for_dovecot, user, "PLAIN\na:b $c 'd\n")
    entries = users_of(listed)
    assert set(entries) == {"before@example.org", user, "behind@example.org"} and entries["before@example.org"] == "{PLAIN}x"
    assert re.fullmatch(r"\{SHA512-CRYPT\}\$6\$[^:]+:::::/home:mail=x", entries[user]), entries
    assert listed.doveadm("auth", "test", user, "a:b $c 'd")
    call(for_dovecot, user, "XOAUTH2\n")
    call(for_dovecot, user, "none\n")
    assert users_of(listed) == entries
    call(for_dovecot, other, "OAUTHBEARER\n")
    assert users_of(listed)[other].startswith("{CRYPT}*:")
    assert "signed in" in call(for_dovecot, "nobody@example.org", "none\n", 77)
    assert "provision_password" in call(for_dovecot, "nobody@example.org", "", 1)
    assert "colon" in call(for_dovecot, "a:b@example.org", "PLAIN\nx\n", 1)


def test_as_the_handbook_has_it(make_ferry, old, listed, for_dovecot, authority):
    """Its lines of configuration, and its program, which hands all to another host: here ssh leads to a program of this one."""
    user = new_user("handbook")
    fill(old, user, small(messages=3))
    ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(listed, ca=authority.ca)}, PATIENT)
    ferry.seal_keys()
    path, ssh = (os.path.join(ferry.folder, name) for name in ("provision.sh", "ssh"))
    write_program(path, handbook.replace(handbook.block("provisioning.md", "ssh").text, ("ssh ", f"{ssh} ")))
    write_program(ssh, '#!/bin/sh\n[ "$*" = "-o BatchMode=yes provision@new.example.org provision-account" ] || exit 9\n'
                  f"IFS= read -r IMAPFERRY_USER; export IMAPFERRY_USER\nexec {for_dovecot}\n")
    lines = handbook.block("provisioning.md", "provision = ").text
    ferry.backends["new"].update(handbook.options(handbook.replace(lines, ("/etc/imapferry/provision.sh", path)))['backend "new"'])
    assert ferry.backends["new"]["provision"] == [path, "%u"] and ferry.backends["new"]["provision_password"] is True
    ferry.migrator()
    ferry.login(ferry.proxy(), user, "secret").logout()
    ferry.wait_state(user, "flipped")
    assert_equal(old, listed, user, 3)


def test_dovecot_many_at_once(listed, for_dovecot):
    """From several migrators: none is lost, and none is there twice."""
    names = [f"many{i % 8}@example.org" for i in range(16)]
    threads = [threading.Thread(target=call, args=(for_dovecot, name, "PLAIN\nsecret\n")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(listed.users_file, encoding="utf-8") as f:
        found = sorted(line.split(":", 1)[0] for line in f if line.startswith("many"))
    assert found == sorted(set(names))


# ---- a Cyrus that makes no INBOX by itself

@pytest.mark.parametrize("separator", ("/", "."))
def test_cyrus(make_ferry, old, authority, cert, separator):
    with cyrus.Cyrus("new", separator=separator, prefix="" if separator == "/" else "INBOX.", cert=cert, makes_inboxes=False) as new:
        user = new_user("made").replace(".", "-", 1) if separator == "." else new_user("made")
        fill(old, user, small(messages=5))
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, PATIENT)
        secret = os.path.join(ferry.folder, "master.secret")
        path = program(ferry.folder, "provision-cyrus.py", **{
            "HOST, PORT": f'"127.0.0.1", {new.port["imaps"]}', "CA_FILE": repr(authority.ca),
            "ADMIN, PASSWORD_FILE": f'"{dovecot.MASTER_USER}", {secret!r}'})
        ferry.backends["new"]["provision"] = [path]
        ferry.migrator()
        assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(user, "flipped")
        assert quota_of(new, user) == LIMIT
        found = [str(d) for d in differences(old, new, user, 5)]
        assert not [x for x in found if not x.endswith("on the new side only")], found  # parents, which a Cyrus makes
        call(path, user)
        shutil.copy(secret, secret + ".good")
        with open(secret, "w", encoding="ascii") as f:
            f.write("wrong\n")
        said = call(path, user, status=1)
        assert said.startswith("127.0.0.1: ") and said.count("\n") == 1, said


# ---- Sieve

SCRIPTS = {"plain": b"keep;\r\n", "my rules": b'require "fileinto";\r\nif header :contains "subject" "x" { fileinto "Junk"; }\r\n'}


@pytest.fixture(scope="module", name="sieves")
def fixture_sieves(cert):
    with dovecot.Dovecot("old", cert=cert, sieve="") as old, dovecot.Dovecot("new", mail="mdbox", cert=cert, sieve="imap") as new:
        yield old, new


def sieve_connect(server, ca, user, *action):
    run = subprocess.run(["sieve-connect", "--server", "127.0.0.1", "--port", str(server.port["sieve"]), "--nosrv", "--tlscafile", ca,
                          "--authmech", "PLAIN", "--user", user, "--passwordfd", "0", *action],
                         input=b"secret\n", capture_output=True, timeout=60, check=False)
    assert run.returncode == 0, run
    return run.stdout


def put(server, ca, user, folder, name, text):
    path = os.path.join(folder, "put")
    with open(path, "wb") as f:
        f.write(text)
    sieve_connect(server, ca, user, "--upload", "--localsieve", path, "--remotesieve", name)


def get(server, ca, user, folder, name):
    path = os.path.join(folder, "got")
    sieve_connect(server, ca, user, "--download", "--localsieve", path, "--remotesieve", name)
    with open(path, "rb") as f:
        return f.read()


@pytest.mark.writes_source  # scripts, as their user does
def test_sieve(make_ferry, sieves, authority):
    """Scripts are there with the account, and once more behind the switch-over, with what has changed."""
    old, new = sieves
    ca, user = authority.ca, new_user("ruled")
    fill(old, user, small(messages=3))
    ferry = make_ferry({"old": backend(old, ca=ca), "new": backend(new, ca=ca)}, dict(PATIENT, migration={"cutover": "manual", "trigger": "manual"}))
    for name, text in SCRIPTS.items():
        put(old, ca, user, ferry.folder, name, text)
    sieve_connect(old, ca, user, "--activate", "--remotesieve", "my rules")
    path = program(ferry.folder, "provision-sieve.sh", old=f'"127.0.0.1 {old.port["sieve"]}"', new=f'"127.0.0.1 {new.port["sieve"]}"',
                   master=dovecot.MASTER_USER, password_file=os.path.join(ferry.folder, "master.secret"), ca=ca)
    ferry.backends["new"]["provision"] = [path]
    ferry.settings["migration"]["hook_flip"] = [path]
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready", timeout=120)
    assert sorted(sieve_connect(new, ca, user, "--list").split(b"\n")) == [b"", b'"my rules" ACTIVE', b'"plain"']
    assert {name: get(new, ca, user, ferry.folder, name) for name in SCRIPTS} == SCRIPTS
    changed = b"# changed\r\nstop;\r\n"
    put(old, ca, user, ferry.folder, "plain", changed)
    sieve_connect(old, ca, user, "--activate", "--remotesieve", "plain")
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped", timeout=120)
    net.wait_until("the hook", lambda: b'"plain" ACTIVE' in sieve_connect(new, ca, user, "--list"), timeout=120)
    assert get(new, ca, user, ferry.folder, "plain") == changed
    assert_equal(old, new, user, 3)
    said = call(program(ferry.folder, "provision-sieve.sh", old=f'"127.0.0.1 {net.free_port()}"', ca=ca,
                        password_file=os.path.join(ferry.folder, "master.secret")), user, status=1)
    assert said.count("\n") == 1 and said.endswith("failed.\n"), said


def test_doctor_warns_of_sieve_for_imap(make_ferry, sieves, authority):
    """Of the new server, which runs scripts on copies."""
    old, new = sieves
    ferry = make_ferry({"old": backend(old, ca=authority.ca, check_user="ann"), "new": backend(new, ca=authority.ca, check_user="ann")})
    _, answer = ferry.ctl("doctor")
    found = [(c["of"], c["level"]) for c in answer["checks"] if "IMAPSIEVE" in c["text"]]
    assert found == [("new", "warning")], answer
