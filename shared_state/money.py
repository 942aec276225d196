"""Money in whole micro-units of the currency of the prices, so that sums are exact. There is one currency, and it needs
no name.
"""

from typing import Annotated, Literal

import msgspec

MICRO = 1_000_000
AMOUNT_MOST = 1_000_000_000 * MICRO  # what Lua still counts exactly, and sums of it
Per = Literal["hour", "day", "month", "total"]


class Budget(msgspec.Struct, frozen=True):
    """At most ``amount`` micro-units each hour, day or month (UTC), or in total."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MOST)]
    per: Per


class Spending(msgspec.Struct, frozen=True):
    """The budgets that one request has to fit, the domain's and its tenant's, and its highest cost with each candidate
    of its plan, in micro-units.
    """

    domain: Budget | None
    tenant: Budget | None
    costs: tuple[int, ...]


class Account(msgspec.Struct, frozen=True):
    """A budget as the store keeps it. ``ends_s``: when its period ends, by the monotonic clock of this process; 0
    never.
    """

    spent: int = 0
    reserved: int = 0
    per: str = ""
    period: str = ""
    ends_s: float = 0.0
