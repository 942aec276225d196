"""The request path from outside: how often the store is called, how far a request falls back, and when it fails."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.configuration.settings import DeploymentSettings
from gateway.routing.deadline import Deadline, Limits
from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from shared_state.records import Outcome
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.store_proxy import StoreProxy, running_store_proxy
from tests.support.wire import Answer, Call, chat_bytes


@pytest.fixture(scope="module")
def store_proxy(store: EmbeddedStore) -> Iterator[StoreProxy]:
    with running_store_proxy(store) as running:
        yield running


@pytest.fixture(scope="module")
def watched_cluster(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], store_proxy: StoreProxy
) -> Iterator[Cluster]:
    """One replica that reaches its store through the proxy; its models differ in how many candidates they have."""
    first, second = provider_processes
    models = [
        deployment("alone", first, "alone"),
        deployment("twice-0", first, "twice"),
        deployment("twice-1", second, "twice"),
        *(deployment(f"many-{number}", first, "many") for number in range(5)),
        *(deployment(f"mute-{n}", first, "mute", provider_fields={"type": "anthropic"}) for n in range(3)),
        deployment("short", first, "short"),
        deployment("rescue", second, "rescue"),
    ]
    with running_cluster(
        store,
        provider_processes,
        models,
        domain="watched",
        replicas=1,
        state={"url": store_proxy.url},
        router={
            "latency_threshold": "8s",
            "routing_strategy": "round-robin",
            "fallbacks": {"mute": ["rescue"]},
            "context_window_fallbacks": {"short": ["rescue"]},
        },
    ) as running:
        yield running


@pytest.fixture
def watched(watched_cluster: Cluster, store_proxy: StoreProxy) -> Iterator[ReplicaProcess]:
    for each in watched_cluster.providers:
        each.behave(**msgspec.structs.asdict(Behaviour()))
        each.request("POST", "/control/reset")
    watched_cluster.forget()
    store_proxy.forget()
    yield watched_cluster.replicas[0]
    watched_cluster.check()


def round_trips(cluster: Cluster, store_proxy: StoreProxy, scripts: int) -> list[list[str]]:
    """Of the requests so far, once that many scripts have been called and no lease is left."""
    wait_until(lambda: sum(map(len, store_proxy.round_trips())) >= scripts, lambda: str(store_proxy.round_trips()))
    cluster.wait_until_idle()
    return store_proxy.round_trips()


@pytest.mark.parametrize("is_stream", [False, True])
def test_success_takes_two_scripts_in_two_round_trips(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy, is_stream: bool
) -> None:
    for count in range(1, 6):
        watched.chat("alone", stream=is_stream)
        assert round_trips(watched_cluster, store_proxy, 2 * count) == [["acquire"], ["settle"]] * count


def test_further_attempt_takes_one_round_trip_more(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy
) -> None:
    """Settling the failed attempt and asking for the next one share a flush, in this order: the next decision knows."""
    for each in watched_cluster.providers:
        each.behave(fail_first=1)
    answer = watched.chat("twice")

    trips = round_trips(watched_cluster, store_proxy, 6)
    assert (answer.status, answer.headers["x-pllm-attempts"]) == (200, "3")
    # The last deployment is called again after a pause, during which no permit is held.
    assert trips == [["acquire"], ["settle", "acquire"], ["settle"], ["acquire"], ["settle"]]


def test_rejection_takes_one_round_trip(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy
) -> None:
    watched.force("alone", "open")
    store_proxy.forget()

    assert watched.chat("alone").status == 503
    assert round_trips(watched_cluster, store_proxy, 1) == [["acquire"]]


def test_wrong_request_does_not_ask_the_store(watched: ReplicaProcess, store_proxy: StoreProxy) -> None:
    assert watched.chat("unknown").status == 404
    assert watched.chat("alone", messages=[]).status == 400

    assert store_proxy.round_trips() == []


def test_concurrent_requests_share_round_trips(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy
) -> None:
    calls = [watched.begin_chat("alone") for _ in range(50)]
    for call in calls:
        assert call.answer().status == 200
        call.leave()
    trips = round_trips(watched_cluster, store_proxy, 100)

    assert sum(map(len, trips)) == 100
    assert len(trips) < 100


def test_request_is_tried_three_times_at_most(watched: ReplicaProcess, watched_cluster: Cluster) -> None:
    watched_cluster.providers[0].behave(error_rate=1)
    answer = watched.chat("many")
    tried = [detail["deployment"] for detail in answer.error["attempts"]]

    assert answer.status == 502
    assert (len(tried), len(set(tried))) == (3, 3)
    assert watched_cluster.providers[0].counts()["requests"] == 3


def test_refused_keys_are_worth_a_retry_while_a_candidate_is_left(
    watched: ReplicaProcess, watched_cluster: Cluster
) -> None:
    for each in watched_cluster.providers:
        each.behave(error_rate=1, error_status=401)
    some, all_of_them = watched.chat("many"), watched.chat("twice")

    assert [len(answer.error["attempts"]) for answer in (some, all_of_them)] == [3, 2]
    assert [answer.headers.get("x-should-retry") for answer in (some, all_of_them)] == [None, "false"]


def test_only_the_last_candidate_is_tried_twice(watched: ReplicaProcess, watched_cluster: Cluster) -> None:
    for each in watched_cluster.providers:
        each.behave(error_rate=1)
    answer = watched.chat("twice")
    deployments = [each["deployment"] for each in answer.error["attempts"]]

    assert sorted(each.counts()["requests"] for each in watched_cluster.providers) == [1, 2]
    assert (len(set(deployments)), deployments[-1]) == (2, deployments[-2])


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("is_stream", [False, True])
def test_passing_fault_of_the_only_deployment_is_tried_again(
    watched: ReplicaProcess, watched_cluster: Cluster, status: int, is_stream: bool
) -> None:
    watched_cluster.providers[0].behave(fail_first=1, error_status=status)
    answer = watched.chat("alone", stream=is_stream)

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (200, "2")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 501])
def test_lasting_fault_of_the_only_deployment_is_tried_once(
    watched: ReplicaProcess, watched_cluster: Cluster, status: int
) -> None:
    watched_cluster.providers[0].behave(fail_first=1, error_status=status)
    watched.chat("alone")

    assert watched_cluster.providers[0].counts()["requests"] == 1


def test_request_without_time_for_the_pause_is_answered_at_once(
    watched: ReplicaProcess, watched_cluster: Cluster
) -> None:
    watched_cluster.providers[0].behave(error_rate=1)
    answer = watched.chat("alone", headers={"x-pllm-timeout": "300ms"})

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (502, "1")


RETRIES = 120  # far more than the retry budget holds


def test_candidate_that_lacks_the_words_is_no_attempt(watched: ReplicaProcess, watched_cluster: Cluster) -> None:
    """Three of them are passed over, and no further attempt of the request is used up."""
    answers = [watched.chat("mute", n=2) for _ in range(RETRIES)]

    assert {(answer.status, answer.headers["x-pllm-attempts"]) for answer in answers} == {(200, "1")}
    assert watched_cluster.providers[0].counts()["requests"] == 0
    assert float(watched_cluster.redis.hget(watched_cluster.key("global"), "retry_tokens")) > 30


def test_refused_prompt_takes_no_further_attempt_from_others(watched: ReplicaProcess, watched_cluster: Cluster) -> None:
    too_long = '{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    watched_cluster.providers[0].behave(error_rate=1, error_status=400, error_body=too_long)
    answers = [watched.chat("short") for _ in range(RETRIES)]

    assert {(answer.status, answer.headers["x-pllm-attempts"]) for answer in answers} == {(200, "2")}
    assert float(watched_cluster.redis.hget(watched_cluster.key("global"), "retry_tokens")) > 30


def test_client_gets_the_first_ones_failure_when_the_next_one_finds_fault(
    watched: ReplicaProcess, watched_cluster: Cluster
) -> None:
    first, second = watched_cluster.providers[:2]
    first.behave(error_rate=1)
    second.behave(error_rate=1, error_status=400)
    answers = [watched.chat("twice") for _ in range(2)]
    failed = next(answer for answer in answers if answer.status != 400)

    assert (failed.status, failed.error["code"]) == (502, "upstream_error")
    assert [each["status"] for each in failed.error["attempts"]] == [500, 400]
    assert "x-should-retry" not in failed.headers


@pytest.mark.parametrize(
    ("is_from_client", "is_first", "outcome"),
    [
        (False, True, Outcome.TIMEOUT),
        (False, False, Outcome.CANCELLED),  # the one before has used the time up
        (True, True, Outcome.CANCELLED),
        (True, False, Outcome.CANCELLED),
    ],
)
def test_deployment_that_had_less_than_its_time_is_not_to_blame(
    is_from_client: bool, is_first: bool, outcome: Outcome
) -> None:
    deadline, later, earlier = Deadline(10.0, is_from_client), entry(timeout_ms=11_000), entry(timeout_ms=9_000)

    assert Limits(later, deadline, 0.0, False, is_first).over().outcome is outcome
    assert Limits(earlier, deadline, 0.0, False, is_first).over().outcome is Outcome.TIMEOUT


def test_provider_that_was_cut_off_while_it_sent_is_not_to_blame() -> None:
    limits = Limits(entry(timeout_ms=9_000), Deadline(10.0), 0.0, False, True)
    limits.note_received()

    assert limits.over().outcome is Outcome.CANCELLED


def test_time_without_content_is_a_timeout_where_the_operator_set_one() -> None:
    """Pings alone do not count: that is what first_token_timeout is for."""
    limits = Limits(entry(first_token_timeout_ms=5_000), Deadline(10.0), 0.0, True, True)
    limits.note_received()
    exchange = limits.over()

    assert (limits.at, exchange.outcome) == (5.0, Outcome.TIMEOUT)
    assert exchange.reason == "timed out: no content within 5 s (first_token_timeout)"


def test_first_token_timeout_does_not_bound_a_plain_answer() -> None:
    assert Limits(entry(first_token_timeout_ms=5_000), Deadline(10.0), 0.0, False, True).at == 10.0


@pytest.mark.parametrize(
    ("has_received", "reason"),
    [
        (False, "timed out: silent for 3 s (first_byte_timeout)"),
        (True, "timed out: silent for 2 s (idle_timeout)"),
    ],
)
def test_silence_is_a_timeout_that_names_its_limit(has_received: bool, reason: str) -> None:
    limits = Limits(entry(first_byte_timeout_ms=3_000, idle_timeout_ms=2_000), Deadline(9.0), 0.0, True, True)
    if has_received:
        limits.note_received()
    exchange = limits.silent()

    assert (exchange.outcome, exchange.reason) == (Outcome.TIMEOUT, reason)


def entry(**fields: Any) -> DeploymentSettings:
    return DeploymentSettings(id="d", model_name="m", **fields)


def test_failed_attempts_and_the_saved_request_are_all_settled(cluster: Cluster, replica: ReplicaProcess) -> None:
    cluster.providers[0].behave(error_rate=1)
    for _ in range(4):
        assert replica.chat("saved").status == 200
    cluster.wait_until_idle()
    stats = replica.stats()

    assert stats["adaptive_breakers"]["saved"]["failures"] == 4
    assert stats["load_balancer"]["spare"]["deployments"]["spare"]["requests"] == 4


def test_request_aborts_at_its_clients_deadline(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_rate=1)
    started_s = time.monotonic()
    answer = replica.chat(headers={"x-pllm-timeout": "200ms"})
    took_s = time.monotonic() - started_s

    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert 0.2 <= took_s < 4  # far from the deployment's own 5 s
    provider.wait_for(aborted=1, in_flight=0)


def test_clients_deadline_bounds_all_attempts_together(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, spare: ProviderProcess
) -> None:
    provider.behave(error_rate=1, latency_ms=100)
    spare.behave(stall_rate=1)
    answer = replica.chat("saved", headers={"x-pllm-timeout": "500ms"})

    assert [d["outcome"] for d in answer.error["attempts"]] == ["failure", "cancelled"]
    spare.wait_for(aborted=1, in_flight=0)


@pytest.mark.parametrize("is_stream", [False, True])
def test_clients_own_deadline_is_no_evidence_against_the_deployment(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, is_stream: bool
) -> None:
    """Else any client could open any breaker for everybody with a timeout of 1 ms."""
    provider.behave(latency_ms=100)
    for _ in range(6):
        assert replica.chat(stream=is_stream, headers={"x-pllm-timeout": "1ms"}).status == 504
    cluster.wait_until_idle()

    assert cluster.state("primary") == "closed"
    assert replica.stats()["adaptive_breakers"]["gpt-4"]["failures"] == 0


def test_stream_cut_at_its_clients_deadline_is_no_evidence_against_the_deployment(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(stall_after_chunks=1)
    answer = replica.chat(stream=True, headers={"x-pllm-timeout": "300ms"})
    cluster.wait_until_idle()

    assert "upstream_timeout" in answer.events[-1]
    assert replica.stats()["adaptive_breakers"]["gpt-4"]["failures"] == 0


def test_plain_answer_may_take_longer_than_a_streams_first_byte(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    """Its first byte comes with its last."""
    provider.behave(latency_ms=400)
    answer = replica.chat("silent")
    cluster.wait_until_idle()

    assert (answer.status, answer.headers.get("x-pllm-fallback")) == (200, None)
    assert cluster.deployment("silent").get("failures", "0") == "0"


def test_client_cannot_extend_the_time_of_a_deployment(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    answer = replica.chat("hasty-alone", headers={"x-pllm-timeout": "24h"})

    reason = "timed out: no answer within 0.3 s (timeout)"
    assert answer.error["attempts"] == [{"deployment": "hasty-alone", "outcome": "timeout", "reason": reason}]


def test_deadline_in_time_leaves_the_answer_alone(replica: ReplicaProcess) -> None:
    answer = replica.chat(stream=True, headers={"x-pllm-timeout": "30s"})

    assert answer.content.startswith("Hello")


def test_request_past_its_deadline_calls_neither_store_nor_provider(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy
) -> None:
    data = chat_bytes(model="alone", headers={"x-pllm-timeout": "50ms"})
    with Call(watched.address, data[:-1]) as call:
        assert call.answer().status == 408

    assert store_proxy.round_trips() == []
    assert watched_cluster.providers[0].counts()["requests"] == 0


def test_store_that_hangs_takes_no_longer_than_the_request_has(
    watched: ReplicaProcess, watched_cluster: Cluster, store_proxy: StoreProxy
) -> None:
    """It would be given 5 s here, and a call would follow."""
    with store_proxy.hung():
        answer = watched.chat("alone", headers={"x-pllm-timeout": "100ms"})
    watched_cluster.wait_until_idle()

    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert "x-pllm-attempts" not in answer.headers
    assert watched_cluster.providers[0].counts()["requests"] == 0


def fail_until_open(cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess) -> None:
    """Three requests fail twice each, and the fifth failure opens the breaker."""
    provider.behave(error_rate=1)
    for _ in range(3):
        replica.chat()
        cluster.wait_until_idle()
    assert cluster.state("primary") == "open"


def test_open_breaker_is_named_with_the_time_to_come_back(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    """One probe a second goes through as a last resort; until the next one may, every other request is refused."""
    fail_until_open(cluster, replica, provider)
    answer = next(answer for _ in range(4) if (answer := replica.chat()).status == 503)

    assert answer.error["code"] == "no_healthy_deployment"
    assert answer.error["attempts"] == [{"deployment": "primary", "outcome": "open"}]
    assert answer.headers["retry-after"] == "1"


def test_recovered_provider_serves_within_two_seconds_though_its_breaker_is_open(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    fail_until_open(cluster, replica, provider)
    provider.behave(error_rate=0)
    began = time.monotonic()
    answers: list[Answer] = []
    while not answers or answers[-1].status != 200:
        answers.append(replica.chat())
    served_s = time.monotonic() - began

    assert served_s < 2
    assert answers[-1].headers["x-pllm-last-resort"] == "1"
    assert {answer.status for answer in answers[:-1]} <= {503}
    assert "x-pllm-last-resort" not in replica.chat().headers
