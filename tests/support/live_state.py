"""The shared state as a gateway opens it: real scripts, real sockets, the store's own clock."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec

from shared_state.connection.batcher import Batcher
from shared_state.connection.client import Client, query
from shared_state.connection.patience import Patience
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration, DeploymentPolicy
from shared_state.records import Ask, Permit, Plan, Rejection
from shared_state.scripts import Script, bundle, names, read_source
from shared_state.store import Store
from tests.support.state import deployment_policy, router_policy
from tests.support.stores import fresh_domain

# Nothing here is about a slow machine: a test that wants a store to be lost asks for less patience.
LENIENT = Patience(5_000, 20_000)
HASTY = Patience(50, 500)


class OpenedState(NamedTuple):
    """One replica's way to the store."""

    store: Store
    batcher: Batcher
    keys: Keys
    plan: Plan

    async def granted(self, **options: Any) -> Permit:
        decision = await self.acquire(**options)
        assert isinstance(decision, Permit), decision
        return decision

    async def acquire(self, *, is_stream: bool = False, attempt: int = 1) -> Permit | Rejection:
        return await self.ask(Ask(0, is_stream, attempt))

    async def ask(self, ask: Ask) -> Permit | Rejection:
        return await self.store.acquire(self.plan, ask)


def _scripts_of(release: str) -> dict[str, Script]:
    sources = map(read_source, names())
    if not release:
        return bundle(sources)
    return bundle(msgspec.structs.replace(each, body=f"{each.body}-- {release}\n") for each in sources)


@contextlib.asynccontextmanager
async def opened_batcher(url: str, scripts: Sequence[Script], patience: Patience = LENIENT) -> AsyncIterator[Batcher]:
    batcher = Batcher(Client(url), scripts, patience)
    try:
        yield batcher
    finally:
        await batcher.close()


@contextlib.asynccontextmanager
async def opened_state(
    url: str,
    *deployments: str | DeploymentPolicy,
    domain: str = "",
    replica: str = "r1",
    version: int = 1,
    is_configured: bool = True,
    patience: Patience = LENIENT,
    release: str = "",
    region: str = "",
) -> AsyncIterator[OpenedState]:
    """The plan has all deployments in one tier, least busy first. ``release``: scripts of another text do the same."""
    policies = tuple(deployment_policy(d) if isinstance(d, str) else d for d in deployments)
    scripts = _scripts_of(release)
    keys = Keys(domain or fresh_domain())
    async with opened_batcher(url, tuple(scripts.values()), patience) as batcher:
        configuration = Configuration(version, router_policy(max_active=100_000), policies, region=region)
        store = Store(batcher, scripts, keys, Memory(replica), configuration)
        if is_configured:
            await store.policies.write()
        yield OpenedState(store, batcher, keys, store.plan([(p.id, 0) for p in policies], "least-busy"))


async def run_command(url: str, *parts: bytes) -> object:
    """One command on a connection of its own."""
    [reply] = await query(url, parts)
    return reply
