"""One request of a client, parsed and authenticated: what the decisions about it need to know."""

import msgspec

from gateway.request.auth import Tenant
from gateway.request.calls import Call
from gateway.request.interrupt import Interrupt
from gateway.request.wishes import NO_WISHES, Wishes
from gateway.routing.deadline import Deadline
from gateway.routing.tracing import Trace


class ClientRequest(msgspec.Struct, frozen=True):
    """All attempts of one request share this object."""

    call: Call
    tenant: Tenant
    priority: int  # 0 critical to 100 bulk
    deadline: Deadline
    interrupt: Interrupt
    trace: Trace
    wishes: Wishes = NO_WISHES
    only: tuple[str, ...] = ()  # the deployments that its headers allow; empty: all

    @property
    def is_restricted(self) -> bool:
        """Whether only some of the model's deployments may be able to serve it."""
        return bool(self.only or self.call.names)
