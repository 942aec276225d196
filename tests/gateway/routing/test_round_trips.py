"""Round trips are measured by connects to listening sockets, each provider once, and reported."""

import asyncio
import socket
from collections.abc import Iterator, Mapping

import pytest

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.routing.round_trips import Addresses, Place, Resolved, RoundTrips, connect_ms, look_up, places
from shared_state.errors import StoreTimeout
from tests.support.stores import on_loop


def deployment(name: str, base_url: str, region: str | None = "eu", enabled: bool = True) -> DeploymentSettings:
    return DeploymentSettings(
        id=name, model_name="m", provider=ProviderSettings(base_url=base_url), region=region, enabled=enabled
    )


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


@pytest.fixture
def closed() -> Iterator[int]:
    """A port without a listener, which no other process can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield port(bound)


def test_provider_is_measured_once_for_all_of_its_deployments() -> None:
    found = places(
        [
            deployment("a", "https://api.example.com/v1"),
            deployment("b", "https://api.example.com/v1/other", region="us"),
            deployment("c", "http://10.0.0.1/v1"),
            deployment("d", "http://10.0.0.1:8080/v1"),
            deployment("e", "http://10.0.0.2/v1", region=None),
            deployment("f", "http://10.0.0.3/v1", enabled=False),
        ]
    )

    assert found == {
        ("api.example.com", 443): ["a", "b"],
        ("10.0.0.1", 80): ["c"],
        ("10.0.0.1", 8080): ["d"],
    }


async def reached_ms(place: Place) -> float | None:
    return await connect_ms(await Addresses().of(place))


@on_loop
async def test_connect_to_this_machine_takes_next_to_nothing(listener: socket.socket) -> None:
    took_ms = await reached_ms(("127.0.0.1", port(listener)))

    assert took_ms is not None
    assert 0 < took_ms < 1000


@on_loop
async def test_provider_out_of_reach_has_no_round_trip(closed: int) -> None:
    assert await reached_ms(("127.0.0.1", closed)) is None
    assert await reached_ms(("a name.invalid", 80)) is None
    assert await reached_ms(("x" * 80, 80)) is None


@on_loop
async def test_reachable_providers_are_measured_when_others_are_not(listener: socket.socket, closed: int) -> None:
    url = f"http://127.0.0.1:{port(listener)}"
    measured = await RoundTrips(
        [deployment("a", url), deployment("b", f"{url}/v1"), deployment("c", f"http://127.0.0.1:{closed}")], _ignore
    ).measured()

    assert set(measured) == {"a", "b"}


@on_loop
async def test_silent_name_server_blocks_one_look_up_and_known_addresses_are_measured(listener: socket.socket) -> None:
    """However many wait: requests look up names by the same few threads."""
    under_way, most, is_silent, answered = 0, 0, False, asyncio.Event()

    async def silent(host: str, port: int) -> Resolved:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            if is_silent:
                await answered.wait()
            return await look_up("127.0.0.1", port)
        finally:
            under_way -= 1

    url = f":{port(listener)}/v1"
    several = [deployment(name, f"http://{name}.example{url}") for name in "abcdefghijkl"]
    round_trips = RoundTrips(several, _ignore, Addresses(silent, most_s=0.1))
    assert len(await round_trips.measured()) == len(several)
    is_silent = True
    measured = await asyncio.gather(round_trips.measured(), round_trips.measured())

    assert [len(each) for each in measured] == [len(several)] * 2
    assert (most, under_way) == (1, 1)
    answered.set()


@on_loop
async def test_place_that_is_gone_is_forgotten(listener: socket.socket) -> None:
    async def lost(host: str, port: int) -> Resolved:
        if is_lost:
            raise socket.gaierror(host)
        return await look_up("127.0.0.1", port)

    is_lost = False
    one = [deployment("a", f"http://a.example:{port(listener)}")]
    round_trips = RoundTrips(one, _ignore, Addresses(lost))
    assert set(await round_trips.measured()) == {"a"}
    is_lost = True
    assert set(await round_trips.measured()) == {"a"}
    round_trips.replace_deployments([])
    round_trips.replace_deployments(one)

    assert await round_trips.measured() == {}


@on_loop
async def test_measured_round_trips_are_reported_until_the_stop(listener: socket.socket) -> None:
    reported: asyncio.Queue[Mapping[str, float]] = asyncio.Queue()
    round_trips = RoundTrips([deployment("a", f"http://127.0.0.1:{port(listener)}")], reported.put)
    round_trips.start()
    first = await reported.get()
    await round_trips.stop()

    assert set(first) == {"a"}
    assert {task.get_name() for task in asyncio.all_tasks()} & {"round trips"} == set()


@on_loop
async def test_store_that_is_away_does_not_end_the_measuring(listener: socket.socket) -> None:
    looked_up = asyncio.Event()

    async def lost(_measured: Mapping[str, float]) -> None:
        looked_up.set()
        raise StoreTimeout("late")

    round_trips = RoundTrips([deployment("a", f"http://127.0.0.1:{port(listener)}")], lost)
    round_trips.start()
    await looked_up.wait()
    await asyncio.sleep(0)
    (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "round trips"]
    is_done = running.done()
    await round_trips.stop()

    assert not is_done


async def _ignore(_measured: Mapping[str, float]) -> None:
    """Listens."""
