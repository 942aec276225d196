"""Health checks over the wire: which answers are healthy, when a check is sent, and that no check does harm."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from gateway.configuration.health_checks import HealthCheckSettings
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.value_types import Secret
from gateway.routing.health_checks import HealthChecks, status_of
from shared_state.embedded import EmbeddedStore
from shared_state.errors import StoreUnavailable
from shared_state.failover import Failover
from shared_state.records import Ask, Ending, Outcome, Permit
from shared_state.scripts import assemble_all
from shared_state.snapshots import Presence
from shared_state.standby import Standby
from tests.support.live_state import LENIENT, OpenedState, opened_state
from tests.support.raw_provider import RawProvider, plain, running_raw_provider
from tests.support.stores import eventually, on_loop

PRESENCE = Presence("127.0.0.1:8080", "0.1.0", 0)
AT_ONCE = HealthCheckSettings(interval_ms=0)  # the breaker may have opened in this millisecond


@pytest.fixture
def raw() -> Iterator[RawProvider]:
    with running_raw_provider() as running:
        yield running


def deployment(raw: RawProvider, check: HealthCheckSettings | None = AT_ONCE) -> DeploymentSettings:
    provider = ProviderSettings(base_url=f"{raw.url}/v1", api_key=Secret("sk-1"))
    return DeploymentSettings(id="a", model_name="m", provider=provider, health_check=check)


@contextlib.asynccontextmanager
async def tripped(url: str) -> AsyncIterator[OpenedState]:
    """Its breaker is open, and the replica knows."""
    async with opened_state(url, "a") as state:
        for _ in range(5):
            permit = await state.store.acquire(state.plan, Ask())
            assert isinstance(permit, Permit)
            await state.store.settlement(permit, Ending(Outcome.FAILURE, 10))
        await state.store.beat(PRESENCE)
        assert state.store.view.breakers["a"].state == "open"
        yield state


async def is_over(state: OpenedState) -> bool:
    """Whether the next request would be the probe."""
    return (await state.store.views.snapshot()).deployments[0].wait_ms == 0


async def looked(checks: HealthChecks) -> None:
    """Until every check that was due has ended."""
    checks.check_open()
    await eventually(lambda: not checks._running)


@pytest.mark.parametrize("status", ["200 OK", "401 X", "403 X", "404 X", "429 X", "500 X", "503 X"])
def test_status_of_the_answer_is_returned(raw: RawProvider, status: str) -> None:
    raw.answer = plain(b"{}", status)
    provider = deployment(raw).provider

    assert asyncio.run(status_of(provider, "/models", 5)) == int(status[:3])
    assert b"GET /v1/models HTTP/1.1\r\n" in raw.requests[0][0]
    assert b"authorization: bearer sk-1" in raw.requests[0][0].lower()


def test_redirect_is_not_followed_with_the_key(raw: RawProvider) -> None:
    raw.answer = plain(b"", "302 Found", extra=f"location: {raw.url}/elsewhere\r\n")

    assert asyncio.run(status_of(deployment(raw).provider, "/models", 5)) == 302
    assert len(raw.requests) == 1


def test_path_may_leave_the_version(raw: RawProvider) -> None:
    assert asyncio.run(status_of(deployment(raw).provider, "/../health", 5)) == 200
    assert raw.requests[0][0].startswith(b"GET /health HTTP/1.1\r\n")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_missing_answer_has_no_status(raw: RawProvider, answer: bytes) -> None:
    raw.answer = answer

    assert asyncio.run(status_of(deployment(raw).provider, "/models", 5)) == 0


def test_provider_that_hangs_or_is_gone_has_no_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = ProviderSettings(base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        began_s = time.monotonic()
        hanging = asyncio.run(status_of(provider, "/models", 0.1))
        took_s = time.monotonic() - began_s
    gone = asyncio.run(status_of(provider, "/models", 5))

    assert (hanging, gone) == (0, 0)
    assert took_s < 5


def test_healthy_answer_ends_the_cooldown(store: EmbeddedStore, raw: RawProvider) -> None:
    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            before = await is_over(state)
            await looked(HealthChecks([deployment(raw)], Failover(state.store, None)))

            assert (before, await is_over(state)) == (False, True)

    run()


@pytest.mark.parametrize("status", ["302 Found", "401 X", "403 X", "404 X", "429 X", "500 X", "503 X"])
def test_any_other_answer_changes_nothing(store: EmbeddedStore, raw: RawProvider, status: str) -> None:
    raw.answer = plain(b"{}", status)

    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            await looked(HealthChecks([deployment(raw)], Failover(state.store, None)))
            stored = (await state.store.views.snapshot(2)).deployments[0].stored

            assert not await is_over(state)
            assert (len(raw.requests), stored["check_status"]) == (1, status[:3])

    run()


def test_nothing_is_sent_unless_configured_enabled_and_open(store: EmbeddedStore, raw: RawProvider) -> None:
    disabled = msgspec.structs.replace(deployment(raw), enabled=False)

    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            failover = Failover(state.store, None)
            for entry in (deployment(raw, None), disabled):
                await looked(HealthChecks([entry], failover))
            await state.store.force("a", "close", "ann", "test")
            await state.store.beat(PRESENCE)
            await looked(HealthChecks([deployment(raw)], failover))

    run()
    assert raw.requests == []


def test_replica_on_its_standby_store_checks_nothing(store: EmbeddedStore, raw: RawProvider) -> None:
    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            shared = state.store
            standby = Standby(assemble_all(), shared.keys, shared.memory, shared.configuration, LENIENT)
            failover = Failover(shared, standby)
            await standby.prepare(1)
            try:
                assert failover.enter(StoreUnavailable("away"))
                await looked(HealthChecks([deployment(raw)], failover))
                failover.leave()
                on_standby = len(raw.requests)
                await looked(HealthChecks([deployment(raw)], failover))
            finally:
                await standby.close()

            assert (on_standby, len(raw.requests)) == (0, 1)

    run()


def test_reload_adds_and_removes_checks(store: EmbeddedStore, raw: RawProvider) -> None:
    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            checks, sent = HealthChecks([], Failover(state.store, None)), []
            for entries in ([], [deployment(raw)], [deployment(raw, None)]):
                checks.replace_deployments(entries)
                await looked(checks)
                sent.append(len(raw.requests))

            assert sent == [0, 1, 1]

    run()


def test_stop_ends_a_check_under_way(store: EmbeddedStore, raw: RawProvider) -> None:
    raw.answer, raw.is_holding = b"", True

    @on_loop
    async def run() -> None:
        async with tripped(store.url) as state:
            checks = HealthChecks([deployment(raw)], Failover(state.store, None))
            checks.start()
            await eventually(lambda: len(raw.requests) == 1)
            await checks.stop()

            await eventually(lambda: raw.left == 1)
            assert not checks._running
            assert not await is_over(state)

    run()
