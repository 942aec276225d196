"""One strategy on a fleet, in virtual time: the product's own scripts decide on a real store whose clock is set to each
event, so a simulated hour takes as long as its decisions do.
"""

import itertools
import random
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hiredis
import msgspec

from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.commands import command, pack
from shared_state.embedded import EmbeddedStore
from shared_state.keys import Keys
from shared_state.policies import Configuration
from shared_state.records import Ask, Ending, Outcome, Permit, Plan
from shared_state.scripts import libraries
from tests.support.fleet import ATTEMPTS_MOST, Behaviour, Deployment, Request
from tests.support.state import START_MS, deployment_policy, router_policy, virtual_scripts
from tests.support.stores import fresh_domain
from tests.support.timeline import Timeline

TOKENS = 1000  # of a call, in and out
ANSWER_TOKENS = 20
_NOT_A_RESEND = b"$1\r\n0\r\n$1\r\n1\r\n"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """``latencies_ms``: of the requests that were answered, from arrival and over all attempts, in order."""

    latencies_ms: list[float]
    requests: int
    attempts: int
    failed_calls: int
    cost: float
    calls: Counter[str]
    refusals: Counter[str]

    def percentile(self, share: float) -> float:
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))]

    @property
    def error_rate(self) -> float:
        return 1 - len(self.latencies_ms) / self.requests


class _SeededCalls(ScriptCalls):
    """With chance that comes out the same every time."""

    def __init__(self, keys: Keys, seed: int) -> None:
        super().__init__(virtual_scripts(), keys)
        self._chance = random.Random(f"{seed} decisions")

    def _seed(self) -> bytes:
        return b"%d" % self._chance.getrandbits(31)


class _Line:
    """One connection to the store; each call sets the clock first, in the same flush."""

    def __init__(self, store: EmbeddedStore, keys: Keys) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(store.socket))
        self._reader = hiredis.Reader()
        self._clock = b"*4\r\n" + pack(b"HSET", keys.domain, b"test_clock_ms")
        for library in libraries(virtual_scripts().values()):
            self._ask(command(b"FUNCTION", b"LOAD", b"REPLACE", library.text.encode()), 1)

    def call(self, at_ms: float, packed: bytes) -> Any:
        return self._ask(self._clock + pack(b"%d" % (START_MS + at_ms)) + packed, 2)

    def _ask(self, sent: bytes, answers: int) -> Any:
        self._socket.sendall(sent)
        reply: Any = None
        while answers:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(65_536))
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                answers -= 1
        return reply

    def close(self) -> None:
        self._socket.close()


class _Flight(msgspec.Struct):
    """A request on its way."""

    request: Request
    candidates: tuple[str, ...]
    attempt: int = 1


class Simulation:
    def __init__(
        self, store: EmbeddedStore, strategy: str, fleet: Sequence[Behaviour], seed: int, until_s: float
    ) -> None:
        keys = Keys(fresh_domain())
        self._line, self._calls = _Line(store, keys), _SeededCalls(keys, seed)
        self._strategy, self._plans = strategy, dict[tuple[str, ...], Plan]()
        self._fleet = {each.id: Deployment(each, seed, until_s) for each in fleet}
        self._timeline = Timeline()
        self._numbers = itertools.count(1)
        self._latencies_ms: list[float] = []
        self._cost, self._attempts, self._failed_calls = 0.0, 0, 0
        self._by_deployment, self._refusals = Counter[str](), Counter[str]()
        for call in self._calls.configure(Configuration(1, router_policy(), tuple(_policy(each) for each in fleet))):
            self._line.call(0, call)

    def run(self, requests: Sequence[Request]) -> Result:
        for request in requests:
            self._timeline.add(request.at_ms, _Flight(request, tuple(self._fleet)))
        try:
            for at_ms, event in self._timeline:
                if isinstance(event, _Flight):
                    self._acquire(at_ms, event)
                else:
                    self._settle(at_ms, *event)
        finally:
            self._line.close()
        return Result(
            latencies_ms=sorted(self._latencies_ms),
            requests=len(requests),
            attempts=self._attempts,
            failed_calls=self._failed_calls,
            cost=self._cost,
            calls=self._by_deployment,
            refusals=self._refusals,
        )

    def _acquire(self, at_ms: float, flight: _Flight) -> None:
        plan = self._plans.get(flight.candidates)
        if plan is None:
            plan = self._calls.plan([(each, 0) for each in flight.candidates], self._strategy)
            self._plans[flight.candidates] = plan
        ask, token = Ask(attempt=flight.attempt, tokens=TOKENS), f"r1.plain.{next(self._numbers)}"
        reply = self._line.call(at_ms, self._calls.acquire(plan, token, ask) + _NOT_A_RESEND)
        decision = replies.acquired(reply, token, ask, plan.ids)
        if not isinstance(decision, Permit):
            self._refusals[decision.reason] += 1
            return
        deployment = self._fleet[decision.deployment_id]
        deployment.active += 1
        self._attempts += 1
        self._by_deployment[decision.deployment_id] += 1
        outcome, took_ms = deployment.answer(at_ms, flight.request.draws[flight.attempt - 1])
        self._timeline.add(at_ms + took_ms, (flight, decision, outcome, took_ms))

    def _settle(self, at_ms: float, flight: _Flight, permit: Permit, outcome: str, took_ms: int) -> None:
        deployment = self._fleet[permit.deployment_id]
        deployment.active -= 1
        left = tuple(each for each in flight.candidates if each != permit.deployment_id)
        is_final = outcome == "success" or flight.attempt == ATTEMPTS_MOST or not left
        ending = Ending(Outcome(outcome), took_ms, ANSWER_TOKENS, is_final=is_final, tokens=TOKENS)
        self._line.call(at_ms, self._calls.settle(permit, ending))
        if outcome == "success":
            self._latencies_ms.append(at_ms - flight.request.at_ms)
            self._cost += deployment.behaviour.price * TOKENS / 1_000_000
            return
        self._failed_calls += 1
        if not is_final:
            self._acquire(at_ms, _Flight(flight.request, left, flight.attempt + 1))


def _policy(each: Behaviour) -> Any:
    own = {"weight": each.weight, "priority": each.priority, "price": each.price, "rpm": each.rpm}
    return deployment_policy(each.id, lease_ms=35_000, concurrency="adaptive", **own)
