"""Translates a messages reply to a chat completion. Blocks without a counterpart are left out."""

import json
import time
import uuid
from typing import Annotated, Literal

import msgspec

from gateway.json.lenient import COUNT_MOST, decoded
from gateway.upstream.dialects.call_ids import MARK
from gateway.upstream.dialects.messages_imitators import as_message
from gateway.upstream.dialects.origin import UNKNOWN, Origin

Tokens = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MOST)]

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class OutputTokensDetails(msgspec.Struct, frozen=True):
    thinking_tokens: Tokens | None = None


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens, None where the provider sent none. In a stream, later counts replace earlier ones."""

    input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    output_tokens_details: OutputTokensDetails | None = None


class StopDetails(msgspec.Struct, frozen=True):
    """Why the model refused, where the provider explains it."""

    explanation: str | None = None


class Block(msgspec.Struct, frozen=True):
    """A content block of any type; text, thinking and tool_use are read."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None  # of thinking that is encrypted
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class MessagesReply(msgspec.Struct, frozen=True):
    content: list[Block]
    id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    cached_tokens: int
    cache_write_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int


class ChatUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails | msgspec.UnsetType = msgspec.UNSET


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    id: str
    function: CalledFunction


class ReasoningDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """A thinking block for the client's next turn, as OpenRouter shows it: OpenAI's dialect has no place for it."""

    type: Literal["reasoning.text", "reasoning.encrypted"]
    index: int
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str = ""


class ChatMessage(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    content: str | None
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET
    refusal: str | None = None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: list[ReasoningDetail] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct, frozen=True):
    message: ChatMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class ChatReply(msgspec.Struct, frozen=True, tag_field="object", tag="chat.completion"):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage


THOUGHTS = ("thinking", "redacted_thinking")  # types of blocks

_reply = msgspec.json.Decoder(MessagesReply)


def reply(body: bytes, origin: Origin = UNKNOWN) -> bytes:
    """Translates a whole reply. Raises Malformed."""
    message = decoded(_reply, body, as_message)
    used = [block for block in message.content if block.type == "tool_use"]
    calls = [call_of(block, arguments_of(block), origin) for block in used]
    text = "".join([block.text or "" for block in message.content if block.type == "text"])
    thoughts = [block for block in message.content if block.type in THOUGHTS]
    details = [detail for index, block in enumerate(thoughts) if (detail := detail_of(block, index))]
    chat = ChatReply(
        id=reply_id(message.id),
        created=int(time.time()),
        model=message.model or origin.model,
        choices=[
            Choice(
                ChatMessage(
                    None if calls and not text else text,
                    calls or msgspec.UNSET,
                    explanation(message.stop_details),
                    "".join(block.thinking or "" for block in thoughts) or msgspec.UNSET,
                    details or msgspec.UNSET,
                ),
                finish_reason(message.stop_reason),
            )
        ],
        usage=chat_usage(message.usage or Usage()),
    )
    return msgspec.json.encode(chat)


def detail_of(block: Block, index: int) -> ReasoningDetail | None:
    """Returns what the next turn needs of a thinking block; None for one that the provider did not sign."""
    if block.type == "redacted_thinking":
        return ReasoningDetail("reasoning.encrypted", index, data=block.data, format=MARK) if block.data else None
    if not block.signature:
        return None
    return ReasoningDetail("reasoning.text", index, block.thinking or "", block.signature, format=MARK)


def reply_id(provider_id: str | None) -> str:
    """Returns the provider's id, or a new one: some servers send none."""
    return provider_id or f"chatcmpl-{uuid.uuid4().hex}"


def finish_reason(stop_reason: str | None) -> str:
    """Translates a stop reason; an unknown one becomes `stop`."""
    return FINISH_REASONS.get(stop_reason or "", "stop")


def explanation(details: StopDetails | None) -> str | None:
    return (details.explanation or None) if details else None


def chat_usage(usage: Usage) -> ChatUsage:
    """Translates usage. The provider counts cached tokens separately; chat completions count the whole prompt. A part
    never exceeds its whole.
    """
    cached = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    prompt = (usage.input_tokens or 0) + written + cached
    completion = usage.output_tokens or 0
    thinking = usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else None
    return ChatUsage(
        prompt,
        completion,
        prompt + completion,
        PromptTokensDetails(cached, written),
        msgspec.UNSET if thinking is None else CompletionTokensDetails(min(thinking, completion)),
    )


def arguments_of(block: Block) -> str:
    """Returns the arguments as text; the input of a tool keeps its bytes. Some servers send null for no input, or the
    text of an object, which may be incomplete where the answer ended at a limit: arguments may hold any text.
    """
    arguments = bytes(block.input).decode()
    if arguments.startswith('"'):
        arguments = str(json.loads(arguments))
    return "{}" if arguments.strip() in ("", "null") else arguments


def call_of(block: Block, arguments: str, origin: Origin) -> ToolCall:
    """Returns the call, with a new id where the server sent none: a client's result names its call by the id."""
    name = origin.tool_name(block.name or "")
    return ToolCall(block.id or f"call_{uuid.uuid4().hex}", CalledFunction(name, arguments))
