"""The part of the composition root that opens the state: for each routing domain its connection, its standby store and
its heartbeat.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from gateway.configuration.server import ServerSettings
from gateway.configuration.settings import Settings
from gateway.configuration.state import StateSettings
from gateway.request.in_flight import Flight
from shared_state.blocks import Blocks
from shared_state.connection.batcher import Batcher
from shared_state.connection.client import Client
from shared_state.connection.patience import Patience
from shared_state.connection.store_check import check
from shared_state.domains import Domains
from shared_state.embedded import EmbeddedStore
from shared_state.failover import Failover
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration
from shared_state.replicas import Replica
from shared_state.scripts import Script, assemble_all
from shared_state.standby import Standby
from shared_state.store import Store

EVERYWHERE = frozenset({"0.0.0.0", "::"})
Revive = Callable[[], Awaitable[None]] | None


class State(msgspec.Struct, frozen=True):
    """``client``: a second connection to the home domain's store, not open yet; ``freed``: a channel of each domain."""

    failover: Failover
    hearts: tuple[Replica, ...]
    client: Client
    freed: tuple[bytes, ...]


class _Opener:
    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        settings: Settings,
        life: str,
        version: str,
        policies: Configuration,
        flight: Flight,
        url: str,
        revive: Revive,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._life = life
        self._version = version
        self._policies = policies
        self._flight = flight
        self._url = url
        self._revive = revive
        self._scripts: dict[str, Script] = assemble_all()
        self._checks: dict[str, Callable[[], Awaitable[None]]] = {}

    def open(self, domain: str) -> tuple[Store, Standby | None]:
        """Nothing is asked of it yet."""
        keys, memory, policies = Keys(domain), Memory(self._life), self._policies.of(domain)
        patience, standby = _patience(self._settings.state), None
        if self._revive is None and self._settings.state.standby == "embedded":
            standby = Standby(self._scripts, keys, memory, policies, patience)
            self._stack.push_async_callback(standby.close)
        client = Client(self._url, keys.domain)
        batcher = Batcher(client, self._scripts.values(), patience._replace(has_standby=standby is not None))
        self._stack.push_async_callback(batcher.close)
        self._checks[domain] = partial(check, client, keys, [policy.id for policy in policies.deployments])
        return Store(batcher, self._scripts, keys, memory, policies), standby

    def heart(self, domain: str, failover: Failover) -> Replica:
        address = _address(self._settings.server)
        return Replica(
            failover, address, self._version, lambda: self._flight.is_draining, self._revive, self._checks[domain]
        )


def _patience(state: StateSettings) -> Patience:
    return Patience(state.deadline_ms, state.lost_after_ms or max(Patience().lost_after_ms, state.deadline_ms))


def _address(server: ServerSettings) -> str:
    """Where others find this replica. One that listens everywhere is found by its machine's name: a container's id, a
    pod's name.
    """
    host = socket.gethostname() if server.host in EVERYWHERE else server.host
    return f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"


async def open_state(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    life: str,
    version: str,
    policies: Configuration,
    flight: Flight,
) -> State:
    """Given back with ``stack``. Without a url the store is a child of this process, which is started again when it
    dies. Raises StateError.
    """
    url, revive = str(settings.state.url), None
    if not url:
        embedded = EmbeddedStore()
        stack.callback(embedded.stop)
        await embedded.start()
        url, revive = embedded.url, embedded.revive
    opener, home = _Opener(stack, settings, life, version, policies, flight, url, revive), settings.state.domain
    others = {domain: Failover(*opener.open(domain)) for domain in settings.domains() if domain != home}
    shared, standby = opener.open(home)
    failover = Domains(shared, standby, others) if others else Failover(shared, standby)
    leases = settings.router.capacity_leases
    if leases.block:
        for each in (failover, *others.values()):
            each.blocks = Blocks(each.shared, leases.block, leases.for_ms)
    hearts = tuple(opener.heart(domain, each) for domain, each in {home: failover, **others}.items())
    freed = tuple(each.shared.keys.freed for each in (failover, *others.values()))
    return State(failover, hearts, Client(url, shared.keys.domain), freed)
