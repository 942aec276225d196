"""The standby store: an embedded store of this replica's own, kept ready for the time when the shared store cannot be
used. It runs the same scripts with this replica's share of every limit.
"""

import asyncio
from typing import NamedTuple

import msgspec

from shared_state.calls.decision_calls import part
from shared_state.connection.batcher import Batcher
from shared_state.connection.client import Client
from shared_state.connection.patience import Patience
from shared_state.embedded import EmbeddedStore
from shared_state.errors import EmbeddedFailed
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration
from shared_state.scripts import Script
from shared_state.store import Store


def share(configuration: Configuration, replicas: int, version: int) -> Configuration:
    """Returns the limits of one of N replicas that do not know of each other, with one probe each."""
    router = configuration.router
    return Configuration(
        version,
        msgspec.structs.replace(
            router,
            max_active=part(router.max_active, replicas),
            probes=1,
            probe_successes=1,
            retry_floor_per_second=router.retry_floor_per_second / replicas,
        ),
        tuple(
            msgspec.structs.replace(
                d,
                limit=part(d.limit, replicas),
                rpm=None if d.rpm is None else part(d.rpm, replicas),
                tpm=None if d.tpm is None else part(d.tpm, replicas),
            )
            for d in configuration.deployments
        ),
        region=configuration.region,
    )


class _Opened(NamedTuple):
    embedded: EmbeddedStore
    batcher: Batcher
    store: Store

    async def close(self) -> None:
        """Stops the process first: bytes on their way to it need not arrive."""
        self.embedded.stop()
        await self.batcher.close()


class Standby:
    """An embedded store that is kept ready: running, empty, and configured for this replica's share of every limit.
    ``is_used``: it has been in use since, so that it may hold leases that must be settled there as well.
    """

    def __init__(
        self, scripts: dict[str, Script], keys: Keys, memory: Memory, configuration: Configuration, patience: Patience
    ) -> None:
        self._scripts, self._keys, self._memory = scripts, keys, memory
        self._configuration = configuration
        self._patience = patience
        self._replicas = 0
        self._version = 0
        self._opened: _Opened | None = None
        self._is_in_use = self._is_condemned = False
        self._changing = asyncio.Lock()
        self.is_used = False

    @property
    def store(self) -> Store | None:
        """The store; None while none works."""
        opened = self._opened
        return opened.store if opened is not None and opened.embedded.is_running and not self._is_condemned else None

    def condemn(self) -> None:
        """Marks the store as unresponsive, so that a new one takes its place."""
        self._is_condemned = True

    def take(self) -> None:
        self._is_in_use = self.is_used = True

    def release(self) -> None:
        self._is_in_use = False

    async def prepare(self, replicas: int) -> None:
        """Replaces a store that has died or was used before; a used one serves until the new one is ready. Divides the
        limits again when the number of replicas has changed. Raises StateError.
        """
        async with self._changing:
            if self.store is None or (self.is_used and not self._is_in_use):
                await self._replace(replicas)
            elif replicas != self._replicas and not self._is_in_use:
                await self._divide(self.store, replicas)

    async def _replace(self, replicas: int) -> None:
        fresh = await self._open(replicas)
        is_needed = self._is_in_use and self.store is not None  # it has been used again meanwhile
        unused = fresh if is_needed else self._opened
        if not is_needed:
            self._opened, self.is_used, self._is_condemned = fresh, self._is_in_use, False
        if unused is not None:
            await unused.close()

    async def _open(self, replicas: int) -> _Opened:
        try:
            embedded = EmbeddedStore()
        except OSError as error:
            raise EmbeddedFailed(f"the embedded store cannot be created: {error}") from error
        batcher = Batcher(Client(embedded.url), self._scripts.values(), self._patience)
        store = Store(batcher, self._scripts, self._keys, self._memory, self._configuration, is_shared=False)
        opened = _Opened(embedded, batcher, store)
        try:
            await embedded.start()
            await self._divide(store, replicas)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _divide(self, store: Store, replicas: int) -> None:
        self._version += 1
        store.policies.configuration = share(self._configuration, replicas, self._version)
        store.replicas = replicas
        await store.policies.write()
        self._replicas = replicas

    async def adopt(self, configuration: Configuration) -> None:
        """Adopts another configuration, unless this store is in use. Raises StateError; the next heartbeat then applies
        it.
        """
        async with self._changing:
            replicas, self._replicas, self._configuration = self._replicas, 0, configuration
            if self.store is not None and not self._is_in_use:
                await self._divide(self.store, max(1, replicas))

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()
