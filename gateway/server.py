"""Serves one replica: the engine, signals and the drain. One process per replica, because hypercorn gives only its
single-process form a shutdown of our own.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import hypercorn.asyncio
import hypercorn.asyncio.run
import hypercorn.config
import uvloop
from hypercorn.asyncio.tcp_server import TCPServer
from starlette.applications import Starlette

from gateway.app import application
from gateway.flight import Flight
from gateway.settings import Settings

KEEP_ALIVE_S = 75.0  # longer than a load balancer keeps its connections, or it writes into a closing one
KEEP_ALIVE_REQUESTS = 1_000_000
BACKLOG = 1024
HEADERS_MOST = 65_536  # what OpenAI asks servers to take

_log = logging.getLogger("pllm.server")


def run(settings: Settings, replica: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    uvloop.run(_run(settings, replica))


async def _run(settings: Settings, replica: str | None) -> None:
    flight = Flight()
    async with _signals() as stop, application(settings, flight, replica) as app:
        serve = {"hypercorn": _serve_hypercorn, "uvicorn": _serve_uvicorn}[settings.server.engine]
        await serve(app, settings, lambda: _drained(stop, flight, settings.server.drain_timeout_ms / 1000))


@contextlib.asynccontextmanager
async def _signals() -> AsyncIterator[asyncio.Event]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def _drained(stop: asyncio.Event, flight: Flight, timeout_s: float) -> None:
    """Returns when the server may close: asked to, and nothing in flight or no time left."""
    await stop.wait()
    if not await flight.drain(timeout_s):
        _log.warning("drain timeout: requests still in flight are cut off")


Drained = Callable[[], Awaitable[None]]


class _Connection(TCPServer):
    """Hypercorn 0.18 keeps the socket of a client that has left until its keep-alive time is over: with ours, a few
    new connections a second would use up every file descriptor.
    """

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        if not self.reader.at_eof():
            await super()._idle_timeout()


hypercorn.asyncio.run.TCPServer = _Connection  # type: ignore[attr-defined]


async def _serve_hypercorn(app: Starlette, settings: Settings, drained: Drained) -> None:
    config = hypercorn.config.Config()
    host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
    config.bind = [f"{host}:{settings.server.port}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = KEEP_ALIVE_REQUESTS
    config.backlog = BACKLOG
    config.h11_max_incomplete_size = HEADERS_MOST
    # Unbounded, or a body that was refused unread fills the queue and holds its connection for ever. What is read
    # is bounded by max_body, and nothing waits while a body is still to be read.
    config.max_app_queue_size = 0
    config.graceful_timeout = 1.0  # after our own drain nothing is worth waiting for
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("pllm.hypercorn")
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=drained)  # type: ignore[arg-type]


async def _serve_uvicorn(app: Starlette, settings: Settings, drained: Drained) -> None:
    import uvicorn  # an optional extra: only who chooses it needs it

    config = uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(KEEP_ALIVE_S),
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEADERS_MOST,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve())
    trigger = asyncio.ensure_future(drained())
    await asyncio.wait([serving, trigger], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    trigger.cancel()
    await serving
