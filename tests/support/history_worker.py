"""One of many processes that hammer a store, and note every call with its reply: python -m tests.support.history_worker
URL DOMAIN REPLICA SECONDS, notes to standard output as lines of JSON.
"""

import asyncio
import dataclasses
import json
import math
import random
import sys
import time
from typing import Any

import uvloop

from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Lost, Orphaned, Repack, Reply
from shared_state.connection.client import Client
from shared_state.connection.patience import Patience
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration
from shared_state.records import FIRST_TURN, Ask, Ending, Outcome, Permit
from shared_state.scripts import Script, assemble_all
from shared_state.snapshots import Presence
from shared_state.store import Store
from tests.support.deployment_model import Router, Rules
from tests.support.pin_model import Pins
from tests.support.state import deployment_policy, router_policy

RULES = {name: Rules(limit, lease_ms=60_000, cooldown_ms=50) for name, limit in {"a": 3, "b": 5, "c": 8}.items()}
ROUTER = Router(failures=3, slow=10**6, probes=2, successes=2, max_active=100_000, last_resort=True)
# No pin ends by itself during a history.
AFFINITY = Pins(ttl_ms=3_600_000, band=0.3, entries=100_000)
SESSIONS = 12
SHARES = (0.9, 0.5, 0.0)  # of a prompt, read from a cache
CALLERS, BEAT_EVERY_S, FORCE_EVERY_S = 12, 0.05, 0.1
# In ms, two of them long enough to outlive the generation that a permit was granted in.
PAUSES_MS = [1, 2, 50, 150]
OUTCOMES = [Outcome.SUCCESS] * 4 + [Outcome.FAILURE] * 3 + [Outcome.CANCELLED, Outcome.CLIENT_ERROR]
RARE_KIND = "responses"  # whose endpoint is missing now and then; a success of a call that began before finds it again


def configuration() -> Configuration:
    """Only failures in a row open a breaker: the rest is another test's."""
    router = router_policy(
        max_active=ROUTER.max_active,
        min_calls=10**6,
        slow_limit=ROUTER.slow,
        min_healthy_ratio=0,
        failure_threshold=ROUTER.failures,
        probes=ROUTER.probes,
        probe_successes=ROUTER.successes,
        affinity_ttl_ms=AFFINITY.ttl_ms,
        affinity_band=AFFINITY.band,
        affinity_entries=AFFINITY.entries,
    )
    policies = [
        deployment_policy(name, latency_threshold_ms=10**6, **dataclasses.asdict(rules))
        for name, rules in RULES.items()
    ]
    return Configuration(1, router, tuple(policies))


class NotingBatcher(Batcher):
    """Notes what is sent and what comes back, also to a caller who has left. A call that is sent again notes both."""

    def __init__(self, client: Client, scripts: dict[str, Script]) -> None:
        super().__init__(client, tuple(scripts.values()), Patience(10_000, 60_000))
        self.names = {script.function: name for name, script in scripts.items()}
        self.again: dict[str, bytes] = {}
        self.notes: list[tuple[str, list[str], Any]] = []

    def call(
        self,
        packed: bytes,
        again: bytes | None = None,
        orphaned: Orphaned | None = None,
        lost: Lost | None = None,
        is_urgent: bool = False,
        has_era: bool = False,
        repack: Repack | None = None,
    ) -> asyncio.Future[Reply]:
        name, words = self._words(packed)
        if again is not None:
            self.again[words[3]] = again  # by token

        def note(reply: Reply) -> None:
            self.notes.append((name, words, _plain(reply)))

        def note_orphan(reply: Reply) -> None:
            words.append("left")
            note(reply)
            if orphaned:
                orphaned(reply)

        def noted() -> bytes:
            assert repack is not None
            sent = repack()
            words[:] = self._words(sent)[1]
            return sent

        future = super().call(packed, again, note_orphan, lost, is_urgent, has_era, noted if repack else None)
        future.add_done_callback(lambda done: None if done.cancelled() else note(done.result()))
        return future

    def _words(self, packed: bytes) -> tuple[str, list[str]]:
        """The script's name, and what follows the keys of an FCALL."""
        words = [word.decode() for word in packed.split(b"\r\n")[2::2]]
        return self.names[words[1]], words[3 + int(words[2]) :]


