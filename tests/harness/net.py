"""Free ports, short temporary folders, and waiting: always for something, always with a deadline."""
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time

HOST = "127.0.0.1"
_lock = threading.Lock()


def own_ports():
    """Below those that systems give to connections, which might take one before its server does; of several runners that share a machine
    each has its own."""
    runner, runners = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    each = (32768 - 10000) // runners
    first = 10000 + int(runner[2:]) % runners * each
    return range(first, first + each)


PORTS = own_ports()
_turn = itertools.count(random.randrange(len(PORTS)))


def free_port():
    """A loopback port that nobody listens on, one after the other of own_ports()."""
    while True:
        with _lock:
            port = PORTS[next(_turn) % len(PORTS)]
        with contextlib.closing(socket.socket()) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind((HOST, port))
                return port


def temp_folder(label):
    """A folder with a short path (UNIX sockets have to fit) that other users may pass through."""
    path = tempfile.mkdtemp(prefix=f"ferry-{label}-", dir=os.environ.get("IMAPFERRY_SCRATCH", "/tmp"))
    os.chmod(path, 0o755)
    return path


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)


def wait_until(what, condition, timeout=20.0, step=0.02):
    """The first true value of condition(); TimeoutError that says what was waited for."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {timeout} s")
        time.sleep(step)


def wait_quiet(counter, seconds=0.5, timeout=60):
    """Waits until a number has not changed for a while; the number."""
    last, since = counter(), time.monotonic()
    end = since + timeout
    while time.monotonic() - since < seconds:
        if time.monotonic() > end:
            raise TimeoutError("it never stops")
        if counter() != last:
            last, since = counter(), time.monotonic()
        time.sleep(0.02)
    return last


def wait_next_second():
    """Dovecot takes the second of creation as UIDVALIDITY: mailboxes made from now on get greater ones."""
    now = int(time.time())
    wait_until("next second", lambda: int(time.time()) > now, timeout=3)


def unread(port):
    """Bytes that the kernel holds of connections to that port on loopback: sent by who listens there, and read by nobody yet."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split()[1:5] for line in f.readlines()[1:]]
    sent = sum(int(queues.partition(":")[0], 16) for local, _, _, queues in rows if local.endswith(f":{port:04X}"))
    return sent + sum(int(queues.partition(":")[2], 16) for _, remote, _, queues in rows if remote.endswith(f":{port:04X}"))


def accepts(address):
    """True where somebody listens: ("127.0.0.1", port) or the path of a UNIX socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as s:
        s.settimeout(1)
        try:
            s.connect(address)
            return True
        except OSError:
            return False


def _group_lives(leader):
    """Those that have ended and that nobody has waited for yet do not count."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            state, _, group = f.read().rpartition(") ")[2].split()[:3]
            if group == str(leader) and state not in "ZX":
                return True
    return False


def stop_group(leader, timeout=2.0):
    """SIGKILL for the process that leads a group (others are ignored where a shell has begun the tests in the background),
    SIGTERM for all others of it, and SIGKILL for who is left then."""
    leader.kill()
    leader.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait_until("end of a group", lambda: not _group_lives(leader.pid), timeout, step=0.01)
        os.killpg(leader.pid, signal.SIGKILL)


def stop_process(process, timeout=10.0):
    """SIGTERM, then SIGKILL to the whole group that this process leads; its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except Exception:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait(10)
    return process.returncode
