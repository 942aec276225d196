"""The admin endpoints: statistics in their documented shape, explanations, and breakers set by hand."""

import re
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import STATS, Cluster, ReplicaProcess
from tests.support.wire import Call, request_bytes

DURATION = re.compile(r"\d+ms|\d+(\.\d{1,2})?s")
FORCE = "/v1/admin/deployments/{}/{}"


def test_stats_have_the_promised_keys_and_types(replica: ReplicaProcess) -> None:
    replica.chat()
    stats = replica.stats()

    assert {"load_balancer", "adaptive_breakers", "should_shed_load"} <= stats.keys()
    assert stats["should_shed_load"] is False
    for model in stats["load_balancer"].values():
        assert type(model["health_score"]) is float
        assert type(model["active_requests"]) is int
        assert type(model["circuit_open"]) is bool
        assert all(DURATION.fullmatch(model[name]) for name in ("avg_latency", "p95_latency", "p99_latency"))
    for breaker in stats["adaptive_breakers"].values():
        assert breaker["state"] == "CLOSED"
        assert all(type(breaker[name]) is int for name in ("failures", "slow_requests", "concurrent"))


def test_stats_are_keyed_by_model(replica: ReplicaProcess) -> None:
    stats = replica.stats()

    assert {"gpt-4", "saved", "spare"} <= stats["load_balancer"].keys()
    assert stats["load_balancer"].keys() == stats["adaptive_breakers"].keys()
    assert stats["load_balancer"]["gpt-4"]["deployments"].keys() == {"primary"}


def test_stats_count_what_happened(cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(fail_first=2)
    for _ in range(5):
        replica.chat()
    cluster.wait_until_idle()
    stats = replica.stats()

    assert stats["adaptive_breakers"]["gpt-4"] == {
        "state": "CLOSED", "failures": 2, "slow_requests": 0, "concurrent": 0,
    }  # fmt: skip
    assert stats["load_balancer"]["gpt-4"]["deployments"]["primary"]["requests"] == 6  # one was sent twice


def test_stats_show_a_call_while_it_runs(cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
        stats = replica.stats()

    assert stats["load_balancer"]["gpt-4"]["active_requests"] == 1
    assert stats["adaptive_breakers"]["gpt-4"]["concurrent"] == 1
    assert stats["active_requests"] == 1


def test_explain_names_the_pick_and_a_verdict_for_each_candidate(replica: ReplicaProcess) -> None:
    explanation = replica.get("/v1/admin/explain?model=saved").json()

    assert explanation["picked"] == "saved-primary"
    assert [(c["deployment_id"], c["tier"], c["verdict"]) for c in explanation["candidates"]] == [
        ("saved-primary", 0, "eligible"),
        ("spare", 1, "eligible"),
    ]


def test_explain_is_for_the_requested_kind_of_call(cluster: Cluster, replica: ReplicaProcess) -> None:
    until_ms = int(cluster.redis.hget(cluster.key("global"), "clock_ms") or 0) + 600_000
    cluster.redis.hset(cluster.key("deployment:saved-primary"), "unsupported:embeddings", until_ms)
    kinds = ("", "&kind=chat", "&kind=embeddings")
    found = [replica.get(f"/v1/admin/explain?model=saved{kind}").json() for kind in kinds]

    assert [each["picked"] for each in found] == ["saved-primary", "saved-primary", "spare"]
    assert found[2]["candidates"][0]["verdict"] == "unsupported"


def test_explain_takes_nothing(cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess) -> None:
    before = cluster.deployment("primary")
    replica.get("/v1/admin/explain?model=gpt-4")

    assert cluster.deployment("primary") == before
    assert (cluster.leases(), provider.counts()["requests"]) == (0, 0)


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("", 404, "model"),
        ("?model=gpt-5", 404, "model"),
        ("?model=gpt-4&priority=urgent", 400, "priority"),
        ("?model=gpt-4&kind=images", 400, "kind"),
    ],
)
def test_explain_refuses_unknown_parameters(replica: ReplicaProcess, query: str, status: int, param: str) -> None:
    answer = replica.get(f"/v1/admin/explain{query}")

    assert (answer.status, answer.error["param"]) == (status, param)


