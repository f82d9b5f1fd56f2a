"""The HTTP API: who may ask, what is asked wrongly, what changes, and whether it is what openapi.json says."""
import contextlib
import csv
import fcntl
import http.client
import io
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness import net
from harness.api import Api, Description, write_tokens
from harness.daemon import program

DESCRIPTION = Description()
HOSTILE = ["", " ", "\x00", "\u202e", "a\r\nX: y", "'", '"', "%00", "%", "../../etc/passwd", "\U0001f600", "x" * 3000, "-1", "0",
           "501", "18446744073709551616", "1e9", "null", "[]", "{}", "<script>alert(1)</script>", "held:held 1 ann", "*"]
VALUES = [None, True, 0, -1, 1e300, "", "x", "\u0000", "\n", "x" * 3000, [], [1], ["INBOX:1"], [""] * 1001, {}, {"a": []}]


@pytest.fixture
def ferry(make_ferry):
    """Servers are not asked for anything: nothing of this is about mail."""
    made = make_ferry({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}},
                      {"migration": {"trigger": "manual"}})
    made.source_may_change = True
    return made


@pytest.fixture
def api(ferry):
    return Api(ferry)


def check_conf(ferry):
    return subprocess.run([program("imapferry-migrator"), "-c", ferry.config("check"), "--check-conf"], capture_output=True, text=True, check=False)


# ---- who may ask

def test_who_may_ask_for_what(api):
    assert api.call("me", role="read") == (200, {
        "name": "read-name", "role": "read", "version": "0.1.0", "source": "old", "target": "new", "trigger": "manual",
        "cutover": "immediate", "backends": ["old", "new"], "rules": [], "kinds": api.call("me")[1]["kinds"]})
    assert "too_large" in [k["kind"] for k in api.call("me")[1]["kinds"]] and "missing" not in [k["kind"] for k in api.call("me")[1]["kinds"]]
    assert api.call("me")[1]["role"] == "operator"
    status, data = api.call("pause", {"reason": "x"}, role="read")
    assert status == 403 and "look" in data["error"] and not api.call("status")[1]["paused"]
    assert api.call("pause", {"reason": "x"})[0] == 200 and api.call("status")[1]["paused"]
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}, {"Cookie": f"token={api.tokens['operator']}"}):
        status, body, answer = api.raw("GET", "/api/v1/status", headers=headers)
        assert status == 401 and answer["www-authenticate"].startswith("Bearer") and b"accounts" not in body
    assert api.raw("GET", "/api/v1/status?token=" + api.tokens["read"])[0] == 401


def test_one_wave_is_paused(ferry):
    ferry.settings['wave "pilot"'] = {"accounts": ["*@example.org"]}
    api = Api(ferry)

    def told():
        status = api.call("status")[1]
        return status["paused"], [(w["wave"], w["paused"], w["paused_by"], w["paused_reason"]) for w in status["waves"]]
    assert api.call("pause", {"reason": "too many", "wave": "pilot"})[0] == 200
    assert told() == (False, [("pilot", True, "token operator-name", "too many")])
    status, answer = api.call("pause", {"reason": "x", "wave": "none"})
    assert 400 <= status < 500 and "none" in answer["error"], answer
    assert api.call("resume", {"reason": "go on", "wave": "pilot"})[0] == 200
    assert told() == (False, [("pilot", False, "", "")])
    assert [e["reason"] for e in api.call("audit")[1]["audit"]] == ["go on", "too many"]


