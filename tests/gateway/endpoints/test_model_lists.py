"""GET /v1/models for Anthropic's clients, which send `anthropic-version`."""

from collections.abc import Iterator

import anthropic
import pytest

from tests.support.cluster import Cluster, ReplicaProcess

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def client(replica: ReplicaProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=replica.url, api_key="any", max_retries=0) as running:
        yield running


def test_both_kinds_of_clients_see_the_same_models(replica: ReplicaProcess, client: anthropic.Anthropic) -> None:
    listed = replica.get("/v1/models").json()["data"]

    seen = list(client.models.list())
    assert [model.id for model in seen] == [model["id"] for model in listed]
    assert [int(model.created_at.timestamp()) for model in seen] == [model["created"] for model in listed]


def test_list_has_exactly_the_fields_of_anthropics(replica: ReplicaProcess) -> None:
    listing = replica.get("/v1/models", VERSION).json()

    names = [model["id"] for model in listing["data"]]
    assert listing.keys() == {"data", "has_more", "first_id", "last_id"}
    assert (listing["has_more"], listing["first_id"], listing["last_id"]) == (False, names[0], names[-1])
    assert listing["data"][0] == {
        "type": "model",
        "id": "gpt-4",
        "display_name": "gpt-4",
        "created_at": listing["data"][0]["created_at"],
    }


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_add_up_to_the_list(replica: ReplicaProcess, client: anthropic.Anthropic, limit: int) -> None:
    whole = [model["id"] for model in replica.get("/v1/models").json()["data"]]

    assert [model.id for model in client.models.list(limit=limit)] == whole
    backwards = [model.id for model in client.models.list(limit=limit, before_id=whole[-1])]
    assert sorted(backwards) == sorted(whole[:-1])


@pytest.mark.parametrize("name", ["gpt-4", "best", "org/nested"])
def test_one_model_has_anthropics_shape(client: anthropic.Anthropic, name: str) -> None:
    model = client.models.retrieve(name)

    assert (model.id, model.type, model.display_name) == (name, "model", name)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/models/none", 404, "not_found_error"),
        ("/v1/models?limit=0", 400, "invalid_request_error"),
        ("/v1/models?limit=1001", 400, "invalid_request_error"),
        ("/v1/models?limit=-1", 400, "invalid_request_error"),
        ("/v1/models?limit=x", 400, "invalid_request_error"),
        ("/v1/models?after_id=none", 400, "invalid_request_error"),
        ("/v1/models?before_id=none", 400, "invalid_request_error"),
    ],
)
def test_errors_have_anthropics_shape(replica: ReplicaProcess, path: str, status: int, kind: str) -> None:
    answer = replica.get(path, VERSION)

    assert (answer.status, answer.json()["type"], answer.json()["error"]["type"]) == (status, "error", kind)


def test_replicas_with_one_file_show_one_time(cluster: Cluster) -> None:
    lists = [replica.get("/v1/models").json() for replica in cluster.replicas]

    assert lists[0] == lists[1]
