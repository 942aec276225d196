"""One of many processes that hammer a store, and note every call with its reply: python -m tests.support.history_worker
URL DOMAIN REPLICA SECONDS, notes to standard output as lines of JSON.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

from shared_state.batcher import Batcher, Lost, Orphaned, Reply
from shared_state.client import Client
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.records import Ending, Outcome, Permit
from shared_state.scripts import assemble_all
from shared_state.store import Configuration, Plan, Store
from tests.support.state import deployment_policy, router_policy

LIMITS = {"a": 3, "b": 5, "c": 8}
LEASE_MS, COOLDOWN_MS, FAILURES, PROBES, SUCCESSES = 60_000, 150, 3, 2, 2
CALLERS = 12
OUTCOMES = [Outcome.SUCCESS] * 4 + [Outcome.FAILURE] * 3 + [Outcome.CANCELLED, Outcome.CLIENT_ERROR]


def configuration() -> Configuration:
    """Only failures in a row open a breaker: the rest is another test's."""
    router = router_policy(
        max_active=100_000,
        min_calls=10**6,
        slow_limit=10**6,
        min_healthy_ratio=0,
        failure_threshold=FAILURES,
        probes=PROBES,
        probe_successes=SUCCESSES,
    )
    policies = [
        deployment_policy(name, limit=limit, lease_ms=LEASE_MS, cooldown_ms=COOLDOWN_MS, latency_threshold_ms=10**6)
        for name, limit in LIMITS.items()
    ]
    return Configuration(1, router, tuple(policies))


class NotingBatcher(Batcher):
    """Notes what is sent and what comes back. A call that is sent again notes both."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.again: dict[str, bytes] = {}
        self.notes: list[tuple[list[str], list[Any]]] = []

    def call(
        self,
        packed: bytes,
        again: bytes | None = None,
        orphaned: Orphaned | None = None,
        lost: Lost | None = None,
        is_urgent: bool = False,
    ) -> asyncio.Future[Reply]:
        future = super().call(packed, again, orphaned, lost, is_urgent)
        words = _words(packed)
        if again is not None:
            self.again[words[-5]] = again  # the token
        future.add_done_callback(lambda done: self.notes.append((words, _plain(done.result()))))
        return future


def _words(packed: bytes) -> list[str]:
    """What follows the keys of an EVALSHA."""
    words = packed.split(b"\r\n")[2::2]
    return [word.decode() for word in words[3 + int(words[2]) :]]


def _plain(reply: list[Any]) -> list[Any]:
    return [item.decode() if isinstance(item, bytes) else item for item in reply]


async def hammer(store: Store, batcher: NotingBatcher, plan: Plan, ends_s: float, chance: random.Random) -> None:
    while time.monotonic() < ends_s:
        decision = await store.acquire(plan, 0, chance.random() < 0.5)
        if not isinstance(decision, Permit):
            await asyncio.sleep(0)
            continue
        if chance.random() < 0.1:
            await batcher.call(batcher.again[decision.token])
        if chance.random() < 0.05:
            await asyncio.sleep(chance.choice([1, 2]) * COOLDOWN_MS / 1000)  # outlives the generation it was granted in
        for _ in range(2 if chance.random() < 0.1 else 1):
            await store.settle(decision, Ending(chance.choice(OUTCOMES), 10))


async def run(url: str, domain: str, replica: str, seconds: float) -> None:
    scripts = assemble_all()
    batcher = NotingBatcher(Client(url), tuple(scripts.values()), 10_000)
    store = Store(batcher, scripts, Keys(domain), Memory(replica), configuration())
    plan = store.plan([(name, 0) for name in LIMITS], "least-busy")
    ends_s, chance = time.monotonic() + seconds, random.Random(replica)
    await asyncio.gather(*(hammer(store, batcher, plan, ends_s, chance) for _ in range(CALLERS)))
    await batcher.close()
    sys.stdout.writelines(f"{json.dumps(note)}\n" for note in batcher.notes)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
