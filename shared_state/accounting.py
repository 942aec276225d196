"""The budgets of one store: reads them at each heartbeat, and sends the store spending and reservations that it may not
know.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from shared_state.calls import view_replies
from shared_state.calls.decision_calls import scopes_of
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Reply
from shared_state.memory import Live, Memory

ITEMS_MOST = 200  # items in a call: about 1 ms of the store's time

Owe = Callable[[str, bytes, bool], None]
Items: TypeAlias = list[tuple[str, str, str, int]]


class Accounting:
    """The budgets of one store. Every awaited call may raise StateError."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, memory: Memory, owe: Owe) -> None:
        self._batcher = batcher
        self._calls = calls
        self._memory = memory
        self._ledger = memory.ledger
        self._owe = owe

    async def read(self) -> None:
        """Reads the budgets and limits that are due; sends nothing where there are none."""
        scopes = self._ledger.due()
        if scopes:
            found = view_replies.budgets(await self._batcher.call(self._calls.budgets(scopes)))
            for scope, (account, used) in zip(scopes, found, strict=True):
                self._ledger.note(scope, account, used)

    async def restore(self) -> None:
        """Writes the known spending before a store that has lost it can grant a permit."""
        known = ((scope, self._ledger.current(scope)) for scope in self._ledger.budgets)
        items = [("spent", scope, f"{a.per} {a.period}", a.spent) for scope, a in known if a.spent and a.period]
        for call in self._send("", items):
            await call

    def settle_up(self) -> None:
        """Adds the spending of the standby store. Repeats the call until it has arrived."""
        owed = [("add", scope, "", cost) for scope, cost in self._ledger.owed.items() if cost]
        self._ledger.owed.clear()
        for k in range(0, len(owed), ITEMS_MOST):
            nonce = secrets.token_hex(8)
            packed = self._calls.recount(nonce, owed[k : k + ITEMS_MOST])
            self._batcher.call(packed, lost=partial(self._owe, nonce, packed))

    def reserve(self, live: Iterable[Live]) -> list[asyncio.Future[Reply]]:
        """Reserves the cost of reasserted permits, if they have not ended when the calls are sent. Queues the calls
        before it returns.
        """
        costly, calls = [each for each in live if each.permit.reserved], []
        for k in range(0, len(costly), ITEMS_MOST):
            repack = partial(self._reservations, costly[k : k + ITEMS_MOST])
            calls.append(self._batcher.call(repack(), is_urgent=True, repack=repack))
        return calls

    def _reservations(self, live: list[Live]) -> bytes:
        permits = (each.permit for each in self._memory.only_live(live))
        return self._calls.recount("", [("reserve", p.token, scopes_of(p), p.reserved) for p in permits])

    def _send(self, nonce: str, items: Items) -> list[asyncio.Future[Reply]]:
        chunks = (items[k : k + ITEMS_MOST] for k in range(0, len(items), ITEMS_MOST))
        return [self._batcher.call(self._calls.recount(nonce, chunk), is_urgent=True) for chunk in chunks]
