"""One test for each private name of aiohttp that gateway/upstream uses. aiohttp may change them in any release.

When one fails after an update: read aiohttp's change, adapt the module that the test names, and run the tests of
gateway/upstream. If aiohttp offers no replacement, keep the older release in pyproject and requirements.lock.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from gateway.upstream.connections import Connector
from gateway.upstream.provider_wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Pipe(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


def on_a_wire(look: Callable[[Wire, Pipe], None]) -> None:
    """Runs ``look`` with a connection that waits for an answer."""

    async def run() -> None:
        wire, pipe = Wire(loop=asyncio.get_running_loop()), Pipe()
        wire.connection_made(pipe)
        wire.set_response_params()
        look(wire, pipe)

    asyncio.run(run())


class Recorded(Connector):
    """Records aiohttp's calls of the two private methods that Connector overrides."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self.released: list[tuple[Any, dict[str, Any]]] = []

    async def _get(self, key: Any, traces: Any) -> Any:
        connection = await super()._get(key, traces)
        self.taken.append(None if connection is None else connection.protocol)
        return connection

    def _release(self, key: Any, protocol: Any, **options: Any) -> None:
        self.released.append((protocol, options))
        super()._release(key, protocol, **options)


async def two_calls() -> Recorded:
    """Returns the connector after two calls, one after the other."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + b"good")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = Recorded()
    async with server, aiohttp.ClientSession(connector=connector) as session:
        for _ in range(2):
            async with session.post(url) as response:
                await response.read()
    return connector


def test_factory_makes_every_connection() -> None:
    """`TCPConnector._factory`. When it breaks: connections.Connector must give aiohttp its Wire in another way, or
    provider_wire.py bounds nothing.
    """
    connector = asyncio.run(two_calls())

    assert [type(protocol) for protocol, _ in connector.released] == [Wire, Wire]
    assert connector.released[0][0] is connector.taken[1]


def test_get_returns_a_kept_connection_or_none() -> None:
    """`BaseConnector._get`. When it breaks: connections.Connector cannot know whether a call took a kept connection,
    so a call whose kept connection was closed is not repeated.
    """
    connector = asyncio.run(two_calls())
    parameters = list(inspect.signature(aiohttp.BaseConnector._get).parameters)

    assert parameters == ["self", "key", "traces"]
    assert connector.taken[0] is None
    assert isinstance(connector.taken[1], Wire)


def test_release_takes_back_each_connection() -> None:
    """`BaseConnector._release`. When it breaks: connections.Connector cannot mark a connection as idle, so bytes that
    arrive between two calls would be taken for the next answer.
    """
    connector = asyncio.run(two_calls())
    parameters = inspect.signature(aiohttp.BaseConnector._release).parameters

    assert list(parameters) == ["self", "key", "protocol", "should_close"]
    assert [isinstance(protocol, Wire) for protocol, _ in connector.released] == [True, True]


def test_payload_is_the_body_in_progress() -> None:
    """`ResponseHandler._payload`. When it breaks: provider_wire.Wire cannot subtract the body from what it bounds, nor
    end a body that is malformed.
    """

    def look(wire: Wire, _pipe: Pipe) -> None:
        wire.data_received(HEAD + b"go")

        assert wire._payload is not None
        assert wire._payload.total_bytes == 2
        assert not wire._payload.is_eof()

    on_a_wire(look)


def test_exception_is_set_by_a_malformed_answer() -> None:
    """`DataQueue._exception`. When it breaks: provider_wire.Wire parses on after a malformed head, and a reader of the
    body waits forever.
    """

    def look(wire: Wire, _pipe: Pipe) -> None:
        before = wire._exception
        wire.data_received(b"no HTTP\r\n\r\n")

        assert before is None
        assert isinstance(wire._exception, aiohttp.http_exceptions.HttpProcessingError)

    on_a_wire(look)


def test_reading_paused_follows_the_reader() -> None:
    """`BaseProtocol._reading_paused`. When it breaks: provider_wire.Wire feeds a reader that has paused, and
    memory is no longer bounded.
    """

    def look(wire: Wire, _pipe: Pipe) -> None:
        wire.data_received(HEAD)
        wire.pause_reading()
        paused = wire._reading_paused
        wire.resume_reading()

        assert (paused, wire._reading_paused) == (True, False)

    on_a_wire(look)


def test_buffer_paused_holds_the_transport() -> None:
    """`BaseProtocol._buffer_paused`. When it breaks: provider_wire.Wire may skip a resume that aiohttp needs."""

    def look(wire: Wire, pipe: Pipe) -> None:
        before = wire._buffer_paused
        wire._pause_reading_for_buffer()

        assert (before, wire._buffer_paused, pipe.is_paused) == (False, True, True)

    on_a_wire(look)


def test_transport_reading_is_paused_and_resumed() -> None:
    """`BaseProtocol._pause_transport_reading` and `_resume_transport_reading`. When one breaks: provider_wire.Wire
    reads from the network while its backlog waits for a turn.
    """

    def look(wire: Wire, pipe: Pipe) -> None:
        wire._pause_transport_reading()
        is_paused = pipe.is_paused
        wire._resume_transport_reading()

        assert (is_paused, pipe.is_paused) == (True, False)

    on_a_wire(look)


def test_loop_is_the_one_given() -> None:
    """`BaseProtocol._loop`. When it breaks: provider_wire.Wire takes its later turns by `asyncio.get_running_loop`."""

    def look(wire: Wire, _pipe: Pipe) -> None:
        assert wire._loop is asyncio.get_running_loop()

    on_a_wire(look)


@pytest.mark.parametrize("name", ["connection_lost", "data_received", "feed_data", "resume_reading", "set_exception"])
def test_method_that_wire_overrides_or_calls_exists(name: str) -> None:
    """Methods of `aiohttp.client_proto.ResponseHandler`, a class that aiohttp does not document. When one is missing:
    provider_wire.Wire overrides nothing, and its bounds and its backlog do not work.
    """
    assert callable(getattr(aiohttp.client_proto.ResponseHandler, name))
