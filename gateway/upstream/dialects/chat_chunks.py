"""The chunks of a streamed chat completion, and which call each piece of a call belongs to."""

import msgspec

from gateway.json.lenient import decoded
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_imitators import as_chat_chunk
from gateway.upstream.dialects.chat_order import Block, E, Order
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


class CallPiece(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece] | None = None


class Choice(msgspec.Struct, frozen=True):
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    choices: list[Choice] | None = None
    error: object = None
    id: str | None = None
    model: str | None = None
    usage: ChatUsage | None = None


NO_FUNCTION = Function()
_chunk = msgspec.json.Decoder(Chunk)


def chunk_of(data: bytes) -> Chunk:
    """Returns the chunk in the data of an event. Raises Malformed, also for an error next to the choices."""
    chunk = decoded(_chunk, data, as_chat_chunk)
    if not is_blank(chunk.error):
        raise Malformed("the provider's stream continued with an error")
    return chunk


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
        function = piece.function or NO_FUNCTION
        key = self._key(piece, function)
        call = self._blocks.get(key)
        if call is None:
            call = self._blocks[key] = order.add(Block(key, is_call=True))
        call.id, call.name = call.id or piece.id, call.name or function.name
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
                key = self._key_of_index[piece.index] = f"index {piece.index} id {piece.id}"
            return key
        if piece.id:
            return f"id {piece.id}"
        return latest.key if latest and not function.name else f"call {len(self._blocks)}"


def _is_another(piece: CallPiece, function: Function, call: Block) -> bool:
    """Returns whether a piece begins another call under the same index: it has a new id and a name, and the call before
    it is complete.
    """
    return bool(piece.id and piece.id != call.id and function.name) and call.is_complete()
