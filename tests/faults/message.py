"""What somebody was told of a message: it follows from that alone where it has to be.

Every change that was answered OK is in `told`. Changes without an answer are in `asked`, in the order in which they were
sent; a server that got them did the first n of them, for some n."""
import dataclasses
import hashlib
import re
import time

BOXES = ("INBOX", "Archive", "Kept")  # of Kept nothing is taken away: its UIDs are the same on both servers


_SUM = re.compile(rb"\r\nX-Sum: (\S+)\r\n.*?\r\n\r\n(.*)", re.S)


def text(mark, filler):
    """A mail that tells what it has to be: its bytes need not be kept to be compared."""
    body = filler.encode() + b"\r\n"
    return b"Subject: mark %s\r\nX-Sum: %s\r\nFrom: a@example.org\r\n\r\n%s" % (
        mark.encode(), hashlib.sha256(mark.encode() + body).hexdigest().encode(), body)


def is_whole(mark, found):
    """Whether these are the bytes of the mail with this mark."""
    parts = _SUM.search(found)
    return bool(parts) and hashlib.sha256(mark.encode() + parts.group(2)).hexdigest().encode() == parts.group(1)


@dataclasses.dataclass(frozen=True)
class State:
    """Where a message is and what flags it has; box None: it is nowhere."""
    box: str = None
    flags: frozenset = frozenset()


@dataclasses.dataclass(frozen=True)
class Put:
    """APPEND, MOVE; to None: EXPUNGE. flags None: those that it has."""
    box: str
    flags: frozenset = None

    def of(self, state):
        return State(self.box, state.flags if self.flags is None else self.flags)


@dataclasses.dataclass(frozen=True)
class Flag:
    """STORE of one flag."""
    flag: str
    add: bool

    def of(self, state):
        return State(state.box, state.flags | {self.flag} if self.add else state.flags - {self.flag})


@dataclasses.dataclass
class Message:
    mark: str
    told: State = State()
    asked: list = dataclasses.field(default_factory=list)
    log: list = dataclasses.field(default_factory=list)

    @property
    def is_open(self):
        """It is known where it is, and it is there."""
        return not self.asked and self.told.box is not None

    def ask(self, change):
        self.asked.append(change)
        self.log.append((time.time(), change))

    def done(self):
        """OK to the first one that was asked."""
        self.told = self.asked.pop(0).of(self.told)
        self.log.append((time.time(), "OK"))

    def refused(self, answer):
        """NO: it was not done, and the client knows."""
        self.asked.pop(0)
        self.log.append((time.time(), answer))

    def states(self):
        """All that it may be in."""
        found = [self.told]
        for change in self.asked:
            found.append(change.of(found[-1]))
        return found
