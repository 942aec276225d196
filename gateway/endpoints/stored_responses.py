"""The endpoints of a response that a provider keeps: read it, delete it, cancel it, list its input. They call the
account that holds it, with a permit and within the tenant's limits of requests, but cost neither tokens nor money.
"""

import re
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.endpoints.http_exchange import HttpExchange
from gateway.endpoints.inference import Inference
from gateway.endpoints.reception import ParsedRequest
from gateway.endpoints.services import Services
from gateway.errors import InvalidRequest
from gateway.request.auth import Tenant
from gateway.request.calls import Call, Kind, Resource
from gateway.routing.deadline import Deadline

PREFIX = f"/v1{Kind.RESPONSE.value}/"
METHODS = {"": ("GET", "DELETE"), "/cancel": ("POST",), "/input_items": ("GET",)}  # by what follows the id
_PATH = re.compile(rf"{PREFIX}([A-Za-z0-9][A-Za-z0-9_.:=-]{{0,511}})(/cancel|/input_items)?")
_QUERY_MOST = 2_000
_FIELDS = frozenset(
    ("include", "include[]", "include_obfuscation", "stream", "starting_after", "limit", "after", "before", "order")
)


def addressed(method: str, path: str) -> tuple[str, str] | None:
    """Returns the id of the response and what follows it; None for another path or method."""
    match = _PATH.fullmatch(path)
    action = match[2] or "" if match else ""
    return (match[1], action) if match and method in METHODS[action] else None


async def refuse(_request: Request) -> Response:
    """Refuses an id that `addressed` does not know. Raises InvalidRequest."""
    raise InvalidRequest("The id of the response is not well-formed.", param="response_id")


class StoredResponses(Inference):
    """GET and DELETE /v1/responses/{id}, POST …/cancel, GET …/input_items."""

    def __init__(self, services: Services) -> None:
        super().__init__(Kind.RESPONSE, services)

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> HttpExchange:
        http = super()._begin(scope, receive, send)
        http.line.method, http.line.path = scope["method"], f"{PREFIX}{{id}}{_known(scope)[1]}"
        return http

    async def _parsed(self, http: HttpExchange, tenant: Tenant, deadline: Deadline) -> ParsedRequest:
        """Raises InvalidRequest, Forbidden."""
        await self._body(http, deadline, tenant.name)
        scope = http.scope
        response_id, action = _known(scope)
        fields = _fields(scope["query_string"])
        is_stream = dict(fields).get("stream") == "true" and scope["method"] == "GET" and not action
        query = f"?{urlencode(fields)}" if fields else ""
        resource = Resource(scope["method"], f"/{response_id}{action}", query)
        call = Call("", is_stream, b"", Kind.RESPONSE, names=(response_id,), resource=resource)
        return self._reception.resolved(call, scope["headers"], tenant)


def _known(scope: Scope) -> tuple[str, str]:
    known = addressed(scope["method"], scope["path"])
    assert known is not None  # the application has checked it
    return known


def _fields(query: bytes) -> list[tuple[str, str]]:
    """Returns the documented fields of a query. Raises InvalidRequest."""
    if len(query) > _QUERY_MOST:
        raise InvalidRequest(f"The query is longer than {_QUERY_MOST} characters.")
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    for name, _ in fields:
        if name not in _FIELDS:
            raise InvalidRequest(f"Unknown field `{name[:100]}` in the query.", param=name[:100])
    return fields
