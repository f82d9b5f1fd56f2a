"""A client that keeps a mailbox by CONDSTORE or QRESYNC (../view/cache.py): it opens the mailbox, asks, waits in IDLE, leaves and comes
back with its MODSEQ, before the cut-over, in the middle of it and behind it. At the end it holds what the new server has."""
import collections
import random
import re
import threading
import time

from harness import deflated
from view.answers import flags, pairs
from view.cache import LOGGED, Cache
from view.talk import Talk

SUBJECT = b"BODY[HEADER.FIELDS (SUBJECT)]"
HEARD = 4000  # lines that are kept of what was said
OF_EACH = (("select", "fetch"), ("search",))  # how an account's keepers come back


class Kept(Cache):
    """packs: by COMPRESS. marks: UID -> mark, of each UIDVALIDITY."""

    def __init__(self, *args, packs=False, **options):
        super().__init__(*args, patient=True, **options)
        self.packs, self.marks = packs, {}
        self.log = collections.deque(maxlen=HEARD)

    def fault(self, text):
        if not self.faults:
            text += self.last(list(self.log)[-LOGGED:])
        super().fault(text)

    @staticmethod
    def last(lines):
        return "".join(f"\n        {at % 1000:.3f} {line[:200] if line else line}" for at, line in lines)

    def heard_of(self, uid):
        """All that was said of a message, and of how far its MODSEQs go."""
        word = re.compile(rb"UID %d\b|HIGHESTMODSEQ|CHANGEDSINCE|QRESYNC|BYE|EXISTS|VANISHED" % uid)
        return self.last([(at, line) for at, line in self.log if line and word.search(line)])

    def _sign_in(self):
        super()._sign_in()
        if self.packs:
            deflated.compress(self.talk.wire)

    def _fetched(self, answer):
        super()._fetched(answer)
        got = pairs(answer.data[0])
        found = re.search(rb"mark (\S+)", got.get(SUBJECT, b""))
        if found:
            uid, mark = int(got[b"UID"]), found[1].decode()
            was = self.marks.setdefault(self.validity, {}).setdefault(uid, mark)
            if was != mark:
                self.fault(f"UID {uid} ({self.validity}) was {was}, is {mark}")

    def learn_marks(self):
        """Of those that came since."""
        known = self.marks.get(self.validity, {})
        unknown = sorted(set(self.messages) - set(known))
        return not unknown or self._ok(b"UID FETCH %d:%d (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])" % (unknown[0], unknown[-1]))


class Keeper(threading.Thread):
    def __init__(self, addresses, user, name, seed, box, ways):
        super().__init__(daemon=True, name=name)
        self.addresses, self.user, self.label, self.box = addresses, user, name, box
        self.random = random.Random(seed)
        self.cache = Kept(None, user, box.encode(), self.random, ways, packs=self.random.random() < 0.5)
        self.messages, self.complaints, self.endings = [], [], []
        self.begun, self.over = threading.Event(), threading.Event()
        self.since = None  # when the connection that it has was opened
        self.stays = self.random.random() < 0.5

    # ---- the thread

    def run(self):
        try:
            while not self.over.is_set():
                if not self._step():
                    self.over.wait(0.02 + self.random.random() * 0.1)
        except Exception as e:  # pylint: disable=broad-except
            self.complaints.append(f"{self.label} ended: {type(e).__name__}: {e}")

    def _step(self):
        cache = self.cache
        if not cache.is_open:
            self.since = None
            return self._open()
        if not self.stays and self.random.random() < 0.2:
            self.drop()
            return False  # it is away for a while
        if self.random.random() < 0.5:
            return cache.idle(self.random.random() * 0.6) and cache.learn_marks()
        self.over.wait(self.random.random() * 0.2)
        return cache.turn() and cache.learn_marks()

    def _open(self):
        """False: it can't now."""
        self.cache.address = self.random.choice(self.addresses())
        try:
            done = self.cache.open() and self.cache.learn_marks()
        except (OSError, AssertionError) as e:
            self.endings.append(f"{type(e).__name__}: {e}"[:300])
            done = False
        if done:
            self.since = time.monotonic()
            self.begun.set()
        else:
            self.drop()
        return done

    def drop(self):
        self.cache.drop()
        self.since = None

    def stop(self):
        self.over.set()

    # ---- the judgement

    def judge(self, there, anew):
        """there: mark -> [(mailbox, flags)] on the server where the account is now. anew: the mailbox may have got another
        UIDVALIDITY."""
        self._bring_up_to_date("what it has open")
        shown = self._look()
        self._compare(shown)
        self.cache.drop()
        self._bring_up_to_date("what it opens again")
        self._compare(shown)
        self.cache.drop()
        self.complaints += [f"{self.label}: {x}" for x in self.cache.faults if not (anew and ": UIDVALIDITY " in x)]
        held = {mark: [f for box, f in places if box == self.box] for mark, places in there.items()}
        held = {mark: frozenset(x.upper().encode() for x in found[0]) for mark, found in held.items() if found}
        if {mark: f for mark, f in shown.values()} != held:
            self.complaints.append(f"{self.label}: {self.box} is shown as {shown}, and is {held}")

    def _bring_up_to_date(self, what):
        cache = self.cache
        for _ in range(20):
            if cache.turn() if cache.is_open else self._open():
                return
        self.complaints.append(f"{self.label}: {what} can't be brought up to date: {self.endings[-3:]}")

    def _compare(self, shown):
        cache = self.cache
        for uid in sorted({*shown, *cache.messages}):
            is_there = shown[uid][1] if uid in shown else None
            if cache.messages.get(uid) != is_there:
                self.complaints.append(f"{self.label} in {self.box} by {cache.way}: UID {uid}: holds {cache.messages.get(uid)}, "
                                       f"there {is_there}{cache.heard_of(uid) if not self.complaints else ''}")
        marks = cache.marks.get(cache.validity, {})
        wrong = [f"UID {uid} was {marks[uid]}, is {mark}" for uid, (mark, _) in shown.items() if marks.get(uid, mark) != mark]
        self.complaints += [f"{self.label}: {x}" for x in wrong[:5]]

    def _look(self):
        """As a program sees it that knows nothing: UID -> (mark, flags)."""
        talk = Talk(self.random.choice(self.addresses()), self.user, 30)
        shown = {}
        try:
            for text in (b"EXAMINE " + self.cache.name, b"UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
                talk.wire.line(b"x " + text)
                answer = talk.read()
                while answer.kind != b"x":
                    if answer.kind == b"FETCH":
                        got = pairs(answer.data[0])
                        mark = re.search(rb"mark (\S+)", got[SUBJECT])
                        shown[int(got[b"UID"])] = (mark[1].decode() if mark else "", flags(got[b"FLAGS"]))
                    answer = talk.read()
                assert answer.status == b"OK", answer
            return shown
        finally:
            talk.close()
