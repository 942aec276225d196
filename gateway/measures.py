"""What this replica counts of its requests. Plain numbers, because a request must not pay for being counted: an
increment and a bisection each, rendered when somebody asks.
"""

from bisect import bisect_left
from collections import Counter

from gateway.answer import Answer
from gateway.errors import GatewayError, UpstreamRefused
from shared_state.records import Outcome

# Seconds. Answers of models take from a tenth of a second to minutes; what the gateway adds, parts of a millisecond.
ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
OVERHEAD_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Histogram:
    """Counts by upper bound in seconds; ``counts`` has one more, for what is above all of them."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds


class Measures:
    """``requests`` by model, deployment and outcome; ``refused`` by status and code; ``fallbacks`` by the model asked
    for and the one that served; ``tokens`` by deployment and direction; ``answers``, ``first_bytes`` by deployment.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.answers: dict[str, Histogram] = {}
        self.first_bytes: dict[str, Histogram] = {}
        self.overhead = Histogram(OVERHEAD_S)
        self.decision = Histogram(OVERHEAD_S)
        self.attempts = 0

    def served(self, answer: Answer, model: str, is_stream: bool, took_s: float, overhead_s: float) -> None:
        """A request that got an answer, once its last byte has gone out or its client has left."""
        deployment, exchange = answer.candidate.deployment, answer.exchange
        self.requests[model, deployment.id, answer.outcome.value] += 1
        self.attempts += answer.attempts
        if deployment.model_name != model:
            self.fallbacks[model, deployment.model_name] += 1
        if exchange.input_tokens:
            self.tokens[deployment.id, "input"] += exchange.input_tokens
        if exchange.output_tokens:
            self.tokens[deployment.id, "output"] += exchange.output_tokens
        self.overhead.observe(overhead_s)
        self.decision.observe(answer.decision_s)
        if answer.outcome is Outcome.SUCCESS:
            _of(self.answers, deployment.id).observe(took_s)
            if is_stream:
                _of(self.first_bytes, deployment.id).observe(exchange.latency_ms / 1000)

    def failed(self, error: GatewayError) -> None:
        """A request that got an error of ours. A provider's own codes are not labels: they are anybody's words."""
        code = "upstream_refused" if isinstance(error, UpstreamRefused) else error.code or error.type
        self.refused[str(error.status), code] += 1
        self.attempts += error.attempts


def _of(histograms: dict[str, Histogram], deployment_id: str) -> Histogram:
    found = histograms.get(deployment_id)
    if found is None:
        found = histograms[deployment_id] = Histogram(ANSWER_S)
    return found
