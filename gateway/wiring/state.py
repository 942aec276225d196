"""Opens the shared state: for each routing domain its connection, its standby store and its heartbeat."""

import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from gateway.configuration.server import ServerSettings
from gateway.configuration.settings import Settings
from gateway.configuration.state import StateSettings
from gateway.request.in_flight import InFlight
from shared_state.blocks import Blocks
from shared_state.connection.batcher import Batcher
from shared_state.connection.client import Client
from shared_state.connection.patience import Patience
from shared_state.connection.store_check import check
from shared_state.domains import Domains
from shared_state.embedded import EmbeddedStore
from shared_state.failover import Failover
from shared_state.heartbeat import Replica
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration
from shared_state.scripts import Script, assemble_all
from shared_state.standby import Standby
from shared_state.store import Store

ALL_INTERFACES = frozenset({"0.0.0.0", "::"})
Revive = Callable[[], Awaitable[None]] | None


class ThisReplica(msgspec.Struct, frozen=True):
    """One run of the gateway: its names, and its requests in flight."""

    name: str  # in headers and logs
    life: (
        str  # in the shared state, different after each start: what an earlier life left behind is never taken for ours
    )
    version: str
    in_flight: InFlight


class State(msgspec.Struct, frozen=True):
    """The shared state, as one replica uses it."""

    failover: Failover
    heartbeats: tuple[Replica, ...]  # one for each routing domain, not started yet
    client: Client  # a second connection to the home domain's store, not open yet
    freed: tuple[bytes, ...]  # the channel of each domain that announces freed permits


class _Location(msgspec.Struct, frozen=True):
    """The address of the store. ``revive`` starts an embedded one again after it died."""

    url: str
    revive: Revive


class _Opener:
    """Opens one routing domain after the other."""

    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        settings: Settings,
        replica: ThisReplica,
        policies: Configuration,
        location: _Location,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._replica = replica
        self._policies = policies
        self._location = location
        self._scripts: dict[str, Script] = assemble_all()
        self._checks: dict[str, Callable[[], Awaitable[None]]] = {}

    def open(self, domain: str) -> tuple[Store, Standby | None]:
        """Builds the store of a domain, without calling it."""
        keys, memory, policies = Keys(domain), Memory(self._replica.life), self._policies.of(domain)
        patience, standby = _patience(self._settings.state), None
        if self._location.revive is None and self._settings.state.standby == "embedded":
            standby = Standby(self._scripts, keys, memory, policies, patience)
            self._stack.push_async_callback(standby.close)
        client = Client(self._location.url, keys.domain)
        batcher = Batcher(client, self._scripts.values(), patience._replace(has_standby=standby is not None))
        self._stack.push_async_callback(batcher.close)
        self._checks[domain] = partial(check, client, keys, [policy.id for policy in policies.deployments])
        store = Store(batcher, self._scripts, keys, memory, policies)
        self._stack.push_async_callback(store.usage.close)
        return store, standby

    def heartbeat(self, domain: str, failover: Failover) -> Replica:
        """Returns the heartbeat in a domain that has been opened."""
        address, replica = _address(self._settings.server), self._replica
        in_flight, revive = replica.in_flight, self._location.revive
        return Replica(failover, address, replica.version, lambda: in_flight.is_draining, revive, self._checks[domain])


def _patience(state: StateSettings) -> Patience:
    return Patience(state.deadline_ms, state.lost_after_ms or max(Patience().lost_after_ms, state.deadline_ms))


def _address(server: ServerSettings) -> str:
    """Returns the address under which others reach this replica. A replica that listens on all interfaces is reached by
    its host name: a container's id, a pod's name.
    """
    host = socket.gethostname() if server.host in ALL_INTERFACES else server.host
    return f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"


async def open_state(
    stack: contextlib.AsyncExitStack, settings: Settings, replica: ThisReplica, policies: Configuration
) -> State:
    """Opens the state until ``stack`` closes. Without a url the store is a child of this process, which is started
    again when it dies. Raises StateError.
    """
    location = await _locate(stack, str(settings.state.url))
    opener, home = _Opener(stack, settings, replica, policies, location), settings.state.domain
    others = {domain: Failover(*opener.open(domain)) for domain in settings.domains() if domain != home}
    shared, standby = opener.open(home)
    failover = Domains(shared, standby, others) if others else Failover(shared, standby)
    leases = settings.router.capacity_leases
    if leases.block:
        for each in (failover, *others.values()):
            each.blocks = Blocks(each.shared, leases.block, leases.for_ms)
    heartbeats = tuple(opener.heartbeat(domain, each) for domain, each in {home: failover, **others}.items())
    freed = tuple(each.shared.keys.freed for each in (failover, *others.values()))
    return State(failover, heartbeats, Client(location.url, shared.keys.domain), freed)


async def _locate(stack: contextlib.AsyncExitStack, url: str) -> _Location:
    if url:
        return _Location(url, None)
    embedded = EmbeddedStore()
    stack.callback(embedded.stop)
    await embedded.start()
    return _Location(embedded.url, embedded.revive)
