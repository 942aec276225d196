"""Orders the parts of a streamed answer: messages and responses send them one after the other, but a provider of chat
completions may interleave its calls.

The open part is sent piece by piece. Pieces of another one wait until the arguments of the call before it are complete
or the stream has ended: no event of a chat stream marks the end of a call.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

import msgspec

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.tool_input import is_whole

HELD_MOST = 4 * 1_048_576  # characters of the open call and all that waits for it: more than any model generates
_BLOCK_COST = 256  # characters that an empty block counts as


class Block(msgspec.Struct):
    """A stretch of text or of reasoning, or a call."""

    key: str  # distinguishes it from other blocks; of text, the field that it came in
    is_call: bool
    signature: str = ""  # of reasoning, and of a call that Gemini signed
    id: str | None = None  # of a call, as far as it has arrived
    name: str | None = None  # of a call, as far as it has arrived
    pieces: list[str] = []  # of text only while it waits
    is_over: bool = False
    has_new_name: bool = False  # its name came again after its arguments were complete

    def is_complete(self) -> bool:
        if self.is_over or not self.is_call:
            return True
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}") and is_whole("".join(self.pieces))


E = TypeVar("E")


class Sink(Protocol[E]):
    """Makes a dialect's events. Blocks arrive one after the other: each begins, grows piece by piece and ends."""

    def begin(self, block: Block) -> list[E]: ...

    def grow(self, block: Block, piece: str) -> list[E]: ...

    def end(self, block: Block) -> list[E]: ...


class Order(Generic[E]):
    """The blocks of one answer. Methods return the events to send now, and raise Malformed for an invalid stream."""

    def __init__(self, sink: Sink[E]) -> None:
        self._sink = sink
        self._open: Block | None = None
        self._waiting: deque[Block] = deque()
        self._held = 0

    def add_text(self, key: str, text: str, signature: str = "") -> list[E]:
        """Adds text, or reasoning with its ``signature``."""
        last = self._waiting[-1] if self._waiting else self._open
        if last is None or last.key != key:
            last = self.add(Block(key, is_call=False, signature=signature))
        return self.grow(last, text)

    def add(self, block: Block) -> Block:
        self._hold(_BLOCK_COST)
        self._waiting.append(block)
        return block

    def grow(self, block: Block, piece: str) -> list[E]:
        """Adds a piece, which may be empty: a call begins when it has a name."""
        if block.is_call and not block.pieces and piece.isspace():
            piece = ""  # white space before the arguments
        if block.is_over:
            return []  # arguments after a complete object
        is_open = block is self._open
        if piece and (block.is_call or not is_open):
            self._hold(len(piece))
            block.pieces.append(piece)
        events = self._sink.grow(block, piece) if piece and is_open else []
        return events + self._advance() if self._waiting else events

    def end(self) -> list[E]:
        """Sends the waiting blocks as they are, at the end of the stream."""
        events: list[E] = []
        while self._waiting:
            events += self._begin(self._waiting.popleft())
        return events + self._close()

    def _advance(self) -> list[E]:
        events: list[E] = []
        while self._waiting and (not self._waiting[0].is_call or self._waiting[0].name):
            if self._open is not None and not self._open.is_complete():
                break
            events += self._begin(self._waiting.popleft())
        return events

    def _begin(self, block: Block) -> list[E]:
        events = self._close()
        self._open = block
        events += self._sink.begin(block)
        return events + self._sink.grow(block, "".join(block.pieces)) if block.pieces else events

    def _close(self) -> list[E]:
        block, self._open = self._open, None
        if block is None:
            return []
        self._held -= sum(map(len, block.pieces)) + _BLOCK_COST
        events = self._sink.end(block)
        block.pieces, block.is_over = [], True
        return events

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > HELD_MOST:
            raise Malformed("too much of an answer with interleaved calls")
