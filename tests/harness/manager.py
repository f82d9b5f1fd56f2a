"""The side of a service manager (systemd): it holds sockets, starts daemons with them, and hears what these tell it."""
import os
import select
import socket
import struct
import time

from . import net


class Manager:
    """with Manager(folder, [("imaps", ("127.0.0.1", 993))]) as manager: ferry.proxy(..., **manager.start())"""

    def __init__(self, folder, sockets=(), watchdog_ms=0):
        self.path = os.path.join(folder, f"notify{net.free_port()}")
        self.inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inbox.bind(self.path)
        os.chmod(self.path, 0o666)
        self.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.heard = []  # (pid, {key: value})
        self.watchdog_ms = watchdog_ms
        self.names, self.sockets = [], []
        for name, address in sockets:
            s = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(address)
            s.listen(4096)
            self.names.append(name)
            self.sockets.append(s)

    def start(self):
        """What Ferry.proxy() needs for one start."""
        fds = [s.fileno() for s in self.sockets]
        env = {"NOTIFY_SOCKET": self.path}
        if fds:
            env.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(self.names))
        if self.watchdog_ms:
            env["WATCHDOG_USEC"] = str(self.watchdog_ms * 1000)
        # Descriptors are passed on in the order of their numbers, so none is overwritten before it was moved.
        moves = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(sorted(fds)))
        script = f'export LISTEN_PID=$$; [ -z "$WATCHDOG_USEC" ] || export WATCHDOG_PID=$$; exec "$@" {moves}'
        return {"wrapper": ("bash", "-c", script, "bash"), "env": env, "fds": tuple(fds)}

    def next(self, timeout):
        if not select.select([self.inbox], [], [], max(0, timeout))[0]:
            return None
        data, ancillary, _, _ = self.inbox.recvmsg(4096, socket.CMSG_SPACE(12))
        pid = next((struct.unpack("3i", raw)[0] for _, kind, raw in ancillary if kind == socket.SCM_CREDENTIALS), 0)
        self.heard.append((pid, dict(line.partition("=")[::2] for line in data.decode().splitlines())))
        return self.heard[-1]

    def wait(self, key, value=None, timeout=20):
        """The next message with it: (pid, all that it says)."""
        end = time.monotonic() + timeout
        while True:
            told = self.next(end - time.monotonic())
            assert told, f"nothing was told of {key}; before: {self.heard}"
            if key in told[1] and value in (None, told[1][key]):
                return told

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (*self.sockets, self.inbox):
            s.close()
