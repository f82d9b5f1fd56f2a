"""Delivers mail at the servers themselves, as a mail server does: to the one that the route names, or did a moment ago.

So while the account freezes, and a little after it has moved, mail comes to the server that it leaves."""
import contextlib
import queue
import random
import threading
import time

import redis as redis_client

from harness import mail
from harness.scene import PASSWORD

from .message import Message, Put, text

PAUSE = 0.15
EASED = 20  # after so many messages it delivers half as often, and so on
MOST = 80   # messages, then it delivers only what somebody waits for
LATE = ("freezing", "flipping", "flipped")


class Post(threading.Thread):
    def __init__(self, world, user, name, seed):
        super().__init__(daemon=True, name=name)
        self.world, self.user, self.label = world, user, name
        self.random = random.Random(seed)
        self.messages, self.complaints = [], []
        self.late = 0  # came to the old server at one of the states LATE, or behind it
        self._ways = {}
        self._now = queue.Queue()
        self._over = threading.Event()
        self._lock = threading.Lock()

    def heard(self, state):
        if state in LATE:
            self._now.put(state)

    def run(self):
        try:
            self._work()
        except Exception as e:  # pylint: disable=broad-except
            self.complaints.append(f"{self.label} ended: {type(e).__name__}: {e}")

    def _work(self):
        while not self._over.is_set():
            try:
                self._now.get(timeout=self.random.random() * 2 * PAUSE * (1 + len(self.messages) / EASED))
                self._over.wait(self.random.choice((0, 0, self.random.random() * 0.1)))
                self.deliver("old")
                self.late += 1
            except queue.Empty:
                self._follow()

    def _follow(self):
        if len(self.messages) >= MOST:
            return
        with contextlib.suppress(redis_client.RedisError):
            client, key = self.world.key("route", self.user)
            backend = client.hget(key, "backend") or "old"
            self._over.wait(self.random.choice((0, 0, self.random.random() * 0.2)))
            self.deliver(backend)

    def deliver(self, backend, box=None):
        """One message; its mark."""
        with self._lock:
            message = Message(f"{self.label}-{len(self.messages)}")
            self.messages.append(message)
            box = box or self.random.choice(("INBOX", "Kept"))
            body = text(message.mark, "y" * self.random.randrange(20, 2000))
            message.ask(Put(box))
            message.log.append((time.time(), backend))
            mail.append(self._way(backend), self.world.spelled(backend, box), [mail.Message((box,), body)])
            message.done()
            return message.mark

    def _way(self, backend):
        if backend not in self._ways:
            self._ways[backend] = mail.connect(self.world.server(backend), self.user, PASSWORD)
        return self._ways[backend]

    def stop(self):
        self._over.set()

    def close(self):
        for way in self._ways.values():
            way.logout()
