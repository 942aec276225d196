"""Makes the events of a streamed response: each item begins, grows and ends before the next one begins."""

import time
from typing import Any

import msgspec

from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_chunks import ChatUsage
from gateway.upstream.dialects.chat_order import Block
from gateway.upstream.dialects.responses_as_chat.answer import (
    COMPLETED,
    CONTENT,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    REASONING,
    REFUSAL,
    Frame,
    Item,
    OutputText,
    RefusalText,
    Response,
    SummaryText,
    call_id_of,
    ended,
    response_id,
)

ANSWER_MOST = 64 * 1_048_576  # characters: the end of a response repeats all of it
_encode = msgspec.json.Encoder().encode
_PART_EVENTS = {CONTENT: "output_text", REFUSAL: "refusal", REASONING: "reasoning_summary_text"}


class Events:
    """The events of one response. Implements `Sink`."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._response: Response | None = None
        self._output: list[Item] = []
        self._item_id = self._call_id = ""
        self._text: list[str] = []
        self._size = 0  # characters of all items
        self.is_cut = False  # the items that end now are not whole
        self._call_ids: set[str] = set()
        self.sequence_number = -1  # of the last event

    @property
    def has_begun(self) -> bool:
        return self._response is not None

    def start(self, provider_id: str | None, model: str) -> list[bytes]:
        self._response = Response(response_id(provider_id), int(time.time()), IN_PROGRESS, model, [])
        return [self._whole("response.created", self._response), self._whole("response.in_progress", self._response)]

    def finish(self, finish_reason: str | None, counted: ChatUsage | None) -> list[bytes]:
        assert self._response is not None
        whole = msgspec.structs.replace(self._response, output=self._output)
        if finish_reason == "error":
            error = {"code": "server_error", "message": "The provider ended its answer with an error."}
            return [self._whole("response.failed", msgspec.structs.replace(whole, status=FAILED, error=error))]
        response = ended(whole, finish_reason, counted)
        return [self._whole(f"response.{response.status}", response)]

    def begin(self, block: Block) -> list[bytes]:
        self._item_id, self._text = self._frame.item_id(block), []
        self._call_id = call_id_of(block.id, self._call_ids) if block.is_call else ""
        item = self._frame.item(block, self._item_id, self._call_id, "", IN_PROGRESS)
        events = [self._event("response.output_item.added", output_index=len(self._output), item=item)]
        return events if block.is_call else [*events, self._part(block, "added", "")]

    def grow(self, block: Block, piece: str) -> list[bytes]:
        self._text.append(piece)
        self._size += len(piece)
        if self._size > ANSWER_MOST:
            raise Malformed("an answer of more than 64 MiB")
        if not block.is_call:
            more: dict[str, Any] = {"logprobs": ()} if block.key == CONTENT else {}
            return [self._of_part(block, f"{_PART_EVENTS[block.key]}.delta", delta=piece, **more)]
        if self._frame.tool(block).is_custom:
            return []  # the input is within the arguments
        return [self._of_item("function_call_arguments.delta", delta=piece)]

    def end(self, block: Block) -> list[bytes]:
        text = "".join(self._text)
        events = self._call_ended(block, text) if block.is_call else self._text_ended(block, text)
        text = text or ("{}" if block.is_call else "")
        status = INCOMPLETE if self.is_cut else COMPLETED
        item = self._frame.item(block, self._item_id, self._call_id, text, status)
        events.append(self._event("response.output_item.done", output_index=len(self._output), item=item))
        self._output.append(item)
        return events

    def _text_ended(self, block: Block, text: str) -> list[bytes]:
        done = {"refusal" if block.key == REFUSAL else "text": text}
        if block.key == CONTENT:
            done["logprobs"] = ()  # type: ignore[assignment]
        return [self._of_part(block, f"{_PART_EVENTS[block.key]}.done", **done), self._part(block, "done", text)]

    def _call_ended(self, block: Block, arguments: str) -> list[bytes]:
        """Ends a call. A tool without parameters may have got no arguments at all, but clients expect JSON."""
        if self._frame.tool(block).is_custom:
            item: Any = self._frame.item(block, self._item_id, self._call_id, arguments or "{}")
            delta = self._of_item("custom_tool_call_input.delta", delta=item.input)
            return [delta, self._of_item("custom_tool_call_input.done", input=item.input)]
        events = [] if arguments else [self._of_item("function_call_arguments.delta", delta="{}")]
        name = self._frame.tool(block).name
        done = self._of_item("function_call_arguments.done", arguments=arguments or "{}", name=name)
        return [*events, done]

    def _part(self, block: Block, what: str, text: str) -> bytes:
        if block.key == REASONING:
            return self._of_part(block, f"reasoning_summary_part.{what}", part=SummaryText(text))
        part = RefusalText(text) if block.key == REFUSAL else OutputText(text)
        return self._of_part(block, f"content_part.{what}", part=part)

    def _of_part(self, block: Block, kind: str, **fields: Any) -> bytes:
        index = "summary_index" if block.key == REASONING else "content_index"
        return self._of_item(kind, **{index: 0}, **fields)

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        return self._event(f"response.{kind}", item_id=self._item_id, output_index=len(self._output), **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self.sequence_number += 1
        data = _encode({"type": kind, "sequence_number": self.sequence_number, **fields})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _whole(self, kind: str, response: Response) -> bytes:
        return self._event(kind, response=msgspec.Raw(self._frame.written(response)))
