#!/usr/bin/python3
"""make check-account: one account of MESSAGES (20,000) messages, with every oddity of tests/CASES.md in it, from Courier to
Dovecot, from Cyrus to Dovecot and from Dovecot to Cyrus. An independent comparison may find nothing but what we name, and
the old server has to be what it was. Prints a line for each, and `N passed, N failed`."""
import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import certs, net, redisd, whole  # noqa: E402  pylint: disable=wrong-import-position
from harness.ferry import Ferry  # noqa: E402  pylint: disable=wrong-import-position

SETTINGS = {"migration": {"freeze_budget": "60s"}, "migrator": {"command_timeout": "60s"}}


def run(pair, messages, cert):
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(whole.SERVERS[pair[0]]("old", cert))
        target = stack.enter_context(whole.SERVERS[pair[1]]("new", cert))
        redis = redisd.Redis(port=net.free_port())
        stack.callback(redis.close)
        ferry = Ferry(redis, whole.backends(source, target), cert, SETTINGS)
        stack.callback(ferry.close)
        ferry.init()
        return whole.move(source, target, ferry, messages, timeout=1500)


def main():
    messages = int(os.environ.get("MESSAGES") or 20000)
    folder = net.temp_folder("ca")
    failed = 0
    try:
        cert = certs.Authority(folder).issue("server")
        for pair in whole.PAIRS:
            result = run(pair, messages, cert)
            faults = result.faults()
            print(f"{pair[0]} to {pair[1]}: {result}", *faults[:20], sep="\n  ", flush=True)
            failed += bool(faults)
    finally:
        net.remove_folder(folder)
    print(f"{len(whole.PAIRS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
