"""The same commands to an account that was moved, through the proxy, and to one that was not: each answer has to be the same.

    with World() as world:
        found = world.run(seed=7, steps=60)     # None, or a Found: which step, and what differs
        print(found)                            # with the shortest sequence that still shows it

Both accounts begin as copies of one another, file by file. In both a session stays selected while the other one is moved.
"""
import contextlib
import dataclasses
import os
import re
import shutil

from harness import mail, net
from harness.scene import Wire

from . import scene, script
from .account import View
from .answers import Validity, expand, of_code, of_fetch, pairs, value
from .script import Literal, Mark, spell
from .talk import Talk

UNASKED = (b"UID", b"FLAGS")  # what a server may tell or not
TRIES = 60
ENABLED = (b"QRESYNC", b"CONDSTORE")  # by each session, where they go by MODSEQs
FEW = (("INBOX",), ("Sent",), ("Trash",), ("Archive",), ("Archive", "2019"), ("Archive", "2019", "Q1"), ("Ämter", "Größe"), ("Ämter",),
       ("Lists",), scene.BIG, ("Lists", "c"), ("Work",), ("empty",), ("emptied",))


@dataclasses.dataclass
class Found:
    seed: int
    at: int
    difference: str
    steps: list

    def __str__(self):
        lines = [f"seed {self.seed}: at step {self.at}: {self.difference}", "steps:"]
        return "\n".join(lines + [f"  {n}: {spell(x)}" for n, x in enumerate(self.steps)])


# ---- one session

class Message:
    """known: its UID and flags as they were told last; got: what was told in this step."""

    def __init__(self):
        self.known, self.got = {}, {}
        self.modseq = 0

    def hear(self, got, quiet=False):
        """quiet: nobody asked but the session, which wants to know UIDs."""
        if not quiet:
            self.got.update(got)
        self.known.update((k, v) for k, v in got.items() if k in UNASKED)


