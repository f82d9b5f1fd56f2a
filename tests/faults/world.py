"""Two proxies and two migrators on two servers and a Redis, each daemon with a network of its own that can fail."""
import contextlib
import signal
import threading

import redis as redis_client

from harness import dovecot, net, redisd
from harness.ferry import Ferry, backend
from harness.relay import Relay

LEASE = 0.5  # seconds
SETTINGS = {
    "proxy": {"lease": "500ms", "lease_long": "1s", "hold_max": "10s", "threads": 1, "store_timeout": "2s"},
    "migrator": {"retry_min": "100ms", "retry_max": "500ms", "job_lease": "1s", "command_timeout": "5s", "jobs": 8},
    "migration": {"freeze_budget": "3s", "trigger": "manual"},
}


class Member:
    """A daemon that is started again under the same name when it was killed."""

    def __init__(self, world, kind, label):
        self.world, self.kind, self.label = world, kind, label
        self.relay = Relay(world.redis.address)
        self.daemon = None
        self.stopped = False
        self.start()

    def start(self):
        options = {"redis": {"url": self.relay.redis_url}}
        if self.kind == "proxy":
            self.daemon = self.world.ferry.proxy(label=self.label, **options)
        else:
            self.daemon = self.world.ferry.migrator(label=self.label, **options)

    # ---- what can happen to it; each has its cure in heal()

    def kill(self):
        self.daemon.kill()
        self.world.ferry.daemons.remove(self.daemon)
        self.daemon = None

    def stop(self):
        self.daemon.signal(signal.SIGSTOP)
        self.stopped = True

    def cut_off(self):
        self.relay.stall()

    def reset(self):
        self.relay.cut()

    def heal(self):
        self.relay.heal()
        if self.stopped:
            self.daemon.signal(signal.SIGCONT)
            self.stopped = False
        if not self.daemon:
            self.start()


class World:
    def __init__(self, settings=None):
        self._ends = contextlib.ExitStack()
        with contextlib.ExitStack() as begun:  # what was started ends too where the rest does not start
            self._start(begun, settings)
            self._ends = begun.pop_all()

    def _start(self, begun, settings):
        self.old = begun.enter_context(dovecot.Dovecot("old", separator="/", mail="maildir"))
        self.new = begun.enter_context(dovecot.Dovecot("new", separator="/", mail="mdbox"))
        self.redis = redisd.Redis(port=net.free_port())
        begun.callback(self.redis.close)
        merged = {k: dict(v) for k, v in SETTINGS.items()}
        for section, options in (settings or {}).items():
            merged.setdefault(section, {}).update(options)
        self.ferry = Ferry(self.redis, {"old": backend(self.old, "imap"), "new": backend(self.new, "imap")},
                           settings=merged)
        begun.callback(self.ferry.close)
        self.ferry.init()
        self.members = {}
        begun.callback(self._heal)
        for label in ("proxy1", "proxy2", "migrator1", "migrator2"):
            self.members[label] = Member(self, label[:-1], label)

    def _heal(self):
        for member in self.members.values():
            member.heal()

    def addresses(self):
        """Of the proxies that run."""
        proxies = [m.daemon for label, m in self.members.items() if label.startswith("proxy")]
        return [p.addresses[0] for p in proxies if p] or ["imap://127.0.0.1:1"]

    def dead(self):
        """Daemons that ended though nobody killed them."""
        return [f"{label} ended with {m.daemon.process.returncode}" for label, m in self.members.items()
                if m.daemon and m.daemon.process.poll() is not None]

    def states(self, users):
        pipe = self.redis.client().pipeline(transaction=False)
        for user in users:
            pipe.hget(f"imapferry:route:{user}", "state")
        return dict(zip(users, pipe.execute()))

    def wait_all(self, users, states, timeout):
        net.wait_until(f"all accounts in {states}", lambda: all(s in states for s in self.states(users).values()), timeout,
                       step=0.1)

    def close(self):
        try:
            self._ends.close()
        finally:
            for member in self.members.values():
                member.relay.close()


class Follower(threading.Thread):
    """Calls fn(user, state) for each change of state that the store tells."""

    def __init__(self, world, fn):
        super().__init__(daemon=True)
        self.client = world.redis.client()
        self.fn = fn
        self.over = threading.Event()
        last = self.client.xrevrange("imapferry:events", count=1)
        self.last = last[0][0] if last else "0-0"
        self.start()

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(redis_client.RedisError):
                for _, entries in self.client.xread({"imapferry:events": self.last}, block=200) or []:
                    for self.last, event in entries:
                        if event.get("kind") == "state":
                            self.fn(event["user"], event["state"])

    def stop(self):
        self.over.set()
        self.join()
