"""A node of a Redis Cluster that answers as a test says.

    with Node({"EXISTS": b"-MOVED 1 127.0.0.1:1"}) as node: ...

answers: by the command's first two words, or its first one, the whole answer without the line end behind it. A PING is answered well,
whatever is not named by an error."""
import contextlib
import socketserver
import threading

from harness import net


def bulk(text):
    return b"$%d\r\n%s" % (len(text), text)


class _Handler(socketserver.StreamRequestHandler):
    def _words(self):
        """Of one command, as clients send them; none: it hung up."""
        head = self.rfile.readline()
        words = []
        for _ in range(int(head[1:]) if head.startswith(b"*") else 0):
            words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2].decode("latin-1"))
        return words

    def handle(self):
        with contextlib.suppress(OSError):
            while words := self._words():
                self.server.asked.append(words)
                known = {"PING": b"+PONG", **self.server.answers}
                answer = known.get(" ".join(words[:2]), known.get(words[0], b"-ERR unknown command"))
                self.wfile.write(answer + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


class Node:
    def __init__(self, answers):
        self._server = _Server((net.HOST, net.free_port()), _Handler)
        self._server.answers, self._server.asked = answers, []
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def answers(self):
        return self._server.answers

    @property
    def asked(self):
        """Each command that came, as its words."""
        return self._server.asked

    @property
    def url(self):
        return f"cluster://{net.HOST}:{self.port}?partitions=2"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
