"""What a provider keeps for its callers is served by the account that made it, at every replica, also after a restart;
and headers restrict a request to some of its candidates.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, in_turn, running_cluster, running_store
from tests.support.wire import Answer

ADMIN, TEAM, OTHER, MINI = (f"{name}-key-0123456789" for name in ("admin", "team", "other", "mini"))
CHAINS, TURNS = 14, 4


def models(first: ProviderProcess, second: ProviderProcess) -> list[Any]:
    claude = {"type": "anthropic"}
    return [
        deployment("north", first, "gpt", tags=["eu", "gdpr"]),
        deployment("south", second, "gpt", tags=["us"]),
        deployment("north-mini", first, "mini"),
        deployment("claude-north", first, "claude", provider_fields=claude),
        deployment("claude-south", second, "claude", provider_fields=claude),
    ]


@pytest.fixture(scope="module")
def accounts(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Two replicas, and two accounts that know only what they have made themselves."""
    auth = {
        "admin_key": ADMIN,
        "keys": [
            {"name": "team", "key": TEAM},
            {"name": "other", "key": OTHER, "may_name_deployment": True},
            {"name": "mini-only", "key": MINI, "models": ["mini"]},
        ],
    }
    listed = models(*provider_processes[:2])
    router = {"circuit_breaker_cooldown": "300s", "latency_threshold": "8s", "request_timeout": "20s"}
    with running_cluster(store, provider_processes, listed, domain="accounts", auth=auth, router=router) as running:
        yield running


@pytest.fixture
def cluster(accounts: Cluster) -> Iterator[Cluster]:
    for provider in accounts.providers:
        provider.request("POST", "/control/reset")
        provider.behave(keeps_state=True, error_rate=0)
    yield accounts
    accounts.check()
    for provider in accounts.providers:
        provider.behave(keeps_state=False, error_rate=0)


@contextlib.contextmanager
def keeping_state(*providers: ProviderProcess) -> Iterator[None]:
    for provider in providers:
        provider.behave(keeps_state=True)
    yield
    for provider in providers:
        provider.behave(keeps_state=False)


def post(replica: ReplicaProcess, path: str, body: Any, key: str = TEAM, **headers: str) -> Answer:
    fields = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return replica.request("POST", path, json.dumps(body).encode(), fields)


