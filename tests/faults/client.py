"""What all clients have in common: they sign in again whenever they are sent away, and keep what no client must see."""
import random
import re
import threading

from harness.scene import PASSWORD, Wire

TIMEOUT = 30  # seconds for an answer: longer than any freeze


class Ended(Exception):
    """The connection is over, or what came was no answer."""


class Client(threading.Thread):
    """Works until stop(). A subclass has work(), which is called with each connection that was signed in."""

    def __init__(self, addresses, user, name, seed):
        super().__init__(daemon=True, name=name)
        self.addresses, self.user, self.label = addresses, user, name
        self.random = random.Random(seed)
        self.messages = []
        self.endings = []       # what each connection ended with
        self.complaints = []    # answers that a client must never see
        self.numbered = {}      # (mailbox, UIDVALIDITY) -> {UID: mark}, as this client was ever shown
        self.highest = {}       # UIDVALIDITY of each mailbox
        self.wire = None
        self.tag = 0
        self.over = threading.Event()
        self.begun = threading.Event()  # it has done once what it is there for

    # ---- the thread

    def run(self):
        while not self.over.is_set():
            try:
                self._sign_in()
                self.work()
            except (OSError, Ended, AssertionError) as e:
                self.endings.append(f"{type(e).__name__}: {e}"[:300])
                self.over.wait(0.02 + self.random.random() * 0.1)
            except Exception as e:  # pylint: disable=broad-except
                self.complaints.append(f"{self.label} ended: {type(e).__name__}: {e}")
                return
            finally:
                self.ended()
                if self.wire:
                    self.wire.close()
                    self.wire = None

    def work(self):
        raise NotImplementedError

    def ended(self):
        """The connection is over."""

    def stop(self):
        self.over.set()

    # ---- the protocol

    def _next_tag(self):
        self.tag += 1
        return b"%s%d" % (self.label.encode(), self.tag)

    def _command(self, text, literal=None):
        """The lines of its answer, the tagged one last; Ended where there is none."""
        tag = self._next_tag()
        if literal is not None:
            text = text + b" {%d}" % len(literal)
        self.wire.line(tag + b" " + text)
        if literal is not None:
            self._continue()
            self.wire.line(literal)
        return self._answer(tag)

    def _answer(self, tag):
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

    def _continue(self):
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

    # ---- numbers

    def _select(self, box):
        """The UIDVALIDITY, which must not fall."""
        lines = self._must(self._command(b"SELECT " + box.encode()))
        number = int(re.search(rb"\[UIDVALIDITY (\d+)\]", b"\n".join(lines)).group(1))
        if number < self.highest.get(box, 0):
            self.complaints.append(f"{self.label}: UIDVALIDITY of {box} fell from {self.highest[box]} to {number}")
        self.highest[box] = number
        return number

    def _is_named(self, box, number, uid, mark):
        """A UID names one message for ever."""
        was = self.numbered.setdefault((box, number), {}).setdefault(int(uid), mark)
        if was != mark:
            self.complaints.append(f"{self.label}: UID {uid} of {box} ({number}) was {was}, is {mark}")

    @staticmethod
    def _must(lines):
        if b" OK" not in lines[-1]:
            raise Ended(lines[-1].decode("ascii", "replace"))
        return lines
