"""One exchange with one deployment, over httpx's transport on aiohttp.

A plain answer is read whole, a stream up to its first event, before anything is said of it: until then a fault can
still be hidden behind the next candidate. Whoever holds an Exchange closes it.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, ItemsView, Iterable

import aiohttp
import httpx
import httpx_aiohttp
import msgspec

from gateway.calls import NOT_JSON, Call, UpstreamError, chat_reply, error_reply, output_tokens
from gateway.classify import classify_fault, classify_status, retry_after_ms
from gateway.providers import openai
from gateway.settings import DeploymentSettings
from gateway.sse import Malformed, Progress, first_event_end, whole_events_end
from shared_state.records import Outcome

REPLY_MOST = 64 * 1_048_576  # a plain answer is held in memory
CONNECTIONS_MOST = 0  # unlimited here: how many calls may run is decided by acquire, once
KEEP_ALIVE_S = 30.0
HELD_MOST = 1_048_576  # of an event that is not complete: more is passed on in parts, as an image's event may be
_FAULTS = (httpx.TransportError, aiohttp.ClientError, OSError)


class StreamBroken(Exception):
    """A stream that had begun was cut or went on with an error."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Exchange:
    """The answer of a deployment so far.

    ``outcome`` judges a plain answer finally and a stream provisionally; ``body`` is the plain answer or the first
    bytes of a stream; ``latency_ms`` the time to them; ``error`` the provider's error object, if it sent one;
    ``late`` the outcome of a stream that has to be cut off at its deadline.
    """

    def __init__(self, outcome: Outcome, *, status: int = 0, body: bytes = b"") -> None:
        self.outcome = outcome
        self.status = status
        self.body = body
        self.content_type = b"application/json"
        self.latency_ms = 0
        self.output_tokens = 0
        self.retry_after_ms = 0
        self.error: UpstreamError | None = None
        self.late = Outcome.TIMEOUT
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The stream's bytes from its first to its last, in whole events: a half one before an error would spoil the
        error for the client. Raises StreamBroken when the stream does not end as it should.
        """
        assert self._chunks is not None
        progress, chunk, rest = Progress(), self.body, b""
        try:
            while chunk:
                progress.see(chunk)
                if progress.has_error:
                    break
                rest += chunk
                end = len(rest) if len(rest) > HELD_MOST else whole_events_end(rest)
                if end:
                    yield rest[:end]
                    rest = rest[end:]
                chunk = await anext(self._chunks, b"")
        except _FAULTS as error:
            raise StreamBroken(classify_fault(error)) from error
        self.output_tokens = progress.output_tokens
        if progress.has_error or not progress.is_done:
            raise StreamBroken(Outcome.FAILURE)
        if rest:
            yield rest

    async def close(self) -> None:
        """Gives the connection back; one whose answer was not read to its end is closed."""
        response, self._response = self._response, None
        if response is not None:
            await response.stream.aclose()  # type: ignore[union-attr]


class FixedHeaders(httpx.Headers):
    """Headers that are the same for every request to a deployment: decoded once, not in every call."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self._decoded = headers

    def items(self) -> ItemsView[str, str]:
        return self._decoded.items()


class FixedURL(httpx.URL):
    """A URL that is rendered once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._rendered = url

    def __str__(self) -> str:
        return self._rendered


class Target(msgspec.Struct, frozen=True):
    """What every request to a deployment has in common."""

    deployment: DeploymentSettings
    url: FixedURL
    headers: FixedHeaders
    extensions: dict[str, dict[str, float]]


class PreparedRequest(httpx.Request):
    """A POST of bytes to a target. httpx builds its requests for the general case, at four times the cost: this one
    has just what the transport reads.
    """

    def __init__(self, target: Target, body: bytes) -> None:
        self.method = "POST"
        self.url = target.url
        self.headers = target.headers
        self.extensions = target.extensions
        self._body = body

    @property
    def content(self) -> bytes:
        return self._body


def _target(deployment: DeploymentSettings) -> Target:
    url = FixedURL(openai.url(deployment))
    fixed = {"host": url.netloc.decode(), "accept-encoding": "identity", "user-agent": "pllm-gateway"}
    timeouts = {
        "connect": deployment.connect_timeout_ms / 1000,
        "read": deployment.timeout_ms / 1000,
        "pool": deployment.connect_timeout_ms / 1000,
    }
    return Target(deployment, url, FixedHeaders(fixed | openai.headers(deployment)), {"timeout": timeouts})


class Upstream:
    """Sends calls to deployments. Made inside a running loop; ``close`` gives its connections back."""

    def __init__(self, deployments: Iterable[DeploymentSettings]) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MOST, keepalive_timeout=KEEP_ALIVE_S)
        # No cookies: they would carry one tenant's traces to the next.
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._transport = httpx_aiohttp.AiohttpTransport(client=session)
        self._targets = {deployment.id: _target(deployment) for deployment in deployments}

    async def close(self) -> None:
        await self._transport.aclose()

    async def send(self, deployment_id: str, call: Call) -> Exchange:
        """Never raises for what a provider or the network does: that is an outcome. Cancellation aborts the call."""
        target = self._targets[deployment_id]
        started = time.perf_counter()
        try:
            request = PreparedRequest(target, openai.body(target.deployment, call))
            response = await self._transport.handle_async_request(request)
            exchange = await _read(response, call.is_stream)
        except _FAULTS as error:
            exchange = Exchange(classify_fault(error))
        exchange.latency_ms = round((time.perf_counter() - started) * 1000)
        return exchange


async def _read(response: httpx.Response, is_stream: bool) -> Exchange:
    outcome = classify_status(response.status_code)
    is_open = False
    try:
        if outcome is Outcome.SUCCESS and is_stream:
            exchange = await _read_first_event(response)
            is_open = exchange.outcome is Outcome.SUCCESS
        else:
            exchange = await _read_whole(response, outcome)
    finally:
        if not is_open:
            await response.stream.aclose()  # type: ignore[union-attr]
    exchange.status = response.status_code
    exchange.content_type = b"text/event-stream" if is_stream else b"application/json"
    for name, value in response.headers.raw:  # as bytes: httpx decodes all of them for a look at one
        lowered = name.lower()
        if lowered == b"content-type":
            exchange.content_type = value or exchange.content_type
        elif lowered == b"retry-after":
            exchange.retry_after_ms = retry_after_ms(value.decode("latin-1"))
    return exchange


async def _read_whole(response: httpx.Response, outcome: Outcome) -> Exchange:
    parts, size = [], 0
    async for part in response.stream:  # type: ignore[union-attr]
        parts.append(part)
        size += len(part)
        if size > REPLY_MOST:
            return Exchange(Outcome.FAILURE)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    exchange = Exchange(outcome, body=body)
    try:
        if outcome is Outcome.SUCCESS:
            exchange.output_tokens = output_tokens(chat_reply.decode(body))
        else:
            exchange.error = error_reply.decode(body).error
    except NOT_JSON:
        if outcome is Outcome.SUCCESS:
            exchange.outcome = Outcome.FAILURE  # HTML, half a JSON, nothing
    return exchange


async def _read_first_event(response: httpx.Response) -> Exchange:
    chunks = aiter(response.stream)  # type: ignore[arg-type]
    buffer = b""
    try:
        async for chunk in chunks:
            buffer += chunk
            if first_event_end(buffer) >= 0:
                exchange = Exchange(Outcome.SUCCESS, body=buffer)
                exchange._response = response
                exchange._chunks = chunks
                return exchange
    except Malformed:
        pass
    return Exchange(Outcome.FAILURE)
