"""Explanations of restricted requests agree with what such requests get."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

MANY = 4  # deployments of one model, in two domains: two decisions


@pytest.fixture(scope="module")
def tagged_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    url = provider_processes[0].url
    models = [
        deployment("north", url, "gpt", tags=["eu", "gdpr"], priority=1),
        deployment("south", url, "gpt", tags=["us"], priority=2),
        deployment("spare", url, "spare", tags=["eu", "last"]),
        *(deployment(f"many-{k}", url, "many", tags=[f"t{k}"], domain=f"tagged{k % 2}") for k in range(MANY)),
    ]
    router: dict[str, Any] = {"fallbacks": {"gpt": ["spare"]}, "routing_strategy": "priority"}
    with running_cluster(
        store, provider_processes, models, domain="tagged", replicas=1, router=router, auth={"admin": "local"}
    ) as running:
        yield running


@pytest.fixture
def tagged(tagged_cluster: Cluster) -> Iterator[ReplicaProcess]:
    tagged_cluster.forget()
    yield tagged_cluster.replicas[0]
    tagged_cluster.check()


def explained(replica: ReplicaProcess, model: str, **restriction: str) -> Any:
    return replica.get(f"/v1/admin/explain?{urlencode({'model': model, **restriction})}").json()


@pytest.mark.parametrize(
    ("model", "restriction", "picked"),
    [
        ("gpt", {}, "south"),
        ("gpt", {"tags": "eu"}, "north"),
        ("gpt", {"tags": " gdpr , eu "}, "north"),
        ("gpt", {"tags": "eu,last"}, "spare"),
        ("gpt", {"deployment": "north"}, "north"),
        ("gpt", {"deployment": "spare", "tags": "last"}, "spare"),
        *(("many", {"tags": f"t{k}"}, f"many-{k}") for k in (0, MANY - 1)),
        ("many", {"deployment": f"many-{MANY - 1}"}, f"many-{MANY - 1}"),
    ],
)
def test_explanation_with_a_restriction_names_the_deployment_that_serves_such_a_request(
    tagged: ReplicaProcess, model: str, restriction: dict[str, str], picked: str
) -> None:
    explanation = explained(tagged, model, **restriction)
    answer = tagged.chat(model, headers={f"x-pllm-{name}": value for name, value in restriction.items()})

    assert (explanation["picked"], answer.headers["x-pllm-deployment"]) == (picked, picked)


def test_explanation_shows_the_candidates_that_a_restriction_leaves_out(tagged: ReplicaProcess) -> None:
    verdicts = {each["deployment_id"]: each["verdict"] for each in explained(tagged, "gpt", tags="us")["candidates"]}

    assert verdicts == {"north": "excluded", "south": "eligible", "spare": "excluded"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("tags", "mars"), ("tags", "eu,us"), ("tags", ""), ("tags", "eu,,gdpr"), ("deployment", "many-0"),
     ("deployment", ""), ("deployment", "north,south")],
)  # fmt: skip
def test_explanation_refuses_a_restriction_that_no_candidate_fits(
    tagged: ReplicaProcess, name: str, value: str
) -> None:
    answer = tagged.get(f"/v1/admin/explain?{urlencode({'model': 'gpt', name: value})}")

    assert (answer.status, answer.error["param"]) == (400, name)
    assert answer.error["message"].startswith(name)


def test_repeated_parameter_is_one_list(tagged: ReplicaProcess) -> None:
    assert tagged.get("/v1/admin/explain?model=gpt&tags=eu&tags=last").json()["picked"] == "spare"
