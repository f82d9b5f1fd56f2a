"""doctor: is all well with what runs; and who would notice if the proxies were taken away."""
import email.utils
import http.server
import threading
import time

import pytest

from fakes.fake_imap import CAPABILITIES, FakeImap
from harness import net
from harness.ferry import backend, standing
from harness.scene import new_user

LETTER = b"From: a@example.org\r\nSubject: hello\r\n\r\ntext\r\n"


@pytest.fixture(name="ferry", scope="module")
def make_ferry_of_fakes(cert):
    with FakeImap("old") as old, FakeImap("new") as new, \
            standing({"old": backend(old, "imap"), "new": backend(new, "imap")}, cert) as made:
        made.old = old
        yield made


def doctor(ferry):
    """Exit status, and of each thing that was looked at the worst level and the texts."""
    status, answer = ferry.ctl("doctor")
    found = {}
    for c in answer["checks"]:
        found.setdefault(c["of"], []).append((c["level"], c["text"], c["advice"]))
    assert status == (1 if any(c["level"] == "error" for c in answer["checks"]) else 0)
    return status, found


def levels(found, of):
    return {level for level, _, _ in found.get(of, [])}


def texts(found, of):
    return " ".join(text for _, text, _ in found.get(of, []))


def test_what_does_not_run_and_what_is_overdue(ferry):
    redis = ferry.redis.client()
    status, found = doctor(ferry)
    assert status == 1 and levels(found, "proxies") == levels(found, "migrators") == {"error"}, found
    assert levels(found, "clock") == {"ok"} and "redis" in found and "old" in found, "all that check looks at, too"
    proxy, migrator = ferry.proxy(), ferry.migrator()
    net.wait_until("both are known", lambda: redis.hlen("imapferry:proxies") and redis.hlen("imapferry:migrators"))
    _, found = doctor(ferry)
    assert levels(found, "proxies") == levels(found, "migrators") == {"ok"}, found
    assert not {"late watch", "hooks", "pause", "accounts"} & set(found), found

    migrator.stop()  # it would see to what is due
    redis.zadd("imapferry:hooks", {"flip\n3\nold\nnew\nann": 1})
    redis.hset("imapferry:waves", mapping={"pilot:paused": 1, "rest:paused": 0, "pilot:today": 1})
    redis.hset("imapferry:counts", mapping={"state:blocked": 2, "state:backoff": 1})
    assert ferry.ctl("pause", "--reason", "lunch")[0] == 0
    redis.zadd("imapferry:late", {"ann": 1})
    status, found = doctor(ferry)
    assert status == 1 and levels(found, "hooks") == levels(found, "late watch") == {"error"}, found
    assert levels(found, "pause") == {"warning"} and ": lunch" in texts(found, "pause")
    assert "the wave pilot is paused" in texts(found, "pause") and "rest" not in texts(found, "pause")
    assert levels(found, "accounts") == {"warning"} and texts(found, "accounts").startswith("3 accounts")
    assert all(advice for lines in found.values() for level, _, advice in lines if level != "ok"), found
    assert ferry.ctl("resume")[0] == 0
    redis.delete("imapferry:late", "imapferry:hooks", "imapferry:waves")
    proxy.stop()


class Doveadm(http.server.BaseHTTPRequestHandler):
    """Its HTTP API, with a clock of its own."""

    behind = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(200)
        self.send_header("Date", email.utils.formatdate(time.time() - Doveadm.behind, usegmt=True))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args):
        pass


def test_clocks_and_quotas_of_servers(make_ferry, tmp_path):
    key = tmp_path / "doveadm.key"
    key.write_text("secret\n")
    key.chmod(0o600)
    with FakeImap("old") as old, FakeImap("new", capabilities=CAPABILITIES + " QUOTA") as new, FakeImap("other") as other, \
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doveadm) as clock:
        threading.Thread(target=clock.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{clock.server_address[1]}/doveadm/v1"
        ferry = make_ferry({"old": backend(old, "imap"), "new": backend(new, "imap", doveadm_url=url, doveadm_key_file=str(key)),
                            "other": backend(other, "imap")}, {'rule "*@other.example"': {"source": "old", "target": "other"}})
        for behind, level, said in ((0, "ok", "have the same time"), (30, "warning", "s behind"), (-30, "warning", "s ahead of"), (3600, "error", "s behind")):
            Doveadm.behind = behind
            _, found = doctor(ferry)
            assert [lev for lev, text, _ in found["new"] if "its clock" in text] == [level] and said in texts(found, "new"), found
        assert "it tells quotas" in texts(found, "new") and "it tells no quotas" in texts(found, "other"), found
        assert "quotas" not in texts(found, "old") + str(ferry.ctl("check")), "nobody goes there"
        clock.shutdown()


def direct(ferry):
    status, answer = ferry.ctl("doctor", "--without-proxy")
    assert status == (0 if not answer["would_notice"] and not answer["unmoved"] else 4), answer
    return status, answer


def test_who_would_notice_if_the_proxy_went(ferry):
    assert direct(ferry)[0] == 0, "nobody has a record"
    user, stays = new_user("seen"), new_user("stays")
    for x in (user, stays):
        ferry.old.add(x, "INBOX", LETTER)
        ferry.old.add(x, "Sent Items", LETTER)
    migrator = ferry.migrator()
    assert ferry.ctl("hold", stays)[0] == 0
    status, answer = direct(ferry)
    assert status == 4 and (answer["unmoved"], answer["would_notice"], answer["would_not"]) == (1, 0, 0), answer
    assert ferry.ctl("migrate", user)[0] == 0
    ferry.wait_state(user, "settled")
    assert ferry.ctl("forget", stays)[0] == 0
    status, answer = direct(ferry)
    view = ferry.route(user)["view"]
    assert not view.startswith("1="), "what this is about: the fake gives other numbers"
    account, = answer["accounts"]
    assert (status, answer["would_notice"], account["user"]) == (4, 1, user), answer
    assert {m["mailbox"] for m in account["mailboxes"]} <= {"INBOX", "Sent Items"} and account["mailboxes"], account
    assert all(m["tier"] in ("T0", "T1", "T2", "T3") and m["change"] for m in account["mailboxes"]), account
    out = ferry.ctl_raw("doctor", "--without-proxy")
    assert out[0] == 4 and user in out[1] and "INBOX" in out[1] and "the proxy is needed" in out[1], out
    # Of whom nothing is rewritten.
    ferry.redis.client().hset(f"imapferry:route:{user}", "view", "1=:0")
    status, answer = direct(ferry)
    assert (status, answer["would_not"], answer["accounts"]) == (0, 1, []), answer
    migrator.stop()
