"""Tenants that are kept in the shared store, so that what one replica is told about them all replicas obey at once.
Each holds a copy: keys are checked without the store, and a store that forgets is told again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import cast

import msgspec

from shared_state.background import once
from shared_state.batcher import Reply
from shared_state.errors import ScriptFailed, StateError
from shared_state.failover import Failover
from shared_state.policies import TenantRecord

_log = logging.getLogger("pllm.tenants")
_record = msgspec.json.Decoder(TenantRecord)


class KeyInUse(Exception):
    """Another tenant has this key; its name is the argument."""


class TenantBook:
    """``version`` 0: there have never been any. ``changed`` is called with every new set, ``records`` by name."""

    def __init__(self, failover: Failover, changed: Callable[[dict[str, TenantRecord], int], None]) -> None:
        self._failover = failover
        self._changed = changed
        self._reading: asyncio.Task[None] | None = None
        self._told = 0
        self.version = 0
        self.records: dict[str, TenantRecord] = {}

    async def begin(self) -> None:
        """Before anybody is served, if the store can be asked."""
        with contextlib.suppress(StateError):
            await self.refresh()

    async def refresh(self) -> None:
        """As the store has them now: what another replica was told may still be on its way. Raises StateError."""
        self._take(await self._ask("read", "", "", ""))

    def heard(self, version: int) -> None:
        """The store holds this version now; called with every heartbeat and every piece of news."""
        self._told = version
        if version != self.version and (self._reading is None or self._reading.done()):
            self._reading = once("tenants", self._catch_up())

    async def _catch_up(self) -> None:
        while self._told != self.version:
            try:
                if self._told < self.version:  # it has forgotten
                    records = [part for name, record in self.records.items() for part in (name, _text(record))]
                    reply = await self._ask("restore", str(self.version), "", "", *records)
                else:
                    reply = await self._ask("read", "", "", "")
                self._take(reply)
                self._told = self.version
            except StateError as error:
                _log.debug("tenants cannot be read: %s", error)
                return  # the next heartbeat asks again

    async def put(self, record: TenantRecord, actor: str) -> None:
        """Creates or replaces. Raises KeyInUse, StateError."""
        reply = await self._ask("put", record.name, _text(record), actor)
        if reply[0] == b"key_in_use":
            raise KeyInUse(cast(bytes, reply[1]).decode())
        self._take(reply)

    async def remove(self, name: str, actor: str) -> bool:
        """False when there is none of this name. Raises StateError."""
        reply = await self._ask("remove", name, "", actor)
        if reply[0] == b"unknown":
            return False
        self._take(reply)
        return True

    async def _ask(self, what: str, name: str, text: str, actor: str, *more: str) -> Reply:
        return await self._failover.shared.tenants(what, name, text, actor, *more)

    def _take(self, reply: Reply) -> None:
        version, *pairs = reply
        if not isinstance(version, int):
            raise ScriptFailed("the tenants in the store are corrupted")
        records: dict[str, TenantRecord] = {}
        for name, text in zip(pairs[::2], pairs[1::2], strict=True):
            try:
                record = _record.decode(cast(bytes, text))
            except (msgspec.DecodeError, UnicodeDecodeError):
                record = None
            if record is not None and record.name.encode() == name:
                records[record.name] = record
            else:
                _log.warning("the tenant %r in the store cannot be read: its key opens nothing", name)
        if version < self.version:
            return  # a reply that was overtaken
        self.version, self.records = version, records
        self._changed(records, version)


def _text(record: TenantRecord) -> str:
    return msgspec.json.encode(record).decode()
