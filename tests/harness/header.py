"""PROXY headers, made and read by none of our code.

    v1("192.0.2.9", 40000)       v2("192.0.2.9", 40000, tlvs=crc)      LOCAL, UNKNOWN
    with Gate(("127.0.0.1", port)) as gate: ... gate.port["imap"], gate.headers ...

A Gate stands before a server and wants a header as Cyrus (3.12, "imapd -H") does: it looks once at what is there, at 232 bytes at
most; what is not a whole header then ends the connection. Dovecot's is that of the real one.
"""
import contextlib
import ipaddress
import socket
import struct
import threading

from . import net

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"
CYRUS_MAX = 232


def v1(client, port=40000, server="198.51.100.2", server_port=993):
    kind = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {kind} {client} {server} {port} {server_port}\r\n".encode()


def v2(client, port=40000, server=None, server_port=993, tlvs=b""):
    """tlvs: bytes, or a function that gets the header with room for 7 bytes of a CRC32C and fills them."""
    is_v6 = ":" in client
    server = server or ("2001:db8::2" if is_v6 else "198.51.100.2")
    body = ipaddress.ip_address(client).packed + ipaddress.ip_address(server).packed + struct.pack("!HH", port, server_port)
    more = b"\x03\0\x04\0\0\0\0" if callable(tlvs) else tlvs
    header = SIGNATURE + b"\x21" + (b"\x21" if is_v6 else b"\x11") + struct.pack("!H", len(body + more)) + body + more
    return tlvs(header) if callable(tlvs) else header


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def crc(header):
    return header[:-4] + struct.pack("!I", crc32c(header))


def wrong_crc(header):
    return header[:-4] + struct.pack("!I", crc32c(header) ^ 1)


def length(data):
    """Of a whole header at the beginning of these bytes; None where there is none."""
    if data.startswith(SIGNATURE) and len(data) >= 16:
        size = 16 + struct.unpack("!H", data[14:16])[0]
        return size if size <= len(data) else None
    end = data.find(b"\r\n")
    return end + 2 if data.startswith(b"PROXY ") and end >= 0 else None


def client_of(header):
    """"192.0.2.9 40000", or "" where the header tells of nobody."""
    if header.startswith(b"PROXY TCP"):
        words = header.decode().split()
        return f"{words[2]} {words[4]}"
    if header.startswith(SIGNATURE) and header[12] == 0x21:
        size = {0x11: 4, 0x21: 16}[header[13]]
        port = struct.unpack("!H", header[16 + 2 * size:18 + 2 * size])[0]
        return f"{ipaddress.ip_address(header[16:16 + size])} {port}"
    return ""


class Gate:
    def __init__(self, upstream):
        self.headers, self.refused = [], []
        self._upstream = upstream
        self._listener = socket.create_server((net.HOST, 0), backlog=128)
        number = self._listener.getsockname()[1]
        self.port = {"imap": number, "imaps": number}
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, scheme="imap", host=net.HOST):
        return f"{scheme}://{host}:{self.port['imap']}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            there = connection.recv(CYRUS_MAX, socket.MSG_PEEK)
            size = length(there)
            if size is None:
                self.refused.append(there)
                return
            self.headers.append(connection.recv(size))
            with socket.create_connection(self._upstream) as server:
                threading.Thread(target=self._pass, args=(server, connection), daemon=True).start()
                self._pass(connection, server)

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
