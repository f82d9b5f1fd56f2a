"""The page, in a real Chromium: what it shows of a large site, what it changes, and that names are text. Pictures of it are kept
in build/page/."""
import json
import time

import pytest

from harness import crowded, net
from harness.api import Api
from harness.browser import Browser
from harness.ferry import standing

ACCOUNTS = 5000


@pytest.fixture(scope="module")
def crowd(cert):
    """A migrator with a page, over a store with many accounts; paused."""
    settings = {"migration": {"trigger": "manual"}, 'wave "pilot"': {"accounts": ["*@pilot.example"], "per_day": 50},
                'wave "rest"': {"accounts": ["*"], "after": "2099-01-01", "share": 5}}
    with standing({"old": {"address": "imap://127.0.0.1:1"}, "new": {"address": "imap://127.0.0.1:2"}}, cert, settings) as ferry:
        crowded.plant(ferry.redis.client(), ACCOUNTS)
        api = Api(ferry)
        api.migrator.wait(r"event=accounts_counted")
        yield api


@pytest.fixture
def open_page(crowd):
    """open_page(role, ...): signed in, with the overview drawn."""
    made = []

    def start(role="operator", at="", **how):
        browser = Browser(**how)
        made.append(browser)
        browser.open(crowd.address + "/" + at)
        browser.wait("#enter")
        browser.fill("#token", crowd.tokens[role])
        browser.click("#enter-form button")
        browser.hear("#live", "live")
        return browser
    yield start
    for browser in made:
        heard = browser.heard()
        browser.close()
        assert not heard["errors"]
        assert all(url.startswith(crowd.address + "/") for url in heard["requests"]), "nothing comes from elsewhere"


def drawn(browser):
    """The overview, once all of it was told."""
    for part in ("#problems .card", "#numbers div", "#bar svg", "#graphs svg", "#waves table", "#jobs table", "#servers table", "#events li"):
        browser.wait(part)
    return browser


def no_violation(browser):
    assert browser.axe() == []


def do(browser, reason="as agreed"):
    browser.wait("#ask[open]")
    browser.fill("#ask-reason", reason)
    browser.click("#ask-yes")
    browser.wait("#ask", "hidden")
    browser.wait("#said:not(:empty)")


def test_a_wrong_token_is_told_and_a_right_one_stays_in_this_tab(crowd, open_page):
    browser = Browser()
    try:
        browser.open(crowd.address)
        browser.wait("#enter")
        no_violation(browser)
        browser.picture("sign-in")
        browser.fill("#token", "x" * 40)
        browser.press("Enter")
        browser.hear("#enter-error", "there is no such token")
        assert browser.evaluate("document.cookie + localStorage.length + sessionStorage.length") == "00"
    finally:
        browser.close()
    browser = open_page()
    browser.open(crowd.address)
    browser.hear("#live", "live")
    browser.click("#leave")
    browser.wait("#enter")
    assert browser.evaluate("sessionStorage.length") == 0 and "overview" not in browser.text("main")


@pytest.mark.parametrize("name,how", [("wide", {}), ("dark", {"scheme": "dark"}), ("phone", {"width": 390, "height": 844}),
                                      ("phone-dark", {"width": 390, "height": 844, "scheme": "dark"})])
def test_how_it_looks(open_page, name, how):
    browser = drawn(open_page(**how))
    user = crowded.hard_one(ACCOUNTS)
    browser.picture(f"{name}-overview")
    no_violation(browser)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
    browser.fill("#search-name", user)
    browser.press("Enter")
    browser.hear("#account", "too large")
    browser.hear("#account", "pilot group")
    browser.hear("#account", "192.0.2.17")
    browser.picture(f"{name}-account")
    no_violation(browser)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.click("#account .actions >> text=Hold")
    browser.picture(f"{name}-ask", False)
    no_violation(browser)
    browser.press("Escape")
    browser.evaluate("location.hash = 'list?state=blocked'")
    browser.wait("#list table")
    browser.picture(f"{name}-list", False)
    no_violation(browser)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_server_is_said_to_answer_where_nobody_asks(crowd, open_page):
    crowd.ferry.redis.client().hset("imapferry:proxies", "proxy1-abcdef", f"5 0.1.0 host1 1 {int(time.time() * 1000) - 60000} 10000 600000")
    browser = drawn(open_page())
    assert "not known: no proxy works" in browser.text("#servers") and "answers" not in browser.text("#servers")
    assert "last heard" in browser.text("#servers")


