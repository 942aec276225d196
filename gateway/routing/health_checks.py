"""Recovery without traffic: while a deployment's breaker is open, one replica of the cluster queries its provider once
per interval. A healthy answer ends the cooldown, so that the next request is the probe; no other answer changes
anything.

The shared store decides which replica checks. On its standby store a replica checks nothing: without the shared store
every replica would, and the cooldown ends by itself there.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.faults import HttpFault
from gateway.upstream.http.request import request
from gateway.upstream.providers import inquiry
from shared_state.background import Kept, once
from shared_state.errors import StateError
from shared_state.failover import Failover
from shared_state.store import Store

LOOK_EVERY_S = 1.0  # as heartbeats report which breakers are open
_NO_ANSWER = 0

_log = logging.getLogger("pllm.health_checks")


async def status_of(provider: ProviderSettings, path: str, timeout_s: float) -> int:
    """Queries the provider; returns the status of its answer, 0 when none came in time."""
    try:
        # A connection of its own: a kept one may be as dead as the provider was.
        async with asyncio.timeout(timeout_s), HttpClient() as http:
            query = request("GET", inquiry.address(provider, path), inquiry.headers(provider).items())
            response = await http.send(query, b"", timeout_s)
            return response.status
    except (HttpFault, OSError):
        return _NO_ANSWER


class HealthChecks:
    """Checks from ``start`` to ``stop``. ``keyed`` returns a provider with its present key."""

    def __init__(
        self,
        deployments: Iterable[DeploymentSettings],
        failover: Failover,
        keyed: Callable[[ProviderSettings], ProviderSettings] = lambda provider: provider,
    ) -> None:
        self._failover = failover
        self._keyed = keyed
        self._jitter = random.Random().uniform
        self._kept: Kept | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self.replace_deployments(deployments)

    def replace_deployments(self, deployments: Iterable[DeploymentSettings]) -> None:
        """Checks other deployments from now on; a check in progress ends as it began."""
        self._checked = {each.id: each for each in deployments if each.enabled and each.health_check}

    def start(self) -> None:
        self._kept = Kept("health checks", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()
        tasks = [*self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self.check_open()
            await asyncio.sleep(LOOK_EVERY_S * self._jitter(0.8, 1.2))

    def check_open(self) -> None:
        """Begins a check of each deployment whose breaker is open, unless one is in progress."""
        for part in self._failover.parts.values():
            if part.state != "shared":
                continue
            for deployment_id, breaker in part.shared.view.breakers.items():
                deployment = self._checked.get(deployment_id)
                if deployment is not None and breaker.state == "open" and deployment_id not in self._running:
                    task = once("health check", self._check(part.shared, deployment))
                    self._running[deployment_id] = task
                    task.add_done_callback(partial(self._ended, deployment_id))

    def _ended(self, deployment_id: str, _done: asyncio.Task[None]) -> None:
        del self._running[deployment_id]

    async def _check(self, store: Store, deployment: DeploymentSettings) -> None:
        settings = deployment.health_check
        assert settings is not None
        try:
            generation = await store.checks.claim(deployment.id, settings.interval_ms)
            if generation is None:
                return
            status = await status_of(self._keyed(deployment.provider), settings.path, settings.timeout_ms / 1000)
            is_healthy = 200 <= status < 300
            if await store.checks.report(deployment.id, generation, status, is_healthy):
                _log.info("health check ended a cooldown deployment=%s status=%d", deployment.id, status)
        except StateError as error:
            _log.debug("health check not possible deployment=%s: %s", deployment.id, error)
