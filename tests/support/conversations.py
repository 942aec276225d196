"""Conversations on a fleet whose deployments cache prompts, in virtual time: the product's own scripts decide, on a
real store whose clock is set to each event.
"""

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from shared_state.calls import replies
from shared_state.embedded import EmbeddedStore
from shared_state.keys import Keys
from shared_state.policies import Configuration
from shared_state.records import FIRST_TURN, Ask, Ending, Outcome, Permit, Plan
from tests.support.simulation import _NOT_A_RESEND, _Line, _SeededCalls
from tests.support.state import deployment_policy, router_policy
from tests.support.stores import fresh_domain
from tests.support.timeline import Timeline

CAPACITY, LIMIT, ERROR_MS, ATTEMPTS_MOST = 20, 40, 150, 3
CACHED_MS = 300_000  # a provider keeps a prompt for 5 minutes after its last use
FIRST_MS, REST_MS, SIGMA = 800, 1_500, 0.3  # medians of a call whose prompt is not cached
DOCUMENT, TURN_TOKENS, DOCUMENTS = 4_000, 2_000, 12  # tokens of a system prompt with its documents, and of a turn
PRICE, CACHED_PRICE = 3.0, 0.3  # of a million tokens of the prompt
PINNED = ("session", "prefix", "first-reads")
AFFINITY: dict[str, Any] = {"affinity_ttl_ms": 600_000, "affinity_band": 0.3, "affinity_entries": 200_000}


class Turn(msgspec.Struct, order=True):
    """One request of a session, ``number`` from 0; ``noise``: of its times, the same wherever it goes; ``beginning``:
    of its conversation, which others may share.
    """

    at_ms: float
    session: int
    number: int
    noise: tuple[float, float]
    beginning: str


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """``out``: when the first deployment fails every call; ``joins_ms``: when the last deployment joins; ``zipf``: the
    exponent of how unequal sessions are, 0 for conversations of about ten turns; ``singles_per_s``: the rate of further
    requests that are all the same and have no later turn; ``beginnings``: how many the conversations have between them,
    0 for one each.
    """

    title: str
    deployments: int = 4
    seconds: int = 480
    sessions_per_s: float = 1.8
    out: tuple[int, int] = (0, 0)
    joins_ms: int = 0
    zipf: float = 0.0
    singles_per_s: float = 0.0
    beginnings: int = 0

    @property
    def has_beginnings(self) -> bool:
        """Whether nothing but their beginnings names the sessions."""
        return bool(self.singles_per_s or self.beginnings)


def turns_of(scenario: Scenario, seed: int) -> list[Turn]:
    chance = random.Random(f"{seed} {scenario.zipf}")
    turns = [*(_skewed(scenario, chance) if scenario.zipf else _conversations(scenario, chance))]
    return sorted([*turns, *_singles(scenario, chance)])


def _singles(scenario: Scenario, chance: random.Random) -> Iterator[Turn]:
    at_s = 0.0
    for number in itertools.count(1):
        at_s += chance.expovariate(scenario.singles_per_s) if scenario.singles_per_s else scenario.seconds
        if at_s >= scenario.seconds:
            return
        yield Turn(1000 * at_s, -number, 0, (chance.gauss(0, 1), chance.gauss(0, 1)), "single")


def _conversations(scenario: Scenario, chance: random.Random) -> Iterator[Turn]:
    at_s = -120.0  # a running start: some conversations began before
    for session in itertools.count():
        at_s += chance.expovariate(scenario.sessions_per_s)
        if at_s >= scenario.seconds:
            return
        now_s = at_s
        for number in range(1 + int(chance.expovariate(1 / 10))):
            if 0 <= now_s < scenario.seconds:
                beginning = session % scenario.beginnings if scenario.beginnings else session
                yield Turn(1000 * now_s, session, number, (chance.gauss(0, 1), chance.gauss(0, 1)), f"s{beginning}")
            now_s += 4 + chance.expovariate(1 / 12)


