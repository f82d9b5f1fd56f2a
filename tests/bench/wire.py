#!/usr/bin/python3
"""make bench-wire: the transcripts of tests/transcripts, played against imapferry and other mail proxies. Who answers what, as Markdown.

    ONLY=imapferry,nginx,dovecot,perdition    who takes part
    FILES=tags,http                           which transcripts
    WHY=1                                     behind the table, what each one did otherwise, a line a file

passes; differs: another answer; hangs: none within 3 seconds (5 where short deadlines are asked for); dies: a process of it crashed;
-: it has no such setting. Where only some scenes of a file are so, it says how many. What the log says, and what a proxy does that reads all
it relays ("about what is read"), is asked of imapferry alone. The users' passwords are checked by the server behind, by nobody else."""
import os
import pwd
import re
import socket
import sys

from proxy import Process

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import certs, net, redisd, transcript  # noqa: E402
from harness.lane import PROFILES, Certificates, Lane  # noqa: E402
from harness.scripted import CAPABILITIES, Scripted  # noqa: E402

ORDER = ("passes", "-", "differs", "hangs", "dies")


class Other:
    """Ports of the three listeners, and the processes behind them; what a Player plays against."""

    log = None
    source = net.HOST   # where its clients come from

    def __init__(self, profile, stage):
        self.folder = net.temp_folder("wire")
        os.chmod(self.folder, 0o755)
        self.profile, self.stage = profile, stage
        self.ca, self.backend = stage.authority.ca, Scripted(stage.certificates)
        self.deadline = 5 if profile in ("impatient", "header") else 3
        self.ports = {name: net.free_port() for name in ("plain", "tls", "starttls", "auth")}
        self.processes = []
        self.start()
        for name in ("plain", "tls", "starttls"):
            net.wait_until(f"{type(self).__name__} at {name}", lambda p=self.ports[name]: net.accepts((net.HOST, p)))

    def address(self, listener):
        return net.HOST, self.ports[listener]

    def names(self, **more):
        return dict(self.ports, folder=self.folder, cert=self.stage.cert[0], key=self.stage.cert[1], ca=self.ca,
                    imap=self.backend.port["imap"], imaps=self.backend.port["imaps"], **more)

    def run(self, name, *command):
        self.processes.append(Process(self.folder, name, *command))

    def write(self, file, text, **more):
        path = os.path.join(self.folder, file)
        with open(path, "w", encoding="ascii") as f:
            f.write(text.format(**self.names(**more)))
        return path

    def logs(self):
        text = ""
        for name in os.listdir(self.folder):
            if name.endswith((".log", ".err")):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as f:
                    text += f.read()
        return text

    def crashes(self):
        said = len(re.findall(r"exited on signal|killed with signal|Panic:|core dumped", self.logs()))
        return said + sum(p.process.poll() is not None for p in self.processes)

    def close(self):
        for p in self.processes:
            p.close()
        self.backend.close()
        net.remove_folder(self.folder)


NGINX_AUTH = """daemon off; worker_processes 1; pid {folder}/auth.pid; error_log {folder}/auth.err;
events {{ worker_connections 512; }}
http {{ access_log off;
  server {{ listen 127.0.0.1:{auth}; location / {{ add_header Auth-Status OK; add_header Auth-Server 127.0.0.1;
    add_header Auth-Port {imap}; return 204; }} }} }}
"""
NGINX_MAIL = """load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off; worker_processes 1; pid {folder}/mail.pid; error_log {folder}/mail.err;
events {{ worker_connections 512; }}
mail {{ auth_http 127.0.0.1:{auth}/; ssl_certificate {cert}; ssl_certificate_key {key}; timeout {timeout}; proxy_pass_error_message on;
  imap_capabilities {capabilities}; imap_auth plain login; proxy_protocol {out}; {trust}
  server {{ listen 127.0.0.1:{plain} {header}; protocol imap; }}
  server {{ listen 127.0.0.1:{tls} ssl {header}; protocol imap; }}
  server {{ listen 127.0.0.1:{starttls} {header}; protocol imap; starttls only; }} }}
"""


