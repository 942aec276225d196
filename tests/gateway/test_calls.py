"""Requests and replies as far as the gateway looks into them."""

import json

import pytest

from gateway.calls import ChatReply, Usage, output_tokens, parse_chat, with_model
from gateway.errors import InvalidRequest

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(("stream", "is_stream"), [(True, True), (False, False), (None, False)])
def test_stream_is_asked_for_by_true_only(stream: bool | None, is_stream: bool) -> None:
    assert parse_chat(json.dumps({**BODY, "stream": stream}).encode()).is_stream is is_stream


def test_body_is_kept_as_it_came() -> None:
    body = b' {"messages" : [{}], "model":"m" } '

    assert parse_chat(body).body is body


def test_text_outside_ascii_is_welcome() -> None:
    assert parse_chat(json.dumps({**BODY, "model": "modèle-日本"}, ensure_ascii=False).encode()).model == "modèle-日本"


def test_deep_nesting_is_an_error_of_the_request() -> None:
    with pytest.raises(InvalidRequest):
        parse_chat(b'{"model": "m", "messages": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}")


@pytest.mark.parametrize("name", ["other", 'quo"ted', "back\\slash", "日本"])
def test_new_name_of_the_model_is_proper_json(name: str) -> None:
    assert json.loads(with_model(json.dumps(BODY).encode(), name)) == {**BODY, "model": name}


@pytest.mark.parametrize(
    ("counted", "tokens"),
    [(None, 0), (0, 0), (8, 8), (8.0, 8), (-5, 0), (1e26, 999_999_999)],
)
def test_output_tokens_are_whole_and_bounded(counted: float | None, tokens: int) -> None:
    assert output_tokens(ChatReply(choices=[], usage=Usage(completion_tokens=counted))) == tokens


def test_reply_without_usage_has_no_output_tokens() -> None:
    assert output_tokens(ChatReply(choices=[])) == 0
