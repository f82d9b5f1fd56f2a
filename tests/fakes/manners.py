"""How a server does things in its own way: the places at which a session asks. Each takes what a well-behaved server
would say or do, and gives back what this one says. fakes/servers.py has a class for each server and each oddity; a
test gives one to an account, so that a single fake serves many tests at once:

    fake.behave_like("ann", servers.Courier())
    fake.behave_like("bob", servers.WrongSizes(by=-3), servers.NoUidnext())

In all of them c is the session (fakes/session.py): c.user, c.verb, c.box, c.view, c.server, c.line(). Those
given to the account None rule before the sign-in."""


class Manners:
    # ---- commands

    def capability(self, c, names):
        """The names that the account is told from its sign-in on."""
        return names

    def command(self, c, verb, args):
        """Before a command is done. May raise Refused or Gone, or wait."""

    def refused(self, c, text):
        """The text of a NO or BAD that goes out."""
        return text

    # ---- mailboxes

    def namespace(self, c, text):
        """The three lists behind * NAMESPACE."""
        return text

    def listed(self, c, word, lines):
        """The lines of an answer to LIST or LSUB, each with its "* LIST "."""
        return lines

    def created(self, c, name):
        """Before CREATE. May raise Refused. The name that the mailbox gets."""
        return name

    def status(self, c, box, values):
        """What STATUS says: item -> number, or None for NIL."""
        return values

    def opened(self, c, box, lines):
        """The untagged lines of SELECT and EXAMINE (c.read_only tells which)."""
        return lines

    def told(self, c, told):
        """Whether the session hears now of what was added, by itself or by others."""
        return told

    # ---- what lies beside mail

    def rights(self, c, box, line):
        """The untagged line of GETACL. May raise Refused."""
        return line

    def annotations(self, c, box, line):
        """The untagged line of GETMETADATA, None: there are none. May raise Refused. Set are any."""
        return line

    # ---- APPEND

    def accepted(self, c, box, message):
        """Before a message is stored, which may be altered here. May raise Refused."""

    def stored(self, c, box, messages, uids):
        """After messages were stored: the UIDs that the client is told."""
        return uids

    def appended(self, c, box, uids, code):
        """The response code of the OK: "APPENDUID 7 3:5", "" for none."""
        return code

    # ---- COPY

    def duplicated(self, c, box, message):
        """Before a copy is stored, which may be altered here."""

    def copied(self, c, box, made, code):
        """The response code of the OK: "COPYUID 7 3:5 8:10", "" for none."""
        return code

    # ---- FETCH, SEARCH

    def found(self, c, messages):
        """What SEARCH finds."""
        return messages

    def fetched(self, c, messages):
        """[(number, message)] that FETCH answers for, in this order. May raise Refused."""
        return messages

    def answer(self, c, number, message, items, raw):
        """Bytes that go out in place of the whole FETCH response; None: the response."""
        return raw

    def items(self, c, message, items):
        """Those of the items asked for that are answered."""
        return items

    def number(self, c, message, number):
        """The one in front of FETCH."""
        return number

    def uid(self, c, message, uid):
        return uid

    def size(self, c, message, size):
        """RFC822.SIZE."""
        return size

    def flags(self, c, message, flags):
        return flags

    def date(self, c, message, date):
        """INTERNALDATE with its quotes."""
        return date

    def body(self, c, message, section, body):
        """The bytes of a section; None is NIL."""
        return body

    def literal(self, c, message, size):
        """How many bytes a body's literal announces."""
        return size
