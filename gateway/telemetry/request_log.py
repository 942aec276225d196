"""One line for each request: what was asked, what became of it, and the ids that lead to its trace and its client."""

import time

import msgspec

from gateway.configuration.redaction import Redaction
from gateway.errors import Attempt, GatewayError
from gateway.routing.answer import Answer
from gateway.routing.final_errors import tried_list
from gateway.telemetry.logs import Lines, timestamp
from shared_state.records import Outcome

GONE = "client_disconnected"
PATH_MOST = 200


class RequestLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Filled while the request goes; times in ms. ``status``: HTTP's, 0 when the client left before it got one;
    ``client``: its address; ``admin``: the name of the key that administers; ``error``: our code of what went wrong,
    also in an answer that had begun; ``failed_attempts``: why each attempt gave no answer, also where a fallback saved
    the request. Of what a client wrote there is nothing in it but names known here.
    """

    time: str = ""
    level: str = "info"
    message: str = "request"
    method: str
    path: str
    status: int = 0
    error: str | None = None
    request_id: str
    trace_id: str = ""
    client: str = ""
    tenant: str = ""
    admin: str = ""
    priority: int = -1
    model: str = ""
    deployment: str = ""
    fallback: str = ""
    attempts: int = 0
    failed_attempts: tuple[Attempt, ...] = ()
    stream: bool = False
    outcome: str = ""
    duration_ms: float = 0.0
    overhead_ms: float = 0.0
    decision_ms: float = 0.0
    first_byte_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    state: str = ""

    def failed(self, error: GatewayError) -> None:
        self.status, self.error, self.attempts = error.status, error.code or error.type, error.attempts
        self.failed_attempts = tuple(each for each in error.details if isinstance(each, Attempt))

    def served(self, answer: Answer) -> None:
        """Once its last byte has gone out, or its client has left."""
        deployment, exchange = answer.candidate.deployment, answer.exchange
        self.deployment = deployment.id
        self.fallback = deployment.model_name if answer.candidate.tier else ""
        self.attempts = answer.attempts
        self.failed_attempts = tried_list(answer.tried)
        if answer.outcome is not Outcome.SUCCESS and exchange.reason:
            last = Attempt(deployment.id, answer.outcome.value, exchange.status, exchange.reason)
            self.failed_attempts = (*self.failed_attempts, last)
        self.outcome = answer.outcome.value
        self.decision_ms = round(answer.decision_s * 1000, 2)
        self.first_byte_ms = exchange.latency_ms if self.stream else 0
        self.input_tokens, self.output_tokens = exchange.input_tokens, exchange.output_tokens
        self.state = answer.state


class RequestLog:
    """``lines`` None: nobody wants to know. ``redact``: for what is not a name known here."""

    def __init__(self, lines: Lines | None, redact: Redaction | None = None) -> None:
        self._lines = lines
        self._redact = redact or Redaction(())

    def path(self, path: str) -> str:
        """A path that a client wrote, as far as it may be told. Some write their key into it."""
        return self._redact(path)[:PATH_MOST]

    def write(self, line: RequestLine, started: float) -> None:
        """``started``: by `time.perf_counter`."""
        if self._lines is None:
            return
        line.time = timestamp(time.time())
        line.duration_ms = round((time.perf_counter() - started) * 1000, 2)
        if line.status == 0 or line.status >= 500 or (line.error and line.status == 200):
            line.level = "warning"
        self._lines.put(_plain(line) if self._lines.is_plain else msgspec.json.encode(line))


def _shown(path: str) -> str:
    """A path is whatever a client wrote."""
    return path if path.isprintable() else ascii(path)


def _plain(line: RequestLine) -> bytes:
    way = f"{line.model} > {line.deployment}" if line.deployment else line.model
    words = [
        line.time,
        line.level,
        str(line.status or "---"),
        line.method,
        _shown(line.path),
        way,
        f"{line.duration_ms:.0f}ms",
    ]
    if line.attempts > 1:
        words.append(f"{line.attempts} attempts")
    if line.error:
        words.append(line.error)
    words += [f"[{each.deployment}: {each.reason or each.outcome}]" for each in line.failed_attempts]
    words.append(line.request_id)
    return " ".join(word for word in words if word).encode()
