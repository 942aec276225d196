"""Translates the turns of a conversation to chat messages.

Consecutive turns of one role count as one, as they do in the Messages API. So results that a client spreads over
several turns still follow their calls directly, where chat completions require them. Both dialects require every call
to be answered before the conversation continues. A request that breaks the rule is refused here, where the place can be
named.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from gateway.errors import InvalidRequest
from gateway.upstream.dialects import call_ids, tool_names
from gateway.upstream.dialects.messages_as_chat.blocks import (
    Document,
    Image,
    Part,
    RedactedThinking,
    Text,
    TextBlock,
    Thinking,
    ToolResult,
    ToolUse,
    parts_of,
)
from gateway.upstream.dialects.origin import family_of
from gateway.upstream.dialects.thoughts import field_for

# A tool message has no field for failure; models understand the word, which many tools write themselves.
ERROR_PREFIX = "Error: "
_ERROR = ERROR_PREFIX.strip(": ").lower()


class UserTurn(msgspec.Struct, frozen=True, tag_field="role", tag="user"):
    content: str | list[TextBlock | Image | Document | ToolResult]


class AssistantTurn(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    content: str | list[TextBlock | ToolUse | Thinking | RedactedThinking]


class SystemTurn(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    content: str | list[TextBlock]


Turn = UserTurn | AssistantTurn | SystemTurn


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class GoogleContent(msgspec.Struct, frozen=True):
    thought_signature: str


class ExtraContent(msgspec.Struct, frozen=True):
    google: GoogleContent


# What Google documents for calls of other models, which Gemini 3 refuses without any signature.
_UNSIGNED = ExtraContent(GoogleContent("skip_thought_signature_validator"))
_DEMANDS_SIGNATURE = re.compile(r"gemini-[3-9]")


class ToolCall(msgspec.Struct, frozen=True, tag="function", omit_defaults=True):
    id: str
    function: CalledFunction
    extra_content: ExtraContent | None = None  # for Gemini, which refuses its calls without it


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chat message."""

    role: str
    content: str | list[Part] | None  # null next to calls without text: some servers require the field
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


def chat_messages(turns: Sequence[Turn], model: str) -> list[ChatMessage]:
    """Translates all turns for a model of the provider. Raises InvalidRequest for a call without its result and for a
    result without its call.
    """
    messages: list[ChatMessage] = []
    family = family_of(model)
    unanswered: dict[str, str] = {}  # places of calls, by their ids
    for kind, group in groupby(enumerate(turns), key=lambda numbered: type(numbered[1])):
        numbered_turns = list(group)
        if kind is UserTurn:
            messages += _results(numbered_turns, unanswered, family)
        _refuse_unanswered(unanswered)
        if kind is AssistantTurn:
            unanswered = _calls(numbered_turns, family)
            message = _assistant_message([turn for _, turn in numbered_turns], model)
            if message.content or message.tool_calls:
                messages.append(message)
        else:
            messages += _messages(numbered_turns)
    _refuse_unanswered(unanswered)
    return messages


def paragraphs(content: str | Sequence[Part]) -> str:
    """Joins the texts of a content, for messages in which not every server accepts lists of parts."""
    return content if isinstance(content, str) else "\n\n".join(part.text for part in content if isinstance(part, Text))


def _assistant_message(turns: Sequence[Turn], model: str) -> ChatMessage:
    """Joins the turns of an assistant. Text blocks may end within a sentence, so nothing is inserted between them."""
    blocks = [block for turn in turns for block in _blocks(turn)]
    text = "".join(block.text for block in blocks if isinstance(block, Text))
    calls = [_call(block, family_of(model)) for block in blocks if isinstance(block, ToolUse)]
    if calls and _DEMANDS_SIGNATURE.search(model) and not any(call.extra_content for call in calls):
        calls[0] = msgspec.structs.replace(calls[0], extra_content=_UNSIGNED)
    thoughts = _thoughts(blocks, model) if calls else {}
    return ChatMessage("assistant", text or None, calls, **thoughts)


