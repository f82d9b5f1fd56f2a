"""The LMTP listener in front of servers that do what a test says: whose answer each recipient gets, and what must not happen."""
import re
import socket

import pytest

from fakes.fake_lmtp import FakeLmtp, Hold
from harness import net
from harness.ferry import Section, standing
from harness.lmtp import Gone, Mta, letter

SETTINGS = {
    "delivery": {"domains": ["example.org"]},
    "lmtp": {"listen": ["inet://127.0.0.1:0"], "hold_max": "5s"},
    "migration": {"trigger": "manual"},
}
OLD, NEW = "old@example.org", "new@example.org"


@pytest.fixture(name="servers", scope="module")
def fixture_servers():
    with FakeLmtp() as old, FakeLmtp() as new:
        yield {"old": old, "new": new}


@pytest.fixture(name="ferry", scope="module")
def fixture_ferry(servers):
    backends = {name: Section(None, {"address": f"imap://127.0.0.1:{i + 1}", "delivery": server.delivery})
                for i, (name, server) in enumerate(servers.items())}
    with standing(backends, settings=SETTINGS) as made:
        yield made


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(ferry):
    return ferry.proxy()


@pytest.fixture(name="old")
def fixture_old(servers):
    servers["old"].clear()
    return servers["old"]


@pytest.fixture(name="new")
def fixture_new(servers):
    servers["new"].clear()
    return servers["new"]


def door(proxy, kind="inet"):
    return proxy.wait(rf'listening on ({kind}://[^"\s]+)').group(1)


@pytest.fixture(name="mta")
def fixture_mta(ferry, proxy, old, new):
    set_route(ferry, NEW)
    set_route(ferry, OLD, backend="old", state="held")
    with Mta(door(proxy)) as made:
        made.lhlo()
        yield made


def set_route(ferry, user, **fields):
    generation = ferry.redis.client().hget("imapferry:store", "generation")
    ferry.redis.client().hset(f"imapferry:route:{user}", mapping={
        "backend": "new", "state": "settled", "epoch": 4, "source": "old", "target": "new", "generation": generation, **fields})


def codes(answers):
    return [a[:9].rstrip() for a in answers]


# ---- whose answer it is

def test_each_recipient_is_delivered_where_its_route_says(mta, old, new):
    message = letter("one") + b".a dot\r\n..two\r\n\r\n"
    assert codes(mta.deliver([OLD, NEW, "nobody-yet@example.org"], message)) == [b"250 2.0.0"] * 3
    assert old.messages == [("somebody@elsewhere.example", who, message) for who in (OLD, "nobody-yet@example.org")]
    assert new.messages == [("somebody@elsewhere.example", NEW, message)]


def test_answers_come_in_the_order_of_rcpt(mta, old, new):
    old.says["END"] = lambda _, who: b"452 4.2.2 full " + who
    new.says["END"] = lambda _, who: b"250-2.0.0 saved\r\n250 2.0.0 for " + who
    answers = mta.deliver([NEW, OLD, f"new+x@example.org", "old+x@example.org"], letter("order"))
    assert answers == [b"250-2.0.0 saved\n250 2.0.0 for new@example.org", b"452 4.2.2 full old@example.org",
                       b"250-2.0.0 saved\n250 2.0.0 for new+x@example.org", b"452 4.2.2 full old+x@example.org"]
    assert len(new.messages) == 2 and not old.messages


def test_a_server_that_goes_behind_the_last_dot(mta, old, new):
    old.says["END"] = None
    assert codes(mta.deliver([OLD, NEW], letter("lost"))) == [b"451 4.4.2", b"250 2.0.0"]
    assert len(old.taken) == len(new.messages) == 1, "and nothing is sent again"
    old.clear()
    assert codes(mta.deliver([OLD], letter("again"))) == [b"250 2.0.0"], "a new connection"


def test_a_server_that_goes_in_the_message(mta, old, new):
    old.says["BODY"] = None
    assert codes(mta.deliver([OLD, NEW], letter("torn", 300000))) == [b"451 4.4.2", b"250 2.0.0"]
    assert not old.taken and len(new.messages) == 1


def test_a_server_that_answers_before_the_last_dot(mta, old, new, proxy):
    old.says["BODY"] = b"250 2.0.0 I have seen an end"
    mark = proxy.mark()
    mta.begin(OLD, NEW)
    assert mta.command(b"DATA").startswith(b"354 ")
    mta.send_raw(letter("early"))
    proxy.wait('event=lmtp_server_failed backend=old detail="says without being asked: 250', since=mark)
    mta.send(b".")
    assert codes(mta.answer() for _ in range(2)) == [b"451 4.4.2", b"250 2.0.0"]
    assert not old.taken


