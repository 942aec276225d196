"""Requests for a response as a client writes them: every field that is translated, refused, or dropped after its type
has been checked.

Input items and tools are decoded one by one, by their type: see `items.py` and `tools.py`.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from gateway.errors import InvalidRequest
from gateway.json.bounds import check_translatable

Object = dict[str, msgspec.Raw]
T = TypeVar("T")

_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")  # at the end, because the text before it may quote the client
_MISSING = re.compile(r"^Object missing required field `(\w+)`")
_PROBLEM_MOST = 200  # characters of a client's value that an error repeats


class TextFormat(msgspec.Struct, frozen=True, tag="text"):
    pass


class JsonObjectFormat(msgspec.Struct, frozen=True, tag="json_object"):
    pass


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    name: str
    schema: Object
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, frozen=True):
    format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct, frozen=True):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_obfuscation: bool | None = None


class ContextManagement(msgspec.Struct, frozen=True):
    type: str
    compact_threshold: int | None = None


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are dropped."""

    access_programs: Object | None = None
    background_options: Object | None = None
    client_metadata: Object | None = None
    context_management: list[ContextManagement] | None = None
    image: Object | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    stream_options: StreamOptions | None = None
    truncation: str | None = None


class ResponseRequest(Tuning, frozen=True):
    """A request. Fields of type object are refused unless they are null or false."""

    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = msgspec.Raw(b"null")
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    store: bool | None = None
    top_logprobs: int | None = None
    safety_identifier: str | None = None
    user: str | None = None
    background: object = None
    conversation: object = None
    moderation: object = None
    previous_response_id: object = None
    prompt: object = None


_request = msgspec.json.Decoder(ResponseRequest)


def parse(body: bytes) -> ResponseRequest:
    """Parses a request body. Raises InvalidRequest, which names the field."""
    check_translatable(body)
    try:
        if not body.isascii():
            body.decode()  # the decoder does not check JSON schemas, which pass as bytes
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error
    return decoded(_request, body, "")


def decoded(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, place: str) -> T:
    """Decodes a part of a body. ``place``: where it stands. Raises InvalidRequest, which names the field."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _explained(str(error), place) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error


def unsupported(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_value")


def _explained(problem: str, place: str) -> InvalidRequest:
    """Renders msgspec's message, which names the object of a missing field, but a mistyped field itself."""
    inner, missing = _PLACE.search(problem), _MISSING.search(problem)
    names = [place, *(match[1] for match in (inner, missing) if match)]
    param = ".".join(name for name in names if name).replace(".[", "[") or None
    words = (problem[: inner.start()] if inner else problem)[:_PROBLEM_MOST]
    if problem.startswith(("Invalid value", "Invalid enum value")):
        unknown = f"{words}: unknown, or without a counterpart at this model's provider."
        return InvalidRequest(unknown, param=param, code="unsupported_value")
    return InvalidRequest(f"Invalid request body: {words}", param=param)


class _Typed(msgspec.Struct, frozen=True):
    type: str | None = None


_typed = msgspec.json.Decoder(_Typed)


class Kinds:
    """The kinds of a thing, by the type in it. ``default``: the type of a thing that names none; ``refused``:
    why others are refused.
    """

    def __init__(
        self, kinds: dict[str, Any], default: str | None = None, refused: dict[str, str] | None = None
    ) -> None:
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in kinds.items()}
        self._default = default
        self._refused = refused or {}

    def decode(self, raw: msgspec.Raw, place: str) -> Any:
        """Returns the thing. Raises InvalidRequest for one of an unknown kind, or with an invalid field."""
        kind = decoded(_typed, raw, place).type or self._default
        decoder = self._decoders.get(kind or "")
        if decoder is None:
            shown = (kind or "")[:100]
            message = f"`{shown}` has no counterpart at this model's provider." if kind else "The type is missing."
            raise unsupported(f"{place}.type", self._refused.get(kind or "", message))
        return decoded(decoder, raw, place)


Status = Literal["in_progress", "completed", "incomplete"]
