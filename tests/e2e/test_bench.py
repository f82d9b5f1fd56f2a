"""What make bench-migrate measures with."""
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import net
from harness.daemon import BUILD

BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")


@pytest.fixture
def delay(tmp_path):
    """Starts the relay in front of a port; its own port."""
    program = tmp_path / "delay"
    subprocess.run(["cc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-D_GNU_SOURCE",
                    "-o", program, os.path.join(BENCH, "delay.c")], check=True)
    started = []

    def start(ms, port):
        process = subprocess.Popen([program, str(ms), str(port)], stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return int(process.stdout.readline().split()[1])
    yield start
    for process in started:
        assert process.poll() is None, "the relay ended by itself"
        net.stop_process(process)
        process.stdout.close()


def echo(server):
    connection, _ = server.accept()
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.close()


def test_relay_delays_and_does_not_throttle(delay):
    """Bytes come back whole, a round trip later each, and as fast as they would without it."""
    with socket.create_server((net.HOST, 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        began = time.monotonic()
        with socket.create_connection((net.HOST, delay(60, server.getsockname()[1])), timeout=30) as s:
            sent, got = hashlib.sha256(), hashlib.sha256()
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            assert time.monotonic() - began >= 0.06 * 2  # one for the connect
            began = time.monotonic()
            s.sendall(b"y")
            assert s.recv(1) == b"y"
            assert 0.06 <= time.monotonic() - began
            data = os.urandom(1 << 20)

            def send():
                for _ in range(64):
                    sent.update(data)
                    s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            began = time.monotonic()
            sender.start()
            while piece := s.recv(1 << 18):
                got.update(piece)
            took = time.monotonic() - began
            sender.join()
            assert sent.digest() == got.digest()
            assert took < 8, "64 KiB a round trip would take a minute"


@pytest.mark.timeout(120)
def test_bench_measures_and_writes(tmp_path):
    env = dict(os.environ, ONLY="small,20,floor,floor-verified,imapferry", RUNS="1", SCALE="0.01", BENCH_OUT=str(tmp_path), IMAPFERRY_BUILD=BUILD)
    run = subprocess.run([sys.executable, "-B", os.path.join(BENCH, "bench.py")], env=env, capture_output=True, text=True,
                         timeout=110, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    table = (tmp_path / "migrate.md").read_text()
    rows = [x for x in table.splitlines() if x.startswith("| imapferry")]
    columns = next(x for x in table.splitlines() if x.startswith("| engine")).count("|")
    assert rows and all(x.count("|") == columns and float(x.split("|")[n]) > 0 for x in rows for n in (3, 4)), table
    assert "messages |" not in table, "something was left out: " + table
    assert re.search(r"mail_(location|driver) = mdbox", table)
    assert (tmp_path / "migrate.svg").read_text().startswith("<svg ")
