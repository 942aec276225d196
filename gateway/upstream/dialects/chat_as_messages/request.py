"""Translates a chat completion request to a messages request. docs/dialects-chat-as-messages.md lists the rules."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from gateway.configuration.provider import Reasoning
from gateway.upstream.dialects import json_schemas, known_models
from gateway.upstream.dialects.chat_as_messages.blocks import (
    Block,
    Cached,
    JsonFormat,
    MessagesRequest,
    Metadata,
    OutputConfig,
    TextBlock,
    Tool,
    Turn,
)
from gateway.upstream.dialects.chat_as_messages.schema import (
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    parse,
    unsupported,
)
from gateway.upstream.dialects.chat_as_messages.thinking import wanted, without_thoughts
from gateway.upstream.dialects.chat_as_messages.tools import tool_use
from gateway.upstream.dialects.chat_as_messages.turns import conversation

TEMPERATURE_MOST = 1.0  # of the provider; chat completions allow up to 2
JSON_ONLY = "Answer with one JSON object and nothing else: no text around it, and no code fence."
_USER_MOST = 256  # characters; the provider refuses longer ids
_CACHE_MARKS_MOST = 4  # the provider refuses more

B = TypeVar("B")


class Abilities(msgspec.Struct, frozen=True):
    """What a provider's model accepts."""

    has_sampling: bool = True  # `temperature` and `top_p`, though not both at once
    max_output: int | None = None  # the most output tokens; None: as its name shows
    reasoning: Reasoning | None = None  # None: as its name shows


_USUAL = Abilities()


def request(body: bytes, model: str, abilities: Abilities = _USUAL) -> bytes:
    """Translates a request body. Raises InvalidRequest."""
    chat = parse(body)
    _refuse_unsupported(chat)
    talk = conversation(chat.messages)
    use = tool_use(chat)
    user = chat.safety_identifier or chat.user
    max_tokens = _max_tokens(chat, model, abilities, len(body))
    style = abilities.reasoning or known_models.messages_reasoning(model)
    thought = wanted(chat.reasoning_effort, model, style, max_tokens, use.choice, talk.messages)
    turns = talk.messages if thought.thinking else without_thoughts(talk.messages)
    system = [*talk.system, *_instructions(chat)]
    tools, system, turns = _cached(use.tools or [], system, turns)
    has_sampling = abilities.has_sampling and not thought.thinking
    temperature = chat.temperature if has_sampling else None
    return msgspec.json.encode(
        MessagesRequest(
            model=model,
            max_tokens=max_tokens,
            messages=turns,
            system=_system(system),
            temperature=None if temperature is None else min(temperature, TEMPERATURE_MOST),
            top_p=chat.top_p if has_sampling and temperature is None else None,
            stop_sequences=_stop_sequences(chat.stop),
            stream=chat.stream is True,
            tools=tools or None,
            tool_choice=use.choice,
            output_config=_output_config(chat, thought.effort),
            thinking=thought.thinking,
            metadata=Metadata(user) if user and len(user) <= _USER_MOST else None,
        )
    )


def _max_tokens(chat: ChatRequest, model: str, abilities: Abilities, size: int) -> int:
    most = abilities.max_output or known_models.messages_limit(model)
    given = chat.max_completion_tokens or chat.max_tokens or abilities.max_output
    given = given or known_models.messages_default(model, size)
    return min(given, most) if most else given


def _refuse_unsupported(chat: ChatRequest) -> None:
    """Refuses fields without a counterpart, where dropping the field would give another answer than requested."""
    if chat.n not in (None, 1):
        raise unsupported("n", "Only one choice can be generated.")
    if chat.logprobs or chat.top_logprobs:
        param = "logprobs" if chat.logprobs else "top_logprobs"
        raise unsupported(param, "Log probabilities are not available for this model.")
    if any(modality != "text" for modality in chat.modalities or ()):
        raise unsupported("modalities", "Only text can be generated.")
    for param in ("audio", "functions", "function_call", "moderation", "web_search_options"):
        if getattr(chat, param) is not None:
            instead = ": use tools and tool_choice" if param.startswith("function") else ""
            raise unsupported(param, f"{param} is not supported by this model{instead}.")


def _output_config(chat: ChatRequest, effort: str | None) -> OutputConfig | None:
    """Translates a response format with a schema."""
    chosen, schema = chat.response_format, None
    if isinstance(chosen, JsonSchemaFormat):
        if chosen.json_schema.schema is None:
            raise unsupported("response_format.json_schema.schema", "This model needs a schema.")
        schema = JsonFormat(json_schemas.for_messages(chosen.json_schema.schema))
    return OutputConfig(schema, effort) if schema or effort else None


def _instructions(chat: ChatRequest) -> list[TextBlock]:
    """Returns what stands for `json_object`: the provider knows no format without a schema."""
    return [TextBlock(JSON_ONLY)] if isinstance(chat.response_format, JsonObjectFormat) else []


def _system(blocks: list[TextBlock]) -> str | list[TextBlock]:
    return blocks[0].text if len(blocks) == 1 and blocks[0].cache_control is None else blocks or ""


def _cached(
    tools: list[Tool], system: list[TextBlock], turns: list[Turn]
) -> tuple[list[Tool], list[TextBlock], list[Turn]]:
    """Removes the first marks of the prompt cache where there are more than the provider accepts: the last one covers
    the longest prefix.
    """
    turn_blocks: list[Block] = [block for turn in turns for block in turn.content]
    surplus = sum(_is_marked(each) for each in (*tools, *system, *turn_blocks)) - _CACHE_MARKS_MOST
    if surplus <= 0:
        return tools, system, turns
    kept_tools, surplus = _unmarked(tools, surplus)
    kept_system, surplus = _unmarked(system, surplus)
    kept_turns = []
    for turn in turns:
        content, surplus = _unmarked(turn.content, surplus)
        kept_turns.append(Turn(turn.role, content))
    return kept_tools, kept_system, kept_turns


def _unmarked(items: Iterable[B], surplus: int) -> tuple[list[B], int]:
    """Returns the items without the first marks, and the number of marks that are still too many."""
    kept: list[B] = []
    for item in items:
        if surplus > 0 and isinstance(item, Cached) and _is_marked(item):
            kept.append(msgspec.structs.replace(item, cache_control=None))
            surplus -= 1
        else:
            kept.append(item)
    return kept, surplus


def _is_marked(item: object) -> bool:
    return isinstance(item, Cached) and item.cache_control is not None


def _stop_sequences(stop: str | list[str] | None) -> list[str] | None:
    """Refuses a sequence of white space, as the provider does; dropping it would let the answer run on."""
    sequences = [stop] if isinstance(stop, str) else stop or []
    for position, sequence in enumerate(sequences):
        if not sequence or sequence.isspace():
            param = "stop" if isinstance(stop, str) else f"stop[{position}]"
            raise unsupported(param, "A stop sequence must hold more than white space.")
    return sequences or None
