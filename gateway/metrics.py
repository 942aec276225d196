"""What this replica tells Prometheus. Read from its owners at each scrape, so that counting costs a request nothing."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from shared_state.failover import Failover

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
    def __init__(self, failover: Failover, retries: ClientRetries) -> None:
        self._failover = failover
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
        retried = CounterMetricFamily("pllm_client_retries", "Requests that their clients had sent before")
        retried.add_metric([], self._retries.count)
        yield retried
