"""The ids that an answer names: what a later request may use, and nothing that no request can."""

import json
from typing import Any

import pytest

from gateway.request.calls import Kind
from gateway.request.named_state import as_encrypted
from gateway.upstream.made_state import made_by_message, made_by_plain_message, made_by_plain_response, made_by_response
from gateway.upstream.stream_content import Preamble
from gateway.upstream.stream_progress import Progress
from shared_state.calls.owned import OWNED_MOST

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "conversation": {"id": "conv_1"},
    "previous_response_id": "resp_0",
    "output": [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
        {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "hi"}]},
    ],
}
ALL = ("resp_1", "conv_1", "cntr_1", as_encrypted("gAAA"), "rs_1", "ci_1", "msg_1", "resp_0")
STATELESS = ("conv_1", "cntr_1", as_encrypted("gAAA"), "resp_0")


def event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def test_plain_response_names_all_that_it_keeps() -> None:
    assert made_by_plain_response(json.dumps(RESPONSE).encode()) == made_by_response(RESPONSE) == ALL


def test_response_that_is_not_stored_names_only_what_can_be_used_without_it() -> None:
    assert made_by_response({**RESPONSE, "store": False}) == STATELESS


@pytest.mark.parametrize("value", [None, 7, [], "x", {}, {"output": 7}, {"id": 7, "output": [7]}, {"id": "r" * 600}])
def test_odd_response_names_nothing(value: Any) -> None:
    assert made_by_response(value) == ()
    assert made_by_plain_response(json.dumps(value).encode()) == ()


def test_names_of_a_long_response_are_bounded() -> None:
    items = [{"type": "message", "id": f"msg_{number}"} for number in range(10_000)]

    assert len(made_by_response({"id": "resp_1", "output": items})) == OWNED_MOST


def test_stream_names_its_response_before_the_first_content_and_the_rest_at_its_end() -> None:
    preamble, progress = Preamble(Kind.RESPONSE), Progress(Kind.RESPONSE)
    begun = {"id": "resp_1", "status": "in_progress", "output": []}
    assert not preamble.feed(event("response.created", response=begun))
    assert preamble.made == ("resp_1",)

    progress.see(event("response.output_text.delta", delta="hi"))
    before = list(progress.made)
    progress.see(event("response.completed", response=RESPONSE))

    assert before == []
    assert progress.made == ALL


def test_message_names_its_container_plain_and_streamed() -> None:
    container = {"id": "container_1", "expires_at": "2027-01-01T00:00:00Z"}
    result = {"type": "code_execution_result", "content": [{"type": "code_execution_output", "file_id": "file_1"}]}
    message = {"id": "msg_1", "content": [{"type": "x_tool_result", "content": result}], "container": container}
    preamble, progress = Preamble(Kind.MESSAGE), Progress(Kind.MESSAGE)
    preamble.feed(event("message_start", message={"id": "msg_1", "container": container}))
    progress.see(event("message_delta", delta={"stop_reason": "end_turn", "container": container}))
    progress.see(event("message_stop"))

    assert made_by_plain_message(json.dumps(message).encode()) == ("container_1", "file_1")
    assert preamble.made == progress.made == ("container_1",)
    assert made_by_message(None) == made_by_plain_message(b'{"container": null}') == made_by_plain_message(b"{") == ()


def test_chat_names_nothing() -> None:
    preamble = Preamble(Kind.CHAT)
    preamble.feed(b'data: {"id":"chatcmpl-1","choices":[{"delta":{"role":"assistant"}}]}\n\n')

    assert preamble.made == ()
