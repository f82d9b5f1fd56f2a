#!/usr/bin/python3
"""`make check-tsan`: a proxy of several threads, and a migrator, on a build with ThreadSanitizer, with everything going on that
threads share something for: logins right and wrong, IDLE, accounts that are moved and sent back, SIGHUP, strangers who send
nonsense, half a handshake, a reset; then a new process takes over, and drains. SECONDS=60 of it. A report makes the status 1; nothing is
passed over, of libraries either."""
import contextlib
import itertools
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fakes.fake_imap import FakeImap  # noqa: E402
from harness import certs, net, redisd  # noqa: E402
from harness.ferry import Ferry, backend  # noqa: E402
from harness.load import Load  # noqa: E402
from harness.scene import Wire, port_of  # noqa: E402

THREADS = 4
ENDS = (OSError, AssertionError, TimeoutError)  # of connections that the proxy has ended, as it may


class Acts:
    """Threads that do something again and again; what one could not do is told at the end."""

    def __init__(self):
        self.over = threading.Event()
        self.done, self.failures, self.threads = {}, [], []

    def act(self, name, what, *args, pause=0.0):
        def run():
            while not self.over.is_set():
                try:
                    what(*args)
                    self.done[name] = self.done.get(name, 0) + 1
                except ENDS as e:
                    self.failures.append(f"{name}: {e!r}")
                self.over.wait(pause)
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)


def idle(url, ca, user, over):
    """Until it is told to go, by the proxy or by us; what happens to its account meanwhile, it sleeps through."""
    with contextlib.suppress(*ENDS), Wire(url, timeout=60, ca=ca if url.startswith("imaps") else None) as wire:
        wire.until(b"* OK")
        if not wire.login(user).startswith(b"l1 OK"):
            return
        wire.command(b"s", b"SELECT INBOX")
        wire.line(b"i IDLE")
        wire.until(b"+")
        wire.socket.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while wire.read_line() is not None and not over.is_set():
                pass
        wire.send(b"DONE\r\nn NOOP\r\no LOGOUT\r\n")
        wire.rest()


def guess(url, number):
    with contextlib.suppress(*ENDS), Wire(url, timeout=20) as wire:
        wire.until(b"* OK")
        wire.login(f"guessed{number % 3}@example.org", f"wrong{number}")


def annoy(ports, dice):
    """One connection of somebody who means no good."""
    port = dice.choice(ports)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        kind = dice.randrange(5)
        if kind == 0:
            s.sendall(dice.randbytes(dice.randrange(1, 3000)))
        elif kind == 1:
            s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(dice.randrange(0, 500)))
        elif kind == 2:
            s.sendall(b"a LOGIN {4294967295}\r\nb ID (" + b"(" * 200 + b"\r\n")
        elif kind == 3:
            s.sendall(b"a CAPABILITY\r\n" * dice.randrange(1, 200))
        if dice.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            s.settimeout(1)
            s.recv(4096)


def move(ferry, user, there=itertools.count()):
    """To and fro, whether anybody has it open or not."""
    ferry.ctl("flip", user, "--to", ("old", "new")[next(there) % 2], "--force", "--reason", "tsan")


def work(ferry, proxy, ca, seconds):
    acts, urls = Acts(), proxy.addresses
    ports = [port_of(proxy, n) for n in range(len(urls))]
    users = [f"moved{n}@example.org" for n in range(4)]
    guesses = itertools.count()
    with Load(ports[0], clients=4) as load:
        for n, user in enumerate(users):
            acts.act("idle", idle, urls[n % 2], ca, user, acts.over)
        for seed in range(3):
            acts.act("stranger", annoy, ports, random.Random(seed))
        acts.act("guess", lambda: guess(urls[0], next(guesses)))
        acts.act("reload", proxy.reload, pause=0.5)
        acts.act("flip", move, ferry, users[-1], pause=2)
        time.sleep(seconds)
        acts.end()
    print(f"tsan: {load.signed_in} logins, {load.told_bye} told BYE, " + ", ".join(f"{n} x {k}" for k, n in sorted(acts.done.items())))
    for failure in acts.failures[:5] + load.failures[:5]:
        print(f"tsan: {failure}")
    flipped = [u for u in users if ferry.route(u).get("state") in ("flipped", "settled", "held")]
    assert load.signed_in > 20 and len(acts.done) == 5 and flipped, (acts.done, flipped)


def main():
    folder = net.temp_folder("tsan")
    authority = certs.Authority(folder)
    cert = authority.issue("server")
    redis = redisd.Redis(port=net.free_port())
    failed = ""
    with FakeImap("old", cert=cert) as old, FakeImap("new", cert=cert) as new:
        for n in range(4):
            old.add(f"moved{n}@example.org", "INBOX", b"Subject: one\r\n\r\nbody\r\n")
        ferry = Ferry(redis, {"old": backend(old, "imaps", authority.ca), "new": backend(new, "imap")}, cert,
                      {"proxy": {"sandbox": False, "lease": "5s", "lease_long": "10s", "login_delay": "100ms", "max_connections_per_network": 1000,
                                 "upgrade_socket": os.path.join(folder, "upgrade"), "id": "one"},
                       "migrator": {"sandbox": False, "job_lease": "10s"}})
        try:
            ferry.init()
            ferry.seal_keys()
            listen = [f"imap://127.0.0.1:{net.free_port()}", f"imaps://127.0.0.1:{net.free_port()}"]
            proxy = ferry.proxy(listen, proxy={"threads": THREADS, "id": "one"})
            ferry.migrator()
            work(ferry, proxy, authority.ca, float(os.environ.get("SECONDS") or 60))
            following = ferry.proxy(listen, proxy={"threads": 2, "id": "one"})
            following.wait("event=upgrade_done")
            proxy.process.wait(60)
            ferry.login(following, "moved0@example.org", "secret")
        except (AssertionError, TimeoutError, RuntimeError) as e:
            failed = str(e)
        for closing in (ferry, redis):  # reports of a daemon are told as it ends
            try:
                closing.close()
            except AssertionError as e:
                failed = failed or str(e)
    net.remove_folder(folder)
    print(f"failed: {failed[:8000]}" if failed else "tsan: no report")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
