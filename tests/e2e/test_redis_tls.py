"""Redis and its Sentinels by TLS: all programs, with the least rights; who is not believed, and why; a peer that behaves badly
in the handshake and behind it; a failover while users sign in and accounts move."""
import collections
import os
import shutil
import threading
import types

import pytest

from harness import certs, handbook, net, redisd, sentinel
from harness.relay import DOWN, UP, Relay
from harness.scene import assert_equal, connect, fill, new_user, small

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")
SETTINGS = {"proxy": {"store_timeout": "500ms", "lease": "500ms", "lease_long": "1s"}, "migration": {"trigger": "manual"}}
NAME = "redis.example"  # what the servers are called that no certificate names by their addresses


@pytest.fixture(name="papers", scope="module")
def fixture_papers(authority):
    """Certificates of servers, which show them to their own kind too; of ours; and of somebody else's."""
    both, folder = "serverAuth,clientAuth", net.temp_folder("stranger")
    stranger = certs.Authority(folder)
    yield types.SimpleNamespace(
        ca=authority.ca, server=authority.issue("redis", usage=both), named=authority.issue("redis", [NAME], usage=both),
        all_names=authority.issue("redis", [NAME, "127.0.0.1"], usage=both), expired=authority.issue("redis", usage=both, expired=True),
        ours=authority.issue("imapferry", (), usage="clientAuth"), stranger=stranger.ca, strange_server=stranger.issue("redis", usage=both),
        strange=stranger.issue("imapferry", (), usage="clientAuth"))
    net.remove_folder(folder)


def by_tls(papers, url, **more):
    """The section redis of who is let in."""
    return {"url": url, "ca_file": papers.ca, "tls_cert": papers.ours[0], "tls_key": papers.ours[1], **more}


@pytest.fixture(name="store")
def fixture_store(papers, redis_program):
    server = redisd.Redis(port=net.free_port(), papers=redisd.Papers(*papers.server, papers.ca, True), program=redis_program)
    yield server
    server.close()


@pytest.fixture(name="tls_ferry")
def fixture_tls_ferry(make_ferry, backends, papers, store):
    return make_ferry(backends, {**SETTINGS, "redis": by_tls(papers, store.url)}, store=store)


def login(proxy, user=None):
    with connect(proxy) as wire:
        return wire.login(user or new_user())


def served(proxy, timeout=20):
    net.wait_until("login", lambda: login(proxy).startswith(b"l1 OK"), timeout, step=0.1)


def acl_of(name, password):
    """The line that sites copy, with a password."""
    with open(os.path.join(CONF, name), encoding="ascii") as f:
        line = f.read()
    assert line.count("CHANGE-THIS-PASSWORD") == 1 and line.startswith("user imapferry ")
    return line.replace("CHANGE-THIS-PASSWORD", password)


def secret(folder, name, password):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as f:
        f.write(password + "\n")
    os.chmod(path, 0o600)
    return path


def test_all_programs_with_the_rights_of_the_sample(make_ferry, backends, old, new, papers, redis_program, tmp_path):
    """By an aclfile with the sample's line, a password in a file, and a certificate of ours."""
    acl = tmp_path / "users.acl"
    acl.write_text(acl_of("redis.acl", "pw-of-ours"))
    store = redisd.Redis(port=net.free_port(), options=("aclfile", str(acl)), program=redis_program,
                         papers=redisd.Papers(*papers.server, papers.ca, True))
    try:
        url = store.url.replace("rediss://", "rediss://imapferry@")
        ferry = make_ferry(backends, {**SETTINGS, "redis": by_tls(papers, url, password_file=secret(tmp_path, "pw", "pw-of-ours"))}, store=store)
        user = new_user()
        fill(old, user, small(messages=10))
        proxy, migrator = ferry.proxy(), ferry.migrator()
        with connect(proxy) as live:
            assert live.login(user).startswith(b"l1 OK")
            assert ferry.ctl("migrate", user)[0] == 0
            ferry.wait_state(user, "flipped")
            assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        for verb in (("status",), ("sessions", user), ("user", user), ("check",), ("audit", user), ("list",)):
            status, answer = ferry.ctl(*verb)
            assert status == 0 or verb == ("check",), (verb, answer)
        said = [c for c in ferry.ctl("check")[1]["checks"] if c["of"] == "redis"]
        assert any(f"rediss://127.0.0.1:{store.port} answers" in c["text"] for c in said), said
        assert_equal(old, new, user, 1)
        info = store.client().info("errorstats")
        assert "errorstat_NOPERM" not in info, store.client().execute_command("ACL", "LOG")
        assert {x["user"] for x in store.client().client_list() if x["addr"].startswith("127.0.0.1")} == {"imapferry"}
        assert not proxy.find("event=store_error") and not migrator.find("event=store_error")
        ferry.stop_all()
    finally:
        store.close()