def respond(replica: ReplicaProcess, key: str = TEAM, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    return post(replica, "/v1/responses", {"model": "gpt", "input": "hello", **fields}, key, **(headers or {}))


def made(answer: Answer) -> Any:
    """The response object of an answer, plain or streamed."""
    assert answer.status == 200, answer
    if answer.headers["content-type"] == "application/json":
        return answer.json()
    return json.loads(answer.events[-1])["response"]


def refused(cluster: Cluster) -> int:
    """The answers with an error that the providers have sent."""
    return sum(provider.counts()["errors"] for provider in cluster.providers)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_every_turn_reaches_the_account_of_the_one_before(cluster: Cluster, is_stream: bool) -> None:
    before, served = None, set()
    for turn, replica in enumerate(in_turn(cluster.replicas, CHAINS * TURNS)):
        previous: dict[str, Any] = {} if turn % TURNS == 0 else {"previous_response_id": before}
        answer = respond(replica, stream=is_stream, **previous)
        before = made(answer)["id"]
        served.add(answer.headers["x-pllm-deployment"])

    assert refused(cluster) == 0
    assert served == {"north", "south"}


def test_restart_of_every_replica_forgets_nothing(cluster: Cluster) -> None:
    first = [made(respond(cluster.replicas[0]))["id"] for _ in range(8)]
    cluster.wait_until_idle()
    for replica in list(cluster.replicas):
        replica.stop()
        cluster.restart(replica)
    answers = [respond(cluster.replicas[1], previous_response_id=each) for each in first]

    assert {answer.status for answer in answers} == {200}
    assert refused(cluster) == 0


def test_other_model_of_the_same_account_serves_what_the_first_has_made(cluster: Cluster) -> None:
    ids = {made(answer)["id"]: answer.headers["x-pllm-deployment"] for answer in map(respond, cluster.replicas * 8)}
    served = {
        respond(cluster.replicas[0], model="mini", previous_response_id=each).status: owner
        for each, owner in ids.items()
    }

    assert served == {200: "north", 409: "south"}


def test_request_that_no_deployment_of_its_model_can_serve_is_a_conflict_with_the_reason(cluster: Cluster) -> None:
    owned = {}
    for replica in in_turn(cluster.replicas, 20):
        answer = respond(replica)
        owned[answer.headers["x-pllm-deployment"]] = made(answer)["id"]
    answer = respond(cluster.replicas[0], model="mini", previous_response_id=owned["south"])

    assert (answer.status, answer.error["code"]) == (409, "state_owner_unavailable")
    assert "`south`" in answer.error["message"]
    assert "does not serve the model `mini`" in answer.error["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_unknown_id_is_tried_at_each_account_and_then_known(cluster: Cluster) -> None:
    """As ids that were made before the gateway was there, or while it was on a standby store."""
    south = cluster.providers[1]
    body = {"model": "gpt", "input": "hello"}
    ids = [south.request("POST", "/v1/responses", body).json()["id"] for _ in range(12)]
    answers = [
        respond(replica, previous_response_id=each) for each, replica in zip(ids, cluster.replicas * 6, strict=True)
    ]
    lost = refused(cluster)
    again = [
        respond(replica, previous_response_id=each) for each, replica in zip(ids, cluster.replicas * 6, strict=True)
    ]

    assert {(answer.status, answer.headers["x-pllm-deployment"]) for answer in answers + again} == {(200, "south")}
    assert 0 < lost < 12
    assert refused(cluster) == lost
    assert {cluster.deployment(each).get("consecutive_failures", "0") for each in ("north", "south")} == {"0"}
    assert {cluster.state(each) for each in ("north", "south")} == {"closed"}


def test_id_that_no_account_has_is_refused_as_the_provider_does(cluster: Cluster) -> None:
    answer = respond(cluster.replicas[0], previous_response_id="resp_unknown_here")

    assert (answer.status, answer.error["code"]) == (400, "previous_response_not_found")
    assert refused(cluster) == 2


def test_tenant_reaches_no_owner_of_another_and_places_none(cluster: Cluster) -> None:
    first = made(respond(cluster.replicas[0], TEAM))["id"]
    fields = len(cluster.redis.hgetall(f"{cluster.key('owners')}:1"))
    for _ in range(8):
        assert respond(cluster.replicas[0], OTHER, previous_response_id=first).status == 200

    assert fields > 0
    keys = cluster.redis.keys(f"{cluster.key('owners')}*")
    shown = "".join(f"{key}{cluster.redis.hgetall(key)}" for key in keys)
    assert first not in shown
    assert "team" not in shown


def test_open_owner_gets_the_last_resort_and_no_other_account_is_called(cluster: Cluster) -> None:
    owned: dict[str, str] = {}
    while owned.keys() != {"north", "south"}:
        answer = respond(cluster.replicas[0])
        owned[answer.headers["x-pllm-deployment"]] = made(answer)["id"]
    force(cluster, "north", "open")
    answer = respond(cluster.replicas[1], previous_response_id=owned["north"])
    force(cluster, "north", "reset")

    assert (answer.status, answer.error["code"]) == (503, "no_healthy_deployment")
    assert [each["outcome"] for each in answer.error["attempts"]] == ["forced_open"]
    assert respond(cluster.replicas[1], previous_response_id=owned["north"]).status == 200


def force(cluster: Cluster, name: str, action: str) -> None:
    headers = {"authorization": f"Bearer {ADMIN}"}
    path = f"/v1/admin/deployments/{name}/{action}"
    assert cluster.replicas[0].request("POST", path, b"{}", headers).status == 200


def test_item_references_and_encrypted_reasoning_find_their_account(cluster: Cluster) -> None:
    for replica in in_turn(cluster.replicas, 12):
        answer = respond(replica, include=["reasoning.encrypted_content"])
        reasoning, message = made(answer)["output"]
        stateless = respond(replica, store=False, input=[reasoning, {"role": "user", "content": "and?"}])
        reference = respond(replica, input=[{"type": "item_reference", "id": message["id"]}])

        assert {stateless.status, reference.status} == {200}
        assert stateless.headers["x-pllm-deployment"] == answer.headers["x-pllm-deployment"]

    assert refused(cluster) == 0


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_container_of_a_message_finds_its_account(cluster: Cluster, is_stream: bool) -> None:
    body = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], "stream": is_stream}
    tools = [{"type": "code_execution_20250825", "name": "code_execution"}]
    for replica in in_turn(cluster.replicas, 12):
        first = post(replica, "/v1/messages", {**body, "tools": tools})
        opening = json.loads(first.events[0])["message"] if is_stream else first.json()
        container = opening["container"]["id"]
        again = post(replica, "/v1/messages", {**body, "container": container})

        assert (first.status, again.status) == (200, 200)
        assert again.headers["x-pllm-deployment"] == first.headers["x-pllm-deployment"]

    assert refused(cluster) == 0


