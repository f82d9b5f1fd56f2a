"""What passes between a client and its server, kept and counted: the judge of what a client transferred is not the client.

    tap = Tap(("127.0.0.1", port))      # a relay; clients connect to tap.number
    tap.start(); ...; seen = tap.seen()
    seen.bodies, seen.headers           # FETCH responses that carried a message, or only a part of its header
"""
import dataclasses
import re
import zlib

from harness.relay import DOWN, UP, Relay

_LITERAL = re.compile(rb"\{(\d+)\}$")
_WHOLE = re.compile(rb"\b(?:BODY\[\](?:<0>)?|RFC822) ", re.I)
_PART = re.compile(rb"\b(?:BODY\[[^\]]+\](?:<\d+>)?|RFC822\.(?:HEADER|TEXT)) ", re.I)


@dataclasses.dataclass
class Seen:
    bodies: int = 0
    headers: int = 0
    size: int = 0  # bytes that the server sent
    text: bytes = b""

    def __add__(self, more):
        return Seen(self.bodies + more.bodies, self.headers + more.headers, self.size + more.size, self.text + more.text)

    def __str__(self):
        return f"{self.bodies} messages and {self.headers} headers in {self.size} bytes"


def responses(data):
    """Each response of a server: its text, without what its literals hold."""
    at, text = 0, b""
    while at < len(data):
        end = data.find(b"\n", at)
        if end < 0:
            return
        line = data[at:end].rstrip(b"\r")
        at = end + 1
        text += line
        literal = _LITERAL.search(line)
        if literal:
            at += int(literal[1])
        else:
            yield text
            text = b""


def count(data):
    seen = Seen(size=len(data), text=data)
    for text in responses(data):
        if text.startswith(b"* ") and b" FETCH (" in text[:24]:
            if _WHOLE.search(text):
                seen.bodies += 1
            elif _PART.search(text):
                seen.headers += 1
    return seen


def inflated(down, up):
    """What the server sent, where the client had it compressed too (RFC 4978)."""
    asked = re.search(rb"^(\S+) COMPRESS DEFLATE\r$", up, re.M | re.I)
    begun = asked and re.search(rb"^" + re.escape(asked[1]) + rb" OK[^\n]*\n", down, re.M)
    if not begun:
        return down
    return down[:begun.end()] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(down[begun.end():])


class Tap(Relay):
    """Some clients make a connection for each mailbox: each one is read by itself. upstream may be set anew between two
    synchronizations."""

    def __init__(self, upstream):
        self._kept = {}  # connection -> what passed in each direction
        super().__init__(upstream)

    def _edited(self, pair, direction, data):
        self._kept.setdefault(pair, {UP: [], DOWN: []})[direction].append(data)
        return data

    def start(self):
        self._kept.clear()

    def seen(self):
        return sum((count(inflated(b"".join(x[DOWN]), b"".join(x[UP]))) for x in self._kept.values()), Seen())
