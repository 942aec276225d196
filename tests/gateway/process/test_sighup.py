"""SIGHUP: of a terminal that closes it ends what was started there, else it reads the configuration again."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loadtest.process import wait_until
from tests.support.ports import free_port
from tests.support.wire import ask, request_bytes


def _at_terminal() -> None:
    """With the signal as a shell leaves it, however these tests were started: nohup would have it ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class InTerminal:
    """`pllm serve` at a terminal of its own."""

    def __init__(self, folder: Path, *before: str, replicas: int = 1) -> None:
        self.port, self.log, self.config = free_port(), folder / "log", folder / "pllm.yaml"
        self.write("")
        self.terminal, inner = pty.openpty()
        command = [*before, sys.executable, "-m", "gateway", "serve", "--config", str(self.config)]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--replicas", str(replicas)],
                stdin=inner,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_at_terminal,
            )
        os.close(inner)
        wait_until(self.is_ready, self.said)

    def write(self, more: str) -> None:
        models = "model_list: [{id: m-1, model_name: m}]"
        self.config.write_text(f"server: {{port: {self.port}}}\n{models}\nrouter: {{max_attempts: 3{more}}}\n")

    def said(self) -> str:
        return self.log.read_text()

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return ask(("127.0.0.1", self.port), request_bytes("GET", "/readyz")).status == 200
        return False

    def has_reloaded(self) -> bool:
        """Sends SIGHUP at each call, because that of the closing terminal may arrive after the first."""
        self.process.send_signal(signal.SIGHUP)
        return "router.aliases.one: added" in self.said()

    def close_terminal(self) -> None:
        os.close(self.terminal)
        self.terminal = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        if self.terminal >= 0:
            self.close_terminal()


@contextlib.contextmanager
def in_terminal(folder: Path, *before: str, replicas: int = 1) -> Iterator[InTerminal]:
    running = InTerminal(folder, *before, replicas=replicas)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize("replicas", [1, 2])
def test_terminal_that_closes_ends_it(tmp_path: Path, replicas: int) -> None:
    with in_terminal(tmp_path, replicas=replicas) as running:
        running.close_terminal()

        assert running.process.wait(30) == 0


def test_hang_up_of_a_person_reloads(tmp_path: Path) -> None:
    with in_terminal(tmp_path) as running:
        running.write(", aliases: {one: m}")
        wait_until(running.has_reloaded, running.said)

        assert running.is_ready()


def test_with_nohup_it_outlives_its_terminal_and_still_reloads(tmp_path: Path) -> None:
    with in_terminal(tmp_path, "nohup") as running:
        running.close_terminal()
        running.write(", aliases: {one: m}")
        wait_until(running.has_reloaded, running.said)

        assert running.is_ready()
