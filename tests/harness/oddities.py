"""One account with everything in it that tests/CASES.md knows of: thousands of ordinary messages, and of each oddity
some. What the old server itself refuses to take is left out, and counted by kind.

    loaded = fill(server, user, messages=20000)
    loaded.messages, loaded.refused      # how many there are; kind -> how many the server did not take
"""
import collections
import dataclasses
import imaplib
import os
import re

from . import compare, mail, net
from .mail import Message, quoted, wire_name

HEAD = b"From: a@example.org\r\nSubject: odd\r\n"
SAME = b"Received: from a by b; Tue, 3 Mar 2015 10:00:00 +0100\r\nMessage-ID: <same@example.org>\r\nSubject: same\r\n\r\n"

BODIES = {
    "other body under the same id": [SAME + b"one\r\n", SAME + b"two\r\n"],
    "identical": [SAME + b"equal\r\n"] * 3,
    "no id": [b"From: scanner\r\n\r\npage 1\r\n"],
    "no blank line": [HEAD],
    "no header": [b"no header at all\r\n", b"\r\nbody alone\r\n"],
    "empty": [b""],
    "NUL": [HEAD + b"\r\na\0b\r\n", HEAD + b"\r\nx\0\0\0"],
    "0x80": [HEAD + b"\r\na\x80b\r\n"],
    "bare LF": [HEAD + b"\r\na\nb\n"],
    "bare CR": [HEAD + b"\r\na\rb\r\n", HEAD + b"\r\na\r\r\nb\r\n"],
    "mixed ends": [b"Subject: x\n\r\na\r\nb\nc\rd\r\n"],
    "8 bits in headers": [b"Subject: Gr\xfc\xdfe\r\nX-Odd: \xff\xfe\x80\r\n\r\ntext\r\n",
                          "Subject: Grüße 日本\r\n\r\nтекст\r\n".encode()],
    "long lines": [HEAD + b"\r\n" + b"x" * 20000 + b"\r\n", HEAD + b"\r\n" + b"y" * 3000000 + b"\r\n"],
    "no last CRLF": [HEAD + b"\r\nlast line"],
    "mbox": [b"From ann Tue Mar  3 10:00:00 2015\r\n" + HEAD + b"\r\ntext\r\n", HEAD + b"\r\n>From here\r\nFrom now\r\n"],
    "folding": [b"Subject: a\r\n\tb\r\n \tc\r\n   \r\nX-Empty:\r\n\r\ntext\r\n"],
    "headers of other tools": [b"X-Message-Flag: x\r\nX-TUID: abcdefghijkl\r\nX-UID: 7\r\nStatus: RO\r\n" + HEAD + b"\r\ntext\r\n"],
    "receipt": [b"Disposition-Notification-To: a@example.org\r\n" + HEAD + b"\r\ntext\r\n"],
    "like IMAP": [HEAD + b"\r\n.\r\n)\r\na1 OK done\r\n* BYE\r\n{5}\r\n"],
    "megabytes": [HEAD + b"\r\n" + b"0123456789abcde\r\n" * 300000],
}
DATES = ["30-Dec-1899 00:00:00 +0000", "31-Dec-1969 23:59:59 +0000", "01-Jan-1970 00:00:01 +0000", "01-Jan-1980 00:00:00 +0000",
         "19-Jan-2038 03:14:08 +0000", "31-Dec-2099 23:59:59 +0000", "31-Dec-2110 00:00:00 +0000", " 1-Jan-2020 00:00:00 +0000",
         "01-Jan-2020 05:30:00 +0530", "31-Dec-2019 20:30:00 -0330", "29-Mar-2020 02:30:00 +0100"]
FLAGS = [("\\Deleted",), ("\\Seen", "$MDNSent"), ("\\Seen", "$MdnSent"), ("NonJunk",), ("nonjunk",), ("a.b",), ("\\Flagged", "\\Draft"),
         ("\\Answered", "\\Deleted", "\\Seen", "\\Draft", "\\Flagged", "$Forwarded")]
KEYWORDS = [(f"key{i:02}",) for i in range(70)]
# As they stand on the wire, with "/" between levels.
NAMES = ["Entw&APw-rfe2", "A &- B", "&ZeVnLIqe-2", " leading", "trailing ", 'quo"te', "back\\slash", "per%cent", "as*terisk",
         "car^et", "til~de", "(parens)", "{5}", "v1.2", "a=2Eb", "x" * 200, "Inbox2", "INBOX/INBOX", "& alone", "Deep/er/and/er",
         "Sent Items", "Sent Items/2019"]


APPENDED = 1500  # the first so many by IMAP, with keywords; the rest as files, where that can be


@dataclasses.dataclass
class Loaded:
    messages: int = 0
    mailboxes: int = 0
    refused: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def bodies():
    return [(kind, Message(("Odd",), body)) for kind, some in BODIES.items() for body in some]


