"""`make screenshots`: the live page over a demo under load, as files for the docs."""

import subprocess
import sys
import time
from pathlib import Path

from tests.support.browser import Browser, running_browser
from tests.support.demo import REPLICAS, running_demo

LOADS = {"gpt-4": 40, "claude-3-opus": 4}  # requests a second
WATCHED_S = 45  # until the curves say something
VIEWS = {"light": (1280, 860, False, 1.0), "dark": (1280, 860, True, 1.0), "phone": (390, 844, False, 1.5)}


def main(folder: Path) -> None:
    urls = ",".join(f"http://{host}:{port}" for host, port in REPLICAS)
    with running_demo(), running_browser() as browser:
        loads = [
            subprocess.Popen(
                [sys.executable, "-m", "loadtest", "-url", urls, "-model", model, "-rps", str(rps), "-duration", "80s"],
                stdout=subprocess.DEVNULL,
            )
            for model, rps in LOADS.items()
        ]
        try:
            _take(browser, folder, f"http://localhost:{REPLICAS[0][1]}/admin")
        finally:
            for load in loads:
                load.kill()
                load.wait()


def _take(browser: Browser, folder: Path, url: str) -> None:
    browser.look(*VIEWS["light"][:2])
    browser.open(url)
    browser.wait_for_text("#source", "live from")
    time.sleep(WATCHED_S)
    for name, (width, height, is_dark, scale) in VIEWS.items():
        browser.look(width, height, is_dark=is_dark, scale=scale)
        browser.picture(folder / f"admin-{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
