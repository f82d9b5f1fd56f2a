"""What a server answers, as values that can be compared: no order where RFC 3501 promises none, no text for people.

    Answers.read(read) -> one response: Answer(kind, number, data)       read(n): n bytes; read(None): a line
"""
import dataclasses
import re

_LITERAL = re.compile(rb"~?\{(\d+)\}$")
_STATUS = re.compile(rb"(\S+) (OK|NO|BAD|BYE|PREAUTH)(?: \[([^\]]*)\])?", re.I)
_ATOM = re.compile(rb"(?:BODY|BINARY)(?:\.SIZE)?\[[^\]]*\](?:<\d+>)?|[^\s()\"]+", re.I)
_MODSEQ = re.compile(rb"HIGHESTMODSEQ|MODSEQ", re.I)


class Text(bytes):
    """A string, quoted or literal; atoms are bytes."""


@dataclasses.dataclass
class Answer:
    """kind: the tag for a tagged one; OK, NO, BYE ...; EXISTS, FETCH, LIST ... else. data is what follows, as values."""
    kind: bytes
    number: int = 0
    data: object = None
    status: bytes = b""  # of a tagged one
    raw: bytes = b""


def read_answer(line, exactly):
    """line(): the next line without its end; exactly(n): bytes. None at the end of the connection."""
    parts = []
    while True:
        text = line()
        if text is None:
            return None
        found = _LITERAL.search(text)
        if not found:
            parts.append(text)
            return understand(parts)
        parts += [text[:found.start()], exactly(int(found[1]))]


def understand(parts):
    raw = b"".join(parts)
    status = _STATUS.match(parts[0])
    if parts[0].startswith(b"+"):
        return Answer(b"+", raw=raw)
    if status:
        code = tuple(tokens([status[3]])) if status[3] is not None else ()
        if status[1] != b"*":
            return Answer(status[1], data=code, status=status[2].upper(), raw=raw)
        return Answer(status[2].upper(), data=code, raw=raw)
    words = tokens(parts)[1:]
    if words and words[0].isdigit():
        return Answer(words[1].upper(), int(words[0]), words[2:], raw=raw)
    return Answer(words[0].upper(), data=words[1:], raw=raw)


def tokens(parts):
    """Atoms, Texts and lists."""
    stack = [[]]
    for n, part in enumerate(parts):
        if n % 2:
            stack[-1].append(Text(part))
            continue
        at = 0
        while at < len(part):
            c = part[at:at + 1]
            if c == b"(":
                stack.append([])
                at += 1
            elif c == b")":
                done = stack.pop()
                if not stack:
                    raise ValueError(f"unbalanced: {parts}")
                stack[-1].append(done)
                at += 1
            elif c == b'"':
                found = re.compile(rb'"((?:[^"\\]|\\.)*)"').match(part, at)
                stack[-1].append(Text(re.sub(rb"\\(.)", rb"\1", found[1])))
                at = found.end()
            elif c.isspace():
                at += 1
            else:
                found = _ATOM.match(part, at)
                stack[-1].append(found[0])
                at = found.end()
    if len(stack) != 1:
        raise ValueError(f"unbalanced: {parts}")
    return stack[0]


def expand(uids):
    """A set of numbers, in its order."""
    out = []
    for part in uids.split(b","):
        first, _, last = part.partition(b":")
        a, b = int(first), int(last or first)
        out += range(a, b + 1) if a <= b else range(a, b - 1, -1)
    return out


def frozen(value):
    if isinstance(value, list):
        return tuple(frozen(x) for x in value)
    return bytes(value) if isinstance(value, bytes) else value


# ---- as values

SYSTEM = (b"\\SEEN", b"\\ANSWERED", b"\\FLAGGED", b"\\DELETED", b"\\DRAFT", b"\\*")
IGNORED_ATTRIBUTES = (b"\\MARKED", b"\\UNMARKED")


def flags(words):
    return frozenset(x.upper() for x in words if x.upper() != b"\\RECENT")


