"""Which store this is, by what it says and by what it does."""

from pathlib import Path

import pytest

from shared_state.connection.client import Client
from shared_state.connection.product import Product, named, product_of
from shared_state.connection.store_check import check
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StoreUnfit
from shared_state.keys import Keys
from tests.support.programs import program
from tests.support.stores import RedisCli, fresh_domain, on_loop
from tests.support.topologies import Server, ending, until

REDIS = "# Server\r\nredis_version:{}\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\ngcc_version:12.2.0\r\n"


@pytest.mark.parametrize(
    ("info", "name", "version", "is_tested"),
    [
        (REDIS.format("7.0.15"), "Redis", "7.0.15", True),
        (REDIS.format("8.2.1"), "Redis", "8.2.1", True),
        (REDIS.format("6.2.14"), "Redis", "6.2.14", False),
        (REDIS.format("7.2.4") + "server_name:valkey\r\nvalkey_version:8.1.0\r\n", "Valkey", "8.1.0", True),
        (REDIS.format("7.2.4") + "dragonfly_version:df-v1.34.2\r\n", "Dragonfly", "df-v1.34.2", False),
        (REDIS.format("7.4.3") + "garnet_version:1.0.84\r\n", "Garnet", "1.0.84", False),
        (
            "# Server\r\nversion:999.999.999\r\nkvrocks_version:2.12.1\r\nredis_version:7.0.0\r\n",
            "Kvrocks",
            "2.12.1",
            False,
        ),
        (REDIS.format("6.3.4") + "executable:/usr/local/bin/keydb-server\r\n", "KeyDB", "6.3.4", False),
        ("", "", "", False),
        ("OK", "", "", False),
    ],
)
def test_product_is_known_by_its_own_report(info: str, name: str, version: str, is_tested: bool) -> None:
    assert named(info) == (name, version)
    assert Product(name, version, ()).is_tested is is_tested


@on_loop
async def test_stores_of_the_tests_lack_nothing(server: EmbeddedStore, cli: RedisCli) -> None:
    keys = Keys(fresh_domain())
    cli.do("SET", keys.events, "of somebody else")
    found = await product_of(Client(server.url, keys.domain), keys)

    assert (found.lacks, found.is_tested) == ((), True)
    assert cli.do("KEYS", f"{keys.prefix}*") == [keys.events]


@pytest.mark.parametrize(
    ("command", "lack"),
    [("XRANGE", "XRANGE from an excluded id"), ("BITFIELD", "BITFIELD with OVERFLOW"), ("EVALSHA", "Lua scripts")],
)
@on_loop
async def test_store_that_lacks_a_command_is_refused_by_name(tmp_path: Path, command: str, lack: str) -> None:
    server = Server(tmp_path, f'rename-command {command} ""', binary=program("redis-server"))
    with ending([server]):
        until(lambda: server.redis.ping(), repr(server))
        keys = Keys(fresh_domain())
        with pytest.raises(StoreUnfit, match=f"the store, Redis 7.*, lacks {lack}.*: use Redis or Valkey 7.0 or later"):
            await check(Client(f"redis://127.0.0.1:{server.port}", keys.domain), keys, ["a"])


@on_loop
async def test_store_that_has_it_all_but_is_not_known_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a managed service that does not let its clients see what it is."""
    server = Server(tmp_path, 'rename-command INFO ""')
    with ending([server]):
        until(lambda: server.redis.ping(), repr(server))
        keys = Keys(fresh_domain())
        await check(Client(f"redis://127.0.0.1:{server.port}", keys.domain), keys, ["a"])

    assert "the store is an unknown product, which is not tested" in caplog.text
