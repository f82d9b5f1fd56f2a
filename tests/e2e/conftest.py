"""A fresh Redis and a fresh imapferry for each test; the two Dovecots are those of the module."""
import os

import pytest

from fakes.fake_imap import FakeImap
from harness import fresh, net, redisd
from harness.ferry import Ferry, backend, standing
from harness.relay import Relay
from harness.site import Site
from harness.viewed import Account

from long_cases import is_long, place


@pytest.hookimpl(trylast=True)  # behind the order that fixtures want
def pytest_collection_modifyitems(config, items):
    """LONG=1 runs what long_cases.py names and nothing else; without it that is left out, but where a case is named by hand."""
    items.sort(key=lambda x: place(x.path.stem))
    if any("[" in x for x in config.args):
        return
    wanted = bool(os.environ.get("LONG"))
    left = [x for x in items if x.path.parent.name == "e2e"
            and is_long(x.path.stem, x.originalname, x.name.partition("[")[2][:-1]) != wanted]
    items[:] = [x for x in items if x not in left]
    config.hook.pytest_deselected(items=left)


@pytest.fixture
def redis(redis_program):
    server = redisd.Redis(port=net.free_port(), program=redis_program)
    yield server
    server.close()


@pytest.fixture
def make_ferry(request, redis, cert):
    """make_ferry(backends, settings=..., init=True): closed, and judged, at the end of the test. What a migration was
    set off for is then, on the old server, what it was before; a test that writes there itself says so by
    pytest.mark.writes_source."""
    made = []

    def make(backends, settings=None, init=True, store=None):
        ferry = Ferry(store or redis, backends, cert, settings)
        ferry.source_may_change = bool(request.node.get_closest_marker("writes_source"))
        made.append(ferry)
        if init:
            ferry.init() if store else fresh.init(ferry)
        return ferry
    yield make
    failures = []
    for ferry in made:
        try:
            ferry.close()
        except AssertionError as e:
            failures.append(e)
    if failures:
        raise failures[0]


@pytest.fixture
def backends(old, new, authority):
    """Both servers by IMAPS, with their master users."""
    return {"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)}


@pytest.fixture
def ferry(make_ferry, backends):
    return make_ferry(backends)


@pytest.fixture(scope="module")
def site():
    """One for a module: two fake servers with the same names on both."""
    with Site(FakeImap("old"), FakeImap("new")) as s:
        yield s


@pytest.fixture(name="account")
def make_account(make_ferry, old, new, authority):
    """account(label, ...): an Account of harness/viewed.py, between the two Dovecots unless others are given."""
    made = []

    def make(label, **options):
        made.append(Account(make_ferry, options.pop("old", old), options.pop("new", new), authority, label, **options))
        return made[-1]
    yield make
    for account in made:
        account.wires.close()


@pytest.fixture(scope="module")
def server():
    """The old server of a module's tests before and at the login: a fake one."""
    with FakeImap("old") as made:
        yield made


@pytest.fixture
def fake(server):
    """The same, which knows of no login yet, so it shows whether anything of what a test sends got there; it behaves well again
    when the test is over."""
    server.logins.clear()
    server.lines.clear()
    yield server
    server.behave()


@pytest.fixture(scope="module")
def fake_site(server, cert):
    """imapferry in front of `server` and of another fake one, both in clear and without a master."""
    with FakeImap("new") as new, standing({"old": backend(server, "imap", master=False), "new": backend(new, "imap", master=False)},
                                          cert) as ferry:
        yield ferry


@pytest.fixture(scope="module")
def tls_site(authority, cert):
    """imapferry in front of a fake server in clear and of one by TLS."""
    with FakeImap("old") as old, FakeImap("new", cert=cert) as new, \
            standing({"old": backend(old, "imap"), "new": backend(new, "imaps", authority.ca)}, cert) as ferry:
        yield ferry


@pytest.fixture
def relayed(ferry, old):
    """(proxy by IMAP and IMAPS, relay): the old server of the module behind a relay."""
    relay = Relay((net.HOST, old.port["imap"]))
    made = ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"), backends={"old": backend(relay, scheme="imap")})
    yield made, relay
    relay.heal()
    relay.resume()
    made.stop()
    relay.close()
