"""The blocks of code in pages of the handbook, as somebody would take them from there.

A block marked `sh` is typed by root, on a machine that the text names. Another one belongs into a file where its first line says into
which: "# /etc/x.conf" is the whole file, "# add to /etc/x.conf" goes behind what is there, and of "# in /etc/x.conf" each line goes into
the section that it stands in, which may be a new one. All others only show something."""
import os
import re
import subprocess
import textwrap

CONF = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "conf")


class Block:
    def __init__(self, page, heading, language, text):
        self.page, self.heading, self.language, self.text = page, heading, language, text
        into = re.match(r"# (?:(add to|in) )?(/[^ \n]+)\n", text)
        self.how, self.path = into.groups() if into else (None, None)

    @property
    def is_typed(self):
        return self.language == "sh"

    def __repr__(self):
        return f"{self.page}, {self.heading}: {self.text.splitlines()[0]}"


def blocks(page):
    """All of a page, in their order; the heading is that of the section that they stand in."""
    with open(os.path.join(CONF, "handbook", page), encoding="utf-8") as f:
        text = f.read()
    found, heading = [], ""
    for part in re.finditer(r"^#+ (?P<heading>[^\n]*)$|^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", text, re.M | re.S):
        if part["heading"] is not None:
            heading = part["heading"]
        else:
            found.append(Block(page, heading, part["language"], textwrap.dedent(part["text"])))
    return found


def block(page, text):
    """The only one of a page in which that stands."""
    found = [b for b in blocks(page) if text in b.text]
    assert len(found) == 1, f"{page} has {len(found)} blocks with {text!r}"
    return found[0]


def replace(text, *pairs):
    """(what a page says, what is here) ..., each of which is in the text."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def type_in(typed, *pairs):
    """What a block says where it is typed, with other words in the place of some."""
    assert typed.is_typed, typed
    done = subprocess.run(["sh", "-euc", replace(typed.text, *pairs)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout


# One on a line, or one that ends with a brace at the margin; of a title, a comment behind it.
SECTION = re.compile(r'^(?P<name>\w+(?: +"[^"\n]*")?) *\{(?P<inside>[^\n]*\}[^\n]*\n|[^\n]*\n(?:.*?\n)??\}\n)', re.M | re.S)


def merge(old, block):
    """The text of imapferry.conf with what a block has: options of sections that are there, before those of the same name, which go; and
    sections that are new, before the last one, `migration`."""
    for section in SECTION.finditer(block):
        name = re.sub(" +", " ", section["name"])
        there = next((s for s in SECTION.finditer(old) if re.sub(" +", " ", s["name"]) == name), None)
        if not there:
            at = old.index("migration {")
            old = old[:at] + section[0] + old[at:]
            continue
        new = [line for line in section[0].splitlines(True)[1:] if line.strip() != "}"]
        kept = there[0]
        for line in new:
            kept = re.sub(rf"^ +{line.split('=')[0].strip()} = .*\n", "", kept, flags=re.M)
        head, rest = kept.split("\n", 1)
        old = old[:there.start()] + head + "\n" + "".join(new) + rest + old[there.end():]
    return old


def options(text):
    """{section: {option: value}} of lines of imapferry.conf, as harness.ferry takes them."""
    found = {}
    for section in SECTION.finditer(text):
        pairs = re.findall(r'^ +(\w+) = (".*"|\{.*\}|\w+)$', section["inside"], re.M)
        found[section["name"]] = {name: _value(value) for name, value in pairs}
    return found


def _value(text):
    if text.startswith("{"):
        return re.findall(r'"([^"]*)"', text)
    return text[1:-1] if text.startswith('"') else {"true": True, "false": False}[text]