FAULTS = {
    # the section redis, the certificate of the server where it is another one, and what is said
    "its authority is not ours": (lambda p: {"ca_file": p.stranger}, None, "who signed it is not trusted here (see ca_file)"),
    "for another name": (lambda p: {}, "named", "it is for other names than the address has"),
    "for another name than tls_name": (lambda p: {"tls_name": "redis.elsewhere"}, None, "it is for other names"),
    "expired": (lambda p: {}, "expired", "certificate has expired"),
    "another key": (lambda p: {"pin": ["sha256//" + "A" * 43 + "="]}, None, "and that is not in pin"),
    "no certificate of ours": (lambda p: {"tls_cert": "", "tls_key": ""}, None, "to be shown a certificate (redis: tls_cert)"),
    "one that it does not believe": (lambda p: {"tls_cert": p.strange[0], "tls_key": p.strange[1]}, None, "another certificate than that of tls_cert"),
}


def test_who_is_not_believed_and_why(tls_ferry, papers, store):
    def show(cert):
        store.client().execute_command("CONFIG", "SET", "tls-cert-file", cert[0], "tls-key-file", cert[1])
    for label, (section, cert, says) in FAULTS.items():
        show(getattr(papers, cert or "server"))
        status, _, err = tls_ferry.ctl_raw("status", redis=section(papers))
        assert status == 5 and says in err, (label, status, err)
    # A password that goes out before anybody was believed would be heard by whom it is not for.
    show(papers.named)
    assert tls_ferry.ctl("status", redis={"tls_name": NAME})[0] == 0
    proxy = tls_ferry.proxy()
    proxy.wait("event=store_down .*it is for other names than the address has")
    assert login(proxy).startswith(b"l1 NO [UNAVAILABLE]")
    show(papers.server)
    served(proxy)
    plain = {"ca_file": "", "tls_cert": "", "tls_key": ""}
    status, _, err = tls_ferry.ctl_raw("status", redis={"url": store.url.replace("rediss", "redis"), **plain})
    assert status == 5 and "TLS (rediss://" in err, err


def test_tls_where_there_is_none(make_ferry, backends, papers, redis):
    ferry = make_ferry(backends, SETTINGS)
    proxy = ferry.proxy(redis=by_tls(papers, redis.url.replace("redis://", "rediss://")))
    proxy.wait("event=store_down .*no answer to the TLS handshake in time: see whether this port speaks TLS from its first byte")


def test_files_that_are_exchanged_need_no_reload(tls_ferry, papers, store, tmp_path):
    """The authority of the server and our own certificate, while the programs run; and half a file changes nothing."""
    ours = {"ca_file": papers.ca, "tls_cert": papers.ours[0], "tls_key": papers.ours[1]}
    files = {option: str(tmp_path / option) for option in ours}
    for option, path in files.items():
        shutil.copy(ours[option], path)
    proxy = tls_ferry.proxy(redis=files)
    served(proxy)
    with open(files["tls_cert"], "w", encoding="ascii") as f:
        f.write("-----BEGIN CERTIFICATE-----\nMIIB")
    store.client().client_kill_filter(_type="normal", skipme=True)
    proxy.wait("event=store_down")
    served(proxy)
    for option, path in {"ca_file": papers.stranger, "tls_cert": papers.strange[0], "tls_key": papers.strange[1]}.items():
        shutil.copy(path, files[option])
    store.client().execute_command("CONFIG", "SET", "tls-cert-file", papers.strange_server[0], "tls-key-file", papers.strange_server[1],
                                   "tls-ca-cert-file", papers.stranger)
    since = proxy.mark()
    store.client().client_kill_filter(_type="normal", skipme=True)
    proxy.wait("event=store_down", since=since)
    served(proxy)
    assert tls_ferry.ctl("status")[0] == 5, "who has the files of before"


