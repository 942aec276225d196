"""The official clients decide by our headers whether and when to retry; here their own retries are switched on."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, plain

RETRIES = 2
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
MESSAGE: dict[str, Any] = {**CHAT, "max_tokens": 50}


def call_openai(url: str, model: str, retries: int = RETRIES, **fields: Any) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=retries) as client:
        return client.chat.completions.create(model=model, **CHAT, **fields)


def call_openai_async(url: str, model: str, **fields: Any) -> Any:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=RETRIES) as client:
            return await client.chat.completions.create(model=model, **CHAT, **fields)

    return asyncio.run(ask())


def call_anthropic(url: str, model: str, retries: int = RETRIES, **fields: Any) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=retries) as client:
        return client.messages.create(model=model, **MESSAGE, **fields)


def call_anthropic_async(url: str, model: str, **fields: Any) -> Any:
    async def ask() -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=RETRIES) as client:
            return await client.messages.create(model=model, **MESSAGE, **fields)

    return asyncio.run(ask())


each_client = pytest.mark.parametrize(
    ("client", "errors"),
    [
        (call_openai, openai),
        (call_openai_async, openai),
        (call_anthropic, anthropic),
        (call_anthropic_async, anthropic),
    ],
)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408, 409])
@pytest.mark.parametrize("client", [call_openai, call_anthropic])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_one_passing_fault_of_the_only_deployment_reaches_no_client(
    replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], status: int, is_stream: bool
) -> None:
    provider.behave(fail_first=1, error_status=status)

    client(replica.url, "gpt-4", retries=0, stream=is_stream)

    assert provider.counts()["requests"] == 2


@each_client
def test_client_retries_a_request_that_failed_twice(
    replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], errors: Any
) -> None:
    provider.behave(fail_first=2)

    assert client(replica.url, "gpt-4").usage is not None
    assert provider.counts()["requests"] == 3


@pytest.mark.parametrize(("client", "errors", "status"), [(call_openai, openai, 503), (call_anthropic, anthropic, 529)])
def test_overload_leaves_as_the_dialects_own_status(
    replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], errors: Any, status: int
) -> None:
    provider.behave(error_rate=1, error_status=529, retry_after_s=5)
    with pytest.raises(errors.APIStatusError) as caught:
        client(replica.url, "gpt-4", retries=0)

    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "5"
    assert "x-should-retry" not in caught.value.response.headers
    assert provider.counts()["requests"] == 1


@each_client
def test_throttled_request_is_retried_when_the_provider_allows(
    cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], errors: Any
) -> None:
    provider.behave(fail_first=1, error_status=429, retry_after_s=0.2)

    assert client(replica.url, "gpt-4").usage is not None
    assert provider.counts()["requests"] == 2
    assert cluster.deployment("primary")["state"] == "closed"


@each_client
def test_used_up_quota_is_not_tried_again(
    replica: ReplicaProcess, raw_provider: RawProvider, client: Callable[..., Any], errors: Any
) -> None:
    error = {"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}}
    raw_provider.answer = plain(json.dumps(error).encode(), "429 Too Many Requests")
    with pytest.raises(errors.RateLimitError):
        client(replica.url, "raw")

    assert len(raw_provider.requests) == 1


@each_client
def test_refused_request_is_not_tried_again(
    replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], errors: Any
) -> None:
    provider.behave(error_rate=1, error_status=422)
    with pytest.raises(errors.UnprocessableEntityError):
        client(replica.url, "gpt-4")

    assert provider.counts()["requests"] == 1


@each_client
def test_request_that_no_rate_limit_can_hold_is_not_tried_again(
    replica: ReplicaProcess, raw_provider: RawProvider, client: Callable[..., Any], errors: Any
) -> None:
    error = {"error": {"message": "Limit 30000, Requested 342389", "code": "rate_limit_exceeded"}}
    raw_provider.answer = plain(json.dumps(error).encode(), "429 Too Many Requests")
    with pytest.raises(errors.RateLimitError):
        client(replica.url, "raw")

    assert len(raw_provider.requests) == 1
