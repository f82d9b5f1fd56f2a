"""A new process of a proxy takes the place of the one that runs, under load, and nobody is refused. Whichever dies on the
way leaves the other serving."""
import array
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.daemon import program, sanitizer_environment
from harness.ferry import backend, standing
from harness.load import Load
from harness.monitor import ask, metrics
from harness.scene import TlsProgram, Wire, connect, new_user

USER = pwd.getpwnam("nobody")


@pytest.fixture(name="site", scope="module")
def fixture_site(cert):
    with FakeImap("old") as old, FakeImap("new") as new, \
            standing({"old": backend(old, "imap"), "new": backend(new, "imap")}, cert) as ferry:
        os.chown(ferry.folder, USER.pw_uid, USER.pw_gid)
        os.chmod(os.path.join(ferry.folder, "master.secret"), 0o644)
        yield ferry


class Place:
    """Where proxies follow one another: one id, one port, one upgrade socket."""

    def __init__(self, site, **options):
        self.site = site
        self.path = os.path.join(site.folder, f"up{net.free_port()}")
        self.port = net.free_port()
        self.listen = [f"imap://127.0.0.1:{self.port}"]
        self.options = dict({"threads": 2, "upgrade_socket": self.path, "id": os.path.basename(self.path)}, **options)

    def start(self, wait=True, env=None, **options):
        return self.site.proxy(self.listen, wait=wait, env=env, proxy={**self.options, **options})

    def refused(self):
        path = self.site.config("refused", proxy=dict(self.options, listen=self.listen))
        run = subprocess.run([program("imapferry-proxy"), "-c", path], capture_output=True, text=True, timeout=30, check=False,
                             env=sanitizer_environment(os.path.join(self.site.folder, "refused"), leaks=False))
        assert run.returncode == 1, run.stderr
        return run.stderr


@pytest.fixture(name="place")
def fixture_place(site):
    return Place(site)


def ended(daemon):
    daemon.process.wait(20)
    daemon.stop()


def stop(daemon):
    daemon.signal(signal.SIGSTOP)
    stands(daemon)


def stands(daemon):
    """Waits until no thread of it runs any more."""
    def stopped():
        states = []
        for thread in os.listdir(f"/proc/{daemon.pid}/task"):
            with open(f"/proc/{daemon.pid}/task/{thread}/stat", encoding="ascii", errors="replace") as f:
                states.append(f.read().rpartition(")")[2].split()[0])
        return set(states) == {"T"}
    net.wait_until("it stands", stopped)


class Heir:
    """The side of the new process, played."""

    def __init__(self, path, token=b"0123456789abcdef" * 2):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.fds = []
        self.token = token

    def say(self, *texts):
        for text in texts:
            self.socket.send(text)

    def hello(self):
        self.say(b"hello 1 " + self.token)
        return self

    def hear(self):
        data, ancillary, _, _ = self.socket.recvmsg(2000, socket.CMSG_SPACE(64 * 4))
        for _, _, raw in ancillary:
            fds = array.array("i")
            fds.frombytes(raw[:len(raw) - len(raw) % 4])
            self.fds += fds
        return data

    def until(self, word):
        heard = []
        while not heard or not (heard[-1].startswith(word) or heard[-1] == b""):
            heard.append(self.hear())
        assert heard[-1].startswith(word), heard
        return heard

    def close(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def serves(place):
    with Wire(f"imap://127.0.0.1:{place.port}") as wire:
        wire.until(b"* OK")
        assert wire.login(new_user()).startswith(b"l1 OK")


# ---- as it is meant

def test_three_generations_under_load(site):
    """With more threads, then with fewer; an open session ends in good order, and one is in flight all the time."""
    place = Place(site, threads=1)
    first = place.start()
    with Load(place.port) as load:
        load.more(10)
        with connect(first) as open_session:
            open_session.login(new_user())
            second = place.start(threads=3)
            first.wait(r"event=upgraded process=%d " % second.pid)
            second.wait(r"event=upgrade_done")
            assert open_session.until(b"* BYE")[-1].startswith(b"* BYE")
        ended(first)
        load.more(20)
        third = place.start(threads=2)
        ended(second)
        load.more(20)
    load.check()
    third.stop()
    assert not os.path.exists(place.path)
    assert not first.find("id_taken") and not second.find("id_taken") and not third.find("id_taken")


def test_the_users_own_and_root_may(site):
    """Started as root both times, and both go on as the user."""
    place = Place(site, user=USER.pw_name)
    first = place.start()
    s = os.stat(place.path)
    assert s.st_mode & 0o777 == 0o600 and s.st_uid == USER.pw_uid
    second = place.start()
    ended(first)
    serves(place)
    second.stop()


def test_a_listener_more_and_one_less(site):
    """What both have is passed on, what is new is bound, what is left out closes with the old one; a UNIX socket's file stays."""
    place = Place(site)
    gone, more, path = net.free_port(), net.free_port(), os.path.join(site.folder, "clients.sock")
    common = place.listen + [f"imap+unix://{path}"]
    place.listen = common + [f"imap://127.0.0.1:{gone}"]
    first = place.start()
    inode = os.stat(path).st_ino
    place.listen = common + [f"imap://127.0.0.1:{more}"]
    second = place.start()
    ended(first)
    for url in place.listen:
        with Wire(url) as wire:
            assert wire.read_line().startswith(b"* OK")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gone))
    assert os.stat(path).st_ino == inode
    second.stop()
    assert not os.path.exists(path)


