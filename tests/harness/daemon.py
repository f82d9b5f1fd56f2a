"""One process of ours under test: its log is read all the time, waited for line by line, and judged at the end."""
import contextlib
import glob
import os
import re
import select
import shlex
import signal
import subprocess
import threading
import time

from . import net

BUILD = os.environ.get("IMAPFERRY_BUILD") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build")
_LISTENING = re.compile(r'listening on ((?:imap|pop3)[a-z0-9+]*://[^"\s]+)')


def program(name):
    return os.path.join(BUILD, name)


def sanitizer_environment(report, leaks=True):
    """The environment in which ASan, LSan (leaks), TSan and UBSan write what they find to files that begin with `report`. A test
    that measures memory adds options by IMAPFERRY_ASAN_OPTIONS."""
    common = f"log_path={report}:halt_on_error=1:abort_on_error=0:exitcode=99"
    return dict(os.environ,
                ASAN_OPTIONS=f"{common}:detect_leaks={int(leaks)}:detect_stack_use_after_return=0:"
                "quarantine_size_mb=32:malloc_context_size=12:"  # by default 256 MB are touched and 30 frames walked
                + os.environ.get("IMAPFERRY_ASAN_OPTIONS", ""),
                TSAN_OPTIONS=f"log_path={report}:halt_on_error=0:exitcode=99:second_deadlock_stack=1",
                UBSAN_OPTIONS=f"{common}:print_stacktrace=1", LSAN_OPTIONS="exitcode=99",
                MALLOC_PERTURB_="165")


def sanitizer_reports(report):
    found = []
    for path in glob.glob(glob.escape(report) + ".*"):
        with open(path, encoding="utf-8", errors="replace") as f:
            found.append(f.read())
    return found


def fields(line):
    """A log line as a dictionary: key=value, values in quotes where need be."""
    with contextlib.suppress(ValueError):
        return dict(part.partition("=")[::2] for part in shlex.split(line) if "=" in part)
    return {}


class Daemon:
    """Started at once. stop() and close() fail the test on a bad exit status or a sanitizer's report."""

    def __init__(self, name, config, folder, label, wrapper=(), env=None, fds=()):
        self.label = label
        self._lines = []
        self._report = os.path.join(folder, f"sanitizer-{label}")
        self._changed = threading.Condition()
        self._killed = False
        self._rest = b""  # of a line whose end was not read yet
        environment = sanitizer_environment(self._report)
        environment.update(env or {})
        self.process = subprocess.Popen([*wrapper, program(name), "-c", config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0, env=environment,
                                        start_new_session=True, pass_fds=fds)
        os.set_blocking(self.process.stderr.fileno(), False)
        self._log = open(os.path.join(folder, f"{label}.log"), "wb")  # pylint: disable=consider-using-with
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        pipe = select.poll()
        pipe.register(self.process.stderr, select.POLLIN)
        while not self._ended():
            pipe.poll()
            self._take()

    def _ended(self):
        return self._lines[-1:] == [None]

    def _take(self):
        """What is written by now becomes lines. Whoever looks at them comes by here: the thread that reads may be behind."""
        with self._changed, contextlib.suppress(BlockingIOError):
            while not self._ended():
                raw = os.read(self.process.stderr.fileno(), 65536)
                self._log.write(raw)
                self._log.flush()
                *whole, self._rest = (self._rest + (raw or b"\n" * bool(self._rest))).split(b"\n")
                self._lines += [line.decode("utf-8", "replace") for line in whole] + ([] if raw else [None])
                self._changed.notify_all()

    # ---- log

    @property
    def lines(self):
        """All that is written by now; None behind the last line of a process that has ended."""
        self._take()
        return self._lines

    def mark(self):
        """Where the log ends now: for wait(..., since=mark)."""
        with self._changed:
            return len(self.lines)

    def find(self, pattern, since=0):
        """The matches of all lines that are written by now."""
        with self._changed:
            return [m for m in (re.search(pattern, x) for x in self.lines[since:] if x is not None) if m]

    def wait(self, pattern, timeout=20.0, since=0):
        """The match of the first line with this pattern, waiting for it if it is not there yet."""
        end = time.monotonic() + timeout
        at = since
        with self._changed:
            while True:
                for line in self._lines[at:]:
                    if line is None:
                        raise RuntimeError(f"{self.label} ended while {pattern!r} was waited for:\n{self.tail()}")
                    found = re.search(pattern, line)
                    if found:
                        return found
                at = len(self._lines)
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{self.label} did not log {pattern!r} in {timeout} s:\n{self.tail()}")
                self._changed.wait(left)

    def wait_count(self, pattern, count, timeout=20.0, since=0):
        """As many lines with this pattern as there are to be, and no more; what is written may be read a little later."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.find(pattern, since)) >= count, timeout)
            found = [x for x in self.lines[since:] if x is not None and re.search(pattern, x)]
        assert len(found) == count, f"{len(found)} lines, not {count}, with {pattern!r}:\n" + "\n".join(found)

    def tail(self, n=60):
        return "\n".join(x for x in self.lines[-n:] if x is not None)

    def listeners(self, count, timeout=20.0):
        """The addresses of so many listeners, in the order of the log."""
        def all_there():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.label} ended at start:\n{self.tail()}")
            found = [m.group(1) for m in self.find(_LISTENING.pattern)]
            return found if len(found) >= count else None
        return net.wait_until(f"{count} listeners of {self.label}", all_there, timeout)

    # ---- the process

    @property
    def pid(self):
        return self.process.pid

    def memory_peak(self):
        """VmHWM in bytes."""
        return self._memory("VmHWM")

    def memory(self):
        return self._memory("VmRSS")

    def _memory(self, what):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(what + ":"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError(f"no {what}")

    def signal(self, number):
        self.process.send_signal(number)

    def state(self):
        """One letter of the process, as in proc(5); "" where it is gone."""
        if self.process.poll() is not None:
            return ""
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0]
        return ""

    def is_stopped(self):
        return self.state() == "T"

    def reload(self, event="reloaded"):
        """SIGHUP, and waits for how it ended; where the log stood before."""
        since = self.mark()
        self.signal(signal.SIGHUP)
        self.wait(rf"event={event}\b", since=since)
        return since

    def kill(self):
        """kill -9: nothing that comes after is held against it."""
        self._killed = True
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)

    def stop(self, timeout=30.0):
        """SIGTERM; asserts that it went in time, with status 0 and without a sanitizer's report."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.label} did not end within {timeout} s of SIGTERM:\n{self.tail()}") from None
        self._reader.join(10)
        self._log.close()
        reports = sanitizer_reports(self._report)
        assert not reports, f"{self.label}: " + "\n".join(reports)
        if not self._killed:
            assert self.process.returncode == 0, f"{self.label} ended with {self.process.returncode}:\n{self.tail()}"
