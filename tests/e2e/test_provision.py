"""provision: the account is made on the new server before anything is copied, by a program or a URL of the site."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import dovecot, leaks, mail, net
from harness.daemon import program
from harness.ferry import backend
from harness.scene import assert_equal, fill, new_user, small

from test_hooks_http import Listener

PASSWORD = "Zw=i'b\"e$l \\f%u isch"
leaks.used(PASSWORD)


@pytest.fixture(scope="module", name="closed")
def fixture_closed(cert):
    """A new server that knows nobody who does not stand in its file."""
    with dovecot.Dovecot("closed", mail="mdbox", cert=cert, anybody=False) as server:
        yield server


@pytest.fixture(name="site")
def fixture_site(make_ferry, old, closed, authority):
    """site(text of the program, ...): it may call make, which makes the account with the password `secret`; and $here is a folder."""
    def make(text, password=False, masters=True, **settings):
        settings.setdefault("migrator", {}).setdefault("job_lease", "15s")  # a busy machine takes no job away
        ferry = make_ferry({"old": backend(old, ca=authority.ca, master=masters), "new": backend(closed, ca=authority.ca, master=masters)},
                           settings)
        path = os.path.join(ferry.folder, "provision")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nset -eu\nhere={ferry.folder}\n"
                    f"make() {{ printf '%s:{{PLAIN}}secret\\n' \"$IMAPFERRY_USER\" >>{closed.users_file}; sleep 1; }}\n"  # Dovecot looks at it once a second
                    f"echo \"$*\" >>$here/runs\n{text}\n")
        os.chmod(path, 0o755)
        ferry.backends["new"].update(provision=[path, "%e", "%u", "%s", "%t"], provision_password=password)
        if password or not masters:
            ferry.seal_keys()
        return ferry
    return make


def know(server, user, password):
    """A Dovecot looks at its file once a second."""
    server.set_users({user: password})
    net.wait_next_second()


def said(ferry, name):
    path = os.path.join(ferry.folder, name)
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as f:
        return f.read()


def runs(ferry):
    return said(ferry, "runs").splitlines()


def now(ferry, name="now"):
    """What a program waits for, or looks whether it is there."""
    with open(os.path.join(ferry.folder, name), "w", encoding="utf-8"):
        pass


def reason(ferry, user, word):
    """Of a state in which it waits."""
    def there():
        route = ferry.route(user)
        return route["reason"] if route.get("state") == "backoff" and route["reason"].startswith(word + ": ") else None
    text = net.wait_until(f"the reason {word}", there)
    assert ferry.route(user)["backend"] == "old"
    return text


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_account_is_made_with_the_password_of_the_login(site, old, closed):
    """By standard input alone; also where both servers have a master user, so that nobody else needs it."""
    user = new_user("made")
    know(old, user, PASSWORD)
    fill(old, user, small(messages=5), PASSWORD)
    ferry = site("read -r mechanism; IFS= read -r password; read -r more && exit 9\n"
                 'printf "%s\\n" "$mechanism $password $IMAPFERRY_USER $IMAPFERRY_EVENT $IMAPFERRY_TARGET" >$here/said\n'
                 "tr '\\0' '\\n' </proc/$$/environ >$here/seen; tr '\\0' '\\n' </proc/$$/cmdline >>$here/seen\n"
                 f"printf '%s:{{PLAIN}}%s\\n' \"$IMAPFERRY_USER\" \"$password\" >>{closed.users_file}", password=True)
    migrator = ferry.migrator()
    migrator.wait("event=sandbox calls=all_but_some files=all .* why=\"hooks are programs")
    ferry.login(ferry.proxy(), user, PASSWORD)
    ferry.wait_state(user, "flipped")
    assert said(ferry, "said") == f"PLAIN {PASSWORD} {user} provision new\n"
    assert set(runs(ferry)) == {f"provision {user} old new"}
    assert "IMAPFERRY_USER" in said(ferry, "seen") and PASSWORD not in said(ferry, "seen")
    assert_equal(old, closed, user, 5, PASSWORD)
    migrator.wait(rf"event=provisioned user={user} backend=new took_ms=")


def test_new_server_refuses_what_the_old_one_takes(site, old, closed):
    """It knows the user by a password of long ago: nobody is switched over until the program has been told today's."""
    user = new_user("stale")
    fill(old, user, small(messages=5))
    know(closed, user, "outdated")
    ferry = site(f"[ $(wc -l <$here/runs) -lt 2 ] || echo \"$IMAPFERRY_USER:{{PLAIN}}$(tail -n 1)\" >{closed.users_file}", password=True)
    proxy = ferry.proxy()
    client = ferry.login(proxy, user, "secret")
    assert client.select("INBOX")[0] == "OK"
    migrator = ferry.migrator()
    migrator.wait(r'event=thawed .*why=refused detail="new does not let the user in')
    ferry.wait_state(user, "flipped")
    assert len(runs(ferry)) >= 2
    assert client.noop()[0] == "OK" and ferry.where(user) == {"new"}
    assert_equal(old, closed, user, 5)


