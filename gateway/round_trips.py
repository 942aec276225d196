"""How far each deployment is from this replica's region: TCP connects to its provider, a few every ten seconds, told to
the store. Not the connects of requests: connections are kept, and where one is made TLS and names are in its time.
"""

import asyncio
import contextlib
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

from gateway.settings import DeploymentSettings
from shared_state.errors import StateError

EVERY_S = 10.0  # a path changes in minutes; a store that has forgotten knows it again before anybody minds
CONNECTS = 3  # of which the fastest counts: in the others this process was busy
CONNECT_MOST_S, LOOK_UP_MOST_S, TELL_MOST_S = 2.0, 5.0, 2.0
AT_ONCE = 8  # of providers: a domain may have 300

Place = tuple[str, int]  # host and port
Told = Callable[[Mapping[str, float]], Awaitable[None]]

_log = logging.getLogger("pllm.regions")


def places(deployments: Iterable[DeploymentSettings]) -> dict[Place, list[str]]:
    """Those that are enabled and have a region, by the address of their provider."""
    found: dict[Place, list[str]] = {}
    for deployment in deployments:
        if deployment.enabled and deployment.region:
            url = urlsplit(deployment.provider.base_url)
            port = url.port or (443 if url.scheme == "https" else 80)
            found.setdefault((url.hostname or "", port), []).append(deployment.id)
    return found


async def connect_ms(place: Place) -> float | None:
    """The fastest of a few connects, by the first of its addresses that takes one; None when none does."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError, UnicodeError):
        async with asyncio.timeout(LOOK_UP_MOST_S):
            addresses = await loop.getaddrinfo(*place, type=socket.SOCK_STREAM)
        for family, _, _, _, address in addresses[:CONNECTS]:
            took = [each for each in [await _connect_ms(family, address) for _ in range(CONNECTS)] if each is not None]
            if took:
                return min(took)
    return None


async def _connect_ms(family: int, address: tuple[object, ...]) -> float | None:
    with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError, TimeoutError):
        probe.setblocking(False)
        began_s = time.perf_counter()
        async with asyncio.timeout(CONNECT_MOST_S):
            await asyncio.get_running_loop().sock_connect(probe, address)
        return 1000 * (time.perf_counter() - began_s)
    return None


class RoundTrips:
    """Measures from ``start`` to ``stop``. A provider out of reach is left out: that is for the breaker to see."""

    def __init__(self, deployments: Iterable[DeploymentSettings], tell: Told) -> None:
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._few = asyncio.Semaphore(AT_ONCE)
        self.adopt(deployments)

    def adopt(self, deployments: Iterable[DeploymentSettings]) -> None:
        """To be measured from the next time on."""
        self._places = places(deployments)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="round trips")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def measured(self) -> dict[str, float]:
        """In ms, by deployment."""
        found = await asyncio.gather(*(self._measure(place) for place in self._places))
        return {
            deployment_id: rtt_ms
            for rtt_ms, ids in zip(found, self._places.values(), strict=True)
            if rtt_ms is not None
            for deployment_id in ids
        }

    async def _measure(self, place: Place) -> float | None:
        async with self._few:
            return await connect_ms(place)

    async def _run(self) -> None:
        jitter = random.Random().uniform
        while True:
            try:
                measured = await self.measured()
                with contextlib.suppress(
                    StateError, TimeoutError
                ):  # the heartbeat tells of it; the next round tells this
                    async with asyncio.timeout(TELL_MOST_S):
                        await self._tell(measured)
            except Exception:
                _log.exception("defect in the measuring of round trips")
            await asyncio.sleep(EVERY_S * jitter(0.8, 1.2))
