"""Servers whose answers break the rules: what can be set apart goes on, the rest is named, and nothing is retried for ever or
takes a migrator down."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness.site import LETTER, Site, letters

def mended(site, user):
    """A retry of its own may have been faster."""
    site.ferry.ctl("retry", user)
    site.wait(user, "flipped")


# ---- bodies that are not the ones that were asked for

def body(message):
    return b"BODY[] {%d}\r\n%s" % (len(message.body), message.body)


def without_uid(c, number, message, items):
    return b"* %d FETCH (%s)\r\n" % (number, body(message))


def other_uid_before(c, number, message, items):
    return b"* %d FETCH (UID %d %s)\r\n" % (number, message.uid + 77, body(message))


def other_uid_behind(c, number, message, items):
    return b"* %d FETCH (%s UID %d)\r\n" % (number, body(message), message.uid + 77)


def two_bodies(c, number, message, items):
    return b"* %d FETCH (UID %d %s %s)\r\n" % (number, message.uid, body(message), body(message))


def literal_and_quoted(c, number, message, items):
    return b'* %d FETCH (UID %d %s BODY[] "short")\r\n' % (number, message.uid, body(message))


def behind_the_list(c, number, message, items):
    return b"* %d FETCH (UID %d) %s\r\n" % (number, message.uid, body(message))


def uid_that_is_none(c, number, message, items):
    return b"* %d FETCH (UID (4) %s)\r\n" % (number, body(message))


def of_message(uid, of):
    return lambda c, number, message, items: of(c, number, message, items) if message.uid == uid else None


WRONG_BODIES = [without_uid, other_uid_before, other_uid_behind, two_bodies, literal_and_quoted, uid_that_is_none]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("of", WRONG_BODIES)
def test_body_that_is_not_the_one_that_was_asked_for_is_named(site, of, count):
    """It may be another message's: nothing of it is stored, and the migrator lives."""
    user = letters(site, count)
    site.source.behave_like(user, servers.Answers(of_message(count, of), bodies=True))
    site.stays(user, f'"INBOX": .*UID {count}: the source ')
    assert site.texts(user) in ([LETTER % i for i in range(n)] for n in range(count))
    site.source.behave_like(user)
    site.source.drop_all()
    mended(site, user)
    assert site.texts(user) == site.texts(user, "source")


def test_body_that_comes_twice_is_taken_once(site):
    def twice(c, number, message, items):
        one = b"* %d FETCH (UID %d %s)\r\n" % (number, message.uid, body(message))
        return one + one
    user = letters(site, 3)
    site.source.behave_like(user, servers.Answers(twice, bodies=True))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and site.sent(user) == 3


def test_body_that_comes_behind_the_tagged_ok_is_nobodys(site):
    user = letters(site, 3)
    site.source.behave_like(user, servers.Answers(of_message(3, lambda c, number, message, items: b"* %d FETCH (UID %d %s)\r\n" % (
        number, message.uid, body(message))), bodies=True, late=True))
    site.stays(user, '"INBOX": .*UID 3: the source does not give it')
    assert site.texts(user) == [LETTER % 0, LETTER % 1]


# ---- answers in another order than the questions

class Behind(servers.Manners):
    """The whole answer to a command, once, goes out behind that to the next one (RFC 3501 5.5)."""

    def __init__(self, verb):
        self.verb, self.held = verb, None

    def command(self, c, verb, args):
        if verb == self.verb and self.held is None:
            self.held = []
            c.send = lambda *parts: self.held.extend(parts)
        elif self.held:
            c.send = lambda *parts: self.release(c, b"".join(p.encode() if isinstance(p, str) else p for p in parts))

    def release(self, c, data):
        if data.startswith(c.tag + b" OK"):
            del c.send
            data += b"".join(p.encode() if isinstance(p, str) else p for p in self.held)
            self.held = []
        type(c).send(c, data)


@pytest.mark.parametrize("verb", [b"LIST", b"SELECT"])
def test_answer_behind_that_to_the_next_command_is_waited_for(site, verb):
    user = letters(site)
    site.letters(user, LETTER % 9, name="Work")
    site.source.behave_like(user, Behind(verb))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source") and site.texts(user, name="Work") == [LETTER % 9]


# ---- lines that are not understood whole