@pytest.mark.parametrize("masters", (True, False))
def test_success_in_vain(site, old, closed, masters):
    user = new_user("vain")
    fill(old, user, small(messages=3))
    ferry = site("[ ! -e $here/now ] || make", masters=masters)
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    text = reason(ferry, user, "provision")
    what = "the sign-in as master for the user" if masters else "the user's password"
    assert text.startswith(f"provision: new: provision said that all went well, and {what} is refused: "), text
    now(ferry)
    ferry.wait_state(user, "flipped")
    assert_equal(old, closed, user, 3)


def test_failure_waits_and_is_told(site, old, closed):
    user = new_user("failed")
    fill(old, user, small(messages=3))
    ferry = site("[ ! -e $here/now ] && { echo no room on that server >&2; echo and more >&2; exit 3; }; make",
                 migrator={"retry_min": "2s"})
    client = ferry.login(ferry.proxy(), user, "secret")
    migrator = ferry.migrator()
    assert reason(ferry, user, "provision") == "provision: new: provision ended with status 3: no room on that server"
    migrator.wait('event=hook_said event_of=provision text="no room on that server')
    status, out, _ = ferry.ctl_raw("user", user)
    assert status == 0 and "no room on that server" in out and "Tried again by itself" in out
    assert client.select("INBOX")[0] == "OK" and mail_is_absent(closed, user)
    now(ferry)
    ferry.wait_state(user, "flipped")
    assert_equal(old, closed, user, 3)


def mail_is_absent(server, user):
    return not os.path.exists(server.home(user))


def test_without_a_password_it_waits_for_the_login(site, old, closed):
    """As in a bulk move, where nobody has signed in."""
    user = new_user("bulk")
    fill(old, user, small(messages=3))
    ferry = site('read -r mechanism; [ "$mechanism" = PLAIN ] || { echo "$mechanism" >&2; exit 77; }; make', password=True)
    ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    assert reason(ferry, user, "credentials") == "credentials: new: provision ended with status 77: none"
    assert ferry.route(user)["next_try"] == "0"
    ferry.login(ferry.proxy(), user, "secret")
    ferry.wait_state(user, "flipped")
    assert_equal(old, closed, user, 3)


def test_program_that_hangs_and_floods_is_killed(site, old, closed):
    """With its children; and one that has succeeded is not waited for because it left some behind."""
    user = new_user("hangs")
    fill(old, user, small(messages=3))
    ferry = site("if [ -e $here/now ]; then make; sleep 300 & echo $! >$here/left; exit 0; fi\n"
                 "yes >&2 &\necho $! >>$here/pids\necho $$ >>$here/pids\nsleep 300")
    ferry.backends["new"]["provision_timeout"] = "1s"
    ferry.login(ferry.proxy(), user, "secret")
    ferry.migrator()
    assert reason(ferry, user, "provision") == "provision: new: provision took too long: y"
    now(ferry)
    ferry.wait_state(user, "flipped")
    pids = [int(pid) for pid in said(ferry, "pids").split()]
    assert len(pids) >= 2
    net.wait_until("their end", lambda: all(gone(pid) for pid in pids))
    os.kill(int(said(ferry, "left")), signal.SIGKILL)
    assert_equal(old, closed, user, 3)


def test_what_says_the_password_is_not_quoted(site, old):
    user = new_user("tells")
    know(old, user, PASSWORD)
    fill(old, user, small(messages=1), PASSWORD)
    ferry = site("cat >&2; exit 1", password=True)
    ferry.login(ferry.proxy(), user, PASSWORD)
    migrator = ferry.migrator()
    hidden = "(what it says is not shown, since the password is in it)"
    assert reason(ferry, user, "provision") == f"provision: new: provision ended with status 1: {hidden}"
    migrator.wait(f'event=hook_said event_of=provision text="{re.escape(hidden)}"')


def test_migrator_that_dies_leaves_it_to_the_next(site, old, closed):
    """Which runs it at the same time as the first one goes on."""
    user = new_user("dies")
    fill(old, user, small(messages=3))
    ferry = site("[ -e $here/now ] || echo $$ >$here/first\nwhile [ ! -e $here/now ]; do sleep 0.05; done; make",
                 migrator={"job_lease": "2s"})
    ferry.login(ferry.proxy(), user, "secret")
    first = ferry.migrator()
    net.wait_until("the program", lambda: said(ferry, "first"))
    first.kill()
    assert not gone(int(said(ferry, "first")))
    ferry.migrator()
    net.wait_until("both", lambda: len(runs(ferry)) > 1)
    now(ferry)
    ferry.wait_state(user, "flipped")
    assert_equal(old, closed, user, 3)


