"""How tests end a process that they no longer need."""

import contextlib
import os
import subprocess
from typing import Any

DRAIN_S = 5.0  # enough for a replica without requests


def end(process: subprocess.Popen[Any]) -> None:
    """Kills a process. Where coverage is measured it gets SIGTERM first: a process that is killed writes no data."""
    if "COVERAGE_PROCESS_CONFIG" in os.environ and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DRAIN_S)
    process.kill()
    process.wait()
