"""Debian's Chromium without a window, spoken to in WebDriver's own protocol: its driver is a small HTTP server, and
these few calls need no library between.
"""

import base64
import contextlib
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared_state.embedded import die_with_parent
from tests.loadtest.process import wait_until
from tests.support.programs import program

ANSWER_TIMEOUT_S = 60.0
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    """One window of one browser."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""

    def begin(self) -> None:
        always = {"goog:chromeOptions": {"args": list(_FLAGS)}, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = (
            f"/session/{self._call('POST', '/session', {'capabilities': {'alwaysMatch': always}})['sessionId']}"
        )

    def end(self) -> None:
        self._call("DELETE", self._session)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_TIMEOUT_S)
        ) as driver:
            driver.request(method, path, None if body is None else json.dumps(body))
            value = json.loads(driver.getresponse().read())["value"]
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def _do(self, path: str, **body: Any) -> Any:
        return self._call("POST", f"{self._session}/{path}", body)

    def open(self, url: str) -> None:
        self._do("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """`return` gives its value back."""
        return self._do("execute/sync", script=script, args=list(arguments))

    def text(self, selector: str) -> str:
        """What is to be read there; nothing where there is nothing."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def wait_for_text(self, selector: str, text: str) -> None:
        wait_until(lambda: text in self.text(selector), lambda: f"{text!r} in {selector}: {self.text(selector)!r}")

    def _element(self, selector: str) -> str:
        return str(self._do("element", using="css selector", value=selector)[_ELEMENT])

    def click(self, selector: str) -> None:
        """As a mouse does: what is covered or not there cannot be clicked."""
        self._do(f"element/{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._do(f"element/{self._element(selector)}/value", text=text)

    def press(self, *keys: str) -> None:
        """To whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def look(self, width: int, height: int, *, is_dark: bool = False, scale: float = 1) -> None:
        """Through a window, or a phone, of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self._develop("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._develop("Emulation.setEmulatedMedia", {"features": [scheme]})

    def _develop(self, command: str, parameters: dict[str, Any]) -> None:
        self._do("goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self) -> list[str]:
        """What the console says since the last look: errors, and what the policy of the page forbids."""
        return [entry["message"] for entry in self._do("se/log", type="browser")]

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Everything ends with this process, however that ends. Skips the test where it is missing."""
    with subprocess.Popen(
        [program("chromedriver"), "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        preexec_fn=die_with_parent,
    ) as driver:
        try:
            assert driver.stdout is not None
            said = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
            port = next(int(found[1]) for found in said if found)
            browser = Browser(port)
            browser.begin()
            try:
                yield browser
            finally:
                browser.end()
        finally:
            driver.kill()