class Session(Talk):
    """What a client knows of a mailbox that it has selected, from what it was told alone."""

    def __init__(self, address, user):
        super().__init__(address, user)
        self._number = 0
        self.messages = self.mailbox = None
        self.writes = False
        self.begin()
        self.uidnext = 1
        self._selecting = self._leaves = None  # tags
        self._finished = {}                    # tag -> answer
        self.marks = {}                        # label -> number
        self.resyncs = self._quiet = False     # QRESYNC is enabled

    # -- commands

    def send(self, command):
        """One command; its tag."""
        self._number += 1
        tag = b"t%d" % self._number
        line = tag + b" "
        for part in command:
            if isinstance(part, Literal):
                self.wire.send(line + b"{%d}\r\n" % len(part))
                line = part
                if not self._until(lambda a: a.kind in (b"+", tag)) or tag in self._finished:
                    return tag
            elif isinstance(part, Mark):
                line += b"%d" % self.marks.get(bytes(part), 1)
            else:
                line += part
        self.wire.send(line + b"\r\n")
        return tag

    def _until(self, wanted):
        """False where the connection ends before it."""
        while not self.closed:
            answer = self.read()
            if answer is None:
                return False
            self._heard(answer)
            if wanted(answer):
                return True
        return False

    def _end_of(self, tag):
        """The tagged answer, which may have come while another one was waited for."""
        if tag not in self._finished:
            self._until(lambda a: a.kind == tag)
        return self._finished.pop(tag, None)

    # -- what came

    def begin(self):
        self.original = list(self.messages or [])
        for message in self.original:
            message.got = {}
        self.gone, self.others, self.tagged, self.earlier = [], [], [], set()

    def _heard(self, answer):
        if answer.kind == b"EXISTS":
            if self.messages is None:
                self.messages = self.original = []
            if answer.number < len(self.messages):
                self.others.append(("EXISTS falls", answer.number))
            while len(self.messages) < answer.number:
                self.messages.append(Message())
                if self.messages is not self.original:
                    self.original.append(self.messages[-1])
        elif answer.kind in (b"EXPUNGE", b"FETCH"):
            self._heard_of(answer)
        elif answer.kind == b"VANISHED":
            self._vanished(expand(answer.data[-1]), len(answer.data) > 1)
        elif answer.status:
            self._finished[answer.kind] = answer
        elif answer.kind != b"+":
            told = value(answer)
            flags = told and (told[0] == b"FLAGS" or told[0] == b"OK" and told[1][0] == b"PERMANENTFLAGS")
            if told is not None and (self._selecting or not flags):  # a new keyword brings them at any time
                self.others.append(told)
            if answer.kind == b"ENABLED":
                self.resyncs |= b"QRESYNC" in answer.data
            if answer.kind == b"OK" and answer.data and answer.data[0].upper() == b"UIDNEXT":
                self.uidnext = int(answer.data[1])

    def _heard_of(self, answer):
        if not self.messages or not 1 <= answer.number <= len(self.messages):
            self.others.append(("beyond", answer.kind, answer.number))
        elif answer.kind == b"EXPUNGE":
            if self.resyncs:
                self.others.append(("EXPUNGE with QRESYNC", answer.number))
            self._went(answer.number - 1)
        else:
            message = self.messages[answer.number - 1]
            modseq = int((pairs(answer.data[0]).get(b"MODSEQ") or (message.modseq,))[0])
            if modseq < message.modseq:
                self.others.append(("MODSEQ falls", answer.number))
            message.modseq = modseq
            message.hear(of_fetch(answer.data), self._quiet)

    def _went(self, at):
        gone = self.messages[at]
        if self.messages is self.original:
            self.messages = list(self.original)
        del self.messages[at]
        self.gone.append(self.original.index(gone))

    def _vanished(self, uids, earlier):
        if not self.resyncs:
            self.others.append(("VANISHED without QRESYNC", tuple(uids)))
        if earlier:
            self.earlier.update(uids)
            return
        for uid in uids:
            known = [m.known.get(b"UID") for m in self.messages or []]
            at = known.index(b"%d" % uid) if b"%d" % uid in known else known.index(None) if None in known else -1
            if at < 0:
                self.others.append(("unknown one VANISHED", uid))
            else:
                self._went(at)

    def commands(self, commands):
        """In one go, but for the literals that are asked for; then a NOOP, so that all there is to tell is told."""
        for tag in [self._sent(c) for c in commands]:
            self._done(self._end_of(tag))
        if not self.closed:
            self._end_of(self.send([b"NOOP"]))
        self._learn_uids()

    def _learn_uids(self):
        """Who is told UIDs of what vanished has to know them."""
        first = next((n for n, m in enumerate(self.messages or []) if b"UID" not in m.known), None)
        if self.resyncs and first is not None and not self.closed:
            self._quiet = True
            self._end_of(self.send([b"FETCH %d:* (UID)" % (first + 1)]))
            self._quiet = False

    def _sent(self, command):
        verb = command[0].split()[0].upper()
        if verb in (b"SELECT", b"EXAMINE"):
            self._selecting, self.writes = b"t%d" % (self._number + 1), verb == b"SELECT"
            self.mailbox = b"".join(command)
            self.messages, self.original = None, []
        elif verb in (b"UNSELECT", b"CLOSE"):
            self._leaves = b"t%d" % (self._number + 1)
        return self.send(command)

    def _done(self, answer):
        if answer is None:
            self.tagged.append("silent" if self.silent else "closed")
            return
        code = of_code(answer.data)  # HIGHESTMODSEQ: Dovecot says it or not, by how commands come together
        self.tagged.append((answer.status, () if code[:1] == (b"HIGHESTMODSEQ",) else code))
        if answer.kind == self._selecting:
            self.messages = None if answer.status != b"OK" else self.messages or []
            self._selecting = None
        elif answer.kind == self._leaves and answer.status == b"OK":
            self.messages = None

    def idle(self, meanwhile):
        tag = self.send([b"IDLE"])
        if self._until(lambda a: a.kind in (b"+", tag)) and tag not in self._finished:
            meanwhile()
            self.wire.send(b"DONE\r\n")
        self._done(self._end_of(tag))
        self.commands([])

    def result(self):
        """All of it, of the step that began with begin()."""
        return {"tagged": self.tagged, "told": self.others, "gone": sorted(self.gone), "open": self.messages is not None,
                "messages": [(dict(m.known), m.got) for m in self.original], "count": len(self.messages or []),
                "earlier": self.earlier, "there": {int(m.known[b"UID"]) for m in self.messages or [] if b"UID" in m.known}}

    def seen(self):
        return None if self.messages is None or self.closed else (len(self.messages), self.uidnext, self.writes)


