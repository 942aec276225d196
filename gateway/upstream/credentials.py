"""Keys of providers that change while the gateway runs: mounted secrets and tokens.

A source is read in a thread, once for all deployments that share it: at the start, a file every ten seconds, and any
source when a provider refuses its key, but at most once in ten seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from gateway.configuration.provider import KeySource, ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.value_types import Secret
from gateway.upstream.key_source import COMMAND_S, KeyUnreadable, read_key
from shared_state.background import Kept, once

EVERY_S = 10.0  # between two readings of one source
READERS_MOST = 4  # threads: one hanging file must not hold the others

_log = logging.getLogger("pllm.credentials")

OnKey = Callable[[KeySource, str], None]


class Credential:
    """The key of one source. ``on_key`` gets each new key before any call does."""

    def __init__(
        self,
        source: KeySource,
        threads: ThreadPoolExecutor,
        on_key: OnKey,
        time: Callable[[], float],
    ) -> None:
        self.source = source
        self.key = ""  # empty: it could never be read
        self.fault = "not read yet"
        self._threads = threads
        self._on_key = on_key
        self._time = time
        self._read_at_s = -EVERY_S
        self._reading: asyncio.Task[None] | None = None

    async def renew(self, refused: str = "") -> bool:
        """Returns whether the key differs from ``refused``, after reading it again where that may help."""
        if self.key == refused and (self._reading or self._time() - self._read_at_s >= EVERY_S):
            await self.read()
        return self.key != refused

    def begin(self) -> None:
        """Begins to read, unless it is being read."""
        if self._reading is None:
            self._read_at_s = self._time()
            self._reading = once("provider key", self._renewed())

    async def read(self) -> None:
        """Reads the source; callers at the same time share one reading."""
        self.begin()
        assert self._reading is not None
        await asyncio.shield(self._reading)

    async def _renewed(self) -> None:
        try:
            async with asyncio.timeout(2 * COMMAND_S):  # a file on a lost disk hangs longer
                work = asyncio.get_running_loop().run_in_executor(self._threads, read_key, self.source)
                key, fault = await work, ""
        except KeyUnreadable as error:
            key, fault = self.key, str(error)
        except TimeoutError:
            key, fault = self.key, f"not read within {2 * COMMAND_S:g} s"
        finally:
            self._reading = None
        if fault and fault != self.fault:
            _log.warning("%s: the key cannot be read: %s", self.source, fault)
        if key != self.key:
            self._on_key(self.source, key)
            _log.info("%s: %s", self.source, "the key has changed" if self.key else "the key was read")
        self.key, self.fault = key, fault

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


class Credentials:
    """The keys that change, by their source. ``on_key`` gets each new one, to mask it in logs."""

    def __init__(self, deployments: Iterable[DeploymentSettings], on_key: OnKey = lambda _source, _key: None) -> None:
        self._on_key = on_key
        self._by_source: dict[KeySource, Credential] = {}
        self._threads = ThreadPoolExecutor(READERS_MOST, "pllm-keys")
        self._watch: Kept | None = None
        self.adopt(deployments)

    def adopt(self, deployments: Iterable[DeploymentSettings]) -> None:
        """Begins to read the sources of further deployments; those of removed ones stay for calls in progress, and are
        not read again by themselves.
        """
        self._watched: set[KeySource] = set()
        for each in deployments:
            source = each.provider.source
            if source is None:
                continue
            if source not in self._by_source:
                time = asyncio.get_running_loop().time
                self._by_source[source] = Credential(source, self._threads, self._on_key, time)
            if each.enabled and source not in self._watched:
                self._watched.add(source)
                if not self._by_source[source].key:
                    self._by_source[source].begin()
        if self._watch is None and any(source.file for source in self._watched):
            self._watch = Kept("provider keys", self._run)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            for source in self._watched:
                if source.file:
                    self._by_source[source].begin()

    def of(self, provider: ProviderSettings) -> Credential | None:
        """Returns None for a provider whose key is part of the configuration."""
        source = provider.source
        return None if source is None else self._by_source[source]

    def keyed(self, provider: ProviderSettings) -> ProviderSettings:
        """Returns the provider with its present key."""
        credential = self.of(provider)
        return provider if credential is None else with_key(provider, credential.key)

    async def stop(self) -> None:
        if self._watch is not None:
            await self._watch.stop()
        for credential in self._by_source.values():
            credential.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def with_key(provider: ProviderSettings, key: str) -> ProviderSettings:
    """Returns the provider with a key that was read from its source."""
    return msgspec.structs.replace(provider, api_key=Secret(key), api_key_file="", api_key_command=())
