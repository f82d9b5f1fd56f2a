"""Daemons that are started as root go on as a user with no rights but its own, and reload as that user."""
import grp
import os
import pwd
import shutil
import stat
import subprocess

import pytest

from harness import net, redisd
from harness.daemon import program, sanitizer_environment
from harness.ferry import Ferry, backend
from harness.scene import Wire, change, connect, fill, new_user, small

USER = pwd.getpwnam("nobody")
GROUP = grp.getgrgid(USER.pw_gid).gr_name


@pytest.fixture(name="ferry", scope="module")
def fixture_ferry(authority, cert, old, new):
    """Its folder is the user's, who has to write there; its Redis can be reached by everybody."""
    store = redisd.Redis(port=net.free_port())
    ferry = Ferry(store, {"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}, cert)
    os.chown(ferry.folder, USER.pw_uid, USER.pw_gid)
    os.chmod(os.path.join(ferry.folder, "master.secret"), 0o640)
    os.chown(os.path.join(ferry.folder, "master.secret"), 0, USER.pw_gid)
    ferry.init()
    yield ferry
    try:
        ferry.close()
    finally:
        store.close()


def status(pid, thread=None):
    with open(f"/proc/{pid}/task/{thread or pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def assert_dropped(pid):
    """In each thread."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        s = status(pid, thread)
        assert s["Uid"].split() == [str(USER.pw_uid)] * 4 and s["Gid"].split() == [str(USER.pw_gid)] * 4, s
        assert set(s["Groups"].split()) <= {str(g) for g in os.getgrouplist(USER.pw_name, USER.pw_gid)}, s
        for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(s[kind], 16) == 0, (kind, s[kind])
        assert s["NoNewPrivs"] == "1", s


def keys_of(ferry, authority, name, mode, group=0):
    """A certificate and key of root's, in a folder of their own."""
    folder = os.path.join(ferry.folder, name)
    os.mkdir(folder, 0o755)
    pair = [shutil.copy(path, folder) for path in authority.issue(name)]
    os.chmod(pair[1], mode)
    os.chown(pair[1], 0, group)
    return pair


def refused(ferry, kind, wrapper=(), **sections):
    """What a daemon says that does not start."""
    path = ferry.config("refused", **sections)
    run = subprocess.run([*wrapper, program(f"imapferry-{kind}"), "-c", path], capture_output=True, text=True, timeout=30, check=False,
                         env=sanitizer_environment(os.path.join(ferry.folder, "refused"), leaks=False))
    assert run.returncode == 1, run.stderr
    return run.stderr


def test_a_proxy_of_root_becomes_its_user(ferry, old):
    user = new_user()
    fill(old, user, small(messages=2))
    path = os.path.join(ferry.folder, "in.sock")
    proxy = ferry.proxy(["imap://127.0.0.1:0", f"imap+unix://{path}"], proxy={"user": USER.pw_name, "group": GROUP, "threads": 2})
    assert_dropped(proxy.pid)
    assert not proxy.find("running_as_root|unreadable_after_start")
    assert os.lstat(path).st_uid == USER.pw_uid
    for listener in (0, 1):
        with connect(proxy, listener) as wire:
            assert wire.login(user).startswith(b"l1 OK")
    assert_dropped(proxy.pid)  # threads that began with the first sign-in, too
    proxy.stop()
    assert not os.path.exists(path)


def test_a_reload_reads_what_the_user_may_read(ferry, authority):
    cert, key = keys_of(ferry, authority, "readable", 0o640, USER.pw_gid)
    proxy = ferry.proxy(["imaps://127.0.0.1:0"], proxy={"user": USER.pw_name, "tls_cert": cert, "tls_key": key})
    assert not proxy.find("unreadable_after_start")
    for source, name in zip(authority.issue("second"), (cert, key)):
        shutil.copyfile(source, name)
    proxy.reload()
    with Wire(proxy.addresses[0], ca=authority.ca) as wire:
        assert wire.read_line().startswith(b"* OK")
    proxy.stop()


def test_a_key_that_root_alone_reads_is_named_and_the_old_one_stays(ferry, authority):
    cert, key = keys_of(ferry, authority, "roots", 0o600)
    proxy = ferry.proxy(["imaps://127.0.0.1:0"], proxy={"user": USER.pw_name, "tls_cert": cert, "tls_key": key, "login_tries": 3})
    proxy.wait(rf"level=warn event=unreadable_after_start file={key} user=nobody why=\"Permission denied\"")
    open_session = Wire(proxy.addresses[0], ca=authority.ca)
    open_session.read_line()
    change(os.path.join(ferry.folder, proxy.label + ".conf"), "login_tries = 3", "login_tries = 2")
    since = proxy.reload("reload_refused")
    proxy.wait(rf"event=reload_refused error=.*tls_key: .*{key}.* cannot be read: Permission denied", since=since)
    assert open_session.command(b"a", b"NOOP")[-1].startswith(b"a OK")
    with Wire(proxy.addresses[0], ca=authority.ca) as wire:
        assert wire.read_line().startswith(b"* OK")
    os.chown(key, 0, USER.pw_gid)
    os.chmod(key, 0o640)
    proxy.reload()
    proxy.stop()


def test_a_migrator_of_root_works_as_its_user(ferry, old):
    user = new_user()
    fill(old, user, small(messages=5))
    folder = os.path.join(ferry.folder, "own-journal")
    migrator = ferry.migrator(migrator={"user": USER.pw_name, "journal_dir": folder, "retry_max": "3s"})
    s = os.stat(folder)
    assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (USER.pw_uid, USER.pw_gid, 0o700)
    proxy = ferry.proxy()
    ferry.login(proxy, user, "secret").logout()
    ferry.wait_state(user, "flipped")
    assert os.stat(os.path.join(folder, "flips")).st_uid == USER.pw_uid
    assert_dropped(migrator.pid)
    change(os.path.join(ferry.folder, migrator.label + ".conf"), 'retry_max = "3s"', 'retry_max = "4s"')
    migrator.reload()
    migrator.stop()
    proxy.stop()


def test_a_journal_of_roots_is_named(ferry):
    folder = os.path.join(ferry.folder, "roots-journal")
    os.mkdir(folder, 0o755)
    assert f"{folder}/flips: can't open: Permission denied" in refused(
        ferry, "migrator", migrator={"user": USER.pw_name, "journal_dir": folder})


def test_root_without_a_user_warns(ferry):
    for daemon in (ferry.proxy(), ferry.migrator()):
        daemon.wait(r"level=warn event=running_as_root advice=")
        assert status(daemon.pid)["NoNewPrivs"] == "1"
        daemon.stop()


def test_what_can_not_be_is_refused(ferry):
    listen = {"listen": ["imap://127.0.0.1:0"]}
    assert 'proxy: user: "ferryman" is no user of this system' in refused(ferry, "proxy", proxy={**listen, "user": "ferryman"})
    assert 'proxy: user: "root" is root' in refused(ferry, "proxy", proxy={**listen, "user": "root"})
    assert 'proxy: group: "ferrymen" is no group' in refused(
        ferry, "proxy", proxy={**listen, "user": USER.pw_name, "group": "ferrymen"})
    assert "migrator: group: a group without a user" in refused(ferry, "migrator", migrator={"group": GROUP})
    assert 'can\'t become "daemon": not started as root, nor as this user' in refused(
        ferry, "proxy", ("setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups"),
        proxy={**listen, "user": "daemon"})


def test_a_proxy_that_is_started_as_its_user_gives_its_capabilities_up(ferry):
    """As systemd starts it with User= and AmbientCapabilities=CAP_NET_BIND_SERVICE, and with the option, too."""
    caps = "+net_bind_service"
    proxy = ferry.proxy(wrapper=("setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups",
                                 f"--inh-caps={caps}", f"--ambient-caps={caps}"), proxy={"user": USER.pw_name})
    assert_dropped(proxy.pid)
    proxy.stop()
