"""The desired number of replicas, for the autoscaler that starts and stops them."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.breakers import answered
from gateway.errors import NotFound, StateLost
from gateway.views.autoscale import shown
from shared_state.scaling import Scaling

ANSWER_MOST_S = 5.0


class ScalingView:
    """The endpoint GET /v1/admin/autoscale."""

    def __init__(self, access: AdminAccess, scaling: Scaling) -> None:
        self._access = access
        self._scaling = scaling

    async def show(self, request: Request) -> Response:
        """Returns the desired number. Raises NotFound, StateLost: on its standby store a replica sees only itself, so
        an error is better than its answer.
        """
        self._access.authorize(request, "viewer")
        if not self._scaling.is_wanted:
            raise NotFound("The configuration has no router.autoscale.")
        signal = None
        try:
            async with asyncio.timeout(ANSWER_MOST_S):
                signal = await self._scaling.ask()
        except TimeoutError:
            pass
        if signal is None:
            raise StateLost("The desired number of replicas is not known at the moment.", retry_after_ms=1000)
        return answered(shown(signal))
