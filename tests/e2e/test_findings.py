"""Every message that can't go is named, the rest goes, and nothing moves before a person has said so; a message that
succeeds late keeps its place."""
import re

import pytest

from fakes import servers
from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import net
from harness.ferry import backend
from harness.scene import new_user

MANUAL = {"migration": {"cutover": "manual"}}


@pytest.fixture
def source():
    with FakeImap(name="old") as server:
        yield server


@pytest.fixture
def target():
    with FakeImap(name="new") as server:
        yield server


def without(*names):
    return " ".join(c for c in CAPABILITIES.split() if c not in names)


def begin(ferry, user, *states):
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    return ferry.wait_state(user, *(states or ("ready",)))


def bodies(server, user, name=b"INBOX"):
    return [m.body for m in server.account(user)[name].messages]


def letter(n):
    return b"Subject: %d\r\n\r\n" % n


@pytest.mark.parametrize("lacks", ["", "MULTIAPPEND", "MULTIAPPEND UIDPLUS", "UIDPLUS"])
def test_all_that_can_not_go_are_named_and_the_rest_goes(make_ferry, source, lacks):
    """Hundreds of messages, of which some are refused, one is too large, one is empty, one has no date and one is not given."""
    user = new_user()
    for i in range(320):
        source.add(user, "INBOX", letter(i))
    box = source.account(user)[b"INBOX"].messages
    refused = [7, 300, 301, 302, 318]
    for i in refused:
        box[i].body += b"BAD"
    box[50].body += b"x" * 5000
    box[80].body = b""
    box[120].date = b"31-Feb-2020 12:00:00 +0000"
    box[180].nil = True
    capabilities = without(*lacks.split()) + " APPENDLIMIT=4000"
    with FakeImap(name="new", capabilities=capabilities) as target:
        target.misbehave("refuse_text", text=b"BAD")
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        route = begin(ferry, user, "blocked")
        left = {50, 80, 120, 180, *refused}
        assert bodies(target, user) == [m.body for i, m in enumerate(box) if i not in left]
        assert re.match(r'cannot: mailbox "INBOX": UID 51: 5\d+ bytes are more than .*; UID 121: its INTERNALDATE .*; and \d+ more$',
                        route["reason"]), route["reason"]


def test_target_that_refuses_everything_ends(make_ferry, source, target):
    """One NO a message, no more: not a batch of five hundred for each of them."""
    user = new_user()
    for i in range(100):
        source.add(user, "INBOX", letter(i) + b"BAD")
    target.misbehave("refuse_text", text=b"BAD")
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    route = begin(ferry, user, "blocked")
    assert route["reason"].endswith("and 97 more"), route["reason"]
    assert len(target.commands("APPEND")) < 20 * 100  # two passes, the second to be sure; some are ahead of a NO
    assert not bodies(target, user)


@pytest.mark.parametrize("lacks", ["", "MULTIAPPEND"])
def test_late_success_keeps_the_order(make_ferry, source, lacks):
    """Refused at first, taken later: what follows is appended again behind it, and nothing twice."""
    user = new_user()
    for i in range(60):
        source.add(user, "INBOX", letter(i) + (b"BAD" if i in (0, 20, 21, 59) else b""))
    with FakeImap(name="new", capabilities=without(*lacks.split())) as target:
        target.account(user)[b"INBOX"].uidvalidity += 50000  # equal ones with other UIDs are refused
        target.add(user, "INBOX", b"Subject: foreign\r\n\r\n")
        target.add(user, "Own", b"Subject: foreign\r\n\r\n")
        target.misbehave("refuse_text", text=b"BAD")
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
        begin(ferry, user, "blocked")
        target.behave()
        assert ferry.ctl("retry", user)[0] == 0
        ferry.wait_state(user, "flipped")
        assert bodies(target, user) == [*bodies(source, user), b"Subject: foreign\r\n\r\n"]
        ferry.daemons[-1].wait(r"event=late_success\b")
        if not lacks:
            report = ferry.ctl_raw("user", user, "--report")[1]
            assert re.search(r'^  "INBOX": .*; the new server.s own: 1$', report, re.M), report
            assert re.search(r'^    extra_mailbox "Own": ', report, re.M), report
            assert ferry.ctl("audit", user)[1]["audit"][0]["what"] == "flip"


