#!/usr/bin/python3
"""make bench-lmtp: what a message by LMTP costs the proxy, beside Dovecot's LMTP proxy in the same run.

    MESSAGES=2000 ROUNDS=3      how many, and how often both take turns; medians count

CPU seconds for 1,000 messages: of all processes of a proxy (Dovecot's lmtp, auth and the rest), and of Redis beside it. The server
behind is a sink in a process of its own, and the senders are the same for both. Messages of 4 and of 200 KB, for one recipient; many over one
connection, or one over each."""
import os
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))

import proxy as bench  # noqa: E402
from harness import net, redisd  # noqa: E402
from harness.ferry import Ferry, Section  # noqa: E402
from harness.lmtp import Mta, letter  # noqa: E402

MESSAGES = int(os.environ.get("MESSAGES") or 2000)
ROUNDS = int(os.environ.get("ROUNDS") or 3)
SENDERS = 4
SINK = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fakes.fake_lmtp import FakeLmtp
server = FakeLmtp()
class Nothing(list):
    def append(self, x): pass
server.heard = server.taken = server.messages = Nothing()
print(server.port, flush=True)
sys.stdin.read()
"""

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
lmtp_proxy = yes
auth_cache_size = 0
passdb {{
  driver = static
  args = proxy=y host=127.0.0.1 port={sink} nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  process_min_avail = 2
}}
"""


class Sink:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", SINK, os.path.dirname(HERE)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Imapferry:
    def __init__(self, sink):
        self.redis = redisd.Redis(fsync="always")
        sides = {name: Section(None, {"address": f"imap://127.0.0.1:{i + 1}", "delivery": f"lmtp:inet:127.0.0.1:{sink.port}"})
                 for i, name in enumerate(("old", "new"))}
        self.ferry = Ferry(self.redis, sides, None, {
            "proxy": {"lease": "10s", "lease_long": "10m", "threads": 2}, "delivery": {"domains": ["example.org"]},
            "lmtp": {"listen": ["inet://127.0.0.1:0"]}, "migration": {"trigger": "manual"}})
        self.ferry.init()
        proxy = self.ferry.proxy()
        self.where = proxy.wait(r'listening on (inet://[^"\s]+)').group(1)
        self.pids, self.helpers = [proxy.pid], [self.redis.pid]

    def close(self):
        self.ferry.close()
        self.redis.close()


class Dovecot:
    def __init__(self, sink):
        self.folder, port = net.temp_folder("lmtpproxy"), net.free_port()
        path = os.path.join(self.folder, "dovecot.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(DOVECOT.format(folder=self.folder, sink=sink.port, port=port))
        self.process = bench.Process(self.folder, "dovecot", "dovecot", "-F", "-c", path)
        net.wait_until("Dovecot", lambda: net.accepts(("127.0.0.1", port)))
        self.where, self.pids, self.helpers = f"inet://127.0.0.1:{port}", [self.process.pid], []

    def close(self):
        self.process.close()
        net.remove_folder(self.folder)


def send(where, count, message, each):
    """So many messages, `each` over one connection."""
    for at in range(0, count, each):
        with Mta(where, timeout=60) as mta:
            mta.lhlo()
            for i in range(min(each, count - at)):
                mta.send(b"MAIL FROM:<a@elsewhere.example>", b"RCPT TO:<user%d@example.org>" % (at + i), b"DATA")
                answers = [mta.answer() for _ in range(3)]
                assert answers[2].startswith(b"354"), answers
                mta.send_raw(message + b".\r\n")
                answer = mta.answer()
                assert answer.startswith(b"250"), answer
            mta.command(b"QUIT")


def measure(peer, size, each):
    """(CPU of the proxy, of its helpers, seconds) for 1,000 messages."""
    message, count = letter("bench", size), MESSAGES // SENDERS
    before, helped, began = bench.cpu(peer.pids), bench.cpu(peer.helpers), time.monotonic()
    threads = [threading.Thread(target=send, args=(peer.where, count, message, each)) for _ in range(SENDERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    share = 1000 / (count * SENDERS)
    return [share * x for x in (bench.cpu(peer.pids) - before, bench.cpu(peer.helpers) - helped, time.monotonic() - began)]


def main():
    sink = Sink()
    peers = {"imapferry": Imapferry(sink), "dovecot": Dovecot(sink)}
    print(f"{'':34}{'CPU s of the proxy':>20}{'of Redis':>12}{'seconds':>10}   for 1,000 messages")
    try:
        for size, each in ((4000, 100), (4000, 1), (200000, 100)):
            rows = {name: [] for name in peers}
            for _ in range(ROUNDS):
                for name, peer in peers.items():
                    rows[name].append(measure(peer, size, each))
            for name, found in rows.items():
                own, helper, took = (statistics.median(x) for x in zip(*found))
                print(f"{size // 1000:>4} KB, {each:>3} a connection  {name:12}{own:20.2f}{helper:12.2f}{took:10.2f}")
    finally:
        for peer in peers.values():
            peer.close()
        sink.close()


if __name__ == "__main__":
    main()
