"""One exchange with one deployment, over aiohttp.

A plain answer is read whole, a stream up to its first event, before anything is said of it: until then a fault can
still be hidden behind the next candidate. Whoever holds an Exchange closes it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import aiohttp

from gateway.calls import NOT_JSON, Call, Kind, UpstreamError, error_of, tokens_of
from gateway.classify import (
    QUOTA_COOL_MS,
    Refusal,
    classify_fault,
    classify_refusal,
    classify_status,
    is_quota_exhausted,
    retry_after_ms,
    used_up_ms,
)
from gateway.connections import session
from gateway.dialects.malformed import Malformed
from gateway.providers.adapters import Adapter, Converter
from gateway.settings import DeploymentSettings
from gateway.sse import FIRST_EVENT_MOST, FirstEvent, NotEvents, Progress, WholeEvents
from gateway.targets import target
from shared_state.records import Outcome

REPLY_MOST = 64 * 1_048_576  # a plain answer is held in memory
KEEP_ALIVE_S = 30.0
HELD_MOST = 1_048_576  # of an event that is not complete: more is passed on in parts, as an image's event may be
BODY_END_S = 0.1  # after a stream's last event
EVENT_MOST = 16 * HELD_MOST  # of one that has to be translated
_FAULTS = (aiohttp.ClientError, OSError)

Pairs = tuple[tuple[str, str], ...]


class StreamBroken(Exception):
    """A stream that had begun was cut or went on with an error."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Exchange:
    """The answer of a deployment so far.

    ``outcome`` judges a plain answer finally and a stream provisionally; ``body`` is the plain answer or the first
    bytes of a stream; ``latency_ms`` the time to them; ``error`` the provider's error object, if it sent one, and
    ``refusal`` why another model may take what this one refused; ``late`` the outcome of a stream that has to be cut
    off at its deadline.
    """

    def __init__(self, outcome: Outcome, *, status: int = 0, body: bytes = b"") -> None:
        self.outcome = outcome
        self.status = status
        self.body = body
        self.content_type = b"application/json"
        self.latency_ms = 0
        self.input_tokens = self.output_tokens = self.cached_tokens = 0
        self.retry_after_ms = 0
        self.error: UpstreamError | None = None
        self.refusal: Refusal | None = None
        self.is_quota_exhausted = False
        self.late = Outcome.TIMEOUT
        self._response: aiohttp.ClientResponse | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._wire = Kind.CHAT
        self._convert: Converter | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The stream's bytes from its first to its last, in whole events: a half one before an error would spoil the
        error for the client. Empty ones are signs of life: what the provider said is not for the client, or not yet.
        Raises StreamBroken when the stream does not end as it should.
        """
        assert self._chunks is not None
        progress, chunk, held, convert = Progress(self._wire), self.body, WholeEvents(), self._convert
        try:
            while chunk and not progress.has_error:
                whole = held.take(chunk)
                if whole:
                    whole = progress.see(whole)
                elif held.size > (EVENT_MOST if convert else HELD_MOST):
                    if convert:
                        raise StreamBroken(Outcome.FAILURE)
                    whole = held.rest()
                    progress.skip()
                yield convert(whole) if whole and convert else whole
                if not progress.has_error:
                    chunk = await self._following(progress.is_done)
            rest = progress.see(held.rest())
            self.input_tokens, self.output_tokens = progress.input_tokens, progress.output_tokens
            self.cached_tokens = progress.cached_tokens
            if not progress.is_done:
                raise StreamBroken(Outcome.FAILURE)
            if rest:
                yield convert(rest + b"\n\n") if convert else rest
        except _FAULTS as error:
            raise StreamBroken(classify_fault(error)) from error
        except Malformed as error:
            raise StreamBroken(Outcome.FAILURE) from error

    async def _following(self, is_done: bool) -> bytes:
        """The next bytes, empty at the end. Of a stream that is complete only the end of its body is missing: it is
        worth a moment, for the connection, but neither an error nor a wait.
        """
        assert self._chunks is not None
        if not is_done:
            return await anext(self._chunks, b"")
        try:
            async with asyncio.timeout(BODY_END_S):
                return await anext(self._chunks, b"")
        except (TimeoutError, *_FAULTS):
            return b""

    @property
    def cost(self) -> int:
        """A request that was refused costs nothing; of any other what it cost has to be reckoned (-1)."""
        return 0 if self.status >= 400 else -1

    @property
    def tokens(self) -> int:
        """In and out, -1 when the provider did not tell."""
        return self.input_tokens + self.output_tokens or -1

    async def close(self) -> None:
        """Gives the connection back; one whose answer was not read to its end is closed."""
        response, self._response = self._response, None
        if response is not None:
            await _give_back(response)


class Upstream:
    """Sends calls to deployments. Made inside a running loop; ``close`` gives its connections back."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], connections: aiohttp.ClientSession | None = None
    ) -> None:
        self._session = connections or session(KEEP_ALIVE_S)
        targets = {(each.id, kind): target(each, kind) for each in deployments for kind in Kind}
        self._targets = {key: target for key, target in targets.items() if target is not None}

    def changed(self, deployments: Iterable[DeploymentSettings]) -> "Upstream":
        """To other deployments, over the same connections: what is under way goes on here. One of them is closed."""
        return Upstream(deployments, self._session)

    async def close(self) -> None:
        await self._session.close()

    def serves(self, deployment_id: str, kind: Kind) -> bool:
        return (deployment_id, kind) in self._targets

    async def send(self, deployment_id: str, call: Call, context: Pairs = ()) -> Exchange:
        """Never raises for what a provider or the network does: that is an outcome. Cancellation aborts the call.
        Raises InvalidRequest for a call that cannot be said in the provider's dialect. ``context``: headers that say
        which trace it belongs to.
        """
        target = self._targets[deployment_id, call.kind]
        body = target.adapter.request(call)
        more = (call.edition if target.adapter.has_editions else ()) + context
        headers = {**target.headers, **dict(more)} if more else target.headers
        started = time.perf_counter()
        try:
            response = await self._session.post(
                target.adapter.url, data=body, headers=headers, timeout=target.timeout, allow_redirects=False
            )
            exchange = await _read(response, target.adapter, call)
        except _FAULTS as error:
            exchange = Exchange(classify_fault(error))
        exchange.latency_ms = round((time.perf_counter() - started) * 1000)
        return exchange


