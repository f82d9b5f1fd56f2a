"""An account on an old server, a proxy before both servers, and clients that keep what they read. Each has a Tap on its way,
which is led to the proxy, or past it.

    with Scene("Dovecot", "Cyrus") as scene:
        scene.begin()                 # loads the account; each client reads all of it
        scene.move()                  # while a session stays in INBOX
        scene.again()                 # each client once more -> client -> Synced
"""
import concurrent.futures
import contextlib
import itertools
import os
import re
import threading

from harness import mail, net, redisd
from harness.courier import CAPABILITY, Courier
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.ferry import Ferry, backend
from harness.scene import connect

from . import clients
from .account import BIG, View, letter
from .tap import Tap

SETTINGS = {"migration": {"trigger": "manual", "freeze_budget": "30s"}, "migrator": {"command_timeout": "30s", "job_lease": "10s"}}
OLD = {
    "Dovecot": lambda: Dovecot("old", separator=".", prefix="INBOX.", special_use=False),
    "Courier": lambda: Courier("old"),
    "Cyrus": lambda: Cyrus("old", separator=".", prefix="INBOX.", special_use=False),
}
NEW = {
    "Dovecot": lambda: Dovecot("new", mail="mdbox", special_use=False, doveadm=True),
    "Dovecot.": lambda: Dovecot("new", separator=".", prefix="INBOX.", mail="mdbox", special_use=False, doveadm=True),
    "Maildir": lambda: Dovecot("new", special_use=False, doveadm=True),
    "Maildir.": lambda: Dovecot("new", separator=".", prefix="INBOX.", special_use=False, doveadm=True),
    "Cyrus": lambda: Cyrus("new", special_use=False),
    "UIDPLUS": lambda: Courier("new"),
    "no UIDPLUS": lambda: Courier("new", capability=CAPABILITY.replace(" UIDPLUS", "")),
    "Cyrus.": lambda: Cyrus("new", separator=".", prefix="INBOX.", special_use=False),
}
ALL = (clients.Mbsync, clients.OfflineImap, clients.NeoMutt, clients.ImapFlow, clients.Interimap)
QUICK = (clients.NeoMutt, clients.ImapFlow, clients.Interimap)  # they ask for what changed since a MODSEQ
PAIRS = (("Dovecot", "Dovecot"), ("Courier", "Dovecot"), ("Dovecot", "Cyrus"), ("Cyrus", "Dovecot"), ("Dovecot", "UIDPLUS"),
         ("Dovecot", "no UIDPLUS"))
FEW = (clients.Mbsync, clients.ImapFlow)  # the strictest of them, and the quickest
_number = itertools.count(1)


def new_user():
    """Without a dot, which is a separator for some."""
    return f"view{next(_number)}p{os.getpid()}@example.org"


