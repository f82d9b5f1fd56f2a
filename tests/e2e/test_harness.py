"""The comparer against two real servers: silent where they are equal, and loud at each single difference."""
import dataclasses
import itertools

import pytest

from harness import compare, mail
from harness.mail import Message, quoted

BOXES = [("INBOX",), ("Sent",), ("Archive",), ("Archive", "2019"), ("Ämter", "Größe & Gewicht")]
_number = itertools.count()


@pytest.fixture
def pair(old, new):
    """The same small account on both servers: the two connections and what was loaded."""
    user = f"compared{next(_number)}"
    account = mail.sample(seed=3, messages=40, mailboxes=BOXES, sizes=(300, 3000))
    connections = [mail.connect(s, user, "secret") for s in (old, new)]
    for server, m in zip((old, new), connections):
        mail.load(account, m, server.prefix, server.separator)
    yield *connections, account, user
    for m in connections:
        m.logout()


def differences(pair, expect=40):
    return compare.compare_connections(pair[0], pair[1], expect)[0]


def only(found, kind, mailbox=None):
    assert found, "the comparer saw nothing"
    assert {d.kind for d in found} == {kind}, [str(d) for d in found]
    assert mailbox is None or {d.mailbox for d in found} == {mailbox}, [str(d) for d in found]


def select(m, name):
    assert m.select(quoted(name))[0] == "OK"


def remove(m, name, position):
    select(m, name)
    m.store(str(position), "+FLAGS.SILENT", "(\\Deleted)")
    uid = m.fetch(str(position), "(UID)")[1][0].split()[-1].rstrip(b")").decode()
    assert m.uid("EXPUNGE", uid)[0] == "OK"
    m.unselect()


def replace_all(m, name, messages):
    """The mailbox anew with these messages."""
    select(m, name)
    m.store("1:*", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.unselect()
    mail.append(m, name, messages)


def of_mailbox(pair, levels=("INBOX",)):
    return [dataclasses.replace(x) for x in pair[2].messages if x.mailbox == levels]


def test_equal_accounts_have_no_difference(pair):
    assert differences(pair) == []


def test_fewer_than_expected(pair):
    only(differences(pair, expect=41), "count")


def test_missing_message(pair):
    remove(pair[1], "INBOX", 3)
    only(differences(pair, 0), "missing", "INBOX")


def test_foreign_message(pair):
    mail.append(pair[1], "INBOX", [Message(("INBOX",), b"Subject: foreign\r\n\r\nnot ours\r\n")])
    only(differences(pair), "extra", "INBOX")


def test_foreign_message_in_between(pair):
    messages = of_mailbox(pair)
    messages.insert(4, Message(("INBOX",), b"Subject: foreign\r\n\r\nnot ours\r\n"))
    replace_all(pair[1], "INBOX", messages)
    only(differences(pair), "extra", "INBOX")


def test_altered_byte(pair):
    messages = of_mailbox(pair)
    messages[5].body = messages[5].body.replace(b"Subject: ", b"Subject; ", 1)
    replace_all(pair[1], "INBOX", messages)
    only(differences(pair), "body", "INBOX")


def test_swapped_messages(pair):
    messages = of_mailbox(pair)
    messages[2], messages[3] = messages[3], messages[2]
    replace_all(pair[1], "INBOX", messages)
    only(differences(pair), "order", "INBOX")


def test_shifted_date(pair):
    messages = of_mailbox(pair)
    messages[1].date = messages[1].date[:-6] + ("+0300" if "+0300" not in messages[1].date else "+0100") + '"'
    replace_all(pair[1], "INBOX", messages)
    only(differences(pair), "date", "INBOX")


def test_same_instant_in_another_zone_is_equal(pair):
    found = [compare.instant_of(x) for x in (b'"17-Jul-2011 02:44:25 -0730"', b'"17-Jul-2011 23:14:25 +1300"',
                                             b'" 7-Jan-2012 00:00:00 +0000"', b'"07-Jan-2012 05:45:00 +0545"')]
    assert found[0][0] == found[1][0] and found[2][0] == found[3][0] == 1325894400


@pytest.mark.parametrize("how", ["+FLAGS", "-FLAGS"])
@pytest.mark.parametrize("name,kind", [("\\Flagged", "flags"), ("\\Seen", "flags"), ("$Forwarded", "keywords")])
def test_flag_or_keyword(pair, how, name, kind):
    for m in pair[:2]:
        select(m, "INBOX")
        m.store("2", "+FLAGS.SILENT" if how == "-FLAGS" else "-FLAGS.SILENT", f"({name})")
    assert pair[1].store("2", how, f"({name})")[0] == "OK"
    for m in pair[:2]:
        m.unselect()
    only(differences(pair), kind, "INBOX")


def test_case_of_keyword_is_no_difference(pair):
    select(pair[0], "INBOX")
    select(pair[1], "INBOX")
    pair[0].store("2", "+FLAGS.SILENT", "(Upper)")
    pair[1].store("2", "+FLAGS.SILENT", "(uPPER)")
    for m in pair[:2]:
        m.unselect()
    assert differences(pair) == []


def test_missing_mailbox(pair):
    assert pair[1].delete(quoted("Archive/2019"))[0] == "OK"
    assert pair[1].unsubscribe(quoted("Archive/2019"))[0] == "OK"
    found = differences(pair, 0)
    assert "mailbox" in {d.kind for d in found} and {d.mailbox for d in found} == {"Archive > 2019"}


def test_extra_mailbox(pair):
    assert pair[1].create("Surplus")[0] == "OK"
    only(differences(pair), "mailbox", "Surplus")


def test_subscription(pair):
    pair[0].subscribe(quoted("INBOX.Archive"))
    pair[1].unsubscribe("Archive")
    only(differences(pair), "subscription", "Archive")


def test_special_use(pair):
    assert pair[1].delete("Sent")[0] == "OK"
    old = compare.read_account(pair[0])
    new = compare.read_account(pair[0])
    new.mailboxes[(b"Sent",)].special = frozenset()
    only(compare.compare(old, new), "special-use", "Sent")


def test_command_line_prints_each_difference_and_fails(pair, old, new, capsys, monkeypatch):
    urls = [f"imap://{pair[3]};master=admin:styx-ferry@127.0.0.1:{s.port['imap']}" for s in (old, new)]
    monkeypatch.setattr("sys.argv", ["compare.py", "--expect", "40", *urls])
    assert compare.main() == 0
    remove(pair[1], "INBOX", 1)
    monkeypatch.setattr("sys.argv", ["compare.py", "--expect", "39", *urls])
    assert compare.main() == 1
    assert "missing: INBOX: UID" in capsys.readouterr().out
