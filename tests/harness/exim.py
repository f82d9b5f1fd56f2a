"""A private Exim from build/servers (tests/servers.sh), which runs as one user with a spool of its own, and goes by a file of conf/.

    with Exim("exim-delivery.conf", ("127.0.0.1:8026", "127.0.0.1:4711")) as mta:
        mta.send("ann@example.org", b"Subject: x\\r\\n\\r\\nx\\r\\n")
        mta.wait_empty()
"""
import grp
import os
import re
import smtplib
import subprocess

from . import net
from .unpacked import Unpacked

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")

MAIN = """
exim_user = {user}
exim_group = {group}
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
pid_file_path = {folder}/spool/exim.pid
log_selector = +outgoing_port -queue_run
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : PRIVATE_USER : PRIVATE_LOG
primary_hostname = mx.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = accept
acl_smtp_data = accept

begin routers
{routers}
elsewhere:
  driver = accept
  transport = nowhere

begin transports
{transports}
nowhere:
  driver = appendfile
  file = /dev/null

begin retry
* * F,1h,1s
"""


class Exim(Unpacked):
    tree = "exim"

    def __init__(self, file, *replaced):
        """replaced: (what the file says, what is there) ..., each of which is in it."""
        super().__init__("exim", "", "")
        self.port["smtp"] = net.free_port()
        with open(os.path.join(CONF, file), encoding="utf-8") as f:
            text = f.read()
        for old, new in replaced:
            assert old in text, old
            text = text.replace(old, new)
        routers, transports = re.search(r"\nbegin routers\n(.*)\nbegin transports\n(.*)", text, re.S).groups()
        spool = self.folder_of_owner("spool")
        assert os.path.isdir(spool)
        self._program = self.program("usr", "sbin", "exim4")
        self._config = self.write("exim.conf", MAIN.format(user=self.owner.pw_name, group=grp.getgrgid(self.owner.pw_gid).gr_name,
                                                           program=self._program, folder=self.folder, port=self.port["smtp"],
                                                           routers=routers, transports=transports))
        self.start()

    def start(self):
        environment = {**self.environment(), "PRIVATE_USER": self.owner.pw_name}
        self.run([self._program, "-C", self._config, "-bdf", "-q1s"], environment, as_owner=True)
        self.wait_listening("smtp")

    def told(self, address):
        """What exim -bt says of it."""
        run = subprocess.run([self._program, "-C", self._config, "-bt", address], env={**self.environment(), "PRIVATE_USER": self.owner.pw_name},
                             capture_output=True, text=True, check=True, timeout=30, **self._as_owner())
        return run.stdout

    def _as_owner(self):
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}

    # ---- mail

    def send(self, to, message, sender="somebody@elsewhere.example"):
        """To one recipient, or to a list of them."""
        with smtplib.SMTP(net.HOST, self.port["smtp"], local_hostname="client.example.org", timeout=30) as s:
            refused = s.sendmail(sender, to, message)
        assert not refused, refused

    def log(self):
        text = super().log()
        path = self.place("spool", "mainlog")
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        return "".join(line for line in text.splitlines(True) if "lost privilege for using -C" not in line)

    def queued(self):
        """How many messages it has."""
        folder = self.place("spool", "input")
        return sum(name.endswith("-H") for _, _, files in os.walk(folder) for name in files)

    def wait_empty(self, timeout=30):
        try:
            net.wait_until("an empty queue of Exim", lambda: self.queued() == 0, timeout)
        except TimeoutError:
            print(self.log()[-5000:])
            raise

    def wait_log(self, pattern, timeout=20):
        try:
            return net.wait_until(f"{pattern!r} in the log of Exim", lambda: re.search(pattern, self.log()), timeout)
        except TimeoutError:
            print(self.log()[-5000:])
            raise
