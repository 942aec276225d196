"""Translates a request for a response to a chat completion request.

docs/dialects-responses-as-chat.md lists the rules.
"""

import msgspec

from gateway.errors import InvalidRequest
from gateway.upstream.dialects import known_models
from gateway.upstream.dialects.responses_as_chat.items import ITEMS, AdditionalTools, Message
from gateway.upstream.dialects.responses_as_chat.schema import (
    JsonObjectFormat,
    JsonSchemaFormat,
    Object,
    ResponseRequest,
    parse,
    unsupported,
)
from gateway.upstream.dialects.responses_as_chat.tools import ChatTool, ThisFunction, Tools, chosen, tools_of
from gateway.upstream.dialects.responses_as_chat.turns import ChatMessage, Placed, Turns
from gateway.upstream.dialects.vocabulary import COMMON, Vocabulary

_USER_MOST = 64  # characters; OpenAI refuses longer ids
_MORE_TOOLS = b"additional_tools"  # a type of input items
_LOGPROBS = "message.output_text.logprobs"
_STATE = {
    "previous_response_id": "send the whole conversation in input",
    "conversation": "send the whole conversation in input",
    "prompt": "send the instructions and the input themselves",
    "background": "leave it out, or stream the answer",
    "moderation": "leave it out",
}


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool


class _JsonSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    schema: Object
    description: str | None = None
    strict: bool | None = None


class _SchemaFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    json_schema: _JsonSchema


class _ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    model: str
    messages: list[ChatMessage]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    tools: list[ChatTool] | None = None
    tool_choice: str | ThisFunction | None = None
    parallel_tool_calls: bool | None = None
    response_format: JsonObjectFormat | _SchemaFormat | None = None
    reasoning_effort: str | None = None


class Translated(msgspec.Struct, frozen=True):
    """A chat completion request, with the place in the client's request that each of its messages comes from."""

    body: bytes
    places: list[str]


_encoder = msgspec.json.Encoder()


def request(body: bytes, model: str, vocabulary: Vocabulary = COMMON) -> bytes:
    """Translates a request body. Raises InvalidRequest, which names the place."""
    return translated(body, model, vocabulary).body


def translated(body: bytes, model: str, vocabulary: Vocabulary = COMMON) -> Translated:
    """Returns and raises as `request`, with the places of the messages."""
    source = parse(body)
    _refuse_unsupported(source)
    items = _items(source)
    functions, choice = chosen(source.tool_choice, tools_in(source, items))
    turns = Turns(items)
    turns.begin_with(source.instructions)
    if not turns.messages:
        raise InvalidRequest("The input has no content.", param="input")
    most = vocabulary.max_output or known_models.chat_limit(model)
    limit, user = source.max_output_tokens, source.safety_identifier or source.user
    limit = min(limit, most) if limit and most else limit
    chat = _ChatRequest(
        model=model,
        messages=turns.messages,
        max_tokens=limit if vocabulary.limit_field == "max_tokens" else None,
        max_completion_tokens=limit if vocabulary.limit_field == "max_completion_tokens" else None,
        temperature=source.temperature if vocabulary.has_sampling else None,
        top_p=source.top_p if vocabulary.has_sampling else None,
        user=user if user and len(user) <= _USER_MOST else None,
        stream=source.stream is True,
        stream_options=_StreamOptions(include_usage=True) if source.stream and vocabulary.has_stream_usage else None,
        tools=functions or None,
        tool_choice=choice,
        parallel_tool_calls=False if functions and source.parallel_tool_calls is False else None,
        response_format=_response_format(source),
        reasoning_effort=source.reasoning.effort if source.reasoning else None,
    )
    return Translated(_encoder.encode(chat), turns.places)


def named_tools(body: bytes) -> Tools:
    """Returns the tools of a request that could be translated."""
    source = parse(body)
    return tools_in(source, _items(source) if _MORE_TOOLS in body else [])


def tools_in(source: ResponseRequest, items: list[Placed]) -> Tools:
    raws = [(f"tools[{position}]", raw) for position, raw in enumerate(source.tools or ())]
    for each in items:
        if isinstance(each.item, AdditionalTools):
            raws += [(f"{each.place}.tools[{position}]", raw) for position, raw in enumerate(each.item.tools)]
    return tools_of(raws)


def _items(source: ResponseRequest) -> list[Placed]:
    if isinstance(source.input, str):
        return [Placed("input", Message(role="user", content=source.input))]
    raws = [(f"input[{position}]", raw) for position, raw in enumerate(source.input or ())]
    return [Placed(place, ITEMS.decode(raw, place)) for place, raw in raws]


def _refuse_unsupported(source: ResponseRequest) -> None:
    """Refuses fields without a counterpart, where dropping the field would give another answer than requested."""
    for param, instead in _STATE.items():
        if getattr(source, param) not in (None, False):
            raise unsupported(param, f"This model's provider has no counterpart for `{param}`: {instead}.")
    if source.store:
        message = "This model's provider keeps no responses: leave `store` out or set it to false."
        raise unsupported("store", message)
    if source.top_logprobs or _LOGPROBS in (source.include or ()):
        param = "top_logprobs" if source.top_logprobs else "include"
        raise unsupported(param, "Log probabilities are not available for this model.")


def _response_format(source: ResponseRequest) -> JsonObjectFormat | _SchemaFormat | None:
    wanted = source.text.format if source.text else None
    if isinstance(wanted, JsonSchemaFormat):
        return _SchemaFormat(_JsonSchema(wanted.name, wanted.schema, wanted.description, wanted.strict))
    return wanted if isinstance(wanted, JsonObjectFormat) else None
