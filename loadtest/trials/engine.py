"""Providers of `make side-by-side` as processes that can be stopped, killed and restarted on their port: the fake
provider and llama.cpp.
"""

import contextlib
import http.client
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.cluster.packages import Package
from loadtest.cluster.programs import READY_S, wait_for
from loadtest.trials.recoveries import control

LLAMA = Package("llama-cpp", "llama.cpp", "xllamacpp==2026.10.11549 gguf==0.19.0")
SCRIPT = Path(__file__).with_name("llama_engine.py")


class Provider:
    """The fake provider."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.start()

    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "loadtest.provider", "--port", str(self.port))

    def start(self) -> None:
        """Starts the process and returns when it can serve."""
        self._process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self._process)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def behave(self, **patch: Any) -> None:
        control(self.port, "/control", patch, "PATCH")


class Llama(Provider):
    """llama.cpp with two slots. ``home``: the folder of its packages."""

    def __init__(self, port: int, home: Path) -> None:
        self._home = home
        super().__init__(port)

    def command(self) -> tuple[str, ...]:
        python, model = self._home / "bin/python", self._home / "random.gguf"
        return (str(python), str(SCRIPT), "--model", str(model), "--port", str(self.port))

    def start(self) -> None:
        """Starts the process and waits for its model: it listens and refuses calls while it loads."""
        super().start()
        ends_at_s = time.monotonic() + READY_S
        while not self._is_healthy():
            if time.monotonic() > ends_at_s or self._process.poll() is not None:
                raise SystemExit(f"{LLAMA.title} did not start: {' '.join(self.command())}")
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)) as connection,
        ):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def behave(self, **patch: Any) -> None:
        """Does nothing: a real engine has no scripted behaviour."""
