"""An IMAP server in memory, good enough as source and as target, that misbehaves when told to.

    with FakeImap(cert=cert) as fake:
        fake.misbehave("alter", mailbox="INBOX", n=3)     # the third message that is stored there
        fake.misbehave("hang", at="login")                # a place, see PLACES
        ...
        assert not fake.heard(b"secret")

What is done to stored messages (mailbox=None: any; n: which one of those appended to it, from 1):
    alter           a byte of the body
    drop_flag, drop_keyword     one of them, where the message has any; STORE does not bring it back
    shift_date      seconds=3600                    swap     message n and the next one exchange their places
    hide            counted and listed nowhere      omit     counted, but lacking in FETCH
    foreign         somebody else's message follows message n
    nil_body        FETCH says NIL for the body     short_literal   FETCH breaks off inside the body of message n
To APPEND:
    lose_ok         stored, and the connection is reset instead of the answer
    land_late       the connection is reset, and the message is stored when land() is called
    refuse_text     NO to a command that holds a message with text=b"..."
    refuse          NO to a command that holds message n (code="...")         overquota   NO [OVERQUOTA] from message n on
    no_new_keywords PERMANENTFLAGS without \\*; keywords are not stored
To COPY:
    refuse_copy     NO                              lose_copy       done, and the connection is reset instead of the answer
    copy_late       the connection is reset, and it is done when land() is called
At a place: hang, close, bye, wrong_tag, endless (untagged responses for ever), no (code="...").
Of the server: strip_starttls. Each fault takes times=N (for ever where left out).

Whole ways of real servers, for one account each: behave_like(), see manners.py and servers.py."""

import base64
import contextlib
import dataclasses
import itertools
import re
import socket
import ssl
import threading

from .protocol import Gone
from .session import Session
from .store import SYSTEM_FLAGS, Mailbox, Message, shifted

PLACES = ("greeting", "tls", "capability", "starttls", "id", "login", "after_login", "namespace", "list", "select",
          "status", "fetch", "fetch_literal", "create", "append", "append_literal", "noop", "store", "search", "logout")
CAPABILITIES = ("IMAP4rev1 LITERAL+ ID ENABLE NAMESPACE UIDPLUS MULTIAPPEND SPECIAL-USE CREATE-SPECIAL-USE UNSELECT "
                "IDLE CHILDREN")
_count = itertools.count(4)


@dataclasses.dataclass
class Fault:
    kind: str
    at: str = ""
    mailbox: bytes = None
    n: int = 2
    times: int = -1
    seconds: int = 3600
    code: str = ""
    text: bytes = b""

    def concerns(self, mailbox, number):
        return self.mailbox in (None, mailbox) and self.n == number


INVALID_TOKEN = base64.b64encode(b'{"status":"invalid_token","scope":"mail"}')


