"""What daemons and a service manager tell each other: sockets that it holds, readiness, reloads, ends, the watchdog."""
import ctypes
import os
import signal
import socket
import time

import pytest

from fakes.fake_imap import FakeImap
from harness import net
from harness.ferry import backend, standing
from harness.load import Load
from harness.manager import Manager
from harness.scene import Wire, new_user


@pytest.fixture(name="site", scope="module")
def fixture_site(cert):
    with FakeImap("old") as old, FakeImap("new") as new, \
            standing({"old": backend(old, "imap"), "new": backend(new, "imap")}, cert) as ferry:
        yield ferry


def signs_in(url, ca=None):
    with Wire(url, ca=ca) as wire:
        wire.until(b"* OK")
        assert wire.login(new_user()).startswith(b"l1 OK")


def test_a_restart_under_load_refuses_nobody(site, authority):
    """As systemctl restart does it: stop, wait, start. Meanwhile clients wait in the queues of sockets that systemd holds."""
    port, tls, path = net.free_port(), net.free_port(), os.path.join(site.folder, "held.sock")
    listen = [f"imap://127.0.0.1:{port}", f"imaps://127.0.0.1:{tls}", f"imap+unix://{path}"]
    options = {"threads": 2, "id": "held"}
    # In another order than in listen: they are told apart by their addresses.
    held = [("path", path), ("imaps", ("127.0.0.1", tls)), ("imap", ("127.0.0.1", port))]
    with Manager(site.folder, held) as manager:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as early:  # nobody runs yet
            proxy = site.proxy(listen, proxy=options, **manager.start())
            assert early.recv(100).startswith(b"* OK")
        assert manager.wait("READY")[0] == proxy.pid
        signs_in(listen[1], authority.ca)
        signs_in(listen[2])
        with Load(port) as load:
            for _ in range(2):
                load.more(5)
                proxy.signal(signal.SIGTERM)
                manager.wait("STOPPING", "1")
                proxy.stop()
                proxy = site.proxy(listen, proxy=options, **manager.start())
                manager.wait("READY", "1")
            load.more(5)
        load.check()
        proxy.signal(signal.SIGHUP)
        told = manager.wait("RELOADING", "1")[1]
        assert abs(int(told["MONOTONIC_USEC"]) - time.monotonic() * 1e6) < 20e6
        manager.wait("READY", "1")
        proxy.stop()
        assert os.path.exists(path)  # it is systemd's


def test_sockets_that_do_not_fit_are_named(site):
    port, other = net.free_port(), net.free_port()
    for held, said in (([("wrong", ("127.0.0.1", other))], r'socket 1 \("wrong"\) of the service manager has an address that is not in listen'),
                       ([("a", ("127.0.0.1", port)), ("b", os.path.join(site.folder, "b.sock"))], r'socket 2 \("b"\) of the service manager')):
        with Manager(site.folder, held) as manager:
            proxy = site.proxy([f"imap://127.0.0.1:{port}"], wait=False, **manager.start())
            proxy.wait(said)
            assert proxy.process.wait(20) == 1
            site.daemons.remove(proxy)


def test_the_environment_of_another_process_is_not_ours(site):
    """LISTEN_PID names who is meant: what a shell has left over harms nothing."""
    proxy = site.proxy(env={"LISTEN_PID": "1", "LISTEN_FDS": "2"})
    signs_in(proxy.addresses[0])
    proxy.stop()


def test_the_manager_knows_the_new_process_before_the_old_one_ends(site):
    """Or it would take the end of the old one for the end of the service."""
    path, port = os.path.join(site.folder, "up"), net.free_port()
    options = {"upgrade_socket": path, "id": "up"}
    with Manager(site.folder) as manager:
        first = site.proxy([f"imap://127.0.0.1:{port}"], proxy=options, **manager.start())
        assert manager.wait("READY")[0] == first.pid
        second = site.proxy([f"imap://127.0.0.1:{port}"], proxy=options, **manager.start())
        pid, told = manager.wait("READY")
        assert pid == second.pid and told["MAINPID"] == str(second.pid)
        first.process.wait(20)
        first.stop()
        assert not manager.next(0), "the old one says nothing, or that would be about the service"
        second.stop()


class Stopped:
    """One thread of a process, which stands still, as one does that hangs; the others go on."""
    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(self, what):
        assert self.libc.ptrace(what, self.thread, None, None) == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        self.ptrace(self.SEIZE)
        self.ptrace(self.INTERRUPT)
        os.waitpid(self.thread, 0x40000000)  # __WALL: threads too
        return self

    def __exit__(self, *_):
        self.ptrace(self.DETACH)


def threads_that_serve(proxy):
    """Those that have a loop of their own, which the main thread has too."""
    found = []
    for thread in sorted(map(int, os.listdir(f"/proc/{proxy.pid}/task"))):
        with open(f"/proc/{proxy.pid}/task/{thread}/wchan", encoding="ascii") as f:
            if thread != proxy.pid and "epoll" in f.read():
                found.append(thread)
    return found


def test_the_watchdog_hears_nothing_while_a_thread_hangs(site):
    """One of three is enough: what it serves stands still. The main thread goes on, or the manager could not tell."""
    with Manager(site.folder, watchdog_ms=800) as manager:
        proxy = site.proxy(proxy={"threads": 3}, **manager.start())
        manager.wait("WATCHDOG", "1")
        net.wait_until("threads", lambda: len(threads_that_serve(proxy)) == 3)
        for thread in threads_that_serve(proxy):
            with Stopped(thread):
                before = 10  # what was said already, and what the rounds before allow for
                while manager.next(1.6) and before:  # twice the term
                    before -= 1
                assert before, "it goes on telling"
            manager.wait("WATCHDOG", "1")
        proxy.stop()


def test_the_watchdog_is_told_that_daemons_live(site):
    with Manager(site.folder, watchdog_ms=600) as manager:
        proxy = site.proxy(proxy={"threads": 2}, **manager.start())
        for _ in range(3):
            assert manager.wait("WATCHDOG", "1", timeout=5)[0] == proxy.pid
        proxy.stop()
        while manager.next(0):
            pass  # what the proxy has said
        migrator = site.migrator(wrapper=manager.start()["wrapper"], env=manager.start()["env"])
        assert manager.wait("WATCHDOG", "1", timeout=20)[0] == migrator.pid
        migrator.stop()
