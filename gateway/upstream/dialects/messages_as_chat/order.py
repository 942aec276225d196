"""Blocks of a streamed message are told one after the other, whereas a provider may tell its calls by turns.

The block that has begun is told piece by piece. What belongs to another one waits until the input of the call before it
is complete, or the stream has ended: nobody says when a call is.
"""

from collections import deque

import msgspec

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.messages_as_chat.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    InputDelta,
    TextDelta,
)
from gateway.upstream.dialects.messages_as_chat.reply import TextBlock, ToolUseBlock, tool_use_id
from gateway.upstream.dialects.tool_input import is_object, is_whole, tool_input

HELD_MOST = 4 * 1_048_576  # characters, of the open call and all that waits for it: more than any model can say
_BLOCK_COST = 256  # of a block without a word


class Block(msgspec.Struct):
    """A stretch of text or a call. ``key`` tells it from others; ``pieces`` of text are kept only while it waits;
    ``id`` and ``name`` are a call's, as far as they were told.
    """

    key: str
    is_call: bool
    id: str | None = None
    name: str | None = None
    pieces: list[str] = []
    is_over: bool = False

    def is_complete(self) -> bool:
        if self.is_over or not self.is_call:
            return True
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}") and is_whole("".join(self.pieces))

    def is_odd(self) -> bool:
        """Are the arguments no object? Then the input is made of all of them."""
        return self.is_call and bool(self.pieces) and not is_object(self.pieces[0])


class Order:
    """The blocks of one message. What is returned is to be told now; what raises Malformed cannot be told."""

    def __init__(self) -> None:
        self._open: Block | None = None
        self._waiting: deque[Block] = deque()
        self._begun = 0
        self._held = 0
        self._use_ids: set[str] = set()

    def say(self, key: str, text: str) -> list[Event]:
        last = self._waiting[-1] if self._waiting else self._open
        if last is None or last.key != key:
            last = self.add(Block(key, is_call=False))
        return self.grow(last, text)

    def add(self, block: Block) -> Block:
        self._hold(_BLOCK_COST)
        self._waiting.append(block)
        return block

    def grow(self, block: Block, piece: str) -> list[Event]:
        """``piece`` may be empty: a call begins when it has a name."""
        if block.is_call and not block.pieces and piece.isspace():
            piece = ""  # arguments of nothing but white space are none
        if block.is_over:
            return []  # arguments that go on behind a complete object
        is_open = block is self._open
        if piece and (block.is_call or not is_open):
            self._hold(len(piece))
            block.pieces.append(piece)
        told: list[Event] = [self._delta(block, piece)] if piece and is_open and not block.is_odd() else []
        return told + self._advance() if self._waiting else told

    def end(self) -> list[Event]:
        """Nothing more will come: what waited is told as it is."""
        events: list[Event] = []
        while self._waiting:
            events += self._begin(self._waiting.popleft())
        return events + self._close()

    def _advance(self) -> list[Event]:
        events: list[Event] = []
        while self._waiting and (not self._waiting[0].is_call or self._waiting[0].name):
            if self._open is not None and not self._open.is_complete():
                break
            events += self._begin(self._waiting.popleft())
        return events

    def _begin(self, block: Block) -> list[Event]:
        events = self._close()
        started = self._started(block)
        self._open = block
        self._begun += 1
        events.append(BlockStart(self._begun - 1, started))
        if block.pieces and not block.is_odd():
            events.append(self._delta(block, "".join(block.pieces)))
        return events

    def _started(self, block: Block) -> TextBlock | ToolUseBlock:
        if not block.is_call:
            return TextBlock("")
        return ToolUseBlock(tool_use_id(block.id, self._use_ids), block.name or "", {})

    def _delta(self, block: Block, piece: str) -> BlockDelta:
        return BlockDelta(self._begun - 1, InputDelta(piece) if block.is_call else TextDelta(piece))

    def _close(self) -> list[Event]:
        block, self._open = self._open, None
        if block is None:
            return []
        self._held -= sum(map(len, block.pieces)) + _BLOCK_COST
        events = [self._delta(block, _input(block))] if block.is_odd() else []
        block.pieces, block.is_over = [], True
        return [*events, BlockStop(self._begun - 1)]

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > HELD_MOST:
            raise Malformed("too much of an answer whose calls are told by turns")


def _input(block: Block) -> str:
    return msgspec.json.encode(tool_input("".join(block.pieces))).decode()
