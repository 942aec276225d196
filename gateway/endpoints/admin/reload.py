"""/v1/admin/reload: makes all replicas read their configuration again, and shows which one each of them runs."""

from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.breakers import answered
from gateway.errors import InvalidRequest
from gateway.reload.reloader import Reloader


class Reload:
    """POST and GET /v1/admin/reload."""

    def __init__(self, access: AdminAccess, reloader: Reloader) -> None:
        self._access = access
        self._reloader = reloader

    async def post(self, request: Request) -> Response:
        """Responds when all replicas run the new configuration, or none will. With `?take=mine` this replica's file is
        put in force without the consent of the others.
        """
        self._access.authorize(request, "operator")
        take = request.query_params.get("take", "")
        if take not in ("", "mine"):
            raise InvalidRequest("take must be `mine`.", param="take")
        return answered(await self._reloader.reload(is_taken=bool(take)))

    async def get(self, request: Request) -> Response:
        self._access.authorize(request, "viewer")
        return answered(await self._reloader.in_force())
