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
