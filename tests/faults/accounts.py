"""An account under load: who writes, who watches, what is delivered, and what lies there untouched."""
import time

from harness import mail, net
from harness.scene import PASSWORD

from .keeper import OF_EACH, Keeper
from .message import BOXES, Message, State, text
from .post import Post
from .session import Session
from .watcher import Watcher

QUIET = 3  # messages in each mailbox that nobody touches


def _number(m, box):
    return m.status(box, "(UIDVALIDITY)")[1][0].split(b"UIDVALIDITY ")[1].rstrip(b")").decode()


def _quiet(user, more=0):
    """Marks by mailbox."""
    return {box: [f"quiet-{user}-{box}-{n}" for n in range(QUIET + more)] for box in BOXES}


def _fill_old(server, user):
    """The UIDVALIDITY of Kept."""
    m = mail.connect(server, user, PASSWORD)
    for box, marks in _quiet(user).items():
        if box != "INBOX":
            m.create(box)
        mail.append(m, box, [mail.Message((box,), text(mark, "x")) for mark in marks])
    number = _number(m, "Kept")
    m.logout()
    return number


def _leave_gaps(server, user):
    """As after years: at the start, in the middle and at the end of each mailbox."""
    m = mail.connect(server, user, PASSWORD)
    for box in BOXES:
        mail.append(m, box, [mail.Message((box,), text(f"gone-{n}", "z")) for n in range(2)])
        m.select(box)
        m.uid("STORE", f"{QUIET + 1}:*", "+FLAGS.SILENT", "(\\Deleted)")
        m.expunge()
        m.unselect()
        mail.append(m, box, [mail.Message((box,), text(f"quiet-{user}-{box}-{QUIET}", "x"))])
    m.logout()


def prepare(servers, users, way="alike"):
    """Each with a little mail on the old server. Alike: and with Kept on the new one, by the same UIDVALIDITY."""
    numbers = {user: _fill_old(servers.old(way), user) for user in users}
    servers.new(way)
    if way != "alike":
        for user in users:
            _leave_gaps(servers.old(way), user)
        # Mailboxes of one second get the next seconds' numbers, and what the new server makes now must not happen to get the same.
        net.wait_until("the next second", lambda: time.time() > max(map(int, numbers.values())) + 1, timeout=30)
        return
    for _ in BOXES:  # Dovecot gave the later mailboxes the next seconds' UIDVALIDITYs
        net.wait_next_second()
    for user, number in numbers.items():
        servers.new(way).doveadm("mailbox", "create", "-u", user, "Kept")
        servers.new(way).doveadm("mailbox", "update", "-u", user, "--uid-validity", number, "Kept")
        # Dovecot makes it along with Kept, and may happen to give it the old one's.
        servers.new(way).doveadm("mailbox", "update", "-u", user, "--uid-validity", str(int(number) + 5000), "INBOX")


class Quiet:
    """What nobody touches."""

    def __init__(self, user, more):
        self.messages = [Message(mark, State(box)) for box, marks in _quiet(user, more).items() for mark in marks]
        self.complaints = []


class Account:
    def __init__(self, world, user, number, seed, sessions):
        """Of its sessions each second one has Kept open."""
        self.user = user
        boxes = ("INBOX", "Kept")
        self.sessions = [Session(world.addresses, user, f"u{number}s{i}", seed + i, boxes[i % 2]) for i in range(sessions)]
        self.watcher = Watcher(world.addresses, user, f"u{number}w", seed + 50)
        self.post = Post(world, user, f"u{number}d", seed + 60)
        self.keepers = [Keeper(world.addresses, user, f"u{number}k{i}", seed + 70 + i, BOXES[(number + i) % len(BOXES)], ways)
                        for i, ways in enumerate(OF_EACH)]
        self.all = [*self.sessions, self.watcher, *self.keepers, self.post, Quiet(user, 0 if world.is_alike else 1)]
        self.last = None
        self._threads = [*self.sessions, self.watcher, *self.keepers, self.post]
        self._flipped = None
        self._went_on = self._kept_on = 0

    def heard(self, state):
        if state == "flipped":
            self._flipped = time.monotonic()
        self.post.heard(state)

    def start(self):
        for t in self._threads:
            t.start()

    def begun(self):
        return all(t.begun.is_set() for t in [*self.sessions, self.watcher, *self.keepers])

    def deliver_last(self):
        self.post.stop()
        self.post.join(30)
        since = self.watcher.since
        self._went_on = bool(since and self._flipped and since < self._flipped)
        self._kept_on = sum(bool(k.since and self._flipped and k.since < self._flipped) for k in self.keepers)
        self.watcher.waits = True
        self.last = self.post.deliver("new", "Kept")

    def has_last(self):
        return self.watcher.has(self.last)

    def stop(self):
        for t in self._threads:
            t.stop()

    def join(self, timeout):
        for t in self._threads:
            if t.ident:
                t.join(timeout)
        self.post.close()

    def judge(self, there, anew):
        """Of those that keep a mailbox. anew: it may have got another UIDVALIDITY, as staff are told."""
        for keeper in self.keepers:
            keeper.judge(there, anew)

    def counts(self):
        return {"changes told": sum(s.told for s in self.sessions),
                "connections ended": sum(len(s.endings) for s in [*self.sessions, self.watcher]),
                "delivered": len(self.post.messages), "of them late": self.post.late,
                "EXISTS told in IDLE": self.watcher.told_in_idle,
                "in IDLE on the same connection after the flip": int(self._went_on),
                "times that a mailbox was opened by its MODSEQ": sum(k.cache.resumed for k in self.keepers),
                "kept open over the flip": self._kept_on}
