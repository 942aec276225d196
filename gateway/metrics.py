"""What this replica tells Prometheus. Read from its owners at each scrape, so that counting costs a request nothing."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.queueing import Queue
from shared_state.failover import Failover

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

    def __init__(self, failover: Failover, retries: ClientRetries, queues: Mapping[str, Queue]) -> None:
        self._failover = failover
        self._queues = queues
        self._retries = retries
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
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
