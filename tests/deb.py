#!/usr/bin/python3
"""What is done with the Debian package, on a machine that systemd runs (deb.sh): it is installed and starts nothing, its autopkgtest
passes, it moves an account, and is upgraded while clients come and go; then it is removed and purged, and nothing of it is left.
    deb.py PACKAGE NEXT NEXT-BUT-ONE"""
import contextlib
import grp
import os
import pwd
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from harness import certs, dovecot, net, redisd  # noqa: E402
from harness.ferry import section_text  # noqa: E402
from harness.load import Load  # noqa: E402
from harness.scene import PASSWORD, Wire, assert_equal, fill, new_user, small  # noqa: E402

UNITS = ["imapferry-proxy.service", "imapferry-proxy.socket", "imapferry-proxy@a.service", "imapferry-proxy@b.service",
         "imapferry-migrator.service"]
# What every package changes, or systemd by itself; and the users, who stay.
PASSED_OVER = ("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/mnt", "/var/tmp", "/var/log", "/var/cache", "/var/lib/dpkg", "/var/lib/apt",
               "/var/lib/systemd", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")


def say(text):
    print(f"deb: {text}", flush=True)


def run(*command, check=True):
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    assert not check or said.returncode == 0, f"{command}: {said.returncode} {said.stdout} {said.stderr}"
    return said.stdout + said.stderr


def is_active(unit):
    return run("systemctl", "is-active", unit, check=False).strip()


def snapshot():
    """{path: (mode, owner, size, target)}"""
    found = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [x for x in folders if os.path.join(folder, x) not in PASSED_OVER and not os.path.ismount(os.path.join(folder, x))]
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            if path.rstrip("-") not in PASSED_OVER:
                s = os.lstat(path)
                found[path] = (s.st_mode, s.st_uid, s.st_gid, None if name in folders else s.st_size)
    return found


def owned_by_our_users():
    uids = {pwd.getpwnam(n).pw_uid for n in ("imapferry", "imapferry-migrator")}
    gids = {grp.getgrnam(n).gr_gid for n in ("imapferry", "imapferry-migrator")}
    return [path for path, (_, uid, gid, _) in snapshot().items() if uid in uids or gid in gids]


def mode_of(path):
    s = os.stat(path)
    return f"{s.st_mode & 0o7777:o} {pwd.getpwuid(s.st_uid).pw_name}:{grp.getgrgid(s.st_gid).gr_name}"


def is_installed_and_starts_nothing(package):
    run("dpkg", "-i", package)
    for name in ("imapferry", "imapferry-migrator"):
        entry = pwd.getpwnam(name)
        assert entry.pw_shell.endswith("/nologin") and entry.pw_uid < 1000, entry
    assert mode_of("/etc/imapferry") == "750 root:imapferry"
    assert mode_of("/var/lib/imapferry") == "700 imapferry-migrator:imapferry-migrator"
    for unit in UNITS:
        assert run("systemctl", "is-enabled", unit, check=False).strip() == "disabled", unit
        assert is_active(unit) == "inactive", unit
    say("installed: nothing is enabled, nothing runs")


class Site:
    """Two Dovecots and a Redis of the test's own, and the configuration where the package looks for it."""

    def __init__(self, stack):
        self.old = dovecot.Dovecot("old", separator=".", prefix="INBOX.")
        stack.callback(self.old.close)
        net.wait_next_second()
        self.new = dovecot.Dovecot("new")
        stack.callback(self.new.close)
        self.redis = redisd.Redis(port=net.free_port())
        stack.callback(self.redis.close)
        self.authority = certs.Authority(net.temp_folder("ca"))
        self.configure()

    def configure(self):
        cert, key = self.authority.issue("localhost")
        self.put("cert.pem", open(cert, encoding="ascii").read(), "imapferry")
        self.put("key.pem", open(key, encoding="ascii").read(), "imapferry")
        self.put("master.secret", dovecot.MASTER_PASSWORD + "\n", "imapferry-migrator")
        master = {"master_user": dovecot.MASTER_USER, "master_password_file": "/etc/imapferry/master.secret"}
        self.put("imapferry.conf", "".join([
            section_text("redis", {"url": self.redis.url}),
            section_text('backend "old"', {"address": self.old.url("imap"), **master}),
            section_text('backend "new"', {"address": self.new.url("imap"), **master}),
            section_text("proxy", {"listen": ["imaps://[::]:993", "imap://[::]:143"], "tls_cert": "/etc/imapferry/cert.pem",
                                   "tls_key": "/etc/imapferry/key.pem", "user": "imapferry", "drain_time": "2s",
                                   "upgrade_socket": "/run/imapferry/upgrade"}),
            section_text("migrator", {"user": "imapferry-migrator"}),
            section_text("migration", {"source": "old", "target": "new", "trigger": "manual"})]), "imapferry")

    @staticmethod
    def put(name, text, group):
        path = f"/etc/imapferry/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o640)


def moves_an_account(site):
    for program in ("imapferry-proxy", "imapferry-migrator"):
        run(f"/usr/sbin/{program}", "--check-conf")
    run("imapferryctl", "init")
    run("systemctl", "enable", "--now", "imapferry-proxy@a.service", "imapferry-migrator.service")
    user = new_user()
    fill(site.old, user, small(messages=20))
    run("imapferryctl", "migrate", user, "--wait")
    assert_equal(site.old, site.new, user, 20)
    with Wire("imaps://127.0.0.1:993", ca=site.authority.ca) as wire:
        wire.until(b"* OK")
        assert wire.command(b"a", b'LOGIN %s "%s"' % (user.encode(), PASSWORD.encode()))[-1].startswith(b"a OK")
    run("systemctl", "reload", "imapferry-proxy@a.service", "imapferry-migrator.service")
    for unit in ("imapferry-proxy@a.service", "imapferry-migrator.service"):
        log = run("journalctl", "--no-pager", "-o", "cat", "-u", unit)
        assert "event=sandbox calls=listed files=" in log and "event=reloaded" in log, log
        assert "level=error" not in log and "sandbox_" not in log, log
    say("an account was moved by the units; both are shut by systemd, and shut themselves")


def program_of(unit):
    pid = run("systemctl", "show", "-p", "MainPID", "--value", unit).strip()
    return os.readlink(f"/proc/{pid}/exe")


def is_upgraded(package, before, after):
    """Under load: by another instance, or by the one that is restarted."""
    with Load(143) as load:
        load.more(20)
        said = run("dpkg", "-i", package)
        load.more(20)
        if before != after:
            net.wait_until(f"{before} ends", lambda: is_active(before) == "inactive", timeout=60)
        load.more(20)
    load.check()
    for unit in (after, "imapferry-migrator.service"):
        assert is_active(unit) == "active" and "deleted" not in program_of(unit), (unit, program_of(unit), said)
    assert run("imapferryctl", "status")
    say(f"upgraded from {before} to {after}: {load.signed_in} signed in, {load.told_bye} were told to come again, nobody was refused")


def is_upgraded_behind_sockets(package):
    run("systemctl", "disable", "--now", "imapferry-proxy@a.service", "imapferry-proxy@b.service")
    run("systemctl", "enable", "imapferry-proxy.socket", "imapferry-proxy.service")
    run("systemctl", "start", "imapferry-proxy.socket", "imapferry-proxy.service")
    is_upgraded(package, "imapferry-proxy.service", "imapferry-proxy.service")


def is_removed_and_purged():
    run("systemctl", "enable", "imapferry-proxy@a.service")
    run("dpkg", "-r", "imapferry")
    for unit in UNITS:
        assert is_active(unit) != "active", unit
    assert os.path.exists("/etc/imapferry/imapferry.conf") and os.path.exists("/var/lib/imapferry/flips")
    run("dpkg", "-P", "imapferry")
    assert not owned_by_our_users()
    say("removed: nothing runs, configuration and journal are there; purged: nothing of the users is there")


def main():
    first, *following = sys.argv[1:]
    before = snapshot()
    with contextlib.ExitStack() as stack:
        is_installed_and_starts_nothing(first)
        run("sh", "-c", f"cd {ROOT} && conf/debian/tests/smoke")
        say("autopkgtest: passed")
        site = Site(stack)
        moves_an_account(site)
        is_upgraded(following[0], "imapferry-proxy@a.service", "imapferry-proxy@b.service")
        is_upgraded(following[1], "imapferry-proxy@b.service", "imapferry-proxy@a.service")
        is_upgraded_behind_sockets(following[0])
        is_removed_and_purged()
    after = snapshot()
    changed = {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not changed, f"left behind or changed: {changed}"
    say("nothing is left, nothing is changed")


if __name__ == "__main__":
    main()
