#!/usr/bin/env python3
"""Compares an account on two IMAP servers, and knows nothing of imapferry: the standard library's imaplib, both
servers asked directly.

Compared, mailbox by mailbox: names (separator and prefix mapped), number and order of messages, SHA-256 of every
body, flags, keywords (without regard to case), instants of INTERNALDATE, subscriptions, special-use attributes. A
difference is printed by name and makes the exit status 1, and so does an account with fewer messages than --expect.

    compare.py --expect 200 imap://ann:secret@127.0.0.1:1143 imap://ann:secret@127.0.0.1:2143

With --proof FILE, of `imapferryctl report NAME --proof`, both servers are held against what stood on them at the switch-over instead:
each message of the proof by its UID, SHA-256, size and instant. Either server may be left out by "-". What a user has removed since is
named, as `gone`; --may-be-gone lets it pass. Messages that the proof does not know are counted.

    imapferryctl report ann --proof > ann.proof; imapferryctl audit ann        # its SHA-256 stands there
    compare.py --proof ann.proof --sha256 9f86... imap://ann:secret@old.example.org imap://ann:secret@new.example.org
"""
import argparse
import base64
import dataclasses
import difflib
import hashlib
import imaplib
import json
import re
import ssl
import sys
import urllib.parse

SPECIAL = {b"\\all", b"\\archive", b"\\drafts", b"\\flagged", b"\\important", b"\\junk", b"\\sent", b"\\trash"}
MONTHS = {m: n + 1 for n, m in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"))}
BELOW = b"INBOX (below the prefix)"  # INBOX.INBOX is a mailbox of its own where the prefix is "INBOX."
CHUNK_BYTES = 8 << 20


class Broken(Exception):
    """A server answered something that can't be compared."""


@dataclasses.dataclass
class Message:
    uid: int
    size: int = 0
    flags: frozenset = frozenset()
    keywords: frozenset = frozenset()
    instant: int = 0
    zone: str = ""
    sha256: str = ""


@dataclasses.dataclass
class Mailbox:
    name: str  # as on the server
    levels: tuple
    selectable: bool
    special: frozenset
    messages: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Account:
    mailboxes: dict  # levels -> Mailbox
    subscribed: set  # levels

    @property
    def count(self):
        return sum(len(m.messages) for m in self.mailboxes.values())


@dataclasses.dataclass(frozen=True)
class Difference:
    kind: str
    mailbox: str
    text: str

    def __str__(self):
        return f"{self.kind}: {self.mailbox}: {self.text}"


# ---- reading one account

def ok(result, what):
    typ, data = result
    if typ != "OK":
        raise Broken(f"{what}: {typ} {data!r}")
    return data


def quoted(name):
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def connect(url, ca_file=None):
    """imap://, imaps:// or imap+starttls://user[;master=name]:password@host:port; with a master user its password."""
    u = urllib.parse.urlsplit(url)
    user, _, master = urllib.parse.unquote(u.username or "").partition(";master=")
    password = urllib.parse.unquote(u.password or "")
    context = ssl.create_default_context(cafile=ca_file)
    if u.scheme == "imaps":
        m = imaplib.IMAP4_SSL(u.hostname, u.port or 993, ssl_context=context, timeout=60)
    else:
        m = imaplib.IMAP4(u.hostname, u.port or 143, timeout=60)
    if u.scheme == "imap+starttls":
        m.starttls(context)
    parts = (user, master, password) if master else ("", user, password)
    ok(m.authenticate("PLAIN", lambda _: "\0".join(parts).encode()), f"sign-in as {user}")
    return m


def name_lines(data):
    """(attributes, separator, name) of the answers to LIST or LSUB."""
    head = re.compile(rb'\(([^)]*)\) (NIL|"(?:\\.|[^"\\])") (.*)$', re.S)
    for line in data:
        if line is None or line == b"":
            continue
        literal = None
        if isinstance(line, tuple):
            line, literal = line
        found = head.match(line)
        if not found:
            raise Broken(f"can't read {line!r}")
        attributes, separator, name = found.groups()
        separator = b"" if separator == b"NIL" else separator[1:-1].replace(b"\\\\", b"\\")
        if literal is not None:
            name = literal
        elif name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
        yield {a.lower() for a in attributes.split()}, separator, name


def personal_prefix(m):
    if b"NAMESPACE" not in ok(m.capability(), "CAPABILITY")[0].upper().split():
        return b""
    found = re.match(rb'\(\(("(?:\\.|[^"\\])*") ', ok(m.namespace(), "NAMESPACE")[0])
    return re.sub(rb"\\(.)", rb"\1", found.group(1)[1:-1]) if found else b""


def levels_of(name, separator, prefix):
    """What a name means apart from how the server spells it: the levels below the personal prefix."""
    if name.upper() == b"INBOX":
        return (b"INBOX",)
    if prefix and name.upper().startswith(prefix.upper()):
        name = name[len(prefix):]
        if name.upper() == b"INBOX":
            return (BELOW,)
    levels = tuple(name.split(separator)) if separator else (name,)
    if levels[0].upper() == b"INBOX":
        levels = (b"INBOX",) + levels[1:]
    return levels


def readable(levels):
    def decode(found):
        coded = found.group(1)
        if not coded:
            return "&"
        return base64.b64decode(coded.replace(",", "/") + "===").decode("utf-16-be", "replace")
    return " > ".join(re.sub(r"&([A-Za-z0-9+,]*)-", decode, x.decode("latin-1")) for x in levels)


def instant_of(text):
    """Seconds since 1970, and the zone: '17-Jul-1996 02:44:25 -0700'."""
    found = re.match(rb'"? ?(\d{1,2})-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"?$', text)
    if not found:
        raise Broken(f"can't read the date {text!r}")
    day, month, year, h, m, s, sign, zh, zm = found.groups()
    y, mo, d = int(year), MONTHS[month.lower()], int(day)
    if mo <= 2:
        y, mo = y - 1, mo + 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (mo - 3) + 2) // 5 + d - 719469
    offset = (int(zh) * 60 + int(zm)) * (-1 if sign == b"-" else 1)
    return days * 86400 + int(h) * 3600 + int(m) * 60 + int(s) - offset * 60, (sign + zh + zm).decode()