def test_what_needs_somebody_comes_first(crowd, open_page):
    browser = drawn(open_page())
    groups = {(g["state"], g["reason"]): g["accounts"] for g in crowd.call("groups")[1]["groups"]}
    first = browser.text("#problems .card")
    most = max((n, reason) for (state, reason), n in groups.items() if state == "blocked")
    assert first.startswith(str(most[0])) and most[1] in first and "Show them" in first and "Try all again" in first
    assert browser.evaluate("document.querySelector('main h2').textContent") == "What needs you"
    assert "being enlarged" in browser.text("#notices")
    browser.click("#problems .card button")
    browser.wait("#list table")
    assert browser.evaluate("document.querySelectorAll('#list tbody tr').length") == most[0]


def test_all_of_it_by_keyboard(crowd, open_page):
    """From the card of a reason to its accounts being tried again; the focus comes back to where it was."""
    browser = drawn(open_page())
    groups = lambda: {(g["state"], g["reason"]): g["accounts"] for g in crowd.call("groups")[1]["groups"]}  # noqa: E731
    before = groups()
    browser.evaluate("[...document.querySelectorAll('#problems .card')].find((c) => c.textContent.includes('same account')).querySelector('button').focus()")
    browser.press("Tab")
    browser.press("Enter")
    browser.wait("#ask[open]")
    assert "Nothing" not in browser.text("#ask-what") and "queued now" in browser.text("#ask-what")
    assert browser.evaluate("document.activeElement.id") == "ask-reason"
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('#ask').open"), "a reason is needed"
    for letter in "mended":
        browser.press(letter)
    browser.press("Enter")
    browser.hear("#said", "queued again")
    after = groups()
    assert ("blocked", "same_account") in before and ("blocked", "same_account") not in after
    assert crowd.call("audit")[1]["audit"][0]["reason"] == "mended"
    browser.press("Escape")


def test_staff_change_an_account(crowd, open_page):
    user = crowded.hard_one(ACCOUNTS)
    browser = open_page(at=f"#account?user={user}")
    for label, state in (("Hold", "held"), ("Release", "blocked"), ("Hold", "held")):
        browser.click(f"#account .actions >> text={label}")
        assert user in browser.text("#ask-title") and len(browser.text("#ask-what")) > 40, "it says what will happen"
        do(browser)
        browser.hear("#account .facts", state)
    browser.hear("#account", "as agreed")
    browser.click("#account .findings >> text=Waive")
    assert browser.evaluate("document.querySelector('#ask-keys').value") == "INBOX:51"
    do(browser, "she has it on paper")
    browser.hear("#account", "she has it on paper")
    assert [w["key"] for w in crowd.call("account/report", user=user)[1]["waivers"]] == ["INBOX:7/51"]
    browser.click("#account .findings >> text=Take back")
    do(browser, "she lost it")
    browser.hear("#account", "she lost it")
    assert crowd.call("account/report", user=user)[1]["waivers"] == []
    browser.click("#account >> text=End them")
    assert "come back by themselves" in browser.text("#ask-what")
    do(browser, "a phone that loops")
    assert crowd.call("account/audit", user=user)[1]["audit"][0]["what"] == "kick"
    moved = next(crowded.name_of(i) for i in range(ACCOUNTS) if crowded.state_of(i, ACCOUNTS) == "settled")
    browser.fill("#search-name", moved)
    browser.press("Enter")
    browser.click("#account .actions >> text=Send back")
    assert "copied back to old" in browser.text("#ask-what") and "held there" in browser.text("#ask-what")
    do(browser)
    assert crowd.call("account", user=moved)[1]["state"] == "queued"
    assert crowd.call("account/audit", user=moved)[1]["audit"][0]["who"] == "token operator-name"


@pytest.mark.parametrize("name,how", [("wide", {}), ("phone-dark", {"width": 390, "height": 844, "scheme": "dark"})])
def test_an_account_shows_its_group(crowd, open_page, name, how):
    """With all members, each by a link; the group is there by its name and who made it."""
    users = sorted(crowded.name_of(max(i for i in range(ACCOUNTS) if crowded.state_of(i, ACCOUNTS) == state))
                   for state in ("held", "backoff", "queued", "settled"))
    assert crowd.call("sharing/make", {"group": "front-office", "users": users, "reason": "they share the diary"})[0] in (200, 409), "by the other one of these"
    browser = open_page(at=f"#account?user={users[0]}", **how)
    browser.hear("#account", "Group front-office")
    for user in users:
        browser.hear("#account", user)
    said = browser.text("#account")
    assert "4 accounts that share mailboxes, and are switched over as one" in said and "they share the diary" in said
    assert "held: on leave until June" in said
    browser.picture(f"{name}-group")
    no_violation(browser)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.click(f"#account table a >> text={users[2]}")
    browser.hear("#account h1", users[2])
    browser.hear("#account", "Group front-office")
    assert users[2] not in browser.evaluate("[...document.querySelectorAll('#account table a')].map((a) => a.textContent).join()"), "no link to itself"


