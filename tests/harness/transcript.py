"""Transcripts: who sends what to a proxy, and who must receive what (tests/transcripts/README.md has the format).

    for scene in read("starttls.t"): play(scene, proxy, backend)        # raises Broken where the proxy answers something else
"""
import base64
import contextlib
import dataclasses
import os
import re
import socket
import ssl
import struct
import threading
import time

from . import net

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "transcripts")
HEADERS = ("row", "about", "profile", "listener", "backend", "certificate", "with", "split")
OF_BOTH = ("closed", "gone", "close", "reset", "shut", "pours", "takes")
OF_CLIENT = OF_BOTH + ("connect", "tls", "drips")
OF_BACKEND = OF_BOTH + ("login", "logins", "connections", "heard", "never")
DEADLINE = 10.0  # seconds for one step
_WORDS = re.compile(rb"\\(?:\((?P<many>.*?)\*(?P<times>\d+)\)|b64<(?P<b64>.*?)>|lit<(?P<lit>.*?)>|x(?P<hex>[0-9a-fA-F]{2})|(?P<one>.))|\$(?P<name>[a-z]+)", re.S)
_ONE = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"s": b" ", b"t": b"\t", b"e": b"\x1b"}


class Mistake(Exception):
    """In the transcript itself."""


class Broken(AssertionError):
    """What a proxy did otherwise than the transcript says. how: "differs", or "hangs" where nothing came in time."""

    def __init__(self, how, step, text):
        super().__init__(f"line {step.line}, {step.text!r}: {text}")
        self.how, self.step, self.said = how, step, text


@dataclasses.dataclass
class Step:
    line: int
    who: str    # C, D, E; B; log
    what: str   # > >> < ~ ... or a word
    text: str


@dataclasses.dataclass
class Scene:
    file: str
    title: str
    headers: dict
    rules: list      # (trigger, text) of the backend
    steps: list

    @property
    def name(self):
        return f"{self.file[:-2]}{'::' if self.title else ''}{self.title}"

    def header(self, name, otherwise=""):
        return self.headers.get(name, otherwise)


# ---- reading

def _step(number, line):
    found = re.match(r"([CDEB])(>>|>|<|~) ?(.*)$", line)
    if found:
        return Step(number, *found.groups())
    found = re.match(r"([CDEB]|log) +(\S+) ?(.*)$", line)
    if not found:
        raise Mistake(f"line {number}: {line!r} is no step")
    if found.group(1) == "log":
        return Step(number, "log", "", line.split(None, 1)[1])
    if found.group(2) not in (OF_BACKEND if found.group(1) == "B" else OF_CLIENT):
        raise Mistake(f"line {number}: {line!r} is no step")
    return Step(number, *found.groups())


def _header(scene, number, line):
    name, _, text = line.partition(" ")
    if name not in HEADERS:
        return False
    text = text.strip()
    if name == "backend":
        trigger, _, rule = text.partition(" ")
        scene.rules.append((trigger, rule))
    elif name == "with":
        variable, _, values = text.partition(" ")
        if not re.fullmatch(r"[a-z]+", variable) or not values:
            raise Mistake(f"line {number}: with NAME VALUE | VALUE ...")
        scene.headers["with"] = (variable, [x.strip() for x in values.split(" | ")])
    else:
        scene.headers[name] = text
    return True


def _multiplied(scene):
    """One scene for each value of "with", put into all of its texts."""
    if "with" not in scene.headers:
        yield scene
        return
    name, values = scene.headers["with"]
    for value in values:
        put = lambda text, v=value: re.sub(rf"\${name}(?![a-z])", lambda _: v, text)  # noqa: E731
        yield dataclasses.replace(scene, title=f"{scene.title} {value}".strip(),
                                  headers={k: put(v) for k, v in scene.headers.items() if k != "with"},
                                  rules=[(put(at), put(text)) for at, text in scene.rules],
                                  steps=[dataclasses.replace(s, text=put(s.text)) for s in scene.steps])