def odd(site, user, line, verb="FETCH"):
    """Blocked, with the line in the reason and in the report; the report."""
    route = site.stays(user, "^not_understood: .*")
    assert route["state"] == "blocked" and f"answers {verb} by what can't be understood: {line}" in route["reason"], route["reason"]
    status, report = site.ferry.ctl("user", user, "--report")
    assert status == 0 and line in str(report).replace("\\\\", "\\"), report
    return report


@pytest.mark.parametrize("word,line", [
    ("LIST", b'* LIST (\\HasNoChildren) "/" (Archive) 2019'),
    ("LIST", b'* LIST (\\HasNoChildren) "/" (Archive)'),
    ("LIST", b'* LIST (\\HasNoChildren) "/" Old Mail'),
    ("LIST", b'* LIST (\\HasNoChildren) "/"'),
    ("LIST", b'* LIST (\\HasNoChildren) "/" ""'),
    ("LIST", b'* LIST'),
    ("LIST", b'* LIST (\\HasNoChildren "/" Archive'),
    ("LIST", b'* LIST (\\HasNoChildren) "/" "Archive'),
    ("LSUB", b'* LSUB () "/" Old Mail'),
])
def test_line_of_a_list_that_names_no_mailbox_stops_the_account(site, word, line):
    user = letters(site, 3)
    more = {"more" if word == "LIST" else "more_lsub": [line]}
    site.source.behave_like(user, servers.Lists(**more))
    odd(site, user, line.decode(), word)
    assert site.texts(user) == site.texts(user, "source"), "the rest goes on"
    assert site.ferry.ctl("waive", user, "not_understood", "--reason", "nobody knows what it is")[0] != 0
    site.source.behave_like(user)
    site.source.drop_all()
    mended(site, user)


@pytest.mark.parametrize("line", [b'* LIST (\\HasNoChildren) "//" Odd', b'* LIST ((\\Noselect)) "/" Odd', b'* LIST (a(b)) "/" Odd'])
def test_mailbox_with_a_line_that_is_not_understood_is_copied_and_named(site, line):
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Odd")
    site.source.behave_like(user, servers.Lists(lambda x: line if x.endswith(b'"Odd"') else x))
    odd(site, user, line.decode(), "LIST")
    assert site.texts(user, name="Odd") == [LETTER % 9]
    assert site.ferry.ctl("waive", user, "Odd:not_understood", "--reason", "it is all there")[0] == 0
    mended(site, user)


@pytest.mark.parametrize("spaces", [b'((INBOX "/" NIL NIL', b'NIL', b'(("" "/") x) NIL NIL', b'(("" "/")) NIL NIL NIL'])
def test_namespace_that_is_not_understood_stops_the_account(site, spaces):
    user = letters(site, 3)
    site.source.behave_like(user, servers.Namespaces(spaces))
    odd(site, user, "* NAMESPACE " + spaces.decode(), "NAMESPACE")


@pytest.mark.parametrize("side", ["source", "target"])
def test_line_that_one_side_says_unasked_is_nothing(site, side):
    class Chats(servers.Manners):
        def command(self, c, verb, args):
            for line in (b"* OK [ODD (x] so", b"* NO [ODD", b"* X-THING (((", b'* VANISHED "', b"* FLAGS (a\x01b)", b"* 0 RECENT x"):
                c.line(line)
    user = letters(site, 3)
    getattr(site, side).behave_like(user, Chats())
    site.move(user)
    site.same(user, 3)


# ---- flags and words that are none

def flags(text):
    def of(c, number, message, items):
        if b"FLAGS" not in items or message.uid != 2:
            return None
        size = b' INTERNALDATE "%s" RFC822.SIZE %d' % (message.date, len(message.body)) if b"RFC822.SIZE" in items else b""
        return b"* %d FETCH (UID 2 FLAGS (%s)%s)\r\n" % (number, text, size)
    return of


@pytest.mark.parametrize("text,shown", [(b"\\Seen bad\x01one good", "bad\\x01one"), (b"\\Seen a(b)c good", "a(b)c"),
                                        (b'\\Seen "x y" good', '"x y"'), (b'\\Seen "x\ny" good', '"x\\x0ay"'), (b"\\Seen nul\x00nul good", "nul\\x00nul")])
