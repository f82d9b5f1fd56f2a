"""imapferryctl survey: many accounts planned into a file, gone on with, and added up by `report --survey`."""
import fcntl
import json

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.api import Api
from harness.browser import Browser
from harness.ferry import backend
from harness.scene import fill, new_user, small


@pytest.fixture
def manual(make_ferry, backends):
    return make_ferry(backends, {"migration": {"trigger": "manual"}})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_survey_of_a_list(manual, old, new, tmp_path):
    users = [new_user() for _ in range(3)]
    for n, user in enumerate(users):
        fill(old, user, small(messages=4 + n))
    names, result = tmp_path / "names", tmp_path / "result"
    names.write_text("\n".join([*users[:2], "nobody there@", "no-such-user@nowhere.example"]))
    before = {user: old.maildir_state(user) for user in users} if hasattr(old, "maildir_state") else None
    status, answer = manual.ctl("survey", str(names), "--out", str(result))
    assert answer["planned"] >= 2 and answer["before"] == 0, answer
    found = {o["user"]: o for o in lines(result)}
    assert set(users[:2]) <= set(found) and all(found[u]["mailboxes"] and found[u]["blocked"] is False for u in users[:2])
    assert not manual.redis.client().keys("imapferry:route:*") and before == ({u: old.maildir_state(u) for u in users} if before else None)
    planned = answer["planned"]

    # A line that was not written to its end, and one more account: it goes on.
    with open(result, "a", encoding="utf-8") as f:
        f.write('{"user": "half')
    names.write_text("\n".join(users))
    status, answer = manual.ctl("survey", str(names), "--out", str(result), "--pause", "1ms")
    assert status == 0 and (answer["planned"], answer["before"]) == (1, 2), answer
    assert len(lines(result)) == planned + (2 if len(found) > planned else 1) or len(lines(result)) == len(found) + 1

    status, o = manual.ctl("report", "--survey", str(result))
    assert status == 0 and o["accounts"] >= 3 and o["messages"] >= 4 + 5 + 6 and o["bytes"] > 0 and sum(o["tiers"].values()) == o["mailboxes"]
    assert "rate" not in o
    text = manual.ctl_raw("report", "--survey", str(result))[1]
    assert "time        not known" in text and "messages" in text
    manual.redis.client().rpush("imapferry:history", "1000000 sum:bytes_done=0", "1060000 sum:bytes_done=600000")
    o = manual.ctl("report", "--survey", str(result))[1]
    assert o["rate"] == 10000 and o["hours"] == pytest.approx(o["bytes"] / 10000 / 3600, rel=0.01)


def test_causes_are_grouped_with_counts_and_examples(manual, tmp_path):
    result = tmp_path / "result"
    box = {"mailbox": "INBOX", "messages": 10, "bytes": 1000, "tier": "T0"}
    large = {"kind": "too_large", "mailbox": "INBOX", "detail": "x", "blocks": True}
    rows = [{"user": f"u{n}", "mailboxes": [box], "findings": [large, large], "blocked": True} for n in range(5)]
    rows += [{"user": "v", "mailboxes": [box, box], "findings": [{"kind": "quota", "mailbox": "", "detail": "x", "blocks": True}], "blocked": True},
             {"user": "w", "error": "no way to sign in"}, {"user": "x", "error": "no way to sign in"}, {"user": "w", "mailboxes": [box], "findings": []}]
    result.write_text("".join(json.dumps(r) + "\n" for r in rows))
    status, o = manual.ctl("report", "--survey", str(result))
    assert status == 0 and (o["accounts"], o["blocked"], o["mailboxes"], o["messages"]) == (7, 6, 8, 80), o
    first = o["findings"][0]
    assert (first["kind"], first["accounts"], first["findings"], first["examples"]) == ("too_large", 5, 10, ["u0", "u1", "u2"]) and first["text"]
    assert o["failed"] == [{"error": "no way to sign in", "accounts": 1, "examples": ["x"]}], "the later line of w counts"
    text = manual.ctl_raw("report", "--survey", str(result))[1]
    assert "too_large" in text and "COULD NOT BE PLANNED" in text


@pytest.mark.parametrize("args", [("survey",), ("survey", "x"), ("survey", "/nonexistent", "--out", "r"), ("report", "--survey", "/nonexistent"),
                                  ("report", "ann", "--survey", "r"), ("report", "--survey", "r", "--domain", "d"), ("group", "ann"), ("group", "--survey", "r"),
                                  ("group", "ann", "--survey", "/nonexistent")])
