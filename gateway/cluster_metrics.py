"""What the cluster knows, for Prometheus: the same from every replica that can reach the store."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.exposition import pieces
from gateway.settings import DeploymentSettings
from shared_state.records import DeploymentSnapshot, DomainSnapshot

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
        for part in pieces(self._deployments):
            info = GaugeMetricFamily("pllm_deployment_info", "1", labels=["deployment", "model", "provider"])
            for entry in part:
                info.add_metric([entry.id, entry.model_name, entry.provider.type], 1)
            yield info
        if snapshot is None:
            return
        for name, help_text, field in _DOMAIN:
            family = GaugeMetricFamily(name, help_text)
            family.add_metric([], getattr(snapshot, field))
            yield family
        yield from _breakers(snapshot.deployments)
        for field, help_text in _DEPLOYMENT:
            for piece in pieces(snapshot.deployments):
                family = GaugeMetricFamily(f"pllm_deployment_{field}", help_text, labels=["deployment"])
                for each in piece:
                    family.add_metric([each.id], getattr(each, field))
                yield family


def _breakers(deployments: Iterable[DeploymentSnapshot]) -> Iterator[Metric]:
    for piece in pieces(deployments):
        state = GaugeMetricFamily(
            "pllm_deployment_state", "1 for the state of the breaker", labels=["deployment", "state"]
        )
        for each in piece:
            for name in STATES:
                state.add_metric([each.id, name], float(each.state == name))
        yield state
    for piece in pieces(deployments):
        moves = CounterMetricFamily("pllm_deployment_transitions", "Moves of the breaker", labels=["deployment"])
        for each in piece:
            moves.add_metric([each.id], each.generation)
        yield moves
    for piece in pieces(deployments):
        probes = GaugeMetricFamily(
            "pllm_deployment_probes", "Probes of this half-open time", labels=["deployment", "step"]
        )
        for each in piece:
            probes.add_metric([each.id, "issued"], each.probes_issued)
            probes.add_metric([each.id, "succeeded"], each.probes_succeeded)
        yield probes