def test_a_refusal_is_told_in_the_dialog(crowd, open_page):
    user = next(crowded.name_of(i) for i in range(ACCOUNTS) if crowded.state_of(i, ACCOUNTS) == "backoff")
    browser = open_page(at=f"#account?user={user}")
    browser.click("#account .actions >> text=Retry")
    assert crowd.call("account/hold", {"user": user, "reason": "meanwhile"})[0] == 200
    browser.fill("#ask-reason", "x")
    browser.click("#ask-yes")
    browser.hear("#ask-error", "does not allow it")


def test_one_wave_is_paused(crowd, open_page):
    browser = drawn(open_page())
    browser.hear("#waves", "begins")
    browser.click("#waves tr:has-text('pilot') >> text=Pause")
    do(browser, "wait for the new disks")
    browser.hear("#waves", "wait for the new disks")
    assert [w["wave"] for w in crowd.call("status")[1]["waves"] if w["paused"]] == ["pilot"]
    browser.click("#waves tr:has-text('pilot') >> text=Resume")
    do(browser)
    browser.hear("#waves", "runs")
    assert not [w for w in crowd.call("status")[1]["waves"] if w["paused"]]


def test_who_may_only_look_is_offered_nothing_else(open_page):
    browser = drawn(open_page("read"))
    assert "looks only" in browser.text("#name")
    assert browser.evaluate("[...document.querySelectorAll('main button')].map((b) => b.textContent).filter((t) => t !== 'Show them' && t !== 'Sign in').length") == 0
    browser.fill("#search-name", crowded.hard_one(ACCOUNTS))
    browser.press("Enter")
    browser.hear("#account", "pilot group")
    assert browser.evaluate("document.querySelectorAll('#account button').length") == 0


def test_what_happens_is_seen_at_once(crowd, open_page):
    browser = drawn(open_page())
    assert crowd.ferry.ctl("resume", "--reason", "enlarged")[0] == 0
    browser.hear("#brake", "Pause migrations")
    assert crowd.ferry.ctl("pause", "--reason", "not yet")[0] == 0
    browser.hear("#notices", "not yet")
    assert crowd.ferry.ctl("hold", "somebody.new@example.org")[0] == 0
    browser.hear("#events", "somebody.new@example.org")


@pytest.mark.parametrize("user", ["<img src=x onerror=window.hurt=1>@x", "\"><script>window.hurt=1</script>@x", "a\u202egpj.exe@x", "javascript:window.hurt=1@x"])
def test_names_are_text(crowd, open_page, user):
    assert crowd.call("account/hold", {"user": user, "reason": "<b onclick=window.hurt=1>x</b>"})[0] == 200
    browser = open_page()
    browser.fill("#search-name", user)
    browser.press("Enter")
    browser.hear("#account", "<b onclick=window.hurt=1>x</b>")
    assert "%" in browser.text("#account h1")
    browser.evaluate("location.hash = 'list?state=held'")
    browser.wait("#list table")
    browser.evaluate("location.hash = ''")
    drawn(browser)
    browser.fill("#search-name", crowded.hard_one(ACCOUNTS))
    browser.press("Enter")
    browser.hear("#account", "<img src=x onerror=window.hurt=1>\u27e8U+202E\u27e9gpj.exe")
    assert browser.evaluate("window.hurt === undefined && !document.querySelector('main img, main script, main b[onclick]')")


def test_nothing_is_made_of_text_even_by_mistake(open_page):
    """The policy would stop it, should the page's own code ever do it."""
    browser = open_page()
    for code in ("document.body.innerHTML = '<b>x</b>'", "eval('1')", "document.body.setAttribute('onclick', 'window.hurt = 1'), document.body.click(), window.hurt",
                 "fetch('https://example.org/').then(() => 'asked')"):
        try:
            assert browser.evaluate(code) in (None, 1) and "hurt" in code
        except AssertionError as e:
            assert "Trusted" in str(e) or "eval" in str(e) or "fetch" in str(e), e
    assert browser.evaluate("window.hurt") is None
    browser.forgive()


