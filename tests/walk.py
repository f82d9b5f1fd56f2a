#!/usr/bin/python3
"""The handbook as one walk: from bare Debian systems to the day on which the old server is switched off (make check-walk; root).
    walk.py [--only SUITE] [--keep] [--package FILE]      FILE: of SUITE, in the place of what "make deb" makes of what is committed

Three machines of their own, each with a systemd: the old server, the new one, and the host of imapferry, Redis and Postfix; this process
is everybody else, who reads mail by IMAP and POP3 and sends it by SMTP all the while. What is typed there, and what is written into files, are
the blocks of conf/handbook/ (harness/handbook.py), in their order; a block of a page that is walked and is neither used nor listed in NOT_RUN
fails the walk. What a site had before (SITES) is ours.

    Debian 12   Dovecot 2.3, "INBOX." and dots, to Cyrus 3.6: names differ, so the proxy stays
    Debian 13   Cyrus 3.10 to Dovecot 2.4, which is told the numbers by doveadm: nobody notices that the proxy goes

At the end each message that Postfix took is on the new server once, clients have the numbers that they knew from the first day on, and
the old server is off."""
import argparse
import collections
import contextlib
import hashlib
import imaplib
import os
import poplib
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import certs, handbook, machine, net  # noqa: E402

ROOT = handbook.CONF[:-len("/conf")]
WORK = os.path.join(ROOT, "build", "walk")
BASES = os.path.join(ROOT, "build", "fresh")
ADDRESS = {"old": "10.143.0.2", "new": "10.143.0.3", "ferry": "10.143.0.4"}
HOSTS = "127.0.0.1 localhost\n::1 localhost\n" + "".join(f"{a} {name}.example.org {name}\n" for name, a in ADDRESS.items())
USERS = [f"{name}@example.org" for name in ("ann", "bob", "cleo", "dora", "emil", "fay", "gus", "hal", "ida", "jon")]
NEVER = USERS[-2:]  # they never log in
PILOT = USERS[1:3]
FETCH = USERS[:3]  # by POP3, too
TEST = "test@example.org"

# What stands in a block, and what the walk puts there: nobody waits for an hour here.
VALUES = [
    ("migration {\n    source", 'migration {\n    late_watch = "20s"\n    source'),
]

# What can't be typed here, and why. Beside it: DNS (clients have another address from one moment on), Exchange, and a week that passes
# ("May it go?"): the entries of the late watch are dated back by eight days.
NOT_RUN = {
    "bookworm": {("servers.md", "Courier", "seal"): "neither server is one",
                 ("servers.md", "Dovecot", "passdb masters"): "that of 2.4",
                 ("pop3.md", "UIDLs", "pop3_uidl_format"): "the new server is a Cyrus",
                 ("pop3.md", "UIDLs", "systemctl restart dovecot"): "the new server is a Cyrus",
                 ("finish.md", "4. With the proxy, or without", "purge"): "names differ, so the proxy stays"},
    "trixie": {("servers.md", "Courier", "seal"): "neither server is one",
               ("servers.md", "Dovecot", "passdb {"): "that of 2.3",
               ("pop3.md", "UIDLs", "pop3_uidl_format = %v.%u"): "that of 2.3",
               ("pop3.md", "UIDLs", "uidl_format: dovecot"): "the new server is a Dovecot"},
}


def say(text):
    print(f"walk: {time.strftime('%H:%M:%S')} {text}", flush=True)


# ---- what the sites had before

