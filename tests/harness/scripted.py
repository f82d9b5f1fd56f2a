"""The backend of transcripts (tests/transcripts/README.md): a polite IMAP server that takes any name and password, but for what
the rules of the scene say; once somebody has signed in, the scene itself may play it on."""
import base64
import contextlib
import re
import socket
import ssl
import threading
import time

from . import header, net
from .transcript import End, literal

CAPABILITIES = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID UIDPLUS IDLE NAMESPACE ENABLE UNSELECT"
RELAYED = ("<", ">", ">>", "~", "closed", "gone", "close", "reset", "shut", "pours", "takes")
DEADLINE = 60  # seconds; a scene is over before
FLOOD = b"* OK " + b"still here " * 100 + b"\r\n"


class Over(Exception):
    """This connection has been ended."""


class Case:
    """What came in during one scene."""

    def __init__(self, scene, certificates):
        self.scene = scene
        self.certificates = certificates
        self.plays_on = any(s.who == "B" and s.what in RELAYED for s in scene.steps)
        self.lines, self.logins, self.connections = [], [], 0
        self.handed_over = None  # the End of the newest connection that signed in
        self.changed = threading.Condition()
        self.sockets = []
        self.left = []  # those that no thread reads any more
        self.over = False

    def note(self, **more):
        with self.changed:
            for name, value in more.items():
                getattr(self, name).append(value)
            self.changed.notify_all()

    def wait(self, condition, timeout):
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def heard(self, secret):
        """Plain, or inside base64."""
        for line in list(self.lines):
            if secret in line:
                return True
            for word in line.split():
                with contextlib.suppress(ValueError):
                    if secret in base64.b64decode(word, validate=True):
                        return True
        return False

    def leave(self, connection):
        """Closes it when the scene is over."""
        with self.changed:
            if not self.over:
                self.left.append(connection)
                return
        connection.close()

    def close(self):
        """Who reads a socket closes it: OpenSSL would go on with its number, which is another connection's by then."""
        with self.changed:
            self.over = True
            sockets, left = list(self.sockets), list(self.left)
        for s in sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for s in left:
            s.close()


