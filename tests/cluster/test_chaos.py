"""Everything at once: providers that fail in every way, clients that leave at any moment, deadlines that pass.

What must hold then is little, and exact: nobody waits for ever, no answer is half a truth, and nothing is left behind.
"""

import random
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster
from tests.support.wire import DONE, Answer, Call

WAVES, CALLS = 40, 40
ERRORS = {
    "upstream_error",
    "upstream_timeout",
    "upstream_overloaded",
    "no_healthy_deployment",
    "server_is_overloaded",
    "rate_limit_exceeded",
    "queue_full",  # a deployment is full, and the queue would take longer than the client's deadline allows
    "request_timeout",  # a large body and a client that gave it a millisecond
}


def misbehave(provider: ProviderProcess, chance: random.Random) -> None:
    provider.behave(
        error_rate=chance.choice([0, 0, 0.2, 1]),
        error_status=chance.choice([500, 503, 429, 401]),
        stall_rate=chance.choice([0, 0, 0.3]),
        cut_after_chunks=chance.choice([None, None, 2]),
        malformed=chance.choice([None, None, "html", "half_json"]),
        latency_ms=chance.choice([0, 5, 30]),
        chunk_gap_ms=chance.choice([0, 2]),
    )


def begin(cluster: Cluster, chance: random.Random) -> Call:
    headers = {"x-pllm-timeout": chance.choice(["1s", "100ms", "1ms"])}
    fields: dict[str, Any] = {"stream": chance.random() < 0.5, "pad": "x" * chance.choice([0, 10, 70_000])}
    return chance.choice(cluster.replicas).begin_chat(chance.choice(["main", "twin"]), headers=headers, **fields)


def is_honest(answer: Answer) -> bool:
    """A whole answer, or an error that says so."""
    if answer.status != 200:
        return answer.error["code"] in ERRORS
    if answer.headers["content-type"].startswith("text/event-stream"):
        return answer.is_whole and (answer.events[-1] == DONE) != ('"error":{' in answer.events[-1])
    return answer.is_whole and bool(answer.json()["choices"])


@pytest.mark.parametrize("seed", [1, 2])
def test_cluster_stays_exact_whatever_providers_and_clients_do(cluster: Cluster, seed: int) -> None:
    chance = random.Random(seed)
    answers = []
    for _ in range(WAVES):
        misbehave(chance.choice(cluster.providers), chance)
        calls = [begin(cluster, chance) for _ in range(CALLS)]
        for call in calls:
            if chance.random() < 0.6:
                answers.append(call.answer())
            call.leave()
    cluster.wait_until_idle()
    for provider in cluster.providers:
        provider.wait_for(in_flight=0)

    assert [answer for answer in answers if not is_honest(answer)] == []
    assert [replica.stats()["active_requests"] for replica in cluster.replicas] == [0] * 4
