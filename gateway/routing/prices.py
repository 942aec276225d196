"""The cost of calls by the configured prices, in whole micro-units. A price per million tokens is the price of one
token in micro-units; from there on amounts are integers, so that sums are exact. The store decides on budgets.
"""

import math
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from gateway.configuration.money import CostEstimateSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import BYTES_PER_TOKEN, PROMPT_TOKENS_MOST, Call, Kind
from shared_state.money import AMOUNT_MOST, Budget, Spending
from shared_state.policies import TenantLimits
from shared_state.records import Ending, Outcome, Permit, Plan

_PARTS = 1_000_000  # of a micro-unit, in which prices are kept
PROMPT_BYTES_MOST = PROMPT_TOKENS_MOST * BYTES_PER_TOKEN  # an image is many bytes and few tokens


class _Price(msgspec.Struct, frozen=True):
    """The price of a deployment."""

    input_parts: int  # of one token
    output_parts: int
    output_most: int  # tokens of one answer; 0 where the configuration sets no bound

    def of(self, input_tokens: int, output_tokens: int) -> int:
        micro = -(-(input_tokens * self.input_parts + output_tokens * self.output_parts) // _PARTS)
        return min(micro, AMOUNT_MOST + 1)  # that fits no budget, and Lua counts it exactly


def _price(entry: DeploymentSettings) -> _Price:
    cost = entry.cost
    prices = (cost.input_per_million, cost.output_per_million)
    parts = [math.ceil(Decimal(str(price)) * _PARTS) for price in prices]  # up: nothing that has a price is free
    return _Price(parts[0], parts[1], entry.max_output_tokens or 0)


class Prices:
    """The prices of all deployments, and the ``budget`` of the routing domain."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], estimate: CostEstimateSettings, budget: Budget | None
    ) -> None:
        self._prices: dict[str, _Price] = {}
        self.replace_prices(deployments, estimate, budget)

    def replace_prices(
        self, deployments: Iterable[DeploymentSettings], estimate: CostEstimateSettings, budget: Budget | None
    ) -> None:
        """Applies new prices to calls from now on. Removed deployments keep their prices, because calls may be in
        flight there.
        """
        self._prices |= {entry.id: _price(entry) for entry in deployments}
        self._estimate = estimate
        self.budget = budget

    def spending(self, call: Call, limits: TenantLimits, plan: Plan) -> Spending | None:
        """Returns the highest cost with each of the candidates; None where no budget is set."""
        if self.budget is None and limits.budget is None:
            return None
        input_tokens = -(-min(len(call.body), PROMPT_BYTES_MOST) // self._estimate.bytes_per_token)
        costs = (self._most(self._prices[each], call, input_tokens) for each in plan.ids)
        return Spending(self.budget, limits.budget, tuple(costs))

    def _most(self, price: _Price, call: Call, input_tokens: int) -> int:
        if call.kind is Kind.EMBEDDING:
            return price.of(input_tokens, 0)
        output_most = price.output_most or call.output_most or self._estimate.max_output_tokens
        if call.output_most:
            output_most = min(output_most, call.output_most)
        return price.of(input_tokens, output_most * call.choices)

    def settled(self, permit: Permit, ending: Ending, is_sent: bool) -> Ending:
        """Returns the ending with its cost. A call that was not sent, was refused or used no tokens costs nothing; the
        cost of an answer that broke off is unknown.
        """
        if not permit.reserved or ending.cost >= 0:
            return ending
        cost = -1
        if not is_sent or (ending.tokens == 0 and ending.outcome is not Outcome.SUCCESS):
            cost = 0
        elif ending.outcome is Outcome.SUCCESS and ending.tokens >= 0:
            input_tokens = ending.tokens - ending.output_tokens + ending.cached_tokens
            cost = self._prices[permit.deployment_id].of(input_tokens, ending.output_tokens)
        return msgspec.structs.replace(ending, cost=cost)