DOVECOT_USERS = """
groupadd --gid 5000 vmail; useradd --uid 5000 --gid 5000 --home-dir /srv/mail --shell /usr/sbin/nologin vmail
install -d -o vmail -g vmail /srv/mail
sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf
"""
DOVECOT_23 = """
mail_location = maildir:~/Maildir
namespace inbox {
  separator = .
  prefix = INBOX.
}
ssl = required
ssl_cert = </etc/ssl/mail.pem
ssl_key = </etc/ssl/private/mail.key
passdb {
  driver = passwd-file
  args = scheme=PLAIN /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
service lmtp {
  inet_listener lmtp {
    port = 24
  }
}
"""
DOVECOT_24 = """
mail_driver = maildir
mail_path = ~/Maildir
mail_inbox_path =
namespace inbox {
  separator = /
}
ssl = required
ssl_server_cert_file = /etc/ssl/mail.pem
ssl_server_key_file = /etc/ssl/private/mail.key
passdb passwd-file {
  passwd_file_path = /etc/dovecot/users
  default_password_scheme = plain
}
userdb passwd-file {
  passwd_file_path = /etc/dovecot/users
}
protocol lmtp {
  auth_username_format = %{user | lower}
}
service lmtp {
  inet_listener lmtp {
    port = 24
  }
}
"""
CYRUS_CONF = """
START {
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}
SERVICES {
  imap cmd="imapd" listen="imap" prefork=0 maxchild=100
  imaps cmd="imapd -s" listen="imaps" prefork=0 maxchild=100
  pop3 cmd="pop3d" listen="pop3" prefork=0 maxchild=20
  pop3s cmd="pop3d -s" listen="pop3s" prefork=0 maxchild=20
  lmtp cmd="lmtpd -a" listen="24" prefork=0 maxchild=20
}
EVENTS {
  checkpoint cmd="/usr/sbin/cyrus ctl_cyrusdb -c" period=30
}
"""
CYRUS_LINES = """
unixhierarchysep: yes
altnamespace: yes
virtdomains: userid
defaultdomain: localdomain
admins: cyrus
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN LOGIN
tls_server_cert: /etc/ssl/mail.pem
tls_server_key: /etc/ssl/private/mail.key
duplicatesuppression: no
"""
POSTFIX = """
postconf -e virtual_mailbox_domains=example.org mydestination= alias_maps= alias_database= local_recipient_maps= \
    virtual_transport=lmtp:inet:old.example.org:24 lmtp_host_lookup=native smtp_host_lookup=native smtp_dns_support_level=disabled \
    default_database_type=texthash maillog_file=/var/log/mail.log inet_protocols=ipv4 myhostname=ferry.example.org
"""
USERS_KNOWN_TO_DOVECOT = "{user}:{password}:5000:5000::/srv/mail/{user}::\n"


def password(user):
    return f"secret-of-{user.split('@')[0]}"


class DovecotSite:
    packages = "dovecot-imapd dovecot-pop3d dovecot-lmtpd openssl"

    def __init__(self, suite):
        self.suite = suite

    def set_up(self, m):
        m.run(DOVECOT_USERS)
        m.write("/etc/dovecot/local.conf", DOVECOT_23 if self.suite == "bookworm" else DOVECOT_24)
        m.write("/etc/dovecot/users", "")
        m.run("chgrp dovecot /etc/ssl/private/mail.key; chmod 640 /etc/ssl/private/mail.key; systemctl restart dovecot")

    @staticmethod
    def add(m, user):
        """It looks at its file once a second."""
        m.write("/etc/dovecot/users", USERS_KNOWN_TO_DOVECOT.format(user=user, password=password(user)), add=True)
        net.wait_until(f"{user} to be known", lambda: m.try_to(f"doveadm auth test {user} '{password(user)}'")[0] == 0, 20, step=0.5)

    def let_in(self, walk, m):
        typed = walk.blocks("servers.md", "Dovecot")
        files = [b for b in typed if b.path]
        walk.do(m, typed[0])
        walk.do(m, files[0 if self.suite == "bookworm" else 1])
        walk.do(m, typed[-1])

    @staticmethod
    def keep_uidls(walk, m):
        """As the new server; Debian 12 has none here."""
        for block in walk.blocks("pop3.md", "UIDLs"):
            if "%{uidvalidity}" in block.text or "restart dovecot" in block.text:
                walk.do(m, block)


