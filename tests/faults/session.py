"""A client that writes all the time, and remembers what it was told.

Each of its messages carries a mark of its own; it touches no message but those. So what has to be true of a message
afterwards follows from its own log alone: every change that was answered OK, in order, and at the end perhaps one
whose answer never came, which may have happened or not."""
import dataclasses
import random
import re
import threading
import time

from harness.scene import PASSWORD, Wire

BOXES = ("INBOX", "Archive")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$One", "$Two", "$Three")
TIMEOUT = 30  # seconds for an answer: longer than any freeze


@dataclasses.dataclass
class State:
    """Where a message is and what flags it has; box None: it is nowhere."""
    box: str = None
    flags: frozenset = frozenset()


@dataclasses.dataclass
class Message:
    mark: str
    told: State = dataclasses.field(default_factory=State)  # by the last OK
    asked: State = None  # of a change without an answer: this or `told`
    log: list = dataclasses.field(default_factory=list)

    @property
    def is_open(self):
        return self.asked is None and self.told.box is not None


class Ended(Exception):
    """The connection is over, or what came was no answer."""


class Session(threading.Thread):
    """Signs in again whenever it is sent away, until stop()."""

    def __init__(self, addresses, user, name, seed, pace=0.02):
        super().__init__(daemon=True, name=name)
        self.addresses, self.user, self.label = addresses, user, name
        self.random = random.Random(seed)
        self.pace = pace
        self.messages = []
        self.told = 0           # changes that were answered OK
        self.endings = []       # what each connection ended with
        self.complaints = []    # answers that a client must never see
        self.wire = None
        self.tag = 0
        self.over = threading.Event()
        self.written = threading.Event()  # at least one OK

    # ---- the thread

    def run(self):
        while not self.over.is_set():
            try:
                self._sign_in()
                while not self.over.is_set():
                    self._step()
                    self.over.wait(self.random.random() * 2 * self.pace)
            except (OSError, Ended, AssertionError) as e:
                self.endings.append(f"{type(e).__name__}: {e}"[:300])
                self.over.wait(0.02 + self.random.random() * 0.1)
            finally:
                if self.wire:
                    self.wire.close()
                    self.wire = None

    def stop(self):
        self.over.set()

    # ---- the protocol

    def _command(self, text, literal=None):
        """The lines of its answer, the tagged one last; Ended where there is none."""
        self.tag += 1
        tag = b"%s%d" % (self.label.encode(), self.tag)
        if literal is not None:
            text = text + b" {%d}" % len(literal)
        self.wire.line(tag + b" " + text)
        if literal is not None:
            self._continue(tag)
            self.wire.line(literal)
        lines = []
        while True:
            line = self._line()
            lines.append(line)
            if line.startswith(tag + b" "):
                return lines

    def _line(self):
        line = self.wire.read_line()
        if line is None:
            raise Ended("closed")
        if line.startswith(b"* BYE"):
            if not line.startswith(b"* BYE [UNAVAILABLE]"):
                self.complaints.append(f"{self.label}: {line!r}")
            raise Ended(line.decode("ascii", "replace"))
        return line

    def _continue(self, tag):
        line = self._line()
        while line.startswith(b"* "):
            line = self._line()
        if not line.startswith(b"+"):
            raise Ended(f"no continuation but {line!r}")

    def _sign_in(self):
        address = self.random.choice(self.addresses())
        self.wire = Wire(address, timeout=TIMEOUT)
        self._line()
        answer = self._command(b'LOGIN "%s" "%s"' % (self.user.encode(), PASSWORD.encode()))[-1]
        if b" OK" not in answer:
            if b"[UNAVAILABLE]" not in answer:
                self.complaints.append(f"{self.label}: LOGIN: {answer!r}")
            raise Ended(answer.decode("ascii", "replace"))
        self._must(self._command(b"SELECT INBOX"))

    @staticmethod
    def _must(lines):
        if b" OK" not in lines[-1]:
            raise Ended(lines[-1].decode("ascii", "replace"))
        return lines

    # ---- changes

    def _step(self):
        mine = [m for m in self.messages if m.is_open and m.told.box == "INBOX"]
        kind = self.random.choice(("append", "append", "store", "store", "store", "expunge", "move"))
        if kind == "append" or len(mine) < 3:
            self._append()
        else:
            getattr(self, "_" + kind)(self.random.choice(mine))

    def _change(self, message, asked, lines_of, *said):
        """One change: asked until it is answered."""
        message.asked = asked
        message.log.append((time.time(), said))
        answer = lines_of()[-1]
        if b" OK" in answer:
            message.told, message.asked = asked, None
            message.log.append((time.time(), "OK"))
            self.told += 1
            self.written.set()
        elif b" NO" in answer:  # not done, and the client knows
            message.asked = None
            message.log.append((time.time(), answer))
        else:
            raise Ended(answer.decode("ascii", "replace"))

    def _append(self):
        message = Message(f"{self.label}-{len(self.messages)}")
        self.messages.append(message)
        flags = frozenset(f for f in FLAGS if self.random.random() < 0.2)
        body = b"Subject: mark %s\r\nFrom: a@example.org\r\n\r\n%s\r\n" % (
            message.mark.encode(), b"x" * self.random.randrange(20, 3000))
        head = f"APPEND INBOX ({' '.join(sorted(flags))})".encode()
        self._change(message, State("INBOX", flags), lambda: self._command(head, body), "append", sorted(flags))

    def _uid(self, message):
        """What the server shows now; a message that it does not show is none of this session's any more."""
        lines = self._must(self._command(b"UID SEARCH HEADER Subject %s" % (b'"mark ' + message.mark.encode() + b'"')))
        found = [line for line in lines if line.startswith(b"* SEARCH")]
        uids = [u for line in found for u in re.findall(rb"\d+", line)]
        exact = [u for u in uids if self._is(u, message)]
        if len(exact) != 1:
            self.complaints.append(f"{self.label}: {message.mark} is shown {len(exact)} times: {message.log[-4:]}")
            message.asked = message.told
            raise Ended("a message of ours is not there")
        return exact[0]

    def _is(self, uid, message):
        lines = self._must(self._command(b"UID FETCH " + uid + b" (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        return any(line.strip() == b"Subject: mark " + message.mark.encode() for line in lines)

    def _store(self, message):
        uid = self._uid(message)
        flag = self.random.choice(FLAGS)
        add = flag not in message.told.flags
        flags = message.told.flags | {flag} if add else message.told.flags - {flag}
        text = b"UID STORE %s %sFLAGS.SILENT (%s)" % (uid, b"+" if add else b"-", flag.encode())
        self._change(message, State("INBOX", flags), lambda: self._command(text), "store", add, flag)

    def _expunge(self, message):
        uid = self._uid(message)
        self._change(message, State("INBOX", message.told.flags | {"\\Deleted"}),
                     lambda: self._command(b"UID STORE " + uid + b" +FLAGS.SILENT (\\Deleted)"), "delete")
        if message.asked is None and "\\Deleted" in message.told.flags:
            self._change(message, State(None), lambda: self._command(b"UID EXPUNGE " + uid), "expunge")

    def _move(self, message):
        uid = self._uid(message)
        self._change(message, State("Archive", message.told.flags),
                     lambda: self._command(b"UID MOVE " + uid + b" Archive"), "move")
