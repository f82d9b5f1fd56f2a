"""What the private Cyrus and Courier (and Exim, as far as it is one) have in common: programs from build/servers (see tests/servers.sh), which find
their libraries, log, password daemon and user by the environment, and leave nothing behind when they are stopped.

A server is `with Cyrus("old", ...) as server`, just as harness.dovecot.Dovecot is: name, separator, prefix, port,
url(), log(), start(), stop(), close(). Passwords are those of that module too: every user exists and has "secret";
users={"ann": "other"} gives some a second one; anybody=False leaves only these.
"""
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading

from . import net
from .dovecot import MASTER_PASSWORD, MASTER_USER, PASSWORD

SERVERS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "servers")
SYSTEM_SASL = "/usr/lib/{0}-linux-gnu/sasl2"


def mail_user():
    """Who the mail belongs to: not root, whom neither server lets read mail."""
    return pwd.getpwnam("mail") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def _open_to_all(path):
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


class Unpacked:
    """The base of both; a subclass gives `tree`, configure() and command()."""

    tree = ""

    def __init__(self, name, separator, prefix, users=None, anybody=True, folder=None):
        self.name, self.separator, self.prefix = name, separator, prefix
        self._root = os.path.join(SERVERS, self.tree)
        self._shim = os.path.join(SERVERS, "private.so")
        if not os.path.exists(self._shim) or not os.path.isdir(self._root):
            raise RuntimeError(f"no {self._root} and {self._shim}: run tests/servers.sh")
        self.folder = folder or net.temp_folder(name)
        self.port = {"imap": net.free_port(), "imaps": net.free_port()}
        self.users, self.anybody = dict(users or {}), anybody
        self.owner = mail_user()
        self._processes = []
        if os.getuid() == 0 and not _open_to_all(SERVERS):
            self._copy_programs()
        self._log_path = os.path.join(self.folder, "log")
        with open(self._log_path, "w", encoding="utf-8"):
            pass
        self._give(self._log_path)

    def _copy_programs(self):
        """The mail user may not come to where they lie."""
        self._root = shutil.copytree(self._root, os.path.join(self.folder, "programs"), symlinks=True)
        self._shim = shutil.copy(self._shim, self.folder)

    # ---- what both are asked

    def url(self, scheme="imaps", host="127.0.0.1"):
        """As the option address of a backend wants it; imap+starttls uses the port of imap."""
        return f"{scheme}://{host}:{self.port['imaps' if scheme == 'imaps' else 'imap']}"

    def pop3_url(self, scheme="pop3", host="127.0.0.1"):
        """As the option pop3 of a backend wants it; pop3+starttls uses the port of pop3."""
        return f"{scheme}://{host}:{self.port['pop3s' if scheme == 'pop3s' else 'pop3']}"

    def add_user(self, user, password):
        self.users[user] = password

    def knows(self, user, password):
        """What the password daemon of the server answers."""
        if user == MASTER_USER:
            return password == MASTER_PASSWORD
        return self.users.get(user) == password or self.anybody and password == PASSWORD

    def log(self):
        with contextlib.suppress(OSError), open(self._log_path, encoding="utf-8", errors="replace") as f:
            return f.read()
        return ""

    # ---- for the subclasses

    def program(self, *path):
        return os.path.join(self._root, *path)

    def place(self, *path):
        return os.path.join(self.folder, *path)

    def folder_of_owner(self, *path):
        where = self.place(*path)
        os.makedirs(where, exist_ok=True)
        self._give(where)
        return where

    def _give(self, path):
        if os.getuid() == 0:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def write(self, name, text, mode=0o644):
        path = self.place(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        self._give(path)
        return path

    def environment(self):
        roots = [x for x in (self.program("usr", "lib"), self.program("lib")) if os.path.isdir(x)]  # some packages know but /lib
        libraries = roots + [x.path for root in roots for x in os.scandir(root) if x.name.endswith("-linux-gnu")]
        sasl = [os.path.join(x, "sasl2") for x in libraries] + [SYSTEM_SASL.format(os.uname().machine)]
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": ":".join(libraries),
                "LD_PRELOAD": self._shim, "SASL_PATH": ":".join(sasl), "PRIVATE_LOG": self._log_path}

    def run(self, command, environment, as_owner=False):
        """Starts a process that leads a group of its own."""
        options = {}
        if as_owner and os.getuid() == 0:
            options = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}
        with open(self._log_path, "ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def wait_listening(self, *ports):
        def listens():
            for process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args[0]} ended with {process.returncode}\n{self.log()[-2000:]}")
            return all(net.accepts((net.HOST, self.port[p])) for p in ports)
        try:
            net.wait_until(f"{self.tree} {self.name}", listens, timeout=20)
        except (RuntimeError, TimeoutError):
            self.close()
            raise

    def stop(self):
        """All processes of each group are gone when it returns."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            net.stop_process(process, timeout=1)  # nothing there is worth an orderly end
            try:
                net.wait_until("end of the group", lambda: self._group_is_gone(process.pid), timeout=0.5)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                net.wait_until("end of the group", lambda: self._group_is_gone(process.pid), timeout=5)
        self._processes.clear()

    @staticmethod
    def _group_is_gone(group):
        """Nothing of it runs; what init has not buried yet is gone too."""
        for number in (x for x in os.listdir("/proc") if x.isdigit()):
            with contextlib.suppress(OSError), open(f"/proc/{number}/stat", "rb") as f:
                state, _, pgrp = f.read().rpartition(b")")[2].split()[:3]
                if int(pgrp) == group and state != b"Z":
                    return False
        return True

    def close(self):
        self.stop()
        net.remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class PasswordDaemon:
    """Listens on a UNIX socket for the server's question who somebody is; answer(connection) is called in a thread of
    each connection and returns the bytes to answer with."""

    def __init__(self, path, answer):
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._socket.listen(128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.sendall(self._answer(connection))

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("cut off")
        data += more
    return data
