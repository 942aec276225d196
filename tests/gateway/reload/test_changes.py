"""The differences of two configurations by name, without values, and those that need a restart."""

import pytest
from msgspec.structs import fields

from gateway.configuration.router import RouterSettings
from gateway.configuration.server import ServerSettings
from gateway.configuration.settings import Settings, parse
from gateway.configuration.store_policies import configuration
from gateway.configuration.yaml_source import Problem
from gateway.reload import changes as configuration_changes
from gateway.reload.changes import Places, changes

# Settings that need a restart. A new setting belongs here or in `gateway/reload/changes.py`.
NEEDS_RESTART = {
    *("server.host", "server.port", "server.region", "server.access_log", "server.metrics_port"),
    "server.access_log_file",
    *("server.max_connections", "server.max_connections_per_address", "server.tls"),
    *("state", "router.capacity_leases"),
}
RELOADED = {"auth", "router", "metrics", "model_list"}
OTHER = {
    "circuit_breaker_enabled": "false",
    "last_resort": "false",
    "affinity": "{ttl: 1m}",
    "breaker": "{probes: 7}",
    "score": "{load: 0.7}",
    "fallback": "{min_health: 7}",
    "retry_budget": "{ratio: 0.7}",
    "load_shedding": "{max_active_requests: 7}",
    "autoscale": "{max_replicas: 7}",
}
# Router settings that are not among the policies in the store: `Endpoints.apply_settings` applies them.
BY_THE_REPLICA = {
    *("routing_strategy", "max_attempts", "request_timeout_ms", "fallbacks", "context_window_fallbacks"),
    *(
        "content_policy_fallbacks",
        "fallbacks_within_key",
        "queue",
        "model_queues",
        "model_strategies",
        "state_owners",
        "aliases",
        "budget",
        "cost_estimate",
    ),
}

BASE = """
state: {domain: here}
auth: {admin_key: sk-admin-1, keys: [{name: a, key: sk-key-a}, {name: b, key: sk-key-b}]}
router: {aliases: {one: m}, fallbacks: {m: [n]}}
model_list:
  - {id: m-1, model_name: m, provider: {api_key: sk-provider-1}}
  - {id: n-1, model_name: n}
"""


def settings(old: str = "", new: str = "") -> Settings:
    assert old in BASE
    return parse(BASE.replace(old, new) if old else BASE, {})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("m-1", "m-2", ["model_list.m-1: removed", "model_list.m-2: added"]),
        ("sk-provider-1", "sk-provider-2", ["model_list.m-1.provider.api_key"]),
        ("model_name: n}", "model_name: n, weight: 2, rpm: 5}", ["model_list.n-1.weight", "model_list.n-1.rpm"]),
        ("sk-key-a", "sk-key-c", ["auth.keys.a.key"]),
        (", {name: b, key: sk-key-b}", "", ["auth.keys.b: removed"]),
        ("sk-admin-1", "sk-admin-2", ["auth.admin_key"]),
        ("keys: [", "admin_keys: [{name: c, key: sk-c, role: viewer}], keys: [", ["auth.admin_keys.c: added"]),
        ("admin_key: sk-admin-1", "admin: local", ["auth.admin_key", "auth.admin"]),
        ("one: m", "two: m", ["router.aliases.one: removed", "router.aliases.two: added"]),
        ("{m: [n]}", "{n: [m]}", ["router.fallbacks.m: removed", "router.fallbacks.n: added"]),
        ("router: {", "router: {breaker: {probes: 9}, ", ["router.breaker.probes"]),
    ],
)
def test_changes_are_named(old: str, new: str, expected: list[str]) -> None:
    told = changes(settings(), settings(old, new))

    assert sorted(told) == sorted(expected)
    assert "sk-" not in str(told)


def test_same_has_no_changes() -> None:
    assert changes(settings(), settings()) == []


def test_another_order_is_a_change() -> None:
    first, second = settings().model_list
    other = Settings(model_list=(second, first))

    assert changes(Settings(model_list=(first, second)), other) == ["model_list: order"]


def restart_problems(before: Settings, after: Settings) -> list[Problem]:
    return configuration_changes.restart_problems(before, after, Places(before))