# ---- two sides

class Sides:
    """The sessions of both accounts, step by step."""

    def __init__(self, addresses, users, validities, enabled=(None, None)):
        """enabled: what each session enables."""
        self._whose = list(zip(addresses, users))
        self.marks, self._enabled = ({}, {}), enabled
        self.pairs = [self._open(n) for n in range(len(enabled))]
        self.validities = validities

    def _open(self, number):
        pair = tuple(Session(address, user) for address, user in self._whose)
        for session, marks in zip(pair, self.marks):
            session.marks = marks
            if self._enabled[number]:
                session.commands([[b"ENABLE " + self._enabled[number]]])
        return pair

    def mark(self, label, name):
        """What MODSEQ each one's mailbox has now."""
        for (address, user), marks in zip(self._whose, self.marks):
            with contextlib.closing(Session(address, user)) as session:
                line = session.wire.command(b"m", b"STATUS " + mail.quoted(name).encode() + b" (UIDVALIDITY HIGHESTMODSEQ)")[0]
            found = [re.search(rb"%s (\d+)" % x, line) for x in (b"HIGHESTMODSEQ", b"UIDVALIDITY")]
            if all(found):
                marks[label], marks[label + b" validity"] = (int(x[1]) for x in found)
                marks[label + b" next"] = marks[label] + 1

    def reopen(self, number):
        for session in self.pairs[number]:
            session.close()
        self.pairs[number] = self._open(number)

    def seen(self, number):
        return self.pairs[number][0].seen()

    def do(self, step, more_told=False):
        """None, or what differs. more_told: as in compare()."""
        session, commands, *more = step
        if commands == "mark":
            self.mark(*more[0])
            return None
        touched = [session] + ([more[0][0]] if more else [])
        for side in (0, 1):
            for n in touched:
                self.pairs[n][side].begin()
            one = self.pairs[session][side]
            if commands == "idle":
                other, theirs = more[0]
                one.idle(lambda: self.pairs[other][side].commands(theirs))
            else:
                one.commands(commands)
        for n in touched:
            left, right = (s.result() for s in self.pairs[n])
            asked = n == session and commands != "idle" and all(b"FETCH" in c[0].upper() for c in commands)
            old = self.is_old(more[0][1] if commands == "idle" else commands)
            difference = self.compare(left, right, asked, more_told or old)
            if not difference and left["tagged"][-1:] == ["closed"]:  # the mailbox in which it was is gone
                self.reopen(n)
            if difference:
                return f"session {n}: {difference}"
        return None

    def is_open(self, name):
        return any(pair[0].messages is not None and name.encode() in pair[0].mailbox for pair in self.pairs)

    def done(self, session):
        tagged = self.pairs[session][0].tagged
        return bool(tagged) and tagged[0][0] == b"OK"

    @staticmethod
    def is_old(commands):
        """Some go by a MODSEQ from before the move, or come back to a mailbox."""
        def old(part):
            return isinstance(part, Mark) and part.startswith(b"old") or part == b"1"
        return any(c[0].startswith((b"SELECT", b"EXAMINE")) or any(old(part) for part in c) for c in commands)

    def compare(self, left, right, asked=True, more_told=False):
        """asked: for messages, and not only told of them. more_told: the one that was moved may tell more than what changed."""
        if left["earlier"] - right["earlier"] or right["earlier"] & right["there"]:
            return f"VANISHED (EARLIER): {sorted(left['earlier'])} became {sorted(right['earlier'])}, there {sorted(right['there'])}"
        for key in ("tagged", "open", "gone", "count"):
            if not self.same(left[key], right[key]):
                return f"{key}: {left[key]!r} became {right[key]!r}"
        for n, ((known, a), (its, b)) in enumerate(zip(left["messages"], right["messages"])):
            items = [(x, known.get(x), its.get(x)) for x in UNASKED if x in known and x in its]
            items += [(x, a.get(x), b.get(x)) for x in sorted({*a, *b})
                      if (x in a if more_told else asked or x not in UNASKED)]
            for item, was, became in items:
                if was != became:
                    return f"message {n + 1}: {item.decode()}: {short(was)} became {short(became)}"
        return self.compare_told(left["told"], right["told"])

    def compare_told(self, left, right):
        """Any order, but that of SEARCH among themselves, which is that of the commands."""
        for kinds in ((b"SEARCH", b"SORT", b"THREAD"), None):
            a, b = ([x for x in side if (x[0] in kinds if kinds else x[0] not in (b"SEARCH", b"SORT", b"THREAD"))]
                    for side in (left, right))
            if not kinds:
                a, b = sorted(a, key=repr), sorted(b, key=repr)
            a, b = self.unlike(a, b) if not kinds else (a, b)
            if not self.same(a, b):
                return f"told: {short(a)} became {short(b)}"
        return None

    def unlike(self, a, b):
        """Without what is the same on both, so that what differs is said alone."""
        a, b = list(a), list(b)
        for x in list(a):
            found = next((y for y in b if self.same(x, y)), None)
            if found is not None:
                a.remove(x)
                b.remove(found)
        return a, b

    def same(self, a, b):
        if isinstance(a, Validity) and isinstance(b, Validity):
            return a == b or a not in self.validities and b not in self.validities
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(self.same(x, y) for x, y in zip(a, b))
        return a == b

    def close(self):
        for pair in self.pairs:
            for session in pair:
                session.close()


