"""A store with as many accounts as wanted, in all states, as it would be in the middle of a migration; nothing of it moves."""
import json
import math
import random
import time

REASONS = {"blocked": [("cannot: INBOX: UID 51: 31457280 bytes are more than the target takes (26214400)", 5),
                       ("quota: the account has 5.1 GiB, the new server allows 5.0 GiB", 3), ("shared: \"Team\" is shared with bob@example.org", 2),
                       ("same_account: as a.smith@example.org", 1)],
           "backoff": [("unreachable: new: connection refused", 6), ("throttled: new: [LIMIT] too many connections", 3), ("bypass: INBOX changed past the proxies", 1)],
           "held": [("held: on leave until June", 1)], "ready": [("window: until Mon 20:00", 1)]}
SHARES = {"settled": 0.555, "resting": 0.28, "flipped": 0.04, "queued": 0.1, "ready": 0.012, "backoff": 0.006, "blocked": 0.004, "held": 0.002, "copying": 0.0002}
FIRST = "ann bob carl dora eve fred gina hugo iris jan kim lena max nora olaf pia quin rosa sven tina udo vera walt xenia yann zoe".split()


def name_of(i):
    return f"{FIRST[i % 26]}.{i:06d}@example.org"


def state_of(i, n):
    at = i / n
    for state, share in SHARES.items():
        if at < share:
            return state
        at -= share
    return "settled"


def route_of(i, n, now, rnd):
    state = state_of(i, n)
    moved = state in ("settled", "flipped")
    messages = rnd.randrange(200, 4000) if state != "queued" and state != "resting" else 0
    done = messages if moved or state in ("ready", "held") else messages * rnd.randrange(10, 95) // 100
    reasons = REASONS.get(state, [("", 1)])
    r = {"backend": "new" if moved else "old", "state": state, "epoch": 4, "generation": 1, "source": "old", "target": "new",
         "reason": rnd.choices([x for x, _ in reasons], [w for _, w in reasons])[0], "messages_done": done, "messages_total": messages,
         "bytes_done": done * 61440, "bytes_total": messages * 61440}
    if moved:
        r.update(flipped_at=now - rnd.randrange(1, 20 * 86400) * 1000, left="old", home="old")
    if state in ("copying", "ready"):
        r["owner"] = "f" * 32
    if state == "held":
        r["held_from"] = "resting"
    if state == "backoff":
        r.update(next_try=now + rnd.randrange(60, 3600) * 1000, failed=r["reason"], attempts=3)
    return r


def plant(client, n, prefix="imapferry", seed=1):
    """Routes, streams of jobs, the late watch, history, events, audit. The index and the counts are left to the first migrator."""
    rnd, now = random.Random(seed), int(time.time() * 1000)
    key = lambda *parts: ":".join((prefix,) + parts)  # noqa: E731
    client.hset(key("control"), mapping={"paused": 1, "paused_by": "ann", "paused_reason": "the new server is being enlarged", "paused_at": now - 600000})
    pipe = client.pipeline(transaction=False)
    for i in range(n):
        user, r = name_of(i), route_of(i, n, now, rnd)
        if r["state"] == "queued":
            r["job"] = f"{now - i}-0"
            r["bulk"] = "1"
        pipe.hset(key("route", user), mapping=r)
        if r["state"] == "flipped":
            pipe.zadd(key("late"), {user: now + 86400000})
        if r["state"] == "settled":
            pipe.zadd(key("late:daily"), {user: now + 86400000})
        if i % 5000 == 4999:
            pipe.execute()
    for i in range(n):
        if state_of(i, n) == "queued":
            pipe.xadd(key("jobs:bulk"), {"user": name_of(i)})
    plant_history(pipe, key, n, now)
    plant_deeds(pipe, key, n, now)
    pipe.delete(key("counts"))
    pipe.execute()


