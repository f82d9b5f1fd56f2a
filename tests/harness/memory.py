"""What lies in the memory of a process: for secrets that must not be there."""
import array
import itertools
import mmap
import os
import re
import shutil
import subprocess

GIB = 1 << 30
THERE = 3 << 62  # of a page in pagemap: in memory, or swapped out


def mappings(pid, kept=False):
    """(begin, end) of what it may write and has written, but for the sanitizer's terabytes; kept: also pages that it has
    excluded from core files, where secrets may be."""
    found, begin, end, pages = [], 0, 0, 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ", line)
            if head:
                begin, end = int(head.group(1), 16), int(head.group(2), 16)
                pages = 0 if head.group(3).startswith("rw") else -1
            elif line.startswith("Rss:") and pages == 0:
                pages = int(line.split()[1])
            elif line.startswith("VmFlags:") and pages > 0 and end - begin < GIB and (kept or " dd" not in line):
                found.append((begin, end))
    return found


ANONYMOUS, SHARED, OF_A_FILE, SHARED_OF_A_FILE = 1, 2, 4, 8  # of coredump_filter (core(5))


def dumpable(pid):
    """(begin, end, name) of what of it belongs into a core file, as the kernel and gcore see it; but for what all programs have (vdso)."""
    with open(f"/proc/{pid}/coredump_filter", encoding="ascii") as f:
        wanted = int(f.read(), 16)
    found, head, anonymous = [], None, 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) *(.*)", line) or head
            if line.startswith("Anonymous:"):
                anonymous = int(line.split()[1])
            elif line.startswith("VmFlags:"):
                begin, end, modes, inode, name = head.groups()
                if modes.endswith("s"):
                    kinds = SHARED if name.endswith("(deleted)") or name.startswith("/dev/zero") else SHARED_OF_A_FILE
                else:
                    kinds = (ANONYMOUS if anonymous else 0) | (OF_A_FILE if inode != "0" else 0)
                if kinds & wanted and " dd" not in line and not name.startswith("[v"):
                    found.append((int(begin, 16), int(end, 16), name))
    return found


def core_of(pid, folder):
    """What gcore, which does as the kernel does, makes of it; None where there is none here."""
    if not shutil.which("gcore"):
        return None
    path = os.path.join(folder, "taken")
    subprocess.run(["gcore", "-o", path, str(pid)], capture_output=True, timeout=120, check=True)
    with open(f"{path}.{pid}", "rb") as f:
        return f.read()


def written(pagemap, begin, end):
    """The parts of a mapping that there are pages of; the others were never written to."""
    pagemap.seek(begin // mmap.PAGESIZE * 8)
    pages = array.array("Q", pagemap.read((end - begin) // mmap.PAGESIZE * 8))
    at = begin
    for there, run in itertools.groupby(pages, lambda page: page & THERE != 0):
        size = sum(1 for _ in run) * mmap.PAGESIZE
        if there:
            yield at, at + size
        at += size
    yield at, end  # where the kernel told less


def read(memory, begin, end):
    """As much of it as can be read."""
    data = bytearray()
    memory.seek(begin)
    while len(data) < end - begin:
        try:
            more = memory.read(end - begin - len(data))
        except OSError:
            break
        if not more:
            break
        data += more
    return bytes(data)


def holds(pid, needles, kept=False, marks=(b"",)):
    """Those of the needles (bytes) that are there. marks: each needle has one of them in it; looking for a few of these first
    takes less time than for many needles."""
    assert all(any(mark in x for mark in marks) for x in needles)
    there, left = set(), set(needles)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for mapping in mappings(pid, kept):
            for begin, end in written(pagemap, *mapping):
                data = read(memory, begin, end)
                if any(mark in data for mark in marks):
                    there |= {x for x in left if x in data}
                    left -= there
    return there
