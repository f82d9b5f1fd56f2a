#!/usr/bin/python3
"""What is looked at of docker/ (docker.sh calls it, in namespaces of its own): the images can be built, the compose file is one, and each
of its services runs by it. A login through a proxy finds the mail on the old server, the account is moved, and the next login, through
the other proxy, finds the same mail with the same numbers on the new one; a second account goes by `imapferryctl migrate`.
    docker.py build|run FOLDER"""
import contextlib
import imaplib
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from harness import mail, net  # noqa: E402
from harness.compose import Compose, Podman  # noqa: E402

FILE = os.path.join(ROOT, "docker", "compose.yaml")
BASE = "docker.io/library/debian:bookworm-slim"
INSTALL = f"FROM {BASE}\nRUN apt-get update && apt-get install -y --no-install-recommends %s && rm -rf /var/lib/apt/lists/*\n"
# In the place of images that no registry gives here: the same programs, users without rights, folders and ways to be started.
STAND_INS = {
    "redis:7": INSTALL % "redis-server" + "RUN install -d -o redis -g redis /data\nVOLUME /data\nWORKDIR /data\nUSER redis\n",
    "prom/prometheus:v2.53.0": INSTALL % "prometheus" + "RUN install -d -o nobody -g nogroup /prometheus\nVOLUME /prometheus\n"
                               "USER nobody\nENTRYPOINT [\"/usr/bin/prometheus\"]\n",
}
OURS = ("proxy1", "proxy2", "migrator1", "migrator2")
PASSWORD = "secret"
LETTERS = 70  # of each account of the demo


def say(text):
    print(f"docker: {text}", flush=True)


# ---- images

def full_name(image):
    return f"docker.io/{image if '/' in image else 'library/' + image}"


def take_base(podman, work):
    """The storage of another base is thrown away, with the layers that stand on it."""
    tar, stamp = os.path.join(work, "base.tar"), os.path.join(work, "base.taken")
    if not podman.has(BASE) or not os.path.exists(stamp) or os.path.getmtime(stamp) < os.path.getmtime(tar):
        net.remove_folder(podman.storage)
        podman.run("import", tar, BASE)
        with open(stamp, "w", encoding="ascii"):
            pass


def build(work):
    subprocess.run(["docker-compose", "--file", FILE, "config", "--quiet"], check=True, timeout=60)
    say("compose.yaml is one")
    podman = Podman(os.path.join(work, "storage"))
    take_base(podman, work)
    site = Compose(FILE, podman)
    built = {s["image"] for s in site.services.values() if "build" in s}
    assert {s["image"] for s in site.services.values()} == built | set(STAND_INS)
    for image, text in STAND_INS.items():
        podman.build(full_name(image), work, "--file", "-", data=text)
    site.build()
    say(f"built: {', '.join(sorted(built))}")


# ---- the site

