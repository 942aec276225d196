"""A messages reply becomes a chat completion. Blocks that chat completions have no place for, thinking among them,
are left out."""

import time
from typing import Annotated, TypeVar

import msgspec

from gateway.dialects.malformed import Malformed

T = TypeVar("T")

# Bounded so that a sum stays exact in every reader of JSON.
Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**50)]

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
    """None where the provider did not say; of a stream's counts the later ones hold."""

    input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    output_tokens_details: OutputTokensDetails | None = None


class StopDetails(msgspec.Struct, frozen=True):
    """Why the model refused, where it says so."""

    explanation: str | None = None


class Block(msgspec.Struct, frozen=True):
    """A content block of any type, of which text and tool_use are looked into."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class MessagesReply(msgspec.Struct, frozen=True):
    id: str
    model: str
    content: list[Block]
    usage: Usage
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


class ChatMessage(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    content: str | None
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET
    refusal: str | None = None


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


_reply = msgspec.json.Decoder(MessagesReply)


def reply(body: bytes) -> bytes:
    """Raises Malformed."""
    message = decoded(_reply, body)
    calls = [call_of(block, arguments_of(block)) for block in message.content if block.type == "tool_use"]
    text = "".join([text_of(block) for block in message.content if block.type == "text"])
    chat = ChatReply(
        id=message.id,
        created=int(time.time()),
        model=message.model,
        choices=[
            Choice(
                ChatMessage(
                    None if calls and not text else text, calls or msgspec.UNSET, explanation(message.stop_details)
                ),
                finish_reason(message.stop_reason),
            )
        ],
        usage=chat_usage(message.usage),
    )
    return msgspec.json.encode(chat)


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises Malformed."""
    try:
        if not data.isascii():
            data.decode()  # the input of a tool passes unseen, and the decoder does not check it
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error


def finish_reason(stop_reason: str | None) -> str:
    """A reason that is not known yet ends the answer like any other."""
    return FINISH_REASONS.get(stop_reason or "", "stop")


def explanation(details: StopDetails | None) -> str | None:
    return (details.explanation or None) if details else None


def chat_usage(usage: Usage) -> ChatUsage:
    """The provider counts apart what it read from a cache or wrote there; chat completions count the whole prompt."""
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
        msgspec.UNSET if thinking is None else CompletionTokensDetails(thinking),
    )


def text_of(block: Block) -> str:
    """Raises Malformed."""
    if block.text is None:
        raise Malformed("a text block without text")
    return block.text


def arguments_of(block: Block) -> str:
    """The input of a tool keeps its bytes; some servers say null for none. Raises Malformed."""
    arguments = bytes(block.input)
    if arguments == b"null":
        return "{}"
    if not arguments.startswith(b"{"):
        raise Malformed("the input of a tool is no object")
    return arguments.decode()


def call_of(block: Block, arguments: str) -> ToolCall:
    """Raises Malformed."""
    if not block.id or not block.name:
        raise Malformed("a use of a tool without id or name")
    return ToolCall(block.id, CalledFunction(block.name, arguments))
