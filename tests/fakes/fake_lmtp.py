"""An LMTP server that takes mail, and does with it what a test says: it refuses, lies, stands still, or goes.

    with FakeLmtp() as server:
        server.says["RCPT"] = b"550 5.1.1 no"      # bytes are an answer, a callable is asked (session, line) for them
        server.says["END"] = None                  # None: the connection is closed without one
        server.messages                            # (sender, recipient, body) for each answer 2yz behind a last dot

Words are verbs of commands, GREETING, DATA, BODY (as soon as the first bytes of a message are there; only what is not None and not
b"" is said) and END (asked for each recipient). A message counts when its last dot is there, whatever is answered: `taken` has it."""
import contextlib
import re
import socket
import threading

from harness import net

CAPS = (b"PIPELINING", b"8BITMIME", b"SIZE", b"ENHANCEDSTATUSCODES")


class Hold:
    """server.says["END"] = Hold(): whoever comes there waits for go(); wait() tells that somebody has come."""

    def __init__(self, answer=b"250 2.0.0 OK"):
        self._come, self._go, self._answer = threading.Event(), threading.Event(), answer

    def __call__(self, session, line):
        self._come.set()
        assert self._go.wait(30)
        return self._answer

    def wait(self):
        assert self._come.wait(20), "nobody came"

    def go(self, answer=None):
        self._answer = self._answer if answer is None else answer
        self._go.set()


class Session:
    def __init__(self, server, connection):
        self.server, self.socket, self.lines = server, connection, connection.makefile("rb")
        self.sender, self.recipients = None, []

    def say(self, text):
        self.socket.sendall(text + b"\r\n")

    def answer(self, word, line, usual):
        """False: the connection is to be closed."""
        answer = self.server.says.get(word, usual)
        if callable(answer):
            answer = answer(self, line)
        if answer is None:
            return False
        if answer:
            self.say(answer)
        return True

    def run(self):
        if not self.answer("GREETING", b"", b"220 fake LMTP"):
            return
        for line in self.lines:
            self.server.heard.append(line.rstrip(b"\r\n"))
            verb = line[:4].decode("latin-1").upper()
            if verb == "QUIT":
                self.say(b"221 2.0.0 bye")
                return
            if not getattr(self, f"on_{verb.lower()}", self.on_other)(line):
                return

    def on_other(self, line):
        return self.answer(line[:4].decode("latin-1").upper(), line, b"250 2.0.0 OK")

    def on_lhlo(self, line):
        usual = b"\r\n".join([b"250-fake", *(b"250-" + c for c in self.server.caps), b"250 X-END"])
        return self.answer("LHLO", line, usual)

    def on_mail(self, line):
        self.sender, self.recipients = re.search(rb"<(.*?)>", line).group(1), []
        return self.answer("MAIL", line, b"250 2.1.0 OK")

    def on_rcpt(self, line):
        who = re.search(rb"<(.*?)>", line).group(1)
        said = []

        def note(answer):
            said.append(answer)
            return answer
        answer = self.server.says.get("RCPT", b"250 2.1.5 OK")
        answer = note(answer(self, line) if callable(answer) else answer)
        if answer is None:
            return False
        if answer[:1] == b"2":
            self.recipients.append(who)
        self.say(answer)
        return True

    def on_data(self, line):
        says = self.server.says.get("DATA", b"354 go on")
        if not self.answer("DATA", line, says):
            return False
        if callable(says) or says[:3] != b"354":  # as it was when it was said: who heard it may have changed it since
            return True
        body = b""
        for row in self.lines:
            if row == b".\r\n":
                break
            if not body and not self.answer("BODY", row, b""):
                return False
            body += row[1:] if row.startswith(b".") else row
        else:
            self.server.torn.append(body)
            return False
        return self.end(body)

    def end(self, body):
        self.server.taken.append((self.sender.decode(), [r.decode() for r in self.recipients], body))
        for who in self.recipients:
            answer = self.server.says.get("END", b"250 2.0.0 saved")
            answer = answer(self, who) if callable(answer) else answer
            if answer is None:
                return False
            if answer[:1] == b"2":
                self.server.messages.append((self.sender.decode(), who.decode(), body))
            self.say(answer)
        return True


class FakeLmtp:
    def __init__(self, caps=CAPS):
        self.caps = list(caps)
        self.clear()
        self.connections = 0
        self._listener = socket.create_server((net.HOST, 0))
        self.port = self._listener.getsockname()[1]
        self.delivery = f"lmtp:inet:127.0.0.1:{self.port}"
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def clear(self):
        self.says, self.heard, self.taken, self.messages, self.torn = {}, [], [], [], []

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            Session(self, connection).run()
            connection.shutdown(socket.SHUT_RDWR)
        self._open.discard(connection)

    def cut(self):
        """All connections end; new ones are taken."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
