"""What real servers do: a class for each oddity that somebody met, and at the end the servers that have several of them.
See manners.py for what the functions mean. Most concern every message of an account; some take UIDs."""
import re

from .manners import Manners
from .protocol import Gone, Refused, quoted
from .store import SYSTEM_FLAGS


class Times(Manners):
    """The base of what happens only so often: times=-1 is for ever."""

    def __init__(self, times=-1):
        self.left = times

    def now(self):
        if self.left == 0:
            return False
        self.left -= 1
        return True


# ---- commands and connections

class Refuses(Times):
    """NO or BAD to a command: "NO [LIMIT] UID FETCH Rate limit hit". bye: and then BYE."""

    def __init__(self, verb, text, times=-1, bye=False, holds=None):
        super().__init__(times)
        self.verb, self.text, self.bye, self.holds = verb.encode(), text, bye, holds

    def command(self, c, verb, args):
        if verb != self.verb or self.holds and self.holds not in repr(args).encode() or not self.now():
            return
        if not self.bye:
            raise Refused(self.text)
        c.line(c.tag + b" " + self.text.encode())
        c.line("* BYE " + self.text.partition(" ")[2])
        raise Gone


class SaysBye(Times):
    """In the place of an answer. mailbox: only where that one is opened (Zimbra, a locked share)."""

    def __init__(self, verb, times=1, mailbox=None, text="BYE [UNAVAILABLE] going away"):
        super().__init__(times)
        self.verb, self.mailbox, self.text = verb.encode(), mailbox, text

    def command(self, c, verb, args):
        if verb == self.verb and (self.mailbox is None or self.mailbox == args[0]) and self.now():
            c.line("* " + self.text)
            raise Gone


