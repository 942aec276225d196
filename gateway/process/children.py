"""Child processes that end with us: by our clean-up, and by the kernel when we are killed."""

import asyncio
import subprocess
import sys
from pathlib import Path

from shared_state.embedded import die_with_parent

STOP_TIMEOUT_S = 10.0


class ChildFailed(Exception):
    """A child ended before it was ready; holds what it said last."""


class Children:
    """Started in order, stopped all at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *arguments: str) -> None:
        """`python ARGUMENTS`, its output in a log file of the folder."""
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=die_with_parent,
            )
        self._processes.append((name, process))

    def said(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def check(self) -> None:
        """Raises ChildFailed when one has ended."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise ChildFailed(f"{name} ended with code {process.returncode}:\n{self.said(name)[-2000:]}")

    def take_ended(self) -> list[str]:
        """Names of the children that have ended since the last call; they are children no more."""
        ended = [name for name, process in self._processes if process.poll() is not None]
        self._processes = [(name, process) for name, process in self._processes if name not in ended]
        return ended

    async def stop(self) -> None:
        for _, process in self._processes:
            if process.poll() is None:
                process.terminate()
        for _, process in self._processes:
            try:
                await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
