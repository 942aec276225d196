"""Finds the server that takes our calls: one address, the master that Sentinels name, or the Cluster node that owns the
domain's slot. A domain has one hash tag, so all of its keys are in one slot and one connection is enough.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from redis.crc import key_slot

from shared_state.connection.address import SEEDS_MOST, Place, netloc, parse
from shared_state.errors import StateError, StoreUnavailable

ANSWER_TIMEOUT_S = 0.5
PROBLEMS_SHOWN = 3

# Runs commands on the server at an address; raises StateError. An error reply is a StateError in the list.
Query = Callable[..., Awaitable[list[Any]]]


class Topology:
    """The servers of one store. ``url``: redis://, rediss:// (TLS) or unix://;
    redis+sentinel://host:port,host:port/service; or redis+cluster://host:port,host:port. User and password as usual;
    TLS files in the query (ssl_ca_certs, …). ``key``: any key of the domain. Raises ValueError for an invalid url.
    """

    def __init__(self, url: str, key: bytes = b"") -> None:
        self._address = parse(url)
        self._slot = key_slot(key)
        self._seeds = list(self._address.seeds)
        self._silent: set[Place] = set()  # in the last query: they are queried again, but not awaited

    @property
    def is_cluster(self) -> bool:
        return self._address.kind == "cluster"

    async def locate(self, query: Query) -> str:
        """Returns the address of the server to connect to now. Raises StoreUnavailable."""
        if self._address.kind == "sentinel":
            return self._address.server(await self._elected(query, self._query_sentinel))
        if self.is_cluster:
            return self._address.server(await self._elected(query, self._query_node))
        return self._address.single

    async def _elected(self, query: Query, find: Callable[[Query, Place], Awaitable[Place]]) -> Place:
        """Queries all addresses at once and returns the server that most of them name; on a tie, the choice of the
        first address. A server that hangs, or that was cut off and names a former master, changes nothing.
        """
        seeds = {asyncio.ensure_future(find(query, seed)): seed for seed in self._seeds}
        answers: dict[Place, Place] = {}
        problems = dict.fromkeys(seeds.values(), "no answer in time")
        waiting = set(seeds)
        loop = asyncio.get_running_loop()
        ends = loop.time() + ANSWER_TIMEOUT_S
        try:
            while waiting and not self._is_settled(answers, [seeds[task] for task in waiting]):
                done, waiting = await asyncio.wait(
                    waiting, timeout=max(0.0, ends - loop.time()), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._silent = {seeds[task] for task in waiting}
                    break
                for task in done:
                    try:
                        answers[seeds[task]] = task.result()
                    except (StateError, LookupError, TimeoutError) as error:
                        problems[seeds[task]] = str(error) or "no answer in time"
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*seeds, return_exceptions=True)
        self._silent -= answers.keys()
        if not answers:
            shown = "; ".join(f"{netloc(seed)}: {problem}" for seed, problem in [*problems.items()][:PROBLEMS_SHOWN])
            raise StoreUnavailable(f"no {self._address.kind} address names the store: {shown}")
        votes = Counter(answers[seed] for seed in seeds.values() if seed in answers)
        return votes.most_common(1)[0][0]  # on a tie, the first one counted

    def _is_settled(self, answers: dict[Place, Place], waiting: list[Place]) -> bool:
        """Returns whether the outstanding answers can no longer change the result."""
        if not answers:
            return False
        (_, most), *others = Counter(answers.values()).most_common(2)
        awaited = sum(seed not in self._silent for seed in waiting)
        return awaited == 0 or most > awaited + (others[0][1] if others else 0)

    async def _query_sentinel(self, query: Query, seed: Place) -> Place:
        command = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._address.service.encode())
        [reply] = await query(self._address.sentinel(seed), command)
        match reply:
            case [bytes(host), bytes(port)] if host and port.isdigit():
                return host.decode(errors="replace"), int(port)
            case None | []:
                raise LookupError(f"no service named {self._address.service}")
        raise LookupError(str(reply) if isinstance(reply, StateError) else "an unexpected answer")

    async def _query_node(self, query: Query, seed: Place) -> Place:
        [ranges] = await query(self._address.server(seed), (b"CLUSTER", b"SLOTS"))
        if not isinstance(ranges, list):
            raise LookupError(str(ranges) if isinstance(ranges, StateError) else "an unexpected answer")
        for each in ranges:
            match each:
                case [int(first), int(last), [bytes(host), int(port), *_], *_] if first <= self._slot <= last:
                    self._learn(ranges)
                    return host.decode(errors="replace") if host else seed[0], port
        raise LookupError(f"no node owns slot {self._slot}")

    def _learn(self, ranges: list[Any]) -> None:
        """Keeps the present nodes for the next query, so that it succeeds even when every seed is gone. Skips a node
        that does not know its own host.
        """
        nodes: list[Place] = []
        for member in [member for each in ranges if isinstance(each, list) for member in each[2:]]:
            match member:
                case [bytes(host), int(port), *_] if host:
                    nodes.append((host.decode(errors="replace"), port))
        self._seeds = list(dict.fromkeys([*nodes, *self._seeds]))[:SEEDS_MOST]
