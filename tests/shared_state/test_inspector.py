"""`pllm state`: one command, its reply as lines; or the domain and a deployment, decoded."""

import asyncio

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError
from shared_state.inspector import EVENTS_SHOWN, Overview, inspecting
from shared_state.money import Budget, Spending
from shared_state.records import Ask, Ending, Outcome, Permit
from shared_state.snapshots import Presence
from tests.support.live_state import opened_state
from tests.support.stores import RedisCli, fresh_domain, on_loop


def inspect(url: str, words: list[str]) -> list[str]:
    with inspecting(url, "default") as inspector:
        return inspector.execute(words)


def test_hash_is_a_table(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("HSET", key, "state", "closed", "generation", "3")

    assert inspect(server.url, ["HGETALL", key]) == ["state       closed", "generation  3"]


def test_list_is_one_line_each(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("RPUSH", key, "one", "two")

    assert inspect(server.url, ["LRANGE", key, "0", "-1"]) == ["one", "two"]


def test_stream_is_nested(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("XADD", key, "1-1", "from", "closed")
    lines = inspect(server.url, ["XRANGE", key, "-", "+"])

    assert lines[0] == "1)"
    assert [line.split() for line in lines[1:]] == [["1-1"], *[line.split() for line in lines[2:]]]


def test_bytes_that_are_no_text_are_shown(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("SET", key, b"\xff\x00ok")

    assert inspect(server.url, ["GET", key]) == ["\\xff\x00ok"]


def test_missing_key_is_none(server: EmbeddedStore) -> None:
    assert inspect(server.url, ["GET", fresh_domain()]) == ["None"]


def test_number_is_a_line(server: EmbeddedStore) -> None:
    assert inspect(server.url, ["EXISTS", fresh_domain()]) == ["0"]


def test_refused_command_carries_its_reason(server: EmbeddedStore) -> None:
    with pytest.raises(StateError, match="wrong number of arguments"):
        inspect(server.url, ["GET"])


@pytest.mark.parametrize("url", ["unix:///nobody/is/here.sock", "redis://127.0.0.1:1", "http://wrong", "nonsense"])
def test_store_that_is_not_there_is_an_error(url: str) -> None:
    with pytest.raises(StateError):
        inspect(url, ["PING"])


def test_overview_shows_what_the_replicas_know(server: EmbeddedStore) -> None:
    domain = fresh_domain()

    @on_loop
    async def use() -> None:
        async with opened_state(server.url, "a", "b", domain=domain) as state:
            await state.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
            await state.store.settlement(await state.granted(), Ending(Outcome.SUCCESS, latency_ms=100))
            await state.store.force("b", "open", "ann", "maintenance")

    use()
    with inspecting(server.url, domain) as inspector:
        shown = inspector.overview()

    assert [(each.id, each.state) for each in shown.snapshot.deployments] == [("a", "closed"), ("b", "forced_open")]
    assert sum(each.requests for each in shown.snapshot.deployments) == 1
    assert [(each.id, each.address) for each in shown.replicas] == [("r1", "127.0.0.1:8080")]
    assert shown.events[0].reason == "open by ann: maintenance"
    assert len(shown.events) <= EVENTS_SHOWN


def test_deployments_are_found_where_no_replica_is_left(server: EmbeddedStore) -> None:
    domain = fresh_domain()

    @on_loop
    async def use() -> None:
        async with opened_state(server.url, "org/a", "b", domain=domain):
            pass

    use()
    with inspecting(server.url, domain) as inspector:
        assert [each.id for each in inspector.overview().snapshot.deployments] == ["b", "org/a"]


def test_deployment_is_shown_with_its_active_requests(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()

    @on_loop
    async def use() -> None:
        async with opened_state(server.url, "a", domain=domain) as state:
            for is_stream in (False, True):
                permit = await state.store.acquire(state.plan, Ask(0, is_stream))
                tokens.append(permit.token)  # type: ignore[union-attr]
            cli.do("ZINCRBY", state.keys.deployment_leases("a"), 0.25, tokens[1])

    tokens: list[str] = []
    use()
    with inspecting(server.url, domain) as inspector:
        found = inspector.deployment("a")

        assert found is not None
        assert {(lease.token, lease.is_probe, lease.is_answered) for lease in found.leases} == {
            (tokens[0], False, False),
            (tokens[1], False, True),
        }
        assert found.deployment.active == 2
        assert found.deployment.stored["lease_ms"] == "75000"
        assert inspector.deployment("nobody") is None


def test_looking_writes_nothing(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()

    @on_loop
    async def use() -> None:
        async with opened_state(server.url, "a", domain=domain):
            pass

    use()
    keys = sorted(cli.do("KEYS", f"pllm:{{{domain}}}:*"))
    before = [cli.do("DUMP", key) for key in keys]
    with inspecting(server.url, domain) as inspector:
        inspector.overview()
        inspector.deployment("a")

    assert sorted(cli.do("KEYS", f"pllm:{{{domain}}}:*")) == keys
    assert [cli.do("DUMP", key) for key in keys] == before


def overview(url: str, domain: str) -> Overview:
    with inspecting(url, domain) as inspector:
        return inspector.overview()


@on_loop
async def test_budgets_are_read_as_they_are_stored(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with opened_state(server.url, "a", domain=domain) as state:
        spending = Spending(Budget(5000, "total"), None, (400,))
        permit = await state.store.acquire(state.plan, Ask(0, spending=spending))
        assert isinstance(permit, Permit)
        found = await asyncio.to_thread(overview, server.url, domain)
        await state.store.settle(permit, Ending(Outcome.SUCCESS, cost=100))

    assert found.budgets == {"domain": {"amount": "5000", "reserved": "400", "per": "total", "period": "total"}}
