"""Passwords in what was written: logs, what Redis keeps on its disk, core files. In clear, and in base64 wherever they begin there.

What every test does with the passwords that all use is looked at when its imapferry and its Redis end (ferry.py, redisd.py); a test
that makes passwords of its own tells them: leaks.used(password)."""
import base64
import os

_WORDS = set()


def used(*passwords):
    _WORDS.update(p.encode() if isinstance(p, str) else p for p in passwords)


def in_base64(word):
    """What it is there, at each of the three places where it may begin: without the letters that its neighbours share."""
    return [base64.b64encode(b"\0" * shift + word)[-(-8 * shift // 6):(shift + len(word)) * 8 // 6] for shift in range(3)]


def forms(words, clear=True):
    """Bytes to look for -> the word."""
    found = {}
    for word in words:
        found.update({form: word for form in [word] * clear + [x for x in in_base64(word) if len(x) > 4]})
    return found


def in_bytes(data, needles):
    return sorted({word.decode("latin-1") for form, word in needles.items() if form in data})


def in_files(paths, needles):
    """One line for each file that holds something."""
    found = []
    for path in paths:
        with open(path, "rb") as f:
            words = in_bytes(f.read(), needles)
        if words:
            found.append(f"{path} holds {words}")
    return found


def files(folder, wanted):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if wanted(name)]


def everywhere():
    """For all tests: the words that were told, and the base64 of the one that nearly all users have, which in clear is a word of
    keys and files too."""
    return {**forms(_WORDS), **forms([b"secret"], clear=False)}


def assert_none(paths):
    found = in_files(paths, everywhere())
    assert not found, "passwords:\n" + "\n".join(found)
