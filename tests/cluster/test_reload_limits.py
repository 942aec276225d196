"""What replicas and money are limited to, changed while running: at once, everywhere, and nothing of what was spent or
is under way is forgotten.
"""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import heal
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

PRICE = {"input_per_million": 1, "output_per_million": 100}  # a call of the provider: 10 in, 8 out, 810 micro-units
TEAM = {"authorization": "Bearer sk-team"}
RELOAD, AUTOSCALE = "/v1/admin/reload", "/v1/admin/autoscale"

Budget = dict[str, Any] | None


class Limited:
    """All replicas read one file."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.replicas = cluster.replicas
        self.document: dict[str, Any] = yaml.safe_load(cluster.replicas[0].config.read_text())

    def write(self, budget: Budget, autoscale: dict[str, Any] | None = None, price: Any = PRICE) -> None:
        document = self.document
        document["auth"]["keys"][0] = {"name": "team", "key": "sk-team"} | ({"budget": budget} if budget else {})
        document["router"].pop("autoscale", None)
        document["router"] |= {} if autoscale is None else {"autoscale": autoscale}
        document["model_list"][0]["cost"] = price
        self.replicas[0].config.write_text(yaml.safe_dump(document))

    def reload(self, replica: int = 0) -> Any:
        answer = self.replicas[replica].request("POST", RELOAD)
        return answer.status, answer.json()

    def statuses(self) -> list[int]:
        """Of one call at each replica."""
        found = [replica.chat("dear", headers=TEAM, max_tokens=20).status for replica in self.replicas]
        self.cluster.wait_until_idle()
        return found

    def account(self) -> dict[str, str]:
        found: dict[str, str] = self.cluster.redis.hgetall(self.cluster.key("budget:tenant:team"))
        return found

    def desired(self) -> list[Any]:
        answers = [replica.get(AUTOSCALE) for replica in self.replicas]
        return [answer.json()["desired_replicas"] if answer.status == 200 else answer.status for answer in answers]


@pytest.fixture(scope="module")
def limited_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Limited]:
    first = provider_processes[0]
    with running_cluster(
        store,
        [first],
        [deployment("dear", first, "dear", cost=PRICE)],
        domain="limited",
        replicas=3,
        auth={"admin": "local", "keys": [{"name": "team", "key": "sk-team"}]},
        router={"latency_threshold": "8s"},
    ) as running:
        yield Limited(running)


@pytest.fixture
def limited(limited_cluster: Limited) -> Iterator[Limited]:
    """Nothing is limited, and nothing has been spent."""
    heal(limited_cluster.cluster.providers)
    limited_cluster.write(None)
    assert limited_cluster.reload()[0] == 200
    limited_cluster.cluster.redis.delete(limited_cluster.cluster.key("budget:tenant:team"))
    yield limited_cluster
    limited_cluster.cluster.check()


def by_signal(limited: Limited, replica: ReplicaProcess) -> None:
    def versions() -> set[int]:
        return {each["version"] for each in limited.replicas[0].get(RELOAD).json()["replicas"].values()}

    [before] = versions()
    replica.signal(signal.SIGHUP)
    wait_until(lambda: len(versions()) == 1 and before not in versions(), lambda: str(versions()))


def test_budget_that_is_lowered_and_raised_counts_what_was_spent_before(limited: Limited) -> None:
    limited.write({"amount": 1, "per": "day"})
    status, done = limited.reload(1)
    free = limited.statuses()
    limited.write({"amount": 0.003, "per": "day"})  # of which 2430 micro-units are spent
    by_signal(limited, limited.replicas[2])
    tight = limited.statuses()
    limited.write({"amount": 1, "per": "month"})
    by_signal(limited, limited.replicas[0])
    again = limited.statuses()

    assert (status, done["changed"]) == (200, ["auth.keys.team.budget"])
    assert (free, tight, again) == ([200] * 3, [402] * 3, [200] * 3)
    assert (limited.account()["spent"], limited.account()["per"]) == ("4860", "month")


def test_call_under_way_is_charged_though_its_budget_is_gone(limited: Limited) -> None:
    provider = limited.cluster.providers[0]
    limited.write({"amount": 1, "per": "day"})
    limited.reload()
    provider.behave(latency_ms=1500)
    with limited.replicas[0].begin_chat("dear", headers=TEAM, max_tokens=20) as call:
        provider.wait_for(in_flight=1)
        reserved = int(limited.account()["reserved"])
        limited.write(None)
        assert limited.reload()[0] == 200
        answer = call.answer()
    limited.cluster.wait_until_idle()

    assert (answer.status, reserved > 2000) == (200, True)
    assert (limited.account()["spent"], limited.account()["reserved"]) == ("810", "0")
    assert "budgets" not in limited.replicas[0].get("/v1/admin/live?frames=1").text


def test_autoscaling_is_changed_switched_off_and_on_again(limited: Limited) -> None:
    seen = []
    for least, replica in ((4, 0), (7, 1), (None, 2), (9, 0)):
        limited.write(None, None if least is None else {"min_replicas": least})
        by_signal(limited, limited.replicas[replica])
        expected = [least or 404] * 3
        wait_until(lambda expected=expected: limited.desired() == expected)  # type: ignore[misc]
        seen.append(limited.desired())
        if least is None:
            wait_until(lambda: "pllm_desired_replicas" not in limited.replicas[0].get("/metrics").text)

    assert seen == [[4] * 3, [7] * 3, [404] * 3, [9] * 3]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"budget": {"amount": -1, "per": "day"}}, "auth.keys[0].budget.amount"),
        ({"budget": {"amount": ".inf", "per": "day"}}, "auth.keys[0].budget.amount"),
        ({"budget": {"amount": 1e30, "per": "day"}}, "auth.keys[0].budget.amount"),
        ({"budget": {"amount": 1, "per": "week"}}, "auth.keys[0].budget.per"),
        ({"budget": {"amount": 1}}, "auth.keys[0].budget.per"),
        ({"budget": {"amount": 1, "per": "day", "currency": "EUR"}}, "auth.keys[0].budget.currency"),
        ({"budget": {"amount": 1, "per": "day"}, "price": {}}, "auth.keys[0].budget"),
        ({"budget": None, "price": {"input_per_million": 0}}, "model_list[0].cost.input_per_million"),
        ({"budget": None, "price": {"output_per_million": -2}}, "model_list[0].cost.output_per_million"),
        ({"budget": None, "price": {"output_per_million": "1 EUR"}}, "model_list[0].cost.output_per_million"),
        ({"budget": None, "price": {"currency": "EUR"}}, "model_list[0].cost.currency"),
        ({"budget": None, "autoscale": {"min_replicas": 9, "max_replicas": 3}}, "router.autoscale.max_replicas"),
        ({"budget": None, "autoscale": {"utilization": 1.5}}, "router.autoscale.utilization"),
        ({"budget": None, "autoscale": {"target_concurrency": 0}}, "router.autoscale.target_concurrency"),
        ({"budget": None, "autoscale": {"scale_down_delay": "-5s"}}, "router.autoscale.scale_down_delay"),
        ({"budget": None, "autoscale": {"min_replica": 2}}, "router.autoscale.min_replica"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path_and_the_old_limits_stay(
    limited: Limited, fields: dict[str, Any], path: str
) -> None:
    limited.write({"amount": 0.001, "per": "day"})
    limited.reload()
    limited.write(**fields)
    status, answer = limited.reload(2)

    assert (status, [each["path"] for each in answer["error"]["details"]]) == (409, [path])
    assert limited.statuses() == [402] * 3
