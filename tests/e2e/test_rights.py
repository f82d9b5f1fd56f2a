"""Access control lists on the new server: for the same people, no more and no less, as of the moment of the flip."""
import os
import re
import stat

import pytest

from harness import net
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.dovecot_conf import extra
from harness.ferry import backend
from harness.scene import Wire, new_user


@pytest.fixture(scope="module")
def servers(cert):
    """Of each kind an old and a new one."""
    made = {}
    for name in ("old", "new"):
        folder = net.temp_folder(f"rights-map-{name}")
        os.chmod(folder, 0o777)
        made["dovecot", name] = Dovecot(f"rights-{name}", mail="mdbox", cert=cert, special_use=False,
                                        extra=extra("shared", driver="mdbox", path="mdbox", folder=folder))
        made["cyrus", name] = Cyrus(f"rights-cyrus-{name}", cert=cert)
    yield made
    for server in made.values():
        server.close()


def ask(server, user, *commands):
    """The untagged lines of all of them; each must succeed."""
    lines = []
    with Wire(server.url("imap")) as wire:
        wire.until(b"* ")
        assert b" OK" in wire.command(b"l", f"LOGIN {user} secret".encode())[-1]
        for c in commands:
            answer = wire.command(b"c", c)
            assert answer[-1].startswith(b"c OK"), (c, answer)
            lines += answer[:-1]
    return lines


def acl(server, user, mailbox=b"Work"):
    """Without the letters that stand for others (RFC 4314 2.1.1), and who has none."""
    words = ask(server, user, b"GETACL " + mailbox)[0].decode().replace('"', "").split(" ")[3:]
    return {who: "".join(sorted(set(rights) - set("cd"))) for who, rights in zip(words[::2], words[1::2]) if rights}


def made(make_ferry, servers, authority, way, **migration):
    source, _, target = way.partition("-")
    old, new = servers[source, "old"], servers[target, "new"]
    return old, new, make_ferry({"old": backend(old, ca=authority.ca), "new": backend(new, ca=authority.ca)},
                                {"migration": {"trigger": "manual", **migration}})


