"""One log line for each request: its model, its outcome, and the ids that lead to its trace and its client."""

import time

import msgspec

from gateway.configuration.redaction import Redaction
from gateway.errors import Attempt, GatewayError
from gateway.routing.answer import Answer
from gateway.routing.final_errors import tried_list
from gateway.telemetry.logs import Lines, timestamp
from shared_state.money import MICRO
from shared_state.records import NO_TOKENS, Outcome

GONE = "client_disconnected"
PATH_MOST = 200


class RequestLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The line of one request, filled in as the request proceeds. It holds no text from a client except names known
    here. The order of the fields is that of the log.
    """

    time: str = ""
    level: str = "info"
    message: str = "request"
    method: str
    path: str
    status: int = 0  # of HTTP; 0 where the client disconnected before it got one
    error: str | None = None  # the gateway's code, also for an error within an answer
    request_id: str
    trace_id: str = ""
    client: str = ""  # address
    tenant: str = ""
    admin: str = ""  # name of the admin key
    priority: int = -1
    model: str = ""
    deployment: str = ""
    fallback: str = ""
    attempts: int = 0
    failed_attempts: tuple[Attempt, ...] = ()  # with reasons, also where a fallback served the request
    stream: bool = False
    outcome: str = ""
    duration_ms: float = 0.0
    overhead_ms: float = 0.0
    decision_ms: float = 0.0
    first_byte_ms: int = 0
    input_tokens: int = 0  # cached ones included
    output_tokens: int = 0
    cached_tokens: int = 0  # read from the provider's cache
    cache_write_tokens: int = 0
    cost: float = 0.0  # of the answer, in the currency of the prices
    state: str = ""

    def failed(self, error: GatewayError) -> None:
        self.status, self.error, self.attempts = error.status, error.code or error.type, error.attempts
        self.failed_attempts = tuple(each for each in error.details if isinstance(each, Attempt))

    def served(self, answer: Answer) -> None:
        """Fills in an answer, after its last byte was sent or its client disconnected."""
        deployment, exchange = answer.candidate.deployment, answer.exchange
        self.deployment = deployment.id
        self.fallback = deployment.model_name if answer.candidate.tier else ""
        self.attempts = answer.attempts
        if answer.tried:
            self.failed_attempts = tried_list(answer.tried)
        if answer.outcome is not Outcome.SUCCESS and exchange.reason:
            last = Attempt(deployment.id, answer.outcome.value, exchange.status, exchange.reason)
            self.failed_attempts = (*self.failed_attempts, last)
        self.outcome = answer.outcome.value
        self.decision_ms = round(answer.decision_s * 1000, 2)
        self.first_byte_ms = exchange.latency_ms if self.stream else 0
        counts = exchange.counts
        if counts is not NO_TOKENS:
            self.input_tokens, self.output_tokens = counts.prompt, counts.output
            self.cached_tokens, self.cache_write_tokens = counts.read, counts.written
        if answer.cost:
            self.cost = answer.cost / MICRO
        self.state = answer.state


class RequestLog:
    """Writes request lines. ``lines``: None where request logging is off; ``redact``: applied to paths from clients."""

    def __init__(self, lines: Lines | None, redact: Redaction | None = None) -> None:
        self._lines = lines
        self._redact = redact or Redaction(())

    def path(self, path: str) -> str:
        """Returns a client's path, redacted and cut: some clients put their key into it."""
        return self._redact(path)[:PATH_MOST]

    def write(self, line: RequestLine, started: float) -> None:
        """Writes the line. ``started``: a time of `time.perf_counter`."""
        if self._lines is None:
            return
        line.time = timestamp(time.time())
        line.duration_ms = round((time.perf_counter() - started) * 1000, 2)
        if line.status == 0 or line.status >= 500 or (line.error and line.status == 200):
            line.level = "warning"
        self._lines.put(_plain(line) if self._lines.is_plain else msgspec.json.encode(line))


def _printable(path: str) -> str:
    """Escapes a path, which may hold any characters."""
    return path if path.isprintable() else ascii(path)


def _plain(line: RequestLine) -> bytes:
    route = f"{line.model} > {line.deployment}" if line.deployment else line.model
    words = [
        line.time,
        line.level,
        str(line.status or "---"),
        line.method,
        _printable(line.path),
        route,
        f"{line.duration_ms:.0f}ms",
    ]
    if line.attempts > 1:
        words.append(f"{line.attempts} attempts")
    if line.error:
        words.append(line.error)
    words += [f"[{each.deployment}: {each.reason or each.outcome}]" for each in line.failed_attempts]
    words.append(line.request_id)
    return " ".join(word for word in words if word).encode()
