"""Requests and replies, as far as the gateway reads them."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.request.calls import NOT_JSON, Kind, parse, tokens_of, with_fields
from tests.support.token_counts import as_counted

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(("stream", "is_stream"), [(True, True), (False, False), (None, False)])
def test_only_true_requests_a_stream(stream: bool | None, is_stream: bool) -> None:
    assert parse(Kind.CHAT, json.dumps({**BODY, "stream": stream}).encode()).is_stream is is_stream


def test_body_is_kept_as_it_came() -> None:
    body = b' {"messages" : [{}], "model":"m" } '

    assert parse(Kind.CHAT, body).body is body


def test_text_outside_ascii_is_welcome() -> None:
    assert (
        parse(Kind.CHAT, json.dumps({**BODY, "model": "modèle-日本"}, ensure_ascii=False).encode()).model
        == "modèle-日本"
    )


def test_deep_nesting_is_an_error_of_the_request() -> None:
    with pytest.raises(InvalidRequest):
        parse(Kind.CHAT, b'{"model": "m", "messages": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}")


@pytest.mark.parametrize("name", ["other", 'quo"ted', "back\\slash", "日本"])
def test_new_name_of_the_model_is_proper_json(name: str) -> None:
    assert json.loads(with_fields(json.dumps(BODY).encode(), {"model": name})) == {**BODY, "model": name}


@pytest.mark.parametrize(
    ("counted", "tokens"),
    [(None, 0), (0, 0), (8, 8), (8.0, 8), (-5, 0), (1e26, 999_999_999)],
)
def test_output_tokens_are_whole_and_bounded(counted: float | None, tokens: int) -> None:
    reply = {"choices": [], "usage": {"completion_tokens": counted}}

    assert tokens_of(Kind.CHAT, json.dumps(reply).encode()).output == tokens


REPLIES = {
    Kind.CHAT: b'{"choices": []}',
    Kind.COMPLETION: b'{"choices": []}',
    Kind.EMBEDDING: b'{"data": []}',
    Kind.MESSAGE: b'{"content": []}',
    Kind.RESPONSE: b'{"output": []}',
}


@pytest.mark.parametrize("kind", Kind)
def test_reply_without_usage_has_no_output_tokens(kind: Kind) -> None:
    assert as_counted(tokens_of(kind, REPLIES[kind])) == (0, 0, 0)


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.RESPONSE])
def test_newer_dialects_name_their_output_tokens_differently(kind: Kind) -> None:
    reply = REPLIES[kind][:-1] + b', "usage": {"input_tokens": 5, "output_tokens": 7}}'

    assert as_counted(tokens_of(kind, reply)) == (5, 7, 0)


@pytest.mark.parametrize("kind", Kind)
def test_reply_of_another_kind_is_ignored(kind: Kind) -> None:
    other = REPLIES[Kind.EMBEDDING if kind is not Kind.EMBEDDING else Kind.CHAT]
    with pytest.raises(NOT_JSON):
        tokens_of(kind, other)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (b"[]", (0, 0, 0)),
        (b'"9"', (0, 0, 0)),
        (b'{"prompt_tokens": "3", "completion_tokens": "4"}', (3, 4, 0)),
        (b'{"prompt_tokens": 3, "completion_tokens": 1e999}', (3, 0, 0)),
        (b'{"prompt_tokens": NaN, "completion_tokens": [4]}', (0, 0, 0)),
        (b'{"prompt_tokens": 3, "completion_tokens": true}', (3, 0, 0)),
        (
            b'{"prompt_tokens": 208, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 314}}',
            (208, 4, 0),
        ),
    ],
)
def test_usage_that_cannot_be_read_fails_no_answer(usage: bytes, tokens: tuple[int, int, int]) -> None:
    assert as_counted(tokens_of(Kind.CHAT, b'{"choices": [], "usage": %b}' % usage)) == tokens


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.CHAT, b'{"choices": [{"message": {"content": "\\ud83d"}, "logprobs": NaN}]}'),
        (Kind.CHAT, b'\xef\xbb\xbf{"choices": []}'),
        (Kind.CHAT, b'{"object": "chat.completion", "choices": null}'),
        (Kind.MESSAGE, b'{"content": "hello"}'),
    ],
)
def test_reply_that_official_clients_take_is_one(kind: Kind, body: bytes) -> None:
    assert as_counted(tokens_of(kind, body)) == (0, 0, 0)


@pytest.mark.parametrize(
    "body", [b'{"choices": "x"}', b'{"choices": {}}', b'{"object": "error"}', b'{"content": "x"}', b"7"]
)
def test_odd_json_is_no_reply(body: bytes) -> None:
    with pytest.raises(NOT_JSON):
        tokens_of(Kind.CHAT, body)


REQUESTS: dict[Kind, dict[str, Any]] = {
    Kind.CHAT: BODY,
    Kind.COMPLETION: {"model": "m", "prompt": "hi"},
    Kind.EMBEDDING: {"model": "m", "input": ["hi"]},
    Kind.MESSAGE: {**BODY, "max_tokens": 10},
    Kind.RESPONSE: {"model": "m", "input": "hi"},
}
MISTAKES: dict[Kind, list[tuple[str, Any]]] = {
    Kind.CHAT: [("messages", []), ("messages", None), ("messages", [1]), ("model", 5), ("stream", "yes")],
    Kind.COMPLETION: [("prompt", []), ("prompt", 5)],
    Kind.EMBEDDING: [("input", None), ("input", []), ("input", {})],
    Kind.MESSAGE: [("max_tokens", -1), ("max_tokens", "5"), ("max_tokens", None), ("messages", "hi")],
    Kind.RESPONSE: [("input", 5), ("model", None)],
}


@pytest.mark.parametrize("kind", Kind)
def test_request_of_each_kind_is_accepted(kind: Kind) -> None:
    call = parse(kind, json.dumps({**REQUESTS[kind], "stream": True, "unknown": 1}).encode())

    assert (call.kind, call.is_stream) == (kind, kind is not Kind.EMBEDDING)


@pytest.mark.parametrize(
    ("kind", "field", "value"), [(kind, *mistake) for kind, mistakes in MISTAKES.items() for mistake in mistakes]
)
def test_mistake_is_named(kind: Kind, field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(kind, json.dumps({**REQUESTS[kind], field: value}).encode())

    assert refused.value.param == field


@pytest.mark.parametrize(
    "second",
    ['"model": "b"', '"Model": "b"', '"MODEL": "b"', '"model": "gpt-4"'],
    ids=["same", "title", "upper", "equal"],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_body_with_two_models_is_refused(second: str, is_first: bool) -> None:
    parts = ['"model": "gpt-4"', '"messages": [{"role": "user", "content": "hi"}]']
    parts.insert(0 if is_first else 2, second)
    with pytest.raises(InvalidRequest) as caught:
        parse(Kind.CHAT, ("{" + ", ".join(parts) + "}").encode())

    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize("content", ['{"model": "x", "Model": "y"}', '"model" "model"', "MODEL"])
def test_model_inside_of_a_messages_content_is_ignored(content: str) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": content}], "metadata": {"model": "z"}}

    assert parse(Kind.CHAT, json.dumps(body).encode()).model == "gpt-4"


def test_tokens_of_a_cache_are_counted_apart() -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "cache_creation_input_tokens": 11, "cache_read_input_tokens": 13}
    reply = {"content": [], "usage": usage}

    assert as_counted(tokens_of(Kind.MESSAGE, json.dumps(reply).encode())) == (5, 7, 24)
