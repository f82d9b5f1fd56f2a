"""Commands at random, such as clients send them, and such as no client sends. The same bytes go to both sides, so numbers and
names are those that the client knows.

A step is (number of the session, [command, ...]): commands that are sent in one go. A command is a list of parts: bytes, and
Literal where the server is asked first. idle steps are (session, "idle", step of another session).
"""
import random
import re

from harness import mail

KEYWORDS = ("$label1", "work", "NonJunk")
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", *KEYWORDS)
ITEMS = ("FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]",
         "BODY.PEEK[]", "BODY.PEEK[TEXT]<0.20>", "BODY.PEEK[]<5.10>", "BODY", "RFC822.HEADER")
STATUS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN")
HUGE = (1 << 32) - 1


class Literal(bytes):
    """Sent behind its length, when the server has said "+"."""


class Mark(bytes):
    """A MODSEQ, or the UIDVALIDITY, that a mailbox had at a step of that label: another one on each side."""


def spell(step):
    """A step, for people; what is in <> goes as a literal."""
    session, commands, *more = step
    if commands == "mark":
        return f"mark {more[0][0].decode()} in {more[0][1]}"
    if commands == "idle":
        return f"{session}: IDLE, and meanwhile {spell(more[0])}"
    return f"{session}: " + " | ".join("".join(
        f"<{bytes(p).decode('latin-1')}>" if isinstance(p, Literal) else p.decode("latin-1") for p in c) for c in commands)


