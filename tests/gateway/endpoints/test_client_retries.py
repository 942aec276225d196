"""The official clients decide by our headers whether to try again and when: here with their own retries switched on."""

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


def openai_asks(url: str, model: str, **fields: Any) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=RETRIES) as client:
        return client.chat.completions.create(model=model, **CHAT, **fields)


def openai_asks_async(url: str, model: str, **fields: Any) -> Any:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=RETRIES) as client:
            return await client.chat.completions.create(model=model, **CHAT, **fields)

    return asyncio.run(ask())


def anthropic_asks(url: str, model: str, **fields: Any) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=RETRIES) as client:
        return client.messages.create(model=model, **MESSAGE, **fields)


def anthropic_asks_async(url: str, model: str, **fields: Any) -> Any:
    async def ask() -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=RETRIES) as client:
            return await client.messages.create(model=model, **MESSAGE, **fields)

    return asyncio.run(ask())


each_client = pytest.mark.parametrize(
    ("client", "errors"),
    [
        (openai_asks, openai),
        (openai_asks_async, openai),
        (anthropic_asks, anthropic),
        (anthropic_asks_async, anthropic),
    ],
)


@each_client
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_what_every_candidate_failed_is_not_tried_again(
    replica: ReplicaProcess, provider: ProviderProcess, client: Callable[..., Any], errors: Any, is_stream: bool
) -> None:
    provider.behave(error_rate=1)
    with pytest.raises(errors.InternalServerError) as caught:
        client(replica.url, "gpt-4", stream=is_stream)

    assert caught.value.status_code == 502
    assert provider.counts()["requests"] == 1


@each_client
def test_throttled_request_is_tried_again_when_the_provider_said(
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
