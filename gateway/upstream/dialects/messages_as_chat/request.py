"""Translates a Messages request to a chat completion request.

Fields that only tune or label are dropped; the known ones after their types have been checked.
docs/dialects-messages-as-chat.md lists them.
"""

import re
from typing import Annotated, Literal

import msgspec

from gateway.errors import InvalidRequest
from gateway.json.bounds import check_translatable
from gateway.upstream.dialects import json_schemas, known_models, tool_names
from gateway.upstream.dialects.messages_as_chat import thinking as thoughts
from gateway.upstream.dialects.messages_as_chat.blocks import Labelled, Object, TextBlock, Unsupported
from gateway.upstream.dialects.messages_as_chat.system import system_text
from gateway.upstream.dialects.messages_as_chat.turns import ChatMessage, Turn, chat_messages
from gateway.upstream.dialects.vocabulary import COMMON, Vocabulary

_STOPS_MOST = 4  # OpenAI refuses more
_USER_MOST = 64  # characters; OpenAI refuses longer ids, which some clients send
# Fields of betas that change what the request means. Official clients send it without them after this refusal.
_BETAS = ("thread", "container", "mcp_servers")
_PROBLEM_MOST = 200  # characters of a client's value that an error repeats


class _Tool(Labelled, frozen=True):
    """A tool of the client. Tools of other types run at Anthropic."""

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


class _Tuning(Labelled, frozen=True, kw_only=True):
    """Fields that are dropped."""

    top_k: int | None = None
    service_tier: str | None = None
    speed: str | None = None
    context_management: Object | None = None
    diagnostics: Object | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None


class _MessagesRequest(_Tuning, frozen=True):
    """A request. A null counts as an absent field wherever absence is allowed."""

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
    thinking: thoughts.Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _JsonFormat | None = None
    metadata: _Metadata | None = None
    container: str | Object | None = None
    mcp_servers: list[Object] | None = None
    thread: str | Object | None = None
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
    reasoning_effort: str | None = None
    thinking: thoughts.Switch | None = None
    response_format: _ResponseFormat | None = None


_OBJECT = msgspec.Raw(b'"object"')
_request = msgspec.json.Decoder(_MessagesRequest)
_encoder = msgspec.json.Encoder()
_PLACE = re.compile(r" - at `\$\.?([^`]*)`\Z")
_MISSING = re.compile(r"missing required field `(\w+)`")


def request(body: bytes, model: str, vocabulary: Vocabulary = COMMON) -> bytes:
    """Translates a request body. Raises InvalidRequest, which names the place."""
    return _encoder.encode(_translated(_decoded(body), model, vocabulary))


def _decoded(body: bytes) -> _MessagesRequest:
    check_translatable(body)
    try:
        if not body.isascii():
            body.decode()  # the decoder does not check parts that pass as bytes
        return _request.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json") from error


def _explained(error: msgspec.ValidationError) -> InvalidRequest:
    """Renders msgspec's message, which names a place as `$.messages[2].content` and a missing field separately."""
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


def _translated(source: _MessagesRequest, model: str, vocabulary: Vocabulary) -> _ChatRequest:
    _refuse_unsupported(source)
    messages = chat_messages(source.messages, model)
    if not messages:
        raise InvalidRequest("These messages have no content.", param="messages")
    if source.system:
        messages.insert(0, ChatMessage("system", system_text(source.system)))
    user = source.metadata.user_id if source.metadata else None
    has_tools = bool(source.tools)
    choice = source.tool_choice if has_tools else None
    most = vocabulary.max_output or known_models.chat_limit(model)
    max_tokens = min(source.max_tokens, most) if most else source.max_tokens
    return _ChatRequest(
        model=model,
        messages=messages,
        max_tokens=max_tokens if vocabulary.limit_field == "max_tokens" else None,
        max_completion_tokens=max_tokens if vocabulary.limit_field == "max_completion_tokens" else None,
        temperature=source.temperature if vocabulary.has_sampling else None,
        top_p=source.top_p if vocabulary.has_sampling else None,
        stop=source.stop_sequences or None,
        user=user if user and len(user) <= _USER_MOST else None,
        stream=source.stream is True,
        stream_options=_StreamOptions(include_usage=True) if source.stream and vocabulary.has_stream_usage else None,
        tools=[_function(tool) for tool in source.tools] if source.tools else None,
        tool_choice=_tool_choice(choice) if choice else None,
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        reasoning_effort=_effort(source, model, vocabulary) if vocabulary.reasoning == "effort" else None,
        thinking=thoughts.switch(source.thinking) if vocabulary.reasoning == "thinking" else None,
        response_format=_response_format(source),
    )


def _effort(source: _MessagesRequest, model: str, vocabulary: Vocabulary) -> str | None:
    given = source.output_config.effort if source.output_config else None
    has_limited_tools = vocabulary.limits_effort_with_tools and bool(source.tools)
    return thoughts.effort(given, source.thinking, model, has_limited_tools)


def _refuse_unsupported(source: _MessagesRequest) -> None:
    if source.max_tokens == 0:
        message = "max_tokens: 0 only fills the prompt cache: this model's provider always generates an answer."
        raise _unsupported(message, "max_tokens")
    if len(source.stop_sequences or ()) > _STOPS_MOST:
        raise _unsupported(f"This model's provider takes at most {_STOPS_MOST} stop sequences.", "stop_sequences")
    if betas := [name for name in _BETAS if getattr(source, name)]:
        refusal = _unsupported(f"This model's provider has no counterpart for {', '.join(betas)}.", betas[0])
        refusal.facts = {"error_code": "thread_unsupported_request", "unsupported": betas}
        raise refusal
    if source.inference_geo:
        raise _unsupported("This model's provider has no counterpart for this field.", "inference_geo")
    names = {tool.name for tool in source.tools or ()}
    if isinstance(source.tool_choice, _ThisTool) and source.tool_choice.name not in names:
        raise InvalidRequest("No tool has this name.", param="tool_choice.name")
    if isinstance(source.tool_choice, _Any) and not names:
        raise InvalidRequest("There is no tool to choose.", param="tool_choice")


def _unsupported(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_value")


def _function(tool: _Tool) -> _FunctionTool:
    """Translates a tool. OpenAI requires `properties` in every object, even if it has none."""
    is_bare = tool.input_schema.get("type") == _OBJECT and "properties" not in tool.input_schema
    schema = {**tool.input_schema, "properties": msgspec.Raw(b"{}")} if is_bare else tool.input_schema
    if tool.strict:
        schema = json_schemas.for_chat(schema)
    return _FunctionTool(_Function(tool_names.for_chat(tool.name), schema, tool.description, tool.strict))


def _tool_choice(choice: _Choice) -> str | _ThisFunction:
    if isinstance(choice, _ThisTool):
        return _ThisFunction(_Name(tool_names.for_chat(choice.name)))
    return {_Auto: "auto", _Any: "required", _NoTool: "none"}[type(choice)]


def _response_format(source: _MessagesRequest) -> _ResponseFormat | None:
    """Translates an output format. It is strict, because the Messages API promises an answer that fits the schema."""
    wanted = source.output_format or (source.output_config.format if source.output_config else None)
    return _ResponseFormat(_JsonSchema("answer", json_schemas.for_chat(wanted.schema), strict=True)) if wanted else None
