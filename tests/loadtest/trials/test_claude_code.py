"""Claude Code as a client of `make recoveries`, with a stand-in for its program: npm is not needed for a test."""

import json
import sys
from pathlib import Path

import pytest

from loadtest.trials import claude_code
from loadtest.trials.claude_code import ClaudeCode, ClaudeCodeError

# Speaks the lines of its program: first a line of another type, then the turn's result with what it was started with.
STAND_IN = """\
#!{python}
import json, os, sys
for number, line in enumerate(sys.stdin):
    prompt = json.loads(line)["message"]["content"]
    print(json.dumps({{"type": "system"}}), flush=True)
    seen = {{"prompt": prompt, "number": number, "environment": dict(os.environ), "arguments": sys.argv[1:]}}
    print(json.dumps({{"type": "result", **{more}, "result": json.dumps(seen)}}), flush=True)
"""


def program(folder: Path, more: str = "{}") -> Path:
    path = folder / "claude"
    path.write_text(STAND_IN.format(python=sys.executable, more=more))
    path.chmod(0o755)
    return path


def test_turns_of_one_process_name_the_model_and_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of this machine's user")
    with ClaudeCode("http://127.0.0.1:9", program(tmp_path)) as client:
        first, second = (json.loads(client.call("model-3", is_stream=True)) for _ in range(2))

    assert [first["number"], second["number"]] == [0, 1]
    environment = first["environment"]
    assert environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"
    assert {environment[name] for name in environment if "MODEL" in name} == {"model-3"}
    assert "ANTHROPIC_API_KEY" not in environment
    assert not Path(environment["HOME"]).exists()


def test_turn_that_ends_in_an_error_raises_with_its_words(tmp_path: Path) -> None:
    with (
        ClaudeCode("http://127.0.0.1:9", program(tmp_path, '{"is_error": True}')) as client,
        pytest.raises(ClaudeCodeError, match="prompt"),
    ):
        client.call("m", is_stream=True)


def test_program_that_ends_raises(tmp_path: Path) -> None:
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\nread turn\n")
    path.chmod(0o755)
    with ClaudeCode("http://127.0.0.1:9", path) as client:
        with pytest.raises(ClaudeCodeError, match="ended before its turn was complete"):
            client.call("m", is_stream=True)
        with pytest.raises(ClaudeCodeError, match="ended"):
            client.call("m", is_stream=True)


def test_release_is_pinned() -> None:
    dependencies = json.loads(claude_code.PACKAGE.requirement)["dependencies"]

    assert dependencies == {"@anthropic-ai/claude-code": claude_code.RELEASE}
