"""A host of its own for a program: a network namespace with one line to here, which can be taken down and put up again.
Unlike a relay that stalls, it leaves what a program has sent in the kernel of that host, as a network does that fails.

    with Host() as host:
        relay = Relay(("127.0.0.1", port), host=host.here)      what that host can reach
        ferry.migrator(wrapper=host.wrapper, ...)
        host.cut(); ...; host.heal()

Needs root and iproute2."""
import ipaddress
import itertools
import os
import subprocess

from . import net

_number = itertools.count()


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Host:
    def __init__(self):
        n = next(_number) % 64
        self.name = f"ferry{os.getpid()}-{n}"
        self._line = f"f{os.getpid()}-{n}"  # 15 bytes at most
        first = ipaddress.ip_address("10.0.0.0") + (os.getpid() * 64 + n) % (1 << 22) * 4
        self.here, self.there = str(first + 1), str(first + 2)
        self.wrapper = ("ip", "netns", "exec", self.name)
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._line, "type", "veth", "peer", "name", "line", "netns", self.name)
            ip("addr", "add", f"{self.here}/30", "dev", self._line)
            ip("link", "set", self._line, "up")
            for words in (["addr", "add", f"{self.there}/30", "dev", "line"], ["link", "set", "line", "up"],
                          ["link", "set", "lo", "up"]):
                ip("-n", self.name, *words)
            net.wait_until("line", self._is_up)
        except BaseException:
            self.close()
            raise

    def _is_up(self):
        state = subprocess.run(["ip", "-n", self.name, "-br", "link", "show", "line"], capture_output=True, text=True,
                               check=True).stdout
        return " UP " in state

    def cut(self):
        ip("link", "set", self._line, "down")

    def heal(self):
        ip("link", "set", self._line, "up")

    def unsent(self, port):
        """Bytes that its kernel holds for that port here: sent by a program, and not taken by us yet."""
        table = subprocess.run([*self.wrapper, "cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
        rows = (line.split() for line in table.splitlines()[1:])
        # A SYN or a FIN that was not taken counts as one byte there, and is none.
        return sum(int(row[4].partition(":")[0], 16) - (row[3] in ("02", "04", "09", "0B"))
                   for row in rows if int(row[2].partition(":")[2], 16) == port)

    def close(self):
        subprocess.run(["ip", "link", "del", self._line], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