class Scene:
    """old and new are keys of OLD and NEW. numbers: as the option. A client that asks for
    more than is shown is left out."""

    def __init__(self, old, new, kinds=ALL, view=None, settings=None, numbers="auto"):
        self._stack = contextlib.ExitStack()
        self.view = view or View()
        self.user = new_user()
        with contextlib.ExitStack() as stack:
            self.old = stack.enter_context(OLD[old]())
            self.new = stack.enter_context(NEW[new]())
            redis = redisd.Redis(port=net.free_port())
            stack.callback(redis.close)
            self.ferry = Ferry(redis, {"old": self._backend(self.old), "new": self._backend(self.new, numbers=numbers)},
                               settings={k: dict(SETTINGS.get(k, {}), **(settings or {}).get(k, {}))
                                         for k in {*SETTINGS, *(settings or {})}})
            stack.callback(self.ferry.close)
            self.ferry.init()
            self.sealed = isinstance(self.old, Courier) or isinstance(self.new, Courier)
            if self.sealed:
                self.ferry.seal_keys()
            self.proxy = self.ferry.proxy()
            self.ferry.migrator()
            self.way = ("127.0.0.1", int(self.proxy.addresses[0].rpartition(":")[2]))
            self._learn()
            kinds = [kind for kind in kinds if set(kind.asks) <= self.shown]
            self.near = stack.enter_context(self._near()) if clients.Interimap in kinds else None
            self.clients = [stack.enter_context(self._client(kind, stack)) for kind in kinds]
            self._stack = stack.pop_all()

    @staticmethod
    def _backend(server, **options):
        """Courier has no master user; a Dovecot that listens for doveadm can be told its numbers."""
        if "doveadm" in server.port:
            options.update(server.doveadm_options())
        return backend(server, "imap", master=not isinstance(server, Courier), **options)

    def _learn(self):
        """Somebody signs in at each server, so that clients are shown from the first what both can do: shown."""
        user = new_user()
        self.ferry.login(self.proxy, user, "secret").logout()
        status, out, err = self.ferry.ctl_raw("flip", user, "--to", "new", "--force", "--reason", "to learn")
        assert status == 0, (status, out, err)
        self.ferry.wait_state(user, "flipped")
        m = self.ferry.login(self.proxy, user, "secret")
        self.shown = set(m.capability()[1][0].decode().split())
        m.logout()

    def _near(self):
        """A server on the user's side, which spells names as the old one does."""
        return Dovecot("near", separator=self.old.separator, prefix=self.old.prefix, special_use=False)

    def _client(self, kind, stack):
        tap = Tap(self.way)
        stack.callback(tap.close)
        more = {clients.Interimap: (self.near,), clients.NeoMutt: (self.view.names,)}.get(kind, ())
        return kind(tap, self.user, self.old.prefix, self.old.separator, *more)

    # ---- what happens

    def begin(self):
        """The account, and each client's first look at it, which has to bring all of it."""
        self.view.load(self.old, self.user)
        self.judge(self.again(), self.view.count)

    def move(self):
        """While a session stays in INBOX; it."""
        if self.sealed:  # a login while the account is asked for brings what the migrator signs in with
            self.set_off()
            return self.flipped(self.stay())
        stays = self.stay()
        self.set_off()
        return self.flipped(stays)

    def stay(self):
        wire = connect(self.proxy, timeout=60)
        wire.login(self.user)
        wire.before = self.uids(wire, b"SELECT INBOX")
        return wire

    def set_off(self):
        status, out, err = self.ferry.ctl_raw("migrate", self.user, "--now")
        assert status == 0, (status, out, err)

    def flipped(self, stays):
        self.ferry.wait_state(self.user, "flipped", timeout=1200)
        return stays

    @staticmethod
    def uids(wire, select=None):
        """(UIDVALIDITY and UIDNEXT where it selects, [UID])."""
        head = wire.command(b"s1", select) if select else []
        numbers = [int(x) for line in head for x in re.findall(rb"\[UID(?:VALIDITY|NEXT) (\d+)\]", line)]
        lines = wire.command(b"s2", b"UID FETCH 1:* (UID)")
        return numbers, [int(re.search(rb"UID (\d+)", x)[1]) for x in lines if b" FETCH (" in x]

    def again(self):
        """Each client synchronizes once; client -> Synced."""
        with concurrent.futures.ThreadPoolExecutor(len(self.clients)) as pool:
            return dict(zip(self.clients, pool.map(lambda c: c.sync(), self.clients)))

    def whole(self):
        """From the beginning to later changes of both sides: clients notice nothing of the move, but what changed before it while
        they were away."""
        self.begin()
        added = self.change_there(self.old)
        stays = self.move()
        assert self.uids(stays) == ([], stays.before[1])
        stays.close()
        self.judge(self.again(), added)
        self.later()

    def later(self):
        """What others change is seen by each client, and what clients change is at the server."""
        added = self.change_there(self.new)
        self.judge(self.again(), added)
        self.change_here()
        self.again()  # each brings its own changes, and has those of some
        self.again()
        self.judge(self.again())
        faults = differences(self.look_at(self.new), self.view.left)
        assert not faults, "\n".join(faults[:40])

    def move_under_clients(self):
        """Each client synchronizes over and over, from before the move until behind it; client -> [Synced]."""
        done = {client: [] for client in self.clients}
        moved = threading.Event()

        def over_and_over(client):
            last = False
            while not last:
                last = moved.is_set()
                done[client].append(client.sync())
        with concurrent.futures.ThreadPoolExecutor(len(self.clients)) as pool:
            each = [pool.submit(over_and_over, client) for client in self.clients]
            try:
                net.wait_until("each client to be at it", lambda: all(done.values()), 120)
                self.move().close()
            finally:
                moved.set()
            for one in each:
                one.result()
        return done

    def past_the_proxy(self):
        for client in self.clients:
            client.tap.upstream = ("127.0.0.1", self.new.port["imap"])

    # ---- what it has to be

    def judge(self, done, transferred=0):
        """Nothing to complain of, so many messages transferred, and each client holds what is there."""
        faults = []
        for client, synced in done.items():
            faults += [f"{client.name}: {x}" for x in synced.faults(transferred, client.twice if transferred else 0)]
            if not synced.status:
                faults += [f"{client.name}: {x}" for x in differences(client.holds(), client.expected(self.view.left))]
        assert not faults, "\n".join(faults[:40])

    # ---- later changes

    def change_there(self, server):
        """As another client of the user does it at the server itself; how many messages are new."""
        left = self.view.left
        with signed_in(server, self.user) as m:
            for number, levels in enumerate((("INBOX",), ("Archive", "2019"), ("empty",))):
                mark = f"there{number}x{next(_number)}"
                assert m.append(self.name_at(server, levels), "(\\Seen)", None, letter(mark))[0] == "OK"
                left[levels][mark] = frozenset({"\\Seen"})
            for levels in (("INBOX",), BIG):
                # Of a last one that went, Cyrus says nothing to clients which pair numbers of messages with UIDs, as interimap does.
                first, last = list(left[levels])[0], list(left[levels])[-1 if levels == BIG and not isinstance(server, Cyrus) else -2]
                assert m.select(self.name_at(server, levels))[0] == "OK"
                store(m, first, "\\Flagged")
                left[levels][first] |= {"\\Flagged"}
                store(m, last, "\\Deleted")
                del left[levels][last]
                m.close()
        return 3

    def change_here(self):
        """By each client, at its own side, to messages of its own; how many are new to the others."""
        added = 0
        for number, client in enumerate(self.clients):
            inbox, big = self.view.left[("INBOX",)], self.view.left[BIG]
            marks = [x for x in list(big)[4 * number:] if "\\Flagged" not in big[x]][:2]
            client.flag(client.spelled(BIG), marks[0])
            big[marks[0]] |= {"\\Flagged"}
            client.remove(client.spelled(BIG), marks[1])
            del big[marks[1]]
            if hasattr(client, "add"):
                mark = f"here{number}x{next(_number)}"
                client.add(client.spelled(("INBOX",)), mark)
                inbox[mark] = frozenset({"\\Seen"})
                added += 1
        return added

    @staticmethod
    def name_at(server, levels):
        return mail.quoted(mail.wire_name(levels, server.prefix, server.separator))

    def look_at(self, server):
        """What the server has: levels -> {mark: flags}."""
        with signed_in(server, self.user) as m:
            return {levels: clients.look_into(m, mail.wire_name(levels, server.prefix, server.separator))
                    for levels in self.view.names}

    # ---- the end

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def signed_in(server, user):
    m = mail.connect(server, user, "secret")
    try:
        yield m
    finally:
        m.logout()


def store(m, mark, flag):
    uid = m.uid("SEARCH", "SUBJECT", f'"mark {mark}"')[1][0].decode()
    assert uid and m.uid("STORE", uid, "+FLAGS", f"({flag})")[0] == "OK", mark
    if flag == "\\Deleted":
        assert m.uid("EXPUNGE", uid)[0] == "OK"


def differences(holds, expected):
    out = [f"no mailbox {x}" for x in expected if x not in holds]
    out += [f"one mailbox more: {x}" for x in holds if x not in expected]
    for name in sorted(set(holds) & set(expected)):
        if isinstance(holds[name], tuple):
            if holds[name] != expected[name]:
                out.append(f"{name}: shows {holds[name]}, and there are {expected[name]}")
            continue
        out += [f"{name}: {mark}: {holds[name].get(mark)}, and it is {expected[name].get(mark)}"
                for mark in sorted({*holds[name], *expected[name]}, key=str) if holds[name].get(mark) != expected[name].get(mark)]
    return out