class CyrusSite:
    packages = "openssl cyrus-imapd cyrus-pop3d cyrus-clients cyrus-admin sasl2-bin libsasl2-modules libsasl2-modules-db"

    def set_up(self, m):
        lines = [line for line in m.read("/etc/imapd.conf").splitlines()
                 if line.split(":")[0] not in {x.split(":")[0] for x in CYRUS_LINES.split("\n") if x}]
        if m.name == "old":  # nobody waits for a minute here; that of a new one is set by the handbook
            lines = [line for line in lines if not line.startswith("popminpoll:")]
        m.write("/etc/imapd.conf", "\n".join(lines) + CYRUS_LINES)
        m.write("/etc/cyrus.conf", CYRUS_CONF)
        m.run("chgrp mail /etc/ssl/private/mail.key; chmod 640 /etc/ssl/private/mail.key; chmod 711 /etc/ssl/private\n"
              "printf cyrus | saslpasswd2 -p -c cyrus; chgrp sasl /etc/sasldb2; chmod 640 /etc/sasldb2; systemctl restart cyrus-imapd")
        net.wait_until("Cyrus to listen", lambda: net.accepts((ADDRESS[m.name], 993)) and net.accepts((ADDRESS[m.name], 143)), 60)

    @staticmethod
    def add(m, user):
        name, domain = user.split("@")
        m.run(f"printf %s '{password(user)}' | saslpasswd2 -p -c -u {domain} {name}")
        with imaplib.IMAP4(ADDRESS[m.name]) as admin:
            admin.authenticate("PLAIN", lambda _: b"\0cyrus\0cyrus")
            answer = admin.create(f"user/{user}")
            assert answer[0] == "OK", answer

    @staticmethod
    def let_in(walk, m):
        for block in walk.blocks("servers.md", "Cyrus"):
            walk.do(m, block)

    @staticmethod
    def keep_uidls(walk, m):
        for block in walk.blocks("pop3.md", "UIDLs"):
            if "uidl_format: " in block.text:
                walk.do(m, block)
        net.wait_until("Cyrus to listen", lambda: net.accepts((ADDRESS[m.name], 995)), 60)


# ---- mail

class Reader:
    """A mail program: it knows mailboxes by name and UIDVALIDITY, and messages by UID."""

    def __init__(self, address, user, ca, host="imap.example.org"):
        self.user = user
        self.imap = _Imap(address, host, ca)
        self.imap.login(user, password(user))

    def mailboxes(self):
        return [re.match(r'\(.*?\) (?:"."|NIL) "?(.*?)"?$', line.decode())[1] for line in self.imap.list()[1]
                if b"\\Noselect" not in line and b"\\NonExistent" not in line]

    def read(self):
        """{mailbox: (UIDVALIDITY, {UID: hash})}, and all bodies."""
        found, bodies = {}, []
        for name in self.mailboxes():
            quoted = f'"{name}"'
            assert self.imap.select(quoted, readonly=True)[0] == "OK", name
            validity = self.imap.response("UIDVALIDITY")[1][0]
            messages = {}
            for part in self.imap.uid("FETCH", "1:*", "(UID BODY.PEEK[])")[1]:
                if isinstance(part, tuple):
                    messages[int(re.search(rb"UID (\d+)", part[0])[1])] = hashlib.sha256(part[1]).hexdigest()
                    bodies.append(part[1])
            found[name] = (validity, messages)
        return found, bodies

    def close(self):
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self.imap.logout()


class _Imap(imaplib.IMAP4):
    """By TLS to an address, which has to show the certificate of a name."""

    def __init__(self, address, host, ca):
        self._of = host
        self._trusted = ssl.create_default_context(cafile=ca)
        super().__init__(address, 993, timeout=60)

    def _create_socket(self, timeout):
        return self._trusted.wrap_socket(socket.create_connection((self.host, self.port), timeout), server_hostname=self._of)


class Pop3(poplib.POP3):
    """As _Imap. A mail program that leaves its mail on the server knows it by UIDLs."""

    def __init__(self, address, host, ca):
        self._of = host
        self._trusted = ssl.create_default_context(cafile=ca)
        super().__init__(address, 995, timeout=60)

    def _create_socket(self, timeout):
        return self._trusted.wrap_socket(super()._create_socket(timeout), server_hostname=self._of)


class Sender:
    """Mail to everybody, all the time."""

    def __init__(self, address):
        self._address = address
        self._stop = threading.Event()
        self.to = list(USERS)
        self.sent = {}  # token: to whom
        self.refused = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        n = 0
        while not self._stop.wait(0.25):
            n += 1
            self._send(n, self.to[n % len(self.to)])

    def _send(self, n, user):
        token = f"walk-{n}-{user.split('@')[0]}"
        try:
            with smtplib.SMTP(self._address, timeout=60) as s:
                s.sendmail("somebody@elsewhere.example", [user],
                           f"From: somebody@elsewhere.example\r\nTo: {user}\r\nSubject: {token}\r\nX-Walk: {token};\r\n\r\n{token}\r\n")
            self.sent[token] = user
        except (OSError, smtplib.SMTPException) as e:
            self.refused.append((token, repr(e)))

    def stop(self):
        self._stop.set()
        self._thread.join()


