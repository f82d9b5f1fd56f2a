"""What monitoring asks of a daemon: /metrics, /healthz, /readyz.

    proxy = ferry.proxy(proxy=LISTEN)
    assert metrics(proxy)["imapferry_logins_total", "ok"] == 1
"""
import http.client
import re
import socket
import subprocess

from . import net

LISTEN = {"metrics_listen": "http://127.0.0.1:0"}
_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(?:,|$)')


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def address(daemon):
    return daemon.wait(r'listening on (http[a-z+]*://[^"\s]+)').group(1)


def ask(daemon, path, method="GET", timeout=20):
    """(status, text, headers)."""
    where = address(daemon)
    if where.startswith("http+unix://"):
        connection = _UnixConnection(where[len("http+unix://"):], timeout)
    else:
        connection = http.client.HTTPConnection(where[len("http://"):], timeout=timeout)
    connection.request(method, path)
    answer = connection.getresponse()
    result = answer.status, answer.read().decode(), dict(answer.getheaders())
    connection.close()
    return result


def text(daemon):
    status, body, headers = ask(daemon, "/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body


def parse(body):
    """(name, values of the labels in their order ...) -> number; `le` is a label as the others."""
    found = {}
    for line in body.splitlines():
        if line.startswith("#"):
            continue
        name, labels, number = _SAMPLE.match(line).groups()
        key = (name, *(v for _, v in _LABEL.findall(labels or "")))
        assert key not in found, f"{key} is there twice"
        found[key] = float(number)
    return found


def metrics(daemon):
    return parse(text(daemon))


def wait_metric(daemon, key, number, timeout=20.0):
    """Until it is that; what is counted beside the event that the test has waited for may come a little later."""
    return net.wait_until(f"{key} of {daemon.label} being {number}", lambda: metrics(daemon).get(key) == number, timeout)


def check(body):
    """By the rules of Prometheus' own linter."""
    run = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and not run.stderr, run.stderr + run.stdout
