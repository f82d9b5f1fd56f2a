"""What was promised, against what the servers hold: it reads both directly and knows nothing of imapferry."""
import re

from harness import mail
from harness.scene import PASSWORD

from .message import BOXES, is_whole

_HEAD = re.compile(rb"FLAGS \(([^)]*)\)", re.I)


def contents(server, user):
    """mark -> [(mailbox, flags)] of all that an account holds. One whose bytes are others is in "INBOX, damaged"."""
    found = {}
    m = mail.connect(server, user, PASSWORD)
    try:
        for box in BOXES:
            name = mail.wire_name((box,), getattr(server, "prefix", ""), server.separator)
            typ, data = m.select(mail.quoted(name), readonly=True)
            if typ != "OK" and any(m.list("", mail.quoted(name))[1]):
                raise RuntimeError(f"{name} can't be opened: {data}")
            if typ != "OK":
                continue
            typ, data = m.fetch("1:*", "(FLAGS BODY.PEEK[])")
            if typ != "OK":
                raise RuntimeError(f"FETCH in {name}: {data}")
            for part in data:
                if not isinstance(part, tuple):
                    continue
                mark = re.search(rb"Subject: mark (\S+)", part[1])
                if mark:
                    mark = mark.group(1).decode()
                    flags = frozenset(f.decode() for f in _HEAD.search(part[0]).group(1).split()) - {"\\Recent"}
                    place = box if is_whole(mark, part[1]) else box + ", damaged"
                    found.setdefault(mark, []).append((place, flags))
    finally:
        m.logout()
    return found


def _judge(message, there):
    """What is wrong with a message on the route's server; None: nothing."""
    allowed = [(s.box, s.flags) for s in message.states()]
    boxes = {box for box, _ in allowed}
    if len(there) > 1:
        # A MOVE without an answer may have been done by the server that was left, between the looks at both mailboxes.
        is_moved = len({box for box, _ in there}) == len(there) and {box for box, _ in there} <= boxes
        return None if is_moved else f"is there twice ({sorted(box for box, _ in there)})"
    if not there:
        return None if None in boxes else "is missing"
    box, flags = there[0]
    if (box, flags) in allowed:
        return None
    return f"is in {box}" if box not in boxes else f"has the flags {sorted(flags)}"


def _may_be_gone(message):
    """It was expunged, or perhaps; a message that was perhaps appended is not meant."""
    states = message.states()
    return states[-1].box is None or any(was.box is not None and now.box is None for was, now in zip(states, states[1:]))


def violations(sessions, winner, loser, late_seen):
    """All that contradicts promise 4, as texts. winner and loser are what contents() said of the route's server and of
    the other one. late_seen: the late watch has looked at the loser since: nothing may be there alone then."""
    found = []
    for session in sessions:
        for message in session.messages:
            wrong = _judge(message, winner.get(message.mark, []))
            only_there = message.mark in loser and message.mark not in winner
            if not wrong and only_there and late_seen and not _may_be_gone(message):
                wrong = "is on the losing server alone"
            if wrong:
                found.append(f"{message.mark} {wrong}; told {message.told}, asked {message.asked}; "
                             f"on the other server {loser.get(message.mark)}; {message.log[-6:]}")
        found += session.complaints
    return found
