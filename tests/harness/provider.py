"""An identity provider: it gives out tokens, and tells a mail server whose they are, until they expire.

    with Provider() as provider:
        token = provider.issue("ann")
        provider.expire(token)
"""
import http.server
import json
import secrets
import threading
import urllib.parse


class Provider:
    def __init__(self):
        self.users = {}  # token -> user
        self.asked = []  # tokens
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                token = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).get("token", [""])[0]
                provider.asked.append(token)
                user = provider.users.get(token)
                body = json.dumps({"user": user, "active": "true"} if user else {"error": "invalid_token"}).encode()
                self.send_response(200 if user else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def issue(self, user):
        token = "T-" + secrets.token_urlsafe(40)
        self.users[token] = user
        return token

    def expire(self, *tokens):
        for token in tokens:
            del self.users[token]

    def url(self):
        """A server asks for this with the token behind it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/info?token="

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
