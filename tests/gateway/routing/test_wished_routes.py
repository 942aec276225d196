"""Routes of requests that name their own fallbacks, and the strategy of each model."""

from typing import cast

import pytest

from gateway.configuration.patterns import slot_of
from gateway.configuration.settings import ConfigurationError, parse
from gateway.errors import InvalidRequest
from gateway.request.auth import ANONYMOUS, Tenant
from gateway.request.calls import Call, Kind
from gateway.request.wishes import NO_WISHES, Wishes
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.model_routes import MATCHED_MOST, WISHED_MOST
from gateway.routing.routing_state import Route
from gateway.upstream.classify import Refusal
from gateway.upstream.client import UpstreamClient
from shared_state.failover import Failover
from shared_state.records import Plan
from tests.support.stores import on_loop

CONFIG = """
router:
  fallbacks: {a: [c]}
  context_window_fallbacks: {a: [b, c]}
  aliases: {second: b}
  model_strategies: {a: least-busy}
  fallbacks_within_key: %s
model_list:
  - {id: a-1, model_name: a}
  - {id: a-2, model_name: a}
  - {id: b-1, model_name: b}
  - {id: c-1, model_name: c}
  - {id: e-1, model_name: e, endpoints: [embeddings]}
  - {id: p, model_name: p/*}
""" + "\n".join(f"  - {{id: many-{n}, model_name: many}}" for n in range(15))
LISTED = Tenant(name="listed", models=frozenset({"a", "second"}))


class Packer:
    """Packs plans without a store."""

    def plan(self, candidates: list[tuple[str, int]], strategy: str, _has_more: bool) -> Plan:
        ids, tiers = zip(*candidates, strict=True) if candidates else ((), ())
        return Plan(ids, tiers, strategy, b"")

    def on_overdue(self, _heard: object) -> None:
        """No breaker ever opens here."""


class Routed:
    """Resolves requests by `CONFIG`."""

    def __init__(self, is_within_key: bool = True) -> None:
        settings = parse(CONFIG % ("true" if is_within_key else "false"), {})
        store = cast(Failover, Packer())
        self.upstream = UpstreamClient(settings.model_list)
        self.dispatcher = Dispatcher(
            store, Admission(store, settings.router), self.upstream, Catalog(settings), settings.router
        )

    def __call__(self, *fallbacks: str, tenant: Tenant = ANONYMOUS, model: str = "a", kind: Kind = Kind.CHAT) -> Route:
        return self.dispatcher.resolve(Call(model, False, b"", kind), tenant, Wishes(fallbacks))


def tiers(route: Route) -> list[tuple[str, int]]:
    return [(each.deployment.id, each.tier) for each in route.candidates]


OWN = [("a-1", 0), ("a-2", 0)]


@pytest.mark.parametrize(
    ("fallbacks", "candidates"),
    [
        ((), OWN),
        (("b",), [*OWN, ("b-1", 1)]),
        (("c", "b"), [*OWN, ("c-1", 1), ("b-1", 2)]),
        (("second",), [*OWN, ("b-1", 1)]),  # an alias
        (("a", "b", "second"), [*OWN, ("b-1", 1)]),  # itself, and one model by two names
        (("e", "b"), [*OWN, ("b-1", 2)]),  # one without this endpoint
        (("p/m", "b"), [*OWN, (f"p:slot-{slot_of('p/m'):x}", 1), ("b-1", 2)]),  # one of a pattern
    ],
)
@on_loop
async def test_wished_fallbacks_replace_the_configured_ones(
    fallbacks: tuple[str, ...], candidates: list[tuple[str, int]]
) -> None:
    routed = Routed()

    route = routed(*fallbacks)

    assert tiers(route) == candidates
    assert [leg.plan.ids for leg in route.itineraries[0]] == [tuple(name for name, _ in candidates)]
    assert route.queue is routed.dispatcher.resolve(Call("a", False, b""), ANONYMOUS).queue
    await routed.upstream.close()