def test_late_success_above_the_limit_is_named(make_ferry, source, target):
    user = new_user()
    for i in range(20):
        source.add(user, "INBOX", letter(i) + (b"BAD" if i == 5 else b""))
    target.misbehave("refuse_text", text=b"BAD")
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, {"migration": {"reorder_max": 13}})
    begin(ferry, user, "blocked")
    taken_back = len(target.commands("EXPUNGE"))  # what was under way behind the one that is refused
    target.behave()
    assert ferry.ctl("retry", user)[0] == 0
    net.wait_until("order as the reason", lambda: "out of order" in ferry.route(user)["reason"], 20)
    assert len(bodies(target, user)) == 20
    assert len(target.commands("EXPUNGE")) == taken_back


def test_a_source_that_lost_its_messages_is_not_followed_unasked(make_ferry, source, target):
    user = new_user()
    for i in range(150):
        source.add(user, "INBOX", letter(i))
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, MANUAL)
    begin(ferry, user)
    with source.lock:
        kept = source.account(user)[b"INBOX"].messages[:]
        del source.account(user)[b"INBOX"].messages[10:]
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    route = ferry.wait_state(user, "blocked")
    assert re.match(r'cannot: mailbox "INBOX": 140 of 150 messages are gone from the source', route["reason"]), route["reason"]
    assert len(bodies(target, user)) == 150 and not target.commands("EXPUNGE")
    with source.lock:  # it was broken, and is whole again
        source.account(user)[b"INBOX"].messages[:] = kept
    assert ferry.ctl("retry", user)[0] == 0
    ferry.wait_state(user, "flipped")
    assert bodies(target, user) == bodies(source, user)


def blocked_account(make_ferry, source, target):
    """INBOX with one message too large, one refused and one without date, and a mailbox whose flag is lost."""
    user = new_user()
    for i in range(12):
        source.add(user, "INBOX", letter(i))
    inbox = source.account(user)[b"INBOX"].messages
    inbox[2].body += b"x" * 5000
    inbox[5].body += b"BAD"
    inbox[8].date = b"31-Feb-2020 12:00:00 +0000"
    source.add(user, b"Entw&APw-rfe", letter(100), flags=("\\Seen", "x]y"))
    target.misbehave("refuse_text", text=b"BAD")
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    route = begin(ferry, user, "blocked")
    assert route["reason"].startswith("cannot: ") and route["reason"].endswith("and 1 more"), route["reason"]
    return ferry, user


@pytest.fixture
def limited():
    with FakeImap(name="new", capabilities=CAPABILITIES + " APPENDLIMIT=4000") as server:
        yield server


def found(report):
    return {(m["name"], f["kind"], f.get("uid", 0), f["waived"], f["blocks"])
            for m in report["mailboxes"] for f in m["findings"]}


