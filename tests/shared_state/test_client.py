"""One connection: opened on demand, thrown away on any doubt, foreign errors translated."""

import pytest

from shared_state.client import Client, command, pack
from shared_state.embedded import EmbeddedStore
from shared_state.errors import ScriptFailed, StateError, StoreUnavailable
from tests.support.stores import RedisCli, on_loop


async def connected(server: EmbeddedStore) -> Client:
    client = Client(server.url)
    await client.connect()
    return client


def test_command_is_in_the_wires_form() -> None:
    assert command(b"SET", b"k", "ü".encode()) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\xc3\xbc\r\n"


def test_packed_parts_can_be_put_together() -> None:
    assert b"*2\r\n" + pack(b"GET") + pack(b"") == command(b"GET", b"")


@on_loop
async def test_replies_come_in_the_order_of_commands_and_undecoded(server: EmbeddedStore) -> None:
    client = await connected(server)
    await client.send([command(b"ECHO", b"\xff"), command(b"PING"), command(b"LRANGE", b"none", b"0", b"-1")])

    assert [await client.receive() for _ in range(3)] == [b"\xff", b"PONG", []]
    await client.close()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((b"EVALSHA", b"0" * 40, b"0"), "NOSCRIPT "),
        ((b"GET",), "ERR wrong number"),
        ((b"EVAL", b"return redis.error_reply('MISCONF disk')", b"0"), "MISCONF disk"),
        ((b"EVAL", b"return redis.error_reply('OOM memory')", b"0"), "OOM memory"),
        ((b"EVAL", b"return redis.error_reply('READONLY replica')", b"0"), "READONLY replica"),
    ],
)
@on_loop
async def test_error_reply_keeps_its_prefix(server: EmbeddedStore, parts: tuple[bytes, ...], said: str) -> None:
    client = await connected(server)
    await client.send([command(*parts)])
    reply = await client.receive()

    assert isinstance(reply, ScriptFailed)
    assert str(reply).startswith(said)
    await client.close()


@on_loop
async def test_connection_survives_an_error_reply(server: EmbeddedStore) -> None:
    client = await connected(server)
    await client.send([command(b"GET"), command(b"PING")])
    await client.receive()

    assert (await client.receive(), client.is_connected) == (b"PONG", True)
    await client.close()


@pytest.mark.parametrize("url", ["unix:///nobody/is/here.sock", "redis://127.0.0.1:1"])
@on_loop
async def test_refused_connection_is_unavailable(url: str) -> None:
    client = Client(url)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await client.connect()

    assert not client.is_connected


@on_loop
async def test_lost_connection_is_unavailable_and_gone(server: EmbeddedStore, cli: RedisCli) -> None:
    connection = await connected(server)
    cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(StoreUnavailable, match="lost"):
        await connection.receive()

    assert not connection.is_connected


@on_loop
async def test_lost_connection_can_be_opened_again(server: EmbeddedStore, cli: RedisCli) -> None:
    connection = await connected(server)
    cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(StateError):
        await connection.receive()
    await connection.connect()
    await connection.send([command(b"PING")])

    assert await connection.receive() == b"PONG"
    await connection.close()


@on_loop
async def test_closing_twice_is_once(server: EmbeddedStore) -> None:
    client = await connected(server)
    await client.close()
    await client.close()

    assert not client.is_connected
