"""The Redis of a world, and each daemon's own way to it, which can fail alone."""
import signal

import redis as redis_client

from harness import net, redisd, sentinel
from harness.relay import Relay

HOW = ("kill", "stop", "ask")  # what makes Sentinel choose another master


class Alone:
    """One Redis. A way to it is one relay."""

    def __init__(self):
        self.redis = redisd.Redis(port=net.free_port())

    def way(self):
        relay = Relay(self.redis.address)
        return Way(relay.redis_url, [relay])

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


class Group:
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
        return Way(self.redis.url_of([asked.number]), [asked, *relays.values()])

    def fail_over(self, how):
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


class Way:
    def __init__(self, url, relays):
        self.url, self.relays = url, relays

    def stall(self):
        for r in self.relays:
            r.stall()

    def cut(self):
        for r in self.relays:
            r.cut()

    def heal(self):
        for r in self.relays:
            r.heal()

    def close(self):
        for r in self.relays:
            r.close()
