"""aiohttp's connections as a gateway needs them: a connection that receives unrequested bytes is not used again.

`Connector` and `Wire` use private names of aiohttp; tests/gateway/upstream/test_private_attributes.py pins each.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import aiohttp

from gateway.upstream.provider_wire import Wire

# aiohttp takes a connection in the task that sends, and its error for a closed one does not name the connection. A
# context variable of that task does.
_reused: ContextVar[Wire | None] = ContextVar("reused connection", default=None)
_is_fresh_required: ContextVar[bool] = ContextVar("fresh connection required", default=False)


def is_closed_unanswered() -> bool:
    """Returns whether this task's last call took a kept connection that received no byte of an answer. The provider had
    closed it for being idle, which blames neither the provider nor the request.
    """
    wire = _reused.get()
    return wire is not None and not wire.has_received


@contextmanager
def fresh_connection() -> Iterator[None]:
    """Makes this task's calls within the block take new connections: other kept ones may be closed as well."""
    token = _is_fresh_required.set(True)
    try:
        yield
    finally:
        _is_fresh_required.reset(token)


class Connector(aiohttp.TCPConnector):
    """A connector whose connections are `Wire`s, and which knows whether a call took a kept one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Wire, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def _get(self, key: Any, traces: Any) -> Any:
        _reused.set(None)
        if _is_fresh_required.get():
            return None
        connection = await super()._get(key, traces)
        if connection is not None:
            wire = cast(Wire, connection.protocol)
            wire.begin()
            _reused.set(wire)
        return connection

    def _release(self, key: Any, protocol: Any, **options: Any) -> None:
        super()._release(key, protocol, **options)
        protocol.is_idle = True


LINE_MOST = 131_072  # bytes of one header line: content policies and traces of proxies take tens of KB
HEADERS_MOST = 512


def session(keep_alive_s: float) -> aiohttp.ClientSession:
    """Returns a session without a limit of connections, because acquire alone decides how many calls may run. It stores
    no cookies: they would carry one tenant's traces to the next. ``keep_alive_s``: how long idle connections are kept.
    """
    connector = Connector(limit=0, keepalive_timeout=keep_alive_s)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=LINE_MOST,
        max_field_size=LINE_MOST,
        max_headers=HEADERS_MOST,
    )
