"""Libraries of versions that no replica runs go after a day; those of a version in use stay."""

import functools

import pytest

from shared_state.connection.client import query
from shared_state.connection.libraries import UNUSED_MS, remove_unused
from shared_state.embedded import EmbeddedStore
from shared_state.keys import Keys
from shared_state.scripts import Library, Script, Source, bundle
from shared_state.snapshots import Presence
from tests.support.live_state import opened_state
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop


def version(number: int) -> Script:
    return bundle([Source("echo", f"return {{ {number} }}\n")])["echo"]


OLD, NEW = version(1), version(2)


class Store:
    """A store of our own, with the rounds of a replica that has the newer version."""

    def __init__(self, server: EmbeddedStore, cli: RedisCli) -> None:
        self.cli, self.keys = cli, Keys(fresh_domain())
        self._execute = functools.partial(query, server.url)
        for script in (OLD, NEW):
            cli.do("FUNCTION", "LOAD", script.library.text)
        cli.do("FUNCTION", "LOAD", "#!lua name=theirs\nredis.register_function('theirs', function() return 1 end)")

    async def round(self, *own: Library) -> list[str]:
        return await remove_unused(self._execute, self.keys, own or [NEW.library])

    def names(self) -> set[str]:
        return {row[1].decode() for row in self.cli.do("FUNCTION", "LIST")}

    def a_day_later(self) -> None:
        """What was noted is a day old."""
        for name, text in self.cli.do("HGETALL", self.keys.libraries).items():
            count, at_ms = text.split()
            self.cli.do("HSET", self.keys.libraries, name, b"%b %d" % (count, int(at_ms) - UNUSED_MS))


@on_loop
async def test_library_without_a_call_for_a_day_is_removed(own_server: EmbeddedStore) -> None:
    with RedisCli(own_server.url) as cli:
        store = Store(own_server, cli)
        first = await store.round()
        store.a_day_later()
        second = await store.round()

        assert (first, second) == ([], [OLD.library.name])
        assert store.names() == {NEW.library.name, "theirs"}
        assert cli.do("EXISTS", store.keys.libraries) == 0


@on_loop
async def test_library_in_use_stays(own_server: EmbeddedStore) -> None:
    with RedisCli(own_server.url) as cli:
        store = Store(own_server, cli)
        await store.round()
        store.a_day_later()
        cli.do("FCALL", OLD.function, 0)

        assert [await store.round(), await store.round()] == [[], []]
        assert OLD.library.name in store.names()


@on_loop
async def test_library_that_a_running_version_never_calls_stays(own_server: EmbeddedStore) -> None:
    """Its replicas touch it, in a domain of their own."""
    with RedisCli(own_server.url) as cli:
        store = Store(own_server, cli)
        await store.round()
        store.a_day_later()
        await remove_unused(functools.partial(query, own_server.url), Keys(fresh_domain()), [OLD.library])

        assert await store.round() == []


@on_loop
async def test_library_that_is_loaded_again_begins_anew(own_server: EmbeddedStore) -> None:
    with RedisCli(own_server.url) as cli:
        store = Store(own_server, cli)
        await store.round()
        cli.do("FUNCTION", "DELETE", OLD.library.name)
        await store.round()
        store.a_day_later()
        cli.do("FUNCTION", "LOAD", OLD.library.text)

        assert await store.round() == []


@pytest.mark.parametrize("right", ["-function|list", "-function|delete", "-hset"])
@on_loop
async def test_user_without_the_rights_removes_nothing(own_server: EmbeddedStore, right: str) -> None:
    with RedisCli(own_server.url) as cli:
        store = Store(own_server, cli)
        await store.round()
        store.a_day_later()
        cli.do("ACL", "SETUSER", "default", right)
        names = store.names() if right != "-function|list" else set()
        await store.round()
        cli.do("ACL", "SETUSER", "default", right.replace("-", "+"))

        assert store.names() >= names - ({OLD.library.name} if right == "-hset" else set())


@on_loop
async def test_replica_takes_a_round_with_its_first_heartbeat(own_server: EmbeddedStore) -> None:
    with RedisCli(own_server.url) as cli:
        cli.do("FUNCTION", "LOAD", OLD.library.text)
        async with opened_state(own_server.url, "a") as state:
            await state.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
            await eventually(lambda: cli.do("HEXISTS", state.keys.libraries, OLD.library.name) == 1)

            assert cli.do("HKEYS", state.keys.libraries) == [OLD.library.name.encode()]
