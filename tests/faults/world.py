"""Two proxies and two migrators on two servers and a Redis, each daemon with a network of its own that can fail."""
import contextlib
import re
import signal
import threading
import time

import redis as redis_client

from harness import dovecot, mail, net
from harness.cyrus import Cyrus
from harness.ferry import Ferry, backend

from . import store

LEASE = 0.5  # seconds
SETTINGS = {
    "proxy": {"lease": "500ms", "lease_long": "1s", "hold_max": "10s", "threads": 1, "store_timeout": "2s"},
    "migrator": {"retry_min": "100ms", "retry_max": "500ms", "job_lease": "1s", "command_timeout": "5s", "jobs": 8},
    "migration": {"freeze_budget": "3s", "trigger": "manual", "late_watch": "1s"},
}
LOOK_TIMEOUT = 60
PROBE = "probe@example.org"
FILLS = {"t1_max_gaps": 100000}


def dovecot_old():
    return dovecot.Dovecot("old", separator="/", mail="maildir")


def cyrus_old():
    return Cyrus("cyrusold", extra="imapidlepoll: 1")


def told():
    return dovecot.Dovecot("told", separator="/", mail="mdbox", doveadm=True)


def mapped():
    return dovecot.Dovecot("mapped", separator=".", prefix="INBOX.", mail="mdbox")


class Servers:
    """Those of each way, for any number of worlds."""

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._made = {}

    def _get(self, make):
        if make not in self._made:
            self._made[make] = self._stack.enter_context(make())
        return self._made[make]

    def old(self, way):
        return self._get(WAYS[way].old)

    def new(self, way):
        return self._get(WAYS[way].new)

    def close(self):
        self._stack.close()


class Way:
    """How an account's numbers are kept: between which servers, and by which options."""

    def __init__(self, new, migration=None, told=False, share=3, old=dovecot_old):
        """old, new: functions that start one. share: of the rounds, against those of the others."""
        self.old, self.new, self.migration, self.told, self.share = old, new, migration or {}, told, share

    def options(self, server):
        return server.doveadm_options() if self.told else {}


# alike: Kept has its UIDVALIDITY before it is copied, and in the rest clients are told another one
WAYS = {
    "alike": Way(lambda: dovecot.Dovecot("new", separator="/", mail="mdbox")),
    "doveadm": Way(told, told=True),
    "cyrus": Way(lambda: Cyrus("cyrus", extra="imapidlepoll: 1"), share=1),  # slow: it waits for the disk
    "fillers": Way(lambda: dovecot.Dovecot("filled", separator="/", mail="mdbox"), FILLS),
    "map": Way(mapped),
    "doveadm from Cyrus": Way(told, told=True, share=1, old=cyrus_old),
    "map from Cyrus": Way(mapped, share=1, old=cyrus_old),
}


def spelled(server, box):
    return mail.wire_name((box,), getattr(server, "prefix", ""), server.separator)


class Member:
    """A daemon that is started again under the same name when it was killed."""

    def __init__(self, world, kind, label):
        self.world, self.kind, self.label = world, kind, label
        self.way = world.store.way()
        self.daemon = None
        self.stopped = False
        self.start()

    def start(self):
        options = {"redis": {"url": self.way.url}}
        if self.kind == "proxy":
            self.daemon = self.world.ferry.proxy(label=self.label, **options)
        else:
            self.daemon = self.world.ferry.migrator(label=self.label, **options)

    # ---- what can happen to it; each has its cure in heal()

    def nothing(self):
        pass

    def kill(self):
        self.daemon.kill()
        self.world.ferry.daemons.remove(self.daemon)
        self.daemon = None

    def stop(self):
        self.daemon.signal(signal.SIGSTOP)
        self.stopped = True

    def cut_off(self):
        self.way.stall()

    def reset(self):
        self.way.cut()

    def heal(self):
        self.way.heal()
        if self.stopped:
            self.daemon.signal(signal.SIGCONT)
            self.stopped = False
        if not self.daemon:
            self.start()