def test_peers_that_behave_badly(tls_ferry, store, papers):
    """Ended, stalled and garbled at each part of the handshake and behind it: each time logins are refused, none is stuck, and
    they go on by themselves."""
    garbled = []

    def edit(direction, data):
        return bytes(len(data)) if direction == DOWN and garbled else data
    relay = Relay(store.address, edit)
    proxy = tls_ferry.proxy(redis={"url": f"rediss://127.0.0.1:{relay.number}/0"})
    served(proxy)

    def begin_anew(until):
        """Nothing is under way when the bytes begin to count."""
        since = proxy.mark()
        relay.cut()
        proxy.wait("event=store_down", since=since)
        until()
        relay.heal()
        assert relay.tripped.wait(20)
        return since
    for direction, count in ((DOWN, 1), (DOWN, 4), (DOWN, 100), (DOWN, 700), (UP, 1), (UP, 400), (UP, 1200)):
        begin_anew(lambda: relay.cut_after(count, direction))  # pylint: disable=cell-var-from-loop
        served(proxy)
    for direction, count in ((DOWN, 1), (DOWN, 700), (UP, 1), (UP, 1200)):
        since = begin_anew(lambda: relay.stall_after(count, direction))  # pylint: disable=cell-var-from-loop
        proxy.wait("event=store_down .*in time", since=since)
        assert login(proxy).startswith(b"l1 NO [UNAVAILABLE]")
        relay.resume()
        served(proxy)
    garbled.append(True)
    since = proxy.mark()
    relay.reset()
    proxy.wait("event=store_down .*TLS", since=since)
    assert login(proxy).startswith(b"l1 NO [UNAVAILABLE]")
    garbled.clear()
    served(proxy)
    garbled.append(True)  # of a connection that is there
    since = proxy.mark()
    login(proxy)
    proxy.wait("event=store_down", since=since)
    garbled.clear()
    served(proxy)
    relay.close()


@pytest.fixture(name="group")
def fixture_group(papers, redis_program):
    """The servers have one name; the Sentinel is known by its address too."""
    users = acl_of("sentinel.acl", "sentinel-pw")
    with sentinel.Group(papers=redisd.Papers(*papers.named, papers.ca, True), users=users, program=redis_program,
                        sentinel_papers=redisd.Papers(*papers.all_names, papers.ca, True)) as made:
        _, _, *rights = acl_of("redis.acl", "redis-pw").split()
        for server in made.servers:
            server.client().execute_command("ACL", "SETUSER", "imapferry", *rights)
        yield made


# ---- by the lines of conf/handbook/redis.md

def test_tls_as_the_handbook_has_it(make_ferry, backends, papers, redis_program, tmp_path):
    port, acl = net.free_port(), tmp_path / "users.acl"
    acl.write_text(acl_of("redis.acl", "redis-pw"))
    lines = handbook.replace(handbook.block("redis.md", "tls-port").text, ("6379", port), ("/etc/redis/redis.pem", papers.server[0]),
                             ("/etc/redis/redis.key", papers.server[1]), ("/etc/redis/ca.pem", papers.ca))
    words = [word for line in lines.splitlines()[1:] for word in line.split()]
    store = redisd.Redis(port=port, options=("aclfile", str(acl), *words), program=redis_program)
    try:
        ours = handbook.options(handbook.replace(
            handbook.block("redis.md", "rediss://imapferry@").text, ("redis.example.org:6379", f"127.0.0.1:{port}"),
            ("/etc/imapferry/redis.secret", secret(tmp_path, "pw", "redis-pw")), ("/etc/imapferry/redis-ca.pem", papers.ca),
            ("/etc/imapferry/redis-client.pem", papers.ours[0]), ("/etc/imapferry/redis-client.key", papers.ours[1])))["redis"]
        assert set(ours) == {"url", "password_file", "ca_file", "tls_cert", "tls_key"}
        ferry = make_ferry(backends, {**SETTINGS, "redis": ours}, store=store)
        said = [c for c in ferry.ctl("check")[1]["checks"] if c["of"] == "redis"]
        assert any(f"rediss://127.0.0.1:{port} answers" in c["text"] for c in said), said
        assert ferry.ctl("status", redis={**ours, "tls_cert": "", "tls_key": ""})[0] == 5, "it asks each client for a certificate"
    finally:
        store.close()