def _plain(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_plain(item) for item in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


class Worker:
    """A replica whose callers, heart and operator know no rest."""

    def __init__(self, store: Store, batcher: NotingBatcher, seconds: float, chance: random.Random) -> None:
        self.store, self.batcher, self.chance = store, batcher, chance
        self.plan = store.plan([(name, 0) for name in RULES], "least-busy")
        self.ends_s = time.monotonic() + seconds

    def is_on(self) -> bool:
        return time.monotonic() < self.ends_s

    async def hammer(self) -> None:
        while self.is_on():
            if self.chance.random() < 0.05:
                await self.leave()
            kind = RARE_KIND if self.chance.random() < 0.2 else "chat"
            ask = Ask(0, self.chance.random() < 0.5, kind=kind, session=self.session())
            decision = await self.store.acquire(self.plan, ask)
            if not isinstance(decision, Permit):
                await asyncio.sleep(0)
                continue
            if self.chance.random() < 0.1:
                await self.batcher.call(self.batcher.again[decision.token], has_era=True)
            if self.chance.random() < 0.2:
                await asyncio.sleep(self.chance.choice(PAUSES_MS) / 1000)
            for _ in range(2 if self.chance.random() < 0.1 else 1):
                await self.store.settle(decision, self.ending(kind))

    def session(self) -> tuple[bytes, ...]:
        """A session, a first turn that only its beginning names, or none."""
        mark = FIRST_TURN if self.chance.random() < 0.3 else b""
        return (mark + b"s%d" % self.chance.randrange(SESSIONS),) if self.chance.random() < 0.7 else ()

    def ending(self, kind: str) -> Ending:
        share, is_final = self.chance.choice(SHARES), self.chance.random() < 0.8
        return Ending(self.outcome(kind), 10, is_final=is_final, cache_share=share)

    def outcome(self, kind: str) -> Outcome:
        is_missing = kind == RARE_KIND and self.chance.random() < 0.3
        return Outcome.UNSUPPORTED if is_missing else self.chance.choice(OUTCOMES)

    async def leave(self) -> None:
        """The client goes away while the decision is on its way."""
        task = asyncio.ensure_future(self.store.acquire(self.plan, Ask(0)))
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        if isinstance(left := (await asyncio.gather(task, return_exceptions=True))[0], Permit):
            await self.store.settle(left, Ending(Outcome.CANCELLED))

    async def beat(self) -> None:
        while self.is_on():
            await self.store.beat(Presence("127.0.0.1:8080", "0.1.0", 1))
            await asyncio.sleep(BEAT_EVERY_S)

    async def operate(self) -> None:
        while self.is_on():
            await asyncio.sleep(self.chance.random() * 2 * FORCE_EVERY_S)
            action, ttl_ms = self.chance.choice(
                [("open", 20), ("close", 0), ("close", 0), ("reset", 0), ("disable", 0)]
            )
            name = self.chance.choice(list(RULES))
            await self.store.force(name, action, "ann", f"why {name}", ttl_ms)
            if action == "disable":
                await self.store.force(name, "close", "ann", f"why {name}")


async def run(url: str, domain: str, replica: str, seconds: float) -> None:
    scripts = assemble_all()
    batcher = NotingBatcher(Client(url), scripts)
    store = Store(batcher, scripts, Keys(domain), Memory(replica), configuration())
    store.recovery._is_informed, store.recovery._reconciled_s = (
        True,
        math.inf,
    )  # by the test, and there is nothing to find
    worker = Worker(store, batcher, seconds, random.Random(replica))
    await asyncio.gather(worker.beat(), worker.operate(), *(worker.hammer() for _ in range(CALLERS)))
    await batcher.close()
    sys.stdout.writelines(f"{json.dumps(note)}\n" for note in batcher.notes)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