def dates():
    return [(f"date of {d[7:11]}", Message(("Dates",), HEAD + b"\r\n%d\r\n" % i, (), f'"{d}"')) for i, d in enumerate(DATES)]


def flags():
    return [("flags", Message(("Flags",), HEAD + b"\r\nflags %d\r\n" % i, f)) for i, f in enumerate(FLAGS)] \
        + [("keywords", Message(("Keywords",), HEAD + b"\r\nkeyword %d\r\n" % i, f)) for i, f in enumerate(KEYWORDS)]


def try_append(m, name, message):
    try:
        return m.append(quoted(name), " ".join(message.flags), message.date, message.body)[0] == "OK"
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        return False


def add(m, server, loaded, kind, message):
    if try_append(m, wire_name(message.mailbox, server.prefix, server.separator), message):
        loaded.messages += 1
    else:
        loaded.refused[kind] += 1


def local(server, name):
    return server.prefix + name.replace("/", server.separator)


def add_names(m, server, loaded):
    """Each odd name with a message in it, subscribed; one that is subscribed only, and one that has no mail."""
    for name in NAMES:
        if m.create(quoted(local(server, name)))[0] != "OK":
            loaded.refused["name"] += 1
            continue
        loaded.mailboxes += 1
        m.subscribe(quoted(local(server, name)))
        one = Message((), HEAD + b"\r\nin " + re.sub(rb"\W", b"_", name.encode()) + b"\r\n")
        if try_append(m, local(server, name), one):
            loaded.messages += 1
        else:
            loaded.refused["message below a name"] += 1
    m.subscribe(quoted(local(server, "Gone long ago")))


def file_into(server, user, mailbox, name, body, flags="S", when=1400000000):
    """A message as a delivery agent leaves it, in a mailbox that is there. Courier spells folders in UTF-8."""
    below = [""] if mailbox == ("INBOX",) else ["." + ".".join(map(mail.mutf7, mailbox)), "." + ".".join(mailbox)]
    folder = next(f for f in (os.path.join(server.maildir(user), b, "cur") for b in below) if os.path.isdir(f))
    owner = os.stat(os.path.dirname(folder))
    path = os.path.join(folder, f"{name}:2,{flags}")
    with open(path, "wb") as f:
        f.write(body)
    os.chown(path, owner.st_uid, owner.st_gid)
    os.utime(path, (when, when))


def deliver_raw(server, user, loaded):
    """What APPEND may refuse: a delivery agent does not ask."""
    for number, (_, message) in enumerate(bodies()):
        file_into(server, user, ("Odd",), f"{1400000000 + number}.raw{number}.example", message.body)
        loaded.messages += 1


def deliver_rest(server, user, messages):
    """Thousands, as files: flags, but no keywords. Names rise, and so will the UIDs."""
    letters = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
    for number, m in enumerate(messages):
        flags = "".join(sorted(letters[f] for f in m.flags if f in letters))
        file_into(server, user, m.mailbox, f"{1500000000 + number}.M{number}.example", m.body.replace(b"\r\n", b"\n"), flags,
                  compare.instant_of(m.date.encode())[0])


def has_maildir(server):
    return bool(getattr(server, "maildir", None) and server.maildir("any"))


def ordinary(seed, count):
    """Without line ends that servers alter: what is altered is to be told apart from what was altered by mistake."""
    account = mail.sample(seed, count + count // 2 + 20, sizes=(200, 6000))
    clean = [m for m in account.messages if b"\r\r\n" not in m.body and m.body.endswith(b"\r\n")]
    return dataclasses.replace(account, messages=clean[:count])


def fill(server, user, messages, seed=20):
    """Of them as many ordinary ones as are left. The account, ready to move."""
    loaded = Loaded()
    m = mail.connect(server, user, "secret")
    odd = bodies() + dates() + flags()
    account = ordinary(seed, max(messages - len(odd) - len(NAMES), 0))
    rest = account.messages[APPENDED:] if has_maildir(server) else []
    first = dataclasses.replace(account, messages=account.messages[:-len(rest)] if rest else account.messages)
    mail.load(first, m, server.prefix, server.separator)
    loaded.messages += len(account.messages)
    loaded.mailboxes += len(account.mailboxes)
    for name in dict.fromkeys(x.mailbox for _, x in odd):
        m.create(quoted(wire_name(name, server.prefix, server.separator)))
        loaded.mailboxes += 1
    for kind, message in odd:
        add(m, server, loaded, kind, message)
    add_names(m, server, loaded)
    m.logout()
    if has_maildir(server):
        deliver_rest(server, user, rest)
        deliver_raw(server, user, loaded)
    net.wait_next_second()
    return loaded