@on_loop
async def test_chains_for_refused_requests_keep_the_wished_models() -> None:
    routed = Routed()

    chains = [routed(*fallbacks).chains for fallbacks in ((), ("b",))]

    assert [{r: [c.deployment.id for c in chain] for r, chain in each.items()} for each in chains] == [
        {},
        {Refusal.CONTEXT_WINDOW: ["b-1"]},
    ]
    await routed.upstream.close()


@pytest.mark.parametrize("is_within_key", [True, False])
@on_loop
async def test_key_with_a_list_may_wish_only_for_its_models(is_within_key: bool) -> None:
    routed = Routed(is_within_key)

    assert tiers(routed("second", tenant=LISTED)) == [*OWN, ("b-1", 1)]
    with pytest.raises(InvalidRequest, match="may not use") as refused:
        routed("c", tenant=LISTED)
    assert refused.value.param == "x-pllm-fallbacks"
    await routed.upstream.close()


@pytest.mark.parametrize("fallbacks", [("nothing",), ("b", "x" * 1_000), ("many",)])
@on_loop
async def test_wrong_fallback_is_refused_with_its_header(fallbacks: tuple[str, ...]) -> None:
    routed = Routed()

    with pytest.raises(InvalidRequest) as refused:
        routed(*fallbacks)

    assert refused.value.param == "x-pllm-fallbacks"
    assert len(refused.value.message) < 400
    await routed.upstream.close()


@on_loop
async def test_wished_fallback_serves_an_endpoint_that_the_model_lacks() -> None:
    routed = Routed()

    assert tiers(routed("b", model="e")) == [("b-1", 1)]
    with pytest.raises(InvalidRequest, match="endpoint"):
        routed(model="e")
    await routed.upstream.close()


@on_loop
async def test_routes_of_wishes_are_kept_up_to_a_bound() -> None:
    routed = Routed()
    first = routed("b")

    assert routed("b") is first
    # Each order of the same names is a wish of its own.
    names = ["a", "b", "c", "second"]
    for number in range(WISHED_MOST):
        routed(*(names[number // 4**place % 4] for place in range(5)))
    assert routed("b") is not first
    await routed.upstream.close()


@on_loop
async def test_routes_of_names_that_match_a_pattern_are_kept_up_to_a_bound() -> None:
    routed = Routed()
    calls = [Call(f"p/{number}", False, b"") for number in range(MATCHED_MOST + 1)]
    first, again, *_ = [routed.dispatcher.resolve(call, ANONYMOUS) for call in (calls[0], calls[0], *calls[1:])]

    assert again is first
    assert routed.dispatcher.resolve(calls[0], ANONYMOUS) is not first
    assert routed.dispatcher.routes.of(calls[0], Tenant(name="t", models=frozenset({"p/*"}))) is not None
    await routed.upstream.close()


@on_loop
async def test_waiting_request_keeps_its_wishes_when_the_configuration_changes() -> None:
    routed = Routed()
    routes, call = routed.dispatcher.routes, Call("a", False, b"")

    assert routes.of(call, ANONYMOUS, Wishes(("b",))) is routed("b")
    assert routes.of(call, ANONYMOUS, Wishes(("gone",))) is None
    await routed.upstream.close()


@on_loop
async def test_each_model_has_its_strategy() -> None:
    routed = Routed()
    route = {name: routed.dispatcher.resolve(Call(name, False, b""), ANONYMOUS, NO_WISHES) for name in ("a", "b")}

    assert {name: each.itineraries[0][0].plan.strategy for name, each in route.items()} == {
        "a": "least-busy",
        "b": "adaptive",
    }
    assert routed("b").itineraries[0][0].plan.strategy == "least-busy"
    assert routed.dispatcher.strategy_of("a") == "least-busy"
    await routed.upstream.close()


def test_strategy_of_an_unknown_model_is_refused_with_its_path() -> None:
    with pytest.raises(ConfigurationError, match=r"router\.model_strategies\.z: no deployment serves the model z"):
        parse("router: {model_strategies: {z: random}}\nmodel_list: [{id: a, model_name: a}]", {})
