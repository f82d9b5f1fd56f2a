"""A client's side of COMPRESS=DEFLATE (RFC 4978), by Python's zlib: a socket whose bytes are compressed."""
import io
import zlib


class Deflated:
    """In place of the socket behind the tagged OK. already: what came behind that in the same read."""

    def __init__(self, sock, already=b""):
        self.sock = sock
        self.packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.unpacker = zlib.decompressobj(-15)
        self.plain = self.unpacker.decompress(already)
        self.came, self.unpacked = len(already), len(self.plain)
        self.went, self.packed = 0, 0

    def pack(self, data, flush=zlib.Z_SYNC_FLUSH):
        out = self.packer.compress(data) + self.packer.flush(flush)
        self.went, self.packed = self.went + len(out), self.packed + len(data)
        return out

    def sendall(self, data):
        self.sock.sendall(self.pack(data))

    def recv(self, size):
        while not self.plain:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self.plain = self.unpacker.decompress(data)
            self.came, self.unpacked = self.came + len(data), self.unpacked + len(self.plain)
        some, self.plain = self.plain[:size], self.plain[size:]
        return some

    def makefile(self, _mode):
        return io.BufferedReader(_Raw(self))

    def __getattr__(self, name):
        return getattr(self.sock, name)


class _Raw(io.RawIOBase):
    def __init__(self, deflated):
        self.deflated = deflated

    def readable(self):
        return True

    def readinto(self, room):
        data = self.deflated.recv(len(room))
        room[:len(data)] = data
        return len(data)


def compress(wire, tag=b"z"):
    """Compresses a Wire (harness.scene) from here on; its socket, which counts."""
    answer = wire.command(tag, b"COMPRESS DEFLATE")[-1]
    assert answer.startswith(tag + b" OK"), answer
    wire.socket, wire.buffer = Deflated(wire.socket, wire.buffer), b""
    return wire.socket


def compress_imaplib(client):
    """The same for a client of imaplib."""
    status, text = client.xatom("COMPRESS", "DEFLATE")
    assert status == "OK", text
    client.sock = Deflated(client.sock)  # nothing is selected yet, so nothing came behind the answer
    client.file = client.sock.makefile("rb")
    return client.sock
