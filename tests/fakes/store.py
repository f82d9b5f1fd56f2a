"""What the fake server keeps."""
import dataclasses
import re

SYSTEM_FLAGS = {b"\\seen", b"\\answered", b"\\flagged", b"\\deleted", b"\\draft"}


@dataclasses.dataclass(eq=False)
class Message:
    uid: int
    body: bytes
    flags: set
    date: bytes  # INTERNALDATE without quotes
    hidden: bool = False   # counted and listed nowhere
    omitted: bool = False  # counted, but lacking in FETCH
    nil: bool = False      # FETCH says NIL for the body
    short: bool = False    # FETCH breaks off inside the body
    foreign: bool = False
    lost: set = dataclasses.field(default_factory=set)  # flags that can't be set


@dataclasses.dataclass(eq=False)
class Mailbox:
    name: bytes
    uidvalidity: int
    uidnext: int = 1
    messages: list = dataclasses.field(default_factory=list)
    special: bytes = b""
    attributes: list = dataclasses.field(default_factory=list)  # further ones: \Noselect
    subscribed: bool = False
    appended: int = 0  # how many APPENDs there were, for the faults

    def listed(self):
        return [m for m in self.messages if not m.hidden]


def shifted(date, seconds):
    """An INTERNALDATE moved by whole hours or minutes: done in the zone, which moves the instant the other way."""
    sign, hours, minutes = re.search(rb"([+-])(\d\d)(\d\d)$", date).groups()
    offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == b"-" else 1) - seconds // 60
    return date[:-5] + b"%s%02d%02d" % (b"-" if offset < 0 else b"+", abs(offset) // 60, abs(offset) % 60)
