"""Exim and Dovecot in front, by the files of conf/ that are for them: an account's mail is delivered where it is, and waits where that can't be
told. (Postfix: test_delivery.py, test_lmtp_servers.py.)"""
import os
import re

import pytest

from harness import dovecot, dovecot_conf, net
from harness.delivery import Delivery, door, fixture_world, subjects
from harness.exim import CONF, Exim
from harness.lmtp import Mta, letter


class World(Delivery):
    """It is asked at `asked`, and takes mail at `taken`."""

    def __init__(self):
        self.taken = f"127.0.0.1:{net.free_port()}"
        super().__init__(dovecot.Dovecot("old", separator=".", prefix="INBOX.", lmtp=True), dovecot.Dovecot("new", mail="mdbox", lmtp=True),
                         {"socketmap": {"listen": ["inet://127.0.0.1:0"]}, "lmtp": {"listen": [f"inet://{self.taken}"]}})
        self.asked = door(self.proxy, but=f"inet://{self.taken}").removeprefix("inet://")


world = fixture_world(World)


# ---- Exim asks

@pytest.fixture(name="asking", scope="module")
def fixture_asking(world):
    with Exim("exim-delivery.conf", ("127.0.0.1:8026", world.asked), ("domains = example.org", "domains = example.org : strange.example")) as mta:
        yield mta


def test_exim_delivers_where_the_route_says(world, asking):
    here, there = world.user(), world.moved(world.user())
    for user, server in ((here, world.old), (there, world.new)):
        assert re.search(rf"router = imapferry, transport = imapferry_lmtp\n.*host 127.0.0.1 .*port={server.port['lmtp']}", asking.told(user))
    asking.send([here, there.upper(), there.replace("@", "+lists@")], letter("asked"))
    asking.wait_empty()
    assert subjects(world.old, here)["asked"] == 1 and subjects(world.new, there)["asked"] == 2, asking.log()
    assert not subjects(world.old, there)["asked"] and not subjects(world.new, here)["asked"]


def test_exim_goes_on_with_who_is_no_account(asking):
    """Of another domain, or of one that the proxy has not."""
    asking.send(["ann@elsewhere.example", "ann@strange.example"], letter("nobody's"))
    asking.wait_log(r"=> ann <ann@elsewhere.example> R=elsewhere")
    asking.wait_log(r"=> ann <ann@strange.example> R=elsewhere")


def test_exim_waits_for_redis(world, asking):
    user = world.moved(world.user())
    world.redis.stop()
    asking.send(user, letter("later"))
    asking.wait_log(rf"== {re.escape(user)} R=imapferry_later defer \(-1\): imapferry: \d+:TEMP ")
    world.redis.start()
    asking.wait_empty()
    assert subjects(world.new, user)["later"] == 1 and not subjects(world.old, user)["later"]


def test_exim_waits_for_a_proxy(world):
    user = world.moved(world.user())
    proxy = world.ferry.proxy(lmtp={"listen": []})
    address = door(proxy).removeprefix("inet://")
    proxy.stop()
    with Exim("exim-delivery.conf", ("127.0.0.1:8026", address)) as mta:
        mta.send(user, letter("gone"))
        mta.wait_log(rf"== {re.escape(user)} R=imapferry defer \(-1\): .* failed to connect")
        world.ferry.proxy(socketmap={"listen": [f"inet://{address}"]}, lmtp={"listen": []})
        mta.wait_empty()
    assert subjects(world.new, user)["gone"] == 1


# ---- all is handed over by LMTP

def test_exim_hands_all_over(world):
    here, there = world.user(), world.moved(world.user())
    port = world.taken.rpartition(":")[2]
    with Exim("exim-lmtp.conf", ("127.0.0.1::24", f"127.0.0.1::{port}")) as mta:
        mta.send([here, there, "ann@elsewhere.example"], letter("handed"))
        mta.wait_empty()
        world.redis.stop()
        mta.send([here, there], letter("handed later"))
        mta.wait_log(rf"== {re.escape(here)} R=imapferry T=imapferry_lmtp defer .*451 4\.3\.")
        world.redis.start()
        mta.wait_empty()
        assert "R=elsewhere" in mta.log()
    for label in ("handed", "handed later"):
        assert subjects(world.old, here)[label] == 1 and subjects(world.new, there)[label] == 1
        assert not subjects(world.old, there)[label] and not subjects(world.new, here)[label]


def test_dovecot_hands_all_over(world):
    """It knows nobody by itself."""
    here, there = world.user(), world.moved(world.user())
    with open(os.path.join(CONF, f"dovecot-{'2.4' if dovecot_conf.is_new() else '2.3'}-lmtp.conf"), encoding="utf-8") as f:
        text, port = f.read(), world.taken.rpartition(":")[2]
    text, count = re.subn(r"(?m)^(  .*port ?= ?)24\b", rf"\g<1>{port}", text)
    assert count == 1
    with dovecot.Dovecot("front", lmtp=True, anybody=False, extra=text) as front, Mta(f"inet://127.0.0.1:{front.port['lmtp']}") as mta:
        mta.lhlo()
        answers = mta.deliver([here, there, there.replace("@", "+lists@")], letter("passed on"))
        assert [a[:3] for a in answers] == [b"250"] * 3, answers
        world.redis.stop()
        assert mta.begin(there)[0].startswith(b"451 ")
        world.redis.start()
        assert not os.path.exists(front.home(here)) and not os.path.exists(front.home(there))
    assert subjects(world.old, here)["passed on"] == 1 and subjects(world.new, there)["passed on"] == 2
