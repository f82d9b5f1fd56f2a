"""A private Dovecot from a configuration of its own in a temporary folder; nothing of the system's is read.

    with Dovecot("old", separator=".", prefix="INBOX.", mail="maildir", cert=authority.issue("old")) as old:
        ... old.url("imaps"), old.port["imap"] ...

Every user exists, with the password "secret"; users={"ann": "other"} gives some a second one.
"""
import contextlib
import grp
import hashlib
import os
import pwd
import signal
import subprocess

from . import dovecot_conf, leaks, net

MASTER_USER, MASTER_PASSWORD = "admin", "styx-ferry"
leaks.used(MASTER_PASSWORD)
PASSWORD = "secret"
DOVEADM_KEY = "k3y of doveadm"

SPECIAL_USE = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Trash": "\\Trash", "Junk": "\\Junk", "Archive": "\\Archive"}


class Dovecot:
    def __init__(self, name, separator="/", prefix="", mail="maildir", cert=None, capability="", trusted="",
                 master_separator="*", users=None, anybody=True, fsync="never", special_use=True, extra="", folder=None, doveadm=False, header=False, lmtp=False,
                 provider=None, pop3=None, listed=False, sieve=None):
        """mail: maildir, mdbox or sdbox. extra: of dovecot_conf.extra(). doveadm: its HTTP API listens, see doveadm_options().
        header: there are ports that want a PROXY header too, see header_url(). lmtp: mail servers deliver at port["lmtp"].
        provider: of tokens (provider.py). pop3: the format of UIDLs, "" for Dovecot's own; None: no POP3. listed: who is not in
        users_file is nobody; its folder's group is Dovecot's. sieve: ManageSieve at port["sieve"]; "imap": for what comes by IMAP, too."""
        self.name, self.separator, self.prefix = name, separator, prefix
        self.is_maildir = mail == "maildir"
        self.folder = folder or net.temp_folder(name)
        self.port = {"imap": net.free_port(), "imaps": net.free_port()}
        if doveadm:
            self.port["doveadm"] = net.free_port()
            extra += dovecot_conf.doveadm(self.port["doveadm"], DOVEADM_KEY, tls=bool(cert))
        if lmtp:
            self.port["lmtp"] = net.free_port()
            extra += dovecot_conf.extra("lmtp", port=self.port["lmtp"])
        if header:
            self.port["header"], self.port["headers"] = net.free_port(), net.free_port()
            extra = dovecot_conf.behind_proxies(self.port["header"], self.port["headers"], tls=bool(cert)) + extra
        self._pop3 = pop3
        self._listed, self._sieve = listed, sieve
        self.users_file = os.path.join(self.folder, "accounts" if listed else "", "users")
        if sieve is not None:
            self.port["sieve"] = net.free_port()
        if pop3 is not None:
            self.port["pop3"], self.port["pop3s"] = net.free_port(), net.free_port()
        self._process = None
        self._settings = {
            "driver": mail, "path": "Maildir" if self.is_maildir else mail, "fsync": fsync, "ssl": "yes" if cert else "no",
            "ssl_files": dovecot_conf.ssl_files(*cert) if cert else "",
            "capability": f"imap_capability = {capability}" if capability else "",
            "trusted": trusted, "master_separator": master_separator, "extra": extra,
            "open_passdb": dovecot_conf.open_passdb(PASSWORD) if anybody else "",
            "special_use": self._special_use() if special_use else "",
        }
        if provider:
            self._settings["extra"] += dovecot_conf.tokens(provider.url(), self._write)
        self._tls = bool(cert)
        self._write_config()
        self._write_users(users or {})
        self.start()

    # ---- addresses

    def url(self, scheme="imaps", host="127.0.0.1"):
        """As the option address of a backend wants it; imap+starttls uses the port of imap."""
        return f"{scheme}://{host}:{self.port['imaps' if scheme == 'imaps' else 'imap']}"

    @contextlib.contextmanager
    def stopped(self, service):
        """Its processes stand still that serve users by this protocol ("pop3", "imap")."""
        found = []
        for number in (x for x in os.listdir("/proc") if x.isdigit()):
            with contextlib.suppress(OSError), open(f"/proc/{number}/stat", "rb") as stat, open(f"/proc/{number}/cmdline", "rb") as line:
                is_mine = int(stat.read().rpartition(b")")[2].split()[1]) == self._process.pid
                if is_mine and line.read().split(b"\0")[0].split(b" ")[0] == f"dovecot/{service}".encode():
                    found.append(int(number))
        assert found, f"no process of dovecot/{service}"
        for number in found:
            os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in found:
                os.kill(number, signal.SIGCONT)

    def pop3_url(self, scheme="pop3", host="127.0.0.1"):
        """As the option pop3 of a backend wants it."""
        return f"{scheme}://{host}:{self.port['pop3s' if scheme == 'pop3s' else 'pop3']}"

    def header_url(self, scheme="imaps", host="127.0.0.1"):
        """As url(), of the ports that want a PROXY header."""
        return f"{scheme}://{host}:{self.port['headers' if scheme == 'imaps' else 'header']}"

    def doveadm_options(self):
        """What the section of a backend says of it."""
        self._write("doveadm.key", DOVEADM_KEY + "\n")
        return {"doveadm_url": f"http{'s' if self._tls else ''}://127.0.0.1:{self.port['doveadm']}/doveadm/v1",
                "doveadm_key_file": os.path.join(self.folder, "doveadm.key")}

    def _write_users(self, users):
        self._write(self.users_file, "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in users.items()))
        self._write("masters", f"{MASTER_USER}:{{PLAIN}}{MASTER_PASSWORD}\n")

    def set_users(self, users):
        """Passwords anew; whoever is signed in stays so."""
        self._write_users(users)

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    # ---- configuration

    @staticmethod
    def _special_use():
        return "".join(f"  mailbox {name} {{\n    special_use = {use}\n  }}\n" for name, use in SPECIAL_USE.items())

    def _write_config(self):
        if os.getuid() == 0:
            internal, login, chroot = "dovecot", "dovenull", ""
            self._mail = pwd.getpwnam("mail")
            group = "dovecot"
        else:
            self._mail = pwd.getpwuid(os.getuid())
            internal = login = self._mail.pw_name
            chroot = "  chroot ="
            group = grp.getgrgid(self._mail.pw_gid).gr_name
        mail = os.path.join(self.folder, "mail")
        os.makedirs(mail, exist_ok=True)
        if os.getuid() == 0:
            os.chown(mail, self._mail.pw_uid, self._mail.pw_gid)
        values = dict(self._settings, folder=self.folder, internal_user=internal, internal_group=group,
                      login_user=login, mail_uid=self._mail.pw_uid, mail_gid=self._mail.pw_gid,
                      separator=self.separator, prefix=self.prefix, chroot=chroot, users=self.users_file, listed=self._listed,
                      **self.port)
        if self._listed:
            os.makedirs(os.path.dirname(self.users_file), exist_ok=True)
            os.chown(os.path.dirname(self.users_file), -1, grp.getgrnam(group).gr_gid)
            os.chmod(os.path.dirname(self.users_file), 0o2750)
        if self._sieve is not None:
            values["extra"] += dovecot_conf.sieve(self.port["sieve"], self._sieve == "imap", chroot)
        if self._pop3 is not None:
            values["extra"] += dovecot_conf.pop3(self.port["pop3"], self.port["pop3s"], self._pop3, chroot)
        self.config = os.path.join(self.folder, "dovecot.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(dovecot_conf.text(**values))

    # ---- life

    def start(self):
        self._process = subprocess.Popen(["dovecot", "-F", "-c", self.config], start_new_session=True,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE)
        net.wait_until(f"Dovecot {self.name}", self._listens, timeout=20)

    def _listens(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"dovecot ended: {self._process.stderr.read().decode()}\n{self.log()[-2000:]}")
        return net.accepts((net.HOST, self.port["imap"]))

    def deliver(self, user, message, sender="somebody@example.org"):
        """As a mail server does it: by the delivery agent, past IMAP."""
        subprocess.run(["/usr/lib/dovecot/dovecot-lda", "-c", self.config, "-d", user, "-f", sender], input=message,
                       check=True, timeout=30)

    def home(self, user):
        return os.path.join(self.folder, "mail", hashlib.sha256(user.encode()).hexdigest()[:16])

    def maildir(self, user):
        """None where mail lies otherwise."""
        return os.path.join(self.home(user), "Maildir") if self.is_maildir else None

    def log(self):
        with contextlib.suppress(OSError), open(os.path.join(self.folder, "dovecot.log"), encoding="utf-8",
                                                errors="replace") as f:
            return f.read()
        return ""

    def stop(self):
        """Its master waits for seconds for processes of its own that wait for it; they are told directly."""
        net.stop_group(self._process)
        self._process.stderr.close()

    def doveadm(self, *args):
        """doveadm of this server; its standard output."""
        run = subprocess.run(["doveadm", "-c", self.config, *args], check=True, capture_output=True, text=True)
        return run.stdout

    def close(self):
        self.stop()
        net.remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