def pairs(words):
    return {words[n].upper(): frozen(words[n + 1]) for n in range(0, len(words) - 1, 2)}


def of_fetch(words):
    got = pairs(words[0])
    if b"FLAGS" in got:
        got[b"FLAGS"] = flags(got[b"FLAGS"])
    if b"MODSEQ" in got:
        got[b"MODSEQ"] = b"some"
    return got


def of_code(words):
    """Of a response code: its name, and the numbers that a client keeps."""
    if not words:
        return ()
    name = words[0].upper()
    if name in (b"CANNOT", b"NONEXISTENT", b"EXPUNGEISSUED"):  # a reason, or a matter of moments
        return ()
    if name == b"COPYUID":
        return (name, Validity(int(words[1])), tuple(sorted(zip(expand(words[2]), expand(words[3])))))
    if name == b"APPENDUID":
        return (name, Validity(int(words[1])), tuple(expand(words[2])))
    if name == b"UIDVALIDITY":
        return (name, Validity(int(words[1])))
    if name == b"PERMANENTFLAGS":
        return (name, frozenset(x for x in flags(words[1]) if x in SYSTEM))
    if name in (b"UIDNEXT", b"UNSEEN"):
        return (name, int(words[1]))
    if name == b"MODIFIED":
        return (name, tuple(sorted(expand(words[1]))))
    return (name,)


def of_status(words):
    got = {k: int(v) for k, v in pairs(words[1]).items() if k != b"RECENT"}
    if b"HIGHESTMODSEQ" in got:
        got[b"HIGHESTMODSEQ"] = min(got[b"HIGHESTMODSEQ"], 1)
    if b"UIDVALIDITY" in got:
        got[b"UIDVALIDITY"] = Validity(got[b"UIDVALIDITY"])
    return (mailbox(words[0]), tuple(sorted(got.items())))


def of_esearch(words):
    got, rest = {}, list(words)
    if rest and isinstance(rest[0], list):
        rest.pop(0)
    if rest and rest[0].upper() == b"UID":
        got[b"UID"] = True
        rest.pop(0)
    for k, v in pairs(rest).items():
        got[k] = tuple(sorted(expand(v))) if k == b"ALL" else b"some" if k == b"MODSEQ" else v
    return tuple(sorted(got.items()))


def mailbox(name):
    return b"INBOX" if name.upper() == b"INBOX" else bytes(name)


class Validity(int):
    """A UIDVALIDITY: that of a mailbox which was made meanwhile is another one on each server."""


def value(answer):
    """Of an untagged answer, but for EXISTS, EXPUNGE and FETCH; None where nothing of it is compared."""
    words = answer.data
    if answer.kind in (b"RECENT", b"CAPABILITY"):
        return None
    if answer.kind in (b"OK", b"NO", b"BAD", b"BYE"):
        code = of_code(words)
        return (answer.kind, code) if code and code[0] not in (b"HIGHESTMODSEQ", b"NOMODSEQ", b"MAILBOXID") else None
    if answer.kind in (b"LIST", b"LSUB", b"XLIST"):
        attributes = frozenset(x.upper() for x in words[0] if x.upper() not in IGNORED_ATTRIBUTES)
        return (answer.kind, attributes, bytes(words[1]), mailbox(words[2]), frozen(words[3:]))
    if answer.kind == b"STATUS":
        return (answer.kind, *of_status(words))
    if answer.kind == b"SORT" and words and isinstance(words[-1], list):
        return (answer.kind, *frozen(words[:-1]), b"some")
    if answer.kind == b"SEARCH":
        return (answer.kind, tuple(sorted(int(x) for x in words if isinstance(x, bytes) and x.isdigit())))
    if answer.kind == b"ESEARCH":
        return (answer.kind, of_esearch(words))
    if answer.kind == b"FLAGS":
        return (answer.kind, frozenset(x for x in flags(words[0]) if x in SYSTEM))
    if answer.kind == b"ENABLED":
        return (answer.kind, frozenset(x.upper() for x in words))
    return (answer.kind, frozen(words))
