"""Mail programs that keep what they have read, before and after a move between real servers (tests/view/)."""
import zlib

import pytest

from view.account import View
from view.scene import FEW, PAIRS, Scene
from view.tap import count, inflated


def test_what_a_client_is_sent_is_counted():
    data = (b'* 1 FETCH (UID 5 BODY[] {31}\r\n* 9 FETCH (BODY[] {3}\r\nabc)\r\n\r\n FLAGS (\\Seen))\r\n'
            b'* 2 FETCH (FLAGS () BODY[HEADER.FIELDS (SUBJECT)] "x")\r\n* 3 FETCH (RFC822.SIZE 10)\r\na OK BODY[] done\r\n')
    seen = count(data)
    assert (seen.bodies, seen.headers, seen.size) == (1, 1, len(data))
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = b"* OK hello\r\nc OK DEFLATE active\r\n" + packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert inflated(packed, b"c COMPRESS DEFLATE\r\n\x10").endswith(data) and inflated(packed, b"c NOOP\r\n") == packed


@pytest.fixture(scope="module")
def moved():
    """Both servers spell names alike, and no more: their numbers differ. Each client is then led past the proxy."""
    with Scene("Dovecot", "Dovecot.", view=View(big=60), numbers="none") as scene:
        scene.begin()
        scene.judge(scene.again())
        scene.move().close()
        scene.past_the_proxy()
        yield scene, {client.name: done for client, done in scene.again().items()}


def test_mail_programs_complain_of_other_numbers(moved):
    """The control: without a view each of them says so, or transfers all of it once more."""
    scene, done = moved
    assert len(done["mbsync"].validity) == len(done["offlineimap"].validity) + 1 == len(scene.view.names)
    assert done["mbsync"].seen.headers == done["neomutt"].seen.headers == done["imapflow"].seen.bodies == scene.view.count
    for synced in done.values():
        assert synced.faults()


def test_a_change_at_the_server_is_seen_as_a_difference(moved):
    """The judge sees one flag that a client does not hold."""
    scene, _ = moved
    client = next(x for x in scene.clients if x.name == "imapflow")
    scene.judge({client: client.sync()})
    levels, messages = next((k, v) for k, v in scene.view.left.items() if v)
    mark = next(iter(messages))
    kept = messages[mark]
    messages[mark] = kept ^ {"\\Flagged"}
    with pytest.raises(AssertionError, match=mark):
        scene.judge({client: client.sync()})
    messages[mark] = kept
    del scene.view.left[levels][mark]
    with pytest.raises(AssertionError, match=mark):
        scene.judge({client: client.sync()})
    scene.view.left[levels][mark] = kept


@pytest.mark.parametrize("old,new", PAIRS)
def test_nothing_is_transferred_again(old, new):
    """By the numbers that the target was told, or by a map. The first pair has all programs, and more mail."""
    more = {} if (old, new) == PAIRS[0] else {"kinds": FEW, "view": View(big=40)}
    with Scene(old, new, **more) as scene:
        scene.whole()


@pytest.mark.parametrize("new", ["Dovecot", "UIDPLUS"])
def test_mail_programs_are_at_work_during_the_move(new):
    """None loses its connection, has anything to complain of, or reads anything again: with numbers told, and by a map."""
    with Scene("Dovecot", new, kinds=FEW, view=View(big=40)) as scene:
        scene.begin()
        done = scene.move_under_clients()
        faults = [f"{client.name}: {x}" for client, each in done.items() for synced in each for x in synced.faults()]
        assert not faults, "\n".join(faults[:40])
        assert all(len(each) > 2 for each in done.values())
        scene.later()


@pytest.mark.parametrize("new", ["Dovecot.", "Cyrus."])
def test_the_proxy_can_be_taken_away(new):
    """Where both servers spell names alike, and the new one was told its numbers."""
    with Scene("Dovecot", new, kinds=FEW, view=View(big=40)) as scene:
        scene.whole()
        assert set(scene.ferry.user(scene.user)["tiers"]) == {"T0"}
        scene.past_the_proxy()
        scene.judge(scene.again())
        scene.later()
