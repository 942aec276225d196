"""One HTTP request of a client and the response to it, from the first byte of one to the last byte of the other."""

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.endpoints.error_forms import error_body, error_event, error_status
from gateway.errors import GatewayError
from gateway.http.asgi_messages import Header, send_error
from gateway.request.body_memory import HeldBody
from gateway.request.calls import Kind
from gateway.request.interrupt import Interrupt
from gateway.routing.tracing import Trace
from gateway.telemetry.request_log import RequestLine


class HttpExchange(msgspec.Struct):
    """The client's side of one request to an inference endpoint."""

    kind: Kind
    scope: Scope
    receive: Receive
    send: Send
    headers: list[Header]  # of the response
    started_s: float  # by `time.perf_counter`
    interrupt: Interrupt
    trace: Trace
    line: RequestLine  # its line in the log
    held_body: HeldBody
    counted: bytes | None = None  # the body, of a request to count its tokens that has been accepted

    async def send_error(self, error: GatewayError) -> None:
        """Sends the whole response, in the client's dialect."""
        body = error_body(self.kind, error)
        await send_error(self.send, error, error_status(self.kind, error), body, self.headers)

    async def end_with(self, error: GatewayError) -> None:
        """Ends a stream that has begun."""
        await self.send({"type": "http.response.body", "body": error_event(self.kind, error)})
