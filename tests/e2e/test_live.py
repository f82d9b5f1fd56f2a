"""Accounts that change while they are copied: what has not changed is not looked at again, and what has is followed."""
import re
import threading
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import compare, mail, net
from harness.ferry import backend
from harness.heard import Heard
from harness.scene import assert_equal, fill, new_user, small

MANUAL = {"migration": {"cutover": "manual"}}


@pytest.fixture
def roads(old, new):
    both = Heard(old), Heard(new)
    yield both
    for road in both:
        road.close()


@pytest.fixture
def manual(make_ferry, roads):
    """A ferry whose migrator reaches both servers by relays that listen, and that waits before its cut-over."""
    ferry = make_ferry({"old": backend(roads[0], "imap"), "new": backend(roads[1], "imap")}, MANUAL)
    ferry.migrator()
    return ferry


def first(ferry, user):
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "ready")


def again(ferry, user, roads=()):
    """One more job, up to ready."""
    for road in roads:
        road.clear()
    assert ferry.ctl("hold", user, "--reason", "test")[0] == 0
    assert ferry.ctl("release", user, "--reason", "test")[0] == 0
    ferry.wait_state(user, "ready")


def flip(ferry, user):
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")


def client(server, user):
    return mail.connect(server, user, "secret")


def command(c, name, *args):
    status, answer = getattr(c, name)(*args)
    assert status == "OK", (name, args, answer)
    return answer


def others(road):
    """What was opened but INBOX, which each job looks into to know whose account it is."""
    return [x for x in road.opened() if x != "INBOX"]


def test_what_has_not_changed_is_not_opened_and_not_read(manual, roads, old, new):
    user = new_user("calm")
    account = fill(old, user, small(messages=200))
    source, target = roads
    first(manual, user)
    again(manual, user, roads)
    assert others(source) == [] and others(target) == [], (source.lines, target.lines)

    names = sorted({x.mailbox for x in account.messages if x.mailbox != ("INBOX",)})
    flagged, larger = (mail.wire_name(x, old.prefix, old.separator) for x in names[:2])
    c = client(old, user)
    command(c, "select", mail.quoted(flagged))
    command(c, "store", "1", "+FLAGS.SILENT", "(\\Flagged changed)")
    command(c, "append", mail.quoted(larger), "(\\Seen)", None, b"Subject: new\r\n\r\nnew\r\n")
    again(manual, user, roads)
    assert sorted(others(source)) == sorted([flagged, larger])
    assert len(others(target)) == 2
    assert source.whole_lists() == [] and target.whole_lists() == []
    assert len(target.bodies()) == 1
    assert source.bytes < 20000 and target.bytes < 20000, (source.bytes, target.bytes)

    # An expunge is followed by two looks, and no more.
    command(c, "store", "1", "+FLAGS.SILENT", "(\\Deleted)")
    command(c, "expunge")
    again(manual, user, roads)
    assert others(source) == [flagged, flagged] and len(others(target)) == 2
    assert source.whole_lists() == [] and target.bodies() == []
    c.logout()

    # The cut-over compares all of it once, before the freeze, and looks at each mailbox in it; no body is read again.
    for road in roads:
        road.clear()
    flip(manual, user)
    count = len(set(source.opened()))
    assert sorted(others(source)) == sorted(2 * list(set(others(source))))
    assert len(source.whole_lists()) == count == len(target.whole_lists())
    assert target.bodies() == []
    assert_equal(old, new, user, len(account.messages))


def test_flag_that_changes_on_the_target_alone_is_put_right(manual, roads, old, new):
    user = new_user("meddler")
    account = fill(old, user, small(messages=60))
    first(manual, user)
    c = client(new, user)
    command(c, "select", "INBOX")
    command(c, "store", "1:3", "+FLAGS.SILENT", "(meddled)")
    again(manual, user, roads)
    assert set(roads[0].opened()) == {"INBOX"} and roads[0].whole_lists() == []
    c.logout()
    flip(manual, user)
    assert_equal(old, new, user, len(account.messages))


def texts(c, mailbox):
    command(c, "select", mail.quoted(mailbox), True)
    answer = command(c, "fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if c.untagged_responses.get(
        "EXISTS", [b"0"])[0] != b"0" else []
    found = [re.search(rb"Subject: (\S+)", x[1]).group(1) for x in answer if isinstance(x, tuple)]
    command(c, "close")
    return found


def test_message_that_is_moved_is_never_missing_in_both(manual, old, new):
    """One by one from A to B while jobs run: whoever looks into A and then into B on the new server finds each."""
    user = new_user("mover")
    a, b = old.prefix + "A", old.prefix + "B"
    c = client(old, user)
    for name in (a, b):
        command(c, "create", name)
    for n in range(30):
        command(c, "append", a, None, None, b"Subject: n%d\r\n\r\nx\r\n" % n)
    first(manual, user)
    over, lost, looks = threading.Event(), [], [0]

    def watch():
        w = client(new, user)
        while not over.is_set():
            left, right = texts(w, "A"), texts(w, "B")
            looks[0] += 1
            lost.extend({b"n%d" % n for n in range(30)} - set(left) - set(right))
        w.logout()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    command(c, "select", a)
    try:
        for n in range(6):
            if n:
                again(manual, user)
            for _ in range(4):
                command(c, "uid", "MOVE", "*", b)
    finally:
        over.set()
        watcher.join(20)
    assert not lost and looks[0] > 3
    c.logout()
    flip(manual, user)
    assert_equal(old, new, user, 30)


