"""A real Chromium, driven by Playwright (browse.js, packages of npm in build/servers/npm), a step a call. It starts with the first
Browser and ends with this process; each Browser is a visitor of its own, who shares nothing with the others."""
import atexit
import itertools
import json
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODULES = os.path.join(ROOT, "build", "servers", "npm", "node_modules")
SHOTS = os.path.join(ROOT, "build", "page")


class Chromium:
    """The process that all visitors share."""

    def __init__(self):
        self._process = None

    def step(self, *step):
        if not self._process:
            self._process = subprocess.Popen(["node", os.path.join(HERE, "browse.js"), MODULES, shutil.which("chromium")],
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            atexit.register(self.close)
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self.close()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self):
        process, self._process = self._process, None
        if not process:
            return
        atexit.unregister(self.close)
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


CHROMIUM = Chromium()
NUMBERS = itertools.count(1)


class Browser:
    def __init__(self, width=1280, height=900, scheme="light"):
        os.makedirs(SHOTS, exist_ok=True)
        self._visitor = next(NUMBERS)
        self.begin(width, height, scheme)

    def __getattr__(self, step):
        """browser.click("#x") is the step `click` of browse.js."""
        if step.startswith("_"):
            raise AttributeError(step)
        return lambda *args: CHROMIUM.step(self._visitor, step, *args)

    def picture(self, name, full=True):
        self.shot(os.path.join(SHOTS, name + ".png"), full)

    def close(self):
        self.end()
