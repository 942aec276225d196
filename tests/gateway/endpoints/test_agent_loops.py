"""Whole agent loops with the official clients: question, calls of tools, their results, answer; plain and streamed,
sync and async, while the conversation moves from one provider's dialect to the other's and back.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess

CALLS = 3
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "number"}}}
FUNCTIONS: Any = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("weather", "time")
]
TOOLS: Any = [{"name": name, "input_schema": SCHEMA} for name in ("weather", "time")]
NAMES = ["weather", "time", "weather"]
INPUTS = [{"city": f'Ålesund "{k}" 日本', "days": 2.5} for k in range(CALLS)]
QUESTION = {"role": "user", "content": "What is it like?"}


class Reply(NamedTuple):
    """What both clients parse, in one form; ``message`` is what goes back into the conversation."""

    text: str
    calls: list[tuple[str, str, Any]]
    reason: str | None
    tokens: tuple[int, int]
    message: dict[str, Any]


Send = Callable[[str, list[Any]], Reply]


def reply_of_openai(completion: Any) -> Reply:
    choice, usage = completion.choices[0], completion.usage
    calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or []]
    message = {"role": "assistant", "content": choice.message.content}
    if calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
            for c in choice.message.tool_calls
        ]
    return Reply(
        choice.message.content or "",
        calls,
        choice.finish_reason,
        (usage.prompt_tokens, usage.completion_tokens),
        message,
    )


def reply_of_anthropic(message: anthropic.types.Message) -> Reply:
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    content = [block.model_dump(include={"type", "text", "id", "name", "input"}) for block in message.content]
    tokens = (message.usage.input_tokens, message.usage.output_tokens)
    return Reply(text, calls, message.stop_reason, tokens, {"role": "assistant", "content": content})


def call_openai(url: str, way: str) -> Send:
    key: Any = {"base_url": f"{url}/v1", "api_key": "any", "max_retries": 0}

    def fields(model: str, messages: list[Any]) -> Any:
        usage = {"stream_options": {"include_usage": True}} if "streamed" in way else {}
        return {"model": model, "messages": messages, "tools": FUNCTIONS, **usage}

    def send(model: str, messages: list[Any]) -> Reply:
        with openai.OpenAI(**key) as client:
            if way == "plain":
                return reply_of_openai(client.chat.completions.create(**fields(model, messages)))
            with client.chat.completions.stream(**fields(model, messages)) as events:
                return reply_of_openai(events.get_final_completion())

    async def send_async(model: str, messages: list[Any]) -> Reply:
        async with openai.AsyncOpenAI(**key) as client:
            if way == "plain, async":
                return reply_of_openai(await client.chat.completions.create(**fields(model, messages)))
            async with client.chat.completions.stream(**fields(model, messages)) as events:
                return reply_of_openai(await events.get_final_completion())

    return (lambda *args: asyncio.run(send_async(*args))) if "async" in way else send


def call_anthropic(url: str, way: str) -> Send:
    key: Any = {"base_url": url, "api_key": "any", "max_retries": 0}

    def fields(model: str, messages: list[Any]) -> Any:
        return {"model": model, "messages": messages, "tools": TOOLS, "max_tokens": 99}

    def send(model: str, messages: list[Any]) -> Reply:
        with anthropic.Anthropic(**key) as client:
            if way == "plain":
                return reply_of_anthropic(client.messages.create(**fields(model, messages)))
            with client.messages.stream(**fields(model, messages)) as events:
                return reply_of_anthropic(events.get_final_message())

    async def send_async(model: str, messages: list[Any]) -> Reply:
        async with anthropic.AsyncAnthropic(**key) as client:
            if way == "plain, async":
                return reply_of_anthropic(await client.messages.create(**fields(model, messages)))
            async with client.messages.stream(**fields(model, messages)) as events:
                return reply_of_anthropic(await events.get_final_message())

    return (lambda *args: asyncio.run(send_async(*args))) if "async" in way else send


def chat_results(calls: list[tuple[str, str, Any]]) -> list[Any]:
    return [{"role": "tool", "tool_call_id": call_id, "content": f"{name}: sunny"} for call_id, name, _ in calls]


def message_results(calls: list[tuple[str, str, Any]]) -> list[Any]:
    content = [{"type": "tool_result", "tool_use_id": id_, "content": f"{name}: sunny"} for id_, name, _ in calls]
    return [{"role": "user", "content": content}]


RESPONSE_TOOLS: Any = [{"type": "function", **each["function"], "strict": False} for each in FUNCTIONS]


def reply_of_responses(response: Any) -> Reply:
    """The reply; its ``message`` holds the output items, each of which goes back into the conversation."""
    calls = [(i.call_id, i.name, json.loads(i.arguments)) for i in response.output if i.type == "function_call"]
    tokens = (response.usage.input_tokens, response.usage.output_tokens)
    items = [item.model_dump(exclude_unset=True) for item in response.output]
    return Reply(response.output_text, calls, response.status, tokens, {"items": items})


def call_responses(url: str, way: str) -> Send:
    key: Any = {"base_url": f"{url}/v1", "api_key": "any", "max_retries": 0}

    def fields(model: str, messages: list[Any]) -> Any:
        items = [item for message in messages for item in message.get("items", [message])]
        return {"model": model, "input": items, "tools": RESPONSE_TOOLS, "store": False}

    def send(model: str, messages: list[Any]) -> Reply:
        with openai.OpenAI(**key) as client:
            if way == "plain":
                return reply_of_responses(client.responses.create(**fields(model, messages)))
            with client.responses.stream(**fields(model, messages)) as events:
                return reply_of_responses(events.get_final_response())

    async def send_async(model: str, messages: list[Any]) -> Reply:
        async with openai.AsyncOpenAI(**key) as client:
            if way == "plain, async":
                return reply_of_responses(await client.responses.create(**fields(model, messages)))
            async with client.responses.stream(**fields(model, messages)) as events:
                return reply_of_responses(await events.get_final_response())

    return (lambda *args: asyncio.run(send_async(*args))) if "async" in way else send


def response_results(calls: list[tuple[str, str, Any]]) -> list[Any]:
    return [{"type": "function_call_output", "call_id": id_, "output": f"{name}: sunny"} for id_, name, _ in calls]


class Client(NamedTuple):
    """``own`` and ``other``: models of providers that speak its dialect, and the other one; ``switch`` begins at the
    first provider, in its own dialect, and falls back to the second, in the other one. For a client of responses both
    are translations, to chat completions and to messages.
    """

    sender: Callable[[str, str], Send]
    results: Callable[[list[tuple[str, str, Any]]], list[Any]]
    reasons: tuple[str, str]
    own: str
    other: str
    switch: str


CLIENTS = {
    "openai": Client(call_openai, chat_results, ("tool_calls", "stop"), "spare", "claude", "gpt-switch"),
    "anthropic": Client(call_anthropic, message_results, ("tool_use", "end_turn"), "claude", "spare", "claude-switch"),
    "responses": Client(
        call_responses, response_results, ("completed", "completed"), "chat-only", "claude", "chat-switch"
    ),
}
WAYS = ["plain", "streamed", "plain, async", "streamed, async"]
each_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def providers(cluster: Cluster) -> list[ProviderProcess]:
    for provider in cluster.providers:
        provider.behave(tool_calls=CALLS, chunks=2)
    return list(cluster.providers)


@each_way
@each_client
def test_parallel_calls_behind_text_are_the_same_from_either_dialect(
    replica: ReplicaProcess, providers: list[ProviderProcess], client: Client, way: str
) -> None:
    send = client.sender(replica.url, way)
    own, other = send(client.own, [QUESTION]), send(client.other, [QUESTION])

    for reply in (own, other):
        assert reply.text == "Hello from provider-1. word"
        assert [name for _, name, _ in reply.calls] == NAMES
        assert [given for _, _, given in reply.calls] == INPUTS
        assert len({call_id for call_id, _, _ in reply.calls}) == CALLS
        assert reply.reason == client.reasons[0]
        assert reply.tokens == (10, 2)


@each_way
@each_client
def test_conversation_moves_between_dialects_in_the_middle_of_a_loop(
    replica: ReplicaProcess, providers: list[ProviderProcess], client: Client, way: str
) -> None:
    """Two questions, each with calls and their results: every request is served by the other provider. Both refuse ids
    that they do not take, and calls without their results.
    """
    send, messages = client.sender(replica.url, way), []
    first, second = providers
    for is_first_up in (True, False):
        first.behave(error_rate=0 if is_first_up else 1)
        messages.append(QUESTION)
        question_reply = send(client.switch, messages)
        messages += [question_reply.message, *client.results(question_reply.calls)]
        first.behave(error_rate=1 if is_first_up else 0)
        answered = send(client.switch, messages)
        messages.append(answered.message)

        assert question_reply.text == f"Hello from provider-{0 if is_first_up else 1}. word"
        assert [given for _, _, given in question_reply.calls] == INPUTS
        assert answered.text == f"Hello from provider-{1 if is_first_up else 0}. word"
        assert (answered.calls, answered.reason) == ([], client.reasons[1])
    assert (first.counts()["succeeded"], second.counts()["succeeded"]) == (2, 2)


@each_way
@pytest.mark.parametrize(("name", "call_id"), [("openai", "functions.weather:0"), ("anthropic", "toolu_" + "x" * 90)])
def test_ids_that_the_other_provider_refuses_are_no_end_of_a_loop(
    replica: ReplicaProcess, providers: list[ProviderProcess], name: str, call_id: str, way: str
) -> None:
    client = CLIENTS[name]
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    use = {"type": "tool_use", "id": call_id, "name": "weather", "input": {}}
    reply = {"content": None, "tool_calls": [call]} if name == "openai" else {"content": [use]}
    made = {"role": "assistant", **reply}
    loop = [QUESTION, made, *client.results([(call_id, "weather", {})])]

    assert client.sender(replica.url, way)(client.other, loop).reason == client.reasons[1]
