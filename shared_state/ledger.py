"""What this replica knows of budgets and tenants' rate limits: as the shared store had them at one of the last beats.
Statistics are read from here, so that reading them costs the store nothing; the standby store's part of a budget is
computed from here; and a store that has lost its budgets gets them from here.
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
    the standby store that were not sent to the shared one yet.
    """

    def __init__(self) -> None:
        self.budgets: dict[str, Budget] = {}
        self.limits: dict[str, TenantLimits] = {}
        self.accounts: dict[str, Account] = {}
        self.used: dict[str, MinuteUsed] = {}
        self.owed: Counter[str] = Counter()
        self._next = 0

    def watch(self, domain: Budget | None, tenants: Iterable[TenantLimits]) -> None:
        """Whom to read from now on: who has anything that can be used up."""
        limits = {tenant_scope(each.name): each for each in tenants if each.name}
        self.limits = {scope: each for scope, each in limits.items() if each.rpm or each.tpm}
        self.budgets = {scope: each.budget for scope, each in limits.items() if each.budget is not None}
        if domain is not None:
            self.budgets[DOMAIN] = domain
        self.accounts = {scope: account for scope, account in self.accounts.items() if scope in self.budgets}
        self.used = {scope: used for scope, used in self.used.items() if scope in self.limits}

    def due(self) -> list[str]:
        """Those to be read at this beat; in turns, where there are many."""
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
        """Nothing is spent of a period that has begun since."""
        account = self.accounts.get(scope, Account())
        if account.ends_s and time.monotonic() >= account.ends_s:
            return Account(reserved=account.reserved, per=account.per)
        return account

    def part(self, scope: str, budget: Budget, replicas: int) -> int:
        """This replica's part of what was left when the shared store was last seen. What is used up stays closed."""
        account = self.current(scope)
        return max(0, budget.amount - account.spent - account.reserved) // max(1, replicas)
