"""GET /v1/admin/explain: the deployment that a chat, or a call of another kind, would get now, and the reasons. With a
tenant it includes the verdict of its budgets, and as `outside_key` the fallback models that are not on its list. No
permit is taken. With `session`, an id as `x-session-id` gives it, it includes what its pin decides. `tags` and
`deployment` restrict the candidates as the headers `x-pllm-tags` and `x-pllm-deployment` do; an explanation calls no
provider, so a viewer may name a deployment.
"""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.breakers import answered
from gateway.endpoints.candidate_headers import Names, restricted
from gateway.errors import InvalidRequest
from gateway.request.auth import ANONYMOUS, PRIORITY_LEVELS, Authenticator, Tenant
from gateway.request.calls import Call, Kind
from gateway.request.sessions import NO_SESSIONS, Sessions
from gateway.routing.dispatch import Dispatcher
from gateway.routing.prices import PROMPT_BYTES_MOST, Prices
from gateway.views.budgets import budgets_shown
from shared_state.failover import Failover
from shared_state.keys import DOMAIN, tenant_scope
from shared_state.money import MICRO
from shared_state.records import Ask
from shared_state.snapshots import Explanation

_WHOLE = re.compile(r"[0-9]{1,9}")
_KINDS = {kind.label: kind for kind in Kind}
_RESTRICTION = Names("deployment", "tags")


class Explainer:
    """Explains decisions without making them."""

    def __init__(
        self,
        access: AdminAccess,
        store: Failover,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        prices: Prices,
        sessions: Sessions = NO_SESSIONS,
    ) -> None:
        self._access = access
        self._store = store
        self._dispatcher = dispatcher
        self._authenticator = authenticator
        self._prices = prices
        self._sessions = sessions

    async def show(self, request: Request) -> Response:
        self._access.authorize(request, "viewer")
        tenant = self._tenant(request)
        level = _level(request, tenant)
        prompt_bytes = min(_number(request, "prompt_bytes"), PROMPT_BYTES_MOST)
        model = request.query_params.get("model", "")
        kind = request.query_params.get("kind", "chat")
        if kind not in _KINDS:
            raise InvalidRequest(f"kind must be one of {', '.join(_KINDS)}.", param="kind")
        call = Call(model, False, bytes(prompt_bytes), _KINDS[kind], output_most=_number(request, "max_tokens"))
        session = self._sessions.name(request.query_params.get("session", ""), tenant.name, model)
        route = self._dispatcher.resolve(call, tenant)
        only = restricted(route, _list(request, "deployment"), _list(request, "tags"), _RESTRICTION)
        plans = [leg.plan for leg in route.itineraries[0]]
        limits = tenant.limits
        ask = Ask(level, tenant=limits, kind=kind, session=session, only=only)
        asks = [msgspec.structs.replace(ask, spending=self._prices.spending(call, limits, plan)) for plan in plans]
        legs = [await self._store.explain(plan, ask) for plan, ask in zip(plans, asks, strict=True)]
        candidates = tuple(verdict for leg in legs for verdict in leg.candidates)
        deciding = next((leg for leg in legs if leg.picked), legs[0])
        explanation = Explanation(legs[0].shed_reason, deciding.picked, candidates, deciding.affinity)
        shown = msgspec.structs.asdict(explanation)
        if outside := self._dispatcher.routes.outside_key(call, tenant):
            shown["outside_key"] = outside
        costs = {
            each: cost / MICRO
            for plan, ask in zip(plans, asks, strict=True)
            if ask.spending
            for each, cost in zip(plan.ids, ask.spending.costs, strict=True)
        }
        return answered(shown | (self._money(tenant, costs) if costs else {}))

    def _money(self, tenant: Tenant, costs: dict[str, float]) -> dict[str, object]:
        """Returns the highest costs by deployment, and the budgets as of the last heartbeat; verdicts are current."""
        known = budgets_shown(self._store.shared.memory.ledger)
        scopes = (DOMAIN, tenant_scope(tenant.limits.name))
        return {"costs": costs, "budgets": {scope: known[scope] for scope in scopes if scope in known}}

    def _tenant(self, request: Request) -> Tenant:
        name = request.query_params.get("tenant")
        if name is None:
            return ANONYMOUS
        tenant = self._authenticator.named(name)
        if tenant is None:
            raise InvalidRequest(f"There is no tenant `{name[:200]}`.", param="tenant")
        return tenant


def _level(request: Request, tenant: Tenant) -> int:
    priority = request.query_params.get("priority")
    if priority is None:
        return tenant.priority_level
    level = dict(PRIORITY_LEVELS.items()).get(priority)  # type: ignore[call-overload]
    if level is None:
        raise InvalidRequest(f"priority must be one of {', '.join(PRIORITY_LEVELS)}.", param="priority")
    return int(level)


def _list(request: Request, name: str) -> str | None:
    """Returns the value of a parameter; a repeated one is one list, as a header is."""
    values = request.query_params.getlist(name)
    return ",".join(values) if values else None


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not _WHOLE.fullmatch(text):
        raise InvalidRequest(f"{name} must be a whole number, 0 to 999999999.", param=name)
    return int(text)
