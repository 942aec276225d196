"""The cost of calls by the configured prices, in whole micro-units. A price per million tokens is the price of one
token in micro-units; from there on amounts are integers, so that sums are exact. The store decides on budgets.

One function prices a call, before it and after it, for budgets, usage and metrics alike: `Price.of`.
"""

import math
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from gateway.configuration.money import CostEstimateSettings
from gateway.configuration.provider import ProviderType
from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import BYTES_PER_TOKEN, PROMPT_TOKENS_MOST, Call, Kind
from shared_state.money import AMOUNT_MOST, MICRO, Budget, Spending
from shared_state.policies import TenantLimits
from shared_state.records import Ending, Outcome, Permit, Plan, TokenCounts

_PARTS = 1_000_000  # of a micro-unit, in which prices are kept
PROMPT_BYTES_MOST = PROMPT_TOKENS_MOST * BYTES_PER_TOKEN  # an image is many bytes and few tokens

# The documented prices of cached tokens, as shares of the input price: Anthropic's "Prompt caching", "Pricing";
# OpenAI's "Prompt caching": half the price for reading, and none of its own for writing.
_READ_SHARES: dict[ProviderType, str] = {"anthropic": "0.1", "openai": "0.5", "azure": "0.5"}
_WRITE_SHARES: dict[ProviderType, str] = {"anthropic": "1.25", "openai": "1", "azure": "1"}
# Of the price of writing: 2 times the input price is 1.6 times 1.25.
_KEPT_SHARES: dict[ProviderType, str] = {"anthropic": "1.6", "openai": "1", "azure": "1"}
# How a request may name that hour. The second form begins an escape, in which it could be written as well.
_KEPT_MARKS = (b'"1h"', b"\\u")


class Price(msgspec.Struct, frozen=True):
    """The price of a deployment, in parts: of one token of each sort, and of the call."""

    model: str
    plain: int
    output: int
    read: int
    written: int
    kept: int
    request: int
    output_most: int  # tokens of one answer; 0 where the configuration sets no bound
    is_free: bool

    def of(self, tokens: TokenCounts) -> int:
        """Returns the cost of a call in micro-units."""
        parts = tokens.plain * self.plain + tokens.output * self.output + self.request
        if tokens.read or tokens.written:
            brief = tokens.written - tokens.kept
            parts += tokens.read * self.read + brief * self.written + tokens.kept * self.kept
        return min(-(-parts // _PARTS), AMOUNT_MOST + 1)  # that fits no budget, and Lua counts it exactly

    def dearest(self, prompt_tokens: int, output_tokens: int, may_be_kept: bool) -> int:
        """Returns the highest cost of a call with this many tokens, wherever its prompt is read from or written to."""
        kept = self.kept if may_be_kept else 0
        most = max(self.plain, self.read, self.written, kept)
        return msgspec.structs.replace(self, plain=most).of(TokenCounts(prompt_tokens, output_tokens))


_FREE = Price("", 0, 0, 0, 0, 0, 0, 0, is_free=True)


def _price(entry: DeploymentSettings) -> Price:
    cost, kind = entry.cost, entry.provider.type
    plain = Decimal(str(cost.input_per_million))
    read, written = plain * Decimal(_READ_SHARES[kind]), plain * Decimal(_WRITE_SHARES[kind])
    if cost.cache_read_per_million is not None:
        read = Decimal(str(cost.cache_read_per_million))
    if cost.cache_write_per_million is not None:
        written = Decimal(str(cost.cache_write_per_million))
    prices = {
        "plain": plain,
        "output": Decimal(str(cost.output_per_million)),
        "read": read,
        "written": written,
        "kept": written * Decimal(_KEPT_SHARES[kind]),
        "request": Decimal(str(cost.per_request)) * MICRO,
    }
    parts = {name: math.ceil(price * _PARTS) for name, price in prices.items()}  # up: nothing that has a price is free
    return Price(entry.model_name, **parts, output_most=entry.max_output_tokens or 0, is_free=not any(parts.values()))


class Prices:
    """The prices of all deployments, and the ``budget`` of the routing domain."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], estimate: CostEstimateSettings, budget: Budget | None
    ) -> None:
        self._prices: dict[str, Price] = {}
        self.replace_prices(deployments, estimate, budget)

    def replace_prices(
        self, deployments: Iterable[DeploymentSettings], estimate: CostEstimateSettings, budget: Budget | None
    ) -> None:
        """Applies new prices to calls from now on. Removed deployments keep their prices, because calls may be in
        flight there.
        """
        self._prices |= {entry.id: _price(entry) for entry in deployments}
        self.has_prices = not all(price.is_free for price in self._prices.values())
        self._estimate = estimate
        self.budget = budget

    def of(self, deployment_id: str) -> Price:
        """Returns the price of a deployment; nothing for one that was never configured."""
        return self._prices.get(deployment_id, _FREE)

    def spending(self, call: Call, limits: TenantLimits, plan: Plan) -> Spending | None:
        """Returns the highest cost with each of the candidates; None where no budget is set."""
        if self.budget is None and limits.budget is None:
            return None
        input_tokens = -(-min(len(call.body), PROMPT_BYTES_MOST) // self._estimate.bytes_per_token)
        may_be_kept = any(mark in call.body for mark in _KEPT_MARKS)
        costs = (self._most(self._prices[each], call, input_tokens, may_be_kept) for each in plan.ids)
        return Spending(self.budget, limits.budget, tuple(costs))

    def _most(self, price: Price, call: Call, input_tokens: int, may_be_kept: bool) -> int:
        if call.kind is Kind.EMBEDDING:
            return price.dearest(input_tokens, 0, may_be_kept)
        output_most = price.output_most or call.output_most or self._estimate.max_output_tokens
        if call.output_most:
            output_most = min(output_most, call.output_most)
        return price.dearest(input_tokens, output_most * call.choices, may_be_kept)

    def settled(self, permit: Permit, ending: Ending, is_sent: bool) -> Ending:
        """Returns the ending with its cost. A call that was not sent, was refused or used no tokens costs nothing; the
        cost of an answer that broke off is unknown.
        """
        if ending.cost >= 0:
            return ending
        cost = -1
        if not is_sent or (ending.tokens == 0 and ending.outcome is not Outcome.SUCCESS):
            cost = 0
        elif ending.outcome is Outcome.SUCCESS and ending.tokens >= 0:
            cost = self._prices[permit.deployment_id].of(ending.counts)
        return msgspec.structs.replace(ending, cost=cost)
