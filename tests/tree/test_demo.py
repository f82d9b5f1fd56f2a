"""What the demo writes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "demo"))

import demo  # noqa: E402  pylint: disable=wrong-import-position


def test_the_bar_fits_a_terminal_of_80_columns():
    terminal = demo.Terminal()
    for done in (0, 1, 9999, 1000001, 93200000):
        for seconds in (0.001, 999):
            for last in (False, True):
                n = 364 * done // 93200000
                text = demo.progress_text({"done": n, "total": 364}, {"done": done, "total": 93200000}, seconds, last)
                for user in demo.USERS:
                    assert len(terminal.progress_line(user, text)) < 80, text
