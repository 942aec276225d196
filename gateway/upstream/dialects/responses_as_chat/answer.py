"""A response for a client, and its output items.

A response repeats fields of its request. They are copied as bytes.
"""

import time
import uuid

import msgspec

from gateway.upstream.dialects.chat_chunks import ChatUsage, CompletionDetails, PromptDetails
from gateway.upstream.dialects.chat_order import Block
from gateway.upstream.dialects.responses_as_chat.request import named_tools
from gateway.upstream.dialects.responses_as_chat.tools import Named, custom_input
from gateway.upstream.dialects.responses_as_chat.turns import OWN_REASONING

CONTENT, REFUSAL, REASONING = "content", "refusal", "reasoning"  # keys of blocks of text
COMPLETED, INCOMPLETE, FAILED, IN_PROGRESS = "completed", "incomplete", "failed", "in_progress"
TOKENS_MOST = 999_999_999  # bounds invalid counts, and so the sums made of them

# Finish reasons of an answer that is not whole. Gemini sends `content_filter: ` and the filter's name.
_INCOMPLETE = {"length": "max_output_tokens", "model_length": "max_output_tokens", "content_filter": "content_filter"}
_NULL = msgspec.Raw(b"null")
_Raw = msgspec.Raw


class Repeated(msgspec.Struct, frozen=True):
    """The fields of a request that its response repeats, with their defaults."""

    instructions: _Raw = _NULL
    max_output_tokens: _Raw = _NULL
    max_tool_calls: _Raw = _NULL
    metadata: _Raw = _Raw(b"{}")
    parallel_tool_calls: _Raw = _Raw(b"true")
    prompt_cache_key: _Raw = _NULL
    reasoning: _Raw = _Raw(b'{"effort":null,"summary":null}')
    safety_identifier: _Raw = _NULL
    temperature: _Raw = _Raw(b"1.0")
    text: _Raw = _Raw(b'{"format":{"type":"text"}}')
    tool_choice: _Raw = _Raw(b'"auto"')
    tools: _Raw = _Raw(b"[]")
    top_logprobs: _Raw = _Raw(b"0")
    top_p: _Raw = _Raw(b"1.0")
    truncation: _Raw = _Raw(b'"disabled"')
    user: _Raw = _NULL


_DEFAULTS = Repeated()
_repeated = msgspec.json.Decoder(Repeated)


class InputDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class OutputText(msgspec.Struct, frozen=True, tag="output_text"):
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


class RefusalText(msgspec.Struct, frozen=True, tag="refusal"):
    refusal: str


class SummaryText(msgspec.Struct, frozen=True, tag="summary_text"):
    text: str


class MessageItem(msgspec.Struct, frozen=True, tag="message"):
    id: str
    status: str
    content: list[OutputText | RefusalText]
    role: str = "assistant"


class ReasoningItem(msgspec.Struct, frozen=True, tag="reasoning"):
    id: str
    summary: list[SummaryText]


class FunctionItem(msgspec.Struct, frozen=True, tag="function_call", omit_defaults=True):
    id: str
    status: str
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class CustomItem(msgspec.Struct, frozen=True, tag="custom_tool_call", omit_defaults=True):
    id: str
    status: str
    call_id: str
    name: str
    input: str
    namespace: str | None = None


Item = MessageItem | ReasoningItem | FunctionItem | CustomItem


class Response(msgspec.Struct, frozen=True, tag_field="object", tag="response"):
    """A response, apart from the fields that it repeats."""

    id: str
    created_at: int
    status: str
    model: str
    output: list[Item]
    error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None
    usage: Usage | None = None
    completed_at: int | None = None
    background: bool = False
    previous_response_id: None = None
    store: bool = False
    service_tier: str = "default"


class Frame:
    """What the answers to one request have in common: the repeated fields, and the names of its tools."""

    def __init__(self, body: bytes) -> None:
        repeated = _repeated.decode(body)
        fields = {
            name: default if value == _NULL else value
            for name in Repeated.__struct_fields__
            for value, default in [(getattr(repeated, name), getattr(_DEFAULTS, name))]
        }
        self._repeated = msgspec.json.encode(fields)[1:]
        self._named = named_tools(body).named

    def written(self, response: Response) -> bytes:
        return msgspec.json.encode(response)[:-1] + b"," + self._repeated

    def item(self, block: Block, item_id: str, call_id: str, text: str, status: str = COMPLETED) -> Item:
        """Returns the item of a block with this text, or these arguments."""
        if not block.is_call:
            if block.key == REASONING:
                return ReasoningItem(item_id, [SummaryText(text)] if text else [])
            part = RefusalText(text) if block.key == REFUSAL else OutputText(text)
            return MessageItem(item_id, status, [part] if text else [])
        tool = self.tool(block)
        if tool.is_custom:
            return CustomItem(item_id, status, call_id, tool.name, custom_input(text) if text else "", tool.namespace)
        return FunctionItem(item_id, status, call_id, tool.name, text, tool.namespace)

    def tool(self, block: Block) -> Named:
        """Returns the tool of a call. One that the model made up keeps the model's name."""
        name = block.name or ""
        return self._named.get(name) or Named(name)

    def item_id(self, block: Block) -> str:
        unique = uuid.uuid4().hex
        if not block.is_call:
            return f"{OWN_REASONING if block.key == REASONING else 'msg_'}{unique}"
        return f"{'ctc' if self.tool(block).is_custom else 'fc'}_{unique}"


def response_id(provider_id: str | None) -> str:
    """Returns an id made from the provider's, or a new one: some servers send none."""
    given = provider_id or uuid.uuid4().hex
    return given if given.startswith("resp_") else f"resp_{given.removeprefix('chatcmpl-')}"


def call_id_of(given: str | None, used: set[str]) -> str:
    """Returns the id of a call, or a new one where it is missing or already ``used`` in the response. Adds it there."""
    call_id = given if given and given not in used else f"call_{uuid.uuid4().hex}"
    used.add(call_id)
    return call_id


def incomplete_reason(finish_reason: str | None) -> str | None:
    """Returns why an answer is not whole, None for a whole one."""
    return _INCOMPLETE.get((finish_reason or "").partition(":")[0])


def ended(response: Response, finish_reason: str | None, counted: ChatUsage | None) -> Response:
    """Returns the response as it ends by this finish reason."""
    reason = incomplete_reason(finish_reason)
    return msgspec.structs.replace(
        response,
        status=INCOMPLETE if reason else COMPLETED,
        incomplete_details={"reason": reason} if reason else None,
        usage=usage(counted),
        completed_at=None if reason else int(time.time()),
    )


def usage(counted: ChatUsage | None) -> Usage:
    """Translates usage, zeros where there is none. A part never exceeds its whole."""
    counted = counted or ChatUsage()
    prompt = counted.prompt_tokens_details or PromptDetails()
    completion = counted.completion_tokens_details or CompletionDetails()
    whole, out = _tokens(counted.prompt_tokens), _tokens(counted.completion_tokens)
    cached = _tokens(prompt.cached_tokens, whole)
    written = _tokens(prompt.cache_write_tokens, whole - cached)
    reasoning = OutputDetails(_tokens(completion.reasoning_tokens, out))
    return Usage(whole, InputDetails(cached, written), out, reasoning, whole + out)


def _tokens(count: float | None, most: int = TOKENS_MOST) -> int:
    return int(min(max(count or 0, 0), most))