class Growing(FakeImap):
    """Has more mail each time that a migrator opens the mailbox, which takes it so many seconds."""
    takes = 0

    def note_line(self, session, text):
        super().note_line(session, text)
        if b"EXAMINE" in text:
            time.sleep(self.takes)
            for n in range(25):
                self.add(session.user, "INBOX", b"Subject: %d.%d\r\n\r\nx\r\n" % (len(self.lines), n))


def test_account_that_changes_as_fast_as_it_is_copied_says_so(make_ferry):
    """While the third pass runs, the account says what the second one found; once it is copied, it says nothing of it."""
    with Growing("old") as source, FakeImap("new") as target:
        source.takes = 0.3  # so no pass is a short one
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")},
                           {"migration": {"trigger": "manual", "cutover": "manual", "freeze_budget": "500ms"}})
        m = ferry.migrator()
        with ferry.redis.client().monitor() as heard:
            assert ferry.ctl("migrate", "ann")[0] == 0
            said = next(found for command in heard.listen()
                        if (found := re.search(r"changing: pass 2 of 5 found \d+ changes, made while", command["command"])))
        assert said and m.wait("event=job_changing user=ann pass=2")
        ferry.wait_state("ann", "ready")
        assert 'waits for "flip"' in ferry.user("ann")["held_up"]
        assert ferry.route("ann")["reason"] == "" and len(m.find("event=pass user=ann")) == 5


def test_short_first_copy_is_the_only_pass(make_ferry):
    """However much it copied. A second pass would find nothing new, or what the one before the freeze finds as well."""
    with FakeImap("old") as source, FakeImap("new") as target:
        for n in range(60):
            source.add("ann", "INBOX", b"Subject: %d\r\n\r\nx\r\n" % n)
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")},
                           {"migration": {"trigger": "manual", "cutover": "manual"}})
        m = ferry.migrator()
        first(ferry, "ann")
        assert len(m.find("event=pass user=ann")) == 1 and m.find("event=pass user=ann number=1 .* appended=60 ")
        source.add("ann", "INBOX", b"Subject: new\r\n\r\nx\r\n")
        flip(ferry, "ann")
        assert len(m.find("event=pass user=ann")) == 2 and m.find("event=pass user=ann number=1 .* appended=1 ")
        m.wait_count("event=caught_up user=ann number=1 changes=0", 1)
        assert not m.find("event=caught_up user=ann number=2")
        assert len(target.box("ann").messages) == 61


def test_what_comes_meanwhile_is_not_left_to_the_freeze(make_ferry):
    """Where the pass before it finds much, so would the one in it: there is another before it, but no more than two."""
    with Growing("old") as source, FakeImap("new") as target:
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, {"migration": {"trigger": "manual"}})
        m = ferry.migrator()
        assert ferry.ctl("migrate", "ann")[0] == 0
        ferry.wait_state("ann", "flipped")
        m.wait_count("event=pass user=ann", 1)
        assert [int(x.group(1)) for x in m.find(r"event=caught_up user=ann number=\d changes=(\d+)")] == [25, 25, 25]


def test_writer_that_never_rests(manual, backends, old, new):
    """Mail comes, goes, moves and is flagged on the old server all the while; what it has at last is on the new one."""
    user = new_user("restless")
    account = fill(old, user, small(messages=150))
    names = [mail.wire_name(x, old.prefix, old.separator) for x in sorted({x.mailbox for x in account.messages})][:4]
    over = threading.Event()
    done = []

    def write():
        c = client(old, user)
        number = 0
        while not over.is_set():
            name, other = names[number % len(names)], names[(number + 1) % len(names)]
            number += 1
            command(c, "append", mail.quoted(name), "(busy)", None, b"Subject: w%d\r\n\r\nw\r\n" % number)
            command(c, "select", mail.quoted(name))
            command(c, "store", "1", "+FLAGS.SILENT" if number % 2 else "-FLAGS.SILENT", "(\\Flagged k%d)" % (number % 5))
            if number % 3 == 0:
                command(c, "uid", "MOVE", "*", mail.quoted(other))
            if number % 4 == 0:
                command(c, "store", "2", "+FLAGS.SILENT", "(\\Deleted)")
                command(c, "expunge")
            done.append(number)
        c.logout()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    first(manual, user)
    for _ in range(3):
        again(manual, user)
    over.set()
    writer.join(20)
    assert not writer.is_alive() and len(done) > 10
    flip(manual, user)
    assert_equal(old, new, user, 1)
    m = client(new, user)
    assert compare.read_account(m)
    m.logout()


