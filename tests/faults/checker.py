"""What was promised, against what the servers hold: it reads both directly and knows nothing of imapferry."""
import re

from harness import mail
from harness.scene import PASSWORD

from .session import BOXES

_HEAD = re.compile(rb"FLAGS \(([^)]*)\)", re.I)


def contents(server, user):
    """mark -> [(mailbox, flags)] of all that an account holds."""
    found = {}
    m = mail.connect(server, user, PASSWORD)
    try:
        for box in BOXES:
            name = mail.wire_name((box,), getattr(server, "prefix", ""), server.separator)
            if m.select(mail.quoted(name), readonly=True)[0] != "OK":
                continue
            typ, data = m.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            if typ != "OK":
                raise RuntimeError(f"FETCH in {name}: {data}")
            for part in data:
                if not isinstance(part, tuple):
                    continue
                mark = re.search(rb"Subject: mark (\S+)", part[1])
                if mark:
                    flags = frozenset(f.decode() for f in _HEAD.search(part[0]).group(1).split()) - {"\\Recent"}
                    found.setdefault(mark.group(1).decode(), []).append((box, flags))
    finally:
        m.logout()
    return found


def _allowed(message):
    states = [message.told] + ([message.asked] if message.asked else [])
    return [(s.box, s.flags) for s in states]


def _judge(message, there):
    """What is wrong with a message on the route's server; None: nothing."""
    allowed = _allowed(message)
    if len(there) > 1:
        return "is there twice" if len({box for box, _ in there}) == 1 or message.asked is None else None
    if not there:
        return None if any(box is None for box, _ in allowed) else "is missing"
    box, flags = there[0]
    if any(box == b and flags == f for b, f in allowed):
        return None
    if not any(box == b for b, _ in allowed):
        return f"is in {box}"
    return f"has the flags {sorted(flags)}"


def violations(sessions, winner, loser, late_seen):
    """All that contradicts promise 4, as texts. winner and loser are what contents() said of the route's server and of
    the other one. late_seen: the late watch has looked at the loser since: nothing may be there alone then."""
    found = []
    for session in sessions:
        for message in session.messages:
            wrong = _judge(message, winner.get(message.mark, []))
            only_there = message.mark in loser and message.mark not in winner
            if wrong:
                found.append(f"{message.mark} {wrong}; told {message.told}, asked {message.asked}; "
                             f"on the other server {loser.get(message.mark)}; {message.log[-6:]}")
            elif only_there and message.told.box is None and message.asked is None:
                pass  # expunged on the route's server after the flip: what is left of it on the other one is the past
            elif only_there and late_seen and not any(box is None for box, _ in _allowed(message)):
                found.append(f"{message.mark} is on the losing server alone: {message.log[-6:]}")
        found += session.complaints
    return found
