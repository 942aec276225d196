"""One call at the fake provider, from its body to the last byte of its answer.

Every ending is a return value, except for a disconnect of the client: the server cancels the handler as soon as the
connection is lost.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Never

import msgspec
from aiohttp import web

from loadtest.provider import dialects, vertex
from loadtest.provider.account import Account
from loadtest.provider.behaviour import Behaviour, Script
from loadtest.provider.counts import Counts
from loadtest.provider.dialects import Call, Kind
from loadtest.provider.errors import Refusal, error_fields
from loadtest.provider.prompt_cache import HIT_DIVIDES_BY, PromptCache

HTML_PAGE = b"<html><body><h1>Bad Gateway</h1></body></html>"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
HALF_EVENT = 20  # bytes of the first event's JSON: enough to resemble an event, never a whole one
_KINDS = {kind.value: kind for kind in Kind}


class Ending(Enum):
    SUCCEEDED = "succeeded"
    ERROR = "error"
    CUT = "cut"


class Slots:
    """The slots of an engine. Each call has the present limit, because the script may change."""

    def __init__(self) -> None:
        self._in_use = 0
        self._waiting: deque[asyncio.Event] = deque()

    @contextlib.asynccontextmanager
    async def taken(self, most: int | None) -> AsyncIterator[None]:
        while most is not None and self._in_use >= most:
            turn = asyncio.Event()
            self._waiting.append(turn)
            try:
                await turn.wait()
            except asyncio.CancelledError:
                if turn.is_set():
                    self._call_next()
                else:
                    self._waiting.remove(turn)
                raise
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._call_next()

    def _call_next(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()


class Stock:
    """What the calls of one provider share."""

    def __init__(self, name: str) -> None:
        self.account = Account(name)
        self.slots = Slots()
        self.cache = PromptCache()


class Exchange:
    def __init__(self, request: web.Request, name: str, script: Script, counts: Counts, stock: Stock) -> None:
        self._account = stock.account
        self._request = request
        self._name = name
        self._script = script
        self._counts = counts
        self._slots, self._cache = stock.slots, stock.cache
        self._number = counts.requests

    async def run(self) -> tuple[web.StreamResponse, Ending]:
        """Answers the call. Raises CancelledError or ConnectionError when the client disconnects."""
        request = self._request
        body = await request.read()
        self._counts.last_headers, self._counts.last_body = request.headers, body
        kind = _KINDS.get(request.path)
        headers: Mapping[str, str] = request.headers
        if kind is None and (on_vertex := vertex.message_of(request.path, body)):
            kind, (body, wrong) = Kind.MESSAGE, on_vertex
            if wrong:
                return await self._refuse(kind, 400, wrong)
            headers = {"anthropic-version": vertex.VERSION}
        if kind is None and self._script.behaviour.keeps_state and request.path.startswith("/v1/responses/"):
            return await self._stored()
        if kind is None or request.method != "POST":
            return await self._refuse(None, 404, f"Unknown request URL: {request.method} {request.path}")
        try:
            call = dialects.parse(kind, headers, body)
        except dialects.InvalidCallError as error:
            return await self._refuse(kind, 400, str(error))

        behaviour = self._script.behaviour
        if behaviour.keeps_state:
            try:
                call, self._number = self._account.with_state(call, body), self._account.number()
            except Refusal as refusal:
                return await self._refuse_with(kind, refusal)
        plan = self._script.plan_call()
        if behaviour.prompt_cache and plan.error_status is None:
            call = self._cache.used(call, behaviour.prompt_cache)
            if call.cached:
                plan = msgspec.structs.replace(plan, delay_s=plan.delay_s / HIT_DIVIDES_BY)
        if plan.is_stalled:
            await _stall()
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        if plan.is_closed:
            return self._cut(web.Response())
        if plan.error_status is not None:
            return await self._fail(kind, plan.error_status, behaviour)
        self._keep(call, behaviour)
        async with self._slots.taken(behaviour.slots):
            if call.is_stream and behaviour.malformed not in ("html", "empty"):
                return await self._stream(call, behaviour)
            return await self._answer(call, behaviour)

    async def _refuse(self, kind: Kind | None, status: int, message: str) -> tuple[web.Response, Ending]:
        return await self._send(dialects.render_error(kind, status, message), JSON, status), Ending.ERROR

    async def _refuse_with(self, kind: Kind, refusal: Refusal) -> tuple[web.Response, Ending]:
        is_message = kind is Kind.MESSAGE
        fields = error_fields(is_message, refusal.status, refusal.message, refusal.param, refusal.code)
        return await self._send(msgspec.json.encode(fields), JSON, refusal.status), Ending.ERROR

    async def _stored(self) -> tuple[web.Response, Ending]:
        try:
            body = self._account.stored(self._request.method, self._request.path)
        except Refusal as refusal:
            return await self._refuse_with(Kind.RESPONSE, refusal)
        return await self._send(body, JSON), Ending.SUCCEEDED

    def _keep(self, call: Call, behaviour: Behaviour) -> None:
        """Keeps a response, which a client may name as soon as it has the first bytes."""
        if behaviour.keeps_state and call.kind is Kind.RESPONSE and call.state.is_stored:
            plain = dialects.render_answer(call, self._number, self._content(behaviour))
            self._account.keep(self._number, plain)

    async def _fail(self, kind: Kind, status: int, behaviour: Behaviour) -> tuple[web.Response, Ending]:
        headers = {}
        if behaviour.retry_after_s is not None:
            headers["retry-after"] = f"{behaviour.retry_after_s:g}"
        body, content_type = dialects.render_error(kind, status, f"Scripted error of {self._name}"), JSON
        if behaviour.error_body is not None:
            body = behaviour.error_body.encode()
            content_type = "text/html" if body.startswith(b"<") else JSON
        return await self._send(body, content_type, status, headers), Ending.ERROR

    async def _answer(self, call: Call, behaviour: Behaviour) -> tuple[web.StreamResponse, Ending]:
        body, content_type = b"", EVENT_STREAM if call.is_stream else JSON
        match behaviour.malformed:
            case "html":
                body, content_type = HTML_PAGE, "text/html"
            case "half_json" | None:
                body = dialects.render_answer(call, self._number, self._content(behaviour), behaviour.tool_calls)
        if behaviour.malformed == "half_json":
            body = body[: len(body) // 2]
        if behaviour.cut_after_chunks is not None:
            return await self._cut_in_half(body, content_type)
        return await self._send(body, content_type), Ending.SUCCEEDED

    async def _stream(self, call: Call, behaviour: Behaviour) -> tuple[web.StreamResponse, Ending]:
        frames = dialects.render_stream(call, self._number, self._content(behaviour), behaviour.tool_calls)
        if behaviour.malformed == "half_json":
            frames = [frames[0][: frames[0].index(b"{") + HALF_EVENT] + b"\n\n"]
        gap_s = behaviour.chunk_gap_ms / 1000
        response = await self._begin(200, {"content-type": EVENT_STREAM, "cache-control": "no-cache"})
        for index, frame in enumerate(frames):
            if index == behaviour.stall_after_chunks:
                await _stall()
            if index == behaviour.cut_after_chunks:
                return self._cut(response)
            # The last frame only ends the stream, so it follows the last chunk at once.
            if gap_s and 0 < index < behaviour.chunks:
                await asyncio.sleep(gap_s)
            await response.write(frame)
        await response.write_eof()
        return response, Ending.SUCCEEDED

    async def _cut_in_half(self, body: bytes, content_type: str) -> tuple[web.StreamResponse, Ending]:
        response = await self._begin(200, {"content-type": content_type, "content-length": str(len(body))})
        await response.write(body[: len(body) // 2])
        return self._cut(response)

    def _cut(self, response: web.StreamResponse) -> tuple[web.StreamResponse, Ending]:
        # close, not abort: bytes written before the cut must reach the client.
        if self._request.transport is not None:
            self._request.transport.close()
        return response, Ending.CUT

    async def _begin(self, status: int, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        self._limit_connection(response)
        await response.prepare(self._request)
        self._counts.answer(status)
        return response

    async def _send(
        self, body: bytes, content_type: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        """Sends the response here, not after the handler, so that a counted response has left this process."""
        response = web.Response(body=body, content_type=content_type, status=status, headers=headers)
        self._limit_connection(response)
        await response.prepare(self._request)
        await response.write_eof()
        self._counts.answer(status)
        return response

    def _limit_connection(self, response: web.StreamResponse) -> None:
        if not self._script.behaviour.keep_alive:
            response.force_close()

    def _content(self, behaviour: Behaviour) -> tuple[str, ...]:
        return dialects.words(self._name, behaviour.chunks)


async def _stall() -> Never:
    """Waits until the client disconnects and the server cancels the handler."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a stall ends by cancellation only")
