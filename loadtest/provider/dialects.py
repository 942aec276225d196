"""The wire formats of the fake provider: OpenAI and Anthropic calls in, answers, streams and errors out.

Pure values, so that a test can read the wire format without a server. A call is checked as the real service would check
it, because a gateway that omits a required field should get a 400.
"""

import time
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from loadtest.provider import tool_calls
from loadtest.provider.errors import error_fields
from loadtest.provider.state import NO_STATE, State
from loadtest.provider.tool_calls import ToolCall
from loadtest.provider.usage import anthropic_usage, openai_usage

PROMPT_TOKENS = 10
EMBEDDING = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8]
# For invalid UTF-8 inside a string msgspec raises Python's own error.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


class Kind(Enum):
    """The kind of endpoint; the value is its path."""

    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    EMBEDDING = "/v1/embeddings"
    MESSAGE = "/v1/messages"
    RESPONSE = "/v1/responses"


class InvalidCallError(Exception):
    """The service answers 400; the message names the invalid field."""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct, kw_only=True):
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Raw: their contents do not matter here and are not worth decoding.
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)] | None = None
    prompt: str | list[msgspec.Raw] | None = None
    input: str | list[msgspec.Raw] | None = None
    tools: list[msgspec.Raw] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Call(msgspec.Struct, frozen=True):
    kind: Kind
    model: str
    is_stream: bool
    include_usage: bool
    inputs: int
    tools: tuple[str, ...] = ()
    """Names of tools that may be called: none once the conversation holds their results."""
    state: State = NO_STATE
    prompt: tuple[bytes, ...] = ()
    """The parts of the prompt in order, where a cache is to find them."""
    tokens: int = PROMPT_TOKENS
    """Of the prompt."""
    cached: int | None = None
    """Tokens of the prompt that came from the cache; None without one."""


_REQUIRED = {
    Kind.CHAT: ("messages",),
    Kind.COMPLETION: ("prompt",),
    Kind.EMBEDDING: ("input",),
    Kind.MESSAGE: ("messages", "max_tokens"),
    Kind.RESPONSE: ("input",),
}
_decoder = msgspec.json.Decoder(_Request)


def parse(kind: Kind, headers: Mapping[str, str], body: bytes) -> Call:
    """Parses and checks a call. Raises InvalidCallError."""
    try:
        request = _decoder.decode(body)
    except NOT_JSON as error:
        raise InvalidCallError(str(error)) from error
    for field in _REQUIRED[kind]:
        if getattr(request, field) is None:
            raise InvalidCallError(f"{field}: field required")
    if kind is Kind.MESSAGE and "anthropic-version" not in headers:
        raise InvalidCallError("anthropic-version: header is required")
    try:
        tools = _offered(kind, request, body)
    except (*NOT_JSON, ValueError) as error:
        raise InvalidCallError(str(error)) from error
    return Call(
        kind=kind,
        model=request.model,
        is_stream=bool(request.stream) and kind is not Kind.EMBEDDING,
        include_usage=request.stream_options is not None and request.stream_options.include_usage,
        inputs=len(request.input) if isinstance(request.input, list) else 1,
        tools=tools,
        prompt=tuple(bytes(each) for each in request.messages or ()),
    )


def _offered(kind: Kind, request: _Request, body: bytes) -> tuple[str, ...]:
    """Returns the tools that may be called. Decodes messages only where a tool is mentioned, for the sake of speed."""
    if not request.messages or b'"tool' not in body:
        return ()
    check = tool_calls.check_messages if kind is Kind.MESSAGE else tool_calls.check_chat
    check(request.messages)
    return () if tool_calls.has_results(request.messages) else tool_calls.tool_names(request.tools or [])


@lru_cache(maxsize=64)
def words(name: str, chunks: int) -> tuple[str, ...]:
    """Returns one string per content chunk. The first names the provider, so that a person sees which one answered."""
    return (f"Hello from {name}.", *(" word" for _ in range(chunks - 1)))


def render_answer(call: Call, number: int, content: tuple[str, ...], calls: int = 0) -> bytes:
    """Renders a plain answer. ``calls``: the number of tool calls after the text, if the caller offers tools."""
    text = "".join(content)
    match call.kind:
        case Kind.CHAT:
            reply: dict[str, Any] = {"role": "assistant", "content": text}
            if made := tool_calls.made(call.tools, number, calls, "call"):
                reply["tool_calls"] = [each.in_chat(each.arguments) for each in made]
            return _openai_answer(call, number, content, {"message": reply}, "tool_calls" if made else "stop")
        case Kind.COMPLETION:
            return _openai_answer(call, number, content, {"text": text})
        case Kind.EMBEDDING:
            vectors = [{"object": "embedding", "index": i, "embedding": EMBEDDING} for i in range(call.inputs)]
            usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
            return _encode({"object": "list", "data": vectors, "model": call.model, "usage": usage})
        case Kind.MESSAGE:
            message = _anthropic_message(call, number, output_tokens=len(content))
            made = tool_calls.made(call.tools, number, calls, "toolu")
            used = [each.in_messages(msgspec.Raw(each.arguments.encode())) for each in made]
            message["content"] = [{"type": "text", "text": text}, *used]
            message["stop_reason"] = "tool_use" if used else "end_turn"
            return _encode(message)
        case Kind.RESPONSE:
            return _encode(_response(call, number, content))


