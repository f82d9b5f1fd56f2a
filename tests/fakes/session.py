"""One connection to the fake server: the commands, each with the places at which faults (fake_imap.py) and manners
(manners.py) come in."""
import base64
import bisect
import re

from .protocol import LITERAL, Gone, Refused, quoted, tokens_into, words
from .store import SYSTEM_FLAGS, Message

ALWAYS = {b"CAPABILITY", b"NOOP", b"LOGOUT", b"ID"}
BEFORE_LOGIN = {b"STARTTLS", b"LOGIN", b"AUTHENTICATE"}
SELECTED = {b"FETCH", b"STORE", b"SEARCH", b"EXPUNGE", b"UNSELECT", b"CLOSE", b"COPY", b"CHECK"}
WRITES = {b"APPEND", b"STORE", b"EXPUNGE", b"CLOSE", b"COPY", b"MOVE", b"CREATE", b"DELETE", b"RENAME", b"SUBSCRIBE",
          b"UNSUBSCRIBE", b"SETACL", b"DELETEACL", b"SETMETADATA", b"SETANNOTATION", b"SETQUOTA"}
NO_DATE = b"01-Jan-2021 00:00:00 +0000"


class Session:
    def __init__(self, server, s, number):
        self.server, self.socket, self.number = server, s, number
        self.tls = False
        self.buffer = b""
        self.user = self.how = None
        self.manners = server.manners.get(None, [])  # until the sign-in
        self.verb = b""
        self.asks_bodies = False  # the FETCH under way
        self.box = None
        self.read_only = False
        self.view = []  # the messages that this client knows of, by number
        self.tag = b"*"
        self.errors = 0  # NOs and BADs

    def ask(self, what, value, *args):
        """The value as all manners of this account make it, one after the other. The value is the last argument."""
        for manners in self.manners:
            value = getattr(manners, what)(self, *args, value)
        return value

    def tell(self, what, *args):
        for manners in self.manners:
            getattr(manners, what)(self, *args)

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
        """(tag, tokens) with literals read."""
        stack, heard = [[]], b""
        while True:
            line = self.read_line()
            literal = LITERAL.search(line)
            heard += line
            tokens_into(stack, line[:literal.start()] if literal else line)
            if not literal:
                break
            if b"APPEND" in heard[:60].upper():
                self.place("append_literal")
            if not literal.group(2):
                self.line("+ go on")
            data = self.read_exactly(int(literal.group(1)))
            heard += b"\r\n" + data[:4096]
            stack[-1].append(data)
        self.server.note_line(self, heard)
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
                self.errors += 1
                self.line(self.tag + b" " + self.ask("refused", str(e)).encode())
            except (IndexError, ValueError, AttributeError, TypeError, KeyError) as e:
                self.line(self.tag + b" BAD " + repr(e).encode())

    def ok(self, text="done"):
        self.line(self.tag + b" OK " + text.encode())

    def dispatch(self, verb, args):
        if verb == b"UID":
            verb, args, uid = args[0].upper(), args[1:], True
        else:
            uid = False
        if verb not in ALWAYS and (verb in BEFORE_LOGIN) != (self.user is None):
            raise Refused("BAD not now")
        if verb in SELECTED and self.box is None:
            raise Refused("BAD nothing selected")
        handler = getattr(self, "do_" + verb.decode("latin-1").lower(), None)
        if not handler:
            raise Refused("BAD unknown command")
        self.verb = verb
        if verb in WRITES and self.how in ("master", "proxyauth"):
            self.server.written_by_migrators.append((self.user, verb))
        self.tell("command", verb, args)
        if uid:
            handler(args, True)
        else:
            handler(args)

    def has(self, name):
        return name in self.ask("capability", self.server.capabilities.split())

    def capability(self):
        names = self.ask("capability", self.server.capabilities.split())
        if self.user is None:
            names = names + [f"AUTH={x}" for x in self.server.mechanisms] + ["SASL-IR"]
            if self.server.context and not self.tls and not any(f.kind == "strip_starttls" for f in self.server.faults):
                names.append("STARTTLS")
        return " ".join(names)

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
        self.place("logout")
        self.server.note_logout(self)
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
        mechanism = args[0].upper().decode()
        if mechanism not in self.server.mechanisms:
            raise Refused("NO [CANNOT] no such mechanism")
        if len(args) > 1:
            coded = args[1]
        else:
            self.line("+ ")
            coded = self.read_line()
            self.server.note_line(self, coded)
        message = base64.b64decode(coded)
        if mechanism != "PLAIN":
            self.sign_in_by_token(mechanism, message)
            return
        authzid, authcid, password = message.split(b"\0")
        self.sign_in(authzid.decode(), authcid.decode(), password)

    def sign_in_by_token(self, mechanism, message):
        """RFC 7628, and what came before it: a token that is not taken is answered by why, and then by NO."""
        name = {"XOAUTH2": rb"user=([^\x01]+)", "OAUTHBEARER": rb"n,a=([^,\x01]+),"}[mechanism]
        found = re.fullmatch(name + rb"\x01auth=Bearer ([!-~]+)\x01\x01", message)
        if not found:
            raise Refused("BAD no such message")
        user = found.group(1).replace(b"=2C", b",").replace(b"=3D", b"=").decode()
        if self.server.tokens.get(found.group(2).decode()) == user:
            self.welcome(user, "token")
            return
        if self.server.challenge is not None:
            self.line(b"+ " + self.server.challenge)
            self.server.acknowledged.append(self.read_line())
        while self.server.behind_challenge == "+":
            self.line(b"+ " + (self.server.challenge or b""))
            self.read_line()
        raise Refused(self.server.behind_challenge)

    def sign_in(self, authzid, authcid, password):
        master = self.server.master
        user, separator, name = authcid.partition("*")
        if separator and not authzid:
            authzid, authcid = user, name
        is_master = master and authcid == master[0] and password == master[1].encode()
        if is_master:
            user, how = authzid or authcid, "master"
        elif authzid in ("", authcid) and password == self.server.passwords.get(authcid, self.server.password):
            user, how = authcid, "user"
        else:
            raise Refused("NO [AUTHENTICATIONFAILED] wrong")
        if user in self.server.strangers:
            raise Refused("NO [AUTHENTICATIONFAILED] wrong")
        self.welcome(user, how)

    def welcome(self, user, how):
        if self.server.is_full():
            raise Refused("NO [LIMIT] too many")
        self.become(user, how)
        self.ok(f"[CAPABILITY {self.capability()}] welcome")
        self.place("after_login")

    def become(self, user, how):
        self.user, self.how = user, how
        self.manners = self.server.manners.get(user, [])
        self.server.note_login(self, how)
        self.server.account(user)

    def do_proxyauth(self, args):
        """Sun's: the administrator signs in, and is somebody else from here on."""
        if not self.server.master or self.user != self.server.master[0]:
            raise Refused("NO you are no administrator")
        self.become(args[0].decode(), "proxyauth")
        self.ok()

    # ---- mailboxes

    @property
    def boxes(self):
        return self.server.account(self.user)

    def find(self, name):
        name = b"INBOX" if name.upper() == b"INBOX" else name
        if name not in self.boxes:
            raise Refused("NO [NONEXISTENT] no such mailbox")
        return self.boxes[name]

    def open(self, name):
        box = self.find(name)
        if b"\\Noselect" in box.attributes:
            raise Refused("NO [CANNOT] only a name")
        return box

    def do_namespace(self, _):
        self.place("namespace")
        spaces = b"((" + quoted(self.server.prefix) + b" " + quoted(self.server.separator) + b")) NIL NIL"
        self.line(b"* NAMESPACE " + self.ask("namespace", spaces))
        self.ok()

    def matching(self, reference, pattern):
        regex = re.escape(reference + pattern).replace(rb"\*", b".*").replace(b"%", b"[^%s]*" % re.escape(self.server.separator))
        return [b for n, b in sorted(self.boxes.items()) if re.fullmatch(regex, n, re.S)]

    def list_line(self, box, word, options, returned):
        if (word == b"LSUB" or b"SUBSCRIBED" in options) and not box.subscribed:
            return None
        if b"SPECIAL-USE" in options and not box.special:
            return None
        below = any(n.startswith(box.name + self.server.separator) for n in self.boxes)
        attributes = [b"\\HasChildren" if below else b"\\HasNoChildren", *box.attributes]
        if box.special and word == b"LIST":
            attributes.append(box.special)
        if box.subscribed and (b"SUBSCRIBED" in returned or b"SUBSCRIBED" in options):
            attributes.append(b"\\Subscribed")
        return b"* " + word + b" " + words(attributes) + b" " + quoted(self.server.separator) + b" " + quoted(box.name)

    def do_list(self, args, word=b"LIST"):
        self.place("list")
        options, returned, lines = [], [], []
        if isinstance(args[0], list):
            options = [x.upper() for x in args.pop(0)]
        reference, pattern = args[0], args[1]
        if len(args) > 3 and args[2].upper() == b"RETURN":
            returned = [x.upper() for x in args[3] if isinstance(x, bytes)]
        with self.server.lock:
            if pattern == b"":
                lines.append(b'* LIST (\\Noselect) ' + quoted(self.server.separator) + b' ""')
            patterns = pattern if isinstance(pattern, list) else [pattern]
            for box in [b for p in patterns if p for b in self.matching(reference, p)]:
                lines.append(self.list_line(box, word, options, returned))
        for line in self.ask("listed", [x for x in lines if x], word):
            self.line(line)
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
            name = self.ask("created", name)
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

    def do_getacl(self, args):
        if not self.has("ACL"):
            raise Refused("BAD unknown command")
        box = self.find(args[0])
        line = b"* ACL " + quoted(box.name) + b" " + quoted(self.user.encode()) + b" lrswipkxtea"
        self.line(self.ask("rights", line, box))
        self.ok()

    def do_getmetadata(self, args):
        """[options] mailbox entries; the server's own where the mailbox is ""."""
        if not self.has("METADATA"):
            raise Refused("BAD unknown command")
        name = args[1 if isinstance(args[0], list) else 0]
        line = self.ask("annotations", None, self.find(name) if name else None)
        if line:
            self.line(line)
        self.ok()

    def do_setmetadata(self, args):
        """Of /private/specialuse alone (RFC 6154)."""
        if not self.has("METADATA") or [x.lower() for x in args[1][::2]] != [b"/private/specialuse"]:
            raise Refused("NO [CANNOT] not this one")
        with self.server.lock:
            self.find(args[0]).special = args[1][1]
        self.ok()

    def do_status(self, args):
        self.place("status")
        with self.server.lock:
            box = self.open(args[0])
            values = {b"MESSAGES": len(box.listed()), b"UIDNEXT": box.uidnext, b"UIDVALIDITY": box.uidvalidity, b"RECENT": 0,
                      b"UNSEEN": sum(1 for m in box.listed() if b"\\seen" not in {f.lower() for f in m.flags})}
            values = self.ask("status", values, box)
            found = [(i.upper(), values[i.upper()]) for i in args[1]]
            text = b" ".join(i + (b" NIL" if value is None else b" %d" % value) for i, value in found)
        self.line(b"* STATUS " + quoted(box.name) + b" (" + text + b")")
        self.ok()

    def do_select(self, args, read_only=False):
        self.box = None
        self.place("select")
        with self.server.lock:
            self.box, self.read_only = self.open(args[0]), read_only
            self.view = self.box.listed()
            for line in self.ask("opened", self.open_lines(), self.box):
                self.line(line)
        self.ok("[READ-ONLY] examined" if read_only else "[READ-WRITE] selected")

    def open_lines(self):
        system = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft"
        names = sorted({f for m in self.view for f in m.flags if f.lower() not in SYSTEM_FLAGS})
        keywords = b"".join(b" " + n for n in names)
        more = b"" if any(f.kind == "no_new_keywords" for f in self.server.faults) else keywords + b" \\*"
        return [b"* FLAGS (" + system + keywords + b")",
                b"* OK [PERMANENTFLAGS (" + (b"" if self.read_only else system + more) + b")] flags",
                b"* %d EXISTS" % len(self.view),
                b"* 0 RECENT",
                b"* OK [UIDVALIDITY %d] valid" % self.box.uidvalidity,
                b"* OK [UIDNEXT %d] next" % self.box.uidnext]

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
        if self.box is None or not self.ask("told", True):
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

    @staticmethod
    def read_messages(rest):
        """[(flags) ["date"] literal] ..."""
        messages = []
        while rest:
            flags = rest.pop(0) if isinstance(rest[0], list) else []
            date = rest.pop(0) if len(rest) > 1 and re.match(rb"[ \d]\d-\w{3}-\d{4} ", rest[0]) else NO_DATE
            body = rest.pop(0)
            if not body:
                raise Refused("NO [CANNOT] empty message")
            messages.append(Message(0, body, set(flags), date))
        return messages

    def do_append(self, args):
        self.place("append")
        with self.server.lock:
            box = self.find(args[0])
            messages = self.read_messages(args[1:])
            for message in messages:
                self.tell("accepted", box, message)
            lost, uids = self.store(box, messages)
        if lost:
            raise Gone
        if self.box is box:
            self.sync()
        code = ""
        if self.has("UIDPLUS"):
            text = f"{uids[0]}:{uids[-1]}" if uids == list(range(uids[0], uids[-1] + 1)) else ",".join(map(str, uids))
            code = f"APPENDUID {box.uidvalidity} {text if len(uids) > 1 else uids[0]}"
        code = self.ask("appended", code, box, uids)
        self.ok(f"[{code}] stored" if code else "stored")

    def store(self, box, messages):
        """(whether the answer is lost, UIDs), or refuses."""
        numbers = range(box.appended + 1, box.appended + len(messages) + 1)
        found = next((f for n in numbers for f in [self.server.fault("refuse", mailbox=box.name, number=n)] if f), None)
        if found:
            raise Refused(f"NO {found.code or '[CANNOT]'} refused by the fake")
        if any(f.kind == "refuse_text" and f.text in m.body for f in self.server.faults for m in messages):
            raise Refused("NO [CANNOT] refused by the fake")
        if any(f.kind == "overquota" and numbers[-1] >= f.n for f in self.server.faults):
            raise Refused("NO [OVERQUOTA] full")
        if any(self.server.fault("land_late", mailbox=box.name, number=n) for n in numbers):
            self.server.late.append((box, messages))
            raise Gone
        lost = any(self.server.fault("lose_ok", mailbox=box.name, number=n) for n in numbers)
        return lost, self.ask("stored", self.server.store_all(box, messages), box, messages)

    def numbered(self, text, uid):
        """[(number, message)] of a set; numbers that are not there are left out."""
        numbers = [m.uid for m in self.view] if uid else range(1, len(self.view) + 1)
        last = numbers[-1] if self.view else 0
        chosen = set()
        for part in text.split(b","):
            ends = [last if x == b"*" else int(x) for x in part.split(b":")]
            chosen.update(range(bisect.bisect_left(numbers, min(ends)), bisect.bisect_right(numbers, max(ends))))
        return [(at + 1, self.view[at]) for at in sorted(chosen)]

    def do_fetch(self, args, uid=False):
        self.place("fetch")
        items = args[1] if isinstance(args[1], list) else [args[1]]
        if uid and b"UID" not in [x.upper() for x in items if isinstance(x, bytes)]:
            items = [b"UID", *items]
        self.asks_bodies = any(x.upper().startswith(b"BODY") and b"HEADER" not in x.upper() for x in items)
        found = [(n, m) for n, m in self.numbered(args[0], uid) if not m.omitted]
        for number, message in self.ask("fetched", found):
            self.send_message(number, message, items)
        self.ok()

    def send_message(self, number, message, items):
        raw = self.ask("answer", None, number, message, items)
        if raw is not None:
            self.send(raw)
            return
        self.send(f"* {self.ask('number', number, message)} FETCH (")
        for position, item in enumerate(self.ask("items", items, message)):
            if position:
                self.send(b" ")
            name = item.upper()
            if name == b"UID":
                self.send(f"UID {self.ask('uid', message.uid, message)}")
            elif name == b"FLAGS":
                self.send(b"FLAGS " + words(sorted(self.ask("flags", message.flags, message))))
            elif name == b"INTERNALDATE":
                self.send(b"INTERNALDATE " + self.ask("date", b'"' + message.date + b'"', message))
            elif name == b"RFC822.SIZE":
                self.send(f"RFC822.SIZE {self.ask('size', len(message.body), message)}")
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
        body = self.ask("body", None if message.nil else body, message, section)
        if body is None:
            self.send(label + b" NIL")
            return
        announced = self.ask("literal", len(body), message)
        self.send(label + b" {%d}\r\n" % announced, body[:len(body) // 2])
        self.place("fetch_literal")
        if message.short:
            raise Gone
        self.send(body[len(body) // 2:])
        if announced > len(body):
            raise Gone

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
        if uid and not self.has("UIDPLUS"):
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
        found = self.ask("found", found)
        self.line(b"* SEARCH" + b"".join(b" %d" % (m.uid if uid else n) for n, m in found))
        self.ok()

    def do_copy(self, args, uid=False):
        with self.server.lock:
            box = self.find(args[1])
            of = [m for _, m in self.numbered(args[0], uid) if m in box.messages or box is not self.box]
            made = [Message(0, m.body, set(m.flags), m.date) for m in of]
            if self.server.fault("refuse_copy"):
                raise Refused("NO [OVERQUOTA] full")
            if self.server.fault("copy_late"):
                self.server.late.append((box, made))
                raise Gone
            for m in made:
                self.tell("duplicated", box, m)
                m.uid = box.uidnext
                box.messages.append(m)
                box.uidnext += 1
            if self.server.fault("lose_copy"):
                raise Gone
        code = ""
        if made and self.has("UIDPLUS"):
            sets = [",".join(str(m.uid) for m in messages) for messages in (of, made)]
            code = self.ask("copied", f"COPYUID {box.uidvalidity} {sets[0]} {sets[1]}", box, made)
        self.ok(f"[{code}] done" if code else "done")
