"""The way of one request: the candidates that it may go to, and what it has tried so far."""

import msgspec

from gateway.routing.admission import Asking
from gateway.routing.catalog import Candidate
from gateway.routing.final_errors import Tried
from gateway.routing.itinerary import Leg, Way
from gateway.routing.queueing import Queue
from gateway.upstream.classify import Refusal
from gateway.upstream.client import UpstreamClient


class Route(msgspec.Struct, frozen=True):
    """A model's candidates for one kind of call, and the ways through them, any of which a request may go; ``chains``
    are those of requests that the model refuses. A request keeps its route whatever is configured meanwhile.
    """

    model: str
    candidates: tuple[Candidate, ...]
    ways: tuple[tuple[Leg, ...], ...]
    chains: dict[Refusal, tuple[Candidate, ...]]
    queue: Queue
    upstream: UpstreamClient


class Again(msgspec.Struct, frozen=True):
    """A deployment that failed in passing, to be called again after a pause."""

    candidate: Candidate
    pause_s: float


class Course(msgspec.Struct):
    """The state of one request on its way: where it may still go, what it has tried, and the time that this took."""

    asking: Asking
    route: Route
    way: Way
    tried: list[Tried] = []
    upstream_s: float = 0.0
    decision_s: float = 0.0
    again: Again | None = None  # the second attempt, for when no other candidate can be called
    has_repeated: bool = False

    def has_tried_all(self, last: Candidate) -> bool:
        """Whether only ``last`` had not answered yet, of the route and of the chains taken: the same request would meet
        the same answers.
        """
        tried = {last.deployment.id, *(each.candidate.deployment.id for each in self.tried)}
        chains = (self.route.chains[refusal] for refusal in self.way.turned)
        return all(each.deployment.id in tried for part in (self.route.candidates, *chains) for each in part)