def test_sentinels_as_the_handbook_has_them(make_ferry, backends, papers, group, tmp_path):
    ours = handbook.options(handbook.replace(
        handbook.block("redis.md", "sentinels://imapferry@").text, ("h1,h2,h3/NAME", f"127.0.0.1:{net.free_port()},127.0.0.1:{group.port}/{sentinel.NAME}"),
        ("/etc/imapferry/redis.secret", secret(tmp_path, "redis", "redis-pw")),
        ("/etc/imapferry/sentinel.secret", secret(tmp_path, "sentinel", "sentinel-pw"))))["redis"]
    assert set(ours) == {"url", "password_file", "sentinel_password_file"}
    ferry = make_ferry(backends, {**SETTINGS, "redis": by_tls(papers, **ours, tls_name=NAME)}, store=group)
    assert ferry.ctl("status")[0] == 0


class Load:
    """Users who come and go, until it is told to end; what they were answered."""

    def __init__(self, proxies, users, threads=2):
        self.answers, self.odd = collections.Counter(), []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(proxies[i % len(proxies)], users[i::threads])) for i in range(threads)]
        for t in self._threads:
            t.start()

    def _run(self, proxy, users):
        while not self._over.is_set():
            for user in users:
                answer = login(proxy, user)
                word = b" ".join(answer.split()[1:3]) if b" NO " in answer else answer.split()[1]
                self.answers[word] += 1
                if word not in (b"OK", b"NO [UNAVAILABLE]"):
                    self.odd.append(answer)

    def more(self, count=20, timeout=40):
        """Waits until so many more were let in."""
        before = self.answers[b"OK"]
        net.wait_until("logins", lambda: self.answers[b"OK"] >= before + count or self.odd, timeout)

    def end(self):
        self._over.set()
        for t in self._threads:
            t.join(30)
        assert not self.odd, self.odd[:5]


def test_failover_while_users_sign_in_and_accounts_move(make_ferry, backends, papers, group, old, new, tmp_path):
    """The master dies; all by TLS, by the rights of the samples, with passwords in files and one name for all servers."""
    url = f"sentinels://imapferry@127.0.0.1:{net.free_port()},127.0.0.1:{group.port}/{sentinel.NAME}/0?sentinel_auth=imapferry"
    options = by_tls(papers, url, tls_name=NAME, password_file=secret(tmp_path, "redis", "redis-pw"),
                     sentinel_password_file=secret(tmp_path, "sentinel", "sentinel-pw"))
    # Without the name it is the address by which the Sentinel knows the master.
    ferry = make_ferry(backends, {**SETTINGS, "redis": options}, store=group)
    status, _, err = ferry.ctl_raw("status", redis={"tls_name": ""})
    assert status == 5 and f"127.0.0.1:{group.master.port}: " in err and "it is for other names" in err, err
    moved, others = [new_user("moved") for _ in range(4)], [new_user("other") for _ in range(4)]
    for user in moved:
        fill(old, user, small(messages=20))
    proxies = [ferry.proxy(), ferry.proxy()]
    ferry.migrator()
    load = Load(proxies, moved + others)
    try:
        load.more()
        for user in moved:
            assert ferry.ctl("migrate", user)[0] == 0
        ferry.wait_state(moved[0], "copying", "ready", "preparing", "freezing", "flipping", "flipped")
        first = group.master
        group.kill_master()
        group.wait_failover()
        load.more()
        for user in moved:
            ferry.wait_state(user, "flipped", timeout=60)
        load.more()
    finally:
        load.end()
    group.master = group.named()  # on a busy machine Sentinel also gives up one that nobody has touched
    assert group.master is not first and int(group.client().hget("imapferry:store", "generation")) > 1
    for user in moved:
        with connect(proxies[0]) as wire:
            assert wire.login(user).startswith(b"l1 OK")
            assert ferry.where(user) == {"new"}
    assert "imapferry" in {x["user"] for x in group.client().client_list()}
    assert "errorstat_NOPERM" not in group.client().info("errorstats"), group.client().execute_command("ACL", "LOG")
    ferry.stop_all()
    for user in moved:
        assert_equal(old, new, user, 20)