class Site(Compose):
    def make_names(self, work):
        """As the containers know each other, so does the test; /etc/hosts is that of this run alone."""
        path = os.path.join(work, "hosts")
        with open(path, "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in self.address.items()))
        subprocess.run(["mount", "--bind", path, "/etc/hosts"], check=True, timeout=20)

    def ca(self):
        return os.path.join(self.volume("certs"), "ca.pem")

    def ctl(self, *args):
        return self.exec("migrator1", "imapferryctl", *args).stdout

    def account(self, user):
        return json.loads(self.ctl("--json", "user", user))

    def mail_of(self, user, host):
        """{mailbox: (UIDVALIDITY, [(UID, message)])}, as a mail program sees it."""
        m = imaplib.IMAP4_SSL(host, 1993, ssl_context=mail.trusting(self.ca()), timeout=30)
        m.login(user, PASSWORD)
        names = [re.match(rb'\((.*?)\) "." (.*)', line).groups() for line in m.list()[1]]
        found = {name.decode().strip('"'): read_mailbox(m, name.decode()) for flags, name in names
                 if b"noselect" not in flags.lower() and b"nonexistent" not in flags.lower()}
        m.logout()
        return found


def read_mailbox(m, name):
    typ, said = m.select(name, readonly=True)
    assert typ == "OK", said
    uidvalidity = m.response("UIDVALIDITY")[1][0]
    if said[0] == b"0":
        return uidvalidity, []
    answers = m.uid("FETCH", "1:*", "(UID BODY.PEEK[])")[1]
    return uidvalidity, sorted((int(re.search(rb"UID (\d+)", x[0])[1]), x[1]) for x in answers if isinstance(x, tuple))


def count(found):
    return sum(len(messages) for _, messages in found.values())


# ---- what is looked at

def has_no_rights(site):
    for name in OURS:
        status = site.exec(name, "cat", "/proc/1/status").stdout
        assert re.search(r"^Uid:\t900\t900\t900\t900$", status, re.M), f"{name}: {status}"
        assert re.search(r"^CapBnd:\t0+$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M), f"{name}: {status}"
        for path in ("/x", "/usr/local/x", "/tmp/x", "/etc/imapferry/x"):
            assert "Read-only file system" in site.exec(name, "touch", path, check=False).stdout, f"{name}: {path}"
        assert "event=sandbox calls=listed files=" in site.log(name), site.log(name)
    for name in ("proxy1", "proxy2"):
        assert site.exec(name, "cat", "/masters/new.secret", check=False).returncode != 0, "a proxy reads the masters' passwords"
    assert site.exec("migrator1", "touch", "/var/lib/imapferry/x").returncode == 0
    say("user 900 without capabilities, nothing to write to but the journal, sandboxed")


def tells_its_health(site):
    for name in OURS + ("redis", "old", "new"):
        site.wait_healthy(name)
    assert site.exec("proxy1", "bash", "/usr/local/lib/imapferry/ready.sh", "9144", check=False).returncode != 0
    say("healthy: all that says so")


def moves_by_a_login(site, user):
    before = site.mail_of(user, "proxy1")
    assert count(before) == LETTERS, {name: len(x[1]) for name, x in before.items()}
    net.wait_until(f"move of {user}", lambda: site.account(user)["state"] in ("flipped", "settled"), timeout=60, step=0.3)
    assert site.mail_of(user, "proxy2") == before
    assert site.account(user)["backend"] == "new"
    compare(site, user)
    say(f"{user}: a login set it off, and found the same mail with the same numbers on the new server")


def moves_by_staff(site, user):
    said = site.ctl("migrate", user, "--wait")
    assert site.account(user)["backend"] == "new", said
    assert count(site.mail_of(user, "proxy1")) == LETTERS
    compare(site, user)
    say(f"{user}: moved by imapferryctl")


def compare(site, user):
    subprocess.run(["/usr/bin/python3", "-B", os.path.join(ROOT, "tests", "harness", "compare.py"), "--ca", site.ca(), "--expect", str(LETTERS),
                    *(f"imaps://{user.replace('@', '%40')}:{PASSWORD}@{name}:1993" for name in ("old", "new"))], check=True, timeout=60)


def ask_prometheus(path):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://prometheus:9090/api/v1/{path}", timeout=10) as answer:
        return json.load(answer)["data"]
    return {}


def is_watched(site):
    def ready():
        found = ask_prometheus("query?" + urllib.parse.urlencode({"query": "imapferry_ready == 1"})).get("result", [])
        return {x["metric"]["instance"].split(":")[0] for x in found}

    net.wait_until("Prometheus to find all ready", lambda: ready() == set(OURS), timeout=60, step=0.5)
    rules = [r["name"] for group in ask_prometheus("rules")["groups"] for r in group["rules"]]
    assert "ImapferryNotReady" in rules, rules
    say(f"Prometheus sees all of them ready, and looks at {len(rules)} alerts")


def logs_no_error(site):
    for name in OURS:
        assert "level=error" not in site.log(name), site.log(name)


def outlives_redis(site, user):
    site.stop("redis")
    for name in OURS:
        site.wait_healthy(name, False)
    site.start("redis")
    for name in ("redis",) + OURS:
        site.wait_healthy(name)
    assert site.account(user)["backend"] == "new" and count(site.mail_of(user, "proxy1")) == LETTERS
    say("Redis was stopped and started: ill meanwhile, well again, and nobody is back on the old server")


def ends_as_asked(site):
    for name in OURS:
        status = site.stop(name)
        assert status == 0, f"{name}: {status} {site.log(name)}"
    say("each ended by itself when told to")


def run(work):
    site = Site(FILE, Podman(os.path.join(work, "storage")))
    site.clear()
    site.make_names(work)
    site.make_network()
    try:
        say(site.once("migrator1", "imapferryctl", "init").stdout.strip())
        site.up()
        tells_its_health(site)
        has_no_rights(site)
        moves_by_a_login(site, "ann@example.org")
        moves_by_staff(site, "bob@example.org")
        is_watched(site)
        logs_no_error(site)
        outlives_redis(site, "ann@example.org")
        ends_as_asked(site)
    except BaseException:
        for name in site.started:
            print(f"==== {name}\n{site.log(name)[-3000:]}", flush=True)
        raise
    finally:
        site.clear()
    say("passed")


if __name__ == "__main__":
    {"build": build, "run": run}[sys.argv[1]](sys.argv[2])