def _skewed(scenario: Scenario, chance: random.Random) -> Iterator[Turn]:
    """Users of one session each, who have several conversations at a time."""
    weights, numbers = [1 / rank**scenario.zipf for rank in range(1, 301)], Counter[int]()
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(10 * scenario.sessions_per_s)) < scenario.seconds:
        [session] = chance.choices(range(300), weights)
        number = numbers[session] % 10
        numbers[session] += 1
        yield Turn(1000 * at_s, session, number, (chance.gauss(0, 1), chance.gauss(0, 1)), f"s{session}")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """``stayed``: the share of turns that went where the one before was served; ``fled``: how often a breaker or a
    failure moved the pin of one session, at most; ``hottest``: the calls in flight of the busiest deployment by the
    mean, over time.
    """

    turns: int
    refused: int
    cached: float
    stayed: float
    fled: int
    first_ms: list[float]
    hottest: float
    cost: float

    def percentile(self, share: float) -> float:
        return self.first_ms[min(len(self.first_ms) - 1, int(share * len(self.first_ms)))]


class _Cache:
    """When one deployment last read the prompt of a session, a document and, ``with_beginnings``, the beginning of a
    conversation.
    """

    def __init__(self, with_beginnings: bool) -> None:
        self._with_beginnings = with_beginnings
        self._used: dict[tuple[str, int | str], tuple[float, int]] = {}  # when, and how many tokens

    def read(self, turn: Turn, at_ms: float) -> tuple[int, int]:
        """Returns the tokens of the prompt and those that were cached."""
        tokens, document = DOCUMENT + TURN_TOKENS * (1 + turn.number), turn.session % DOCUMENTS
        session, shared, first = ("session", turn.session), ("document", document), ("beginning", turn.beginning)
        cached = max(self._kept(session, at_ms) if turn.number else 0, self._kept(shared, at_ms))
        self._used[session], self._used[shared] = (at_ms, tokens), (at_ms, DOCUMENT)
        if self._with_beginnings:
            cached = max(cached, self._kept(first, at_ms))
            self._used[first] = at_ms, DOCUMENT + TURN_TOKENS
        return tokens, min(tokens, cached)

    def _kept(self, key: tuple[str, int | str], at_ms: float) -> int:
        used_ms, tokens = self._used.get(key, (-math.inf, 0))
        return tokens if at_ms - used_ms < CACHED_MS else 0


class _Flight(msgspec.Struct):
    turn: Turn
    left: tuple[str, ...]
    attempt: int = 1


