#!/usr/bin/python3
"""make bench-proxy: what a login, a byte, a session and a round trip cost, beside other proxies in the same run.

    ONLY=imapferry,nginx,dovecot,perdition,haproxy   who takes part (BEFORE=FOLDER adds another build of imapferry, as "before")
    WHAT=login,latency,bytes,memory                  what is measured
    LOGINS=4000 SESSIONS=5000 MIB=1024 ROUNDS=3      how much, and how often all take turns; medians count
    OUT=FILE.svg                                     a plot of the logins

The backend is canned.c, which is no bottleneck, the clients are load.c. haproxy passes TCP on and sees no IMAP: it is the lower bound
and no rival. CPU seconds are those of all processes of a proxy; Redis (with appendfsync always) and nginx's auth service are told apart.
perdition forks for each connection."""
import json
import os
import pwd
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import certs, daemon, net, redisd  # noqa: E402
from harness.ferry import Ferry  # noqa: E402

LOGINS = int(os.environ.get("LOGINS") or 4000)
SESSIONS = int(os.environ.get("SESSIONS") or 5000)
MIB = int(os.environ.get("MIB") or 1024)
ROUNDS = int(os.environ.get("ROUNDS") or 3)
BEFORE = os.environ.get("BEFORE") or ""
TICK = os.sysconf("SC_CLK_TCK")


# ---- processes

def fields(pid):
    """Of /proc/PID/stat, from the state on; None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(pids):
    """These processes, and all below them."""
    parents = {int(p): int(f[1]) for p in os.listdir("/proc") if p.isdigit() and (f := fields(p))}
    found = set(pids)
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu(pids):
    """Seconds of CPU, those of children that have ended included."""
    return sum(sum(int(x) for x in f[11:15]) for p in tree(pids) if (f := fields(p))) / TICK


def pss(pids):
    """KiB."""
    total = 0
    for pid in tree(pids):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


class Process:
    """In a session of its own; ended with all that it made."""

    def __init__(self, folder, name, *command):
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                                            start_new_session=True)
        self.pid = self.process.pid

    def close(self):
        self.process.stdin.close()
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, sign)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


# ---- those who take part: .ports {security: port}, .pids of the proxy, .helpers of what it asks

class Imapferry:
    def __init__(self, bench, build=None):
        self.redis = redisd.Redis(fsync="always")
        sides = {"old": {"address": f"imap://127.0.0.1:{bench.backend}"}, "new": {"address": f"imap://127.0.0.1:{bench.target}"}}
        self.ferry = Ferry(self.redis, sides, bench.cert, {
            "proxy": {"lease": "10s", "lease_long": "10m", "threads": 2, "hold_max": "8s"},
            "migration": {"source": "old", "target": "new", "trigger": "manual"}})
        kept, daemon.BUILD = daemon.BUILD, build or daemon.BUILD
        try:
            self.ferry.init()
            self.proxy = self.ferry.proxy(listen=("imap://127.0.0.1:0", "imaps://127.0.0.1:0"))
        finally:
            daemon.BUILD = kept
        ports = [int(a.rsplit(":", 1)[1]) for a in self.proxy.addresses]
        self.ports = {"plain": ports[0], "tls": ports[1], "resumed": ports[1]}
        self.pids, self.helpers = [self.proxy.pid], [self.redis.pid]

    def close(self):
        self.ferry.close()
        self.redis.close()


NGINX_AUTH = """daemon off; worker_processes 1; pid {folder}/auth.pid; error_log {folder}/auth.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{auth} backlog=4096; location / {{ add_header Auth-Status OK; add_header Auth-Server 127.0.0.1;
    add_header Auth-Port {backend}; return 204; }} }} }}
"""
NGINX_MAIL = """load_module {modules}/ngx_mail_module.so;
daemon off; worker_processes 2; worker_rlimit_nofile 20000; pid {folder}/mail.pid; error_log {folder}/mail.err;
events {{ worker_connections 16384; }}
mail {{ auth_http 127.0.0.1:{auth}/; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:mail:10m; proxy_timeout 1h; imap_capabilities IMAP4rev1 UIDPLUS;
  server {{ listen 127.0.0.1:{plain} backlog=4096; protocol imap; }}
  server {{ listen 127.0.0.1:{tls} ssl backlog=4096; protocol imap; }} }}
