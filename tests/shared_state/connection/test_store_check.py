"""A store that cannot be used is told before anything is written to it."""

from collections.abc import Callable
from typing import Any

import pytest

from shared_state.connection.client import Client
from shared_state.connection.store_check import check
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StoreUnavailable, StoreUnfit
from shared_state.keys import Keys
from shared_state.policies import TenantLimits
from shared_state.records import Ask, Permit
from tests.support.live_state import opened_state
from tests.support.stores import RedisCli, fresh_domain, on_loop


@pytest.fixture
def keys() -> Keys:
    return Keys(fresh_domain())


async def fit(server: EmbeddedStore, keys: Keys) -> None:
    await check(Client(server.url, keys.domain), keys, ["a", "b"])


@on_loop
async def test_empty_store_is_fit(server: EmbeddedStore, keys: Keys) -> None:
    await fit(server, keys)


@on_loop
async def test_store_in_use_is_fit(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", "b") as state:
        await state.granted()
        await fit(server, state.keys)


@on_loop
async def test_store_in_use_by_tenants_is_fit(server: EmbeddedStore) -> None:
    """A replica that starts, or comes back, while a tenant's requests are active has to be let in."""
    async with opened_state(server.url, "a", "b") as state:
        plan = state.store.plan([("a", 0), ("b", 0)], "adaptive")
        assert isinstance(await state.store.acquire(plan, Ask(tenant=TenantLimits(name="team a/é"))), Permit)
        await fit(server, state.keys)


@on_loop
async def test_keys_of_other_applications_are_ignored(server: EmbeddedStore, keys: Keys, cli: RedisCli) -> None:
    cli.do_all([("SET", f"{keys.prefix}other:{k}", "x") for k in range(100)])

    await fit(server, keys)


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("domain", ("SET", "x"), "holds a string, not a hash"),
        ("policy", ("RPUSH", "x"), "holds a list, not a string"),
        ("leases", ("SADD", "x"), "holds a set, not a zset"),
        ("window", ("HSET", "f", "x"), "holds a hash, not a string"),
        ("events", ("ZADD", 1, "x"), "holds a zset, not a stream"),
        ("replicas", ("SET", "x"), "holds a string, not a zset"),
    ],
)
@on_loop
async def test_foreign_value_under_our_key_is_named_and_kept(
    server: EmbeddedStore, cli: RedisCli, keys: Keys, name: str, command: tuple[Any, ...], said: str
) -> None:
    key: bytes = getattr(keys, name)
    cli.do(command[0], key, *command[1:])
    before = cli.do("DUMP", key)
    with pytest.raises(StoreUnfit, match=said) as raised:
        await fit(server, keys)

    assert key.decode() in str(raised.value)
    assert cli.do("DUMP", key) == before


@on_loop
async def test_foreign_deployments_are_named_all_at_once(server: EmbeddedStore, cli: RedisCli, keys: Keys) -> None:
    cli.do("SET", keys.deployment("a"), "x")
    cli.do("SET", keys.deployment_leases("b"), "x")
    with pytest.raises(StoreUnfit, match=r"deployment:a .*; .*leases:b "):
        await fit(server, keys)


@pytest.mark.parametrize(
    ("key", "command"),
    [
        (lambda keys: keys.domain, ("HSET", "theirs", "x")),
        (lambda keys: keys.policy, ("SET", "hello")),
        (lambda keys: keys.window, ("SET", "hello")),
        (lambda keys: keys.leases, ("ZADD", 5, "theirs")),
        (lambda keys: keys.deployment("a"), ("HSET", "state", "theirs")),
        (
            lambda keys: keys.deployment("a"),
            ("HSET", "state", "open", "config_version", 1, "lease_ms", 5, "limit", "x"),
        ),
        (lambda keys: keys.deployment_window("b"), ("SET", "hello")),
        (lambda keys: keys.deployment_leases("b"), ("ZADD", 5, "theirs")),
    ],
)
@on_loop
async def test_foreign_contents_of_the_right_type_are_named_and_kept(
    server: EmbeddedStore, cli: RedisCli, keys: Keys, key: Callable[[Keys], bytes], command: tuple[Any, ...]
) -> None:
    name = key(keys)
    cli.do(command[0], name, *command[1:])
    before = cli.do("DUMP", name)
    with pytest.raises(StoreUnfit) as raised:
        await fit(server, keys)

    assert name.decode() in str(raised.value)
    assert cli.do("DUMP", name) == before


@pytest.mark.parametrize("schema", ["2", "", "x"])
@on_loop
async def test_other_schema_is_reported(server: EmbeddedStore, cli: RedisCli, keys: Keys, schema: str) -> None:
    cli.do("HSET", keys.domain, "epoch", "e1", "schema", schema)

    with pytest.raises(StoreUnfit, match=r"has schema .*, this version writes 1"):
        await fit(server, keys)


@on_loop
async def test_store_that_evicts_is_reported(own_server: EmbeddedStore, keys: Keys) -> None:
    with RedisCli(own_server.url) as cli:
        cli.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreUnfit, match="maxmemory-policy is allkeys-lru"):
        await fit(own_server, keys)


@on_loop
async def test_user_without_rights_is_reported(own_server: EmbeddedStore, keys: Keys) -> None:
    with RedisCli(own_server.url) as cli:
        cli.do("ACL", "SETUSER", "poor", "on", ">secret", "+ping")
    client = Client(own_server.url.replace("unix://", "unix://poor:secret@"), keys.domain)

    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await check(client, keys, ["a"])


@on_loop
async def test_wrong_password_is_reported(own_server: EmbeddedStore, keys: Keys) -> None:
    client = Client(own_server.url.replace("unix://", "unix://nobody:secret@"), keys.domain)

    with pytest.raises(StoreUnavailable, match="password") as raised:
        await check(client, keys, ["a"])
    assert "secret" not in str(raised.value)
