"""A program that keeps the UIDs and flags of a mailbox, comes back with its MODSEQ, and asks only for what changed (RFC 7162).
It believes what it is told, and complains of what must not be told:

    cache = Cache(address, user, b"INBOX", rng)
    cache.open(); cache.turn(); cache.drop()       # in any order; open() again goes on from what it holds
    cache.messages, cache.faults                   # UID -> flags; texts

It comes back in one of three ways: SELECT (QRESYNC ...), UID FETCH (CHANGEDSINCE ... VANISHED), or without QRESYNC by
CHANGEDSINCE and a search.
"""
from .answers import expand, flags, pairs
from .talk import Talk

WAYS = ("select", "fetch", "search")


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
    def __init__(self, address, user, name, rng, ways=WAYS):
        self.address, self.user, self.name, self.rng, self.ways = address, user, name, rng, ways
        self.validity = self.modseq = 0
        self.messages, self.faults = {}, []
        self.talk = self.way = None
        self.came, self.resumed = 0, 0  # FETCHes in the last open(), and how often it came back with a MODSEQ
        self._told = {}  # UID -> its MODSEQ
        self._number = 0
        self._begin()

    def _begin(self):
        self._heard_of = []  # kinds, in their order
        self._highest, self._count, self._top, self._safe, self._found = 0, None, 0, 0, None
        self._selecting = False
        self._order = None

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
        self.talk = Talk(self.address, self.user)
        if self.way != "search":
            enabled = self._command(self.rng.choice((b"ENABLE QRESYNC", b"ENABLE CONDSTORE QRESYNC")))
            if not enabled:
                return False
            if b"ENABLED" not in self._heard_of:
                self.fault("QRESYNC was not enabled")
        self._begin()
        self._order = sorted(self.messages) if self.way == "search" else None
        self.resumed += bool(self.modseq)
        return self._select() and self._catch_up()

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

    # ---- commands

    def _command(self, text):
        """The tagged answer; None at the end of the connection."""
        self._number += 1
        tag = b"c%d" % self._number
        self.talk.wire.line(tag + b" " + text)
        while True:
            answer = self.talk.read()
            if answer is None or answer.kind == b"BYE":
                self.talk.closed = True
                if self.talk.silent:
                    self.fault(f"no answer to {text[:100]}")
                return None
            if answer.kind == tag:
                self._code(answer)
                return answer
            self._hear(answer)

    def _ok(self, text):
        answer = self._command(text)
        if answer is not None and answer.status != b"OK":
            self.fault(f"{text[:100]}: {answer.raw}")
        return answer is not None and answer.status == b"OK"

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
        self._found = None
        changed = b" (CHANGEDSINCE %d)" % since if since else b""
        held = set(self.messages)
        if not self._ok(b"UID SEARCH ALL"):
            return False
        found = self._found or []
        self._order = sorted(found)
        if not self._ok(b"UID FETCH 1:4294967295 (UID FLAGS)%s" % changed):
            return False
        for uid in set(self.messages) - set(self._order):
            del self.messages[uid]
        if set(self._order) - set(self.messages):
            self.fault(f"new, and not changed since {since}: {sorted(set(self._order) - set(self.messages))}, held {len(held)}")
        return True

    def _catch_up(self):
        """Fetches what is new, then takes over the MODSEQ."""
        top = max(self.messages, default=0)
        if self._count != len(self.messages) and not self._ok(b"UID FETCH %d:* (UID FLAGS)" % (top + 1)):
            return False
        if self._count != len(self.messages):
            self.fault(f"{self._count} messages, and {len(self.messages)} are held: {compressed(self.messages)}")
        self.modseq = max(self.modseq, self._highest, self._safe)
        return True

    # ---- what comes

    def _hear(self, answer):
        kind = answer.kind
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
            self._found = [int(x) for x in answer.data if isinstance(x, bytes) and x.isdigit()]
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
                self.modseq = 0
            self.validity = int(code[1])
        elif name == b"HIGHESTMODSEQ":
            if int(code[1]) < self._highest:
                self.fault(f"HIGHESTMODSEQ {self._highest} fell to {int(code[1])}")
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

    def _fetched(self, answer):
        got = pairs(answer.data[0])
        if b"UID" in got:
            uid = int(got[b"UID"])
        elif self.way == "search" and answer.number <= len(self._order):
            uid = self._order[answer.number - 1]
        else:
            if self.way != "search":
                self.fault(f"FETCH without UID: {answer.raw}")
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
            if self._order is not None and uid not in self._order:
                self._order.append(uid)
