"""The demo as a process, and who its children are."""

import contextlib
import fcntl
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.demo import PORT
from shared_state.embedded import die_with_parent
from tests.support.ending import end
from tests.support.process_tree import children
from tests.support.wire import Address

REPLICAS: list[Address] = [("127.0.0.1", PORT), ("127.0.0.1", PORT + 1)]
CHILDREN = 6  # a store, three providers, two replicas


class Demo:
    def __init__(self, *flags: str, folder: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gateway", "demo", *flags],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,
        )
        self.guide = ""

    def read_guide(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.guide += line
            if "Ctrl-C stops everything" in line:
                return
        raise AssertionError(f"the demo ended: {self.guide}")

    def children(self) -> list[int]:
        return children(self.process.pid)

    def close(self) -> None:
        end(self.process)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


def is_running(pid: int) -> bool:
    """Returns False for a zombie too."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@contextlib.contextmanager
def running_demo() -> Iterator[Demo]:
    """Its two ports are fixed, so test processes take turns."""
    with (Path(tempfile.gettempdir()) / "pllm-demo-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = Demo()
        try:
            running.read_guide()
            yield running
        finally:
            running.close()
