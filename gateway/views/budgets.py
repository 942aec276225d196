"""Budgets as JSON: in the currency of the prices, with the remainder and the end of the period."""

import time
from collections.abc import Iterable

from gateway.routing.rate_limit_headers import MINUTE_MS
from shared_state.ledger import Ledger
from shared_state.money import MICRO


def budgets_shown(ledger: Ledger, scopes: Iterable[str] | None = None) -> dict[str, dict[str, object]]:
    """Returns budgets by scope (`domain`, `tenant:<name>`): all, or those of ``scopes``."""
    shown: dict[str, dict[str, object]] = {}
    for scope in ledger.budgets if scopes is None else scopes:
        budget, account = ledger.budgets[scope], ledger.current(scope)
        shown[scope] = {
            "amount": budget.amount / MICRO,
            "per": budget.per,
            "period": account.period,
            "spent": account.spent / MICRO,
            "reserved": account.reserved / MICRO,
            "left": max(0, budget.amount - account.spent - account.reserved) / MICRO,
            "turns_in_s": max(0, round(account.ends_s - time.monotonic())) if account.ends_s else None,
        }
    return shown


def headroom(ledger: Ledger) -> dict[str, tuple[float | None, float | None]]:
    """Returns by scope the unused share of requests and of tokens per minute, 0 to 1; None where there is no limit."""
    shares: dict[str, tuple[float | None, float | None]] = {}
    for scope, limits in ledger.limits.items():
        used = ledger.used.get(scope)
        requests_ms, tokens_ms = (used.requests_ms, used.tokens_ms) if used else (0, 0)
        shares[scope] = (
            max(0.0, 1 - requests_ms / MINUTE_MS) if limits.rpm else None,
            max(0.0, 1 - tokens_ms / MINUTE_MS) if limits.tpm else None,
        )
    return shares