def _call(block: ToolUse, family: str) -> ToolCall:
    arguments = msgspec.json.encode(block.input).decode()
    signature = call_ids.signature_in(block.id)
    is_own = signature is not None and signature.family == family
    extra = ExtraContent(GoogleContent(signature.text)) if signature and is_own else None
    function = CalledFunction(tool_names.for_chat(block.name), arguments)
    return ToolCall(call_ids.for_chat(block.id, family), function, extra_content=extra)


def _thoughts(blocks: Sequence[object], model: str) -> dict[str, str]:
    """Returns the reasoning that the model gets back, by its field. A turn with calls is one that the model continues;
    the reasoning of others would only lengthen the prompt.
    """
    thoughts: dict[str, str] = {}
    for block in blocks:
        if isinstance(block, Thinking) and block.thinking:
            field = field_for(model, block.signature)
            if field is not None:
                thoughts[field] = thoughts.get(field, "") + block.thinking
    return thoughts


def _calls(numbered_turns: Sequence[tuple[int, Turn]], family: str) -> dict[str, str]:
    """Returns the places of calls by their ids, which must be unique among calls that wait for their results. An id may
    recur later: some servers count their calls anew in each turn, and clients got those ids from this gateway.
    """
    places: dict[str, str] = {}
    for number, turn in numbered_turns:
        for position, block in enumerate(_blocks(turn)):
            if not isinstance(block, ToolUse):
                continue
            call_id, place = call_ids.for_chat(block.id, family), f"messages[{number}].content[{position}]"
            if call_id in places:
                raise _refused(f"{place}.id", f"The tool_use block at {places[call_id]} has the same id.")
            places[call_id] = place
    return places


def _refuse_unanswered(unanswered: dict[str, str]) -> None:
    for place in unanswered.values():
        raise _refused(place, "A tool_use block must have its tool_result block in the user's turn directly after it.")


def _refused(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_value")


def _results(
    numbered_turns: Sequence[tuple[int, Turn]], unanswered: dict[str, str], family: str
) -> Iterator[ChatMessage]:
    for number, turn in numbered_turns:
        for position, block in enumerate(_blocks(turn)):
            if not isinstance(block, ToolResult):
                continue
            call_id = call_ids.for_chat(block.tool_use_id, family)
            if call_id not in unanswered:
                raise _refused(
                    f"messages[{number}].content[{position}].tool_use_id",
                    "No tool_use block of this id, still without its result, is in the turn directly before.",
                )
            del unanswered[call_id]
            text = paragraphs(_result_parts(block))
            is_marked = not block.is_error or text.lstrip().lower().startswith(_ERROR)
            yield ChatMessage("tool", text if is_marked else ERROR_PREFIX + text, tool_call_id=call_id)


def _result_parts(result: ToolResult) -> Sequence[Part]:
    if isinstance(result.content, str):
        return [Text(result.content)]
    return [part for block in result.content or () for part in parts_of(block)]


def _messages(numbered_turns: Sequence[tuple[int, Turn]]) -> Iterator[ChatMessage]:
    """Yields the messages of user and system; a turn without content gives none."""
    for _, turn in numbered_turns:
        if isinstance(turn, SystemTurn):
            yield ChatMessage("system", paragraphs(turn.content))
        elif parts := _user_parts(turn):
            single = parts[0] if len(parts) == 1 else None
            yield ChatMessage("user", single.text if isinstance(single, Text) else parts)


def _user_parts(turn: Turn) -> list[Part]:
    """Returns a user's parts. A tool message holds text only, so images and files of results come first here."""
    blocks = _blocks(turn)
    results = [block for block in blocks if isinstance(block, ToolResult)]
    moved = [part for result in results for part in _result_parts(result) if not isinstance(part, Text)]
    own = [part for block in blocks if isinstance(block, Text | Image | Document) for part in parts_of(block)]
    return moved + own


def _blocks(turn: Turn) -> Sequence[Text | Image | Document | ToolResult | ToolUse | Thinking | RedactedThinking]:
    return [Text(turn.content)] if isinstance(turn.content, str) else turn.content
