"""Tenants in the shared store, so that all replicas obey at once what one of them has stored. Each replica holds a
copy: keys are checked without the store, and a store that has lost the tenants gets them back. A record counts only if
it is signed, or equals one that this replica has believed before, because replicas may have different secrets for a
moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import cast

import msgspec

from shared_state.background import once
from shared_state.connection.call import Reply
from shared_state.errors import ScriptFailed, StateError
from shared_state.failover import Failover
from shared_state.policies import TenantRecord
from shared_state.seal import Seal, body_of

NAME_SHOWN, REFUSED_SHOWN = 64, 20

_log = logging.getLogger("pllm.tenants")
_record = msgspec.json.Decoder(TenantRecord)


class KeyInUse(Exception):
    """Another tenant has this key; its name is the argument."""


class UnsignedTenants(Exception):
    """The configuration has no secret that could sign a record."""


class TenantBook:
    """The tenants of the store. ``version`` 0: there have never been any. ``changed``: called with every new set, the
    ``records`` by name; ``unsigned``: the names of records that are not believed.
    """

    def __init__(self, failover: Failover, changed: Callable[[dict[str, TenantRecord], int], None], seal: Seal) -> None:
        self._seal = seal
        self._texts: dict[str, bytes] = {}  # of the records that are believed, as the store has them
        self._must_sign = True
        self.unsigned: frozenset[str] = frozenset()
        self._failover = failover
        self._changed = changed
        self._reading: asyncio.Task[None] | None = None
        self._stored_version = 0
        self.version = 0
        self.records: dict[str, TenantRecord] = {}

    async def begin(self) -> None:
        """Reads the tenants before the first request is served, if the store answers."""
        with contextlib.suppress(StateError):
            await self.refresh()
            await self._sign()

    def adopt(self, seal: Seal) -> None:
        """Uses other secrets of the configuration from now on."""
        if seal == self._seal:
            return
        if self._seal.is_open:  # no secret vouches for these
            self.records, self._texts = {}, {}
            self._changed({}, self.version)
        self._seal, self._must_sign = seal, True
        self.on_version(self._stored_version or self.version)

    async def _sign(self) -> None:
        """Signs once for each set of secrets, and ignores later changes: replicas that disagree for a moment about the
        newest secret would otherwise sign in turns for ever.
        """
        old = {name: text for name, text in self._texts.items() if not self._seal.is_current(text)}
        words = [(name, text.decode(), self._seal.signed(body_of(text)).decode()) for name, text in old.items()]
        if words:
            parts = [word for each in words for word in each]
            self._take(await self._call("sign", "tenants", "", "the configuration", *parts))
        self._must_sign = False

    async def refresh(self) -> None:
        """Reads the tenants now, because the notice of a change may still be on its way. Raises StateError."""
        self._take(await self._call("read", "", "", ""))

    def on_version(self, version: int) -> None:
        """Notes the version that the store holds now; called with every heartbeat and every message."""
        self._stored_version = version
        if (version != self.version or self._must_sign) and (self._reading is None or self._reading.done()):
            self._reading = once("tenants", self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self._stored_version != self.version:
                if self._stored_version < self.version:  # it has forgotten
                    records = [part for name, text in self._texts.items() for part in (name, text.decode())]
                    reply = await self._call("restore", str(self.version), "", "", *records)
                else:
                    reply = await self._call("read", "", "", "")
                self._take(reply)
                self._stored_version = self.version
            if self._must_sign:
                await self.refresh()
                await self._sign()
        except StateError as error:
            _log.debug("tenants cannot be read: %s", error)  # the next heartbeat tries again

    async def put(self, record: TenantRecord, actor: str) -> None:
        """Creates or replaces a tenant. Raises KeyInUse, UnsignedTenants, StateError."""
        if not self._seal.is_signing and not self._seal.is_open:
            raise UnsignedTenants
        text = self._seal.signed(msgspec.json.encode(record)).decode()
        reply = await self._call("put", record.name, text, actor)
        if reply[0] == b"key_in_use":
            raise KeyInUse(cast(bytes, reply[1]).decode())
        self._take(reply)

    async def remove(self, name: str, actor: str) -> bool:
        """Removes a tenant. Returns False when none has this name. Raises StateError."""
        reply = await self._call("remove", name, "", actor)
        if reply[0] == b"unknown":
            return False
        self._take(reply)
        return True

    async def _call(self, what: str, name: str, text: str, actor: str, *more: str) -> Reply:
        return await self._failover.shared.tenants(what, name, text, actor, *more)

    def _take(self, reply: Reply) -> None:
        version, *pairs = reply
        if not isinstance(version, int):
            raise ScriptFailed("the tenants in the store are corrupted")
        records: dict[str, TenantRecord] = {}
        texts: dict[str, bytes] = {}
        refused: dict[bytes, str] = {}
        for name, text in zip(cast(list[bytes], pairs[::2]), cast(list[bytes], pairs[1::2]), strict=True):
            record = _read(name, text)
            if record is None:
                refused[name] = "cannot be read"
            elif self._is_believed(record.name, text):
                records[record.name], texts[record.name] = record, text
            else:
                refused[name] = "is not signed by this configuration"
        if version < self.version:
            return  # a reply that was overtaken
        self.version, self.records, self._texts = version, records, texts
        self._log_refused(refused)
        self._changed(records, version)

    def _is_believed(self, name: str, text: bytes) -> bool:
        known = self._texts.get(name)
        return self._seal.is_believed(text) or (known is not None and body_of(known) == body_of(text))

    def _log_refused(self, refused: dict[bytes, str]) -> None:
        """Logs each name once, because a client that can write to the store could fill the log."""
        names = {name.decode(errors="backslashreplace")[:NAME_SHOWN]: why for name, why in refused.items()}
        for name in sorted(names.keys() - self.unsigned)[:REFUSED_SHOWN]:
            _log.warning("the tenant %r in the store %s: its key is refused", name, names[name])
        self.unsigned = frozenset(names)


def _read(name: bytes, text: bytes) -> TenantRecord | None:
    try:
        record = _record.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return record if record.name.encode() == name else None
