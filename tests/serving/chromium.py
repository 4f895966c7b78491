"""A headless Chromium, driven over its DevTools pipe: no driver, no socket."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--window-size=1280,800",
)  # fmt: skip
_ABOVE_THE_PIPE = 10


def find_chromium() -> str | None:
    """CHROMIUM, else `chromium` or `chromium-browser` on the path."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser with one page. Requests and what the page complains of are kept."""

    def __init__(self, binary: str, profile: Path) -> None:
        self.requests: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._next_id, self._buffer, self._session = 0, b"", None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4; high copies, so that neither hides the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, _ABOVE_THE_PIPE) for end in (theirs_in, theirs_out)]

        def connect() -> None:
            for end, number in zip(ends, (3, 4), strict=True):
                os.dup2(end, number)

        command = [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=connect, pass_fds=(3, 4))
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self._attach()

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        for end in (self._in, self._out):
            os.close(end)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._next_id:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address: str) -> None:
        """Go to an address, as if nothing had been shown before."""
        self.command("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")  # else another #fragment would load nothing
        self.command("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        done = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 20) -> None:
        """Wait until an expression is true; an element is."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < until, f"never true: {condition}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """The text of an element as it is seen."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def press(self, key: str) -> None:
        """Press a key that writes nothing."""
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def fill(self, selector: str, text: str) -> None:
        """Take the place of what stands in a field, by typing."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.command("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """What is seen, as PNG."""
        path.write_bytes(b64decode(self.command("Page.captureScreenshot")["data"]))

    def _attach(self) -> None:
        targets = self.command("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.command("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
