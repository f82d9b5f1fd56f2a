"""What is found before a byte is copied, and what is carried besides messages: names, rules, views, rights, annotations,
quotas."""
import re

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import mail, net
from harness.ferry import backend
from harness.scene import new_user, read


def names(account):
    return sorted(b"/".join(levels) for levels in account.mailboxes)


def make(server, user, mailboxes):
    """Mailboxes with a message each, by names as people write them with "/" between levels."""
    m = mail.connect(server, user, "secret")
    for name in mailboxes:
        wire = mail.quoted(mail.wire_name(name.split("/"), server.prefix, server.separator))
        if name != "INBOX":
            assert m.create(wire)[0] == "OK", name
        body = f"Subject: in {name}\r\n\r\nx\r\n".encode()
        assert m.append(wire, None, None, body)[0] == "OK", name
    m.logout()
    net.wait_next_second()


def subjects(server, user, name):
    m = mail.connect(server, user, "secret")
    try:
        assert m.select(mail.quoted(name), True)[0] == "OK"
        found = m.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        return [x[1].strip().decode() for x in found if isinstance(x, tuple)]
    finally:
        m.logout()


def test_renamed_mailboxes_go_into_what_the_target_made_by_itself(make_ferry, backends, old, new):
    """EDGE 58, mapped once, subfolders too."""
    user = new_user("rename")
    make(old, user, ["INBOX", "Sent Items", "Sent Items/2020", "Entwürfe"])
    ferry = make_ferry(backends, settings={"migration": {"rename": ["Sent Items=Sent", "Entwürfe=Drafts"]}})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    assert subjects(new, user, "Sent") == ["Subject: in Sent Items"]
    assert subjects(new, user, "Sent/2020") == ["Subject: in Sent Items/2020"]
    assert len(subjects(new, user, "Drafts")) == 1
    assert not [n for n in names(read(new, user)) if b"Items" in n or b"Entw" in n]
    assert not migrator.find("kind=collision")


def test_a_rename_never_makes_one_of_two(make_ferry, backends, old, new):
    """EDGE 58, 59: both exist at the source; both survive, and the flip waits for a person."""
    user = new_user("rename")
    make(old, user, ["INBOX", "Sent Items", "Sent"])
    ferry = make_ferry(backends, settings={"migration": {"rename": ["Sent Items=Sent"]}})
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 1
    reason = ferry.user(user)["reason"]
    assert reason == 'cannot: mailbox "INBOX.Sent Items": would have the same name on the target as "INBOX.Sent"', reason
    assert subjects(new, user, "Sent") == ["Subject: in Sent"]


def test_a_target_to_which_two_spellings_are_one_does_not_merge_them(make_ferry, old, authority):
    """EDGE 59, a case-insensitive target."""
    user = new_user("case")
    make(old, user, ["INBOX", "Work", "work"])
    with FakeImap(name="new") as target:
        target.behave_like(user, servers.RefusesNames(rb"^work$", "NO [ALREADYEXISTS] Mailbox exists"))
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(target, "imap")})
        ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 1
        assert ferry.user(user)["reason"] == (
            'cannot: mailbox "INBOX.work": the target takes the name for that of another mailbox')
        appended = b"\n".join(target.commands("APPEND"))
        assert b"in Work" in appended and b"in work" not in appended


def test_excluded_mailboxes_stay_and_are_counted(make_ferry, backends, old, new):
    user = new_user("exclude")
    make(old, user, ["INBOX", "Spam", "Spam/x", "Work"])
    ferry = make_ferry(backends, settings={"migration": {"exclude": ["Spam"]}})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    migrator.wait(f"event=findings .*user={user} kind=left_out count=2 waived=0 blocks=no")
    assert not [n for n in names(read(new, user)) if b"Spam" in n]


def test_views_are_not_copied_twice(make_ferry, new, authority):
    """EDGE 62."""
    user, other = new_user("views"), new_user("views")
    with FakeImap(name="old") as source:
        for name, more in ((user, 0), (other, 1)):
            source.account(name)
            source.create(name, b"All", b"\\All")
            source.create(name, b"Marked", b"\\Flagged")
            for n in range(3):
                source.add(name, b"INBOX", b"Subject: %d\r\n\r\nx\r\n" % n)
            for n in range(3 + more):
                source.add(name, b"All", b"Subject: %d\r\n\r\nx\r\n" % n)
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        migrator.wait(f"event=findings .*user={user} kind=virtual count=2")
        assert not [n for n in names(read(new, user)) if n in (b"All", b"Marked")]
        assert ferry.ctl("migrate", other, "--wait")[0] == 1
        assert re.match('cannot: mailbox "All": it has more messages', ferry.user(other)["reason"])
