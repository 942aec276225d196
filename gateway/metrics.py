"""What this replica tells Prometheus. Read from its owners at each scrape, so that counting costs a request little."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.measures import Histogram, Measures
from gateway.queueing import Queue
from shared_state.failover import Failover
from shared_state.records import DomainSnapshot

SHED_REASONS = ("active_requests", "healthy_ratio", "failure_rate")
__all__ = ["CONTENT_TYPE", "ClientRetries", "Metrics"]


class ClientRetries:
    """Requests that, as their SDK says, were sent before: load that grows when answers fail."""

    def __init__(self) -> None:
        self.count = 0

    def see(self, retry_count: bytes | None) -> None:
        """The header `x-stainless-retry-count` of one request."""
        if retry_count is not None and retry_count.strip(b"0").isdigit():
            self.count += 1


class Metrics(Collector):
    """``queues``: those of this replica, by model."""

    def __init__(
        self, failover: Failover, retries: ClientRetries, measures: Measures, queues: Mapping[str, Queue]
    ) -> None:
        self._failover = failover
        self._measures = measures
        self._snapshot: DomainSnapshot | None = None
        self._queues = queues
        self._retries = retries
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self, snapshot: DomainSnapshot | None) -> bytes:
        """All metrics in Prometheus's text format; those of the cluster from its snapshot, if there is one."""
        self._snapshot = snapshot
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        in_use = GaugeMetricFamily("pllm_state_standby", "1 while decisions come from the standby store, else 0")
        in_use.add_metric([], float(self._failover.state == "standby"))
        yield in_use
        switches = CounterMetricFamily(
            "pllm_state_switches", "Times that this replica went from one store to the other", labels=["to", "reason"]
        )
        for (to, reason), count in self._failover.switches.items():
            switches.add_metric([to, reason], count)
        yield switches
        shedding = GaugeMetricFamily(
            "pllm_should_shed_load", "1 for each reason to shed load that holds in the cluster", labels=["reason"]
        )
        for reason in SHED_REASONS:
            shedding.add_metric([reason], float(reason in self._failover.active.shed_reasons))
        yield shedding
        yield from self._collect_queues()
        yield from self._collect_requests()
        if self._snapshot is not None:
            yield from _cluster(self._snapshot)
        retried = CounterMetricFamily("pllm_client_retries", "Requests that their clients had sent before")
        retried.add_metric([], self._retries.count)
        yield retried

    def _collect_queues(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("pllm_queue_waiting", "Requests that wait on this replica", labels=["model"])
        overloaded = GaugeMetricFamily(
            "pllm_queue_overloaded", "1 while even the luckiest waits for too long", labels=["model"]
        )
        granted = CounterMetricFamily("pllm_queue_granted", "Requests whose turn came", labels=["model"])
        dropped = CounterMetricFamily("pllm_queue_dropped", "Requests that waited for too long", labels=["model"])
        refused = CounterMetricFamily("pllm_queue_refused", "Requests for which there was no place", labels=["model"])
        for model, queue in self._queues.items():
            waiting.add_metric([model], queue.waiting)
            overloaded.add_metric([model], float(queue.is_overloaded))
            granted.add_metric([model], queue.granted_count)
            dropped.add_metric([model], queue.dropped)
            refused.add_metric([model], queue.refused_count)
        yield from (waiting, overloaded, granted, dropped, refused)

    def _collect_requests(self) -> Iterator[Metric]:
        own = self._measures
        yield _counter("pllm_requests", "Requests that got an answer", ("model", "deployment", "outcome"), own.requests)
        yield _counter("pllm_errors", "Requests that got an error of the gateway", ("status", "code"), own.refused)
        yield _counter("pllm_fallbacks", "Requests that another model served", ("from", "to"), own.fallbacks)
        yield _counter("pllm_tokens", "Tokens as providers counted them", ("deployment", "direction"), own.tokens)
        attempts = CounterMetricFamily("pllm_attempts", "Calls of providers")
        attempts.add_metric([], own.attempts)
        yield attempts
        by_deployment = (
            ("pllm_answer_duration_seconds", "From a request to the last byte of its answer", own.answers),
            (
                "pllm_first_byte_seconds",
                "From the call of a provider to its first event",
                own.first_bytes,
            ),
        )
        for name, help_text, histograms in by_deployment:
            family = HistogramMetricFamily(name, help_text, labels=["deployment"])
            for deployment_id, histogram in histograms.items():
                family.add_metric([deployment_id], _buckets(histogram), histogram.total_s)
            yield family
        for name, help_text, histogram in (
            ("pllm_overhead_seconds", "What the gateway adds before an answer", own.overhead),
            ("pllm_decision_seconds", "Of it, waiting for the store's decisions", own.decision),
        ):
            family = HistogramMetricFamily(name, help_text)
            family.add_metric([], _buckets(histogram), histogram.total_s)
            yield family


def _counter(name: str, help_text: str, labels: tuple[str, ...], counts: Counter[Any]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(names, accumulate(histogram.counts), strict=True))


STATES = ("closed", "half_open", "open", "forced_open", "disabled")


def _cluster(snapshot: DomainSnapshot) -> Iterator[Metric]:
    """The same from every replica."""
    for name, help_text, value in (
        ("pllm_active_requests", "Active requests in the cluster", snapshot.active),
        ("pllm_replicas_alive", "Replicas whose heartbeat is fresh", snapshot.replicas_alive),
        ("pllm_healthy_ratio", "Share of healthy deployments", snapshot.healthy_ratio),
    ):
        family = GaugeMetricFamily(name, help_text)
        family.add_metric([], value)
        yield family
    state = GaugeMetricFamily("pllm_deployment_state", "1 for the state of the breaker", labels=["deployment", "state"])
    for each in snapshot.deployments:
        for name in STATES:
            state.add_metric([each.id, name], float(each.state == name))
    yield state
    for field, help_text in (
        ("health_score", "0 to 100"),
        ("active", "Active requests"),
        ("limit", "Concurrency limit in force"),
        ("trips", "Times in a row that the breaker opened"),
    ):
        family = GaugeMetricFamily(f"pllm_deployment_{field}", help_text, labels=["deployment"])
        for each in snapshot.deployments:
            family.add_metric([each.id], getattr(each, field))
        yield family
