"""A migration that is disturbed at one named point (lib/fault.h), and has to end in the same target all the same.

    with World(cert) as world:
        points = world.points("multi")                   # what an undisturbed run passes: name -> how often
        world.run("multi/ledger.landed.sent:1:kill")       # raises where anything is missing, doubled or out of order

An account is copied, changes at the source while it waits (new, expunged, re-flagged), and is flipped. The migrator
has a store (a prefix in Redis) of its own; when it dies, another one is started, without a fault.

Programs that keep mailboxes by CONDSTORE and QRESYNC (tests/view/cache.py) look through a proxy before all that, behind the changes,
and behind the flip, over which one of them stays in INBOX: then each holds what is there, by the numbers that it knows.

A way is how the target takes messages:
    multi    Dovecot, MULTIAPPEND
    single   Dovecot that does not offer it: one message an APPEND, many in flight
    batches  Dovecot; several large messages, so that several batches and intents are open at once
    plain    a target without UIDPLUS: nothing is expunged, since that would block
    numbers  Dovecot; each copy gets the UID of its message, gaps are filled (migration.t1_max_gaps)
    fillers  the same, one message an APPEND
    told     Dovecot that is told UIDVALIDITY and UIDNEXT too, by doveadm
    cyrus    Cyrus, by SYNCAPPLY; some messages have no header, which it takes by SYNCAPPLY MESSAGE alone
An action is one of lib/fault.h, with the side instead of the port: kill, stop, cut=source, reset=target, cut=store ...
"""
import collections
import contextlib
import dataclasses
import itertools
import os
import random
import re
import signal
import time

from fakes.fake_imap import CAPABILITIES, FakeImap

from . import compare, dovecot, mail, net, redisd
from .cyrus import Cyrus
from .ferry import Ferry, backend
from view.cache import Cache
from view.resync import look

MAILBOXES = [("INBOX",), ("Work",), ("Work", "Größe"), ("empty one",)]
SETTINGS = {
    "migrator": {"retry_min": "200ms", "retry_max": "400ms", "job_lease": "500ms", "command_timeout": "3s"},
    "migration": {"cutover": "manual", "freeze_budget": "10s"},
    "proxy": {"lease": "300ms", "lease_long": "300ms"},
}
DEADLINE = 60
NUMBERED = ("numbers", "fillers", "told", "cyrus")
TOLD = ("told", "cyrus")
NO_MODSEQS = ("single", "plain", "fillers")  # their targets don't offer CONDSTORE
GONE = 16  # messages that make_gaps() takes from the account, with those that are \Deleted already
KILL, STOP = "kill", "stop"
CUTS = [f"{how}={side}" for side in ("source", "target", "store") for how in ("cut", "reset")]


@dataclasses.dataclass(frozen=True)
class Case:
    way: str
    point: str = ""
    nth: int = 0
    action: str = ""

    def __str__(self):
        return f"{self.way}/{self.point}:{self.nth}:{self.action}"

    @staticmethod
    def parse(text):
        way, point, nth, action = re.fullmatch(r"(\w+)/([^:]+):(\d+):([\w=]+)", text).groups()
        return Case(way, point, int(nth), action)


def account_for(way):
    """About 60 messages with doubles side by side and far apart, and a large one."""
    big = (5 << 20,) * 3 if way == "batches" else (600 * 1024,)
    account = mail.sample(5, 54, MAILBOXES, sizes=(300, 4000), big=big)
    inbox = [m for m in account.messages if m.mailbox == ("INBOX",)]
    account.messages += [dataclasses.replace(inbox[1]), dataclasses.replace(inbox[1]), dataclasses.replace(inbox[4])]
    if way == "cyrus":
        refused = mail.Message(("INBOX",), b"no header at all\r\n", ("\\Seen", "kept"), '"01-Mar-2019 10:00:00 +0000"')
        account.messages.insert(9, refused)
        account.messages.insert(20, dataclasses.replace(refused, body=refused.body * 20000))
        account.messages.insert(40, dataclasses.replace(refused, mailbox=("Work",)))
    return account