def test_each_setting_is_known_to_need_a_restart_or_not() -> None:
    server = {f"server.{name}" for name in ServerSettings.__struct_fields__}
    while_running = {f"server.{name}" for name in configuration_changes._SERVER_WHILE_RUNNING}

    assert set(Settings.__struct_fields__) == RELOADED | {"server", "state"}
    assert server == while_running | {name for name in NEEDS_RESTART if name.startswith("server.")}
    assert not while_running & NEEDS_RESTART


@pytest.mark.parametrize("name", sorted({*RouterSettings.__struct_fields__} - BY_THE_REPLICA - {"capacity_leases"}))
def test_each_other_setting_of_the_router_reaches_the_store(name: str) -> None:
    key = next(field.encode_name for field in fields(RouterSettings) if field.name == name)
    other = f"router: {{{key}: {OTHER.get(name, 7)}}}\n"
    models = "model_list: [{id: m-1, model_name: m}]\n"

    assert configuration(parse(models, {})) != configuration(parse(models + other, {}))


@pytest.mark.parametrize(
    ("added", "paths"),
    [
        ("server: {port: 9, host: 127.0.0.2}", ["server.host", "server.port"]),
        ("server: {max_connections: 9}", ["max_connections"]),
        ("server: {tls: {certificate: a.pem, key: a.key}}", ["tls"]),
        ("server: {engine: uvicorn, metrics_port: 9, access_log: false}", ["access_log", "metrics_port"]),
        ("server: {trusted_proxies: [10.0.0.0/8]}", []),
        ("server: {max_body: 1KiB, max_messages: 9, max_body_memory: 1MiB}", []),
        ("server: {ping_interval: 1s, drain_timeout: 1s, drain_delay: 1s}", []),
        ("router: {routing_strategy: random}", []),
        ("router: {capacity_leases: {block: 20}}", ["router.capacity_leases.block"]),
    ],
)
def test_only_some_settings_need_a_restart(added: str, paths: list[str]) -> None:
    base = "model_list: [{id: m-1, model_name: m}]\n"
    problems = restart_problems(parse(base, {}), parse(base + added, {}))

    assert [each.path for each in problems] == [path if "." in path else f"server.{path}" for path in paths]
    assert all("restart" in each.message for each in problems)


@pytest.mark.parametrize("field", ["domain: there", "domain: here, standby: none", "domain: here, url: 'redis://x'"])
def test_store_needs_a_restart(field: str) -> None:
    problems = restart_problems(settings(), settings("domain: here", field))

    assert len(problems) == 1
    assert problems[0].path.startswith("state.")


@pytest.mark.parametrize(
    ("old", "new", "ids"),
    [
        ("model_name: n}", "model_name: n, domain: there}", ["n-1"]),
        ("model_name: n}", "model_name: n}\n  - {id: n-2, model_name: n, domain: there}", ["n-2"]),
        ("model_name: n}", "model_name: n}\n  - {id: n-2, model_name: n}", []),
    ],
)
def test_deployment_stays_in_its_domain_and_a_new_one_joins_one_that_is_open(
    old: str, new: str, ids: list[str]
) -> None:
    problems = restart_problems(settings(), settings(old, new))

    assert [problem.path for problem in problems] == [f"model_list.{each}.domain" for each in ids]


def test_disabled_deployment_of_a_domain_that_is_not_open_hinders_nothing() -> None:
    disabled = BASE + "  - {id: n-2, model_name: n, domain: there, enabled: false}\n"
    before, after = parse(disabled, {}), parse(disabled + "  - {id: n-3, model_name: n}\n", {})

    assert restart_problems(before, after) == []
    assert len(restart_problems(before, parse(disabled.replace("false", "true"), {}))) == 1


def test_domain_stays_open_while_its_deployments_are_away() -> None:
    there = BASE + "  - {id: n-2, model_name: n, domain: there}\n"
    places = Places(parse(there, {}))
    places.note(settings())
    back = configuration_changes.restart_problems(settings(), parse(there, {}), places)
    moved = configuration_changes.restart_problems(settings(), parse(there.replace("there", "here"), {}), places)

    assert back == []
    assert [problem.path for problem in moved] == ["model_list.n-2.domain"]