class Writer:
    """seen(session) tells what a session knows: (messages it has, its UIDNEXT, may it write), None where none is selected.
    names: the mailboxes that there are, as on the wire."""

    def __init__(self, seed, names, separator, prefix, shown, sessions=2, marked=None):
        """marked: the mailbox that each session has open, where sessions go by MODSEQs; there are marks "old NAME" of all."""
        self.marking = marked is not None
        self.rng = random.Random(seed)
        self.names, self.separator, self.prefix = set(names), separator, prefix
        self.shown, self.sessions = shown, sessions
        self._made = 0
        self._marks = {x: [b"old " + x.encode()] for x in names} if self.marking else {}  # name -> [label]
        self._where = dict(enumerate(marked or ()))  # session -> name
        self._in = None                    # the mailbox of the session whose step is made; the first one has QRESYNC
        self._resyncs = False

    # ---- parts

    def pick(self, *choices):
        return self.rng.choice(choices)

    def chance(self, share):
        return self.rng.random() < share

    def string(self, text):
        """Quoted, as an atom, or one of both literals."""
        raw = text.encode()
        how = self.rng.random()
        if how < 0.15:
            return [Literal(raw)]
        if how < 0.3 and "LITERAL+" in self.shown:
            return [b"{%d+}\r\n%s" % (len(raw), raw)]
        if how < 0.5 and raw and not set(raw) & set(b' "\\(){}%*&'):
            return [raw]
        return [mail.quoted(text).encode()]

    def new_name(self):
        self._made += 1
        parent = self.rng.choice(sorted(self.names)) if self.chance(0.4) else None
        base = self.pick("new", "Ärger", "a b", "x&y")
        level = mail.mutf7(f"{base}{self._made}")
        if parent and parent != "INBOX":
            return parent + self.separator + level
        return self.prefix + level

    def name(self, there=0.9):
        if not self.chance(there):
            return self.pick(f"{self.prefix}missing", f"{self.prefix}Archive{self.separator}none", "elsewhere.x")
        if self.chance(0.25):
            return self.pick("INBOX", "inbox", "InBox")
        return self.rng.choice(sorted(self.names))

    def since(self, old=True):
        """A MODSEQ of the mailbox that is open. What is older than the move may be answered by more than what changed."""
        marks = [x for x in self._marks.get(self._in, []) if old or not x.startswith(b"old")]
        return Mark(self.rng.choice(marks)) if marks and self.chance(0.8) else self.pick(b"1", b"1", b"9223372036854775807")

    def from_then_on(self):
        """The one behind it: a search finds messages of that MODSEQ too."""
        since = self.since(False)
        return Mark(since + b" next") if isinstance(since, Mark) else since

    def goes_by_modseqs(self, share):
        return "CONDSTORE" in self.shown and self.marking and self.chance(share)

    def select(self, session):
        name = self.name(1 if self.marking else 0.97)
        self._in = self._where[session] = "INBOX" if name.upper() == "INBOX" else name
        command = [self.pick(b"SELECT ", b"SELECT ", b"EXAMINE "), *self.string(name)]
        if not self.goes_by_modseqs(0.7):
            return command
        marks = self._marks.get(self._in)
        if session or not marks or self.chance(0.2):
            return [*command, b" (CONDSTORE)"]
        mark = self.rng.choice(marks)
        known = self.pick(b"", b"", b" 1:4294967295", b" 1:20", b" 2,4:6,9,30:40", b" 1:30 (1,2 1,2)")
        return [*command, b" (QRESYNC (", Mark(mark + b" validity"), b" ", Mark(mark), known, b"))"]

    def mark(self):
        name = "INBOX" if self.chance(0.4) or not self._in else self._in if self.chance(0.6) else self.rng.choice(sorted(self.names))
        label = b"m%d" % len([x for all_ in self._marks.values() for x in all_])
        self._marks.setdefault(name, []).append(label)
        return (0, "mark", (label, name))

    def number(self, top):
        how = self.rng.random()
        if how < 0.1:
            return "*"
        if how < 0.13:
            return str(HUGE)
        return str(self.rng.randint(1, max(top, 1) + (3 if how < 0.25 else 0)))

    def set(self, top):
        parts = []
        for _ in range(self.pick(1, 1, 1, 2, 3, 6)):
            parts.append(self.number(top) if self.chance(0.5) else f"{self.number(top)}:{self.number(top)}")
        return self.pick("1:*", "*:1", ",".join(parts), ",".join(parts), ",".join(parts))

    def msn(self, count):
        """Mostly of messages that there are: else the server says BAD, as it should."""
        if not count or self.chance(0.05):
            return self.set(count + 2)
        a, b = self.rng.randint(1, count), self.rng.randint(1, count)
        return self.pick("1:*", "*", f"{a}", f"{a}:{b}", f"{b},{a}", f"{a}:*")

    # ---- searches

    def key(self, count, top, depth=0):
        rng = self.rng
        if depth < 4 and self.chance(0.5):
            return self.pick(
                lambda: [b"NOT ", *self.key(count, top, depth + 1)],
                lambda: [b"OR ", *self.key(count, top, depth + 1), b" ", *self.key(count, top, depth + 1)],
                lambda: [b"(", *self.key(count, top, depth + 1), b" ", *self.key(count, top, depth + 1), b")"])()
        return self.pick(
            lambda: [f"UID {self.set(top)}".encode()], lambda: [f"UID {self.set(top)}".encode()],
            lambda: [f"UID {rng.randint(1, top)}".encode()], lambda: [self.msn(count).encode()] if count else [b"ALL"],
            lambda: [self.pick(b"ALL", b"SEEN", b"UNSEEN", b"FLAGGED", b"DELETED", b"ANSWERED", b"UNDRAFT")],
            lambda: [b"MODSEQ ", self.pick(b"", b'"/flags/\\\\Seen" all '), self.from_then_on()] if self.goes_by_modseqs(0.9) else [b"ALL"],
            lambda: [b"KEYWORD " + rng.choice(KEYWORDS).encode()], lambda: [f"LARGER {rng.randint(100, 1500)}".encode()],
            lambda: [b"SUBJECT ", *self.string(f"x0000{rng.randint(0, 9)}")],
            lambda: [b"BEFORE 1-Jan-2018"])()

    def keys(self, count, top):
        out = self.key(count, top)
        if self.chance(0.4):
            out += [b" ", *self.key(count, top)]
        return out

    def returns(self):
        if "ESEARCH" not in self.shown or self.chance(0.5):
            return b""
        return b"RETURN (" + b" ".join(self.rng.sample([b"MIN", b"MAX", b"ALL", b"COUNT"], self.rng.randint(0, 4))) + b") "

    # ---- commands in a mailbox

    def fetch(self, count, top, uid):
        items = " ".join(self.rng.sample(ITEMS, self.rng.randint(1, 4)))
        what = self.pick(f"({items})", f"({items})", "FLAGS", "(FLAGS)", "(UID FLAGS)", "ALL", "FAST", "UID", "(BODY[])")
        command = [f"{'UID ' if uid else ''}FETCH {self.set(top) if uid else self.msn(count)} {what}".encode()]
        if not self.goes_by_modseqs(0.5):
            return command
        if b"BODY[]" in command[0]:  # what has to be answered by more than what changed would be seen then
            command = [command[0].replace(b"BODY[]", b"UID")]
        return [*command, b" (CHANGEDSINCE ", self.since(), self.pick(b" VANISHED)", b")") if uid and self._resyncs else b")"]

    def search(self, count, top, uid):
        verb = b"UID SEARCH " if uid else b"SEARCH "
        return [verb + self.returns() + self.pick(b"", b"", b"CHARSET UTF-8 "), *self.keys(count, top)]

    def sort(self, count, top, uid):
        verb = b"UID " if uid else b""
        if "SORT" in self.shown and self.chance(0.6):
            return [verb + b"SORT " + self.pick(b"(SUBJECT)", b"(REVERSE SIZE)", b"(ARRIVAL)", b"(REVERSE ARRIVAL SUBJECT)")
                    + b" UTF-8 ", *self.keys(count, top)]
        if "THREAD=REFERENCES" in self.shown:
            return [verb + b"THREAD " + self.pick(b"REFERENCES", b"ORDEREDSUBJECT") + b" UTF-8 ", *self.keys(count, top)]
        return self.search(count, top, uid)

    def store(self, count, top, uid):
        flags = " ".join(self.rng.sample(FLAGS, self.rng.randint(0, 3)))
        how = self.pick("FLAGS", "+FLAGS", "-FLAGS", "+FLAGS.SILENT", "FLAGS.SILENT")
        head, tail = f"{'UID ' if uid else ''}STORE {self.set(top) if uid else self.msn(count)} ", f"{how} ({flags})".encode()
        if not self.goes_by_modseqs(0.4):
            return [head.encode() + tail]
        return [head.encode() + b"(UNCHANGEDSINCE ", self.pick(b"0", self.since(False), self.since(False)), b") " + tail]

    def copy(self, count, top, uid):
        verb = self.pick("COPY", "MOVE") if "MOVE" in self.shown else "COPY"
        head = f"{'UID ' if uid else ''}{verb} {self.set(top) if uid else self.msn(count)} "
        # Which of two mistakes a server complains of is its own affair: no number that is not there, to a name that is not there.
        return [head.encode(), *self.string(self.name(0.9 if uid else 1))]

    def delete_some(self, count, top, uid):
        if uid and "UIDPLUS" in self.shown:
            return [f"UID EXPUNGE {self.set(top)}".encode()]
        return [b"EXPUNGE"]

    def selected(self, seen):
        count, top, _ = seen
        what = self.rng.choices([self.fetch, self.search, self.sort, self.store, self.copy, self.delete_some],
                                [6, 6, 2, 4, 3, 2])[0]
        return what(count, top, self.chance(0.65))

    # ---- and without one

    def list(self):
        reference = self.pick('""', '""', '""', f'"{self.prefix}"', f'"{self.prefix}Archive"')
        pattern = self.pick("*", "%", f"{self.prefix}%", f"{self.prefix}*", f"{self.prefix}Arch*", f"*{self.separator}%", "INB%",
                            f"{self.prefix}%{self.separator}%", "inbox", "*2019*", "", f"%{self.separator}Archive", "/*")
        # LSUB with a wildcard in front: not every server says all that RFC 3501 wants.
        verb = self.pick("LIST", "LIST", "LSUB") if pattern and pattern[0] not in "%/" else "LIST"
        more = ""
        if verb == "LIST" and "LIST-STATUS" in self.shown and pattern and self.chance(0.3):
            more = " RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY))"
        elif verb == "LIST" and "LIST-EXTENDED" in self.shown and pattern and pattern[0] not in "Ii" and self.chance(0.3):
            more = self.pick(" RETURN (SUBSCRIBED CHILDREN)", " RETURN (CHILDREN)")
        reference = reference if pattern else '""'
        return [f"{verb} {reference} ".encode(), *self.string(pattern), more.encode()]

    def status(self):
        items = " ".join(self.rng.sample(STATUS, self.rng.randint(1, 4)))
        return [b"STATUS ", *self.string(self.name()), f" ({items})".encode()]

    def append(self):
        self._made += 1
        body = f"Subject: mark new{self._made}\r\nMessage-ID: <new{self._made}@example.org>\r\n\r\n{'x' * self._made}\r\n".encode()
        flags = f" ({' '.join(self.rng.sample(FLAGS, 2))})" if self.chance(0.5) else ""
        date = ' "01-Jan-2020 12:00:00 +0000"'
        out = [b"APPEND ", *self.string(self.name()), f"{flags}{date} ".encode()]
        if "LITERAL+" in self.shown and self.chance(0.5):
            return [*out, b"{%d+}\r\n%s" % (len(body), body)]
        return [*out, Literal(body)]

    def subscribe(self):
        return [self.pick(b"SUBSCRIBE ", b"UNSUBSCRIBE "), *self.string(self.name(1))]

    def anywhere(self):
        what = self.rng.choices([self.list, self.status, self.append, self.subscribe, lambda: [b"NAMESPACE"]], [5, 4, 5, 1, 1])[0]
        return what()

    def pipeline(self, seen):
        """Nothing behind what removes messages, or brings some: which of them are there for that is a matter of moments. A Dovecot
        that reads `APPEND INBOX` and `UID COPY *:7` at once copies without the new message, else with it."""
        out = []
        for _ in range(self.rng.randint(2, 4)):
            out.append(self.selected(seen) if self.chance(0.7) else self.anywhere())
            if re.search(rb"\b(MOVE|EXPUNGE|COPY|APPEND)\b", out[-1][0]):
                break
        return out

    # ---- names that change

    def closed(self):
        """Those in which no session is: what becomes of that one differs from server to server."""
        return [x for x in sorted(self.names) if not self._is_open(x)]

    def rename(self):
        """(command, what becomes of the names when it is done)."""
        old = self.rng.choice(self.closed())
        new = self.new_name()
        below = [x for x in self.names if x.startswith(old + self.separator)] if old != "INBOX" else []
        if new.startswith(old + self.separator):
            below = []

        def done():
            if old != "INBOX":
                self.names.discard(old)
            self.names.add(new)
            for x in below:
                self.names.discard(x)
                self.names.add(new + x[len(old):])
        return [b"RENAME ", *self.string(old), b" ", *self.string(new)], done

    def create(self):
        new = self.new_name() if self.chance(0.8) else self.name(1)
        return [b"CREATE ", *self.string(new)], lambda: self.names.add(new)

    def delete(self):
        name = self.rng.choice([x for x in self.closed() if x != "INBOX"] or ["none"])
        return [b"DELETE ", *self.string(name)], lambda: self.names.discard(name)

    # ---- steps

    def step(self, seen, is_open):
        """(step, what follows for the names when it was done, or None)."""
        self._is_open = is_open
        session = self.rng.randrange(self.sessions)
        known = seen(session)
        self._in, self._resyncs = self._where.get(session), not session
        if self.goes_by_modseqs(0.12):
            return self.mark(), None
        if known is None or self.chance(0.15 if self.marking else 0.07):
            return (session, [self.select(session)]), None
        if self.chance(0.09):
            command, done = self.pick(self.rename, self.create, self.create, self.delete)()
            return (session, [command]), done
        if self.chance(0.02):
            return (session, [[self.pick(b"UNSELECT", b"CLOSE")]]), None
        if self.sessions > 1 and "IDLE" in self.shown and self.chance(0.04):
            other = (session + 1) % self.sessions
            self._in, self._resyncs = self._where.get(other), not other
            theirs = seen(other)
            command = self.selected(theirs) if theirs else self.append()
            return (session, "idle", (other, [command])), None
        if self.chance(0.12):
            return (session, self.pipeline(known)), None
        return (session, [self.selected(known) if self.chance(0.75) else self.anywhere()]), None
