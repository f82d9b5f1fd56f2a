"""A relay on the way to Redis or a backend that behaves like a bad network when told to.

    relay = Relay(("127.0.0.1", port))     # or the path of a UNIX socket; self.port is where it listens
    relay.stall()      nothing passes any more, connections stay open        relay.resume()
    relay.refuse()     no new connection
    relay.cut()        connections are reset, new ones too                   relay.heal()
    relay.cut_after(n, "up")   when n bytes have passed in this direction, all connections together, the one that
                               passes them is reset, once; n counts from now
    relay.stall_after(n, "up") the same, but everything stalls
    relay.delay(0.05)  every piece waits

On another address than loopback it is for a harness.host.Host. receive_buffer: of its connections, in bytes, so that what it
does not read stays with who sent it. patient: what has come still goes on when one side resets its connection, as from
a server that holds a command.
"""
import contextlib
import socket
import struct
import threading
import time

from . import net

UP, DOWN = "up", "down"


class Relay:
    def __init__(self, upstream, edit=None, port=None, host=net.HOST, receive_buffer=0, patient=False):
        """edit(direction, bytes) -> bytes sees every piece that passes."""
        self.upstream = upstream
        self.edit = edit
        self.host = host
        self.patient = patient
        self._listener = socket.create_server((host, port or 0), backlog=128)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.number = self._listener.getsockname()[1]
        self.port = {"imap": self.number, "imaps": self.number}
        self.passed = {UP: 0, DOWN: 0}
        self.connections = 0
        self._pairs = set()
        self._half = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._is_cut = False
        self._delay = 0.0
        self._limit = None
        self.tripped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def redis_url(self):
        return f"redis://{self.host}:{self.number}/0"

    def url(self, scheme="imap", host=net.HOST):
        return f"{scheme}://{host if self.host == net.HOST else self.host}:{self.number}"

    # ---- what the network does

    def stall(self):
        self._open.clear()

    def resume(self):
        self._open.set()

    def cut(self):
        self._is_cut = True
        self.reset()

    def refuse(self):
        """New connections, for good; those that are there go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def heal(self):
        self._is_cut = False
        self._open.set()

    def delay(self, seconds):
        self._delay = seconds

    def cut_after(self, count, direction=UP):
        self._set_limit(count, direction, self._reset_pair)

    def stall_after(self, count, direction=UP):
        self._set_limit(count, direction, lambda _: self.stall())

    def _set_limit(self, count, direction, action):
        """Sets self.tripped when it has come so far."""
        self.tripped.clear()
        with self._lock:
            self._limit = (self.passed[direction] + count, direction, action)

    def _over_limit(self, pair, direction, length):
        """How many of these bytes may still pass before the action, and the action; None without one. What a connection
        still held when it was reset passes no more, so it is not counted."""
        with self._lock:
            if pair not in self._pairs:
                return None
            before = self.passed[direction]
            self.passed[direction] += length
            if not self._limit or self._limit[1] != direction or before + length < self._limit[0]:
                return None
            count, _, action = self._limit
            self._limit = None
            return max(count - before, 0), action

    def reset(self):
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._reset_pair(pair)

    def close(self):
        self.refuse()
        self._open.set()
        self.reset()

    # ---- how

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self._reset_socket(client)
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        try:
            if isinstance(self.upstream, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.upstream)
            else:
                server = socket.create_connection(self.upstream, timeout=10)
                server.settimeout(None)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self._reset_socket(client)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, server)
        with self._lock:
            was_cut = self._is_cut
            if not was_cut:
                self._pairs.add(pair)
                self.connections += 1
        if was_cut:  # while it was on its way
            self._reset_pair(pair)
            return
        for a, b, direction in ((client, server, UP), (server, client, DOWN)):
            threading.Thread(target=self._pump, args=(pair, a, b, direction), daemon=True).start()

    def _pump(self, pair, source, sink, direction):
        try:
            while True:
                data = source.recv(65536)
                self._open.wait()
                if self._delay:
                    time.sleep(self._delay)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    self._ended(pair)
                    return
                data = self._edited(pair, direction, data)
                over = self._over_limit(pair, direction, len(data))
                if over:
                    sink.sendall(data[:over[0]])
                    data = data[over[0]:]
                    over[1](pair)
                    self.tripped.set()
                    self._open.wait()
                sink.sendall(data)
        except OSError:
            if self.patient and direction == UP:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
            elif not self.patient:
                self._reset_pair(pair)

    def _edited(self, _pair, direction, data):
        return self.edit(direction, data) if self.edit else data

    def _ended(self, pair):
        """One direction has come to its end; with the other the connection is over."""
        with self._lock:
            over = pair in self._half
            self._half.discard(pair) if over else self._half.add(pair)
            if over:
                self._pairs.discard(pair)
        if over:
            for s in pair:
                s.close()

    def _reset_pair(self, pair):
        with self._lock:
            self._pairs.discard(pair)
            self._half.discard(pair)
        for s in pair:
            self._reset_socket(s)

    @staticmethod
    def _reset_socket(s):
        with contextlib.suppress(OSError):
            if s.family == socket.AF_INET:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RDWR)
        s.close()
