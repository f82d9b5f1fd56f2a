"""A real Chromium, driven by Playwright (browse.js, packages of npm in build/servers/npm), a step a call."""
import json
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODULES = os.path.join(ROOT, "build", "servers", "npm", "node_modules")
SHOTS = os.path.join(ROOT, "build", "page")


class Browser:
    def __init__(self, width=1280, height=900, scheme="light"):
        self._process = subprocess.Popen(["node", os.path.join(HERE, "browse.js"), MODULES, shutil.which("chromium"), str(width), str(height), scheme],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.makedirs(SHOTS, exist_ok=True)

    def __getattr__(self, step):
        """browser.click("#x") is the step `click` of browse.js."""
        if step.startswith("_"):
            raise AttributeError(step)
        return lambda *args: self._do(step, *args)

    def _do(self, *step):
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def picture(self, name, full=True):
        self.shot(os.path.join(SHOTS, name + ".png"), full)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
