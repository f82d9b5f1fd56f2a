"""A private redis-server or valkey-server: append-only, on a UNIX socket or a port, that can be killed and started again."""
import collections
import os
import shutil
import signal
import subprocess

import redis

from . import leaks, net


# What is there of those that imapferry works with.
PROGRAMS = [p for p in ("redis-server", "valkey-server") if shutil.which(p)]


class Papers(collections.namedtuple("Papers", "cert key ca clients")):
    """With what a server speaks TLS, in PEM: what it shows, to its own kind too (both usages), and who signs those of its clients;
    whether these must show one."""

    def options(self):
        return ["tls-cert-file", self.cert, "tls-key-file", self.key, "tls-ca-cert-file", self.ca, "tls-auth-clients",
                "yes" if self.clients else "no", "tls-replication", "yes"]


class Redis:
    """papers: its port speaks TLS and nothing else."""

    def __init__(self, folder=None, port=None, fsync="always", options=(), password=None, papers=None, program="redis-server"):
        self.folder = folder or net.temp_folder("redis")
        self.port = port
        self.socket = os.path.join(self.folder, "redis.sock")
        self.password = password
        self.papers = papers
        self.program = program
        self._options = ["appendonly", "yes", "appendfsync", fsync, *options]
        if password:
            self._options += ["requirepass", password, "masterauth", password]
        if papers:
            self._options += ["tls-port", str(port), *papers.options()]
        self._process = None
        self._clients = {}
        self.start()

    @property
    def url(self):
        return f"redis{'s' if self.papers else ''}://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    @property
    def address(self):
        return (net.HOST, self.port) if self.port else self.socket

    def client(self, decode=True):
        """The test's own look at what is stored: as text, or as bytes. Its connections are kept: tests ask often."""
        if decode not in self._clients:
            self._clients[decode] = redis.Redis(unix_socket_path=self.socket, decode_responses=decode, password=self.password)
        return self._clients[decode]

    def start(self, options=()):
        """options: of this start alone, in pairs."""
        args = [self.program, "--port", str(0 if self.papers else self.port or 0), "--bind", net.HOST, "--unixsocket", self.socket,
                "--dir", self.folder, "--save", "", "--daemonize", "no", "--logfile",
                os.path.join(self.folder, "redis.log")]
        for key, value in zip([*self._options, *options][::2], [*self._options, *options][1::2]):
            args += ["--" + key, *value.split(" ")]
        self._process = subprocess.Popen(args, start_new_session=True, stdin=subprocess.DEVNULL)
        net.wait_until("Redis", self._answers, timeout=20)

    def _answers(self):
        if self._process.poll() is not None:
            with open(os.path.join(self.folder, "redis.log"), encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.program} ended:\n" + f.read()[-2000:])
        try:
            return self.client().ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    @property
    def pid(self):
        return self._process.pid

    def is_running(self):
        return self._process.poll() is None

    def signal(self, number):
        if self.is_running():
            self._process.send_signal(number)

    def stop(self):
        self.signal(signal.SIGCONT)
        net.stop_process(self._process)

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def restart(self):
        self.stop()
        self.start()

    def files(self):
        """What it has written: its log, and each command that has changed something (the append-only file)."""
        return leaks.files(self.folder, lambda name: name.endswith((".log", ".aof", ".rdb")))

    def wipe(self):
        """What an administrator does by mistake: everything gone, server still there."""
        self.client().flushall()

    def close(self):
        for client in self._clients.values():
            client.close()
        self.stop()
        try:
            leaks.assert_none(self.files())
        finally:
            net.remove_folder(self.folder)
