"""Measures the distance from this replica's region to each deployment: TCP connects to its provider, a few every ten
seconds, reported to the store. Requests cannot be measured instead: most reuse a connection, and a new one's time
includes TLS and name resolution.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from gateway.configuration.settings import DeploymentSettings
from shared_state.background import Kept
from shared_state.errors import StateError

EVERY_S = 10.0  # a path changes in minutes, and a store that lost its data knows the times again soon
CONNECTS = 3  # the fastest counts: during the others this process was busy
CONNECT_MOST_S, LOOK_UP_MOST_S, REPORT_MOST_S = 2.0, 5.0, 2.0
AT_ONCE = 8  # providers: a routing domain may have 300

Place = tuple[str, int]  # host and port
Address = tuple[object, ...]
Resolved = Sequence[tuple[int, int, int, str, Address]]  # as getaddrinfo returns it
LookUp = Callable[[str, int], Awaitable[Resolved]]
Report = Callable[[Mapping[str, float]], Awaitable[None]]


def places(deployments: Iterable[DeploymentSettings]) -> dict[Place, list[str]]:
    """Returns the ids of the enabled deployments with a region, by the address of their provider."""
    found: dict[Place, list[str]] = {}
    for deployment in deployments:
        if deployment.enabled and deployment.region:
            url = urlsplit(deployment.provider.base_url)
            port = url.port or (443 if url.scheme == "https" else 80)
            found.setdefault((url.hostname or "", port), []).append(deployment.id)
    return found


async def look_up(host: str, port: int) -> Resolved:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Addresses:
    """Resolves the names of providers one at a time: resolution shares a few threads with requests, and a silent name
    server blocks one for half a minute, even after the wait for it was cancelled. Meanwhile the previous result serves.
    """

    def __init__(self, look_up: LookUp = look_up, most_s: float = LOOK_UP_MOST_S) -> None:
        self._look_up = look_up
        self._most_s = most_s
        self._known: dict[Place, Resolved] = {}
        self._turn = asyncio.Lock()

    async def of(self, place: Place) -> Resolved:
        with contextlib.suppress(OSError, TimeoutError, UnicodeError):
            async with asyncio.timeout(self._most_s):
                await self._turn.acquire()
                looking_up = asyncio.ensure_future(self._look_up(*place))
                looking_up.add_done_callback(self._ended)
                self._known[place] = await asyncio.shield(looking_up)
        return self._known.get(place, ())

    def _ended(self, looking_up: asyncio.Future[Resolved]) -> None:
        self._turn.release()
        if not looking_up.cancelled():
            looking_up.exception()  # retrieved here; a caller that still waits gets it as well

    def keep(self, known: Container[Place]) -> None:
        self._known = {place: found for place, found in self._known.items() if place in known}


async def connect_ms(resolved: Resolved) -> float | None:
    """Returns the time of the fastest of a few connects to the first address that accepts one; None when none does."""
    for family, _, _, _, address in resolved[:CONNECTS]:
        times_ms = [each for each in [await _connect_ms(family, address) for _ in range(CONNECTS)] if each is not None]
        if times_ms:
            return min(times_ms)
    return None


async def _connect_ms(family: int, address: Address) -> float | None:
    with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError, TimeoutError):
        probe.setblocking(False)
        began_s = time.perf_counter()
        async with asyncio.timeout(CONNECT_MOST_S):
            await asyncio.get_running_loop().sock_connect(probe, address)
        return 1000 * (time.perf_counter() - began_s)
    return None


class RoundTrips:
    """Measures from ``start`` to ``stop``. An unreachable provider is left out: the breaker detects it."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], report: Report, addresses: Addresses | None = None
    ) -> None:
        self._report = report
        self._addresses = addresses or Addresses()
        self._kept: Kept | None = None
        self._few = asyncio.Semaphore(AT_ONCE)
        self.replace_deployments(deployments)

    def replace_deployments(self, deployments: Iterable[DeploymentSettings]) -> None:
        """Measures other deployments from the next round on."""
        self._places = places(deployments)
        self._addresses.keep(self._places)

    def start(self) -> None:
        self._kept = Kept("round trips", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()

    async def measured(self) -> dict[str, float]:
        """Returns round-trip times in ms, by deployment."""
        known = list(self._places.items())
        random.shuffle(known)  # a name that never resolves must not delay the same others every time
        found = await asyncio.gather(*(self._measure(place) for place, _ in known))
        return {
            deployment_id: rtt_ms
            for rtt_ms, (_, ids) in zip(found, known, strict=True)
            if rtt_ms is not None
            for deployment_id in ids
        }

    async def _measure(self, place: Place) -> float | None:
        async with self._few:
            return await connect_ms(await self._addresses.of(place))

    async def _run(self) -> None:
        jitter = random.Random().uniform
        while True:
            measured = await self.measured()
            # The heartbeat reports the lost store; the next round sends these times.
            with contextlib.suppress(StateError, TimeoutError):
                async with asyncio.timeout(REPORT_MOST_S):
                    await self._report(measured)
            await asyncio.sleep(EVERY_S * jitter(0.8, 1.2))
