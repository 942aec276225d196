"""Budgets of real replicas: what fits is called, what does not goes to a cheaper model or gets a 402, and no death of
a replica makes the cluster spend more.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.cli.stored_state import shown as state_text
from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.wire import Answer

PRICE = {"input_per_million": 1, "output_per_million": 100}
CHEAP = {"input_per_million": 1, "output_per_million": 1}
# One call: at most 20 tokens out, 2000 micro-units, and a prompt of some 50; the provider takes 8 and 10.
KEYS = [
    {"name": "small", "key": "sk-small", "budget": {"amount": 0.0021, "per": "total"}},
    {"name": "crowd", "key": "sk-crowd", "budget": {"amount": 0.1, "per": "total"}},
    {"name": "broke", "key": "sk-broke", "budget": {"amount": 0, "per": "month"}},
    {"name": "chained", "key": "sk-chained", "budget": {"amount": 0.001, "per": "day"}},
    {"name": "asked", "key": "sk-asked", "budget": {"amount": 0.001, "per": "day"}},
    {"name": "counted", "key": "sk-counted", "budget": {"amount": 1, "per": "hour"}, "rpm": 10},
]


@pytest.fixture(scope="module")
def money_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    models = [
        deployment("dear", first, "dear", cost=PRICE),
        deployment("choice", first, "choice", cost=PRICE),
        deployment("cheap", first, "cheap", cost=CHEAP),
        deployment("gift", first, "gift"),
    ]
    router: dict[str, Any] = {"latency_threshold": "8s", "fallbacks": {"choice": ["cheap"]}}
    router["budget"] = {"amount": 1000, "per": "month"}
    with running_cluster(
        store,
        [first],
        models,
        domain="money",
        replicas=4,
        auth={"admin": "local", "signing_keys": ["key-that-signs-tenants"], "keys": KEYS},
        router=router,
    ) as running:
        yield running


@pytest.fixture
def money(money_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(money_cluster)


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer sk-{name}"}


def chat(replica: ReplicaProcess, tenant: str, model: str = "dear") -> Answer:
    return replica.chat(model, headers=key(tenant), max_tokens=20)


def account(cluster: Cluster, scope: str) -> dict[str, str]:
    found: dict[str, str] = cluster.redis.hgetall(cluster.key(f"budget:{scope}"))
    return found


def spent(cluster: Cluster, tenant: str) -> int:
    return int(account(cluster, f"tenant:{tenant}").get("spent", 0))


def test_call_is_charged_what_the_provider_has_counted(money: Cluster) -> None:
    before = int(account(money, "domain").get("spent", 0))
    assert chat(money.replicas[0], "small").status == 200
    money.wait_until_idle()

    assert spent(money, "small") == 810
    assert int(account(money, "domain")["spent"]) - before == 810
    assert account(money, "tenant:small")["reserved"] == "0"


@pytest.mark.parametrize("number", [0, 1])
def test_call_over_budget_is_a_402_with_the_wait(money: Cluster, number: int) -> None:
    answer = chat(money.replicas[number], "broke")

    assert (answer.status, answer.json()["error"]["code"]) == (402, "budget_exceeded")
    assert answer.json()["error"]["attempts"] == [{"deployment": "dear", "outcome": "over_budget"}]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers  # a budget of nothing never has room


def test_anthropic_client_gets_its_own_form(money: Cluster) -> None:
    body = b'{"model":"dear","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}'
    answer = money.replicas[0].request("POST", "/v1/messages", body, {"x-api-key": "sk-broke"})

    assert answer.status == 402
    assert answer.json()["error"] == {
        "type": "billing_error",
        "message": "The budget of this API key has no room for the possible cost of this request.",
        "code": "budget_exceeded",
        "attempts": [{"deployment": "dear", "outcome": "over_budget"}],
    }


def test_cheaper_model_of_the_chain_is_taken(money: Cluster) -> None:
    answer = chat(money.replicas[0], "chained", "choice")

    assert (answer.status, answer.headers["x-pllm-deployment"]) == (200, "cheap")


def test_what_is_free_needs_no_budget(money: Cluster) -> None:
    assert chat(money.replicas[0], "broke", "gift").status == 200


def test_crowd_uses_its_budget_up_though_a_replica_dies(money: Cluster) -> None:
    """A thousandth of the currency at a time from four replicas, of which one is killed with calls under way."""
    victim = money.replicas[3]
    money.providers[0].behave(latency_ms=50, latency_distribution="uniform")

    def spend(replica: ReplicaProcess) -> int:
        served = 0
        with contextlib.suppress(OSError, AssertionError):
            while (answer := chat(replica, "crowd")).status != 402 or int(answer.headers.get("retry-after", 0)) == 1:
                served += answer.status == 200
        return served

    with ThreadPoolExecutor(16) as pool:
        counts = [pool.submit(spend, replica) for replica in money.replicas for _ in range(4)]
        wait_until(lambda: spent(money, "crowd") > 30_000, lambda: str(account(money, "tenant:crowd")))
        victim.kill()
        served = sum(count.result() for count in counts)
    wait_until(lambda: account(money, "tenant:crowd")["reserved"] == "0")
    money.restart(victim)

    assert 100_000 - 2_100 < spent(money, "crowd") <= 100_000
    assert served * 810 <= spent(money, "crowd")


def test_budgets_and_headroom_are_shown(money: Cluster) -> None:
    replica = money.replicas[1]
    assert chat(money.replicas[0], "counted").status == 200
    money.wait_until_idle()
    wait_until(lambda: replica.stats()["budgets"]["tenant:counted"]["spent"] == 0.00081)
    wait_until(lambda: b'pllm_tenant_rpm_headroom{tenant="counted"} 0.9' in replica.get("/metrics").body)
    shown, metrics = replica.stats()["budgets"]["tenant:counted"], replica.get("/metrics").body.decode()

    lines = [line.split() for line in state_text(money.store.url, "money", [])]
    assert ["tenant:counted", "1.000000", "0.000810", "0.000000"] in [line[:4] for line in lines]
    assert (shown["amount"], shown["per"], shown["reserved"], shown["left"]) == (1, "hour", 0, 0.99919)
    assert 0 < shown["turns_in_s"] <= 3600
    assert 'pllm_budget_limit{scope="domain"} 1000.0' in metrics
    assert 'pllm_budget_spent{scope="tenant:counted"} 0.00081' in metrics
    assert 'pllm_budget_reserved{scope="tenant:counted"} 0.0' in metrics


def test_tenant_of_the_store_gets_a_budget(money: Cluster) -> None:
    replica = money.replicas[0]

    def put(budget: str) -> Answer:
        body = b'{"key": "sk-of-the-made-tenant", "budget": %b}' % budget.encode()
        return replica.request("PUT", "/v1/admin/tenants/made", body)

    assert put('{"amount": 0.001, "per": "day"}').json()["budget"] == {"amount": 0.001, "per": "day"}
    answer = replica.chat("dear", headers={"authorization": "Bearer sk-of-the-made-tenant"}, max_tokens=20)
    refused = [put(bad) for bad in ('{"amount": -1, "per": "day"}', '{"amount": 1, "per": "week"}', "5")]

    assert (answer.status, answer.json()["error"]["code"]) == (402, "budget_exceeded")
    assert {each.status for each in refused} == {400}
    assert ["$.budget" in each.json()["error"]["message"] for each in refused] == [True] * 3


def test_lost_budget_is_reported_again(money: Cluster) -> None:
    """What was spent is told to a store that has forgotten everything, before it grants anything."""
    chat(money.replicas[0], "counted")
    money.wait_until_idle()
    for replica in money.replicas:
        wait_until(lambda replica=replica: replica.stats()["budgets"]["domain"]["spent"] > 0)  # type: ignore[misc]
    before = min(round(r.stats()["budgets"]["domain"]["spent"] * 1_000_000) for r in money.replicas)
    money.redis.flushall()
    wait_until(lambda: int(account(money, "domain").get("spent", 0)) >= before)

    assert "budget:domain" in {fields["subject"] for _, fields in money.redis.xrange(money.key("events"))}


def test_explain_shows_what_budgets_would_refuse(money: Cluster) -> None:
    """And takes nothing."""
    replica = money.replicas[0]

    def explain(tenant: str, model: str = "choice", **fields: int) -> Any:
        more = "".join(f"&{name}={value}" for name, value in fields.items())
        answer = replica.get(f"/v1/admin/explain?model={model}&tenant={tenant}{more}")
        assert answer.status == 200, answer
        return answer.json()

    found = explain("asked", max_tokens=20)
    assert [(c["deployment_id"], c["verdict"]) for c in found["candidates"]] == [
        ("choice", "over_budget"),
        ("cheap", "eligible"),
    ]
    assert (found["picked"], found["costs"]) == ("cheap", {"choice": 0.002, "cheap": 0.00002})
    assert (found["budgets"]["tenant:asked"]["left"], found["budgets"]["domain"]["amount"]) == (0.001, 1000)
    assert explain("asked", max_tokens=5, prompt_bytes=100)["picked"] == "choice"
    assert explain("asked", max_tokens=5, prompt_bytes=1200)["picked"] == "cheap"
    assert (explain("broke")["picked"], explain("broke", "gift")["picked"]) == (None, "gift")
    assert account(money, "tenant:broke") == {}


@pytest.mark.parametrize(
    "bad", ["tenant=nobody", "prompt_bytes=-1", "max_tokens=1e3", "max_tokens=", "priority=urgent"]
)
def test_explain_refuses_values_it_cannot_compute_with(money: Cluster, bad: str) -> None:
    answer = money.replicas[0].get(f"/v1/admin/explain?model=dear&{bad}")

    assert (answer.status, answer.json()["error"]["param"]) == (400, bad.partition("=")[0])