def inodes(port):
    """Of the sockets that listen at it."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        return {line.split()[9] for line in f if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")}


def test_a_listener_that_is_spelled_otherwise(place):
    """It is known by its address, and the new meaning holds at once: here that clients come by a balancer."""
    first = place.start()
    before = inodes(place.port)
    assert len(before) == 2
    place.listen = [f"imap://127.1:{place.port}?proxy_protocol"]
    second = place.start(trusted=["127.0.0.0/8"], allow_plaintext=True)
    ended(first)
    assert inodes(place.port) == before
    with Wire(f"imap://127.0.0.1:{place.port}") as wire:
        wire.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 143\r\n")
        wire.until(b"* OK")
        assert wire.login(new_user()).startswith(b"l1 OK")
    second.wait(r"event=login .* peer=192.0.2.7:4000 ")
    with Wire(f"imap://127.0.0.1:{place.port}") as wire:
        wire.line(b"a NOOP")
        assert wire.rest() == []
    second.stop()


def test_a_wider_and_a_narrower_address(place):
    """All addresses of the machine in place of one: that is another socket, which there is room for beside the one of before."""
    daemon = place.start()
    for host in ("0.0.0.0", "127.0.0.1", "[::]", "0.0.0.0"):
        place.listen = [f"imap://{host}:{place.port}"]
        following = place.start()
        ended(daemon)
        serves(place)
        daemon = following
    daemon.stop()


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))
def test_tls_sessions_go_on(site, authority, version):
    """By the keys that the first of them has made, in the third too, and a ticket of the third is good at nobody else."""
    place = Place(site)
    place.listen.append(f"imaps://127.0.0.1:{net.free_port()}")
    daemon = place.start()
    client = TlsProgram(authority.ca, version)
    assert not client.comes(daemon, 1)
    for _ in range(2):
        following = place.start()
        ended(daemon)
        daemon = following
        assert client.comes(daemon, 1)
    daemon.stop()
    daemon = place.start()  # one that follows nobody
    assert not client.comes(daemon, 1)
    daemon.stop()


def test_who_waits_in_the_queue_is_served_by_the_new_one(place):
    """The old one is stopped: what connects now waits in the kernel, and is not lost with it."""
    first = place.start()
    with Heir(place.path) as heir:
        heir.hello().until(b"id ")
        assert len(heir.fds) == 3  # one a thread, and the upgrade socket
        stop(first)
        waiting = [socket.create_connection(("127.0.0.1", place.port), timeout=15) for _ in range(8)]
        first.kill()
        served = []
        for fd in heir.fds[:2]:
            listener = socket.socket(fileno=os.dup(fd))
            listener.setblocking(False)
            while True:
                try:
                    served.append(listener.accept()[0])
                except BlockingIOError:
                    break
            listener.close()
        assert len(served) == len(waiting)
        for s in served + waiting:
            s.close()


# ---- who dies on the way

def test_the_new_one_dies_before_it_serves(place):
    first = place.start()
    with Load(place.port) as load:
        with Heir(place.path) as heir:
            heir.hello().until(b"id ")
            load.more(5)
        first.wait(r"event=upgrade_off .*why=\"it is gone\"")
        load.more(5)
        second = place.start()  # and the next one succeeds
        ended(first)
        load.more(5)
    load.check()
    second.stop()


def test_the_new_one_dies_when_it_is_to_say_drain(place):
    first = place.start()
    with Heir(place.path) as heir:
        heir.hello().until(b"id ")
        heir.say(b"serving")
        assert heir.hear() == b"yours"
    first.wait(r"event=upgrade_off .*why=\"it is gone\"")
    serves(place)
    first.stop()


def test_the_new_one_does_not_come_up(site, place):
    """Here for a key that can't be read: it takes nothing away with it."""
    path = os.path.join(site.folder, "clients2.sock")
    place.listen.append(f"imap+unix://{path}")
    first = place.start()
    place.options["tls_client_ca"] = "/nobody-has-this.pem"
    place.listen.append(f"imaps://127.0.0.1:{net.free_port()}")
    place.refused()
    del place.options["tls_client_ca"]
    place.listen.pop()
    place.listen.append("imap://192.0.2.1:1143")  # no address of this machine: after the sockets were taken over
    assert "192.0.2.1" in place.refused()
    first.wait("event=upgrade_off")
    place.listen.pop()
    serves(place)
    assert os.path.exists(path) and os.path.exists(place.path)
    second = place.start()
    ended(first)
    second.stop()


