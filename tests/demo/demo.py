#!/usr/bin/python3
"""`make demo`: a migration to watch. Private servers in a temporary folder, the sample configuration with nothing but
addresses and paths changed, and a story of which every line comes from an event, from `imapferryctl --json` or from
what an IMAP server or mbsync answered. With ONCE=1 in the environment it ends after the flip: status 0 if every step went well
and the comparer found no difference. Else it stays up until Ctrl-C, which removes everything."""

import concurrent.futures
import contextlib
import imaplib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from harness import certs, compare, dovecot, mail, net, redisd  # noqa: E402
from harness.daemon import Daemon, fields, program  # noqa: E402
from harness.scene import Wire  # noqa: E402

USERS = {"ann@example.org": 21, "bob@example.org": 22}  # account -> seed of its mail
PASSWORD = "correct-horse"
MESSAGES, BIG = 360, (8 << 20, 12 << 20, 18 << 20, 26 << 20)
DEADLINE = 50  # seconds for one account
BAR = 8        # characters, so that the line fits 80 columns


class Failed(Exception):
    """A step of the story did not come."""


def substitute(text, section, values):
    """The sample configuration with these values in a section, whether it or the option is commented out or not; an
    option that the sample shows in the first of several sections is added to a later one."""
    text = re.sub(rf"^#({re.escape(section)} \{{\n.*?^)#\}}", r"\1}", text, count=1, flags=re.M | re.S)
    head = re.search(rf"^{re.escape(section)} \{{\n(.*?)^\}}", text, re.M | re.S)
    body = head.group(1)
    for name, value in values.items():
        line = f"    {name} = {value}\n"
        body, found = re.subn(rf"^    #?{name} = .*\n", lambda _, x=line: x, body, count=1, flags=re.M)
        if not found:
            body += line
    return text[:head.start(1)] + body + text[head.end(1):]


def size_text(count):
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def progress_text(messages, volume, seconds, last):
    """[###.....] 161/364 22.2/93.2 MB, 5 s left; in the end how much a second that was."""
    filled = BAR * messages["done"] // messages["total"]
    rate = volume["done"] / seconds
    left = (volume["total"] - volume["done"]) / rate if rate else 1000
    end = f"{size_text(rate)}/s" if last else f"{left:.0f} s left" if left < 1000 else "just begun"
    return (f"[{'#' * filled}{'.' * (BAR - filled)}] {messages['done']}/{messages['total']} "
            f"{volume['done'] / 1e6:.1f}/{volume['total'] / 1e6:.1f} MB, {end}")


class Terminal:
    """Lines, and one line in place for the progress bar where it is a terminal."""

    def __init__(self):
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.tty = sys.stdout.isatty()
        self.bar = False

    def say(self, text=""):
        with self.lock:
            if self.bar:
                print()
                self.bar = False
            print(text, flush=True)

    def step(self, user, what, text):
        self.say(f"{time.monotonic() - self.started:6.1f} s  {user:<16} {what:<16} {text}")

    def progress_line(self, user, text):
        return f"{time.monotonic() - self.started:6.1f} s  {user:<15} copying {text}"

    def progress(self, user, text):
        with self.lock:
            line = self.progress_line(user, text)
            if self.tty:
                print("\r\033[K" + line, end="", flush=True)
                self.bar = True
            else:
                print(line, flush=True)


