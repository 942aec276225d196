"""Sends one chat completion and judges its answer. Every possible end of a call becomes one Sample.

One deadline covers a call from the moment it is due, so nothing here waits longer than the timeout.
"""

import asyncio
import errno
import math
import random
import socket
import ssl
import time
from types import TracebackType
from typing import Self

from loadtest.load.answers import Verdict
from loadtest.load.connection import Answer, Connection
from loadtest.load.measure import Sample
from loadtest.load.requests import Address, Request, Requests, Target

GIVE_UP_WITHIN = 4  # events with content: most streams have that many
UNREACHABLE = "cannot connect"
# Resources of this machine that have run out, which is neither the server's fault nor a refused connection.
_USED_UP = {errno.EMFILE: "no file is left here", errno.EADDRNOTAVAIL: "no port is left here"}


class _Call:
    """The progress of a call, which is read when it ends early."""

    def __init__(self, due_s: float, answer: Answer) -> None:
        self.due_s = due_s
        self.sent_s: float | None = None
        self.answer = answer

    @property
    def phase(self) -> str:
        if self.sent_s is None:
            return "in the client queue"
        return "waiting for the answer" if self.answer.first_byte_s is None else "in mid-stream"


class Client:
    """Use as an async context manager. At most `connections` calls are on the wire at once."""

    def __init__(self, target: Target, connections: int, seed: int = 1) -> None:
        self._target = target
        self._requests = Requests(target, seed)
        self._gate = asyncio.Semaphore(connections)
        # A generator apart from that of the requests, or the abandoned calls would always be of the same model.
        self._random = random.Random(f"{seed} given up")
        self._idle: dict[str, list[Connection]] = {url: [] for url in target.urls}
        self._secure = ssl.create_default_context() if any(url.startswith("https:") for url in target.urls) else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()

    async def call(self, due_s: float) -> Sample:
        """Makes one call. `due_s`: from when the call is timed, on the monotonic clock; it may have passed."""
        request = self._requests.next()
        call = _Call(due_s, Answer(self._target.is_stream, self._draw_end()))
        try:
            async with asyncio.timeout(due_s + self._target.timeout_s - time.monotonic()), self._gate:
                call.sent_s = time.monotonic()
                verdict = await self._exchange(request, call.answer)
                for _ in range(len(self._target.urls) - 1 if self._target.is_failover else 0):
                    if verdict.failure is None or not verdict.failure.startswith(UNREACHABLE):
                        break
                    request = self._requests.elsewhere(request)
                    verdict = await self._exchange(request, call.answer)
        except TimeoutError:
            verdict = Verdict(f"timeout {call.phase}")
        return _sample(request, verdict, call)

    def _draw_end(self) -> int | None:
        """Draws the number of events with content after which this call is given up, None for most calls."""
        if not self._target.give_up_ratio or self._random.random() >= self._target.give_up_ratio:
            return None
        return self._random.randint(1, GIVE_UP_WITHIN)

    async def _exchange(self, request: Request, answer: Answer) -> Verdict:
        idle = self._idle[request.address.url]
        while idle and not idle[-1].is_open:
            idle.pop()
        try:
            connection = idle.pop() if idle else await self._connect(request.address)
        except OSError as error:  # includes the system's own timeout; the call's deadline is a cancellation
            reason = _connect_reason(error)
            return Verdict(f"{UNREACHABLE}: {reason}" if reason else UNREACHABLE)
        try:
            failure = await connection.send(request.wire, answer)
        except asyncio.CancelledError:
            connection.close()
            raise
        if connection.is_open:
            idle.append(connection)
        return answer.judge() if failure is None else Verdict(failure)

    async def _connect(self, address: Address) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, address.host, address.port, ssl=self._secure if address.is_secure else None
        )
        return connection


def _connect_reason(error: OSError) -> str:
    """Returns why a connect failed, empty where no server listens. Any other reason is not a server that is down."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return f"TLS {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return "name not found"
    return _USED_UP.get(error.errno or 0, "")


def _sample(request: Request, verdict: Verdict, call: _Call) -> Sample:
    now_s, due_s, answer = time.monotonic(), call.due_s, call.answer
    headers = answer.headers
    return Sample(
        url=request.address.url,
        failure=verdict.failure,
        total_ms=1000 * (now_s - due_s),
        queue_ms=1000 * ((call.sent_s or now_s) - due_s),
        is_given_up=answer.is_given_up,
        first_byte_ms=_since_ms(due_s, answer.first_byte_s),
        first_token_ms=_since_ms(due_s, answer.first_token_s),
        gaps_ms=answer.gaps_ms,
        tokens=verdict.tokens,
        overhead_ms=_parse_number(headers.get(b"x-pllm-overhead-ms")),
        decision_ms=_parse_number(headers.get(b"x-pllm-decision-ms")),
        deployment=_text(headers.get(b"x-pllm-deployment")),
        replica=_text(headers.get(b"x-pllm-replica")),
        fallback=_text(headers.get(b"x-pllm-fallback")),
        model=request.model,
        tenant=request.tenant,
        priority=request.priority,
    )


def _since_ms(due_s: float, moment_s: float | None) -> float | None:
    return None if moment_s is None else 1000 * (moment_s - due_s)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _parse_number(value: bytes | None) -> float | None:
    """Returns a duration, None for anything else: not a number, infinite or negative."""
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
