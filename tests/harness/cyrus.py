"""A private Cyrus IMAP 3, as harness.dovecot is a private Dovecot: see harness.unpacked for what both share.

    with Cyrus("new", cert=authority.issue("new")) as new: ...
    with Cyrus("old", separator=".", prefix="INBOX.") as old: ...

A user's INBOX is made at the first login, together with `autocreate`. The master user may authorize as anybody (SASL
PLAIN with authzid) and, signed in as itself, administers: "user/ann@example.org" is ann's INBOX then. With the
separator "." there can be no dot before the @ of a user's name. Debian's defaults otherwise; see IMAPD_CONF.
"""
import os
import struct

from . import dovecot_conf, net
from .dovecot import MASTER_USER, SPECIAL_USE
from .unpacked import PasswordDaemon, Unpacked, read_exactly

IMAPD_CONF = """
configdirectory: {folder}/conf
defaultpartition: default
partition-default: {folder}/spool
metapartition-default: {folder}/spool
cyrus_user: {owner}
unixhierarchysep: {slash}
altnamespace: {no_prefix}
virtdomains: userid
defaultdomain: localdomain
{admins}
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {folder}/passwords
sasl_mech_list: PLAIN LOGIN
sasl_auto_transition: no
allowplaintext: yes
failedloginpause: 0
{autocreate}
{special_use}
specialuse_protect: none
hashimapspool: no
conversations: no
duplicatesuppression: no
expunge_mode: immediate
delete_mode: immediate
statuscache: yes
servername: localhost
syslog_prefix: cyrus
maxlogins_per_user: 0
tls_session_timeout: 0
{tls}
{extra}
"""

CYRUS_CONF = """
START {{
    recover cmd="{recover} -C {imapd_conf} -r"
}}
SERVICES {{
{services}
}}
EVENTS {{
}}
"""


class Cyrus(Unpacked):
    tree = "cyrus"

    def __init__(self, name, separator="/", prefix="", cert=None, users=None, anybody=True, autocreate=(),
                 special_use=True, extra="", folder=None, lmtp=False, pop3=None, makes_inboxes=True):
        """lmtp: mail servers deliver at port["lmtp"]; who has no INBOX gets one. pop3: uidl_format, "" for Cyrus's own; None: no
        POP3. makes_inboxes: who signs in gets one."""
        super().__init__(name, separator, prefix, users, anybody, folder)
        if lmtp:
            self.port["lmtp"] = net.free_port()
            extra += "\nautocreate_post: yes\n"
        if pop3 is not None:
            self.port["pop3"], self.port["pop3s"] = net.free_port(), net.free_port()
            extra += f"\nuidl_format: {pop3}\n" if pop3 else ""
        if (separator, prefix) not in (("/", ""), ("/", "INBOX/"), (".", "INBOX."), (".", "")):
            raise ValueError("Cyrus has no such names")
        for where in ("conf", "spool", "conf/proc", "conf/socket", "conf/log", "conf/msg", "conf/db", "conf/lock"):
            self.folder_of_owner(where)
        self._cert = cert
        self._passwords = None
        self._imapd_conf = self.write("imapd.conf", IMAPD_CONF.format(
            folder=self.folder, owner=self.owner.pw_name, admins=self._admins(), extra=extra,
            slash="yes" if separator == "/" else "no", no_prefix="no" if prefix else "yes", 
            autocreate=self._autocreate(autocreate) if makes_inboxes else "",
            special_use=self._special_use() if special_use else "", tls=self._tls()))
        self._cyrus_conf = self.write("cyrus.conf", CYRUS_CONF.format(
            imapd_conf=self._imapd_conf, recover=self._bin("ctl_cyrusdb"), services=self._services()))
        self.start()

    def _bin(self, name):
        return self.program("usr", "lib", "cyrus", "bin", name)

    @staticmethod
    def _admins():
        """The file for administrators, with our master."""
        with open(os.path.join(dovecot_conf.CONF, "cyrus-numbers.conf"), encoding="utf-8") as f:
            return f.read().replace(": imapferry", f": {MASTER_USER}")

    @staticmethod
    def _autocreate(folders):
        names = f"autocreate_inbox_folders: {' | '.join(folders)}" if folders else ""
        return f"autocreate_quota: 0\nautocreate_users: anyone\n{names}"

    @staticmethod
    def _special_use():
        """Names that Cyrus gives the attribute where it makes them itself."""
        return "".join(f"xlist-{use[1:].lower()}: {name}\n" for name, use in SPECIAL_USE.items())

    def _tls(self):
        if not self._cert:
            return ""
        certificate, key = self._cert
        with open(key, encoding="ascii") as f:
            mine = self.write("server.key", f.read(), 0o600)
        return f"tls_server_cert: {certificate}\ntls_server_key: {mine}\nallowstarttls: yes"  # 3.6 does without asking

    def _services(self):
        imapd = f"{self._bin('imapd')} -C {self._imapd_conf}"
        lines = [f'    imap cmd="{imapd}" listen="127.0.0.1:{self.port["imap"]}" prefork=1 maxchild=500']
        if self._cert:
            lines.append(f'    imaps cmd="{imapd} -s" listen="127.0.0.1:{self.port["imaps"]}" prefork=0 maxchild=500')
        if "pop3" in self.port:
            pop3d = f"{self._bin('pop3d')} -C {self._imapd_conf}"
            lines.append(f'    pop3 cmd="{pop3d}" listen="127.0.0.1:{self.port["pop3"]}" prefork=0 maxchild=100')
            if self._cert:
                lines.append(f'    pop3s cmd="{pop3d} -s" listen="127.0.0.1:{self.port["pop3s"]}" prefork=0 maxchild=100')
        if "lmtp" in self.port:
            lmtpd = f"{self._bin('lmtpd')} -C {self._imapd_conf} -a"
            lines.append(f'    lmtp cmd="{lmtpd}" listen="127.0.0.1:{self.port["lmtp"]}" prefork=0 maxchild=100')
        return "\n".join(lines)

    # ---- life

    def start(self):
        self._passwords = PasswordDaemon(self.place("passwords"), self._answer)
        environment = dict(self.environment(), CYRUS_USER=self.owner.pw_name)
        self.run([self._bin("master"), "-C", self._imapd_conf, "-M", self._cyrus_conf,
                  "-p", self.place("conf", "master.pid")], environment, as_owner=True)
        with_tls = ["imaps", "pop3s"] if self._cert else []
        self.wait_listening("imap", *(x for x in (*with_tls, "pop3", "lmtp") if x in self.port))

    def _answer(self, connection):
        """The protocol of saslauthd: name, password, service, realm, each behind its length."""
        def word():
            return read_exactly(connection, struct.unpack("!H", read_exactly(connection, 2))[0]).decode()
        name, password, _, realm = (word() for _ in range(4))
        if realm and "@" not in name and realm != "localdomain":
            name = f"{name}@{realm}"
        answer = b"OK" if self.knows(name, password) else b"NO"
        return struct.pack("!H", len(answer)) + answer

    def stop(self):
        super().stop()
        if self._passwords:
            self._passwords.close()
            self._passwords = None
            os.unlink(self.place("passwords"))
