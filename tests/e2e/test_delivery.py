"""Mail that a real Postfix delivers while accounts move: it asks a proxy, and Dovecot takes it by LMTP on both sides. What is sent
is there once in the end, on the server that the route names, and nothing comes back."""
import collections
import itertools
import re
import smtplib
import threading
import time

import pytest

from harness import dovecot, net
from harness.delivery import Delivery, before, door, subjects
from harness.lmtp import letter
from harness.postfix import Postfix, can_run

pytestmark = pytest.mark.skipif(not can_run(), reason="Postfix' master is root's alone")

class World(Delivery):
    """With a Postfix that asks."""

    def __init__(self, cert):
        super().__init__(dovecot.Dovecot("old", separator=".", prefix="INBOX.", cert=cert, lmtp=True),
                         dovecot.Dovecot("new", mail="mdbox", cert=cert, lmtp=True), {"socketmap": {"listen": ["inet://127.0.0.1:0"]}})
        self.door = door(self.proxy)
        self.mta = Postfix(self.door)

    def send(self, to, label):
        self.mta.send(to, letter(label))

    def ports(self, user):
        """Which servers Postfix gave the mail of a recipient, in their order."""
        names = {str(self.old.port["lmtp"]): "old", str(self.new.port["lmtp"]): "new"}
        return [names.get(port, port) for port, status, _ in self.mta.deliveries(user) if status == "sent"]

    def close(self):
        try:
            self.mta.close()
        finally:
            super().close()


@pytest.fixture(scope="module")
def world(cert):
    with World(cert) as made:
        yield made


def all_there(world, user, labels, timeout=40):
    """Each once on the new server: at once, or brought over by the late watch."""
    try:
        net.wait_until("all mail on the new server", lambda: set(labels) <= set(subjects(world.new, user)), timeout)
    except TimeoutError:
        print(set(labels) - set(subjects(world.new, user)), world.mta.log()[-3000:])
        raise
    twice = {label: n for label, n in subjects(world.new, user).items() if n != 1}
    assert not twice, twice


def test_it_is_delivered_where_the_route_says(world):
    user = world.user()
    world.send(user, "first")
    world.mta.wait_empty()
    assert world.ports(user) == ["old"] and subjects(world.old, user)["first"] == 1
    world.moved(user)
    other = world.user()
    world.send(other, "to another")  # and Postfix' last answer is about somebody else from now on
    world.mta.wait_empty()
    shouted = user.replace("mail", "MAIL")
    world.mta.send([shouted, user.replace("@", "+lists@")], letter("second"))
    world.mta.wait_empty()
    assert world.ports(shouted) + world.ports(user.replace("@", "+lists@")) == ["new", "new"]
    found = subjects(world.new, user)
    assert found.pop("second") == 2, "two recipients"
    assert found == {**{label: 1 for label in before(user)}, "first": 1}
    assert world.ports(other) == ["old"]


def test_nobody_elses_mail_is_taken(world):
    """Mail for another domain goes where it went before."""
    world.send("somebody@elsewhere.example", "elsewhere")
    world.mta.wait_log(r"to=<somebody@elsewhere.example>.*status=sent \(it does not leave this machine\)")


def test_postfix_keeps_its_last_answer_and_the_late_watch_brings_the_mail(world):
    user = world.user()
    began = time.monotonic()
    world.send(user, "one")
    world.mta.wait_empty()
    world.moved(user)
    world.send(user, "two")
    world.mta.wait_empty()
    quick = time.monotonic() - began < 25
    assert world.ports(user) == ["old", "old" if quick else "new"], "it asks once in 30 s for one address"
    all_there(world, user, ["one", "two"])


def test_accounts_move_under_load(world):
    users = [world.user() for _ in range(6)]
    sent, stopped, problems = collections.defaultdict(list), threading.Event(), []

    def deliver(nth):
        try:
            with world.mta.connect() as s:
                for i in itertools.count():
                    if stopped.wait(0.05):
                        return
                    user = users[(i + nth) % len(users)]
                    label = f"load-{nth}-{i}"
                    s.sendmail("somebody@elsewhere.example", user, letter(label))
                    sent[user].append(label)
        except Exception as e:  # pylint: disable=broad-except
            problems.append(e)

    senders = [threading.Thread(target=deliver, args=(nth,)) for nth in range(2)]
    for t in senders:
        t.start()
    try:
        for user in users:
            world.moves(user)
        for user in users:
            world.ferry.wait_state(user, "flipped", timeout=90)
        moved = len(sent[users[0]])
        net.wait_until("mail behind the moves", lambda: problems or len(sent[users[0]]) > moved + 10, timeout=60)
    finally:
        stopped.set()
        for t in senders:
            t.join()
    assert not problems, problems
    world.mta.wait_empty(60)
    for user in users:
        all_there(world, user, before(user) + sent[user])
        assert world.ports(user)[-1] == "new"
    assert "status=bounced" not in world.mta.log(), "nothing comes back"


def test_a_freeze_with_the_answer_later(world):
    """It waits at Postfix, and nothing reaches the old server meanwhile."""
    user = world.user()
    later = world.ferry.proxy(socketmap={"frozen_answer": "temp"})
    client = world.redis.client()
    generation = client.hget("imapferry:store", "generation")
    with Postfix(door(later)) as mta:
        client.hset(f"imapferry:route:{user}", mapping={"backend": "old", "state": "freezing", "epoch": 2, "source": "old", "target": "new",
                                                        "generation": generation, "deadline": 99999999999999})
        mta.send(user, letter("waits"))
        mta.wait_log(r"being moved\n(.*\n)*.*status=deferred")
        assert mta.queued() == 1 and not subjects(world.old, user)["waits"]
        client.hset(f"imapferry:route:{user}", mapping={"backend": "new", "state": "settled", "epoch": 3, "deadline": 0})
        mta.forget()
        mta.wait_empty()
        assert subjects(world.new, user)["waits"] == 1 and not subjects(world.old, user)["waits"]


def test_without_redis_mail_waits_and_comes_later(world):
    user = world.moved(world.user())
    others = [world.user() for _ in range(3)]
    world.redis.stop()
    for i, to in enumerate([user, *others]):
        world.send(to, f"without {i}")
    world.mta.wait_log(rf"to=<{re.escape(others[-1])}>.*status=deferred")
    world.proxy.wait(r"event=delivery_delayed")
    assert world.mta.queued() == 4
    with Postfix(world.door, careful=True) as mta, pytest.raises(smtplib.SMTPRecipientsRefused, match="451"):
        mta.send(user, letter("to be sent again"))
    world.redis.start()
    world.mta.forget()
    world.mta.wait_empty(60)
    assert world.ports(user) == ["new"] and [world.ports(x) for x in others] == [["old"]] * 3
    assert subjects(world.new, user)["without 0"] == 1
    for i, to in enumerate(others, 1):
        assert subjects(world.old, to)[f"without {i}"] == 1


def test_a_proxy_that_is_gone(world):
    """... and back: mail waits the same way. Another process may take the door over meanwhile."""
    user = world.moved(world.user())
    proxy = world.ferry.proxy()
    address = door(proxy)
    with Postfix(address) as mta:
        mta.send(user, letter("there"))
        mta.wait_empty()
        proxy.stop()
        mta.send(user.replace("@", "+x@"), letter("gone"))
        mta.wait_log(r"to=<\S+\+x@.*status=deferred")
        world.ferry.proxy(socketmap={"listen": [address]})
        mta.forget()
        mta.wait_empty(60)
    assert subjects(world.new, user)["gone"] == 1
