"""conf/EVENTS.md names every event that the daemons log, with its levels, programs and keys; and no other."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "conf", "EVENTS.md")
LEVELS = ("error", "warn", "info", "debug")
# log_event() is given what is not known before: where, the event, its levels and keys.
BY_HAND = {"session_end": (("info", "debug"), "proxy", "why session user peer state backend in out ms detail via")}
# Fields that a function of the file makes.
MADE = {"routing_master": "master"}


def argument_list(text, at):
    """The parentheses that begin at `at`."""
    depth, quoted, i = 0, False, at
    while True:
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        else:
            depth += (c == "(") - (c == ")")
            if depth == 0:
                return text[at:i + 1]
        i += 1


def sources():
    for top in ("lib", "proxy", "migrator"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith(".c"):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        yield top, f.read()


def keys_of(arguments):
    return re.findall(r'LOG_(?:SET|SPAN|[SUI])\([^"]*?"([a-z0-9_]+)"', arguments) + [
        key for function, key in MADE.items() if function + "(" in arguments]


def logged():
    """Event -> (levels, program, keys), as the sources have them."""
    found = {}
    for top, text in sources():
        for call in re.finditer(r"\bLOG\((ERROR|WARN|INFO|DEBUG),", text):
            arguments = argument_list(text, call.start() + 3)
            events = re.findall(r'"([a-z0-9_]+)"', re.split(r",\s*(?:LOG_|routing_)", arguments, maxsplit=1)[0])
            assert events, arguments
            for event in events:
                levels, tops, keys = found.setdefault(event, (set(), set(), set()))
                levels.add(call.group(1).lower())
                tops.add(top)
                keys.update(keys_of(arguments))
    rows = {event: (tuple(x for x in LEVELS if x in levels), "both" if "lib" in tops or len(tops) > 1 else tops.pop(), " ".join(sorted(keys)))
            for event, (levels, tops, keys) in found.items()}
    rows.update({event: (levels, who, " ".join(sorted(keys.split()))) for event, (levels, who, keys) in BY_HAND.items()})
    return rows


def row(event, what, text):
    levels, who, keys = what
    return f"| `{event}` | {', '.join(levels)} | {who} | {keys} | {text} |"


def written():
    """Event -> (levels, program, keys, text), as the page has them, in its order."""
    with open(PAGE, encoding="utf-8") as f:
        rows = re.findall(r"^\| `([a-z0-9_]+)` \| ([a-z, ]+) \| (both|proxy|migrator) \| ([a-z_ ]*) \| (.*) \|$", f.read(), re.M)
    return {event: (tuple(levels.split(", ")), who, keys, text) for event, levels, who, keys, text in rows}


def test_each_event_stands_on_the_page():
    """Where this fails for a new event, the row that it prints goes to the page, with what the event means and what to do."""
    page = written()
    wrong = [row(event, what, page.get(event, ("", "", "", "..."))[3]) for event, what in sorted(logged().items())
             if page.get(event, (None,))[:3] != what]
    assert not wrong, "conf/EVENTS.md lacks, or has otherwise:\n" + "\n".join(wrong)


def test_the_page_has_no_event_of_the_past():
    assert not set(written()) - set(logged())


def test_the_page_is_in_order_and_says_something():
    page = written()
    assert list(page) == sorted(page)
    assert all(len(text) > 15 for *_, text in page.values())


def test_what_is_logged_is_found():
    """A call of another form would go unseen: each word LOG( with a level is one of those that are read."""
    calls = sum(len(re.findall(r"\bLOG\(", text)) for _, text in sources())
    seen = sum(len(re.findall(r"\bLOG\((?:ERROR|WARN|INFO|DEBUG),", text)) for _, text in sources())
    by_level = sum(len(re.findall(r"\bLOG\([a-z]", text)) for _, text in sources())
    assert calls - by_level == seen and by_level == 0
