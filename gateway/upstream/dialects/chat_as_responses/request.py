"""Translates a chat completion request to a request for a response.

docs/dialects-chat-as-responses.md lists the rules.
"""

from typing import Any

import msgspec

from gateway.upstream.dialects.chat_as_messages.schema import (
    AllowedToolsChoice,
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Object,
    Tool,
    parse,
    unsupported,
)
from gateway.upstream.dialects.chat_as_responses.items import Item, items_of

OUTPUT_LEAST = 16  # tokens; OpenAI refuses a lower limit
_NO_PARAMETERS: Object = {"type": msgspec.Raw(b'"object"'), "properties": msgspec.Raw(b"{}")}
_FORMAT_NAME = "answer"  # of a format without a name, which OpenAI requires


class _FunctionTool(msgspec.Struct, frozen=True, tag="function", omit_defaults=True):
    name: str
    parameters: Object
    strict: bool  # without it responses are strict, and chat completions are not
    description: str | None = None


class _SchemaFormat(msgspec.Struct, frozen=True, tag="json_schema", omit_defaults=True):
    name: str
    schema: Object
    strict: bool
    description: str | None = None


class _Text(msgspec.Struct, frozen=True, omit_defaults=True):
    format: JsonObjectFormat | _SchemaFormat | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct, frozen=True):
    effort: str


class _Named(msgspec.Struct, frozen=True, tag="function"):
    name: str


class _Allowed(msgspec.Struct, frozen=True, tag="allowed_tools"):
    mode: str
    tools: list[_Named]


class _ResponseRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    model: str
    input: list[Item]
    store: bool
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool = False
    tools: list[_FunctionTool] | None = None
    tool_choice: str | _Named | _Allowed | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


def request(body: bytes, model: str, *, has_sampling: bool = True) -> bytes:
    """Translates a request body. ``has_sampling``: the model accepts `temperature` and `top_p`. Raises
    InvalidRequest.
    """
    chat = parse(body)
    _refuse_unsupported(chat)
    limit = chat.max_completion_tokens or chat.max_tokens
    return msgspec.json.encode(
        _ResponseRequest(
            model=model,
            input=items_of(chat.messages),
            store=chat.store is True,
            max_output_tokens=max(limit, OUTPUT_LEAST) if limit else None,
            temperature=chat.temperature if has_sampling else None,
            top_p=chat.top_p if has_sampling else None,
            stream=chat.stream is True,
            tools=[_tool(tool) for tool in chat.tools] if chat.tools else None,
            tool_choice=_choice(chat),
            parallel_tool_calls=chat.parallel_tool_calls if chat.tools else None,
            text=_text(chat),
            reasoning=_Reasoning(chat.reasoning_effort) if chat.reasoning_effort else None,
            metadata=chat.metadata,
            service_tier=chat.service_tier,
            prompt_cache_key=chat.prompt_cache_key,
            safety_identifier=chat.safety_identifier,
            user=chat.user,
        )
    )


def _refuse_unsupported(chat: ChatRequest) -> None:
    """Refuses fields without a counterpart, where dropping the field would give another answer than requested."""
    if chat.n not in (None, 1):
        raise unsupported("n", "Only one choice can be generated.")
    if chat.stop:
        raise unsupported("stop", "This model's provider has no stop sequences.")
    if chat.logprobs or chat.top_logprobs:
        param = "logprobs" if chat.logprobs else "top_logprobs"
        raise unsupported(param, "Log probabilities are not available for this model.")
    if any(modality != "text" for modality in chat.modalities or ()):
        raise unsupported("modalities", "Only text can be generated.")
    for param in ("audio", "functions", "function_call", "moderation", "web_search_options"):
        if getattr(chat, param) is not None:
            instead = ": use tools and tool_choice" if param.startswith("function") else ""
            raise unsupported(param, f"{param} is not supported by this model{instead}.")


def _tool(tool: Tool) -> _FunctionTool:
    function = tool.function
    parameters = function.parameters or _NO_PARAMETERS
    return _FunctionTool(function.name, parameters, function.strict is True, function.description)


def _choice(chat: ChatRequest) -> Any:
    choice = chat.tool_choice
    if not chat.tools:
        if choice in (None, "none", "auto"):
            return None
        raise unsupported("tool_choice", "A tool can be chosen only where tools are given.")
    if isinstance(choice, NamedTool):
        return _Named(choice.function.name)
    if isinstance(choice, AllowedToolsChoice):
        allowed = choice.allowed_tools
        return _Allowed(allowed.mode, [_Named(tool.function.name) for tool in allowed.tools])
    return choice


def _text(chat: ChatRequest) -> _Text | None:
    wanted = chat.response_format
    written: JsonObjectFormat | _SchemaFormat | None = wanted if isinstance(wanted, JsonObjectFormat) else None
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.json_schema
        if schema.schema is None:
            raise unsupported("response_format.json_schema.schema", "This model needs a schema.")
        strict = schema.strict is True
        written = _SchemaFormat(schema.name or _FORMAT_NAME, schema.schema, strict, schema.description)
    return _Text(written, chat.verbosity) if written or chat.verbosity else None
