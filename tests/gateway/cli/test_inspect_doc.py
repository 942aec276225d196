"""docs/inspect.md on a real demo: every command it shows is answered, with the fields that it shows."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.stored_state import shown
from tests.loadtest.process import wait_until
from tests.support.demo import REPLICAS, running_demo
from tests.support.stores import RedisCli
from tests.support.wire import Call, ask, chat_bytes, request_bytes

TEXT = (Path(__file__).resolve().parents[3] / "docs/inspect.md").read_text()
HEALTHY = "pllm:{default}:deployment:gpt-4-healthy"
COMMANDS = re.findall(r"^\$ redis-cli (.+)\n((?:(?!\$ |```).*\n)*)", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Returns the URL of a store that holds everything the page shows."""
    with running_demo() as demo:
        found = re.search(r"unix://\S+", demo.guide)
        assert found is not None
        for number in range(60):
            assert ask(REPLICAS[number % 2], chat_bytes(model="claude-3-opus")).status == 200
        drain = b'{"actor": "ann", "reason": "new certificate"}'
        path = "/v1/admin/deployments/gpt-4-failing/drain"
        assert ask(REPLICAS[0], request_bytes("POST", path, drain)).status == 200
        yield found[0]


@pytest.fixture
def _under_way(url: str) -> Iterator[None]:
    """A request is, on the deployment that the page shows. A stream ends in time: each test has one of its own."""
    assert url
    with contextlib.ExitStack() as calls:
        for _ in range(20):
            call = calls.enter_context(Call(REPLICAS[0], chat_bytes(model="gpt-4", stream=True, max_tokens=9000)))
            if b"gpt-4-healthy" in call.read_until(b"\r\n\r\n"):
                break
        yield


def reply(cli: RedisCli, command: str) -> list[str]:
    """As through a pipe: one word a line."""
    words = shlex.split(command)
    if words[1].endswith("replica:8c6f5d-9192"):
        words[1] = words[1].replace("8c6f5d-9192", cli.do("ZRANGE", "pllm:{default}:replicas", "0", "0")[0].decode())
    return list(_words(cli.do(*words)))


def _words(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for pair in value.items():
            yield from _words(list(pair))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)
    else:
        yield value.decode() if isinstance(value, bytes) else "" if value is None else str(value)


def test_the_page_has_its_commands() -> None:
    assert len(COMMANDS) == 10


@pytest.mark.usefixtures("_under_way")
@pytest.mark.parametrize(("command", "output"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_command_is_answered_as_shown(url: str, command: str, output: str) -> None:
    told = output.splitlines()
    with RedisCli(url) as cli:
        wait_until(
            lambda: len(reply(cli, command)) >= (2 if "leases:" in command else len(told)),
            lambda: f"{cli.do('HGETALL', HEALTHY)} {cli.do('ZRANGE', 'pllm:{default}:leases', 0, -1)}",
        )
        lines = reply(cli, command)

    if command.startswith("HGETALL"):
        assert lines[::2] == told[::2]
    elif command.startswith("XREVRANGE"):
        assert lines[1::2] == told[1::2] or lines[1:15:2] == told[1:15:2]
    elif command.startswith("HMGET"):
        assert len(lines) == len(told)
        assert all(lines[k] for k, word in enumerate(told) if word not in ("", "0", "probe_slow", "1795592565658", "2"))
    elif command.startswith("STRLEN"):
        assert lines == told


@pytest.mark.parametrize("words", [[], ["gpt-4-slow"]])
def test_decoded_view_has_the_lines_shown(url: str, words: list[str]) -> None:
    text = "\n".join(shown(url, "default", words))
    wanted = ["domain default   epoch e", "shedding ", "REPLICA", "DEPLOYMENT", "drain by ann: new certificate"]

    assert [
        line for line in (wanted if not words else ["latencies of the last minute", "lease_ms"]) if line not in text
    ] == []
