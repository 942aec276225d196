"""The admin endpoints that show the deployments of all models, and set a breaker by hand."""

import asyncio
from typing import Annotated, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.reception import deadline_of
from gateway.errors import InvalidRequest, NotFound, RequestTimedOut
from gateway.http.asgi_messages import ClientGone, read_body
from gateway.json.duplicate_keys import check_all_keys
from gateway.request.calls import NOT_JSON
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.views.budgets import budgets_shown
from gateway.views.model_stats import model_stats
from shared_state.failover import Failover

ACTIONS = ("open", "close", "disable", "drain", "reset")
LONGEST_MS = 365 * 86_400_000  # the store's numbers must stay whole
# Bodies of admin requests are short: these bounds suffice for any of them, on the slowest connection.
BODY_MOST = 16_384
BODY_WAIT_MS = 10_000


class ForceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request that sets a breaker."""

    reason: str = ""
    actor: str = ""  # empty: the name of the admin key
    for_ms: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_MS)] = 0  # the duration of `open`; 0: until it is closed


_Body = TypeVar("_Body")


class Admin:
    """The endpoints of deployments. Reading needs the role of a viewer, setting a breaker that of an operator."""

    def __init__(
        self,
        store: Failover,
        catalog: Catalog,
        admission: Admission,
        access: AdminAccess,
    ) -> None:
        self._store = store
        self._admission = admission
        self._access = access
        deployments = [d for d in catalog.deployments() if d.enabled]
        names = dict.fromkeys(d.model_name for d in deployments)
        self._models = [(name, [d.id for d in deployments if d.model_name == name]) for name in names]
        self._ids = {d.id for d in deployments}

    async def stats(self, request: Request) -> Response:
        """GET /v1/admin/models/stats."""
        self._access.authorize(request, "viewer")
        return await self._statistics()

    async def _statistics(self) -> Response:
        snapshot = await self._store.snapshot(ids=sorted(self._ids))  # another configuration may be in force by then
        own: dict[str, object] = {"state": self._store.worst.state, "waiting": self._admission.waiting()}
        own["budgets"] = budgets_shown(self._store.shared.memory.ledger)
        if len(self._store.parts) > 1:
            own["domains"] = {domain: each.state for domain, each in self._store.parts.items()}
        if counts := self._store.block_counts:
            own["blocks"] = counts
        return answered(model_stats(snapshot, self._models) | own)

    async def force(self, request: Request) -> Response:
        """POST /v1/admin/deployments/{id}/{action}."""
        admin = self._access.authorize(request, "operator")
        deployment_id, action = request.path_params["deployment"], request.path_params["action"]
        if deployment_id not in self._ids or action not in ACTIONS:
            raise NotFound(
                f"No deployment `{deployment_id[:200]}` or no action `{action[:50]}` ({', '.join(ACTIONS)})."
            )
        try:
            change = await body_of(request, ForceRequest)
        except ClientGone:
            return Response()  # the client has disconnected
        actor = (change.actor or admin.name)[:40]
        await self._store.force(deployment_id, action, actor, change.reason[:200], change.for_ms)
        return await self._statistics()


async def body_of(request: Request, kind: type[_Body]) -> _Body:
    """Returns the body, decoded as ``kind``. Raises InvalidRequest, RequestTooLarge, RequestTimedOut, ClientGone."""
    now = asyncio.get_running_loop().time()
    deadline = deadline_of(list(request.scope["headers"]), now, BODY_WAIT_MS)
    try:
        async with asyncio.timeout_at(deadline.at):
            body = await read_body(request.scope, request.receive, BODY_MOST)
        decoded = msgspec.json.decode(body or b"{}", type=kind)
        check_all_keys(body or b"{}")
        return decoded
    except TimeoutError:
        raise RequestTimedOut("The request body did not arrive in time.") from None
    except NOT_JSON as error:
        raise InvalidRequest(f"Invalid request body: {error}") from error


def answered(value: object, status: int = 200) -> Response:
    """Returns a response with the value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
