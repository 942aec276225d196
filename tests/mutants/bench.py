"""A copy of the tree in which slips are made, so that the checkout is never touched. Tests run with the copy as their
working directory and ahead of every other import path: processes that they start import from it as well.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.mutants.slip import Result, Slip, Verdict

LIMIT_S = 180.0  # a slip that makes the tests hang is noticed all the same, only later
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".peers", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"
)
_PASSED, _FAILED = 0, 1  # exit codes of pytest; the others say that it could not run the tests


class Run(NamedTuple):
    """``code``: pytest's, None when the time was over."""

    code: int | None
    output: str


class Bench:
    """One copy of ``root``. Slips are made one after the other; each is taken back before the next."""

    def __init__(self, root: Path, options: Sequence[str] = (), limit_s: float = LIMIT_S) -> None:
        self._options = tuple(options)
        self._limit_s = limit_s
        self._folder = Path(tempfile.mkdtemp(prefix="pllm-mutants-"))
        self.tree = self._folder / "tree"
        # A compiled module counts as current when it is as old as its source: no two writes get the same time.
        self._times = itertools.count(int(time.time()) + 1)
        shutil.copytree(root, self.tree, ignore=_LEFT_OUT, symlinks=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def try_slip(self, file: str, slip: Slip) -> Result:
        """Makes the slip, runs its tests, takes it back."""
        if problem := self.problem(file, slip):
            return Result(file, slip, Verdict.INVALID, problem)
        if slip.survives:
            return Result(file, slip, Verdict.EQUIVALENT)
        path, began_s = self.tree / file, time.monotonic()
        text = path.read_text()
        try:
            self._write(path, text.replace(slip.old, slip.new))
            run = self.pytest(*slip.tests.split())
        finally:
            self._write(path, text)
        verdict, detail = _judge(run)
        return Result(file, slip, verdict, detail, time.monotonic() - began_s)

    def problem(self, file: str, slip: Slip) -> str:
        """Why the slip cannot be made; empty when it can."""
        path = self.tree / file
        if not path.is_file():
            return "the file is gone"
        count = path.read_text().count(slip.old)
        if count != 1:
            return f"the old text stands there {count} times"
        missing = [node for node in slip.tests.split() if not (self.tree / node.partition("::")[0]).exists()]
        if missing:
            return f"no such tests: {' '.join(missing)}"
        return "" if slip.old != slip.new else "the new text is the old one"

    def pytest(self, *arguments: str) -> Run:
        """Ends what it started, with all its children, when the time is over."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *self._options, *arguments]
        environment = os.environ | {"PYTHONPATH": str(self.tree)}
        process = subprocess.Popen(
            command,
            cwd=self.tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return Run(None, output)
        return Run(process.returncode, output)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        at_s = next(self._times)
        os.utime(path, (at_s, at_s))


def _judge(run: Run) -> tuple[Verdict, str]:
    if run.code == _PASSED:
        return Verdict.UNNOTICED, ""
    if run.code is None:
        return Verdict.NOTICED, "by the time limit"
    if run.code == _FAILED:
        return Verdict.NOTICED, ""
    return Verdict.INVALID, f"pytest could not run (exit code {run.code}):\n{run.output[-2000:]}"
