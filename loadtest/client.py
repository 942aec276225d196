"""Sends one chat completion and judges its answer; every way it can end becomes one Sample.

One deadline covers a call from the moment it is due, so nothing here waits longer than the time-out.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from loadtest.answers import StreamReader, Verdict, judge_error, judge_plain
from loadtest.measure import Sample

PROMPT = "Say hello."
# The client has one deadline of its own; aiohttp's time-outs would only add timers.
NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where the calls go and what they ask for."""

    urls: Sequence[str]
    model: str
    is_stream: bool = False
    max_tokens: int | None = None
    key: str | None = None
    headers: dict[str, str] = {}
    timeout_s: float = 120.0


class _Progress:
    """How far a call has come; read when it ends early."""

    def __init__(self, due_s: float) -> None:
        self.due_s = due_s
        self.sent_s: float | None = None
        self.first_byte_s: float | None = None
        self.headers: Any = {}

    @property
    def phase(self) -> str:
        if self.sent_s is None:
            return "in the client queue"
        return "waiting for the answer" if self.first_byte_s is None else "in mid-stream"


class Client:
    """Use as an async context manager. At most `connections` calls are on the wire at once."""

    def __init__(self, target: Target, connections: int) -> None:
        self._target = target
        self._urls = itertools.cycle(target.urls)
        self._gate = asyncio.Semaphore(connections)
        self._body = _render_body(target)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=_render_headers(target),
            timeout=NO_TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, due_s: float) -> Sample:
        """`due_s` is a time of the monotonic clock; the call counts from then, even if it is past."""
        url = next(self._urls)
        progress = _Progress(due_s)
        try:
            async with asyncio.timeout(due_s + self._target.timeout_s - time.monotonic()), self._gate:
                progress.sent_s = time.monotonic()
                verdict = await self._exchange(url, progress)
        except TimeoutError:
            verdict = Verdict(f"timeout {progress.phase}")
        except aiohttp.ClientError as error:
            verdict = Verdict(_name_failure(error))
        return _sample(url, verdict, progress)

    async def _exchange(self, url: str, progress: _Progress) -> Verdict:
        async with self._session.post(url, data=self._body, allow_redirects=False) as response:
            progress.headers = response.headers
            if response.status != 200:
                return Verdict(judge_error(response.status, await response.read()))
            if not self._target.is_stream:
                return judge_plain(await response.read())
            reader = StreamReader()
            async for data in response.content.iter_any():
                if progress.first_byte_s is None:
                    progress.first_byte_s = time.monotonic()
                reader.feed(data)
            return reader.judge()


def _render_body(target: Target) -> bytes:
    body: dict[str, Any] = {"model": target.model, "messages": [{"role": "user", "content": PROMPT}]}
    if target.max_tokens is not None:
        body["max_tokens"] = target.max_tokens
    if target.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def _render_headers(target: Target) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if target.key is not None:
        headers["authorization"] = f"Bearer {target.key}"
    return headers | target.headers


def _name_failure(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case aiohttp.ClientPayloadError():
            return "answer cut"
        case aiohttp.ServerDisconnectedError():
            return "disconnected before an answer"
        case aiohttp.ClientOSError():
            return "connection reset"
        case _:
            return type(error).__name__


def _sample(url: str, verdict: Verdict, progress: _Progress) -> Sample:
    now_s = time.monotonic()
    since_ms = 1000 * (now_s - progress.due_s)
    queue_ms = since_ms if progress.sent_s is None else 1000 * (progress.sent_s - progress.due_s)
    first_byte_ms = None
    if progress.first_byte_s is not None:
        first_byte_ms = 1000 * (progress.first_byte_s - progress.due_s)
    headers = progress.headers
    return Sample(
        url=url,
        failure=verdict.failure,
        total_ms=since_ms,
        queue_ms=queue_ms,
        first_byte_ms=first_byte_ms,
        tokens=verdict.tokens,
        overhead_ms=_parse_number(headers.get("x-pllm-overhead-ms")),
        decision_ms=_parse_number(headers.get("x-pllm-decision-ms")),
        deployment=headers.get("x-pllm-deployment"),
        replica=headers.get("x-pllm-replica"),
        fallback=headers.get("x-pllm-fallback"),
    )


def _parse_number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