class Nginx(Other):
    profiles = ("plain", "impatient", "header", "header-out-v1")

    def start(self):
        words = " ".join(f'"{x}"' for x in CAPABILITIES.split() if not x.startswith("AUTH="))
        header = self.profile == "header"
        mail = self.write("mail.conf", NGINX_MAIL, capabilities=words, timeout="1500ms" if self.deadline == 5 else "60s",
                          out="on" if self.profile == "header-out-v1" else "off", header="proxy_protocol" if header else "",
                          trust="set_real_ip_from 127.0.0.1;" if header else "")
        self.run("auth", "nginx", "-p", self.folder, "-c", self.write("auth.conf", NGINX_AUTH))
        self.run("mail", "nginx", "-p", self.folder, "-c", mail)


DOVECOT = """base_dir = {folder}/{name}
state_dir = {folder}/{name}
log_path = {folder}/{name}.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {internal}
mail_uid = mail
mail_gid = mail
ssl = {ssl}
ssl_cert = <{cert}
ssl_key = <{key}
ssl_client_ca_file = {ca}
disable_plaintext_auth = {disable}
auth_failure_delay = 0
auth_mechanisms = plain login
auth_username_chars = "{chars}"
login_proxy_max_reconnects = 0
login_trusted_networks = {trusted}
haproxy_trusted_networks = 127.0.0.1/32
haproxy_timeout = 1 secs
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {first}
    haproxy = {haproxy}
  }}
  inet_listener imaps {{
    port = {second}
    ssl = {second_ssl}
    haproxy = {haproxy}
  }}
}}
passdb {{
  driver = static
  args = nopassword=y proxy=y host=localhost hostip=127.0.0.1 port={port} proxy_timeout={timeout} {security}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home=/nonexistent
}}
"""


class Dovecot(Other):
    """Clients whose address is its own count as if they had TLS: so they come from another one. It punishes an address for what
    many scenes do there by up to 15 seconds, and tries servers that fail again: not here. Its deadline for a login, 3 minutes, is no setting."""

    profiles = ("plain", "impatient", "header", "trusted", "backend-tls", "backend-starttls")
    source = "127.0.0.2"

    def start(self):
        self.source = net.HOST if self.profile == "header" else self.source
        root, me = os.getuid() == 0, pwd.getpwuid(os.getuid()).pw_name
        printable = "".join(re.sub(r'(["\\\\])', r"\\\1", chr(c)) for c in range(0x20, 0x7f))
        common = dict(chars=printable, internal="dovecot" if root else me, login="dovenull" if root else me,
                      trusted="127.0.0.0/8" if self.profile == "trusted" else "", haproxy="yes" if self.profile == "header" else "no",
                      port=self.backend.port["imaps" if self.profile == "backend-tls" else "imap"],
                      timeout="1" if self.deadline == 5 else "30",
                      security={"backend-tls": "ssl=yes", "backend-starttls": "starttls=yes"}.get(self.profile, ""))
        spare = net.free_port()
        for name, ssl, disable, first, second, second_ssl in (
                ("both", "yes", "no", self.ports["plain"], self.ports["tls"], "yes"),
                ("starttls", "required", "yes", self.ports["starttls"], spare, "no")):
            path = self.write(f"{name}.conf", DOVECOT, name=name, ssl=ssl, disable=disable, first=first, second=second,
                              second_ssl=second_ssl, **common)
            self.run(name, "dovecot", "-F", "-c", path)


class Perdition(Other):
    profiles = ("plain", "impatient", "backend-tls", "backend-starttls")

    def start(self):
        outgoing = {"backend-tls": ["ssl_outgoing"], "backend-starttls": ["tls_outgoing"]}.get(self.profile, [])
        port = self.backend.port["imaps" if outgoing == ["ssl_outgoing"] else "imap"]
        short = ["--authenticate_timeout", "2", "--timeout", "2"] if self.deadline == 5 else []
        for name, mode in (("plain", []), ("tls", ["ssl_listen"]), ("starttls", ["tls_listen_force"])):
            modes = ",".join(mode + outgoing)
            secure = ["--ssl_mode", modes, "--ssl_cert_file", self.stage.cert[0], "--ssl_key_file", self.stage.cert[1],
                      "--ssl_ca_file", self.ca] if modes else []
            self.run(name, "perdition", "--no_daemon", "--map_library", "", "--outgoing_server", f"127.0.0.1:{port}", "--username",
                     "nobody", "--group", "nogroup", "--no_bind_banner", "--bind_address", net.HOST, "--no_lookup",
                     "--log_facility", "-", "--protocol", "IMAP4", "--connection_limit", "0", "--pid_file", "", "--listen_port",
                     str(self.ports[name]), "--imap_capability", CAPABILITIES, "--server_resp_line", *short, *secure)


