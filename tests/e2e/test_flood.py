"""What strangers can take from the proxy: memory, places, and the time of those who have signed in."""
import collections
import os
import re
import select
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import net, redisd
from harness.ferry import Ferry, backend
from harness.scene import Wire

# What a client that does not read may cost here. The kernel's buffers are not ours; a sanitizer's allocator adds its part:
# 160 to 450 KB were measured, on an idle machine and on a busy one. Without bounds it is 13 MiB and more.
MEMORY_MAX = 800_000
CLIENTS = 10
BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")


@pytest.fixture(scope="module")
def ferry(server, new, authority, cert):
    os.environ["IMAPFERRY_ASAN_OPTIONS"] = "quarantine_size_mb=1:"
    store = redisd.Redis(port=net.free_port())
    made = Ferry(store, {"old": {"address": server.url()}, "new": backend(new, ca=authority.ca)}, cert,
                 {"migration": {"trigger": "manual"}})
    made.init()
    yield made
    try:
        made.close()
    finally:
        del os.environ["IMAPFERRY_ASAN_OPTIONS"]
        store.close()


def port_of(proxy, listener=0):
    return int(proxy.addresses[listener].rpartition(":")[2])


def dial(proxy, source, listener=0):
    """A socket from this address of the loopback."""
    s = socket.socket()
    s.bind((source, 0))
    s.settimeout(15)
    s.connect(("127.0.0.1", port_of(proxy, listener)))
    return s


class From(Wire):
    """A Wire from another address of the loopback: another network."""

    def __init__(self, proxy, source, listener=0):  # pylint: disable=super-init-not-called
        self.socket = dial(proxy, source, listener)
        self.buffer = b""


def login_from(proxy, source, listener=0):
    w = From(proxy, source, listener)
    assert w.read_line().startswith(b"* OK ")
    assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
    return w


def push(wires, data, seconds=20):
    """Sends what each connection takes, until none has taken any for half a second; nothing is read. How much it was."""
    sent = [0] * len(wires)
    for w in wires:
        w.socket.setblocking(False)
    end, moved = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end and time.monotonic() - moved < 0.5:
        for i, w in enumerate(wires):
            try:
                n = w.socket.send(data[sent[i]:sent[i] + (1 << 18)])
            except (BlockingIOError, ConnectionError):
                n = 0
            if n:
                sent[i], moved = sent[i] + n, time.monotonic()
    return sent


def end(proxy, connections):
    """Nobody is left whom it would have to say good-bye to."""
    for c in connections:
        c.close()
    proxy.stop()


# ---- memory


def test_answers_that_a_stranger_does_not_take_cost_nothing(ferry):
    proxy = ferry.proxy()
    wires = [From(proxy, "127.0.0.3") for _ in range(CLIENTS)]
    for w in wires:
        w.read_line()
    before = proxy.memory()
    push(wires, b"a CAPABILITY\r\n" * 235_000)
    grown = (proxy.memory() - before) / CLIENTS
    assert grown < MEMORY_MAX, f"{grown} bytes a connection"
    proxy.wait(r"event=session_end why=many_commands")
    end(proxy, [*wires, login_from(proxy, "127.0.0.4")])


def test_commands_before_login_have_an_end(ferry):
    proxy = ferry.proxy()
    w = From(proxy, "127.0.0.3")
    w.send(b"".join(b"t%d NOOP\r\n" % i for i in range(300)))
    lines = w.rest()
    assert [x for x in lines if b" OK NOOP" in x] == [b"t%d OK NOOP completed" % i for i in range(100)]
    assert lines[-1] == b"* BYE Too many commands before login"
    proxy.stop()


def test_many_commands_at_once_are_answered_in_order_though_others_get_their_turn(ferry):
    proxy = ferry.proxy()
    w = From(proxy, "127.0.0.3")
    w.send(b"".join(b"t%d NOOP\r\n" % i for i in range(90)) + b"a LOGIN ann secret\r\nb NOOP\r\n")
    w.socket.shutdown(socket.SHUT_WR)
    answers = [x.split()[0] for x in w.rest() if not x.startswith(b"*")]
    assert answers == [b"t%d" % i for i in range(90)] + [b"a", b"b"]
    proxy.stop()


