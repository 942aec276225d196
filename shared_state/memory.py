"""The state that one replica knows by itself: its live permits, and breakers and budgets as it last saw them. A store
that has lost its state gets it, and so does the standby store.
"""

import time
from collections.abc import Iterable

import msgspec

from shared_state.breaker_log import BreakerLog
from shared_state.ledger import Ledger
from shared_state.records import Breaker, Permit

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Live(msgspec.Struct):
    """A permit that has not been settled yet. ``is_shared``: the shared store knows it."""

    permit: Permit
    granted_s: float
    is_shared: bool
    is_answered: bool = False


class View(msgspec.Struct, frozen=True):
    """The breakers of one store at one heartbeat, by deployment; only those that have moved, cool or are limited."""

    epoch: str = ""
    breakers: dict[str, Breaker] = {}


class Memory:
    """Times are by the monotonic clock, because each store has a clock of its own. Tokens name this replica, whichever
    store grants them.
    """

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.live: dict[str, Live] = {}
        self.ledger = Ledger()
        self.breaker_log = BreakerLog()
        self._counter = 0

    def token(self, is_stream: bool, tenant: str = "") -> str:
        self._counter += 1
        token = f"{self.replica}.{'stream' if is_stream else 'plain'}.{_base36(self._counter)}"
        return f"{token} {tenant}" if tenant else token

    def grant(self, permit: Permit, is_shared: bool) -> None:
        self.live[permit.token] = Live(permit, time.monotonic(), is_shared)

    def reserve(self, permit: Permit, hold_s: float, is_shared: bool) -> None:
        """Records a permit that may be handed out within ``hold_s``: its lease, and so its age, starts at the end of
        that time.
        """
        self.live[permit.token] = Live(permit, time.monotonic() + hold_s, is_shared)

    def end(self, token: str) -> Live | None:
        return self.live.pop(token, None)

    def answered(self, token: str) -> None:
        live = self.live.get(token)
        if live is not None:
            live.is_answered = True

    def only_live(self, permits: Iterable[Live]) -> list[Live]:
        """Returns those of them that have not ended."""
        return [each for each in permits if each.permit.token in self.live]

    def of(self, deployment_id: str) -> list[Live]:
        return [live for live in self.live.values() if live.permit.deployment_id == deployment_id]


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