def test_flag_that_is_none_is_named_and_the_rest_of_its_message_goes(site, text, shown):
    user = letters(site, 3)
    site.source.behave_like(user, servers.Answers(flags(text), bodies=False))
    report = odd(site, user, f"* 2 FETCH (UID 2 FLAGS (\\Seen {shown} good)", "UID FETCH")
    assert "INBOX" in str(report)
    assert site.texts(user) == site.texts(user, "source")
    assert site.target.box(user).messages[1].flags == {b"\\Seen", b"good"}
    assert site.ferry.ctl("waive", user, "INBOX:2", "--reason", "its flag is lost")[0] == 0
    mended(site, user)


def test_size_that_is_none_is_named(site):
    def of(c, number, message, items):
        return None if b"RFC822.SIZE" not in items or message.uid != 2 else \
            b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "%s" RFC822.SIZE many)\r\n' % message.date
    user = letters(site, 3)
    site.source.behave_like(user, servers.Answers(of, bodies=False))
    odd(site, user, '* 2 FETCH (UID 2 FLAGS () INTERNALDATE "01-Jan-2020 12:00:00 +0000" RFC822.SIZE many)', "UID FETCH")
    assert site.texts(user) == site.texts(user, "source")


@pytest.mark.parametrize("broken", [b'FLAGS (\\Seen a"b)', b"FLAGS (\\Seen", b'INTERNALDATE "1-Jan-2020'])
def test_line_that_can_not_be_told_apart_is_found_of_one_message_and_waived(site, broken):
    """Its other items are asked for one by one, and the rest of the mailbox is copied."""
    item = broken.partition(b" ")[0]

    def of(c, number, message, items):
        return b"* 2 FETCH (UID 2 %s)\r\n" % broken if item in items and message.uid == 2 else None
    user = letters(site, 3)
    site.source.behave_like(user, servers.Answers(of, bodies=False))
    route = site.stays(user, '"INBOX": UID 2: old answers FETCH by what can.t be understood: ' + re.escape(f"* 2 FETCH (UID 2 {broken.decode()})"))
    assert route["state"] == "blocked"
    texts = site.texts(user, "source")
    assert site.texts(user) == (texts if item == b"FLAGS" else [texts[0], texts[2]])
    assert site.ferry.ctl("waive", user, "INBOX:2", "--reason", "nobody can read it")[0] == 0
    mended(site, user)
    assert site.texts(user) == (texts if item == b"FLAGS" else [texts[0], texts[2]])


def test_mailbox_whose_list_can_not_be_told_apart_is_named_and_waived(site):
    def of(c, number, message, items):
        return b'* 1 FETCH (UID 1 FLAGS (a"b))\r\n' if c.box.name == b"Bad" else None
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Bad")
    site.source.behave_like(user, servers.Answers(of, bodies=False))
    odd(site, user, '* 1 FETCH (UID 1 FLAGS (a"b))')
    assert site.texts(user) == site.texts(user, "source")
    for kind in ("not_understood", "listing"):
        assert site.ferry.ctl("waive", user, f"Bad:{kind}", "--reason", "rubbish")[0] == 0
    mended(site, user)


def test_name_with_a_tab_and_a_bare_backslash_are_plain():
    with Site(FakeImap("old", separator="\\"), FakeImap("new")) as site:
        user = letters(site, 3)
        site.letters(user, LETTER % 8, name="Work\\Tab\tbed")
        site.source.behave_like(user, servers.Lists(lambda x: x.replace(b'"\\\\"', b'"\\"').replace(b'"Work\\\\Tab\tbed"', b"Work\\Tab\tbed")),
                                servers.Namespaces(b'(("" "\\")) NIL NIL'))
        site.move(user)
        assert site.texts(user, name="Work/Tab\tbed") == [LETTER % 8]


@pytest.mark.parametrize("rubbish", [b"rubbish", b"a bare line feed\n* OK", b"* 1 FETCH {99999999999999}"])
def test_bytes_that_are_no_response_are_named_and_not_tried_for_ever(site, rubbish):
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Bad")
    site.source.behave_like(user, servers.Answers(
        lambda c, number, message, items: rubbish + b"\r\n" if c.box.name == b"Bad" else None))
    route = site.stays(user, '^not_understood: mailbox "Bad": old answers .* by what can.t be understood: ')
    assert route["state"] == "blocked" and site.texts(user) == site.texts(user, "source")
    assert site.ferry.ctl("waive", user, "Bad:not_understood", "--reason", "rubbish")[0] == 0
    mended(site, user)


