"""Mail written where a Dovecot looks for it, before it has ever looked: half a million messages in seconds, or a very large
one."""
import os

LINE = b"Nothing in this line is of any interest, but there are very many of its kind: %010d.\r\n"
BODIES = 500  # a file can't have half a million names


def body(n, size, user="bob"):
    """A message of about so many bytes, in pieces."""
    yield (f"From: ann@example.org\r\nTo: {user}\r\nSubject: Number {n}\r\nMessage-ID: <{n}@example.org>\r\n"
           f"Date: Tue, 03 Mar 2015 10:00:00 +0100\r\n\r\n").encode()
    lines = max(1, size // len(LINE % 0))
    for first in range(0, lines, 10000):
        yield b"".join(LINE % (n + i) for i in range(first, min(first + 10000, lines)))


class Maildir:
    """INBOX of a user who has not been there yet."""

    def __init__(self, server, user):
        self._owner = os.stat(os.path.join(server.folder, "mail"))
        self.path, self.user = server.maildir(user), user
        self.count = 0
        for folder in (server.home(user), self.path, *(os.path.join(self.path, x) for x in ("cur", "new", "tmp"))):
            os.makedirs(folder, exist_ok=True)
            self._own(folder)

    def _own(self, path):
        os.chown(path, self._owner.st_uid, self._owner.st_gid)

    def write(self, n, size):
        """A file, not yet in the mailbox; its path."""
        path = os.path.join(self.path, "tmp", f"body{n}")
        with open(path, "wb") as f:
            f.writelines(body(n, size, self.user))  # two accounts of the same mail would be taken for one
        os.utime(path, (1400000000 + n * 977,) * 2)
        self._own(path)
        return path

    def link(self, path, flags=""):
        """Puts it into the mailbox as one more message."""
        self.count += 1
        size = os.path.getsize(path)
        os.link(path, os.path.join(self.path, "cur", f"{1500000000 + self.count}.M{self.count}.huge,S={size},W={size}:2,{flags}"))

    def fill(self, count):
        """So many small messages, which have few bodies."""
        paths = [self.write(n, 300 + n % 1500) for n in range(BODIES)]
        for n in range(count):
            self.link(paths[n % BODIES], ("", "S", "RS", "FS")[n % 7 % 4])