def fetch_units(data):
    """The FETCH responses among imaplib's data, each as (text without literals, [literals])."""
    text, literals = b"", []
    for part in data:
        if part is None:
            continue
        start = part[0] if isinstance(part, tuple) else part
        if re.match(rb"\d+ \(", start) and text:
            yield text, literals
            text, literals = b"", []
        text += start
        if isinstance(part, tuple):
            literals = literals + [part[1]]
    if text:
        yield text, literals


def read_heads(m):
    """All messages of the selected mailbox in the order of their UIDs, without bodies."""
    out = {}
    for text, _ in fetch_units(ok(m.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE)"), "FETCH")):
        uid = re.search(rb"\bUID (\d+)", text)
        flags = re.search(rb"\bFLAGS \(([^)]*)\)", text)
        date = re.search(rb'\bINTERNALDATE ("[^"]*")', text)
        size = re.search(rb"\bRFC822\.SIZE (\d+)", text)
        if not (uid and flags and date and size):
            continue  # flags that changed meanwhile, unasked
        names = flags.group(1).lower().split()
        instant, zone = instant_of(date.group(1))
        out[int(uid.group(1))] = Message(
            int(uid.group(1)), int(size.group(1)),
            frozenset(n.decode() for n in names if n.startswith(b"\\") and n != b"\\recent"),
            frozenset(n.decode("latin-1") for n in names if not n.startswith(b"\\")), instant, zone)
    return [out[uid] for uid in sorted(out)]


def read_bodies(m, messages):
    by_uid = {x.uid: x for x in messages}
    todo = list(messages)
    while todo:
        some, size = [], 0
        while todo and (not some or size + todo[0].size < CHUNK_BYTES) and len(some) < 200:
            size += todo[0].size
            some.append(todo.pop(0))
        uids = ",".join(str(x.uid) for x in some)
        for text, literals in fetch_units(ok(m.uid("FETCH", uids, "(UID BODY.PEEK[])"), "FETCH of bodies")):
            uid = re.search(rb"\bUID (\d+)", text)
            if not uid or b"BODY[]" not in text.upper():
                continue
            short = re.search(rb'BODY\[\] ("(?:\\.|[^"\\])*")', text, re.I)
            body = literals[0] if literals else re.sub(rb"\\(.)", rb"\1", short.group(1)[1:-1]) if short else None
            if body is None:
                raise Broken(f"no body for UID {uid.group(1).decode()}")
            by_uid[int(uid.group(1))].sha256 = hashlib.sha256(body).hexdigest()
    for x in messages:
        if not x.sha256:
            raise Broken(f"UID {x.uid} is listed and its body can't be read")


def read_account(m):
    prefix = personal_prefix(m)
    mailboxes = {}
    for attributes, separator, name in name_lines(ok(m.list('""', '"*"'), "LIST")):
        levels = levels_of(name, separator, prefix)
        selectable = not attributes & {b"\\noselect", b"\\nonexistent"}
        if levels in mailboxes:
            raise Broken(f"{readable(levels)} is listed twice")
        mailboxes[levels] = Mailbox(name.decode("latin-1"), levels, selectable, frozenset(attributes & SPECIAL))
    subscribed = {levels_of(name, separator, prefix)
                  for attributes, separator, name in name_lines(ok(m.lsub('""', '"*"'), "LSUB"))
                  if b"\\noselect" not in attributes}
    for box in mailboxes.values():
        if box.selectable:
            exists = int(ok(m.select(quoted(box.name.encode("latin-1")).decode("latin-1"), readonly=True), "EXAMINE")[0])
            box.messages = read_heads(m) if exists else []
            if len(box.messages) != exists:
                raise Broken(f"{readable(box.levels)}: {exists} messages exist, {len(box.messages)} are listed")
            read_bodies(m, box.messages)
    return Account({k: v for k, v in mailboxes.items() if v.selectable}, subscribed)


# ---- comparing two

def compare(old, new, expect=0, ignore=()):
    """All differences between two accounts; mailboxes whose levels are in `ignore` may lack on the old side."""
    out = []
    for side, account in (("old", old), ("new", new)):
        if account.count < expect:
            out.append(Difference("count", "-", f"{account.count} messages on the {side} side, expected {expect}"))
    for levels in sorted(old.mailboxes.keys() | new.mailboxes.keys()):
        a, b = old.mailboxes.get(levels), new.mailboxes.get(levels)
        if not b:
            out.append(Difference("mailbox", readable(levels), "missing on the new side"))
        elif not a:
            if levels not in ignore:
                out.append(Difference("mailbox", readable(levels), "on the new side only"))
        else:
            compare_mailbox(a, b, out)
    for levels in sorted(old.subscribed ^ new.subscribed):
        side = "old" if levels in old.subscribed else "new"
        out.append(Difference("subscription", readable(levels), f"subscribed on the {side} side only"))
    return out


def compare_mailbox(a, b, out):
    name = readable(a.levels)
    if a.special != b.special:
        show = [b" ".join(sorted(x.special)).decode() or "none" for x in (a, b)]
        out.append(Difference("special-use", name, f"{show[0]} became {show[1]}"))
    if [x.sha256 for x in a.messages] != [x.sha256 for x in b.messages]:
        compare_order(name, a.messages, b.messages, out)
        return
    for position, (x, y) in enumerate(zip(a.messages, b.messages), 1):
        compare_message(name, position, x, y, out)


def compare_order(name, a, b, out):
    """The bodies are not the same list: says whether some lack, are there too often, altered, or in another order."""
    left, right = [x.sha256 for x in a], [y.sha256 for y in b]
    if sorted(left) == sorted(right):
        first = next(i for i, (x, y) in enumerate(zip(left, right)) if x != y)
        out.append(Difference("order", name, f"the same messages in another order from position {first + 1} on"))
        return
    for op, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if op == "equal":
            for x, y, position in zip(a[i1:i2], b[j1:j2], range(i1 + 1, i2 + 1)):
                compare_message(name, position, x, y, out)
            continue
        common = min(i2 - i1, j2 - j1)
        for x, y in zip(a[i1:i1 + common], b[j1:j1 + common]):
            out.append(Difference("body", name, f"UID {x.uid} ({x.size} bytes, {x.sha256[:12]}) stands against "
                                                f"UID {y.uid} ({y.size} bytes, {y.sha256[:12]})"))
        for x in a[i1 + common:i2]:
            out.append(Difference("missing", name, f"UID {x.uid} ({x.size} bytes, {x.sha256[:12]})"))
        for y in b[j1 + common:j2]:
            out.append(Difference("extra", name, f"UID {y.uid} ({y.size} bytes, {y.sha256[:12]}) on the new side"))


def compare_message(name, position, x, y, out):
    who = f"message {position} (UID {x.uid} / {y.uid})"
    if x.flags != y.flags:
        out.append(Difference("flags", name, f"{who}: {show(x.flags)} became {show(y.flags)}"))
    if x.keywords != y.keywords:
        out.append(Difference("keywords", name, f"{who}: {show(x.keywords)} became {show(y.keywords)}"))
    if x.instant != y.instant:
        out.append(Difference("date", name, f"{who}: moved by {y.instant - x.instant} s"))


def show(names):
    return " ".join(sorted(names)) or "none"


def zones_kept(old, new):
    """(kept, not kept): only counted, since a server may keep the instant and not the zone."""
    pairs = [(x.zone, y.zone) for levels, a in old.mailboxes.items() if levels in new.mailboxes
             for x, y in zip(a.messages, new.mailboxes[levels].messages)]
    kept = sum(1 for x, y in pairs if x == y)
    return kept, len(pairs) - kept


def compare_connections(m_old, m_new, expect=0, ignore=()):
    """(differences, old account, new account) of two signed-in connections."""
    old, new = read_account(m_old), read_account(m_new)
    return compare(old, new, expect, ignore), old, new


# ---- against a proof

PROOF_LINE_MAX = 1 << 20


class ProofFile:
    """Reads a proof line by line (migrator/account/proof_text.h says what stands in it), and hashes it."""

    def __init__(self, file):
        self._file, self._hash = file, hashlib.sha256()
        self.head = self._line()
        if not isinstance(self.head, dict) or self.head.get("imapferry_proof") != 1:
            raise Broken("is no proof, or one that this program does not know")

    def _line(self):
        line = self._file.readline(PROOF_LINE_MAX)
        self._hash.update(line)
        if not line.endswith(b"\n"):
            raise Broken("the proof is cut off")
        try:
            return json.loads(line)
        except ValueError as e:
            raise Broken(f"a line of the proof can't be read: {e}") from e

    def mailboxes(self):
        """(its line, the lines of its messages) of each."""
        count = messages = undigested = size = 0
        line = self._line()
        while "mailbox" in line:
            rows = [self._line() for _ in range(line["proved"])]
            if any(not isinstance(row, list) or len(row) != 6 for row in rows):
                raise Broken(f"the messages of {line['mailbox']!r} are not as many as it says")
            count, messages = count + 1, messages + len(rows)
            size += sum(row[2] or 0 for row in rows)
            undigested += sum(row[4] is None for row in rows)
            yield line, rows
            line = self._line()
        if line != {"mailboxes": count, "messages": messages, "bytes": size, "without_digest": undigested}:
            raise Broken(f"the last line of the proof says {line}, and there are {count} mailboxes and {messages} messages")
        if self._file.read(1):
            raise Broken("something stands behind the last line of the proof")

    def sha256(self):
        return self._hash.hexdigest()


def open_by_proof(m, name, uidvalidity):
    """EXAMINEs a mailbox by its name on the wire. None: it is numbered anew, or not there."""
    if m.select(quoted(name.encode("latin-1")).decode("latin-1"), readonly=True)[0] != "OK":
        return None
    return m.response("UIDVALIDITY")[1][0] == str(uidvalidity).encode()


def check_side(m, side, box, rows, out):
    """One mailbox of one server; how many messages it has that the proof does not know."""
    uid_of, name = (0, box["mailbox"]) if side == "old" else (1, box["target"])
    same = open_by_proof(m, name, box["source_uidvalidity" if side == "old" else "target_uidvalidity"])
    where = f"{readable((name.encode('latin-1'),))} ({side})"
    if not same:
        if rows:
            out.append(Difference("mailbox", where, "is not there" if same is None else "has another UIDVALIDITY"))
        return 0
    there = {x.uid: x for x in read_heads(m)}
    proved = [there[row[uid_of]] for row in rows if row[uid_of] in there]
    read_bodies(m, proved)
    for row in rows:
        check_message(there.get(row[uid_of]), row, row[uid_of], where, out)
    return len(there) - len(proved)


def check_message(found, row, uid, where, out):
    _, _, size, instant, digest, _ = row
    if found is None:
        out.append(Difference("gone", where, f"UID {uid} is not there any more"))
        return
    if digest is not None and found.sha256 != digest:
        out.append(Difference("body", where, f"UID {uid} has SHA-256 {found.sha256[:12]}, proved was {digest[:12]} ({size} bytes)"))
    if instant is not None and found.instant != instant:
        out.append(Difference("date", where, f"UID {uid}: moved by {found.instant - instant} s"))


def check_proof(path, sides, sha256=None):
    """sides: of "old" and "new", signed-in connections. (differences, messages proved, without a digest, not known to it, hash)."""
    out, proved, undigested, more = [], 0, 0, 0
    with open(path, "rb") as file:
        proof = ProofFile(file)
        for box, rows in proof.mailboxes():
            proved += len(rows)
            undigested += sum(row[4] is None for row in rows)
            if not box.get("compared", True):
                out.append(Difference("mailbox", readable((box["mailbox"].encode("latin-1"),)), "was not compared: that was waived"))
                continue
            more += sum(check_side(m, side, box, rows, out) for side, m in sides.items())
    if sha256 and proof.sha256() != sha256.lower():
        out.append(Difference("proof", "-", f"its SHA-256 is {proof.sha256()}: it is not the one of the switch-over"))
    return out, proved, undigested, more, proof.sha256()


def main_proof(args):
    urls = {side: url for side, url in (("old", args.old), ("new", args.new)) if url != "-"}
    try:
        out, proved, undigested, more, sha256 = check_proof(
            args.proof, {side: connect(url, args.ca) for side, url in urls.items()}, args.sha256)
    except (Broken, imaplib.IMAP4.error, OSError, KeyError, TypeError, AttributeError) as e:
        print(f"can't check the proof: {e}")
        return 1
    gone = [d for d in out if d.kind == "gone"] if args.may_be_gone else []
    for d in out:
        print(d)
    print(f"{len(out) - len(gone)} differences; {proved} messages of the proof looked for on {len(urls)} servers, {len(gone)} gone, "
          f"{undigested} of them without a digest; {more} that it does not know\nsha256 {sha256}")
    return 1 if len(out) > len(gone) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--expect", type=int, default=1, help="fewer messages than this are a difference")
    parser.add_argument("--ca", help="certificate authority for imaps:// and imap+starttls://")
    parser.add_argument("--may-be-new", action="append", default=[], help="mailbox that may be on the new side only")
    parser.add_argument("--proof", help="hold both servers against this file")
    parser.add_argument("--sha256", help="of the proof, as the audit has it")
    parser.add_argument("--may-be-gone", action="store_true", help="with --proof: what is not there any more is no difference")
    args = parser.parse_args()
    if args.proof:
        return main_proof(args)
    ignore = {tuple(x.encode() for x in name.split("/")) for name in args.may_be_new}
    try:
        differences, old, new = compare_connections(connect(args.old, args.ca), connect(args.new, args.ca),
                                                    args.expect, ignore)
    except (Broken, imaplib.IMAP4.error, OSError) as e:
        print(f"can't compare: {e}")
        return 1
    for d in differences:
        print(d)
    kept, lost = zones_kept(old, new)
    print(f"{len(differences)} differences; {old.count} messages in {len(old.mailboxes)} mailboxes compared by SHA-256, "
          f"flags, keywords, date and order; time zone kept in {kept}, instant only in {lost}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
