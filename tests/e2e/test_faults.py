"""Cut-overs under load with a fault at a random step of each (tests/faults/), and that the judgement of them can fail."""
import time

import pytest

from faults import checker, run
from faults.session import Message, Session, State

TOLD = State("INBOX", frozenset({"\\Seen"}))
SEEN, NONE = ("INBOX", frozenset({"\\Seen"})), ("INBOX", frozenset())


def judge(message, winner, loser=(), late_seen=False):
    session = Session(lambda: [], "ann", "s", 1)
    session.messages.append(message)
    return checker.violations([session], {message.mark: list(winner)} if winner else {},
                              {message.mark: list(loser)} if loser else {}, late_seen)


@pytest.mark.parametrize("message,winner,loser", [
    (Message("m", TOLD), [SEEN], [SEEN]),
    (Message("m", TOLD), [SEEN], []),
    (Message("m", State(None)), [], [SEEN]),
    (Message("m", TOLD, asked=State("Archive", TOLD.flags)), [("Archive", TOLD.flags)], [SEEN]),
    (Message("m", TOLD, asked=State(None)), [], [SEEN]),
    (Message("m", State(None), asked=TOLD), [], [SEEN]),
])
def test_judgement_of_what_is_right(message, winner, loser):
    assert not judge(message, winner, loser)


@pytest.mark.parametrize("message,winner,text", [
    (Message("m", TOLD), [], "is missing"),
    (Message("m", TOLD), [SEEN, SEEN], "twice"),
    (Message("m", TOLD), [NONE], "has the flags"),
    (Message("m", TOLD), [("Archive", TOLD.flags)], "is in Archive"),
    (Message("m", State(None, TOLD.flags)), [SEEN], "is in INBOX"),
    (Message("m", TOLD, asked=State("INBOX", frozenset())), [("INBOX", frozenset({"\\Flagged"}))], "has the flags"),
])
def test_judgement_of_what_is_wrong(message, winner, text):
    found = judge(message, winner, [SEEN])
    assert len(found) == 1 and text in found[0], found


def test_what_only_the_losing_server_has_is_found_once_it_was_looked_at():
    message = Message("m", State(None), asked=TOLD)
    assert not judge(message, [], [SEEN])
    message = Message("m", TOLD, asked=State("INBOX", frozenset()))
    assert any("alone" in text or "missing" in text for text in judge(message, [], [SEEN], late_seen=True))


def test_cut_overs_under_load_with_a_fault_each(capsys):
    seed = int(time.time()) % 1000000
    with capsys.disabled():
        assert run.main(["--runs", "40", "--accounts", "8", "--seed", str(seed)]) == 0