def test_list_that_is_no_response_is_named_and_not_tried_for_ever(site):
    user = letters(site, 3)
    site.source.behave_like(user, servers.Lists(more=[b"rubbish"]))
    assert site.stays(user, "^not_understood: old: old answers LIST by .*: rubbish")["state"] == "blocked"


# ---- what contradicts itself

class EndsWith(servers.Manners):
    """Says a line before the OK of a command."""

    def __init__(self, verb, line):
        self.verb, self.said = verb, line

    def command(self, c, verb, args):
        def ok(text="done"):
            del c.ok
            c.line(self.said)
            c.ok(text)
        if verb == self.verb:
            c.ok = ok


@pytest.mark.parametrize("count", [0, 2])
def test_source_that_has_fewer_messages_without_an_expunge_is_not_believed(site, count):
    """The last ones would be left behind, and all that was copied would be gone."""
    user = letters(site)
    site.source.behave_like(user, EndsWith(b"FETCH", b"* %d EXISTS" % count))
    site.stays(user, '"INBOX": the source contradicts itself: fewer messages than before')


@pytest.mark.parametrize("attribute", [b"\\Noselect", b"\\NonExistent", b"\\All", b"\\Flagged"])
@pytest.mark.parametrize("first", [False, True])
def test_mailbox_that_is_listed_twice_otherwise_is_tried(site, attribute, first):
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Twice")
    second = b"* LIST (" + attribute + b') "/" Twice'
    if first:
        site.source.behave_like(user, servers.Lists(lambda x: second + b"\r\n" + x if x.endswith(b'"Twice"') and b"LIST" in x else x))
    else:
        site.source.behave_like(user, servers.Lists(more=[second]))
    site.move(user)
    assert site.texts(user, name="Twice") == [LETTER % 9]
    site.migrator.wait(f"event=findings .*user={user} kind=disagrees count=1 waived=0 blocks=no")


def test_mailbox_that_is_listed_twice_and_does_not_open_is_named(site):
    user = letters(site, 3)
    site.source.behave_like(user, servers.Lists(more=[b'* LIST () "/" Twice', b'* LIST (\\Noselect) "/" Twice']))
    site.stays(user, '"Twice": the source does not open it')


@pytest.mark.parametrize("spaces", [b'(("" NIL)) NIL NIL', b'(("" ".")) NIL NIL'])
def test_separator_of_list_rules_over_that_of_namespace(site, spaces):
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Work/Bills")
    site.source.behave_like(user, servers.Namespaces(spaces))
    site.move(user)
    assert site.texts(user, name="Work/Bills") == [LETTER % 9]
    site.migrator.wait(f"event=findings .*user={user} kind=disagrees count=1 waived=0 blocks=no")


class TellsUids(servers.Manners):
    """In APPENDUID, whatever they are."""

    def __init__(self, uids):
        self.uids = uids

    def appended(self, c, box, uids, code):
        return f"APPENDUID {box.uidvalidity} {self.uids}"


@pytest.mark.parametrize("offers", [(), ("MULTIAPPEND",)])
def test_appenduid_that_names_a_message_that_was_there_is_not_believed(site, offers):
    """Else it counts as our copy, and goes when the source's message does."""
    user = letters(site, 1 if not offers else 3)
    for i in range(3):
        site.target.add(user, "INBOX", LETTER % (90 + i))
    without = () if offers else ("MULTIAPPEND",)
    site.target.behave_like(user, TellsUids("1:3" if offers else "2"), servers.Offers(without=without))
    site.copy(user)
    del site.source.box(user).messages[:1]
    site.flip(user)
    assert sorted(site.texts(user)) == sorted([LETTER % (90 + i) for i in range(3)] + site.texts(user, "source"))


# ---- subscriptions

class NoLsub(servers.Manners):
    def __init__(self, text, extended):
        self.text, self.extended = text, extended

    def capability(self, c, names):
        return names + ["LIST-EXTENDED"] if self.extended else names

    def command(self, c, verb, args):
        if verb == b"LSUB" or verb == b"LIST" and isinstance(args[0], list) and not self.extended:
            raise servers.Refused(self.text)


