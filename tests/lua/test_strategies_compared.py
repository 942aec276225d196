"""The strategies on simulated traffic, a few minutes of what `make strategies` reports: what README claims."""

import pytest

from shared_state.embedded import EmbeddedStore
from tests.support.fleet import EQUALS, FLEET, TRAFFIC, Behaviour, Deployment, Draw, Trouble, requests
from tests.support.simulation import Result, Simulation

SECONDS = 150.0


def simulated(
    server: EmbeddedStore, strategy: str, fleet: tuple[Behaviour, ...], seconds: float = SECONDS, seed: int = 1
) -> Result:
    return Simulation(server, strategy, fleet, seed, seconds).run(requests(TRAFFIC, seed, seconds))


@pytest.mark.parametrize("fleet", [FLEET, EQUALS], ids=["different", "equal"])
def test_adaptive_and_latency_based_beat_round_robin_and_random_at_p99(
    server: EmbeddedStore, fleet: tuple[Behaviour, ...]
) -> None:
    p99_ms = {
        strategy: simulated(server, strategy, fleet).percentile(0.99)
        for strategy in ("adaptive", "latency-based", "round-robin", "random")
    }

    assert max(p99_ms["adaptive"], p99_ms["latency-based"]) < min(p99_ms["round-robin"], p99_ms["random"])


def test_a_simulation_comes_out_the_same_every_time(server: EmbeddedStore) -> None:
    first, second = (simulated(server, "adaptive", FLEET, seconds=30) for _ in range(2))

    assert first == second
    assert first.requests > 300


def test_every_request_is_answered_or_counted_as_an_error(server: EmbeddedStore) -> None:
    broken = Behaviour(id="broken", median_ms=100, sigma=0.1, capacity=9, price=1, error_rate=1)
    found = simulated(server, "random", (broken,), seconds=20)

    assert (found.latencies_ms, found.error_rate) == ([], 1)
    assert found.attempts + found.refusals.total() >= found.requests
    assert found.failed_calls == found.attempts


def test_trouble_comes_and_goes() -> None:
    hour_s = 3600
    behaviour = Behaviour(
        id="a", median_ms=100, sigma=0.1, capacity=9, price=1, trouble=Trouble(every_s=60, for_s=20, slower=5)
    )
    deployment = Deployment(behaviour, 1, hour_s)
    troubled = [deployment.is_troubled(1000 * at_s) for at_s in range(hour_s)]

    assert 0.15 < sum(troubled) / hour_s < 0.35
    assert deployment.answer(1000 * troubled.index(True), Draw(0, 0.5)) == ("success", 500)
    assert deployment.answer(1000 * troubled.index(False), Draw(0, 0.5)) == ("success", 100)


def test_calls_slow_each_other_down_beyond_capacity() -> None:
    deployment = Deployment(Behaviour(id="a", median_ms=100, sigma=0.1, capacity=2, price=1), 1, 60)
    deployment.active = 6

    assert deployment.answer(0, Draw(0, 0.5)) == ("success", 300)


def test_traffic_has_its_rate_and_its_bursts() -> None:
    found = requests(TRAFFIC, 1, 3600)
    burst_share = TRAFFIC.burst_for_s / (TRAFFIC.burst_every_s + TRAFFIC.burst_for_s)
    expected = 3600 * TRAFFIC.per_s * (1 + burst_share * (TRAFFIC.burst_times - 1))

    assert [each.at_ms for each in found] == sorted(each.at_ms for each in found)
    assert len(found) == pytest.approx(expected, rel=0.05)