def read(path):
    """The scenes of a file, by itself or in tests/transcripts."""
    path = path if os.path.exists(path) else os.path.join(FOLDER, path)
    common = Scene(os.path.basename(path), "", {}, [], [])
    scenes, scene = [], common
    with open(path, encoding="utf-8") as f:
        for number, raw in enumerate(f, 1):
            line = raw.rstrip("\n")
            if not line.strip() or line.startswith("#"):
                continue
            if line.split()[0] == "scene":
                scene = Scene(common.file, line[6:].strip(), dict(common.headers), list(common.rules), list(common.steps))
                scenes.append(scene)
            elif not _header(scene, number, line):
                scene.steps.append(_step(number, line))
    found = [x for s in (scenes or [common]) for x in _multiplied(s)]
    names = [x.name for x in found]
    if len(set(names)) != len(names) or not all(x.steps for x in found):
        raise Mistake(f"{path}: two scenes of one name, or one without a step")
    return found


def files():
    return sorted(x for x in os.listdir(FOLDER) if x.endswith(".t"))


# ---- text and patterns

def _expand(found, values):
    if found["many"] is not None:
        return literal(found["many"], values) * int(found["times"])
    if found["b64"] is not None:
        return base64.b64encode(literal(found["b64"], values))
    if found["lit"] is not None:
        body = literal(found["lit"], values)
        return b"{%d+}\r\n%s" % (len(body), body)
    if found["hex"] is not None:
        return bytes([int(found["hex"], 16)])
    if found["name"] is None:
        return _ONE.get(found["one"], found["one"])
    if found["name"].decode() not in values:
        raise Mistake(f"${found['name'].decode()} has no value yet")
    return values[found["name"].decode()]


def literal(text, values):
    """The bytes that a text stands for."""
    return _WORDS.sub(lambda m: _expand(m, values), text.encode() if isinstance(text, str) else text)


def pattern(text, values):
    """A compiled pattern of a line, and the names that it gives values to."""
    out, fresh = [], []
    for part in re.split(rb"(\{\{.*?\}\}|\.\.\.|\$[a-z]+)", text.encode()):
        if part.startswith(b"{{"):
            out.append(b"(?:" + part[2:-2] + b")")
        elif part == b"...":
            out.append(b".*")
        elif part.startswith(b"$") and part[1:].decode() not in values and part[1:].decode() not in fresh:
            fresh.append(part[1:].decode())
            out.append(b"(?P<" + part[1:] + b">[^ ]+)")
        elif part.startswith(b"$") and part[1:].decode() in fresh:
            out.append(b"(?P=" + part[1:] + b")")
        else:
            out.append(re.escape(literal(part, values)))
    return re.compile(b"".join(out), re.S), fresh


# ---- one end of a connection

class End:
    """A socket that is read line by line. Hangs where nothing comes in time."""

    def __init__(self, connection, buffer=b""):
        self.socket, self.buffer = connection, buffer
        self.ended = ""

    def fill(self, until):
        """False at the end of the connection; TimeoutError at this time (of time.monotonic())."""
        if self.ended:
            return False
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(262144)
        except (ConnectionError, ssl.SSLError) as e:
            if isinstance(e, TimeoutError):
                raise
            self.ended = f"reset ({type(e).__name__})"
            return False
        if not data:
            self.ended = "closed"
        self.buffer += data
        return bool(data)

    def read_line(self, until):
        """Without its end; None at the end of the connection."""
        while b"\n" not in self.buffer:
            if not self.fill(until):
                return None
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def read_bytes(self, count, until):
        """So many bytes, which are not kept; how many there were."""
        left = count
        while left > 0:
            eaten = min(left, len(self.buffer))
            self.buffer, left = self.buffer[eaten:], left - eaten
            if left > 0 and not self.fill(until):
                break
        return count - left

    def send(self, data, deadline):
        """What the other side does not want to have is no fault of who sends it."""
        self.socket.settimeout(deadline)
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            self.socket.sendall(data)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


# ---- playing