def test_the_old_one_dies_before_the_new_one_serves(site, place):
    """The new one waits for a store that does not answer, and serves all the same."""
    first = place.start()
    site.redis.signal(signal.SIGSTOP)
    try:
        second = place.start(wait=False, store_timeout="1s")
        first.wait(r"event=upgrade process=%d" % second.pid)
        first.kill()
        second.addresses = second.listeners(1)
        second.wait("event=upgrade_alone")
    finally:
        site.redis.signal(signal.SIGCONT)
    net.wait_until("the store", lambda: second.find("event=lease_renewed"))
    third = place.start()
    ended(second)
    serves(place)
    third.stop()


def test_the_id_comes_back(site, place):
    """It was lent to one that told it, and died."""
    first = place.start()
    key = f"{site.settings['redis'].get('prefix', 'imapferry')}:instances"

    def teller():
        return (site.redis.client().hget(key, "proxy/" + place.options["id"]) or "").split(" ")[0]
    net.wait_until("its id", lambda: teller())
    token = teller()
    with Heir(place.path) as heir:
        assert heir.hello().until(b"id ")[-1] == b"id " + token.encode()
        net.wait_until("it was given back", lambda: not teller())
        site.redis.client().hset(key, "proxy/" + place.options["id"], f"{heir.token.decode()} 99999999999999 elsewhere")
    net.wait_until("it is ours again", lambda: teller() == token)
    first.stop()


# ---- at each word

OF_THE_NEW_ONE = ("hello", "serving", "drain")
OF_THE_OLD_ONE = ("socket", "again", "tickets", "id", "yours", "draining")


def at(word, action):
    """Before it is said."""
    return {"IMAPFERRY_FAULT": f"upgrade.{word}.sent:1:{action}"}


def is_followed(place, daemon):
    """It serves, and has all that the next one needs."""
    serves(place)
    following = place.start()
    ended(daemon)
    serves(place)
    following.stop()


@pytest.mark.parametrize("word", OF_THE_NEW_ONE)
def test_the_new_one_stands_still(place, word):
    first = place.start()
    second = place.start(wait=False, env=at(word, "stop"))
    stands(second)
    serves(place)
    second.signal(signal.SIGCONT)
    second.wait("event=upgrade_done")
    ended(first)
    is_followed(place, second)


@pytest.mark.parametrize("word", OF_THE_NEW_ONE)
def test_the_new_one_is_killed(place, word):
    first = place.start()
    second = place.start(wait=False, env=at(word, "kill"))
    assert second.process.wait(20) == -signal.SIGKILL
    second.kill()
    is_followed(place, first)


