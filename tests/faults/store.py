"""The Redis of a world, or its several, or its cluster; and each daemon's own way to it, which can fail alone."""
import signal
import time

import redis as redis_client

from harness import cluster, net, redisd, sentinel, stores
from harness.relay import Relay

HOW = ("kill", "stop", "ask")  # what makes Sentinel, or the cluster, choose another master
MOVE = "move"  # a slot of the cluster goes to another master, with a break in the middle
PREFIX = "imapferry"


class Store:
    """redis: for a Ferry."""

    def of(self, _user):
        """A client of the store that has the account, and the prefix of its keys there. RedisError: not now."""
        return self.redis.client(), PREFIX

    def all(self):
        return [self.of("")]

    def nth(self, n):
        """From 0."""
        return self.all()[n]

    def place(self, _user):
        """Which of the groups of relays of a way leads to it."""
        return 0

    def restore(self):
        self.redis.restore()


class Alone(Store):
    """One Redis. A way to it is one relay."""

    def __init__(self):
        self.redis = redisd.Redis(port=net.free_port())

    def way(self):
        relay = Relay(self.redis.address)
        return Way(relay.redis_url, [[relay]])

    def close(self):
        self.redis.close()


class _Followed(sentinel.Group):
    """On a busy machine Sentinel also finds a master silent that nobody has touched: who reads asks it each time."""

    def client(self, decode=True):
        try:
            self.master = self.named()
        except redis_client.RedisError:  # Sentinel itself is slow
            pass
        return super().client(decode)


class Group(Store):
    """Three under a real Sentinel. A way has a relay to each of them, and one to the Sentinel, in whose answers it puts
    the relay's port for the master's."""

    def __init__(self):
        self.redis = _Followed(failover_timeout=1000)

    def way(self):
        relays = {s.port: Relay((net.HOST, s.port)) for s in self.redis.servers}

        def edit(direction, data):
            if direction == "down":
                for port, relay in relays.items():
                    data = data.replace(b"$5\r\n%d\r\n" % port, b"$5\r\n%d\r\n" % relay.number)
            return data
        asked = Relay((net.HOST, self.redis.port), edit)
        return Way(self.redis.url_of([asked.number]), [[asked, *relays.values()]])

    def fail_over(self, how, _user):
        """Until there is another master that writes. The old one may go on for a moment, where it was only stopped."""
        self.redis.client()
        old = self.redis.master
        if how == "kill":
            old.kill()
        elif how == "stop":
            old.signal(signal.SIGSTOP)
        else:
            self.redis.ask("FAILOVER", sentinel.NAME)
        self.redis.wait_failover(old)
        old.signal(signal.SIGCONT)

    def close(self):
        self.redis.close()


class Several(Store):
    """Independent ones, each Alone or a Group."""

    class Redis:
        def __init__(self, parts):
            self.url = [p.redis.url for p in parts]

    def __init__(self, make, n=3):
        self.parts, self._failing = [], None
        try:
            for _ in range(n):
                self.parts.append(make())
        except BaseException:
            self.close()
            raise
        self.redis = self.Redis(self.parts)

    def place(self, user):
        return stores.place(user, len(self.parts))

    def of(self, user):
        return self.parts[self.place(user)].of(user)

    def all(self):
        return [p.of("") for p in self.parts]

    def way(self):
        ways = [p.way() for p in self.parts]
        return Way([w.url for w in ways], [group for w in ways for group in w.groups])

    def fail_over(self, how, user):
        self._failing = self.parts[self.place(user)]
        self._failing.fail_over(how, user)

    def restore(self):
        self._failing.restore()

    def close(self):
        for p in self.parts:
            p.close()


class Cluster(Store):
    """Six nodes. A way has a relay to each, which puts relays' ports for those of nodes wherever one is told of."""

    def __init__(self):
        self.redis = cluster.Cluster()

    def _nth(self, user):
        return stores.place(user, self.redis.partitions) + 1

    def _of_partition(self, nth):
        try:
            return self.redis.node_of(nth, timeout=1).client(), self.redis.prefix(nth)
        except TimeoutError as e:
            raise redis_client.ConnectionError(str(e)) from None

    def of(self, user):
        return self._of_partition(self._nth(user))

    def all(self):
        return [self.nth(n) for n in range(self.redis.partitions)]

    def nth(self, n):
        return self._of_partition(n + 1)

    def place(self, user):
        return self.redis.nodes.index(self.redis.node_of(self._nth(user)))

    def way(self):
        relays = {}

        def edit(direction, data):
            if direction == "down":
                for port, relay in relays.items():
                    data = data.replace(b"%s:%d" % (net.HOST.encode(), port), b"%s:%d" % (net.HOST.encode(), relay.number))
            return data
        relays.update({n.port: Relay((net.HOST, n.port), edit) for n in self.redis.nodes})
        assert len({len(str(n)) for port, r in relays.items() for n in (port, r.number)}) == 1, "lengths are told before texts"
        hosts = ",".join(f"{net.HOST}:{r.number}" for r in list(relays.values())[:3])
        url = f"cluster://:p%40ss%2Fword@{hosts}?partitions={self.redis.partitions}"
        return Way(url, [[r] for r in relays.values()])

    def fail_over(self, how, user):
        nth = self._nth(user)
        node = self.redis.node_of(nth)
        if how == MOVE:
            self._move(nth)
            return
        if how == "ask":
            self.redis.fail_over(node)
            return
        node.kill() if how == "kill" else node.signal(signal.SIGSTOP)
        try:
            others = [n for n in self.redis.nodes if n is not node and n.is_running()]
            net.wait_until("another master", lambda: any(self.redis.is_here(n, nth) for n in others), 30)
        finally:
            node.signal(signal.SIGCONT) if how == "stop" else node.start()

    def _move(self, nth):
        to = self.redis.other(nth)
        slot, here = self.redis.begin_move(nth, to)
        self.redis.move_keys(slot, here, to, most=10)
        time.sleep(0.3)  # the break: the partition is out of reach meanwhile
        self.redis.move_keys(slot, here, to)
        self.redis.end_move(slot, here, to)

    def restore(self):
        net.wait_until("cluster", self.redis.is_whole, 60)

    def close(self):
        self.redis.close()


class Way:
    """url: one, or a list. groups: the relays to each of the stores, or to each node. only: which of these fails (None: all)."""

    def __init__(self, url, groups):
        self.url, self.groups, self.only = url, groups, None

    def _failing(self):
        groups = self.groups if self.only is None else [self.groups[self.only]]
        return [r for group in groups for r in group]

    def stall(self):
        for r in self._failing():
            r.stall()

    def cut(self):
        for r in self._failing():
            r.cut()

    def heal(self):
        for group in self.groups:
            for r in group:
                r.heal()

    def close(self):
        for group in self.groups:
            for r in group:
                r.close()


# By the words of an option: what makes one, and one that can fail over.
KINDS = {"alone": (Alone, Group), "several": (lambda: Several(Alone), lambda: Several(Group)), "cluster": (Cluster, Cluster)}
