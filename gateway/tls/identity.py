"""The TLS identity of this process: its certificate and key, read again when their files change. Files that do not
match leave the former identity in use. `stat` follows symbolic links, so changes of a Kubernetes secret, whose
directory is a link that is swapped, and of certbot's `live/` are noticed.
"""

import asyncio
import contextlib
import logging
import os
import ssl
import time

from gateway.configuration.settings import ConfigurationError
from gateway.configuration.tls import TlsSettings
from gateway.http.tls_counts import counts
from gateway.tls.certificates import Identity, load, validity_problems, warnings
from shared_state.background import Kept

CHECK_EVERY_S = 2.0
WARN_EVERY_S = 86_400.0

_log = logging.getLogger("pllm.tls")

_Seen = tuple[tuple[int, int, int, int] | None, ...]


class Tls:
    """The identity in use. Its construction raises ConfigurationError for files that cannot be used."""

    def __init__(self, settings: TlsSettings, check_every_s: float = CHECK_EVERY_S) -> None:
        self._settings = settings
        self._check_every_s = check_every_s
        self._woken = asyncio.Event()
        self._seen = self._refused = self._doubted = self._marks()
        self._identity = load(settings)
        self._warned_s = float("-inf")
        self._kept: Kept | None = None
        counts.reloads.update({"applied": 0, "refused": 0})
        counts.expires_at_s = self._identity.expires_at_s

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake."""
        return self._identity.context

    def start(self) -> None:
        self._warn()
        self._kept = Kept("TLS files", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()

    def check_soon(self) -> None:
        """Checks the files now instead of at the end of the interval."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._check_every_s)
            self._woken.clear()
            await self._follow()
            if time.monotonic() - self._warned_s >= WARN_EVERY_S:
                self._warn()

    async def _follow(self) -> None:
        """Takes changed files. Two that do not match may be halfway through a renewal: that is an error only when they
        are the same at the next check.
        """
        seen = await asyncio.to_thread(self._marks)
        if seen == self._seen or seen == self._refused:
            return
        try:
            identity = await asyncio.to_thread(self._checked)
        except ConfigurationError as error:
            if seen == self._doubted:
                self._refused = seen
                counts.reloads["refused"] += 1
                _log.error("changed TLS files cannot be used, the former certificate stays: %s", error)
            self._doubted = seen
            return
        self._seen = self._refused = self._doubted = seen
        self._identity = identity
        counts.reloads["applied"] += 1
        counts.expires_at_s = identity.expires_at_s
        _log.info("the TLS files have changed: new connections get the new certificate")
        self._warn()

    def _checked(self) -> Identity:
        identity = load(self._settings)
        problems = list(validity_problems(self._settings, time.time()))
        if problems:
            raise ConfigurationError(problems)
        return identity

    def _marks(self) -> _Seen:
        files = (self._settings.certificate, self._settings.key, self._settings.client_ca)
        return tuple(_mark(file) for file in files if file)

    def _warn(self) -> None:
        self._warned_s, now_s = time.monotonic(), time.time()
        for problem in validity_problems(self._settings, now_s):
            _log.error("%s", problem)
        for line in warnings(self._settings, now_s):
            _log.warning("%s", line)


def _mark(file: str) -> tuple[int, int, int, int] | None:
    """Returns a value that changes with the file's content; None while it cannot be read."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
