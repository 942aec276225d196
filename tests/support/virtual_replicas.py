"""Replicas of one domain in one process, on a real store whose clock moves only when told: hours of starting, ending,
reloading and flushing take milliseconds. A model beside them knows which configuration must be in force.
"""

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from shared_state.connection.batcher import Batcher
from shared_state.in_force import File, InForce
from shared_state.keys import Keys
from shared_state.memory import Memory
from shared_state.policies import Configuration, fingerprinted
from shared_state.scripts import Script
from shared_state.snapshots import Agreement, Presence
from shared_state.store import Store
from tests.support.state import START_MS, deployment_policy, router_policy
from tests.support.stores import RedisCli, fresh_domain

SECOND_MS, DAY_MS = 1000, 86_400_000
# Five seconds of silence are a replica's death, three more are for replicas that a store has hidden, one for a look.
SETTLED_S = 10

Action = Literal["start", "end", "crash", "reload", "take", "flush", "clock"]


class Deed(NamedTuple):
    """``slot``: of the replica; ``file``: that it starts with or that all replicas have on disk; ``ms``: of a clock."""

    action: Action
    slot: int = 0
    file: str = ""
    ms: int = 0

    def __str__(self) -> str:
        return " ".join(str(part) for part in self if part != "") or self.action


def file_of(name: str) -> File:
    """Files differ in what the router does, in a limit, and in one deployment each."""
    number = ord(name)
    deployments = (deployment_policy("a", limit=number), deployment_policy(f"only-{name}", rpm=number))
    return File(f"sha256:{name}", fingerprinted(Configuration(0, router_policy(failure_threshold=number), deployments)))


FILES = {name: file_of(name) for name in "ABC"}


class VirtualReplica:
    def __init__(self, batcher: Batcher, scripts: dict[str, Script], keys: Keys, name: str, file: str) -> None:
        self.name, self.file = name, file
        self.store = Store(batcher, scripts, keys, Memory(name), FILES[file].configuration)
        self.in_force = InForce([self.store], FILES[file], self.store.policies.adopt)

    async def start(self) -> None:
        await self.store.recovery.restore()
        await self.beat()

    async def beat(self, status: Literal["0", "gone"] = "0") -> None:
        await self.store.beat(Presence("127.0.0.1:1", "0", 0, status))

    async def tick(self) -> None:
        """What a replica does about once a second."""
        await self.beat()
        await self.in_force.look()

    async def end(self) -> None:
        await self.beat("gone")
        await self.in_force.leave()

    def read(self, file: str) -> None:
        self.file, self.in_force.file = file, FILES[file]


