"""Judges a whole answer: the reply of its dialect, or an error in any of the known shapes.

No step does I/O, so a large answer can be judged off the event loop.
"""

from collections.abc import Callable

import msgspec

from gateway.json.lenient import NOT_DECODED
from gateway.json.malformed import Malformed
from gateway.request.calls import NOT_JSON, Call, Kind, usage_of
from gateway.request.off_loop import LARGE
from gateway.request.usage import cache_share, token_counts
from gateway.upstream.classify import FAILURE, STATE_UNKNOWN, SUCCESS, judge, judge_in_band, reason_of
from gateway.upstream.error_words import names_part_of
from gateway.upstream.exchange import Exchange
from gateway.upstream.in_band import announced, has_words, is_response, no_reply
from gateway.upstream.made_state import made_by_plain_message, made_by_plain_response
from gateway.upstream.plain_as_stream import as_stream
from gateway.upstream.targets import Target
from gateway.upstream.upstream_errors import UpstreamError, error_of

TEXT_MOST = 500  # of an error in plain text


class _Count(msgspec.Struct, frozen=True):
    """The answer to a request to count tokens."""

    input_tokens: int


_count = msgspec.json.Decoder(_Count)


class Sent(msgspec.Struct, frozen=True):
    """The request to which an answer belongs."""

    call: Call
    target: Target
    body: bytes
    on_activity: Callable[[], None]  # called whenever bytes of the answer arrive

    @property
    def is_large(self) -> bool:
        return len(self.body) > LARGE

    def names(self, error: UpstreamError) -> bool:
        return names_part_of(self.body, error, f"{self.call.model} {self.target.model}")


class Defect(Exception):
    """The gateway's own translation failed on an answer."""


def refused_whole(status: int, content_type: str, sent: Sent, body: bytes) -> Exchange:
    """Judges an answer with an error status."""
    error = error_of(body) or _plain_text(content_type, body)
    reason = reason_of(status, error)
    resource = sent.call.resource
    is_missing = resource is not None and not resource.counts_body and status == 404
    judgement = STATE_UNKNOWN if is_missing else judge(status, error, sent.names)
    return _refused(Exchange(judgement, body=body, reason=reason), error)


def answered_whole(sent: Sent, body: bytes) -> Exchange:
    """Judges a plain answer. Raises Defect."""
    adapter = sent.target.adapter
    if sent.call.resource is not None:
        if sent.call.resource.counts_body:
            return _counted(body)
        if body.lstrip()[:1] == b"{":
            return Exchange(SUCCESS, body=body)
        return Exchange(FAILURE, reason=no_reply(body, "the answer's body is not an object"))
    error = announced(adapter.wire, body)
    if error is not None:
        is_end = is_response(body) if adapter.wire is Kind.RESPONSE else has_words(body)
        return in_band(error, sent, body, is_documented_end=is_end)
    exchange = Exchange(SUCCESS, body=body)
    try:
        usage = usage_of(adapter.wire, body)
        if usage is not None:
            exchange.counts = token_counts(usage)
            exchange.cache_share = cache_share(usage, exchange.counts)
        exchange.body = _translated(sent, body)
        if adapter.reply is not None:
            return exchange  # the client cannot name what is in another dialect
        if adapter.wire is Kind.RESPONSE:
            exchange.made = made_by_plain_response(body)
        elif adapter.wire is Kind.MESSAGE:
            exchange.made = made_by_plain_message(body)
    except (*NOT_DECODED, Malformed):
        error = error_of(body)
        if error is not None:
            return in_band(error, sent, body)
        return Exchange(FAILURE, reason=no_reply(body, f"the answer's body is not a reply of {adapter.wire.value}"))
    return exchange


def _counted(body: bytes) -> Exchange:
    try:
        _count.decode(body)
    except NOT_JSON:
        return Exchange(FAILURE, reason=no_reply(body, "the answer's body has no input_tokens"))
    return Exchange(SUCCESS, body=body)


def _translated(sent: Sent, body: bytes) -> bytes:
    """Raises Malformed for an answer that breaks its dialect, Defect for a fault of the gateway."""
    reply = sent.target.adapter.reply
    if reply is None:
        return body
    try:
        return reply(sent.call, body)
    except (Malformed, RecursionError):
        raise
    except Exception as defect:
        raise Defect from defect


def _refused(exchange: Exchange, error: UpstreamError | None) -> Exchange:
    exchange.error, exchange.is_free = error, True
    return exchange


def in_band(error: UpstreamError, sent: Sent, body: bytes, is_documented_end: bool = False) -> Exchange:
    """Judges an error within a 200 as if its code were the status."""
    status, judgement = judge_in_band(error, sent.names)
    reason = reason_of(status, error, is_in_band=True)
    exchange = _refused(Exchange(judgement, status=status, body=body, reason=reason), error)
    exchange.is_documented_end = is_documented_end and sent.target.adapter.reply is None  # else in another dialect
    return exchange


def _plain_text(content_type: str, body: bytes) -> UpstreamError | None:
    """Returns the short text of a proxy or server that sends no error object."""
    if content_type not in ("text/plain", "application/octet-stream") or not body:
        return None
    return UpstreamError(" ".join(body[:TEXT_MOST].decode("utf-8", "replace").split()))


def judged_no_stream(sent: Sent, body: bytes, reason: str) -> Exchange:
    """Judges a plain body that answers a streaming request. ``reason``: why it is not a stream."""
    wire = sent.target.adapter.wire
    error = announced(wire, body)
    stream = as_stream(wire, body) if error is None else None
    if stream is not None:
        return Exchange(SUCCESS, body=stream)
    error = error or error_of(body)
    if error is not None:
        return in_band(error, sent, body)
    return Exchange(FAILURE, reason=no_reply(body, reason))
