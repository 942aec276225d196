"""Translates the chunks of a streamed chat completion to the events of a streamed response."""

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_chunks import DONE, NO_FUNCTION, Calls, ChatUsage, Chunk, Delta, chunk_of
from gateway.upstream.dialects.chat_order import Order
from gateway.upstream.dialects.responses_as_chat.answer import CONTENT, REASONING, REFUSAL, Frame, incomplete_reason
from gateway.upstream.dialects.responses_as_chat.events import Events


class Stream:
    """The translation of one stream. ``request``: the client's own."""

    def __init__(self, request: bytes) -> None:
        self._has_ended = False
        self._finish_reason: str | None = None
        self._usage: ChatUsage | None = None
        self._events = Events(Frame(request))
        self._order: Order[bytes] = Order(self._events)
        self._calls = Calls()

    @property
    def sequence_number(self) -> int:
        """The sequence number of the last event, -1 without one."""
        return self._events.sequence_number

    def feed(self, event: str, data: bytes) -> bytes:  # noqa: ARG002
        """Returns whole events for the client, if any; `[DONE]` gives the last ones. Raises Malformed."""
        if self._has_ended or not data.strip():
            return b""
        if data.startswith(DONE):
            return b"".join(self._last_events())
        return b"".join(self._events_of(chunk_of(data)))

    def _events_of(self, chunk: Chunk) -> list[bytes]:
        events: list[bytes] = []
        self._usage = chunk.usage or self._usage  # some servers count in every chunk: the last count is right
        # Azure's first chunk has neither id nor choices: it does not begin the answer.
        if not self._events.has_begun and (chunk.choices or chunk.id):
            events += self._events.start(chunk.id, chunk.model or "")
        for choice in (chunk.choices or ())[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta:
                events += self._grown(choice.delta)
        return events

    def _grown(self, delta: Delta) -> list[bytes]:
        events: list[bytes] = []
        texts = ((REASONING, delta.reasoning_content or delta.reasoning), (CONTENT, delta.content))
        for key, text in (*texts, (REFUSAL, delta.refusal)):
            if text:
                events += self._order.add_text(key, text)
        for piece in delta.tool_calls or ():
            block = self._calls.block_of(piece, self._order)
            events += self._order.grow(block, (piece.function or NO_FUNCTION).arguments or "")
        return events

    def _last_events(self) -> list[bytes]:
        if not self._events.has_begun:
            raise Malformed("the stream ended before it began")
        self._has_ended = True
        self._events.is_cut = incomplete_reason(self._finish_reason) is not None
        return [*self._order.end(), *self._events.finish(self._finish_reason, self._usage)]
