"""The ids with which an answer names what its provider keeps: the response, its conversation, items, containers, files,
and encrypted reasoning. A later request that names one of them has to reach the same account.
"""

from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED, as_object, as_objects, read
from gateway.request.named_state import Item, as_encrypted, as_id, given
from shared_state.calls.owned import OWNED_MOST


class _Response(msgspec.Struct, frozen=True):
    id: Any = None
    store: Any = None
    conversation: Any = None
    previous_response_id: Any = None
    output: list[Item] = []


_response = msgspec.json.Decoder(_Response)


def made_by_plain_response(body: bytes) -> tuple[str, ...]:
    """Returns the names in a plain answer; none where it is odd."""
    try:
        return _made_by_response(_response.decode(body))
    except NOT_DECODED:
        return ()


def made_by_response(value: object) -> tuple[str, ...]:
    """Returns the names in the response of an event."""
    try:
        return _made_by_response(msgspec.convert(value, _Response))
    except NOT_DECODED:
        return ()


def _made_by_response(response: _Response) -> tuple[str, ...]:
    """Only a stored response and its items can be named by their ids."""
    is_stored, output = response.store is not False, response.output
    names = [as_id(response.id) if is_stored else None, as_id(response.conversation)]
    names += [as_id(item.container_id) for item in output]
    names += [as_encrypted(item.encrypted_content) for item in output]
    names += [as_id(item.id) for item in output if is_stored]
    names.append(as_id(response.previous_response_id))  # which the provider has found
    return given(names, OWNED_MOST)


def made_by_message(value: object) -> tuple[str, ...]:
    """Returns the container in a message, or in the end of one, and the files in its content."""
    message = as_object(value)
    names = [as_id(message.get(key)) for key in ("container", "thread")]
    results = [as_object(block.get("content")) for block in as_objects(message.get("content"))]
    names += [as_id(file.get("file_id")) for result in results for file in as_objects(result.get("content"))]
    return given(names, OWNED_MOST)


def made_by_first_event(value: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names in the first event of a stream, `response.created` or `message_start`."""
    return made_by_response(value["response"]) if "response" in value else made_by_message(value.get("message"))


def made_by_plain_message(body: bytes) -> tuple[str, ...]:
    if b'"container"' not in body and b'"thread"' not in body:
        return ()
    try:
        return made_by_message(read(body))
    except NOT_DECODED:
        return ()