# ---- the walk

class Walk:
    def __init__(self, suite, groups):
        self.suite = suite
        self.kept = suite == "bookworm"
        self.site = {"old": DovecotSite(suite), "new": CyrusSite()} if self.kept else {"old": CyrusSite(), "new": DovecotSite(suite)}
        network = machine.Network()
        for name, address in ADDRESS.items():
            shutil.copy(f"{WORK}/hosts", f"{WORK}/{suite}/{name}/etc/hosts")
        self.at = {name: machine.Machine(name, f"{WORK}/{suite}/{name}", network.join(name, address), groups)
                   for name, address in ADDRESS.items()}
        self.authority = certs.Authority(f"{WORK}/{suite}/ca")
        self.clients_at = ADDRESS["old"]
        self.known = {}
        self.fetched = {}
        self.used = []
        self.pages = set()
        self.sender = None

    # -- the handbook

    def blocks(self, page, *headings):
        """Those under a heading; without one, all of a page."""
        self.pages.add(page)
        found = [b for b in handbook.blocks(page) if not headings or b.heading.endswith(headings)]
        assert found, f"{page} has nothing under {headings}"
        return found

    def do(self, m, block, status=0):
        self.used.append(repr(block))
        text = block.text
        for old, new in VALUES:
            text = text.replace(old, new)
        if block.path:
            say(f"{m.name}: {block.path} ({block.page}, {block.heading})")
            self._write(m, block, text)
            return ""
        assert block.is_typed, block
        say(f"{m.name}: {text.strip().splitlines()[0]} ({block.page}, {block.heading})")
        return m.run(text, status)

    @staticmethod
    def _write(m, block, text):
        if block.how == "in":
            m.write(block.path, handbook.merge(m.read(block.path), text))
        else:
            m.write(block.path, text, add=block.how == "add to")

    def step(self, page, *headings):
        said = ""
        for block in self.blocks(page, *headings):
            said += self.do(self.at["ferry"], block)
        return said

    # -- what there was before

    def set_up(self):
        for name in ("old", "new"):
            m = self.at[name]
            cert, key = self.authority.issue(name, (f"{name}.example.org", "imap.example.org"))
            shutil.copy(cert, m.path("/etc/ssl/mail.pem"))
            shutil.copy(key, m.path("/etc/ssl/private/mail.key"))
            self.site[name].set_up(m)
            for user in [*USERS, TEST]:
                self.site[name].add(m, user)
        ferry = self.at["ferry"]
        ferry.run(POSTFIX + "systemctl restart postfix")
        cert, key = self.authority.issue("imap", ("imap.example.org",))
        shutil.copy(cert, ferry.path("/root/imap.example.org.pem"))
        shutil.copy(key, ferry.path("/root/imap.example.org.key"))
        shutil.copy(self.authority.ca, ferry.path("/usr/local/share/ca-certificates/site.crt"))
        ferry.run("update-ca-certificates")
        ferry.write("/root/test.secret", password(TEST))
        ferry.write("/root/names.txt", "".join(f"{u}\n" for u in [*USERS, TEST]))
        self.fill()

    def fill(self):
        prefix = "INBOX." if self.kept else ""
        separator = "." if self.kept else "/"
        for user in USERS:
            r = self.reader(user)
            for name in ("INBOX", f"{prefix}Work", f"{prefix}Work{separator}2025"):
                if name != "INBOX":
                    assert r.imap.create(name)[0] == "OK"
                for n in range(12):
                    text = (f"From: a@example.org\r\nTo: {user}\r\nMessage-ID: <{name}.{n}.{user}>\r\nSubject: {name} {n}\r\n\r\n"
                            f"{user} {name} {n}\r\n").encode()
                    assert r.imap.append(name, "(\\Seen)" if n % 2 else None, None, text)[0] == "OK"
                r.imap.select(name)
                r.imap.store("3:5", "+FLAGS", "(\\Deleted)")
                r.imap.expunge()
            r.close()

    # -- who uses it

    def reader(self, user, address=None, host="imap.example.org"):
        return Reader(address or self.clients_at, user, self.authority.ca, host)

    def everybody_reads(self, users, what):
        """All that clients knew is there under the same numbers."""
        for user in users:
            r = self.reader(user)
            found, _ = r.read()
            r.close()
            for name, (validity, messages) in self.known.get(user, {}).items():
                assert name in found, f"{what}: {user} misses {name}: {sorted(found)}"
                assert found[name][0] == validity, f"{what}: {user} {name}: UIDVALIDITY {found[name][0]}, was {validity}"
                wrong = {uid: h for uid, h in messages.items() if found[name][1].get(uid) != h}
                assert not wrong, f"{what}: {user} {name}: UIDs {sorted(wrong)} are others, of {sorted(found[name][1])}"
            self.known[user] = found
        say(f"{what}: {len(users)} clients read {sum(len(m) for f in self.known.values() for _, m in f.values())} messages under the "
            "numbers that they knew")

    def everybody_fetches(self, what):
        """Those who leave their mail on the server, by POP3: what they have fetched has the UIDLs that it had."""
        for user in FETCH:
            client = Pop3(self.clients_at, "imap.example.org", self.authority.ca)
            client.user(user)
            client.pass_(password(user))
            found = [row.split()[1] for row in client.uidl()[1]]
            client.quit()
            again = [uidl for uidl in self.fetched.get(user, []) if uidl not in found]
            assert found and not again, f"{what}: {user} fetches again, by POP3, what was {again[:5]} of {found[:5]}"
            self.fetched[user] = found
        say(f"{what}: {len(FETCH)} clients of POP3 fetch nothing again of {sum(map(len, self.fetched.values()))} messages")

    def state(self, user):
        said = self.at["ferry"].try_to(f"imapferryctl user {user} --json")[1]
        found = re.search(r'"state": ?"(\w+)"', said)
        return found[1] if found else None

    def wait_states(self, users, *states, timeout=120):
        net.wait_until(f"{states} of {users}", lambda: all(self.state(u) in states for u in users), timeout, step=1)

    def delivered_once(self):
        ferry = self.at["ferry"]
        net.wait_until("an empty queue", lambda: "queue is empty" in ferry.run("postqueue -f; postqueue -p"), 180, step=1)
        count = collections.Counter()
        for user in self.sender.to:
            r = self.reader(user, ADDRESS["new"], "new.example.org")
            count.update((user, t.decode()) for body in r.read()[1] for t in re.findall(rb"^X-Walk: (.*);", body, re.M))
            r.close()
        sent = [(user, token) for token, user in self.sender.sent.items()]
        wrong = {key: count[key] for key in sent if count[key] != 1}
        assert not wrong, f"not there once: {wrong}"
        assert not self.sender.refused, self.sender.refused[:5]
        say(f"each of {len(sent)} messages that Postfix took is on the new server once")

    # -- the way

    def go(self):
        ferry = self.at["ferry"]
        self.set_up()
        self.sender = Sender(ADDRESS["ferry"])
        self.everybody_reads(USERS, "before")
        self.everybody_fetches("before")
        for name in ("old", "new"):
            self.site[name].let_in(self, self.at[name])
            shutil.copy(self.at[name].path("/root/imapferry.secret"), ferry.path(f"/root/{name}.secret"))
        self.step("start.md", "2. Redis", "3. The package")
        conf = self.blocks("start.md", "4. Configuration")
        for block in conf:
            self.do(ferry, block)
        if not self.kept:
            self.tell_numbers()
        self.step("start.md", "5. The proxy, and the clients")
        self.clients_at = ADDRESS["ferry"]
        self.everybody_reads(USERS[:-2], "through the proxy")
        self.site["new"].keep_uidls(self, self.at["new"])
        self.step("pop3.md", "Users who read by POP3")
        self.everybody_fetches("through the proxy")
        self.step("delivery.md", "Set it up")
        self.everybody_reads(USERS[:-2], "behind the upgrade")
        self.the_page()
        self.first_account()
        self.waves()
        self.finish()
        self.nothing_is_left_out()

    def tell_numbers(self):
        new, ferry = self.at["new"], self.at["ferry"]
        shutil.copy(os.path.join(handbook.CONF, "dovecot-numbers.conf"), new.path("/root/dovecot-numbers.conf"))
        first, *rest = self.blocks("numbers.md", "Dovecot")
        self.do(new, first)
        shutil.copy(new.path("/root/new.doveadm"), ferry.path("/root/new.doveadm"))
        for block in rest:
            self.do(ferry, block)

    def the_page(self):
        ferry = self.at["ferry"]
        self.step("staff.md", "The same in a browser")
        token = ferry.read("/etc/imapferry/tokens").split()[2]
        ask = f"curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 -H 'Authorization: Bearer {token}' http://127.0.0.1:8025"
        assert '"ann"' in ferry.run(f"{ask}/api/v1/me") and "<html" in ferry.run(f"{ask}/").lower()

    def hand_over(self):
        """From now on Postfix asks nobody, and gives all mail to the proxies."""
        *first, postfix = self.blocks("lmtp.md", "Set it up")
        for block in first:
            self.do(self.at["ferry"], block)
        self.at["ferry"].run("postconf -X transport_maps")
        self.do(self.at["ferry"], postfix)

    def first_account(self):
        phone = self.reader(USERS[0])
        phone.imap.select("INBOX")
        said = self.step("start.md", "7. A first account")
        assert "T0" in said, said
        status, _ = phone.imap.noop()
        assert status == "OK", "the open session has ended"
        phone.close()
        self.everybody_reads(USERS[:1], "the first account")
        self.everybody_fetches("the first account")

    def waves(self):
        ferry = self.at["ferry"]
        ferry.write("/etc/imapferry/pilot.txt", "".join(f"{u}\n" for u in PILOT))
        ferry.run("chmod 640 /etc/imapferry/pilot.txt; chgrp imapferry /etc/imapferry/pilot.txt")
        *first, last = self.blocks("waves.md")
        for block in first:
            self.do(ferry, block)
        self.everybody_reads(PILOT, "the pilot logs in")
        self.wait_states(PILOT, "flipped", "settled")
        self.hand_over()
        self.do(ferry, last)
        self.step("start.md", "8. The others")
        in_use = [u for u in USERS if u not in NEVER]
        self.everybody_reads(in_use, "the others log in")
        self.wait_states(in_use, "flipped", "settled", timeout=180)
        self.everybody_reads(in_use, "the others are there")
        self.everybody_fetches("the others are there")

    def finish(self):
        ferry = self.at["ferry"]
        self.step("finish.md", "1. Who never logs in")
        self.wait_states([*USERS, TEST], "settled", timeout=300)
        doctor_and_retire = self.blocks("finish.md", "2. May it go?")[0]
        arrived = int(ferry.run("redis-cli xlen imapferry:arrivals").split()[-1])
        said = self.do(ferry, doctor_and_retire, status=4 if arrived else 0)
        assert not arrived or "arrived there in the last 7 days" in said, said
        say(f"{arrived} messages came late: a week passes")
        ferry.run(A_WEEK)
        self.do(ferry, doctor_and_retire)
        *before, delivery = self.blocks("finish.md", "3. Let it go")
        for block in before:
            self.do(ferry, block)
        self.at["old"].switch_off()
        say("the old server is off")
        self.do(ferry, delivery)
        ferry.run("imapferryctl doctor")
        self.newcomer("zoe@example.org")
        self.everybody_reads(USERS, "the old server is off")
        last = self.blocks("finish.md", "4. With the proxy, or without")
        self.do(ferry, last[0], status=4 if self.kept else 0)
        if not self.kept:
            self.clients_at = ADDRESS["new"]
            self.everybody_reads(USERS, "without the proxy")
            self.do(ferry, last[1])
            assert not os.path.exists(ferry.path("/usr/sbin/imapferry-proxy"))
        self.sender.stop()
        self.everybody_reads(USERS, "at the end")
        self.everybody_fetches("at the end")
        self.delivered_once()

    def newcomer(self, user):
        """An account that was made on the new server alone."""
        self.site["new"].add(self.at["new"], user)
        self.sender.to.append(user)
        self.everybody_reads([user], "a new account")

    def tell_logs(self):
        for name, m in self.at.items():
            print(f"---- {name}\n{m.try_to('journalctl --no-pager -o short -n 40')[1]}", file=sys.stderr)

    def nothing_is_left_out(self):
        listed = NOT_RUN.get(self.suite, {})
        for page in sorted(self.pages):
            for block in handbook.blocks(page):
                if (block.is_typed or block.path) and repr(block) not in self.used and not any(
                        page == p and block.heading.endswith(h) and (w in block.text) for p, h, w in listed):
                    raise AssertionError(f"never used: {block!r}")


