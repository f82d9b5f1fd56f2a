"""Passwords that were used lie nowhere in the memory of what used them."""
import base64
import hashlib
import itertools
import os
import re
import subprocess

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import leaks, memory, net, redisd
from harness.ferry import backend
from harness.monitor import LISTEN, text
from harness.scene import connect, new_user

_number = itertools.count(1)


MARK = b"hsXq7kZvw"  # stands in each password, in the part that is looked for


def in_base64(shift):
    """What the mark is there, wherever it begins: what its neighbours have no part in."""
    return base64.b64encode(b"\0" * shift + MARK)[4:12]


MARKS = [MARK, *map(in_base64, range(3))]


def new_password(size):
    text = (hashlib.sha256(b"%d" % next(_number)).hexdigest().encode() * 50)[:size]
    return text[:2] + MARK + text[11:-13] + MARK + text[-4:]


def forms(label, user, password):
    """Parts of the password, and of its base64, that occur nowhere else -> the case."""
    coded = base64.b64encode(b"\0" + user + b"\0" + password)
    return {password[2:22]: label, coded[-24:-4]: label + " in base64"}


def was_read(wire):
    """Whether the other side of this loopback connection has read all that was sent."""
    ours, theirs = wire.socket.getsockname()[1], wire.socket.getpeername()[1]
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f:
            _, local, remote, _, queues = line.split()[:5]
            if local.endswith(f":{theirs:04X}") and remote.endswith(f":{ours:04X}"):
                return queues.endswith(":00000000")
    return False


def seen(wire):
    net.wait_until("the proxy has read it", lambda: was_read(wire), step=0.002)


def quoted(wire, user, password):
    wire.line(b'a LOGIN %s "%s"' % (user, password))


def split(wire, user, password):
    data = b'a LOGIN %s "%s"\r\n' % (user, password)
    step = len(data) // 3
    wire.send(data[:step])
    seen(wire)
    wire.send(data[step:2 * step])
    seen(wire)
    wire.send(data[2 * step:])


def literal(wire, user, password):
    wire.line(b"a LOGIN %s {%d}" % (user, len(password)))
    assert wire.read_line().startswith(b"+")
    wire.line(password)


def split_literal(wire, user, password):
    wire.send(b"a LOGIN %s {%d+}\r\n%s" % (user, len(password), password[:9]))
    seen(wire)
    wire.line(password[9:])


def initial_response(wire, user, password):
    wire.line(b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password))


def response(wire, user, password):
    wire.line(b"a AUTHENTICATE PLAIN")
    assert wire.read_line().startswith(b"+")
    wire.line(base64.b64encode(b"\0" + user + b"\0" + password))


def split_response(wire, user, password):
    wire.line(b"a AUTHENTICATE PLAIN")
    assert wire.read_line().startswith(b"+")
    text = base64.b64encode(b"\0" + user + b"\0" + password) + b"\r\n"
    wire.send(text[:30])
    seen(wire)
    wire.send(text[30:])


def pipelined(wire, user, password):
    wire.send(b'a LOGIN %s "%s"\r\nb NOOP\r\n' % (user, password))


def behind_another(wire, user, password):
    """It waits in the proxy while the one before is looked at, with more behind it."""
    wire.send(b'z LOGIN nobody wrong-one\r\na LOGIN %s "%s"\r\nb NOOP\r\nc NOO' % (user, password))


WAYS = [quoted, split, literal, split_literal, initial_response, response, split_response, pipelined, behind_another]
GROWS = [split, split_literal, split_response]  # where buffers of ours grow


@pytest.fixture(params=["", "AUTH=PLAIN SASL-IR"])
def fake(request, cert):
    with FakeImap(name="old", cert=cert, capabilities=f"{CAPABILITIES.replace('LITERAL+', '')} {request.param}") as server:
        yield server


class Logins:
    """Both listeners, each way, with passwords small and so large that buffers grow; all at the same time."""

    def __init__(self, proxy, ca, take=lambda user, password: None):
        self.wires, self.needles = [], {}
        self.pid = proxy.pid
        for listener, way, size in itertools.product((0, 1), WAYS, (24, 3000)):
            if size > 24 and way not in GROWS:
                continue
            wire = connect(proxy, listener, ca if listener else None)
            user, password = new_user().encode(), new_password(size)
            take(user.decode(), password)
            way(wire, user, password)
            self.needles.update(forms(f"{way.__name__}, {('plain', 'TLS')[listener]}, {size} bytes", user, password))
            self.wires.append(wire)

    def answers(self):
        return {wire.until(b"a ")[-1].partition(b"]")[0].partition(b" [")[0] for wire in self.wires}

    def left(self, kept=False):
        """The cases whose password is still there."""
        return sorted(self.needles[x] for x in memory.holds(self.pid, self.needles, kept, MARKS))

    def close(self):
        for wire in self.wires:
            wire.close()


