"""A whole account with every oddity, moved between two real servers, and compared by compare.py: whatever it finds has
to be named by us, and the old server has to be what it was.

    result = move(source, target, ferry, user, messages=20000)      # with a master user on both sides
    assert not result.unnamed
"""
import base64
import dataclasses
import re
import time

from . import compare, oddities
from .courier import Courier
from .cyrus import Cyrus
from .dovecot import Dovecot
from .ferry import backend
from .scene import new_user, read

ENDS = ("flipped", "blocked")
ROUNDS = 6
# 8-bit bytes in headers as they are; special uses on neither side, since Courier has none.
SERVERS = {"Courier": Courier, "Cyrus": lambda name, cert: Cyrus(name, cert=cert, extra="munge8bit: no"),
           "Dovecot": lambda name, cert: Dovecot(name, cert=cert, special_use=False)}
PAIRS = (("Courier", "Dovecot"), ("Cyrus", "Dovecot"), ("Dovecot", "Cyrus"))


def backends(source, target):
    """Courier has no master user: there what the proxy seals serves."""
    return {name: backend(server, "imap", master=not isinstance(server, Courier))
            for name, server in (("old", source), ("new", target))}


@dataclasses.dataclass
class Result:
    loaded: oddities.Loaded
    state: str
    named: list             # (kind, mailbox, UID), as we say
    differences: list       # as compare.py says
    unnamed: list           # those of them that we don't name
    changed: list           # what is not as it was at the source
    rounds: int             # how often a person had to accept something
    filled_s: float = 0.0
    moved_s: float = 0.0
    compared: int = 0       # messages on the target

    def faults(self):
        """What must not be."""
        out = [f"not named: {d}" for d in self.unnamed] + [f"changed at the source: {x}" for x in self.changed]
        if self.state != "flipped":
            out.append(f"it is {self.state}")
        if not self.compared:
            out.append("nothing was compared")
        return out

    def __str__(self):
        kinds = {}
        for kind, _, _ in self.named:
            kinds[kind] = kinds.get(kind, 0) + 1
        return (f"{self.loaded.messages} messages in {self.loaded.mailboxes} mailboxes loaded in {self.filled_s:.0f} s, "
                f"{sum(self.loaded.refused.values())} refused by the old server ({dict(self.loaded.refused)}); "
                f"{self.state} after {self.moved_s:.0f} s; {self.compared} messages on the new server, "
                f"{len(self.differences)} differences, {len(self.unnamed)} of them not named; named: {kinds or 'nothing'}")


def unescaped(account, old):
    """The names that the user sees: what a server can't spell is written "=" and two digits there."""
    def plain(level):
        if level == b"=49NBOX":
            return compare.BELOW
        return re.sub(rb"=([0-9A-F]{2})", lambda x: bytes([int(x[1], 16)]) if x[1] != b"00" else b"", level)

    def levels_of(levels):
        return levels if levels in old.mailboxes or levels in old.subscribed else tuple(plain(x) for x in levels)
    for box in account.mailboxes.values():
        box.levels = levels_of(box.levels)
    return compare.Account({levels_of(k): v for k, v in account.mailboxes.items()}, {levels_of(x) for x in account.subscribed})


def spelled(name):
    """A name on the wire, as reports spell it."""
    def plain(found):
        if not found[1]:
            return "&"
        return base64.b64decode(found[1].replace(",", "/") + "===").decode("utf-16-be", "replace")
    return re.sub(r"&([A-Za-z0-9+,]*)-", plain, name)


def is_named(difference, named, wire):
    """By its message, or by its mailbox as a whole."""
    box = wire.get(difference.mailbox)
    uid = re.search(r"UID (\d+)", difference.text)
    kinds = {"mailbox": ("name", "collision", "extra_mailbox"), "subscription": ("subscription", "name"),
             "special-use": ("special_use",)}.get(difference.kind)
    for kind, mailbox, number in named:
        if mailbox not in (box, difference.mailbox.replace(" > ", "/")):
            continue
        if kind in kinds if kinds else not number or uid and int(uid[1]) == number:
            return True
    return False


def report(ferry, user):
    status, answer = ferry.ctl("user", user, "--report")
    assert status == 0, answer
    return answer.get("report", answer)


def findings(said):
    """(mailbox, finding) of the whole report; "" is the account."""
    return [(f.get("mailbox", ""), f) for f in said["account"]] + [(m["name"], f) for m in said["mailboxes"] for f in m["findings"]]


def named(said):
    """(kind, mailbox as people spell it, UID) of all that we say did not arrive as it was."""
    return [(f["kind"], mailbox, f.get("uid", 0)) for mailbox, f in findings(said)]


def waive_all(ferry, user, said):
    blocking = [f for _, f in findings(said) if f["blocks"]]
    keys = [f["key"] for f in blocking if "key" in f]
    assert keys, f"nothing that a person could accept stops it: {said['reason']}: {blocking}"
    status, out, err = ferry.ctl_raw("waive", user, *keys, "--reason", "seen")
    assert status == 0, (out, err)


def set_off(ferry, user):
    """As a user's login does it where a password is needed, else as staff do."""
    if all(b.get("master_user") for b in ferry.backends.values()):
        ferry.migrator()
        status, out, err = ferry.ctl_raw("migrate", user, "--now")
        assert status == 0, (out, err)
    else:
        ferry.seal_keys()
        proxy = ferry.proxy()
        ferry.migrator()
        ferry.login(proxy, user, "secret").logout()


def wait_for_the_flip(ferry, user, timeout):
    """As a person would: looks at what stops it, accepts that, and waits on. (state, all that was named, rounds)."""
    said = []
    for rounds in range(ROUNDS):
        state = ferry.wait_state(user, *ENDS, timeout=timeout)["state"]
        now = report(ferry, user)
        said += [x for x in named(now) if x not in said]
        if state == "flipped":
            break
        waive_all(ferry, user, now)
        ferry.ctl("retry", user)
    return state, said, rounds


def move(source, target, ferry, messages, timeout=600):
    user = new_user("whole")
    began = time.monotonic()
    loaded = oddities.fill(source, user, messages)
    filled = time.monotonic()
    read(source, user)  # Dovecot gives other years before 1970 once they are in its cache
    before = read(source, user)
    set_off(ferry, user)
    state, said, rounds = wait_for_the_flip(ferry, user, timeout)
    moved = time.monotonic()
    old, new = read(source, user), read(target, user)
    found = compare.compare(old, unescaped(new, old), 1)
    wire = {compare.readable(levels): spelled(box.name) for levels, box in old.mailboxes.items()}
    changed = [str(d) for d in compare.compare(before, old)]
    changed += [f"{k}: UIDs" for k in before.mailboxes if [m.uid for m in before.mailboxes[k].messages]
                != [m.uid for m in old.mailboxes[k].messages]]
    return Result(loaded, state, said, found, [d for d in found if not is_named(d, said, wire)], changed, rounds,
                  filled - began, moved - filled, new.count)
