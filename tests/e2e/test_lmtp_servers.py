"""Mail by LMTP through the proxies to real servers, while accounts move from Dovecot to Cyrus and proxies are killed: a mail
server that tries again what it has no answer for gets each message to its account once."""
import collections
import itertools
import threading
import time

import pytest

from harness import cyrus, dovecot, net
from harness.daemon import program
from harness.delivery import Delivery, door, fixture_world, subjects
from harness.lmtp import Gone, Mta, letter
from harness.postfix import Postfix, can_run

SETTINGS = {"lmtp": {"listen": ["inet://127.0.0.1:0"]}}


world = fixture_world(lambda: Delivery(dovecot.Dovecot("old", mail="maildir", lmtp=True), cyrus.Cyrus("new", lmtp=True), SETTINGS))


class Sender:
    """Delivers as a mail server does: what got no answer or 4yz is sent again. twice: those where the last dot had no answer, which
    may be there twice."""

    def __init__(self, where):
        self._where, self._mta = where, None
        self.twice, self.sent = set(), collections.defaultdict(list)

    def _connection(self):
        if not self._mta:
            self._mta = Mta(self._where())
            self._mta.lhlo()
        return self._mta

    def _once(self, users, label):
        """Those who have to get it once more."""
        dot = False
        taken = users
        try:
            mta = self._connection()
            answers = mta.begin(*users)
            taken = [u for u, a in zip(users, answers) if a.startswith(b"250 ")]
            assert not [a for a in answers if a.startswith(b"5")], answers
            if not taken:
                mta.command(b"RSET")
                return users
            go = mta.command(b"DATA")
            if not go.startswith(b"354"):
                assert go.startswith(b"4"), go
                mta.command(b"RSET")
                return users
            message = letter(label, 2000)
            mta.send_raw(message)
            dot = True
            mta.send_raw(b".\r\n")
            left = [u for u in users if u not in taken]
            for user in list(taken):
                answer = mta.answer()
                assert answer[:1] in b"24", answer
                if answer[:1] == b"4":
                    left.append(user)
                    if answer.startswith(b"451 4.4.2 The server has not told"):
                        self.twice.add((user, label))
                taken.remove(user)
            return left
        except (OSError, Gone, AssertionError) as e:
            if isinstance(e, AssertionError) and str(e):
                raise
            self._mta = None
            if dot:
                self.twice |= {(u, label) for u in taken}
            return [u for u in users if u in taken]

    def deliver(self, users, label, timeout=60):
        end, left = time.monotonic() + timeout, list(users)
        for user in users:
            self.sent[user].append(label)
        while left:
            assert time.monotonic() < end, f"{label} for {left} in {timeout} s"
            left = self._once(left, label)
            if left:
                time.sleep(0.02)  # as a mail server waits before it tries again, but less


def all_once(world, sender, user):
    """Each message on the new server once; those in doubt at least once."""
    wanted = set(sender.sent[user])
    net.wait_until("all mail on the new server", lambda: wanted <= set(subjects(world.new, user)), 60)
    twice = {label for label, n in subjects(world.new, user).items() if n > 1}
    assert twice <= {label for who, label in sender.twice if who == user}, (twice, sender.twice)


def test_one_message_for_both_servers(world):
    here, there = world.user(), world.moved(world.user())
    sender = Sender(lambda: door(world.proxy))
    sender.deliver([here, there], "both")
    assert subjects(world.old, here)["both"] == 1 and subjects(world.new, there)["both"] == 1
    assert not sender.twice


def test_mail_while_accounts_move(world):
    users = [world.user() for _ in range(3)]
    sender, over = Sender(lambda: door(world.proxy)), threading.Event()
    failures = []

    def deliver():
        try:
            for i in itertools.count():
                if over.is_set():
                    return
                sender.deliver(users, f"load-{i}")
        except Exception as e:  # pylint: disable=broad-except
            failures.append(e)
    thread = threading.Thread(target=deliver)
    thread.start()
    for user in users:
        world.moves(user)
    for user in users:
        world.ferry.wait_state(user, "flipped", timeout=60)
    over.set()
    thread.join(60)
    assert not failures, failures
    sender.deliver(users, "last")
    for user in users:
        assert subjects(world.new, user)["last"] == 1
        all_once(world, sender, user)
    assert not sender.twice


# ---- a real mail server in front

class Front(Postfix):
    """Gives all mail to the proxies."""

    def __init__(self, port):
        self._lmtp = port
        super().__init__("inet://127.0.0.1:1")

    def _write(self, name, text):
        more = f"transport_maps =\nvirtual_transport = lmtp:inet:127.0.0.1:{self._lmtp}\n"
        super()._write(name, text + (more if name == "main.cf" else ""))


@pytest.mark.skipif(not can_run(), reason="Postfix' master is root's alone")
def test_postfix_delivers_while_accounts_move_and_a_proxy_is_killed(world):
    port, users, sent = net.free_port(), [world.user() for _ in range(2)], []
    listen = {"listen": [f"inet://127.0.0.1:{port}"]}
    proxy = world.ferry.proxy(lmtp=listen)
    with Front(port) as mta:
        def send(count):
            for _ in range(count):
                sent.append(f"postfix-{len(sent)}")
                mta.send(users, letter(sent[-1], 3000))
        send(5)
        world.moves(users[0])
        send(5)
        proxy.kill()
        send(5)
        world.ferry.proxy(lmtp=listen)
        world.moves(users[1])
        send(5)
        for user in users:
            world.ferry.wait_state(user, "flipped", timeout=60)
        send(2)
        mta.wait_empty(60)
        assert "status=bounced" not in mta.log()
        doubt = mta.log().count("message may be sent more than once")
    doubles = 0
    for user in users:
        net.wait_until("all mail on the new server", lambda u=user: set(sent) <= set(subjects(world.new, u)), 60)
        found = subjects(world.new, user)
        assert found[sent[-1]] == 1
        doubles += sum(found[x] - 1 for x in sent)
    assert doubles <= doubt * len(users), (doubles, doubt)


POINTS = ["lmtp.rcpt.sent", "lmtp.rcpt.answered", "lmtp.data.sent", "lmtp.data.answered", "lmtp.data.body", "lmtp.routes.sent",
          "lmtp.end.sent", "lmtp.end.given", "lmtp.end.answered"]


@pytest.mark.skipif("san" not in program("x"), reason="fault points are in SAN=1 alone")
@pytest.mark.parametrize("point", POINTS)
def test_a_proxy_is_killed_at_each_step(world, point):
    here, there = world.user(), world.user()
    world.ferry.ctl("flip", there, "--to", "new", "--force", "--reason", "test")
    world.ferry.wait_state(there, "flipped")
    proxies = [world.ferry.proxy(env={"IMAPFERRY_FAULT": f"{point}:1:kill"})]

    def where():
        """A mail server goes to the next proxy where one is gone."""
        if proxies[-1].process.poll() is not None:
            proxies.append(world.ferry.proxy())
        return door(proxies[-1])
    sender = Sender(where)
    sender.deliver([here, there], point)
    assert proxies[0].process.wait(20) == -9
    for server, user in ((world.old, here), (world.new, there)):
        count = subjects(server, user)[point]
        assert count == 1 or (count == 2 and (user, point) in sender.twice), (count, sender.twice)
    if point not in ("lmtp.end.sent", "lmtp.end.given", "lmtp.end.answered"):
        assert subjects(world.old, here)[point] == subjects(world.new, there)[point] == 1
    proxies[0].kill()
