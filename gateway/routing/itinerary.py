"""The order in which one request may call its candidates, leg by leg: a fallback chain may lead from one routing domain
into the next, but one decision considers the candidates of one domain only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from gateway.routing.catalog import Candidate
from gateway.upstream.classify import Refusal
from shared_state.records import Plan

PackPlan = Callable[[Sequence[Candidate], bool], Plan]  # takes candidates, and whether more legs follow


class Leg(msgspec.Struct, frozen=True):
    """Candidates of one domain, with their acquire packed for the store."""

    candidates: tuple[Candidate, ...]
    plan: Plan


def legs(candidates: Sequence[Candidate], first: int = 0) -> Iterator[tuple[Candidate, ...]]:
    """Yields the candidates tier by tier, and in a tier domain by domain, from domain number ``first`` on; adjacent
    candidates of one domain form one leg. With a single domain there is one leg.
    """
    ordered: list[Candidate] = []
    for _, tier in groupby(candidates, key=lambda each: each.tier):
        members = list(tier)
        domains = list(dict.fromkeys(_domain(each) for each in members))
        rotated = domains[first % len(domains) :] + domains[: first % len(domains)]
        ordered += sorted(members, key=lambda each: rotated.index(_domain(each)))
    yield from _split(ordered)


def _split(ordered: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    """Yields legs of one domain each, in which no deployment occurs twice, as it may for two models of a pattern."""
    leg: list[Candidate] = []
    for each in ordered:
        if leg and (_domain(each) != _domain(leg[0]) or any(each.deployment is other.deployment for other in leg)):
            yield tuple(leg)
            leg = []
        leg.append(each)
    if leg:
        yield tuple(leg)


def itineraries(candidates: Sequence[Candidate], pack: PackPlan) -> tuple[tuple[Leg, ...], ...]:
    """Returns one itinerary for each domain that serves the model itself, so that requests begin equally often in
    each.
    """
    starts = len({_domain(each) for each in candidates if each.tier == candidates[0].tier}) if candidates else 1
    whole = [tuple(legs(candidates, first)) for first in range(starts)]
    return tuple(tuple(Leg(leg, pack(leg, leg is not order[-1])) for leg in order) for order in whole)


def _domain(candidate: Candidate) -> str:
    return candidate.deployment.domain


class Itinerary:
    """The candidates that are left for one request. ``chains``: further candidates, by the refusal that leads to
    them.
    """

    def __init__(
        self, legs_left: Sequence[Leg], pack: PackPlan, chains: Mapping[Refusal, Sequence[Candidate]] | None = None
    ) -> None:
        self._pack = pack
        self._chains = dict(chains) if chains else {}
        self._admits: Callable[[Candidate], bool] | None = None
        self.turned: set[Refusal] = set()  # the refusals whose chains have been taken
        self._legs = list(legs_left)
        self.candidates: tuple[Candidate, ...] = ()  # of this leg; empty when all have been tried
        self._plan: Plan | None = None
        self.skip()

    @property
    def has_more(self) -> bool:
        """Whether there is another leg."""
        return bool(self._legs)

    @property
    def plan(self) -> Plan:
        """The acquire of one of the candidates."""
        if self._plan is None:
            self._plan = self._pack(self.candidates, self.has_more)
        return self._plan

    def skip(self) -> None:
        """Moves on to the next leg."""
        if self._legs:
            leg = self._legs.pop(0)
            self.candidates, self._plan = leg.candidates, leg.plan

    def drop(self, candidate: Candidate) -> None:
        """Removes a candidate that has been tried. The next leg follows the last candidate of a leg."""
        self.candidates, self._plan = tuple(each for each in self.candidates if each is not candidate), None
        if not self.candidates:
            self.skip()

    def admits(self, candidate: Candidate) -> bool:
        """Returns whether the request allows the candidate."""
        return self._admits is None or self._admits(candidate)

    def restrict(self, admits: Callable[[Candidate], bool]) -> None:
        """Leaves only the candidates that are admitted, of all legs and chains."""
        before = self._admits
        self._admits = admits if before is None else lambda each: before(each) and admits(each)
        parts = [part for leg in self._legs if (part := tuple(filter(admits, leg.candidates)))]
        self._legs = [Leg(part, self._pack(part, part is not parts[-1])) for part in parts]
        self.candidates, self._plan = tuple(filter(admits, self.candidates)), None
        if not self.candidates:
            self.skip()

    def turn(self, refusal: Refusal | None, tried: Sequence[Candidate]) -> bool:
        """Takes the chain for this refusal instead, without the deployments that were tried. Returns whether the
        request continues on it: a model of the chain may refuse as well, and the next one may have room.
        """
        if refusal is None:
            return False
        chain = self._chains.pop(refusal, None)
        if chain:
            self.turned.add(refusal)
            left = [c for c in chain if all(not c.is_same(each) for each in tried)]
            left = [c for c in left if self.admits(c)]
            self._legs, self.candidates, self._plan = list(itineraries(left, self._pack)[0]), (), None
            self.skip()
        return refusal in self.turned

    def repeat(self, candidate: Candidate) -> None:
        """Leaves this candidate only, for a second attempt."""
        self.candidates, self._plan = (candidate,), None

    def prefer_later(self, tier: int) -> None:
        """Puts the candidates of later tiers first, in legs of their own, where there are any: the last attempt is for
        another model, and for this tier only where no later one can take the request.
        """
        left = [*self.candidates, *(each for leg in self._legs for each in leg.candidates)]
        later = [each for each in left if each.tier > tier]
        if later and len(later) < len(left):
            earlier = [each for each in left if each.tier <= tier]
            parts = [leg for part in (later, earlier) for leg in _split(part)]
            self._legs = [Leg(part, self._pack(part, part is not parts[-1])) for part in parts]
            self.skip()