class FakeImap:
    def __init__(self, name="fake", separator="/", prefix="", cert=None, password="secret",
                 master=("admin", "styx-ferry"), capabilities=CAPABILITIES):
        self.name, self.separator, self.prefix = name, separator.encode(), prefix.encode()
        self.password, self.master, self.capabilities = password.encode(), master, capabilities
        self.host = "127.0.0.1"
        self.passwords = {}     # user -> password, where it is not that of all
        self.strangers = set()  # users whom it does not have: refused, as master too
        self.mechanisms = ["PLAIN"]
        self.tokens = {}        # of an identity provider -> user; for XOAUTH2 and OAUTHBEARER
        self.challenge = INVALID_TOKEN  # the line by which it says why it takes none; None: it says NO at once
        self.acknowledged = []  # what came in answer to that
        self.behind_challenge = "NO [AUTHENTICATIONFAILED] wrong token"  # "+": challenges without end
        self.manners = {}       # user -> list
        self.accounts = {}
        self.lines = []         # (number of the connection, whether under TLS, what came)
        self.written_by_migrators = []  # (user, verb): as the master user, whom no client signs in as
        self.spoken = {}        # user -> what came in under that name
        self.connections = 0
        self.most_at_once = 0   # sessions that are signed in; one that said LOGOUT is over
        self.most_connections = self.most_signed_in = None  # that it takes at once; a further one hears BYE, or NO [LIMIT]
        self._open = 0
        self._signed_in = set()
        self.logins = []        # (user, "user", "master" or "proxyauth")
        self.faults = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.late = []
        self._uidvalidity = 1000000 * next(_count)  # no two servers give the same
        self._sockets = set()
        self.closing = threading.Event()
        self.context = cert if isinstance(cert, ssl.SSLContext) else None
        if cert and not self.context:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*cert)
        self._listeners = {"imap": socket.create_server((self.host, 0), backlog=200)}
        if cert:
            self._listeners["imaps"] = socket.create_server((self.host, 0), backlog=200)
        self.port = {k: s.getsockname()[1] for k, s in self._listeners.items()}
        for kind, listener in self._listeners.items():
            threading.Thread(target=self._accept, args=(listener, kind == "imaps"), daemon=True).start()

    # ---- for the test

    def url(self, scheme="imap", host="127.0.0.1"):
        return f"{scheme}://{host}:{self.port['imaps' if scheme == 'imaps' else 'imap']}"

    def misbehave(self, kind, **options):
        if isinstance(options.get("mailbox"), str):
            options["mailbox"] = options["mailbox"].encode()
        assert options.get("at", PLACES[0]) in PLACES, options
        with self.lock:
            self.faults.append(Fault(kind, **options))

    def behave(self):
        with self.lock:
            self.faults.clear()

    def behave_like(self, user, *manners):
        """From the account's next sign-in on."""
        with self.lock:
            self.manners[user] = list(manners)

    def heard(self, secret):
        """Whether these bytes came in, plain or inside base64."""
        with self.lock:
            lines = [text for _, _, text in self.lines]
        for line in lines:
            if secret in line:
                return True
            for word in line.split():
                with contextlib.suppress(ValueError):
                    if secret in base64.b64decode(word, validate=True):
                        return True
        return False

    def commands(self, verb, user=None):
        """All that came in, or those of one account."""
        with self.lock:
            lines = self.spoken.get(user, []) if user else [text for _, _, text in self.lines]
        return [text for text in lines if re.match(rb"\S+ (UID )?" + verb.encode(), text, re.I)]

    def sign_ins(self, user):
        with self.lock:
            return sum(1 for u, _ in self.logins if u == user)

    def wait(self, what, condition, timeout=20):
        """Waits until condition(), asked anew after each command that came in."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise TimeoutError(f"no {what} within {timeout} s")

    def account(self, user):
        """Name -> Mailbox; made at the first question."""
        with self.lock:
            if user not in self.accounts:
                self.accounts[user] = {}
                self.create(user, b"INBOX")
            return self.accounts[user]

    def create(self, user, name, special=b"", attributes=()):
        with self.lock:
            self._uidvalidity += 7
            box = self.account(user)[name] = Mailbox(name, self._uidvalidity, special=special, attributes=list(attributes))
            return box

    def box(self, user, name="INBOX"):
        return self.account(user)[name.encode() if isinstance(name, str) else name]

    def add(self, user, name, body, flags=(), date=b"01-Jan-2020 12:00:00 +0000", uid=None):
        """Puts a message there, without faults; uid: not the next one."""
        with self.lock:
            boxes = self.account(user)
            name = name.encode() if isinstance(name, str) else name
            box = boxes.get(name) or self.create(user, name)
            message = Message(uid or box.uidnext, body, {f.encode() if isinstance(f, str) else f for f in flags}, date)
            box.uidnext = max(box.uidnext, message.uid + 1)
            box.messages.append(message)
            return message

    def land(self):
        """What land_late held back arrives now."""
        with self.lock:
            for box, messages in self.late:
                self.store_all(box, messages)
            self.late.clear()

    def close(self):
        self.closing.set()
        for listener in self._listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop_all()

    def drop_all(self):
        with self.lock:
            sockets = list(self._sockets)
        for s in sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- faults

    def fault(self, kind, at="", mailbox=None, number=None):
        """The first fault of this kind that applies here, counted as used."""
        with self.lock:
            for f in self.faults:
                if f.kind != kind or f.times == 0 or f.at != at:
                    continue
                if number is not None and not f.concerns(mailbox, number):
                    continue
                f.times -= 1
                return f
        return None

    def store_all(self, box, messages):
        """Appends with all that is to go wrong; the UIDs as a client is told them."""
        uids = []
        for message in messages:
            box.appended += 1
            n = box.appended
            self._spoil(box, message, n)
            message.uid = box.uidnext
            box.uidnext += 1
            box.messages.append(message)
            uids.append(message.uid)
            if self.fault("swap", mailbox=box.name, number=n - 1):
                a, b = box.messages[-2:]
                a.body, b.body, a.flags, b.flags, a.date, b.date = b.body, a.body, b.flags, a.flags, b.date, a.date
            if self.fault("foreign", mailbox=box.name, number=n):
                box.messages.append(Message(box.uidnext, b"Subject: foreign\r\n\r\nnot a copy\r\n", set(), message.date,
                                            foreign=True))
                box.uidnext += 1
        return uids

    def _spoil(self, box, message, n):
        if self.fault("alter", mailbox=box.name, number=n):
            at = len(message.body) // 2
            message.body = message.body[:at] + bytes([message.body[at] ^ 1]) + message.body[at + 1:]
        found = self.fault("shift_date", mailbox=box.name, number=n)
        if found:
            message.date = shifted(message.date, found.seconds)
        message.hidden = bool(self.fault("hide", mailbox=box.name, number=n))
        message.omitted = bool(self.fault("omit", mailbox=box.name, number=n))
        message.nil = bool(self.fault("nil_body", mailbox=box.name, number=n))
        message.short = bool(self.fault("short_literal", mailbox=box.name, number=n))
        for kind, system in (("drop_flag", True), ("drop_keyword", False)):
            for f in sorted(message.flags):
                if (f.lower() in SYSTEM_FLAGS) == system and self.fault(kind):
                    message.flags.discard(f)
                    message.lost.add(f)
                    break
        if any(f.kind == "no_new_keywords" for f in self.faults):
            message.flags = {f for f in message.flags if f.lower() in SYSTEM_FLAGS}

    # ---- connections

    def _accept(self, listener, tls):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
                self._sockets.add(s)
            threading.Thread(target=self._serve, args=(s, tls, number), daemon=True).start()

    def _serve(self, s, tls, number):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Session(self, s, number)
        with self.lock:
            self._open += 1
            full = self.most_connections is not None and self._open > self.most_connections
        try:
            if tls:
                connection.secure()
            if full:
                connection.line("* BYE too many connections from your address")
            else:
                connection.run()
        except (Gone, OSError, ssl.SSLError):
            pass
        finally:
            self.note_logout(connection)
            with self.lock:
                self._open -= 1
                self._sockets.discard(s)
                self._sockets.discard(connection.socket)
                self.changed.notify_all()
            with contextlib.suppress(OSError):
                connection.socket.close()

    def note_line(self, session, text):
        with self.changed:
            self.lines.append((session.number, session.tls, text))
            self.spoken.setdefault(session.user, []).append(text)
            self.changed.notify_all()

    def is_full(self):
        with self.lock:
            return self.most_signed_in is not None and len(self._signed_in) >= self.most_signed_in

    def note_login(self, session, how):
        with self.changed:
            self.logins.append((session.user, how))
            self._signed_in.add(session)
            self.changed.notify_all()
            # One that the client has given up may not have been read to its end yet.
            self.changed.wait_for(lambda: len(self._signed_in) <= self.most_at_once, 0.05)
            self.most_at_once = max(self.most_at_once, len(self._signed_in))

    def note_logout(self, session):
        with self.changed:
            self._signed_in.discard(session)
            self.changed.notify_all()

    def register(self, s):
        with self.lock:
            self._sockets.add(s)
