"""A headless Chromium, driven through chromedriver's own protocol (W3C WebDriver)."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
KEYS = {"down": "\ue015", "up": "\ue013", "enter": "\ue007", "escape": "\ue00c", "tab": "\ue004"}


class Browser:
    """One window."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self._call("POST", "url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self._call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by name or character, wherever the focus is."""
        actions = [
            {"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")
        ]
        self._call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def type(self, text: str) -> None:
        self.press(*text)

    def click(self, selector: str) -> None:
        element = self._call("POST", "element", {"using": "css selector", "value": selector})
        self._call("POST", f"element/{next(iter(element.values()))}/click", {})

    def texts(self, selector: str) -> list[str]:
        return self.run(  # type: ignore[no-any-return]
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
        )

    def until(self, met: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait until something is so, and return it."""
        deadline = time.monotonic() + seconds
        while not (value := met()):
            assert time.monotonic() < deadline, self.run("return document.body.innerText")
            time.sleep(0.02)
        return value

    def emulate(self, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Look as another device does."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._call("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        return base64.b64decode(self._call("GET", "screenshot"))

    def complaints(self) -> list[str]:
        """Return what the console says since the last look, failures of requests aside."""
        entries = self._call("POST", "se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["source"] != "network"]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with an empty profile."""
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            assert driver.stdout is not None
            port = None
            for line in driver.stdout:
                if found := re.search(r"successfully on port (\d+)", line):
                    port = found[1]
                    break
            options = {"args": [*_OPTIONS, f"--user-data-dir={profile}"], "binary": CHROMIUM}
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            base = f"http://127.0.0.1:{port}"
            answer = httpx.post(
                f"{base}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60
            ).json()["value"]
            with httpx.Client(base_url=f"{base}/session/{answer['sessionId']}/", timeout=60) as client:
                yield Browser(client)
                client.delete("/")
        finally:
            driver.terminate()
            driver.wait()
