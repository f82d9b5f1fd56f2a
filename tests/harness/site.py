"""A site that many tests share: two servers, Redis, one migrator, and no proxy, since staff set the migrations off. Each
test has an account of its own, so that what one server does to it concerns no other test.

    with Site(FakeImap("old"), FakeImap("new")) as site:
        user = site.user()
        site.source.add(user, "INBOX", b"Subject: x\\r\\n\\r\\n")
        site.copy(user)          # copied, compared, and waits
        site.flip(user)          # a last look, and the route is flipped
        site.same(user, 1)
"""
import re

from . import compare, mail, net, redisd
from .ferry import Ferry, backend
from .scene import new_user, read

LETTER = b"From: a@example.org\r\nSubject: %d\r\n\r\ntext\r\n"


def letters(site, count=6, **more):
    """A new account with so many messages in its INBOX on a fake source; its name."""
    return site.letters(site.user(), *(LETTER % i for i in range(count)), **more)


class Site:
    """Closes both servers too unless keep. writes_source: the tests write on the old server while accounts move."""

    def __init__(self, source, target, settings=None, cert=None, keep=False, writes_source=False, **options):
        self.source, self.target, self._keep = source, target, keep
        self.redis = redisd.Redis(port=net.free_port())
        merged = {"migration": {"cutover": "manual", "trigger": "manual"}}
        for section, values in (settings or {}).items():
            merged.setdefault(section, {}).update(values)
        sides = {"old": backend(source, "imap", **options.get("old", {})),
                 "new": backend(target, "imap", **options.get("new", {}))}
        self.ferry = Ferry(self.redis, sides, cert, merged)
        self.ferry.source_may_change = writes_source
        self.ferry.init()
        self.migrator = self.ferry.migrator()

    @staticmethod
    def user(label="case"):
        return new_user(label)

    def letters(self, user, *bodies, name="INBOX", **more):
        """Puts messages on a fake source; the name of the account."""
        for body in bodies:
            self.source.add(user, name, body, **more)
        return user

    def texts(self, user, side="target", name="INBOX"):
        """The bodies on a fake server, as they are stored."""
        return [m.body for m in getattr(self, side).box(user, name).messages]

    def sent(self, user):
        """How many messages a fake target was sent."""
        return sum(box.appended for box in self.target.account(user).values())

    # ---- what staff do

    def start(self, user, *more):
        status, out, err = self.ferry.ctl_raw("migrate", user, *more)
        assert status == 0, (status, out, err)

    def copy(self, user, *states, timeout=40):
        self.start(user)
        return self.ferry.wait_state(user, *(states or ("ready",)), timeout=timeout)

    def move(self, user, *states, timeout=40):
        self.start(user, "--now")
        return self.ferry.wait_state(user, *(states or ("flipped",)), timeout=timeout)

    def flip(self, user, *states):
        status, answer = self.ferry.ctl("flip", user, "--to", "new", "--reason", "test")
        assert status == 0, answer
        return self.ferry.wait_state(user, *(states or ("flipped",)))

    def retry(self, user, *states):
        """Again, for which staff ask; or since its time came in the same moment, and it is at work already."""
        status, answer = self.ferry.ctl("retry", user)
        assert status == 0 or re.search(r"the account is (queued|copying)", answer["error"]), answer
        return self.ferry.wait_state(user, *(states or ("ready", "flipped")))

    def wait(self, user, *states, timeout=40):
        return self.ferry.wait_state(user, *states, timeout=timeout)

    def stays(self, user, *said, timeout=40):
        """Not moved, and each of these patterns is in the reason; the route."""
        self.start(user, "--now")
        return self.stayed(user, *said, timeout=timeout)

    def stayed(self, user, *said, timeout=40):
        route = self.wait(user, "blocked", "backoff", "flipped", timeout=timeout)
        assert route["state"] != "flipped" and route.get("backend", "old") == "old", route
        for pattern in said:
            assert re.search(pattern, route["reason"]), route["reason"]
        return route

    # ---- what came of it

    def differences(self, user, count=1, ignore=("special-use",)):
        found = compare.compare(read(self.source, user), read(self.target, user), count)
        return [d for d in found if d.kind not in ignore]

    def same(self, user, count=1):
        found = self.differences(user, count)
        assert not found, "\n".join(map(str, found[:20]))

    def kinds(self, user):
        return {d.kind for d in self.differences(user)}

    def connect(self, user, side="source"):
        return mail.connect(getattr(self, side), user, "secret")

    # ---- the end

    def close(self):
        try:
            self.ferry.close()
        finally:
            self.redis.close()
            if not self._keep:
                self.source.close()
                self.target.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
