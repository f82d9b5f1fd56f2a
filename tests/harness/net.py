"""Free ports, short temporary folders, and waiting: always for something, always with a deadline."""
import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time

HOST = "127.0.0.1"
_given = set()
_lock = threading.Lock()


def free_port():
    """A loopback port that nobody listens on and that was not given out before by this process."""
    while True:
        with contextlib.closing(socket.socket()) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((HOST, 0))
            port = s.getsockname()[1]
        with _lock:
            if port not in _given:
                _given.add(port)
                return port


def temp_folder(label):
    """A folder with a short path (UNIX sockets have to fit) that other users may pass through."""
    path = tempfile.mkdtemp(prefix=f"ferry-{label}-", dir="/tmp")
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


def wait_next_second():
    """Dovecot takes the second of creation as UIDVALIDITY: mailboxes made from now on get greater ones."""
    now = int(time.time())
    wait_until("next second", lambda: int(time.time()) > now, timeout=3)


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


def stop_process(process, timeout=10.0):
    """SIGTERM, then SIGKILL to the whole group that this process leads; its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except Exception:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait(timeout)
    return process.returncode
