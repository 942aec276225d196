"""What each tenant used of each model: requests, errors, tokens, and their cost.

A replica adds its counts up and sends them to the shared store: at once after a quiet time, else every SEND_EVERY_S, so
that the store pays for one call, however many requests there were. One call is under way at a time, and it has a
number: a store that carried it out already ignores it when it arrives again.
"""

import asyncio
import contextlib
import logging
import time

import msgspec

from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Reply
from shared_state.errors import StateError, StoreUnavailable
from shared_state.records import NO_TOKENS, TokenCounts
from shared_state.snapshots import UsageRow

SEND_EVERY_S = 0.05  # counts that a replica loses when it is killed
RETRY_S = 1.0  # as often as the heartbeat
CLOSE_MOST_S = 0.5
ROWS_A_CALL = 200  # about 1 ms of the store's time
ROWS_MOST = 10_000  # tenants by model, while the store is away; as many as the store keeps of a day
OTHER = "other"

_log = logging.getLogger("pllm.state")


class Usage:
    """The counts of one replica that the shared store may not know yet."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, replica: str) -> None:
        self._batcher = batcher
        self._calls = calls
        self._replica = replica
        self._rows: dict[tuple[str, str], UsageRow] = {}  # by tenant and model
        self._since_s = 0.0  # of the first of them
        self._sent: list[tuple[tuple[str, str], UsageRow]] = []  # not confirmed
        self._sent_since_s = 0.0
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._sent_at_s = 0.0
        self.failed = 0  # calls that the store did not confirm

    @property
    def waiting(self) -> int:
        """The number of rows that the store has not confirmed."""
        return len(self._rows) + len(self._sent)

    def spent(self, tenant: str, model: str, tokens: TokenCounts, cost: int) -> None:
        """Counts a call of a provider. ``cost``: in micro-units."""
        row = self._row(tenant, model)
        if tokens is not NO_TOKENS:
            row.input += tokens.prompt
            row.output += tokens.output
            row.cached += tokens.read
            row.written += tokens.written
        row.cost += cost

    def ended(self, tenant: str, model: str, is_error: bool) -> None:
        """Counts a request."""
        row = self._row(tenant, model)
        row.requests += 1
        row.errors += is_error

    def _row(self, tenant: str, model: str) -> UsageRow:
        row = self._rows.get((tenant, model))
        if row is None:
            if not self._rows:
                self._since_s = time.monotonic()
                self._schedule(max(0.0, self._sent_at_s + SEND_EVERY_S - self._since_s))
            key = (tenant, model) if len(self._rows) < ROWS_MOST else (OTHER, OTHER)
            row = self._rows.setdefault(key, UsageRow())
        return row

    def _schedule(self, delay_s: float) -> None:
        if self._timer is None and not self._sent and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._send)

    def _send(self) -> None:
        """Sends what is known now, or again what was not confirmed."""
        self._timer = None
        if not self._sent:
            keys = list(self._rows)[:ROWS_A_CALL]
            self._sent = [(key, self._rows.pop(key)) for key in keys]
            self._sent_since_s = self._since_s
            self._number += 1
        self._sent_at_s = time.monotonic()
        age_ms = round((self._sent_at_s - self._sent_since_s) * 1000)
        items = [(*key, msgspec.structs.astuple(row)) for key, row in self._sent]
        self._call = self._batcher.call(self._calls.usage_add(self._replica, self._number, age_ms, items))
        self._call.add_done_callback(self._done)

    def _done(self, call: asyncio.Future[Reply]) -> None:
        if call.cancelled() or (error := call.exception()) is not None:
            self.failed += 1
            if not call.cancelled() and self.failed == 1 and not isinstance(error, StoreUnavailable):
                _log.warning("the usage of tenants cannot be stored, and is sent again every second: %s", error)
            if not self._is_closed:
                self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._send)
            return
        self._sent = []
        if self._rows:
            self._schedule(0.0 if len(self._rows) >= ROWS_A_CALL else SEND_EVERY_S)

    async def close(self) -> None:
        """Sends what is left, while the store takes it, for CLOSE_MOST_S at most."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout(CLOSE_MOST_S):
                while self._sent or self._rows:
                    self._send()
                    await asyncio.shield(self._call)
                    await asyncio.sleep(0)
