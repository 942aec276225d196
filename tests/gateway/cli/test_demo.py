"""The end of the demo: however it comes, no process stays behind."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.loadtest.process import wait_until
from tests.support.demo import CHILDREN, REPLICAS, Demo, is_running, running_demo
from tests.support.wire import Call, ask, chat_bytes, request_bytes


@pytest.fixture
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_all_of_it(demo: Demo, number: signal.Signals) -> None:
    children = demo.children()
    code = demo.end(number)

    assert (len(children), code) == (CHILDREN, 0)
    assert not [pid for pid in children if is_running(pid)]


def test_signal_stops_all_of_it_while_calls_are_in_flight(demo: Demo) -> None:
    children = demo.children()
    calls = [Call(replica, chat_bytes(model="gpt-4", stream=True)) for replica in REPLICAS]
    code = demo.end(signal.SIGINT)
    for call in calls:
        call.leave()

    assert code == 0
    assert not [pid for pid in children if is_running(pid)]


def test_kill_of_the_demo_leaves_no_process(demo: Demo) -> None:
    children = demo.children()
    demo.process.kill()
    demo.process.wait()

    assert len(children) == CHILDREN
    wait_until(lambda: not [pid for pid in children if is_running(pid)])


def test_death_of_a_child_is_reported_and_the_rest_continues(demo: Demo) -> None:
    children = demo.children()
    os.kill(children[-1], signal.SIGKILL)
    assert demo.process.stdout is not None
    said = next(line for line in demo.process.stdout if line.strip())

    assert said == "replica-8081 has ended; the rest of the cluster continues.\n"
    assert ask(REPLICAS[0], request_bytes("GET", "/readyz")).status == 200
