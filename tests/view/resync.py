"""Programs that keep mailboxes by CONDSTORE and QRESYNC (cache.py), while others change them, before a move and after it: at each
end of theirs they hold what the server has.

    with World("Dovecot", "Dovecot.") as world:
        found = world.run(seed=7, steps=60)     # [], or what differs, and what was done
"""
import contextlib
import random

from harness import mail, net
from harness.scene import Wire

from . import scene
from .account import View, letter
from .answers import flags, pairs
from .cache import WAYS, Cache
from .talk import Talk

NAMES = (("INBOX",), ("Archive", "2019"), scene.BIG, ("emptied",))
LONG = b"21:260"  # of the large mailbox: more than are filled on a server that can be told to go on behind them
SHORT = b"21:150"  # and fewer than that
FLAGS = (b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Draft", b"$label1")


class Changer:
    """Somebody who changes mailboxes through plain IMAP."""

    def __init__(self, address, user, names, rng):
        self.address, self.user, self.names, self.rng = address, user, names, rng
        self._made = 0

    def change(self):
        """One change; what it was."""
        what = self.rng.choice((self.flag, self.flag, self.flag, self.expunge, self.append, self.append, self.move))
        return self._selected(self.rng.choice(self.names), what)

    def _selected(self, name, what):
        wire = Wire(self.address, timeout=20)
        wire.until(b"* ")
        try:
            assert wire.login(self.user).startswith(b"l1 OK")
            wire.command(b"s", b"SELECT " + name)
            found = wire.command(b"f", b"UID SEARCH ALL")
            done = what(wire, name, next(x for x in found if x.startswith(b"* SEARCH")).split()[2:])
            wire.command(b"q", b"LOGOUT")
            return done
        finally:
            wire.close()

    @staticmethod
    def _do(wire, text):
        answer = wire.command(b"d", text)[-1]
        assert answer.startswith(b"d OK"), (text, answer)
        return text

    def _some(self, uids):
        return b",".join(self.rng.sample(uids, min(len(uids), self.rng.choice((1, 1, 2, 5)))))

    def expunge_most(self, name, most):
        """What many programs knew goes, while some of them are away."""
        def done(wire, name, _):
            self._do(wire, b"UID STORE " + most + b" +FLAGS.SILENT (\\Deleted)")
            return name + b": " + self._do(wire, b"EXPUNGE")
        return self._selected(name, done)

    def flag(self, wire, name, uids):
        if not uids:
            return b"nothing to flag"
        how = self.rng.choice((b"+FLAGS", b"-FLAGS", b"FLAGS.SILENT"))
        return name + b": " + self._do(wire, b"UID STORE %s %s (%s)" % (self._some(uids), how, self.rng.choice(FLAGS)))

    def expunge(self, wire, name, uids):
        if not uids:
            return b"nothing to expunge"
        self._do(wire, b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % self._some(uids))
        return name + b": " + self._do(wire, b"EXPUNGE")

    def append(self, wire, name, _):
        self._made += 1
        body = letter(f"new{self._made}x{self.rng.getrandbits(24)}", self.rng)
        wire.send(b"d APPEND %s (%s) {%d+}\r\n" % (name, self.rng.choice(FLAGS), len(body)) + body + b"\r\n")
        assert wire.until(b"d ")[-1].startswith(b"d OK")
        return b"APPEND " + name

    def move(self, wire, name, uids):
        if not uids:
            return b"nothing to move"
        return name + b": " + self._do(wire, b"UID MOVE %s %s" % (self._some(uids), self.rng.choice(self.names)))


def look(address, user, name):
    """What a program without any extension sees: UID -> flags."""
    talk = Talk(address, user)
    try:
        out = {}
        for text in (b"EXAMINE " + name, b"UID FETCH 1:* (UID FLAGS)"):
            talk.wire.line(b"x " + text)
            while True:
                answer = talk.read()
                assert answer is not None, text
                if answer.kind == b"x":
                    break
                if answer.kind == b"FETCH":
                    got = pairs(answer.data[0])
                    out[int(got[b"UID"])] = flags(got[b"FLAGS"])
        return out
    finally:
        talk.close()


class Resync:
    """way(): where clients connect, at that time. most: what goes of the large mailbox before the flip."""

    def __init__(self, way, user, names, seed, ways=WAYS, most=LONG, caches=None):
        self.way, self.user, self.seed, self.most = way, user, seed, most
        self._at = (lambda: caches) if caches else way
        self.rng = random.Random(seed)
        self.names = names
        self.caches = [Cache(self._at(), user, name, self.rng, ways) for name in names for _ in range(2)]
        self.done, self.went_over = [], 0

    def say(self, text):
        self.done.append(text)

    def _changer(self):
        return Changer(self.way(), self.user, self.names, self.rng)

    def step(self):
        cache = self.rng.choice(self.caches)
        number = self.caches.index(cache)
        cache.address = self._at()
        what = self.rng.random()
        if what < 0.4:
            self.say(self._changer().change())
        elif cache.is_open and what < 0.7:
            cache.drop()
            self.say(f"{number} leaves")
        elif cache.is_open:
            cache.turn()
            self.say(f"{number} in {cache.name.decode()} asks: {cache.modseq}")
        else:
            since = cache.modseq
            cache.open()
            self.say(f"{number} opens {cache.name.decode()} by {cache.way} with {since}: {cache.modseq}")

    def check(self):
        """Each one is told all; what it holds then is what is there."""
        found = []
        for number, cache in enumerate(self.caches):
            cache.address = self._at()
            for _ in range(3):
                if cache.is_open and cache.turn() or cache.open():
                    break
            else:
                found.append(f"{number} can not come back")
            found += self.unlike(number, cache)
        return found

    def unlike(self, number, cache):
        there = look(self.way(), self.user, cache.name)
        out = [f"{number}: {x}" for x in cache.faults]
        cache.faults.clear()
        for uid in sorted({*there, *cache.messages}):
            if there.get(uid) != cache.messages.get(uid):
                out.append(f"{number} in {cache.name.decode()} by {cache.way}: UID {uid}: holds {cache.messages.get(uid)}, there {there.get(uid)}")
        return out

    def go(self, steps, flip=None, at=None):
        """flip() is called before the step of that number. What is wrong, at the first check that shows it."""
        most = self.rng.randint(at // 2, at) if at else None
        for n in range(steps):
            if n == most:
                self.say(self._changer().expunge_most(self.names[NAMES.index(scene.BIG)], self.most))
            if n == at:
                stay = [c for c in self.caches if c.is_open]
                flip()
                self.went_over = sum(c.is_open and c.turn() for c in stay if self.rng.random() < 0.7)
                self.say(f"the flip: {len(stay)} had a mailbox open; {self.went_over} asked and stayed")
            self.step()
            found = [x for c in self.caches for x in c.faults]
            if found or n % 12 == 11 or n + 1 == steps:
                found += self.check()
                self.say("check")
            if found:
                return [f"seed {self.seed}: at step {n}"] + found + ["what was done:"] + [str(x) for x in self.done]
        return []

    def close(self):
        for cache in self.caches:
            cache.drop()


class World:
    """Servers and a proxy that many runs share. past: clients go past the proxy, before the move and after it; then
    no gap is longer than what is filled."""

    def __init__(self, old, new, numbers="auto", settings=None, past=False, ways=WAYS):
        self.scene = scene.Scene(old, new, kinds=(), numbers=numbers, settings=settings)
        self.past, self.ways = past, ways
        self.way = f"imap://{self.scene.way[0]}:{self.scene.way[1]}"
        self._there, self.went_over = False, 0

    def _way(self):
        if self.past:
            return (self.scene.new if self._there else self.scene.old).url("imap")
        return self.way

    def _flip(self, one):
        self.scene.set_off()
        self.scene.flipped(None)
        self._there = True
        if self.past:
            one.close()

    def run(self, seed, steps=60, caches=None):
        """caches: the address to which only they go."""
        self._there = False
        self.scene.user = scene.new_user()
        View(seed, small=6, big=300, names=(*NAMES, ("Archive",), ("Lists",))).load(self.scene.old, self.scene.user)
        if not hasattr(self.scene.old, "doveadm"):
            net.wait_next_second()  # a UIDVALIDITY that both servers have by chance is not shown after the move
        one = Resync(self._way, self.scene.user, names_at(self.scene.old), seed, self.ways, SHORT if self.past else LONG, caches)
        with contextlib.closing(one):
            found = one.go(steps, lambda: self._flip(one), one.rng.randint(steps // 3, steps // 2))
        self.went_over += one.went_over
        return found

    def close(self):
        self.scene.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# What World is given, by the name of what is tried.
WORLDS = {
    "told": {"old": "Dovecot", "new": "Maildir."},
    "mapped": {"old": "Dovecot", "new": "Cyrus", "numbers": "none"},
    "plain": {"old": "Dovecot", "new": "Dovecot.", "past": True},
    "filled": {"old": "Dovecot", "new": "Maildir", "numbers": "none", "settings": {"migration": {"t1_max_gaps": 100000}}},
    "told by Cyrus": {"old": "Cyrus", "new": "Dovecot"},
    "told to Cyrus": {"old": "Dovecot", "new": "Cyrus"},
    "mapped by Cyrus": {"old": "Cyrus", "new": "Maildir.", "numbers": "none"},
}


def names_at(server):
    return [mail.quoted(mail.wire_name(x, server.prefix, server.separator)).encode() for x in NAMES]
