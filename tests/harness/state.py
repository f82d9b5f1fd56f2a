"""What an account is on the old server, to the byte: taken when its migration is set off, and compared when all is over.
Nothing of it may have changed, but by those whom the test itself lets write there (mark writes_source).

A Maildir of Dovecot is read as files: names (which hold the flags), sizes and times of all messages, mailboxes,
subscriptions, keywords. Left out are caches, indexes and lists of UIDs, which any reader writes, and whether a message
lies in new/ or cur/ (test_recent_is_neither_sent_nor_taken_from_the_source looks at that). On a fake the commands are
read instead: what a migrator sent there."""
import hashlib
import os

CACHES = ("dovecot.index", "dovecot.list.index", "dovecot-uidlist", "dovecot-uidvalidity", "maildirsize", ".lock")
TEXTS = ("subscriptions", "dovecot-keywords")


def _text_of(path):
    """A keyword that is in use nowhere may stay or go."""
    with open(path, "rb") as f:
        return hashlib.sha256(b"".join(sorted(f.readlines()))).hexdigest()


def _entry(folder, name):
    """(what it is called here, what has to stay as it is) or None."""
    path = os.path.join(folder, name)
    if any(x in name for x in CACHES):
        return None
    if name in TEXTS:
        return path, _text_of(path)
    place = os.path.basename(folder)
    if place == "tmp":
        return None
    stat = os.stat(path)
    if place in ("new", "cur"):
        base, _, flags = name.partition(":2,")
        return os.path.join(os.path.dirname(folder), base), (flags, stat.st_size, stat.st_mtime_ns)
    return path, (stat.st_size, stat.st_mtime_ns)


def of_maildir(home):
    found = {}
    for folder, folders, names in os.walk(home):
        for name in folders:
            found[os.path.join(folder, name)] = "folder"
        for name in names:
            try:
                entry = _entry(folder, name)
            except FileNotFoundError:
                continue  # a lock, or something on its way from new/ to cur/ that will be seen there
            if entry:
                found[entry[0]] = entry[1]
    return found


def has_maildir(server):
    """Whether the state of its accounts can be taken."""
    return getattr(server, "is_maildir", False)


def take(server, user):
    home = server.home(user)
    return of_maildir(home) if os.path.isdir(home) else None


def compare(before, after):
    """The first differences, for people."""
    changed = [f"{path}: {before.get(path)} became {after.get(path)}" for path in sorted(before.keys() | after.keys())
               if before.get(path) != after.get(path)]
    return changed[:10]
