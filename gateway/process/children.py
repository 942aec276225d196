"""Child processes that end with this one: our clean-up stops them, and the kernel does when we are killed.

Each runs with `-P`, so that it imports the installed packages and nothing that lies in the current folder.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from shared_state.embedded import die_with_parent

STOP_TIMEOUT_S = 10.0


class ChildFailed(Exception):
    """A child ended before it was ready; the message holds the end of its log."""


class Children:
    """Python processes that are started one by one and stopped together. ``folder`` gets a log file of each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *arguments: str) -> None:
        """Starts `python ARGUMENTS` with its output in the log file `NAME.log`."""
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

    def log(self, name: str) -> str:
        """Returns the output of a child so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def check(self) -> None:
        """Raises ChildFailed if a child has ended."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise ChildFailed(f"{name} ended with code {process.returncode}:\n{self.log(name)[-2000:]}")

    def take_ended(self) -> list[str]:
        """Removes the children that have ended and returns their names."""
        ended = [name for name, process in self._processes if process.poll() is not None]
        self._processes = [(name, process) for name, process in self._processes if name not in ended]
        return ended

    async def stop(self) -> None:
        """Terminates all children, and kills those that take longer than STOP_TIMEOUT_S."""
        for _, process in self._processes:
            if process.poll() is None:
                process.terminate()
        for _, process in self._processes:
            try:
                await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
