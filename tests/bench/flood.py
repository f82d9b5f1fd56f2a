#!/usr/bin/python3
"""What floods by strangers cost those who have signed in: `make bench-flood`. For each flood (none, the two that once brought
the service down, idle connections) one thread of the proxy, and in that time

    NOOP    a live session's, one after the other: median, p99, largest
    login   from another network than the flood's, by IMAP and by IMAPS, one after the other: median and largest, with those
            that failed
    lease   how often it lapsed (a term of 10 s)

    SECONDS=20 HELLOS=28000 PIPES=60 ONLY=hello,pipe make bench-flood

The load of the machine is printed with each, since the flood itself takes its part of it."""
import os
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from fakes.fake_imap import FakeImap                             # noqa: E402
from harness import certs, net, redisd                           # noqa: E402
from harness.ferry import Ferry                                  # noqa: E402

SECONDS = float(os.environ.get("SECONDS") or 20)
HELLOS = int(os.environ.get("HELLOS") or 28000)
PIPES = int(os.environ.get("PIPES") or 60)
IDLE = int(os.environ.get("IDLE") or 9960)
ONLY = [x for x in (os.environ.get("ONLY") or "").split(",") if x]
HERE = os.path.dirname(os.path.abspath(__file__))


class Client:
    """From an address of its own; every wait has an end."""

    def __init__(self, address, source, context=None, timeout=30):
        host, port = address.partition("://")[2].rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        self.socket.bind((source, 0))
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.file = self.socket.makefile("rb")
        self.file.readline()

    def command(self, text):
        self.socket.sendall(b"x " + text + b"\r\n")
        while True:
            line = self.file.readline()
            if not line or line.startswith(b"x "):
                return line

    def close(self):
        self.file.close()
        self.socket.close()


def plain_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def hello_file(folder):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = plain_context().wrap_bio(incoming, outgoing)
    try:
        talk.do_handshake()
    except ssl.SSLWantReadError:
        pass
    path = os.path.join(folder, "hello")
    with open(path, "wb") as f:
        f.write(outgoing.read())
    return path


class Watch:
    """A thread that does one thing again and again and notes how long it took."""

    def __init__(self, what, pause):
        self.times, self.failed, self._what, self._pause = [], 0, what, pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            began = time.monotonic()
            try:
                ok = self._what()
            except OSError:
                ok = False
            self.times.append(time.monotonic() - began)
            self.failed += not ok
            self._end.wait(self._pause)

    def stop(self):
        self._end.set()
        self._thread.join()
        return self

    def __str__(self):
        t = sorted(self.times)
        p99 = t[min(len(t) - 1, int(len(t) * 0.99))]
        return (f"{len(t)} times, median {statistics.median(t) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
                f"largest {t[-1] * 1000:.0f} ms, {self.failed} failed")


def sign_in(address, context):
    client = Client(address, "127.0.9.1", context)
    ok = client.command(b"LOGIN ann secret").startswith(b"x OK")
    client.close()
    return ok


def run(label, ferry, flood, flooder):
    proxy = ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"),
                        proxy={"threads": 1, "lease": "10s", "lease_long": "600s"})
    ports = [a.rpartition(":")[2] for a in proxy.addresses]
    live = Client(proxy.addresses[0], "127.0.8.1")
    assert live.command(b"LOGIN ann secret").startswith(b"x OK")
    cpu = os.times()
    if flood:
        kind, listener, argument, count = flood
        process = subprocess.Popen([flooder, kind, ports[listener], argument, str(count), str(SECONDS)],
                                   stdout=subprocess.PIPE, text=True)
    noop = Watch(lambda: live.command(b"NOOP").startswith(b"x OK"), 0.01)
    plain = Watch(lambda: sign_in(proxy.addresses[0], None), 0.2)
    secure = Watch(lambda: sign_in(proxy.addresses[1], plain_context()), 0.2)
    said = ""
    if flood:
        said = process.communicate()[0].strip()
    else:
        time.sleep(SECONDS)
    watches = [w.stop() for w in (noop, plain, secure)]
    lapses = len(proxy.find(r"event=lease_lapsed"))
    with open(f"/proc/{proxy.pid}/stat", encoding="ascii") as f:
        stat = f.read().rpartition(") ")[2].split()
    used = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    print(f"{label}: {said}\n  NOOP         {watches[0]}\n  login        {watches[1]}\n  login, TLS   {watches[2]}\n"
          f"  lapses {lapses}, proxy's CPU {used:.1f} s, memory at most {proxy.memory_peak() >> 20} MiB, load "
          f"{os.getloadavg()[0]:.1f}", flush=True)
    live.close()
    proxy.stop()
    del cpu
    return label, watches, lapses


def main():
    folder = net.temp_folder("flood")
    flooder = os.path.join(folder, "flood")
    subprocess.run(["cc", "-O2", "-o", flooder, os.path.join(HERE, "flood.c"), "-D_GNU_SOURCE"], check=True)
    authority = certs.Authority(folder)
    store = redisd.Redis(port=net.free_port(), fsync="everysec")
    floods = {"none": None, "hello": ("hello", 1, hello_file(folder), HELLOS), "pipe": ("pipe", 0, "a CAPABILITY", PIPES),
              "idle": ("idle", 0, "-", IDLE)}
    bad = 0
    try:
        with FakeImap() as old, FakeImap() as new:
            ferry = Ferry(store, {"old": {"address": old.url()}, "new": {"address": new.url()}},
                          authority.issue("proxy"), {"migration": {"trigger": "manual"}})
            ferry.init()
            for label, flood in floods.items():
                if ONLY and label not in ONLY:
                    continue
                _, watches, lapses = run(label, ferry, flood, flooder)
                p99 = sorted(watches[0].times)[int(len(watches[0].times) * 0.99) - 1]
                bad += p99 > 0.2 or lapses > 0 or any(max(w.times) > 2 or w.failed for w in watches[1:])
            ferry.close()
    finally:
        store.close()
        net.remove_folder(folder)
    print("within the bounds (NOOP p99 200 ms, login 2 s, no lapse)" if not bad else f"{bad} out of bounds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