@pytest.mark.parametrize("word", OF_THE_OLD_ONE)
def test_the_old_one_stands_still(place, word):
    first = place.start(env=at(word, "stop"))
    second = place.start(wait=False)
    stands(first)
    if word in ("yours", "draining"):
        serves(place)
    first.signal(signal.SIGCONT)
    second.wait("event=upgrade_done")
    ended(first)
    is_followed(place, second)


@pytest.mark.parametrize("word", OF_THE_OLD_ONE)
def test_the_old_one_is_killed(place, word):
    """Whatever it had said by then: the new one has the sockets, or binds them."""
    first = place.start(env=at(word, "kill"))
    second = place.start()
    assert first.process.wait(20) == -signal.SIGKILL
    first.kill()
    is_followed(place, second)


def test_the_new_one_stands_still_for_longer_than_it_is_waited_for(place):
    first = place.start()
    second = place.start(wait=False, env=at("drain", "stop"))
    first.wait(r'event=upgrade_off .*why="it took too long"', timeout=30)
    serves(place)
    second.signal(signal.SIGCONT)
    second.wait("event=upgrade_off")
    assert second.process.wait(20) == 1
    second.kill()
    is_followed(place, first)


def test_the_old_one_stands_still_for_longer_than_it_is_waited_for(place):
    """Both have the listeners until it goes on."""
    first = place.start(env=at("draining", "stop"))
    second = place.start()
    second.wait("event=upgrade_slow", timeout=30)
    serves(place)
    first.signal(signal.SIGCONT)
    second.wait("event=upgrade_done")
    ended(first)
    is_followed(place, second)


# ---- who comes

def test_two_at_once(place):
    first = place.start()
    with Heir(place.path) as heir:
        heir.hello().until(b"id ")
        assert "another upgrade is on its way" in place.refused()
        heir.say(b"serving")
        assert heir.hear() == b"yours"
        heir.say(b"drain")
        assert heir.hear() == b"draining"
        ended(first)


def test_an_old_one_that_hangs(place):
    """Before it has passed anything on, the new one can't start, and says why. Behind that, both serve what they have."""
    first = place.start()
    stop(first)
    assert "the process there does not answer" in place.refused()
    first.signal(signal.SIGCONT)
    serves(place)
    with Heir(place.path) as heir:
        heir.hello().until(b"id ")
        stop(first)
        heir.say(b"serving", b"drain")  # drain too early, but it can't be seen when that was said
        first.signal(signal.SIGCONT)
        assert heir.until(b"draining")[-1] == b"draining"
    ended(first)


def test_called_off_while_the_new_one_stood_still(place):
    """It finds "yours" and "off" behind each other, and the old one, which serves again, does not listen to it any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as old:
        old.bind(place.path)
        old.listen()
        old.settimeout(20)
        second = place.start(wait=False)
        speaks, _ = old.accept()
        with speaks:
            speaks.settimeout(20)
            assert speaks.recv(100).startswith(b"hello 1 ")
            speaks.sendmsg([b"again"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [old.fileno()]))])
            speaks.send(b"id " + b"0123456789abcdef" * 2)
            assert speaks.recv(100) == b"serving"
            stop(second)
            speaks.send(b"yours")
            speaks.send(b"off")
        second.signal(signal.SIGCONT)
        second.wait("event=upgrade_off .*goes on")
        assert second.process.wait(20) == 1
        assert not second.find("event=upgrade_done")
    second.kill()


KEY = b"5e" * 80


@pytest.mark.parametrize("tickets", [b"", b"1", b"1 ", b"x " + KEY, b"0 " + KEY, b"1 " + KEY[1:], b"1 " + KEY[2:], b"1 " + b"zz" + KEY[2:],
                                     b"1 " + KEY + KEY[:-2], b"1 " + KEY + b" "],
                         ids=["none", "time", "empty", "word", "never", "half", "short", "digits", "two", "blank"])
def test_ticket_keys_that_are_none(place, tickets):
    """Of a process of the same user that is no proxy, or of a version that nobody knows: the new one does not start on them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as old:
        old.bind(place.path)
        old.listen()
        old.settimeout(20)
        second = place.start(wait=False)
        speaks, _ = old.accept()
        with speaks:
            speaks.settimeout(20)
            assert speaks.recv(100).startswith(b"hello 1 ")
            speaks.sendmsg([b"again"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [old.fileno()]))])
            speaks.send(b"tickets " + tickets)
            assert second.process.wait(20) == 1
        second.wait("says what can't be understood")
    second.kill()


