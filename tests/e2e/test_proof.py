"""The proof of a switch-over: what stood on both servers, message by message, and what may go wrong with it."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from fakes.fake_imap import FakeImap
from harness import compare, net
from harness.site import LETTER, Site

HOSTILE = 'a"b\\c &2D3cqQ- {7}'  # a name that is data: quotes, a backslash, what looks like a literal


@pytest.fixture(scope="module")
def site():
    with Site(FakeImap("old"), FakeImap("new"), {"migration": {"late_watch": "1h"}, "migrator": {"job_lease": "2s"}},
              writes_source=True) as made:
        yield made


def proof_of(site, user, tmp_path):
    """Its lines, the file, and what the route says of it."""
    status, out, err = site.ferry.ctl_raw("report", user, "--proof")
    assert status == 0, (out, err)
    path = tmp_path / f"{user}.proof"
    path.write_text(out, encoding="ascii")
    status, answer = site.ferry.ctl("report", user, "--proof")
    assert status == 0 and answer["whole"] and answer["proof"]["sha256"] == hashlib.sha256(out.encode()).hexdigest(), answer
    return [json.loads(line) for line in out.splitlines()], path, answer


def check(site, user, path, **more):
    sides = {"old": site.connect(user, "source"), "new": site.connect(user, "target")}
    found = compare.check_proof(str(path), sides, **more)
    for m in sides.values():
        m.logout()
    return found


def test_each_message_stands_in_it_and_the_audit_has_its_hash(site, tmp_path):
    user = site.letters(site.user("proof"), *(LETTER % i for i in range(5)))
    site.letters(user, LETTER % 9, name=HOSTILE)
    site.letters(user, name="Empty")
    site.copy(user)
    site.letters(user, LETTER % 7)  # comes before the freeze, and stands in it
    site.flip(user)
    lines, path, answer = proof_of(site, user, tmp_path)
    assert lines[0]["user"] == user and (lines[0]["source"], lines[0]["target"], lines[0]["verify"]) == ("old", "new", "full")
    boxes = {line["mailbox"]: line for line in lines[1:-1] if isinstance(line, dict)}
    assert HOSTILE in boxes and boxes["INBOX"]["proved"] == boxes["INBOX"]["on_source"] == 6, boxes
    messages = [line for line in lines if isinstance(line, list)]
    bodies = {hashlib.sha256(text).hexdigest() for name in ("INBOX", HOSTILE) for text in site.texts(user, "source", name)}
    assert len(messages) == 7 and {m[4] for m in messages} == bodies and all(m[5] == "bytes" and m[3] for m in messages), messages
    assert lines[-1] == {"mailboxes": len(boxes), "messages": 7, "bytes": sum(m[2] for m in messages), "without_digest": 0}

    sha256 = answer["proof"]["sha256"]
    flips = [e for e in site.ferry.ctl("audit", user)[1]["audit"] if e["what"] == "flip" and "proof" in (e["reason"] or "")]
    assert len(flips) == 1 and sha256 in flips[0]["reason"], flips
    with open(os.path.join(site.ferry.folder, "journal", "flips"), encoding="ascii") as f:
        assert any(json.loads(line).get("proof", "").startswith(sha256) for line in f if line.strip() and user in line)
    assert check(site, user, path, sha256=sha256) == ([], 7, 0, 0, sha256)


def test_one_byte_makes_it_wrong(site, tmp_path):
    user = site.letters(site.user("byte"), *(LETTER % i for i in range(4)))
    site.move(user)
    _, path, answer = proof_of(site, user, tmp_path)
    whole, sha256 = path.read_bytes(), answer["proof"]["sha256"]
    box = site.target.box(user, "INBOX")
    body = box.messages[2].body
    box.messages[2].body = body.replace(b"text", b"tExt")
    assert [d.kind for d in check(site, user, path)[0]] == ["body"]
    box.messages[2].body = body
    removed = box.messages.pop(1)
    assert [d.kind for d in check(site, user, path)[0]] == ["gone"]
    box.messages.insert(1, removed)
    assert not check(site, user, path, sha256=sha256)[0]

    digit = whole.index(b'"bytes"') - 5  # of a message's SHA-256
    other = b"0" if whole[digit:digit + 1] != b"0" else b"1"
    path.write_bytes(whole[:digit] + other + whole[digit + 1:])
    assert [d.kind for d in check(site, user, path, sha256=sha256)[0]] == ["body", "body", "proof"]
    path.write_bytes(whole[:-1])
    with pytest.raises(compare.Broken):
        check(site, user, path)
    run = subprocess.run([sys.executable, "-B", compare.__file__, "--proof", str(path), "-", "-"], capture_output=True, text=True, timeout=30,
                         check=False)
    assert run.returncode == 1 and "cut off" in run.stdout, run

    stored = answer["file"]
    with open(stored, "r+b") as f:
        f.seek(digit)
        f.write(other)
    status, out, err = site.ferry.ctl_raw("report", user, "--proof")
    assert status == 1 and not out and "is not what was written before the switch-over" in err, (out, err)
    moved = tmp_path / "moved"
    shutil.move(stored, moved)
    for make in (lambda: os.symlink(moved, stored), lambda: os.mkfifo(stored), lambda: os.mkdir(stored)):
        make()  # nothing but a file is read, and nothing is waited for
        status, out, err = site.ferry.ctl_raw("report", user, "--proof")
        assert status == 1 and not out and "can't be read" in err and "SHA-256" not in err, (out, err)
        os.rmdir(stored) if os.path.isdir(stored) and not os.path.islink(stored) else os.unlink(stored)
    status, out, err = site.ferry.ctl_raw("report", user, "--proof")
    assert status == 1 and not out and f"by the migrator {answer['proof']['migrator']}, as proofs/" in err, (out, err)


def test_back_and_forth_each_move_has_its_own(site, tmp_path):
    user = site.letters(site.user("back"), *(LETTER % i for i in range(3)))
    site.move(user)
    there, _, first = proof_of(site, user, tmp_path)
    site.target.add(user, "INBOX", LETTER % 8)
    assert site.ferry.ctl("flip", user, "--to", "old", "--reason", "asked for")[0] == 0
    site.wait(user, "held")
    back, path, second = proof_of(site, user, tmp_path)
    assert (back[0]["source"], back[0]["target"]) == ("new", "old") and len(back) == len(there) + 1
    # the sides of this move
    sides = {"old": site.connect(user, "target"), "new": site.connect(user, "source")}
    assert compare.check_proof(str(path), sides)[:2] == ([], 4)
    site.source.written_by_migrators.clear()  # it was the target
    assert site.ferry.ctl("release", user)[0] == 0
    site.move(user)
    again, path, third = proof_of(site, user, tmp_path)
    assert (again[0]["source"], again[0]["target"]) == ("old", "new") and check(site, user, path)[:2] == ([], 4)
    assert len({x["proof"]["sha256"] for x in (first, second, third)}) == 3
    assert all(os.path.exists(x["file"]) for x in (first, second, third))
    hashes = [e["reason"] for e in site.ferry.ctl("audit", user)[1]["audit"] if "proof" in (e["reason"] or "")]
    assert len(hashes) == 3, hashes


def test_a_flip_by_force_has_none(site):
    user = site.letters(site.user("force"), LETTER % 1)
    site.move(user)
    assert site.ferry.ctl("flip", user, "--to", "old", "--force", "--yes", "--reason", "test")[0] == 0
    site.wait(user, "held")
    status, _, err = site.ferry.ctl_raw("report", user, "--proof")
    assert status == 1 and "there is no proof" in err, err


def test_a_disk_that_takes_none_stops_the_move_and_nothing_else(site, tmp_path):
    proofs = os.path.join(site.ferry.folder, "journal", "proofs")
    user = site.letters(site.user("full"), LETTER % 1)
    shutil.move(proofs, tmp_path / "proofs")
    try:
        site.stays(user, "^journal: .*the proof can't be kept: .*No such file")
        assert not site.ferry.route(user).get("proof") and not [e for e in site.ferry.ctl("audit", user)[1]["audit"] if e["what"] == "flip"]
    finally:  # and then it goes by itself, soon
        shutil.move(tmp_path / "proofs", proofs)
    site.wait(user, "flipped")
    proof_of(site, user, tmp_path)


def proofs_in(site):
    return set(os.listdir(os.path.join(site.ferry.folder, "journal", "proofs")))


def killed(site, user, point, folder, *more):
    """Moves an account by a migrator with a disk of its own, which dies at this point."""
    site.copy(user)
    site.migrator.stop()
    dies = site.ferry.migrator(env={"IMAPFERRY_FAULT": f"{point}:1:kill"}, migrator={"journal_dir": str(folder)})
    site.start(user, "--now", *more)
    net.wait_until("its death", lambda: dies.process.poll() is not None)
    dies.kill()
    site.migrator = site.ferry.migrator()
    site.wait(user, "flipped")


@pytest.mark.parametrize("point", ["proof.sent", "proof.answered", "script.flip.sent"])
def test_killed_before_the_flip_another_one_proves_anew(site, tmp_path, point):
    user = site.letters(site.user("dies"), LETTER % 1)
    killed(site, user, point, tmp_path / "own")
    _, path, _ = proof_of(site, user, tmp_path)
    assert check(site, user, path)[:2] == ([], 1)


def test_killed_in_the_flip_its_proof_is_the_one(site, tmp_path):
    user = site.letters(site.user("dies"), LETTER % 1)
    killed(site, user, "script.flip.answered", tmp_path / "own")
    status, answer = site.ferry.ctl("report", user, "--proof")
    assert status == 1 and not answer["whole"] and "here it can't be read" in answer["error"], answer
    [name] = os.listdir(tmp_path / "own" / "proofs")
    text = (tmp_path / "own" / "proofs" / name).read_bytes()
    assert hashlib.sha256(text).hexdigest() == answer["proof"]["sha256"] and answer["file"].endswith(name)
    status, out, _ = site.ferry.ctl_raw("report", user, "--proof", migrator={"journal_dir": str(tmp_path / "own")})
    assert status == 0 and out.encode() == text


def test_what_was_forgotten_is_erased(site, tmp_path):
    user = site.letters(site.user("gone"), LETTER % 1)
    before = proofs_in(site)
    site.move(user)
    proof_of(site, user, tmp_path)
    assert len(proofs_in(site) - before) == 1
    status, answer = site.ferry.ctl("forget", user, "--gone", "--reason", "left us")
    assert status == 0, answer
    net.wait_until("the proof of who was forgotten is erased", lambda: proofs_in(site) == before)
    again = site.ferry.migrator()  # its journal knows the switch-over, which the store does not
    assert not again.find("event=flips_unknown") and not site.ferry.ctl("status")[1]["paused"]
