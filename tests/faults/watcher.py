"""A client in IDLE, which has Kept open over the flip: it must be told of what comes, and find what it knows.

Nothing is taken away from Kept, and the new server's has the same UIDVALIDITY. So whatever happens, EXISTS may only
rise, nothing is expunged, and a UID that it has seen is the same message for ever, on this connection and on the next."""
import re
import select
import time

from .client import Client, Ended

IDLE_MAX = 2  # seconds, then it looks by itself


class Watcher(Client):
    def __init__(self, addresses, user, name, seed):
        super().__init__(addresses, user, name, seed)
        self.since = None       # when this connection opened Kept, time.monotonic()
        self.told_in_idle = 0   # EXISTS
        self.exists = 0
        self.uidvalidity = None
        self.known = {}         # UID -> mark
        self.waits = False      # looks by itself no more: only what it is told counts

    def work(self):
        self._open()
        self._compare()
        self.begun.set()
        while not self.over.is_set():
            heard = self._idle()
            if heard or self.random.random() < 0.3:
                self._compare()

    def ended(self):
        self.since = None

    def has(self, mark):
        return mark in list(self.known.values())

    # ---- what it hears

    def _line(self):
        line = super()._line()
        found = re.match(rb"\* (\d+) (EXISTS|EXPUNGE)$", line)
        if found and found.group(2) == b"EXPUNGE":
            self.complaints.append(f"{self.label}: {line!r}, though nothing was expunged")
        elif found:
            number = int(found.group(1))
            if number < self.exists:
                self.complaints.append(f"{self.label}: EXISTS fell from {self.exists} to {number}")
            self.exists = number
        return line

    def _open(self):
        self.exists = 0
        number = self._select("Kept")
        if number != self.uidvalidity:
            self.uidvalidity, self.known = number, {}
        self.since = time.monotonic()

    def _idle(self):
        """True: it was told of something."""
        tag = self._next_tag()
        self.wire.line(tag + b" IDLE")
        self._continue()
        before, end = self.exists, time.monotonic() + self.random.random() * IDLE_MAX
        missed = before > len(self.known)  # was told so behind what it fetched last
        while not self.over.is_set() and not missed and (self.waits or time.monotonic() < end):
            if b"\n" in self.wire.buffer or select.select([self.wire.socket], [], [], 0.05)[0]:
                self._line()
            if self.exists > before:
                self.told_in_idle += 1
                break
        self.wire.line(b"DONE")
        self._must(self._answer(tag))
        return missed or self.exists > before

    def _compare(self):
        """All that it knows is there, and as many as it was told of."""
        before = self.exists
        lines = self._must(self._command(b"FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        # Flags that others have changed come in between, as lines of their own.
        uids = re.findall(rb"\* \d+ FETCH \([^\n]*?UID (\d+)[^\n]*\nSubject: mark (\S+)", b"\n".join(lines))
        seen = {int(uid): mark.decode() for uid, mark in uids}
        if not before <= len(seen) <= self.exists:
            self.complaints.append(f"{self.label}: was told of {before} to {self.exists} messages, sees {len(seen)}")
        wrong = [f"{uid} was {mark}, is {seen.get(uid)}" for uid, mark in self.known.items() if seen.get(uid) != mark]
        if wrong:
            self.complaints.append(f"{self.label}: UIDs of Kept: {wrong[:5]}")
            self.known = seen
            raise Ended("what was known is not there")
        self.known = seen