@pytest.mark.parametrize("words", [[b"hello 2 " + b"0" * 32], [b"hello 1 short"], [b"hello 1 " + b"x" * 32], [b"drain"], [b"x" * 1500],
                                   [b"hel"], [b"hello 1 " + b"0" * 32, b"drain"], [b"hello 1 " + b"0" * 32, b"serving", b"serving"]],
                         ids=["version", "short", "digits", "order", "long", "half", "early", "twice"])
def test_nonsense_changes_nothing(site, words):
    if not hasattr(site, "spoken_to"):
        site.spoken_to = Place(site)
        site.spoken_to.daemon = site.spoken_to.start()
    place = site.spoken_to
    with Heir(place.path) as heir:
        heir.say(*words)
        heard = [heir.hear()]
        while heard[-1]:
            heard.append(heir.hear())
        assert b"off" in heard or words[0] == b"x" * 1500, heard
    serves(place)


def test_descriptors_that_nobody_wants_are_closed(place):
    first = place.start()
    before = len(os.listdir(f"/proc/{first.pid}/fd"))
    for _ in range(3):
        with Heir(place.path) as heir:
            rights = array.array("i", [0] * 60)
            heir.socket.sendmsg([b"hello 1 " + heir.token], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            heir.until(b"id ")
        net.wait_until("it goes on", lambda: len(os.listdir(f"/proc/{first.pid}/fd")) <= before)
    first.stop()


def test_strangers_are_refused(site):
    """Neither another user nor the file's mode lets them in; and a proxy gives nothing to another user's socket."""
    place = Place(site, user=USER.pw_name)
    first = place.start()
    os.chmod(place.path, 0o666)
    as_other = ("setpriv", "--reuid=1", "--regid=1", "--clear-groups", "/usr/bin/python3", "-c")
    code = ("import socket,sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); "
            "s.send(b'hello 1 ' + b'0' * 32); print(s.recv(100))")
    run = subprocess.run([*as_other, code, place.path], capture_output=True, text=True, timeout=20, check=False)
    assert "b''" in run.stdout or "reset" in run.stderr or "Broken pipe" in run.stderr, run
    first.wait(r"event=upgrade_refused uid=1 ")
    first.stop()

    code = ("import os,socket,sys; os.umask(0); s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen(); "
            "print('there', flush=True); s.accept()[0].recv(100)")
    folder = os.path.join(site.folder, "theirs")
    os.mkdir(folder, 0o777)
    os.chmod(folder, 0o777)
    place.options["upgrade_socket"] = os.path.join(folder, "up")
    with subprocess.Popen([*as_other, code, place.options["upgrade_socket"]], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "there\n"
        assert "the process there is another user's" in place.refused()


def test_without_a_socket_a_second_one_finds_the_port_taken(place):
    place.options["upgrade_socket"] = ""
    first = place.start()
    assert re.search(r"can't listen: Address already in use", place.refused())
    first.stop()


@pytest.mark.parametrize("scheme", ["http", "http+unix"])
def test_monitoring_asks_the_new_process(site, scheme):
    """At the same address: by a user who is not root, in its sandbox."""
    where = f"http://127.0.0.1:{net.free_port()}" if scheme == "http" else f"http+unix://{site.folder}/metrics{net.free_port()}"
    place = Place(site, metrics_listen=where, user=USER.pw_name)
    first = place.start()
    with connect(first) as wire:
        assert wire.login(new_user()).startswith(b"l1 OK")
    net.wait_until("the login", lambda: metrics(first)["imapferry_logins_total", "ok"] == 1)
    second = place.start()
    second.wait("event=upgrade_done")
    ended(first)
    assert ask(second, "/readyz")[:2] == (200, "ready\n")
    assert metrics(second)["imapferry_logins_total", "ok"] == 0
    second.stop()
    assert scheme == "http" or not os.path.exists(where.partition("://")[2])
