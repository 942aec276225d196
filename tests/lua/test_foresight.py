"""What a forecast that is wrong costs: real decisions on virtual time, with a forecast that was learned, one whose
hours are in disorder, and none.
"""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.foresight import Forecast, Rig, percentile
from tests.support.stores import RedisQueue, running_server

HOURS = (6, 12, 18)
SEED, LOAD = 2, 0.9


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedStore]:
    """One kind of store: all decide alike, and thousands of requests take their time."""
    yield from running_server("valkey")


@pytest.fixture(scope="module")
def queue(server: EmbeddedStore, scripts: dict[str, Script]) -> Iterator[RedisQueue]:
    with RedisQueue(server.url) as queue:
        queue.load(scripts.values())
        yield queue


@pytest.fixture(scope="module")
def without(queue: RedisQueue, scripts: dict[str, Script]) -> Rig:
    rig = Rig(queue, scripts, SEED, LOAD, "off")
    rig.run(HOURS)
    return rig


def p99_ms(rig: Rig) -> float:
    return percentile(rig.latencies, 0.99)


def learned(queue: RedisQueue, scripts: dict[str, Script], without: Rig, forecast: Forecast) -> Rig:
    rig = Rig(queue, scripts, SEED, LOAD, forecast)
    rig.learn(without.seen, weeks=2)
    rig.run(HOURS)
    assert len(rig.latencies) == len(without.latencies) > 5000
    return rig


@pytest.mark.long
def test_right_forecast_is_followed_without_harm(queue: RedisQueue, scripts: dict[str, Script], without: Rig) -> None:
    rig = learned(queue, scripts, without, "right")

    assert max(rig.shares) > 1.5 * min(rig.shares)
    assert p99_ms(rig) <= 1.02 * p99_ms(without)


@pytest.mark.long
def test_shuffled_forecast_costs_at_most_a_fiftieth_of_the_p99(
    queue: RedisQueue, scripts: dict[str, Script], without: Rig
) -> None:
    rig = learned(queue, scripts, without, "shuffled")

    assert p99_ms(rig) <= 1.02 * p99_ms(without)
