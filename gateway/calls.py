"""Wire schemas of requests and replies: only the fields the gateway looks at. Everything else passes as bytes."""

import re
from typing import Annotated

import msgspec

from gateway.errors import InvalidRequest


class ChatRequest(msgspec.Struct, frozen=True):
    """The peeked part of a chat completion request. Messages are checked to be a non-empty list of objects."""

    model: str
    messages: Annotated[list[dict[str, msgspec.Raw]], msgspec.Meta(min_length=1)]
    stream: bool | None = None


class Call(msgspec.Struct, frozen=True):
    """One parsed request: what to route, and the body as it came."""

    model: str
    is_stream: bool
    body: bytes


class Usage(msgspec.Struct, frozen=True):
    """A float or null from an imitator of OpenAI makes no difference to the answer."""

    completion_tokens: float | None = None


class ChatReply(msgspec.Struct, frozen=True):
    """A plain reply. ``choices`` must be there: JSON of another kind is not an answer."""

    choices: list[msgspec.Raw]
    usage: Usage | None = None


class UpstreamError(msgspec.Struct, frozen=True):
    """The error object of OpenAI and its imitators (vLLM sends an integer code)."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class ErrorReply(msgspec.Struct, frozen=True):
    error: UpstreamError


# What decoding raises: wrong UTF-8 and too many levels come as Python's own errors.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

OUTPUT_TOKENS_MOST = 999_999_999

_FIELD = re.compile(r"missing required field `(\w+)`|at `\$\.(\w+)")
_chat = msgspec.json.Decoder(ChatRequest)
chat_reply = msgspec.json.Decoder(ChatReply)
error_reply = msgspec.json.Decoder(ErrorReply)


def parse_chat(body: bytes) -> Call:
    """Raises InvalidRequest, naming the field."""
    try:
        if not body.isascii():
            body.decode()  # what is passed on unseen is not checked by the decoder
        request = _chat.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from error
    except NOT_JSON as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error
    return Call(request.model, request.stream is True, body)


def output_tokens(reply: ChatReply) -> int:
    """As the provider counted them; 0 when it did not, and within what the store can add up."""
    tokens = reply.usage.completion_tokens if reply.usage else None
    return int(min(max(tokens or 0, 0), OUTPUT_TOKENS_MOST))


def _explained(problem: str) -> InvalidRequest:
    """msgspec's words name the field as `$.messages` or in backquotes; OpenAI's `param` wants it bare."""
    found = _FIELD.search(problem)
    param = found[1] or found[2] if found else None
    return InvalidRequest(f"Invalid request body: {problem}", param=param)


def with_model(body: bytes, model: str) -> bytes:
    """The same request for another model name; every other value keeps its bytes."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)
