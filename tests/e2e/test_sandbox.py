"""What is left to daemons once they serve, seen from outside; the other tests show that it is all they need. (What is refused,
and that the resolver works, is in unit/test_sandbox.c.)"""
import os
import shutil
import socket

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import backend, standing
from harness.scene import Wire, connect, new_user


@pytest.fixture(name="site", scope="module")
def fixture_site(cert, authority):
    """By a name, so that the resolver is asked."""
    with FakeImap("old") as old, FakeImap("new", cert=cert) as new, \
            standing({"old": backend(old, "imap", host="localhost"), "new": backend(new, "imaps", authority.ca, host="localhost")},
                     cert) as ferry:
        yield ferry


def status(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def assert_shut(daemon, filters):
    for thread in os.listdir(f"/proc/{daemon.pid}/task"):
        s = status(daemon.pid, thread)
        assert (s["NoNewPrivs"], s["Seccomp"], s["Seccomp_filters"]) == ("1", "2" if filters else "0", str(filters)), s


def test_a_proxy_is_shut_and_works(site, authority):
    path = os.path.join(site.folder, "shut.sock")
    proxy = site.proxy(["imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0", f"imap+unix://{path}"],
                       proxy={"threads": 2, "upgrade_socket": os.path.join(site.folder, "shut")})
    proxy.wait(r"event=sandbox calls=listed files=listed uid=\d+ no_new_privs=yes")
    proxy.wait_count("event=sandbox", 1)
    with Wire(proxy.addresses[0], ca=authority.ca) as wire:
        wire.until(b"* OK")
        assert wire.login(new_user()).startswith(b"l1 OK")
        proxy.reload()
        assert wire.command(b"a", b"NOOP")[-1].startswith(b"a OK")
    with connect(proxy, 2) as wire:
        assert wire.login(new_user()).startswith(b"l1 OK")
    assert_shut(proxy, 2)
    proxy.stop()
    assert not os.path.exists(path) and not os.path.exists(os.path.join(site.folder, "shut"))


def test_a_name_that_is_none_is_an_answer(site):
    proxy = site.proxy(backends={"old": {"address": "imap://no-such-host.invalid"}})
    with connect(proxy) as wire:
        assert wire.login(new_user()).startswith(b"l1 NO [UNAVAILABLE]")
    proxy.stop()


def test_a_renewed_link_is_read_and_a_new_folder_is_not(site, authority, request):
    """As certbot does it: a link is made to lead to the next file of an archive."""
    top, elsewhere = net.temp_folder("certs"), net.temp_folder("elsewhere")
    request.addfinalizer(lambda: [net.remove_folder(folder) for folder in (top, elsewhere)])
    live, archive = (os.path.join(top, name) for name in ("live", "archive"))
    for folder in (live, archive):
        os.mkdir(folder)
    options = {}
    for n in ("1", "2"):
        for source, name in zip(authority.issue("renewed" + n), ("tls_cert", "tls_key")):
            shutil.copy(source, os.path.join(archive, f"{name}{n}.pem"))
    for name in ("tls_cert", "tls_key"):
        options[name] = os.path.join(live, name + ".pem")
        os.symlink(f"../archive/{name}1.pem", options[name])
    proxy = site.proxy(["imaps://127.0.0.1:0"], proxy=options)
    for name, link in options.items():
        os.symlink(f"../archive/{name}2.pem", link + ".new")
        os.rename(link + ".new", link)
    proxy.reload()
    path = os.path.join(site.folder, proxy.label + ".conf")
    shutil.copy(options["tls_key"], elsewhere)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(options["tls_key"], os.path.join(elsewhere, "tls_key.pem")))
    since = proxy.reload("reload_refused")
    proxy.wait(rf"tls_key: .*{elsewhere}/tls_key.pem.*: Permission denied", since=since)
    proxy.stop()


def test_a_reload_reads_no_certificate_that_nobody_is_shown(site):
    """Without a TLS listener it is in no folder of the start."""
    proxy = site.proxy()
    proxy.reload()
    proxy.stop()


def test_a_migrator_is_shut_but_for_hooks(site):
    migrator = site.migrator()
    migrator.wait("event=sandbox calls=listed files=listed")
    assert_shut(migrator, 2)
    migrator.stop()
    migrator = site.migrator(migration={"hook_flip": ["/bin/true"]})
    migrator.wait("event=sandbox calls=all_but_some files=all .* why=\"hooks are programs")
    assert_shut(migrator, 1)
    migrator.stop()


def test_it_can_be_left_out(site):
    proxy = site.proxy(proxy={"sandbox": False})
    proxy.wait('event=sandbox calls=all files=all .* why="sandbox = false"')
    assert_shut(proxy, 0)
    proxy.stop()


def test_an_assertion_still_ends_the_process(site):
    """abort() is none of the calls that are refused."""
    proxy = site.proxy()
    proxy.signal(6)
    assert proxy.process.wait(20) in (-6, 99)
    site.daemons.remove(proxy)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(proxy.addresses[0].rsplit(":", 1)[1])))
