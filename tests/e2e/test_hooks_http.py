"""Hooks that are URLs: what they are sent, what counts as success, and that nobody waits for one for ever."""
import base64
import http.server
import json
import socket
import ssl
import subprocess
import threading

import pytest

from harness import net
from harness.daemon import program
from harness.scene import assert_equal, fill, new_user, small


class Listener:
    """An HTTP server that keeps what it was asked, and answers as it is told: a status, or None for no answer at all."""

    def __init__(self, cert=None):
        self.asked, self.answers, self.over = [], [], threading.Event()
        self.text = b"said the server\nand more\n"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.answer(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*cert)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if cert else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path, dict(request.headers), body))
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            self.over.wait()
            return
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", self.url + "/elsewhere")
        text = b"" if status == 204 else self.text
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def events(self):
        return [json.loads(body)["event"] for _, _, _, body in self.asked]

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.close()


def moved(ferry, old, user, **hooks):
    """The account, on its way, with these hooks."""
    fill(old, user, small(messages=5))
    ferry.settings["migration"].update(hooks)
    proxy = ferry.proxy()
    migrator = ferry.migrator()
    ferry.login(proxy, user, "secret")
    return migrator


def reason(ferry, user):
    net.wait_until("the reason", lambda: ferry.route(user).get("reason", "").startswith("hook: "))
    assert ferry.route(user)["backend"] == "old"
    return ferry.route(user)["reason"]


def test_urls_are_told_of_each_event(make_ferry, backends, old, new, listener):
    """And asked again where they fail, but for the first, which the account waits for."""
    user = new_user("told")
    ferry = make_ferry(backends, {"migration": {"late_watch": "2s"}})
    listener.answers = [200, 500]
    urls = {f"hook_{e}": f"{listener.url}/{e}?a=%41" for e in ("freeze", "flip", "settle")}
    migrator = moved(ferry, old, user, **urls)
    ferry.wait_state(user, "settled")
    net.wait_until("all hooks", lambda: len(listener.asked) == 4)
    assert listener.events()[:2] == ["freeze", "flip"], listener.events()
    assert sorted(listener.events()) == ["flip", "flip", "freeze", "settle"]
    for command, path, headers, body in listener.asked:
        said = json.loads(body)
        assert said == {"event": said["event"], "user": user, "account": user, "source": "old", "target": "new"}
        assert command == "POST" and path == f"/{said['event']}?a=%41"
        assert headers["Content-Type"] == "application/json" and "Authorization" not in headers
    migrator.wait(r'event=hook_failed event_of=flip .*why="was answered with status 500: said the server" try=1')
    assert_equal(old, new, user, 5)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_refusal_thaws(make_ferry, backends, old, new, listener, status):
    """Redirects are not followed. Later, when it says yes, the account moves."""
    user = new_user("refused")
    ferry = make_ferry(backends)
    listener.answers = [status] * 2
    moved(ferry, old, user, hook_freeze=listener.url)
    assert reason(ferry, user) == f"hook: hook_freeze was answered with status {status}: said the server"
    ferry.wait_state(user, "flipped")
    assert {path for _, path, _, _ in listener.asked} == {"/"}
    assert_equal(old, new, user, 5)


def test_no_answer_ends_with_the_freeze(make_ferry, backends, old, new, listener):
    user = new_user("silent")
    ferry = make_ferry(backends, {"migration": {"freeze_budget": "1s"}})
    listener.answers = [None]
    moved(ferry, old, user, hook_freeze=listener.url)
    net.wait_until("the reason", lambda: ferry.route(user).get("reason"))
    assert ferry.route(user)["reason"].split(":")[0] in ("hook", "deadline"), ferry.route(user)
    ferry.wait_state(user, "flipped")
    assert_equal(old, new, user, 5)


def test_nobody_listens(make_ferry, backends, old):
    user = new_user("nobody")
    ferry = make_ferry(backends)
    with socket.socket() as taken:  # by one that does not listen
        taken.bind(("127.0.0.1", 0))
        moved(ferry, old, user, hook_freeze=f"http://127.0.0.1:{taken.getsockname()[1]}/")
        assert reason(ferry, user).startswith("hook: hook_freeze failed: Failed to connect to 127.0.0.1 port ")


def test_name_and_password_are_sent_and_not_told(make_ferry, backends, old, listener):
    user = new_user("secretive")
    ferry = make_ferry(backends)
    listener.answers = [401]
    moved(ferry, old, user, hook_freeze=listener.url.replace("://", "://staff:hushhush@") + "/x")
    assert "hushhush" not in reason(ferry, user)
    ferry.wait_state(user, "flipped")
    assert listener.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"staff:hushhush").decode()
    for daemon in ferry.daemons:
        assert not daemon.find("hushhush")


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_are_verified(make_ferry, backends, old, cert, authority, trusted):
    user = new_user("secure")
    ferry = make_ferry(backends)
    server = Listener(cert)
    try:
        moved(ferry, old, user, hook_freeze=[server.url, authority.ca] if trusted else server.url)
        if trusted:
            ferry.wait_state(user, "flipped")
            assert server.events() == ["freeze"]
        else:
            assert "certificate" in reason(ferry, user)
            assert not server.asked
    finally:
        server.close()


@pytest.mark.parametrize("url,why", [
    ("http://", "it has no host"), ("http://:8080/x", "it has no host"),
    ("https://staff:hushhush@host:70000/", "its port is not a number from 1 to 65535"),
    ("http://host/a b", "it has a character that has to be written as %XX"), ("http://[host]/", "its host is not an IPv6 address"),
    ("http://host/#x", "what stands behind # is sent to no server"),
    ("ftp://staff:hushhush@host/", "is neither the absolute path of a program nor a URL (http, https)"),
    (["http://host/", "/no/such/file"], "cannot be read"), (["http://host/", "a", "b"], "a URL takes no arguments"),
])
def test_what_is_no_url_is_said_at_the_start(make_ferry, backends, url, why):
    ferry = make_ferry(backends, {"migration": {"hook_flip": url}}, init=False)
    run = subprocess.run([program("imapferry-migrator"), "-c", ferry.config(), "--check-conf"], capture_output=True, text=True,
                         check=False)
    assert run.returncode == 1 and why in run.stderr and "hook_flip" in run.stderr, run.stderr
    assert "hushhush" not in run.stdout + run.stderr


def test_urls_that_are_fine(make_ferry, backends):
    for url in ("http://[::1]:80", "HTTPS://user@host.example.org/x?y=z", "http://h:1?x"):
        ferry = make_ferry(backends, {"migration": {"hook_flip": url}}, init=False)
        run = subprocess.run([program("imapferry-migrator"), "-c", ferry.config(), "--check-conf"], capture_output=True,
                             text=True, check=False)
        assert run.returncode == 0, run.stderr
