"""The guide of the demo: its commands work as they stand."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.demo import REPLICAS, Demo, running_demo
from tests.support.ports import free_port
from tests.support.wire import Address, Answer, ask, chat_bytes, request_bytes


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


def chat(replica: Address, model: str, is_stream: bool = False) -> Answer:
    return ask(replica, chat_bytes(model=model, stream=is_stream))


@pytest.mark.parametrize("replica", REPLICAS)
def test_replica_answers_plain_and_streamed(demo: Demo, replica: Address) -> None:
    assert [chat(replica, "gpt-4", is_stream).status for is_stream in (False, True)] == [200, 200]


def test_fallback_saves_the_model_whose_provider_fails(demo: Demo) -> None:
    answer = chat(REPLICAS[0], "claude-3-opus")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "claude-3-opus>gpt-4")


def test_replicas_show_one_state(demo: Demo) -> None:
    stats = [ask(replica, request_bytes("GET", "/v1/admin/models/stats")).json() for replica in REPLICAS]

    assert [each["replicas"] for each in stats] == [2, 2]
    assert stats[0]["load_balancer"].keys() == stats[1]["load_balancer"].keys() == {"gpt-4", "claude-3-opus"}


def test_commands_that_read_the_state_work_as_the_guide_gives_them(demo: Demo) -> None:
    commands = re.findall(r"^  \S+ -m gateway (state .+)$", demo.guide, re.MULTILINE)

    assert len(commands) == 3
    for command in commands:
        words = [word.strip("'") for word in command.split()]
        subprocess.run([sys.executable, "-m", "gateway", *words], check=True, capture_output=True, timeout=20)


@pytest.mark.parametrize(("flags", "port"), [((), 8080), (("--port", "8079"), 8080), (("--port", "8081"), 8081)])
def test_second_demo_names_the_port_in_use(demo: Demo, flags: tuple[str, ...], port: int) -> None:
    command = [sys.executable, "-m", "gateway", "demo", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert done.returncode == 1
    assert done.stderr == f"Port {port} is in use. Stop the other process or pass --port.\n"


def test_demo_on_another_port_listens_there_and_its_guide_shows_it() -> None:
    port = free_port(2)
    with contextlib.closing(Demo("--port", str(port))) as other:
        other.read_guide()
        statuses = [ask(("127.0.0.1", number), request_bytes("GET", "/readyz")).status for number in (port, port + 1)]
        code = other.end(signal.SIGINT)

    assert (statuses, code) == ([200, 200], 0)
    assert set(re.findall(r"//127\.0\.0\.1:(\d+)(?:/admin|/v1/chat)", other.guide)) == {str(port), str(port + 1)}
    assert "8080" not in other.guide


@pytest.mark.parametrize("port", ["0", "65535", "x", "-1"])
def test_port_that_has_no_next_is_refused(port: str) -> None:
    command = [sys.executable, "-m", "gateway", "demo", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert done.returncode == 2
    assert "expected a number from 1 to 65534" in done.stderr
