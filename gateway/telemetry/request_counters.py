"""This replica's counts of its requests: plain numbers, cheap for the request, rendered only when they are scraped."""

import time
from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

from gateway.errors import GatewayError, Overloaded, UpstreamRefused
from gateway.request.auth import PRIORITY_LEVELS
from gateway.request.tenant_labels import NO_LABELS, TenantLabels
from gateway.routing.answer import Answer
from gateway.telemetry.request_log import RequestLine
from shared_state.histogram import Histogram
from shared_state.records import NO_TOKENS, Outcome

# Seconds. A model's answer takes from a tenth of a second to minutes, and its chunks arrive tens of milliseconds apart;
# the gateway adds fractions of a millisecond.
ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
GAP_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 30.0)
OVERHEAD_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
# Counters that alerts use exist from the start: Prometheus misses the first increment of a counter that begins at one.
_KNOWN = (
    ("402", "budget_exceeded"),
    *(("503", "no_healthy_deployment"), ("503", "server_is_overloaded"), ("503", "state_unavailable")),
    *(("429", "queue_full"), ("429", "rate_limit_exceeded"), ("502", "upstream_error"), ("504", "upstream_timeout")),
)
CLASSES = {level: name for name, level in PRIORITY_LEVELS.items()}


class Example(NamedTuple):
    """An observation of a bucket that has a recorded trace."""

    trace_id: str
    seconds: float
    at_s: float  # since 1970


class TracedHistogram(Histogram):
    """A histogram with exemplars. ``examples``: each bucket's last observation that had a trace."""

    __slots__ = ("examples",)

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__(bounds)
        self.examples: list[Example | None] = [None] * len(self.counts)

    def exemplify(self, seconds: float, trace_id: str) -> None:
        """Adds a trace to an observation that `observe` counts separately."""
        self.examples[bisect_left(self.bounds, seconds)] = Example(trace_id, seconds, time.time())


class _Tally:
    """Counts of one model's requests of one class and tenant that one deployment answered."""

    __slots__ = ("answers", "input", "outcomes", "output", "read", "written")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.input = self.output = self.read = self.written = 0  # tokens; ``input`` are neither of the last two
        self.answers: TracedHistogram | None = None  # of all models and classes of the deployment


class RequestCounters:
    """Counters and histograms of one replica. A class is a level of priority. Labels are resolved at a scrape: a
    request finds its numbers in one step.
    """

    def __init__(self, labels: TenantLabels = NO_LABELS) -> None:
        self._labels = labels
        self._tallies: dict[tuple[str, str, int, str], _Tally] = {}  # by model, deployment, priority and tenant's label
        self._left: Counter[tuple[str, int, str]] = Counter()  # model, priority, tenant's label
        self.refused: Counter[tuple[str, str]] = Counter(dict.fromkeys(_KNOWN, 0))  # status, code
        self.shed: Counter[tuple[str, str]] = Counter()  # reason, class
        self.fallbacks: Counter[tuple[str, str]] = Counter()  # requested model, model that served
        self.answers: dict[str, TracedHistogram] = {}  # by deployment, as are the next two
        self.first_bytes: dict[str, Histogram] = {}
        self.gaps: dict[str, Histogram] = {}
        self.overhead = Histogram(OVERHEAD_S)
        self.decision = Histogram(OVERHEAD_S)

    def served(self, answer: Answer, line: RequestLine, took_s: float, overhead_s: float, trace_id: str = "") -> None:
        """Counts a request with an answer, after its last byte was sent or its client disconnected. ``trace_id``: empty
        unless the trace is recorded.
        """
        deployment, exchange, outcome = answer.candidate.deployment, answer.exchange, answer.outcome
        model, key = line.model, (line.model, deployment.id, line.priority, self._labels.of(line.tenant))
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        tally.outcomes[outcome] += 1
        counts = exchange.counts
        if counts is not NO_TOKENS:
            tally.input += counts.plain
            tally.output += counts.output
            tally.read += counts.read
            tally.written += counts.written
        if deployment.model_name != model:
            self.fallbacks[model, deployment.model_name] += 1
        self.overhead.observe(overhead_s)
        self.decision.observe(answer.decision_s)
        if outcome is Outcome.SUCCESS:
            answers = tally.answers
            if answers is None:
                answers = tally.answers = self.answers.setdefault(deployment.id, TracedHistogram(ANSWER_S))
            answers.observe(took_s)
            if trace_id:
                answers.exemplify(took_s, trace_id)
            if line.stream:
                _of(self.first_bytes, deployment.id, ANSWER_S).observe(exchange.latency_ms / 1000)

    @property
    def requests(self) -> dict[tuple[str, str, str, str, str], int]:
        """The requests by model, deployment (empty without one), outcome, class and tenant."""
        self._forget_tenants()
        counts: dict[tuple[str, str, str, str, str], int] = {
            (model, deployment_id, outcome.value, CLASSES[priority], tenant): count
            for (model, deployment_id, priority, tenant), tally in self._tallies.items()
            for outcome, count in tally.outcomes.items()
            if count
        }
        left = Outcome.CANCELLED.value
        return counts | {
            (model, "", left, CLASSES[level], tenant): count for (model, level, tenant), count in self._left.items()
        }

    @property
    def tokens(self) -> Counter[tuple[str, str, str, str]]:
        """The tokens by deployment, direction, class and tenant. The directions have no token in common."""
        tokens: Counter[tuple[str, str, str, str]] = Counter()
        for (_, deployment_id, priority, tenant), tally in self._tallies.items():
            for direction, count in (
                ("input", tally.input),
                ("output", tally.output),
                ("cache_read", tally.read),
                ("cache_write", tally.written),
            ):
                tokens[deployment_id, direction, CLASSES[priority], tenant] += count
        return +tokens  # without zeros

    def _forget_tenants(self) -> None:
        """Drops the series of tenants that no longer have a label: their number would grow without bound."""
        for key in [key for key in self._tallies if not self._labels.is_current(key[3])]:
            del self._tallies[key]
        for left in [left for left in self._left if not self._labels.is_current(left[2])]:
            del self._left[left]

    def gap(self, deployment_id: str) -> Histogram:
        """Returns the histogram of the time between two chunks of a stream, in seconds."""
        return _of(self.gaps, deployment_id, GAP_S)

    def left(self, line: RequestLine) -> None:
        """Counts a request whose client disconnected before the answer."""
        self._left[line.model, line.priority, self._labels.of(line.tenant)] += 1

    def failed(self, error: GatewayError, priority: int = -1) -> None:
        """Counts a request that the gateway answered with an error. A provider's own codes are not labels: they are
        unbounded.
        """
        code = "upstream_refused" if isinstance(error, UpstreamRefused) else error.code or error.type
        self.refused[str(error.status), code] += 1
        if isinstance(error, Overloaded):
            self.shed[error.reason, CLASSES.get(priority, "unknown")] += 1


class ClientRetries:
    """Counts the requests that their SDK marks as retries: load that grows when responses fail."""

    def __init__(self) -> None:
        self.count = 0

    def see(self, retry_count: bytes | None) -> None:
        """Counts a request by its header `x-stainless-retry-count`."""
        if retry_count is not None and retry_count.strip(b"0").isdigit():
            self.count += 1


def _of(histograms: dict[str, Histogram], deployment_id: str, bounds: tuple[float, ...]) -> Histogram:
    histogram = histograms.get(deployment_id)
    if histogram is None:
        histogram = histograms[deployment_id] = Histogram(bounds)
    return histogram
