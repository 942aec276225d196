"""What the cluster knows, for Prometheus: the same from every replica that can reach the store."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.settings import DeploymentSettings
from shared_state.records import DomainSnapshot

STATES = ("closed", "half_open", "open", "forced_open", "disabled")
_DOMAIN = (
    ("pllm_active_requests", "Active requests in the cluster", "active"),
    ("pllm_replicas_alive", "Replicas whose heartbeat is fresh", "replicas_alive"),
    ("pllm_healthy_ratio", "Share of healthy deployments", "healthy_ratio"),
    ("pllm_retry_budget", "Further attempts that the cluster may make now", "retry_tokens"),
)
_DEPLOYMENT = (
    ("health_score", "0 to 100"),
    ("active", "Active requests"),
    ("limit", "Concurrency limit in force"),
    ("trips", "Times in a row that the breaker opened"),
    ("rpm_headroom", "Share of a minute's requests that is left"),
    ("tpm_headroom", "Share of a minute's tokens that is left"),
)


class ClusterMetrics:
    def __init__(self, deployments: Iterable[DeploymentSettings]) -> None:
        self._deployments = tuple(deployments)

    def collect(self, snapshot: DomainSnapshot | None) -> Iterator[Metric]:
        """Nothing but names while the store cannot be asked."""
        info = GaugeMetricFamily("pllm_deployment_info", "1", labels=["deployment", "model", "provider"])
        for entry in self._deployments:
            info.add_metric([entry.id, entry.model_name, entry.provider.type], 1)
        yield info
        if snapshot is None:
            return
        for name, help_text, field in _DOMAIN:
            family = GaugeMetricFamily(name, help_text)
            family.add_metric([], getattr(snapshot, field))
            yield family
        yield from _breakers(snapshot)
        for field, help_text in _DEPLOYMENT:
            family = GaugeMetricFamily(f"pllm_deployment_{field}", help_text, labels=["deployment"])
            for each in snapshot.deployments:
                family.add_metric([each.id], getattr(each, field))
            yield family


def _breakers(snapshot: DomainSnapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily("pllm_deployment_state", "1 for the state of the breaker", labels=["deployment", "state"])
    moves = CounterMetricFamily("pllm_deployment_transitions", "Moves of the breaker", labels=["deployment"])
    probes = GaugeMetricFamily("pllm_deployment_probes", "Probes of this half-open time", labels=["deployment", "step"])
    for each in snapshot.deployments:
        for name in STATES:
            state.add_metric([each.id, name], float(each.state == name))
        moves.add_metric([each.id], each.generation)
        probes.add_metric([each.id, "issued"], each.probes_issued)
        probes.add_metric([each.id, "succeeded"], each.probes_succeeded)
    yield from (state, moves, probes)
