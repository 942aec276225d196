"""An answer of a provider that may be committed, with its permit."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType

from gateway.errors import UpstreamFailed, UpstreamTimedOut
from gateway.request.interrupt import Interrupt
from gateway.routing.catalog import Candidate
from gateway.routing.final_errors import Tried, provider_fields
from gateway.routing.tracing import Attempt
from gateway.upstream.exchange import Exchange, StreamBroken
from gateway.upstream.shortcut import Outlet
from shared_state.connection.call import Reply
from shared_state.failover import Failover, StoreName
from shared_state.records import Ending, Outcome, Permit

REMEMBERED_MOST_S = 0.05
_COOLING = (Outcome.SUCCESS, Outcome.THROTTLED, Outcome.OVERLOADED)
Settle = Callable[[Permit, Ending, Attempt], int]  # returns the cost in micro-units


class Answer:
    """A deployment's answer. Leaving the `async with` settles its permit: after the last byte has been sent, on every
    way out, exactly once.
    """

    def __init__(
        self,
        store: Failover,
        settle: Settle,
        permit: Permit,
        exchange: Exchange,
        interrupt: Interrupt,
        candidate: Candidate,
        attempt: Attempt,
    ) -> None:
        self._settle = settle
        self._permit = permit
        self._interrupt = interrupt
        self._attempt = attempt
        self._outcome = exchange.outcome
        self.exchange = exchange
        self.candidate = candidate
        self.used = permit.used
        self.is_last_resort = permit.is_last_resort
        self.affinity = permit.affinity or "none"
        self.state: StoreName = store.state_of(permit.deployment_id)
        self.attempts = 1
        self.has_tried_all = False  # of a refusal: no candidate is left that could answer otherwise
        self.tried: tuple[Tried, ...] = ()
        self.upstream_s = 0.0
        self.decision_s = 0.0
        self.at_end: Callable[[], None] | None = None  # called when the last byte has been sent
        self.remembering: Sequence[asyncio.Future[Reply]] = ()  # who holds what it names
        self.cost = 0  # in micro-units, known after the `async with`

    @property
    def outcome(self) -> Outcome:
        """The outcome of the attempt, final after the `async with`."""
        return self._outcome

    async def remembered(self) -> None:
        """Waits until every replica knows the owner of what the answer names: a client may name it at once. A store
        that is slow holds no answer up, as an unknown owner is found by trying.
        """
        await asyncio.wait(self.remembering, timeout=REMEMBERED_MOST_S)

    async def chunks(self, outlet: Outlet | None = None) -> AsyncGenerator[bytes]:
        """Yields a stream's bytes, except for those that ``outlet`` takes (`Exchange.chunks`). Raises UpstreamFailed
        when the stream breaks: a committed answer cannot fall back.
        """
        interrupt = self._interrupt

        def passed(chunk: bytes) -> bool:
            interrupt.begin_waiting()
            assert outlet is not None
            return outlet(chunk)

        async with contextlib.aclosing(self.exchange.chunks(passed if outlet else None)) as chunks:
            interrupt.begin_waiting(self.candidate.deployment.idle_timeout_ms / 1000)
            try:
                async for chunk in chunks:
                    interrupt.end_waiting()
                    yield chunk
                    interrupt.begin_waiting()
            except StreamBroken as broken:
                self._outcome = self.exchange.outcome
                failure = UpstreamFailed("The answer broke off: the provider's stream ended too early.")
                if broken.error is not None:
                    wire = self.exchange.wire
                    failure.provider = provider_fields(self.exchange.key, wire, broken.error, broken.status)
                raise failure from broken
        self._outcome = self.exchange.outcome

    def silent(self) -> UpstreamFailed:
        """Ends a stream whose provider sent nothing for `idle_timeout`. Returns the error that the client gets."""
        self._outcome = Outcome.TIMEOUT
        idle_s = self.candidate.deployment.idle_timeout_ms / 1000
        self.exchange.reason = f"silent for {idle_s:g} s in the middle of its stream (idle_timeout)"
        return UpstreamTimedOut("The answer broke off: the provider's stream fell silent.")

    def out_of_time(self) -> UpstreamFailed:
        """Ends a stream that was still running at its client's deadline, which is no failure of the deployment. Returns
        the error that the client gets.
        """
        self._outcome = Outcome.CANCELLED
        return UpstreamTimedOut("The answer broke off: the time that x-pllm-timeout allows is over.")

    def defect(self) -> None:
        """Notes that a fault of the gateway broke the stream, which is no failure of the deployment."""
        self._outcome = Outcome.CANCELLED

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupt.clear()
        if error is not None and not self.exchange.is_complete:  # some clients leave at the last event
            self._outcome = Outcome.CANCELLED
        exchange = self.exchange
        ending = Ending(
            self._outcome,
            exchange.latency_ms,
            exchange.output_tokens,
            retry_after_ms=exchange.retry_after_ms if self._outcome in _COOLING else 0,
            tokens=exchange.tokens,
            counts=exchange.counts,
            reason=exchange.reason,
            cache_share=exchange.cache_share,
        )
        self._attempt.end(self._outcome, exchange)
        self.cost = self._settle(self._permit, ending, self._attempt)
        if self.at_end is not None:
            self.at_end()
        exchange.close()
