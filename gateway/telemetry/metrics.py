"""This replica's metrics for Prometheus.

Each scrape reads the numbers from their owners, so counting costs a request little. Every label is a name from the
configuration, of a tenant or from this program, so no client can create new series.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Exemplar

from gateway.configuration.settings import Settings
from gateway.http import tls_counts
from gateway.http.surplus_calls import surplus_calls
from gateway.request.tenant_labels import TenantLabels
from gateway.routing.queueing import Queue
from gateway.telemetry.cluster_metrics import ClusterMetrics
from gateway.telemetry.exposition import pieces
from gateway.telemetry.loop_lag import LoopLag
from gateway.telemetry.request_counters import CLASSES, ClientRetries, RequestCounters, TracedHistogram
from shared_state import background, subscription
from shared_state.blocks import BlockCounts
from shared_state.failover import Failover
from shared_state.histogram import Histogram, together
from shared_state.in_force import InForce
from shared_state.money import MICRO
from shared_state.snapshots import DomainSnapshot

OVERLOADED = "503", "server_is_overloaded"
SHED_REASONS = ("active_requests", "healthy_ratio", "failure_rate")


class Sources(NamedTuple):
    """The owners of this replica's numbers."""

    failover: Failover
    retries: ClientRetries
    counters: RequestCounters
    queues: Mapping[str, Queue]  # by model
    attempts: Mapping[tuple[str, str], int]  # by deployment and outcome
    costs: Counter[tuple[str, int, str]]  # in micro-units, by deployment, priority and tenant's label
    labels: TenantLabels
    lag: LoopLag
    in_force: InForce  # the configuration in force
    reloads: Mapping[str, int]  # by result