OTHERS = {"nginx": Nginx, "dovecot": Dovecot, "perdition": Perdition}


class Stage:
    """Certificates and the store, for all of them."""

    def __init__(self):
        self.folder = net.temp_folder("wire-ca")
        self.authority = certs.Authority(self.folder)
        self.cert = self.authority.issue("127.0.0.1")
        self.certificates = Certificates(self.authority)
        self.store = redisd.Redis(port=net.free_port())

    def proxy(self, who, profile):
        if who == "imapferry":
            return Lane(profile, 0, self.store, self.authority, self.cert, self.certificates)
        return OTHERS[who](profile, self) if profile in OTHERS[who].profiles else None

    def close(self):
        self.store.close()
        net.remove_folder(self.folder)


def play(scene, proxy):
    """(verdict, what was otherwise)"""
    before = proxy.crashes() if isinstance(proxy, Other) else 0
    try:
        transcript.play(scene, proxy, proxy.backend)
        verdict = "passes", ""
    except transcript.Broken as e:
        verdict = e.how, f"{e.step.text}: {e.said}"
    except (OSError, AssertionError, RuntimeError) as e:
        verdict = "differs", repr(e)
    if isinstance(proxy, Other) and proxy.crashes() > before:
        return "dies", verdict[1]
    return verdict


def play_all(who, scenes, stage):
    """{scene: (verdict, why)}"""
    results = {}
    for profile in PROFILES:
        mine = [s for s in scenes if s.header("profile", "plain") == profile]
        proxy = stage.proxy(who, profile) if mine else None
        for scene in mine:
            if not proxy or (who != "imapferry" and scene.header("about")):
                results[scene.name] = "-", ""
            else:
                results[scene.name] = play(scene, proxy)
                print(f"    {scene.name}: {results[scene.name][0]}", file=sys.stderr, flush=True)
        if proxy:
            proxy.close()
    return results


def cell(verdicts):
    """Of the scenes of one file: how many pass, and what the others do."""
    asked = [v for v in verdicts if v != "-"]
    if not asked:
        return "-"
    worst = max(asked, key=ORDER.index)
    if worst == "passes":
        return "passes"
    kinds = [f"{asked.count(k)} {k}" for k in reversed(ORDER) if k not in ("passes", "-") and k in asked]
    return f"**{worst}**" if asked.count(worst) == len(asked) else f"{', '.join(kinds)} of {len(asked)}"


def show(files, results):
    whos = list(results)
    print("\n| transcript | row | " + " | ".join(whos) + " |\n" + "|---" * (len(whos) + 2) + "|")
    for name, scenes in files.items():
        rows = sorted({r for s in scenes for r in s.header("row").split()})
        cells = [cell([results[who][s.name][0] for s in scenes]) for who in whos]
        print(f"| {name[:-2]} | {' '.join(rows)} | " + " | ".join(cells) + " |")
    sums = [[results[who][s.name][0] for scenes in files.values() for s in scenes] for who in whos]
    for kind in ("passes", "differs", "hangs", "dies", "-"):
        print(f"| scenes: {kind} | | " + " | ".join(str(s.count(kind)) for s in sums) + " |")


def why(files, results):
    for who, of_all in results.items():
        print(f"\n{who}:")
        for name, scenes in files.items():
            for s in scenes:
                if of_all[s.name][1]:
                    print(f"- {s.name}: {of_all[s.name][0]}: {of_all[s.name][1][:220]}")


def main():
    names = [x for x in (os.environ.get("ONLY") or "imapferry,nginx,dovecot,perdition").split(",") if x]
    wanted = [f"{x}.t" for x in (os.environ.get("FILES") or "").split(",") if x] or transcript.files()
    files = {name: transcript.read(name) for name in wanted}
    socket.setdefaulttimeout(60)
    stage, results = Stage(), {}
    try:
        for who in names:
            print(f"{who} ...", file=sys.stderr, flush=True)
            results[who] = play_all(who, [s for scenes in files.values() for s in scenes], stage)
    finally:
        stage.close()
    show(files, results)
    if os.environ.get("WHY"):
        why(files, results)


if __name__ == "__main__":
    main()
