"""An answer in hand, with the permit it was given under."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from types import TracebackType

from gateway.catalog import Candidate
from gateway.errors import UpstreamFailed, UpstreamTimedOut
from gateway.interrupt import Interrupt
from gateway.tracing import Attempt
from gateway.upstream import Exchange, StreamBroken
from shared_state.failover import Failover, StoreName
from shared_state.records import Ending, Outcome, Permit

Settle = Callable[[Permit, Ending, Attempt], None]


class Answer:
    """What a deployment answered, with the permit it was answered under. Leaving the `async with` settles the permit:
    after the last byte has been sent, on every way out, exactly once.
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
        self._store = store
        self._settle = settle
        self._permit = permit
        self._interrupt = interrupt
        self._attempt = attempt
        self._outcome = exchange.outcome
        self.exchange = exchange
        self.candidate = candidate
        self.used = permit.used
        self.state: StoreName = store.state_of(permit.deployment_id)
        self.attempts = 1
        self.upstream_s = 0.0
        self.decision_s = 0.0

    @property
    def outcome(self) -> Outcome:
        """Final once the `async with` has been left."""
        return self._outcome

    async def chunks(self) -> AsyncGenerator[bytes]:
        """A stream's bytes. Raises UpstreamFailed when it breaks: the answer is committed, so it cannot be saved."""
        self._store.answered(self._permit)
        interrupt = self._interrupt
        async with contextlib.aclosing(self.exchange.chunks()) as chunks:
            interrupt.begin_waiting(self.candidate.deployment.idle_timeout_ms / 1000)
            try:
                async for chunk in chunks:
                    interrupt.end_waiting()
                    yield chunk
                    interrupt.begin_waiting()
            except StreamBroken as broken:
                self._outcome = broken.outcome
                raise UpstreamFailed("The answer broke off: the provider's stream ended too early.") from broken

    def timed_out(self) -> UpstreamFailed:
        """A stream was still running at its deadline, or silent for too long. That is not the provider's fault when the
        client was the one to wait for.
        """
        self._outcome = self.exchange.late if self._interrupt.is_waiting else Outcome.CANCELLED
        return UpstreamTimedOut("The answer broke off: the provider's stream took too long.")

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupt.clear()
        if error is not None:
            self._outcome = Outcome.CANCELLED
        exchange = self.exchange
        ending = Ending(
            self._outcome,
            exchange.latency_ms,
            exchange.output_tokens,
            retry_after_ms=exchange.retry_after_ms if self._outcome is Outcome.SUCCESS else 0,
            tokens=exchange.tokens,
            cached_tokens=exchange.cached_tokens,
            cost=exchange.cost,
        )
        self._attempt.end(self._outcome, exchange)
        self._settle(self._permit, ending, self._attempt)
        await exchange.close()
