"""imapferry as a site would run it: one configuration file, proxies, migrators, imapferryctl.

    ferry = Ferry(redis, {"old": backend(old), "new": backend(new)}, certificate)
    ferry.init(); proxy = ferry.proxy(); ferry.migrator()
    client = ferry.login(proxy, "ann", "secret")
    ferry.wait_state("ann", "flipped")
"""
import collections
import contextlib
import copy
import imaplib
import json
import os
import re
import socket
import ssl
import subprocess
import threading

from . import dovecot, leaks, net, redisd, state
from .daemon import Daemon, program, sanitizer_environment, sanitizer_reports

# Short terms, so that a test of what happens after them is short too.
SETTINGS = {
    "redis": {},
    "proxy": {"lease": "1s", "lease_long": "2s", "drain_time": "300ms", "threads": 1, "hold_max": "8s", "login_delay": "0s"},
    "migrator": {"retry_min": "300ms", "retry_max": "2s", "job_lease": "1500ms", "command_timeout": "5s"},
    "seal": {},
    "migration": {"source": "old", "target": "new", "freeze_budget": "5s", "late_watch": "0s",
                  "stop_failure_share": 100},
}


# To look for leaks is half the cost of a call of imapferryctl: the first ones of each verb are looked at.
_CALLED = collections.Counter()
LEAKS_LOOKED_FOR = 20


class Section(dict):
    """Options, and the server that they lead to."""

    def __init__(self, server, options):
        super().__init__(options)
        self.server = server

    def __deepcopy__(self, memo):
        return copy.deepcopy(dict(self), memo)


def backend(server, scheme="imaps", ca=None, master=True, host="127.0.0.1", **options):
    """The section of a harness server: with its master user unless told otherwise."""
    section = Section(server, {"address": server.url(scheme, host)})
    if ca:
        section["ca_file"] = ca
    if master:
        section["master_user"] = dovecot.MASTER_USER
    section.update(options)
    return section


def value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v)
    if isinstance(v, (list, tuple)):
        return "{" + ", ".join(value(x) for x in v) + "}"
    return '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'


def section_text(head, options):
    return head + " {\n" + "".join(f"    {k} = {value(v)}\n" for k, v in options.items()) + "}\n"


class Route(dict):
    """A field that is not there says nothing, as for the scripts: a settled account keeps none that would say that."""

    def __missing__(self, field):
        return ""


