"""What differs between two configurations: names, no values; and what a running replica cannot take."""

import pytest

from gateway.configuration_changes import changes, restart_problems
from gateway.settings import Settings, parse

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
        ("one: m", "two: m", ["router.aliases.one: removed", "router.aliases.two: added"]),
        ("{m: [n]}", "{n: [m]}", ["router.fallbacks.m: removed", "router.fallbacks.n: added"]),
        ("router: {", "router: {breaker: {probes: 9}, ", ["router.breaker.probes"]),
    ],
)
def test_changes_are_told_by_name(old: str, new: str, expected: list[str]) -> None:
    told = changes(settings(), settings(old, new))

    assert sorted(told) == sorted(expected)
    assert "sk-" not in str(told)


def test_same_has_no_changes() -> None:
    assert changes(settings(), settings()) == []


def test_another_order_is_a_change() -> None:
    first, second = settings().model_list
    other = Settings(model_list=(second, first))

    assert changes(Settings(model_list=(first, second)), other) == ["model_list: order"]


@pytest.mark.parametrize(
    ("added", "paths"),
    [
        ("server: {port: 9, host: 127.0.0.2}", ["server.host", "server.port"]),
        ("server: {engine: uvicorn, metrics_port: 9, access_log: false}", ["engine", "access_log", "metrics_port"]),
        ("server: {max_body: 1KiB, ping_interval: 1s, drain_timeout: 1s, drain_delay: 1s}", []),
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
