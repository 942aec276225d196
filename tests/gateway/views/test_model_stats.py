"""The merge of a model's deployments, and durations as text."""

from typing import Any

import pytest

from gateway.views.model_stats import duration, model_stats
from shared_state.snapshots import DeploymentSnapshot
from tests.support.snapshots import snapshot_of


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0ms"), (0.4, "0ms"), (450, "450ms"), (999, "999ms"), (1000, "1s"), (1200, "1.2s"), (2500, "2.5s"),
     (61_234, "61.23s")],
)  # fmt: skip
def test_duration_is_text_with_its_unit(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


def merged(*members: DeploymentSnapshot) -> tuple[dict[str, Any], dict[str, Any]]:
    snapshot = snapshot_of(*members)
    whole: Any = model_stats(snapshot, [("m", [member.id for member in members])])
    return whole["load_balancer"]["m"], whole["adaptive_breakers"]["m"]


@pytest.mark.parametrize(
    ("states", "state", "is_open"),
    [
        (("closed", "open"), "CLOSED", False),
        (("open", "half_open"), "HALF_OPEN", False),
        (("open", "forced_open"), "OPEN", True),
        (("forced_open", "disabled"), "FORCED_OPEN", True),
        (("disabled",), "DISABLED", True),
    ],
)
def test_model_is_as_usable_as_its_best_deployment(states: tuple[str, ...], state: str, is_open: bool) -> None:
    balancer, breaker = merged(*(DeploymentSnapshot(id=each, state=each) for each in states))

    assert (breaker["state"], balancer["circuit_open"]) == (state, is_open)


def test_counts_are_summed_and_latencies_are_those_of_the_worst() -> None:
    balancer, breaker = merged(
        DeploymentSnapshot(id="a", active=2, requests=10, failures=1, slow=2, avg_ms=100, p95_ms=200, p99_ms=300),
        DeploymentSnapshot(id="b", active=3, requests=30, failures=4, slow=5, avg_ms=500, p95_ms=900, p99_ms=250),
    )

    assert (breaker["concurrent"], breaker["failures"], breaker["slow_requests"]) == (5, 5, 7)
    assert (balancer["active_requests"], balancer["avg_latency"]) == (5, "400ms")
    assert (balancer["p95_latency"], balancer["p99_latency"]) == ("900ms", "300ms")


def test_health_is_that_of_the_best_usable_deployment() -> None:
    balancer, _ = merged(
        DeploymentSnapshot(id="a", health_score=60.0),
        DeploymentSnapshot(id="b", health_score=90.0, state="forced_open"),
    )

    assert balancer["health_score"] == 60.0


def test_deployment_with_a_region_shows_it_and_how_far_it_is() -> None:
    balancer, _ = merged(
        DeploymentSnapshot(id="a", region="eu", rtt_ms=81.4), DeploymentSnapshot(id="b", region="us"),
        DeploymentSnapshot(id="c"),
    )  # fmt: skip
    shown = balancer["deployments"]

    assert (shown["a"]["region"], shown["a"]["round_trip"], shown["b"]["region"]) == ("eu", "81ms", "us")
    assert "round_trip" not in shown["b"]
    assert "region" not in shown["c"]


def test_deployment_shows_its_last_error_and_the_endpoints_it_lacks_where_there_are_any() -> None:
    balancer, _ = merged(
        DeploymentSnapshot(
            id="a", last_error="connection refused", last_error_at_ms=1_700_000_000_900, unsupported=("embeddings",)
        ),
        DeploymentSnapshot(id="b"),
    )
    shown = balancer["deployments"]

    assert (shown["a"]["last_error"], shown["a"]["last_error_at"]) == ("connection refused", "2023-11-14T22:13:20Z")
    assert shown["a"]["unsupported"] == ("embeddings",)
    assert not {"last_error", "last_error_at", "unsupported"} & shown["b"].keys()


def test_deployment_shows_its_cache_hits_once_they_are_measured() -> None:
    balancer, _ = merged(DeploymentSnapshot(id="a", cache_hit=0.8), DeploymentSnapshot(id="b"))

    assert balancer["deployments"]["a"]["cache_hit"] == 0.8
    assert "cache_hit" not in balancer["deployments"]["b"]