@pytest.mark.parametrize("path,query", [("status", {}), ("groups", {}), ("events", {}), ("history", {"count": 200}), ("accounts", {"count": 50}),
                                        ("accounts", {"state": "blocked", "count": 50}), ("accounts", {"state": "settled", "count": 50})])
def test_what_a_call_costs_does_not_grow_with_the_site(crowd, path, query):
    """All that Redis does meanwhile, also for the migrator itself, is less than a look at each account."""
    redis = crowd.ferry.redis.client()
    redis.config_resetstat()
    assert crowd.call(path, **query)[0] == 200
    done = {name: c["calls"] for name, c in redis.info("commandstats").items()}
    assert sum(done.values()) < ACCOUNTS / 5, done


def test_a_mailbox_is_one_key(crowd, open_page):
    """Keys stand a line each: a name with a line feed in it would have staff waive what they did not see."""
    user = [crowded.name_of(i) for i in range(ACCOUNTS) if crowded.state_of(i, ACCOUNTS) == "blocked"][1]
    report = crowded.report(0)
    report["mailboxes"] = [dict(report["mailboxes"][0], name=name, findings=[dict({"kind": "refused", "uid": 7, "blocks": True, "waived": False, "detail": "no"}, **more)])
                           for name, more in (("x\ntoo_large\ny", {}), ("a&AAo-b", {"key": "a&AAo-b:7"}))]
    crowd.ferry.redis.client().set(f"imapferry:report:{user}", json.dumps(report))
    browser = open_page(at=f"#account?user={user}")
    browser.hear("#account", "x\u27e8U+000A\u27e9too_large")
    browser.click("#account .findings >> text=Waive")
    assert browser.evaluate("document.querySelector('#ask-keys').value") == "a&AAo-b:7"
    browser.press("Escape")
    assert browser.evaluate("[...document.querySelectorAll('#account .findings button')].length") == 1


def test_who_signs_out_leaves_nothing_on_the_screen(crowd, open_page):
    browser = drawn(open_page())
    user = crowded.hard_one(ACCOUNTS)
    browser.evaluate(f"location.hash = 'account?user={user}'")
    browser.hear("#account", "pilot group")
    browser.click("#leave")
    browser.wait("#enter")
    assert user not in browser.evaluate("document.documentElement.textContent + document.title") and "example.org" not in browser.evaluate("document.body.textContent")
    browser.fill("#token", crowd.tokens["read"])
    browser.click("#enter-form button")
    browser.hear("#live", "live")
    browser.hear("#notices", "Migrations are paused")


def test_looks_that_take_long(crowd, open_page):
    browser = drawn(open_page())
    browser.hear("#look", "Nobody has looked")
    browser.click("#look-ask >> text=May it retire?")
    browser.hear("#look", "old must stay")
    assert "still there" in browser.text("#look table") and "token operator-name" in browser.text("#look")
    no_violation(browser)
    reader = drawn(open_page("read", width=390, height=844))
    reader.hear("#look", "old must stay")
    assert reader.evaluate("document.querySelectorAll('#look-ask button').length") == 0
    assert reader.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_more_who_watch_than_there_is_room_for(crowd, open_page):
    """They see what there is, now and then, and are told so."""
    streams = []

    def all_are_taken():
        """Those of browsers that have gone are noticed by and by."""
        c = crowd.connect()
        c.request("GET", "/api/v1/live", headers={"Authorization": "Bearer " + crowd.tokens["read"]})
        if c.getresponse().status == 200:
            streams.append(c)
        else:
            c.close()
        return len(streams) == 16
    try:
        net.wait_until("all streams are taken", all_are_taken)
        browser = Browser()
        try:
            browser.open(crowd.address)
            browser.fill("#token", crowd.tokens["read"])
            browser.click("#enter-form button")
            browser.hear("#live", "too many watch")
            drawn(browser)
        finally:
            browser.forgive()
            browser.close()
    finally:
        for c in streams:
            c.close()


