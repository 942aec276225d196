"""Translates the events of a streamed response to chat completion chunks, one event at a time."""

import time
from typing import Any

import msgspec

from gateway.json.lenient import NOT_DECODED, as_index, as_object, as_text, read
from gateway.json.malformed import Malformed
from gateway.upstream.dialects.chat_as_messages.reply import reply_id
from gateway.upstream.dialects.chat_as_responses.reply import call_of, chat_usage, finish_reason

DONE = b"data: [DONE]\n\n"
_ENDS = frozenset({"response.completed", "response.incomplete"})
_BROKEN = frozenset({"response.failed", "response.cancelled", "error"})
_encode = msgspec.json.Encoder().encode


class _Call(msgspec.Struct):
    index: int  # among the calls of the answer
    has_arguments: bool = False


class Stream:
    """The translation of one stream."""

    def __init__(self, include_usage: bool = True) -> None:
        self._include_usage = include_usage
        self._start = b""  # of every chunk, once the response has begun
        self._calls: dict[int | str, _Call] = {}  # by the index of their items, else by the id
        self._is_done = False

    def feed(self, event: str, data: bytes) -> bytes:
        """Returns the chunks for one event. The type inside the data counts, as in the official client. Raises
        Malformed.
        """
        if self._is_done or not data.strip() or data.startswith(b"[DONE]"):
            return b""
        try:
            fields = as_object(read(data))
        except NOT_DECODED as error:
            raise Malformed(str(error)) from error
        kind = as_text(fields.get("type")) or event
        if kind in _BROKEN:
            raise Malformed("the provider's stream ended in an error")
        match kind:
            case "response.created" | "response.in_progress":
                return self._begin(as_object(fields.get("response")))
            case "response.output_text.delta":
                return self._delta("content", fields)
            case "response.refusal.delta":
                return self._delta("refusal", fields)
            case "response.output_item.added" | "response.output_item.done":
                return self._item(kind, fields)
            case "response.function_call_arguments.delta":
                return self._arguments(self._calls.get(_key(fields, fields)), as_text(fields.get("delta")))
            case _ if kind in _ENDS:
                return self._end(as_object(fields.get("response")))
        return b""

    def _begin(self, response: dict[str, Any]) -> bytes:
        if self._start:
            return b""
        self._start = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(reply_id(as_text(response.get("id")))),
            int(time.time()),
            _encode(as_text(response.get("model")) or ""),
        )
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _delta(self, name: str, fields: dict[str, Any]) -> bytes:
        text = as_text(fields.get("delta"))
        return self._chunk({name: text}) if text else b""

    def _item(self, kind: str, fields: dict[str, Any]) -> bytes:
        """Begins a call with its item, and completes it: some servers send its arguments with its end only."""
        item = as_object(fields.get("item"))
        if item.get("type") != "function_call":
            return b""
        key, begun = _key(fields, item), b""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(len(self._calls))
            first = call_of(item)
            function = {"name": first.function.name, "arguments": ""}
            begun = self._call({"index": call.index, "id": first.id, "type": "function", "function": function})
        if kind == "response.output_item.done" and not call.has_arguments:
            return begun + self._arguments(call, call_of(item).function.arguments)
        return begun

    def _arguments(self, call: _Call | None, piece: str | None) -> bytes:
        if call is None:
            raise Malformed("the arguments of a call that has not begun")
        if not piece:
            return b""
        call.has_arguments = True
        return self._call({"index": call.index, "function": {"arguments": piece}})

    def _call(self, piece: dict[str, object]) -> bytes:
        return self._chunk({"tool_calls": [piece]})

    def _end(self, response: dict[str, Any]) -> bytes:
        empty = [self._arguments(call, "{}") for call in self._calls.values() if not call.has_arguments]
        finish = self._chunk({}, finish_reason(response, has_calls=bool(self._calls)))
        self._is_done = True
        usage = b""
        if self._include_usage:
            usage = self._start + b'],"usage":%b}\n\n' % _encode(chat_usage(response.get("usage")))
        return b"".join(empty) + finish + usage + DONE

    def _chunk(self, delta: dict[str, object], reason: str | None = None) -> bytes:
        """Returns a chunk, after the start of the answer where the server left it out."""
        began = b"" if self._start else self._begin({})
        usage = b',"usage":null' if self._include_usage else b""
        choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]' % (_encode(delta), _encode(reason))
        return began + self._start + choice + usage + b"}\n\n"


def _key(fields: dict[str, Any], item: dict[str, Any]) -> int | str:
    """Returns what distinguishes a call: the index of its item, or the id where a server sends none."""
    index = as_index(fields.get("output_index"))
    return as_text(item.get("item_id") or item.get("id")) or "" if index is None else index
