"""Translates a chat completion to an Anthropic message."""

import uuid
from typing import Annotated

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.chat_chunks import (
    AnswerText,
    ChatUsage,
    CompletionDetails,
    ExtraContent,
    Numbered,
    PromptDetails,
    first_choice,
)
from gateway.upstream.dialects.chat_imitators import as_chat_reply
from gateway.upstream.dialects.origin import UNKNOWN, Origin
from gateway.upstream.dialects.thoughts import Source
from gateway.upstream.dialects.tool_input import tool_input

# Any other reason, null included, is the end of a turn.
STOP_REASONS = {
    "length": "max_tokens",
    "model_length": "max_tokens",  # Mistral: the model's limit instead of the request's
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
END_TURN = "end_turn"
_CUT_SHORT = {"max_tokens", "refusal"}  # reasons that end an answer anywhere, inside a call's arguments as well
ENDED_IN_ERROR = "the provider ended its answer with the finish reason `error`"  # messages have no such reason
TOKENS_MOST = 999_999_999  # bounds invalid counts, and so the sums made of them


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True):
    function: _Function | None = None
    id: str | None = None
    extra_content: ExtraContent | None = None


class _ChatMessage(AnswerText, frozen=True, kw_only=True):
    tool_calls: list[_ToolCall] | None = None


class _Choice(Numbered, frozen=True, kw_only=True):
    message: _ChatMessage


class _ChatReply(msgspec.Struct, frozen=True):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


class TextBlock(msgspec.Struct, frozen=True, tag="text"):
    text: str


class ThinkingBlock(msgspec.Struct, frozen=True, tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag="tool_use"):
    id: str
    name: str
    input: dict[str, msgspec.Raw]


class OutputDetails(msgspec.Struct, frozen=True):
    thinking_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens."""

    input_tokens: int = 0  # neither read from the cache nor written to it
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | msgspec.UnsetType = msgspec.UNSET
    output_tokens_details: OutputDetails | msgspec.UnsetType = msgspec.UNSET


class StopDetails(msgspec.Struct, frozen=True, tag="refusal"):
    """Why the model refused, in its own words."""

    explanation: str
    category: None = None


class Message(msgspec.Struct, frozen=True, tag="message"):
    id: str
    model: str
    content: list[ThinkingBlock | TextBlock | ToolUseBlock]
    stop_reason: str | None
    usage: Usage
    role: str = "assistant"
    stop_sequence: None = None
    stop_details: StopDetails | msgspec.UnsetType = msgspec.UNSET


_NO_FUNCTION = _Function()
_reply = msgspec.json.Decoder(_ChatReply)
_encoder = msgspec.json.Encoder()


def reply(body: bytes, origin: Origin = UNKNOWN) -> bytes:
    """Translates a whole reply. Raises Malformed."""
    return _encoder.encode(_message(decoded(_reply, body, as_chat_reply), origin))


def _message(answer: _ChatReply, origin: Origin) -> Message:
    choice = first_choice(answer.choices) or answer.choices[0]
    if choice.finish_reason == "error":
        raise Malformed(ENDED_IN_ERROR)
    message = choice.message
    texts = [TextBlock(text) for text in (message.content, message.refusal) if text]
    reason = stop_reason(choice.finish_reason, has_refused=bool(message.refusal), has_calls=bool(message.tool_calls))
    ids = UseIds(origin)
    calls = [_tool_use(call, ids, is_cut=reason in _CUT_SHORT) for call in message.tool_calls or ()]
    thought = message.thought()
    thoughts = [ThinkingBlock(thought[1], Source(origin.family, thought[0]).signature)] if thought else []
    return Message(
        id=message_id(answer.id),
        model=answer.model or origin.model,
        content=[*thoughts, *texts, *calls],
        stop_reason=reason,
        usage=usage(answer.usage),
        stop_details=stop_details(message.refusal),
    )


def _tool_use(call: _ToolCall, ids: "UseIds", *, is_cut: bool) -> ToolUseBlock:
    """Translates a call, even without a name: the client answers that it has no such tool, and the model may retry."""
    function = call.function or _NO_FUNCTION
    signature = call.extra_content.thought_signature if call.extra_content else ""
    used = tool_input(function.arguments, is_cut=is_cut)
    return ToolUseBlock(ids.made(call.id, signature), ids.origin.tool_name(function.name or ""), used)


def stop_details(refusal: str | None) -> StopDetails | msgspec.UnsetType:
    return StopDetails(refusal) if refusal else msgspec.UNSET


def stop_reason(finish_reason: str | None, *, has_refused: bool, has_calls: bool) -> str:
    """Translates a finish reason. OpenAI sends `stop` with a call to a tool that was requested by name, but a client
    runs tools on `tool_use` only. Gemini sends `content_filter: ` and the filter's name.
    """
    if has_refused:
        return "refusal"
    return STOP_REASONS.get((finish_reason or "").partition(":")[0], "tool_use" if has_calls else END_TURN)


def usage(counted: ChatUsage | None) -> Usage:
    """Translates usage. A part never exceeds its whole."""
    if counted is None:
        return Usage()
    prompt = counted.prompt_tokens_details or PromptDetails()
    completion = counted.completion_tokens_details or CompletionDetails()
    whole, out = _tokens(counted.prompt_tokens), _tokens(counted.completion_tokens)
    cached = _tokens(prompt.cached_tokens, whole)
    written = _tokens(prompt.cache_write_tokens, whole - cached)
    thinking = _tokens(completion.reasoning_tokens, out)
    return Usage(
        whole - cached - written,
        cached,
        out,
        written or msgspec.UNSET,
        OutputDetails(thinking) if thinking else msgspec.UNSET,
    )


def message_id(provider_id: str | None) -> str:
    """Returns an id made from the provider's, or a new one: some servers send none."""
    given = provider_id or uuid.uuid4().hex
    return given if given.startswith("msg_") else f"msg_{given}"


class UseIds:
    """The ids of the calls of one message."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._used: set[str] = set()

    def made(self, call_id: str | None, signature: str = "") -> str:
        """Returns the id that the client gets for a call, a new one where the provider's is missing or already used in
        the message: a client's result names its call by the id. ``signature``: the call's thought signature.
        """
        is_new = not call_id or call_id in self._used
        own = f"toolu_{uuid.uuid4().hex}" if is_new or not call_id else call_id
        self._used.add(own)
        return call_ids.for_client(own, call_ids.Signature(signature, self.origin.family) if signature else None)


def _tokens(count: float | None, most: int = TOKENS_MOST) -> int:
    return int(min(max(count or 0, 0), most))