"""


class Nginx:
    def __init__(self, bench):
        self.folder = net.temp_folder("nginx")
        plain, tls, auth = (net.free_port() for _ in range(3))
        names = dict(folder=self.folder, backend=bench.backend, plain=plain, tls=tls, auth=auth, cert=bench.cert[0], key=bench.cert[1],
                     modules="/usr/lib/nginx/modules")
        self.processes = [bench.start(self.folder, "nginx", text, names) for text in (NGINX_AUTH, NGINX_MAIL)]
        self.ports = {"plain": plain, "tls": tls, "resumed": tls}
        self.helpers, self.pids = [self.processes[0].pid], [self.processes[1].pid]
        for port in (auth, plain, tls):
            net.wait_until("nginx", lambda p=port: net.accepts(("127.0.0.1", p)))

    def close(self):
        for p in self.processes:
            p.close()


HAPROXY = """global
  maxconn 9000
  nbthread 2
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend plain
  bind 127.0.0.1:{plain} backlog 4096
  default_backend mail
frontend tls
  bind 127.0.0.1:{tls} ssl crt {folder}/both.pem backlog 4096
  default_backend mail
backend mail
  server one 127.0.0.1:{backend}
"""


class Haproxy:
    def __init__(self, bench):
        self.folder = net.temp_folder("haproxy")
        plain, tls = net.free_port(), net.free_port()
        with open(os.path.join(self.folder, "both.pem"), "wb") as out:
            for path in bench.cert:
                with open(path, "rb") as f:
                    out.write(f.read())
        path = bench.write(self.folder, "haproxy.conf", HAPROXY, dict(folder=self.folder, backend=bench.backend, plain=plain, tls=tls))
        self.process = Process(self.folder, "haproxy", "haproxy", "-db", "-f", path)
        self.ports = {"plain": plain, "tls": tls, "resumed": tls}
        self.pids, self.helpers = [self.process.pid], []
        for port in (plain, tls):
            net.wait_until("haproxy", lambda p=port: net.accepts(("127.0.0.1", p)))

    def close(self):
        self.process.close()


DOVECOT = """base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {internal}
mail_uid = mail
mail_gid = mail
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
mail_max_userip_connections = 0
auth_cache_size = 0
default_client_limit = 20000
default_vsz_limit = 2G
service imap-login {{
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  client_limit = 12000
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service auth {{
  client_limit = 40000
}}
service anvil {{
  client_limit = 40000
}}
passdb {{
  driver = static
  args = nopassword=y proxy=y host=127.0.0.1 port={backend} proxy_timeout=30
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home=/nonexistent
}}
"""


class Dovecot:
    def __init__(self, bench):
        self.folder = net.temp_folder("dovecot-proxy")
        plain, tls = net.free_port(), net.free_port()
        root = os.getuid() == 0
        me = pwd.getpwuid(os.getuid()).pw_name
        names = dict(folder=self.folder, backend=bench.backend, plain=plain, tls=tls, cert=bench.cert[0], key=bench.cert[1],
                     internal="dovecot" if root else me, login="dovenull" if root else me)
        path = bench.write(self.folder, "dovecot.conf", DOVECOT, names)
        self.process = Process(self.folder, "dovecot", "dovecot", "-F", "-c", path)
        self.ports = {"plain": plain, "tls": tls, "resumed": tls}
        self.pids, self.helpers = [self.process.pid], []
        for port in (plain, tls):
            net.wait_until("dovecot", lambda p=port: net.accepts(("127.0.0.1", p)))

    def close(self):
        self.process.close()


class Perdition:
    def __init__(self, bench):
        self.folder = net.temp_folder("perdition")
        plain, tls = net.free_port(), net.free_port()
        common = ["--no_daemon", "--map_library", "", "--outgoing_server", f"127.0.0.1:{bench.backend}", "--username", "nobody",
                  "--group", "nogroup", "--no_bind_banner", "--bind_address", "127.0.0.1", "--no_lookup", "--log_facility", "-",
                  "--protocol", "IMAP4", "--connection_limit", "0", "--pid_file", ""]
        secure = ["--ssl_mode", "ssl_listen", "--ssl_cert_file", bench.cert[0], "--ssl_key_file", bench.cert[1]]
        self.processes = [Process(self.folder, "plain", "perdition", *common, "--listen_port", str(plain)),
                          Process(self.folder, "tls", "perdition", *common, "--listen_port", str(tls), *secure)]
        self.ports = {"plain": plain, "tls": tls, "resumed": tls}
        self.pids, self.helpers = [p.pid for p in self.processes], []
        for port in (plain, tls):
            net.wait_until("perdition", lambda p=port: net.accepts(("127.0.0.1", p)))

    def close(self):
        for p in self.processes:
            p.close()


KINDS = {"imapferry": Imapferry, "nginx": Nginx, "dovecot": Dovecot, "perdition": Perdition, "haproxy": Haproxy}


# ---- measuring

class Bench:
    def __init__(self):
        self.folder = net.temp_folder("bench-proxy")
        os.chmod(self.folder, 0o755)
        for name, libs in (("canned", []), ("load", ["-lssl", "-lcrypto"])):
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", os.path.join(self.folder, name), os.path.join(HERE, f"{name}.c"), *libs],
                           check=True)
        authority = certs.Authority(self.folder)
        self.cert = authority.issue("127.0.0.1", rsa=2048)
        self.canned = [subprocess.Popen([os.path.join(self.folder, "canned")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                       for _ in range(2)]
        self.backend, self.target = (int(c.stdout.readline()) for c in self.canned)

    def close(self):
        for c in self.canned:
            c.stdin.close()
            c.wait(10)

    @staticmethod
    def write(folder, name, text, names):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text.format(**names))
        return path

    def start(self, folder, program, text, names):
        name = f"{program}{net.free_port()}"
        path = self.write(folder, f"{name}.conf", text, names)
        return Process(folder, name, program, "-p", folder, "-c", path)

    def load(self, mode, port, count, at_once, security, timeout=600):
        run = subprocess.run([os.path.join(self.folder, "load"), mode, str(port), str(count), str(at_once), security],
                             capture_output=True, text=True, timeout=timeout, check=False)
        assert run.stdout.strip(), run.stderr
        said = json.loads(run.stdout.strip().splitlines()[-1])
        if said["errors"]:
            print(f"    {said['errors']} errors: {run.stderr.strip().splitlines()[:1]}", flush=True)
        return said

    def costs(self, who, *what):
        """(CPU seconds of the proxy, of what it asks, what load says)."""
        before = cpu(who.pids), cpu(who.helpers)
        said = self.load(*what)
        time.sleep(0.1)  # what goes on behind the last answer belongs to it
        return cpu(who.pids) - before[0], cpu(who.helpers) - before[1], said

    def idle(self, who, security):
        """KiB of PSS a session."""
        port, before = who.ports[security], pss(who.pids)
        holder = subprocess.Popen([os.path.join(self.folder, "load"), "idle", str(port), str(SESSIONS), "100", security],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout.readline() == "ready\n"
            return (pss(who.pids) - before) / SESSIONS
        finally:
            holder.stdin.close()
            holder.wait(60)


class Table:
    """{(what, who): [figures of each round]}"""

    def __init__(self):
        self.rows = {}

    def add(self, what, who, *figures):
        self.rows.setdefault(what, {}).setdefault(who, []).append(figures)

    def medians(self, what):
        return {who: [statistics.median(x) for x in zip(*rounds)] for who, rounds in self.rows.get(what, {}).items()}

    def show(self, heading, cells, whats):
        """cells: (title, function of the medians of one who)."""
        print(f"\n| {heading} | " + " | ".join(title for title, _ in cells) + " | of nginx |")
        print("|---" * (len(cells) + 2) + "|")
        for what in whats:
            found = self.medians(what)
            peer = found.get("nginx")
            for who, figures in found.items():
                ratio = f"{cells[0][1](figures) / cells[0][1](peer):.2f}" if peer and cells[0][1](peer) else ""
                print(f"| {what}: {who} | " + " | ".join(f"{of(figures):.2f}" for _, of in cells) + f" | {ratio} |")


def measure_logins(bench, table, name, who):
    for security in ("plain", "tls", "resumed"):
        for at_once in (1, 20, 200):
            count = max(LOGINS // (4 if at_once == 1 else 1), 200)
            own, asked, said = bench.costs(who, "login", who.ports[security], count, at_once, security)
            if said["done"]:
                scale = 1000 / said["done"]
                table.add(f"{security}, {at_once} at once", name, (own + asked) * scale, own * scale, asked * scale,
                          said["done"] / said["seconds"], said["p50"] / 1000, said["p99"] / 1000)


def measure_latency(bench, table, name, who):
    for security in ("plain", "tls"):
        straight = bench.load("small", bench.backend, 5000, 1, "plain")
        said = bench.load("small", who.ports[security], 5000, 1, security)
        table.add(f"NOOP, {security}", name, said["p50"] - straight["p50"], said["p50"], said["p99"])


def measure_bytes(bench, table, name, who):
    for mode in ("fetch", "append"):
        for security in ("plain", "tls"):
            own, _, said = bench.costs(who, mode, who.ports[security], MIB, 4, security)
            if said["done"]:
                table.add(f"{mode}, {security}", name, own * 1024 / said["done"], said["done"] / said["seconds"])


def measure_memory(bench, table, name, who):
    for security in ("plain", "tls"):
        table.add(f"idle, {security}", name, bench.idle(who, security))


MEASURES = {"login": measure_logins, "latency": measure_latency, "bytes": measure_bytes, "memory": measure_memory}


def show(table):
    keys = list(table.rows)
    pick = lambda word: [k for k in keys if word in k]  # noqa: E731
    table.show("logins", [("CPU s / 1000, all", lambda f: f[0]), ("proxy", lambda f: f[1]), ("asked", lambda f: f[2]),
                          ("logins/s", lambda f: f[3]), ("p50 ms", lambda f: f[4]), ("p99 ms", lambda f: f[5])], pick("at once"))
    table.show("small commands, µs", [("added p50", lambda f: f[0]), ("p50", lambda f: f[1]), ("p99", lambda f: f[2])], pick("NOOP"))
    table.show("bytes", [("CPU s / GiB", lambda f: f[0]), ("MiB/s", lambda f: f[1])], pick("fetch") + pick("append"))
    table.show("memory", [("KiB a session", lambda f: f[0])], pick("idle"))


def plot(table, path):
    """CPU of logins as bars, in SVG."""
    rows = [(f"{what}: {who}", f[1], f[2]) for what in table.rows if "at once" in what for who, f in table.medians(what).items()]
    widest = max(own + asked for _, own, asked in rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{18 * len(rows) + 30}" font-family="sans-serif" font-size="11">',
             '<text x="5" y="14">CPU seconds for 1,000 logins: the proxy, and what it asks (lighter)</text>']
    for n, (text, own, asked) in enumerate(rows):
        y = 24 + 18 * n
        a, b = 440 * own / widest, 440 * asked / widest
        parts.append(f'<text x="5" y="{y + 11}">{text}</text><rect x="220" y="{y}" width="{a:.1f}" height="14" fill="#1b7837"/>'
                     f'<rect x="{220 + a:.1f}" y="{y}" width="{b:.1f}" height="14" fill="#a6dba0"/>'
                     f'<text x="{226 + a + b:.1f}" y="{y + 11}">{own + asked:.2f}</text>')
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(parts) + "\n</svg>\n")


def main():
    names = [x for x in (os.environ.get("ONLY") or ",".join(KINDS)).split(",") if x]
    what = [x for x in (os.environ.get("WHAT") or ",".join(MEASURES)).split(",") if x]
    bench, table = Bench(), Table()
    try:
        for n in range(ROUNDS):
            for name in names + (["before"] if BEFORE else []):
                print(f"round {n + 1}: {name}", flush=True)
                who = Imapferry(bench, os.path.abspath(BEFORE)) if name == "before" else KINDS[name](bench)
                try:
                    for w in what:
                        MEASURES[w](bench, table, name, who)
                finally:
                    who.close()
    finally:
        bench.close()
    show(table)
    if os.environ.get("OUT"):
        plot(table, os.environ["OUT"])


if __name__ == "__main__":
    main()