def test_items_of_a_stream_are_known_at_its_end(cluster: Cluster) -> None:
    for replica in in_turn(cluster.replicas, 6):
        answer = respond(replica, include=["reasoning.encrypted_content"], stream=True)
        cluster.wait_until_idle()
        again = respond(replica, store=False, input=made(answer)["output"][:1])

        assert again.headers["x-pllm-deployment"] == answer.headers["x-pllm-deployment"]

    assert refused(cluster) == 0


def test_owner_that_left_the_configuration_is_a_conflict(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    first, second = provider_processes[:2]
    owned: dict[str, str] = {}
    listed = models(first, second)[:2]
    with keeping_state(first, second), running_cluster(store, provider_processes, listed, domain="leaving") as running:
        while owned.keys() != {"north", "south"}:
            answer = respond(running.replicas[0])
            owned[answer.headers["x-pllm-deployment"]] = made(answer)["id"]
        running.wait_until_idle()
        assert [replica.stop() for replica in running.replicas] == [0, 0]
    with (
        keeping_state(first, second),
        running_cluster(store, provider_processes, listed[:1], domain="leaving", replicas=1) as running,
    ):
        answer = respond(running.replicas[0], previous_response_id=owned["south"])
        stays = respond(running.replicas[0], previous_response_id=owned["north"])
        read = running.replicas[0].get(f"/v1/responses/{owned['south']}")

    assert (answer.status, answer.error["code"]) == (409, "state_owner_unavailable")
    assert "is no longer in the configuration" in answer.error["message"]
    assert stays.status == 200
    assert (read.status, read.error["code"]) == (409, "state_owner_unavailable")


def test_standby_store_knows_no_owner_and_tries_each_account(provider_processes: list[ProviderProcess]) -> None:
    first, second = provider_processes[:2]
    with (
        keeping_state(first, second),
        running_store() as own,
        running_cluster(own, provider_processes, models(first, second)[:2], domain="alone", replicas=1) as running,
    ):
        ids = [made(respond(running.replicas[0]))["id"] for _ in range(6)]
        running.wait_until_idle()
        own.stop()
        answers = [respond(running.replicas[0], previous_response_id=each) for each in ids]
        again = [respond(running.replicas[0], previous_response_id=made(each)["id"]) for each in answers]

    assert {answer.status for answer in answers + again} == {200}
    assert {answer.headers["x-pllm-state"] for answer in again} == {"standby"}
    assert {answer.headers["x-pllm-attempts"] for answer in again} == {"1"}


def test_owner_in_another_routing_domain_is_found(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    first, second = provider_processes[:2]
    listed = [{**entry, "domain": f"part-{number}"} for number, entry in enumerate(models(first, second)[:2])]
    with keeping_state(first, second), running_cluster(store, provider_processes, listed, domain="home") as running:
        for provider in (first, second):
            provider.request("POST", "/control/reset")
        answers = [respond(replica) for replica in running.replicas * 6]
        ids = {made(answer)["id"]: answer.headers["x-pllm-deployment"] for answer in answers}
        turns = {each: respond(running.replicas[0], previous_response_id=each) for each in ids}
        lost = refused(running)
        names = {answer.headers["x-pllm-deployment"] for answer in answers}

    assert names == {"north", "south"}
    assert {each: turn.headers["x-pllm-deployment"] for each, turn in turns.items()} == ids
    assert lost == 0


# -- stored responses -------------------------------------------------------------------------------------------------


def stored(replica: ReplicaProcess, method: str, path: str, key: str = TEAM) -> Answer:
    return replica.request(method, f"/v1/responses/{path}", headers={"authorization": f"Bearer {key}"})


def test_stored_response_is_read_cancelled_listed_and_deleted_at_its_owner(cluster: Cluster) -> None:
    for replica in in_turn(cluster.replicas, 10):
        answer = respond(replica)
        name, owner = made(answer)["id"], answer.headers["x-pllm-deployment"]
        read, listed = stored(replica, "GET", name), stored(replica, "GET", f"{name}/input_items?limit=5&order=asc")
        cancelled, deleted = stored(replica, "POST", f"{name}/cancel"), stored(replica, "DELETE", name)

        assert (read.json()["id"], read.status) == (name, 200)
        assert (listed.json()["object"], cancelled.json()["status"]) == ("list", "cancelled")
        assert deleted.json()["deleted"] is True
        answers = (read, listed, cancelled, deleted)
        assert {each.headers["x-pllm-deployment"].removesuffix("-mini") for each in answers} == {owner}

    assert refused(cluster) == 0
    assert stored(cluster.replicas[0], "GET", name).status == 404
    assert refused(cluster) == 1


def test_stored_response_of_an_unknown_owner_is_found_by_trying(cluster: Cluster) -> None:
    south = cluster.providers[1]
    name = south.request("POST", "/v1/responses", {"model": "gpt", "input": "hello"}).json()["id"]
    answers = [stored(replica, "GET", name) for replica in cluster.replicas * 4]

    assert {answer.status for answer in answers} == {200}
    assert refused(cluster) <= 8
    missing = stored(cluster.replicas[0], "GET", "resp_unknown_here")
    assert (missing.status, missing.error["message"]) == (404, "Response with id 'resp_unknown_here' not found.")


def test_stored_response_needs_a_key_and_teaches_nothing(cluster: Cluster) -> None:
    name = made(respond(cluster.replicas[0]))["id"]
    cluster.wait_until_idle()
    before = {each: cluster.deployment(each).get("ewma_ms") for each in ("north", "south")}
    assert stored(cluster.replicas[0], "GET", name, "wrong").status == 401
    assert stored(cluster.replicas[0], "GET", name).status == 200
    cluster.wait_until_idle()

    assert {each: cluster.deployment(each).get("ewma_ms") for each in ("north", "south")} == before


def test_failure_of_a_stored_response_moves_no_breaker(cluster: Cluster) -> None:
    name = made(respond(cluster.replicas[0]))["id"]
    for provider in cluster.providers:
        provider.behave(keeps_state=False)
    answers = [stored(cluster.replicas[0], "GET", name) for _ in range(6)]

    assert {answer.status for answer in answers} == {404}
    assert {cluster.state(each) for each in ("north", "south", "north-mini")} == {"closed"}


@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [
        ("GET", "a b", 400, "response_id"),
        ("GET", "..", 400, "response_id"),
        ("GET", "r" * 600, 400, "response_id"),
        ("GET", "resp_1?drop=1", 400, "drop"),
        ("GET", f"resp_1?limit={'9' * 3000}", 400, None),
        ("PUT", "resp_1", 405, None),
        ("GET", "resp_1/cancel", 405, None),
        ("GET", "resp_1/other", 404, None),
        ("DELETE", "resp_1/input_items", 405, None),
    ],
)
def test_odd_request_for_a_stored_response_is_refused(
    cluster: Cluster, method: str, path: str, status: int, field: str | None
) -> None:
    answer = stored(cluster.replicas[0], method, path.replace(" ", "%20"))

    assert answer.status == status
    assert answer.error["param"] == field
    assert sum(provider.counts()["requests"] for provider in cluster.providers) == 0


def test_key_reads_stored_responses_of_its_own_models_only(cluster: Cluster) -> None:
    south = cluster.providers[1]
    name = south.request("POST", "/v1/responses", {"model": "gpt", "input": "hello"}).json()["id"]

    assert stored(cluster.replicas[0], "GET", name, MINI).status == 404
    assert stored(cluster.replicas[0], "GET", name, TEAM).status == 200


# -- headers ----------------------------------------------------------------------------------------------------------


def test_header_names_the_deployment(cluster: Cluster) -> None:
    for name in ("north", "south"):
        answers = [respond(cluster.replicas[0], OTHER, {"x_pllm_deployment": name}) for _ in range(6)]
        assert {(each.status, each.headers["x-pllm-deployment"]) for each in answers} == {(200, name)}


def test_admin_key_beside_the_tenants_may_name_a_deployment(cluster: Cluster) -> None:
    headers = {"x_pllm_deployment": "south", "x_api_key": ADMIN}

    assert respond(cluster.replicas[0], TEAM, headers).headers["x-pllm-deployment"] == "south"


def test_tenant_without_the_permission_may_not_name_one(cluster: Cluster) -> None:
    answer = respond(cluster.replicas[0], TEAM, {"x_pllm_deployment": "south"})

    assert (answer.status, answer.error["param"]) == (403, "x-pllm-deployment")


def test_tags_restrict_the_candidates(cluster: Cluster) -> None:
    for tags, name in (("eu,gdpr", "north"), ("gdpr", "north"), (" us ", "south")):
        answers = [respond(cluster.replicas[1], headers={"x_pllm_tags": tags}) for _ in range(6)]
        assert {each.headers["x-pllm-deployment"] for each in answers} == {name}


def test_failure_of_the_only_allowed_deployment_reaches_no_other(cluster: Cluster) -> None:
    cluster.providers[0].behave(error_rate=1, error_status=501)
    answer = respond(cluster.replicas[0], headers={"x_pllm_tags": "eu"})
    force(cluster, "north", "reset")

    assert answer.headers["x-pllm-attempts"] == "1"
    assert answer.headers["x-should-retry"] == "false"
    assert cluster.providers[1].counts()["requests"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-pllm-tags", "eu,us"),
        ("x-pllm-tags", "mars"),
        ("x-pllm-tags", ""),
        ("x-pllm-tags", "eu,,gdpr"),
        ("x-pllm-deployment", "nowhere"),
        ("x-pllm-deployment", ""),
        ("x-pllm-deployment", "north,south"),
        ("x-pllm-deployment", "north-mini"),
        ("x-pllm-deployment", "n" * 5_000),
    ],
)
def test_wrong_value_is_refused_with_the_name_of_its_header(cluster: Cluster, name: str, value: str) -> None:
    answer = respond(cluster.replicas[0], OTHER, {name.replace("-", "_"): value})

    assert (answer.status, answer.error["param"]) == (400, name)
    assert len(answer.body) < 1_000


def test_owner_that_the_tags_leave_out_is_a_conflict(cluster: Cluster) -> None:
    answer = respond(cluster.replicas[0], headers={"x_pllm_tags": "us"})
    refusal = respond(cluster.replicas[1], headers={"x_pllm_tags": "eu"}, previous_response_id=made(answer)["id"])

    assert (refusal.status, refusal.error["code"]) == (409, "state_owner_unavailable")
    assert "x-pllm-tags" in refusal.error["message"]


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "r" * 1_000_000},
        {"previous_response_id": 7},
        {"previous_response_id": ""},
        {"conversation": {"id": ["conv"]}},
        {"input": [{"type": "item_reference", "id": "i" * 100_000}]},
        {"input": [{"type": "reasoning", "encrypted_content": "e" * 1_000_000}]},
        {"tools": [{"type": "file_search", "vector_store_ids": [[], None, "v" * 600]}]},
    ],
    ids=["long", "number", "empty", "list", "reference", "encrypted", "stores"],
)
def test_id_that_is_none_is_the_providers_to_judge(cluster: Cluster, fields: Any) -> None:
    answer = respond(cluster.replicas[0], **fields)

    assert answer.status in (200, 400, 404)
    assert respond(cluster.replicas[0]).status == 200
