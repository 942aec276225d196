"""The charge for a request over the wire: the tokens that the provider counted; nothing for a refused or unsent
call.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.raw_provider import DONE_EVENT, RawProvider, body_of, chunk_event, plain, stream
from tests.support.recorded_streams import HELLO, MESSAGE_STOP, TEXT_BLOCK, data, event

# Nothing listens there: the port is reserved and never given out.
REFUSING_URL = "http://127.0.0.1:1"
PRICE = {"input_per_million": 1, "output_per_million": 100}
COUNTED = body_of(
    choices=[{"index": 0, "message": {"role": "assistant", "content": "raw"}}],
    usage={"prompt_tokens": 8, "completion_tokens": 10, "total_tokens": 18},
)
REFUSED = plain(body_of(error={"message": "no", "type": "invalid_request_error"}), "400 Bad Request")


@pytest.fixture(scope="module")
def charging_cluster(store: EmbeddedStore, raw_provider_thread: RawProvider) -> Iterator[Cluster]:
    url = raw_provider_thread.url
    models = [
        deployment("paid", url, "paid", cost=PRICE),
        deployment("paid-claude", url, "paid-claude", cost=PRICE, provider_fields={"type": "anthropic"}),
        deployment("unsent", REFUSING_URL, "unsent", cost=PRICE),
        deployment("mute", url, "mute", cost=PRICE, provider_fields={"type": "anthropic"}),
    ]
    router: dict[str, Any] = {"latency_threshold": "8s", "budget": {"amount": 1000, "per": "total"}}
    with running_cluster(store, [], models, domain="charging", replicas=1, router=router) as running:
        yield running


@pytest.fixture
def charged(charging_cluster: Cluster, raw_provider_thread: RawProvider) -> Iterator[Cluster]:
    raw_provider_thread.forget()
    charging_cluster.forget()
    charging_cluster.redis.delete(charging_cluster.key("budget:domain"))
    yield charging_cluster
    charging_cluster.check()


@pytest.fixture
def replica(charged: Cluster) -> ReplicaProcess:
    return charged.replicas[0]


def account(cluster: Cluster) -> dict[str, int]:
    """Of the domain, in micro-units, once every call has ended."""
    cluster.wait_until_idle()
    fields = cluster.redis.hgetall(cluster.key("budget:domain"))
    return {name: int(fields.get(name, 0)) for name in ("spent", "reserved")}


def test_call_is_charged_by_its_providers_counts(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    raw_provider_thread.answer = plain(COUNTED)

    assert replica.chat("paid", max_tokens=50).status == 200
    assert account(charged) == {"spent": 8 + 10 * 100, "reserved": 0}


def test_call_that_its_provider_refused_costs_nothing(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    raw_provider_thread.answer = REFUSED

    assert replica.chat("paid", max_tokens=50).status == 400
    assert account(charged) == {"spent": 0, "reserved": 0}


def test_call_that_was_never_sent_costs_nothing(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    """Its provider's dialect lacks the words."""
    assert replica.chat("mute", max_tokens=50, n=2).status == 400
    assert raw_provider_thread.requests == []
    assert account(charged) == {"spent": 0, "reserved": 0}


def test_call_without_counts_of_its_provider_costs_the_reserved_amount(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    assert replica.chat("paid", max_tokens=50).status == 200
    assert 50 * 100 <= account(charged)["spent"] <= 50 * 100 + 200


def test_call_whose_client_leaves_costs_the_reserved_amount(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    """The provider may charge for it, and will not report how much."""
    raw_provider_thread.answer, raw_provider_thread.is_holding = b"", True
    with replica.begin_chat("paid", max_tokens=50):
        wait_until(lambda: len(raw_provider_thread.requests) == 1)

    assert 50 * 100 <= account(charged)["spent"] <= 50 * 100 + 200


def test_call_whose_connection_was_refused_costs_nothing(charged: Cluster, replica: ReplicaProcess) -> None:
    assert replica.chat("unsent", max_tokens=50).status == 502
    assert account(charged) == {"spent": 0, "reserved": 0}


def test_stream_of_messages_costs_what_its_provider_reported_last(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider
) -> None:
    """Anthropic's client reads it so: a later count replaces an earlier one, nested ones are not the call's."""
    start = event("message_start", message={"id": "m", "usage": {"input_tokens": 90_000, "output_tokens": 1}})
    counted = {"input_tokens": 500, "cache_read_input_tokens": 89_500, "output_tokens": 10}
    iterations = [{"input_tokens": 70_000, "output_tokens": 9}]
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage={**counted, "iterations": iterations})
    raw_provider_thread.answer = stream(start, TEXT_BLOCK, HELLO, end, MESSAGE_STOP)

    assert replica.chat("paid-claude", stream=True, max_tokens=50).status == 200
    assert account(charged) == {"spent": 500 + 89_500 // 10 + 10 * 100, "reserved": 0}


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_parts_that_exceed_their_whole_are_not_charged(
    charged: Cluster, replica: ReplicaProcess, raw_provider_thread: RawProvider, is_stream: bool
) -> None:
    usage = {"prompt_tokens": 208, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 314}}
    whole = plain(body_of(choices=[{"message": {"content": "a"}}], usage=usage))
    raw_provider_thread.answer = (
        stream(chunk_event("a"), data({"choices": [], "usage": usage}), DONE_EVENT) if is_stream else whole
    )

    assert replica.chat("paid", stream=is_stream, max_tokens=50).status == 200
    assert account(charged) == {"spent": 208 // 2 + 100, "reserved": 0}