@pytest.mark.parametrize("command", [b"a ID NIL\r\n", b"a XFROB\r\n", b"a ID (\"k\" {1+}\r\nv)\r\n"])
def test_answers_of_ours_that_a_user_does_not_take_cost_nothing(ferry, command):
    proxy = ferry.proxy()
    wires = [login_from(proxy, "127.0.0.3") for _ in range(CLIENTS)]
    before = proxy.memory()
    sent = push(wires, command * (8_000_000 // len(command)))
    grown = (proxy.memory() - before) / CLIENTS
    assert grown < MEMORY_MAX, f"{grown} bytes a connection"
    assert max(sent) < 8_000_000, "it was read on"
    for w in wires:  # it goes on where one of them reads
        w.socket.setblocking(True)
        w.socket.settimeout(15)
    for _ in range(5000):
        assert re.match(rb"a (OK|BAD)|\* ID", wires[0].read_line())
    end(proxy, wires)


# ---- places


def small(ferry, descriptors, **options):
    return ferry.proxy(wrapper=("prlimit", f"--nofile={descriptors}:{descriptors}"), proxy=dict({"threads": 1}, **options))


@pytest.mark.parametrize("descriptors,sources", [(200, 1), (200, 60), (1024, 1), (1024, 300)])
def test_idle_strangers_never_keep_the_next_network_out(ferry, descriptors, sources):
    proxy = small(ferry, descriptors)
    strangers = []
    for i in range(min(descriptors, 600)):
        source = f"127.1.{i % sources // 250}.{1 + i % sources % 250}"
        strangers.append(dial(proxy, source))
    began = time.monotonic()
    strangers.append(login_from(proxy, "127.0.0.9"))
    assert time.monotonic() - began < 10
    ends = strangers[0].recv(4096) + strangers[0].recv(4096)
    while (more := strangers[0].recv(4096)):
        ends += more
    assert ends.endswith(b"* BYE [UNAVAILABLE] Too many connections, please try again later\r\n"), ends
    for _ in range(20):  # from the network of the strangers too: the oldest goes first
        login_from(proxy, "127.1.0.1").close()
    lines = [x for x in proxy.lines if x and "event=crowd" in x]
    assert 1 <= len(lines) <= 3 and not proxy.find(r"why=crowd"), lines
    end(proxy, strangers)


def test_one_network_can_have_half_of_the_crowd(ferry):
    proxy = small(ferry, 200)
    first = login_from(proxy, "127.0.0.2")
    strangers = [dial(proxy, "127.0.0.3") for _ in range(60)]
    last = login_from(proxy, "127.0.0.4")
    said = re.search(r"connections=(\d+) max=(\d+)", proxy.wait(r"event=crowd .*").group(0))
    assert int(said[1]) <= int(said[2]) // 2 + 2, said.group(0)
    assert first.command(b"b", b"NOOP")[-1].startswith(b"b OK")
    end(proxy, [first, last, *strangers])


def test_signed_in_sessions_are_not_cut_off_where_descriptors_end(ferry):
    """Who comes then waits, and gets in when one of them has gone."""
    proxy = small(ferry, 200, login_timeout="60s")
    live = []
    while len(live) < 100:
        w = From(proxy, f"127.2.0.{1 + len(live)}")
        w.socket.settimeout(1.5)
        try:
            w.read_line()
        except TimeoutError:
            break
        w.socket.settimeout(15)
        assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
        live.append(w)
    assert 40 <= len(live) < 60, len(live)
    assert live[0].command(b"b", b"NOOP")[-1].startswith(b"b OK")
    for gone in live[1:3]:
        gone.close()
    w.socket.settimeout(15)
    assert w.read_line().startswith(b"* OK ")
    assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
    end(proxy, [w, *live])


# ---- time


def hello():
    """A ClientHello of the real thing."""
    import ssl  # pylint: disable=import-outside-toplevel
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    talk = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()
    return outgoing.read()


def answered(sockets):
    return len(select.select(sockets, [], [], 0)[0])


def test_handshakes_that_do_not_go_on_leave_places_for_others(ferry, authority):
    """More of them than may be under way: the next network's handshake begins at once, as nothing but a turn is waited for."""
    proxy = ferry.proxy(listen=("imaps://127.0.0.1:0",), proxy={"tls_timeout": "60s"})
    said = hello()
    stuck = []
    for i in range(400):
        stuck.append(dial(proxy, f"127.0.1.{1 + i % 2}"))
        stuck[-1].sendall(said)
    net.wait_until("answers", lambda: answered(stuck) >= 128)
    w = Wire(proxy.addresses[0], ca=authority.ca)
    assert w.read_line().startswith(b"* OK ")
    assert answered(stuck) < 256
    assert w.command(b"a", b"LOGIN ann secret")[-1].startswith(b"a OK ")
    end(proxy, [w, *stuck])


def test_live_session_and_lease_under_both_floods(ferry):
    """Bounded by the work that was done, not by a clock: a NOOP is answered while thousands of commands wait."""
    proxy = ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"))
    live, said = login_from(proxy, "127.0.0.2"), hello()
    for i in range(3):
        for j in range(60):
            s = dial(proxy, f"127.0.3.{1 + j % 8}", j % 2)
            s.sendall(said if j % 2 else b"a CAPABILITY\r\n" * 1000)
            s.close()
        assert live.command(b"b%d" % i, b"NOOP")[-1].startswith(b"b%d OK" % i)
    assert not proxy.find(r"event=lease_lapsed")
    end(proxy, [live])


def guesses(proxy, seconds):
    """Passwords for names that nobody has, from 200 networks, on as many connections as there is time for; how many."""
    end_of, n, open_ones = time.monotonic() + seconds, 0, collections.deque()
    while time.monotonic() < end_of:
        s = dial(proxy, f"127.3.0.{1 + n % 200}")
        s.sendall(b"a LOGIN user%d wrong\r\n" % (n % 50))
        open_ones.append(s)
        n += 1
        if len(open_ones) > 100:
            open_ones.popleft().close()
    for s in open_ones:
        s.close()
    return n


def test_floods_of_all_kinds_at_a_proxy_of_many_threads(ferry):
    """Handshakes that go no further, pipelined commands, connections that say nothing, and guesses, all at once: sessions of each
    thread are answered, others sign in, no lease lapses, and the log says who it was in a few lines."""
    proxy = ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"),
                        proxy={"threads": 4, "lease": "10s", "lease_long": "60s", "login_delay": "1s"})
    live = [login_from(proxy, f"127.0.0.{10 + n}") for n in range(12)]
    folder, before = net.temp_folder("flood"), proxy.memory()
    flooder, file = os.path.join(folder, "flood"), os.path.join(folder, "hello")
    try:
        subprocess.run(["cc", "-D_GNU_SOURCE", "-o", flooder, os.path.join(BENCH, "flood.c")], check=True)
        with open(file, "wb") as f:
            f.write(hello())
        floods = [subprocess.Popen([flooder, kind, str(port_of(proxy, listener)), what, count, "1"], stdout=subprocess.DEVNULL)
                  for kind, listener, what, count in (("hello", 1, file, "600"), ("pipe", 0, "a CAPABILITY", "8"), ("idle", 0, "-", "600"))]
        with ThreadPoolExecutor(1) as pool:
            guessing, rounds = pool.submit(guesses, proxy, 1), 0
            while not guessing.done() or rounds < 3:
                for w in live:
                    assert w.command(b"n%d" % rounds, b"NOOP")[-1].startswith(b"n%d OK" % rounds)
                login_from(proxy, "127.0.0.9").close()
                rounds += 1
            n = guessing.result()
        assert [f.wait(30) for f in floods] == [0, 0, 0]
    finally:
        net.remove_folder(folder)
    assert n > 50 and not proxy.find(r"event=lease_lapsed")
    assert len(proxy.find("event=login_failed")) <= 4 * 100 * 2  # of two periods
    assert proxy.memory() - before < 200_000_000  # places, handshakes and the sanitizer's part
    end(proxy, live)


def test_log_lines_of_strangers_are_summed(ferry):
    """The first ones of a network stand in the log; of the others one line says how many, and whose."""
    proxy = ferry.proxy(proxy={"threads": 1})
    wires = [From(proxy, "127.0.3.7") for _ in range(70)] + [From(proxy, "127.0.3.8")]
    for w in wires:
        w.line(b"a LOGIN nobody wrong")
    for w in wires:
        w.until(b"a NO [AUTHENTICATIONFAILED]")
        w.close()
    proxy.wait_count(r"event=login_failed .* peer=127\.0\.3\.8:", 1)
    proxy.stop()
    assert len(proxy.find(r"event=login_failed .* peer=127\.0\.3\.7:")) == 50
    said = re.search(r'ends=(\d+) logins=(\d+) worst="127\.0\.3\.7 (\d+), 127\.0\.3\.8 (\d+)"', "".join(x or "" for x in proxy.lines))
    assert int(said[2]) == 20 and int(said[3]) >= 70 and int(said[4]) >= 1, said


@pytest.mark.parametrize("line", [b"\r\n", b"a ID NIL\r\n"])
def test_commands_that_are_answered_here_leave_turns_for_others(ferry, line):
    """Counted by answers, not by a clock: those to a NOOP of somebody else stand before most of a flood's. All came at once,
    while the proxy was stopped."""
    proxy = ferry.proxy()
    live, wires = login_from(proxy, "127.0.0.2"), [login_from(proxy, "127.0.0.3") for _ in range(10)]
    os.kill(proxy.process.pid, signal.SIGSTOP)
    data = line * 3000
    for w in wires:
        w.send(data)
    live.line(b"b NOOP")
    os.kill(proxy.process.pid, signal.SIGCONT)
    assert live.until(b"b ")[-1].startswith(b"b OK")
    said = sum(w.recv(1 << 20, socket.MSG_DONTWAIT | socket.MSG_PEEK).count(b"\n")
               for w in select.select([w.socket for w in wires], [], [], 0)[0])
    assert said < 3000 * len(wires) / 2, said
    end(proxy, [live, *wires])
