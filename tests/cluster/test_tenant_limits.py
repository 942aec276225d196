"""What a tenant may do is counted once for the cluster, and told to its clients as OpenAI tells it."""

import contextlib
from collections.abc import Iterator

import openai
import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import fresh
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster
from tests.support.wire import Answer

KEYS = [
    {"name": "counted", "key": "sk-counted", "rpm": 10},
    {"name": "metered", "key": "sk-metered", "tpm": 1000},
    {"name": "narrow", "key": "sk-narrow", "max_parallel": 4},
    {"name": "told", "key": "sk-told", "rpm": 10, "tpm": 10_000},
    {"name": "streaming", "key": "sk-streaming", "tpm": 10_000},
    {"name": "free", "key": "sk-free"},
]


@pytest.fixture(scope="module")
def tenants_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first = provider_processes[0]
    with running_cluster(
        store,
        [first],
        [deployment("open", first, "open", max_parallel=1000)],
        domain="tenants",
        replicas=3,
        auth={"admin": "local", "keys": KEYS},
        router={"latency_threshold": "8s"},
    ) as running:
        yield running


@pytest.fixture
def tenants(tenants_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(tenants_cluster)


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer sk-{name}"}


def at_once(cluster: Cluster, name: str, calls: int, **fields: object) -> list[Answer]:
    with contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(replica.begin_chat("open", headers=key(name), **fields))
            for replica in in_turn(cluster.replicas, calls)
        ]
        return [call.answer() for call in begun]


def statuses(answers: list[Answer]) -> dict[int, int]:
    return {status: sum(a.status == status for a in answers) for status in {a.status for a in answers}}


def test_ten_a_minute_are_ten_for_all_replicas_together(tenants: Cluster) -> None:
    answers = at_once(tenants, "counted", 40)
    refused = [answer for answer in answers if answer.status != 200]

    assert statuses(answers) == {200: 10, 429: 30}
    assert {answer.error["code"] for answer in refused} == {"rate_limit_exceeded"}
    assert all("10 requests per minute" in answer.error["message"] for answer in refused)
    assert all(1 <= int(answer.headers["retry-after"]) <= 6 for answer in refused)
    assert {answer.headers["x-ratelimit-remaining-requests"] for answer in refused} == {"0"}


def test_others_are_not_limited_by_it(tenants: Cluster) -> None:
    answers = at_once(tenants, "free", 30)

    assert statuses(answers) == {200: 30}
    assert not any(name.startswith("x-ratelimit") for answer in answers for name in answer.headers)


def test_estimated_tokens_limit_what_comes_at_once(tenants: Cluster) -> None:
    """Each is taken for 200 tokens and its prompt until its answer tells otherwise."""
    tenants.providers[0].behave(latency_ms=400)
    answers = at_once(tenants, "metered", 12, max_tokens=200)
    tenants.providers[0].behave(latency_ms=0)
    refused = [answer for answer in answers if answer.status != 200]

    assert statuses(answers) == {200: 4, 429: 8}
    assert all("1000 tokens per minute" in answer.error["message"] for answer in refused)


def test_parallel_requests_are_counted_in_the_cluster(tenants: Cluster) -> None:
    provider = tenants.providers[0]
    before = provider.counts()["in_flight"]
    provider.behave(stall_rate=1)
    with contextlib.ExitStack() as stack:
        for replica in in_turn(tenants.replicas, 4):
            stack.enter_context(replica.begin_chat("open", headers=key("narrow")))
        provider.wait_for(in_flight=before + 4)
        refused = at_once(tenants, "narrow", 3)
    provider.behave(stall_rate=0)
    tenants.wait_until_idle()

    assert {(a.status, "4 requests at a time" in a.error["message"]) for a in refused} == {(429, True)}
    assert statuses(at_once(tenants, "narrow", 3)) == {200: 3}


def test_openai_client_reads_its_limits(tenants: Cluster) -> None:
    with openai.OpenAI(base_url=f"{tenants.replicas[0].url}/v1", api_key="sk-told", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="open", messages=[{"role": "user", "content": "hi"}], max_tokens=90
        )

    told = {name.removeprefix("x-ratelimit-"): value for name, value in raw.headers.items() if "ratelimit" in name}
    assert (told["limit-requests"], told["remaining-requests"], told["reset-requests"]) == ("10", "9", "6s")
    assert told["limit-tokens"] == "10000"
    assert 9_800 <= int(told["remaining-tokens"]) <= 9_910


def test_tokens_of_a_stream_are_those_its_provider_counted(tenants: Cluster) -> None:
    """Not the thousand that it was taken for."""
    replica = tenants.replicas[0]
    answers = [
        replica.chat("open", headers=key("streaming"), stream=True, max_completion_tokens=1000) for _ in range(10)
    ]

    assert statuses(answers) == {200: 10}
    tenants.wait_until_idle()
    last = replica.chat("open", headers=key("streaming"))
    assert int(last.headers["x-ratelimit-remaining-tokens"]) > 9_000
