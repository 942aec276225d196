"""Lets web pages of configured origins call the gateway, by the Fetch standard: browsers send OPTIONS first, and hide
answers and headers that do not name the page's origin. Cookies play no part, so `credentials` are never allowed.
"""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.configuration.cors import CorsSettings
from gateway.http.asgi_messages import NO_STORE, Header, find

METHODS = b"GET, HEAD, POST, DELETE"
MAX_AGE_S = 600  # browsers repeat a preflight then; a shorter time makes a second request of every call
REQUESTED_MOST = 4_096  # bytes of requested header names
_PREFIXES = (b"x-pllm-", b"x-ratelimit-", b"anthropic-ratelimit-")
_NAMES = frozenset((b"retry-after", b"retry-after-ms", b"x-request-id", b"request-id", b"x-should-retry", b"allow"))
_PROOFS = frozenset((b"origin", b"sec-fetch-site"))
_VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")


class Cors:
    """Answers preflights and adds headers to the answers that pages receive."""

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(origin.encode() for origin in settings.origins)
        self._is_for_all = b"*" in self._origins

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request by ``app``."""
        headers: list[Header] = scope["headers"]
        origin = find(headers, b"origin")
        is_listed = origin in self._origins
        if origin is None or not (is_listed or self._is_for_all) or not _is_for_pages(scope["path"]):
            await app(scope, receive, send)
            return
        allowed = (b"access-control-allow-origin", origin)
        if scope["method"] == "OPTIONS" and find(headers, b"access-control-request-method") is not None:
            await _preflight(headers, allowed)(scope, receive, send)
            return
        if is_listed:  # the configuration vouches for the page, so that it passes where no key is needed
            scope = {**scope, "headers": [header for header in headers if header[0] not in _PROOFS]}

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = list(message["headers"])
                exposed = [name for name, _ in sent if name in _NAMES or name.startswith(_PREFIXES)]
                message["headers"] = [*sent, allowed, _VARY, (b"access-control-expose-headers", b", ".join(exposed))]
            await send(message)

        await app(scope, receive, send_allowed)


def _is_for_pages(path: str) -> bool:
    return path.startswith("/v1/") and not path.startswith("/v1/admin/")


def _preflight(headers: list[Header], allowed: Header) -> Response:
    response = Response(status_code=204)
    response.raw_headers += [allowed, _VARY, NO_STORE, (b"access-control-allow-methods", METHODS)]
    response.raw_headers.append((b"access-control-max-age", b"%d" % MAX_AGE_S))
    requested = find(headers, b"access-control-request-headers") or b""
    if 0 < len(requested) <= REQUESTED_MOST:
        response.raw_headers.append((b"access-control-allow-headers", requested))
    return response
