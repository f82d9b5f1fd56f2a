"""A program that keeps the UIDs and flags of a mailbox, comes back with its MODSEQ, and asks only for what changed (RFC 7162).
It believes what it is told, and complains of what must not be told:

    cache = Cache(address, user, b"INBOX", rng)
    cache.open(); cache.turn(); cache.drop()       # in any order; open() again goes on from what it holds
    cache.messages, cache.faults                   # UID -> flags; texts
    cache.idle(1)                                  # for a second

patient: it lives where programs and networks fail, so that it may be told [UNAVAILABLE] at any time, and comes back.

It comes back in one of three ways: SELECT (QRESYNC ...), UID FETCH (CHANGEDSINCE ... VANISHED), or without QRESYNC by
CHANGEDSINCE and a search.
"""
import collections
import time

from .answers import expand, flags, pairs
from .talk import Talk

WAYS = ("select", "fetch", "search")
LOGGED = 60


def compressed(numbers):
    """1,2,3,7 -> 1:3,7"""
    runs = []
    for n in sorted(numbers):
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(f"{a}" if a == b else f"{a}:{b}" for a, b in runs)


class Cache:
    def __init__(self, address, user, name, rng, ways=WAYS, patient=False):
        self.address, self.user, self.name, self.rng, self.ways = address, user, name, rng, ways
        self.patient = patient
        self.validity = self.modseq = 0
        self.messages, self.faults = {}, []
        self.log = collections.deque(maxlen=LOGGED)  # what was said last, by both
        self.talk = self.way = None
        self.came, self.resumed = 0, 0  # FETCHes in the last open(), and how often it came back with a MODSEQ
        self._told = {}  # UID -> its MODSEQ
        self._moved = 0  # counts what changes how many there are: one may come where another goes
        self._whole = 0  # up to this UID it knows of all; of later ones it may have heard by their flags alone
        self._number = 0
        self._begin()

    def _begin(self):
        self._heard_of = []  # kinds, in their order
        self._highest, self._told_highest = 0, 0
        self._count, self._top, self._safe = None, 0, 0
        self._selecting = False
        self._order = self._found = None

    def fault(self, text):
        self.faults.append(f"{self.name.decode()} by {self.way}: {text}")

    # ---- life

    @property
    def is_open(self):
        return self.talk is not None and not self.talk.closed

    def open(self):
        """False where the connection ended before all was told: it goes on from there another time."""
        self.drop()
        self.way = self.rng.choice(self.ways)
        self._sign_in()
        if self.way != "search":
            enabled = self._command(self.rng.choice((b"ENABLE QRESYNC", b"ENABLE CONDSTORE QRESYNC")))
            if not enabled:
                return False
            if b"ENABLED" not in self._heard_of:
                self.fault("QRESYNC was not enabled")
        self._begin()
        if not self.modseq:  # a listing that was cut off: what it told may have changed, and nobody would say so
            self.messages.clear()
            self._told.clear()
        self._order = sorted(self.messages) if self.way == "search" else None
        self.resumed += bool(self.modseq)
        return self._select() and self._catch_up()

    def _sign_in(self):
        self.talk = Talk(self.address, self.user, 30 if self.patient else 20)

    def drop(self):
        if self.talk:
            self.talk.close()
        self.talk = None

    def turn(self):
        """All that there is to tell is told, and kept. Some programs go by the MODSEQs of messages, and some do not."""
        if not self._ok(b"NOOP"):
            return False
        self._safe = self._top if self.rng.random() < 0.5 else 0
        return self._catch_up()

    def idle(self, seconds):
        """What comes meanwhile is kept."""
        self._send(b"IDLE")
        begun = self._until(b"+", b"IDLE")
        if begun is None or begun.kind != b"+":
            return self._is_ok(begun, b"IDLE")
        end = time.monotonic() + seconds
        while self.is_open and time.monotonic() < end:
            if self.talk.has_come(0.05):
                self._until(None, b"IDLE")
        self._line(b"DONE")
        return self._is_ok(self._until(b"", b"DONE"), b"IDLE") and self._catch_up()

    # ---- commands

    def _command(self, text):
        """The tagged answer; None at the end of the connection."""
        self._send(text)
        return self._until(b"", text)

    def _send(self, text):
        self._number += 1
        self._line(b"c%d %s" % (self._number, text))

    def _line(self, text):
        self.log.append((time.time(), text))
        try:
            self.talk.wire.line(text)
        except OSError:
            self.talk.closed = True

    def _until(self, kind, text):
        """The tagged answer, or one of this kind before it; None: the next one of any kind."""
        while not self.talk.closed:
            answer = self.talk.read()
            self.log.append((time.time(), answer and answer.raw))
            if answer is None or answer.kind == b"BYE":
                self._ended(answer, text)
            elif answer.status:
                self._code(answer)
                return answer
            elif answer.kind == kind:
                return answer
            else:
                self._hear(answer)
                if kind is None:
                    return answer
        return None

    def _ended(self, bye, text):
        self.talk.closed = True
        if self.talk.silent:
            self.fault(f"no answer to {text[:100]}")
        if bye and self.patient and b"[UNAVAILABLE]" not in bye.raw:
            self.fault(f"{text[:100]}: {bye.raw}")

    def _is_ok(self, answer, text):
        if answer is None or answer.status == b"OK":
            return answer is not None
        if self.patient and b"[UNAVAILABLE]" in answer.raw:
            self.talk.closed = True
        else:
            self.fault(f"{text[:100]}: {answer.raw}")
        return False

    def _ok(self, text):
        return self._is_ok(self._command(text), text)

    def _known(self):
        """As a client may say what it knows; with or without pairs of numbers and UIDs."""
        if not self.messages:
            return b""
        uids = sorted(self.messages)
        known = self.rng.choice(("", f"1:{uids[-1]}", compressed(uids), f"{compressed(uids)},{uids[-1] + 1}:{uids[-1] + 9}"))
        if known and self.rng.random() < 0.3:
            some = sorted(self.rng.sample(range(len(uids)), min(3, len(uids))))
            known += f" ({','.join(str(n + 1) for n in some)} {','.join(str(uids[n]) for n in some)})"
        return f" {known}".encode() if known else b""

    def _select(self):
        since, known = self.modseq, b""
        select = b"SELECT " + self.name
        if self.way == "select" and since:
            known = self._known()
            select += b" (QRESYNC (%d %d%s))" % (self.validity, since, known)
        elif self.way == "search" or self.rng.random() < 0.5:
            select += b" (CONDSTORE)"
        held = self.validity
        self._selecting = True
        done = self._ok(select)
        self._selecting = False
        if not done:
            return False
        if not self._highest:
            self.fault("no HIGHESTMODSEQ")
        if held and held != self.validity:
            self.fault(f"UIDVALIDITY {held} became {self.validity}")
            return False
        if since and self._highest < since:
            self.fault(f"HIGHESTMODSEQ {since} fell to {self._highest}")
        if self.way == "fetch" and since and self.messages:
            top = max(self.messages)
            return self._ok(b"UID FETCH 1:%d (FLAGS) (CHANGEDSINCE %d VANISHED)" % (top, since))
        return self.way != "search" or self._look(since)

    def _look(self, since):
        """Without QRESYNC: what changed, and then what is there."""
        changed = b" (CHANGEDSINCE %d)" % since if since else b""
        held = set(self.messages)
        if not self._search():
            return False
        if not self._ok(b"UID FETCH 1:4294967295 (UID FLAGS)%s" % changed):
            return False
        for uid in set(self.messages) - set(self._order):
            del self.messages[uid]
        if set(self._order) - set(self.messages):
            self.fault(f"new, and not changed since {since}: {sorted(set(self._order) - set(self.messages))}, held {len(held)}")
        return True

    def _search(self):
        """Which UID each number has. Cyrus finds none that is expunged, and still counts it: until the two agree, and nothing came
        behind the list, a number may be another message's."""
        for _ in range(100):
            self._order, self._found = [], None
            if not self._ok(b"UID SEARCH ALL"):
                return False
            if self._found and self._found[1] == self._moved and len(self._found[0]) == self._count:
                self._order = self._found[0]
                return True
            if not self._ok(b"NOOP"):
                return False
        self.fault(f"{self._count} messages are there, and {self._found} are found")
        return False

    def _catch_up(self):
        """Fetches what is new, then takes over the MODSEQ."""
        while self._count != len(self.messages):
            if self.patient and not self._ok(b"NOOP"):
                return False  # what is VANISHED (EARLIER) now may count as there until then
            moved = self._moved
            if not self._ok(b"UID FETCH %d:* (UID FLAGS)" % (self._whole + 1)):
                return False
            if self._moved == moved and self._count != len(self.messages):
                self.fault(f"{self._count} messages, and {len(self.messages)} are held: {compressed(self.messages)}")
                break
        self._whole = max([self._whole, *self.messages])
        self.modseq = max(self.modseq, self._highest, self._safe)
        return True

    # ---- what comes

    def _hear(self, answer):
        kind = answer.kind
        self._moved += kind in (b"VANISHED", b"EXPUNGE", b"EXISTS")
        if kind == b"VANISHED":
            self._vanished(answer)
        elif kind == b"EXPUNGE":
            self._expunged(answer.number)
        elif kind == b"EXISTS":
            if self._count is not None and answer.number < self._count:
                self.fault(f"EXISTS falls from {self._count} to {answer.number}")
            self._count = answer.number
        elif kind == b"FETCH":
            self._fetched(answer)
        elif kind == b"SEARCH":
            self._found = sorted(int(x) for x in answer.data if isinstance(x, bytes) and x.isdigit()), self._moved
        else:
            self._code(answer)
        self._heard_of.append(kind)

    def _code(self, answer):
        code = answer.data if isinstance(answer.data, tuple) else ()
        name = code[0].upper() if code else b""
        if name == b"UIDVALIDITY":
            if self.validity and self.validity != int(code[1]):
                self.messages.clear()
                self._told.clear()
                self.modseq = self._whole = 0
            self.validity = int(code[1])
        elif name == b"HIGHESTMODSEQ":
            if int(code[1]) < self._told_highest:
                self.fault(f"HIGHESTMODSEQ {self._told_highest} fell to {int(code[1])}")
            self._told_highest = int(code[1])
            if self._selecting:  # with the OK to other commands Dovecot counts changes that it does not tell
                self._highest = int(code[1])
            if b"VANISHED" in self._heard_of and self._selecting:
                self.fault("VANISHED came before HIGHESTMODSEQ")
        elif name == b"NOMODSEQ":
            self.fault("NOMODSEQ")

    def _vanished(self, answer):
        if self.way == "search":
            self.fault(f"VANISHED without QRESYNC: {answer.raw}")
        uids = expand(answer.data[-1])
        earlier = len(answer.data) > 1
        if earlier and b"FETCH" in self._heard_of and self._selecting:
            self.fault("VANISHED (EARLIER) came behind FETCH")
        for uid in uids:
            self.messages.pop(uid, None)
            self._told.pop(uid, None)
        if not earlier and self._count is not None:
            self._count -= len(set(uids))

    def _expunged(self, number):
        if self.way != "search":
            self.fault("EXPUNGE with QRESYNC")
        elif self._order and number <= len(self._order):
            self.messages.pop(self._order.pop(number - 1), None)
        self._count -= 1

    def _uid(self, number, told):
        """0: of a message that it will ask for yet."""
        if self.way != "search":
            if not told:
                self.fault(f"FETCH of {number} without UID")
            return told
        if number <= len(self._order):
            known = self._order[number - 1]
            if told not in (0, known):
                self.fault(f"message {number} has UID {told}, and was {known}")
            return known
        if told and number == len(self._order) + 1:
            self._order.append(told)
            return told
        return 0

    def _fetched(self, answer):
        got = pairs(answer.data[0])
        uid = self._uid(answer.number, int(got.get(b"UID", 0)))
        if not uid:
            return
        if b"MODSEQ" in got:
            told = int(got[b"MODSEQ"][0])
            if told < self._told.get(uid, 0):
                self.fault(f"MODSEQ of {uid} fell from {self._told[uid]} to {told}")
            self._told[uid] = told
            self._top = max(self._top, told)
        if b"FLAGS" in got:
            self.came += 1
            self.messages[uid] = flags(got[b"FLAGS"])