def test_a_server_that_answers_nonsense(mta, old, new):
    for word in (b"OK", b"354 more", b"999 x"):
        old.clear()
        old.says["END"] = word
        assert codes(mta.deliver([OLD, NEW], letter("nonsense")))[0][:4] == b"451 ", word
        assert codes(mta.deliver([NEW], letter("nonsense"))) == [b"250 2.0.0"]


def test_a_server_that_takes_no_data(mta, old, new):
    old.says["DATA"] = b"451 4.3.1 no room"
    assert codes(mta.deliver([OLD, NEW], letter("no room"))) == [b"451 4.3.1", b"250 2.0.0"]
    assert codes(mta.deliver([OLD], letter("no room"))) == [b"451 4.3.1"], "to DATA"
    new.says["DATA"] = b"554 5.3.0 no"
    assert codes(mta.deliver([OLD, NEW], letter("no room"))) == [b"451 4.3.0"], "later, for both"
    old.clear()
    assert codes(mta.deliver([OLD], letter("room"))) == [b"250 2.0.0"]


def test_rcpt_is_answered_by_the_server(mta, old, new):
    old.says["RCPT"] = lambda _, line: b"550 5.1.1 \x1b[31mnobody" if b"old@" in line else b"421 4.3.2 closing"
    assert mta.begin(OLD, "other@example.org", NEW) == [b"550 5.1.1 ?[31mnobody", b"451 4.3.2 closing", b"250 2.1.5 OK"]
    assert mta.command(b"RSET") == b"250 2.0.0 OK"
    assert mta.begin(OLD) == [b"550 5.1.1 ?[31mnobody"]
    assert mta.command(b"DATA") == b"503 5.5.1 No valid recipients"
    assert mta.command(b"RSET") == b"250 2.0.0 OK"
    old.clear()
    old.says["MAIL"] = b"552 5.3.4 too large"
    assert mta.begin(OLD, NEW, OLD) == [b"552 5.3.4 too large", b"250 2.1.5 OK", b"552 5.3.4 too large"]


def test_a_connection_that_has_ended_meanwhile_is_made_anew(mta, old):
    assert codes(mta.deliver([OLD], letter("before"))) == [b"250 2.0.0"]
    old.cut()
    assert codes(mta.deliver([OLD], letter("behind"))) == [b"250 2.0.0"]
    assert len(old.messages) == 2


def test_a_server_that_is_down(ferry, old, new):
    gone = net.free_port()
    proxy = ferry.proxy(backends={"old": {"address": "imap://127.0.0.1:1", "delivery": f"lmtp:inet:127.0.0.1:{gone}"}})
    set_route(ferry, NEW)
    with Mta(door(proxy)) as mta:
        assert b"8BITMIME" in mta.lhlo(), "what is known of the other one"
        assert codes(mta.begin("a@example.org", NEW)) == [b"451 4.4.1", b"250 2.1.5"]
    proxy.wait("level=warn event=lmtp_server_failed backend=old ")


# ---- what is offered

def test_what_all_servers_have_is_offered(ferry, old, new):
    old.caps, new.caps = [b"8BITMIME", b"SIZE 1000000", b"SMTPUTF8", b"CHUNKING"], [b"PIPELINING", b"8BITMIME", b"SIZE 500"]
    set_route(ferry, NEW)
    proxy = ferry.proxy()
    try:
        with Mta(door(proxy)) as mta:
            assert mta.lhlo() == [b"PIPELINING", b"8BITMIME", b"SIZE 500", b"ENHANCEDSTATUSCODES"]
            assert mta.command(b"MAIL FROM:<a@b.example> SMTPUTF8").startswith(b"555 5.5.4")
            assert mta.command(b"MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME").startswith(b"250 ")
            assert mta.command(b"RCPT TO:<%s>" % NEW.encode()).startswith(b"250 ")
            assert b"MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME" in new.heard
            new.caps = [b"SIZE 500"]  # an older one takes its place
            new.cut()
            assert mta.command(b"RSET").startswith(b"250 ")
            assert mta.command(b"MAIL FROM:<a@b.example> BODY=8BITMIME").startswith(b"250 ")
            assert codes([mta.command(b"RCPT TO:<%s>" % NEW.encode())]) == [b"451 4.3.3"]
            assert b"8BITMIME" not in mta.lhlo()
    finally:
        old.caps = new.caps = list(FakeLmtp().caps)


