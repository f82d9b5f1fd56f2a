"""What is found before a byte is copied, and what is carried besides messages: names, rules, views, rights, annotations,
quotas."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import FakeImap
from harness import mail, net
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.scene import Wire, fill, new_user, read, small


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


# ---- messages that are left out

def test_messages_that_rules_leave_out_are_not_copied_and_counted(make_ferry, new, authority):
    user = new_user("less")
    with FakeImap(name="old") as source:
        source.account(user)
        source.create(user, b"Trash")
        source.add(user, b"INBOX", b"Subject: small\r\n\r\nx\r\n", date=b"01-Jan-2001 12:00:00 +0000")
        source.add(user, b"INBOX", b"Subject: large\r\n\r\n" + 300 * b"0123456789\r\n")
        source.add(user, b"INBOX", b"Subject: gone\r\n\r\nx\r\n", flags=(b"\\Deleted",))
        source.add(user, b"INBOX", b"Subject: last\r\n\r\nx\r\n")
        source.add(user, b"Trash", b"Subject: old\r\n\r\nx\r\n", date=b"01-Jan-2001 12:00:00 +0000")
        source.add(user, b"Trash", b"Subject: new\r\n\r\nx\r\n", date=b"01-Jan-2026 12:00:00 +0000")
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)}, settings={
            "migration": {"leave_out": ["larger:2K", "flag:\\Deleted", "Trash older:3650d"]}})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
        migrator.wait(f"event=findings .*user={user} kind=left_out count=3 waived=0 blocks=no")
        assert subjects(new, user, "INBOX") == ["Subject: small", "Subject: last"]
        assert subjects(new, user, "Trash") == ["Subject: new"]


# ---- rights, annotations, quota

@pytest.fixture(scope="module")
def sharing(cert):
    """A Dovecot with ACL, METADATA and QUOTA."""
    with Dovecot("sharing", mail="mdbox", cert=cert, special_use=False, extra=extra("sharing", limit="100M")) as server:
        yield server


@pytest.fixture(scope="module")
def cyrus(cert):
    with Cyrus("cyrus", cert=cert, extra="annotation_allow_undefined: yes") as server:
        yield server


def ask(server, user, *commands):
    """The untagged lines of all of them; each must succeed."""
    with Wire(server.url("imap")) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        lines = []
        for c in commands:
            answer = wire.command(b"c", c)
            assert answer[-1].startswith(b"c OK"), (c, answer)
            lines += answer[:-1]
        return lines


def with_annotations(server, user):
    make(server, user, ["INBOX", "Work"])
    ask(server, user, b'SETMETADATA Work (/private/comment "hello" /shared/comment "for all")')


@pytest.mark.parametrize("way", ["cyrus_to_dovecot", "dovecot_to_cyrus"])
def test_annotations_come_along(make_ferry, cyrus, sharing, authority, way):
    """EDGE 64."""
    user = new_user("notes")
    source, target = (cyrus, sharing) if way == "cyrus_to_dovecot" else (sharing, cyrus)
    with_annotations(source, user)
    ferry = make_ferry({"old": backend(source, ca=authority.ca), "new": backend(target, ca=authority.ca)})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
    there = b"\n".join(ask(target, user, b"GETMETADATA Work (/private/comment /shared/comment)"))
    assert b"hello" in there and b"for all" in there, there
    assert not migrator.find("kind=(no_)?metadata")


@pytest.mark.parametrize("to", ["cyrus", "dovecot"])
def test_special_use_is_an_annotation_where_create_takes_none(make_ferry, cyrus, sharing, authority, to):
    """RFC 6154 5.4: Cyrus takes it; Dovecot 2.3 says that it can't be changed, which is counted."""
    user = new_user("uses")
    target = cyrus if to == "cyrus" else sharing
    with FakeImap(name="old") as source:
        source.create(user, b"Post", b"\\Sent")
        source.create(user, b"Weg", b"\\Trash")
        source.add(user, b"Post", b"Subject: x\r\n\r\nx\r\n")
        ferry = make_ferry({"old": backend(source, "imap"),
                            "new": backend(target, ca=authority.ca, capabilities=["-CREATE-SPECIAL-USE"])})
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
    assert {b"Post", b"Weg"} <= set(names(read(target, user)))
    if to == "dovecot":
        migrator.wait(f"event=findings .*user={user} kind=special_use count=2 .*blocks=no")
        return
    listed = b"\n".join(ask(target, user, b'LIST "" "*" RETURN (SPECIAL-USE)'))
    for use, name in ((b"Sent", b"Post"), (b"Trash", b"Weg")):
        assert re.search(rb"\([^)]*\\" + use + rb"\b[^)]*\) \S+ \"?" + name, listed), listed
    assert not migrator.find(f"event=findings .*user={user} kind=special_use")


