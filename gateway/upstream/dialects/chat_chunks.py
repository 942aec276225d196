"""The chunks of a streamed chat completion, and which call each piece of a call belongs to."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_imitators import as_chat_chunk
from gateway.upstream.dialects.chat_order import Block, E, Order
from gateway.upstream.dialects.thoughts import FIELDS, PARTS
from gateway.upstream.upstream_errors import is_blank

DONE = b"[DONE]"


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: float | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    """Counts of tokens; OpenAI-compatible servers send floats and nulls."""

    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Google(msgspec.Struct, frozen=True):
    thought_signature: str | None = None


class ExtraContent(msgspec.Struct, frozen=True):
    """What Gemini adds to a call."""

    google: _Google | None = None

    @property
    def thought_signature(self) -> str:
        return (self.google and self.google.thought_signature) or ""


class CallPiece(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: ExtraContent | None = None


class AnswerText(msgspec.Struct, frozen=True, kw_only=True):
    """The text and the reasoning of a message or of its delta."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thoughts: str | None = None  # of the parts of the content, as `chat_imitators` finds them

    def thought(self) -> tuple[str, str] | None:
        """Returns the reasoning and the field that holds it. Some servers send the same in two fields."""
        for field in FIELDS:
            if text := getattr(self, field):
                return field, text
        return (PARTS, self.thoughts) if self.thoughts else None


class Delta(AnswerText, frozen=True, kw_only=True):
    tool_calls: list[CallPiece] | None = None


class Numbered(msgspec.Struct, frozen=True, kw_only=True):
    """A choice, with its number among several."""

    index: int | None = None
    finish_reason: str | None = None


class Choice(Numbered, frozen=True, kw_only=True):
    delta: Delta | None = None


class Chunk(msgspec.Struct, frozen=True):
    choices: list[Choice] | None = None
    error: object = None
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


C = TypeVar("C", bound=Numbered)

NO_FUNCTION = Function()
_chunk = msgspec.json.Decoder(Chunk)


def chunk_of(data: bytes) -> Chunk:
    """Returns the chunk in the data of an event. Raises Malformed, also for an error next to the choices."""
    chunk = decoded(_chunk, data, as_chat_chunk)
    if not is_blank(chunk.error):
        raise Malformed("the provider's stream continued with an error")
    return chunk


def first_choice(choices: Sequence[C]) -> C | None:
    """Returns the choice that counts: the one of index 0, which some servers leave out."""
    return next((choice for choice in choices if not choice.index), None)


class Calls:
    """The calls of one answer, as the pieces of its stream name them."""

    def __init__(self) -> None:
        self._blocks: dict[str, Block] = {}
        self._latest: Block | None = None
        self._key_of_index: dict[int, str] = {}

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def block_of(self, piece: CallPiece, order: Order[E]) -> Block:
        """Returns the block of the call that a piece belongs to; a new call is added to the order."""
        function, before = piece.function or NO_FUNCTION, self._latest
        key = self._key(piece, function)
        call = self._blocks.get(key)
        if call is None:
            call = self._blocks[key] = order.add(Block(key, is_call=True))
            if before is not None and before.has_new_name and not (piece.id or function.name):
                call.name = before.name
        call.id, call.name = call.id or piece.id, call.name or function.name
        if piece.extra_content is not None:
            call.signature = call.signature or piece.extra_content.thought_signature
        self._latest = call
        return call

    def _key(self, piece: CallPiece, function: Function) -> str:
        """Returns the key of a call: its index, whatever its id, because some servers make a new id for each piece.
        Others send no index, or only now and then; there the id distinguishes calls, or a repeated name.
        """
        latest = self._latest
        if piece.index is not None:
            continues = latest and not (piece.id or function.name or latest.key in self._key_of_index.values())
            key_at_first = latest.key if latest and continues else f"index {piece.index}"
            key = self._key_of_index.setdefault(piece.index, key_at_first)
            if key in self._blocks and _is_another(piece, function, self._blocks[key]):
                key = self._key_of_index[piece.index] = f"index {piece.index} call {len(self._blocks)}"
            return key
        if piece.id:
            return f"id {piece.id}"
        return latest.key if latest and not function.name else f"call {len(self._blocks)}"


def _is_another(piece: CallPiece, function: Function, call: Block) -> bool:
    """Returns whether a piece begins another call under the same index, after the call before it is complete: with a
    name and a new id, or with a name alone where the server sends no ids. There a repeated name is another call only
    once it has arguments, for some servers repeat the name in each piece.
    """
    if piece.id:
        return bool(piece.id != call.id and function.name) and call.is_complete()
    has_arguments = bool(function.arguments and not function.arguments.isspace())
    if not function.name:
        return has_arguments and call.has_new_name
    if not call.is_complete():
        return function.name != call.name and bool(call.name) and not call.pieces
    call.has_new_name = True
    return function.name != call.name or has_arguments
