"""A private Postfix with a queue of its own, which asks a proxy where mail goes. Nothing of the system's is read but programs.

    with Postfix("inet://127.0.0.1:8026") as mta:
        mta.send("ann@example.org", b"Subject: x\\r\\n\\r\\nx\\r\\n")
        mta.wait_empty()

The lines of conf/postfix-delivery.cf are what it asks by."""
import contextlib
import grp
import os
import pwd
import re
import shutil
import smtplib
import subprocess

from . import net

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")
PROGRAMS = "/usr/lib/postfix/sbin"

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mx.example.org
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
default_database_type = texthash
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
disable_dns_lookups = yes
lmtp_host_lookup = native
virtual_mailbox_domains = example.org
virtual_transport = error:5.1.1 the proxy knows no such account
default_transport = discard:it does not leave this machine
queue_run_delay = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
lmtp_destination_concurrency_limit = 20
in_flow_delay = 0
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
WITH_MAIL = ("active", "deferred", "incoming", "maildrop", "hold", "corrupt")


def can_run():
    """Its master is root's alone."""
    return os.getuid() == 0


class Postfix:
    def __init__(self, ask, careful=False):
        """ask: where a proxy answers, as its log has it. careful: it looks each recipient up before it takes mail, as it does
        unless it is told otherwise."""
        self.folder = net.temp_folder("postfix")
        self.port = net.free_port()
        self._make_folders()
        with open(os.path.join(CONF, "postfix-delivery.cf"), encoding="utf-8") as f:
            snippet = f.read()
        assert "socketmap:inet:127.0.0.1:8026:" in snippet
        snippet = snippet.replace("inet:127.0.0.1:8026", self._map(ask)).replace("minimal_backoff_time = 60s",
                                                                                "minimal_backoff_time = 1s")
        self._write("main.cf", MAIN.format(folder=self.folder) + snippet + f"smtpd_reject_unlisted_recipient = {'yes' if careful else 'no'}\n")
        self._write("master.cf", MASTER.format(port=self.port))
        self._process = None
        self.start()

    @staticmethod
    def _map(ask):
        kind, where = re.match(r"(inet|unix)://(.*)$", ask).groups()
        return f"{kind}:{where}"

    def _write(self, name, text):
        with open(os.path.join(self.folder, "conf", name), "w", encoding="utf-8") as f:
            f.write(text)

    def _make_folders(self):
        owner, drop = pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postdrop").gr_gid
        for name in ("conf", "queue", "data", *(f"queue/{q}" for q in (*QUEUES, "maildrop", "public", "pid"))):
            os.mkdir(os.path.join(self.folder, name), 0o755)
        for name in ("data", *(f"queue/{q}" for q in QUEUES)):
            os.chown(os.path.join(self.folder, name), owner, -1)
            os.chmod(os.path.join(self.folder, name), 0o700)
        for name, mode in (("maildrop", 0o1730), ("public", 0o710)):
            os.chown(os.path.join(self.folder, "queue", name), owner, drop)
            os.chmod(os.path.join(self.folder, "queue", name), mode)

    # ---- life

    def start(self):
        conf = os.path.join(self.folder, "conf")
        environment = {"MAIL_CONFIG": conf, "PATH": os.environ["PATH"], "LANG": "C"}
        self._process = subprocess.Popen([f"{PROGRAMS}/master", "-c", conf, "-d"], stdin=subprocess.DEVNULL, env=environment,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        net.wait_until("Postfix", self._listens)

    def _listens(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"Postfix ended: {self._process.stderr.read().decode()}\n{self.log()[-3000:]}")
        return net.accepts((net.HOST, self.port))

    def stop(self):
        net.stop_group(self._process)
        self._process.stderr.close()

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- mail

    def forget(self):
        """It keeps its last answer for 30 s, that there was none too: it asks about somebody else."""
        self.send("somebody@elsewhere.example", b"Subject: else\r\n\r\nelse\r\n")

    def connect(self):
        return smtplib.SMTP(net.HOST, self.port, local_hostname="client.example.org", timeout=30)

    def send(self, to, message, sender="somebody@elsewhere.example"):
        """To one recipient, or to a list of them."""
        with self.connect() as s:
            refused = s.sendmail(sender, to, message)
        assert not refused, refused

    def log(self):
        with contextlib.suppress(OSError), open(os.path.join(self.folder, "mail.log"), encoding="utf-8", errors="replace") as f:
            return f.read()
        return ""

    def deliveries(self, to):
        """(port of the server, status, what it said) of each attempt for a recipient, in the order of the log."""
        return re.findall(rf"to=<{re.escape(to)}>,.*relay=\S*?(?::(\d+))?, .*status=(\w+) \((.*)\)", self.log())

    def queued(self):
        """How many messages it has."""
        return sum(len(files) for queue in WITH_MAIL
                   for _, _, files in os.walk(os.path.join(self.folder, "queue", queue)))

    def wait_empty(self, timeout=30):
        """What a queue run finds still being delivered ("skipped") waits for longer than any of its delays, so it is told once."""
        with contextlib.suppress(TimeoutError):
            net.wait_until("an empty queue of Postfix", lambda: self.queued() == 0, timeout / 2)
            return
        self.flush()
        try:
            net.wait_until("an empty queue of Postfix", lambda: self.queued() == 0, timeout / 2)
        except TimeoutError:
            print(self.log()[-5000:])
            raise

    def wait_log(self, pattern, timeout=20):
        return net.wait_until(f"{pattern!r} in the log of Postfix", lambda: re.search(pattern, self.log()), timeout)

    def flush(self):
        """All that waits is tried now."""
        subprocess.run(["/usr/sbin/postqueue", "-c", os.path.join(self.folder, "conf"), "-f"], check=True, timeout=30,
                       capture_output=True)
