"""The cluster's metrics for Prometheus. Every replica that reaches the store shows the same values."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.configuration.settings import DeploymentSettings
from gateway.telemetry.exposition import pieces
from gateway.views.budgets import budgets_shown, headroom
from shared_state.ledger import Ledger
from shared_state.snapshots import DeploymentSnapshot, DomainSnapshot, ScalingSignal

STATES = ("closed", "half_open", "open", "forced_open", "disabled")
_DOMAIN = (
    ("pllm_active_requests", "Active requests in the cluster", "active"),
    ("pllm_replicas_alive", "Replicas whose heartbeat is fresh", "replicas_alive"),
    ("pllm_healthy_ratio", "Share of healthy deployments", "healthy_ratio"),
    ("pllm_retry_budget", "Retries that the cluster may make now", "retry_tokens"),
)
_DEPLOYMENT = (
    ("health_score", "0 to 100"),
    ("active", "Active requests"),
    ("limit", "Concurrency limit in force"),
    ("trips", "Consecutive times that the breaker opened"),
    ("rpm_headroom", "Unused share of the requests per minute"),
    ("tpm_headroom", "Unused share of the tokens per minute"),
)


_SCALING = (
    ("pllm_desired_replicas", "Number of replicas that the cluster should have", "desired"),
    ("pllm_autoscale_wanted_replicas", "Replicas that the present load needs", "wanted"),
    ("pllm_autoscale_average", "Average number of active and waiting requests in the last seconds", "average"),
    ("pllm_autoscale_peak", "Highest average within scale_down_delay", "peak"),
    ("pllm_autoscale_foreseen", "Highest average of last week in the time ahead", "foreseen"),
    ("pllm_autoscale_waiting", "Requests that wait on all replicas", "waiting"),
    ("pllm_autoscale_limit", "Concurrent requests that the healthy deployments can serve", "limit"),
)

_BUDGET = (
    ("limit", "Budget of a period, in the currency of the prices", "amount"),
    ("spent", "Amount spent in this period", "spent"),
    ("reserved", "Highest possible cost of the calls in progress", "reserved"),
)
_HEADROOM = ("Unused share of the tenant's requests per minute", "Unused share of the tenant's tokens per minute")


class ClusterMetrics:
    """Renders the cluster's metrics.

    ``ledger``: as the last heartbeat read it, so a scrape needs no call to the store; ``scaling``: returns the latest
    signal, None while it is unknown; ``region``: this replica's.
    """

    def __init__(
        self,
        deployments: Iterable[DeploymentSettings],
        ledger: Ledger,
        scaling: Callable[[], ScalingSignal | None] = lambda: None,
        region: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._scaling = scaling
        self._region = region
        self.replace_deployments(deployments)

    def replace_deployments(self, deployments: Iterable[DeploymentSettings]) -> None:
        self._deployments = tuple(deployments)
        self._away = {each.id: each.region for each in self._deployments if each.region and each.region != self._region}

    def spilled(self, attempts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """Returns the number of calls from this replica's region to each other region, by (from, to).
        ``attempts``: calls by deployment and outcome.
        """
        calls: dict[tuple[str, str], int] = {}
        for (deployment_id, _), count in attempts.items():
            to = self._away.get(deployment_id)
            if self._region and to:
                calls[self._region, to] = calls.get((self._region, to), 0) + count
        return calls

    def collect(self, snapshot: DomainSnapshot | None) -> Iterator[Metric]:
        """Yields the metrics; without a ``snapshot``, those that need no call to the store."""
        for part in pieces(self._deployments):
            info = GaugeMetricFamily("pllm_deployment_info", "1", labels=["deployment", "model", "provider"])
            for entry in part:
                info.add_metric([entry.id, entry.model_name, entry.provider.type], 1)
            yield info
        yield from _gauges(_SCALING, self._scaling())
        yield from _budgets(self._ledger)
        if snapshot is None:
            return
        yield from _gauges(_DOMAIN, snapshot)
        yield from _breakers(snapshot.deployments)
        yield from self._round_trips(snapshot.deployments)
        yield from self._cache_hits(snapshot.deployments)
        for field, help_text in _DEPLOYMENT:
            for piece in pieces(snapshot.deployments):
                family = GaugeMetricFamily(f"pllm_deployment_{field}", help_text, labels=["deployment"])
                for each in piece:
                    family.add_metric([each.id], getattr(each, field))
                yield family

    def _round_trips(self, deployments: Iterable[DeploymentSnapshot]) -> Iterator[Metric]:
        for piece in pieces([each for each in deployments if each.rtt_ms is not None]):
            family = GaugeMetricFamily(
                "pllm_round_trip_seconds",
                "Round trip from this replica's region to a deployment",
                labels=["region", "deployment"],
            )
            for each in piece:
                family.add_metric([self._region or "", each.id], (each.rtt_ms or 0.0) / 1000)
            yield family

    def _cache_hits(self, deployments: Iterable[DeploymentSnapshot]) -> Iterator[Metric]:
        models = {each.id: each.model_name for each in self._deployments}
        for piece in pieces([each for each in deployments if each.cache_hit is not None]):
            help_text = "Share of the prompts of pinned sessions that the provider read from its cache"
            family = GaugeMetricFamily("pllm_cache_hit_ratio", help_text, labels=["deployment", "model"])
            for each in piece:
                family.add_metric([each.id, models.get(each.id, "")], each.cache_hit or 0.0)
            yield family


def _gauges(fields: Iterable[tuple[str, str, str]], values: object) -> Iterator[Metric]:
    """Yields nothing where there are no ``values``."""
    for name, help_text, field in fields if values else ():
        family = GaugeMetricFamily(name, help_text)
        family.add_metric([], getattr(values, field))
        yield family


def _budgets(ledger: Ledger) -> Iterator[Metric]:
    """Yields the metrics of budgets. A scope is `domain` or `tenant:<name>`, both named by operators."""
    shown = budgets_shown(ledger)
    for name, help_text, field in _BUDGET:
        for piece in pieces(shown.items()):
            family = GaugeMetricFamily(f"pllm_budget_{name}", help_text, labels=["scope"])
            for scope, fields in piece:
                family.add_metric([scope], cast(float, fields[field]))
            yield family
    shares = headroom(ledger)
    for position, (name, help_text) in enumerate(zip(("rpm", "tpm"), _HEADROOM, strict=True)):
        for part in pieces(shares.items()):
            family = GaugeMetricFamily(f"pllm_tenant_{name}_headroom", help_text, labels=["tenant"])
            for scope, pair in part:
                share = pair[position]
                if share is not None:
                    family.add_metric([scope.removeprefix("tenant:")], share)
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
        moves = CounterMetricFamily("pllm_deployment_transitions", "Transitions of the breaker", labels=["deployment"])
        for each in piece:
            moves.add_metric([each.id], each.generation)
        yield moves
    for piece in pieces(deployments):
        probes = GaugeMetricFamily(
            "pllm_deployment_probes", "Probes since the breaker became half open", labels=["deployment", "step"]
        )
        for each in piece:
            probes.add_metric([each.id, "issued"], each.probes_issued)
            probes.add_metric([each.id, "succeeded"], each.probes_succeeded)
        yield probes
