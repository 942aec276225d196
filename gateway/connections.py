"""aiohttp's connections as a gateway needs them: one that tells what it was not asked is not used again."""

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class Wire(ResponseHandler):
    """Closes when something comes while nothing is asked: it would be taken for the answer to the next call, which may
    be another tenant's.
    """

    is_idle = False

    def data_received(self, data: bytes) -> None:
        if self.is_idle and data:  # with none it is only told to go on
            self.close()
        else:
            super().data_received(data)


class Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Wire, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def _get(self, key: Any, traces: Any) -> Any:
        connection = await super()._get(key, traces)
        if connection is not None:
            connection.protocol.is_idle = False  # type: ignore[union-attr]
        return connection

    def _release(self, key: Any, protocol: Any, **options: Any) -> None:
        super()._release(key, protocol, **options)
        protocol.is_idle = True


LINE_MOST = 131_072  # bytes of one header line: content policies and traces of proxies take tens of KB
HEADERS_MOST = 512


def session(keep_alive_s: float) -> aiohttp.ClientSession:
    """Unlimited: how many calls may run is decided by acquire, once. No cookies: they would carry one tenant's traces
    to the next.
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