def change(m, way, name):
    """What a user does between the two runs, in the mailbox `name`."""
    assert m.select(f'"{name}"')[0] == "OK"
    m.store("3", "+FLAGS.SILENT", "(\\Answered changed)")
    m.store("4", "FLAGS.SILENT", "(\\Flagged)")
    if way != "plain":
        m.store("2,6", "+FLAGS.SILENT", "(\\Deleted)")
        m.expunge()
    for n in range(2):
        body = f"Subject: new {n}\r\nDate: Mon, 1 Mar 2021 10:00:00 +0000\r\n\r\nnew\r\n".encode()
        m.append(f'"{name}"', "(\\Seen)", '"01-Mar-2021 10:00:00 +0000"', body)
    m.append(f'"{name}"', "(\\Seen)", '"01-Mar-2021 10:00:00 +0000"', body)  # the same twice
    m.unselect()


def make_gaps(m, name):
    """At the start, in the middle, at the end."""
    assert m.select(f'"{name}"')[0] == "OK"
    last = int(m.response("UIDNEXT")[1][0]) - 1
    m.uid("STORE", f"1:2,5,{last}", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.unselect()


def numbers(m, account, all_of_them):
    """UIDs and UIDNEXT of each mailbox, and UIDVALIDITY."""
    found = {}
    for levels, box in account.mailboxes.items():
        status = m.status(f'"{box.name}"', "(UIDNEXT UIDVALIDITY)")[1][0]
        uids = [x.uid for x in box.messages]
        found[levels] = uids, int(re.search(rb"UIDNEXT (\d+)", status).group(1))
        if all_of_them:
            found[levels] += (int(re.search(rb"UIDVALIDITY (\d+)", status).group(1)),)
    return found


class World:
    """The servers that all cases share."""

    def __init__(self, cert):
        self._stack = contextlib.ExitStack()
        enter = self._stack.enter_context
        self._count = itertools.count(1)
        self._traces = {}
        self.old = enter(dovecot.Dovecot("old", separator=".", prefix="INBOX.", mail="maildir"))
        real = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE NAMESPACE UIDPLUS SPECIAL-USE LIST-EXTENDED UNSELECT IDLE"
        multi = enter(dovecot.Dovecot("new", mail="mdbox"))
        single = enter(dovecot.Dovecot("one", mail="mdbox", capability=real))
        told = enter(dovecot.Dovecot("told", mail="mdbox", doveadm=True))
        plain = enter(FakeImap(name="plain", capabilities=CAPABILITIES.replace("UIDPLUS ", "")))
        self.targets = {"multi": multi, "batches": multi, "single": single, "plain": plain, "numbers": multi,
                        "fillers": single, "told": told, "cyrus": enter(Cyrus("cyrus", extra="munge8bit: no"))}
        self.redis = redisd.Redis(port=net.free_port())
        self._stack.callback(self.redis.close)
        self.cert = cert

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def points(self, way):
        """Counter of the points that an undisturbed migration passes."""
        if way not in self._traces:
            self._traces[way] = self._run(Case(way))
        return self._traces[way]

    def run(self, case):
        """True where the point was reached so often."""
        case = Case.parse(case) if isinstance(case, str) else case
        return self._run(case)[case.point] >= case.nth

    def _run(self, case):
        run = Run(self, case, next(self._count))
        try:
            return run.run()
        except BaseException as e:
            e.add_note(f"case {case}") if hasattr(e, "add_note") else None
            raise
        finally:
            run.close()


class Run:
    def __init__(self, world, case, number):
        self.world, self.case = world, case
        self.target = world.targets[case.way]
        self.user = f"crash{number}.{os.getpid()}@example.org"
        options = self.target.doveadm_options() if case.way == "told" else {}
        if case.way not in TOLD:
            options["numbers"] = "none"
        backends = {"old": backend(world.old, "imap"), "new": backend(self.target, "imap", **options)}
        self.ferry = Ferry(world.redis, backends, world.cert, SETTINGS)
        self.ferry.settings["redis"]["prefix"] = f"c{number}"
        if case.way in TOLD:  # a request waits for no longer than the job is held
            self.ferry.settings["migrator"]["job_lease"] = "2s"
        if case.way in NUMBERED:
            self.ferry.settings["migration"]["t0_max_gaps" if case.way in TOLD else "t1_max_gaps"] = 1000
        self.trace = os.path.join(self.ferry.folder, "trace")
        self.migrators, self.caches = [], []

    def close(self):
        for cache in self.caches:
            cache.drop()
        for migrator in self.migrators:
            migrator.kill()
        self.ferry.close()

    # ---- who keeps mailboxes

    def _look_first(self):
        """Three look, and leave."""
        proxy, rng = self.ferry.proxy(), random.Random(str(self.case))
        self.caches = [Cache(proxy.addresses[0], self.user, name, rng, [way], patient=True)
                       for name, way in ((b"INBOX", "select"), (b"INBOX", "search"), (b"INBOX.Work", "fetch"))]
        for cache in self.caches:
            assert cache.open(), cache.faults
            cache.drop()

    def _look_again(self):
        """The last two, one of which stays, in INBOX."""
        for cache in self.caches[1:]:
            assert cache.open(), cache.faults
        if self.caches:
            self.caches[-1].drop()

    def _judge_caches(self):
        found = []
        for cache in self.caches:
            stayed = cache.is_open and cache.turn()
            if not stayed:
                net.wait_until("a whole answer", cache.open, timeout=30)
            there = look(cache.address, self.user, cache.name)
            found += cache.faults
            found += [f"{cache.name} by {cache.way}: UID {uid}: holds {cache.messages.get(uid)}, there {there.get(uid)}"
                      for uid in sorted({*there, *cache.messages}) if there.get(uid) != cache.messages.get(uid)]
        assert not found, "\n".join([f"{self.case}: what clients hold is not there:", *found[:20], self.logs()])

    # ---- the migrators

    def _environment(self):
        ports = {"source": self.world.old.port["imap"], "target": self.target.port["imap"],
                 "store": self.world.redis.port}
        env = {"IMAPFERRY_FAULT_TRACE": self.trace}
        if self.case.point:
            how, _, side = self.case.action.partition("=")
            action = f"{how}={ports[side]}" if side else how
            env["IMAPFERRY_FAULT"] = f"{self.case.point}:{self.case.nth}:{action}"
        return env

    def _start(self):
        first = not self.migrators
        self.migrators.append(self.ferry.migrator(wait=False, env=self._environment() if first else None))

    def _wait(self, wanted):
        """Waits for the state; whenever the migrator dies or stops, another one is started, once."""
        end = time.monotonic() + DEADLINE
        while True:
            if self.migrators[-1].state() in ("", "T"):
                died = self.migrators[-1].process.poll()
                assert died in (None, -signal.SIGKILL), f"{self.case}: ended with {died}\n{self.logs()}"
                assert len(self.migrators) == 1, f"{self.case}: a migrator without a fault ended\n{self.logs()}"
                self._start()
            route = self.ferry.route(self.user)
            assert route.get("state") != "blocked", f"{self.case}: {route.get('reason')}\n{self.logs()}"
            if route.get("state") == wanted or (wanted, route.get("state")) == ("flipped", "settled"):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"{self.case}: not {wanted} but {route}\n{self.logs()}")
            time.sleep(0.03)

    def logs(self):
        return "\n".join(f"--- {m.label}\n{m.tail()}" for m in self.migrators)

    # ---- the account

    def _fill(self):
        m = mail.connect(self.world.old, self.user, dovecot.PASSWORD)
        mail.load(account_for(self.case.way), m, self.world.old.prefix, self.world.old.separator)
        for name in ("INBOX", "INBOX.Work", "INBOX.Work.Gr&APYA3w-e") if self.case.way in NUMBERED else ():
            make_gaps(m, name)
        m.logout()
        net.wait_next_second()

    def _change(self):
        m = mail.connect(self.world.old, self.user, dovecot.PASSWORD)
        for name in ("INBOX", "INBOX.Work"):
            change(m, self.case.way, name)
        m.logout()

    def _source(self):
        """All that a client can see of it."""
        m = mail.connect(self.world.old, self.user, dovecot.PASSWORD)
        account = compare.read_account(m)
        seen = {}
        for box in account.mailboxes.values():
            status = m.status(f'"{box.name}"', "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
            seen[box.name] = status[1][0]
        self.numbers = numbers(m, account, self.case.way in TOLD)
        m.logout()
        return account, seen

    def _compare(self):
        source = self._source()
        assert source == self.before, f"{self.case}: the source was changed"
        m = mail.connect(self.target, self.user, dovecot.PASSWORD)
        target = compare.read_account(m)
        expect = len(account_for(self.case.way).messages) - (GONE if self.case.way in NUMBERED else 0)
        found = compare.compare(source[0], target, expect)
        told = numbers(m, target, self.case.way in TOLD)
        m.logout()
        found = [str(d) for d in found if d.kind != "special-use" or self.case.way != "plain"]
        assert not found, "\n".join([f"{self.case}: the target differs", *found[:20], self.logs()])
        if self.case.way in NUMBERED:
            other = {levels: (told.get(levels), mine) for levels, mine in self.numbers.items() if mine != told.get(levels)}
            assert not other, "\n".join([f"{self.case}: other numbers: {other}", self.logs()])

    def _wake(self):
        """The one that was stopped finds that the job went on without it, and adds nothing."""
        sleeper = self.migrators[0]
        if sleeper.process.poll() is not None or self.case.action != STOP or len(self.migrators) == 1:
            return
        self._compare()
        sleeper.signal(signal.SIGCONT)
        sleeper.stop()

    def run(self):
        self._fill()
        self.ferry.init()
        if self.case.way not in NO_MODSEQS:
            self._look_first()
        assert self.ferry.ctl("migrate", self.user)[0] == 0
        self._start()
        self._wait("ready")
        self._change()
        self._look_again()
        self.before = self._source()
        self._ctl_flip()
        self._wait("flipped")
        self._wake()
        self._judge_caches()
        self._stop_all()
        self._compare()
        with open(os.path.join(self.ferry.folder, "journal", "flips"), encoding="utf-8") as f:
            assert f'"user": "{self.user}"' in f.read(), f"{self.case}: the flip is not in the journal"
        with open(self.trace, encoding="ascii") as f:
            return collections.Counter(f.read().split())

    def _stop_all(self):
        """The first one may come to its point when the flip is seen already; the second may have only just begun."""
        first, *others = self.migrators

        def ended():
            if first.state() == "T":
                first.signal(signal.SIGCONT)
            return first.process.poll() is not None
        if first.process.poll() is None:
            first.process.terminate()
            net.wait_until("end of the first migrator", ended, timeout=30)
            if first.process.returncode != -signal.SIGKILL:
                first.stop()
        for migrator in others:
            if migrator.process.poll() is None:
                migrator.wait("event=ready")
                migrator.stop()

    def _ctl_flip(self):
        status, answer = self.ferry.ctl("flip", self.user, "--to", "new", "--reason", "test")
        assert status == 0, (str(self.case), status, answer)


# ---- which cases there are

def occurrences(count, rng):
    """The first, the last, and one between them."""
    return sorted({1, count, rng.randint(1, count)})


def all_cases(world, seed):
    """Every point of every way, killed; stopped and cut at each as well."""
    rng = random.Random(seed)
    cases = []
    for way in world.targets:
        for point, count in sorted(world.points(way).items()):
            cases += [Case(way, point, n, KILL) for n in occurrences(count, rng)]
            cases += [Case(way, point, rng.randint(1, count), action) for action in [STOP, *CUTS]]
    return cases
