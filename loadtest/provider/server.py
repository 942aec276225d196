"""The command `python -m loadtest.provider`: a fake LLM provider whose behaviour is scripted.

It is a separate process, not a mock, because the faults under test (hangs, cuts, disconnects) only happen on real
sockets.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from typing import Any

import msgspec
import uvloop
from aiohttp import web

from loadtest.children import die_with_parent
from loadtest.provider import dialects
from loadtest.provider.behaviour import Behaviour, NonNegative, Script, merge
from loadtest.provider.counts import Counts
from loadtest.provider.exchange import JSON, Ending, Exchange, Stock

SHUTDOWN_S = 0.01  # not 0, which aiohttp takes for "no limit"


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /control/refuse`."""

    seconds: NonNegative


class Door:
    """The listening socket. While it is shut it refuses new connections and has closed the others, as a provider during
    a restart.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def open(self, runner: web.AppRunner) -> int:
        """Starts to listen. Returns the port, which stays the same from now on."""
        self._runner = runner
        self._site = web.TCPSite(runner, self._host, self._port, backlog=1024)
        await self._site.start()
        self._port = int(runner.addresses[0][1])
        return self._port

    async def shut(self, seconds: float, but: object) -> None:
        """Closes the socket and all connections except for ``but``, the connection of the request to shut it."""
        await self._site.stop()
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection is not but:
                connection.force_close()
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open(self._runner)


class Provider:
    """All requests of one fake provider: calls, the model list and the control endpoint."""

    def __init__(self, name: str, behaviour: Behaviour, door: Door) -> None:
        self._name = name
        self._door = door
        self._script = Script(behaviour)
        self._counts = Counts()
        self._stock = Stock(name)

    def build(self) -> web.Application:
        # No size limit, because the gateway decides how large a request may be.
        application = web.Application(client_max_size=0)
        application.router.add_get("/control", self._show)
        application.router.add_patch("/control", self._change)
        application.router.add_post("/control/reset", self._reset)
        application.router.add_post("/control/refuse", self._refuse)
        application.router.add_get("/v1/models", self._list_models)
        application.router.add_route("*", "/{path:.*}", self._call)
        return application

    async def _show(self, _request: web.Request) -> web.Response:
        state = {"name": self._name, "behaviour": self._script.behaviour, "counts": self._counts.render()}
        return web.Response(body=msgspec.json.encode(state), content_type=JSON)

    async def _change(self, request: web.Request) -> web.Response:
        try:
            self._script.change(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        except dialects.NOT_JSON as error:
            return _rejection(error)
        return await self._show(request)

    async def _refuse(self, request: web.Request) -> web.Response:
        try:
            refusal = msgspec.json.decode(await request.read(), type=Refusal)
        except dialects.NOT_JSON as error:
            return _rejection(error)
        await self._door.shut(refusal.seconds, but=request.protocol)
        return await self._show(request)

    async def _reset(self, request: web.Request) -> web.Response:
        self._counts.reset()
        return await self._show(request)

    async def _list_models(self, _request: web.Request) -> web.Response:
        """Lists the model, uncounted and without a fault: health checks must not use up the script."""
        return web.Response(body=dialects.render_models(self._name), content_type=JSON)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        counts = self._counts
        counts.begin()
        try:
            response, ending = await Exchange(request, self._name, self._script, counts, self._stock).run()
        except (asyncio.CancelledError, ConnectionError):
            counts.aborted += 1
            raise
        finally:
            counts.in_flight -= 1
        match ending:
            case Ending.SUCCEEDED:
                counts.succeeded += 1
            case Ending.ERROR:
                counts.errors += 1
            case Ending.CUT:
                counts.cut += 1
        return response


def _rejection(error: Exception) -> web.Response:
    body = msgspec.json.encode({"error": {"message": str(error)}})
    return web.Response(body=body, content_type=JSON, status=400)


async def serve(provider: Provider, name: str, host: str, door: Door) -> None:
    """Serves until SIGTERM or SIGINT; calls in progress are cut off."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(provider.build(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        bound_port = await door.open(runner)
        print(f"provider {name} listening on http://{host}:{bound_port}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.provider", description="A fake LLM provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--name", default="healthy", help="shown in answers")
    parser.add_argument("--behaviour", type=_parse_behaviour, default=Behaviour(), metavar="JSON")
    parser.add_argument("--die-with-parent", action="store_true", help="Linux only")
    return parser.parse_args(arguments)


def _parse_behaviour(text: str) -> Behaviour:
    try:
        return merge(Behaviour(), msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: Sequence[str]) -> None:
    options = parse_arguments(arguments)
    if options.die_with_parent:
        die_with_parent()
    door = Door(options.host, options.port)
    provider = Provider(options.name, options.behaviour, door)
    uvloop.run(serve(provider, options.name, options.host, door))