def test_passwords_are_gone_after_a_login(make_ferry, fake, authority):
    ferry = make_ferry({"old": backend(fake, "imaps", authority.ca), "new": backend(fake, "imap")},
                       {"migration": {"trigger": "manual"}, "proxy": {"login_tries": 5}})
    proxy = ferry.proxy(["imap://127.0.0.1:0", "imaps://127.0.0.1:0"])
    refused = Logins(proxy, authority.ca)
    assert refused.left(kept=True), "nothing is found even while it is needed"
    assert refused.answers() == {b"a NO"}
    assert not refused.left(kept=True)
    accepted = Logins(proxy, authority.ca, fake.passwords.__setitem__)
    assert accepted.answers() == {b"a OK"}
    assert not accepted.left()
    assert accepted.left(kept=True), "sessions that may be handed over need theirs"
    accepted.close()
    net.wait_until("the ends of the sessions", lambda: len(proxy.find("event=session_end .*state=relay"))
                   >= len(accepted.wires))
    assert not accepted.left(kept=True)
    refused.close()


def test_passwords_are_gone_from_a_migrator(make_ferry):
    """Opened from what the proxy sealed, for both servers; sizes at which a buffer is just full among them."""
    with FakeImap(name="old", master=None) as old, FakeImap(name="new", master=None) as new:
        ferry = make_ferry({"old": backend(old, "imap", master=False), "new": backend(new, "imap", master=False)})
        ferry.seal_keys()
        proxy, needles, users = ferry.proxy(), {}, []
        for size in (24, 255, 256, 512):
            user, password = new_user(), new_password(size)
            old.passwords[user] = new.passwords[user] = password
            old.add(user, "INBOX", b"Subject: one\r\n\r\nbody\r\n")
            with connect(proxy) as wire:
                assert wire.login(user, password.decode()).startswith(b"l1 OK")
            needles.update(forms(str(size), user.encode(), password))
            users.append(user)
        migrator = ferry.migrator()
        for user in users:
            ferry.wait_state(user, "flipped", "settled")
            assert old.sign_ins(user) > 1 and new.sign_ins(user) > 0
        left = []

        def is_clean():
            left[:] = [needles[x] for x in memory.holds(migrator.pid, needles, True, MARKS)]
            return not left
        try:
            net.wait_until("the ends of the jobs", is_clean, timeout=10, step=0.2)
        except TimeoutError:
            assert not left


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_passwords_of_the_site_are_in_no_core_file(make_ferry, authority, cert, tls):
    """Those of files, which daemons keep: of Redis, and of the master user; kept in pages that a core leaves out, and nowhere else.
    And the kernel writes none of a daemon."""
    site = {name: new_password(40).decode() for name in ("redis", "master")}
    store = redisd.Redis(port=net.free_port(), password=site["redis"], papers=redisd.Papers(*cert, authority.ca, False) if tls else None)
    try:
        with FakeImap(name="old", master=("admin", site["master"])) as old, FakeImap(name="new", master=("admin", site["master"])) as new:
            ferry = make_ferry({"old": backend(old, "imap", sign_in="master"), "new": backend(new, "imap")},
                               {"migration": {"trigger": "manual"}}, init=False, store=store)
            if tls:
                ferry.settings["redis"]["ca_file"] = authority.ca
            for name, folder in (("redis", "password_file"), ("master", None)):
                path = os.path.join(ferry.folder, name + ".secret")
                with open(path, "w", encoding="ascii") as f:
                    f.write(site[name] + "\n")
                if folder:
                    ferry.settings["redis"][folder] = path
            for options in ferry.backends.values():
                options["master_password_file"] = os.path.join(ferry.folder, "master.secret")
            ferry.init()
            needles = {part[2:22]: name for name, word in site.items() for part in [word.encode()]}
            for daemon in (ferry.proxy(proxy={"threads": 2}), ferry.migrator()):
                if daemon.label.startswith("proxy"):
                    with connect(daemon) as wire:
                        assert wire.login(new_user()).startswith(b"l1 OK")
                    daemon.reload()
                there = {needles[x] for x in memory.holds(daemon.pid, needles, kept=True)}
                assert there == set(site), there
                net.wait_until("what was sent is gone", lambda: not memory.holds(daemon.pid, needles))
                with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as f:
                    assert [line.split()[4:6] for line in f if line.startswith("Max core file size")] == [["0", "0"]]
                daemon.stop()
    finally:
        ferry.close()
        store.close()


