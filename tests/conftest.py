"""Makes the harness importable, and gives the fixtures that tests share. Servers live as long as a test module."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import certs, dovecot, net, redisd  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def authority():
    folder = net.temp_folder("ca")
    yield certs.Authority(folder)
    net.remove_folder(folder)


@pytest.fixture(scope="session")
def cert(authority):
    """A good certificate for localhost and 127.0.0.1."""
    return authority.issue("server")


def pytest_runtest_logreport(report):
    """Says at once what failed and why, in a line: a run that is stopped early would take that along."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        why = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or str(report.longrepr)
        print(f"\nfailed now: {report.nodeid[:160]} ({report.when}): {why.strip().splitlines()[0][:200] if why.strip() else ''}",
              file=sys.__stderr__, flush=True)


# What works with the store itself is run on each kind of it that is installed.
STORES = ("test_redis", "test_redis_tls", "test_sentinel", "test_library", "test_scripts")


def pytest_generate_tests(metafunc):
    of_stores = metafunc.module.__name__.rpartition(".")[2] in STORES
    if of_stores and "redis_program" in metafunc.fixturenames and len(redisd.PROGRAMS) > 1:
        metafunc.parametrize("redis_program", redisd.PROGRAMS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def redis_program(request):
    """redis-server, or in a test of STORES valkey-server too."""
    return getattr(request, "param", "redis-server")


@pytest.fixture(scope="module")
def redis():
    """Redis of a module; a test that breaks it makes one of its own."""
    server = redisd.Redis(port=net.free_port())
    yield server
    server.close()


@pytest.fixture(scope="module")
def old(cert):
    """The old server: Maildir, separator ".", everything below INBOX."""
    with dovecot.Dovecot("old", separator=".", prefix="INBOX.", mail="maildir", cert=cert) as server:
        yield server


@pytest.fixture(scope="module")
def new(cert):
    """The new server: mdbox, separator "/", no prefix."""
    with dovecot.Dovecot("new", separator="/", prefix="", mail="mdbox", cert=cert) as server:
        yield server
