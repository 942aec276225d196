"""A Messages request as a chat completion request.

A field that only tunes or labels is dropped, if it is known here not before its type has been checked;
docs/dialects-messages-as-chat.md lists them.
"""

import re
from typing import Annotated, Literal

import msgspec

from gateway.configuration.provider import LimitField
from gateway.errors import InvalidRequest
from gateway.json.bounds import check_translatable
from gateway.upstream.dialects.messages_as_chat.blocks import Labelled, Object, TextBlock, Unsupported
from gateway.upstream.dialects.messages_as_chat.turns import ChatMessage, Turn, chat_messages, paragraphs

_STOPS_MOST = 4  # more are refused by OpenAI
_USER_MOST = 64  # characters; longer ones are refused by OpenAI, and some clients send more
_PROBLEM_MOST = 200  # characters of a client's value that are repeated to it


class _Tool(Labelled, frozen=True):
    """Of any other type, the tool runs at Anthropic."""

    name: str
    input_schema: Object
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[Object] | None = None


class _Choice(msgspec.Struct, frozen=True):
    disable_parallel_tool_use: bool | None = None


class _Auto(_Choice, frozen=True, tag="auto"):
    pass


class _Any(_Choice, frozen=True, tag="any"):
    pass


class _NoTool(_Choice, frozen=True, tag="none"):
    pass


class _ThisTool(_Choice, frozen=True, tag="tool", kw_only=True):
    name: str


class _JsonFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    schema: Object


class _OutputConfig(msgspec.Struct, frozen=True):
    format: _JsonFormat | None = None
    effort: str | None = None


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