def test_sentinels_that_are_not_believed(make_ferry, backends, papers, group, tmp_path):
    url = f"sentinels://imapferry@127.0.0.1:{group.port}/{sentinel.NAME}?sentinel_auth=imapferry"
    options = by_tls(papers, url, tls_name=NAME, password_file=secret(tmp_path, "redis", "redis-pw"),
                     sentinel_password_file=secret(tmp_path, "sentinel", "sentinel-pw"))
    ferry = make_ferry(backends, {**SETTINGS, "redis": options}, store=group)
    assert ferry.ctl("status")[0] == 0
    for more, says in (({"ca_file": papers.stranger}, "who signed it is not trusted here"),
                       ({"tls_cert": "", "tls_key": ""}, "to be shown a certificate (redis: tls_cert)"),
                       ({"tls_name": "sentinel.elsewhere"}, "it is for other names")):
        status, _, err = ferry.ctl_raw("status", redis=more)
        assert status == 5 and f"Sentinel 127.0.0.1:{group.port}: " in err and says in err, err
    status, _, err = ferry.ctl_raw("status", redis={"sentinel_password_file": secret(tmp_path, "wrong", "x")})
    assert status == 5 and "WRONGPASS" in err, err


def test_a_sentinel_that_stalls_in_the_handshake_is_passed_over(make_ferry, backends, papers, group, tmp_path):
    """The next one is asked, within the time that there is for all of them."""
    relay = Relay((net.HOST, group.port))
    relay.stall()
    url = f"sentinels://imapferry@127.0.0.1:{relay.number},127.0.0.1:{group.port}/{sentinel.NAME}?sentinel_auth=imapferry"
    options = by_tls(papers, url, tls_name=NAME, password_file=secret(tmp_path, "redis", "redis-pw"),
                     sentinel_password_file=secret(tmp_path, "sentinel", "sentinel-pw"))
    ferry = make_ferry(backends, {**SETTINGS, "redis": options}, store=group)
    proxy = ferry.proxy(proxy={"store_timeout": "1s"})
    served(proxy)
    assert relay.connections > 0
    relay.close()


def test_names_by_which_sentinels_call_the_servers(make_ferry, backends, papers, authority, redis_program):
    """Certificates without addresses, and no tls_name: the Sentinel tells names, the one of who was a replica too."""
    called = authority.issue("redis", ["localhost"], usage="serverAuth,clientAuth")
    with sentinel.Group(papers=redisd.Papers(*called, papers.ca, True), by_name=True, program=redis_program) as group:
        url = group.url_of([group.port], "sentinels").replace("127.0.0.1", "localhost")
        ferry = make_ferry(backends, {**SETTINGS, "redis": by_tls(papers, url)}, store=group)
        proxy = ferry.proxy()
        served(proxy)
        group.kill_master()
        group.wait_failover()
        served(proxy)
        assert ferry.ctl("status")[0] == 0
        status, _, err = ferry.ctl_raw("status", redis={"url": group.url_of([group.port], "sentinels")})
        assert status == 5 and "it is for other names" in err, err
        ferry.stop_all()
