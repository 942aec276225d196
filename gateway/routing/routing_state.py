"""The state of one request while it is routed: the candidates that are left, and the attempts made so far."""

from itertools import chain

import msgspec

from gateway.routing.catalog import Candidate, is_same_account
from gateway.routing.client_request import ClientRequest
from gateway.routing.final_errors import Tried
from gateway.routing.itinerary import Itinerary, Leg, PackPlan
from gateway.routing.last_attempt import SecondAttempt
from gateway.routing.queueing import Queue
from gateway.upstream.classify import Refusal
from gateway.upstream.client import UpstreamClient
from gateway.upstream.exchange import Exchange


class Route(msgspec.Struct, frozen=True):
    """A model's candidates for one kind of call. A request keeps its route when the configuration changes."""

    model: str
    candidates: tuple[Candidate, ...]
    itineraries: tuple[tuple[Leg, ...], ...]  # orders of the candidates; each request takes one of them at random
    chains: dict[Refusal, tuple[Candidate, ...]]  # the candidates after the model refused a request in this way
    queue: Queue
    upstream: UpstreamClient
    pack: PackPlan


class RoutingState(msgspec.Struct):
    """The state of one request: the candidates that are left, the attempts so far, and the time that they took."""

    request: ClientRequest
    route: Route
    itinerary: Itinerary
    tried: list[Tried] = []
    upstream_s: float = 0.0
    decision_s: float = 0.0
    second_attempt: SecondAttempt | None = None  # for when no other candidate can be called
    has_repeated: bool = False
    max_attempts: int = 1

    def restrict(self, candidate: Candidate, is_owned: bool) -> None:
        """Leaves only the candidates that the request allows, after the store has picked one. ``is_owned``: only the
        account of this one can serve the request.
        """
        only = self.request.only
        if only:
            self.itinerary.restrict(lambda each: each.deployment.id in only)
        if is_owned:
            self.itinerary.restrict(lambda each: is_same_account(each, candidate))

    def leave(self, candidate: Candidate, exchange: Exchange) -> bool:
        """Drops the candidate, which has been tried, and with it an account that lacks what the request names. Returns
        whether the request continues on the chain for its refusal.
        """
        self.itinerary.drop(candidate)
        if exchange.is_state_unknown:
            self.itinerary.restrict(lambda each: not is_same_account(each, candidate))
        return self.itinerary.turn(exchange.refusal, [candidate, *(each.candidate for each in self.tried)])

    def has_tried_all(self, last: Candidate) -> bool:
        """Returns whether ``last`` was the only candidate left, of the route and of the chains taken: the same request
        would meet the same answers again.
        """
        tried = {(each.deployment.id, each.model) for each in (last, *(each.candidate for each in self.tried))}
        chains = (self.route.chains[refusal] for refusal in self.itinerary.turned)
        allowed = filter(self.itinerary.admits, chain.from_iterable((self.route.candidates, *chains)))
        return all((each.deployment.id, each.model) in tried for each in allowed)