async def _give_back(response: aiohttp.ClientResponse) -> None:
    """Its connection; one whose answer was not read to its end is closed."""
    response.release()
    await response.wait_for_close()


async def _read(response: aiohttp.ClientResponse, adapted: Adapter, call: Call) -> Exchange:
    outcome = classify_status(response.status)
    is_open = False
    try:
        if outcome is Outcome.SUCCESS and call.is_stream:
            exchange = await _read_first_event(response, adapted.wire)
            exchange._wire, exchange._convert = adapted.wire, adapted.stream(call)
            is_open = exchange.outcome is Outcome.SUCCESS
        else:
            exchange = await _read_whole(response, outcome, adapted)
    finally:
        if not is_open:
            await _give_back(response)
    exchange.status = response.status
    exchange.content_type = b"text/event-stream" if call.is_stream else b"application/json"
    limits: dict[bytes, bytes] = {}
    for name, value in response.raw_headers:
        lowered = name.lower()
        if lowered == b"retry-after":
            told_ms = retry_after_ms(value.decode("latin-1"), response.headers)
            exchange.retry_after_ms = exchange.retry_after_ms or told_ms
        elif b"ratelimit" in lowered:
            limits[lowered] = value
    if exchange.outcome is Outcome.SUCCESS:
        exchange.retry_after_ms = used_up_ms(limits, response.headers) if limits else 0
    return exchange


async def _read_whole(response: aiohttp.ClientResponse, outcome: Outcome, adapted: Adapter) -> Exchange:
    parts, size = [], 0
    while part := await response.content.readany():
        parts.append(part)
        size += len(part)
        if size > REPLY_MOST:
            return Exchange(Outcome.FAILURE)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    exchange = Exchange(outcome, body=body)
    if outcome is not Outcome.SUCCESS:
        _read_error(exchange, response.status)
        return exchange
    try:
        exchange.input_tokens, exchange.output_tokens, exchange.cached_tokens = tokens_of(adapted.wire, body)
        if adapted.reply:
            exchange.body = adapted.reply(body)
    except (*NOT_JSON, Malformed):
        exchange.outcome = Outcome.FAILURE  # HTML, half a JSON, nothing
    return exchange


def _read_error(exchange: Exchange, status: int) -> None:
    exchange.error = error_of(exchange.body)
    if is_quota_exhausted(status, exchange.error):
        exchange.outcome, exchange.is_quota_exhausted, exchange.retry_after_ms = Outcome.THROTTLED, True, QUOTA_COOL_MS
    elif exchange.outcome is Outcome.CLIENT_ERROR and exchange.error:
        exchange.refusal = classify_refusal(exchange.error)


async def _read_first_event(response: aiohttp.ClientResponse, wire: Kind) -> Exchange:
    """And what came with it: an error there is not too late for another candidate."""
    chunks = aiter(response.content.iter_any())
    buffer, first = bytearray(), FirstEvent()
    try:
        async for chunk in chunks:
            buffer += chunk
            if b"\n" not in chunk and len(buffer) <= FIRST_EVENT_MOST:
                continue  # no event can end here
            if first.end(buffer) >= 0:
                progress = Progress(wire)
                progress.see(bytes(buffer))
                if progress.has_error and not progress.is_done:
                    break
                exchange = Exchange(Outcome.SUCCESS, body=bytes(buffer))
                exchange._response = response
                exchange._chunks = chunks
                return exchange
    except NotEvents:
        pass
    return Exchange(Outcome.FAILURE)