def test_a_server_without_pipelining_gets_a_command_at_a_time(ferry, old):
    old.caps = [b"8BITMIME"]
    busy = []

    def rcpt(session, _):
        session.socket.setblocking(False)
        try:
            busy.append(session.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            pass
        session.socket.setblocking(True)
        return b"250 2.1.0 OK"
    try:
        with Mta(door(ferry.proxy())) as mta:
            mta.lhlo()
            old.says["MAIL"] = rcpt
            mta.send(b"MAIL FROM:<>", b"RCPT TO:<a@example.org>", b"RCPT TO:<b@example.org>", b"DATA")
            assert codes(mta.answer() for _ in range(4)) == [b"250 2.1.0", b"250 2.1.5", b"250 2.1.5", b"354 End d"]
            assert not busy
    finally:
        old.caps = list(FakeLmtp().caps)


# ---- freezes and flips

def test_a_recipient_is_held_for_the_length_of_a_freeze(ferry, proxy, mta, old, new):
    user = "frozen@example.org"
    set_route(ferry, user, backend="old", state="freezing", deadline=99999999999999)
    mta.send(b"MAIL FROM:<>", b"RCPT TO:<%s>" % user.encode(), b"DATA")
    assert mta.answer().startswith(b"250 ")
    proxy.wait(rf"event=lmtp_held user={user}")
    assert not old.heard or not any(user.encode() in x for x in old.heard + new.heard)
    set_route(ferry, user)
    assert mta.answer().startswith(b"250 ") and mta.answer().startswith(b"354 ")
    mta.send_raw(letter("held") + b".\r\n")
    assert mta.answer().startswith(b"250 ")
    assert [m[1] for m in new.messages] == [user] and not old.messages


def test_a_freeze_that_does_not_end(ferry, mta, old):
    user = "standing@example.org"
    set_route(ferry, user, backend="old", state="flipping")
    assert codes(mta.begin(user)) == [b"451 4.3.2"]


def test_an_account_that_moves_before_the_last_dot(ferry, mta, old, new):
    user = "leaving@example.org"
    set_route(ferry, user, backend="old", state="ready")
    mta.begin(user, OLD, NEW)
    assert mta.command(b"DATA").startswith(b"354 ")
    mta.send_raw(letter("moved"))
    set_route(ferry, user)
    mta.send(b".")
    assert codes(mta.answer() for _ in range(3)) == [b"451 4.3.2", b"451 4.3.2", b"250 2.0.0"]
    assert not old.taken and len(new.messages) == 1
    assert codes(mta.deliver([user, OLD], letter("moved"))) == [b"250 2.0.0"] * 2, "a mail server tries again"
    assert len(old.messages) == 1 and len(new.messages) == 2


def test_a_freeze_that_begins_in_the_message_holds_nothing_up(ferry, mta, old):
    user = "freezes@example.org"
    set_route(ferry, user, backend="old", state="ready")
    mta.begin(user)
    assert mta.command(b"DATA").startswith(b"354 ")
    set_route(ferry, user, backend="old", state="freezing", deadline=99999999999999)
    mta.send_raw(letter("late") + b".\r\n")
    assert mta.answer().startswith(b"250 ")
    assert len(old.messages) == 1


def test_no_dot_goes_out_before_the_client_has_sent_it(mta, old, proxy):
    mta.begin(OLD)
    mark = proxy.mark()
    assert mta.command(b"DATA").startswith(b"354 ")
    mta.send_raw(letter("half") + b".\r")
    mta.close()
    proxy.wait("event=lmtp_end .*why=client_gone", since=mark)
    net.wait_until("end at the server", lambda: old.torn)
    assert old.torn == [letter("half")] and not old.taken


# ---- smuggling

@pytest.mark.parametrize("end", (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"))
def test_an_end_that_is_none_is_refused(mta, old, new, proxy, end):
    mark = proxy.mark()
    mta.begin(OLD, NEW)
    assert mta.command(b"DATA").startswith(b"354 ")
    mta.send_raw(letter("first") + b"x" + end + b"MAIL FROM:<boss@example.org>\r\nRCPT TO:<old@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n")
    assert codes(mta.answer() for _ in range(2)) == [b"554 5.6.0"] * 2
    assert not old.taken and not new.taken
    proxy.wait("level=warn event=lmtp_odd_data ", since=mark)
    assert codes(mta.deliver([OLD], letter("next"))) == [b"250 2.0.0"]


def test_stray_line_ends_without_a_dot_pass_as_they_are(mta, old):
    message = letter("stray") + b"a\nb\rc\0d\r\r\n\n\r\n"
    assert codes(mta.deliver([OLD], message)) == [b"250 2.0.0"]
    assert old.messages[0][2] == message


# ---- commands

def test_what_is_no_command(proxy, mta):
    with Mta(door(proxy)) as early:
        assert codes([early.command(b"MAIL FROM:<>"), early.command(b"DATA")]) == [b"503 5.5.1"] * 2
    for line, code in ((b"EHLO x", b"500 5.5.1"), (b"EXPN x", b"500 5.5.2"), (b"", b"500 5.5.2"), (b"RCPT TO:<a@example.org>", b"503 5.5.1"),
                       (b"VRFY a", b"252 2.5.0"), (b"NOOP x", b"250 2.0.0"), (b"DATA", b"503 5.5.1"), (b"x" * 5000, b"500 5.5.2"),
                       (b"RCPT TO:<%s@example.org>" % (b"x" * 300), b"501 5.1.3"), (b"NOOP\nQUIT", b"500 5.5.2"), (b"NOOP\r\r", b"500 5.5.2"),
                       (b"MAIL FROM:<\xc3\xa4@b.example>", b"553 5.6.7"), (b"MAIL FROM:<a@b.example>", b"250 2.1.0"),
                       (b"MAIL FROM:<a@b.example>", b"503 5.5.1"), (b"RCPT TO:<\xc3\xa4@example.org>", b"553 5.6.7"),
                       (b"RCPT TO:<a@elsewhere.example>", b"451 4.3.5"), (b"DATA", b"503 5.5.1"), (b"RSET", b"250 2.0.0"),
                       (b"QUIT", b"221 2.0.0")):
        assert codes([mta.command(line)]) == [code], line
    assert mta.ended() is True


def test_a_connection_of_errors_ends(mta):
    with pytest.raises(Gone):
        for _ in range(100):
            mta.command(b"GET / HTTP/1.1")


def test_what_follows_a_refused_data_is_no_command(mta, old):
    mta.send(b"MAIL FROM:<>", b"RCPT TO:<@elsewhere.example>", b"DATA", b"MAIL FROM:<boss@example.org>", b"RCPT TO:<old@example.org>")
    assert codes(mta.answer() for _ in range(4))[-1] == b"421 4.5.0"
    assert mta.ended() is True and not old.heard


def test_what_comes_while_data_is_being_refused_is_no_command(mta, old):
    old.says["DATA"] = hold = Hold(b"451 4.3.1 no room")
    mta.begin(OLD)
    mta.send(b"DATA")
    hold.wait()
    mta.send(b"MAIL FROM:<boss@example.org>", b"RCPT TO:<old@example.org>")
    hold.go()
    assert codes(mta.answer() for _ in range(2)) == [b"451 4.3.1", b"421 4.5.0"]
    assert mta.ended() is True and not any(b"boss" in line for line in old.heard)


def test_a_client_that_goes_while_data_is_being_answered(mta, old, proxy):
    old.says["DATA"] = hold = Hold(b"354 go on")
    mark = proxy.mark()
    mta.begin(OLD)
    mta.send(b"DATA")
    hold.wait()
    mta.socket.shutdown(socket.SHUT_WR)
    hold.go()
    proxy.wait("event=lmtp_end .*why=client_gone", since=mark)
    assert not old.taken


def test_a_server_that_answers_data_as_nobody_does(mta, old):
    old.says["DATA"] = b"250 2.0.0 what?"
    connections = old.connections
    assert codes(mta.deliver([OLD], letter("odd"))) == [b"451 4.0.0"]
    old.clear()
    assert codes(mta.deliver([OLD], letter("again"))) == [b"250 2.0.0"]
    assert old.connections == connections + 2, "nobody knows whether the first one waits for a message"


def test_pipelined_transactions(mta, old, new):
    mta.send(b"MAIL FROM:<>", b"RCPT TO:<old@example.org>", b"RCPT TO:<new@example.org>", b"DATA")
    assert codes(mta.answer() for _ in range(4))[-1] == b"354 End d"
    mta.send_raw(letter("a") + b".\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<new@example.org>\r\nDATA\r\n")
    assert codes(mta.answer() for _ in range(5)) == [b"250 2.0.0", b"250 2.0.0", b"250 2.1.0", b"250 2.1.5", b"354 End d"]
    mta.send_raw(letter("b") + b".\r\nQUIT\r\n")
    assert codes(mta.answer() for _ in range(2)) == [b"250 2.0.0", b"221 2.0.0"]
    assert [m[2] for m in new.messages] == [letter("a"), letter("b")] and len(old.messages) == 1


def test_many_recipients(ferry, old):
    with Mta(door(ferry.proxy(lmtp={"max_recipients": 100}))) as mta:
        mta.lhlo()
        users = [f"many{i}@example.org" for i in range(101)]
        mta.send(b"MAIL FROM:<>", *(b"RCPT TO:<%s>" % u.encode() for u in users), b"DATA")
        answers = codes(mta.answer() for _ in range(103))
        assert answers == [b"250 2.1.0"] + [b"250 2.1.5"] * 100 + [b"452 4.5.3", b"354 End d"]
        mta.send_raw(letter("many") + b".\r\n")
        assert codes(mta.answer() for _ in range(100)) == [b"250 2.0.0"] * 100
        assert [m[1] for m in old.messages] == users[:100]


# ---- who may come, and the end of a proxy

def test_a_unix_socket_and_too_many_connections(ferry, old):
    path = f"{ferry.folder}/lmtp.sock"
    proxy = ferry.proxy(lmtp={"listen": [f"unix://{path}"], "max_connections": 1})
    with Mta(door(proxy, "unix")) as mta, Mta(f"unix://{path}", greeting=False) as other:
        assert other.answer().startswith(b"421 ") and other.ended() is True
        mta.lhlo()
        assert codes(mta.deliver(["a@example.org"], letter("unix"))) == [b"250 2.0.0"]


def test_mail_that_would_come_back(ferry):
    port = net.free_port()
    proxy = ferry.proxy(wait=False, lmtp={"listen": [f"inet://127.0.0.1:{port}"]},
                        backends={"new": {"address": "imap://127.0.0.1:2", "delivery": f"lmtp:inet:localhost:{port}"}})
    assert proxy.process.wait(20) == 1
    assert re.search(r'backend "new": its delivery, .* is this proxy itself', proxy.tail())
    proxy.kill()


def test_a_proxy_that_is_stopped_ends_what_is_under_way(ferry, old):
    proxy = ferry.proxy(proxy={"drain_time": "10s"})
    old.says["END"] = hold = Hold()
    with Mta(door(proxy)) as mta, Mta(door(proxy)) as idle, Mta(door(proxy)) as undecided:
        undecided.lhlo()
        undecided.begin()
        mta.lhlo()
        mta.begin(OLD)
        assert mta.command(b"DATA").startswith(b"354 ")
        proxy.process.terminate()
        assert idle.answer().startswith(b"421 4.3.2") and idle.ended() is True
        assert undecided.command(b"RSET").startswith(b"250 ") and undecided.answer().startswith(b"421 4.3.2")
        mta.send_raw(letter("last") + b".\r\n")
        hold.wait()
        hold.go()
        assert mta.answer().startswith(b"250 ") and mta.answer().startswith(b"421 4.3.2")
    proxy.wait("event=stopped")


def test_the_store_is_gone_before_the_last_dot(make_ferry, redis, old, new):
    backends = {"old": Section(None, {"address": "imap://127.0.0.1:1", "delivery": old.delivery}),
                "new": Section(None, {"address": "imap://127.0.0.1:2", "delivery": new.delivery})}
    ferry = make_ferry(backends, SETTINGS)
    proxy = ferry.proxy(proxy={"store_timeout": "500ms"})
    with Mta(door(proxy)) as mta:
        mta.lhlo()
        mta.begin(OLD)
        assert mta.command(b"DATA").startswith(b"354 ")
        redis.close()
        mta.send_raw(letter("unknown") + b".\r\n")
        assert codes([mta.answer()]) == [b"451 4.3.2"] and not old.taken
        assert codes(mta.begin(OLD)) == [b"451 4.3.0"]


def test_it_is_counted_and_logged(mta, proxy, old):
    mark = proxy.mark()
    old.says["END"] = lambda _, who: b"250 2.0.0 OK" if b"old@" in who else b"550 5.7.1 no"
    mta.deliver([OLD, "other@example.org"], letter("counted"))
    line = proxy.wait("event=lmtp_message .*", since=mark).group(0)
    assert re.search(r"delivered=1 deferred=0 refused=1", line), line
    proxy.wait(r'event=lmtp_not_delivered user=other@example.org backend=old answer="550 5.7.1 no"', since=mark)
