"""Refuses WebSockets. Codex offers one to /v1/responses first, and turns to plain requests at once after a 426."""

from starlette.requests import Request

from gateway.errors import GatewayError


class UpgradeRequired(GatewayError):
    """The client has to use plain HTTP here (RFC 9110, 15.5.22)."""

    status = 426
    type = "invalid_request_error"
    code = "websocket_not_supported"
    is_in_vain = True


def refused_websocket(request: Request) -> UpgradeRequired | None:
    """Returns the error for an offer to open a WebSocket, None for other requests. The server ignores the offer of
    `upgrade` itself, and removes it, but leaves the headers that only a WebSocket has.
    """
    if request.method != "GET" or "sec-websocket-key" not in request.headers:
        return None
    fault = UpgradeRequired("There are no WebSockets here: send a POST and read server-sent events.")
    if request.scope["http_version"] != "2":  # HTTP/2 forbids both headers
        fault.headers = [(b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade")]
    return fault
