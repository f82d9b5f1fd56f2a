"""The mail that is measured with: harmless messages that every engine takes, the same ones in every run."""
import base64
import hashlib
import os
import random
import shutil

from harness import mail

WORDS = mail.WORDS
MIB = 1 << 20


def _text(rng, size):
    """Lines of words; cut out of one long text, so that a gigabyte takes seconds to make."""
    start = rng.randrange(len(_TEXT) - size - 80) if size < len(_TEXT) // 2 else 0
    text = _TEXT[start:start + size] if size < len(_TEXT) // 2 else (_TEXT * (size // len(_TEXT) + 1))[:size]
    text = text[text.index(b"\r\n") + 2:]
    return text[:text.rindex(b"\r\n") + 2]


def _make_text():
    rng = random.Random(7)
    return b"".join((" ".join(rng.choice(WORDS) for _ in range(11)) + "\r\n").encode() for _ in range(20000))


_TEXT = _make_text()


def _message(rng, n, size):
    head = (f"From: Ann Other <ann{n % 9}@example.org>\r\nTo: bob@example.net\r\nSubject: {rng.choice(WORDS)} {n}\r\n"
            f"Date: Tue, 03 Mar 2015 10:00:00 +0100\r\nMessage-ID: <{n}.{rng.getrandbits(48):x}@example.org>\r\n"
            "MIME-Version: 1.0\r\n")
    if size < 12000 or rng.random() < 0.3:
        return (head + "Content-Type: text/plain\r\n\r\n").encode() + _text(rng, max(size, 400))
    data = base64.encodebytes(rng.randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
    return (head + "Content-Type: multipart/mixed; boundary=cut\r\n\r\n--cut\r\nContent-Type: image/jpeg\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n").encode() + data + b"\r\n--cut--\r\n"


def _account(rng, mailboxes, sizes):
    flags = ("\\Seen", "\\Answered", "\\Flagged")
    messages = []
    for n, size in enumerate(sizes):
        where = mailboxes[0] if rng.random() < 0.3 else rng.choice(mailboxes)
        messages.append(mail.Message(where, _message(rng, n, size), tuple(f for f in flags if rng.random() < 0.4),
                                     mail.internaldate(rng)))
    return mail.Account(mailboxes, messages, mailboxes)


def small(scale=1.0):
    """10,000 messages of about 2 KiB in 10 mailboxes."""
    rng = random.Random(10000)
    mailboxes = [("INBOX",)] + [(f"Folder {n}",) for n in range(9)]
    return _account(rng, mailboxes, [int(rng.uniform(600, 4000)) for _ in range(int(10000 * scale))])


def mixed(scale=1.0):
    """300 MB in 30 mailboxes: most messages are small, a few make up most of the bytes."""
    rng = random.Random(300)
    mailboxes = [("INBOX",)] + [(f"Year {n}",) for n in range(29)]
    sizes, total = [], 0
    while total < 300e6 * scale:
        size = min(int(rng.lognormvariate(9.3, 1.6)), 12 * MIB)
        sizes.append(size)
        total += size
    return _account(rng, mailboxes, sizes)


def gaps(scale=1.0):
    """The small one, of which every tenth message of a mailbox is gone, so that UIDs have gaps."""
    return small(scale)


SETS = {"small": small, "mixed": mixed, "gaps": gaps}
EVERY = 10


def make_gaps(m, account, names):
    """Takes them from the server, and from the account."""
    kept = []
    for levels, name in zip(account.mailboxes, names):
        some = [x for x in account.messages if x.mailbox == levels]
        gone = range(EVERY, len(some) + 1, EVERY)
        kept += [x for n, x in enumerate(some, 1) if n not in gone]
        m.select(mail.quoted(name.decode()))
        if gone:
            m.store(",".join(map(str, gone)), "+FLAGS.SILENT", "(\\Deleted)")
            m.expunge()
    m.unselect()
    account.messages = kept


# ---- on disk

def home(server, user):
    return os.path.join(server.folder, "mail", hashlib.sha256(user.encode()).hexdigest()[:16])


def _link_or_copy(source, target):
    """Mail files of a Maildir are never written again, its indexes are."""
    if os.path.basename(os.path.dirname(source)) in ("cur", "new"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def clone(loader, template, server, user):
    """The account of `template` as that of `user` on another Maildir server."""
    source, target = home(loader, template), home(server, user)
    shutil.copytree(source, target, copy_function=_link_or_copy)
    owner = os.stat(source)
    for folder, folders, names in os.walk(target):
        for path in [folder] + [os.path.join(folder, n) for n in folders + names]:
            os.chown(path, owner.st_uid, owner.st_gid)


def remove(server, user):
    shutil.rmtree(home(server, user), ignore_errors=True)


# ---- what a day brings

def change(server, user, account, seed):
    """1 % new messages, and other flags on 1 %; how many messages are new."""
    rng = random.Random(seed)
    m = mail.connect(server, user, "secret")
    names = sorted({x.mailbox for x in account.messages})
    new = max(len(account.messages) // 100, 1)
    per = -(-new // len(names))
    made = 0
    for levels in names:
        name = mail.wire_name(levels, getattr(server, "prefix", ""), server.separator)
        some = [mail.Message(levels, _message(rng, 10 ** 6 + seed * 10 ** 5 + made + i, 2000), (), '"01-Feb-2024 12:00:00 +0000"')
                for i in range(min(per, new - made))]
        made += len(some)
        m.select(mail.quoted(name))
        if some:
            mail.append(m, name, some)
        m.store(f"1:{per}", "+FLAGS.SILENT", "(\\Answered \\Flagged)" if seed % 2 else "(\\Draft)")
    m.logout()
    return made


def count(server, user):
    """Messages of an account, asked of the server itself."""
    m = mail.connect(server, user, "secret")
    total = 0
    for line in m.list('""', '"*"')[1]:
        name = line.decode().split(' "' + server.separator + '" ')[-1]
        if "\\noselect" in line.decode().lower():
            continue
        typ, data = m.status(name, "(MESSAGES)")
        if typ == "OK":
            total += int(data[0].rsplit(b"(MESSAGES ", 1)[1].rstrip(b")"))
    m.logout()
    return total
