"""One session, whose answers are read as values (answers.py)."""
import contextlib
import select

from harness.scene import Wire

from .answers import read_answer


class Talk:
    """closed: the connection has ended; silent: no answer came within its time."""

    def __init__(self, address, user, timeout=20):
        self.wire = Wire(address, timeout=timeout)
        self.wire.until(b"* ")
        assert self.wire.login(user).startswith(b"l1 OK")
        self.closed = self.silent = False

    def _exactly(self, size):
        wire = self.wire
        while len(wire.buffer) < size:
            data = wire.socket.recv(65536)
            if not data:
                raise ConnectionResetError
            wire.buffer += data
        data, wire.buffer = wire.buffer[:size], wire.buffer[size:]
        return data

    def read(self):
        """None at the end of the connection; no answer within its time is such an end."""
        try:
            with contextlib.suppress(ConnectionResetError):
                answer = read_answer(self.wire.read_line, self._exactly)
                if answer is not None:
                    return answer
        except TimeoutError:
            self.silent = True
        self.closed = True
        return None

    def has_come(self, seconds):
        """Waits for so long."""
        return b"\n" in self.wire.buffer or getattr(self.wire.socket, "plain", b"") or \
            bool(select.select([self.wire.socket], [], [], seconds)[0])

    def close(self):
        self.wire.close()