@pytest.mark.parametrize("text", ["BAD unknown command", "NO no LSUB here"])
def test_server_without_lsub_is_asked_for_subscriptions_by_list(site, text):
    user = letters(site, 3)
    site.letters(user, LETTER % 9, name="Work")
    site.source.box(user, "Work").subscribed = True
    for side in (site.source, site.target):
        side.behave_like(user, NoLsub(text, True))
    site.move(user)
    assert site.target.box(user, "Work").subscribed and not site.target.box(user).subscribed


@pytest.mark.parametrize("text", ["BAD unknown command", "NO no LSUB here"])
def test_subscriptions_that_nobody_tells_are_counted_and_left(site, text):
    user = letters(site, 3)
    site.target.account(user)[b"INBOX"].subscribed = True
    site.source.behave_like(user, NoLsub(text, False))
    site.move(user)
    assert site.texts(user) == site.texts(user, "source")
    assert site.target.box(user).subscribed
    site.migrator.wait(f"event=findings .*user={user} kind=no_subscriptions count=1 waived=0 blocks=no")


# ---- LIMIT to an APPEND

class Limits(servers.Manners):
    """NO [LIMIT] to what is larger than most bytes."""

    def __init__(self, most):
        self.most = most

    def accepted(self, c, box, message):
        if len(message.body) > self.most:
            raise servers.Refused("NO [LIMIT] message exceeds the limit")


BIG = LETTER % 77 + b"x" * 6000


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("offers", [(), ("MULTIAPPEND",)])
def test_limit_that_is_about_one_message_is_found_of_that_message(site, at, offers):
    """Nobody else's account is told to wait."""
    letters3 = [LETTER % i for i in range(3)]
    user = site.letters(site.user(), *(letters3[:at] + [BIG] + letters3[at:]))
    site.target.behave_like(user, Limits(5000), servers.Offers(without=offers))
    route = site.stays(user, f'^cannot: .*"INBOX": UID {at + 1}: the target refuses it: .LIMIT. message exceeds the limit')
    assert route["state"] == "blocked" and site.texts(user) == letters3
    assert not site.migrator.find("event=throttled .*message exceeds")
    assert site.ferry.ctl("waive", user, f"INBOX:{at + 1}", "--reason", "too big")[0] == 0
    mended(site, user)


def test_limit_on_the_only_message_of_a_mailbox_is_found_of_it(site):
    user = site.letters(site.user(), BIG)
    site.target.behave_like(user, Limits(5000))
    site.stays(user, '^cannot: .*"INBOX": UID 1: the target refuses it')


@pytest.mark.parametrize("bodies,refused", [
    ([6000, 7000, 8000, 9000, 50, 8500, 60], [1, 2, 3, 4, 6]),   # the smallest tells, behind what was not tried yet
    ([60000, 70000, 80000, 4500, 90000, 4700], [1, 2, 3, 5]),    # and what is taken late is put in order
    ([6000, 7000, 8000, 9000, 5500], [1, 2, 3, 4, 5]),           # nothing is small enough
])
def test_limit_that_the_first_messages_are_all_above_is_found_of_each(site, bodies, refused):
    """Nobody else's account is told to wait."""
    texts = [LETTER % i + b"x" * n for i, n in enumerate(bodies)]
    user = site.letters(site.user(), *texts)
    site.target.behave_like(user, Limits(5000))
    route = site.stays(user, '^cannot: .*"INBOX": .*UID 1: the target refuses it: .LIMIT. message exceeds the limit')
    assert route["state"] == "blocked" and site.texts(user) == [t for i, t in enumerate(texts) if i + 1 not in refused]
    assert not site.migrator.find("event=throttled .*message exceeds")
    for uid in refused:
        assert site.ferry.ctl("waive", user, f"INBOX:{uid}", "--reason", "too big")[0] == 0
    mended(site, user)


def test_limit_on_all_messages_is_no_fault_of_theirs(site):
    """None of them is named, and when the server takes mail again it goes on by itself."""
    user = site.letters(site.user(), BIG, *(LETTER % i for i in range(3)))
    limits = Limits(0)
    site.target.behave_like(user, limits)
    mark = site.migrator.mark()
    site.start(user, "--now")
    for _ in range(2):
        site.migrator.wait("event=throttled .*message exceeds", since=mark)
        mark = site.migrator.mark()
    limits.most = 1 << 20
    site.wait(user, "flipped")
    assert not site.migrator.find(f"event=findings user={user}")
    assert site.texts(user) == site.texts(user, "source")