class VirtualCluster:
    """``slots``: the living replicas. ``expected``: the file that must be in force, None while the store is empty."""

    def __init__(self, cli: RedisCli, batcher: Batcher, scripts: dict[str, Script]) -> None:
        self._cli, self._batcher, self._scripts = cli, batcher, scripts
        self.keys = Keys(fresh_domain())
        self._clock_ms = START_MS
        self._lives = itertools.count(1)
        self.slots: dict[int, VirtualReplica] = {}
        self._ages: dict[int, int] = {}
        self.expected: str | None = None
        self._set_clock()

    @property
    def living(self) -> list[VirtualReplica]:
        return list(self.slots.values())

    def _set_clock(self) -> None:
        self._cli.do("HSET", self.keys.domain, "test_clock_ms", self._clock_ms)

    def pass_time(self, ms: int = SECOND_MS) -> None:
        self._clock_ms += ms
        self._set_clock()

    async def settle(self, seconds: int = SETTLED_S) -> None:
        for _ in range(seconds):
            self.pass_time()
            await asyncio.gather(*(replica.tick() for replica in self.living))

    async def forget(self) -> None:
        """Nothing is left of it."""
        self.slots.clear()
        for key in self._cli.do("KEYS", f"{self.keys.prefix}*"):
            self._cli.do("DEL", key)

    # -- what happens -----------------------------------------------------------------------------------------

    async def do(self, deed: Deed) -> None:
        match deed.action:
            case "start":
                life = next(self._lives)
                replica = VirtualReplica(self._batcher, self._scripts, self.keys, f"r{deed.slot}-{life}", deed.file)
                self.slots[deed.slot], self._ages[deed.slot] = replica, life
                await replica.start()
            case "end":
                await self.slots.pop(deed.slot).end()
            case "crash":
                del self.slots[deed.slot]
            case "reload":
                await self._reload(self.slots[deed.slot], deed.file)
            case "take":
                replica = self.slots[deed.slot]
                await replica.in_force.call("take", FILES[replica.file].digest, _means(replica.file))
            case "flush":
                for key in self._cli.do("KEYS", f"{self.keys.prefix}*"):
                    self._cli.do("DEL", key)
                self._set_clock()
            case "clock":
                self.pass_time(deed.ms)
        self._expect(deed)

    async def _reload(self, asked: VirtualReplica, file: str) -> None:
        """All have the file on disk."""
        seen = await asked.in_force.call("propose", FILES[file].digest, _means(file), "10000")
        for replica in self.living:
            await replica.beat()
            if replica is not asked:
                await replica.in_force.call("answer", str(seen.proposed_version), "ready")
        for replica in self.living:
            replica.read(file)
            await replica.in_force.look()

    def _expect(self, deed: Deed) -> None:
        """The rule, in the words of the documentation."""
        if deed.action == "flush" and not self.slots:
            self.expected = None  # neither the store nor a replica knows anything
        elif deed.action == "reload" or (deed.action == "start" and self.expected is None):
            self.expected = deed.file
        elif deed.action == "take":
            self.expected = self.slots[deed.slot].file
        if self.slots and self.expected not in {replica.file for replica in self.living}:
            newest = max(self.slots, key=lambda slot: self._ages[slot])
            self.expected = self.slots[newest].file

    # -- what is so -------------------------------------------------------------------------------------------

    def stored(self) -> dict[str, Any]:
        """What decides: threshold and limits, of the deployments that carry the version of the policies."""
        policy = json.loads(self._cli.do("GET", self.keys.policy) or "{}")
        found: dict[str, Any] = {"failure_threshold": policy.get("failure_threshold")}
        for deployment_id in ("a", *(f"only-{name}" for name in FILES)):
            fields = self._cli.do("HGETALL", self.keys.deployment(deployment_id))
            if int(fields.get(b"config_version", 0)) == policy.get("version"):
                found[deployment_id] = (fields[b"limit"], fields.get(b"rpm"))
        return found

    def publish_less(self) -> None:
        """As a release does that knows fewer settings of the router."""
        document = json.loads(self._cli.do("GET", self.keys.configuration))
        del document["router"]["failure_threshold"]
        self._cli.do("SET", self.keys.configuration, json.dumps(document))

    def faults(self, expected: str) -> list[str]:
        """Everything that is not as it must be with that file in force."""
        found, number, means = [], ord(expected), _means(expected)
        wanted = {
            "failure_threshold": number,
            "a": (b"%d" % number, None),
            f"only-{expected}": (b"200", b"%d" % number),
        }
        if (stored := self.stored()) != wanted:
            found.append(f"the store holds {stored}")
        for replica in self.living:
            name, known, configuration = replica.name, replica.in_force.known, replica.store.configuration
            if (known.digest, known.fingerprint) != (FILES[expected].digest, means):
                found.append(f"{name} knows {known}")
            if (configuration.fingerprint, configuration.version) != (means, known.version):
                found.append(
                    f"{name} works by {configuration.fingerprint} {configuration.version}, not {known.version}"
                )
            if replica.in_force.is_behind != (replica.file != expected):
                found.append(f"{name} is behind: {replica.in_force.is_behind}")
        return found

    async def agreement(self) -> Agreement:
        return await self.living[0].in_force.call("hold")


def _means(file: str) -> str:
    return FILES[file].configuration.fingerprint


def deeds(cluster: VirtualCluster, files: Sequence[str]) -> Iterable[Deed]:
    """Everything that can happen now. Empty slots are alike, so only the first of them is used."""
    empty = next((slot for slot in range(3) if slot not in cluster.slots), None)
    if empty is not None:
        yield from (Deed("start", empty, file) for file in files)
    for slot in cluster.slots:
        yield from (Deed(action, slot) for action in ("end", "crash", "take"))
        yield from (Deed("reload", slot, file) for file in files)
    yield Deed("flush")
    yield from (Deed("clock", ms=ms) for ms in (DAY_MS, -DAY_MS))
