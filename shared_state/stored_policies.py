"""The policies that one store holds: how they are written, and how the replicas agree on them."""

import asyncio

import msgspec

from shared_state.calls import replies
from shared_state.calls.script_calls import Consent, ScriptCalls
from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Reply
from shared_state.memory import Memory
from shared_state.policies import Configuration
from shared_state.snapshots import Agreement, Stand


class StoredPolicies:
    """Writes the policies of this replica's configuration to one store. Every awaited call may raise StateError."""

    def __init__(self, batcher: Batcher, calls: ScriptCalls, memory: Memory, configuration: Configuration) -> None:
        self._batcher = batcher
        self._calls = calls
        self._memory = memory
        self.configuration = configuration
        self.held = (0, "")  # version and fingerprint that the store had at the last heartbeat

    @property
    def configuration(self) -> Configuration:
        """The adopted configuration, with removed deployments for as long as requests run on them."""
        return self._configuration

    @configuration.setter
    def configuration(self, configuration: Configuration) -> None:
        self._configuration = self._adopted = configuration

    @property
    def are_held(self) -> bool:
        """Whether the store had the policies of this version at the last heartbeat."""
        return self.held == (self._configuration.version, self._configuration.fingerprint)

    def write(self) -> asyncio.Future[None]:
        """Writes the policies of the configuration in force; a store with newer policies keeps them. Queues the calls
        before it returns, ahead of every later decision.
        """
        return self._write(self._configuration)

    def _write(self, configuration: Configuration) -> asyncio.Future[None]:
        calls = [self._batcher.call(packed, is_urgent=True) for packed in self._calls.configure(configuration)]
        return asyncio.ensure_future(self._written(configuration, calls))

    async def _written(self, configuration: Configuration, calls: list[asyncio.Future[Reply]]) -> None:
        done = [replies.configured(reply) for reply in await asyncio.gather(*calls)]
        if done and all(done):
            self.held = (configuration.version, configuration.fingerprint)

    async def adopt(self, configuration: Configuration) -> None:
        """Changes the configuration while running. Removed deployments stay as long as requests run on them here."""
        await self._write(self._with_busy(configuration))
        self._adopted, self._configuration = configuration, self._with_busy(configuration)

    def drop_idle(self) -> None:
        """Forgets removed deployments whose last request has ended."""
        if self._configuration is not self._adopted:
            self._configuration = self._with_busy(self._adopted)

    def _with_busy(self, configuration: Configuration) -> Configuration:
        """Adds the present deployments that the configuration lacks and on which requests still run."""
        ids = {policy.id for policy in configuration.deployments}
        busy = {live.permit.deployment_id for live in self._memory.live.values()} - ids
        kept = tuple(policy for policy in self._configuration.deployments if policy.id in busy)
        if not kept:
            return configuration
        return msgspec.structs.replace(configuration, deployments=configuration.deployments + kept)

    async def agree(self, step: Consent, stand: Stand, *more: str) -> Agreement:
        """Takes one step of the agreement on the configuration in force; the head of `reload` describes the steps."""
        packed = self._calls.reload(step, self._memory.replica, stand, *more)
        return replies.agreed(await self._batcher.call(packed))

    async def published(self, stand: Stand) -> bytes:
        """Returns the configuration in force as JSON; empty where no replica has published it yet."""
        packed = self._calls.reload("read", self._memory.replica, stand)
        return replies.published(await self._batcher.call(packed))
