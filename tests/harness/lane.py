"""Where transcripts are played: an imapferry-proxy with the settings that they ask for, and a scripted backend of its own."""
import re
import threading

from . import transcript
from .ferry import Ferry
from .scripted import CAPABILITIES, Scripted

PASSWORD = "pa55word"  # of all transcripts
LISTENERS = {"plain": "imap://127.0.0.1:0", "tls": "imaps://127.0.0.1:0", "starttls": "imap+starttls://127.0.0.1:0"}
SHORT = {"tls_timeout": "700ms", "login_timeout": "3s", "backend_timeout": "700ms", "connect_timeout": "700ms"}
# word -> (scheme of the backend, options of the section proxy, options of the backend)
PROFILES = {
    "plain": ("imap", {}, {}),
    "backend-starttls": ("imap+starttls", {}, {}),
    "backend-tls": ("imaps", {}, {}),
    "header": ("imap", {"trusted": ["127.0.0.1"], "tls_timeout": "2s"}, {}),
    "header-out": ("imap", {}, {"proxy_protocol": "v2"}),
    "header-out-v1": ("imap", {}, {"proxy_protocol": "v1"}),
    "trusted": ("imap", {"trusted": ["127.0.0.1"]}, {}),
    "forwarding": ("imap", {}, {"forward_id": "client"}),
    "impatient": ("imap", SHORT, {}),
    "certificates": ("imap", {"mechanisms": ["PLAIN", "EXTERNAL"], "tls_client_ca": "CA"}, {"sign_in": "master", "master_user": "admin"}),
    "tokens": ("imap", {"mechanisms": ["PLAIN", "OAUTHBEARER", "XOAUTH2"]}, {}),
    "masters": ("imap", {"masters": ["admin"]}, {}),
    "braked": ("imap", {"login_delay": "1m", "login_delay_max": "2m"}, {}),
    "few": ("imap", {"max_connections_per_account": 1}, {}),
    "few-of-a-network": ("imap", {"max_connections_per_network": 1}, {}),
}


class Certificates(dict):
    """What a backend may show, or a client; made when it is asked for."""

    def __init__(self, authority):
        super().__init__()
        self._lock = threading.Lock()
        self._made = {
            "good": lambda: authority.issue("good"), "wrong-name": lambda: authority.issue("wrong", ("mail.example.org",)),
            "expired": lambda: authority.issue("expired", expired=True),
            "self-signed": lambda: authority.issue("self", self_signed=True),
            "common-name": lambda: authority.issue("127.0.0.1", ()),
            "ann": lambda: authority.issue("ann", ("ann@example.org",), usage="clientAuth"),
            "old-ann": lambda: authority.issue("old-ann", ("ann@example.org",), usage="clientAuth", expired=True),
            "own-ann": lambda: authority.issue("own-ann", ("ann@example.org",), usage="clientAuth", self_signed=True)}

    def __missing__(self, word):
        with self._lock:
            if not self.get(word):
                self[word] = self._made[word]()
            return self[word]


class Lane:
    """What a Player plays against."""

    deadline = transcript.DEADLINE

    def __init__(self, profile, number, store, authority, cert, certificates):
        self.ca, self.certificates, self.backend = authority.ca, certificates, Scripted(certificates)
        scheme, options, of_backend = PROFILES[profile]
        options = {k: authority.ca if v == "CA" else v for k, v in options.items()}
        shown = {"capabilities": CAPABILITIES.split()}  # what one scene's server lacks is nothing to the next one
        sides = {"old": {"address": self.backend.url(scheme), "ca_file": authority.ca, **shown, **of_backend},
                 "new": {"address": f"{scheme}://127.0.0.1:1", **shown, **of_backend}}
        self._ferry = Ferry(store, sides, cert, {"migration": {"trigger": "manual"}, "redis": {"prefix": f"{profile}{number}"}})
        self._ferry.init()
        listen = [url + ("?proxy_protocol" if profile == "header" else "") for url in LISTENERS.values()]
        self.log = self._ferry.proxy(listen=listen, proxy=options)
        self._addresses = dict(zip(LISTENERS, self.log.addresses))

    def address(self, listener):
        host, port = re.match(r".*://([^:]+):(\d+)", self._addresses[listener]).groups()
        return host, int(port)

    def play(self, scene):
        """What broke, or None."""
        try:
            transcript.play(scene, self, self.backend)
        except Exception as e:  # pylint: disable=broad-exception-caught
            return AssertionError(f"{type(e).__name__}: {e}\n{self.log.tail(8)}")
        return None

    def close(self):
        try:
            self._ferry.close()
        finally:
            self.backend.close()
        assert not self.log.find(PASSWORD), "the log has a password"
