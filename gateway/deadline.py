"""How long a request, with all its attempts, may take."""

import msgspec

from shared_state.records import Outcome


class Deadline(msgspec.Struct, frozen=True):
    """When a request must be answered, by the loop's clock; all its attempts share it. ``is_asked``: by its client."""

    at: float
    is_asked: bool = False

    def outcome(self, deployment_at: float, is_first: bool) -> Outcome:
        """Of a call that is cut off at this time or at its deployment's. A client that gives less time than the
        deployment may take is like one that leaves, and so is an attempt before that has used the time up: it says
        nothing about the deployment.
        """
        is_cut_short = self.at < deployment_at and (self.is_asked or not is_first)
        return Outcome.CANCELLED if is_cut_short else Outcome.TIMEOUT