class Metrics:
    """Renders the metrics of one replica, with those of the cluster that it can read."""

    def __init__(self, sources: Sources, cluster: ClusterMetrics, settings: Settings) -> None:
        self._failover = sources.failover
        self._retries = sources.retries
        self._counters = sources.counters
        self._queues = sources.queues
        self._attempts = sources.attempts
        self._costs = sources.costs
        self._labels = sources.labels
        self._lag = sources.lag
        self._in_force = sources.in_force
        self._reloads = sources.reloads
        self._cluster = cluster
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)
        self.apply_settings(settings)

    def apply_settings(self, settings: Settings) -> None:
        self._cluster.replace_deployments(settings.model_list)

    def collect(self, snapshot: DomainSnapshot | None) -> Iterator[Metric]:
        """Yields all metrics. A large one comes in consecutive pieces. ``snapshot``: the cluster's state; without it
        the metrics that depend on it are left out.
        """
        yield from self._collect_requests()
        yield from self._collect_latencies()
        yield from self._collect_queues()
        yield from self._collect_state()
        yield from _collect_tls()
        yield from self._cluster.collect(snapshot)
        yield from self._process.collect()

    def _collect_requests(self) -> Iterator[Metric]:
        own = self._counters
        labels = ("model", "deployment", "outcome", "class", "tenant")
        yield from _counter(
            "pllm_requests", "Requests that got an answer or whose client disconnected first", labels, own.requests
        )
        refused = {**own.refused, OVERLOADED: own.refused[OVERLOADED] + surplus_calls.count}
        yield from _counter("pllm_errors", "Requests that got an error of the gateway", ("status", "code"), refused)
        yield from _counter("pllm_shed", "Requests refused because of overload", ("reason", "class"), own.shed)
        yield from _counter("pllm_fallbacks", "Requests that another model served", ("from", "to"), own.fallbacks)
        tokens = ("deployment", "direction", "class", "tenant")
        yield from _counter("pllm_tokens", "Tokens as providers counted them", tokens, own.tokens)
        cost = "Cost of calls at the configured prices, in their currency, as budgets are charged"
        yield from _counter("pllm_cost", cost, ("deployment", "class", "tenant"), self._cost())
        yield from _counter("pllm_attempts", "Calls of providers", ("deployment", "outcome"), self._attempts)
        spilled = "Provider calls sent to another region because this one had no deployment or no capacity"
        yield from _counter("pllm_spilled", spilled, ("from", "to"), self._cluster.spilled(self._attempts))
        again = "Requests that clients had sent before"
        yield _number(CounterMetricFamily, "pllm_client_retries", again, self._retries.count)

    def _cost(self) -> dict[tuple[str, str, str], float]:
        for key in [key for key in self._costs if not self._labels.is_current(key[2])]:
            del self._costs[key]
        return {
            (name, CLASSES[priority], tenant): cost / MICRO for (name, priority, tenant), cost in self._costs.items()
        }

    def _collect_latencies(self) -> Iterator[Metric]:
        own = self._counters
        for name, help_text, by_deployment in (
            ("pllm_answer_duration_seconds", "From a request to the last byte of its answer", own.answers),
            ("pllm_first_byte_seconds", "From the call of a provider to its first event", own.first_bytes),
            ("pllm_chunk_gap_seconds", "Between two chunks of a stream", own.gaps),
        ):
            yield from _histograms(name, help_text, "deployment", by_deployment)
        for name, help_text, histogram in (
            ("pllm_overhead_seconds", "Time that the gateway adds before an answer", own.overhead),
            ("pllm_decision_seconds", "Part of that time spent waiting for the store's decisions", own.decision),
            ("pllm_event_loop_lag_seconds", "Delay of timers in this process's event loop", self._lag.lags),
        ):
            family = HistogramMetricFamily(name, help_text)
            family.add_metric([], _buckets(histogram), histogram.total_s)
            yield family

    def _collect_queues(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("pllm_queue_waiting", "Requests that wait on this replica", labels=["model"])
        overloaded = GaugeMetricFamily(
            "pllm_queue_overloaded", "1 while even the shortest wait in the queue is too long", labels=["model"]
        )
        granted = CounterMetricFamily("pllm_queue_granted", "Requests that obtained a deployment", labels=["model"])
        dropped = CounterMetricFamily("pllm_queue_dropped", "Requests that waited for too long", labels=["model"])
        refused = CounterMetricFamily("pllm_queue_refused", "Requests that found the queue full", labels=["model"])
        for model, queue in self._queues.items():
            waiting.add_metric([model], queue.waiting)
            overloaded.add_metric([model], float(queue.is_overloaded))
            granted.add_metric([model], queue.granted_count)
            dropped.add_metric([model], queue.dropped)
            refused.add_metric([model], queue.refused_count)
        yield from (waiting, overloaded, granted, dropped, refused)
        waits = {model: queue.waits for model, queue in self._queues.items()}
        yield from _histograms("pllm_queue_wait_seconds", "Time in the queue of granted requests", "model", waits)

    def _collect_state(self) -> Iterator[Metric]:
        failover, parts = self._failover, self._failover.parts
        shared = [each.shared for each in parts.values()]
        in_use = "1 while the standby store decides for any routing domain, else 0"
        yield _number(GaugeMetricFamily, "pllm_state_standby", in_use, float(failover.worst.state == "standby"))
        switched = "Times that this replica switched from one store to the other"
        switches = _sum(each.switches for each in parts.values())
        yield from _counter("pllm_state_switches", switched, ("to", "reason"), switches)
        late = "Calls that the shared store did not answer in time"
        yield _number(
            CounterMetricFamily, "pllm_state_deadline_misses", late, sum(each.deadlines_missed for each in shared)
        )
        lost = "Times that the shared store had lost its data"
        yield _number(
            CounterMetricFamily, "pllm_state_epoch_changes", lost, sum(each.recovery.epoch_changes for each in shared)
        )
        duration = "From sending a script to its reply"
        yield from _histograms("pllm_script_seconds", duration, "script", together([each.latencies for each in shared]))
        running = "Version of the configuration that this replica runs; equal on all replicas"
        yield _number(GaugeMetricFamily, "pllm_configuration_version", running, self._in_force.version)
        behind = "1 while this replica's file differs from the configuration in force, else 0"
        yield _number(GaugeMetricFamily, "pllm_config_behind", behind, float(self._in_force.is_behind))
        ended = {(result,): count for result, count in self._reloads.items()}
        yield from _counter("pllm_configuration_reloads", "Reloads of the configuration", ("result",), ended)
        yield from _blocks(failover.block_counts)
        failed = {(task,): count for task, count in background.failures.items()}
        yield from _counter("pllm_task_failures", "Background tasks that failed, and defects", ("task",), failed)
        ignored = {(channel,): count for channel, count in subscription.ignored.items()}
        what = "Messages ignored because no replica sends messages of this form"
        yield from _counter("pllm_news_ignored", what, ("channel",), ignored)
        shedding = GaugeMetricFamily(
            "pllm_should_shed_load", "1 for each reason to shed load that holds in the cluster", labels=["reason"]
        )
        reasons = {reason for each in parts.values() for reason in each.active.shed_reasons}
        for reason in SHED_REASONS:
            shedding.add_metric([reason], float(reason in reasons))
        yield shedding


def _collect_tls() -> Iterator[Metric]:
    if not tls_counts.counts.expires_at_s:
        return
    counts = tls_counts.counts
    ends = "Time at which the first certificate of the chain in use expires, in seconds since 1970"
    yield _number(GaugeMetricFamily, "pllm_tls_certificate_expires_timestamp_seconds", ends, counts.expires_at_s)
    reloads = {(result,): count for result, count in counts.reloads.items()}
    yield from _counter("pllm_tls_reloads", "Times that the files of server.tls had changed", ("result",), reloads)
    failed = {(reason,): count for reason, count in counts.failed.items()}
    yield from _counter("pllm_tls_handshakes_failed", "TLS handshakes that failed", ("reason",), failed)


def _sum(counts: Iterable[Mapping[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return total


def _blocks(counts: BlockCounts | None) -> Iterator[Metric]:
    if counts is None:
        return
    steps = {(step,): getattr(counts, step) for step in ("granted", "handed_out", "given_back")}
    what = "Permits granted in blocks, handed out to requests, and returned unused"
    yield from _counter("pllm_block_permits", what, ("step",), steps)
    yield _number(GaugeMetricFamily, "pllm_block_held", "Permits of blocks that wait for requests", counts.held)
    late = "Permits of blocks that were used although the breaker had already opened"
    yield _number(CounterMetricFamily, "pllm_block_late_permits", late, counts.late)


def _number(family: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, what: str, value: float) -> Metric:
    made = family(name, what)
    made.add_metric([], value)
    return made


def _counter(name: str, help_text: str, labels: tuple[str, ...], counts: Mapping[Any, float]) -> Iterator[Metric]:
    for piece in pieces(counts.items()):
        family = CounterMetricFamily(name, help_text, labels=labels)
        for key, count in piece:
            family.add_metric(key, count)
        yield family


def _histograms(name: str, help_text: str, label: str, histograms: Mapping[str, Histogram]) -> Iterator[Metric]:
    for piece in pieces(histograms.items()):
        family = HistogramMetricFamily(name, help_text, labels=[label])
        for value, histogram in piece:
            family.add_metric([value], _buckets(histogram), histogram.total_s)
        yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    names = [*map(str, histogram.bounds), "+Inf"]
    counted = zip(names, accumulate(histogram.counts), strict=True)
    if not isinstance(histogram, TracedHistogram):
        return list(counted)
    return [
        (bound, count, Exemplar({"trace_id": last.trace_id}, last.seconds, last.at_s)) if last else (bound, count)
        for (bound, count), last in zip(counted, histogram.examples, strict=True)
    ]
