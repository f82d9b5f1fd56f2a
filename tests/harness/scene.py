"""Small steps that many end-to-end tests share: loading, comparing, talking IMAP byte by byte."""
import itertools
import os
import re
import socket
import ssl

from . import compare, mail, net

PASSWORD = "secret"
_number = itertools.count(1)


def new_user(label="user"):
    """A login name that no other test has used on these servers."""
    return f"{label}{next(_number)}.{os.getpid()}@example.org"


def fill(server, user, account, password=PASSWORD):
    """Loads an account on the side that users leave. What is made on the other side after it has other UIDVALIDITYs."""
    m = mail.connect(server, user, password)
    mail.load(account, m, getattr(server, "prefix", ""), server.separator)
    m.logout()
    net.wait_next_second()
    return account


def small(seed=11, messages=30, big=()):
    return mail.sample(seed, messages, sizes=(300, 6000), big=big)


def read(server, user, password=PASSWORD):
    m = mail.connect(server, user, password)
    try:
        return compare.read_account(m)
    finally:
        m.logout()


def differences(old, new, user, expect=1, password=PASSWORD):
    return compare.compare(read(old, user, password), read(new, user, password), expect)


def assert_equal(old, new, user, expect, password=PASSWORD):
    found = differences(old, new, user, expect, password)
    assert not found, "\n".join(str(d) for d in found[:20])


def separator(client):
    """The same for imaplib."""
    return re.match(rb'\([^)]*\) "(.)" ', client.list('""', '""')[1][0]).group(1).decode()


def port_of(proxy, listener=0):
    return int(proxy.addresses[listener].rsplit(":", 1)[1])


def change(path, before, after):
    """Exchanges a part of a file, at once, as a program that renews it does."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert before in text
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text.replace(before, after))
    os.rename(path + ".new", path)


class Wire:
    """One connection, byte by byte: what a client or an attacker really sends. Every read has a deadline."""

    def __init__(self, address, timeout=15, ca=None):
        scheme, host, port = re.match(r"([a-z+]+)://(.*?):?(\d*)$", address).groups()
        if scheme.endswith("unix"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(host + port)
        else:
            self.socket = socket.create_connection((host, int(port)), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if scheme == "imaps":
            self.secure(ca)

    def secure(self, ca):
        self.socket = ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def line(self, data):
        self.send(data + b"\r\n")

    def read_line(self):
        """The next line without its end; None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def until(self, start):
        """All lines up to the one that begins so; AssertionError where the connection ends before it."""
        lines = []
        while True:
            line = self.read_line()
            if line is None:
                raise AssertionError(f"the connection ended; no {start!r} in {lines[-10:]!r}")
            lines.append(line)
            if line.startswith(start):
                return lines

    def command(self, tag, data):
        """Sends a command and returns its answers; the last one is the tagged one."""
        self.line(tag + b" " + data)
        return self.until(tag + b" ")

    def rest(self):
        """All lines until the other side closes."""
        lines = []
        while True:
            line = self.read_line()
            if line is None:
                return lines
            lines.append(line)

    def separator(self):
        """Which one the server that it talks to has, or, behind the proxy, the one that clients know."""
        line = self.command(b"sep", b'LIST "" ""')[0]
        return re.match(rb'\* LIST \([^)]*\) "(.)" ', line).group(1).decode()

    def login(self, user, password=PASSWORD, tag=b"l1"):
        """LOGIN with literals, so that any name can be sent; the tagged answer."""
        u, p = user.encode() if isinstance(user, str) else user, password.encode()
        self.send(tag + b" LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(u), u, len(p), p))
        return self.until(tag + b" ")[-1]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(proxy, listener=0, ca=None, greeting=True, timeout=15):
    """A Wire to a listener of a proxy, its greeting read."""
    wire = Wire(proxy.addresses[listener], timeout, ca)
    if greeting:
        wire.greeting = wire.until(b"* ")[0]
    return wire


def sign_in(proxy, user):
    """A session that has INBOX selected."""
    wire = connect(proxy)
    assert wire.login(user).startswith(b"l1 OK")
    assert wire.command(b"s", b"SELECT INBOX")[-1].startswith(b"s OK")
    return wire


def sign_in_twice(proxy, user):
    """A session, and one in IDLE."""
    wire, idle = sign_in(proxy, user), sign_in(proxy, user)
    idle.line(b"i IDLE")
    idle.until(b"+ ")
    return wire, idle


class TlsProgram:
    """One program of a user: it keeps its TLS session, as long as it is given one."""

    def __init__(self, ca, version=ssl.TLSVersion.TLSv1_3):
        self.context = ssl.create_default_context(cafile=ca)
        self.context.minimum_version = self.context.maximum_version = version
        self.session = None

    def comes(self, proxy, listener=0, name="localhost"):
        """Does it go on with its session?"""
        with socket.create_connection(("127.0.0.1", port_of(proxy, listener)), timeout=20) as plain:
            with self.context.wrap_socket(plain, server_hostname=name, session=self.session) as s:
                assert s.recv(1000).startswith(b"* OK ")
                s.sendall(b"a LOGOUT\r\n")
                assert s.recv(1000).startswith(b"* BYE")
                self.session = s.session
                return s.session_reused
