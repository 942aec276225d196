"""A plain answer to a streaming request, converted to a stream: some servers ignore `stream`.

Official clients read nothing from such a plain answer. Counting it as a failure would also close the deployment to
clients that do not stream.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED, as_object, as_objects, read
from gateway.request.calls import Kind
from gateway.upstream.sse import DONE


def as_stream(wire: Kind, body: bytes) -> bytes | None:
    """Returns the stream's bytes, None where the body is not an answer of this kind."""
    try:
        answer = as_object(read(body))
    except NOT_DECODED:
        return None
    if wire is Kind.MESSAGE:
        return b"".join(_events(answer)) if isinstance(answer.get("content"), list) else None
    if wire is Kind.RESPONSE or not as_objects(answer.get("choices")):
        return None
    return _data(_chunk(answer) if wire is Kind.CHAT else answer) + b"data: %b\n\n" % DONE


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def _chunk(answer: dict[str, Any]) -> dict[str, Any]:
    """Puts the whole answer into one chunk, with its usage, which clients take from any chunk."""
    choices = [
        {name: value for name, value in choice.items() if name != "message"} | {"delta": _delta(choice)}
        for choice in as_objects(answer["choices"])
    ]
    return {**answer, "object": "chat.completion.chunk", "choices": choices}


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    delta = as_object(choice.get("message"))
    calls = as_objects(delta.get("tool_calls"))
    return {**delta, "tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]} if calls else delta


def _events(message: dict[str, Any]) -> Iterator[bytes]:
    yield _event("message_start", message={**message, "content": [], "stop_reason": None, "stop_sequence": None})
    for index, block in enumerate(as_objects(message["content"])):
        start, deltas = _parts(block)
        yield _event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=ending, usage=as_object(message.get("usage")))
    yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return b"event: %b\n" % name.encode() + _data({"type": name, **fields})


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the start of a block and its deltas. A block of any other type is whole in its start."""
    match block.get("type"):
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text") or ""}]
        case "thinking":
            signature = {"type": "signature_delta", "signature": block.get("signature") or ""}
            thought = {"type": "thinking_delta", "thinking": block.get("thinking") or ""}
            return {**block, "thinking": "", "signature": ""}, [thought, signature]
        case "tool_use":
            used = msgspec.json.encode(block.get("input") or {}).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": used}]
        case _:
            return block, []
