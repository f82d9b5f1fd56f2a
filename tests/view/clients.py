"""Mail programs that keep what they have read, and what each of them did in one synchronization. None knows imapferry.

    client = Mbsync(tap, "ann", "secret")   # speaks to HOST:PORT of a Tap, with a folder of its own
    first = client.sync()                   # -> Synced
    assert not client.sync().transferred

What a client holds is holds(): mailbox, as it is spelled there -> {mark of a message: its flags}; add(), flag() and remove()
change that, as its user does, and the next sync() carries it to the server.
"""
import contextlib
import dataclasses
import functools
import json
import os
import pty
import re
import subprocess
import tempfile
import threading

from harness import mail, net
from harness.unpacked import SERVERS

from .account import letter, mark_of, unicode_name
from .tap import Seen

TIMEOUT = 900
FLAG_LETTERS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "D": "\\Draft", "T": "\\Deleted"}
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass
class Synced:
    """validity: what the client said of a UIDVALIDITY that is another; errors: all else that it complained about."""
    status: int
    said: str
    seen: Seen
    validity: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)

    @property
    def transferred(self):
        return self.seen.bodies + self.seen.headers

    def faults(self, transferred=0, more=0):
        """What must not be in a synchronization in which so many messages were new; more: or that many more."""
        out = [f"exit status {self.status}"] if self.status else []
        out += self.validity + self.errors
        if not transferred <= self.transferred <= transferred + more:
            out.append(f"transferred {self.seen}, and not {transferred}")
        return out


