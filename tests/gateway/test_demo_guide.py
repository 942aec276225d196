"""What the demo shows and what its guide tells a reader to type."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.demo import REPLICAS, Demo, running_demo
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


def test_commands_that_look_into_the_state_work_as_the_guide_gives_them(demo: Demo) -> None:
    commands = re.findall(r"^  \S+ -m gateway (state .+)$", demo.guide, re.MULTILINE)

    assert len(commands) == 3
    for command in commands:
        words = [word.strip("'") for word in command.split()]
        subprocess.run([sys.executable, "-m", "gateway", *words], check=True, capture_output=True, timeout=20)


def test_second_demo_is_told_which_port_is_taken(demo: Demo) -> None:
    done = subprocess.run([sys.executable, "-m", "gateway", "demo"], capture_output=True, text=True, timeout=20)

    assert done.returncode == 1
    assert "port 8080 is taken" in done.stderr
    assert "Traceback" not in done.stderr