def test_report_waive_flip(make_ferry, source, limited):
    """Blocked, all named; waived one by one and by kind; flipped; what was waived is named to the end."""
    ferry, user = blocked_account(make_ferry, source, limited)
    status, answer = ferry.ctl("user", user, "--report")
    report = answer["report"]
    assert status == 0 and answer["waivers"] == []
    assert (report["source"], report["target"], report["verify"], report["result"]) == ("old", "new", "full", "cannot")
    assert report["messages"] == 13 and report["compared"] == {"bytes": 10, "headers": 0, "listing": 0}
    assert found(report) == {("INBOX", "too_large", 3, False, True), ("INBOX", "refused", 6, False, True),
                             ("INBOX", "bad_date", 9, False, True), ("Entwürfe", "flags_lost", 1, False, True)}
    assert {f["key"] for m in report["mailboxes"] for f in m["findings"]} == {"INBOX:3", "INBOX:6", "INBOX:9", "Entwürfe:1"}
    assert report["findings"]["refused"] == {"open": 1, "waived": 0, "blocks": True, "text": "refused by the new server"}
    inbox = next(m for m in report["mailboxes"] if m["name"] == "INBOX")
    valid = source.box(user).uidvalidity
    assert inbox["uidvalidity"] == valid
    assert inbox["messages"] == 12 and inbox["compared"]["bytes"] == 9 and inbox["more_findings"] == 0
    text = ferry.ctl_raw("user", user, "--report")[1]
    assert re.search(r'^  "INBOX": 12 messages, .*; compared: 9 by bytes, 3 not$', text, re.M), text
    assert re.search(r"^    BLOCKS refused UID 6: the target refuses it: ", text, re.M), text

    for key in ("INBOX:99", f"INBOX:{valid}/99", "Entwürfe:2"):
        status, answer = ferry.ctl("waive", user, "INBOX:3", key, "--reason", "a typo")
        assert status == 4 and f'"{key}"' in answer["error"] and "no such message" in answer["error"], answer
    status, answer = ferry.ctl("waive", user, "INBOX:3", "refused", "--reason", "on paper")
    assert (status, answer["state"]) == (0, "queued"), answer
    ferry.wait_state(user, "blocked")
    report = ferry.ctl("user", user, "--report")[1]["report"]
    assert found(report) == {("INBOX", "left_by_waiver", 3, False, False), ("INBOX", "refused", 6, True, False),
                             ("INBOX", "bad_date", 9, False, True), ("Entwürfe", "flags_lost", 1, False, True)}
    assert ferry.ctl("waive", user, "inbox:9", "Entwürfe:flags_lost", "--reason", "so be it")[0] == 0
    ferry.wait_state(user, "flipped")
    answer = ferry.ctl("user", user, "--report")[1]
    report = answer["report"]
    assert report["result"] == "equal" and report["last"]
    assert found(report) == {("INBOX", "left_by_waiver", 3, False, False), ("INBOX", "refused", 6, True, False),
                             ("INBOX", "left_by_waiver", 9, False, False), ("Entwürfe", "flags_lost", 1, True, False)}
    assert {w["key"]: w["why"] for w in answer["waivers"]} == {
        f"INBOX:{valid}/3": "on paper", "refused": "on paper", f"INBOX:{valid}/9": "so be it",
        "Entw&APw-rfe:flags_lost": "so be it"}
    assert bodies(limited, user) == [m.body for m in source.account(user)[b"INBOX"].messages if m.uid not in (3, 6, 9)]
    audit = ferry.ctl("audit", user)[1]["audit"]
    assert [e["reason"] for e in audit if e["what"] == "waive"] == [
        f"INBOX:{valid}/9, Entw&APw-rfe:flags_lost: so be it", f"INBOX:{valid}/3, refused: on paper"]


def test_waiver_covers_only_what_it_names(make_ferry, source, limited):
    ferry, user = blocked_account(make_ferry, source, limited)
    assert ferry.ctl("waive", user, "INBOX:3", "INBOX:6", "INBOX:9", "INBOX:1", "--reason", "known")[0] == 0, "1 was copied"
    route = ferry.wait_state(user, "blocked")
    assert re.match(r'cannot: mailbox "Entwürfe": UID 1: the target can.t keep its flags \(x\]y\)$', route["reason"]), route["reason"]


def test_waiver_that_is_taken_back_stops_the_account_again(make_ferry, source, limited):
    user = new_user()
    source.add(user, "INBOX", letter(1) + b"x" * 5000)
    source.add(user, "INBOX", letter(2))
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(limited, "imap")}, {"migration": {"cutover": "manual"}})
    begin(ferry, user, "blocked")
    assert ferry.ctl("waive", user, "too_large", "INBOX:1", "--reason", "so be it")[0] == 0
    ferry.wait_state(user, "ready")
    status, answer = ferry.ctl("waive", user, "INBOX:1", "too_large", "--remove", "--reason", "it must come along")
    valid = source.box(user).uidvalidity
    assert status == 0 and sorted(answer["removed"]) == [f"INBOX:{valid}/1", "too_large"], answer
    assert ferry.ctl("user", user, "--report")[1]["waivers"] == []
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "x")[0] == 0
    assert ferry.wait_state(user, "blocked", "flipped")["state"] == "blocked"
    assert bodies(limited, user) == [letter(2)]
    assert [e["reason"] for e in ferry.ctl("audit", user)[1]["audit"] if e["what"] == "unwaive"] == [
        f"INBOX:{valid}/1, too_large: it must come along"]