def test_mailboxes_that_are_made_renamed_and_deleted(manual, old, new):
    """What was made for a mailbox goes with it; foreign mail on the new server stays, with its mailbox."""
    user = new_user("tidy")
    account = fill(old, user, small(messages=60))
    c = client(old, user)
    names = ["Gone", "Mixed", "Before", "Filled"]
    for name in names:
        command(c, "create", old.prefix + name)
    for n in range(4):
        for name in names[:3]:
            command(c, "append", old.prefix + name, "(\\Seen)", None, b"Subject: %s%d\r\n\r\nx\r\n" % (name.encode(), n))
    first(manual, user)
    assert texts(c, old.prefix + "Gone") and len(account.messages) > 0
    w = client(new, user)
    command(w, "append", "Mixed", None, None, b"Subject: foreign\r\n\r\nx\r\n")

    command(c, "delete", old.prefix + "Gone")
    command(c, "delete", old.prefix + "Mixed")
    command(c, "rename", old.prefix + "Before", old.prefix + "After")
    command(c, "create", old.prefix + "Made")
    command(c, "append", old.prefix + "Made", None, None, b"Subject: made\r\n\r\nx\r\n")
    again(manual, user)
    listed = b"\n".join(command(w, "list"))
    for name, there in (("Gone", False), ("Before", False), ("Mixed", True), ("After", True), ("Made", True)):
        assert (name.encode() in listed) == there, (name, listed)
    assert texts(w, "Mixed") == [b"foreign"]
    assert texts(w, "After") == [b"Before%d" % n for n in range(4)]
    # In the freeze, too: this one is deleted when the account waits.
    command(c, "delete", old.prefix + "Filled")
    flip(manual, user)
    assert b"Filled" not in b"\n".join(command(w, "list"))
    found = [d for d in compare.compare(compare.read_account(c), compare.read_account(w), 1) if "Mixed" not in str(d)]
    assert not found, "\n".join(map(str, found))
    c.logout()
    w.logout()


def test_renamed_mailboxes_are_not_copied_again(manual, roads, old, new):
    """Also a whole branch of the hierarchy, and one that is renamed while two others have the same UIDVALIDITY."""
    user = new_user("renamer")
    c = client(old, user)
    dot = old.separator
    names = ["Top", f"Top{dot}Sub", f"Top{dot}Sub{dot}Deep", "Alone", "Stays"]
    for name in names:
        command(c, "create", old.prefix + name)
        for n in range(25):
            command(c, "append", old.prefix + name, "(\\Seen)", None, b"Subject: %s-%d\r\n\r\n%s\r\n" % (
                name.replace(dot, "-").encode(), n, b"x" * n))
    first(manual, user)
    command(c, "rename", old.prefix + "Top", old.prefix + "Peak")
    command(c, "rename", old.prefix + "Alone", old.prefix + "Lonely")
    command(c, "append", old.prefix + "Lonely", None, None, b"Subject: more\r\n\r\nx\r\n")
    again(manual, user, roads)
    assert not [x for x in roads[1].lines if x.startswith("CREATE")], roads[1].lines
    assert sum(x.startswith("APPEND") for x in roads[1].lines) == 1
    w = client(new, user)
    listed = b"\n".join(command(w, "list"))
    assert b"Peak/Sub/Deep" in listed and b"Top" not in listed and b"Alone" not in listed, listed
    assert texts(w, "Peak/Sub/Deep") == [b"Top-Sub-Deep-%d" % n for n in range(25)]
    w.logout()
    c.logout()
    flip(manual, user)
    assert_equal(old, new, user, 126)


@pytest.mark.parametrize("done", [False, True])
def test_migrator_that_died_in_the_middle_of_a_rename(manual, roads, redis, old, new, done):
    """What it has written before it asks for the RENAME is found, whether that was carried out or not."""
    user = new_user("twin")
    c = client(old, user)
    command(c, "create", old.prefix + "Alone")
    for n in range(12):
        command(c, "append", old.prefix + "Alone", None, None, b"Subject: n%d\r\n\r\nx\r\n" % n)
    first(manual, user)
    command(c, "rename", old.prefix + "Alone", old.prefix + "Lonely")
    c.logout()
    views = f"imapferry:views:{user}"
    record = redis.client().hget(views, old.prefix + "Alone")
    redis.client().hset(views, old.prefix + "Lonely", record.replace("Alone", "Lonely"))
    if done:
        w = client(new, user)
        command(w, "rename", "Alone", "Lonely")
        w.logout()
    again(manual, user, roads)
    verbs = [x.split()[0] for x in roads[1].lines]
    assert "CREATE" not in verbs and "APPEND" not in verbs and ("RENAME" in verbs) != done, verbs
    assert sorted(redis.client().hkeys(views)) == sorted(["", "INBOX", old.prefix + "Lonely"])
    flip(manual, user)
    assert_equal(old, new, user, 12)
