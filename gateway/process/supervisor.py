"""`pllm serve --replicas N`: N cores of one machine, one process each, behind one port.

The supervisor opens the listening sockets, one for each process (SO_REUSEPORT: the kernel spreads connections among
them), and keeps them open when a process dies: a client that connects in that second waits for the next process
instead of being refused.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import ConfigurationError, Settings
from gateway.configuration.value_types import secrets
from gateway.configuration.warnings import warnings
from gateway.process.sighup import HangUp, block
from gateway.process.start_lines import start_lines
from gateway.reload.file import ConfigurationFile
from gateway.request.body_memory import PROCESSES
from gateway.telemetry.logs import written
from gateway.tls import certificates
from gateway.version import VERSION
from shared_state.embedded import EmbeddedStore, die_with_parent
from shared_state.errors import StateError

BACKLOG = 1024
CHECK_EVERY_S = 0.1
PAUSE_LEAST_S, PAUSE_MOST_S = 0.2, 10.0  # before a process that died is started again, doubling
YOUNG_S = 10.0  # a process that ends sooner has a fault that a restart does not fix
STORE_PAUSE_S = 1.0  # between two attempts to restart the store
STOP_GRACE_S = 10.0  # after the drain

_log = logging.getLogger("pllm.supervisor")


class _Member:
    """One process of ``count`` and its socket."""

    def __init__(self, name: str, listener: socket.socket, arguments: Sequence[str], count: int) -> None:
        self.name = name
        self.listener = listener
        self._arguments = arguments
        self._count = count
        self._pause_s = PAUSE_LEAST_S
        self._due_s = 0.0
        self.started_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process. Raises OSError, SubprocessError."""
        fd = self.listener.fileno()
        command = [sys.executable, "-P", "-m", "gateway", "serve", *self._arguments]
        command += ["--replica", self.name, "--fd", str(fd)]
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(fd,),
            env=os.environ | {PROCESSES: str(self._count)},
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which passes it on
            preexec_fn=_begin,
        )

    def check(self) -> int | None:
        """Restarts the process once its pause is over. Returns the exit code of a process that failed soon after its
        start.
        """
        now = time.monotonic()
        if self.process is None:
            if now >= self._due_s:
                self._restart()
            return None
        code = self.process.poll()
        if code is None:
            if now - self.started_s > YOUNG_S:
                self._pause_s = PAUSE_LEAST_S
            return None
        _log.error("replica %s ended with code %d", self.name, code)
        if self._pause_s > PAUSE_LEAST_S:  # a second failure in a row: clients must not wait for this process
            self._stop_listening()
        self.process = None
        self._wait()
        return code if code > 0 and now - self.started_s < YOUNG_S else None

    def _restart(self) -> None:
        """Starts the process again. If the machine lacks memory, processes or files just now, it tries again later."""
        try:
            self.start()
        except (OSError, subprocess.SubprocessError) as error:
            _log.error("replica %s cannot be started: %s", self.name, error)
            self._wait()

    def _wait(self) -> None:
        self._due_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)

    def _stop_listening(self) -> None:
        """Has the kernel give new connections to the other processes until the next one listens itself."""
        address, family = self.listener.getsockname(), self.listener.family
        self.listener.close()
        self.listener = _bound(family, address)

    @property
    def is_settled(self) -> bool:
        return self.process is not None and time.monotonic() - self.started_s > YOUNG_S

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def _bound(family: socket.AddressFamily | int, address: Any) -> socket.socket:
    """Returns a socket that shares the address with others. Raises OSError."""
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _begin() -> None:
    die_with_parent()
    block()


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Returns ``count`` listening sockets on one address. Raises OSError when the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:  # the port of another program must not be shared
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = port or probe.getsockname()[1]
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(_bound(family, (host, port)))
            made[-1].listen(BACKLOG)
    except OSError:
        for listener in made:
            listener.close()
        raise
    return made


def run(file: ConfigurationFile, count: int, arguments: Sequence[str]) -> int:
    """Serves until SIGTERM, SIGINT or the end of its terminal, then lets every process drain; passes any other SIGHUP
    on. Returns an exit code: that of a process which failed at its start, else 0. Raises ConfigurationError, OSError
    when the port is in use, StateError without a store.
    """
    settings = file.read().settings
    if settings.server.tls is not None:
        certificates.load(settings.server.tls)
    with written(Redaction(secrets(settings))):
        return asyncio.run(_run(file, settings, count, arguments))


def patience_s(file: ConfigurationFile, at_start: Settings) -> float:
    """Returns the seconds that processes may take to end. They obey the settings of the start or of a later reload."""
    servers = [at_start.server]
    with contextlib.suppress(ConfigurationError):
        servers.append(file.read().settings.server)
    return max((server.drain_delay_ms or 0) + server.drain_timeout_ms for server in servers) / 1000 + STOP_GRACE_S


async def _run(file: ConfigurationFile, settings: Settings, count: int, arguments: Sequence[str]) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    members: list[_Member] = []
    HangUp(stop.set).attend(lambda: _reload(members))
    name = uuid.uuid4().hex[:6]
    async with _store(settings) as store:
        made = listeners(settings.server.host, settings.server.port, count)
        members += [
            _Member(f"{name}-{number}", listener, [*arguments, *_of_member(settings, store, number)], count)
            for number, listener in enumerate(made)
        ]
        try:
            return await _watch(members, settings, store, stop)
        finally:
            await _end(members, patience_s(file, settings))
            for member in members:
                member.listener.close()


def _reload(members: Sequence[_Member]) -> None:
    """Passes SIGHUP to all: the first to handle it proposes the reload, and any of them may just be starting."""
    for member in members:
        member.signal(signal.SIGHUP)


def _of_member(settings: Settings, store: EmbeddedStore | None, number: int) -> list[str]:
    own = ["--state-url", store.url] if store else []
    port = settings.server.metrics_port
    return own if port is None else [*own, "--metrics-port", str(port + number)]


@contextlib.asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[EmbeddedStore | None]:
    """Yields the embedded store that the processes share, or None if `state.url` is set."""
    if settings.state.url:
        yield None
        return
    store = EmbeddedStore()
    try:
        await store.start()
        yield store
    finally:
        store.stop()


async def _watch(
    members: Sequence[_Member], settings: Settings, store: EmbeddedStore | None, stop: asyncio.Event
) -> int:
    for member in members:
        member.start()
    for line in start_lines(settings, VERSION, len(members)):
        _log.info("%s", line)
    for warning in warnings(settings):
        _log.warning("%s", warning)
    has_served, store_due_s = False, 0.0
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CHECK_EVERY_S)
        if store is not None and not store.is_running and time.monotonic() >= store_due_s:
            await _revive(store)
            store_due_s = time.monotonic() + STORE_PAUSE_S
        for member in members:
            code = None if stop.is_set() else member.check()
            if code is not None and not has_served:
                return code
        has_served = has_served or any(member.is_settled for member in members)
    return 0


async def _revive(store: EmbeddedStore) -> None:
    """Restarts the store. If that fails, the processes continue on their standby stores until the next attempt."""
    _log.error("the store has ended and is being restarted")
    try:
        await store.revive()
    except StateError as error:
        _log.error("%s", error)


async def _end(members: Sequence[_Member], timeout_s: float) -> None:
    for member in members:
        member.signal(signal.SIGTERM)
    ends_s = time.monotonic() + timeout_s
    for member in members:
        while member.process is not None and member.process.poll() is None:
            if time.monotonic() > ends_s:
                member.signal(signal.SIGKILL)
            await asyncio.sleep(CHECK_EVERY_S)
