"""A private Courier IMAP 5, as harness.dovecot is a private Dovecot: see harness.unpacked for what both share.

    with Courier("old", cert=authority.issue("old")) as old: ...

Its separator is "." and its prefix "INBOX.", always. There is no master user. With pop3=True there is POP3
too. per_ip: its MAXPERIP. With gamin=False each APPEND and SELECT waits 1.2 s, as on many a real one, where Courier is one
that asks it (Debian 12's: asks_gamin()).
"""
import contextlib
import datetime
import hashlib
import os

from . import net
from .unpacked import SERVERS, PasswordDaemon, Unpacked

CAPABILITY = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

# What stands in /etc/courier/imapd and imapd-ssl, where Debian's scripts start it.
SETTINGS = {
    "IMAP_KEYWORDS": "1", "IMAP_ACL": "1", "IMAP_PROXY": "0", "IMAP_PROXY_FOREIGN": "0", "IMAP_IDLE_TIMEOUT": "60",
    "IMAP_MAILBOX_SANITY_CHECK": "1", "IMAP_DISABLETHREADSORT": "0", "IMAP_CHECK_ALL_FOLDERS": "0",
    "IMAP_OBSOLETE_CLIENT": "0", "IMAP_UMASK": "022", "IMAP_USELOCKS": "1", "IMAP_ENHANCEDIDLE": "0",
    "IMAP_TRASHFOLDERNAME": "Trash", "IMAP_EMPTYTRASH": "", "IMAP_MOVE_EXPUNGE_TO_TRASH": "0", "IMAP_TLS_REQUIRED": "0",
    "TLS_VERIFYPEER": "NONE", "HOSTNAME": "localhost", "LC_ALL": "C.UTF-8", "CHARSET": "utf-8",
}

# How a Maildir spells what IMAP says.
MAILDIR_FLAGS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}


def asks_gamin():
    return os.path.exists(os.path.join(SERVERS, "courier", "usr", "libexec", "gam_server"))


class Courier(Unpacked):
    tree = "courier"

    def __init__(self, name, cert=None, users=None, anybody=True, capability=CAPABILITY, gamin=True, extra=None,
                 folder=None, pop3=False, per_ip=500):
        super().__init__(name, ".", "INBOX.", users, anybody, folder)
        if pop3:
            self.port["pop3"] = net.free_port()
        self._cert, self._gamin, self._per_ip = cert, gamin and asks_gamin(), per_ip
        self._passwords = None
        self.folder_of_owner("mail")
        self._settings = dict(SETTINGS, IMAP_CAPABILITY=capability, IMAP_CAPABILITY_TLS=capability + " AUTH=PLAIN",
                              IMAP_STARTTLS="YES" if cert else "NO",
                              COURIERTLS=self.program("usr", "bin", "couriertls"))
        if cert:
            self._settings["TLS_CERTFILE"] = self._both_in_one(cert)
        self._settings.update(extra or {})
        self.start()

    def _both_in_one(self, cert):
        text = ""
        for path in cert:
            with open(path, encoding="ascii") as f:
                text += f.read()
        return self.write("server.pem", text, 0o600)

    def home(self, user):
        return self.place("mail", hashlib.sha256(user.encode()).hexdigest())

    def maildir(self, user):
        return os.path.join(self.home(user), "Maildir")

    def deliver(self, user, name, text):
        """Puts a message into the new/ of INBOX, as a delivery agent does. UIDs follow the order of the names."""
        where = os.path.join("mail", os.path.basename(self.home(user)), "Maildir")
        path = self.write(os.path.join(where, "tmp", name), text)
        os.rename(path, self.place(where, "new", name))

    def write_messages(self, user, folder, messages):
        """Thousands of mail.Message at once, into INBOX.folder, which is there: one command each takes minutes."""
        where = os.path.join("mail", os.path.basename(self.home(user)), "Maildir", "." + folder, "cur")
        for n, one in enumerate(messages):
            flags = "".join(sorted(MAILDIR_FLAGS[flag] for flag in one.flags))
            text = one.body.decode("ascii").replace("\r\n", "\n")
            path = self.write(os.path.join(where, f"{1500000000 + n}.M{n:06}.many:2,{flags}"), text)
            os.utime(path, (datetime.datetime.strptime(one.date, '"%d-%b-%Y %H:%M:%S %z"').timestamp(),) * 2)

    # ---- life

    def start(self):
        self._passwords = PasswordDaemon(self.place("passwords"), self._answer)
        environment = dict(self.environment(), PRIVATE_AUTH=self.place("passwords"),
                           PRIVATE_USER=self.owner.pw_name, **self._settings)
        if self._gamin:
            environment["GAM_CLIENT_ID"] = os.path.basename(self.folder)
            self.run([self.program("usr", "libexec", "gam_server"), "--notimeout", environment["GAM_CLIENT_ID"]],
                     environment, as_owner=True)
        environment["GAMIN_DEBUG_SERVER"] = "/bin/false"  # else libgamin starts a server of its own
        login = [self.program("usr", "lib", "courier", "courier", "imaplogin"), self.program("usr", "bin", "imapd"),
                 "Maildir"]
        self._listen("imap", login, environment)
        if "pop3" in self.port:
            place = self.program("usr", "lib", "courier", "courier")
            self._listen("pop3", [os.path.join(place, "courierpop3login"), os.path.join(place, "courierpop3d"), "Maildir"],
                         dict(environment, POP3_STARTTLS="NO", MAILDIRPATH="Maildir"))
        if self._cert:
            self._listen("imaps", [self._settings["COURIERTLS"], "-server", "-tcpd", "-user=courier", *login],
                         dict(environment, IMAP_TLS="1", IMAP_STARTTLS="NO"))
        self.wait_listening("imap", *(["imaps"] if self._cert else []), *(["pop3"] if "pop3" in self.port else []))

    def _listen(self, port, command, environment):
        no_ident = ["-noidentlookup"] if asks_gamin() else []  # newer ones have no such lookup
        self.run([self.program("usr", "sbin", "couriertcpd"), f"-address={net.HOST}", "-maxprocs=500", f"-maxperip={self._per_ip}",
                  "-nodnslookup", *no_ident, str(self.port[port]), *command], environment)

    def _answer(self, connection):
        """The protocol of Courier's authdaemond: KEY=VALUE lines, "AUTH length", then service, kind, name, password, a
        line each."""
        with connection.makefile("rb") as lines:
            head = lines.readline()
            while b"=" in head:
                head = lines.readline()
            verb, _, size = head.strip().partition(b" ")
            if verb != b"AUTH" or not size.isdigit():
                return b"FAIL\n"
            asked = lines.read(int(size)).decode("utf-8", "replace")
        _, kind, user, password = (asked.split("\n") + [""] * 4)[:4]
        if kind != "login" or not self.knows(user, password):
            return b"FAIL\n"
        home = self._make_home(user)
        return (f"UID={self.owner.pw_uid}\nGID={self.owner.pw_gid}\nHOME={home}\nADDRESS={user}\n"
                f"MAILDIR={home}/Maildir\n.\n").encode()

    def _make_home(self, user):
        home = self.home(user)
        for part in ("", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(home, part), 0o700)
                self._give(os.path.join(home, part))
        return home

    def stop(self):
        super().stop()
        if self._passwords:
            self._passwords.close()
            self._passwords = None
            os.unlink(self.place("passwords"))

