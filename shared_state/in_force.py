"""The configuration in force as one replica knows it, and its relation to the replica's own file. Every replica works
by the policies in force, even when its file differs: that file takes effect only when the replicas agree on it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from shared_state.calls.script_calls import Consent
from shared_state.errors import StateError, StoreTimeout
from shared_state.policies import Configuration, from_published, published
from shared_state.snapshots import Agreed, Agreement, Stand
from shared_state.store import Store

TRIES, RETRY_S = 5, 0.05  # a store that is busy for a moment must not delay an agreement

_log = logging.getLogger("pllm.configuration")


class File(msgspec.Struct, frozen=True):
    """A configuration file: the digest of its text, and what it means for the shared state."""

    digest: str
    configuration: Configuration


class InForce:
    """The configuration in force at one replica. ``stores``: the shared stores, the home domain's first; ``adopt``
    passes a configuration to all of them.
    """

    def __init__(self, stores: Sequence[Store], file: File, adopt: Callable[[Configuration], Awaitable[None]]) -> None:
        self._home, self._stores = stores[0], stores
        self._adopt = adopt
        self._registered_ms = 0
        self._is_over = False
        self._read = Agreed()  # the agreement whose published configuration was read last
        self._following = asyncio.Lock()
        self.known = Agreed()
        self.configuration: Configuration | None = None  # in use at this replica; None: not known yet
        self.file = file
        for store in stores:
            store.recovery.before_restore = partial(self._agree, store)

    @property
    def file(self) -> File:
        """The file of this replica."""
        return self._file

    @file.setter
    def file(self, file: File) -> None:
        self._file = file
        for store in self._stores:
            store.file_fingerprint = file.configuration.fingerprint

    @property
    def version(self) -> int:
        """The version that this replica works by; 0 while none is known."""
        return self.configuration.version if self.configuration else 0

    @property
    def is_mine(self) -> bool:
        """Whether the file of this replica is in force or equivalent to it, as far as is known."""
        return self.known.fingerprint in ("", self._file.configuration.fingerprint)

    @property
    def is_behind(self) -> bool:
        """Whether the policies in the store differ from those of this replica's file, as of the last heartbeat."""
        held = self._home.policies.held[1] or self.known.fingerprint
        return bool(held) and held != self._file.configuration.fingerprint

    async def _agree(self, store: Store) -> None:
        """Takes part in the agreement before policies are written to a store. Raises StateError if the store is the
        home domain's and does not answer; another domain does not wait for it.
        """
        if self._is_over:
            return
        try:
            seen = await self._call("hold")
        except StateError:
            if store is self._home:
                raise
            return
        with contextlib.suppress(StateError):
            await self.follow(seen)

    async def look(self) -> Agreement:
        """Reports this replica's file, and follows what is in force. Raises StateError."""
        seen = await self.call("hold")
        return await self.call("hold") if await self.follow(seen) else seen

    async def call(self, what: Consent, *more: str) -> Agreement:
        """Takes one step of the agreement, with retries after timeouts. Raises StateError."""
        for _ in range(TRIES - 1):
            try:
                return await self._call(what, *more)
            except StoreTimeout:
                await asyncio.sleep(RETRY_S)
        return await self._call(what, *more)

    async def _call(self, what: Consent, *more: str) -> Agreement:
        seen = await self._home.policies.agree(what, self._stand(), *more)
        self._registered_ms = seen.registered_ms
        if seen.fingerprint:
            self.known = seen.agreed
        return seen

    def _stand(self) -> Stand:
        configuration = self._file.configuration
        written = max((store.policies.held[0] for store in self._stores[1:]), default=0)
        return Stand(
            self._file.digest, configuration.fingerprint, self.version, self._registered_ms, written, self.known
        )

    async def follow(self, seen: Agreement) -> bool:
        """Adopts the policies in force. Returns False if this replica has them already, or cannot know them yet."""
        async with self._following:
            if seen.version < self.known.version:  # another call has brought news meanwhile
                return False
            wanted = await self._wanted(seen)
            if wanted is None:
                return False
            is_news = wanted != self.configuration
            if is_news:
                await self._adopt(wanted)
                self.configuration = wanted
            if wanted.version == seen.version and not seen.is_published:
                await self.call("publish", str(seen.version), published(wanted).decode())
            return is_news

    async def _wanted(self, seen: Agreement) -> Configuration | None:
        if not seen.fingerprint:  # agreed on by an earlier release
            return None
        for same in (self._file.configuration, self.configuration):
            if same is not None and same.fingerprint == seen.fingerprint:
                return msgspec.structs.replace(same, version=seen.version)
        if self._read == seen.agreed:
            return self.configuration
        text = await self._home.policies.published(self._stand())
        if not text:
            return None
        self._read = seen.agreed
        try:
            found = from_published(text, self._file.configuration)
        except msgspec.MsgspecError as error:
            _log.debug("the configuration in force is one of another release: %s", error)
            return None
        # One of another release is used as far as it is understood, but never written: version 0.
        version = seen.version if found.fingerprint == seen.fingerprint else 0
        return msgspec.structs.replace(found, version=version)

    async def leave(self) -> None:
        """Reports that this replica ends. If it was the last one with the file in force, another file may take its
        place.
        """
        self._is_over = True
        if self.known.version:
            await self._home.policies.agree("leave", self._stand())