class Demo:
    def __init__(self):
        self.terminal = Terminal()
        self.folder = net.temp_folder("demo")
        self.stack = contextlib.ExitStack()
        self.stack.callback(net.remove_folder, self.folder)
        self.daemons = []
        self.story = None
        self.accounts, self.left = {}, {}

    # ---- servers

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start_servers(self):
        say = self.terminal.say
        self.authority = certs.Authority(self.path("ca"))
        cert = self.authority.issue("localhost")
        self.redis = redisd.Redis(folder=self.make(self.path("redis")))
        self.stack.callback(self.redis.close)
        say(f"Redis {self.redis.client().info()['redis_version']} on {self.redis.url}, append-only file on")
        users = {user: PASSWORD for user in USERS}
        self.old = self.dovecot("old", separator=".", prefix="INBOX.", mail="maildir", cert=cert, users=users)
        self.load()
        net.wait_next_second()
        self.new = self.dovecot("new", separator="/", prefix="", mail="mdbox", cert=cert, users=users, doveadm=True)

    @staticmethod
    def make(path):
        os.makedirs(path, mode=0o755)
        return path

    def dovecot(self, name, **options):
        server = dovecot.Dovecot(name, folder=self.make(self.path(name)), anybody=False, **options)
        self.stack.callback(server.close)
        self.terminal.say(f"{name}: Dovecot on {server.url()}, separator \"{server.separator}\", "
                          f"prefix \"{server.prefix}\", {options['mail']}")
        return server

    def load(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for told in pool.map(self.load_account, USERS):
                self.terminal.say(told)

    def load_account(self, user):
        account = self.accounts[user] = mail.sample(USERS[user], MESSAGES, sizes=(800, 900000), big=BIG)
        # mbsync takes none without a line between header and body, and would try anew each time.
        account.messages = [m for m in account.messages if b"\r\n\r\n" in m.body]
        m = mail.connect(self.old, user, PASSWORD)
        mail.load(account, m, self.old.prefix, self.old.separator)
        gone = self.leave_gaps(account, m)
        m.logout()
        self.left[user] = len(account.messages) - gone
        return (f"old: loaded {len(account.messages)} messages ({size_text(account.size)}) in {len(account.mailboxes)} "
                f"mailboxes for {user}, and removed {gone} between the others")

    def leave_gaps(self, account, m):
        """As users do: UIDs that no message has any more. How many."""
        gone = 0
        for levels in account.mailboxes:
            m.select(mail.quoted(mail.wire_name(levels, self.old.prefix, self.old.separator)))
            uids = m.uid("SEARCH", "ALL")[1][0].decode().split()[3::7]
            if uids:
                m.uid("STORE", ",".join(uids), "+FLAGS.SILENT", r"(\Deleted)")
                m.uid("EXPUNGE", ",".join(uids))
                gone += len(uids)
            m.unselect()
        return gone

    # ---- ours

    def configure(self):
        with open(os.path.join(ROOT, "conf", "imapferry.conf"), encoding="utf-8") as f:
            text = f.read()
        quote = '"{}"'.format
        secret = self.path("old.secret")
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
            f.write(dovecot.MASTER_PASSWORD + "\n")
        cert, key = self.authority.issue("proxy")
        ca = quote(self.authority.ca)
        for section, values in {
            "redis": {"url": quote(self.redis.url)},
            'backend "old"': {"address": quote(self.old.url()), "ca_file": ca, "master_password_file": quote(secret)},
            # Without a master user: the proxy seals the password of who logs in, the migrator opens it.
            # It is told UIDVALIDITY and UIDs by doveadm.
            'backend "new"': {"address": quote(self.new.url()), "ca_file": ca, "master_user": '""',
                              "master_password_file": '""',
                              **{k: quote(v) for k, v in self.new.doveadm_options().items()}},
            "proxy": {"listen": '{"imaps://127.0.0.1:0", "imap+starttls://127.0.0.1:0"}', "tls_cert": quote(cert),
                      "tls_key": quote(key), "user": '""'},
            "migrator": {"journal_dir": quote(self.make(self.path("journal"))), "user": '""'},
            "seal": {"public_key_file": quote(self.path("seal.pub")),
                     "private_key_files": "{" + quote(self.path("seal.key")) + "}"},
        }.items():
            text = substitute(text, section, values)
        self.config = self.path("imapferry.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def ctl(self, *args):
        """(exit status, what --json says)."""
        run = subprocess.run([program("imapferryctl"), "-c", self.config, "--json", *args], capture_output=True,
                             text=True, timeout=30, check=False)
        try:
            return run.returncode, json.loads(run.stdout) if run.stdout.strip() else {}
        except json.JSONDecodeError:
            raise Failed(f"imapferryctl {' '.join(args)} said {run.stdout!r} {run.stderr!r}") from None

    def user(self, user):
        status, answer = self.ctl("user", user)
        if status not in (0, 3):
            raise Failed(f"imapferryctl user {user}: exit status {status} {answer}")
        return answer if status == 0 else {}

    def start_ours(self):
        for command in (("seal-key",), ("init",)):
            status, answer = self.ctl(*command)
            if status:
                raise Failed(f"imapferryctl {command[0]}: exit status {status} {answer}")
        for name in ("imapferry-proxy", "imapferry-migrator"):
            daemon = Daemon(name, self.config, self.folder, name)
            self.stack.callback(daemon.stop)
            self.daemons.append(daemon)
        addresses = self.daemons[0].listeners(2)
        self.address = addresses[0]
        self.terminal.say(f"imapferry-proxy listens on {' and '.join(addresses)}")
        self.daemons[1].wait(r"event=ready\b")
        self.story = Story(self)
        self.stack.callback(self.story.stop)

    # ---- the story

    def sign_in(self, user):
        host, port = re.match(r"imaps://(.*):(\d+)$", self.address).groups()
        m = imaplib.IMAP4_SSL(host, int(port), ssl_context=mail.trusting(self.authority.ca), timeout=30)
        m.login(user, PASSWORD)
        count = int(m.select("INBOX", readonly=True)[1][0])
        m.close()
        return m, count

    def served_by(self, user, count):
        """By what Redis knows of the session that was just opened."""
        status, sessions = self.ctl("sessions", user)
        backends = sorted({x["backend"] for x in sessions.get("sessions", [])})
        if status or len(backends) != 1:
            raise Failed(f"{user}: sessions of {backends or 'no backend'} (exit status {status})")
        self.terminal.step(user, f"served by {backends[0]}", f"signed in through the proxy, {count} messages in INBOX")
        return backends[0]

    def move(self, user):
        self.story.expect(user)
        phone = self.phone(user)
        m, count = self.sign_in(user)
        if self.served_by(user, count) != "old":
            raise Failed(f"{user} is not served by old at first")
        self.story.wait(user, DEADLINE)
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            m.logout()
        m, count = self.sign_in(user)
        if self.served_by(user, count) != "new":
            raise Failed(f"{user} is not served by new after the flip")
        m.logout()
        return phone

    def phone(self, user):
        """A client that signs in, opens INBOX, and stays in IDLE."""
        wire = Wire(self.address, timeout=30, ca=self.authority.ca)
        self.stack.callback(wire.close)
        wire.until(b"* ")
        if not wire.login(user, PASSWORD).startswith(b"l1 OK"):
            raise Failed(f"{user}: the phone was not let in")
        wire.command(b"p1", b"SELECT INBOX")
        wire.line(b"p2 IDLE")
        wire.until(b"+ ")
        self.terminal.step(user, "phone", f"in IDLE in INBOX, from port {wire.socket.getsockname()[1]}")
        return wire

    def new_mail(self, user, phone):
        """Comes to the new server, and the phone hears of it where it has been all the while."""
        m = mail.connect(self.new, user, PASSWORD)
        m.append("INBOX", None, None, b"Subject: Welcome to the new server\r\n\r\nHello.\r\n")
        m.logout()
        try:
            told = b""
            while not told.endswith(b" EXISTS"):
                told = phone.until(b"* ")[-1]
            phone.line(b"DONE")
            phone.until(b"p2 OK")
            head = phone.command(b"p3", b"FETCH * (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        except (AssertionError, OSError) as e:
            raise Failed(f"{user}: the phone lost its connection: {e}") from None
        subject = next((line.decode() for line in head if line.startswith(b"Subject:")), "nothing")
        self.terminal.step(user, "phone", f"still from port {phone.socket.getsockname()[1]}, it hears \"{told.decode()}\" and "
                                          f"reads \"{subject}\"")
        if subject != "Subject: Welcome to the new server":
            raise Failed(f"{user}: the phone did not get the new message")

    def compare(self, user):
        """The independent comparer, straight at both servers."""
        run = subprocess.run(
            ["/usr/bin/python3", "-B", os.path.join(ROOT, "tests", "harness", "compare.py"), "--ca", self.authority.ca,
             "--expect", str(self.left[user]),
             *(f"imaps://{user.replace('@', '%40')}:{PASSWORD}@127.0.0.1:{s.port['imaps']}" for s in (self.old, self.new))],
            capture_output=True, text=True, timeout=60, check=False)
        self.terminal.step(user, "compared", run.stdout.strip().replace("\n", "\n" + " " * 43) or run.stderr.strip())
        if run.returncode:
            raise Failed(f"{user}: the comparer found differences")

    def numbers(self, user):
        """What became of the numbers of mailboxes; T0: UIDVALIDITY and UIDs are the same on both servers."""
        tiers = self.user(user)["tiers"]
        self.terminal.step(user, "numbers", ", ".join(f"{n} mailboxes {tier}" for tier, n in tiers.items() if n))
        if set(t for t, n in tiers.items() if n) != {"T0"}:
            raise Failed(f"{user}: not all mailboxes have the numbers of the old server: {tiers}")

    def run(self, once):
        self.start_servers()
        self.configure()
        self.start_ours()
        self.terminal.say()
        for user in USERS if once else list(USERS)[:1]:
            laptop = Mbsync(self, user)
            laptop.sync(self.old.url(), "from the old server", self.left[user])
            phone = self.move(user)
            self.numbers(user)
            self.compare(user)
            laptop.sync(self.address, "through the proxy, after the flip", 0)
            self.new_mail(user, phone)
            laptop.sync(self.address, "through the proxy", 1)
        if not once:
            self.stay()

    def stay(self):
        _, bob = USERS
        ctl = f"{program('imapferryctl')} -c {self.config}"
        self.terminal.say(f"""
All is up. For a mail client:
  address   {self.address}   (also {self.daemons[0].listeners(2)[1]}), certificate authority {self.authority.ca}
  user      {bob}   (still on the old server: the first login moves the account)
  password  {PASSWORD}
Without one:
  curl --cacert {self.authority.ca} -u {bob}:{PASSWORD} {self.address}/
To try:
  {ctl} status
  {ctl} user {bob}
  {ctl} flip {next(iter(USERS))} --to old --force --reason "just trying"
  {ctl} pause --reason "just trying"
  {ctl} --help
Everything lies in {self.folder}. Ctrl-C removes it.
""")
        while all(d.process.poll() is None for d in self.daemons):
            self.story.failed.wait(1)
            if self.story.failed.is_set():
                break
        raise Failed("a program ended")

    def close(self):
        with contextlib.suppress(KeyboardInterrupt):
            self.stack.close()


class Mbsync:
    """A mail program that keeps all mail in Maildirs, and knows the old server's mailboxes by their names, UIDVALIDITY and
    UIDs. Where it is not installed nothing is synchronized, and that is said."""

    def __init__(self, demo, user):
        self.demo, self.user = demo, user
        self.folder = demo.make(demo.path("mbsync", user))
        self.mail = demo.make(os.path.join(self.folder, "mail"))
        self.installed = shutil.which("mbsync")

    def configure(self, address):
        port = address.rpartition(":")[2]
        path = os.path.join(self.folder, "mbsyncrc")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
            f.write(f"""FSync no
IMAPAccount far
Host localhost
Port {port}
User {self.user}
Pass {PASSWORD}
SSLType IMAPS
SystemCertificates no
CertificateFile {self.demo.authority.ca}

IMAPStore far
Account far

MaildirStore near
Path {self.mail}/
Inbox {self.mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
""")
        return path

    def kept(self):
        """The files of all messages, which get other names when something is changed or fetched anew."""
        return {os.path.join(folder, name) for folder, _, names in os.walk(self.mail)
                if os.path.basename(folder) in ("cur", "new") for name in names}

    def sync(self, address, what, new):
        if not self.installed:
            self.demo.terminal.step(self.user, "mbsync", "is not installed (make deps does that): nothing to show")
            return
        before = self.kept()
        run = subprocess.run(["mbsync", "-c", self.configure(address), "all"], cwd=self.folder, capture_output=True,
                             text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        said = [x for x in (run.stdout + run.stderr).splitlines() if x and "notice" not in x.lower()]
        after = self.kept()
        fetched, gone = len(after - before), len(before - after)
        self.demo.terminal.step(self.user, "mbsync", f"{what}: {fetched or 'no'} message{'s' * (fetched != 1)} transferred, "
                                                     f"{len(after)} kept" + "".join(f"\n{x}" for x in said))
        if run.returncode or gone or fetched != new:
            raise Failed(f"{self.user}: mbsync ended with status {run.returncode}, {new} were new and {gone} are gone")


class Story(threading.Thread):
    """Follows the stream of events, and tells what happens to accounts."""

    def __init__(self, demo):
        super().__init__(daemon=True)
        self.demo, self.terminal = demo, demo.terminal
        self.over = threading.Event()
        self.failed = threading.Event()
        self.changed = threading.Condition()
        self.states = {}
        self.copying = {}  # user -> when the copy was seen to begin
        self.client = demo.redis.client()
        self.last = "0"
        self.start()

    def stop(self):
        self.over.set()
        self.join(10)

    def run(self):
        try:
            while not self.over.is_set():
                # The stream wakes us; a copy under way is looked at ten times a second meanwhile.
                for _, entries in self.client.xread({"imapferry:events": self.last}, count=1 if self.copying else 100,
                                                    block=100) or []:
                    for number, entry in entries:
                        self.last = number
                        self.event(entry)
                for user in list(self.copying):
                    self.progress(user)
        except Exception as e:  # pylint: disable=broad-except
            if not self.over.is_set():
                self.terminal.say(f"the story broke off: {e!r}")
                self.failed.set()

    def event(self, entry):
        if entry.get("kind") != "state" or not entry.get("user"):
            return
        user, state = entry["user"], entry["state"]
        before = self.states.get(user)
        with self.changed:
            self.states[user] = state
            self.changed.notify_all()
        if state == before:
            return
        epoch = f"epoch {entry['epoch']}"
        if state == "copying":
            self.copying.setdefault(user, (time.monotonic(), None))
        elif state != "queued" and user in self.copying:
            self.progress(user, last=True)
            del self.copying[user]
        if state == "ready":
            self.verified(user, before)
        elif state in ("flipped", "flipping", "freezing", "preparing", "queued", "copying"):
            told = {"flipped": f"the route is {entry['backend']}, {epoch}", "flipping": "no way back from here",
                    "freezing": "sessions come to rest, the last changes are copied",
                    "preparing": "the cut-over begins, " + epoch, "queued": "waits for a migrator",
                    "copying": "a migrator took the job, " + epoch}
            self.terminal.step(user, state, told[state])
        else:
            self.terminal.step(user, state, self.demo.user(user).get("reason") or f"on {entry['backend']}")

    def progress(self, user, last=False):
        answer = self.demo.user(user)
        messages, volume = answer["messages"], answer["bytes"]
        began, shown = self.copying[user]
        if not messages["total"] or (messages, volume) == shown:
            return
        self.copying[user] = (began, (messages, volume))
        seconds = max(time.monotonic() - began, 0.001)
        self.terminal.progress(user, progress_text(messages, volume, seconds, last))

    def verified(self, user, before):
        if before != "copying":
            self.terminal.step(user, "ready", self.demo.user(user).get("reason") or "again")
            return
        a = self.demo.user(user)
        if a["force"]:
            self.terminal.step(user, "ready", "by force, without a copy")
            return
        self.terminal.step(user, "verified", f"{a['messages']['verified']} messages in {a['mailboxes']['done']} mailboxes read "
                                             f"back from {a['target']}: bytes by SHA-256, flags, keywords, dates, order")

    def expect(self, user):
        self.states.pop(user, None)

    def wait(self, user, timeout):
        """Until the account is flipped; Failed where it goes aside."""
        end = time.monotonic() + timeout
        with self.changed:
            while self.states.get(user) != "flipped":
                if self.states.get(user) in ("blocked", "held", "backoff") or self.failed.is_set():
                    raise Failed(f"{user} is {self.states.get(user)}: {self.demo.user(user).get('reason')}")
                if time.monotonic() > end:
                    raise Failed(f"{user} is {self.states.get(user)} after {timeout} s")
                self.changed.wait(0.5)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    once = os.environ.get("ONCE") == "1"
    demo = Demo()
    status = 1
    try:
        demo.run(once)
        status = 0
    except KeyboardInterrupt:
        status = 130 if once else 0
    except (Failed, TimeoutError, RuntimeError, imaplib.IMAP4.error, OSError, subprocess.SubprocessError) as e:
        demo.terminal.say(f"\ndemo failed: {e}")
        for daemon in demo.daemons:
            warnings = [x for x in daemon.lines if x and fields(x).get("level") in ("warn", "error")]
            demo.terminal.say(f"{daemon.label} last warned:\n" + "\n".join(warnings[-10:]))
    try:
        demo.close()
    except AssertionError as e:
        demo.terminal.say(f"\ndemo failed: {e}")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