# ---- lines that servers were seen to send: odd, and plain in what they mean

class Spells(servers.Manners):
    """The whole answer to a command, spelled by sub(pattern, by)."""

    def __init__(self, pattern, by):
        self.pattern, self.by, self.changed = re.compile(pattern), by, 0

    def command(self, c, verb, args):
        held = bytearray()

        def send(*parts):
            held.extend(b"".join(p.encode() if isinstance(p, str) else p for p in parts))
            if re.search(rb"(?m)^(\+|%s) " % re.escape(c.tag), held):
                data, count = self.pattern.subn(self.by, bytes(held))
                self.changed += count
                held.clear()
                type(c).send(c, data)
        c.send = send


@pytest.mark.parametrize("pattern,by", [
    (rb"(?m)^(\* \d+ FETCH \([^{\r]*)\)\r$", rb"\1 )\r"),  # a blank before the end of a list
    (rb"FLAGS \(([^)]+)\)", rb"FLAGS (\1 )"),
    (rb"FLAGS \(([^)]*)\)", rb"FLAGS ( \1)"),
    (rb"(?m)^(\* (?:SEARCH|LIST|LSUB|NAMESPACE|\d+ EXISTS|CAPABILITY|FLAGS|STATUS)[^\r]*)\r$", rb"\1 \r"),  # behind a line
    (rb"(?m)^(\w+ OK)[^\[\r]*\r$", rb"\1\r"),  # no text behind a word
    (rb"(?m)^(\w+ OK \[[^\]]*\])[^\r]*\r$", rb"\1\r"),
    (rb"(?m)^(\* OK \[[^\]]*\])[^\r]*\r$", rb"\1\r"),
    (rb"(?m)^\* (\d+) FETCH \(UID", rb"* \1 Fetch (Uid"),  # words in another case
    (rb"FLAGS \(", rb"Flags ("),
    (rb"(?m)^\* LIST \(\\HasNoChildren", rb"* list (\\hasnochildren"),
    (rb"UIDVALIDITY", rb"UidValidity"),
    (rb"(?m)^\* (\d+) FETCH ", rb"*  \1  FETCH  "),  # two blanks
    (rb"(\\Seen)(?=[ )])", rb'"\\\1"'),  # a flag in quotes
    (rb"RFC822.SIZE (\d+)", rb"RFC822.SIZE 00\1"),
    (rb"BODY\[\] \{", rb"BODY[]  {"),
    (rb'(?m)^(\* LIST \([^)]*\)) "/" ', rb"\1 NIL "),  # no hierarchy
    (rb'"INBOX"', rb'"Inbox"'),
])
def test_line_in_an_odd_spelling_changes_nothing(site, pattern, by):
    user = site.user()
    for i, flags in enumerate(([], ["\\Seen"], ["\\Seen", "$Junk"])):
        site.source.add(user, "INBOX", LETTER % i, flags)
    site.letters(user, LETTER % 9, name="a.b(1999-2007)")
    spells = Spells(pattern, by)
    site.source.behave_like(user, spells)
    site.target.behave_like(user, spells)
    site.move(user)
    assert spells.changed
    site.source.behave_like(user)
    site.target.behave_like(user)
    site.source.drop_all()
    site.same(user, 4)


@pytest.mark.parametrize("pattern,by,word,line", [
    (rb'(\* LIST \([^)]*\) "/" )"INBOX"', rb'\1*"INBOX"', "LIST", '* LIST (\\HasNoChildren) "/" *"INBOX"'),
    (rb"(BODY\[\] \{\d+\}\r\n(?:.*\r\n){4})\)", rb"\1) RFC822.SIZE 41)", "UID FETCH", "* 1 FETCH (UID 1 BODY[] {41}) RFC822.SIZE 41)"),
])
def test_line_that_servers_were_seen_to_send_and_that_is_no_response_is_named(site, pattern, by, word, line):
    user = letters(site, 3)
    site.source.behave_like(user, Spells(pattern, by))
    odd(site, user, line, word)
