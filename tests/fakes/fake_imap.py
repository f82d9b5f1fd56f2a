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
    refuse          NO to a command that holds message n (code="...")         overquota   NO [OVERQUOTA] from message n on
    no_new_keywords PERMANENTFLAGS without \\*; keywords are not stored
At a place: hang, close, bye, wrong_tag, endless (untagged responses for ever), no (code="...").
Of the server: strip_starttls. Each fault takes times=N (for ever where left out)."""

import base64
import contextlib
import dataclasses
import re
import socket
import ssl
import threading

PLACES = ("greeting", "tls", "capability", "starttls", "id", "login", "after_login", "namespace", "list", "select",
          "status", "fetch", "fetch_literal", "create", "append", "append_literal", "noop", "store", "search")
CAPABILITIES = ("IMAP4rev1 LITERAL+ ID ENABLE NAMESPACE UIDPLUS MULTIAPPEND SPECIAL-USE CREATE-SPECIAL-USE UNSELECT "
                "IDLE CHILDREN")
SYSTEM_FLAGS = {b"\\seen", b"\\answered", b"\\flagged", b"\\deleted", b"\\draft"}
_TOKEN = re.compile(rb'(?P<item>(?:BODY|BINARY)(?:\.PEEK)?\[[^\]]*\](?:<[^>]*>)?)|"(?P<quoted>(?:\\.|[^"\\])*)"'
                    rb'|(?P<paren>[()])|(?P<atom>[^\s()"]+)', re.I)


class Gone(Exception):
    """The connection is over."""


class Refused(Exception):
    """Tagged NO or BAD with this text."""


@dataclasses.dataclass(eq=False)
class Message:
    uid: int
    body: bytes
    flags: set
    date: bytes
    hidden: bool = False
    omitted: bool = False
    nil: bool = False
    short: bool = False
    foreign: bool = False
    lost: set = dataclasses.field(default_factory=set)  # flags that can't be set


@dataclasses.dataclass(eq=False)
class Mailbox:
    name: bytes
    uidvalidity: int
    uidnext: int = 1
    messages: list = dataclasses.field(default_factory=list)
    special: bytes = b""
    subscribed: bool = False
    appended: int = 0  # how many APPENDs there were, for the faults

    def listed(self):
        return [m for m in self.messages if not m.hidden]


@dataclasses.dataclass
class Fault:
    kind: str
    at: str = ""
    mailbox: bytes = None
    n: int = 2
    times: int = -1
    seconds: int = 3600
    code: str = ""

    def concerns(self, mailbox, number):
        return self.mailbox in (None, mailbox) and self.n == number


class FakeImap:
    def __init__(self, name="fake", separator="/", prefix="", cert=None, password="secret",
                 master=("admin", "styx"), capabilities=CAPABILITIES):
        self.name, self.separator, self.prefix = name, separator.encode(), prefix.encode()
        self.password, self.master, self.capabilities = password.encode(), master, capabilities
        self.host = "127.0.0.1"
        self.accounts = {}
        self.lines = []         # (number of the connection, whether under TLS, what came)
        self.connections = 0
        self.logins = []        # (user, "user" or "master")
        self.faults = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.late = []
        self._uidvalidity = 4000000
        self._sockets = set()
        self.closing = threading.Event()
        self.context = None
        if cert:
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

    def commands(self, verb):
        with self.lock:
            return [text for _, _, text in self.lines if re.match(rb"\S+ (UID )?" + verb.encode(), text, re.I)]

    def wait(self, what, condition, timeout=20):
        """Waits until condition(), asked anew after each command that came in."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise TimeoutError(f"no {what} within {timeout} s")

    def account(self, user):
        with self.lock:
            if user not in self.accounts:
                self.accounts[user] = {}
                self.create(user, b"INBOX")
            return self.accounts[user]

    def create(self, user, name, special=b""):
        with self.lock:
            self._uidvalidity += 7
            box = self.accounts[user][name] = Mailbox(name, self._uidvalidity, special=special)
            return box

    def add(self, user, name, body, flags=(), date=b"01-Jan-2020 12:00:00 +0000"):
        """Puts a message there, without faults."""
        with self.lock:
            boxes = self.account(user)
            name = name.encode() if isinstance(name, str) else name
            box = boxes.get(name) or self.create(user, name)
            message = Message(box.uidnext, body, {f.encode() if isinstance(f, str) else f for f in flags}, date)
            box.uidnext += 1
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
            message.date = _shifted(message.date, found.seconds)
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
        connection = Connection(self, s, number)
        try:
            if tls:
                connection.secure()
            connection.run()
        except (Gone, OSError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                self._sockets.discard(s)
                self._sockets.discard(connection.socket)
                self.changed.notify_all()
            with contextlib.suppress(OSError):
                connection.socket.close()

    def register(self, s):
        with self.lock:
            self._sockets.add(s)


def _shifted(date, seconds):
    """An INTERNALDATE moved by whole hours or minutes: done in the zone, which moves the instant the other way."""
    sign, hours, minutes = re.search(rb"([+-])(\d\d)(\d\d)$", date).groups()
    offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == b"-" else 1) - seconds // 60
    return date[:-5] + b"%s%02d%02d" % (b"-" if offset < 0 else b"+", abs(offset) // 60, abs(offset) % 60)


class Connection:
    def __init__(self, server, s, number):
        self.server, self.socket, self.number = server, s, number
        self.tls = False
        self.buffer = b""
        self.user = None
        self.box = None
        self.read_only = False
        self.view = []  # the messages that this client knows of, by number
        self.tag = b"*"

    # ---- bytes

    def secure(self):
        self.place("tls")
        self.socket = self.server.context.wrap_socket(self.socket, server_side=True)
        self.server.register(self.socket)
        self.tls = True
        self.buffer = b""

    def send(self, *parts):
        self.socket.sendall(b"".join(p.encode() if isinstance(p, str) else p for p in parts))

    def line(self, text):
        self.send(text, b"\r\n")

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Gone
        self.buffer += data

    def read_line(self):
        while b"\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def read_exactly(self, count):
        parts, have = [self.buffer], len(self.buffer)
        self.buffer = b""
        while have < count:
            data = self.socket.recv(min(1 << 20, max(count - have, 65536)))
            if not data:
                raise Gone
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def read_command(self):
        """(tag, tokens) with literals read; strings and atoms as bytes, lists as lists."""
        stack, heard = [[]], b""
        while True:
            line = self.read_line()
            literal = re.search(rb"~?\{(\d+)(\+?)\}$", line)
            text = line[:literal.start()] if literal else line
            heard += line
            for found in _TOKEN.finditer(text):
                if found["paren"] == b"(":
                    stack.append([])
                elif found["paren"] == b")":
                    if len(stack) == 1:
                        raise Refused("BAD parentheses")
                    done = stack.pop()
                    stack[-1].append(done)
                elif found["quoted"] is not None:
                    stack[-1].append(re.sub(rb"\\(.)", rb"\1", found["quoted"]))
                else:
                    stack[-1].append(found["item"] or found["atom"])
            if not literal:
                break
            if b"APPEND" in heard[:60].upper():
                self.place("append_literal")
            if not literal.group(2):
                self.line("+ go on")
            data = self.read_exactly(int(literal.group(1)))
            heard += b"\r\n" + data[:4096]
            stack[-1].append(data)
        with self.server.changed:
            self.server.lines.append((self.number, self.tls, heard))
            self.server.changed.notify_all()
        return stack[0]

    # ---- places where things go wrong

    def place(self, at):
        server = self.server
        if server.fault("hang", at):
            server.closing.wait()
            raise Gone
        if server.fault("close", at):
            raise Gone
        if server.fault("bye", at):
            self.line("* BYE [UNAVAILABLE] the fake goes away")
            raise Gone
        if server.fault("endless", at):
            while True:
                self.send(b"* OK still thinking\r\n" * 500)
        if server.fault("wrong_tag", at):
            self.line("zzz999 OK not your tag")
            server.closing.wait()
            raise Gone
        found = server.fault("no", at)
        if found:
            raise Refused(f"NO {found.code} the fake does not want to".replace("  ", " "))

    # ---- the session

    def run(self):
        self.place("greeting")
        asked_for = any(f.at == "capability" for f in self.server.faults)  # then a client has to ask
        self.line("* OK fake ready" if asked_for else f"* OK [CAPABILITY {self.capability()}] fake ready")
        while True:
            tokens = None
            self.tag = b"*"
            try:
                tokens = self.read_command()
                if len(tokens) < 2 or not isinstance(tokens[1], bytes):
                    raise Refused("BAD what?")
                self.tag = tokens[0]
                self.dispatch(tokens[1].upper(), tokens[2:])
            except Refused as e:
                self.line(self.tag + b" " + str(e).encode())
            except (IndexError, ValueError, AttributeError, TypeError, KeyError) as e:
                self.line(self.tag + b" BAD " + repr(e).encode())

    def ok(self, text="done"):
        self.line(self.tag + b" OK " + text.encode())

    def dispatch(self, verb, args):
        if verb == b"UID":
            verb, args, uid = args[0].upper(), args[1:], True
        else:
            uid = False
        always = {b"CAPABILITY", b"NOOP", b"LOGOUT", b"ID"}
        before = {b"STARTTLS", b"LOGIN", b"AUTHENTICATE"}
        selected = {b"FETCH", b"STORE", b"SEARCH", b"EXPUNGE", b"UNSELECT", b"CLOSE", b"COPY", b"CHECK"}
        if verb not in always and (verb in before) != (self.user is None):
            raise Refused("BAD not now")
        if verb in selected and self.box is None:
            raise Refused("BAD nothing selected")
        handler = getattr(self, "do_" + verb.decode("latin-1").lower(), None)
        if not handler:
            raise Refused("BAD unknown command")
        if uid:
            handler(args, True)
        else:
            handler(args)

    def capability(self):
        words = [self.server.capabilities]
        if self.user is None:
            words.append("AUTH=PLAIN SASL-IR")
            if self.server.context and not self.tls and not any(f.kind == "strip_starttls" for f in self.server.faults):
                words.append("STARTTLS")
        return " ".join(words)

    def do_capability(self, _):
        self.place("capability")
        self.line(f"* CAPABILITY {self.capability()}")
        self.ok()

    def do_noop(self, _):
        self.place("noop")
        self.sync()
        self.ok()

    do_check = do_noop

    def do_id(self, _):
        self.place("id")
        self.line('* ID ("name" "fake")')
        self.ok()

    def do_logout(self, _):
        self.line("* BYE bye")
        self.ok()
        raise Gone

    def do_enable(self, _):
        self.line("* ENABLED")
        self.ok()

    def do_starttls(self, _):
        if not self.server.context or self.tls or any(f.kind == "strip_starttls" for f in self.server.faults):
            raise Refused("BAD no TLS here")
        self.place("starttls")
        self.ok("begin")
        self.secure()

    # ---- sign-in

    def do_login(self, args):
        self.place("login")
        self.sign_in("", args[0].decode(), args[1])

    def do_authenticate(self, args):
        self.place("login")
        if args[0].upper() != b"PLAIN":
            raise Refused("NO [CANNOT] no such mechanism")
        if len(args) > 1:
            coded = args[1]
        else:
            self.line("+ ")
            coded = self.read_line()
            with self.server.lock:
                self.server.lines.append((self.number, self.tls, coded))
        authzid, authcid, password = base64.b64decode(coded).split(b"\0")
        self.sign_in(authzid.decode(), authcid.decode(), password)

    def sign_in(self, authzid, authcid, password):
        master = self.server.master
        user, separator, name = authcid.partition("*")
        if separator and not authzid:
            authzid, authcid = user, name
        if master and authcid == master[0] and password == master[1].encode() and authzid:
            self.user, how = authzid, "master"
        elif authzid in ("", authcid) and password == self.server.password:
            self.user, how = authcid, "user"
        else:
            raise Refused("NO [AUTHENTICATIONFAILED] wrong")
        with self.server.changed:
            self.server.logins.append((self.user, how))
            self.server.changed.notify_all()
        self.server.account(self.user)
        self.ok(f"[CAPABILITY {self.capability()}] welcome")
        self.place("after_login")

    # ---- mailboxes

    @property
    def boxes(self):
        return self.server.account(self.user)

    def find(self, name):
        name = b"INBOX" if name.upper() == b"INBOX" else name
        if name not in self.boxes:
            raise Refused("NO [NONEXISTENT] no such mailbox")
        return self.boxes[name]

    @staticmethod
    def quoted(name):
        return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    def do_namespace(self, _):
        self.place("namespace")
        self.line(b"* NAMESPACE ((" + self.quoted(self.server.prefix) + b" " + self.quoted(self.server.separator)
                  + b")) NIL NIL")
        self.ok()

    def matching(self, reference, pattern):
        regex = re.escape(reference + pattern).replace(rb"\*", b".*").replace(b"%", b"[^%s]*" % re.escape(self.server.separator))
        return [b for n, b in sorted(self.boxes.items()) if re.fullmatch(regex, n, re.S)]

    def do_list(self, args, word=b"LIST"):
        self.place("list")
        options, returned = [], []
        if isinstance(args[0], list):
            options = [x.upper() for x in args.pop(0)]
        reference, pattern = args[0], args[1]
        if len(args) > 3 and args[2].upper() == b"RETURN":
            returned = [x.upper() for x in args[3] if isinstance(x, bytes)]
        with self.server.lock:
            if pattern == b"":
                self.line(b'* LIST (\\Noselect) ' + self.quoted(self.server.separator) + b' ""')
            patterns = pattern if isinstance(pattern, list) else [pattern]
            for box in [b for p in patterns if p for b in self.matching(reference, p)]:
                if (word == b"LSUB" or b"SUBSCRIBED" in options) and not box.subscribed:
                    continue
                if b"SPECIAL-USE" in options and not box.special:
                    continue
                below = any(n.startswith(box.name + self.server.separator) for n in self.boxes)
                attributes = [b"\\HasChildren" if below else b"\\HasNoChildren"]
                if box.special and word == b"LIST":
                    attributes.append(box.special)
                if box.subscribed and (b"SUBSCRIBED" in returned or b"SUBSCRIBED" in options):
                    attributes.append(b"\\Subscribed")
                self.line(b"* " + word + b" (" + b" ".join(attributes) + b") " + self.quoted(self.server.separator) + b" "
                          + self.quoted(box.name))
        self.ok()

    def do_lsub(self, args):
        self.do_list(args, b"LSUB")

    def do_create(self, args):
        self.place("create")
        name = args[0].rstrip(self.server.separator)
        special = b""
        if len(args) > 1 and isinstance(args[1], list) and args[1][0].upper() == b"USE":
            special = args[1][1][0]
        with self.server.lock:
            if name.upper() == b"INBOX" or name in self.boxes:
                raise Refused("NO [ALREADYEXISTS] there already")
            self.server.create(self.user, name, special)
        self.ok()

    def do_delete(self, args):
        with self.server.lock:
            self.find(args[0])
            del self.boxes[args[0]]
        self.ok()

    def do_subscribe(self, args):
        self.find(args[0]).subscribed = True
        self.ok()

    def do_unsubscribe(self, args):
        self.find(args[0]).subscribed = False
        self.ok()

    def do_status(self, args):
        self.place("status")
        with self.server.lock:
            box = self.find(args[0])
            values = {b"MESSAGES": len(box.listed()), b"UIDNEXT": box.uidnext, b"UIDVALIDITY": box.uidvalidity, b"RECENT": 0,
                      b"UNSEEN": sum(1 for m in box.listed() if b"\\seen" not in {f.lower() for f in m.flags})}
            text = b" ".join(b"%s %d" % (i.upper(), values[i.upper()]) for i in args[1])
        self.line(b"* STATUS " + self.quoted(box.name) + b" (" + text + b")")
        self.ok()

    def do_select(self, args, read_only=False):
        self.box = None
        self.place("select")
        with self.server.lock:
            self.box, self.read_only = self.find(args[0]), read_only
            self.view = self.box.listed()
            names = sorted({f for m in self.view for f in m.flags if f.lower() not in SYSTEM_FLAGS})
            keywords = b"".join(b" " + n for n in names)
            closed = any(f.kind == "no_new_keywords" for f in self.server.faults)
            self.line(b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft" + keywords + b")")
            more = b"" if closed else keywords + b" \\*"
            self.line(b"* OK [PERMANENTFLAGS (" + (b"" if read_only else b"\\Answered \\Flagged \\Deleted \\Seen \\Draft" + more)
                      + b")] flags")
            self.line(f"* {len(self.view)} EXISTS")
            self.line("* 0 RECENT")
            self.line(f"* OK [UIDVALIDITY {self.box.uidvalidity}] valid")
            self.line(f"* OK [UIDNEXT {self.box.uidnext}] next")
        self.ok("[READ-ONLY] examined" if read_only else "[READ-WRITE] selected")

    def do_examine(self, args):
        self.do_select(args, True)

    def do_unselect(self, _):
        self.box, self.view = None, []
        self.ok()

    def do_close(self, _):
        if not self.read_only:
            self.expunge(lambda m: True, tell=False)
        self.do_unselect(None)

    def sync(self):
        """Tells what others did to the selected mailbox."""
        if self.box is None:
            return
        with self.server.lock:
            now = self.box.listed()
            for number in range(len(self.view), 0, -1):
                if self.view[number - 1] not in now:
                    del self.view[number - 1]
                    self.line(f"* {number} EXPUNGE")
            if len(now) > len(self.view):
                self.view = now
                self.line(f"* {len(now)} EXISTS")

    def do_idle(self, _):
        self.line("+ idling")
        while self.read_line().upper() != b"DONE":
            pass
        self.ok()

    # ---- messages

    def do_append(self, args):
        self.place("append")
        with self.server.lock:
            box = self.find(args[0])
            messages, rest = [], args[1:]
            while rest:
                flags = rest.pop(0) if isinstance(rest[0], list) else []
                date = rest.pop(0) if len(rest) > 1 and re.match(rb"[ \d]\d-\w{3}-\d{4} ", rest[0]) else b"01-Jan-2021 00:00:00 +0000"
                body = rest.pop(0)
                if not body:
                    raise Refused("NO [CANNOT] empty message")
                messages.append(Message(0, body, set(flags), date))
            numbers = range(box.appended + 1, box.appended + len(messages) + 1)
            found = next((f for n in numbers for f in [self.server.fault("refuse", mailbox=box.name, number=n)] if f), None)
            if found:
                raise Refused(f"NO {found.code or '[CANNOT]'} refused by the fake")
            if any(f.kind == "overquota" and numbers[-1] >= f.n for f in self.server.faults):
                raise Refused("NO [OVERQUOTA] full")
            if any(self.server.fault("land_late", mailbox=box.name, number=n) for n in numbers):
                self.server.late.append((box, messages))
                raise Gone
            lost = any(self.server.fault("lose_ok", mailbox=box.name, number=n) for n in numbers)
            uids = self.server.store_all(box, messages)
        if lost:
            raise Gone
        if self.box is box:
            self.sync()
        if "UIDPLUS" not in self.server.capabilities.split():
            self.ok("stored")
            return
        text = f"{uids[0]}:{uids[-1]}" if uids == list(range(uids[0], uids[-1] + 1)) else ",".join(map(str, uids))
        self.ok(f"[APPENDUID {box.uidvalidity} {text if len(uids) > 1 else uids[0]}] stored")

    def numbered(self, text, uid):
        """[(number, message)] of a set; numbers that are not there are left out."""
        last = (self.view[-1].uid if self.view else 0) if uid else len(self.view)
        ranges = []
        for part in text.split(b","):
            ends = [last if x == b"*" else int(x) for x in part.split(b":")]
            ranges.append((min(ends), max(ends)))
        return [(n, m) for n, m in enumerate(self.view, 1)
                if any(a <= (m.uid if uid else n) <= b for a, b in ranges)]

    def do_fetch(self, args, uid=False):
        self.place("fetch")
        items = args[1] if isinstance(args[1], list) else [args[1]]
        if uid and b"UID" not in [x.upper() for x in items if isinstance(x, bytes)]:
            items = [b"UID", *items]
        for number, message in self.numbered(args[0], uid):
            if not message.omitted:
                self.send_message(number, message, items)
        self.ok()

    def send_message(self, number, message, items):
        self.send(f"* {number} FETCH (")
        for position, item in enumerate(items):
            if position:
                self.send(b" ")
            name = item.upper()
            if name == b"UID":
                self.send(f"UID {message.uid}")
            elif name == b"FLAGS":
                self.send(b"FLAGS (" + b" ".join(sorted(message.flags)) + b")")
            elif name == b"INTERNALDATE":
                self.send(b'INTERNALDATE "' + message.date + b'"')
            elif name == b"RFC822.SIZE":
                self.send(f"RFC822.SIZE {len(message.body)}")
            elif name.startswith((b"BODY[", b"BODY.PEEK[")):
                self.send_body(message, name)
            else:
                raise Refused("BAD unknown item")
        self.send(b")\r\n")

    def send_body(self, message, name):
        section, origin = re.match(rb"BODY(?:\.PEEK)?\[(.*)\](?:<(\d+)(?:\.\d+)?>)?", name).groups()
        body = message.body
        head, blank, _ = body.partition(b"\r\n\r\n")
        if section.startswith(b"HEADER"):
            body = head + blank
        elif section == b"TEXT":
            body = body[len(head) + len(blank):]
        label = b"BODY[" + section + b"]"
        if origin is not None:
            start, length = (int(x) for x in re.search(rb"<(\d+)\.(\d+)>", name).groups())
            body = body[start:start + length]
            label += b"<%d>" % start
        if message.nil:
            self.send(label + b" NIL")
            return
        self.send(label + b" {%d}\r\n" % len(body), body[:len(body) // 2])
        self.place("fetch_literal")
        if message.short:
            raise Gone
        self.send(body[len(body) // 2:])

    def do_store(self, args, uid=False):
        self.place("store")
        if self.read_only:
            raise Refused("NO [READ-ONLY] examined only")
        how, names = args[1].upper(), set(args[2] if isinstance(args[2], list) else args[2:])
        with self.server.lock:
            for number, message in self.numbered(args[0], uid):
                if how.startswith(b"+"):
                    message.flags |= names
                elif how.startswith(b"-"):
                    message.flags = {f for f in message.flags if f.lower() not in {n.lower() for n in names}}
                else:
                    message.flags = set(names)
                message.flags -= message.lost
                if not how.endswith(b".SILENT"):
                    self.send_message(number, message, [b"UID", b"FLAGS"] if uid else [b"FLAGS"])
        self.ok()

    def expunge(self, wanted, tell=True):
        with self.server.lock:
            for message in list(self.box.messages):
                if b"\\deleted" in {f.lower() for f in message.flags} and wanted(message):
                    self.box.messages.remove(message)
            if tell:
                self.sync()

    def do_expunge(self, args, uid=False):
        if self.read_only:
            raise Refused("NO [READ-ONLY] examined only")
        if uid and "UIDPLUS" not in self.server.capabilities.split():
            raise Refused("BAD unknown command")
        chosen = [m for _, m in self.numbered(args[0], True)] if uid else None
        self.expunge(lambda m: chosen is None or m in chosen)
        self.ok()

    def do_search(self, args, uid=False):
        self.place("search")
        found = list(enumerate(self.view, 1))
        for at, key in enumerate(args):
            if isinstance(key, bytes) and key.upper() == b"UID":
                found = [x for x in found if x in self.numbered(args[at + 1], True)]
        self.line(b"* SEARCH" + b"".join(b" %d" % (m.uid if uid else n) for n, m in found))
        self.ok()

    def do_copy(self, args, uid=False):
        with self.server.lock:
            box = self.find(args[1])
            for _, m in self.numbered(args[0], uid):
                box.messages.append(Message(box.uidnext, m.body, set(m.flags), m.date))
                box.uidnext += 1
        self.ok()
