"""The transitions of lib/route/, for tests that run them by hand."""
import glob
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(ROOT, "lib", "route")


def names():
    return sorted({os.path.basename(p)[:-4] for p in glob.glob(os.path.join(FOLDER, "*.lua"))} - {"head"})


def text(name, revision=None):
    """A file of lib/route/, as it stands here or as it was."""
    if revision:
        return subprocess.run(["git", "-C", ROOT, "show", f"{revision}:lib/route/{name}.lua"], check=True, capture_output=True,
                              text=True).stdout
    with open(os.path.join(FOLDER, name + ".lua"), encoding="utf-8") as f:
        return f.read()


def whole(name, revision=None):
    """As a script of its own, for EVAL: the common head stands in front, and is run at each call."""
    head = text("head", revision)
    begins = "begin(KEYS, ARGV)\n" if "local function begin(" in head else ""
    return head + begins + text(name, revision)
