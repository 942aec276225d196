"""Claude Code as a client of the table of recoveries: one process with one conversation, in which each call is a turn.
It streams and retries by its own rules.
"""

import contextlib
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from loadtest.cluster.packages import Package
from loadtest.trials.sdks import API_KEY, PROMPT

RELEASE = "2.1.328"
PACKAGE = Package(
    "claude-code",
    "Claude Code",
    f'{{"private": true, "dependencies": {{"@anthropic-ai/claude-code": "{RELEASE}"}}}}\n',
)
TURN_S = 60.0  # including its start, on a machine that runs several at once
_COMMAND = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--tools", "")
_QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
)
_MODELS = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_SMALL_FAST_MODEL")


class ClaudeCodeError(Exception):
    """The turn ended without an answer."""


class ClaudeCode:
    """A process with its own home folder and no environment except for PATH: it has no settings and no key of this
    machine's user.
    """

    def __init__(self, url: str, program: Path) -> None:
        self._url = url
        self._program = program
        self._home = tempfile.TemporaryDirectory(prefix="pllm-claude-code-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError), self._process:  # from a turn that was not sent
                pass
        self._home.cleanup()

    def call(self, model: str, is_stream: bool) -> str:
        """Makes one call. All calls of one object must name the same model. Raises ClaudeCodeError."""
        assert is_stream, "Claude Code streams"
        if self._process is None:
            self._process = self._start(model)
        turn = {"type": "user", "message": {"role": "user", "content": PROMPT}}
        patience = threading.Timer(TURN_S, self._process.kill)
        patience.start()
        try:
            return _turn(self._process, msgspec.json.encode(turn).decode())
        finally:
            patience.cancel()

    def _start(self, model: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": self._home.name,
            "ANTHROPIC_BASE_URL": self._url,
            "ANTHROPIC_AUTH_TOKEN": API_KEY,
            **dict.fromkeys(_QUIET, "1"),
            **dict.fromkeys(_MODELS, model),
        }
        return subprocess.Popen(
            (self._program, *_COMMAND),
            cwd=self._home.name,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


def program(home: Path) -> Path:
    """Returns the path of the program in the package's folder."""
    return (home / "node_modules/.bin/claude").resolve()


def _turn(process: subprocess.Popen[str], line: str) -> str:
    stdin, stdout = _pipes(process)
    try:
        stdin.write(f"{line}\n")
        stdin.flush()
    except OSError as error:
        raise ClaudeCodeError(f"the process has ended: {error}") from error
    for event in stdout:
        result: dict[str, Any] = msgspec.json.decode(event)
        if result.get("type") == "result":
            if result.get("is_error") or "result" not in result:
                raise ClaudeCodeError(str(result.get("result") or result.get("subtype")))
            return str(result["result"])
    raise ClaudeCodeError("the process ended before its turn was complete")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