def told_by(ferry, user):
    """What staff and monitoring see while all of it happens, and what others on the host see of the processes."""
    shown = "".join(str(ferry.ctl_raw(*verb)) for verb in (["status"], ["list"], ["user", user], ["user", user, "--report"], ["sessions", user],
                                                           ["audit", user], ["--json", "user", user])).encode()
    for daemon in ferry.daemons:
        shown += text(daemon).encode()
        for name in ("cmdline", "environ", "comm"):
            with open(f"/proc/{daemon.pid}/{name}", "rb") as f:
                shown += f.read()
    return shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_passwords_are_in_nothing_that_is_written(make_ferry, authority, log_format):
    """Right ones and wrong ones, by each way that there is, sealed for a migrator and opened by it, and that of Redis: logs, what Redis
    has on its disk, what staff are shown, what a core file has."""
    needles = {form: b"a password" for form in MARKS}
    store = redisd.Redis(port=net.free_port(), password=new_password(40).decode())
    try:
        with FakeImap("old", master=None) as old, FakeImap("new", master=None) as new:
            ferry = make_ferry({"old": backend(old, "imap", master=False), "new": backend(new, "imap", master=False)},
                               {"proxy": {"login_tries": 5}}, init=False, store=store)
            secret = file_of(ferry.folder, "redis.secret", store.password.encode() + b"\n")
            ferry.settings["redis"]["password_file"] = secret
            ferry.init()
            ferry.seal_keys()
            proxy = ferry.proxy(["imap://127.0.0.1:0", "imaps://127.0.0.1:0"], proxy={**LISTEN, "log_format": log_format})
            users = []

            def take(user, password):
                old.passwords[user] = new.passwords[user] = password
                old.add(user, "INBOX", b"Subject: one\r\n\r\nbody\r\n")
                if len(password) == 24:
                    users.append(user)
            refused, accepted = Logins(proxy, authority.ca), Logins(proxy, authority.ca, take)
            assert refused.answers() == {b"a NO"} and accepted.answers() == {b"a OK"}
            migrator = ferry.migrator(wait=False, migrator={**LISTEN, "log_format": log_format})
            migrator.wait('event[=":]*ready')
            for user in users:
                ferry.wait_state(user, "flipped")
            proxy.wait("handed_over")
            for daemon in ferry.daemons:
                daemon.signal(1)
                daemon.wait('event[=":]*reloaded')
            assert not leaks.in_bytes(told_by(ferry, users[0]), needles)
            for daemon in ferry.daemons:
                core = memory.core_of(daemon.pid, ferry.folder)
                assert core is None or not leaks.in_bytes(core, needles)
            accepted.close()
            refused.close()
            assert users and store.client().save()
            ferry.stop_all()
            written = leaks.files(ferry.folder, lambda name: name.endswith(".log")) + store.files()
            assert {os.path.splitext(x)[1] for x in written} == {".log", ".aof", ".rdb"}
            assert not leaks.in_files(written, needles)
            assert leaks.in_files([secret], needles), "nothing is found even where one is"
    finally:
        store.close()


def key_of(path):
    """The numbers that a private key is made of, as they may lie in memory: from either end."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    numbers = re.findall(r"^(?:priv|prime\d|privateExponent):\n((?:[ ]+[0-9a-f:]+\n)+)", text, re.M)
    assert numbers, text
    whole = [bytes.fromhex(re.sub(r"[\s:]", "", x)).lstrip(b"\0") for x in numbers]
    return [part for x in whole for part in (x[:24], x[::-1][:24])]


def file_of(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o600)
    return path


def test_no_memory_is_in_a_core_file(make_ferry, authority):
    """Of somebody who takes one in spite of all, while keys are in use: those of a certificate, with what OpenSSL has made of them, of
    tickets, of seals, and passwords. gcore obeys what the kernel is told."""
    tickets, cert = os.urandom(80), authority.issue("rsa", rsa=2048)
    with FakeImap("old", master=None) as old, FakeImap("new", master=None) as new:
        ferry = make_ferry({"old": backend(old, "imap", master=False), "new": backend(new, "imap", master=False)},
                           {"migration": {"trigger": "manual"}})
        ferry.seal_keys()
        user, password = new_user(), new_password(40)
        old.passwords[user] = password
        proxy = ferry.proxy(["imaps://127.0.0.1:0"],
                            proxy={"threads": 2, "tls_cert": cert[0], "tls_key": cert[1],
                                   "tls_ticket_files": [file_of(ferry.folder, "ticket.key", tickets)]})
        with connect(proxy, 0, authority.ca) as wire:
            assert wire.login(user, password.decode()).startswith(b"l1 OK")
            migrator = ferry.migrator()
            for daemon, needles in ((proxy, [*key_of(cert[1]), tickets[16:40], tickets[48:72], password[2:22]]),
                                    (migrator, key_of(ferry.settings["seal"]["private_key_files"][0]))):
                there = memory.holds(daemon.pid, needles, kept=True)
                assert len(there) >= len(needles) // 2, "what is looked for is not even in use"
                assert not memory.dumpable(daemon.pid)
                core = memory.core_of(daemon.pid, ferry.folder)
                assert core is None or (b"imapferry-" in core and not [x for x in needles if x in core])
                daemon.stop()
