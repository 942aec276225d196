"""Settings about money: prices, budgets, and the estimated cost of a call before its real cost is known.

There is one currency, that of the prices. Nothing converts it, so it needs no name.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated

import msgspec

from gateway.configuration.value_types import Amount, Count, yaml_key
from gateway.configuration.yaml_source import Problem, item_path
from shared_state.money import MICRO, Budget, Per

_LARGEST = 1_000_000_000
# A free model leaves the price out: a written 0 is more often a mistake.
Price = Annotated[
    float,
    msgspec.Meta(gt=0, le=_LARGEST, description=f"a price above 0 and up to {_LARGEST}; leave it out for a free model"),
]
CachePrice = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST, description=f"a price from 0 to {_LARGEST}")]
BytesPerToken = Annotated[int, msgspec.Meta(ge=1, le=16, description="a whole number from 1 to 16")]


class CostSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Prices, all in one currency, which is never converted and so has no name."""

    input_per_million: Price = 0
    """The price of a million input tokens. Left out, they are free."""
    output_per_million: Price = 0
    """The price of a million output tokens, reasoning included. Left out, they are free."""
    cache_read_per_million: CachePrice | None = None
    """The price of a million input tokens that the provider read from its prompt cache. By default a share of
    `input_per_million`: 0.1 for `anthropic`, 0.5 for `openai` and `azure`. Since unreleased."""
    cache_write_per_million: CachePrice | None = None
    """The price of a million input tokens that the provider wrote to its prompt cache; those that Anthropic keeps for
    an hour cost 1.6 times as much. By default a multiple of `input_per_million`: 1.25 for `anthropic`, 1 for `openai`
    and `azure`. Since unreleased."""
    per_request: Price = 0
    """The price of a call, in addition to its tokens. Left out, there is none. Since unreleased."""


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key, forbid_unknown_fields=True):
    """The spending limit of a period."""

    amount: Amount
    """The most that may be spent, in the currency of the prices. With 0 only free calls are allowed."""
    per: Per
    """The period, in UTC, after which spending starts again from zero; `total` never ends."""


class CostEstimateSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The amount that a budget reserves before a call. No budget is exceeded while the estimates are upper bounds."""

    bytes_per_token: BytesPerToken = 2
    """The bytes of a prompt that count as one token. English has four; code, Chinese and digits have about two."""
    max_output_tokens: Count = 4_096
    """The output tokens to reserve where neither the request nor the deployment sets a limit."""


def budget_of(settings: BudgetSettings | None) -> Budget | None:
    if settings is None:
        return None
    return Budget(int(Decimal(str(settings.amount)) * MICRO), settings.per)


def unpriced_problems(domain: BudgetSettings | None, keys: Iterable[BudgetSettings | None]) -> Iterator[Problem]:
    """Yields the budgets. Called when no deployment has a price, so that a budget would never be used."""
    paths = [item_path("auth.keys", index) for index, budget in enumerate(keys) if budget]
    for path in [*(["router"] if domain else []), *paths]:
        yield Problem(f"{path}.budget", "no deployment has a cost, so nothing would ever be spent")
