"""Sample mail from a seed, as odd as real mail is, and a loader that puts it on a server as a client would.

    account = sample(seed=1, messages=300)
    load(account, connect(old, "ann", "secret"), prefix="INBOX.", separator=".")
"""
import base64
import dataclasses
import datetime
import imaplib
import random
import socket
import ssl

# Rarely whole hours, both ends of the map.
ZONES = ["+0000", "+0100", "+0200", "-0500", "-0800", "+0530", "+0545", "-0330", "+1400", "-1200", "+0930"]
KEYWORDS = ["$Forwarded", "$MDNSent", "NonJunk", "project-x", "$label1", "work"]
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
WORDS = ("ferry river crossing boat quay tide cargo deck rope anchor harbour lantern fog letter invoice meeting "
         "minutes answer question offer holiday photo garden kitchen train ticket report draft version budget").split()
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MAILBOXES = [("INBOX",), ("Sent",), ("Drafts",), ("Trash",), ("Archive",), ("Archive", "2019"), ("Archive", "2019", "Q1"),
             ("Entwürfe",), ("Ämter", "Größe & Gewicht"), ("日本語",), ("Projects",), ("Projects", "Blue sky"),
             ("with 'quotes' and (parens)",), ("empty one",)]


@dataclasses.dataclass
class Message:
    mailbox: tuple
    body: bytes
    flags: tuple = ()
    date: str = '"01-Jan-2020 12:00:00 +0000"'


@dataclasses.dataclass
class Account:
    mailboxes: list  # tuples of level names, in Unicode
    messages: list
    subscribed: list

    @property
    def size(self):
        return sum(len(m.body) for m in self.messages)


# ---- names

