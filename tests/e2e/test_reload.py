"""SIGHUP: what a running proxy and a running migrator take of files that were changed, and what they leave."""
import os
import shutil
import ssl

import pytest

from harness import net
from harness.scene import Wire, change


def shown(daemon):
    """The certificate that a client is shown."""
    host, port = daemon.addresses[0].split("/")[-1].rsplit(":", 1)
    return ssl.get_server_certificate((host, int(port)))


def copy_pair(pair, folder):
    for source, name in zip(pair, ("live.pem", "live.key")):
        shutil.copy(source, os.path.join(folder, name))
    return tuple(os.path.join(folder, name) for name in ("live.pem", "live.key"))


def test_a_renewed_certificate_is_shown_by_all_threads(tls_site, authority):
    first, second = authority.issue("first"), authority.issue("second")
    live = copy_pair(first, tls_site.folder)
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"],
                       proxy={"threads": 2, "tls_cert": live[0], "tls_key": live[1], "login_tries": 3})
    path = os.path.join(tls_site.folder, proxy.label + ".conf")
    old = shown(proxy)
    open_session = Wire(proxy.addresses[0], ca=authority.ca)
    open_session.read_line()

    # An error, here a key that belongs to another certificate: all stays as it was, the number too.
    shutil.copy(second[0], live[0])
    change(path, "login_tries = 3", "login_tries = 1")
    since = proxy.reload("reload_refused")
    proxy.wait(r'event=reload_refused error=.*live\.key.*effect="all stays as it was"', since=since)
    assert shown(proxy) == old
    change(path, "login_tries = 1", "login_tries = many")
    since = proxy.reload("reload_refused")
    proxy.wait(r"event=reload_refused error=.*\.conf:\d+: proxy: login_tries: ", since=since)

    # The pair, the number, and what has to wait for a restart.
    shutil.copy(second[1], live[1])
    change(path, "login_tries = many", "login_tries = 1")
    change(path, 'lease_long = "2s"', 'lease_long = "3s"')
    since = proxy.reload("reloaded")
    proxy.wait(r"event=option_reloaded section=proxy name=- option=login_tries", since=since)
    proxy.wait(r"event=option_needs_restart section=proxy name=- option=lease_long", since=since)
    net.wait_until("the new certificate", lambda: shown(proxy) != old)
    net.wait_until("all threads show it", lambda: old not in [shown(proxy) for _ in range(12)])
    for wire in [open_session] + [Wire(proxy.addresses[0], ca=authority.ca) for _ in range(6)]:
        if wire is not open_session:
            wire.read_line()
        assert wire.command(b"a", b"LOGIN nobody wrong")[-1].startswith(b"a NO")
        assert wire.read_line().startswith(b"* BYE")  # login_tries
    proxy.stop()


def test_an_expired_certificate_does_not_replace_a_good_one(tls_site, authority):
    """A renewal that went wrong costs nobody the connection; a start takes what there is, and says so."""
    good, expired = authority.issue("good"), authority.issue("late", expired=True)
    live = copy_pair(good, tls_site.folder)
    pair = {"tls_cert": live[0], "tls_key": live[1]}
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy=dict(pair, login_tries=3))
    before = shown(proxy)
    copy_pair(expired, tls_site.folder)
    change(os.path.join(tls_site.folder, proxy.label + ".conf"), "login_tries = 3", "login_tries = 2")
    since = proxy.reload("reload_refused")
    proxy.wait(r"event=reload_refused error=.*tls_cert: .*live\.pem: the certificate, .* has expired", since=since)
    assert not proxy.find("event=certificate_expired", since) and shown(proxy) == before
    proxy.stop()
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy=pair)
    proxy.wait(r"level=error event=certificate_expired file=.*live\.pem")
    # Nothing can get worse: another expired one is taken, and then the good one.
    since = proxy.reload("reloaded")
    proxy.wait(r"event=certificate_expired", since=since)
    copy_pair(good, tls_site.folder)
    proxy.reload("reloaded")
    net.wait_until("the good certificate", lambda: shown(proxy) == before)
    proxy.stop()


def test_a_certificate_that_ends_soon_is_a_warning(tls_site, authority):
    soon = authority.issue("soon", days=13)
    proxy = tls_site.proxy(listen=["imaps://127.0.0.1:0"], proxy={"tls_cert": soon[0], "tls_key": soon[1]})
    proxy.wait(r"level=warn event=certificate_expires file=.*soon.* at=\d{4}-\d\d-\d\dT.*Z days=1[23] todo=")
    proxy.stop()


def test_a_migrator_takes_numbers_and_secrets(tls_site):
    migrator = tls_site.migrator()
    path = os.path.join(tls_site.folder, migrator.label + ".conf")
    change(path, 'retry_min = "300ms"', 'retry_min = "soon"')
    since = migrator.reload("reload_refused")
    migrator.wait(r"error=.*\.conf:\d+: migrator: retry_min: ", since=since)
    change(path, 'retry_min = "soon"', 'retry_min = "400ms"')
    change(path, 'job_lease = "1500ms"', 'job_lease = "1600ms"')
    since = migrator.reload("reloaded")
    migrator.wait(r"event=option_reloaded section=migrator name=- option=retry_min", since=since)
    migrator.wait(r"event=option_needs_restart section=migrator name=- option=job_lease", since=since)
    migrator.stop()