def test_waiver_of_a_message_is_void_when_its_mailbox_is_numbered_anew(make_ferry, source, limited):
    """UID 1 is another message then, which nobody has waived."""
    user = new_user()
    source.add(user, "INBOX", letter(1) + b"x" * 5000)
    source.add(user, "INBOX", letter(2))
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(limited, "imap")}, {"migration": {"cutover": "manual"}})
    begin(ferry, user, "blocked")
    assert ferry.ctl("waive", user, "INBOX:1", "--reason", "so be it")[0] == 0
    ferry.wait_state(user, "ready")
    with source.lock:
        box = source.box(user)
        box.uidvalidity += 1
        box.messages[0].body = letter(3)
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "x")[0] == 0
    ferry.wait_state(user, "flipped")
    assert bodies(limited, user) == [letter(3), letter(2)], "the new UID 1 was not left out"


@pytest.mark.parametrize("side", ["source", "target"])
def test_mailbox_that_can_not_be_opened_is_waived_by_its_name(make_ferry, source, target, side):
    """All others are whole, also in the last pass; by its kind alone nothing of that can be waived."""
    user = new_user()
    for name in ("Broken", "INBOX", "Work"):
        source.add(user, name, letter(1))
        source.add(user, name, letter(2))
    server = source if side == "source" else target
    server.behave_like(user, *[servers.Refuses(verb, "NO [CORRUPTION] index is broken", holds=b"Broken")
                               for verb in ("SELECT", "EXAMINE")])
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, {"migrator": {"retry_min": "1h", "retry_max": "1h"}})
    route = begin(ferry, user, "backoff", "blocked")
    assert re.search('mailbox "Broken": the .* does not open it', route["reason"]), route["reason"]
    keys = [f.get("key") for m in ferry.ctl("user", user, "--report")[1]["report"]["mailboxes"] for f in m["findings"]]
    assert keys == ["Broken:listing"]
    assert ferry.ctl_raw("waive", user, "listing", "--reason", "x")[0] == 2
    assert ferry.ctl("waive", user, "Broken:listing", "--reason", "nothing but old news")[0] == 0
    ferry.wait_state(user, "flipped")
    assert bodies(target, user) == bodies(target, user, b"Work") == [letter(1), letter(2)]
    assert bodies(target, user, b"Broken") == []
    report = ferry.ctl("user", user, "--report")[1]["report"]
    assert report["last"] and report["findings"]["listing"] == {**report["findings"]["listing"], "open": 0, "waived": 1}


def test_waive_exit_codes(make_ferry, source, target):
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    for args in ((), ("INBOX:3",), ("nothing", "--reason", "x"), ("not_copied", "--reason", "x"), ("INBOX:0", "--reason", "x")):
        assert ferry.ctl_raw("waive", "ann", *args)[0] == 2, args
    assert 'did you mean "INBOX:too_large"' in ferry.ctl("waive", "ann", "INBOX:to_large", "--reason", "x")[1]["error"]
    for args in ((), ("nothing", "--remove"), ("INBOX:3", "--reason", "x", "--force")):
        assert ferry.ctl_raw("waive", "ann", *args)[0] == 2, args
    status, answer = ferry.ctl("waive", "ann", "INBOX:3", "--reason", "which one?")
    assert status == 4 and "MAILBOX:UIDVALIDITY/UID" in answer["error"], answer
    assert ferry.ctl("waive", "ann", "INBOX:77/3", "--reason", "known before")[1]["state"] == "resting"
    status, answer = ferry.ctl("waive", "ann", "INBOX:4", "--remove")
    assert status == 4 and answer["error"] == '"INBOX:4" is not waived', answer
    assert ferry.ctl("waive", "ann", "INBOX:3", "--remove")[0] == 0
    assert ferry.ctl("waive", "ann", "INBOX:3", "--remove")[0] == 4
    assert ferry.ctl("user", "ann", "--report")[0] == 3


def read_back(server, section):
    """UIDs whose bodies were asked for."""
    uids = set()
    for command in server.commands("FETCH"):
        found = re.search(rb"UID FETCH (\S+) \(UID BODY.PEEK\[" + section + rb"\]\)", command)
        for part in found[1].split(b",") if found else ():
            first, _, last = part.partition(b":")
            uids |= set(range(int(first), int(last or first) + 1))
    return uids


