"""A headless Chromium that is driven over a pipe: it opens no port and reaches no network."""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = ("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
         "--host-resolver-rules=MAP * ~NOTFOUND")  # fmt: skip


class Browser:
    """A page of a browser that runs; what it says of errors and requests is kept.

    Attributes:
        errors: Messages of the console, errors of scripts, and what the page's policy refused.
        requests: Addresses that the page asked for.
    """

    def __init__(self, writing: int, reading: int) -> None:
        self.writing, self.reading = writing, reading
        self.rest, self.count, self.session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command of the DevTools protocol."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        os.write(
            self.writing, json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0"
        )
        while True:
            said = self._next()
            if said.get("id") == self.count:
                assert "error" not in said, said
                return said["result"]

    def until(self, event: str) -> None:
        """Wait for an event."""
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.reading, 1 << 16)
            assert more, "the browser has ended"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\0")
        said = json.loads(line)
        if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.errors.append(json.dumps(said["params"]))
        if said.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["params"]["request"]["url"])
        return said

    def show(self, page: Path, width: int, *, scripts: bool = True) -> None:
        """Load a page at a width in CSS pixels."""
        self.errors.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=page.as_uri())
        self.until("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """Return what an expression in JavaScript gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, *, height: int | None = None) -> bytes:
        """Return the whole page as PNG, or so much of its top."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(answer["data"])


@contextlib.contextmanager
def started(program: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with a folder for its profile, and end it."""
    (reads, writing), (reading, writes) = os.pipe(), os.pipe()
    # It reads commands at 3 and writes answers at 4: what is put there comes from higher numbers, so that neither
    # stands in the other's place.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reads, writes)]
    shell = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
    command = ["bash", "-c", shell, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL) as process:
        for end in (reads, writes, *ends):
            os.close(end)
        try:
            browser = Browser(writing, reading)
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                browser.call(f"{domain}.enable")
            yield browser
        finally:
            process.terminate()
            os.close(writing)
            os.close(reading)
