"""Translates chat messages to a system prompt and turns that alternate.

System messages are collected from any place, neighbours of one role are merged, tool results become a user's blocks.
Both dialects require every call to be answered before the conversation continues. A request that breaks the rule is
refused here, where the place can be named.
"""

from typing import Literal, TypeVar

import msgspec

from gateway.upstream.dialects import call_ids, tool_names
from gateway.upstream.dialects.chat_as_messages.blocks import (
    Block,
    CachedBlock,
    Conversation,
    Object,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)
from gateway.upstream.dialects.chat_as_messages.parts import text_blocks, user_blocks
from gateway.upstream.dialects.chat_as_messages.schema import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    unsupported,
)
from gateway.upstream.dialects.chat_as_messages.thinking import thought_blocks
from gateway.upstream.dialects.tool_input import is_whole, tool_input


class OpenCall(msgspec.Struct, frozen=True):
    """A call without its result."""

    place: str  # in the request
    use_id: str  # its id at the provider


def conversation(messages: list[Message]) -> Conversation:
    """Translates all messages. Raises InvalidRequest."""
    system: list[TextBlock] = []
    turns: list[Turn] = []
    unanswered: dict[str, OpenCall] = {}  # by the id that the client knows
    use_ids: set[str] = set()
    for position, message in enumerate(messages):
        place = f"messages[{position}]"
        match message:
            case SystemMessage():
                system += _cached(text_blocks(message.content), message.cache_control)
            case ToolMessage():
                _add(turns, "user", [_result(message, unanswered, place)])
            case UserMessage():
                _refuse_unanswered(unanswered)
                own = user_blocks(message.content, f"{place}.content")
                _add(turns, "user", _cached(own, message.cache_control))
            case _:
                _refuse_unanswered(unanswered)
                own = _assistant_blocks(message, unanswered, use_ids, place)
                _add(turns, "assistant", _cached(own, message.cache_control))
    _refuse_unanswered(unanswered)
    if not turns:
        raise unsupported("messages", "At least one message of a user or assistant must have content.")
    _strip_prefill(turns[-1])
    return Conversation(system, turns)


B = TypeVar("B", bound=Block)


def _cached(blocks: list[B], cache_control: Object | None) -> list[B]:
    """Returns the blocks of a message with its own cache control, which marks their end."""
    if cache_control is None or not blocks or not isinstance(blocks[-1], CachedBlock):
        return blocks
    last = msgspec.structs.replace(blocks[-1], cache_control=cache_control)
    return [*blocks[:-1], last]


def _add(turns: list[Turn], role: Literal["user", "assistant"], blocks: list[Block]) -> None:
    if turns and turns[-1].role == role:
        turns[-1].content.extend(blocks)
    elif blocks:
        turns.append(Turn(role, blocks))


def _assistant_blocks(
    message: AssistantMessage, unanswered: dict[str, OpenCall], use_ids: set[str], place: str
) -> list[Block]:
    if message.function_call is not None:
        raise unsupported(f"{place}.function_call", "function_call is not supported: use tool_calls.")
    if message.audio is not None:
        raise unsupported(f"{place}.audio", "Audio is not supported.")
    blocks: list[Block] = [*text_blocks(message.content), *text_blocks(message.refusal)]
    for position, call in enumerate(message.tool_calls or ()):
        call_place = f"{place}.tool_calls[{position}]"
        if call.id in unanswered:
            raise unsupported(f"{call_place}.id", "Two tool calls of a message have the same id.")
        use_id = _use_id(call.id, use_ids)
        unanswered[call.id] = OpenCall(call_place, use_id)
        name = tool_names.for_messages(call.function.name)
        blocks.append(ToolUseBlock(use_id, name, _input(call.function.arguments)))
    return [*thought_blocks(message.reasoning_details), *blocks] if blocks else []


def _use_id(call_id: str, use_ids: set[str]) -> str:
    """Returns an id that is unique in the conversation, as the provider requires: some servers count their calls anew
    in each turn.
    """
    use_id = call_ids.for_messages(call_id)
    if use_id in use_ids:
        use_id = call_ids.for_messages(f"{call_id} again {len(use_ids)}")
    use_ids.add(use_id)
    return use_id


def _input(arguments: str | Object) -> msgspec.Raw:
    """Returns the input object. Arguments that are an object keep their bytes: decoding and encoding could change a
    number. Others come from a model that was cut short or wrote invalid JSON; OpenAI accepts them unchanged.
    """
    if not isinstance(arguments, str):
        return msgspec.Raw(msgspec.json.encode(arguments))
    return msgspec.Raw(arguments.encode() if is_whole(arguments) else msgspec.json.encode(tool_input(arguments)))


def _result(message: ToolMessage, unanswered: dict[str, OpenCall], place: str) -> ToolResultBlock:
    call = unanswered.pop(message.tool_call_id, None)
    if call is None:
        raise unsupported(f"{place}.tool_call_id", "No unanswered tool call before this message has this id.")
    blocks = text_blocks(message.content)
    is_plain = isinstance(message.content, str)
    content = blocks[0].text if blocks and is_plain else blocks or ""
    return ToolResultBlock(call.use_id, content, cache_control=message.cache_control)


def _refuse_unanswered(unanswered: dict[str, OpenCall]) -> None:
    for call in unanswered.values():
        raise unsupported(call.place, "A tool message must answer a tool call before the conversation continues.")


def _strip_prefill(last: Turn) -> None:
    """Strips an assistant's last text: the provider refuses to continue an answer that ends in white space."""
    block = last.content[-1]
    if last.role == "assistant" and isinstance(block, TextBlock):
        last.content[-1] = msgspec.structs.replace(block, text=block.text.rstrip())