class Ferry:
    """A folder with a configuration; what it started ends with close(), which judges it."""

    def __init__(self, redis, backends, cert=None, settings=None, folder=None):
        self.redis = redis
        self.folder = folder or net.temp_folder("ferry")
        self.cert = cert
        self.servers = {name: getattr(options, "server", None) for name, options in backends.items()}
        self.source_may_change = True  # else it is looked at whether it did
        self._before = {}              # account -> what it was on the old server
        self.backends = copy.deepcopy(backends)
        self.settings = copy.deepcopy(SETTINGS)
        for section, options in (settings or {}).items():
            self.settings.setdefault(section, {}).update(options)
        self.daemons = []
        self._count = 0
        self._lock = threading.Lock()
        self._secret = os.path.join(self.folder, "master.secret")
        with open(self._secret, "w", encoding="ascii") as f:
            f.write(dovecot.MASTER_PASSWORD + "\n")
        os.chmod(self._secret, 0o600)
        os.makedirs(os.path.join(self.folder, "journal"), exist_ok=True)

    # ---- nothing is written at the source

    @property
    def source(self):
        return self.servers.get(self.settings["migration"]["source"])

    def note_source(self, user):
        """Takes the account's state there, once, before its migration is set off."""
        if not self.source_may_change and state.has_maildir(self.source) and user not in self._before:
            self._before[user] = state.take(self.source, user)

    def check_source(self):
        written = getattr(self.source, "written_by_migrators", [])
        assert not written, f"a migrator wrote at the source: {written[:10]}"
        if self.source_may_change:
            return
        for user, before in self._before.items():
            if before is not None and os.path.isdir(self.source.folder):
                changed = state.compare(before, state.take(self.source, user) or {})
                assert not changed, f"{user} is not what it was at the source:\n" + "\n".join(changed)

    # ---- configuration

    def config(self, label="ctl", **overrides):
        """Writes a file for one process; overrides are sections, e.g. proxy={"threads": 2}. Its path."""
        s = copy.deepcopy(self.settings)
        s["redis"].setdefault("url", self.redis.url)
        s["migrator"].setdefault("journal_dir", os.path.join(self.folder, "journal"))
        if self.cert:
            s["proxy"].setdefault("tls_cert", self.cert[0])
            s["proxy"].setdefault("tls_key", self.cert[1])
        for section, options in overrides.items():
            if section != "backends":
                s[section].update(options)
        parts = [section_text("redis", s.pop("redis"))]
        for name, options in dict(self.backends, **overrides.get("backends", {})).items():
            options = dict(options)
            if options.get("master_user"):
                options.setdefault("master_password_file", self._secret)
            parts.append(section_text(f'backend "{name}"', options))
        last = s.pop("migration")
        parts += [section_text(name, options) for name, options in s.items()]
        parts.append(section_text("migration", last))
        path = os.path.join(self.folder, f"{label}.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(parts))
        return path

    def seal_keys(self):
        """Makes a pair by imapferryctl and puts it into the configuration."""
        private, public = os.path.join(self.folder, "seal.key"), os.path.join(self.folder, "seal.pub")
        self.settings["seal"] = {"public_key_file": public, "private_key_files": [private]}
        status, _, text = self.ctl_raw("seal-key")
        assert status == 0, text
        assert os.path.exists(private) and os.path.exists(public), text

    # ---- programs

    def _label(self, kind):
        with self._lock:
            self._count += 1
            return f"{kind}{self._count}"

    def proxy(self, listen=("imap://127.0.0.1:0",), wait=True, wrapper=(), label=None, env=None, fds=(), **overrides):
        label = label or self._label("proxy")
        options = dict({"listen": list(listen), "id": label}, **overrides.pop("proxy", {}))
        path = self.config(label, proxy=options, **overrides)
        daemon = Daemon("imapferry-proxy", path, self.folder, label, wrapper, env, fds)
        self.daemons.append(daemon)
        daemon.listen = list(listen)
        if wait:
            daemon.addresses = daemon.listeners(len(listen))
        return daemon

    def migrator(self, wait=True, wrapper=(), label=None, env=None, **overrides):
        label = label or self._label("migrator")
        path = self.config(label, migrator=dict({"id": label}, **overrides.pop("migrator", {})), **overrides)
        daemon = Daemon("imapferry-migrator", path, self.folder, label, wrapper, env)
        self.daemons.append(daemon)
        if wait:
            daemon.wait(r"event=ready\b")
        return daemon

    def ctl_raw(self, *args, timeout=60, **overrides):
        """(status, standard output, standard error) of imapferryctl."""
        if len(args) > 1 and ("migrate" in args or "flip" in args):
            self.note_source(args[args.index("migrate" if "migrate" in args else "flip") + 1])
        report = os.path.join(self.folder, self._label("sanitizer-ctl"))
        verb = next((x for x in args if not x.startswith("-")), "")
        _CALLED[verb] += 1
        env = sanitizer_environment(report, leaks=_CALLED[verb] <= LEAKS_LOOKED_FOR)
        run = subprocess.run([program("imapferryctl"), "-c", self.config("ctl", **overrides), *args],
                             capture_output=True, text=True, timeout=timeout, env=env,
                             stdin=subprocess.DEVNULL, check=False)
        reports = sanitizer_reports(report)
        assert not reports, "\n".join(reports)
        return run.returncode, run.stdout, run.stderr

    def ctl(self, *args, timeout=60, **overrides):
        """(status, what --json says) of imapferryctl; None where it printed nothing."""
        status, out, err = self.ctl_raw("--json", *args, timeout=timeout, **overrides)
        try:
            return status, json.loads(out) if out.strip() else None
        except json.JSONDecodeError as e:
            raise AssertionError(f"imapferryctl {args}: not JSON: {out!r} {err!r}") from e

    def init(self):
        status, out, err = self.ctl_raw("init")
        assert status == 0, (status, out, err)

    # ---- accounts

    def user(self, name):
        """What `imapferryctl --json user` says, or None without a route record."""
        status, answer = self.ctl("user", name)
        assert status in (0, 3), (status, answer)
        return answer if status == 0 else None

    def where(self, user):
        """The backends that its sessions are at. (What a session shows does not tell: names and numbers go on.)"""
        rows = self.redis.client().hgetall(f"imapferry:sessions:{user}")
        return {row.split()[0] for row in rows.values()}

    def route(self, name):
        """The hash in Redis itself, {} without one: quicker than a process where a test asks often."""
        return Route(self.redis.client().hgetall(f"{self.settings['redis'].get('prefix', 'imapferry')}:route:{name}"))

    def wait_state(self, name, *states, timeout=40.0):
        """Waits until the account is in one of these states; the route. Fails at once on `blocked` unless asked for.
        `flipped` is also an account that is settled already, at once where late_watch is 0; it is told as flipped."""
        def there():
            route = self.route(name)
            state = route.get("state")
            if state == "settled" and "settled" not in states and "flipped" in states:
                return dict(route, state="flipped")
            if state == "blocked" and "blocked" not in states:
                raise AssertionError(f"{name} is blocked: {route.get('reason')}")
            return route if state in states else None
        try:
            return net.wait_until(f"state {' or '.join(states)} of {name}", there, timeout)
        except TimeoutError as e:
            logs = "\n".join(f"--- {d.label}\n{d.tail()}" for d in self.daemons)
            raise TimeoutError(f"{e}; it is {self.route(name)}\n{logs}") from None

    # ---- clients

    def login(self, proxy, user, password, listener=0, timeout=20, ca=None):
        """imaplib through a listener of a proxy, signed in."""
        self.note_source(user)
        client = self.connect(proxy, listener, timeout, ca)
        try:
            client.login('"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"', password)
        except imaplib.IMAP4.error as e:
            print(f"{e}\n--- {proxy.label}\n{proxy.tail()}")
            raise
        return client

    @staticmethod
    def connect(proxy, listener=0, timeout=20, ca=None):
        scheme, host, port = re.match(r"([a-z+]+)://(.*):(\d+)$", proxy.addresses[listener]).groups()
        context = ssl.create_default_context(cafile=ca) if scheme != "imap" else None
        if scheme == "imaps":
            return imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=timeout)
        client = imaplib.IMAP4(host, int(port), timeout=timeout)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "imap+starttls":
            client.starttls(context)
        return client

    # ---- end

    def stop_all(self):
        """Ends everything that still runs, the newest first; the first failure is told after all have ended."""
        failures = []
        for daemon in reversed(self.daemons):
            try:
                daemon.stop()
            except AssertionError as e:
                failures.append(e)
        self.daemons.clear()
        if failures:
            raise failures[0]

    def close(self):
        try:
            self.stop_all()
            self.check_source()
            leaks.assert_none(leaks.files(self.folder, lambda name: name.endswith(".log")))
        finally:
            net.remove_folder(self.folder)


@contextlib.contextmanager
def standing(backends, cert=None, settings=None):
    """imapferry on a Redis of its own, for all tests of a module: initialized, without a program yet, and nothing sets a
    migration off unless settings say so."""
    with contextlib.ExitStack() as stack:
        store = redisd.Redis(port=net.free_port())
        stack.callback(store.close)
        ferry = Ferry(store, backends, cert, settings or {"migration": {"trigger": "manual"}})
        stack.callback(ferry.close)
        ferry.init()
        yield ferry