class Connection:
    """Plays one connection up to its sign-in, or to its end."""

    def __init__(self, case, connection, is_tls):
        self.case, self.end = case, End(connection)
        self.is_tls = False
        self.starts_with_tls = is_tls
        self.until = time.monotonic() + DEADLINE
        self.is_signed_in = False
        self.done = False

    # ---- rules

    def rules(self, trigger):
        return [text for at, text in self.case.scene.rules if at.lower() == trigger.lower()]

    def capabilities(self):
        words = (self.rules("caps") or [CAPABILITIES])[-1]
        if self.is_tls:
            words = re.sub(r"\bSTARTTLS ?", "", words)
        return words.strip().encode()

    def say(self, data):
        self.end.send(data, DEADLINE)

    def obey(self, text, tag):
        """One line of a rule."""
        word, _, rest = text.partition(" ")
        if word == "!close":
            raise Over
        if word == "!reset":
            self.end.reset()
            raise Over
        if word == "!hang":
            self.hang()
        elif word == "!shut":
            self.end.socket.shutdown(socket.SHUT_WR)
        elif word == "!tls":
            self.secure()
        elif word == "!flood":
            self.flood()
        elif word == "!unended":
            self.say(literal(rest, {"tag": tag}))
        else:
            self.say(literal(text, {"tag": tag}) + b"\r\n")

    def answer(self, trigger, tag, otherwise):
        """What the rules say, or else otherwise; False where they said it."""
        rules = self.rules(trigger)
        for text in rules:
            self.obey(text, tag)
        if not rules:
            self.say(otherwise)
        return not rules

    def hang(self):
        """Until the other side goes away."""
        while self.end.fill(self.until):
            self.end.buffer = b""
        raise Over

    def flood(self):
        with contextlib.suppress(OSError):
            self.end.socket.settimeout(DEADLINE)
            while True:
                self.end.socket.sendall(FLOOD)
        raise Over

    def secure(self):
        context = self.case.certificates(self.case.scene.header("certificate", "good"))
        self.end.socket.settimeout(DEADLINE)
        try:
            self.end.socket = context.wrap_socket(self.end.socket, server_side=True)
        except (OSError, ValueError) as e:
            raise Over from e
        self.case.note(sockets=self.end.socket)
        self.end.buffer = b""
        self.is_tls = True

    # ---- reading

    def line(self):
        line = self.end.read_line(self.until)
        if line is None:
            raise Over
        self.case.note(lines=line)
        return line

    def command(self):
        """A command as one: literals stand in it as (None, bytes); (tag, verb, rest as a list of parts)."""
        parts = []
        while True:
            line = self.line()
            found = re.search(rb"\{(\d+)(\+?)\}$", line)
            if not found:
                parts.append(line)
                break
            parts.append(line[:found.start()])
            if not found[2]:
                self.say(b"+ OK\r\n")
            size = int(found[1])
            while len(self.end.buffer) < size:
                if not self.end.fill(self.until):
                    raise Over
            parts.append((self.end.buffer[:size],))
            self.case.note(lines=self.end.buffer[:size])
            self.end.buffer = self.end.buffer[size:]
        tag, _, rest = parts[0].partition(b" ")
        verb, _, rest = rest.partition(b" ")
        return tag, verb.upper().decode("latin-1"), [rest] + parts[1:]

    @staticmethod
    def strings(parts):
        """Atoms, quoted strings and literals of a command, as bytes."""
        out = []
        for part in parts:
            if isinstance(part, tuple):
                out.append(part[0])
                continue
            for quoted, atom in re.findall(rb'"((?:[^"\\]|\\.)*)"|([^ "]+)', part):
                out.append(re.sub(rb"\\(.)", rb"\1", quoted) if not atom else atom)
        return out

    # ---- the dialog

    def run(self):
        if self.case.scene.header("profile").startswith("header-out"):
            self.take_header()
        if self.starts_with_tls:
            self.secure()
        self.answer("greeting", b"", b"* OK [CAPABILITY " + self.capabilities() + b"] ready\r\n")
        while not self.done:
            tag, verb, rest = self.command()
            self.run_command(tag, verb, rest)

    def take_header(self):
        while header.length(self.end.buffer) is None:
            if not self.end.fill(self.until):
                raise Over
        size = header.length(self.end.buffer)
        self.case.note(lines=b"header of " + header.client_of(self.end.buffer[:size]).encode())
        self.end.buffer = self.end.buffer[size:]

    def run_command(self, tag, verb, rest):
        if self.is_signed_in and verb in ("LOGIN", "AUTHENTICATE", "STARTTLS"):
            self.say(tag + b" BAD not now\r\n")
        elif verb == "LOGIN":
            self.answer("command", tag, b"")
            self.signed_in(tag, *(self.strings(rest) + [b"", b""])[:2])
        elif verb == "AUTHENTICATE":
            self.authenticate(tag, self.strings(rest))
        elif verb == "STARTTLS":
            self.answer("starttls", tag, tag + b" OK go on\r\n")
            if not any(r.startswith("!") for r in self.rules("starttls")):
                self.secure()
        elif verb == "CAPABILITY":
            self.answer("capability", tag, b"* CAPABILITY " + self.capabilities() + b"\r\n" + tag + b" OK done\r\n")
        elif verb == "ID":
            self.answer("id", tag, b"* ID NIL\r\n" + tag + b" OK done\r\n")
        elif verb == "LOGOUT":
            self.answer("logout", tag, b"* BYE\r\n" + tag + b" OK done\r\n")
            raise Over
        elif verb in ("SELECT", "EXAMINE"):
            self.answer(verb, tag, b"* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n* FLAGS (\\Seen)\r\n"
                        + tag + b" OK [READ-WRITE] " + verb.encode() + b" done\r\n")
        else:
            self.answer(verb, tag, tag + b" OK " + verb.encode() + b" done\r\n")

    def authenticate(self, tag, words):
        mechanism = words[0].upper() if words else b""
        if self.rules("authenticate"):
            self.answer("authenticate", tag, b"")
        text = words[1] if len(words) > 1 else None
        if text is None:
            self.say(b"+ \r\n")
            text = self.line()
        message = base64.b64decode(b"" if text == b"=" else text)
        if mechanism == b"PLAIN":
            fields = message.split(b"\0")
            self.signed_in(tag, *(fields + [b"", b"", b""])[1:3])
        else:
            self.case.note(lines=mechanism + b" " + message)
            for text in self.rules("challenge"):
                self.obey(text, tag)
                self.line()
            self.signed_in(tag, mechanism, message)

    def signed_in(self, tag, name, password):
        self.case.note(logins=(name, password))
        if not name or not password:
            self.say(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
            return
        mine = f"login:{password.decode('latin-1')}"
        at = mine if self.rules(mine) else "login"
        self.answer(at, tag, tag + b" OK [CAPABILITY " + self.capabilities() + b"] welcome\r\n")
        self.is_signed_in = not any(re.search(r"\$tag (NO|BAD)", r) for r in self.rules(at))
        if self.case.plays_on and self.is_signed_in:
            self.done = True
            with self.case.changed:
                self.case.handed_over = self.end
                self.case.changed.notify_all()


class Scripted:
    """certificates: word -> (certificate, key). port: {"imap", "imaps"}."""

    def __init__(self, certificates):
        self._files, self._contexts = certificates, {}
        self._lock = threading.Lock()
        self.case = None
        self._listeners = {kind: socket.create_server((net.HOST, 0), backlog=200) for kind in ("imap", "imaps")}
        self.port = {kind: s.getsockname()[1] for kind, s in self._listeners.items()}
        for kind, listener in self._listeners.items():
            threading.Thread(target=self._accept, args=(listener, kind == "imaps"), daemon=True).start()

    def url(self, scheme="imap", host=net.HOST):
        return f"{scheme}://{host}:{self.port['imaps' if scheme == 'imaps' else 'imap']}"

    def _context(self, word):
        with self._lock:
            if word not in self._contexts:
                self._contexts[word] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._contexts[word].load_cert_chain(*self._files[word])
            return self._contexts[word]

    def begin(self, scene):
        self.case = Case(scene, self._context)

    def end(self):
        self.case.close()

    def _accept(self, listener, is_tls):
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=self._serve, args=(connection, self.case, is_tls), daemon=True).start()

    @staticmethod
    def _serve(connection, case, is_tls):
        if case is None or case.over:
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        case.note(sockets=connection)
        with case.changed:
            case.connections += 1
            case.changed.notify_all()
        one = Connection(case, connection, is_tls)
        with contextlib.suppress(Over, OSError, ValueError):
            one.run()
        if one.done:
            case.leave(one.end.socket)
        else:
            one.end.socket.close()

    def close(self):
        for listener in self._listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if self.case:
            self.case.close()