def narrow_enough(browser):
    return browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_findings_of_many_are_counted_and_then_waived(crowd, open_page):
    reason = max((g["accounts"], g["reason"]) for g in crowd.call("groups")[1]["groups"] if g["state"] == "blocked")[1]
    users = [a["user"] for a in crowd.call("accounts", state="blocked", reason=reason)[1]["accounts"]][:2]
    for user in users:
        crowd.ferry.redis.client().set(f"imapferry:report:{user}", json.dumps({"findings": {"too_large": {"open": 2}}}))
    browser = drawn(open_page())
    browser.click("#problems .card >> text=Waive by kind")
    assert reason in browser.text("#ask-what") and "nothing is changed" in browser.text("#ask-what")
    browser.choose("#many-keys", "too_large")
    browser.fill("#many-domain", "elsewhere.example")
    browser.fill("#ask-reason", "they have it on paper")
    browser.click("#ask-yes")
    browser.hear("#said", "0 findings of 0 accounts")
    browser.click("#problems .card >> text=Waive by kind")
    browser.choose("#many-keys", "too_large")
    browser.fill("#ask-reason", "they have it on paper")
    browser.press("Enter")
    browser.hear("#ask-count", "4 findings of 2 accounts would be waived")
    assert browser.evaluate("document.activeElement.textContent") == "Waive 4 findings of 2 accounts"
    assert crowd.call("account", user=users[0])[1]["state"] == "blocked", "nothing was done yet"
    browser.picture("wide-waive", False)
    no_violation(browser)
    browser.choose("#many-keys", "refused")
    assert browser.text("#ask-yes") == "Count them" and browser.evaluate("document.querySelector('#ask-count').textContent") == "", "what is asked for is another thing now"
    browser.choose("#many-keys", "too_large")
    browser.click("#ask-yes")
    browser.hear("#ask-count", "4 findings of 2 accounts")
    browser.click("#ask-yes")
    browser.hear("#said", "4 findings of 2 accounts are waived")
    assert [crowd.call("account", user=u)[1]["state"] for u in users] == ["queued", "queued"]
    assert crowd.call("audit")[1]["audit"][0]["reason"] == "they have it on paper"


@pytest.mark.parametrize("name,how", [("wide", {}), ("phone-dark", {"width": 390, "height": 844, "scheme": "dark"})])
def test_many_accounts_on_the_page(crowd, open_page, tmp_path, name, how):
    """A report, taken away; a list, surveyed, held against a server, and queued. Names are text in all of it."""
    hostile = "<img src=x onerror=window.hurt=1>@x"
    assert crowd.call("account/hold", {"user": hostile, "reason": "x"})[0] in (200, 409)
    browser = drawn(open_page(**how))
    browser.choose("#report-backend", "old")
    browser.choose("#report-state", "held")
    browser.click("#report-ask button")
    browser.hear("#look h3", "backend old, state held")
    assert narrow_enough(browser)
    file, lines = browser.download("#look >> text=CSV")
    assert file.startswith("imapferry-report-") and file.endswith(".csv") and lines.startswith('"account","domain"') and "%3Cimg" in lines
    file, text = browser.download("#look >> text=Text")
    assert file.endswith(".txt") and "accounts with" in text
    browser.choose("#report-state", "")
    browser.click("#report-ask button")
    browser.hear("#look .chip", "queued")
    no_violation(browser)
    moved = [crowded.name_of(i) for i in range(ACCOUNTS) if crowded.state_of(i, ACCOUNTS) == "settled"][:2]
    path = tmp_path / "names.txt"
    path.write_text("\n".join([*moved, "<b>not there</b>@x", "root:x:0:0:root:/root:/bin/sh"]))
    browser.click("#lists-ask button:text-is('Survey')")
    browser.hear("#list-said", "give the list first")
    browser.upload("#list-file", str(path))
    browser.hear("#list-said", "names.txt: 4 accounts")
    browser.click("#lists-ask button:text-is('Survey')")
    browser.hear("#survey", "come to its end")
    browser.hear("#survey", "lives on new, not on old")
    browser.click("#lists-ask >> text=by this list")
    browser.hear("#said", 'of "names"')
    browser.click("#lists-ask >> text=Migrate all")
    assert "Migrate 4 accounts" in browser.text("#ask-title") and "given again" in browser.text("#ask-what")
    do(browser, "the last ones")
    browser.hear("#list-came", "root:x:0:0")
    browser.picture(f"{name}-many")
    no_violation(browser)
    assert narrow_enough(browser) and browser.evaluate("window.hurt === undefined && !document.querySelector('main img, main b[onclick]')")
    browser.click("#survey >> text=Erase its plans")
    assert "No account and no server is touched" in browser.text("#ask-what") and not browser.evaluate("document.querySelector('#ask-reason').checkVisibility()")
    browser.click("#ask-yes")
    browser.wait("#survey .numbers", "hidden")
    browser.click("#leave")
    browser.wait("#enter")
    assert moved[0] not in browser.evaluate("document.documentElement.textContent + document.querySelector('#list-names')")