class Player:
    """proxy: .address(listener) -> (host, port), .ca, .log: a Daemon or None, .deadline. backend: harness/scripted.py."""

    def __init__(self, scene, proxy, backend):
        self.scene, self.proxy, self.backend = scene, proxy, backend
        self.values = {}
        self.clients, self.threads = {}, []
        self.deadline = getattr(proxy, "deadline", DEADLINE)
        self.mark = proxy.log.mark() if proxy.log else 0
        self.step = None
        self.over = threading.Event()

    def until(self):
        return time.monotonic() + self.deadline

    def broken(self, how, text):
        raise Broken(how, self.step, text)

    # ---- receiving

    def expect_line(self, end, text, skip):
        regex, fresh = pattern(text, self.values)
        until, skipped = self.until(), []
        while True:
            try:
                line = end.read_line(until)
            except TimeoutError:
                self.broken("hangs", f"nothing came, behind {skipped[-5:]!r} and {end.buffer[:200]!r}")
            if line is None:
                self.broken("differs", f"the connection was {end.ended}, behind {skipped[-5:]!r} and {end.buffer[:200]!r}")
            found = regex.fullmatch(line)
            if found:
                self.values.update({name: found[name] for name in fresh})
                return
            skipped = skipped[-9:] + [line[:300]]
            if not (skip and line.startswith(b"* ")):
                self.broken("differs", f"came {line[:300]!r}")

    def expect_end(self, end):
        """The end of the connection, and nothing before it."""
        until = self.until()
        try:
            while end.fill(until) and len(end.buffer) < 1000000:
                pass
        except TimeoutError:
            self.broken("hangs", f"the connection was not closed, behind {end.buffer[:200]!r}")
        if end.buffer:
            self.broken("differs", f"came {end.buffer[:300]!r}")

    def expect_rest(self, end):
        """The end, whatever comes before it."""
        until = self.until()
        try:
            while end.fill(until):
                end.buffer = end.buffer[-300:]
        except TimeoutError:
            self.broken("hangs", f"the connection was not closed, behind {end.buffer[:200]!r}")

    # ---- the client

    def connect(self, who, text=""):
        options = dict(zip(text.split()[::2], text.split()[1::2]))
        listener = options.get("listener", self.scene.header("listener", "plain"))
        try:
            s = socket.create_connection(self.proxy.address(listener), timeout=self.deadline,
                                         source_address=(options.get("from", getattr(self.proxy, "source", net.HOST)), 0))
        except OSError as e:
            self.broken("differs", f"can't connect: {e}")
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.values["client"] = s.getsockname()[0].encode()
        end = self.clients[who] = End(s)
        if "header" in options:
            end.send(literal(options["header"], self.values), self.deadline)
        if listener == "tls" and "clear" not in options:
            self.secure(end, options.get("alpn"), options.get("certificate"))

    def secure(self, end, alpn=None, certificate=None):
        context = ssl.create_default_context(cafile=self.proxy.ca)
        if alpn:
            context.set_alpn_protocols([alpn])
        if certificate:
            context.load_cert_chain(*self.proxy.certificates[certificate])
        end.buffer = b""
        try:
            end.socket.settimeout(self.deadline)
            end.socket = context.wrap_socket(end.socket, server_hostname="127.0.0.1")
        except TimeoutError:
            self.broken("hangs", "no end of the handshake")
        except (OSError, ValueError) as e:
            end.ended = f"reset ({e})"

    def client(self, who):
        """Connects, and takes the greeting, where it has not yet."""
        if who not in self.clients:
            self.connect(who)
            self.expect_line(self.clients[who], "* OK ...", False)
        return self.clients[who]

    def send(self, end, data):
        if self.scene.header("split") == "bytes":
            for i in range(len(data)):
                end.send(data[i:i + 1], self.deadline)
        else:
            end.send(data, self.deadline)

    def pour(self, end, count):
        """So many bytes, in a thread of their own."""
        block = b"x" * 65536

        def run():
            left = count
            with contextlib.suppress(OSError, ValueError):
                while left > 0:
                    end.socket.sendall(block[:min(left, len(block))])
                    left -= len(block)
        end.socket.settimeout(60)
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def drip(self, end, data):
        """A byte each tenth of a second, in a thread of its own, for as long as the scene goes on."""
        def run():
            with contextlib.suppress(OSError, ValueError):
                for i in range(len(data)):
                    if self.over.wait(0.1):
                        return
                    end.socket.send(data[i:i + 1])
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def act(self, end, what, text):
        """A step that either side knows."""
        if what in ("<", "~"):
            self.expect_line(end, text, what == "~")
        elif what == "closed":
            self.expect_end(end)
        elif what == "gone":
            self.expect_rest(end)
        elif what == "close":
            end.socket.close()
        elif what == "reset":
            end.reset()
        elif what == "shut":
            end.socket.shutdown(socket.SHUT_WR)
        elif what == "pours":
            self.pour(end, int(text))
        elif what == "takes":
            self.takes(end, int(text))

    def takes(self, end, count):
        try:
            got = end.read_bytes(count, self.until())
        except TimeoutError:
            self.broken("hangs", "the bytes do not come")
        if got != count:
            self.broken("differs", f"{got} bytes came, and then it was {end.ended}")

    def of_client(self, who, what, text):
        if what == "connect":
            self.connect(who, text)
            return
        end = self.client(who)
        if what == "tls":
            self.secure(end)
        elif what == "drips":
            self.drip(end, literal(text, self.values))
        else:
            self.act(end, what, text)

    # ---- the backend

    def of_backend(self, what, text):
        case = self.backend.case
        words = [literal(x, self.values) for x in text.split()]
        if what == "login":
            if not case.wait(lambda: (words[0], words[1]) in case.logins, self.deadline):
                self.broken("differs" if case.logins else "hangs", f"the sign-ins were {case.logins!r}")
        elif what == "logins":
            if len(case.logins) != int(text):
                self.broken("differs", f"the sign-ins were {case.logins!r}")
        elif what == "connections":
            if case.connections != int(text):
                self.broken("differs", f"{case.connections} connections came")
        elif what == "never":
            if case.heard(literal(text, self.values)):
                self.broken("differs", "the backend has heard it")
        elif what == "heard":
            if not case.wait(lambda: case.heard(literal(text, self.values)), self.deadline):
                self.broken("differs", f"the backend heard {case.lines[-20:]!r}")
        else:
            self.act(self.backend_end(), what, text)

    def backend_end(self):
        case = self.backend.case
        if not case.wait(lambda: case.handed_over, self.deadline):
            self.broken("hangs", "nobody signed in at the backend")
        return case.handed_over

    # ---- all of it

    def of_log(self, text):
        if not self.proxy.log:
            return
        wanted, never = text.removeprefix("never "), text.startswith("never ")
        regex = pattern(wanted, self.values)[0].pattern.decode()
        if never:
            assert not self.proxy.log.find(regex, self.mark), f"line {self.step.line}: the log has {wanted!r}"
        else:
            self.proxy.log.wait(regex, since=self.mark)

    def run(self):
        steps = list(self.scene.steps)
        while steps:
            self.step = step = steps.pop(0)
            if step.what in (">", ">>"):
                data = literal(step.text, self.values) + (b"\r\n" if step.what == ">" else b"")
                while steps and steps[0].who == step.who and steps[0].what in (">", ">>"):
                    more = steps.pop(0)
                    data += literal(more.text, self.values) + (b"\r\n" if more.what == ">" else b"")
                self.send(self.backend_end() if step.who == "B" else self.client(step.who), data)
            elif step.who == "log":
                self.of_log(step.text)
            elif step.who == "B":
                self.of_backend(step.what, step.text)
            else:
                self.of_client(step.who, step.what, step.text)

    def stop(self):
        """Ends the connections, which the threads still have."""
        self.over.set()
        for end in self.clients.values():
            with contextlib.suppress(OSError):
                end.socket.shutdown(socket.SHUT_RDWR)

    def close(self):
        for thread in self.threads:
            thread.join(DEADLINE)
        for end in self.clients.values():
            end.socket.close()


def play(scene, proxy, backend):
    """Raises Broken."""
    backend.begin(scene)
    player = Player(scene, proxy, backend)
    try:
        player.run()
    finally:
        player.stop()
        backend.end()
        player.close()
