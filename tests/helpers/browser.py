"""A headless Chromium that a test drives through a pipe, by its DevTools protocol."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-crash-reporter", "--disable-breakpad"),
)
PATIENCE = 120.0  # seconds that an answer may take: machines are busy


class Browser:
    """`with Browser(folder) as browser: browser.open(uri, width=390, height=900)`.

    complaints: what the page's console and its log said since it was opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complaints: list[str] = []
        self.loaded = False
        self.number, self.rest, self.session = 0, b"", ""

    def __enter__(self) -> "Browser":
        theirs_in, self.output = os.pipe()
        self.input, theirs_out = os.pipe()
        self.process = subprocess.Popen(
            [BROWSER, *FLAGS, f"--user-data-dir={self.folder}/profile", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,  # others are not inherited anyway
            preexec_fn=lambda: _at_3_and_4(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self.input, False)
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.output)  # it ends when nobody speaks to it
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.input)

    def open(self, uri: str, *, width: int, height: int) -> None:
        """Load a page in a window of this size, and wait until it is there."""
        self.complaints, self.loaded = [], False
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=uri)
        self._wait(lambda: self.loaded)

    def ask(self, script: str) -> object:
        """Return what a script evaluates to."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press_tab(self, times: int, script: str) -> list[tuple]:
        """Press the tab key, and return what a script says after each time."""
        seen = []
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
                self.call("Input.dispatchKeyEvent", type=kind, **key)
            answer = self.ask(script)
            assert isinstance(answer, list)
            seen.append(tuple(answer))
        return seen

    def call(self, method: str, **parameters: object) -> dict:
        """Send one command and return its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        answers: dict[int, dict] = {}
        wanted = self.number
        self._wait(lambda: wanted in answers, answers)
        assert "error" not in answers[wanted], (method, answers[wanted])
        return answers[wanted].get("result", {})

    def _wait(self, done, answers: dict | None = None) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, "the browser does not answer"
            try:
                self.rest += os.read(self.input, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
            *messages, self.rest = self.rest.split(b"\0")
            for message in map(json.loads, messages):
                self._take(message, answers if answers is not None else {})

    def _take(self, message: dict, answers: dict[int, dict]) -> None:
        if "id" in message:
            answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self.loaded = True
        elif message["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(message["params"]))
        elif message["method"] == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])


def _at_3_and_4(theirs_in: int, theirs_out: int) -> None:
    """Put a pipe's ends where Chromium looks for them: it reads 3 and writes 4."""
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
    for end, place in zip(ends, (3, 4), strict=True):
        os.dup2(end, place)