class _Thinking(msgspec.Struct, frozen=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Tuning(Labelled, frozen=True, kw_only=True):
    """What is dropped."""

    top_k: int | None = None
    thinking: _Thinking | None = None
    service_tier: str | None = None
    speed: str | None = None
    context_management: Object | None = None
    diagnostics: Object | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None


class _MessagesRequest(_Tuning, frozen=True):
    """A null counts as a field left out wherever leaving it out is allowed."""

    model: str
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    messages: Annotated[list[Turn], msgspec.Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Auto | _Any | _NoTool | _ThisTool | None = None
    output_config: _OutputConfig | None = None
    output_format: _JsonFormat | None = None
    metadata: _Metadata | None = None
    container: str | Object | None = None
    mcp_servers: list[Object] | None = None
    inference_geo: str | None = None


class _Function(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    parameters: Object
    description: str | None = None
    strict: bool | None = None


class _FunctionTool(msgspec.Struct, frozen=True, tag="function"):
    function: _Function


class _Name(msgspec.Struct, frozen=True):
    name: str


class _ThisFunction(msgspec.Struct, frozen=True, tag="function"):
    function: _Name


class _JsonSchema(msgspec.Struct, frozen=True):
    name: str
    schema: Object
    strict: bool


class _ResponseFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    json_schema: _JsonSchema


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool


class _ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    model: str
    messages: list[ChatMessage]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    user: str | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    tools: list[_FunctionTool] | None = None
    tool_choice: str | _ThisFunction | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None


_OBJECT = msgspec.Raw(b'"object"')
_request = msgspec.json.Decoder(_MessagesRequest)
_encoder = msgspec.json.Encoder()
_PLACE = re.compile(r" - at `\$\.?([^`]*)`\Z")
_MISSING = re.compile(r"missing required field `(\w+)`")


class Vocabulary(msgspec.Struct, frozen=True):
    """What a provider of chat completions knows: the name of the limit of tokens, whether a stream may be asked for its
    usage, and whether `temperature` and `top_p` may be set.
    """

    limit_field: LimitField = "max_tokens"
    has_stream_usage: bool = True
    has_sampling: bool = True


_COMMON = Vocabulary()


def request(body: bytes, model: str, known: Vocabulary = _COMMON) -> bytes:
    """Raises InvalidRequest, naming the place."""
    return _encoder.encode(_translated(_decoded(body), model, known))


def _decoded(body: bytes) -> _MessagesRequest:
    check_translatable(body)
    try:
        if not body.isascii():
            body.decode()  # what is passed on unseen is not checked by the decoder
        return _request.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error


def _explained(error: msgspec.ValidationError) -> InvalidRequest:
    """msgspec names the place as `$.messages[2].content`, and a missing field apart from it."""
    problem = str(error)
    place = _PLACE.search(problem)
    missing = _MISSING.search(problem)
    cause = error.__cause__
    field = cause.field if isinstance(cause, Unsupported) else missing and missing[1]
    param = ".".join(name for name in (place and place[1], field) if name) or None
    words = (problem[: place.start()] if place else problem)[:_PROBLEM_MOST]
    if isinstance(cause, Unsupported):
        return InvalidRequest(f"{words}.", param=param, code="unsupported_value")
    if problem.startswith(("Invalid value", "Invalid enum value")):
        unknown = f"{words}: unknown, or without a counterpart at this model's provider."
        return InvalidRequest(unknown, param=param, code="unsupported_value")
    return InvalidRequest(f"Invalid request body: {words}", param=param)


def _translated(asked: _MessagesRequest, model: str, known: Vocabulary) -> _ChatRequest:
    _refuse_unsupported(asked)
    messages = chat_messages(asked.messages)
    if not messages:
        raise InvalidRequest("Nothing is said in these messages.", param="messages")
    if asked.system:
        messages.insert(0, ChatMessage("system", paragraphs(asked.system)))
    user = asked.metadata.user_id if asked.metadata else None
    has_tools = bool(asked.tools)
    choice = asked.tool_choice if has_tools else None
    return _ChatRequest(
        model=model,
        messages=messages,
        max_tokens=asked.max_tokens if known.limit_field == "max_tokens" else None,
        max_completion_tokens=asked.max_tokens if known.limit_field == "max_completion_tokens" else None,
        temperature=asked.temperature if known.has_sampling else None,
        top_p=asked.top_p if known.has_sampling else None,
        stop=asked.stop_sequences or None,
        user=user if user and len(user) <= _USER_MOST else None,
        stream=asked.stream is True,
        stream_options=_StreamOptions(include_usage=True) if asked.stream and known.has_stream_usage else None,
        tools=[_function(tool) for tool in asked.tools] if asked.tools else None,
        tool_choice=_tool_choice(choice) if choice else None,
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        response_format=_response_format(asked),
    )


def _refuse_unsupported(asked: _MessagesRequest) -> None:
    if asked.max_tokens == 0:
        message = "max_tokens: 0 only fills the prompt cache: this model's provider always generates an answer."
        raise _unsupported(message, "max_tokens")
    if len(asked.stop_sequences or ()) > _STOPS_MOST:
        raise _unsupported(f"This model's provider takes at most {_STOPS_MOST} stop sequences.", "stop_sequences")
    for name in ("container", "mcp_servers", "inference_geo"):
        if getattr(asked, name):
            raise _unsupported("This model's provider has no counterpart for it.", name)
    names = {tool.name for tool in asked.tools or ()}
    if isinstance(asked.tool_choice, _ThisTool) and asked.tool_choice.name not in names:
        raise InvalidRequest("No tool has this name.", param="tool_choice.name")
    if isinstance(asked.tool_choice, _Any) and not names:
        raise InvalidRequest("There is no tool to choose.", param="tool_choice")


def _unsupported(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_value")


def _function(tool: _Tool) -> _FunctionTool:
    """OpenAI takes no object without `properties`, be there none."""
    is_bare = tool.input_schema.get("type") == _OBJECT and "properties" not in tool.input_schema
    schema = {**tool.input_schema, "properties": msgspec.Raw(b"{}")} if is_bare else tool.input_schema
    return _FunctionTool(_Function(tool.name, schema, tool.description, tool.strict))


def _tool_choice(choice: _Choice) -> str | _ThisFunction:
    if isinstance(choice, _ThisTool):
        return _ThisFunction(_Name(choice.name))
    return {_Auto: "auto", _Any: "required", _NoTool: "none"}[type(choice)]


def _response_format(asked: _MessagesRequest) -> _ResponseFormat | None:
    """Strict, because the Messages API promises that the answer fits the schema."""
    wanted = asked.output_format or (asked.output_config.format if asked.output_config else None)
    return _ResponseFormat(_JsonSchema("answer", wanted.schema, strict=True)) if wanted else None
