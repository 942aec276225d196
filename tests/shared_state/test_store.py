"""The port: values in, one script call, values out; grants that nobody waits for are given back."""

import asyncio

import pytest

from shared_state.calls.script_calls import REAP_CHUNK
from shared_state.connection.batcher import IN_FLIGHT_MOST
from shared_state.connection.call import Call
from shared_state.connection.client import Client
from shared_state.embedded import EmbeddedStore
from shared_state.errors import NotConfigured, StoreUnavailable
from shared_state.memory import View
from shared_state.policies import Configuration, TenantLimits
from shared_state.records import Ask, Ending, Outcome, Permit, Rejection
from shared_state.snapshots import Presence
from tests.support.live_state import HASTY, OpenedState, opened_state
from tests.support.state import deployment_policy
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop, stopped, unreachable

SUCCESS = Ending(Outcome.SUCCESS, latency_ms=100)
FAILURE = Ending(Outcome.FAILURE)


def active(cli: RedisCli, state: OpenedState, deployment_id: str = "a") -> int:
    return int(cli.do("ZCARD", state.keys.deployment_leases(deployment_id)))


async def beat(state: OpenedState) -> None:
    await state.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))


# -- every method -----------------------------------------------------------------------------------------------


@on_loop
async def test_acquire_and_settle_are_two_round_trips(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", "b") as state:
        before = state.batcher.round_trips
        permit = await state.granted()
        settlement = await state.store.settlement(permit, SUCCESS)

        assert state.batcher.round_trips - before == 2
        assert (settlement.is_known, settlement.state, settlement.generation) == (True, "closed", 0)


@on_loop
async def test_permit_names_its_deployment(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", deployment_policy("b", weight=100)) as state:
        permit = await state.granted(is_stream=True)

        assert (permit.position, permit.deployment_id, permit.is_stream, permit.is_probe) == (1, "b", True, False)
        assert permit.token.startswith("r1.stream.")


@on_loop
async def test_rejection_has_a_verdict_for_each_candidate(server: EmbeddedStore) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1), "b") as state:
        await state.store.force("b", "open", "ann", "maintenance")
        await state.granted()
        decision = await state.acquire()

        assert isinstance(decision, Rejection)
        assert (decision.code, decision.verdicts) == ("none", ("full", "forced_open"))


