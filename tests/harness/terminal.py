"""A terminal that programs run in: a pty, with an emulator behind it (pyte), so that a test sees the screen as a person does."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte

from .daemon import sanitizer_environment

DEADLINE = 30


class Terminal:
    """A program on a terminal of so many columns and rows. `output` has every byte that it wrote."""

    def __init__(self, command, columns=80, rows=24, env=None, report=None):
        self.output = b""
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.status = None
        environment = {**(sanitizer_environment(report) if report else os.environ), "TERM": "xterm-256color", **(env or {})}
        environment = {k: v for k, v in environment.items() if v is not None}
        self.fd, theirs = pty.openpty()
        self.resize(columns, rows)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.fd)
                os.login_tty(theirs)
                os.execvpe(command[0], command, environment)
            finally:
                os._exit(127)
        os.close(theirs)
        self.screen.write_process_input = self.send

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def send(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def signal(self, number):
        os.kill(self.pid, number)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    def settings(self):
        """What `stty` would show: is it as programs expect it, or left in a state of its own?"""
        return termios.tcgetattr(self.fd)

    def pump(self, seconds):
        """Takes what the program writes within so many seconds; False once it has closed its end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.fd, 65536)
        except OSError:
            got = b""
        self.output += got
        self.stream.feed(got)
        return bool(got)

    def wait(self, what, seen, deadline=DEADLINE):
        """Until seen() is true, which may be a text that the screen has to show."""
        end = time.monotonic() + deadline
        test = seen if callable(seen) else lambda: seen in self.text
        while not test():
            assert time.monotonic() < end, f"{what} did not come; the screen:\n{self.text}"
            if not self.pump(0.2) and not test():
                raise AssertionError(f"{what} did not come before the end; the screen:\n{self.text}")

    def end(self, deadline=DEADLINE):
        """The exit status, once the program has ended by itself."""
        end = time.monotonic() + deadline
        while self.status is None:
            assert time.monotonic() < end, f"it does not end; the screen:\n{self.text}"
            self.pump(0.1)
            self.reap()
        while self.pump(0):
            if not select.select([self.fd], [], [], 0)[0]:
                break
        return self.status

    def reap(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)

    def close(self):
        if self.status is None:
            self.reap()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
