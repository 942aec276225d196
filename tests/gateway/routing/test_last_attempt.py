"""The second attempt on the last deployment: how long its pause is, and what ends it. Its faults are in
test_dispatch.py.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.routing.last_attempt import COOLED_S, RETRY_AFTER_MOST_S, pause_s
from gateway.upstream.classify import judge
from gateway.upstream.exchange import Exchange
from loadtest.provider.behaviour import Behaviour
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.wire import Answer

GONE = "client_disconnected"
LONG_PAUSE = {"error_status": 503, "retry_after_s": RETRY_AFTER_MOST_S}  # time enough for a test to act in it


def answered(status: int, retry_after_ms: int = 0) -> Exchange:
    exchange = Exchange(judge(status, None), status=status)
    exchange.retry_after_ms = retry_after_ms
    return exchange


def pauses(exchange: Exchange) -> list[float]:
    found = [pause_s(exchange) for _ in range(200)]
    assert None not in found
    return [pause for pause in found if pause is not None]


def test_pause_is_that_of_an_official_sdk_with_its_jitter() -> None:
    found = pauses(answered(500))

    assert 0.375 <= min(found) < 0.40
    assert 0.475 < max(found) <= 0.5


@pytest.mark.parametrize("retry_after_ms", [1, 1000, 2000])
def test_pause_is_the_providers_own_and_ends_after_its_cooldown(retry_after_ms: int) -> None:
    found = [pause - retry_after_ms / 1000 for pause in pauses(answered(503, retry_after_ms))]

    assert min(found) > COOLED_S - 1e-9
    assert max(found) <= 2 * COOLED_S + 1e-9
    assert max(found) - min(found) > COOLED_S / 2


@pytest.mark.parametrize(("status", "retry_after_ms"), [(503, 2001), (500, 60_000), (401, 0), (501, 0), (400, 0)])
def test_long_wait_and_lasting_fault_have_no_pause(status: int, retry_after_ms: int) -> None:
    assert pause_s(answered(status, retry_after_ms)) is None


# -- through the gateway ----------------------------------------------------------------------------------------


each_form = pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])


@each_form
def test_client_that_leaves_in_the_pause_leaves_nothing(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, is_stream: bool
) -> None:
    """The line in the log is the last thing that a request does."""
    provider.behave(fail_first=1, **LONG_PAUSE)
    left, tokens = replica.said().count(GONE), retry_tokens(cluster)
    with replica.begin_chat(stream=is_stream):
        provider.wait_for(requests=1, in_flight=0)
        cluster.wait_until_idle()
    wait_until(lambda: replica.said().count(GONE) == left + 1)

    assert provider.counts()["requests"] == 1
    assert cluster.leases() == 0
    assert retry_tokens(cluster) >= tokens
    assert cluster.deployment("primary")["consecutive_failures"] == "1"


def test_clients_that_leave_in_the_pause_leave_no_connection_open(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    assert replica.chat().status == 200
    left, open_files = replica.said().count(GONE), descriptors(replica)
    for number in range(1, 5):
        provider.behave(fail_first=1, **LONG_PAUSE)
        with replica.begin_chat():
            provider.wait_for(requests=1 + number, in_flight=0)
            cluster.wait_until_idle()
        wait_until(lambda number=number: replica.said().count(GONE) == left + number)  # type: ignore[misc]
        cluster.forget()

    assert provider.counts()["requests"] == 5
    wait_until(lambda: descriptors(replica) <= open_files)


@pytest.fixture(scope="module")
def frugal_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """A retry budget that nothing fills."""
    first, second = provider_processes
    models = [
        deployment("alone", first, "alone"),
        *(deployment(f"tiered-{number}", first, "tiered") for number in range(3)),
        deployment("later", second, "later"),
        deployment("pair-0", first, "pair"),
        deployment("pair-1", second, "pair"),
    ]
    router = {
        "retry_budget": {"ratio": 0, "floor_per_second": 0},
        "fallbacks": {"tiered": ["later"]},
        "latency_threshold": "8s",
    }
    with running_cluster(store, provider_processes, models, domain="frugal", replicas=1, router=router) as running:
        yield running


@pytest.fixture
def frugal(frugal_cluster: Cluster) -> Iterator[Cluster]:
    for each in frugal_cluster.providers:
        each.behave(**msgspec.structs.asdict(Behaviour()))
        each.request("POST", "/control/reset")
    frugal_cluster.forget()
    yield frugal_cluster
    frugal_cluster.check()


def retry_tokens(cluster: Cluster) -> float:
    return float(cluster.redis.hget(cluster.key("global"), "retry_tokens") or 30)


def descriptors(replica: ReplicaProcess) -> int:
    return len(list(Path(f"/proc/{replica.process.pid}/fd").iterdir()))


def served_by(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.headers["x-pllm-deployment"], answer.headers["x-pllm-attempts"]


@each_form
def test_used_up_retry_budget_leaves_the_first_error(frugal: Cluster, is_stream: bool) -> None:
    [replica], provider = frugal.replicas, frugal.providers[0]
    frugal.redis.hset(frugal.key("global"), "retry_tokens", 1)
    frugal.read_anew()
    provider.behave(error_rate=1)
    covered = replica.chat("alone", stream=is_stream)
    refused = replica.chat("alone", stream=is_stream)

    assert (covered.status, covered.headers["x-pllm-attempts"]) == (502, "2")
    assert (refused.status, refused.error["code"], refused.headers["x-pllm-attempts"]) == (502, "upstream_error", "1")
    assert [(each["outcome"], each["status"]) for each in refused.error["attempts"]] == [("failure", 500)]
    assert "x-should-retry" not in refused.headers
    assert provider.counts()["requests"] == 3
    frugal.wait_until_idle()
    assert retry_tokens(frugal) == 0


def test_deadline_before_the_providers_own_pause_is_over_leaves_the_first_error(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    provider.behave(error_rate=1, **LONG_PAUSE)
    began_s = time.monotonic()
    answer = replica.chat(headers={"x-pllm-timeout": "1900ms"})

    assert time.monotonic() - began_s < RETRY_AFTER_MOST_S
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "upstream_overloaded", "2")
    assert answer.headers["x-pllm-attempts"] == "1"
    assert provider.counts()["requests"] == 1


@each_form
def test_deadline_within_the_second_attempt_leaves_the_first_error(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, is_stream: bool
) -> None:
    provider.behave(fail_first=1, stall_rate=1)
    answer = replica.chat(stream=is_stream, headers={"x-pllm-timeout": "800ms"})
    cluster.wait_until_idle()

    assert (answer.status, answer.error["code"], answer.headers["x-pllm-attempts"]) == (502, "upstream_error", "2")
    assert [each["outcome"] for each in answer.error["attempts"]] == ["failure", "cancelled"]
    assert cluster.deployment("primary")["failures"] == "1"


def test_last_of_max_attempts_is_for_the_next_tier(frugal: Cluster) -> None:
    frugal.providers[0].behave(error_rate=1)
    answer = frugal.replicas[0].chat("tiered")

    assert served_by(answer) == (200, "later", "3")
    assert frugal.providers[0].counts()["requests"] == 2


def test_deployment_is_tried_again_where_no_other_one_can_be_called(frugal: Cluster) -> None:
    [replica], provider = frugal.replicas, frugal.providers[0]
    replica.force("pair-1", "open")
    provider.behave(fail_first=1)
    answer = replica.chat("pair")

    assert served_by(answer) == (200, "pair-0", "2")
    assert frugal.providers[1].counts()["requests"] == 0


def test_request_that_the_second_attempt_saves_counts_once_and_as_served(frugal: Cluster) -> None:
    frugal.providers[0].behave(fail_first=1)
    assert frugal.replicas[0].chat("alone").status == 200
    frugal.wait_until_idle()
    frugal.wait_for_beats(2)

    assert frugal.redis.hmget(frugal.key("global"), "window_requests", "window_failures") == ["1", "0"]
