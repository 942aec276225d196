import pytest

from gateway.configuration.settings import parse
from gateway.routing.catalog import Catalog, Route
from gateway.upstream.classify import Refusal

DEPLOYMENTS = """
model_list:
  - {id: a-1, model_name: a}
  - {id: b-1, model_name: b}
  - {id: a-2, model_name: a}
  - {id: a-off, model_name: a, enabled: false}
  - {id: c-1, model_name: c}
"""


def catalog(router: str = "{}", deployments: str = DEPLOYMENTS) -> Catalog:
    return Catalog(parse(f"router: {router}\n{deployments}", {}))


def resolved(catalog: Catalog, model: str) -> Route:
    route = catalog.resolve(model)
    assert route is not None
    return route


def tiers(route: Route) -> list[tuple[str, int]]:
    return [(candidate.deployment.id, candidate.tier) for candidate in route.candidates]


def test_deployments_of_the_model_are_tier_zero_in_configured_order() -> None:
    assert tiers(resolved(catalog(), "a")) == [("a-1", 0), ("a-2", 0)]


def test_disabled_deployment_is_no_candidate() -> None:
    assert "a-off" not in dict(tiers(resolved(catalog(), "a")))


def test_fallback_models_follow_in_chain_order_with_rising_tiers() -> None:
    route = resolved(catalog("{fallbacks: {b: [c, a]}}"), "b")

    assert tiers(route) == [("b-1", 0), ("c-1", 1), ("a-1", 2), ("a-2", 2)]


def test_chains_are_not_followed_on() -> None:
    route = resolved(catalog("{fallbacks: {a: [b], b: [c]}}"), "a")

    assert tiers(route) == [("a-1", 0), ("a-2", 0), ("b-1", 1)]


def test_two_models_may_fall_back_to_each_other() -> None:
    both = catalog("{fallbacks: {b: [c], c: [b]}}")

    assert tiers(resolved(both, "b")) == [("b-1", 0), ("c-1", 1)]
    assert tiers(resolved(both, "c")) == [("c-1", 0), ("b-1", 1)]


def test_model_without_a_chain_has_only_its_own_deployments() -> None:
    assert tiers(resolved(catalog("{fallbacks: {a: [b]}}"), "c")) == [("c-1", 0)]


def test_alias_resolves_to_the_route_of_its_model() -> None:
    aliased = catalog("{aliases: {fast: b}, fallbacks: {b: [c]}}")

    assert resolved(aliased, "fast") is resolved(aliased, "b")
    assert resolved(aliased, "fast").model == "b"


@pytest.mark.parametrize("name", ["", "A", "a ", "nothing", "a-1"])
def test_unknown_name_has_no_route(name: str) -> None:
    assert catalog().resolve(name) is None


def test_models_are_in_configured_order_with_the_aliases_last() -> None:
    assert catalog("{aliases: {0-first: a}}").models() == ("a", "b", "c", "0-first")


def test_deployments_include_the_disabled_ones() -> None:
    assert [entry.id for entry in catalog().deployments()] == ["a-1", "b-1", "a-2", "a-off", "c-1"]


def test_sixteen_candidates_are_all_kept() -> None:
    entries = "\n".join(f"  - {{id: d-{n}, model_name: {'a' if n < 10 else 'b'}}}" for n in range(16))
    route = resolved(catalog("{fallbacks: {a: [b]}}", f"model_list:\n{entries}"), "a")

    assert tiers(route) == [(f"d-{n}", 0 if n < 10 else 1) for n in range(16)]


# -- keys with a list of models ----------------------------------------------------------------------------------


CHAINS = "fallbacks: {b: [c, a]}, context_window_fallbacks: {b: [a]}, content_policy_fallbacks: {b: [c]}, "


def within(router: str, model: str, *allowed: str) -> Route:
    route = catalog("{" + CHAINS + router + "}").resolve(model, frozenset(allowed))
    assert route is not None
    return route


@pytest.mark.parametrize(
    ("allowed", "candidates"),
    [
        ([], [("b-1", 0), ("c-1", 1), ("a-1", 2), ("a-2", 2)]),
        (["b"], [("b-1", 0)]),
        (["b", "c"], [("b-1", 0), ("c-1", 1)]),
        (["b", "a"], [("b-1", 0), ("a-1", 2), ("a-2", 2)]),
        (["b", "one"], [("b-1", 0), ("a-1", 2), ("a-2", 2)]),  # the alias is one of its names
        (["two"], [("b-1", 0)]),
    ],
)
def test_fallbacks_keep_to_the_list_of_the_key(allowed: list[str], candidates: list[tuple[str, int]]) -> None:
    assert tiers(within("aliases: {one: a, two: b}", "b", *allowed)) == candidates
    assert tiers(within("aliases: {one: a, two: b}", "two", *allowed)) == candidates


def test_chains_for_refused_requests_keep_to_the_list_of_the_key() -> None:
    route = within("", "b", "b", "c")

    assert {refusal: [each.deployment.id for each in chain] for refusal, chain in route.chains.items()} == {
        Refusal.CONTENT_POLICY: ["c-1"]
    }


def test_list_that_holds_the_whole_chain_has_the_models_own_route() -> None:
    whole = catalog("{fallbacks: {b: [c]}}")

    assert whole.resolve("b", frozenset({"b", "c"})) is whole.resolve("b")


def test_fallbacks_may_leave_the_list_by_configuration() -> None:
    route = within("fallbacks_within_key: false", "b", "b")

    assert tiers(route) == [("b-1", 0), ("c-1", 1), ("a-1", 2), ("a-2", 2)]
    assert set(route.chains) == {Refusal.CONTEXT_WINDOW, Refusal.CONTENT_POLICY}


def test_unknown_name_has_no_route_for_a_key_with_a_list_either() -> None:
    assert catalog().resolve("nothing", frozenset({"nothing"})) is None