def mutf7(text):
    """Modified UTF-7 of RFC 3501 5.1.3, for one level or a whole name."""
    out, run = [], []

    def flush():
        if run:
            coded = base64.b64encode("".join(run).encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
            out.append("&" + coded.decode("ascii") + "-")
            run.clear()

    for c in text:
        if " " <= c <= "~":
            flush()
            out.append("&-" if c == "&" else c)
        else:
            run.append(c)
    flush()
    return "".join(out)


def wire_name(levels, prefix="", separator="/"):
    """The name of a mailbox on a server with this prefix and separator, as it stands in a command, unquoted."""
    if levels == ("INBOX",):
        return "INBOX"
    return prefix + separator.join(mutf7(level) for level in levels)


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---- messages

def internaldate(rng):
    """An INTERNALDATE of the fifteen years from 2010 on."""
    day = datetime.date(2010, 1, 1) + datetime.timedelta(days=rng.randrange(15 * 365))
    clock = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    return f'"{day.day:02}-{MONTHS[day.month - 1]}-{day.year} {clock} {rng.choice(ZONES)}"'


def _text(rng, size):
    lines, length = [], 0
    while length < size:
        line = " ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 12)))
        lines.append(line)
        length += len(line) + 2
    return ("\r\n".join(lines)[:max(size - 2, 0)] + "\r\n").encode()


def _head(rng, number, subject, message_id=True, kind="text/plain; charset=utf-8"):
    head = [f"From: Ann Other <ann{rng.randrange(9)}@example.org>", "To: bob@example.net",
            f"Subject: {subject}", "Date: Tue, 03 Mar 2015 10:00:00 +0100"]
    if message_id:
        head.append(f"Message-ID: <{number}.{rng.getrandbits(48):x}@example.org>")
    head += ["MIME-Version: 1.0", f"Content-Type: {kind}"]
    return "\r\n".join(head).encode() + b"\r\n"


def _plain(rng, n, size):
    return _head(rng, n, f"{rng.choice(WORDS)} {n}") + b"\r\n" + _text(rng, size)


def _no_message_id(rng, n, size):
    return _head(rng, n, f"nameless {n}", message_id=False) + b"\r\n" + _text(rng, size)


def _same_message_id(rng, n, size):
    return _head(rng, n, f"same id, other text {n}", message_id=False) + b"Message-ID: <same@example.org>\r\n\r\n" \
        + _text(rng, size)


def _eight_bit(rng, n, size):
    return _head(rng, n, "raw").replace(b"raw", "Grüße aus Köln".encode("latin-1")) + b"X-Odd: \xff\xfe\x80\r\n\r\n" \
        + bytes(rng.choice(b"\x80\xa0\xe4\xff abc") for _ in range(min(size, 2000))) + b"\r\n"


def _long_lines(rng, n, size):
    return _head(rng, n, f"long lines {n}") + b"\r\n" + b"x" * 20000 + b"\r\n" + _text(rng, size)


def _empty_body(rng, n, size):
    return _head(rng, n, f"nothing to say {n}") + b"\r\n"


def _no_blank_line(rng, n, size):
    return _head(rng, n, f"head only {n}")


def _no_final_newline(rng, n, size):
    return _head(rng, n, f"no last line end {n}") + b"\r\n" + _text(rng, size).rstrip()


def _folded_head(rng, n, size):
    return _head(rng, n, f"folded\r\n\twith tab\r\n  and blanks {n}") + b"X-UID: 7\r\nStatus: RO\r\n\r\n>From here on\r\n" \
        + _text(rng, size)


def _attachment(rng, n, size):
    data = base64.encodebytes(rng.randbytes(max(size * 3 // 4, 60))).replace(b"\n", b"\r\n")
    return _head(rng, n, f"photo {n}", kind="multipart/mixed; boundary=cut") + b"\r\n--cut\r\nContent-Type: image/jpeg\r\n" \
        b"Content-Transfer-Encoding: base64\r\n\r\n" + data + b"\r\n--cut--\r\n"


def _looks_like_imap(rng, n, size):
    return _head(rng, n, f"imap {n}") + b"\r\n)\r\n* BYE none\r\nA1 OK {5}\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n" + _text(rng, size)


KINDS = [_plain] * 6 + [_attachment] * 2 + [_no_message_id, _same_message_id, _eight_bit, _long_lines, _empty_body,
                                            _no_blank_line, _no_final_newline, _folded_head, _looks_like_imap]


def _flags(rng):
    flags = [f for f in FLAGS if rng.random() < (0.6 if f == "\\Seen" else 0.1)]
    return tuple(flags + [k for k in KEYWORDS if rng.random() < 0.08])


def sample(seed=1, messages=200, mailboxes=MAILBOXES, sizes=(300, 20000), big=()):
    """An account: every kind of message, doubles, flags, keywords, dates; `big` are sizes of extra messages."""
    rng = random.Random(seed)
    filled = [m for m in mailboxes if m != ("empty one",)]
    out = []
    for n in range(messages):
        kind = KINDS[n] if n < len(KINDS) else rng.choice(KINDS)
        size = int(sizes[0] * (sizes[1] / sizes[0]) ** (rng.random() ** 2))
        body = kind(rng, n, size)
        where = ("INBOX",) if rng.random() < 0.35 else rng.choice(filled)
        out.append(Message(where, body, _flags(rng), internaldate(rng)))
        if rng.random() < 0.02 and len(out) < messages:
            out.append(dataclasses.replace(out[-1]))  # the same mail twice in one mailbox
    out = out[:messages]
    for n, size in enumerate(big):
        out.insert(rng.randrange(len(out) + 1), Message(("INBOX",), _attachment(rng, 90000 + n, size), (), internaldate(rng)))
    subscribed = [m for m in mailboxes if m == ("INBOX",) or rng.random() < 0.7]
    return Account(list(mailboxes), out, subscribed)


# ---- loading

def connect(server, user, password, port="imap"):
    """imaplib, signed in, on the plain port of a harness server (anything with .port and .host)."""
    m = imaplib.IMAP4(getattr(server, "host", "127.0.0.1"), server.port[port], timeout=60)
    m.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _ok(m.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode()))
    return m


def trusting(ca_file):
    return ssl.create_default_context(cafile=ca_file)


def append(m, name, messages, batch=100, batch_bytes=4 << 20):
    """APPENDs in order, many to a command where the server can (MULTIAPPEND, LITERAL+)."""
    typ, data = m.capability()
    multi = b"MULTIAPPEND" in data[0].upper() and b"LITERAL+" in data[0].upper()
    start = 0
    while start < len(messages):
        end, size = start, 0
        while end < len(messages) and end - start < (batch if multi else 1) and (end == start or size < batch_bytes):
            size += len(messages[end].body)
            end += 1
        if multi:
            _multiappend(m, name, messages[start:end])
        else:
            one = messages[start]
            _ok(m.append(quoted(name), " ".join(one.flags), one.date, one.body))
        start = end


def _multiappend(m, name, messages):
    tag = m._new_tag()
    m.tagged_commands[tag] = None
    parts = [tag + b" APPEND " + quoted(name).encode()]
    for one in messages:
        head = f" ({' '.join(one.flags)}) {one.date} {{{len(one.body)}+}}\r\n"
        parts += [head.encode(), one.body]
    m.send(b"".join(parts) + b"\r\n")
    _ok(m._command_complete("APPEND", tag))


def _ok(result):
    if result[0] != "OK":
        raise RuntimeError(f"server said {result}")
    return result[1]


def load(account, m, prefix="", separator="/"):
    """Puts the account on the server that m is signed in to, in the order of account.messages in each mailbox.

    Mailboxes are made in the order in which a migrator makes them on the other side: Dovecot gives those that are made in
    one second UIDVALIDITYs of the seconds to come, so that in another order a pair of mailboxes could get equal ones."""
    m.select("INBOX")
    for levels in sorted(account.mailboxes, key=lambda x: wire_name(x, prefix, separator)):
        if levels != ("INBOX",):
            m.create(quoted(wire_name(levels, prefix, separator)))  # NO where a server made it by itself
    m.unselect() if "UNSELECT" in m.capabilities else m.close()
    for levels in account.mailboxes:
        append(m, wire_name(levels, prefix, separator), [x for x in account.messages if x.mailbox == levels])
    for levels in account.subscribed:
        _ok(m.subscribe(quoted(wire_name(levels, prefix, separator))))
