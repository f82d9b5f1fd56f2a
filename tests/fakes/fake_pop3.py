"""A POP3 server in memory, which counts what it is told, and misbehaves as it is told to.

    with FakePop3({1: b"one"}) as fake:
        fake.answer("QUIT", fake.hold)       # an own answer: called with the connection and the line
        fake.greeting = b"garbage"
"""
import base64
import contextlib
import socket
import threading

from harness import net

CAPA = b"+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN\r\n.\r\n"


class FakePop3:
    def __init__(self, messages=None, capa=CAPA, passwords=None):
        self.messages = dict(messages or {1: b"Subject: one\r\n\r\none\r\n"})
        self.capa, self.passwords = capa, passwords or {}
        self.greeting = b"+OK ready\r\n"
        self.lines, self.ends = [], []  # what came; the messages that a QUIT has deleted
        self.quits = 0
        self._answers, self._sockets = {}, []
        self.held = threading.Event()
        self.go_on = threading.Event()
        self._listener = socket.create_server((net.HOST, 0), backlog=200)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self):
        return f"pop3://{net.HOST}:{self.port}"

    def answer(self, verb, how):
        """how(connection, line, as_usual)"""
        self._answers[verb] = how

    def hold(self, connection, _line, as_usual):
        """Answers when go_on is set."""
        self.held.set()
        self.go_on.wait(30)
        as_usual()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._sockets.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            Session(self, connection).run()
        with contextlib.suppress(OSError):
            connection.close()

    def own_answer(self, verb):
        return self._answers.get(verb)

    def close(self):
        self.go_on.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for s in self._sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Session:
    def __init__(self, server, connection):
        self.server, self.connection = server, connection
        self.deleted, self.name = set(), ""

    def say(self, data):
        self.connection.sendall(data)

    def run(self):
        self.say(self.server.greeting)
        with self.connection.makefile("rb") as lines:
            for line in lines:
                line = line.rstrip(b"\r\n")
                self.server.lines.append(line)
                verb = line.split(b" ")[0].upper().decode("latin-1")
                own = self.server.own_answer(verb)
                usual = (lambda v=verb, x=line: self.run_command(v, x.split(b" ")[1:], lines))
                if own:
                    own(self.connection, line, usual)
                else:
                    usual()
                if verb == "QUIT":
                    return

    def run_command(self, verb, args, lines):
        s = self.server
        if verb == "PROXY":
            return
        if verb == "CAPA":
            self.say(s.capa)
        elif verb == "AUTH":
            self.say(b"+ \r\n")
            self.sign_in_plain(next(lines, b""))
        elif verb == "USER":
            self.name = args[0]
            self.say(b"+OK\r\n")
        elif verb == "PASS":
            self.sign_in(self.name, b" ".join(args))
        elif verb in ("RETR", "TOP"):
            self.say(b"+OK\r\n" + s.messages[int(args[0])] + b".\r\n")
        elif verb in ("LIST", "UIDL") and not args:
            self.say(b"+OK\r\n" + b"".join(b"%d %d\r\n" % (n, n) for n in s.messages) + b".\r\n")
        elif verb == "DELE":
            self.deleted.add(int(args[0]))
            self.say(b"+OK\r\n")
        elif verb == "QUIT":
            s.quits += 1
            s.ends.append(sorted(self.deleted))
            self.say(b"+OK\r\n")
        else:
            self.say(b"+OK %d 100\r\n" % len(s.messages))

    def sign_in_plain(self, line):
        try:
            _, name, password = base64.b64decode(line.rstrip(b"\r\n"), validate=True).split(b"\0")
        except ValueError:  # no base64, or not three words
            self.say(b"-ERR [AUTH] that is no PLAIN\r\n")
        else:
            self.sign_in(name, password)

    def sign_in(self, name, password):
        if self.server.passwords.get(name.decode(), b"secret") == password:
            self.say(b"+OK\r\n")
        else:
            self.say(b"-ERR [AUTH] no\r\n")
