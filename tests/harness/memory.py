"""What lies in the memory of a process: for secrets that must not be there."""
import re

GIB = 1 << 30


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


def holds(pid, needles, kept=False):
    """Those of the needles (bytes) that are there."""
    there = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end in mappings(pid, kept):
            try:
                memory.seek(begin)
                data = memory.read(end - begin)
            except OSError:
                continue
            while data and len(data) < end - begin:
                more = memory.read(end - begin - len(data))
                if not more:
                    break
                data += more
            there |= {x for x in needles if x in data}
    return there
