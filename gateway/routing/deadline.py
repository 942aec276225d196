"""The time that a request may take with all its attempts, and whose fault it is when an attempt takes longer."""

import msgspec

from gateway.configuration.settings import DeploymentSettings
from gateway.request.interrupt import Cause, Interrupt
from gateway.upstream.classify import Judgement
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome

_TIMED_OUT = Judgement(Outcome.TIMEOUT)
_CUT_SHORT = Judgement(Outcome.CANCELLED)


class Deadline(msgspec.Struct, frozen=True):
    """When a request must be answered; all its attempts share it."""

    at: float  # seconds on the event loop's clock
    is_from_client: bool = False  # set by the request's header, so it also bounds a stream that delivers


class Limits:
    """The limits of one attempt, and the outcome when one of them is reached.

    Reaching the gateway's own limit is the provider's failure only where the provider was silent. A client that allows
    less time than the deployment may take is like a client that leaves, and so is an earlier attempt that has used up
    the time: such a limit is no evidence against the deployment.
    """

    def __init__(
        self, deployment: DeploymentSettings, deadline: Deadline, now: float, is_stream: bool, is_first: bool
    ) -> None:
        self._deployment = deployment
        self._is_stream = is_stream
        own_at = now + deployment.timeout_ms / 1000
        first_token_ms = deployment.first_token_timeout_ms if is_stream else None
        self._is_first_token = first_token_ms is not None and now + first_token_ms / 1000 <= min(own_at, deadline.at)
        if first_token_ms is not None:
            own_at = min(own_at, now + first_token_ms / 1000)
        self._is_cut_short = deadline.at < own_at and (deadline.is_from_client or not is_first)
        self._is_request = deadline.at < own_at
        self.has_received = False  # the provider has sent something
        self.at = min(own_at, deadline.at)

    def note_received(self) -> None:
        """Notes that the provider has sent something."""
        self.has_received = True

    def silent(self) -> Exchange:
        """Returns the outcome of a stream that was silent for too long before its first content."""
        name = "idle_timeout" if self.has_received else "first_byte_timeout"
        silence_ms = self._deployment.idle_timeout_ms if self.has_received else self._deployment.first_byte_timeout_ms
        return Exchange(_TIMED_OUT, reason=f"timed out: silent for {silence_ms / 1000:g} s ({name})")

    def overdue(self) -> Exchange:
        """Returns the outcome of a waiting call whose deployment's breaker opened because calls are overdue."""
        exchange = Exchange(_TIMED_OUT, reason="overdue: the breaker opened while the call waited for its first byte")
        exchange.is_overdue = True
        return exchange

    def over(self) -> Exchange:
        """Returns the outcome of an attempt that is still running at ``at``."""
        if self._is_first_token:
            first_token_ms = self._deployment.first_token_timeout_ms or 0
            words = f"timed out: no content within {first_token_ms / 1000:g} s (first_token_timeout)"
            return Exchange(_TIMED_OUT, reason=words)
        awaited = "content" if self._is_stream else "answer"
        limit = "the request's time" if self._is_request else f"{self._deployment.timeout_ms / 1000:g} s (timeout)"
        is_neutral = self._is_cut_short or self.has_received
        return Exchange(_CUT_SHORT if is_neutral else _TIMED_OUT, reason=f"timed out: no {awaited} within {limit}")

    def reached(self, interrupt: Interrupt) -> Exchange | None:
        """Returns the outcome of an attempt that reached one of its limits; None when something else ended it."""
        if interrupt.take(Cause.SILENCE):
            return self.silent()
        if interrupt.take(Cause.DEADLINE):
            return self.over()
        if interrupt.take(Cause.OVERDUE):
            return self.overdue()
        return None