def plant_history(pipe, key, n, now):
    def line(ms, part):
        at = {"settled": 0.555 * part, "flipped": 0.04 * part, "resting": 0.28, "queued": 0.1 + 0.595 * (1 - part), "ready": 0.012, "backoff": 0.006,
              "blocked": 0.004, "held": 0.002}
        done = int(n * 0.595 * part * 2100)
        return " ".join([str(ms)] + [f"state:{s}={int(n * x)}" for s, x in at.items()] + ["backend:old=1", f"sum:messages_done={done}", f"sum:messages_total={n * 1400}",
                                                                                       f"sum:bytes_done={done * 61440}", f"sum:bytes_total={n * 1400 * 61440}"])
    def pace(age):
        """Which part was moved so many ms ago: all of it in twelve days, more of it by day."""
        days = 12 - age / 86400e3
        return max(0.0, min(1.0, (days - math.sin(2 * math.pi * days) / 7) / 12))
    for m in range(1439, 0, -1):
        pipe.rpush(key("history"), line(now - m * 60000, pace(m * 60000)))
    for h in range(288, 0, -1):
        pipe.rpush(key("history", "hours"), line(now - h * 3600000, pace(h * 3600e3)))


def plant_deeds(pipe, key, n, now):
    for i in range(30):
        user = name_of(i * 37)
        state = ("queued", "copying", "ready", "flipped")[i % 4]
        pipe.xadd(key("events"), {"n": i + 1, "user": user, "kind": "state", "state": state, "epoch": 4, "backend": "new" if state == "flipped" else "old",
                                  "target": "new", "left": 0, "generation": 1, "registered": "", "view": ""}, id=f"{now - 4000 * (30 - i)}-1")
    pipe.hset(key("store"), "events", 30)
    user = hard_one(n)
    for ms, deed in ((86400000 * 3, {"who": "ann", "what": "migrate", "reason": "pilot group", "before": "resting", "after": "queued"}),
                     (86400000 * 2, {"who": "token bob", "what": "waive", "reason": "he has it on paper: INBOX:17", "before": "blocked", "after": "queued"}),
                     (3600000, {"who": "ann", "what": "retry", "reason": "more room", "before": "blocked", "after": "queued"})):
        for stream in (key("audit"), key("audit", user)):
            pipe.xadd(stream, {"user": user, **deed}, id=f"{now - ms}-1")
    pipe.set(key("report", user), json.dumps(report(now)))
    pipe.hset(key("proxies"), "proxy1-abcdef", f"5 0.1.0 host1 1 {now} 10000 600000")
    pipe.hset(key("sessions", user), mapping={"proxy1-abcdef/7": f"old 4 running 192.0.2.17 {now - 5400000}", "proxy1-abcdef/9": f"old 4 running 2001:db8::5 {now - 300000}"})


def hard_one(n):
    """An account that is blocked, with a history, a report and sessions."""
    return next(name_of(i) for i in range(n) if state_of(i, n) == "blocked")


HOSTILE_MAILBOX = "<img src=x onerror=window.hurt=1>\u202egpj.exe"


def report(now):
    def box(name, messages, tier="T0", why="", findings=()):
        return {"name": name, "target": name.replace("/", "."), "looked_at": True, "messages": messages, "bytes": messages * 58000, "uidvalidity": 7,
                "compared": {"bytes": messages}, "tier": tier, "tier_why": why, "findings": list(findings), "more_findings": 0}
    large = {"kind": "too_large", "uid": 51, "detail": "31457280 bytes are more than the target takes (26214400)", "blocks": True, "waived": False}
    flags = {"kind": "keyword", "uid": 9, "detail": "$Label1 is not kept", "blocks": True, "waived": True}
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now / 1000 - 3700)), "source": "old", "target": "new", "verify": "full", "result": "cannot",
            "reason": "INBOX: UID 51: too large", "messages": 3120, "bytes": 190000000, "compared": {"bytes": 3119}, "findings": {}, "account": [],
            "mailboxes": [box("INBOX", 1840, findings=[large, flags]), box("Sent", 910), box("Work/2019", 300, "T2", "the target can't be told UIDs: gaps are longer than t0_max_gaps"),
                          box(HOSTILE_MAILBOX, 12), box("Trash", 58)], "more_mailboxes": 0}