class HangsInsideABody(Times):
    """Stops for ever in the middle of a message."""

    def __init__(self, uid, times=1):
        super().__init__(times)
        self.uid_ = uid

    def body(self, c, message, section, body):
        if message.uid == self.uid_ and section == b"" and self.now():
            c.send(b"BODY[] {%d}\r\n" % len(body), body[:len(body) // 2])
            c.server.closing.wait()
            raise Gone
        return body


class ClosesAfterErrors(Manners):
    """Exchange, after ten."""

    def __init__(self, most=10):
        self.most = most

    def refused(self, c, text):
        if c.errors >= self.most:
            c.line("* BYE Connection is closed. 13")
            raise Gone
        return text


class NotConnected(Manners):
    """Exchange after the wrong password of a delegate: OK to the sign-in, then this to everything."""

    def command(self, c, verb, args):
        raise Refused("BAD User is authenticated but not connected.")


class Offers(Manners):
    """Further capabilities, or fewer."""

    def __init__(self, *names, without=()):
        self.names, self.without = list(names), without

    def capability(self, c, names):
        return [x for x in names if x not in self.without] + self.names


class AppendLimits(Offers):
    """Each mailbox has its own (RFC 7889), and holds to it. None: it has none. tells=False: STATUS is refused."""

    def __init__(self, limits, tells=True):
        super().__init__("APPENDLIMIT")
        self.limits, self.tells = limits, tells

    def status(self, c, box, values):
        return {**values, b"APPENDLIMIT": self.limits.get(box.name)} if self.tells else values

    def accepted(self, c, box, message):
        limit = self.limits.get(box.name)
        if limit is not None and len(message.body) > limit:
            raise Refused("NO [TOOBIG] more than this mailbox takes")


# ---- rights and annotations that are announced

class TellsNoRights(Offers):
    """GETACL is refused, or answered by a line that makes no sense."""

    def __init__(self, line=None):
        super().__init__("ACL", "RIGHTS=texk")
        self.line = line

    def rights(self, c, box, line):
        if self.line is None:
            raise Refused("NO [SERVERBUG] internal error")
        return self.line


class TellsNoAnnotations(Offers):
    def __init__(self):
        super().__init__("METADATA")

    def annotations(self, c, box, line):
        raise Refused("NO [SERVERBUG] internal error")


class Shares(Offers):
    """Everything, with somebody else."""

    def __init__(self, who, letters):
        super().__init__("ACL", "RIGHTS=texk")
        self.more = b" " + who + b" " + letters

    def rights(self, c, box, line):
        return line + self.more


class Annotates(Offers):
    """Each mailbox has a comment."""

    def __init__(self, text):
        super().__init__("METADATA")
        self.text = text

    def annotations(self, c, box, line):
        return b"* METADATA " + quoted(box.name) + b" (/private/comment " + quoted(self.text) + b")" if box else line


# ---- SELECT, EXAMINE, STATUS

class Uidvalidity(Manners):
    """What EXAMINE and SELECT say of it; None: nothing, "real": the real one."""

    def __init__(self, examine="real", select="real"):
        self.examine, self.select = examine, select

    def opened(self, c, box, lines):
        value = self.examine if c.read_only else self.select
        if value == "real":
            return lines
        lines = [x for x in lines if b"UIDVALIDITY" not in x]
        return lines if value is None else lines + [b"* OK [UIDVALIDITY %d] valid" % value]


class TellsMailboxid(Manners):
    """RFC 8474: at EXAMINE and SELECT."""

    def __init__(self, mailboxid):
        self.mailboxid = mailboxid

    def opened(self, c, box, lines):
        return lines + [b"* OK [MAILBOXID (%s)] ok" % self.mailboxid]


class NoUidnext(Manners):
    """Courier: STATUS alone tells it."""

    def opened(self, c, box, lines):
        return [x for x in lines if b"UIDNEXT" not in x]


class ExamineIsNotKept(Manners):
    """Courier: another UIDVALIDITY at each EXAMINE as long as nobody has SELECTed the mailbox."""

    def __init__(self):
        self.shown = 1000

    def opened(self, c, box, lines):
        if not c.read_only:
            return lines
        self.shown += 1
        return [x for x in lines if b"UIDVALIDITY" not in x] + [b"* OK [UIDVALIDITY %d] valid" % self.shown]


class LateExists(Manners):
    """Courier: what was appended is told at the next NOOP."""

    def told(self, c, told):
        return told and c.verb in (b"NOOP", b"CHECK", b"SELECT", b"EXAMINE")


class NoExists(Manners):
    """SELECT does not say how many messages there are."""

    def opened(self, c, box, lines):
        return [x for x in lines if not x.endswith(b" EXISTS")]


# ---- APPEND

class AltersMail(Manners):
    """What of(body) gives is stored."""

    def __init__(self, of):
        self.of = of

    def accepted(self, c, box, message):
        message.body = self.of(message.body)


def adds_received(body):
    """DBmail, Domino."""
    return b"Received: from fake by fake; Tue, 3 Mar 2015 10:00:00 +0100\r\n" + body


def changes_message_id(body):
    """MailEnable."""
    return re.sub(rb"(Message-ID: <[^@>]*)@[^>]*>", rb"\1@mailenable.local>", body)


def sorts_headers(body):
    """Domino."""
    head, blank, rest = body.partition(b"\r\n\r\n")
    return b"\r\n".join(sorted(head.split(b"\r\n"))) + blank + rest


def writes_0x80_for_nul(body):
    """Dovecot, since NUL is not allowed on the wire."""
    return body.replace(b"\0", b"\x80")


class RefusesMail(Manners):
    """Where unwanted(body): NO or BAD with this text."""

    def __init__(self, unwanted, text):
        self.unwanted, self.text = unwanted, text

    def accepted(self, c, box, message):
        if self.unwanted(message.body):
            raise Refused(self.text)


def long_lines(limit=9900):
    """Exchange."""
    return RefusesMail(lambda body: max(map(len, body.split(b"\r\n"))) > limit, "BAD Command Argument Error. 11")


def no_final_crlf():
    """Yahoo."""
    return RefusesMail(lambda body: not body.endswith(b"\r\n"), "NO [CANNOT] Message must end with CRLF")


def nul_or_bare_lf():
    """Cyrus."""
    return RefusesMail(lambda body: b"\0" in body or re.search(rb"(?<!\r)\n", body), "NO Message contains NUL or bare newlines")


class ForgetsFlags(Manners):
    """Given with APPEND, they are lost; store: a STORE sets them (Exchange with \\Flagged), else nothing does (Gmail with
    \\Deleted)."""

    def __init__(self, *names, store):
        self.names, self.store = set(names), store

    def accepted(self, c, box, message):
        gone = {f for f in message.flags if f.lower() in self.names}
        message.flags -= gone
        if not self.store:
            message.lost |= gone


class KeepsKeywords(Manners):
    """So many in each mailbox, though PERMANENTFLAGS says \\*: file names of a Maildir have room for 26."""

    def __init__(self, most):
        self.most, self.known = most, {}

    def accepted(self, c, box, message):
        known = self.known.setdefault(box.name, set())
        for f in sorted(message.flags):
            if f.lower() in SYSTEM_FLAGS or f.lower() in known:
                continue
            if len(known) < self.most:
                known.add(f.lower())
            else:
                message.flags.discard(f)
                message.lost.add(f)


class NoNewKeywords(Manners):
    """PERMANENTFLAGS without \\*; keywords are not stored."""

    def opened(self, c, box, lines):
        return [re.sub(rb"(PERMANENTFLAGS \(.*?) ?\\\*\)", rb"\1)", x) for x in lines]

    def accepted(self, c, box, message):
        message.flags = {f for f in message.flags if f.lower() in SYSTEM_FLAGS}


class RefusesKeywords(Manners):
    """gromox, with a dot in it: BAD to the whole APPEND."""

    def accepted(self, c, box, message):
        if any(b"." in f for f in message.flags):
            raise Refused("BAD keyword")


class ClampsDates(Manners):
    """Years that the server can't store become the nearest that it can."""

    def __init__(self, first=1970, last=2037):
        self.first, self.last = first, last

    def accepted(self, c, box, message):
        year = int(message.date[7:11])
        kept = min(max(year, self.first), self.last)
        message.date = message.date[:7] + b"%04d" % kept + message.date[11:]


class FalseUidplus(Manners):
    """FTGate: says UIDPLUS, and APPENDUID lacks, or names other messages."""

    def __init__(self, by=None):
        self.by = by

    def appended(self, c, box, uids, code):
        return "" if self.by is None else f"APPENDUID {box.uidvalidity} {uids[0] + self.by}:{uids[-1] + self.by}"


class FalseCopyuid(Manners):
    """COPYUID lacks, or names other messages."""

    def __init__(self, by=None):
        self.by = by

    def copied(self, c, box, made, code):
        of = code.rsplit(" ", 1)[0]
        return "" if self.by is None else of + " " + ",".join(str(m.uid + self.by) for m in made)


class CopiesAnew(Manners):
    """COPY gives a message the date of today, or no flags."""

    def __init__(self, date=None, keeps_flags=True):
        self.today, self.keeps_flags = date, keeps_flags

    def duplicated(self, c, box, message):
        message.date = self.today or message.date
        message.flags = message.flags if self.keeps_flags else set()


class Dedupes(Manners):
    """Gmail: what is there already, byte for byte, is not stored again; the answer names the one that is there."""

    def stored(self, c, box, messages, uids):
        told = []
        for message, uid in zip(messages, uids):
            first = next(m for m in box.messages if m.body == message.body)
            if first is not message:
                box.messages.remove(message)
            told.append(first.uid)
        return told


class NeedsFlagsAndDate(Manners):
    """gromox: an APPEND without flags reads the literal as something else."""

    def command(self, c, verb, args):
        if verb == b"APPEND" and not (isinstance(args[1], list) and re.match(rb"[ \d]\d-", args[2])):
            raise Refused("BAD literal too long")


class RefusesNames(Manners):
    """CREATE of what holds, or is, something. Gmail: blanks at an end, "^"; Exchange: "Files"."""

    def __init__(self, pattern, text="NO [CANNOT] Invalid folder name"):
        self.pattern, self.text = pattern, text

    def created(self, c, name):
        if re.search(self.pattern, name):
            raise Refused(self.text)
        return name


# ---- FETCH, SEARCH

class EmptySearch(Manners):
    """SmarterMail, Softalk, QQ, Yandex, IceWarp."""

    def found(self, c, messages):
        return []


class Omits(Times):
    """Messages that FETCH does not give. bodies: they are listed and only their bodies don't come."""

    def __init__(self, *uids, times=-1, bodies=False):
        super().__init__(times)
        self.uids, self.bodies = uids, bodies

    def fetched(self, c, messages):
        if not any(m.uid in self.uids for _, m in messages) or self.bodies != c.asks_bodies or not self.now():
            return messages
        return [(n, m) for n, m in messages if m.uid not in self.uids]


class NotesBodies(Manners):
    """Of which messages the bodies were asked for."""

    def __init__(self):
        self.asked = []

    def fetched(self, c, messages):
        if c.asks_bodies:
            self.asked += [m.uid for _, m in messages]
        return messages


class BrokenMail(Manners):
    """FETCH of its body answers NO."""

    def __init__(self, uid, text="NO Some of the requested messages can't be read"):
        self.uid_, self.text = uid, text

    def fetched(self, c, messages):
        if c.asks_bodies and any(m.uid == self.uid_ for _, m in messages):
            for n, m in messages:
                if m.uid == self.uid_:
                    break
                c.send_message(n, m, [b"UID", b"BODY.PEEK[]"])
            raise Refused(self.text)
        return messages


class Expunges(Times):
    """The message goes just when its body is asked for. empty: NIL is answered for it; its EXPUNGE follows with the next
    command that may tell it (RFC 3501 7.4.1)."""

    def __init__(self, uid, how="nil"):
        super().__init__(1)
        self.uid_, self.how = uid, how

    def fetched(self, c, messages):
        found = [(n, m) for n, m in messages if m.uid == self.uid_]
        if not c.asks_bodies or not found or not self.now():
            return messages
        with c.server.lock:
            c.box.messages.remove(found[0][1])
        found[0][1].nil = self.how == "nil"
        return messages if self.how == "nil" else [(n, m) for n, m in messages if m.uid != self.uid_]


class WrongSizes(Manners):
    """RFC822.SIZE is off by so many bytes, or zero."""

    def __init__(self, by=0, zero=False):
        self.by, self.zero = by, zero

    def size(self, c, message, size):
        return 0 if self.zero else size + self.by


class LongLiteral(Times):
    """The literal of one message announces more than comes, and the connection ends there."""

    def __init__(self, uid, by=100, times=-1):
        super().__init__(times)
        self.uid_, self.by = uid, by

    def literal(self, c, message, size):
        return size + self.by if message.uid == self.uid_ and self.now() else size


class WrongNumbers(Manners):
    """The number in front of FETCH is another message's, or larger than EXISTS."""

    def __init__(self, of=lambda c, number: len(c.view) + number, bodies=True):
        self.of, self.bodies = of, bodies

    def number(self, c, message, number):
        return self.of(c, number) if self.bodies == c.asks_bodies else number


class StrayFetches(Manners):
    """Exchange: FETCH responses for more messages than EXIST, and such without data (calendar items)."""

    def fetched(self, c, messages):
        c.line(f"* {len(c.view) + 5} FETCH (FLAGS (\\Seen))")
        c.line(f"* {len(c.view) + 6} FETCH ()")
        return messages


class Mutable(Manners):
    """A header that another reading shows otherwise (Exchange 2010). twice: only the first reading differs."""

    def __init__(self, uid, first_only=False):
        self.uid_, self.first_only, self.reads = uid, first_only, 0

    def body(self, c, message, section, body):
        if message.uid != self.uid_ or section:
            return body
        self.reads += 1
        if self.first_only:
            return body.replace(b"Subject: ", b"Subject! ", 1) if self.reads == 1 else body
        return b"X-Message-Flag: %09d\r\n" % self.reads + body


class WrongUid(Manners):
    """One message shows the UID of another: duplicate, or reappearing."""

    def __init__(self, uid, shown):
        self.uid_, self.shown = uid, shown

    def uid(self, c, message, uid):
        return self.shown if uid == self.uid_ else uid


class ShowsDates(Manners):
    """UID -> INTERNALDATE as it goes out, quotes and all, or NIL."""

    def __init__(self, dates):
        self.dates = dates

    def date(self, c, message, date):
        return self.dates.get(message.uid, date)


class Answers(Manners):
    """of(c, number, message, items): the bytes of a FETCH response, b"" for none, None for what is right. bodies: only
    where a body is asked for, False: only where none is. late: they come behind the tagged OK, before what follows."""

    def __init__(self, of, bodies=None, late=False):
        self.of, self.bodies, self.late, self.held = of, bodies, late, {}

    def command(self, c, verb, args):
        c.send(self.held.pop(c.number, b""))

    def answer(self, c, number, message, items, raw):
        found = None if self.bodies not in (None, c.asks_bodies) else self.of(c, number, message, items)
        if found is None or not self.late:
            return raw if found is None else found
        self.held[c.number] = found
        return b""


class UnsafeLogin(Manners):
    """Netease: opens no mailbox of a connection that was not told by ID, behind the sign-in, who comes. heard: the pairs of
    each ID, one behind the other; held(args) is called before it is answered."""

    def __init__(self, heard, held=None):
        self.heard, self.held, self.introduced = heard, held, set()

    def command(self, c, verb, args):
        if verb == b"ID":
            self.heard.append(args[0] if isinstance(args[0], list) else args)
            self.introduced.add(c.number)
            if self.held:
                self.held(args)
        elif verb in (b"SELECT", b"EXAMINE") and c.number not in self.introduced:
            raise Refused("NO Unsafe Login")


class HeadersOtherThanBodies(Manners):
    """Zimbra: "?" for 8-bit bytes where only the header is asked for."""

    def body(self, c, message, section, body):
        return re.sub(rb"[\x80-\xff]", b"?", body) if section.startswith(b"HEADER") else body


class LacksItem(Manners):
    """iCloud: the item RFC822 is not in the answer."""

    def items(self, c, message, items):
        return [x for x in items if x.upper() != b"RFC822"]


# ---- LIST

class Lists(Manners):
    """Each line of LIST and LSUB as of(line) makes it; more: further lines of LIST."""

    def __init__(self, of=lambda line: line, more=(), more_lsub=()):
        self.of, self.more = of, {b"LIST": list(more), b"LSUB": list(more_lsub)}

    def listed(self, c, word, lines):
        return [self.of(x) for x in lines] + self.more[word]


def literal_names(line):
    """The name as a literal."""
    head, name = re.match(rb'(\* \w+ \([^)]*\) "." )"(.*)"$', line, re.S).groups()
    name = re.sub(rb"\\(.)", rb"\1", name)
    return head + b"{%d}\r\n" % len(name) + name


def unquoted_names(line):
    """Domino: names with blanks stand there as they are."""
    return re.sub(rb'"([^"]*)"$', rb"\1", line)


def no_children(line):
    """FirstClass: says HasNoChildren of those that have some, and the other way round."""
    return line.replace(b"\\HasChildren", b"\\X").replace(b"\\HasNoChildren", b"\\HasChildren").replace(b"\\X", b"\\HasNoChildren")


class Namespaces(Manners):
    def __init__(self, text):
        self.text = text

    def namespace(self, c, text):
        return self.text


# ---- Yahoo before the sign-in

class NeedsId(Manners):
    def __init__(self):
        self.known = set()

    def command(self, c, verb, args):
        if verb == b"ID":
            self.known.add(c.number)
        elif verb in (b"LOGIN", b"AUTHENTICATE") and c.number not in self.known:
            raise Refused("NO [AUTHENTICATIONFAILED] send ID first")


# ---- servers

def courier():
    return [ExamineIsNotKept(), NoUidnext(), LateExists(), Offers(without=("LITERAL+", "MULTIAPPEND", "SPECIAL-USE",
                                                                          "CREATE-SPECIAL-USE", "UNSELECT", "ENABLE"))]


def exchange_source():
    return [StrayFetches(), ClosesAfterErrors(), WrongSizes(by=7)]


def exchange_target():
    return [long_lines(), ForgetsFlags(b"\\flagged", store=True), ClosesAfterErrors(), RefusesNames(rb"^Files$")]


def gmail_target():
    return [Dedupes(), ForgetsFlags(b"\\deleted", store=False), RefusesNames(rb"^ | $|\^|(^|/) | (/|$)"),
            Offers("APPENDLIMIT=35651584")]


def gromox():
    return [NeedsFlagsAndDate(), RefusesKeywords()]