A_WEEK = """redis-cli eval "
for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do redis.call('LPUSH', 'walk', cjson.encode(e)) end
redis.call('DEL', KEYS[1])
local e = redis.call('RPOP', 'walk')
while e do
  e = cjson.decode(e)
  local ms, n = e[1]:match('^(%d+)-(%d+)$')
  redis.call('XADD', KEYS[1], string.format('%d-%s', tonumber(ms) - 8 * 86400000, n), unpack(e[2]))
  e = redis.call('RPOP', 'walk')
end" 1 imapferry:arrivals"""


# ---- before it

def build(suite):
    """What "make deb" makes there, of what is committed."""
    folder = f"{WORK}/{suite}"
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    kept = f"{WORK}/{suite}-{head}"
    if not os.path.isdir(kept):
        say("the package is built")
        machine.prepare(suite, f"{folder}/build", BASES, "git make ca-certificates build-essential debhelper lintian pkgconf")
        subprocess.run(f"git -C '{ROOT}' archive --prefix=imapferry/ HEAD | tar -x -C '{folder}/build/root'", shell=True, check=True)
        machine.inside(f"{folder}/build", "cd /root/imapferry; make -s deb", log=f"{folder}/build.log")
        os.makedirs(f"{kept}.new", exist_ok=True)
        debs = [n for n in os.listdir(f"{folder}/build/root/imapferry/build/deb") if n.startswith("imapferry_") and n.endswith(".deb")]
        for name in debs:
            shutil.copy(f"{folder}/build/root/imapferry/build/deb/{name}", f"{kept}.new/{name}")
        os.rename(f"{kept}.new", kept)
        shutil.rmtree(f"{folder}/build")
    return [os.path.join(kept, n) for n in os.listdir(kept)][0]


