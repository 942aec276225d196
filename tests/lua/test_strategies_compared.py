"""The strategies on simulated traffic, a few minutes of what `make strategies` reports: what README claims."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gateway.configuration.affinity import AffinitySettings
from gateway.configuration.router import RouterSettings, RoutingStrategy
from gateway.configuration.store_policies import router_policy as product_policy
from shared_state.embedded import EmbeddedStore
from tests.support.fleet import ATTEMPTS_MOST, EQUALS, FLEET, TRAFFIC, Behaviour, Deployment, Draw, Trouble, requests
from tests.support.simulation import Result, Simulation
from tests.support.state import router_policy
from tests.support.stores import running_server

SECONDS = 150.0
STRATEGIES: tuple[str, ...] = get_args(RoutingStrategy)
# What came out, in ms. Where a change of the rules moves one of these, `make strategies` writes its table anew.
P99_DIFFERENT_MS = {
    "latency-based": 2220,
    "adaptive": 2333,
    "least-busy": 2720,
    "usage-based": 2992,
    "weighted": 3171,
    "round-robin": 3393,
    "random": 3416,
    "priority": 5704,
    "cost-based": 6037,
}
P99_EQUAL_MS = {
    "least-busy": 1774,
    "priority": 1774,
    "usage-based": 1774,
    "cost-based": 1774,
    "latency-based": 1908,
    "adaptive": 1966,
    "weighted": 2130,
    "round-robin": 2130,
    "random": 2313,
}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedStore]:
    """One kind of store: all decide alike, and thousands of requests take their time."""
    yield from running_server("valkey")


def simulated(
    server: EmbeddedStore, strategy: str, fleet: tuple[Behaviour, ...], seconds: float = SECONDS, seed: int = 1
) -> Result:
    return Simulation(server, strategy, fleet, seed, seconds).run(requests(TRAFFIC, seed, seconds))


@pytest.mark.parametrize(
    ("fleet", "known_ms"),
    [
        pytest.param(FLEET, P99_DIFFERENT_MS, id="different", marks=pytest.mark.long),
        pytest.param(EQUALS, P99_EQUAL_MS, id="equal", marks=pytest.mark.long),
    ],
)
def test_adaptive_and_latency_based_beat_round_robin_and_random_at_p99_and_no_strategy_gets_worse(
    server: EmbeddedStore, fleet: tuple[Behaviour, ...], known_ms: dict[str, float]
) -> None:
    p99_ms = {strategy: simulated(server, strategy, fleet).percentile(0.99) for strategy in STRATEGIES}

    assert max(p99_ms["adaptive"], p99_ms["latency-based"]) < min(p99_ms["round-robin"], p99_ms["random"])
    assert p99_ms == pytest.approx(known_ms, rel=0.05)


def test_the_simulation_runs_on_the_defaults_of_the_product() -> None:
    router = RouterSettings(affinity=AffinitySettings(mode="off"))  # each simulated request is alone

    assert router_policy() == product_policy(router)
    assert RouterSettings().max_attempts == ATTEMPTS_MOST


# -- the report that was made -----------------------------------------------------------------------------------


def reported(title: str) -> dict[str, dict[str, float]]:
    """By strategy and column."""
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    columns = rows[0][1:7]
    return {row[0].strip("`"): dict(zip(columns, map(_number, row[1:7]), strict=True)) for row in rows if "`" in row[0]}


def _number(cell: str) -> float:
    return float(re.sub(r"[^\d.]", "", cell))


def test_the_report_agrees_with_its_tables() -> None:
    different, equal = reported("Different deployments"), reported("Equal deployments")
    assert set(different) == set(equal) == set(STRATEGIES)
    p99_ms = {strategy: row["p99"] for strategy, row in different.items()}

    for table in (different, equal):
        best_known_nothing_ms = min(table["round-robin"]["p99"], table["random"]["p99"])
        assert max(table["adaptive"]["p99"], table["latency-based"]["p99"]) < best_known_nothing_ms
        assert {row["errors"] for row in table.values()} == {0}
    assert p99_ms["adaptive"] < 0.75 * min(p99_ms["round-robin"], p99_ms["random"])
    assert min(p99_ms, key=p99_ms.__getitem__) == "latency-based"
    assert min(equal.values(), key=lambda row: row["p99"])["p99"] == equal["least-busy"]["p99"]
    assert min(different, key=lambda strategy: different[strategy]["cost of 1,000"]) == "cost-based"
    assert sorted(p99_ms, key=p99_ms.__getitem__)[-2:] == ["cost-based", "priority"]


def test_readme_has_the_figures_of_the_report() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \| ([\d,]+) ms \| ([\d,]+) ms \| ([\d.]+) % \| ([\d.]+) \|",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    columns = ("p50", "p99", "failed calls", "cost of 1,000")
    different = reported("Different deployments")

    assert {name: list(map(_number, cells)) for name, *cells in rows} == {
        name: [row[column] for column in columns] for name, row in different.items()
    }


# -- the simulation ---------------------------------------------------------------------------------------------


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
