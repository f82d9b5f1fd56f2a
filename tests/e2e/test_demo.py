"""What `make demo ONCE=1` runs, to its end: it starts from the sample configuration, as a site does."""
import os
import shutil
import subprocess
import sys

import pytest

from harness.daemon import BUILD

DEMO = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "demo", "demo.py")


DEMO_SECONDS = 190


@pytest.mark.timeout(DEMO_SECONDS + 40)
def test_demo_ends_well():
    status, said = run_demo()
    assert status == 0, said[-6000:]
    assert said.count("0 differences") == 2, said[-3000:]
    if shutil.which("mbsync"):
        assert said.count("after the flip: no messages transferred") == 2, said[-3000:]
    else:
        assert "mbsync           is not installed" in said, said[-3000:]


def run_demo():
    """Where it does not end by itself it is told to, so that none of its servers is left behind."""
    with subprocess.Popen([sys.executable, "-B", DEMO], env=dict(os.environ, ONCE="1", IMAPFERRY_BUILD=BUILD),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        try:
            said = demo.communicate(timeout=DEMO_SECONDS)[0]
        except subprocess.TimeoutExpired:
            demo.terminate()
            said = demo.communicate(timeout=30)[0] + "\nthe demo did not end in time"
    return demo.returncode, said
