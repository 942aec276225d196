"""This replica's copy of budgets and tenants' rate limits, as the shared store had them at a recent heartbeat.
Statistics read it, so that they cost the store nothing; the standby store's shares of budgets are computed from it; and
a store that has lost its budgets gets them from it.
"""

import time
from collections import Counter
from collections.abc import Iterable

from shared_state.keys import DOMAIN, tenant_scope
from shared_state.money import Account, Budget
from shared_state.policies import TenantLimits
from shared_state.records import MinuteUsed

READ_MOST = 200  # scopes each second: about 0.3 ms of the store's time


class Ledger:
    """Scopes are `domain` and `tenant:<name>`. ``budgets``, ``limits``: those in force; ``owed``: micro-units spent on
    the standby store and not yet sent to the shared one.
    """

    def __init__(self) -> None:
        self.budgets: dict[str, Budget] = {}
        self.limits: dict[str, TenantLimits] = {}
        self.accounts: dict[str, Account] = {}
        self.used: dict[str, MinuteUsed] = {}
        self.owed: Counter[str] = Counter()
        self._next = 0

    def watch(self, domain: Budget | None, tenants: Iterable[TenantLimits]) -> None:
        """Sets the scopes to read from now on: all that have a budget or a rate limit."""
        limits = {tenant_scope(each.name): each for each in tenants if each.name}
        self.limits = {scope: each for scope, each in limits.items() if each.rpm or each.tpm}
        self.budgets = {scope: each.budget for scope, each in limits.items() if each.budget is not None}
        if domain is not None:
            self.budgets[DOMAIN] = domain
        self.accounts = {scope: account for scope, account in self.accounts.items() if scope in self.budgets}
        self.used = {scope: used for scope, used in self.used.items() if scope in self.limits}

    def due(self) -> list[str]:
        """Returns the scopes to read at this heartbeat; many scopes take turns."""
        scopes = list(self.budgets | self.limits)
        if len(scopes) <= READ_MOST:
            return scopes
        self._next %= len(scopes)
        chosen = (scopes + scopes)[self._next : self._next + READ_MOST]
        self._next += READ_MOST
        return chosen

    def note(self, scope: str, account: Account, used: MinuteUsed) -> None:
        if scope in self.budgets:
            self.accounts[scope] = account
        if scope in self.limits:
            self.used[scope] = used

    def current(self, scope: str) -> Account:
        """Returns the account, with nothing spent if a new period has begun since it was read."""
        account = self.accounts.get(scope, Account())
        if account.ends_s and time.monotonic() >= account.ends_s:
            return Account(reserved=account.reserved, per=account.per)
        return account

    def part(self, scope: str, budget: Budget, replicas: int) -> int:
        """Returns this replica's share of what was left when the shared store was last seen. An exhausted budget stays
        exhausted.
        """
        account = self.current(scope)
        return max(0, budget.amount - account.spent - account.reserved) // max(1, replicas)
