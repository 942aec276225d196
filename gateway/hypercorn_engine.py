"""Serves an ASGI app with hypercorn's streams on connections of our own.

Hypercorn's own connection costs a task per idle phase, keeps the socket of a client that has left until its
keep-alive time is over, and waits for ever for a body that nobody reads. This one has a timer instead, and closes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, Framework
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from gateway.http1 import Address, Http1
from gateway.http_text import Refuse

READ_MOST = 65_536
LINGER_S = 2.0  # how long what a refused client still sends is read, so that it sees the answer and not a reset


class Connection:
    """One client's connection, from accept to close."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        refuse: Refuse,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._config = config
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = True
        self._http: Http1 | None = None

    async def run(self) -> None:
        try:
            async with TaskGroup(self._loop) as tasks:
                self._http = Http1(
                    self._app,
                    self._config,
                    WorkerContext(None),
                    tasks,
                    _address(self._writer, "peername"),
                    _address(self._writer, "sockname"),
                    self._write,
                    self._became_idle,
                    self._refuse,
                )
                self._became_idle(True)
                await self._read(self._http)
        except* OSError:
            pass  # the client is gone, which its request has been told
        finally:
            self._stop_timer()
            await self._close()

    async def _read(self, http: Http1) -> None:
        while data := await self._received():
            if http.is_over and self._is_idle:
                continue  # refused or answered for the last time: read only until the client has seen it
            await http.receive(data)
            if http.is_over and self._is_idle:
                self._became_idle(True)
        await http.disconnected()

    async def _received(self) -> bytes:
        try:
            return await self._reader.read(READ_MOST)
        except OSError:
            return b""

    async def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(data)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def _became_idle(self, is_idle: bool) -> None:
        self._is_idle = is_idle
        self._stop_timer()
        if not is_idle:
            return
        if self._http is None or not self._http.is_over:
            self._timer = self._loop.call_later(self._config.keep_alive_timeout, self.end)
            return
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()
        self._timer = self._loop.call_later(LINGER_S, self._hang_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Closes now when idle, otherwise after the answer in flight."""
        self._stop_timer()
        if self._http is not None:
            self._http.is_over = True
        if self._is_idle:
            self._hang_up()

    def _hang_up(self) -> None:
        """Closes once the client has taken what it was sent. One that takes nothing would hold it for ever."""
        self._writer.close()
        self._timer = self._loop.call_later(self._config.keep_alive_timeout, self._writer.transport.abort)

    async def _close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()
            try:
                await asyncio.wait_for(self._writer.wait_closed(), LINGER_S)
            except TimeoutError:
                self._writer.transport.abort()


def _address(writer: asyncio.StreamWriter, name: str) -> Address:
    info = writer.get_extra_info(name)
    return (info[0], info[1]) if isinstance(info, tuple) else None


async def serve(app: ASGIApp, config: Config, refuse: Refuse, drained: Callable[[], Awaitable[object]]) -> None:
    """Serves ``config.bind`` until ``drained`` returns; what is still in flight then is cancelled."""
    wrapped = wrap_app(cast(Framework, app), 0, "asgi")
    running: dict[asyncio.Task[None], Connection] = {}

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        connection = running[task] = Connection(wrapped, config, refuse, reader, writer)
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # ours, at the end of the grace time; asyncio would report it as a defect
        finally:
            del running[task]

    sockets = config.create_sockets()
    servers = [
        await asyncio.start_server(accepted, sock=sock, backlog=config.backlog) for sock in sockets.insecure_sockets
    ]
    try:
        await drained()
    finally:
        for server in servers:
            server.close()
        for connection in running.values():
            connection.end()
        if running:
            await asyncio.wait(list(running), timeout=config.graceful_timeout)
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