def render_stream(call: Call, number: int, content: tuple[str, ...], calls: int = 0) -> list[bytes]:
    """Returns the writes of a stream: one for each content chunk and piece of a tool call, and one for the end. The
    first includes the opening events.
    """
    if call.kind is Kind.MESSAGE:
        return _anthropic_stream(call, number, content, tool_calls.made(call.tools, number, calls, "toolu"))
    if call.kind is Kind.RESPONSE:
        return _response_stream(call, number, content)
    return _openai_stream(call, number, content, tool_calls.made(call.tools, number, calls, "call"))


def render_error(kind: Kind | None, status: int, message: str) -> bytes:
    """Renders an error. `kind`: None for an unknown path."""
    return _encode(error_fields(kind is Kind.MESSAGE, status, message, code="" if kind else "unknown_url"))


def render_models(name: str) -> bytes:
    model = {"id": name, "object": "model", "created": 0, "owned_by": "loadtest"}
    return _encode({"object": "list", "data": [model]})


_OPENAI_OBJECTS = {Kind.CHAT: ("chatcmpl", "chat.completion"), Kind.COMPLETION: ("cmpl", "text_completion")}


def _openai_head(call: Call, number: int) -> dict[str, Any]:
    prefix, object_name = _OPENAI_OBJECTS[call.kind]
    if call.is_stream and call.kind is Kind.CHAT:
        object_name += ".chunk"
    return {
        "id": f"{prefix}-{number}",
        "object": object_name,
        "created": int(time.time()),
        "model": call.model,
    }


def _openai_answer(
    call: Call, number: int, content: tuple[str, ...], part: dict[str, Any], finish_reason: str = "stop"
) -> bytes:
    choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish_reason}
    usage = openai_usage(call.tokens, call.cached, len(content))
    return _encode({**_openai_head(call, number), "choices": [choice], "usage": usage})


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _encode(value)


def _openai_stream(call: Call, number: int, content: tuple[str, ...], made: tuple[ToolCall, ...]) -> list[bytes]:
    head = _openai_head(call, number)
    is_chat = call.kind is Kind.CHAT

    def frame(content_part: dict[str, Any], finish_reason: str | None = None) -> bytes:
        part = {"delta": content_part} if is_chat else {"text": content_part.get("content", "")}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish_reason}
        return _data({**head, "choices": [choice]})

    if call.include_usage:
        head["usage"] = None  # as the service sends it in every chunk except for the last
    frames = [frame({"content": text}) for text in content]
    if is_chat:
        frames[0] = frame({"role": "assistant", "content": ""}) + frames[0]
    for index, each in enumerate(made):
        pieces = [{"index": index, "function": {"arguments": piece}} for piece in each.pieces()]
        frames += [frame({"tool_calls": [piece]}) for piece in ({"index": index, **each.in_chat("")}, *pieces)]
    ending = frame({}, "tool_calls" if made else "stop")
    if call.include_usage:
        ending += _data({**head, "choices": [], "usage": openai_usage(call.tokens, call.cached, len(content))})
    return [*frames, ending + DONE]


def _response(call: Call, number: int, content: tuple[str, ...]) -> dict[str, Any]:
    own, state = call.state.own(number), call.state
    part = {"type": "output_text", "text": "".join(content), "annotations": []}
    item = {"type": "message", "id": f"msg_{own}", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": len(content), "total_tokens": PROMPT_TOKENS + len(content)}
    head = {"id": f"resp_{own}", "object": "response", "created_at": int(time.time()), "model": call.model}
    output = [*state.reasoning(number), item]
    return {**head, **state.in_response(), "status": "completed", "output": output, "usage": usage}


def _response_stream(call: Call, number: int, content: tuple[str, ...]) -> list[bytes]:
    whole = _response(call, number, content)
    opening = _named_event("response.created", response={**whole, "status": "in_progress", "output": []})
    frames = [_named_event("response.output_text.delta", output_index=0, delta=text) for text in content]
    frames[0] = opening + frames[0]
    return [*frames, _named_event("response.completed", response=whole)]


def _anthropic_message(call: Call, number: int, output_tokens: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": anthropic_usage(call.tokens, call.cached, output_tokens),
        **call.state.in_message(number),
    }


def _named_event(event: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _encode({"type": event, **fields}))


def _anthropic_stream(call: Call, number: int, content: tuple[str, ...], made: tuple[ToolCall, ...]) -> list[bytes]:
    opening = (
        _named_event("message_start", message=_anthropic_message(call, number, output_tokens=1))
        + _named_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + _named_event("ping")
    )
    frames = [
        _named_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in content
    ]
    frames[0] = opening + frames[0]
    for index, each in enumerate(made, 1):
        start = _named_event("content_block_start", index=index, content_block=each.in_messages({}))
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in each.pieces()]
        frames.append(_named_event("content_block_stop", index=index - 1) + start)
        frames += [_named_event("content_block_delta", index=index, delta=piece) for piece in pieces]
    ending = (
        _named_event("content_block_stop", index=len(made))
        + _named_event(
            "message_delta",
            delta={
                "stop_reason": "tool_use" if made else "end_turn",
                "stop_sequence": None,
                **call.state.in_message(number),
            },
            usage={"output_tokens": len(content)},
        )
        + _named_event("message_stop")
    )
    return [*frames, ending]
