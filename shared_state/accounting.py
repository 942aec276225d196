"""Budgets of one store beside its decisions: read at each heartbeat, and told to a store that may not know them."""

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
from shared_state.ledger import Ledger
from shared_state.memory import Live

TOLD_MOST = 200  # items in a call: about 1 ms of the store's time

Owe = Callable[[str, bytes, bool], None]
Items: TypeAlias = list[tuple[str, str, str, int]]


class Accounting:
    """Of the shared store. Raises StateError from every awaited call."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, ledger: Ledger, owe: Owe) -> None:
        self._batcher = batcher
        self._calls = calls
        self._ledger = ledger
        self._owe = owe

    async def read(self) -> None:
        """What is due; nothing is asked where nobody has a budget or a limit."""
        scopes = self._ledger.due()
        if scopes:
            found = view_replies.budgets(await self._batcher.call(self._calls.budgets(scopes)))
            for scope, (account, used) in zip(scopes, found, strict=True):
                self._ledger.note(scope, account, used)

    async def restore(self) -> None:
        """What was spent at least, before a store that has lost it may grant anything."""
        known = ((scope, self._ledger.current(scope)) for scope in self._ledger.budgets)
        items = [("spent", scope, f"{a.per} {a.period}", a.spent) for scope, a in known if a.spent and a.period]
        for call in self._told("", items):
            await call

    def settle_up(self) -> None:
        """What was spent on the standby store. Sent until it has arrived."""
        owed = [("add", scope, "", cost) for scope, cost in self._ledger.owed.items() if cost]
        self._ledger.owed.clear()
        for k in range(0, len(owed), TOLD_MOST):
            told = secrets.token_hex(8)
            packed = self._calls.recount(told, owed[k : k + TOLD_MOST])
            self._batcher.call(packed, lost=partial(self._owe, told, packed))

    def reserve(self, live: Iterable[Live]) -> list[asyncio.Future[Reply]]:
        """Of permits that were reasserted, in calls that are queued before this returns."""
        permits = (each.permit for each in live)
        return self._told("", [("reserve", p.token, scopes_of(p), p.reserved) for p in permits if p.reserved])

    def _told(self, told: str, items: Items) -> list[asyncio.Future[Reply]]:
        chunks = (items[k : k + TOLD_MOST] for k in range(0, len(items), TOLD_MOST))
        return [self._batcher.call(self._calls.recount(told, chunk), is_urgent=True) for chunk in chunks]
