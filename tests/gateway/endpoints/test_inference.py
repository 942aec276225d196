"""Every endpoint and dialect over real sockets, with the clients that OpenAI and Anthropic publish: what they parse and
what they raise is what their users see.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import DONE_EVENT, RawProvider, chunk_event, plain, stream
from tests.support.recorded_streams import CREATED
from tests.support.recorded_streams import TEXT as TEXT_EVENT
from tests.support.wire import Answer

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
MESSAGE: dict[str, Any] = {**CHAT, "max_tokens": 50}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
CLAUDE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_sequence": None}
WORDS = " word" * 7


@pytest.fixture
def chatgpt(replica: ReplicaProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="client-secret", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(replica: ReplicaProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=replica.url, api_key="client-secret", max_retries=0) as client:
        yield client


def post(replica: ReplicaProcess, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return replica.request("POST", path, json.dumps(body).encode(), headers)


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


# -- OpenAI's client --------------------------------------------------------------------------------------------


def test_gpt_that_falls_back_to_claude_is_still_gpt_to_its_client(chatgpt: openai.OpenAI) -> None:
    raw = chatgpt.chat.completions.with_raw_response.create(model="crossed", **CHAT)
    completion = raw.parse()

    assert completion.choices[0].message.content == "Hello from provider-1." + WORDS
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (10, 8)
    assert raw.headers["x-pllm-fallback"] == "crossed>claude"


@pytest.mark.parametrize("include_usage", [True, False])
def test_stream_of_claude_is_chunks(chatgpt: openai.OpenAI, include_usage: bool) -> None:
    with chatgpt.chat.completions.create(
        model="claude", stream=True, stream_options={"include_usage": include_usage}, **CHAT
    ) as chunks:
        received = list(chunks)

    assert "".join(c.choices[0].delta.content or "" for c in received if c.choices) == "Hello from provider-1." + WORDS
    assert [c.choices[0].finish_reason for c in received if c.choices][-1] == "stop"
    assert [c.usage.completion_tokens for c in received if c.usage] == ([8] if include_usage else [])


def test_tool_call_of_claude_is_one_of_openai(chatgpt: openai.OpenAI, raw_provider: RawProvider) -> None:
    answer = {**CLAUDE, "content": [TOOL_USE], "stop_reason": "tool_use"}
    raw_provider.answer = plain(json.dumps(answer | {"usage": {"input_tokens": 5, "output_tokens": 6}}).encode())
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    history: Any = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    completion = chatgpt.chat.completions.create(model="raw-claude", messages=history, tools=[tool])
    call = (completion.choices[0].message.tool_calls or [])[0]
    sent = json.loads(raw_provider.last_body)

    assert call.type == "function"
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == (
        "toolu_1",
        "weather",
        {"city": "Oslo"},
    )
    assert completion.choices[0].finish_reason == "tool_calls"
    assert sent["system"] == "be brief"
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][2]["content"][0]["tool_use_id"] == "call_1"


def test_completions_and_embeddings_pass(chatgpt: openai.OpenAI) -> None:
    completion = chatgpt.completions.create(model="gpt-4", prompt="hi")
    embeddings = chatgpt.embeddings.create(model="gpt-4", input=["a", "b"], encoding_format="float")

    assert completion.choices[0].text == "Hello from provider-0." + WORDS
    assert [len(each.embedding) for each in embeddings.data] == [8, 8]


def test_responses_pass(chatgpt: openai.OpenAI, raw_provider: RawProvider) -> None:
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    content = [{"type": "output_text", "text": "hello", "annotations": []}]
    body = {"id": "r", "object": "response", "model": "raw", "output": [{**item, "content": content}]}
    raw_provider.answer = plain(json.dumps(body).encode())

    assert chatgpt.responses.create(model="raw", input="hi").output_text == "hello"
    assert raw_provider.requests[-1][0].startswith(b"POST /v1/responses ")


ITEM: dict[str, Any] = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
TEXT = {"type": "output_text", "text": "hello", "annotations": []}
RESPONSE: dict[str, Any] = {"id": "r", "object": "response", "model": "raw", "error": None, "output": []}
RESPONSE_EVENTS = [
    event("response.created", response={**RESPONSE, "status": "in_progress"}),
    event("response.output_item.added", output_index=0, item={**ITEM, "status": "in_progress", "content": []}),
    event("response.content_part.added", output_index=0, content_index=0, item_id="m", part={**TEXT, "text": ""}),
    event("response.output_text.delta", output_index=0, content_index=0, item_id="m", delta="hello", logprobs=[]),
    event("response.output_text.done", output_index=0, content_index=0, item_id="m", text="hello", logprobs=[]),
    event("response.content_part.done", output_index=0, content_index=0, item_id="m", part=TEXT),
    event("response.output_item.done", output_index=0, item={**ITEM, "content": [TEXT]}),
]


def completed(status: str) -> bytes:
    whole = {**RESPONSE, "status": status, "output": [{**ITEM, "content": [TEXT]}]}
    return event(f"response.{status}", response={**whole, "usage": {"input_tokens": 1, "output_tokens": 7}})


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_streamed_responses_pass(replica: ReplicaProcess, raw_provider: RawProvider, status: str) -> None:
    raw_provider.answer = stream(*RESPONSE_EVENTS, completed(status))

    async def ask() -> Any:
        async with (
            openai.AsyncOpenAI(base_url=f"{replica.url}/v1", api_key="any") as client,
            client.responses.stream(model="raw", input="hi") as events,
        ):
            return [each async for each in events][-1]

    with (
        openai.OpenAI(base_url=f"{replica.url}/v1", api_key="any") as client,
        client.responses.stream(model="raw", input="hi") as events,
    ):
        last: Any = list(events)[-1]

    for end in (last, asyncio.run(ask())):
        assert (end.type, end.response.output_text) == (f"response.{status}", "hello")


def test_stream_of_responses_that_breaks_ends_in_an_error_event(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(CREATED, TEXT_EVENT)
    answer = post(replica, "/v1/responses", {"model": "raw", "input": "hi", "stream": True})

    assert answer.body.startswith(CREATED + TEXT_EVENT)
    assert answer.body.count(b"event: ") == 3
    last = json.loads(answer.events[-1].split("data: ")[-1])
    assert (last["type"], last["code"], last["sequence_number"]) == ("error", "upstream_error", 5)


def test_endpoint_that_no_provider_has_gets_its_own_error_code(chatgpt: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chatgpt.embeddings.create(model="claude", input="hi")

    assert (caught.value.code, caught.value.param) == ("endpoint_not_supported", "model")


def test_untranslatable_request_is_the_clients_error(chatgpt: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chatgpt.chat.completions.create(model="claude", n=2, **CHAT)

    assert (caught.value.code, caught.value.param) == ("unsupported_value", "n")


def test_request_that_one_provider_cannot_express_goes_to_another(cluster: Cluster, replica: ReplicaProcess) -> None:
    """The Messages client uses a feature that only its own provider has: that one is down, and no other can serve."""
    body = {**MESSAGE, "model": "claude-away", "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    answer = post(replica, "/v1/messages", body)

    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
    assert [each["outcome"] for each in answer.json()["error"]["attempts"]] == ["failure", "client_error"]
    cluster.wait_until_idle()


def test_async_clients_work_as_well(replica: ReplicaProcess) -> None:
    async def ask() -> tuple[str | None, str]:
        async with (
            openai.AsyncOpenAI(base_url=f"{replica.url}/v1", api_key="any") as chatgpt,
            anthropic.AsyncAnthropic(base_url=replica.url, api_key="any") as claude,
        ):
            completion = await chatgpt.chat.completions.create(model="crossed", **CHAT)
            async with claude.messages.stream(model="claude-away", **MESSAGE) as events:
                message = await events.get_final_message()
            return completion.choices[0].message.content, text_of(message)

    assert asyncio.run(ask()) == ("Hello from provider-1." + WORDS, "Hello from provider-1." + WORDS)


# -- Anthropic's client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["claude", "spare", "claude-away"])
def test_claude_of_either_dialect_answers_its_client(claude: anthropic.Anthropic, model: str) -> None:
    message = claude.messages.create(model=model, **MESSAGE)

    assert text_of(message) == "Hello from provider-1." + WORDS
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 10, 8)


@pytest.mark.parametrize("model", ["claude", "spare", "claude-away"])
def test_stream_of_either_dialect_is_events(claude: anthropic.Anthropic, model: str) -> None:
    with claude.messages.stream(model=model, **MESSAGE) as events:
        text = "".join(events.text_stream)
        message = events.get_final_message()

    assert text == text_of(message) == "Hello from provider-1." + WORDS
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 8)


def test_tool_call_of_gpt_is_one_of_anthropic(claude: anthropic.Anthropic, raw_provider: RawProvider) -> None:
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [CALL]}}
    raw_provider.answer = plain(json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode())
    tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
    history: Any = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [TOOL_USE]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]},
    ]
    message = claude.messages.create(model="raw", max_tokens=9, system="be brief", messages=history, tools=[tool])
    block = message.content[0]
    sent = json.loads(raw_provider.last_body)

    assert block.type == "tool_use"
    assert (block.id, block.name, block.input) == ("call_1", "weather", {"city": "Oslo"})
    assert message.stop_reason == "tool_use"
    assert [turn["role"] for turn in sent["messages"]] == ["system", "user", "assistant", "tool"]


ERRORS: dict[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    429: anthropic.RateLimitError,
}


@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("model", ["gpt-4", "claude"])
def test_errors_are_in_the_callers_dialect(
    claude: anthropic.Anthropic, cluster: Cluster, model: str, status: int
) -> None:
    for provider in cluster.providers:
        provider.behave(error_rate=1, error_status=status)
    with pytest.raises(ERRORS[status]) as caught:
        claude.messages.create(model=model, **MESSAGE)

    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"
    assert caught.value.request_id is not None
    assert caught.value.request_id.startswith("req_")


def test_unknown_model_and_missing_field_are_anthropic_errors(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="unknown", **MESSAGE)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        claude.messages.create(model="claude", max_tokens=5, messages=[])


@pytest.mark.parametrize("model", ["claude", "spare"])
def test_stream_that_breaks_is_an_error_of_the_client(
    claude: anthropic.Anthropic, spare: ProviderProcess, model: str
) -> None:
    spare.behave(cut_after_chunks=2)
    with claude.messages.stream(model=model, **MESSAGE) as events, pytest.raises(anthropic.APIError, match="broke off"):
        list(events)


# -- what reaches a provider ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGE)], ids=["chat", "messages"]
)
@pytest.mark.parametrize("model", ["gpt-4", "claude"])
def test_clients_keys_and_headers_never_reach_a_provider(
    cluster: Cluster, replica: ReplicaProcess, path: str, body: dict[str, Any], model: str
) -> None:
    names = ("x-api-key", "cookie", "anthropic-user-profile-id", "openai-other")
    secrets = {"authorization": "Bearer client-secret", **dict.fromkeys(names, "client-secret")}
    assert post(replica, path, {**body, "model": model}, secrets).status == 200
    seen = cluster.providers[model == "claude"].request("GET", "/control").json()["counts"]["last_headers"]

    assert "client-secret" not in str(seen)
    assert "provider-secret" in str(seen)


def test_edition_headers_accompany_an_untranslated_body(cluster: Cluster, replica: ReplicaProcess) -> None:
    edition = {"anthropic-version": "2026-10-21", "anthropic-beta": "context-1m-2025-08-07,other"}
    sent = []
    for model in ("claude", "spare"):
        assert post(replica, "/v1/messages", {**MESSAGE, "model": model}, edition).status == 200
        sent.append(cluster.providers[1].counts()["last_headers"])

    assert {name: sent[0][name] for name in edition} == edition
    assert not [name for name in sent[1] if name.startswith("anthropic")]


def test_translation_is_of_the_edition_it_is_written_for(cluster: Cluster, replica: ReplicaProcess) -> None:
    headers = {"anthropic-version": "2026-10-21"}
    assert post(replica, "/v1/chat/completions", {**CHAT, "model": "claude"}, headers).status == 200

    assert cluster.providers[1].counts()["last_headers"]["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize(("header", "value"), [("anthropic-version", "latest"), ("anthropic-beta", 'a"b')])
def test_edition_that_is_not_well_formed_is_refused(replica: ReplicaProcess, header: str, value: str) -> None:
    answer = post(replica, "/v1/messages", {**MESSAGE, "model": "claude"}, {header: value})

    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_azure_is_called_in_both_of_its_styles(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    for model in ("azure-old", "azure-new"):
        assert replica.chat(model).status == 200
    (old, _), (new, body) = raw_provider.requests

    assert old.startswith(b"POST /openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21 HTTP")
    assert new.startswith(b"POST /openai/v1/chat/completions HTTP")
    assert json.loads(body)["model"] == "gpt"
    assert b"api-key: provider-secret" in old.lower()
    assert b"authorization" not in old.lower()


def test_usage_is_requested_and_removed_from_the_stream_again(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    answer = replica.chat(stream=True)
    sent = provider.request("GET", "/control").json()["counts"]["last_body"]

    assert sent["stream_options"] == {"include_usage": True}
    assert b"usage" not in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_asking_for_usage_leaves_the_other_options_of_a_stream_alone(
    replica: ReplicaProcess, provider: ProviderProcess
) -> None:
    replica.chat(stream=True, stream_options={"include_obfuscation": False})
    sent = provider.request("GET", "/control").json()["counts"]["last_body"]

    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


# -- refusals, clocks and retries -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "served_by"), [("context_length_exceeded", "spare"), ("content_filter", "claude")], ids=str
)
def test_refused_request_continues_on_the_chain_for_its_refusal(
    replica: ReplicaProcess, raw_provider: RawProvider, code: str, served_by: str
) -> None:
    error = {"error": {"message": "no", "type": "invalid_request_error", "code": code}}
    raw_provider.answer = plain(json.dumps(error).encode(), "400 Bad Request")
    answer = replica.chat("raw-chained")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, f"raw-chained>{served_by}")


def test_refusal_in_the_format_of_vllm_continues_on_its_chain(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    error = {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}
    raw_provider.answer = plain(json.dumps(error).encode(), "400 Bad Request")

    assert replica.chat("raw-chained").headers["x-pllm-fallback"] == "raw-chained>spare"


def test_other_faults_of_a_request_go_nowhere(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    error = {"error": {"message": "temperature is too high", "type": "invalid_request_error", "param": "temperature"}}
    raw_provider.answer = plain(json.dumps(error).encode(), "400 Bad Request")
    answer = replica.chat("raw-chained")

    assert (answer.status, answer.error["param"], len(raw_provider.requests)) == (400, "temperature", 1)


def test_exhausted_quota_is_reported_and_must_not_be_retried(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    error = {"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}}
    raw_provider.answer = plain(json.dumps(error).encode(), "429 Too Many Requests")
    answer = replica.chat("raw")

    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.error["attempts"][0]["reason"] == "429 insufficient_quota: pay"


def test_stream_without_a_first_byte_in_time_falls_back(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    answer = replica.chat("silent", stream=True)

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "silent>spare")


def test_stream_that_falls_silent_ends_in_one_error(replica: ReplicaProcess, provider: ProviderProcess) -> None:
    provider.behave(stall_after_chunks=2)
    answer = replica.chat("silent", stream=True)

    assert answer.body.count(b'"upstream_timeout"') == 1
    assert b"[DONE]" not in answer.body


def test_stream_that_thinks_aloud_is_not_silent(claude: anthropic.Anthropic, raw_provider: RawProvider) -> None:
    """Reasoning comes all the time, and the text after it."""
    thought = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}\n\n'
    raw_provider.answer_in_drips(*[thought] * 16, chunk_event("done"), DONE_EVENT)
    with claude.messages.stream(model="raw-lively", **MESSAGE) as events:
        assert text_of(events.get_final_message()) == "done"


def test_stream_of_claude_that_thinks_or_pings_is_not_silent(chatgpt: openai.OpenAI, raw_provider: RawProvider) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    thought = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    text = {"type": "text", "text": "done"}
    raw_provider.answer_in_drips(
        event("message_start", message={**CLAUDE, "content": [], "usage": usage}),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        *[thought] * 10,
        *[event("ping")] * 10,
        event("content_block_start", index=1, content_block=text),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage),
        event("message_stop"),
    )
    with chatgpt.chat.completions.create(model="raw-lively-claude", stream=True, **CHAT) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "done"


def test_event_that_comes_in_pieces_is_no_silence(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    first, long = chunk_event("a"), chunk_event("b" * 16)
    raw_provider.answer_in_drips(first, *[long[k : k + 4] for k in range(0, len(long), 4)], DONE_EVENT)

    assert replica.chat("raw-lively", stream=True).body == first + long + DONE_EVENT


def test_retries_of_clients_are_counted(replica: ReplicaProcess) -> None:
    def counted() -> float:
        lines = replica.get("/metrics").body.decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("pllm_client_retries_total ")))

    before = counted()
    for retry_count in ("0", "1", "2"):
        replica.chat(headers={"x-stainless-retry-count": retry_count})

    assert counted() - before == 2