def short(value_):
    text = repr(value_)
    return text if len(text) < 600 else text[:600] + "..."


# ---- the world

class World:
    """Servers and a proxy that many runs share."""

    def __init__(self, old="Dovecot", new="Dovecot", settings=None, numbers="auto", view=None):
        self.scene = scene.Scene(old, new, kinds=(), settings=settings, numbers=numbers)
        self.view = view or (lambda seed: View(seed, small=5, big=25, names=FEW))
        self.addresses = [f"imap://{self.scene.way[0]}:{self.scene.way[1]}"] * 2
        self._learn()

    def _learn(self):
        """What clients are shown."""
        wire = Wire(self.addresses[0])
        wire.until(b"* ")
        wire.login(scene.new_user())
        line = next(x for x in wire.command(b"c", b"CAPABILITY") if x.startswith(b"* CAPABILITY"))
        wire.close()
        self.shown = set(line.decode().split()[2:])

    def accounts(self, seed):
        """Two that are alike in all, the second one to be moved: (users, view, UIDVALIDITYs)."""
        old = self.scene.old
        view, users = self.view(seed), [scene.new_user(), scene.new_user()]
        view.load(old, users[0])
        shutil.copytree(old.home(users[0]), old.home(users[1]), dirs_exist_ok=True, copy_function=shutil.copy2)
        for folder, folders, files in os.walk(old.home(users[1])):
            for name in folders + files + ["."]:
                path = os.path.join(folder, name)
                was = os.stat(path.replace(old.home(users[1]), old.home(users[0]), 1))
                os.chown(path, was.st_uid, was.st_gid)
        return users, view, self._validities(users[1])

    def _validities(self, user):
        with scene.signed_in(self.scene.old, user) as m:
            names = [x.decode() for x in re.findall(rb'"([^"]*)"\r?$|(\S+)$', b"\n".join(m.list()[1]), re.M) for x in x if x]
            return {int(re.search(rb"UIDVALIDITY (\d+)", m.status(mail.quoted(n), "(UIDVALIDITY)")[1][0])[1]) for n in names}

    def names(self, view):
        return [mail.wire_name(x, self.scene.old.prefix, self.scene.old.separator) for x in view.names]

    def begin(self, seed):
        """The accounts; a session of each opens INBOX, and another one the large mailbox; then the second one is moved. With each
        second seed the sessions go by MODSEQs, and something changes behind those that they know from before."""
        users, view, validities = self.accounts(seed)
        by_modseqs = self.goes_by_modseqs(seed)
        sides = Sides(self.addresses, users, validities, ENABLED if by_modseqs else (None, None))
        self.opened = ("INBOX", self.names(view)[view.names.index(scene.BIG)])
        steps = [(n, [[b"SELECT " + mail.quoted(name).encode()]]) for n, name in enumerate(self.opened)]
        steps += [(0, "mark", (b"old " + name.encode(), name)) for name in self.names(view)] if by_modseqs else []
        steps += [(n, [[what]]) for n in (0, 1) for what in (b"STORE 1,3 +FLAGS (work \\Deleted)", b"EXPUNGE")] if by_modseqs else []
        for step in steps:
            difference = sides.do(step)
            assert not difference, difference
        self.scene.user = users[1]
        self.scene.set_off()
        self.scene.flipped(None)
        for n in range(len(sides.pairs)):
            difference = sides.do((n, [[b"NOOP"]]), more_told=True)  # who goes by MODSEQs is told all flags anew
            assert not difference, f"a session that stayed selected: {difference}"
        return sides, view

    def goes_by_modseqs(self, seed):
        return "QRESYNC" in self.shown and seed % 2 == 0

    def run(self, seed, steps=40, tries=TRIES):
        """tries: how many runs may be spent on making the sequence shorter."""
        sides, view = self.begin(seed)
        writer = script.Writer(seed, self.names(view), self.scene.old.separator, self.scene.old.prefix, self.shown,
                               marked=self.opened if self.goes_by_modseqs(seed) else None)
        taken = []
        with contextlib.closing(sides):
            for n in range(steps):
                step, follows = writer.step(sides.seen, sides.is_open)
                taken.append(step)
                difference = sides.do(step)
                if difference:
                    return self.shorter(Found(seed, n, difference, taken), tries)
                if follows and sides.done(step[0]):
                    follows()
        return None

    def replay(self, seed, steps):
        sides, _ = self.begin(seed)
        with contextlib.closing(sides):
            for n, step in enumerate(steps):
                difference = sides.do(step)
                if difference:
                    return Found(seed, n, difference, steps[:n + 1])
        return None

    def shorter(self, found, most):
        """Leaves out what it still shows without: halves, quarters, and at last step by step."""
        best, tries, size = found, 0, max(len(found.steps) // 2, 1)
        while size and tries < most:
            at, gained = 0, False
            while at < len(best.steps) - 1 and tries < most:
                tries += 1
                again = self.replay(found.seed, best.steps[:at] + best.steps[at + size:])
                if again:
                    best, gained = again, True
                else:
                    at += size
            size = size // 2 if not gained or size > 1 else size
        return best

    def close(self):
        self.scene.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- worlds

# What World is given, by the name of what is tried. Dovecot keeps Maildirs on both sides, since what it answers about a message
# that just went, or a mailbox, depends on how it keeps them.
WORLDS = {
    "T0": {"new": "Maildir."},
    "T0 with other names": {"new": "Maildir"},
    "T1": {"new": "Maildir", "numbers": "none", "settings": {"migration": {"t1_max_gaps": 100000}}},
    "T2": {"new": "Maildir", "numbers": "none"},
    "T2 with the same names": {"new": "Maildir.", "numbers": "none"},
}
