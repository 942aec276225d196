"""Health checks over the wire: one replica claims each, and only its generation is reported."""

from shared_state.embedded import EmbeddedStore
from shared_state.records import Ask, Ending, Outcome, Permit
from tests.support.live_state import OpenedState, opened_state
from tests.support.stores import RedisCli, fresh_domain, on_loop

INTERVAL_MS = 60_000


async def trip(state: OpenedState) -> None:
    for _ in range(5):
        permit = await state.store.acquire(state.plan, Ask())
        assert isinstance(permit, Permit)
        await state.store.settlement(permit, Ending(Outcome.FAILURE, 10))


def let_pass(cli: RedisCli, state: OpenedState) -> None:
    """As if the breaker had opened an interval ago."""
    cli.do("HINCRBY", state.keys.deployment("a"), "changed_at_ms", -INTERVAL_MS)


@on_loop
async def test_one_of_two_replicas_gets_the_check(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain) as one,
        opened_state(server.url, "a", domain=domain, replica="r2") as two,
    ):
        await trip(one)
        let_pass(cli, one)
        claims = [await state.store.checks.claim("a", INTERVAL_MS) for state in (one, two)]

        assert claims == [1, None]


@on_loop
async def test_healthy_answer_ends_the_cooldown_once(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        await trip(state)
        let_pass(cli, state)
        generation = await state.store.checks.claim("a", INTERVAL_MS)
        assert generation == 1
        stale = await state.store.checks.report("a", generation - 1, 200, True)
        ended = [await state.store.checks.report("a", generation, 200, True) for _ in range(2)]
        probe = await state.store.acquire(state.plan, Ask())

        assert (stale, ended) == (False, [True, False])
        assert isinstance(probe, Permit)
        assert probe.is_probe