class Client:
    name = ""
    env = {}
    asks = ()  # capabilities without which it does not work
    usual = ()  # what it says where all is well
    twice = 0   # how many headers it reads a second time by itself where others before them vanished: at most one a mailbox

    def __init__(self, tap, user, prefix="", separator="/", password="secret"):
        """prefix and separator: those of the server that the client knows."""
        self.tap, self.user, self.password = tap, user, password
        self.prefix, self.separator = prefix, separator
        self.folder = net.temp_folder(self.name)
        self.configure()

    def configure(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def spelled(self, levels):
        """How holds() spells a mailbox."""
        return mail.wire_name(levels, self.prefix, self.separator)

    def expected(self, left):
        """What holds() says where the account is so: levels -> {mark: flags}."""
        return {self.spelled(levels): dict(messages) for levels, messages in left.items()}

    def sync(self):
        self.tap.start()
        run = subprocess.run(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False, env=self._environment())
        return self.judged(run.returncode, run.stdout.decode("utf-8", "replace"))

    def _environment(self):
        return dict(os.environ, HOME=self.folder, XDG_CONFIG_HOME=self.folder, XDG_DATA_HOME=self.folder, LANG="C.UTF-8",
                    LC_ALL="C.UTF-8", **self.env)

    def judged(self, status, said):
        done = Synced(status, said, self.tap.seen())
        for line in re.split(r"[\r\n]+", said):
            if any(x in line for x in self.usual):
                continue
            if re.search(r"UID ?validity", line, re.I):
                done.validity.append(line)
            elif re.search(r"\b(error|warning|fatal|traceback)\b", line, re.I):
                done.errors.append(line)
        return done

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def close(self):
        net.remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- two that keep Maildirs

class Keeper(Client):
    """The user's side is a tree of Maildirs."""

    @property
    def root(self):
        return os.path.join(self.folder, "mail")

    def _files(self, mailbox):
        for part in ("cur", "new"):
            where = os.path.join(self.root, mailbox, part)
            for name in os.listdir(where):
                yield os.path.join(where, name)

    @staticmethod
    def _flags(path):
        return frozenset(FLAG_LETTERS[x] for x in path.rpartition(":2,")[2] if x in FLAG_LETTERS) if ":2," in path else frozenset()

    @staticmethod
    def _mark(path):
        with open(path, "rb") as f:
            return mark_of(f.read())

    def holds(self):
        out = {}
        for folder, folders, _ in os.walk(self.root):
            if "cur" in folders:
                mailbox = os.path.relpath(folder, self.root)
                out[mailbox] = {self._mark(p): self._flags(p) for p in self._files(mailbox)}
        return out

    def _find(self, mailbox, mark):
        return next(p for p in self._files(mailbox) if self._mark(p) == mark)

    def add(self, mailbox, mark):
        with open(os.path.join(self.root, mailbox, "cur", f"1700000000.{mark}.here:2,S"), "wb") as f:
            f.write(letter(mark).replace(b"\r\n", b"\n"))

    def flag(self, mailbox, mark):
        path = self._find(mailbox, mark)
        head, _, flags = path.partition(":2,")
        os.rename(path, f"{head}:2,{''.join(sorted(set(flags) | {'F'}))}".replace("/new/", "/cur/"))

    def remove(self, mailbox, mark):
        path = self._find(mailbox, mark)
        head, _, flags = path.partition(":2,")
        os.rename(path, f"{head}:2,{''.join(sorted(set(flags) | {'T'}))}".replace("/new/", "/cur/"))


class Mbsync(Keeper):
    name = "mbsync"
    usual = ("Maildir notice: no UIDVALIDITY", "Password is being sent in the clear")

    def spelled(self, levels):
        return unicode_name(levels, "", "/") if self._version() >= (1, 5) else mail.wire_name(levels)

    @staticmethod
    @functools.cache
    def _version():
        """Since 1.5 it keeps mailboxes in folders that are named as people spell them, and not as IMAP does."""
        said = subprocess.run(["mbsync", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return tuple(map(int, re.search(r"(\d+)\.(\d+)", said).groups()))

    def configure(self):
        os.mkdir(self.root)
        self._config = self.write("mbsyncrc", f"""
FSync no

IMAPAccount far
Host 127.0.0.1
Port {self.tap.number}
User {self.user}
Pass {self.password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account far

MaildirStore near
Path {self.root}/
Inbox {self.root}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
Sync All
SyncState *
""")

    def command(self):
        return ["mbsync", "-c", self._config, "all"]


class OfflineImap(Keeper):
    name = "offlineimap"

    def configure(self):
        # What it remembers of each message is written to the disk at once, whatever it is told.
        self._metadata = tempfile.mkdtemp(prefix="ferry-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else self.folder)
        self._config = self.write("offlineimaprc", f"""
[general]
accounts = ann
metadata = {self._metadata}
socktimeout = 60
fsync = False

[Account ann]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {self.root}

[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {self.tap.number}
remoteuser = {self.user}
remotepass = {self.password}
auth_mechanisms = LOGIN
ssl = no
starttls = no
maxconnections = 1
expunge = yes
""")

    def command(self):
        return ["offlineimap", "-c", self._config, "-o", "-u", "basic"]

    def close(self):
        net.remove_folder(self._metadata)
        super().close()


# ---- one between two servers

class Interimap(Client):
    """The user's side is an account on another server, near, with the names of the old one."""
    name = "interimap"
    asks = ("QRESYNC",)
    usual = ("vanished remote UID(s)",)  # of UIDs that it never knew, which a server may name

    def __init__(self, tap, user, prefix, separator, near):
        self.near = near
        super().__init__(tap, user, prefix, separator)

    def configure(self):
        sides = "".join(f"\n[{section}]\ntype = imap\nhost = 127.0.0.1\nport = {port}\nusername = {self.user}\n"
                        f"password = {self.password}\nSTARTTLS = NO\nauth = PLAIN\n"
                        for section, port in (("local", self.near.port["imap"]), ("remote", self.tap.number)))
        self._config = self.write("config", f"database = {self.folder}/database\nlist-mailbox = *\n{sides}")

    def command(self):
        return ["interimap", "--config", self._config]

    @contextlib.contextmanager
    def _signed_in(self):
        m = mail.connect(self.near, self.user, self.password)
        try:
            yield m
        finally:
            m.logout()

    def holds(self):
        with self._signed_in() as m:
            return look(m)

    def add(self, mailbox, mark):
        with self._signed_in() as m:
            assert m.append(mail.quoted(mailbox), "(\\Seen)", None, letter(mark))[0] == "OK"

    def _store(self, mailbox, mark, flag):
        with self._signed_in() as m:
            assert m.select(mail.quoted(mailbox))[0] == "OK"
            uid = m.uid("SEARCH", "SUBJECT", f'"mark {mark}"')[1][0].decode()
            assert m.uid("STORE", uid, "+FLAGS", f"({flag})")[0] == "OK"
            if flag == "\\Deleted":
                assert m.uid("EXPUNGE", uid)[0] == "OK"

    def flag(self, mailbox, mark):
        self._store(mailbox, mark, "\\Flagged")

    def remove(self, mailbox, mark):
        self._store(mailbox, mark, "\\Deleted")


def look(m):
    """The same of an account that imaplib is signed in to."""
    out = {}
    for line in m.list()[1]:
        head, name = (line[0], line[1]) if isinstance(line, tuple) else re.match(rb'(\(.*?\) (?:"."|NIL) )(.*)$', line).groups()
        if re.search(rb"\\no(select|nexistent)", head, re.I):
            continue
        name = name if isinstance(line, tuple) else name.strip(b'"').replace(b'\\"', b'"').replace(b"\\\\", b"\\")
        out[name.decode()] = look_into(m, name.decode())
    return out


def look_into(m, name):
    if m.select(mail.quoted(name), readonly=True)[0] != "OK":
        raise AssertionError(f"no {name}")
    found = {}
    for part in m.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] or []:
        if isinstance(part, tuple):
            flags = re.search(rb"FLAGS \(([^)]*)\)", part[0])[1].decode().split()
            found[mark_of(part[1])] = frozenset(x for x in flags if x.startswith("\\") and x != "\\Recent")
    return found


# ---- one on a terminal

class NeoMutt(Client):
    """Opens every mailbox once; what it keeps is the header of each message. holds() says only how many messages a mailbox
    has, how many are new, and how many are flagged, as the status line shows it."""
    name = "neomutt"
    twice = 2

    def __init__(self, tap, user, prefix, separator, names):
        self._shown = {}
        self._keys = []
        super().__init__(tap, user, prefix, separator)
        self.mailboxes = [self.spelled(levels) for levels in names]

    def spelled(self, levels):
        return unicode_name(levels, self.prefix, self.separator)

    def expected(self, left):
        return {self.spelled(levels): (len(x), sum("\\Seen" not in f for f in x.values()),
                                       sum("\\Flagged" in f for f in x.values())) for levels, x in left.items()}

    def configure(self):
        os.mkdir(os.path.join(self.folder, "cache"))
        self._told = os.path.join(self.folder, "told")
        self._url = f"imap://{self.user.replace('@', '%40')}@127.0.0.1:{self.tap.number}/"
        script = self.write("told.sh", f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>{self._told}\n")
        os.chmod(script, 0o700)
        self._config = self.write("neomuttrc", f"""
set imap_user="{self.user}" imap_pass="{self.password}" imap_authenticators="login" imap_login="{self.user}"
set ssl_starttls=no ssl_force_tls=no
set folder="{self._url}" spoolfile="{self._url}INBOX" record="" postponed="" mbox=""
set header_cache="{self.folder}/cache" message_cachedir="{self.folder}/cache"
set imap_condstore=yes imap_qresync=yes imap_idle=no imap_passive=yes mail_check=600 timeout=600 net_inc=0 read_inc=0
set delete=yes quit=yes move=no mark_old=no sort=mailbox-order wait_key=no confirmappend=no sleep_time=0
set status_format="{script} %m %n %F %f|"
""")

    def sync(self):
        self.tap.start()
        mine, theirs = pty.openpty()
        open(self._told, "w", encoding="utf-8").close()
        with subprocess.Popen(["neomutt", "-F", self._config, "-n", "-f", self._url + self.mailboxes[0]], cwd=self.folder,
                              stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                              env=dict(self._environment(), TERM="xterm")) as process:
            os.close(theirs)
            screen = []
            reader = threading.Thread(target=self._read, args=(mine, screen), daemon=True)
            reader.start()
            try:
                self._walk(mine, process)
                status = process.wait(30)
            except (TimeoutError, subprocess.TimeoutExpired) as e:
                process.kill()
                status, screen = -1, screen + [f"\nerror: {e}".encode()]
            os.close(mine)
            reader.join(5)
        return self.judged(status, b"".join(screen).decode("utf-8", "replace"))

    @staticmethod
    def _read(fd, screen):
        with contextlib.suppress(OSError):
            while True:
                data = os.read(fd, 65536)
                if not data:
                    return
                screen.append(data)

    def _lines(self):
        with open(self._told, encoding="utf-8") as f:
            return [x.rstrip("\n").split(" ", 3) for x in f]

    def _walk(self, fd, process):
        self._shown = {}
        for n, mailbox in enumerate(self.mailboxes):
            if n:
                name = mailbox.replace(" ", "\x16 ")  # a bare blank would bring another name
                os.write(fd, f"c\x15{self._url}{name}\n".encode())
            self._wait_for(mailbox, process)
            for keys in [k for m, k in self._keys if m == mailbox]:
                os.write(fd, keys.encode())
        self._keys = []
        os.write(fd, b"q")

    def _wait_for(self, mailbox, process):
        def shown():
            lines = self._lines()
            if process.poll() is not None:
                raise TimeoutError(f"it ended at {mailbox}")
            return lines if lines and lines[-1][3] == f"+{mailbox}" else None
        count, new, flagged, _ = net.wait_until(f"NeoMutt in {mailbox}", shown, timeout=60)[-1]
        self._shown[mailbox] = (int(count), int(new), int(flagged))

    def holds(self):
        return dict(self._shown)

    def flag(self, mailbox, mark):
        self._keys.append((mailbox, f"/~s {mark}\nF"))

    def remove(self, mailbox, mark):
        self._keys.append((mailbox, f"/~s {mark}\nd"))


# ---- a library

class ImapFlow(Client):
    """A cache as programs write it that use the library: imapflow.mjs."""
    name = "imapflow"
    env = {"NODE_PATH": os.path.join(SERVERS, "npm", "node_modules")}

    def spelled(self, levels):
        return unicode_name(levels, self.prefix, self.separator)

    def configure(self):
        self._cache = os.path.join(self.folder, "cache.json")
        self._changes = []

    def command(self):
        task = {"port": self.tap.number, "user": self.user, "pass": self.password, "cache": self._cache,
                "changes": self._changes}
        self._changes = []
        return ["node", os.path.join(HERE, "imapflow.cjs"), json.dumps(task)]

    def holds(self):
        with open(self._cache, encoding="utf-8") as f:
            boxes = json.load(f)["mailboxes"]
        return {name: {m["mark"]: frozenset(x for x in m["flags"] if x.startswith("\\") and x != "\\Recent")
                       for m in box["messages"].values()} for name, box in boxes.items()}

    def add(self, mailbox, mark):
        self._changes.append({"verb": "add", "mailbox": mailbox, "text": letter(mark).decode()})

    def flag(self, mailbox, mark):
        self._changes.append({"verb": "flag", "mailbox": mailbox, "mark": mark})

    def remove(self, mailbox, mark):
        self._changes.append({"verb": "remove", "mailbox": mailbox, "mark": mark})
