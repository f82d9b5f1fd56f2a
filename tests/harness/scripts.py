"""The transitions of lib/route/, for tests that run them by hand."""
import functools
import glob
import os
import re
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
    if "local function begin(" in head:
        head = "local keys, argv = KEYS, ARGV\n" + head + "begin(keys, argv)\n"
    return head + text(name, revision)


@functools.lru_cache(None)
def library(release="0.0.0"):
    """As programs of that release load it."""
    return subprocess.run(["sh", os.path.join(FOLDER, "library.sh"), FOLDER, release], check=True, capture_output=True, text=True).stdout


def library_name(release="0.0.0"):
    return re.match("#!lua name=(.*)", library(release)).group(1)


def function(name, release="0.0.0"):
    """What FCALL is told for a script."""
    return f"imapferry_{library_name(release).rpartition('_')[2]}_{name}"


def load(client, release="0.0.0"):
    client.execute_command("FUNCTION", "LOAD", "REPLACE", library(release))