@pytest.mark.parametrize("way", ["dovecot-cyrus", "cyrus-dovecot"])
def test_a_change_just_before_the_flip_is_there_behind_it(make_ferry, servers, authority, way):
    """One is let in and one thrown out while all of it was brought already; what the new server calls its own stays."""
    old, new, ferry = made(make_ferry, servers, authority, way)
    ann, bob, carl, dave = (new_user(name) for name in ("ann", "bob", "carl", "dave"))
    ask(old, ann, b"CREATE Work", f"SETACL Work {bob} lrs".encode(), f"SETACL Work -{dave} s".encode())
    frozen, go = os.path.join(ferry.folder, "frozen"), os.path.join(ferry.folder, "go")
    for path in (frozen, go):
        os.mkfifo(path)
        os.chmod(path, 0o666)
    hook = os.path.join(ferry.folder, "hook")
    with open(hook, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\necho yes > {frozen}\nread x < {go}\n")
    os.chmod(hook, os.stat(hook).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    ferry.settings["migration"]["hook_freeze"] = [hook]
    ferry.settings["migration"]["freeze_budget"] = "20s"
    ferry.migrator()
    assert ferry.ctl("waive", ann, "shared", "--reason", "they go too")[0] == 0
    assert ferry.ctl("migrate", ann)[0] == 0
    with open(frozen, encoding="ascii") as f:
        assert f.read() == "yes\n"
    assert {bob: "lrs", "-" + dave: "s"}.items() <= acl(new, ann).items()
    ask(old, ann, f"SETACL Work {carl} lr".encode(), f"DELETEACL Work {bob}".encode(), f"SETACL Work -{dave} +r".encode())
    with open(go, "w", encoding="ascii") as f:
        f.write("go\n")
    ferry.wait_state(ann, "flipped")
    there = acl(new, ann)
    assert {carl: "lr", "-" + dave: "rs"}.items() <= there.items() and bob not in there, there


def test_who_may_less_than_the_new_server_says_is_named(make_ferry, servers, authority):
    """A name that is left over from an earlier try, and a group: the one blocks, the other is only counted."""
    old, new, ferry = made(make_ferry, servers, authority, "cyrus-dovecot")
    ann, bob, carl = (new_user(name) for name in ("ann", "bob", "carl"))
    ask(old, ann, b"CREATE Work", b"CREATE Plan", f"SETACL Work {bob} lr".encode())
    ask(new, ann, b"CREATE Work", b"CREATE Plan", f"SETACL Work {bob} lrs".encode(), f"SETACL Plan {carl} lrs".encode(),
        b"SETACL Plan $sales lr")
    migrator = ferry.migrator()
    assert ferry.ctl("waive", ann, "shared", "--reason", "they go too")[0] == 0
    assert ferry.ctl("migrate", ann, "--wait")[0] == 1
    reason = ferry.user(ann)["reason"]
    assert f"{carl} has lrs on the target, and not on the source" in reason and 'mailbox "Plan"' in reason, reason
    assert f"{bob} has s on the target" in reason and "sales" not in reason, reason
    migrator.wait(f"event=findings .*user={ann} kind=acl_more count=1 waived=0 blocks=no")
    assert acl(new, ann, b"Plan")[carl] == "lrs", "nothing is taken away"
    assert ferry.ctl("waive", ann, "acl", "--reason", "as they are")[0] == 0
    ferry.wait_state(ann, "flipped")


@pytest.mark.parametrize("way,there", [("dovecot-cyrus", {"$sales": "group:sales", "authenticated": None}),
                                       ("cyrus-dovecot", {"anonymous": None, "$money": None})])
def test_identities_that_the_other_server_takes_for_users(make_ferry, servers, authority, way, there):
    """Both servers say OK to what they don't know, and nobody has the right."""
    old, new, ferry = made(make_ferry, servers, authority, way)
    ann = new_user("ann")
    ask(old, ann, b"CREATE Work", b"SETACL Work anyone lr", *(f"SETACL Work {who} lr".encode() for who in there))
    ferry.migrator()
    assert ferry.ctl("waive", ann, "shared", "--reason", "they go too")[0] == 0
    assert ferry.ctl("migrate", ann, "--wait")[0] == 1
    reason, has = ferry.user(ann)["reason"], acl(new, ann)
    assert has.pop("anyone") == "lr" and list(has) == [ann], has
    for who, spelled in there.items():
        wanted = f"lr of {spelled} is not taken" if spelled else f"lr of {who}: the target can't say who that is"
        assert wanted in reason, reason


@pytest.mark.parametrize("way", ["dovecot-cyrus", "cyrus-dovecot"])
def test_names_are_those_by_which_the_new_server_knows_users(make_ferry, servers, authority, way):
    """A Cyrus leaves its own domain out (and takes a name with it for that of nobody)."""
    old, new, ferry = made(make_ferry, servers, authority, way)
    ann, bob = (new_user(name).replace("@example.org", "@localdomain") for name in ("ann", "bob"))
    known = {"dovecot": bob, "cyrus": bob.partition("@")[0]}
    ask(old, ann, b"CREATE Work", f"SETACL Work {known[way.partition('-')[0]]} lrs".encode(), b"SETACL Work eve@elsewhere.org lr")
    ferry.migrator()
    assert ferry.ctl("waive", ann, "shared", "--reason", "they go too")[0] == 0
    assert ferry.ctl("migrate", ann, "--wait")[0] == 0, ferry.user(ann)
    has = acl(new, ann)
    assert has.get(known[way.partition("-")[2]]) == "lrs" and has.get("eve@elsewhere.org") == "lr", has
    seen = b"\n".join(ask(new, bob, b'LIST "" "*"'))
    assert re.search(rb"/Work\"?(\r|\n|$)", seen), seen
