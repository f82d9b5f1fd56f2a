"""An account that was flipped between servers that spell names and number messages in different ways, and what a client sees of
it: the old server has "INBOX." and ".", the new one "/"; messages have gaps on the old one and none on the new one, so they are
mapped (T2)."""
import contextlib
import re

from . import mail
from .ferry import backend
from .scene import connect, fill, new_user, small

MANUAL = {"migration": {"trigger": "manual", "cutover": "manual", "t1_max_gaps": 0}}
SPELLING = "1 client=.,INBOX. backend=/, avoid="


def lines_of(answer, word):
    return [line for line in answer if re.match(rb"\* (\d+ )?" + word + rb"\b", line)]


def code(answer, name):
    """The number behind a response code."""
    found = [m for m in (re.search(rb"\[" + name + rb" (\d+)", line) for line in answer) if m]
    return int(found[-1][1]) if found else None


def uids(wire, query=b"UID SEARCH ALL"):
    answer = wire.command(b"u", query)
    assert answer[-1].startswith(b"u OK"), answer
    return [int(n) for line in lines_of(answer, b"SEARCH") for n in line.split()[2:]]


class Account:
    """A flipped account. source: an imaplib connection to the server that it came from, which nobody changes any more."""

    def __init__(self, make_ferry, old, new, authority, label, messages=40, settings=None, through=None, tier="T2", flipped=True,
                 by_login=False, migrator=None):
        self.old, self.new, self.user = old, new, new_user(label)
        account = small(messages=messages)
        fill(old, self.user, account)
        self.source = mail.connect(old, self.user, "secret")
        self.names = sorted(re.search(rb'"\." "?([^"]+)"?$', line)[1].decode() for line in self.source.list()[1]
                            if b"\\Noselect" not in line and b"\\NonExistent" not in line)
        self.make_gaps()
        by_master = backend(old, ca=authority.ca)
        both = {"old": backend(old, "imap", master=False) if by_login else by_master, "new": backend(new, ca=authority.ca)}
        self.ferry = make_ferry(both, settings or MANUAL)
        self.through = {"backends": {"new": backend(through, "imap")}} if through else {}
        if by_login:
            self.ferry.seal_keys()
        self.migrator = self.ferry.migrator(**(migrator or {}))
        if by_login:  # nobody else has the password
            self.ferry.login(self.ferry.proxy(migration={"trigger": "login"}), self.user, "secret").logout()
        else:
            assert self.ferry.ctl("migrate", self.user)[0] == 0
        self.ferry.wait_state(self.user, "ready")
        self.store = self.ferry.redis.client()
        self.records, self.route = f"imapferry:views:{self.user}", f"imapferry:route:{self.user}"
        self.wires = contextlib.ExitStack()
        self.proxies = [] if flipped else [self.ferry.proxy(**self.through), self.ferry.proxy()]
        if flipped:
            self.flip("new")
            self.number(tier)
            self.proxies = [self.ferry.proxy(**self.through), self.ferry.proxy()]

    def flip(self, to):
        assert self.ferry.ctl("flip", self.user, "--to", to, "--reason", "test")[0] == 0
        self.ferry.wait_state(self.user, "flipped" if to == "new" else "held")

    def make_gaps(self):
        """So that hardly any UID is the same on both sides."""
        for name in self.names:
            assert self.source.select(f'"{name}"')[0] == "OK"
            known = self.source.uid("SEARCH", "ALL")[1][0].split()
            for uid in known[::3]:
                self.source.uid("STORE", uid.decode(), "+FLAGS.SILENT", "(\\Deleted)")
            assert self.source.expunge()[0] == "OK"
        self.source.unselect() if "UNSELECT" in self.source.capabilities else self.source.close()

    def number(self, tier):
        rows = self.store.hgetall(self.records)
        if "" in rows:
            return
        for name, text in rows.items():
            shown = re.search(r"uidvalidity=(\d+),", text)[1]
            text = re.sub(r"highest=\d+( modseq=\S+)? tier=T3", rf"highest={shown}\1 tier={tier}", text)
            self.store.hset(self.records, name, text)
        self.store.hset(self.records, "", SPELLING)
        self.store.hset(self.route, "view", "1:ab")

    def session(self, mailbox=None, proxy=0):
        wire = self.wires.enter_context(connect(self.proxies[proxy]))
        assert wire.login(self.user).startswith(b"l1 OK")
        if mailbox:
            wire.selected = wire.command(b"s", b'SELECT "%s"' % mailbox.encode())
            assert wire.selected[-1].startswith(b"s OK"), wire.selected
        return wire

    def at_source(self, name):
        """UIDVALIDITY, UIDNEXT and UIDs of a mailbox as clients know them."""
        status = self.source.status(f'"{name}"', "(UIDVALIDITY UIDNEXT)")[1][0]
        numbers = [int(re.search(rb"%s (\d+)" % what, status)[1]) for what in (b"UIDVALIDITY", b"UIDNEXT")]
        assert self.source.select(f'"{name}"', readonly=True)[0] == "OK"
        return (*numbers, [int(n) for n in self.source.uid("SEARCH", "ALL")[1][0].split()])

    def at_target(self):
        return mail.connect(self.new, self.user, "secret")

    def view(self):
        return self.store.hget(self.route, "view")


def select(wire, name, tag=b"s"):
    return wire.command(tag, b'SELECT "%s"' % name.encode())


def seen(wire, name):
    answer = select(wire, name)
    assert answer[-1].startswith(b"s OK"), (name, answer)
    return code(answer, b"UIDVALIDITY"), code(answer, b"UIDNEXT"), uids(wire)


def body(wire, uid):
    """Of the message, by its UID, with the UID that the answer says."""
    wire.line(b"b UID FETCH %d (UID BODY.PEEK[])" % uid)
    text = b"\n".join(wire.until(b"b "))
    assert text.rsplit(b"\n", 1)[1].startswith(b"b OK"), text
    assert b"FETCH" in text, text
    return int(re.search(rb"UID (\d+)", text.split(b"BODY[]")[0] + text.rsplit(b")", 1)[0][-20:])[1]), text


def message(wire, uid):
    """Its text alone: the line at the end may say how long it took."""
    return body(wire, uid)[1].split(b"\n", 1)[1].rsplit(b"\n", 1)[0]