def test_migrator_that_stops_ends_it(site, old, closed):
    user = new_user("stops")
    fill(old, user, small(messages=3))
    ferry = site("[ -e $here/now ] && { make; exit 0; }; echo $$ >$here/first; sleep 300")
    ferry.login(ferry.proxy(), user, "secret")
    first = ferry.migrator()
    net.wait_until("the program", lambda: said(ferry, "first"))
    first.stop()
    net.wait_until("its end", lambda: gone(int(said(ferry, "first"))))
    now(ferry)
    ferry.migrator()
    ferry.wait_state(user, "flipped")
    assert "died" not in ferry.route(user) or not ferry.route(user)["died"]


def test_copied_account_is_not_made_anew(site, old, closed):
    """Nor by who only looks."""
    user = new_user("once")
    fill(old, user, small(messages=3))
    far = (time.localtime().tm_hour + 12) % 24
    ferry = site("make", migration={"cutover": "window", "window": [f"Mon-Sun {far:02d}:00-{far:02d}:30"], "trigger": "manual"})
    ferry.ctl_raw("plan", user)
    _, answer = ferry.ctl("check", user)
    text = next(c for c in answer["checks"] if "can't be signed in for yet" in c["text"])
    assert text["level"] == "warning" and text["advice"].startswith("provision "), text
    assert runs(ferry) == []
    migrator = ferry.migrator()
    assert ferry.ctl("migrate", user)[0] == 0
    net.wait_until("its wait", lambda: ferry.route(user).get("reason", "").startswith("window: "))
    assert ferry.ctl("migrate", user, "--now")[0] == 0
    ferry.wait_state(user, "flipped")
    if not migrator.find("event=job_lapsed"):  # a machine that stood still may run it twice
        assert len(runs(ferry)) == 1, migrator.tail()
    assert_equal(old, closed, user, 3)


def test_url(make_ferry, backends, old, new):
    """The same by POST; 401 is what status 77 is, and an answer that has the password is not quoted."""
    user = new_user("url")
    know(old, user, PASSWORD)
    know(new, user, PASSWORD)
    fill(old, user, small(messages=3), PASSWORD)
    listener = Listener()
    try:
        ferry = make_ferry(backends)
        ferry.backends["new"].update(provision=listener.url + "/account", provision_password=True)
        ferry.seal_keys()
        listener.answers = [401, 500, 204]
        migrator = ferry.migrator()
        assert ferry.ctl("migrate", user)[0] == 0
        assert reason(ferry, user, "credentials") == "credentials: new: provision was answered with status 401: said the server"
        listener.text = json.dumps({"got": PASSWORD}).encode()
        ferry.login(ferry.proxy(), user, PASSWORD)
        migrator.wait(r'event=job_given_up .*reason="provision: new: provision was answered with status 500 \(and the password, so that is not')
        ferry.wait_state(user, "flipped")
        bodies = [json.loads(body) for _, _, _, body in listener.asked]
        common = {"event": "provision", "user": user, "account": user, "source": "old", "target": "new"}
        assert bodies[0] == dict(common, mechanism="none", password=None)
        assert bodies[1] == bodies[2] == dict(common, mechanism="PLAIN", password=PASSWORD) and len(bodies) == 3
        assert {path for _, path, _, _ in listener.asked} == {"/account"}
    finally:
        listener.close()
    assert_equal(old, new, user, 3, PASSWORD)


@pytest.mark.parametrize("options,why", [
    ({"provision": ["provision.sh"]}, 'backend "new": provision: "provision.sh" is neither the absolute path of a program nor a URL'),
    ({"provision": ["/etc/passwd"]}, '"/etc/passwd" can\'t be run by this user'),
    ({"provision_password": True}, "provision_password: there is no provision to be given it"),
    ({"provision": ["/bin/true"], "provision_password": True}, "provision_password: it needs private_key_files in the section seal"),
    ({"provision": "http://staff:hushhush@example.org/x", "provision_password": True, "keys": True},
     "provision_password: passwords would be read on their way"),
    ({"provision": "https://staff:hushhush@example.org:99999/x"}, "its port is not a number"),
    ({"provision": ["/bin/true"], "provision_timeout": "1h"}, "provision_timeout"),
    ({"provision": "http://staff:hushhush@127.0.0.1:80/x", "provision_password": True, "keys": True}, None),
    ({"provision": "http://[::1]/x", "provision_password": True, "keys": True}, None),
    ({"provision": "https://example.org/x", "provision_password": True, "keys": True}, None),
])
def test_what_can_not_be_is_said_at_the_start(make_ferry, backends, options, why):
    ferry = make_ferry(backends, init=False)
    if options.pop("keys", False):
        ferry.seal_keys()
    ferry.backends["new"].update(options)
    run = subprocess.run([program("imapferry-migrator"), "-c", ferry.config(), "--check-conf"], capture_output=True, text=True, check=False)
    assert run.returncode == (1 if why else 0) and (why or "") in run.stderr, run.stderr
    shown = subprocess.run([program("imapferry-migrator"), "-c", ferry.config(), "--print-conf"], capture_output=True, text=True, check=False)
    assert "hushhush" not in run.stdout + run.stderr + shown.stdout + shown.stderr
