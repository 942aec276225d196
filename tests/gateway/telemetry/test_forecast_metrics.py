"""The cluster's forecast, for Prometheus."""

from gateway.telemetry.cluster_metrics import ClusterMetrics
from shared_state.ledger import Ledger
from shared_state.snapshots import DeploymentSnapshot, Forecast
from tests.support.snapshots import snapshot_of


def samples(*deployments: DeploymentSnapshot) -> dict[tuple[str, ...], float]:
    snapshot = snapshot_of(*deployments)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in ClusterMetrics([], Ledger()).collect(snapshot)
        for sample in metric.samples
        if sample.name.startswith("pllm_forecast")
    }


def test_forecast_and_its_errors_are_gauges_by_deployment() -> None:
    forecast = Forecast(arrivals_ahead=540.0, latency_ahead=1200, trust=0.7, arrivals_error_week=60, latency_error=30)
    found = samples(DeploymentSnapshot(id="a", forecast=forecast), DeploymentSnapshot(id="b"))

    assert found["pllm_forecast_arrivals_per_minute", "a"] == 540
    assert found["pllm_forecast_latency_seconds", "a"] == 1.2
    assert found["pllm_forecast_trust", "a"] == 0.7
    assert found["pllm_forecast_error_arrivals_per_minute", "a", "last_week"] == 60
    assert found["pllm_forecast_error_latency_seconds", "a", "forecast"] == 0.03
    assert all(labels[0] == "a" for _, *labels in found)


def test_without_a_forecast_there_is_no_such_metric() -> None:
    assert samples(DeploymentSnapshot(id="a")) == {}
