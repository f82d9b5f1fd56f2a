"""What `make demo ONCE=1` runs, to its end: it starts from the sample configuration, as a site does."""
import os
import shutil
import subprocess
import sys

import pytest

from harness.daemon import BUILD

DEMO = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "demo", "demo.py")


@pytest.mark.timeout(200)
def test_demo_ends_well():
    run = subprocess.run([sys.executable, "-B", DEMO], env=dict(os.environ, ONCE="1", IMAPFERRY_BUILD=BUILD),
                         capture_output=True, text=True, timeout=190, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stdout.count("0 differences") == 2, run.stdout[-3000:]
    if shutil.which("mbsync"):
        assert run.stdout.count("after the flip: no messages transferred") == 2, run.stdout[-3000:]
    else:
        assert "mbsync           is not installed" in run.stdout, run.stdout[-3000:]
