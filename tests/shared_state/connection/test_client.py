"""One connection: opened on demand, thrown away on any doubt, foreign errors translated."""

import asyncio
import contextlib
from typing import NamedTuple

import pytest

from shared_state.connection.client import Client, query
from shared_state.connection.commands import command, pack
from shared_state.embedded import EmbeddedStore
from shared_state.errors import ScriptFailed, StoreRefuses, StoreUnavailable
from tests.support.stores import RedisCli, eventually, on_loop, stopped
from tests.support.strangers import STRANGERS, agree_to_everything, listening


class Opened(NamedTuple):
    """A client with what it was told."""

    client: Client
    replies: list[object]
    pauses: list[int]
    lost: list[StoreUnavailable]

    @classmethod
    async def at(cls, url: str) -> "Opened":
        opened = cls(Client(url), [], [], [])
        await opened.connect()
        return opened

    async def connect(self) -> None:
        await self.client.connect(self.replies.append, lambda: self.pauses.append(len(self.replies)), self.lost.append)

    async def ask(self, *commands: bytes) -> list[object]:
        self.replies.clear()
        self.client.send(commands)
        await eventually(lambda: len(self.replies) == len(commands))
        return self.replies


def test_command_is_in_the_wires_form() -> None:
    assert command(b"SET", b"k", "ü".encode()) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\xc3\xbc\r\n"


def test_packed_parts_can_be_put_together() -> None:
    assert b"*2\r\n" + pack(b"GET") + pack(b"") == command(b"GET", b"")


@on_loop
async def test_replies_come_in_the_order_of_commands_and_undecoded(server: EmbeddedStore) -> None:
    opened = await Opened.at(server.url)
    replies = await opened.ask(command(b"ECHO", b"\xff"), command(b"PING"), command(b"LRANGE", b"none", b"0", b"-1"))
    opened.client.close()

    assert replies == [b"\xff", b"PONG", []]


@on_loop
async def test_pause_follows_the_last_reply(server: EmbeddedStore) -> None:
    opened = await Opened.at(server.url)
    await opened.ask(command(b"PING"), command(b"PING"))
    await eventually(lambda: opened.pauses[-1:] == [2])
    opened.client.close()


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
    opened = await Opened.at(server.url)
    reply, after = await opened.ask(command(*parts), command(b"PING"))
    opened.client.close()

    assert isinstance(reply, ScriptFailed if said[:3] in ("NOS", "ERR") else StoreRefuses)
    assert str(reply).startswith(said)
    assert after == b"PONG"


@pytest.mark.parametrize("url", ["unix:///nobody/is/here.sock", "redis://127.0.0.1:1"])
@on_loop
async def test_refused_connection_is_unavailable(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await Opened.at(url)


def kill_others(cli: RedisCli) -> None:
    cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@on_loop
async def test_lost_connection_is_reported_once_and_gone(server: EmbeddedStore, cli: RedisCli) -> None:
    opened = await Opened.at(server.url)
    kill_others(cli)
    await eventually(lambda: bool(opened.lost))

    assert [str(error) for error in opened.lost] == ["connection to the store lost: closed by the store"]
    assert not opened.client.is_connected


@on_loop
async def test_lost_connection_can_be_opened_again(server: EmbeddedStore, cli: RedisCli) -> None:
    opened = await Opened.at(server.url)
    kill_others(cli)
    await eventually(lambda: bool(opened.lost))
    await opened.connect()

    assert await opened.ask(command(b"PING")) == [b"PONG"]
    opened.client.close()


@on_loop
async def test_answer_that_is_no_redis_is_a_lost_connection() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    stranger = await asyncio.start_server(talk, "127.0.0.1", 0)
    opened = Opened(Client(f"redis://127.0.0.1:{stranger.sockets[0].getsockname()[1]}"), [], [], [])
    async with stranger:
        with contextlib.suppress(StoreUnavailable):
            await opened.connect()
            await eventually(lambda: bool(opened.lost))

    assert not opened.client.is_connected
    assert opened.replies == []


@pytest.mark.parametrize("user", ["", ":secret@"])
@pytest.mark.parametrize("kind", STRANGERS)
@on_loop
async def test_what_only_accepts_connections_is_no_store(kind: str, user: str) -> None:
    serve, reason = STRANGERS[kind]
    async with listening(serve) as port:
        for _ in range(5):  # whichever comes first, the end of the connection or the first bytes
            with pytest.raises(StoreUnavailable, match=None if user else reason):
                await Opened.at(f"redis://{user}127.0.0.1:{port}/0")
            with pytest.raises(StoreUnavailable):
                await query(f"redis://{user}127.0.0.1:{port}/0", (b"PING",), (b"PING",))


@on_loop
async def test_more_replies_than_questions_are_no_answer() -> None:
    async with listening(agree_to_everything) as port:
        with pytest.raises(StoreUnavailable, match="does not speak the Redis protocol"):
            await Opened.at(f"redis://127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable, match="does not speak the Redis protocol"):
            await query(f"redis://127.0.0.1:{port}", (b"PING",))


@on_loop
async def test_late_greeting_of_a_store_answers_no_call(
    own_server: EmbeddedStore,
) -> None:
    with stopped(own_server):
        opened = await Opened.at(own_server.url)
        opened.client.send([command(b"ECHO", b"x")])
    await eventually(lambda: bool(opened.replies))
    opened.client.close()

    assert opened.replies == [b"x"]


@on_loop
async def test_what_is_sent_to_a_peer_that_has_closed_is_a_loss_and_no_defect(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    opened = await Opened.at(server.url)
    kill_others(cli)
    while not opened.lost:
        opened.client.send([command(b"PING")])
        await asyncio.sleep(0)

    assert not opened.client.is_connected


@on_loop
async def test_impossible_name_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await Opened.at("redis://a..b:1")


@on_loop
async def test_database_that_the_store_does_not_have_is_named(server: EmbeddedStore) -> None:
    with pytest.raises(StoreUnavailable, match="DB index is out of range"):
        await Opened.at(f"{server.url}?db=99")


@on_loop
async def test_own_close_is_no_loss_and_twice_is_once(server: EmbeddedStore, cli: RedisCli) -> None:
    opened = await Opened.at(server.url)
    opened.client.close()
    opened.client.close()
    await eventually(lambda: cli.do("CLIENT", "LIST", "TYPE", "normal").count(b"id=") == 1)

    assert (opened.client.is_connected, opened.lost) == (False, [])
