"""A client that writes all the time, and remembers what it was told.

Each of its messages carries a mark of its own; it touches no message but those. In INBOX it does all that a client can do to
a message, in Kept it takes nothing away, so that it may be handed over at the flip."""
import re

from .client import Client, Ended
from .message import Flag, Message, Put, text

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$One", "$Two", "$Three")
EASED = 20  # after so many messages it writes half as fast, and so on: where a fault lasts, accounts must not grow for ever
MOST = 60   # messages, then it changes those that it has: a machine that is slow must be able to follow
OWN_KEYWORDS = 6  # of each session, each stored once: a Maildir keeps 26 in all
KINDS = {
    "INBOX": ("append", "append", "store", "store", "expunge", "move", "pipeline", "pipeline"),
    "Kept": ("append", "store", "store", "pipeline", "pipeline"),
}


class Session(Client):
    def __init__(self, addresses, user, name, seed, box="INBOX", pace=0.02):
        super().__init__(addresses, user, name, seed)
        self.box, self.pace = box, pace
        self.number = 0  # UIDVALIDITY
        self.told = 0  # changes that were answered OK
        self.keywords = [f"{name}k{n}" for n in range(OWN_KEYWORDS)]

    def work(self):
        self.number = self._select(self.box)
        self._look()
        while not self.over.is_set():
            self._step()
            self.over.wait(self.random.random() * 2 * self.pace * (1 + len(self.messages) / EASED))

    def _look(self):
        """All that is there, by the numbers that it has, is what it was, and mail."""
        lines = self._must(self._command(b"FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        text = b"\n".join(lines)
        for uid, subject in re.findall(rb"\* \d+ FETCH \(.*?UID (\d+).*?\r?\n(?:Subject: ([^\r\n]*))?", text, re.S):
            if not subject.startswith(b"mark "):
                self.complaints.append(f"{self.label}: UID {uid.decode()} of {self.box} is no mail but {subject!r}")
            self._is_named(self.box, self.number, uid, subject.decode("ascii", "replace"))

    # ---- changes

    def _mine(self):
        return [m for m in self.messages if m.is_open and m.told.box == self.box and "\\Deleted" not in m.told.flags]

    def _step(self):
        mine = self._mine()
        kind = self.random.choice(KINDS[self.box])
        if len(self.messages) >= MOST:
            kind = "store" if kind == "append" else kind
        if kind == "append" or (len(mine) < 4 and len(self.messages) < MOST):
            self._append()
        elif len(mine) < 4:
            self._store_each(mine)
        elif kind == "pipeline":
            self._pipeline(self.random.sample(mine, 3))
        else:
            self._send(getattr(self, "_" + kind)(self.random.choice(mine)))
        self._expunge_deleted()

    def _store_each(self, messages):
        for message in messages:
            self._send(self._store(message))

    def _append(self):
        message = Message(f"{self.label}-{len(self.messages)}")
        self.messages.append(message)
        flags = frozenset(f for f in FLAGS if self.random.random() < 0.2)
        body = text(message.mark, "x" * self.random.randrange(20, 3000))
        head = f"APPEND {self.box} ({' '.join(sorted(flags))})".encode()
        message.ask(Put(self.box, flags))
        self._judge(message, self._command(head, body)[-1])

    def _pipeline(self, messages):
        """Changes of several messages, all sent before the first is answered."""
        changes = []
        for message in messages:
            kind = self.random.choice(("store", "store", "both", "expunge", "move"))
            if kind == "both":
                changes += self._store(message) + self._move(message)
            else:
                changes += getattr(self, "_" + kind)(message)
        self._send(changes)

    # ---- what a change is: [(message, command, change), ...]

    def _store(self, message):
        flag = self.random.choice(FLAGS)
        if self.keywords and self.random.random() < 0.1:
            flag = self.keywords.pop()
        add = flag not in message.told.flags
        return [(message, f"{'+' if add else '-'}FLAGS.SILENT ({flag})", Flag(flag, add))]

    def _expunge(self, message):
        if self.box == "Kept":
            return self._store(message)
        return [(message, "+FLAGS.SILENT (\\Deleted)", Flag("\\Deleted", True))]

    def _expunge_deleted(self):
        """Not in the same breath as the STORE before it: then Dovecot by itself says OK to EXPUNGE now and then and lets the
        message be."""
        deleted = [m for m in self.messages if m.is_open and m.told.box == self.box and "\\Deleted" in m.told.flags]
        if deleted:
            self._send([(m, "EXPUNGE", Put(None)) for m in deleted])

    def _move(self, message):
        return [] if self.box == "Kept" else [(message, "MOVE Archive", Put("Archive"))]

    # ---- asking, and what is answered

    def _send(self, changes):
        uids = {m.mark: self._uid(m) for m, _, _ in changes}
        sent, text = [], b""
        for message, what, change in changes:
            verb, _, rest = what.partition(" ")
            verb, rest = ("STORE", what) if "FLAGS" in verb else (verb, rest)
            tag = self._next_tag()
            text += b"%s UID %s %s%s\r\n" % (tag, verb.encode(), uids[message.mark], (" " + rest if rest else "").encode())
            sent.append((message, tag))
            message.ask(change)
        self.wire.send(text)
        for message, tag in sent:
            self._judge(message, self._answer(tag)[-1])

    def _judge(self, message, answer):
        if b" OK" in answer:
            message.done()
            self.told += 1
            self.begun.set()
        elif b" NO" in answer:
            message.refused(answer)
        else:
            raise Ended(answer.decode("ascii", "replace"))

    def _uid(self, message):
        """What the server shows now; a message that it does not show is none of this session's any more."""
        lines = self._must(self._command(b"UID SEARCH HEADER Subject %s" % (b'"mark ' + message.mark.encode() + b'"')))
        found = [line for line in lines if line.startswith(b"* SEARCH")]
        uids = [u for line in found for u in re.findall(rb"\d+", line)]
        exact = [u for u in uids if self._is(u, message)]
        if len(exact) != 1:
            self.complaints.append(f"{self.label}: {message.mark} is shown {len(exact)} times: {message.log[-4:]}")
            message.ask(Put(message.told.box))
            raise Ended("a message of ours is not there")
        self._is_named(self.box, self.number, exact[0], "mark " + message.mark)
        return exact[0]

    def _is(self, uid, message):
        lines = self._must(self._command(b"UID FETCH " + uid + b" (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        return any(line.strip() == b"Subject: mark " + message.mark.encode() for line in lines)
