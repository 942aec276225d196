"""POST /v1/messages/count_tokens and /v1/responses/input_tokens: counted by a provider that takes such bodies as they
are, and otherwise estimated. No count is refused because a provider cannot count, and none moves a breaker.
"""

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.endpoints.http_exchange import HttpExchange
from gateway.endpoints.inference import Inference
from gateway.endpoints.reception import ParsedRequest
from gateway.endpoints.services import Services
from gateway.errors import EndpointNotSupported, GatewayError, UpstreamRefused
from gateway.http.asgi_messages import send_whole
from gateway.json.bounds import LARGE
from gateway.request.auth import Tenant
from gateway.request.calls import Kind, Resource
from gateway.request.off_loop import off_loop_if
from gateway.request.token_estimate import estimate
from gateway.routing.deadline import Deadline

COUNTED = {"/v1/messages/count_tokens": Kind.MESSAGE, "/v1/responses/input_tokens": Kind.RESPONSE}
# For a provider's count: clients wait for it before they send the request itself. A call is overdue after twice the
# threshold of slowness, 4 s at least unless that is configured, so a count ends before it could look like a hung call.
PROVIDER_MOST_S = 3.0
_BLAMES_REQUEST = (400, 413, 422)
_PATHS = {kind: path for path, kind in COUNTED.items()}


class TokenCount(Inference):
    """Counts the tokens of requests of one kind."""

    adds_usage = False

    def __init__(self, kind: Kind, services: Services) -> None:
        super().__init__(kind, services)
        path = _PATHS[kind]
        self._resource = Resource("POST", path.removeprefix(f"/v1{kind.value}"), counts_body=True)

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> HttpExchange:
        http = super()._begin(scope, receive, send)
        http.line.path = scope["path"]
        return http

    async def _parsed(self, http: HttpExchange, tenant: Tenant, deadline: Deadline) -> ParsedRequest:
        """Leaves only the deployments of the model itself that get the client's own bodies. Raises as that of
        `Inference`, and EndpointNotSupported where there are none.
        """
        headers, body = http.scope["headers"], await self._body(http, deadline, tenant.name)
        parsed = await self._reception.parse(self._kind, headers, body, tenant, is_count=True)
        http.line.model = parsed.route.model
        http.counted = body
        route = parsed.route
        able = [
            each.deployment.id
            for each in route.candidates
            if not each.tier and route.upstream.speaks(each.deployment.id, self._kind)
        ]
        only = tuple(id_ for id_ in able if not parsed.only or id_ in parsed.only)
        if not only:
            raise EndpointNotSupported("No provider of this model counts tokens.")
        call = msgspec.structs.replace(
            parsed.call, is_stream=False, tokens=0, output_most=0, session=(), resource=self._resource
        )
        return msgspec.structs.replace(parsed, call=call, only=only)

    def _deadline(self, http: HttpExchange) -> Deadline:
        whole = super()._deadline(http)
        soon = http.interrupt.time() + PROVIDER_MOST_S
        return whole if whole.at <= soon else Deadline(soon, is_from_client=True)

    async def _serve(self, http: HttpExchange) -> None:
        try:
            await super()._serve(http)
        except GatewayError as error:
            is_about_request = isinstance(error, UpstreamRefused) and error.status in _BLAMES_REQUEST
            if http.counted is None or is_about_request:
                raise
            tokens = await off_loop_if(len(http.counted) > LARGE, estimate, self._kind, http.counted)
            http.line.status = 200
            await send_whole(http.send, 200, self._estimate_headers(http), self._estimate_body(tokens))

    def _estimate_headers(self, http: HttpExchange) -> list[tuple[bytes, bytes]]:
        kept = [each for each in http.headers if each[0] != b"x-pllm-state"]
        return [*kept, (b"x-pllm-estimate", b"1"), (b"content-type", b"application/json")]

    def _estimate_body(self, tokens: int) -> bytes:
        fields: dict[str, object] = {"input_tokens": tokens}
        if self._kind is Kind.RESPONSE:
            fields = {"object": "response.input_tokens", **fields}
        return msgspec.json.encode(fields)
