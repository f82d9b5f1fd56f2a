"""imapferry between two servers that take mail by LMTP, for tests of who delivers to them: Redis, a proxy and a migrator, and accounts that
begin on the old server.

    with Delivery(old, new, {"socketmap": {"listen": ["inet://127.0.0.1:0"]}}) as world:
        user = world.moved(world.user())
        assert subjects(world.new, user)["label"] == 1
"""
import collections
import re

import pytest

from . import mail, net
from .ferry import Ferry, backend
from .lmtp import letter
from .redisd import Redis
from .scene import new_user

SETTINGS = {
    "delivery": {"domains": ["example.org"]},
    "migration": {"trigger": "manual", "late_watch": "10m"},
}


class Delivery:
    """Closes both servers, too. settings: sections beside those that all have."""

    def __init__(self, old, new, settings):
        self.old, self.new = old, new
        self.redis = Redis(port=net.free_port())
        sides = {name: backend(server, "imap", delivery=f"lmtp:inet:127.0.0.1:{server.port['lmtp']}")
                 for name, server in (("old", old), ("new", new))}
        self.ferry = Ferry(self.redis, sides, settings={**SETTINGS, **settings})
        self.ferry.init()
        self.proxy = self.ferry.proxy()
        self.ferry.migrator()

    # ---- accounts

    def user(self):
        """A new one with some mail on the old server, by which it is no other account."""
        user = new_user("mail")
        m = mail.connect(self.old, user, "secret")
        for label in before(user):
            m.append("INBOX", "", None, letter(label))
        m.logout()
        return user

    def moves(self, user):
        assert self.ferry.ctl("migrate", user, "--now")[0] == 0

    def moved(self, user):
        """It has been switched over; its name."""
        self.moves(user)
        self.ferry.wait_state(user, "flipped")
        return user

    # ---- the end

    def close(self):
        try:
            self.ferry.close()
        finally:
            self.redis.close()
            self.old.close()
            self.new.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fixture_world(make):
    """For a module: its fixture `world`, what make() gives, closed at the end."""
    @pytest.fixture(name="world", scope="module")
    def fixture():
        with make() as made:
            yield made
    return fixture


def door(proxy, but=None):
    """Where it listens by inet://, at another address than `but`."""
    other = rf"(?!{re.escape(but)}\b)" if but else ""
    return proxy.wait(rf'listening on ({other}inet://[^"\s]+)').group(1)


def before(user):
    """The labels of what an account has from its beginning on."""
    return [f"{user}-{i}" for i in range(5)]


def subjects(server, user):
    """How often each message is there, in all mailboxes."""
    m = mail.connect(server, user, "secret")
    found = collections.Counter()
    for row in m.list()[1]:
        name = re.search(rb' "?([^" ]+)"?$', row).group(1).decode()
        status, count = m.select(f'"{name}"', readonly=True)
        if status == "OK" and count != [b"0"]:
            rows = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            found.update(re.sub(rb"(?i)subject: *", b"", x[1]).strip().decode("latin-1") for x in rows if isinstance(x, tuple))
    m.logout()
    return found