def prepare(suite, package):
    folder = f"{WORK}/{suite}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(f"{WORK}/hosts", "w", encoding="ascii") as f:
        f.write(HOSTS)
    package = package or build(suite)
    sites = {"old": DovecotSite, "new": CyrusSite} if suite == "bookworm" else {"old": CyrusSite, "new": DovecotSite}
    for name, site in sites.items():
        machine.prepare(suite, f"{folder}/{name}", BASES, site.packages)
    # What the handbook has installed there comes from where apt keeps what it has fetched.
    machine.prepare(suite, f"{folder}/ferry", BASES, "postfix curl ca-certificates", "apt-get -q install -y --download-only redis-server")
    shutil.copy(package, f"{folder}/ferry/root/")
    machine.inside(f"{folder}/ferry", "apt-get -q install -y --download-only ./imapferry_*.deb")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", choices=("bookworm", "trixie"))
    p.add_argument("--keep", action="store_true", help="leave the machines' trees in build/walk")
    p.add_argument("--package", metavar="FILE")
    p.add_argument("--within", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.within:
        walk = Walk(args.only, args.within)
        try:
            walk.go()
        except BaseException:
            walk.tell_logs()
            raise
        say(f"{args.only}: passed")
        return 0
    if os.getuid():
        print("check-walk has to run as root: it makes machines", file=sys.stderr)
        return 1
    failed = 0
    for suite in (args.only,) if args.only else ("bookworm", "trixie"):
        say(f"==== {suite}")
        prepare(suite, args.package)
        groups = machine.Groups(WORK)
        try:
            failed |= machine.own_namespaces([sys.executable, "-B", __file__, "--only", suite, "--within", groups.path])
        finally:
            groups.close()
        if not args.keep:
            shutil.rmtree(f"{WORK}/{suite}", ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
