"""The transcripts of tests/transcripts, each against a proxy of the settings that it asks for. One proxy stands for all of the same."""
import functools
import re

import pytest

from harness import net, redisd, transcript
from harness.ferry import Ferry
from harness.scripted import Scripted

LISTENERS = {"plain": "imap://127.0.0.1:0", "tls": "imaps://127.0.0.1:0", "starttls": "imap+starttls://127.0.0.1:0"}
PASSWORD = "pa55word"
SHORT = {"tls_timeout": "700ms", "login_timeout": "1500ms", "backend_timeout": "700ms", "connect_timeout": "700ms"}
# word -> (scheme of the backend, options of the section proxy, options of the backend)
PROFILES = {
    "plain": ("imap", {}, {}),
    "backend-starttls": ("imap+starttls", {}, {}),
    "backend-tls": ("imaps", {}, {}),
    "header": ("imap", {"trusted": ["127.0.0.1"], **SHORT}, {}),
    "header-out": ("imap", {}, {"proxy_protocol": "v2"}),
    "header-out-v1": ("imap", {}, {"proxy_protocol": "v1"}),
    "trusted": ("imap", {"trusted": ["127.0.0.1"]}, {}),
    "forwarding": ("imap", {}, {"forward_id": "client"}),
    "impatient": ("imap", SHORT, {}),
}
SCENES = [scene for name in transcript.files() for scene in transcript.read(name)]


@pytest.fixture(scope="module")
def certificates(authority):
    """What a backend may show; made when it is asked for."""
    made = {"good": lambda: authority.issue("good"), "wrong-name": lambda: authority.issue("wrong", ("mail.example.org",)),
            "expired": lambda: authority.issue("expired", expired=True),
            "self-signed": lambda: authority.issue("self", self_signed=True),
            "common-name": lambda: authority.issue("127.0.0.1", ())}

    class Made(dict):
        def __missing__(self, word):
            self[word] = made[word]()
            return self[word]
    return Made()


class Proxy:
    """What a Player plays against."""

    deadline = transcript.DEADLINE

    def __init__(self, daemon, ca):
        self.log, self.ca = daemon, ca
        self._addresses = dict(zip(LISTENERS, daemon.addresses))

    def address(self, listener):
        host, port = re.match(r".*://([^:]+):(\d+)", self._addresses[listener]).groups()
        return host, int(port)


@pytest.fixture(scope="module")
def stage(authority, cert, certificates):
    """(backend, profile -> Proxy)"""
    backend, store, ferries = Scripted(certificates), redisd.Redis(port=net.free_port()), []

    @functools.lru_cache(None)
    def proxy_of(profile):
        scheme, options, of_backend = PROFILES[profile]
        sides = {"old": {"address": backend.url(scheme), "ca_file": authority.ca, **of_backend},
                 "new": {"address": f"{scheme}://127.0.0.1:1"}}
        ferries.append(Ferry(store, sides, cert, {"migration": {"trigger": "manual"}, "redis": {"prefix": profile}}))
        ferries[-1].init()
        listen = [url + ("?proxy_protocol" if profile == "header" else "") for url in LISTENERS.values()]
        return Proxy(ferries[-1].proxy(listen=listen, proxy=options), authority.ca)
    yield backend, proxy_of
    try:
        for ferry in ferries:
            daemon = ferry.daemons[0]
            ferry.close()
            assert not daemon.find(PASSWORD)
    finally:
        backend.close()
        store.close()


@pytest.mark.parametrize("scene", SCENES, ids=[s.name for s in SCENES])
def test_transcript(stage, scene):
    backend, proxy_of = stage
    proxy = proxy_of(scene.header("profile", "plain"))
    transcript.play(scene, proxy, backend)


def test_what_is_answered_otherwise_is_seen(stage, tmp_path):
    """The player itself: each kind of step fails where it is not so."""
    backend, proxy_of = stage
    proxy = proxy_of("plain")
    for text in ("C> a NOOP\nC< a OK other", "C> a LOGOUT\nC~ a OK ...\nC< b OK", "C> a NOOP\nC closed", "C> a LOGOUT\nC closed",
                 "C> a LOGIN ann pa55word\nC~ a OK ...\nB never pa55word", "C> a LOGIN ann pa55word\nC~ a OK ...\nB logins 2",
                 "C> a LOGIN ann pa55word\nC~ a OK ...\nB connections 0", "C> a LOGIN ann pa55word\nC~ a OK ...\nB login bob pa55word",
                 "C> a LOGIN ann pa55word\nC~ a OK ...\nlog event=login\nlog never event=login", "C> a LOGIN ann pa55word\nC~ a OK ...\nC> b NOOP\nB< c NOOP"):
        path = tmp_path / "wrong.t"
        path.write_text(text + "\n")
        proxy.deadline = 0.3
        try:
            with pytest.raises(AssertionError):
                transcript.play(transcript.read(str(path))[0], proxy, backend)
        finally:
            proxy.deadline = transcript.DEADLINE
