"""A mail server that delivers by LMTP, by hand: one connection, a line at a time or many.

    with Mta(address) as mta:
        mta.lhlo()
        assert mta.deliver(["ann@example.org"], b"Subject: x\\r\\n\\r\\nx\\r\\n") == [b"250 2.0.0 saved"]
"""
import socket


class Gone(Exception):
    """The other side has closed the connection."""


def letter(label, size=0):
    return b"From: somebody@elsewhere.example\r\nSubject: %s\r\nMessage-ID: <%s@elsewhere.example>\r\n\r\n%s" % (
        (label.encode(),) * 2 + (label.encode() + b"\r\n" + (b"x" * 70 + b"\r\n") * (size // 72),))


class Mta:
    def __init__(self, address, timeout=20, greeting=True):
        kind, where = address.split("://")
        self.socket = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        self.socket.settimeout(timeout)
        self.socket.connect(where if kind == "unix" else (where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1])))
        self._buffer = b""
        if greeting:
            assert self.answer().startswith(b"220 ")

    # ---- bytes

    def send(self, *lines):
        self.socket.sendall(b"".join(line + b"\r\n" for line in lines))

    def send_raw(self, data):
        self.socket.sendall(data)

    def line(self):
        while b"\n" not in self._buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Gone(self._buffer)
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        assert line.endswith(b"\r"), line
        return line[:-1]

    def answer(self):
        """All lines of one, joined by LF."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"\n".join(lines)

    def ended(self):
        try:
            return self.line()
        except Gone:
            return True

    # ---- commands

    def command(self, line):
        self.send(line)
        return self.answer()

    def lhlo(self):
        """What is offered."""
        lines = self.command(b"LHLO mx.example.org").split(b"\n")
        assert all(x.startswith(b"250") for x in lines), lines
        return [x[4:] for x in lines[1:]]

    def begin(self, *recipients, sender="somebody@elsewhere.example"):
        """MAIL and RCPT; the answers to RCPT."""
        assert self.command(b"MAIL FROM:<%s>" % sender.encode()).startswith(b"250 ")
        return [self.command(b"RCPT TO:<%s>" % r.encode()) for r in recipients]

    def deliver(self, recipients, message, sender="somebody@elsewhere.example"):
        """The answers behind the last dot, of those whom RCPT has taken; the answer to DATA alone where that is refused."""
        taken = [a for a in self.begin(*recipients, sender=sender) if a.startswith(b"250 ")]
        answer = self.command(b"DATA")
        if not answer.startswith(b"354"):
            return [answer]
        self.send_raw(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return [self.answer() for _ in taken]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
