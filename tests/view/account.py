"""An account whose UIDs have gaps, made as they come about: messages are stored, and some of them are expunged. Each message
has a mark of its own in the subject, by which it is known wherever it turns up.

    account = View(seed=3, big=400)
    account.load(server, "ann")
"""
import itertools
import random
import re

from harness import mail

BIG = ("Lists", "big one")
NAMES = [("INBOX",), ("Sent",), ("Drafts",), ("Trash",), ("Junk",), ("Archive",), ("Archive", "2019"), ("Archive", "2019", "Q1"),
         ("Archive", "2020"), ("Entwürfe",), ("Ämter", "Größe"), ("Ämter",), ("日本語",), ("Projects",),
         ("Projects", "Blue sky"), ("Projects", "Blue sky", "Notes"), ("Projects", "Red"), ("Work",), ("Work", "2021"),
         ("Work", "2022"), ("Lists",), BIG, ("Lists", "c"), ("Lists", "python"), ("Family",), ("Family", "Photos"), ("Bills",),
         ("Travel",), ("empty",), ("emptied",)]
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft")
_salt = itertools.count()
_MARK = re.compile(rb"^Subject: mark (\w+)\r?$", re.M | re.I)


def mark_of(message):
    """The mark in the header of a message; None in one that is none of ours."""
    found = _MARK.search(message.partition(b"\r\n\r\n")[0].partition(b"\n\n")[0])
    return found[1].decode() if found else None


def letter(mark, rng=None, size=200, salt=0):
    """salt makes others of all messages of an account: what equals an account that was moved is not moved again."""
    text = "".join(f"{(rng or random).getrandbits(32):08x} \r\n" for _ in range(size // 11))
    return (f"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: mark {mark}\r\nMessage-ID: <{mark}@example.org>\r\n"
            f"Date: Tue, 03 Mar 2015 10:00:00 +0100\r\nX-Salt: {salt:08}\r\n\r\n{text}").encode()


def unicode_name(levels, prefix, separator):
    """As people, and not the wire, spell it."""
    return "INBOX" if levels == ("INBOX",) else prefix + separator.join(levels)


class View:
    """small: about how many messages a mailbox has; big: how many one has; gone: the share that is expunged again."""

    def __init__(self, seed=1, small=6, big=300, gone=0.3, names=tuple(NAMES)):
        self.rng = random.Random(seed)
        self.salt = next(_salt)
        self.names, self.gone = names, gone
        self.messages = {}  # levels -> [mail.Message], as stored, before anything goes
        self.left = {}      # levels -> {mark: flags}, as the account is
        for levels in names:
            count = big if levels == BIG else 0 if levels == ("empty",) else self.rng.randint(small // 2, small * 3 // 2)
            self.messages[levels] = [self._message(levels, n) for n in range(count)]

    def _message(self, levels, n):
        mark = f"{self.names.index(levels):02}x{n:05}"
        flags = tuple(f for f in FLAGS if self.rng.random() < (0.6 if f == "\\Seen" else 0.12))
        return mail.Message(levels, letter(mark, self.rng, self.rng.randint(100, 1500), self.salt), flags, mail.internaldate(self.rng))

    def _goes(self, levels, n, count):
        """The first one and the last one of some go too, so that UIDNEXT lies further behind the last message."""
        odd = levels == ("emptied",) or levels == ("Work",) and n in (0, count - 1)
        return self.gone > 0 and (odd or self.rng.random() < self.gone)

    @property
    def count(self):
        return sum(len(x) for x in self.left.values())

    def load(self, server, user, password="secret"):
        m = mail.connect(server, user, password)
        for levels in sorted(self.names, key=lambda x: mail.wire_name(x, server.prefix, server.separator)):
            name = mail.quoted(mail.wire_name(levels, server.prefix, server.separator))
            if levels != ("INBOX",):
                m.create(name)
            m.subscribe(name)
            self._fill(m, levels, name, lambda x, levels=levels: self._store(m, server, user, levels, x))
        m.logout()
        if hasattr(server, "doveadm"):
            self._make_old(server, user)
        return self

    def _make_old(self, server, user):
        """Dovecot gives UIDVALIDITYs of seconds to come where many mailboxes are made in one; old accounts have other ones."""
        for n, levels in enumerate(self.names):
            server.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(1234567890 + n),
                           unicode_name(levels, server.prefix, server.separator))

    @staticmethod
    def _store(m, server, user, levels, messages):
        """A server that takes one message a command gets its files instead, where there are very many."""
        if len(messages) > 1000 and hasattr(server, "write_messages"):
            server.write_messages(user, server.separator.join(levels), messages)
        else:
            mail.append(m, mail.wire_name(levels, server.prefix, server.separator), messages)

    def _fill(self, m, levels, name, store):
        stored = self.messages[levels]
        self.left[levels] = {mark_of(x.body): frozenset(x.flags) for x in stored}
        if not stored:
            return
        store(stored)
        goes = [n + 1 for n in range(len(stored)) if self._goes(levels, n, len(stored))]
        if m.select(name)[0] != "OK":
            raise RuntimeError(f"no {name}")
        if goes:
            for at in range(0, len(goes), 500):
                m.store(",".join(map(str, goes[at:at + 500])), "+FLAGS.SILENT", "(\\Deleted)")
            m.expunge()
            for n in goes:
                del self.left[levels][mark_of(stored[n - 1].body)]
        m.close()
