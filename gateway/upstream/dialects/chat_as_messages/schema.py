"""Chat completion requests as a client writes them: every field that is translated, refused, or dropped after its type
has been checked.

The decoder checks types and tags, so the translation sees valid values only. The place in its error message becomes the
`param` of the response.
"""

import re
from typing import Annotated, Literal

import msgspec

from gateway.errors import InvalidRequest
from gateway.json.bounds import check_translatable

Limit = Annotated[int, msgspec.Meta(ge=1)]
Object = dict[str, msgspec.Raw]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    prompt_cache_breakpoint: Object | None = None
    cache_control: Object | None = None  # Anthropic's, which clients of many providers add


class TextPart(Part, frozen=True, tag_field="type", tag="text"):
    text: str


class RefusalPart(Part, frozen=True, tag_field="type", tag="refusal"):
    refusal: str


class ImageUrl(msgspec.Struct, frozen=True):
    url: str
    detail: str | None = None


class ImagePart(Part, frozen=True, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class File(msgspec.Struct, frozen=True):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class FilePart(Part, frozen=True, tag_field="type", tag="file"):
    file: File


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str | Object  # JSON in a string; some servers send the object itself, and clients send it back


class ToolCall(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    id: str
    function: CalledFunction


class Named(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    cache_control: Object | None = None


class SystemMessage(Named, frozen=True, tag_field="role", tag="system"):
    content: str | list[TextPart]


class DeveloperMessage(SystemMessage, frozen=True, tag_field="role", tag="developer"):
    pass


class UserMessage(Named, frozen=True, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart | FilePart]


class AssistantMessage(Named, frozen=True, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_details: msgspec.Raw = msgspec.Raw(b"null")
    function_call: object = None
    audio: object = None


class ToolMessage(Named, frozen=True, tag_field="role", tag="tool"):
    content: str | list[TextPart]
    tool_call_id: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Function(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None
    cache_control: Object | None = None


class Tool(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    function: Function
    cache_control: Object | None = None


class FunctionName(msgspec.Struct, frozen=True):
    name: str


class NamedTool(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    function: FunctionName


class AllowedTools(msgspec.Struct, frozen=True):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedToolsChoice(msgspec.Struct, frozen=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    pass


class JsonSchema(msgspec.Struct, frozen=True):
    schema: Object | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, frozen=True):
    include_obfuscation: bool | None = None


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are dropped."""

    verbosity: str | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    prediction: Object | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: str | None = None
    stream_options: StreamOptions | None = None


class ChatRequest(Tuning, frozen=True):
    """A request. Fields of type object are refused, whatever they hold."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedToolsChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    audio: object = None
    functions: object = None
    function_call: object = None
    moderation: object = None
    web_search_options: object = None


_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")  # at the end, because the text before it may quote the client
_MISSING = re.compile(r"^Object missing required field `(\w+)`")
_request = msgspec.json.Decoder(ChatRequest)


def parse(body: bytes) -> ChatRequest:
    """Parses a request body. Raises InvalidRequest, which names the field."""
    check_translatable(body)
    try:
        if not body.isascii():
            body.decode()  # the decoder does not check JSON schemas, which pass as bytes
        return _request.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error


def unsupported(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_value")


def _explained(problem: str) -> InvalidRequest:
    """Renders msgspec's message, which names the object of a missing field, but a mistyped field itself."""
    place, missing = _PLACE.search(problem), _MISSING.search(problem)
    names = [match[1] for match in (place, missing) if match]
    is_unknown = problem.startswith(("Invalid value", "Invalid enum value"))
    return InvalidRequest(
        f"Invalid request body: {problem}",
        param=".".join(name for name in names if name) or None,
        code="unsupported_value" if is_unknown else None,
    )