class World:
    """Of a Redis alone, or of one that Sentinel can give another master."""

    def __init__(self, servers, make_store=store.Alone, settings=None, way="alike"):
        self.way, self.is_alike = WAYS[way], way == "alike"
        self.old, self.new = servers.old(way), servers.new(way)
        self.members = {}
        self._ends = contextlib.ExitStack()
        with contextlib.ExitStack() as begun:  # what was started ends too where the rest does not start
            self._start(begun, make_store, settings)
            self._ends = begun.pop_all()

    def _start(self, begun, make_store, settings):
        self.store = make_store()
        begun.callback(self.store.close)
        self.redis = self.store.redis
        merged = {k: dict(v) for k, v in SETTINGS.items()}
        for section, options in [("migration", self.way.migration), *(settings or {}).items()]:
            merged.setdefault(section, {}).update(options)
        backends = {"old": backend(self.old, "imap", check_user=PROBE),
                    "new": backend(self.new, "imap", check_user=PROBE, **self.way.options(self.new))}
        self.ferry = Ferry(self.redis, backends, settings=merged)
        begun.callback(self.ferry.close)
        self.ferry.init()
        begun.callback(self._heal)
        for label in ("migrator1", "migrator2"):
            self.members[label] = Member(self, label[:-1], label)
        # Who signs in before is shown what the old server alone can do, which may be more than the new one has.
        net.wait_until("capabilities", lambda: all({"old", "new"} <= set(client.hgetall(f"{prefix}:backends"))
                                                   for client, prefix in self.store.all()), LOOK_TIMEOUT)
        for label in ("proxy1", "proxy2"):
            self.members[label] = Member(self, label[:-1], label)

    def _heal(self):
        for member in self.members.values():
            member.heal()

    def server(self, name):
        return {"old": self.old, "new": self.new}[name]

    def spelled(self, name, box):
        return spelled(self.server(name), box)

    def addresses(self):
        """Of the proxies that run."""
        proxies = [m.daemon for label, m in self.members.items() if label.startswith("proxy")]
        return [p.addresses[0] for p in proxies if p] or ["imap://127.0.0.1:1"]

    def dead(self):
        """Daemons that ended though nobody killed them."""
        return [f"{label} ended with {m.daemon.process.returncode}" for label, m in self.members.items()
                if m.daemon and m.daemon.process.poll() is not None]

    # ---- accounts

    def key(self, kind, user):
        """(client, key)."""
        client, prefix = self.store.of(user)
        return client, f"{prefix}:{kind}:{user}"

    def ask(self, users, command, *words):
        """One read for each account; None for all where a store does not answer now."""
        asked = {}
        try:
            for user in users:
                client, key = self.key("route", user)
                pipe, of = asked.setdefault(id(client), (client.pipeline(transaction=False), []))
                pipe.execute_command(command, key, *words)
                of.append(user)
            return {user: answer for pipe, of in asked.values() for user, answer in zip(of, pipe.execute())}
        except redis_client.RedisError:
            return {user: None for user in users}

    def wait_moved(self, users, timeout):
        """Until all were switched over. Who is blocked is helped as staff would do it."""
        helped = []

        def all_moved():
            states = self.ask(users, "HGET", "state")
            for user in users:
                if states[user] == "blocked":
                    self._unblock(user)
                    helped.append(user)
            return all(s in ("flipped", "settled") for s in states.values())
        try:
            net.wait_until("cut-over of all accounts", all_moved, timeout, step=0.1)
        except TimeoutError as e:
            raise RuntimeError(f"{e}: {self._left_over(users)}") from None
        return helped

    def _left_over(self, users):
        """Those that did not move: why, and for which sessions they wait."""
        states = self.ask(users, "HMGET", "state", "reason")
        return {user: (found, self._all("sessions", user))
                for user, found in states.items() if not found or found[0] not in ("flipped", "settled")}

    def _all(self, kind, user):
        client, key = self.key(kind, user)
        return client.hgetall(key)

    def tiers(self, users):
        """How many mailboxes keep their numbers in which way."""
        found = {}
        for user in users:
            for text in self._all("views", user).values():
                tier = re.search(r" tier=(T\d)", text)
                if tier:
                    found[tier[1]] = found.get(tier[1], 0) + 1
        return found

    def report(self, user):
        """What staff are told of it, and its records."""
        return "\n".join([self.ferry.ctl_raw("user", user, "--report")[1],
                          *(f"{k}: {v}" for k, v in self._all("views", user).items())])

    def _unblock(self, user):
        """A copy of Kept that was begun again after a kill has other UIDs than the source. Clients must not take them for
        those that they know, so that the account waits for somebody who gives the mailbox another UIDVALIDITY."""
        reason = self.ask([user], "HGET", "reason")[user]
        if not (reason or "").startswith("uidvalidity"):
            raise RuntimeError(f"{user} is blocked: {reason}")
        assert self.is_alike, f"{user} is blocked: {reason}"
        self.new.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(int(time.time()) + 3600), "Kept")
        self.ferry.ctl("retry", user)

    def look_late(self, users):
        """Until the server that each account has left was looked at once more: as if the next day had come."""
        net.wait_until("settled", lambda: all(s == "settled" for s in self.ask(users, "HGET", "state").values()),
                       LOOK_TIMEOUT, step=0.05)
        for _ in range(3):
            before = self.ask(users, "HGET", "last_late")
            marks = {label: m.daemon.mark() for label, m in self.members.items()}
            for user in users:
                client, prefix = self.store.of(user)
                client.zadd(f"{prefix}:late", {user: 1})

            def looked(before=before):
                now = self.ask(users, "HGET", "last_late")
                return all(now[u] and now[u] != before[u] for u in users)
            try:
                net.wait_until("a late look", looked, LOOK_TIMEOUT, step=0.05)
            except TimeoutError as e:
                late = [client.zrange(f"{prefix}:late", 0, 20, withscores=True) for client, prefix in self.store.all()]
                raise RuntimeError(f"{e}: {self.ask(users, 'HMGET', 'last_late', 'owner', 'state')}, before {before}; {late}") from None
            blind = {m.group(1) for label, mark in marks.items()
                     for m in self.members[label].daemon.find(r"event=late_blind user=(\S+)", since=mark)}
            users = [u for u in users if u in blind]
            if not users:
                return
        raise RuntimeError(f"the late watch sees nothing of {users}")

    def close(self):
        try:
            self._ends.close()
        finally:
            for member in self.members.values():
                member.way.close()


class Follower:
    """Calls fn(user, state) for each change of state that a store tells, from a thread of each store."""

    def __init__(self, world, fn):
        self.world, self.fn = world, fn
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(len(world.store.all()))]
        self._last = []
        for client, prefix in world.store.all():
            last = client.xrevrange(f"{prefix}:events", count=1)
            self._last.append(last[0][0] if last else "0-0")
        for t in self._threads:
            t.start()

    def _run(self, n):
        last = self._last[n]
        while not self.over.is_set():
            try:
                client, prefix = self.world.store.nth(n)
                for _, entries in client.xread({f"{prefix}:events": last}, block=200) or []:
                    for last, event in entries:
                        if event.get("kind") == "state":
                            self.fn(event["user"], event["state"])
            except redis_client.RedisError:
                self.over.wait(0.05)

    def stop(self):
        self.over.set()
        for t in self._threads:
            t.join()