def test_wrong_arguments(manual, args):
    assert manual.ctl(*args)[0] == 2, args


def test_a_file_that_is_no_survey(manual, tmp_path):
    (tmp_path / "x").write_text('{"user": "a"}\nhello\n')
    status, answer = manual.ctl("report", "--survey", str(tmp_path / "x"))
    assert status == 2 and "x:2: is no line of a survey" in answer["error"], answer


@pytest.mark.parametrize("text", ["ann\nbob\n", "ann", '{"user": "a"}\nhello\n{"user": "b"}\n', '{"name": "a"}\n'])
def test_another_file_is_not_written_over(manual, tmp_path, text):
    """Such as the list itself, named twice."""
    names = tmp_path / "names"
    names.write_text(text)
    status, answer = manual.ctl("survey", str(names), "--out", str(names))
    assert status == 1 and "is no line of a survey" in answer["error"] and names.read_text() == text, answer


def test_two_surveys_do_not_write_to_one_result(manual, tmp_path):
    names, result = tmp_path / "names", tmp_path / "result"
    names.write_text("nobody@example.org\n")
    with open(result, "w", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        status, answer = manual.ctl("survey", str(names), "--out", str(result))
    assert status == 1 and "another survey" in answer["error"], answer


def test_by_the_api_and_on_the_page(manual, old, new):
    """What a migrator finds with its own connections is what the terminal finds; and nothing is written."""
    users = [new_user() for _ in range(2)]
    for n, user in enumerate(users):
        fill(old, user, small(messages=4 + n))
    manual.redis.client().hset("imapferry:route:moved@x", mapping={"backend": "new", "state": "settled", "epoch": "3", "generation": "1"})
    api = Api(manual)
    browser = Browser()
    try:
        browser.open(f"{api.address}/#account?user={users[0]}")
        browser.fill("#token", api.tokens["operator"])
        browser.click("#enter-form button")
        browser.click("#account .actions >> text=Plan")
        browser.hear("#account .plan", "nothing that is known now would stop it")
        browser.hear("#account .plan", "INBOX")
        browser.picture("wide-plan")
        assert browser.axe() == []
        found, said = api.call("look")[1]["plan"], manual.ctl("plan", users[0])[1]
        assert found == said and found["mailboxes"]
        browser.evaluate("location.hash = ''")
        browser.wait("#list-names")
        browser.fill("#list-names", "\n".join([*users, "moved@x"]))
        browser.click("#lists-ask button:text-is('Survey')")
        browser.hear("#survey", "come to its end")
        browser.hear("#survey", "lives on new, not on old")
        browser.picture("wide-survey")
        assert browser.axe() == []
    finally:
        browser.close()
    answer = api.call("survey")[1]
    assert (answer["planned"], answer["failed"], answer["result"]["accounts"]) == (2, 1, 2) and answer["result"]["messages"] >= 4 + 5
    status, answer = api.call("look", {"what": "plan", "user": "moved@x"})
    assert status == 200 and api.call("look", {"what": "plan", "user": users[0]}, role="read")[0] == 403 and api.call("look", {"what": "plan", "user": ""})[0] == 400
    assert net.wait_until("plan", lambda: api.call("look")[1]["verdict"], step=0.1) == "failed"
    assert manual.redis.client().keys("imapferry:route:*") == ["imapferry:route:moved@x"]


def test_names_that_nobody_has_keep_no_job_from_a_server(make_ferry):
    """Each is refused as one whose master is not known any more would be."""
    users = [f"nobody{i}@x" for i in range(6)]
    with FakeImap("old") as source, FakeImap("new") as target:
        source.strangers = set(users)
        ferry = make_ferry({"old": backend(source, "imap"), "new": backend(target, "imap")}, {"migration": {"trigger": "manual"}})
        api = Api(ferry)
        assert api.call("survey", {"names": "\n".join(users)})[0] == 200
        answer = net.wait_until("end of the survey", lambda: next((s for s in [api.call("survey")[1]] if not s["running"]), None), step=0.1)
        assert answer["failed"] == 6, answer
        assert not api.migrator.find("event=backend_rests"), "names that nobody has say nothing of a server"