@on_loop
async def test_tokens_are_never_the_same(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        permits = await asyncio.gather(*(state.granted() for _ in range(150)))

        assert len({p.token for p in permits}) == 150
        assert len({p.sequence for p in permits}) == 150


@on_loop
async def test_snapshot_shows_every_deployment(server: EmbeddedStore) -> None:
    ids = tuple(f"d{k}" for k in range(120))
    async with opened_state(server.url, *ids) as state:
        permit = await state.store.acquire(state.store.plan([("d99", 0)], "adaptive"), Ask(0))
        snapshot = await state.store.views.snapshot()

        assert isinstance(permit, Permit)
        assert tuple(d.id for d in snapshot.deployments) == ids
        assert [d.id for d in snapshot.deployments if d.active] == ["d99"]


@on_loop
async def test_explanation_shows_the_plan_in_its_order(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", "b") as state:
        plan = state.store.plan([("b", 0), ("a", 3)], "priority")
        explanation = await state.store.explain(plan, Ask(50))

        assert explanation.picked == "b"
        assert [(c.deployment_id, c.tier, c.verdict) for c in explanation.candidates] == [
            ("b", 0, "eligible"),
            ("a", 3, "eligible"),
        ]


@on_loop
async def test_force_returns_whether_it_changed_anything(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        forced = [
            await state.store.force("a", "open", "ann", "test", ttl_ms=60_000),
            await state.store.force("nobody", "open", "ann", "test"),
            await state.store.force("a", "explode", "ann", "test"),
        ]

        assert forced == [True, False, False]
        assert (await state.store.views.snapshot()).deployments[0].state == "forced_open"


@on_loop
async def test_actor_with_a_long_foreign_name_does_not_hide_the_state(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        await state.store.force("a", "open", "Ž" * 40, "test")

        assert (await state.store.views.snapshot()).deployments[0].open_reason.startswith("open by ŽŽŽ")


@on_loop
async def test_beat_tells_about_the_cluster(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", version=7) as state:
        await state.granted()
        heartbeat = await state.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))

        assert (heartbeat.policy_version, heartbeat.active, heartbeat.replicas_alive) == (7, 1, 1)
        assert (heartbeat.shed_reasons, heartbeat.dead_replicas) == ("", ())


@on_loop
async def test_first_bytes_are_reported_by_the_next_beat(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a", "b") as state:
        permits = [await state.granted(is_stream=True) for _ in range(4)]
        for permit in permits[:3]:
            state.store.answered(permit)
        await state.store.settlement(permits[0], SUCCESS)
        await beat(state)

        marked = []
        for permit in permits:
            score = cli.do("ZSCORE", state.keys.deployment_leases(permit.deployment_id), permit.token)
            marked.append(score is not None and float(score) % 0.5 == 0.25)
        assert marked == [False, True, True, False]


@on_loop
async def test_first_bytes_outlive_a_heartbeat_that_failed(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a") as state:
        permit = await state.granted(is_stream=True)
        state.store.answered(permit)
        with unreachable(own_server), pytest.raises(StoreUnavailable):
            await beat(state)
        await beat(state)
        with RedisCli(own_server.url) as cli:
            score = cli.do("ZSCORE", state.keys.deployment_leases("a"), permit.token)

        assert float(score) % 0.5 == 0.25


# -- configuration ----------------------------------------------------------------------------------------------


@on_loop
async def test_acquire_on_a_store_without_configuration_brings_it(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", is_configured=False) as state:
        assert isinstance(await state.acquire(), Permit)


@on_loop
async def test_acquire_after_a_flush_brings_the_configuration_back(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a") as state:
        await state.granted()
        with RedisCli(own_server.url) as cli:
            cli.do("FLUSHALL")

        assert isinstance(await state.acquire(), Permit)


@on_loop
async def test_unconfigured_deployment_is_an_error(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        plan = state.store.plan([("nobody", 0)], "adaptive")
        with pytest.raises(NotConfigured):
            await state.store.acquire(plan, Ask(0))
        with pytest.raises(NotConfigured):
            await state.store.explain(plan, Ask(0))


@on_loop
async def test_older_configuration_writes_nothing_in_any_order(server: EmbeddedStore) -> None:
    domain = fresh_domain()
    newer, older = deployment_policy("a", limit=2), deployment_policy("a", limit=1)
    async with (
        opened_state(server.url, newer, domain=domain, replica="r1", version=2),
        opened_state(server.url, older, domain=domain, replica="r2", version=1) as state,
    ):
        await state.store.policies.write()

        assert (await state.store.views.snapshot()).deployments[0].limit == 2


@on_loop
async def test_configuration_that_is_not_in_force_writes_nothing(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a", version=0) as state:
        await state.store.policies.write()

        assert cli.do("KEYS", f"{state.keys.prefix}*") == []


# -- several replicas -------------------------------------------------------------------------------------------


def without(state: OpenedState, gone: str, version: int = 2) -> Configuration:
    kept = tuple(policy for policy in state.store.configuration.deployments if policy.id != gone)
    return Configuration(version, state.store.configuration.router, kept)


def known(state: OpenedState) -> list[str]:
    return [policy.id for policy in state.store.configuration.deployments]


@on_loop
async def test_deployment_that_is_gone_is_kept_until_its_last_request_has_ended(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", "b") as state:
        permit = await state.granted(is_stream=True)
        gone = permit.deployment_id
        await beat(state)
        await state.store.policies.adopt(without(state, gone))
        while_busy = known(state)
        state.store.answered(permit)
        await beat(state)
        settlement = await state.store.settlement(permit, SUCCESS)
        await beat(state)

        assert (sorted(while_busy), settlement.is_known) == (["a", "b"], True)
        assert gone not in known(state)


@on_loop
async def test_leases_on_a_deployment_that_is_gone_survive_a_flush(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", "b") as state:
        permit = await state.granted()
        await beat(state)
        await state.store.policies.adopt(without(state, permit.deployment_id))
        with RedisCli(own_server.url) as cli:
            cli.do("FLUSHALL")
            await beat(state)
            leases = active(cli, state, permit.deployment_id)
        settlement = await state.store.settlement(permit, SUCCESS)

        assert (leases, settlement.is_known) == (1, True)


@on_loop
async def test_first_byte_on_a_deployment_that_is_forgotten_does_not_stop_the_heart(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", "b") as state:
        permit = await state.granted(is_stream=True)
        state.store.answered(permit)
        state.store.memory.end(permit.token)
        await state.store.policies.adopt(without(state, permit.deployment_id))

        await beat(state)
        assert permit.deployment_id not in known(state)


@on_loop
async def test_hundred_concurrent_callers_of_four_replicas_get_five_permits(server: EmbeddedStore) -> None:
    domain, policy = fresh_domain(), deployment_policy("a", limit=5)
    async with (
        opened_state(server.url, policy, domain=domain, replica="r1") as r1,
        opened_state(server.url, policy, domain=domain, replica="r2") as r2,
        opened_state(server.url, policy, domain=domain, replica="r3") as r3,
        opened_state(server.url, policy, domain=domain, replica="r4") as r4,
    ):
        decisions = await asyncio.gather(*(state.acquire() for _ in range(25) for state in (r1, r2, r3, r4)))

        assert sum(isinstance(d, Permit) for d in decisions) == 5


@on_loop
async def test_limit_is_never_exceeded_while_many_come_and_go(server: EmbeddedStore, cli: RedisCli) -> None:
    domain, policy = fresh_domain(), deployment_policy("a", limit=5)
    running = most = served = 0

    async def come_and_go(state: OpenedState) -> None:
        nonlocal running, most, served
        for _ in range(8):
            decision = await state.acquire()
            if isinstance(decision, Permit):
                running, served = running + 1, served + 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1
                await state.store.settlement(decision, SUCCESS)

    async with (
        opened_state(server.url, policy, domain=domain, replica="r1") as r1,
        opened_state(server.url, policy, domain=domain, replica="r2") as r2,
    ):
        await asyncio.gather(*(come_and_go(state) for _ in range(20) for state in (r1, r2)))

        assert 1 < most <= 5 < served
        assert active(cli, r1) == 0


@on_loop
async def test_two_versions_of_the_scripts_share_one_state(server: EmbeddedStore, cli: RedisCli) -> None:
    """As while replicas are replaced one by one: each has its own scripts, by their digests, and disturbs no other."""
    policy = deployment_policy("a", limit=5)
    domain = fresh_domain()
    async with (
        opened_state(server.url, policy, domain=domain) as before,
        opened_state(server.url, policy, domain=domain, replica="r2", release="the next one") as after,
    ):
        decisions = [await state.acquire() for _ in range(5) for state in (before, after)]
        permits = [decision for decision in decisions if isinstance(decision, Permit)]
        others = {"r1": after, "r2": before}
        for permit in permits:
            settled = await others[permit.token.partition(".")[0]].store.settlement(permit, SUCCESS)
            assert settled.is_known

        assert before.plan.prefix != after.plan.prefix
        assert (len(permits), {permit.token.partition(".")[0] for permit in permits}) == (5, {"r1", "r2"})
        assert active(cli, before) == 0


@on_loop
async def test_breaker_opened_by_one_replica_is_open_for_the_other(server: EmbeddedStore) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain, replica="r1") as r1,
        opened_state(server.url, "a", domain=domain, replica="r2") as r2,
    ):
        for _ in range(5):
            await r1.store.settlement(await r1.granted(), FAILURE)
        resort, decision = await r1.granted(), await r2.acquire()

        assert resort.is_last_resort  # the one of this second, for both
        assert isinstance(decision, Rejection)
        assert decision.verdicts == ("open",)


# -- nobody waits -----------------------------------------------------------------------------------------------


@on_loop
async def test_grant_of_a_cancelled_caller_is_given_back(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        tasks = [asyncio.create_task(state.acquire()) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await eventually(lambda: state.batcher.round_trips >= 3)

    assert all(task.cancelled() for task in tasks)
    assert active(cli, state) == 0


@on_loop
async def test_grant_of_a_cancelled_caller_has_used_no_tokens(server: EmbeddedStore, cli: RedisCli) -> None:
    tenant = TenantLimits(name="t", tpm=1000)
    async with opened_state(server.url, deployment_policy("a", tpm=1000)) as state:
        task = asyncio.create_task(state.ask(Ask(0, tokens=900, tenant=tenant)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        limit = f"{state.keys.prefix}limit:tenant:t"
        await eventually(lambda: cli.do("EXISTS", limit) == 1 and active(cli, state) == 0)
        next_one = await state.ask(Ask(0, tokens=900, tenant=tenant))

    assert task.cancelled()
    assert isinstance(next_one, Permit), next_one


@on_loop
async def test_grant_that_came_in_the_moment_of_leaving_is_given_back(
    server: EmbeddedStore, cli: RedisCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = Call.resolve

    def resolve_and_leave(call: Call, reply: object) -> None:
        resolve(call, reply)
        task.cancel()

    async with opened_state(server.url, "a") as state:
        monkeypatch.setattr(Call, "resolve", resolve_and_leave)
        task = asyncio.create_task(state.acquire())
        await asyncio.gather(task, return_exceptions=True)
        monkeypatch.undo()

    assert task.cancelled()
    assert active(cli, state) == 0


@on_loop
async def test_probe_of_a_cancelled_caller_is_given_back(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        await state.store.force("a", "open", "ann", "test", ttl_ms=1)
        first: list[Permit] = []
        while not first:
            first += [d for d in [await state.acquire()] if isinstance(d, Permit)]
        for _ in range(10):
            task = asyncio.create_task(state.acquire())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await state.store.views.snapshot()
        row = (await state.store.views.snapshot()).deployments[0]

        assert first[0].is_probe
        assert (row.state, row.probes_issued, row.active) == ("half_open", 1, 1)


@on_loop
async def test_grant_that_came_too_late_is_given_back(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        with stopped(own_server):
            decisions = await asyncio.gather(*(state.acquire() for _ in range(20)), return_exceptions=True)
        with RedisCli(own_server.url) as cli:
            await eventually(lambda: active(cli, state) > 0)
            await beat(state)
            await eventually(lambda: active(cli, state) == 0)

    assert all(isinstance(d, StoreUnavailable) for d in decisions)


@on_loop
async def test_settle_needs_no_awaiting(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(server.url, "a") as state:
        for _ in range(5):
            state.store.settle(await state.granted(), SUCCESS)

    assert active(cli, state) == 0


@on_loop
async def test_urgent_settle_is_known_to_the_acquire_beside_it(server: EmbeddedStore) -> None:
    async with opened_state(server.url, deployment_policy("a", limit=1)) as state:
        permit = await state.granted()
        before = state.batcher.round_trips
        state.store.settle(permit, FAILURE, is_urgent=True)
        decision = await state.acquire(attempt=2)

        assert isinstance(decision, Permit)
        assert state.batcher.round_trips - before == 1


# -- reaping ----------------------------------------------------------------------------------------------------


@on_loop
async def test_reap_goes_through_all_deployments_in_chunks(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    policies = [deployment_policy(name, limit=10_000) for name in "ab"]
    async with (
        opened_state(server.url, *policies, domain=domain, replica="dead") as dead,
        opened_state(server.url, *policies, domain=domain, replica="r1") as living,
    ):
        await asyncio.gather(*(dead.granted() for _ in range(3 * REAP_CHUNK)))
        await living.granted()
        removed = await living.store.recovery.reap("dead")

        assert removed == 3 * REAP_CHUNK
        assert active(cli, living, "a") + active(cli, living, "b") == 1


@on_loop
async def test_reap_misses_nothing_though_other_calls_end_meanwhile(server: EmbeddedStore, cli: RedisCli) -> None:
    domain, policy = fresh_domain(), deployment_policy("a", limit=10_000)
    async with (
        opened_state(server.url, policy, domain=domain, replica="dead") as dead,
        opened_state(server.url, policy, domain=domain, replica="r1") as living,
    ):
        permits = [*await asyncio.gather(*(living.granted() for _ in range(REAP_CHUNK - 100)))]
        await asyncio.gather(*(dead.granted() for _ in range(REAP_CHUNK)))
        reaping = asyncio.create_task(living.store.recovery.reap("dead"))
        await asyncio.sleep(0)
        for permit in permits[:200]:
            living.store.settle(permit, SUCCESS)
        await reaping

        assert active(cli, living) == len(permits) - 200


@on_loop
async def test_deployments_that_only_the_dead_replica_had_are_reaped_as_well(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "old", domain=domain, replica="dead") as dead,
        opened_state(server.url, "a", domain=domain, replica="r1") as living,
    ):
        await beat(dead)
        await dead.granted()
        cli.do("ZADD", dead.keys.replicas, 1, "dead")
        removed = await living.store.recovery.reap("dead")

        assert (removed, active(cli, dead, "old")) == (1, 0)
        assert cli.do("ZSCORE", dead.keys.replicas, "dead") is None


@on_loop
async def test_lease_that_ended_in_what_a_failover_lost_is_removed(own_server: EmbeddedStore) -> None:
    """Others were busy meanwhile, so that the sequence shows nothing: but there is a new connection."""
    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        ended, kept = await state.granted(), await state.granted()
        with RedisCli(own_server.url) as cli:
            lost = {key: cli.do("DUMP", key) for key in (state.keys.leases, state.keys.deployment_leases("a"))}
            await state.store.settlement(ended, SUCCESS)
            for key, value in lost.items():
                cli.do("RESTORE", key, 0, value, "REPLACE")
            cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await beat(state)

            assert active(cli, state) == 1
            assert (await state.store.settlement(kept, SUCCESS)).is_known


@on_loop
async def test_leases_are_those_that_their_replica_has_whatever_went_wrong(
    server: EmbeddedStore, cli: RedisCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_state(server.url, "a") as state:
        await beat(state)
        kept = await state.granted()
        unknown, lost = await state.granted(), await state.granted()
        state.store.memory.end(unknown.token)
        cli.do("ZREM", state.keys.deployment_leases("a"), lost.token)
        await beat(state)
        before = active(cli, state)
        monkeypatch.setattr("shared_state.recovery.RECONCILE_EVERY_S", 0)
        await beat(state)

        assert (before, active(cli, state)) == (2, 2)
        for permit in (kept, lost):
            assert (await state.store.settlement(permit, SUCCESS)).is_known


@on_loop
async def test_breaker_that_opened_is_seen_though_the_connection_was_lost(own_server: EmbeddedStore) -> None:
    domain = fresh_domain()
    async with (
        opened_state(own_server.url, "a", domain=domain) as state,
        opened_state(own_server.url, "a", domain=domain, replica="r2") as other,
    ):
        await beat(state)
        await other.store.force("a", "open", "ann", "test")
        with RedisCli(own_server.url) as cli:
            cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await beat(state)

        assert state.store.view.breakers["a"].state == "forced_open"


@on_loop
async def test_name_of_a_replica_may_hold_dots(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain, replica="gw.eu") as dead,
        opened_state(server.url, "a", domain=domain, replica="gw.eu.1") as living,
    ):
        await dead.granted()
        await living.granted()
        removed = await living.store.recovery.reap("gw.eu")

        assert (removed, active(cli, living)) == (1, 1)


# -- what the store has forgotten ---------------------------------------------------------------------------------


@on_loop
async def test_restore_that_failed_is_tried_again_with_the_next_beat(
    own_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise StoreUnavailable("gone again")

    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        await state.granted()
        with RedisCli(own_server.url) as cli:
            cli.do("HSET", state.keys.domain, "sequence", 0)
            cli.do("DEL", state.keys.leases, state.keys.deployment_leases("a"))
            monkeypatch.setattr(state.store.policies, "write", fails)
            with pytest.raises(StoreUnavailable):
                await beat(state)
            monkeypatch.undo()
            await beat(state)

            assert active(cli, state) == 1


@on_loop
async def test_settle_that_overtakes_a_reassert_leaves_no_lease(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        ended = [await state.granted() for _ in range(3)]
        # More decisions than may be in flight: the reassert waits behind them, and settles go along with them.
        decisions = [asyncio.ensure_future(state.acquire()) for _ in range(4 * IN_FLIGHT_MOST)]
        await asyncio.sleep(0)
        reasserted = state.store.recovery.reassert(View(), View())
        settled = [state.store.settle(permit, SUCCESS) for permit in ended]
        permits = [permit for permit in await asyncio.gather(*decisions) if isinstance(permit, Permit)]
        await asyncio.gather(reasserted, *settled)
        with RedisCli(own_server.url) as cli:
            assert active(cli, state) == len(permits) > 0
        for permit in permits:
            await state.store.settlement(permit, SUCCESS)


@on_loop
async def test_configuration_and_breakers_are_restored_in_one_pipeline(
    own_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines: list[list[bytes]] = []
    send = Client.send

    def recorded(self: Client, commands: list[bytes]) -> None:
        pipelines.append(commands)
        send(self, commands)

    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        await state.granted()
        with RedisCli(own_server.url) as cli:
            cli.do("FLUSHALL")
            monkeypatch.setattr(Client, "send", recorded)
            await state.store.recovery.restore()

            assert active(cli, state) == 1
            assert [len(commands) for commands in pipelines] == [2]  # configure, reassert


@on_loop
async def test_restore_outlives_a_flush_in_the_middle_of_it(
    own_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        await state.granted()
        configure, reassert, flushes = state.store.policies.write, state.store.recovery.reassert, [1, 1]
        with RedisCli(own_server.url) as cli:
            written: list[asyncio.Future[None]] = []

            async def flush_and_reassert(seen: View, now: View) -> list[int]:
                await written[-1]
                if flushes:
                    cli.do(*["FLUSHALL"] * flushes.pop())
                return await reassert(seen, now)

            def write() -> asyncio.Future[None]:
                written.append(configure())
                return written[-1]

            monkeypatch.setattr(state.store.policies, "write", write)
            monkeypatch.setattr(state.store.recovery, "reassert", flush_and_reassert)
            await state.store.recovery.restore()

            assert (flushes, active(cli, state)) == ([], 1)


@on_loop
async def test_lease_that_a_rollback_brings_back_is_removed(own_server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_state(own_server.url, "a") as state:
        await beat(state)
        ended, kept = await state.granted(), await state.granted()
        with RedisCli(own_server.url) as cli:
            dumped = {key: cli.do("DUMP", key) for key in cli.do("KEYS", "*")}
            await state.store.settlement(ended, SUCCESS)
            await state.granted()
            await beat(state)
            for key, value in dumped.items():
                cli.do("RESTORE", key, 0, value, "REPLACE")
            await beat(state)

            assert active(cli, state) == 2
            await state.store.settlement(kept, SUCCESS)
            assert active(cli, state) == 1


@on_loop
async def test_doubtful_call_is_kept_while_the_store_is_away(own_server: EmbeddedStore) -> None:
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        with stopped(own_server), pytest.raises(StoreUnavailable):
            await state.acquire()
        with RedisCli(own_server.url) as cli:
            await eventually(lambda: active(cli, state) == 1)
        state.store._lost_calls.resend()
        with unreachable(own_server):
            await state.batcher._idle.wait()
        state.store._lost_calls.resend()
        with RedisCli(own_server.url) as cli:
            await eventually(lambda: active(cli, state) == 0)


@on_loop
async def test_doubts_and_debts_are_bounded(own_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared_state.connection.lost_calls.KEPT_MOST", 3)
    async with opened_state(own_server.url, "a", patience=HASTY) as state:
        permits = [await state.granted() for _ in range(5)]
        with stopped(own_server):
            asked = await asyncio.gather(*(state.acquire() for _ in range(5)), return_exceptions=True)
            for permit in permits:
                await asyncio.gather(state.store.settle(permit, SUCCESS), return_exceptions=True)

        assert all(isinstance(each, StoreUnavailable) for each in asked)
        assert (len(state.store._lost_calls._unconfirmed), len(state.store._lost_calls._owed)) == (3, 3)


@on_loop
async def test_call_that_was_never_sent_leaves_no_doubt(own_server: EmbeddedStore) -> None:
    with unreachable(own_server):
        async with opened_state(own_server.url, "a", is_configured=False) as state:
            with pytest.raises(StoreUnavailable):
                await state.acquire()

            assert not state.store._lost_calls._unconfirmed


@on_loop
async def test_long_list_of_leases_is_gone_through_again(
    server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that end between two chunks move what is still to be seen."""
    async with opened_state(server.url, "a", "b") as state:
        found = iter([(3, 2, ""), (1, 2, ""), (0, 2, ""), (1, 1, ""), (0, 1, "")])
        asked = []

        async def reap(_dead: str, deployment_id: str, is_last: bool, _own_before_ms: int) -> tuple[int, int, str]:
            asked.append((deployment_id, is_last))
            return next(found)

        monkeypatch.setattr(state.store.recovery, "_reap", reap)

        assert await state.store.recovery.reap("dead") == 5
        assert asked == [("a", False)] * 3 + [("b", False), ("b", True)]


@on_loop
async def test_cooldown_that_is_reset_stays_reset_though_leases_are_reconciled(
    server: EmbeddedStore, cli: RedisCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_state(server.url, "a") as state:
        key, reassert = state.keys.deployment("a"), state.store.recovery.reassert
        kept = await state.granted()
        await state.store.settlement(await state.granted(), Ending(Outcome.THROTTLED, 10, retry_after_ms=60_000))
        await beat(state)
        cooled = state.store.view.breakers["a"].cools_s > 0

        def reset_meanwhile(seen: View, now: View, is_own: bool = False) -> asyncio.Future[list[int]]:
            cli.do("HDEL", key, "cool_until_ms")
            return reassert(seen, now, is_own)

        monkeypatch.setattr(state.store.recovery, "reassert", reset_meanwhile)
        monkeypatch.setattr("shared_state.recovery.RECONCILE_EVERY_S", 0.0)
        cli.do("ZREM", state.keys.deployment_leases("a"), kept.token)
        await beat(state)

        assert cooled
        assert cli.do("HGET", key, "cool_until_ms") is None
        assert active(cli, state) == 1  # the lease was put back


@on_loop
async def test_number_that_is_not_above_the_last_is_doubted_at_once(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        await state.granted()
        doubted = [state.store.recovery._is_suspect]
        state.store.recovery._sequence += 1
        await state.granted()
        doubted.append(state.store.recovery._is_suspect)

        assert doubted == [False, True]


@on_loop
async def test_epoch_that_changes_is_counted_once(server: EmbeddedStore, cli: RedisCli) -> None:
    domain = fresh_domain()
    async with (
        opened_state(server.url, "a", domain=domain) as state,
        opened_state(server.url, "a", domain=domain, replica="r2") as other,
    ):
        counts = []
        for _ in range(3):
            await beat(state)
        counts.append(state.store.recovery.epoch_changes)
        cli.do("ZREM", state.keys.replicas, "r1")  # taken for dead, in the same epoch
        await beat(state)
        counts.append(state.store.recovery.epoch_changes)
        cli.do("FLUSHALL")
        await beat(other)  # its epoch begins
        for _ in range(3):
            await beat(state)
        counts.append(state.store.recovery.epoch_changes)

        assert counts == [0, 0, 1]


# -- the epoch --------------------------------------------------------------------------------------------------


@on_loop
async def test_epoch_never_looks_like_a_number(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a") as state:
        epoch = (await state.store.views.snapshot()).epoch

        with pytest.raises(ValueError, match="could not convert"):
            float(epoch)
        assert epoch[0].isalpha()


# -- regions ----------------------------------------------------------------------------------------------------


@on_loop
async def test_decisions_of_a_region_are_taken_by_its_own_round_trips(server: EmbeddedStore) -> None:
    places = [deployment_policy(name, region=name, limit=1) for name in ("eu", "us", "asia")]
    async with opened_state(server.url, *places, region="asia") as state:
        await state.store.report_round_trips({"eu": 200.0, "us": 150.0, "asia": 0.5})
        served = [(await state.granted()).deployment_id for _ in range(3)]
        explained = await state.store.explain(state.plan, Ask(50))
        snapshot = await state.store.views.snapshot()

        assert served == ["asia", "us", "eu"]
        assert [(c.region, c.rtt_ms) for c in explained.candidates] == [("eu", 200.0), ("us", 150.0), ("asia", 0.5)]
        assert {d.id: (d.region, d.rtt_ms) for d in snapshot.deployments}["us"] == ("us", 150.0)


@on_loop
async def test_nothing_measured_is_nothing_reported(server: EmbeddedStore) -> None:
    async with opened_state(server.url, "a", region="eu") as state:
        await state.store.report_round_trips({})

        assert (await state.store.views.snapshot()).deployments[0].rtt_ms is None
