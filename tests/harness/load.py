"""Clients that connect, sign in and leave, one behind the other, for as long as they are let: what none of them may meet is a
refused or a reset connection, or one that ends without a word. (They may hear that a server is being restarted.)"""
import socket
import threading

from .scene import PASSWORD


class Load:
    """with Load(port) as load: ...; load.check(least=100)"""

    def __init__(self, port, clients=4):
        self.port = port
        self.signed_in = self.told_bye = 0
        self.failures = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._changed = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(clients)]

    def _run(self, n):
        while not self._over.is_set():
            try:
                answer = self._sign_in(n)
            except OSError as e:
                answer = e
            with self._changed:
                self.signed_in += answer == "OK"
                self.told_bye += answer == "BYE"
                if answer not in ("OK", "BYE"):
                    self.failures.append(answer)
                self._changed.notify_all()

    def _sign_in(self, n):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s, s.makefile("rb") as lines:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = lines.readline()
            if first.startswith(b"* BYE"):
                return "BYE"
            if not first.startswith(b"* OK"):
                return f"no greeting, {first!r}"
            try:
                s.sendall(b"a LOGIN load%d@example.org %s\r\n" % (n, PASSWORD.encode()))
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed behind its BYE
            for line in lines:
                if line.startswith(b"* BYE"):
                    return "BYE"
                if line.startswith(b"a "):
                    return {b"OK": "OK", b"NO [UNAVAILABLE]": "BYE"}.get(line[2:18] if line[2:4] == b"NO" else line[2:4], f"refused: {line!r}")
            return "ended without a word"

    def more(self, count, timeout=60):
        """Waits until so many more have signed in."""
        with self._changed:
            goal = self.signed_in + count
            assert self._changed.wait_for(lambda: self.signed_in >= goal, timeout), \
                f"{self.signed_in} of {goal} signed in; {self.failures[:5]}"

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for t in self._threads:
            t.join(30)

    def check(self):
        assert not self.failures, f"{len(self.failures)} of {self.signed_in}: {self.failures[:10]}"
