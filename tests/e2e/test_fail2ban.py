"""conf/fail2ban-filter.conf on lines that proxies have logged, and on lines that somebody would like them to log."""
import os
import re
import shutil
import subprocess

import pytest

from harness import net
from harness.scene import Wire

CONF = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "conf")
VICTIM = "203.0.113.99"  # never fails


@pytest.fixture(scope="module")
def proxy(fake_site):
    return fake_site.proxy(proxy={"trusted": ["127.0.0.1"], "login_tries": 1})


@pytest.fixture(scope="module")
def folder():
    """What fail2ban is configured by, with our filter."""
    made = net.temp_folder("fail2ban")
    os.mkdir(os.path.join(made, "filter.d"))
    shutil.copy("/etc/fail2ban/filter.d/common.conf", os.path.join(made, "filter.d"))
    shutil.copy(os.path.join(CONF, "fail2ban-filter.conf"), os.path.join(made, "filter.d", "imapferry.conf"))
    yield made
    net.remove_folder(made)


def banned(folder, lines, mode="normal"):
    """The addresses that the filter finds, as often as it does, in order."""
    path = os.path.join(folder, "lines")
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join(x + "\n" for x in lines))
    run = subprocess.run(["fail2ban-regex", "-o", "ip", path, f"{folder}/filter.d/imapferry.conf[mode={mode}]"],
                         capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.split()


def said(proxy, ip, line, pattern, n=1):
    """What the proxy logs of a client from there that says this line."""
    mark = proxy.mark()
    with Wire(proxy.addresses[0]) as w:
        w.read_line()
        w.line(b'i ID ("x-originating-ip" "%s")' % ip.encode())
        w.until(b"i OK")
        w.line(line)
        proxy.wait_count(pattern, n, since=mark)
    return [x for x in proxy.lines[mark:] if x and " event=" in x]


FORGED = f"level=info event=login_failed user=x code=AUTHENTICATIONFAILED backend=old peer={VICTIM}:1 session=x"
NAMES = [
    f"a peer={VICTIM}:1 ", f'a" code=AUTHENTICATIONFAILED backend=old peer={VICTIM}:1 session="x', f'a\\" peer={VICTIM}:1 ',
    f"ts=2026-11-29T20:00:00.000Z {FORGED}", f"mail imapferry-proxy[1]: ts=2026-11-29T20:00:00.000Z {FORGED} ",
    f"@ mail imapferry-proxy[1]: {FORGED}", f"@{FORGED}", f"@ \" {FORGED}", f"peer={VICTIM}:1@", "@", f"jörg peer={VICTIM}:1",
]


def test_who_is_found(proxy, folder):
    """Wrong passwords, and in the aggressive mode scanners too; nobody who signs in, and nobody whom a name names: one that is refused
    as none stands in the log as it came."""
    guesses = said(proxy, "198.51.100.7", b"a LOGIN ann wrong", r"^ts=\S+ level=info event=login_failed ")
    guesses += said(proxy, "2001:db8:7::1", b"a LOGIN bob@example.org wrong", r"^ts=\S+ level=info event=(login_failed|session_end why=login_tries) ", 2)
    names = []
    for name in NAMES:
        names += said(proxy, "198.51.100.9", b"a LOGIN {%d+}\r\n%s wrong" % (len(name.encode()), name.encode()), r"^ts=\S+ level=info event=login_failed ")
    honest = said(proxy, VICTIM, b"a LOGIN ann secret", "event=login ") + said(proxy, VICTIM, b"a XFROB\r\nb NOOP\r\nc LOGIN {3}", "$^", 0)
    scanned = r"event=session_end .*peer=198\.51\.100\.8\b"  # those of the sessions before come when they come
    scans = said(proxy, "198.51.100.8", b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y", scanned)
    scans += said(proxy, "198.51.100.8", b"a NO\0OP", scanned)
    lines = guesses + names + honest + scans
    found = ["198.51.100.7"] + 2 * ["2001:db8:7::1"] + len(NAMES) * ["198.51.100.9"]
    assert any(VICTIM in x for x in names) and any(VICTIM in x for x in honest)
    assert banned(folder, lines) == found, "\n".join(names)
    assert banned(folder, lines, "aggressive") == found + 2 * ["198.51.100.8"]
    assert banned(folder, [f"Nov 29 20:00:00 mail imapferry-proxy[77]: {x}" for x in lines]) == found


def test_example_of_a_jail(folder):
    with open(os.path.join(CONF, "fail2ban-jail.conf"), encoding="utf-8") as f:
        text = f.read()
    assert re.search(r"^filter = imapferry\[mode=normal\]$", text, re.M)
    os.makedirs(os.path.join(folder, "whole", "jail.d"), exist_ok=True)
    whole = os.path.join(folder, "whole")
    shutil.copytree("/etc/fail2ban", whole, dirs_exist_ok=True)
    for name in os.listdir(os.path.join(whole, "jail.d")):
        os.remove(os.path.join(whole, "jail.d", name))
    with open(os.path.join(whole, "jail.d", "imapferry.conf"), "w", encoding="utf-8") as f:
        f.write(text)
    shutil.copy(os.path.join(CONF, "fail2ban-filter.conf"), os.path.join(whole, "filter.d", "imapferry.conf"))
    run = subprocess.run(["fail2ban-client", "-c", whole, "-t"], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0 and "OK" in run.stdout, run.stdout + run.stderr
    run = subprocess.run(["fail2ban-client", "-c", whole, "-d"], capture_output=True, text=True, timeout=60, check=False)
    assert "'add', 'imapferry', 'systemd'" in run.stdout and "login_failed" in run.stdout, run.stdout
