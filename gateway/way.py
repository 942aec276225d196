"""The way of one request through its candidates, leg by leg: a chain may walk from one routing domain into the next,
but one decision looks at candidates of one domain only.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import msgspec

from gateway.catalog import Candidate
from shared_state.records import Plan

Packed = Callable[[Sequence[Candidate], bool], Plan]  # of candidates, and whether more legs follow


class Leg(msgspec.Struct, frozen=True):
    """Candidates of one domain, with their acquire packed for the store."""

    candidates: tuple[Candidate, ...]
    plan: Plan


def legs(candidates: Sequence[Candidate], first: int = 0) -> Iterator[tuple[Candidate, ...]]:
    """Tier by tier, and in a tier domain by domain, beginning with the one of this number; neighbours of one domain are
    one leg. With one domain that is all of them.
    """
    ordered: list[Candidate] = []
    for _, tier in groupby(candidates, key=lambda each: each.tier):
        members = list(tier)
        domains = list(dict.fromkeys(_domain(each) for each in members))
        turned = domains[first % len(domains) :] + domains[: first % len(domains)]
        ordered += sorted(members, key=lambda each: turned.index(_domain(each)))
    for _, leg in groupby(ordered, key=_domain):
        yield tuple(leg)


def ways(candidates: Sequence[Candidate], packed: Packed) -> tuple[tuple[Leg, ...], ...]:
    """One for each domain that serves the model itself: as many requests begin in each."""
    starts = len({_domain(each) for each in candidates if each.tier == candidates[0].tier}) if candidates else 1
    whole = [tuple(legs(candidates, first)) for first in range(starts)]
    return tuple(tuple(Leg(leg, packed(leg, leg is not way[-1])) for leg in way) for way in whole)


def _domain(candidate: Candidate) -> str:
    return candidate.deployment.domain


class Way:
    """What is left of it. ``candidates``: of this leg, none when it is over; ``plan``: how the store is asked for one
    of them; ``has_more``: is there another leg?
    """

    def __init__(self, legs_left: Sequence[Leg], packed: Packed) -> None:
        self._packed = packed
        self._legs = list(legs_left)
        self.candidates: tuple[Candidate, ...] = ()
        self._plan: Plan | None = None
        self.skip()

    @property
    def has_more(self) -> bool:
        return bool(self._legs)

    @property
    def plan(self) -> Plan:
        if self._plan is None:
            self._plan = self._packed(self.candidates, self.has_more)
        return self._plan

    def skip(self) -> None:
        """To the next leg."""
        if self._legs:
            leg = self._legs.pop(0)
            self.candidates, self._plan = leg.candidates, leg.plan

    def drop(self, candidate: Candidate) -> None:
        """It has been tried. After the last one of a leg comes the next."""
        self.candidates, self._plan = tuple(each for each in self.candidates if each is not candidate), None
        if not self.candidates:
            self.skip()