class Conversations:
    """``mode``: off, session, prefix, first-reads (as session, but first turns read every pin), hash (consistent, blind
    to load) or round-robin.
    """

    def __init__(self, store: EmbeddedStore, mode: str, scenario: Scenario, seed: int) -> None:
        keys = Keys(fresh_domain())
        self._mode, self._scenario = mode, scenario
        self._line, self._calls = _Line(store, keys), _SeededCalls(keys, seed)
        self._calls.use_secret(b"secret")
        self._ids = tuple(f"d{k}" for k in range(scenario.deployments))
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._caches = {each: _Cache(scenario.has_beginnings) for each in self._ids}
        self._active = Counter[str]()
        self._busy_ms = defaultdict[str, float](float)
        self._timeline = Timeline()
        self._numbers = itertools.count(1)
        self._home: dict[int, str] = {}
        self._stayed, self._later, self._fled = 0, 0, Counter[int]()
        self._first_ms: list[float] = []
        self._tokens = self._cached = self._refused = 0
        policy = router_policy(**AFFINITY if mode in PINNED else {}, max_active=10_000)
        deployments = tuple(deployment_policy(each, limit=LIMIT, latency_threshold_ms=None) for each in self._ids)
        for call in self._calls.configure(Configuration(1, policy, deployments)):
            self._line.call(0, call)

    def run(self, turns: list[Turn]) -> Result:
        for turn in turns:
            is_early = self._scenario.joins_ms and turn.at_ms < self._scenario.joins_ms
            self._timeline.add(turn.at_ms, _Flight(turn, self._ids[:-1] if is_early else self._ids))
        try:
            for at_ms, event in self._timeline:
                if isinstance(event, _Flight):
                    self._acquire(at_ms, event)
                else:
                    self._settle(at_ms, *event)
        finally:
            self._line.close()
        busy = [self._busy_ms[each] for each in self._ids]
        plain = self._tokens - self._cached
        return Result(
            turns=len(turns),
            refused=self._refused,
            cached=self._cached / self._tokens,
            stayed=self._stayed / self._later,
            fled=max(self._fled.values(), default=0),
            first_ms=sorted(self._first_ms),
            hottest=max(busy) / (sum(busy) / len(busy)),
            cost=(plain * PRICE + self._cached * CACHED_PRICE) / 1e6 / len(turns) * 1000,
        )

    def _plan(self, flight: _Flight) -> Plan:
        """Returns the candidates; by consistent hash each one is a tier of its own, so that a session's order counts
        and nothing else, but for breakers.
        """
        order, strategy = flight.left, "round-robin" if self._mode == "round-robin" else "adaptive"
        if self._mode == "hash":
            order = tuple(sorted(order, key=lambda each: sha256(f"{flight.turn.session} {each}".encode()).digest()))
        if order not in self._plans:
            tiers = range(len(order)) if self._mode == "hash" else [0] * len(order)
            self._plans[order] = self._calls.plan(list(zip(order, tiers, strict=True)), strategy)
        return self._plans[order]

    def _names(self, turn: Turn) -> tuple[bytes, ...]:
        if self._mode not in PINNED:
            return ()
        is_marked = self._scenario.has_beginnings and not turn.number and self._mode != "first-reads"
        session = FIRST_TURN * is_marked + turn.beginning.encode()
        return (session, b"d%d" % (turn.session % DOCUMENTS)) if self._mode == "prefix" else (session,)

    def _acquire(self, at_ms: float, flight: _Flight) -> None:
        plan, turn = self._plan(flight), flight.turn
        ask = Ask(is_stream=True, attempt=flight.attempt, session=self._names(turn))
        token = f"r1.stream.{next(self._numbers)}"
        reply = self._line.call(at_ms, self._calls.acquire(plan, token, ask) + _NOT_A_RESEND)
        decision = replies.acquired(reply, token, ask, plan.ids)
        if not isinstance(decision, Permit):
            self._refused += 1
            return
        self._fled[turn.session] += decision.affinity in ("moved(open)", "moved(probing)", "moved(failed)")
        name = decision.deployment_id
        self._active[name] += 1
        begins_ms, ends_ms = (1000 * each for each in self._scenario.out)
        if name == self._ids[0] and begins_ms <= at_ms < ends_ms:
            self._timeline.add(at_ms + ERROR_MS, (flight, decision, Outcome.FAILURE, ERROR_MS, -1.0, at_ms))
            return
        tokens, cached = self._caches[name].read(turn, at_ms)
        self._tokens, self._cached = self._tokens + tokens, self._cached + cached
        crowd = max(1.0, self._active[name] / CAPACITY)
        first_ms = FIRST_MS * math.exp(SIGMA * turn.noise[0]) * (1 - 0.75 * cached / tokens) * crowd
        took_ms = first_ms + REST_MS * math.exp(SIGMA * turn.noise[1]) * crowd
        self._first_ms.append(at_ms + first_ms - turn.at_ms)
        self._timeline.add(
            at_ms + took_ms, (flight, decision, Outcome.SUCCESS, round(first_ms), cached / tokens, at_ms)
        )

    def _settle(
        self,
        at_ms: float,
        flight: _Flight,
        permit: Permit,
        outcome: Outcome,
        latency_ms: int,
        share: float,
        began: float,
    ) -> None:
        name, turn = permit.deployment_id, flight.turn
        self._active[name] -= 1
        self._busy_ms[name] += at_ms - began
        left = tuple(each for each in flight.left if each != name)
        is_final = outcome is Outcome.SUCCESS or flight.attempt == ATTEMPTS_MOST or not left
        ending = Ending(outcome, latency_ms, 20, is_final=is_final, tokens=1, cache_share=share)
        self._line.call(at_ms, self._calls.settle(permit, ending))
        if not is_final:
            self._acquire(at_ms, _Flight(turn, left, flight.attempt + 1))
            return
        before = self._home.get(turn.session)
        if before is not None:
            self._later += 1
            self._stayed += before == name
        self._home[turn.session] = name