@pytest.mark.parametrize("mode", ["sample", "headers"])
def test_other_modes_compare_less_say_so_and_full_reads_the_rest(make_ferry, redis, source, target, mode):
    user = new_user()
    for i in range(200):
        source.add(user, "INBOX", letter(i) + b"body %d\r\n" % i)
    settings = {"migration": {"cutover": "manual", "verify": mode}}
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, settings)
    begin(ferry, user)
    report = ferry.ctl("user", user, "--report")[1]["report"]
    compared = report["compared"]
    assert report["verify"] == mode and sum(compared.values()) == report["messages"] == 200
    whole = read_back(target, b"")
    assert len(whole) == compared["bytes"] == ferry.user(user)["messages"]["verified"]
    if mode == "sample":
        assert 10 < compared["bytes"] < 40 and compared["listing"] == 200 - compared["bytes"] and {1, 200} <= whole
    else:
        assert compared == {"bytes": 0, "headers": 200, "listing": 0}
        assert read_back(target, b"HEADER") == read_back(source, b"HEADER") == set(range(1, 201))
    ferry.stop_all()
    target.lines.clear()
    ferry.settings["migration"]["verify"] = "full"
    ferry.migrator()
    assert ferry.ctl("flip", user, "--to", "new", "--reason", "test")[0] == 0
    ferry.wait_state(user, "flipped")
    assert ferry.ctl("user", user, "--report")[1]["report"]["compared"] == {"bytes": 200, "headers": 0, "listing": 0}
    assert read_back(target, b"") == set(range(1, 201)) - whole


@pytest.mark.parametrize("mode", ["sample", "headers"])
def test_other_modes_find_what_they_look_at(make_ferry, source, target, mode):
    """A size that is another, and in the mode headers a header, has the bytes read, which are named."""
    user = new_user()
    for i in range(50):
        source.add(user, "INBOX", letter(i) + b"body %d\r\n" % i)
    settings = {"migration": {"cutover": "manual", "verify": mode}}
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, settings)
    target.misbehave("alter", mailbox="INBOX", n=1)  # in any sample; the middle of it is in the header
    route = begin(ferry, user, "blocked")
    assert re.match(r'differs: mailbox "INBOX": UID 1: bytes differ', route["reason"]), route["reason"]


def test_killed_while_it_takes_back(make_ferry, source, target):
    """What was to be taken back is known to the next run, however far this one came."""
    user = new_user()
    for i in range(30):
        source.add(user, "INBOX", letter(i) + (b"BAD" if i == 10 else b""))
    target.account(user)[b"INBOX"].uidvalidity += 50000  # equal ones with other UIDs are refused
    target.misbehave("refuse_text", text=b"BAD")
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")})
    begin(ferry, user, "blocked")
    target.behave()
    target.misbehave("hang", at="store")
    assert ferry.ctl("retry", user)[0] == 0
    target.wait("STORE of what is taken back", lambda: target.commands("STORE"))
    ferry.daemons[-1].kill()
    target.behave()
    target.drop_all()
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert bodies(target, user) == bodies(source, user)


def test_a_real_target_that_changes_bytes(make_ferry, source, new, authority):
    """Dovecot makes CRLF of a bare LF: named, waived by message, moved, and still named."""
    user = new_user()
    for i in range(5):
        source.add(user, "INBOX", letter(i))
    source.account(user)[b"INBOX"].messages[1].body = b"Subject: bare\r\n\r\na\nb\r\n"
    source.account(user)[b"INBOX"].messages[3].body = b""
    ferry = make_ferry({"old": backend(source, "imap"), "new": backend(new, ca=authority.ca)})
    begin(ferry, user, "blocked")
    report = ferry.ctl("user", user, "--report")[1]["report"]
    assert found(report) == {("INBOX", "bytes", 2, False, True), ("INBOX", "empty", 4, False, True)}
    assert ferry.ctl("waive", user, "INBOX:2", "empty", "--reason", "seen by ann")[0] == 0
    ferry.wait_state(user, "flipped")
    report = ferry.ctl("user", user, "--report")[1]["report"]
    assert found(report) == {("INBOX", "bytes", 2, True, False), ("INBOX", "empty", 4, True, False)}
    assert report["compared"]["bytes"] == 3
