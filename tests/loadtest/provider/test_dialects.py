"""The answers of a healthy provider over the wire, dialect by dialect."""

import json
from typing import Any

import pytest

from tests.loadtest.process import ANTHROPIC, ProviderProcess, Reply, chat_body, message_body


def data_events(reply: Reply) -> list[str]:
    return [line.removeprefix("data: ") for line in reply.body.decode().splitlines() if line.startswith("data: ")]


def chunks(reply: Reply) -> list[Any]:
    return [json.loads(event) for event in data_events(reply)[:-1]]


def test_plain_chat_echoes_the_model_and_reports_usage(provider: ProviderProcess) -> None:
    reply = provider.chat(model="gpt-9")

    assert reply.status == 200
    assert reply.json()["model"] == "gpt-9"
    assert reply.json()["choices"][0]["message"]["content"].startswith("Hello from healthy. word")
    assert reply.json()["usage"] == {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}


def test_chat_stream_ends_with_finish_reason_and_done(provider: ProviderProcess) -> None:
    reply = provider.chat(stream=True)

    assert reply.headers["content-type"] == "text/event-stream"
    assert data_events(reply)[-1] == "[DONE]"
    assert chunks(reply)[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks(reply)[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["model"] for chunk in chunks(reply)} == {"gpt-4"}


def test_stream_carries_the_content_of_the_plain_answer(provider: ProviderProcess) -> None:
    stream = chunks(provider.chat(stream=True))

    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in stream)
    assert text == provider.chat().json()["choices"][0]["message"]["content"]


def test_stream_reports_usage_only_on_request(provider: ProviderProcess) -> None:
    silent = chunks(provider.chat(stream=True))
    asked = chunks(provider.chat(stream=True, stream_options={"include_usage": True}))

    assert not any("usage" in chunk for chunk in silent)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["completion_tokens"] == 8
    assert all(chunk["usage"] is None for chunk in asked[:-1])


def test_completions_answer_plain_and_streamed(provider: ProviderProcess) -> None:
    plain = provider.request("POST", "/v1/completions", {"model": "m", "prompt": "hi"})
    stream = provider.request("POST", "/v1/completions", {"model": "m", "prompt": "hi", "stream": True})

    text = "".join(chunk["choices"][0]["text"] for chunk in chunks(stream))
    assert plain.json()["object"] == "text_completion"
    assert plain.json()["choices"][0]["text"] == text
    assert data_events(stream)[-1] == "[DONE]"


def test_embeddings_give_one_vector_for_each_input(provider: ProviderProcess) -> None:
    one = provider.request("POST", "/v1/embeddings", {"model": "e", "input": "a"})
    three = provider.request("POST", "/v1/embeddings", {"model": "e", "input": ["a", "b", "c"]})

    assert [vector["index"] for vector in one.json()["data"]] == [0]
    assert [vector["index"] for vector in three.json()["data"]] == [0, 1, 2]


def test_model_list_names_the_provider(provider: ProviderProcess) -> None:
    reply = provider.request("GET", "/v1/models")

    assert [model["id"] for model in reply.json()["data"]] == ["healthy"]
    assert provider.counts()["requests"] == 0


def test_plain_message_is_anthropic(provider: ProviderProcess) -> None:
    reply = provider.message(model="claude-9").json()

    assert (reply["type"], reply["model"], reply["stop_reason"]) == ("message", "claude-9", "end_turn")
    assert reply["content"][0]["text"].startswith("Hello from healthy.")
    assert reply["usage"] == {"input_tokens": 10, "output_tokens": 8}


def test_message_stream_names_its_events_in_order(provider: ProviderProcess) -> None:
    reply = provider.message(stream=True)

    names = [line.removeprefix("event: ") for line in reply.body.decode().splitlines() if "event: " in line]
    assert names == [
        *("message_start", "content_block_start", "ping"),
        *["content_block_delta"] * 8,
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert [json.loads(event)["type"] for event in data_events(reply)] == names


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/v1/chat/completions", {"model": "m"}, "messages: field required"),
        ("/v1/chat/completions", {"messages": [{}]}, "missing required field `model`"),
        ("/v1/chat/completions", {"model": "m", "messages": []}, "$.messages"),
        ("/v1/chat/completions", b"{", "truncated"),
        ("/v1/chat/completions", b'{"model":"\xff"}', "can't decode byte"),
        ("/v1/completions", {"model": "m"}, "prompt: field required"),
        ("/v1/embeddings", {"model": "m"}, "input: field required"),
        ("/v1/messages", chat_body(), "max_tokens: field required"),
    ],
)
def test_wrong_field_is_refused_by_name(provider: ProviderProcess, path: str, body: Any, complaint: str) -> None:
    reply = provider.request("POST", path, body, ANTHROPIC)

    assert reply.status == 400
    assert complaint in reply.json()["error"]["message"]
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_message_without_anthropic_version_is_refused(provider: ProviderProcess) -> None:
    reply = provider.request("POST", "/v1/messages", message_body())

    assert reply.status == 400
    assert "anthropic-version" in reply.json()["error"]["message"]


def test_unknown_path_is_a_counted_json_404(provider: ProviderProcess) -> None:
    reply = provider.request("POST", "/v2/chat", chat_body())

    assert reply.status == 404
    assert "/v2/chat" in reply.json()["error"]["message"]
    assert reply.json()["error"]["code"] == "unknown_url"
    assert provider.counts()["by_status"] == {"404": 1}


def test_body_of_many_megabytes_is_read(provider: ProviderProcess) -> None:
    reply = provider.chat(messages=[{"role": "user", "content": "x" * 5_000_000}])

    assert reply.status == 200
