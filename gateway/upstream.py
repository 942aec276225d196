"""One call of one deployment, over aiohttp.

A plain answer is read whole, a stream up to its first content, before it is judged: until then a fault can still be
hidden behind the next candidate. The holder of an Exchange closes it.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import aiohttp
import msgspec

from gateway.calls import Call, Kind, tokens_of
from gateway.classify import (
    FAILURE,
    OUR_LIMIT,
    PASSING,
    SUCCESS,
    is_own_fault,
    judge,
    judge_fault,
    judge_in_band,
    reason_of,
)
from gateway.connections import fresh_connection, is_closed_unanswered, session
from gateway.cooldowns import retry_after_ms, served_ms, throttled_ms
from gateway.dialects.lenient_json import NOT_DECODED
from gateway.dialects.malformed import Malformed
from gateway.error_words import names_part_of, try_again_ms
from gateway.errors import InvalidRequest, ReplicaFault
from gateway.exchange import FAULTS, Exchange, release
from gateway.fault_words import fault_words
from gateway.in_band import announced, has_words, is_response, no_reply
from gateway.plain_as_stream import as_stream
from gateway.providers.adapters import Adapter
from gateway.redaction import without_keys
from gateway.settings import DeploymentSettings
from gateway.sse import NotEvents
from gateway.stream_content import Preamble
from gateway.targets import Target, target
from gateway.upstream_errors import UpstreamError, error_of
from shared_state.records import Outcome

_log = logging.getLogger("pllm.upstream")

REPLY_MOST = 64 * 1_048_576  # a plain answer is held in memory
KEEP_ALIVE_S = 30.0
TEXT_MOST = 500  # of an error in plain text
_NO_ANSWER = (204, 205, 206)  # no body, or an unrequested part of one
_REQUEST_IDS = frozenset(
    {b"x-request-id", b"request-id", b"apim-request-id", b"x-amzn-requestid", b"x-goog-request-id"}
)
_REQUEST_ID_MOST = 200

Pairs = tuple[tuple[str, str], ...]


class _Sent(msgspec.Struct, frozen=True):
    """What an answer is read against. ``heard``: called at each sign of life."""

    call: Call
    target: Target
    body: bytes
    heard: Callable[[], None]

    def names(self, error: UpstreamError) -> bool:
        return names_part_of(self.body, error, f"{self.call.model} {self.target.model}")


class Upstream:
    """Sends calls to deployments. Made inside a running loop; ``close`` ends its connections."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], connections: aiohttp.ClientSession | None = None
    ) -> None:
        self._session = connections or session(KEEP_ALIVE_S)
        targets = {(each.id, kind): target(each, kind) for each in deployments for kind in Kind}
        self._targets = {key: target for key, target in targets.items() if target is not None}

    def changed(self, deployments: Iterable[DeploymentSettings]) -> "Upstream":
        """Returns one for other deployments, over the same connections: calls under way continue."""
        return Upstream(deployments, self._session)

    async def close(self) -> None:
        await self._session.close()

    def serves(self, deployment_id: str, kind: Kind) -> bool:
        return (deployment_id, kind) in self._targets

    async def send(
        self, deployment_id: str, call: Call, context: Pairs = (), heard: Callable[[], None] = lambda: None
    ) -> Exchange:
        """Never raises for what a provider or the network does: that is an outcome. Cancellation aborts the call.
        Raises InvalidRequest for a call that cannot be said in the provider's dialect, and ReplicaFault for a fault of
        this process. ``context``: headers that say which trace it belongs to; ``heard``: called at each sign of life
        before the answer is in hand.
        """
        target = self._targets[deployment_id, call.kind]
        try:
            body = target.adapter.request(call)
        except InvalidRequest:
            raise
        except Exception as defect:
            raise _defect(deployment_id) from defect
        more = (call.edition if target.adapter.has_editions else ()) + context
        headers = {**target.headers, **dict(more)} if more else target.headers
        started = time.perf_counter()
        try:
            response = await self._post(target, body, headers)
            exchange = await _read(response, _Sent(call, target, body, heard))
        except (*FAULTS, MemoryError) as fault:
            if is_own_fault(fault):
                _log.error("deployment %s: %s", deployment_id, fault_words(fault))
                raise ReplicaFault(f"This replica cannot send: {fault_words(fault)}.") from fault
            exchange = Exchange(judge_fault(fault), reason=fault_words(fault))
            exchange.is_sent = not isinstance(fault, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            exchange.is_free = exchange.outcome is Outcome.FAILURE or not exchange.is_sent
        except _Defect as defect:
            raise _defect(deployment_id) from defect.__cause__
        if exchange.reason:
            exchange.reason = without_keys(exchange.reason, target.key)
        exchange.latency_ms = round((time.perf_counter() - started) * 1000)
        return exchange

    async def _post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Sends again, on a new connection, when a kept one was closed before any byte of the answer. aiohttp does so
        for GET only.
        """

        async def post() -> aiohttp.ClientResponse:
            return await self._session.post(
                target.adapter.url, data=body, headers=headers, timeout=target.timeout, allow_redirects=False
            )

        try:
            return await post()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not is_closed_unanswered():
                raise
        with fresh_connection():
            return await post()


class _Defect(Exception):
    """A translation of ours failed on an answer."""


def _defect(deployment_id: str) -> ReplicaFault:
    _log.exception("defect in the translation of a call of deployment %s", deployment_id)
    return ReplicaFault("An internal error occurred.", code="internal_error")


async def _read(response: aiohttp.ClientResponse, sent: _Sent) -> Exchange:
    is_answer = 200 <= response.status < 300 and response.status not in _NO_ANSWER
    is_open = False
    try:
        if is_answer and sent.call.is_stream:
            exchange = await _read_preamble(response, sent)
            is_open = exchange.is_open
        else:
            exchange = await _read_whole(response, is_answer, sent)
    finally:
        if not is_open:
            await release(response)
    exchange.status = exchange.status or response.status
    exchange.content_type = b"text/event-stream" if sent.call.is_stream else b"application/json"
    exchange.wire, exchange.choices, exchange.names = sent.target.adapter.wire, sent.call.choices, sent.names
    if exchange.outcome is Outcome.FAILURE:
        exchange.is_free = True  # nothing of an answer has come
    if exchange.is_passed_on and sent.call.is_stream:
        exchange.convert = sent.target.adapter.stream(sent.call)
    _read_headers(exchange, response)
    return exchange


def _read_headers(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    waits: dict[bytes, bytes] = {}
    for name, value in response.raw_headers:
        lowered = name.lower()
        if b"ratelimit" in lowered or lowered.startswith(b"retry-after"):
            waits.setdefault(lowered, value)
        elif lowered in _REQUEST_IDS and not exchange.request_id and value.isascii() and value.decode().isprintable():
            exchange.request_id = value[:_REQUEST_ID_MOST]
    if exchange.outcome is Outcome.SUCCESS:
        exchange.retry_after_ms = served_ms(waits, response.headers) if waits else 0
    elif not exchange.retry_after_ms:
        exchange.retry_after_ms = retry_after_ms(waits, response.headers)
        if exchange.outcome is Outcome.THROTTLED and not exchange.retry_after_ms:
            told_ms = try_again_ms(exchange.error) if exchange.error else 0
            exchange.retry_after_ms = throttled_ms(waits, response.headers) or told_ms


async def _read_whole(response: aiohttp.ClientResponse, is_answer: bool, sent: _Sent) -> Exchange:
    parts, size = [], 0
    while part := await response.content.readany():
        sent.heard()
        parts.append(part)
        size += len(part)
        if size > REPLY_MOST:
            return Exchange(OUR_LIMIT, reason="the answer is larger than 64 MiB")
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    if not is_answer:
        error = error_of(body) or _plain_text(response, body)
        reason = reason_of(response.status, error)
        return _refused(Exchange(judge(response.status, error, sent.names), body=body, reason=reason), error)
    adapter = sent.target.adapter
    error = announced(adapter.wire, body)
    if error is not None:
        is_end = is_response(body) if adapter.wire is Kind.RESPONSE else adapter.reply is None and has_words(body)
        return _in_band(error, sent, body, is_documented_end=is_end)
    exchange = Exchange(SUCCESS, body=body)
    try:
        exchange.input_tokens, exchange.output_tokens, exchange.cached_tokens = tokens_of(adapter.wire, body)
        exchange.body = _translated(adapter, body)
    except (*NOT_DECODED, Malformed):
        error = error_of(body)
        if error is not None:
            return _in_band(error, sent, body)
        return Exchange(FAILURE, reason=no_reply(body, f"the answer's body is no reply of {adapter.wire.value}"))
    return exchange


def _translated(adapter: Adapter, body: bytes) -> bytes:
    """Raises Malformed for an answer that is not of its dialect, _Defect for a fault of ours."""
    if adapter.reply is None:
        return body
    try:
        return adapter.reply(body)
    except (Malformed, RecursionError):
        raise
    except Exception as defect:
        raise _Defect from defect


def _refused(exchange: Exchange, error: UpstreamError | None) -> Exchange:
    exchange.error, exchange.is_free = error, True
    return exchange


def _in_band(error: UpstreamError, sent: _Sent, body: bytes, is_documented_end: bool = False) -> Exchange:
    """An error within a 200: judged as if its code had been the status."""
    status, judgement = judge_in_band(error, sent.names)
    reason = reason_of(status, error, is_in_band=True)
    exchange = _refused(Exchange(judgement, status=status, body=body, reason=reason), error)
    exchange.is_documented_end = is_documented_end
    return exchange


def _plain_text(response: aiohttp.ClientResponse, body: bytes) -> UpstreamError | None:
    """Short words of a proxy or server that has no error object."""
    if response.content_type not in ("text/plain", "application/octet-stream") or not body:
        return None
    return UpstreamError(" ".join(body[:TEXT_MOST].decode("utf-8", "replace").split()))


async def _read_preamble(response: aiohttp.ClientResponse, sent: _Sent) -> Exchange:
    chunks, preamble = aiter(response.content.iter_any()), Preamble(sent.target.adapter.wire)
    try:
        is_over = False
        async for chunk in chunks:
            sent.heard()
            is_over = preamble.feed(chunk)
            if is_over:
                break
        if not is_over and not preamble.end():
            return Exchange(PASSING, reason="the stream ended before its first content")
    except NotEvents as fault:
        return await _read_no_stream(chunks, preamble, sent, str(fault))
    body = bytes(preamble.body)
    if preamble.error is not None:
        return _in_band(preamble.error, sent, body, preamble.is_documented_end)
    exchange = Exchange(SUCCESS, body=body)
    exchange.open(response, chunks)
    return exchange


async def _read_no_stream(chunks: AsyncIterator[bytes], preamble: Preamble, sent: _Sent, reason: str) -> Exchange:
    """A plain body for a streaming request: an error object, or the whole answer."""
    body = preamble.body
    if bytes(body.lstrip()[:1]) in (b"{", b"["):
        async for chunk in chunks:
            sent.heard()
            body += chunk
            if len(body) > REPLY_MOST:
                return Exchange(FAILURE, reason=reason)
        wire = sent.target.adapter.wire
        error = announced(wire, bytes(body))
        stream = as_stream(wire, bytes(body)) if error is None else None
        if stream is not None:
            return Exchange(SUCCESS, body=stream)
        error = error or error_of(bytes(body))
        if error is not None:
            return _in_band(error, sent, bytes(body))
    return Exchange(FAILURE, reason=no_reply(bytes(body), reason))