def test_wrong_tokens_are_put_off_and_keep_nobody_out(api):
    """Staff come from the same address as who guesses, where they come by a tunnel or a web server."""
    wrong = api.tokens["read"][:-1] + ("0" if api.tokens["read"][-1] != "0" else "1")
    answers = [api.call("status", token=wrong)[0] for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    status, _, headers = api.raw("GET", "/api/v1/status", headers={"Authorization": "Bearer " + wrong})
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 61
    assert api.call("status")[0] == 200 and api.call("pause", {"reason": "now"})[0] == 200
    log = "\n".join(x for x in api.migrator.lines if x)
    assert log.count("event=api_refused") == 10 and wrong not in log and api.tokens["read"] not in log
    assert api.raw("GET", "/")[0] == 200, "the page itself holds nothing"


def test_one_token_does_not_ask_without_end(api):
    host, port = api.host.split(":")
    text = f"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.tokens['read']}\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as s:
        threading.Thread(target=s.sendall, args=(((text + "\r\n") * 1999 + text + "Connection: close\r\n\r\n").encode(),), daemon=True).start()
        said = b"".join(iter(lambda: s.recv(65536), b""))
    heard, put_off = said.count(b"HTTP/1.1 200 "), said.count(b"HTTP/1.1 429 ")
    assert heard >= 600 and put_off > 0 and heard + put_off == 2000 and b"Retry-After: 1" in said, (heard, put_off)
    assert api.call("status")[0] == 200, "of another token"


@pytest.mark.parametrize("host,status", [("localhost:8025", 200), ("127.0.0.1", 200), ("[::1]:8025", 200), ("LOCALHOST", 200),
                                         ("ferry.example.org:443", 200), ("evil.example", 421), ("localhost.evil.example", 421), ("", 421),
                                         ("[::1", 421), ("1.2.3.4.evil.example", 421)])
def test_no_other_name_leads_here(ferry, host, status):
    """Else a name of somebody else that leads to this address lets their page ask (DNS rebinding)."""
    api = Api(ferry, names=["ferry.example.org"])
    headers = {"Host": host, "Authorization": "Bearer " + api.tokens["read"]}
    assert [api.raw("GET", path, headers=headers)[0] for path in ("/api/v1/status", "/")] == [status, status]


def test_no_other_site_may_ask(api):
    def ask(site, mode, path="/api/v1/pause", method="POST"):
        return api.raw(method, path, '{"reason": "x"}' if method == "POST" else None, {
            "Authorization": "Bearer " + api.tokens["operator"], "Content-Type": "application/json", "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})
    for site in ("cross-site", "same-site"):
        assert ask(site, "cors")[0] == ask(site, "navigate")[0] == 403
        assert ask(site, "navigate", "/", "GET")[0] == 200 and ask(site, "no-cors", "/page.js", "GET")[0] == 403
    assert not api.call("status")[1]["paused"] and ask("same-origin", "cors")[0] == 200
    status, _, headers = api.raw("OPTIONS", "/api/v1/pause", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    assert status == 405 and not any(h.startswith("access-control") for h in headers)
    assert "set-cookie" not in api.raw("GET", "/")[2]


def test_a_form_of_another_site_is_no_json(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", None):
        headers = {"Authorization": "Bearer " + api.tokens["operator"], **({"Content-Type": kind} if kind else {})}
        assert api.raw("POST", "/api/v1/pause", '{"reason": "x"}', headers)[0] == 415
    assert not api.call("status")[1]["paused"]


def test_it_speaks_tls_with_a_certificate_of_its_own(ferry, cert, authority):
    api = Api(ferry, listen="https://127.0.0.1:0", tls_cert=cert[0], tls_key=cert[1])
    context = ssl.create_default_context(cafile=authority.ca)
    host, port = api.host.split(":")
    headers = {"Authorization": "Bearer " + api.tokens["read"]}
    c = http.client.HTTPSConnection(host, int(port), timeout=20, context=context)
    assert api.raw("GET", "/api/v1/me", headers=headers, connection=c)[0] == 200
    c.close()
    with pytest.raises(OSError):  # none by whom it is in clear
        plain = socket.create_connection((host, int(port)), timeout=20)
        plain.sendall(b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if b"HTTP/1.1 200" not in plain.recv(1000):
            raise OSError("refused")


def test_a_web_server_in_front_may_use_a_unix_socket(ferry):
    path = os.path.join(ferry.folder, "api.socket")
    api = Api(ferry, listen="http+unix://" + path, names=["ferry.example.org"])
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(f"GET /api/v1/me HTTP/1.1\r\nHost: ferry.example.org\r\nConnection: close\r\nAuthorization: Bearer {api.tokens['read']}\r\n\r\n".encode())
        assert s.makefile("rb").readline().startswith(b"HTTP/1.1 200")
    api.migrator.stop()
    assert not os.path.exists(path)


# ---- tokens

@pytest.mark.parametrize("text,error", [
    ("", "has no token"), ("# none\n", "has no token"), ("read ann short\n", "not 32 to 256"), ("root ann " + "x" * 40 + "\n", "neither read nor operator"),
    ("read ann\n", "not ROLE NAME TOKEN"), ("read ann " + "x" * 40 + " y\n", "not ROLE NAME TOKEN"), ("read a:n " + "x" * 40 + "\n", "a name that is not"),
    ("read ann " + "x" * 40 + "\nread ann " + "y" * 40 + "\n", "a name that stands"), ("read ann " + "x" * 40 + "\nread bob " + "x" * 40 + "\n", "a token that stands"),
    ("read ann " + "x" * 600 + "\n", "too long"), (None, "cannot be read")])
def test_a_file_of_tokens_that_is_none_is_refused(ferry, tmp_path, text, error):
    file = tmp_path / "tokens"
    if text is not None:
        file.write_text(text)
        file.chmod(0o600)
    ferry.settings["admin"] = {"listen": "http://127.0.0.1:0", "token_file": str(file)}
    run = check_conf(ferry)
    assert run.returncode == 1 and error in run.stderr and "x" * 40 not in run.stderr, run.stderr


@pytest.mark.parametrize("admin,error", [
    ({"listen": "http://0.0.0.0:8025"}, "not on this host alone"), ({"listen": "http://ferry.example.org"}, "not on this host alone"),
    ({"listen": "imap://127.0.0.1"}, "is not an address to listen on"), ({"listen": "https://0.0.0.0:1"}, "tls_cert"), ({"token_file": ""}, "token_file")])
def test_where_it_may_be_served(ferry, admin, error):
    path, _ = write_tokens(ferry.folder)
    ferry.settings["admin"] = dict({"listen": "http://127.0.0.1:0", "token_file": path}, **admin)
    run = check_conf(ferry)
    assert run.returncode == 1 and error in run.stderr, run.stderr


def test_everybody_can_read_it(ferry):
    path, _ = write_tokens(ferry.folder)
    os.chmod(path, 0o644)
    ferry.settings["admin"] = {"listen": "http://127.0.0.1:0", "token_file": path}
    run = check_conf(ferry)
    assert run.returncode == 1 and "mode 640 at most" in run.stderr, run.stderr


def test_a_reload_takes_new_tokens_or_none(api):
    before = dict(api.tokens)
    _, fresh = write_tokens(api.ferry.folder)
    api.migrator.reload()
    assert api.call("me", token=before["read"])[0] == 401 and api.call("me", token=fresh["read"])[0] == 200
    with open(api.file, "w", encoding="ascii") as f:
        f.write("nonsense\n")
    api.migrator.reload(event="reload_refused")
    assert api.call("me", token=fresh["read"])[0] == 200


# ---- what changes

def test_what_staff_do_stands_in_the_audit(api):
    steps = [("account/migrate", {}, "queued"), ("account/hold", {}, "held"), ("account/release", {}, None), ("account/forget", {}, None)]
    assert api.call("pause", {"reason": "because of pause"})[0] == 200  # else the migrator begins with it
    for verb, body, state in steps:
        status, data = api.call(verb, {"user": "ann", "reason": f"because of {verb}", **body})
        assert status == 200 and data["user"] == "ann" and (state is None or data["state"] == state), (verb, data)
    assert api.call("resume", {"reason": "because of resume"})[0] == 200
    audit = api.call("audit")[1]["audit"]
    assert {e["who"] for e in audit} == {"token operator-name"}
    assert [e["reason"] for e in audit] == [f"because of {v}" for v in ("resume", "account/forget", "account/release", "account/hold", "account/migrate", "pause")]
    assert [e["reason"] for e in api.ferry.ctl("audit")[1]["audit"]] == [e["reason"] for e in audit]
    api.migrator.wait(r"event=api_change .*path=/api/v1/account/hold user=ann status=200")


@pytest.mark.parametrize("reason", [None, "", "   ", "x" * 501, "a\nb", 5])
def test_each_change_needs_a_reason(api, reason):
    body = {"user": "ann"} if reason is None else {"user": "ann", "reason": reason}
    status, data = api.call("account/hold", body)
    assert status == 400 and "reason" in data["error"] and api.ferry.route("ann") == {}


def test_it_answers_as_imapferryctl_does(api):
    assert api.call("account", user="nobody")[0] == 404 and api.call("account/audit", user="nobody")[0] == 404
    assert api.call("account/release", {"user": "nobody", "reason": "x"})[0] == 409
    assert api.call("account/hold", {"user": "Ann@X", "reason": "x"})[1]["user"] == "ann@x"
    status, data = api.call("account", user="ann@x")
    expected = api.ferry.ctl("user", "ann@x")[1]
    data.pop("time"), expected.pop("time")
    assert status == 200 and data == expected
    assert api.call("account/flip", {"user": "ann@x", "to": "nowhere", "reason": "x"})[0] == 400
    status, data = api.call("account/waive", {"user": "ann@x", "keys": ["too_larg"], "reason": "x"})
    assert status == 400 and 'did you mean "too_large"' in data["error"]
    assert api.call("account/waive", {"user": "ann@x", "keys": ["too_large"], "reason": "he knows"})[0] == 200
    assert [w["key"] for w in api.call("account/report", user="ann@x")[1]["waivers"]] == ["too_large"]


def test_accounts_of_one_reason_are_tried_again_together(api):
    redis = api.ferry.redis.client()
    for user, state, reason in (("ann", "blocked", "cannot: x"), ("bob", "blocked", "quota: x"), ("carl", "backoff", "unreachable: x")):
        redis.hset(f"imapferry:route:{user}", mapping={"backend": "old", "state": state, "epoch": 3, "generation": 1, "reason": reason, "source": "old", "target": "new"})
    api.ferry.ctl("pause")
    api.ferry.ctl("recount")
    groups = {(g["state"], g["reason"]): g["accounts"] for g in api.call("groups")[1]["groups"]}
    assert groups == {("blocked", "cannot"): 1, ("blocked", "quota"): 1, ("backoff", "unreachable"): 1}
    assert api.call("retry", {"state": "blocked", "word": "quota", "reason": "more room"})[1]["queued"] == 1
    assert [a["user"] for a in api.call("accounts", state="queued")[1]["accounts"]] == ["bob"]
    assert api.call("audit")[1]["audit"][0]["what"] == "retry --all --state blocked --why quota"
    assert api.call("retry", {"state": "nonsense", "reason": "x"})[0] == 400


def test_without_redis_it_says_so_and_comes_back(api):
    since = api.migrator.mark()
    api.ferry.redis.kill()
    api.migrator.wait(r"event=store .*state=down", since=since)
    assert api.call("status")[0] == 503 and api.call("account/hold", {"user": "ann", "reason": "x"})[0] == 503
    assert api.raw("GET", "/")[0] == 200
    api.ferry.redis.start()
    api.migrator.wait(r"event=store .*state=up", since=since)
    assert api.call("status")[0] == 200


# ---- events as they come

def read_events(response, wanted, seconds=20):
    """Reads until all of these have come. -> {event: the last data}"""
    found, name, until = {}, "", time.monotonic() + seconds
    while not wanted <= set(found):
        assert time.monotonic() < until, found.keys()
        line = response.readline().decode().rstrip("\r\n")
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            found[name] = json.loads(line[5:])
    return found


def test_events_come_as_they_happen(api):
    connections = [api.connect() for _ in range(2)]
    streams = []
    for c in connections:
        c.request("GET", "/api/v1/live", headers={"Authorization": "Bearer " + api.tokens["read"]})
        streams.append(c.getresponse())
        assert streams[-1].status == 200 and streams[-1].getheader("Content-Type").startswith("text/event-stream")
    names = {"status", "groups", "events", "copying", "preparing", "freezing", "flipping"}
    for s in streams:
        first = read_events(s, names)
        for event, schema in (("status", "Status"), ("groups", "Groups"), ("events", "Events"), ("copying", "Page")):
            assert not list(DESCRIPTION.faults(first[event], {"$ref": f"#/components/schemas/{schema}"}))
    assert api.call("account/hold", {"user": "ann", "reason": "x"})[0] == 200
    for s in streams:
        later = read_events(s, {"groups", "events"})
        assert later["groups"]["groups"][0]["state"] == "held" and later["events"]["events"][0]["user"] == "ann"
    connections[0].close()
    assert api.call("account/release", {"user": "ann", "reason": "x"})[0] == 200
    assert read_events(streams[1], {"groups"})["groups"]["groups"] == []
    api.migrator.stop()
    connections[1].close()


# ---- the description

def values_of(schema):
    """Some that are right."""
    schema = DESCRIPTION.resolve(schema)
    if "enum" in schema:
        return schema["enum"][:2]
    return {"string": ["ann"], "boolean": [True, False], "integer": [max(1, schema.get("minimum", 1))], "array": [["too_large"]]}[schema["type"]]


def cases_of_query(operation):
    for parameter in operation.get("parameters", []):
        for bad in HOSTILE:
            yield {parameter["name"]: bad}
            yield {"user": "ann", parameter["name"]: bad}
    good = {p["name"]: values_of(p["schema"])[0] for p in operation.get("parameters", [])}
    yield good
    yield {}


def cases_of_body(operation):
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    if "example" in content:
        yield content["example"]
    good = {name: "new" if name == "to" else values_of(s)[0] for name, s in schema["properties"].items() if name != "force"}
    yield good
    for name, value in itertools.product(schema["properties"], VALUES):
        yield {**good, name: value}
    for name in good:
        yield {k: v for k, v in good.items() if k != name}
    yield {**good, "unknown": 1}
    for text in ("", "{", "[]", "null", "5", '"x"', '{"a":1,"a":2}', '{"user":"\\u0000"}', "[" * 5000, '{"reason":"\xff"}', '{"reason": 1e999}', "{} {}"):
        yield text


def test_the_description_is_served(api):
    status, body, headers = api.raw("GET", "/api/openapi.json")
    assert status == 200 and json.loads(body) == DESCRIPTION.all and headers["content-type"] == "application/json"


def test_each_call_of_the_program_is_described():
    source = os.path.join(os.path.dirname(__file__), "..", "..", "migrator", "api")
    found = set()
    for name in ("api_calls.c", "api_live.c", "api_look.c", "api_list.c", "api_survey.c"):
        with open(os.path.join(source, name), encoding="utf-8") as f:
            found |= set(re.findall(r'"(GET|POST)", "(/api/v1/[^"]+)"', f.read()))
    assert found == {(method, path) for method, path, _ in DESCRIPTION.operations()}


@pytest.mark.parametrize("method,path", [(m, p) for m, p, _ in DESCRIPTION.operations() if not p.endswith("/live")])
def test_answers_are_as_described(api, method, path):
    """Each parameter and each field with values that are right, wrong and hostile: an answer is of the schema, and none is a
    failure of the server."""
    operation = DESCRIPTION.all["paths"][path][method.lower()]
    assert api.call("account/hold", {"user": "held", "reason": "x"})[0] == 200
    connection, seen = api.connect(), set()
    for case in cases_of_query(operation) if method == "GET" else cases_of_body(operation):
        name = path.removeprefix("/api/v1/")
        if method == "GET":
            status, data = api.call(name, connection=connection, **case)
        else:
            status, data = api.call(name, case if not isinstance(case, str) else case.encode("latin-1"), connection=connection)
        faults = list(DESCRIPTION.answer_faults(operation, status, data))
        assert not faults and status < 500, (case, status, data, faults)
        seen.add(status)
    assert seen & {200, 404, 409}, "something was right"
    assert seen == {200} or 400 in seen, "something was wrong"


# ---- looks that take long

def looked(api, seconds=30):
    """The last look, once it has ended."""
    def ended():
        status, answer = api.call("look", role="read")
        assert status == 200, answer
        return not answer["running"] and answer
    return net.wait_until("end of the look", ended, timeout=seconds, step=0.05)  # a token has 100 calls a second


def test_one_look_at_a_time_and_by_operators(api):
    """So nobody has a migrator go through all accounts again and again."""
    redis = api.ferry.redis.client()
    for i in range(30):
        redis.hset(f"imapferry:route:user{i}@example.org", mapping={"backend": "old", "state": "blocked", "epoch": "1", "generation": "1", "reason": "cannot: x"})
    assert api.call("look", role="read")[1]["what"] is None
    status, answer = api.call("look", {"what": "retire", "to": "old"}, role="read")
    assert status == 403 and "look" in answer["error"] and api.call("look")[1]["what"] is None
    for body in ({"what": "x"}, {"what": "retire"}, {"what": "retire", "to": "none"}, {"what": "doctor", "reason": "x"}, {}):
        assert api.call("look", body)[0] == 400, body
    redis.client_pause(2000)
    status, answer = api.call("look", {"what": "retire", "to": "old"})
    assert status == 200 and answer["running"] and answer["verdict"] is None and answer["who"] == "token operator-name"
    status, answer = api.call("look", {"what": "without-proxy"})
    assert status == 409 and "operator-name" in answer["error"] and "retire" in answer["error"]
    answer = looked(api)
    assert (answer["verdict"], answer["backend"], answer["looked_at"]) == ("bad", "old", 30) and "must stay" in answer["result"], answer
    status, said = api.ferry.ctl("retire", "old")
    assert status == 4 and [c["text"] for c in said["checks"]] == [c["text"] for c in answer["checks"]]
    api.migrator.wait(r"event=api_look .*what=retire verdict=bad")
    assert api.call("look", {"what": "without-proxy"})[0] == 200
    answer = looked(api)
    assert answer["what"] == "without-proxy" and answer["verdict"] == "bad" and any("30 accounts" in c["text"] for c in answer["checks"]), answer
    assert not list(DESCRIPTION.faults(answer, {"$ref": "#/components/schemas/Look"}))


def test_a_doctor_by_the_api(api):
    assert api.call("look", {"what": "doctor"})[0] == 200
    answer = looked(api, 60)
    found = {(c["of"], c["level"]) for c in answer["checks"]}
    assert answer["verdict"] == "bad" and {("old", "error"), ("new", "error"), ("clock", "ok"), ("proxies", "error")} <= found, answer
    assert api.call("look", {"what": "doctor"})[0] == 200


@pytest.mark.parametrize("what", ["retire", "doctor"])
def test_a_look_holds_up_no_stop(api, what):
    api.ferry.redis.client().client_pause(1500)
    assert api.call("look", {"what": what, "to": "old"})[0] == 200
    api.migrator.stop()


@pytest.mark.parametrize("what", [{"what": "report"}, {"what": "plan", "user": "ann"}])
def test_nor_does_a_survey_or_a_change_of_many(api, what):
    api.ferry.redis.client().client_pause(1500)
    assert api.call("look", what)[0] == api.call("survey", {"names": "ann\nbob"})[0] == 200
    host, port = api.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as s:
        body = b'{"names": "ann", "reason": "x"}'
        s.sendall(f"POST /api/v1/migrate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.tokens['operator']}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert api.call("look")[1]["running"]
        api.migrator.stop()


# ---- what strangers can take

def test_a_large_body_is_refused(api):
    status, _, _ = api.raw("POST", "/api/v1/pause", b'{"reason": "' + b"x" * 400000 + b'"}',
                           {"Authorization": "Bearer " + api.tokens["operator"], "Content-Type": "application/json"})
    assert status == 413 and not api.call("status")[1]["paused"]


def test_slow_ones_hold_up_nobody(api):
    host, port = api.host.split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for s in slow:
        s.sendall(b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    assert api.call("status")[0] == 200
    for s in slow:
        s.close()


def test_those_who_say_nothing_keep_nobody_out(api):
    """Whoever can connect could take all places, from the same address as staff behind a tunnel."""
    host, port = api.host.split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(100)]
    for s in held[::2]:
        s.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost:")
    assert api.call("status")[0] == 200
    connections = [api.connect() for _ in range(40)]
    for c in connections:  # and they keep theirs for as long as nobody needs the places
        assert api.raw("GET", "/", connection=c)[0] == 200
    assert api.call("status")[0] == 200
    for s in held + connections:
        s.close()


NONSENSE = [
    b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET http://evil.example/api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 4000, b"GET " + b"/" * 40000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500]


def test_nonsense_harms_nobody(api):
    """Also of one who closes its side, or resets, and reads nothing."""
    host, port = api.host.split(":")
    held = []
    for text in NONSENSE * 3:
        s = socket.create_connection((host, int(port)), timeout=20)
        with contextlib.suppress(OSError):
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
        held.append(s)
        assert api.call("status")[0] == 200
    assert not api.call("status")[1]["paused"]
    for s in held:
        s.close()
    api.migrator.stop()


def test_each_answer_tells_browsers_to_be_careful(api):
    for path in ("/", "/page.js", "/page.css", "/picture.js", "/icon.svg", "/api/openapi.json"):
        status, _, headers = api.raw("GET", path)
        policy = headers["content-security-policy"]
        assert status == 200 and headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy
    _, _, headers = api.raw("GET", "/api/v1/status", headers={"Authorization": "Bearer " + api.tokens["read"]})
    assert headers["cache-control"] == "no-store" and headers["content-security-policy"].startswith("default-src 'none'")


# ---- many accounts

NAMES = ['=cmd|"/c calc"!A1@x', "@sum(1)@x", "a,b;c@x", "<b>ann</b>@x", "plain@y"]
ROUTE = {"backend": "old", "state": "blocked", "epoch": "1", "generation": "1", "source": "old", "target": "new", "messages_done": "5", "messages_total": "10"}


def plant(api, users, reason="cannot: x", **more):
    redis = api.ferry.redis.client()
    pipe = redis.pipeline(transaction=False)
    for user in users:
        pipe.hset(f"imapferry:route:{user}", mapping={**ROUTE, "reason": reason, **more})
    pipe.execute()
    return redis


def key(name):
    return "".join(c if c.isalnum() or c in "@._-+=" else f"%{ord(c):02X}" for c in name)


def test_waive_of_many_counts_first_and_may_be_said_again(api):
    redis = plant(api, ["ann@x", "bob@x", "carl@y", "dora@x"])
    assert api.call("pause", {"reason": "x"})[0] == 200
    for user, findings in (("ann@x", {"too_large": {"open": 3}}), ("bob@x", {"too_large": {"open": 1}, "refused": {"open": 1}}), ("carl@y", {"too_large": {"open": 2}}), ("dora@x", {"refused": {"open": 2}})):
        redis.set(f"imapferry:report:{user}", json.dumps({"findings": findings}))
    body = {"keys": ["too_large"], "domain": "x", "reason": "they know"}
    assert api.call("waive", {**body, "yes": True}, role="read")[0] == 403
    status, answer = api.call("waive", body)
    assert status == 409 and (answer["accounts"], answer["findings"]) == (2, 4), (status, answer)
    assert api.ferry.route("ann@x")["state"] == "blocked" and len(api.call("audit")[1]["audit"]) == 1
    for bad in ({"keys": []}, {"keys": ["missing"]}, {"keys": ["INBOX:1"]}, {"rule": "none"}, {"backend": "none"}, {"remove": True}, {"user": "ann@x"}, {"yes": 1}):
        assert api.call("waive", {**body, "yes": True, **bad})[0] == 400, bad
    status, answer = api.call("waive", {**body, "yes": True})
    assert (status, answer["accounts"], answer["findings"]) == (200, 2, 4), answer
    assert [api.ferry.route(u)["state"] for u in ("ann@x", "bob@x", "carl@y", "dora@x")] == ["queued", "queued", "blocked", "blocked"]
    entry = api.call("audit")[1]["audit"][0]
    assert (entry["who"], entry["what"], entry["reason"], entry["after"]) == ("token operator-name", "waive --all too_large --domain x", "they know", "2 waived")
    assert [w["key"] for w in api.call("account/report", user="ann@x")[1]["waivers"]] == ["too_large"]
    status, answer = api.call("waive", {**body, "yes": True})
    assert (status, answer["accounts"]) == (200, 0), "it may be said again"


def test_one_change_of_many_accounts_at_a_time(api):
    """So two operators do not go through all accounts against each other, and a program that has gone wild does not."""
    redis = plant(api, ["ann@x"])
    redis.client_pause(2000)
    answers = []
    calls = [threading.Thread(target=lambda n=n, b=b: answers.append(api.call(n, b))) for n, b in (
        ("waive", {"keys": ["too_large"], "reason": "x"}), ("retry", {"reason": "x"}), ("migrate", {"names": "eve@x", "reason": "x"}))]
    for c in calls:
        c.start()
    for c in calls:
        c.join()
    assert sorted(status for status, _ in answers) == [200, 409, 409], answers
    assert all("token operator-name changes many accounts" in a["error"] for status, a in answers if status == 409)
    assert api.call("migrate", {"names": "eve@x", "reason": "x"})[0] == api.call("retry", {"reason": "x"})[0] == 200


def test_a_report_of_many_is_taken_away(api):
    """As on the terminal; names are text there too, in CSV as well."""
    plant(api, [key(name) for name in NAMES], reason="cannot: =1+1, <b>x</b>")
    assert api.call("look/report", format="csv")[0] == 404
    assert api.call("look", {"what": "report"}, role="read")[0] == 403
    for bad in ({"user": "ann"}, {"names": "ann"}, {"domain": 5}, {"domain": "x" * 3000}, {"domain": "a\nb"}):
        assert api.call("look", {"what": "report", **bad})[0] == 400, bad
    assert api.call("look", {"what": "report", "rule": "none"})[0] == 200 and looked(api)["verdict"] == "failed"
    status, answer = api.call("look", {"what": "report", "domain": "x", "state": "blocked"})
    answer = looked(api)
    assert status == 200 and answer["verdict"] == "good" and answer["looked_at"] == 4, answer
    assert answer["report"]["scope"] == {"domain": "x", "state": "blocked"} and answer["report"]["accounts"] == 4
    read = {"Authorization": "Bearer " + api.tokens["read"]}
    found = {}
    for form, kind in (("csv", "text/csv; charset=utf-8"), ("text", "text/plain; charset=utf-8"), ("json", "application/json")):
        status, found[form], headers = api.raw("GET", "/api/v1/look/report?format=" + form, headers=read)
        assert status == 200 and headers["content-type"] == kind and headers["content-disposition"].startswith("attachment") and headers["content-security-policy"].startswith("default-src 'none'")
    assert len(found["csv"]) == answer["report"]["csv"]
    rows = list(csv.reader(io.StringIO(found["csv"].decode(), newline="")))
    assert sorted(r[0] for r in rows[1:]) == sorted("'" * (n[0] in "=@") + key(n) for n in NAMES[:4]) and {r[4] for r in rows[1:]} == {"cannot: =1+1, <b>x</b>"}
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")], "a spreadsheet takes none for a formula"
    said = api.ferry.ctl_raw("report", "--domain", "x", "--state", "blocked", "--format", "csv")[1]
    assert sorted(said.splitlines()) == sorted(found["csv"].decode().replace("\r\n", "\n").splitlines())
    terminal, text = (t.split("\n", 1)[1] for t in (api.ferry.ctl_raw("report", "--domain", "x", "--state", "blocked")[1], found["text"].decode()))
    assert terminal == text and "ACCOUNTS" in text
    assert not list(DESCRIPTION.faults(json.loads(found["json"]), {"$ref": "#/components/schemas/Report"}))
    assert api.raw("GET", "/api/v1/look/report?format=xls", headers=read)[0] == 400 and api.raw("GET", "/api/v1/look/report")[0] == 401
    assert api.call("look", {"what": "retire", "to": "old"})[0] == 200 and looked(api)["report"] is None
    assert api.call("look/report", format="csv")[0] == 404, "the next look took its place"


def test_who_leaves_in_the_middle_of_a_csv_harms_nobody(api):
    plant(api, [f"{'x' * 60}{i}@x" for i in range(8000)], reason="cannot: " + "y" * 120)
    assert api.call("look", {"what": "report"})[0] == 200 and looked(api)["looked_at"] == 8000
    host, port = api.host.split(":")
    ask = f"GET /api/v1/look/report?format=csv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.tokens['read']}\r\n\r\n".encode()
    gone = [socket.create_connection((host, int(port)), timeout=20) for _ in range(5)]
    for s in gone:
        s.sendall(ask)
        assert b"200 OK" in s.recv(300)
    assert api.call("look", {"what": "doctor"})[0] == 200, "what they take is there until they have it"
    for s in gone[1:]:
        s.close()
    with gone[0] as s:
        body = b""
        while body.count(b"\r\n") < 7990:
            body += s.recv(1 << 20)
    assert api.call("me")[0] == 200


def test_a_list_of_accounts(api):
    assert api.call("pause", {"reason": "x"})[0] == 200
    plant(api, ["held@x"], state="held")
    names = "# all of them\nann@x\n\nbob@x\nann@x\nheld@x\n"
    assert api.call("migrate", {"names": names, "reason": "x"}, role="read")[0] == 403
    for bad in ({"names": ""}, {"names": 5}, {"to": "none"}, {"reason": ""}):
        assert api.call("migrate", {"names": names, "reason": "now", **bad})[0] == 400, bad
    status, answer = api.call("migrate", {"names": names + "root:x:0:0:root:/root:/bin/sh\n", "reason": "now"})
    assert status == 409 and (answer["queued"], answer["refused"], answer["twice"], answer["bad"]) == (2, 1, 1, 1), answer
    assert {p["line"] for p in answer["problems"]} == {5, 6, 7}
    assert api.ferry.route("ann@x")["state"] == "queued" and api.call("audit")[1]["audit"][0]["what"] == "migrate --all"
    status, answer = api.call("migrate", {"names": "ann@x\nbob@x", "reason": "now"})
    assert status == 200 and (answer["queued"], answer["under_way"]) == (0, 2), "it may be said again"
    status, answer = api.call("look", {"what": "retire", "to": "old", "names": "ann@x\nnew.one@x\nnew.two@x"})
    answer = looked(api)
    others = next(c for c in answer["checks"] if c["of"] == "others")
    assert answer["listed"] == 3 and others["accounts"] == 2 and others["examples"] == ["new.one@x", "new.two@x"] and "2 of the 3 accounts" in others["text"], answer
    status, answer = api.call("look", {"what": "retire", "to": "old", "names": "ann@x\nroot:x:0:0:root:/root:/bin/sh"})
    assert status == 400 and "line 2" in answer["error"] and not api.call("look")[1]["running"]


def announce(api, path, length, token):
    """-> the status of what is said to a client that has told how long its body is, and sent none of it."""
    with contextlib.closing(api.connect()) as c:
        c.putrequest("POST", "/api/v1/" + path)
        for name, value in (("Content-Length", str(length)), ("Content-Type", "application/json"), ("Expect", "100-continue"), ("Authorization", "Bearer " + token)):
            c.putheader(name, value)
        c.endheaders()
        return int(c.sock.makefile("rb").readline().split()[1])


def test_a_large_list_is_an_operators_alone(api):
    """Whoever can connect would have the migrator keep it in memory before anybody asked who they are."""
    body = json.dumps({"names": "\n".join(f"user{i}@example.org" for i in range(40000)), "reason": "x", "to": "nowhere"})
    assert 256 << 10 < len(body) < 8 << 20
    assert api.call("migrate", body)[1]["error"].startswith('"to"')
    operator, read = api.tokens["operator"], api.tokens["read"]
    assert [announce(api, path, size, token) for path, size, token in (
        ("migrate", len(body), operator), ("look", len(body), operator), ("survey", len(body), operator), ("migrate", len(body), read), ("migrate", len(body), "x" * 40),
        ("account/hold", len(body), operator), ("migrate", 9 << 20, operator), ("migrate", 10**30, operator))] == [100] * 3 + [413] * 5


# ---- plans of many

def surveyed(api, done=lambda s: not s["running"] and not s["adding"]):
    def asked():
        status, answer = api.call("survey", role="read")
        assert status == 200 and not list(DESCRIPTION.faults(answer, {"$ref": "#/components/schemas/Survey"})), answer
        return done(answer) and answer
    return net.wait_until("survey", asked, timeout=60, step=0.1)


def test_a_survey_goes_on_after_a_stop_and_a_restart(ferry):
    """Of accounts that live elsewhere, which is known without any server."""
    api = Api(ferry)
    assert surveyed(api)["result"] is None
    users = [f"user{i}@x" for i in range(8)]
    plant(api, users, backend="new", state="settled", reason="")
    names = "\n".join(users + users[:1])
    assert api.call("survey", {"names": names}, role="read")[0] == 403
    for bad in ({"names": ""}, {"names": "# none"}, {}, {"names": names, "pause_ms": -1}, {"names": names, "pause_ms": 4000000}, {"names": names, "pause_ms": "1"}, {"names": names, "reason": "x"}):
        assert api.call("survey", bad)[0] == 400, bad
    assert api.call("survey/stop", {})[0] == 409
    status, answer = api.call("survey", {"names": names, "pause_ms": 3600000})
    assert status == 200 and answer["running"] and (answer["accounts"], answer["bad_lines"]) == (8, 1)
    assert api.call("survey", {"names": names})[0] == api.call("survey/erase", {})[0] == 409
    assert surveyed(api, lambda s: s["done"] == 1)["running"]
    status, answer = api.call("survey/stop", {})
    assert status == 200 and not answer["running"] and answer["why"] == "token operator-name stopped it"
    result = surveyed(api)["result"]
    assert result["failed"] == [{"error": "user0@x lives on new, not on old", "accounts": 1, "examples": ["user0@x"]}]
    path = next(os.path.join(folder, "plans") for folder, _, files in os.walk(ferry.folder) if "plans" in files)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, "a", encoding="utf-8") as f:  # as by another survey, and one that a crash cut off
        f.write(json.dumps({"user": "user1@x", "mailboxes": [{"mailbox": "INBOX", "messages": 2, "bytes": 30, "tier": "T0"}], "findings": [], "blocked": False}) + '\n{"user": "us')
    api.migrator.stop()
    again = Api(ferry)
    result = surveyed(again)["result"]
    assert (result["accounts"], result["messages"]) == (1, 2) and again.call("survey")[1]["who"] is None
    status, answer = again.call("survey", {"names": names})
    answer = surveyed(again)
    assert (answer["done"], answer["before"], answer["failed"], answer["why"]) == (8, 1, 7, None), answer
    assert len(answer["result"]["failed"]) == 7 and answer["result"]["accounts"] == 1
    assert ferry.ctl("report", "--survey", path)[1]["bytes"] == 30
    with open(path, "a", encoding="utf-8") as f:  # as a survey that still writes
        fcntl.flock(f, fcntl.LOCK_EX)
        assert again.call("survey/erase", {})[0] == 200 and "still writes to it" in surveyed(again)["added_why"]
    assert os.path.getsize(path) > 0
    assert again.call("survey/erase", {})[0] == 200 and surveyed(again)["result"] is None and os.path.getsize(path) == 0
    with open(path, "w", encoding="utf-8") as f:
        f.write("ann\nbob\n")
    assert again.call("survey", {"names": names})[0] == 200 and "is no line of a survey" in surveyed(again)["why"] and open(path, encoding="utf-8").read() == "ann\nbob\n"


def test_a_group_by_the_api(api):
    users = ["api-ann@example.org", "api-bob@example.org"]
    assert api.call("sharing/make", {"group": "api office", "users": users, "reason": "x"})[0] == 400
    assert api.call("sharing/make", {"group": "api", "users": users, "reason": "x"}, role="read")[0] == 403
    status, answer = api.call("sharing/make", {"group": "api", "users": users, "reason": "they share"})
    assert status == 200 and answer["accounts"] == 2, answer
    status, answer = api.call("sharing/group", group=users[1])
    assert status == 200 and [m["user"] for m in answer["members"]] == users and answer["changed_by"] == "token operator-name", answer
    assert [g["group"] for g in api.call("sharing")[1]["sharing"]] == ["api"] and api.call("account", user=users[0])[1]["group"] == "api"
    status, answer = api.call("account/flip", {"user": users[0], "to": "new", "force": True, "yes": True, "reason": "x"})
    assert status == 409 and "group migrate api" in answer["error"], answer
    answer = api.call("sharing/migrate", {"group": "api", "reason": "x"})[1]
    assert (answer["queued"], answer["to"], sorted(answer["members"])) == (2, "new", sorted(users))
    assert api.call("sharing/drop", {"group": "api", "reason": "x"})[0] == 200 and api.call("sharing/group", group="api")[0] == 404


def test_plans_that_are_read_slower_than_the_migrator_ends(ferry):
    """Its thread still reads them when all else of the API is gone. A pipe stands for a disk that hangs."""
    api = Api(ferry)
    folder = os.path.join(ferry.folder, "journal", "survey")
    net.wait_until("folder of plans", lambda: os.path.isdir(folder))
    os.mkfifo(os.path.join(folder, "plans"), 0o600)
    assert api.call("survey", role="read")[1]["adding"]
    redis = ferry.redis.client()
    api.migrator.process.terminate()
    net.wait_until("its connections to the store are gone", lambda: all(c["addr"].endswith(".sock:0") for c in redis.client_list()))
    with open(os.path.join(folder, "plans"), "w", encoding="utf-8") as pipe:
        pipe.write('{"user": "ann@x", "mailboxes": [], "findings": [], "blocked": false}\n')
    api.migrator.stop()
