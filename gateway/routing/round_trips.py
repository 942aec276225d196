"""How far each deployment is from this replica's region: TCP connects to its provider, a few every ten seconds, told to
the store. Not the connects of requests: connections are kept, and where one is made TLS and names are in its time.
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

EVERY_S = 10.0  # a path changes in minutes; a store that has forgotten knows it again before anybody minds
CONNECTS = 3  # of which the fastest counts: in the others this process was busy
CONNECT_MOST_S, LOOK_UP_MOST_S, TELL_MOST_S = 2.0, 5.0, 2.0
AT_ONCE = 8  # of providers: a domain may have 300

Place = tuple[str, int]  # host and port
Address = tuple[object, ...]
Found = Sequence[tuple[int, int, int, str, Address]]  # as getaddrinfo says it
LookUp = Callable[[str, int], Awaitable[Found]]
Told = Callable[[Mapping[str, float]], Awaitable[None]]


def places(deployments: Iterable[DeploymentSettings]) -> dict[Place, list[str]]:
    """Those that are enabled and have a region, by the address of their provider."""
    found: dict[Place, list[str]] = {}
    for deployment in deployments:
        if deployment.enabled and deployment.region:
            url = urlsplit(deployment.provider.base_url)
            port = url.port or (443 if url.scheme == "https" else 80)
            found.setdefault((url.hostname or "", port), []).append(deployment.id)
    return found


async def look_up(host: str, port: int) -> Found:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Addresses:
    """Of places, looked up one at a time: requests share a few threads with it, of which a name server that is silent
    holds one for half a minute, whoever still waits for it. Meanwhile what was found before is good enough.
    """

    def __init__(self, look_up: LookUp = look_up, most_s: float = LOOK_UP_MOST_S) -> None:
        self._look_up = look_up
        self._most_s = most_s
        self._known: dict[Place, Found] = {}
        self._turn = asyncio.Lock()

    async def of(self, place: Place) -> Found:
        with contextlib.suppress(OSError, TimeoutError, UnicodeError):
            async with asyncio.timeout(self._most_s):
                await self._turn.acquire()
                asked = asyncio.ensure_future(self._look_up(*place))
                asked.add_done_callback(self._ended)
                self._known[place] = await asyncio.shield(asked)
        return self._known.get(place, ())

    def _ended(self, asked: asyncio.Future[Found]) -> None:
        self._turn.release()
        if not asked.cancelled():
            asked.exception()  # whoever still waits is told

    def keep(self, known: Container[Place]) -> None:
        self._known = {place: found for place, found in self._known.items() if place in known}


async def connect_ms(found: Found) -> float | None:
    """The fastest of a few connects, by the first of the addresses that takes one; None when none does."""
    for family, _, _, _, address in found[:CONNECTS]:
        took = [each for each in [await _connect_ms(family, address) for _ in range(CONNECTS)] if each is not None]
        if took:
            return min(took)
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
    """Measures from ``start`` to ``stop``. A provider out of reach is left out: that is for the breaker to see."""

    def __init__(
        self, deployments: Iterable[DeploymentSettings], tell: Told, addresses: Addresses | None = None
    ) -> None:
        self._tell = tell
        self._addresses = addresses or Addresses()
        self._kept: Kept | None = None
        self._few = asyncio.Semaphore(AT_ONCE)
        self.adopt(deployments)

    def adopt(self, deployments: Iterable[DeploymentSettings]) -> None:
        """To be measured from the next time on."""
        self._places = places(deployments)
        self._addresses.keep(self._places)

    def start(self) -> None:
        self._kept = Kept("round trips", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()

    async def measured(self) -> dict[str, float]:
        """In ms, by deployment."""
        known = list(self._places.items())
        random.shuffle(known)  # one that is never found must not come before the same others every time
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
                async with asyncio.timeout(TELL_MOST_S):
                    await self._tell(measured)
            await asyncio.sleep(EVERY_S * jitter(0.8, 1.2))