def test_forced_open_takes_no_call_until_it_is_closed(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    replica.force("primary", "open")
    while_open = replica.chat()
    replica.force("primary", "close")
    afterwards = replica.chat()

    assert (while_open.status, while_open.error["code"]) == (503, "no_healthy_deployment")
    assert while_open.error["attempts"] == [{"deployment": "primary", "outcome": "forced_open"}]
    assert afterwards.status == 200
    assert provider.counts()["requests"] == 1


@pytest.mark.parametrize("action", ["disable", "drain"])
def test_disabled_deployment_is_passed_over(replica: ReplicaProcess, action: str) -> None:
    replica.force("saved-primary", action)

    assert replica.chat("saved").headers["x-pllm-fallback"] == "saved>spare"


def test_force_answers_with_the_new_stats(replica: ReplicaProcess) -> None:
    answer = replica.request("POST", FORCE.format("primary", "open"), b'{"reason": "maintenance", "actor": "ann"}')

    assert answer.status == 200
    model = answer.json()["load_balancer"]["gpt-4"]
    assert model["circuit_open"] is True
    assert model["deployments"]["primary"]["open_reason"] == "open by ann"


def test_forced_open_ends_by_itself_after_its_time(cluster: Cluster, replica: ReplicaProcess) -> None:
    replica.request("POST", FORCE.format("primary", "open"), b'{"for_ms": 1}')

    assert replica.chat().status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"reason": "\xff"}',
        b'{"reason": 1}',
        b'{"because": "x"}',
        b'{"for_ms": -5}',
        b'{"for_ms": 1e400}',
        b'{"for_ms": 100000000000000000000000000000000}',
    ],
)
def test_wrong_body_of_a_force_is_refused_and_moves_nothing(replica: ReplicaProcess, body: bytes) -> None:
    answer = replica.request("POST", FORCE.format("primary", "open"), body)

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert replica.stats()["adaptive_breakers"]["gpt-4"]["state"] == "CLOSED"


def test_body_of_a_force_is_bounded_in_size_and_time(replica: ReplicaProcess) -> None:
    path = FORCE.format("primary", "open")
    large = replica.request("POST", path, b" " * 20_000)
    with Call(replica.address, request_bytes("POST", path, b"{}", {"x-pllm-timeout": "200ms"})[:-1]) as call:
        late = call.answer()

    assert (large.status, large.error["code"]) == (413, "request_too_large")
    assert (late.status, late.error["code"]) == (408, "request_timeout")
    assert replica.stats()["adaptive_breakers"]["gpt-4"]["state"] == "CLOSED"


def test_caller_that_leaves_in_the_middle_of_a_force_moves_nothing(replica: ReplicaProcess) -> None:
    with Call(replica.address, request_bytes("POST", FORCE.format("primary", "open"), b"{}")[:-1]):
        pass

    assert replica.stats()["adaptive_breakers"]["gpt-4"]["state"] == "CLOSED"


@pytest.mark.parametrize(("deployment", "action"), [("nobody", "open"), ("primary", "explode"), ("%00", "open")])
def test_force_of_something_unknown_is_not_found(replica: ReplicaProcess, deployment: str, action: str) -> None:
    answer = replica.request("POST", FORCE.format(deployment, action))

    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("relay", ["x-forwarded-for", "forwarded", "x-real-ip", "via", "cf-connecting-ip"])
@pytest.mark.parametrize("path", [STATS, "/v1/admin/explain?model=gpt-4"])
def test_without_an_admin_key_relayed_callers_are_turned_away(replica: ReplicaProcess, path: str, relay: str) -> None:
    answer = replica.get(path, {relay: "203.0.113.9"})

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_without_an_admin_key_a_relayed_caller_moves_no_breaker(replica: ReplicaProcess) -> None:
    answer = replica.request("POST", FORCE.format("primary", "open"), headers={"x-forwarded-for": "127.0.0.1"})

    assert answer.status == 401
    assert replica.stats()["adaptive_breakers"]["gpt-4"]["state"] == "CLOSED"


def test_explanation_of_any_model_answers(replica: ReplicaProcess) -> None:
    models: list[Any] = replica.get("/v1/models").json()["data"]

    for model in models:
        assert replica.get(f"/v1/admin/explain?model={model['id']}").status == 200
