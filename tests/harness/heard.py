"""What a migrator says to a server, seen on the way: commands by verb, and how many bytes came back."""
import re
import threading

from .relay import DOWN, UP, Relay

LINE = re.compile(rb"^(m[0-9]+) ([A-Za-z]+)( .*)?\r\n", re.M)


class Heard(Relay):
    """A relay to a server's plain port that keeps the commands of the migrators which pass through it."""

    def __init__(self, server):
        super().__init__(("127.0.0.1", server.port["imap"]), edit=self._listen)
        self._lines = []
        self._mutex = threading.Lock()

    def _listen(self, direction, data):
        if direction == UP:
            with self._mutex:
                self._lines += [(verb.upper() + rest).decode("latin1") for _, verb, rest in LINE.findall(data)]
        return data

    def clear(self):
        with self._mutex:
            self._lines = []
            self._down = self.passed[DOWN]

    @property
    def lines(self):
        with self._mutex:
            return list(self._lines)

    @property
    def bytes(self):
        """That came from the server since clear()."""
        return self.passed[DOWN] - self._down

    def opened(self):
        """Mailboxes that were opened, in order."""
        return [re.sub(r"^\w+ \"?(.*?)\"?( \(CONDSTORE\))?$", r"\1", x) for x in self.lines
                if x.startswith(("SELECT ", "EXAMINE "))]

    def bodies(self):
        """Commands that read messages."""
        return [x for x in self.lines if "BODY" in x]

    def whole_lists(self):
        """Commands that list all of a mailbox."""
        return [x for x in self.lines if x.startswith("UID FETCH 1:* ") and "CHANGEDSINCE" not in x]
