"""Serves one replica in this process: its connections, signals and the drain."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial

import hypercorn.config
import uvloop

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import Settings
from gateway.configuration.value_types import secrets
from gateway.configuration.warnings import warnings
from gateway.http.client_connections import ClientConnections
from gateway.process import http_server
from gateway.process.open_files import connections_most, raise_limit
from gateway.process.sighup import HangUp
from gateway.process.start_lines import start_lines
from gateway.reload.file import ConfigurationFile, Loaded
from gateway.request.in_flight import InFlight
from gateway.telemetry.logs import Lines, written
from gateway.tls import certificates
from gateway.tls.identity import Tls
from gateway.version import VERSION
from gateway.wiring.app import application
from gateway.wiring.application import Application
from shared_state.background import report_of_loop

BACKLOG = 1024
METRICS_CONNECTIONS_MOST = 20  # on `server.metrics_port`
GARBAGE_THRESHOLDS = (
    10_000,
    10,
    5,
)  # new objects, about a hundred requests' worth; then runs over the younger generation

_log = logging.getLogger("pllm.server")


def run(
    file: ConfigurationFile, environment: Mapping[str, str], replica: str | None = None, listener: int | None = None
) -> None:
    """Serves until SIGTERM, SIGINT or the end of its terminal, then drains; any other SIGHUP reads the file again.
    ``listener``: the number of a listening socket that the parent process has opened. Raises ConfigurationError.
    """
    loaded = file.read()
    if loaded.settings.server.tls is not None:
        certificates.load(loaded.settings.server.tls)
    redact = Redaction(secrets(loaded.settings))
    with written(redact) as lines:
        uvloop.run(_run(file, loaded, environment, lines, redact, replica, listener))


async def _run(
    file: ConfigurationFile,
    loaded: Loaded,
    environment: Mapping[str, str],
    lines: Lines,
    redact: Redaction,
    replica: str | None,
    listener: int | None,
) -> None:
    asyncio.get_running_loop().set_exception_handler(report_of_loop)
    flight, settings = InFlight(), loaded.settings
    async with (
        _signals() as (stop, hang_up),
        _tls(settings) as tls,
        application(file, loaded, environment, flight, lines, redact, replica) as app,
    ):
        hang_up.attend(partial(_reload, app, tls))
        _spare_collector()
        lines_of_start = [] if listener is not None else start_lines(settings, VERSION)
        for warning in warnings(settings) if listener is None else ():
            _log.warning("%s", warning)
        drained = partial(_drained, stop, flight, app, lines_of_start)
        serving = _serve(app, settings, listener, drained, tls, lambda: flight.is_draining)
        await _with_metrics(app, settings, serving)


async def _with_metrics(app: Application, settings: Settings, serving: Coroutine[None, None, None]) -> None:
    """Serves metrics for as long as the other endpoints, also while the replica drains. Raises OSError when a port is
    in use.
    """
    main, tasks = asyncio.create_task(serving), set[asyncio.Task[None]]()
    if settings.server.metrics_port is not None:
        config = _hypercorn_config(settings.server.host, settings.server.metrics_port)
        few = ClientConnections(METRICS_CONNECTIONS_MOST)
        serving_metrics = http_server.serve(app.metrics, config, lambda *_: None, asyncio.Event().wait, few)
        tasks.add(asyncio.create_task(serving_metrics))
    try:
        await asyncio.wait({main, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks if main.done() else {main, *tasks}:
            task.cancel()
        await asyncio.gather(main, *tasks, return_exceptions=True)
    for task in (main, *tasks):
        if not task.cancelled():
            task.result()


def _spare_collector() -> None:
    """Spares the garbage collector useless work. Objects from the start live for ever, so they are frozen. Requests and
    connections leave next to no cycles, but Python's default would collect after every 700 new objects, several times
    a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


@contextlib.asynccontextmanager
async def _signals() -> AsyncIterator[tuple[asyncio.Event, HangUp]]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop, HangUp(stop.set)


@contextlib.asynccontextmanager
async def _tls(settings: Settings) -> AsyncIterator[Tls | None]:
    """Yields the TLS identity while it follows its files; None without TLS. Raises ConfigurationError."""
    if settings.server.tls is None:
        yield None
        return
    tls = Tls(settings.server.tls)
    tls.start()
    try:
        yield tls
    finally:
        await tls.stop()


def _reload(app: Application, tls: Tls | None) -> None:
    app.reloader.request()
    if tls is not None:
        tls.check_soon()


async def _drained(stop: asyncio.Event, flight: InFlight, app: Application, at_start: Sequence[str]) -> None:
    """Runs from when the server listens. Returns when it may close: stopped, and drained or out of time."""
    for line in at_start:
        _log.info("%s", line)
    await stop.wait()
    flight.is_draining, server = True, app.settings.server
    await asyncio.sleep((server.drain_delay_ms or 0) / 1000)
    if not await flight.drain(server.drain_timeout_ms / 1000):
        _log.warning("drain timeout: requests still in flight are cut off")


Drained = Callable[[], Awaitable[object]]


async def _serve(
    app: Application,
    settings: Settings,
    listener: int | None,
    drained: Drained,
    tls: Tls | None,
    is_leaving: Callable[[], bool],
) -> None:
    config = _hypercorn_config(settings.server.host, settings.server.port)
    if listener is not None:
        config.bind = [f"fd://{listener}"]
    most = settings.server.max_connections or connections_most(raise_limit())
    connections = ClientConnections(most, settings.server.max_connections_per_address)
    over_tls = http_server.OverTls(tls, is_leaving) if tls is not None else None
    await http_server.serve(app, config, app.refuse, drained, connections, tls=over_tls)


def _hypercorn_config(host: str, port: int) -> hypercorn.config.Config:
    config = hypercorn.config.Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.backlog = BACKLOG
    config.graceful_timeout = 1.0  # the drain has waited for the requests in flight already
    return config