def test_annotations_that_the_target_has_no_place_for_are_counted(make_ferry, cyrus, new, authority):
    user = new_user("notes")
    with_annotations(cyrus, user)
    ferry = make_ferry({"old": backend(cyrus, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0, ferry.user(user)
    migrator.wait(f"event=findings .*user={user} kind=no_metadata count=2")


@pytest.mark.parametrize("way", ["cyrus_to_dovecot", "dovecot_to_cyrus"])
def test_who_shares_is_blocked_and_the_rights_are_there_already(make_ferry, cyrus, sharing, authority, way):
    """EDGE 60, 64."""
    user = new_user("sharer")
    source, target = (cyrus, sharing) if way == "cyrus_to_dovecot" else (sharing, cyrus)
    make(source, user, ["INBOX", "Work"])
    ask(source, user, b"SETACL Work bob@old.example.org lrskx")
    ferry = make_ferry({"old": backend(source, ca=authority.ca), "new": backend(target, ca=authority.ca)},
                       settings={"migration": {"acl_map": ["*@old.example.org=*@example.org"]}})
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 1
    assert ferry.user(user)["reason"] == 'shared: mailbox "Work": bob@old.example.org has the rights klrsx'
    rights = re.search(rb"bob@example.org (\w+)", b"\n".join(ask(target, user, b"GETACL Work"))).group(1)
    assert set(b"lrskx") <= set(rights), rights


def test_rights_that_the_target_has_no_lists_for_are_named(make_ferry, sharing, new, authority):
    user = new_user("sharer")
    make(sharing, user, ["INBOX", "Work"])
    ask(sharing, user, b"SETACL Work bob lrs")
    ferry = make_ferry({"old": backend(sharing, ca=authority.ca), "new": backend(new, ca=authority.ca)})
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 1
    assert "lrs of bob can't be kept" in ferry.user(user)["reason"]
    migrator.wait(f"event=findings .*user={user} kind=shared count=1")


def test_too_little_room_is_found_before_a_byte_is_copied(make_ferry, old, cert, authority):
    user = new_user("large")
    fill(old, user, small(messages=40))
    with Dovecot("narrow", mail="mdbox", cert=cert, special_use=False, extra=extra("sharing", limit="20k")) as narrow:
        ferry = make_ferry({"old": backend(old, ca=authority.ca), "new": backend(narrow, ca=authority.ca)})
        ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 1
        assert re.match(r"quota: STORAGE: the account has \d+, and the new server allows 20$",
                        ferry.user(user)["reason"]), ferry.user(user)
        assert names(read(narrow, user)) == [b"INBOX"] and not subjects(narrow, user, "INBOX")


# ---- whose account it is

def test_one_account_under_two_names_is_not_copied_twice(make_ferry, new, authority):
    """Also EDGE 66: a sign-in as master that lands in another one's mailbox."""
    user, alias = new_user("ann"), new_user("alias")
    with FakeImap(name="old") as source:
        source.account(user)
        for n in range(3):
            source.add(user, b"INBOX", b"Subject: %d\r\n\r\nx\r\n" % n)
        source.accounts[alias] = source.accounts[user]
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
        ferry.migrator()
        assert ferry.ctl("migrate", user, "--wait")[0] == 0
        assert ferry.ctl("migrate", alias, "--wait")[0] == 1
        assert ferry.user(alias)["reason"] == f"same_account: the same account as {user}"
        assert not subjects(new, alias, "INBOX")


def test_accounts_made_in_bulk_are_told_apart_where_the_server_tells(make_ferry, new, authority):
    """Created in the same second with the same welcome mails: by MAILBOXID they are two, and one under two names stays one."""
    ann, bob, alias = (new_user(name) for name in ("ann", "bob", "alias"))
    with FakeImap(name="old") as source:
        for user in (ann, bob):
            source.account(user)[b"INBOX"].uidvalidity = 1700000000
            for n in range(2):
                source.add(user, b"INBOX", b"Subject: welcome %d\r\n\r\nx\r\n" % n)
        source.accounts[alias] = source.accounts[ann]
        for user, mailboxid in ((ann, b"F1"), (alias, b"F1"), (bob, b"F2")):
            source.behave_like(user, servers.TellsMailboxid(mailboxid))
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
        ferry.migrator()
        assert ferry.ctl("migrate", ann, "--wait")[0] == ferry.ctl("migrate", bob, "--wait")[0] == 0
        assert ferry.ctl("migrate", alias, "--wait")[0] == 1
        assert ferry.user(alias)["reason"] == f"same_account: the same account as {ann}"


# ---- imapferryctl plan

def keys(redis):
    client = redis.client()
    return {k: client.dump(k) for k in client.keys("*") if ":store" not in k}


def test_plan_says_what_would_be_and_writes_nothing(make_ferry, redis, sharing, new, authority):
    user = new_user("planned")
    make(sharing, user, ["INBOX", "Sent Items", "Sent", "Spam", "Work"])
    ask(sharing, user, b"SETACL Work bob lrs")
    ferry = make_ferry({"old": backend(sharing, ca=authority.ca), "new": backend(new, ca=authority.ca)}, settings={
        "migration": {"rename": ["Sent Items=Sent", "Work=Projects/Work"], "exclude": ["Spam"], "leave_out": ["larger:1M"]}})
    before = keys(redis), read(sharing, user), read(new, user)
    status, plan = ferry.ctl("plan", user)
    assert status == 0, plan
    assert (keys(redis), read(sharing, user), read(new, user)) == before
    assert {m["mailbox"]: m["target"] for m in plan["mailboxes"]} == {
        "INBOX": "INBOX", "Sent": "Sent", "Work": "Projects/Work"}
    assert all(m["messages"] == 1 and m["bytes"] > 20 and m["leave_out"] == ["larger:1M"] for m in plan["mailboxes"])
    found = {(f["kind"], f["mailbox"]) for f in plan["findings"]}
    assert {("collision", "Sent Items"), ("left_out", "Spam"), ("shared", "Work")} <= found
    assert plan["blocked"] and "Sent Items" in plan["reason"]
    status, text, _ = ferry.ctl_raw("plan", user)
    assert status == 0 and re.search(r"Work -> Projects/Work \(new\) +1 messages ", text) and "would be blocked" in text, text


def test_plan_needs_a_way_to_sign_in(make_ferry, old, new, authority):
    user = new_user("planned")
    ferry = make_ferry({"old": backend(old, ca=authority.ca, master=False), "new": backend(new, ca=authority.ca)})
    status, said = ferry.ctl("plan", user)
    assert status == 4 and "no password or token of the user is at hand" in said["error"]


def test_plan_of_an_account_that_has_moved_is_refused(make_ferry, backends, old, new):
    user = new_user("planned")
    make(old, user, ["INBOX"])
    ferry = make_ferry(backends)
    ferry.migrator()
    assert ferry.ctl("migrate", user, "--wait")[0] == 0
    status, said = ferry.ctl("plan", user)
    assert status == 4 and said["error"] == f"{user} lives on new, not on old"
